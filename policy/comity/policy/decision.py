"""The decision: Cedar's answer to one question, with the limits and obligations of what determined it.

A permit needs `allowed and not errors`, for each action: Cedar skips a `forbid` that errors, so an
error anywhere refuses. What no policy permits is refused, element by element (design 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

from comity.policy.budgets import Exceeded
from comity.policy.bundle import Policy, PolicyBundle
from comity.policy.cedar import SEARCH, VIEWS, PreparedPolicies, Question, Verdict
from comity.policy.errors import PolicyError
from comity.policy.facts import ELEMENTS, AgreementFacts, DecisionRequest, StoreFacts, SubjectFacts
from comity.policy.grids import GRIDS, coarsest
from comity.policy.obligations import (
    COARSEN,
    DEFAULT_MAX_READS,
    IMPLEMENTED,
    PLACE,
    Applied,
    Obligations,
    elements_of,
    later,
    retention,
    strictest,
    touched_by,
)
from comity.policy.windows import jurisdiction_of

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
    "View",
]


class Effect(Enum):
    """What a decision says."""

    PERMIT = "permit"
    REFUSE = "refuse"
    REFER = "refer"
    LIMIT = "limit"
    """It would be permitted, and a budget is used up."""


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
class View:
    """What is decided of one element of a store that may be searched."""

    element: str
    """Of `ELEMENTS`."""
    permitted: bool
    """Whether the policies let it leave; an agreement or an obligation may still withhold it."""
    rules: tuple[Rule, ...]
    """The permits, or the forbids; empty where nothing matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreDecision:
    """What is decided for one store."""

    store_id: str
    permitted: bool
    rules: tuple[Rule, ...]
    """The permits, or the forbids; empty where nothing matched."""
    obligations: Obligations | None
    """This store's own obligations; `None` if it may not be searched."""
    views: tuple[View, ...] = ()
    """What the policies say of each element that was wanted; empty if it may not be searched."""


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
    exceeded: tuple[Exceeded, ...] = ()
    """The budgets that the question doesn't fit in; empty unless `effect` is `LIMIT`."""
    shown: Decision | None = None
    """What the requester is shown instead, as far as it can be shown without a read (A1); `None`: this.

    It is the decision that would have been made without the policies that hide themselves. A store that it
    permits and this one doesn't gives no reads; in one that both permit, the stricter of both holds. It may
    itself be the stricter one: a hidden store's permit may let fewer readings be searched (Q10).
    """

    @property
    def shown_as(self) -> str:
        """How it is shown, if not as it is: `no_hits`, `fewer_hits`, `refuse`, `refer`, `limit`; or empty."""
        if self.shown is None:
            return ""
        if self.shown.effect is not Effect.PERMIT:
            return str(self.shown.effect.value)
        return "fewer_hits" if self.effect is Effect.PERMIT else "no_hits"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """An instant before which nothing may be searched, with its cause."""

    earliest: datetime
    words: str
    rule: Rule


