"""Making the keys of one end: leaf, statement key and log key, in the folder that `credentials` reads.

Shared by the operator's broker and by the agencies' gateways, adapters and client systems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from comity.certs.errors import SetupRefused
from comity.certs.files import write_private, write_public
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import LogKeyView, ValidKey
from comity.certs.x509 import (
    BACKDATE,
    certificate_der,
    certificate_pem,
    issue_leaf,
    make_ca,
    private_key_pem,
)
from comity.v1.federation_pb2 import IdentityProvider, KeySet, KeyValidity, LogKey

LogKeyMaker = Callable[[str, Path], str]
"""Makes a fresh log key for an origin, saves it privately at a path, returns its verifier key line.

This room can't make one itself: the format of log keys belongs to `comity.audit`.
"""

CA_LIFETIME: Final = timedelta(days=5 * 365)
"""How long a CA lives."""

OLD_CA_FILE: Final = "ca.old.pem"
"""Beside `ca.pem`: the CA that gives way to it, until nobody has a leaf of it any more."""

STATEMENT_KEY_LIFETIME: Final = timedelta(days=365)
"""How long a statement key may sign."""

LEAF_LIFETIME: Final = timedelta(days=90)
"""How long a leaf lives unless told otherwise."""

DNS_ROLES: Final = frozenset({"gateway", "broker"})
"""Ends that somebody dials, so that their leaf also carries a DNS name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """A domain's CA with its key, while leaves are issued. Its repr shows no key."""

    domain: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"Issuer(domain={self.domain!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndKeys:
    """The public halves of an end's keys: what goes into the key set."""

    statement: ValidKey
    log: LogKeyView


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise `SetupRefused` if one of `paths` is there: nothing that holds a key is ever overwritten."""
    for path in paths:
        if path.exists():
            raise SetupRefused(f"`{path}` is there already and isn't overwritten: choose another folder")


def make_issuer(home: Path, *, domain: str, now: datetime) -> Issuer:
    """Make a CA for `domain`, save it as `ca.pem` and `ca.key` in `home`, and return it to issue with."""
    certificate, key = make_ca(domain, now, CA_LIFETIME, path_length=1)
    write_private(home / "ca.key", private_key_pem(key))
    write_public(home / "ca.pem", certificate_pem(certificate))
    return Issuer(domain=domain, certificate=certificate, key=key)


def make_end(
    home: Path,
    *,
    role: str,
    issuer: Issuer,
    now: datetime,
    leaf_lifetime: timedelta,
    make_log_key: LogKeyMaker,
) -> EndKeys:
    """Make the keys of the end `role` in `home/keys` and return their public halves."""
    keys = home / "keys"
    make_leaf(keys, path=role, issuer=issuer, now=now, lifetime=leaf_lifetime, dns=role in DNS_ROLES)
    statement = SigningKey.generate()
    statement.save(keys / "statement.key")
    origin = f"{issuer.domain}/{role}"
    verifier_key = make_log_key(origin, keys / "log.key")
    return EndKeys(
        statement=ValidKey(
            key=statement.public, not_before=now - BACKDATE, not_after=now + STATEMENT_KEY_LIFETIME
        ),
        log=LogKeyView(origin=origin, verifier_key=verifier_key, role=role),
    )


def make_leaf(
    keys: Path, *, path: str, issuer: Issuer, now: datetime, lifetime: timedelta, dns: bool = False
) -> None:
    """Make a leaf for `spiffe://<domain>/<path>` and save it as `leaf.pem` and `leaf.key` in `keys`."""
    leaf = issue_leaf(
        issuer.certificate,
        issuer.key,
        spiffe_id=f"spiffe://{issuer.domain}/{path}",
        dns_names=(f"{path}.{issuer.domain}",) if dns else (),
        now=now,
        lifetime=lifetime,
    )
    write_private(keys / "leaf.key", leaf.key_pem)
    write_public(keys / "leaf.pem", leaf.chain_pem)


def key_set(
    *,
    agency: str,
    issuer: Issuer,
    ends: Iterable[EndKeys],
    identity_providers: Iterable[IdentityProvider] = (),
    now: datetime,
) -> KeySet:
    """Return the first key set of an agency or of the operator, to be signed with its identity key."""
    ends = tuple(ends)
    return KeySet(
        agency=agency,
        domain=issuer.domain,
        version=1,
        ca_certificates=[certificate_der(issuer.certificate)],
        statement_keys=[
            KeyValidity(
                public_key=end.statement.key.der,
                not_before=from_instant(end.statement.not_before),
                not_after=from_instant(end.statement.not_after),
            )
            for end in ends
        ],
        log_keys=[
            LogKey(
                origin=end.log.origin,
                verifier_key=end.log.verifier_key,
                role=f"END_ROLE_{end.log.role.upper()}",
            )
            for end in ends
        ],
        identity_providers=identity_providers,
        signed_at=from_instant(now),
    )
