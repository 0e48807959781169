"""The write-ahead file: what was acknowledged is on the disk, whatever happens next.

A segment `wal/<first index>.wal` is a row of frames::

    magic 4 │ length 4 │ index 8 │ acknowledged 8 │ SHA-256[:16] of the rest │ payload

`acknowledged` is how many entries were durable when the frame was written. It tells, after a crash, a torn
tail (never acknowledged: cut) from damage (a later frame, or the mark file, shows that it was acknowledged:
refused). The mark file `wal/acknowledged` holds the same number for the newest frames; it is written after
each sync and not synced itself, so it is never ahead of the data.
"""

import os
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from comity.audit.disk import Disk
from comity.audit.errors import LogDamaged

SEGMENT_BYTES = 64 << 20
_MAGIC = b"CWF1"
_FIXED = struct.Struct(">4sIQQ16s")
_COUNTED = struct.Struct(">IQQ")
_SUFFIX = ".wal"
_MARK = "acknowledged"
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One record: its index, what was acknowledged before it, and its payload."""

    index: int
    acknowledged: int
    payload: bytes

    def encode(self) -> bytes:
        """Return the frame's bytes."""
        length = len(self.payload)
        digest = _digest(length, self.index, self.acknowledged, self.payload)
        return _FIXED.pack(_MAGIC, length, self.index, self.acknowledged, digest) + self.payload


