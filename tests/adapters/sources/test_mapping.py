"""What an agency says about its stores: accepted whole, or refused with the nearest right word."""

from pathlib import Path

import pytest

from comity.adapters.errors import MappingInvalid
from comity.adapters.sources.mapping import CsvPlace, SqlPlace, load_stores, parse_store, parse_stores

COLUMNS = {"read_id": "id", "plate": "plate", "captured_at": "when"}


def sql_table(**keys: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "id": "fixed",
        "class": "fixed",
        "kind": "sql",
        "url": "sqlite:///reads.db",
        "table": "reads",
        "columns": COLUMNS,
    }
    return {key: value for key, value in (whole | keys).items() if value is not None}


def csv_table(**keys: object) -> dict[str, object]:
    return sql_table(kind="csv", url=None, table=None, path="reads.csv") | keys


def test_smallest_mappings_are_enough(tmp_path: Path) -> None:
    """A plate, a time and where the store is: nothing else is required of a file."""
    sql = parse_store(sql_table(), home=tmp_path)
    csv = parse_store(csv_table(columns={"plate": "p", "captured_at": "t"}), home=tmp_path)
    assert isinstance(sql.place, SqlPlace) and isinstance(csv.place, CsvPlace)
    assert csv.place.path == tmp_path / "reads.csv"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (sql_table(tabel="reads"), "unknown key `tabel`; the nearest is `table`"),
        (csv_table(delimeter=";"), "unknown key `delimeter`; the nearest is `delimiter`"),
        (sql_table(delimiter=";"), "unknown key `delimiter`"),
        (sql_table(columns=COLUMNS | {"color": "c"}), "unknown key `color`; the nearest is `colour`"),
        (sql_table(columns={"read_id": "id", "plate": "p"}), "`captured_at` is missing"),
        (sql_table(columns={"plate": "p", "captured_at": "t"}), "lacks `read_id`"),
        (sql_table(columns=COLUMNS | {"latitude": "lat"}), "`latitude` and `longitude` come together"),
        (sql_table(columns=COLUMNS | {"plate": ["a", "b"]}), "`plate` is not a column's name"),
        (sql_table(kind="excel"), "neither `sql` nor `csv`"),
        (sql_table(id="Fixed Store"), "id `Fixed Store`"),
        (sql_table(**{"class": "Fixed!"}), "class `Fixed!`"),
        (sql_table(url="not a url"), "`url` is not a database URL"),
        (sql_table(url=None), "`url` is missing"),
        (csv_table(delimiter=";;"), "`delimiter` is not one character"),
        (csv_table(encoding="utf-9"), "unknown `encoding` `utf-9`"),
        (csv_table(encoding="hex"), "unknown `encoding` `hex`"),
        (sql_table(time_zone="America/Los_Angles"), "the nearest is `America/Los_Angeles`"),
        (sql_table(time_zone="../../etc/passwd"), "unknown `time_zone`"),
        (sql_table(time_format="epoch-ms"), "the nearest is `epoch_ms`"),
        (sql_table(time_format="%H:%M"), "does not tell year"),
        (sql_table(time_format="%Y-%m-%d %I:%M"), "needs `%p`"),
        (sql_table(confidence_scale=0), "`confidence_scale` is not a number"),
        (sql_table(confidence_scale=True), "`confidence_scale` is not a number"),
        (sql_table(defaults={"country": "Atlantis"}), "country `Atlantis`"),
        (sql_table(defaults={"plate": "X"}), "unknown key `plate`"),
        (sql_table(images=[{"view": "side", "id": "i"}]), "view `side`"),
        (sql_table(images=[{"view": "front"}]), "`id` is missing"),
        (sql_table(state_codes={"3": "California"}), "`California` is no ISO 3166-2 code"),
    ],
)
def test_wrong_mapping_is_refused_with_what_would_be_right(
    table: dict[str, object], expected: str, tmp_path: Path
) -> None:
    """Every fault names the store, the key and the right word; nothing wrong is passed over."""
    with pytest.raises(MappingInvalid) as caught:
        parse_store(table, home=tmp_path)
    assert expected in str(caught.value)


def test_two_stores_of_one_id_are_refused(tmp_path: Path) -> None:
    """A decision names stores by id, so no two can share one."""
    with pytest.raises(MappingInvalid, match="another store's already"):
        parse_stores([sql_table(), sql_table()], home=tmp_path)


@pytest.mark.parametrize("tables", [None, [], {}, ["fixed"]])
def test_no_store_is_no_configuration(tables: object, tmp_path: Path) -> None:
    """An adapter without a store is a mistake, not an adapter that never hits."""
    with pytest.raises(MappingInvalid):
        parse_stores(tables, home=tmp_path)


def test_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    """A configuration that cannot be read says so in one line."""
    path = tmp_path / "adapter.toml"
    with pytest.raises(MappingInvalid, match="cannot be read"):
        load_stores(path)
    path.write_text("[[store]\n")
    with pytest.raises(MappingInvalid, match="is not TOML"):
        load_stores(path)


def test_password_is_never_shown(tmp_path: Path) -> None:
    """The representation of a mapping can be logged: it holds no URL, so no password."""
    store = parse_store(sql_table(url="postgresql+psycopg://reader:s3cret@db/alpr"), home=tmp_path)
    assert "s3cret" not in repr(store)
