"""The service translates: what crosses the wire is from the catalogue, never a fault's own text."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace

import grpc
import pytest
from cryptography import x509
from google.rpc import status_pb2

from comity.certs.keys import SigningKey
from comity.certs.revocations import Revoked, RevokedOf, serial_bytes
from comity.certs.roster import MemberView
from comity.certs.x509 import certificate_der, certificate_pem, issue_leaf, make_ca
from comity.gateway.errors import AuditUnavailable, GatewayError, Unauthenticated
from comity.gateway.limits import GatewayLimits
from comity.gateway.service import QueryService
from comity.v1 import query_service_pb2
from tests.gateway.conftest import NOW, make_member

SECRET = "8ABC123 of j.ortega"


class Aborted(Exception):
    pass


class Context:
    """What gRPC gives a method, as far as an abort goes."""

    def time_remaining(self) -> None:
        return None

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def abort(self, code: grpc.StatusCode, text: str, trailing_metadata: object) -> None:
        self.code, self.text, self.metadata = code, text, dict(trailing_metadata)  # type: ignore[call-overload]
        raise Aborted

    @property
    def status(self) -> status_pb2.Status:
        return status_pb2.Status.FromString(self.metadata["grpc-status-details-bin"])


class FailingGateway:
    """A gateway at which every question fails at once."""

    agency = "sheriff"

    def __init__(self, error: Exception) -> None:
        self.error = error

    @property
    def standing(self) -> None:
        raise self.error


async def fail(error: Exception) -> Context:
    context = Context()
    service = QueryService(FailingGateway(error), lambda: NOW, GatewayLimits())  # type: ignore[arg-type]
    with pytest.raises(Aborted):
        await service.Search(query_service_pb2.SearchRequest(), context)  # type: ignore[arg-type]
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


class Standing:
    def __init__(self, member: MemberView) -> None:
        self.member = member

    def own(self, agency: str) -> MemberView:
        return self.member


def a_service(at: list[datetime]) -> tuple[QueryService, bytes, Standing]:
    """A service of `sheriff` with a clock in the test's hand, and the certificate of one of its systems."""
    ca, key = make_ca("sheriff.example", NOW - timedelta(days=2), timedelta(days=30))
    leaf = issue_leaf(
        ca, key, spiffe_id="spiffe://sheriff.example/system/desk", now=NOW, lifetime=timedelta(days=1)
    )
    plain = make_member("sheriff", SigningKey.generate(), role="gateway")
    keys = replace(plain.key_set, ca_certificates=(certificate_der(ca),))
    standing = Standing(replace(plain, key_set=keys))
    gateway = SimpleNamespace(agency="sheriff", standing=standing)
    service = QueryService(gateway, lambda: at[0], GatewayLimits())  # type: ignore[arg-type]
    return service, certificate_pem(leaf.certificate), standing


def test_caller_that_verified_is_remembered_until_it_expires() -> None:
    """A certificate is verified once, and refused from its last instant on."""
    at = [NOW]
    service, pem, _ = a_service(at)
    assert service._verified(pem) == service._verified(pem)
    at[0] = NOW + timedelta(days=1, seconds=1)
    with pytest.raises(Unauthenticated):
        service._verified(pem)


def test_caller_is_verified_anew_under_other_keys() -> None:
    """When the agency's key set changes, what was verified against the old one counts no more."""
    service, pem, standing = a_service([NOW])
    service._verified(pem)
    other, _ = make_ca("sheriff.example", NOW - timedelta(days=2), timedelta(days=30))
    keys = replace(standing.member.key_set, ca_certificates=(certificate_der(other),), digest=b"\x01" * 32)
    standing.member = replace(standing.member, key_set=keys)
    with pytest.raises(Unauthenticated):
        service._verified(pem)


def test_newer_list_of_revocations_that_says_the_same_is_compared_once() -> None:
    """From then on it is the same object; one that says more is asked."""
    service, pem, standing = a_service([NOW])
    service._verified(pem)
    said = {b"\x07": Revoked(at=NOW, reason="superseded")}
    for _ in range(2):
        standing.member = replace(standing.member, revoked=RevokedOf(serials=dict(said)))
        service._verified(pem)
        assert service._callers[pem].revoked is standing.member.revoked
    serial = serial_bytes(x509.load_pem_x509_certificate(pem).serial_number)
    standing.member = replace(standing.member, revoked=RevokedOf(serials={**said, serial: said[b"\x07"]}))
    with pytest.raises(Unauthenticated, match="revoked"):
        service._verified(pem)


def test_gateways_own_leaf_is_no_caller() -> None:
    """An assertion that a program got for the gateway's leaf serves nobody at the gRPC front."""
    service, _, standing = a_service([NOW])
    ca, key = make_ca("sheriff.example", NOW - timedelta(days=2), timedelta(days=30))
    keys = replace(standing.member.key_set, ca_certificates=(certificate_der(ca),), digest=b"\x01" * 32)
    standing.member = replace(standing.member, key_set=keys)
    issue = partial(issue_leaf, ca, key, now=NOW, lifetime=timedelta(days=1))
    assert service._verified(
        certificate_pem(issue(spiffe_id="spiffe://sheriff.example/system/a").certificate)
    )
    with pytest.raises(Unauthenticated, match="does not name a system"):
        service._verified(certificate_pem(issue(spiffe_id="spiffe://sheriff.example/gateway").certificate))
