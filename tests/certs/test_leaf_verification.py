"""Leaves: whose they must be, what shape they must have, and every way of being taken for somebody else."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.certs import x509 as room
from comity.certs.errors import CertificateRejected
from comity.certs.x509 import (
    MAX_CHAIN,
    VerifiedLeaf,
    certificate_der,
    certificate_pem,
    issue_leaf,
    make_ca,
    split_pem,
    verify_leaf,
)
from tests.support.minting import (
    ALL_IPV4,
    ALL_IPV6,
    CBP,
    CLIENT,
    DAY,
    DEA,
    DNS,
    GATEWAY,
    NOW,
    P256,
    SERVER,
    URI,
    Issuer,
    intermediate,
    mint,
    named,
    root,
    usage,
)


def verify(
    *chain: bytes, ca: Issuer = CBP, spiffe_id: str | None = GATEWAY, now: datetime = NOW
) -> VerifiedLeaf:
    return verify_leaf(chain, ca_certificates=[ca.der], spiffe_id=spiffe_id, now=now)


def test_leaf_of_its_own_ca_is_accepted_and_described() -> None:
    """A leaf as `issue_leaf` makes it verifies and gives id, domain, path, names, end and fingerprint."""
    issued = issue_leaf(
        CBP.certificate,
        CBP.key,
        spiffe_id=GATEWAY,
        dns_names=["gateway.cbp.example"],
        now=NOW,
        lifetime=30 * DAY,
    )
    leaf = verify(*split_pem(issued.chain_pem))
    assert leaf == VerifiedLeaf(
        spiffe_id=GATEWAY,
        domain="cbp.example",
        path="/gateway",
        dns_names=("gateway.cbp.example",),
        not_after=NOW + 30 * DAY,
        fingerprint=hashlib.sha256(certificate_der(issued.certificate)).digest(),
    )


def test_minted_leaf_without_a_fault_is_accepted() -> None:
    """The mint of these tests makes good leaves, so that each test below fails for its own fault alone."""
    assert verify(mint(CBP, URI(GATEWAY))).spiffe_id == GATEWAY
    assert verify(mint(CBP, URI(GATEWAY), DNS("gateway.cbp.example"))).dns_names == ("gateway.cbp.example",)
    assert verify(mint(CBP, URI(GATEWAY)), spiffe_id=None).path == "/gateway"


def test_p384_leaf_is_accepted() -> None:
    """P-384 keys are as good as P-256."""
    assert verify(mint(CBP, URI(GATEWAY), key=ec.generate_private_key(ec.SECP384R1())))


def test_other_agencys_ca_cannot_mint_our_name() -> None:
    """A leaf with our name from another agency's CA is refused, against our CA and against theirs."""
    stolen = mint(DEA, URI(GATEWAY))
    with pytest.raises(CertificateRejected, match="self-signed certificate in certificate chain"):
        verify(stolen, DEA.der, ca=CBP)
    with pytest.raises(CertificateRejected, match="unable to get local issuer"):
        verify(stolen, ca=CBP)
    with pytest.raises(CertificateRejected, match="don't permit exactly"):
        verify(stolen, ca=DEA)


def test_other_agencys_ca_cannot_mint_the_brokers_dns_name() -> None:
    """An agency's CA that puts the broker's DNS name beside its own URI is refused."""
    stolen = mint(DEA, URI("spiffe://dea.example/adapter"), DNS("broker.operator.example"))
    with pytest.raises(CertificateRejected):
        verify(stolen, ca=DEA, spiffe_id="spiffe://dea.example/adapter")


@pytest.mark.parametrize(
    "names",
    [
        [URI("spiffe://cbp.example/gateway")],
        [URI("spiffe://sub.dea.example/adapter")],
        [URI("spiffe://dea.example.cbp.example/adapter")],
        [URI("spiffe://192.0.2.1/adapter")],
        [URI("spiffe://[2001:db8::1]/adapter")],
        [URI("spiffe://dea.example/adapter"), URI("spiffe://cbp.example/gateway")],
        [URI("spiffe://dea.example/adapter"), DNS("broker.operator.example")],
        [URI("spiffe://dea.example/adapter"), DNS("notdea.example")],
        [URI("spiffe://dea.example/adapter"), DNS("localhost")],
        [URI("spiffe://dea.example/adapter"), x509.IPAddress(ip_address("127.0.0.1"))],
        [URI("spiffe://dea.example/adapter"), x509.IPAddress(ip_address("::1"))],
        [URI("spiffe://dea.example/adapter"), x509.RFC822Name("officer@cbp.example")],
    ],
    ids=str,
)
def test_constraints_alone_stop_a_ca_outside_its_domain(names: list[x509.GeneralName]) -> None:
    """OpenSSL refuses each of these for the CA's name constraints, before any check of ours."""
    leaf = x509.load_der_x509_certificate(mint(DEA, *names))
    with pytest.raises(
        CertificateRejected, match=r"permitted subtree|excluded subtree|name syntax|constraint"
    ):
        room._verify_chain(leaf, [], [DEA.certificate], NOW)


