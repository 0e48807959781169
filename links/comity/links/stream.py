"""The shell around a `LinkMachine`: one reader, one writer and one timer on one gRPC stream.

What `links.md` of the design found about grpc.aio streams is law here: one writer, because of two
writes at once the second fails; no timeout around `read` or `write`, because it would cancel the whole
stream; what waits goes out in one message; no task and no future per frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from comity.certs.clock import Clock
from comity.links.errors import LinkRefused, ProtocolViolation, describe_fault
from comity.links.frames import KIB, MAX_MESSAGE_BYTES, LinkLimits
from comity.links.state import Event, LinkMachine, LinkState
from comity.v1.link_pb2 import CloseReason, LinkFrame

_log = logging.getLogger(__name__)
_SHORTEST_TICK = 0.02
_LONGEST_TICK = 60.0
_LAST_WRITE_SECONDS = 2.0


def channel_options(limits: LinkLimits) -> list[tuple[str, int]]:
    """Return the gRPC channel arguments of both sides: keepalive, and the cap on a message.

    Without keepalive a frozen peer isn't noticed, and it is `ping_timeout_ms` (a minute by default) that
    bounds the wait for a ping's answer: `keepalive_timeout_ms` alone doesn't (seen on grpcio 1.85). Each
    attempt has its own connection, so that gRPC's backoff doesn't add to ours.
    """
    every, within = (int(t.total_seconds() * 1000) for t in (limits.keepalive, limits.keepalive_timeout))
    return [
        ("grpc.keepalive_time_ms", every),
        ("grpc.keepalive_timeout_ms", within),
        ("grpc.http2.ping_timeout_ms", within),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", every // 2),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", every // 2),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + 64 * KIB),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES + 64 * KIB),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
    ]


class Transport(Protocol):
    """A stream of messages: the gRPC call of an end, or the context of the broker's servicer."""

    async def read(self) -> Sequence[LinkFrame] | None:
        """Return the frames of the next message; None when the stream is over, for whatever reason."""

    async def write(self, frames: Sequence[LinkFrame]) -> bool:
        """Write one message; False when the stream is over."""

    async def finish(self) -> None:
        """Half-close after the last message, where there is something to half-close."""


class LinkStream:
    """Runs a machine on a transport until it is DOWN.

    `on_event` gets each event in order; nothing more is read until an awaitable that it returned is
    done. What it raises ends the link, with a `ProtocolViolation`'s own reason.
    """

    def __init__(
        self,
        machine: LinkMachine,
        transport: Transport,
        clock: Clock,
        on_event: Callable[[Event], Awaitable[None] | None],
    ) -> None:
        self._machine = machine
        self._transport = transport
        self._clock = clock
        self._on_event = on_event
        self._wake = asyncio.Event()
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timed: datetime | None = None
        self._is_writing = False
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Open, carry, close. Returns when the link is over; its last event has been given then."""
        self._machine.connected(self._clock())
        tasks = [self._loop.create_task(self._read()), self._loop.create_task(self._write())]
        for task in tasks:
            task.add_done_callback(self._done)
        self._changed()
        try:
            await self._over.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await self._last_write(tasks[1])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._give(self._machine.lost("the stream was cancelled"))

    async def _last_write(self, writer: asyncio.Task[None]) -> None:
        """Let a write that has begun end, or gRPC can't send the stream's status and its peer waits for ever.

        A peer that half-closes right after its message ends the stream while our answer is being written. One
        that doesn't read is not waited for longer than a goodbye would be.
        """
        if self._is_writing and not writer.done():
            await asyncio.wait({writer}, timeout=_LAST_WRITE_SECONDS)

    def send(self, frames: Sequence[LinkFrame]) -> None:
        """Queue frames; as `LinkMachine.send`. An event that follows is given on the loop's next turn."""
        self._later(self._machine.send(frames, self._clock()))

    def close(self, reason: CloseReason, text: str) -> None:
        """Close; as `LinkMachine.close`. The event that follows is given on the loop's next turn."""
        self._later(self._machine.close(reason, text, self._clock()))

    def _done(self, task: asyncio.Task[None]) -> None:
        """Give the link up if its reader or writer failed: one that is up and deaf would look alive."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("fault while carrying a link, it is given up: %s", describe_fault(error))
            self._give(self._machine.lost("a fault on this side"))
            self._changed()

    def _later(self, events: Sequence[Event]) -> None:
        """Give events outside the caller's own call, so that nobody is told of an end while sending."""
        if events:
            self._loop.call_soon(self._give, events)
        self._changed()

    def _changed(self) -> None:
        """Wake whom a new state concerns: the writer, the timer, and `run` when all is over."""
        if self._machine.waiting or self._machine.state in (LinkState.CLOSING, LinkState.DOWN):
            self._wake.set()
        if self._machine.state is LinkState.DOWN:
            self._over.set()
        self._arm()

    def _arm(self) -> None:
        deadline = self._machine.deadline
        if deadline == self._timed and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed = deadline
        if deadline is not None and not self._over.is_set():
            left = (deadline - self._clock()).total_seconds()
            self._timer = self._loop.call_later(min(max(left, _SHORTEST_TICK), _LONGEST_TICK), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._give(self._machine.tick(self._clock()))
        self._changed()

    def _give(self, events: Sequence[Event]) -> None:
        """Give events that nothing is to wait for: those of time, of sending, of the end."""
        for event in events:
            try:
                waiting = self._on_event(event)
            except Exception as error:
                _log.error("fault while handling the end of a link: %s", describe_fault(error))
                continue
            if waiting is not None:
                raise TypeError(f"event `{type(event).__name__}` can't be waited for here")

    async def _read(self) -> None:
        while not self._over.is_set():
            frames = await self._transport.read()
            if frames is None:
                events = self._machine.lost("the stream ended without a goodbye")
            else:
                events = self._machine.receive(frames, self._clock())
            await self._handle(events)
            self._changed()

    async def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            try:
                waiting = self._on_event(event)
                if waiting is not None:
                    self._changed()
                    await waiting
            except LinkRefused as refused:
                self._give(self._machine.close(refused.reason, refused.text, self._clock()))
            except ProtocolViolation as violation:
                _log.warning("link closed: %s", violation)
                self._give(self._machine.close(violation.reason, "the protocol was broken", self._clock()))
            except Exception as error:
                _log.error("fault while handling frames, the link closes: %s", describe_fault(error))
                reason = CloseReason.CLOSE_REASON_UNSPECIFIED
                self._give(self._machine.close(reason, "a fault on this side", self._clock()))

    async def _write(self) -> None:
        finished = False
        while not self._over.is_set():
            frames = self._machine.next_message()
            if not frames:
                if self._machine.state is LinkState.CLOSING and not finished:
                    finished = True
                    self._machine.written()
                    await self._transport.finish()
                    self._changed()
                    continue
                self._wake.clear()
                await self._wake.wait()
                continue
            self._is_writing = True
            written = await self._transport.write(frames)
            self._is_writing = False
            if not written:
                self._give(self._machine.lost("the stream ended while writing"))
                self._changed()
                return
