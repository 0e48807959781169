"""Log entries: RFC 8785 JSON, in which private fields stand as salted commitments (L1).

An entry in the log is::

    {"at":1763770000000,"exchange":"9f…","kind":"asked","peer":"lapd","private":{"plate":"mK3…="},"v":1}

`private` holds, by name, base64 of HMAC-SHA256(salt, RFC 8785 of [name, value]) with 32 fresh random
bytes of salt for each field. Salt and value are the *opening*; they never stand in the log, so deleting
them after their retention leaves every proof valid. A bare hash would be no protection: there are few plates.

An entry has 65,535 bytes at most. Of one that would have more, the largest public values are stored beside
the log, and `beside` has their digests and lengths in their place (`comity.audit.beside`).
"""

import base64
import binascii
import hmac
import json
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from json.encoder import encode_basestring

import rfc8785

from comity.audit.canonical import JsonValue as JsonValue
from comity.audit.canonical import canonical
from comity.audit.errors import EntryInvalid, OpeningInvalid
from comity.v1.audit_pb2 import EntryKind

MAX_ENTRY_BYTES = 65_535
"""Entry bundles give an entry's length in 16 bits (C2SP tlog-tiles)."""
MAX_BESIDE_BYTES = 16 << 20
"""What the values that are stored beside one entry may have together."""
_MIN_BESIDE_BYTES = 256
"""A smaller value stays in its entry: its digest would take as much room."""
SALT_BYTES = 32
CHECKPOINT_SEEN = "checkpoint_seen"
CONTRADICTION = "contradiction"
KEY_ROTATED = "key_rotated"
UNPROVEN = "unproven"
PARDONED = "pardoned"
POLICY_ACTIVATED = "policy_activated"
POLICY_APPROVED = "policy_approved"
_KIND_PREFIX = "ENTRY_KIND_"
KINDS = frozenset(
    name.removeprefix(_KIND_PREFIX).lower()
    for name, _ in EntryKind.items()
    if not name.endswith("_UNSPECIFIED")
)
"""Names of the entry kinds: `comity.v1.EntryKind` in lower case without its prefix."""
_BASE64_OF_32 = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
"""The one base64 of 32 bytes: the last character's two bits beyond them are zero."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESERVED = frozenset({"v", "kind", "at", "exchange", "private", "beside"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an end writes to its log.

    `public` fields stand in the log as they are; `private` ones as commitments, their openings in the end's
    `state.db`. `attachments` are envelopes kept as evidence beside the openings, by name; the entry itself
    doesn't hold them. None of the two appears in `repr`.
    """

    kind: str
    at: datetime
    exchange: bytes | None = None
    public: Mapping[str, JsonValue] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict, repr=False)
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise EntryInvalid(f"entry: kind `{self.kind}` is not one of {', '.join(sorted(KINDS))}")
        if self.at.tzinfo is None:
            raise EntryInvalid(f"entry `{self.kind}`: its time has no zone")
        if taken := _RESERVED & self.public.keys():
            raise EntryInvalid(f"entry `{self.kind}`: public field `{min(taken)}` is a name that entries use")
        if self.exchange is not None and not 1 <= len(self.exchange) <= 64:
            raise EntryInvalid(f"entry `{self.kind}`: an exchange id has 1 to 64 bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Salt (32 bytes) and value behind one commitment. Neither appears in `repr`."""

    name: str
    salt: bytes = field(repr=False)
    value: str = field(repr=False)

    @property
    def commitment(self) -> bytes:
        """HMAC-SHA256(salt, RFC 8785 of [name, value]), 32 bytes."""
        return commitment(self.name, self.value, self.salt)


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideValue:
    """What an entry says of a public value that is stored beside the log: SHA-256 and length of its JSON."""

    digest: bytes
    size: int

    @property
    def file(self) -> str:
        """The name of the file that holds it."""
        return self.digest.hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEntry:
    """An entry as its log holds it, with what opens it and what is kept beside it."""

    kind: str
    at_ms: int
    exchange: bytes | None
    leaf: bytes
    openings: tuple[Opening, ...] = field(default=(), repr=False)
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    beside: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """Values to be stored beside the log, by their SHA-256, before the entry is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEntry:
    """An entry read back from a log: commitments (32 bytes) in place of private values.

    `beside` names public values that aren't in `public` unless they were fetched (`comity.audit.beside`).
    """

    kind: str
    at: datetime
    exchange: bytes | None
    public: Mapping[str, JsonValue]
    commitments: Mapping[str, bytes]
    beside: Mapping[str, BesideValue] = field(default_factory=dict)

    def open(self, opening: Opening) -> str:
        """Return the value that an opening proves to be behind its commitment. Raises `OpeningInvalid`."""
        committed = self.commitments.get(opening.name)
        if committed is None:
            raise OpeningInvalid(f"entry `{self.kind}`: it has no private field `{opening.name}`")
        if not hmac.compare_digest(committed, opening.commitment):
            raise OpeningInvalid(
                f"entry `{self.kind}`: salt and value don't open the commitment of `{opening.name}`"
            )
        return opening.value


def commitment(name: str, value: str, salt: bytes) -> bytes:
    """Return HMAC-SHA256(salt, RFC 8785 of [name, value]), which is written here without a detour."""
    text = f"[{encode_basestring(name)},{encode_basestring(value)}]"
    return hmac.digest(salt, text.encode(), "sha256")


def fresh_salt() -> bytes:
    """Return 32 random bytes from the operating system."""
    return secrets.token_bytes(SALT_BYTES)


def seal_entry(entry: Entry, salt: Callable[[], bytes] = fresh_salt) -> SealedEntry:
    """Return the entry as its log will hold it, each private field under a fresh salt.

    Of one that would be longer than 65,535 bytes, the largest public values go beside it. Raises
    `EntryInvalid` if it can't be written as RFC 8785 JSON, if what is left is still longer, or if more than
    16 MiB would stand beside it.
    """
    try:
        return _seal(entry, salt)
    except (ValueError, RecursionError):
        raise EntryInvalid(f"entry `{entry.kind}`: a field cannot be written as RFC 8785 JSON") from None


def _seal(entry: Entry, salt: Callable[[], bytes]) -> SealedEntry:
    openings = tuple(Opening(name=name, salt=salt(), value=value) for name, value in entry.private.items())
    at_ms = to_milliseconds(entry.at)
    record: dict[str, JsonValue] = {**entry.public, "v": 1, "kind": entry.kind, "at": at_ms}
    if entry.exchange is not None:
        record["exchange"] = entry.exchange.hex()
    if openings:
        record["private"] = {o.name: base64.b64encode(o.commitment).decode() for o in openings}
    leaf, beside = canonical(record), dict[bytes, bytes]()
    if len(leaf) > MAX_ENTRY_BYTES:
        leaf, beside = _put_beside(entry, record, len(leaf))
    return SealedEntry(
        kind=entry.kind,
        at_ms=at_ms,
        exchange=entry.exchange,
        leaf=leaf,
        openings=openings,
        attachments=entry.attachments,
        beside=beside,
    )


def _put_beside(entry: Entry, record: dict[str, JsonValue], size: int) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the bytes of an entry whose largest public values were taken out, and these by digest."""
    values = {name: canonical(value) for name, value in entry.public.items()}
    named: dict[str, JsonValue] = {}
    beside: dict[bytes, bytes] = {}
    leaf = b""
    for name in sorted(values, key=lambda each: (-len(values[each]), each)):
        data = values[name]
        if len(data) < _MIN_BESIDE_BYTES:
            break
        digest = sha256(data).digest()
        beside[digest] = data
        if sum(map(len, beside.values())) > MAX_BESIDE_BYTES:
            raise EntryInvalid(
                f"entry `{entry.kind}`: {size} bytes, where {MAX_BESIDE_BYTES} can stand beside an entry"
            )
        del record[name]
        named[name] = {"bytes": len(data), "sha256": digest.hex()}
        leaf = canonical({**record, "beside": named})
        if len(leaf) <= MAX_ENTRY_BYTES:
            return leaf, beside
    raise EntryInvalid(
        f"entry `{entry.kind}`: {len(leaf) or size} bytes, where {MAX_ENTRY_BYTES} fit in a log"
    )


def parse_entry(leaf: bytes) -> LoggedEntry:
    """Read an entry from its bytes in a log; they must be canonical RFC 8785. Raises `EntryInvalid`."""
    record = _object(leaf)
    if not _is_canonical(record, leaf):
        raise EntryInvalid("entry: it is not in canonical form (RFC 8785)")
    return _entry(record)


def read_entry(leaf: bytes) -> LoggedEntry:
    """Read an entry as `parse_entry` does, for bytes that a checked root covers: their form isn't judged.

    Much quicker; for reading a log, where `comity audit verify` judges the form. Raises `EntryInvalid`.
    """
    return _entry(_object(leaf))


def parse_json(data: bytes) -> JsonValue:
    """Return the JSON value in bytes, in which no name stands twice. Raises `EntryInvalid`."""
    try:
        value: JsonValue = _DECODER.decode(str(data, "utf-8"))
    except (ValueError, RecursionError) as problem:
        raise EntryInvalid("entry: it is not JSON") from problem
    return value


def _object(leaf: bytes) -> dict[str, JsonValue]:
    record = parse_json(leaf)
    if not isinstance(record, dict):
        raise EntryInvalid("entry: it is not a JSON object")
    return record


def _entry(record: dict[str, JsonValue]) -> LoggedEntry:
    version, kind, at = record.pop("v", None), record.pop("kind", None), record.pop("at", None)
    if version != 1 or version is True:
        raise EntryInvalid("entry: `v` is not 1")
    if not isinstance(kind, str) or kind not in KINDS:
        raise EntryInvalid("entry: `kind` is not a known kind of entry")
    if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < 1 << 47:
        raise EntryInvalid(f"entry `{kind}`: `at` is not a time in milliseconds since 1970")
    return LoggedEntry(
        kind=kind,
        at=from_milliseconds(at),
        exchange=_exchange(record.pop("exchange", None), kind),
        public=record,
        commitments=_commitments(record.pop("private", None), kind),
        beside=_beside(record.pop("beside", None), kind, record.keys()),
    )


def to_milliseconds(at: datetime) -> int:
    """Return an aware time as whole milliseconds since 1970, UTC."""
    return int(at.timestamp() * 1000 + 0.5)


def from_milliseconds(at: int) -> datetime:
    """Return the UTC time of milliseconds since 1970."""
    return datetime.fromtimestamp(at / 1000, tz=UTC)


def _is_canonical(record: dict[str, JsonValue], leaf: bytes) -> bool:
    """Ask the second implementation: what was written by ours is checked by one that isn't."""
    try:
        return rfc8785.dumps(record) == leaf
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError):
        return False