def test_host_name_in_a_subject_is_constrained_too() -> None:
    """A subject whose common name is the broker's host is outside the DNS names that the CA may issue."""
    der = mint(DEA, URI("spiffe://dea.example/adapter"), subject=named("broker.operator.example"))
    with pytest.raises(CertificateRejected, match="permitted subtree"):
        room.verify_leaf([der], ca_certificates=[DEA.der], spiffe_id="spiffe://dea.example/adapter", now=NOW)


@pytest.mark.parametrize(
    "other",
    [
        "spiffe://CBP.example/gateway",
        "spiffe://cbp.example/Gateway",
        "SPIFFE://cbp.example/gateway",
        "spiffe://cbp.example:443/gateway",
        "spiffe://cbp.example:/gateway",
        "spiffe://user@cbp.example/gateway",
        "spiffe://dea.example@cbp.example/gateway",
        "spiffe://cbp.example/gateway/",
        "spiffe://cbp.example//gateway",
        "spiffe://cbp.example/./gateway",
        "spiffe://cbp.example/x/../gateway",
        "spiffe://cbp.example/%67ateway",
        "spiffe://cbp.example/gateway?x",
        "spiffe://cbp.example/gateway#x",
        "spiffe://cbp.example./gateway",
        "spiffe://cbp.example/gateway\x00",
        "spiffe://cbp.example/gateway ",
        "spiffe://cbp.example/gateway\n",
        "spiffe://cbp.example",
        "https://cbp.example/gateway",
    ],
)
def test_other_spellings_of_our_name_are_refused(other: str) -> None:
    """Our own CA is refused too when it spells a name otherwise, also where no name is expected."""
    leaf = mint(CBP, URI(other))
    for expected in (GATEWAY, None):
        if expected or other != "spiffe://cbp.example/Gateway":
            with pytest.raises(CertificateRejected):
                verify(leaf, spiffe_id=expected)


def test_another_end_of_the_same_agency_is_refused() -> None:
    """The agency's adapter isn't its gateway."""
    with pytest.raises(CertificateRejected, match="expected `spiffe://cbp"):
        verify(mint(CBP, URI("spiffe://cbp.example/adapter")))


def test_two_uris_are_refused() -> None:
    """Which of two ids a leaf speaks for is never guessed, in either order."""
    ours, second = URI(GATEWAY), URI("spiffe://cbp.example/adapter")
    for names in ([ours, second], [second, ours], [ours, ours]):
        with pytest.raises(CertificateRejected, match="2 URIs"):
            verify(mint(CBP, *names))


def test_leaf_without_a_uri_is_refused() -> None:
    """A DNS name alone, or no SAN at all, names no end."""
    with pytest.raises(CertificateRejected, match="0 URIs"):
        verify(mint(CBP, DNS("gateway.cbp.example")))
    with pytest.raises(CertificateRejected, match="no subjectAltName"):
        verify(mint(CBP))


@pytest.mark.parametrize(
    "name",
    [
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.RFC822Name("gateway@cbp.example"),
        x509.DirectoryName(
            x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cbp.example")]),
        ),
        x509.RegisteredID(ObjectIdentifier("1.2.3.4")),
        x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ],
    ids=["ip", "email", "directory", "registered", "other"],
)
def test_other_kinds_of_name_are_refused(name: x509.GeneralName) -> None:
    """SANs are URI and DNS only, even where the constraints would permit another name."""
    with pytest.raises(CertificateRejected, match=f"SAN has a {type(name).__name__}"):
        verify(mint(CBP, URI(GATEWAY), name))


@pytest.mark.parametrize(
    "name",
    ["*.cbp.example", "Gateway.cbp.example", "gateway.cbp.example.", "cbp_1.cbp.example", "example", ""],
)
def test_other_spellings_of_dns_names_are_refused(name: str) -> None:
    """Wildcards, other case and final dots are refused, even within the domain."""
    with pytest.raises(CertificateRejected):
        verify(mint(CBP, URI(GATEWAY), DNS(name)))


