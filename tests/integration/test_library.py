"""The examples of README and docs/library.md, run as they stand against the running federation."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.cli.demonstration.processes import start_all
from comity.cli.main import cli
from comity.gateway import (
    Answer,
    Completeness,
    GatewayError,
    HomeInUse,
    Plan,
    Question,
    Reason,
    RequesterClosed,
    connect,
)
from tests.integration.conftest import PLATE, Federation

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
PROVIDERS = {"cbp", "dea", "lahd", "lapd", "vendor"}


def example(page: str, federation: Federation, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the page's Python block as a script on the running federation; return what it printed."""
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    script = folder / "example.py"
    script.write_text(block.replace("/tmp/federation", str(federation.made.root)))
    runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr()
    assert not printed.err
    return printed.out


@pytest.fixture(scope="module")
def without_gateway(federation: Federation) -> Iterator[Federation]:
    """The running federation without the sheriff's gateway process, whose place a program takes."""
    name = "sheriff gateway"
    assert federation.processes.stop(name) == {name: 0}
    yield federation
    config = federation.made.gateway_home("sheriff") / "gateway.toml"
    start_all(federation.processes, [(name, "gateway", config)], lambda line: None)


def test_home_of_a_running_gateway_is_in_use(federation: Federation) -> None:
    """One log, one writer: beside `comity gateway serve` no program opens the same home."""
    with pytest.raises(HomeInUse, match="open"):
        connect(federation.made.gateway_home("sheriff"))


def test_example_of_the_readme_asks_five_agencies(
    without_gateway: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten lines, no gateway process: the same answer, and both ends hold their evidence."""
    printed = example("README.md", without_gateway, tmp_path, capsys).splitlines()
    assert printed[0].startswith("CUI//LEI") and "A5" in printed[1]
    outcomes = {words[0]: words[1:] for line in printed if (words := line.split()) and words[0] in PROVIDERS}
    assert set(outcomes) == PROVIDERS
    assert {words[0] for words in outcomes.values()} == {"RESPONDED"}
    assert any(PLATE in line for line in printed)
    home = without_gateway.made.gateway_home("sheriff")
    shown = CliRunner().invoke(cli, ["audit", "show", str(home), "--json"])
    kinds = [entry["kind"] for entry in json.loads(shown.output)["entries"]]
    last = kinds[len(kinds) - 1 - kinds[::-1].index("started") :]
    order = [kind for kind in last if kind in ("started", "asked", "delivered", "concluded", "stopped")]
    assert order == ["started", "asked", *["delivered"] * 5, "concluded", "stopped"]


def test_example_of_the_page_follows_an_answer(
    without_gateway: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outcomes come one by one, and the banner at last."""
    printed = example("docs/library.md", without_gateway, tmp_path, capsys)
    assert printed.splitlines()[0] == "asked: cbp dea lahd lapd vendor"
    assert sum(line.startswith("Outcome(") and "RESPONDED" in line for line in printed.splitlines()) == 5
    assert "CUI//LEI" in printed


def test_threads_ask_at_once_over_one_connection(without_gateway: Federation) -> None:
    """`connect` serves any number of threads; one that leaves or is late stops nobody."""
    made = without_gateway.made
    with connect(made.gateway_home("sheriff")) as gateway:
        now = utc_now()
        issuer = AgencyHome.load(made.home("sheriff")).identity_provider()
        jwt = issuer.issue(made.user("sheriff"), gateway.certificate, now)
        question = Question(
            plate=PLATE,
            state="CA",
            start=now - timedelta(days=30),
            end=now,
            reason=Reason.CRIMINAL_INVESTIGATION,
            case_number="26-0417",
            reason_text="burglary series",
            for_self=True,
        )
        leaving = gateway.search(question, assertion=jwt)
        assert isinstance(next(leaving), Plan)
        leaving.close()
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda _: gateway.ask(question, assertion=jwt), range(8)))
            whole = list(gateway.search(question, assertion=jwt))
            assert isinstance(whole[-1], Answer) and len(whole) == 2 + len(PROVIDERS)
            for answer in answers:
                assert {name for name, one in answer.outcomes.items() if one.reads} == PROVIDERS
            assert len({answer.exchange_id for answer in answers}) == 8
            without_gateway.processes.freeze("lahd adapter")
            try:
                search = gateway.search(replace(question, completeness=Completeness.all()), assertion=jwt)
                assert isinstance(next(search), Plan)
                late = threads.submit(list, search)
                gateway.close()
                with pytest.raises(GatewayError):
                    late.result(30)
            finally:
                without_gateway.processes.thaw("lahd adapter")
    with pytest.raises(RequesterClosed):
        gateway.ask(question, assertion=jwt)
