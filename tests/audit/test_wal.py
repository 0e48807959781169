"""The write-ahead file: torn tails are cut, damage is refused, and the two are never confused."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit.disk import Disk
from comity.audit.errors import LogDamaged
from comity.audit.wal import WriteAheadFile, pack, unpack


def opened(folder: Path, published: int = 0) -> tuple[WriteAheadFile, list[bytes]]:
    wal = WriteAheadFile(folder, disk=Disk())
    frames = wal.open(published=published)
    assert (
        [frame.index for frame in frames] == list(range(frames[0].index, wal.next_index)) if frames else True
    )
    return wal, [frame.payload for frame in frames]


def written(folder: Path, *batches: list[bytes]) -> Path:
    wal, _ = opened(folder)
    for batch in batches:
        wal.write(batch)
    wal.close()
    return folder / f"{0:020d}.wal"


def forget_mark(folder: Path) -> None:
    """As after a power cut: the mark, which is never synced, is as old as it can be."""
    (folder / "acknowledged").unlink()


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    """Frames come back in order, with their payloads."""
    written(tmp_path, [b"one"], [b"two", b""])
    assert opened(tmp_path)[1] == [b"one", b"two", b""]


def test_files_are_private(tmp_path: Path) -> None:
    """The file holds openings: nobody else may read it."""
    segment = written(tmp_path / "wal", [b"one"])
    assert segment.stat().st_mode & 0o777 == 0o600
    assert segment.parent.stat().st_mode & 0o777 == 0o700


def test_a_tail_torn_at_any_byte_is_cut_to_what_was_acknowledged(tmp_path: Path) -> None:
    """A crash while the last frame is written leaves any part of it; everything before it is there."""
    segment = written(tmp_path, [b"one"], [b"two"])
    acknowledged = segment.stat().st_size
    wal, _ = opened(tmp_path)
    wal.write([b"torn"])
    wal.close()
    whole = segment.read_bytes()
    for end in range(acknowledged, len(whole)):
        segment.write_bytes(whole[:end])
        (tmp_path / "acknowledged").write_bytes((2).to_bytes(8, "big"))
        wal, payloads = opened(tmp_path)
        assert payloads == [b"one", b"two"]
        assert wal.next_index == 2
        wal.write([b"three"])
        wal.close()
        assert opened(tmp_path)[1] == [b"one", b"two", b"three"]


def test_a_torn_tail_of_zeroes_is_cut(tmp_path: Path) -> None:
    """Some file systems leave zeroes where a block was never written."""
    segment = written(tmp_path, [b"one"])
    segment.write_bytes(segment.read_bytes() + bytes(100))
    assert opened(tmp_path)[1] == [b"one"]


def test_a_batch_torn_in_its_first_frame_is_cut_whole(tmp_path: Path) -> None:
    """Blocks reach the disk in any order: a later frame of the same batch proves nothing."""
    segment = written(tmp_path, [b"one"])
    start = segment.stat().st_size
    wal, _ = opened(tmp_path)
    wal.write([b"two", b"three"])
    wal.close()
    data = bytearray(segment.read_bytes())
    data[start + 41] ^= 1
    segment.write_bytes(bytes(data))
    (tmp_path / "acknowledged").write_bytes((1).to_bytes(8, "big"))
    assert opened(tmp_path)[1] == [b"one"]


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_damage_before_an_acknowledged_frame_is_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
) -> None:
    """A changed byte in a frame that a later one shows to be acknowledged is damage, mark or no mark."""
    folder = tmp_path_factory.mktemp("wal")
    segment = written(folder, [b"one"], [b"two"])
    end = segment.stat().st_size
    wal, _ = opened(folder)
    wal.write([b"three"])
    wal.close()
    forget_mark(folder)
    data = bytearray(segment.read_bytes())
    data[place % end] ^= flip
    segment.write_bytes(bytes(data))
    with pytest.raises(LogDamaged, match="damaged"):
        opened(folder)


def test_damage_to_the_last_acknowledged_frame_is_refused(tmp_path: Path) -> None:
    """The mark tells an acknowledged last frame from a torn one."""
    segment = written(tmp_path, [b"one"], [b"two"])
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(bytes(data))
    with pytest.raises(LogDamaged, match="entry 1"):
        opened(tmp_path)


def test_an_acknowledged_tail_that_was_removed_is_refused(tmp_path: Path) -> None:
    """Cutting the file at a frame's border leaves it well-formed, but not unnoticed."""
    segment = written(tmp_path, [b"one"])
    size = segment.stat().st_size
    wal, _ = opened(tmp_path)
    wal.write([b"two"])
    wal.close()
    segment.write_bytes(segment.read_bytes()[:size])
    with pytest.raises(LogDamaged, match="acknowledged and are missing"):
        opened(tmp_path)


def test_a_published_tail_that_was_removed_is_refused_without_the_mark(tmp_path: Path) -> None:
    """The signed checkpoint says how many entries there were."""
    segment = written(tmp_path, [b"one"])
    forget_mark(tmp_path)
    segment.write_bytes(b"")
    with pytest.raises(LogDamaged):
        opened(tmp_path, published=1)


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    """Segments follow each other without a gap."""
    wal = WriteAheadFile(tmp_path, disk=Disk(), segment_bytes=1)
    wal.open(published=0)
    for payload in (b"one", b"two", b"three"):
        wal.write([payload])
        wal.rotate()
    wal.close()
    (tmp_path / f"{1:020d}.wal").unlink()
    with pytest.raises(LogDamaged, match="entries 1 to 1 are missing"):
        opened(tmp_path)


def test_only_segments_that_are_published_whole_are_dropped(tmp_path: Path) -> None:
    """A segment goes once every entry of it is published; the one in use stays."""
    wal = WriteAheadFile(tmp_path, disk=Disk(), segment_bytes=1)
    wal.open(published=0)
    for payload in (b"one", b"two", b"three"):
        wal.write([payload])
        wal.rotate()
    assert [path.stem for path in wal.drop_before(2)] == [f"{0:020d}", f"{1:020d}"]
    assert wal.drop_before(2) == []


def test_an_empty_segment_is_not_rotated_again(tmp_path: Path) -> None:
    """Rotating without writing in between changes nothing."""
    wal, _ = opened(tmp_path)
    wal.rotate()
    wal.rotate()
    assert wal.write([b"one"]) == 0


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_packed_fields_survive(fields: list[bytes]) -> None:
    """Fields of any bytes come back as they were."""
    assert unpack(pack(fields)) == fields


@pytest.mark.parametrize("payload", [b"\x00", b"\x00\x00\x00\x02a", b"\x00\x00\x00\x01"])
def test_a_payload_that_was_not_packed_is_refused(payload: bytes) -> None:
    """Half a field is no field."""
    with pytest.raises(ValueError):
        unpack(payload)
