"""Entries: canonical, closed without their openings, and opened only by the true ones (L1)."""

import hashlib
import hmac
import json
from datetime import datetime

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit.canonical import MAX_INTEGER, canonical
from comity.audit.entry import KINDS, Entry, Opening, commitment, parse_entry, seal_entry
from comity.audit.errors import EntryInvalid, OpeningInvalid
from tests.support.logs import NOON, asked

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=100)
def test_canonical_form_is_that_of_another_implementation(value: object) -> None:
    """What is written quickly here is, byte for byte, what the rfc8785 package writes (RFC 8785)."""
    try:
        expected = rfc8785.dumps(value)  # type: ignore[arg-type]
    except UnicodeEncodeError:
        with pytest.raises(ValueError):
            canonical(value)  # type: ignore[arg-type]
        return
    assert canonical(value) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1.5, MAX_INTEGER + 1, b"x", {1: 2}, "\ud800"])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """Fractions, numbers that readers round, bytes and lone surrogates never reach a log."""
    with pytest.raises(EntryInvalid):
        seal_entry(Entry(kind="asked", at=NOON, public={"field": value}))  # type: ignore[dict-item]


def test_an_entry_reads_back_as_written() -> None:
    """Kind, time, exchange and public fields survive; private ones come back as commitments."""
    sealed = seal_entry(asked(7))
    entry = parse_entry(sealed.leaf)
    assert (entry.kind, entry.at, entry.exchange) == ("asked", NOON, (7).to_bytes(16, "big"))
    assert entry.public == {"agency": "sheriff", "peer": "lapd", "number": 7}
    assert entry.commitments.keys() == {"plate", "case"}


def test_no_private_value_and_no_salt_stands_in_the_entry() -> None:
    """The leaf holds commitments alone: no plate, no case, no salt, in no encoding that we use."""
    sealed = seal_entry(asked(7))
    for opening in sealed.openings:
        for secret in (opening.value.encode(), opening.salt, opening.salt.hex().encode()):
            assert secret not in sealed.leaf


def test_the_same_plate_gives_other_commitments_each_time() -> None:
    """A fresh salt for every field of every entry: entries about one plate can't be linked."""
    first, second = (parse_entry(seal_entry(asked(7)).leaf) for _ in range(2))
    assert first.commitments["plate"] != second.commitments["plate"]


def test_private_values_are_in_no_repr() -> None:
    """Neither an entry nor an opening shows a plate when it is printed."""
    sealed = seal_entry(asked(7))
    assert "8ABC" not in repr(asked(7)) + repr(sealed) + repr(sealed.openings)
    assert "signed order" not in repr(asked(7)) + repr(sealed)


def test_a_true_opening_opens() -> None:
    """Salt and value of the write-ahead record open the commitment in the log."""
    sealed = seal_entry(asked(7))
    entry = parse_entry(sealed.leaf)
    assert {o.name: entry.open(o) for o in sealed.openings} == {"plate": "8ABC007", "case": "26-0417"}


@pytest.mark.parametrize(
    "change", [{"value": "8ABC008"}, {"salt": bytes(32)}, {"name": "case"}, {"name": "user"}]
)
def test_a_false_opening_never_opens(change: dict[str, object]) -> None:
    """Another value, salt or field is no opening."""
    sealed = seal_entry(asked(7))
    plate = next(o for o in sealed.openings if o.name == "plate")
    fields = {"name": plate.name, "salt": plate.salt, "value": plate.value}
    with pytest.raises(OpeningInvalid):
        parse_entry(sealed.leaf).open(Opening(**{**fields, **change}))  # type: ignore[arg-type]


def test_a_commitment_has_its_published_value() -> None:
    """HMAC-SHA256 under 32 zero bytes over `["plate","8ABC123"]`, as Python's own hmac and json make it."""
    made = commitment("plate", "8ABC123", bytes(32))
    assert made.hex() == "5a2991f70e5ed953baee956a3a5b1572f523a4be7c2707d290c5f17679290d6f"
    message = json.dumps(["plate", "8ABC123"], separators=(",", ":")).encode()
    assert made == hmac.new(bytes(32), message, hashlib.sha256).digest()


@pytest.mark.parametrize(
    "leaf",
    [
        b"",
        b"[]",
        b'{"v":1}',
        b'{"at":1,"kind":"asked","v":2}',
        b'{"at":1,"kind":"asked","v":true}',
        b'{"at":1,"kind":"unheard","v":1}',
        b'{"at":1.5,"kind":"asked","v":1}',
        b'{"at":-1,"kind":"asked","v":1}',
        b'{"at":1, "kind":"asked","v":1}',
        b'{"kind":"asked","at":1,"v":1}',
        b'{"at":1,"at":1,"kind":"asked","v":1}',
        b'{"at":1,"exchange":"AB","kind":"asked","v":1}',
        b'{"at":1,"exchange":"a","kind":"asked","v":1}',
        b'{"at":1,"kind":"asked","private":{"plate":"8ABC123"},"v":1}',
        b'{"at":1,"kind":"asked","private":[],"v":1}',
    ],
)
def test_bytes_that_are_no_entry_are_refused(leaf: bytes) -> None:
    """Only canonical RFC 8785 with the known fields is an entry."""
    with pytest.raises(EntryInvalid):
        parse_entry(leaf)


def test_an_entry_that_no_bundle_can_hold_is_refused() -> None:
    """65,535 bytes is the most that an entry bundle can tell (C2SP tlog-tiles); names don't go beside it."""
    with pytest.raises(EntryInvalid, match="65535"):
        seal_entry(Entry(kind="asked", at=NOON, public={"x" * 65_535: "text"}))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "unheard"},
        {"kind": "asked", "public": {"private": "x"}},
        {"kind": "asked", "public": {"at": 1}},
        {"kind": "asked", "exchange": b""},
        {"kind": "asked", "at": datetime(2026, 3, 2)},
    ],
)
def test_an_entry_that_cannot_be_is_not_built(fields: dict[str, object]) -> None:
    """Unknown kinds, names that entries use themselves, and times without a zone are refused at once."""
    with pytest.raises(EntryInvalid):
        Entry(**{"at": NOON, **fields})  # type: ignore[arg-type]


def test_kinds_are_those_of_the_contract() -> None:
    """The kinds of entries are `comity.v1.EntryKind`."""
    assert {"asked", "decided", "checkpoint_seen"} <= KINDS
    assert "unspecified" not in KINDS


def test_the_leaf_is_plain_json() -> None:
    """Anybody's JSON reader can read an entry."""
    assert json.loads(seal_entry(asked(1)).leaf)["kind"] == "asked"


@pytest.mark.parametrize(
    "spoiled",
    ["A" * 42 + "B=", "A" * 44, "A" * 43 + "==", "A" * 40 + "=", " " * 43 + "=", "_" * 43 + "="],
)
def test_commitment_has_one_form(spoiled: str) -> None:
    """32 bytes as RFC 4648 writes them; bits beyond them, another alphabet or length are refused."""
    record = {"at": 1, "kind": "asked", "private": {"plate": "A" * 43 + "="}, "v": 1}
    assert parse_entry(rfc8785.dumps(record)).commitments == {"plate": bytes(32)}
    with pytest.raises(EntryInvalid, match="commitment `plate` is not 32 bytes in base64"):
        parse_entry(rfc8785.dumps({**record, "private": {"plate": spoiled}}))
