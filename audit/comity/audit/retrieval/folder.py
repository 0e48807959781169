"""Records of an agency's own users in a folder, as an auditor keeps and verifies them (L3).

::

    OUT/statement.dsse.json     what the provider signed: whose records, which period, how many, their root
    OUT/records.jsonl           a record a line: index, entry, path, openings, kept

An entry stands there as JSON; its bytes in the log are the same JSON in canonical form (RFC 8785). The folder
needs nothing else but the trust file. What isn't opened is a commitment and stays one.
"""

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

import rfc8785
from google.protobuf.message import DecodeError

from comity.audit.canonical import from_base64
from comity.audit.entry import object_without_doubles
from comity.audit.errors import AuditError, RecordsInvalid
from comity.audit.retrieval.checking import CheckedRecord, RecordsCheck, open_statement
from comity.audit.trust import Trust
from comity.certs.envelope import from_json, to_json
from comity.certs.errors import CertsError
from comity.certs.files import write_private
from comity.v1.audit_pb2 import Opening
from comity.v1.envelope_pb2 import Envelope
from comity.v1.records_pb2 import KeptBeside, LogRecord, RecordsStatement

STATEMENT: Final = "statement.dsse.json"
RECORDS: Final = "records.jsonl"
MAX_LINE: Final = 4 << 20
"""Characters of one line; a longer one is no record."""
MAX_FINDINGS: Final = 20


