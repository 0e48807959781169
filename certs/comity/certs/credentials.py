"""What an end holds of its own: its leaf and chain, its statement key, and where its log key lies.

The folder is `<home>/keys/`: `leaf.pem` (leaf first, then its CA) and the private `leaf.key`, as
`comity.certs.pairs` has them, and the private `statement.key` and `log.key`. An end that starts with parts
that don't belong together would fail later, at its peers, for reasons that only they see; so everything is
checked here, at the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.certs.errors import CertificateRejected, CredentialsUnusable, KeyUnusable
from comity.certs.files import read_private
from comity.certs.keys import SigningKey
from comity.certs.pairs import LeafPair
from comity.certs.x509 import verify_leaf

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
    pair: LeafPair = field(repr=False)
    """Leaf, chain and key as they lay on disk together."""

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
                pair=LeafPair.load(folder),
                statement=SigningKey.load(folder / "statement.key"),
                log_key=log_key,
            )
        except (CertificateRejected, KeyUnusable) as error:
            raise CredentialsUnusable(f"credentials in `{folder}`: {error}") from error

    @classmethod
    def _of(cls, *, pair: LeafPair, statement: SigningKey, log_key: Path) -> EndCredentials:
        """Return the parts as one; raise `CertificateRejected` if the chain doesn't hold together."""
        if len(pair.chain_der) == 1:
            raise CertificateRejected("`leaf.pem` lacks the CA's certificate after the leaf's")
        verified = verify_leaf(
            pair.chain_der[:-1],
            ca_certificates=pair.chain_der[-1:],
            spiffe_id=pair.spiffe_id,
            now=pair.not_before,
        )
        return cls(
            spiffe_id=verified.spiffe_id,
            domain=verified.domain,
            path=verified.path,
            chain_pem=pair.chain_pem,
            chain_der=pair.chain_der,
            key_pem=pair.key_pem,
            statement=statement,
            log_key=log_key,
            not_after=verified.not_after,
            pair=pair,
        )


def load_end(home: Path) -> EndCredentials:
    """Return the credentials of the end whose folder is `home`; raises as `EndCredentials.load` does."""
    return EndCredentials.load(home)
