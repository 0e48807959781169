"""`comity audit reconcile`: two or three ends' logs side by side, exchange by exchange."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from comity.audit.errors import AuditError, TrustInvalid
from comity.audit.reconciling.judging import CLASSES, MATCHED, Bounds, Verdict
from comity.audit.reconciling.running import ReconciledLog, Reconciler, Step
from comity.audit.retrieval.folder import is_records
from comity.audit.trust import Trust
from comity.audit.verify import find_logs
from comity.cli.plain import clean

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_LISTED = 10
"""Exchanges of a class that the terminal lists; `--out` has all."""


class _Seconds(click.FloatRange):
    """Seconds: 0 or more, and a number that one can count to (`nan` and `inf` are none)."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"`{value}` is no number of seconds; 0 or more is right", param, ctx)
        return seconds


@click.command(
    epilog="Example: comity audit reconcile copies/sheriff copies/broker copies/lapd --trust trust.json "
    "--out findings.jsonl  Exit status: 0 all match, 1 anything else, 2 no log found or wrong use."
)
@click.argument("folders", metavar="DIR DIR...", nargs=-1, required=True, type=_FOLDER)
@click.option(
    "--trust",
    "trust_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that `comity audit trust` made, kept apart; or a tlog-policy file.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for what was read: a run that is interrupted goes on from there. Default: a temporary one.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path, writable=True),
    help="File for everything that is not matched, one JSON object a line.",
)
@click.option(
    "--bound",
    type=_Seconds(),
    default=5.0,
    show_default=True,
    help="Seconds that clocks may differ.",
)
@click.option(
    "--promise-within",
    type=_Seconds(),
    default=60.0,
    show_default=True,
    help="Seconds within which a promised entry must be covered by a checkpoint that a peer saw.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def reconcile(
    folders: tuple[Path, ...],
    trust_file: Path,
    work: Path | None,
    out: Path | None,
    bound: float,
    promise_within: float,
    as_json: bool,
) -> None:
    """Compare the logs of two or three ends (or more), offline: what became of every exchange.

    DIR is a `log/` folder, an end's folder, or a folder that holds several. Nothing but `log/` folders and
    the trust file is read. Each exchange with each provider is `matched`, or the first thing that is wrong
    with it is named, and the entries that show it.
    """
    try:
        trust = Trust.load(trust_file)
    except TrustInvalid as problem:
        raise click.UsageError(str(problem)) from problem
    records = [folder for folder in folders if is_records(folder)]
    others = [folder for folder in folders if not is_records(folder)]
    for folder in others:
        if not find_logs([folder]):
            raise click.UsageError(
                f"no log found in `{folder}`: a folder with `checkpoint` and `tile` is right, or one that "
                "`comity audit retrieve` wrote"
            )
    logs = [*find_logs(others), *records]
    if len(logs) < 2:
        raise click.UsageError(f"two logs or more are needed to compare, found {len(logs)}")
    with ExitStack() as stack:
        scratch = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="comity-reconcile-")))
        listing = stack.enter_context(_opened(out)) if out is not None else None
        progress = stack.enter_context(_progress())
        reconciler = Reconciler(
            logs,
            trust,
            trust_file,
            scratch,
            Bounds(clocks=int(bound * 1000), promise=int(promise_within * 1000)),
        )
        telling = _Telling(progress)
        counts: Counter[str] = Counter()
        examples: dict[str, list[Verdict]] = {}
        try:
            reconciler.read(telling.tell)
            for verdict in reconciler.verdicts(telling.tell):
                counts[verdict.what] += 1
                if not verdict.is_matched:
                    listed = examples.setdefault(verdict.what, [])
                    if len(listed) < _LISTED:
                        listed.append(verdict)
                    if listing is not None:
                        _write(listing, verdict)
        except OSError as problem:
            words = f"`{problem.filename or scratch}`: {(problem.strerror or str(problem)).lower()}"
            raise click.UsageError(f"{words}; --work DIR says where what is read lies") from problem
        except sqlite3.Error as problem:
            raise click.UsageError(
                f"`{scratch}`: {problem}; --work DIR names a folder with room for what is read, about as "
                "large as the logs"
            ) from problem
        except AuditError as problem:
            raise click.UsageError(str(problem)) from problem
    if as_json:
        click.echo(json.dumps(_json(reconciler.logs, counts, examples), indent=2))
    else:
        _print(reconciler.logs, counts, examples, out)
    if set(counts) - {MATCHED} or any(log.findings for log in reconciler.logs):
        raise SystemExit(1)


