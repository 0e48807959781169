"""The gateway's exceptions and the one catalogue that turns them into statuses.

    GatewayError
    ├── ConfigInvalid        the configuration cannot be used
    │   └── HomeInUse        another gateway, of this process or another, has this home open
    ├── RequestInvalid       fields of a request are missing or wrong (Q1-Q3)
    ├── Unauthenticated      no assertion, or one that does not verify
    ├── SubjectRefused       the user may not ask (Q4)
    ├── HouseRulesStop       the agency's own house rules stop the question, so nobody was asked
    ├── AuditUnavailable     the log cannot be written, so nothing is asked
    ├── BrokerUnavailable    there is no link to the broker
    ├── RosterOutOfDate      the roster has expired, so nobody is trusted
    ├── NotAMember           the roster does not let this agency ask
    ├── KeyRevoked           this gateway's own statement key or certificate is revoked
    ├── Busy                 a limit is reached; try again later
    │   ├── UserBusy         the user has too many exchanges in flight
    │   ├── AgencyBusy       the broker takes no more exchanges of this agency now
    │   ├── CallerTooSlow    the caller did not read its answer in time
    │   └── HoldsTooMuch     this gateway holds too much, and this exchange most of it
    ├── NotAnAuditor         the user may not retrieve records (L6)
    ├── ProviderUnreachable  there is no session with the provider, or it ended
    ├── ProviderBusy         the provider gives no records now (a kind of Busy)
    ├── ProviderUnable       the provider's log can't be read or written, or it refuses the request
    ├── RecordsUnverifiable  the records that a provider sent do not verify, or are not whole
    ├── RequesterClosed      asked through the library after it was closed
    └── Shortfall            there is an answer that accounts for everyone, and it is not what was asked for
        ├── NobodyToAsk      no provider could be asked
        ├── NobodyAnswered   no provider gave an outcome that it signed itself
        └── Incomplete       the completeness that was asked for was not met

Messages of these exceptions are public: they name fields and concepts and never hold a value
that the user entered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from comity.v1 import result_pb2

if TYPE_CHECKING:
    from comity.gateway.library.answers import Answer

ERROR_DOMAIN = "comity"


class GatewayError(Exception):
    """Root of everything the gateway raises; its text may cross the wire."""

    code: int = code_pb2.INTERNAL
    reason: str = "INTERNAL"


class ConfigInvalid(GatewayError):
    """The configuration cannot be used; the text names file and key."""

    reason = "CONFIG_INVALID"


class HomeInUse(ConfigInvalid):
    """Another gateway, of this process or another, writes the log of this home: one log, one writer."""

    reason = "HOME_IN_USE"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """A field of a request and what would have been right; never the value itself."""

    field: str
    description: str


class RequestInvalid(GatewayError):
    """Fields of a request are missing or wrong; each is named (Q1, Q2, Q3)."""

    code = code_pb2.INVALID_ARGUMENT
    reason = "REQUEST_INVALID"

    def __init__(self, violations: tuple[FieldViolation, ...]) -> None:
        names = ", ".join(f"`{violation.field}`" for violation in violations)
        super().__init__(f"the request has fields that are missing or wrong: {names}")
        self.violations = violations


class Unauthenticated(GatewayError):
    """The caller shows no assertion, or one that does not verify."""

    code = code_pb2.UNAUTHENTICATED
    reason = "ASSERTION_INVALID"


class SubjectRefused(GatewayError):
    """The user may not ask (Q4)."""

    code = code_pb2.PERMISSION_DENIED
    reason = "SUBJECT_REFUSED"


class HouseRulesStop(GatewayError):
    """The agency's own house rules stop the question (design 6): nobody was asked."""

    code = code_pb2.PERMISSION_DENIED
    reason = "HOUSE_RULES"

    def __init__(self, rules: tuple[result_pb2.RuleCitation, ...]) -> None:
        told = "; ".join(f"{rule.text} ({rule.document})" for rule in rules)
        super().__init__(f"your agency's house rules stop this question, so nobody was asked: {told}")
        self.rules = rules


class AuditUnavailable(GatewayError):
    """The log cannot be written, so nothing was asked or shown."""

    code = code_pb2.UNAVAILABLE
    reason = "AUDIT_UNAVAILABLE"


