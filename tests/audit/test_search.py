"""An auditor searches an end's records of queries; what leaves is marked, logged and true (L1, L3, L6)."""

import asyncio
import base64
import json
import random
import re
import shutil
import sqlite3
import stat
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pypdf
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit import acts
from comity.audit.acts import serving_acts
from comity.audit.errors import TileInvalid
from comity.audit.log import SignedLog
from comity.audit.merkle import RunningRoot, leaf_hash, root
from comity.audit.note import LogKey
from comity.audit.policy_file import write_policy
from comity.audit.searching import records as assembling
from comity.audit.searching.filtering import Filter
from comity.audit.searching.records import Record
from comity.audit.searching.search import Found, search
from comity.cli.main import cli
from tests.support.queries import (
    BEGIN,
    LAPD,
    SHERIFF,
    Asked,
    agreement_activated,
    at_adapter,
    at_gateway,
    receipt,
    turned_down,
    write_home,
)

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
TRAPS = ("=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(1)", "\t=1+1", "https://example.org", "0012", "1e5")


def exchange(number: int) -> bytes:
    return number.to_bytes(16, "big")


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(cli, ["audit", *map(str, arguments)])


def asked_for(home: Path, **wanted: object) -> Found:
    return search(home / "log", home / "state.db", Filter(**wanted))  # type: ignore[arg-type]


def tamper(home: Path, index: int, name: str, value: str) -> None:
    """Put another value in the place of one that the log committed to."""
    with sqlite3.connect(home / "state.db") as database:
        changed = database.execute(
            'update openings set value = ? where "index" = ? and name = ?', (value, index, name)
        )
        assert changed.rowcount == 1


def forget(home: Path, index: int) -> None:
    """Delete an entry's openings, as is done when their time has come."""
    with sqlite3.connect(home / "state.db") as database:
        database.execute('delete from openings where "index" = ?', (index,))


def exported(home: Path) -> list[dict[str, object]]:
    """What the end's log tells of exports, as `comity audit show` shows it."""
    shown = run("show", home, "--kind", "exported", "--json")
    assert shown.exit_code == 0, shown.output
    found: list[dict[str, object]] = json.loads(shown.stdout)["entries"]
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sheriff's gateway and LAPD's adapter, each with a few questions; nothing runs."""
    root = tmp_path_factory.mktemp("searched")
    asking, receiving = [agreement_activated("sheriff", "lapd")], [agreement_activated("lapd", "sheriff")]
    questions = (
        (Asked(), {"lapd": ("responded", 3), "cbp": ("responded", 0)}),
        (Asked(user="m.chen", plate="7-XYZ 890", case="26-0500"), {"lapd": ("refused", 0)}),
        (Asked(on_behalf_of="d.park", area=(33.7, -118.2, 500)), {"lapd": ("responded", 1)}),
        (Asked(reason="MISSING_PERSON"), {"dea": ("timed_out", 0)}),
    )
    for number, (question, outcomes) in enumerate(questions):
        at = BEGIN + timedelta(hours=number)
        asking += at_gateway(question, exchange(number), at, outcomes)
        if "lapd" in outcomes:
            receiving += at_adapter(question, exchange(number), at, *outcomes["lapd"])
    asking.append(turned_down(Asked(user="r.diaz"), BEGIN + timedelta(hours=9)))
    other = Asked(user="k.lee", plate="8ABC123", case="PP-1", text="cargo theft")
    receiving += at_adapter(other, exchange(77), BEGIN, "responded", 2, peer="lahd", rules=["lapd.moa"])
    asyncio.run(write_home(root / "gateway", SHERIFF, asking, lambda: BEGIN))
    asyncio.run(write_home(root / "adapter", LAPD, receiving, lambda: BEGIN))
    return root / "gateway", root / "adapter"


@pytest.fixture
def gateway(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[0], tmp_path / "gateway")


@pytest.fixture
def adapter(made: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[1], tmp_path / "adapter")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Asked, str, int, str]]]:
    """An adapter's log of many questions, two in flight at a time, and what they were."""
    chance = random.Random(7)
    pick = chance.choice
    told = [
        (
            Asked(
                user=pick(["ann", "Ben", "cid"]),
                plate=pick(["8ABC123", "8abc-123", "7XYZ890"]),
                state=pick(["CA", "NV"]),
                case=pick(["1", "2", "26-0417"]),
                reason=pick(["CRIMINAL_INVESTIGATION", "MISSING_PERSON"]),
                on_behalf_of=pick(["", "d.park"]),
            ),
            pick(["responded", "refused", "rate_limited"]),
            pick([0, 0, 1, 4]),
            pick(["sheriff", "lahd"]),
        )
        for _ in range(32)
    ]
    told = [
        (asked, outcome, reads if outcome == "responded" else 0, peer) for asked, outcome, reads, peer in told
    ]
    groups = [
        at_adapter(asked, exchange(n), BEGIN + timedelta(hours=n), outcome, reads, peer=peer)
        for n, (asked, outcome, reads, peer) in enumerate(told)
    ]
    mixed = [
        e for a, b in zip(groups[::2], groups[1::2], strict=True) for e in (*a[:2], *b[:3], *a[2:], *b[3:])
    ]
    home = tmp_path_factory.mktemp("many")
    asyncio.run(write_home(home, LAPD, mixed, lambda: BEGIN))
    return home, told


_FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["ann", "ben", "zoe"]),
        "plate_folded": st.sampled_from(["8ABC123", "7XYZ890"]),
        "state": st.sampled_from(["CA", "NV"]),
        "case": st.sampled_from(["1", "26-0417"]),
        "reason": st.sampled_from(["CRIMINAL_INVESTIGATION", "MISSING_PERSON"]),
        "on_behalf_of": st.sampled_from(["", "d.park"]),
        "requester": st.sampled_from(["sheriff", "lahd", "ice"]),
        "outcomes": st.frozensets(
            st.sampled_from(["hit", "no_hit", "responded", "refused", "rate_limited", "pending"])
        ),
        "start": st.integers(0, 32).map(lambda hours: BEGIN + timedelta(hours=hours)),
        "end": st.integers(0, 32).map(lambda hours: BEGIN + timedelta(hours=hours)),
    },
)


@settings(max_examples=30, deadline=None)
@given(wanted=_FILTERS)
def test_any_combination_finds_what_a_naive_filter_finds(
    many: tuple[Path, list[tuple[Asked, str, int, str]]], wanted: dict[str, object]
) -> None:
    """User, plate, state, case, reason, agency, outcome and time, in any combination (L3)."""
    home, told = many

    def is_wanted(number: int) -> bool:
        asked, outcome, reads, peer = told[number]
        at = BEGIN + timedelta(hours=number)
        words = {outcome} | ({"hit" if reads else "no_hit"} if outcome == "responded" else set())
        is_as_asked = {
            "user": lambda value: asked.user.lower() == value,
            "plate_folded": lambda value: asked.folded == value,
            "state": lambda value: asked.state == value,
            "case": lambda value: asked.case == value,
            "reason": lambda value: asked.reason == value,
            "on_behalf_of": lambda value: asked.on_behalf_of == value,
            "requester": lambda value: peer == value,
            "outcomes": lambda value: not value or bool(words & value),
            "start": lambda value: at >= value,
            "end": lambda value: at < value,
        }
        return all(is_as_asked[name](value) for name, value in wanted.items())

    found = asked_for(home, **wanted)
    assert [record.exchange for record in found.records] == [
        exchange(number) for number in range(len(told)) if is_wanted(number)
    ]
    assert not found.undecided and not found.findings


