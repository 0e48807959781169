"""A review's worksheet as a document, for scripts and in the terminal (L4)."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comity.audit.searching.looks import RULES, Question
from comity.audit.searching.review import Counts, SignOff, Worksheet
from comity.cli.exporting.document import Column, Document, DocumentTable, clean
from comity.cli.exporting.end import EndFolder
from comity.cli.exporting.rows import COMPACT, compact_row
from comity.cli.exporting.rows import to_json as record_json
from comity.cli.exporting.writing import Marked
from comity.cli.reporting import spelled

LISTED = 12
"""Entries of a finding that the terminal and the PDF list; Excel and JSON list all."""
_HEADS = ("questions", "searches", "responded", "hits", "refused", "other")
_NUMBERS = tuple(Column(head=head, share=2) for head in _HEADS)


def document(
    where: EndFolder,
    made: Worksheet,
    marked: Marked,
    lines: tuple[tuple[str, str], ...],
    *,
    limit: int | None,
) -> Document:
    """Return the worksheet as a document; `limit`: how many entries of a finding are listed, None for all."""
    return Document(
        title=f"Review of {made.quarter}: questions at {where.agency}'s {where.end}",
        banner=marked.banner,
        caveats=marked.caveats,
        about=(*_about(made), *lines),
        findings=tuple(findings(made)),
        tables=(
            _counts_table("By user", ("agency", "user"), made.by_user),
            _counts_table("By reason", ("reason",), made.by_reason),
            DocumentTable(
                name="By outcome",
                columns=(Column(head="outcome", share=3), Column(head="searches", share=7)),
                rows=[(name.replace("_", " "), str(count)) for name, count in made.by_outcome.items()],
            ),
            DocumentTable(
                name="Worth a look",
                columns=(
                    Column(head="rule", share=3),
                    Column(head="whom and what it is about", share=8),
                    Column(head="count", share=1),
                    Column(head="entries", share=6),
                    Column(head="the supervisor's remark", share=5),
                ),
                rows=_look_rows(made, limit),
                note="; ".join(f"{rule.name}: {rule.how(made.thresholds)}" for rule in RULES),
            ),
            DocumentTable(
                name="Sample",
                columns=(*COMPACT, Column(head="in order?", share=6)),
                rows=[(*_sample_row(question, made), "") for question in made.sample],
                note=_drawn(made),
                empty="no sample",
            ),
        ),
    )


def _about(made: Worksheet) -> tuple[tuple[str, str], ...]:
    lines = [
        ("quarter", f"{made.quarter}: from {spelled(made.quarter.start)} to {spelled(made.quarter.end)}"),
        (
            "questions",
            f"{made.questions}; {made.closed} not judged in full, for something is closed",
        ),
        ("worksheet", made.digest),
    ]
    for each in made.signed_off:
        lines.append(("signed off", _signed(each, made)))
    if not made.signed_off:
        lines.append(("signed off", "not yet"))
    return tuple(lines)


def _signed(each: SignOff, made: Worksheet) -> str:
    other = f"worksheet {each.worksheet[:16] or '(closed)'}"
    same = "this worksheet" if each.worksheet == made.digest else other
    note = f": {each.note}" if each.note else ""
    return f"{each.at:%Y-%m-%d} by {each.supervisor or '(closed)'}, {same}, entry {each.index}{note}"


def _drawn(made: Worksheet) -> str:
    """Say where the sample comes from, so that anybody can draw it again."""
    if made.drawn is None:
        return (
            f"no sample: the quarter is not over in this log. It is drawn once there is an entry of "
            f"{spelled(made.quarter.end)} or later."
        )
    return (
        f"nobody chose it: the seed is SHA-256 of five lines, `comity-review-sample-v1`, {made.origin}, "
        f"{made.quarter}, {made.drawn.size} (the entries up to and including the first of after the quarter) "
        f"and the root of that tree in base64; it is {made.drawn.seed.hex()}. A question's number is SHA-256 "
        "of the seed and its entry's index in 8 bytes; the lowest numbers are the sample."
    )


def _counts_table(name: str, keys: tuple[str, ...], counts: Counts) -> DocumentTable:
    return DocumentTable(
        name=name,
        columns=(
            *(Column(head=key, share=4) for key in keys),
            *_NUMBERS,
        ),
        rows=[(*key, *(str(tally[head]) for head in _HEADS)) for key, tally in counts],
    )


def _look_rows(made: Worksheet, limit: int | None) -> list[tuple[str, ...]]:
    return [
        (look.rule, "\n".join(look.about), str(look.count), _entries(look.entries, limit), "")
        for look in made.looks
    ]


def _entries(entries: tuple[int, ...], limit: int | None) -> str:
    shown = entries if limit is None else entries[:limit]
    more = len(entries) - len(shown)
    return ", ".join(map(str, shown)) + (f" and {more} more" if more else "")


def _sample_row(question: Question, made: Worksheet) -> tuple[str, ...]:
    """Return a question's cells: those of its first record, with every provider and outcome."""
    rows = [compact_row(record, made.agreements) for record in question.records]
    first = list(rows[0])
    if len(rows) > 1:
        names = (record.provider for record in question.records)
        first[4] = "\n".join(f"{name}: {row[4]}" for name, row in zip(names, rows, strict=True))
        first[5] = "\n".join(record.provider for record in question.records)
    return tuple(first)


