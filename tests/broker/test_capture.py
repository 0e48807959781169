"""Copies of link messages: whole, in order, and nobody else's to read."""

from __future__ import annotations

import stat
from pathlib import Path

from comity.broker.capture import FILE_NAME, FROM_END, TO_END, Capture, read_capture


def test_capture_gives_back_what_travelled_in_order(tmp_path: Path) -> None:
    """Each record is the very bytes of a message, with its direction; a restart goes on after the last."""
    folder = tmp_path / "capture"
    for part in ((FROM_END, b"hello"), (TO_END, b"")), ((FROM_END, b"\x00" * 70_000),):
        capture = Capture(folder)
        for direction, message in part:
            capture.record(direction, message)
        capture.close()
    assert list(read_capture(folder)) == [(FROM_END, b"hello"), (TO_END, b""), (FROM_END, b"\x00" * 70_000)]


def test_capture_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Times and sizes of TLS records are nobody else's business (mode 0600)."""
    Capture(tmp_path / "capture").close()
    assert stat.S_IMODE((tmp_path / "capture" / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "capture").stat().st_mode) == 0o700


def test_record_torn_by_a_crash_is_the_end(tmp_path: Path) -> None:
    """What was not written whole is not given back in part."""
    capture = Capture(tmp_path)
    capture.record(FROM_END, b"whole")
    capture.record(FROM_END, b"torn")
    capture.close()
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-1])
    assert list(read_capture(tmp_path)) == [(FROM_END, b"whole")]