class BrokerUnavailable(GatewayError):
    """There is no link to the broker, so nothing was asked."""

    code = code_pb2.UNAVAILABLE
    reason = "BROKER_UNAVAILABLE"


class RosterOutOfDate(GatewayError):
    """The roster, or its timestamp, is past its time: nothing leaves until the authority signs a new one."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "ROSTER_EXPIRED"


class NotAMember(GatewayError):
    """This agency is in the roster no more, is suspended, or may not ask."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "NOT_A_MEMBER"


class KeyRevoked(GatewayError):
    """This gateway's own statement key or certificate is revoked: nobody takes what it asks by it."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "OWN_KEY_REVOKED"

    def __init__(self, so: str) -> None:
        super().__init__(
            f"this gateway's statement key or certificate is revoked, so {so}: an administrator replaces it "
            "(comity certs rotate statement-key, comity certs renew)"
        )


class Busy(GatewayError):
    """A limit is reached; the caller may try again after `retry_seconds`.

    The texts name the limit and never the user.
    """

    code = code_pb2.RESOURCE_EXHAUSTED
    reason = "BUSY"
    retry_seconds = 1


class UserBusy(Busy):
    """The user on whose behalf the caller asks has too many exchanges in flight."""

    reason = "USER_BUSY"


class AgencyBusy(Busy):
    """The broker does not take more exchanges of this agency, or of anybody, at present."""

    reason = "AGENCY_BUSY"


class CallerTooSlow(Busy):
    """The caller did not read its answer in the time after the deadline; the rest of it is let go."""

    reason = "CALLER_TOO_SLOW"


class HoldsTooMuch(Busy):
    """The gateway holds more of answers than it may, and this exchange held most of it."""

    reason = "HOLDS_TOO_MUCH"
    retry_seconds = 5


class NotAnAuditor(GatewayError):
    """The user has not the role that may retrieve records (L6)."""

    code = code_pb2.PERMISSION_DENIED
    reason = "NOT_AN_AUDITOR"


class ProviderUnreachable(GatewayError):
    """There is no session with the provider, or it ended before all came."""

    code = code_pb2.UNAVAILABLE
    reason = "PROVIDER_UNREACHABLE"


class ProviderBusy(Busy):
    """The provider answers another request of this agency, or has answered too many of late."""

    reason = "PROVIDER_BUSY"
    retry_seconds = 300


class ProviderUnable(GatewayError):
    """The provider can't give its records now: its log can't be written or read."""

    code = code_pb2.UNAVAILABLE
    reason = "PROVIDER_UNABLE"


class RecordsUnverifiable(GatewayError):
    """What the provider sent as records does not verify, or is not whole."""

    code = code_pb2.DATA_LOSS
    reason = "RECORDS_UNVERIFIABLE"


class RequesterClosed(GatewayError):
    """A library's requester was used after it was closed; nothing was asked, or nothing more is shown."""

    code = code_pb2.CANCELLED
    reason = "REQUESTER_CLOSED"


class Shortfall(GatewayError):
    """There is an answer that accounts for everyone, and it is not what was asked for."""

    answer: Answer | None = None
    """The answer, with every verified outcome; set by the Python library."""


class NobodyToAsk(Shortfall):
    """No provider could be asked."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "NOBODY_TO_ASK"


class NobodyAnswered(Shortfall):
    """No provider gave an outcome that it signed itself."""

    code = code_pb2.UNAVAILABLE
    reason = "NOBODY_ANSWERED"


class Incomplete(Shortfall):
    """The completeness that was asked for was not met."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "INCOMPLETE"


def to_status(error: GatewayError) -> status_pb2.Status:
    """Return the status that crosses the wire, with `google.rpc` details."""
    packed = []
    if isinstance(error, RequestInvalid):
        bad = error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=item.field, description=item.description)
                for item in error.violations
            ]
        )
        packed.append(_pack(bad))
    if isinstance(error, HouseRulesStop):
        packed += [_pack(rule) for rule in error.rules]
    if isinstance(error, Busy):
        packed.append(
            _pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=error.retry_seconds)))
        )
    packed.append(_pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)))
    return status_pb2.Status(code=error.code, message=str(error), details=packed)


def to_grpc_code(error: GatewayError) -> grpc.StatusCode:
    """Return grpc's own enumeration value of an error's code."""
    return next(code for code in grpc.StatusCode if code.value[0] == error.code)


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
