"""The lying broker at random: exchange after exchange, each with other lies at other places.

`python -m tests.campaign --exchanges 10000 --jobs 2` runs so many on two cores (`make campaign`). It prints
how far it is, then what became of each lie; it ends with status 1 if anything was not as `lie_table` says.
What failed is told by seed and part: `--seed S --part P` runs that part alone, with the same lies.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import random
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

from comity.audit.trust import Trust, make_trust
from comity.audit.verify import find_logs, verify_folders
from comity.certs.authority import suspend
from comity.gateway.errors import RosterOutOfDate
from tests.simulator import Answer, FederationSimulator, lay_out, simulate
from tests.support.federation import FederationOnDisk, build_federation
from tests.support.judging import BROKERS_LOG, is_detected, is_named, require_sound
from tests.support.lie_table import (
    CLEAR,
    HARMLESS,
    LIES,
    PROVIDERS,
    RECORDS,
    REWRITES,
    ROSTER,
    SESSIONS,
    When,
    Who,
)
from tests.support.lies import Attack

SIMULATED = ("cbp", "dea", "lapd", "lahd", "sheriff")
PATIENCE = 30
"""Seconds more, of the federation's time, that a log which was rewritten may take to be found."""
EACH = 100
"""Exchanges in one federation, a part; then another begins, with new logs."""

HANDSHAKE_RECORD = 0x16
TOO_LATE = ("tells a provider that the asker has gone",)
"""Lies that change nothing where the answer was quicker."""


@dataclass
class Tally:
    """What was tried, and how it showed."""

    exchanges: int = 0
    pages: int = 0
    tried: Counter[str] = field(default_factory=Counter)
    at_once: Counter[str] = field(default_factory=Counter)
    """Shown in the answer of that exchange, or in a log by its end."""
    shown: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    """Told alone, and not without effect: then those whom the table names have to be named."""
    named: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another one's too."""
        self.exchanges += other.exchanges
        self.pages += other.pages
        for name in ("tried", "at_once", "shown", "alone", "named"):
            getattr(self, name).update(getattr(other, name))
        self.failed += other.failed

    def table(self) -> str:
        """Return a line for each lie."""
        who = {name: lie.who.value for name, lie in {**LIES, **REWRITES}.items()}
        lines = [f"{'lie':42} {'told':>6} {'shown':>6} {'at once':>7} {'alone':>6} {'named':>6}  who"]
        for name, tried in sorted(self.tried.items()):
            lines.append(
                f"{name:42} {tried:6} {self.shown[name]:6} {self.at_once[name]:7} {self.alone[name]:6} "
                f"{self.named[name]:6}  {who.get(name, 'the broker, or whoever serves the roster')}"
            )
        told = [name for name in self.tried if name not in HARMLESS]
        totals = [sum(counter[name] for name in told) for counter in (self.tried, self.shown, self.at_once)]
        lines.append(
            f"{self.exchanges} exchanges, {self.pages} pages shown; {totals[0]} lies that change something, "
            f"{totals[1]} shown, {totals[2]} of them at once; {sum(self.alone.values())} of them told alone, "
            f"{sum(self.named.values())} with the right ones named; {len(self.failed)} failures"
        )
        return "\n".join(lines)


async def run_part(
    laid_out: Path, work: Path, made: FederationOnDisk, *, seed: int, part: int, exchanges: int
) -> Tally:
    """Run one federation for so many exchanges. Raises AssertionError where a promise doesn't hold."""
    rng, tally = random.Random(f"{seed}/{part}"), Tally()
    root = work / f"part-{part}"
    shutil.copytree(laid_out, root)
    made = FederationOnDisk(root=root, spec=made.spec)
    trust = Trust.parse(make_trust(made.public))
    rewritten = rng.choice((None, *REWRITES))
    where = f"seed {seed}, part {part}"
    try:
        async with simulate(made, asking=("sheriff", "lahd")) as federation:
            federation.broker.random = rng
            for number in range(exchanges):
                try:
                    if await _exchange(federation, rng, tally):  # or the next lie is told in a session
                        assert await federation.recovers(), "does not recover"  # that is broken already
                except AssertionError as error:
                    raise AssertionError(f"{where}, exchange {number}: {error}") from error
            if rewritten is not None:
                await _rewritten(federation, rewritten, rng, tally, where)
            await _another_roster(federation, rng.choice(ROSTER), work / f"old-{part}", tally, where)
        reports = verify_folders(find_logs([root]), trust)
        accused = {report.origin for report in reports.logs if not report.verified}
        assert len(reports.logs) == 7, where
        assert accused == ({BROKERS_LOG} if rewritten else set()), f"{where}: {rewritten}, {reports}"
    finally:
        shutil.rmtree(root)
    return tally


