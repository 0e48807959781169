"""What is wrong with an adapter's configuration is said in one line that names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.adapters.config import load_config
from comity.adapters.errors import ConfigInvalid

GOOD = """
agency = "lapd"
broker = "127.0.0.1:7400"
broker_name = "broker.operator.example"
authority = "authority.json"
public = "public"
agreements = "agreements"
policy = "policy"

[[store]]
id = "reads"
class = "fixed"
kind = "csv"
path = "reads.csv"
time_format = "%Y-%m-%d %H:%M:%S"
time_zone = "America/Los_Angeles"

[store.columns]
plate = "plate"
captured_at = "time"
"""


@pytest.fixture
def adapter_toml(tmp_path: Path) -> Path:
    """A good configuration with its folders."""
    for folder in ("public", "agreements", "policy"):
        (tmp_path / folder).mkdir()
    for pin in (tmp_path / "authority.json", tmp_path / "public" / "authority.json"):
        pin.write_text("{}")
    path = tmp_path / "adapter.toml"
    path.write_text(GOOD)
    return path


def test_good_configuration_is_read_with_paths_from_its_folder(adapter_toml: Path) -> None:
    """Paths are relative to the file, and limits have defaults."""
    config = load_config(adapter_toml)
    assert config.agency == "lapd"
    assert config.home == adapter_toml.parent.resolve()
    assert config.public == config.home / "public"
    assert config.stores[0].store_id == "reads"
    assert config.max_in_flight > 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('broker_name = "broker.operator.example"', 'brokr_name = "x"', "did you mean `broker_name`"),
        ('agency = "lapd"\n', "", "key `agency` is missing"),
        ('agency = "lapd"', 'agency = "LAPD"', "key `agency`"),
        ("127.0.0.1:7400", "nowhere", "key `broker`"),
        ('policy = "policy"', 'policy = "politics"', "key `policy`: no folder"),
        ('authority = "authority.json"\n', "", "key `authority` is missing"),
        ('"authority.json"', '"nowhere.json"', "key `authority`: no file"),
        ('"authority.json"', '"public/authority.json"', "a pin in the published folder pins nothing"),
        ('policy = "policy"', 'policy = "policy"\nmax_in_flight = 0', "key `max_in_flight`"),
        ('kind = "csv"', 'kind = "xml"', "kind `xml`"),
        ('agency = "lapd"', "agency = ", "is not TOML"),
    ],
)
def test_wrong_configuration_names_file_and_key(adapter_toml: Path, old: str, new: str, said: str) -> None:
    """One line, with what would have been right."""
    adapter_toml.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigInvalid) as caught:
        load_config(adapter_toml)
    assert said in str(caught.value)
    assert str(adapter_toml) in str(caught.value)


def test_configuration_without_a_store_is_refused(adapter_toml: Path) -> None:
    """An adapter without a store could answer nothing."""
    adapter_toml.write_text(GOOD[: GOOD.index("[[store]]")])
    with pytest.raises(ConfigInvalid, match="store"):
        load_config(adapter_toml)


def test_missing_configuration_is_one_line(tmp_path: Path) -> None:
    """No traceback for a file that isn't there."""
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load_config(tmp_path / "adapter.toml")
