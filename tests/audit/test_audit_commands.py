"""`comity audit`: what an auditor types, sees, and gets as exit status."""

import json
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.trust import Trust
from comity.cli.main import cli
from tests.support.federation import build_federation
from tests.support.logs import NOON, asked, noon

ORIGIN = "lapd.example/adapter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A federation's published folder, LAPD's adapter with a log, and an auditor's trust file."""

    public: Path
    home: Path
    trust: Path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)])


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    federation = tmp_path / "federation"
    build_federation(federation, NOON, ["lapd", "lahd"])
    trust = tmp_path / "trust.json"
    assert run("trust", "--public", federation / "public", "--out", trust).exit_code == 0
    home = federation / "agencies/lapd/adapter"
    log = await SignedLog.open(
        home, origin=ORIGIN, key=LogKey.load(home / "keys/log.key", ORIGIN), clock=noon
    )
    await log.append(*[asked(number) for number in range(30)])
    await log.close()
    return Desk(public=federation / "public", home=home, trust=trust)


def test_a_whole_log_verifies_from_any_of_its_folders(desk: Desk, tmp_path: Path) -> None:
    """`log/`, the end's folder and a folder of copies are all fine; one line a log, a verdict, status 0."""
    shutil.copytree(desk.home / "log", tmp_path / "copies/lapd")
    for folder in (desk.home, desk.home / "log", tmp_path / "copies"):
        result = run("verify", folder, "--trust", desk.trust)
        assert result.exit_code == 0, result.output
        assert ORIGIN in result.output
        assert "verdict: 1 log verifies" in result.output


def test_trust_tells_a_script_what_it_pins(desk: Desk, tmp_path: Path) -> None:
    """`trust --json` gives federation, roster and the logs' origins; a policy file has its quorum instead."""
    out = tmp_path / "pinned"
    made = run("trust", "--public", desk.public, "--out", out, "--json")
    found = Trust.load(out)
    assert made.exit_code == 0 and json.loads(made.stdout) == {
        "out": str(out),
        "federation": found.federation,
        "roster_version": found.roster_version,
        "quorum": None,
        "logs": sorted(found.logs),
    }
    policy = run("trust", "--public", desk.public, "--out", tmp_path / "policy", "--quorum", "2", "--json")
    told = json.loads(policy.stdout)
    assert told["federation"] is None and told["quorum"] == 2 and told["logs"] == sorted(found.logs)


def test_json_has_one_object_a_log(desk: Desk) -> None:
    """`--json` gives end, agency, path, origin, size, verified and findings."""
    result = run("verify", desk.home, "--trust", desk.trust, "--json")
    assert json.loads(result.output) == {
        "verified": True,
        "logs": [
            {
                "end": "adapter",
                "agency": "lapd",
                "path": str(desk.home / "log"),
                "origin": ORIGIN,
                "size": 30,
                "verified": True,
                "findings": [],
            }
        ],
        "findings": [],
    }


def test_log_of_a_stranger_moves_no_cursor(desk: Desk, tmp_path: Path) -> None:
    """What a folder's maker chose, an origin and a file's name, wipes nothing from the auditor's terminal."""
    copy, broker = tmp_path / "copies/lapd", tmp_path / "copies/other"
    shutil.copytree(desk.home / "log", copy)
    shutil.copytree(desk.home / "log", broker)
    note = (copy / "checkpoint").read_bytes()
    (copy / "checkpoint").write_bytes(note.replace(b"lapd.example", b"lapd\x1b[2J.example", 1))
    (copy / "tile/\x1b[1A").write_text("no tile")
    (broker / "checkpoint").write_bytes(note.replace(b"lapd.example", b"\x1b[2J.example", 1))
    for command in ("verify", "reconcile"):
        result = run(command, tmp_path / "copies", "--trust", desk.trust)
        assert result.exit_code == 1 and "FAIL" in result.output
        assert "\x1b" not in result.output
    (desk.home / "log/checkpoint").write_bytes(note.replace(b"\n30\n", b"\n\x1b[2J\n", 1))
    for arguments in (["show"], ["redact", "--out", str(tmp_path / "out")]):
        refused = CliRunner().invoke(cli, ["audit", *arguments, str(desk.home)], color=True)
        assert refused.exit_code == 2 and "is not a decimal number" in refused.output
        assert "\x1b" not in refused.output


