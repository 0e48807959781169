"""Lodged ceilings: all that the broker knows of agreements.

What a provider lodges is signed with its identity key and holds the ceiling marking of one grant, and when it
counts. The broker compares it with what it stamps, byte for byte, and reads nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from google.protobuf.message import DecodeError

from comity.certs.agreements import MAX_CEILING_BYTES, Rejected, documents_in
from comity.certs.envelope import from_json, open_envelope, payload_type
from comity.certs.errors import CertsError, EnvelopeInvalid, LodgementInvalid, UnknownMember
from comity.certs.files import read_public
from comity.certs.instants import require_aware, to_instant
from comity.certs.revocations import key_digest
from comity.certs.roster import Federation
from comity.v1.federation_pb2 import CeilingLodgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Lodged:
    """The ceiling of one pair, as its provider lodged it."""

    provider: str
    requester: str
    ceiling: bytes = field(repr=False)
    """A serialized `Marking`: compared byte for byte, never read."""
    agreement_digest: bytes
    """SHA-256 of the agreement's payload."""
    effective_at: datetime
    expires_at: datetime


def load_lodgement(data: bytes, federation: Federation) -> Lodged:
    """Return a ceiling in `data` (DSSE's JSON form), signed by the identity key of the provider it names.

    A former identity key will do unless it was revoked: a lodgement says nothing that the agreement doesn't,
    and a gateway holds every stamp to its own copy. Raises `LodgementInvalid`: the requester can't lodge in
    its provider's place.
    """
    try:
        envelope = from_json(data)
        if envelope.payload_type != payload_type(CeilingLodgement):
            raise LodgementInvalid(f"expected a `{payload_type(CeilingLodgement)}`")
        claimed = CeilingLodgement.FromString(envelope.payload)
        provider = federation.member(claimed.provider)
        keys = [
            time.key
            for time in provider.identities.times
            if key_digest(time.key.der) not in provider.revoked.public_keys
        ]
        lodged = open_envelope(envelope, CeilingLodgement, keys).message
        requester = federation.member(lodged.requester)
        found = Lodged(
            provider=provider.agency,
            requester=requester.agency,
            ceiling=lodged.ceiling_marking,
            agreement_digest=lodged.agreement_digest,
            effective_at=to_instant(lodged, "effective_at"),
            expires_at=to_instant(lodged, "expires_at"),
        )
        if provider == requester or len(found.agreement_digest) != 32:
            raise LodgementInvalid("expected two agencies and an agreement's digest of 32 bytes")
        if found.expires_at <= found.effective_at:
            raise LodgementInvalid("it expires before it takes effect")
        if not 1 <= len(found.ceiling) <= MAX_CEILING_BYTES:
            raise LodgementInvalid(f"ceiling: expected 1 to {MAX_CEILING_BYTES} bytes")
    except (ValueError, DecodeError, EnvelopeInvalid, UnknownMember, LodgementInvalid) as error:
        raise LodgementInvalid(f"lodgement: {error}") from error
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LodgementBook:
    """The ceilings lodged with the broker: all that it knows of agreements."""

    lodgements: tuple[Lodged, ...]
    rejected: tuple[Rejected, ...] = ()
    """Files that do nothing, and why."""

    @classmethod
    def load(cls, folder: Path, federation: Federation) -> LodgementBook:
        """Return every lodgement in `folder`'s `*.json` files; raise `FileUnusable` if it isn't there."""
        found: list[Lodged] = []
        rejected: list[Rejected] = []
        for path in documents_in(folder):
            try:
                found.append(load_lodgement(read_public(path), federation))
            except CertsError as error:
                rejected.append(Rejected(path=path, reason=str(error)))
        return cls(lodgements=tuple(found), rejected=tuple(rejected))

    def ceiling(
        self, provider: str, requester: str, now: datetime, *, agreement_digest: bytes | None = None
    ) -> Lodged | None:
        """Return what is lodged for the pair and in force at `now`, the latest to take effect; or None.

        With `agreement_digest`, the ceiling of that very agreement.
        """
        require_aware(now)
        found = [
            lodged
            for lodged in self.lodgements
            if (lodged.provider, lodged.requester) == (provider, requester)
            and lodged.effective_at <= now < lodged.expires_at
            and agreement_digest in (None, lodged.agreement_digest)
        ]
        return max(found, key=lambda lodged: (lodged.effective_at, lodged.agreement_digest), default=None)
