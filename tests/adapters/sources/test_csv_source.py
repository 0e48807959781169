"""CSV files as agencies really have them: read, counted, kept aside; never fatal, never silent."""

import json
import logging
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from comity.adapters.errors import SourceFailed, SourceUnavailable
from comity.adapters.sources import CsvSource
from comity.adapters.sources.csv import REPEATED_ID, REPEATED_ROW, TOO_FEW_FIELDS, TOO_MANY_FIELDS
from comity.adapters.sources.records import LINE_TOO_LONG, QUOTES_WRONG
from comity.adapters.sources.rows import CONFIDENCE_NOT_USABLE, PLACE_NOT_USABLE, TEXT_SHORTENED

HEADER = "id,plate,state,when,lat,lon,conf\n"
GOOD = "1,8ABC123,CA,2026-03-01T15:15:00Z,33.74,-118.27,0.97\n"


def row(number: int, **parts: str) -> str:
    """Return one row like GOOD with another id and the given fields replaced."""
    fields = dict(zip(HEADER.strip().split(","), GOOD.strip().split(","), strict=True))
    return ",".join((fields | {"id": str(number)} | parts).values()) + "\n"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(2, plate=""), "plate is empty"),
        (row(2, plate="THIS PLATE IS TOO LONG"), "plate number is longer than 16 characters"),
        (row(2, plate="..."), "plate number has no letter or digit"),
        (row(2, plate="8ABC\x00123"), "plate number holds a control character"),
        (row(2, when=""), "time is empty"),
        (row(2, when="soon"), "time is not written as ISO 8601 with date and time of day"),
        (row(2, when="1970-01-01T00:00:00Z"), "time is outside 1980 to 2199"),
        (row(2, id=""), "read id is empty"),
        (row(1), REPEATED_ID),
        ("2,8ABC123,CA\n", TOO_FEW_FIELDS),
        (row(2).strip() + ",and,more\n", TOO_MANY_FIELDS),
        ('2,"8ABC123,CA,2026-03-01T15:15:00Z,33.74,-118.27,0.97\n', QUOTES_WRONG),
        ("x" * 1_100_000 + "\n", LINE_TOO_LONG),
        ('2,"' + "x" * 200_000 + '",CA,2026-03-01T15:15:00Z,0,0,0\n', QUOTES_WRONG),
    ],
    ids=lambda value: value[:40].strip() if isinstance(value, str) else None,
)
def test_unusable_row_is_counted_with_its_reason_and_the_rest_is_read(
    make_csv, make_query, bad, reason
) -> None:
    """One bad row costs one row: the rows before and behind it answer, and the count says why."""
    source = make_csv(HEADER + GOOD + bad + row(3))
    assert dict(source.survey().rejected) == {reason: 1}
    assert {read.read_id for read in source.search(make_query()).reads} == {"1", "3"}


def test_open_quote_does_not_swallow_the_rows_behind_it(make_csv, make_query) -> None:
    """A quote that nobody closes, in the last column, costs its own line and not the file."""
    rows = "".join(row(number) for number in range(3, 200))
    source = make_csv(HEADER + GOOD + row(2, conf='"0.9') + rows)
    assert dict(source.survey().rejected) == {QUOTES_WRONG: 1}
    assert len(source.search(make_query(limit=1000)).reads) == 198


def test_quoted_field_may_span_lines(make_csv, make_query) -> None:
    """RFC 4180 allows a line break in quotes; such a row is one row."""
    source = make_csv(
        HEADER.strip() + ",address\n" + GOOD.strip() + ',"1 Quay Road\nLos Angeles"\n',
        columns={"plate": "plate", "captured_at": "when", "address": "address"},
    )
    assert source.search(make_query()).reads[0].address == "1 Quay Road Los Angeles"


def test_rejected_rows_are_kept_where_only_the_agency_reads_them(make_csv, tmp_path) -> None:
    """Rejected rows hold plates: they stay inside the adapter's home, mode 0600 in a folder of 0700."""
    make_csv(HEADER + GOOD + row(2, when="soon"))
    kept = tmp_path / "rejected" / "file.jsonl"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    found = json.loads(kept.read_text())
    assert found["line"] == 3 and found["row"][1] == "8ABC123"


def test_rejected_file_goes_when_nothing_is_rejected_any_more(make_csv, make_query, tmp_path) -> None:
    """What was kept aside of an older file does not outlive the fault."""
    source = make_csv(HEADER + row(2, when="soon"))
    assert (tmp_path / "rejected" / "file.jsonl").exists()
    (tmp_path / "reads.csv").write_text(HEADER + GOOD)
    assert len(source.search(make_query()).reads) == 1
    assert not (tmp_path / "rejected" / "file.jsonl").exists()


