"""The examples of README and docs/library.md, run as they stand against the running federation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from comity.cli.demonstration.processes import start_all
from comity.gateway import HomeInUse, connect
from tests.integration.conftest import PLATE, Federation, comity

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
PROVIDERS = {"cbp", "dea", "lahd", "lapd", "vendor"}


def example(page: str, federation: Federation, folder: Path) -> str:
    """Run the page's Python block in the running federation's folder; return what it printed."""
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    script = folder / "example.py"
    script.write_text(block.replace("/tmp/federation", str(federation.made.root)))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


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


def test_example_of_the_readme_asks_five_agencies(without_gateway: Federation, tmp_path: Path) -> None:
    """Ten lines, no gateway process: the same answer, and both ends hold their evidence."""
    printed = example("README.md", without_gateway, tmp_path).splitlines()
    assert printed[0].startswith("CUI//LEI") and "A5" in printed[1]
    outcomes = {words[0]: words[1:] for line in printed if (words := line.split()) and words[0] in PROVIDERS}
    assert set(outcomes) == PROVIDERS
    assert {words[0] for words in outcomes.values()} == {"RESPONDED"}
    assert any(PLATE in line for line in printed)
    shown = comity("audit", "show", str(without_gateway.made.gateway_home("sheriff")), "--json")
    kinds = [entry["kind"] for entry in json.loads(shown.stdout)["entries"]]
    last = kinds[len(kinds) - 1 - kinds[::-1].index("started") :]
    order = [kind for kind in last if kind in ("started", "asked", "delivered", "concluded", "stopped")]
    assert order == ["started", "asked", *["delivered"] * 5, "concluded", "stopped"]


def test_example_of_the_page_follows_an_answer(without_gateway: Federation, tmp_path: Path) -> None:
    """Outcomes come one by one, and the banner at last."""
    printed = example("docs/library.md", without_gateway, tmp_path)
    assert printed.splitlines()[0] == "asked: cbp dea lahd lapd vendor"
    assert sum(line.startswith("Outcome(") and "RESPONDED" in line for line in printed.splitlines()) == 5
    assert "CUI//LEI" in printed
