"""`comity demo`, as its user runs it, and what it leaves behind (the main job)."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from comity.audit.entry import parse_entry
from comity.audit.tiles import TileFolder
from comity.audit.trust import Trust
from comity.certs.clock import utc_now
from tests.integration.conftest import comity
from tests.support.third_party import third_party_faults

pytestmark = pytest.mark.integration
PROVIDERS = {"cbp", "dea", "lahd", "lapd", "vendor"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept") / "federation"


@pytest.fixture(scope="module")
def told(kept: Path) -> dict[str, list[dict[str, object]]]:
    """What `comity demo --dir DIR --json` prints, once for this module."""
    done = comity("demo", "--dir", str(kept), "--json", seconds=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def kinds(query: dict[str, object]) -> dict[str, str]:
    outcomes = query["outcomes"]
    assert isinstance(outcomes, dict)
    return {agency: outcome["kind"] for agency, outcome in outcomes.items()}


def test_one_object_tells_queries_logs_trust_and_folder(
    told: dict[str, list[dict[str, object]]], kept: Path
) -> None:
    """The JSON has what a script needs: queries, logs, the trust file's path and the folder."""
    assert str(told["dir"]) == str(kept)
    assert Path(str(told["trust"])).is_file()
    for query in told["queries"]:
        assert {"plate", "outcomes", "banner", "reads"} <= query.keys()
    for log in told["logs"]:
        assert {"end", "agency", "path", "origin", "size", "verified"} <= log.keys()
        assert log["verified"] is True and Path(str(log["path"])).is_dir()


def test_five_providers_answer_the_first_question(told: dict[str, list[dict[str, object]]]) -> None:
    """The sheriff's question is answered by five providers, each read marked (A4)."""
    first = told["queries"][0]
    assert {name for name, kind in kinds(first).items() if kind == "RESPONDED"} == PROVIDERS
    reads = first["reads"]
    assert isinstance(reads, list) and all(read["banner"] for read in reads)


def test_same_law_asked_twice_gives_an_answer_and_a_refusal(
    told: dict[str, list[dict[str, object]]],
) -> None:
    """LAPD answers Port Police for a crime and refuses for civil immigration (A3)."""
    assert kinds(told["queries"][1])["lapd"] == "RESPONDED"
    assert kinds(told["queries"][2])["lapd"] == "REFUSED"


def test_period_is_clipped_and_lapd_not_asked_by_ice(told: dict[str, list[dict[str, object]]]) -> None:
    """Eight years become five (Q5); without an agreement nothing is asked (A2)."""
    query = told["queries"][3]
    assert kinds(query) | {"vendor": "RESPONDED", "lapd": "NOT_ASKED"} == kinds(query)
    assert query["outcomes"]["vendor"]["period_clipped"] is True  # type: ignore[index]


def test_stopped_providers_are_named(told: dict[str, list[dict[str, object]]]) -> None:
    """One frozen, one gone: both are named, the other three answer."""
    last = kinds(told["queries"][4])
    assert last["lahd"] in ("TIMED_OUT", "UNREACHABLE") and last["vendor"] == "UNREACHABLE"
    assert {name for name, kind in last.items() if kind == "RESPONDED"} == {"cbp", "dea", "lapd"}


def test_each_tampering_is_found_and_named(told: dict[str, list[dict[str, object]]]) -> None:
    """A changed byte, a log rebuilt under another key, a cut tail signed with the right key (L2)."""
    byte, rebuilt, tail = told["tampered"]
    assert [item["exit_status"] for item in told["tampered"]] == [1, 1, 1]
    assert "entry" in str(byte["findings"])
    assert "trust file does not name" in str(rebuilt["findings"])
    assert "tail cut" in str(tail["findings"]) and "lapd.example/adapter" in str(tail["findings"])


def test_trust_file_is_older_than_the_first_entry(
    told: dict[str, list[dict[str, object]]], kept: Path
) -> None:
    """What verification rests on was made before there was anything to verify."""
    made = (kept / "trust.json").stat().st_mtime
    for log in told["logs"]:
        _, first = next(TileFolder(Path(str(log["path"]))).all_entries(1))
        assert parse_entry(first).at.timestamp() >= made - 0.001  # entries are in milliseconds


def test_verifier_of_others_accepts_every_log(told: dict[str, list[dict[str, object]]]) -> None:
    """A program that this project did not write verifies the demonstration's logs."""
    trust = Trust.load(Path(str(told["trust"])))
    keys = {origin: log.keys[0].line for origin, log in trust.logs.items()}
    for log in told["logs"]:
        entry_by_entry = log["end"] == "broker"  # each check is a process of its own: one log will do
        faults = third_party_faults(
            Path(str(log["path"])), keys[str(log["origin"])], inclusions=entry_by_entry
        )
        assert faults == []


def test_log_folders_hold_no_content(told: dict[str, list[dict[str, object]]], kept: Path) -> None:
    """What is copied for an audit holds commitments, no plate, user, case or reason text."""
    for path in (kept / "copies").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for secret in (b"8ABC123", b"26-0417", b"j.ortega", b"burglary", b"k.novak", b"ERO-5521"):
                assert secret not in data, path