class PolicyEngine:
    """Decides by one bundle, with policies, schema and base entities prepared once."""

    def __init__(self, bundle: PolicyBundle) -> None:
        self.bundle = bundle
        self._by_id = {policy.policy_id: policy for policy in bundle.policies}
        self._order = {policy.policy_id: index for index, policy in enumerate(bundle.policies)}
        self._prepared = self._prepare(bundle.policies)
        self._hides = any(policy.terms.hides or not policy.terms.says for policy in bundle.policies)
        open_policies = [policy for policy in bundle.policies if not policy.terms.hides]
        self._open = self._prepare(open_policies) if self._hides else self._prepared

    def _prepare(self, policies: Sequence[Policy]) -> PreparedPolicies:
        return PreparedPolicies(
            {policy.policy_id: policy.json_text for policy in policies},
            self.bundle.schema_text,
            self.bundle.entities_text,
        )

    def decide(self, request: DecisionRequest, stores: Sequence[StoreFacts]) -> Decision:
        """Decide a question over the provider's stores; never raises for what a policy says.

        Args:
            request: The question.
            stores: Every store of the provider; none of them: refused.

        Where a policy of the bundle hides itself, every question is decided twice, with such policies and
        without: then the time that it takes doesn't tell which of them apply.
        """
        decision = self._decide(self._prepared, request, stores, showing=False)
        if not self._hides:
            return decision
        shown = self._decide(self._open, request, stores, showing=True)
        if decision.errors or shown == decision:
            return decision
        return replace(decision, shown=shown)

    def _decide(
        self,
        prepared: PreparedPolicies,
        request: DecisionRequest,
        stores: Sequence[StoreFacts],
        *,
        showing: bool,
    ) -> Decision:
        if not stores:
            return _refusal((), (), "the provider has no store to search", ())
        if (barred := request.subject.barred) is not None:
            rule = Rule(policy_id=barred.by, rules=("Q8",), document=_BARRING[barred.by], text=barred.text)
            refused = tuple(_refused(store.store_id, rule) for store in stores)
            return _refusal(refused, (rule,), barred.text, ())
        try:
            question = prepared.question(self.bundle.agency, request, stores)
        except ValueError:
            return self._failed(tuple(_refused(store.store_id) for store in stores), ("request",))
        searches = question.verdicts([(SEARCH, store.store_id) for store in stores])
        decided: list[StoreDecision] = []
        reasons: list[str] = []
        errors: set[str] = set()
        for store, verdict in zip(stores, searches, strict=True):
            errors.update(verdict.errors)
            outcome = self._store(question, request, store, verdict, errors, showing=showing)
            decided.append(outcome.decision)
            reasons.append(outcome.reason)
        decision = self._conclude(tuple(decided), reasons, tuple(sorted(errors)))
        if decision.effect is Effect.PERMIT:
            decision = self._within_readings(request, decision)
        return self._within_budgets(request, decision) if decision.effect is Effect.PERMIT else decision

    def counts(self, rules: Iterable[Rule]) -> bool:
        """Tell whether a refusal by these is one for want of authorization, as the bundle marks it (Q8)."""
        known = (self._by_id.get(rule.policy_id) for rule in rules)
        return any(policy is not None and policy.terms.authorization for policy in known)

    def _store(
        self,
        question: Question,
        request: DecisionRequest,
        store: StoreFacts,
        verdict: Verdict,
        errors: set[str],
        *,
        showing: bool,
    ) -> _Outcome:
        """Decide one store, in the order: Cedar, completeness of its permits, agreement, limits."""
        policies = self._policies(verdict.determining)
        rules = tuple(_rule(policy) for policy in policies)
        if verdict.errors:
            return _Outcome(_refused(store.store_id), _FAILED)
        agreed = _agreement_fault(request)
        if not verdict.allowed and not policies and agreed:
            return _Outcome(_refused(store.store_id, agreed), agreed.text)
        if not verdict.allowed:
            reason = policies[0].terms.text if policies else self._unpermitted()
            return _Outcome(_refused(store.store_id, *rules), reason)
        if not policies or any(not _is_complete(policy) for policy in policies):
            errors.update(policy.policy_id for policy in policies if not _is_complete(policy))
            return _Outcome(_refused(store.store_id), _FAILED)
        if agreed:
            return _Outcome(_refused(store.store_id, agreed), agreed.text)
        return self._permit(question, request, store, policies, errors, showing=showing)

    def _permit(
        self,
        question: Question,
        request: DecisionRequest,
        store: StoreFacts,
        policies: tuple[Policy, ...],
        errors: set[str],
        *,
        showing: bool,
    ) -> _Outcome:
        needed = request.elements | ({"LOCATION"} if request.has_area else frozenset())
        views = [action for action, element in VIEWS.items() if element in needed]
        viewed = question.verdicts([(action, store.store_id) for action in views])
        withheld: list[Applied] = []
        seen: list[View] = []
        sources = list(policies)
        for action, verdict in zip(views, viewed, strict=True):
            errors.update(verdict.errors)
            found = self._policies(verdict.determining)
            unknown = [policy.policy_id for policy in found if not _is_implemented(policy)]
            errors.update(unknown)
            may = verdict.allowed and not unknown
            seen.append(View(element=VIEWS[action], permitted=may, rules=tuple(map(_rule, found))))
            if may:
                sources.extend(found)
            else:
                withheld.append(self._not_permitted(VIEWS[action], found))
        for policy in sources:
            withheld.extend(_obliged(policy))
        withheld.extend(_not_granted(request, needed))
        limit = self._strictest_limit(request, sources)
        if limit is not None and limit.earliest >= request.period_end:
            reason = f"nothing of the period may be searched: {limit.words} is the limit"
            return _Outcome(_refused(store.store_id, limit.rule), reason)
        kept = self._retention(request, store)
        if kept is not None and kept.earliest >= request.period_end:
            reason = f"nothing of the period is given any more: {kept.words}"
            return _Outcome(_refused(store.store_id, kept.rule), reason)
        hidden = frozenset[str]().union(*(elements_of(item.name) for item in withheld))
        unsaid = frozenset[str]().union(*(touched_by(item.name) for item in withheld if not item.said))
        grid = coarsest(policy.terms.grid for policy in sources)
        if request.has_area and ("LOCATION" in hidden or grid):
            quiet = showing and "LOCATION" in unsaid and not grid
            if not quiet:  # a place of which nothing may be said is shown as one that no area meets
                return _Outcome(_refused(store.store_id, _AREA), _AREA.text)
        applied = {item for item in withheld if touched_by(item.name) & request.elements}
        if limit is not None and limit.earliest > request.period_start:
            applied.add(_clip(limit))
        searched = later(request.period_start, limit.earliest if limit else None)
        if kept is not None and kept.earliest > (searched or request.period_start):
            applied.add(Applied(name="clip_retention", text=kept.words, policy_id=kept.rule.policy_id))
        retained = [policy.terms.retain_days for policy in sources if policy.terms.retain_days is not None]
        fewest = min(
            ((policy.terms.max_reads, policy.policy_id) for policy in sources if policy.terms.max_reads),
            default=(DEFAULT_MAX_READS, ""),
        )
        obligations = Obligations(
            earliest=limit.earliest if limit else None,
            kept_since=kept.earliest if kept else None,
            max_reads=min(DEFAULT_MAX_READS, fewest[0]),
            reads_policy=fewest[1] if fewest[0] <= DEFAULT_MAX_READS else "",
            retain_days=retention(*retained),
            withhold=hidden | (ELEMENTS - request.elements),
            unsaid=unsaid,
            grid=grid,
            plate_images_only=any(item.name == PLACE for item in withheld),
            caveats=tuple(sorted({policy.terms.caveat for policy in sources} - {""})),
            applied=tuple(sorted(applied)),
        )
        decision = StoreDecision(
            store_id=store.store_id,
            permitted=True,
            rules=tuple(_rule(policy) for policy in policies),
            obligations=obligations,
            views=tuple(seen),
        )
        return _Outcome(decision, "")

    def _strictest_limit(self, request: DecisionRequest, policies: Sequence[Policy]) -> _Limit | None:
        windows = self.bundle.windows
        limitation = windows.limitation(
            offence=request.offence,
            jurisdiction=jurisdiction_of(request.requester_kind, request.requester_state),
            stated_years=request.limitation_years,
        )
        limits = [
            _Limit(earliest=earliest, words=window.text(limitation), rule=_rule(policy))
            for policy in policies
            for window in policy.terms.windows
            if (earliest := window.earliest(request.now, limitation, windows)) is not None
        ]
        agreement = request.agreement
        if agreement is not None and agreement.collected_from is not None:
            words = "what was collected since the agreement took effect"
            rule = _agreed(_of(agreement), "only reads collected since the agreement took effect")
            limits.append(_Limit(earliest=agreement.collected_from, words=words, rule=rule))
        return max(limits, key=lambda limit: limit.earliest, default=None)

    def _retention(self, request: DecisionRequest, store: StoreFacts) -> _Limit | None:
        """Return from when on this store's reads are given at all (A8); `None`: from the first one."""
        windows = self.bundle.windows
        since = windows.kept_since(store.store_class, request.now)
        if since is None:
            return None
        kept = windows.retention[store.store_class]
        policy_id = f"retention.{kept.store_class}"
        rule = Rule(policy_id=policy_id, rules=kept.rules, document=kept.document, text=kept.text)
        words = f"reads of `{kept.store_class}` stores are given for {kept.length}, since {since:%Y-%m-%d}"
        return _Limit(earliest=since, words=words, rule=rule)

    def _conclude(
        self, stores: tuple[StoreDecision, ...], reasons: Sequence[str], errors: tuple[str, ...]
    ) -> Decision:
        permitted = [store for store in stores if store.permitted]
        if permitted:
            parts = [store.obligations for store in permitted if store.obligations is not None]
            return Decision(
                effect=Effect.PERMIT,
                stores=stores,
                rules=self._unique(permitted),
                public_reason="",
                obligations=strictest(parts),
                errors=errors,
            )
        if errors:
            return self._failed(stores, errors)
        rules = self._unique(stores)
        plainest = min(range(len(stores)), key=lambda index: len(stores[index].rules))
        first = reasons[plainest]
        known = [self._by_id.get(rule.policy_id) for rule in rules]
        refers = bool(known) and all(policy is not None and policy.terms.refers for policy in known)
        if refers and all(store.rules for store in stores):
            return replace(_refusal(stores, rules, first, ()), effect=Effect.REFER)
        return _refusal(stores, rules, first, ())

    def _within_readings(self, request: DecisionRequest, permit: Decision) -> Decision:
        """Return a permit if each policy that determines it lets so many readings be searched (Q10).

        Otherwise it is refused as a whole: an answer for fewer readings, or from fewer stores, would look
        like one to the question.
        """
        most = min(self._by_id[rule.policy_id].terms.readings for rule in permit.rules)
        if request.readings <= most:
            return permit
        text = _ONE_READING if most == 1 else f"at most {most} readings of a plate may be searched at once"
        rules = tuple(
            replace(rule, rules=("Q10",), document="ours, from GUI I", text=text)
            for rule in permit.rules
            if self._by_id[rule.policy_id].terms.readings == most
        )
        stores = tuple(_refused(store.store_id, *rules) for store in permit.stores)
        return _refusal(stores, rules, text, permit.errors)

    def _within_budgets(self, request: DecisionRequest, permit: Decision) -> Decision:
        """Return a permit as it is if the question fits into every budget of the policies that determine it.

        Otherwise it is one of `LIMIT`; and refused where it never could fit, because it searches more
        readings of the plate than a budget has questions.
        """
        exceeded = tuple(
            Exceeded(budget=budget, policy_id=rule.policy_id)
            for rule in permit.rules
            for budget in self._by_id[rule.policy_id].terms.budgets
            if budget.is_exceeded(request.spent, request.readings)
        )
        if not exceeded:
            return permit
        causes = {item.policy_id for item in exceeded}
        rules = tuple(rule for rule in permit.rules if rule.policy_id in causes)
        stores = tuple(_refused(store.store_id, *rules) for store in permit.stores)
        never = [item for item in exceeded if item.budget.costs(request.readings) > item.budget.most]
        if never:
            asked = f"{request.readings} readings of one plate"
            reason = f"{asked} are more than the budget: {never[0].budget.text}"
            return _refusal(stores, rules, reason, permit.errors)
        texts = dict.fromkeys(item.budget.text for item in exceeded)
        limited = _refusal(stores, rules, f"the budget is used up: {'; '.join(texts)}", permit.errors)
        return replace(limited, effect=Effect.LIMIT, exceeded=exceeded)

    def _failed(self, stores: tuple[StoreDecision, ...], errors: tuple[str, ...]) -> Decision:
        return _refusal(stores, (), _FAILED, errors)

    def _policies(self, ids: Sequence[str]) -> tuple[Policy, ...]:
        known = sorted(ids, key=lambda policy_id: self._order[policy_id])
        return tuple(self._by_id[policy_id] for policy_id in known)

    def _unique(self, stores: Sequence[StoreDecision]) -> tuple[Rule, ...]:
        """Return the rules of several stores once each, in the bundle's order, others last."""
        found = {rule.policy_id: rule for store in stores for rule in store.rules}
        last = len(self._order)
        return tuple(sorted(found.values(), key=lambda rule: self._order.get(rule.policy_id, last)))

    def _unpermitted(self) -> str:
        return (
            f"no policy of {self.bundle.agency} permits this: its policies name who may ask, for what "
            "reason, and in which stores; its contact can tell more"
        )

    def _not_permitted(self, element: str, forbids: tuple[Policy, ...]) -> Applied:
        name = f"withhold_{element.lower()}"
        if forbids:
            said = all(policy.terms.says for policy in forbids)
            return Applied(name=name, text=forbids[0].terms.text, policy_id=forbids[0].policy_id, said=said)
        text = f"{element.lower()} not permitted by any policy of {self.bundle.agency}"
        return Applied(name=name, text=text, policy_id="")


