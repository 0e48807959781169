"""Whether an end's link opens: who it is, proven three ways that must agree.

gRPC has checked that *some* member's CA issued the certificate, and that is all it can check: with
several CAs in one bundle it accepts agency B's CA minting agency A's name. So, in this order:

1. `hello` speaks version 1 and claims a SPIFFE id and a role that belong together;
2. the id's domain is a member's (never the operator's own), which isn't suspended and may ask
   (gateway) or provide (adapter);
3. the chain of `hello` verifies against *that domain's* CA certificates alone, and its leaf holds
   exactly that id;
4. its leaf is, byte for byte, the certificate with which the connection was made: whoever sends
   another end's chain has not that end's key.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from comity.broker.errors import LinkRefusal, LinkRefused
from comity.certs.errors import CertsError
from comity.certs.roster import Federation, MemberView
from comity.certs.x509 import verify_leaf
from comity.v1 import common_pb2, link_pb2

PROTOCOL_VERSION: Final = 1

MAX_CHAIN: Final = 8
"""Certificates that a chain may hold."""

_PATHS: Final = {
    common_pb2.END_ROLE_GATEWAY: "gateway",
    common_pb2.END_ROLE_ADAPTER: "adapter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndId:
    """An end of the federation: an agency's gateway or adapter."""

    agency: str
    role: common_pb2.EndRole

    @property
    def role_name(self) -> str:
        """`gateway` or `adapter`."""
        return _PATHS[self.role]

    def __str__(self) -> str:
        return f"{self.agency}/{self.role_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """An end whose link may open. `ends_at` is its leaf's last instant; `fingerprint` its SHA-256."""

    end: EndId
    origin: str
    ends_at: datetime
    roster_version: int


def admit(
    hello: link_pb2.Hello, *, connection_certificate: bytes, federation: Federation, now: datetime
) -> Admitted:
    """Return who opens the link, or raise LinkRefused.

    `connection_certificate` is the DER certificate with which the TLS connection was made.
    """
    path = _check_claim(hello)
    domain = hello.spiffe_id.removeprefix("spiffe://").removesuffix(f"/{path}")
    member = _member(federation, domain, hello.role)
    chain = list(hello.chain)
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise LinkRefused(LinkRefusal.CERTIFICATE, detail="the chain holds no certificate, or too many")
    try:
        leaf = verify_leaf(
            chain,
            ca_certificates=member.key_set.ca_certificates,
            spiffe_id=f"spiffe://{member.domain}/{path}",
            now=now,
        )
    except CertsError as error:
        raise LinkRefused(LinkRefusal.CERTIFICATE, detail=str(error)) from error
    if chain[0] != connection_certificate:
        raise LinkRefused(LinkRefusal.IDENTITY, detail="the chain's leaf is not the connection's certificate")
    return Admitted(
        end=EndId(agency=member.agency, role=hello.role),
        origin=f"{member.domain}/{path}",
        ends_at=leaf.not_after,
        roster_version=hello.roster_version,
    )


def may_hold(end: EndId, federation: Federation) -> LinkRefusal | None:
    """Say why an end that has a link may no longer hold it under a newer roster, or None."""
    try:
        _member(federation, _domain_of(end, federation), end.role)
    except LinkRefused as refused:
        return refused.refusal
    return None


def connection_certificate(auth_context: dict[str, list[bytes]]) -> bytes:
    """Return the DER certificate of a gRPC connection's other side.

    Raises LinkRefused if the connection has none: then it is no mutual TLS.
    """
    try:
        return ssl.PEM_cert_to_DER_cert(auth_context["x509_pem_cert"][0].decode("ascii"))
    except (KeyError, IndexError, ValueError) as error:
        raise LinkRefused(LinkRefusal.IDENTITY, detail="the connection shows no certificate") from error


def _check_claim(hello: link_pb2.Hello) -> str:
    """Return the path that goes with the claimed role."""
    if PROTOCOL_VERSION not in hello.versions:
        raise LinkRefused(LinkRefusal.VERSION)
    path = _PATHS.get(hello.role)
    if path is None:
        raise LinkRefused(LinkRefusal.ROLE)
    if not hello.spiffe_id.startswith("spiffe://") or not hello.spiffe_id.endswith(f"/{path}"):
        raise LinkRefused(LinkRefusal.ROLE)
    return path


def _domain_of(end: EndId, federation: Federation) -> str:
    member = federation.members.get(end.agency)
    if member is None:
        raise LinkRefused(LinkRefusal.NOT_A_MEMBER)
    return member.domain


def _member(federation: Federation, domain: str, role: common_pb2.EndRole) -> MemberView:
    members = [member for member in federation.members.values() if member.domain == domain]
    if len(members) != 1:
        raise LinkRefused(LinkRefusal.NOT_A_MEMBER)
    (member,) = members
    if member.suspended:
        raise LinkRefused(LinkRefusal.SUSPENDED)
    allowed = member.asks if role == common_pb2.END_ROLE_GATEWAY else member.provides
    if not allowed:
        raise LinkRefused(LinkRefusal.NOT_THIS_ROLE)
    return member
