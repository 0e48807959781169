"""Adoption: how a bundle becomes an agency's law, and which bundle may follow which.

The agency signs a bundle's digest with its identity key, which is kept offline; the envelope lies beside the
bundle as `adoption.json`. So who breaks into an end can edit its files, and makes no law. `verify_adoption`
applies these rules in this order:

1. the agency's identity key signed the document, one that counted at the time that it names, and it is a
   `PolicyAdoption`;
2. it names this agency;
3. it names the digest that these files have;
4. it names the version that they say.

`check_succession` then holds the bundle to the one that the end's own log has in force: an older version, or
the same version with another text, follows only if an administrator approved it by a logged act.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from google.protobuf.message import DecodeError

from comity.audit.summary import Law
from comity.certs.envelope import from_json, open_envelope, seal, to_json
from comity.certs.errors import EnvelopeInvalid
from comity.certs.files import write_public
from comity.certs.instants import from_instant, to_instant
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.successions import IdentityKeys
from comity.policy.bundle import ADOPTION, PolicyBundle
from comity.policy.errors import AdoptionInvalid, SuccessionRefused
from comity.policy.manifest import version_order
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import PolicyAdoption


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A signature that makes a bundle an agency's law."""

    agency: str
    signed_at: datetime
    key_id: str
    """Of the identity key."""
    digest: bytes
    """SHA-256 of what was signed, 32 bytes."""


def adopt(bundle: PolicyBundle, identity: SigningKey, now: datetime) -> bytes:
    """Return `adoption.json` of a bundle, signed with its agency's identity key."""
    adoption = PolicyAdoption(
        nonce=secrets.token_bytes(16),
        agency=bundle.agency,
        bundle_digest=bundle.digest,
        bundle_version=bundle.version,
        signed_at=from_instant(now),
    )
    return to_json(seal(adoption, identity))


def write_adoption(folder: Path, bundle: PolicyBundle, identity: SigningKey, now: datetime) -> Path:
    """Sign a bundle and lay the signature beside it; return its file. Raises `OSError`, `FileUnusable`."""
    path = folder / ADOPTION
    write_public(path, adopt(bundle, identity, now))
    return path


def verify_adoption(bundle: PolicyBundle, identity: VerifyKey | IdentityKeys) -> Adoption:
    """Return the adoption that lies beside a bundle, by this module's rules; raise `AdoptionInvalid`.

    `identity`: the agency's identity key, or all that it had, each with its time.
    """
    if not bundle.adoption:
        raise AdoptionInvalid(f"`{ADOPTION}` is missing: nobody signed this bundle (`comity policy sign`)")
    try:
        envelope = from_json(bundle.adoption)
        opened = open_envelope(envelope, PolicyAdoption, _keys(envelope, identity))
    except EnvelopeInvalid as error:
        raise AdoptionInvalid(f"`{ADOPTION}`: `{bundle.agency}` did not sign it: {error}") from error
    said = opened.message
    if said.agency != bundle.agency:
        raise AdoptionInvalid(f"`{ADOPTION}`: it adopts a law of `{said.agency}`, not of `{bundle.agency}`")
    if said.bundle_digest != bundle.digest:
        raise AdoptionInvalid(
            f"`{ADOPTION}`: it signs the bundle {said.bundle_digest.hex()[:16]}, and these files are "
            f"{bundle.digest.hex()[:16]}: changed since, sign it again"
        )
    if said.bundle_version != bundle.version:
        raise AdoptionInvalid(f"`{ADOPTION}`: it signs version {said.bundle_version}, not {bundle.version}")
    try:
        signed_at = to_instant(said, "signed_at")
    except ValueError as error:
        raise AdoptionInvalid(f"`{ADOPTION}`: {error}") from error
    return Adoption(agency=said.agency, signed_at=signed_at, key_id=opened.key_id, digest=opened.digest)


def _keys(envelope: Envelope, identity: VerifyKey | IdentityKeys) -> tuple[VerifyKey, ...]:
    """Return the keys that counted when a document says that it was signed; raise `AdoptionInvalid`."""
    if isinstance(identity, VerifyKey):
        return (identity,)
    try:
        return identity.at(to_instant(PolicyAdoption.FromString(envelope.payload), "signed_at"))
    except (ValueError, DecodeError) as error:
        raise AdoptionInvalid(f"`{ADOPTION}`: {error}") from error


def check_succession(bundle: PolicyBundle, law: Law | None) -> None:
    """Check that a bundle may follow the one in force.

    Args:
        bundle: The next one.
        law: What the end's log has in force, with what was approved since; None: nothing yet.

    Raises:
        SuccessionRefused: it is older, or another text under the same version, and nobody approved it.
    """
    digest = bundle.digest.hex()
    if law is None or digest == law.policy or digest in law.approved:
        return
    before, now = version_order(law.version), version_order(bundle.version)
    if before is None or now is None or now > before:
        return
    hint = (
        "raise `version` in `bundle.toml` and sign it, or approve it with `comity policy activate --because`"
    )
    if now < before:
        raise SuccessionRefused(
            f"version {bundle.version} is older than version {law.version}, in force since entry "
            f"{law.index}: {hint}"
        )
    raise SuccessionRefused(
        f"version {bundle.version} is in force since entry {law.index} with another text, and a version "
        f"names one law: {hint}"
    )
