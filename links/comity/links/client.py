"""An end's side of a link: dial the broker, greet, carry frames, dial again when the link is lost.

Gateways and adapters each run one `LinkClient`. What comes is given to `LinkEvents` as plain calls, one
for all the frames of a message; what goes is queued by `send`, which never waits, and leaves in as few
messages as possible.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import grpc
import grpc.aio

from comity.certs.clock import Clock
from comity.certs.errors import CertsError
from comity.certs.x509 import split_pem
from comity.links.backoff import Backoff
from comity.links.errors import ConfigUnusable, LinkDown, ProtocolViolation
from comity.links.frames import (
    HANDOVER_SECONDS,
    PROTOCOL_VERSION,
    LinkLimits,
    kind,
    read_response,
    reason_name,
)
from comity.links.state import Delivered, Ended, Event, Greeted, Linked, LinkMachine, LinkState
from comity.links.stream import LinkStream, Transport, channel_options
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import (
    DESCRIPTOR,
    CloseReason,
    Handover,
    Hello,
    LinkFrame,
    LinkRequest,
    LinkResponse,
    Welcome,
)

_log = logging.getLogger(__name__)

REMIND_AFTER = timedelta(minutes=1)
"""How long the same reason for having no link isn't logged again."""

LEAVE_SECONDS = 15.0
"""How long a link goes on that was dialled under a CA which the operator has no more."""

_NO_CA = "every CA of the operator is revoked: the operator adds a new one to its key set"

_METHOD = f"/{DESCRIPTOR.services_by_name['BrokerService'].full_name}/Link"

_Call = grpc.aio.StreamStreamCall[LinkRequest, LinkResponse]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """What an end needs to open its link."""

    broker: str
    """Where the broker listens, `host:port`."""
    broker_name: str
    """The DNS name that the broker's certificate must have, `broker.operator.example`."""
    operator_ca_pem: bytes
    """The operator's CA, PEM: the only root that this link trusts."""
    leaf_chain_pem: bytes
    """The end's certificate chain, PEM, leaf first."""
    leaf_key_pem: bytes = field(repr=False)
    """The leaf's private key, PKCS#8 PEM."""
    spiffe_id: str
    """The end's SPIFFE id, byte for byte that of its leaf."""
    role: EndRole
    """`END_ROLE_GATEWAY` or `END_ROLE_ADAPTER`."""
    roster_version: int
    """The version of the roster that the end has."""
    roster_timestamp_digest: bytes = b""
    """SHA-256 of the payload of its timestamp."""
    agency_revocations_digest: bytes = b""
    """Which agencies' own lists of revocations it has, as `Hello` says it."""


class LinkEvents(Protocol):
    """What an end is told of its link. Plain calls on the event loop: they must be quick."""

    def linked(self, welcome: Welcome) -> None:
        """Tell that the link is up: from now `send` works. The first call of each link."""

    def unlinked(self, reason: CloseReason, text: str) -> None:
        """Tell that the link that was up is over; `reason` is the broker's, UNSPECIFIED for a lost one."""

    def frames(self, frames: Sequence[LinkFrame]) -> None:
        """Take the frames of one message, in order: all but `welcome` and `goodbye`.

        Raising `ProtocolViolation` closes the link with its reason.
        """


