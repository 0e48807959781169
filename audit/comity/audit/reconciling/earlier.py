"""Partial tiles of a log's earlier sizes, which lie beside the newest ones until the tile is full.

Nothing is read from them here, but a tool that knows an earlier checkpoint of the log does: what was changed
in one is a finding about the log, as it is for `comity audit verify`.
"""

from collections.abc import Iterator
from pathlib import Path

from comity.audit.errors import TileInvalid
from comity.audit.merkle import HASH_SIZE
from comity.audit.tiles import TILE_WIDTH, TileFolder, TileName, decode_bundle


def earlier_partials(log: Path, size: int) -> list[str]:
    """Return what is wrong with the partial tiles and bundles in the folder of a log of that size.

    One finding a tile. The newest width of each counts as right: it was held to the tree already.
    """
    found: list[str] = []
    for folder in sorted((log / "tile").rglob("*.p")):
        try:
            whole = TileName.parse(folder.relative_to(log).as_posix().removesuffix(".p"))
        except TileInvalid:
            continue  # no tool reads it
        nodes = size // TILE_WIDTH ** (whole.level or 0)
        width = min(TILE_WIDTH, nodes - whole.index * TILE_WIDTH)
        if width > 0 and (fault := _fault(log, TileName(level=whole.level, index=whole.index, width=width))):
            found.append(fault)
    return found


def _fault(log: Path, newest: TileName) -> str:
    try:
        right = TileFolder(log).read(newest)
    except TileInvalid:
        return ""  # that it is missing was said already
    for name in _others(log, newest):
        try:
            data = (log / name.path).read_bytes()
            count = len(decode_bundle(data)) if name.level is None else len(data) / HASH_SIZE
        except OSError as problem:
            return f"`{name.path}` can't be read: {problem.strerror}"
        except TileInvalid as problem:
            return f"`{name.path}`: {problem}"
        if count != name.width:
            return f"`{name.path}` does not hold {name.width}, as its name says"
        longer, shorter = (right, data) if name.width < newest.width else (data, right)
        if not longer.startswith(shorter):
            return f"`{name.path}`: what it holds is not that of the tree"
    return ""


def _others(log: Path, newest: TileName) -> Iterator[TileName]:
    whole = TileName(level=newest.level, index=newest.index).path
    for path in sorted((log / f"{whole}.p").iterdir()):
        try:
            name = TileName.parse(f"{whole}.p/{path.name}")
        except TileInvalid:
            continue  # no tool reads it
        if name.width != newest.width:
            yield name
