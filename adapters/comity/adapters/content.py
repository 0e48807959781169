"""What a provider says inside the session: the detail of a result and its pages, every part marked (A4).

Nothing here decides. What a ruling withholds is taken out, what the requester doesn't want is left out,
and if either can't be done as it must be, or the data can't be marked, the result becomes a refusal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from comity.adapters import pages
from comity.adapters.questions import Question
from comity.adapters.ruling import Ruling, Terms, refusal
from comity.adapters.searching import Found, FoundRead
from comity.certs.instants import from_instant
from comity.policy import markings, obligations
from comity.policy.errors import MarkingInvalid, PolicyError
from comity.policy.plates import fold
from comity.v1 import common_pb2, result_pb2
from comity.v1.common_pb2 import OutcomeKind
from comity.v1.result_pb2 import AppliedObligation, Marking, Read, ResultDetail, RuleCitation

RETRY_AFTER_SECONDS: Final = 2
"""What a requester over its limit is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Detail and pages, serialized, with their root."""

    kind: OutcomeKind
    detail: bytes = field(repr=False)
    pages: tuple[bytes, ...] = field(repr=False)
    read_count: int

    @property
    def root(self) -> bytes:
        """The RFC 6962 root over detail and pages, 32 bytes."""
        return pages.content_root(self.detail, self.pages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composer:
    """Writes the content of one exchange, under the agreement in force."""

    agency: str
    """The provider."""
    contact: str
    """Whom to ask about its data, from the roster."""
    terms: Terms | None
    """None: no agreement is in force, so there is nothing but a refusal to write."""
    requester_kind: str
    """Whom the data is for: a kind of agency of the roster; empty: of nobody's who may have it."""
    exchange_id: bytes
    random: Callable[[int], bytes] = field(repr=False)

    def result(self, question: Question, ruling: Ruling, found: Found, *, now: datetime) -> Content:
        """Return detail and pages of a ruling; never raises for what a policy or a ceiling says.

        `now`: when it was decided, from which is counted how long to wait for a budget.
        """
        try:
            return self._result(question, ruling, found, now)
        except PolicyError as error:
            refused = refusal(
                "an obligation of the provider's policy can't be met", errors=(type(error).__name__,)
            )
            return self._result(question, refused, Found(reads=(), truncated=False), now)

    def bare(self, kind: OutcomeKind, *, violations: Sequence[str] = ()) -> Content:
        """Return the content of an outcome without a decision: a detail, no pages."""
        detail = self._detail(kind, self._marking(None))
        detail.violations.extend(violations)
        if kind == common_pb2.OUTCOME_KIND_RATE_LIMITED:
            detail.retry_after_seconds = RETRY_AFTER_SECONDS
        return Content(kind=kind, detail=detail.SerializeToString(), pages=(), read_count=0)

    def _result(self, question: Question, ruling: Ruling, found: Found, now: datetime) -> Content:
        """Return detail and pages; raise `PolicyError` if reads can't be withheld from or marked."""
        base = self._marking(ruling)
        reads = [_read(item, question, base) for item in found.reads]
        split, overall = pages.split(
            reads, exchange_id=self.exchange_id, combine=markings.combine, random=self.random
        )
        detail = self._detail(ruling.kind, base if overall is None else overall)
        detail.rules.extend(
            RuleCitation(policy_id=rule.policy_id, rules=rule.rules, document=rule.document, text=rule.text)
            for rule in ruling.rules
        )
        detail.public_reason = ruling.public_reason
        detail.obligations.extend(
            AppliedObligation(name=item.name, text=item.text, policy_id=item.policy_id)
            for item in ruling.told
        )
        if found.truncated:
            text = f"at most {ruling.max_reads} reads are given, the newest"
            detail.obligations.add(name="limit_reads", text=text, policy_id=ruling.reads_policy)
        if ruling.start is not None and ruling.end is not None:
            detail.searched.start.CopyFrom(from_instant(ruling.start))
            detail.searched.end.CopyFrom(from_instant(ruling.end))
        if ruling.retry_at is not None:
            detail.retry_at.CopyFrom(from_instant(ruling.retry_at))
            detail.retry_after_seconds = max(1, math.ceil((ruling.retry_at - now).total_seconds()))
        detail.period_clipped = ruling.clipped
        detail.page_count, detail.read_count = len(split), len(reads)
        detail.truncated = found.truncated
        return Content(
            kind=ruling.kind, detail=detail.SerializeToString(), pages=split, read_count=len(reads)
        )

    def _detail(self, kind: OutcomeKind, marking: Marking) -> ResultDetail:
        """Return the part of a detail that every outcome has."""
        return ResultDetail(
            nonce=self.random(pages.NONCE_BYTES),
            exchange_id=self.exchange_id,
            kind=kind,
            contact=self.contact,
            marking=marking,
        )

    def _marking(self, ruling: Ruling | None) -> Marking:
        """Return the marking of this exchange's data: the ceiling's terms with what the decision adds.

        Raises `MarkingInvalid` where reads would go under it; without reads, a ceiling that can't be used
        gives way to this provider's own marking.
        """
        if self.terms is not None:
            try:
                marking = markings.derive(
                    Marking.FromString(self.terms.grant.ceiling),
                    agreement_digest=self.terms.agreement.digest,
                    retain_days=0 if ruling is None else ruling.retain_days,
                    caveats=() if ruling is None else ruling.caveats,
                    contact=self.contact,
                )
                if not markings.may_receive(marking, self.requester_kind):
                    raise MarkingInvalid(f"`{marking.banner}` excludes {self.requester_kind} agencies")
                return marking
            except MarkingInvalid:
                if ruling is not None and ruling.kind == common_pb2.OUTCOME_KIND_RESPONDED:
                    raise
        return markings.make_marking(
            provider=self.agency,
            nature="no data",
            scheme=result_pb2.MARKING_SCHEME_PLAIN,
            level="OFFICIAL USE ONLY",
            agreement_digest=b"" if self.terms is None else self.terms.agreement.digest,
            contact=self.contact,
        )


def _read(item: FoundRead, question: Question, base: Marking) -> Read:
    """Return a read as it leaves: withheld elements gone and named, unwanted ones left out, marked (A4)."""
    store = item.store
    read = obligations.withhold(
        item.read.to_proto(),
        store.withhold,
        wanted=question.wanted,
        unsaid=store.unsaid,
        grid=store.grid,
        plate_images_only=store.plate_images_only,
    )
    read.read_id = f"{item.store.store_id}:{item.read.read_id}"
    read.marking.CopyFrom(base)
    if question.readings:  # which of them it is, is said in each read (Q10)
        read.matched_reading = fold(item.read.plate)
    return read
