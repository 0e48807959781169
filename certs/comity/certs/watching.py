"""Following published files: what changes is taken into force while the process runs.

Shared by all three ends. What is read, and what becomes of it, is the end's; here is when.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["REST_SECONDS", "FileWatch", "follow"]

REST_SECONDS: Final = 0.1
"""How long signed files lie still before they are read: who writes several has done so by then."""

MOST_LOOKS: Final = 64
"""What failed is tried anew after 1, 2, 4 … and at most so many looks, also if no file changes."""

_Mark = tuple[str, int, int, int]


class FileWatch:
    """Tells whether any file of some folders is another one than before.

    A folder that is being written can hold half a policy that is valid and forbids less, or a roster without
    its timestamp. So a change counts once the folders are at rest: alike at two looks.
    """

    def __init__(self, *places: tuple[Path, str]) -> None:
        """Look at each folder's files that match its glob pattern; make it before they are first read."""
        self._places = places
        self._seen = self._look()
        self._told: frozenset[_Mark] | None = self._seen

    def doubt(self) -> None:
        """Have it tell a change in any case: what was read may be from before it looked."""
        self._told = None

    @property
    def is_moving(self) -> bool:
        """Whether the last look saw a change that isn't told yet: the next may find the folders at rest."""
        return self._seen != self._told

    def changed(self) -> bool:
        """Return, once for each change, that files came, went or changed. Only looks, opens nothing."""
        before, self._seen = self._seen, self._look()
        if before != self._seen or self._seen == self._told:
            return False
        self._told = self._seen
        return True

    def _look(self) -> frozenset[_Mark]:
        return frozenset(mark for folder, pattern in self._places for mark in _marks(folder, pattern))


async def follow(
    files: FileWatch,
    reload: Callable[[], Awaitable[None]],
    *,
    seconds: float,
    faults: tuple[type[Exception], ...],
    log: logging.Logger,
    what: str = "what was published",
    due: Callable[[], bool] = lambda: False,
    rest: float | None = None,
) -> None:
    """Call `reload` after each change, looking every `seconds`, until cancelled.

    A change is taken when two looks found the same: the second comes after `rest` seconds, if that is given.
    That is for what is signed as a whole: of it no half can be taken for the whole. Where `due` says so it is
    called at a look also without a change.

    When it raises one of `faults`, what was in force stays: that is logged once, and `reload` is called
    again at the next change and, ever less often, without one (a disk that is full again has room, a
    clock that was behind catches up). Another exception ends it. `what` is the subject of that line.
    """
    wait, looks, said = 0, 0, ""
    while True:
        await asyncio.sleep(seconds)
        looks += 1
        changed = await asyncio.to_thread(_changed, files, rest)
        if not changed and not due() and not 0 < wait <= looks:
            continue
        try:
            await reload()
        except faults as error:
            if changed or str(error) != said:
                log.error("%s is not taken, the old stays in force: %s", what, error)
            wait, looks, said = (1 if changed else min(2 * wait, MOST_LOOKS)), 0, str(error)
        else:
            wait = 0


def _changed(files: FileWatch, rest: float | None) -> bool:
    """Look once, and once more after `rest` if something moves: on a thread, for a busy loop comes late."""
    if files.changed():
        return True
    if rest is None or not files.is_moving:
        return False
    time.sleep(rest)
    return files.changed()


def _marks(folder: Path, pattern: str) -> Iterator[_Mark]:
    """Yield what tells one version of a file from another; what went meanwhile is left out."""
    try:
        paths = list(folder.glob(pattern))
    except OSError:
        return
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue
        yield str(path), found.st_ino, found.st_mtime_ns, found.st_size
