"""What every document that leaves an end has in common: its marking, what it is made from, and its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from comity.audit.errors import AuditError
from comity.audit.log import Promise
from comity.certs.errors import CertsError
from comity.cli.exporting.document import Document
from comity.cli.exporting.end import EndFolder
from comity.cli.exporting.files import EXTRA, Leaving, Produce, export_file, export_text
from comity.cli.reporting import stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The marking of a document: strictest of all that it shows."""

    banner: str
    caveats: tuple[str, ...]
    retain_days: int
    """0: only as long as the case needs."""
    note: str
    """What its making could not take in; empty if it took in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A file that was made."""

    path: Path
    promise: Promise | None = field(repr=False)
    """Where the end's log says so; None at a copy, which has no log of its own."""


def mark(where: EndFolder, ceilings: Iterable[bytes], unmarked: int) -> Marked:
    """Return the marking of a document about an end's records; see `marking.strictest`."""
    from comity.cli.exporting.marking import strictest  # an auditor who marks nothing needs no policy room

    marking, unreadable = strictest(where.agency, ceilings, is_federal=where.is_federal)
    missing = unmarked + unreadable
    return Marked(
        banner=marking.banner,
        caveats=tuple(marking.caveats),
        retain_days=marking.retain_days,
        note=f"the receipts of {missing} records are no longer at hand, so their markings are not in it"
        if missing
        else "",
    )


def made_from(
    where: EndFolder, leaving: Leaving, *, note: bytes, size: int, marked: Marked
) -> tuple[tuple[str, str], ...]:
    """Return the lines that say what a document is made from, and how anyone verifies it."""
    lines = [("log", f"{where.origin}, {size} entries, at this checkpoint:"), ("checkpoint", note.decode())]
    if marked.note:
        lines.append(("marking", marked.note))
    if leaving.is_logged:
        lines.append(
            ("export", "its SHA-256 stands, as a commitment, in an entry `exported` after this checkpoint")
        )
    else:
        lines.append(("export", "made from a copy of the log: no entry of the end's log tells of it"))
    lines.append(
        (
            "to verify",
            f"comity audit verify COPY --trust trust.json, where COPY holds the `log/` of {where.origin}:"
            " its entries lead to this checkpoint, or to a later one that is consistent with it. A row names "
            "its entry and the hash of its leaf (RFC 6962). For the proof of one row: comity audit prove END "
            "--exchange ID --open all --out EVIDENCE, then comity audit verify EVIDENCE --trust trust.json; "
            "the second needs nothing of this end's.",
        )
    )
    return tuple(lines)


def write_files(
    leaving: Leaving, *, xlsx: Path | None, pdf: Path | None, document: Callable[[bool], Document]
) -> list[Written]:
    """Write the files that are wanted; `document(True)` gives all columns, `document(False)` those of a page.

    Ends the command with one line if that isn't possible: nothing is overwritten, and nothing leaves that the
    end's log doesn't tell of.
    """
    written: list[Written] = []
    for path, form, produce in _wanted(xlsx, pdf, document):
        try:
            promise = export_file(path, form, produce, leaving)
        except FileExistsError:
            stop(f"`{path}` is there already, and nothing is overwritten: choose another name")
        except OSError as problem:
            stop(f"`{path}`: {(problem.strerror or 'unwritable').lower()}")
        except (AuditError, CertsError) as problem:
            stop(f"nothing was exported: {problem}")
        except ValueError as problem:
            stop(f"`{path}`: {problem}")
        written.append(Written(path=path, promise=promise))
    return written


def print_written(written: Iterable[Written]) -> None:
    """Say which files were made, and where the log tells of them."""
    for each in written:
        click.echo(f"{each.path}: {_entered(each.promise)}")


def print_json(value: Mapping[str, object], leaving: Leaving) -> None:
    """Print an object for scripts, once the end's log tells that it leaves; where it does goes to stderr."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        promise = export_text(text, "json", leaving)
    except (AuditError, CertsError) as problem:
        stop(f"nothing was exported: {problem}")
    click.echo(text)
    click.echo(_entered(promise), err=True)


def _entered(promise: Promise | None) -> str:
    if promise is None:
        return "made from a copy of the log, no entry tells of it"
    return f"entry {promise.index} `exported` of {promise.origin} tells of it"


def _wanted(
    xlsx: Path | None, pdf: Path | None, document: Callable[[bool], Document]
) -> Iterable[tuple[Path, str, Produce]]:
    """Yield what is to be made; the libraries are imported for what is wanted alone."""
    if xlsx is not None:
        try:
            from comity.cli.exporting.xlsx import write_xlsx
        except ImportError:
            stop(f"`--xlsx` {EXTRA}")
        yield xlsx, "xlsx", lambda path, scratch: write_xlsx(document(True), path, scratch)
    if pdf is not None:
        try:
            from comity.cli.exporting.pdf import write_pdf
        except ImportError:
            stop(f"`--pdf` {EXTRA}")
        yield pdf, "pdf", lambda path, scratch: write_pdf(document(False), path)
