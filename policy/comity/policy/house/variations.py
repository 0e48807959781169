"""What would let a question be asked or a plate be listed, and rules that can never apply.

As `comity.policy.variations` for providers' policies: the values come from the rules themselves, each number
on both sides of what it is compared with (`question_changes`, `listing_changes`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from comity.policy.drawing import combinations
from comity.policy.house import listing_changes as of_lists
from comity.policy.house import question_changes as of_questions
from comity.policy.house.bundle import HouseBundle, HousePolicy
from comity.policy.house.cedar import ASK, LIST, PreparedRules
from comity.policy.house.changes import CONCERNED, Change
from comity.policy.house.facts import HouseAct, HouseListing, HouseQuestion
from comity.policy.house.rules import HouseRules, Judgement
from comity.policy.variations import named_in

MOST_QUESTIONS: Final = 2_000
"""Questions that a rule is tried with; of more than these, so many are drawn, always the same ones."""

MOST_TOGETHER: Final = 4
"""Facts that are changed together at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A judgement, and what would let it be asked, or listed."""

    judgement: Judgement
    otherwise: tuple[tuple[Change, ...], ...]
    """Changes that together let it pass; empty if it isn't stopped, or where nothing was found."""


def explain_house(rules: HouseRules, act: HouseAct) -> Explained:
    """Judge what concerns one provider and, if it is stopped, find the fewest facts that let it pass."""
    judgement = rules.judge(act)[0]
    if not judgement.stops:
        return Explained(judgement=judgement, otherwise=())
    found: list[tuple[Change, ...]] = []
    taken: tuple[Change, ...] = ()
    changes = list(_changes(rules.bundle.policies, act))
    for _ in range(MOST_TOGETHER):
        tried = [(one, _stops(rules, one, act)) for one in changes]
        found = [(*taken, one) for one, stops in tried if stops == 0]
        if found:
            found = _fewer(found)
            break
        best, fewest = min(tried, key=lambda pair: pair[1])
        if fewest >= len(rules.judge(act)[0].stops):
            break
        act, taken = best.make(act), (*taken, best)
        changes = [one for one in changes if one.fact != best.fact]
    return Explained(judgement=judgement, otherwise=tuple(found))


def unmet(bundle: HouseBundle) -> Iterator[tuple[HousePolicy, int]]:
    """Yield each rule that meets nothing made of what it compares with, and how much was tried."""
    for policy in bundle.policies:
        rule = {policy.policy_id: policy.json_text}
        alone = PreparedRules(rule, bundle.schema_text, bundle.entities_text, bundle.windows)
        tried = 0
        for plain in _plain(policy):
            space = _grouped(_changes([policy], plain))
            named = named_in([policy.json_text])
            looked_at = {_together(plain).get(name, name) for name in named.attributes} | {CONCERNED}
            facts = [space[fact] for fact in sorted(looked_at & space.keys())]
            if any(alone.met(_changed(plain, found))[0].rules for found in _drawn(facts)):
                break
            tried += sum(1 for _ in _drawn(facts))
        else:
            yield policy, tried


def _drawn(facts: Sequence[Sequence[Change]]) -> Iterator[tuple[Change, ...]]:
    return combinations(facts, most=MOST_QUESTIONS)


def _plain(policy: HousePolicy) -> Iterator[HouseAct]:
    """Yield an act of each kind that a rule is about."""
    action = json.dumps(json.loads(policy.json_text)["action"])
    anything = f'"{ASK}"' not in action and f'"{LIST}"' not in action
    if anything or f'"{ASK}"' in action:
        yield of_questions.plain_question()
    if anything or f'"{LIST}"' in action:
        yield of_lists.plain_listing()


def _changes(policies: Iterable[HousePolicy], act: HouseAct) -> Iterator[Change]:
    named = named_in(policy.json_text for policy in policies)
    match act:
        case HouseQuestion():
            yield from of_questions.question_changes(named, act.limitation_years)
        case HouseListing():
            yield from of_lists.listing_changes(named)
        case _:
            raise ValueError("an act that house rules don't know")


def _together(act: HouseAct) -> Mapping[str, str]:
    return of_lists.TOGETHER if isinstance(act, HouseListing) else of_questions.TOGETHER


def _grouped(changes: Iterable[Change]) -> Mapping[str, Sequence[Change]]:
    grouped: dict[str, list[Change]] = {}
    for one in changes:
        grouped.setdefault(one.fact, []).append(one)
    return grouped


def _fewer(found: Sequence[tuple[Change, ...]]) -> list[tuple[Change, ...]]:
    """Return what was found, of each fact that is a measure the furthest alone."""
    kept: list[tuple[Change, ...]] = []
    seen: set[str] = set()
    for changes in found:
        fact = changes[-1].fact
        if fact not in seen or fact not in of_questions.MEASURES:
            kept.append(changes)
        seen.add(fact)
    return kept


def _stops(rules: HouseRules, change: Change, act: HouseAct) -> int:
    try:
        return len(rules.judge(change.make(act))[0].stops)
    except ValueError:
        return len(rules.bundle.policies) + 1


def _changed(act: HouseAct, changes: Sequence[Change]) -> HouseAct:
    for change in changes:
        act = change.make(act)
    return act
