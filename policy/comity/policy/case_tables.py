"""Cases that differ in a few words alone, as a table: a row for each.

::

    [[table]]
    name = "what the Port Police may ask for"
    columns = ["reason", "subject.office", "expect.effect", "expect.policies"]
    rows = [
      ["STOLEN_VEHICLE", "Harbor", "permit", ["lapd.moa"]],
      ["CIVIL_IMMIGRATION", "Harbor", "refuse", ["lapd.civil-immigration"]],
    ]

A column is a word of a case, with a dot between a table and its word. What the table says beside is said of
every row. A row's name is the table's with what the row asks; two rows may not ask the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from comity.policy.errors import CaseInvalid

_OWN = ("name", "columns", "rows")


def rows_of(table: object, where: str) -> Iterator[Mapping[str, object]]:
    """Yield each row as the `[[case]]` that it stands for.

    Raises:
        CaseInvalid: it isn't a table of that form, or asks the same twice; names table and row.
    """
    if not isinstance(table, dict) or not isinstance(name := table.get("name"), str) or not name:
        raise CaseInvalid(f"{where}: a table has no name")
    where = f"{where}: table `{name}`"
    columns, rows = table.get("columns"), table.get("rows")
    if not isinstance(columns, list) or not columns or not all(isinstance(one, str) for one in columns):
        raise CaseInvalid(f"{where}: `columns` is not a list of words")
    if not isinstance(rows, list) or not rows:
        raise CaseInvalid(f"{where}: `rows` is not a list of rows")
    common = {word: value for word, value in table.items() if word not in _OWN}
    seen = set[str]()
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(columns):
            raise CaseInvalid(f"{where}: row {number} has not {len(columns)} values, as it has columns")
        asked = ", ".join(
            _shown(value) for column, value in zip(columns, row, strict=True) if not _is_expected(column)
        )
        if asked in seen:
            raise CaseInvalid(f"{where}: row {number} asks the same as one before: {asked}")
        seen.add(asked)
        case: dict[str, object] = {**common, "name": f"{name}: {asked}"}
        for column, value in zip(columns, row, strict=True):
            _put(case, column, value, where)
        yield case


def _is_expected(column: str) -> bool:
    return column.startswith("expect.")


def _put(case: dict[str, object], column: str, value: object, where: str) -> None:
    word, dot, inner = column.partition(".")
    if not dot:
        case[word] = value
        return
    under = case.get(word, {})
    if not isinstance(under, dict):
        raise CaseInvalid(f"{where}: column `{column}`: `{word}` is no table")
    case[word] = {**under, inner: value}


def _shown(value: object) -> str:
    match value:
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case list():
            return " ".join(_shown(item) for item in value) or "none"
        case dict():
            return " ".join(_shown(item) for item in value.values())
        case _:
            return str(value) if value != "" else "none"
