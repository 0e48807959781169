"""`comity certs status`: every certificate and key that one may see, and what is due."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich import box
from rich.table import Table
from rich.text import Text

from comity.certs.clock import utc_now
from comity.certs.inventory import Condition, Credential, Kind
from comity.cli.certs_folder import look_at
from comity.cli.certs_used import with_uses
from comity.cli.rendering import clean, terminal
from comity.cli.reporting import Json, json_option, refused_as_usage, report, spelled, working

_STYLES = {
    Condition.GOOD: "green",
    Condition.DUE: "yellow",
    Condition.OVERDUE: "bold red",
    Condition.EXPIRED: "bold red",
    Condition.UNUSABLE: "bold red",
    Condition.REVOKED: "red",
    Condition.PAST: "dim",
}

_QUIET = (Condition.GOOD, Condition.PAST)


@click.command(
    "status",
    epilog="Example: comity certs status fed/agencies/lapd/gateway  "
    "Exit status: 0 nothing is overdue, 1 something is expired, overdue or unusable, 2 no such folder.",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--pin",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The authority's keys as you got them out of band.  [default: those that DIR keeps]",
)
@click.option("--own", "own_only", is_flag=True, help="Only what DIR itself holds.")
@click.option("--findings", is_flag=True, help="Only what is due, overdue, expired or unusable.")
@json_option
@refused_as_usage
def command(folder: Path, pin: Path | None, own_only: bool, findings: bool, as_json: bool) -> None:
    """Show every certificate and key of the federation that DIR may see.

    DIR is an end's folder, an agency's, the operator's, a client system's, the authority's, or the folder of
    a published roster. Of its own keys it tells what is wrong with them, too; no private part is shown.
    Something is `due` when two thirds of its life are over (roster and timestamp: 70 %), and `overdue` when
    nobody did it: a leaf at 5/6, CA and statement key at 11/12, roster and timestamp at 90 %.
    """
    now = utc_now()
    with working("reading"):
        seen = look_at(folder, pin=pin, now=now)
        rows = with_uses(seen.credentials, seen.ends)
    bad = bool(seen.findings) or any(row.is_finding for row in rows)
    shown = [
        row for row in rows if (row.own or not own_only) and (row.condition not in _QUIET or not findings)
    ]
    if as_json:
        report(
            True,
            {
                "at": spelled(now),
                "good": not bad,
                "findings": list(seen.findings),
                "credentials": [_values(row, now) for row in shown],
            },
        )
    else:
        _print(shown, seen.findings, now)
    sys.exit(1 if bad else 0)


def _print(rows: Sequence[Credential], findings: Sequence[str], now: datetime) -> None:
    console = terminal()
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("owner", "what"):
        table.add_column(heading, no_wrap=True)
    table.add_column("name", overflow="fold", min_width=16)
    for heading in ("age", "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("last used", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("next", overflow="fold", min_width=10)
    for row in rows:
        style = _STYLES[row.condition]
        table.add_row(
            Text(clean(row.owner), style="bold" if row.own else ""),
            row.kind.value + (" *" if row.own else ""),
            Text(_short(row)),
            _age(row, now),
            Text(_left(row, now), style=style),
            "" if row.last_used is None else f"{row.last_used:%m-%d %H:%M}",
            Text(row.condition.value, style=style),
            "" if row.act_at is None else f"{row.verb} {_when(row.act_at, now)}",
        )
    if rows:
        console.print(table)
    for row in rows:
        if row.condition not in _QUIET:
            line = f"{row.owner}, {row.kind.value} {row.name}: {row.condition.value}; {row.act}"
            console.print(Text(clean(line), style=_STYLES[row.condition]), soft_wrap=True)
    for finding in findings:
        console.print(Text(clean(finding), style="bold red"), soft_wrap=True)
    counts = {one: sum(row.condition is one for row in rows) for one in Condition}
    words = ", ".join(f"{count} {one.value}" for one, count in counts.items() if count) or (
        "" if findings else "nothing is due, overdue, expired or unusable"
    )
    legend = "; * its private part is in this folder" if any(row.own for row in rows) else ""
    if words:
        console.print(Text(words + legend), soft_wrap=True)
    kinds = dict.fromkeys(row.kind for row in rows)
    purposes = "; ".join(f"{kind.value}: {kind.purpose}" for kind in kinds)
    if purposes:
        console.print(Text(purposes, style="dim"), soft_wrap=True)


def _short(row: Credential) -> str:
    """Return a name that tells it from the others; whole in JSON."""
    if row.kind is Kind.PROVIDER:
        issuer, _, kid = row.name.rpartition(" ")
        return f"{clean(issuer).removeprefix('https://')} {clean(kid)[:6]}"
    if row.kind is Kind.JWKS:
        return clean(row.name).removeprefix("https://")
    if row.kind in (Kind.LEAF, Kind.LOG):
        return clean(row.name).removeprefix("spiffe://")
    return clean(row.name)[:16]


def _when(instant: datetime, now: datetime) -> str:
    return "now" if instant <= now else f"{instant:%Y-%m-%d}"


def _age(row: Credential, now: datetime) -> str:
    days = row.days_old(now)
    if row.kind is Kind.JWKS and row.since is not None and days is not None and days < 3:
        return (
            f"{str(timedelta(seconds=max(0, int((now - row.since).total_seconds())))).rpartition(':')[0]} h"
        )
    return "" if days is None else f"{days} d"


def _left(row: Credential, now: datetime) -> str:
    left = row.days_left(now)
    if left is None:
        return ""
    if abs(left) >= 3:
        return f"{int(left)} d"
    return f"{'-' if left < 0 else ''}{str(abs(timedelta(seconds=int(left * 86_400)))).rpartition(':')[0]} h"


def _values(row: Credential, now: datetime) -> dict[str, Json]:
    """Return one credential for scripts; times are RFC 3339, null where they aren't known."""
    left = row.days_left(now)
    return {
        "owner": row.owner,
        "kind": row.kind.value,
        "name": row.name,
        "purpose": row.kind.purpose,
        "own": row.own,
        "where": str(row.where) if row.where is not None else None,
        "since": _spelled(row.since),
        "until": _spelled(row.until),
        "days_old": row.days_old(now),
        "seconds_left": None if left is None else int(left * 86_400),
        "last_used": _spelled(row.last_used),
        "condition": row.condition.value,
        "act": row.act,
        "act_at": _spelled(row.act_at),
    }


def _spelled(instant: datetime | None) -> str | None:
    return None if instant is None else spelled(instant)
