"""Files: whole or not there, and private ones private."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comity.certs.errors import FileExposed, FileUnusable
from comity.certs.files import read_private, read_public, write_private, write_public


def test_private_file_has_mode_0600_even_over_a_wider_one(tmp_path: Path) -> None:
    """Writing privately over a file that everybody could read leaves one that nobody else can."""
    path = tmp_path / "leaf.key"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private(path) == b"new"


def test_private_file_is_never_wider_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file is created with mode 0600, not narrowed afterwards, whatever the umask."""
    modes: list[int] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    umask = os.umask(0)
    try:
        write_private(tmp_path / "leaf.key", b"secret")
    finally:
        os.umask(umask)
    assert modes[0] == 0o600


def test_missing_folders_of_private_files_are_private(tmp_path: Path) -> None:
    """The folder that is made for a key can't be entered by others."""
    write_private(tmp_path / "keys" / "leaf.key", b"secret")
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666, 0o601])
def test_private_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Any right of group or others on a private file refuses it."""
    path = tmp_path / "leaf.key"
    write_private(path, b"secret")
    path.chmod(mode)
    with pytest.raises(FileExposed, match=f"{mode:04o}"):
        read_private(path)


def test_private_file_that_only_its_owner_reads_is_accepted(tmp_path: Path) -> None:
    """Mode 0400 is private too."""
    path = tmp_path / "leaf.key"
    write_private(path, b"secret")
    path.chmod(0o400)
    assert read_private(path) == b"secret"


def test_public_file_can_be_read_by_others(tmp_path: Path) -> None:
    """A public file follows the umask."""
    umask = os.umask(0o022)
    try:
        write_public(tmp_path / "roster.json", b"{}")
    finally:
        os.umask(umask)
    assert (tmp_path / "roster.json").stat().st_mode & 0o777 == 0o644
    assert read_public(tmp_path / "roster.json") == b"{}"


def test_failed_write_leaves_the_old_content_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails before the rename leaves what was there, whole, and no temporary file."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "roster.json"
    write_public(path, b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileUnusable, match="no space left"):
        write_public(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename itself is made durable: the folder is synced last, when the file has its name."""
    synced: list[tuple[bool, bool]] = []
    path = tmp_path / "roster.json"
    real = os.fsync

    def record(descriptor: int) -> None:
        synced.append((os.path.isdir(f"/proc/self/fd/{descriptor}"), path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_public(path, b"x")
    assert synced == [(False, False), (True, True)]


def test_reading_what_is_no_file_says_so(tmp_path: Path) -> None:
    """A missing file and a folder give the room's own error, which names the path."""
    for read in (read_private, read_public):
        with pytest.raises(FileUnusable, match="absent"):
            read(tmp_path / "absent")
        with pytest.raises(FileUnusable):
            read(tmp_path)


def test_writing_below_a_file_says_so(tmp_path: Path) -> None:
    """A parent that isn't a folder gives the room's own error."""
    (tmp_path / "file").touch()
    with pytest.raises(FileUnusable, match="can't be written"):
        write_public(tmp_path / "file" / "x", b"")
