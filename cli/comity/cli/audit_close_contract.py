"""`comity audit close-contract`: its records go to the agency, and then from here (L5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click

from comity.audit.acts import Act, enter, enter_act
from comity.audit.errors import AuditError, RecordsInvalid
from comity.audit.retaining import STATE, Forgetting, forget
from comity.audit.retention import Believable, check_clock
from comity.audit.retrieval.folder import (
    RecordsWriter,
    check_records,
    is_records,
    read_records,
    read_statement,
)
from comity.audit.retrieval.selecting import Selection, Wanted, exported, make_statement
from comity.audit.trust import Trust, make_trust
from comity.certs.agreements import AgreementBook
from comity.certs.clock import utc_now
from comity.certs.credentials import EndCredentials
from comity.certs.envelope import seal
from comity.certs.errors import CertsError
from comity.cli.own_end import OwnEnd, load_own_end
from comity.cli.reporting import Json, json_option, report, stop, working
from comity.v1.records_pb2 import LogRecord, RecordsStatement

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(6000, 1, 1, tzinfo=UTC)
"""The whole of a log, whatever a clock once said."""
TIME_TO_EXPORT = timedelta(days=30)
"""In which the records are exported to the agency, after the contract's end (L5)."""


@click.command(
    "close-contract",
    epilog="Example: comity audit close-contract agencies/vendor/adapter --agency ice --to ice-records/  "
    "Then, once the agency has them: the same with --delete.",
)
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.option("--agency", required=True, help="The requesting agency whose contract has ended.")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for its records: new; with --delete the one that was written before.",
)
@click.option("--delete", is_flag=True, help="Verify what was exported, and delete just that from HOME.")
@json_option
def close_contract(home: Path, agency: str, folder: Path, delete: bool, as_json: bool) -> None:
    """Export all records of an agency's users from the provider's end in HOME; with --delete, delete them.

    The export is signed, with the proof of every entry, and verified here as the agency verifies it. With
    --delete openings and evidence of exactly these entries go, held cases excepted, and only if the export
    verifies and is all that HOME still holds of that agency. The log stays. Both are logged (L5).
    """
    end = load_own_end(home)
    if end.role != "adapter":
        raise click.UsageError(f"`{home}` is a {end.role}'s folder; a provider's adapter keeps the records")
    if agency == end.agency or agency not in end.federation.members:
        known = ", ".join(name for name in sorted(end.federation.members) if name != end.agency)
        raise click.UsageError(f"--agency: `{agency}` is no other member; members are {known}")
    now = utc_now()
    try:
        check_clock(now, Believable.by(end.federation))
        ended = _require_ended(end, agency, now)
        wanted = Wanted(provider=end.agency, requester=agency, start=BEGINNING, end=END)
        if delete:
            with working("comparing the export with what is here, and deleting"):
                _delete(end, wanted, folder, now, as_json)
        else:
            with working("exporting"):
                _export(end, wanted, folder, now, ended, as_json)
    except (AuditError, CertsError) as problem:
        stop(str(problem), status=1)
    except OSError as problem:
        stop(f"`{problem.filename or folder}`: {(problem.strerror or 'unwritable').lower()}")


def _require_ended(end: OwnEnd, agency: str, now: datetime) -> datetime | None:
    """Refuse while an agreement is in force; return when the last one ended, None if there was none."""
    assert end.agreements is not None
    book = AgreementBook.load(end.agreements, end.federation, own=end.agency)
    about = [
        agreement
        for agreement in book.agreements
        if agreement.grant(provider=end.agency, requester=agency) is not None
    ]
    in_force = [agreement for agreement in about if agreement.in_force(now)]
    if in_force:
        last = max(agreement.expires_at for agreement in in_force)
        stop(
            f"agreement `{in_force[0].agreement_id}` with `{agency}` is in force until {last:%Y-%m-%d}: its "
            "records are still being made; until then `comity audit retrieve` gives them to the agency",
            status=1,
        )
    return max((agreement.expires_at for agreement in about), default=None)