def test_log_counts_reasons_and_holds_no_plate(make_csv, caplog) -> None:
    """The log says how many rows were rejected and why; no plate and no row reaches it."""
    with caplog.at_level(logging.DEBUG):
        make_csv(HEADER + GOOD + row(2, when="soon") + row(3, plate="SECRET-PLATE-NUMBER-1"))
    assert "2 rejected" in caplog.text and "time is not written as ISO 8601" in caplog.text
    assert "8ABC123" not in caplog.text and "SECRET" not in caplog.text and "soon" not in caplog.text


def test_nothing_of_the_index_stays_behind(make_csv, tmp_path) -> None:
    """The index holds every plate: its file has no name, so nobody else opens it and a crash leaves none."""
    make_csv(HEADER + GOOD)
    assert list((tmp_path / "index").iterdir()) == []


def test_changed_file_is_read_again(make_csv, make_query, tmp_path) -> None:
    """What was removed from the file is not answered with any more, what was added is."""
    source = make_csv(HEADER + GOOD)
    replacement = tmp_path / "new.csv"
    replacement.write_text(HEADER + row(7))
    os.replace(replacement, tmp_path / "reads.csv")
    assert [read.read_id for read in source.search(make_query()).reads] == ["7"]


def test_vanished_file_fails_instead_of_answering_from_memory(make_csv, make_query, tmp_path) -> None:
    """A file that is gone may have been withdrawn: its old rows are not given out."""
    source = make_csv(HEADER + GOOD)
    (tmp_path / "reads.csv").unlink()
    with pytest.raises(SourceFailed):
        source.search(make_query())


def test_header_that_changed_fails_instead_of_guessing(make_csv, make_query, tmp_path) -> None:
    """A file whose columns changed no longer means what the mapping says."""
    source = make_csv(HEADER + GOOD)
    (tmp_path / "reads.csv").write_text(HEADER.replace("plate", "tag") + GOOD)
    with pytest.raises(SourceFailed, match="no column `plate`"):
        source.search(make_query())


def test_missing_column_is_named_with_the_nearest(make_csv) -> None:
    """A wrong column is answered with the one that was meant."""
    with pytest.raises(
        SourceUnavailable, match="no column `plate`, mapped to `plate`; the nearest is `plates`"
    ):
        make_csv(HEADER.replace("plate", "plates") + GOOD)


def test_file_without_header_does_not_show_its_first_row(make_csv) -> None:
    """Where the first line is a row, the error does not print it: it holds a plate."""
    with pytest.raises(SourceUnavailable) as caught:
        make_csv(GOOD + row(2))
    assert "8ABC123" not in str(caught.value) and "7 columns" in str(caught.value)


def test_header_can_stand_in_the_mapping(make_csv, make_query) -> None:
    """A file without a header line is read by the names that the mapping gives."""
    source = make_csv(GOOD + row(2), header=HEADER.strip().split(","))
    assert len(source.search(make_query()).reads) == 2


@pytest.mark.parametrize("content", ["", "\n\n", '"open\n'])
def test_file_without_a_header_line_is_refused(make_csv, content) -> None:
    """An empty file is a fault of its own, not a store without hits."""
    with pytest.raises(SourceUnavailable, match="no header line"):
        make_csv(content)


def test_missing_file_is_named(make_csv, tmp_path) -> None:
    """A path that leads nowhere is said when the adapter starts."""
    with pytest.raises(SourceUnavailable, match=r"cannot be read: No such file"):
        make_csv(GOOD, path="elsewhere.csv")


@pytest.mark.parametrize(
    ("content", "mapping"),
    [
        (b"\xef\xbb\xbf" + (HEADER + GOOD).encode(), {}),
        ((HEADER + GOOD).replace("\n", "\r\n").encode(), {}),
        ((HEADER + GOOD).replace("\n", "\r").encode(), {}),
        ((HEADER + GOOD).encode("utf-16"), {"encoding": "utf-16"}),
        ((HEADER + GOOD).replace(",", ";").encode(), {"delimiter": ";"}),
        ((HEADER + GOOD).replace(",", "\t").encode(), {"delimiter": "\t"}),
        ((HEADER + GOOD).rstrip("\n").encode(), {}),
        ((HEADER + "\n  \n" + GOOD + "\n").encode(), {}),
        ((HEADER + GOOD.strip() + ",,\n").encode(), {}),
        ((HEADER + GOOD.replace(",", " , ")).encode(), {}),
    ],
    ids=[
        "BOM",
        "CRLF",
        "CR",
        "UTF-16",
        "semicolon",
        "tab",
        "no last line end",
        "blank lines",
        "commas",
        "blanks",
    ],
)
def test_one_file_written_in_many_ways(make_csv, make_query, content, mapping) -> None:
    """Byte order marks, line ends, delimiters and blanks do not change what a file says."""
    source = make_csv(content, **mapping)
    read = source.search(make_query()).reads[0]
    assert (read.plate, read.state, read.latitude) == ("8ABC123", "CA", 33.74)
    assert not source.survey().rejected


