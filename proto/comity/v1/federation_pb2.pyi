import datetime

from comity.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RevocationReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REVOCATION_REASON_UNSPECIFIED: _ClassVar[RevocationReason]
    REVOCATION_REASON_KEY_COMPROMISE: _ClassVar[RevocationReason]
    REVOCATION_REASON_SUPERSEDED: _ClassVar[RevocationReason]
    REVOCATION_REASON_CESSATION: _ClassVar[RevocationReason]
    REVOCATION_REASON_WRONGLY_ISSUED: _ClassVar[RevocationReason]

class NoticeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOTICE_KIND_UNSPECIFIED: _ClassVar[NoticeKind]
    NOTICE_KIND_TERMINATION: _ClassVar[NoticeKind]
    NOTICE_KIND_NON_EXTENSION: _ClassVar[NoticeKind]
REVOCATION_REASON_UNSPECIFIED: RevocationReason
REVOCATION_REASON_KEY_COMPROMISE: RevocationReason
REVOCATION_REASON_SUPERSEDED: RevocationReason
REVOCATION_REASON_CESSATION: RevocationReason
REVOCATION_REASON_WRONGLY_ISSUED: RevocationReason
NOTICE_KIND_UNSPECIFIED: NoticeKind
NOTICE_KIND_TERMINATION: NoticeKind
NOTICE_KIND_NON_EXTENSION: NoticeKind

class KeySet(_message.Message):
    __slots__ = ("agency", "domain", "version", "ca_certificates", "statement_keys", "log_keys", "identity_providers", "signed_at")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_KEYS_FIELD_NUMBER: _ClassVar[int]
    LOG_KEYS_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    agency: str
    domain: str
    version: int
    ca_certificates: _containers.RepeatedScalarFieldContainer[bytes]
    statement_keys: _containers.RepeatedCompositeFieldContainer[KeyValidity]
    log_keys: _containers.RepeatedCompositeFieldContainer[LogKey]
    identity_providers: _containers.RepeatedCompositeFieldContainer[IdentityProvider]
    signed_at: _timestamp_pb2.Timestamp
    def __init__(self, agency: _Optional[str] = ..., domain: _Optional[str] = ..., version: _Optional[int] = ..., ca_certificates: _Optional[_Iterable[bytes]] = ..., statement_keys: _Optional[_Iterable[_Union[KeyValidity, _Mapping]]] = ..., log_keys: _Optional[_Iterable[_Union[LogKey, _Mapping]]] = ..., identity_providers: _Optional[_Iterable[_Union[IdentityProvider, _Mapping]]] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class KeyValidity(_message.Message):
    __slots__ = ("public_key", "not_before", "not_after")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    not_before: _timestamp_pb2.Timestamp
    not_after: _timestamp_pb2.Timestamp
    def __init__(self, public_key: _Optional[bytes] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LogKey(_message.Message):
    __slots__ = ("origin", "verifier_key", "role", "next_verifier_key", "earlier")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    VERIFIER_KEY_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NEXT_VERIFIER_KEY_FIELD_NUMBER: _ClassVar[int]
    EARLIER_FIELD_NUMBER: _ClassVar[int]
    origin: str
    verifier_key: str
    role: _common_pb2.EndRole
    next_verifier_key: str
    earlier: _containers.RepeatedCompositeFieldContainer[EarlierLogKey]
    def __init__(self, origin: _Optional[str] = ..., verifier_key: _Optional[str] = ..., role: _Optional[_Union[_common_pb2.EndRole, str]] = ..., next_verifier_key: _Optional[str] = ..., earlier: _Optional[_Iterable[_Union[EarlierLogKey, _Mapping]]] = ...) -> None: ...

class EarlierLogKey(_message.Message):
    __slots__ = ("verifier_key", "last_size")
    VERIFIER_KEY_FIELD_NUMBER: _ClassVar[int]
    LAST_SIZE_FIELD_NUMBER: _ClassVar[int]
    verifier_key: str
    last_size: int
    def __init__(self, verifier_key: _Optional[str] = ..., last_size: _Optional[int] = ...) -> None: ...

class IdentityProvider(_message.Message):
    __slots__ = ("issuer", "jwks")
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    JWKS_FIELD_NUMBER: _ClassVar[int]
    issuer: str
    jwks: bytes
    def __init__(self, issuer: _Optional[str] = ..., jwks: _Optional[bytes] = ...) -> None: ...

class Roster(_message.Message):
    __slots__ = ("federation", "version", "signed_at", "expires_at", "operator", "members")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    federation: str
    version: int
    signed_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    operator: Member
    members: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, federation: _Optional[str] = ..., version: _Optional[int] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., operator: _Optional[_Union[Member, _Mapping]] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("agency", "display_name", "kind", "domain", "state", "contact", "identity_key", "key_set", "asks", "provides", "suspended", "successions")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    KEY_SET_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    PROVIDES_FIELD_NUMBER: _ClassVar[int]
    SUSPENDED_FIELD_NUMBER: _ClassVar[int]
    SUCCESSIONS_FIELD_NUMBER: _ClassVar[int]
    agency: str
    display_name: str
    kind: _common_pb2.AgencyKind
    domain: str
    state: str
    contact: str
    identity_key: bytes
    key_set: bytes
    asks: bool
    provides: bool
    suspended: bool
    successions: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, agency: _Optional[str] = ..., display_name: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.AgencyKind, str]] = ..., domain: _Optional[str] = ..., state: _Optional[str] = ..., contact: _Optional[str] = ..., identity_key: _Optional[bytes] = ..., key_set: _Optional[bytes] = ..., asks: bool = ..., provides: bool = ..., suspended: bool = ..., successions: _Optional[_Iterable[bytes]] = ...) -> None: ...

