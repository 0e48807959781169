"""An agency's CA: what it may name, and that it issues nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from comity.certs.errors import CertificateRejected, FileExposed, FileUnusable, KeyUnusable
from comity.certs.files import write_private, write_public
from comity.certs.profile import constrained_domain, verify_ca
from comity.certs.x509 import (
    BACKDATE,
    certificate_der,
    certificate_pem,
    issue_leaf,
    load_ca,
    make_ca,
    private_key_pem,
    split_pem,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
DAY = timedelta(days=1)
ADAPTER = "spiffe://cbp.example/adapter"


@pytest.fixture(scope="module")
def ca() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    return make_ca("cbp.example", NOW, 365 * DAY)


Ca = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def test_ca_is_constrained_critically_to_its_domain(ca: Ca) -> None:
    """URI host, DNS subtree and mail of the domain, which Go reads too; no IP address; no CA below."""
    found = ca[0].extensions.get_extension_for_class(x509.NameConstraints)
    assert found.critical
    assert found.value.permitted_subtrees == [
        x509.UniformResourceIdentifier("cbp.example"),
        x509.DNSName("cbp.example"),
        x509.RFC822Name("cbp.example"),
    ]
    assert found.value.excluded_subtrees == [
        x509.IPAddress(ip_network("0.0.0.0/0")),
        x509.IPAddress(ip_network("::/0")),
    ]
    basic = ca[0].extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical and basic.value.ca and basic.value.path_length == 0
    assert constrained_domain(ca[0]) == "cbp.example"
    verify_ca(ca[0], domain="cbp.example")


def test_ca_of_one_domain_is_not_that_of_another(ca: Ca) -> None:
    """A CA can't enter another domain's key set, nor that of a domain below or above."""
    for domain in ("dea.example", "sub.cbp.example", "example"):
        with pytest.raises(CertificateRejected, match="don't permit exactly"):
            verify_ca(ca[0], domain=domain)


def test_leaf_is_no_ca(ca: Ca) -> None:
    """A leaf can't enter a key set as a CA."""
    leaf = issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=DAY).certificate
    with pytest.raises(CertificateRejected, match="CA:true"):
        verify_ca(leaf, domain="cbp.example")
    with pytest.raises(CertificateRejected, match="nameConstraints"):
        constrained_domain(leaf)


@pytest.mark.parametrize("domain", ["", "localhost", "CBP.example", "cbp.example.", "*.example", "192.0.2.1"])
def test_ca_for_what_is_no_domain_is_not_made(domain: str) -> None:
    """Constraints to something that no name can have would constrain nothing."""
    with pytest.raises(CertificateRejected, match="DNS name"):
        make_ca(domain, NOW, DAY)


def test_leaf_has_the_shape_of_the_profile(ca: Ca) -> None:
    """Empty subject, critical SAN, both extended usages, key ids that strict OpenSSL asks for."""
    leaf = issue_leaf(
        *ca, spiffe_id=ADAPTER, dns_names=["adapter.cbp.example"], now=NOW, lifetime=DAY
    ).certificate
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert san.critical and not leaf.subject.rdns
    assert list(san.value) == [
        x509.UniformResourceIdentifier(ADAPTER),
        x509.DNSName("adapter.cbp.example"),
    ]
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    own = ca[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == own.digest
    assert leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)


def test_leaf_begins_a_minute_early_and_never_outlives_its_ca(ca: Ca) -> None:
    """Peers' clocks differ by seconds; a lifetime beyond the CA's end is cut."""
    leaf = issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=DAY).certificate
    assert leaf.not_valid_before_utc == (NOW - BACKDATE).replace(microsecond=0)
    assert leaf.not_valid_after_utc == (NOW + DAY).replace(microsecond=0)
    long = issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=900 * DAY).certificate
    assert long.not_valid_after_utc == ca[0].not_valid_after_utc


def test_two_leaves_share_nothing_but_the_name(ca: Ca) -> None:
    """Each issue has a fresh key and serial number."""
    first, second = (issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=DAY).certificate for _ in range(2))
    assert first.serial_number != second.serial_number
    assert first.public_key() != second.public_key()


@pytest.mark.parametrize(
    ("spiffe_id", "dns_names"),
    [
        ("spiffe://dea.example/adapter", []),
        ("spiffe://sub.cbp.example/adapter", []),
        ("spiffe://CBP.example/adapter", []),
        ("https://cbp.example/adapter", []),
        (ADAPTER, ["broker.operator.example"]),
        (ADAPTER, ["adapter.cbp.example", "localhost"]),
        (ADAPTER, ["*.cbp.example"]),
        (ADAPTER, ["Adapter.cbp.example"]),
    ],
)
def test_leaf_outside_the_domain_is_not_issued(ca: Ca, spiffe_id: str, dns_names: list[str]) -> None:
    """The CA's own software refuses what peers would refuse."""
    with pytest.raises(CertificateRejected):
        issue_leaf(*ca, spiffe_id=spiffe_id, dns_names=dns_names, now=NOW, lifetime=DAY)


def test_leaf_of_an_expired_ca_or_without_a_life_is_not_issued(ca: Ca) -> None:
    """A leaf that nobody could accept isn't made."""
    with pytest.raises(CertificateRejected, match="expire"):
        issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW + 400 * DAY, lifetime=DAY)
    with pytest.raises(CertificateRejected, match="expire"):
        issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=timedelta(0))


def test_leaf_signed_with_a_key_that_is_not_the_cas_is_not_issued(ca: Ca) -> None:
    """A folder with the wrong key beside a CA shows at once, and not at the peers."""
    with pytest.raises(CertificateRejected):
        issue_leaf(ca[0], ec.generate_private_key(ec.SECP256R1()), spiffe_id=ADAPTER, now=NOW, lifetime=DAY)


def test_chain_is_leaf_then_ca(ca: Ca) -> None:
    """`leaf.pem` holds the leaf first."""
    issued = issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=DAY)
    assert split_pem(issued.chain_pem) == (certificate_der(issued.certificate), certificate_der(ca[0]))


def test_saved_ca_loads_and_issues(ca: Ca, tmp_path: Path) -> None:
    """A CA and its key in files are the same CA again."""
    write_public(tmp_path / "ca.pem", certificate_pem(ca[0]))
    write_private(tmp_path / "ca.key", private_key_pem(ca[1]))
    again = load_ca(tmp_path / "ca.pem", tmp_path / "ca.key")
    assert again[0] == ca[0]
    issue_leaf(*again, spiffe_id=ADAPTER, now=NOW, lifetime=DAY)


def test_saved_ca_with_a_fault_is_refused(ca: Ca, tmp_path: Path) -> None:
    """Another CA's key, a key others can read, no key, and a bundle are told apart."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    write_public(certificate, certificate_pem(ca[0]))
    with pytest.raises(FileUnusable):
        load_ca(certificate, key)
    write_private(key, private_key_pem(make_ca("cbp.example", NOW, DAY)[1]))
    with pytest.raises(CertificateRejected, match="key"):
        load_ca(certificate, key)
    write_private(key, b"no key")
    with pytest.raises(KeyUnusable):
        load_ca(certificate, key)
    write_private(key, private_key_pem(ca[1]))
    key.chmod(0o644)
    with pytest.raises(FileExposed):
        load_ca(certificate, key)
    key.chmod(0o600)
    write_public(certificate, certificate_pem(ca[0]) * 2)
    with pytest.raises(CertificateRejected, match="one certificate"):
        load_ca(certificate, key)
    write_public(certificate, b"no certificate")
    with pytest.raises(CertificateRejected, match="PEM"):
        load_ca(certificate, key)
