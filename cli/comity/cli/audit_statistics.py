"""`comity audit statistics`: searches, hits and refusals, counted from a log by anybody who holds it (L7)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comity.audit.errors import AuditError
from comity.audit.searching.records import TURNED_DOWN
from comity.audit.searching.statistics import KEYS, NOT_TOLD, Statistics, Tally, count
from comity.cli.exporting.document import clean
from comity.cli.exporting.end import folder_argument, json_option, open_end, telling, terminal, trust_option
from comity.cli.parameters import TimeType
from comity.cli.reporting import spelled, stop

_SHOWN = ("responded", "refused")
_APART = frozenset({*_SHOWN, TURNED_DOWN})


@click.command(
    "statistics",
    epilog="Example: comity audit statistics copies/sheriff --by provider,reason --from 2026-10-01 --to "
    "2027-01-01  Exit status: 0 done; 1 an opening is false or the log doesn't lead to its checkpoint; "
    "2 wrong use.",
)
@folder_argument
@click.option(
    "--by",
    default="requester,provider,reason",
    show_default=True,
    metavar="KEYS",
    help=f"By what to count, in this order: any of {', '.join(KEYS)}.",
)
@click.option("--from", "start", type=TimeType(), help="Asked at or after this time (UTC).")
@click.option("--to", "end", type=TimeType(), help="Asked before this time (UTC).")
@trust_option
@json_option
def command(
    folder: Path,
    by: str,
    start: datetime | None,
    end: datetime | None,
    trust_file: Path | None,
    as_json: bool,
) -> None:
    """Count searches, hits and refusals by requester, provider and reason, for any period.

    DIR is a gateway's, an adapter's or a broker's folder, or a copy of its `log/`: all is counted from what
    the log holds in clear, so whoever holds the log gets the same figures. A search is one question to one
    provider; a hit is an answer with reads. A broker's log tells no reasons and no hits: it never learns
    them.
    """
    names = tuple(name.strip() for name in by.split(",") if name.strip())
    unknown = [name for name in names if name not in KEYS]
    if unknown or len(set(names)) != len(names):
        wrong = f"`{unknown[0]}` is not one of {', '.join(KEYS)}" if unknown else "a key stands twice"
        raise click.UsageError(f"`--by`: {wrong}")
    if start and end and end <= start:
        raise click.UsageError("`--to` must be later than `--from`")
    where = open_end(folder, trust_file)
    if where.retrieved is not None:
        raise click.UsageError(
            f"`{folder}` holds retrieved records, which are a part of a log; a log is right"
        )
    try:
        with telling("reading entries") as tell:
            found = count(where.log, where.state, by=names, start=start, end=end, keys=where.keys, tell=tell)
    except AuditError as problem:
        stop(str(problem), status=1)
    if as_json:
        click.echo(json.dumps(_json(found, start, end), indent=2))
    else:
        _print(found, start, end, terminal())
    if found.false:
        raise SystemExit(1)


def _json(found: Statistics, start: datetime | None, end: datetime | None) -> dict[str, object]:
    return {
        "origin": found.origin,
        "size": found.size,
        "checkpoint": found.note.decode(),
        "from": spelled(start) if start else None,
        "to": spelled(end) if end else None,
        "by": list(found.by),
        "counts": [
            {"key": dict(zip(found.by, key, strict=True)), **_tally_json(tally)}
            for key, tally in found.tallies.items()
        ],
        "total": _tally_json(found.total),
        "findings": _findings(found),
    }


def _tally_json(tally: Tally) -> dict[str, object]:
    return {
        "searches": tally.searches,
        "outcomes": dict(sorted(tally.outcomes.items())),
        "hits": tally.hits if tally.hits_known_of else None,
        "hits_known_of": tally.hits_known_of,
    }


def _print(found: Statistics, start: datetime | None, end: datetime | None, console: Console) -> None:
    period = f"from {spelled(start)} " if start else ""
    period += f"to {spelled(end)}" if end else ""
    head = f"{clean(found.origin)}, {found.size} entries: {period.strip() or 'all that was asked'}"
    console.print(Text(head, style="bold"), soft_wrap=True)
    for finding in _findings(found):
        console.print(Text(f"FINDING {finding}", style="bold red"), soft_wrap=True)
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    for name in found.by:
        table.add_column(name, overflow="fold")
    for name in ("searches", "responded", "hits", "refused", "no answer", "turned down"):
        table.add_column(name, justify="right")
    for key, tally in found.tallies.items() if found.by else ():
        table.add_row(*(Text(clean(word)) for word in key), *_cells(tally))
    if found.by:
        table.add_section()
    labels: Sequence[str] = ["total", *[""] * (len(found.by) - 1)] if found.by else []
    table.add_row(*(Text(label, style="bold") for label in labels), *_cells(found.total))
    console.print(table)
    others = found.total.outcomes.keys() - _APART
    if others:
        words = ", ".join(f"{found.total.outcomes[each]} {each.replace('_', ' ')}" for each in sorted(others))
        console.print(Text(f"no answer: {words}", style="dim"), soft_wrap=True)
    if found.total.hits_known_of < found.total.outcomes["responded"]:
        text = (
            "hits: entries of older logs, and a broker's, don't tell them; an end's openings of `reads` do. "
            f"Known of {found.total.hits_known_of} of {found.total.outcomes['responded']} answers"
        )
        console.print(Text(text, style="dim"), soft_wrap=True)


def _cells(tally: Tally) -> tuple[str, ...]:
    responded = tally.outcomes["responded"]
    others = sum(number for name, number in tally.outcomes.items() if name not in _APART)
    hits = (
        str(tally.hits)
        if tally.hits_known_of == responded
        else f"{tally.hits} of {tally.hits_known_of} known"
    )
    return (
        str(tally.searches),
        str(responded),
        hits if tally.hits_known_of or not responded else NOT_TOLD,
        str(tally.outcomes["refused"]),
        str(others),
        str(tally.outcomes[TURNED_DOWN]),
    )


def _findings(found: Statistics) -> list[str]:
    return [f"entry {index}: the opening of `{name}` is false" for index, name in found.false]
