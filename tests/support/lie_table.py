"""Every lie that the broker of the simulator tells, with who must be named for it, and when.

`docs/threats.md` explains each of them by its name here. The tests tell them one by one, the campaign at
random; both hold the federation to what stands here.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from comity.certs.keys import SigningKey
from comity.links.errors import SessionFailed
from comity.v1 import account_pb2, common_pb2, link_pb2, query_pb2
from comity.v1.link_pb2 import LinkFrame
from tests.simulator import FederationSimulator
from tests.support.federation import FederationOnDisk
from tests.support.lies import Attack, LyingBroker

PROVIDERS = ("cbp", "dea", "lahd", "lapd")


class Who(Enum):
    """Who is left as the liar."""

    BROKER = "the broker, by what it signed"
    PAIR = "the broker or that provider"
    WORD = "the broker or the end that says so"
    NOBODY = "nobody: it changes nothing"


class When(Enum):
    """When it shows at the latest."""

    AT_ONCE = "in the same answer, or in a log before it"
    NEXT = "at the next record of the session"
    SECONDS = "in the ends' logs within seconds"
    LOGS = "when two logs are compared"
    NEVER = "never"


Tell = Callable[[FederationSimulator, str, random.Random], Attack | Awaitable[Attack]]


@dataclass(frozen=True, kw_only=True)
class Lie:
    """One lie. `tell` gets the provider that it is about, where it is about one."""

    tell: Tell
    who: Who
    when: When = When.AT_ONCE
    kinds: tuple[str, ...] = ()
    """Finding kinds that the answer must hold; empty: outcome, error or session log tell."""
    finding: str = ""
    """What a finding's line says, with `{of}` for the provider."""
    outcome: str = ""
    """The provider's outcome, where the lie is told alone and something has been asked before."""
    opens: bool = False
    """Told while a session is opened: the old ones are closed first."""
    second: str = ""
    """Who asks too, at the same time: the lie is about two exchanges."""
    waits: float = 0.0
    """For how many seconds the federation has to go on until it shows."""


# -- records -----------------------------------------------------------------------------------------

RECORDS: dict[str, Callable[..., Attack]] = {
    "flips a bit": LyingBroker.flips_a_byte,
    "drops and numbers anew": LyingBroker.drops_a_record,
    "drops and leaves a gap": lambda broker, **where: broker.drops_a_record(hides=False, **where),
    "repeats and numbers anew": LyingBroker.repeats_a_record,
    "repeats": lambda broker, **where: broker.repeats_a_record(hides=False, **where),
    "splices in another session's": LyingBroker.splices_a_record,
    "injects garbage": LyingBroker.injects,
    "injects a close_notify": lambda broker, **where: broker.injects(
        b"\x15\x03\x03\x00\x02\x01\x00", **where
    ),
    "truncates": LyingBroker.truncates_a_record,
}


def _about_a_record(name: str) -> Lie:
    def tell(federation: FederationSimulator, of: str, rng: random.Random) -> Attack:
        where = {
            "of": rng.choice((None, *PROVIDERS)),
            "toward": rng.choice((None, "gateway", "adapter")),
            "skip": rng.randrange(6),
        }
        return RECORDS[name](federation.broker, **where)

    return Lie(tell=tell, who=Who.PAIR, when=When.NEXT)


def _reordered(federation: FederationSimulator, of: str, rng: random.Random) -> Attack:
    return federation.broker.reorders_records(of=of, skip=rng.randrange(3))


def _held(federation: FederationSimulator, of: str, rng: random.Random) -> Attack:
    toward = rng.choice(("gateway", "adapter"))
    return federation.broker.holds_records(of=of, toward=toward, skip=rng.randrange(4))


def _other(of: str, rng: random.Random) -> str:
    return rng.choice([name for name in PROVIDERS if name != of])


# -- whom one speaks to ------------------------------------------------------------------------------

LEAVES: dict[str, Callable[[FederationOnDisk], Path]] = {
    "its own": lambda made: made.broker_home,
    "another provider's": lambda made: made.adapter_home("dea"),
    "another requester's": lambda made: made.gateway_home("lahd"),
    "the provider's own gateway's": lambda made: made.gateway_home("lapd"),
}


