"""How a question looks to Cedar: the entities and requests of one decision.

The subject is the principal, a store the resource; what is asked stands in one `Query` entity, to which
the context refers. Cedar reads entities once for all actions and stores of a decision, and a context
again for each of them, so a small context costs a fifth of one that holds the question itself. Stores
and agreement change seldom, so they are read once and kept.

No plate number and no user name goes in: policies decide by facts, Cedar's error texts stay clean, and
questions that are alike in every fact are one question, whose verdicts are remembered.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

import cedarpy

from comity.policy.facts import AgreementFacts, DecisionRequest, StoreFacts, SubjectFacts

SEARCH: Final = "Search"
"""The action that lets a store be searched at all."""

VIEWS: Final = {
    "ViewExactLocation": "LOCATION",
    "ViewImages": "IMAGES",
    "ViewVehicle": "VEHICLE",
    "ViewCamera": "CAMERA",
}
"""The action that lets an element leave, with the element."""

STORE_CLASSES: Final = (
    "primary",
    "checkpoint",
    "fixed",
    "mobile",
    "covert",
    "toll",
    "parking",
    "repossession",
    "police",
    "commercial",
)
"""Classes of stores in the schema that Comity ships; an agency's own schema can list others."""

SKEW: Final = timedelta(seconds=5)
"""Clock skew tolerated in what another agency dates."""

MOST_WORDS: Final = 20
"""As many words of a reason stand for more."""

MOST_PLATES: Final = 1_000
"""As many plates under one text stand for more."""