async def _exchange(federation: FederationSimulator, rng: random.Random, tally: Tally) -> bool:
    """One exchange with up to two lies; return whether a lie about sessions had an effect."""
    names = _draw(rng)
    lies = {name: LIES[name] for name in names}
    of = rng.choice(PROVIDERS)
    # with fresh sessions there is a handshake to lie in; nothing of the old ones is on its way
    if rng.random() < 0.3 or any(lie.opens for lie in lies.values()):
        federation.forgets_sessions()
        await federation.passes(seconds=0.1)
    before, warned = federation.positions(), len(federation.warnings)
    attacks: dict[str, Attack] = {}
    for name, lie in lies.items():
        told = lie.tell(federation, of, rng)
        attacks[name] = await told if inspect.isawaitable(told) else told
    days = rng.choice((1, 1, 1, 1, 1, 30))
    second = next((lie.second for lie in lies.values() if lie.second), "")
    answers = await _asks(federation, days, second)
    answer = answers[0]
    tally.exchanges += len(answers)
    await federation.passes(seconds=max((lie.waits for lie in lies.values()), default=0))
    tally.pages += sum(len(one.pages) for one in answer.outcomes.values())
    flipped = [flip for attack in attacks.values() for flip in attack.flipped]
    where = f"{names} of {of}: {answer.kinds}, {answer.findings}, {answer.error!r}, flipped {flipped}"
    _require_promises(federation, answer, attacks, where)
    federation.broker.is_honest_again()
    await federation.pardons()
    happened = {name: attack for name, attack in attacks.items() if attack.happened}
    effective = [name for name, attack in happened.items() if not _is_harmless(name, attack)]
    if not attacks:
        assert answer.is_whole or await federation.recovers(), where
    seen = {name: is_detected(federation, LIES[name], [answer], before, warned) for name in happened}
    named = _named(federation, happened, effective, of, [answer], before, warned)
    at_once = dict(seen)
    if effective and not (all(seen[name] for name in effective) and named):
        later = LIES[effective[0]].when is When.NEXT or len(names) > 1
        assert later, f"{where}: not at once"
        again = await federation.search(days=1)  # the next record shows it at the latest
        both = [answer, again]
        seen = {name: is_detected(federation, LIES[name], both, before, warned) for name in happened}
        named = _named(federation, happened, effective, of, both, before, warned)
    assert all(seen[name] for name in effective), f"{where}: not detected"
    assert named or len(effective) != 1 or len(names) != 1, f"{where}: the wrong ones are named"
    for name in happened:
        tally.tried[name] += 1
        tally.shown[name] += seen[name]
        tally.at_once[name] += at_once[name]
        if len(names) == 1 and name in effective:
            tally.alone[name] += 1
            tally.named[name] += named
    return any(name in SESSIONS or LIES[name].when is When.NEXT for name in happened)


async def _asks(federation: FederationSimulator, days: int, second: str) -> list[Answer]:
    """The sheriff asks all; where two exchanges are needed another question is asked at the same time."""
    match second:
        case "":
            return [await federation.search(days=days)]
        case "sheriff":
            return list(await asyncio.gather(federation.search(days=days), federation.search(days=days)))
        case _:
            both = federation.search(days=days), federation.search(days=days, by=second)
            return list(await asyncio.gather(*both))


def _require_promises(
    federation: FederationSimulator, answer: Answer, attacks: dict[str, Attack], where: str
) -> None:
    """What holds whatever the broker does, beside what the simulator checks of every answer."""
    assert "UNVERIFIABLE" not in answer.kinds.values(), where  # no honest provider is called a liar
    require_sound(federation, answer)
    assert answer.seconds < 5, where
    assert not any(attack.got for attack in attacks.values()), where


def _named(
    federation: FederationSimulator,
    happened: dict[str, Attack],
    effective: list[str],
    of: str,
    answers: list[Answer],
    before: dict[str, int],
    warned: int,
) -> bool:
    """Whether the only lie that had an effect is laid at the right door; of two, one may hide the other."""
    if len(effective) != 1 or len(happened) != 1:
        return True
    [name] = effective
    return is_named(federation, LIES[name], happened[name], of, answers, before, warned)


async def _rewritten(
    federation: FederationSimulator, name: str, rng: random.Random, tally: Tally, where: str
) -> None:
    """The broker shows another log than it had; every end that has one of its checkpoints must hold both."""
    assert await federation.recovers(), where
    before, warned = federation.positions(), len(federation.warnings)
    attack = REWRITES[name].tell(federation, "lapd", rng)
    answer = await federation.search()
    await federation.passes(seconds=REWRITES[name].waits)
    assert isinstance(attack, Attack) and attack.happened, where
    for _ in range(PATIENCE):  # proofs are made on threads, whose time isn't the federation's
        if is_detected(federation, REWRITES[name], [answer], before, warned):
            break
        await federation.passes(seconds=1)
    assert is_detected(federation, REWRITES[name], [answer], before, warned), f"{where}: {name}"
    federation.broker.is_honest_again()
    await federation.pardons()
    tally.exchanges += 1
    for counter in (tally.tried, tally.at_once, tally.shown, tally.alone, tally.named):
        counter[name] += 1


