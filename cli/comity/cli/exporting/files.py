"""How an export becomes a file: private, never over another, and only once the end's log holds that it left.

What is exported is content, so its leaving is an act like a release (L2, L3): the file is made under a name
of its own, its digest is entered in the end's log as `exported`, and then it gets its name. A copy of a log
has no key to enter anything with; then the file says so.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from comity.audit.acts import Act, can_act, enter
from comity.audit.log import Promise

EXTRA = "needs the libraries of the extra `export`: pip install 'comity[export]'"
"""What is said of a form whose library isn't installed."""
HOUSE = "house"
"""Whom an export is for if no other agency is named."""

Produce = Callable[[Path, Path], None]
"""Writes the file at the first path; the second is a private folder for what it needs on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What the log is told of an export. Its repr shows no filter."""

    home: Path
    what: str
    """`search`, `review` or `statistics`."""
    agency: str
    """Whose end it is."""
    to: str
    """The agency that it is for, or `house`."""
    records: int
    checkpoint_size: int
    told: Mapping[str, str] = field(repr=False)
    """What was searched for."""

    @property
    def is_logged(self) -> bool:
        """Whether there is a log to enter it in: a copy has none."""
        return can_act(self.home)

    def enter(self, form: str, digest: str) -> Promise | None:
        """Enter the export in the end's log; None for a copy. Raises what `enter` of `acts` raises."""
        if not self.is_logged:
            return None
        act = Act(
            kind="exported",
            public={
                "agency": self.agency,
                "what": self.what,
                "to": self.to,
                "format": form,
                "records": self.records,
                "checkpoint_size": self.checkpoint_size,
            },
            private={
                "filter": json.dumps(dict(self.told), sort_keys=True, ensure_ascii=False),
                "digest": digest,
            },
        )
        return enter(self.home, act)


def export_file(path: Path, form: str, produce: Produce, leaving: Leaving) -> Promise | None:
    """Make a file, mode 0600, log that it leaves, and let it appear at `path`.

    Raises `FileExistsError` if something is there, other `OSError`s as the system does, and `AuditError`s
    of a log that can't be written: then there is no file.
    """
    with _reserved(path) as temporary:
        with TemporaryDirectory(prefix=".comity-", dir=path.parent) as scratch:
            produce(temporary, Path(scratch))
        with temporary.open("rb+") as made:
            os.fsync(made.fileno())
            digest = file_digest(made, "sha256").hexdigest()
        promise = leaving.enter(form, digest)
        temporary.replace(path)
    return promise


def make_file(path: Path, produce: Produce) -> None:
    """Make a file, mode 0600, and let it appear at `path`: for what is no end's record, so no log tells it.

    Raises `FileExistsError` if something is there, and other `OSError`s as the system does.
    """
    with _reserved(path) as temporary:
        with TemporaryDirectory(prefix=".comity-", dir=path.parent) as scratch:
            produce(temporary, Path(scratch))
        temporary.replace(path)


def export_text(text: str, form: str, leaving: Leaving) -> Promise | None:
    """Log that a text leaves on standard output; the caller then prints it."""
    return leaving.enter(form, sha256(text.encode()).hexdigest())


@contextmanager
def _reserved(path: Path) -> Iterator[Path]:
    """Hold `path` by an empty file that nobody else has made; give a temporary path beside it."""
    _create(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _create(temporary)
        yield temporary
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise


def _create(path: Path) -> None:
    """Make an empty file that only its owner can read; raise `FileExistsError` if something is there."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