def _answers(federation: FederationSimulator, of: str, rng: random.Random) -> Attack:
    leaf = LEAVES[rng.choice(list(LEAVES))](federation.made)
    attack = federation.broker.answers_itself("lapd", with_leaf_of=leaf)
    attack.hit.add("lapd")
    return attack


async def _asks(federation: FederationSimulator, of: str, rng: random.Random) -> Attack:
    leaf = LEAVES[rng.choice(list(LEAVES))](federation.made)
    attack = Attack("asks itself", hit={"lapd"})
    try:
        await federation.broker.asks_itself("lapd", in_the_name_of="sheriff", with_leaf_of=leaf)
    except SessionFailed:
        attack.happened = 1
    assert attack.happened, "a session without the requester's leaf"
    return attack


SESSIONS: dict[str, Lie] = {
    "crosses two sessions": Lie(
        tell=lambda f, of, rng: f.broker.crosses_sessions(of, _other(of, rng)), who=Who.PAIR
    ),
    "crosses two pairs": Lie(
        tell=lambda f, of, rng: f.broker.crosses_pairs("lapd"), who=Who.PAIR, second="lahd"
    ),
    "connects to another provider": Lie(
        tell=lambda f, of, rng: f.broker.connects_to(_other(of, rng), instead_of=of), who=Who.PAIR, opens=True
    ),
    "opens another lane": Lie(
        tell=lambda f, of, rng: f.broker.opens_another_lane(toward=rng.choice(("gateway", "adapter"))),
        who=Who.PAIR,
        opens=True,
    ),
    "opens it in another's name": Lie(
        tell=lambda f, of, rng: f.broker.opens_in_another_name("lahd", of=of), who=Who.PAIR, opens=True
    ),
    "answers in a provider's place": Lie(tell=_answers, who=Who.PAIR, opens=True),
    "asks in a requester's name": Lie(tell=_asks, who=Who.PAIR),
    "says that a linked provider is absent": Lie(
        tell=lambda f, of, rng: f.broker.says_absent(of), who=Who.PAIR, outcome="UNREACHABLE"
    ),
}


# -- what is in clear --------------------------------------------------------------------------------


def _of(account: account_pb2.Account, provider: str) -> account_pb2.AccountEntry:
    return next(entry for entry in account.entries if entry.provider == provider)


def _other_digest(stamp: account_pb2.Stamp) -> None:
    stamp.receipt_digest = b"d" * 32


def _ceiling(delivery: link_pb2.StampDelivery) -> None:
    delivery.stamp.ceiling_marking = b"anything goes"


def _to_lahd(announcement: link_pb2.Announcement) -> None:
    announcement.requester = "lahd"


def _bad_receipt(of: str) -> Callable[[account_pb2.Account], None]:
    def change(account: account_pb2.Account) -> None:
        _of(account, of).kind = common_pb2.OUTCOME_KIND_BAD_RECEIPT
        _of(account, of).ClearField("stamp")

    return change


def _leaf_more(placement: link_pb2.OrderPlacement) -> None:
    leaf = query_pb2.OrderLeaf.FromString(placement.leaves[0])
    leaf.provider = "ice"
    placement.leaves.append(leaf.SerializeToString())


def _swap_orders(one: LinkFrame, other: LinkFrame) -> None:
    one.order.order.payload, other.order.order.payload = other.order.order.payload, one.order.order.payload


def _swap_placements(one: LinkFrame, other: LinkFrame) -> None:
    mine, theirs = one.order.SerializeToString(), other.order.SerializeToString()
    one.order.ParseFromString(theirs)
    other.order.ParseFromString(mine)


def _swap_accounts(one: LinkFrame, other: LinkFrame) -> None:
    mine, theirs = one.account.account.SerializeToString(), other.account.account.SerializeToString()
    one.account.account.ParseFromString(theirs)
    other.account.account.ParseFromString(mine)


