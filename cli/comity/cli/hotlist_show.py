"""`comity hotlist show`: the agency's own record of what was done to hot lists (H8, GUI K.3)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from comity.audit.entry import LoggedEntry, read_entry
from comity.audit.errors import AuditError, OpeningInvalid
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk
from comity.cli.exporting.document import clean
from comity.cli.exporting.end import open_end, telling, trust_option
from comity.cli.reporting import Json, json_option, spelled, stop
from comity.gateway.hot_lists import DOCUMENTED, KIND, documented
from comity.policy.plates import PlateInvalid, fold

_WANTED = frozenset({"user", "office", "note", "list"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """One entry of the log, opened."""

    index: int
    entry: LoggedEntry
    values: Mapping[str, str] = field(repr=False)
    rows: tuple[Mapping[str, str], ...] | None = field(repr=False)
    """Its plates; None: the opening was deleted, or is false."""


@click.command(
    name="show",
    epilog="Example: comity hotlist show --home fed/agencies/ice/gateway --plate 8ABC123",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="Your agency's gateway folder, with its log and state.db.",
)
@click.option("--plate", help="Only what was done to this plate.")
@trust_option
@json_option
def command(home: Path, plate: str | None, trust_file: Path | None, as_json: bool) -> None:
    """Show who put which plates on hot lists, reviewed, renewed or removed them, when and for which case.

    From your gateway's signed log and the openings that it keeps, for the agency's own auditors: plates are
    shown. Exit status 1 if an opening is false, or the log doesn't lead to its checkpoint.
    """
    try:
        wanted = None if plate is None else fold(plate)
    except PlateInvalid as error:
        raise click.UsageError(f"--plate: {error}") from error
    end = open_end(home, trust_file)
    false: list[int] = []
    try:
        with KeptBeside(end.state, only=_WANTED) as kept, telling("entries") as tell:
            walk = LogWalk(end.log, keys=end.keys)
            found = [
                _opened(index, read_entry(leaf), kept, false)
                for index, leaf in walk.entries(tell=tell)
                if KIND.encode() in leaf and read_entry(leaf).kind == KIND
            ]
    except AuditError as error:
        stop(str(error), status=1)
    if wanted is not None:
        found = [each for each in found if any(row.get("folded") == wanted for row in each.rows or ())]
    if as_json:
        click.echo(json.dumps([_object(each, wanted) for each in found], indent=2, ensure_ascii=False))
    else:
        for each in found:
            for line in _lines(each, wanted):
                click.echo(line)
        click.echo(f"{len(found)} act{'s' * (len(found) != 1)} on hot lists")
    if false:
        click.echo(f"{len(false)} openings are false: state.db is not what the log commits to", err=True)
        sys.exit(1)


def _opened(index: int, entry: LoggedEntry, kept: KeptBeside, false: list[int]) -> _Change:
    openings = kept.openings(index)
    try:
        values = {name: entry.open(openings[name]) for name in _WANTED & openings.keys()}
    except OpeningInvalid:
        false.append(index)
        return _Change(index=index, entry=entry, values={}, rows=None)
    return _Change(index=index, entry=entry, values=values, rows=documented(values.get("list")))


def _asked_for(change: _Change, wanted: str | None) -> Iterator[Mapping[str, str]]:
    for row in change.rows or ():
        if wanted is None or row.get("folded") == wanted:
            yield {name: row.get(name, "") for name in DOCUMENTED if name != "folded"}


def _lines(change: _Change, wanted: str | None) -> Iterator[str]:
    public, values = change.entry.public, change.values
    who = clean(values.get("user", "closed"))
    office = f" ({clean(values['office'])})" if values.get("office") else ""
    yield (
        f"{spelled(change.entry.at)}  entry {change.index}: {public.get('plates')} plates "
        f"{clean(str(public.get('act')))} at {clean(str(public.get('holder')))} by {who}{office}"
    )
    if values.get("note"):
        yield f"  note: {clean(values['note'])}"
    if change.rows is None:
        yield "  the list can't be opened any more"
    for row in _asked_for(change, wanted):
        case = f", case {row['case']}" if row["case"] else ""
        tracking = f", tracking {row['tracking']}" if row["tracking"] else ""
        yield clean(
            f"  {row['plate']} {row['state']} {row['country']}: {row['reason']}{case}{tracking}, valid from "
            f"{row['valid_from'][:10]} to {row['valid_until'][:10]}"
        )


def _object(change: _Change, wanted: str | None) -> Mapping[str, Json]:
    public = change.entry.public
    return {
        "entry": change.index,
        "at": spelled(change.entry.at),
        "act": str(public.get("act")),
        "holder": str(public.get("holder")),
        "count": str(public.get("plates")),
        "user": change.values.get("user"),
        "office": change.values.get("office"),
        "note": change.values.get("note"),
        "opened": change.rows is not None,
        "plates": [dict(row) for row in _asked_for(change, wanted)],
    }
