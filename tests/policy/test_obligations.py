"""Obligations only ever take away, whatever their order."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.policy.errors import ObligationUnknown
from comity.policy.facts import ELEMENTS
from comity.policy.grids import GRIDS
from comity.policy.obligations import (
    IMPLEMENTED,
    Applied,
    Obligations,
    clip,
    elements_of,
    retention,
    strictest,
    touched_by,
    withhold,
)
from comity.v1 import common_pb2, result_pb2

instants = st.datetimes(
    min_value=datetime(1990, 1, 1),
    max_value=datetime(2040, 1, 1),
    timezones=st.just(UTC),
)
elements = st.frozensets(st.sampled_from(sorted(ELEMENTS)))
parts = st.builds(
    Obligations,
    earliest=st.none() | instants,
    max_reads=st.integers(1, 1000),
    retain_days=st.integers(0, 4000),
    withhold=elements,
    unsaid=elements,
    grid=st.sampled_from(["", *GRIDS]),
    plate_images_only=st.booleans(),
    kept_since=st.none() | instants,
    reads_policy=st.sampled_from(["", "p", "q"]),
    caveats=st.lists(st.sampled_from("abc"), unique=True, max_size=3).map(lambda found: tuple(sorted(found))),
    applied=st.lists(
        st.builds(Applied, name=st.sampled_from("xy"), text=st.just("t"), policy_id=st.sampled_from("pq")),
        max_size=3,
    ).map(lambda found: tuple(sorted(set(found)))),
)


def full_read() -> result_pb2.Read:
    return result_pb2.Read(
        read_id="r1",
        plate=common_pb2.Plate(number="8ABC123", state="CA"),
        location=result_pb2.Location(latitude=33.7, longitude=-118.2, address="1 Pier"),
        vehicle=result_pb2.Vehicle(make="Honda"),
        camera=result_pb2.Camera(name="gate 4", owner="lahd", kind="fixed"),
        images=[result_pb2.ImageReference(image_id="i", view="rear")],
        source="gate 4 camera",
    )


@given(instants, st.timedeltas(timedelta(seconds=1), timedelta(days=4000)), parts)
@settings(max_examples=100)
def test_clipping_never_widens(start: datetime, length: timedelta, obligations: Obligations) -> None:
    """The start only moves forward, the end never moves, and nothing before the limit is left (Q5)."""
    end = start + length
    clipped = clip(start, end, obligations)
    if clipped is None:
        assert obligations.earliest is not None
        assert obligations.earliest >= end
        return
    assert start <= clipped.start < clipped.end == end
    assert clipped.clipped == (clipped.start != start)
    assert obligations.earliest is None or clipped.start >= obligations.earliest


@given(st.lists(parts, min_size=1, max_size=4))
@settings(max_examples=50)
def test_strictest_wins_in_every_order_and_grouping(found: list[Obligations]) -> None:
    """Order and grouping of the policies that determined a decision change nothing."""
    whole = strictest(found)
    assert all(strictest(order) == whole for order in itertools.permutations(found))
    assert strictest([whole, *found]) == whole
    assert strictest([strictest(found[:1]), *found[1:]]) == whole
    for part in found:
        assert whole.max_reads <= part.max_reads
        assert whole.withhold >= part.withhold
        assert part.earliest is None or (whole.earliest is not None and whole.earliest >= part.earliest)
        assert whole.unsaid >= part.unsaid
        assert whole.plate_images_only >= part.plate_images_only
        assert not part.grid or GRIDS[whole.grid].metres >= GRIDS[part.grid].metres
        assert part.kept_since is None or (whole.kept_since is not None)
        assert part.kept_since is None or whole.kept_since >= part.kept_since  # type: ignore[operator]
        assert set(part.caveats) <= set(whole.caveats)
        assert set(part.applied) <= set(whole.applied)
        assert not part.retain_days or 0 < whole.retain_days <= part.retain_days


def test_no_obligations_at_all_are_not_the_loosest() -> None:
    """An empty collection refuses to be combined, or it would permit all."""
    with pytest.raises(ValueError, match="no obligations"):
        strictest([])


def test_retention_without_a_number_gives_way_to_any_number() -> None:
    """0 means 'as long as its case needs', which a number of days narrows (A7)."""
    assert retention(0, 90, 30) == 30
    assert retention(0, 0) == 0


@given(elements, st.none() | elements)
@settings(max_examples=50)
def test_withheld_element_is_never_left(hidden: frozenset[str], wanted: frozenset[str] | None) -> None:
    """What is withheld or unwanted is gone from the message; what is neither is untouched."""
    read = full_read()
    before = read.SerializeToString(deterministic=True)
    left = withhold(read, hidden, wanted=wanted)
    assert read.SerializeToString(deterministic=True) == before
    gone = hidden | (ELEMENTS - wanted if wanted is not None else frozenset())
    fields = {"LOCATION": "location", "VEHICLE": "vehicle", "CAMERA": "camera"}
    for element, field in fields.items():
        assert left.HasField(field) == (element not in gone)
    assert bool(left.images) == ("IMAGES" not in gone)
    assert bool(left.source) == ("CAMERA" not in gone)
    assert left.plate == read.plate
    said = {common_pb2.Element.Name(number).removeprefix("ELEMENT_") for number in left.withheld}
    assert said == (hidden if wanted is None else hidden & wanted)


def test_withheld_bytes_are_not_in_the_message() -> None:
    """Not even as unknown fields: the words are gone from the encoded read."""
    encoded = withhold(full_read(), ELEMENTS).SerializeToString()
    for word in (b"1 Pier", b"Honda", b"gate 4", b"rear"):
        assert word not in encoded


@given(
    hidden=elements,
    wanted=st.none() | elements,
    unsaid=elements,
    grid=st.sampled_from(["", *GRIDS]),
    plate_images_only=st.booleans(),
)
@settings(max_examples=60)
def test_obligations_never_add_data(
    hidden: frozenset[str],
    wanted: frozenset[str] | None,
    unsaid: frozenset[str],
    grid: str,
    plate_images_only: bool,
) -> None:
    """Every field that is left is the read's own, but for a place on a grid, which is the cell of its own."""
    read = full_read()
    left = withhold(
        read, hidden, wanted=wanted, unsaid=unsaid, grid=grid, plate_images_only=plate_images_only
    )
    for field, value in left.ListFields():
        if field.name == "withheld":
            continue
        if field.name == "images":
            assert all(image in read.images for image in value)
        elif field.name == "location" and grid:
            assert (value.grid, value.grid_metres) == (grid, GRIDS[grid].metres)
            assert (value.address, value.intersection) == ("", "")
        else:
            assert value == getattr(read, field.name)
    said = {common_pb2.Element.Name(number).removeprefix("ELEMENT_") for number in left.withheld}
    assert said.isdisjoint(unsaid)
    assert wanted is None or said <= wanted