def _clear(tell: Callable[[LyingBroker, str], Attack], who: Who, kinds: str = "", **more: Any) -> Lie:
    return Lie(tell=lambda f, of, rng: tell(f.broker, of), who=who, kinds=tuple(kinds.split()), **more)


def _changed(change: Callable[[account_pb2.Account, str], Any], who: Who, kinds: str, finding: str) -> Lie:
    """An account that is changed and signed anew."""

    def tell(broker: LyingBroker, of: str) -> Attack:
        return broker.forges_account(lambda account: change(account, of))

    return _clear(tell, who, kinds, finding=finding, outcome="RESPONDED")


ORDERS: dict[str, Lie] = {
    "drops the order": _clear(
        lambda b, of: b.drops("order"),
        Who.WORD,
        "NO_ACCOUNT",
        finding="broker: gave no account",
        outcome="MALFORMED",
    ),
    "replays an older order in its place": _clear(
        lambda b, of: b.replays("order"),
        Who.WORD,
        "NO_ACCOUNT",
        finding="broker: gave no account",
        outcome="MALFORMED",
    ),
    "delays the order": _clear(
        lambda b, of: b.delays("order", 3),
        Who.PAIR,
        "RECEIPT_DENIED",
        finding="{of}: the broker attests `timed_out`",
        outcome="MALFORMED",
    ),
    "changes the order": _clear(
        lambda b, of: b.forges("order", lambda o: o.order.ClearField("signatures")),
        Who.WORD,
        outcome="TIMED_OUT",
    ),
    "adds a provider to the order": _clear(
        lambda b, of: b.forges("order", _leaf_more), Who.WORD, outcome="TIMED_OUT"
    ),
    "swaps the orders of two exchanges": _clear(
        lambda b, of: b.swaps_bodies("order", _swap_orders), Who.WORD, outcome="TIMED_OUT", second="sheriff"
    ),
    "swaps the orders of two requesters": _clear(
        lambda b, of: b.swaps_bodies("order", _swap_placements),
        Who.WORD,
        "NO_ACCOUNT",
        finding="broker: gave no account",
        outcome="MALFORMED",
        second="lahd",
    ),
    "repeats the order": _clear(lambda b, of: b.repeats("order", seconds=0.5), Who.WORD, outcome="TIMED_OUT"),
    "takes the order and denies it": _clear(
        lambda b, of: b.rejects_orders("no\x1b[2J" + "n" * 1000), Who.WORD, outcome="TIMED_OUT"
    ),
    "drops an announcement": _clear(
        lambda b, of: b.drops("announcement", of=of),
        Who.PAIR,
        "RECEIPT_DENIED",
        finding="{of}: the broker attests `timed_out`",
        outcome="MALFORMED",
    ),
    "announces too late": _clear(
        lambda b, of: b.delays("announcement", 3, of=of),
        Who.PAIR,
        "RECEIPT_DENIED",
        finding="{of}: the broker attests `timed_out`",
        outcome="MALFORMED",
    ),
    "announces another requester": _clear(
        lambda b, of: b.forges("announcement", _to_lahd, of=of),
        Who.PAIR,
        "RECEIPT_DENIED",
        finding="{of}: the broker attests `timed_out`",
        outcome="MALFORMED",
    ),
    "tells a provider that the asker has gone": _clear(
        lambda b, of: b.cancels(of=of), Who.PAIR, outcome="TIMED_OUT"
    ),
}

RECEIPTS: dict[str, Lie] = {
    name: _clear(tell, Who.PAIR, "RECEIPT_DENIED", finding=finding, outcome="RESPONDED")
    for name, tell, finding in (
        (
            "drops a receipt",
            lambda b, of: b.drops("receipt", of=of),
            "{of}: the broker attests `timed_out`",
        ),
        (
            "delays a receipt",
            lambda b, of: b.delays("receipt", 5, of=of),
            "{of}: the broker attests `timed_out`",
        ),
        (
            "replays a receipt",
            lambda b, of: b.replays("receipt", of=of, anew=True),
            "{of}: the broker attests `bad_receipt`",
        ),
        (
            "changes a receipt",
            lambda b, of: b.forges("receipt", lambda r: r.receipt.ClearField("signatures"), of=of),
            "{of}: the broker attests `bad_receipt`",
        ),
        (
            "swaps two receipts",
            lambda b, of: b.swaps_receipts(of, "lahd" if of != "lahd" else "dea"),
            "{of}: the broker attests `bad_receipt`",
        ),
    )
}