def _export(
    end: OwnEnd, wanted: Wanted, folder: Path, now: datetime, ended: datetime | None, as_json: bool
) -> None:
    """Log the export, write it, and verify it as the agency will."""
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"--to: `{folder}` is not empty; records go into a folder of their own")
    selection, note = _selection(end, wanted)
    found = selection.survey()
    act = Act(kind="exported", public={**exported(wanted, found, selection.size), "why": "contract"})
    promise = enter(end.home, act)
    statement = make_statement(wanted, found, note, promise, request_id=b"", at=now)
    writer = RecordsWriter(folder, seal(statement, EndCredentials.load(end.home).statement))
    try:
        for record in selection.records():
            writer.add(record)
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    _verified(end, wanted, folder)
    due = None if ended is None else ended + TIME_TO_EXPORT
    values: dict[str, Json] = {
        "agency": wanted.requester,
        "records": found.size,
        "to": str(folder),
        "entry": promise.index,
        "due": None if due is None else f"{due:%Y-%m-%d}",
    }
    when = "" if due is None else f", due at the agency by {due:%Y-%m-%d}"
    report(
        as_json,
        values,
        f"{folder}: {found.size} records of {wanted.requester}'s users, verified{when}",
        "once the agency has them: the same command with --delete",
    )


def _delete(end: OwnEnd, wanted: Wanted, folder: Path, now: datetime, as_json: bool) -> None:
    """Delete what the export holds, if it verifies and nothing is here that it doesn't hold."""
    if not is_records(folder):
        raise RecordsInvalid(f"nothing is deleted: `{folder}` holds no export; first export without --delete")
    _verified(end, wanted, folder)
    indexes = list(_same(end, wanted, folder))
    gone = None
    if indexes:
        terms = Forgetting(
            home=end.home,
            agency=end.agency,
            cutoffs=end.terms.cutoffs(now),
            peer=wanted.requester,
            only=indexes,
        )
        gone = asyncio.run(forget(terms, partial(enter_act, end.home)))
    openings = gone.openings.count if gone is not None else 0
    envelopes = gone.envelopes.count if gone is not None else 0
    selection, _ = _selection(end, wanted)
    left = sum(1 for record in selection.records() if record.openings or record.kept)
    values: dict[str, Json] = {
        "agency": wanted.requester,
        "records": len(indexes),
        "openings": openings,
        "envelopes": envelopes,
        "held": left,
    }
    lines = [f"{end.home}: {openings} openings and {envelopes} envelopes of {len(indexes)} records deleted"]
    if left:
        lines.append(f"held, so they stay: {left} records; when the holds are lifted, run it again")
    report(as_json, values, *lines)


def _selection(end: OwnEnd, wanted: Wanted) -> tuple[Selection, bytes]:
    note = (end.home / "log" / "checkpoint").read_bytes()
    return Selection(log=end.home / "log", state=end.home / STATE, note=note, wanted=wanted), note


def _verified(end: OwnEnd, wanted: Wanted, folder: Path) -> None:
    """Verify an export with the published roster, and that it is this one. Raises `RecordsInvalid`."""
    found = check_records(folder, Trust.parse(make_trust(end.public)))
    if found.findings:
        raise RecordsInvalid(f"nothing is deleted: `{folder}` does not verify: {found.findings[0]}")
    statement = RecordsStatement.FromString(read_statement(folder).payload)
    if (statement.provider, statement.requester) != (wanted.provider, wanted.requester):
        raise RecordsInvalid(
            f"nothing is deleted: `{folder}` holds the records of `{statement.requester}`'s users at "
            f"`{statement.provider}`"
        )


def _same(end: OwnEnd, wanted: Wanted, folder: Path) -> Iterator[int]:
    """Yield the indexes of an export that holds all that is here. Raises `RecordsInvalid`.

    What was deleted here since may be in the export; what is here must be in it, byte for byte.
    """
    there = read_records(folder)
    selection, _ = _selection(end, wanted)
    for here in selection.records():
        other = next(there, None)
        if other is None or (other.index, other.entry) != (here.index, here.entry):
            raise RecordsInvalid(
                f"nothing is deleted: `{folder}` lacks entry {here.index}, which is here; export anew"
            )
        if not _parts(here) <= _parts(other):
            raise RecordsInvalid(
                f"nothing is deleted: `{folder}` holds less of entry {here.index} than is here; export anew"
            )
        yield here.index
    if next(there, None) is not None:
        raise RecordsInvalid(f"nothing is deleted: `{folder}` holds entries that are not here")


def _parts(record: LogRecord) -> set[tuple[str, bytes, str]]:
    openings = {(one.name, one.salt, one.value) for one in record.openings}
    return openings | {(one.name, one.payload, "") for one in record.kept}
