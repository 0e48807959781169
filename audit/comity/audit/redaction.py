"""A copy of a log, of records or of evidence that can be published: chosen fields open, the rest closed.

A copy of a log holds what everyone may have, its `log/` folder, and beside it the chosen openings::

    OUT/log/                checkpoint, vkey, tile/…: byte for byte those of the log
    OUT/openings.jsonl      an entry a line: {"index": 17, "openings": {"reason": {"salt": …, "value": …}}}

So the copy verifies against the same checkpoint, with everybody's tools, and a value that was put in the
place of the true one doesn't open its commitment. Of records and evidence the copy has fewer openings and no
content; signatures, proofs and the statement stay as they are.
"""

import base64
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from comity.audit.beside import FOLDER, BesideFolder
from comity.audit.canonical import from_base64
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import LoggedEntry, Opening, object_without_doubles, parse_entry
from comity.audit.errors import AuditError, EvidenceInvalid, OpeningInvalid
from comity.audit.evidence import MANIFEST, is_evidence
from comity.audit.retrieval.folder import RecordsWriter, is_records, read_records, read_statement
from comity.audit.searching.kept import KeptBeside
from comity.audit.tiles import TILE_WIDTH, TileFolder, TileName, edge_names
from comity.certs.files import write_private
from comity.v1.records_pb2 import LogRecord

OPENINGS: Final = "openings.jsonl"
MAX_LINE: Final = 4 << 20
MAX_FINDINGS: Final = 20
_CONTENT: Final = ".bin"
"""The suffix of evidence that is content; every other file of it is signed or proven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redacted:
    """What a copy opens: how many entries it has, how many fields are open and how many stay closed."""

    what: str
    """`log`, `records` or `evidence`."""
    entries: int
    opened: int
    closed: int
    wanted: frozenset[str]
    """Names that were to be opened."""
    known: tuple[str, ...]
    """Names of the private fields that entries have; of evidence, those that are open in it."""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names that were to be opened, and that no entry has."""
        return tuple(sorted(self.wanted.difference(self.known)))


@dataclass(slots=True, kw_only=True)
class OpenedReport:
    """What was found about the openings beside a copy of a log."""

    path: Path
    opened: int = 0
    findings: list[str] = field(default_factory=list)


def redact(source: Path, out: Path, names: Collection[str]) -> Redacted:
    """Make a copy of what is in `source` with only the private fields of these names open.

    `source` is an end's folder, or one that `comity audit prove` or `retrieve` wrote. Raises `AuditError`,
    `EvidenceInvalid` if `out` isn't empty, and `OSError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise EvidenceInvalid(f"`{out}` is not empty; a copy goes into a folder of its own")
    if is_evidence(source):
        return _redact_evidence(source, out, names)
    if is_records(source):
        return _redact_records(source, out, names)
    return redact_log(source / "log", source / "state.db", out, names)


def redact_log(log: Path, state: Path, out: Path, names: Collection[str]) -> Redacted:
    """Copy a `log/` folder as far as its checkpoint reaches, and the chosen openings out of `state`."""
    try:
        note, vkey = (log / "checkpoint").read_bytes(), (log / "vkey").read_bytes()
    except OSError as problem:
        raise EvidenceInvalid(f"`{log}` is no log: `checkpoint` and `vkey` are expected in it") from problem
    tiles, size, beside = TileFolder(log), peek_checkpoint(note).size, BesideFolder(folder=log)
    for name in _tile_names(size):
        _write(out / "log" / name.path, tiles.read(name))
    _write(out / "log" / "vkey", vkey)
    opened, closed, seen = 0, 0, set[str]()
    descriptor = os.open(out / OPENINGS, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as lines, KeptBeside(state) as kept:
        for index, leaf in tiles.all_entries(size):
            if b'"private":{' not in leaf and b'"beside":{' not in leaf:
                continue
            entry = parse_entry(leaf)
            for public, value in entry.beside.items():
                _write(out / "log" / FOLDER / value.file, beside.read(entry.kind, public, value))
            seen |= entry.commitments.keys()
            chosen = _chosen(entry, kept, index, names)
            opened, closed = opened + len(chosen), closed + len(entry.commitments) - len(chosen)
            if chosen:
                lines.write(_line(index, chosen))
    _write(out / "log" / "checkpoint", note)
    return Redacted(
        what="log",
        entries=size,
        opened=opened,
        closed=closed,
        wanted=frozenset(names),
        known=tuple(sorted(seen)),
    )


def has_openings(log: Path) -> bool:
    """Return whether a redacted copy's openings lie beside a `log/` folder."""
    return (log.absolute().parent / OPENINGS).is_file()


def read_opened(path: Path) -> Iterator[tuple[int, dict[str, Opening]]]:
    """Yield the openings of a redacted copy, by entry; unverified. Raises `OpeningInvalid`."""
    try:
        with path.open(encoding="utf-8") as lines:
            number = 0
            while line := lines.readline(MAX_LINE):
                number += 1
                yield _opened(line, number)
    except (OSError, UnicodeDecodeError) as problem:
        raise OpeningInvalid(f"`{path.name}` can't be read") from problem


