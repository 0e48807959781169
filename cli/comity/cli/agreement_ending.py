"""`comity agreement terminate`, `extend` and `list`: how agreements end, and what is due (A2, MOA V)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from comity.certs.agency import AgencyHome
from comity.certs.agreements import AgreementBook, AgreementView, verify_agreement, with_notice
from comity.certs.clock import utc_now
from comity.certs.drafting import give_notice, midnight, renew
from comity.certs.due import due_dates, how_it_ends
from comity.certs.envelope import to_json
from comity.certs.errors import AgreementInvalid
from comity.certs.files import write_public
from comity.certs.notices import agreement_of
from comity.certs.roster import Federation
from comity.cli.agency_calendar import done_in
from comity.cli.agreement_files import FILE, dir_option, new_file, public_option, read_agreement, roster_of
from comity.cli.reporting import Day, Json, json_option, refused_as_usage, report, spelled, stop
from comity.v1.envelope_pb2 import Envelope

_DAY = Day()


@click.command(
    "terminate",
    epilog="Example: comity agreement terminate moa.json --dir fed/agencies/lapd --ends 2027-03-01",
)
@click.argument("file", type=FILE)
@dir_option
@public_option
@click.option("--ends", type=_DAY, metavar="DATE", help="First day no longer in force, UTC.")
@click.option("--at-expiry", is_flag=True, help="Notice of non-extension: it ends when it expires.")
@click.option("--out", type=FILE, help="Where to write it for the other party.  [default: ID-notice.json]")
@json_option
@refused_as_usage
def terminate(
    file: Path,
    home: Path,
    public: Path | None,
    ends: datetime | None,
    at_expiry: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Give notice, signed by the agency of --dir, that the agreement in FILE ends.

    It counts at this agency at once; hand the file to the other party, who accepts it. Notice takes as many
    days as the agreement says.
    """
    if (ends is None) == (not at_expiry):
        raise click.UsageError("give --ends DATE, or --at-expiry")
    agency = AgencyHome.load(home)
    federation = roster_of(agency, public)
    agreement = verify_agreement(read_agreement(file), federation)
    notice = give_notice(
        agreement,
        agency.identity(),
        given_at=utc_now(),
        ends_at=None if ends is None else midnight(ends.date()),
    )
    path = new_file(out or Path(f"{agreement.agreement_id}-notice.json"))
    kept = _keep(agency, agreement, notice)
    write_public(path, to_json(notice))
    (other,) = [party for party in agreement.parties if party != agency.agency]
    ended = with_notice(agreement, notice)
    report(
        as_json,
        {**_noticed(ended), "file": str(path), "kept": str(kept)},
        f"agreement `{agreement.agreement_id}` ends {spelled(ended.ends_at)}, {how_it_ends(ended)}",
        f"in force here  {kept}",
        f"file           {path}",
        f"next           `{other}` accepts: comity agreement accept {path}",
    )


