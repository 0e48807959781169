"""Merkle tree hashes and proofs as RFC 6962, section 2.1, and RFC 9162, section 2.1, define them.

Plain values in, plain values out: hashes are 32 bytes, indexes and sizes are integers. What checks a
proof raises `ProofInvalid`; nothing here returns False.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from comity.audit.errors import ProofInvalid

HASH_SIZE = 32
EMPTY_ROOT = sha256().digest()
"""Root of the tree without leaves: SHA-256 of nothing (RFC 6962, section 2.1)."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf, SHA-256(0x00 || data), as RFC 6962, section 2.1, defines it."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, SHA-256(0x01 || left || right) (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash over leaf hashes, in order (RFC 6962, section 2.1).

    Pairs are joined level by level and a last one without a partner moves up as it is, which is the
    same tree as splitting at the largest power of two.
    """
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the Merkle tree hash over leaves that are not hashed yet."""
    return root([leaf_hash(leaf) for leaf in leaves])


class RunningRoot:
    """The root of a tree that grows leaf by leaf, in memory that grows with its height."""

    __slots__ = ("_subtrees", "size")

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[tuple[int, bytes]] = []

    def add(self, leaf_hash: bytes) -> None:
        """Append a leaf's hash."""
        height, subtrees = 0, self._subtrees
        while subtrees and subtrees[-1][0] == height:
            leaf_hash, height = node_hash(subtrees.pop()[1], leaf_hash), height + 1
        subtrees.append((height, leaf_hash))
        self.size += 1

    def root(self) -> bytes:
        """Return the Merkle tree hash of the leaves so far (RFC 6962, section 2.1)."""
        return _join([hash_ for _, hash_ in self._subtrees])


def roots_at(leaf_hashes: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """Return the roots of the tree's prefixes of the given sizes, in one walk over the leaves.

    A size beyond the tree is left out.
    """
    wanted = sorted(set(sizes), reverse=True)
    roots: dict[int, bytes] = {}
    running = RunningRoot()
    leaves = iter(leaf_hashes)
    while wanted:
        if wanted[-1] == running.size:
            roots[wanted.pop()] = running.root()
            continue
        leaf = next(leaves, None)
        if leaf is None:
            break
        running.add(leaf)
    return roots


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion proof of a leaf, from leaf to root (RFC 9162, section 2.1.3.1).

    Raises `IndexError` for an index that is not in the tree.
    """
    if not 0 <= index < len(leaf_hashes):
        raise IndexError(f"leaf `{index}` is not in a tree of {len(leaf_hashes)}")
    path: list[bytes] = []
    level = list(leaf_hashes)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _level_above(level)
        index >>= 1
    return path


def verify_inclusion(*, leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf stands at `index` of the tree with `size` leaves and that root.

    The algorithm of RFC 9162, section 2.1.3.2. Raises `ProofInvalid`.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"inclusion proof: index `{index}` is not in a tree of {size}")
    first, last = index, size - 1
    computed = leaf_hash
    for sibling in path:
        if last == 0:
            raise ProofInvalid(f"inclusion proof of entry {index}: path of {len(path)} hashes is too long")
        if first & 1 or first == last:
            computed = node_hash(sibling, computed)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        first >>= 1
        last >>= 1
    if last != 0:
        raise ProofInvalid(f"inclusion proof of entry {index}: path of {len(path)} hashes is too short")
    if computed != root:
        raise ProofInvalid(f"inclusion proof of entry {index}: it does not lead to the root of size {size}")


def consistency_path(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the tree's first `old_size` leaves are its prefix (RFC 9162, section 2.1.4.1).

    Empty for `old_size` 0 and for the tree's own size. Raises `ValueError` for a size beyond the tree.
    """
    size = len(leaf_hashes)
    if not 0 <= old_size <= size:
        raise ValueError(f"old size `{old_size}` is not between 0 and {size}")
    if old_size in (0, size):
        return []
    return _subproof(old_size, leaf_hashes, True)


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the older tree is a prefix of the newer one (RFC 9162, section 2.1.4.2).

    From the empty tree only its own root and an empty path are accepted. Raises `ProofInvalid`.
    """
    if not 0 <= old_size <= new_size:
        raise ProofInvalid(f"consistency proof: size {new_size} is smaller than size {old_size}")
    if old_size == new_size:
        if path:
            raise ProofInvalid(f"consistency proof from size {old_size} to itself: path is not empty")
        if old_root != new_root:
            raise ProofInvalid(f"two roots for size {old_size}")
        return
    if old_size == 0:
        if path or old_root != EMPTY_ROOT:
            raise ProofInvalid("consistency proof from the empty tree: root or path is not the empty one")
        return
    if not path:
        raise ProofInvalid(f"consistency proof from size {old_size} to {new_size}: path is empty")
    hashes = list(path)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    first, last = old_size - 1, new_size - 1
    while first & 1:
        first >>= 1
        last >>= 1
    computed_old = computed_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise ProofInvalid(f"consistency proof from size {old_size} to {new_size}: path is too long")
        if first & 1 or first == last:
            computed_old = node_hash(sibling, computed_old)
            computed_new = node_hash(sibling, computed_new)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            computed_new = node_hash(computed_new, sibling)
        first >>= 1
        last >>= 1
    if last != 0:
        raise ProofInvalid(f"consistency proof from size {old_size} to {new_size}: path is too short")
    if computed_old != old_root:
        raise ProofInvalid(f"consistency proof: it does not lead to the root of size {old_size}")
    if computed_new != new_root:
        raise ProofInvalid(f"consistency proof: it does not lead to the root of size {new_size}")


def _join(subtrees: list[bytes]) -> bytes:
    """Return the root over perfect subtrees, the largest first."""
    if not subtrees:
        return EMPTY_ROOT
    *others, result = subtrees
    for left in reversed(others):
        result = node_hash(left, result)
    return result


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) & 1:
        above.append(level[-1])
    return above


def _subproof(old_size: int, leaf_hashes: Sequence[bytes], whole: bool) -> list[bytes]:
    size = len(leaf_hashes)
    if old_size == size:
        return [] if whole else [root(leaf_hashes)]
    split = 1 << (size - 1).bit_length() - 1
    if old_size <= split:
        return [*_subproof(old_size, leaf_hashes[:split], whole), root(leaf_hashes[split:])]
    return [*_subproof(old_size - split, leaf_hashes[split:], False), root(leaf_hashes[:split])]
