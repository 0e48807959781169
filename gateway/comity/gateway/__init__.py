"""The requester's end: the API for agency systems; sign, ask, verify, account.

What stands here is the Python library, with which a program asks without a gateway process beside it
(`docs/library.md`)::

    with connect("/srv/comity/sheriff/gateway") as gateway:
        answer = gateway.ask(question, assertion=assertion)

`connect` is for scripts and threads, `Requester.open` for `asyncio`. Every other module of this package is
the gateway's inside.
"""

from comity.gateway.errors import (
    AgencyBusy,
    AuditUnavailable,
    BrokerUnavailable,
    Busy,
    CallerTooSlow,
    ConfigInvalid,
    FieldViolation,
    GatewayError,
    HoldsTooMuch,
    HomeInUse,
    HouseRulesStop,
    Incomplete,
    KeyRevoked,
    NobodyAnswered,
    NobodyToAsk,
    NotAMember,
    RequesterClosed,
    RequestInvalid,
    RosterOutOfDate,
    Shortfall,
    SubjectRefused,
    Unauthenticated,
    UserBusy,
)
from comity.gateway.library.answers import Answer, Citation, Finding, Obligation, Outcome, Part, Plan
from comity.gateway.library.connection import Connection, connect
from comity.gateway.library.questions import Area, Completeness, Question
from comity.gateway.library.reads import Camera, ImageReference, Location, Marking, Read, Vehicle
from comity.gateway.library.requester import Requester
from comity.gateway.library.vocabulary import (
    Attestation,
    Element,
    FindingKind,
    MarkingScheme,
    NotAskedReason,
    OutcomeKind,
    Reason,
)

__all__ = [
    "AgencyBusy",
    "Answer",
    "Area",
    "Attestation",
    "AuditUnavailable",
    "BrokerUnavailable",
    "Busy",
    "CallerTooSlow",
    "Camera",
    "Citation",
    "Completeness",
    "ConfigInvalid",
    "Connection",
    "Element",
    "FieldViolation",
    "Finding",
    "FindingKind",
    "GatewayError",
    "HoldsTooMuch",
    "HomeInUse",
    "HouseRulesStop",
    "ImageReference",
    "Incomplete",
    "KeyRevoked",
    "Location",
    "Marking",
    "MarkingScheme",
    "NobodyAnswered",
    "NobodyToAsk",
    "NotAMember",
    "NotAskedReason",
    "Obligation",
    "Outcome",
    "OutcomeKind",
    "Part",
    "Plan",
    "Question",
    "Read",
    "Reason",
    "RequestInvalid",
    "Requester",
    "RequesterClosed",
    "RosterOutOfDate",
    "Shortfall",
    "SubjectRefused",
    "Unauthenticated",
    "UserBusy",
    "Vehicle",
    "connect",
]
