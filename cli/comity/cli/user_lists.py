"""An agency's list of users and its training records, from CSV, JSON or TOML (L9).

Each record names a `user`; `trained_on` and `account_reviewed_on` are days such as 2026-01-31 (a time after
the day is cut off), `good_standing` is true or false, `office` a line. Other columns are left alone. Of
several records of one user the latest day counts.

    CSV    a header, then a line a record; comma or semicolon
    JSON   a list of objects, or {"users": …} with a list, or with objects by name
    TOML   [[user]] tables, or [users.NAME] as the demonstration's identity provider keeps them
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date as Date
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from comity.cli.csv_files import ListInvalid, csv_rows, read_text

COLUMNS: Final = ("user", "trained_on", "account_reviewed_on", "good_standing", "office")
"""What is read of a record."""
_TRUE: Final = frozenset({"true", "yes", "1", "active"})
_FALSE: Final = frozenset({"false", "no", "0", "inactive"})
_MOST_USER: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedUser:
    """One user of a list. Its repr names nobody."""

    user: str = field(repr=False)
    trained_on: Date | None = None
    account_reviewed_on: Date | None = None
    good_standing: bool = True
    office: str = ""


def read_list(path: Path, headers: Mapping[str, str] | None = None) -> dict[str, ListedUser]:
    """Return the users of a list by name.

    Args:
        path: `.csv`, `.json` or `.toml`.
        headers: The list's own name of a column, by ours; ours where it isn't given.

    Raises:
        ListInvalid: it can't be read, a column is missing, or a value is none.
    """
    named = {name: (headers or {}).get(name, name) for name in COLUMNS}
    text = read_text(path)
    readers = {".csv": _csv, ".json": _json, ".toml": _toml}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ListInvalid(f"file `{path}`: expected a name that ends in .csv, .json or .toml")
    found: dict[str, ListedUser] = {}
    for where, record in reader(path, text, named):
        user = _user(where, record, named)
        known = found.get(user.user)
        found[user.user] = user if known is None else _joined(known, user)
    if not found:
        raise ListInvalid(f"file `{path}`: it lists nobody: an empty list compares nothing")
    return found


def _joined(one: ListedUser, other: ListedUser) -> ListedUser:
    """Return one user of two records: the latest days, and standing only if both say so."""
    return replace(
        one,
        trained_on=_later(one.trained_on, other.trained_on),
        account_reviewed_on=_later(one.account_reviewed_on, other.account_reviewed_on),
        good_standing=one.good_standing and other.good_standing,
        office=other.office or one.office,
    )


def _later(one: Date | None, other: Date | None) -> Date | None:
    return max((each for each in (one, other) if each is not None), default=None)


_Records = Iterator[tuple[str, Mapping[str, object]]]


def _csv(path: Path, text: str, named: Mapping[str, str]) -> _Records:
    rows = csv_rows(path, text)
    header = next(rows, (1, []))[1]
    _check_header(path, header, named["user"])
    for line, row in rows:
        yield f"file `{path}`: line {line}", dict(zip(header, row, strict=True))


def _check_header(path: Path, header: Sequence[str], user: str) -> None:
    if user not in header:
        near = get_close_matches(user, header, n=1)
        shown = ", ".join(f"`{name}`" for name in header[:8])
        hint = f"; did you mean `{near[0]}`" if near else f"; it has {shown}"
        hint += f" (--column user={near[0] if near else 'HEADER'})"
        raise ListInvalid(f"file `{path}`: line 1: no column `{user}`{hint}")
    doubled = next((name for name in header if name and header.count(name) > 1), None)
    if doubled is not None:
        raise ListInvalid(f"file `{path}`: line 1: column `{doubled}` stands twice")


def _json(path: Path, text: str, named: Mapping[str, str]) -> _Records:
    try:
        document: object = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        at = f"line {error.lineno} column {error.colno}: " if isinstance(error, json.JSONDecodeError) else ""
        raise ListInvalid(f"file `{path}`: {at}is not JSON") from error
    if isinstance(document, dict):
        document = document.get("users")
    yield from _records(path, document, named)


def _toml(path: Path, text: str, named: Mapping[str, str]) -> _Records:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ListInvalid(f"file `{path}`: is not TOML: {error}") from error
    yield from _records(path, document.get("users", document.get("user")), named)


def _records(path: Path, found: object, named: Mapping[str, str]) -> _Records:
    """Yield the records of a list, or of a table of records by name."""
    if isinstance(found, dict):
        for number, (user, entry) in enumerate(found.items(), start=1):
            where = f"file `{path}`: user {number}"
            if not isinstance(entry, dict):
                raise ListInvalid(f"{where}: is not a table")
            yield where, {named["user"]: user, **entry}
    elif isinstance(found, list):
        for number, entry in enumerate(found, start=1):
            where = f"file `{path}`: record {number}"
            if not isinstance(entry, dict):
                raise ListInvalid(f"{where}: is not an object")
            yield where, entry
    else:
        raise ListInvalid(f"file `{path}`: expected a list of records, or `users`")


def _user(where: str, record: Mapping[str, object], named: Mapping[str, str]) -> ListedUser:
    name = record.get(named["user"])
    if not isinstance(name, str) or not 0 < len(name) <= _MOST_USER or not name.isprintable():
        raise ListInvalid(f"{where}, `{named['user']}`: is no user's name")
    office = record.get(named["office"], "")
    return ListedUser(
        user=name,
        trained_on=_day(where, named["trained_on"], record),
        account_reviewed_on=_day(where, named["account_reviewed_on"], record),
        good_standing=_standing(where, named["good_standing"], record),
        office=office if isinstance(office, str) else "",
    )


def _day(where: str, column: str, record: Mapping[str, object]) -> Date | None:
    value = record.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, Date):
        return value
    try:
        return Date.fromisoformat(str(value).strip()[:10])
    except ValueError as error:
        raise ListInvalid(f"{where}, `{column}`: `{value}` is not a day such as 2026-01-31") from error


def _standing(where: str, column: str, record: Mapping[str, object]) -> bool:
    value = record.get(column, True)
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in _TRUE or not word:
        return True
    if word in _FALSE:
        return False
    raise ListInvalid(f"{where}, `{column}`: `{value}` is not true or false")
