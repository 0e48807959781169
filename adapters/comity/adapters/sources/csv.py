"""A store in a CSV file.

The file is read once, at the start, into a private index that nobody else can open (a SQLite file
in the adapter's home that has no name any more, so it is gone with the process), and again when the
file has changed. A row that cannot be used is counted with its reason and kept aside in the
adapter's home, `rejected/STORE.jsonl`, mode 0600, because it may hold a plate. It never stops the
reading, and it is never silent: the counts are logged and shown by `comity adapter check`.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Self

from comity.adapters.errors import SourceFailed, SourceUnavailable
from comity.adapters.sources.mapping import CsvPlace, StoreMapping
from comity.adapters.sources.records import Record, RecordReader, first_record
from comity.adapters.sources.rows import RowReader
from comity.adapters.sources.source import (
    Progress,
    SourceDescription,
    SourceQuery,
    SourceResult,
    StoredImage,
    StoredRead,
    Survey,
)
from comity.adapters.sources.times import EARLIEST, LATEST, RowUnusable
from comity.certs.errors import FileUnusable
from comity.certs.files import write_private

MAX_KEPT_ASIDE = 10_000
"""The most rejected rows that are kept aside; all are counted."""

TOO_FEW_FIELDS = "row has fewer fields than the header"
TOO_MANY_FIELDS = "row has more fields than the header"
REPEATED_ROW = "row repeats an earlier one"
REPEATED_ID = "read id is an earlier row's already"

_log = logging.getLogger(__name__)
_ROWS_AT_ONCE = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TEXTS = (
    "read_id",
    "plate",
    "state",
    "country",
    "address",
    "intersection",
    "make",
    "model",
    "colour",
    "direction",
    "camera",
    "camera_owner",
    "camera_kind",
    "source",
)
_TYPES = {"at": "INTEGER", "latitude": "REAL", "longitude": "REAL", "confidence": "REAL"}
_COLUMNS = ("folded", "at", "latitude", "longitude", "confidence", "images", *_TEXTS)


class CsvSource:
    """A CSV file of reads. Safe to use from several threads at once."""

    def __init__(self, mapping: StoreMapping, progress: Progress | None = None) -> None:
        """Read the file.

        Raises:
            SourceUnavailable: It is not there, or its header is not as mapped.
        """
        if not isinstance(mapping.place, CsvPlace):
            raise SourceUnavailable(f"store `{mapping.store_id}`: not a file store")
        self._mapping = mapping
        self._place = mapping.place
        self._lock = threading.Lock()
        self._loaded = _load(mapping, mapping.place, progress)

    def search(self, query: SourceQuery) -> SourceResult:
        """Return the reads that answer the query, newest first.

        Raises:
            SourceFailed: The file changed and cannot be read any more.
        """
        statement = (
            f"SELECT {', '.join(_COLUMNS)} FROM read WHERE folded = ? AND at >= ? AND at < ? "  # noqa: S608
            "ORDER BY at DESC, read_id DESC"
        )
        period = _microseconds(max(query.start, EARLIEST)), _microseconds(min(query.end, LATEST))
        found: list[StoredRead] = []
        with self._lock:
            self._reload_if_changed()
            try:
                for row in self._loaded.index.execute(statement, (query.folded_plate, *period)):
                    read = self._restore(row)
                    if query.admits(read):
                        found.append(read)
                    if len(found) > query.limit:
                        break
            except sqlite3.Error as error:
                raise SourceFailed(
                    f"store `{self._mapping.store_id}`: index failed: {type(error).__name__}"
                ) from None
        return SourceResult(reads=tuple(found[: query.limit]), truncated=len(found) > query.limit)

    def _restore(self, row: Sequence[object]) -> StoredRead:
        """Return the read that a row of the index holds."""
        _, at, latitude, longitude, confidence, images, *texts = row
        return StoredRead(
            store_id=self._mapping.store_id,
            captured_at=_EPOCH + int(str(at)) * _MICROSECOND,
            latitude=latitude if isinstance(latitude, float) else None,
            longitude=longitude if isinstance(longitude, float) else None,
            confidence=confidence if isinstance(confidence, float) else None,
            images=_images_from(str(images)),
            **dict(zip(_TEXTS, map(str, texts), strict=True)),
        )

    def _reload_if_changed(self) -> None:
        """Read the file again if it is not the one that was read. The lock is held."""
        if _version(self._place.path) == self._loaded.version:
            return
        try:
            loaded = _load(self._mapping, self._place, None)
        except SourceUnavailable as error:
            raise SourceFailed(str(error)) from None
        self._loaded.index.close()
        self._loaded = loaded

    def describe(self) -> SourceDescription:
        """Return what the store is, without reading it."""
        return SourceDescription(
            store_id=self._mapping.store_id,
            store_class=self._mapping.store_class,
            kind="csv",
            place=self._place.path.name,
            columns={field: " ".join(names) for field, names in self._mapping.columns.items()},
        )

    def survey(self, progress: Progress | None = None) -> Survey:
        """Return what the file holds, counted when it was read.

        Raises:
            SourceFailed: The file changed and cannot be read any more.
        """
        with self._lock:
            self._reload_if_changed()
            return self._loaded.survey

    def close(self) -> None:
        """Let go of the index, which is then gone."""
        with self._lock:
            self._loaded.index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A file as it was read: its index, what it holds, and which version of it that was."""

    index: sqlite3.Connection = field(repr=False)
    survey: Survey
    version: tuple[int, int, int] | None


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What has been counted while a file is read."""

    usable: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    aside: list[bytes] = field(default_factory=list, repr=False)

    def reject(self, record: Record, reason: str) -> None:
        """Count a row that cannot be used, and keep it for the agency's own eyes."""
        self.rejected[reason] += 1
        if len(self.aside) < MAX_KEPT_ASIDE:
            row = [value[:500] for value in record.fields[:100]]
            self.aside.append(json.dumps({"line": record.line, "reason": reason, "row": row}).encode())

    def accept(self, read: StoredRead, notes: Sequence[str]) -> None:
        """Count a row that is used."""
        self.usable += 1
        self.noted.update(notes)
        self.first = read.captured_at if self.first is None else min(self.first, read.captured_at)
        self.last = read.captured_at if self.last is None else max(self.last, read.captured_at)

    def survey(self) -> Survey:
        """Return the counts."""
        return Survey(
            usable=self.usable,
            rejected=dict(self.rejected),
            noted=dict(self.noted),
            first=self.first,
            last=self.last,
        )


