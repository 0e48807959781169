"""The same without `asyncio`: for scripts, and for programs of threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Generator
from concurrent.futures import CancelledError, Future
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from comity.certs.clock import Clock, utc_now
from comity.gateway.config import GatewayConfig
from comity.gateway.errors import RequesterClosed
from comity.gateway.library.answers import Answer, Part
from comity.gateway.library.questions import Question
from comity.gateway.library.requester import PATIENCE, Requester

T = TypeVar("T")


def connect(
    home: GatewayConfig | Path | str, *, patience: timedelta = PATIENCE, clock: Clock = utc_now
) -> Connection:
    """Open the gateway whose folder is `home` and return it: `with connect(home) as gateway: …`.

    Waits until it is open; takes and raises what `Requester.open` does. Close it: one that is still open when
    the interpreter ends goes as a killed process does, so that its log has no `stopped`, and recovers at the
    next opening.
    """
    return Connection(home, patience=patience, clock=clock)


class Connection:
    """A `Requester` with an event loop in a thread of its own. Any number of threads may ask at once."""

    def __init__(self, home: GatewayConfig | Path | str, *, patience: timedelta, clock: Clock) -> None:
        self._opened: Future[Requester] = Future()
        self._ended: Future[None] = Future()
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._opening: asyncio.Task[None] | None = None
        self._is_open = True
        self._lock = threading.Lock()  # what was started before `close` is on the loop before its end is
        living = self._live(home, patience, clock)
        self._thread = threading.Thread(target=self._run, args=(living,), name="comity-gateway", daemon=True)
        self._thread.start()
        try:
            self._requester = self._opened.result()
        except BaseException:  # it failed to open, or who waits was interrupted
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def agency(self) -> str:
        """The agency that asks."""
        return self._requester.agency

    @property
    def certificate(self) -> bytes:
        """The certificate that assertions must name, DER: the leaf of this gateway."""
        return self._requester.certificate

    @property
    def is_linked(self) -> bool:
        """Whether there is a link to the broker now; a lost one is dialled again by itself."""
        return self._requester.is_linked

    def ask(self, question: Question, *, assertion: str) -> Answer:
        """Ask for a user, wait for everyone, and return the whole answer, as `Requester.ask` does.

        An exception in the thread that waits, such as `KeyboardInterrupt`, cancels the question.
        """
        asking = self._start(self._requester.ask(question, assertion=assertion))
        try:
            return _result(asking)
        finally:
            asking.cancel()

    def search(self, question: Question, *, assertion: str) -> Generator[Part, None, None]:
        """Ask for a user, and yield parts as they come, as `Requester.search` does; closing it cancels."""
        parts: SimpleQueue[Part | None] = SimpleQueue()

        async def searching() -> None:
            try:
                search = self._requester.search(question, assertion=assertion)
                async with contextlib.aclosing(search) as found:
                    async for part in found:
                        parts.put(part)
            finally:
                parts.put(None)

        asking = self._start(searching())
        try:
            while (part := parts.get()) is not None:
                yield part
            _result(asking)
        finally:
            asking.cancel()

    def close(self) -> None:
        """Hang up, log `stopped`, and let go of the log; the second time nothing happens.

        Raises what ended the gateway, if anything did before.
        """
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: it failed to open
                self._loop.call_soon_threadsafe(self._end)
        self._thread.join()
        self._ended.result()

    def _start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if not self._is_open:
                work.close()
                raise RequesterClosed("this connection was closed: ask within its block")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self, living: Coroutine[Any, Any, None]) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(living)
        except BaseException as error:
            (self._ended if self._opened.done() else self._opened).set_exception(error)
        if not self._ended.done():
            self._ended.set_result(None)

    async def _live(self, home: GatewayConfig | Path | str, patience: timedelta, clock: Clock) -> None:
        if self._closing.is_set():
            return
        self._opening = asyncio.current_task()
        async with Requester.open(home, patience=patience, clock=clock) as requester:
            self._opening = None
            self._opened.set_result(requester)
            await self._closing.wait()

    def _end(self) -> None:
        self._closing.set()
        if self._opening is not None:
            self._opening.cancel()


def _result(asking: Future[T]) -> T:
    try:
        return asking.result()
    except CancelledError as error:
        raise RequesterClosed("this connection was closed before the answer was whole") from error
