"""A house bundle's own tests: cases in `tests/*.toml`, each a question to one provider and its answer.

As those of a provider's bundle (`comity.policy.cases`): `[defaults]`, `[[case]]` tables with `name`, the
words of the question, and `[case.expect]`. The words are those of `_QUESTION`, `_PERSON` and `_EXPECT` below.
An unknown word is an error, and so is a bundle without cases.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

from comity.policy.errors import CaseInvalid
from comity.policy.house.bundle import HouseBundle, HousePolicy
from comity.policy.house.facts import AskedOf, HouseQuestion, names_a_person
from comity.policy.house.rules import HouseRules, Judgement

_Value = TypeVar("_Value")
_Table = Mapping[str, object]

_QUESTION: Final = frozenset(
    [
        "now",
        "agency",
        "agency_kind",
        "agency_state",
        "provider",
        "kind",
        "reason",
        "on_behalf_of",
        "area",
        "start",
        "end",
        "limitation_years",
        "plate_state",
        "plate_country",
        "readings",
        "reason_vague",
        "offence",
        "border_nexus",
        "person",
    ]
)
_PERSON: Final = frozenset(
    [
        "office",
        "duty_station",
        "roles",
        "trained_at",
        "rules_accepted",
        "good_standing",
        "protections_attested",
    ]
)
_EXPECT: Final = frozenset({"effect", "stops", "warnings", "rules", "errors"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseCase:
    """One question to one provider, with what must be said of it."""

    name: str
    path: Path
    words: _Table = field(repr=False)
    """The question in the words of the file, with the defaults."""
    question: HouseQuestion
    expect: _Table


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseCaseResult:
    """What came of a case: no differences if it holds."""

    case: HouseCase
    differences: tuple[str, ...]
    determined: frozenset[str]
    """Ids of the rules that it meets."""


def load_house_cases(folder: Path) -> tuple[HouseCase, ...]:
    """Read the cases of a house bundle, in the order of file names.

    Raises:
        CaseInvalid: a file cannot be read, a word is unknown, or there is no case at all.
    """
    cases: list[HouseCase] = []
    for path in sorted((folder / "tests").glob("*.toml")):
        table = read_words(path)
        _known(table, frozenset({"defaults", "case"}), str(path))
        defaults = _get(table, "defaults", dict, {}, str(path))
        cases += [_case(path, defaults, entry) for entry in _get(table, "case", list, [], str(path))]
    if not cases:
        raise CaseInvalid(f"{folder / 'tests'}: no case in any `.toml` file")
    return tuple(cases)


def run_house(rules: HouseRules, case: HouseCase) -> HouseCaseResult:
    """Judge a case and compare."""
    judgement = rules.judge(case.question)[0]
    met = [*judgement.stops, *judgement.warnings]
    seen: dict[str, object] = {
        "effect": effect_of(judgement),
        "stops": sorted(rule.policy_id for rule in judgement.stops),
        "warnings": sorted(rule.policy_id for rule in judgement.warnings),
        "rules": sorted({name for rule in met for name in rule.rules}),
        "errors": sorted(judgement.errors),
    }
    return HouseCaseResult(
        case=case,
        differences=tuple(_differences(case.expect, seen)),
        determined=frozenset(rule.policy_id for rule in met),
    )


def effect_of(judgement: Judgement) -> str:
    """Return `stop`, `warn` or `ask`."""
    return "stop" if judgement.stops else "warn" if judgement.warnings else "ask"


def uncovered_rules(bundle: HouseBundle, results: Iterable[HouseCaseResult]) -> tuple[HousePolicy, ...]:
    """Return the rules that none of these cases meets, in the bundle's order."""
    determined = frozenset[str]().union(*(result.determined for result in results))
    return tuple(policy for policy in bundle.policies if policy.policy_id not in determined)


