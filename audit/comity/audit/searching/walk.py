"""One walk over a log, which ends well only if its entries are those that its checkpoint signs."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from comity.audit.checkpoint import open_checkpoint, peek_checkpoint
from comity.audit.errors import TileInvalid
from comity.audit.merkle import RunningRoot, leaf_hash
from comity.audit.note import VerifierKey
from comity.audit.tiles import TileFolder

Tell = Callable[[int, int], None]
"""Is told now and then how many entries of how many were read."""
_EVERY = 4_096


class LogWalk:
    """A log as its checkpoint had it when this was made.

    Raises `TileInvalid` if it can't be read, `NoteInvalid` if none of the keys signed the checkpoint.
    """

    def __init__(self, log: Path, *, keys: Iterable[VerifierKey | str] | None = None) -> None:
        """`keys`: those that may sign; None takes the folder's own, which is no proof of whose log it is."""
        self.folder = log
        self._tiles = TileFolder(log)
        try:
            self.note = (log / "checkpoint").read_bytes()
            own = (log / "vkey").read_text().strip() if keys is None else ""
        except (OSError, UnicodeDecodeError) as problem:
            raise TileInvalid(f"`{log}`: `checkpoint` or `vkey` can't be read") from problem
        origin = peek_checkpoint(self.note).origin
        self.checkpoint = open_checkpoint(
            self.note, origin=origin, verifier_keys=[own] if keys is None else list(keys)
        )

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self.checkpoint.origin

    @property
    def size(self) -> int:
        """How many entries the checkpoint covers."""
        return self.checkpoint.size

    def entries(
        self, running: RunningRoot | None = None, tell: Tell | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield index and bytes of every entry; `running` grows with each before it is yielded.

        What was yielded counts only once the walk has ended without raising `TileInvalid`: then the entries
        lead to the root that the checkpoint signs.
        """
        running = running or RunningRoot()
        for index, leaf in self._tiles.all_entries(self.size):
            running.add(leaf_hash(leaf))
            if tell is not None and index % _EVERY == 0:
                tell(index, self.size)
            yield index, leaf
        if running.root() != self.checkpoint.root:
            raise TileInvalid(
                f"log `{self.origin}`: its entries do not lead to the root that its checkpoint signs; "
                "`comity audit verify` names what was changed"
            )
        if tell is not None:
            tell(self.size, self.size)


def kinds_pattern(kinds: Iterable[str]) -> re.Pattern[bytes]:
    """Return a pattern that an entry of one of these kinds matches, before it is read."""
    return re.compile(rb'"kind":"(?:' + "|".join(sorted(kinds)).encode() + rb')"')
