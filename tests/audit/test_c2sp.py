"""Each point of the C2SP texts that others' tools rely on, by text and section (L2).

What we write is compared byte by byte with what a writer that the project did not write makes of the same
entries and the same key; what it reads of ours is in the same tests.
"""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, open_checkpoint
from comity.audit.cosignature import Cosigner, cosign, cosignatures, with_cosignatures
from comity.audit.entry import MAX_ENTRY_BYTES
from comity.audit.errors import NoteInvalid, ProofInvalid, TileInvalid, TrustInvalid
from comity.audit.log import SignedLog
from comity.audit.note import LogKey, open_note, sign_note, signature_line
from comity.audit.policy_file import parse_policy
from comity.audit.proofs import TreeProver
from comity.audit.tiles import (
    TILE_WIDTH,
    Edge,
    TileFolder,
    TileName,
    decode_bundle,
    edge_names,
    encode_bundle,
)
from comity.audit.tlog_proof import MAGIC, SUFFIX, TlogProof
from tests.support.logs import NOON, asked, noon
from tests.support.second_writer import second_writer

ORIGIN = "lapd.example/adapter"
SEED = bytes(range(32))
KEY = LogKey(Ed25519PrivateKey.from_private_bytes(SEED), ORIGIN)
OTHER = LogKey.generate("operator.example/broker")


def files_in(folder: Path) -> dict[str, bytes]:
    """All files of a log but `vkey`, which is none of C2SP's."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "vkey")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def in_base64(leaves: list[bytes]) -> list[str]:
    return [base64.b64encode(leaf).decode() for leaf in leaves]


def differing(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    return sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))


# --- tlog-tiles --------------------------------------------------------------------------------------------


async def test_tlog_tiles_a_log_is_byte_for_byte_what_another_writer_makes(tmp_path: Path) -> None:
    """Checkpoints, Merkle Tree, Partial Tiles, Log entries: the same files with the same bytes, and no other.

    The sizes are those around a full tile; the other implementation reads our folder too, and its tlog-proof
    files are ours.
    """
    sizes = [1, 2, 255, 256, 257, 511, 512, 600]
    log = await SignedLog.open(tmp_path / "ours", origin=ORIGIN, key=KEY, clock=noon)
    start = 0
    for size in sizes:
        await log.append(*[asked(number) for number in range(start, size)])
        await log.publish()
        start = size
    await log.close()
    ours = tmp_path / "ours/log"
    leaves = [leaf for _, leaf in TileFolder(ours).all_entries(600)]
    theirs = tmp_path / "theirs"
    second_writer(
        do="write", folder=str(theirs), origin=ORIGIN, seed=SEED.hex(), leaves=in_base64(leaves), sizes=sizes
    )
    assert differing(files_in(ours), files_in(theirs)) == []
    indexes = [0, 255, 256, 511, 599]
    read = second_writer(
        do="read", folder=str(ours), vkeys=[KEY.verifier_key], indexes=indexes, old_sizes=sizes[:-1]
    )
    assert (read["size"], read["signers"]) == (600, [KEY.verifier_key])
    prover, note = TreeProver(TileFolder(ours), 600), (ours / "checkpoint").read_bytes()
    proofs = [TlogProof(index=i, path=tuple(prover.inclusion(i)), checkpoint=note) for i in indexes]
    assert [proof.encode().decode() for proof in proofs] == read["proofs"]


def test_tlog_tiles_the_third_level_is_byte_for_byte_what_another_writer_makes(tmp_path: Path) -> None:
    """The same at 65,535, 65,536 and 65,537 entries, where a tile of level 1 is full and level 2 begins."""
    leaves = [b"%d" % number for number in range(65_537)]
    ours: dict[str, bytes] = {}
    edge, start = Edge(), 0
    sizes = [65_535, 65_536, 65_537]
    for size in sizes:
        edge, files = edge.extend(leaves[start:size])
        start = size
        ours |= files
        full = [path for path in files if TileName.parse(path).width == TILE_WIDTH]
        ours = {
            path: data for path, data in ours.items() if path.partition(".p/")[0] not in full or path in full
        }
    ours["checkpoint"] = Checkpoint(origin=ORIGIN, size=edge.size, root=edge.root).sign(KEY)
    theirs = tmp_path / "theirs"
    second_writer(
        do="write", folder=str(theirs), origin=ORIGIN, seed=SEED.hex(), leaves=in_base64(leaves), sizes=sizes
    )
    assert differing(ours, files_in(theirs)) == []
    assert {path for path in ours if path.startswith("tile/2")} == {"tile/2/000.p/1"}


@pytest.mark.parametrize(
    ("size", "paths"),
    [
        (1, ["tile/entries/000.p/1", "tile/0/000.p/1"]),
        (255, ["tile/entries/000.p/255", "tile/0/000.p/255"]),
        (256, ["tile/1/000.p/1"]),
        (257, ["tile/entries/001.p/1", "tile/0/001.p/1", "tile/1/000.p/1"]),
        (65_535, ["tile/entries/255.p/255", "tile/0/255.p/255", "tile/1/000.p/255"]),
        (65_536, ["tile/2/000.p/1"]),
        (70_000, ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]),
        (256**3, ["tile/3/000.p/1"]),
    ],
)
def test_tlog_tiles_partial_tiles_are_those_of_the_text(size: int, paths: list[str]) -> None:
    """Partial Tiles: `floor(s / 256**l) mod 256` entries a level; the text's own example is 70,000."""
    assert [name.path for name in edge_names(size)] == paths


