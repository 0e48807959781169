"""A supervisor's worksheet for a quarter (L4): counts, a sample that nobody chose, and what deserves a look.

**The sample.** Let S be the size of the log's tree up to and including its first entry of after the
quarter's end, and R the root of that tree (RFC 6962). The seed is SHA-256 of five lines, each with its
newline: `comity-review-sample-v1`, the log's origin, the quarter, S in decimal, R in base64. A question's
number is SHA-256(seed || index of its entry, 8 bytes, big-endian); the sample is the questions with the
lowest numbers. Every checkpoint that covers S gives the same seed, so it doesn't matter when the worksheet
is made, and nobody can make another one until the sample suits. Whoever holds the log can compute it;
nobody can before the quarter is over.
"""

import base64
import heapq
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Self

from comity.audit.canonical import JsonValue, canonical
from comity.audit.entry import read_entry, to_milliseconds
from comity.audit.errors import ReviewImpossible
from comity.audit.key_history import KeyHistory
from comity.audit.searching.filtering import RESPONDED
from comity.audit.searching.looks import REFUSED, Look, Question, Thresholds, looks
from comity.audit.searching.records import Record, RecordReader, read_records
from comity.audit.searching.search import REQUESTERS_OWN, with_ceiling
from comity.audit.searching.walk import Tell

SAMPLE = 25
_TIMES = re.compile(rb'"at":(\d+)')
_TITLE = "comity-review-sample-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """A quarter of a year, UTC."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the quarter of a text such as `2026Q4`. Raises `ValueError` for what is none."""
        found = re.fullmatch(r"(\d{4})-?[Qq]([1-4])", text)
        if found is None or not 1970 <= int(found[1]) < 9999:
            raise ValueError(f"`{text}` is not a quarter such as 2026Q4")
        return cls(year=int(found[1]), number=int(found[2]))

    def __str__(self) -> str:
        return f"{self.year}Q{self.number}"

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, 3 * self.number - 2, 1, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first instant after it."""
        if self.number == 4:
            return datetime(self.year + 1, 1, 1, tzinfo=UTC)
        return datetime(self.year, 3 * self.number + 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Where the sample comes from."""

    size: int
    """S: the tree up to and including the first entry of after the quarter's end."""
    root: bytes
    """R: its root."""
    seed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOff:
    """A sign-off that stands in the log."""

    index: int
    at: datetime
    supervisor: str
    """Empty if its opening isn't at hand."""
    worksheet: str
    """Digest in hex; empty if its opening isn't at hand."""
    note: str


Counts = tuple[tuple[tuple[str, ...], Mapping[str, int]], ...]
"""By a key, the most first: `questions`, `searches`, `responded`, `hits`, `refused`, `other`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worksheet:
    """What a supervisor reviews. Its repr shows nothing that was entered."""

    quarter: Quarter
    origin: str
    note: bytes
    """The checkpoint that it was made from."""
    size: int
    drawn: Drawn | None
    """None as long as the quarter isn't over in the log: then there is no sample."""
    thresholds: Thresholds
    questions: int
    by_user: Counts = field(repr=False)
    by_reason: Counts
    by_outcome: Mapping[str, int]
    sample: tuple[Question, ...] = field(repr=False)
    looks: tuple[Look, ...] = field(repr=False)
    closed: int
    """Questions that were not judged in full, for something that was entered is closed or false."""
    false: tuple[tuple[int, str], ...]
    ceilings: frozenset[bytes]
    unmarked: int
    agreements: Mapping[str, str]
    signed_off: tuple[SignOff, ...] = field(repr=False)
    """Sign-offs of this quarter that the log holds."""

    @property
    def digest(self) -> str:
        """SHA-256 in hex of the worksheet's content as RFC 8785 JSON: the same whenever it is made."""
        drawn: JsonValue = None
        if self.drawn is not None:
            drawn = {"size": self.drawn.size, "root": self.drawn.root.hex()}
        content: dict[str, JsonValue] = {
            "quarter": str(self.quarter),
            "origin": self.origin,
            "drawn": drawn,
            "questions": self.questions,
            "by_user": [[*key, dict(counts)] for key, counts in self.by_user],
            "by_reason": [[*key, dict(counts)] for key, counts in self.by_reason],
            "by_outcome": dict(self.by_outcome),
            "sample": [[record.entry.leaf.hex() for record in each.records] for each in self.sample],
            "looks": [[look.rule, list(look.about), look.count, list(look.entries)] for look in self.looks],
            "closed": self.closed,
        }
        return sha256(canonical(content)).hexdigest()


