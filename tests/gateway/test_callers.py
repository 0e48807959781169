"""Who may call a gateway: its own agency's systems, whichever of the agency's CAs issued their leaf."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from comity.certs.revocations import NOTHING_REVOKED, Revoked, RevokedOf, serial_bytes
from comity.certs.x509 import certificate_pem, make_ca, make_issuing_ca
from comity.gateway.errors import Unauthenticated
from comity.gateway.limits import GatewayLimits
from comity.gateway.service import QueryService
from tests.support.minting import DAY, NOW, URI, Issuer, mint

DESK = "spiffe://lapd.example/system/desk"
ROOT = Issuer(*make_ca("lapd.example", NOW - DAY, 90 * DAY, path_length=1))
ISSUING = Issuer(*make_issuing_ca(ROOT.certificate, ROOT.key, now=NOW, lifetime=9 * DAY))
STRANGER = Issuer(*make_ca("lapd.example", NOW - DAY, 90 * DAY, path_length=1))


@dataclass
class Door:
    """The gateway's own judgement of callers, with a member whose one CA is `ROOT`."""

    revoked: RevokedOf = field(default_factory=lambda: NOTHING_REVOKED)

    def __post_init__(self) -> None:
        keys = SimpleNamespace(digest=b"1", ca_certificates=(ROOT.der,))
        self.member = SimpleNamespace(domain="lapd.example", key_set=keys, revoked=self.revoked)
        standing = SimpleNamespace(own=lambda agency: self.member)
        gateway: Any = SimpleNamespace(agency="lapd", standing=standing)
        self.service = QueryService(gateway, lambda: NOW, GatewayLimits())

    def takes(self, *shown: bytes) -> bool:
        context: Any = SimpleNamespace(
            auth_context=lambda: {
                "x509_pem_cert": shown[:1],
                "x509_pem_cert_chain": [b"".join(shown)],
                "ssl_tls_version": [b"TLSv1.3"],
            }
        )
        try:
            return bool(self.service.caller(context))
        except Unauthenticated:
            return False


def leaf(issuer: Issuer, spiffe_id: str = DESK) -> bytes:
    return certificate_pem(x509.load_der_x509_certificate(mint(issuer, URI(spiffe_id), start=NOW)))


def test_system_of_an_issuing_ca_is_taken_by_its_chain() -> None:
    """While the agency's CA is offline, its issuing CA's systems may call: gRPC shows what lies between."""
    own = leaf(ISSUING)
    assert Door().takes(own, certificate_pem(ISSUING.certificate))
    assert not Door().takes(own), "without what lies between there is no path"


def test_system_of_the_agencys_ca_is_taken() -> None:
    """With or without the CA behind it."""
    own = leaf(ROOT)
    assert Door().takes(own) and Door().takes(own, certificate_pem(ROOT.certificate))


def test_agency_whose_cas_are_all_revoked_has_no_system() -> None:
    """Over a connection of before, too: refused as any other, and no fault of the gateway's own."""
    door = Door()
    door.member.key_set.ca_certificates = ()
    assert not door.takes(leaf(ROOT))


@pytest.mark.parametrize("id_", ["spiffe://lapd.example/gateway", "spiffe://lapd.example/systems/desk"])
def test_what_is_no_system_is_not_taken(id_: str) -> None:
    """An end's own leaf is no system's."""
    assert not Door().takes(leaf(ROOT, id_))


def test_chain_that_brings_its_own_ca_is_not_taken() -> None:
    """What the caller shows is trusted in nothing."""
    own = leaf(STRANGER)
    assert not Door().takes(own, certificate_pem(STRANGER.certificate))


def test_revoked_issuing_ca_takes_its_systems_with_it() -> None:
    """A stolen issuing CA is revoked by its serial number; then nothing that it issued counts."""
    own = leaf(ISSUING)
    serial = serial_bytes(ISSUING.certificate.serial_number)
    door = Door(RevokedOf(serials={serial: Revoked(at=NOW, reason="key_compromise")}))
    assert not door.takes(own, certificate_pem(ISSUING.certificate))
    assert door.takes(leaf(ROOT))