def test_gateway_tells_of_every_provider_and_of_what_never_left(gateway: Path) -> None:
    """A record for each question to each provider with what became of it, and one for what was stopped."""
    found = asked_for(gateway)
    told = [(r.opened["user"], r.provider, r.outcome, r.reads, r.why) for r in found.records]
    assert told == [
        ("j.ortega", "cbp", "responded", 0, ""),
        ("j.ortega", "lapd", "responded", 3, ""),
        ("m.chen", "lapd", "refused", 0, ""),
        ("j.ortega", "lapd", "responded", 1, ""),
        ("j.ortega", "dea", "timed_out", None, ""),
        ("r.diaz", "", "turned_down", None, "house_rule"),
    ]
    assert [r.purpose for r in found.records[:5]] == [*["criminal_investigation"] * 4, "missing_person"]
    assert found.agreements[found.records[1].agreement] == "sharing-lapd-sheriff"


def test_record_names_its_entries_and_their_leaves(gateway: Path) -> None:
    """What an auditor goes on with: the index and the leaf hash of the question and of its outcome (L1)."""
    shown = json.loads(run("show", gateway, "--json").stdout)["entries"]
    for record in asked_for(gateway, provider="lapd").records:
        assert shown[record.entry.index]["kind"] == "asked"
        assert record.outcome_entry is not None
        assert shown[record.outcome_entry.index]["kind"] == "delivered"
        assert shown[record.outcome_entry.index]["exchange"] == shown[record.entry.index]["exchange"]
    proven = run("prove", gateway, "--exchange", exchange(2).hex(), "--open", "case", "--out", gateway / "ev")
    assert proven.exit_code == 0, proven.output
    proof = next((gateway / "ev").glob("*asked.tlog-proof")).read_text()
    (record,) = asked_for(gateway, exchange=exchange(2).hex()).records
    extra = re.search(r"extra (\S+)", proof)
    assert extra is not None
    assert leaf_hash(base64.b64decode(extra[1])) == record.entry.leaf


def test_plate_is_found_however_it_is_written(gateway: Path) -> None:
    """The plate that was typed `7-XYZ 890` is found as `7xyz890`, and shown as it was typed."""
    result = run("search", gateway, "--plate", "7xyz 890")
    assert result.exit_code == 0 and "7-XYZ 890" in result.stdout and "m.chen" in result.stdout
    assert "j.ortega" not in result.stdout


def test_question_is_found_by_each_reading_that_was_searched(tmp_path: Path) -> None:
    """Who looks for a plate finds those who searched it as a reading of another one (L3, Q10)."""
    asked = Asked(plate="6DEF456", readings=("GDEF456", "6DEF4S6"))
    entries = at_gateway(asked, exchange(1), BEGIN, {"lapd": ("responded", 0)})
    home = tmp_path / "gateway"
    asyncio.run(write_home(home, SHERIFF, [agreement_activated("sheriff", "lapd"), *entries], lambda: BEGIN))
    for plate, times in (("6DEF456", 1), ("gdef-456", 1), ("6DEF4S6", 1), ("GDEF4S6", 0), ("6DEF", 0)):
        found = json.loads(run("search", home, "--plate", plate, "--json").stdout)
        assert len(found["records"]) == times, plate


def test_table_has_the_columns_of_l1_in_their_order(gateway: Path) -> None:
    """Who and for whom, what, when, case, outcome, provider and agreement, entry."""
    result = run("search", gateway, "--on-behalf-of", "d.park")
    heads = ["who asked", "what was asked", "when (UTC)", "case", "outcome", "provider, agreement", "entry"]
    (line,) = [line for line in result.stdout.splitlines() if "who asked" in line]
    assert [line.index(head) for head in heads] == sorted(line.index(head) for head in heads)
    text = re.sub(r"\s+", " ", result.stdout)
    for part in (
        "on behalf of",
        "d.park",
        "8ABC123 CA US",
        "area",
        "33.7,-118.2,500",
        "burglaries",
        "26-0417",
    ):
        assert part in text, part
    assert result.stdout.count("LAW ENFORCEMENT SENSITIVE // NO ONWARD SHARING // LAPD / SHERIFF") == 2