def test_san_that_is_not_critical_beside_an_empty_subject_is_refused() -> None:
    """With an empty subject the SAN must be critical (RFC 5280, 4.2.1.6); with a subject it needn't be."""
    with pytest.raises(CertificateRejected, match="not critical"):
        verify(mint(CBP, URI(GATEWAY), critical_san=False))
    attributes = [(NameOID.ORGANIZATION_NAME, "cbp.example"), (NameOID.COMMON_NAME, "gateway")]
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])
    assert verify(mint(CBP, URI(GATEWAY), subject=subject, critical_san=False))


@pytest.mark.parametrize(
    "extended",
    [
        None,
        [SERVER],
        [CLIENT],
        [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
        [SERVER, CLIENT, ExtendedKeyUsageOID.CODE_SIGNING],
    ],
    ids=["none", "server", "client", "any", "more"],
)
def test_extended_key_usage_is_exactly_server_and_client(extended: list[ObjectIdentifier] | None) -> None:
    """Every end serves and calls; a leaf that can do less or more isn't an end's."""
    with pytest.raises(CertificateRejected, match="extendedKeyUsage"):
        verify(mint(CBP, URI(GATEWAY), extended=extended))


@pytest.mark.parametrize(
    "key_usage",
    [
        usage(key_encipherment=True),
        usage(digital_signature=True, key_cert_sign=True),
        usage(digital_signature=True, crl_sign=True),
    ],
    ids=["no-signature", "certificates", "lists"],
)
def test_key_usage_of_a_leaf_is_to_sign_handshakes(key_usage: x509.KeyUsage) -> None:
    """A leaf signs handshakes, and never certificates or lists."""
    with pytest.raises(CertificateRejected):
        verify(mint(CBP, URI(GATEWAY), key_usage=key_usage))


def test_leaf_that_is_a_ca_is_refused() -> None:
    """CA:true in a leaf would let an end issue names of its own."""
    leaf = mint(
        CBP,
        URI(GATEWAY),
        basic=x509.BasicConstraints(ca=True, path_length=None),
        key_usage=usage(digital_signature=True, key_cert_sign=True),
    )
    with pytest.raises(CertificateRejected, match="is a CA"):
        verify(leaf)


def test_ca_certificate_is_no_leaf() -> None:
    """The trusted root itself doesn't pass as somebody's leaf."""
    with pytest.raises(CertificateRejected):
        verify(CBP.der, spiffe_id=None)


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP521R1()),
    ],
    ids=["ed25519", "rsa", "secp256k1", "p-521"],
)
def test_leaf_with_another_kind_of_key_is_refused(key: Any) -> None:
    """Leaves are P-256 or P-384: gRPC refuses Ed25519, and nothing else is needed."""
    with pytest.raises(CertificateRejected, match="P-256 or P-384"):
        verify(mint(CBP, URI(GATEWAY), key=key))


def test_expired_leaf_is_refused() -> None:
    """A leaf is refused from the second after its end, at the time that is handed in."""
    leaf = mint(CBP, URI(GATEWAY), end=NOW)
    assert verify(leaf, now=NOW - timedelta(seconds=1))
    with pytest.raises(CertificateRejected, match="expired"):
        verify(leaf, now=NOW + timedelta(seconds=1))


def test_leaf_of_the_future_is_refused() -> None:
    """A leaf is refused before it begins."""
    leaf = mint(CBP, URI(GATEWAY), start=NOW)
    assert verify(leaf, now=NOW + timedelta(seconds=1))
    with pytest.raises(CertificateRejected, match="not yet valid"):
        verify(leaf, now=NOW - timedelta(seconds=1))


def test_time_is_that_handed_in_whatever_its_zone() -> None:
    """The same moment in another zone judges the same."""
    leaf = mint(CBP, URI(GATEWAY), end=NOW)
    zone = UTC if NOW.tzinfo is None else datetime.strptime("-0800", "%z").tzinfo
    assert verify(leaf, now=(NOW - timedelta(seconds=1)).astimezone(zone))
    with pytest.raises(CertificateRejected, match="expired"):
        verify(leaf, now=(NOW + timedelta(seconds=1)).astimezone(zone))


def test_leaf_of_an_expired_ca_is_refused_and_ends_with_it() -> None:
    """A leaf that outlives its CA is good until the CA's end, which is the end it reports."""
    leaf = mint(CBP, URI(GATEWAY), end=NOW + 900 * DAY)
    assert verify(leaf).not_after == CBP.certificate.not_valid_after_utc
    with pytest.raises(CertificateRejected, match="expired"):
        verify(leaf, now=NOW + 400 * DAY)


