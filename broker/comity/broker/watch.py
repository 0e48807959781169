"""Looks at the published folders, and takes what is newer into force once it verifies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from comity.audit.errors import AuditError
from comity.broker.config import BrokerConfig
from comity.broker.trust import Trust, TrustState, load_trust
from comity.certs.clock import Clock
from comity.certs.errors import CertsError
from comity.certs.roster import ROSTER_FILE, TIMESTAMP_FILE, AuthorityPin

logger = logging.getLogger("comity.broker")

WATCH_SECONDS: Final = 0.5
"""How often the folders are looked at: a newer list closes the links it touches within a second."""

_Mark = tuple[tuple[str, int, int], ...]


class TrustWatch:
    """Watches roster, timestamp and lodgements. The authority's pin is read once and stays."""

    def __init__(
        self,
        *,
        config: BrokerConfig,
        pin: AuthorityPin,
        trust: Trust,
        clock: Clock,
        replaced: Callable[[TrustState], Awaitable[None]],
    ) -> None:
        self._public = config.public
        self._lodgements = config.lodgements
        self._pin = pin
        self._trust = trust
        self._clock = clock
        self._replaced = replaced
        self._mark = self._look()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            mark = self._look()
            if mark != self._mark:
                self._mark = mark
                await self.reload()

    async def reload(self) -> None:
        """Take what is published into force, or keep what is and say why."""
        try:
            state = await asyncio.to_thread(
                load_trust,
                public=self._public,
                lodgements=self._lodgements,
                now=self._clock(),
                pin=self._pin,
                last_seen=self._trust.federation.version,
            )
            await self._replaced(state)
        except CertsError as error:
            logger.error("what was published is not taken, the old stays in force: %s", error)
        except AuditError as error:
            logger.error("what was published is not taken until the log can be written: %s", error)
            self._mark = ()

    def _look(self) -> _Mark:
        paths = [self._public / ROSTER_FILE, self._public / TIMESTAMP_FILE, *self._lodgements.glob("*.json")]
        return tuple(sorted(mark for path in paths if (mark := _mark(path)) is not None))


def _mark(path: Path) -> tuple[str, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (path.name, status.st_mtime_ns, status.st_size)
