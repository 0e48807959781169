"""Every outcome of design 5 from a real cause, named rightly, with its evidence in the logs of all who know.

All causes are brought about once, in `happened`, on one running federation; each row of the table then
holds one of them against what the caller was told and what provider, broker and gateway logged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from comity.v1 import common_pb2
from tests.integration.hostile import Misbehaviour
from tests.integration.outcomes import (
    ALIKE,
    BENT,
    BUSY,
    CUT,
    HOSTILE,
    NEVER_LINKED,
    STRANGER,
    SUSPENDED,
    Stage,
    Told,
    stage,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.long]
DEADLINE = 3.0
"""Seconds: many times what eight providers that answer need, on a slow machine too."""
PATIENCE = 30.0
"""The deadline where nobody is to reach it."""

BEGUN = ("received", "decided")
RELEASED = (*BEGUN, "released")
GIVEN = (*RELEASED, "answered")
TAKEN = (*GIVEN, "acknowledged")


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One cause, brought about: what the caller was told, of which provider, by which gateway."""

    told: Told
    provider: str
    asked_by: str = "sheriff"


@dataclass(frozen=True, slots=True)
class Row:
    """A cause; the outcome and who attests it; what each end logged of it.

    `provider` are the entries of the exchange in the provider's log, with their reason if they have one, but
    for `unacknowledged`, which comes when the time for an acknowledgement is over;
    `broker` is the outcome in its account, or None: it accounted for nothing.
    """

    cause: str
    outcome: str
    attested_by: str
    provider: tuple[str, ...] = ()
    broker: str | None = None

    def __str__(self) -> str:
        return self.cause


TABLE = (
    Row("answers", "RESPONDED", "PROVIDER", TAKEN, "responded"),
    Row("its law says no", "REFUSED", "PROVIDER", TAKEN, "refused"),
    Row("its store is gone", "REFERRED", "PROVIDER", TAKEN, "referred"),
    Row(
        "over a limit",
        "RATE_LIMITED",
        "PROVIDER",
        ("rejected crowded", "answered", "acknowledged"),
        "rate_limited",
    ),
    Row("log unwritable", "AUDIT_UNAVAILABLE", "PROVIDER", (), "audit_unavailable"),
    Row(
        "malformed", "MALFORMED", "PROVIDER", ("rejected malformed", "answered", "acknowledged"), "malformed"
    ),
    Row("never linked", "UNREACHABLE", "BROKER", (), "unreachable"),
    Row("killed", "UNREACHABLE", "BROKER", BEGUN, "unreachable"),
    Row("link lost midway", "UNREACHABLE", "BROKER", (*BEGUN, "cancelled session"), "unreachable"),
    Row("stopped", "TIMED_OUT", "BROKER", ("cancelled deadline",), "timed_out"),
    Row("source never returns", "TIMED_OUT", "BROKER", (*BEGUN, "cancelled deadline"), "timed_out"),
    Row("late", "TIMED_OUT", "BROKER", (*BEGUN, "cancelled deadline"), "timed_out"),
    Row("accepted, and no receipt", "TIMED_OUT", "BROKER", RELEASED, "timed_out"),
    Row("a receipt, and no result", "TIMED_OUT", "GATEWAY", RELEASED, "responded"),
    Row("the broker stopped", "TIMED_OUT", "GATEWAY", ("cancelled deadline",), None),
    Row("bad receipt", "BAD_RECEIPT", "BROKER", RELEASED, "bad_receipt"),
    Row("bad receipt to both", "UNVERIFIABLE", "GATEWAY", GIVEN, "bad_receipt"),
    Row("unverifiable page", "UNVERIFIABLE", "GATEWAY", GIVEN, "responded"),
    Row("session broken", "SESSION_FAILED", "GATEWAY", GIVEN, "responded"),
    Row("handshake refused", "SESSION_FAILED", "GATEWAY", (), "cancelled"),
    Row("cancelled by the caller", "CANCELLED", "BROKER", (*BEGUN, "cancelled caller"), "cancelled"),
    Row("suspended", "NOT_ASKED", "GATEWAY"),
    Row("no agreement", "NOT_ASKED", "GATEWAY"),
    Row("left out by the caller", "NOT_ASKED", "GATEWAY"),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("outcomes")) as running:
        yield running


