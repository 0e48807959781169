"""`comity agency users` and `suspensions`: user list, training records and log compared (L9, Q8)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click
from rich import box
from rich.table import Table

from comity.audit.errors import AuditError
from comity.audit.searching.comparing import ComparedUser, Listed, compare
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.people import WANTED, SeenUsers, UserSuspension, read_users
from comity.audit.searching.walk import LogWalk
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.cli.csv_files import ListInvalid
from comity.cli.exporting.end import open_end, telling, terminal, trust_option
from comity.cli.parameters import TimeType
from comity.cli.reporting import Json, json_option, refused_as_usage, spelled, stop
from comity.cli.user_lists import COLUMNS, ListedUser, read_list

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIR = click.option(
    "--dir",
    "home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The agency's folder; its gateway's log is read.",
)
_RETURNS: Mapping[str, str] = {
    "recertification": "by `comity agency readmit-user` after recertification",
    "length": "when its length is over",
    "either": "when its length is over, or by `comity agency readmit-user` after recertification",
    "both": "when its length is over and by `comity agency readmit-user` after recertification",
}


@click.command(
    "users",
    epilog="Example: comity agency users --dir fed/agencies/sheriff --list users.csv "
    "--training days.csv --column user=login  Exit status: 0 nothing is wrong; 1 something is, or the log "
    "doesn't verify; 2 wrong use, or a list that can't be read.",
)
@_DIR
@click.option(
    "--list",
    "list_file",
    type=_FILE,
    help="The agency's users, .csv, .json or .toml.  [default: the demonstration identity provider's]",
)
@click.option("--training", type=_FILE, help="Training records, likewise.  [default: those of the list]")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=HEADER",
    help=f"What a file calls one of {', '.join(COLUMNS)}; may be repeated.",
)
@click.option("--from", "since", type=TimeType(), help="Count logons and questions from this time on (UTC).")
@click.option("--all", "everybody", is_flag=True, help="Show those too of whom there is nothing to say.")
@trust_option
@json_option
@refused_as_usage
def users(
    home: Path,
    list_file: Path | None,
    training: Path | None,
    columns: tuple[str, ...],
    since: datetime | None,
    everybody: bool,
    trust_file: Path | None,
    as_json: bool,
) -> None:
    """Compare the agency's user list, its training records and its gateway's log (L9).

    Named are who searches and is on no list, who is listed without training within a year or with an
    account that was not reviewed within a year, whose training or review lapses within 60 days, whose
    assertions state a later training than the records, who is seen after their access was ended, who is
    suspended at a provider, and who never logged on. The lists' columns are `user`, `trained_on`,
    `account_reviewed_on`, `good_standing` and `office`; days as 2026-01-31.
    """
    now = utc_now()
    try:
        listed = _listed(AgencyHome.load(home), list_file, training, _headers(columns))
    except ListInvalid as error:
        stop(str(error))
    seen = _seen(home, trust_file, since)
    found = compare(listed, seen, now)
    wrong = sum(each.is_wrong for each in found)
    if as_json:
        told = {
            "users": [_object(each) for each in found],
            "wrong": wrong,
            "entries_without_opening": seen.unopened,
            "false_openings": seen.false,
        }
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _print(found, everybody=everybody)
        count = f"{len(found)} user{'s' * (len(found) != 1)} on list or in log"
        click.echo(f"{count}; something is wrong with {wrong}" if wrong else f"{count}; nothing is wrong")
        if seen.unopened:
            click.echo(f"{seen.unopened} entries can't be opened any more, and count for nobody (L5)")
    if seen.false:
        click.echo(f"{seen.false} openings are false: state.db is not what the log commits to", err=True)
    sys.exit(1 if wrong or seen.false else 0)


@click.command("suspensions", epilog="Example: comity agency suspensions --dir fed/agencies/sheriff")
@_DIR
@trust_option
@json_option
@refused_as_usage
def suspensions(home: Path, trust_file: Path | None, as_json: bool) -> None:
    """List the agency's users whom providers suspended, as their signed notices say, and how access returns.

    A provider suspends by its own policy whom it refuses too often for want of authorization (Q8). Exit
    status 1 while somebody is suspended.
    """
    now, seen = utc_now(), _seen(home, trust_file, None)
    found = [
        (user.user, each)
        for user in sorted(seen.users.values(), key=lambda one: one.user)
        for each in sorted(user.suspensions.values(), key=lambda one: one.since)
    ]
    open_ones = sum(not each.may_be_over(now) for _, each in found)
    if as_json:
        told = [_suspension(user, each, now) for user, each in found]
        click.echo(json.dumps({"suspensions": told, "open": open_ones}, indent=2, ensure_ascii=False))
    elif not found:
        click.echo("no provider has suspended a user")
    else:
        table = Table(box=box.SIMPLE, pad_edge=False)
        for column in ("user", "provider", "since", "refusals", "access returns"):
            table.add_column(column, justify="right" if column == "refusals" else "left")
        for user, each in found:
            table.add_row(user, each.provider, spelled(each.since), str(each.refusals), _how(each, now))
        terminal().print(table)
    sys.exit(1 if open_ones or seen.false else 0)


def _how(each: UserSuspension, now: datetime) -> str:
    if each.may_be_over(now):
        by = each.readmitted_at
        return "has returned" if by is None else f"has returned, by the act of {spelled(by)}"
    until = "" if each.until is None else f" (its length ends {spelled(each.until)})"
    return f"{_RETURNS.get(each.returns, each.returns)}{until}"


def _suspension(user: str, each: UserSuspension, now: datetime) -> dict[str, Json]:
    return {
        "user": user,
        "provider": each.provider,
        "since": spelled(each.since),
        "until": None if each.until is None else spelled(each.until),
        "returns": each.returns,
        "refusals": each.refusals,
        "readmitted_at": None if each.readmitted_at is None else spelled(each.readmitted_at),
        "is_over": each.may_be_over(now),
        "notice": each.notice,
    }


def _headers(columns: tuple[str, ...]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for each in columns:
        name, equals, header = each.partition("=")
        if name not in COLUMNS or not equals or not header:
            known = ", ".join(COLUMNS)
            raise click.BadParameter(
                f"`{each}` is not NAME=HEADER with a NAME of {known}", param_hint="--column"
            )
        headers[name] = header
    return headers


def _listed(
    agency: AgencyHome, list_file: Path | None, training: Path | None, headers: Mapping[str, str]
) -> dict[str, Listed]:
    """Return the list with its training records: those of `training` alone, where it is given."""
    found: Mapping[str, ListedUser]
    if list_file is None:
        if not (agency.home / "idp").is_dir():
            raise click.UsageError(
                f"agency `{agency.agency}` brings its own identity provider: give its users with --list FILE"
            )
        provider = agency.identity_provider()
        found = {
            name: ListedUser(
                user=name,
                trained_on=user.trained_on,
                account_reviewed_on=user.account_reviewed_on,
                good_standing=user.good_standing,
                office=user.office,
            )
            for name, user in provider.users().items()
        }
    else:
        found = read_list(list_file, headers)
    records = None if training is None else read_list(training, headers)
    listed: dict[str, Listed] = {}
    for name, user in found.items():
        trained_on = user.trained_on
        if records is not None:
            trained_on = records[name].trained_on if name in records else None
        listed[name] = Listed(
            trained_on=trained_on,
            account_reviewed_on=user.account_reviewed_on,
            good_standing=user.good_standing,
            office=user.office,
        )
    return listed


def _seen(home: Path, trust_file: Path | None, since: datetime | None) -> SeenUsers:
    """Return what the agency's gateway logged of its users; a log that doesn't verify ends the command."""
    gateway = home / "gateway"
    if not (gateway / "log").is_dir():
        stop(f"no log in `{gateway}`: the agency's gateway has not run yet, or it asks nobody")
    end = open_end(gateway, trust_file)
    try:
        with KeptBeside(end.state, only=WANTED) as kept, telling("log") as tell:
            return read_users(LogWalk(end.log, keys=end.keys), kept, since=since, tell=tell)
    except AuditError as problem:
        stop(str(problem), status=1)


@dataclass(frozen=True, slots=True)
class _Row:
    trained: str
    reviewed: str
    last: str
    questions: str


def _row(each: ComparedUser) -> _Row:
    listed, seen = each.listed, each.seen
    return _Row(
        trained=str(listed.trained_on or "never") if listed else "",
        reviewed=str(listed.account_reviewed_on or "never") if listed else "",
        last=f"{seen.last_logon:%Y-%m-%d %H:%M}" if seen is not None and seen.last_logon else "",
        questions=str(seen.questions) if seen is not None else "0",
    )


def _print(found: tuple[ComparedUser, ...], *, everybody: bool) -> None:
    """Print a table of those of whom there is something to say."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("user", "trained", "reviewed", "last logon (UTC)", "asked"):
        table.add_column(column, justify="right" if column == "asked" else "left", no_wrap=True)
    table.add_column("found", overflow="fold")
    for each in found:
        if not each.findings and not everybody:
            continue
        row, lines = _row(each), []
        for finding in each.findings:
            at = f" at {', '.join(each.providers)}" if finding.name == "SUSPENDED" else ""
            lines.append(f"{'! ' if finding.is_wrong else ''}{finding.value}{at}")
        told = "\n".join(lines) or "nothing"
        table.add_row(each.user, row.trained, row.reviewed, row.last, row.questions, told)
    if table.row_count:
        terminal().print(table)


def _object(each: ComparedUser) -> dict[str, Json]:
    listed, seen = each.listed, each.seen

    def instant(value: datetime | None) -> str | None:
        return None if value is None else spelled(value)

    return {
        "user": each.user,
        "listed": listed is not None,
        "good_standing": None if listed is None else listed.good_standing,
        "trained_on": None if listed is None or listed.trained_on is None else str(listed.trained_on),
        "account_reviewed_on": None
        if listed is None or listed.account_reviewed_on is None
        else str(listed.account_reviewed_on),
        "logons": 0 if seen is None else seen.logons,
        "last_logon": None if seen is None else instant(seen.last_logon),
        "questions": 0 if seen is None else seen.questions,
        "turned_down": 0 if seen is None else seen.turned_down,
        "terminated_at": None if seen is None else instant(seen.terminated_at),
        "suspended_at": list(each.providers),
        "findings": [finding.name.lower() for finding in each.findings],
        "wrong": each.is_wrong,
    }