_UNBOUND = "{of}: the account does not bind the stamp"
_NOT_GIVEN = "{of}: the stamp that the account binds was not given"

STAMPS: dict[str, Lie] = {
    name: _clear(tell, Who.WORD, "STAMP_AGAINST_ACCOUNT", finding=finding, outcome="RESPONDED")
    for name, tell, finding in (
        (
            "drops a stamp",
            lambda b, of: b.drops("stamp", of=of),
            _NOT_GIVEN,
        ),
        (
            "delays a stamp",
            lambda b, of: b.delays("stamp", 2, of=of),
            "{of}: the stamp that the account binds",
        ),
        ("replays a stamp", lambda b, of: b.replays("stamp", of=of, anew=True), _UNBOUND),
        ("swaps two stamps", lambda b, of: b.swaps_stamps(of, "lahd" if of != "lahd" else "dea"), _UNBOUND),
        (
            "stamps another receipt",
            lambda b, of: b.forges("stamp", lambda s: _other_digest(s.stamp), of=of),
            _UNBOUND,
        ),
        (
            "stamps another ceiling",
            lambda b, of: b.forges("stamp", _ceiling, of=of),
            "{of}: the broker's stamp has another ceiling",
        ),
        (
            "stamps without the receipt",
            lambda b, of: b.forges("stamp", lambda s: s.ClearField("receipt"), of=of),
            "{of}: the broker's stamp came without the receipt",
        ),
    )
}

