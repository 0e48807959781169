"""One log through several lives, each ended by a kill or a power loss, and what must be true after."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from unittest.mock import patch

from comity.audit import log as log_module
from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, open_checkpoint
from comity.audit.entry import parse_entry
from comity.audit.errors import LogUnwritable
from comity.audit.log import Promise, SignedLog
from comity.audit.note import LogKey
from comity.audit.openings import read_openings
from comity.audit.tiles import TileFolder
from comity.audit.trust import Trust, TrustedLog
from comity.audit.verify import verify_folders
from comity.audit.wal import WriteAheadFile
from tests.support.logs import asked, noon
from tests.support.power import PowerLossDisk

KEY = LogKey.generate("lapd.example/adapter")
TRUST = Trust(
    federation="test",
    roster_version=1,
    logs={
        KEY.origin: TrustedLog(origin=KEY.origin, agency="lapd", end="adapter", keys=(KEY.verifier,)),
    },
)
SEGMENT_BYTES = 4_000
"""Small, so that segments change and go while a test runs."""


def small_segments() -> contextlib.AbstractContextManager[object]:
    """Have logs begin a new segment every few entries."""
    small = partial(WriteAheadFile, segment_bytes=SEGMENT_BYTES)
    return patch.object(log_module, "WriteAheadFile", small)


class Witness:
    """Somebody who remembers what a log said: promises that it gave, and checkpoints."""

    def __init__(self, key: LogKey = KEY) -> None:
        self.key = key
        self.promised: dict[int, tuple[int, bytes]] = {}
        """By number of the entry: its index and its leaf hash."""
        self.roots: dict[int, bytes] = {}

    def promises(self, first: int, promises: Iterable[Promise]) -> None:
        for number, promise in enumerate(promises, first):
            self.promise(number, promise.index, promise.leaf_hash)

    def promise(self, number: int, index: int, leaf: bytes) -> None:
        assert number not in self.promised, f"entry {number} was promised twice"
        self.promised[number] = (index, leaf)

    def sees(self, note: bytes) -> Checkpoint:
        """Take a checkpoint: no other root was ever seen for its size."""
        seen = open_checkpoint(note, origin=self.key.origin, verifier_keys=[self.key.verifier])
        known = self.roots.setdefault(seen.size, seen.root)
        assert known == seen.root, f"two roots for size {seen.size}"
        return seen

    def looks_at(self, home: Path) -> None:
        """Take the checkpoint that lies there, if one does."""
        if (home / "log/checkpoint").exists():
            self.sees((home / "log/checkpoint").read_bytes())

    def judges(self, home: Path) -> None:
        """The log that is there now holds all that was promised, where it was, once, with its openings."""
        last = self.sees((home / "log/checkpoint").read_bytes())
        leaves = [leaf for _, leaf in TileFolder(home / "log").all_entries(last.size)]
        numbers = [parse_entry(leaf).public["number"] for leaf in leaves]
        assert len(set(numbers)) == len(numbers), "an entry stands twice"
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
        for number, (index, leaf) in self.promised.items():
            assert index < last.size, f"acknowledged entry {number} is lost"
            assert numbers[index] == number and hashes[index] == leaf, f"entry {number} isn't where it was"
        assert merkle.roots_at(hashes, self.roots) == self.roots
        openings = read_openings(home / "state.db")
        for index, leaf in enumerate(leaves):
            entry = parse_entry(leaf)
            opened = {entry.open(one) for one in openings[index].values()}
            assert f"8ABC{entry.public['number']:03d}" in opened
        trust = Trust(
            federation="test",
            roster_version=1,
            logs={
                self.key.origin: TrustedLog(
                    origin=self.key.origin, agency="lapd", end="adapter", keys=(self.key.verifier,)
                )
            },
        )
        found = verify_folders([home / "log"], trust)
        assert found.verified, [report.findings for report in found.logs]


async def live_and_lose_power(folder: Path, seed: int) -> None:
    """Have one log live a few lives, as the dice fall, and judge what is left. Raises `AssertionError`."""
    dice, witness = random.Random(seed), Witness()
    home, number = folder / "0", 0
    home.mkdir()
    disk = PowerLossDisk(home)
    with small_segments():
        for life in range(1, dice.randint(2, 4)):
            disk.live(dice.choice((dice.randint(1, 25), dice.randint(1, 160))))
            number = await _one_life(home, disk, witness, dice, number)
            witness.looks_at(home)
            if dice.random() < 0.6:  # else the process was killed, and the machine went on
                disk.materialize(folder / str(life), dice)
                home = folder / str(life)
                disk = PowerLossDisk(home)
        disk.materialize(folder / "last", dice)
        home = folder / "last"
        log = await SignedLog.open(home, origin=KEY.origin, key=KEY, clock=noon)
        witness.promises(number, await log.append(asked(number)))
        await log.close()
    witness.judges(home)


async def _one_life(
    home: Path, disk: PowerLossDisk, witness: Witness, dice: random.Random, number: int
) -> int:
    """Open, append and publish until a step fails; return the number of the next entry."""
    try:
        log = await SignedLog.open(home, origin=KEY.origin, key=KEY, clock=noon, disk=disk)
    except LogUnwritable:
        return number
    with contextlib.suppress(LogUnwritable):
        while True:
            count = dice.choice((1, 1, 2, 5, 40))
            first, number = number, number + count
            witness.promises(first, await log.append(*[asked(first + i) for i in range(count)]))
            if dice.random() < 0.5:
                witness.sees(await log.publish())
    with contextlib.suppress(LogUnwritable):
        await log.close()
    return number
