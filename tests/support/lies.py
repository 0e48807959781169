"""The broker of the simulator: the real one, and between it and the links whatever lies a test tells.

It has all that an operator has: every frame, in both directions, and the operator's keys. What it hasn't is
any end's key. Each lie is one call that returns an `Attack`, which counts how often it happened and can be
lifted.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc

from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.note import LogKey
from comity.broker.service import SERVICE_NAME
from comity.certs.agreements import AgreementBook
from comity.certs.clock import Clock
from comity.certs.envelope import digest, seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import Federation
from comity.links.frames import kind, session_close
from comity.links.sessions.hub import AdapterSessions, GatewaySessions, Session, SessionIdentity
from comity.v1 import account_pb2, common_pb2, link_pb2, query_pb2
from comity.v1.link_pb2 import CloseReason, LinkFrame, SessionData, SessionOpen, Welcome
from comity.v1.session_pb2 import SessionMessage
from tests.support.federation import FederationOnDisk
from tests.support.wires import NoServer, Wire

INWARD = frozenset({"order", "receipt"})
"""Kinds in clear that are tampered with as they come from an end; the others as they leave for one."""

KEPT = frozenset({"order", "receipt", "stamp", "account"})
"""Kinds of which the last one is remembered, to be replayed."""

Rule = Callable[[str, bool, LinkFrame], list[LinkFrame] | None]
"""(end, outward, frame): what goes on in its place; None: it is none of this lie's business."""
Act = Callable[[str, LinkFrame], list[LinkFrame] | None]


@dataclass(eq=False)
class Attack:
    """A lie that is being told."""

    name: str
    happened: int = 0
    is_lifted: bool = False
    hit: set[str] = field(default_factory=set)
    """Providers of whose sessions a record was touched."""
    got: list[SessionMessage] = field(default_factory=list)
    """What an impostor was told in a session of its own."""
    flipped: list[tuple[int, int]] = field(default_factory=list)
    """For each changed bit: the type of the first record in its frame, and the byte's place in the frame."""

    def lift(self) -> None:
        """Be honest again."""
        self.is_lifted = True