def object_without_doubles(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    """Return a JSON object, for `object_pairs_hook`; raise `ValueError` if a name stands twice in it."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a name stands twice")
    return record


_DECODER = json.JSONDecoder(object_pairs_hook=object_without_doubles)


def _exchange(value: JsonValue, kind: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str) or not 2 <= len(value) <= 128 or value.lower() != value:
        raise EntryInvalid(f"entry `{kind}`: `exchange` is not 1 to 64 bytes in lower-case hex")
    try:
        return bytes.fromhex(value)
    except ValueError as problem:
        raise EntryInvalid(f"entry `{kind}`: `exchange` is not hex") from problem


def _beside(value: JsonValue, kind: str, public: Collection[str]) -> dict[str, BesideValue]:
    if value is None:
        return {}
    wrong = EntryInvalid(f"entry `{kind}`: `beside` doesn't name digests and lengths of other public fields")
    if not isinstance(value, dict) or not value or value.keys() & (_RESERVED | set(public)):
        raise wrong
    found: dict[str, BesideValue] = {}
    for name, each in value.items():
        if not isinstance(each, dict) or each.keys() != {"bytes", "sha256"}:
            raise wrong
        size, digest = each["bytes"], each["sha256"]
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_BESIDE_BYTES:
            raise wrong
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise wrong
        found[name] = BesideValue(digest=bytes.fromhex(digest), size=size)
    return found


def _commitments(value: JsonValue, kind: str) -> dict[str, bytes]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise EntryInvalid(f"entry `{kind}`: `private` is not an object")
    commitments: dict[str, bytes] = {}
    for name, encoded in value.items():
        if not isinstance(encoded, str) or not _BASE64_OF_32.fullmatch(encoded):
            raise EntryInvalid(f"entry `{kind}`: commitment `{name}` is not 32 bytes in base64")
        commitments[name] = binascii.a2b_base64(encoded)
    return commitments