def test_utf16_without_saying_so_is_explained(make_csv) -> None:
    """A file saved as 'Unicode text' is answered with the setting that reads it."""
    with pytest.raises(SourceUnavailable, match='encoding = "utf-16"'):
        make_csv((HEADER + GOOD).encode("utf-16"))


def test_bytes_of_another_encoding_cost_the_row_not_the_file(make_csv, make_query) -> None:
    """Latin-1 in a UTF-8 file: a broken plate is rejected, a broken address is shown as broken."""
    header = HEADER.strip() + ",address\n"
    broken_plate = GOOD.strip().replace("8ABC", "8ÄBC") + ",Quay\n"
    broken_address = row(2).strip() + ",Señal Street\n"
    columns = {"read_id": "id", "plate": "plate", "captured_at": "when", "address": "address"}
    source = make_csv((header + broken_plate + broken_address).encode("latin-1"), columns=columns)
    assert source.survey().rejected_count == 1
    assert [read.address for read in source.search(make_query()).reads] == ["Se\ufffdal Street"]


def test_plate_is_found_folded_and_shown_as_read(make_csv, make_query) -> None:
    """Matching folds; showing never does."""
    source = make_csv(HEADER + row(1, plate="8abc-123") + row(2, plate="8ABC 123"))
    assert {read.plate for read in source.search(make_query()).reads} == {"8abc-123", "8ABC 123"}


@pytest.mark.parametrize(
    ("lat", "lon", "expected", "is_noted"),
    [
        ("33.74", "-118.27", (33.74, -118.27), False),
        ("33,74", "-118,27", (33.74, -118.27), False),
        ("0", "0", (None, None), True),
        ("0.0", "-118.27", (None, None), True),
        ("NA", "NA", (None, None), False),
        ("", "", (None, None), False),
        ("33.74", "", (None, None), True),
        ("91", "-118", (None, None), True),
        ("nan", "inf", (None, None), True),
        ("1e999", "1", (None, None), True),
    ],
)
def test_place_that_is_none_is_left_out(make_csv, make_query, lat, lon, expected, is_noted) -> None:
    """Coordinates of 0, NA or off the globe are no place; the read stays, and the doubt is counted."""
    quoted = {"lat": f'"{lat}"', "lon": f'"{lon}"'}
    source = make_csv(HEADER + row(1, **quoted))
    read = source.search(make_query()).reads[0]
    assert (read.latitude, read.longitude) == expected
    assert (PLACE_NOT_USABLE in source.survey().noted) is is_noted


@pytest.mark.parametrize(
    ("scale", "written", "expected"),
    [
        (1, "0.87", 0.87),
        (100, "87", 0.87),
        (1000, "870", 0.87),
        (1, "87%", 0.87),
        (100, "870", None),
        (1, "-1", None),
        (100, "NA", None),
        (100, "high", None),
    ],
)
def test_confidence_on_its_own_scale(make_csv, make_query, scale, written, expected) -> None:
    """Each store says what certain means; a number beyond it is left out, not cut down."""
    source = make_csv(HEADER + row(1, conf=written), confidence_scale=scale)
    read = source.search(make_query()).reads[0]
    assert read.confidence == (None if expected is None else pytest.approx(expected))
    assert (CONFIDENCE_NOT_USABLE in source.survey().noted) is (expected is None and written != "NA")


def test_reader_stream_with_literals_in_fields(make_csv, make_query) -> None:
    """A stream in the shape of a plate reader's: Python literals in fields, lower-case plates."""
    content = (
        "timestamp,plate,score,file,model_make,color,region,candidates\n"
        "2026-03-01 15:15:43.970337+00:00,8abc123,0.781,/shots/26-03-01/1.jpg,"
        "\"[{'make': 'Honda', 'model': 'Accord', 'score': 0.9}, {'make': 'Kia', 'model': 'Rio'}]\","
        "\"[{'color': 'silver', 'score': 0.7}]\",\"{'code': 'us-ca', 'score': 0.2}\",[]\n"
        "2026-03-02 15:15:43+00:00,8abc123,0.5,,[],not a literal,\"{'code': '', 'score': 0}\",[]\n"
    )
    source = make_csv(
        content,
        columns={
            "plate": "plate",
            "captured_at": "timestamp",
            "state": "region.code",
            "make": "model_make[0].make",
            "model": "model_make[0].model",
            "colour": "color[0].color",
            "confidence": "score",
        },
        images=[{"view": "scene", "id": "file"}],
    )
    newest, oldest = source.search(make_query()).reads
    assert (oldest.make, oldest.model, oldest.colour, oldest.state) == ("Honda", "Accord", "silver", "CA")
    assert [image.image_id for image in oldest.images] == ["/shots/26-03-01/1.jpg"]
    assert (newest.make, newest.colour, newest.state, newest.images) == ("", "", "", ())
    assert sum(source.survey().noted.values()) == 1


