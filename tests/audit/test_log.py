"""The signed log: durable before it says so, whatever stops it; one root for one size (L1, L2)."""

import asyncio
import base64
import contextlib
import errno
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, open_checkpoint
from comity.audit.disk import Disk
from comity.audit.entry import Entry, parse_entry
from comity.audit.errors import (
    EntryInvalid,
    LogClosed,
    LogDamaged,
    LogInUse,
    LogUnwritable,
    NoteInvalid,
)
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.openings import read_openings
from comity.audit.tiles import TileFolder
from tests.support.logs import asked, noon

KEY = LogKey.generate("lapd.example/adapter")


class FailingDisk(Disk):
    """A disk whose step number `fails_at` fails, and each one after it: the machine lost its power there.

    With `lasting` false only that one step fails, as on a full disk.
    """

    def __init__(self, fails_at: int = -1, *, lasting: bool = True, problem: int = errno.EIO) -> None:
        super().__init__()
        self.steps = 0
        self.fails_at = fails_at
        self.lasting = lasting
        self.problem = problem

    def _step(self) -> None:
        self.steps += 1
        over = self.steps >= self.fails_at if self.lasting else self.steps == self.fails_at
        if self.fails_at >= 0 and over:
            raise OSError(self.problem, os.strerror(self.problem))

    def open_for_writing(self, path: Path, mode: int) -> int:
        self._step()
        return super().open_for_writing(path, mode)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        try:
            self._step()
        except OSError:
            super().write_at(descriptor, data[: len(data) // 2], offset)
            raise
        super().write_at(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._step()
        super().sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        self._step()
        super().truncate(descriptor, size)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        super().sync_folder(folder)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)


async def opened(home: Path, disk: Disk | None = None, key: LogKey = KEY) -> SignedLog:
    return await SignedLog.open(home, origin=key.origin, key=key, clock=noon, disk=disk)


async def leave(log: SignedLog) -> None:
    """Let go of a log whose disk may be gone."""
    with contextlib.suppress(LogUnwritable):
        await log.close()


def head(home: Path) -> Checkpoint:
    note = (home / "log/checkpoint").read_bytes()
    return open_checkpoint(note, origin=KEY.origin, verifier_keys=[KEY.verifier])


def numbers(home: Path) -> list[object]:
    """The numbers of the entries that the published log holds, its root checked."""
    checkpoint = head(home)
    leaves = [leaf for _, leaf in TileFolder(home / "log").all_entries(checkpoint.size)]
    assert merkle.root_of(leaves) == checkpoint.root
    return [parse_entry(leaf).public["number"] for leaf in leaves]


async def test_what_is_acknowledged_is_promised_and_published(tmp_path: Path) -> None:
    """Promises give each entry's index and leaf hash; checkpoint and tiles keep them (L1)."""
    log = await opened(tmp_path)
    promises = await log.append(asked(0), asked(1))
    promises += await log.append(asked(2))
    assert [promise.index for promise in promises] == [0, 1, 2]
    note = await log.publish()
    leaves = [leaf for _, leaf in TileFolder(tmp_path / "log").all_entries(3)]
    assert [merkle.leaf_hash(leaf) for leaf in leaves] == [promise.leaf_hash for promise in promises]
    assert note == (tmp_path / "log/checkpoint").read_bytes() == log.checkpoint()
    await log.close()
    assert (tmp_path / "log/vkey").read_text() == KEY.verifier_key + "\n"


async def test_a_new_log_has_a_checkpoint_of_nothing(tmp_path: Path) -> None:
    """Before the first entry there is a signed checkpoint of size 0."""
    log = await opened(tmp_path)
    assert head(tmp_path).size == 0
    await log.close()


async def test_a_log_goes_on_where_it_was(tmp_path: Path) -> None:
    """Closing and opening changes nothing: same entries, same counts, next index."""
    for number in range(3):
        log = await opened(tmp_path)
        assert log.size == number
        assert (await log.append(asked(number)))[0].index == number
        await log.close()
    assert numbers(tmp_path) == [0, 1, 2]


async def test_appends_that_come_together_keep_their_order(tmp_path: Path) -> None:
    """Many at once are written in the order in which they were called, each with its own promise."""
    log = await opened(tmp_path)
    results = await asyncio.gather(*[log.append(asked(number)) for number in range(400)])
    assert [promise.index for [promise] in results] == list(range(400))
    await log.close()
    assert numbers(tmp_path) == list(range(400))


async def test_a_caller_that_gives_up_does_not_disturb_the_others(tmp_path: Path) -> None:
    """A cancelled append takes nobody with it; its entry may be there or not, and the order holds."""
    log = await opened(tmp_path)
    tasks = [asyncio.create_task(log.append(asked(number))) for number in range(20)]
    await asyncio.sleep(0)
    tasks[7].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[7], asyncio.CancelledError)
    assert sum(isinstance(result, list) for result in results) == 19
    await log.close()
    found = numbers(tmp_path)
    assert set(range(20)) - {7} <= set(found)


@given(fails_at=st.integers(1, 60), batches=st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_whatever_was_acknowledged_is_there_after_a_crash_at_any_step(
    tmp_path_factory: pytest.TempPathFactory, fails_at: int, batches: list[int]
) -> None:
    """Power goes at any step of any write: what was acknowledged is there, openings too (L2)."""
    home = tmp_path_factory.mktemp("end")

    async def scenario() -> None:
        acknowledged: list[int] = []
        number = 0
        try:
            log = await opened(home, FailingDisk(fails_at))
        except LogUnwritable:
            log = None
        if log is not None:
            for batch in batches:
                entries = [asked(number + i) for i in range(batch)]
                try:
                    await log.append(*entries)
                    acknowledged += range(number, number + batch)
                    await log.publish()
                except LogUnwritable:
                    pass
                number += batch
            await leave(log)
        roots = {head(home).size: head(home).root} if (home / "log/checkpoint").exists() else {}
        log = await opened(home)
        await log.append(asked(1000))
        await log.close()
        found = numbers(home)
        assert found[:-1] == acknowledged or (
            found[: len(acknowledged)] == acknowledged and len(found) - 1 <= number
        )
        leaves = [leaf for _, leaf in TileFolder(home / "log").all_entries(len(found))]
        for size, root in roots.items():
            assert merkle.root_of(leaves[:size]) == root
        openings = read_openings(home / "state.db")
        for index, leaf in enumerate(leaves):
            entry = parse_entry(leaf)
            assert {entry.open(o) for o in openings[index].values()} == {
                f"8ABC{entry.public['number']:03d}",
                "26-0417",
            }

    asyncio.run(scenario())


@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EROFS, errno.EIO])
async def test_a_disk_that_refuses_is_said_and_recovers_by_itself(tmp_path: Path, problem: int) -> None:
    """Nothing is acknowledged while the log can't be written; once it can, it goes on, without a gap (L2)."""
    disk = FailingDisk(problem=problem)
    log = await opened(tmp_path, disk)
    await log.append(asked(0))
    disk.steps, disk.fails_at = 0, 1
    for number in (1, 2):
        with pytest.raises(LogUnwritable, match=os.strerror(problem).lower()):
            await log.append(asked(number))
    assert log.size == 1
    disk.fails_at = -1
    assert (await log.append(asked(3)))[0].index == 1
    await log.close()
    assert numbers(tmp_path) == [0, 3]


