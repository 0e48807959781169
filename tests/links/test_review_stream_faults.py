"""The shell of a link when one of its own tasks fails: the link ends, it never stands there deaf."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from comity.certs.clock import utc_now
from comity.links.frames import PROTOCOL_VERSION, LinkLimits
from comity.links.state import Ended, Event, LinkMachine
from comity.links.stream import LinkStream
from comity.v1.common_pb2 import EndRole
from comity.v1.link_pb2 import CloseReason, Hello, LinkFrame, Welcome


class ScriptedTransport:
    """Gives the messages it was made with, then waits for ever; one that is an exception is raised."""

    def __init__(self, *messages: Sequence[LinkFrame] | Exception) -> None:
        self.messages = list(messages)

    async def read(self) -> Sequence[LinkFrame] | None:
        if not self.messages:
            await asyncio.Event().wait()
        message = self.messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    async def write(self, frames: Sequence[LinkFrame]) -> bool:
        return True

    async def finish(self) -> None:
        pass


async def carried(transport: ScriptedTransport) -> list[Event]:
    """Carry one link of a gateway to its end."""
    events: list[Event] = []
    hello = Hello(versions=[PROTOCOL_VERSION], role=EndRole.END_ROLE_GATEWAY)
    limits = LinkLimits(closing_timeout=timedelta(milliseconds=20))
    stream = LinkStream(LinkMachine(limits=limits, hello=hello), transport, utc_now, events.append)
    async with asyncio.timeout(30):
        await stream.run()
    return events


def welcome() -> Welcome:
    return Welcome(version=PROTOCOL_VERSION, session_window=1 << 20, max_frame_bytes=1 << 19)


async def test_welcome_that_ends_in_no_year_is_a_violation() -> None:
    """A time that no calendar has closes the link at once, before it was ever up."""
    message = welcome()
    message.ends_at.seconds = 1 << 60
    events = await carried(ScriptedTransport([LinkFrame(welcome=message)]))
    [ended] = events
    assert isinstance(ended, Ended)
    assert (ended.reason, ended.was_up) == (CloseReason.CLOSE_REASON_PROTOCOL, False)


async def test_reader_that_fails_ends_the_link(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody would notice a link that is up and not read; its fault is told without its text."""
    events = await carried(ScriptedTransport([LinkFrame(welcome=welcome())], KeyError("8ABC123")))
    ended = events[-1]
    assert isinstance(ended, Ended)
    assert ended.was_up
    assert "KeyError" in caplog.text
    assert "8ABC123" not in caplog.text