ACCOUNTS: dict[str, Lie] = {
    "drops the account": _clear(
        lambda b, of: b.drops("account"),
        Who.WORD,
        "NO_ACCOUNT",
        finding="broker: gave no account",
        outcome="RESPONDED",
    ),
    "delays the account": _clear(
        lambda b, of: b.delays("account", 9),
        Who.WORD,
        "NO_ACCOUNT",
        finding="broker: gave no account",
        outcome="RESPONDED",
    ),
    "replays an account": _clear(
        lambda b, of: b.replays("account", anew=True),
        Who.WORD,
        "NOT_AN_ACCOUNT",
        finding="broker: account: names another exchange",
        outcome="RESPONDED",
    ),
    "swaps the accounts of two exchanges": _clear(
        lambda b, of: b.swaps_bodies("account", _swap_accounts),
        Who.WORD,
        "NOT_AN_ACCOUNT",
        finding="broker: account: names another exchange",
        outcome="RESPONDED",
        second="sheriff",
    ),
    "signs with another key": _clear(
        lambda b, of: b.forges_account(lambda account: None, key=SigningKey.generate()),
        Who.WORD,
        "NOT_AN_ACCOUNT",
        finding="broker: account: is not signed by the operator",
        outcome="RESPONDED",
    ),
    "accounts for another exchange": _changed(
        lambda account, of: setattr(account, "exchange_id", b"x" * 16),
        Who.WORD,
        "NOT_AN_ACCOUNT",
        "broker: account: names another exchange",
    ),
    "accounts for another order": _changed(
        lambda account, of: setattr(account, "order_digest", b"o" * 32),
        Who.WORD,
        "NOT_AN_ACCOUNT",
        "broker: account: tells of another order",
    ),
    "accounts to another requester": _changed(
        lambda account, of: setattr(account, "requester", "lahd"),
        Who.BROKER,
        "ACCOUNT_AGAINST_ORDER",
        "broker: account: names another requester",
    ),
    "leaves a provider out": _changed(
        lambda account, of: account.entries.remove(_of(account, of)),
        Who.BROKER,
        "ACCOUNT_AGAINST_ORDER",
        "broker: account: does not name every provider",
    ),
    "names a provider twice": _changed(
        lambda account, of: account.entries.append(_of(account, of)),
        Who.BROKER,
        "ACCOUNT_AGAINST_ORDER",
        "broker: account: does not name every provider",
    ),
    "tells another outcome": _changed(
        lambda account, of: setattr(_of(account, of), "kind", common_pb2.OUTCOME_KIND_REFUSED),
        Who.BROKER,
        "STAMP_AGAINST_RECEIPT",
        "{of}: the account's kind is not the receipt's",
    ),
    "tells a provider's outcome as its own": _changed(
        lambda account, of: _of(account, of).ClearField("stamp"),
        Who.BROKER,
        "NOT_ITS_WORD",
        "broker: account: tells an outcome that is not the broker's",
    ),
    "binds another ceiling": _changed(
        lambda account, of: setattr(_of(account, of).stamp, "ceiling_marking", b"anything goes"),
        Who.BROKER,
        "STAMP_AGAINST_RECEIPT",
        "{of}: the account binds another ceiling than the receipt's",
    ),
    "binds a stamp of something else": _changed(
        lambda account, of: setattr(_of(account, of).stamp, "provider", "vendor"),
        Who.BROKER,
        "STAMP_AGAINST_RECEIPT",
        "{of}: the account binds a stamp of something else",
    ),
    "binds another stamp": _changed(
        lambda account, of: _other_digest(_of(account, of).stamp),
        Who.PAIR,
        "OTHER_RECEIPT STAMP_AGAINST_ACCOUNT",
        "{of}: the broker stamped another receipt",
    ),
    "calls a good receipt bad": _clear(
        lambda b, of: b.forges_account(_bad_receipt(of)),
        Who.PAIR,
        "RECEIPT_DENIED STAMP_AGAINST_ACCOUNT",
        finding="{of}: the broker attests `bad_receipt`",
        outcome="RESPONDED",
    ),
    "signs two accounts": _clear(
        lambda b, of: b.signs_two_accounts(_bad_receipt(of)),
        Who.BROKER,
        "TWO_ACCOUNTS",
        finding="broker: signed two different accounts",
        outcome="RESPONDED",
    ),
    "says at once that it timed out": _clear(
        lambda b, of: b.attests({of: "TIMED_OUT"}),
        Who.BROKER,
        "TOO_EARLY RECEIPT_DENIED",
        finding="{of}: the broker attests `timed_out`",
        outcome="RESPONDED",
    ),
    "says at once that nobody is there": _clear(
        lambda b, of: b.attests(dict.fromkeys(PROVIDERS, "UNREACHABLE")),
        Who.PAIR,
        "RECEIPT_DENIED",
        finding="{of}: the broker attests `unreachable`",
        outcome="RESPONDED",
    ),
    "says at once that the asker cancelled": _clear(
        lambda b, of: b.attests({of: "CANCELLED"}),
        Who.PAIR,
        "NOT_CANCELLED RECEIPT_DENIED",
        finding="{of}: the broker attests `cancelled`",
        outcome="RESPONDED",
    ),
    "stamps a receipt that nobody gave": _clear(
        lambda b, of: b.attests({of: "RESPONDED"}, stamps=True),
        Who.PAIR,
        "OTHER_RECEIPT",
        finding="{of}: the broker stamped another receipt",
        outcome="RESPONDED",
    ),
}

CLEAR: dict[str, Lie] = {**ORDERS, **RECEIPTS, **STAMPS, **ACCOUNTS}

HARMLESS: dict[str, Lie] = {
    name: _clear(tell, Who.NOBODY, when=When.NEVER, outcome="RESPONDED")
    for name, tell in (
        ("announces twice", lambda b, of: b.repeats("announcement")),
        ("invents an announcement", lambda b, of: b.invents_an_announcement(to=of)),
        ("takes receipts twice", lambda b, of: b.repeats("receipt")),
        ("stamps twice", lambda b, of: b.repeats("stamp")),
        ("accounts twice", lambda b, of: b.repeats("account")),
        ("delays announcements a little", lambda b, of: b.delays("announcement", 1)),
        ("delays receipts a little", lambda b, of: b.delays("receipt", 1)),
        ("hides who is present", lambda b, of: b.drops("presence")),
        ("drops credit", lambda b, of: b.drops("session_credit")),
        ("delays checkpoints", lambda b, of: b.delays("checkpoint", 0.5)),
        ("delays proofs", lambda b, of: b.delays("proofs", 2)),
        ("takes proofs twice", lambda b, of: b.repeats("proofs")),
        ("drops cosignatures", lambda b, of: b.drops("cosignature")),
    )
}


