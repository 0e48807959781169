"""What the signed log costs: `python -m benchmarks.log`.

Appends at concurrency 1, 16 and 64, each beside bare write and fdatasync of as many bytes by one thread in
the same repetition; verification of the log that came of it; and exchanges over real processes, those in
which some end made a checkpoint against the others. It judges nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click

from benchmarks import report
from benchmarks.fanout import RESULTS
from benchmarks.federation import REQUESTER, Federation, make_federation
from benchmarks.ways import Comity
from comity.audit.entry import Entry, seal_entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.records import encode_record
from comity.audit.trust import Trust, TrustedLog
from comity.audit.verify import verify_folders
from comity.certs.clock import utc_now
from comity.cli.demonstration.prepare import wanted
from comity.cli.demonstration.processes import Processes, start_all

CONCURRENCY = (1, 16, 64)
PROVIDERS = 2
PUBLISHING_SECONDS = 0.02
"""How long before its checkpoint lies there an end is counted as making it."""
POLL_SECONDS = 0.002
_KEY = LogKey.generate("lapd.example/adapter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appends:
    """Appends of one repetition at one concurrency."""

    concurrency: int
    per_second: float
    p50_ms: float
    p99_ms: float
    over_bare: float
    """Rate over that of bare write and fdatasync, one after the other, of the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchanges:
    """Exchanges, one after the other, while some end made a checkpoint, or while none did."""

    count: int
    p50_ms: float
    p99_ms: float


@click.command()
@click.option("--repetitions", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.05, 60), default=2.0, show_default=True, help="Each.")
@click.option("--exchanges", type=click.IntRange(0, 100_000), default=1_500, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def main(repetitions: int, seconds: float, exchanges: int, as_json: bool) -> None:
    """Measure the log, and write the figures to benchmarks/results/."""
    at, load = datetime.now(UTC), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as name:
        root = Path(name)
        appends, bare, verified = asyncio.run(_appends(root, repetitions, seconds))
        during, otherwise = (
            asyncio.run(_exchanges(root / "federation", exchanges)) if exchanges else (None, None)
        )
    figures = {
        "at": at.isoformat(timespec="seconds"),
        "machine": dict(report.machine()),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "bare_syncs_per_second": [round(rate) for rate in bare],
        "appends": [asdict(each) for each in appends],
        "verified_per_second": round(verified),
        "exchanges_while_a_checkpoint_is_made": asdict(during) if during else None,
        "exchanges_otherwise": asdict(otherwise) if otherwise else None,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"log-{at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    click.echo(f"load average before {load:.1f}, after {os.getloadavg()[0]:.1f}; median (range)")
    click.echo(f"bare write and fdatasync: {_range(bare, 0)} a second")
    for concurrency in CONCURRENCY:
        of = [each for each in appends if each.concurrency == concurrency]
        click.echo(
            f"appends at {concurrency:>2}: {_range([o.per_second for o in of], 0)} a second, "
            f"p50 {_range([o.p50_ms for o in of], 2)} ms, p99 {_range([o.p99_ms for o in of], 1)} ms, "
            f"over bare {_range([o.over_bare for o in of], 2)}"
        )
    click.echo(f"verification: {verified:,.0f} entries a second")
    if during and otherwise:
        for words, one in (("while a checkpoint is made", during), ("otherwise", otherwise)):
            click.echo(f"exchanges {words}: {one.count:,}, p50 {one.p50_ms:.1f} ms, p99 {one.p99_ms:.1f} ms")
        click.echo(f"p99 over that of otherwise: {during.p99_ms / otherwise.p99_ms:.2f}")
    click.echo(f"written: {path}", err=True)


def _range(values: Sequence[float], digits: int) -> str:
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))
    return f"{middle} ({low}–{high})"


def _entry(number: int) -> Entry:
    """Return an entry like that of a decision: three public digests, four private fields."""
    return Entry(
        kind="decided",
        at=utc_now(),
        exchange=number.to_bytes(16, "big"),
        public={"agency": "lapd", "peer": "sheriff", "query": "ab" * 32, "policy": "cd" * 32},
        private={"plate": "8ABC123", "case": "26-0417", "user": "j.ortega", "reason_text": "burglaries"},
    )


# -- appends --------------------------------------------------------------------------------------