class IdentitySuccession(_message.Message):
    __slots__ = ("nonce", "agency", "number", "old_key", "new_key", "effective_at", "old_until", "reason", "issued_at")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OLD_KEY_FIELD_NUMBER: _ClassVar[int]
    NEW_KEY_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    OLD_UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    agency: str
    number: int
    old_key: bytes
    new_key: bytes
    effective_at: _timestamp_pb2.Timestamp
    old_until: _timestamp_pb2.Timestamp
    reason: str
    issued_at: _timestamp_pb2.Timestamp
    def __init__(self, nonce: _Optional[bytes] = ..., agency: _Optional[str] = ..., number: _Optional[int] = ..., old_key: _Optional[bytes] = ..., new_key: _Optional[bytes] = ..., effective_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., old_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., issued_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class IdentityAcceptance(_message.Message):
    __slots__ = ("nonce", "agency", "succession", "agreements", "accepted_at")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    SUCCESSION_FIELD_NUMBER: _ClassVar[int]
    AGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_AT_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    agency: str
    succession: bytes
    agreements: _containers.RepeatedScalarFieldContainer[bytes]
    accepted_at: _timestamp_pb2.Timestamp
    def __init__(self, nonce: _Optional[bytes] = ..., agency: _Optional[str] = ..., succession: _Optional[bytes] = ..., agreements: _Optional[_Iterable[bytes]] = ..., accepted_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RosterTimestamp(_message.Message):
    __slots__ = ("roster_version", "roster_digest", "signed_at", "expires_at", "revocations_version", "revocations_digest")
    ROSTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROSTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_VERSION_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    roster_version: int
    roster_digest: bytes
    signed_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    revocations_version: int
    revocations_digest: bytes
    def __init__(self, roster_version: _Optional[int] = ..., roster_digest: _Optional[bytes] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revocations_version: _Optional[int] = ..., revocations_digest: _Optional[bytes] = ...) -> None: ...

class Revocation(_message.Message):
    __slots__ = ("agency", "serial", "public_key", "user", "everything", "revoked_at", "reason")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    REVOKED_AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    agency: str
    serial: bytes
    public_key: bytes
    user: bytes
    everything: bool
    revoked_at: _timestamp_pb2.Timestamp
    reason: RevocationReason
    def __init__(self, agency: _Optional[str] = ..., serial: _Optional[bytes] = ..., public_key: _Optional[bytes] = ..., user: _Optional[bytes] = ..., everything: bool = ..., revoked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[_Union[RevocationReason, str]] = ...) -> None: ...

class RevocationList(_message.Message):
    __slots__ = ("federation", "issuer", "version", "signed_at", "next_update", "revocations")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    NEXT_UPDATE_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    federation: str
    issuer: str
    version: int
    signed_at: _timestamp_pb2.Timestamp
    next_update: _timestamp_pb2.Timestamp
    revocations: _containers.RepeatedCompositeFieldContainer[Revocation]
    def __init__(self, federation: _Optional[str] = ..., issuer: _Optional[str] = ..., version: _Optional[int] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_update: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revocations: _Optional[_Iterable[_Union[Revocation, _Mapping]]] = ...) -> None: ...

class Agreement(_message.Message):
    __slots__ = ("nonce", "agreement_id", "title", "parties", "grants", "effective_at", "expires_at", "extension_days", "notice_days", "dissemination_terms", "duties", "documents", "dated_duties")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_DAYS_FIELD_NUMBER: _ClassVar[int]
    NOTICE_DAYS_FIELD_NUMBER: _ClassVar[int]
    DISSEMINATION_TERMS_FIELD_NUMBER: _ClassVar[int]
    DUTIES_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    DATED_DUTIES_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    agreement_id: str
    title: str
    parties: _containers.RepeatedCompositeFieldContainer[AgreementParty]
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    effective_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    extension_days: int
    notice_days: int
    dissemination_terms: _containers.RepeatedScalarFieldContainer[str]
    duties: _containers.RepeatedScalarFieldContainer[str]
    documents: _containers.RepeatedScalarFieldContainer[str]
    dated_duties: _containers.RepeatedCompositeFieldContainer[DatedDuty]
    def __init__(self, nonce: _Optional[bytes] = ..., agreement_id: _Optional[str] = ..., title: _Optional[str] = ..., parties: _Optional[_Iterable[_Union[AgreementParty, _Mapping]]] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., effective_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., extension_days: _Optional[int] = ..., notice_days: _Optional[int] = ..., dissemination_terms: _Optional[_Iterable[str]] = ..., duties: _Optional[_Iterable[str]] = ..., documents: _Optional[_Iterable[str]] = ..., dated_duties: _Optional[_Iterable[_Union[DatedDuty, _Mapping]]] = ...) -> None: ...

class DatedDuty(_message.Message):
    __slots__ = ("agency", "text", "first_due_at", "every_months")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIRST_DUE_AT_FIELD_NUMBER: _ClassVar[int]
    EVERY_MONTHS_FIELD_NUMBER: _ClassVar[int]
    agency: str
    text: str
    first_due_at: _timestamp_pb2.Timestamp
    every_months: int
    def __init__(self, agency: _Optional[str] = ..., text: _Optional[str] = ..., first_due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., every_months: _Optional[int] = ...) -> None: ...

class AgreementParty(_message.Message):
    __slots__ = ("agency", "identity_key")
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    agency: str
    identity_key: bytes
    def __init__(self, agency: _Optional[str] = ..., identity_key: _Optional[bytes] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("provider", "requester", "elements", "purposes", "ceiling_marking", "collected_after_effective_date", "onward_sharing")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    PURPOSES_FIELD_NUMBER: _ClassVar[int]
    CEILING_MARKING_FIELD_NUMBER: _ClassVar[int]
    COLLECTED_AFTER_EFFECTIVE_DATE_FIELD_NUMBER: _ClassVar[int]
    ONWARD_SHARING_FIELD_NUMBER: _ClassVar[int]
    provider: str
    requester: str
    elements: _containers.RepeatedScalarFieldContainer[_common_pb2.Element]
    purposes: _containers.RepeatedScalarFieldContainer[_common_pb2.ReasonCode]
    ceiling_marking: bytes
    collected_after_effective_date: bool
    onward_sharing: str
    def __init__(self, provider: _Optional[str] = ..., requester: _Optional[str] = ..., elements: _Optional[_Iterable[_Union[_common_pb2.Element, str]]] = ..., purposes: _Optional[_Iterable[_Union[_common_pb2.ReasonCode, str]]] = ..., ceiling_marking: _Optional[bytes] = ..., collected_after_effective_date: bool = ..., onward_sharing: _Optional[str] = ...) -> None: ...

class AgreementNotice(_message.Message):
    __slots__ = ("nonce", "agreement_digest", "agency", "kind", "given_at", "ends_at")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GIVEN_AT_FIELD_NUMBER: _ClassVar[int]
    ENDS_AT_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    agreement_digest: bytes
    agency: str
    kind: NoticeKind
    given_at: _timestamp_pb2.Timestamp
    ends_at: _timestamp_pb2.Timestamp
    def __init__(self, nonce: _Optional[bytes] = ..., agreement_digest: _Optional[bytes] = ..., agency: _Optional[str] = ..., kind: _Optional[_Union[NoticeKind, str]] = ..., given_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., ends_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CeilingLodgement(_message.Message):
    __slots__ = ("agreement_digest", "provider", "requester", "ceiling_marking", "effective_at", "expires_at")
    AGREEMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    REQUESTER_FIELD_NUMBER: _ClassVar[int]
    CEILING_MARKING_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    agreement_digest: bytes
    provider: str
    requester: str
    ceiling_marking: bytes
    effective_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, agreement_digest: _Optional[bytes] = ..., provider: _Optional[str] = ..., requester: _Optional[str] = ..., ceiling_marking: _Optional[bytes] = ..., effective_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PolicyAdoption(_message.Message):
    __slots__ = ("nonce", "agency", "bundle_digest", "bundle_version", "signed_at")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    AGENCY_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    agency: str
    bundle_digest: bytes
    bundle_version: str
    signed_at: _timestamp_pb2.Timestamp
    def __init__(self, nonce: _Optional[bytes] = ..., agency: _Optional[str] = ..., bundle_digest: _Optional[bytes] = ..., bundle_version: _Optional[str] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AuthorityChange(_message.Message):
    __slots__ = ("federation", "number", "replaces", "keys", "threshold", "signed_at")
    FEDERATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REPLACES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    federation: str
    number: int
    replaces: bytes
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    threshold: int
    signed_at: _timestamp_pb2.Timestamp
    def __init__(self, federation: _Optional[str] = ..., number: _Optional[int] = ..., replaces: _Optional[bytes] = ..., keys: _Optional[_Iterable[bytes]] = ..., threshold: _Optional[int] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