def test_value_put_in_the_place_of_the_true_one_is_named_and_never_shown(gateway: Path) -> None:
    """An opening that doesn't open its commitment is a finding, and finds nothing under the false name."""
    index = asked_for(gateway, user="m.chen").records[0].entry.index
    tamper(gateway, index, "user", "innocent")
    finding = f"entry {index}: the opening of `user` is false"
    result = run("search", gateway)
    assert result.exit_code == 1 and finding in result.stdout
    assert "innocent" not in result.stdout and "(FALSE OPENING)" in result.stdout
    hidden = run("search", gateway, "--user", "m.chen")
    assert hidden.exit_code == 1 and finding in hidden.stdout and "can't be judged" in hidden.stdout
    assert not asked_for(gateway, user="innocent").records


def test_value_of_another_type_is_as_false_as_any(gateway: Path) -> None:
    """In a table that somebody wrote into there may be anything: it is named, and nothing breaks."""
    index = asked_for(gateway, user="m.chen").records[0].entry.index
    with sqlite3.connect(gateway / "state.db") as database:
        for name, value in (("user", "x'ff'"), ("case", "7"), ("plate", "char(0)")):
            database.execute(
                f'update openings set value = {value} where "index" = ? and name = ?', (index, name)
            )
        database.execute("update openings set salt = 'text' where \"index\" = ? and name = 'state'", (index,))
    result = run("search", gateway)
    assert result.exit_code == 1 and {name for _, name in asked_for(gateway).false} == {
        "user",
        "case",
        "plate",
        "state",
    }


def test_values_of_two_fields_swapped_are_found(gateway: Path) -> None:
    """A true value under another name is as false as any other: the name is committed to as well."""
    index = asked_for(gateway, user="m.chen").records[0].entry.index
    tamper(gateway, index, "user", "26-0500")
    tamper(gateway, index, "case", "m.chen")
    assert {name for _, name in asked_for(gateway).false} == {"user", "case"}


def test_what_is_deleted_is_closed_and_counted_not_guessed(gateway: Path) -> None:
    """After retention the record stays, its fields closed; a search by one says what it can't judge."""
    (record,) = asked_for(gateway, user="m.chen").records
    forget(gateway, record.entry.index)
    found = asked_for(gateway, user="m.chen")
    assert not found.records and not found.findings and found.undecided == (record.entry.index,)
    assert not asked_for(gateway, user="m.chen", requester="lahd").undecided
    (closed,) = asked_for(gateway, outcomes=frozenset({"refused"})).records
    assert "user" in closed.closed and closed.purpose == "criminal_investigation"
    assert "(closed)" in run("search", gateway, "--outcome", "refused").stdout


def test_log_that_does_not_lead_to_its_checkpoint_shows_nothing(gateway: Path) -> None:
    """A byte changed in an entry: no record of such a log is shown, but the way to find what was changed."""
    (bundle,) = [path for path in (gateway / "log/tile/entries").rglob("*") if path.is_file()]
    bundle.write_bytes(bundle.read_bytes().replace(b'"why":"house_rule"', b'"why":"house_rulE"'))
    with pytest.raises(TileInvalid, match="do not lead to the root"):
        asked_for(gateway)
    result = run("search", gateway, "--xlsx", gateway / "out.xlsx")
    assert (
        result.exit_code == 1 and "comity audit verify" in result.output and "j.ortega" not in result.output
    )
    assert not (gateway / "out.xlsx").exists()


def test_log_of_another_key_than_the_trust_file_names_is_refused(gateway: Path, tmp_path: Path) -> None:
    """With a trust file it is that log or none."""
    trust = tmp_path / "policy"
    trust.write_bytes(write_policy([LogKey.generate(SHERIFF).verifier], {}))
    result = run("search", gateway, "--trust", trust)
    assert result.exit_code == 1 and "no known key signed it" in result.output
    own = (gateway / "log/vkey").read_text()
    assert run("search", gateway).exit_code == 0 and own


