"""What a question could be instead: the values of each fact that could matter to house rules.

Years back are tried together with the limitation, for they are compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from comity.policy.house.changes import (
    CONCERNED,
    NOW,
    Change,
    amount,
    flags,
    plain_facts,
    provider_changes,
    setting,
    shared_changes,
)
from comity.policy.house.facts import HouseAct, HouseQuestion
from comity.policy.variations import Named
from comity.policy.windows import years_before

MEASURES: Final = ("yearsBack", "trainedDaysAgo", "periodDays")
"""Facts of which the furthest value alone is told."""

TOGETHER: Final = {
    "onBehalfNamed": "onBehalfOf",
    "oldestDaysAgo": "yearsBack",
    "limitationYears": "yearsBack",
    "limitationKnown": "yearsBack",
    "beyondLimitation": "yearsBack",
    "kind": CONCERNED,
}
"""Attributes that change together with another one."""

_FLAGS: Final = (
    ("hasArea", "has_area", "it were", "narrowed by an area"),
    ("reasonVague", "reason_vague", "the free text were", "vague"),
    ("borderNexus", "border_nexus", "what ties it to the border were", "stated"),
)


def plain_question() -> HouseQuestion:
    """Return a question to which no rule of people has anything to say."""
    return HouseQuestion(
        **plain_facts(),  # type: ignore[arg-type]
        period_start=NOW - timedelta(days=1),
        period_end=NOW,
        border_nexus=True,
    )


def question_changes(named: Named, years: int) -> Iterator[Change]:
    """Yield the values to try of every fact of a question; `years` back are tried besides."""
    yield from shared_changes(named)
    yield from flags(_FLAGS)
    yield setting("onBehalfOf", "it were asked for oneself", on_behalf_of=False, on_behalf_named=False)
    yield setting("onBehalfOf", "it were asked for a named person", on_behalf_of=True, on_behalf_named=True)
    yield setting(
        "onBehalfOf", "it were asked for somebody not named", on_behalf_of=True, on_behalf_named=False
    )
    for word in named.words_of("offence"):
        yield setting("offence", f"the offence stated were {word or 'none'}", offence=word)
    yield from _back(named, years)
    for days in sorted({1, *named.numbers_of("periodDays")} - {0}):
        yield _length(days)
    for count in sorted({1, *named.numbers_of("readings")} - {0}):
        yield setting("readings", f"it asked for {amount(count, 'reading')}", readings=count)
    yield from provider_changes(named, "were asked")


def _back(named: Named, extra: int) -> Iterator[Change]:
    """Yield how far back it may reach, and with which limitation stated."""
    stated = sorted({0, 1, 5, 10, *named.numbers_of("limitationYears")})
    years = sorted({1, 6, 11, extra, *named.numbers_of("yearsBack")} - {0}, reverse=True)
    days = sorted({1, *named.numbers_of("oldestDaysAgo")} - {0}, reverse=True)
    reaches: list[tuple[str, Callable[[datetime], datetime]]] = [
        *((amount(each, "year"), _years(each)) for each in years),
        *((amount(each, "day"), _days(each)) for each in days),
    ]
    for words, start in reaches:
        yield _reach(f"it reached back no further than {words}", start, None)
    for words, start in reaches:
        for limit in stated:
            words_of_limit = amount(limit, "year") if limit else "none"
            both = f"it reached back no further than {words}, and the limitation stated were {words_of_limit}"
            yield _reach(both, start, limit)


def _reach(words: str, start: Callable[[datetime], datetime], limit: int | None) -> Change:
    def make(question: HouseAct) -> HouseQuestion:
        assert isinstance(question, HouseQuestion)
        changed = _from(question, start(question.now))
        return changed if limit is None else replace(changed, limitation_years=limit)

    return Change(fact="yearsBack", words=words, make=make)


def _years(years: int) -> Callable[[datetime], datetime]:
    return lambda now: years_before(now, years)


def _days(days: int) -> Callable[[datetime], datetime]:
    return lambda now: now - timedelta(days=days)


def _from(question: HouseQuestion, start: datetime) -> HouseQuestion:
    end = question.period_end if question.period_end > start else start + timedelta(days=1)
    return replace(question, period_start=start, period_end=end)


def _length(days: int) -> Change:
    def make(question: HouseAct) -> HouseQuestion:
        assert isinstance(question, HouseQuestion)
        return replace(question, period_end=question.period_start + timedelta(days=days))

    return Change(fact="periodDays", words=f"the period were as long as {amount(days, 'day')}", make=make)
