import datetime

from comity.v1 import common_pb2 as _common_pb2
from comity.v1 import envelope_pb2 as _envelope_pb2
from comity.v1 import records_pb2 as _records_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RetrieveRecordsRequest(_message.Message):
    __slots__ = ("provider", "period", "timeout")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    provider: str
    period: _common_pb2.Period
    timeout: _duration_pb2.Duration
    def __init__(self, provider: _Optional[str] = ..., period: _Optional[_Union[_common_pb2.Period, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RetrieveRecordsResponse(_message.Message):
    __slots__ = ("statement", "batch")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    statement: _envelope_pb2.Envelope
    batch: RecordsBatch
    def __init__(self, statement: _Optional[_Union[_envelope_pb2.Envelope, _Mapping]] = ..., batch: _Optional[_Union[RecordsBatch, _Mapping]] = ...) -> None: ...

class RecordsBatch(_message.Message):
    __slots__ = ("records",)
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[_records_pb2.LogRecord]
    def __init__(self, records: _Optional[_Iterable[_Union[_records_pb2.LogRecord, _Mapping]]] = ...) -> None: ...
