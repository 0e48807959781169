"""One row of a store, of whatever kind, read into a `StoredRead`.

What makes a row a read is its plate and its time: without either it is unusable, and says so with
one of few fixed reasons. Everything else may be missing, and what is there but means nothing (a
coordinate of 0, a confidence of 940 on a scale of 100) is left out and noted. No reason and no note
holds anything of the row.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

from comity.adapters.errors import SourceUnavailable
from comity.adapters.sources.mapping import StoreMapping, nearest
from comity.adapters.sources.places import Jurisdiction, is_nothing, read_jurisdiction
from comity.adapters.sources.source import StoredImage, StoredRead
from comity.adapters.sources.times import RowUnusable
from comity.policy.plates import PlateInvalid, fold

MAX_TEXT_CHARACTERS = 256
"""The longest text of a read; a longer one is shortened and noted."""
MAX_ID_CHARACTERS = 200
"""The longest id of a read or an image."""

TEXT_SHORTENED = "text longer than 256 characters: shortened"
PLACE_NOT_USABLE = "coordinates are 0, outside the globe or no numbers: left out"
CONFIDENCE_NOT_USABLE = "confidence is no number from 0 to the mapping's `confidence_scale`: left out"
LITERAL_NOT_USABLE = "field does not hold the list or table that the mapping looks into: left out"
IMAGE_NOT_USABLE = "image's id or SHA-256 is not usable: left out"

_LITERAL_CHARACTERS = 20_000
_JURISDICTIONS_REMEMBERED = 500
_PATH = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,3}\])+")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,3})\]")
_TEXT_FIELDS = ("address", "intersection", "make", "model", "colour", "direction")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRow:
    """A row that was read.

    Attributes:
        read: The read.
        folded_plate: Its plate, folded.
        notes: What was not as it should be.
    """

    read: StoredRead
    folded_plate: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Where in a row a value stands.

    Attributes:
        index: The column, from 0.
        path: Steps into the list or table that the column holds; empty: the value itself.
    """

    index: int
    path: tuple[str | int, ...] = ()


class RowReader:
    """Reads rows of a store whose columns are known to be as its mapping says."""

    def __init__(self, mapping: StoreMapping, available: Sequence[str], *, hint: str = "") -> None:
        """Find every column that the mapping names among those of the store.

        The hint is said where no name is near: a file without a header line would show a row.

        Raises:
            SourceUnavailable: One is not there, or there twice; the message names the nearest.
        """
        self._mapping = mapping
        self._hint = hint
        self._jurisdictions: dict[tuple[str, str], Jurisdiction] = {}
        self._columns = {
            field: tuple(self._find(name, field, available) for name in names)
            for field, names in mapping.columns.items()
        }
        self._images = [
            (
                image.view,
                self._find(image.image_id, "images", available),
                self._find(image.digest, "images", available) if image.digest else None,
            )
            for image in mapping.images
        ]

    def _find(self, name: str, field: str, available: Sequence[str]) -> Column:
        where = f"store `{self._mapping.store_id}`"
        if available.count(name) > 1:
            raise SourceUnavailable(f"{where}: column `{name}`, mapped to `{field}`, is there twice")
        if name in available:
            return Column(index=available.index(name))
        for cut in (match.start() for match in re.finditer(r"[.\[]", name)):
            if name[:cut] in available and _PATH.fullmatch(name[cut:]):
                steps = tuple(key or int(index) for key, index in _STEP.findall(name[cut:]))
                return Column(index=available.index(name[:cut]), path=steps)
        hint = nearest(name, available) or self._hint
        raise SourceUnavailable(f"{where}: no column `{name}`, mapped to `{field}`{hint}")

    def read(self, row: Sequence[object]) -> ReadRow:
        """Return the read that a row holds.

        Raises:
            RowUnusable: It holds none; the message is its reason.
        """
        mapping = self._mapping
        notes: list[str] = []
        plate = _as_text(self._value("plate", row, notes)).strip()
        try:
            folded = fold(plate)
        except PlateInvalid as error:
            raise RowUnusable("plate is empty" if not plate else str(error)) from None
        time = mapping.time.read(self._time_value(row, notes))
        if time.note:
            notes.append(time.note)
        jurisdiction = self._jurisdiction(row, notes)
        latitude, longitude = self._coordinates(row, notes)
        texts = {field: self._text(field, row, notes) for field in _TEXT_FIELDS}
        read = StoredRead(
            store_id=mapping.store_id,
            read_id=self._read_id(row, notes, folded, time.at),
            plate=plate,
            state=jurisdiction.state,
            country=jurisdiction.country,
            captured_at=time.at,
            latitude=latitude,
            longitude=longitude,
            camera=self._text("camera", row, notes),
            camera_owner=self._text("camera_owner", row, notes),
            camera_kind=self._text("camera_kind", row, notes),
            images=self._image_references(row, notes),
            confidence=self._confidence(row, notes),
            source=self._text("source", row, notes),
            **texts,
        )
        return ReadRow(read=read, folded_plate=folded, notes=tuple(notes))

    def folded_plate(self, row: Sequence[object]) -> str | None:
        """Return the folded plate of a row, whatever else is wrong with it; None if it has none."""
        try:
            return fold(_as_text(self._value("plate", row, [])))
        except PlateInvalid:
            return None

    def _value(self, field: str, row: Sequence[object], notes: list[str]) -> object:
        columns = self._columns.get(field)
        return None if columns is None else _dig(row, columns[0], notes)

    def _time_value(self, row: Sequence[object], notes: list[str]) -> object:
        columns = self._columns["captured_at"]
        if len(columns) == 1:
            return _dig(row, columns[0], notes)
        return " ".join(_as_text(_dig(row, column, notes)).strip() for column in columns)

    def _read_id(self, row: Sequence[object], notes: list[str], folded: str, at: datetime) -> str:
        if "read_id" not in self._columns:
            seed = "\x1f".join((self._mapping.store_id, folded, at.isoformat()))
            return hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:20]
        read_id = _as_text(self._value("read_id", row, notes)).strip()
        if not read_id or len(read_id) > MAX_ID_CHARACTERS or not read_id.isprintable():
            raise RowUnusable(
                "read id is empty" if not read_id else "read id is not 1 to 200 printable characters"
            )
        return read_id

    def _jurisdiction(self, row: Sequence[object], notes: list[str]) -> Jurisdiction:
        written = _as_text(self._value("state", row, notes)), _as_text(self._value("country", row, notes))
        found = self._jurisdictions.get(written)
        if found is None:
            found = read_jurisdiction(
                state=written[0],
                country=written[1],
                default_country=self._mapping.defaults.get("country", ""),
                state_codes=self._mapping.state_codes,
            )
            if len(self._jurisdictions) < _JURISDICTIONS_REMEMBERED:
                self._jurisdictions[written] = found
        notes.extend(found.notes)
        return found

    def _coordinates(self, row: Sequence[object], notes: list[str]) -> tuple[float | None, float | None]:
        if "latitude" not in self._columns:
            return None, None
        values = self._value("latitude", row, notes), self._value("longitude", row, notes)
        if all(value is None or is_nothing(_as_text(value)) for value in values):
            return None, None
        latitude, longitude = (_as_number(value) for value in values)
        if not latitude or not longitude or abs(latitude) > 90 or abs(longitude) > 180:
            notes.append(PLACE_NOT_USABLE)
            return None, None
        return latitude, longitude

    def _confidence(self, row: Sequence[object], notes: list[str]) -> float | None:
        value = self._value("confidence", row, notes)
        if value is None or is_nothing(_as_text(value)):
            return None
        scale = self._mapping.confidence_scale
        if isinstance(value, str) and value.strip().endswith("%"):
            value, scale = value.strip().removesuffix("%"), 100.0
        number = _as_number(value)
        if number is None or not 0 <= number <= scale:
            notes.append(CONFIDENCE_NOT_USABLE)
            return None
        return number / scale

    def _text(self, field: str, row: Sequence[object], notes: list[str]) -> str:
        value = self._value(field, row, notes)
        if value is None or value == "":
            return self._mapping.defaults.get(field, "")
        text = _printable(_as_text(value)).strip()
        if is_nothing(text):
            return self._mapping.defaults.get(field, "")
        if len(text) > MAX_TEXT_CHARACTERS:
            notes.append(TEXT_SHORTENED)
            return text[: MAX_TEXT_CHARACTERS - 1] + "…"
        return text

    def _image_references(self, row: Sequence[object], notes: list[str]) -> tuple[StoredImage, ...]:
        references = []
        for view, id_column, digest_column in self._images:
            image_id = _as_text(_dig(row, id_column, notes)).strip()
            if is_nothing(image_id):
                continue
            digest = b"" if digest_column is None else _as_digest(_dig(row, digest_column, notes))
            if digest is None or len(image_id) > MAX_ID_CHARACTERS or not image_id.isprintable():
                notes.append(IMAGE_NOT_USABLE)
                continue
            references.append(StoredImage(image_id=image_id, view=view, digest=digest))
        return tuple(references)


