"""A refusal that is shown as an answer without hits: nothing tells it from one (A1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import DecisionRequest, Effect, PolicyEngine, StoreFacts, SubjectFacts
from comity.policy.errors import BundleInvalid
from tests.policy.conftest import SEARCH_PERMIT, VIEW_PERMIT

Ask = Callable[..., DecisionRequest]
Make = Callable[..., PolicyEngine]
Stores = tuple[StoreFacts, ...]

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

HIDDEN = """
@id("t.hidden")
@rule("A1")
@document("ours")
@text("mobile readers are told to nobody")
@shown_as("no_hits")
forbid (principal, action, resource)
when { resource.class == StoreClass::"mobile" || context.query.reason == Reason::"NARCOTICS" };
"""

PLAIN = """
@id("t.trained")
@rule("Q4")
@document("ours")
@text("the person was not trained")
forbid (principal, action, resource)
unless { principal has trainedDaysAgo };
"""

OLD = """
@id("t.old")
@rule("A1")
@document("ours")
@text("what is old is kept a short while")
@retain_days("3")
@max_window_days("60")
@max_reads("7")
@caveat("Ask before you use it.")
permit (principal, action == Action::"Search", resource)
when { resource.class == StoreClass::"mobile" };
"""

BUNDLE = (SEARCH_PERMIT, VIEW_PERMIT, OLD, PLAIN)
MOBILE = (StoreFacts(store_id="patrol", store_class="mobile"),)


def test_hidden_refusal_is_shown_as_the_permit_that_it_overrules(engine_of: Make, asking: Ask) -> None:
    """Refused in truth, with its policy; shown is what the bundle would decide without it, limits and all."""
    decision = engine_of(*BUNDLE, HIDDEN).decide(asking(), MOBILE)
    assert decision.effect is Effect.REFUSE
    assert [rule.policy_id for rule in decision.rules] == ["t.hidden"]
    assert decision.shown_as == "no_hits"
    assert decision.shown is not None
    assert decision.shown.effect is Effect.PERMIT
    assert [rule.policy_id for rule in decision.shown.rules] == ["t.search", "t.old"]
    assert decision.shown.obligations is not None
    assert decision.shown.obligations.max_reads == 7


def test_other_objection_is_told_without_the_hidden_one(engine_of: Make, asking: Ask) -> None:
    """Who would be refused anyway is told so: an answer there would tell that something is hidden (A1)."""
    untrained = asking(subject=SubjectFacts(user="x", rules_accepted_at=NOW, good_standing=True))
    decision = engine_of(*BUNDLE, HIDDEN).decide(untrained, MOBILE)
    assert decision.shown_as == "refuse"
    assert decision.shown is not None
    assert [rule.policy_id for rule in decision.shown.rules] == ["t.trained"]
    assert decision.shown.public_reason == "the person was not trained"
    assert {rule.policy_id for rule in decision.rules} == {"t.trained", "t.hidden"}


def test_hidden_store_beside_others_leaves_no_gap(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """One store answers, the other is refused: shown are the terms of an answer of both."""
    decision = engine_of(*BUNDLE, HIDDEN).decide(asking(), stores)
    assert decision.effect is Effect.PERMIT
    assert [store.store_id for store in decision.stores if store.permitted] == ["corridor"]
    assert decision.shown_as == "fewer_hits"
    assert decision.shown is not None
    assert decision.shown.obligations is not None
    assert decision.shown.obligations.retain_days == 3


def test_hidden_store_does_not_tell_of_itself_by_readings(
    engine_of: Make, asking: Ask, stores: Stores
) -> None:
    """One permit has 16 readings, the hidden store's has one: refused, as without what hides it (A1, Q10)."""
    many = SEARCH_PERMIT.replace("permit (", '@readings("16")\npermit (')
    laws = (many, VIEW_PERMIT, OLD)
    narcotics_apart = HIDDEN.replace(' || context.query.reason == Reason::"NARCOTICS"', "")
    question = asking(readings=2)
    decision = engine_of(*laws, narcotics_apart, name="hiding").decide(question, stores)
    assert decision.effect is Effect.PERMIT
    assert decision.shown == engine_of(*laws, name="plain").decide(question, stores)
    assert decision.shown_as == "refuse"


def test_what_is_not_hidden_is_shown_as_it_is(engine_of: Make, asking: Ask) -> None:
    """Where no policy that hides itself applies, nothing else is shown."""
    fixed = [StoreFacts(store_id="corridor", store_class="fixed")]
    decision = engine_of(*BUNDLE, HIDDEN).decide(asking(), fixed)
    assert decision.shown is None
    assert decision.shown_as == ""


