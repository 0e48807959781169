"""A bundle's own tests: cases in `tests/*.toml`, each a question and what must be decided.

A file has `[defaults]`, of which every case takes what it does not say itself, and `[[case]]` tables
with `name`, the words of the question, and `[case.expect]`. Cases that differ in a few words alone make a
`[[table]]` (`comity.policy.case_tables`). Only what `expect` says is compared; the
words are those of `_QUESTION`, `_SUBJECT`, `_AGREEMENT`, `_STORE` and `_EXPECT` below. An unknown word is
an error, and so is a bundle without cases: a collection of checks that is empty shows nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

from comity.policy.budgets import Spent
from comity.policy.bundle import Policy, PolicyBundle
from comity.policy.case_tables import rows_of
from comity.policy.decision import Decision, PolicyEngine
from comity.policy.errors import CaseInvalid
from comity.policy.facts import (
    ELEMENTS,
    AgreementFacts,
    DecisionRequest,
    ReasonFacts,
    StoreFacts,
    SubjectFacts,
)

_Value = TypeVar("_Value")
_Table = Mapping[str, object]

_QUESTION: Final = frozenset(
    {
        "now",
        "requester",
        "kind",
        "state",
        "reason",
        "on_behalf_of",
        "area",
        "start",
        "end",
        "limitation_years",
        "offence",
        "plate_state",
        "plate_country",
        "readings",
        "reason_vague",
        "reason_words",
        "reason_plates",
        "spent",
        "elements",
        "subject",
        "agreement",
        "store",
    }
)
_SUBJECT: Final = frozenset(
    {
        "user",
        "office",
        "duty_station",
        "roles",
        "trained_at",
        "rules_accepted_at",
        "rules_digest",
        "account_reviewed_at",
        "good_standing",
        "protections_attested",
    }
)
_AGREEMENT: Final = frozenset({"id", "purposes", "elements", "in_force", "collected_from", "receives"})
_STORE: Final = frozenset({"id", "class"})
_EXPECT: Final = frozenset(
    {
        "effect",
        "shown_as",
        "stores",
        "policies",
        "rules",
        "reason",
        "earliest",
        "kept_since",
        "applied",
        "withhold",
        "unsaid",
        "grid",
        "retain_days",
        "max_reads",
        "caveats",
        "errors",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with what must be decided."""

    name: str
    path: Path
    words: Mapping[str, object] = field(repr=False)
    """The question in the words of the file, with the defaults."""
    request: DecisionRequest
    stores: tuple[StoreFacts, ...]
    expect: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What came of a case: no differences if it holds."""

    case: Case
    differences: tuple[str, ...]
    determined: frozenset[str] = frozenset()
    """Ids of the policies that determined anything of it, of a store or of an element."""


def load_cases(folder: Path) -> tuple[Case, ...]:
    """Read the cases of a bundle, in the order of file names.

    Raises:
        CaseInvalid: a file cannot be read, a word is unknown, or there is no case at all.
    """
    cases: list[Case] = []
    for path in sorted((folder / "tests").glob("*.toml")):
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CaseInvalid(f"{path}: cannot be read: {error}") from error
        _known(table, frozenset({"defaults", "case", "table"}), str(path))
        defaults = _get(table, "defaults", dict, {}, str(path))
        for entry in _get(table, "case", list, [], str(path)):
            cases.append(_case(path, defaults, entry))
        for entry in _get(table, "table", list, [], str(path)):
            for row in rows_of(entry, str(path)):
                cases.append(_case(path, defaults, row))
    if not cases:
        raise CaseInvalid(f"{folder / 'tests'}: no case in any `.toml` file")
    return tuple(cases)


def run(engine: PolicyEngine, case: Case) -> CaseResult:
    """Decide a case and compare."""
    decision = engine.decide(case.request, case.stores)
    seen = _seen(decision, case.request)
    rules = [rule for store in decision.stores for rule in store.rules]
    rules += [rule for store in decision.stores for view in store.views for rule in view.rules]
    return CaseResult(
        case=case,
        differences=tuple(_differences(case.expect, seen)),
        determined=frozenset(rule.policy_id for rule in rules),
    )


def uncovered(bundle: PolicyBundle, results: Iterable[CaseResult]) -> tuple[Policy, ...]:
    """Return the policies that determined nothing in any of these cases, in the bundle's order."""
    determined = frozenset[str]().union(*(result.determined for result in results))
    return tuple(policy for policy in bundle.policies if policy.policy_id not in determined)


