"""Cases of bundles asked for real: a question over the wire, by the agency that the case names.

A case's time stands still, real time does not: whoever decides does it some moments after whoever asked.
Some cases are about the very second at which a decision becomes another one (a training that is a second
short of a year old; a period that begins on the first instant that may be asked about). Asked for real, such
a second is over before anybody decides, or not, as the machine is fast or slow. So these are asked `ROOM`
before that second: the same law decides the same, and has time to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from comity.certs.errors import CertsError
from comity.certs.instants import from_instant
from comity.cli.demonstration.policies import install_policy
from comity.gateway.errors import GatewayError
from comity.gateway.question import parse_question
from comity.gateway.subjects import authenticate
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.cases import Case, load_cases
from comity.policy.decision import PolicyEngine
from comity.policy.facts import DecisionRequest
from comity.v1 import common_pb2, query_service_pb2
from tests.simulator import PLATE, FederationSimulator
from tests.support.federation import FederationOnDisk

STORES = {
    "cbp": ("primary", "mobile"),
    "dea": ("fixed", "covert"),
    "vendor": ("toll", "police"),
    "lapd": ("fixed", "mobile"),
    "lahd": ("fixed", "mobile"),
}
ASKING = ("cbp", "dea", "ice", "lapd", "lahd", "sheriff")
_STORE = """
[[store]]
id = "{kind}"
class = "{kind}"
kind = "sql"
url = "sqlite:///reads.db"
table = "reads"
time_format = "epoch"

[store.columns]
read_id = "id"
plate = "tag"
state = "state"
captured_at = "seen_at"

[store.defaults]
country = "US"
camera_kind = "fixed"
"""
_UNTOLD = "test"
"""A free text that tells nothing, for cases that ask with one."""
ROOM = timedelta(minutes=2)
"""How much later a decision may be made: far more than the time that a question is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealQuestion:
    """One case of a provider's bundle, to be asked of it."""

    provider: str
    requester: str
    case: Case
    asked_at: datetime
    """When, in the case's time: at its `now`, or `ROOM` before."""

    @property
    def name(self) -> str:
        """Whose case it is, and what it is called."""
        return f"{self.provider}: {self.case.name}"


def real_questions(every: int, now: datetime) -> list[RealQuestion]:
    """Return every so-many-th case of each shipped bundle that one of the federation's agencies can ask.

    Args:
        every: How many cases one is taken of.
        now: About when they are asked; calendar years are counted from it.
    """
    found: list[RealQuestion] = []
    for provider in STORES:
        cases = [case for case in load_cases(shipped(provider)) if case.request.requester in ASKING]
        found += [
            RealQuestion(
                provider=provider,
                requester=case.request.requester,
                case=case,
                asked_at=_asked_at(provider, case, now),
            )
            for case in cases[::every]
            if case.request.requester != provider and case.request.period_end <= case.request.now
        ]
    return found


def lay_out_stores(made: FederationOnDisk, now: datetime) -> None:
    """Give each provider its shipped bundle, and stores of several classes over a few reads."""
    for provider, kinds in STORES.items():
        home = made.adapter_home(provider)
        install_policy(made, provider, now)
        with (home / "adapter.toml").open("a", encoding="utf-8") as settings:
            settings.writelines(_STORE.format(kind=kind) for kind in kinds)
        with sqlite3.connect(home / "reads.db") as store:
            store.execute("CREATE TABLE reads (id TEXT, tag TEXT, state TEXT, seen_at INTEGER)")
            seen = [int((now - timedelta(days=3 * n)).timestamp()) for n in range(4)]
            rows = [(f"{provider}-{n}", PLATE, "CA", at) for n, at in enumerate(seen)]
            store.executemany("INSERT INTO reads VALUES (?, ?, ?, ?)", rows)
        store.close()


async def ask(federation: FederationSimulator, question: RealQuestion, number: int) -> bytes:
    """Ask for real, each as a person of its own; return the exchange, empty if nothing left the house.

    Periods and instants lie as far back as when the case asks. What the requester's own end would stop for
    its people is asked all the same: it is the provider's decision that counts.
    """
    end, now = federation.asking[question.requester], federation.clock()
    case = _moved(question.case, question.asked_at, now)
    assertion = federation.made.assertion(question.requester, now, **_subject(case, number))
    try:
        claims, _ = authenticate(
            f"Bearer {assertion}",
            certificate_der=federation.made.client_certificate(question.requester),
            member=end.gateway.federation.member(question.requester),  # type: ignore[union-attr]
            published=None,
            now=now,
        )
        parsed = parse_question(_request(question.provider, case), now=now)
    except (CertsError, GatewayError):
        return b""
    exchange = b""
    try:
        async for message in end.gateway.search(parsed, claims, assertion):  # type: ignore[union-attr]
            if message.WhichOneof("part") == "plan":
                exchange = message.plan.exchange_id
    except GatewayError:
        pass
    return exchange


