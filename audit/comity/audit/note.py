"""Signed notes as C2SP signed-note defines them, with Ed25519 signatures.

A note is a text whose lines end in a newline, an empty line, and one line a signature::

    lapd.example/adapter
    57
    1B2M2Y8AsgTpgAmY7PhCfg…=

    — lapd.example/adapter Az3grl…

The key's hash is SHA-256(name || 0x0A || 0x01 || public key), its first four bytes. A verifier key is
the line `<name>+<hash in hex>+<base64 of 0x01 || public key>`.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from comity.audit.errors import NoteInvalid
from comity.certs.files import read_private, write_private

ED25519 = b"\x01"
"""The signature type of Ed25519 in key hashes and verifier keys."""
MAX_SIGNATURES = 100
_DASH = "— "


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """The public half of a log's key: its name, its hash (4 bytes) and the Ed25519 key (32 bytes)."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.public_key) != 32:
            raise NoteInvalid(f"verifier key `{self.name}`: an Ed25519 key has 32 bytes")

    @classmethod
    def parse(cls, line: str) -> "VerifierKey":
        """Read a verifier key line; its hash must be the one of its name and key. Raises `NoteInvalid`."""
        name, plus, rest = line.strip().partition("+")
        hash_hex, plus_too, encoded = rest.partition("+")
        if not plus or not plus_too:
            raise NoteInvalid("a verifier key has the form `<name>+<hash>+<base64>`")
        material = _decode_base64(encoded, f"verifier key `{name}`")
        if material[:1] != ED25519 or len(material) != 33:
            raise NoteInvalid(f"verifier key `{name}`: only Ed25519 keys of type 1 are known")
        key = cls(name=name, public_key=material[1:])
        if key.hash.hex() != hash_hex:
            raise NoteInvalid(f"verifier key `{name}`: hash `{hash_hex}` is not the hash of this key")
        return key

    @property
    def hash(self) -> bytes:
        """The first four bytes of SHA-256(name || 0x0A || 0x01 || public key)."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public_key).digest()[:4]

    @property
    def line(self) -> str:
        """The verifier key line, without a newline."""
        encoded = base64.b64encode(ED25519 + self.public_key).decode()
        return f"{self.name}+{self.hash.hex()}+{encoded}"

    def verify(self, signature: bytes, text: bytes) -> None:
        """Check an Ed25519 signature over a note's text. Raises `NoteInvalid`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
        except (InvalidSignature, ValueError) as problem:
            raise NoteInvalid(f"note: the signature of `{self.name}` does not verify") from problem


