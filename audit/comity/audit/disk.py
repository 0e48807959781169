"""The few things the log does to a disk, in one place, so that tests can fail or stop any of them.

Each method is one step after which a machine may lose its power. `write_file` is made of such steps.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path


class Disk:
    """The real disk. Every method raises `OSError` as the system does."""

    def __init__(self) -> None:
        self._settled: set[Path] = set()
        """Folders whose names are on the disk."""

    def open_for_writing(self, path: Path, mode: int) -> int:
        """Return a descriptor of a file that is made with `mode` if it isn't there."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)

    def write_at(self, descriptor: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view = view[written:]
            offset += written

    def sync(self, descriptor: int) -> None:
        """Return once the file's data, and its size, are on the disk (fdatasync)."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(descriptor, size)

    def create(self, path: Path, data: bytes, mode: int) -> None:
        """Write a file whole and sync it; what stood there is overwritten."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            self.write_at(descriptor, data, 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Put a file in another's place, atomically."""
        source.replace(target)

    def sync_folder(self, folder: Path) -> None:
        """Return once the folder's names are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Remove a file; one that isn't there is no error."""
        path.unlink(missing_ok=True)

    def make_folder(self, folder: Path, mode: int = 0o755, *, below: Path | None = None) -> None:
        """Make a folder and its parents, durably.

        Folders below `below` (by default: this one alone) may have been made by a process that was killed
        before it synced, so they are synced once.
        """
        top = folder.parent if below is None else below
        for each in (*reversed(folder.parents), folder):
            is_there = each.exists()
            if is_there and (each in self._settled or top not in each.parents):
                continue
            if not is_there:
                self.make_one(each, mode)
            self.sync_folder(each.parent)
            self._settled.add(each)

    def make_one(self, folder: Path, mode: int) -> None:
        """Make a folder in one that is there."""
        folder.mkdir(mode=mode, exist_ok=True)

    def write_file(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Write a file by temporary file, fsync, rename and folder fsync."""
        self.write_files(path.parent, {path.name: data}, mode)

    def write_files(self, root: Path, files: Mapping[str, bytes], mode: int = 0o644) -> None:
        """Write files, by path below `root`, each whole or not at all, and durable when this returns."""
        folders: dict[Path, None] = {}
        for name, data in files.items():
            path = root / name
            if path.parent not in folders:
                self.make_folder(path.parent, below=root)
                folders[path.parent] = None
            temporary = path.with_name(f".{path.name}.tmp")
            try:
                self.create(temporary, data, mode)
                self.rename(temporary, path)
            except OSError:
                with suppress(OSError):
                    self.remove(temporary)
                raise
        for folder in folders:
            self.sync_folder(folder)

    def settle(self, root: Path, names: Iterable[str]) -> None:
        """Return once the names of files below `root` that are there already are on the disk."""
        for folder in dict.fromkeys((root / name).parent for name in names):
            self.make_folder(folder, below=root)
            self.sync_folder(folder)

    def remove_folder(self, folder: Path, names: Iterable[str]) -> None:
        """Remove the named files of a folder and then the folder, if nothing else is in it."""
        for name in names:
            self.remove(folder / name)
        with suppress(OSError):
            folder.rmdir()
