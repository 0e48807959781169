"""Values that several commands take: times and reason codes. Needs none of the ends' libraries."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from pathlib import Path

import click

from comity.v1 import common_pb2

REASONS = [
    name.removeprefix("REASON_CODE_")
    for name, number in common_pb2.ReasonCode.items()
    if number != common_pb2.REASON_CODE_UNSPECIFIED
]
"""The codes of the list of reasons (Q3)."""


def parse_time(text: str) -> datetime:
    """Return the time in an ISO 8601 date or date and time; without a zone it is UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class TimeType(click.ParamType[datetime]):
    """A date or a time."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the time; fail in plain words."""
        try:
            return parse_time(str(value))
        except ValueError:
            self.fail(
                f"`{value}` is not a date or time such as 2026-01-31 or 2026-01-31T08:00:00Z", param, ctx
            )


class ReasonType(click.ParamType[str]):
    """A code of the list of reasons, with dashes or underscores."""

    name = "code"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the code in upper case; fail with the nearest right one."""
        code = str(value).upper().replace("-", "_")
        if code not in REASONS:
            near = difflib.get_close_matches(code, REASONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the list is {', '.join(REASONS)}"
            self.fail(f"`{value}` is not a reason code; {hint}", param, ctx)
        return code


client_option = click.option(
    "--client",
    "client_file",
    required=True,
    envvar="COMITY_CLIENT",
    type=click.Path(path_type=Path, dir_okay=False),
    help="client.toml of your agency's system (or COMITY_CLIENT).",
)
user_option = click.option(
    "--user", help="Mint the assertion with the demonstration identity provider of --client."
)
assertion_option = click.option(
    "--assertion",
    "assertion_file",
    type=click.File("r"),
    help="File with the assertion of your identity provider; - for standard input.",
)
