import datetime

from comity.v1 import account_pb2 as _account_pb2
from comity.v1 import audit_pb2 as _audit_pb2
from comity.v1 import common_pb2 as _common_pb2
from comity.v1 import envelope_pb2 as _envelope_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CloseReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLOSE_REASON_UNSPECIFIED: _ClassVar[CloseReason]
    CLOSE_REASON_SHUTDOWN: _ClassVar[CloseReason]
    CLOSE_REASON_PEER_ABSENT: _ClassVar[CloseReason]
    CLOSE_REASON_PROTOCOL: _ClassVar[CloseReason]
    CLOSE_REASON_CREDENTIALS: _ClassVar[CloseReason]
    CLOSE_REASON_LIMIT: _ClassVar[CloseReason]
    CLOSE_REASON_HANDSHAKE: _ClassVar[CloseReason]
    CLOSE_REASON_RENEWAL: _ClassVar[CloseReason]
    CLOSE_REASON_NO_AGREEMENT: _ClassVar[CloseReason]
    CLOSE_REASON_IDLE: _ClassVar[CloseReason]
    CLOSE_REASON_LOG_CONTRADICTED: _ClassVar[CloseReason]
    CLOSE_REASON_REVOKED: _ClassVar[CloseReason]

class Lane(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_UNSPECIFIED: _ClassVar[Lane]
    LANE_INTERACTIVE: _ClassVar[Lane]
    LANE_BULK: _ClassVar[Lane]

class OrderRejectionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_REJECTION_REASON_UNSPECIFIED: _ClassVar[OrderRejectionReason]
    ORDER_REJECTION_REASON_MALFORMED: _ClassVar[OrderRejectionReason]
    ORDER_REJECTION_REASON_NOT_THE_REQUESTER: _ClassVar[OrderRejectionReason]
    ORDER_REJECTION_REASON_TIME: _ClassVar[OrderRejectionReason]
    ORDER_REJECTION_REASON_REPLAYED: _ClassVar[OrderRejectionReason]
    ORDER_REJECTION_REASON_NO_CEILING: _ClassVar[OrderRejectionReason]
    ORDER_REJECTION_REASON_LIMIT: _ClassVar[OrderRejectionReason]
    ORDER_REJECTION_REASON_UNAVAILABLE: _ClassVar[OrderRejectionReason]
CLOSE_REASON_UNSPECIFIED: CloseReason
CLOSE_REASON_SHUTDOWN: CloseReason
CLOSE_REASON_PEER_ABSENT: CloseReason
CLOSE_REASON_PROTOCOL: CloseReason
CLOSE_REASON_CREDENTIALS: CloseReason
CLOSE_REASON_LIMIT: CloseReason
CLOSE_REASON_HANDSHAKE: CloseReason
CLOSE_REASON_RENEWAL: CloseReason
CLOSE_REASON_NO_AGREEMENT: CloseReason
CLOSE_REASON_IDLE: CloseReason
CLOSE_REASON_LOG_CONTRADICTED: CloseReason
CLOSE_REASON_REVOKED: CloseReason
LANE_UNSPECIFIED: Lane
LANE_INTERACTIVE: Lane
LANE_BULK: Lane
ORDER_REJECTION_REASON_UNSPECIFIED: OrderRejectionReason
ORDER_REJECTION_REASON_MALFORMED: OrderRejectionReason
ORDER_REJECTION_REASON_NOT_THE_REQUESTER: OrderRejectionReason
ORDER_REJECTION_REASON_TIME: OrderRejectionReason
ORDER_REJECTION_REASON_REPLAYED: OrderRejectionReason
ORDER_REJECTION_REASON_NO_CEILING: OrderRejectionReason
ORDER_REJECTION_REASON_LIMIT: OrderRejectionReason
ORDER_REJECTION_REASON_UNAVAILABLE: OrderRejectionReason

class LinkRequest(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[LinkFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[LinkFrame, _Mapping]]] = ...) -> None: ...

class LinkResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[LinkFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[LinkFrame, _Mapping]]] = ...) -> None: ...