def check_opened(log: Path) -> OpenedReport:
    """Check the openings beside a `log/` folder against the entries of it, which are verified elsewhere."""
    report = OpenedReport(path=log.absolute().parent / OPENINGS)
    try:
        size = peek_checkpoint((log / "checkpoint").read_bytes()).size
        bundles = _Bundles(TileFolder(log), size)
        last = -1
        for index, openings in read_opened(report.path):
            if not last < index < size:
                raise OpeningInvalid(f"`{OPENINGS}`: entry {index} is out of order, or not in the log")
            last = index
            entry = parse_entry(bundles.entry(index))
            for opening in openings.values():
                try:
                    entry.open(opening)
                    report.opened += 1
                except OpeningInvalid as problem:
                    report.findings.append(f"entry {index}: {problem}")
            if len(report.findings) >= MAX_FINDINGS:
                break
    except (AuditError, OSError) as problem:
        report.findings.append(str(problem))
    return report


class _Bundles:
    """Reads entries of a log by ascending index, a bundle at a time."""

    def __init__(self, tiles: TileFolder, size: int) -> None:
        self._tiles = tiles
        self._size = size
        self._number = -1
        self._entries: list[bytes] = []

    def entry(self, index: int) -> bytes:
        number, offset = divmod(index, TILE_WIDTH)
        if number != self._number:
            width = min(TILE_WIDTH, self._size - number * TILE_WIDTH)
            self._entries = self._tiles.entries(TileName(level=None, index=number, width=width))
            self._number = number
        return self._entries[offset]


def _tile_names(size: int) -> Iterator[TileName]:
    """Yield every tile and bundle of a tree of that size."""
    for index in range(size // TILE_WIDTH):
        yield TileName(level=None, index=index)
    level, count = 0, size
    while count:
        for index in range(count // TILE_WIDTH):
            yield TileName(level=level, index=index)
        level, count = level + 1, count // TILE_WIDTH
    yield from edge_names(size)


def _chosen(entry: LoggedEntry, kept: KeptBeside, index: int, names: Collection[str]) -> list[Opening]:
    """Return the openings that are chosen and at hand, each checked; what is at hand no more stays closed."""
    wanted = entry.commitments.keys() & set(names)
    if not wanted:
        return []
    known = kept.openings(index)
    chosen = [known[name] for name in sorted(wanted & known.keys())]
    for opening in chosen:
        entry.open(opening)
    return chosen


def _line(index: int, openings: list[Opening]) -> str:
    document = {
        "index": index,
        "openings": {
            opening.name: {"salt": base64.b64encode(opening.salt).decode(), "value": opening.value}
            for opening in openings
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def _opened(line: str, number: int) -> tuple[int, dict[str, Opening]]:
    try:
        document = json.loads(line, object_pairs_hook=object_without_doubles)
        index = document["index"]
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError
        openings: dict[str, Opening] = {}
        for name, opening in document["openings"].items():
            value, salt = opening["value"], from_base64(opening["salt"])
            if not isinstance(value, str):
                raise TypeError
            openings[name] = Opening(name=name, salt=salt, value=value)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise OpeningInvalid(f"`{OPENINGS}`, line {number}: it holds no openings") from problem
    return index, openings


def _redact_records(source: Path, out: Path, names: Collection[str]) -> Redacted:
    writer = RecordsWriter(out, read_statement(source))
    entries, opened, closed, seen = 0, 0, 0, set[str]()
    try:
        for record in read_records(source):
            commitments = parse_entry(record.entry).commitments
            seen |= commitments.keys()
            copy = LogRecord(index=record.index, entry=record.entry, path=record.path)
            copy.openings.extend(one for one in record.openings if one.name in names)
            copy.kept.extend(one for one in record.kept if one.name != "query")
            writer.add(copy)
            entries, opened = entries + 1, opened + len(copy.openings)
            closed += len(commitments) - len(copy.openings)
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return Redacted(
        what="records",
        entries=entries,
        opened=opened,
        closed=closed,
        wanted=frozenset(names),
        known=tuple(sorted(seen)),
    )


def _redact_evidence(source: Path, out: Path, names: Collection[str]) -> Redacted:
    """Copy evidence: the manifest with fewer openings, and all files but content."""
    wrong = EvidenceInvalid(f"`{source / MANIFEST}`: not what `comity audit prove` writes")
    opened, closed, seen = 0, 0, set[str]()
    try:
        document = json.loads((source / MANIFEST).read_bytes())
        files: list[str] = []
        for entry in document["entries"]:
            seen |= entry["openings"].keys()
            closed += len(entry["openings"])
            entry["openings"] = {name: one for name, one in entry["openings"].items() if name in names}
            opened += len(entry["openings"])
            entry["kept"] = {
                name: file for name, file in entry["kept"].items() if not file.endswith(_CONTENT)
            }
            files += [entry["proof"], *entry["kept"].values()]
        for path in sorted((source / FOLDER).glob("*")):
            write_private(out / FOLDER / path.name, path.read_bytes())
        for file in files:
            if Path(file).name != file:
                raise wrong
            write_private(out / file, (source / file).read_bytes())
        write_private(out / MANIFEST, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        with suppress(OSError):
            (out / MANIFEST).unlink()
        raise wrong from problem
    return Redacted(
        what="evidence",
        entries=len(document["entries"]),
        opened=opened,
        closed=closed - opened,
        wanted=frozenset(names),
        known=tuple(sorted(seen)),
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
