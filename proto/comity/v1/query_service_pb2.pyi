import datetime

from comity.v1 import account_pb2 as _account_pb2
from comity.v1 import common_pb2 as _common_pb2
from comity.v1 import envelope_pb2 as _envelope_pb2
from comity.v1 import query_pb2 as _query_pb2
from comity.v1 import result_pb2 as _result_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NotAskedReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOT_ASKED_REASON_UNSPECIFIED: _ClassVar[NotAskedReason]
    NOT_ASKED_REASON_NO_AGREEMENT: _ClassVar[NotAskedReason]
    NOT_ASKED_REASON_SUSPENDED: _ClassVar[NotAskedReason]
    NOT_ASKED_REASON_EXCLUDED: _ClassVar[NotAskedReason]
    NOT_ASKED_REASON_HOUSE_RULES: _ClassVar[NotAskedReason]
    NOT_ASKED_REASON_NOT_A_PROVIDER: _ClassVar[NotAskedReason]
    NOT_ASKED_REASON_LOG_CONTRADICTED: _ClassVar[NotAskedReason]

class Attestation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTESTATION_UNSPECIFIED: _ClassVar[Attestation]
    ATTESTATION_PROVIDER: _ClassVar[Attestation]
    ATTESTATION_BROKER: _ClassVar[Attestation]
    ATTESTATION_GATEWAY: _ClassVar[Attestation]

class FindingKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINDING_KIND_UNSPECIFIED: _ClassVar[FindingKind]
    FINDING_KIND_NO_ACCOUNT: _ClassVar[FindingKind]
    FINDING_KIND_NOT_AN_ACCOUNT: _ClassVar[FindingKind]
    FINDING_KIND_ACCOUNT_AGAINST_ORDER: _ClassVar[FindingKind]
    FINDING_KIND_NOT_ITS_WORD: _ClassVar[FindingKind]
    FINDING_KIND_TWO_ACCOUNTS: _ClassVar[FindingKind]
    FINDING_KIND_TOO_EARLY: _ClassVar[FindingKind]
    FINDING_KIND_NOT_CANCELLED: _ClassVar[FindingKind]
    FINDING_KIND_RECEIPT_DENIED: _ClassVar[FindingKind]
    FINDING_KIND_OTHER_RECEIPT: _ClassVar[FindingKind]
    FINDING_KIND_STAMP_AGAINST_RECEIPT: _ClassVar[FindingKind]
    FINDING_KIND_STAMP_AGAINST_ACCOUNT: _ClassVar[FindingKind]
    FINDING_KIND_RESULT_WITHHELD: _ClassVar[FindingKind]
    FINDING_KIND_TWO_RECEIPTS: _ClassVar[FindingKind]
    FINDING_KIND_HAD_A_LINK: _ClassVar[FindingKind]
NOT_ASKED_REASON_UNSPECIFIED: NotAskedReason
NOT_ASKED_REASON_NO_AGREEMENT: NotAskedReason
NOT_ASKED_REASON_SUSPENDED: NotAskedReason
NOT_ASKED_REASON_EXCLUDED: NotAskedReason
NOT_ASKED_REASON_HOUSE_RULES: NotAskedReason
NOT_ASKED_REASON_NOT_A_PROVIDER: NotAskedReason
NOT_ASKED_REASON_LOG_CONTRADICTED: NotAskedReason
ATTESTATION_UNSPECIFIED: Attestation
ATTESTATION_PROVIDER: Attestation
ATTESTATION_BROKER: Attestation
ATTESTATION_GATEWAY: Attestation
FINDING_KIND_UNSPECIFIED: FindingKind
FINDING_KIND_NO_ACCOUNT: FindingKind
FINDING_KIND_NOT_AN_ACCOUNT: FindingKind
FINDING_KIND_ACCOUNT_AGAINST_ORDER: FindingKind
FINDING_KIND_NOT_ITS_WORD: FindingKind
FINDING_KIND_TWO_ACCOUNTS: FindingKind
FINDING_KIND_TOO_EARLY: FindingKind
FINDING_KIND_NOT_CANCELLED: FindingKind
FINDING_KIND_RECEIPT_DENIED: FindingKind
FINDING_KIND_OTHER_RECEIPT: FindingKind
FINDING_KIND_STAMP_AGAINST_RECEIPT: FindingKind
FINDING_KIND_STAMP_AGAINST_ACCOUNT: FindingKind
FINDING_KIND_RESULT_WITHHELD: FindingKind
FINDING_KIND_TWO_RECEIPTS: FindingKind
FINDING_KIND_HAD_A_LINK: FindingKind

