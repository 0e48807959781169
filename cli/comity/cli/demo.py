"""`comity demo`: the demonstration federation on one machine, end to end, and its evidence verified."""

from __future__ import annotations

import fcntl
import json
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import click
from rich.console import Console

from comity.certs import authority
from comity.certs.clock import utc_now
from comity.certs.errors import CertsError
from comity.cli.asking import AskingFailed
from comity.cli.demonstration.prepare import MARKER, prepare, wanted
from comity.cli.demonstration.processes import Processes, ProcessFailed, start_all
from comity.cli.demonstration.setup import FederationOnDisk
from comity.cli.demonstration.spec import DemonstrationSpec
from comity.cli.demonstration.story import PLATE, SHERIFF_USER, Story, StoryFailed
from comity.cli.rendering import terminal

Progress = Callable[[str], None]


@click.command(
    epilog="Example: comity demo --dir /tmp/federation, and later: comity demo --dir /tmp/federation --up"
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything here: keys, logs, stores, trust file. Left out: nothing is kept.",
)
@click.option("--up", is_flag=True, help="Start the federation kept in --dir again, until Ctrl-C.")
@click.option(
    "--without",
    multiple=True,
    metavar="END",
    help="With --up: leave out an end, such as sheriff/gateway; may be repeated.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the synthetic reads.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object; progress goes to standard error."
)
def command(folder: Path | None, up: bool, without: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Start the demonstration federation with real processes, ask, and verify all its logs.

    Six steps: five providers in one answer; what the broker held; the same law asked twice; five years of
    eight; one provider stopped; logs verified from copies, and tampering named. Exit status: 0 all of it
    held; 1 a step did not show what it promises; 2 wrong use.
    """
    console = terminal(stderr=as_json)
    _end_on_sigterm()
    try:
        if up:
            _serve_kept(_kept(folder), without, console)
            return
        if without:
            raise click.UsageError("--without needs --up")
        result = _run(folder, seed, console)
    except (StoryFailed, ProcessFailed) as error:
        click.echo(f"comity demo: {error}", err=True)
        sys.exit(1)
    except (CertsError, AskingFailed) as error:
        click.echo(f"comity demo: {error}", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(result, indent=2, ensure_ascii=False))


def _run(folder: Path | None, seed: int, console: Console) -> dict[str, object]:
    with ExitStack() as stack:
        if folder is None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="comity-demo-")))
        else:
            root = _fresh(folder)
        now = utc_now()
        with _Progress(console) as progress:
            made = prepare(root, seed=seed, now=now, progress=progress)
            processes = stack.enter_context(Processes())
            start_all(processes, wanted(made), progress)
        began = time.monotonic()
        story = Story(made=made, processes=processes, console=console, now=now)
        story.tell()
        console.print()
        console.print(
            f"Everything held; the six steps took {time.monotonic() - began:.0f} s.", style="bold green"
        )
        if folder is not None:
            _say_what_is_kept(made, console)
        return {
            "queries": story.queries,
            "logs": story.logs,
            "tampered": story.tampered,
            "trust": str(made.trust),
            "dir": str(root),
        }


def _serve_kept(made: FederationOnDisk, without: tuple[str, ...], console: Console) -> None:
    ends = _wanted_without(made, without)
    if _is_up(made):
        raise click.UsageError(f"--up: the federation in `{made.root}` is up already")
    authority.refresh(made.root, utc_now())
    stop = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: stop.set())
    with Processes() as processes:
        with _Progress(console) as progress:
            start_all(processes, ends, progress)
        console.print("The federation is up; Ctrl-C ends it. In another terminal, for example:")
        console.print(_example(made), soft_wrap=True)
        stop.wait()
        console.print("Ending all processes.")


def _wanted_without(made: FederationOnDisk, without: tuple[str, ...]) -> list[tuple[str, str, Path]]:
    """Return what is to be started, without the ends that are named `AGENCY/ROLE`."""
    ends = {name.replace(" ", "/"): (name, role, config) for name, role, config in wanted(made)}
    for name in without:
        if name not in ends or name == "broker":
            known = ", ".join(end for end in ends if end != "broker")
            raise click.UsageError(f"--without: no end `{name}`; there are {known}")
    return [end for name, end in ends.items() if name not in without]


def _say_what_is_kept(made: FederationOnDisk, console: Console) -> None:
    console.print(
        f"Everything is kept in {made.root}. Start it again, today or in some days, with:", soft_wrap=True
    )
    console.print(f"  comity demo --dir {shlex.quote(str(made.root))} --up", soft_wrap=True)
    console.print("and ask, in another terminal:")
    console.print(_example(made), soft_wrap=True)


def _example(made: FederationOnDisk) -> str:
    client = shlex.quote(str(made.client_config("sheriff")))
    return (
        f"  comity query {PLATE} --state CA --days 30 --reason CRIMINAL_INVESTIGATION --case 26-0417 "
        f'--text "burglary series" --client {client} --user {SHERIFF_USER}'
    )


def _is_up(made: FederationOnDisk) -> bool:
    """Tell whether a broker holds its log, which it locks as long as it runs."""
    lock = made.broker_home / "wal" / "lock"
    if not lock.exists():
        return False
    with lock.open("rb") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _fresh(folder: Path) -> Path:
    root = folder.resolve()
    if root.exists() and any(root.iterdir()):
        hint = "start what it keeps with --up, or name" if (root / MARKER).exists() else "name"
        raise click.UsageError(f"--dir: `{folder}` is not empty: {hint} a folder that is new or empty")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--dir: `{folder}` cannot be made: {error.strerror}") from error
    return root


def _kept(folder: Path | None) -> FederationOnDisk:
    if folder is None:
        raise click.UsageError("--up needs --dir: the folder of a demonstration that was kept")
    root = folder.resolve()
    if not (root / MARKER).exists():
        raise click.UsageError(
            f"--dir: `{folder}` holds no kept demonstration; make one with `comity demo --dir`"
        )
    return FederationOnDisk(root=root, spec=DemonstrationSpec.load(utc_now().date()))


def _end_on_sigterm() -> None:
    """Have SIGTERM unwind like Ctrl-C, so that processes and folders are cleaned up."""

    def unwind(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, unwind)


class _Progress:
    """Progress of setting up: a live line on a terminal, a line each two seconds elsewhere."""

    QUIET = timedelta(seconds=2)

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("setting up") if console.is_terminal else None
        self._said = time.monotonic()

    def __enter__(self) -> Progress:
        self._console.print("Setting up the demonstration federation …")
        if self._status is not None:
            self._status.start()
        return self._say

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def _say(self, line: str) -> None:
        if self._status is not None:
            self._status.update(line)
        elif time.monotonic() - self._said > self.QUIET.total_seconds():
            self._console.print(f"  {line}", highlight=False)
            self._said = time.monotonic()