def test_tlog_tiles_empty_tiles_are_never_there() -> None:
    """Partial Tiles: "Empty tiles MUST NOT be served": no size has one, and size 0 has no tile at all."""
    assert edge_names(0) == []
    assert all(name.width for size in range(0, 70_000, 251) for name in edge_names(size))


def test_tlog_tiles_a_bundle_takes_entries_of_every_length_of_16_bits() -> None:
    """Log entries: "big-endian uint16 length-prefixed", so 0 to 65,535 bytes and not one more."""
    entries = [b"", b"x", bytes(256), bytes(MAX_ENTRY_BYTES)]
    data = encode_bundle(entries)
    assert data[:2] == b"\x00\x00" and data[5:7] == b"\x01\x00" and data[263:265] == b"\xff\xff"
    assert decode_bundle(data) == entries
    with pytest.raises(TileInvalid):
        encode_bundle([bytes(MAX_ENTRY_BYTES + 1)])


def test_tlog_tiles_a_tree_of_level_one_is_of_full_tiles_alone() -> None:
    """Merkle Tree: "each hash in a tile is the Merkle Tree Hash of a *full* tile at the level below"."""
    leaves = [b"%d" % number for number in range(700)]
    _, files = Edge().extend(leaves)
    roots = [merkle.root_of(leaves[start : start + 256]) for start in (0, 256)]
    assert files["tile/1/000.p/2"] == b"".join(roots)


# --- tlog-checkpoint ---------------------------------------------------------------------------------------


def test_tlog_checkpoint_extension_lines_are_read_over_and_never_empty() -> None:
    """Note text, 4: "opaque and OPTIONAL. Extension lines, if any, MUST be non-empty"."""
    checkpoint = Checkpoint(origin=ORIGIN, size=5, root=merkle.leaf_hash(b"x"))
    note = sign_note(checkpoint.text + "more words\nand more\n", KEY)
    assert open_checkpoint(note, origin=ORIGIN, verifier_keys=[KEY.verifier]) == checkpoint
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(checkpoint.text + "\nmore\n")


@pytest.mark.parametrize(
    "text",
    [
        "\n0\n{root}\n",
        "o\n00\n{root}\n",
        "o\n-1\n{root}\n",
        "o\n+1\n{root}\n",
        "o\n1\n\n",
        "o\n1\n",
        "o\n١\n{root}\n",
    ],
    ids=["origin", "zeros", "negative", "plus", "root", "two-lines", "digits"],
)
def test_tlog_checkpoint_three_lines_in_their_one_form(text: str) -> None:
    """Note text, 1 to 3: origin not empty, "ASCII decimal … no leading zeroes", base64 of the root."""
    root = base64.b64encode(merkle.leaf_hash(b"x")).decode()
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text.format(root=root))


