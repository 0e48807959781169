import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubjectAssertion(_message.Message):
    __slots__ = ("jwt",)
    JWT_FIELD_NUMBER: _ClassVar[int]
    jwt: str
    def __init__(self, jwt: _Optional[str] = ...) -> None: ...

class SubjectClaims(_message.Message):
    __slots__ = ("user", "agency", "office", "duty_station", "roles", "trained_at", "rules_accepted_at", "rules_digest", "good_standing", "protections_attested", "issued_at", "expires_at", "account_reviewed_at")
    USER_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    OFFICE_FIELD_NUMBER: _ClassVar[int]
    DUTY_STATION_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    TRAINED_AT_FIELD_NUMBER: _ClassVar[int]
    RULES_ACCEPTED_AT_FIELD_NUMBER: _ClassVar[int]
    RULES_DIGEST_FIELD_NUMBER: _ClassVar[int]
    GOOD_STANDING_FIELD_NUMBER: _ClassVar[int]
    PROTECTIONS_ATTESTED_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_REVIEWED_AT_FIELD_NUMBER: _ClassVar[int]
    user: str
    agency: str
    office: str
    duty_station: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    trained_at: _timestamp_pb2.Timestamp
    rules_accepted_at: _timestamp_pb2.Timestamp
    rules_digest: bytes
    good_standing: bool
    protections_attested: bool
    issued_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    account_reviewed_at: _timestamp_pb2.Timestamp
    def __init__(self, user: _Optional[str] = ..., agency: _Optional[str] = ..., office: _Optional[str] = ..., duty_station: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., trained_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rules_accepted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rules_digest: _Optional[bytes] = ..., good_standing: bool = ..., protections_attested: bool = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., account_reviewed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
