import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EntryKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTRY_KIND_UNSPECIFIED: _ClassVar[EntryKind]
    ENTRY_KIND_STARTED: _ClassVar[EntryKind]
    ENTRY_KIND_STOPPED: _ClassVar[EntryKind]
    ENTRY_KIND_CHECKPOINT_SEEN: _ClassVar[EntryKind]
    ENTRY_KIND_LINK_OPENED: _ClassVar[EntryKind]
    ENTRY_KIND_LINK_CLOSED: _ClassVar[EntryKind]
    ENTRY_KIND_LINK_REFUSED: _ClassVar[EntryKind]
    ENTRY_KIND_SESSION_OPENED: _ClassVar[EntryKind]
    ENTRY_KIND_SESSION_CLOSED: _ClassVar[EntryKind]
    ENTRY_KIND_SESSION_REFUSED: _ClassVar[EntryKind]
    ENTRY_KIND_ASKED: _ClassVar[EntryKind]
    ENTRY_KIND_DELIVERED: _ClassVar[EntryKind]
    ENTRY_KIND_CONCLUDED: _ClassVar[EntryKind]
    ENTRY_KIND_TURNED_DOWN: _ClassVar[EntryKind]
    ENTRY_KIND_ROUTED: _ClassVar[EntryKind]
    ENTRY_KIND_ORDER_REFUSED: _ClassVar[EntryKind]
    ENTRY_KIND_ACCOUNTED: _ClassVar[EntryKind]
    ENTRY_KIND_RECEIVED: _ClassVar[EntryKind]
    ENTRY_KIND_DECIDED: _ClassVar[EntryKind]
    ENTRY_KIND_RELEASED: _ClassVar[EntryKind]
    ENTRY_KIND_REJECTED: _ClassVar[EntryKind]
    ENTRY_KIND_CANCELLED: _ClassVar[EntryKind]
    ENTRY_KIND_POLICY_ACTIVATED: _ClassVar[EntryKind]
    ENTRY_KIND_AGREEMENT_ACTIVATED: _ClassVar[EntryKind]
    ENTRY_KIND_CONTRADICTION: _ClassVar[EntryKind]
    ENTRY_KIND_ROSTER_ACTIVATED: _ClassVar[EntryKind]
    ENTRY_KIND_ANSWERED: _ClassVar[EntryKind]
    ENTRY_KIND_ACKNOWLEDGED: _ClassVar[EntryKind]
    ENTRY_KIND_UNACKNOWLEDGED: _ClassVar[EntryKind]
    ENTRY_KIND_KEY_ROTATED: _ClassVar[EntryKind]
    ENTRY_KIND_REVIEWED: _ClassVar[EntryKind]
    ENTRY_KIND_EXPORTED: _ClassVar[EntryKind]
    ENTRY_KIND_DELETED: _ClassVar[EntryKind]
    ENTRY_KIND_HELD: _ClassVar[EntryKind]
    ENTRY_KIND_UNPROVEN: _ClassVar[EntryKind]
    ENTRY_KIND_PARDONED: _ClassVar[EntryKind]
    ENTRY_KIND_AGREEMENT_NOTICED: _ClassVar[EntryKind]
    ENTRY_KIND_HOUSE_RULES_ACTIVATED: _ClassVar[EntryKind]
    ENTRY_KIND_POLICY_APPROVED: _ClassVar[EntryKind]
    ENTRY_KIND_LOGGED_ON: _ClassVar[EntryKind]
    ENTRY_KIND_USER_SUSPENDED: _ClassVar[EntryKind]
    ENTRY_KIND_USER_TERMINATED: _ClassVar[EntryKind]
    ENTRY_KIND_USER_READMITTED: _ClassVar[EntryKind]
    ENTRY_KIND_USER_ACT_NOTED: _ClassVar[EntryKind]
    ENTRY_KIND_CREDENTIALS_ACTIVATED: _ClassVar[EntryKind]
    ENTRY_KIND_REVOCATIONS_ACTIVATED: _ClassVar[EntryKind]
    ENTRY_KIND_HOT_LIST_CHANGED: _ClassVar[EntryKind]
    ENTRY_KIND_IDENTITY_ACCEPTED: _ClassVar[EntryKind]
    ENTRY_KIND_CALL_CUT: _ClassVar[EntryKind]