class _Identities:
    """Tells rows that are there twice, and gives ids to rows that have none of their own."""

    def __init__(self, mapping: StoreMapping) -> None:
        self._has_ids = "read_id" in mapping.columns
        self._times_seen: Counter[str] = Counter()
        self._rows_seen: set[int] = set()

    def settle(self, read_id: str, fields: Sequence[str]) -> str:
        """Return the id of a row, unique in its file.

        Raises:
            RowUnusable: The row, or its id, is an earlier one's.
        """
        if not self._has_ids:
            row = hash((read_id, *fields))
            if row in self._rows_seen:
                raise RowUnusable(REPEATED_ROW)
            self._rows_seen.add(row)
        self._times_seen[read_id] += 1
        seen = self._times_seen[read_id]
        if seen > 1 and self._has_ids:
            raise RowUnusable(REPEATED_ID)
        return read_id if seen == 1 else f"{read_id}-{seen}"


def _load(mapping: StoreMapping, place: CsvPlace, progress: Progress | None) -> _Loaded:
    """Read a file into a new index.

    Raises:
        SourceUnavailable: It is not there, or its header is not as mapped.
    """
    version = _version(place.path)
    tally = _Tally()
    index = _private_index(mapping.home)
    try:
        _fill(index, mapping, place, tally, progress)
    except BaseException as error:
        index.close()
        if isinstance(error, OSError):
            fault = f"cannot be read: {error.strerror}"
        elif isinstance(error, UnicodeError):
            fault = f"is not written in `{place.encoding}`"
        elif isinstance(error, sqlite3.Error):
            fault = f"cannot be indexed: {type(error).__name__}"
        else:
            raise
        raise SourceUnavailable(f"store `{mapping.store_id}`: `{place.path}` {fault}") from None
    survey = tally.survey()
    _keep_aside(mapping, tally)
    _log.info(
        "store `%s`: %d rows usable, %d rejected%s",
        mapping.store_id,
        survey.usable,
        survey.rejected_count,
        "".join(f"; {count} x {reason}" for reason, count in sorted(survey.rejected.items())),
    )
    return _Loaded(index=index, survey=survey, version=version)


def _fill(
    index: sqlite3.Connection,
    mapping: StoreMapping,
    place: CsvPlace,
    tally: _Tally,
    progress: Progress | None,
) -> None:
    """Put every usable row of a file into an index."""
    with place.path.open("rb") as binary:
        size = os.fstat(binary.fileno()).st_size
        _refuse_utf16(binary.read(2), mapping, place)
        binary.seek(0)
        file = TextIOWrapper(binary, encoding=_encoding(place), errors=_on_broken_bytes(place), newline="")
        records, rows = _open_records(file, mapping, place)
        index.execute("BEGIN")
        for batch in _batches(records, rows, mapping, tally):
            index.executemany(f"INSERT INTO read VALUES ({', '.join('?' * len(_COLUMNS))})", batch)  # noqa: S608
            if progress is not None:
                progress(binary.tell(), size)
        index.execute("CREATE INDEX by_plate ON read (folded, at)")
        index.execute("COMMIT")


