"""What the administrative commands share: one line for a person's mistake, one object for a script.

Exit status: 0 done; 1 it ran and the finding is bad; 2 wrong use or configuration.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import NoReturn, ParamSpec, TypeVar

import click

from comity.certs.errors import CertsError, DocumentInvalid
from comity.cli.plain import clean_lines

P = ParamSpec("P")
R = TypeVar("R")

Json = str | int | bool | None | Sequence["Json"] | Mapping[str, "Json"]
"""What `--json` prints."""

PATIENCE_SECONDS = 2.0
"""After this long a command says what it is doing."""


class Day(click.DateTime):
    """A day such as 2026-03-01, as midnight without a zone."""

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the day; fail in plain words."""
        try:
            converted: datetime = super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"`{value}` is not a day such as 2026-03-01", param, ctx)
        return converted


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def refused_as_usage(command: Callable[P, R]) -> Callable[P, R]:
    """Turn what the certs room raises, and files that can't be used, into one line and an exit status.

    A document that doesn't verify is a finding (1); everything else is wrong use or configuration (2).
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DocumentInvalid as error:
            stop(str(error), status=1)
        except CertsError as error:
            stop(str(error))
        except OSError as error:
            stop(f"`{error.filename}`: {(error.strerror or type(error).__name__).lower()}")

    return run


def stop(text: str, *, status: int = 2) -> NoReturn:
    """Print one line of error and end with `status`."""
    context = click.get_current_context(silent=True)
    click.echo(f"{context.command_path if context else 'comity'}: {clean_lines(text)}", err=True)
    sys.exit(status)


def report(as_json: bool, values: Mapping[str, Json], *lines: str) -> None:
    """Print `values` as one JSON object, or `lines` for a person."""
    if as_json:
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    for line in lines:
        click.echo(line)


def spelled(instant: datetime) -> str:
    """Return a time in UTC as RFC 3339 spells it, to the second."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say `text` on standard error if what happens inside takes more than two seconds."""
    timer = threading.Timer(PATIENCE_SECONDS, lambda: click.echo(f"{text} …", err=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
