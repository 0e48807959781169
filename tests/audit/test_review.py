"""A supervisor reviews a quarter: counts, a sample that nobody chose, what deserves a look (L4)."""

import asyncio
import base64
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pypdf
import pytest
from click.testing import CliRunner, Result

from comity.audit.entry import Entry, parse_entry
from comity.audit.log import SignedLog
from comity.audit.merkle import root_of
from comity.audit.note import LogKey
from comity.audit.searching.looks import Thresholds, is_vague
from comity.audit.searching.review import Quarter, Worksheet, review
from comity.audit.tiles import TileFolder
from comity.cli.main import cli
from tests.support.queries import BEGIN, SHERIFF, Asked, at_gateway, turned_down, write_home

AFTER = datetime(2027, 1, 2, 9, 0, 0, tzinfo=UTC)
FOURTH = Quarter.parse("2026Q4")


def exchange(number: int) -> bytes:
    return number.to_bytes(16, "big")


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(cli, ["audit", *map(str, arguments)])


def questions() -> list[tuple[Asked, str, int]]:
    """A quarter at the sheriff's, some of which deserves a look: question, outcome, reads."""

    def asked(user: str, plate: str, text: str, **more: str) -> Asked:
        return Asked(user=user, plate=plate, text=text, **more)

    found = [
        (asked("a.good", f"5AAA{n:03}", f"vehicle left scene number {n}", case=f"26-{n}"), "responded", 1)
        for n in range(12)
    ]
    found += [
        (asked("m.curious", "1EX555", f"seen near school, report {n}"), "responded", 0) for n in range(5)
    ]
    found += [(asked("b.brief", "2BBB222", text), "responded", 0) for text in ("check", "Per request!")]
    found += [
        (asked("c.copy", f"3CCC{n}", "Series of burglaries.", case=f"26-9{n}"), "responded", 0)
        for n in range(4)
    ]
    found.append((asked("c.copy", "3CCC9", "series of  BURGLARIES", case="26-99"), "responded", 0))
    found += [
        (asked("d.wide", f"4DDD{n:03}", f"convoy of lorries, lorry {n}", case="26-5000"), "responded", 0)
        for n in range(10)
    ]
    found += [
        (asked("e.refused", f"6EEE{n}", f"status of driver {n}", case=f"26-8{n}"), "refused", 0)
        for n in range(5)
    ]
    found.append(
        (asked("f.friend", "8ABC123", "asked by detective Park", on_behalf_of="d.park"), "responded", 2)
    )
    return found


def entries() -> list[Entry]:
    found: list[Entry] = []
    for number, (asked, outcome, reads) in enumerate(questions()):
        at = BEGIN + timedelta(hours=number)
        found += at_gateway(asked, exchange(number), at, {"lapd": (outcome, reads)})
    found.append(turned_down(Asked(user="e.refused"), BEGIN + timedelta(days=20)))
    return found


def later(number: int) -> Entry:
    return Entry(kind="started", at=AFTER + timedelta(minutes=number), public={"agency": "sheriff"})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sheriff's gateway after the quarter; one question of the quarter before, and one of the next."""
    earlier = FOURTH.start - timedelta(seconds=1)
    before = at_gateway(Asked(user="z.before"), exchange(900), earlier, {"lapd": ("refused", 0)})
    next_one = at_gateway(Asked(user="z.after"), exchange(901), FOURTH.end, {"lapd": ("refused", 0)})
    home = tmp_path_factory.mktemp("reviewed")
    asyncio.run(write_home(home, SHERIFF, [*before, *entries(), *next_one, later(1)], lambda: AFTER))
    return home


@pytest.fixture
def gateway(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "gateway")


def worksheet(home: Path, sample: int = 25, **thresholds: int) -> Worksheet:
    return review(home / "log", home / "state.db", FOURTH, sample=sample, thresholds=Thresholds(**thresholds))


async def grow(home: Path, *more: Entry) -> None:
    key = LogKey.load(home / "keys/log.key", SHERIFF)
    log = await SignedLog.open(home, origin=SHERIFF, key=key, clock=lambda: AFTER)
    await log.append(*more)
    await log.close()


def indices(home: Path, is_wanted: Callable[[Asked], bool]) -> tuple[int, ...]:
    """Entries of the questions that are so."""
    wanted = {exchange(n) for n, (asked, _, _) in enumerate(questions()) if is_wanted(asked)}
    size = int((home / "log/checkpoint").read_text().splitlines()[1])
    found = [(index, parse_entry(leaf)) for index, leaf in TileFolder(home / "log").all_entries(size)]
    return tuple(index for index, entry in found if entry.kind == "asked" and entry.exchange in wanted)