class _Telling:
    """Shows how far it is, on standard error, where somebody looks."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def tell(self, step: Step) -> None:
        words = {"reading": "reading entries", "judging": "judging entries"}[step.what]
        if step.what not in self._tasks:
            self._tasks[step.what] = self._progress.add_task(words, total=step.whole or None)
        self._progress.update(self._tasks[step.what], completed=step.done, total=step.whole or None)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _opened(out: Path) -> TextIO:
    try:
        return out.open("w")
    except OSError as problem:
        words = f"`{out}`: {(problem.strerror or 'unwritable').lower()}"
        raise click.UsageError(f"--out: {words}; a file in a folder that is there is right") from problem


def _write(listing: TextIO, verdict: Verdict) -> None:
    listing.write(json.dumps(_verdict_json(verdict)) + "\n")


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    return {
        "exchange": verdict.exchange.hex(),
        "requester": verdict.requester,
        "provider": verdict.provider,
        "class": verdict.what,
        "evidence": list(verdict.evidence),
    }


def _json(
    logs: list[ReconciledLog], counts: Counter[str], examples: dict[str, list[Verdict]]
) -> dict[str, object]:
    return {
        "matched": not (set(counts) - {MATCHED}) and not any(log.findings for log in logs),
        "logs": [
            {
                "end": log.end,
                "agency": log.agency,
                "path": str(log.path),
                "origin": log.origin,
                "size": log.size,
                "findings": list(log.findings),
            }
            for log in logs
        ],
        "counts": {what: counts[what] for what in CLASSES if counts[what]},
        "examples": [_verdict_json(verdict) for what in CLASSES for verdict in examples.get(what, ())],
    }


def _print(
    logs: list[ReconciledLog], counts: Counter[str], examples: dict[str, list[Verdict]], out: Path | None
) -> None:
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=100)
    for log in logs:
        mark = Text("FAIL", style="bold red") if log.findings else Text("ok  ", style="green")
        path = clean(str(log.path))
        words = f"{clean(log.origin) or path:<32} {log.size:>9} entries  {path}"
        console.print(mark, Text(words), soft_wrap=True)
        for finding in log.findings[:_LISTED]:
            console.print(Text(f"     - {clean(finding)}", style="red"), soft_wrap=True)
        if len(log.findings) > _LISTED:
            console.print(Text(f"     - and {len(log.findings) - _LISTED} more", style="red"))
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    table.add_column("exchanges with a provider")
    table.add_column("", justify="right")
    for what in CLASSES:
        if counts[what]:
            style = "green" if what == MATCHED else "bold red"
            table.add_row(Text(what, style=style), f"{counts[what]:,}")
    console.print(table)
    for what in CLASSES:
        for verdict in examples.get(what, ()):
            head = f"{what}: {verdict.exchange.hex()} {clean(verdict.requester)} → {clean(verdict.provider)}"
            console.print(Text(head, style="red"), soft_wrap=True)
            for line in verdict.evidence:
                console.print(Text(f"     {clean(line)}"), soft_wrap=True)
        if counts[what] > _LISTED and what != MATCHED:
            more = f"see {out}" if out else "give --out FILE for all"
            console.print(Text(f"     and {counts[what] - _LISTED:,} more; {more}", style="dim"))
    wrong = sum(counts.values()) - counts[MATCHED]
    bad = sum(bool(log.findings) for log in logs)
    if not wrong and not bad:
        console.print(Text(f"verdict: all {counts[MATCHED]:,} match", style="bold"))
    else:
        logs_with = f"{bad} {'log' if bad == 1 else 'logs'}"
        words = f"verdict: {wrong:,} of {sum(counts.values()):,} do not match; findings in {logs_with}"
        console.print(Text(words, style="bold"))
