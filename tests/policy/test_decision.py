"""The engine fails closed: what errors, is incomplete, or is not permitted does not leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from comity.policy.decision import (
    AgreementFacts,
    DecisionRequest,
    Effect,
    PolicyEngine,
    StoreFacts,
    SubjectFacts,
)
from comity.policy.facts import ELEMENTS
from tests.policy.conftest import NOW, SEARCH_PERMIT, VIEW_PERMIT

Ask = Callable[..., DecisionRequest]
Make = Callable[..., PolicyEngine]
Stores = tuple[StoreFacts, ...]

# Overflows for every question: a policy that passes validation and still fails when it is evaluated.
OVERFLOW = "{ context.query.limitationYears + 9223372036854775807 > 0 }"


def forbid(condition: str, action: str = "action", annotations: str = "") -> str:
    return (
        f'@id("t.forbid")\n@rule("A1")\n@document("ours")\n@text("not this")\n{annotations}\n'
        f"forbid (principal, {action}, resource) when {condition};\n"
    )


def test_permissive_bundle_permits(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """The question that the other tests spoil is permitted, with nothing withheld or clipped."""
    decision = engine_of(SEARCH_PERMIT, VIEW_PERMIT).decide(asking(), stores)
    assert decision.effect is Effect.PERMIT
    assert [rule.policy_id for rule in decision.rules] == ["t.search"]
    assert decision.obligations is not None
    assert decision.obligations.withhold == frozenset()
    assert decision.obligations.applied == ()


def test_permit_that_errors_permits_nothing(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """A policy that fails while evaluated is no permit."""
    broken = SEARCH_PERMIT.replace("resource);", f"resource) when {OVERFLOW};")
    decision = engine_of(broken, VIEW_PERMIT).decide(asking(limitation_years=1), stores)
    assert decision.effect is Effect.REFUSE
    assert decision.errors == ("t.search",)
    assert decision.obligations is None


def test_forbid_that_errors_refuses_although_cedar_would_skip_it(
    engine_of: Make, asking: Ask, stores: Stores
) -> None:
    """Cedar skips a forbid that errors and allows; Comity refuses."""
    decision = engine_of(SEARCH_PERMIT, VIEW_PERMIT, forbid(OVERFLOW)).decide(
        asking(limitation_years=1), stores
    )
    assert decision.effect is Effect.REFUSE
    assert decision.errors == ("t.forbid",)
    assert not any(store.permitted for store in decision.stores)
    assert "could not be evaluated" in decision.public_reason


def test_forbid_that_errors_on_a_view_withholds(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """The same for one class of data: its images stay, the rest may go."""
    broken = forbid(OVERFLOW, 'action == Action::"ViewImages"')
    decision = engine_of(SEARCH_PERMIT, VIEW_PERMIT, broken).decide(asking(limitation_years=1), stores)
    assert decision.effect is Effect.PERMIT
    assert decision.obligations is not None
    assert decision.obligations.withhold == {"IMAGES"}
    assert decision.errors == ("t.forbid",)


@pytest.mark.parametrize("missing", [{"retain_days": None}, {"windows": ()}])
def test_permit_without_limits_does_not_pass_even_if_it_was_loaded(
    engine_of: Make, asking: Ask, stores: Stores, missing: dict[str, object]
) -> None:
    """Should the check at load ever be passed by, the decision still refuses."""
    bundle = engine_of(SEARCH_PERMIT, VIEW_PERMIT).bundle
    search, view = bundle.policies
    bare = replace(search, terms=replace(search.terms, **missing))  # type: ignore[arg-type]
    decision = PolicyEngine(replace(bundle, policies=(bare, view))).decide(asking(), stores)
    assert decision.effect is Effect.REFUSE
    assert decision.errors == ("t.search",)


def test_one_incomplete_permit_spoils_a_complete_one(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """Every determining permit must set its limits, or the strictest of them is not known."""
    bundle = engine_of(SEARCH_PERMIT, SEARCH_PERMIT.replace("t.search", "t.other")).bundle
    search, other = bundle.policies
    bare = replace(other, terms=replace(other.terms, retain_days=None))
    decision = PolicyEngine(replace(bundle, policies=(search, bare))).decide(asking(), stores)
    assert decision.effect is Effect.REFUSE


def test_obligation_that_is_not_implemented_refuses(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """A permit that asks for what this version cannot do is no permit (fail closed)."""
    bundle = engine_of(SEARCH_PERMIT, VIEW_PERMIT).bundle
    search, view = bundle.policies
    odd = replace(search, terms=replace(search.terms, obligations=("blur_faces",)))
    decision = PolicyEngine(replace(bundle, policies=(odd, view))).decide(asking(), stores)
    assert decision.effect is Effect.REFUSE
    odd = replace(view, terms=replace(view.terms, obligations=("blur_faces",)))
    decision = PolicyEngine(replace(bundle, policies=(search, odd))).decide(asking(), stores)
    assert decision.obligations is not None
    assert decision.obligations.withhold == ELEMENTS


def test_empty_bundle_permits_nothing(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """No policy, no permission; the refusal still says so in plain words."""
    decision = engine_of().decide(asking(), stores)
    assert decision.effect is Effect.REFUSE
    assert decision.rules == ()
    assert decision.public_reason.startswith("no policy of lapd permits this")


def test_provider_without_stores_refuses(engine_of: Make, asking: Ask) -> None:
    """Nothing to search is not a permit over nothing."""
    assert engine_of(SEARCH_PERMIT).decide(asking(), ()).effect is Effect.REFUSE


def test_no_agreement_refuses_whatever_the_policies_say(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """A policy that permits everything permits nothing without an agreement in force (A2)."""
    engine = engine_of(SEARCH_PERMIT, VIEW_PERMIT)
    agreement = asking().agreement
    assert agreement is not None
    for absent in (None, replace(agreement, in_force=False)):
        decision = engine.decide(asking(agreement=absent), stores)
        assert decision.effect is Effect.REFUSE
        assert decision.rules[0].rules == ("A2",)


def test_purpose_outside_the_agreement_refuses(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """A policy cannot widen what the agreement grants (A2)."""
    decision = engine_of(SEARCH_PERMIT, VIEW_PERMIT).decide(asking(reason="STOLEN_VEHICLE"), stores)
    assert decision.effect is Effect.REFUSE
    assert decision.public_reason == "the agreement does not grant this purpose"


def test_element_outside_the_agreement_is_withheld(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """What the agreement does not list stays, and the answer says why (A2)."""
    agreement = AgreementFacts(
        agreement_id="moa",
        purposes=frozenset({"CRIMINAL_INVESTIGATION"}),
        elements=frozenset({"LOCATION", "PLATE"}),
    )
    decision = engine_of(SEARCH_PERMIT, VIEW_PERMIT).decide(asking(agreement=agreement), stores)
    assert decision.obligations is not None
    assert decision.obligations.withhold == {"IMAGES", "VEHICLE", "CAMERA"}
    assert {applied.policy_id for applied in decision.obligations.applied} == {"agreement:moa"}


def test_element_that_was_not_wanted_is_not_called_withheld(
    engine_of: Make, asking: Ask, stores: Stores
) -> None:
    """It may not leave, since nothing permitted it, but no obligation is named for it."""
    decision = engine_of(SEARCH_PERMIT).decide(asking(elements=frozenset({"IMAGES"})), stores)
    assert decision.obligations is not None
    assert decision.obligations.withhold == ELEMENTS
    assert [applied.name for applied in decision.obligations.applied] == ["withhold_images"]


def test_unpermitted_view_says_that_no_policy_permits_it(
    engine_of: Make, asking: Ask, stores: Stores
) -> None:
    """Each class of data is an action of its own: without a permit it is withheld (design 6)."""
    decision = engine_of(SEARCH_PERMIT).decide(asking(), stores)
    assert decision.obligations is not None
    assert decision.obligations.withhold == ELEMENTS
    assert all("not permitted by any policy" in applied.text for applied in decision.obligations.applied)


def test_class_of_store_that_the_schema_lacks_refuses(engine_of: Make, asking: Ask) -> None:
    """A store that policies cannot know is not searched."""
    odd = (StoreFacts(store_id="corridor", store_class="submarine"),)
    decision = engine_of(SEARCH_PERMIT, VIEW_PERMIT).decide(asking(), odd)
    assert decision.effect is Effect.REFUSE
    assert decision.errors == ("request",)


def test_two_stores_of_one_id_refuse(engine_of: Make, asking: Ask) -> None:
    """A decision on an id that means two stores would be a decision on neither."""
    twice = tuple(StoreFacts(store_id="corridor", store_class=word) for word in ("fixed", "covert"))
    assert engine_of(SEARCH_PERMIT).decide(asking(), twice).effect is Effect.REFUSE


def test_area_cannot_feel_for_a_place_that_is_withheld(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """A hit inside a circle tells the place, so with location withheld no area is searched (A6)."""
    hide = forbid('{ resource.class == StoreClass::"mobile" }', 'action == Action::"ViewExactLocation"')
    engine = engine_of(SEARCH_PERMIT, VIEW_PERMIT, hide)
    for elements in (ELEMENTS, frozenset({"IMAGES"})):
        decision = engine.decide(asking(has_area=True, elements=elements), stores)
        assert [store.permitted for store in decision.stores] == [True, False]
    assert engine.decide(asking(has_area=True), stores[1:]).public_reason.startswith(
        "a search narrowed by area"
    )


def test_strictest_of_several_permits_wins(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """Two permits match: the later start, the fewer reads, the shorter retention hold."""
    other = (
        SEARCH_PERMIT.replace("t.search", "t.other")
        .replace(
            '@max_window("none")', '@max_window_days("10")\n@max_reads("7")\n@obligation("withhold_camera")'
        )
        .replace('"30"', '"90"')
    )
    decision = engine_of(SEARCH_PERMIT, other, VIEW_PERMIT).decide(asking(), stores)
    assert decision.obligations is not None
    assert decision.obligations.earliest == NOW - timedelta(days=10)
    assert decision.obligations.max_reads == 7
    assert decision.obligations.retain_days == 30
    assert [(item.name, item.policy_id) for item in decision.obligations.applied] == [
        ("clip_period", "t.other"),
        ("withhold_camera", "t.other"),
    ]


def test_store_of_which_nothing_is_left_is_dropped_and_the_rest_is_searched(
    engine_of: Make, asking: Ask, stores: Stores
) -> None:
    """One store reaches back ten days, the other as far as asked: an old period is searched in one."""
    fixed = SEARCH_PERMIT.replace("resource);", 'resource) when { resource.class == StoreClass::"fixed" };')
    mobile = (
        SEARCH_PERMIT.replace("t.search", "t.mobile")
        .replace('@max_window("none")', '@max_window_days("10")')
        .replace("resource);", 'resource) when { resource.class == StoreClass::"mobile" };')
    )
    engine = engine_of(fixed, mobile, VIEW_PERMIT)
    old = asking(period_end=NOW - timedelta(days=20))
    decision = engine.decide(old, stores)
    assert [store.permitted for store in decision.stores] == [True, False]
    assert decision.obligations is not None
    assert decision.obligations.earliest is None
    alone = engine.decide(old, stores[1:])
    assert alone.effect is Effect.REFUSE
    assert alone.rules[0].policy_id == "t.mobile"


def test_forbid_with_refer_refers(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """A provider can send a question to its contact; any plain forbid beside it refuses."""
    refer = forbid("{ true }", annotations="@refer")
    assert engine_of(SEARCH_PERMIT, refer).decide(asking(), stores).effect is Effect.REFER


def test_referral_does_not_survive_a_plain_forbid(engine_of: Make, asking: Ask, stores: Stores) -> None:
    """Strictest wins among forbids too."""
    refer = forbid("{ true }", annotations="@refer")
    plain = forbid("{ principal.goodStanding }").replace("t.forbid", "t.plain")
    decision = engine_of(SEARCH_PERMIT, refer, plain).decide(asking(), stores)
    assert decision.effect is Effect.REFUSE
    assert {rule.policy_id for rule in decision.rules} == {"t.forbid", "t.plain"}


@pytest.mark.parametrize("trained", [None, NOW + timedelta(days=1)])
def test_training_that_never_was_or_is_to_come_is_no_training(
    engine_of: Make, asking: Ask, stores: Stores, trained: datetime | None
) -> None:
    """A date in the future vouches for nothing (Q4)."""
    rule = forbid("{ !(principal has trainedDaysAgo) }")
    subject = replace(asking().subject, trained_at=trained)
    assert engine_of(SEARCH_PERMIT, rule).decide(asking(subject=subject), stores).effect is Effect.REFUSE


def test_decision_is_the_same_each_time_and_for_every_user(
    engine_of: Make, asking: Ask, stores: Stores
) -> None:
    """Verdicts are remembered by facts alone: same facts, same decision; another fact, another one."""
    engine = engine_of(SEARCH_PERMIT, VIEW_PERMIT, forbid("{ !principal.goodStanding }"))
    first = engine.decide(asking(), stores)
    other = replace(asking().subject, user="somebody-else")
    assert engine.decide(asking(subject=other), stores) == first
    fired = replace(asking().subject, good_standing=False)
    assert engine.decide(asking(subject=fired), stores).effect is Effect.REFUSE
    assert engine.decide(asking(), stores) == first


def test_request_with_unknown_words_cannot_be_built(asking: Ask) -> None:
    """Facts are valid once built; the error repeats no plate and no user."""
    for change in (
        {"reason": "CURIOSITY"},
        {"requester_kind": "private"},
        {"elements": frozenset({"FACES"})},
        {"period_end": NOW - timedelta(days=900)},
        {"now": datetime(2026, 3, 2, 12)},
        {"limitation_years": -1},
    ):
        with pytest.raises(ValueError) as caught:
            asking(**change)
        assert "officer-4711" not in str(caught.value)


def test_hostile_texts_of_a_subject_do_not_change_the_question(
    engine_of: Make, asking: Ask, stores: Stores
) -> None:
    """Office and roles are data, whatever characters they hold."""
    hostile = 'ERO"}}]; permit(principal,action,resource);\u202e\n'
    subject = SubjectFacts(user=hostile, office=hostile, roles=frozenset({hostile}))
    engine = engine_of(SEARCH_PERMIT.replace("resource);", 'resource) when { principal.office == "ERO" };'))
    asked = asking(subject=subject, now=NOW.astimezone(UTC))
    assert engine.decide(asked, stores).effect is Effect.REFUSE
