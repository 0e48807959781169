"""`comity audit retrieve`: a provider's records of one's own agency's users, through one's own gateway."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import click
import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from comity.audit.errors import AuditError
from comity.audit.retrieval.folder import RecordsWriter
from comity.certs.clock import utc_now
from comity.cli.asking import MAX_ANSWER_BYTES, AskingFailed, Client, explain, load_client
from comity.cli.parameters import TimeType
from comity.cli.query import mint
from comity.cli.reporting import Json, json_option, report
from comity.v1.audit_service_pb2 import RetrieveRecordsRequest, RetrieveRecordsResponse
from comity.v1.audit_service_pb2_grpc import AuditServiceStub
from comity.v1.common_pb2 import Period
from comity.v1.records_pb2 import RecordsStatement

_TELL_EVERY = 1_000
"""Records between two lines of progress."""


@click.command(
    epilog="Example: comity audit retrieve lapd --from 2026-01-01 --client desk/client.toml --user c.reyes "
    "--out records/  Then: comity audit verify records/ --trust trust.json  "
    "Exit status: 0 all came and verify; 1 they did not come, or do not verify; 2 wrong use."
)
@click.argument("provider")
@click.option("--from", "start", type=TimeType(), required=True, help="Start of the period, UTC.")
@click.option("--to", "end", type=TimeType(), help="End of the period, not in it; now if left out.")
@click.option(
    "--client",
    "client_file",
    required=True,
    envvar="COMITY_CLIENT",
    type=click.Path(path_type=Path, dir_okay=False),
    help="client.toml of your agency's system (or COMITY_CLIENT).",
)
@click.option("--user", help="Mint the assertion with the demonstration identity provider of --client.")
@click.option(
    "--assertion",
    "assertion_file",
    type=click.File("r"),
    help="File with the assertion of your identity provider; - for standard input.",
)
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
    wait = Duration()
    wait.FromTimedelta(timedelta(seconds=timeout))
    request = RetrieveRecordsRequest(
        provider=provider, period=Period(start=_stamp(start), end=_stamp(end)), timeout=wait
    )
    try:
        client = load_client(client_file)
        assertion = mint(client, user) if user else str(assertion_file.read()).strip()  # type: ignore[union-attr]
        statement = _retrieve(client, assertion, request, out)
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


def _retrieve(client: Client, assertion: str, request: RetrieveRecordsRequest, out: Path) -> RecordsStatement:
    """Write what comes as it comes; return the statement. Raises `AskingFailed`, `AuditError`, `OSError`."""
    writer: RecordsWriter | None = None
    statement = RecordsStatement()
    done = 0
    try:
        for message in _messages(client, assertion, request):
            if writer is None:
                statement = RecordsStatement.FromString(message.statement.payload)
                writer = RecordsWriter(out, message.statement)
                continue
            for record in message.batch.records:
                writer.add(record)
            before, done = done, done + len(message.batch.records)
            if before // _TELL_EVERY != done // _TELL_EVERY:
                click.echo(f"{done} of {statement.count} records", err=True)
        if writer is None or done != statement.count:
            raise AskingFailed("the gateway ended the records early", exit_code=1)
        writer.finish()
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    return statement


def _messages(
    client: Client, assertion: str, request: RetrieveRecordsRequest
) -> Iterator[RetrieveRecordsResponse]:
    if not assertion.isascii() or not assertion.isprintable() or " " in assertion:
        raise AskingFailed("the assertion is not a compact JWT on one line", exit_code=2)
    credentials = grpc.ssl_channel_credentials(client.ca, client.key, client.leaf)
    options = [
        ("grpc.ssl_target_name_override", client.gateway_name),
        ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ]
    began = False
    with grpc.secure_channel(client.gateway, credentials, options) as channel:
        call = AuditServiceStub(channel).RetrieveRecords(
            request,
            metadata=(("authorization", f"Bearer {assertion}"),),
            timeout=request.timeout.ToTimedelta().total_seconds() + 10,
        )
        try:
            for message in call:
                began = True
                yield message
        except grpc.RpcError as error:
            raise explain(client, error, began=began) from error


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC))
    return stamp
