"""Judging by house rules: which stop a question or a listing, which warn, for each provider that it concerns.

Fails closed: where a rule can't be evaluated, or the facts don't follow the schema, nothing is asked,
whatever that rule's `@enforce` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from comity.policy.decision import Rule
from comity.policy.errors import PolicyError
from comity.policy.house.bundle import Enforcement, HouseBundle
from comity.policy.house.cedar import Met, PreparedRules, judges_lists
from comity.policy.house.facts import HouseAct

FAILED: Final = Rule(
    policy_id="house",
    rules=(),
    document="ours",
    text="the house rules could not be evaluated, so nothing is asked or listed; "
    "tell your agency's administrator",
)
"""What stops a question where the rules failed."""


class EnforcementUnknown(PolicyError):
    """The configuration sets a rule that the bundle doesn't have; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the house says of asking one provider."""

    provider: str
    stops: tuple[Rule, ...]
    """Rules that stop it, in the bundle's order; none: it may be asked."""
    warnings: tuple[Rule, ...]
    """Rules that warn, in the bundle's order."""
    errors: tuple[str, ...] = ()
    """Ids of rules that failed; for the agency's own eyes. Then `FAILED` is among the stops."""


class HouseRules:
    """The rules in force at a gateway: a bundle, and what the configuration sets otherwise."""

    def __init__(self, bundle: HouseBundle, enforce: Mapping[str, Enforcement]) -> None:
        """Prepare; `enforce` takes, by id, the place of a rule's own `@enforce`.

        Raises:
            EnforcementUnknown: it names a rule that the bundle doesn't have.
        """
        ids = [policy.policy_id for policy in bundle.policies]
        for name in enforce:
            if name not in ids:
                near = get_close_matches(name, ids, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(ids)}"
                raise EnforcementUnknown(f"the house bundle has no rule `{name}`; {hint}")
        self.bundle = bundle
        self.enforcement = {**{policy.policy_id: policy.enforcement for policy in bundle.policies}, **enforce}
        """By id, what each rule does here."""
        self.judges_lists = judges_lists(bundle.schema_text)
        """Whether the bundle says anything of hot lists; one that doesn't stops every listing."""
        self._prepared = PreparedRules(
            {policy.policy_id: policy.json_text for policy in bundle.policies},
            bundle.schema_text,
            bundle.entities_text,
            bundle.windows,
        )

    def judge(self, act: HouseAct) -> tuple[Judgement, ...]:
        """Judge a question or a listing, for each of its providers in order; raises for nothing in it."""
        try:
            found = self._prepared.met(act)
        except ValueError:
            found = tuple(Met(rules=(), errors=("request",)) for _ in act.providers)
        return tuple(
            self._judgement(provider.agency, met) for provider, met in zip(act.providers, found, strict=True)
        )

    def _judgement(self, provider: str, met: Met) -> Judgement:
        rules = [policy.rule for policy in self.bundle.policies if policy.policy_id in met.rules]
        stops = tuple(rule for rule in rules if self.enforcement[rule.policy_id] is Enforcement.STOP)
        warnings = tuple(rule for rule in rules if self.enforcement[rule.policy_id] is Enforcement.WARN)
        if met.errors:
            stops += (FAILED,)
        return Judgement(provider=provider, stops=stops, warnings=warnings, errors=met.errors)