@pytest.mark.parametrize("step", range(1, 5))
async def test_one_failed_step_leaves_nothing_behind(tmp_path: Path, step: int) -> None:
    """Half a frame, written before the failure, is cut before the next one is written."""
    disk = FailingDisk(lasting=False, problem=errno.ENOSPC)
    log = await opened(tmp_path, disk)
    await log.append(asked(0))
    disk.steps, disk.fails_at = 0, step
    kept = [0]
    for number in (1, 2, 3):
        try:
            await log.append(asked(number))
            kept.append(number)
        except LogUnwritable:
            continue
    disk.fails_at = -1
    await log.close()
    assert numbers(tmp_path) == kept


async def test_fault_while_publishing_is_logged_without_its_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault's own text could hold a private value: the process log gets its kind, and it is tried again."""
    log = await opened(tmp_path)
    publish = log.publish
    fails = [True]

    async def once() -> bytes:
        if fails.pop() if fails else False:
            raise ValueError("8ABC123 of j.ortega")
        return await publish()

    monkeypatch.setattr(log, "publish", once)
    await log.append(asked(0))
    async with asyncio.timeout(20):
        while log.published_substantive_size < 1:
            await asyncio.sleep(0.05)
    await log.close()
    assert "ValueError" in caplog.text
    assert "8ABC123" not in caplog.text and "j.ortega" not in caplog.text


