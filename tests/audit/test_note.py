"""Signed notes and checkpoints: the published example, round trips, and notes that must not open."""

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit.checkpoint import Checkpoint, open_checkpoint
from comity.audit.errors import CheckpointInvalid, NoteInvalid
from comity.audit.merkle import EMPTY_ROOT, leaf_hash
from comity.audit.note import LogKey, VerifierKey, open_note, sign_note
from comity.certs.errors import FileExposed

# The note and key in the documentation of Go's golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6"
    "RyyBwJnAM=\n"
)

names = st.from_regex(r"[a-z][a-z0-9.]{0,12}(/[a-z]{1,8})?", fullmatch=True)
texts = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="".join(map(chr, range(32)))),
    max_size=40,
).map(lambda text: text + "x\n")
KEY = LogKey.generate("lapd.example/adapter")


def test_the_published_note_opens() -> None:
    """The example of Go's sumdb/note verifies, so key hash, encoding and signed bytes are the common ones."""
    note = (GO_TEXT + "\n" + GO_SIGNATURE).encode()
    assert open_note(note, [GO_KEY]).text == GO_TEXT


def test_the_published_note_with_one_letter_changed_does_not_open() -> None:
    """A changed text under a known key rejects the note."""
    note = (GO_TEXT.replace("problem is", "problem was") + "\n" + GO_SIGNATURE).encode()
    with pytest.raises(NoteInvalid, match="does not verify"):
        open_note(note, [GO_KEY])


@given(names, texts)
@settings(max_examples=40)
def test_what_is_signed_opens_with_its_key_and_no_other(name: str, text: str) -> None:
    """A note gives its text to whoever knows the key, and to nobody else."""
    key = LogKey.generate(name)
    note = sign_note(text, key)
    assert open_note(note, [key.verifier_key]).text == text
    with pytest.raises(NoteInvalid, match="no known key"):
        open_note(note, [LogKey.generate(name).verifier_key])


@given(st.data())
@settings(max_examples=100)
def test_a_changed_byte_never_opens_as_another_text(data: st.DataObject) -> None:
    """Whatever byte of a note is changed: it is refused, or its text is the one that was signed."""
    text = "lapd.example/adapter\n57\nroot\n"
    note = bytearray(sign_note(text, KEY))
    place = data.draw(st.integers(0, len(note) - 1))
    note[place] ^= data.draw(st.integers(1, 255))
    try:
        opened = open_note(bytes(note), [KEY.verifier_key])
    except NoteInvalid:
        return
    assert opened.text == text


def test_signatures_of_strangers_are_ignored() -> None:
    """A further signature line, of a witness for example, is no reason to refuse a note."""
    other = LogKey.generate("witness.example")
    note = sign_note("text\n", other, KEY)
    assert [key.name for key in open_note(note, [KEY.verifier]).signers] == [KEY.origin]


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash x AAAA\n",
        b"\xff\n\n",
        "text\n\n— lapd.example/adapter AAA\n".encode(),
        "text\n\n— lapd.example/adapter\n".encode(),
        "te\x01xt\n\n— a AAAAAAAA\n".encode(),
    ],
)
def test_malformed_notes_are_refused(note: bytes) -> None:
    """What isn't a note in its one right form raises, with no signature looked at."""
    with pytest.raises(NoteInvalid):
        open_note(note, [KEY.verifier])


def test_a_doubled_signature_is_refused() -> None:
    """Two signature lines of one key reject the note (C2SP signed-note)."""
    note = sign_note("text\n", KEY)
    with pytest.raises(NoteInvalid, match="two signatures"):
        open_note(note + note.rpartition(b"\n\n")[2], [KEY.verifier])


@pytest.mark.parametrize(
    "line", ["", "a", "a+b", "a b+00000000+AQ==", GO_KEY[:-4] + "10TX", GO_KEY.replace("c7", "c8")]
)
def test_a_verifier_key_that_is_not_one_is_refused(line: str) -> None:
    """Form, key type and hash of a verifier key line are checked."""
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(line)


def test_a_log_key_survives_its_file(tmp_path: Path) -> None:
    """A key that was saved signs as before."""
    KEY.save(tmp_path / "log.key")
    loaded = LogKey.load(tmp_path / "log.key", KEY.origin)
    assert loaded.verifier_key == KEY.verifier_key
    assert sign_note("text\n", loaded) == sign_note("text\n", KEY)


def test_a_log_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A private key with a mode wider than 0600 isn't used."""
    KEY.save(tmp_path / "log.key")
    (tmp_path / "log.key").chmod(0o644)
    with pytest.raises(FileExposed):
        LogKey.load(tmp_path / "log.key", KEY.origin)


def test_a_log_key_is_not_in_its_repr() -> None:
    """Neither `repr` nor an error shows a private key."""
    assert "PRIVATE" not in repr(KEY)


@given(st.integers(0, 1 << 62), st.binary(max_size=8))
@settings(max_examples=40)
def test_checkpoints_survive_signing(size: int, seed: bytes) -> None:
    """A checkpoint opens as what was signed."""
    root = leaf_hash(seed) if size else EMPTY_ROOT
    checkpoint = Checkpoint(origin=KEY.origin, size=size, root=root)
    opened = open_checkpoint(checkpoint.sign(KEY), origin=KEY.origin, verifier_keys=[KEY.verifier_key])
    assert opened == checkpoint


@pytest.mark.parametrize("size", ["01", "-1", "", "1e3", "٣", "99999999999999999999", " 1"])
def test_a_size_that_is_not_a_plain_decimal_is_refused(size: str) -> None:
    """C2SP tlog-checkpoint: decimal, no leading zeroes."""
    root = base64.b64encode(leaf_hash(b"")).decode()
    with pytest.raises(CheckpointInvalid):
        Checkpoint.parse(f"{KEY.origin}\n{size}\n{root}\n")


def test_a_checkpoint_of_another_origin_is_refused() -> None:
    """A key named like the origin must sign that origin's checkpoint, not another's."""
    note = sign_note(Checkpoint(origin="other.example/adapter", size=1, root=leaf_hash(b"")).text, KEY)
    with pytest.raises(CheckpointInvalid, match="was expected"):
        open_checkpoint(note, origin=KEY.origin, verifier_keys=[KEY.verifier])