@pytest.fixture(scope="module")
def happened(running: Stage) -> dict[str, Happening]:
    """Bring every cause about, and mend it again."""
    happened = _all_at_once(running) | _by_a_hostile_provider(running) | _one_by_one(running)
    assert happened.keys() == {row.cause for row in TABLE}
    return happened


def _all_at_once(running: Stage) -> dict[str, Happening]:
    """One question to twelve providers, and to eleven of them something happens."""

    def midway(exchange: str) -> None:
        running.until_decided(exchange, "p3", "p4", CUT)
        running.processes.kill("p4 adapter")
        running.wire.cut()

    with ExitStack() as broken:
        broken.enter_context(running.endless("p2"))
        for provider in ("p3", "p4", CUT):
            broken.enter_context(running.locked(provider))
        broken.enter_context(running.full_disk("p6"))
        broken.enter_context(running.without_store("p7"))
        broken.enter_context(running.misbehaving(HOSTILE, Misbehaviour.NO_RECEIPT))
        broken.enter_context(running.frozen("p1 adapter"))
        told = running.ask(
            *ALIKE, HOSTILE, NEVER_LINKED, SUSPENDED, STRANGER, seconds=DEADLINE, meanwhile=midway
        )
    running.start("p4 adapter")
    running.heals(*ALIKE, HOSTILE)
    causes = {
        "stopped": "p1",
        "source never returns": "p2",
        "late": "p3",
        "killed": "p4",
        "link lost midway": CUT,
        "log unwritable": "p6",
        "its store is gone": "p7",
        "answers": "p8",
        "accepted, and no receipt": HOSTILE,
        "never linked": NEVER_LINKED,
        "suspended": SUSPENDED,
        "no agreement": STRANGER,
    }
    return {cause: Happening(told=told, provider=provider) for cause, provider in causes.items()}


def _by_a_hostile_provider(running: Stage) -> dict[str, Happening]:
    """One provider that lies in another way each time."""
    causes = {
        "bad receipt": (Misbehaviour.OTHER_CEILING, DEADLINE),
        "a receipt, and no result": (Misbehaviour.NO_RESULT, DEADLINE),
        "bad receipt to both": (Misbehaviour.FORGED_RECEIPT, PATIENCE),
        "unverifiable page": (Misbehaviour.OTHER_PAGE, PATIENCE),
        "session broken": (Misbehaviour.BROKEN_RECORD, PATIENCE),
        "handshake refused": (
            Misbehaviour.OTHER_LEAF,
            PATIENCE,
        ),  # of the session that follows the broken one
    }
    happened = {}
    for cause, (lie, seconds) in causes.items():
        with running.misbehaving(HOSTILE, lie):
            happened[cause] = Happening(told=running.ask(HOSTILE, seconds=seconds), provider=HOSTILE)
    running.heals(HOSTILE)
    return happened


def _one_by_one(running: Stage) -> dict[str, Happening]:
    """What takes a second question, another asker, or the broker."""
    happened = {}

    def another(exchange: str) -> None:
        running.until_decided(exchange, BUSY)
        happened["over a limit"] = Happening(told=running.ask(BUSY, seconds=PATIENCE), provider=BUSY)

    with running.endless(BUSY):
        told = running.ask(BUSY, seconds=PATIENCE, leave=another)
        happened["cancelled by the caller"] = Happening(told=told, provider=BUSY)
    with running.misbehaving(BENT, Misbehaviour.INCOMPLETE_QUERY, "gateway"):
        told = running.ask("p8", by=BENT, seconds=PATIENCE)
        happened["malformed"] = Happening(told=told, provider="p8", asked_by=BENT)
    told = running.ask("p8", reason=common_pb2.REASON_CODE_CIVIL_IMMIGRATION, seconds=PATIENCE)
    happened["its law says no"] = Happening(told=told, provider="p8")
    happened["left out by the caller"] = Happening(told=told, provider="p1")
    with running.frozen("broker"):
        happened["the broker stopped"] = Happening(told=running.ask("p8", seconds=DEADLINE), provider="p8")
    running.heals(*ALIKE)
    return happened