async def test_tiles_that_cannot_be_written_do_not_stop_appends(tmp_path: Path) -> None:
    """Acknowledgement needs the write-ahead file only; publishing fails, says so, and succeeds later."""
    log = await opened(tmp_path)
    await log.append(asked(0))
    (tmp_path / "log/tile").write_bytes(b"a file where a folder should be")
    with pytest.raises(LogUnwritable, match="nothing was published"):
        await log.publish()
    assert (await log.append(asked(1)))[0].index == 1
    (tmp_path / "log/tile").unlink()
    await log.publish()
    await log.close()
    assert numbers(tmp_path) == [0, 1]


async def test_a_write_ahead_file_that_was_removed_is_noticed(tmp_path: Path) -> None:
    """An append into a file that nobody will find again is not acknowledged."""
    log = await opened(tmp_path)
    await log.append(asked(0))
    for path in (tmp_path / "wal").glob("*.wal"):
        path.unlink()
    with pytest.raises(LogUnwritable):
        await log.append(asked(1))
    await leave(log)


async def test_two_processes_never_write_one_log(tmp_path: Path) -> None:
    """A second opening is refused while the first holds the log, and works afterwards."""
    log = await opened(tmp_path)
    with pytest.raises(LogInUse):
        await opened(tmp_path)
    await log.close()
    await leave(await opened(tmp_path))


async def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    """After closing, appends are refused; closing again is no error."""
    log = await opened(tmp_path)
    await log.close()
    await log.close()
    with pytest.raises(LogClosed):
        await log.append(asked(0))


async def test_an_entry_that_is_too_long_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """The batch it came with isn't written either."""
    log = await opened(tmp_path)
    with pytest.raises(EntryInvalid):
        await log.append(asked(0), Entry(kind="asked", at=noon(), public={"x" * 70_000: "text"}))
    assert log.size == 0
    await log.close()


async def test_another_key_does_not_continue_a_log(tmp_path: Path) -> None:
    """A log is continued under its own key or not at all: two keys never sign one log."""
    await (await opened(tmp_path)).close()
    with pytest.raises(LogDamaged, match="vkey"):
        await opened(tmp_path, key=LogKey.generate(KEY.origin))
    with pytest.raises(NoteInvalid):
        await SignedLog.open(tmp_path, origin="cbp.example/adapter", key=KEY, clock=noon)


@pytest.mark.parametrize("name", ["tile/0/000.p/3", "tile/entries/000.p/3", "checkpoint"])
async def test_a_published_log_that_was_changed_does_not_open(tmp_path: Path, name: str) -> None:
    """An end whose log was changed under it stops, instead of signing over it."""
    log = await opened(tmp_path)
    await log.append(asked(0), asked(1), asked(2))
    await log.close()
    path = tmp_path / "log" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(LogDamaged):
        await opened(tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"", b"lapd.example/adapter+00000000+AQ==\n"])
async def test_a_log_whose_vkey_was_changed_does_not_open(tmp_path: Path, data: bytes) -> None:
    """Whatever stands there in the place of the key's line, text or not, it is the log that is named."""
    log = await opened(tmp_path)
    await log.append(asked(0))
    await log.close()
    (tmp_path / "log/vkey").write_bytes(data)
    with pytest.raises(LogDamaged, match="`vkey` names another key"):
        await opened(tmp_path)


@pytest.mark.parametrize("name", ["vkey", "checkpoint"])
async def test_a_log_without_its_head_does_not_open(tmp_path: Path, name: str) -> None:
    """Removing `vkey` or `checkpoint` doesn't make a log begin anew over its own entries."""
    log = await opened(tmp_path)
    await log.append(asked(0))
    await log.close()
    (tmp_path / "log" / name).unlink()
    with pytest.raises(LogDamaged):
        await opened(tmp_path)


