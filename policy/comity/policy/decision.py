"""The decision: Cedar's answer to one question, with the limits and obligations of what determined it.

A permit needs `allowed and not errors`, for each action: Cedar skips a `forbid` that errors, so an
error anywhere refuses. What no policy permits is refused, element by element (design 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from comity.policy.bundle import PolicyBundle
from comity.policy.facts import AgreementFacts, DecisionRequest, StoreFacts, SubjectFacts
from comity.policy.obligations import Applied, Obligations

__all__ = [
    "AgreementFacts",
    "Applied",
    "Decision",
    "DecisionRequest",
    "Effect",
    "Obligations",
    "PolicyEngine",
    "Rule",
    "StoreDecision",
    "StoreFacts",
    "SubjectFacts",
]


class Effect(Enum):
    """What a decision says."""

    PERMIT = "permit"
    REFUSE = "refuse"
    REFER = "refer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy that determined a decision, as `comity.v1.RuleCitation` carries it."""

    policy_id: str
    rules: tuple[str, ...]
    """Rules of the domain page, for example `("A3",)`."""
    document: str
    """Document and paragraph, for example `MOA II.A`."""
    text: str
    """One line for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDecision:
    """What is decided for one store."""

    store_id: str
    permitted: bool
    rules: tuple[Rule, ...]
    """The permits, or the forbids; empty where nothing matched."""
    obligations: Obligations | None
    """This store's own obligations; `None` if it may not be searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision on one question. Only `PERMIT` lets anything be searched.

    One period is searched in all permitted stores: `obligations` is the strictest of theirs in
    `earliest`, `max_reads` and `retain_days`. What is withheld may differ by store, so reads of a
    store are cut with that store's `obligations.withhold`.
    """

    effect: Effect
    stores: tuple[StoreDecision, ...]
    """In the order asked; those with `permitted` may be searched, and no other."""
    rules: tuple[Rule, ...]
    """What determined `effect`."""
    public_reason: str
    """One line for the requester; empty for a permit."""
    obligations: Obligations | None
    """Strictest over all permitted stores; `None` unless `effect` is `PERMIT`."""
    errors: tuple[str, ...]
    """Ids of policies that failed while evaluated; for the provider's own eyes."""


class PolicyEngine:
    """Decides by one bundle, with policies, schema and base entities prepared once."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self.bundle = bundle

    def decide(self, request: DecisionRequest, stores: Sequence[StoreFacts]) -> Decision:
        """Decide a question over the provider's stores; never raises for what a policy says.

        Args:
            request: The question.
            stores: Every store of the provider; none of them: refused.
        """
        raise NotImplementedError