@pytest.mark.parametrize(
    ("rule", "about", "count", "user"),
    [
        ("same plate", ("sheriff", "m.curious", "1EX555", "CA"), 5, "m.curious"),
        ("copied reason", ("sheriff", "c.copy", "series of burglaries"), 5, "c.copy"),
        ("case with many plates", ("sheriff", "26-5000"), 10, "d.wide"),
        ("for another person", ("sheriff", "f.friend", "d.park"), 1, "f.friend"),
    ],
)
def test_what_deserves_a_look_is_named_with_its_entries(
    made: Path, rule: str, about: tuple[str, ...], count: int, user: str
) -> None:
    """Each rule finds what it says, with the entries behind it, and nothing else."""
    (look,) = [look for look in worksheet(made).looks if look.rule == rule]
    assert (look.about, look.count) == (about, count)
    assert look.entries == indices(made, lambda asked: asked.user == user)


def test_vague_reasons_are_told_one_by_one(made: Path) -> None:
    """Too short, or of words that tell nothing; case and punctuation don't matter."""
    found = [look.about for look in worksheet(made).looks if look.rule == "vague reason"]
    assert sorted(found) == [("sheriff", "b.brief", "check"), ("sheriff", "b.brief", "per request")]


def test_refusals_of_a_user_count_those_of_the_own_house(made: Path) -> None:
    """Five refusals by a provider, one by the house; the entries are those of the questions."""
    (look,) = [look for look in worksheet(made).looks if look.rule == "many refusals"]
    assert (look.about, look.count, len(look.entries)) == (("sheriff", "e.refused"), 6, 6)


@pytest.mark.parametrize(
    ("threshold", "value", "rule"),
    [
        ("same_plate", 6, "same plate"),
        ("copied", 6, "copied reason"),
        ("case_plates", 11, "case with many plates"),
        ("case_factor", 10, "case with many plates"),
        ("refusals", 7, "many refusals"),
    ],
)
def test_threshold_is_an_option(made: Path, threshold: str, value: int, rule: str) -> None:
    """One beyond what there is finds nothing, and changes no other rule."""
    usual, stricter = worksheet(made), worksheet(made, **{threshold: value})
    assert [look for look in usual.looks if look.rule != rule] == list(stricter.looks)


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("", True),
        ("...", True),
        ("stolen", True),
        ("investigation of the case 26-0417", True),
        ("burglary ring on 5th", False),
        ("POLICE PURPOSES, official query", True),
        ("Überfall am Hafen", False),
    ],
)
def test_vagueness_is_what_the_worksheet_says(text: str, is_so: bool) -> None:
    """Fewer than twelve letters and digits, or generic words and numbers alone."""
    assert is_vague(text, Thresholds().short_reason) is is_so


def test_counts_by_user_reason_and_outcome_are_those_of_the_quarter(made: Path) -> None:
    """Half-open: the second before and the first instant after belong to other quarters."""
    found = worksheet(made)
    users = dict(found.by_user)
    assert ("sheriff", "z.before") not in users and ("sheriff", "z.after") not in users
    assert users["sheriff", "a.good"] == {
        "questions": 12, "searches": 12, "responded": 12, "hits": 12, "refused": 0, "other": 0
    }  # fmt: skip
    assert users["sheriff", "e.refused"]["refused"] == 6 and users["sheriff", "e.refused"]["searches"] == 5
    assert found.questions == len(questions()) + 1
    assert found.by_outcome == {"responded": 35, "refused": 5, "turned_down": 1}
    assert found.by_reason[0][0] == ("CRIMINAL_INVESTIGATION",)
    last = review(made / "log", made / "state.db", Quarter.parse("2026Q3"))
    assert last.questions == 1 and last.drawn is not None and last.drawn.size == 2


def test_sample_is_drawn_as_the_worksheet_says(made: Path) -> None:
    """Anyone with the log draws it again: the tree at the quarter's end, five lines, the lowest numbers."""
    found = worksheet(made, sample=7)
    assert found.drawn is not None
    leaves = [leaf for _, leaf in TileFolder(made / "log").all_entries(found.size)]
    times = [parse_entry(leaf).at for leaf in leaves]
    size = next(n for n, at in enumerate(times, 1) if at >= FOURTH.end)
    root = root_of(leaves[:size])
    assert (found.drawn.size, found.drawn.root) == (size, root)
    text = f"comity-review-sample-v1\n{SHERIFF}\n2026Q4\n{size}\n{base64.b64encode(root).decode()}\n"
    seed = sha256(text.encode()).digest()
    kinds = [(n, parse_entry(leaf)) for n, leaf in enumerate(leaves)]
    asked = [n for n, e in kinds if e.kind in ("asked", "turned_down") and FOURTH.start <= e.at < FOURTH.end]
    drawn = sorted(asked, key=lambda n: sha256(seed + n.to_bytes(8, "big")).digest())[:7]
    assert [question.index for question in found.sample] == sorted(drawn)


