"""How a question looks to house rules: the entities and requests of one judgement.

The person is the principal, each provider that would be asked, or holds the hot list, a resource; what is
asked stands in one `Query` entity, what is listed in one `Listing`, to which the context refers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import cedarpy

from comity.policy.cedar import SKEW
from comity.policy.house.facts import (
    LIST_ACTS,
    AskedOf,
    HouseAct,
    HouseListing,
    HouseQuestion,
    years_back,
)
from comity.policy.windows import Windows, jurisdiction_of

ASK: Final = "Ask"
"""Asking a provider about a plate."""

LIST: Final = "List"
"""Putting a plate on a hot list that a provider holds, keeping it there, renewing it."""

_ACTION_LIST: Final = re.compile(rf'^\s*action\s+"?{LIST}"?\s+appliesTo\b', re.MULTILINE)

PROVIDER: Final = "Provider"
PROVIDER_GROUP: Final = "ProviderGroup"

_OPEN: Final = "house.open"
_PERMIT: Final = f'@id("{_OPEN}") permit (principal, action, resource);'
_PERSON: Final = {"type": "Person", "id": "person"}
_QUERY: Final = {"type": "Query", "id": "query"}
_LISTING: Final = {"type": "Listing", "id": "listing"}
_ERROR: Final = re.compile(r"error while evaluating policy `([^`]*)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What the rules say of one provider."""

    rules: tuple[str, ...]
    """Ids of the rules that the question meets."""
    errors: tuple[str, ...]
    """Ids of rules that failed, or `request`."""


class PreparedRules:
    """Rules, schema and groups, parsed once. Nothing is forbidden but what a rule forbids."""

    def __init__(
        self, policies: Mapping[str, str], schema_text: str, entities_text: str, windows: Windows
    ) -> None:
        """Prepare `policies`, Cedar's JSON of each by its id."""
        static = {policy_id: json.loads(text) for policy_id, text in policies.items()}
        opening = json.loads(cedarpy.policies_to_json_str(_PERMIT))["staticPolicies"]
        static[_OPEN] = next(iter(opening.values()))
        joined = {"staticPolicies": static, "templates": {}, "templateLinks": []}
        self._policies = cedarpy.PolicySet.from_json_str(json.dumps(joined))
        self._schema = cedarpy.Schema.from_str(schema_text)
        self._groups = _groups(entities_text)
        self._windows = windows

    def met(self, act: HouseAct) -> tuple[Met, ...]:
        """Return what the rules say of each provider, in the act's order.

        Raises:
            ValueError: the facts do not follow the bundle's schema.
        """
        found = json.dumps(_entities(act, self._groups, self._windows))
        entities = cedarpy.Entities.from_json_str(found, self._schema)
        requests = [_request(act, provider.agency) for provider in act.providers]
        return tuple(map(_met, cedarpy.is_authorized_batch(requests, self._policies, entities)))


def judges_lists(schema_text: str) -> bool:
    """Tell whether a schema describes hot lists at all; one made before there were such rules doesn't."""
    return _ACTION_LIST.search(schema_text) is not None


def probe_fault(schema: cedarpy.Schema, schema_text: str, entities_text: str) -> str:
    """Return what of the acts that are judged a schema does not describe; empty if it describes them all."""
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    facts: dict[str, object] = {
        "agency": "probe",
        "providers": (AskedOf(agency="probe", kind="local"),),
        "roles": frozenset({"probe"}),
        "trained_at": instant,
        "reason": "CRIMINAL_INVESTIGATION",
        "plate_state": "CA",
        "plate_country": "US",
        "now": instant,
    }
    later = instant + timedelta(days=1)
    question = HouseQuestion(**facts, period_start=instant, period_end=later)  # type: ignore[arg-type]
    listing = HouseListing(
        **facts,  # type: ignore[arg-type]
        act=LIST_ACTS[0],
        case_current=True,
        valid_from=instant,
        valid_until=later,
        expires_at=later,
        reviewed_at=instant,
    )
    acts: list[tuple[str, str, HouseAct]] = [(ASK, "Query", question)]
    if judges_lists(schema_text):
        acts.append((LIST, "Listing", listing))
    for action, name, act in acts:
        try:
            entities = cedarpy.Entities.from_json_str(
                json.dumps(_entities(act, _groups(entities_text), Windows())), schema
            )
        except ValueError as error:
            return f"its `Person`, `Provider` or `{name}` has other attributes ({_line(error)})"
        result = cedarpy.is_authorized(_request(act, "probe"), "", entities, schema)
        for fault in result.diagnostics.errors:
            return f"action `{action}`: {_line(fault)}"
    return ""


def _line(error: object) -> str:
    return " ".join(str(error).split())


def _groups(entities_text: str) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = json.loads(entities_text)
    return found


