"""A document as PDF: the marking above and below every page, page numbers, tables that break over pages.

Letter paper, landscape. Set in the faces that every reader of PDF has, which hold Latin letters alone:
another character is written as its number, such as `\\u{142}`, so nothing is lost and nothing looks like
another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from reportlab.lib.pagesizes import landscape, letter
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from comity.cli.exporting.document import Column, Document, DocumentTable, clean

WIDTH, HEIGHT = landscape(letter)
_MARGIN: Final = 36.0
_TOP: Final[float] = HEIGHT - 56.0
_BOTTOM: Final = 52.0
_PLAIN, _BOLD, _FIXED = "Helvetica", "Helvetica-Bold", "Courier"
_SIZE: Final = 8.0
_SMALL: Final = 6.0
_LEAD: Final = 1.25
_GAP: Final = 6.0


@dataclass(frozen=True, slots=True)
class _Words:
    """A line of text at its place on a page."""

    x: float
    y: float
    text: str
    font: str
    size: float


@dataclass(frozen=True, slots=True)
class _Rule:
    """A thin line across the page."""

    y: float


_Page = list[_Words | _Rule]


def write_pdf(document: Document, path: Path) -> None:
    """Write the document. Raises `OSError` as the system does."""
    pages = sum(1 for _ in _pages(document))
    canvas = Canvas(str(path), pagesize=(WIDTH, HEIGHT), pageCompression=1)
    canvas.setTitle(_latin(document.title))
    canvas.setSubject(_latin(document.banner))
    canvas.setCreator("comity")
    for number, page in enumerate(_pages(document), 1):
        for each in page:
            _draw(canvas, each)
        _frame(canvas, document, number, pages)
        canvas.showPage()
    canvas.save()


def _draw(canvas: Any, each: _Words | _Rule) -> None:
    if isinstance(each, _Rule):
        canvas.setLineWidth(0.3)
        canvas.line(_MARGIN, each.y, WIDTH - _MARGIN, each.y)
        return
    canvas.setFont(each.font, each.size)
    canvas.drawString(each.x, each.y, each.text)


def _frame(canvas: Any, document: Document, number: int, pages: int) -> None:
    """Draw what stands on every page: the marking above and below, title and number."""
    banner = _fitting(_latin(document.banner), WIDTH - 2 * _MARGIN, _BOLD, 10.0)
    for y in (HEIGHT - 28.0, 20.0):
        canvas.setFont(_BOLD, 10.0)
        canvas.drawCentredString(WIDTH / 2, y, banner)
    canvas.setFont(_PLAIN, 7.0)
    title = _fitting(_latin(document.title), WIDTH - 2 * _MARGIN, _PLAIN, 7.0)
    canvas.drawString(_MARGIN, HEIGHT - 42.0, title)
    canvas.drawRightString(WIDTH - _MARGIN, 34.0, f"page {number} of {pages}")


class _Setter:
    """Sets lines down a page and begins the next one when it is full."""

    def __init__(self) -> None:
        self.page: _Page = []
        self.y: float = _TOP

    def has_room(self, height: float) -> bool:
        return self.y - height >= _BOTTOM

    def next_page(self) -> _Page:
        page, self.page, self.y = self.page, [], _TOP
        return page

    def line(self, x: float, text: str, font: str, size: float) -> None:
        self.page.append(_Words(x, self.y - size, text, font, size))


def _pages(document: Document) -> Iterator[_Page]:
    """Yield the pages one by one: a long table never stands in memory as pages."""
    setter = _Setter()
    yield from _paragraph(setter, document.title, _BOLD, 13.0)
    for caveat in document.caveats:
        yield from _paragraph(setter, caveat, _PLAIN, _SIZE)
    for finding in document.findings:
        yield from _paragraph(setter, f"FINDING: {finding}", _BOLD, 9.0)
    for word, text in document.about:
        yield from _labelled(setter, word, text)
    for table in document.tables:
        setter.y -= 10.0
        yield from _table(setter, table)
    if setter.page:
        yield setter.next_page()


def _paragraph(setter: _Setter, text: str, font: str, size: float) -> Iterator[_Page]:
    for line in _wrapped(text, WIDTH - 2 * _MARGIN, font, size):
        if not setter.has_room(size * _LEAD):
            yield setter.next_page()
        setter.line(_MARGIN, line, font, size)
        setter.y -= size * _LEAD
    setter.y -= 3.0


def _labelled(setter: _Setter, word: str, text: str) -> Iterator[_Page]:
    """Set a word and, beside it, its text; a text of several lines in the face for digests."""
    font, size = (_FIXED, 7.0) if "\n" in text else (_PLAIN, _SIZE)
    lines = _wrapped(text, WIDTH - 2 * _MARGIN - 110.0, font, size)
    for number, line in enumerate(lines):
        if not setter.has_room(size * _LEAD):
            yield setter.next_page()
        if not number:
            setter.line(_MARGIN, _latin(word), _BOLD, _SIZE)
        setter.line(_MARGIN + 110.0, line, font, size)
        setter.y -= size * _LEAD
    setter.y -= 2.0


def _table(setter: _Setter, table: DocumentTable) -> Iterator[_Page]:
    if not setter.has_room(80.0):
        yield setter.next_page()
    yield from _paragraph(setter, table.name, _BOLD, 10.0)
    if table.note:
        yield from _paragraph(setter, table.note, _PLAIN, 7.0)
    if not table.rows:
        yield from _paragraph(setter, table.empty, _PLAIN, _SIZE)
        return
    shares = sum(column.share for column in table.columns)
    room = WIDTH - 2 * _MARGIN
    widths = [room * column.share / shares for column in table.columns]
    head = _cells([column.head for column in table.columns], table.columns, widths, head=True)
    _row(setter, head, widths)
    for values in table.rows:
        cells = _cells(list(values), table.columns, widths)
        while cells:
            height = _height(cells)
            if not setter.has_room(height) and setter.y < _TOP - 60.0:
                yield setter.next_page()
                _row(setter, head, widths)
            cells = _row(setter, cells, widths)


_Cell = tuple[list[str], str, float]


def _cells(
    values: list[str], columns: tuple[Column, ...], widths: list[float], *, head: bool = False
) -> list[_Cell]:
    cells: list[_Cell] = []
    for value, column, width in zip(values, columns, widths, strict=False):
        font, size = (_BOLD, _SIZE) if head else (_FIXED, _SMALL) if column.small else (_PLAIN, _SIZE)
        cells.append((_wrapped(value, width - _GAP, font, size), font, size))
    return cells


def _height(cells: list[_Cell]) -> float:
    return max((len(lines) * size * _LEAD for lines, _, size in cells), default=0.0) + 5.0


def _row(setter: _Setter, cells: list[_Cell], widths: list[float]) -> list[_Cell]:
    """Set a row; return the lines of it for which the page had no room, if any."""
    room, left = setter.y - _BOTTOM - 5.0, list[_Cell]()
    x, bottom = _MARGIN, setter.y
    for (lines, font, size), width in zip(cells, widths, strict=False):
        fit = max(1, int(room / (size * _LEAD)))
        y = setter.y
        for line in lines[:fit]:
            setter.page.append(_Words(x, y - size, line, font, size))
            y -= size * _LEAD
        bottom = min(bottom, y)
        left.append((lines[fit:], font, size))
        x += width
    setter.y = bottom - 2.0
    setter.page.append(_Rule(setter.y))
    setter.y -= 3.0
    return left if any(lines for lines, _, _ in left) else []


@lru_cache(maxsize=65_536)
def _width(text: str, font: str, size: float) -> float:
    width: float = stringWidth(text, font, size)
    return width


def _wrapped(text: str, width: float, font: str, size: float) -> list[str]:
    """Return a text in lines that fit; a word that is too long is broken."""
    lines: list[str] = []
    for part in clean(text).split("\n"):
        line = ""
        for word in _latin(part).split(" "):
            longer = f"{line} {word}" if line else word
            if _width(longer, font, size) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            while _width(word, font, size) > width and len(word) > 1:
                fit = _fit(word, width, font, size)
                lines.append(word[:fit])
                word = word[fit:]
            line = word
        lines.append(line)
    return lines


def _fit(word: str, width: float, font: str, size: float) -> int:
    """Return how many characters of a word fit, at least one."""
    fit = max(1, min(len(word) - 1, int(len(word) * width / _width(word, font, size))))
    while fit > 1 and stringWidth(word[:fit], font, size) > width:
        fit -= 1
    return fit


def _fitting(text: str, width: float, font: str, size: float) -> str:
    return text if _width(text, font, size) <= width else text[: _fit(text, width, font, size) - 1] + "…"


def _latin(text: str) -> str:
    """Return a text with every character that the faces lack written as its number."""
    if text.isascii():
        return text
    return "".join(c if _has(c) else f"\\u{{{ord(c):x}}}" for c in text)


def _has(character: str) -> bool:
    try:
        character.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