def test_an_agency_gets_records_of_its_own_users_and_of_nobody_elses(adapter: Path, tmp_path: Path) -> None:
    """At a provider, for the sheriff: no user, plate or case of the Port Police, whatever was asked for."""
    out = tmp_path / "out.xlsx"
    for more in ([], ["--plate", "8ABC123"], ["--outcome", "hit"], ["--agency", "sheriff"]):
        result = run("search", adapter, "--for", "sheriff", "--json", *more)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["records"] and {record["requester"] for record in told["records"]} == {"sheriff"}
        assert "k.lee" not in result.stdout and "lahd" not in result.stdout and "PP-1" not in result.stdout
    assert run("search", adapter, "--for", "sheriff", "--xlsx", out).exit_code == 0
    whole = b"".join(zipfile.ZipFile(out).read(name) for name in zipfile.ZipFile(out).namelist())
    assert b"m.chen" in whole and b"k.lee" not in whole and b"lahd" not in whole
    assert "k.lee" in run("search", adapter).stdout, "the provider's own auditor sees both"


def test_what_is_wrong_with_anothers_records_is_not_told_to_an_agency(adapter: Path) -> None:
    """Findings and what can't be judged are of its own users, too (L6)."""
    (other,) = asked_for(adapter, requester="lahd").records
    tamper(adapter, other.entry.index, "user", "x")
    (own,) = asked_for(adapter, requester="sheriff", user="m.chen").records
    forget(adapter, own.entry.index)
    told = json.loads(run("search", adapter, "--for", "sheriff", "--user", "m.chen", "--json").stdout)
    assert told["findings"] == [] and told["undecided"] == [own.entry.index]
    assert run("search", adapter).exit_code == 1


def test_a_providers_own_rules_stay_in_its_house(adapter: Path) -> None:
    """Which rule decided would tell a disguised refusal from an answer: only the house sees it."""
    inward, outward = (
        json.loads(run("search", adapter, "--agency", "sheriff", *more, "--json").stdout)["records"]
        for more in ((), ("--for", "sheriff"))
    )
    own = {"rules", "stores", "obligations", "errors", "facts"}
    assert all(own <= record["private"].keys() for record in inward)
    assert not any(own & record["private"].keys() for record in outward)
    assert len(inward) == len(outward) == 3


