"""One walk over a log, which ends well only if its entries are those that its checkpoint signs.

And only if the key in force signed it, by the log's own `key_rotated` entries: an old key writes no more.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import KEY_ROTATED, parse_entry
from comity.audit.errors import TileInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.merkle import RunningRoot, leaf_hash
from comity.audit.note import VerifierKey
from comity.audit.rotation import Rotation, read_rotation
from comity.audit.tiles import TileFolder

Tell = Callable[[int, int], None]
"""Is told now and then how many entries of how many were read."""
_EVERY = 4_096
_ROTATED = b'"kind":"key_rotated"'


class LogWalk:
    """A log as its checkpoint had it when this was made.

    Raises `TileInvalid` if it can't be read, `NoteInvalid` if none of the keys signed the checkpoint,
    `KeyNotInForce` if it was one that had given way, as far as that is known before the entries are read.
    """

    def __init__(self, log: Path, *, keys: KeyHistory | None = None) -> None:
        """`keys`: those of the log; None takes the folder's own, which is no proof of whose log it is."""
        self.folder = log
        self._tiles = TileFolder(log)
        try:
            self.note = (log / "checkpoint").read_bytes()
            own = (log / "vkey").read_text().strip() if keys is None else ""
        except (OSError, UnicodeDecodeError) as problem:
            raise TileInvalid(f"`{log}`: `checkpoint` or `vkey` can't be read") from problem
        origin = peek_checkpoint(self.note).origin
        self._is_own = keys is None
        self._keys = keys or KeyHistory(origin=origin, keys=(VerifierKey.parse(own),), is_ordered=False)
        self.checkpoint, self._signers = self._keys.open_signed(self.note)

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

        What was yielded counts only once the walk has ended without raising: then the entries lead to the
        root that the checkpoint signs, else `TileInvalid`, and the key in force signed it, else
        `KeyNotInForce`.
        """
        running = running or RunningRoot()
        rotations: list[Rotation] = []
        for index, leaf in self._tiles.all_entries(self.size):
            running.add(leaf_hash(leaf))
            if tell is not None and index % _EVERY == 0:
                tell(index, self.size)
            if _ROTATED in leaf:
                rotations += self._rotations(index, leaf)
            yield index, leaf
        if running.root() != self.checkpoint.root:
            raise TileInvalid(
                f"log `{self.origin}`: its entries do not lead to the root that its checkpoint signs; "
                "`comity audit verify` names what was changed"
            )
        if not self._is_own:
            self._keys.proven_by(rotations).check_in_force(self.size, self._signers)
        if tell is not None:
            tell(self.size, self.size)

    def _rotations(self, index: int, leaf: bytes) -> list[Rotation]:
        """Return what an entry that looks like one says of a key's end; raises what its readers raise."""
        entry = parse_entry(leaf)
        if entry.kind != KEY_ROTATED:
            return []
        return [read_rotation(entry.public, index=index, origin=self.origin)]


def kinds_pattern(kinds: Iterable[str]) -> re.Pattern[bytes]:
    """Return a pattern that an entry of one of these kinds matches, before it is read."""
    return re.compile(rb'"kind":"(?:' + "|".join(sorted(kinds)).encode() + rb')"')
