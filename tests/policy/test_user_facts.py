"""What policies can ask of a person: duty station, accepted text, review of the account (Q4, L9)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from comity.certs.identity_provider import DEFAULT_RULES
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import DecisionRequest, Effect, PolicyEngine, StoreFacts
from comity.policy.errors import BundleInvalid
from comity.policy.facts import SubjectFacts
from comity.policy.written import read_facts, write_facts

Asking = Callable[..., DecisionRequest]
Stores = tuple[StoreFacts, ...]

SEARCH = """@id("t.search") @rule("A1") @document("ours") @text("all")
@max_window("none") @retain_days("1")
permit (principal, action == Action::"Search", resource)"""
TEXT = hashlib.sha256(b"the agreed text").hexdigest()


@pytest.mark.parametrize(
    ("condition", "facts", "effect"),
    [
        ('principal.dutyStation == "Harbor"', {"duty_station": "Harbor"}, Effect.PERMIT),
        ('principal.dutyStation == "Harbor"', {"duty_station": "Central"}, Effect.REFUSE),
        ('principal.dutyStation == "Harbor"', {}, Effect.REFUSE),
        (f'principal.rulesDigest == "{TEXT}"', {"rules_digest": TEXT}, Effect.PERMIT),
        (f'principal.rulesDigest == "{TEXT}"', {"rules_digest": "0" * 64}, Effect.REFUSE),
        (f'principal.rulesDigest == "{TEXT}"', {}, Effect.REFUSE),
    ],
)
def test_permit_that_asks_where_one_serves_or_what_one_accepted(
    engine_of: Callable[..., PolicyEngine],
    asking: Asking,
    stores: Stores,
    condition: str,
    facts: dict[str, object],
    effect: Effect,
) -> None:
    """Where one serves, and which text one accepted, are what a policy can ask for (Q4)."""
    request = asking()
    request = replace(request, subject=replace(request.subject, **facts))  # type: ignore[arg-type]
    assert engine_of(f"{SEARCH} when {{ {condition} }};").decide(request, stores).effect is effect


def test_text_that_was_not_accepted_at_this_logon_is_no_fact(
    engine_of: Callable[..., PolicyEngine], asking: Asking, stores: Stores
) -> None:
    """Whatever digest is stated: without acceptance at this logon it counts for nothing (Q4)."""
    request = asking()
    subject = replace(request.subject, rules_digest=TEXT, rules_accepted_at=None)
    engine = engine_of(f'{SEARCH} when {{ principal.rulesDigest == "{TEXT}" }};')
    assert engine.decide(replace(request, subject=subject), stores).effect is Effect.REFUSE


@pytest.mark.parametrize(
    ("days", "permitted"), [(0, True), (365, True), (366, False), (-1, False), (None, False)]
)
def test_review_of_the_account_is_judged_by_days(
    engine_of: Callable[..., PolicyEngine], asking: Asking, stores: Stores, days: int | None, permitted: bool
) -> None:
    """The year's last day counts, the next doesn't, and neither does a review that lies ahead (L9)."""
    request = asking()
    reviewed = None if days is None else request.now - timedelta(days=days)
    request = replace(request, subject=replace(request.subject, account_reviewed_at=reviewed))
    within = "principal has accountReviewedDaysAgo && principal.accountReviewedDaysAgo <= 365"
    engine = engine_of(f"{SEARCH} when {{ {within} }};")
    assert (engine.decide(request, stores).effect is Effect.PERMIT) is permitted


def test_vendor_takes_the_text_that_the_demonstrations_users_accept() -> None:
    """The digest in the vendor's bundle is that of the shipped rules of behaviour (Q4)."""
    entities = json.loads((shipped("vendor") / "entities.json").read_text())
    texts = [entity["attrs"].get("rulesOfBehaviour") for entity in entities if entity["uid"]["id"] == "ice"]
    assert texts == [[hashlib.sha256(DEFAULT_RULES.encode()).hexdigest()]]


@pytest.mark.parametrize("text", ["", "ABCD", "0" * 63, "G" * 64, "A" * 64, 7])
def test_list_of_rules_that_holds_no_digest(write_bundle: Callable[..., Path], text: object) -> None:
    """A misspelt digest would refuse everybody without a word; it isn't activated (Q4)."""
    folder = write_bundle(f"{SEARCH};")
    agency = {"uid": {"type": "Agency", "id": "ice"}, "attrs": {"rulesOfBehaviour": [text]}, "parents": []}
    (folder / "entities.json").write_text(json.dumps([agency]))
    with pytest.raises(BundleInvalid, match="rulesOfBehaviour"):
        PolicyBundle.load(folder)


def test_digest_that_is_none_is_no_fact() -> None:
    """Facts are valid once built (Q4)."""
    with pytest.raises(ValueError, match="rules_digest"):
        SubjectFacts(user="x", rules_digest="abc")


def test_facts_of_an_older_log_are_read(asking: Asking, stores: Stores) -> None:
    """A decision logged before these facts were known says nothing of them, and is recomputed so (L1)."""
    told = json.loads(write_facts(asking(), stores))
    for name in ("duty_station", "rules_digest", "account_reviewed_at"):
        del told["subject"][name]
    subject = read_facts(json.dumps(told))[0].subject
    assert (subject.duty_station, subject.rules_digest, subject.account_reviewed_at) == ("", "", None)
