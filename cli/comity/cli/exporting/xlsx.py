"""A document as an Excel workbook in which every cell is text: nothing that was entered becomes a formula.

XlsxWriter's options that turn texts into formulas, numbers and links are off, and each cell is written as a
string by name: a case number `=HYPERLINK(…)` stays what the user typed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import xlsxwriter

from comity.cli.exporting.document import Document, DocumentTable, clean

MAX_CELL: Final = 32_767
"""Characters that Excel takes in a cell."""
MAX_ROWS: Final = 1_048_000
_MAX_HEADER: Final = 250
_OPTIONS: Final = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}


class TooManyRows(ValueError):
    """A table is longer than a sheet of Excel."""


def write_xlsx(document: Document, path: Path, scratch: Path) -> None:
    """Write the workbook: a sheet `About`, then one a table. `scratch` is a private folder.

    Raises `TooManyRows`, and `OSError` as the system does.
    """
    for table in document.tables:
        if len(table.rows) > MAX_ROWS:
            raise TooManyRows(f"`{table.name}` has {len(table.rows)} rows; a sheet of Excel takes {MAX_ROWS}")
    book = xlsxwriter.Workbook(str(path), {**_OPTIONS, "tmpdir": str(scratch)})
    try:
        head = book.add_format({"bold": True, "bg_color": "#DDDDDD", "border": 1, "text_wrap": True})
        plain = book.add_format({"text_wrap": True, "valign": "top"})
        bold = book.add_format({"bold": True, "valign": "top"})
        sheet = _sheet(book, "About", document)
        sheet.set_column(0, 0, 22)
        sheet.set_column(1, 1, 110)
        for row, (word, text) in enumerate(_about(document)):
            _text(sheet, row, 0, word, bold)
            _text(sheet, row, 1, text, plain)
        for table in document.tables:
            _table(_sheet(book, table.name, document), table, document.banner, head, plain, bold)
    finally:
        book.close()


def _about(document: Document) -> list[tuple[str, str]]:
    lines = [("marking", document.banner), ("document", document.title)]
    lines += [("caveat", caveat) for caveat in document.caveats]
    lines += [("FINDING", finding) for finding in document.findings]
    lines += list(document.about)
    return [*lines, ("marking", document.banner)]


def _sheet(book: Any, name: str, document: Document) -> Any:
    """Return a new sheet, the marking in its header and footer when printed."""
    sheet = book.add_worksheet(name)
    banner = clean(document.banner).replace("&", "&&")[:_MAX_HEADER]
    sheet.set_header(f"&C&B{banner}")
    sheet.set_footer(f"&C&B{banner}&RPage &P of &N")
    sheet.set_landscape()
    sheet.set_paper(1)  # letter
    sheet.fit_to_pages(1, 0)
    return sheet


def _table(sheet: Any, table: DocumentTable, banner: str, head: Any, plain: Any, bold: Any) -> None:
    for column, each in enumerate(table.columns):
        sheet.set_column(column, column, max(8, min(60, 5 * each.share)))
    _text(sheet, 0, 0, banner, bold)
    row = 1
    if table.note:
        _text(sheet, row, 0, table.note, bold)
        row += 1
    sheet.freeze_panes(row + 1, 0)
    sheet.repeat_rows(row)
    for column, each in enumerate(table.columns):
        _text(sheet, row, column, each.head, head)
    for values in table.rows or [(table.empty,)]:
        row += 1
        for column, value in enumerate(values):
            _text(sheet, row, column, value, plain)
    _text(sheet, row + 1, 0, banner, bold)


def _text(sheet: Any, row: int, column: int, value: str, form: Any) -> None:
    """Write one cell as text, whatever it begins with."""
    text = clean(value)
    cut = " (cut: see the log)"
    sheet.write_string(row, column, text if len(text) <= MAX_CELL else text[: MAX_CELL - 30] + cut, form)