# --- signed-note -------------------------------------------------------------------------------------------


def test_signed_note_sixteen_signatures_are_read_and_unknown_ones_ignored() -> None:
    """Format: "MUST accept at least up to 16 signatures"; Signatures: "MUST ignore" those of unknown keys.

    Also where the name or the id alone is known, and where the signature is as large as a post-quantum one.
    """
    text = "words\n"
    lines = [signature_line(f"stranger.example/{number}", bytes([number] * 68)) for number in range(13)]
    lines.append(signature_line(ORIGIN, b"\x00\x00\x00\x00" + bytes(64)))
    lines.append(signature_line("stranger.example/id", KEY.verifier.hash + bytes(64)))
    lines.append(signature_line("stranger.example/pq", b"\x01\x02\x03\x04" + bytes(5_000)))
    note = sign_note(text, KEY).replace(b"\n\n", b"\n\n" + b"".join(lines))
    opened = open_note(note, [KEY.verifier])
    assert (opened.text, opened.signers) == (text, (KEY.verifier,))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u3000b", "a\u2028b", "a\tb"])
def test_signed_note_key_names_hold_no_space_and_no_plus(name: str) -> None:
    """Format: "non-empty and MUST NOT contain any Unicode spaces or plus (U+002B) characters"."""
    line = f"— {name} {base64.b64encode(bytes(68)).decode()}\n".encode()
    with pytest.raises(NoteInvalid):
        open_note(sign_note("words\n", KEY) + line, [KEY.verifier])


@pytest.mark.parametrize("text", ["a\n\nb\n", "a\n\n", "\na\n"])
def test_signed_note_the_last_empty_line_parts_text_and_signatures(text: str) -> None:
    """Format: "The note text MAY contain empty lines; the text is separated … by the last empty line"."""
    assert open_note(sign_note(text, KEY), [KEY.verifier]).text == text


@pytest.mark.parametrize("character", ["\r", "\t", "\x00", "\x1f"])
def test_signed_note_control_characters_are_refused(character: str) -> None:
    """Format: "MUST NOT contain any ASCII control characters (those below U+0020) other than newline"."""
    note = sign_note("words\n", KEY).replace(b"words", f"wor{character}ds".encode())
    with pytest.raises(NoteInvalid, match="control characters"):
        open_note(note, [KEY.verifier])


def test_signed_note_key_files_hold_the_key_that_signs() -> None:
    """Ed25519 signatures: RFC 8032 over the text, by the 32 bytes that the verifier key names."""
    public = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    assert KEY.verifier.public_key == raw
    note = sign_note("words\n", KEY)
    material = base64.b64decode(note.split(b" ")[-1])
    assert material[:4] == KEY.verifier.hash
    public.verify(material[4:], b"words\n")


# --- tlog-cosignature --------------------------------------------------------------------------------------


def test_tlog_cosignature_a_second_implementation_knows_log_and_cosigner(tmp_path: Path) -> None:
    """Format: a line of type 4 with 8 bytes of time, over `cosignature/v1`, the time and the whole text."""
    edge, files = Edge().extend([b"one", b"two"])
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    note = Checkpoint(origin=ORIGIN, size=2, root=edge.root).sign(KEY)
    cosigned = with_cosignatures(note, [cosign(note, OTHER, NOON)])
    (tmp_path / "checkpoint").write_bytes(cosigned)
    cosigner = Cosigner(key=OTHER.verifier)
    read = second_writer(
        do="read", folder=str(tmp_path), vkeys=[KEY.verifier_key, cosigner.line], indexes=[0], old_sizes=[1]
    )
    assert read["signers"] == sorted([KEY.verifier_key, cosigner.line])
    assert [one.at for one in cosignatures(cosigned, [cosigner])] == [NOON]


