"""The page of agreements names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_sentence_of_the_agreements_rules_has_a_test_that_is_there() -> None:
    """A2 and D4, sentence by sentence: each row of `docs/agreements.md` names a test, and it exists."""
    rows = [line for line in (ROOT / "docs/agreements.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| sentence", "| ---"))]
    assert len(rows) >= 14
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row)
        assert named, row
        for path, name in named:
            text = (ROOT / path).read_text()
            assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), (path, name)