class LinkFrame(_message.Message):
    __slots__ = ("hello", "welcome", "goodbye", "presence", "session_open", "session_data", "session_credit", "session_close", "order", "order_rejection", "announcement", "receipt", "stamp", "cancel", "account", "checkpoint", "proof_request", "proofs", "cosignature", "handover", "roster", "own_revocations", "traceparent")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_OPEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_DATA_FIELD_NUMBER: _ClassVar[int]
    SESSION_CREDIT_FIELD_NUMBER: _ClassVar[int]
    SESSION_CLOSE_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    ORDER_REJECTION_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCEMENT_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PROOF_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    HANDOVER_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    OWN_REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    welcome: Welcome
    goodbye: Goodbye
    presence: Presence
    session_open: SessionOpen
    session_data: SessionData
    session_credit: SessionCredit
    session_close: SessionClose
    order: OrderPlacement
    order_rejection: OrderRejection
    announcement: Announcement
    receipt: ReceiptDelivery
    stamp: StampDelivery
    cancel: ExchangeCancel
    account: AccountDelivery
    checkpoint: _audit_pb2.Checkpoint
    proof_request: _audit_pb2.ProofRequest
    proofs: _audit_pb2.ProofDelivery
    cosignature: _audit_pb2.Cosignature
    handover: Handover
    roster: RosterDelivery
    own_revocations: OwnRevocations
    traceparent: str
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., presence: _Optional[_Union[Presence, _Mapping]] = ..., session_open: _Optional[_Union[SessionOpen, _Mapping]] = ..., session_data: _Optional[_Union[SessionData, _Mapping]] = ..., session_credit: _Optional[_Union[SessionCredit, _Mapping]] = ..., session_close: _Optional[_Union[SessionClose, _Mapping]] = ..., order: _Optional[_Union[OrderPlacement, _Mapping]] = ..., order_rejection: _Optional[_Union[OrderRejection, _Mapping]] = ..., announcement: _Optional[_Union[Announcement, _Mapping]] = ..., receipt: _Optional[_Union[ReceiptDelivery, _Mapping]] = ..., stamp: _Optional[_Union[StampDelivery, _Mapping]] = ..., cancel: _Optional[_Union[ExchangeCancel, _Mapping]] = ..., account: _Optional[_Union[AccountDelivery, _Mapping]] = ..., checkpoint: _Optional[_Union[_audit_pb2.Checkpoint, _Mapping]] = ..., proof_request: _Optional[_Union[_audit_pb2.ProofRequest, _Mapping]] = ..., proofs: _Optional[_Union[_audit_pb2.ProofDelivery, _Mapping]] = ..., cosignature: _Optional[_Union[_audit_pb2.Cosignature, _Mapping]] = ..., handover: _Optional[_Union[Handover, _Mapping]] = ..., roster: _Optional[_Union[RosterDelivery, _Mapping]] = ..., own_revocations: _Optional[_Union[OwnRevocations, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("versions", "spiffe_id", "role", "chain", "roster_version", "follows", "roster_timestamp_digest", "agency_revocations_digest")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SPIFFE_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    ROSTER_TIMESTAMP_DIGEST_FIELD_NUMBER: _ClassVar[int]
    AGENCY_REVOCATIONS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedScalarFieldContainer[int]
    spiffe_id: str
    role: _common_pb2.EndRole
    chain: _containers.RepeatedScalarFieldContainer[bytes]
    roster_version: int
    follows: bool
    roster_timestamp_digest: bytes
    agency_revocations_digest: bytes
    def __init__(self, versions: _Optional[_Iterable[int]] = ..., spiffe_id: _Optional[str] = ..., role: _Optional[_Union[_common_pb2.EndRole, str]] = ..., chain: _Optional[_Iterable[bytes]] = ..., roster_version: _Optional[int] = ..., follows: bool = ..., roster_timestamp_digest: _Optional[bytes] = ..., agency_revocations_digest: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "session_window", "max_frame_bytes", "roster_version", "ends_at", "follows", "takes_revocations")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_WINDOW_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_FIELD_NUMBER: _ClassVar[int]
    FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    TAKES_REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    version: int
    session_window: int
    max_frame_bytes: int
    roster_version: int
    ends_at: _timestamp_pb2.Timestamp
    follows: bool
    takes_revocations: bool
    def __init__(self, version: _Optional[int] = ..., session_window: _Optional[int] = ..., max_frame_bytes: _Optional[int] = ..., roster_version: _Optional[int] = ..., ends_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., follows: bool = ..., takes_revocations: bool = ...) -> None: ...

class Handover(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RosterDelivery(_message.Message):
    __slots__ = ("part", "parts", "data")
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    part: int
    parts: int
    data: bytes
    def __init__(self, part: _Optional[int] = ..., parts: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class RosterDocuments(_message.Message):
    __slots__ = ("roster", "timestamp", "authority_changes", "revocations", "agency_revocations")
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_CHANGES_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    AGENCY_REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    roster: bytes
    timestamp: bytes
    authority_changes: _containers.RepeatedScalarFieldContainer[bytes]
    revocations: bytes
    agency_revocations: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, roster: _Optional[bytes] = ..., timestamp: _Optional[bytes] = ..., authority_changes: _Optional[_Iterable[bytes]] = ..., revocations: _Optional[bytes] = ..., agency_revocations: _Optional[_Iterable[bytes]] = ...) -> None: ...

class OwnRevocations(_message.Message):
    __slots__ = ("list",)
    LIST_FIELD_NUMBER: _ClassVar[int]
    list: bytes
    def __init__(self, list: _Optional[bytes] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason", "text")
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    reason: CloseReason
    text: str
    def __init__(self, reason: _Optional[_Union[CloseReason, str]] = ..., text: _Optional[str] = ...) -> None: ...

class Presence(_message.Message):
    __slots__ = ("providers",)
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    providers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, providers: _Optional[_Iterable[str]] = ...) -> None: ...

class SessionOpen(_message.Message):
    __slots__ = ("session_id", "reference", "peer", "lane")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    reference: int
    peer: str
    lane: Lane
    def __init__(self, session_id: _Optional[int] = ..., reference: _Optional[int] = ..., peer: _Optional[str] = ..., lane: _Optional[_Union[Lane, str]] = ...) -> None: ...

class SessionData(_message.Message):
    __slots__ = ("session_id", "sequence", "records")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    sequence: int
    records: bytes
    def __init__(self, session_id: _Optional[int] = ..., sequence: _Optional[int] = ..., records: _Optional[bytes] = ...) -> None: ...

class SessionCredit(_message.Message):
    __slots__ = ("session_id", "bytes")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    bytes: int
    def __init__(self, session_id: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class SessionClose(_message.Message):
    __slots__ = ("session_id", "reference", "reason")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    session_id: int
    reference: int
    reason: CloseReason
    def __init__(self, session_id: _Optional[int] = ..., reference: _Optional[int] = ..., reason: _Optional[_Union[CloseReason, str]] = ...) -> None: ...

class OrderPlacement(_message.Message):
    __slots__ = ("order", "leaves")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    LEAVES_FIELD_NUMBER: _ClassVar[int]
    order: _envelope_pb2.Envelope
    leaves: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, order: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ..., leaves: _Optional[_Iterable[bytes]] = ...) -> None: ...

class OrderRejection(_message.Message):
    __slots__ = ("exchange_id", "text", "reason")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    text: str
    reason: OrderRejectionReason
    def __init__(self, exchange_id: _Optional[bytes] = ..., text: _Optional[str] = ..., reason: _Optional[_Union[OrderRejectionReason, str]] = ...) -> None: ...

class Announcement(_message.Message):
    __slots__ = ("exchange_id", "requester", "deadline")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    requester: str
    deadline: _timestamp_pb2.Timestamp
    def __init__(self, exchange_id: _Optional[bytes] = ..., requester: _Optional[str] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ReceiptDelivery(_message.Message):
    __slots__ = ("exchange_id", "receipt")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    receipt: _envelope_pb2.Envelope
    def __init__(self, exchange_id: _Optional[bytes] = ..., receipt: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ...) -> None: ...

class StampDelivery(_message.Message):
    __slots__ = ("stamp", "receipt")
    STAMP_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    stamp: _account_pb2.Stamp
    receipt: _envelope_pb2.Envelope
    def __init__(self, stamp: _Optional[_Union[_account_pb2.Stamp, _Mapping]] = ..., receipt: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ...) -> None: ...

class ExchangeCancel(_message.Message):
    __slots__ = ("exchange_id", "deadline_passed")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_PASSED_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    deadline_passed: bool
    def __init__(self, exchange_id: _Optional[bytes] = ..., deadline_passed: bool = ...) -> None: ...

class AccountDelivery(_message.Message):
    __slots__ = ("exchange_id", "account")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    account: _envelope_pb2.Envelope
    def __init__(self, exchange_id: _Optional[bytes] = ..., account: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ...) -> None: ...
