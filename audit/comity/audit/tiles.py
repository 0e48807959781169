"""Tiles and entry bundles as C2SP tlog-tiles lays them out on disk.

::

    tile/0/000                 256 leaf hashes, 8,192 bytes
    tile/1/000.p/3             a partial tile: the roots of the first three full tiles below
    tile/entries/x001/234      256 entries, each after its length in 16 bits, big-endian
    tile/entries/x001/235.p/7  a partial bundle

`Edge` is the pure heart: the rightmost partial tile of each level, which is all that is needed to extend the
tree, to name the files that an extension writes, and to compute the root.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from comity.audit.entry import MAX_ENTRY_BYTES
from comity.audit.errors import TileInvalid
from comity.audit.merkle import EMPTY_ROOT, HASH_SIZE, leaf_hash, node_hash, root

TILE_WIDTH = 256
_INDEX = r"(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
_PATH = re.compile(rf"tile/(?P<level>entries|0|[1-9][0-9]?)/{_INDEX}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TileName:
    """Which tile a path names. `level` is None for an entry bundle; `width` is 256 for a full one."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path below the log's folder, such as `tile/entries/x001/x234/067.p/8`."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        suffix = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.level is None else self.level}/{number}{suffix}"

    @classmethod
    def parse(cls, path: str) -> "TileName":
        """Read a path in its one right form. Raises `TileInvalid`."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise TileInvalid(f"`{path}` is not the path of a tile")
        level = None if match["level"] == "entries" else int(match["level"])
        index = int(match["index"].replace("x", "").replace("/", ""))
        name = cls(level=level, index=index, width=int(match["width"] or TILE_WIDTH))
        if name.path != path or (level is not None and level > 63):
            raise TileInvalid(f"`{path}` is not the path of a tile")
        return name


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return entries as a bundle: each after its length in 16 bits, big-endian."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise TileInvalid(f"an entry of {len(entry)} bytes doesn't fit in an entry bundle")
        parts += (len(entry).to_bytes(2, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes, *, lenient: bool = False) -> list[bytes]:
    """Return the entries of a bundle.

    Raises `TileInvalid` if an entry isn't whole; when lenient, returns those before it.
    """
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 2], "big")
        entry = data[position + 2 : position + 2 + length]
        if position + 2 > len(data) or len(entry) != length:
            if lenient:
                break
            raise TileInvalid(f"entry bundle: entry {len(entries)} of it is not whole")
        entries.append(entry)
        position += 2 + length
    return entries


def split_tile(data: bytes) -> list[bytes]:
    """Return the hashes of a tile. Raises `TileInvalid` if its length is no multiple of 32."""
    if len(data) % HASH_SIZE:
        raise TileInvalid(f"a tile of {len(data)} bytes is not whole")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def edge_names(size: int) -> list[TileName]:
    """Return the partial tiles and the partial bundle at the right edge of a tree of that size."""
    names: list[TileName] = []
    if size % TILE_WIDTH:
        names.append(TileName(level=None, index=size // TILE_WIDTH, width=size % TILE_WIDTH))
    level, count = 0, size
    while count:
        if count % TILE_WIDTH:
            names.append(TileName(level=level, index=count // TILE_WIDTH, width=count % TILE_WIDTH))
        level, count = level + 1, count // TILE_WIDTH
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The right edge of a tree: what its partial tiles and its partial bundle hold."""

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()
    bundle: tuple[bytes, ...] = ()

    def extend(self, leaves: Sequence[bytes]) -> "tuple[Edge, dict[str, bytes]]":
        """Return the edge after more leaves, and the files that hold what is new, by path.

        The files are the full tiles and bundles that came to be, and the partial ones at the new edge that
        changed.
        """
        growing = _Growing(self)
        for leaf in leaves:
            growing.add(leaf)
        return growing.finish()

    @property
    def root(self) -> bytes:
        """The root of the tree (RFC 6962, section 2.1)."""
        if self.size == 0:
            return EMPTY_ROOT
        subtrees = [h for level in reversed(self.levels) for h in _perfect_subtrees(level)]
        result = subtrees.pop()
        while subtrees:
            result = node_hash(subtrees.pop(), result)
        return result


