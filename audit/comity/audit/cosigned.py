"""Checkpoints of a log that peers cosigned, kept beside it: `log/cosigned/<size>`, each a signed note.

They are what a tlog-policy file with witnesses asks for, so `comity audit prove` puts the newest one that
covers its entries into its proofs. No other evidence hangs on them: a file that is gone or cut costs the
cosignatures in it, and the next checkpoint gets new ones.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.cosignature import with_cosignatures
from comity.audit.errors import NoteInvalid
from comity.audit.note import note_signers

FOLDER = "cosigned"
KEPT = 64
"""How many are kept, the newest; each covers all entries before it."""


class CosignedCheckpoints:
    """The cosigned checkpoints of one `log/` folder."""

    def __init__(self, log: Path) -> None:
        self._folder = log / FOLDER

    def add(self, note: bytes, line: bytes) -> None:
        """Keep a checkpoint of this log with one more cosignature, which the caller has verified.

        Raises `OSError`.
        """
        size = peek_checkpoint(note).size
        path = self._folder / str(size)
        whole = with_cosignatures(self._read(path, note), [line])
        self._folder.mkdir(exist_ok=True)
        temporary = self._folder / f".{size}.tmp"
        temporary.write_bytes(whole)
        temporary.replace(path)
        for old in sorted(self._sizes(), reverse=True)[KEPT:]:
            (self._folder / str(old)).unlink(missing_ok=True)

    def newest_first(self) -> Iterator[tuple[Checkpoint, bytes]]:
        """Yield what the files claim, **unverified**, and their notes; what is no note is left out."""
        for size in sorted(self._sizes(), reverse=True):
            try:
                note = (self._folder / str(size)).read_bytes()
                claimed = peek_checkpoint(note)
            except (OSError, NoteInvalid):
                continue
            if claimed.size == size:
                yield claimed, note

    def best_for(self, size: int, *, limit: int, roots: Callable[[int], bytes]) -> bytes | None:
        """Return the note with the most signatures, the newest of those, over at least `size` entries.

        Only notes of at most `limit` entries count, whose root is the log's own. None if there is none.
        """
        best: bytes | None = None
        for claimed, note in self.newest_first():
            if not size <= claimed.size <= limit or roots(claimed.size) != claimed.root:
                continue
            if best is None or len(note_signers(note)) > len(note_signers(best)):
                best = note
        return best

    def _sizes(self) -> Iterable[int]:
        if not self._folder.is_dir():
            return []
        return [int(p.name) for p in self._folder.iterdir() if p.name.isascii() and p.name.isdecimal()]

    def _read(self, path: Path, note: bytes) -> bytes:
        """Return what is kept of the same checkpoint, or the note itself."""
        try:
            kept = path.read_bytes()
            return kept if peek_checkpoint(kept) == peek_checkpoint(note) else note
        except (OSError, NoteInvalid):
            return note
