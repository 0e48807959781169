"""A federation of eight alike providers and some that can go wrong: real processes, mTLS, loopback.

What goes wrong is done to processes, files, sockets and limits from outside; only where a party must lie
does it run `hostile.py` in the product's place. Everything that a test breaks here can be mended.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.duration_pb2 import Duration

from benchmarks.federation import REQUESTER, Federation, make_federation
from comity.audit.errors import AuditError
from comity.audit.tiles import TileFolder
from comity.certs.authority import suspend
from comity.certs.clock import utc_now
from comity.certs.instants import from_instant
from comity.cli.asking import Answer, AskingFailed, ask, load_client
from comity.cli.demonstration.prepare import wanted
from comity.cli.demonstration.processes import Processes
from comity.cli.demonstration.traffic import KNOWN_TO_ALL
from comity.v1 import common_pb2, query_pb2, query_service_pb2
from tests.integration.hostile import BEHAVE, Misbehaviour

ALIKE = tuple(f"p{number}" for number in range(1, 9))
HOSTILE, NEVER_LINKED, SUSPENDED = "p9", "p10", "p11"
STRANGER = "stranger"
"""A provider without an agreement with anybody."""
BENT = "port"
"""A second requester, whose gateway can misbehave; it has an agreement with `p8` alone."""
CUT = "p5"
"""The provider whose link runs through a socket of ours, which can be cut."""
BUSY = "p2"
"""The provider that takes one exchange of a requester at a time."""
WAIT_SECONDS = 120.0

MORE = """
[[agency]]
id = "stranger"
name = "Provider without an agreement"
kind = "local"
domain = "stranger.example"
state = "CA"
contact = "Records desk, records@stranger.example, 555-0108"
provides = true

[[agency]]
id = "port"
name = "Port Police"
kind = "local"
domain = "port.example"
state = "CA"
contact = "Records desk, records@port.example, 555-0109"
asks = true

[[agency.user]]
user = "m.lind"
office = "Investigations"
roles = ["investigator"]
duty_station = "Harbor Station"

[[agreement]]
id = "sharing-p8-port"
title = "Sharing of ALPR reads with the Port Police"
effective_days_before = 730
expires_days_after = 730

[[agreement.grant]]
provider = "p8"
requester = "port"
elements = ["location", "images", "vehicle", "camera"]
purposes = ["all"]

[agreement.grant.ceiling]
nature = "automated licence plate reads of fixed cameras"
banner = "LAW ENFORCEMENT SENSITIVE // NO COMMERCIAL USE / NO ONWARD SHARING // P8"
"""

ENDLESS = """
CREATE VIEW alpr_read AS WITH RECURSIVE forever(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM forever)
SELECT good.* FROM forever JOIN good WHERE n < 0
"""
"""In the place of the table: a search of it works and works, and never gives a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a caller was told, and when."""

    answer: Answer
    exchange: str
    """Its id in hex; empty if nobody was asked."""
    seconds: float
    """From the plan to the end of the call."""
    arrived: dict[str, float]
    """Seconds from the plan to each provider's outcome."""
    summary_at: float
    """Seconds from the plan to the summary."""
    error: str = ""
    """The reason in the status, where that was not OK."""

    def kind(self, provider: str) -> tuple[str, str]:
        """Return a provider's outcome in the summary and who attests it: ("TIMED_OUT", "BROKER")."""
        assert self.answer.summary is not None
        (item,) = [each for each in self.answer.summary.providers if each.agency == provider]
        kind = common_pb2.OutcomeKind.Name(item.kind).removeprefix("OUTCOME_KIND_")
        attested = query_service_pb2.Attestation.Name(item.attested_by).removeprefix("ATTESTATION_")
        return kind, attested

    def kinds(self, providers: Sequence[str]) -> dict[str, str]:
        """Return the outcomes of some providers."""
        return {name: self.kind(name)[0] for name in providers}

    @property
    def findings(self) -> list[str]:
        """What contradicts what."""
        assert self.answer.summary is not None
        return list(self.answer.summary.findings)


