"""The state of one exchange at the gateway: what came from whom, and what each provider's outcome is.

Pure: no sockets, no clock, no tasks. The shell around it (`gateway.py`) hands in what arrives and
takes out what is settled.

    PENDING ──result, every page──▶ VERIFIED ──stamp, or end of waiting──▶ SETTLED
       │ └──anything that does not verify──▶ SETTLED as UNVERIFIABLE
       ├────handshake or session broke─────▶ SETTLED as SESSION_FAILED
       └────the broker's account───────────▶ SETTLED as what the broker attests

The broker's word about a provider counts at once where no session can say otherwise: it has none, or the
deadline has passed. While a session may still bring the provider's own signed word, that is waited for, or an
early account would make its own lies come true.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from comity.certs.roster import MemberView
from comity.gateway.order import SignedOrder
from comity.gateway.verification import (
    MAX_PAGES,
    Expectation,
    Unverifiable,
    VerifiedReceipt,
    VerifiedResult,
    contradictions,
    is_other_receipt,
    verify_account,
    verify_pages,
    verify_receipt,
)
from comity.v1 import (
    account_pb2,
    common_pb2,
    envelope_pb2,
    link_pb2,
    query_service_pb2,
    session_pb2,
)

MAX_BYTES_A_PROVIDER = 64 * 1024 * 1024
LONGEST_WORD = 200
MOST_FINDINGS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One provider's outcome, final: shown to the caller and counted in the summary."""

    provider: str
    kind: common_pb2.OutcomeKind
    attested_by: query_service_pb2.Attestation
    result: VerifiedResult | None = None
    stamp: account_pb2.Stamp | None = None
    text: str = ""

    @property
    def is_signed_by_provider(self) -> bool:
        """Whether the provider itself answers for this outcome."""
        return self.attested_by == query_service_pb2.ATTESTATION_PROVIDER


class _Stage(enum.Enum):
    PENDING = enum.auto()
    VERIFIED = enum.auto()
    SETTLED = enum.auto()


@dataclass(slots=True, kw_only=True)
class _Part:
    expected: Expectation
    stage: _Stage = _Stage.PENDING
    absent: bool = False
    receipt: VerifiedReceipt | None = None
    result: VerifiedResult | None = None
    stamp: account_pb2.Stamp | None = None
    stamped: envelope_pb2.Envelope | None = None
    pages: list[bytes] = field(default_factory=list)
    size: int = 0


