"""A log that is killed, loses power or disk: what it acknowledged stays, and it goes on by itself (L2).

`make crash` runs many more of the same.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from comity.audit import log as log_module
from comity.audit.disk import Disk
from comity.audit.entry import Entry, from_milliseconds, parse_entry
from comity.audit.errors import LogDamaged, LogUnwritable
from comity.audit.log import SignedLog
from comity.audit.tiles import TileFolder
from comity.audit.wal import WriteAheadFile
from tests.crash import kill_again_and_again
from tests.support.crashing import KEY, Witness, live_and_lose_power, small_segments
from tests.support.logs import NOON, asked, noon
from tests.support.power import PowerLossDisk


def test_process_that_is_killed_a_dozen_times_keeps_its_word(tmp_path: Path) -> None:
    """SIGKILL while it recovers, appends, publishes; a second process is refused meanwhile (L2)."""
    counts = kill_again_and_again(tmp_path, rounds=12, seed=7)
    assert counts["acknowledged"] > 100
    assert counts["second processes refused"]


@pytest.mark.parametrize("seed", [9, 21, 45, 47, 58, 20261420, 30000651])
def test_machine_that_loses_its_power_keeps_the_logs_word(tmp_path: Path, seed: int) -> None:
    """What wasn't synced is lost, there, or half there, as the dice fall; some lives end in a kill (L2)."""
    asyncio.run(live_and_lose_power(tmp_path, seed))


async def opened(home: Path, disk: Disk | None = None) -> SignedLog:
    return await SignedLog.open(home, origin=KEY.origin, key=KEY, clock=noon, disk=disk)


class HastyDisk(Disk):
    """A disk that says it is done before it is: quicker, where nothing is taken from it."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


async def test_tail_cut_at_every_byte_of_the_last_records(tmp_path: Path) -> None:
    """Any part of what was never acknowledged may be there: the log goes on behind the rest."""
    log = await opened(tmp_path)
    witness = Witness()
    witness.promises(0, await log.append(asked(0)))
    (segment,) = (tmp_path / "wal").glob("*.wal")
    acknowledged = segment.stat().st_size
    mark = (tmp_path / "wal/acknowledged").read_bytes()
    await log.append(asked(1), asked(2))
    await log._abandon()
    whole = segment.read_bytes()
    for end in range(acknowledged, len(whole)):
        segment.write_bytes(whole[:end])
        (tmp_path / "wal/acknowledged").write_bytes(mark)
        wal = WriteAheadFile(tmp_path / "wal", disk=HastyDisk())
        found = wal.open(published=0)
        assert [frame.index for frame in found] in ([0], [0, 1])
        assert wal.write([b"next"]) == len(found)
        wal.close()
    segment.write_bytes(whole[:-1])
    (tmp_path / "wal/acknowledged").write_bytes(mark)
    log = await opened(tmp_path)
    witness.promises(3, await log.append(asked(3)))
    await log.close()
    witness.judges(tmp_path)


async def test_tail_cut_at_every_byte_before_what_was_acknowledged_is_refused(tmp_path: Path) -> None:
    """What was acknowledged and isn't there any more is said, and never written over."""
    log = await opened(tmp_path)
    await log.append(asked(0))
    await log.append(asked(1))
    await log._abandon()
    (segment,) = (tmp_path / "wal").glob("*.wal")
    whole = segment.read_bytes()
    for end in range(len(whole)):
        segment.write_bytes(whole[:end])
        with pytest.raises(LogDamaged):
            WriteAheadFile(tmp_path / "wal", disk=HastyDisk()).open(published=0)


class BrokenDisk(Disk):
    """A disk on which one kind of step fails until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: frozenset[str] = frozenset()
        self.problem = 0
        self.failed = 0

    def breaks(self, problem: int, *steps: str) -> None:
        self.problem, self.broken = problem, frozenset(steps)

    def _step(self, name: str) -> None:
        if name in self.broken:
            self.failed += 1
            raise OSError(self.problem, os.strerror(self.problem))

    def open_for_writing(self, path: Path, mode: int) -> int:
        self._step("open")
        return super().open_for_writing(path, mode)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        if "write" in self.broken:
            super().write_at(descriptor, data[: len(data) // 2], offset)
        self._step("write")
        super().write_at(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._step("fsync")
        super().sync(descriptor)

    def create(self, path: Path, data: bytes, mode: int) -> None:
        descriptor = self.open_for_writing(path, mode)
        try:
            os.ftruncate(descriptor, 0)
            self.write_at(descriptor, data, 0)
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._step("fsync of a folder")
        super().sync_folder(folder)

    def make_one(self, folder: Path, mode: int) -> None:
        self._step("mkdir")
        super().make_one(folder, mode)


STEPS = ("open", "write", "fsync", "rename", "fsync of a folder", "mkdir")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logs publish soon, and change segments often."""
    monkeypatch.setattr(log_module, "PUBLISH_DELAY", 0.001)
    monkeypatch.setattr(log_module, "PUBLISH_INTERVAL", 0.002)
    with small_segments():
        yield


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", STEPS)
async def test_step_that_fails_is_tried_again_until_the_disk_is_well(
    tmp_path: Path, step: str, problem: int
) -> None:
    """No space, or a fault, in one kind of step while entries come and are published; nobody does a thing.

    Nothing is acknowledged that isn't there at the end, no size has two roots, and all is published once
    the disk takes it again.
    """
    disk, witness, number = BrokenDisk(), Witness(), 0
    log = await opened(tmp_path, disk)
    log.on_published(lambda note: witness.sees(note) and None)
    for _ in range(2):
        for broken in (True, False):
            disk.breaks(problem, *([step] if broken else []))
            for _ in range(20):
                number += 1
                try:
                    witness.promises(number, await log.append(asked(number)))
                except LogUnwritable:
                    assert broken
                await asyncio.sleep(0.001)
            witness.looks_at(tmp_path)
    assert disk.failed
    disk.breaks(0)
    witness.promises(0, await log.append(asked(0)))
    async with asyncio.timeout(30):
        while log.published_size < log.size:  # by itself
            await asyncio.sleep(0.005)
    await log.close()
    witness.judges(tmp_path)


