"""Text that somebody else may have written, as it can stand on a terminal.

A log's origin, a file's name in a copy, a peer's words: each may hold what moves the cursor, wipes what was
printed before, or turns the order of letters around.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def clean(text: str) -> str:
    """Return text on one line, without control, format and bidirectional characters."""
    kept = (" " if character in "\n\t\r" else character for character in text)
    return "".join(c for c in kept if unicodedata.category(c) not in _HIDDEN)


def clean_lines(text: str) -> str:
    """Return text of several lines, each as `clean` has it."""
    return "\n".join(clean(line) for line in text.split("\n"))
