"""What must hold before anything of a provider's is shown: receipt, detail and every page.

Rules, in order: the receipt is signed by a statement key of the provider that was asked, in force
at the time that it states, which is not before the order; it names this exchange, this requester,
this provider and the digest of the query that it was sent; it stands on the agreement in force and
carries that agreement's ceiling, byte for byte; its promise is of the provider's own log; detail and
receipt tell the same kind; the period that was searched, where the detail tells it, can be read; the
root over the detail and exactly the pages that came equals the receipt's; page numbers, counts and
exchange ids agree; every read, page and detail carries a valid marking of this provider that the
ceiling covers; no page is marked looser than its reads, nor the detail than a page; every read is of
the plate, or of a reading of it that was asked for, which it names (Q10), and in the period that was
asked for (Q6). Whatever does not hold makes the whole outcome unverifiable: nothing is shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import DecodeError

from comity.audit import merkle
from comity.certs.agreements import AgreementView, GrantView
from comity.certs.envelope import digest, open_envelope
from comity.certs.errors import CertsError
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.certs.roster import MemberView
from comity.gateway.errors import GatewayError
from comity.gateway.order import Asking
from comity.gateway.question import Question
from comity.policy import markings
from comity.policy.errors import PolicyError
from comity.policy.plates import PlateInvalid, fold
from comity.v1 import account_pb2, common_pb2, envelope_pb2, query_service_pb2, result_pb2

SIGNED_BY_PROVIDER = frozenset(
    (
        common_pb2.OUTCOME_KIND_RESPONDED,
        common_pb2.OUTCOME_KIND_REFUSED,
        common_pb2.OUTCOME_KIND_REFERRED,
        common_pb2.OUTCOME_KIND_RATE_LIMITED,
        common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE,
        common_pb2.OUTCOME_KIND_MALFORMED,
    )
)
ATTESTED_BY_BROKER = frozenset(
    (
        common_pb2.OUTCOME_KIND_UNREACHABLE,
        common_pb2.OUTCOME_KIND_TIMED_OUT,
        common_pb2.OUTCOME_KIND_BAD_RECEIPT,
        common_pb2.OUTCOME_KIND_CANCELLED,
    )
)
HASH_BYTES = 32
MAX_PAGES = 1000
MAX_READS_A_PAGE = 200


class Unverifiable(GatewayError):
    """A provider's result does not verify; the text says which rule broke, without content."""


