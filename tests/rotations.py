"""Every key and certificate is rotated, and revoked, while questions come by the clock.

`python -m tests.rotations` (`make rotations`) starts a federation of real processes: a broker, two adapters,
a requester's gateway, and one of an agency that nothing happens to. It asks `--rate` questions a second, each
of one provider, whether or not those before were answered, and meanwhile does each kind of rotation, then
each kind of revocation, `--times` times, by the administrators' commands. It ends with status 1 if a question
failed that didn't touch what was revoked, if something revoked was answered later than a second after the
list had arrived at the gateway that shows answers, or if a log doesn't verify in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.federation import REQUESTER
from benchmarks.load import cpu_seconds, quantile
from tests.support import revoking, rotating
from tests.support.open_load import Asked, OpenLoad, System, Who
from tests.support.revoking import Answers, Revoked
from tests.support.running_federation import (
    BYSTANDER,
    STEADY,
    USERS,
    CommandFailed,
    NeverHappened,
    RunningFederation,
    bystanders,
    expendable,
    running,
    users,
)

PROVIDERS = ("p1", "p2")
WARM_UP_SECONDS = 3.0
BETWEEN_SECONDS = 1.0
SHOWN_FAULTS = 5
LATE_SHARE = 0.01
"""Of a row's questions: if more were late, the rate wasn't held, which is told."""
Progress = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Row:
    """What one kind came to."""

    kind: str
    what: str
    done: int = 0
    seconds: float = 0.0
    asked: int = 0
    complete: int = 0
    failed: int = 0
    late: int = 0
    excused: int = 0
    """Not answered because they touched what was revoked."""
    rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    cpu_ms: float = 0.0
    """CPU of all processes of the federation, a question; commands of administrators aren't counted."""
    cpu_by_process_ms: dict[str, float] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    revoked: Answers | None = None

    @property
    def is_good(self) -> bool:
        return not self.failed and (self.revoked is None or not self.revoked.late)


