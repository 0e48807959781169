"""The figures of a benchmark: quantiles, ratios within a repetition, CPU of a role, and bounded load."""

from __future__ import annotations

import asyncio
import os

import pytest

from benchmarks.load import Measurement, cpu_seconds, measure, quantile
from benchmarks.report import Cell, Run, as_json, cpu_by_role


def measurement(requests: int, cpu: dict[str, float] | None = None) -> Measurement:
    return Measurement(
        requests=requests, seconds=2.0, latencies=(0.01,) * requests, cpu=cpu or {"caller": 0.1}, others=0.0
    )


def run(rates: dict[str, list[int]]) -> Run:
    made = Run(repetitions=2, seconds=2.0, ways=tuple(rates), machine={})
    for way, counts in rates.items():
        cell = Cell(providers=2, concurrency=1, way=way)
        made.measured[cell] = [measurement(count) for count in counts]
    return made


def test_quantile_is_the_nearest_rank() -> None:
    """A quantile is a latency that occurred, never one between two."""
    assert [quantile((1.0, 2.0, 3.0, 4.0), share) for share in (0.25, 0.5, 0.51, 0.99)] == [
        1.0,
        2.0,
        3.0,
        4.0,
    ]


def test_no_latency_has_no_quantile() -> None:
    """A measurement without an answer is not shown as a quick one."""
    with pytest.raises(ValueError, match="no values"):
        quantile((), 0.5)


def test_ratio_is_taken_within_a_repetition() -> None:
    """What else the machine does in a repetition weighs on both, so repetitions are never mixed."""
    found = run({"bare": [100, 10], "comity": [50, 5]})
    assert found.ratios(Cell(providers=2, concurrency=1, way="comity"), "bare") == [0.5, 0.5]


def test_baseline_has_no_ratio_to_itself() -> None:
    """The bare way is what the others are held against."""
    assert run({"bare": [100, 10]}).ratios(Cell(providers=2, concurrency=1, way="bare"), "bare") == []


def test_every_other_repetition_runs_backwards() -> None:
    """No way is always the one that follows the heaviest."""
    found = run({"bare": [1], "comity": [1]})
    assert (found.turn(0), found.turn(1)) == (("bare", "comity"), ("comity", "bare"))


def test_cpu_of_a_role_is_that_of_one_process() -> None:
    """Eight adapters are told as one adapter's cost per request, so that N = 2 and N = 8 compare."""
    spent = cpu_by_role([measurement(10, {"broker": 1.0, "p1 adapter": 2.0, "p2 adapter": 4.0})])
    assert spent == {"broker": pytest.approx(0.1), "adapter": pytest.approx(0.3)}


def test_figures_are_plain_values() -> None:
    """What is written as JSON has every repetition, so that others can judge the spread."""
    cells = as_json(run({"bare": [100, 10], "comity": [50, 5]}))["cells"]
    assert isinstance(cells, list)
    assert cells[1]["requests_per_second"] == [25.0, 2.5]
    assert cells[1]["ratio"] == {"bare": [0.5, 0.5]}


async def test_load_stops_by_itself() -> None:
    """So many askers at a time and no more, none of them left when the time is over."""
    asking, most = 0, 0

    async def ask() -> None:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await asyncio.sleep(0.001)
        asking -= 1

    found = await measure(ask, concurrency=3, seconds=0.5, warm_up=0.01, processes={"caller": os.getpid()})
    assert (asking, most) == (0, 3)
    assert found.requests == len(found.latencies) > 0


async def test_wrong_answer_ends_the_measurement() -> None:
    """An error is never counted as a quick answer."""

    async def ask() -> None:
        raise ValueError("not what was asked")

    with pytest.raises(ExceptionGroup) as raised:
        await measure(ask, concurrency=2, seconds=5.0, warm_up=5.0, processes={})
    assert raised.group_contains(ValueError)


def test_cpu_clock_of_another_process_is_readable() -> None:
    """The CPU clock named by a process id is that process's own."""
    assert cpu_seconds(os.getpid()) > 0.0
