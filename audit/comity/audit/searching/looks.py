"""What deserves a supervisor's look (L4): rules that a person can follow, each with the entries behind it.

None of them accuses: they say where to look first. What they go by is opened and true; a question of which a
field is closed isn't judged by it, and is counted.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from comity.audit.searching.records import TURNED_DOWN, Record

REFUSED = frozenset({"refused", TURNED_DOWN})
GENERIC = frozenset(
    {
        *("a", "an", "and", "any", "as", "at", "by", "case", "check", "checking", "general"),
        *("information", "inquiry", "intel", "intelligence", "investigate", "investigation"),
        *("investigative", "lead", "leads", "lookup", "n", "na", "none", "of", "official", "on", "per"),
        *("plate", "police", "purpose", "purposes", "query", "reason", "request", "requested", "search"),
        *("see", "test", "testing", "tbd", "the", "to", "various", "vehicle", "work"),
    }
)
"""Words that tell nothing of what led to a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From when on something deserves a look."""

    same_plate: int = 5
    short_reason: int = 12
    """Letters and digits below which a reason's text is vague."""
    copied: int = 5
    case_plates: int = 10
    case_factor: int = 3
    refusals: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, with what became of it at each provider. Its repr shows nothing that was entered."""

    records: tuple[Record, ...] = field(repr=False)
    """At least one."""

    @property
    def index(self) -> int:
        """Of its entry."""
        return self.records[0].entry.index

    @property
    def requester(self) -> str:
        """The agency whose user asked."""
        return self.records[0].requester

    def value(self, name: str) -> str | None:
        """Return a private field; None if it is closed, false or not there."""
        return self.records[0].opened.get(name)

    @property
    def is_judged(self) -> bool:
        """Whether all that its user entered, and what it got, is open."""
        return not any(record.closed or record.false for record in self.records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One finding of one rule."""

    rule: str
    about: tuple[str, ...] = field(repr=False)
    """Whom and what it is about: agency and user first, but for a case."""
    count: int
    entries: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule's name, how it works, and what it finds."""

    name: str
    how: Callable[[Thresholds], str]
    find: Callable[[Sequence[Question], Thresholds], Iterator[Look]]


def looks(questions: Sequence[Question], thresholds: Thresholds) -> list[Look]:
    """Return what all rules find: rule by rule, the most first."""
    found: list[Look] = []
    for rule in RULES:
        found += sorted(rule.find(questions, thresholds), key=lambda look: (-look.count, look.entries))
    return found


def plain(text: str) -> str:
    """Return a reason's text as it is compared: lower case, letters and digits, single blanks."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def is_vague(text: str, shortest: int) -> bool:
    """Return whether a text is shorter than so many letters and digits, or of generic words alone."""
    words = plain(text).split()
    return sum(map(len, words)) < shortest or all(word in GENERIC or word.isdecimal() for word in words)


def _grouped(
    questions: Sequence[Question], key: Callable[[Question], tuple[str | None, ...]]
) -> Mapping[tuple[str, ...], list[Question]]:
    """Return questions by a key; those of which a part of it is not open, or empty, are left out."""
    groups: dict[tuple[str, ...], list[Question]] = {}
    for question in questions:
        parts = key(question)
        if all(parts):
            groups.setdefault(tuple(part for part in parts if part), []).append(question)
    return groups


def _look(rule: str, about: tuple[str, ...], group: Sequence[Question], count: int | None = None) -> Look:
    entries = tuple(question.index for question in group)
    return Look(rule=rule, about=about, count=len(entries) if count is None else count, entries=entries)


def _same_plate(questions: Sequence[Question], thresholds: Thresholds) -> Iterator[Look]:
    groups = _grouped(
        questions, lambda q: (q.requester, q.value("user"), q.value("plate_folded"), q.value("state"))
    )
    for about, group in groups.items():
        if len(group) >= thresholds.same_plate:
            yield _look("same plate", about, group)


def _vague(questions: Sequence[Question], thresholds: Thresholds) -> Iterator[Look]:
    open_ones = [q for q in questions if q.value("reason_text") is not None]
    vague = [q for q in open_ones if is_vague(q.value("reason_text") or "", thresholds.short_reason)]
    for about, group in _grouped(
        vague, lambda q: (q.requester, q.value("user"), plain(q.value("reason_text") or "") or "(nothing)")
    ).items():
        yield _look("vague reason", about, group)


def _copied(questions: Sequence[Question], thresholds: Thresholds) -> Iterator[Look]:
    groups = _grouped(
        questions, lambda q: (q.requester, q.value("user"), plain(q.value("reason_text") or ""))
    )
    for about, group in groups.items():
        cases = {case for question in group if (case := question.value("case"))}
        if len(cases) >= thresholds.copied:
            yield _look("copied reason", about, group, len(cases))


def _many_plates(questions: Sequence[Question], thresholds: Thresholds) -> Iterator[Look]:
    groups = _grouped(questions, lambda q: (q.requester, q.value("case")))
    plates = {
        about: len({(q.value("plate_folded"), q.value("state")) for q in group if q.value("plate_folded")})
        for about, group in groups.items()
    }
    usual = median(plates.values()) if plates else 0
    for about, number in plates.items():
        if number >= thresholds.case_plates and number > thresholds.case_factor * usual:
            yield _look("case with many plates", about, groups[about], number)


def _refusals(questions: Sequence[Question], thresholds: Thresholds) -> Iterator[Look]:
    for about, group in _grouped(questions, lambda q: (q.requester, q.value("user"))).items():
        refused = [(q, sum(record.outcome in REFUSED for record in q.records)) for q in group]
        number = sum(count for _, count in refused)
        if number >= thresholds.refusals:
            yield _look("many refusals", about, [q for q, count in refused if count], number)


def _for_another(questions: Sequence[Question], thresholds: Thresholds) -> Iterator[Look]:
    groups = _grouped(questions, lambda q: (q.requester, q.value("user"), q.value("on_behalf_of")))
    for about, group in groups.items():
        yield _look("for another person", about, group)


RULES = (
    Rule(
        name="same plate",
        how=lambda t: f"one user asked about one plate (and state) {t.same_plate} times or more",
        find=_same_plate,
    ),
    Rule(
        name="vague reason",
        how=lambda t: (
            f"the reason's text has fewer than {t.short_reason} letters and digits, or only words that tell "
            "nothing, such as `investigation` or `per request`"
        ),
        find=_vague,
    ),
    Rule(
        name="copied reason",
        how=lambda t: (
            f"one user gave the same text for {t.copied} different cases or more; counted are the cases"
        ),
        find=_copied,
    ),
    Rule(
        name="case with many plates",
        how=lambda t: (
            f"a case has {t.case_plates} different plates or more, and more than {t.case_factor} times as "
            "many as half of all cases have at most; counted are the plates"
        ),
        find=_many_plates,
    ),
    Rule(
        name="many refusals",
        how=lambda t: f"providers or the own house refused {t.refusals} questions of one user or more",
        find=_refusals,
    ),
    Rule(
        name="for another person",
        how=lambda t: "a user asked on behalf of another person; every such question",
        find=_for_another,
    ),
)