@dataclass(frozen=True, slots=True)
class _Outcome:
    decision: StoreDecision
    reason: str


_ONE_READING: Final = "several readings of a plate may not be searched here: ask for exactly the plate"
_FAILED: Final = "the provider's policy could not be evaluated, so nothing is released"
_BARRING: Final = {"suspension": "CBP 8", "termination": "PIA 'Access'"}
"""The paragraph for which somebody may not ask at all (Q8)."""
_AREA: Final = Rule(
    policy_id="area",
    rules=("A6",),
    document="ours",
    text="a search narrowed by area would tell a place that is withheld or coarser; ask without an area",
)


def _refusal(
    stores: tuple[StoreDecision, ...], rules: tuple[Rule, ...], reason: str, errors: tuple[str, ...]
) -> Decision:
    return Decision(
        effect=Effect.REFUSE,
        stores=stores,
        rules=rules,
        public_reason=reason,
        obligations=None,
        errors=errors,
    )


def _refused(store_id: str, *rules: Rule) -> StoreDecision:
    return StoreDecision(store_id=store_id, permitted=False, rules=rules, obligations=None)


def _rule(policy: Policy) -> Rule:
    terms = policy.terms
    return Rule(policy_id=policy.policy_id, rules=terms.rules, document=terms.document, text=terms.text)


