"""A folder of records read as a log is read: in one walk, each record checked before it is given.

So `comity audit search` finds in them what it finds at an end that holds the openings.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from comity.audit.entry import Opening
from comity.audit.errors import RecordsInvalid
from comity.audit.merkle import RunningRoot, leaf_hash
from comity.audit.retrieval.folder import RECORDS, begin_check, from_line
from comity.audit.trust import Trust
from comity.v1.records_pb2 import LogRecord

_EVERY = 1_000
_NONE: Mapping[str, Opening] = {}


class RecordsWalk:
    """The records of a folder, its statement verified. Raises `RecordsInvalid`.

    What was yielded counts only once the walk has ended without raising: then all records came.
    """

    has_openings = True

    def __init__(self, folder: Path, trust: Trust) -> None:
        self.folder = folder
        self._check = begin_check(folder, trust)
        self.note = self._check.statement.checkpoint
        self.checkpoint = self._check.checkpoint
        self._at: int | None = None
        self._openings: Mapping[str, Opening] = _NONE
        self._places: dict[int, int] = {}

    @property
    def origin(self) -> str:
        """The origin of the provider's log."""
        return self.checkpoint.origin

    @property
    def size(self) -> int:
        """How many entries the checkpoint covers."""
        return self.checkpoint.size

    def entries(
        self, running: RunningRoot | None = None, tell: Callable[[int, int], None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield index and bytes of every record's entry; `running` grows with each before it is yielded."""
        for place, record in self._lines(0):
            checked = self._check.take(record)
            self._at, self._openings = record.index, {one.name: one for one in checked.openings}
            if record.kept:
                self._places[record.index] = place
            if running is not None:
                running.add(leaf_hash(record.entry))
            if tell is not None and self._check.count % _EVERY == 0:
                tell(self._check.count, self._check.statement.count)
            yield record.index, record.entry
        self._check.finish()

    def openings(self, index: int) -> Mapping[str, Opening]:
        """Return the openings of the record that was yielded last."""
        return self._openings if index == self._at else _NONE

    def pairs(self, index: int) -> Mapping[str, tuple[bytes, str]]:
        """Return salt and value by name: the same in another form."""
        return {name: (each.salt, each.value) for name, each in self.openings(index).items()}

    def envelope(self, index: int, name: str) -> bytes | None:
        """Return evidence that was kept beside a record that was yielded; in any order."""
        place = self._places.get(index)
        if place is None:
            return None
        _, record = next(self._lines(place))
        return next((one.payload for one in record.kept if one.name == name), None)

    def _lines(self, place: int) -> Iterator[tuple[int, LogRecord]]:
        """Yield the records from a place in the file on, each with its place."""
        try:
            with (self.folder / RECORDS).open("rb") as lines:
                lines.seek(place)
                while line := lines.readline():
                    yield place, from_line(line.decode(), f"`{RECORDS}`, byte {place}")
                    place += len(line)
        except (OSError, UnicodeDecodeError) as problem:
            raise RecordsInvalid(f"`{self.folder / RECORDS}` can't be read") from problem
