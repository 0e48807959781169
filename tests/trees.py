"""Random trees and proofs, before our Merkle code and before somebody else's: `python -m tests.trees`.

The other is `aics-tlog` (see `requirements/verifier.txt`), which the project did not write. Roots and proofs
must be the same, byte for byte; of proofs that were changed (other sizes, indexes, roots; paths that are
longer, shorter, exchanged, cut) both must give the same verdict.
"""

from __future__ import annotations

import importlib
import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click

from comity.audit import merkle
from comity.audit.errors import ProofInvalid
from tests.support.third_party import verifier_folder

Path_ = list[bytes]
_SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257)


def second_implementation() -> Any:
    """Return the other's module on trees."""
    folder = str(verifier_folder())
    sys.path.append(folder)
    try:
        return importlib.import_module("aics_tlog.tree")
    finally:
        sys.path.remove(folder)


def compare(trees: int, seed: int) -> Counter[str]:
    """Compare so many trees and count what was compared. Raises `AssertionError` where the two differ."""
    other, dice, counts = second_implementation(), random.Random(seed), Counter[str]()
    for _ in range(trees):
        size = dice.choice(_SIZES) if dice.random() < 0.4 else dice.randint(0, dice.choice((20, 100, 600)))
        leaves = [dice.randbytes(dice.choice((0, 1, 32, 64))) for _ in range(size)]
        theirs, hashes = other.MerkleTree(leaves), [merkle.leaf_hash(leaf) for leaf in leaves]
        assert merkle.root(hashes) == theirs.root(), f"seed {seed}: two roots of {size} leaves"
        counts["trees"] += 1
        if size:
            _inclusion(other, theirs, hashes, dice, counts)
        _consistency(other, theirs, hashes, dice, counts)
    return counts


def _inclusion(
    other: Any, theirs: Any, hashes: Sequence[bytes], dice: random.Random, counts: Counter[str]
) -> None:
    size = len(hashes)
    index = dice.choice((0, size - 1, dice.randrange(size)))
    path = merkle.inclusion_path(hashes, index)
    assert path == theirs.inclusion_proof(index), f"two inclusion proofs of {index} in {size}"
    right = (hashes[index], index, size, path, merkle.root(hashes))
    for case in [right, *_changed_inclusion(right, hashes, dice)]:
        ours = _holds(
            lambda case=case: merkle.verify_inclusion(
                leaf_hash=case[0], index=case[1], size=case[2], path=case[3], root=case[4]
            )
        )
        assert ours == other.verify_inclusion(*case), f"two verdicts on inclusion: {case[1:]}"
        assert ours or case != right
        assert not ours or case == right or _says_the_same(case, right)
        counts["inclusion proofs that hold" if ours else "inclusion proofs refused"] += 1


def _says_the_same(case: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    """A proof binds leaf, root and path; of index and size only what the path's turns show (RFC 9162)."""
    return (case[0], case[3], case[4]) == (right[0], right[3], right[4])


def _changed_inclusion(
    right: tuple[bytes, int, int, Path_, bytes], hashes: Sequence[bytes], dice: random.Random
) -> Iterator[tuple[bytes, int, int, Path_, bytes]]:
    leaf, index, size, path, root = right
    yield dice.randbytes(32), index, size, path, root
    yield leaf, index, size, path, dice.randbytes(32)
    for wrong in (-1, size, index + 1, index ^ 1, dice.randrange(2 * size)):
        yield leaf, wrong, size, path, root
    for wrong in (0, -1, 1, size - 1, size + 1, 2 * size, dice.randrange(2 * size)):
        yield leaf, index, wrong, path, root
    for changed in _changed_paths(path, dice):
        yield leaf, index, size, changed, root


def _consistency(
    other: Any, theirs: Any, hashes: Sequence[bytes], dice: random.Random, counts: Counter[str]
) -> None:
    size = len(hashes)
    old = dice.choice((0, min(1, size), size, size // 2, dice.randint(0, size)))
    path = merkle.consistency_path(hashes, old)
    if old > 0:
        assert path == theirs.consistency_proof(old), f"two consistency proofs from {old} to {size}"
    right = (old, size, merkle.root(hashes[:old]), merkle.root(hashes), path)
    for case in [right, *_changed_consistency(right, dice)]:
        ours = _holds(
            lambda case=case: merkle.verify_consistency(
                old_size=case[0], new_size=case[1], old_root=case[2], new_root=case[3], path=case[4]
            )
        )
        assert ours == other.verify_consistency(*case), f"two verdicts on consistency: {case}"
        assert ours or case != right
        counts["consistency proofs that hold" if ours else "consistency proofs refused"] += 1


def _changed_consistency(
    right: tuple[int, int, bytes, bytes, Path_], dice: random.Random
) -> Iterator[tuple[int, int, bytes, bytes, Path_]]:
    old, size, old_root, root, path = right
    yield old, size, dice.randbytes(32), root, path
    yield old, size, old_root, dice.randbytes(32), path
    yield size, old, root, old_root, path
    for wrong in (-1, 0, 1, old - 1, old + 1, size, size + 1):
        yield wrong, size, old_root, root, path
        yield old, wrong, old_root, root, path
    for changed in _changed_paths(path, dice):
        yield old, size, old_root, root, changed


def _changed_paths(path: Path_, dice: random.Random) -> Iterator[Path_]:
    yield [*path, dice.randbytes(32)]
    yield [dice.randbytes(32), *path]
    if path:
        place = dice.randrange(len(path))
        yield path[:-1]
        yield path[1:]
        yield []
        yield [*path, path[-1]]
        yield [*path[:place], dice.randbytes(32), *path[place + 1 :]]
        yield [*path[:place], bytes([path[place][0] ^ 1]) + path[place][1:], *path[place + 1 :]]
    if len(path) > 1:
        yield path[::-1]


def _holds(verify: Any) -> bool:
    try:
        verify()
    except ProofInvalid:
        return False
    return True


@click.command()
@click.option("--trees", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--seed", type=int, default=20261122, show_default=True)
def main(trees: int, seed: int) -> None:
    """Compare random trees and proofs; a difference ends it with what differs."""
    counts: Counter[str] = Counter()
    for done in range(0, trees, 100):
        counts += compare(min(100, trees - done), seed + done)
        if sys.stderr.isatty():
            click.echo(f"\r{done + 100} of {trees} trees", err=True, nl=False)
    for what, count in sorted(counts.items()):
        click.echo(f"{count:>9,}  {what}")
    click.echo("both implementations agree on all of it")


if __name__ == "__main__":
    main()