ENTRY_KIND_UNSPECIFIED: EntryKind
ENTRY_KIND_STARTED: EntryKind
ENTRY_KIND_STOPPED: EntryKind
ENTRY_KIND_CHECKPOINT_SEEN: EntryKind
ENTRY_KIND_LINK_OPENED: EntryKind
ENTRY_KIND_LINK_CLOSED: EntryKind
ENTRY_KIND_LINK_REFUSED: EntryKind
ENTRY_KIND_SESSION_OPENED: EntryKind
ENTRY_KIND_SESSION_CLOSED: EntryKind
ENTRY_KIND_SESSION_REFUSED: EntryKind
ENTRY_KIND_ASKED: EntryKind
ENTRY_KIND_DELIVERED: EntryKind
ENTRY_KIND_CONCLUDED: EntryKind
ENTRY_KIND_TURNED_DOWN: EntryKind
ENTRY_KIND_ROUTED: EntryKind
ENTRY_KIND_ORDER_REFUSED: EntryKind
ENTRY_KIND_ACCOUNTED: EntryKind
ENTRY_KIND_RECEIVED: EntryKind
ENTRY_KIND_DECIDED: EntryKind
ENTRY_KIND_RELEASED: EntryKind
ENTRY_KIND_REJECTED: EntryKind
ENTRY_KIND_CANCELLED: EntryKind
ENTRY_KIND_POLICY_ACTIVATED: EntryKind
ENTRY_KIND_AGREEMENT_ACTIVATED: EntryKind
ENTRY_KIND_CONTRADICTION: EntryKind
ENTRY_KIND_ROSTER_ACTIVATED: EntryKind
ENTRY_KIND_ANSWERED: EntryKind
ENTRY_KIND_ACKNOWLEDGED: EntryKind
ENTRY_KIND_UNACKNOWLEDGED: EntryKind
ENTRY_KIND_KEY_ROTATED: EntryKind
ENTRY_KIND_REVIEWED: EntryKind
ENTRY_KIND_EXPORTED: EntryKind
ENTRY_KIND_DELETED: EntryKind
ENTRY_KIND_HELD: EntryKind
ENTRY_KIND_UNPROVEN: EntryKind
ENTRY_KIND_PARDONED: EntryKind
ENTRY_KIND_AGREEMENT_NOTICED: EntryKind
ENTRY_KIND_HOUSE_RULES_ACTIVATED: EntryKind
ENTRY_KIND_POLICY_APPROVED: EntryKind
ENTRY_KIND_LOGGED_ON: EntryKind
ENTRY_KIND_USER_SUSPENDED: EntryKind
ENTRY_KIND_USER_TERMINATED: EntryKind
ENTRY_KIND_USER_READMITTED: EntryKind
ENTRY_KIND_USER_ACT_NOTED: EntryKind
ENTRY_KIND_CREDENTIALS_ACTIVATED: EntryKind
ENTRY_KIND_REVOCATIONS_ACTIVATED: EntryKind
ENTRY_KIND_HOT_LIST_CHANGED: EntryKind
ENTRY_KIND_IDENTITY_ACCEPTED: EntryKind
ENTRY_KIND_CALL_CUT: EntryKind

class LogPromise(_message.Message):
    __slots__ = ("origin", "index", "leaf_hash")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASH_FIELD_NUMBER: _ClassVar[int]
    origin: str
    index: int
    leaf_hash: bytes
    def __init__(self, origin: _Optional[str] = ..., index: _Optional[int] = ..., leaf_hash: _Optional[bytes] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("note",)
    NOTE_FIELD_NUMBER: _ClassVar[int]
    note: bytes
    def __init__(self, note: _Optional[bytes] = ...) -> None: ...

class InclusionProof(_message.Message):
    __slots__ = ("index", "size", "path")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    index: int
    size: int
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, index: _Optional[int] = ..., size: _Optional[int] = ..., path: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ConsistencyProof(_message.Message):
    __slots__ = ("old_size", "new_size", "path")
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    old_size: int
    new_size: int
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, old_size: _Optional[int] = ..., new_size: _Optional[int] = ..., path: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ProofRequest(_message.Message):
    __slots__ = ("old_size", "new_size", "indexes")
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    old_size: int
    new_size: int
    indexes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, old_size: _Optional[int] = ..., new_size: _Optional[int] = ..., indexes: _Optional[_Iterable[int]] = ...) -> None: ...

class ProofDelivery(_message.Message):
    __slots__ = ("consistency", "inclusions")
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    INCLUSIONS_FIELD_NUMBER: _ClassVar[int]
    consistency: ConsistencyProof
    inclusions: _containers.RepeatedCompositeFieldContainer[InclusionProof]
    def __init__(self, consistency: _Optional[_Union[ConsistencyProof, _Mapping]] = ..., inclusions: _Optional[_Iterable[_Union[InclusionProof, _Mapping]]] = ...) -> None: ...

class Cosignature(_message.Message):
    __slots__ = ("size", "line")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    size: int
    line: bytes
    def __init__(self, size: _Optional[int] = ..., line: _Optional[bytes] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("index", "name", "salt", "value", "entered_at")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    ENTERED_AT_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    salt: bytes
    value: str
    entered_at: _timestamp_pb2.Timestamp
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ..., salt: _Optional[bytes] = ..., value: _Optional[str] = ..., entered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
