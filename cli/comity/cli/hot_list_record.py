"""The agency's own record of hot lists, from its gateway's signed log and the openings beside it (H8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from comity.audit.entry import LoggedEntry, read_entry
from comity.audit.errors import AuditError, OpeningInvalid
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk
from comity.cli.exporting.end import open_end, telling
from comity.cli.reporting import stop
from comity.gateway.hot_lists import KIND, documented

_WANTED = frozenset({"user", "office", "note", "list"})
_ON_IT = ("entered", "kept", "renewed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One entry of the log, opened."""

    index: int
    entry: LoggedEntry
    values: Mapping[str, str] = field(repr=False)
    rows: tuple[Mapping[str, str], ...] | None = field(repr=False)
    """Its plates; None: the opening was deleted, or is false."""
    is_false: bool = False
    """Its opening does not open what the log holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnList:
    """A plate that is on a hot list, as the record has it."""

    holder: str
    row: Mapping[str, str] = field(repr=False)
    user: str = field(repr=False)
    """Who entered, reviewed or renewed it last."""
    office: str
    reviewed: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that a log tells of hot lists, in its order."""

    changes: tuple[Change, ...]
    false: int
    """Entries whose opening does not open what the log holds."""

    @property
    def on_lists(self) -> tuple[OnList, ...]:
        """The plates that nobody removed, and that nobody said to have expired."""
        found: dict[tuple[str, ...], OnList] = {}
        for change in self.changes:
            act, holder = str(change.entry.public.get("act")), str(change.entry.public.get("holder"))
            for row in change.rows or ():
                key = (holder, *(row.get(name, "") for name in ("folded", "state", "country", "reason")))
                if act in _ON_IT:
                    found[key] = OnList(
                        holder=holder,
                        row=row,
                        user=change.values.get("user", ""),
                        office=change.values.get("office", ""),
                        reviewed=change.entry.at,
                    )
                else:
                    found.pop(key, None)
        return tuple(found.values())

    def closed_since(self, since: datetime) -> int:
        """Return how many acts put plates on lists, or kept them there, that nobody can read any more."""
        return sum(
            change.rows is None and not change.is_false and str(change.entry.public.get("act")) in _ON_IT
            for change in self.changes
            if change.entry.at >= since
        )

    def of_plate(self, folded: str) -> Record:
        """Return what it tells of one plate alone."""
        kept = (
            replace(change, rows=tuple(row for row in change.rows if row.get("folded") == folded))
            for change in self.changes
            if change.rows is not None
        )
        return replace(self, changes=tuple(change for change in kept if change.rows))


def read_record(home: Path, trust_file: Path | None) -> Record:
    """Return the record in a gateway's folder; a log that doesn't lead to its checkpoint ends the command."""
    end = open_end(home, trust_file)
    changes: list[Change] = []
    try:
        with KeptBeside(end.state, only=_WANTED) as kept, telling("entries") as tell:
            for index, leaf in LogWalk(end.log, keys=end.keys).entries(tell=tell):
                if KIND.encode() not in leaf or (entry := read_entry(leaf)).kind != KIND:
                    continue
                openings = kept.openings(index)
                values: Mapping[str, str] = {}
                is_false = False
                try:
                    values = {name: entry.open(openings[name]) for name in _WANTED & openings.keys()}
                except OpeningInvalid:
                    is_false = True
                rows = documented(values.get("list"))
                changes.append(Change(index=index, entry=entry, values=values, rows=rows, is_false=is_false))
    except AuditError as error:
        stop(str(error), status=1)
    return Record(changes=tuple(changes), false=sum(change.is_false for change in changes))


def false_openings(record: Record) -> str:
    """Return the line that tells of false openings."""
    return f"{record.false} openings are false: state.db is not what the log commits to"
