"""`comity hotlist show`: the agency's own record of what was done to hot lists (H8, GUI K.3)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from comity.cli.exporting.document import clean
from comity.cli.exporting.end import trust_option
from comity.cli.hot_list_record import Change, false_openings, read_record
from comity.cli.reporting import Json, json_option, spelled
from comity.gateway.hot_lists import DOCUMENTED
from comity.policy.plates import PlateInvalid, fold


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
    record = read_record(home, trust_file)
    if wanted is not None:
        record = record.of_plate(wanted)
    found = record.changes
    if as_json:
        click.echo(json.dumps([_object(each) for each in found], indent=2, ensure_ascii=False))
    else:
        for each in found:
            for line in _lines(each):
                click.echo(line)
        click.echo(f"{len(found)} act{'s' * (len(found) != 1)} on hot lists")
    if record.false:
        click.echo(false_openings(record), err=True)
        sys.exit(1)


def _shown(change: Change) -> Iterator[Mapping[str, str]]:
    for row in change.rows or ():
        yield {name: row.get(name, "") for name in DOCUMENTED if name != "folded"}


def _lines(change: Change) -> Iterator[str]:
    public, values = change.entry.public, change.values
    who, count = clean(values.get("user", "closed")), public.get("plates")
    office = f" ({clean(values['office'])})" if values.get("office") else ""
    yield (
        f"{spelled(change.entry.at)}  entry {change.index}: {count} plate{'s' * (count != 1)} "
        f"{clean(str(public.get('act')))} at {clean(str(public.get('holder')))} by {who}{office}"
    )
    if values.get("note"):
        yield f"  note: {clean(values['note'])}"
    if change.rows is None:
        yield "  the list can't be opened any more"
    for row in _shown(change):
        case = f", case {row['case']}" if row["case"] else ""
        tracking = f", tracking {row['tracking']}" if row["tracking"] else ""
        yield clean(
            f"  {row['plate']} {row['state']} {row['country']}: {row['reason']}{case}{tracking}, valid from "
            f"{row['valid_from'][:10]} to {row['valid_until'][:10]}"
        )


def _object(change: Change) -> Mapping[str, Json]:
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
        "plates": [dict(row) for row in _shown(change)],
    }
