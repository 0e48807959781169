"""Why a question is decided as it is, and what would have to differ.

`explain` decides, then looks for the fewest facts that would have to be otherwise for another effect:
first each fact alone, then two together; where more stand in the way, the one after which fewest
policies object is taken first. It looks among the values that the bundle tells apart (`variations`), so
what it finds is so; where it finds nothing, nothing among these values would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from comity.policy.bundle import PolicyBundle
from comity.policy.decision import Decision, Effect, PolicyEngine
from comity.policy.facts import DecisionRequest, StoreFacts
from comity.policy.variations import Asked, Variation, named_in, variations

MOST_TOGETHER: Final = 6
"""Facts that are changed together at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """Facts that, being otherwise together, would give another effect."""

    changes: tuple[Variation, ...]
    decision: Decision
    """What would be decided then."""

    @property
    def words(self) -> str:
        """To stand after 'if'."""
        return ", and ".join(change.words for change in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision, and what would make it another one."""

    decision: Decision
    otherwise: tuple[Otherwise, ...]
    """Each as good as the others, of the fewest facts; empty for a permit, or where nothing was found."""


def explain(engine: PolicyEngine, request: DecisionRequest, stores: Sequence[StoreFacts]) -> Explanation:
    """Decide a question and, unless it is a permit, find what would have to differ for one."""
    asked = Asked(request=request, stores=tuple(stores))
    decision = engine.decide(request, stores)
    if decision.effect is Effect.PERMIT or not stores:
        return Explanation(decision=decision, otherwise=())
    return Explanation(decision=decision, otherwise=tuple(_permitting(engine, asked, decision)))


def _permitting(engine: PolicyEngine, asked: Asked, decision: Decision) -> Iterator[Otherwise]:
    space = _space(engine.bundle, asked)
    taken: tuple[Variation, ...] = ()
    for _ in range(MOST_TOGETHER):
        found = list(_fewest(engine, asked, space, taken))
        if found:
            yield from found
            return
        step = _next(engine, asked, decision, space)
        if step is None:
            return
        change, asked, decision = step
        taken = (*taken, change)
        space = {fact: values for fact, values in space.items() if fact != change.fact}


def _fewest(
    engine: PolicyEngine,
    asked: Asked,
    space: Mapping[str, Sequence[Variation]],
    taken: tuple[Variation, ...],
) -> Iterator[Otherwise]:
    """Yield what permits with one change more, or if there is none, with two."""
    singles = [one for values in space.values() for one in values]
    yielded = False
    for one in singles:
        decision = _decide(engine, one.change(asked))
        if decision.effect is Effect.PERMIT:
            yielded = True
            yield Otherwise(changes=(*taken, one), decision=decision)
    if yielded:
        return
    for first, second in combinations(space, 2):
        for one in space[first]:
            changed = one.change(asked)
            for other in space[second]:
                decision = _decide(engine, other.change(changed))
                if decision.effect is Effect.PERMIT:
                    yield Otherwise(changes=(*taken, one, other), decision=decision)


def _next(
    engine: PolicyEngine, asked: Asked, decision: Decision, space: Mapping[str, Sequence[Variation]]
) -> tuple[Variation, Asked, Decision] | None:
    """Return the change after which fewest policies object; None if none takes an objection away."""
    best: tuple[Variation, Asked, Decision] | None = None
    fewest = _objections(decision)
    for values in space.values():
        for one in values:
            changed = one.change(asked)
            tried = _decide(engine, changed)
            if _objections(tried) < fewest:
                best, fewest = (one, changed, tried), _objections(tried)
    return best


def _objections(decision: Decision) -> int:
    """Return how many policies object; that none permits counts as less than any that forbids."""
    return sum(len(store.rules) for store in decision.stores)


def _decide(engine: PolicyEngine, asked: Asked) -> Decision:
    return engine.decide(asked.request, asked.stores)


def _space(bundle: PolicyBundle, asked: Asked) -> Mapping[str, Sequence[Variation]]:
    """Return the values to try, without those that are so already."""
    named = named_in(policy.json_text for policy in bundle.policies)
    kept: dict[str, Sequence[Variation]] = {}
    for fact, values in variations(bundle, named).items():
        different = tuple(_distinct(values, asked))
        if different:
            kept[fact] = different
    return kept


def _distinct(values: Sequence[Variation], asked: Asked) -> Iterator[Variation]:
    seen = {asked}
    for one in values:
        changed = _changed(one.change, asked)
        if changed is not None and changed not in seen:
            seen.add(changed)
            yield one


def _changed(change: Callable[[Asked], Asked], asked: Asked) -> Asked | None:
    try:
        return change(asked)
    except ValueError:
        return None
