"""What contradicts what in one exchange, and who is left as the liar.

A finding names the agencies of which at least one lied, or failed. It names one alone only where statements
that it signed show it to anybody: to an auditor who trusts neither this gateway nor the broker. Everything
else is one's word against another's, and stays narrowed to that pair:

- that a receipt, a stamp or a result did not come, said of a provider: the broker, or that provider;
- that an account, or what stands in clear beside it, was not given or was another: the broker, or this
  gateway, which is the only one to say so.

So no party can make another look guilty alone by what it withholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from comity.certs.envelope import digest
from comity.certs.instants import CLOCK_SKEW, to_instant
from comity.gateway.verification import VerifiedReceipt
from comity.v1 import account_pb2, common_pb2, envelope_pb2, query_service_pb2
from comity.v1 import query_service_pb2 as contract

TIMER_SLACK: Final = timedelta(seconds=1)
"""By how much an honest broker's timer may be ahead of its own clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong. `suspects`: one if `evidence` shows it to anybody, else the pair."""

    kind: query_service_pb2.FindingKind
    text: str
    suspects: tuple[str, ...]
    provider: str = ""
    evidence: tuple[envelope_pb2.Envelope, ...] = ()

    @property
    def is_attributed(self) -> bool:
        """Whether signed statements show to anybody who lied."""
        return len(self.suspects) == 1 and bool(self.evidence)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """SHA-256 of each statement's payload."""
        return tuple(digest(envelope.payload) for envelope in self.evidence)

    def to_message(self) -> query_service_pb2.Finding:
        """Return it as the contract has it."""
        return query_service_pb2.Finding(
            kind=self.kind,
            provider=self.provider,
            suspects=self.suspects,
            text=self.text,
            evidence=self.digests,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidAbsent:
    """That the broker's signed account of an exchange said of a provider that it had no link."""

    provider: str
    exchange_id: bytes
    account: envelope_pb2.Envelope
    routed_at: datetime

    def refuted(self, linked_since: datetime | None, *, operator: str) -> Finding | None:
        """Return the finding, if the provider's link, by its own word, was up before, and is up still.

        An honest broker and an honest provider never contradict each other: a link that was missing when
        the order was routed, or after, came up after that.
        """
        if linked_since is None or linked_since >= self.routed_at - CLOCK_SKEW:
            return None
        return Finding(
            kind=contract.FINDING_KIND_HAD_A_LINK,
            text=f"{self.provider}: the broker attested `unreachable`, but its link was up all the time",
            suspects=(operator, self.provider),
            provider=self.provider,
            evidence=(self.account,),
        )


def said_absent(account: account_pb2.Account, envelope: envelope_pb2.Envelope) -> list[SaidAbsent]:
    """Return of whom a verified account says `UNREACHABLE`."""
    try:
        routed_at = to_instant(account, "routed_at")
    except ValueError:  # it didn't say when: then nothing can be held against it
        return []
    return [
        SaidAbsent(
            provider=entry.provider, exchange_id=account.exchange_id, account=envelope, routed_at=routed_at
        )
        for entry in account.entries
        if entry.kind == common_pb2.OUTCOME_KIND_UNREACHABLE
    ]


def contradictions(
    account: account_pb2.Account,
    receipts: Mapping[str, VerifiedReceipt],
    stamps: Mapping[str, account_pb2.Stamp],
    *,
    account_envelope: envelope_pb2.Envelope,
    order_envelope: envelope_pb2.Envelope,
    deadline: datetime,
    operator: str,
    has_cancelled: bool,
) -> tuple[Finding, ...]:
    """Return what of the broker's verified account the order, stamps and signed receipts contradict.

    `receipts` are those of this exchange that came through sessions; `has_cancelled` is whether this gateway
    told the broker that it waits no longer, after which a receipt may cross the account.
    """
    requester = account.requester
    closed_at = to_instant(account, "closed_at")
    found: list[Finding] = []

    def find(
        kind: contract.FindingKind, entry: account_pb2.AccountEntry, text: str, *also: str, **shown: bool
    ) -> None:
        evidence = [account_envelope]
        if shown.get("order"):
            evidence.append(order_envelope)
        if shown.get("receipt"):
            evidence.append(receipts[entry.provider].envelope)
        found.append(
            Finding(
                kind=kind,
                text=f"{entry.provider}: {text}",
                suspects=(operator, *also),
                provider=entry.provider,
                evidence=tuple(evidence),
            )
        )

    for entry in account.entries:
        name, receipt, stamp = entry.provider, receipts.get(entry.provider), stamps.get(entry.provider)
        if not entry.HasField("stamp"):
            told = common_pb2.OutcomeKind.Name(entry.kind).removeprefix("OUTCOME_KIND_").lower()
            if entry.kind == common_pb2.OUTCOME_KIND_TIMED_OUT and closed_at < deadline - TIMER_SLACK:
                text = "the broker attests `timed_out` before the deadline of the order"
                find(contract.FINDING_KIND_TOO_EARLY, entry, text, order=True)
            if entry.kind == common_pb2.OUTCOME_KIND_CANCELLED and not has_cancelled:
                text = "the broker attests `cancelled`, but nobody cancelled here"
                find(contract.FINDING_KIND_NOT_CANCELLED, entry, text, requester)
            if receipt and not (entry.kind == common_pb2.OUTCOME_KIND_CANCELLED and has_cancelled):
                text = f"the broker attests `{told}`, but its signed receipt is here"
                find(contract.FINDING_KIND_RECEIPT_DENIED, entry, text, name, receipt=True)
        else:
            if (entry.stamp.exchange_id, entry.stamp.provider) != (account.exchange_id, name):
                text = "the account binds a stamp of something else"
                find(contract.FINDING_KIND_STAMP_AGAINST_RECEIPT, entry, text)
            if receipt and entry.stamp.receipt_digest != receipt.digest:
                text = "the broker stamped another receipt than the session carried"
                find(contract.FINDING_KIND_OTHER_RECEIPT, entry, text, name, receipt=True)
            elif receipt and entry.kind != receipt.receipt.kind:
                text = "the account's kind is not the receipt's"
                find(contract.FINDING_KIND_STAMP_AGAINST_RECEIPT, entry, text, receipt=True)
            elif receipt and entry.stamp.ceiling_marking != receipt.receipt.ceiling_marking:
                text = "the account binds another ceiling than the receipt's"
                find(contract.FINDING_KIND_STAMP_AGAINST_RECEIPT, entry, text, receipt=True)
            if receipt and stamp is None:  # it leaves the broker before the account does, on the same link
                text = "the stamp that the account binds was not given before it"
                find(contract.FINDING_KIND_STAMP_AGAINST_ACCOUNT, entry, text, requester)
        if stamp is not None and (not entry.HasField("stamp") or entry.stamp != stamp):
            text = "the account does not bind the stamp that was given"
            find(contract.FINDING_KIND_STAMP_AGAINST_ACCOUNT, entry, text, requester)
    return tuple(found)
