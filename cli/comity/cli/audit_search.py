"""`comity audit search`: an end's records of queries, for an auditor (L1, L3, L6)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comity.audit.errors import AuditError
from comity.audit.searching.filtering import OUTCOMES, Filter
from comity.audit.searching.search import Found, search
from comity.cli.exporting.document import Document, DocumentTable, clean
from comity.cli.exporting.end import (
    EndFolder,
    folder_argument,
    json_option,
    open_end,
    pdf_option,
    telling,
    terminal,
    trust_option,
    xlsx_option,
)
from comity.cli.exporting.files import HOUSE, Leaving
from comity.cli.exporting.rows import (
    COMPACT,
    FALSE,
    FULL,
    TERMINAL,
    compact_row,
    full_row,
    terminal_row,
    to_json,
)
from comity.cli.exporting.writing import Marked, made_from, mark, print_json, print_written, write_files
from comity.cli.parameters import REASONS, ReasonType, TimeType
from comity.cli.reporting import stop

MAX_ROWS = 40


@click.command(
    "search",
    epilog="Example: comity audit search agencies/sheriff/gateway --user j.ortega --from 2026-10-01 "
    "--pdf ortega.pdf  Exit status: 0 done; 1 an opening is false or the log doesn't lead to its checkpoint; "
    "2 wrong use.",
)
@folder_argument
@click.option("--user", help="Who asked.")
@click.option("--on-behalf-of", help="For whom the user asked.")
@click.option("--plate", help="The plate, however it is written.")
@click.option("--state", help="The plate's state.")
@click.option("--case", "case_number", help="The case number.")
@click.option("--agency", help="The other agency: a provider at a gateway, a requester at an adapter.")
@click.option("--reason", type=ReasonType(), metavar="CODE", help=f"The reason: {', '.join(REASONS)}.")
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    type=click.Choice(OUTCOMES, case_sensitive=False),
    metavar="OUTCOME",
    help=f"What became of it; may be repeated: {', '.join(OUTCOMES)}.",
)
@click.option("--exchange", default="", help="The exchange's id in hex, or its beginning.")
@click.option("--from", "start", type=TimeType(), help="Asked at or after this time (UTC).")
@click.option("--to", "end", type=TimeType(), help="Asked before this time (UTC).")
@click.option(
    "--for",
    "to",
    metavar="AGENCY",
    help="Whom the result is for: then it holds records of that agency's users and of nobody else's (L6).",
)
@trust_option
@click.option(
    "--rows", type=click.IntRange(min=1), default=MAX_ROWS, show_default=True, help="Rows to print."
)
@json_option
@xlsx_option
@pdf_option
def command(
    folder: Path,
    user: str | None,
    on_behalf_of: str | None,
    plate: str | None,
    state: str | None,
    case_number: str | None,
    agency: str | None,
    reason: str | None,
    outcomes: tuple[str, ...],
    exchange: str,
    start: datetime | None,
    end: datetime | None,
    to: str | None,
    trust_file: Path | None,
    rows: int,
    as_json: bool,
    xlsx: Path | None,
    pdf: Path | None,
) -> None:
    """Search an end's log by user, plate, case, agency, reason, outcome and time.

    DIR is an end's folder, whose `state.db` holds the openings. Each value is shown only if its opening opens
    what the log holds; one that doesn't is named. What leaves by --json, --xlsx and --pdf is entered in the
    end's log as `exported`, whether its process runs or not. A folder that `comity audit retrieve` wrote is
    searched in the same way, with --trust.
    """
    where = open_end(folder, trust_file)
    if where.end not in ("gateway", "adapter"):
        raise click.UsageError(
            f"log `{where.origin}`: it holds no records of queries; a gateway's or an adapter's does"
        )
    if start and end and end <= start:
        raise click.UsageError("`--to` must be later than `--from`")
    requester, provider = _agencies(where, agency, to)
    wanted = Filter(
        user=user,
        on_behalf_of=on_behalf_of,
        plate_folded=None if plate is None else _folded(plate),
        state=state,
        case=case_number,
        reason=reason,
        requester=requester,
        provider=provider,
        outcomes=frozenset(outcomes),
        exchange=_hex(exchange),
        start=start,
        end=end,
    )
    try:
        with telling("reading entries") as tell:
            outward = where.end == "adapter" and to is not None
            found = search(
                where.log,
                where.state,
                wanted,
                keys=where.keys,
                is_outward=outward,
                retrieved=where.retrieved,
                tell=tell,
            )
    except AuditError as problem:
        stop(str(problem), status=1)
    if not found.has_openings and any(name in _PRIVATE for name in wanted.told()):
        raise click.UsageError(
            f"no openings are at hand beside `{where.log}`: plate, user, case and reason stand in the log as "
            "commitments; the end's own folder with its `state.db` is right"
        )
    leaving = Leaving(
        home=where.home,
        what="search",
        agency=where.agency,
        to=to or HOUSE,
        records=len(found.records),
        checkpoint_size=found.size,
        told=wanted.told(),
    )
    marked = mark(where, found.ceilings, found.unmarked)
    lines = made_from(where, leaving, note=found.note, size=found.size, marked=marked)
    written = write_files(
        leaving,
        xlsx=xlsx,
        pdf=pdf,
        document=lambda full: _document(where, found, leaving, marked, lines, full=full),
    )
    if as_json:
        print_json(_json(found, leaving, marked), leaving)
    else:
        _print(found, marked, terminal(), rows)
        print_written(written)
    if found.findings:
        raise SystemExit(1)


_PRIVATE = frozenset({"user", "on behalf of", "plate", "state", "case", "reason"})
"""Words of `Filter.told` that ask for what stands in the log as commitments."""


def _agencies(where: EndFolder, agency: str | None, to: str | None) -> tuple[str | None, str | None]:
    """Return the requester and the provider that are wanted. Raises `UsageError` for what L6 forbids."""
    if where.end == "gateway":
        if to not in (None, where.agency):
            raise click.UsageError(
                f"`--for {to}`: this log tells of {where.agency}'s users alone, and their queries are for no "
                "other agency to see (L6)"
            )
        return None, agency
    if None not in (agency, to) and agency != to:
        raise click.UsageError(f"`--for {to}`: records of {agency} are for {agency} (L6)")
    return to or agency, None


def _folded(plate: str) -> str:
    """Return the plate as both ends fold it."""
    from comity.policy.plates import PlateInvalid, fold

    try:
        return fold(plate)
    except PlateInvalid as problem:
        raise click.UsageError(f"`--plate`: {problem}") from problem


def _hex(exchange: str) -> str:
    if set(exchange.lower()) - set("0123456789abcdef"):
        raise click.UsageError(f"`--exchange {exchange}` is not hex")
    return exchange.lower()


def _document(
    where: EndFolder,
    found: Found,
    leaving: Leaving,
    marked: Marked,
    lines: tuple[tuple[str, str], ...],
    *,
    full: bool,
) -> Document:
    """Return the result as a document, with all columns or with those that fit on a page."""
    row = full_row if full else compact_row
    asked = ", ".join(f"{name} {text}" for name, text in found.wanted.told().items()) or "everything"
    whom = "for the house's own audit" if leaving.to == HOUSE else f"for {leaving.to}, of its own users alone"
    return Document(
        title=f"Records of queries at {where.agency}'s {where.end}, {whom}",
        banner=marked.banner,
        caveats=marked.caveats,
        about=(("searched for", asked), ("found", _count(found)), *lines),
        findings=found.findings,
        tables=(
            DocumentTable(
                name="Records",
                columns=FULL if full else COMPACT,
                rows=[row(record, found.agreements) for record in found.records],
                empty="no record is as searched for",
            ),
        ),
    )


def _count(found: Found) -> str:
    """Return how much was found, and what could not be told."""
    count = len(found.records)
    text = f"{count or 'no'} record{'s' * (count != 1)}, one for each question to each provider"
    if found.undecided:
        shown = ", ".join(map(str, found.undecided[:20])) + (", …" if len(found.undecided) > 20 else "")
        text += (
            f"; {len(found.undecided)} more can't be judged, for what was searched for is closed "
            f"(deleted after its time): entries {shown}"
        )
    return text


def _json(found: Found, leaving: Leaving, marked: Marked) -> dict[str, object]:
    return {
        "origin": found.origin,
        "size": found.size,
        "checkpoint": found.note.decode(),
        "for": leaving.to,
        "searched_for": dict(found.wanted.told()),
        "banner": marked.banner,
        "caveats": list(marked.caveats),
        "retain_days": marked.retain_days,
        "records": [to_json(record, found.agreements) for record in found.records],
        "undecided": list(found.undecided),
        "findings": list(found.findings),
    }


def _print(found: Found, marked: Marked, console: Console, rows: int) -> None:
    """Print the records as a table that fits the console's width, in the order of L1."""
    console.print(Text(f" {marked.banner} ", style="bold reverse"), justify="center")
    head = f"{clean(found.origin)}, {found.size} entries: {_count(found)}"
    console.print(Text(head, style="bold"), soft_wrap=True)
    for finding in found.findings:
        console.print(Text(f"FINDING {finding}", style="bold red"), soft_wrap=True)
    if found.records:
        console.print(_table(found, rows))
    if len(found.records) > rows:
        more = len(found.records) - rows
        console.print(Text(f"… and {more} more (--rows, --json, --xlsx and --pdf show all)", style="dim"))
    for caveat in marked.caveats:
        console.print(Text(f"! {clean(caveat)}", style="yellow"), soft_wrap=True)
    if marked.note:
        console.print(Text(f"marking: {marked.note}", style="yellow"), soft_wrap=True)
    console.print(Text(f" {marked.banner} ", style="bold reverse"), justify="center")


def _table(found: Found, rows: int) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    for column in TERMINAL:
        table.add_column(column.head, overflow="fold", ratio=column.share)
    for record in found.records[:rows]:
        cells = terminal_row(record, found.agreements)
        table.add_row(*(Text(clean(cell), style="red" if FALSE in cell else "") for cell in cells))
    return table
