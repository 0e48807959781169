"""Work that nobody waits for: entries about the end itself, checkpoints of peers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

from comity.audit.entry import Entry
from comity.audit.errors import AuditError
from comity.audit.log import Promise

LOGGER = logging.getLogger("comity.adapters")


class Appends(Protocol):
    """A log, as far as entries are written to it."""

    async def append(self, *entries: Entry) -> list[Promise]:
        """Write entries durably; raise `AuditError`."""


class Beside:
    """Tasks beside the exchanges; a fault in one is told by its kind and ends it alone."""

    def __init__(self, log: Appends) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    def write(self, entry: Entry) -> None:
        """Have an entry written; if it can't be, the operator's own log says so."""
        self.start(self._append(entry))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have `work` done; return its task for who wants to wait, under a shield."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def settled(self) -> None:
        """Wait until all of it is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _append(self, entry: Entry) -> None:
        try:
            await self._log.append(entry)
        except AuditError as error:
            LOGGER.error("`%s` was not logged: %s", entry.kind, error)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            LOGGER.error("a task beside the exchanges failed: %s", type(error).__name__)
