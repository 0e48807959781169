"""Asking as fast as answers come, a fixed number at a time, and what it cost whom."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 30.0
"""How much longer than planned a measurement may take before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One stretch of load on one way of asking."""

    requests: int
    """Answers that came within the measured time."""
    seconds: float
    latencies: tuple[float, ...]
    """Seconds of each of them, sorted."""
    cpu: Mapping[str, float]
    """CPU seconds that each process spent meanwhile."""
    others: float
    """Cores that were busy with anything else meanwhile: what the figures suffered from."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def quantile(self, share: float) -> float:
        """Return the latency in seconds that `share` of the requests did not exceed (nearest rank)."""
        return quantile(self.latencies, share)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank quantile of sorted, non-empty `values`; raises `ValueError` if empty."""
    if not values:
        raise ValueError("no values, so no quantile")
    rank = -(-len(values) * share // 1)
    return values[max(0, int(rank) - 1)]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has spent, all its threads, to the nanosecond.

    Linux: the clock that clock_getcpuclockid(3) names; /proc/PID/stat counts only hundredths.
    """
    return time.clock_gettime((~pid << 3) | 2)


def busy_seconds() -> float:
    """Return the CPU time that the whole machine has spent, kernel and interrupts included (proc(5))."""
    user, nice, system, _, _, irq, softirq, *_ = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq))) / os.sysconf("SC_CLK_TCK")


async def measure(
    ask: Callable[[], Awaitable[None]],
    *,
    concurrency: int,
    seconds: float,
    warm_up: float,
    processes: Mapping[str, int],
) -> Measurement:
    """Ask with `concurrency` askers for `seconds`, after a warm-up that doesn't count.

    Raises whatever `ask` raises for a wrong answer, and `TimeoutError` if it hangs.
    """
    latencies: list[float] = []
    begun = 0.0
    end = float("inf")

    async def keep_asking() -> None:
        while (sent := time.perf_counter()) < end:
            await ask()
            now = time.perf_counter()
            if 0.0 < begun <= now <= end:
                latencies.append(now - sent)

    async with asyncio.timeout(seconds + warm_up + PATIENCE_SECONDS), asyncio.TaskGroup() as askers:
        for _ in range(concurrency):
            askers.create_task(keep_asking())
        await asyncio.sleep(warm_up)
        all_before = busy_seconds()
        before = {name: cpu_seconds(pid) for name, pid in processes.items()}
        begun = time.perf_counter()
        end = begun + seconds
        await asyncio.sleep(seconds)
        took = time.perf_counter() - begun
        spent = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
        others = max(0.0, busy_seconds() - all_before - sum(spent.values())) / took
    return Measurement(
        requests=len(latencies), seconds=took, latencies=tuple(sorted(latencies)), cpu=spent, others=others
    )
