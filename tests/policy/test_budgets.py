"""Budgets of a policy: read from its annotation, held against what was spent, told with their rule (ours)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.policy.budgets import MOST, Budget, Scope, Span, Spent, read_budgets
from comity.policy.bundle import PolicyBundle
from comity.policy.decision import Effect, PolicyEngine
from comity.policy.errors import BundleInvalid
from comity.policy.facts import DecisionRequest, StoreFacts
from tests.policy.conftest import SEARCH_PERMIT, VIEW_PERMIT, WriteBundle

STORE = (StoreFacts(store_id="fixed", store_class="fixed"),)
BUDGETED = SEARCH_PERMIT.replace("permit (", '@budget("user 3/hour, plate 2/day")\npermit (')
STRICTER = BUDGETED.replace("t.search", "t.stricter").replace("user 3/hour, plate 2/day", "agency 1/day")

EngineOf = Callable[..., PolicyEngine]
Asking = Callable[..., DecisionRequest]


def test_budgets_are_read_in_their_order() -> None:
    """Scope, number and span; blanks don't matter."""
    assert read_budgets("agency 5000/day,user  60/hour") == (
        Budget(scope=Scope.AGENCY, span=Span.DAY, most=5000),
        Budget(scope=Scope.USER, span=Span.HOUR, most=60),
    )


@given(st.builds(Budget, scope=st.sampled_from(Scope), span=st.sampled_from(Span), most=st.integers(1, MOST)))
def test_budget_that_is_written_is_read_again(budget: Budget) -> None:
    """Every budget can be said."""
    assert read_budgets(f"{budget.scope.value} {budget.most}/{budget.span.value}") == (budget,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no budget: expected such as `user 200/day`"),
        ("user 200", "is no budget"),
        ("users 200/day", "did you mean `user`"),
        ("reader 200/day", "expected agency or user or plate"),
        ("user 200/week", "expected hour or day"),
        ("user 200/days", "did you mean `day`"),
        ("user 0/day", "`0` is not a number from 1"),
        ("user -1/day", "`-1` is not a number from 1"),
        ("user ２/day", "is not a number from 1"),
        ("user 99999999/day", "is not a number from 1"),
        ("user 2/day, user 3/day", "`user` has two budgets for one day"),
        ("user 2/day,", "is no budget"),
    ],
)
def test_budget_that_cannot_be_is_named_with_file_and_line(
    write_bundle: WriteBundle, text: str, said: str
) -> None:
    """`comity policy check` says which word is wrong and what would be right; nothing is activated."""
    wrong = BUDGETED.replace("user 3/hour, plate 2/day", text)
    with pytest.raises(BundleInvalid) as caught:
        PolicyBundle.load(write_bundle(f"// first line\n{wrong}"))
    assert (caught.value.path.name, caught.value.line) == ("00.cedar", 3)
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (VIEW_PERMIT.replace("permit (", '@budget("user 1/day")\npermit ('), "on a permit of `Search` alone"),
        (
            SEARCH_PERMIT.replace("permit (", '@budget("user 1/day")\nforbid (')
            .replace('@retain_days("30")\n', "")
            .replace('@max_window("none")\n', ""),
            "`@budget` has no effect on a forbid",
        ),
    ],
)
def test_budget_where_it_would_do_nothing_is_refused(
    write_bundle: WriteBundle, policy: str, said: str
) -> None:
    """Nobody believes in a limit that isn't one."""
    with pytest.raises(BundleInvalid, match=said):
        PolicyBundle.load(write_bundle(policy))


def test_question_over_a_budget_is_limited_under_its_policy(engine_of: EngineOf, asking: Asking) -> None:
    """The last one that fits is answered; the next is over, with id, rule and document of the permit."""
    engine = engine_of(BUDGETED, VIEW_PERMIT)
    last = engine.decide(asking(spent=Spent(user_hour=2, user_day=900, plate_day=1, agency_day=900)), STORE)
    assert last.effect is Effect.PERMIT and last.exceeded == ()
    over = engine.decide(asking(spent=Spent(user_hour=3)), STORE)
    assert over.effect is Effect.LIMIT
    assert [rule.policy_id for rule in over.rules] == ["t.search"]
    assert [item.budget for item in over.exceeded] == [Budget(scope=Scope.USER, span=Span.HOUR, most=3)]
    assert over.public_reason == "the budget is used up: 3 questions an hour for one user"
    assert over.obligations is None and not any(store.permitted for store in over.stores)


def test_each_budget_of_each_permit_holds(engine_of: EngineOf, asking: Asking) -> None:
    """Two permits determine one decision: the strictest wins, whichever it is."""
    engine = engine_of(BUDGETED, STRICTER, VIEW_PERMIT)
    over = engine.decide(asking(spent=Spent(agency_day=1, plate_day=2)), STORE)
    assert [(item.policy_id, item.budget.scope) for item in over.exceeded] == [
        ("t.search", Scope.PLATE),
        ("t.stricter", Scope.AGENCY),
    ]


def test_what_is_refused_anyway_is_no_matter_of_budgets(engine_of: EngineOf, asking: Asking) -> None:
    """A refusal stays one: a budget that is used up tells nobody to come back for it (A1)."""
    engine = engine_of(BUDGETED, VIEW_PERMIT)
    decision = engine.decide(asking(spent=Spent(user_hour=99), agreement=None), STORE)
    assert decision.effect is Effect.REFUSE and decision.exceeded == ()


def test_refusal_that_hides_is_limited_like_an_answer(engine_of: EngineOf, asking: Asking) -> None:
    """Who is refused without being told is limited as if nothing refused: no limit tells (A1)."""
    hidden = (
        SEARCH_PERMIT.replace("t.search", "t.hidden")
        .replace('@retain_days("30")\n@max_window("none")\n', '@shown_as("no_hits")\n')
        .replace("permit (", "forbid (")
    )
    engine = engine_of(BUDGETED, hidden, VIEW_PERMIT)
    for used, effect in ((2, Effect.PERMIT), (3, Effect.LIMIT)):
        decision = engine.decide(asking(spent=Spent(user_hour=used)), STORE)
        assert decision.effect is Effect.REFUSE and decision.shown is not None
        assert decision.shown.effect is effect


@given(
    spent=st.builds(Spent, user_hour=st.integers(0, 5), plate_day=st.integers(0, 5)), more=st.integers(0, 3)
)
def test_having_asked_more_never_permits_more(spent: Spent, more: int) -> None:
    """Budgets only ever get tighter with what was asked."""
    for budget in read_budgets("user 3/hour, plate 2/day"):
        used = Spent(user_hour=spent.user_hour + more, plate_day=spent.plate_day + more)
        assert budget.is_exceeded(used, 1) or not budget.is_exceeded(spent, 1)
