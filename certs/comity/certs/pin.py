"""The governing authority's keys, as one has them out of band or as signed changes from there name them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from comity.certs import words
from comity.certs.errors import KeyUnusable, RosterInvalid
from comity.certs.files import read_public
from comity.certs.keys import VerifyKey

MAX_AUTHORITY_KEYS: Final = 16
"""Keys of one authority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityPin:
    """The governing authority's keys, pinned out of band: the one thing that is trusted unsigned."""

    federation: str
    """The federation's name; a roster of another federation of the same authority isn't accepted."""
    keys: tuple[VerifyKey, ...]
    """The authority's keys, all different."""
    threshold: int
    """How many of them must have signed."""

    def __post_init__(self) -> None:
        words.line(self.federation, "federation name")
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("authority pin names a key twice")
        if not 1 <= self.threshold <= len(self.keys):
            raise ValueError(f"authority pin: threshold `{self.threshold}`, expected 1 to {len(self.keys)}")

    @classmethod
    def load(cls, path: Path) -> AuthorityPin:
        """Return the pin in the file at `path`; raise `RosterInvalid`, `FileUnusable`."""
        try:
            return cls.from_json(read_public(path))
        except RosterInvalid as error:
            raise RosterInvalid(f"file `{path}`: {error}") from error

    @classmethod
    def from_json(cls, data: bytes) -> AuthorityPin:
        """Return the pin in `data`; raise `RosterInvalid` if it isn't one."""
        try:
            document: object = json.loads(data.decode())
            if not isinstance(document, dict) or document.keys() != {"federation", "threshold", "keys"}:
                raise ValueError("expected an object with exactly federation, threshold, keys")
            name, threshold, keys = document["federation"], document["threshold"], document["keys"]
            if not isinstance(name, str) or type(threshold) is not int or not isinstance(keys, list):
                raise ValueError("expected a name, a whole number and a list")
            found = tuple(VerifyKey.from_der(base64.b64decode(str(key), validate=True)) for key in keys)
            return cls(federation=name, keys=found, threshold=threshold)
        except (ValueError, RecursionError, binascii.Error, KeyUnusable) as error:
            raise RosterInvalid(f"authority pin: {error}") from error

    @property
    def digest(self) -> bytes:
        """SHA-256, 32 bytes, of name, threshold and keys, as `AuthorityChange.replaces` has it."""
        keys = sorted(base64.b64encode(key.der).decode() for key in self.keys)
        text = json.dumps([self.federation, self.threshold, keys], separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).digest()

    def to_json(self) -> bytes:
        """Return the pin as it lies in `authority.json`: keys as base64 of their DER."""
        keys = [base64.b64encode(key.der).decode() for key in self.keys]
        document = {"federation": self.federation, "threshold": self.threshold, "keys": keys}
        return json.dumps(document, indent=2).encode() + b"\n"