def _request(act: HouseAct, provider: str) -> dict[str, object]:
    action, name, entity = (
        (LIST, "listing", _LISTING) if isinstance(act, HouseListing) else (ASK, "query", _QUERY)
    )
    return {
        "principal": _PERSON,
        "action": {"type": "Action", "id": action},
        "resource": {"type": PROVIDER, "id": provider},
        "context": {name: {"__entity": entity}},
    }


def _met(result: cedarpy.AuthzResult) -> Met:
    errors = [_ERROR.search(str(error)) for error in result.diagnostics.errors]
    failed = {found.group(1) if found else "request" for found in errors}
    reasons = {str(reason) for reason in result.diagnostics.reasons}
    if result.allowed is not True and not reasons:
        failed.add("request")  # neither a rule nor what is open without one: not a judgement
    return Met(rules=tuple(sorted(reasons - {_OPEN})), errors=tuple(sorted(failed)))


def _entities(
    act: HouseAct, groups: Iterable[Mapping[str, object]], windows: Windows
) -> list[Mapping[str, object]]:
    parents: dict[str, object] = {}
    entities: list[Mapping[str, object]] = []
    for entity in groups:
        uid = entity["uid"]
        assert isinstance(uid, dict)
        if uid["type"] == PROVIDER:
            parents[str(uid["id"])] = entity.get("parents", [])
        else:
            entities.append(entity)
    for provider in act.providers:
        entities.append(
            {
                "uid": {"type": PROVIDER, "id": provider.agency},
                "attrs": {"kind": _ref("AgencyKind", provider.kind)},
                "parents": parents.get(provider.agency, []),
            }
        )
    entities.append({"uid": _PERSON, "attrs": _person(act), "parents": []})
    match act:
        case HouseQuestion():
            entities.append({"uid": _QUERY, "attrs": _query(act, windows), "parents": []})
        case HouseListing():
            entities.append({"uid": _LISTING, "attrs": _listing(act, windows), "parents": []})
        case _:
            raise ValueError("an act that house rules don't know")
    return entities


def _person(act: HouseAct) -> dict[str, object]:
    attributes: dict[str, object] = {
        "office": act.office,
        "dutyStation": act.duty_station,
        "roles": sorted(act.roles),
        "rulesAccepted": act.rules_accepted,
        "goodStanding": act.good_standing,
        "protectionsAttested": act.protections_attested,
    }
    if act.trained_at is not None and act.trained_at <= act.now + SKEW:
        attributes["trainedDaysAgo"] = max(0, (act.now - act.trained_at) // timedelta(days=1))
    return attributes


def _query(question: HouseQuestion, windows: Windows) -> dict[str, object]:
    start, now, offence, stated = (
        question.period_start,
        question.now,
        question.offence,
        question.limitation_years,
    )
    where = jurisdiction_of(question.agency_kind, question.agency_state)
    years = windows.limitation(offence=offence, jurisdiction=where, stated_years=stated).years
    return {
        "reason": _ref("Reason", question.reason),
        "onBehalfOf": question.on_behalf_of,
        "onBehalfNamed": question.on_behalf_named,
        "hasArea": question.has_area,
        "periodDays": _days(question.period_end - question.period_start),
        "oldestDaysAgo": max(0, _days(question.now - question.period_start)),
        "yearsBack": years_back(start, now, windows),
        "limitationYears": question.limitation_years,
        "limitationKnown": stated > 0 or (offence, where) in windows.statutes,
        "beyondLimitation": years is not None and start < windows.years_before(now, years),
        "offence": question.offence,
        "plateState": question.plate_state,
        "plateCountry": question.plate_country,
        "readings": question.readings,
        "reasonVague": question.reason_vague,
        "borderNexus": question.border_nexus,
    }


def _listing(listing: HouseListing, windows: Windows) -> dict[str, object]:
    left, nothing = listing.expires_at - listing.now, timedelta()
    attributes: dict[str, object] = {
        "act": _ref("ListAct", listing.act),
        "reason": _ref("Reason", listing.reason),
        "plateState": listing.plate_state,
        "plateCountry": listing.plate_country,
        "caseNamed": listing.case_named,
        "trackingNumber": listing.tracking_number,
        "trackingIsNumber": listing.tracking_is_number,
        "freeText": listing.free_text,
        "otherColumns": listing.other_columns,
        "documented": listing.documented,
        "needAffirmed": listing.need_affirmed,
        "validYears": years_back(listing.valid_from, listing.valid_until, windows),
        "expired": left <= nothing,
        "expiresInDays": _days(max(left, nothing)),
        "expiredDaysAgo": _days(max(-left, nothing)),
        "reviewedYearsAgo": years_back(min(listing.reviewed_at, listing.now), listing.now, windows),
        "batch": listing.batch,
    }
    if listing.case_current is not None:
        attributes["caseCurrent"] = listing.case_current
    return attributes


def _days(span: timedelta) -> int:
    """Return whole days, rounded up."""
    return math.ceil(span / timedelta(days=1))


def _ref(entity_type: str, entity_id: str) -> dict[str, object]:
    return {"__entity": {"type": entity_type, "id": entity_id}}
