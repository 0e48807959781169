"""Calling one's own gateway for a provider's records, and writing them down as they come (L3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from comity.audit.retrieval.folder import RecordsWriter
from comity.cli.asking import MAX_ANSWER_BYTES, AskingFailed, Client, explain
from comity.v1.audit_service_pb2 import RetrieveRecordsRequest, RetrieveRecordsResponse
from comity.v1.audit_service_pb2_grpc import AuditServiceStub
from comity.v1.common_pb2 import Period
from comity.v1.records_pb2 import RecordsStatement

_TELL_EVERY = 1_000
"""Records between two lines of progress."""


def request_for(provider: str, start: datetime, end: datetime, *, seconds: int) -> RetrieveRecordsRequest:
    """Return the request for a provider's records of a period; it may take so many seconds."""
    wait = Duration()
    wait.FromTimedelta(timedelta(seconds=seconds))
    return RetrieveRecordsRequest(
        provider=provider, period=Period(start=_stamp(start), end=_stamp(end)), timeout=wait
    )


def retrieve_into(
    client: Client, assertion: str, request: RetrieveRecordsRequest, out: Path
) -> RecordsStatement:
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
