"""A house bundle's own tests: cases in `tests/*.toml`, each a question to one provider and its answer.

How they are written `comity.policy.case_words` says; the words are those of `_QUESTION`, `_PERSON` and
`_EXPECT` below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from comity.policy.case_words import (
    CaseResult,
    Form,
    Words,
    Written,
    changed,
    differences,
    get,
    instant,
    known,
    maybe_instant,
    names,
    need,
    read_cases,
)
from comity.policy.errors import CaseInvalid
from comity.policy.house.facts import AskedOf, HouseQuestion, names_a_person
from comity.policy.house.rules import HouseRules, Judgement

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

_FORM: Final = Form(
    question=_QUESTION,
    expect=_EXPECT,
    nested=("person",),
    effects="`stop`, `warn` or `ask`",
    example='person.office = "ERO"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseCase(Written):
    """One question to one provider, with what must be said of it."""

    question: HouseQuestion


def load_house_cases(folder: Path) -> tuple[HouseCase, ...]:
    """Read the cases of a house bundle, in the order of file names.

    Raises:
        CaseInvalid: a file cannot be read, a word is unknown, or there is no case at all.
    """
    return read_cases(folder, _FORM, _case)


def run_house(rules: HouseRules, case: HouseCase) -> CaseResult:
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
    return CaseResult(
        case=case,
        differences=tuple(differences(case.expect, seen, said="judged")),
        determined=frozenset(rule.policy_id for rule in met),
    )


def effect_of(judgement: Judgement) -> str:
    """Return `stop`, `warn` or `ask`."""
    return "stop" if judgement.stops else "warn" if judgement.warnings else "ask"


def sketched_house(words: Words, changes: Sequence[str], origin: str) -> HouseQuestion:
    """Return a question of these words, with changes, each a line of TOML such as `reason = "NARCOTICS"`.

    Raises:
        CaseInvalid: a word is unknown, missing or of the wrong type; names it.
    """
    return _question(changed(words, changes, origin, _FORM), origin)


def _case(written: Written) -> HouseCase:
    return HouseCase(
        name=written.name,
        path=written.path,
        words=written.words,
        expect=written.expect,
        question=_question(written.words, written.where),
    )


def _question(words: Words, where: str) -> HouseQuestion:
    person = get(words, "person", dict, {}, where)
    known(person, _PERSON, where)
    behalf = get(words, "on_behalf_of", str, "", where)
    try:
        return HouseQuestion(
            agency=need(words, "agency", str, where),
            agency_kind=get(words, "agency_kind", str, "federal", where),
            agency_state=get(words, "agency_state", str, "", where),
            providers=(
                AskedOf(agency=need(words, "provider", str, where), kind=need(words, "kind", str, where)),
            ),
            office=get(person, "office", str, "", where),
            duty_station=get(person, "duty_station", str, "", where),
            roles=names(person, "roles", where),
            trained_at=maybe_instant(person, "trained_at", where),
            rules_accepted=get(person, "rules_accepted", bool, False, where),
            good_standing=get(person, "good_standing", bool, False, where),
            protections_attested=get(person, "protections_attested", bool, False, where),
            reason=need(words, "reason", str, where),
            on_behalf_of=bool(behalf),
            on_behalf_named=names_a_person(behalf),
            has_area=get(words, "area", bool, False, where),
            period_start=instant(words, "start", where),
            period_end=instant(words, "end", where),
            limitation_years=get(words, "limitation_years", int, 0, where),
            plate_state=get(words, "plate_state", str, "CA", where),
            plate_country=get(words, "plate_country", str, "US", where),
            readings=get(words, "readings", int, 1, where),
            reason_vague=get(words, "reason_vague", bool, False, where),
            offence=get(words, "offence", str, "", where),
            border_nexus=bool(get(words, "border_nexus", str, "", where).strip()),
            now=instant(words, "now", where),
        )
    except ValueError as error:
        raise CaseInvalid(f"{where}: {error}") from error
