"""Inclusion and consistency proofs out of a log's tiles, a few tiles read for each.

What comes out is checked against nothing here: a proof from a damaged folder doesn't verify, and whoever
hands one out (`tlog_proof`, `SignedLog`) verifies it first. Proofs are those of RFC 9162, section 2.1.
"""

from functools import lru_cache

from comity.audit.merkle import EMPTY_ROOT, node_hash, root
from comity.audit.tiles import TILE_WIDTH, TileFolder, TileName

_TILE_HEIGHT = 8
_KEPT_TILES = 64
_KEPT_NODES = 4_096
"""Inner nodes that are kept: proofs of neighbouring entries have most of theirs in common."""


class TreeProver:
    """The tree of a folder's first `size` entries, as its tiles hold it.

    Every method raises `TileInvalid` if a tile that it needs is missing or not whole.
    """

    def __init__(self, folder: TileFolder, size: int) -> None:
        self._folder = folder
        self._size = size
        self._tile = lru_cache(maxsize=_KEPT_TILES)(self._read_tile)
        self._node = lru_cache(maxsize=_KEPT_NODES)(self._hash_node)

    @property
    def size(self) -> int:
        """How many entries the tree has."""
        return self._size

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` entries, by default over all.

        Raises `ValueError` for a size beyond the tree.
        """
        size = self._size if size is None else size
        if not 0 <= size <= self._size:
            raise ValueError(f"size `{size}` is not between 0 and {self._size}")
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the inclusion proof of an entry in the tree of `size` entries, from leaf to root.

        As RFC 9162, section 2.1.3.1. Raises `IndexError` for an index that is not in that tree.
        """
        size = self._size if size is None else size
        if not 0 <= index < size <= self._size:
            raise IndexError(f"entry `{index}` is not in a tree of {min(size, self._size)}")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            split = start + _split(end - start)
            if index < split:
                path.append(self._range(split, end))
                end = split
            else:
                path.append(self._range(start, split))
                start = split
        path.reverse()
        return path

    def consistency(self, old_size: int, size: int | None = None) -> list[bytes]:
        """Return the proof that the first `old_size` entries are a prefix of the first `size`.

        As RFC 9162, section 2.1.4.1; empty for 0 and for the size itself. Raises `ValueError` for sizes
        that are not in that order, or beyond the tree.
        """
        size = self._size if size is None else size
        if not 0 <= old_size <= size <= self._size:
            raise ValueError(f"old size `{old_size}` is not between 0 and {min(size, self._size)}")
        if old_size in (0, size):
            return []
        path: list[bytes] = []
        start, end, whole = 0, size, True
        while old_size != end:
            split = start + _split(end - start)
            if old_size <= split:
                path.append(self._range(split, end))
                end = split
            else:
                path.append(self._range(start, split))
                start, whole = split, False
        if not whole:
            path.append(self._range(start, end))
        path.reverse()
        return path

    def _range(self, start: int, end: int) -> bytes:
        """Return the root over entries `start` to `end`, a range that the tree itself is split into."""
        subtrees: list[bytes] = []
        while start < end:
            height = (end - start).bit_length() - 1
            subtrees.append(self._node(height, start >> height))
            start += 1 << height
        result = subtrees.pop()
        while subtrees:
            result = node_hash(subtrees.pop(), result)
        return result

    def _hash_node(self, height: int, index: int) -> bytes:
        """Return the root of a perfect subtree: the one at `index` among those of 2^height entries."""
        level, low = divmod(height, _TILE_HEIGHT)
        tile, offset = divmod(index << low, TILE_WIDTH)
        return root(self._tile(level, tile)[offset : offset + (1 << low)])

    def _read_tile(self, level: int, index: int) -> list[bytes]:
        width = min(TILE_WIDTH, (self._size >> _TILE_HEIGHT * level) - index * TILE_WIDTH)
        return self._folder.hashes(TileName(level=level, index=index, width=width))


def _split(count: int) -> int:
    """Return the largest power of two below `count` (RFC 6962, section 2.1)."""
    return 1 << (count - 1).bit_length() - 1
