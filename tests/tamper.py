"""Change a log of 1,000 entries in every way, and have the auditor's verifier look: `python -m tests.tamper`.

Every byte of checkpoint, verifier key, tiles and bundles is flipped, one at a time. Every entry is dropped,
doubled, and swapped with the next by somebody who has no key: bundles alone, or with tiles that fit. The log
is rolled back to, and forked from, many sizes by its owner, who signs it again with the right key. Of each
change the public verifier (`comity.audit.verify`) must find something, and say what: the entry, or the file.

What doesn't depend on the change is computed once: hashes and the form of entries are remembered by their
bytes. The verifier runs whole, over the whole folder, each time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import click

from comity.audit import beside, merkle
from comity.audit.checkpoint import Checkpoint
from comity.audit.entry import Entry, seal_entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.tiles import TILE_WIDTH, Edge, TileFolder, TileName, encode_bundle
from comity.audit.trust import Trust, TrustedLog
from comity.audit.verify import verify_folders
from tests.support.logs import NOON, asked, noon

ENTRIES = 1_000
LARGE = 500
"""An entry of which a value stands beside the log."""
SEEN_AT = (1, 256, 700, ENTRIES)
"""Sizes of which the peer has a checkpoint."""
_NAMED = re.compile(r"entr(?:y (\d+)|ies (\d+) to (\d+))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """A provider's log, and the broker's, which saw checkpoints of it."""

    lapd: Path
    broker: Path
    trust: Trust
    key: LogKey

    def leaves(self) -> list[bytes]:
        return [leaf for _, leaf in TileFolder(self.lapd).all_entries(ENTRIES)]

    def findings(self, *, alone: bool = True) -> str:
        """Return what the verifier finds, a line each: in the log alone, or beside the broker's."""
        folders = [self.lapd] if alone else [self.lapd, self.broker]
        found = verify_folders(folders, self.trust)
        return "\n".join([*(line for log in found.logs for line in log.findings), *found.findings])


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, as it is told when it wasn't found."""

    what: str
    detail: str
    names: tuple[str, ...]
    """One of these must stand in a finding."""
    entry: int = -1
    """Or a finding names this entry."""

    def is_named_in(self, findings: str) -> bool:
        if any(name in findings for name in self.names):
            return True
        for one, first, last in _NAMED.findall(findings):
            if int(one or first) <= self.entry <= int(one or last):
                return True
        return False


def _entry(number: int) -> Entry:
    one = asked(number)
    return one if number != LARGE else replace(one, public={**one.public, "text": "large " * 11_000})


async def make_logs(folder: Path) -> Logs:
    """Write both logs as their ends do."""
    lapd, broker = LogKey.generate("lapd.example/adapter"), LogKey.generate("operator.example/broker")
    own = await SignedLog.open(folder / "lapd", origin=lapd.origin, key=lapd, clock=noon)
    peer = await SignedLog.open(folder / "broker", origin=broker.origin, key=broker, clock=noon)
    await peer.append(asked(0))
    size = 0
    for stop in SEEN_AT:
        await own.append(*map(_entry, range(size, stop)))
        note = (await own.publish()).decode()
        public = {"peer_origin": lapd.origin, "size": stop, "note": note}
        await peer.append(Entry(kind="checkpoint_seen", at=NOON, public=public))
        size = stop
    await own.close()
    await peer.close()
    trust = Trust(
        federation="test",
        roster_version=1,
        logs={
            key.origin: TrustedLog(origin=key.origin, agency=agency, end=end, keys=(key.verifier,))
            for key, agency, end in ((lapd, "lapd", "adapter"), (broker, "operator", "broker"))
        },
    )
    return Logs(lapd=folder / "lapd/log", broker=folder / "broker/log", trust=trust, key=lapd)


def remember() -> None:
    """Compute hashes and the form of entries once for the same bytes, in this process."""
    beside.parse_entry = lru_cache(maxsize=1 << 16)(beside.parse_entry)
    merkle.leaf_hash = lru_cache(maxsize=1 << 16)(merkle.leaf_hash)
    root = lru_cache(maxsize=1 << 12)(merkle.root)
    merkle.root = lambda hashes: root(tuple(hashes))


def files_of(log: Path) -> list[str]:
    """Return the names of a log's files."""
    return sorted(path.relative_to(log).as_posix() for path in log.rglob("*") if path.is_file())


