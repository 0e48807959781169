"""A disk that may lose its power: what was not synced is lost, is there, or is there in part.

`PowerLossDisk` does what `Disk` does, and remembers of every file what was synced, of every folder which
names were. `materialize` writes one state that a machine may come back with: a name that wasn't synced is the
old one or a newer one, each for itself; a file that wasn't synced has old and new blocks, and any length
between.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from comity.audit.disk import Disk

BLOCK = 512
_MARK = "acknowledged"
_BESIDE = ("state.db", "state.db-wal", "state.db-shm")
"""SQLite's own files: a commit is on the disk when it returns, so they are taken as they are."""


@dataclass(slots=True, eq=False)
class _File:
    now: bytes = b""
    synced: bytes = b""

    def after_a_loss(self, dice: random.Random) -> bytes:
        """Return what may be there: blocks of before and of now, and a length between."""
        if self.now == self.synced or dice.random() < 0.3:
            return self.synced
        if dice.random() < 0.3:
            return self.now
        low, high = sorted((len(self.synced), len(self.now)))
        data = bytearray(dice.choice((low, high, dice.randint(low, high))))
        for start in range(0, len(data), BLOCK):
            source = dice.choice((self.synced, self.now))
            block = source[start : min(start + BLOCK, len(data))]
            data[start : start + len(block)] = block
        return bytes(data)


class _Folder(_File):
    """A folder; that it was removed is not tracked: it may be there again, empty or not."""


_State = _File | None


class PowerLossDisk(Disk):
    """A disk below `home` whose step number `fails_at` is the last that is begun; later ones raise."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home
        self.steps = 0
        self.fails_at = -1
        self._names: dict[Path, _File] = {}
        self._synced: dict[Path, _File] = {}
        self._unsynced: dict[Path, list[_State]] = {}
        self._open: dict[int, _File] = {}
        for path in sorted(home.rglob("*")):
            if path.name in _BESIDE:
                continue
            data = path.read_bytes() if path.is_file() else b""
            file = _File(now=data, synced=data) if path.is_file() else _Folder()
            self._names[path] = self._synced[path] = file

    def live(self, steps: int) -> None:
        """Have power for so many steps more."""
        self.steps, self.fails_at = 0, steps

    def open_for_writing(self, path: Path, mode: int) -> int:
        self._step()
        if path not in self._names:
            self._name(path, _File())
        descriptor = super().open_for_writing(path, mode)
        self._open[descriptor] = self._names[path]
        return descriptor

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        try:
            self._step()
        except OSError:
            self._write(descriptor, data[: len(data) // 2], offset)
            raise
        self._write(descriptor, data, offset)

    def sync(self, descriptor: int) -> None:
        self._step()
        self._open[descriptor].synced = self._open[descriptor].now

    def truncate(self, descriptor: int, size: int) -> None:
        self._step()
        super().truncate(descriptor, size)
        file = self._open[descriptor]
        file.now = file.now[:size].ljust(size, b"\0")

    def create(self, path: Path, data: bytes, mode: int) -> None:
        descriptor = self.open_for_writing(path, mode)
        try:
            self.truncate(descriptor, 0)
            self.write_at(descriptor, data, 0)
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)
        self._name(target, self._names[source])
        self._unname(source)

    def sync_folder(self, folder: Path) -> None:
        self._step()
        for path in [path for path in self._unsynced if path.parent == folder]:
            state = self._unsynced.pop(path)[-1]
            if state is None:
                self._synced.pop(path, None)
            else:
                self._synced[path] = state

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)
        if path in self._names:
            self._unname(path)

    def make_one(self, folder: Path, mode: int) -> None:
        self._step()
        super().make_one(folder, mode)
        self._name(folder, _Folder())

    def materialize(self, home: Path, dice: random.Random) -> None:
        """Write below `home` what may be there after the power came back."""
        home.mkdir(parents=True)
        missing: set[Path] = set()
        for path in sorted({*self._synced, *self._unsynced}):
            state = dice.choice([self._synced.get(path), *self._unsynced.get(path, ())])
            if state is None or path.parent in missing:
                missing.add(path)
                continue
            target = home / path.relative_to(self.home)
            if isinstance(state, _Folder):
                target.mkdir()
            elif path.name == _MARK:
                self._mark(path, target, dice)
            elif target.parent.is_dir():
                target.write_bytes(state.after_a_loss(dice))
        for name in _BESIDE:
            if (self.home / name).exists():
                shutil.copy(self.home / name, home / name)
        summary = self.home / "wal/summary.json"
        if summary.exists() and (home / "wal").is_dir():
            data = summary.read_bytes()
            (home / "wal/summary.json").write_bytes(data[: dice.choice((0, len(data) // 2, len(data)))])

    def _mark(self, path: Path, target: Path, dice: random.Random) -> None:
        """The mark is written without a sync: any number that was ever written may be there, or none."""
        number = int.from_bytes(path.read_bytes(), "big") if path.exists() else 0
        known = dice.choice((0, number, dice.randint(0, number)))
        target.write_bytes(dice.choice((b"", known.to_bytes(8, "big"))))

    def _write(self, descriptor: int, data: bytes, offset: int) -> None:
        super().write_at(descriptor, data, offset)
        file = self._open[descriptor]
        file.now = file.now[:offset].ljust(offset, b"\0") + data + file.now[offset + len(data) :]

    def _name(self, path: Path, file: _File) -> None:
        self._names[path] = file
        self._unsynced.setdefault(path, []).append(file)

    def _unname(self, path: Path) -> None:
        del self._names[path]
        self._unsynced.setdefault(path, []).append(None)

    def _step(self) -> None:
        self.steps += 1
        if 0 <= self.fails_at < self.steps:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
