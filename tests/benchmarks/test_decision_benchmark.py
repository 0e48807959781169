"""The benchmark of decisions measures what it says: obligations, and questions that are new."""

from __future__ import annotations

from itertools import islice

from benchmarks.decision import fresh, measure, obliged
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import Effect, PolicyEngine


def test_each_bundle_has_a_permit_with_obligations_and_new_questions_stay_permitted() -> None:
    """Else it would time refusals, or remembered verdicts."""
    for agency in ("dea", "lahd"):
        engine = PolicyEngine(PolicyBundle.load(shipped(agency)))
        case = obliged(engine, agency)
        questions = list(islice(fresh(case.request), 20))
        assert len(set(questions)) == 20
        for question in questions[:3]:
            decision = engine.decide(question, case.stores)
            assert decision.effect is Effect.PERMIT
            assert decision.obligations is not None and decision.obligations.applied


def test_figures_are_those_of_the_repetitions() -> None:
    """A ratio is taken within a repetition."""
    found = measure("lapd", 2, 0.01)
    assert len(found.new) == len(found.known) == len(found.bare) == len(found.ratios) == 2
    assert found.ratios[1] == found.new[1] / found.bare[1] > 0
