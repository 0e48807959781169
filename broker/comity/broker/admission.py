"""Whether an end's link opens: who it is, proven three ways that must agree.

gRPC has checked that *some* member's CA issued the certificate, and that is all it can check: with
several CAs in one bundle it accepts agency B's CA minting agency A's name. So, in this order:

0. the connection is TLS 1.3, which gRPC can't be told to insist on;
1. `hello` speaks version 1 and claims a SPIFFE id and a role that belong together;
2. the id's domain is a member's (never the operator's own), which isn't suspended and may ask
   (gateway) or provide (adapter);
3. the chain of `hello` verifies against *that domain's* CA certificates alone, and its leaf holds
   exactly that id; neither a certificate of it nor its key is revoked;
4. its leaf is, byte for byte, the certificate with which the connection was made: whoever sends
   another end's chain has not that end's key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from comity.broker.errors import LinkRefusal, LinkRefused
from comity.certs.errors import CertificateRevoked, CertsError, UnknownMember
from comity.certs.roster import Federation, MemberView
from comity.certs.x509 import verify_leaf
from comity.v1 import common_pb2, link_pb2

PROTOCOL_VERSION: Final = 1

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
    has_documents: tuple[bytes, bytes] = field(default=(b"", b""), repr=False)
    """Which timestamp and which agencies' own lists the end has, by its own word."""


def admit(
    hello: link_pb2.Hello, *, connection_certificate: bytes, federation: Federation, now: datetime
) -> Admitted:
    """Return who opens the link, or raise LinkRefused.

    `connection_certificate` is the DER certificate with which the TLS connection was made.
    """
    path = _check_claim(hello)
    domain = hello.spiffe_id.removeprefix("spiffe://").removesuffix(f"/{path}")
    member = _member(federation, domain, hello.role)
    try:
        leaf = verify_leaf(
            hello.chain,
            ca_certificates=member.key_set.ca_certificates,
            spiffe_id=member.spiffe_id(path),
            now=now,
        )
        member.revoked.check_chain(hello.chain)
    except CertificateRevoked as error:
        raise LinkRefused(LinkRefusal.REVOKED, detail=str(error)) from error
    except CertsError as error:
        raise LinkRefused(LinkRefusal.CERTIFICATE, detail=str(error)) from error
    if hello.chain[0] != connection_certificate:
        raise LinkRefused(LinkRefusal.IDENTITY, detail="the chain's leaf is not the connection's certificate")
    return Admitted(
        end=EndId(agency=member.agency, role=hello.role),
        origin=f"{member.domain}/{path}",
        ends_at=leaf.not_after,
        roster_version=hello.roster_version,
        has_documents=(hello.roster_timestamp_digest, hello.agency_revocations_digest),
    )


def check_transport(auth_context: Mapping[str, Iterable[bytes]]) -> None:
    """Refuse a connection whose TLS is older than 1.3, or that resumed an earlier one. Raises LinkRefused.

    A resumed connection proves no key: its certificate is that of then, and the CAs of now were not asked.
    gRPC hands out tickets for it, for two days, and has no switch for it.

    gRPC tells the version under `ssl_tls_version`; releases that don't tell it are taken at their word,
    since none of them can be made to refuse.
    """
    versions = list(auth_context.get("ssl_tls_version", ()))
    if versions and versions != [b"TLSv1.3"]:
        raise LinkRefused(LinkRefusal.TLS_VERSION)
    if b"true" in auth_context.get("ssl_session_reused", ()):
        raise LinkRefused(LinkRefusal.RESUMED)


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


def _member(federation: Federation, domain: str, role: common_pb2.EndRole) -> MemberView:
    try:
        member = federation.by_domain(domain)
    except UnknownMember as error:
        raise LinkRefused(LinkRefusal.NOT_A_MEMBER, detail=str(error)) from error
    if member.revoked.everything is not None:
        raise LinkRefused(LinkRefusal.REVOKED, detail=f"`{member.agency}` is {member.revoked.everything}")
    if member.suspended:
        raise LinkRefused(LinkRefusal.SUSPENDED)
    allowed = member.asks if role == common_pb2.END_ROLE_GATEWAY else member.provides
    if not allowed:
        raise LinkRefused(LinkRefusal.NOT_THIS_ROLE)
    return member
