"""The governing authority's keys give way to others: a chain that begins with the keys that were pinned.

::

    pinned out of band        public/authority-change-1.json        public/authority-change-2.json
    keys A, 2 of 3       ──▶  A gives way to B,                ──▶  B gives way to C,
                              signed by 2 of A and 2 of B           signed by 2 of B and 2 of C

An end follows the chain as far as it goes and trusts the last keys alone. How far it came it remembers, so
whoever finds the keys A later can't lead it another way; for an end that never heard of B they still count,
which is why they are destroyed. A change whose signatures don't verify leads nowhere and hides nothing.

The broker imports this module: nothing here needs pyjwt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.certs.envelope import from_json, open_envelope, seal, to_json
from comity.certs.errors import CertsError, FileUnusable, RosterInvalid
from comity.certs.files import is_there, read_public, write_private
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.pin import MAX_AUTHORITY_KEYS, AuthorityPin
from comity.v1.federation_pb2 import AuthorityChange

CHANGE_FILE: Final = "authority-change-{}.json"
"""A change of the authority's keys, in a federation's public folder; they are numbered from 1."""

FOLLOWED_FILE: Final = "authority-seen.json"
"""How far an end came, in its home."""

MAX_CHANGES: Final = 1_000
"""Changes that are followed."""


def follow(pin: AuthorityPin, changes: Iterable[bytes]) -> AuthorityPin:
    """Return the authority's keys in force by these changes, in their order, beginning with `pin`.

    Without changes it is `pin`.
    """
    for data in changes:
        pin = changed(pin, data) or pin
    return pin


def changed(pin: AuthorityPin, data: bytes) -> AuthorityPin | None:
    """Return the keys to which `pin` gives way by the change in `data`; None if it is no such change.

    It is one if the threshold of both signed, it names exactly `pin` as what it replaces, and the federation
    is the same.
    """
    try:
        envelope = from_json(data)
        change = open_envelope(envelope, AuthorityChange, pin.keys, threshold=pin.threshold).message
        if change.federation != pin.federation or change.replaces != pin.digest:
            return None
        if len(change.keys) > MAX_AUTHORITY_KEYS:
            return None
        keys = tuple(VerifyKey.from_der(key) for key in change.keys)
        new = AuthorityPin(federation=pin.federation, keys=keys, threshold=change.threshold)
        open_envelope(envelope, AuthorityChange, new.keys, threshold=new.threshold)
    except (CertsError, ValueError):
        return None
    return new


def change_document(
    number: int, old: AuthorityPin, new: AuthorityPin, signers: Sequence[SigningKey], now: datetime
) -> bytes:
    """Return the change from `old` to `new`, signed; raise `RosterInvalid` unless it would be followed."""
    message = AuthorityChange(
        federation=new.federation,
        number=number,
        replaces=old.digest,
        keys=[key.der for key in new.keys],
        threshold=new.threshold,
        signed_at=from_instant(now),
    )
    data = to_json(seal(message, *signers))
    if changed(old, data) != new:
        raise RosterInvalid("authority change isn't signed by the threshold of the old and of the new keys")
    return data


def next_number(public: Path) -> int:
    """Return the number of the change that comes next in a public folder; raise `FileUnusable`."""
    return 1 + sum(1 for _ in changes_in(public))


def changes_in(public: Path) -> Iterator[bytes]:
    """Yield the changes in a public folder in the order of their numbers; raise `FileUnusable`."""
    for number in range(1, MAX_CHANGES + 1):
        path = public / CHANGE_FILE.format(number)
        if not is_there(path):
            return
        yield read_public(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedAuthority:
    """How far one end followed the chain: from which pinned keys, and to which."""

    pinned: bytes
    """Digest of the keys that the end's configuration pins."""
    pin: AuthorityPin
    """The keys that were in force last."""

    @classmethod
    def load(cls, home: Path, pinned: AuthorityPin) -> FollowedAuthority:
        """Return what stands in an end's home; what was followed from other pinned keys counts for nothing.

        Raises `RosterInvalid` if that can't be told, `FileUnusable`.
        """
        path = home / FOLLOWED_FILE
        try:
            found: object = json.loads(path.read_bytes())
            if not isinstance(found, dict) or found.keys() != {"pinned", "authority"}:
                raise ValueError("expected an object with exactly pinned, authority")
            is_other = bytes.fromhex(str(found["pinned"])) != pinned.digest
            pin = pinned if is_other else AuthorityPin.from_json(json.dumps(found["authority"]).encode())
        except FileNotFoundError:
            pin = pinned
        except OSError as error:
            raise FileUnusable(f"file `{path}` can't be read: {(error.strerror or '').lower()}") from error
        except (ValueError, RecursionError, RosterInvalid) as error:
            raise RosterInvalid(f"file `{path}`: {error}") from error
        return cls(pinned=pinned.digest, pin=pin)

    def save(self, home: Path) -> None:
        """Put it into an end's home, durably and whole; raise `FileUnusable`."""
        document = {"pinned": self.pinned.hex(), "authority": json.loads(self.pin.to_json())}
        write_private(home / FOLLOWED_FILE, json.dumps(document).encode())