def decisions(federation: FederationSimulator, provider: str) -> Mapping[bytes, tuple[str, ...]]:
    """Return what a provider decided, by exchange: outcome, rules, stores, obligations, errors."""
    return {
        entry.exchange: (
            str(entry.public["outcome"]),
            *(entry.private[name] for name in ("rules", "stores", "obligations", "errors")),
        )
        for entry in federation[provider].journal.of("decided")
        if entry.exchange is not None
    }


def _asked_at(provider: str, case: Case, now: datetime) -> datetime:
    """Return when a case is asked so that nothing of what is decided changes within `ROOM`."""
    for at in (case.request.now, case.request.now - ROOM):
        request = _moved(case, at, now)
        if _decided(provider, case, request) == _decided(provider, case, replace(request, now=now + ROOM)):
            return at
    raise AssertionError(f"{provider}: {case.name}: decided otherwise every {ROOM}")


def _decided(provider: str, case: Case, request: DecisionRequest) -> tuple[object, ...]:
    """Return what `decisions` compares of a decision."""
    decision = _engine(provider).decide(request, case.stores)
    applied = () if decision.obligations is None else decision.obligations.applied
    return (
        decision.effect,
        decision.rules,
        tuple((store.store_id, store.permitted, store.rules) for store in decision.stores),
        tuple((one.name, one.policy_id, one.said) for one in applied),
        decision.errors,
    )


@cache
def _engine(provider: str) -> PolicyEngine:
    return PolicyEngine(PolicyBundle.load(shipped(provider)))


def _moved(case: Case, asked_at: datetime, now: datetime) -> DecisionRequest:
    """Return the case's request as it is when what is `asked_at` in its own time is asked `now`.

    What an assertion says of a person it says in whole seconds, and of nothing that is still to come.
    """
    request, shift = case.request, now - asked_at

    def moved(instant: datetime | None) -> datetime | None:
        return None if instant is None else min(instant + shift, now).replace(microsecond=0)

    return replace(
        request,
        now=now,
        period_start=request.period_start + shift,
        period_end=request.period_end + shift,
        subject=replace(
            request.subject,
            trained_at=moved(request.subject.trained_at),
            rules_accepted_at=moved(request.subject.rules_accepted_at),
            account_reviewed_at=moved(request.subject.account_reviewed_at),
        ),
    )


def _subject(request: DecisionRequest, number: int) -> dict[str, Any]:
    subject = request.subject

    def seconds(instant: datetime | None) -> int | None:
        return None if instant is None else int(instant.timestamp())

    return {
        "sub": f"person-{number}",
        "office": subject.office,
        "duty_station": subject.duty_station,
        "roles": sorted(subject.roles),
        "trained_at": seconds(subject.trained_at),
        "rules_accepted_at": seconds(subject.rules_accepted_at),
        "account_reviewed_at": seconds(subject.account_reviewed_at),
        "good_standing": subject.good_standing,
        "protections_attested": subject.protections_attested,
    }


def _request(provider: str, case: DecisionRequest) -> query_service_pb2.SearchRequest:
    request = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=PLATE, state=case.plate_state, country=case.plate_country),
        period=common_pb2.Period(start=from_instant(case.period_start), end=from_instant(case.period_end)),
        reason=common_pb2.ReasonCode.Value(f"REASON_CODE_{case.reason}"),
        case_number="26-0417",
        reason_text=_UNTOLD if case.told.vague else "series of burglaries near the harbour",
        for_self=not case.on_behalf_of,
        on_behalf_of="Sgt. R. Vance" if case.on_behalf_of else "",
        providers=[provider],
        elements=[common_pb2.Element.Value(f"ELEMENT_{name}") for name in _elements(case)],
        limitation_years=case.limitation_years,
    )
    request.timeout.FromTimedelta(timedelta(seconds=4))
    return request


def _elements(case: DecisionRequest) -> Iterator[str]:
    yield "PLATE"
    yield from sorted(case.elements)