def test_leaf_of_an_unknown_ca_with_our_constraints_is_refused() -> None:
    """A CA that calls itself ours but isn't the one in the key set vouches for nothing."""
    forged = Issuer(*make_ca("cbp.example", NOW - DAY, 365 * DAY))
    with pytest.raises(CertificateRejected, match=r"self-signed certificate in certificate chain"):
        verify(mint(forged, URI(GATEWAY)), forged.der)


def test_ca_sent_in_the_chain_is_trusted_in_nothing() -> None:
    """A chain that brings its own root doesn't make it a root."""
    own = root(URI("cbp.example"), DNS("cbp.example"))
    with pytest.raises(CertificateRejected, match=r"self-signed|unable to get"):
        verify(mint(own, URI(GATEWAY)), own.der)


def test_rotating_cas_are_both_good() -> None:
    """While a CA is replaced, leaves of the old and of the new verify against the two together."""
    new = Issuer(*make_ca("cbp.example", NOW, 365 * DAY))
    for issuer in (CBP, new):
        leaf = mint(issuer, URI(GATEWAY))
        assert verify_leaf([leaf], ca_certificates=[CBP.der, new.der], spiffe_id=GATEWAY, now=NOW)


def test_intermediate_within_the_constraints_is_accepted() -> None:
    """An agency may issue through an intermediate, which the chain brings."""
    top = root(URI("cbp.example"), DNS("cbp.example"))
    below = intermediate(top)
    leaf = mint(below, URI(GATEWAY))
    assert verify(leaf, below.der, ca=top).spiffe_id == GATEWAY
    with pytest.raises(CertificateRejected, match="unable to get local issuer"):
        verify(leaf, ca=top)


def test_intermediate_with_wider_names_widens_nothing() -> None:
    """An intermediate that permits itself another domain is held to the root's constraints all the same."""
    top = root(URI("dea.example"), DNS("dea.example"))
    wider = x509.NameConstraints([URI("cbp.example"), URI("dea.example"), DNS("cbp.example")], None)
    below = intermediate(top, wider)
    leaf = x509.load_der_x509_certificate(mint(below, URI(GATEWAY)))
    with pytest.raises(CertificateRejected, match="permitted subtree"):
        room._verify_chain(leaf, [below.certificate], [top.certificate], NOW)
    with pytest.raises(CertificateRejected):
        verify(certificate_der(leaf), below.der, ca=top)


def test_our_cas_issue_no_intermediates() -> None:
    """A CA as `make_ca` makes it has path length 0: a CA below it is refused."""
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cbp.example")])
    key = ec.generate_private_key(ec.SECP256R1())
    below_der = mint(
        CBP,
        key=key,
        subject=subject,
        extended=None,
        key_usage=usage(key_cert_sign=True),
        basic=x509.BasicConstraints(ca=True, path_length=None),
    )
    below = Issuer(x509.load_der_x509_certificate(below_der), key)
    with pytest.raises(CertificateRejected, match="path length"):
        verify(mint(below, URI(GATEWAY)), below.der)


def test_end_cannot_issue_with_its_leaf() -> None:
    """A leaf that signs another leaf is no issuer."""
    end = Issuer(
        x509.load_der_x509_certificate(
            mint(
                CBP,
                URI("spiffe://cbp.example/adapter"),
                subject=x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cbp.example")]),
            )
        ),
        P256,
    )
    with pytest.raises(CertificateRejected):
        verify(mint(end, URI(GATEWAY)), end.der)


OURS = (URI("cbp.example"), DNS("cbp.example"))


@pytest.mark.parametrize(
    "ca",
    [
        root(constrained=False),
        root(*OURS, critical=False),
        root(*OURS, URI("dea.example")),
        root(*OURS, DNS("operator.example")),
        root(URI("cbp.example")),
        root(DNS("cbp.example")),
        root(URI(".cbp.example"), DNS("cbp.example")),
        root(URI("cbp.example"), DNS("example")),
        root(*OURS, excluded=[ALL_IPV4]),
        root(*OURS, excluded=[ALL_IPV6]),
        root(*OURS, excluded=[]),
        root(excluded=[ALL_IPV4, ALL_IPV6]),
    ],
    ids=[
        "none",
        "not-critical",
        "uri-too-many",
        "dns-too-many",
        "no-dns",
        "no-uri",
        "uri-subdomains",
        "dns-wider",
        "ipv6-open",
        "ipv4-open",
        "ip-open",
        "exclusions-only",
    ],
)
def test_ca_that_is_not_constrained_to_the_domain_is_refused(ca: Issuer) -> None:
    """A root in the key set without exactly our constraints vouches for nobody, not even for ours."""
    with pytest.raises(CertificateRejected, match=r"CA of `cbp\.example`"):
        verify(mint(ca, URI(GATEWAY)), ca=ca)


