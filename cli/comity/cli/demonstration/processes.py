"""Real processes for the demonstration: started, watched until they are ready, ended by their own id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 90.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02


class ProcessFailed(Exception):
    """A process of the demonstration did not start or ended by itself; the text has its last line."""


@dataclass(slots=True, kw_only=True)
class Running:
    """One process with the file that takes what it prints."""

    name: str
    role: str
    home: Path
    process: subprocess.Popen[bytes]
    output: Path
    frozen: bool = False

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")


class Processes:
    """The processes of one federation; leaving the `with` block ends whatever still runs."""

    def __init__(self) -> None:
        self._running: dict[str, Running] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()

    def start(self, name: str, role: str, config: Path) -> Running:
        """Start `comity ROLE serve --config CONFIG`; what it prints goes to `process.log` beside it."""
        output = config.parent / "process.log"
        with output.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 (our own program, no shell)
                [sys.executable, *self.program(name), role, "serve", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        running = Running(name=name, role=role, home=config.parent, process=process, output=output)
        self._running[name] = running
        return running

    def program(self, name: str) -> list[str]:
        """Return what Python runs as the process `name`: `comity`."""
        return ["-m", "comity.cli.main"]

    def wait_for(self, running: Running, *lines: str) -> None:
        """Wait until each of `lines` has been printed; raises `ProcessFailed`."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            text = running.printed()
            if all(line in text for line in lines):
                return
            if running.process.poll() is not None:
                raise ProcessFailed(f"{running.name} ended: {_last_line(running)}")
            time.sleep(POLL_SECONDS)
        raise ProcessFailed(f"{running.name} is not ready after {START_SECONDS:.0f} s: {_last_line(running)}")

    def freeze(self, name: str) -> None:
        """Stop a process with SIGSTOP: it holds its connections and answers nothing."""
        self._running[name].process.send_signal(signal.SIGSTOP)
        self._running[name].frozen = True

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self._running[name].process.send_signal(signal.SIGCONT)
        self._running[name].frozen = False

    def stop(self, *names: str) -> dict[str, int]:
        """End processes with SIGTERM and wait; one that does not end in time is killed.

        Returns the exit status of each, 0 for a clean end.
        """
        ending = [self._running.pop(name) for name in names if name in self._running]
        self._end(ending)
        return {running.name: running.process.returncode for running in ending}

    def stop_all(self) -> dict[str, int]:
        """End everything: gateways first, then adapters, the broker last, so that all can say goodbye.

        Returns the exit status of each.
        """
        ended: dict[str, int] = {}
        for role in ("gateway", "adapter", "broker"):
            ended |= self.stop(*[name for name, running in self._running.items() if running.role == role])
        return ended

    def memory(self, name: str) -> Path:
        """Return the folder under /proc of a process."""
        return Path("/proc") / str(self._running[name].process.pid)

    def pid(self, name: str) -> int:
        """Return the process id."""
        return self._running[name].process.pid

    def _end(self, ending: list[Running]) -> None:
        for running in ending:
            if running.process.poll() is None:
                if running.frozen:
                    running.process.send_signal(signal.SIGCONT)
                running.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for running in ending:
            try:
                running.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()


def start_all(
    processes: Processes, wanted: list[tuple[str, str, Path]], progress: Callable[[str], None]
) -> None:
    """Start (name, role, config) in order: first the broker, then all ends at once; return when linked."""
    ends = []
    for name, role, config in wanted:
        running = processes.start(name, role, config)
        if role == "broker":
            processes.wait_for(running, "comity broker: ")
        else:
            ends.append(running)
    for count, running in enumerate(ends, start=1):
        processes.wait_for(running, f"comity {running.role}: ", "linked to the broker")
        progress(f"{count} of {len(ends)} ends are linked to the broker")


def _last_line(running: Running) -> str:
    lines = [line for line in running.printed().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"
