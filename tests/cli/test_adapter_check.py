"""`comity adapter check`: an agency sees whether its stores can be used, and nobody sees a plate."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.cli.adapter import group

MAPPING = """
[[store]]
id = "gates"
class = "fixed"
kind = "csv"
path = "reads.csv"
time_zone = "America/Los_Angeles"

[store.columns]
plate = "tag"
captured_at = "seen"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "adapter.toml").write_text('agency = "harbor"\n' + MAPPING)
    rows = "tag,seen\n8ABC123,2026-03-01 07:15:00\n7XYZ999,2026-03-02 08:00:00\n6JKL555,soon\n"
    (tmp_path / "reads.csv").write_text(rows)
    return tmp_path


def check(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["check", "--config", str(home / "adapter.toml"), *arguments])


def test_check_counts_rows_and_shows_no_plate(home: Path) -> None:
    """Usable and rejected rows with reasons, the period, the columns; exit 0; no plate in any of it."""
    result = check(home)
    assert result.exit_code == 0
    assert "rows usable:    2" in result.output and "rows rejected:  1" in result.output
    assert "1 x time is not written as ISO 8601" in result.output
    assert "2026-03-01 15:15 to 2026-03-02 16:00 UTC" in result.output and "plate <- `tag`" in result.output
    assert not any(plate in result.output for plate in ("8ABC123", "7XYZ999", "6JKL555"))


def test_check_speaks_json(home: Path) -> None:
    """One object for a script: each store with its counts."""
    result = check(home, "--json")
    store = json.loads(result.output)["stores"][0]
    assert (store["id"], store["class"], store["kind"], store["usable"]) == ("gates", "fixed", "csv", 2)
    assert sum(store["rejected"].values()) == 1 and store["usable_store"] is True


def test_store_that_cannot_be_opened_is_a_finding(home: Path) -> None:
    """A missing file is named and the exit status is 1; the other stores are still looked at."""
    config = home / "adapter.toml"
    config.write_text(config.read_text() + MAPPING.replace("gates", "cars").replace("reads.csv", "cars.csv"))
    result = check(home)
    assert result.exit_code == 1
    assert "cannot be used: store `cars`" in result.output and "rows usable:    2" in result.output


def test_store_without_one_usable_row_is_a_finding(home: Path) -> None:
    """A mapping by which no row can be used is wrong, whatever it parses as."""
    config = home / "adapter.toml"
    config.write_text(config.read_text().replace('captured_at = "seen"', 'captured_at = "tag"'))
    result = check(home)
    assert result.exit_code == 1 and "no row can be used" in result.output


def test_wrong_mapping_is_wrong_use(home: Path) -> None:
    """A configuration that cannot be right exits 2 with one line that says what would be."""
    config = home / "adapter.toml"
    config.write_text(config.read_text().replace("captured_at", "captured"))
    result = check(home)
    assert result.exit_code == 2
    assert "unknown key `captured`; the nearest is `captured_at`" in result.output
    assert "Traceback" not in result.output
