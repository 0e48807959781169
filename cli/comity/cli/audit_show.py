"""One log as a person reads it: entries in plain words, private fields opened where that is possible."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comity.audit.beside import whole_entry
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import KINDS, JsonValue, LoggedEntry, Opening, from_milliseconds
from comity.audit.errors import EntryInvalid, OpeningInvalid, TileInvalid
from comity.audit.openings import read_openings
from comity.audit.redaction import read_opened
from comity.audit.tiles import TileFolder
from comity.cli.plain import clean

CLOSED = "closed"
_SHORT_DIGEST = 12
_LONG_FIELDS = frozenset({"note", "root", "last_note", "cosignature", "proof"})
_FIRST = ("agency", "peer", "peer_origin", "size", "outcome", "reason")
_FIRST_PRIVATE = ("plate", "state", "country", "period", "area", "reason", "case", "user", "office")
_WORDS: Mapping[str, str] = {
    "checkpoint_seen": "peer's checkpoint seen",
    "order_refused": "order refused",
    "turned_down": "turned down in the house",
    "accounted": "account signed",
    "routed": "order accepted, announced",
    "received": "query received",
    "decided": "decision",
    "released": "result released",
    "rejected": "query rejected",
    "delivered": "result delivered",
    "concluded": "answer concluded",
    "contradiction": "CONTRADICTION",
    "answered": "receipt signed",
    "acknowledged": "requester acknowledged",
    "unacknowledged": "NOT ACKNOWLEDGED",
    "key_rotated": "log key replaced",
    "reviewed": "review signed off",
    "exported": "records exported",
    "deleted": "records deleted",
    "held": "legal hold",
    "unproven": "PEER'S LOG UNPROVEN",
    "pardoned": "refusal of a peer lifted",
    "logged_on": "user logged on",
    "user_suspended": "USER SUSPENDED",
    "user_terminated": "user's access ended",
    "user_readmitted": "user readmitted",
    "user_act_noted": "provider noted acts",
    "hot_list_changed": "hot list changed",
    "identity_accepted": "identity key accepted",
    "revocations_activated": "revocations in force",
    "call_cut": "CALL CUT OFF",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateField:
    """A commitment, and the value behind it if its opening is at hand and true."""

    name: str
    commitment: bytes
    value: str | None
    is_false: bool = False
    """Whether there is an opening that does not open the commitment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry; `fault` in its place if it can't be read."""

    index: int
    entry: LoggedEntry | None
    private: tuple[PrivateField, ...] = ()
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """What is shown of a log."""

    path: Path
    origin: str
    size: int
    has_openings: bool
    rows: tuple[Row, ...]

    def only(self, *, exchange: str | None, kind: str | None, last: int | None) -> LogPage:
        """Return the page with fewer rows. Raises `EntryInvalid` for a kind or id that can't be."""
        rows = list(self.rows)
        if kind is not None:
            word = kind.lower().replace("-", "_")
            if word not in KINDS:
                raise EntryInvalid(f"kind `{kind}` is not one of {', '.join(sorted(KINDS))}")
            rows = [row for row in rows if row.entry is not None and row.entry.kind == word]
        if exchange is not None:
            prefix = exchange.lower()
            if not prefix or set(prefix) - set("0123456789abcdef"):
                raise EntryInvalid(f"exchange `{exchange}` is not hex")
            rows = [row for row in rows if row.entry is not None and _hex(row.entry).startswith(prefix)]
        return replace(self, rows=tuple(rows[-last:] if last else rows))

    @property
    def faults(self) -> bool:
        """Whether an entry can't be read or an opening is false."""
        return any(row.fault or any(field.is_false for field in row.private) for row in self.rows)


def _known(openings: Path) -> Mapping[int, Mapping[str, Opening]]:
    """Return the openings of a `state.db`, or of those beside a redacted copy."""
    return dict(read_opened(openings)) if openings.suffix == ".jsonl" else read_openings(openings)


def read_page(log: Path, *, openings: Path | None) -> LogPage:
    """Read a `log/` folder and, if given, the openings in a `state.db`. Raises `AuditError`s."""
    try:
        checkpoint = peek_checkpoint((log / "checkpoint").read_bytes())
    except OSError as problem:
        raise TileInvalid(f"`{log / 'checkpoint'}` can't be read") from problem
    known = _known(openings) if openings else {}
    rows = [
        _row(index, leaf, log, known.get(index, {}))
        for index, leaf in TileFolder(log).all_entries(checkpoint.size)
    ]
    return LogPage(
        path=log,
        origin=checkpoint.origin,
        size=checkpoint.size,
        has_openings=openings is not None,
        rows=tuple(rows),
    )


