"""What a run of `benchmarks.fanout` found: tables for a person, JSON for comparison, and on what machine."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import mean, median

from rich.console import Console
from rich.table import Table

from benchmarks.load import Measurement

BASELINES = ("bare", "relayed")
_SYNCS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One column of figures: so many providers, so many requests at a time, one way of asking."""

    providers: int
    concurrency: int
    way: str


@dataclass(slots=True, kw_only=True)
class Run:
    """All that one run measured."""

    repetitions: int
    seconds: float
    ways: tuple[str, ...]
    machine: Mapping[str, str | int | float]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    load_after: float = 0.0
    measured: dict[Cell, list[Measurement]] = field(default_factory=dict)

    def turn(self, repetition: int) -> tuple[str, ...]:
        """Return the ways in this repetition's order: every other one backwards."""
        return self.ways if repetition % 2 == 0 else self.ways[::-1]

    @property
    def others(self) -> float:
        """Cores that were busy with something else, on average."""
        return mean(each.others for measured in self.measured.values() for each in measured)

    def ratios(self, cell: Cell, baseline: str) -> list[float]:
        """Return the rate of `cell` over the baseline's, repetition by repetition; empty without one."""
        other = Cell(providers=cell.providers, concurrency=cell.concurrency, way=baseline)
        if cell.way == BASELINES[0] or other == cell or other not in self.measured:
            return []
        return [
            mine.rate / theirs.rate
            for mine, theirs in zip(self.measured[cell], self.measured[other], strict=True)
        ]


def cpu_by_role(measured: Sequence[Measurement]) -> dict[str, float]:
    """Return CPU seconds per request of each role; providers' are the mean of one, not the sum of all."""
    requests = sum(each.requests for each in measured)
    spent: dict[str, list[float]] = {}
    for process in measured[0].cpu:
        total = sum(each.cpu[process] for each in measured)
        spent.setdefault(process.split()[-1], []).append(total / max(1, requests))
    return {role: mean(values) for role, values in spent.items()}


def cpu_of_all(measured: Sequence[Measurement]) -> float:
    """Return CPU seconds per request of all processes together."""
    return sum(sum(each.cpu.values()) for each in measured) / max(1, sum(each.requests for each in measured))


def machine() -> dict[str, str | int | float]:
    """Return what the figures depend on: processor, versions, and what a sync to disk costs here."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "grpcio": metadata.version("grpcio"),
        "cryptography": metadata.version("cryptography"),
        "revision": _revision(),
        "fdatasync_us": round(1e6 * _sync_seconds()),
    }


def show(run: Run, console: Console) -> None:
    """Print the tables."""
    machine = run.machine
    console.print(
        f"{run.at:%Y-%m-%d %H:%M} UTC, {machine['cores']} cores, {machine['processor']}, Python "
        f"{machine['python']}, grpcio {machine['grpcio']}, fdatasync {machine['fdatasync_us']} µs, "
        f"revision {machine['revision']}; load average before {run.load_before:.1f}, after "
        f"{run.load_after:.1f}, cores busy with something else {run.others:.2f}; "
        f"{run.repetitions} x {run.seconds:g} s each; ratios: median (range)",
        soft_wrap=True,
    )
    rates = Table(title="requests")
    for name in ("N", "c", "way", "requests/s", "p50 ms", "p99 ms", "over bare", "over relayed"):
        rates.add_column(name, justify="left" if name == "way" else "right")
    for cell, measured in run.measured.items():
        rates.add_row(
            str(cell.providers),
            str(cell.concurrency),
            cell.way,
            f"{median(each.rate for each in measured):.0f}",
            f"{1e3 * median(each.quantile(0.5) for each in measured):.1f}",
            f"{1e3 * median(each.quantile(0.99) for each in measured):.1f}",
            *[_range(run.ratios(cell, baseline)) for baseline in BASELINES],
        )
    console.print(rates)
    costs = Table(title="CPU per request, ms (one provider; all: every process together)")
    roles = ("caller", "relay", "gateway", "broker", "provider")
    for name in ("N", "c", "way", *roles, "all"):
        costs.add_column(name, justify="left" if name == "way" else "right")
    for cell, measured in run.measured.items():
        spent = cpu_by_role(measured)
        spent["provider"] = spent.pop("adapter", spent.get("provider", 0.0))
        costs.add_row(
            str(cell.providers),
            str(cell.concurrency),
            cell.way,
            *[f"{1e3 * spent[role]:.2f}" if role in spent else "" for role in roles],
            f"{1e3 * cpu_of_all(measured):.2f}",
        )
    console.print(costs)


def as_json(run: Run) -> dict[str, object]:
    """Return everything as plain values: per cell each repetition's figures, then the paired ratios."""
    return {
        "at": run.at.isoformat(timespec="seconds"),
        "machine": dict(run.machine),
        "load_before": run.load_before,
        "load_after": run.load_after,
        "cores_busy_with_something_else": round(run.others, 3),
        "seconds": run.seconds,
        "repetitions": run.repetitions,
        "cells": [
            {
                "providers": cell.providers,
                "concurrency": cell.concurrency,
                "way": cell.way,
                "cores_busy_with_something_else": [round(each.others, 3) for each in measured],
                "requests": [each.requests for each in measured],
                "requests_per_second": [round(each.rate, 2) for each in measured],
                "p50_ms": [round(1e3 * each.quantile(0.5), 3) for each in measured],
                "p99_ms": [round(1e3 * each.quantile(0.99), 3) for each in measured],
                "cpu_ms_per_request": {
                    role: round(1e3 * spent, 3) for role, spent in cpu_by_role(measured).items()
                },
                "cpu_ms_per_request_all": round(1e3 * cpu_of_all(measured), 3),
                "ratio": {
                    baseline: [round(ratio, 4) for ratio in ratios]
                    for baseline in BASELINES
                    if (ratios := run.ratios(cell, baseline))
                },
            }
            for cell, measured in run.measured.items()
        ],
    }


def _range(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})" if ratios else ""


def _revision() -> str:
    """Return the commit that is measured, with `+` if files differ from it; `unknown` outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _sync_seconds() -> float:
    """Return the median time of a small append and fdatasync where the logs will stand."""
    with tempfile.TemporaryFile() as file:
        took = []
        for _ in range(_SYNCS):
            begun = time.perf_counter()
            os.write(file.fileno(), bytes(1024))
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return median(took)