# -- its log -----------------------------------------------------------------------------------------


def _forged_note(checkpoint: Any) -> None:
    checkpoint.note = checkpoint.note.replace(b"\n\n", b"\nextra\n\n")


def _wrong_proof(proofs: Any) -> None:
    path = [bytes(32) for _ in proofs.consistency.path]
    del proofs.consistency.path[:]
    proofs.consistency.path.extend(path)


def _forged_line(cosignature: Any) -> None:
    head, _, encoded = cosignature.line.rpartition(b" ")
    material = bytearray(base64.b64decode(encoded))
    material[-1] ^= 1
    cosignature.line = head + b" " + base64.b64encode(bytes(material)) + b"\n"


CHECKPOINTS: dict[str, Lie] = {
    "drops checkpoints": _clear(
        lambda b, of: b.drops("checkpoint"), Who.WORD, when=When.LOGS, outcome="RESPONDED", waits=3
    ),
    "forges a checkpoint": _clear(
        lambda b, of: b.forges("checkpoint", _forged_note),
        Who.WORD,
        when=When.SECONDS,
        outcome="RESPONDED",
        waits=3,
    ),
    "shows another log's checkpoint": _clear(
        lambda b, of: b.swaps_checkpoints(), Who.WORD, when=When.SECONDS, outcome="RESPONDED", waits=3
    ),
    "replays a checkpoint": _clear(
        lambda b, of: b.replays_a_checkpoint(), Who.WORD, when=When.SECONDS, outcome="RESPONDED", waits=3
    ),
    "drops proofs": _clear(
        lambda b, of: b.drops("proofs"), Who.WORD, when=When.SECONDS, outcome="RESPONDED", waits=40
    ),
    "drops requests for proofs": _clear(
        lambda b, of: b.drops("proof_request", outward=False),
        Who.WORD,
        when=When.SECONDS,
        outcome="RESPONDED",
        waits=40,
    ),
    "changes a proof": _clear(
        lambda b, of: b.forges("proofs", _wrong_proof),
        Who.WORD,
        when=When.SECONDS,
        outcome="RESPONDED",
        waits=5,
    ),
    "forges a cosignature": _clear(
        lambda b, of: b.forges("cosignature", _forged_line),
        Who.WORD,
        when=When.SECONDS,
        outcome="RESPONDED",
        waits=5,
    ),
}

REWRITES: dict[str, Lie] = {
    "grows a fork": _clear(
        lambda b, of: b.grows_a_fork(), Who.BROKER, when=When.SECONDS, outcome="RESPONDED", waits=8
    ),
    "forks its log": _clear(
        lambda b, of: b.forks_its_log(), Who.BROKER, when=When.SECONDS, outcome="RESPONDED", waits=5
    ),
    "shortens its log": _clear(
        lambda b, of: b.shortens_its_log(), Who.BROKER, when=When.SECONDS, outcome="RESPONDED", waits=5
    ),
}
"""After one of these the log of the broker never verifies again: the last of a federation's exchanges."""

ROSTER = ("rolls the roster back", "freezes the roster")
"""Told by whoever serves the published folder; after them the federation is another one."""

LIES: dict[str, Lie] = {
    **{name: _about_a_record(name) for name in RECORDS},
    "reorders": Lie(tell=_reordered, who=Who.PAIR, when=When.NEXT),
    "holds": Lie(tell=_held, who=Who.PAIR, when=When.NEXT),
    **SESSIONS,
    **CLEAR,
    **CHECKPOINTS,
    **HARMLESS,
}
"""What the campaign draws from, exchange by exchange."""

TABLE: Sequence[str] = (*LIES, *REWRITES, *ROSTER)
"""Each lie by its name; `docs/threats.md` has the same."""
