"""The `[[store]]` tables of adapter.toml: what an agency says about its own stores.

A mapping is checked twice. Here, alone: every key is known, what is required is there, every value
means something. And when the store is opened: every column that it names is in the table or file.
Both times a wrong name is answered with the nearest right one. `docs/sources.md` is the reference.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import cast

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from comity.adapters.errors import MappingInvalid
from comity.adapters.sources.places import country_code
from comity.adapters.sources.times import TimeFormat

FIELDS = (
    "read_id",
    "plate",
    "state",
    "country",
    "captured_at",
    "latitude",
    "longitude",
    "address",
    "intersection",
    "make",
    "model",
    "colour",
    "direction",
    "camera",
    "camera_owner",
    "camera_kind",
    "confidence",
    "source",
)
"""The fields of a read that a column can fill, in the order of `comity.v1.Read`."""

DEFAULTED = ("country", "source", "camera", "camera_owner", "camera_kind")
"""The fields that `[store.defaults]` can fill where no column does."""

VIEWS = ("front", "rear", "plate", "scene")
"""What an image can show."""

_COMMON_KEYS = (
    "id",
    "class",
    "kind",
    "columns",
    "defaults",
    "images",
    "state_codes",
    "time_format",
    "time_zone",
    "confidence_scale",
)
_SQL_KEYS = ("url", "table", "folded_plate", "password_file")
_CSV_KEYS = ("path", "delimiter", "encoding", "header")
_SAMPLE = datetime(2003, 4, 25, 17, 46)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlPlace:
    """Where a database store is.

    Attributes:
        url: As SQLAlchemy writes it; may hold a password, so it is never shown.
        table: A table or view, optionally `schema.table`.
        folded_plate: An indexed column that holds the folded plate; empty: none.
        password_file: Holds the password alone; None: the URL holds what is needed.
    """

    url: str = field(repr=False)
    table: str
    folded_plate: str = ""
    password_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvPlace:
    """Where a file store is, and how it is written.

    Attributes:
        path: The file.
        delimiter: One character.
        encoding: Of the text; a byte order mark is skipped.
        header: The columns' names, for a file that has no header line; empty: its first line.
    """

    path: Path
    delimiter: str = ","
    encoding: str = "utf-8"
    header: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageColumns:
    """The columns that refer to one image of a read.

    Attributes:
        view: One of `VIEWS`.
        image_id: The column of its id.
        digest: The column of its SHA-256, in hex or 32 bytes; empty: none.
    """

    view: str
    image_id: str
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMapping:
    """One store: where it is, and which of its columns is what. Valid once built.

    Attributes:
        store_id: Unique in adapter.toml.
        store_class: What the policy decides by, for example `fixed`, `mobile`, `covert`.
        place: Where the store is.
        columns: Field → its columns; more than one only for a time in two columns.
        images: The columns of images.
        time: How times are written.
        defaults: Field → value where the row gives none.
        confidence_scale: What the reader calls certain: 1, 100, or its own number.
        state_codes: The store's own codes of states, in lower case → ISO 3166-2.
        home: The adapter's folder; what has to be kept aside is kept inside.
    """

    store_id: str
    store_class: str
    place: SqlPlace | CsvPlace
    columns: Mapping[str, tuple[str, ...]]
    images: tuple[ImageColumns, ...] = ()
    time: TimeFormat = field(default_factory=TimeFormat)
    defaults: Mapping[str, str] = field(default_factory=dict)
    confidence_scale: float = 1.0
    state_codes: Mapping[str, str] = field(default_factory=dict)
    home: Path


def load_stores(config: Path) -> tuple[StoreMapping, ...]:
    """Return the stores of an adapter.toml; paths in it are relative to its folder.

    Raises:
        MappingInvalid: The file cannot be read, or a store's table cannot be used.
    """
    try:
        tables = tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise MappingInvalid(f"`{config}` cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingInvalid(f"`{config}` is not TOML: {error}") from None
    return parse_stores(tables.get("store"), home=config.resolve().parent)


def parse_stores(tables: object, *, home: Path) -> tuple[StoreMapping, ...]:
    """Return the stores that the `[[store]]` tables of an adapter.toml describe.

    Raises:
        MappingInvalid: There is none, two have one id, or one cannot be used; the message names the
            store, the key and what would have been right.
    """
    if not isinstance(tables, list) or not tables:
        raise MappingInvalid("no store: at least one `[[store]]` table is required")
    stores: list[StoreMapping] = []
    for number, table in enumerate(tables, start=1):
        if not isinstance(table, dict):
            raise MappingInvalid(f"store {number}: not a `[[store]]` table")
        store = parse_store(table, home=home, name=f"store {number}")
        if any(store.store_id == other.store_id for other in stores):
            raise MappingInvalid(f"store {number}: id `{store.store_id}` is another store's already")
        stores.append(store)
    return tuple(stores)


def parse_store(table: Mapping[str, object], *, home: Path, name: str = "store") -> StoreMapping:
    """Return the store that one `[[store]]` table describes.

    Raises:
        MappingInvalid: It cannot be used.
    """
    store_id = _text(table, "id", name)
    if not re.fullmatch("[a-z][a-z0-9_-]{0,31}", store_id):
        raise MappingInvalid(f"{name}: id `{store_id}` is not 1 to 32 of a-z, 0-9, `_`, `-`, a letter first")
    name = f"store `{store_id}`"
    kind = _text(table, "kind", name)
    if kind not in ("sql", "csv"):
        raise MappingInvalid(f"{name}: kind `{kind}` is neither `sql` nor `csv`")
    keys = _COMMON_KEYS + (_SQL_KEYS if kind == "sql" else _CSV_KEYS)
    _refuse_unknown(table, keys, name)
    store_class = _text(table, "class", name)
    if not re.fullmatch("[a-z][a-z0-9_]{0,31}", store_class):
        raise MappingInvalid(f"{name}: class `{store_class}` is not 1 to 32 of a-z, 0-9, `_`, a letter first")
    columns = _columns(_table(table, "columns", name), name)
    if kind == "sql" and "read_id" not in columns:
        raise MappingInvalid(f"{name}: `[store.columns]` lacks `read_id`, which a database store must map")
    return StoreMapping(
        store_id=store_id,
        store_class=store_class,
        place=_sql(table, home, name) if kind == "sql" else _csv(table, home, name),
        columns=columns,
        images=_images(table.get("images", []), name),
        time=_time(table, name),
        defaults=_defaults(_table(table, "defaults", name), name),
        confidence_scale=_scale(table.get("confidence_scale", 1), name),
        state_codes=_state_codes(_table(table, "state_codes", name), name),
        home=home,
    )


def nearest(word: str, words: Iterable[str]) -> str:
    """Return ``; nearest is `x``` for the word that is most like a wrong one, or an empty text."""
    by_lower = {candidate.lower(): candidate for candidate in words}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.5)
    return f"; the nearest is `{by_lower[found[0]]}`" if found else ""


def _refuse_unknown(table: Mapping[str, object], keys: Sequence[str], name: str) -> None:
    for key in table:
        if key not in keys:
            hint = nearest(key, keys) or f"; known are {', '.join(keys)}"
            raise MappingInvalid(f"{name}: unknown key `{key}`{hint}")


def _text(table: Mapping[str, object], key: str, name: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if value is None:
        raise MappingInvalid(f"{name}: `{key}` is missing")
    if not isinstance(value, str) or (not value and default is None):
        raise MappingInvalid(f"{name}: `{key}` is not a text in quotes")
    return value


def _table(table: Mapping[str, object], key: str, name: str) -> Mapping[str, object]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise MappingInvalid(f"{name}: `{key}` is not a table `[store.{key}]`")
    return cast(Mapping[str, object], value)


def _columns(table: Mapping[str, object], name: str) -> Mapping[str, tuple[str, ...]]:
    where = f"{name}, columns"
    _refuse_unknown(table, FIELDS, where)
    for required in ("plate", "captured_at"):
        if required not in table:
            raise MappingInvalid(f"{where}: `{required}` is missing")
    if ("latitude" in table) != ("longitude" in table):
        raise MappingInvalid(f"{where}: `latitude` and `longitude` come together or not at all")
    columns: dict[str, tuple[str, ...]] = {}
    for key, value in table.items():
        if isinstance(value, str) and value:
            columns[key] = (value,)
        elif (
            key == "captured_at"
            and isinstance(value, list)
            and value
            and all(isinstance(part, str) and part for part in value)
        ):
            columns[key] = tuple(value)
        else:
            may = " or a list of columns' names" if key == "captured_at" else ""
            raise MappingInvalid(f"{where}: `{key}` is not a column's name in quotes{may}")
    return columns


def _sql(table: Mapping[str, object], home: Path, name: str) -> SqlPlace:
    url = _text(table, "url", name)
    try:
        make_url(url)
    except ArgumentError:
        raise MappingInvalid(
            f"{name}: `url` is not a database URL such as `sqlite:///stores/reads.db`"
        ) from None
    password_file = _text(table, "password_file", name, "")
    return SqlPlace(
        url=url,
        table=_text(table, "table", name),
        folded_plate=_text(table, "folded_plate", name, ""),
        password_file=home / password_file if password_file else None,
    )


def _csv(table: Mapping[str, object], home: Path, name: str) -> CsvPlace:
    delimiter = _text(table, "delimiter", name, ",")
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise MappingInvalid(f"{name}: `delimiter` is not one character such as `,`, `;` or `\\t`")
    encoding = _text(table, "encoding", name, "utf-8")
    try:
        "plate".encode(encoding)
    except (LookupError, ValueError):
        raise MappingInvalid(
            f"{name}: unknown `encoding` `{encoding}`; usual is `utf-8` or `latin-1`"
        ) from None
    header = table.get("header", [])
    if not isinstance(header, list) or not all(isinstance(column, str) and column for column in header):
        raise MappingInvalid(f"{name}: `header` is not a list of columns' names")
    return CsvPlace(
        path=home / _text(table, "path", name), delimiter=delimiter, encoding=encoding, header=tuple(header)
    )


def _images(tables: object, name: str) -> tuple[ImageColumns, ...]:
    if not isinstance(tables, list):
        raise MappingInvalid(f"{name}: `images` is not a list of `[[store.images]]` tables")
    images = []
    for number, table in enumerate(tables, start=1):
        where = f"{name}, image {number}"
        if not isinstance(table, dict):
            raise MappingInvalid(f"{where}: not a `[[store.images]]` table")
        _refuse_unknown(table, ("view", "id", "digest"), where)
        view = _text(table, "view", where)
        if view not in VIEWS:
            raise MappingInvalid(f"{where}: view `{view}` is none of {', '.join(VIEWS)}")
        images.append(
            ImageColumns(
                view=view, image_id=_text(table, "id", where), digest=_text(table, "digest", where, "")
            )
        )
    return tuple(images)


def _time(table: Mapping[str, object], name: str) -> TimeFormat:
    written = _text(table, "time_format", name, "iso")
    zone_name = _text(table, "time_zone", name, "")
    if written not in ("iso", "epoch", "epoch_ms"):
        _check_strptime(written, name)
    if not zone_name:
        return TimeFormat(written=written)
    try:
        zone = zoneinfo.ZoneInfo(zone_name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = nearest(zone_name, zoneinfo.available_timezones()) or "; for example `America/Los_Angeles`"
        raise MappingInvalid(f"{name}: unknown `time_zone` `{zone_name}`{hint}") from None
    return TimeFormat(written=written, zone=zone)


def _check_strptime(written: str, name: str) -> None:
    """Refuse a format that cannot be read back to the minute."""
    if "%" not in written:
        hint = nearest(written, ("iso", "epoch", "epoch_ms"))
        raise MappingInvalid(
            f"{name}: `time_format` `{written}` is neither `iso`, `epoch`, `epoch_ms` nor a format "
            f"such as `%m/%d/%Y %H:%M:%S`{hint}"
        )
    try:
        read_back = datetime.strptime(_SAMPLE.strftime(written), written).replace(tzinfo=None)
    except ValueError:
        raise MappingInvalid(f"{name}: `time_format` `{written}` cannot be read back") from None
    if read_back != _SAMPLE:
        raise MappingInvalid(
            f"{name}: `time_format` `{written}` does not tell year, month, day, hour and minute "
            "(`%I` needs `%p`)"
        )


def _defaults(table: Mapping[str, object], name: str) -> Mapping[str, str]:
    where = f"{name}, defaults"
    _refuse_unknown(table, DEFAULTED, where)
    defaults = {key: _text(table, key, where) for key in table}
    if "country" in defaults:
        code = country_code(defaults["country"])
        if not code:
            raise MappingInvalid(f"{where}: country `{defaults['country']}` is no ISO 3166 code such as `US`")
        defaults["country"] = code
    return defaults


def _scale(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1_000_000:
        raise MappingInvalid(f"{name}: `confidence_scale` is not a number such as 1 or 100")
    return float(value)


def _state_codes(table: Mapping[str, object], name: str) -> Mapping[str, str]:
    where = f"{name}, state_codes"
    codes = {}
    for key in table:
        value = _text(table, key, where)
        if not re.fullmatch("[A-Z]{2}-[A-Z0-9]{1,3}", value) or not country_code(value[:2]):
            raise MappingInvalid(f"{where}: `{value}` is no ISO 3166-2 code such as `US-CA`")
        codes[key.strip().lower()] = value
    return codes
