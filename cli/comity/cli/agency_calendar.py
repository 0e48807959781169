"""`comity agency calendar`: what is due at an agency, and what is overdue."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

from comity.certs.agency import AgencyHome
from comity.certs.agreements import AgreementBook
from comity.certs.clock import utc_now
from comity.certs.due import Due, DueKind, due_dates
from comity.certs.errors import SetupRefused
from comity.certs.files import read_private, write_private, write_public
from comity.certs.identity_provider import User
from comity.cli.agreement_files import public_option, roster_of
from comity.cli.reporting import Json, json_option, refused_as_usage, report, spelled

DONE_FILE: Final = "duties-done.json"
"""In the agency's folder: names of own duties' dates that were marked as done, with when."""

_LONGEST: Final = 74
"""Octets of a line of a calendar file, RFC 5545, section 3.1."""


@click.command(
    "calendar",
    epilog="Example: comity agency calendar --dir fed/agencies/cbp --days 90 --ics due.ics",
)
@click.option(
    "--dir",
    "home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The agency's folder.",
)
@public_option
@click.option(
    "--days", type=click.IntRange(1, 3650), default=60, show_default=True, help="Days to look ahead."
)
@click.option("--done", "marked", multiple=True, metavar="NAME", help="Mark an own duty's date as done.")
@click.option(
    "--ics",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the dates to a calendar file (RFC 5545), too.",
)
@json_option
@refused_as_usage
def command(
    home: Path, public: Path | None, days: int, marked: tuple[str, ...], ics: Path | None, as_json: bool
) -> None:
    """List what is due at the agency of --dir in the next days, and what is overdue.

    Agreements that take effect, end or extend themselves, the last day for notice against that (A2, MOA V);
    identity keys to be accepted into them; duties with dates of both parties (L8); training that lapses (Q4,
    L9); accounts to be reviewed each year (L9). Training and reviews are those of the agency's demonstration
    identity provider, if it has one.

    Exit status: 0 nothing is overdue; 1 something is; 2 wrong use or configuration.
    """
    agency = AgencyHome.load(home)
    book = AgreementBook.load(agency.agreements, roster_of(agency, public), own=agency.agency)
    now, ahead = utc_now(), timedelta(days=days)
    users = _users(agency)
    if marked:
        everything = due_dates(
            agency=agency.agency,
            agreements=book.agreements,
            users=(),
            done=(),
            now=now,
            ahead=timedelta(days=3650),
        )
        _mark(agency, marked, {one.name: one for one in everything if one.name}, now)
    found = due_dates(
        agency=agency.agency,
        agreements=book.agreements,
        users=users,
        done=done_in(agency),
        now=now,
        ahead=ahead,
    )
    if ics is not None:
        write_public(ics, "".join(f"{line}\r\n" for line in _calendar(agency.agency, found, now)).encode())
        click.echo(f"{ics}: {len(found)} date{'s' * (len(found) != 1)}, without names of users", err=True)
    overdue = sum(one.overdue for one in found)
    if as_json:
        listed: list[Json] = [_values(one) for one in found]
        report(True, {"agency": agency.agency, "days": days, "overdue": overdue, "due": listed})
    else:
        _print(found, days)
    if overdue:
        sys.exit(1)


def done_in(agency: AgencyHome) -> frozenset[str]:
    """Return the names that were marked as done; raise `SetupRefused` if their file is malformed."""
    return frozenset(_done(agency.home))


def _done(home: Path) -> dict[str, str]:
    path = home / DONE_FILE
    if not path.exists():
        return {}
    try:
        found = json.loads(read_private(path))
    except ValueError as error:
        raise SetupRefused(f"file `{path}` is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SetupRefused(f"file `{path}`: expected an object of names and times")
    return {str(name): str(at) for name, at in found.items()}


def _mark(agency: AgencyHome, marked: Sequence[str], known: dict[str, Due], now: datetime) -> None:
    """Mark own duties' dates as done; raise `SetupRefused` for a name that is none."""
    done = _done(agency.home)
    for name in marked:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise SetupRefused(f"--done `{name[:40]}` names no date of an own duty; there are: {names}")
        done[name] = spelled(now)
    write_private(agency.home / DONE_FILE, json.dumps(done, indent=2, sort_keys=True).encode() + b"\n")


def _users(agency: AgencyHome) -> list[User]:
    """Return the users of the agency's demonstration identity provider; none if it has none."""
    if not (agency.home / "idp").is_dir():
        return []
    return list(agency.identity_provider().users().values())


def _print(found: Sequence[Due], days: int) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    for column in ("date (UTC)", "", "about", "what"):
        table.add_column(column, overflow="fold")
    for one in found:
        mark = f" [--done {one.name}]" if one.name else ""
        state = "OVERDUE" if one.overdue else "due"
        table.add_row(f"{one.at:%Y-%m-%d}", state, one.about, f"{one.what}{mark}".replace("[", r"\["))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=130)
    if found:
        console.print(table)
    overdue = sum(one.overdue for one in found)
    coming = len(found) - overdue
    click.echo(f"{overdue} overdue, {coming} due in the next {days} days")


def _values(one: Due) -> dict[str, Json]:
    return {
        "at": spelled(one.at),
        "kind": one.kind.value,
        "about": one.about,
        "what": one.what,
        "agency": one.agency,
        "overdue": one.overdue,
        "name": one.name,
    }


def _calendar(agency: str, found: Sequence[Due], now: datetime) -> Iterator[str]:
    """Yield the lines of a calendar file, RFC 5545; each date is an event of a whole day, by UTC.

    A user's name stays out of it: calendars travel further than user lists.
    """
    yield from ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Comity//calendar//EN")
    for number, one in enumerate(found):
        about = "a user" if one.kind in (DueKind.TRAINING, DueKind.ACCOUNT) else one.about
        day = one.at.astimezone(UTC)
        yield "BEGIN:VEVENT"
        yield from _folded(f"UID:{agency}-{one.kind.value}-{day:%Y%m%d}-{number}@comity.invalid")
        yield f"DTSTAMP:{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        yield f"DTSTART;VALUE=DATE:{day:%Y%m%d}"
        yield f"DTEND;VALUE=DATE:{day + timedelta(days=1):%Y%m%d}"
        yield from _folded(f"SUMMARY:{_escaped(f'{about}: {one.what}')}")
        yield "END:VEVENT"
    yield "END:VCALENDAR"


def _escaped(text: str) -> str:
    """Return a text as RFC 5545, section 3.3.11, has it."""
    return text.replace("\\", "\\\\").replace(";", r"\;").replace(",", r"\,").replace("\n", r"\n")


def _folded(line: str) -> Iterator[str]:
    """Yield a line in parts of 75 octets at most, RFC 5545, section 3.1."""
    part = ""
    for character in line:
        if len((part + character).encode()) > _LONGEST:
            yield part
            part = " "
        part += character
    yield part