class LyingBroker:
    """Links by end (`wires["lapd/adapter"]`), sessions by id, and the lies."""

    def __init__(self, made: FederationOnDisk, clock: Clock) -> None:
        self.made = made
        self.wires: dict[str, Wire] = {}
        self.sessions: dict[int, tuple[str, str]] = {}
        """(requester, provider) of each session that was opened."""
        self.random = random.Random(1)
        self.listener: Callable[[str, bool, LinkFrame], None] | None = None
        """Is told of every frame that crosses, in either direction."""
        self.is_heard: Callable[[str, int], bool] = lambda end, session_id: True
        """Whether an end still has a session: lies in one that is over change nothing, and don't count."""
        self.attacks: list[tuple[Attack, Rule]] = []
        self._clock = clock
        self._server = NoServer()
        self._impostors: dict[int, Any] = {}
        self._own_sessions = itertools.count(1 << 41)
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard: list[tuple[str, int, bytes]] = []
        """The last records that left for an end, with its session, oldest first."""
        self._clear_frames: dict[tuple[str, str, str], LinkFrame] = {}
        self._notes: dict[tuple[str, bool], list[bytes]] = {}
        """By end and direction: the first checkpoint that went over its link, and the last."""

    # -- the links ------------------------------------------------------------------------------

    def listens(self, *arguments: object, **options: object) -> NoServer:
        """Take the handlers of the real broker: what `grpc.aio.server` is to it."""
        return self._server

    def dialled(self, name: str, chain_pem: bytes) -> Wire:
        """Serve the link of an end by the real broker's handler."""
        wire = self.wires[name] = Wire(name, chain_pem, self._crossing)
        details = SimpleNamespace(method=f"/{SERVICE_NAME}/Link", invocation_metadata=())
        methods = (handler.service(details) for handler in self._server.handlers)
        method = next(found for found in methods if found is not None)
        self._start(self._serve(method.stream_stream, wire))
        return wire

    def is_honest_again(self) -> None:
        """Lift every lie."""
        for attack, _ in self.attacks:
            attack.lift()
        self.attacks.clear()
        self._impostors.clear()

    @property
    def key(self) -> SigningKey:
        """The operator's statement key: it signs accounts."""
        return SigningKey.load(self.made.broker_home / "keys" / "statement.key")

    async def _serve(self, link: Callable[[Any, Any], Awaitable[None]], wire: Wire) -> None:
        try:
            await link(None, wire.broker)
        except grpc.aio.UsageError:
            pass
        finally:
            wire.cut()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _crossing(self, end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame]:
        if outward and kind(frame) == "session_open" and end.endswith("/adapter"):
            self.sessions[frame.session_open.session_id] = (frame.session_open.peer, end.split("/")[0])
        if self.listener is not None:
            self.listener(end, outward, frame)
        if outward and kind(frame) == "session_data":
            heard = (end, frame.session_data.session_id, frame.session_data.records)
            self._heard = [*self._heard[-40:], heard]
        if kind(frame) in KEPT:
            key = (kind(frame), end, _provider(end, frame))
            self._clear_frames[key] = LinkFrame.FromString(frame.SerializeToString())
        if kind(frame) == "checkpoint":
            notes = self._notes.setdefault((end, outward), [])
            self._notes[end, outward] = [*notes[:1], frame.checkpoint.note]
        frames = [frame]
        for attack, rule in list(self.attacks):
            passed = []
            for one in frames:
                instead = None if attack.is_lifted else rule(end, outward, one)
                passed += [one] if instead is None else instead
            frames = passed
        return frames

    def _tell(self, name: str, rule: Callable[[Attack], Rule]) -> Attack:
        attack = Attack(name)
        self.attacks.append((attack, rule(attack)))
        return attack

    # -- lies about records ---------------------------------------------------------------------

    def _records(
        self,
        name: str,
        act: Act,
        *,
        records: int,
        skip: int = 0,
        of: str | None = None,
        toward: str | None = None,
        hides: bool = True,
    ) -> Attack:
        """Act on some records as they leave; where it `hides`, later ones are numbered anew."""

        def rule_of(attack: Attack) -> Rule:
            seen, shift = [0], dict[tuple[str, int], int]()

            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                if not outward or kind(frame) != "session_data":
                    return None
                data = frame.session_data
                if not self.is_heard(end, data.session_id):
                    return None
                provider = self.sessions.get(data.session_id, ("", ""))[1]
                if (of and provider != of) or (toward and not end.endswith(f"/{toward}")):
                    return None
                key = (end, data.session_id)
                data.sequence += shift.get(key, 0)
                seen[0] += 1
                if seen[0] <= skip or attack.happened >= records:
                    return [frame]
                first = data.sequence
                out = act(end, frame)
                if out is None:
                    return [frame]
                attack.happened += 1
                attack.hit.add(provider)
                if hides:
                    shift[key] = shift.get(key, 0) + len(out) - 1
                    for number, one in enumerate(out):
                        one.session_data.sequence = first + number
                return out

            return rule

        return self._tell(name, rule_of)

    def flips_a_byte(self, records: int = 1, **where: Any) -> Attack:
        """Change one bit of so many records."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            data = bytearray(frame.session_data.records)
            place = self.random.randrange(len(data))
            attack.flipped.append((data[0], place))
            data[place] ^= 1 << self.random.randrange(8)
            frame.session_data.records = bytes(data)
            return [frame]

        attack = self._records("flips a byte", act, records=records, **where)
        return attack

    def drops_a_record(self, records: int = 1, *, hides: bool = True, **where: Any) -> Attack:
        """Leave records out; hidden, the later ones are numbered as if nothing had been there."""
        return self._records("drops a record", lambda end, frame: [], records=records, hides=hides, **where)

    def repeats_a_record(self, *, hides: bool = True, **where: Any) -> Attack:
        """Deliver a record twice."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            return [frame, LinkFrame.FromString(frame.SerializeToString())]

        return self._records("repeats a record", act, records=1, hides=hides, **where)

    def reorders_records(self, **where: Any) -> Attack:
        """Deliver a record after the one that follows it."""
        held: dict[tuple[str, int], LinkFrame] = {}

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            key = (end, frame.session_data.session_id)
            if key not in held:
                held[key] = frame
                return []
            return [frame, held.pop(key)]

        return self._records("reorders records", act, records=2, **where)

    def splices_a_record(self, **where: Any) -> Attack:
        """Put a record of another session in a record's place."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            own = (end, frame.session_data.session_id)
            others = [data for heard, session, data in self._heard if (heard, session) != own]
            others = [data for data in others if data != frame.session_data.records]
            if not others:
                return None
            frame.session_data.records = self.random.choice(others)
            return [frame]

        return self._records("splices a record", act, records=1, **where)

    def injects(self, records: bytes = b"", **where: Any) -> Attack:
        """Add records of its own."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            garbage = records or b"\x17\x03\x03\x00\x40" + self.random.randbytes(64)
            more = SessionData(session_id=frame.session_data.session_id, records=garbage)
            return [frame, LinkFrame(session_data=more)]

        return self._records("injects records", act, records=1, **where)

    def truncates_a_record(self, **where: Any) -> Attack:
        """Cut a record short; what comes next continues in its middle."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            if len(frame.session_data.records) < 2:
                return None
            frame.session_data.records = frame.session_data.records[:-1]
            return [frame]

        return self._records("truncates a record", act, records=1, **where)

    def holds_records(self, **where: Any) -> Attack:
        """Deliver no record any more, and say nothing of it."""
        return self._records("holds records", lambda end, frame: [], records=1 << 30, hides=False, **where)

    def crosses_sessions(self, one: str, other: str, *, toward: str = "gateway") -> Attack:
        """Give the records of two providers' sessions to each other's."""

        def rule_of(attack: Attack) -> Rule:
            held: list[tuple[str, LinkFrame]] = []

            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                if not outward or kind(frame) != "session_data" or not end.endswith(f"/{toward}"):
                    return None
                session_id = frame.session_data.session_id
                provider = self.sessions.get(session_id, ("", ""))[1]
                if provider not in (one, other) or attack.happened:
                    return None
                if not self.is_heard(end, session_id):
                    return None
                if not held or held[0][0] == provider:
                    held.append((provider, frame))
                    return []
                first = held[0][1]
                mine, theirs = frame.session_data, first.session_data
                mine.records, theirs.records = theirs.records, mine.records
                attack.happened += 1
                attack.hit |= {one, other}
                return [*(waiting for _, waiting in held), frame]

            return rule

        return self._tell("crosses sessions", rule_of)

    # -- lies about whom one speaks to ----------------------------------------------------------

    def connects_to(self, provider: str, *, instead_of: str) -> Attack:
        """Open the session for a provider with another one's adapter."""

        def rule_of(attack: Attack) -> Rule:
            references = set[tuple[str, int]]()

            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                opened = frame.session_open
                if kind(frame) != "session_open" or not end.endswith("/gateway"):
                    return None
                if not outward and opened.peer == instead_of:
                    references.add((end, opened.reference))
                    opened.peer = provider
                    attack.happened += 1
                elif outward and (end, opened.reference) in references:
                    opened.peer = instead_of
                return [frame]

            return rule

        return self._tell("connects to another provider", rule_of)

    def opens_another_lane(self, *, toward: str = "adapter") -> Attack:
        """Tell one end another lane than the other."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            if not end.endswith(f"/{toward}"):
                return None
            frame.session_open.lane = link_pb2.LANE_BULK
            return [frame]

        return self._clear("opens another lane", "session_open", act)

    def answers_itself(self, provider: str, *, with_leaf_of: Path) -> Attack:
        """End a gateway's session for a provider here, with the leaf and key of the end in a folder."""

        def rule_of(attack: Attack) -> Rule:
            identity = _identity(provider, with_leaf_of)

            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                if outward or not end.endswith("/gateway"):
                    return None
                if kind(frame) == "session_open" and frame.session_open.peer == provider:
                    attack.happened += 1
                    session_id = (1 << 40) + attack.happened
                    hub = self._impostor(AdapterSessions, provider, identity, self.wires[end], attack)
                    self._impostors[session_id] = hub
                    opened = frame.session_open
                    opened.session_id = session_id
                    self.wires[end].push(frame)
                    told = SessionOpen(session_id=session_id, peer=end.split("/")[0], lane=opened.lane)
                    hub.frames([LinkFrame(session_open=told)])
                    return []
                return self._to_impostor(frame)

            return rule

        return self._tell("answers itself", rule_of)

    async def asks_itself(self, provider: str, *, in_the_name_of: str, with_leaf_of: Path) -> Session:
        """Open a session with a provider's adapter as if it were a gateway's; raises `SessionFailed`."""
        wire, session_id = self.wires[f"{provider}/adapter"], next(self._own_sessions)

        def rule_of(attack: Attack) -> Rule:
            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                return None if outward or end != wire.name else self._to_impostor(frame)

            return rule

        attack = self._tell("asks itself", rule_of)
        identity = _identity(in_the_name_of, with_leaf_of)
        hub = self._impostor(GatewaySessions, in_the_name_of, identity, wire, attack)
        self._impostors[session_id] = hub
        send = hub.link.send

        def sends(*frames: LinkFrame) -> None:
            for frame in frames:
                if kind(frame) != "session_open":
                    send(frame)
                    continue
                opened = frame.session_open
                told = SessionOpen(session_id=session_id, peer=in_the_name_of, lane=opened.lane)
                wire.push(LinkFrame(session_open=told))
                opened.session_id = session_id
                asyncio.get_running_loop().call_soon(hub.frames, [frame])

        hub.link.send = sends
        return await hub.session(provider)

    def _impostor(
        self, kind_of: Any, agency: str, identity: SessionIdentity, wire: Wire, attack: Attack
    ) -> Any:
        roster = Federation.load(self.made.public, now=self._clock())
        hub = kind_of(
            link=SimpleNamespace(is_up=True, send=wire.push),
            federation=roster,
            agreements=AgreementBook.load(self.made.agreements(agency), roster),
            identity=identity,
            clock=self._clock,
            on_message=lambda session, message: attack.got.append(message),
            on_closed=lambda session, reason, text: None,
        )
        hub.linked(Welcome(version=1, session_window=1 << 20, max_frame_bytes=1 << 19))
        return hub

    def _to_impostor(self, frame: LinkFrame) -> list[LinkFrame] | None:
        part = getattr(frame, kind(frame)) if kind(frame).startswith("session_") else None
        hub = None if part is None else self._impostors.get(part.session_id)
        if hub is None:
            return None
        hub.frames([frame])
        return []

    def crosses_pairs(self, provider: str) -> Attack:
        """Give a provider the records of two requesters' sessions in each other's."""

        def rule_of(attack: Attack) -> Rule:
            held: list[tuple[str, LinkFrame]] = []

            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                if not outward or kind(frame) != "session_data" or end != f"{provider}/adapter":
                    return None
                session_id = frame.session_data.session_id
                requester = self.sessions.get(session_id, ("", ""))[0]
                if attack.happened or not self.is_heard(end, session_id):
                    return None
                if not held or held[0][0] == requester:
                    held.append((requester, frame))
                    return []
                mine, theirs = frame.session_data, held[0][1].session_data
                mine.records, theirs.records = theirs.records, mine.records
                attack.happened += 1
                attack.hit.add(provider)
                return [*(waiting for _, waiting in held), frame]

            return rule

        return self._tell("crosses pairs", rule_of)

    def opens_in_another_name(self, name: str, *, of: str) -> Attack:
        """Tell a provider that a session is another requester's."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            if not end.endswith("/adapter") or frame.session_open.peer == name:
                return None
            frame.session_open.peer = name
            return [frame]

        return self._clear("opens in another's name", "session_open", act, of=of)

    # -- lies about what is in clear ------------------------------------------------------------

    def _clear(
        self, name: str, what: str, act: Act, *, of: str | None = None, outward: bool | None = None
    ) -> Attack:
        """Act on frames of a kind; `of` is the provider that they are of."""
        way = what not in INWARD if outward is None else outward

        def rule_of(attack: Attack) -> Rule:
            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                if outward is not way or kind(frame) != what:
                    return None
                if of is not None and of != _provider(end, frame):
                    return None
                out = act(end, frame)
                attack.happened += out is not None
                return out

            return rule

        return self._tell(name, rule_of)

    def drops(self, what: str, *, of: str | None = None, **way: Any) -> Attack:
        """Let no frame of a kind pass."""
        return self._clear(f"drops `{what}`", what, lambda end, frame: [], of=of, **way)

    def repeats(self, what: str, *, of: str | None = None, seconds: float = 1.0) -> Attack:
        """Deliver frames of a kind twice at once, and again later."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            self._later(seconds, what, end, frame)
            return [frame, LinkFrame.FromString(frame.SerializeToString())]

        return self._clear(f"repeats `{what}`", what, act, of=of)

    def delays(self, what: str, seconds: float, *, of: str | None = None) -> Attack:
        """Deliver frames of a kind later."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            self._later(seconds, what, end, frame)
            return []

        return self._clear(f"delays `{what}`", what, act, of=of)

    def replays(self, what: str, *, of: str | None = None, anew: bool = False) -> Attack:
        """Deliver the frame of a kind of an earlier exchange in the place of this one's.

        `anew`: it is handed over as of this exchange; what was signed is the old.
        """
        heard = {key: frame for key, frame in self._clear_frames.items() if key[0] == what}

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            old = heard.get((what, end, _provider(end, frame)))
            if old is None:
                return None
            before = LinkFrame.FromString(old.SerializeToString())
            if anew and what == "stamp":
                before.stamp.stamp.exchange_id = frame.stamp.stamp.exchange_id
            elif anew:
                getattr(before, what).exchange_id = getattr(frame, what).exchange_id
            return [before]

        return self._clear(f"replays `{what}`", what, act, of=of)

    def forges(
        self, what: str, change: Callable[[Any], None], *, of: str | None = None, **way: Any
    ) -> Attack:
        """Change frames of a kind; `change` gets the message, orders and receipts in their envelopes."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            change(getattr(frame, what))
            return [frame]

        return self._clear(f"forges `{what}`", what, act, of=of, **way)

    def forges_account(
        self, change: Callable[[account_pb2.Account], None], *, key: SigningKey | None = None
    ) -> Attack:
        """Change accounts and sign them anew, with the operator's key or another."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            account = account_pb2.Account.FromString(frame.account.account.payload)
            change(account)
            frame.account.account.CopyFrom(seal(account, key or self.key))
            return [frame]

        return self._clear("forges `account`", "account", act)

    def cancels(self, *, of: str) -> Attack:
        """Tell a provider, right after its announcement, that the asker has gone."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            cancel = link_pb2.ExchangeCancel(exchange_id=frame.announcement.exchange_id)
            later = asyncio.get_running_loop().call_later
            later(0.001, self.wires[end].push, LinkFrame(cancel=cancel))
            return [frame]

        return self._clear("cancels", "announcement", act, of=of)

    def signs_two_accounts(self, change: Callable[[account_pb2.Account], None]) -> Attack:
        """Give two accounts of one exchange, both signed; the second is changed."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            account = account_pb2.Account.FromString(frame.account.account.payload)
            change(account)
            second = LinkFrame.FromString(frame.SerializeToString())
            second.account.account.CopyFrom(seal(account, self.key))
            return [second, frame]

        return self._clear("signs two accounts", "account", act)

    def swaps_receipts(self, one: str, other: str) -> Attack:
        """Take the receipt of one provider for that of another, and the other way round."""
        held: dict[bytes, tuple[str, LinkFrame]] = {}

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            exchange_id = frame.receipt.exchange_id
            if end.split("/")[0] not in (one, other):
                return None
            if exchange_id not in held:
                held[exchange_id] = (end, frame)
                return []
            there, first = held.pop(exchange_id)
            self.wires[there].pull(frame)
            return [first]

        return self._clear("swaps receipts", "receipt", act)

    def swaps_stamps(self, one: str, other: str) -> Attack:
        """Give the stamp of one provider in the name of another, and the other way round."""
        held: dict[bytes, LinkFrame] = {}

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            stamp = frame.stamp.stamp
            if stamp.provider not in (one, other):
                return None
            if stamp.exchange_id not in held:
                held[stamp.exchange_id] = frame
                return []
            first = held.pop(stamp.exchange_id)
            there = first.stamp.stamp
            stamp.provider, there.provider = there.provider, stamp.provider
            return [first, frame]

        return self._clear("swaps stamps", "stamp", act)

    def swaps_bodies(self, what: str, change: Callable[[LinkFrame, LinkFrame], None]) -> Attack:
        """Have frames of a kind of two exchanges, of whichever gateways, exchange something."""
        held: list[tuple[str, LinkFrame]] = []

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            if not held:
                held.append((end, frame))
                return []
            there, first = held.pop()
            change(first, frame)
            wire = self.wires[there]
            (wire.pull if what in INWARD else wire.push)(first)
            return [frame]

        return self._clear(f"swaps `{what}`", what, act)

    def invents_an_announcement(self, *, to: str) -> Attack:
        """Announce to a provider, beside what was ordered, an exchange that nobody ordered."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            more = LinkFrame.FromString(frame.SerializeToString())
            more.announcement.exchange_id = secrets.token_bytes(16)
            return [frame, more]

        return self._clear("invents an announcement", "announcement", act, of=to)

    def rejects_orders(self, text: str = "the broker did not take the order") -> Attack:
        """Take the order and tell the gateway that it did not."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            order = query_pb2.Order.FromString(frame.order.order.payload)
            rejection = link_pb2.OrderRejection(exchange_id=order.exchange_id, text=text)
            self.wires[end].push(LinkFrame(order_rejection=rejection))
            return [frame]

        return self._clear("rejects orders", "order", act)

    def attests(self, kinds: Mapping[str, str], *, stamps: bool = False) -> Attack:
        """Sign an early account that says of some providers what it likes, and hide their stamps.

        It comes as soon as all others are stamped: at once, if there are none. With `stamps` it holds a
        stamp of these providers, over a receipt that nobody signed.
        """

        def rule_of(attack: Attack) -> Rule:
            orders = dict[bytes, tuple[str, account_pb2.Account]]()

            def due(exchange_id: bytes) -> list[LinkFrame]:
                account = orders[exchange_id][1]
                if any(not entry.kind for entry in account.entries):
                    return []
                account.closed_at.CopyFrom(from_instant(self._clock()))
                del orders[exchange_id]
                attack.happened += 1
                envelope = seal(account, self.key)
                delivery = link_pb2.AccountDelivery(exchange_id=exchange_id, account=envelope)
                return [LinkFrame(account=delivery)]

            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                match kind(frame), outward:
                    case "order", False:
                        account = self._account(end, frame.order, kinds, stamps=stamps)
                        orders[account.exchange_id] = (end, account)
                        self.wires[end].push(*due(account.exchange_id))
                        return [frame]
                    case "stamp", True if frame.stamp.stamp.exchange_id in orders:
                        stamp = frame.stamp.stamp
                        if stamp.provider in kinds:
                            return []
                        entries = orders[stamp.exchange_id][1].entries
                        entry = next(one for one in entries if one.provider == stamp.provider)
                        entry.kind = common_pb2.OUTCOME_KIND_RESPONDED
                        entry.stamp.CopyFrom(stamp)
                        return [frame, *due(stamp.exchange_id)]
                    case ("stamp", True) if frame.stamp.stamp.provider in kinds:
                        return []
                    case "account", True if frame.account.exchange_id not in orders:
                        return []
                    case _:
                        return None

            return rule

        return self._tell("attests what it likes", rule_of)

    def _account(
        self, end: str, placement: link_pb2.OrderPlacement, kinds: Mapping[str, str], *, stamps: bool
    ) -> account_pb2.Account:
        order = query_pb2.Order.FromString(placement.order.payload)
        account = account_pb2.Account(
            nonce=secrets.token_bytes(16),
            exchange_id=order.exchange_id,
            requester=end.split("/")[0],
            order_digest=digest(placement.order.payload),
            routed_at=from_instant(self._clock()),
        )
        for data in placement.leaves:
            provider = query_pb2.OrderLeaf.FromString(data).provider
            entry = account.entries.add(provider=provider, announced=True)
            if provider in kinds:
                entry.kind = common_pb2.OutcomeKind.Value(f"OUTCOME_KIND_{kinds[provider]}")
                if stamps:
                    entry.stamp.exchange_id = order.exchange_id
                    entry.stamp.provider = provider
                    entry.stamp.receipt_digest = secrets.token_bytes(32)
        return account

    def says_absent(self, provider: str) -> Attack:
        """Say of a provider that has a link that it has none: in sessions, announcements and account."""
        for session_id, (requester, one) in self.sessions.items():
            if one == provider:
                gone = session_close(CloseReason.CLOSE_REASON_PEER_ABSENT, session_id=session_id)
                self.wires[f"{requester}/gateway"].push(gone)
        told = self.attests({provider: "UNREACHABLE"})

        def rule_of(attack: Attack) -> Rule:
            def rule(end: str, outward: bool, frame: LinkFrame) -> list[LinkFrame] | None:
                if kind(frame) == "session_open" and not outward and frame.session_open.peer == provider:
                    attack.happened += 1
                    reference = frame.session_open.reference
                    absent = session_close(CloseReason.CLOSE_REASON_PEER_ABSENT, reference=reference)
                    self.wires[end].push(absent)
                    return []
                dropped = kind(frame) == "announcement" and outward and end == f"{provider}/adapter"
                return [] if dropped else None

            return rule

        attack = self._tell("says absent", rule_of)
        lift = attack.lift

        def lift_both() -> None:
            lift()
            told.lift()

        attack.lift = lift_both  # type: ignore[method-assign]
        return attack

    # -- lies about its own log -----------------------------------------------------------------

    def forks_its_log(self, *, toward: str | None = None) -> Attack:
        """Show another root for the size that it has."""
        key = LogKey.load(self.made.broker_home / "keys" / "log.key", "operator.example/broker")

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            if toward is not None and end != toward:
                return None
            size = peek_checkpoint(frame.checkpoint.note).size
            other = Checkpoint(origin=key.origin, size=size, root=secrets.token_bytes(32)).sign(key)
            forked = LinkFrame.FromString(frame.SerializeToString())
            forked.checkpoint.note = other
            self._later(0.3, "checkpoint", end, forked)
            return [frame]

        return self._clear("forks its log", "checkpoint", act)

    def grows_a_fork(self) -> Attack:
        """Show another tree from here on, never two roots of a size: each checkpoint is of that one."""
        key = LogKey.load(self.made.broker_home / "keys" / "log.key", "operator.example/broker")

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            size = peek_checkpoint(frame.checkpoint.note).size
            root = sha256(b"fork of %d" % size).digest()
            frame.checkpoint.note = Checkpoint(origin=key.origin, size=size, root=root).sign(key)
            return [frame]

        return self._clear("grows a fork", "checkpoint", act)

    def shortens_its_log(self) -> Attack:
        """Show a log that ends before what it showed."""
        key = LogKey.load(self.made.broker_home / "keys" / "log.key", "operator.example/broker")

        def act(end: str, frame: LinkFrame) -> list[LinkFrame]:
            size = max(0, peek_checkpoint(frame.checkpoint.note).size - 1)
            shorter = LinkFrame.FromString(frame.SerializeToString())
            shorter.checkpoint.note = Checkpoint(
                origin=key.origin, size=size, root=secrets.token_bytes(32)
            ).sign(key)
            self._later(0.3, "checkpoint", end, shorter)
            return [frame]

        return self._clear("shortens its log", "checkpoint", act)

    def replays_a_checkpoint(self) -> Attack:
        """Show again, after the newest of its checkpoints, the first one of this link."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            first = self._notes[end, True][0]
            if peek_checkpoint(first).size >= peek_checkpoint(frame.checkpoint.note).size:
                return None
            again = LinkFrame.FromString(frame.SerializeToString())
            again.checkpoint.note = first
            self._later(0.3, "checkpoint", end, again)
            return [frame]

        return self._clear("replays a checkpoint", "checkpoint", act)

    def swaps_checkpoints(self) -> Attack:
        """Show, as its own, the checkpoint of an end's log."""

        def act(end: str, frame: LinkFrame) -> list[LinkFrame] | None:
            others = [notes[-1] for (name, outward), notes in self._notes.items() if not outward]
            if not others:
                return None
            frame.checkpoint.note = others[0]
            return [frame]

        return self._clear("swaps a checkpoint", "checkpoint", act)

    def _later(self, seconds: float, what: str, end: str, frame: LinkFrame) -> None:
        copy = LinkFrame.FromString(frame.SerializeToString())

        def deliver() -> None:
            wire = self.wires[end]
            wire.pull(copy) if what in INWARD else wire.push(copy)

        asyncio.get_running_loop().call_later(seconds, deliver)


def _provider(end: str, frame: LinkFrame) -> str:
    """Return the provider that a frame in clear is of."""
    if kind(frame) == "stamp":
        return frame.stamp.stamp.provider
    return end.split("/")[0]


def _identity(agency: str, home: Path) -> SessionIdentity:
    return SessionIdentity(agency=agency, chain=home / "keys" / "leaf.pem", key=home / "keys" / "leaf.key")
