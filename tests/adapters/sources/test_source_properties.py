"""What holds for every file and every table: garbage is no crash, and SQL finds what `fold` says."""

import math
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import example, given, settings
from hypothesis import strategies as st

from comity.adapters.errors import SourceUnavailable
from comity.adapters.sources import CsvSource, SearchArea, SourceQuery
from comity.adapters.sources.mapping import parse_store
from comity.adapters.sources.sql import SqlSource
from comity.adapters.sources.times import RowUnusable, TimeFormat
from comity.policy.plates import PlateInvalid, fold

HEADER = b"id,plate,state,when,lat,lon,conf,vehicle\n"
GOOD = b"1,8ABC123,CA,2026-03-01T15:15:00Z,33.74,-118.27,0.97,\"{'make': 'Kia'}\"\n"
CSV_TABLE: dict[str, object] = {
    "id": "file",
    "class": "fixed",
    "kind": "csv",
    "path": "reads.csv",
    "columns": {
        "read_id": "id",
        "plate": "plate",
        "state": "state",
        "captured_at": "when",
        "latitude": "lat",
        "longitude": "lon",
        "confidence": "conf",
        "make": "vehicle.make",
    },
}
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
QUERY = SourceQuery(folded_plate="8ABC123", state="CA", country="US", start=START, end=END, limit=1000)

