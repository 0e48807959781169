"""The page of threats names checks and tests: each of them exists, or the page promises too much."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.support.lie_table import TABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
FILE = re.compile(r"`((?:broker|certs|audit|policy|links|adapters|gateway|cli)/[\w/]+\.py)`")


def test_every_test_that_the_page_names_exists() -> None:
    """A renamed test must not leave a claim without its proof."""
    named = TEST.findall(PAGE)
    assert len(named) > 40
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert not missing


def test_every_check_that_the_page_names_exists() -> None:
    """A moved check must not leave a claim that points at nothing."""
    assert not [path for path in FILE.findall(PAGE) if not (ROOT / path).is_file()]


def test_every_lie_of_the_table_is_explained_and_no_other() -> None:
    """The page says of each lie that the tests tell what becomes of it, and promises nothing untested."""
    section = PAGE[PAGE.index("### On records") : PAGE.index("### What else it could try")]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| *")]
    told = Counter(name for row in rows for name in re.findall(r"\*([^*]+)\*", row))
    assert told == Counter(TABLE)
