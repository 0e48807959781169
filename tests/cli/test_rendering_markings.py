"""Every rendering of an answer carries its banner and its caveats, and each read its marking (A4, A5)."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from click.testing import CliRunner
from pypdf import PdfReader
from rich.console import Console

from comity.cli import query
from comity.cli.answer_files import write_answer
from comity.cli.asking import Answer
from comity.cli.rendering import NO_BANNER, show, to_json
from comity.policy import markings
from comity.v1 import common_pb2, query_service_pb2, result_pb2

CAVEAT = (
    "Not the sole basis for enforcement: confirm the plate against the image and check other sources (A5)."
)
ROOT = Path(__file__).parents[2]


def marking(provider: str, *, federal: bool) -> result_pb2.Marking:
    return markings.make_marking(
        provider=provider,
        nature="licence plate reads",
        scheme=result_pb2.MARKING_SCHEME_CUI if federal else result_pb2.MARKING_SCHEME_PLAIN,
        level="" if federal else "LAW ENFORCEMENT SENSITIVE",
        categories=["LEI"] if federal else (),
        agreement_digest=bytes(32),
        retain_days=30,
        caveats=[CAVEAT],
    )


def read(provider: str, number: int, mark: result_pb2.Marking) -> result_pb2.Read:
    found = result_pb2.Read(
        read_id=f"{provider}:{number}",
        plate=common_pb2.Plate(number="8ABC123", state="CA", country="US"),
        marking=mark,
    )
    found.captured_at.FromDatetime(datetime(2026, 3, 2, 12, number % 60, tzinfo=UTC))
    found.location.CopyFrom(
        result_pb2.Location(latitude=33.735, longitude=-118.295, grid="wgs84-0.01", grid_metres=1117)
    )
    return found


def an_answer(reads: int = 2, *, marked: bool = True) -> Answer:
    """Two providers, one of them federal, as a gateway marks their answer."""
    marks = {"cbp": marking("cbp", federal=True), "lahd": marking("lahd", federal=False)}
    answer = Answer(summary=query_service_pb2.Summary(caveats=[CAVEAT, "Absence proves nothing."]))
    for name, mark in marks.items():
        page = result_pb2.Page(reads=[read(name, number, mark) for number in range(reads)], marking=mark)
        answer.pages.append(query_service_pb2.ProviderPage(agency=name, page=page))
        detail = result_pb2.ResultDetail(
            kind=common_pb2.OUTCOME_KIND_RESPONDED, read_count=reads, marking=mark
        )
        answer.outcomes.append(
            query_service_pb2.ProviderOutcome(
                agency=name, kind=common_pb2.OUTCOME_KIND_RESPONDED, detail=detail
            )
        )
    if marked and answer.summary is not None:
        answer.summary.marking.CopyFrom(markings.combine(marks.values()))
    return answer


@pytest.mark.parametrize("width", [70, 110])
def test_table_stands_between_banners_with_every_caveat(width: int) -> None:
    """First and last line are the answer's banner, whatever the width; each read has its portion (A4, A5)."""
    out = StringIO()
    show(an_answer(), Console(file=out, width=width))
    lines = [line.strip() for line in out.getvalue().splitlines() if line.strip()]
    assert lines[0] == lines[-1] == "CUI//LEI"
    told = " ".join(" ".join(lines).split())
    assert f"! {CAVEAT}" in told and "! Absence proves nothing." in told
    assert told.count("(CUI//LEI)") == told.count("(LES)") == 2


def test_json_holds_banner_caveats_and_each_reads_marking() -> None:
    """A script that prints a read has its marking at hand, and the grid that its place is on (A4, A5, A6)."""
    told = json.loads(json.dumps(to_json(an_answer(), "8ABC123")))
    assert told["banner"] == "CUI//LEI"
    assert CAVEAT in told["caveats"]
    assert {each["banner"] for each in told["reads"]} == {"CUI//LEI", "LAW ENFORCEMENT SENSITIVE // LAHD"}
    assert {each["portion"] for each in told["reads"]} == {"(CUI//LEI)", "(LES)"}
    assert {(each["grid"], each["grid_metres"]) for each in told["reads"]} == {("wgs84-0.01", 1117)}