@given(
    first=st.tuples(elements, st.sampled_from(["", *GRIDS]), st.booleans()),
    second=st.tuples(elements, st.sampled_from(["", *GRIDS]), st.booleans()),
)
@settings(max_examples=60)
def test_read_under_both_obligations_holds_no_more_than_under_either(
    first: tuple[frozenset[str], str, bool], second: tuple[frozenset[str], str, bool]
) -> None:
    """Combining obligations only ever takes more away from a read."""

    def cut(withheld: frozenset[str], grid: str, plate_images_only: bool) -> result_pb2.Read:
        return withhold(full_read(), withheld, grid=grid, plate_images_only=plate_images_only)

    parts = [
        Obligations(withhold=withheld, grid=grid, plate_images_only=plate_images_only)
        for withheld, grid, plate_images_only in (first, second)
    ]
    whole = strictest(parts)
    both = cut(whole.withhold, whole.grid, whole.plate_images_only)
    for part in (cut(*first), cut(*second)):
        for field in ("location", "vehicle", "camera"):
            assert part.HasField(field) or not both.HasField(field)
        assert both.location.grid_metres >= part.location.grid_metres or not both.HasField("location")
        assert {image.image_id for image in both.images} <= {image.image_id for image in part.images}
        assert set(part.withheld) <= set(both.withheld)


def test_place_without_coordinates_cannot_be_made_coarser() -> None:
    """An address alone is no cell: it is withheld, and called so (A6)."""
    read = full_read()
    read.location.ClearField("latitude")
    left = withhold(read, (), grid="wgs84-0.01")
    assert not left.HasField("location")
    assert list(left.withheld) == [common_pb2.ELEMENT_LOCATION]


def test_images_of_the_plate_alone_tell_no_place() -> None:
    """What shows more than the plate is withheld; the answer says that images are, in part (A6)."""
    read = full_read()
    read.images.add(image_id="p", view="plate")
    left = withhold(read, (), plate_images_only=True)
    assert [image.image_id for image in left.images] == ["p"]
    assert list(left.withheld) == [common_pb2.ELEMENT_IMAGES]


def test_grid_that_is_not_known_raises() -> None:
    """A grid of a later version is refused by name, never taken for exact."""
    with pytest.raises(ObligationUnknown, match=r"wgs84-0\.02"):
        withhold(full_read(), (), grid="wgs84-0.02")


def test_every_obligation_withholds_something() -> None:
    """One that touches nothing would be a promise that nobody keeps."""
    for name in IMPLEMENTED:
        assert touched_by(name) >= elements_of(name)
        assert touched_by(name)


def test_unknown_obligation_raises() -> None:
    """What this version cannot do is refused by name."""
    with pytest.raises(ObligationUnknown, match="blur_faces"):
        elements_of("blur_faces")
    with pytest.raises(ObligationUnknown):
        withhold(full_read(), {"FACES"})
