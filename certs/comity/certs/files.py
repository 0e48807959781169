"""Files that are whole or not there, and private files that nobody else can read.

Without the first, a power cut leaves half a key; without the second, a copied folder with its
default mode gives an agency's signature to everyone who has an account on the machine.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from comity.certs.errors import FileExposed, FileUnusable

_PRIVATE = 0o600
_PUBLIC = 0o644
_OTHERS = 0o077


def write_private(path: Path, data: bytes) -> None:
    """Put `data` at `path`, mode 0600, whole or not at all; raise `FileUnusable` if it can't be written.

    Missing parent folders are made with mode 0700. The file is durable when this returns.
    """
    _write(path, data, mode=_PRIVATE, folder_mode=0o700)


def write_public(path: Path, data: bytes) -> None:
    """Put `data` at `path`, mode 0644 less the umask, whole or not at all; raise `FileUnusable` if it fails.

    Missing parent folders are made. The file is durable when this returns.
    """
    _write(path, data, mode=_PUBLIC, folder_mode=0o755)


def read_private(path: Path) -> bytes:
    """Return what stands at `path`, provided that its mode gives group and others nothing.

    Raises `FileExposed` for a mode wider than 0600 (0400 will do), `FileUnusable` if it can't be read.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileUnusable(f"private file `{path}` is not a regular file")
            mode = stat.S_IMODE(found.st_mode)
            if mode & _OTHERS:
                raise FileExposed(
                    f"private file `{path}`: mode `{mode:04o}` lets others at it, expected `0600`"
                )
            return file.read()
    except OSError as error:
        raise FileUnusable(f"private file `{path}` can't be read: {_reason(error)}") from error


def read_public(path: Path) -> bytes:
    """Return what stands at `path`; raise `FileUnusable` if it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileUnusable(f"file `{path}` can't be read: {_reason(error)}") from error


def read_up_to(path: Path, most: int) -> bytes:
    """Return what stands at `path`, cut after `most` bytes and one; raise `FileUnusable`."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise FileUnusable(f"file `{path}` can't be read: {_reason(error)}") from error


def read_optional(path: Path) -> bytes | None:
    """Return what stands at `path`, None if nothing does; raise `FileUnusable` if it can't be read."""
    return read_public(path) if is_there(path) else None


def is_there(path: Path) -> bool:
    """Return whether something stands at `path`; raise `FileUnusable` if that can't be told."""
    try:
        return path.exists()
    except OSError as error:
        raise FileUnusable(f"file `{path}` can't be read: {_reason(error)}") from error


def require_at_hand(path: Path, what: str, *, option: str = "") -> None:
    """Raise `FileUnusable`, with what to do, unless `what`, which belongs offline, lies at `path`.

    `option`: that of the command with which one says where else it is.
    """
    if not is_there(path):
        elsewhere = f", or say where it is ({option})" if option else ""
        raise FileUnusable(f"{what} isn't at `{path}`: bring it from where it is kept offline{elsewhere}")


def _write(path: Path, data: bytes, *, mode: int, folder_mode: int) -> None:
    """Write beside `path`, fsync, rename over it, fsync the folder; leave nothing behind on failure."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
        try:
            _write_new(temporary, data, mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise FileUnusable(f"file `{path}` can't be written: {_reason(error)}") from error


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Create `path`, which must not exist, with `mode` from its first moment, and make it durable."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    """Return the system's words for `error`, in lower case, without the path."""
    return (error.strerror or type(error).__name__).lower()