async def test_a_fork_of_a_full_tile_is_never_signed(tmp_path: Path) -> None:
    """A tile that is there with other bytes stops the log: one origin never has two trees."""
    log = await opened(tmp_path)
    (tmp_path / "log/tile/0").mkdir(parents=True)
    (tmp_path / "log/tile/0/000.p").mkdir()
    (tmp_path / "log/tile/0/000.p/1").write_bytes(bytes(32))
    await log.append(asked(0))
    with pytest.raises(LogDamaged, match="other bytes"):
        await log.publish()
    with pytest.raises(LogUnwritable):
        await log.append(asked(1))
    assert head(tmp_path).size == 0
    with pytest.raises(LogDamaged):
        await log.close()


async def test_openings_and_evidence_are_kept_beside_the_entry(tmp_path: Path) -> None:
    """Openings open their commitments; envelopes come back byte for byte; the file is private (L1)."""
    log = await opened(tmp_path)
    await log.append(asked(5))
    await log.publish()
    [envelope] = log.openings.envelopes((5).to_bytes(16, "big"))
    assert (envelope.name, envelope.payload, envelope.index) == ("order", b"signed order 5", 0)
    await log.close()
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
    assert read_openings(tmp_path / "state.db")[0]["plate"].value == "8ABC005"


async def test_nothing_private_is_left_outside_the_openings(tmp_path: Path) -> None:
    """After closing, plates stand in `state.db` alone: not in tiles, not in the write-ahead file."""
    log = await opened(tmp_path)
    await log.append(*[asked(number) for number in range(300)])
    await log.close()
    for path in tmp_path.rglob("*"):
        if path.is_file() and not path.name.startswith("state.db"):
            assert b"8ABC" not in path.read_bytes(), path
            assert b"26-0417" not in path.read_bytes(), path


async def test_deleting_openings_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    """Retention is deleting rows: the log still opens and its root still holds; nothing comes back."""
    log = await opened(tmp_path)
    await log.append(asked(0))
    await log.close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("delete from openings")
        connection.execute("delete from envelopes")
    log = await opened(tmp_path)
    await log.append(asked(1))
    await log.close()
    assert numbers(tmp_path) == [0, 1]
    assert read_openings(tmp_path / "state.db").keys() == {1}


async def test_an_end_without_private_fields_has_no_database(tmp_path: Path) -> None:
    """The broker's entries hold nothing private, so no `state.db` comes to be: it keeps its log alone."""
    log = await opened(tmp_path)
    await log.append(log.entry("routed", exchange=b"x" * 16, public={"agency": "sheriff", "number": 0}))
    await log.close()
    assert not (tmp_path / "state.db").exists()


async def test_publishing_happens_by_itself_and_is_told(tmp_path: Path) -> None:
    """Without anybody asking, a checkpoint follows an append, and listeners get it."""
    log = await opened(tmp_path)
    told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    log.on_published(told.set_result)
    await log.append(asked(0))
    note = await asyncio.wait_for(told, 30)
    assert open_checkpoint(note, origin=KEY.origin, verifier_keys=[KEY.verifier]).size == 1
    await log.close()


async def test_superseded_partial_tiles_go_when_the_tile_is_full(tmp_path: Path) -> None:
    """C2SP tlog-tiles allows it, and a busy log would fill its disk with them."""
    log = await opened(tmp_path)
    await log.append(*[asked(number) for number in range(100)])
    await log.publish()
    assert (tmp_path / "log/tile/0/000.p/100").exists()
    await log.append(*[asked(number) for number in range(100, 260)])
    await log.close()
    assert (tmp_path / "log/tile/0/000").exists()
    assert not (tmp_path / "log/tile/0/000.p").exists()
    assert numbers(tmp_path) == list(range(260))


async def test_checkpoints_of_one_key_are_byte_equal(tmp_path: Path) -> None:
    """The note in the file is the tree head of the entries, in the one form that C2SP gives it."""
    log = await opened(tmp_path)
    await log.append(asked(0))
    await log.close()
    text = (tmp_path / "log/checkpoint").read_text()
    assert text.startswith(
        f"{KEY.origin}\n1\n{base64.b64encode(head(tmp_path).root).decode()}\n\n— {KEY.origin} "
    )