def test_literal_is_read_not_run(make_csv, make_query, tmp_path) -> None:
    """A field that holds code is text: nothing of it runs, and nesting without end is no crash."""
    mark = tmp_path / "ran"
    rows = [
        f"1,8ABC123,2026-03-01T15:15:00Z,\"__import__('pathlib').Path('{mark}').touch()\"\n",
        f'2,8ABC123,2026-03-01T15:15:00Z,"{"[" * 9000}"\n',
    ]
    source = make_csv(
        "id,plate,when,vehicle\n" + "".join(rows),
        columns={"read_id": "id", "plate": "plate", "captured_at": "when", "make": "vehicle.make"},
    )
    assert len(source.search(make_query()).reads) == 2
    assert not mark.exists()


def test_time_in_two_columns(make_csv, make_query) -> None:
    """Date and time in two fields, as a reader's file drop writes them, are one time."""
    source = make_csv(
        "Guid,Plate,UTCDate,UTCTime\na1,8ABC123,2026:03:01,15:15:00.250\n",
        columns={"read_id": "Guid", "plate": "Plate", "captured_at": ["UTCDate", "UTCTime"]},
        time_format="%Y:%m:%d %H:%M:%S.%f",
        time_zone="UTC",
    )
    read = source.search(make_query()).reads[0]
    assert read.captured_at == datetime(2026, 3, 1, 15, 15, 0, 250_000, tzinfo=UTC)


def test_rows_without_an_id_get_one_and_repeats_are_dropped(make_csv, make_query) -> None:
    """A file without ids: each read gets a stable one; a row that is there twice is one read."""
    columns = {"plate": "plate", "captured_at": "when", "camera": "cam"}
    line = "8ABC123,2026-03-01T15:15:00Z,"
    content = "plate,when,cam\n" + line + "Gate 1\n" + line + "Gate 2\n" + line + "Gate 1\n"
    source = make_csv(content, columns=columns)
    reads = source.search(make_query()).reads
    assert {read.camera for read in reads} == {"Gate 1", "Gate 2"} and len(
        {read.read_id for read in reads}
    ) == 2
    assert dict(source.survey().rejected) == {REPEATED_ROW: 1}
    again = make_csv(content, columns=columns)
    assert {read.read_id for read in again.search(make_query()).reads} == {read.read_id for read in reads}


def test_giant_and_hostile_texts_are_tamed(make_csv, make_query) -> None:
    """A text that would flood a page is shortened; control characters do not reach a terminal."""
    header = HEADER.strip() + ",address,camera\n"
    source = make_csv(
        header + GOOD.strip() + "," + "x" * 5000 + ",gate\x1b[2J 1\n",
        columns={"plate": "plate", "captured_at": "when", "address": "address", "camera": "camera"},
    )
    read = source.search(make_query()).reads[0]
    assert len(read.address) == 256 and TEXT_SHORTENED in source.survey().noted
    assert read.camera == "gate [2J 1"


def test_representation_of_a_read_shows_nothing_of_it(make_csv, make_query) -> None:
    """Reads, results and queries can end up in a traceback: their representation holds no plate."""
    source: CsvSource = make_csv(HEADER + GOOD)
    result = source.search(make_query())
    shown = repr(result) + repr(result.reads[0]) + repr(make_query())
    assert "8ABC123" not in shown and "33.74" not in shown


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    """Reading a file tells how far it is, up to all of it."""
    from comity.adapters.sources.mapping import parse_store

    (tmp_path / "reads.csv").write_text(HEADER + "".join(row(number) for number in range(2500)))
    table: dict[str, object] = {
        "id": "file",
        "class": "fixed",
        "kind": "csv",
        "path": "reads.csv",
        "columns": {"plate": "plate", "captured_at": "when"},
    }
    told: list[tuple[int, int]] = []
    CsvSource(parse_store(table, home=tmp_path), lambda done, total: told.append((done, total))).close()
    assert len(told) == 3 and told[-1][0] == told[-1][1] == (tmp_path / "reads.csv").stat().st_size
