"""Cosignatures: a peer's signed word that it checked a checkpoint (C2SP tlog-cosignature, Ed25519).

A cosignature says: as of this time, the largest tree that I saw of this log, consistent with all that I saw
of it before, has this size and root. It is one more signature line under the checkpoint; its signed message
begins with `cosignature/v1`, which no checkpoint does, so an end cosigns with the key of its own log and
under its own log's origin: whoever knows the roster knows its cosigners.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from comity.audit.errors import NoteInvalid
from comity.audit.note import LogKey, VerifierKey, signature_line, split_note

COSIGNATURE_V1 = b"\x04"
"""The signature type of Ed25519 cosignatures in key hashes and verifier keys."""
_TIMESTAMP_BYTES = 8
_SIGNATURE_BYTES = 64
_MAX_TIMESTAMP = 253_402_300_799
"""The end of the year 9999; the format allows more, no clock shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigner:
    """Who may cosign: the key of a peer's own log, under its type for cosignatures."""

    key: VerifierKey

    @property
    def name(self) -> str:
        """The cosigner's name: the origin of its own log, or the name that a policy file gives."""
        return self.key.name

    @property
    def hash(self) -> bytes:
        """The first four bytes of SHA-256(name || 0x0A || 0x04 || public key)."""
        material = self.name.encode() + b"\n" + COSIGNATURE_V1 + self.key.public_key
        return sha256(material).digest()[:4]

    @property
    def line(self) -> str:
        """The verifier key line `<name>+<hash>+<base64 of 0x04 || public key>`."""
        encoded = base64.b64encode(COSIGNATURE_V1 + self.key.public_key).decode()
        return f"{self.name}+{self.hash.hex()}+{encoded}"

    @classmethod
    def parse(cls, line: str) -> "Cosigner":
        """Read a verifier key line of signature type 4. Raises `NoteInvalid`."""
        name, _, rest = line.strip().partition("+")
        encoded = rest.partition("+")[2]
        try:
            material = base64.b64decode(encoded, validate=True)
        except ValueError as problem:
            raise NoteInvalid(f"cosigner `{name}`: the key is not base64") from problem
        if material[:1] != COSIGNATURE_V1 or len(material) != 33:
            raise NoteInvalid(f"cosigner `{name}`: only Ed25519 cosignature keys of type 4 are known")
        cosigner = cls(key=VerifierKey(name=name, public_key=material[1:]))
        if cosigner.line != line.strip():
            raise NoteInvalid(f"cosigner `{name}`: the line is not that of its key")
        return cosigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """A verified cosignature: whose, and as of when (to the second)."""

    cosigner: Cosigner
    at: datetime


def cosign(note: bytes, key: LogKey, at: datetime) -> bytes:
    """Return the signature line with which `key` cosigns a checkpoint, to be added below its note.

    The caller has verified the checkpoint and its consistency with all that it saw before: that is what the
    line says. Raises `NoteInvalid` if it is no note.
    """
    text, _ = split_note(note)
    seconds = int(at.timestamp())
    signature = key.sign(_message(text, seconds))
    material = Cosigner(key=key.verifier).hash + seconds.to_bytes(_TIMESTAMP_BYTES, "big") + signature
    return signature_line(key.origin, material)


def with_cosignatures(note: bytes, lines: Iterable[bytes]) -> bytes:
    """Return the note with more signature lines, each once, in the order given."""
    present = set(note.splitlines(keepends=True))
    added: list[bytes] = []
    for line in lines:
        if line not in present:
            present.add(line)
            added.append(line)
    return note + b"".join(added)


def cosignatures(note: bytes, cosigners: Iterable[Cosigner]) -> list[Cosignature]:
    """Return the cosignatures of known cosigners under a checkpoint; those of others are ignored.

    Raises `NoteInvalid` if one of a known cosigner doesn't verify: then the whole note is worth nothing.
    """
    text, signatures = split_note(note)
    known = {(cosigner.name, cosigner.hash): cosigner for cosigner in cosigners}
    found: list[Cosignature] = []
    for name, material in signatures:
        cosigner = known.get((name, material[:4]))
        if cosigner is not None:
            found.append(_verified(cosigner, material[4:], text))
    return found


def _verified(cosigner: Cosigner, signed: bytes, text: str) -> Cosignature:
    if len(signed) != _TIMESTAMP_BYTES + _SIGNATURE_BYTES:
        raise NoteInvalid(f"cosignature of `{cosigner.name}`: {len(signed)} bytes where 72 are right")
    seconds = int.from_bytes(signed[:_TIMESTAMP_BYTES], "big")
    if seconds > _MAX_TIMESTAMP:
        raise NoteInvalid(f"cosignature of `{cosigner.name}`: its time is out of range")
    cosigner.key.verify(signed[_TIMESTAMP_BYTES:], _message(text, seconds))
    return Cosignature(cosigner=cosigner, at=datetime.fromtimestamp(seconds, tz=UTC))


def _message(text: str, seconds: int) -> bytes:
    """Return what is signed: header line, time line, and the whole text of the checkpoint."""
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
