"""Policies that can never apply: the law says something that no question will ever meet.

A misspelt group, two conditions that exclude each other, a permit that a forbid always overrules: each
validates against the schema and means nothing. Here every policy is tried with all values of the facts
that it looks at (`variations`); what doesn't apply to any of these questions is told. So is who names a
group that the bundle doesn't list, though the rest of it applies: one arm of it never does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from comity.policy.bundle import Policy, PolicyBundle
from comity.policy.cedar import SEARCH, STORE_CLASSES, VIEWS, PreparedPolicies
from comity.policy.drawing import combinations
from comity.policy.variations import REQUESTER, Asked, Named, favourable, named_in, variations

MOST_QUESTIONS: Final = 5_000
"""Questions that a policy is tried with; of more than these, so many are drawn, always the same ones."""

_GROUP: Final = "AgencyGroup"
_MET: Final = 20
_NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
_ATTRIBUTES: Final = {
    "inForce": "agreement",
    "purposes": "agreement",
    "elements": "agreement",
    "agency": REQUESTER,
    "rulesOfBehaviour": REQUESTER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreached:
    """A policy that no question was found for."""

    policy: Policy
    tried: int
    """Questions that were tried."""
    overruled_by: tuple[str, ...] = ()
    """For a permit that applies and is overruled each time: ids of the forbids."""
    unlisted: tuple[str, ...] = ()
    """Groups that it names and `entities.json` doesn't: nobody is in them."""
    applies: bool = False
    """Whether it is told for those groups alone, and applies otherwise."""

    @property
    def text(self) -> str:
        """What is wrong, in one line."""
        effect = "permit" if self.policy.permits else "forbid"
        groups = ", ".join(f'`AgencyGroup::"{name}"`' for name in self.unlisted)
        if self.overruled_by:
            forbids = ", ".join(f"`{name}`" for name in self.overruled_by)
            return f"{effect} `{self.policy.policy_id}` never takes effect: always overruled by {forbids}"
        if self.unlisted and self.applies:
            return f"{effect} `{self.policy.policy_id}` names {groups}, which `entities.json` doesn't list"
        if self.unlisted:
            return (
                f"{effect} `{self.policy.policy_id}` can never apply: `entities.json` doesn't list {groups}"
            )
        return (
            f"{effect} `{self.policy.policy_id}` can never apply: it met none of {self.tried} questions "
            "made of the values that it compares with"
        )


def unreached(bundle: PolicyBundle) -> Iterator[Unreached]:
    """Yield the policies of a bundle that can never apply, or name a group that isn't there, in its order."""
    everything = PreparedPolicies(
        {policy.policy_id: policy.json_text for policy in bundle.policies},
        bundle.schema_text,
        bundle.entities_text,
    )
    listed = _groups(bundle)
    for policy in bundle.policies:
        tried, met = _met(bundle, policy)
        named = named_in([policy.json_text]).entities.get(_GROUP, frozenset())
        if unlisted := tuple(sorted(named - listed)):
            yield Unreached(policy=policy, tried=tried, unlisted=unlisted, applies=bool(met))
            continue
        if not met:
            yield Unreached(policy=policy, tried=tried)
        elif policy.permits:
            forbids = _overruled(bundle, policy, everything, met)
            if forbids:
                yield Unreached(policy=policy, tried=tried, overruled_by=forbids)


def _groups(bundle: PolicyBundle) -> frozenset[str]:
    """Return the groups that a bundle lists."""
    uids = [entity["uid"] for entity in json.loads(bundle.entities_text)]
    return frozenset(uid["id"] for uid in uids if uid["type"] == _GROUP)


def _met(bundle: PolicyBundle, policy: Policy) -> tuple[int, list[Asked]]:
    """Return how many questions were tried, and the first ones that the policy applies to."""
    named = named_in([policy.json_text])
    alone = PreparedPolicies({policy.policy_id: policy.json_text}, bundle.schema_text, bundle.entities_text)
    space = variations(bundle, named)
    facts = [space[fact] for fact in sorted(_looked_at(named) & space.keys())]
    met: list[Asked] = []
    tried = 0
    for changes in combinations(facts, most=MOST_QUESTIONS):
        asked = favourable(STORE_CLASSES[0], _NOW)
        for variation in changes:
            asked = variation.change(asked)
        tried += 1
        if policy.policy_id in _determining(bundle, alone, asked):
            met.append(asked)
            if len(met) == _MET:
                break
    return tried, met


def _determining(bundle: PolicyBundle, prepared: PreparedPolicies, asked: Asked) -> Mapping[str, bool]:
    """Return the policies that determine any action of a question, each with whether that was allowed."""
    try:
        question = prepared.question(bundle.agency, asked.request, asked.stores)
    except ValueError:
        return {}
    found: dict[str, bool] = {}
    for verdict in question.verdicts([(action, asked.stores[0].store_id) for action in (SEARCH, *VIEWS)]):
        for name in verdict.determining:
            found[name] = found.get(name, False) or verdict.allowed
    return found


def _overruled(
    bundle: PolicyBundle, policy: Policy, everything: PreparedPolicies, met: Sequence[Asked]
) -> tuple[str, ...]:
    """Return the forbids that overrule a permit in whatever question; empty if one lets it through.

    From each question that the permit applies to, the facts that it doesn't look at are changed one at a
    time, each time to what fewest forbids object to.
    """
    looked_at = _looked_at(named_in([policy.json_text]))
    space = variations(bundle, named_in(each.json_text for each in bundle.policies))
    free = [one for fact, several in space.items() if fact not in looked_at for one in several]
    left: set[str] = set()
    for asked in met:
        found = _determining(bundle, everything, asked)
        while not found.get(policy.policy_id):
            tries = (
                (_determining(bundle, everything, new), new) for new in (one.change(asked) for one in free)
            )
            better, changed = min(
                tries, key=lambda pair: _objections(pair[0], policy), default=(found, asked)
            )
            if _objections(better, policy) >= _objections(found, policy):
                break
            found, asked = better, changed
        if found.get(policy.policy_id):
            return ()
        left |= found.keys()
    return tuple(sorted(left - {policy.policy_id}))


def _objections(found: Mapping[str, bool], policy: Policy) -> int:
    return -1 if found.get(policy.policy_id) else len(found)


def _looked_at(named: Named) -> frozenset[str]:
    """Return the facts that a policy looks at."""
    attributes = {_ATTRIBUTES.get(name, name) for name in named.attributes}
    return frozenset(attributes | ({REQUESTER} if named.asks_who else set()))
