"""One suite for every kind of store: the same rows give the same answer, whatever holds them."""

import csv
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from comity.adapters.sources import SearchArea, Source, SourceQuery, open_source, parse_stores
from comity.v1 import result_pb2

HEADER = (
    "id",
    "plate",
    "state",
    "country",
    "t",
    "lat",
    "lon",
    "address",
    "make",
    "cam",
    "front",
    "front_sha",
)
DIGEST = "ab" * 32
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = [
    ("a", "8ABC123", "CA", "US", AT, 33.740, -118.270, "1 Quay Road", "Honda", "Gate 1", "i1", DIGEST),
    ("b", "8abc-123", "", "US", AT + timedelta(hours=1), 33.900, -118.270, "", "", "Gate 2", "", ""),
    ("c", "8ABC 123", "NV", "US", AT + timedelta(hours=2), 33.740, -118.270, "", "", "Gate 1", "", ""),
    ("d", "8ABC123", "CA", "US", AT + timedelta(hours=3), "", "", "", "", "", "", ""),
    ("e", "8A8C123", "CA", "US", AT + timedelta(hours=3), 33.740, -118.270, "", "", "Gate 1", "", ""),
    ("f", "8ABC123", "", "", AT + timedelta(hours=4), 33.7401, -118.2701, "", "", "Gate 1", "", ""),
    ("g", "8ABC123", "BCN", "MX", AT + timedelta(hours=5), 33.740, -118.270, "", "", "Gate 1", "", ""),
]
COLUMNS = {
    "read_id": "id",
    "plate": "plate",
    "state": "state",
    "country": "country",
    "captured_at": "t",
    "latitude": "lat",
    "longitude": "lon",
    "address": "address",
    "make": "make",
    "camera": "cam",
}


