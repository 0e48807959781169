"""Whatever is changed in a log is found, and named; proofs are judged as another's code judges them (L2).

A sample of what `make tamper` does with every byte and 10,000 trees.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import pytest

from comity.audit import merkle
from comity.audit.errors import ProofInvalid
from tests import tamper, trees


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tamper.Logs:
    """A log of 1,000 entries, and a peer's."""
    return asyncio.run(tamper.make_logs(tmp_path_factory.mktemp("tamper")))


@pytest.fixture
def logs(made: tamper.Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tamper.Logs:
    """A copy of them, and a verifier that remembers hashes."""
    for owner, name in ((tamper.beside, "parse_entry"), (merkle, "leaf_hash"), (merkle, "root")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    tamper.remember()
    shutil.copytree(made.lapd, tmp_path / "log")
    return tamper.Logs(lapd=tmp_path / "log", broker=made.broker, trust=made.trust, key=made.key)


def test_honest_logs_verify(made: tamper.Logs) -> None:
    """What is found below is the change, and nothing else."""
    assert made.findings(alone=False) == ""


def test_flipped_bytes_moved_entries_rollbacks_and_forks_are_found_and_named(logs: tamper.Logs) -> None:
    """One byte in 4,000 of the bundles, in 400 of the other files; each kind of move, rollback and fork."""
    counts: Counter[str] = Counter()
    missed: list[str] = []
    for job in tamper.jobs_of(logs, every=4_000):
        some, misses = tamper.run(logs, job)
        counts += some
        missed += misses
    for size in (1, 255, 999):
        some, misses = tamper.run(logs, ("moved", [size]))
        counts += some
        missed += misses
    assert missed == []
    assert counts["entry doubled"] == counts["entry dropped"] == counts["entry swapped"] == 8
    assert len(counts) == 20 and sum(counts.values()) > 150


@pytest.mark.parametrize("size", [1, 256, 700, 999])
def test_log_that_its_owner_rolled_back_or_forked_is_found_by_the_peers_checkpoint(
    logs: tamper.Logs, size: int
) -> None:
    """The right key signed it, all of it fits together: only the counterparty's checkpoint tells."""
    counts, missed = tamper.run(logs, ("rewritten", [size]))
    assert missed == [] and sum(counts.values()) == 3


def test_two_hundred_random_trees_are_judged_as_another_implementation_does() -> None:
    """Roots and proofs byte for byte, and the verdict on each changed proof (RFC 9162, section 2.1)."""
    counts = trees.compare(200, seed=1)
    assert counts["trees"] == 200
    assert counts["inclusion proofs refused"] > 2_000 and counts["consistency proofs refused"] > 2_000


def test_proofs_of_the_standards_example() -> None:
    """The tree of seven leaves and its paths (RFC 6962, section 2.1.3; RFC 9162, section 2.1.5)."""
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(7)]
    a, b, c, d, e, f, j = leaves
    g, h, i = merkle.node_hash(a, b), merkle.node_hash(c, d), merkle.node_hash(e, f)
    k, last = merkle.node_hash(g, h), merkle.node_hash(i, j)
    assert merkle.root(leaves) == merkle.node_hash(k, last)
    inclusion = {0: [b, h, last], 3: [c, g, last], 4: [f, j, k], 6: [i, k]}
    assert {index: merkle.inclusion_path(leaves, index) for index in inclusion} == inclusion
    consistency = {3: [c, d, g, last], 4: [last], 6: [i, j, k]}
    assert {size: merkle.consistency_path(leaves, size) for size in consistency} == consistency


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 0, 0), (0, 1, 1), (1, 1, 0), (0, 2, 0), (0, 2, 2), (1, 2, 0), (2, 3, 2), (2, 3, 0), (-1, 1, 0)],
)
def test_inclusion_at_the_edges_is_refused(index: int, size: int, path: int) -> None:
    """Trees of none, one, two and three leaves: no path but the one of the right length will do."""
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(3)]
    with pytest.raises(ProofInvalid):
        merkle.verify_inclusion(
            leaf_hash=leaves[index],
            index=index,
            size=size,
            path=leaves[:path],
            root=merkle.root(leaves[:size]),
        )


@pytest.mark.parametrize(
    ("old", "new", "path"), [(0, 1, 1), (1, 1, 1), (1, 2, 0), (1, 2, 2), (2, 1, 0), (2, 3, 0), (-1, 1, 0)]
)
def test_consistency_at_the_edges_is_refused(old: int, new: int, path: int) -> None:
    """From and to trees of none, one, two and three leaves, likewise."""
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(3)]
    with pytest.raises(ProofInvalid):
        merkle.verify_consistency(
            old_size=old,
            old_root=merkle.root(leaves[: max(old, 0)]),
            new_size=new,
            new_root=merkle.root(leaves[:new]),
            path=leaves[:path],
        )