class LogKey:
    """The Ed25519 key with which a log signs its checkpoints, bound to the log's origin.

    The file holds PKCS#8 PEM, mode 0600; the origin is not in it.
    """

    __slots__ = ("_private", "verifier")

    def __init__(self, private: Ed25519PrivateKey, origin: str) -> None:
        self._private = private
        public = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.verifier = VerifierKey(name=origin, public_key=public)

    @classmethod
    def generate(cls, origin: str) -> "LogKey":
        """Make a new key for the log `origin`."""
        return cls(Ed25519PrivateKey.generate(), origin)

    @classmethod
    def load(cls, path: Path, origin: str) -> "LogKey":
        """Read the key of the log `origin` from a file that only its owner can read.

        Raises `NoteInvalid` if the file holds no Ed25519 key, and what `read_private` raises.
        """
        try:
            private = serialization.load_pem_private_key(read_private(path), password=None)
        except (ValueError, TypeError) as problem:
            raise NoteInvalid(
                f"log key of `{origin}`: `{path.name}` is not an unencrypted PKCS#8 key"
            ) from problem
        if not isinstance(private, Ed25519PrivateKey):
            raise NoteInvalid(f"log key of `{origin}`: `{path.name}` holds no Ed25519 key")
        return cls(private, origin)

    def save(self, path: Path) -> None:
        """Write the key as PKCS#8 PEM, atomically, mode 0600."""
        write_private(
            path,
            self._private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )

    @property
    def origin(self) -> str:
        """The log's origin, which is the name of the key."""
        return self.verifier.name

    @property
    def verifier_key(self) -> str:
        """The verifier key line of the public half."""
        return self.verifier.line

    def sign(self, text: bytes) -> bytes:
        """Return the Ed25519 signature (64 bytes) over a note's text."""
        return self._private.sign(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNote:
    """A note of which at least one signature verified."""

    text: str
    signers: tuple[VerifierKey, ...] = field(default=())


def sign_note(text: str, *keys: LogKey) -> bytes:
    """Return the signed note over a text, one signature line a key, in their order.

    Raises `NoteInvalid` if the text is empty, does not end in a newline or holds control characters.
    """
    _check_text(text)
    if not keys:
        raise NoteInvalid("note: it needs at least one key to sign it")
    data = text.encode()
    lines = [signature_line(key.origin, key.verifier.hash + key.sign(data)) for key in keys]
    return data + b"\n" + b"".join(lines)


def open_note(note: bytes, verifier_keys: Iterable[VerifierKey | str]) -> OpenedNote:
    """Return the text of a note that at least one of the given keys signed.

    Signatures of other keys are ignored; a wrong or doubled signature under a given key rejects the whole
    note, as C2SP signed-note asks. Raises `NoteInvalid`.
    """
    known = [VerifierKey.parse(key) if isinstance(key, str) else key for key in verifier_keys]
    text, signatures = split_note(note)
    signers: list[VerifierKey] = []
    for name, material in signatures:
        for key in known:
            if (key.name, key.hash) != (name, material[:4]):
                continue
            if key in signers:
                raise NoteInvalid(f"note: two signatures of `{name}`")
            key.verify(material[4:], text.encode())
            signers.append(key)
            break
    if not signers:
        raise NoteInvalid("note: no known key signed it")
    return OpenedNote(text=text, signers=tuple(signers))


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a note's text, and of each signature line the key's name and its bytes: **unverified**.

    The bytes are the key's hash (4) and the signature. Raises `NoteInvalid`.
    """
    try:
        whole = note.decode()
    except UnicodeDecodeError as problem:
        raise NoteInvalid("note: it is not UTF-8") from problem
    body, separator, tail = whole.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteInvalid("note: text, an empty line and signature lines are expected")
    text = body + "\n"
    _check_text(text)
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteInvalid(f"note: more than {MAX_SIGNATURES} signatures")
    return text, [_parse_signature(line) for line in lines]


def signature_line(name: str, material: bytes) -> bytes:
    """Return one signature line of a note, with its newline; `material` is key hash and signature."""
    return f"{_DASH}{name} {base64.b64encode(material).decode()}\n".encode()


def note_signers(note: bytes) -> list[tuple[str, bytes]]:
    """Return names and key hashes of a note's signature lines, **unverified**; none if malformed."""
    try:
        lines = note.decode().rpartition("\n\n")[2].strip("\n").split("\n")
        return [(name, material[:4]) for name, material in map(_parse_signature, lines)]
    except (UnicodeDecodeError, NoteInvalid):
        return []


def _parse_signature(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not encoded:
        raise NoteInvalid("note: a signature line has the form `— <name> <base64>`")
    _check_name(name)
    material = _decode_base64(encoded, f"signature of `{name}`")
    if len(material) < 5:
        raise NoteInvalid(f"note: the signature of `{name}` is too short")
    return name, material


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise NoteInvalid("note: the text must not be empty and must end in a newline")
    if any(character < " " and character != "\n" for character in text):
        raise NoteInvalid("note: the text holds control characters")


def _check_name(name: str) -> None:
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise NoteInvalid("a key's name is not empty and holds no spaces, no control characters and no `+`")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise NoteInvalid("a key's name is UTF-8")


def _decode_base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise NoteInvalid(f"{what}: not base64") from problem
    if base64.b64encode(data).decode() != text:
        raise NoteInvalid(f"{what}: not canonical base64")
    return data