# -- the table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_outcome_has_its_name_and_its_evidence(
    running: Stage, happened: dict[str, Happening], row: Row
) -> None:
    """What the caller was told, and what provider, broker and gateway logged of it (design 5, L1)."""
    happening = happened[row.cause]
    told, provider = happening.told, happening.provider
    if row.cause != "cancelled by the caller":  # who saw nothing more: that stands in the logs alone
        assert told.kind(provider) == (row.outcome, row.attested_by)
    if row.outcome == "NOT_ASKED":
        (asked,) = _logged(running, happening, "gateway", "asked")
        assert asked["not_asked"][provider] == _WHY_NOT[row.cause]  # type: ignore[index]
        assert provider not in asked["asked"]  # type: ignore[operator]
        assert running.logged(provider, "adapter", told.exchange) == []
        return
    found: list[str] = []

    def is_in_the_providers_log() -> bool:
        entries = running.logged(provider, "adapter", told.exchange)
        found[:] = [_named(entry) for entry in entries if entry["kind"] != "unacknowledged"]
        return tuple(found) == row.provider

    until(is_in_the_providers_log, lambda: f"provider logged {found}, expected {row.provider}")
    accounted = _logged(running, happening, "broker", "accounted" if row.broker else "order_refused")
    assert [entry.get("outcomes", {}).get(provider) for entry in accounted] == [row.broker]  # type: ignore[attr-defined]
    (concluded,) = _logged(running, happening, "gateway", "concluded")
    if row.cause == "cancelled by the caller":
        assert concluded["cancelled"] is True
    else:
        assert concluded["outcomes"][provider] == row.outcome.lower()  # type: ignore[index]
    delivered = [
        entry
        for entry in running.logged(happening.asked_by, "gateway", told.exchange)
        if entry["kind"] == "delivered" and entry["peer"] == provider
    ]
    assert [entry["outcome"] for entry in delivered] == (
        [row.outcome.lower()] if row.attested_by == "PROVIDER" else []
    )


_WHY_NOT = {
    "suspended": "suspended",
    "no agreement": "no_agreement",
    "left out by the caller": "excluded",
}


def _named(entry: dict[str, object]) -> str:
    return f"{entry['kind']} {entry['reason']}" if "reason" in entry else str(entry["kind"])


def _logged(running: Stage, happening: Happening, role: str, kind: str) -> list[dict[str, object]]:
    """Return the entries of a kind that broker or gateway published of an exchange; waits for them."""
    found: list[dict[str, object]] = []

    def is_there() -> bool:
        entries = running.logged(happening.asked_by, role, happening.told.exchange)
        found[:] = [entry for entry in entries if entry["kind"] == kind]
        return bool(found)

    until(is_there, lambda: f"{role}: no `{kind}`")
    return found


def test_every_outcome_of_the_contract_stands_in_the_table() -> None:
    """A kind that is added to the contract needs a cause here."""
    known = {name.removeprefix("OUTCOME_KIND_") for name, _ in common_pb2.OutcomeKind.items()}
    assert {row.outcome for row in TABLE} == known - {"UNSPECIFIED"}


def test_contradicting_statements_are_findings(happened: dict[str, Happening]) -> None:
    """A receipt without its result, a silent broker: the answer itself says so. Honest failures are none."""
    assert any(HOSTILE in line for line in happened["a receipt, and no result"].told.findings)
    assert any("no account" in line for line in happened["the broker stopped"].told.findings)
    assert happened["answers"].told.findings == []


# -- k of eight hang ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hung", range(1, len(ALIKE) + 1))
def test_hung_providers_cost_one_deadline_and_delay_nobody(running: Stage, hung: int) -> None:
    """k stopped processes of eight: one deadline, not k; the others' results come before it (design 5)."""
    stopped, others = ALIKE[:hung], ALIKE[hung:]
    running.heals(*ALIKE)
    with running.frozen(*(f"{name} adapter" for name in stopped)):
        told = running.ask(*ALIKE, seconds=DEADLINE)
    assert told.summary_at < 2 * DEADLINE
    assert told.kinds(others) == dict.fromkeys(others, "RESPONDED")
    assert all(told.arrived[name] < DEADLINE for name in others)
    assert {told.kind(name) for name in stopped} == {("TIMED_OUT", "BROKER")}
    assert all(told.arrived[name] >= DEADLINE * 0.9 for name in stopped)
    assert told.error == ("" if others else "NOBODY_ANSWERED")
    assert told.findings == []