def read_words(path: Path) -> _Table:
    """Return what a TOML file says; raise `CaseInvalid` if it can't be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseInvalid(f"{path}: cannot be read: {error}") from error


def sketched_house(words: _Table, changes: Sequence[str], origin: str) -> HouseQuestion:
    """Return a question of these words, with changes, each a line of TOML such as `reason = "NARCOTICS"`.

    Raises:
        CaseInvalid: a word is unknown, missing or of the wrong type; names it.
    """
    _known(words, _QUESTION, origin)
    for line in changes:
        try:
            change = tomllib.loads(line)
        except tomllib.TOMLDecodeError as error:
            raise CaseInvalid(
                f'`{line}` is no line of TOML, as `reason = "NARCOTICS"` or `person.office = "ERO"`: {error}'
            ) from error
        _known(change, _QUESTION, f"`{line}`")
        words = _merged(words, change)
    return _question(words, origin)


def _differences(expect: _Table, seen: _Table) -> Iterator[str]:
    for word, value in expect.items():
        wanted = sorted(value) if isinstance(value, list) else value
        if wanted != seen[word]:
            yield f"{word}: expected `{_shown(wanted)}`, judged `{_shown(seen[word])}`"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _case(path: Path, defaults: _Table, entry: object) -> HouseCase:
    if not isinstance(entry, dict):
        raise CaseInvalid(f"{path}: a case is not a table")
    name = _get(entry, "name", str, "", str(path))
    where = f"{path}: case `{name}`"
    if not name:
        raise CaseInvalid(f"{path}: a case has no name")
    _known(defaults, _QUESTION, f"{path}: defaults")
    _known(entry, _QUESTION | {"name", "expect"}, where)
    expect = _get(entry, "expect", dict, {}, where)
    _known(expect, _EXPECT, where)
    if "effect" not in expect:
        raise CaseInvalid(f"{where}: `expect` names no effect: `stop`, `warn` or `ask`")
    own = {word: value for word, value in entry.items() if word not in ("name", "expect")}
    words = _merged(defaults, own)
    return HouseCase(name=name, path=path, words=words, question=_question(words, where), expect=expect)


def _merged(under: _Table, over: _Table) -> _Table:
    """Return words with others in their place; the person word by word."""
    words = {**under, **over}
    below, above = under.get("person"), over.get("person")
    if isinstance(below, dict) and isinstance(above, dict):
        words["person"] = {**below, **above}
    return words


def _question(words: _Table, where: str) -> HouseQuestion:
    person = _get(words, "person", dict, {}, where)
    _known(person, _PERSON, where)
    behalf = _get(words, "on_behalf_of", str, "", where)
    try:
        return HouseQuestion(
            agency=_need(words, "agency", str, where),
            agency_kind=_get(words, "agency_kind", str, "federal", where),
            agency_state=_get(words, "agency_state", str, "", where),
            providers=(
                AskedOf(agency=_need(words, "provider", str, where), kind=_need(words, "kind", str, where)),
            ),
            office=_get(person, "office", str, "", where),
            duty_station=_get(person, "duty_station", str, "", where),
            roles=frozenset(str(role) for role in _get(person, "roles", list, [], where)),
            trained_at=_instant(person, "trained_at", where) if "trained_at" in person else None,
            rules_accepted=_get(person, "rules_accepted", bool, False, where),
            good_standing=_get(person, "good_standing", bool, False, where),
            protections_attested=_get(person, "protections_attested", bool, False, where),
            reason=_need(words, "reason", str, where),
            on_behalf_of=bool(behalf),
            on_behalf_named=names_a_person(behalf),
            has_area=_get(words, "area", bool, False, where),
            period_start=_instant(words, "start", where),
            period_end=_instant(words, "end", where),
            limitation_years=_get(words, "limitation_years", int, 0, where),
            plate_state=_get(words, "plate_state", str, "CA", where),
            plate_country=_get(words, "plate_country", str, "US", where),
            readings=_get(words, "readings", int, 1, where),
            reason_vague=_get(words, "reason_vague", bool, False, where),
            offence=_get(words, "offence", str, "", where),
            border_nexus=bool(_get(words, "border_nexus", str, "", where).strip()),
            now=_instant(words, "now", where),
        )
    except ValueError as error:
        raise CaseInvalid(f"{where}: {error}") from error


def _known(table: _Table, words: frozenset[str], where: str) -> None:
    for word in table:
        if word not in words:
            near = get_close_matches(word, sorted(words), n=1)
            hint = f"; did you mean `{near[0]}`" if near else ""
            raise CaseInvalid(f"{where}: `{word}` is not known{hint}")


def _get(table: _Table, word: str, kind: type[_Value], default: _Value, where: str) -> _Value:
    value = table.get(word, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CaseInvalid(f"{where}: `{word}` is not of the type `{kind.__name__}`")
    return value


def _need(table: _Table, word: str, kind: type[_Value], where: str) -> _Value:
    if word not in table:
        raise CaseInvalid(f"{where}: `{word}` is missing")
    return _get(table, word, kind, kind(), where)


def _instant(table: _Table, word: str, where: str) -> datetime:
    value = table.get(word)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise CaseInvalid(f"{where}: `{word}` is not an instant such as 2026-03-02T12:00:00Z")
    return value.astimezone(UTC)
