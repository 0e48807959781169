"""The facts of a decision as one text: what a log commits to, so that the decision can be made again.

JSON with sorted keys, instants in UTC as RFC 3339 with microseconds. It holds all that the policy decided by
and no more: neither plate nor case, and no name of a person, for policies never see one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from comity.policy.budgets import Spent
from comity.policy.errors import PolicyError
from comity.policy.facts import (
    AgreementFacts,
    Barred,
    DecisionRequest,
    ReasonFacts,
    StoreFacts,
    SubjectFacts,
)

VERSION: Final = 1


class FactsInvalid(PolicyError):
    """A text holds no facts of a decision; the message names what is wrong with it."""


def write_facts(request: DecisionRequest, stores: Sequence[StoreFacts]) -> str:
    """Return the facts of a decision; `read_facts` gives them back, without the user's name."""
    subject, agreement = request.subject, request.agreement
    told = {
        "version": VERSION,
        "requester": [request.requester, request.requester_kind, request.requester_state],
        "subject": {
            "office": subject.office,
            "roles": sorted(subject.roles),
            "trained_at": _written(subject.trained_at),
            "rules_accepted_at": _written(subject.rules_accepted_at),
            "good_standing": subject.good_standing,
            "protections_attested": subject.protections_attested,
            "duty_station": subject.duty_station,
            "rules_digest": subject.rules_digest,
            "account_reviewed_at": _written(subject.account_reviewed_at),
            "barred": None if subject.barred is None else [subject.barred.by, subject.barred.text],
        },
        "reason": request.reason,
        "on_behalf_of": request.on_behalf_of,
        "has_area": request.has_area,
        "period": [_written(request.period_start), _written(request.period_end)],
        "limitation_years": request.limitation_years,
        "offence": request.offence,
        "plate": [request.plate_state, request.plate_country],
        "elements": sorted(request.elements),
        "agreement": None
        if agreement is None
        else {
            "id": agreement.agreement_id,
            "purposes": sorted(agreement.purposes),
            "elements": sorted(agreement.elements),
            "in_force": agreement.in_force,
            "collected_from": _written(agreement.collected_from),
            "receives": agreement.receives,
        },
        "told": [request.told.vague, request.told.words, request.told.plates],
        "readings": request.readings,
        "spent": request.spent.written(),
        "now": _written(request.now),
        "stores": [[store.store_id, store.store_class] for store in stores],
    }
    return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_facts(text: str) -> tuple[DecisionRequest, tuple[StoreFacts, ...]]:
    """Return the facts that `write_facts` wrote.

    Raises:
        FactsInvalid: it is something else, or of another version.
    """
    try:
        told = json.loads(text)
        if told["version"] != VERSION:
            raise FactsInvalid(f"facts of version `{told['version']}`, this is version {VERSION}")
        return _request(told), tuple(
            StoreFacts(store_id=store_id, store_class=store_class) for store_id, store_class in told["stores"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FactsInvalid(f"not the facts of a decision: {type(error).__name__}") from error


def _request(told: Mapping[str, object]) -> DecisionRequest:
    requester, kind, state = _texts(told["requester"])
    subject, agreement = _table(told["subject"]), told["agreement"]
    start, end = _texts(told["period"])
    plate_state, plate_country = _texts(told["plate"])
    return DecisionRequest(
        requester=requester,
        requester_kind=kind,
        requester_state=state,
        subject=SubjectFacts(
            user="",
            office=str(subject["office"]),
            roles=frozenset(_texts(subject["roles"])),
            trained_at=_read(subject["trained_at"]),
            rules_accepted_at=_read(subject["rules_accepted_at"]),
            good_standing=subject["good_standing"] is True,
            protections_attested=subject["protections_attested"] is True,
            duty_station=str(subject.get("duty_station", "")),
            rules_digest=str(subject.get("rules_digest", "")),
            account_reviewed_at=_read(subject.get("account_reviewed_at")),
            barred=_barred(subject.get("barred")),
        ),
        reason=str(told["reason"]),
        on_behalf_of=told["on_behalf_of"] is True,
        has_area=told["has_area"] is True,
        period_start=_instant(start),
        period_end=_instant(end),
        limitation_years=_number(told["limitation_years"]),
        offence=str(told.get("offence", "")),
        plate_state=plate_state,
        plate_country=plate_country,
        elements=frozenset(_texts(told["elements"])),
        told=_told(told.get("told")),
        readings=_number(told.get("readings", 1)),
        spent=Spent(**{name: _number(number) for name, number in _table(told.get("spent", {})).items()}),
        agreement=None if agreement is None else _agreement(_table(agreement)),
        now=_instant(told["now"]),
    )


def _agreement(told: Mapping[str, object]) -> AgreementFacts:
    return AgreementFacts(
        agreement_id=str(told["id"]),
        purposes=frozenset(_texts(told["purposes"])),
        elements=frozenset(_texts(told["elements"])),
        in_force=told["in_force"] is True,
        collected_from=_read(told["collected_from"]),
        receives=told.get("receives", True) is True,
    )


def _told(told: object) -> ReasonFacts:
    """Return what is known of a reason's text; facts of earlier versions don't say, and nothing asked."""
    if told is None:
        return ReasonFacts()
    if not isinstance(told, list):
        raise TypeError("told")
    vague, words, plates = told
    return ReasonFacts(vague=vague is True, words=_number(words), plates=_number(plates))


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("a number")
    return value


def _barred(told: object) -> Barred | None:
    if told is None:
        return None
    by, text = _texts(told)
    return Barred(by=by, text=text)


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat(timespec="microseconds")


def _read(value: object) -> datetime | None:
    return None if value is None else _instant(value)


def _instant(value: object) -> datetime:
    return datetime.fromisoformat(str(value)).astimezone(UTC)


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError("a list of texts")
    return value


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError("an object")
    return value