def _is_complete(policy: Policy) -> bool:
    """Tell whether a permit sets the limits without which it permits nothing."""
    try:
        policy.terms.check_complete()
    except PolicyError:
        return False
    return policy.permits and _is_implemented(policy)


def _is_implemented(policy: Policy) -> bool:
    return all(name in IMPLEMENTED for name in policy.terms.obligations)


def _agreement_fault(request: DecisionRequest) -> Rule | None:
    """Return why the agreement alone would refuse, whatever the policies say (A2)."""
    agreement = request.agreement
    if agreement is None or not agreement.in_force:
        return _agreed("agreement", "no agreement is in force between the two agencies")
    if request.reason not in agreement.purposes:
        return _agreed(_of(agreement), "the agreement does not grant this purpose")
    if not agreement.receives:
        kind = request.requester_kind
        text = f"the marking of the agreement's data excludes {kind} agencies"
        return replace(_agreed(_of(agreement), text), rules=("A4",))
    return None


def _agreed(policy_id: str, text: str) -> Rule:
    return Rule(policy_id=policy_id, rules=("A2",), document="the agreement in force", text=text)


def _of(agreement: AgreementFacts) -> str:
    return f"agreement:{agreement.agreement_id}"


def _not_granted(request: DecisionRequest, needed: frozenset[str]) -> list[Applied]:
    agreement = request.agreement
    granted = agreement.elements if agreement is not None else frozenset[str]()
    cause = _of(agreement) if agreement is not None else "agreement"
    return [
        Applied(
            name=f"withhold_{element.lower()}",
            text=f"the agreement does not grant {element.lower()}",
            policy_id=cause,
        )
        for element in sorted(needed - granted)
    ]


def _obliged(policy: Policy) -> list[Applied]:
    return [
        Applied(
            name=name, text=_obliged_text(policy, name), policy_id=policy.policy_id, said=policy.terms.says
        )
        for name in policy.terms.obligations
    ]


def _obliged_text(policy: Policy, name: str) -> str:
    if name != COARSEN:
        return policy.terms.text
    grid = GRIDS[policy.terms.grid]
    return (
        f"locations are given on the grid {grid.name}, in cells of up to {grid.metres} m; {policy.terms.text}"
    )


def _clip(limit: _Limit) -> Applied:
    return Applied(
        name="clip_period",
        text=f"the period was clipped to {limit.words}",
        policy_id=limit.rule.policy_id,
    )
