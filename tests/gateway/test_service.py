"""The service translates: what crosses the wire is from the catalogue, never a fault's own text."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc import status_pb2

from comity.gateway.errors import AuditUnavailable, GatewayError
from comity.gateway.service import QueryService
from comity.v1 import query_service_pb2
from tests.gateway.conftest import NOW

SECRET = "8ABC123 of j.ortega"


class Aborted(Exception):
    pass


class Context:
    """What gRPC gives a method, as far as an abort goes."""

    async def abort(self, code: grpc.StatusCode, text: str, trailing_metadata: object) -> None:
        self.code, self.text, self.metadata = code, text, dict(trailing_metadata)  # type: ignore[call-overload]
        raise Aborted

    @property
    def status(self) -> status_pb2.Status:
        return status_pb2.Status.FromString(self.metadata["grpc-status-details-bin"])


class Failing(QueryService):
    """The service with a search that fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(None, lambda: NOW)  # type: ignore[arg-type]
        self.error = error

    async def _search(
        self, request: object, context: object
    ) -> AsyncIterator[query_service_pb2.SearchResponse]:
        raise self.error
        yield


async def fail(error: Exception) -> Context:
    context = Context()
    with pytest.raises(Aborted):
        async for _ in Failing(error).Search(query_service_pb2.SearchRequest(), context):  # type: ignore[arg-type]
            pass
    return context


async def test_fault_crosses_the_wire_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of our own code could name a person: caller and log learn its kind and place alone."""
    with caplog.at_level(logging.DEBUG):
        context = await fail(ValueError(SECRET))
    assert context.code is grpc.StatusCode.INTERNAL
    assert SECRET not in str(context.status) + context.text + caplog.text
    assert "ValueError" in caplog.text


async def test_known_error_crosses_with_its_reason() -> None:
    """What the catalogue knows comes with code, line and `google.rpc.ErrorInfo`."""
    error = AuditUnavailable("this gateway's log cannot be written")
    context = await fail(error)
    assert context.code is grpc.StatusCode.UNAVAILABLE
    assert "AUDIT_UNAVAILABLE" in str(context.status)
    assert isinstance(error, GatewayError)