def review(
    log: Path,
    state: Path | None,
    quarter: Quarter,
    *,
    sample: int = SAMPLE,
    thresholds: Thresholds | None = None,
    keys: KeyHistory | None = None,
    tell: Tell | None = None,
) -> Worksheet:
    """Return the worksheet of a quarter from a `log/` folder and the `state.db` of its end.

    Raises `ReviewImpossible` if no openings are at hand, and what `read_records` and its records raise.
    """
    thresholds = thresholds or Thresholds()
    with read_records(log, state, keys=keys) as reader:
        if not reader.has_openings:
            raise ReviewImpossible(
                "no openings are at hand: a review needs the end's own folder with its `state.db`"
            )
        ending = _Ending(reader, quarter)
        reader.on_entry = ending.entry
        questions = _questions(reader, quarter, tell)
        drawn = ending.drawn
        chosen = _sample(questions, drawn, sample)
        marked = [with_ceiling(record, reader)[1] for question in questions for record in question.records]
        received = sum(bool(record.receipt) for question in questions for record in question.records)
    judged = [question for question in questions if question.is_judged]
    outcomes = Counter(record.outcome for question in questions for record in question.records)
    return Worksheet(
        quarter=quarter,
        origin=reader.walk.origin,
        note=reader.walk.note,
        size=reader.walk.size,
        drawn=drawn,
        thresholds=thresholds,
        questions=len(questions),
        by_user=_counted(questions, lambda q: (q.requester, q.value("user") or "(closed)")),
        by_reason=_counted(questions, lambda q: (_reason(q),)),
        by_outcome=dict(outcomes.most_common()),
        sample=chosen,
        looks=tuple(looks(questions, thresholds)),
        closed=len(questions) - len(judged),
        false=tuple((index, name) for index, name, _ in reader.false),
        ceilings=frozenset(ceiling for ceiling in marked if ceiling),
        unmarked=received - sum(map(bool, marked)),
        agreements=reader.agreements,
        signed_off=_signed_off(reader, quarter),
    )


class _Ending:
    """Finds the first entry of after the quarter's end, and the root there."""

    def __init__(self, reader: RecordReader, quarter: Quarter) -> None:
        self.drawn: Drawn | None = None
        self._reader = reader
        self._quarter = quarter
        self._end = to_milliseconds(quarter.end)

    def entry(self, leaf: bytes) -> None:
        if self.drawn is not None or not any(int(at) >= self._end for at in _TIMES.findall(leaf)):
            return
        if read_entry(leaf).at < self._quarter.end:
            return
        size, root = self._reader.running.size, self._reader.running.root()
        lines = (_TITLE, self._reader.walk.origin, self._quarter, size, base64.b64encode(root).decode())
        seed = sha256("".join(f"{line}\n" for line in lines).encode()).digest()
        self.drawn = Drawn(size=size, root=root, seed=seed)


def _questions(reader: RecordReader, quarter: Quarter, tell: Tell | None) -> list[Question]:
    """Return the quarter's questions in the order of their entries."""
    found: dict[int, list[Record]] = {}
    for record in reader.records(tell):
        if quarter.start <= record.at < quarter.end:
            found.setdefault(record.entry.index, []).append(_needed(record))
    return [Question(records=tuple(found[index])) for index in sorted(found)]


def _needed(record: Record) -> Record:
    """Return a record with what a review goes by; the rest of what was opened is let go of."""
    return replace(
        record,
        opened={name: value for name, value in record.opened.items() if name in REQUESTERS_OWN},
        closed=record.closed & REQUESTERS_OWN,
        false=record.false & REQUESTERS_OWN,
    )


def _sample(questions: list[Question], drawn: Drawn | None, count: int) -> tuple[Question, ...]:
    """Return the questions with the lowest numbers, in the order in which they were asked."""
    if drawn is None:
        return ()
    seed = drawn.seed
    chosen = heapq.nsmallest(
        count, questions, key=lambda q: sha256(seed + q.index.to_bytes(8, "big")).digest()
    )
    return tuple(sorted(chosen, key=lambda question: question.index))


def _counted(questions: list[Question], key: Callable[[Question], tuple[str, ...]]) -> Counts:
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for question in questions:
        counter = counts.setdefault(key(question), Counter())
        counter["questions"] += 1
        for record in question.records:
            counter["searches"] += bool(record.provider)
            counter["hits"] += record.is_hit
            if record.outcome in REFUSED:
                counter["refused"] += 1
            elif record.outcome == RESPONDED:
                counter["responded"] += 1
            else:
                counter["other"] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1]["questions"], item[0]))
    names = ("questions", "searches", "responded", "hits", "refused", "other")
    return tuple((each, {name: counter[name] for name in names}) for each, counter in ordered)


def _reason(question: Question) -> str:
    return question.value("reason") or question.records[0].purpose.upper() or "(not told)"


def _signed_off(reader: RecordReader, quarter: Quarter) -> tuple[SignOff, ...]:
    return tuple(
        SignOff(
            index=at.index,
            at=entry.at,
            supervisor=opened.get("supervisor", ""),
            worksheet=opened.get("worksheet", ""),
            note=opened.get("note", ""),
        )
        for at, entry, opened in reader.reviewed
        if entry.public.get("period") == str(quarter)
    )