class _Growing:
    """An edge while leaves are added to it."""

    def __init__(self, edge: Edge) -> None:
        self.size = edge.size
        self.levels = [list(level) for level in edge.levels]
        self.bundle = list(edge.bundle)
        self.files: dict[str, bytes] = {}
        self.changed: set[int] = set()

    def add(self, leaf: bytes) -> None:
        self.size += 1
        self.bundle.append(leaf)
        if len(self.bundle) == TILE_WIDTH:
            name = TileName(level=None, index=self.size // TILE_WIDTH - 1)
            self.files[name.path] = encode_bundle(self.bundle)
            self.bundle = []
        self._push(0, leaf_hash(leaf))

    def _push(self, level: int, hash_: bytes) -> None:
        if level == len(self.levels):
            self.levels.append([])
        tile = self.levels[level]
        tile.append(hash_)
        self.changed.add(level)
        if len(tile) == TILE_WIDTH:
            index = self.size // TILE_WIDTH ** (level + 1) - 1
            self.files[TileName(level=level, index=index).path] = b"".join(tile)
            self.levels[level] = []
            self._push(level + 1, root(tile))

    def finish(self) -> tuple[Edge, dict[str, bytes]]:
        for name in edge_names(self.size):
            if name.level is None:
                self.files[name.path] = encode_bundle(self.bundle)
            elif name.level in self.changed:
                self.files[name.path] = b"".join(self.levels[name.level])
        edge = Edge(
            size=self.size,
            levels=tuple(tuple(level) for level in self.levels),
            bundle=tuple(self.bundle),
        )
        return edge, self.files


def _perfect_subtrees(hashes: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the roots of the perfect subtrees of a partial tile, the largest first."""
    position = 0
    for bit in reversed(range(len(hashes).bit_length())):
        width = 1 << bit
        if len(hashes) & width:
            yield root(hashes[position : position + width])
            position += width


class TileFolder:
    """Reads tiles from a log's folder. Everything raises `TileInvalid` if what is needed isn't there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: TileName) -> bytes:
        """Return a file's bytes; in place of a partial one a wider one will do, cut to its width."""
        for candidate in self._candidates(name):
            try:
                data = (self._folder / candidate.path).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as problem:
                raise TileInvalid(f"`{name.path}` can't be read: {problem.strerror}") from problem
            return data if candidate.width == name.width else _cut(data, name)
        raise TileInvalid(f"`{name.path}` is missing")

    def entries(self, name: TileName) -> list[bytes]:
        """Return the entries of a bundle, exactly as many as its width."""
        entries = decode_bundle(self.read(name))
        if len(entries) != name.width:
            raise TileInvalid(f"`{name.path}` holds {len(entries)} entries, expected {name.width}")
        return entries

    def hashes(self, name: TileName) -> list[bytes]:
        """Return the hashes of a tile, exactly as many as its width."""
        hashes = split_tile(self.read(name))
        if len(hashes) != name.width:
            raise TileInvalid(f"`{name.path}` holds {len(hashes)} hashes, expected {name.width}")
        return hashes

    def edge(self, size: int) -> Edge:
        """Return the right edge of the tree of that size; its root is still to be compared."""
        bundle: tuple[bytes, ...] = ()
        levels: list[tuple[bytes, ...]] = []
        for name in edge_names(size):
            if name.level is None:
                bundle = tuple(self.entries(name))
                continue
            while len(levels) < name.level:
                levels.append(())
            levels.append(tuple(self.hashes(name)))
        if bundle and tuple(leaf_hash(leaf) for leaf in bundle) != levels[0]:
            raise TileInvalid(f"the last entry bundle of size {size} doesn't hash to its tile")
        return Edge(size=size, levels=tuple(levels), bundle=bundle)

    def all_entries(self, size: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield index and bytes of the entries from `start` to `size`."""
        for index in range(start // TILE_WIDTH, -(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            for offset, entry in enumerate(self.entries(TileName(level=None, index=index, width=width))):
                if index * TILE_WIDTH + offset >= start:
                    yield index * TILE_WIDTH + offset, entry

    def _candidates(self, name: TileName) -> Iterator[TileName]:
        yield name
        if name.width == TILE_WIDTH:
            return
        yield TileName(level=name.level, index=name.index)
        full = TileName(level=name.level, index=name.index).path
        partial = self._folder / f"{full}.p"
        if partial.is_dir():
            widths = sorted(int(p.name) for p in partial.iterdir() if p.name.isdecimal())
            for width in widths:
                if name.width < width < TILE_WIDTH:
                    yield TileName(level=name.level, index=name.index, width=width)


def _cut(data: bytes, name: TileName) -> bytes:
    if name.level is None:
        return encode_bundle(decode_bundle(data)[: name.width])
    return data[: name.width * HASH_SIZE]
