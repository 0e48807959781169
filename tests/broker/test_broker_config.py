"""The broker's configuration: one clear line for each way in which it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from comity.broker.config import load_config
from comity.broker.errors import ConfigInvalid

GOOD = 'listen = "127.0.0.1:0"\nauthority = "authority.json"\npublic = "public"\nlodgements = "lodgements"\n'


def write(folder: Path, text: str) -> Path:
    for name in ("public", "lodgements"):
        (folder / name).mkdir()
    for pin in (folder / "authority.json", folder / "public" / "authority.json"):
        pin.write_text("{}")
    path = folder / "broker.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """A configuration means the same wherever the command is started."""
    config = load_config(write(tmp_path, GOOD))
    assert (config.home, config.public) == (tmp_path, tmp_path / "public")
    assert config.capture is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("listen", "listne"), "unknown key `listne`, did you mean `listen`"),
        (GOOD + "colour = 1\n", "unknown key `colour`, known are"),
        (GOOD.split("\n", 1)[1], "`listen` is missing"),
        (GOOD.replace("127.0.0.1:0", "127.0.0.1"), "expected `host:port`"),
        (GOOD.replace("127.0.0.1:0", "127.0.0.1:99999"), "expected `host:port`"),
        (GOOD.replace('"public"', '"nowhere"'), "which is not a folder"),
        (GOOD.replace('authority = "authority.json"\n', ""), "`authority` is missing"),
        (GOOD.replace('"authority.json"', '"nowhere.json"'), "which is not a file"),
        (GOOD.replace('"authority.json"', '"public/authority.json"'), "pins nothing there"),
        (GOOD.replace('"public"', "7"), "`public` must be text"),
        (GOOD + "max_links = 0\n", "`max_links` is 0, expected a number from 1 to 100000"),
        (GOOD + "max_links = true\n", "`max_links` must be a whole number"),
        (GOOD + "session_window = 10\n", "expected a number from 65536 to 67108864"),
        (GOOD + "max_exchanges = 0\n", "`max_exchanges` is 0, expected a number from 1 to 1000000"),
        (GOOD + "queue_bytes = 65536\n", "`queue_bytes` is 65536, expected `max_frame_bytes`, 524288"),
        (GOOD + "max_frame_bytes = 2000000\n", "`max_frame_bytes` is 2000000, expected a number from"),
        ("listen = \n", "not TOML"),
    ],
)
def test_wrong_configuration_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    """The line names file, key and what would have been right."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigInvalid) as caught:
        load_config(path)
    line = str(caught.value)
    assert said in line
    assert line.startswith(str(path))
    assert "\n" not in line


def test_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    """No traceback for a path that isn't there."""
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load_config(tmp_path / "broker.toml")