class SearchRequest(_message.Message):
    __slots__ = ("plate", "period", "reason", "case_number", "reason_text", "for_self", "on_behalf_of", "providers", "completeness", "elements", "area", "timeout", "retry_of", "limitation_years", "border_nexus", "offence", "readings")
    PLATE_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CASE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_TEXT_FIELD_NUMBER: _ClassVar[int]
    FOR_SELF_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    COMPLETENESS_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    LIMITATION_YEARS_FIELD_NUMBER: _ClassVar[int]
    BORDER_NEXUS_FIELD_NUMBER: _ClassVar[int]
    OFFENCE_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    plate: _common_pb2.Plate
    period: _common_pb2.Period
    reason: _common_pb2.ReasonCode
    case_number: str
    reason_text: str
    for_self: bool
    on_behalf_of: str
    providers: _containers.RepeatedScalarFieldContainer[str]
    completeness: _query_pb2.Completeness
    elements: _containers.RepeatedScalarFieldContainer[_common_pb2.Element]
    area: _common_pb2.Area
    timeout: _duration_pb2.Duration
    retry_of: bytes
    limitation_years: int
    border_nexus: str
    offence: str
    readings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, plate: _Optional[_Union[_common_pb2.Plate, _Mapping]] = ..., period: _Optional[_Union[_common_pb2.Period, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.ReasonCode, str]] = ..., case_number: _Optional[str] = ..., reason_text: _Optional[str] = ..., for_self: bool = ..., on_behalf_of: _Optional[str] = ..., providers: _Optional[_Iterable[str]] = ..., completeness: _Optional[_Union[_query_pb2.Completeness, _Mapping]] = ..., elements: _Optional[_Iterable[_Union[_common_pb2.Element, str]]] = ..., area: _Optional[_Union[_common_pb2.Area, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., retry_of: _Optional[bytes] = ..., limitation_years: _Optional[int] = ..., border_nexus: _Optional[str] = ..., offence: _Optional[str] = ..., readings: _Optional[_Iterable[str]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("plan", "outcome", "page", "summary")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    plan: Plan
    outcome: ProviderOutcome
    page: ProviderPage
    summary: Summary
    def __init__(self, plan: _Optional[_Union[Plan, _Mapping]] = ..., outcome: _Optional[_Union[ProviderOutcome, _Mapping]] = ..., page: _Optional[_Union[ProviderPage, _Mapping]] = ..., summary: _Optional[_Union[Summary, _Mapping]] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("exchange_id", "asked", "not_asked", "deadline", "folded_plate", "house_warnings")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    NOT_ASKED_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    FOLDED_PLATE_FIELD_NUMBER: _ClassVar[int]
    HOUSE_WARNINGS_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    asked: _containers.RepeatedScalarFieldContainer[str]
    not_asked: _containers.RepeatedCompositeFieldContainer[NotAsked]
    deadline: _timestamp_pb2.Timestamp
    folded_plate: str
    house_warnings: _containers.RepeatedCompositeFieldContainer[_result_pb2.RuleCitation]
    def __init__(self, exchange_id: _Optional[bytes] = ..., asked: _Optional[_Iterable[str]] = ..., not_asked: _Optional[_Iterable[_Union[NotAsked, _Mapping]]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., folded_plate: _Optional[str] = ..., house_warnings: _Optional[_Iterable[_Union[_result_pb2.RuleCitation, _Mapping]]] = ...) -> None: ...

class NotAsked(_message.Message):
    __slots__ = ("agency", "reason", "text", "house_rules")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    HOUSE_RULES_FIELD_NUMBER: _ClassVar[int]
    agency: str
    reason: NotAskedReason
    text: str
    house_rules: _containers.RepeatedCompositeFieldContainer[_result_pb2.RuleCitation]
    def __init__(self, agency: _Optional[str] = ..., reason: _Optional[_Union[NotAskedReason, str]] = ..., text: _Optional[str] = ..., house_rules: _Optional[_Iterable[_Union[_result_pb2.RuleCitation, _Mapping]]] = ...) -> None: ...

class ProviderOutcome(_message.Message):
    __slots__ = ("agency", "kind", "attested_by", "detail", "receipt", "stamp", "text", "page_count", "elapsed_ms")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ATTESTED_BY_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    agency: str
    kind: _common_pb2.OutcomeKind
    attested_by: Attestation
    detail: _result_pb2.ResultDetail
    receipt: _envelope_pb2.Envelope
    stamp: _account_pb2.Stamp
    text: str
    page_count: int
    elapsed_ms: int
    def __init__(self, agency: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.OutcomeKind, str]] = ..., attested_by: _Optional[_Union[Attestation, str]] = ..., detail: _Optional[_Union[_result_pb2.ResultDetail, _Mapping]] = ..., receipt: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ..., stamp: _Optional[_Union[_account_pb2.Stamp, _Mapping]] = ..., text: _Optional[str] = ..., page_count: _Optional[int] = ..., elapsed_ms: _Optional[int] = ...) -> None: ...

class ProviderPage(_message.Message):
    __slots__ = ("agency", "page")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    agency: str
    page: _result_pb2.Page
    def __init__(self, agency: _Optional[str] = ..., page: _Optional[_Union[_result_pb2.Page, _Mapping]] = ...) -> None: ...

class Summary(_message.Message):
    __slots__ = ("exchange_id", "providers", "marking", "complete", "incomplete_text", "account", "findings", "caveats", "found")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    MARKING_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    INCOMPLETE_TEXT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    CAVEATS_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    providers: _containers.RepeatedCompositeFieldContainer[ProviderCount]
    marking: _result_pb2.Marking
    complete: bool
    incomplete_text: str
    account: _envelope_pb2.Envelope
    findings: _containers.RepeatedScalarFieldContainer[str]
    caveats: _containers.RepeatedScalarFieldContainer[str]
    found: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, exchange_id: _Optional[bytes] = ..., providers: _Optional[_Iterable[_Union[ProviderCount, _Mapping]]] = ..., marking: _Optional[_Union[_result_pb2.Marking, _Mapping]] = ..., complete: bool = ..., incomplete_text: _Optional[str] = ..., account: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ..., findings: _Optional[_Iterable[str]] = ..., caveats: _Optional[_Iterable[str]] = ..., found: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("kind", "provider", "suspects", "text", "evidence")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    SUSPECTS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    kind: FindingKind
    provider: str
    suspects: _containers.RepeatedScalarFieldContainer[str]
    text: str
    evidence: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, kind: _Optional[_Union[FindingKind, str]] = ..., provider: _Optional[str] = ..., suspects: _Optional[_Iterable[str]] = ..., text: _Optional[str] = ..., evidence: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ProviderCount(_message.Message):
    __slots__ = ("agency", "kind", "read_count", "attested_by")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    READ_COUNT_FIELD_NUMBER: _ClassVar[int]
    ATTESTED_BY_FIELD_NUMBER: _ClassVar[int]
    agency: str
    kind: _common_pb2.OutcomeKind
    read_count: int
    attested_by: Attestation
    def __init__(self, agency: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.OutcomeKind, str]] = ..., read_count: _Optional[int] = ..., attested_by: _Optional[_Union[Attestation, str]] = ...) -> None: ...
