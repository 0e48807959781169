"""Proofs out of tiles against the tree itself, and the files in which they travel against forgers."""

import base64
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint
from comity.audit.errors import AuditError, NoteInvalid, ProofInvalid, TileInvalid
from comity.audit.note import LogKey
from comity.audit.proofs import TreeProver
from comity.audit.tiles import Edge, TileFolder
from comity.audit.tlog_proof import TlogProof, make_proof
from tests.support.third_party import run_verifier

ORIGIN = "lapd.example/adapter"
KEY = LogKey.generate(ORIGIN)
SIZE = 70_000
"""Full tiles of two levels, a partial one of each, and 112 entries beyond the last full tile."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """The tiles of a large tree, and its leaves."""
    folder = tmp_path_factory.mktemp("tree")
    leaves = [b"entry %d" % number for number in range(SIZE)]
    _, files = Edge().extend(leaves)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder, leaves


def test_proofs_from_tiles_verify_at_any_size_and_index(tree: tuple[Path, list[bytes]]) -> None:
    """Inclusion and consistency proofs that tiles give verify as RFC 9162, section 2.1, has it."""
    folder, leaves = tree
    prover = TreeProver(TileFolder(folder), SIZE)
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    rng = random.Random(4)
    sizes = sorted(
        {1, 2, 255, 256, 257, 65_535, 65_536, 65_537, SIZE} | {rng.randrange(1, SIZE) for _ in range(40)}
    )
    roots = merkle.roots_at(hashes, sizes)
    for size in sizes:
        assert prover.root(size) == roots[size]
        index = rng.randrange(size)
        merkle.verify_inclusion(
            leaf_hash=hashes[index],
            index=index,
            size=size,
            path=prover.inclusion(index, size),
            root=roots[size],
        )
        old = rng.choice([one for one in sizes if one <= size])
        merkle.verify_consistency(
            old_size=old,
            old_root=roots[old],
            new_size=size,
            new_root=roots[size],
            path=prover.consistency(old, size),
        )


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 900), data=st.data())
def test_proofs_from_tiles_are_those_from_leaves(
    size: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Hash for hash, tiles give the paths that the RFC's recursion over all leaves gives."""
    folder = tmp_path_factory.mktemp("small")
    leaves = [b"%d" % number for number in range(size)]
    for path, content in Edge().extend(leaves)[1].items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    prover = TreeProver(TileFolder(folder), size)
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert prover.inclusion(index) == merkle.inclusion_path(hashes, index)
    assert prover.consistency(old) == merkle.consistency_path(hashes, old)
    assert prover.root() == merkle.root(hashes)


def test_proofs_beyond_the_tree_are_refused(tree: tuple[Path, list[bytes]]) -> None:
    """An index or a size that the tree hasn't is a caller's fault, named."""
    prover = TreeProver(TileFolder(tree[0]), SIZE)
    with pytest.raises(IndexError, match=f"`{SIZE}`"):
        prover.inclusion(SIZE)
    with pytest.raises(IndexError):
        prover.inclusion(10, 10)
    with pytest.raises(ValueError, match="not between"):
        prover.consistency(SIZE + 1)
    with pytest.raises(ValueError, match="not between"):
        prover.root(SIZE + 1)
    assert TreeProver(TileFolder(tree[0]), 0).root() == merkle.EMPTY_ROOT


def test_missing_tile_is_named(tmp_path: Path) -> None:
    """A folder without the tile that a proof needs says which one."""
    with pytest.raises(TileInvalid, match="tile/0/000"):
        TreeProver(TileFolder(tmp_path), 3).inclusion(0)


@pytest.fixture
def proof(tree: tuple[Path, list[bytes]]) -> TlogProof:
    """The proof of one entry of the large tree."""
    folder, leaves = tree
    prover = TreeProver(TileFolder(folder), SIZE)
    note = Checkpoint(origin=ORIGIN, size=SIZE, root=prover.root()).sign(KEY)
    return make_proof(leaves[1_234], 1_234, prover.inclusion(1_234), note)