@pytest.mark.usefixtures("quick")
async def test_openings_that_cannot_be_written_hold_the_checkpoint_back(tmp_path: Path) -> None:
    """Entries are acknowledged, openings wait in the write-ahead file; all is published once it can be."""
    witness = Witness()
    log = await opened(tmp_path)
    witness.promises(0, await log.append(asked(0)))
    await log.publish()
    state, aside = tmp_path / "state.db", tmp_path / "aside"
    state.rename(aside)
    state.mkdir()
    witness.promises(1, await log.append(asked(1)))
    with pytest.raises(LogUnwritable):
        await log.publish()
    assert log.published_size == 1
    await log._abandon()  # a restart changes nothing
    with pytest.raises(LogUnwritable):
        await opened(tmp_path)
    state.rmdir()
    aside.rename(state)
    log = await opened(tmp_path)
    witness.promises(2, await log.append(asked(2)))
    async with asyncio.timeout(30):
        while log.published_size < 3:
            await asyncio.sleep(0.005)
    await log.close()
    witness.judges(tmp_path)


async def test_segment_that_was_begun_and_left_is_no_gap(tmp_path: Path) -> None:
    """A new segment that couldn't be begun for good stays behind; entries go on in the old one."""
    disk, witness = BrokenDisk(), Witness()
    with small_segments():
        log = await opened(tmp_path, disk)
        disk.breaks(errno.EIO, "fsync of a folder")
        for number in range(12):
            witness.promises(number, await log.append(asked(number)))
        assert disk.failed
        await log._abandon()
        assert len(list((tmp_path / "wal").glob("*.wal"))) > 1
        log = await opened(tmp_path)
        witness.promises(12, await log.append(asked(12)))
        await log.close()
    witness.judges(tmp_path)


async def test_segment_that_was_removed_and_is_there_again_is_no_gap(tmp_path: Path) -> None:
    """The removal of an old segment wasn't synced, that of a later one was: all of it is published."""
    witness, kept = Witness(), dict[Path, bytes]()
    with small_segments():
        log = await opened(tmp_path)
        for number in range(40):
            witness.promises(number, await log.append(asked(number)))
            if number == 5:
                kept = {path: path.read_bytes() for path in (tmp_path / "wal").glob("*.wal")}
        await log.close()
        for path, data in kept.items():
            assert not path.exists()
            path.write_bytes(data)
        log = await opened(tmp_path)
        assert not any(path.exists() for path in kept)  # it holds openings, which were to go
        witness.promises(40, await log.append(asked(40)))
        await log.close()
    witness.judges(tmp_path)


async def test_tile_of_an_attempt_that_failed_is_durable_before_the_checkpoint(tmp_path: Path) -> None:
    """A tile whose name wasn't synced is there at the next attempt: it must be there after a power loss."""

    home = tmp_path / "home"
    home.mkdir()
    disk = PowerLossDisk(home)
    log = await opened(home, disk)
    witness = Witness()
    witness.promises(0, await log.append(asked(0)))
    real, fails = disk.sync_folder, [True]

    def once(folder: Path) -> None:
        if fails and folder.name == "000.p":
            fails.pop()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(folder)

    disk.sync_folder = once  # type: ignore[method-assign]
    with pytest.raises(LogUnwritable):
        await log.publish()
    witness.sees(await log.publish())
    for seed in range(8):
        after = tmp_path / f"after-{seed}"
        disk.materialize(after, random.Random(seed))
        again = await opened(after)
        await again.close()
        witness.judges(after)
    await log.close()


async def test_clock_that_jumps_back_changes_no_order(tmp_path: Path) -> None:
    """Entries stand in the order in which they came, each with the time that the clock told (L1)."""
    times = iter([NOON, NOON - timedelta(days=2), NOON + timedelta(days=1), NOON - timedelta(seconds=1)])
    log = await SignedLog.open(tmp_path, origin=KEY.origin, key=KEY, clock=lambda: next(times))
    entries: list[Entry] = []
    witness = Witness()
    for number in range(4):
        entries.append(log.entry("asked", public={"number": number}, private={"plate": f"8ABC{number:03d}"}))
        witness.promises(number, await log.append(entries[-1]))
        witness.sees(await log.publish())
    await log.close()
    witness.judges(tmp_path)
    leaves = [parse_entry(leaf) for _, leaf in TileFolder(tmp_path / "log").all_entries(4)]
    assert [leaf.at for leaf in leaves] == [entry.at for entry in entries]
    assert leaves[1].at < leaves[0].at and leaves[0].at == from_milliseconds(1772452800000)
