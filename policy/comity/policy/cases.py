"""A bundle's own tests: cases in `tests/*.toml`, each a question and what must be decided.

How they are written `comity.policy.case_words` says; the words are those of `_QUESTION`, `_SUBJECT`,
`_AGREEMENT`, `_STORE` and `_EXPECT` below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from comity.policy.budgets import Spent
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

_FORM: Final = Form(
    question=_QUESTION, expect=_EXPECT, nested=("subject", "agreement"), example='subject.office = "ERO"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Written):
    """One question with what must be decided."""

    request: DecisionRequest
    stores: tuple[StoreFacts, ...]


def load_cases(folder: Path) -> tuple[Case, ...]:
    """Read the cases of a bundle, in the order of file names.

    Raises:
        CaseInvalid: a file cannot be read, a word is unknown, or there is no case at all.
    """
    return read_cases(folder, _FORM, _case)


def run(engine: PolicyEngine, case: Case) -> CaseResult:
    """Decide a case and compare."""
    decision = engine.decide(case.request, case.stores)
    seen = _seen(decision, case.request)
    rules = [rule for store in decision.stores for rule in store.rules]
    rules += [rule for store in decision.stores for view in store.views for rule in view.rules]
    return CaseResult(
        case=case,
        differences=tuple(differences(case.expect, seen, said="decided", parts=frozenset({"reason"}))),
        determined=frozenset(rule.policy_id for rule in rules),
    )


def sketched(
    words: Mapping[str, object], changes: Sequence[str], origin: str
) -> tuple[DecisionRequest, tuple[StoreFacts, ...]]:
    """Return a question of these words, with changes.

    Args:
        words: As `Case.words` or `read_words` give them.
        changes: Each a line of TOML, for example `reason = "NARCOTICS"`, `subject.office = "ERO"`; they take
            the place of what the words say.
        origin: Where the words come from, for error texts.

    Raises:
        CaseInvalid: a word is unknown, missing or of the wrong type; names it.
    """
    words = changed(words, changes, origin, _FORM)
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


def _case(written: Written) -> Case:
    return Case(
        name=written.name,
        path=written.path,
        words=written.words,
        expect=written.expect,
        request=_request(written.words, written.where),
        stores=tuple(_stores(written.words, written.where)),
    )


def _request(words: Words, where: str) -> DecisionRequest:
    return DecisionRequest(
        requester=need(words, "requester", str, where),
        requester_kind=need(words, "kind", str, where),
        requester_state=get(words, "state", str, "", where),
        subject=_subject(get(words, "subject", dict, {}, where), where),
        reason=need(words, "reason", str, where),
        on_behalf_of=get(words, "on_behalf_of", bool, False, where),
        has_area=get(words, "area", bool, False, where),
        period_start=instant(words, "start", where),
        period_end=instant(words, "end", where),
        limitation_years=get(words, "limitation_years", int, 0, where),
        offence=get(words, "offence", str, "", where),
        plate_state=get(words, "plate_state", str, "CA", where),
        plate_country=get(words, "plate_country", str, "US", where),
        elements=names(words, "elements", where, ELEMENTS),
        told=ReasonFacts(
            vague=get(words, "reason_vague", bool, False, where),
            words=get(words, "reason_words", int, 1, where),
            plates=get(words, "reason_plates", int, 1, where),
        ),
        readings=get(words, "readings", int, 1, where),
        spent=_spent(get(words, "spent", dict, {}, where), where),
        agreement=_agreement(words.get("agreement"), where),
        now=instant(words, "now", where),
    )


def _subject(table: Words, where: str) -> SubjectFacts:
    known(table, _SUBJECT, where)
    return SubjectFacts(
        user=get(table, "user", str, "somebody", where),
        office=get(table, "office", str, "", where),
        roles=names(table, "roles", where, frozenset()),
        duty_station=get(table, "duty_station", str, "", where),
        trained_at=maybe_instant(table, "trained_at", where),
        rules_accepted_at=maybe_instant(table, "rules_accepted_at", where),
        rules_digest=get(table, "rules_digest", str, "", where),
        account_reviewed_at=maybe_instant(table, "account_reviewed_at", where),
        good_standing=get(table, "good_standing", bool, False, where),
        protections_attested=get(table, "protections_attested", bool, False, where),
    )


def _spent(table: Words, where: str) -> Spent:
    known(table, frozenset(Spent.__slots__), where)
    return Spent(**{name: get(table, name, int, 0, where) for name in table})


def _agreement(value: object, where: str) -> AgreementFacts | None:
    """Return the agreement; `agreement = false` says that there is none."""
    if value is None or value is False:
        return None
    if not isinstance(value, dict):
        raise CaseInvalid(f"{where}: `agreement` is neither a table nor `false`")
    known(value, _AGREEMENT, where)
    return AgreementFacts(
        agreement_id=need(value, "id", str, where),
        purposes=names(value, "purposes", where, frozenset()),
        elements=names(value, "elements", where, frozenset()),
        in_force=get(value, "in_force", bool, True, where),
        collected_from=maybe_instant(value, "collected_from", where),
        receives=get(value, "receives", bool, True, where),
    )


def _stores(words: Words, where: str) -> Iterator[StoreFacts]:
    for entry in get(words, "store", list, [], where):
        if not isinstance(entry, dict):
            raise CaseInvalid(f"{where}: a store is not a table")
        known(entry, _STORE, where)
        yield StoreFacts(store_id=need(entry, "id", str, where), store_class=need(entry, "class", str, where))
