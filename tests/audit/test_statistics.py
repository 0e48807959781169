"""Searches, hits and refusals are counted from the log by anybody who holds it, for any period (L7)."""

import asyncio
import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.canonical import JsonValue
from comity.audit.entry import Entry, parse_entry
from comity.audit.tiles import TileFolder
from comity.cli.main import cli
from tests.support.queries import BEGIN, LAPD, SHERIFF, Asked, at_adapter, at_gateway, turned_down, write_home

Homes = tuple[Path, Path, Path]


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "140"}).invoke(cli, ["audit", "statistics", *map(str, arguments)])


def exchange(number: int) -> bytes:
    return number.to_bytes(16, "big")


def told(*arguments: object) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def counted(found: dict[str, object]) -> dict[tuple[str, ...], tuple[int, dict[str, int], int | None]]:
    rows = found["counts"]
    assert isinstance(rows, list)
    return {tuple(row["key"].values()): (row["searches"], row["outcomes"], row["hits"]) for row in rows}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Gateway, adapter and broker of the same five questions over two months."""
    root = tmp_path_factory.mktemp("counted")
    missing = Asked(reason="MISSING_PERSON")
    questions = [
        (Asked(), 0, {"lapd": ("responded", 3), "cbp": ("responded", 0)}),
        (Asked(), 1, {"lapd": ("responded", 0)}),
        (missing, 2, {"lapd": ("refused", 0), "dea": ("timed_out", 0)}),
        (missing, 40, {"lapd": ("responded", 1)}),
    ]
    asking: list[Entry] = [turned_down(missing, BEGIN)]
    receiving: list[Entry] = []
    routing: list[Entry] = []
    for number, (asked, days, outcomes) in enumerate(questions):
        at = BEGIN + timedelta(days=days)
        asking += at_gateway(asked, exchange(number), at, outcomes)
        receiving += at_adapter(asked, exchange(number), at, *outcomes["lapd"])
        public = {
            "agency": "sheriff",
            "order": "00",
            "providers": list(outcomes),
            "absent": [],
            "deadline": 1,
        }
        routing.append(Entry(kind="routed", at=at, exchange=exchange(number), public=public))
        ends = {name: outcome for name, (outcome, _) in outcomes.items()}
        account = {"agency": "sheriff", "order": "00", "reason": "complete", "outcomes": ends, "receipts": {}}
        routing.append(Entry(kind="accounted", at=at, exchange=exchange(number), public=account))
    broker = "operator.example/broker"
    written = (("gateway", SHERIFF, asking), ("adapter", LAPD, receiving), ("broker", broker, routing))
    for name, origin, entries in written:
        asyncio.run(write_home(root / name, origin, entries, lambda: BEGIN))
    return root / "gateway", root / "adapter", root / "broker"


def test_log_alone_gives_searches_and_refusals_by_requester_provider_and_reason(
    made: Homes, tmp_path: Path
) -> None:
    """A copy of `log/` and nothing else, no opening: the same figures as at the end itself, hits too."""
    shutil.copytree(made[0] / "log", tmp_path / "copy/log")
    alone, own = told(tmp_path / "copy"), told(made[0])
    assert counted(alone) == {
        ("sheriff", "cbp", "criminal_investigation"): (1, {"responded": 1}, 0),
        ("sheriff", "dea", "missing_person"): (1, {"timed_out": 1}, None),
        ("sheriff", "lapd", "criminal_investigation"): (2, {"responded": 2}, 1),
        ("sheriff", "lapd", "missing_person"): (2, {"refused": 1, "responded": 1}, 1),
        ("sheriff", "none", "missing_person"): (0, {"turned_down": 1}, None),
    }
    assert counted(own) == counted(alone)
    assert alone["total"]["hits"] == 2 and alone["total"]["hits_known_of"] == 4  # type: ignore[index]


def test_total_alone_is_one_line(made: Homes) -> None:
    """With nothing to count by there is one figure of each kind, and it stands there once."""
    lines = [line.split() for line in run(made[0], "--by", "").stdout.splitlines()]
    assert lines.count(["6", "4", "2", "1", "1", "1"]) == 1


def test_answer_that_was_withdrawn_is_no_hit(tmp_path: Path) -> None:
    """It was logged for its caller, and then its key was revoked: it counts as what the question came to."""
    entries = at_gateway(Asked(), exchange(1), BEGIN, {"lapd": ("responded", 3), "cbp": ("responded", 2)})
    outcomes: dict[str, JsonValue] = {"lapd": "unverifiable", "cbp": "responded"}
    entries = [
        replace(entry, public={**entry.public, "outcomes": outcomes}) if entry.kind == "concluded" else entry
        for entry in entries
    ]
    asyncio.run(write_home(tmp_path / "gateway", SHERIFF, entries, lambda: BEGIN))
    found = told(tmp_path / "gateway", "--by", "provider")
    assert counted(found) == {("lapd",): (1, {"unverifiable": 1}, None), ("cbp",): (1, {"responded": 1}, 1)}


def test_both_ends_and_the_broker_count_the_same(made: Homes) -> None:
    """Each from its own log: the provider's searches, and the broker's of all, without reasons and hits."""
    gateway, adapter, broker = (counted(told(home, "--by", "requester,provider,outcome")) for home in made)
    assert adapter == {key: row for key, row in gateway.items() if key[1] == "lapd"}
    assert {key: row[:2] for key, row in broker.items()} == {
        key: row[:2] for key, row in gateway.items() if key[1] != "none"
    }
    assert {key[0] for key in counted(told(made[2], "--by", "reason"))} == {"not told"}
    assert "not told" in run(made[2]).stdout


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gateway whose log was written before `hit` stood in it: four answers, two of them hits."""
    asking: list[Entry] = []
    for number, outcomes in enumerate(
        [
            {"lapd": ("responded", 3), "cbp": ("responded", 0)},
            {"lapd": ("responded", 0)},
            {"lapd": ("responded", 1)},
        ]
    ):
        for entry in at_gateway(Asked(), exchange(number), BEGIN + timedelta(days=number), outcomes):
            public = {name: value for name, value in entry.public.items() if name != "hit"}
            asking.append(replace(entry, public=public))
    home = tmp_path_factory.mktemp("older") / "gateway"
    asyncio.run(write_home(home, SHERIFF, asking, lambda: BEGIN))
    return home


