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

class MarkingScheme(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MARKING_SCHEME_UNSPECIFIED: _ClassVar[MarkingScheme]
    MARKING_SCHEME_CUI: _ClassVar[MarkingScheme]
    MARKING_SCHEME_PLAIN: _ClassVar[MarkingScheme]
MARKING_SCHEME_UNSPECIFIED: MarkingScheme
MARKING_SCHEME_CUI: MarkingScheme
MARKING_SCHEME_PLAIN: MarkingScheme

class Marking(_message.Message):
    __slots__ = ("provider", "nature", "scheme", "banner", "portion", "categories", "controls", "agreement_digest", "retain_days", "caveats", "contact")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    NATURE_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    BANNER_FIELD_NUMBER: _ClassVar[int]
    PORTION_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RETAIN_DAYS_FIELD_NUMBER: _ClassVar[int]
    CAVEATS_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    provider: str
    nature: str
    scheme: MarkingScheme
    banner: str
    portion: str
    categories: _containers.RepeatedScalarFieldContainer[str]
    controls: _containers.RepeatedScalarFieldContainer[str]
    agreement_digest: bytes
    retain_days: int
    caveats: _containers.RepeatedScalarFieldContainer[str]
    contact: str
    def __init__(self, provider: _Optional[str] = ..., nature: _Optional[str] = ..., scheme: _Optional[_Union[MarkingScheme, str]] = ..., banner: _Optional[str] = ..., portion: _Optional[str] = ..., categories: _Optional[_Iterable[str]] = ..., controls: _Optional[_Iterable[str]] = ..., agreement_digest: _Optional[bytes] = ..., retain_days: _Optional[int] = ..., caveats: _Optional[_Iterable[str]] = ..., contact: _Optional[str] = ...) -> None: ...

class Read(_message.Message):
    __slots__ = ("read_id", "plate", "captured_at", "location", "vehicle", "camera", "images", "confidence", "source", "marking", "withheld", "matched_reading")
    READ_ID_FIELD_NUMBER: _ClassVar[int]
    PLATE_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    VEHICLE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MARKING_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    MATCHED_READING_FIELD_NUMBER: _ClassVar[int]
    read_id: str
    plate: _common_pb2.Plate
    captured_at: _timestamp_pb2.Timestamp
    location: Location
    vehicle: Vehicle
    camera: Camera
    images: _containers.RepeatedCompositeFieldContainer[ImageReference]
    confidence: float
    source: str
    marking: Marking
    withheld: _containers.RepeatedScalarFieldContainer[_common_pb2.Element]
    matched_reading: str
    def __init__(self, read_id: _Optional[str] = ..., plate: _Optional[_Union[_common_pb2.Plate, _Mapping]] = ..., captured_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., location: _Optional[_Union[Location, _Mapping]] = ..., vehicle: _Optional[_Union[Vehicle, _Mapping]] = ..., camera: _Optional[_Union[Camera, _Mapping]] = ..., images: _Optional[_Iterable[_Union[ImageReference, _Mapping]]] = ..., confidence: _Optional[float] = ..., source: _Optional[str] = ..., marking: _Optional[_Union[Marking, _Mapping]] = ..., withheld: _Optional[_Iterable[_Union[_common_pb2.Element, str]]] = ..., matched_reading: _Optional[str] = ...) -> None: ...

class Location(_message.Message):
    __slots__ = ("latitude", "longitude", "address", "intersection", "grid_metres", "grid")
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    INTERSECTION_FIELD_NUMBER: _ClassVar[int]
    GRID_METRES_FIELD_NUMBER: _ClassVar[int]
    GRID_FIELD_NUMBER: _ClassVar[int]
    latitude: float
    longitude: float
    address: str
    intersection: str
    grid_metres: int
    grid: str
    def __init__(self, latitude: _Optional[float] = ..., longitude: _Optional[float] = ..., address: _Optional[str] = ..., intersection: _Optional[str] = ..., grid_metres: _Optional[int] = ..., grid: _Optional[str] = ...) -> None: ...

class Vehicle(_message.Message):
    __slots__ = ("make", "model", "colour", "direction")
    MAKE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    make: str
    model: str
    colour: str
    direction: str
    def __init__(self, make: _Optional[str] = ..., model: _Optional[str] = ..., colour: _Optional[str] = ..., direction: _Optional[str] = ...) -> None: ...

class Camera(_message.Message):
    __slots__ = ("name", "owner", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    owner: str
    kind: str
    def __init__(self, name: _Optional[str] = ..., owner: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class ImageReference(_message.Message):
    __slots__ = ("image_id", "view", "digest")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    view: str
    digest: bytes
    def __init__(self, image_id: _Optional[str] = ..., view: _Optional[str] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Page(_message.Message):
    __slots__ = ("nonce", "exchange_id", "index", "reads", "marking")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    MARKING_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    exchange_id: bytes
    index: int
    reads: _containers.RepeatedCompositeFieldContainer[Read]
    marking: Marking
    def __init__(self, nonce: _Optional[bytes] = ..., exchange_id: _Optional[bytes] = ..., index: _Optional[int] = ..., reads: _Optional[_Iterable[_Union[Read, _Mapping]]] = ..., marking: _Optional[_Union[Marking, _Mapping]] = ...) -> None: ...

class ResultDetail(_message.Message):
    __slots__ = ("nonce", "exchange_id", "kind", "rules", "public_reason", "searched", "period_clipped", "obligations", "page_count", "read_count", "truncated", "contact", "marking", "retry_after_seconds", "violations", "retry_at")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_REASON_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_FIELD_NUMBER: _ClassVar[int]
    PERIOD_CLIPPED_FIELD_NUMBER: _ClassVar[int]
    OBLIGATIONS_FIELD_NUMBER: _ClassVar[int]
    PAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    READ_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    MARKING_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AT_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    exchange_id: bytes
    kind: _common_pb2.OutcomeKind
    rules: _containers.RepeatedCompositeFieldContainer[RuleCitation]
    public_reason: str
    searched: _common_pb2.Period
    period_clipped: bool
    obligations: _containers.RepeatedCompositeFieldContainer[AppliedObligation]
    page_count: int
    read_count: int
    truncated: bool
    contact: str
    marking: Marking
    retry_after_seconds: int
    violations: _containers.RepeatedScalarFieldContainer[str]
    retry_at: _timestamp_pb2.Timestamp
    def __init__(self, nonce: _Optional[bytes] = ..., exchange_id: _Optional[bytes] = ..., kind: _Optional[_Union[_common_pb2.OutcomeKind, str]] = ..., rules: _Optional[_Iterable[_Union[RuleCitation, _Mapping]]] = ..., public_reason: _Optional[str] = ..., searched: _Optional[_Union[_common_pb2.Period, _Mapping]] = ..., period_clipped: bool = ..., obligations: _Optional[_Iterable[_Union[AppliedObligation, _Mapping]]] = ..., page_count: _Optional[int] = ..., read_count: _Optional[int] = ..., truncated: bool = ..., contact: _Optional[str] = ..., marking: _Optional[_Union[Marking, _Mapping]] = ..., retry_after_seconds: _Optional[int] = ..., violations: _Optional[_Iterable[str]] = ..., retry_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RuleCitation(_message.Message):
    __slots__ = ("policy_id", "rules", "document", "text")
    POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    policy_id: str
    rules: _containers.RepeatedScalarFieldContainer[str]
    document: str
    text: str
    def __init__(self, policy_id: _Optional[str] = ..., rules: _Optional[_Iterable[str]] = ..., document: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class AppliedObligation(_message.Message):
    __slots__ = ("name", "text", "policy_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    policy_id: str
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ..., policy_id: _Optional[str] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("nonce", "exchange_id", "query_digest", "provider", "requester", "kind", "policy_digest", "policy_version", "agreement_digest", "ceiling_marking", "content_root", "signed_at", "promise", "last_checkpoint")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CEILING_MARKING_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ROOT_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    LAST_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    exchange_id: bytes
    query_digest: bytes
    provider: str
    requester: str
    kind: _common_pb2.OutcomeKind
    policy_digest: bytes
    policy_version: str
    agreement_digest: bytes
    ceiling_marking: bytes
    content_root: bytes
    signed_at: _timestamp_pb2.Timestamp
    promise: _audit_pb2.LogPromise
    last_checkpoint: bytes
    def __init__(self, nonce: _Optional[bytes] = ..., exchange_id: _Optional[bytes] = ..., query_digest: _Optional[bytes] = ..., provider: _Optional[str] = ..., requester: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.OutcomeKind, str]] = ..., policy_digest: _Optional[bytes] = ..., policy_version: _Optional[str] = ..., agreement_digest: _Optional[bytes] = ..., ceiling_marking: _Optional[bytes] = ..., content_root: _Optional[bytes] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., promise: _Optional[_Union[_audit_pb2.LogPromise, _Mapping]] = ..., last_checkpoint: _Optional[bytes] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("nonce", "exchange_id", "requester", "provider", "receipt_digest", "delivered_at", "promise")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_AT_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    exchange_id: bytes
    requester: str
    provider: str
    receipt_digest: bytes
    delivered_at: _timestamp_pb2.Timestamp
    promise: _audit_pb2.LogPromise
    def __init__(self, nonce: _Optional[bytes] = ..., exchange_id: _Optional[bytes] = ..., requester: _Optional[str] = ..., provider: _Optional[str] = ..., receipt_digest: _Optional[bytes] = ..., delivered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., promise: _Optional[_Union[_audit_pb2.LogPromise, _Mapping]] = ...) -> None: ...
