"""`comity audit review`: a supervisor's worksheet for a quarter, and the sign-off, itself logged (L4)."""

from __future__ import annotations

from pathlib import Path

import click

from comity.audit.acts import Act, enter
from comity.audit.errors import AuditError, ReviewImpossible
from comity.audit.searching.looks import Thresholds
from comity.audit.searching.review import SAMPLE, Quarter, Worksheet, review
from comity.certs.errors import CertsError
from comity.cli.exporting.document import clean
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
from comity.cli.exporting.worksheet import LISTED, document, findings, show, to_json
from comity.cli.exporting.writing import made_from, mark, print_json, print_written, write_files
from comity.cli.reporting import spelled, stop

_USUAL = Thresholds()


class _QuarterType(click.ParamType[Quarter]):
    name = "quarter"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Quarter:
        try:
            return Quarter.parse(str(value))
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


@click.command(
    "review",
    epilog="Example: comity audit review agencies/sheriff/gateway --quarter 2026Q4 --pdf 2026Q4.pdf, and "
    "later: comity audit review agencies/sheriff/gateway --quarter 2026Q4 --sign-off 'R. Gomez'  Exit "
    "status: 0 done; 1 an opening is false or the log doesn't lead to its checkpoint; 2 wrong use.",
)
@folder_argument
@click.option("--quarter", required=True, type=_QuarterType(), metavar="2026Q4", help="Which quarter (UTC).")
@click.option(
    "--sample",
    type=click.IntRange(1, 10_000),
    default=SAMPLE,
    show_default=True,
    help="How many questions to draw; a smaller sample is part of a larger one.",
)
@click.option(
    "--same-plate",
    type=click.IntRange(min=2),
    default=_USUAL.same_plate,
    show_default=True,
    help="From how many questions of one user about one plate on it deserves a look.",
)
@click.option(
    "--short-reason",
    type=click.IntRange(min=1),
    default=_USUAL.short_reason,
    show_default=True,
    help="Below how many letters and digits a reason's text is vague.",
)
@click.option(
    "--copied",
    type=click.IntRange(min=2),
    default=_USUAL.copied,
    show_default=True,
    help="From how many cases with the same text on a reason counts as copied.",
)
@click.option(
    "--case-plates",
    type=click.IntRange(min=2),
    default=_USUAL.case_plates,
    show_default=True,
    help="From how many different plates on a case is unusual, if it has three times the usual number.",
)
@click.option(
    "--refusals",
    type=click.IntRange(min=1),
    default=_USUAL.refusals,
    show_default=True,
    help="From how many refusals of one user's questions on it deserves a look.",
)
@trust_option
@json_option
@xlsx_option
@pdf_option
@click.option("--sign-off", "supervisor", metavar="NAME", help="Sign off; logged as `reviewed`.")
@click.option("--note", default="", help="With --sign-off: what there is to say, up to 1,000 characters.")
@click.option(
    "--worksheet", default="", metavar="DIGEST", help="With --sign-off: refuse if it isn't this worksheet."
)
def command(
    folder: Path,
    quarter: Quarter,
    sample: int,
    same_plate: int,
    short_reason: int,
    copied: int,
    case_plates: int,
    refusals: int,
    trust_file: Path | None,
    as_json: bool,
    xlsx: Path | None,
    pdf: Path | None,
    supervisor: str | None,
    note: str,
    worksheet: str,
) -> None:
    """Make the worksheet of a quarter's review: counts, a random sample, and what deserves a look.

    DIR is an end's folder with its `state.db`. The sample's seed comes from the log's tree at the quarter's
    end, so nobody chose it, and whoever holds the log draws the same one; before the quarter is over there is
    none. What deserves a look is no accusation: each finding names its rule and the entries behind it.
    """
    where = open_end(folder, trust_file)
    if where.retrieved is not None:
        raise click.UsageError(f"`{folder}` holds retrieved records; your own end's folder is right")
    if where.end not in ("gateway", "adapter"):
        raise click.UsageError(
            f"log `{where.origin}`: it holds no records of queries; a gateway's or an adapter's does"
        )
    if supervisor is None and (note or worksheet):
        raise click.UsageError("`--note` and `--worksheet` go with `--sign-off NAME`")
    if supervisor is not None and not supervisor.strip():
        raise click.UsageError("`--sign-off`: a name is expected")
    if len(note) > 1_000:
        raise click.UsageError("`--note`: up to 1,000 characters are right")
    thresholds = Thresholds(
        same_plate=same_plate,
        short_reason=short_reason,
        copied=copied,
        case_plates=case_plates,
        refusals=refusals,
    )
    try:
        with telling("reading entries") as tell:
            made = review(
                where.log,
                where.state,
                quarter,
                sample=sample,
                thresholds=thresholds,
                keys=where.keys,
                tell=tell,
            )
    except ReviewImpossible as problem:
        raise click.UsageError(f"`{folder}`: {problem}") from problem
    except AuditError as problem:
        stop(str(problem), status=1)
    leaving = Leaving(
        home=where.home,
        what="review",
        agency=where.agency,
        to=HOUSE,
        records=made.questions,
        checkpoint_size=made.size,
        told={"quarter": str(quarter), "sample": str(sample)},
    )
    marked = mark(where, made.ceilings, made.unmarked)
    lines = made_from(where, leaving, note=made.note, size=made.size, marked=marked)
    written = write_files(
        leaving,
        xlsx=xlsx,
        pdf=pdf,
        document=lambda full: document(where, made, marked, lines, limit=None if full else LISTED),
    )
    if as_json:
        print_json(to_json(made, marked), leaving)
    elif supervisor is None:
        show(made, marked, terminal())
        print_written(written)
    if supervisor is not None:
        _sign_off(where, made, supervisor.strip(), note, worksheet.lower())
    if made.false:
        raise SystemExit(1)


def _sign_off(where: EndFolder, made: Worksheet, supervisor: str, note: str, expected: str) -> None:
    """Enter `reviewed` in the end's log; end the command if there is nothing that could be signed off."""
    if made.drawn is None:
        stop(
            f"{made.quarter} is not over in this log: no entry of {spelled(made.quarter.end)} or later; "
            "it is signed off once it is"
        )
    if made.false:
        stop(f"{findings(made)[0]}; that must be cleared up before anybody signs", status=1)
    if expected and not made.digest.startswith(expected):
        stop(f"the worksheet is {made.digest[:16]}…, not {expected[:16]}…: look at it again", status=1)
    act = Act(
        kind="reviewed",
        public={
            "agency": where.agency,
            "period": str(made.quarter),
            "checkpoint_size": made.size,
            "checkpoint_root": _root(made),
            "sample_size": len(made.sample),
        },
        private={"supervisor": supervisor, "worksheet": made.digest, "note": note},
    )
    try:
        promise = enter(where.home, act)
    except (AuditError, CertsError) as problem:
        stop(f"nothing was signed off: {problem}")
    click.echo(
        f"{made.quarter} signed off by {clean(supervisor)}: worksheet {made.digest[:16]}…, entry "
        f"{promise.index} `reviewed` of {promise.origin}",
        err=True,
    )


def _root(made: Worksheet) -> str:
    """Return the root of the checkpoint, base64, as its third line has it."""
    return made.note.decode().splitlines()[2]