class _CallTransport:
    """The gRPC call of one attempt, as a `Transport`."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    async def read(self) -> Sequence[LinkFrame] | None:
        try:
            message = await self._call.read()
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return None
        return message.frames if isinstance(message, LinkResponse) else None

    async def write(self, frames: Sequence[LinkFrame]) -> bool:
        try:
            await self._call.write(LinkRequest(frames=frames))
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return False
        return True

    async def finish(self) -> None:
        try:
            await self._call.done_writing()
        except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
            return

    async def status(self) -> str:
        """Return what gRPC says of the call once it is over, for a log; empty when it says nothing more."""
        if not self._call.done() or await self._call.code() == grpc.StatusCode.OK:
            return ""
        code, details = await self._call.code(), await self._call.details()
        return f" (gRPC: {code.name.lower()}, {details[:200]})"


class LinkClient:
    """One end's link: `run()` keeps it up until `close()`."""

    def __init__(
        self,
        config: LinkConfig,
        events: LinkEvents,
        clock: Clock,
        *,
        limits: LinkLimits | None = None,
        backoff: Backoff | None = None,
        renewed: Callable[[], LinkConfig] | None = None,
        barred: Callable[[], str] | None = None,
    ) -> None:
        """Raise `ConfigUnusable` if the chain holds no certificate or the role is not an end's.

        `renewed` returns what the end has now, its leaf above all: it is asked before each attempt but the
        first, since a link ends with the leaf that it was opened with. Where it raises `ConfigUnusable`, that
        is told, and what was good before is tried again. `barred` says, before each attempt, why the broker
        may not be dialled now; empty when it may.
        """
        self._config = config
        self._events = events
        self._clock = clock
        self._limits = limits or LinkLimits()
        self._backoff = backoff or Backoff()
        self._hello = _hello(config)
        self._renewed = renewed
        self._barred = barred
        self._line: _Line | None = None
        self._draining: _Line | None = None
        self._following: asyncio.Task[None] | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        self._give_up: asyncio.TimerHandle
        self._leaving: asyncio.TimerHandle | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False
        self._complaint = ""
        self._complained_at = clock()

    @property
    def _machine(self) -> LinkMachine | None:
        return None if self._line is None else self._line.machine

    @property
    def is_up(self) -> bool:
        """Whether frames can be sent now."""
        return self._machine is not None and self._machine.state is LinkState.UP

    @property
    def waiting(self) -> int:
        """Frames that wait to be written to the broker."""
        machine = self._machine
        return 0 if machine is None else machine.waiting

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait to be written to the broker."""
        machine = self._machine
        return 0 if machine is None else machine.waiting_bytes

    async def run(self) -> None:
        """Dial, and dial again with backoff and jitter whenever the link is lost, until `close()`.

        A refused or failed attempt is tried again: nothing that the broker or the network does raises here.
        Why is logged in one line, and again each minute while it stays the same; that a link which was up
        is over, `LinkEvents.unlinked` tells.
        """
        if self._running:
            raise RuntimeError("a link client runs once")
        self._running = True
        failures, loop = 0, asyncio.get_running_loop()
        try:
            while not self._closing.is_set():
                began = loop.time()
                why = self._why_barred()
                if why:
                    self._complain(why, "", level=logging.CRITICAL)
                was_up = False if why else await self._attempt()
                if was_up:
                    self._complaint = ""
                if self._closing.is_set():
                    break
                if was_up and self._backoff.has_stood(timedelta(seconds=loop.time() - began)):
                    failures = 0
                await self._pause(failures)
                failures += 1
                self._renew()
        finally:
            if self._leaving is not None:
                self._leaving.cancel()
            beside = [*self._carrying, *([self._following] if self._following is not None else [])]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self._finished.set()

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames, in order; never waits.

        Raises `LinkDown` when there is no link, `FrameTooLarge` for a frame that may never be sent (then
        none of these frames is). A queue that is over its limits closes the link with LIMIT.
        """
        if self._line is None:
            raise LinkDown("link is not there yet")
        self._line.stream.send(frames)

    def hang_up(self, reason: CloseReason, text: str) -> None:
        """End the link that is there, saying why; `run` dials again unless that is barred."""
        for line in self._lines():
            line.stream.close(reason, text)

    def renew(self) -> None:
        """Have a link with what the end has now follow the one that is up, without a break, and soon.

        What is sent and what comes goes on over the newer link, in order; sessions and exchanges notice
        nothing. Until that link is up the older one goes on. Without a link that is up nothing is done: the
        next one is dialled with what the end has then.
        """
        if self._running and self.is_up and (self._following is None or self._following.done()):
            self._following = asyncio.create_task(self._follow())

    def leave_distrusted(self) -> None:
        """Leave the link that is there if a CA under which it was dialled is none of the operator's now.

        gRPC doesn't tell which CA the broker's leaf was of. So a link under the CAs of now is to follow;
        what stands under others `LEAVE_SECONDS` after that was seen is closed, whether there is such a link
        or not.
        """
        loop = asyncio.get_running_loop()
        for line in self._lines():
            if not self._is_distrusted(line):
                line.leave_at = None
            elif self._lacks_ca():  # there is nothing to move to
                line.stream.close(CloseReason.CLOSE_REASON_CREDENTIALS, _NO_CA)
            elif line.leave_at is None:
                line.leave_at = loop.time() + LEAVE_SECONDS
                self.renew()
                if self._leaving is None:
                    self._leaving = loop.call_later(LEAVE_SECONDS, self._leave)

    def _leave(self) -> None:
        loop, self._leaving = asyncio.get_running_loop(), None
        later: list[float] = []
        for line in self._lines():
            if not self._is_distrusted(line):
                continue
            left = 0.0 if line.leave_at is None else line.leave_at - loop.time()
            if left <= 0.001:
                line.stream.close(CloseReason.CLOSE_REASON_CREDENTIALS, "the operator's CA is another one")
            else:  # it was good when the timer was set, and is given as long
                later.append(left)
        if later:
            self._leaving = loop.call_later(min(later), self._leave)

    def _is_distrusted(self, line: _Line) -> bool:
        """Return whether a CA under which a stream was dialled is none of the operator's now."""
        if self._lacks_ca():
            return True
        if self._renewed is None:
            return False
        try:
            now = set(split_pem(self._renewed().operator_ca_pem))
            return not now.issuperset(split_pem(line.config.operator_ca_pem))
        except (ConfigUnusable, CertsError) as error:
            _log.error("the operator's CAs of now can't be read, the link goes on: %s", error)
            return False

    async def close(self) -> None:
        """Say goodbye with SHUTDOWN after what is queued, hang up, and wait until `run()` has finished."""
        self._closing.set()
        for line in self._lines():
            line.stream.close(CloseReason.CLOSE_REASON_SHUTDOWN, "the end stops")
        if self._running:
            await self._finished.wait()

    def _lines(self) -> list[_Line]:
        """Return the streams that are there: one, or two while one follows the other."""
        return [line for line in (self._draining, self._line) if line is not None]

    async def _attempt(self) -> bool:
        """Open one link and carry it, and those that follow it, to the end; return whether it was ever up."""
        line: _Line | None = _Line(self, self._config, self._hello, follows=None)
        was_up = False
        while line is not None:
            if line.follows is not None:
                await line.finished.wait()
            else:
                await self._carry(line)
            was_up = was_up or line.was_up
            if not self._closing.is_set() and not was_up:
                self._complain(line.why, line.status)
            line = self._line if self._line is not line else None
        self._line = None
        return was_up

    async def _carry(self, line: _Line) -> None:
        """Dial, and carry one stream to its end."""
        try:
            async with self._dialled(line.config) as transport:
                line.open(transport)
                if line.follows is None:
                    self._line = line
                try:
                    await line.stream.run()
                finally:
                    line.status = await _status(transport)
        finally:
            line.finished.set()

    @contextlib.asynccontextmanager
    async def _dialled(self, config: LinkConfig) -> AsyncIterator[Transport]:
        """Open a connection of its own to the broker, with the call of one link."""
        credentials = grpc.ssl_channel_credentials(
            root_certificates=config.operator_ca_pem,
            private_key=config.leaf_key_pem,
            certificate_chain=config.leaf_chain_pem,
        )
        options = [*channel_options(self._limits), ("grpc.ssl_target_name_override", config.broker_name)]
        async with grpc.aio.secure_channel(config.broker, credentials, options=options) as channel:
            call = _link(channel)
            try:
                yield _CallTransport(call)
            finally:
                call.cancel()

    async def _follow(self) -> None:
        """Open a link that follows the one that is up; try on while it can't be opened and that one lasts."""
        failures, older = 0, self._line
        while older is not None and self._line is older and not self._closing.is_set():
            if self._why_barred():  # then the older link is over too, and `run` says why
                return
            self._renew()
            hello = Hello()
            hello.CopyFrom(self._hello)
            hello.follows = True
            line = _Line(self, self._config, hello, follows=older)
            carrying = asyncio.create_task(self._carry(line))
            self._carrying.add(carrying)
            carrying.add_done_callback(self._carrying.discard)
            settled = asyncio.create_task(line.settled.wait())
            try:
                await asyncio.wait((carrying, settled), return_when=asyncio.FIRST_COMPLETED)
            finally:
                settled.cancel()
            if line.was_up and not self._is_distrusted(line):
                return
            await asyncio.wait((carrying,))
            _log.warning(
                "no link with the newer certificate to `%s`, the older one goes on: %s%s",
                self._config.broker,
                line.why,
                line.status,
            )
            failures += 1
            await self._pause(failures)

    # What a stream tells.

    def _linked(self, line: _Line, welcome: Welcome) -> None:
        """Take a link that is up: the first one, or one that follows or takes the place of another."""
        line.was_up = True
        older = self._line
        if line.follows is None:
            self._events.linked(welcome)
        elif self._closing.is_set() or self._why_barred() or self._is_distrusted(line):
            line.is_over = True
            line.stream.close(CloseReason.CLOSE_REASON_SHUTDOWN, "the end follows no more")
        elif older is None or older is not line.follows:  # the one that it was to follow is gone meanwhile
            line.is_over = True
            line.stream.close(CloseReason.CLOSE_REASON_RENEWAL, "nothing is left to follow")
        elif welcome.follows and older.machine.state is LinkState.UP:
            older.stream.send((LinkFrame(handover=Handover()),))
            line.released = asyncio.Event()
            self._draining, self._line = older, line
            self._give_up = asyncio.get_running_loop().call_later(HANDOVER_SECONDS, self._too_late, older)
        else:
            self._line = line
            if not older.is_over:
                older.is_over = True
                older.stream.close(
                    CloseReason.CLOSE_REASON_RENEWAL, "a newer link of this end takes its place"
                )
                self._events.unlinked(CloseReason.CLOSE_REASON_RENEWAL, "a newer link of this end is there")
            self._events.linked(welcome)
        line.settled.set()

    def _delivered(self, line: _Line, frames: Sequence[LinkFrame]) -> Awaitable[None] | None:
        """Hand frames on; those of a link that follows another wait until that one has given its last."""
        if line.released is not None and not line.released.is_set():
            return self._held(line, frames)
        last = len(frames)
        if kind(frames[-1]) == "handover":
            last -= 1
        if any(kind(frame) == "handover" for frame in frames[:last]) or (
            last < len(frames) and line is not self._draining
        ):
            raise ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, "a handover that nobody asked for")
        if last:
            self._events.frames(frames[:last])
        if last < len(frames):
            self._handed_over(line)
        return None

    async def _held(self, line: _Line, frames: Sequence[LinkFrame]) -> None:
        assert line.released is not None
        await line.released.wait()
        if not line.is_over:
            self._delivered(line, frames)

    def _handed_over(self, older: _Line) -> None:
        """Go on with the newer link: the older one has given its last frame."""
        older.is_over = True
        self._draining = None
        self._give_up.cancel()
        older.stream.close(CloseReason.CLOSE_REASON_RENEWAL, "followed by a newer link")
        if self._line is not None and self._line.released is not None:
            self._line.released.set()
        _log.info("a newer link to `%s` follows the older one", self._config.broker)

    def _too_late(self, older: _Line) -> None:
        older.stream.close(CloseReason.CLOSE_REASON_RENEWAL, "the older link was not handed over in time")

    def _ended(self, line: _Line, ended: Ended) -> None:
        """Tell that a link which was up is over, unless a newer one has followed it."""
        named = ended.reason != CloseReason.CLOSE_REASON_UNSPECIFIED
        line.why = f"{reason_name(ended.reason)}, {ended.text}" if named else ended.text
        line.settled.set()
        if line.is_over or not ended.was_up:
            line.is_over = True
            return
        line.is_over = True
        older, newer = self._draining, self._line
        if line is older and newer is not None:
            # Before its last frame came: what was in flight is lost, and the broker may carry the sessions
            # on over the newer link already. Only when that is over too does it reset them for their peers.
            self._draining = None
            self._give_up.cancel()
            newer.is_over = True
            newer.stream.close(CloseReason.CLOSE_REASON_RENEWAL, "the link that it follows was lost")
            if newer.released is not None:
                newer.released.set()
            self._events.unlinked(ended.reason, ended.text)
        elif line is newer:
            if older is not None:
                self._draining = None
                self._give_up.cancel()
                older.is_over = True
                older.stream.close(CloseReason.CLOSE_REASON_RENEWAL, "the link that follows it was lost")
            self._events.unlinked(ended.reason, ended.text)

    def _renew(self) -> None:
        """Take what the end has now, for the next attempt."""
        if self._renewed is None:
            return
        try:
            config = self._renewed()
            self._config, self._hello = config, _hello(config)
        except ConfigUnusable as error:
            _log.error("link to `%s` keeps its old certificate: %s", self._config.broker, error)

    def _why_barred(self) -> str:
        """Return why the broker may not be dialled now; empty when it may."""
        why = "" if self._barred is None else self._barred()
        return why or (_NO_CA if self._lacks_ca() else "")

    def _lacks_ca(self) -> bool:
        """Whether no CA of the operator counts now. gRPC would take any root of this host in its place."""
        try:
            config = self._config if self._renewed is None else self._renewed()
        except ConfigUnusable:  # then what was good before is used
            config = self._config
        return not config.operator_ca_pem.strip()

    def _complain(self, why: str, status: str, *, level: int = logging.WARNING) -> None:
        """Log why there is no link, with gRPC's status if it came; the same reason again once a minute."""
        now = self._clock()
        if why == self._complaint and abs(now - self._complained_at) < REMIND_AFTER:
            return
        self._complaint, self._complained_at = why, now
        _log.log(level, "no link to `%s`, trying on: %s%s", self._config.broker, why, status)

    async def _pause(self, failures: int) -> None:
        """Wait before the next attempt, or until the link is to be closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.wait(failures).total_seconds()):
                await self._closing.wait()


class _Line:
    """One stream of an end's link, on a connection of its own."""

    def __init__(
        self, client: LinkClient, config: LinkConfig, hello: Hello, *, follows: _Line | None
    ) -> None:
        self.config = config
        self.follows = follows
        """The older one that this one is to follow; None of one that is dialled when there is none."""
        self.machine = LinkMachine(limits=client._limits, hello=hello)
        self.stream: LinkStream
        self.was_up = False
        self.is_over = False
        """Whether its end has been told, or is nobody's business any more."""
        self.released: asyncio.Event | None = None
        """Of a link that follows another: set once that one has given its last frame."""
        self.settled = asyncio.Event()
        """Set when it is up, or will never be."""
        self.finished = asyncio.Event()
        self.why = ""
        self.status = ""
        self.leave_at: float | None = None
        """When it is closed, on the loop's clock: its CA counts no more; None: it does."""
        self._client = client

    def open(self, transport: Transport) -> None:
        """Take the connection that was made."""
        self.stream = LinkStream(self.machine, transport, self._client._clock, self._on_event)

    def _on_event(self, event: Event) -> Awaitable[None] | None:
        match event:
            case Linked(welcome=welcome):
                self._client._linked(self, welcome)
            case Delivered(frames=frames):
                return self._client._delivered(self, frames)
            case Ended():
                self._client._ended(self, event)
            case Greeted():
                raise TypeError("an end is never greeted")
        return None


