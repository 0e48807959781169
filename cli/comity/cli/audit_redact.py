"""`comity audit redact`: a copy that can be published, chosen fields open and the rest closed."""

from __future__ import annotations

from pathlib import Path

import click

from comity.audit.errors import AuditError
from comity.audit.evidence import is_evidence
from comity.audit.redaction import OpenedReport, redact
from comity.audit.retrieval.folder import RecordsReport, is_records
from comity.audit.verify import find_logs
from comity.certs.errors import CertsError
from comity.cli.plain import clean
from comity.cli.reporting import Json, json_option, report, stop, working

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    "redact",
    epilog="Example: comity audit redact agencies/lapd/adapter --open reason --open reads --out published/  "
    "Then, for everybody: comity audit verify published/ --trust trust.json  Exit status: 0 done; 1 a copy "
    "was made, and a field that was to be opened is nowhere; 2 wrong use.",
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--open",
    "opened",
    multiple=True,
    metavar="NAME",
    help="A private field to open, for example `reason`; may be repeated. Left out: all stay closed.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder for the copy.",
)
@json_option
def redact_copy(folder: Path, opened: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Copy a log, records or evidence with only the fields open that you choose, to be published.

    DIR is an end's folder, or one that `comity audit prove` or `comity audit retrieve` wrote. The copy
    verifies against the same checkpoint; a false value that is put into it does not. Look through what you
    open: a free text may name a person.
    """
    if not (is_evidence(folder) or is_records(folder)) and not (folder / "log" / "checkpoint").is_file():
        found = ", ".join(f"`{path.parent}`" for path in find_logs([folder])) or "none"
        raise click.UsageError(
            f"`{folder}` is neither an end's folder nor records or evidence; logs below it: {found}"
        )
    try:
        with working("copying"):
            made = redact(folder, out, opened)
    except (AuditError, CertsError) as problem:
        stop(str(problem))
    except OSError as problem:
        stop(f"`{out}`: {(problem.strerror or 'unwritable').lower()}")
    values: dict[str, Json] = {
        "out": str(out),
        "what": made.what,
        "entries": made.entries,
        "opened": made.opened,
        "closed": made.closed,
    }
    lines = [
        f"{out}: a copy of the {made.what}, {made.entries} entries; {made.opened} private fields are open, "
        f"{made.closed} closed"
    ]
    if made.unknown:
        values["unknown"] = list(made.unknown)
        names = ", ".join(f"`{name}`" for name in made.unknown)
        known = ", ".join(made.known) or "none"
        lines.append(f"--open: no entry has a private field {names} to open; they have {known}")
    lines.append(f"verify it with: comity audit verify {out} --trust trust.json")
    report(as_json, values, *lines)
    if made.unknown:
        raise SystemExit(1)


def records_json(found: RecordsReport) -> dict[str, object]:
    """Return what was found about records for scripts."""
    return {
        "path": str(found.path),
        "origin": found.origin,
        "provider": found.provider,
        "requester": found.requester,
        "period": found.period,
        "verified": found.verified,
        "records": found.count,
        "opened": found.opened,
        "statements": list(found.statements),
        "findings": list(found.findings),
    }


def records_lines(found: RecordsReport) -> tuple[str, list[str], list[str]]:
    """Return a head line, further lines and findings about records, for people."""
    head = f"{clean(found.origin) or 'unknown log'}: records of {clean(found.requester) or 'unknown'}'s users"
    lines = [f"{found.count} records, {found.opened} private fields open; {found.period}"]
    return f"{head}  {found.path}", [*lines, *found.statements], list(found.findings)


def opened_json(found: OpenedReport) -> dict[str, object]:
    """Return what was found about a redacted copy's openings for scripts."""
    return {"path": str(found.path), "opened": found.opened, "findings": list(found.findings)}
