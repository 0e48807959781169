"""Merkle hashes and proofs against published vectors, against the RFC's recursion, and against forgers."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit import merkle
from comity.audit.errors import ProofInvalid

# The leaves and roots of the well-known eight-leaf tree of RFC 6962's reference implementation
# (certificate-transparency, merkle_tree_test), which every implementation since has repeated.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(min_value=1, max_value=600)


def leaf_hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"leaf %d" % number) for number in range(count)]


def rfc_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + rfc_root(hashes[:split]) + rfc_root(hashes[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    """The empty tree and the eight-leaf tree have their published roots (RFC 6962, section 2.1)."""
    assert merkle.root_of(LEAVES[:size]).hex() == ROOTS[size]


@given(sizes)
@settings(max_examples=60)
def test_root_is_that_of_the_rfcs_recursion(size: int) -> None:
    """Joining level by level gives the same root as the definition by splitting."""
    assert merkle.root(leaf_hashes(size)) == rfc_root(leaf_hashes(size))


@given(sizes, st.data())
@settings(max_examples=60)
def test_every_inclusion_proof_verifies_and_no_forged_one_does(size: int, data: st.DataObject) -> None:
    """A proof holds for its own leaf, index, size and root, and for no other."""
    hashes = leaf_hashes(size)
    index = data.draw(st.integers(0, size - 1))
    path, root = merkle.inclusion_path(hashes, index), merkle.root(hashes)
    merkle.verify_inclusion(leaf_hash=hashes[index], index=index, size=size, path=path, root=root)
    other = merkle.leaf_hash(b"never logged")
    forged: list[dict[str, object]] = [
        {"leaf_hash": other},
        {"root": other},
        {"index": size},
        {"index": -1},
        {"path": [*path, other]},
    ]
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        forged += [{"path": path[:-1]}, {"path": [*path[:place], other, *path[place + 1 :]]}]
    if size > 1:
        forged.append({"index": (index + 1) % size})
    right = {"leaf_hash": hashes[index], "index": index, "size": size, "path": path, "root": root}
    for change in forged:
        with pytest.raises(ProofInvalid):
            merkle.verify_inclusion(**{**right, **change})  # type: ignore[arg-type]


@given(sizes, st.data())
@settings(max_examples=60)
def test_every_consistency_proof_verifies_and_no_forged_one_does(size: int, data: st.DataObject) -> None:
    """A tree is shown to have grown out of an older one, and never out of another."""
    hashes = leaf_hashes(size)
    old = data.draw(st.integers(0, size))
    path = merkle.consistency_path(hashes, old)
    right = {
        "old_size": old,
        "old_root": merkle.root(hashes[:old]),
        "new_size": size,
        "new_root": merkle.root(hashes),
        "path": path,
    }
    merkle.verify_consistency(**right)  # type: ignore[arg-type]
    other = merkle.leaf_hash(b"never logged")
    forged: list[dict[str, object]] = [{"old_root": other}, {"path": [*path, other]}]
    if old:
        forged.append({"new_root": other})
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        forged += [{"path": path[:-1]}, {"path": [*path[:place], other, *path[place + 1 :]]}]
    for change in forged:
        with pytest.raises(ProofInvalid):
            merkle.verify_consistency(**{**right, **change})  # type: ignore[arg-type]


def test_a_shrunk_tree_is_never_consistent() -> None:
    """No path makes a smaller tree the successor of a larger one."""
    hashes = leaf_hashes(8)
    with pytest.raises(ProofInvalid, match="smaller"):
        merkle.verify_consistency(
            old_size=8, old_root=merkle.root(hashes), new_size=7, new_root=merkle.root(hashes[:7]), path=[]
        )


@given(sizes, st.lists(st.integers(0, 700), max_size=8))
@settings(max_examples=40)
def test_roots_of_prefixes_in_one_walk(size: int, wanted: list[int]) -> None:
    """Roots at many sizes come from one walk; a size beyond the tree has none."""
    hashes = leaf_hashes(size)
    expected = {each: merkle.root(hashes[:each]) for each in wanted if each <= size}
    assert merkle.roots_at(hashes, wanted) == expected
