"""What a question could be instead: the values of each fact that could matter to a bundle's policies.

They come from the policies themselves (every word and number that one compares with), from the lists of
the schema and of `entities.json`, and one value beside them that no policy names. Numbers are tried on
both sides of each bound. So where two questions are told apart by a bundle, two of these values are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from comity.policy.budgets import Spent
from comity.policy.bundle import PolicyBundle
from comity.policy.cedar import STORE_CLASSES
from comity.policy.facts import (
    DIGEST,
    ELEMENTS,
    KINDS,
    OFFENCE,
    REASONS,
    AgreementFacts,
    DecisionRequest,
    StoreFacts,
    SubjectFacts,
)
from comity.policy.limits import WindowKind

_MOST_DAYS: Final = 365 * 1_000
_ANY: Final = "*"
OTHER: Final = "another"
"""A word that no policy names."""

REQUESTER: Final = "requester"
"""The fact that policies meet as `principal in …`; the others have the names of the schema's attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question with the stores that it is about."""

    request: DecisionRequest
    stores: tuple[StoreFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One fact, other than it is."""

    fact: str
    """As the schema names it, for example `trainedDaysAgo`."""
    lead: str
    """To stand after 'if', before the value: 'the reason were'."""
    value: str
    """For example `NARCOTICS`; empty where the lead says all."""
    change: Callable[[Asked], Asked] = field(repr=False)

    @property
    def words(self) -> str:
        """To stand after 'if', for example 'the reason were NARCOTICS'."""
        return f"{self.lead} {self.value}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What policies name: words and numbers by the attribute they are compared with, and entities by type."""

    words: Mapping[str, frozenset[str]]
    numbers: Mapping[str, frozenset[int]]
    attributes: frozenset[str]
    entities: Mapping[str, frozenset[str]]
    asks_who: bool
    """Whether one looks at who asks, beside the attributes of the subject."""

    def words_of(self, attribute: str) -> list[str]:
        """Return the words that an attribute is compared with, none and another word."""
        found = self.words.get(attribute, frozenset()) | self.words.get(_ANY, frozenset())
        return [*sorted(found - {"", OTHER}), "", OTHER]

    def numbers_of(self, attribute: str) -> list[int]:
        """Return the numbers around those that an attribute is compared with."""
        found = self.numbers.get(attribute, frozenset()) | self.numbers.get(_ANY, frozenset())
        near = {number + step for number in found for step in (-1, 0, 1)}
        return sorted(number for number in near if 0 <= number <= _MOST_DAYS)


def named_in(policies: Iterable[str]) -> Named:
    """Return what policies name; `policies` are texts in Cedar's own JSON."""
    found = _Finder()
    for text in policies:
        policy = json.loads(text)
        policy.pop("annotations", None)
        found.asks_who = found.asks_who or policy.get("principal", {}).get("op") != "All"
        found.walk(policy, _ANY)
    return Named(
        words={attribute: frozenset(words) for attribute, words in found.words.items()},
        numbers={attribute: frozenset(numbers) for attribute, numbers in found.numbers.items()},
        attributes=frozenset(found.attributes),
        entities={kind: frozenset(names) for kind, names in found.entities.items()},
        asks_who=found.asks_who,
    )


class _Finder:
    """Walks policies in Cedar's JSON, and keeps what stands beside which attribute."""

    def __init__(self) -> None:
        self.words: dict[str, set[str]] = {}
        self.numbers: dict[str, set[int]] = {}
        self.attributes: set[str] = set()
        self.entities: dict[str, set[str]] = {}
        self.asks_who = False

    def walk(self, node: object, beside: str) -> None:
        """Keep what a node names; `beside` is the attribute that it is compared with."""
        if isinstance(node, list):
            for inner in node:
                self.walk(inner, beside)
        if not isinstance(node, dict):
            return
        match node:
            case {"type": str(kind), "id": str(name)}:
                self.entities.setdefault(kind, set()).add(name)
            case {"Value": bool()}:
                pass
            case {"Value": str(word)}:
                self.words.setdefault(beside, set()).add(word)
            case {"Value": int(number)}:
                self.numbers.setdefault(beside, set()).add(number)
            case {"left": left, "pattern": list(parts)}:
                whole = "".join(part.get("Literal", "") for part in parts if isinstance(part, dict))
                self.words.setdefault(_attribute(left) or beside, set()).add(whole)
            case {"attr": str(name)}:
                self.attributes.add(name)
            case {"in": {"left": {"Var": "principal"}}} | {"==": {"left": {"Var": "principal"}}}:
                self.asks_who = True
            case _:
                pass
        if "left" in node and "right" in node:
            left, right = _attribute(node["left"]), _attribute(node["right"])
            self.walk(node["left"], right or beside)
            self.walk(node["right"], left or beside)
            return
        for inner in node.values():
            self.walk(inner, beside)


def _attribute(node: object) -> str:
    """Return the attribute that an expression reads; empty if it is something else."""
    match node:
        case {".": {"attr": str(name)}}:
            return name
        case _:
            return ""


def variations(bundle: PolicyBundle, named: Named) -> Mapping[str, Sequence[Variation]]:
    """Return the values to try of every fact, by fact, the likeliest first."""
    agencies = sorted({*_agencies(bundle), *named.entities.get("Agency", ()), OTHER})
    classes = sorted({*STORE_CLASSES, *named.entities.get("StoreClass", ())})
    roles = [word for word in named.words_of("roles") if word]
    role_sets = [*(frozenset({word}) for word in roles), frozenset(roles), frozenset[str]()]
    found = [
        *(_flag(fact, value) for fact in _FLAGS for value in (True, False)),
        *(_trained(days) for days in (*_near(named, "trainedDaysAgo", 0), None)),
        *(_reviewed(days) for days in (*_near(named, "accountReviewedDaysAgo", 0), None)),
        *(_accepted(text) for text in _texts(bundle, named)),
        _agreed("an agreement in force granted this", purposes=REASONS, in_force=True),
        _agreed("the agreement were not in force", purposes=REASONS, in_force=False),
        _agreed("the agreement granted no purpose", purposes=frozenset(), in_force=True),
        Variation(fact="agreement", lead="there were no agreement", value="", change=_without_agreement),
        *(_request("reason", "the reason were", reason, reason=reason) for reason in sorted(REASONS)),
        *(_roles(each) for each in role_sets),
        *(_office(word) for word in named.words_of("office")),
        *(_station(word) for word in named.words_of("dutyStation")),
        _request("onBehalfOf", "it were asked for oneself", "", on_behalf_of=False),
        _request("onBehalfOf", "it were asked for another person", "", on_behalf_of=True),
        _request("hasArea", "no area narrowed it", "", has_area=False),
        _request("hasArea", "an area narrowed it", "", has_area=True),
        *(
            _age(days)
            for days in sorted({*_near(named, "oldestDaysAgo", 1), *_windows(bundle)}, reverse=True)
        ),
        *(_length(days) for days in _near(named, "periodDays", 1)),
        *(_statute(years) for years in _near(named, "limitationYears", 0)),
        *(_offence(word) for word in _offences(bundle, named)),
        *(_class(word) for word in classes),
        *(_request("kind", "the agency were", kind, requester_kind=kind) for kind in sorted(KINDS)),
        *(
            _request("state", "the agency were of", _shown(word), requester_state=word)
            for word in named.words_of("state")
        ),
        *(
            _request("plateState", "the plate were of", _shown(word), plate_state=word)
            for word in named.words_of("plateState")
        ),
        _request("spent", "nothing had been asked within a day", "", spent=Spent()),
        *(_readings(number) for number in _near(named, "readings", 1)),
        _told("reasonVague", "the free text told something", "", vague=False),
        _told("reasonVague", "the free text told too little", "", vague=True),
        *(
            _told("reasonWords", "the free text had as many telling words as", str(number), words=number)
            for number in _near(named, "reasonWords", 0)
        ),
        *(
            _told(
                "reasonPlates", "the same text had been given for plates a day:", str(number), plates=number
            )
            for number in _near(named, "reasonPlates", 1)
            if number
        ),
        *(
            _request("plateCountry", "the plate's country were", _shown(word), plate_country=word)
            for word in named.words_of("plateCountry")
        ),
        *(_request(REQUESTER, "it were asked by", f"`{name}`", requester=name) for name in agencies),
    ]
    grouped: dict[str, list[Variation]] = {}
    for one in found:
        grouped.setdefault(one.fact, []).append(one)
    return grouped


def favourable(provider_class: str, now: datetime) -> Asked:
    """Return a question to which a policy of people, training or agreements has nothing to say no to."""
    return Asked(
        request=DecisionRequest(
            requester=OTHER,
            requester_kind="local",
            subject=SubjectFacts(
                user=OTHER,
                roles=frozenset({"investigator"}),
                trained_at=now,
                rules_accepted_at=now,
                account_reviewed_at=now,
                duty_station=OTHER,
                good_standing=True,
                protections_attested=True,
            ),
            reason="CRIMINAL_INVESTIGATION",
            period_start=now - timedelta(days=1),
            period_end=now,
            plate_state="CA",
            plate_country="US",
            agreement=AgreementFacts(agreement_id=OTHER, purposes=REASONS, elements=ELEMENTS),
            now=now,
        ),
        stores=(StoreFacts(store_id="store", store_class=provider_class),),
    )


_FLAGS: Final = {
    "rulesAccepted": (
        "rules_accepted_at",
        "the rules of behaviour were accepted at this logon",
        "the rules of behaviour were not accepted at this logon",
    ),
    "goodStanding": (
        "good_standing",
        "the agency vouched for good standing",
        "the agency did not vouch for good standing",
    ),
    "protectionsAttested": (
        "protections_attested",
        "the special protections were attested to",
        "the special protections were not attested to",
    ),
}


def _agencies(bundle: PolicyBundle) -> Iterator[str]:
    for entity in json.loads(bundle.entities_text):
        if entity["uid"]["type"] == "Agency":
            yield entity["uid"]["id"]


def _near(named: Named, attribute: str, least: int) -> list[int]:
    return sorted({least, *named.numbers_of(attribute)})


def _windows(bundle: PolicyBundle) -> Iterator[int]:
    """Yield how many days back the windows of a bundle's permits reach, for sure."""
    for policy in bundle.policies:
        for window in policy.terms.windows:
            if window.amount:
                days = window.amount if window.kind is WindowKind.DAYS else window.amount * 365
                yield min(days, _MOST_DAYS)


def _request(fact: str, lead: str, value: str, **changes: object) -> Variation:
    def change(asked: Asked) -> Asked:
        return replace(asked, request=replace(asked.request, **changes))  # type: ignore[arg-type]

    return Variation(fact=fact, lead=lead, value=value, change=change)


def _person(
    fact: str, lead: str, value: str, changes: Callable[[DecisionRequest], Mapping[str, object]]
) -> Variation:
    def change(asked: Asked) -> Asked:
        subject = replace(asked.request.subject, **changes(asked.request))  # type: ignore[arg-type]
        return replace(asked, request=replace(asked.request, subject=subject))

    return Variation(fact=fact, lead=lead, value=value, change=change)


def _flag(fact: str, value: bool) -> Variation:
    name, yes, no = _FLAGS[fact]

    def changes(request: DecisionRequest) -> Mapping[str, object]:
        if name == "rules_accepted_at":
            return {name: request.now if value else None}
        return {name: value}

    return _person(fact, yes if value else no, "", changes)


def _trained(days: int | None) -> Variation:
    def changes(request: DecisionRequest) -> Mapping[str, object]:
        return {"trained_at": None if days is None else request.now - timedelta(days=days)}

    if days is None:
        return _person("trainedDaysAgo", "the person had never been trained", "", changes)
    ago = "today" if days == 0 else f"{_days(days)} ago"
    return _person("trainedDaysAgo", "the person had been trained", ago, changes)


def _reviewed(days: int | None) -> Variation:
    def changes(request: DecisionRequest) -> Mapping[str, object]:
        return {"account_reviewed_at": None if days is None else request.now - timedelta(days=days)}

    if days is None:
        return _person("accountReviewedDaysAgo", "the account had never been reviewed", "", changes)
    ago = "today" if days == 0 else f"{_days(days)} ago"
    return _person("accountReviewedDaysAgo", "the account had been reviewed", ago, changes)


def _texts(bundle: PolicyBundle, named: Named) -> list[str]:
    """Return the digests of rules of behaviour that a bundle names, and one that it doesn't."""
    listed = {
        text
        for entity in json.loads(bundle.entities_text)
        for text in entity.get("attrs", {}).get("rulesOfBehaviour", ())
    }
    words = {word for word in named.words_of("rulesDigest") if DIGEST.fullmatch(word)}
    return [*sorted(listed | words), "0" * 64]


def _accepted(text: str) -> Variation:
    def changes(request: DecisionRequest) -> Mapping[str, object]:
        return {"rules_accepted_at": request.now, "rules_digest": text}

    if text == "0" * 64:
        return _person("rulesDigest", "the person had accepted some other rules", "", changes)
    return _person("rulesDigest", "the person had accepted the rules", f"{text[:12]}…", changes)


def _station(word: str) -> Variation:
    return _person(
        "dutyStation", "the person's duty station were", _shown(word), lambda _: {"duty_station": word}
    )


def _roles(roles: frozenset[str]) -> Variation:
    lead, value = "the person's roles were", ", ".join(sorted(roles))
    if roles == {OTHER}:
        lead, value = "the person had any role", ""
    elif not roles:
        lead, value = "the person had no role", ""
    return _person("roles", lead, value, lambda _: {"roles": roles})


def _office(word: str) -> Variation:
    return _person("office", "the person's office were", _shown(word), lambda _: {"office": word})


def _agreed(lead: str, *, purposes: frozenset[str], in_force: bool) -> Variation:
    def change(asked: Asked) -> Asked:
        old = asked.request.agreement
        granted = AgreementFacts(
            agreement_id=old.agreement_id if old else "agreement",
            purposes=purposes,
            elements=ELEMENTS,
            in_force=in_force,
            collected_from=old.collected_from if old else None,
        )
        return replace(asked, request=replace(asked.request, agreement=granted))

    return Variation(fact="agreement", lead=lead, value="", change=change)


def _without_agreement(asked: Asked) -> Asked:
    return replace(asked, request=replace(asked.request, agreement=None))


def _age(days: int) -> Variation:
    def change(asked: Asked) -> Asked:
        request = asked.request
        start = request.now - timedelta(days=days)
        end = request.period_end if request.period_end > start else start + timedelta(days=1)
        return replace(asked, request=replace(request, period_start=start, period_end=end))

    return Variation(
        fact="oldestDaysAgo", lead="it reached back no further than", value=_days(days), change=change
    )


def _length(days: int) -> Variation:
    def change(asked: Asked) -> Asked:
        request = asked.request
        end = request.period_start + timedelta(days=max(days, 1))
        return replace(asked, request=replace(request, period_end=end))

    return Variation(
        fact="periodDays", lead="the period were as long as", value=_days(max(days, 1)), change=change
    )


def _statute(years: int) -> Variation:
    value = f"{years} years" if years else "none"
    return _request("limitationYears", "the limitation stated were", value, limitation_years=years)


def _readings(number: int) -> Variation:
    lead = "so many readings of the plate were searched:" if number > 1 else "exactly the plate were searched"
    value = str(number) if number > 1 else ""
    return _request("readings", lead, value, readings=max(number, 1))


def _told(fact: str, lead: str, value: str, **changes: object) -> Variation:
    def change(asked: Asked) -> Asked:
        told = replace(asked.request.told, **changes)  # type: ignore[arg-type]
        return replace(asked, request=replace(asked.request, told=told))

    return Variation(fact=fact, lead=lead, value=value, change=change)


def _offences(bundle: PolicyBundle, named: Named) -> list[str]:
    """Return the classes of offences that policies and table name, none, and another, if any could matter."""
    looked_up = any(w.kind is WindowKind.STATUTE for policy in bundle.policies for w in policy.terms.windows)
    if "offence" not in named.attributes and not looked_up:
        return []
    tabled = {offence for offence, _ in bundle.windows.statutes}
    return [*sorted(tabled.union(filter(OFFENCE.fullmatch, named.words_of("offence"))) - {OTHER}), "", OTHER]


def _offence(word: str) -> Variation:
    return _request("offence", "the offence stated were", _shown(word), offence=word)


def _class(word: str) -> Variation:
    def change(asked: Asked) -> Asked:
        return replace(asked, stores=tuple(replace(store, store_class=word) for store in asked.stores))

    return Variation(fact="class", lead="the store were of the class", value=word, change=change)


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _shown(word: str) -> str:
    return word or "none"