async def _appends(root: Path, repetitions: int, seconds: float) -> tuple[list[Appends], list[float], float]:
    """Return appends, bare rates, and how many entries a second are verified."""
    found: list[Appends] = []
    bare: list[float] = []
    log = await SignedLog.open(root / "log", origin=_KEY.origin, key=_KEY, clock=utc_now)
    try:
        for repetition in range(repetitions):
            order = CONCURRENCY if repetition % 2 == 0 else CONCURRENCY[::-1]
            bare.append(await asyncio.to_thread(_bare, root / "bare", seconds))
            for concurrency in order:
                found.append(await _append(log, concurrency, seconds, bare[-1]))
                await log.publish()
    finally:
        await log.close()
    trusted = TrustedLog(origin=_KEY.origin, agency="lapd", end="adapter", keys=(_KEY.verifier,))
    trust = Trust(federation="benchmark", roster_version=1, logs={_KEY.origin: trusted})
    began = time.perf_counter()
    result = verify_folders([root / "log/log"], trust)
    taken = time.perf_counter() - began
    assert result.verified, result.logs[0].findings
    return found, bare, result.logs[0].size / taken


def _bare(path: Path, seconds: float) -> float:
    """Return how often a second a record is written and synced, by one thread that does nothing else."""
    record = encode_record(seal_entry(_entry(0)))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        count, began = 0, time.perf_counter()
        while (taken := time.perf_counter() - began) < seconds:
            os.write(descriptor, record)
            os.fdatasync(descriptor)
            count += 1
    finally:
        os.close(descriptor)
    return count / taken


async def _append(log: SignedLog, concurrency: int, seconds: float, bare: float) -> Appends:
    waits: list[float] = []
    end = time.perf_counter() + seconds

    async def write(number: int) -> None:
        while (began := time.perf_counter()) < end:
            await log.append(_entry(number))
            waits.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(write(number) for number in range(concurrency)))
    rate = len(waits) / (time.perf_counter() - began)
    return Appends(
        concurrency=concurrency,
        per_second=rate,
        p50_ms=_percentile(waits, 0.50),
        p99_ms=_percentile(waits, 0.99),
        over_bare=rate / bare,
    )


def _percentile(seconds: Sequence[float], part: float) -> float:
    """Return a percentile in milliseconds."""
    ordered = sorted(seconds)
    return 1e3 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]


# -- exchanges ------------------------------------------------------------------------------------


async def _exchanges(root: Path, count: int) -> tuple[Exchanges, Exchanges]:
    """Ask so often, one question after the other; return those beside a checkpoint, and the others."""
    with ExitStack() as ending:
        federation = make_federation(root, PROVIDERS, now=utc_now())
        click.echo("starting the processes", err=True)
        processes = ending.enter_context(Processes())
        start_all(processes, wanted(federation.made), lambda line: None)
        comity = Comity(federation)
        watching = asyncio.create_task(_watch(_checkpoints(federation), published := []))
        asked: list[tuple[float, float]] = []
        try:
            for number in range(count + 20):
                if number % 200 == 0:
                    comity.log_on()
                began = time.time()
                await comity.ask()
                asked.append((began, time.time()))
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await comity.close()
    beside, others = list[float](), list[float]()
    for began, ended in asked[20:]:
        while_made = any(began <= at and at - PUBLISHING_SECONDS <= ended for at in published)
        (beside if while_made else others).append(ended - began)
    return _summed(beside), _summed(others)


def _summed(seconds: Sequence[float]) -> Exchanges:
    assert seconds, "too few exchanges to tell"
    return Exchanges(count=len(seconds), p50_ms=_percentile(seconds, 0.50), p99_ms=_percentile(seconds, 0.99))


def _checkpoints(federation: Federation) -> list[Path]:
    """Return the checkpoint files of all ends."""
    made = federation.made
    homes = [made.gateway_home(REQUESTER), made.broker_home, *map(made.adapter_home, federation.providers)]
    return [home / "log/checkpoint" for home in homes]


async def _watch(paths: Sequence[Path], published: list[float]) -> None:
    """Note when each checkpoint was written, until cancelled."""
    last: dict[Path, int] = {}
    while True:
        for path in paths:
            at = path.stat().st_mtime_ns
            if last.setdefault(path, at) != at:
                last[path] = at
                published.append(at / 1e9)
        await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
