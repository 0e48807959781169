import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReasonCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_CODE_UNSPECIFIED: _ClassVar[ReasonCode]
    REASON_CODE_CRIMINAL_INVESTIGATION: _ClassVar[ReasonCode]
    REASON_CODE_CIVIL_IMMIGRATION: _ClassVar[ReasonCode]
    REASON_CODE_BORDER_ENFORCEMENT: _ClassVar[ReasonCode]
    REASON_CODE_NARCOTICS: _ClassVar[ReasonCode]
    REASON_CODE_NATIONAL_SECURITY: _ClassVar[ReasonCode]
    REASON_CODE_STOLEN_VEHICLE: _ClassVar[ReasonCode]
    REASON_CODE_MISSING_PERSON: _ClassVar[ReasonCode]
    REASON_CODE_WANTED_PERSON: _ClassVar[ReasonCode]

class Element(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELEMENT_UNSPECIFIED: _ClassVar[Element]
    ELEMENT_PLATE: _ClassVar[Element]
    ELEMENT_LOCATION: _ClassVar[Element]
    ELEMENT_IMAGES: _ClassVar[Element]
    ELEMENT_VEHICLE: _ClassVar[Element]
    ELEMENT_CAMERA: _ClassVar[Element]

class AgencyKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGENCY_KIND_UNSPECIFIED: _ClassVar[AgencyKind]
    AGENCY_KIND_FEDERAL: _ClassVar[AgencyKind]
    AGENCY_KIND_STATE: _ClassVar[AgencyKind]
    AGENCY_KIND_LOCAL: _ClassVar[AgencyKind]
    AGENCY_KIND_COMMERCIAL: _ClassVar[AgencyKind]

class EndRole(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_ROLE_UNSPECIFIED: _ClassVar[EndRole]
    END_ROLE_GATEWAY: _ClassVar[EndRole]
    END_ROLE_ADAPTER: _ClassVar[EndRole]
    END_ROLE_BROKER: _ClassVar[EndRole]

class OutcomeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_KIND_UNSPECIFIED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_RESPONDED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_REFUSED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_REFERRED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_RATE_LIMITED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_AUDIT_UNAVAILABLE: _ClassVar[OutcomeKind]
    OUTCOME_KIND_MALFORMED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_UNREACHABLE: _ClassVar[OutcomeKind]
    OUTCOME_KIND_TIMED_OUT: _ClassVar[OutcomeKind]
    OUTCOME_KIND_BAD_RECEIPT: _ClassVar[OutcomeKind]
    OUTCOME_KIND_CANCELLED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_NOT_ASKED: _ClassVar[OutcomeKind]
    OUTCOME_KIND_UNVERIFIABLE: _ClassVar[OutcomeKind]
    OUTCOME_KIND_SESSION_FAILED: _ClassVar[OutcomeKind]
REASON_CODE_UNSPECIFIED: ReasonCode
REASON_CODE_CRIMINAL_INVESTIGATION: ReasonCode
REASON_CODE_CIVIL_IMMIGRATION: ReasonCode
REASON_CODE_BORDER_ENFORCEMENT: ReasonCode
REASON_CODE_NARCOTICS: ReasonCode
REASON_CODE_NATIONAL_SECURITY: ReasonCode
REASON_CODE_STOLEN_VEHICLE: ReasonCode
REASON_CODE_MISSING_PERSON: ReasonCode
REASON_CODE_WANTED_PERSON: ReasonCode
ELEMENT_UNSPECIFIED: Element
ELEMENT_PLATE: Element
ELEMENT_LOCATION: Element
ELEMENT_IMAGES: Element
ELEMENT_VEHICLE: Element
ELEMENT_CAMERA: Element
AGENCY_KIND_UNSPECIFIED: AgencyKind
AGENCY_KIND_FEDERAL: AgencyKind
AGENCY_KIND_STATE: AgencyKind
AGENCY_KIND_LOCAL: AgencyKind
AGENCY_KIND_COMMERCIAL: AgencyKind
END_ROLE_UNSPECIFIED: EndRole
END_ROLE_GATEWAY: EndRole
END_ROLE_ADAPTER: EndRole
END_ROLE_BROKER: EndRole
OUTCOME_KIND_UNSPECIFIED: OutcomeKind
OUTCOME_KIND_RESPONDED: OutcomeKind
OUTCOME_KIND_REFUSED: OutcomeKind
OUTCOME_KIND_REFERRED: OutcomeKind
OUTCOME_KIND_RATE_LIMITED: OutcomeKind
OUTCOME_KIND_AUDIT_UNAVAILABLE: OutcomeKind
OUTCOME_KIND_MALFORMED: OutcomeKind
OUTCOME_KIND_UNREACHABLE: OutcomeKind
OUTCOME_KIND_TIMED_OUT: OutcomeKind
OUTCOME_KIND_BAD_RECEIPT: OutcomeKind
OUTCOME_KIND_CANCELLED: OutcomeKind
OUTCOME_KIND_NOT_ASKED: OutcomeKind
OUTCOME_KIND_UNVERIFIABLE: OutcomeKind
OUTCOME_KIND_SESSION_FAILED: OutcomeKind

class Plate(_message.Message):
    __slots__ = ("number", "state", "country")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    number: str
    state: str
    country: str
    def __init__(self, number: _Optional[str] = ..., state: _Optional[str] = ..., country: _Optional[str] = ...) -> None: ...

class Period(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Area(_message.Message):
    __slots__ = ("latitude", "longitude", "radius_metres")
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    RADIUS_METRES_FIELD_NUMBER: _ClassVar[int]
    latitude: float
    longitude: float
    radius_metres: int
    def __init__(self, latitude: _Optional[float] = ..., longitude: _Optional[float] = ..., radius_metres: _Optional[int] = ...) -> None: ...
