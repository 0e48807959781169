"""An end's side of a link: dial the broker, greet, carry frames, dial again when the link is lost.

Gateways and adapters each run one `LinkClient`. What comes is given to `LinkEvents` as plain calls, one
for all the frames of a message; what goes is queued by `send`, which never waits, and leaves in as few
messages as possible.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import grpc
import grpc.aio

from comity.certs.clock import Clock
from comity.certs.errors import CertsError
from comity.certs.x509 import split_pem
from comity.links.backoff import Backoff
from comity.links.errors import ConfigUnusable, LinkDown
from comity.links.frames import PROTOCOL_VERSION, LinkLimits, read_response, reason_name
from comity.links.state import Delivered, Ended, Event, Greeted, Linked, LinkMachine, LinkState
from comity.links.stream import LinkStream, channel_options
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import DESCRIPTOR, CloseReason, Hello, LinkFrame, LinkRequest, LinkResponse, Welcome

_log = logging.getLogger(__name__)

REMIND_AFTER = timedelta(minutes=1)
"""How long the same reason for having no link isn't logged again."""

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
        self._machine: LinkMachine | None = None
        self._stream: LinkStream | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False
        self._complaint = ""
        self._complained_at = clock()

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
                why = "" if self._barred is None else self._barred()
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
            self._finished.set()

    def send(self, *frames: LinkFrame) -> None:
        """Queue frames, in order; never waits.

        Raises `LinkDown` when there is no link, `FrameTooLarge` for a frame that may never be sent (then
        none of these frames is). A queue that is over its limits closes the link with LIMIT.
        """
        if self._stream is None:
            raise LinkDown("link is not there yet")
        self._stream.send(frames)

    def hang_up(self, reason: CloseReason, text: str) -> None:
        """End the link that is there, saying why; `run` dials again unless that is barred."""
        if self._stream is not None:
            self._stream.close(reason, text)

    async def close(self) -> None:
        """Say goodbye with SHUTDOWN after what is queued, hang up, and wait until `run()` has finished."""
        self._closing.set()
        if self._stream is not None:
            self._stream.close(CloseReason.CLOSE_REASON_SHUTDOWN, "the end stops")
        if self._running:
            await self._finished.wait()

    async def _attempt(self) -> bool:
        """Open one link and carry it to its end; return whether it was ever up."""
        config = self._config
        credentials = grpc.ssl_channel_credentials(
            root_certificates=config.operator_ca_pem,
            private_key=config.leaf_key_pem,
            certificate_chain=config.leaf_chain_pem,
        )
        options = [*channel_options(self._limits), ("grpc.ssl_target_name_override", config.broker_name)]
        async with grpc.aio.secure_channel(config.broker, credentials, options=options) as channel:
            call = _link(channel)
            machine = LinkMachine(limits=self._limits, hello=self._hello)
            attempt = _Attempt(self._events)
            stream = LinkStream(machine, _CallTransport(call), self._clock, attempt.on_event)
            self._machine, self._stream = machine, stream
            try:
                await stream.run()
                if not self._closing.is_set() and not attempt.was_up:
                    self._complain(attempt.why, await _status(call))
            finally:
                self._machine = self._stream = None
                call.cancel()
            return attempt.was_up

    def _renew(self) -> None:
        """Take what the end has now, for the next attempt."""
        if self._renewed is None:
            return
        try:
            config = self._renewed()
            self._config, self._hello = config, _hello(config)
        except ConfigUnusable as error:
            _log.error("link to `%s` keeps its old certificate: %s", self._config.broker, error)

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


class _Attempt:
    """Hands one link's events on, and remembers how it went."""

    def __init__(self, events: LinkEvents) -> None:
        self._events = events
        self.was_up = False
        self.why = ""

    def on_event(self, event: Event) -> None:
        match event:
            case Linked(welcome=welcome):
                self.was_up = True
                self._events.linked(welcome)
            case Delivered(frames=frames):
                self._events.frames(frames)
            case Ended(reason=reason, text=text, was_up=was_up):
                named = reason != CloseReason.CLOSE_REASON_UNSPECIFIED
                self.why = f"{reason_name(reason)}, {text}" if named else text
                if was_up:
                    self._events.unlinked(reason, text)
            case Greeted():
                raise TypeError("an end is never greeted")


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
    )


async def _status(call: _Call) -> str:
    """Return what gRPC says of a call that is over, for a log; empty when it says nothing more."""
    if not call.done() or await call.code() == grpc.StatusCode.OK:
        return ""
    code, details = await call.code(), await call.details()
    return f" (gRPC: {code.name.lower()}, {details[:200]})"
