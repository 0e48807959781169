"""`comity audit retrieve`: a provider's records of one's own agency's users, through one's own gateway."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TextIO

import click

from comity.audit.errors import AuditError
from comity.certs.clock import utc_now
from comity.cli.parameters import TimeType, assertion_option, client_option, user_option
from comity.cli.reporting import Json, json_option, report


@click.command(
    epilog="Example: comity audit retrieve lapd --from 2026-01-01 --client desk/client.toml --user c.reyes "
    "--out records/  Then: comity audit verify records/ --trust trust.json  "
    "Exit status: 0 all came and verify; 1 they did not come, or do not verify; 2 wrong use."
)
@click.argument("provider")
@click.option("--from", "start", type=TimeType(), required=True, help="Start of the period, UTC.")
@click.option("--to", "end", type=TimeType(), help="End of the period, not in it; now if left out.")
@client_option
@user_option
@assertion_option
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder for the records; its files are readable by you alone.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1, 3600),
    default=600,
    show_default=True,
    help="Seconds it may take in all.",
)
@json_option
def retrieve(
    provider: str,
    start: datetime,
    end: datetime | None,
    client_file: Path,
    user: str | None,
    assertion_file: TextIO | None,
    out: Path,
    timeout: int,
    as_json: bool,
) -> None:
    """Retrieve from PROVIDER its records of your own agency's users, and of nobody else's (L3, L6).

    Your gateway asks through its session with the provider and verifies each record before you get it: the
    provider's signature, the place of each entry in its log, and what was opened. You need the role that the
    gateway's configuration names as `auditor_role`. The records go into a new folder that anybody with the
    trust file can verify.
    """
    if (user is None) == (assertion_file is None):
        raise click.UsageError("say who retrieves: either --user or --assertion")
    end = end or utc_now()
    if start >= end:
        raise click.UsageError("--from and --to: a start and a later end are right")
    if out.exists() and any(out.iterdir()):
        raise click.UsageError(f"--out: `{out}` is not empty; records go into a folder of their own")
    try:
        from comity.cli.asking import AskingFailed, load_client
        from comity.cli.query import mint
        from comity.cli.retrieving import request_for, retrieve_into
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"`comity audit retrieve` needs the package `{error.name}`, which is not installed here; install "
            "the extra of an agency's systems, `pip install 'comity[gateway]'`"
        ) from error
    request = request_for(provider, start, end, seconds=timeout)
    try:
        client = load_client(client_file)
        assertion = mint(client, user) if user else str(assertion_file.read()).strip()  # type: ignore[union-attr]
        statement = retrieve_into(client, assertion, request, out)
    except (AskingFailed, AuditError, OSError) as error:
        text = f"`{out}`: {(error.strerror or 'unwritable').lower()}" if isinstance(error, OSError) else error
        click.echo(f"comity audit retrieve: {text}", err=True)
        sys.exit(error.exit_code if isinstance(error, AskingFailed) else 2)
    values: dict[str, Json] = {
        "provider": statement.provider,
        "requester": statement.requester,
        "records": statement.count,
        "out": str(out),
    }
    report(
        as_json,
        values,
        f"{out}: {statement.count} records of {statement.requester}'s users, signed by {statement.provider}",
        f"verify it with: comity audit verify {out} --trust trust.json",
    )