def read_sketch(path: Path) -> Mapping[str, object]:
    """Return the words of a question that is sketched in a TOML file: those of a case, without `expect`.

    Raises:
        CaseInvalid: it can't be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CaseInvalid(f"{path}: cannot be read: {error}") from error


def sketched(
    words: Mapping[str, object], changes: Sequence[str], origin: str
) -> tuple[DecisionRequest, tuple[StoreFacts, ...]]:
    """Return a question of these words, with changes.

    Args:
        words: As `Case.words` or `read_sketch` give them.
        changes: Each a line of TOML, for example `reason = "NARCOTICS"`, `subject.office = "ERO"`; they take
            the place of what the words say.
        origin: Where the words come from, for error texts.

    Raises:
        CaseInvalid: a word is unknown, missing or of the wrong type; names it.
    """
    _known(words, _QUESTION, origin)
    for line in changes:
        try:
            change = tomllib.loads(line)
        except tomllib.TOMLDecodeError as error:
            raise CaseInvalid(
                f'`{line}` is no line of TOML, as `reason = "NARCOTICS"` or `subject.office = "ERO"`: {error}'
            ) from error
        _known(change, _QUESTION, f"`{line}`")
        words = _merged(words, change)
    try:
        return _request(words, origin), tuple(_stores(words, origin))
    except ValueError as error:
        raise CaseInvalid(f"{origin}: {error}") from error


def _seen(decision: Decision, request: DecisionRequest) -> Mapping[str, object]:
    obligations = decision.obligations
    seen: dict[str, object] = {
        "effect": decision.effect.value,
        "shown_as": decision.shown_as,
        "stores": sorted(store.store_id for store in decision.stores if store.permitted),
        "policies": sorted(rule.policy_id for rule in decision.rules),
        "rules": sorted({name for rule in decision.rules for name in rule.rules}),
        "reason": decision.public_reason,
        "errors": sorted(decision.errors),
    }
    if obligations is not None:
        seen |= {
            "earliest": obligations.earliest,
            "kept_since": obligations.kept_since,
            "applied": sorted({applied.name for applied in obligations.applied}),
            "withhold": sorted(obligations.withhold & request.elements),
            "unsaid": sorted(obligations.unsaid & request.elements),
            "grid": obligations.grid,
            "retain_days": obligations.retain_days,
            "max_reads": obligations.max_reads,
            "caveats": list(obligations.caveats),
        }
    return seen


def _differences(expect: Mapping[str, object], seen: Mapping[str, object]) -> Iterator[str]:
    for word, value in expect.items():
        found = seen.get(word)
        wanted = sorted(value) if isinstance(value, list) else value
        if word == "reason":
            holds = isinstance(value, str) and isinstance(found, str) and value in found
        else:
            holds = wanted == found
        if not holds:
            yield f"{word}: expected `{_shown(wanted)}`, decided `{_shown(found)}`"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "nothing" if value is None else str(value)


def _case(path: Path, defaults: _Table, entry: object) -> Case:
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
        raise CaseInvalid(f"{where}: `expect` names no effect")
    words = _merged(
        defaults, {word: value for word, value in entry.items() if word not in ("name", "expect")}
    )
    try:
        return Case(
            name=name,
            path=path,
            words=words,
            request=_request(words, where),
            stores=tuple(_stores(words, where)),
            expect=expect,
        )
    except ValueError as error:
        raise CaseInvalid(f"{where}: {error}") from error


def _merged(under: _Table, over: _Table) -> _Table:
    """Return words with others in their place; subject and agreement word by word."""
    words = {**under, **over}
    for nested in ("subject", "agreement"):
        below, above = under.get(nested), over.get(nested)
        if isinstance(below, dict) and isinstance(above, dict):
            words[nested] = {**below, **above}
    return words


def _request(words: _Table, where: str) -> DecisionRequest:
    return DecisionRequest(
        requester=_need(words, "requester", str, where),
        requester_kind=_need(words, "kind", str, where),
        requester_state=_get(words, "state", str, "", where),
        subject=_subject(_get(words, "subject", dict, {}, where), where),
        reason=_need(words, "reason", str, where),
        on_behalf_of=_get(words, "on_behalf_of", bool, False, where),
        has_area=_get(words, "area", bool, False, where),
        period_start=_instant(words, "start", where),
        period_end=_instant(words, "end", where),
        limitation_years=_get(words, "limitation_years", int, 0, where),
        offence=_get(words, "offence", str, "", where),
        plate_state=_get(words, "plate_state", str, "CA", where),
        plate_country=_get(words, "plate_country", str, "US", where),
        elements=_words(words, "elements", where, ELEMENTS),
        told=ReasonFacts(
            vague=_get(words, "reason_vague", bool, False, where),
            words=_get(words, "reason_words", int, 1, where),
            plates=_get(words, "reason_plates", int, 1, where),
        ),
        readings=_get(words, "readings", int, 1, where),
        spent=_spent(_get(words, "spent", dict, {}, where), where),
        agreement=_agreement(words.get("agreement"), where),
        now=_instant(words, "now", where),
    )


def _subject(table: _Table, where: str) -> SubjectFacts:
    _known(table, _SUBJECT, where)
    return SubjectFacts(
        user=_get(table, "user", str, "somebody", where),
        office=_get(table, "office", str, "", where),
        roles=_words(table, "roles", where, frozenset()),
        duty_station=_get(table, "duty_station", str, "", where),
        trained_at=_maybe(table, "trained_at", where),
        rules_accepted_at=_maybe(table, "rules_accepted_at", where),
        rules_digest=_get(table, "rules_digest", str, "", where),
        account_reviewed_at=_maybe(table, "account_reviewed_at", where),
        good_standing=_get(table, "good_standing", bool, False, where),
        protections_attested=_get(table, "protections_attested", bool, False, where),
    )


def _spent(table: _Table, where: str) -> Spent:
    _known(table, frozenset(Spent.__slots__), where)
    return Spent(**{name: _get(table, name, int, 0, where) for name in table})


def _agreement(value: object, where: str) -> AgreementFacts | None:
    """Return the agreement; `agreement = false` says that there is none."""
    if value is None or value is False:
        return None
    if not isinstance(value, dict):
        raise CaseInvalid(f"{where}: `agreement` is neither a table nor `false`")
    _known(value, _AGREEMENT, where)
    return AgreementFacts(
        agreement_id=_need(value, "id", str, where),
        purposes=_words(value, "purposes", where, frozenset()),
        elements=_words(value, "elements", where, frozenset()),
        in_force=_get(value, "in_force", bool, True, where),
        collected_from=_maybe(value, "collected_from", where),
        receives=_get(value, "receives", bool, True, where),
    )


def _stores(words: _Table, where: str) -> Iterator[StoreFacts]:
    for entry in _get(words, "store", list, [], where):
        if not isinstance(entry, dict):
            raise CaseInvalid(f"{where}: a store is not a table")
        _known(entry, _STORE, where)
        yield StoreFacts(
            store_id=_need(entry, "id", str, where), store_class=_need(entry, "class", str, where)
        )


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


def _words(table: _Table, word: str, where: str, default: frozenset[str]) -> frozenset[str]:
    if word not in table:
        return default
    return frozenset(str(item) for item in _get(table, word, list, [], where))


def _maybe(table: _Table, word: str, where: str) -> datetime | None:
    return _instant(table, word, where) if word in table else None


def _instant(table: _Table, word: str, where: str) -> datetime:
    value = table.get(word)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise CaseInvalid(f"{where}: `{word}` is not an instant such as 2026-03-02T12:00:00Z")
    return value.astimezone(UTC)