field = st.one_of(
    st.sampled_from(
        [
            b"8ABC123",
            b"CA",
            b"2026-03-01T15:15:00Z",
            b"0",
            b"NA",
            b"",
            b'"',
            b'""',
            b"'",
            b"\0",
            b"\xff\xfe",
            b"{}",
        ]
    ),
    st.binary(max_size=12),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
line = st.one_of(
    st.just(GOOD),
    st.lists(field, max_size=10).map(lambda fields: b",".join(fields) + b"\n"),
    st.binary(max_size=60),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(line, max_size=12))
@example([b'1,"8ABC123\n', GOOD, b'"\n'])
@example([b"\r", b"\n\r", b"\x1a", b"\xef\xbb\xbf"])
def test_garbage_never_stops_the_reading(lines: list[bytes]) -> None:
    """Any bytes behind a header are read: each row is used, or counted with its reason."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "reads.csv").write_bytes(HEADER + b"".join(lines))
        with closing(CsvSource(parse_store(CSV_TABLE, home=home))) as source:
            survey = source.survey()
            assert all(count > 0 for count in survey.rejected.values())
            found = source.search(QUERY)
            assert len(found.reads) <= survey.usable
            for read in found.reads:
                read.to_proto().SerializeToString()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_file_is_opened_or_refused_with_a_reason(content: bytes) -> None:
    """A file of any bytes at all either opens or is refused as unavailable."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "reads.csv").write_bytes(content)
        try:
            CsvSource(parse_store(CSV_TABLE, home=home)).close()
        except SourceUnavailable as error:
            assert "store `file`" in str(error)


# Plates near the one that is looked for, written in every way that could be mistaken for it.
plate = st.one_of(
    st.sampled_from(["8ABC123", "8abc123", "8ABC-123", "8 abc 123", "8A8C123", "8ABC123", "8ABC\u200b123"]),
    st.lists(st.sampled_from(list("8ABCabc123-. _%*?\u212b\u00dfÄ8\0")), max_size=18).map("".join),
    st.builds(
        lambda gaps: "".join(c + g for c, g in zip("8aBc123", gaps, strict=True)),
        st.lists(st.sampled_from(["", "-", " ", ".", "♥", "'"]), min_size=7, max_size=7),
    ),
    st.none(),
    st.integers(0, 9_999_999),
    st.binary(max_size=4),
)
instant = st.datetimes(datetime(2025, 12, 30), datetime(2026, 12, 3)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)
ZONES = [
    ZoneInfo("UTC"),
    ZoneInfo("Pacific/Kiritimati"),
    ZoneInfo("Pacific/Pago_Pago"),
    ZoneInfo("America/New_York"),
]


def _written(at: datetime, zone: ZoneInfo, how: str) -> object:
    local = at.astimezone(zone)
    return {
        "iso": local.isoformat(),
        "iso blank": local.isoformat(sep=" ", timespec="milliseconds"),
        "iso local": local.replace(tzinfo=None).isoformat(),
        "epoch": int(at.timestamp()),
        "epoch float": at.timestamp(),
        "epoch text": str(int(at.timestamp())),
        "%Y-%m-%d %H:%M:%S": local.strftime("%Y-%-m-%-d %H:%M:%S"),
        "%d/%m/%Y %H:%M": local.strftime("%d/%m/%Y %H:%M"),
    }[how]


@st.composite
def stores(draw: st.DrawFn) -> tuple[str, str, str, list[tuple[object, str | None, object]]]:
    """Draw a time format, a zone, a column type and rows of (plate, state, time)."""
    how = draw(
        st.sampled_from(
            [
                "iso",
                "iso blank",
                "iso local",
                "epoch",
                "epoch float",
                "epoch text",
                "%Y-%m-%d %H:%M:%S",
                "%d/%m/%Y %H:%M",
            ]
        )
    )
    zone = draw(st.sampled_from(ZONES))
    column = draw(st.sampled_from(["", "TEXT", "INTEGER", "REAL", "TIMESTAMP", "DATETIME"]))
    time = st.one_of(
        instant.map(lambda at: _written(at, zone, how)),
        st.sampled_from([None, "", "soon", 0, -1, b"x", 1e300]),
    )
    state = st.sampled_from(["CA", "us-ca", "california", "", None, "3", "NV", "POL", "MX"])
    rows = draw(st.lists(st.tuples(plate, state, time), max_size=12))
    return how.partition(" ")[0] if how.startswith(("iso", "epoch")) else how, zone.key, column, rows


@settings(max_examples=100, deadline=None)
@given(stores(), st.booleans())
def test_search_equals_brute_force_over_fold(
    store: tuple[str, str, str, list[tuple[object, str | None, object]]], with_folded: bool
) -> None:
    """SQL narrows, `fold` decides: never a row more, never one less than looking at every row (Q6)."""
    how, zone, column, rows = store
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with closing(sqlite3.connect(home / "reads.db")) as connection:
            connection.execute(f"CREATE TABLE reads (id INTEGER, plate, state TEXT, t {column}, folded TEXT)")
            for number, (written, state, time) in enumerate(rows):
                values = (number, written, state, time, _folded(written))
                connection.execute("INSERT INTO reads VALUES (?, ?, ?, ?, ?)", values)
            connection.commit()
            kept = connection.execute("SELECT id, t FROM reads").fetchall()
        table: dict[str, object] = {
            "id": "base",
            "class": "fixed",
            "kind": "sql",
            "url": "sqlite:///reads.db",
            "table": "reads",
            "columns": {"read_id": "id", "plate": "plate", "state": "state", "captured_at": "t"},
            "defaults": {"country": "US"},
            "time_format": how,
            "time_zone": zone,
        }
        if with_folded:
            table["folded_plate"] = "folded"
        with SqlSource(parse_store(table, home=home)) as source:
            found = {int(read.read_id) for read in source.search(QUERY).reads}
    times = TimeFormat(written=how, zone=ZoneInfo(zone))
    expected = {
        number
        for number, time in kept
        if _folded(rows[number][0]) == "8ABC123"
        and rows[number][1] not in ("NV", "POL", "MX")
        and _inside(times, time)
    }
    assert found == expected


def _folded(written: object) -> str | None:
    if written is None or isinstance(written, bytes):
        return None
    try:
        return fold(str(written))
    except PlateInvalid:
        return None


def _inside(times: TimeFormat, value: object) -> bool:
    try:
        return START <= times.read(value).at < END
    except RowUnusable:
        return False


@given(
    st.floats(-89, 89),
    st.floats(-179, 179),
    st.integers(1, 100_000),
    st.floats(0, 359),
    st.floats(0.05, 0.95),
)
def test_area_holds_what_is_near_and_not_what_is_far(
    latitude: float, longitude: float, radius: int, bearing: float, share: float
) -> None:
    """A place inside the radius is in the area, one twice as far is not, at any place on the globe."""
    area = SearchArea(latitude=latitude, longitude=longitude, radius_metres=radius)

    def moved(metres: float) -> tuple[float, float]:
        angle, here = metres / 6_371_008.8, math.radians(latitude)
        there = math.asin(
            math.sin(here) * math.cos(angle)
            + math.cos(here) * math.sin(angle) * math.cos(math.radians(bearing))
        )
        turned = math.atan2(
            math.sin(math.radians(bearing)) * math.sin(angle) * math.cos(here),
            math.cos(angle) - math.sin(here) * math.sin(there),
        )
        return math.degrees(there), math.degrees(math.radians(longitude) + turned)

    assert area.contains(*moved(radius * share))
    assert not area.contains(*moved(radius * 2.1))


def test_times_near_a_change_of_clocks_are_neither_lost_nor_doubled() -> None:
    """Around the hour that occurs twice, a search by the minute finds each read exactly once."""
    zone = ZoneInfo("America/Los_Angeles")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        start = datetime(2026, 11, 1, 7, tzinfo=UTC)
        with closing(sqlite3.connect(home / "reads.db")) as connection:
            connection.execute("CREATE TABLE reads (id INTEGER, plate TEXT, t TEXT)")
            for number in range(24):
                local = (start + timedelta(minutes=10 * number)).astimezone(zone).replace(tzinfo=None)
                connection.execute("INSERT INTO reads VALUES (?, '8ABC123', ?)", (number, local.isoformat()))
            connection.commit()
        table: dict[str, object] = {
            "id": "base",
            "class": "fixed",
            "kind": "sql",
            "url": "sqlite:///reads.db",
            "table": "reads",
            "columns": {"read_id": "id", "plate": "plate", "captured_at": "t"},
            "time_zone": zone.key,
        }
        with SqlSource(parse_store(table, home=home)) as source:
            found: list[str] = []
            for minute in range(-120, 360, 10):
                from_here = start + timedelta(minutes=minute)
                query = SourceQuery(
                    folded_plate="8ABC123",
                    state="CA",
                    country="US",
                    start=from_here,
                    end=from_here + timedelta(minutes=10),
                    limit=100,
                )
                found.extend(read.read_id for read in source.search(query).reads)
    assert sorted(found, key=int) == [str(number) for number in range(24)]