class BadAccount(Unverifiable):
    """What the broker gave as its account is not to be believed; `kind` says what that shows."""

    def __init__(self, kind: query_service_pb2.FindingKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the gateway knows of one provider's part of an exchange, before the answer."""

    question: Question
    requester: str
    requester_kind: str
    asking: Asking
    exchange_id: bytes
    ordered_at: datetime
    member: MemberView
    agreement: AgreementView
    grant: GrantView


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """A receipt whose signature, names and ceiling hold; its pages may be still to come."""

    receipt: result_pb2.Receipt
    envelope: envelope_pb2.Envelope
    digest: bytes
    detail: result_pb2.ResultDetail
    detail_bytes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedResult:
    """A provider's whole result; every rule of this module holds for it."""

    receipt: VerifiedReceipt
    pages: deque[result_pb2.Page]
    """Those that were not shown yet: who shows a page takes it out, so that it is held no longer."""

    @property
    def read_count(self) -> int:
        """Reads of all pages, whether shown yet or not."""
        return self.receipt.detail.read_count


def verify_receipt(
    expected: Expectation, envelope: envelope_pb2.Envelope, detail_bytes: bytes, *, now: datetime
) -> VerifiedReceipt:
    """Return the receipt and detail of one provider, or raise `Unverifiable`."""
    try:
        claimed = result_pb2.Receipt.FromString(envelope.payload)
        signed_at = to_instant(claimed, "signed_at")
    except (DecodeError, ValueError) as error:
        raise Unverifiable("receipt: is not a receipt with a time") from error
    _check(signed_at <= now + CLOCK_SKEW, "receipt: signed in the future")
    _check(signed_at >= expected.ordered_at - CLOCK_SKEW, "receipt: signed before it was ordered")
    try:
        opened = open_envelope(envelope, result_pb2.Receipt, expected.member.believed_keys_at(signed_at))
    except CertsError as error:
        raise Unverifiable("receipt: signature is not by a statement key of the provider asked") from error
    receipt = opened.message
    _check(receipt.exchange_id == expected.exchange_id, "receipt: names another exchange")
    _check(receipt.provider == expected.asking.provider, "receipt: names another provider")
    _check(receipt.requester == expected.requester, "receipt: names another requester")
    _check(receipt.query_digest == expected.asking.query_digest, "receipt: answers another query")
    _check(receipt.kind in SIGNED_BY_PROVIDER, "receipt: its kind is not a provider's to sign")
    _check(receipt.agreement_digest == expected.agreement.digest, "receipt: stands on another agreement")
    _check(bool(receipt.ceiling_marking), "receipt: carries no marking")
    _check(receipt.ceiling_marking == expected.grant.ceiling, "receipt: ceiling is not the agreement's")
    _check(
        receipt.HasField("promise") != (receipt.kind == common_pb2.OUTCOME_KIND_AUDIT_UNAVAILABLE),
        "receipt: has no promise of its log",
    )
    if receipt.HasField("promise"):
        _check_promise(expected, receipt)
    try:
        detail = result_pb2.ResultDetail.FromString(detail_bytes)
    except DecodeError as error:
        raise Unverifiable("detail: cannot be parsed") from error
    _check(detail.exchange_id == expected.exchange_id, "detail: names another exchange")
    _check(detail.kind == receipt.kind, "detail: its kind is not the receipt's")
    _check(detail.page_count <= MAX_PAGES, f"detail: more than {MAX_PAGES} pages")
    if receipt.kind != common_pb2.OUTCOME_KIND_RESPONDED:
        _check(
            detail.page_count == 0 and detail.read_count == 0, "detail: reads beside an outcome without any"
        )
    if detail.HasField("retry_at"):
        try:
            to_instant(detail, "retry_at")
        except ValueError as error:
            raise Unverifiable("detail: the time to come back cannot be read") from error
    if detail.HasField("searched"):
        try:
            to_instant(detail.searched, "start"), to_instant(detail.searched, "end")
        except ValueError as error:
            raise Unverifiable("detail: the period that was searched cannot be read") from error
    _check_marking(expected, detail.HasField("marking"), detail.marking, "detail")
    return VerifiedReceipt(
        receipt=receipt,
        envelope=envelope,
        digest=opened.digest,
        detail=detail,
        detail_bytes=detail_bytes,
    )


def is_other_receipt(expected: Expectation, envelope: envelope_pb2.Envelope, known: VerifiedReceipt) -> bool:
    """Whether `envelope` is a second receipt, of the same provider and exchange, that says something else.

    Both are signed by the provider, so that no broker can have made up either.
    """
    if digest(envelope.payload) == known.digest:
        return False
    try:
        signed_at = to_instant(result_pb2.Receipt.FromString(envelope.payload), "signed_at")
        keys = expected.member.believed_keys_at(signed_at)
        other = open_envelope(envelope, result_pb2.Receipt, keys).message
    except (DecodeError, ValueError, CertsError):
        return False
    return (other.exchange_id, other.provider) == (expected.exchange_id, expected.asking.provider)


def is_revoked(envelope: envelope_pb2.Envelope, known: MemberView, member: MemberView) -> bool:
    """Whether a member, or a statement key of it that signed an envelope, is revoked, since whenever.

    `known` is the view by which it was verified: a key that never counted stands in no newer one.
    """
    if member.revoked.everything is not None:
        return True
    signers = {signature.key_id for signature in envelope.signatures}
    keys = (valid.key for view in (known, member) for valid in view.key_set.statement_keys)
    return any(key.key_id in signers and member.revokes(key) for key in keys)


def verify_pages(expected: Expectation, receipt: VerifiedReceipt, pages: Sequence[bytes]) -> VerifiedResult:
    """Return the whole result, if `pages` (serialized, in order) are exactly what was signed.

    Raises `Unverifiable`.
    """
    hashes = [merkle.leaf_hash(receipt.detail_bytes), *map(merkle.leaf_hash, pages)]
    _check(len(pages) == receipt.detail.page_count, "pages: their number is not the detail's")
    _check(merkle.root(hashes) == receipt.receipt.content_root, "pages: are not those that were signed")
    parsed: deque[result_pb2.Page] = deque()
    sound: set[bytes] = set()  # markings of reads that were checked already: most are alike
    for index, data in enumerate(pages):
        try:
            page = result_pb2.Page.FromString(data)
        except DecodeError as error:
            raise Unverifiable("page: cannot be parsed") from error
        _check(page.exchange_id == expected.exchange_id, "page: names another exchange")
        _check(page.index == index, "page: its number is wrong")
        _check(0 < len(page.reads) <= MAX_READS_A_PAGE, "page: holds no read, or too many")
        _check_marking(expected, page.HasField("marking"), page.marking, "page")
        for read in page.reads:
            _check_read(expected, read, sound)
        _check_strictness(receipt.detail, page)
        parsed.append(page)
    reads = sum(len(page.reads) for page in parsed)
    _check(reads == receipt.detail.read_count, "pages: their reads are not as many as signed")
    return VerifiedResult(receipt=receipt, pages=parsed)


def verify_account(
    envelope: envelope_pb2.Envelope,
    *,
    operator: MemberView,
    order_digest: bytes,
    exchange_id: bytes,
    requester: str,
    providers: Sequence[str],
    ordered_at: datetime,
    now: datetime,
) -> account_pb2.Account:
    """Return the broker's account of an exchange, every provider of the order exactly once.

    What a provider has to sign stands in it with a stamp alone, and what the broker attests without
    one. Raises `BadAccount`: of kind NOT_AN_ACCOUNT if it is not signed by the operator or tells of
    something else; of another kind if its signature and the order's show that it is wrong.
    """
    try:
        closed_at = to_instant(account_pb2.Account.FromString(envelope.payload), "closed_at")
        opened = open_envelope(envelope, account_pb2.Account, operator.believed_keys_at(closed_at))
    except (DecodeError, ValueError, CertsError) as error:
        raise BadAccount(
            query_service_pb2.FINDING_KIND_NOT_AN_ACCOUNT, "account: is not signed by the operator"
        ) from error
    account = opened.message

    def check(kind: query_service_pb2.FindingKind, holds: bool, fault: str) -> None:
        if not holds:
            raise BadAccount(kind, fault)

    another = query_service_pb2.FINDING_KIND_NOT_AN_ACCOUNT
    check(another, account.exchange_id == exchange_id, "account: names another exchange")
    check(another, account.order_digest == order_digest, "account: tells of another order")
    check(another, closed_at >= ordered_at - CLOCK_SKEW, "account: signed before the order")
    check(another, closed_at <= now + CLOCK_SKEW, "account: signed in the future")
    against = query_service_pb2.FINDING_KIND_ACCOUNT_AGAINST_ORDER
    check(against, account.requester == requester, "account: names another requester")
    for entry in account.entries:
        kinds = SIGNED_BY_PROVIDER if entry.HasField("stamp") else ATTESTED_BY_BROKER
        check(
            query_service_pb2.FINDING_KIND_NOT_ITS_WORD,
            entry.kind in kinds,
            "account: tells an outcome that is not the broker's to tell",
        )
    named = [entry.provider for entry in account.entries]
    complete = named == list(providers)
    check(against, complete, "account: does not name every provider of the order exactly once")
    return account


def _check(holds: bool, fault: str) -> None:
    if not holds:
        raise Unverifiable(fault)


def _check_promise(expected: Expectation, receipt: result_pb2.Receipt) -> None:
    logs = [log.origin for log in expected.member.key_set.log_keys if log.role == "adapter"]
    _check(receipt.promise.origin in logs, "receipt: its promise is of another log than the provider's")
    _check(len(receipt.promise.leaf_hash) == HASH_BYTES, "receipt: its promise has no leaf hash")


def _check_marking(expected: Expectation, present: bool, marking: result_pb2.Marking, where: str) -> None:
    _check(present, f"{where}: carries no marking (A4)")
    try:
        markings.validate(marking)
        covered = markings.covers(result_pb2.Marking.FromString(expected.grant.ceiling), marking)
        addressed = markings.may_receive(marking, expected.requester_kind)
    except PolicyError as error:
        raise Unverifiable(f"{where}: marking is not valid (A4)") from error
    _check(covered, f"{where}: marking is stricter than the agreement's ceiling")
    _check(addressed, f"{where}: its controls exclude this agency's kind")
    _check(marking.agreement_digest == expected.agreement.digest, f"{where}: marking names another agreement")
    _check(marking.provider == expected.asking.provider, f"{where}: marking names another agency (A4)")


def _check_strictness(detail: result_pb2.ResultDetail, page: result_pb2.Page) -> None:
    """Check that no marking is looser than what it stands over: a person sees the banner of the detail."""
    holds = markings.at_least_as_strict(detail.marking, page.marking)
    _check(holds, "detail: its marking is looser than a page's (A4)")
    distinct = {read.marking.SerializeToString(deterministic=True): read.marking for read in page.reads}
    holds = all(markings.at_least_as_strict(page.marking, marking) for marking in distinct.values())
    _check(holds, "page: its marking is looser than a read's (A4)")


def _check_read(expected: Expectation, read: result_pb2.Read, sound: set[bytes]) -> None:
    marking = read.marking.SerializeToString(deterministic=True)
    if marking not in sound:
        _check_marking(expected, read.HasField("marking"), read.marking, "read")
        sound.add(marking)
    try:
        plate, question = fold(read.plate.number), expected.question
        asked = plate == question.folded_plate or plate in question.readings
        _check(asked, "read: is of another plate (Q6)")
        matched = plate if question.readings else ""
        _check(read.matched_reading == matched, "read: names another reading of the plate than it is (Q10)")
        captured = to_instant(read, "captured_at")
    except (PlateInvalid, ValueError) as error:
        raise Unverifiable("read: its plate or time cannot be read (Q6)") from error
    period = expected.question.period
    inside = to_instant(period, "start") <= captured < to_instant(period, "end")
    _check(inside, "read: is outside the period that was asked for (Q6)")


__all__ = [
    "BadAccount",
    "Expectation",
    "Unverifiable",
    "VerifiedReceipt",
    "VerifiedResult",
    "is_other_receipt",
    "is_revoked",
    "verify_account",
    "verify_pages",
    "verify_receipt",
]