@click.command(
    "extend",
    epilog="Example: comity agreement extend moa.json --dir fed/agencies/lapd --until 2032-01-01",
)
@click.argument("file", type=FILE)
@dir_option
@public_option
@click.option("--until", type=_DAY, required=True, metavar="DATE", help="First day no longer in force, UTC.")
@click.option("--id", "agreement_id", help="Id of the next agreement.  [default: ID-YEAR]")
@click.option("--out", type=FILE, help="Where to write it.  [default: NEXT-ID.json]")
@json_option
@refused_as_usage
def extend(
    file: Path,
    home: Path,
    public: Path | None,
    until: datetime,
    agreement_id: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw up the next agreement: the terms of the one in FILE, from its expiry on, signed for --dir.

    Both sign and accept it like any other. An agreement that extends itself needs none for that time.
    """
    agency = AgencyHome.load(home)
    federation = roster_of(agency, public)
    envelope = read_agreement(file)
    agreement = verify_agreement(envelope, federation)
    last = midnight(until.date())
    named = agreement_id or f"{agreement.agreement_id}-{agreement.expires_at.year}"
    renewed = renew(envelope, federation, agency.identity(), agreement_id=named, expires_at=last)
    path = new_file(out or Path(f"{named}.json"))
    write_public(path, to_json(renewed))
    (other,) = [party for party in agreement.parties if party != agency.agency]
    report(
        as_json,
        {
            "agreement": named,
            "effective_at": spelled(agreement.expires_at),
            "expires_at": spelled(last),
            "file": str(path),
        },
        f"agreement `{named}`: {spelled(agreement.expires_at)} to {spelled(last)}, signed by {agency.agency}",
        f"file           {path}",
        f"next           `{other}` signs: comity agreement sign {path}",
    )


@click.command("list", epilog="Example: comity agreement list --dir fed/agencies/lapd --due 90")
@dir_option
@public_option
@click.option(
    "--due", "days", type=click.IntRange(1, 3650), default=60, show_default=True, help="Days to look ahead."
)
@json_option
@refused_as_usage
def list_command(home: Path, public: Path | None, days: int, as_json: bool) -> None:
    """List the agreements of the agency of --dir, how each ends, and what is due in the next days.

    Files that do nothing are listed with the reason.
    """
    agency = AgencyHome.load(home)
    book = AgreementBook.load(agency.agreements, roster_of(agency, public), own=agency.agency)
    now = utc_now()
    due = due_dates(
        agency=agency.agency,
        agreements=book.agreements,
        users=(),
        done=done_in(agency),
        now=now,
        ahead=timedelta(days=days),
    )
    if as_json:
        listed: list[Json] = [_values(agreement, agency.agency, now) for agreement in book.agreements]
        dates: list[Json] = [
            {"agreement": one.about, "at": spelled(one.at), "what": one.what, "overdue": one.overdue}
            for one in due
        ]
        idle: list[Json] = [{"file": str(one.path), "reason": one.reason} for one in book.rejected]
        report(True, {"agreements": listed, "due": dates, "without_effect": idle})
        return
    _print(book, agency.agency, now)
    for one in due:
        word = "OVERDUE since" if one.overdue else "due"
        click.echo(f"{word} {one.at:%Y-%m-%d}  {one.about}: {one.what}")
    if not due:
        click.echo(f"nothing is due in the next {days} days")
    for rejected in book.rejected:
        click.echo(f"does nothing: {rejected.path}: {rejected.reason}")


def accept_notice(envelope: Envelope, agency: AgencyHome, federation: Federation, as_json: bool) -> None:
    """Put a notice into force at an agency that has the agreement; raise `AgreementInvalid` if it is none."""
    ended = with_notice(_named_by(envelope, agency, federation), envelope)
    path = _keep(agency, ended, envelope)
    report(
        as_json,
        {**_noticed(ended), "kept": str(path)},
        f"agreement `{ended.agreement_id}` ends {spelled(ended.ends_at)}, {how_it_ends(ended)}",
        f"in force here  {path}",
    )


def show_notice(
    file: Path, envelope: Envelope, agency: AgencyHome, federation: Federation, as_json: bool
) -> None:
    """Show what a notice says, and whether it counts at the agency; status 1 unless it does."""
    agreement = _named_by(envelope, agency, federation)
    ended = with_notice(agreement, envelope)
    counts = agreement is not None and ended == agreement
    report(
        as_json,
        {**_noticed(ended), "counts_here": counts},
        f"notice      agreement `{ended.agreement_id}` ends {spelled(ended.ends_at)}, {how_it_ends(ended)}",
        f"counts      at `{agency.agency}`: {'yes' if counts else 'no'}",
    )
    if not counts:
        accepts = f"comity agreement accept {file} --dir {agency.home}"
        stop(f"the notice does nothing at `{agency.agency}` until it is accepted: {accepts}", status=1)


def when_in_force(agency: AgencyHome, accepted: AgreementView, federation: Federation) -> str:
    """Return whether what an agency accepted is in force there now, and from or until when."""
    book = AgreementBook.load(agency.agreements, federation, own=agency.agency)
    agreement = next((each for each in book.agreements if each.digest == accepted.digest), accepted)
    now = utc_now()
    if now >= agreement.ends_at:
        return f"no: it ended {spelled(agreement.ends_at)}"
    if now < agreement.effective_at:
        return f"not yet: from {spelled(agreement.effective_at)} to {spelled(agreement.ends_at)}"
    if resting := agreement.why_resting(now):
        return f"no: {resting}"
    return f"yes, until {spelled(agreement.ends_at)}"


def _named_by(notice: Envelope, agency: AgencyHome, federation: Federation) -> AgreementView | None:
    """Return the agreement that a notice names, as the agency has it, with the notices that are there."""
    book = AgreementBook.load(agency.agreements, federation, own=agency.agency)
    return next((each for each in book.agreements if each.digest == agreement_of(notice)), None)


def _print(book: AgreementBook, agency: str, now: datetime) -> None:
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    for column in ("agreement", "with", "direction", "from", "until", "state", "ends"):
        table.add_column(column, overflow="fold")
    for agreement in book.agreements:
        values = _values(agreement, agency, now)
        row = (values[name] for name in ("agreement", "with", "direction", "from", "until", "state", "ends"))
        table.add_row(*(str(value) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    console.print(table if book.agreements else "no agreement is in the agency's folder")


def _values(agreement: AgreementView, agency: str, now: datetime) -> dict[str, Json]:
    others = [party for party in agreement.parties if party != agency]
    directions = sorted("provides" if grant.provider == agency else "asks" for grant in agreement.grants)
    state = "in force" if agreement.in_force(now) else "ended" if now >= agreement.ends_at else "not yet"
    return {
        "agreement": agreement.agreement_id,
        "with": ", ".join(others),
        "direction": " and ".join(dict.fromkeys(directions)),
        "from": f"{agreement.effective_at:%Y-%m-%d}",
        "until": f"{agreement.ends_at:%Y-%m-%d}",
        "state": "rests" if state == "not yet" and agreement.why_resting(now) else state,
        "ends": how_it_ends(agreement),
    }


def _noticed(agreement: AgreementView) -> dict[str, Json]:
    return {
        "agreement": agreement.agreement_id,
        "ends_at": spelled(agreement.ends_at),
        "ends": how_it_ends(agreement),
    }


def _keep(agency: AgencyHome, agreement: AgreementView, notice: Envelope) -> Path:
    """Write a notice into the agency's folder of agreements, beside those that are there already."""
    if agency.agency not in agreement.parties:
        parties = " and ".join(agreement.parties)
        raise AgreementInvalid(
            f"agreement `{agreement.agreement_id}` is between {parties}, not `{agency.agency}` (--dir)"
        )
    ended = with_notice(agreement, notice)
    name = f"{agreement.agreement_id}--notice-{ended.notices[-1].digest.hex()[:8]}.json"
    path = agency.agreements / name
    write_public(path, to_json(notice))
    return path