async def test_sample_does_not_change_with_the_day_on_which_it_is_made(gateway: Path) -> None:
    """A later checkpoint gives the same sample and the same worksheet: waiting doesn't choose another."""
    first = worksheet(gateway)
    await grow(gateway, *[later(n) for n in range(2, 9)])
    second = worksheet(gateway)
    assert second.size == first.size + 7 and second.note != first.note
    assert (second.drawn, second.digest) == (first.drawn, first.digest)
    assert [q.index for q in second.sample] == [q.index for q in first.sample]


async def test_sample_depends_on_what_stands_in_the_log(tmp_path: Path) -> None:
    """The same questions under other salts are another tree: nobody can tell the sample beforehand."""
    drawn = []
    for name in ("a", "b"):
        home = await write_home(tmp_path / name, SHERIFF, [*entries(), later(1)], lambda: AFTER)
        drawn.append([question.index for question in worksheet(home, sample=10).sample])
    assert drawn[0] != drawn[1]


def test_smaller_sample_is_part_of_a_larger_one(made: Path) -> None:
    """How many one draws chooses no one out."""
    few = {q.index for q in worksheet(made, sample=3).sample}
    assert few < {q.index for q in worksheet(made, sample=9).sample}


async def test_quarter_that_is_not_over_has_no_sample_and_no_sign_off(tmp_path: Path) -> None:
    """Who knew the sample before the quarter's end could avoid it."""
    home = await write_home(tmp_path / "gateway", SHERIFF, entries(), lambda: BEGIN)
    found = worksheet(home)
    assert found.drawn is None and not found.sample and found.questions == len(questions()) + 1
    result = await asyncio.to_thread(run, "review", home, "--quarter", "2026Q4", "--sign-off", "R. Gomez")
    assert result.exit_code == 2 and "2026Q4 is not over in this log" in result.stderr
    assert found.digest == worksheet(home).digest and not worksheet(home).signed_off


def test_sign_off_is_logged_without_the_supervisors_name_in_clear(gateway: Path) -> None:
    """The entry names period and checkpoint; name, note and worksheet's digest are commitments that open."""
    before = worksheet(gateway)
    signing = ["--sign-off", "R. Gomez", "--note", "spoke with c.copy"]
    result = run("review", gateway, "--quarter", "2026Q4", *signing)
    assert result.exit_code == 0 and f"entry {before.size} `reviewed` of {SHERIFF}" in result.stderr
    shown = json.loads(run("show", gateway, "--kind", "reviewed", "--json").stdout)
    (entry,) = shown["entries"]
    root = (before.note.decode()).splitlines()[2]
    assert entry["public"] == {
        "agency": "sheriff",
        "period": "2026Q4",
        "checkpoint_size": before.size,
        "checkpoint_root": root,
        "sample_size": 25,
    }
    private = {name: field["value"] for name, field in entry["private"].items()}
    assert (private["supervisor"], private["worksheet"], private["note"]) == (
        "R. Gomez",
        before.digest,
        "spoke with c.copy",
    )
    log = b"".join(path.read_bytes() for path in (gateway / "log").rglob("*") if path.is_file())
    assert b"Gomez" not in log and b"c.copy" not in log and before.digest.encode() not in log
    (signed,) = worksheet(gateway).signed_off
    assert (signed.supervisor, signed.worksheet) == ("R. Gomez", before.digest)
    text = run("review", gateway, "--quarter", "2026Q4").stdout
    assert f"by R. Gomez, this worksheet, entry {before.size}: spoke with c.copy" in text
    assert "signed off: not yet" in run("review", gateway, "--quarter", "2026Q3").stdout


def test_what_was_looked_at_is_what_is_signed_off(gateway: Path) -> None:
    """Another worksheet than the one that the supervisor names isn't signed off."""
    digest = worksheet(gateway).digest
    for shown, status in (("0" * 16, 1), (digest[:16], 0)):
        result = run("review", gateway, "--quarter", "2026Q4", "--sign-off", "G", "--worksheet", shown)
        assert result.exit_code == status, result.output
    assert len(worksheet(gateway).signed_off) == 1


