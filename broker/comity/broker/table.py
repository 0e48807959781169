"""Who has a link now: one per end, the newest."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from comity.broker.admission import Admitted, EndId
from comity.links.errors import FrameTooLarge
from comity.links.server import LinkPeer
from comity.v1 import common_pb2, link_pb2

logger = logging.getLogger("comity.broker")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Link:
    """An end's link that is up. `number` counts up within one run of the broker."""

    number: int
    admitted: Admitted
    peer: LinkPeer
    chain: tuple[bytes, ...]

    @property
    def end(self) -> EndId:
        """Whose link it is."""
        return self.admitted.end


class LinkTable:
    """The links that are up, by end and by stream. Delivers frames; to an absent end, nothing."""

    def __init__(self) -> None:
        self._by_end: dict[EndId, Link] = {}
        self._by_peer: dict[LinkPeer, Link] = {}

    def __len__(self) -> int:
        """Return how many links are up."""
        return len(self._by_end)

    def __iter__(self) -> Iterator[Link]:
        """Iterate over a copy of the links that are up."""
        return iter(list(self._by_end.values()))

    def find(self, end: EndId) -> Link | None:
        """Return an end's link, if it has one now."""
        return self._by_end.get(end)

    def of(self, peer: LinkPeer) -> Link | None:
        """Return the link of a stream, if it is still the end's link."""
        return self._by_peer.get(peer)

    def add(self, link: Link) -> None:
        """Enter a link. Raises ValueError while the end has another: that one is removed first."""
        if link.end in self._by_end:
            raise ValueError(f"end `{link.end}` has a link")
        self._by_end[link.end] = link
        self._by_peer[link.peer] = link

    def remove(self, link: Link) -> None:
        """Take a link out."""
        del self._by_end[link.end]
        del self._by_peer[link.peer]

    def followed(self, older: Link, newer: Link) -> None:
        """Have a newer link of the same end stand in the place of an older one."""
        self.remove(older)
        self.add(newer)

    def to_gateway(self, agency: str, *frames: link_pb2.LinkFrame) -> None:
        """Send frames to an agency's gateway."""
        self._send(EndId(agency=agency, role=common_pb2.END_ROLE_GATEWAY), frames)

    def to_adapter(self, agency: str, *frames: link_pb2.LinkFrame) -> None:
        """Send frames to an agency's adapter."""
        self._send(EndId(agency=agency, role=common_pb2.END_ROLE_ADAPTER), frames)

    def present(self) -> Collection[str]:
        """Agencies whose adapter has a link now, in order of their ids."""
        return sorted(end.agency for end in self._by_end if end.role == common_pb2.END_ROLE_ADAPTER)

    def _send(self, end: EndId, frames: tuple[link_pb2.LinkFrame, ...]) -> None:
        link = self._by_end.get(end)
        if link is None:
            return
        try:
            link.peer.send(*frames)
        except FrameTooLarge as error:
            logger.error("`%s` can't be told: %s", end, error)