def test_policy_that_fails_is_not_hidden(engine_of: Make, asking: Ask) -> None:
    """A fault is told as one: an answer without hits that stood on a fault would be false by chance."""
    condition = HIDDEN[HIDDEN.index("when") :]
    failing = HIDDEN.replace(condition, "when { context.query.oldestDaysAgo * 9223372036854775807 > 5 };")
    decision = engine_of(*BUNDLE, failing).decide(asking(), MOBILE)
    assert decision.effect is Effect.REFUSE
    assert decision.errors == ("t.hidden",)
    assert decision.shown is None


def test_area_does_not_tell_of_a_place_of_which_nothing_is_said(engine_of: Make, asking: Ask) -> None:
    """A location withheld unsaid looks unknown: with an area its reads aren't found, as none is."""
    quiet = """
@id("t.quiet")
@rule("A6")
@document("ours")
@text("places are told to nobody")
@say("no")
forbid (principal, action == Action::"ViewExactLocation", resource);
"""
    engine = engine_of(SEARCH_PERMIT, VIEW_PERMIT, quiet)
    decision = engine.decide(asking(has_area=True), MOBILE)
    assert decision.effect is Effect.REFUSE
    assert [rule.policy_id for rule in decision.rules] == ["area"]
    assert decision.shown_as == "no_hits"
    assert engine.decide(asking(), MOBILE).shown is None


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[PolicyEngine, PolicyEngine]:
    """An engine with the policy that hides itself, and one without."""

    def engine(name: str, *policies: str) -> PolicyEngine:
        folder: Path = tmp_path_factory.mktemp(name)
        (folder / "policies").mkdir()
        for file in ("schema.cedarschema", "entities.json"):
            (folder / file).write_bytes((shipped("lapd") / file).read_bytes())
        (folder / "bundle.toml").write_text('agency = "lapd"\nversion = "1"\n')
        for index, text in enumerate(policies):
            (folder / "policies" / f"{index:02}.cedar").write_text(text)
        return PolicyEngine(PolicyBundle.load(folder))

    return engine("with", *BUNDLE, HIDDEN), engine("without", *BUNDLE)


@given(
    classes=st.lists(st.sampled_from(["fixed", "mobile", "covert"]), min_size=1, max_size=3),
    reason=st.sampled_from(["CRIMINAL_INVESTIGATION", "NARCOTICS"]),
    trained=st.booleans(),
    area=st.booleans(),
    days=st.sampled_from([1, 59, 61, 500]),
    elements=st.frozensets(st.sampled_from(["LOCATION", "IMAGES"])),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_shown_is_what_a_bundle_without_the_policy_decides(
    both: tuple[PolicyEngine, PolicyEngine],
    asking: Ask,
    classes: list[str],
    reason: str,
    trained: bool,
    area: bool,
    days: int,
    elements: frozenset[str],
) -> None:
    """Whatever is asked: what is shown equals, field by field, the decision of who hides nothing (A1)."""
    agreement = asking().agreement
    assert agreement is not None
    request = asking(
        reason=reason,
        subject=SubjectFacts(user="x", trained_at=NOW if trained else None),
        has_area=area,
        period_start=NOW - timedelta(days=days),
        elements=elements,
        agreement=type(agreement)(
            agreement_id="moa",
            purposes=frozenset({"CRIMINAL_INVESTIGATION", "NARCOTICS"}),
            elements=agreement.elements,
        ),
    )
    stores = [StoreFacts(store_id=f"s{n}", store_class=name) for n, name in enumerate(classes)]
    hiding, plain = both
    decision, open_decision = hiding.decide(request, stores), plain.decide(request, stores)
    assert (decision.shown or decision) == open_decision
    permitted = {store.store_id for store in decision.stores if store.permitted}
    assert permitted <= {store.store_id for store in open_decision.stores if store.permitted}
    assert not any(stores[int(name[1:])].store_class == "mobile" for name in permitted)
    assert reason != "NARCOTICS" or not permitted


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('@shown_as("no_hits")', '@shown_as("nothing")', "`nothing` is not `no_hits`"),
        ('@shown_as("no_hits")', '@shown_as("no_hits")\n@refer', "beside `@refer` the refusal would show"),
        ('@shown_as("no_hits")', '@shown_as("no_hits")\n@authorization', "beside `@authorization`"),
        ("principal, action, resource", 'principal, action == Action::"ViewImages", resource', "`@say` has"),
    ],
    ids=["another word", "refer", "authorization", "a view"],
)
def test_hiding_that_would_not_hide_is_refused(
    write_bundle: Callable[..., Path], old: str, new: str, says: str
) -> None:
    """What would show the refusal by another way fails the check."""
    with pytest.raises(BundleInvalid, match=says):
        PolicyBundle.load(write_bundle(*BUNDLE, HIDDEN.replace(old, new)))