def test_tampered_opening_stops_a_sign_off(gateway: Path) -> None:
    """Nobody signs what isn't true: the finding is named, in the worksheet too."""
    with sqlite3.connect(gateway / "state.db") as database:
        database.execute("update openings set value = 'a.good' where name = 'user' and value = 'm.curious'")
    result = run("review", gateway, "--quarter", "2026Q4", "--sign-off", "R. Gomez")
    assert result.exit_code == 1 and "the opening of `user` is false" in result.output
    found = worksheet(gateway)
    assert len(found.false) == 5 and not found.signed_off and found.closed == 5
    assert dict(found.by_user)["sheriff", "a.good"]["questions"] == 12
    assert run("review", gateway, "--quarter", "2026Q4").exit_code == 1


def test_what_is_closed_is_counted_and_not_judged(gateway: Path) -> None:
    """After retention a question still counts by outcome and reason; how many weren't judged is said."""
    (index, *_) = indices(gateway, lambda asked: asked.user == "m.curious")
    with sqlite3.connect(gateway / "state.db") as database:
        database.execute('delete from openings where "index" = ?', (index,))
    found = worksheet(gateway)
    assert found.closed == 1 and found.questions == len(questions()) + 1 and not found.false
    assert not [look for look in found.looks if look.rule == "same plate"], "four that are open are left"
    assert dict(found.by_user)["sheriff", "(closed)"]["questions"] == 1


def test_worksheet_as_workbook_and_pdf_has_room_for_remarks(gateway: Path, tmp_path: Path) -> None:
    """Every table, how each rule works, how the sample was drawn; all entries of a finding; logged."""
    out, page = tmp_path / "q.xlsx", tmp_path / "q.pdf"
    result = run("review", gateway, "--quarter", "2026Q4", "--xlsx", out, "--pdf", page)
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile(out) as book:
        names = book.read("xl/workbook.xml").decode()
        sheets = "".join(book.read(n).decode() for n in book.namelist() if n.startswith("xl/worksheets/"))
    for name in ("About", "By user", "By reason", "By outcome", "Worth a look", "Sample"):
        assert f'name="{name}"' in names
    assert ", ".join(map(str, indices(gateway, lambda asked: asked.user == "d.wide"))) in sheets
    text = "\n".join(each.extract_text() for each in pypdf.PdfReader(page).pages)
    for words in (
        "supervisor's remark",
        "in order?",
        "comity-review-sample-v1",
        "one user asked about one plate",
    ):
        assert words in text
    assert worksheet(gateway).digest in text.replace("\n", "")
    assert len(json.loads(run("show", gateway, "--kind", "exported", "--json").stdout)["entries"]) == 2


def test_json_tells_all_of_it(gateway: Path) -> None:
    """For scripts: counts, rules in words, looks with all entries, seed, sample with every record."""
    told = json.loads(run("review", gateway, "--quarter", "2026q4", "--sample", "4", "--json").stdout)
    assert told["quarter"] == "2026Q4" and len(told["sample"]) == 4 and told["drawn"]["seed"]
    assert {look["rule"] for look in told["looks"]} == told["rules"].keys()
    assert told["worksheet"] == worksheet(gateway, sample=4).digest and told["signed_off"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--quarter", "2026"], "is not a quarter such as 2026Q4"),
        (["--quarter", "2026Q5"], "is not a quarter such as 2026Q4"),
        (["--quarter", "2026Q4", "--note", "x"], "go with `--sign-off NAME`"),
        (["--quarter", "2026Q4", "--sign-off", " "], "a name is expected"),
        (["--quarter", "2026Q4", "--sign-off", "G", "--note", "x" * 1001], "up to 1,000 characters"),
        (["--quarter", "2026Q4", "--same-plate", "1"], "not in the range"),
    ],
)
def test_wrong_use_is_said(made: Path, arguments: list[str], words: str) -> None:
    """The option and what would have been right; nothing is signed off."""
    result = run("review", made, *arguments)
    assert result.exit_code == 2 and words in result.output
    assert not worksheet(made).signed_off


def test_copy_without_openings_cannot_be_reviewed(made: Path, tmp_path: Path) -> None:
    """The log alone names no user and no case."""
    shutil.copytree(made / "log", tmp_path / "copy/log")
    result = run("review", tmp_path / "copy", "--quarter", "2026Q4")
    assert result.exit_code == 2 and "no openings are at hand" in result.output