def _dig(row: Sequence[object], column: Column, notes: list[str]) -> object:
    """Return the value of a column, or what stands at the path in the list or table it holds."""
    value = row[column.index]
    if not column.path or value is None or value == "":
        return value
    if isinstance(value, str):
        value = _literal(value)
    for step in column.path:
        if isinstance(value, list | tuple | dict) and not value:
            return None
        try:
            value = value[step]  # type: ignore[index]
        except (TypeError, KeyError, IndexError):
            notes.append(LITERAL_NOT_USABLE)
            return None
    return value


@lru_cache(maxsize=1024)
def _literal(text: str) -> object:
    """Return what a JSON text or a Python literal means; None if it is neither. Runs nothing.

    Remembered for the last texts, because several columns dig in one cell and cells repeat; what is
    returned is shared, so nobody changes it.
    """
    if len(text) > _LITERAL_CHARACTERS:
        return None
    parsers: tuple[Callable[[str], object], ...] = (json.loads, ast.literal_eval)
    for parse in parsers:
        try:
            return parse(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


def _as_text(value: object) -> str:
    """Return a value as text; empty for what is not a text, a number or the like."""
    match value:
        case None | bool():
            return ""
        case str():
            return value
        case int() | float() | Decimal():
            return str(value)
        case bytes() | bytearray() | memoryview() | list() | tuple() | dict():
            return ""
        case _:
            return str(value)


def _as_number(value: object) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    if isinstance(value, str):
        value = value.strip()
        if "," in value and "." not in value and value.count(",") == 1:
            value = value.replace(",", ".")
        if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", value):
            return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _as_digest(value: object) -> bytes | None:
    """Return a SHA-256 given as 32 bytes or in hex; empty for none, None for anything else."""
    if isinstance(value, bytes | memoryview):
        return bytes(value) if len(value) in (0, 32) else None
    text = _as_text(value).strip()
    if is_nothing(text):
        return b""
    return bytes.fromhex(text) if re.fullmatch("[0-9A-Fa-f]{64}", text) else None


def _printable(text: str) -> str:
    """Return a text whose control characters and broken bytes are replaced, so that it can be shown."""
    if text.isprintable():
        return text
    return "".join(
        "\ufffd" if (category := unicodedata.category(c)) == "Cs" else " " if category in ("Cc", "Cf") else c
        for c in text
    )
