import datetime

from comity.v1 import audit_pb2 as _audit_pb2
from comity.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Stamp(_message.Message):
    __slots__ = ("exchange_id", "provider", "ceiling_marking", "receipt_digest", "stamped_at")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    CEILING_MARKING_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    STAMPED_AT_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    provider: str
    ceiling_marking: bytes
    receipt_digest: bytes
    stamped_at: _timestamp_pb2.Timestamp
    def __init__(self, exchange_id: _Optional[bytes] = ..., provider: _Optional[str] = ..., ceiling_marking: _Optional[bytes] = ..., receipt_digest: _Optional[bytes] = ..., stamped_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("nonce", "exchange_id", "requester", "order_digest", "entries", "routed_at", "closed_at", "promise")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    ORDER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ROUTED_AT_FIELD_NUMBER: _ClassVar[int]
    CLOSED_AT_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    exchange_id: bytes
    requester: str
    order_digest: bytes
    entries: _containers.RepeatedCompositeFieldContainer[AccountEntry]
    routed_at: _timestamp_pb2.Timestamp
    closed_at: _timestamp_pb2.Timestamp
    promise: _audit_pb2.LogPromise
    def __init__(self, nonce: _Optional[bytes] = ..., exchange_id: _Optional[bytes] = ..., requester: _Optional[str] = ..., order_digest: _Optional[bytes] = ..., entries: _Optional[_Iterable[_Union[AccountEntry, _Mapping]]] = ..., routed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., closed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., promise: _Optional[_Union[_audit_pb2.LogPromise, _Mapping]] = ...) -> None: ...

class AccountEntry(_message.Message):
    __slots__ = ("provider", "kind", "stamp", "announced")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCED_FIELD_NUMBER: _ClassVar[int]
    provider: str
    kind: _common_pb2.OutcomeKind
    stamp: Stamp
    announced: bool
    def __init__(self, provider: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.OutcomeKind, str]] = ..., stamp: _Optional[_Union[Stamp, _Mapping]] = ..., announced: bool = ...) -> None: ...