def render(page: LogPage, console: Console) -> None:
    """Print the page as a table that fits the console's width."""
    head = f"{clean(page.origin)}: {len(page.rows)} of {page.size} entries"
    if page.has_openings:
        head += ", openings at hand"
    elif any(row.private for row in page.rows):
        head += ", no openings at hand: private fields are closed"
    console.print(Text(head, style="bold"), soft_wrap=True)
    if not page.rows:
        return
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("what", max_width=24)
    table.add_column("exchange", no_wrap=True)
    table.add_column("details", overflow="fold", ratio=1)
    for row in page.rows:
        if row.entry is None:
            table.add_row(
                str(row.index), "", Text("unreadable", style="bold red"), "", Text(clean(row.fault))
            )
            continue
        table.add_row(
            str(row.index),
            _moment(row.entry.at),
            Text(_WORDS.get(row.entry.kind, row.entry.kind.replace("_", " "))),
            _hex(row.entry)[:8],
            _details(row),
        )
    console.print(table)
    console.print(Text("This reads the log; `comity audit verify` verifies it.", style="dim"))


def to_json(page: LogPage) -> dict[str, object]:
    """Return the page for scripts; a private field has `state` `open`, `closed` or `false`."""
    return {
        "path": str(page.path),
        "origin": page.origin,
        "size": page.size,
        "entries": [_row_json(row) for row in page.rows],
    }


def _row(index: int, leaf: bytes, log: Path, openings: Mapping[str, Opening]) -> Row:
    try:
        entry = whole_entry(leaf, log)
    except EntryInvalid as problem:
        return Row(index=index, entry=None, fault=str(problem))
    names = [name for name in _FIRST_PRIVATE if name in entry.commitments]
    names += [name for name in entry.commitments if name not in _FIRST_PRIVATE]
    private = tuple(_private_field(entry, name, openings.get(name)) for name in names)
    return Row(index=index, entry=entry, private=private)


def _private_field(entry: LoggedEntry, name: str, opening: Opening | None) -> PrivateField:
    commitment = entry.commitments[name]
    if opening is None:
        return PrivateField(name=name, commitment=commitment, value=None)
    try:
        return PrivateField(name=name, commitment=commitment, value=entry.open(opening))
    except OpeningInvalid:
        return PrivateField(name=name, commitment=commitment, value=None, is_false=True)


def _details(row: Row) -> Text:
    assert row.entry is not None
    text = Text()
    public: dict[str, JsonValue] = {
        **row.entry.public,
        **{name: f"{one.size:,} bytes beside the log, see --json" for name, one in row.entry.beside.items()},
    }
    names = [name for name in _FIRST if name in public]
    names += [name for name in public if name not in _FIRST and name not in _LONG_FIELDS]
    for name in names:
        _add(text, name.replace("_", " "), Text(_public(name, public[name])))
    for field in row.private:
        if field.is_false:
            shown = Text("FALSE OPENING", style="bold red")
        elif field.value is None:
            shown = Text(CLOSED, style="dim")
        else:
            is_long = field.name == "list"  # a hot list: `comity hotlist show` has its plates
            shown = Text(f"{len(field.value)} characters" if is_long else _opened(field.value), style="bold")
        _add(text, field.name.replace("_", " "), shown)
    return text


def _add(text: Text, name: str, value: Text) -> None:
    if text:
        text.append("; ")
    text.append(clean(name) + " ", style="dim")
    text.append_text(value)


def _public(name: str, value: JsonValue) -> str:
    """Return a public field's value in words; a deadline is a time, in ms since 1970."""
    if name == "deadline" and isinstance(value, int) and not isinstance(value, bool):
        try:
            return f"{_moment(from_milliseconds(value))} UTC"
        except (ValueError, OverflowError, OSError):
            return str(value)
    return _value(value)


def _opened(value: str) -> str:
    """Return an opened value in words: a list that is written as JSON as a list of words."""
    if value.startswith("["):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            return clean(value)
        if isinstance(listed, list) and all(isinstance(each, str) for each in listed):
            return ", ".join(map(clean, listed)) or "none"
    return clean(value) or "none"


def _value(value: JsonValue) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{clean(name)} {_value(each)}" for name, each in value.items())
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    words = clean(str(value))
    is_digest = len(words) >= 32 and not set(words) - set("0123456789abcdef")
    return f"{words[:_SHORT_DIGEST]}…" if is_digest else words


def _hex(entry: LoggedEntry) -> str:
    return entry.exchange.hex() if entry.exchange else ""


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _row_json(row: Row) -> dict[str, object]:
    if row.entry is None:
        return {"index": row.index, "fault": row.fault}
    return {
        "index": row.index,
        "at": row.entry.at.isoformat().replace("+00:00", "Z"),
        "kind": row.entry.kind,
        "exchange": _hex(row.entry) or None,
        "public": dict(row.entry.public),
        "private": {field.name: _private_json(field) for field in row.private},
    }


def _private_json(field: PrivateField) -> dict[str, object]:
    state = "false" if field.is_false else "closed" if field.value is None else "open"
    return {
        "state": state,
        "value": field.value,
        "commitment": base64.b64encode(field.commitment).decode(),
    }
