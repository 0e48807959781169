"""The state of one exchange at the gateway: what came from whom, and what each provider's outcome is.

Pure: no sockets, no clock, no tasks. The shell around it (`gateway.py`) hands in what arrives and
takes out what is settled.

    PENDING ──result, every page──▶ VERIFIED ──stamp, or end of waiting──▶ SETTLED
       │ └──anything that does not verify──▶ SETTLED as UNVERIFIABLE
       ├────handshake or session broke─────▶ SETTLED as SESSION_FAILED
       ├────its key or agency was revoked──▶ SETTLED as UNVERIFIABLE, also what is verified and not shown yet
       └────the broker's account───────────▶ SETTLED as what the broker attests

The broker's word about a provider counts at once where no session can say otherwise: it has none, or the
deadline has passed. While a session may still bring the provider's own signed word, that is waited for, or an
early account would make its own lies come true. A session that was opened after the order left proves nothing
against "it had no link": after a restart ends come back one by one, each a moment before or after an order.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from comity.certs.envelope import digest
from comity.certs.roster import MemberView
from comity.gateway.findings import Finding, contradictions
from comity.gateway.limits import GatewayLimits, Tally
from comity.gateway.order import SignedOrder
from comity.gateway.verification import (
    BadAccount,
    Expectation,
    Unverifiable,
    VerifiedReceipt,
    VerifiedResult,
    is_other_receipt,
    is_revoked,
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

LONGEST_WORD = 200
_REVOKED = "receipt: the provider, or the statement key that signed it, was revoked before it was shown"
_CUT = "the certificate of the session with this provider was revoked before its answer was shown"
_WITHHELD = "its receipt was stamped, but no result came through the session in time"
MOST_FINDINGS = 64
DEFAULT_LIMITS = GatewayLimits()
_UNANNOUNCED = common_pb2.OUTCOME_KIND_MALFORMED
"""What a provider signs about a question of which the broker told it nothing."""
MOST_SECONDS = 4
"""Second receipts of one provider that are looked at: each may cost a verification."""
LARGEST_CLAIM = 64 * 1024
"""Bytes of a receipt that is kept as evidence although nothing of it is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One provider's outcome, final: shown to the caller and counted in the summary."""

    provider: str
    kind: common_pb2.OutcomeKind
    attested_by: query_service_pb2.Attestation
    result: VerifiedResult | None = None
    stamp: account_pb2.Stamp | None = None
    text: str = ""
    claimed: tuple[envelope_pb2.Envelope, ...] = ()
    """Receipts that came and of which nothing is shown: the first two, as they came."""

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
    is_late: bool = False
    """Whether its session was opened after the order left."""
    receipt: VerifiedReceipt | None = None
    result: VerifiedResult | None = None
    stamp: account_pb2.Stamp | None = None
    stamped: envelope_pb2.Envelope | None = None
    pages: list[bytes] = field(default_factory=list)
    size: int = 0
    claimed: list[envelope_pb2.Envelope] = field(default_factory=list)
    other: envelope_pb2.Envelope | None = None
    """A second receipt, which it signed too and which says another thing than `receipt`."""
    seconds: int = 0
    is_shown: bool = False
    withdrawn: Settled | None = None
    """What it came to instead, where it was revoked when its result was verified and not shown yet."""


