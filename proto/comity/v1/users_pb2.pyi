import datetime

from comity.v1 import envelope_pb2 as _envelope_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AccessReturns(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCESS_RETURNS_UNSPECIFIED: _ClassVar[AccessReturns]
    ACCESS_RETURNS_RECERTIFICATION: _ClassVar[AccessReturns]
    ACCESS_RETURNS_LENGTH: _ClassVar[AccessReturns]
    ACCESS_RETURNS_EITHER: _ClassVar[AccessReturns]
    ACCESS_RETURNS_BOTH: _ClassVar[AccessReturns]

class UserActKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USER_ACT_KIND_UNSPECIFIED: _ClassVar[UserActKind]
    USER_ACT_KIND_TERMINATION: _ClassVar[UserActKind]
    USER_ACT_KIND_READMISSION: _ClassVar[UserActKind]
ACCESS_RETURNS_UNSPECIFIED: AccessReturns
ACCESS_RETURNS_RECERTIFICATION: AccessReturns
ACCESS_RETURNS_LENGTH: AccessReturns
ACCESS_RETURNS_EITHER: AccessReturns
ACCESS_RETURNS_BOTH: AccessReturns
USER_ACT_KIND_UNSPECIFIED: UserActKind
USER_ACT_KIND_TERMINATION: UserActKind
USER_ACT_KIND_READMISSION: UserActKind

class SuspensionNotice(_message.Message):
    __slots__ = ("nonce", "provider", "agency", "user", "suspended_at", "ends_at", "returns", "refusals", "window_seconds", "exchange_ids", "policy_digest")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_IDS_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    provider: str
    agency: str
    user: str
    suspended_at: _timestamp_pb2.Timestamp
    ends_at: _timestamp_pb2.Timestamp
    returns: AccessReturns
    refusals: int
    window_seconds: int
    exchange_ids: _containers.RepeatedScalarFieldContainer[bytes]
    policy_digest: bytes
    def __init__(self, nonce: _Optional[bytes] = ..., provider: _Optional[str] = ..., agency: _Optional[str] = ..., user: _Optional[str] = ..., suspended_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ends_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., returns: _Optional[_Union[AccessReturns, str]] = ..., refusals: _Optional[int] = ..., window_seconds: _Optional[int] = ..., exchange_ids: _Optional[_Iterable[bytes]] = ..., policy_digest: _Optional[bytes] = ...) -> None: ...

class UserAct(_message.Message):
    __slots__ = ("nonce", "agency", "user", "kind", "given_at", "recertified_at")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GIVEN_AT_FIELD_NUMBER: _ClassVar[int]
    RECERTIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    agency: str
    user: str
    kind: UserActKind
    given_at: _timestamp_pb2.Timestamp
    recertified_at: _timestamp_pb2.Timestamp
    def __init__(self, nonce: _Optional[bytes] = ..., agency: _Optional[str] = ..., user: _Optional[str] = ..., kind: _Optional[_Union[UserActKind, str]] = ..., given_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., recertified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SuspensionDelivery(_message.Message):
    __slots__ = ("notices",)
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    notices: _containers.RepeatedCompositeFieldContainer[_envelope_pb2.Envelope]
    def __init__(self, notices: _Optional[_Iterable[_Union[_envelope_pb2.Envelope, _Mapping]]] = ...) -> None: ...

class UserActDelivery(_message.Message):
    __slots__ = ("acts",)
    ACTS_FIELD_NUMBER: _ClassVar[int]
    acts: _containers.RepeatedCompositeFieldContainer[_envelope_pb2.Envelope]
    def __init__(self, acts: _Optional[_Iterable[_Union[_envelope_pb2.Envelope, _Mapping]]] = ...) -> None: ...

class NotedDelivery(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, digests: _Optional[_Iterable[bytes]] = ...) -> None: ...
