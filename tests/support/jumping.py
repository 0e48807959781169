"""Time that jumps: a test's event loop never waits for a timer, it moves its time to it.

Deadlines, backoff and grace periods are the product's own, to the second; only nobody sits through them.
Time moves on by itself too, by what this process works: that others keep the machine busy makes nobody late.
It never jumps while a thread works for the loop: what a disk or a store does takes the time that it takes.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any


class JumpingTime:
    """Takes over the time of the running loop until `leave`; is a `Clock` that agrees with it."""

    def __init__(self, since: datetime | None = None) -> None:
        """Begin now, or at `since` if that is later: time that jumped is ahead of the real one."""
        self._loop: Any = asyncio.get_running_loop()
        self._real = self._loop._selector
        self._run_in_executor = self._loop.run_in_executor
        self._jumped = 0.0
        self._busy = 0
        self._began, self._at = max(datetime.now(UTC), since or datetime.min.replace(tzinfo=UTC)), self.time()
        self._loop._selector = _Selector(self._real, self._select)
        self._loop.time = self.time
        self._loop.run_in_executor = self._counted

    def __call__(self) -> datetime:
        """Return the present time of the simulation, aware."""
        return self._began + timedelta(seconds=self.time() - self._at)

    def time(self) -> float:
        """Return the loop's time in seconds."""
        return time.process_time() + self._jumped

    def jump(self, seconds: float) -> None:
        """Move on at once: what was due in between is due now, once."""
        self._jumped += seconds

    def leave(self) -> None:
        """Give the loop its own time back."""
        self._loop._selector = self._real
        del self._loop.time, self._loop.run_in_executor

    def _counted(self, executor: Any, func: Callable[..., Any], *arguments: Any) -> Any:
        future = self._run_in_executor(executor, func, *arguments)
        if not getattr(func, "never_returns", False):
            self._busy += 1
            future.add_done_callback(self._done)
        return future

    def _done(self, future: object) -> None:
        self._busy -= 1

    def _select(self, timeout: float | None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return list(self._real.select(timeout))
        ready = list(self._real.select(timeout if self._busy else 0))
        if not ready:
            self._jumped += timeout
        return ready


class _Selector:
    """The loop's selector, with another `select`."""

    def __init__(self, real: selectors.BaseSelector, select: Callable[[float | None], list[Any]]) -> None:
        self._real = real
        self.select = select

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