class CutWire:
    """A port that hands everything on to another one, until it is cut; then it takes new connections."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection, as a network does that fails."""
        for each in self._open:
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def close(self) -> None:
        """Take no more."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                try:
                    other = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    one.close()
                    continue
                self._open += [one, other]
                for source, sink in ((one, other), (other, one)):
                    threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class _Ends(Processes):
    """The processes, of which two can be hostile."""

    def program(self, name: str) -> list[str]:
        if name in (f"{HOSTILE} adapter", f"{BENT} gateway"):
            return [str(Path(__file__).with_name("hostile.py"))]
        return Processes.program(self, name)

    def kill(self, name: str) -> None:
        """End a process without a word."""
        self._running[name].process.kill()
        self._running[name].process.wait()


@dataclass
class Stage:
    """The running federation, how to ask it, how to break it, and what its logs say."""

    federation: Federation
    processes: _Ends
    wire: CutWire
    configs: dict[str, tuple[str, Path]]

    # -- asking ---------------------------------------------------------------------------------

    def ask(
        self,
        *providers: str,
        by: str = REQUESTER,
        seconds: float = 5.0,
        reason: common_pb2.ReasonCode = common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        meanwhile: Callable[[str], None] = lambda exchange: None,
        leave: Callable[[str], None] | None = None,
    ) -> Told:
        """Ask providers; `meanwhile` is called with the exchange's id once the question is out.

        With `leave` the caller goes away after that was called: then there is no summary.
        """
        client = load_client(self.federation.made.client_config(by))
        request = query_service_pb2.SearchRequest(
            plate=common_pb2.Plate(
                number=KNOWN_TO_ALL.plate, state=KNOWN_TO_ALL.state, country=KNOWN_TO_ALL.country
            ),
            period=common_pb2.Period(
                start=from_instant(self.federation.start), end=from_instant(self.federation.end)
            ),
            reason=reason,
            case_number="26-0417",
            reason_text="series of burglaries in the harbor area",
            for_self=True,
            providers=providers,
            completeness=query_pb2.Completeness(best_effort=True),
            timeout=Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9)),
        )
        at: dict[str, float] = {}
        ids: list[str] = []

        def progress(message: query_service_pb2.SearchResponse) -> None:
            part = message.WhichOneof("part") or ""
            name = message.outcome.agency if part == "outcome" else part
            at.setdefault(name, time.monotonic())
            if part == "plan":
                ids.append(message.plan.exchange_id.hex())
                meanwhile(ids[0])
                if leave is not None:
                    leave(ids[0])
                    raise _GoesAway

        answer = Answer()
        with suppress(_GoesAway):
            answer = ask(client, self.federation.made.assertion(by, utc_now()), request, progress=progress)
        begun = at["plan"]
        return Told(
            answer=answer,
            exchange=ids[0],
            seconds=time.monotonic() - begun,
            arrived={name: moment - begun for name, moment in at.items() if name not in ("plan", "summary")},
            summary_at=at.get("summary", begun) - begun,
            error=answer.problem_reason,
        )

    def heals(self, *providers: str) -> None:
        """Wait until all of these respond again, whatever was done to them."""
        kinds: dict[str, str] = {}

        def whole() -> bool:
            try:
                kinds.update(self.ask(*providers).kinds(providers))
            except AskingFailed:  # the gateway itself has no link again yet
                return False
            return set(kinds.values()) == {"RESPONDED"}

        until(whole, lambda: f"not healed: {kinds}")

    # -- breaking and mending -------------------------------------------------------------------

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Stop processes with SIGSTOP for a while."""
        for name in names:
            os.kill(self.processes.pid(name), signal.SIGSTOP)
        try:
            yield
        finally:
            for name in names:
                os.kill(self.processes.pid(name), signal.SIGCONT)

    @contextmanager
    def endless(self, provider: str) -> Iterator[None]:
        """Put a store in a provider's place whose searches never return."""
        with self._replaced(provider) as (store, good):
            shutil.copyfile(good, store)
            with sqlite3.connect(store) as connection:
                connection.execute("ALTER TABLE alpr_read RENAME TO good")
                connection.execute(ENDLESS)
            connection.close()
            yield

    @contextmanager
    def without_store(self, provider: str) -> Iterator[None]:
        """Take a provider's store away."""
        with self._replaced(provider):
            yield

    @contextmanager
    def _replaced(self, provider: str) -> Iterator[tuple[Path, Path]]:
        store = self._store(provider)
        aside = store.with_suffix(".aside")
        store.rename(aside)
        try:
            yield store, aside
        finally:
            aside.replace(store)

    @contextmanager
    def locked(self, provider: str) -> Iterator[None]:
        """Hold a provider's database as another program would that writes: its searches wait for it."""
        connection = sqlite3.connect(self._store(provider), isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.close()

    @contextmanager
    def full_disk(self, provider: str) -> Iterator[None]:
        """Let a provider's process write not one byte more to any file."""
        pid = self.processes.pid(f"{provider} adapter")
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    @contextmanager
    def misbehaving(self, agency: str, how: Misbehaviour, role: str = "adapter") -> Iterator[None]:
        """Have a hostile end do something wrong."""
        path = self.federation.made.home(agency) / role / BEHAVE
        path.with_suffix(".new").write_text(how, "utf-8")
        path.with_suffix(".new").replace(path)
        try:
            yield
        finally:
            path.unlink()

    def start(self, *names: str) -> None:
        """Start processes, again or for the first time, and wait until they serve."""
        started = [self.processes.start(name, *self.configs[name]) for name in names]
        for running in started:
            self.processes.wait_for(running, f"comity {running.role}: ", "linked to the broker")

    def _store(self, provider: str) -> Path:
        return self.federation.made.adapter_home(provider) / "stores" / "fixed.db"

    # -- the logs -------------------------------------------------------------------------------

    def is_decided(self, provider: str, exchange: str) -> bool:
        """Whether a provider has decided an exchange, published or not: the store is searched next."""
        pattern = re.compile(b'"exchange":"%s","kind":"decided"' % exchange.encode())
        folder = self.federation.made.adapter_home(provider) / "wal"
        return any(pattern.search(path.read_bytes()) for path in folder.glob("*.wal"))

    def until_decided(self, exchange: str, *providers: str) -> None:
        """Wait until providers are at work on an exchange."""
        for provider in providers:
            until(
                lambda name=provider: self.is_decided(name, exchange),  # type: ignore[misc]
                lambda name=provider: f"`{name}` did not decide",  # type: ignore[misc]
            )

    def logged(self, agency: str, role: str, exchange: str) -> list[dict[str, object]]:
        """Return the published entries of one exchange in an end's log, in order."""
        home = (
            self.federation.made.broker_home if role == "broker" else self.federation.made.home(agency) / role
        )
        return [entry for entry in published(home / "log") if entry.get("exchange") == exchange]


def _set(config: Path, line: str) -> None:
    """Put a line at the top of a configuration."""
    config.write_text(f"{line}\n{config.read_text('utf-8')}", "utf-8")


class _GoesAway(Exception):
    """The caller is gone."""


def published(folder: Path) -> list[dict[str, object]]:
    """Return all published entries of a log; none of an end that never ran."""
    if not (folder / "checkpoint").exists():
        return []
    for _ in range(100):
        try:
            size = int((folder / "checkpoint").read_text("utf-8").splitlines()[1])
            return [json.loads(data) for _, data in TileFolder(folder).all_entries(size)]
        except (AuditError, OSError):  # the next checkpoint replaced what was read
            time.sleep(0.02)
    raise AssertionError(f"`{folder}` can't be read")


def until(holds: Callable[[], bool], problem: Callable[[], str]) -> None:
    """Wait until something holds; fail with `problem` after two minutes."""
    end = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < end, problem()
        time.sleep(0.05)


@contextmanager
def stage(root: Path) -> Iterator[Stage]:
    """Lay out and start the federation; end it, and only it."""
    now = utc_now()
    federation = make_federation(root, 11, now=now, more=MORE)
    made = federation.made
    suspend(root, SUSPENDED, utc_now())
    _set(made.adapter_home(BUSY) / "adapter.toml", "max_in_flight = 1")
    cut = made.adapter_home(CUT) / "adapter.toml"
    address = re.search(r'broker = "127\.0\.0\.1:(\d+)"', cut.read_text("utf-8"))
    assert address is not None
    wire = CutWire(int(address[1]))
    cut.write_text(cut.read_text("utf-8").replace(address[0], f'broker = "127.0.0.1:{wire.port}"'), "utf-8")
    configs = {name: (role, config) for name, role, config in wanted(made)}
    for _, config in configs.values():  # so that a stop of seconds is a hang, and no lost link
        _set(config, "keepalive_timeout_ms = 20000")
    unstarted = {f"{name} adapter" for name in (NEVER_LINKED, SUSPENDED, STRANGER)}
    try:
        with _Ends() as processes:
            built = Stage(federation=federation, processes=processes, wire=wire, configs=configs)
            broker = processes.start("broker", *configs["broker"])
            processes.wait_for(broker, "comity broker: ")
            built.start(*(name for name in configs if name != "broker" and name not in unstarted))
            built.heals(*ALIKE, HOSTILE)
            yield built
    finally:
        wire.close()
