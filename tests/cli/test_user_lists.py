"""User lists and training records are read, or refused with line and column (L9)."""

from __future__ import annotations

from datetime import date as Date
from pathlib import Path

import pytest

from comity.cli.csv_files import ListInvalid
from comity.cli.user_lists import read_list

CSV = "user,trained_on,account_reviewed_on,good_standing,badge\na,2026-01-31,2026-02-01,yes,7\nb,,,no,8\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.csv", CSV),
        ("u.csv", "\ufeff" + CSV.replace(",", ";").replace("\n", "\r\n")),
        (
            "u.json",
            '[{"user": "a", "trained_on": "2026-01-31T00:00:00Z", "account_reviewed_on": "2026-02-01"},'
            '{"user": "b", "good_standing": false, "trained_on": null}]',
        ),
        (
            "u.json",
            '{"users": {"a": {"trained_on": "2026-01-31", "account_reviewed_on": "2026-02-01"},'
            '"b": {"good_standing": "no"}}}',
        ),
        (
            "u.toml",
            "[users.a]\ntrained_on = 2026-01-31\naccount_reviewed_on = 2026-02-01\n"
            "[users.b]\ngood_standing = false",
        ),
        (
            "u.toml",
            '[[user]]\nuser = "a"\ntrained_on = 2026-01-31T10:00:00Z\naccount_reviewed_on = "2026-02-01"\n'
            '[[user]]\nuser = "b"\ngood_standing = false',
        ),
    ],
)
def test_list_of_any_kind_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    """CSV with comma or semicolon, JSON and TOML, as lists or by name (L9)."""
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    found = read_list(tmp_path / name)
    assert sorted(found) == ["a", "b"]
    assert (found["a"].trained_on, found["a"].account_reviewed_on) == (Date(2026, 1, 31), Date(2026, 2, 1))
    assert (found["b"].trained_on, found["b"].good_standing, found["a"].good_standing) == (None, False, True)
    assert "'a'" not in repr(found["a"])


def test_latest_of_several_records_counts(tmp_path: Path) -> None:
    """Training records hold a line for each training (L9)."""
    (tmp_path / "t.csv").write_text("login,on\na,2025-01-01\na,2026-03-01\na,2024-01-01\n")
    found = read_list(tmp_path / "t.csv", {"user": "login", "trained_on": "on"})
    assert found["a"].trained_on == Date(2026, 3, 1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("u.csv", "usr,trained_on\na,2026-01-01\n", "line 1: no column `user`; did you mean `usr`"),
        ("u.csv", "user,user\na,b\n", "line 1: column `user` stands twice"),
        ("u.csv", "user,trained_on\na,2026-01-01\nb,soon\n", "line 3, `trained_on`: `soon` is not a day"),
        ("u.csv", "user,trained_on\na,2026-13-01\n", "line 2, `trained_on`: `2026-13-01` is not a day"),
        ("u.csv", "user,trained_on\na\n", "line 2: has 1 columns, the header has 2"),
        (
            "u.csv",
            "user,good_standing\na,perhaps\n",
            "line 2, `good_standing`: `perhaps` is not",
        ),
        ("u.csv", "user,trained_on\n,2026-01-01\n", "line 2, `user`: is no user's name"),
        ("u.csv", 'user\n"a\n', "is not CSV"),
        ("u.csv", "user\n", "it lists nobody"),
        ("u.json", "{", "line 1 column 2: is not JSON"),
        ("u.json", '{"people": []}', "expected a list of records, or `users`"),
        ("u.json", '[{"user": "a"}, 7]', "record 2: is not an object"),
        ("u.json", '[{"user": "a"}, {"user": 7}]', "record 2, `user`: is no user's name"),
        ("u.toml", "[users\n", "is not TOML"),
        ("u.toml", "users = 7", "expected a list of records"),
        ("u.toml", "[users]\na = 7", "user 1: is not a table"),
        ("u.xls", "user", "ends in .csv, .json or .toml"),
    ],
)
def test_list_that_is_wrong_names_line_and_column(tmp_path: Path, name: str, text: str, said: str) -> None:
    """What can't be read is named where it stands, and nothing is compared (L9)."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ListInvalid) as raised:
        read_list(tmp_path / name)
    assert said in str(raised.value) and str(tmp_path / name) in str(raised.value)


def test_list_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is named (L9)."""
    with pytest.raises(ListInvalid, match="cannot be read"):
        read_list(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ListInvalid, match="is not UTF-8"):
        read_list(tmp_path / "bytes.csv")
