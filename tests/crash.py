"""Kill a process that appends to a log, again and again: `python -m tests.crash` (what `make crash` runs).

Each round starts a process on the log, with three writers; it is killed (SIGKILL) at some moment: while it
recovers, appends, publishes or changes segments. What it acknowledged before stands in a pipe. After every
round, and at the end of each log's life, it is held to that: nothing acknowledged is lost or stands twice,
promises are kept, and no size ever had two roots. While a process has the log, another is refused.

`--power` adds lives of logs whose machine loses its power: `tests.support.crashing`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import click

from comity.audit import log as log_module
from comity.audit.errors import LogInUse
from comity.audit.log import SignedLog
from tests.support.crashing import KEY, Witness, live_and_lose_power, small_segments
from tests.support.logs import asked, noon

ROUNDS_A_LOG = 25
_PROMISE = struct.Struct(">cQQ32s")
_NOTE = struct.Struct(">cQ")


async def _append_for_ever(home: Path, first: int, pipe: int) -> None:
    """Append, and say through the pipe what is promised and published, until somebody kills us."""
    log = await SignedLog.open(home, origin=KEY.origin, key=KEY, clock=noon)

    def published(note: bytes) -> None:
        os.write(pipe, _NOTE.pack(b"N", len(note)) + note)

    published(log.checkpoint())
    log.on_published(published)
    numbers = iter(range(first, 1 << 40))

    async def write(entries: int) -> None:
        while True:
            batch = [next(numbers) for _ in range(entries)]
            promises = await log.append(*map(asked, batch))
            told = (
                _PROMISE.pack(b"P", number, promise.index, promise.leaf_hash)
                for number, promise in zip(batch, promises, strict=True)
            )
            os.write(pipe, b"".join(told))

    await asyncio.gather(write(1), write(1), write(7))


def _child(home: Path, first: int, pipe: int) -> None:
    """What the forked process does; it never returns."""
    try:
        with (
            small_segments(),
            patch.object(log_module, "PUBLISH_DELAY", 0.002),
            patch.object(log_module, "PUBLISH_INTERVAL", 0.004),
        ):
            asyncio.run(_append_for_ever(home, first, pipe))
    except BaseException as problem:
        os.write(pipe, b"E" + repr(problem).encode())
    finally:
        os._exit(1)


def _round(home: Path, witness: Witness, first: int, dice: random.Random) -> tuple[int, bool]:
    """Start a process on the log and kill it; return how many entries it acknowledged, and if it had it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(home, first, writing)
    os.close(writing)
    said, refused = b"", False
    enough = dice.choice((0, 1, 10, 100, 300)) * _PROMISE.size  # 0: it is killed while it recovers
    while len(said) < enough and (more := os.read(reading, 1 << 16)):
        said += more
    if said and dice.random() < 0.2:
        refused = asyncio.run(_is_refused(home))
    time.sleep(dice.random() * dice.choice((0.003, 0.03, 0.1)))
    os.kill(child, signal.SIGKILL)
    while more := os.read(reading, 1 << 16):
        said += more
    os.close(reading)
    os.waitpid(child, 0)
    return _take(said, witness), refused


def _take(said: bytes, witness: Witness) -> int:
    """Have the witness remember what came through the pipe; what is not whole wasn't said."""
    position = promised = 0
    while position < len(said):
        match said[position : position + 1]:
            case b"P":
                if position + _PROMISE.size > len(said):
                    break
                _, number, index, leaf = _PROMISE.unpack_from(said, position)
                witness.promise(number, index, leaf)
                position, promised = position + _PROMISE.size, promised + 1
            case b"N":
                if position + _NOTE.size > len(said):
                    break
                _, length = _NOTE.unpack_from(said, position)
                note = said[position + _NOTE.size : position + _NOTE.size + length]
                if len(note) < length:
                    break
                witness.sees(note)
                position += _NOTE.size + length
            case _:
                raise AssertionError(said[position + 1 :].decode())
    return promised


async def _is_refused(home: Path) -> bool:
    try:
        await SignedLog.open(home, origin=KEY.origin, key=KEY, clock=noon)
    except LogInUse:
        return True
    raise AssertionError("two processes have one log")


async def _close(home: Path, witness: Witness, number: int) -> None:
    with small_segments():
        log = await SignedLog.open(home, origin=KEY.origin, key=KEY, clock=noon)
        witness.promises(number, await log.append(asked(number)))
        await log.close()


def kill_again_and_again(folder: Path, rounds: int, seed: int) -> dict[str, int]:
    """Run so many rounds and count what happened. Raises `AssertionError` where a log breaks its word."""
    dice = random.Random(seed)
    counts = {"rounds": 0, "acknowledged": 0, "checkpoints": 0, "second processes refused": 0}
    while counts["rounds"] < rounds:
        home, witness, number = folder / f"log-{counts['rounds']}", Witness(), 0
        for _ in range(min(ROUNDS_A_LOG, rounds - counts["rounds"])):
            promised, refused = _round(home, witness, number, dice)
            witness.looks_at(home)
            number = max((*witness.promised, number)) + 100  # what was in flight may stand in the log
            counts["rounds"] += 1
            counts["acknowledged"] += promised
            counts["second processes refused"] += refused
        asyncio.run(_close(home, witness, number))
        witness.judges(home)
        counts["checkpoints"] += len(witness.roots)
    return counts


@click.command()
@click.option("--rounds", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--power", type=click.IntRange(min=0), default=0, help="Lives with a power loss, besides.")
@click.option("--seed", type=int, default=20261122, show_default=True)
def main(rounds: int, power: int, seed: int) -> None:
    """Kill processes that append, and take their machine's power; exit 1 if a log breaks its word."""
    try:
        with tempfile.TemporaryDirectory(prefix="comity-crash-") as name:
            for what, count in kill_again_and_again(Path(name), rounds, seed).items():
                click.echo(f"{what}: {count:,}")
        for number in range(power):
            with tempfile.TemporaryDirectory(prefix="comity-power-") as name:
                try:
                    asyncio.run(live_and_lose_power(Path(name), seed + number))
                except Exception as problem:
                    raise AssertionError(f"power loss, seed {seed + number}: {problem}") from problem
            if number % 20 == 19 and sys.stderr.isatty():
                click.echo(f"\rlives with a power loss: {number + 1} of {power}", err=True, nl=False)
        if power:
            click.echo(f"lives with a power loss: {power:,}")
    except AssertionError as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo("nothing that was acknowledged is lost; no size has two roots")


if __name__ == "__main__":
    main()