@pytest.fixture(params=["csv", "sql", "sql with folded column"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Source]:
    table: dict[str, object] = {
        "id": "store",
        "class": "fixed",
        "columns": COLUMNS,
        "images": [{"view": "front", "id": "front", "digest": "front_sha"}],
    }
    rows = [[value.isoformat() if isinstance(value, datetime) else value for value in row] for row in ROWS]
    if request.param == "csv":
        with (tmp_path / "reads.csv").open("w", newline="") as file:
            csv.writer(file).writerows([HEADER, *rows])
        table |= {"kind": "csv", "path": "reads.csv"}
    else:
        with sqlite3.connect(tmp_path / "reads.db") as connection:
            connection.execute(f"CREATE TABLE reads ({', '.join(HEADER)}, folded)")
            for row in rows:
                folded = str(row[1]).upper().replace("-", "").replace(" ", "")
                connection.execute(f"INSERT INTO reads VALUES ({', '.join('?' * 13)})", (*row, folded))
        connection.close()
        table |= {"kind": "sql", "url": "sqlite:///reads.db", "table": "reads"}
        if "folded" in request.param:
            table["folded_plate"] = "folded"
    with open_source(parse_stores([table], home=tmp_path)[0]) as opened:
        yield opened


def query(**parts: object) -> SourceQuery:
    whole: dict[str, object] = {
        "folded_plate": "8ABC123",
        "state": "CA",
        "country": "US",
        "start": AT,
        "end": AT + timedelta(days=1),
        "limit": 10,
    }
    return SourceQuery(**(whole | parts))  # type: ignore[arg-type]


def ids(source: Source, **parts: object) -> list[str]:
    return [read.read_id for read in source.search(query(**parts)).reads]


def test_that_plate_newest_first(source: Source) -> None:
    """Matches of that plate only, newest first; a misread is another plate (Q6, Q10)."""
    assert ids(source) == ["f", "d", "b", "a"]


def test_unknown_state_matches_and_another_state_does_not(source: Source) -> None:
    """A read whose state is not known may be the one; one of Nevada or Mexico is not (Q6)."""
    assert ids(source, state="NV") == ["f", "c", "b"]
    assert ids(source, state="BCN", country="MX") == ["g", "f"]


def test_period_is_half_open(source: Source) -> None:
    """The first instant is inside, the end is not (Q2)."""
    assert ids(source, end=AT + timedelta(microseconds=1)) == ["a"]
    assert ids(source, start=AT + timedelta(microseconds=1), end=AT + timedelta(hours=1)) == []
    assert ids(source, start=AT - timedelta(days=1), end=AT) == []


def test_period_may_be_given_in_any_zone_and_reach_anywhere(source: Source) -> None:
    """A period from the first to the last date there is is no error, and finds what is there."""
    first = datetime(1, 1, 1, tzinfo=UTC)
    last = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert ids(source, start=first, end=last) == ["f", "d", "b", "a"]


def test_limit_keeps_the_newest_and_says_that_more_matched(source: Source) -> None:
    """What does not fit is said to be missing."""
    result = source.search(query(limit=2))
    assert [read.read_id for read in result.reads] == ["f", "d"] and result.truncated
    assert not source.search(query(limit=4)).truncated


def test_area_narrows_and_a_read_without_place_is_not_inside(source: Source) -> None:
    """Within 500 m of the gate: not the read 18 km away, not the one that tells no place (Q1)."""
    area = SearchArea(latitude=33.74, longitude=-118.27, radius_metres=500)
    assert ids(source, area=area) == ["f", "a"]


def test_other_plate_finds_nothing(source: Source) -> None:
    """No hit is an empty result, not an error."""
    result = source.search(query(folded_plate="9ZZZ999"))
    assert result.reads == () and not result.truncated and result.unusable == 0


def test_read_goes_whole_onto_the_wire(source: Source) -> None:
    """Every field that the store holds is in the message; what it does not hold is unset."""
    *_, oldest = source.search(query()).reads
    read = result_pb2.Read.FromString(oldest.to_proto().SerializeToString())
    assert (read.read_id, read.plate.number, read.plate.state, read.plate.country) == (
        "a",
        "8ABC123",
        "CA",
        "US",
    )
    assert read.captured_at.ToDatetime(tzinfo=UTC) == AT
    assert (read.location.latitude, read.location.address) == (33.74, "1 Quay Road")
    assert (read.vehicle.make, read.camera.name) == ("Honda", "Gate 1")
    assert [(i.image_id, i.view, i.digest.hex()) for i in read.images] == [("i1", "front", DIGEST)]
    assert not read.HasField("confidence") and not read.HasField("marking")


def test_unknown_place_is_unset_not_zero(source: Source) -> None:
    """A read without a place has no location: coordinates of 0 would be a place in the sea."""
    without = next(read for read in source.search(query()).reads if read.read_id == "d").to_proto()
    assert (
        not without.HasField("location")
        and not without.HasField("vehicle")
        and not without.HasField("camera")
    )


def test_survey_counts_the_whole_store(source: Source) -> None:
    """The survey tells how much there is and of when, and shows none of it."""
    survey = source.survey()
    assert (survey.usable, survey.rejected_count, survey.problems) == (7, 0, ())
    assert (survey.first, survey.last) == (AT, AT + timedelta(hours=5))
    assert "8ABC" not in repr(survey) + repr(source.describe())


def test_closing_twice_is_no_error(source: Source) -> None:
    """A store can be let go of more than once."""
    source.close()
    source.close()


@pytest.mark.parametrize(
    "parts",
    [
        {"folded_plate": "8abc123"},
        {"folded_plate": ""},
        {"state": ""},
        {"state": "california"},
        {"country": ""},
        {"start": datetime(2026, 1, 1)},
        {"end": AT},
        {"limit": 0},
    ],
)
def test_question_without_plate_state_or_period_cannot_be_made(parts: dict[str, object]) -> None:
    """There is no way to ask a store without one plate and one period (Q1, Q2, Q3)."""
    with pytest.raises(ValueError):
        query(**parts)
