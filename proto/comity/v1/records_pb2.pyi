import datetime

from comity.v1 import audit_pb2 as _audit_pb2
from comity.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordsRefusal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDS_REFUSAL_UNSPECIFIED: _ClassVar[RecordsRefusal]
    RECORDS_REFUSAL_MALFORMED: _ClassVar[RecordsRefusal]
    RECORDS_REFUSAL_LIMIT: _ClassVar[RecordsRefusal]
    RECORDS_REFUSAL_AUDIT_UNAVAILABLE: _ClassVar[RecordsRefusal]
RECORDS_REFUSAL_UNSPECIFIED: RecordsRefusal
RECORDS_REFUSAL_MALFORMED: RecordsRefusal
RECORDS_REFUSAL_LIMIT: RecordsRefusal
RECORDS_REFUSAL_AUDIT_UNAVAILABLE: RecordsRefusal

class RecordsStatement(_message.Message):
    __slots__ = ("nonce", "request_id", "provider", "requester", "period", "count", "root", "checkpoint", "made_at", "promise")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    request_id: bytes
    provider: str
    requester: str
    period: _common_pb2.Period
    count: int
    root: bytes
    checkpoint: bytes
    made_at: _timestamp_pb2.Timestamp
    promise: _audit_pb2.LogPromise
    def __init__(self, nonce: _Optional[bytes] = ..., request_id: _Optional[bytes] = ..., provider: _Optional[str] = ..., requester: _Optional[str] = ..., period: _Optional[_Union[_common_pb2.Period, _Mapping]] = ..., count: _Optional[int] = ..., root: _Optional[bytes] = ..., checkpoint: _Optional[bytes] = ..., made_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., promise: _Optional[_Union[_audit_pb2.LogPromise, _Mapping]] = ...) -> None: ...

class LogRecord(_message.Message):
    __slots__ = ("index", "entry", "path", "openings", "kept")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPENINGS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    index: int
    entry: bytes
    path: _containers.RepeatedScalarFieldContainer[bytes]
    openings: _containers.RepeatedCompositeFieldContainer[_audit_pb2.Opening]
    kept: _containers.RepeatedCompositeFieldContainer[KeptBeside]
    def __init__(self, index: _Optional[int] = ..., entry: _Optional[bytes] = ..., path: _Optional[_Iterable[bytes]] = ..., openings: _Optional[_Iterable[_Union[_audit_pb2.Opening, _Mapping]]] = ..., kept: _Optional[_Iterable[_Union[KeptBeside, _Mapping]]] = ...) -> None: ...

class KeptBeside(_message.Message):
    __slots__ = ("name", "payload")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    name: str
    payload: bytes
    def __init__(self, name: _Optional[str] = ..., payload: _Optional[bytes] = ...) -> None: ...