class Exchange:
    """One exchange; every provider of its order ends in exactly one `Settled`."""

    def __init__(
        self,
        order: SignedOrder,
        expectations: Mapping[str, Expectation],
        *,
        requester: str,
        operator: MemberView,
    ) -> None:
        self.order = order
        self.requester = requester
        self._operator = operator
        self._parts = {name: _Part(expected=expected) for name, expected in expectations.items()}
        self._settled: list[Settled] = []
        self._waiting_ended = False
        self.account: account_pb2.Account | None = None
        self.account_envelope: envelope_pb2.Envelope | None = None
        self._found: list[str] = []
        self.rejected = ""

    # -- what arrives ---------------------------------------------------------------------------

    def on_result(self, provider: str, message: session_pb2.Result, *, now: datetime) -> None:
        """Take a provider's receipt and detail from its session."""
        part = self._open(provider)
        if part is None:
            return
        try:
            if part.receipt is not None:
                raise Unverifiable("receipt: a second one")
            part.receipt = verify_receipt(part.expected, message.receipt, message.detail, now=now)
            self._try_verify(part)
        except Unverifiable as error:
            self._unverifiable(part, error)

    def on_page(self, provider: str, message: session_pb2.PageDelivery) -> None:
        """Take one page from a provider's session."""
        part = self._open(provider)
        if part is None:
            return
        part.pages.append(message.page)
        part.size += len(message.page)
        try:
            if len(part.pages) > MAX_PAGES or part.size > MAX_BYTES_A_PROVIDER:
                raise Unverifiable("pages: more than a provider may send")
            self._try_verify(part)
        except Unverifiable as error:
            self._unverifiable(part, error)

    def on_session_failed(self, provider: str, text: str, *, absent: bool) -> None:
        """Take the end of a session; `absent` if the broker says that the provider has no link.

        An absent provider is the broker's to attest, so it waits for the account.
        """
        part = self._open(provider)
        if part is None:
            return
        if absent:
            part.absent = True
            self._settle_attested(part)
            return
        self._settle(
            part,
            common_pb2.OUTCOME_KIND_SESSION_FAILED,
            query_service_pb2.ATTESTATION_GATEWAY,
            text=text,
        )

    def on_stamp(self, message: link_pb2.StampDelivery) -> None:
        """Take the broker's stamp; a stamp of another receipt than the session's is a finding."""
        part = self._parts.get(message.stamp.provider)
        if part is None or part.stamp is not None:
            return
        part.stamp, part.stamped = message.stamp, message.receipt
        if message.stamp.ceiling_marking != part.expected.grant.ceiling:
            self._find(f"{message.stamp.provider}: the broker's stamp has another ceiling than the agreement")
        self._try_release(part)

    def on_account(self, message: link_pb2.AccountDelivery, *, now: datetime) -> None:
        """Take the broker's signed account and settle what it attests, as far as that is its to tell now."""
        try:
            account = verify_account(
                message.account,
                operator=self._operator,
                order_digest=self.order.digest,
                exchange_id=self.order.exchange_id,
                requester=self.requester,
                providers=list(self._parts),
                ordered_at=self.order.issued_at,
            )
        except Unverifiable as error:
            self._find(f"broker: {error}")
            return
        if self.account is not None:
            if account != self.account:
                self._find("broker: signed two different accounts of the exchange")
            return
        self.account, self.account_envelope = account, message.account
        for part in self._parts.values():
            if part.absent or now >= self.order.deadline:
                self._settle_attested(part)
        self._release_all()

    def on_rejected(self, text: str) -> None:
        """Take the broker's word that it did not take the order; nothing will come."""
        line = "".join(character for character in text[:LONGEST_WORD] if character.isprintable())
        self.rejected = line or "the broker did not take the order"
        self.end_waiting()

    def end_waiting(self, finding: str = "broker: gave no account of the exchange in time") -> None:
        """The deadline with the grace for the broker's account is over, or the link: settle what is left."""
        if self._waiting_ended:
            return
        self._waiting_ended = True
        self._release_all()
        if self.account is None and not self.rejected:
            self._find(finding)
        for part in self._parts.values():
            self._settle_attested(part)
            if part.stage is not _Stage.PENDING:
                continue
            kind = common_pb2.OUTCOME_KIND_UNREACHABLE if part.absent else common_pb2.OUTCOME_KIND_TIMED_OUT
            text = self.rejected or "no verified answer by the deadline, and no account from the broker"
            if self.account is not None:  # and it binds a stamp of this provider
                text = "its receipt was stamped, but no result came through the session in time"
                self._find(f"{part.expected.asking.provider}: {text}")
            self._settle(part, kind, query_service_pb2.ATTESTATION_GATEWAY, text=text)

    # -- what is taken out ----------------------------------------------------------------------

    def take_settled(self) -> Sequence[Settled]:
        """Return what was settled since the last call."""
        settled, self._settled = self._settled, []
        return settled

    @property
    def findings(self) -> list[str]:
        """What is known to be wrong by now, a line each: it names the broker, or the provider it is about."""
        if self.account is None:
            return list(self._found)
        receipts = {name: part.receipt for name, part in self._parts.items() if part.receipt}
        two = [name for name, known in receipts.items() if self._has_other_receipt(name, known)]
        for name in two:  # it is the provider that lied, not the broker that stamped what it was given
            del receipts[name]
        stamps = {name: part.stamp for name, part in self._parts.items() if part.stamp}
        twice = (f"{name}: the provider signed two different receipts of one exchange" for name in two)
        return [*self._found, *twice, *contradictions(self.account, receipts, stamps)]

    @property
    def is_finished(self) -> bool:
        """Whether every provider is settled and nothing more is awaited from the broker."""
        done = all(part.stage is _Stage.SETTLED for part in self._parts.values())
        return done and (self.account is not None or self._waiting_ended)

    @property
    def awaits_only_broker(self) -> bool:
        """Whether no session can bring anything more, but a provider failed without the broker knowing."""
        unstamped = any(
            part.stage is _Stage.SETTLED and part.receipt is None for part in self._parts.values()
        )
        return (
            self.account is None
            and unstamped
            and all(part.stage is not _Stage.PENDING or part.absent for part in self._parts.values())
        )

    def is_open(self, provider: str) -> bool:
        """Whether something of `provider` is still awaited."""
        return self._open(provider) is not None

    # -- inside ---------------------------------------------------------------------------------

    def _has_other_receipt(self, provider: str, known: VerifiedReceipt) -> bool:
        part = self._parts[provider]
        return part.stamped is not None and is_other_receipt(part.expected, part.stamped, known)

    def _find(self, line: str) -> None:
        if line not in self._found and len(self._found) < MOST_FINDINGS:
            self._found.append(line)

    def _settle_attested(self, part: _Part) -> None:
        """Settle a provider of which nothing more is awaited by the broker's account, if there is one."""
        if part.stage is not _Stage.PENDING or self.account is None:
            return
        name = part.expected.asking.provider
        entry = next(entry for entry in self.account.entries if entry.provider == name)
        if not entry.HasField("stamp"):
            text = _attested_text(entry.kind)
            self._settle(part, entry.kind, query_service_pb2.ATTESTATION_BROKER, text=text)
        elif part.absent:
            self._settle(
                part,
                common_pb2.OUTCOME_KIND_SESSION_FAILED,
                query_service_pb2.ATTESTATION_GATEWAY,
                text="its link was lost before its result came through",
            )

    def _open(self, provider: str) -> _Part | None:
        part = self._parts.get(provider)
        return part if part is not None and part.stage is _Stage.PENDING else None

    def _try_verify(self, part: _Part) -> None:
        if part.receipt is None or len(part.pages) < part.receipt.detail.page_count:
            return
        part.result = verify_pages(part.expected, part.receipt, part.pages)
        part.pages = []
        part.stage = _Stage.VERIFIED
        self._try_release(part)

    def _try_release(self, part: _Part) -> None:
        if part.stage is not _Stage.VERIFIED or part.result is None:
            return
        stamp = part.stamp
        if stamp is not None and stamp.receipt_digest != part.result.receipt.digest:
            stamp = None
        if stamp is None and self.account is None and not self._waiting_ended and part.stamp is None:
            return
        self._settle(
            part,
            part.result.receipt.receipt.kind,
            query_service_pb2.ATTESTATION_PROVIDER,
            result=part.result,
            stamp=stamp,
        )

    def _release_all(self) -> None:
        for part in self._parts.values():
            self._try_release(part)

    def _unverifiable(self, part: _Part, error: Unverifiable) -> None:
        part.pages = []
        self._settle(
            part,
            common_pb2.OUTCOME_KIND_UNVERIFIABLE,
            query_service_pb2.ATTESTATION_GATEWAY,
            text=str(error),
        )

    def _settle(
        self,
        part: _Part,
        kind: common_pb2.OutcomeKind,
        attested_by: query_service_pb2.Attestation,
        *,
        result: VerifiedResult | None = None,
        stamp: account_pb2.Stamp | None = None,
        text: str = "",
    ) -> None:
        part.stage = _Stage.SETTLED
        self._settled.append(
            Settled(
                provider=part.expected.asking.provider,
                kind=kind,
                attested_by=attested_by,
                result=result,
                stamp=stamp,
                text=text,
            )
        )


def _attested_text(kind: common_pb2.OutcomeKind) -> str:
    match kind:
        case common_pb2.OUTCOME_KIND_UNREACHABLE:
            return "has no link to the broker"
        case common_pb2.OUTCOME_KIND_TIMED_OUT:
            return "gave no receipt by the deadline"
        case common_pb2.OUTCOME_KIND_BAD_RECEIPT:
            return "gave a receipt that the broker refused"
        case common_pb2.OUTCOME_KIND_CANCELLED:
            return "cancelled before it answered"
        case _:
            return "attested by the broker"
