"""What k hung providers of eight cost a caller: `python -m benchmarks.hung`.

k adapter processes are stopped with SIGSTOP, all eight are asked, and what counts is how long after the
deadline the caller has its summary: one deadline, whatever k (design 5). k = 0 to 8, repeated; for k = 0 the
figure is the whole question's time, for nobody is waited for. It judges nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import grpc
from google.protobuf.duration_pb2 import Duration
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.fanout import RESULTS
from benchmarks.federation import make_federation
from benchmarks.ways import Comity, WrongAnswer
from comity.certs.clock import utc_now
from comity.certs.instants import to_instant
from comity.cli.demonstration.prepare import wanted
from comity.cli.demonstration.processes import Processes, ProcessFailed, start_all
from comity.v1 import common_pb2, query_service_pb2

PROVIDERS = 8
AIM_MS = 50.0
"""How long after the deadline the summary may come: what design and issue aim at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question with so many hung."""

    hung: int
    seconds: float
    """From the call to the summary."""
    past_deadline_ms: float
    """From the deadline to the summary; below zero where nobody hung."""
    last_answer_ms: float
    """From the call to the last outcome that its provider signed; 0 where all hung."""


class Asker(Comity):
    """A caller that looks at the clock."""

    def __init__(self, *arguments: object, seconds: float) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._request.timeout.CopyFrom(Duration(seconds=int(seconds), nanos=round(seconds % 1 * 1e9)))
        self._request.completeness.best_effort = True

    async def ask_with(self, hung: Sequence[str]) -> Asked:
        """Ask all while `hung` are; raises `WrongAnswer` unless exactly the others responded."""
        begun = time.perf_counter()
        deadline: datetime | None = None
        kinds: dict[str, common_pb2.OutcomeKind] = {}
        last = past = 0.0
        try:
            async for message in self._search(self._request, metadata=self._metadata, timeout=20.0):
                match message.WhichOneof("part"):
                    case "plan":
                        deadline = to_instant(message.plan, "deadline")
                    case "outcome":
                        kinds[message.outcome.agency] = message.outcome.kind
                        if message.outcome.attested_by == query_service_pb2.ATTESTATION_PROVIDER:
                            last = time.perf_counter() - begun
                    case "summary" if deadline is not None:
                        past = (utc_now() - deadline).total_seconds()
                        seconds = time.perf_counter() - begun
                    case _:
                        pass
        except grpc.aio.AioRpcError as error:
            if len(hung) < PROVIDERS or not kinds:  # nobody answered is an error, and rightly
                raise WrongAnswer(f"the call failed: {error.code().name.lower()}") from error
        responded = {name for name, kind in kinds.items() if kind == common_pb2.OUTCOME_KIND_RESPONDED}
        if len(kinds) != PROVIDERS or responded != kinds.keys() - set(hung):
            raise WrongAnswer(f"with {len(hung)} hung, {len(responded)} of {len(kinds)} responded")
        return Asked(hung=len(hung), seconds=seconds, past_deadline_ms=1e3 * past, last_answer_ms=1e3 * last)


@click.command()
@click.option("--repetitions", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option(
    "--deadline",
    type=click.FloatRange(0.2, 10),
    default=0.8,
    show_default=True,
    help="Seconds; a stop of a second and more is told as a lost link instead.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def main(repetitions: int, deadline: float, as_json: bool) -> None:
    """Measure what hung providers cost, and write the figures to benchmarks/results/."""
    console = Console(stderr=True, highlight=False)
    machine, at = report.machine(), datetime.now(UTC)
    load_before = os.getloadavg()[0]
    try:
        asked = asyncio.run(_measure(repetitions, deadline, console))
    except (WrongAnswer, ProcessFailed) as error:
        console.print(f"benchmark: {error}", markup=False)
        sys.exit(1)
    figures = {
        "at": at.isoformat(timespec="seconds"),
        "machine": dict(machine),
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
        "providers": PROVIDERS,
        "deadline_ms": 1e3 * deadline,
        "aim_ms": AIM_MS,
        "hung": [_figures([each for each in asked if each.hung == hung]) for hung in range(PROVIDERS + 1)],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"hung-{at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        _show(figures, asked, Console(highlight=False, width=max(Console().width, 100)))
    console.print(f"written: {path}", markup=False, soft_wrap=True)


async def _measure(repetitions: int, deadline: float, console: Console) -> list[Asked]:
    """Start everything, ask with each number hung in turn, end everything."""
    with ExitStack() as ending:
        root = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="comity-bench-")))
        federation = make_federation(root, PROVIDERS, now=utc_now())
        console.print(f"{PROVIDERS} providers: starting the processes", markup=False)
        processes = ending.enter_context(Processes())
        start_all(processes, wanted(federation.made), lambda line: None)
        asker = Asker(federation, seconds=deadline)
        asked: list[Asked] = []
        try:
            for repetition in range(repetitions):
                asker.log_on()
                for hung in range(PROVIDERS + 1):
                    await _until_all_answer(asker)
                    stopped = federation.providers[:hung]
                    with _frozen(processes, stopped):
                        asked.append(await asker.ask_with(stopped))
                console.print(f"{repetition + 1} of {repetitions}", markup=False)
        finally:
            await asker.close()
    return asked


async def _until_all_answer(asker: Asker) -> None:
    """Wait until whoever was stopped is back; raises `WrongAnswer` after half a minute."""
    end = time.monotonic() + 30.0
    while True:
        try:
            await asker.ask_with(())
        except WrongAnswer:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            return


@contextmanager
def _frozen(processes: Processes, providers: Sequence[str]) -> Iterator[None]:
    """Stop the adapters of these providers for a while; only processes that were started here."""
    pids = [processes.pid(f"{name} adapter") for name in providers]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _figures(asked: Sequence[Asked]) -> dict[str, object]:
    """Return the figures of one number of hung providers."""
    return {
        "hung": asked[0].hung,
        "summary_after_ms": [round(1e3 * each.seconds, 1) for each in asked],
        "past_deadline_ms": [round(each.past_deadline_ms, 1) for each in asked],
        "last_answer_ms": [round(each.last_answer_ms, 1) for each in asked],
    }


def _show(figures: dict[str, object], asked: Sequence[Asked], console: Console) -> None:
    """Print the table."""
    console.print(
        f"{figures['at']}, {PROVIDERS} providers, deadline {figures['deadline_ms']:.0f} ms, load average "
        f"before {figures['load_before']:.1f}, after {figures['load_after']:.1f}; median (range)",
        soft_wrap=True,
    )
    table = Table(title="k of eight hung")
    for name in ("k", "summary after ms", "past the deadline ms", "last answer after ms"):
        table.add_column(name, justify="right")
    for hung in range(PROVIDERS + 1):
        of = [each for each in asked if each.hung == hung]
        table.add_row(
            str(hung),
            _range([1e3 * each.seconds for each in of]),
            _range([each.past_deadline_ms for each in of]) if hung else "",
            _range([each.last_answer_ms for each in of]) if hung < PROVIDERS else "",
        )
    console.print(table)


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


if __name__ == "__main__":
    main()