def test_a_changed_byte_exits_1_and_names_the_entry(desk: Desk) -> None:
    """A finding is printed below its log, and the status is 1."""
    path = desk.home / "log/tile/entries/000.p/30"
    path.write_bytes(path.read_bytes().replace(b'"number":17', b'"number":18'))
    result = run("verify", desk.home, "--trust", desk.trust)
    assert result.exit_code == 1
    assert "FAIL" in result.output and "entry 17: changed" in result.output
    assert "verdict: 1 of 1 logs do not verify" in result.output


def test_wrong_use_exits_2(desk: Desk, tmp_path: Path) -> None:
    """No log found, no such folder, or a trust file that can't be used: status 2, no traceback."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bad.json").write_text("{}")
    for arguments, words in (
        ((empty, "--trust", desk.trust), "no log found"),
        ((tmp_path / "nowhere", "--trust", desk.trust), "does not exist"),
        ((desk.home, "--trust", tmp_path / "nothing.json"), "trust file"),
        ((desk.home, "--trust", tmp_path / "bad.json"), "trust file"),
        ((desk.home,), "--trust"),
    ):
        result = run("verify", *arguments)
        assert result.exit_code == 2, result.output
        assert words in result.output
        assert "Traceback" not in result.output


def test_show_opens_what_it_can(desk: Desk) -> None:
    """With `state.db` beside the log, private fields are shown, each checked against its commitment."""
    result = run("show", desk.home, "--last", 2)
    assert result.exit_code == 0, result.output
    assert "plate 8ABC029" in result.output
    assert "8ABC001" not in result.output


def test_show_says_closed_without_openings(desk: Desk, tmp_path: Path) -> None:
    """A copied log shows its public fields, and that the others are closed."""
    shutil.copytree(desk.home / "log", tmp_path / "copy")
    result = run("show", tmp_path / "copy", "--last", 1)
    assert "plate closed" in result.output
    assert "peer lapd" in result.output
    assert "8ABC" not in result.output + run("show", desk.home, "--openings", "none").output


def test_show_names_a_false_opening(desk: Desk) -> None:
    """A value that was changed in the database is shown as false, not as the truth; status 1."""
    with sqlite3.connect(desk.home / "state.db") as connection:
        connection.execute("update openings set value = '9XYZ999' where \"index\" = 3 and name = 'plate'")
    result = run("show", desk.home)
    assert result.exit_code == 1
    assert "FALSE" in result.output
    assert "9XYZ999" not in result.output


def test_show_filters(desk: Desk) -> None:
    """By exchange, by kind, by number; a kind that doesn't exist is wrong use."""
    page = json.loads(run("show", desk.home, "--exchange", (7).to_bytes(16, "big").hex(), "--json").output)
    [entry] = page["entries"]
    assert (entry["index"], entry["private"]["plate"]["value"]) == (7, "8ABC007")
    assert json.loads(run("show", desk.home, "--kind", "decided", "--json").output)["entries"] == []
    assert run("show", desk.home, "--kind", "unheard").exit_code == 2
    assert run("show", desk.home, "--exchange", "xyz").exit_code == 2


def test_show_fits_a_page_when_piped(desk: Desk) -> None:
    """No line of the table is wider than 100 columns."""
    assert max(map(len, run("show", desk.home).output.splitlines())) <= 100


def test_control_characters_of_a_value_never_reach_the_terminal(desk: Desk) -> None:
    """What somebody typed as a reason can't drive the reader's terminal."""
    from comity.cli.plain import clean

    assert clean("a\x1b[2Jb\u202ec\nd") == "a[2Jbc d"