@pytest.mark.parametrize(
    ("which", "arguments", "words"),
    [
        ("gateway", ["--for", "lapd"], "this log tells of sheriff's users alone"),
        ("adapter", ["--for", "lahd", "--agency", "sheriff"], "records of sheriff are for sheriff"),
        ("gateway", ["--plate", "!!!"], "plate number has no letter or digit"),
        ("gateway", ["--exchange", "xyz"], "is not hex"),
        ("gateway", ["--reason", "CRIMINAL_INVESTIGATON"], "did you mean CRIMINAL_INVESTIGATION?"),
        ("gateway", ["--outcome", "hits"], "is not one of"),
        ("gateway", ["--from", "2026-12-01", "--to", "2026-11-01"], "`--to` must be later than `--from`"),
        ("gateway", ["--from", "yesterday"], "is not a date or time such as"),
        ("gateway", ["--xlsx", "/nowhere/at/all.xlsx"], "no such file or directory"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(
    made: tuple[Path, Path], which: str, arguments: list[str], words: str
) -> None:
    """Wrong use names the option and what would have been right; nothing is exported."""
    home = made[0] if which == "gateway" else made[1]
    result = run("search", home, *arguments)
    assert result.exit_code == 2 and words in result.output, result.output
    assert not exported(home)


def test_log_without_openings_is_not_searched_by_what_is_closed(gateway: Path, tmp_path: Path) -> None:
    """A copy of `log/` alone tells of outcomes and purposes; asked for a user it says what is missing."""
    shutil.copytree(gateway / "log", tmp_path / "copy/log")
    result = run("search", tmp_path / "copy", "--user", "m.chen")
    assert result.exit_code == 2 and "no openings are at hand" in result.output
    result = run("search", tmp_path / "copy", "--outcome", "refused", "--json")
    assert result.exit_code == 0 and len(json.loads(result.stdout)["records"]) == 1


def cells(path: Path) -> Iterator[tuple[str, str, ElementTree.Element]]:
    """Every cell of every sheet: the sheet's file, its text, and its element."""
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            if name.startswith("xl/worksheets/"):
                for cell in ElementTree.fromstring(book.read(name)).iter(f"{SHEET}c"):
                    text = "".join(part.text or "" for part in cell.iter(f"{SHEET}t"))
                    yield name, text, cell


async def test_no_cell_of_the_workbook_is_anything_but_text(tmp_path: Path) -> None:
    """What begins with `=`, `+`, `-` or `@` stays what was typed: no formula, no number, no link (L3)."""
    traps = [Asked(user=t, case=t, plate="8ABC123", text=f"{t} again", on_behalf_of=t) for t in TRAPS]
    entries = [
        entry
        for number, asked in enumerate(traps)
        for entry in at_gateway(asked, exchange(number), BEGIN, {"lapd": ("responded", 1)})
    ]
    home = await write_home(tmp_path / "gateway", SHERIFF, entries, lambda: BEGIN)
    out = tmp_path / "out.xlsx"
    result = await asyncio.to_thread(run, "search", home, "--xlsx", out)
    assert result.exit_code == 0, result.output
    found = list(cells(out))
    for _, _, cell in found:
        assert cell.get("t") in ("inlineStr", "s"), ElementTree.tostring(cell)
        assert cell.find(f"{SHEET}f") is None
    texts = [text for name, text, _ in found if name.endswith("sheet2.xml")]
    for trap in TRAPS:
        assert texts.count(trap.replace("\t", " ")) == 3 and f"{trap} again".replace("\t", " ") in texts
    with zipfile.ZipFile(out) as book:
        assert not any("hyperlink" in book.read(name).decode() for name in book.namelist() if "rels" in name)
        sheet = book.read("xl/worksheets/sheet2.xml").decode()
        banner = "LAW ENFORCEMENT SENSITIVE // NO ONWARD SHARING // LAPD / SHERIFF"
        assert f"<oddHeader>&amp;C&amp;B{banner}</oddHeader>" in sheet
        assert f"<oddFooter>&amp;C&amp;B{banner}&amp;RPage &amp;P of &amp;N</oddFooter>" in sheet


def test_workbook_tells_what_it_is_made_from_and_how_it_is_verified(gateway: Path, tmp_path: Path) -> None:
    """The checkpoint whole, the way to verify, and every column of L1 in the order in which it is read."""
    out = tmp_path / "out.xlsx"
    assert run("search", gateway, "--agency", "lapd", "--xlsx", out).exit_code == 0
    about = [text for name, text, _ in cells(out) if name.endswith("sheet1.xml")]
    note = next(text for text in about if text.startswith("sheriff.example/gateway\n"))
    assert "\n— sheriff.example/gateway " in note
    assert any(text.startswith("comity audit verify COPY --trust") for text in about)
    assert about[0] == about[-2] == "marking" and about[1] == about[-1]
    records = [text for name, text, _ in cells(out) if name.endswith("sheet2.xml")]
    order = ["user", "on behalf of", "plate", "period from", "area", "reason", "asked at (UTC)", "case"]
    order += ["outcome", "reads", "provider", "agreement", "entry", "leaf hash"]
    assert [records.index(head) for head in order] == sorted(records.index(head) for head in order)


async def test_pdf_is_marked_and_numbered_on_every_page(tmp_path: Path) -> None:
    """Banner above and below, page numbers, the checkpoint; letters that the face lacks as numbers."""
    asked = Asked(user="ł.żuk", text="word " * 60)
    entries = [
        entry
        for number in range(30)
        for entry in at_gateway(asked, exchange(number), BEGIN, {"dea": ("responded", 1)})
    ]
    home = await write_home(tmp_path / "gateway", SHERIFF, entries, lambda: BEGIN)
    out = tmp_path / "out.pdf"
    result = await asyncio.to_thread(run, "search", home, "--pdf", out)
    assert result.exit_code == 0, result.output
    pages = [page.extract_text() for page in pypdf.PdfReader(out).pages]
    assert len(pages) > 2
    for number, page in enumerate(pages, 1):
        assert page.count("CUI//LEI//FED ONLY") == 2 and f"page {number} of {len(pages)}" in page
        assert "who asked, for whom" in page
    whole = "\n".join(pages)
    root_line = (home / "log/checkpoint").read_text().splitlines()
    assert "comity audit verify COPY --trust" in whole and "exported" in whole
    assert whole.count(r"\u{142}.\u{17c}uk") == 30 and root_line[0] in whole
    (record, *_) = asked_for(home).records
    assert record.entry.leaf.hex()[:32] in whole.replace("\n", "")


@pytest.mark.parametrize("form", ["xlsx", "pdf"])
def test_export_is_private_and_entered_in_the_log_before_it_is_there(
    gateway: Path, tmp_path: Path, form: str
) -> None:
    """Mode 0600; the entry `exported` tells how many left for whom, and opens to the file's digest."""
    size = asked_for(gateway).size
    out = tmp_path / f"out.{form}"
    result = run("search", gateway, "--user", "j.ortega", f"--{form}", out)
    assert result.exit_code == 0 and f"entry {size} `exported` of {SHERIFF} tells of it" in result.stdout
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    (entry,) = exported(gateway)
    public, private = entry["public"], entry["private"]
    assert isinstance(public, dict) and isinstance(private, dict)
    assert public == {
        "agency": "sheriff",
        "what": "search",
        "to": "house",
        "format": form,
        "records": 4,
        "checkpoint_size": size,
    }
    assert private["digest"]["value"] == sha256(out.read_bytes()).hexdigest()
    assert json.loads(private["filter"]["value"]) == {"user": "j.ortega"}
    assert b"j.ortega" not in b"".join(p.read_bytes() for p in (gateway / "log").rglob("*") if p.is_file())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gateway", out.name]


def test_what_is_printed_for_scripts_is_an_export_too(gateway: Path) -> None:
    """`--json` gives all that a file would: it is logged with the digest of what was printed."""
    result = run("search", gateway, "--json")
    (entry,) = exported(gateway)
    assert isinstance(entry["private"], dict)
    assert entry["private"]["digest"]["value"] == sha256(result.stdout.rstrip("\n").encode()).hexdigest()
    assert run("search", gateway).exit_code == 0 and len(exported(gateway)) == 1, "a look is no export"


async def test_export_is_entered_while_the_process_runs(gateway: Path, tmp_path: Path) -> None:
    """The log has one writer; the command has it write the entry."""
    key = LogKey.load(gateway / "keys/log.key", SHERIFF)
    log = await SignedLog.open(gateway, origin=SHERIFF, key=key, clock=lambda: BEGIN)
    try:
        async with serving_acts(gateway, log, clock=lambda: BEGIN):
            before = log.size
            result = await asyncio.to_thread(run, "search", gateway, "--xlsx", tmp_path / "out.xlsx")
            assert result.exit_code == 0, result.output
            assert log.size == before + 1
    finally:
        await log.close()
    assert len(exported(gateway)) == 1


@pytest.mark.parametrize("form", ["xlsx", "pdf", "json"])
async def test_nothing_leaves_that_the_log_does_not_tell_of(
    gateway: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end's log is held and can't be written: no file, no half of one, nothing printed."""
    monkeypatch.setattr(acts, "PATIENCE_SECONDS", 0.1)
    key = LogKey.load(gateway / "keys/log.key", SHERIFF)
    log = await SignedLog.open(gateway, origin=SHERIFF, key=key, clock=lambda: BEGIN)
    try:
        wanted = ["--json"] if form == "json" else [f"--{form}", tmp_path / "out"]
        result = await asyncio.to_thread(run, "search", gateway, *wanted)
    finally:
        await log.close()
    assert result.exit_code == 2 and "nothing was exported" in result.stderr
    assert "j.ortega" not in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["gateway"]


def test_copy_of_an_end_exports_and_says_that_no_log_tells_of_it(gateway: Path, tmp_path: Path) -> None:
    """An auditor's copy has no key: the file names the checkpoint and that it was made from a copy."""
    shutil.rmtree(gateway / "keys")
    before = (gateway / "log/checkpoint").read_bytes()
    result = run("search", gateway, "--xlsx", tmp_path / "out.xlsx")
    assert result.exit_code == 0 and "made from a copy of the log" in result.stdout
    assert any("made from a copy of the log" in text for _, text, _ in cells(tmp_path / "out.xlsx"))
    assert (gateway / "log/checkpoint").read_bytes() == before


def test_no_file_is_overwritten(gateway: Path, tmp_path: Path) -> None:
    """What is there stays, and no entry tells of an export that wasn't."""
    out = tmp_path / "out.pdf"
    out.write_text("mine")
    result = run("search", gateway, "--pdf", out)
    assert result.exit_code == 2 and "nothing is overwritten" in result.output
    assert out.read_text() == "mine" and not exported(gateway)


def test_marking_is_the_strictest_of_all_that_is_shown(gateway: Path) -> None:
    """A plain provider alone: its terms. With a federal one: CUI, and never less than either (A4, A5)."""
    banners = {
        agency: json.loads(run("search", gateway, "--agency", agency, "--json").stdout)["banner"]
        for agency in ("lapd", "cbp", "dea")
    }
    assert banners == {
        "lapd": "LAW ENFORCEMENT SENSITIVE // NO ONWARD SHARING // LAPD / SHERIFF",
        "cbp": "CUI//LEI",
        "dea": "LAW ENFORCEMENT SENSITIVE // SHERIFF",  # it timed out: nothing of it is shown
    }
    assert json.loads(run("search", gateway, "--json").stdout)["banner"] == "CUI//LEI"


def test_marking_does_not_come_from_a_receipt_that_was_put_in_anothers_place(gateway: Path) -> None:
    """A receipt that isn't the one the log names counts as missing, and that is said."""
    other = receipt("dea", exchange(0), "responded").SerializeToString()
    with sqlite3.connect(gateway / "state.db") as database:
        database.execute("update envelopes set payload = ? where name = 'receipt:lapd'", (other,))
    result = run("search", gateway, "--agency", "lapd")
    assert "LAW ENFORCEMENT SENSITIVE // SHERIFF" in result.stdout
    assert "the receipts of 3 records are no longer at hand" in result.stdout


async def test_question_without_an_end_holds_back_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never got an outcome is told as pending; memory holds it alone, not all that came after."""
    monkeypatch.setattr(assembling, "_LONG", 10)
    groups = [at_adapter(Asked(), exchange(n), BEGIN, "responded", 1) for n in range(12)]
    entries = [*groups[0][:1], *[e for group in groups[1:6] for e in group], *groups[0][1:]]
    entries += [*groups[6][:1], *[e for group in groups[7:] for e in group]]
    home = await write_home(tmp_path / "adapter", LAPD, entries, lambda: BEGIN)
    met: list[Record] = []
    with assembling.read_records(home / "log", home / "state.db") as reader:
        for record in reader.records():
            met.append(record)
            assert len(reader._groups) <= 4
    assert [r.outcome for r in sorted(met, key=lambda r: r.entry.index)].count("responded") == 11
    assert [r.exchange for r in met if r.outcome == "pending"] == [exchange(6)]
    assert met[-1].exchange == exchange(6) and exchange(0) in [r.exchange for r in met]


@given(st.integers(0, 70))
def test_running_root_is_that_of_the_whole_tree(count: int) -> None:
    """Leaf by leaf, the tree's root is what RFC 6962 gives for all of them."""
    hashes = [leaf_hash(bytes([number])) for number in range(count)]
    running = RunningRoot()
    for each in hashes:
        running.add(each)
    assert (running.size, running.root()) == (count, root(hashes))
