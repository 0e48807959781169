"""An end's own keys and certificate: complete, private, and belonging together, or refused at the start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from comity.certs.credentials import EndCredentials, load_end
from comity.certs.errors import CredentialsUnusable, FileExposed, FileUnusable
from comity.certs.files import write_private, write_public
from comity.certs.keys import SigningKey
from comity.certs.x509 import certificate_pem, issue_leaf, make_ca

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ADAPTER = "spiffe://cbp.example/adapter"

Ca = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


@pytest.fixture(scope="module")
def ca() -> Ca:
    return make_ca("cbp.example", NOW, 365 * DAY)


@pytest.fixture
def home(tmp_path: Path, ca: Ca) -> Path:
    """The folder of a well-furnished end."""
    keys = tmp_path / "keys"
    issued = issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=30 * DAY)
    write_public(keys / "leaf.pem", issued.chain_pem)
    write_private(keys / "leaf.key", issued.key_pem)
    SigningKey.generate().save(keys / "statement.key")
    log_key = ed25519.Ed25519PrivateKey.generate()
    write_private(
        keys / "log.key",
        log_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    return tmp_path


def test_credentials_give_chain_id_keys_and_end(home: Path) -> None:
    """Everything an end needs to link, to sign and to open its log."""
    found = EndCredentials.load(home)
    assert (found.spiffe_id, found.domain, found.path) == (ADAPTER, "cbp.example", "/adapter")
    assert found.chain_pem == (home / "keys" / "leaf.pem").read_bytes()
    assert found.key_pem == (home / "keys" / "leaf.key").read_bytes()
    assert len(found.chain_der) == 2 and found.leaf_der == found.chain_der[0]
    assert found.statement.key_id == SigningKey.load(home / "keys" / "statement.key").key_id
    assert found.log_key == home / "keys" / "log.key"
    assert found.not_after == NOW + 30 * DAY
    assert load_end(home).spiffe_id == found.spiffe_id


def test_no_secret_shows_in_the_repr(home: Path) -> None:
    """Neither private key is in what a log could print."""
    shown = repr(EndCredentials.load(home))
    assert "PRIVATE" not in shown and "BEGIN" not in shown


@pytest.mark.parametrize("name", ["leaf.pem", "leaf.key", "statement.key", "log.key"])
def test_missing_part_is_named(home: Path, name: str) -> None:
    """The error names the file that isn't there."""
    (home / "keys" / name).unlink()
    with pytest.raises(FileUnusable, match=name):
        load_end(home)


@pytest.mark.parametrize("name", ["leaf.key", "statement.key", "log.key"])
def test_key_that_others_can_read_is_named(home: Path, name: str) -> None:
    """No private key is used that others could have copied, the log's included."""
    (home / "keys" / name).chmod(0o644)
    with pytest.raises(FileExposed, match=name):
        load_end(home)


@pytest.mark.parametrize("name", ["leaf.pem", "leaf.key", "statement.key"])
def test_broken_part_is_refused(home: Path, name: str) -> None:
    """A file that holds something else is refused; the error says where."""
    path = home / "keys" / name
    path.write_bytes(b"something else")
    with pytest.raises(CredentialsUnusable, match="keys"):
        load_end(home)


def test_key_of_another_leaf_is_refused(home: Path, ca: Ca) -> None:
    """Half a rotation, a new leaf beside the old key, is refused at the start."""
    other = issue_leaf(*ca, spiffe_id=ADAPTER, now=NOW, lifetime=DAY)
    write_public(home / "keys" / "leaf.pem", other.chain_pem)
    with pytest.raises(CredentialsUnusable, match="not the key of the leaf"):
        load_end(home)


def test_leaf_beside_another_ca_is_refused(home: Path) -> None:
    """The CA in the chain must be the one that signed the leaf."""
    path = home / "keys" / "leaf.pem"
    end = b"-----END CERTIFICATE-----\n"
    leaf = path.read_bytes().split(end)[0] + end
    path.write_bytes(leaf + certificate_pem(make_ca("cbp.example", NOW, DAY)[0]))
    with pytest.raises(CredentialsUnusable, match="doesn't verify"):
        load_end(home)


def test_leaf_without_its_ca_is_refused(home: Path) -> None:
    """A lone leaf can't be verified by a peer that gets the chain from its holder."""
    path = home / "keys" / "leaf.pem"
    end = b"-----END CERTIFICATE-----\n"
    path.write_bytes(path.read_bytes().split(end)[0] + end)
    with pytest.raises(CredentialsUnusable, match="lacks the CA"):
        load_end(home)


def test_ca_in_place_of_a_leaf_is_refused(home: Path, ca: Ca) -> None:
    """A folder that was given the CA's own certificate and key is refused."""
    write_public(home / "keys" / "leaf.pem", certificate_pem(ca[0]))
    with pytest.raises(CredentialsUnusable):
        load_end(home)
