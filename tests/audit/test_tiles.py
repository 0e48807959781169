"""Tiles: paths, bundles, and the edge against the definition of C2SP tlog-tiles."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit import merkle
from comity.audit.errors import TileInvalid
from comity.audit.tiles import Edge, TileFolder, TileName, decode_bundle, edge_names, encode_bundle


def leaves(count: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(count)]


def write(folder: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (TileName(level=0, index=0), "tile/0/000"),
        (TileName(level=0, index=1234067), "tile/0/x001/x234/067"),
        (TileName(level=None, index=1234067, width=8), "tile/entries/x001/x234/067.p/8"),
        (TileName(level=2, index=999, width=255), "tile/2/999.p/255"),
        (TileName(level=1, index=1000), "tile/1/x001/000"),
    ],
)
def test_paths_are_those_of_the_specification(name: TileName, path: str) -> None:
    """Three digits an element, all but the last after an `x`; `.p/` and the width for partial tiles."""
    assert name.path == path
    assert TileName.parse(path) == name


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000",
        "tile/0/0",
        "tile/0/x000/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/08",
        "tile/64/000",
        "tile/entry/000",
        "tile/0/000/",
        "tile/8/0/000",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    """A tile has exactly one path."""
    with pytest.raises(TileInvalid):
        TileName.parse(path)


@given(st.integers(0, 10**12))
def test_any_index_survives_its_path(index: int) -> None:
    """Writing and reading a path gives the tile back."""
    name = TileName(level=3, index=index, width=7)
    assert TileName.parse(name.path) == name


@given(st.lists(st.binary(max_size=300), max_size=40))
@settings(max_examples=60)
def test_bundles_survive(entries: list[bytes]) -> None:
    """A bundle gives back its entries, empty ones too."""
    assert decode_bundle(encode_bundle(entries)) == entries


def test_a_bundle_is_byte_exact() -> None:
    """Each entry stands after its length, 16 bits, big-endian."""
    assert encode_bundle([b"abc", b""]) == b"\x00\x03abc\x00\x00"


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x03ab", b"\x00\x01a\x00"])
def test_a_bundle_that_is_cut_is_refused(data: bytes) -> None:
    """Half an entry is no entry."""
    with pytest.raises(TileInvalid):
        decode_bundle(data)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_an_edge_grows_to_the_same_tree_in_any_steps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    """However a log grows, root and files are those of its leaves, and an edge can be read back from them."""
    folder = tmp_path_factory.mktemp("log")
    everything = leaves(sum(steps))
    edge, done = Edge(), 0
    for step in steps:
        edge, files = edge.extend(everything[done : done + step])
        write(folder, files)
        done += step
    assert edge.root == merkle.root_of(everything)
    assert TileFolder(folder).edge(done) == edge
    assert [leaf for _, leaf in TileFolder(folder).all_entries(done)] == everything


def test_level_one_holds_the_roots_of_full_tiles() -> None:
    """Hash i of a level-1 tile is the root of level-0 tile i (C2SP tlog-tiles)."""
    everything = leaves(256 * 3 + 5)
    _, files = Edge().extend(everything)
    hashes = [merkle.leaf_hash(leaf) for leaf in everything]
    assert files["tile/0/001"] == b"".join(hashes[256:512])
    assert files["tile/0/003.p/5"] == b"".join(hashes[768:])
    roots = [merkle.root(hashes[i : i + 256]) for i in (0, 256, 512)]
    assert files["tile/1/000.p/3"] == b"".join(roots)
    assert set(files) == {
        *(f"tile/0/00{i}" for i in range(3)),
        *(f"tile/entries/00{i}" for i in range(3)),
        "tile/0/003.p/5",
        "tile/entries/003.p/5",
        "tile/1/000.p/3",
    }


def test_a_third_level_appears_with_the_65536th_entry() -> None:
    """A full level-1 tile gives its root to level 2; no empty partial tile is named."""
    _, files = Edge().extend([b"x"] * 65_536)
    assert files["tile/2/000.p/1"] == merkle.root([merkle.leaf_hash(b"x")] * 65_536)
    assert [name.path for name in edge_names(65_536)] == ["tile/2/000.p/1"]


def test_a_full_tile_stands_in_for_a_partial_one(tmp_path: Path) -> None:
    """A log may remove a partial tile once the full one is there; its readers go on."""
    edge, _ = Edge().extend(leaves(10))
    _, files = edge.extend(leaves(256)[10:])
    write(tmp_path, files)
    assert TileFolder(tmp_path).edge(10).root == edge.root


def test_a_missing_tile_is_named(tmp_path: Path) -> None:
    """What is missing is said by its path."""
    with pytest.raises(TileInvalid, match=r"tile/entries/000\.p/10"):
        TileFolder(tmp_path).edge(10)
