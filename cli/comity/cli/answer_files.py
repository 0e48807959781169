"""An answer as Excel or PDF, for the case file: marked on every page, with its caveats (A4, A5)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import click

from comity.cli.asking import Answer
from comity.cli.exporting.document import Column, Document, DocumentTable
from comity.cli.exporting.files import EXTRA, Produce, make_file
from comity.cli.rendering import (
    banner_of,
    clean,
    images_of,
    kind_word,
    moment,
    plate_of,
    reads_of,
    where_of,
    words_of,
)
from comity.cli.reporting import stop
from comity.v1 import common_pb2, query_service_pb2, result_pb2

READS = (
    Column(head="agency", share=3),
    Column(head="captured (UTC)", share=5),
    Column(head="plate", share=3),
    Column(head="state", share=2),
    Column(head="where", share=8),
    Column(head="vehicle", share=5),
    Column(head="camera, source", share=6),
    Column(head="images", share=2),
    Column(head="withheld", share=4),
    Column(head="marking", share=6),
    Column(head="kept at most", share=3),
    Column(head="read", share=6, small=True),
)
OUTCOMES = (
    Column(head="provider", share=3),
    Column(head="outcome", share=4),
    Column(head="reads", share=1),
    Column(head="vouched by", share=3),
    Column(head="what it says", share=20),
)
_FILE = click.Path(dir_okay=False, path_type=Path)

xlsx_option = click.option(
    "--xlsx", type=_FILE, metavar="FILE", help="A new Excel file of the answer, every cell text; mode 0600."
)
pdf_option = click.option(
    "--pdf", type=_FILE, metavar="FILE", help="A new PDF of the answer, marked on every page; mode 0600."
)


def answer_document(answer: Answer, asked: Mapping[str, str]) -> Document:
    """Return an answer as a document; `asked` is what was asked, a word and a text each.

    It is marked as the answer is, with its caveats (A5); each read has its own marking (A4).
    """
    summary = answer.summary
    exchange = answer.plan.exchange_id.hex() if answer.plan else ""
    about = [("exchange", exchange), *asked.items()]
    if answer.problem:
        about.append((answer.problem_reason, clean(answer.problem)))
    return Document(
        title="Answer to a question about one plate",
        banner=banner_of(answer),
        caveats=tuple(clean(line) for line in summary.caveats) if summary else (),
        about=tuple(about),
        findings=tuple(clean(line) for line in summary.findings) if summary else (),
        tables=(
            DocumentTable(
                name="Reads", columns=READS, rows=list(_reads(answer)), empty="no reads in this period"
            ),
            DocumentTable(
                name="Outcomes", columns=OUTCOMES, rows=list(_outcomes(answer)), empty="nobody was asked"
            ),
        ),
    )


def check_files(*, xlsx: Path | None, pdf: Path | None) -> None:
    """Raise `click.UsageError` if an answer can't be written there: said before anybody is asked.

    A question is logged, and counts towards budgets, whether its answer is kept or not.
    """
    for option, path, module in (("--xlsx", xlsx, "xlsx"), ("--pdf", pdf, "pdf")):
        if path is None:
            continue
        if path.exists():
            raise click.UsageError(
                f"{option}: `{path}` is there already, nothing is overwritten: name a new file"
            )
        if not path.parent.is_dir():
            raise click.UsageError(f"{option}: there is no folder `{path.parent}`: make it, or name another")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise click.UsageError(f"{option}: the folder `{path.parent}` can't be written to")
        try:
            import_module(f"comity.cli.exporting.{module}")
        except ImportError as error:
            raise click.UsageError(f"{option} {EXTRA}") from error
    if xlsx is not None and pdf is not None and xlsx.absolute() == pdf.absolute():
        raise click.UsageError(f"--xlsx and --pdf: both name `{xlsx}`: give each a file of its own")


def write_answer(answer: Answer, asked: Mapping[str, str], *, xlsx: Path | None, pdf: Path | None) -> None:
    """Write the files that are wanted, after `check_files`; ends the command with one line if it can't."""
    document = answer_document(answer, asked)
    for path, produce in _wanted(document, xlsx, pdf):
        try:
            make_file(path, produce)
        except FileExistsError:
            stop(f"`{path}` is there already, and nothing is overwritten: choose another name")
        except OSError as problem:
            stop(f"`{path}`: {(problem.strerror or 'unwritable').lower()}")
        except ValueError as problem:
            stop(f"`{path}`: {problem}")
        click.echo(f"{path}: the answer, marked {document.banner}", err=True)


def _wanted(document: Document, xlsx: Path | None, pdf: Path | None) -> Iterator[tuple[Path, Produce]]:
    """Yield what is to be made; the libraries are imported for what is wanted alone."""
    if xlsx is not None:
        from comity.cli.exporting.xlsx import write_xlsx

        yield xlsx, lambda path, scratch: write_xlsx(document, path, scratch)
    if pdf is not None:
        from comity.cli.exporting.pdf import write_pdf

        yield pdf, lambda path, scratch: write_pdf(document, path)


def _reads(answer: Answer) -> Iterator[tuple[str, ...]]:
    for agency, read in reads_of(answer):
        yield (
            agency,
            f"{moment(read.captured_at):%Y-%m-%d %H:%M:%S}",
            plate_of(read, answer).plain,
            clean(read.plate.state),
            where_of(read),
            _joined(read.vehicle.make, read.vehicle.model, read.vehicle.colour, read.vehicle.direction),
            _joined(read.camera.name, read.camera.owner, read.source),
            images_of(read),
            ", ".join(_withheld(read)),
            clean(f"{read.marking.portion} {read.marking.banner}"),
            f"{read.marking.retain_days} days" if read.marking.retain_days else "as the case needs",
            clean(read.read_id),
        )


def _outcomes(answer: Answer) -> Iterator[tuple[str, ...]]:
    for item in sorted(answer.outcomes, key=lambda outcome: outcome.agency):
        yield (
            item.agency,
            kind_word(item.kind),
            str(item.detail.read_count) if item.HasField("detail") else "",
            query_service_pb2.Attestation.Name(item.attested_by).removeprefix("ATTESTATION_").lower(),
            "\n".join(dict.fromkeys(words_of(item))),
        )
    for left_out in answer.plan.not_asked if answer.plan else ():
        yield left_out.agency, "NOT_ASKED", "", "gateway", clean(left_out.text)


def _withheld(read: result_pb2.Read) -> Iterator[str]:
    for element in read.withheld:  # an element of a later contract has no name yet
        if element in common_pb2.Element.values():
            yield common_pb2.Element.Name(element).removeprefix("ELEMENT_").lower()


def _joined(*parts: str) -> str:
    return " ".join(clean(part) for part in parts if part)