def _open_records(
    file: TextIOWrapper, mapping: StoreMapping, place: CsvPlace
) -> tuple[Iterator[Record], tuple[RowReader, int]]:
    """Return the file's records behind the header, how to read them, and how wide they are."""
    if place.header:
        header = list(place.header)
        reader = RecordReader(file, place.delimiter)
    else:
        reader, first = first_record(file, place.delimiter)
        if first is None or first.rejected:
            raise SourceUnavailable(f"store `{mapping.store_id}`: `{place.path}` has no header line")
        header = [name.strip().removeprefix("\ufeff") for name in first.fields]
    return reader.records(len(header)), (
        RowReader(mapping, header, hint=f"; the file's first line has {len(header)} columns"),
        len(header),
    )


def _batches(
    records: Iterator[Record], rows: tuple[RowReader, int], mapping: StoreMapping, tally: _Tally
) -> Iterator[list[tuple[object, ...]]]:
    """Yield what goes into the index, a thousand rows at a time; count the rest."""
    reader, width = rows
    identities = _Identities(mapping)
    batch: list[tuple[object, ...]] = []
    for record in records:
        try:
            batch.append(_index_row(record, reader, width, identities, tally))
        except RowUnusable as reason:
            tally.reject(record, str(reason))
        if len(batch) >= _ROWS_AT_ONCE:
            yield batch
            batch = []
    yield batch


def _index_row(
    record: Record, reader: RowReader, width: int, identities: _Identities, tally: _Tally
) -> tuple[object, ...]:
    """Return a record as a row of the index.

    Raises:
        RowUnusable: It is no read.
    """
    if record.rejected:
        raise RowUnusable(record.rejected)
    fields = [value.strip() for value in record.fields]
    if len(fields) < width:
        raise RowUnusable(TOO_FEW_FIELDS)
    if any(fields[width:]):
        raise RowUnusable(TOO_MANY_FIELDS)
    row = reader.read(fields)
    read = row.read
    read_id = identities.settle(read.read_id, fields)
    tally.accept(read, row.notes)
    texts = {name: getattr(read, name) for name in _TEXTS} | {"read_id": read_id}
    return (
        row.folded_plate,
        _microseconds(read.captured_at),
        read.latitude,
        read.longitude,
        read.confidence,
        _images_to(read.images),
        *texts.values(),
    )


def _private_index(home: Path) -> sqlite3.Connection:
    """Return an empty index that no other process can open and that is gone when it is closed."""
    try:
        index = _nameless(home / "index")
    except (OSError, sqlite3.Error):
        index = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    columns = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in _COLUMNS)
    index.execute(f"CREATE TABLE read ({columns})")
    return index


def _nameless(folder: Path) -> sqlite3.Connection:
    """Return a database in a file that has lost its name: only this connection reaches it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, suffix=".db")
    os.close(handle)
    try:
        index = sqlite3.connect(name, check_same_thread=False, isolation_level=None)
        for statement in ("locking_mode = EXCLUSIVE", "journal_mode = OFF", "synchronous = OFF"):
            index.execute(f"PRAGMA {statement}")
        index.execute("BEGIN EXCLUSIVE")
        index.execute("COMMIT")
    finally:
        Path(name).unlink()
    return index


def _keep_aside(mapping: StoreMapping, tally: _Tally) -> None:
    """Write the rejected rows where only the agency can read them, or take an old such file away."""
    path = mapping.home / "rejected" / f"{mapping.store_id}.jsonl"
    try:
        if not tally.aside:
            path.unlink(missing_ok=True)
            return
        write_private(path, b"\n".join(tally.aside) + b"\n")
    except (OSError, FileUnusable) as error:
        _log.warning(
            "store `%s`: rejected rows cannot be kept aside: %s", mapping.store_id, type(error).__name__
        )


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is changed or replaced; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _encoding(place: CsvPlace) -> str:
    """Return the encoding to read with: UTF-8 with or without a byte order mark is the same."""
    return "utf-8-sig" if codecs.lookup(place.encoding).name == "utf-8" else place.encoding


def _on_broken_bytes(place: CsvPlace) -> str:
    """Return how bytes that mean nothing are kept, so that the row that holds them is the only one lost."""
    return (
        "replace"
        if codecs.lookup(place.encoding).name.startswith(("utf-16", "utf-32"))
        else "surrogateescape"
    )


def _refuse_utf16(start: bytes, mapping: StoreMapping, place: CsvPlace) -> None:
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) and _on_broken_bytes(place) != "replace":
        raise SourceUnavailable(
            f'store `{mapping.store_id}`: `{place.path}` is UTF-16; the mapping needs `encoding = "utf-16"`'
        )


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _images_to(images: Sequence[StoredImage]) -> str:
    return (
        json.dumps([[image.image_id, image.view, image.digest.hex()] for image in images]) if images else ""
    )


def _images_from(text: str) -> tuple[StoredImage, ...]:
    return tuple(
        StoredImage(image_id=image_id, view=view, digest=bytes.fromhex(digest))
        for image_id, view, digest in (json.loads(text) if text else ())
    )
