"""A house bundle's own tests: cases in `tests/*.toml`, each about one provider, with what is said of it.

A case with a table `listing` is of a plate on a hot list that the provider holds; it has no period. How cases
are written `comity.policy.case_words` says; the words are those of `_QUESTION`, `_PERSON`, `_LISTING` and
`_EXPECT` below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from comity.policy.house.facts import (
    AskedOf,
    HouseAct,
    HouseListing,
    HouseQuestion,
    is_tracking_number,
    names_a_person,
)
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
        "listing",
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
_LISTING: Final = frozenset(
    [
        "act",
        "case",
        "case_current",
        "tracking",
        "free_text",
        "other_columns",
        "documented",
        "need_affirmed",
        "valid_from",
        "valid_until",
        "expires",
        "reviewed",
        "batch",
    ]
)
_EXPECT: Final = frozenset({"effect", "stops", "warnings", "rules", "errors"})

_FORM: Final = Form(
    question=_QUESTION,
    expect=_EXPECT,
    nested=("person", "listing"),
    effects="`stop`, `warn`, `ask` or `list`",
    example='person.office = "ERO"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseCase(Written):
    """One question to one provider, or one plate on its hot list, with what must be said of it."""

    act: HouseAct


def load_house_cases(folder: Path) -> tuple[HouseCase, ...]:
    """Read the cases of a house bundle, in the order of file names.

    Raises:
        CaseInvalid: a file cannot be read, a word is unknown, or there is no case at all.
    """
    return read_cases(folder, _FORM, _case)


def run_house(rules: HouseRules, case: HouseCase) -> CaseResult:
    """Judge a case and compare."""
    judgement = rules.judge(case.act)[0]
    met = [*judgement.stops, *judgement.warnings]
    seen: dict[str, object] = {
        "effect": effect_of(judgement, case.act),
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


def effect_of(judgement: Judgement, act: HouseAct) -> str:
    """Return `stop`, `warn`, or what is done without a word: `ask` or `list`."""
    if judgement.stops or judgement.warnings:
        return "stop" if judgement.stops else "warn"
    return "list" if isinstance(act, HouseListing) else "ask"


def sketched_house(words: Words, changes: Sequence[str], origin: str) -> HouseAct:
    """Return a question, or a listing, of these words, with changes, each a line of TOML.

    Raises:
        CaseInvalid: a word is unknown, missing or of the wrong type; names it.
    """
    return _act(changed(words, changes, origin, _FORM), origin)


def _case(written: Written) -> HouseCase:
    return HouseCase(
        name=written.name,
        path=written.path,
        words=written.words,
        expect=written.expect,
        act=_act(written.words, written.where),
    )


def _act(words: Words, where: str) -> HouseAct:
    try:
        return _listing(words, where) if "listing" in words else _question(words, where)
    except ValueError as error:
        raise CaseInvalid(f"{where}: {error}") from error


def _question(words: Words, where: str) -> HouseQuestion:
    behalf = get(words, "on_behalf_of", str, "", where)
    return HouseQuestion(
        **_common(words, where),  # type: ignore[arg-type]
        on_behalf_of=bool(behalf),
        on_behalf_named=names_a_person(behalf),
        has_area=get(words, "area", bool, False, where),
        period_start=instant(words, "start", where),
        period_end=instant(words, "end", where),
        limitation_years=get(words, "limitation_years", int, 0, where),
        readings=get(words, "readings", int, 1, where),
        reason_vague=get(words, "reason_vague", bool, False, where),
        offence=get(words, "offence", str, "", where),
        border_nexus=bool(get(words, "border_nexus", str, "", where).strip()),
    )


def _listing(words: Words, where: str) -> HouseListing:
    table = get(words, "listing", dict, {}, where)
    known(table, _LISTING, f"{where}: listing")
    now, tracking = instant(words, "now", where), get(table, "tracking", str, "", where)
    start = maybe_instant(table, "valid_from", where) or now
    until = instant(table, "valid_until", where)
    return HouseListing(
        **_common(words, where),  # type: ignore[arg-type]
        act=need(table, "act", str, where),
        case_named=bool(get(table, "case", str, "", where).strip()),
        case_current=get(table, "case_current", bool, False, where) if "case_current" in table else None,
        tracking_number=bool(tracking),
        tracking_is_number=not tracking or is_tracking_number(tracking),
        free_text=get(table, "free_text", bool, False, where),
        other_columns=get(table, "other_columns", bool, False, where),
        documented=get(table, "documented", bool, False, where),
        need_affirmed=get(table, "need_affirmed", bool, False, where),
        valid_from=start,
        valid_until=until,
        expires_at=maybe_instant(table, "expires", where) or until,
        reviewed_at=maybe_instant(table, "reviewed", where) or start,
        batch=get(table, "batch", int, 1, where),
    )


def _common(words: Words, where: str) -> Mapping[str, object]:
    """Return what every act has."""
    person = get(words, "person", dict, {}, where)
    known(person, _PERSON, where)
    return {
        "agency": need(words, "agency", str, where),
        "agency_kind": get(words, "agency_kind", str, "federal", where),
        "agency_state": get(words, "agency_state", str, "", where),
        "providers": (
            AskedOf(agency=need(words, "provider", str, where), kind=need(words, "kind", str, where)),
        ),
        "office": get(person, "office", str, "", where),
        "duty_station": get(person, "duty_station", str, "", where),
        "roles": names(person, "roles", where),
        "trained_at": maybe_instant(person, "trained_at", where),
        "rules_accepted": get(person, "rules_accepted", bool, False, where),
        "good_standing": get(person, "good_standing", bool, False, where),
        "protections_attested": get(person, "protections_attested", bool, False, where),
        "reason": need(words, "reason", str, where),
        "plate_state": get(words, "plate_state", str, "CA", where),
        "plate_country": get(words, "plate_country", str, "US", where),
        "now": instant(words, "now", where),
    }
