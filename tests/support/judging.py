"""Whether a lie showed, when, and whether the right one was named: by answers, logs and warnings alone.

`shows` is the auditor's part: it believes neither gateway nor broker, and has nothing but the statements that
were kept as evidence and the roster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from comity.audit import merkle
from comity.audit.entry import Entry
from comity.certs.envelope import digest, open_envelope
from comity.certs.instants import to_instant
from comity.certs.roster import Federation
from comity.gateway.errors import NobodyAnswered
from comity.v1 import (
    account_pb2,
    common_pb2,
    envelope_pb2,
    link_pb2,
    query_pb2,
    query_service_pb2,
    result_pb2,
)
from tests.simulator import Answer, FederationSimulator
from tests.support.lie_table import Lie, When, Who
from tests.support.lies import Attack

ORDINARY = ("shutdown", "renewal", "idle")
"""Why sessions end when nobody lies."""
NAMES_A_PAIR = frozenset({"SESSION_FAILED", "TIMED_OUT", "UNREACHABLE"})
"""Outcomes that say by themselves: that provider, or the broker between."""
OPERATOR = "operator"
BROKERS_LOG = "operator.example/broker"

Before = Mapping[str, int]


def broken_sessions(federation: FederationSimulator, since: Before) -> list[tuple[str, str, str]]:
    """Return (end, entry, provider) for each session that an end logged as ended for no ordinary reason."""
    return [
        (
            name,
            f"{entry.kind} {entry.public['reason']}",
            str(entry.public["peer"]) if name.endswith("/gateway") else name.split("/")[0],
        )
        for name, journal in federation.journals.items()
        for entry in journal.entries[since[name] :]
        if entry.kind in ("session_closed", "session_refused") and entry.public["reason"] not in ORDINARY
    ]


def is_detected(
    federation: FederationSimulator, lie: Lie, answers: Sequence[Answer], since: Before, warned: int
) -> bool:
    """Whether anything shows that not all was as it should be."""
    if lie.when in (When.SECONDS, When.LOGS):
        return _in_logs(federation, lie, since, warned)
    return any(not answer.is_whole for answer in answers) or bool(broken_sessions(federation, since))


def is_named(
    federation: FederationSimulator,
    lie: Lie,
    attack: Attack,
    of: str,
    answers: Sequence[Answer],
    since: Before,
    warned: int,
    *,
    requester: str = "sheriff",
) -> bool:
    """Whether those whom the table of lies names, and nobody else, are left as liars."""
    if lie.when in (When.SECONDS, When.LOGS):
        return _in_logs(federation, lie, since, warned)
    found = [finding for answer in answers if answer.summary is not None for finding in answer.summary.found]
    kinds = {query_service_pb2.FindingKind.Name(finding.kind) for finding in found}
    if not {f"FINDING_KIND_{kind}" for kind in lie.kinds} <= kinds:
        return False
    accused = [set(finding.suspects) for finding in found]
    targets = attack.hit or {of}
    match lie.who:
        case Who.BROKER:
            return {OPERATOR} in accused
        case Who.WORD:
            rejected = any(isinstance(answer.error, NobodyAnswered) for answer in answers)
            return {OPERATOR, requester} in accused or (not lie.kinds and rejected)
        case Who.PAIR:
            told = {name for answer in answers for name, kind in answer.kinds.items() if kind in NAMES_A_PAIR}
            broke = {provider for _, _, provider in broken_sessions(federation, since)}
            pairs = {name for name in targets if {OPERATOR, name} in accused}
            return bool(targets & (pairs if lie.kinds else told | broke | pairs))
        case Who.NOBODY:
            return not found


def require_sound(federation: FederationSimulator, answer: Answer, *, requester: str = "sheriff") -> None:
    """No finding leaves the broker out, which alone lied; what accuses it alone convinces an auditor.

    Raises AssertionError.
    """
    if answer.summary is None:
        return
    assert [finding.text for finding in answer.summary.found] == list(answer.summary.findings)
    for finding in answer.summary.found:
        assert OPERATOR in finding.suspects, finding.text
        if len(finding.suspects) > 1:
            assert len(set(finding.suspects)) == 2, finding
            continue
        logged = [
            entry
            for entry in federation.journals[f"{requester}/gateway"].of("contradiction")[-8:]
            if entry.exchange == answer.exchange_id
        ]
        assert logged and shows(logged[-1], finding, federation.made.federation(federation.clock())), (
            finding.text
        )


def shows(entry: Entry, finding: query_service_pb2.Finding, federation: Federation) -> bool:
    """Whether the evidence that is kept beside a log entry proves what a finding says, to anybody."""
    told: Any = entry.public["found"]
    [line] = [one for one in told if one["evidence"] == [name.hex() for name in finding.evidence]][:1]
    assert line["suspects"] == list(finding.suspects)
    kept = []
    for name in line["evidence"]:
        envelope = envelope_pb2.Envelope.FromString(entry.attachments[f"evidence:{name}"])
        if digest(envelope.payload).hex() != name:
            return False
        kept.append(envelope)
    kind = query_service_pb2.FindingKind.Name(finding.kind).removeprefix("FINDING_KIND_")
    match kind:
        case "TWO_RECEIPTS":
            one, other = (_receipt(envelope, federation) for envelope in kept)
            same = (one.exchange_id, one.provider) == (other.exchange_id, other.provider)
            return same and one != other
        case "TWO_ACCOUNTS":
            first, second = (_account(envelope, federation) for envelope in kept)
            return first.exchange_id == second.exchange_id and first != second
        case "NOT_ITS_WORD":
            account = _account(kept[0], federation)
            own = range(common_pb2.OUTCOME_KIND_UNREACHABLE, common_pb2.OUTCOME_KIND_CANCELLED + 1)
            return any((each.kind in own) == each.HasField("stamp") for each in account.entries)
        case "STAMP_AGAINST_RECEIPT":
            return _binds_another(_account(kept[0], federation), [_receipt(e, federation) for e in kept[1:]])
        case "ACCOUNT_AGAINST_ORDER" | "TOO_EARLY":
            account, order = _account(kept[0], federation), _order(kept[1], federation)
            if account.order_digest != digest(kept[1].payload):
                return False
            if kind == "TOO_EARLY":
                timed_out = any(one.kind == common_pb2.OUTCOME_KIND_TIMED_OUT for one in account.entries)
                early = to_instant(order, "deadline") - to_instant(account, "closed_at")
                return timed_out and early > timedelta(seconds=1)
            placement = link_pb2.OrderPlacement.FromString(entry.attachments["placement"])
            assert merkle.root([merkle.leaf_hash(leaf) for leaf in placement.leaves]) == order.root
            ordered = [query_pb2.OrderLeaf.FromString(leaf).provider for leaf in placement.leaves]
            return account.requester != order.requester or ordered != [e.provider for e in account.entries]
        case _:
            return False


def _binds_another(account: account_pb2.Account, receipts: Sequence[result_pb2.Receipt]) -> bool:
    for entry in account.entries:
        if not entry.HasField("stamp"):
            continue
        stamp = entry.stamp
        if (stamp.exchange_id, stamp.provider) != (account.exchange_id, entry.provider):
            return True
        for receipt in receipts:
            same = receipt.provider == entry.provider and receipt.exchange_id == account.exchange_id
            if same and (receipt.kind, receipt.ceiling_marking) != (entry.kind, stamp.ceiling_marking):
                return True
    return False


def _account(envelope: envelope_pb2.Envelope, federation: Federation) -> account_pb2.Account:
    keys = federation.operator.key_set.statement_keys_at(
        to_instant(account_pb2.Account.FromString(envelope.payload), "closed_at")
    )
    return open_envelope(envelope, account_pb2.Account, keys).message


def _order(envelope: envelope_pb2.Envelope, federation: Federation) -> query_pb2.Order:
    order = query_pb2.Order.FromString(envelope.payload)
    keys = federation.member(order.requester).key_set.statement_keys_at(to_instant(order, "issued_at"))
    return open_envelope(envelope, query_pb2.Order, keys).message


def _receipt(envelope: envelope_pb2.Envelope, federation: Federation) -> result_pb2.Receipt:
    receipt = result_pb2.Receipt.FromString(envelope.payload)
    keys = federation.member(receipt.provider).key_set.statement_keys_at(to_instant(receipt, "signed_at"))
    return open_envelope(envelope, result_pb2.Receipt, keys).message


def _in_logs(federation: FederationSimulator, lie: Lie, since: Before, warned: int) -> bool:
    """Whether a lie about the broker's log shows at the ends, as it has to."""
    ends = [name for name in federation.journals if name != "operator/broker"]
    new = {name: federation.journals[name].entries[since[name] :] for name in ends}
    if lie.who is Who.BROKER:  # two notes that it signed, in each end's own log
        return all(_contradicted(new[name]) for name in ends)
    if lie.when is When.LOGS:  # of all logs that they saw the broker's is missing
        seen = [entry for name in ends for entry in new[name] if entry.kind == "checkpoint_seen"]
        return bool(seen) and not any(_is_news_of_the_broker(entry, since) for entry in seen)
    told = any("checkpoint" in line for line in federation.warnings[warned:])
    return told or any(_contradicted(new[name]) for name in ends)


def _is_news_of_the_broker(entry: Entry, since: Before) -> bool:
    """Whether a checkpoint that was seen covers what the broker wrote since; an earlier one came late."""
    size = entry.public["size"]
    assert isinstance(size, int)
    return entry.public["peer_origin"] == BROKERS_LOG and size > since["operator/broker"]


def _contradicted(entries: Sequence[Entry]) -> bool:
    return any(
        entry.kind == "contradiction" and entry.public.get("peer_origin") == BROKERS_LOG for entry in entries
    )
