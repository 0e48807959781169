"""What a question could be instead, what would let it be asked, and rules that no question meets.

As `comity.policy.variations` for providers' policies: the values come from the rules themselves, each number
on both sides of what it is compared with. Years back are tried together with the limitation, for they are
compared with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from comity.policy.drawing import combinations
from comity.policy.facts import KINDS, REASONS
from comity.policy.house.bundle import HouseBundle, HousePolicy
from comity.policy.house.cedar import PROVIDER, PreparedRules
from comity.policy.house.facts import AskedOf, HouseQuestion
from comity.policy.house.rules import HouseRules, Judgement
from comity.policy.variations import OTHER, Named, named_in
from comity.policy.windows import years_before

MOST_QUESTIONS: Final = 2_000
"""Questions that a rule is tried with; of more than these, so many are drawn, always the same ones."""

MOST_TOGETHER: Final = 4
"""Facts that are changed together at most."""

_NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
_PROVIDER: Final = "provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One fact, other than it is."""

    fact: str
    """As the schema names it, for example `trainedDaysAgo`."""
    words: str
    """To stand after 'if', for example 'the reason were NARCOTICS'."""
    make: Callable[[HouseQuestion], HouseQuestion] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A judgement, and what would let it be asked."""

    judgement: Judgement
    otherwise: tuple[tuple[Change, ...], ...]
    """Changes that together let it be asked; empty if it is asked, or where nothing was found."""


def explain_house(rules: HouseRules, question: HouseQuestion) -> Explained:
    """Judge a question to one provider and, if it is stopped, find the fewest facts that let it be asked."""
    judgement = rules.judge(question)[0]
    if not judgement.stops:
        return Explained(judgement=judgement, otherwise=())
    found: list[tuple[Change, ...]] = []
    taken: tuple[Change, ...] = ()
    space = _changes(rules.bundle.policies, years=question.limitation_years)
    changes = [one for several in space.values() for one in several]
    for _ in range(MOST_TOGETHER):
        tried = [(one, _stops(rules, one, question)) for one in changes]
        found = [(*taken, one) for one, stops in tried if stops == 0]
        if found:
            found = _fewer(found)
            break
        best, fewest = min(tried, key=lambda pair: pair[1])
        if fewest >= len(rules.judge(question)[0].stops):
            break
        question, taken = best.make(question), (*taken, best)
        changes = [one for one in changes if one.fact != best.fact]
    return Explained(judgement=judgement, otherwise=tuple(found))


def unmet(bundle: HouseBundle) -> Iterator[tuple[HousePolicy, int]]:
    """Yield each rule that meets no question made of what it compares with, and how many were tried."""
    for policy in bundle.policies:
        rule = {policy.policy_id: policy.json_text}
        alone = PreparedRules(rule, bundle.schema_text, bundle.entities_text, bundle.windows)
        named = named_in([policy.json_text])
        space = _changes([policy])
        looked_at = {_FACTS.get(name, name) for name in named.attributes} | {_PROVIDER}
        facts = [space[fact] for fact in sorted(looked_at & space.keys())]
        tried = list(combinations(facts, most=MOST_QUESTIONS))
        if not any(alone.met(_changed(changes))[0].rules for changes in tried):
            yield policy, len(tried)


def _fewer(found: Sequence[tuple[Change, ...]]) -> list[tuple[Change, ...]]:
    """Return what was found, of each fact that is a measure the furthest alone."""
    kept: list[tuple[Change, ...]] = []
    seen: set[str] = set()
    for changes in found:
        fact = changes[-1].fact
        if fact not in seen or fact not in _MEASURES:
            kept.append(changes)
        seen.add(fact)
    return kept


def _stops(rules: HouseRules, change: Change, question: HouseQuestion) -> int:
    try:
        return len(rules.judge(change.make(question))[0].stops)
    except ValueError:
        return len(rules.bundle.policies) + 1


def _changed(changes: Sequence[Change]) -> HouseQuestion:
    question = _plain()
    for change in changes:
        question = change.make(question)
    return question


def _plain() -> HouseQuestion:
    """Return a question to which no rule of people has anything to say."""
    return HouseQuestion(
        agency="house",
        providers=(AskedOf(agency=OTHER, kind="local"),),
        office=OTHER,
        roles=frozenset({"investigator"}),
        trained_at=_NOW,
        rules_accepted=True,
        good_standing=True,
        protections_attested=True,
        reason="CRIMINAL_INVESTIGATION",
        period_start=_NOW - timedelta(days=1),
        period_end=_NOW,
        plate_state="CA",
        plate_country="US",
        border_nexus=True,
        now=_NOW,
    )


_MEASURES: Final = ("yearsBack", "trainedDaysAgo", "periodDays")

_FACTS: Final = {
    "onBehalfNamed": "onBehalfOf",
    "oldestDaysAgo": "yearsBack",
    "limitationYears": "yearsBack",
    "limitationKnown": "yearsBack",
    "beyondLimitation": "yearsBack",
    "kind": _PROVIDER,
}
"""Attributes that change together with another one."""

_FLAGS: Final = (
    ("rulesAccepted", "rules_accepted", "the rules of behaviour were", "accepted at this logon"),
    ("goodStanding", "good_standing", "the person were", "in good standing"),
    ("protectionsAttested", "protections_attested", "the special protections were", "attested to"),
    ("hasArea", "has_area", "it were", "narrowed by an area"),
    ("reasonVague", "reason_vague", "the free text were", "vague"),
    ("borderNexus", "border_nexus", "what ties it to the border were", "stated"),
)


def _changes(policies: Sequence[HousePolicy], years: int = 0) -> Mapping[str, Sequence[Change]]:
    """Return the values to try of every fact; `years` back are tried besides."""
    named = named_in(policy.json_text for policy in policies)
    found = [
        *(
            _set(fact, f"{lead} {'' if value else 'not '}{what}", **{name: value})
            for fact, name, lead, what in _FLAGS
            for value in (True, False)
        ),
        *(_trained(days) for days in (*sorted({0, *named.numbers_of("trainedDaysAgo")}, reverse=True), None)),
        *(_set("reason", f"the reason were {reason}", reason=reason) for reason in sorted(REASONS)),
        *(
            _set("roles", f"the person had the role {word or 'none'}", roles=frozenset({word} - {""}))
            for word in named.words_of("roles")
        ),
        *(
            _set("office", f"the person's office were {word or 'none'}", office=word)
            for word in named.words_of("office")
        ),
        _set("onBehalfOf", "it were asked for oneself", on_behalf_of=False, on_behalf_named=False),
        _set("onBehalfOf", "it were asked for a named person", on_behalf_of=True, on_behalf_named=True),
        _set("onBehalfOf", "it were asked for somebody not named", on_behalf_of=True, on_behalf_named=False),
        *(
            _set("dutyStation", f"the person served at {word or 'no station'}", duty_station=word)
            for word in named.words_of("dutyStation")
        ),
        *(
            _set("offence", f"the offence stated were {word or 'none'}", offence=word)
            for word in named.words_of("offence")
        ),
        *_back(named, years),
        *(_length(days) for days in sorted({1, *named.numbers_of("periodDays")} - {0})),
        *(
            _set(
                "readings", f"it asked for {count} {'reading' if count == 1 else 'readings'}", readings=count
            )
            for count in sorted({1, *named.numbers_of("readings")} - {0})
        ),
        *(
            _set("plateState", f"the plate were of {word or 'no state'}", plate_state=word)
            for word in named.words_of("plateState")
        ),
        *(
            _set("plateCountry", f"the plate's country were {word or 'none'}", plate_country=word)
            for word in named.words_of("plateCountry")
        ),
        *(
            _set(_PROVIDER, f"`{name}`, {kind}, were asked", providers=(AskedOf(agency=name, kind=kind),))
            for name in sorted({*named.entities.get(PROVIDER, ()), OTHER})
            for kind in sorted(KINDS)
        ),
    ]
    grouped: dict[str, list[Change]] = {}
    for one in found:
        grouped.setdefault(one.fact, []).append(one)
    return grouped


def _set(fact: str, words: str, **changes: object) -> Change:
    return Change(
        fact=fact,
        words=words,
        make=lambda question: replace(question, **changes),  # type: ignore[arg-type]
    )


def _trained(days: int | None) -> Change:
    if days is None:
        return _set("trainedDaysAgo", "the person had never been trained", trained_at=None)
    return Change(
        fact="trainedDaysAgo",
        words=f"the person had been trained {_amount(days, 'day')} ago",
        make=lambda question: replace(question, trained_at=question.now - timedelta(days=days)),
    )


def _back(named: Named, extra: int) -> Iterator[Change]:
    """Yield how far back it may reach, and with which limitation stated."""
    stated = sorted({0, 1, 5, 10, *named.numbers_of("limitationYears")})
    years = sorted({1, 6, 11, extra, *named.numbers_of("yearsBack")} - {0}, reverse=True)
    days = sorted({1, *named.numbers_of("oldestDaysAgo")} - {0}, reverse=True)
    reaches: list[tuple[str, Callable[[datetime], datetime]]] = [
        *((_amount(each, "year"), _years(each)) for each in years),
        *((_amount(each, "day"), _days(each)) for each in days),
    ]
    for words, start in reaches:
        yield _reach(f"it reached back no further than {words}", start, None)
    for words, start in reaches:
        for limit in stated:
            words_of_limit = _amount(limit, "year") if limit else "none"
            both = f"it reached back no further than {words}, and the limitation stated were {words_of_limit}"
            yield _reach(both, start, limit)


def _reach(words: str, start: Callable[[datetime], datetime], limit: int | None) -> Change:
    def make(question: HouseQuestion) -> HouseQuestion:
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
    return Change(
        fact="periodDays",
        words=f"the period were as long as {_amount(days, 'day')}",
        make=lambda question: replace(question, period_end=question.period_start + timedelta(days=days)),
    )


def _amount(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