def test_one_unconstrained_ca_among_good_ones_is_refused() -> None:
    """Every root of the set is looked at, not only the one that signed."""
    with pytest.raises(CertificateRejected, match=r"CA of `cbp\.example`"):
        verify_leaf(
            [mint(CBP, URI(GATEWAY))],
            ca_certificates=[CBP.der, root(constrained=False).der],
            spiffe_id=GATEWAY,
            now=NOW,
        )


def test_no_ca_vouches_for_nothing_and_naive_time_is_wrong_use() -> None:
    """Without a CA that isn't revoked no leaf counts; a time without zone is a fault of our own code."""
    leaf = mint(CBP, URI(GATEWAY))
    with pytest.raises(CertificateRejected, match="no CA that counts"):
        verify_leaf([leaf], ca_certificates=[], spiffe_id=GATEWAY, now=NOW)
    with pytest.raises(ValueError, match="aware"):
        verify(leaf, now=NOW.replace(tzinfo=None))


def test_empty_endless_and_oversized_chains_are_refused_unread() -> None:
    """What a stranger sends first is bounded."""
    with pytest.raises(CertificateRejected, match="0 certificates"):
        verify()
    with pytest.raises(CertificateRejected, match="expected 1 to"):
        verify(*[b"x"] * (MAX_CHAIN + 1))
    with pytest.raises(CertificateRejected, match="larger"):
        verify(b"\x30" * 20_000)


def test_leaf_changed_in_any_byte_is_refused() -> None:
    """No byte of a certificate can be changed, cut or added unnoticed, and no other exception escapes."""
    leaf = mint(CBP, URI(GATEWAY))
    changed = [leaf[:i] + bytes([leaf[i] ^ 1]) + leaf[i + 1 :] for i in range(len(leaf))]
    for der in [*changed, leaf + b"\x00", leaf[:-1], b""]:
        with pytest.raises(CertificateRejected):
            verify(der)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_arbitrary_bytes_as_a_chain_raise_the_one_error(chain: list[bytes]) -> None:
    """Junk before or after a leaf is `CertificateRejected`, nothing else."""
    with pytest.raises(CertificateRejected):
        verify(*chain)
    with pytest.raises(CertificateRejected):
        verify(mint(CBP, URI(GATEWAY)), *chain)


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Let two contexts shake hands in memory; raises `ssl.SSLError` when either refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=name),
    )
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


def context(folder: Path, protocol: int, own: room.IssuedLeaf, peer_ca: x509.Certificate) -> ssl.SSLContext:
    (folder / "chain.pem").write_bytes(own.chain_pem)
    (folder / "key.pem").write_bytes(own.key_pem)
    made = ssl.SSLContext(protocol)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_verify_locations(cadata=certificate_pem(peer_ca).decode())
    made.load_cert_chain(folder / "chain.pem", folder / "key.pem")
    return made


def test_strict_tls_of_the_system_accepts_what_we_issue(tmp_path: Path) -> None:
    """The system's OpenSSL, strict, both sides asking, accepts our leaves; the operator's is not DEA's."""
    now = datetime.now(UTC)
    cas = {domain: make_ca(domain, now, DAY) for domain in ("cbp.example", "dea.example", "operator.example")}
    leaves = {
        domain: issue_leaf(*ca, spiffe_id=f"spiffe://{domain}/adapter", now=now, lifetime=DAY)
        for domain, ca in cas.items()
    }

    def side(protocol: int, own: str, peer: str) -> ssl.SSLContext:
        return context(tmp_path, protocol, leaves[own], cas[peer][0])

    server = side(ssl.PROTOCOL_TLS_SERVER, "dea.example", "cbp.example")
    client = side(ssl.PROTOCOL_TLS_CLIENT, "cbp.example", "dea.example")
    _, opened = handshake(server, client)
    peer = opened.getpeercert(binary_form=True)
    assert peer is not None
    verified = verify_leaf(
        [peer],
        ca_certificates=[certificate_der(cas["dea.example"][0])],
        spiffe_id="spiffe://dea.example/adapter",
        now=now,
    )
    assert verified.domain == "dea.example"
    impostor = side(ssl.PROTOCOL_TLS_SERVER, "operator.example", "cbp.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(impostor, client)


def test_fresh_key_bytes_never_show_in_a_repr() -> None:
    """The private key of an issued leaf stays out of its repr."""
    issued = issue_leaf(CBP.certificate, CBP.key, spiffe_id=GATEWAY, now=NOW, lifetime=DAY)
    assert "PRIVATE" not in repr(issued)
    serialization.load_pem_private_key(issued.key_pem, None)
