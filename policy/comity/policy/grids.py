"""Named grids: a place made coarser, so that it doesn't tell where a reader stands (A6, *ours*).

A grid cuts degrees WGS 84 into cells of so many to the degree, counted from 0; a place becomes the centre of
the cell that it lies in. The same place is always the same cell, so nothing is learned by asking again, and
every cell of a grid lies whole in one of each coarser grid, so two grids together tell no more than the finer
of them. Cells of 0.01 degrees are 1.1 km from south to north everywhere, and narrower from west to east
towards the poles. Degrees are read as the decimal digits that the store gave.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from math import ceil
from typing import Final

from comity.v1 import result_pb2

LONGEST_DEGREE_METRES: Final = 111_694
"""Of a degree on the ellipsoid WGS 84: of latitude, at the poles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A grid of cells that have the same width and height in degrees."""

    name: str
    cells: int
    """To a degree."""

    @property
    def metres(self) -> int:
        """The longest side that a cell has anywhere, rounded up."""
        return ceil(LONGEST_DEGREE_METRES / self.cells)

    def centre(self, degrees: float, *, most: int) -> float:
        """Return the middle of the cell that a latitude (`most` 90) or longitude (180) lies in."""
        cell = int((Decimal(repr(degrees)) * self.cells).to_integral_value(ROUND_FLOOR))
        within = min(max(cell, -most * self.cells), most * self.cells - 1)
        return float((Decimal(within) + Decimal("0.5")) / self.cells)


GRIDS: Final = {
    grid.name: grid
    for grid in (
        Grid(name="wgs84-0.001", cells=1000),
        Grid(name="wgs84-0.01", cells=100),
        Grid(name="wgs84-0.05", cells=20),
        Grid(name="wgs84-0.1", cells=10),
        Grid(name="wgs84-1", cells=1),
    )
}
"""Grids by name, from fine to coarse; each name tells the degrees of a cell."""


def coarsest(names: Iterable[str]) -> str:
    """Return the coarsest of these grids; empty for none, and for `""`, which stands for the exact place."""
    return min((name for name in names if name), key=lambda name: GRIDS[name].cells, default="")


def coarse(place: result_pb2.Location, name: str) -> result_pb2.Location | None:
    """Return a place on a grid, without address and intersection; `None` if its coordinates aren't known.

    Raises:
        KeyError: there is no such grid.
    """
    grid = GRIDS[name]
    if not place.HasField("latitude") or not place.HasField("longitude"):
        return None
    return result_pb2.Location(
        latitude=grid.centre(place.latitude, most=90),
        longitude=grid.centre(place.longitude, most=180),
        grid_metres=grid.metres,
        grid=grid.name,
    )