async def _status(transport: Transport) -> str:
    return await transport.status() if isinstance(transport, _CallTransport) else ""


def _link(channel: grpc.aio.Channel) -> _Call:
    """Call `BrokerService.Link` as the generated stub does, except how it reads what is no message."""
    method: grpc.aio.StreamStreamMultiCallable[LinkRequest, LinkResponse] = channel.stream_stream(
        _METHOD, request_serializer=LinkRequest.SerializeToString, response_deserializer=read_response
    )
    return method()


def _hello(config: LinkConfig) -> Hello:
    try:
        chain = split_pem(config.leaf_chain_pem)
    except CertsError as error:
        raise ConfigUnusable(f"leaf chain of `{config.spiffe_id}`: {error}") from error
    if config.role not in (EndRole.END_ROLE_GATEWAY, EndRole.END_ROLE_ADAPTER):
        raise ConfigUnusable(f"role of `{config.spiffe_id}`: a link is a gateway's or an adapter's")
    return Hello(
        versions=[PROTOCOL_VERSION],
        spiffe_id=config.spiffe_id,
        role=config.role,
        chain=chain,
        roster_version=config.roster_version,
        roster_timestamp_digest=config.roster_timestamp_digest,
        agency_revocations_digest=config.agency_revocations_digest,
    )
