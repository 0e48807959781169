"""A federation of real processes to rotate and revoke in: its administrators' commands, what its ends log."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from benchmarks.federation import REQUESTER, Federation, make_federation
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import LoggedEntry, read_entry
from comity.audit.tiles import TileFolder
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.pairs import LeafPair
from comity.cli.demonstration.processes import Processes, start_all
from comity.cli.main import cli

PATIENCE_SECONDS = 90.0
"""How long something may take that has to happen."""
BYSTANDER = "police"
"""Another agency that asks: nothing of it is ever revoked."""
USERS = 36
"""Users of the requester."""
STEADY = 16
"""The last of them ask all the time: enough that none has too many questions in flight; none is revoked.

The bystander has as many.
"""
NICE = 10
"""How far the administrators' commands stand back: they have hosts of their own."""

_BYSTANDER = """
[[agency]]
id = "police"
name = "City Police"
kind = "local"
domain = "police.example"
state = "CA"
contact = "Records desk, records@police.example, 555-0108"
asks = true

[[agency.user]]
user = "a.moss"
office = "Investigations"
roles = ["investigator"]
duty_station = "Harbor Station"
"""
_SHARED = """
[[agreement]]
id = "sharing-{agency}-police"
title = "Sharing of ALPR reads with the City Police"
effective_days_before = 730
expires_days_after = 730

[[agreement.grant]]
provider = "{agency}"
requester = "police"
elements = ["location", "images", "vehicle", "camera"]
purposes = ["all"]

[agreement.grant.ceiling]
nature = "automated licence plate reads of fixed cameras"
banner = "LAW ENFORCEMENT SENSITIVE // NO COMMERCIAL USE / NO ONWARD SHARING // {banner}"
"""


class CommandFailed(Exception):
    """A command of an administrator ended with another status than 0; the text has what it said."""


class NeverHappened(Exception):
    """What had to happen didn't, in `PATIENCE_SECONDS`."""


def run_command(words: Sequence[str]) -> str:
    """Run `comity` with these words in this process; return what it printed. Raises `CommandFailed`."""
    done = CliRunner().invoke(cli, list(words))
    if done.exit_code:
        fault = "" if done.exception is None else f" ({done.exception!r})"
        raise CommandFailed(f"comity {' '.join(words)}: status {done.exit_code}{fault}: {done.output}")
    return done.stdout


class LogReader:
    """Reads on in one end's published log, and keeps the entries of some kinds."""

    def __init__(self, home: Path, *kinds: str) -> None:
        self.found: list[LoggedEntry] = []
        self._log = home / "log"
        self._marks = [f'"kind":"{kind}"'.encode() for kind in kinds]
        self._next = self._size()

    def _size(self) -> int:
        path = self._log / "checkpoint"
        return peek_checkpoint(path.read_bytes()).size if path.exists() else 0

    def read_on(self) -> None:
        """Read what was published since."""
        size = self._size()
        for _, leaf in TileFolder(self._log).all_entries(size, self._next):
            if any(mark in leaf for mark in self._marks):
                self.found.append(read_entry(leaf))
        self._next = size

    def of(self, kind: str, **public: str | int | None) -> list[LoggedEntry]:
        """Return entries of a kind that have these public values, None: haven't; read by now."""
        return [
            entry
            for entry in self.found
            if entry.kind == kind and all(entry.public.get(name) == value for name, value in public.items())
        ]


class PrintReader:
    """Reads on in what a process prints: which roster it has in force."""

    def __init__(self, home: Path) -> None:
        self.roster = 0
        self._path = home / "process.log"
        self._next = 0

    def read_on(self) -> None:
        """Read what was printed since, but for a line that isn't whole."""
        with self._path.open("rb") as file:
            file.seek(self._next)
            printed = file.read()
        whole = printed[: printed.rfind(b"\n") + 1]
        self._next += len(whole)
        for ours, brokers in re.findall(rb"in force: roster (\d+)|roster version (\d+) is in force", whole):
            self.roster = max(self.roster, int(ours or brokers))