def test_proof_travels_as_a_file_and_verifies_alone(proof: TlogProof) -> None:
    """C2SP tlog-proof: what was written reads back, and verifies with the log's key and the entry alone."""
    again = TlogProof.parse(proof.encode())
    assert again == proof
    assert again.extra == b"entry 1234"
    checkpoint = again.verify(
        leaf_hash=merkle.leaf_hash(b"entry 1234"), origin=ORIGIN, verifier_keys=[KEY.verifier]
    )
    assert checkpoint.size == SIZE
    lines = proof.encode().decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "extra " + base64.b64encode(b"entry 1234").decode()
    assert lines[2] == "index 1234"


def test_another_implementation_verifies_the_proof_of_the_file(proof: TlogProof, tmp_path: Path) -> None:
    """aics-tlog verifies path and checkpoint as they stand in the file."""
    head, _, note = proof.encode().partition(b"\n\n")
    (tmp_path / "note").write_bytes(note)
    (tmp_path / "leaf").write_bytes(b"entry 1234")
    hashes = [base64.b64decode(line).hex() for line in head.decode().split("\n")[3:]]
    (tmp_path / "proof").write_text("\n".join(hashes) + "\n")
    report = run_verifier(
        "verify-inclusion",
        *("--leaf", str(tmp_path / "leaf"), "--index", "1234", "--proof", str(tmp_path / "proof")),
        *("--checkpoint", str(tmp_path / "note"), "--log-key", KEY.verifier_key),
    )
    assert report["ok"], report


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_changed_byte_of_a_proof_never_verifies(data: st.DataObject) -> None:
    """Whatever byte is changed, cut or added: it doesn't parse, doesn't verify, or says what it said."""
    leaves = [b"%d" % number for number in range(300)]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    note = Checkpoint(origin=ORIGIN, size=300, root=merkle.root(hashes)).sign(KEY)
    good = make_proof(leaves[77], 77, merkle.inclusion_path(hashes, 77), note)
    encoded = bytearray(good.encode())
    place = data.draw(st.integers(0, len(encoded) - 1))
    match data.draw(st.sampled_from(("flip", "cut", "insert"))):
        case "flip":
            encoded[place] ^= data.draw(st.integers(1, 255))
        case "cut":
            del encoded[place]
        case _:
            encoded.insert(place, data.draw(st.integers(0, 255)))
    try:
        read = TlogProof.parse(bytes(encoded))
        read.verify(leaf_hash=hashes[77], origin=ORIGIN, verifier_keys=[KEY.verifier])
    except AuditError:
        return
    # `extra` is nobody's word; a signature line of a name that nobody knows is ignored by the format
    assert (read.index, read.path) == (good.index, good.path)
    assert read.claimed == good.claimed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((b"@v1", b"@v2"), "first line"),
        ((b"index 1234", b"index 01234"), "decimal"),
        ((b"index 1234", b"index -1"), "decimal"),
        ((b"index 1234", b"entry 1234"), "`index"),
        ((b"\n\n", b"\n"), "path is not base64"),
        ((b"extra ", b"extra ="), "`extra` is not base64"),
    ],
)
def test_malformed_proof_is_named(proof: TlogProof, change: tuple[bytes, bytes], words: str) -> None:
    """A file that isn't in the format says what is wrong with it."""
    with pytest.raises(ProofInvalid, match=words):
        TlogProof.parse(proof.encode().replace(*change, 1))


def test_proof_of_another_entry_log_or_key_is_refused(proof: TlogProof) -> None:
    """An entry that isn't the one proven, another log's name, another key: none verifies."""
    leaf = merkle.leaf_hash(b"entry 1234")
    with pytest.raises(ProofInvalid, match="does not lead"):
        proof.verify(leaf_hash=merkle.leaf_hash(b"x"), origin=ORIGIN, verifier_keys=[KEY.verifier])
    with pytest.raises(NoteInvalid):
        proof.verify(leaf_hash=leaf, origin=ORIGIN, verifier_keys=[LogKey.generate(ORIGIN).verifier])
    with pytest.raises(NoteInvalid):
        proof.verify(leaf_hash=leaf, origin="dea.example/adapter", verifier_keys=[KEY.verifier])


def test_no_log_hands_out_a_proof_that_does_not_verify(proof: TlogProof) -> None:
    """A path from damaged tiles is noticed where the proof is made, not at whoever gets it."""
    with pytest.raises(ProofInvalid):
        make_proof(b"entry 1234", 1_234, [*proof.path[:-1], b"\0" * 32], proof.checkpoint)
