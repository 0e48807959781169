"""A copy that can be published: chosen fields open, the rest closed, under the same checkpoint (L3)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import Entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.policy_file import write_policy
from comity.cli.main import cli
from tests.support.logs import NOON, asked, noon

ORIGIN = "lapd.example/adapter"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)])


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """An end's folder with 257 entries, one of them with a free text, and the trust file beside it."""
    key = LogKey.generate(ORIGIN)
    home = tmp_path / "adapter"
    log = await SignedLog.open(home, origin=ORIGIN, key=key, clock=noon)
    text = Entry(
        kind="received",
        at=NOON,
        public={"large": "x" * 70_000},
        private={"reason": "THEFT", "reason_text": "=about Ann Doe"},
    )
    await log.append(*[asked(number) for number in range(257)], text)
    await log.close()
    (tmp_path / "policy").write_bytes(write_policy([key.verifier], {}))
    return home


def redacted(home: Path, *more: object) -> Path:
    out = home.parent / "published"
    done = run("redact", home, "--out", out, *more)
    assert done.exit_code == 0, done.output
    return out


def verify(copy: Path) -> Result:
    return run("verify", copy, "--trust", copy.parent / "policy")


def test_copy_opens_what_was_chosen_and_verifies_against_the_same_checkpoint(home: Path) -> None:
    """Cases are open, plates and all else closed; signature, tiles and root are those of the log."""
    out = redacted(home, "--open", "case")
    assert (out / "log/checkpoint").read_bytes() == (home / "log/checkpoint").read_bytes()
    done = verify(out)
    assert done.exit_code == 0, done.output
    assert "257 private fields are open and true" in done.output
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"26-0417" in everything
    assert b"8ABC" not in everything and b"Ann Doe" not in everything
    assert {path.name for path in out.iterdir()} == {"log", "openings.jsonl"}
    shown = run("show", out, "--last", 2, "--json")
    assert "26-0417" in shown.output and "8ABC256" not in shown.output


def test_copy_with_nothing_open_verifies(home: Path) -> None:
    """By default every private field stays a commitment."""
    done = verify(redacted(home))
    assert done.exit_code == 0
    assert "0 private fields are open" in done.output


def test_name_that_no_entry_has_is_told(home: Path) -> None:
    """A misspelt field opens nothing: the command says so, and which there are, with status 1."""
    done = run("redact", home, "--out", home.parent / "p", "--open", "plaet")
    assert done.exit_code == 1
    assert (
        "no entry has a private field `plaet` to open; they have case, plate, reason, reason_text"
        in done.output
    )


def false_value(openings: dict[str, dict[str, str]]) -> None:
    openings["case"]["value"] = "26-0418"


def false_salt(openings: dict[str, dict[str, str]]) -> None:
    openings["case"]["salt"] = "A" * 43 + "="


def another_name(openings: dict[str, dict[str, str]]) -> None:
    openings["plate"] = openings.pop("case")


@pytest.mark.parametrize("spoil", [false_value, false_salt, another_name])
def test_false_value_that_is_put_back_fails(
    spoil: Callable[[dict[str, dict[str, str]]], None], home: Path
) -> None:
    """Whoever changes what is open is found, and the entry named."""
    out = redacted(home, "--open", "case")
    lines = (out / "openings.jsonl").read_text().splitlines()
    line = json.loads(lines[17])
    spoil(line["openings"])
    lines[17] = json.dumps(line)
    (out / "openings.jsonl").write_text("\n".join(lines) + "\n")
    done = verify(out)
    assert done.exit_code == 1
    assert "entry 17:" in done.output and "open the commitment" in done.output
    assert done.output.splitlines()[0].startswith(
        "FAIL 256 private fields are open and true, and what is named"
    )
    assert (
        done.output.splitlines()[-1] == "verdict: 1 log verifies; 1 folder beside them, named above, did not"
    )


def test_opening_moved_to_another_entry_fails(home: Path) -> None:
    """What is true of one entry is not true of the next."""
    out = redacted(home, "--open", "case")
    lines = (out / "openings.jsonl").read_text().splitlines()
    first, second = json.loads(lines[0]), json.loads(lines[1])
    first["openings"], second["openings"] = second["openings"], first["openings"]
    (out / "openings.jsonl").write_text("\n".join([json.dumps(first), json.dumps(second), *lines[2:]]))
    done = verify(out)
    assert done.exit_code == 1
    assert "entry 0:" in done.output and "entry 1:" in done.output


def test_entry_changed_in_the_copy_fails(home: Path) -> None:
    """The copy's entries are those that the checkpoint signs."""
    out = redacted(home, "--open", "case")
    bundle = out / "log/tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b'"number":17', b'"number":18', 1))
    assert verify(out).exit_code == 1


def test_copy_is_made_in_a_folder_of_its_own_only(home: Path) -> None:
    """What is to be published is not mixed with what is not."""
    done = run("redact", home, "--out", home)
    assert done.exit_code == 2
    assert "not empty" in done.output


def test_folder_that_holds_no_log_is_wrong_use(tmp_path: Path) -> None:
    """The message says what was expected."""
    done = run("redact", tmp_path, "--out", tmp_path / "x")
    assert done.exit_code == 2
    assert "neither an end's folder nor records or evidence" in done.output


def test_copy_of_a_grown_log_ends_at_its_checkpoint(home: Path) -> None:
    """Tiles are copied as far as the checkpoint reaches, and no further."""
    out = redacted(home)
    size = peek_checkpoint((out / "log/checkpoint").read_bytes()).size
    assert size == 258
    names = sorted(
        path.relative_to(out).as_posix() for path in (out / "log/tile").rglob("*") if path.is_file()
    )
    assert names == [
        "log/tile/0/000",
        "log/tile/0/001.p/2",
        "log/tile/1/000.p/1",
        "log/tile/entries/000",
        "log/tile/entries/001.p/2",
    ]
    shutil.rmtree(out)
