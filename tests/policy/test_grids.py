"""Named grids: a place becomes the cell that it lies in, and nothing more can be learned of it (A6)."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.policy.grids import GRIDS, coarse, coarsest
from comity.v1 import result_pb2

latitudes = st.floats(-90, 90, allow_nan=False)
longitudes = st.floats(-180, 180, allow_nan=False)
names = st.sampled_from(sorted(GRIDS))


def place(latitude: float, longitude: float) -> result_pb2.Location:
    return result_pb2.Location(
        latitude=latitude, longitude=longitude, address="1 Pier", intersection="Pier / Dock"
    )


@pytest.mark.parametrize(
    ("latitude", "longitude", "grid", "expected"),
    [
        (33.7361, -118.2923, "wgs84-0.01", (33.735, -118.295)),
        (33.7361, -118.2923, "wgs84-0.1", (33.75, -118.25)),
        (33.7361, -118.2923, "wgs84-0.001", (33.7365, -118.2925)),
        (33.7361, -118.2923, "wgs84-0.05", (33.725, -118.275)),
        (33.7361, -118.2923, "wgs84-1", (33.5, -118.5)),
        # a digit on the edge is in the cell that it begins, though 0.29 * 100 is less than 29 in binary
        (0.29, -0.29, "wgs84-0.01", (0.295, -0.285)),
        (90.0, 180.0, "wgs84-1", (89.5, 179.5)),
        (-90.0, -180.0, "wgs84-1", (-89.5, -179.5)),
    ],
)
def test_place_becomes_the_middle_of_its_cell(
    latitude: float, longitude: float, grid: str, expected: tuple[float, float]
) -> None:
    """With the grid's name and the longest side of its cells, and without address or intersection."""
    found = coarse(place(latitude, longitude), grid)
    assert found is not None
    assert (found.latitude, found.longitude) == expected
    assert (found.grid, found.grid_metres) == (grid, GRIDS[grid].metres)
    assert (found.address, found.intersection) == ("", "")


@given(latitudes, longitudes, names)
@settings(max_examples=60)
def test_every_place_of_a_cell_becomes_the_same(latitude: float, longitude: float, name: str) -> None:
    """Asking again, or for the place that was given, gives the same: no average finds the reader."""
    once = coarse(place(latitude, longitude), name)
    assert once is not None
    assert coarse(place(once.latitude, once.longitude), name) == once
    assert -90 <= once.latitude <= 90
    assert -180 <= once.longitude <= 180
    half = Decimal("0.5") / GRIDS[name].cells
    assert abs(Decimal(repr(latitude)) - Decimal(repr(once.latitude))) <= half
    assert abs(Decimal(repr(longitude)) - Decimal(repr(once.longitude))) <= half


@given(latitudes, longitudes)
@settings(max_examples=60)
def test_two_grids_tell_no_more_than_the_finer(latitude: float, longitude: float) -> None:
    """The cell of a coarser grid is known from that of a finer one, so their overlap is the finer cell."""
    for finer, coarser in itertools.combinations(GRIDS, 2):
        fine = coarse(place(latitude, longitude), finer)
        assert fine is not None
        assert coarse(fine, coarser) == coarse(place(latitude, longitude), coarser)
        assert coarsest([finer, coarser]) == coarser


def test_grid_tells_the_size_of_its_cells() -> None:
    """In metres, as the read says it: never less than a cell's longest side."""
    assert {name: grid.metres for name, grid in GRIDS.items()} == {
        "wgs84-0.001": 112,
        "wgs84-0.01": 1117,
        "wgs84-0.05": 5585,
        "wgs84-0.1": 11170,
        "wgs84-1": 111694,
    }
    assert coarsest(["", ""]) == ""
    assert coarse(result_pb2.Location(address="1 Pier"), "wgs84-1") is None
