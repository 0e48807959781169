"""From a question to what is done about it: the agreement's terms, then the policy's decision.

The agreement bounds what any policy may permit: without one in force nothing is asked (A2), and neither
purposes nor elements beyond its grant are served, whatever a policy says. Inside these bounds the
provider's own policy alone decides (A1). Everything fails closed: an error in a policy, an obligation
that isn't implemented, a store that the decision doesn't name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, assert_never

from google.protobuf.message import DecodeError

from comity.adapters.questions import Question
from comity.adapters.sources.source import Source
from comity.certs.agreements import AgreementView, GrantView
from comity.certs.claims import Claims
from comity.certs.roster import MemberView
from comity.policy.budgets import Budget, Spent
from comity.policy.decision import Decision, Effect, PolicyEngine, Rule
from comity.policy.errors import MarkingInvalid, PolicyError
from comity.policy.facts import (
    ELEMENTS,
    AgreementFacts,
    DecisionRequest,
    ReasonFacts,
    StoreFacts,
    SubjectFacts,
)
from comity.policy.grids import GRIDS, coarsest
from comity.policy.markings import may_receive
from comity.policy.obligations import IMPLEMENTED, Applied, Obligations, clip, later
from comity.v1 import common_pb2
from comity.v1.common_pb2 import OutcomeKind
from comity.v1.result_pb2 import Marking

KNOWN_OBLIGATIONS: Final = frozenset(IMPLEMENTED) | {"clip_period", "clip_retention", "limit_reads"}
"""Obligations that this adapter meets; a decision that asks for another one is refused."""

EFFECTIVE_DATE: Final = "only reads captured since the agreement took effect (MOU 3.1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One of the provider's stores: where to search, and what the policy decides by."""

    facts: StoreFacts
    source: Source = field(repr=False)

    @property
    def store_id(self) -> str:
        """As adapter.toml names it."""
        return self.facts.store_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The agreement in force under which the requester asks this provider, with its grant (A2)."""

    agreement: AgreementView
    grant: GrantView

    @property
    def collected_from(self) -> datetime | None:
        """Before it nothing is shared, where the grant says so (MOU 3.1)."""
        return self.agreement.effective_at if self.grant.collected_after_effective_date else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRuling:
    """A store that may be searched, and what of its reads must not leave."""

    store_id: str
    """As adapter.toml names it."""
    withhold: frozenset[str]
    """Elements of `ELEMENTS`."""
    start: datetime | None = field(default=None, repr=False)
    """First instant of which this store's reads are still given (A8); None: no limit of its own."""
    unsaid: frozenset[str] = frozenset()
    """Those of `withhold` that aren't called withheld."""
    grid: str = ""
    """The grid that its locations are put on; empty: they are exact (A6)."""
    plate_images_only: bool = False
    """Whether its images that show more than the plate must not leave (A6)."""
    decoy: bool = False
    """The policy refuses it, and hides that: it is asked for a plate drawn by lot, as that takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What is done about one question. Only `OUTCOME_KIND_RESPONDED` has stores to search."""

    kind: OutcomeKind
    rules: tuple[Rule, ...]
    public_reason: str = ""
    stores: tuple[StoreRuling, ...] = ()
    start: datetime | None = field(default=None, repr=False)
    """First instant that is searched; None: nothing is left of the period, or nothing may be searched."""
    end: datetime | None = field(default=None, repr=False)
    clipped: bool = False
    max_reads: int = 0
    retain_days: int = 0
    caveats: tuple[str, ...] = ()
    reads_policy: str = ""
    """The policy that set `max_reads`; empty: none did."""
    applied: tuple[Applied, ...] = ()
    """All that was applied: what the requester is told of it, says `told`."""
    unsaid: frozenset[str] = frozenset()
    """Elements of which the requester isn't told that they are withheld."""
    errors: tuple[str, ...] = ()
    """Policies that failed while they were evaluated: for the provider's own log."""
    exceeded: tuple[Budget, ...] = ()
    """Of `OUTCOME_KIND_RATE_LIMITED`: the budgets that are used up."""
    retry_at: datetime | None = None
    """Of `OUTCOME_KIND_RATE_LIMITED`: when the question fits in, if nothing else is asked until then."""
    decided: Effect | None = None
    """What the policy decided, where something else is shown; None: what is shown (A1)."""
    decided_by: tuple[Rule, ...] = ()
    """The policies that determined what was decided, where something else is shown."""

    @property
    def effect(self) -> Effect:
        """What was decided in truth: for the provider's own log."""
        if self.decided is not None:
            return self.decided
        match self.kind:
            case common_pb2.OUTCOME_KIND_RESPONDED:
                return Effect.PERMIT
            case common_pb2.OUTCOME_KIND_REFERRED:
                return Effect.REFER
            case common_pb2.OUTCOME_KIND_RATE_LIMITED:
                return Effect.LIMIT
            case _:
                return Effect.REFUSE

    @property
    def determined_by(self) -> tuple[Rule, ...]:
        """The policies that determined what was decided in truth: for the provider's own log."""
        return self.rules if self.decided is None else self.decided_by

    @property
    def told(self) -> tuple[Applied, ...]:
        """What was applied, without what withholds an element of which nothing may be said."""
        return tuple(
            item
            for item in self.applied
            if item.said and self.unsaid.isdisjoint(IMPLEMENTED.get(item.name, ()))
        )


