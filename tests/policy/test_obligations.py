"""Obligations only ever take away, whatever their order."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.policy.errors import ObligationUnknown
from comity.policy.facts import ELEMENTS
from comity.policy.obligations import (
    Applied,
    Obligations,
    clip,
    element_of,
    retention,
    strictest,
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


def test_unknown_obligation_raises() -> None:
    """What this version cannot do is refused by name."""
    with pytest.raises(ObligationUnknown, match="blur_faces"):
        element_of("blur_faces")
    with pytest.raises(ObligationUnknown):
        withhold(full_read(), {"FACES"})