def flips(logs: Logs, name: str, places: Sequence[int]) -> Iterator[tuple[Change, str]]:
    """Flip one bit of a file at each place, and yield what was found."""
    path = logs.lapd / name
    whole = path.read_bytes()
    entries = _entry_at(logs, name, whole)
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        yield _flip(name, place, entries), logs.findings()
    path.write_bytes(whole)


def _entry_at(logs: Logs, name: str, whole: bytes) -> list[int]:
    """Return, for a bundle or a level-0 tile, which entry each byte belongs to."""
    if not name.startswith(("tile/entries/", "tile/0/")):
        return []
    tile = TileName.parse(name)
    first = tile.index * TILE_WIDTH
    if tile.level == 0:
        return [first + place // 32 for place in range(len(whole))]
    leaves = logs.leaves()[first : first + tile.width]
    return [first + offset for offset, leaf in enumerate(leaves) for _ in range(len(leaf) + 2)]


def _flip(name: str, place: int, entries: list[int]) -> Change:
    named = {"checkpoint": ("checkpoint", "origin"), "vkey": ("`vkey`",)}.get(name, (f"`{name}`",))
    entry = LARGE if name.startswith(f"{beside.FOLDER}/") else entries[place] if entries else -1
    return Change(what=f"byte of `{name}`", detail=f"byte {place} of `{name}`", names=named, entry=entry)


def moved(logs: Logs, places: Sequence[int]) -> Iterator[tuple[Change, str]]:
    """Drop, double and swap entries, without a key; yield what was found."""
    whole = logs.leaves()
    kept = {name: (logs.lapd / name).read_bytes() for name in files_of(logs.lapd)}
    for place in places:
        ways = {
            "dropped": [*whole[:place], *whole[place + 1 :]],
            "doubled": [*whole[: place + 1], *whole[place:-1]],
            "swapped": [*whole[:place], *whole[place : place + 2][::-1], *whole[place + 2 :]],
        }
        for way, leaves in ways.items():
            if leaves == whole:  # the last entry has none to be swapped with, and doubling it is dropping it
                leaves = [*whole[:-2], whole[-1], whole[-2]] if way == "swapped" else [*whole, whole[-1]]
            for fits in (False, True):
                _write(logs, leaves, fits=fits)
                words = f"entry {place} {way}, {'tiles that fit' if fits else 'bundles alone'}"
                names = ("do not lead to the root", "are right") if fits or place == ENTRIES - 1 else ()
                near = min(place, ENTRIES - 2) if way == "swapped" else place + (way == "doubled")
                yield Change(what=f"entry {way}", detail=words, names=names, entry=near), logs.findings()
                for name, data in kept.items():
                    (logs.lapd / name).write_bytes(data)


def _write(logs: Logs, leaves: list[bytes], *, fits: bool) -> None:
    """Put other entries in the log's bundles; tiles too if they are to fit. The checkpoint stays."""
    for index in range(-(-ENTRIES // TILE_WIDTH)):
        width = min(TILE_WIDTH, ENTRIES - index * TILE_WIDTH)
        last = (index + 1) * TILE_WIDTH >= ENTRIES
        part = leaves[index * TILE_WIDTH :][: None if last else width]
        (logs.lapd / TileName(level=None, index=index, width=width).path).write_bytes(encode_bundle(part))
        if fits:
            hashes = [merkle.leaf_hash(leaf) for leaf in part]
            (logs.lapd / TileName(level=0, index=index, width=width).path).write_bytes(b"".join(hashes))


def rewritten(logs: Logs, sizes: Sequence[int]) -> Iterator[tuple[Change, str]]:
    """Roll the log back to sizes, and fork it there, signed with the right key; yield what was found."""
    whole = logs.leaves()
    for size in sizes:
        other = seal_entry(asked(size + 1_000_000)).leaf
        for way, leaves in {
            "rolled back": whole[:size],
            "forked": [*whole[:size], other, *whole[size + 1 :]],
            "forked and longer": [*whole[:size], other, *whole[size:]],
        }.items():
            shutil.rmtree(logs.lapd)
            edge, files = Edge().extend(leaves)
            for name, data in files.items():
                (logs.lapd / name).parent.mkdir(parents=True, exist_ok=True)
                (logs.lapd / name).write_bytes(data)
            (logs.lapd / "vkey").parent.mkdir(parents=True, exist_ok=True)
            (logs.lapd / "vkey").write_text(logs.key.verifier_key + "\n")
            note = Checkpoint(origin=logs.key.origin, size=edge.size, root=edge.root).sign(logs.key)
            (logs.lapd / "checkpoint").write_bytes(note)
            names = ("tail cut",) if way == "rolled back" else ("rewritten", "forked")
            yield Change(what=way, detail=f"{way} at {size}", names=names), logs.findings(alone=False)


def judge(changes: Iterator[tuple[Change, str]]) -> tuple[Counter[str], list[str]]:
    """Return how many changes of each kind there were, and what was not found or not named."""
    counts: Counter[str] = Counter()
    missed: list[str] = []
    for change, findings in changes:
        counts[change.what] += 1
        if not findings:
            missed.append(f"{change.detail}: nothing was found")
        elif not change.is_named_in(findings):
            missed.append(f"{change.detail}: found, but not named: {findings[:200]}")
    return counts, missed


_Job = tuple[str, Sequence[int]]


def jobs_of(logs: Logs, *, every: int = 1, stretch: int = 4_000) -> list[_Job]:
    """Return all that is to be tried, or a part of it, in pieces for processes."""
    jobs: list[_Job] = []
    for name in files_of(logs.lapd):
        step = every if name.startswith(("tile/entries", beside.FOLDER)) else max(1, every // 10)
        places = range(0, (logs.lapd / name).stat().st_size, step)
        jobs += [(name, places[i : i + stretch]) for i in range(0, len(places), stretch)]
    jobs.append(("moved", range(0, ENTRIES, every)))
    jobs.append(("rewritten", range(0, ENTRIES, max(7, every))))
    return jobs


def run(logs: Logs, job: _Job) -> tuple[Counter[str], list[str]]:
    """Do one piece of it on these logs, which are as they were after."""
    name, places = job
    if name == "moved":
        return judge(moved(logs, places))
    if name == "rewritten":
        with tempfile.TemporaryDirectory(prefix="comity-tamper-") as folder:
            copy = Path(folder) / "log"
            shutil.copytree(logs.lapd, copy)
            return judge(rewritten(_at(logs, copy), places))
    return judge(flips(logs, name, places))


def _at(logs: Logs, lapd: Path) -> Logs:
    return Logs(lapd=lapd, broker=logs.broker, trust=logs.trust, key=logs.key)


_mine: list[Logs] = []


def _begin(made: Path, folder: Path, key: Path, trust: Trust) -> None:
    """Give a process its own copy of the logs."""
    own = Path(tempfile.mkdtemp(dir=folder))
    shutil.copytree(made, own / "made")
    remember()
    _mine.append(
        Logs(
            lapd=own / "made/lapd/log",
            broker=own / "made/broker/log",
            trust=trust,
            key=LogKey.load(key, "lapd.example/adapter"),
        )
    )


def _run(job: _Job) -> tuple[Counter[str], list[str]]:
    return run(_mine[0], job)


@click.command()
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="1: each byte.")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True)
def main(every: int, jobs: int) -> None:
    """Change a log in every way; exit 1 if one is not found, or not named."""
    counts: Counter[str] = Counter()
    missed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="comity-tamper-") as name:
        folder = Path(name)
        logs = asyncio.run(make_logs(folder / "made"))
        assert not logs.findings(alone=False), "the honest logs don't verify"
        logs.key.save(folder / "log.key")
        pieces = jobs_of(logs, every=every)
        began = time.monotonic()
        with ProcessPoolExecutor(
            jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(folder / "made", folder, folder / "log.key", logs.trust),
        ) as pool:
            for done, (some, misses) in enumerate(pool.map(_run, pieces), 1):
                counts += some
                missed += misses
                if sys.stderr.isatty():
                    click.echo(f"\r{done} of {len(pieces)} pieces", err=True, nl=False)
    for what, count in sorted(counts.items()):
        click.echo(f"{count:>9,}  {what}")
    seconds = time.monotonic() - began
    click.echo(
        f"{sum(counts.values()):>9,}  changes in {seconds:,.0f} s, {len(missed)} not found or not named"
    )
    for line in missed[:50]:
        click.echo(line)
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