# --- tlog-proof --------------------------------------------------------------------------------------------


def proof_of(count: int, index: int, extra: bytes | None) -> bytes:
    leaves = [b"%d" % number for number in range(count)]
    path = merkle.inclusion_path([merkle.leaf_hash(leaf) for leaf in leaves], index)
    note = Checkpoint(origin=ORIGIN, size=count, root=merkle.root_of(leaves)).sign(KEY)
    return TlogProof(index=index, path=tuple(path), checkpoint=note, extra=extra).encode()


@pytest.mark.parametrize("extra", [None, b"", b"words"])
@pytest.mark.parametrize(("count", "index"), [(1, 0), (2, 1), (5, 4), (8, 0)])
def test_tlog_proof_its_lines_stand_in_their_order(count: int, index: int, extra: bytes | None) -> None:
    """Format: first line, `extra` only if there is some, `index`, hashes, an empty line, the checkpoint."""
    data = proof_of(count, index, extra)
    head, _, checkpoint = data.decode().partition("\n\n")
    lines = head.split("\n")
    assert lines[0] == MAGIC == "c2sp.org/tlog-proof@v1" and SUFFIX == ".tlog-proof"
    assert (lines[1] == f"extra {base64.b64encode(extra).decode()}") if extra is not None else True
    assert lines[1 if extra is None else 2] == f"index {index}"
    read = TlogProof.parse(data)
    assert (read.extra, read.index, read.checkpoint.decode()) == (extra, index, checkpoint)
    read.verify(leaf_hash=merkle.leaf_hash(b"%d" % index), origin=ORIGIN, verifier_keys=[KEY.verifier])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"index 4", b"index 04"),
        (b"index 4", b"index +4"),
        (b"index 4\n", b""),
        (b"extra ", b"Extra "),
        (b"extra d29yZHM=\nindex 4", b"index 4\nextra d29yZHM="),
        (b"\n\n", b"\n"),
        (b"\n", b"\r\n"),
    ],
    ids=["version", "zero", "plus", "no-index", "capital", "order", "no-empty-line", "crlf"],
)
def test_tlog_proof_another_form_is_refused(old: bytes, new: bytes) -> None:
    """Format: one spelling of each line, so that two readers never see two proofs in one file."""
    data = proof_of(5, 4, b"words").replace(old, new, -1 if old == b"\n" else 1)
    with pytest.raises((ProofInvalid, NoteInvalid)):
        TlogProof.parse(data).verify(
            leaf_hash=merkle.leaf_hash(b"4"), origin=ORIGIN, verifier_keys=[KEY.verifier]
        )


def test_tlog_proof_cosignatures_stay_with_the_checkpoint() -> None:
    """Format: "the checkpoint issued by the log is included verbatim", its cosignatures among it."""
    note = Checkpoint(origin=ORIGIN, size=1, root=merkle.root_of([b"0"])).sign(KEY)
    cosigned = with_cosignatures(note, [cosign(note, OTHER, NOON)])
    read = TlogProof.parse(TlogProof(index=0, path=(), checkpoint=cosigned).encode())
    assert read.checkpoint == cosigned
    read.verify(leaf_hash=merkle.leaf_hash(b"0"), origin=ORIGIN, verifier_keys=[KEY.verifier])


# --- tlog-policy -------------------------------------------------------------------------------------------


def cosigner_line(name: str) -> str:
    return Cosigner(key=LogKey.generate(name).verifier).line


def test_tlog_policy_the_example_of_the_text_decides_as_it_says() -> None:
    """Example policy: two of three X and any of three Y; groups in groups, tabs, comments, URLs."""
    names = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
    witnesses = [
        f"witness {name}\t {cosigner_line('w.example/' + name)}  https://w.example/" for name in names
    ]
    text = "\n".join(
        [
            "  # a comment",
            f"log {KEY.verifier_key} https://lapd.example/",
            *witnesses[:3],
            "group X-witnesses 2 X1 X2 X3",
            " \t ",
            *witnesses[3:],
            "\tgroup Y-witnesses any Y1 Y2 Y3",
            "group X-and-Y all X-witnesses Y-witnesses",
            "quorum X-and-Y",
        ]
    )
    policy = parse_policy(text.encode())
    assert policy.logs == (KEY.verifier,)
    for met, by in ((True, "X1 X3 Y2"), (False, "X1 Y1 Y2 Y3"), (False, "X1 X2 X3"), (True, " ".join(names))):
        assert policy.is_met(by.split()) is met


