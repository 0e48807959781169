"""What is published over a link: the roster to the ends, and an agency's own revocations to the broker.

The roster is cut into parts by the broker, put together and taken by an end.

An end asks for nothing: it says in its `Hello` which timestamp it has, and the broker sends its own where it
is another one, then and whenever it changes. What came waits in one slot, the newest in the place of an older
one, and one is looked at at a time: whatever a broker sends, the work it makes is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from typing import Final

from comity.certs.errors import CertsError
from comity.certs.own_lists import MAX_OWN_LIST_BYTES, OwnList
from comity.certs.roster import Federation
from comity.links.errors import LinkError
from comity.v1.link_pb2 import LinkFrame, RosterDelivery, Welcome
from comity.v1.link_pb2 import OwnRevocations as OwnRevocationsFrame

PART_BYTES: Final = 256 * 1024
"""Bytes of one part."""
MAX_PARTS: Final = 32
"""Parts of one roster: 8 MiB, twice what a thousand members need, and half of what a link's queue holds."""
PACE_SECONDS: Final = 0.25
"""How long to wait between two looks: what a list revokes is closed within a second of its arrival."""
REST_SECONDS: Final = 1.0
"""How long after something was taken: an end reads its folders only once they were at rest for two looks."""
AGAIN_SECONDS: Final = 30.0
"""What wasn't taken is tried again after so long: a disk that was full has room, a clock catches up."""
LISTS_AT_ONCE: Final = 10
"""Of one agency, so many lists are looked at as they come; and then one in `LIST_SECONDS`."""
LIST_SECONDS: Final = 60.0
"""Each newer list goes to every end with the roster, and stands in every log: none may flood those."""


def cut(data: bytes, *, max_frame_bytes: int = PART_BYTES) -> tuple[LinkFrame, ...]:
    """Return the frames that carry `data`; none if it is empty or larger than all parts together.

    `max_frame_bytes`: what a frame of this link may measure.
    """
    room = min(PART_BYTES, max_frame_bytes - 64)
    pieces = [data[at : at + room] for at in range(0, len(data), room)]
    if len(pieces) > MAX_PARTS:
        return ()
    return tuple(
        LinkFrame(roster=RosterDelivery(part=part, parts=len(pieces), data=piece))
        for part, piece in enumerate(pieces)
    )


class RevocationsInbox:
    """An agency's own list as its ends bring it to the broker: one slot an agency, the newest in it.

    One is looked at at a time, each agency's in its turn, and no agency's too often. Plain calls on the event
    loop; `run` works.
    """

    def __init__(self, take: Callable[[str, bytes], bool], *, log: logging.Logger) -> None:
        """`take` verifies and keeps a list that an agency's end brought, on a thread; True: it is newer."""
        self._take = take
        self._log = log
        self._taken: dict[str, bytes] = {}
        """SHA-256 of what was looked at last of an agency, and was good."""
        self._room: dict[str, tuple[float, float]] = {}
        """How many more of an agency may be looked at, and when that was told."""
        self._failed: dict[str, tuple[bytes, float, str]] = {}
        """SHA-256 of the list of an agency that wasn't taken, when it is tried again, and why it wasn't."""
        self._waiting: dict[str, bytes] = {}
        self._wake = asyncio.Event()

    def add(self, agency: str, data: bytes) -> None:
        """Take what an end of `agency` brought; what is too large is let go."""
        if 0 < len(data) <= MAX_OWN_LIST_BYTES:
            self._waiting[agency] = data
            self._wake.set()

    async def run(self) -> None:
        """Take what waits, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            pause = PACE_SECONDS
            for agency, data in waiting.items():
                name = hashlib.sha256(data).digest()
                if self._taken.get(agency) == name:  # each link brings it again
                    continue
                if not self._is_next(agency, name):
                    self._keep(agency, data)
                    continue
                try:
                    if await asyncio.to_thread(self._take, agency, data):
                        pause = REST_SECONDS
                        self._log.info("`%s` brought a newer list of revocations of its own", agency)
                    self._taken[agency] = name
                    self._failed.pop(agency, None)
                except CertsError as error:
                    if self._failed.get(agency, (b"", 0.0, ""))[::2] != (name, str(error)):
                        self._log.error("what `%s` brought is not taken: %s", agency, error)
                    again = asyncio.get_running_loop().time() + AGAIN_SECONDS
                    self._failed[agency] = (name, again, str(error))
                    self._keep(agency, data)
            await asyncio.sleep(pause)

    def _keep(self, agency: str, data: bytes) -> None:
        """Look at a list later, unless a newer one came meanwhile."""
        self._waiting.setdefault(agency, data)
        self._wake.set()

    def _is_next(self, agency: str, name: bytes) -> bool:
        """Return whether a list may be looked at now; one that wasn't taken after `AGAIN_SECONDS`."""
        failed, again, _ = self._failed.get(agency, (b"", 0.0, ""))
        if failed == name:
            return asyncio.get_running_loop().time() >= again
        return self._has_room(agency)

    def _has_room(self, agency: str) -> bool:
        """Return whether one more list of an agency may be looked at now, and count it."""
        now = asyncio.get_running_loop().time()
        left, since = self._room.get(agency, (float(LISTS_AT_ONCE), now))
        left = min(float(LISTS_AT_ONCE), left + (now - since) / LIST_SECONDS)
        self._room[agency] = (left - 1 if left >= 1 else left, now)
        return left >= 1


