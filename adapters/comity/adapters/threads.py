"""Threads that search stores and never keep the process from ending.

The standard pool's threads are waited for when the interpreter ends, so that one store that hangs would
keep a stopped adapter alive. These are daemons: what hangs in one is lost, and nobody waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonExecutor(Executor):
    """At most `max_workers` threads, made when they are first needed."""

    def __init__(self, max_workers: int) -> None:
        self._max_workers = max_workers
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args)` called in a thread; a future that was cancelled before its turn is skipped."""
        if self._closed:
            raise RuntimeError("the executor is shut down")
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self._work.put(call)
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._max_workers:
            thread = threading.Thread(target=self._loop, name=f"store-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Let the threads end once they are through; never waits."""
        self._closed = True
        for _ in self._threads:
            self._work.put(None)

    def _loop(self) -> None:
        while (call := self._work.get()) is not None:
            call()
            self._idle.release()


class StoreThreads:
    """Each store's own threads, so that one that hangs takes none from the others. For one event loop."""

    def __init__(self, max_workers: int) -> None:
        """`max_workers`: of one store."""
        self._max_workers = max_workers
        self._executors: dict[str, DaemonExecutor] = {}

    def of(self, store_id: str) -> DaemonExecutor:
        """Return the threads of a store."""
        if store_id not in self._executors:
            self._executors[store_id] = DaemonExecutor(self._max_workers)
        return self._executors[store_id]

    def shutdown(self) -> None:
        """Let the threads end once they are through; never waits."""
        for executor in self._executors.values():
            executor.shutdown()