@dataclass(slots=True, kw_only=True)
class RecordsReport:
    """What was found about a folder of records."""

    path: Path
    provider: str = ""
    requester: str = ""
    origin: str = ""
    period: str = ""
    count: int = 0
    opened: int = 0
    """Private fields that are open, and true."""
    statements: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def verified(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


class RecordsWriter:
    """Writes a folder of records as they come; without `finish` there is no folder that looks whole."""

    def __init__(self, folder: Path, statement: Envelope) -> None:
        """Raises `RecordsInvalid` if the folder isn't empty, and `OSError`."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise RecordsInvalid(f"`{folder}` is not empty; records go into a folder of their own")
        self._folder = folder
        self._part = folder / f".{RECORDS}.part"
        self._statement = statement
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file: TextIO = os.fdopen(descriptor, "w", encoding="utf-8")

    def add(self, record: LogRecord) -> None:
        """Write one record."""
        self._file.write(to_line(record))

    def finish(self) -> None:
        """Make the folder whole, durably."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._folder / RECORDS)
        write_private(self._folder / STATEMENT, to_json(self._statement))

    def abandon(self) -> None:
        """Remove what was written; a folder that was made stays, empty."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink()


def is_records(folder: Path) -> bool:
    """Return whether a folder holds records that `RecordsWriter` wrote."""
    return (folder / STATEMENT).is_file() and (folder / RECORDS).is_file()


def read_statement(folder: Path) -> Envelope:
    """Return the envelope of a folder's statement, unverified. Raises `RecordsInvalid`."""
    try:
        return from_json((folder / STATEMENT).read_bytes())
    except (OSError, CertsError) as problem:
        raise RecordsInvalid(f"`{folder / STATEMENT}` can't be read") from problem


def read_records(folder: Path) -> Iterator[LogRecord]:
    """Yield a folder's records, unverified. Raises `RecordsInvalid` for a line that is none."""
    try:
        with (folder / RECORDS).open(encoding="utf-8") as lines:
            number = 0
            while line := lines.readline(MAX_LINE):
                number += 1
                yield from_line(line, f"`{RECORDS}`, line {number}")
    except (OSError, UnicodeDecodeError) as problem:
        raise RecordsInvalid(f"`{folder / RECORDS}` can't be read") from problem


def begin_check(folder: Path, trust: Trust) -> RecordsCheck:
    """Return the check of a folder's records, its statement verified. Raises `RecordsInvalid`.

    A policy file as trust has no statement keys: then the statement's signature is not verified, and the
    checkpoint in it is.
    """
    envelope = read_statement(folder)
    try:
        claimed = RecordsStatement.FromString(envelope.payload)
    except DecodeError as problem:
        raise RecordsInvalid(f"`{STATEMENT}` holds no statement") from problem
    try:
        if trust.roster is not None:
            claimed = open_statement(envelope, trust.roster.member(claimed.provider))
    except CertsError as problem:
        raise RecordsInvalid(f"statement: {problem}") from problem
    origins = [
        log.origin for log in trust.logs.values() if (log.agency, log.end) == (claimed.provider, "adapter")
    ]
    if not origins:
        raise RecordsInvalid(f"statement: the trust file names no log of `{claimed.provider[:60]}`'s adapter")
    return RecordsCheck(claimed, keys=trust.history(origins[0]), roster=trust.roster)


def check_records(
    folder: Path, trust: Trust, tell: Callable[[int, int], None] = lambda done, whole: None
) -> RecordsReport:
    """Verify a folder of records with the trust file alone; `tell` hears now and then how far it is."""
    report = RecordsReport(path=folder)
    try:
        check = begin_check(folder, trust)
    except AuditError as problem:
        report.findings.append(str(problem))
        return report
    wanted = check.wanted
    report.provider, report.requester = wanted.provider, wanted.requester
    report.origin = check.checkpoint.origin
    report.period = f"{wanted.start:%Y-%m-%dT%H:%M:%SZ} to {wanted.end:%Y-%m-%dT%H:%M:%SZ}"
    report.statements.append(
        f"statement: signed by {wanted.provider}"
        if trust.roster is not None
        else "statement: a policy file has no keys to verify it"
    )
    try:
        for record in read_records(folder):
            report.opened += len(check.take(record).openings)
            report.count += 1
            if report.count % 1000 == 0:
                tell(report.count, check.statement.count)
        check.finish()
    except AuditError as problem:
        report.findings.append(str(problem))
    return report


def checked_records(folder: Path, trust: Trust) -> Iterator[CheckedRecord]:
    """Yield a folder's records as they pass; raise `RecordsInvalid` at the first that doesn't."""
    check = begin_check(folder, trust)
    for record in read_records(folder):
        yield check.take(record)
    check.finish()


def to_line(record: LogRecord) -> str:
    """Return a record as a line of JSON."""
    kept: dict[str, object] = {}
    for one in record.kept:
        if one.name == "query":
            kept[one.name] = base64.b64encode(one.payload).decode()
        else:
            kept[one.name] = json.loads(to_json(Envelope.FromString(one.payload)))
    document = {
        "index": record.index,
        "entry": json.loads(record.entry),
        "path": [base64.b64encode(hash_).decode() for hash_ in record.path],
        "openings": {
            one.name: {"salt": base64.b64encode(one.salt).decode(), "value": one.value}
            for one in record.openings
        },
        "kept": kept,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def from_line(line: str, name: str) -> LogRecord:
    """Return the record of a line; raise `RecordsInvalid`, whose text begins with `name`."""
    try:
        document = json.loads(line, object_pairs_hook=object_without_doubles)
        record = LogRecord(
            index=document["index"],
            entry=rfc8785.dumps(document["entry"]),
            path=[from_base64(hash_) for hash_ in document["path"]],
        )
        for field_name, opening in document["openings"].items():
            salt = from_base64(opening["salt"])
            record.openings.append(
                Opening(index=record.index, name=field_name, salt=salt, value=opening["value"])
            )
        record.kept.extend(_kept(document["kept"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as problem:
        raise RecordsInvalid(f"{name}: it is no record") from problem
    except (CertsError, rfc8785.CanonicalizationError) as problem:
        raise RecordsInvalid(f"{name}: {problem}") from problem
    return record


def _kept(document: Mapping[str, object]) -> Iterator[KeptBeside]:
    for name, value in document.items():
        if isinstance(value, str):
            yield KeptBeside(name=name, payload=from_base64(value))
        else:
            envelope = from_json(json.dumps(value).encode())
            yield KeptBeside(name=name, payload=envelope.SerializeToString())