@dataclass(slots=True)
class Mix:
    """Who asks whom: the requester's users in turn, each provider in turn, now and then the bystander."""

    providers: Sequence[str]
    marked: str = ""
    """A user of the requester who asks every fifth question."""
    expendable: str = ""
    """A provider beside those."""
    with_bystander: bool = False

    def __call__(self, number: int) -> Who:
        providers = (*self.providers, self.expendable) if self.expendable else self.providers
        provider = providers[number % len(providers)]
        if self.with_bystander and number % 10 in (0, 5):
            known = self.providers[number // 10 % len(self.providers)]
            user = bystanders()[number // 5 % STEADY]
            return Who(agency=BYSTANDER, user=user, provider=known)
        if self.marked and number % 5 == 2:
            return Who(agency=REQUESTER, user=self.marked, provider=provider)
        return Who(agency=REQUESTER, user=users(USERS)[-1 - number % STEADY], provider=provider)


class Stage:
    """A running federation under load."""

    def __init__(
        self, federation: RunningFederation, load: OpenLoad, mix: Mix, say: Progress, *, small: bool
    ) -> None:
        self.federation = federation
        self._small = small
        self.load = load
        self.mix = mix
        self.rows: list[Row] = []
        self._say = say
        self._asking = asyncio.create_task(load.run())

    async def stop(self) -> None:
        """Ask no more, and wait for what is in flight."""
        self._asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._asking

    async def verify(self) -> None:
        """Ask no more, end every process, and verify all logs: of before, during and after each rotation."""
        await self.stop()
        entries = await self.federation.evidence()
        self._say(f"all logs verify by the roster of now: {entries:,} entries")

    async def quiet(self, seconds: float) -> None:
        """Measure without anything being done."""
        async with self._measured("none", "nothing is done") as row:
            await asyncio.sleep(seconds)
        row.done = 0

    async def rotate(self, kind: str, times: int) -> None:
        """Rotate one kind so many times, one after the other."""
        what, rotation = rotating.KINDS[kind]
        async with self._measured(kind, what) as row:
            for _ in range(times):
                await rotation(self.federation)
                row.done += 1
                self._say(f"{what}: {row.done} of {times}")

    async def revoke(self, kind: str, times: int) -> None:
        """Revoke one kind so many times, and reinstate."""
        what, found = revoking.KINDS[kind], list[Revoked]()
        self.mix.with_bystander = not self._small
        async with self._measured(kind, what, found) as row:
            for number in range(times):
                found.append(await self._revoke_once(kind, number))
                row.done += 1
                self._say(f"{what}: {row.done} of {times} revoked")
        self.mix.with_bystander = False

    async def _revoke_once(self, kind: str, number: int) -> Revoked:
        federation, gone = self.federation, ""
        match kind:
            case "certificate-adapter" | "certificate-gateway":
                name = rotating.ADAPTER if kind.endswith("adapter") else rotating.GATEWAY
                plan = await revoking.certificate(federation, name)
            case "own-certificate":
                plan = await revoking.certificate(federation, rotating.ADAPTER, own=True)
            case "statement-key-adapter" | "statement-key-gateway":
                name = rotating.ADAPTER if kind.endswith("adapter") else rotating.GATEWAY
                plan = await revoking.statement_key(federation, name)
            case "subject":
                self.mix.marked = users(USERS)[number]
                plan = await revoking.subject(self.mix.marked)
            case _:
                provider = expendable(number + 1)[-1]
                gone = f"{provider} adapter"
                await asyncio.to_thread(federation.start, gone)
                await asyncio.sleep(BETWEEN_SECONDS)
                self.mix.expendable = provider
                plan = await revoking.agency(federation, provider)
        try:
            return await revoking.revoke_once(
                federation, self.load, plan, answered=lambda since: self._answered(plan.touches, since)
            )
        finally:
            self.mix.marked = self.mix.expendable = ""
            if gone:
                await self.load.settled(time.time() - 60, time.time())
                await federation.stop(gone)

    def _answered(self, touches: Callable[[Asked], bool], since: float) -> bool:
        """Whether a question that touches it was due since then and is answered whole."""
        asked = self.load.between(since, time.time())
        return any(touches(each) and each.is_done and not each.fault for each in asked)

    @asynccontextmanager
    async def _measured(self, kind: str, what: str, revoked: Sequence[Revoked] = ()) -> AsyncIterator[Row]:
        """Give a row, and fill it by what was asked meanwhile."""
        row = Row(kind=kind, what=what)
        self.rows.append(row)
        pids = dict(self.federation.pids())
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        begun = time.time()
        try:
            yield row
        finally:
            ended = time.time()
            spent = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
            await self.load.settled(begun, ended)
            fill(row, self.load.between(begun, ended), revoked, ended - begun)
            each = 1000 / max(1, row.asked)
            row.cpu_ms = each * sum(spent.values())
            row.cpu_by_process_ms = {name: each * seconds for name, seconds in spent.items()}
            self._say(told(row))
        await asyncio.sleep(BETWEEN_SECONDS)


def fill(row: Row, asked: Sequence[Asked], revoked: Sequence[Revoked], seconds: float) -> None:
    """Count what was asked into a row."""
    row.seconds, row.asked = seconds, len(asked)
    faults = Counter[str]()
    latencies = sorted(each.latency for each in asked if not each.fault)
    for each in asked:
        row.late += each.is_late
        if not each.fault:
            row.complete += 1
        elif any(one.excuses(each) for one in revoked):
            row.excused += 1
        else:
            row.failed += 1
            faults[each.fault[:300]] += 1
    row.faults = dict(faults.most_common(SHOWN_FAULTS))
    row.rate = len(asked) / seconds
    if latencies:
        row.p50_ms = 1000 * statistics.median(latencies)
        row.p99_ms = 1000 * quantile(latencies, 0.99)
    if revoked:
        row.revoked = Answers()
        for one in revoked:
            row.revoked.add(one, asked)


@asynccontextmanager
async def staged(
    root: Path, *, rate: float, say: Progress, agencies: int = 0, small: bool = False
) -> AsyncIterator[Stage]:
    """Start a federation below `root` and ask it `rate` questions a second until the block is left."""
    say("making a federation and starting its processes")
    async with (
        running(root, agencies=agencies, small=small) as federation,
        contextlib.AsyncExitStack() as ending,
    ):
        systems = {REQUESTER: System(federation.federation, REQUESTER, users(USERS)[-STEADY:])}
        if not small:
            systems[BYSTANDER] = System(federation.federation, BYSTANDER, bystanders())
        for system in systems.values():
            await system.refresh()
            ending.push_async_callback(system.close)
        mix = Mix(PROVIDERS[:1] if small else PROVIDERS)
        for number in range(2 * len(PROVIDERS)):  # sessions open
            who = mix(number)
            await systems[who.agency].ask(
                Asked(agency=who.agency, user=who.user, provider=who.provider, due=time.time())
            )
        stage = Stage(federation, OpenLoad(systems, rate, mix), mix, say, small=small)
        ending.push_async_callback(stage.stop)
        say(f"asking {rate:g} questions a second")
        await asyncio.sleep(WARM_UP_SECONDS)
        yield stage


async def run(
    root: Path,
    rows: list[Row],
    *,
    rate: float,
    times: int,
    kinds: Sequence[str],
    quiet: float,
    say: Progress,
    small: bool = False,
) -> None:
    """Do each of `kinds` so many times; put a row for each into `rows`, and one before for a quiet time.

    In one federation after the other: for what is rotated, for what is revoked, for whole agencies. `small`:
    with as few processes as it takes. Raises `CommandFailed`, `NeverHappened`; the rows that are there then
    tell what was until then.
    """
    rotated = [kind for kind in kinds if kind in rotating.KINDS]
    apart = [kind for kind in kinds if kind == "agency"]
    revoked = [kind for kind in kinds if kind not in (*rotated, *apart)]
    parts = ([*rotated, *revoked], apart) if small else (rotated, revoked, apart)
    for number, some in enumerate(part for part in parts if part):
        agencies = times if some is apart else 0
        async with staged(root / f"f{number}", rate=rate, say=say, agencies=agencies, small=small) as stage:
            try:
                await stage.quiet(quiet)
                for kind in some:
                    await (stage.rotate if kind in rotating.KINDS else stage.revoke)(kind, times)
                await stage.verify()
            finally:
                rows += stage.rows
        await asyncio.to_thread(shutil.rmtree, root / f"f{number}")  # gigabytes


def told(row: Row) -> str:
    """Return a row as one line of progress."""
    text = f"  {row.kind}: {row.asked} asked, {row.complete} complete, {row.failed} FAILED, {row.late} late"
    if row.revoked is not None:
        text += (
            f", {row.revoked.late} answered later than {revoking.BOUND_SECONDS:g} s after the list arrived"
            f" ({row.revoked.late_first} than after it arrived at the first end)"
        )
    return "\n".join((text, *(f"    {count} x {fault}" for fault, count in row.faults.items())))


def table(rows: Sequence[Row]) -> str:
    """Return all rows as two tables in Markdown: what was rotated, what was revoked."""
    lines = [
        "| kind | done | asked | complete | failed | late | a second | p50 ms | p99 ms | CPU ms a question |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.what} | {row.done or ''} | {row.asked:,} | {row.complete:,} | {row.failed} | {row.late} "
        f"| {row.rate:.1f} | {row.p50_ms:.0f} | {row.p99_ms:.0f} | {row.cpu_ms:.1f} |"
        for row in rows
        if row.revoked is None
    ]
    revoked = [(row, row.revoked) for row in rows if row.revoked is not None]
    if revoked:
        lines += [
            "",
            "| revoked | times | last answer after arrival at the gateway s | at the first end s "
            "| after publication s | later than 1 s | at the first end | after publication | others asked "
            "| others failed | a second | p99 ms |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
    lines += [
        f"| {row.what} | {row.done} | {found.after_gateway:.2f} | {found.after_arrival:.2f} "
        f"| {found.after_publication:.2f} | {found.late} | {found.late_first} | {found.late_published} "
        f"| {row.asked - row.excused:,} | {row.failed} "
        f"| {row.rate:.1f} | {row.p99_ms:.0f} |"
        for row, found in revoked
    ]
    return "\n".join(lines)


def as_json(rows: Sequence[Row], *, rate: float, load_before: float) -> Mapping[str, object]:
    """Return everything for a script."""
    return {
        "rate": rate,
        "load_average_before": load_before,
        "good": all(row.is_good for row in rows),
        "rows": [{**asdict(row), "good": row.is_good} for row in rows],
    }


def main() -> int:
    """Run what the command line says; return the exit status."""
    known = (*rotating.KINDS, *revoking.KINDS)
    parser = argparse.ArgumentParser(
        prog="python -m tests.rotations",
        description="Rotate and revoke every kind of key while questions come by the clock.",
        epilog="Example: python -m tests.rotations --rate 50 --times 20 --kind leaf-adapter --kind subject",
    )
    parser.add_argument("--rate", type=float, default=50.0, help="questions a second (50)")
    parser.add_argument("--times", type=int, default=20, help=f"of each kind (20; at most {USERS - STEADY})")
    parser.add_argument("--kind", action="append", choices=known, help="repeat for more (all)")
    parser.add_argument("--quiet", type=float, default=20.0, help="seconds to measure without any (20)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    chosen = parser.parse_args()
    if (
        not 1 <= chosen.times <= USERS - STEADY
        or not 1 <= chosen.rate <= 1000
        or not 0 < chosen.quiet <= 3600
    ):
        parser.error(f"--times 1 to {USERS - STEADY}, --rate 1 to 1000 and --quiet up to 3600 are right")
    began, load_before = time.monotonic(), os.getloadavg()[0]

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", file=sys.stderr, flush=True)

    for ending in (signal.SIGINT, signal.SIGTERM):  # whatever started this: its processes end with it
        signal.signal(ending, signal.default_int_handler)
    kinds = [kind for kind in known if kind in (chosen.kind or known)]
    rows, given_up = list[Row](), False
    with tempfile.TemporaryDirectory(prefix="comity-rotations-") as folder:
        try:
            asyncio.run(
                run(
                    Path(folder),
                    rows,
                    rate=chosen.rate,
                    times=chosen.times,
                    kinds=kinds,
                    quiet=chosen.quiet,
                    say=say,
                )
            )
        except (CommandFailed, NeverHappened) as error:
            say(f"given up: {error}")
            given_up = True
        except KeyboardInterrupt:
            say("interrupted")
            given_up = True
    if chosen.json:
        print(json.dumps(as_json(rows, rate=chosen.rate, load_before=load_before), indent=2))
    else:
        print(table(rows))
    is_good = not given_up and all(row.is_good for row in rows)
    late = [row.what for row in rows if row.late > LATE_SHARE * row.asked]
    if late:
        say(
            f"the rate was not held, more than {LATE_SHARE:.0%} of the questions were late: {', '.join(late)}"
        )
    say("good" if is_good else "NOT good")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
