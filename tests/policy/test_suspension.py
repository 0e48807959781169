"""When a policy suspends: what its table may say, what counts, and that nobody barred is decided for (Q8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import DecisionRequest, Effect, PolicyEngine, StoreFacts
from comity.policy.errors import BundleInvalid
from comity.policy.facts import Barred
from comity.policy.suspension import Returns, SuspensionTerms
from comity.policy.written import read_facts, write_facts

Asking = Callable[..., DecisionRequest]
Stores = tuple[StoreFacts, ...]
Write = Callable[..., Path]

PERMIT = """@id("t.search") @rule("A1") @document("ours") @text("all")
@max_window("none") @retain_days("1")
permit (principal, action == Action::"Search", resource);"""
COUNTED = """@id("t.standing") @rule("Q4") @document("ours") @text("no standing") @authorization
forbid (principal, action, resource) unless { principal.goodStanding };"""
OTHER = """@id("t.toll") @rule("A1") @document("ours") @text("not for narcotics")
forbid (principal, action, resource) when { context.query.reason == Reason::"NARCOTICS" };"""


def suspending(write_bundle: Write, table: str, *policies: str) -> Path:
    folder = write_bundle(*(policies or (PERMIT, COUNTED)))
    manifest = folder / "bundle.toml"
    manifest.write_text(manifest.read_text() + table)
    return folder


@pytest.mark.parametrize(
    ("table", "terms"),
    [
        (
            'refusals = 5\nwindow_hours = 24\naccess_returns = "recertification"',
            SuspensionTerms(refusals=5, window=timedelta(days=1), returns=Returns.RECERTIFICATION),
        ),
        (
            'refusals = 2\nwindow_hours = 1\naccess_returns = "both"\nlength_hours = 72',
            SuspensionTerms(
                refusals=2, window=timedelta(hours=1), returns=Returns.BOTH, length=timedelta(days=3)
            ),
        ),
    ],
)
def test_terms_stand_in_the_bundle_and_its_digest(
    write_bundle: Write, table: str, terms: SuspensionTerms
) -> None:
    """Count, window, length and how access returns are law: another number is another digest (Q8)."""
    folder = write_bundle(PERMIT, COUNTED)
    plain = PolicyBundle.load(folder)
    assert plain.manifest.suspension is None
    manifest = folder / "bundle.toml"
    manifest.write_text(f"{manifest.read_text()}\n[suspension]\n{table}\n")
    bundle = PolicyBundle.load(folder)
    assert bundle.manifest.suspension == terms
    assert bundle.digest != plain.digest


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("refusals = 1\nwindow_hours = 24\naccess_returns = 'either'\nlength_hours = 1", 5, "from 2 to 1000"),
        ("refusals = 5\naccess_returns = 'recertification'", 4, "`window_hours` must be a number"),
        ("refusals = 5\nwindow_hours = true\naccess_returns = 'recertification'", 6, "`window_hours`"),
        ("refusals = 5\nwindow_hours = 24\naccess_returns = 'never'", 7, '"recertification", "length"'),
        ("refusals = 5\nwindow_hours = 24", 4, "`access_returns` must be one of"),
        ("refusals = 5\nwindow_hours = 24\naccess_returns = 'length'", 7, "`length_hours` is required"),
        (
            "refusals = 5\nwindow_hours = 24\nlength_hours = 2\naccess_returns = 'recertification'",
            7,
            "`length_hours` has no meaning",
        ),
        ("refusal = 5\nwindow_hours = 24", 5, "did you mean `refusals`"),
    ],
)
def test_table_that_is_wrong_names_file_and_line(
    write_bundle: Write, table: str, line: int, said: str
) -> None:
    """A table that isn't understood activates nothing: a suspension that never comes is no safeguard (Q8)."""
    folder = write_bundle(PERMIT, COUNTED)
    (folder / "bundle.toml").write_text(f'agency = "lapd"\nversion = "1"\n\n[suspension]\n{table}\n')
    with pytest.raises(BundleInvalid) as raised:
        PolicyBundle.load(folder)
    assert raised.value.path.name == "bundle.toml"
    assert (raised.value.line, said in raised.value.detail) == (line, True), raised.value.detail


def test_table_that_counts_nothing_is_refused(write_bundle: Write) -> None:
    """Without a forbid that is marked `@authorization` nothing would ever suspend (Q8)."""
    table = '\n[suspension]\nrefusals = 5\nwindow_hours = 24\naccess_returns = "recertification"\n'
    with pytest.raises(BundleInvalid, match="counts nothing"):
        PolicyBundle.load(suspending(write_bundle, table, PERMIT, OTHER))


def test_permit_that_is_marked_is_refused(write_bundle: Write) -> None:
    """Only a refusal can be one for want of authorization (Q8)."""
    with pytest.raises(BundleInvalid, match="`@authorization` has no effect on a permit"):
        PolicyBundle.load(write_bundle(PERMIT.replace("permit", "@authorization permit")))


@pytest.mark.parametrize(
    ("standing", "reason", "counts"),
    [
        (False, "CRIMINAL_INVESTIGATION", True),
        (False, "NARCOTICS", True),
        (True, "NARCOTICS", False),
        (True, "CRIMINAL_INVESTIGATION", False),
    ],
)
def test_refusals_count_that_a_marked_forbid_determined(
    engine_of: Callable[..., PolicyEngine],
    asking: Asking,
    stores: Stores,
    standing: bool,
    reason: str,
    counts: bool,
) -> None:
    """A refusal for what was asked is none for who asked (Q8)."""
    request = asking(reason=reason)
    request = replace(request, subject=replace(request.subject, good_standing=standing))
    engine = engine_of(PERMIT, COUNTED, OTHER)
    assert engine.counts(engine.decide(request, stores).rules) is counts


@pytest.mark.parametrize("by", ["suspension", "termination"])
def test_nobody_who_is_barred_is_decided_for(
    engine_of: Callable[..., PolicyEngine], asking: Asking, stores: Stores, by: str
) -> None:
    """Whatever a permit says: REFUSED, citing Q8, with how access returns; and the same when made again."""
    request = asking()
    barred = Barred(by=by, text="no access here since noon (Q8)")
    request = replace(request, subject=replace(request.subject, barred=barred))
    engine = engine_of(PERMIT)
    decision = engine.decide(request, stores)
    assert decision.effect is Effect.REFUSE and decision.public_reason == barred.text
    assert [(rule.policy_id, rule.rules) for rule in decision.rules] == [(by, ("Q8",))]
    assert not [store for store in decision.stores if store.permitted]
    assert not engine.counts(decision.rules)
    again, same_stores = read_facts(write_facts(request, stores))
    assert engine.decide(again, same_stores) == decision


@pytest.mark.parametrize("agency", ["cbp", "dea", "vendor"])
def test_shipped_bundles_suspend_until_recertification(agency: str) -> None:
    """CBP 8: access returns after recertification; every forbid about people counts (Q8)."""
    bundle = PolicyBundle.load(shipped(agency))
    assert (
        bundle.manifest.suspension is not None
        and bundle.manifest.suspension.returns is Returns.RECERTIFICATION
    )
    people = [policy for policy in bundle.policies if policy.path.endswith("30-people.cedar")]
    assert people and all(policy.terms.authorization for policy in people)