class Exchange:
    """One exchange; every provider of its order ends in exactly one `Settled`.

    `held` is how many bytes of pages, as they came, it holds for its caller.
    """

    def __init__(
        self,
        order: SignedOrder,
        expectations: Mapping[str, Expectation],
        *,
        requester: str,
        operator: MemberView,
        limits: GatewayLimits = DEFAULT_LIMITS,
        tally: Tally | None = None,
    ) -> None:
        self.order = order
        self.held = 0
        self._limits = limits
        self._tally = tally or Tally()
        self.requester = requester
        self._operator = operator
        self._parts = {name: _Part(expected=expected) for name, expected in expectations.items()}
        self._settled: list[Settled] = []
        self._waiting_ended = False
        self.account: account_pb2.Account | None = None
        self.account_envelope: envelope_pb2.Envelope | None = None
        self._found: list[Finding] = []
        self._has_cancelled = False
        self.rejected = ""
        self.rejection = link_pb2.ORDER_REJECTION_REASON_UNSPECIFIED

    # -- what arrives ---------------------------------------------------------------------------

    def on_result(self, provider: str, message: session_pb2.Result, *, now: datetime) -> None:
        """Take a provider's receipt and detail from its session.

        A second receipt that says another thing is a finding, whenever it comes: a provider has one say.
        """
        known = self._parts.get(provider)
        if known is not None and known.receipt is not None:
            self._take_other(known, known.receipt, message.receipt)
        part = self._open(provider)
        if part is None:
            return
        if message.receipt.ByteSize() <= LARGEST_CLAIM:
            part.claimed.append(message.receipt)
        try:
            if part.receipt is not None:
                raise Unverifiable("receipt: a second one")
            part.receipt = verify_receipt(part.expected, message.receipt, message.detail, now=now)
            if part.receipt.detail.page_count > self._limits.max_pages:
                raise Unverifiable("pages: more than this gateway takes")
            self._try_verify(part)
        except Unverifiable as error:
            self._unverifiable(part, error)

    def on_page(self, provider: str, message: session_pb2.PageDelivery) -> bool:
        """Take one page from a provider's session; return whether another one may follow."""
        part, size, limits = self._open(provider), len(message.page), self._limits
        if part is None:
            return False
        try:
            if size > limits.max_page_bytes:
                raise Unverifiable("page: larger than this gateway takes")
            if len(part.pages) >= limits.max_pages or part.size + size > limits.max_answer_bytes:
                raise Unverifiable("pages: more than this gateway takes")
            part.pages.append(message.page)
            part.size += size
            self._hold(size)
            self._try_verify(part)
        except Unverifiable as error:
            self._unverifiable(part, error)
        return part.stage is _Stage.PENDING

    def on_late_session(self, provider: str) -> None:
        """Take it that a session was opened after the order left: its provider may have come since.

        Where the broker's account says that it had no link then, that counts, and it needn't be asked:
        nobody announced the exchange to it.
        """
        part = self._open(provider)
        if part is not None:
            part.is_late = True
            if self._came_late(part):
                self._settle_attested(part)

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

    def on_member(self, member: MemberView) -> None:
        """Take a member's newer view: of a provider that is revoked, or whose key is, nothing more is shown.

        Whenever it says that it signed: who has a stolen key can write any time into a receipt. A result that
        was shown whole stays; of one that is just being shown, nothing more is.
        """
        part = self._parts.get(member.agency)
        if part is None:
            return
        known, part.expected = part.expected.member, replace(part.expected, member=member)
        if part.receipt is not None and is_revoked(part.receipt.envelope, known, member):
            self._withdraw(part, common_pb2.OUTCOME_KIND_UNVERIFIABLE, _REVOKED)

    def on_certificate_revoked(self, provider: str) -> None:
        """Take it that the certificate of a provider's session was revoked: what came in it is not shown."""
        part = self._parts.get(provider)
        if part is not None:
            self._withdraw(part, common_pb2.OUTCOME_KIND_SESSION_FAILED, _CUT)

    def on_stamp(self, message: link_pb2.StampDelivery) -> None:
        """Take the broker's stamp; a stamp of another receipt than the session's is a finding."""
        part = self._parts.get(message.stamp.provider)
        if part is None or part.stamp is not None:
            return
        part.stamp, part.stamped = message.stamp, message.receipt
        if digest(message.receipt.payload) != message.stamp.receipt_digest:
            self._find(
                query_service_pb2.FINDING_KIND_STAMP_AGAINST_ACCOUNT,
                "the broker's stamp came without the receipt that it names",
                self.requester,
                provider=message.stamp.provider,
            )
        if message.stamp.ceiling_marking != part.expected.grant.ceiling:
            self._find(
                query_service_pb2.FINDING_KIND_STAMP_AGAINST_ACCOUNT,
                "the broker's stamp has another ceiling than the agreement",
                self.requester,
                provider=message.stamp.provider,
            )
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
                now=now,
            )
        except BadAccount as error:
            not_signed = error.kind == query_service_pb2.FINDING_KIND_NOT_AN_ACCOUNT
            also = (self.requester,) if not_signed else ()
            evidence = () if not_signed else (message.account, self.order.envelope)
            self._find(error.kind, str(error), *also, evidence=evidence)
            return
        if self.account is not None and self.account_envelope is not None:
            if account != self.account:
                self._find(
                    query_service_pb2.FINDING_KIND_TWO_ACCOUNTS,
                    "signed two different accounts of the exchange",
                    evidence=(self.account_envelope, message.account),
                )
            return
        self.account, self.account_envelope = account, message.account
        for part in self._parts.values():
            if part.absent or self._came_late(part) or now >= self.order.deadline:
                self._settle_attested(part)
        self._release_all()

    def on_rejected(
        self,
        text: str,
        reason: link_pb2.OrderRejectionReason = link_pb2.ORDER_REJECTION_REASON_UNSPECIFIED,
    ) -> None:
        """Take the broker's word that it did not take the order; nothing will come."""
        self.rejection = reason
        line = "".join(character for character in text[:LONGEST_WORD] if character.isprintable())
        self.rejected = line or "the broker did not take the order"
        self.end_waiting()

    def cancelling(self) -> None:
        """The broker is told that nothing more is awaited: from now on it may attest CANCELLED."""
        self._has_cancelled = True

    def on_link_lost(self) -> None:
        """Take it that the own link is gone, and with it every session: nothing more can come."""
        lost = "the link to the broker was lost before it answered"
        self.end_waiting("the link was lost before it gave an account", lost=lost)

    def end_waiting(
        self, finding: str = "gave no account of the exchange in time", *, lost: str = ""
    ) -> None:
        """The deadline with the grace for the broker's account is over: settle what is left.

        `lost` says why it is over before: then it is no provider's silence that ends it.
        """
        if self._waiting_ended:
            return
        self._waiting_ended = True
        self._release_all()
        if self.account is None and not self.rejected:
            self._find(query_service_pb2.FINDING_KIND_NO_ACCOUNT, finding, self.requester)
        for part in self._parts.values():
            self._settle_attested(part)
            if part.stage is not _Stage.PENDING:
                continue
            kind = common_pb2.OUTCOME_KIND_UNREACHABLE if part.absent else common_pb2.OUTCOME_KIND_TIMED_OUT
            text = self.rejected or "no verified answer by the deadline, and no account from the broker"
            if lost and not part.absent:
                kind, text = common_pb2.OUTCOME_KIND_SESSION_FAILED, lost
            elif self.account_envelope is not None:  # and it binds a stamp of this provider
                text, name = _WITHHELD, part.expected.asking.provider
                withheld = query_service_pb2.FINDING_KIND_RESULT_WITHHELD
                self._find(withheld, text, name, provider=name, evidence=(self.account_envelope,))
            self._settle(part, kind, query_service_pb2.ATTESTATION_GATEWAY, text=text)

    # -- what is taken out ----------------------------------------------------------------------

    def take_settled(self) -> Sequence[Settled]:
        """Return what was settled since the last call."""
        settled, self._settled = self._settled, []
        return settled

    def onward_sharing(self, provider: str) -> str:
        """Return to whom what a provider gives may be passed on, by the agreement; empty: to nobody (D4)."""
        return self._parts[provider].expected.grant.onward_sharing

    @property
    def findings(self) -> list[Finding]:
        """What is known to be wrong by now."""
        receipts = {
            name: part.receipt
            for name, part in self._parts.items()
            if part.receipt and not (self._came_late(part) and part.receipt.receipt.kind == _UNANNOUNCED)
        }
        two = [
            (name, known, other) for name, known in receipts.items() if (other := self._other(name, known))
        ]
        for name, _, _ in two:  # it is the provider that lied, not the broker that stamped what it was given
            del receipts[name]
        found = [
            *self._found,
            *(
                Finding(
                    kind=query_service_pb2.FINDING_KIND_TWO_RECEIPTS,
                    text=f"{name}: the provider signed two different receipts of one exchange",
                    suspects=(name,),
                    provider=name,
                    evidence=(known.envelope, other),
                )
                for name, known, other in two
            ),
        ]
        if self.account is None or self.account_envelope is None:
            return found
        stamps = {name: part.stamp for name, part in self._parts.items() if part.stamp}
        return [
            *found,
            *contradictions(
                self.account,
                receipts,
                stamps,
                account_envelope=self.account_envelope,
                order_envelope=self.order.envelope,
                deadline=self.order.deadline,
                operator=self._operator.agency,
                has_cancelled=self._has_cancelled,
            ),
        ]

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

    def withdrawn(self, provider: str) -> Settled | None:
        """Return what a provider's settled result came to as it was revoked before all of it was shown."""
        return self._parts[provider].withdrawn

    def showing_last(self, provider: str) -> None:
        """Take it that the last of a result is on its way to the caller: nothing is left to withdraw."""
        self._parts[provider].is_shown = True

    def shown(self, provider: str) -> None:
        """Take it that the caller has read a provider's pages: they are held no longer."""
        self._drop(self._parts[provider])

    def give_up(self) -> None:
        """Let go of every page: nothing of this exchange will be shown any more."""
        for part in self._parts.values():
            self._drop(part)

    # -- inside ---------------------------------------------------------------------------------

    def _hold(self, size: int) -> None:
        self.held += size
        self._tally.bytes += size

    def _came_late(self, part: _Part) -> bool:
        """Whether the account says that a provider had no link, and no session shows that it had one."""
        if self.account is None or not part.is_late:
            return False
        entry = self._attested(part)
        return entry.kind == common_pb2.OUTCOME_KIND_UNREACHABLE and not entry.announced

    def _attested(self, part: _Part) -> account_pb2.AccountEntry:
        assert self.account is not None
        name = part.expected.asking.provider
        return next(entry for entry in self.account.entries if entry.provider == name)

    def _drop(self, part: _Part) -> None:
        self._hold(-part.size)
        part.size, part.pages = 0, []
        if part.result is not None:
            part.result.pages.clear()

    def _take_other(self, part: _Part, known: VerifiedReceipt, second: envelope_pb2.Envelope) -> None:
        """Keep a second receipt if the provider signed it and it says another thing than the first."""
        part.seconds += 1
        if part.other is not None or part.seconds > MOST_SECONDS or second.ByteSize() > LARGEST_CLAIM:
            return
        if is_other_receipt(part.expected, second, known):
            part.other = second

    def _other(self, provider: str, known: VerifiedReceipt) -> envelope_pb2.Envelope | None:
        """Return another receipt that the provider signed: a second of its session, or what was stamped."""
        part = self._parts[provider]
        if part.other is not None:
            return part.other
        if part.stamped is None or not is_other_receipt(part.expected, part.stamped, known):
            return None
        return part.stamped

    def _find(
        self,
        kind: query_service_pb2.FindingKind,
        text: str,
        *also: str,
        provider: str = "",
        evidence: Sequence[envelope_pb2.Envelope] = (),
    ) -> None:
        """Keep what is wrong: the broker did it, or else one of it and `also`."""
        finding = Finding(
            kind=kind,
            text=f"{provider or 'broker'}: {text}",
            suspects=(self._operator.agency, *also),
            provider=provider,
            evidence=tuple(evidence),
        )
        if all(finding.text != known.text for known in self._found) and len(self._found) < MOST_FINDINGS:
            self._found.append(finding)

    def _settle_attested(self, part: _Part) -> None:
        """Settle a provider of which nothing more is awaited by the broker's account, if there is one."""
        if part.stage is not _Stage.PENDING or self.account is None:
            return
        entry = self._attested(part)
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

    def _withdraw(self, part: _Part, kind: common_pb2.OutcomeKind, text: str) -> None:
        """Settle a part otherwise that is not shown whole: of its result nothing more is shown."""
        if part.is_shown or (part.stage is _Stage.SETTLED and (part.result is None or part.withdrawn)):
            return
        part.receipt = None  # it says nothing any more, against the broker neither
        if part.stage is not _Stage.SETTLED:
            self._settle(part, kind, query_service_pb2.ATTESTATION_GATEWAY, text=text)
            part.result = None  # nothing is left that could be withdrawn once more
            return
        self._drop(part)
        provider = part.expected.asking.provider
        part.withdrawn = Settled(
            provider=provider,
            kind=kind,
            attested_by=query_service_pb2.ATTESTATION_GATEWAY,
            text=text,
            claimed=tuple(part.claimed[:2]),
        )
        self._settled = [part.withdrawn if item.provider == provider else item for item in self._settled]

    def _unverifiable(self, part: _Part, error: Unverifiable) -> None:
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
        if result is None:
            self._drop(part)
        self._settled.append(
            Settled(
                provider=part.expected.asking.provider,
                kind=kind,
                attested_by=attested_by,
                result=result,
                stamp=stamp,
                text=text,
                claimed=() if result else tuple(part.claimed[:2]),
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
