import datetime

from comity.v1 import audit_pb2 as _audit_pb2
from comity.v1 import common_pb2 as _common_pb2
from comity.v1 import envelope_pb2 as _envelope_pb2
from comity.v1 import query_pb2 as _query_pb2
from comity.v1 import records_pb2 as _records_pb2
from comity.v1 import users_pb2 as _users_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionMessage(_message.Message):
    __slots__ = ("ready", "ask", "cancel", "credit", "result", "page", "checkpoint", "end", "acknowledgement", "proof_request", "proofs", "cosignature", "records_request", "records_credit", "records_cancel", "records_answer", "records_page", "suspensions", "user_acts", "noted", "traceparent", "padding")
    READY_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    PROOF_REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    COSIGNATURE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_REQUEST_FIELD_NUMBER: _ClassVar[int]
    RECORDS_CREDIT_FIELD_NUMBER: _ClassVar[int]
    RECORDS_CANCEL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_ANSWER_FIELD_NUMBER: _ClassVar[int]
    RECORDS_PAGE_FIELD_NUMBER: _ClassVar[int]
    SUSPENSIONS_FIELD_NUMBER: _ClassVar[int]
    USER_ACTS_FIELD_NUMBER: _ClassVar[int]
    NOTED_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    ready: Ready
    ask: Ask
    cancel: CancelAsk
    credit: PageCredit
    result: Result
    page: PageDelivery
    checkpoint: _audit_pb2.Checkpoint
    end: SessionEnd
    acknowledgement: AcknowledgementDelivery
    proof_request: _audit_pb2.ProofRequest
    proofs: _audit_pb2.ProofDelivery
    cosignature: _audit_pb2.Cosignature
    records_request: RecordsRequest
    records_credit: RecordsCredit
    records_cancel: RecordsCancel
    records_answer: RecordsAnswer
    records_page: RecordsPage
    suspensions: _users_pb2.SuspensionDelivery
    user_acts: _users_pb2.UserActDelivery
    noted: _users_pb2.NotedDelivery
    traceparent: str
    padding: bytes
    def __init__(self, ready: _Optional[_Union[Ready, _Mapping]] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ..., cancel: _Optional[_Union[CancelAsk, _Mapping]] = ..., credit: _Optional[_Union[PageCredit, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., page: _Optional[_Union[PageDelivery, _Mapping]] = ..., checkpoint: _Optional[_Union[_audit_pb2.Checkpoint, _Mapping]] = ..., end: _Optional[_Union[SessionEnd, _Mapping]] = ..., acknowledgement: _Optional[_Union[AcknowledgementDelivery, _Mapping]] = ..., proof_request: _Optional[_Union[_audit_pb2.ProofRequest, _Mapping]] = ..., proofs: _Optional[_Union[_audit_pb2.ProofDelivery, _Mapping]] = ..., cosignature: _Optional[_Union[_audit_pb2.Cosignature, _Mapping]] = ..., records_request: _Optional[_Union[RecordsRequest, _Mapping]] = ..., records_credit: _Optional[_Union[RecordsCredit, _Mapping]] = ..., records_cancel: _Optional[_Union[RecordsCancel, _Mapping]] = ..., records_answer: _Optional[_Union[RecordsAnswer, _Mapping]] = ..., records_page: _Optional[_Union[RecordsPage, _Mapping]] = ..., suspensions: _Optional[_Union[_users_pb2.SuspensionDelivery, _Mapping]] = ..., user_acts: _Optional[_Union[_users_pb2.UserActDelivery, _Mapping]] = ..., noted: _Optional[_Union[_users_pb2.NotedDelivery, _Mapping]] = ..., traceparent: _Optional[str] = ..., padding: _Optional[bytes] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("version", "agency", "agreement_digest", "page_window", "linked_since")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAGE_WINDOW_FIELD_NUMBER: _ClassVar[int]
    LINKED_SINCE_FIELD_NUMBER: _ClassVar[int]
    version: int
    agency: str
    agreement_digest: bytes
    page_window: int
    linked_since: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[int] = ..., agency: _Optional[str] = ..., agreement_digest: _Optional[bytes] = ..., page_window: _Optional[int] = ..., linked_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("exchange_id", "order", "inclusion", "query")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    order: _envelope_pb2.Envelope
    inclusion: _query_pb2.OrderInclusion
    query: bytes
    def __init__(self, exchange_id: _Optional[bytes] = ..., order: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ..., inclusion: _Optional[_Union[_query_pb2.OrderInclusion, _Mapping]] = ..., query: _Optional[bytes] = ...) -> None: ...

class CancelAsk(_message.Message):
    __slots__ = ("exchange_id", "deadline_passed")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_PASSED_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    deadline_passed: bool
    def __init__(self, exchange_id: _Optional[bytes] = ..., deadline_passed: bool = ...) -> None: ...

class PageCredit(_message.Message):
    __slots__ = ("exchange_id", "pages")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    pages: int
    def __init__(self, exchange_id: _Optional[bytes] = ..., pages: _Optional[int] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("exchange_id", "detail", "receipt")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    detail: bytes
    receipt: _envelope_pb2.Envelope
    def __init__(self, exchange_id: _Optional[bytes] = ..., detail: _Optional[bytes] = ..., receipt: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ...) -> None: ...

class PageDelivery(_message.Message):
    __slots__ = ("exchange_id", "page")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    page: bytes
    def __init__(self, exchange_id: _Optional[bytes] = ..., page: _Optional[bytes] = ...) -> None: ...

class AcknowledgementDelivery(_message.Message):
    __slots__ = ("exchange_id", "acknowledgement")
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    exchange_id: bytes
    acknowledgement: _envelope_pb2.Envelope
    def __init__(self, exchange_id: _Optional[bytes] = ..., acknowledgement: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ...) -> None: ...

class RecordsRequest(_message.Message):
    __slots__ = ("request_id", "period", "deadline")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    period: _common_pb2.Period
    deadline: _timestamp_pb2.Timestamp
    def __init__(self, request_id: _Optional[bytes] = ..., period: _Optional[_Union[_common_pb2.Period, _Mapping]] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RecordsCredit(_message.Message):
    __slots__ = ("request_id", "pages")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    pages: int
    def __init__(self, request_id: _Optional[bytes] = ..., pages: _Optional[int] = ...) -> None: ...

class RecordsCancel(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    def __init__(self, request_id: _Optional[bytes] = ...) -> None: ...

class RecordsAnswer(_message.Message):
    __slots__ = ("request_id", "statement", "refusal")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    statement: _envelope_pb2.Envelope
    refusal: _records_pb2.RecordsRefusal
    def __init__(self, request_id: _Optional[bytes] = ..., statement: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ..., refusal: _Optional[_Union[_records_pb2.RecordsRefusal, str]] = ...) -> None: ...

class RecordsPage(_message.Message):
    __slots__ = ("request_id", "records")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    records: _containers.RepeatedCompositeFieldContainer[_records_pb2.LogRecord]
    def __init__(self, request_id: _Optional[bytes] = ..., records: _Optional[_Iterable[_Union[_records_pb2.LogRecord, _Mapping]]] = ...) -> None: ...

class SessionEnd(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