class WriteAheadFile:
    """Segments of frames in one folder. One caller at a time; `open` first."""

    def __init__(self, folder: Path, *, disk: Disk, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._segments: list[int] = []
        self._descriptor: int | None = None
        self._mark: int | None = None
        self._end = 0
        self.next_index = 0

    def open(self, *, published: int) -> list[Frame]:
        """Return the frames that are there, and make ready to write; entries before `published` may be gone.

        Raises `LogDamaged` if an acknowledged frame is missing or changed, `OSError` if the folder can't be
        read or written.
        """
        self._disk.make_folder(self._folder, 0o700)
        self._disk.sync_folder(self._folder)  # the names of segments that a killed process made
        firsts = sorted(int(p.stem) for p in self._folder.glob(f"*{_SUFFIX}") if p.stem.isdecimal())
        segments = [self._read_segment(first) for first in firsts]
        acknowledged = max(published, self._read_mark(), *firsts, 0)
        for segment in segments:
            self._check_tail(segment, acknowledged)
        self.next_index = max((segment.next_index for segment in segments), default=published)
        if self.next_index < acknowledged:
            raise LogDamaged(
                f"write-ahead file: entries {self.next_index} to {acknowledged - 1} were acknowledged "
                "and are missing"
            )
        chain = _chain(segments, self.next_index)
        start = chain[0].first if chain else self.next_index
        if start > published:
            there = max((one.next_index for one in segments if one.first < start), default=published)
            raise LogDamaged(f"write-ahead file: entries {max(there, published)} to {start - 1} are missing")
        self._segments = [segment.first for segment in chain]
        if chain:
            self._end = chain[-1].end
            self._reopen()
        else:
            self._begin_segment()
        self._write_mark()
        self._remove_others(firsts)
        return [frame for segment in chain for frame in segment.frames]

    def _remove_others(self, firsts: Iterable[int]) -> None:
        """Remove segments that hold nothing: begun and left, or removed before a crash and there again."""
        for first in firsts:
            if first not in self._segments:
                with suppress(OSError):
                    self._disk.remove(self._path(first))

    def write(self, payloads: Sequence[bytes]) -> int:
        """Write payloads as frames, durably; return the first one's index.

        Raises `OSError`: then none of them counts, and the next call first cuts what was left behind.
        """
        if self._descriptor is None:
            self._reopen()
        assert self._descriptor is not None
        first = self.next_index
        data = b"".join(
            Frame(index=first + i, acknowledged=first, payload=payload).encode()
            for i, payload in enumerate(payloads)
        )
        try:
            if os.fstat(self._descriptor).st_nlink == 0:
                raise FileNotFoundError("the write-ahead file was removed")
            self._disk.write_at(self._descriptor, data, self._end)
            self._disk.sync(self._descriptor)
        except OSError:
            self._let_go()
            with suppress(OSError):
                self._reopen()
            raise
        self._end += len(data)
        self.next_index = first + len(payloads)
        self._write_mark()
        return first

    @property
    def is_segment_full(self) -> bool:
        """Whether the next frames should go to a new segment."""
        return self._end >= self._segment_bytes

    def rotate(self) -> None:
        """Begin a new segment, unless the present one is empty."""
        if self._segments[-1] != self.next_index:
            self._begin_segment()

    def drop_before(self, index: int) -> list[Path]:
        """Forget the segments that hold only entries before `index`; return their files, to be removed."""
        dropped: list[Path] = []
        while len(self._segments) > 1 and self._segments[1] <= index:
            dropped.append(self._path(self._segments.pop(0)))
        return dropped

    def close(self) -> None:
        """Let go of the files."""
        self._let_go()
        if self._mark is not None:
            os.close(self._mark)
            self._mark = None

    def _read_segment(self, first: int) -> "_Segment":
        data = self._path(first).read_bytes()
        frames, end = scan(data, first)
        later = find_frame(data, end + 1) if end < len(data) else None
        return _Segment(
            first=first,
            frames=frames,
            end=end,
            is_torn=end < len(data),
            proven=later.acknowledged if later is not None else 0,
        )

    def _check_tail(self, segment: "_Segment", acknowledged: int) -> None:
        """Tell a torn tail, which may be cut, from damage to what was acknowledged."""
        if segment.is_torn and segment.next_index < max(acknowledged, segment.proven):
            raise LogDamaged(
                f"write-ahead file `{self._path(segment.first).name}`: entry {segment.next_index} "
                f"(byte {segment.end}) was acknowledged, is damaged"
            )

    def _begin_segment(self) -> None:
        descriptor = self._disk.open_for_writing(self._path(self.next_index), _PRIVATE)
        try:
            self._disk.truncate(descriptor, 0)
            self._disk.sync_folder(self._folder)
        except BaseException:
            os.close(descriptor)
            raise
        self._let_go()
        self._descriptor, self._end = descriptor, 0
        if self.next_index not in self._segments:
            self._segments.append(self.next_index)

    def _reopen(self) -> None:
        """Open the last segment anew and cut what stands behind the last frame that counts."""
        descriptor = self._disk.open_for_writing(self._path(self._segments[-1]), _PRIVATE)
        try:
            size = os.fstat(descriptor).st_size
            if size < self._end:
                raise FileNotFoundError("the write-ahead file is shorter than what was written")
            if size > self._end:
                self._disk.truncate(descriptor, self._end)
            self._disk.sync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _read_mark(self) -> int:
        try:
            data = (self._folder / _MARK).read_bytes()
        except FileNotFoundError:
            return 0
        return int.from_bytes(data, "big") if len(data) == 8 else 0

    def _write_mark(self) -> None:
        with suppress(OSError):
            if self._mark is None:
                self._mark = self._disk.open_for_writing(self._folder / _MARK, _PRIVATE)
            os.pwrite(self._mark, self.next_index.to_bytes(8, "big"), 0)

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:020d}{_SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """What a segment's file holds."""

    first: int
    frames: list[Frame]
    end: int
    """The byte after the last whole frame."""
    is_torn: bool
    """Whether something else follows there."""
    proven: int
    """How many entries a frame behind the torn place shows to have been acknowledged."""

    @property
    def next_index(self) -> int:
        return self.first + len(self.frames)


def _chain(segments: Iterable[_Segment], next_index: int) -> list[_Segment]:
    """Return the segments with frames that lead without a gap to the next index, in order."""
    chain: list[_Segment] = []
    for segment in sorted((s for s in segments if s.frames), key=lambda s: s.first, reverse=True):
        if segment.next_index != (chain[0].first if chain else next_index):
            break
        chain.insert(0, segment)
    return chain


def scan(data: bytes, first: int) -> tuple[list[Frame], int]:
    """Return the frames at the beginning of a segment, with indexes from `first`, and where they end."""
    frames: list[Frame] = []
    position = 0
    while (frame := _frame_at(data, position)) is not None and frame.index == first + len(frames):
        frames.append(frame)
        position += _FIXED.size + len(frame.payload)
    return frames, position


def find_frame(data: bytes, start: int) -> Frame | None:
    """Return the first whole frame at or after a byte, wherever it begins."""
    position = data.find(_MAGIC, start)
    while position >= 0:
        if (frame := _frame_at(data, position)) is not None:
            return frame
        position = data.find(_MAGIC, position + 1)
    return None


def pack(fields: Iterable[bytes]) -> bytes:
    """Return fields as one payload, each after its length in 32 bits."""
    return b"".join(part for field in fields for part in (len(field).to_bytes(4, "big"), field))


def unpack(payload: bytes) -> list[bytes]:
    """Return the fields of a payload that `pack` made. Raises `ValueError` for any other."""
    fields: list[bytes] = []
    position = 0
    while position < len(payload):
        length = int.from_bytes(payload[position : position + 4], "big")
        field = payload[position + 4 : position + 4 + length]
        if len(field) != length or position + 4 > len(payload):
            raise ValueError("a field is not whole")
        fields.append(field)
        position += 4 + length
    return fields


def _frame_at(data: bytes, position: int) -> Frame | None:
    if position + _FIXED.size > len(data):
        return None
    magic, length, index, acknowledged, digest = _FIXED.unpack_from(data, position)
    begin = position + _FIXED.size
    payload = data[begin : begin + length]
    if magic != _MAGIC or len(payload) != length:
        return None
    if digest != _digest(length, index, acknowledged, payload):
        return None
    return Frame(index=index, acknowledged=acknowledged, payload=payload)


def _digest(length: int, index: int, acknowledged: int, payload: bytes) -> bytes:
    return sha256(_COUNTED.pack(length, index, acknowledged) + payload).digest()[:16]