def refusal(public_reason: str, *rules: Rule, errors: tuple[str, ...] = ()) -> Ruling:
    """Return a refusal, with what the requester is told."""
    return Ruling(
        kind=common_pb2.OUTCOME_KIND_REFUSED, rules=rules, public_reason=public_reason, errors=errors
    )


def rule(
    request: DecisionRequest, *, engine: PolicyEngine, stores: Sequence[StoreFacts], documents: str = ""
) -> Ruling:
    """Return what is done about a question; never raises for what an agreement or a policy says.

    The policy's own refusal is told where there is one (A1); what it permits beyond the agreement is
    refused under the agreement (A2), whose `documents` are cited then. The same facts, stores and bundle
    give the same ruling, offline, years later.
    """
    try:
        decision = engine.decide(request, stores)
        if decision.shown is None:
            return _ruling(request, decision, stores, documents)
        return _hiding(_ruling(request, decision.shown, stores, documents), decision)
    except (PolicyError, ValueError) as error:
        return refusal("the provider's policy could not be applied", errors=(type(error).__name__,))


def _ruling(
    request: DecisionRequest, decision: Decision, stores: Sequence[StoreFacts], documents: str
) -> Ruling:
    match decision.effect:
        case Effect.PERMIT:
            return _permitted(request, decision, stores, documents)
        case Effect.REFUSE:
            return refusal(decision.public_reason, *decision.rules, errors=decision.errors)
        case Effect.LIMIT:
            return Ruling(
                kind=common_pb2.OUTCOME_KIND_RATE_LIMITED,
                rules=decision.rules,
                public_reason=decision.public_reason,
                exceeded=tuple(item.budget for item in decision.exceeded),
                errors=decision.errors,
            )
        case Effect.REFER:
            return Ruling(
                kind=common_pb2.OUTCOME_KIND_REFERRED,
                rules=decision.rules,
                public_reason=decision.public_reason,
                errors=decision.errors,
            )
        case _:
            assert_never(decision.effect)


def _hiding(shown: Ruling, decision: Decision) -> Ruling:
    """Return the ruling that shows `shown` and gives no read that the decision itself doesn't permit (A1)."""
    permitted = {
        item.store_id: item.obligations
        for item in decision.stores
        if item.permitted and item.obligations is not None
    }
    stores = tuple(_stricter(store, permitted.get(store.store_id)) for store in shown.stores)
    return replace(shown, stores=stores, decided=decision.effect, decided_by=decision.rules)


def _stricter(shown: StoreRuling, decided: Obligations | None) -> StoreRuling:
    """Return a store's ruling with what the decision itself obliges to; `None`: it may not be searched."""
    if decided is None or not _can_be_met(decided):
        return replace(shown, decoy=True)
    return replace(
        shown,
        withhold=shown.withhold | decided.withhold,
        unsaid=shown.unsaid | decided.unsaid | (decided.withhold - shown.withhold),
        start=later(shown.start, later(decided.earliest, decided.kept_since)),
        grid=coarsest((shown.grid, decided.grid)),
        plate_images_only=shown.plate_images_only or decided.plate_images_only,
    )


def _permitted(
    request: DecisionRequest, decision: Decision, stores: Sequence[StoreFacts], documents: str
) -> Ruling:
    """Return the ruling of a permit, or a refusal if the agreement doesn't carry it or it can't be met."""
    agreement = request.agreement
    if agreement is None:
        return _by_agreement(None, "no agreement is in force between the two agencies", documents)
    if request.reason not in agreement.purposes:
        return _by_agreement(agreement, "the agreement in force does not grant this purpose", documents)
    obligations = decision.obligations
    if obligations is None:
        return refusal("the provider's policy could not be applied", errors=decision.errors)
    parts = [obligations, *(item.obligations for item in decision.stores if item.obligations is not None)]
    if any(not _can_be_met(part) for part in parts):
        return refusal("an obligation of the provider's policy can't be met", *decision.rules)
    ungranted = ELEMENTS - agreement.elements
    if request.has_area and "LOCATION" in ungranted:
        # A hit inside a circle would tell the place that is withheld (A6).
        text = "an area can't narrow a search whose locations are withheld"
        return _by_agreement(agreement, text, documents)
    known = {store.store_id for store in stores}
    permitted = tuple(
        StoreRuling(
            store_id=item.store_id,
            withhold=ungranted | item.obligations.withhold,
            start=item.obligations.kept_since,
            unsaid=item.obligations.unsaid,
            grid=item.obligations.grid,
            plate_images_only=item.obligations.plate_images_only,
        )
        for item in decision.stores
        if item.permitted and item.obligations is not None and item.store_id in known
    )
    if not permitted:
        return refusal("no store may be searched for this", *decision.rules, errors=decision.errors)
    return _clipped(request, agreement, decision, obligations, permitted)


