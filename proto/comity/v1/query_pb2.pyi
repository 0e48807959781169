import datetime

from comity.v1 import common_pb2 as _common_pb2
from comity.v1 import subject_pb2 as _subject_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Query(_message.Message):
    __slots__ = ("nonce", "exchange_id", "requester", "provider", "plate", "period", "reason", "case_number", "reason_text", "on_behalf_of", "elements", "area", "subject", "made_at", "retry_of", "limitation_years", "offence", "readings")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CASE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_TEXT_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    AREA_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_FIELD_NUMBER: _ClassVar[int]
    LIMITATION_YEARS_FIELD_NUMBER: _ClassVar[int]
    OFFENCE_FIELD_NUMBER: _ClassVar[int]
    READINGS_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    exchange_id: bytes
    requester: str
    provider: str
    plate: _common_pb2.Plate
    period: _common_pb2.Period
    reason: _common_pb2.ReasonCode
    case_number: str
    reason_text: str
    on_behalf_of: str
    elements: _containers.RepeatedScalarFieldContainer[_common_pb2.Element]
    area: _common_pb2.Area
    subject: _subject_pb2.SubjectAssertion
    made_at: _timestamp_pb2.Timestamp
    retry_of: bytes
    limitation_years: int
    offence: str
    readings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nonce: _Optional[bytes] = ..., exchange_id: _Optional[bytes] = ..., requester: _Optional[str] = ..., provider: _Optional[str] = ..., plate: _Optional[_Union[_common_pb2.Plate, _Mapping]] = ..., period: _Optional[_Union[_common_pb2.Period, _Mapping]] = ..., reason: _Optional[_Union[_common_pb2.ReasonCode, str]] = ..., case_number: _Optional[str] = ..., reason_text: _Optional[str] = ..., on_behalf_of: _Optional[str] = ..., elements: _Optional[_Iterable[_Union[_common_pb2.Element, str]]] = ..., area: _Optional[_Union[_common_pb2.Area, _Mapping]] = ..., subject: _Optional[_Union[_subject_pb2.SubjectAssertion, _Mapping]] = ..., made_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_of: _Optional[bytes] = ..., limitation_years: _Optional[int] = ..., offence: _Optional[str] = ..., readings: _Optional[_Iterable[str]] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("exchange_id", "requester", "issued_at", "deadline", "roster_version", "root", "leaf_count", "nonce")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    LEAF_COUNT_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    requester: str
    issued_at: _timestamp_pb2.Timestamp
    deadline: _timestamp_pb2.Timestamp
    roster_version: int
    root: bytes
    leaf_count: int
    nonce: bytes
    def __init__(self, exchange_id: _Optional[bytes] = ..., requester: _Optional[str] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., roster_version: _Optional[int] = ..., root: _Optional[bytes] = ..., leaf_count: _Optional[int] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class OrderLeaf(_message.Message):
    __slots__ = ("provider", "query_digest", "salt")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    QUERY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    provider: str
    query_digest: bytes
    salt: bytes
    def __init__(self, provider: _Optional[str] = ..., query_digest: _Optional[bytes] = ..., salt: _Optional[bytes] = ...) -> None: ...

class OrderInclusion(_message.Message):
    __slots__ = ("leaf", "index", "path")
    LEAF_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    leaf: bytes
    index: int
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, leaf: _Optional[bytes] = ..., index: _Optional[int] = ..., path: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Completeness(_message.Message):
    __slots__ = ("all", "quorum", "required", "best_effort")
    ALL_FIELD_NUMBER: _ClassVar[int]
    QUORUM_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    BEST_EFFORT_FIELD_NUMBER: _ClassVar[int]
    all: bool
    quorum: int
    required: RequiredProviders
    best_effort: bool
    def __init__(self, all: bool = ..., quorum: _Optional[int] = ..., required: _Optional[_Union[RequiredProviders, _Mapping]] = ..., best_effort: bool = ...) -> None: ...

class RequiredProviders(_message.Message):
    __slots__ = ("agencies",)
    AGENCIES_FIELD_NUMBER: _ClassVar[int]
    agencies: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agencies: _Optional[_Iterable[str]] = ...) -> None: ...
