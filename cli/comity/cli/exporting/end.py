"""The folder of the end whose log is read, and how far reading is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.errors import AuditError, TrustInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.retrieval.folder import begin_check, is_records
from comity.audit.searching.kept import find_kept
from comity.audit.searching.walk import Tell
from comity.audit.trust import Trust
from comity.audit.verify import find_logs
from comity.certs.errors import UnknownMember
from comity.cli.reporting import PATIENCE_SECONDS

WIDTH_WHEN_PIPED = 120

folder_argument = click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
trust_option = click.option(
    "--trust",
    "trust_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that `comity audit trust` made: whose log it is. Left out: the log's own key is believed.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")


def out_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return an option for a new file."""
    return click.option(name, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=text)


xlsx_option = out_option("--xlsx", "A new Excel file, every cell text; mode 0600, logged as `exported`.")
pdf_option = out_option("--pdf", "A new PDF, marked on every page; mode 0600, logged as `exported`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFolder:
    """One end's folder, or a copy of it."""

    home: Path
    log: Path
    origin: str
    """As the checkpoint claims it: it is verified when the log is read."""
    agency: str
    end: str
    """`gateway`, `adapter` or `broker`."""
    state: Path | None
    """What was kept beside the log, if it is there: `state.db`, or the openings of a redacted copy."""
    keys: KeyHistory | None
    is_federal: bool
    retrieved: Trust | None = None
    """The trust with which records are checked, where the folder holds what a provider gave of its log."""


def open_end(folder: Path, trust_file: Path | None) -> EndFolder:
    """Return the end whose folder, or whose `log/`, this is; raise `UsageError` if it can't be read."""
    if is_records(folder):
        return _open_records(folder, trust_file)
    logs = find_logs([folder])
    if len(logs) != 1:
        raise click.UsageError(f"`{folder}` must hold one log, found {len(logs)}")
    log = logs[0].absolute()
    try:
        origin = peek_checkpoint((log / "checkpoint").read_bytes()).origin
        trust = None if trust_file is None else Trust.load(trust_file)
    except (TrustInvalid, AuditError) as problem:
        raise click.UsageError(str(problem)) from problem
    except OSError as problem:
        raise click.UsageError(f"`{log / 'checkpoint'}` can't be read") from problem
    agency, end = origin.partition(".")[0], origin.rpartition("/")[2]
    keys = None if trust is None else trust.history(origin)
    if keys is not None and not keys.keys:
        raise click.UsageError(f"log `{origin}`: the trust file names no such log")
    agency = trust.logs[origin].agency if trust is not None else agency
    return EndFolder(
        home=log.parent,
        log=log,
        origin=origin,
        agency=agency,
        end=end,
        state=find_kept(log),
        keys=keys,
        is_federal=_is_federal(trust, agency),
    )


def _open_records(folder: Path, trust_file: Path | None) -> EndFolder:
    """Return a folder of records as the part of a provider's log that it is."""
    if trust_file is None:
        raise click.UsageError(f"`{folder}` holds retrieved records: --trust is needed to check them")
    try:
        trust = Trust.load(trust_file)
        checked = begin_check(folder, trust)
    except AuditError as problem:
        raise click.UsageError(str(problem)) from problem
    provider = checked.wanted.provider
    return EndFolder(
        home=folder,
        log=folder,
        origin=checked.checkpoint.origin,
        agency=provider,
        end="adapter",
        state=None,
        keys=None,
        is_federal=_is_federal(trust, provider),
        retrieved=trust,
    )


def terminal() -> Console:
    """Return a console as wide as the terminal, or as `COLUMNS` says, or 120 where it is piped."""
    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(highlight=False, width=WIDTH_WHEN_PIPED)


@contextmanager
def telling(words: str) -> Iterator[Tell]:
    """Show how far a walk is, on standard error: a bar, or a line now and then where nobody looks."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(words, total=None)
        told = time.monotonic()

        def tell(done: int, whole: int) -> None:
            nonlocal told
            progress.update(task, completed=done, total=whole)
            if not console.is_terminal and time.monotonic() - told > PATIENCE_SECONDS and done < whole:
                told = time.monotonic()
                click.echo(f"{words}: {done:,} of {whole:,} …", err=True)

        yield tell


def _is_federal(trust: Trust | None, agency: str) -> bool:
    if trust is None or trust.roster is None:
        return False
    try:
        return trust.roster.member(agency).kind == "federal"
    except UnknownMember:
        return False