def test_hits_of_an_older_log_are_counted_where_reads_are_opened(older: Path, tmp_path: Path) -> None:
    """With the openings of `reads` alone, in a published copy too; with some, how many they cover."""
    copy = tmp_path / "copy"
    shutil.copytree(older, copy, ignore=shutil.ignore_patterns("keys", "wal"))
    shutil.copytree(older / "log", tmp_path / "alone/log")
    assert told(tmp_path / "alone")["total"]["hits"] is None  # type: ignore[index]
    with sqlite3.connect(copy / "state.db") as database:
        database.execute("delete from openings where name <> 'reads'")
    found = told(copy, "--by", "provider")
    assert counted(found)["lapd",][2] == 2 and counted(found)["cbp",][2] == 0
    assert found["total"]["hits_known_of"] == 4  # type: ignore[index]
    published = tmp_path / "published"
    redacted = CliRunner().invoke(
        cli, ["audit", "redact", str(older), "--open", "reads", "--out", str(published)]
    )
    assert redacted.exit_code == 0, redacted.output
    assert counted(told(published, "--by", "provider")) == counted(found)
    with sqlite3.connect(copy / "state.db") as database:
        database.execute("delete from openings where value = '3'")
    result = run(copy, "--by", "provider")
    assert "1 of 2 known" in result.stdout and "Known of 3 of 4 answers" in result.stdout


def test_false_number_of_reads_is_named_and_not_counted(older: Path, tmp_path: Path) -> None:
    """Somebody who makes hits of misses is found."""
    shutil.copytree(older, tmp_path / "gateway")
    with sqlite3.connect(tmp_path / "gateway/state.db") as database:
        database.execute("update openings set value = '9' where name = 'reads' and value = '0'")
    result = run(tmp_path / "gateway", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1 and len(found["findings"]) == 2
    assert (found["total"]["hits"], found["total"]["hits_known_of"]) == (2, 2)


@pytest.mark.parametrize(
    ("arguments", "searches"),
    [
        ([], 6),
        (["--from", "2026-11-01"], 1),
        (["--to", "2026-11-01"], 5),
        (["--from", "2026-10-06T08:00:00Z", "--to", "2026-10-07T08:00:00Z"], 1),
        (["--from", "2027-01-01"], 0),
    ],
)
def test_any_period_is_counted_from_its_first_instant_to_before_its_last(
    made: Homes, arguments: list[str], searches: int
) -> None:
    """Half-open, so that periods side by side add up."""
    assert told(made[0], *arguments)["total"]["searches"] == searches  # type: ignore[index]
    assert sum(row[0] for row in counted(told(made[0], "--by", "month,day", *arguments)).values()) == searches


def test_reason_in_clear_is_a_code_and_never_what_was_typed(made: Homes) -> None:
    """For everybody who holds the log: one of eight words; text, plate, user and case are commitments."""
    for home in made[:2]:
        size = int((home / "log/checkpoint").read_text().splitlines()[1])
        for _, leaf in TileFolder(home / "log").all_entries(size):
            entry = parse_entry(leaf)
            if entry.kind in ("asked", "received", "turned_down"):
                assert entry.public["purpose"] in ("criminal_investigation", "missing_person")
                assert "reason" in entry.commitments
            for secret in (b"burglaries", b"8ABC123", b"j.ortega", b"26-0417"):
                assert secret not in leaf


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "user"], "`user` is not one of requester, provider, reason"),
        (["--by", "day,day"], "a key stands twice"),
        (["--from", "2026-12-01", "--to", "2026-11-01"], "must be later than"),
        (["--trust", "/nowhere"], "no such file"),
    ],
)
def test_wrong_use_is_said(made: Homes, arguments: list[str], words: str) -> None:
    """The option, and what would have been right."""
    result = run(made[0], *arguments)
    assert result.exit_code == 2 and words in result.output


def test_changed_log_is_not_counted(made: Homes, tmp_path: Path) -> None:
    """A refusal made an answer in the entries: the log no longer leads to its checkpoint."""
    shutil.copytree(made[2], tmp_path / "broker")
    (bundle,) = [path for path in (tmp_path / "broker/log/tile/entries").rglob("*") if path.is_file()]
    bundle.write_bytes(bundle.read_bytes().replace(b'"refused"', b'"referre"'))
    result = run(tmp_path / "broker")
    assert result.exit_code == 1 and "do not lead to the root" in result.output