def test_tlog_policy_has_room_for_thirty_two_of_each() -> None:
    """Implementation limits: "at least up to 32 logs, 32 witnesses, and 32 groups"."""
    lines = [f"log {LogKey.generate(f'l.example/{n}').verifier_key}" for n in range(32)]
    lines += [f"witness w{n} {cosigner_line(f'w.example/{n}')}" for n in range(32)]
    lines += [f"group g{n} any w{n}" for n in range(31)]
    lines += [f"group g31 31 {' '.join(f'g{n}' for n in range(31))}", "quorum g31"]
    policy = parse_policy("\n".join(lines).encode())
    assert (len(policy.logs), len(policy.witnesses), len(policy.groups)) == (32, 32, 32)
    assert policy.is_met([f"w{n}" for n in range(31)]) and not policy.is_met([f"w{n}" for n in range(30)])


def test_tlog_policy_names_are_octets() -> None:
    """Character set: names are "opaque octet strings"; a Kelvin sign is no K, and UTF-8 isn't asked for."""
    first, second = cosigner_line("w.example/1").encode(), cosigner_line("w.example/2").encode()
    text = (
        b"witness K "
        + first
        + b"\nwitness \xe2\x84\xaa "
        + second
        + b"\ngroup \xff all K \xe2\x84\xaa\nquorum \xff"
    )
    policy = parse_policy(text)
    assert len(policy.witnesses) == 2
    assert policy.is_met(list(policy.witnesses)) and not policy.is_met(["K"])


SAME = LogKey.generate("w.example/same")
SAME_LINE = Cosigner(key=SAME.verifier).line
RENAMED = Cosigner(key=LogKey(SAME._private, "w.example/renamed").verifier).line


@pytest.mark.parametrize(
    "text",
    [
        f"witness a {SAME_LINE}\nwitness b {RENAMED}\nquorum a",
        f"witness a {SAME_LINE}\nwitness a {cosigner_line('w.example/2')}\nquorum a",
        f"witness none {SAME_LINE}\nquorum none",
        f"witness a {SAME_LINE}\ngroup g any none\nquorum g",
        f"witness a {SAME_LINE}\ngroup g 0 a\nquorum g",
        f"witness a {SAME_LINE}\ngroup g 2 a\nquorum g",
        f"witness a {SAME_LINE}\ngroup g all\nquorum g",
        f"witness a {SAME_LINE}\ngroup g any a a\nquorum g",
        f"witness a {SAME_LINE}\ngroup g any a\ngroup h any a\nquorum h",
        f"group g any a\nwitness a {SAME_LINE}\nquorum g",
        f"quorum a\nwitness a {SAME_LINE}",
        "quorum none\nquorum none",
        f"witness a {SAME_LINE}",
        "quorum none\r",
        "quorum\x0bnone",
        f"witness a {KEY.verifier_key}\nquorum a",
        f"log {SAME_LINE}\nquorum none",
    ],
    ids=[
        *(
            "duplicate",
            "name-twice",
            "named-none",
            "none-member",
            "k-zero",
            "k-large",
            "no-member",
            "member-twice",
        ),
        *("member-of-two", "before", "quorum-before", "two-quorums", "no-quorum", "return", "tabulator"),
        *("log-key-as-witness", "witness-key-as-log"),
    ],
)
def test_tlog_policy_what_the_text_forbids_is_refused(text: str) -> None:
    """Policy file syntax and structure: each MUST and "not allowed" of it, and the character set."""
    with pytest.raises(TrustInvalid):
        parse_policy(text.encode())
