"""What an end holds of its own: its leaf and chain, its statement key, and where its log key lies.

The folder is `<home>/keys/`: `leaf.pem` (leaf first, then its CA), and the private `leaf.key`,
`statement.key` and `log.key`. An end that starts with parts that don't belong together would fail
later, at its peers, for reasons that only they see; so everything is checked here, at the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.certs.errors import CertificateRejected, CredentialsUnusable, KeyUnusable
from comity.certs.files import read_private, read_public
from comity.certs.keys import SigningKey
from comity.certs.profile import check_leaf, load_certificate
from comity.certs.x509 import load_private_key, split_pem, verify_leaf

_FOLDER: Final = "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCredentials:
    """An end's own certificate and keys, whose parts belong together. Its repr shows no key."""

    spiffe_id: str
    """The id in the leaf, such as `spiffe://cbp.example/gateway`."""
    domain: str
    """The id's trust domain, such as `cbp.example`."""
    path: str
    """The id's path, such as `/gateway`: the end's role."""
    chain_pem: bytes = field(repr=False)
    """The leaf, then its CA, PEM."""
    chain_der: tuple[bytes, ...] = field(repr=False)
    """The same as DER, leaf first: what an end sends in a link's first frame."""
    key_pem: bytes = field(repr=False)
    """The leaf's private key, unencrypted PKCS#8 PEM: secret."""
    statement: SigningKey
    """The key that signs orders, receipts or accounts."""
    log_key: Path
    """Where the log's private key lies (Ed25519, read by the log); its mode has been checked."""
    not_after: datetime
    """When the leaf expires, or the first in its chain."""

    @property
    def leaf_der(self) -> bytes:
        """The leaf, DER."""
        return self.chain_der[0]

    @classmethod
    def load(cls, home: Path) -> EndCredentials:
        """Return the credentials in `home/keys`.

        Expiry is not judged here (`not_after` tells), nor trust: that is the roster's. Raises
        `FileUnusable` for a file that is missing, `FileExposed` for a key that others could read, and
        `CredentialsUnusable` if a part is no key or certificate, the leaf isn't shaped as `profile` says or
        isn't signed by the CA beside it, or a key belongs to another leaf.
        """
        folder = home / _FOLDER
        log_key = folder / "log.key"
        read_private(log_key)
        try:
            return cls._of(
                chain_pem=read_public(folder / "leaf.pem"),
                key_pem=read_private(folder / "leaf.key"),
                statement=SigningKey.load(folder / "statement.key"),
                log_key=log_key,
            )
        except (CertificateRejected, KeyUnusable) as error:
            raise CredentialsUnusable(f"credentials in `{folder}`: {error}") from error

    @classmethod
    def _of(cls, *, chain_pem: bytes, key_pem: bytes, statement: SigningKey, log_key: Path) -> EndCredentials:
        """Return the parts as one; raise `CertificateRejected` or `KeyUnusable` if they don't fit."""
        chain = split_pem(chain_pem)
        leaf = load_certificate(chain[0])
        names = check_leaf(leaf)
        if load_private_key(key_pem).public_key() != leaf.public_key():
            raise KeyUnusable("`leaf.key` is not the key of the leaf in `leaf.pem`")
        if len(chain) == 1:
            raise CertificateRejected("`leaf.pem` lacks the CA's certificate after the leaf's")
        verified = verify_leaf(
            chain[:-1],
            ca_certificates=chain[-1:],
            spiffe_id=str(names.spiffe_id),
            now=leaf.not_valid_before_utc,
        )
        return cls(
            spiffe_id=verified.spiffe_id,
            domain=verified.domain,
            path=verified.path,
            chain_pem=chain_pem,
            chain_der=chain,
            key_pem=key_pem,
            statement=statement,
            log_key=log_key,
            not_after=verified.not_after,
        )


def load_end(home: Path) -> EndCredentials:
    """Return the credentials of the end whose folder is `home`; raises as `EndCredentials.load` does."""
    return EndCredentials.load(home)