class RunningFederation:
    """The processes of one federation, and what is done to them."""

    KINDS = ("credentials_activated", "revocations_activated", "key_rotated", "link_opened")

    def __init__(self, federation: Federation, processes: Processes, commands: ProcessPoolExecutor) -> None:
        self.federation = federation
        self.made = federation.made
        self.root = federation.made.root
        self.processes = processes
        self.running: dict[str, Path] = {}
        """Name → home of each end whose process runs."""
        self.logs: dict[str, LogReader] = {}
        self.printed: dict[str, PrintReader] = {}
        self.homes: list[Path] = []
        """Homes of all ends whose processes ever ran."""
        self._commands = commands

    def start(self, *names: str) -> None:
        """Start processes by the names that `FederationOnDisk.ends` gives; return when all are linked."""
        known = {name: (role, home) for name, role, home in self.made.ends()}
        wanted = [(name, known[name][0], known[name][1] / f"{known[name][0]}.toml") for name in names]
        start_all(self.processes, wanted, lambda line: None)
        for name in names:
            self.running[name] = known[name][1]
            self.homes.append(known[name][1])
            self.logs[name] = LogReader(known[name][1], *self.KINDS)
            self.printed[name] = PrintReader(known[name][1])

    async def stop(self, name: str) -> None:
        """End a process."""
        await asyncio.to_thread(self.processes.stop, name)
        del self.running[name], self.logs[name], self.printed[name]

    async def evidence(self) -> int:
        """End every process and verify all logs, by the roster and the list of now; return their entries.

        Raises `CommandFailed` if one doesn't verify.
        """
        for name in [name for name in reversed(self.running) if name != "broker"]:
            await self.stop(name)
        await self.stop("broker")
        trust = self.root / "trust.json"
        await self.comity("audit", "trust", "--public", self.root / "public", "--out", trust)
        found = await self.comity("audit", "verify", *self.homes, "--trust", trust)
        logs: list[dict[str, int]] = found["logs"]  # type: ignore[assignment]
        return sum(log["size"] for log in logs)

    def pids(self) -> Mapping[str, int]:
        return {name: self.processes.pid(name) for name in self.running}

    async def comity(self, *words: str | Path) -> Mapping[str, object]:
        """Run a command as an administrator does, in a process of its own; return what it says as JSON."""
        call = (*map(str, words), "--json")
        text = await asyncio.get_running_loop().run_in_executor(self._commands, run_command, call)
        found: Mapping[str, object] = json.loads(text)
        return found

    async def admit(self, *agencies: Path) -> int:
        """Have the authority admit what lies in these agencies' folders; wait until everybody knows it.

        Returns the version of the roster.
        """
        applications = [agency / "application.json" for agency in agencies]
        found = await self.comity("federation", "admit", *applications, "--dir", self.root)
        return await self.everybody_has(int(str(found["version"])))

    async def everybody_has(self, roster: int) -> int:
        """Wait until each process has said that a roster of this version, or a newer one, is in force."""

        def has(name: str) -> bool:
            self.printed[name].read_on()
            return self.printed[name].roster >= roster

        await self.until(lambda: all(map(has, self.running)), f"roster {roster} is in force")
        return roster

    async def logged(self, name: str, kind: str, **public: str | int | None) -> LoggedEntry:
        """Wait until an end's log has an entry with these public values, None: without; return the newest."""

        def found() -> bool:
            self.logs[name].read_on()
            return bool(self.logs[name].of(kind, **public))

        await self.until(found, f"`{kind}` at {name}")
        return self.logs[name].of(kind, **public)[-1]

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is true; raise `NeverHappened`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise NeverHappened(f"never happened: {what}")
            await asyncio.sleep(0.1)

    def leaf(self, name: str) -> LeafPair:
        """Return the leaf of an end as it lies on disk."""
        return LeafPair.load(self.running[name] / "keys")


def expendable(times: int) -> list[str]:
    """Return the ids of so many providers whose whole agency may be revoked: nothing brings one back."""
    return [f"p{number}" for number in range(3, 3 + times)]


def make(root: Path, *, agencies: int) -> Federation:
    """Make two providers, the requester with its users, a bystander, and providers that may be revoked."""
    names = ["p1", "p2", *expendable(agencies)]
    more = _BYSTANDER + "".join(_SHARED.format(agency=name, banner=name.upper()) for name in names[:2])
    federation = make_federation(root, len(names), now=utc_now(), more=more, partners=(BYSTANDER,))
    provider = AgencyHome.load(federation.made.home(REQUESTER)).identity_provider()
    template = provider.users()[federation.made.user(REQUESTER)]
    for user in users(USERS):
        provider.add_user(replace(template, user=user))
    provider = AgencyHome.load(federation.made.home(BYSTANDER)).identity_provider()
    template = provider.users()[federation.made.user(BYSTANDER)]
    for user in bystanders():
        provider.add_user(replace(template, user=user))
    return federation


def bystanders() -> list[str]:
    """Return the names of the bystander's users who ask."""
    return [f"b{at:02d}.moss" for at in range(STEADY)]


def users(number: int) -> list[str]:
    """Return the names of so many users of the requester."""
    return [f"u{at:02d}.ortega" for at in range(number)]


@asynccontextmanager
async def running(root: Path, *, agencies: int, small: bool) -> AsyncIterator[RunningFederation]:
    """Make a federation below `root` and start it, without those that may be revoked; end it afterwards.

    Of a small one, one provider and no bystander are started.
    """
    federation = await asyncio.to_thread(make, root, agencies=agencies)
    context = multiprocessing.get_context("spawn")
    with (
        Processes() as processes,
        ProcessPoolExecutor(1, mp_context=context, initializer=os.nice, initargs=(NICE,)) as commands,
    ):
        found = RunningFederation(federation, processes, commands)
        names = ["broker", "p1 adapter", f"{REQUESTER} gateway"]
        more = [] if small else ["p2 adapter", f"{BYSTANDER} gateway"]
        await asyncio.to_thread(found.start, *names, *more)
        yield found