async def _another_roster(
    federation: FederationSimulator, name: str, old: Path, tally: Tally, where: str
) -> None:
    """Whoever serves the roster serves an older one, or none any more: the last exchanges of a federation."""
    made, warned = federation.made, len(federation.warnings)
    if name == "rolls the roster back":
        shutil.copytree(made.public, old)
        suspend(made.root, "dea", federation.clock())
        await federation.passes(seconds=4)
        assert "dea" not in (await federation.search()).outcomes, where
        shutil.copytree(old, made.public, dirs_exist_ok=True)
        shutil.rmtree(old)
        await federation.passes(seconds=4)
        answer = await federation.search()
        assert "dea" not in answer.outcomes, f"{where}: a suspended member is back"
        assert any("roster" in line for line in federation.warnings[warned:]), where
    else:
        roster = made.federation(federation.clock())
        asked = {agency: provider.asked for agency, provider in federation.providers.items()}
        left = roster.trusted_until - federation.clock() + timedelta(seconds=2)
        federation.clock.jump(left.total_seconds())
        await federation.passes(seconds=2)
        answer = await federation.search()
        assert isinstance(answer.error, RosterOutOfDate), where
        assert {agency: each.asked for agency, each in federation.providers.items()} == asked, where
    tally.exchanges += 1
    for counter in (tally.tried, tally.at_once, tally.shown, tally.alone, tally.named):
        counter[name] += 1


def _draw(rng: random.Random) -> list[str]:
    """Return no lie, one, or one about records and one in clear: two in clear may undo each other."""
    match rng.choice((0, 1, 1, 1, 1, 2)):
        case 0:
            return []
        case 1:
            return [rng.choice(list(LIES))]
        case _:
            alone = [name for name, lie in {**CLEAR, **HARMLESS}.items() if not lie.second]
            return [rng.choice(list(RECORDS)), rng.choice(alone)]


def _is_harmless(name: str, attack: Attack) -> bool:
    """Whether a lie may stay unnoticed, because it changes nothing.

    Repeats and short delays; and the two bytes of a handshake record that RFC 8446, section 5.1, has the
    receiver ignore.
    """
    ignored = all(kind == HANDSHAKE_RECORD and place in (1, 2) for kind, place in attack.flipped)
    harmless = LIES[name].who is Who.NOBODY
    return harmless or name in TOO_LATE or (bool(attack.flipped) and ignored)


# -- the long run ------------------------------------------------------------------------------------


def _part(seed: int, part: int, exchanges: int) -> Tally:
    """Run one part in a process of its own; what fails is told, and ends this part alone."""
    with tempfile.TemporaryDirectory(prefix="comity-campaign-") as folder:
        now = datetime.now(UTC)
        made = build_federation(Path(folder) / "f", now, SIMULATED)
        lay_out(made, now)
        running = run_part(made.root, Path(folder), made, seed=seed, part=part, exchanges=exchanges)
        try:
            return asyncio.run(running)
        except Exception as error:  # a part that failed is reported; the others go on
            traceback.print_exc()
            return Tally(failed=[f"seed {seed}, part {part}: {type(error).__name__}: {error}"])


def run(*, exchanges: int, jobs: int, seed: int, only: int | None, say: Callable[[str], None]) -> Tally:
    """Run all parts, `jobs` at a time, and say after each how long the rest will take."""
    parts = [(part, min(EACH, exchanges - part * EACH)) for part in range(-(-exchanges // EACH))]
    if only is not None:
        parts = [(part, count) for part, count in parts if part == only]
    tally, began, done = Tally(), time.monotonic(), 0
    say(f"seed {seed}: {sum(count for _, count in parts)} exchanges in {len(parts)} parts, {jobs} at a time")
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_part, seed, part, count): part for part, count in parts}
        for future in as_completed(running):
            tally.add(future.result())
            done += 1
            took = time.monotonic() - began
            left = took / done * (len(parts) - done)
            say(
                f"part {running[future]:4}: {done} of {len(parts)} done, {tally.exchanges} exchanges, "
                f"{len(tally.failed)} failures, {took / 60:.1f} min, about {left / 60:.0f} min to go"
            )
            if done % 10 == 0 and done < len(
                parts
            ):  # a run that is stopped has told what it found until then
                say(tally.table())
    return tally


def main() -> int:
    """Run the campaign as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.split("\n")[0])
    parser.add_argument("--exchanges", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--part", type=int, default=None, help="this part alone")
    options = parser.parse_args()
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    tally = run(
        exchanges=options.exchanges, jobs=options.jobs, seed=options.seed, only=options.part, say=print
    )
    print(tally.table())
    for line in tally.failed:
        print(f"FAILED {line}")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