def findings(made: Worksheet) -> list[str]:
    """Return what is wrong with what the worksheet is made from, in words."""
    return [
        f"entry {index}: the opening of `{name}` is false: it doesn't open what the log holds"
        for index, name in made.false
    ]


def to_json(made: Worksheet, marked: Marked) -> dict[str, object]:
    """Return the worksheet for scripts."""
    return {
        "quarter": str(made.quarter),
        "from": spelled(made.quarter.start),
        "to": spelled(made.quarter.end),
        "origin": made.origin,
        "size": made.size,
        "checkpoint": made.note.decode(),
        "banner": marked.banner,
        "caveats": list(marked.caveats),
        "worksheet": made.digest,
        "questions": made.questions,
        "not_judged_in_full": made.closed,
        "by_user": [{"agency": key[0], "user": key[1], **tally} for key, tally in made.by_user],
        "by_reason": [{"reason": key[0], **tally} for key, tally in made.by_reason],
        "by_outcome": dict(made.by_outcome),
        "rules": {rule.name: rule.how(made.thresholds) for rule in RULES},
        "looks": [
            {
                "rule": look.rule,
                "about": list(look.about),
                "count": look.count,
                "entries": list(look.entries),
            }
            for look in made.looks
        ],
        "drawn": None
        if made.drawn is None
        else {"size": made.drawn.size, "root": made.drawn.root.hex(), "seed": made.drawn.seed.hex()},
        "sample": [
            {
                "index": question.index,
                "records": [record_json(record, made.agreements) for record in question.records],
            }
            for question in made.sample
        ],
        "signed_off": [
            {
                "index": each.index,
                "at": spelled(each.at),
                "supervisor": each.supervisor or None,
                "worksheet": each.worksheet or None,
                "note": each.note,
            }
            for each in made.signed_off
        ],
        "findings": findings(made),
    }


def show(made: Worksheet, marked: Marked, console: Console) -> None:
    """Print the worksheet."""
    console.print(Text(f" {marked.banner} ", style="bold reverse"), justify="center")
    for word, text in _about(made):
        console.print(Text.assemble((f"{word}: ", "bold"), clean(text)), soft_wrap=True)
    for finding in findings(made):
        console.print(Text(f"FINDING {finding}", style="bold red"), soft_wrap=True)
    _print_table(_counts_table("By user", ("agency", "user"), made.by_user), console)
    _print_table(_counts_table("By reason", ("reason",), made.by_reason), console)
    words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in made.by_outcome.items())
    console.print(Text.assemble(("outcomes: ", "bold"), words or "none"), soft_wrap=True)
    console.print(Text("\nworth a look", style="bold"))
    for look in made.looks:
        about = clean(" / ".join(look.about))
        line = f"  {look.rule}: {about}: {look.count}; entries {_entries(look.entries, LISTED)}"
        console.print(Text(line), soft_wrap=True)
    if not made.looks:
        console.print(Text("  nothing"))
    for rule in RULES:
        console.print(Text(f"  {rule.name} means: {rule.how(made.thresholds)}", style="dim"), soft_wrap=True)
    console.print(Text(f"\nsample of {len(made.sample)}", style="bold"))
    for question in made.sample:
        cells = _sample_row(question, made)
        who, what, when, case, outcome = (clean(cell.replace("\n", ", ")) for cell in cells[:5])
        line = f"  entry {question.index}: {who} | {what} | {when} | case {case} | {outcome}"
        console.print(Text(line), soft_wrap=True)
    console.print(Text(_drawn(made), style="dim"), soft_wrap=True)
    console.print(Text(f" {marked.banner} ", style="bold reverse"), justify="center")


def _print_table(table: DocumentTable, console: Console) -> None:
    shown = Table(box=box.SIMPLE, pad_edge=False, header_style="bold", title=None)
    for column in table.columns:
        number = column.share == 2
        shown.add_column(column.head, justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(clean(cell)) for cell in row))
    if table.rows:
        console.print(shown)
