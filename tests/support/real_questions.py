"""Cases of bundles asked for real: a question over the wire, by the agency that the case names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from comity.certs.errors import CertsError
from comity.certs.instants import from_instant
from comity.cli.demonstration.policies import install_policy
from comity.gateway.errors import GatewayError
from comity.gateway.question import parse_question
from comity.gateway.subjects import authenticate
from comity.policy.bundle import shipped
from comity.policy.cases import Case, load_cases
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RealQuestion:
    """One case of a provider's bundle, to be asked of it."""

    provider: str
    requester: str
    case: Case

    @property
    def name(self) -> str:
        """Whose case it is, and what it is called."""
        return f"{self.provider}: {self.case.name}"


def real_questions(every: int) -> list[RealQuestion]:
    """Return every so-many-th case of each shipped bundle that one of the federation's agencies can ask."""
    found: list[RealQuestion] = []
    for provider in STORES:
        cases = [case for case in load_cases(shipped(provider)) if case.request.requester in ASKING]
        found += [
            RealQuestion(provider=provider, requester=case.request.requester, case=case)
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

    Periods and instants lie as far back as in the case. What the requester's own end would stop for its
    people is asked all the same: it is the provider's decision that counts.
    """
    case, end = question.case.request, federation.asking[question.requester]
    now = federation.clock()
    shift = now - case.now
    assertion = federation.made.assertion(
        question.requester, now, **_subject(question.case, shift, number, now)
    )
    try:
        claims, _ = authenticate(
            f"Bearer {assertion}",
            certificate_der=federation.made.client_certificate(question.requester),
            member=end.gateway.federation.member(question.requester),  # type: ignore[union-attr]
            published=None,
            now=now,
        )
        parsed = parse_question(_request(question, shift), now=now)
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


def _subject(case: Case, shift: timedelta, number: int, now: datetime) -> dict[str, Any]:
    subject = case.request.subject

    def moved(instant: datetime | None) -> int | None:
        return None if instant is None else int(min(instant + shift, now).timestamp())

    return {
        "sub": f"person-{number}",
        "office": subject.office,
        "duty_station": subject.duty_station,
        "roles": sorted(subject.roles),
        "trained_at": moved(subject.trained_at),
        "rules_accepted_at": moved(subject.rules_accepted_at),
        "account_reviewed_at": moved(subject.account_reviewed_at),
        "good_standing": subject.good_standing,
        "protections_attested": subject.protections_attested,
    }


def _request(question: RealQuestion, shift: timedelta) -> query_service_pb2.SearchRequest:
    case = question.case.request
    request = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=PLATE, state=case.plate_state, country=case.plate_country),
        period=common_pb2.Period(
            start=from_instant(case.period_start + shift), end=from_instant(case.period_end + shift)
        ),
        reason=common_pb2.ReasonCode.Value(f"REASON_CODE_{case.reason}"),
        case_number="26-0417",
        reason_text=_UNTOLD if case.told.vague else "series of burglaries near the harbour",
        for_self=not case.on_behalf_of,
        on_behalf_of="Sgt. R. Vance" if case.on_behalf_of else "",
        providers=[question.provider],
        elements=[common_pb2.Element.Value(f"ELEMENT_{name}") for name in _elements(question.case)],
        limitation_years=case.limitation_years,
    )
    request.timeout.FromTimedelta(timedelta(seconds=4))
    return request


def _elements(case: Case) -> Iterator[str]:
    yield "PLATE"
    yield from sorted(case.request.elements)
