"""Values of the facts that every act has, which a question and a plate on a hot list are varied by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from comity.policy.facts import KINDS, REASONS
from comity.policy.house.cedar import PROVIDER
from comity.policy.house.facts import AskedOf, HouseAct
from comity.policy.variations import OTHER, Named

NOW: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""When acts that are made up happen."""

CONCERNED: Final = "provider"
"""The fact that rules meet as `resource`; the others have the names of the schema's attributes."""

_FLAGS: Final = (
    ("rulesAccepted", "rules_accepted", "the rules of behaviour were", "accepted at this logon"),
    ("goodStanding", "good_standing", "the person were", "in good standing"),
    ("protectionsAttested", "protections_attested", "the special protections were", "attested to"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One fact, other than it is."""

    fact: str
    """As the schema names it, for example `trainedDaysAgo`."""
    words: str
    """To stand after 'if', for example 'the reason were NARCOTICS'."""
    make: Callable[[HouseAct], HouseAct] = field(repr=False)


def plain_facts() -> dict[str, object]:
    """Return facts to which no rule of people has anything to say."""
    return {
        "agency": "house",
        "providers": (AskedOf(agency=OTHER, kind="local"),),
        "office": OTHER,
        "roles": frozenset({"investigator"}),
        "trained_at": NOW,
        "rules_accepted": True,
        "good_standing": True,
        "protections_attested": True,
        "reason": "CRIMINAL_INVESTIGATION",
        "plate_state": "CA",
        "plate_country": "US",
        "now": NOW,
    }


def setting(fact: str, words: str, **changes: object) -> Change:
    """Return the change that puts these fields in place."""
    return Change(
        fact=fact,
        words=words,
        make=lambda act: replace(act, **changes),  # type: ignore[arg-type]
    )


def flags(table: tuple[tuple[str, str, str, str], ...]) -> Iterator[Change]:
    """Yield both values of each flag: fact, field, and the words before and after 'not'."""
    for fact, name, lead, what in table:
        for value in (True, False):
            yield setting(fact, f"{lead} {'' if value else 'not '}{what}", **{name: value})


def shared_changes(named: Named) -> Iterator[Change]:
    """Yield the values to try of the facts that every act has."""
    yield from flags(_FLAGS)
    for days in (*sorted({0, *named.numbers_of("trainedDaysAgo")}, reverse=True), None):
        yield _trained(days)
    for reason in sorted(REASONS):
        yield setting("reason", f"the reason were {reason}", reason=reason)
    for word in named.words_of("roles"):
        yield setting("roles", f"the person had the role {word or 'none'}", roles=frozenset({word} - {""}))
    for word in named.words_of("office"):
        yield setting("office", f"the person's office were {word or 'none'}", office=word)
    for word in named.words_of("dutyStation"):
        yield setting("dutyStation", f"the person served at {word or 'no station'}", duty_station=word)
    for word in named.words_of("plateState"):
        yield setting("plateState", f"the plate were of {word or 'no state'}", plate_state=word)
    for word in named.words_of("plateCountry"):
        yield setting("plateCountry", f"the plate's country were {word or 'none'}", plate_country=word)


def provider_changes(named: Named, verb: str) -> Iterator[Change]:
    """Yield the providers to try, each of every kind; `verb` as in '`vendor`, commercial, were asked'."""
    for name in sorted({*named.entities.get(PROVIDER, ()), OTHER}):
        for kind in sorted(KINDS):
            words = f"`{name}`, {kind}, {verb}"
            yield setting(CONCERNED, words, providers=(AskedOf(agency=name, kind=kind),))


def amount(number: int, unit: str) -> str:
    """Return a number with its unit: `1 day`, `2 days`."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _trained(days: int | None) -> Change:
    if days is None:
        return setting("trainedDaysAgo", "the person had never been trained", trained_at=None)
    return Change(
        fact="trainedDaysAgo",
        words=f"the person had been trained {amount(days, 'day')} ago",
        make=lambda act: replace(act, trained_at=act.now - timedelta(days=days)),
    )
