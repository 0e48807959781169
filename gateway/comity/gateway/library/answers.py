"""What comes back: a plan, each provider's outcome once it is verified and logged, and the whole answer.

`AnswerBuilder` reads the same messages that an agency system gets over gRPC, so that both see the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from comity.certs.instants import to_instant
from comity.gateway.library.reads import Marking, Read
from comity.gateway.library.vocabulary import (
    Attestation,
    FindingKind,
    NotAskedReason,
    OutcomeKind,
    attestation_of,
    finding_kind_of,
    not_asked_reason_of,
    outcome_kind_of,
)
from comity.v1 import common_pb2, envelope_pb2, query_service_pb2, result_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A policy of the provider that determined its decision; of a plan, a house rule of the own agency."""

    policy_id: str
    rules: tuple[str, ...]
    """Rules of the source documents, such as `A3`."""
    document: str
    """Document and paragraph."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """Something that the provider's policy asked for and that was done, such as `withhold_location`."""

    name: str
    text: str
    policy_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong with what was told of an exchange. It holds no content."""

    kind: FindingKind
    text: str
    """One line for a person."""
    provider: str
    """The provider that it is about; empty: the exchange as a whole."""
    suspects: tuple[str, ...]
    """Agencies of which at least one lied; one alone if signed statements show it to anybody."""
    evidence: tuple[bytes, ...]
    """SHA-256 of the payload of each of those statements, which are kept beside the gateway's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Whom a question goes to: the first part of every answer."""

    exchange_id: bytes
    """16 bytes; empty if nobody is asked."""
    asked: tuple[str, ...]
    not_asked: Mapping[str, NotAskedReason]
    deadline: datetime
    """When the exchange ends, UTC."""
    house_warnings: tuple[Citation, ...] = ()
    """The agency's own house rules that warn of this question: show them with the answer."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outcome:
    """What happened at one provider, with its reads. Everything in it is verified."""

    provider: str
    kind: OutcomeKind
    attested_by: Attestation
    text: str = ""
    """One line for a person: why, where it is not the provider's own word."""
    reason: str = ""
    """The provider's own public reason, of a refusal for example."""
    reads: tuple[Read, ...] = ()
    truncated: bool = False
    """Whether more reads matched than were sent."""
    searched: tuple[datetime, datetime] | None = None
    """The period that the provider searched: start, and the first instant after."""
    period_clipped: bool = False
    """Whether that is shorter than the period that was asked for."""
    rules: tuple[Citation, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    violations: tuple[str, ...] = ()
    """Of `MALFORMED`: what the provider found wrong."""
    contact: str = ""
    """Whom to ask, about this outcome or instead."""
    retry_after: timedelta | None = None
    """Of `RATE_LIMITED`: after which time a new query may be made."""
    retry_at: datetime | None = None
    """Of `RATE_LIMITED` by a budget of the provider's policy: when the question fits in again."""
    marking: Marking | None = None
    """At least as strict as each read's; None where the provider signed nothing."""
    stamped: bool = False
    """Whether the broker has stamped the receipt."""
    elapsed: timedelta | None = None
    """From asking to verified; None of a provider that was not asked."""
    not_asked: NotAskedReason | None = None
    proto: query_service_pb2.ProviderOutcome | None = field(default=None, compare=False)
    """The same with its evidence: receipt, detail, stamp; None of a provider that was not asked."""

    def __repr__(self) -> str:
        return f"Outcome(provider={self.provider!r}, kind={self.kind.value}, reads={len(self.reads)})"

    @property
    def is_signed_by_provider(self) -> bool:
        """Whether the provider itself answers for this outcome."""
        return self.attested_by is Attestation.PROVIDER


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Answer:
    """Every provider of the federation accounted for; show `banner` and `caveats` with any of it (A5)."""

    exchange_id: bytes
    """16 bytes; empty if nobody was asked."""
    plan: Plan
    outcomes: Mapping[str, Outcome]
    """By provider: those asked in the order in which they came, then those not asked."""
    marking: Marking | None
    """At least as strict as every part's; None if no provider signed anything."""
    complete: bool
    """Whether the completeness that was asked for was met."""
    incomplete_text: str
    """What completeness lacks; empty if complete."""
    findings: tuple[Finding, ...]
    """What is wrong with what was told of the exchange; none is the rule."""
    caveats: tuple[str, ...]
    """Lines that a person must be shown with the answer."""
    account: envelope_pb2.Envelope | None = field(compare=False)
    """The broker's signed account of the exchange; None if none came."""

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name}: {outcome.kind.value}" for name, outcome in self.outcomes.items())
        return f"Answer(exchange={self.exchange_id.hex()!r}, complete={self.complete}, {{{kinds}}})"

    @property
    def banner(self) -> str:
        """The line that stands above and below everything shown; empty if no provider signed anything."""
        return self.marking.banner if self.marking else ""

    @property
    def reads(self) -> tuple[Read, ...]:
        """All providers' reads, the newest first."""
        reads = (read for outcome in self.outcomes.values() for read in outcome.reads)
        return tuple(sorted(reads, key=lambda read: read.captured_at, reverse=True))


