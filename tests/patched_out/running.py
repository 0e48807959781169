"""Run tests in children of one pytest, each with its patches, and tell what came of them.

Tests are collected once. For each run the process forks: the child finds everything imported and
collected, applies the patches and runs its tests alone, so that a run costs no more than its tests. A
child that takes too long is ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.patched_out.patching import Patch, apply
from tests.support import patience

LONGEST = 300.0
"""Seconds that ten tests may take: a check without which a test hangs has to be told another way."""

PATIENCE = 10.0
"""Seconds for which a test waits for what does not come without its check."""

OPTIONS = (
    "--override-ini=addopts=--import-mode=importlib",
    "--capture=no",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:terminal",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallen:
    """How a test failed."""

    exception: str
    """The name of the exception's type."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Tests that are to be run together, with `patches` applied."""

    name: str
    tests: tuple[str, ...]
    """Node ids; one without parameters stands for the test with all of them."""
    patches: tuple[Patch, ...] = ()

    @property
    def longest(self) -> float:
        """Seconds that it may take."""
        return LONGEST * max(1.0, len(self.tests) / 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a job."""

    seconds: float
    green: frozenset[str] = frozenset()
    fallen: dict[str, Fallen] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    """What went wrong beside the tests: a patch, a node id, a fixture, the time."""


def is_of(node_id: str, test: str) -> bool:
    """Whether `node_id` is `test`, or `test` with one of its parameters."""
    return node_id == test or node_id.startswith(f"{test}[")


def run_all(jobs: Sequence[Job], *, at_once: int, done: Callable[[Job, Ran], None]) -> tuple[str, ...]:
    """Run `jobs`, `at_once` at a time, and tell `done` as each ends.

    Returns why nothing could be run: what can't be collected.
    """
    files = sorted({test.partition("::")[0] for job in jobs for test in job.tests})
    loop = _Loop(jobs, at_once, done)
    pytest.main([*OPTIONS, *files], plugins=[loop])
    if not loop.began and not loop.faults:
        loop.faults.append("pytest did not collect anything")
    return tuple(loop.faults)


class _Loop:
    """The plugin that takes the place of pytest's own loop over the tests."""

    def __init__(self, jobs: Sequence[Job], at_once: int, done: Callable[[Job, Ran], None]) -> None:
        self._waiting = list(jobs)
        self._at_once = at_once
        self._done = done
        self._running: dict[int, tuple[Job, Path, float]] = {}
        self.faults: list[str] = []
        self.began = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.faults.append(f"{report.nodeid}: can't be collected: {report.longrepr}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if self.faults:
            return True
        self.began = True
        scratch = Path(tempfile.mkdtemp(prefix="patched-out-"))
        try:
            while self._waiting or self._running:
                while self._waiting and len(self._running) < self._at_once:
                    job, folder = self._waiting.pop(0), scratch / str(len(self._waiting))
                    folder.mkdir()
                    self._running[_start(job, session, folder)] = (job, folder, time.monotonic())
                pid = self._ended()
                job, folder, since = self._running.pop(pid)
                self._done(job, _read(folder, time.monotonic() - since))
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            for pid in self._running:
                _kill(pid)
            shutil.rmtree(scratch, ignore_errors=True)
        return True

    def _ended(self) -> int:
        """Return the process of a job that ended; end one that takes too long."""
        while True:
            for pid, (job, folder, since) in self._running.items():
                if os.waitpid(pid, os.WNOHANG)[0]:
                    return pid
                if time.monotonic() - since > job.longest:
                    _kill(pid)
                    _note(folder / "broken", f"was not done after {job.longest:.0f} seconds")
                    return pid
            time.sleep(0.01)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _start(job: Job, session: pytest.Session, folder: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
        tempfile.tempdir = str(folder)
        _run(job, session, folder)
    except BaseException as error:
        _note(folder / "broken", f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def _run(job: Job, session: pytest.Session, folder: Path) -> None:
    settings.register_profile("patched out", database=None)
    settings.load_profile("patched out")
    items = [item for item in session.items if any(is_of(item.nodeid, test) for test in job.tests)]
    for test in job.tests:
        if not any(is_of(item.nodeid, test) for item in items):
            _note(folder / "broken", f"{test}: there is no such test")
    apply(job.patches)
    patience.SECONDS = PATIENCE
    session.config.option.tbstyle = "native"  # the others cost more than the tests, and nobody reads them
    session.config.pluginmanager.register(_Recorder(folder))
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


class _Recorder:
    """Writes each test's result down as it comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        report = yield
        if report.skipped or (report.failed and call.when == "setup"):
            _note(self._folder / "broken", f"{item.nodeid}: {report.outcome} in {call.when}: {call.excinfo}")
        elif report.failed and call.when == "call" and call.excinfo is not None:
            how = {"exception": call.excinfo.typename, "message": str(call.excinfo.value)[:2000]}
            _note(self._folder / "fallen", json.dumps({"test": item.nodeid, **how}))
        elif call.when == "call":
            _note(self._folder / "green", item.nodeid)
        return report


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _read(folder: Path, seconds: float) -> Ran:
    found = [json.loads(line) for line in _lines(folder / "fallen")]
    return Ran(
        seconds=seconds,
        green=frozenset(_lines(folder / "green")),
        fallen={each["test"]: Fallen(exception=each["exception"], message=each["message"]) for each in found},
        broken=tuple(_lines(folder / "broken")),
    )