def test_pdf_has_the_banner_twice_on_every_page_and_the_caveats(tmp_path: Path) -> None:
    """Above and below, however many pages there are (A4); the caveats stand before any read (A5)."""
    path = tmp_path / "answer.pdf"
    write_answer(an_answer(25), {"plate": "8ABC123"}, xlsx=None, pdf=path)
    assert path.stat().st_mode & 0o777 == 0o600
    pages = [page.extract_text() for page in PdfReader(path).pages]
    assert len(pages) > 1
    for page in pages:
        assert len(re.findall(r"^CUI//LEI$", page, re.MULTILINE)) == 2
    first = " ".join(pages[0].split())
    assert CAVEAT in first and first.index(CAVEAT) < first.index("wgs84-0.01")
    assert "(LES)" in " ".join(" ".join(pages).split())


def test_workbook_has_the_banner_on_every_sheet_and_the_caveats(tmp_path: Path) -> None:
    """In its header and footer for print, and in cells; each read with its own marking (A4, A5)."""
    path = tmp_path / "answer.xlsx"
    write_answer(an_answer(), {"plate": "8ABC123"}, xlsx=path, pdf=None)
    with ZipFile(path) as book:
        sheets = [book.read(name).decode() for name in book.namelist() if "worksheets/sheet" in name]
        cells = "".join(book.read(name).decode() for name in book.namelist() if name.endswith(".xml"))
    assert len(sheets) == 3
    assert all(sheet.count("CUI//LEI") >= 2 for sheet in sheets)
    for text in (CAVEAT, "Absence proves nothing.", "(LES) LAW ENFORCEMENT SENSITIVE // LAHD"):
        assert text in cells


def test_file_that_is_there_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer never takes the place of another one in the case file."""
    path = tmp_path / "answer.pdf"
    path.write_text("another")
    with pytest.raises(SystemExit):
        write_answer(an_answer(), {}, xlsx=None, pdf=path)
    assert path.read_text() == "another"
    assert "nothing is overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pdf", "there.pdf"), "--pdf: `there.pdf` is there already"),
        (("--xlsx", "nowhere/answer.xlsx"), "--xlsx: there is no folder `nowhere`"),
        (("--xlsx", "answer", "--pdf", "answer"), "both name `answer`"),
    ],
)
def test_file_that_cannot_be_written_is_said_before_anybody_is_asked(
    options: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question is logged and counts towards budgets: none is asked whose answer has nowhere to go."""
    asked: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(query, "load_client", lambda path: asked.append(str(path)))
    (tmp_path / "there.pdf").write_text("another")
    (tmp_path / "client.toml").write_text("")
    line = "8ABC123 --state CA --days 3 --reason NARCOTICS --case 1 --text x --client client.toml --user a"
    result = CliRunner().invoke(query.command, [*line.split(), *options])
    assert (result.exit_code, asked) == (2, [])
    assert said in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["client.toml", "there.pdf"]


def test_reads_without_the_answers_marking_are_shown_nowhere(tmp_path: Path) -> None:
    """A gateway that ended without a marking: no rendering shows a read under `NO DATA SHOWN` (A4)."""
    answer = an_answer(marked=False)
    out = StringIO()
    show(answer, Console(file=out, width=110))
    told = to_json(answer, "8ABC123")
    write_answer(answer, {}, xlsx=None, pdf=tmp_path / "answer.pdf")
    printed = "".join(page.extract_text() for page in PdfReader(tmp_path / "answer.pdf").pages)
    assert told["banner"] == NO_BANNER and told["reads"] == []
    for text in (out.getvalue(), printed):
        assert NO_BANNER in text and "33.7350" not in text
    assert "are not shown (A4)" in out.getvalue()


def test_one_module_writes_banners() -> None:
    """Nobody else puts a banner together: markings come from `comity.policy.markings` or from a peer (A4)."""
    rooms = ("adapters", "gateway", "broker", "cli", "audit", "certs", "links", "policy")
    writers = [
        path.relative_to(ROOT).as_posix()
        for room in rooms
        for path in (ROOT / room / "comity").rglob("*.py")
        if re.search(r"\bMarking\(\s*\w+=", path.read_text(encoding="utf-8"))
    ]
    assert writers == ["policy/comity/policy/markings.py"]