_REMEMBERED: Final = 256
_SUBJECT: Final = {"type": "Subject", "id": "subject"}
_QUERY: Final = {"__entity": {"type": "Query", "id": "query"}}
_ERROR: Final = re.compile(r"error while evaluating policy `([^`]*)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldFacts:
    """What stays the same from one question of a requester to the next."""

    provider: str
    stores: tuple[StoreFacts, ...]
    agreement: AgreementFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Cedar's answer for one action on one store."""

    allowed: bool
    """Cedar allows, and nothing failed while it looked."""
    determining: tuple[str, ...]
    """Ids of the policies that determined it; empty where none matched."""
    errors: tuple[str, ...]
    """Ids of policies that failed, or `request`."""


class PreparedPolicies:
    """Policies, schema and base entities, parsed once."""

    def __init__(self, policies: Mapping[str, str], schema_text: str, entities_text: str) -> None:
        """Prepare.

        Args:
            policies: Cedar's JSON of each policy, by its id.
            schema_text: A Cedar schema.
            entities_text: Cedar's JSON of the bundle's own entities.
        """
        static = {policy_id: json.loads(text) for policy_id, text in policies.items()}
        joined = {"staticPolicies": static, "templates": {}, "templateLinks": []}
        self._policies = cedarpy.PolicySet.from_json_str(json.dumps(joined))
        self._schema = cedarpy.Schema.from_str(schema_text)
        self._entities = cedarpy.Entities.from_json_str(entities_text, self._schema)

        self._held = lru_cache(maxsize=_REMEMBERED)(self._hold)
        self._asked = lru_cache(maxsize=_REMEMBERED)(self._ask)

    def question(self, provider: str, request: DecisionRequest, stores: Sequence[StoreFacts]) -> Question:
        """Return a question that can be asked for any action.

        Raises:
            ValueError: the facts do not follow the bundle's schema, for example a class of stores that
                it does not list.
        """
        held = _HeldFacts(provider=provider, stores=tuple(stores), agreement=request.agreement)
        return self._asked(held, json.dumps(_asking(request)))

    def _hold(self, held: _HeldFacts) -> cedarpy.Entities:
        return self._entities.with_added_json_str(json.dumps(_holding(held)), self._schema)

    def _ask(self, held: _HeldFacts, asking: str) -> Question:
        return Question(self._policies, self._held(held).with_added_json_str(asking, self._schema))


class Question:
    """One question over one provider's stores, ready to be asked for several actions."""

    def __init__(self, policies: cedarpy.PolicySet, entities: cedarpy.Entities) -> None:
        self._policies = policies
        self._entities = entities
        self._known: dict[tuple[str, str], Verdict] = {}

    def verdicts(self, asked: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Return a verdict for each (action, store id), in their order."""
        new = [pair for pair in asked if pair not in self._known]
        if new:
            requests = [_request(action, store_id) for action, store_id in new]
            results = cedarpy.is_authorized_batch(requests, self._policies, self._entities)
            self._known.update(zip(new, map(_verdict, results), strict=True))
        return [self._known[pair] for pair in asked]


def probe_fault(schema: cedarpy.Schema, entities_text: str) -> str:
    """Return what of Comity's questions a schema does not describe; empty if it describes them all."""
    base = cedarpy.Entities.from_json_str(entities_text, schema)
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    request = DecisionRequest(
        requester="probe",
        requester_kind="local",
        subject=SubjectFacts(
            user="probe",
            trained_at=instant,
            account_reviewed_at=instant,
            roles=frozenset({"probe"}),
        ),
        reason="CRIMINAL_INVESTIGATION",
        period_start=instant,
        period_end=instant + timedelta(days=1),
        plate_state="CA",
        plate_country="US",
        agreement=AgreementFacts(
            agreement_id="probe",
            purposes=frozenset({"CRIMINAL_INVESTIGATION"}),
            elements=frozenset({"IMAGES"}),
        ),
        now=instant,
    )
    if not any(_conforms(base, schema, _probing(request, word)) for word in STORE_CLASSES):
        return "its `Subject`, `Store`, `Agreement` or `Query` has other attributes"
    entities = base.with_added_json_str(json.dumps(_asking(request)), schema)
    for action in (SEARCH, *VIEWS):
        result = cedarpy.is_authorized(_request(action, "probe"), "", entities, schema)
        for error in result.diagnostics.errors:
            return f"action `{action}`: {error}"
    return ""


def knows_class(schema: cedarpy.Schema, entities_text: str, store_class: str) -> bool:
    """Tell whether a schema that describes Comity's questions lists a class of stores."""
    held = _HeldFacts(
        provider="probe",
        stores=(StoreFacts(store_id="probe", store_class=store_class),),
        agreement=None,
    )
    return _conforms(cedarpy.Entities.from_json_str(entities_text, schema), schema, _holding(held))


def _probing(request: DecisionRequest, store_class: str) -> list[Mapping[str, object]]:
    store = StoreFacts(store_id="probe", store_class=store_class)
    held = _HeldFacts(provider="probe", stores=(store,), agreement=request.agreement)
    return [*_asking(request), *_holding(held)]


def _conforms(base: cedarpy.Entities, schema: cedarpy.Schema, facts: list[Mapping[str, object]]) -> bool:
    try:
        base.with_added_json_str(json.dumps(facts), schema)
    except ValueError:
        return False
    return True


def _request(action: str, store_id: str) -> dict[str, object]:
    return {
        "principal": _SUBJECT,
        "action": {"type": "Action", "id": action},
        "resource": {"type": "Store", "id": store_id},
        "context": {"query": _QUERY},
    }


def _verdict(result: cedarpy.AuthzResult) -> Verdict:
    errors = [_ERROR.search(str(error)) for error in result.diagnostics.errors]
    failed = tuple(sorted({found.group(1) if found else "request" for found in errors}))
    return Verdict(
        allowed=result.allowed is True and not failed,
        determining=tuple(str(reason) for reason in result.diagnostics.reasons),
        errors=failed,
    )


def _asking(request: DecisionRequest) -> list[Mapping[str, object]]:
    subject = {
        "uid": _SUBJECT,
        "attrs": _subject(request),
        "parents": [{"type": "Agency", "id": request.requester}],
    }
    return [subject, {"uid": _QUERY["__entity"], "attrs": _query(request), "parents": []}]


def _holding(held: _HeldFacts) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = [
        {
            "uid": {"type": "Store", "id": store.store_id},
            "attrs": {
                "class": _ref("StoreClass", store.store_class),
                "provider": _ref("Agency", held.provider),
            },
            "parents": [],
        }
        for store in held.stores
    ]
    agreement = held.agreement
    if agreement is not None:
        attributes = {
            "inForce": agreement.in_force,
            "purposes": _refs("Reason", agreement.purposes),
            "elements": _refs("Element", agreement.elements - {"PLATE"}),
        }
        uid = {"type": "Agreement", "id": agreement.agreement_id}
        found.append({"uid": uid, "attrs": attributes, "parents": []})
    return found


def _subject(request: DecisionRequest) -> dict[str, object]:
    subject = request.subject
    accepted = subject.rules_accepted_at
    has_accepted = accepted is not None and accepted <= request.now + SKEW
    attributes: dict[str, object] = {
        "agency": _ref("Agency", request.requester),
        "kind": _ref("AgencyKind", request.requester_kind),
        "state": request.requester_state,
        "office": subject.office,
        "dutyStation": subject.duty_station,
        "roles": sorted(subject.roles),
        "rulesAccepted": has_accepted,
        "rulesDigest": subject.rules_digest if has_accepted else "",
        "goodStanding": subject.good_standing,
        "protectionsAttested": subject.protections_attested,
    }
    for name, instant in (
        ("trainedDaysAgo", subject.trained_at),
        ("accountReviewedDaysAgo", subject.account_reviewed_at),
    ):
        if instant is not None and instant <= request.now + SKEW:
            attributes[name] = max(0, (request.now - instant) // timedelta(days=1))
    return attributes


def _query(request: DecisionRequest) -> dict[str, object]:
    attributes: dict[str, object] = {
        "reason": _ref("Reason", request.reason),
        "onBehalfOf": request.on_behalf_of,
        "hasArea": request.has_area,
        "periodDays": _days(request.period_end - request.period_start),
        "oldestDaysAgo": max(0, _days(request.now - request.period_start)),
        "limitationYears": request.limitation_years,
        "offence": request.offence,
        "plateState": request.plate_state,
        "plateCountry": request.plate_country,
        "readings": request.readings,
        "reasonVague": request.told.vague,
        "reasonWords": min(request.told.words, MOST_WORDS),
        "reasonPlates": min(request.told.plates, MOST_PLATES),
    }
    if request.agreement is not None:
        attributes["agreement"] = _ref("Agreement", request.agreement.agreement_id)
    return attributes


def _days(span: timedelta) -> int:
    """Return whole days, rounded up."""
    return math.ceil(span / timedelta(days=1))


def _ref(entity_type: str, entity_id: str) -> dict[str, object]:
    return {"__entity": {"type": entity_type, "id": entity_id}}


def _refs(entity_type: str, ids: Iterable[str]) -> list[dict[str, object]]:
    return [_ref(entity_type, entity_id) for entity_id in sorted(ids)]
