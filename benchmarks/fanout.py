"""Comity's full path against a bare gRPC fan-out, in one run: `python -m benchmarks.fanout`.

For each number of providers a federation is generated, its processes and the bare ones are started, and all
ways of asking (`benchmarks.ways`) are measured in turn, again and again: whatever else the machine does, it
does to all of them. A ratio is taken within a repetition and never across. It judges nothing.

Load stays on the loopback interface, is bounded by `--seconds`, and stops by itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import click
from rich.console import Console

from benchmarks import report
from benchmarks.federation import make_federation
from benchmarks.load import measure
from benchmarks.report import Cell, Run
from benchmarks.ways import WAYS, Comity, WrongAnswer, open_ways, start
from comity.certs.clock import utc_now
from comity.cli.demonstration.processes import ProcessFailed

RESULTS = Path(__file__).resolve().parent / "results"


@click.command()
@click.option("--repetitions", type=click.IntRange(1, 50), default=5, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.2, 60), default=5.0, show_default=True, help="Of each measurement."
)
@click.option("--warm-up", type=click.FloatRange(0.0, 60), default=0.5, show_default=True, help="Seconds.")
@click.option(
    "--providers",
    "-n",
    type=click.IntRange(1, 16),
    multiple=True,
    default=(2, 8),
    show_default=True,
    help="Repeat for more.",
)
@click.option(
    "--concurrency",
    "-c",
    type=click.IntRange(1, 48),
    multiple=True,
    default=(1, 8),
    show_default=True,
    help="Requests in flight; repeat for more.",
)
@click.option("--way", "ways", type=click.Choice(WAYS), multiple=True, default=WAYS, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(
    repetitions: int,
    seconds: float,
    warm_up: float,
    providers: tuple[int, ...],
    concurrency: tuple[int, ...],
    ways: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure Comity beside a bare gRPC fan-out, and write the figures to benchmarks/results/."""
    run = Run(repetitions=repetitions, seconds=seconds, ways=ways, machine=report.machine())
    console = Console(stderr=True, highlight=False)
    try:
        for count in providers:
            asyncio.run(_measure(run, count, concurrency, warm_up, console))
    except (WrongAnswer, ProcessFailed) as error:
        console.print(f"benchmark: {error}", markup=False)
        sys.exit(1)
    run.load_after = os.getloadavg()[0]
    RESULTS.mkdir(exist_ok=True)
    figures = report.as_json(run)
    path = RESULTS / f"fanout-{run.at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        report.show(run, Console(highlight=False, width=max(Console().width, 110)))
    console.print(f"written: {path}", markup=False, soft_wrap=True)


async def _measure(
    run: Run, providers: int, concurrency: tuple[int, ...], warm_up: float, console: Console
) -> None:
    """Start everything for so many providers, measure all ways in turn, end everything."""
    with ExitStack() as ending:
        root = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="comity-bench-")))
        federation = make_federation(root, providers, now=utc_now())
        console.print(f"{providers} providers: starting the processes", markup=False)
        started = start(federation, ending)
        pids = ", ".join(f"{name} {pid}" for name, pid in started.processes["comity"].items())
        console.print(f"{providers} providers: {pids}", markup=False, soft_wrap=True)
        caller = {"caller": os.getpid()}
        async with AsyncExitStack() as closing:
            ways = await open_ways(federation, started, closing)
            for name in run.ways:
                await ways[name].ask()
            for repetition in range(run.repetitions):
                for at_a_time in concurrency:
                    for name in run.turn(repetition):
                        way = ways[name]
                        if isinstance(way, Comity):
                            way.log_on()
                        measured = await measure(
                            way.ask,
                            concurrency=at_a_time,
                            seconds=run.seconds,
                            warm_up=warm_up,
                            processes={**caller, **started.processes[name]},
                        )
                        cell = Cell(providers=providers, concurrency=at_a_time, way=name)
                        run.measured.setdefault(cell, []).append(measured)
                console.print(f"{providers} providers: {repetition + 1} of {run.repetitions}", markup=False)


if __name__ == "__main__":
    main()