Part = Plan | Outcome | Answer
"""What a search yields: a plan, outcomes as they come, and last the whole answer."""


class AnswerBuilder:
    """Turns the messages of one answer into parts: an outcome once its last page came.

    One that another outcome of its agency takes the place of is never one.
    """

    def __init__(self) -> None:
        self._plan: query_service_pb2.Plan | None = None
        self._outcomes: dict[str, Outcome] = {}
        self._outcome: query_service_pb2.ProviderOutcome | None = None
        self._pages: list[result_pb2.Page] = []

    def take(self, message: query_service_pb2.SearchResponse) -> Iterator[Part]:
        """Take the next message of a gateway, in order, and yield what it completes: one part or none."""
        match message.WhichOneof("part"):
            case "plan":
                self._plan = message.plan
                yield _plan(message.plan)
            case "outcome":
                self._outcome, self._pages = message.outcome, []
                yield from self._completed()
            case "page":
                self._pages.append(message.page.page)
                yield from self._completed()
            case "summary":
                assert self._plan is not None
                yield _answer(self._plan, self._outcomes, message.summary)
            case _:
                pass

    def _completed(self) -> Iterator[Outcome]:
        if self._outcome is not None and len(self._pages) == self._outcome.page_count:
            outcome = _outcome(self._outcome, self._pages)
            self._outcomes[outcome.provider] = outcome
            self._outcome = None
            yield outcome


def _plan(plan: query_service_pb2.Plan) -> Plan:
    return Plan(
        exchange_id=plan.exchange_id,
        asked=tuple(plan.asked),
        not_asked=MappingProxyType(
            {item.agency: not_asked_reason_of(item.reason) for item in plan.not_asked}
        ),
        deadline=to_instant(plan, "deadline"),
        house_warnings=tuple(map(_citation, plan.house_warnings)),
    )


def _outcome(item: query_service_pb2.ProviderOutcome, pages: list[result_pb2.Page]) -> Outcome:
    kind, attested_by = outcome_kind_of(item.kind), attestation_of(item.attested_by)
    stamped, elapsed = item.HasField("stamp"), timedelta(milliseconds=item.elapsed_ms)
    if not item.HasField("detail"):
        return Outcome(
            provider=item.agency,
            kind=kind,
            attested_by=attested_by,
            text=item.text,
            stamped=stamped,
            elapsed=elapsed,
            proto=item,
        )
    detail = item.detail
    return Outcome(
        provider=item.agency,
        kind=kind,
        attested_by=attested_by,
        text=item.text,
        reason=detail.public_reason,
        reads=tuple(Read.from_proto(item.agency, read) for page in pages for read in page.reads),
        truncated=detail.truncated,
        searched=_period(detail.searched) if detail.HasField("searched") else None,
        period_clipped=detail.period_clipped,
        rules=tuple(map(_citation, detail.rules)),
        obligations=tuple(
            Obligation(name=met.name, text=met.text, policy_id=met.policy_id) for met in detail.obligations
        ),
        violations=tuple(detail.violations),
        contact=detail.contact,
        retry_after=timedelta(seconds=detail.retry_after_seconds)
        if kind is OutcomeKind.RATE_LIMITED
        else None,
        retry_at=to_instant(detail, "retry_at") if detail.HasField("retry_at") else None,
        marking=Marking.from_proto(detail.marking),
        stamped=stamped,
        elapsed=elapsed,
        proto=item,
    )


def _citation(rule: result_pb2.RuleCitation) -> Citation:
    return Citation(policy_id=rule.policy_id, rules=tuple(rule.rules), document=rule.document, text=rule.text)


def _period(period: common_pb2.Period) -> tuple[datetime, datetime]:
    return to_instant(period, "start"), to_instant(period, "end")


def _answer(
    plan: query_service_pb2.Plan, asked: Mapping[str, Outcome], summary: query_service_pb2.Summary
) -> Answer:
    not_asked = {
        item.agency: Outcome(
            provider=item.agency,
            kind=OutcomeKind.NOT_ASKED,
            attested_by=Attestation.GATEWAY,
            text=item.text,
            not_asked=not_asked_reason_of(item.reason),
        )
        for item in plan.not_asked
    }
    return Answer(
        exchange_id=summary.exchange_id,
        plan=_plan(plan),
        outcomes=MappingProxyType({**asked, **not_asked}),
        marking=Marking.from_proto(summary.marking) if summary.HasField("marking") else None,
        complete=summary.complete,
        incomplete_text=summary.incomplete_text,
        findings=tuple(
            Finding(
                kind=finding_kind_of(found.kind),
                text=found.text,
                provider=found.provider,
                suspects=tuple(found.suspects),
                evidence=tuple(found.evidence),
            )
            for found in summary.found
        ),
        caveats=tuple(summary.caveats),
        account=summary.account if summary.HasField("account") else None,
    )
