"""NIST's Public Key Interoperability Test Suite, through the chain verification that every handshake uses.

Its keys are RSA and DSA, which no chain here may have; so a path that PKITS calls valid must come as far as
that rule, which is asked last, and one that it calls invalid must be refused before. Nothing of it is ever
accepted. (What needs revocation lists or certificate policies is not among the vectors: see their README.)
"""

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509

from comity.certs import x509 as room
from comity.certs.errors import CertificateRejected

VECTORS = Path(__file__).parents[1] / "vectors" / "pkits" / "chains.pem"
NOW = datetime(2020, 6, 1, tzinfo=UTC)
LAST_RULE = "chain: key is not P-256 or P-384"
ROOT = "TrustAnchorRootCertificate"

LENIENT = "ValidbasicConstraintsNotCriticalTest4EE"
"""Valid to the suite; RFC 5280, section 4.2.1.9 wants it critical, and some releases of OpenSSL do."""


@cache
def certificates() -> dict[str, x509.Certificate]:
    """The suite's certificates by the name of their file."""
    blocks = VECTORS.read_text().split("\n\n")
    named = (block.split("\n", 1) for block in blocks)
    return {name: x509.load_pem_x509_certificate(pem.encode()) for name, pem in named}


@cache
def leaves() -> list[str]:
    return [name for name in certificates() if re.fullmatch(r"(Valid|Invalid).*Test\d+(EE)?", name)]


@cache
def cas() -> list[x509.Certificate]:
    return [known for name, known in certificates().items() if name != ROOT and name not in leaves()]


def plain(name: x509.Name) -> str:
    """A name without the differences that RFC 5280, section 7.1 has compared away, roughly."""
    return " ".join(str(part.value).casefold().replace(" ", "") for part in name)


def above(leaf: x509.Certificate) -> list[x509.Certificate]:
    """Every CA of the suite that might stand above a leaf."""
    found: list[x509.Certificate] = []
    open_ends = [leaf]
    while open_ends:
        issuer = plain(open_ends.pop().issuer)
        more = [one for one in cas() if plain(one.subject) == issuer and one not in found]
        found += more
        open_ends += more
    return found


def judged(name: str) -> str:
    """What chain verification says of one leaf of the suite, its CAs at hand."""
    known = certificates()
    with pytest.raises(CertificateRejected) as refused:
        room._verify_chain(known[name], above(known[name]), [known[ROOT]], NOW)
    return str(refused.value)


def test_the_suite_is_whole() -> None:
    """As many paths as were taken over, of both verdicts."""
    found = leaves()
    assert (len(found), len([name for name in found if name.startswith("Valid")])) == (86, 41)


@pytest.mark.parametrize("name", leaves())
def test_pkits(name: str) -> None:
    """A valid path comes as far as the rule on keys; an invalid one is refused by path validation itself."""
    said = judged(name)
    if name == LENIENT and said.endswith("not marked critical"):
        return
    assert (said == LAST_RULE) is name.startswith("Valid"), said
    assert said == LAST_RULE or said.startswith("chain doesn't verify: ")


def test_no_leaf_of_the_suite_passes_as_an_ends() -> None:
    """Each is refused as an end's leaf, below the suite's own root, and its root as anybody's CA."""
    known = certificates()
    for name in leaves():
        with pytest.raises(CertificateRejected, match="leaf: key is not P-256 or P-384"):
            room.verify_leaf(
                [room.certificate_der(known[name])],
                ca_certificates=[room.certificate_der(known[ROOT])],
                spiffe_id=None,
                now=NOW,
            )
    with pytest.raises(CertificateRejected):
        room.verify_ca(known[ROOT], domain="cbp.example")
