"""Cases as a table: each row is a case of its own, and a row that says nothing new is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.policy.cases import load_cases
from comity.policy.errors import CaseInvalid

DEFAULTS = """
[defaults]
now = 2026-03-02T12:00:00Z
requester = "lahd"
kind = "local"
reason = "NARCOTICS"
start = 2026-01-01T00:00:00Z
end = 2026-03-01T00:00:00Z
subject = { office = "Harbor", roles = ["investigator"] }
"""
TABLE = """
[[table]]
name = "offices"
reason = "STOLEN_VEHICLE"
columns = ["subject.office", "subject.roles", "expect.effect"]
rows = [
  ["Port", ["analyst"], "permit"],
  ["", [], "refuse"],
]
"""


def loaded(folder: Path, text: str) -> list[tuple[str, str, str, frozenset[str], object]]:
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests" / "tables.toml").write_text(DEFAULTS + text)
    return [
        (
            case.name,
            case.request.reason,
            case.request.subject.office,
            case.request.subject.roles,
            case.expect["effect"],
        )
        for case in load_cases(folder)
    ]


def test_each_row_is_a_case(tmp_path: Path) -> None:
    """It takes the table's words, then the defaults', and is called what it asks."""
    assert loaded(tmp_path, TABLE) == [
        ("offices: Port, analyst", "STOLEN_VEHICLE", "Port", frozenset({"analyst"}), "permit"),
        ("offices: none, none", "STOLEN_VEHICLE", "", frozenset(), "refuse"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('name = "offices"', "", "a table has no name"),
        ('["Port", ["analyst"], "permit"]', '["Port", "permit"]', "row 1 has not 3 values"),
        ('["", [], "refuse"]', '["Port", ["analyst"], "refuse"]', "row 2 asks the same as one before"),
        ('"subject.office"', '"subject.ofice"', "`ofice` is not known; did you mean `office`"),
        ('"subject.office"', '"reason.office"', "column `reason.office`: `reason` is no table"),
        ('"expect.effect"', '"expect.stores"', "`expect` names no effect"),
        ("rows = [", "lines = [", "`rows` is not a list of rows"),
        ("columns = [", "columns = 1\nother = [", "`columns` is not a list of words"),
    ],
)
def test_table_that_shows_nothing_is_refused(tmp_path: Path, before: str, after: str, says: str) -> None:
    """By name and row, or by the word that is wrong."""
    assert before in TABLE
    with pytest.raises(CaseInvalid, match=says.replace("[", "\\[")):
        loaded(tmp_path, TABLE.replace(before, after))