def _can_be_met(obligations: Obligations) -> bool:
    """Return whether this adapter implements every obligation of a permit."""
    unknown = {item.name for item in obligations.applied} - KNOWN_OBLIGATIONS
    grids = {"", *GRIDS}
    known = obligations.withhold <= ELEMENTS and obligations.grid in grids
    return not unknown and known and obligations.max_reads >= 1


def _clipped(
    request: DecisionRequest,
    agreement: AgreementFacts,
    decision: Decision,
    obligations: Obligations,
    permitted: tuple[StoreRuling, ...],
) -> Ruling:
    """Return the permit with the period that is left of the question's (Q5, A8, MOU 3.1).

    It begins where the first of the stores still gives reads; another may begin later, by its own ruling.
    """
    window = clip(request.period_start, request.period_end, obligations)
    start = None if window is None else window.start
    if start is not None:
        start = min(later(start, store.start) or start for store in permitted)
    applied = obligations.applied
    since = agreement.collected_from
    if start is not None and since is not None and since > start:
        cause = _agreement_id(agreement)
        applied = (*applied, Applied(name="clip_period", text=EFFECTIVE_DATE, policy_id=cause))
        start = since if since < request.period_end else None
    return Ruling(
        kind=common_pb2.OUTCOME_KIND_RESPONDED,
        rules=decision.rules,
        stores=permitted,
        start=start,
        end=None if start is None else request.period_end,
        clipped=start != request.period_start,
        max_reads=obligations.max_reads,
        reads_policy=obligations.reads_policy,
        retain_days=obligations.retain_days,
        caveats=obligations.caveats,
        applied=applied,
        unsaid=frozenset().union(*(store.unsaid for store in permitted)),
        errors=decision.errors,
    )


def facts_of(
    question: Question,
    claims: Claims,
    member: MemberView,
    terms: Terms | None,
    now: datetime,
    *,
    told: ReasonFacts,
    spent: Spent,
) -> DecisionRequest:
    """Return the verified facts that the policy decides by; raise `ValueError` for what is no question."""
    return DecisionRequest(
        requester=member.agency,
        requester_kind=member.kind,
        requester_state=member.state,
        subject=SubjectFacts(
            user=claims.user,
            office=claims.office,
            roles=frozenset(claims.roles),
            trained_at=claims.trained_at,
            rules_accepted_at=claims.rules_accepted_at,
            good_standing=claims.good_standing,
            protections_attested=claims.protections_attested,
            duty_station=claims.duty_station,
            rules_digest=claims.rules_digest.hex(),
            account_reviewed_at=claims.account_reviewed_at,
        ),
        reason=question.reason,
        on_behalf_of=bool(question.on_behalf_of),
        has_area=question.area is not None,
        period_start=question.start,
        period_end=question.end,
        limitation_years=question.limitation_years,
        offence=question.offence,
        plate_state=question.state,
        plate_country=question.country,
        elements=question.wanted,
        told=told,
        spent=spent,
        readings=1 + len(question.readings),
        agreement=None
        if terms is None
        else AgreementFacts(
            agreement_id=terms.agreement.agreement_id,
            purposes=terms.grant.purposes,
            elements=terms.grant.elements,
            collected_from=terms.collected_from,
            receives=_receives(terms, member),
        ),
        now=now,
    )


def _receives(terms: Terms, member: MemberView) -> bool:
    """Return whether the marking of the agreement's data lets this member have it (A4)."""
    try:
        return may_receive(Marking.FromString(terms.grant.ceiling), member.kind)
    except (MarkingInvalid, DecodeError):
        return True  # what can't be marked doesn't leave: `Composer` sees to that, and says so


def _by_agreement(agreement: AgreementFacts | None, text: str, documents: str) -> Ruling:
    """Return a refusal for what the agreement says, or for there being none (A2)."""
    policy_id = "agreement" if agreement is None else _agreement_id(agreement)
    return refusal(text, Rule(policy_id=policy_id, rules=("A2",), document=documents, text=text))


def _agreement_id(agreement: AgreementFacts) -> str:
    """Return how an agreement is named where a policy's id would stand."""
    return f"agreement:{agreement.agreement_id}"
