"""A document before it is Excel or PDF: its marking, what it is made from, and tables of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's head and its share of the page's width."""

    head: str
    share: int = 1
    small: bool = False
    """Whether it holds digests and the like, which are set in a small face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTable:
    """A table of text. A newline begins a new line in its cell."""

    name: str
    """Of its sheet in Excel: at most 31 characters, none of `[]:*?/\\`."""
    columns: tuple[Column, ...]
    rows: Sequence[tuple[str, ...]] = field(repr=False)
    note: str = ""
    """What a reader must know of it, for example how a rule works."""
    empty: str = "none"
    """What stands in place of rows where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is written, whichever way. Its repr shows no content."""

    title: str
    banner: str
    """The marking of all that it shows, above and below every page."""
    caveats: tuple[str, ...]
    about: tuple[tuple[str, str], ...] = field(repr=False)
    """What it is made from and how it is verified: a word and a text each, in their order."""
    findings: tuple[str, ...]
    tables: tuple[DocumentTable, ...]


def clean(text: str) -> str:
    """Return text without control, format and bidirectional characters; line breaks stay."""
    kept = (" " if character in "\t\r" else character for character in text)
    return "".join(
        c for c in kept if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    )