class OwnRevocations:
    """Brings the own agency's list to the broker: over each link that is up, and whenever it changes."""

    def __init__(self, agency: str, send: Callable[[LinkFrame], None]) -> None:
        """`send` queues a frame on the link that is up; it may raise `LinkError`."""
        self._agency = agency
        self._send = send
        self._list: OwnList | None = None
        self._takes = False

    def linked(self, welcome: Welcome) -> None:
        """Bring it over a link that came up, if the broker takes it."""
        self._takes = welcome.takes_revocations
        self._bring()

    def in_force(self, federation: Federation) -> None:
        """Bring the list that is in force now, if it is another one."""
        listed = federation.own_lists.get(self._agency)
        if listed != self._list:
            self._list = listed
            self._bring()

    def _bring(self) -> None:
        if self._takes and self._list is not None:
            with contextlib.suppress(LinkError):  # the next link brings it
                self._send(LinkFrame(own_revocations=OwnRevocationsFrame(list=self._list.data)))


class RosterInbox:
    """Puts parts together and has what is whole taken. Plain calls on the event loop; `run` works."""

    def __init__(self, take: Callable[[bytes], bool], *, log: logging.Logger) -> None:
        """`take` verifies and keeps a serialized `RosterDocuments`, on a thread; True: it is a newer one."""
        self._take = take
        self._log = log
        self._parts: list[bytes] = []
        self._waiting: bytes | None = None
        self._failed: tuple[bytes, str] | None = None
        """What was looked at last and wasn't taken, and why."""
        self._wake = asyncio.Event()

    def add(self, delivery: RosterDelivery) -> None:
        """Take a part; one that doesn't follow the last is let go, and what was begun with it."""
        if delivery.part == 0:
            self._parts = []
        fits = delivery.part == len(self._parts) < delivery.parts <= MAX_PARTS
        if not fits or not 0 < len(delivery.data) <= PART_BYTES:
            self._parts = []
            return
        self._parts.append(delivery.data)
        if len(self._parts) == delivery.parts:
            self._waiting, self._parts = b"".join(self._parts), []
            self._wake.set()

    def unlinked(self) -> None:
        """Let go of what was begun: the link is gone."""
        self._parts = []

    async def run(self) -> None:
        """Take what is whole, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            data, self._waiting = self._waiting, None
            pause = PACE_SECONDS
            if data is not None:
                failed, self._failed = self._failed, None
                try:
                    if await asyncio.to_thread(self._take, data):
                        pause = REST_SECONDS
                        self._log.info("the broker brought a newer roster or timestamp")
                except CertsError as error:
                    self._failed = (data, str(error))
                    if failed != self._failed:
                        self._log.error("the roster that the broker brought is not taken: %s", error)
                    asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._again, self._failed)
            await asyncio.sleep(pause)

    def _again(self, failed: tuple[bytes, str]) -> None:
        """Look once more at what wasn't taken, unless something else came."""
        if self._failed is failed and self._waiting is None:
            self._waiting = failed[0]
            self._wake.set()
