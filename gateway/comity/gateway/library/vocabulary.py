"""The contract's closed lists as Python enumerations; each value is the contract's name without its prefix.

Each is a `StrEnum`: `Reason("NARCOTICS") is Reason.NARCOTICS`, and it prints as its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum, auto

from comity.v1 import common_pb2, query_service_pb2, result_pb2


class _Name(StrEnum):
    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name


class Reason(_Name):
    """Why a query is made (Q3)."""

    CRIMINAL_INVESTIGATION = auto()
    CIVIL_IMMIGRATION = auto()
    BORDER_ENFORCEMENT = auto()
    NARCOTICS = auto()
    NATIONAL_SECURITY = auto()
    STOLEN_VEHICLE = auto()
    MISSING_PERSON = auto()
    WANTED_PERSON = auto()


class Element(_Name):
    """A class of data that a read can hold, and that a policy permits or withholds."""

    PLATE = auto()
    """Plate, jurisdiction, time: always part of a read."""
    LOCATION = auto()
    IMAGES = auto()
    VEHICLE = auto()
    CAMERA = auto()


class OutcomeKind(_Name):
    """What happened at one provider. The absence of reads is never proof of absence."""

    RESPONDED = auto()
    """Signed by the provider: it answered, with reads or none."""
    REFUSED = auto()
    """Signed by the provider: its policy refuses."""
    REFERRED = auto()
    """Signed by the provider: ask the contact that it names."""
    RATE_LIMITED = auto()
    """Signed by the provider: over a limit; try later."""
    AUDIT_UNAVAILABLE = auto()
    """Signed by the provider: its log cannot be written, so no data leaves."""
    MALFORMED = auto()
    """Signed by the provider: what it got is not a valid query."""
    UNREACHABLE = auto()
    """Attested by the broker: the provider had no link."""
    TIMED_OUT = auto()
    """Attested by the broker: no receipt by the deadline."""
    BAD_RECEIPT = auto()
    """Attested by the broker: the receipt's signature or ceiling marking is wrong."""
    CANCELLED = auto()
    """Attested by the broker: cancelled before it answered."""
    NOT_ASKED = auto()
    """Attested by the gateway: nothing of the question left the house."""
    UNVERIFIABLE = auto()
    """Attested by the gateway: pages, receipt or markings do not verify; nothing is shown."""
    SESSION_FAILED = auto()
    """Attested by the gateway: the session's handshake failed, or the session broke."""


class Attestation(_Name):
    """Who vouches for an outcome."""

    PROVIDER = auto()
    """The provider's own signature."""
    BROKER = auto()
    """The broker's signed account."""
    GATEWAY = auto()
    """This gateway."""


class NotAskedReason(_Name):
    """Why a provider is not asked."""

    NO_AGREEMENT = auto()
    SUSPENDED = auto()
    EXCLUDED = auto()
    HOUSE_RULES = auto()
    NOT_A_PROVIDER = auto()
    LOG_CONTRADICTED = auto()


class MarkingScheme(_Name):
    """How a marking is written."""

    CUI = auto()
    """Controlled Unclassified Information, 32 CFR 2002: federal data."""
    PLAIN = auto()
    """State, local and commercial data."""


class FindingKind(_Name):
    """What is wrong with what was told of an exchange; `docs/threats.md` tells who may have lied."""

    NO_ACCOUNT = auto()
    """The broker gave no account in time."""
    NOT_AN_ACCOUNT = auto()
    """What the broker gave is no account of this exchange."""
    ACCOUNT_AGAINST_ORDER = auto()
    """The broker's signed account contradicts the signed order that it names."""
    NOT_ITS_WORD = auto()
    """The broker's signed account tells, without a stamp, what a provider has to sign."""
    TWO_ACCOUNTS = auto()
    """The broker signed two different accounts of one exchange."""
    TOO_EARLY = auto()
    """The broker's signed account says that a provider's time was over before it was."""
    NOT_CANCELLED = auto()
    """The broker's signed account says that the asker cancelled, and it did not."""
    RECEIPT_DENIED = auto()
    """The broker attests that no good receipt came, and the provider's receipt is here."""
    OTHER_RECEIPT = auto()
    """The broker's signed account stamps another receipt than the one that is here."""
    STAMP_AGAINST_RECEIPT = auto()
    """The broker's signed account stamps a receipt under what is not that receipt's own."""
    STAMP_AGAINST_ACCOUNT = auto()
    """A stamp that the broker gave is not the one in its account."""
    RESULT_WITHHELD = auto()
    """The broker stamped a receipt, and nothing came through the session."""
    TWO_RECEIPTS = auto()
    """A provider signed two different receipts of one exchange."""
    HAD_A_LINK = auto()
    """The broker's signed account says that a provider had no link, and the provider that it had one."""


def reason_name(reason: Reason | str) -> str:
    """Return the contract's name of a reason; raise `ValueError` for a text that is none."""
    return f"REASON_CODE_{Reason(reason)}"


def element_name(element: Element | str) -> str:
    """Return the contract's name of an element; raise `ValueError` for a text that is none."""
    return f"ELEMENT_{Element(element)}"


def elements_of(values: Iterable[common_pb2.Element]) -> Iterator[Element]:
    """Yield what the contract's values are called here; one that a later contract added is left out."""
    for value in values:
        if value and value in common_pb2.Element.values():
            yield Element(common_pb2.Element.Name(value).removeprefix("ELEMENT_"))


def outcome_kind_of(value: common_pb2.OutcomeKind) -> OutcomeKind:
    """Return what the contract's value is called here."""
    return OutcomeKind(common_pb2.OutcomeKind.Name(value).removeprefix("OUTCOME_KIND_"))


def attestation_of(value: query_service_pb2.Attestation) -> Attestation:
    """Return what the contract's value is called here."""
    return Attestation(query_service_pb2.Attestation.Name(value).removeprefix("ATTESTATION_"))


def not_asked_reason_of(value: query_service_pb2.NotAskedReason) -> NotAskedReason:
    """Return what the contract's value is called here."""
    return NotAskedReason(query_service_pb2.NotAskedReason.Name(value).removeprefix("NOT_ASKED_REASON_"))


def marking_scheme_of(value: result_pb2.MarkingScheme) -> MarkingScheme:
    """Return what the contract's value is called here."""
    return MarkingScheme(result_pb2.MarkingScheme.Name(value).removeprefix("MARKING_SCHEME_"))


def finding_kind_of(value: query_service_pb2.FindingKind) -> FindingKind:
    """Return what the contract's value is called here."""
    return FindingKind(query_service_pb2.FindingKind.Name(value).removeprefix("FINDING_KIND_"))