def test_ends_that_ran_tell_the_same_of_every_exchange(
    told: dict[str, list[dict[str, object]]], kept: Path
) -> None:
    """An auditor reconciles copies of all ends' logs, those of stopped providers too: everything matches."""
    asked = sum(kind != "NOT_ASKED" for query in told["queries"] for kind in kinds(query).values())
    done = comity("audit", "reconcile", str(kept / "copies"), "--trust", str(told["trust"]), "--json")
    found = json.loads(done.stdout)
    assert found["counts"] == {"matched": asked} and asked > len(PROVIDERS), found["examples"]
    assert done.returncode == 0 and found["matched"] is True
    assert {log["origin"] for log in found["logs"]} == {log["origin"] for log in told["logs"]}
    assert not any(log["findings"] for log in found["logs"])


@pytest.mark.long
def test_kept_federation_starts_again_and_answers(
    told: dict[str, list[dict[str, object]]], kept: Path
) -> None:
    """`--up` starts what was kept, but what is left out; `comity query` asks it; SIGTERM ends everything."""
    left_out = kept / "agencies" / "lapd" / "gateway" / "process.log"
    before = left_out.stat().st_mtime_ns
    up = subprocess.Popen(
        [
            *(sys.executable, "-m", "comity.cli.main", "demo", "--dir", str(kept), "--up"),
            *("--without", "lapd/gateway"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert up.stdout is not None
        for line in up.stdout:
            if "Ctrl-C" in line:
                break
        done = comity(
            *("query", "8ABC123", "--state", "CA", "--from", (utc_now() - timedelta(days=30)).isoformat()),
            *(
                "--reason",
                "CRIMINAL_INVESTIGATION",
                "--case",
                "26-0418",
                "--text",
                "burglary series, again",
                "--json",
            ),
            *("--client", str(kept / "agencies/sheriff/clients/desk/client.toml"), "--user", "j.ortega"),
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert {name for name, kind in kinds(answer).items() if kind == "RESPONDED"} == PROVIDERS
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(90) == 0
    assert left_out.stat().st_mtime_ns == before
    again = comity(
        "audit", "verify", str(kept / "agencies"), str(kept / "operator"), "--trust", str(told["trust"])
    )
    assert again.returncode == 0, again.stdout


def test_folder_that_is_not_empty_is_not_touched(kept: Path, told: object) -> None:
    """A second demonstration in the same folder is refused, and says how to start the first one again."""
    done = comity("demo", "--dir", str(kept))
    assert done.returncode == 2 and "--up" in done.stderr


def test_nothing_is_left_running(told: object, kept: Path) -> None:
    """Every process that the demonstration started has ended."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            assert str(kept).encode() not in words or b"pytest" in words


def walk(page: Path, folder: Path) -> list[str]:
    """Run the page's shell blocks in order in `folder`, as a person would; return what each printed.

    A block that serves runs beside the others until the next one that serves the same, or the end.
    """
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "110"}
    serving: dict[str, subprocess.Popen[bytes]] = {}
    printed, before, place = [], "", str(folder)
    try:
        for block in blocks:
            if block.startswith("comity demo --dir fed\n"):
                continue  # `kept` is what this made
            if " --up" in block or " serve " in block:
                if block in serving:
                    end(serving.pop(block))
                output = folder / f"served-{len(serving)}.txt"
                with output.open("wb") as sink:
                    words = shlex.split(block)
                    serving[block] = subprocess.Popen(
                        words, cwd=folder, env=environment, stdout=sink, stderr=subprocess.STDOUT
                    )
                wait_until(output, "Ctrl-C" if " --up" in block else "linked to the broker")
                continue
            # each block is a shell of its own, but folder and variables live on in a person's terminal
            script = f"cd {shlex.quote(place)}\n{before}{block}\nstatus=$?; pwd >&3; exit $status"
            done = subprocess.run(
                ["bash", "-uo", "pipefail", "-c", f"exec 3> {shlex.quote(str(folder / 'pwd'))}\n{script}"],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if block.startswith("BROKER="):
                before = block.replace("; echo $BROKER", "")
            query = "comity query" in block
            assert done.returncode == 0 or query, f"{block}\n{done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr, block
            place = (folder / "pwd").read_text().strip()
            printed.append(done.stdout)
    finally:
        for process in reversed(serving.values()):
            end(process)
    return printed


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    process.wait(90)


def wait_until(output: Path, line: str, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while line not in output.read_text():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)


@pytest.mark.long
def test_page_that_adds_an_agency_works_word_by_word(told: object, kept: Path, tmp_path: Path) -> None:
    """Every command of `docs/add-an-agency.md`, run as it stands, ends in answers of the new agency."""
    shutil.copytree(kept, tmp_path / "fed")
    printed = walk(Path(__file__).parents[2] / "docs" / "add-an-agency.md", tmp_path)
    answers = [text for text in printed if "vouched by" in text]
    rows = [
        next(line.split() for line in text.splitlines() if re.match(r"\s*harbor\s+[A-Z]", line))
        for text in answers
    ]
    assert [row[:3] for row in rows] == [
        ["harbor", "RESPONDED", "3"],
        ["harbor", "REFUSED", "0"],
        ["harbor", "RESPONDED", "5"],
    ]
    assert "A3" in answers[1]
    assert "ok   harbor.example/adapter" in printed[-1]
