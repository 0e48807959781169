"""Drawing up agreements: terms from a file or a command line, signatures of both sides, lodged ceilings.

Terms in TOML::

    id = "moa-lapd-lahd"
    title = "Sharing of ALPR information"
    effective = 2026-01-01
    expires = 2029-01-01
    extension_days = 365                  # optional, as are all that follow
    notice_days = 30
    dissemination_terms = ["only to local agencies with a sharing agreement"]
    duties = ["report errors at once"]
    documents = ["MOA II.A"]

    [[duty]]                              # a duty with dates, as many as there are
    agency = "lahd"
    text = "certify that training is current"
    first = 2026-07-01
    every_months = 6                      # 0, or left out: once

    [[grant]]
    provider = "lapd"
    requester = "lahd"
    elements = ["location", "images", "vehicle", "camera"]      # or ["all"]
    purposes = ["criminal-investigation", "stolen-vehicle"]     # or ["all"]
    collected_after_effective_date = false
    onward_sharing = ""                                         # empty: to nobody

    [grant.ceiling]
    nature = "automated licence plate reads"
    banner = "LAW ENFORCEMENT SENSITIVE // LAPD"
"""

from __future__ import annotations

import difflib
import secrets
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from pathlib import Path
from typing import Final

from comity.certs import words
from comity.certs.agreements import (
    ELEMENTS,
    PURPOSES,
    AgreementView,
    check_ceiling,
    read_proposal,
    signed_by,
    verify_agreement,
    with_notice,
)
from comity.certs.duties import Duty, check_duty
from comity.certs.envelope import add_signature, seal
from comity.certs.errors import AgreementInvalid, SetupRefused
from comity.certs.files import read_public
from comity.certs.instants import from_instant, require_aware
from comity.certs.keys import SigningKey
from comity.certs.notices import verify_notice
from comity.certs.roster import Federation
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import (
    NOTICE_KIND_NON_EXTENSION,
    NOTICE_KIND_TERMINATION,
    Agreement,
    AgreementNotice,
    AgreementParty,
    CeilingLodgement,
    DatedDuty,
    Grant,
)

ALL: Final = "all"
"""In the place of a list of elements or purposes."""

CeilingMaker = Callable[[str, str, str], bytes]
"""Makes a ceiling, a serialized `Marking`, of a provider, the nature of its data and a banner.

Raises `ValueError` for a banner that can't be. This room can't make one itself: how markings are written
belongs to `comity.policy`.
"""

MAX_DAYS: Final = 36_500
"""Days of extension or notice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantTerms:
    """What one party will provide to the other.

    Raises `SetupRefused` for a name that isn't known, and without any purpose.
    """

    provider: str
    requester: str
    elements: frozenset[str]
    """Of `ELEMENTS`."""
    purposes: frozenset[str]
    """Of `PURPOSES`."""
    ceiling: bytes = field(repr=False)
    """A serialized `Marking` of the provider."""
    collected_after_effective_date: bool = False
    onward_sharing: str = ""

    def __post_init__(self) -> None:
        try:
            words.agency_id(self.provider, "grant's provider")
            words.agency_id(self.requester, "grant's requester")
            words.line(self.onward_sharing, "onward sharing", empty=True)
            if self.provider == self.requester:
                raise ValueError(f"grant: provider and requester are both `{self.provider}`")
            check_ceiling(self.ceiling, provider=self.provider, what="grant")
        except ValueError as error:
            raise SetupRefused(str(error)) from error
        if not self.elements <= ELEMENTS or not self.purposes <= PURPOSES:
            raise SetupRefused(f"grant `{self.provider}:{self.requester}`: an element or purpose isn't known")
        if not self.purposes:
            raise SetupRefused(
                f"grant `{self.provider}:{self.requester}`: no purpose, so it would permit nothing: "
                f"name some, or `{ALL}`"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementTerms:
    """The terms of an agreement before anybody signed; raises `SetupRefused` for terms that can't be."""

    agreement_id: str
    title: str
    effective_at: datetime
    expires_at: datetime
    grants: tuple[GrantTerms, ...]
    extension_days: int = 0
    notice_days: int = 0
    dissemination_terms: tuple[str, ...] = ()
    duties: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    dated_duties: tuple[Duty, ...] = ()

    def __post_init__(self) -> None:
        try:
            words.short_name(self.agreement_id, "agreement id")
            words.line(self.title, "title")
            words.lines(self.dissemination_terms, "dissemination term")
            words.lines(self.duties, "duty")
            words.lines(self.documents, "document")
            if require_aware(self.expires_at) <= require_aware(self.effective_at):
                raise ValueError("expires: is not later than effective")
            for name, days in (("extension_days", self.extension_days), ("notice_days", self.notice_days)):
                if not 0 <= days <= MAX_DAYS:
                    raise ValueError(f"{name} `{days}`: expected 0 to {MAX_DAYS}")
            last = self.expires_at + timedelta(days=self.extension_days)
            for duty in self.dated_duties:
                check_duty(duty, parties=self.parties, effective_at=self.effective_at, ends_at=last)
        except ValueError as error:
            raise SetupRefused(f"agreement: {error}") from error
        if len(self.parties) != 2 or len(self.grants) > 2:
            raise SetupRefused("agreement: expected one or two grants between two agencies")
        if len({grant.provider for grant in self.grants}) != len(self.grants):
            raise SetupRefused("agreement: two grants of one provider, expected one in each direction")

    @property
    def parties(self) -> tuple[str, ...]:
        """The agencies that the grants name, in alphabetical order."""
        return tuple(
            sorted({agency for grant in self.grants for agency in (grant.provider, grant.requester)})
        )

    @classmethod
    def load(cls, path: Path, make_ceiling: CeilingMaker) -> AgreementTerms:
        """Return the terms in a TOML file as this module's docstring shows it; raise `SetupRefused`."""
        try:
            return cls.from_table(tomllib.loads(read_public(path).decode()), make_ceiling)
        except ValueError as error:
            raise SetupRefused(f"file `{path}` is not TOML: {error}") from error
        except SetupRefused as error:
            raise SetupRefused(f"file `{path}`: {error}") from error

    @classmethod
    def from_table(cls, table: Mapping[str, object], make_ceiling: CeilingMaker) -> AgreementTerms:
        """Return the terms in a parsed TOML document; raise `SetupRefused`, naming the key."""
        grants = table.get("grant")
        if not isinstance(grants, list) or not all(isinstance(entry, dict) for entry in grants):
            raise SetupRefused("agreement: expected tables `[[grant]]`")
        _refuse_unknown(table, _AGREEMENT_KEYS, "agreement")
        return cls(
            agreement_id=_text(table, "id"),
            title=_text(table, "title"),
            effective_at=_day(table, "effective"),
            expires_at=_day(table, "expires"),
            grants=tuple(_grant(entry, make_ceiling) for entry in grants),
            extension_days=_number(table, "extension_days"),
            notice_days=_number(table, "notice_days"),
            dissemination_terms=_texts(table, "dissemination_terms"),
            duties=_texts(table, "duties"),
            documents=_texts(table, "documents"),
            dated_duties=tuple(_duties(table.get("duty", []))),
        )


_AGREEMENT_KEYS: Final = frozenset(
    {"id", "title", "effective", "expires", "extension_days", "notice_days"}
    | {"dissemination_terms", "duties", "documents", "grant", "duty"}
)
_DUTY_KEYS: Final = frozenset({"agency", "text", "first", "every_months"})
_GRANT_KEYS: Final = frozenset(
    {"provider", "requester", "elements", "purposes", "ceiling"}
    | {"collected_after_effective_date", "onward_sharing"}
)


def names(values: Iterable[str], known: Collection[str], what: str) -> frozenset[str]:
    """Return names as the contract spells them: `criminal-investigation` gives `CRIMINAL_INVESTIGATION`.

    `all` stands for all of `known`. Raises `SetupRefused`, with the nearest right name.
    """
    found: set[str] = set()
    for value in values:
        name = value.strip().upper().replace("-", "_").replace(" ", "_")
        if name == ALL.upper():
            found.update(known)
        elif name in known:
            found.add(name)
        else:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean `{spell(near[0])}`?"
                if near
                else f"known: {', '.join(map(spell, sorted(known)))}"
            )
            raise SetupRefused(f"{what} `{ascii(value)[1:-1][:40]}` isn't known; {hint}")
    return frozenset(found)


def spell(name: str) -> str:
    """Return a name of the contract as the command line spells it: `criminal-investigation`."""
    return name.lower().replace("_", "-")


def midnight(day: Date) -> datetime:
    """Return the first instant of `day`, UTC."""
    return datetime.combine(day, time(), UTC)


def draft(terms: AgreementTerms, federation: Federation, key: SigningKey) -> Envelope:
    """Return `terms` as an agreement that pins both parties' identity keys, signed by one of them with `key`.

    It does nothing until the other has signed it too. Raises `UnknownMember`, `AgreementInvalid` if `key` is
    neither party's.
    """
    agreement = Agreement(
        nonce=secrets.token_bytes(16),
        agreement_id=terms.agreement_id,
        title=terms.title,
        parties=[
            AgreementParty(agency=agency, identity_key=federation.member(agency).identity_key.der)
            for agency in terms.parties
        ],
        grants=[
            Grant(
                provider=grant.provider,
                requester=grant.requester,
                elements=[f"ELEMENT_{name}" for name in sorted(grant.elements)],
                purposes=[f"REASON_CODE_{name}" for name in sorted(grant.purposes)],
                ceiling_marking=grant.ceiling,
                collected_after_effective_date=grant.collected_after_effective_date,
                onward_sharing=grant.onward_sharing,
            )
            for grant in terms.grants
        ],
        effective_at=from_instant(terms.effective_at),
        expires_at=from_instant(terms.expires_at),
        extension_days=terms.extension_days,
        notice_days=terms.notice_days,
        dissemination_terms=terms.dissemination_terms,
        duties=terms.duties,
        documents=terms.documents,
        dated_duties=map(_to_message, terms.dated_duties),
    )
    envelope = seal(agreement, key)
    _check_party(read_proposal(envelope, federation), key)
    return envelope


def sign(envelope: Envelope, federation: Federation, key: SigningKey) -> Envelope:
    """Return the agreement with the signature of `key`, one of its parties', beside the other's.

    Raises `AgreementInvalid` if its terms break a rule, `key` is neither party's, the signature that is on it
    already isn't a party's, or it pins an identity key that was replaced since.
    """
    proposed = read_proposal(envelope, federation)
    if proposed.moves:
        replaced = proposed.moves[0].succession
        raise AgreementInvalid(
            f"agreement `{proposed.agreement_id}` pins an identity key that `{replaced.agency}` replaced: "
            "draw it up anew"
        )
    _check_party(proposed, key)
    if not signed_by(envelope, proposed):
        raise AgreementInvalid(
            f"agreement `{proposed.agreement_id}`: no party's signature on it verifies, so it was changed "
            "after it was signed"
        )
    return add_signature(envelope, key)


def lodgements(
    envelope: Envelope,
    federation: Federation,
    agency: str,
    key: SigningKey,
    notices: Sequence[Envelope] = (),
) -> dict[str, Envelope]:
    """Return what `agency` lodges with the broker, by requester: the ceiling of each grant it provides.

    It counts until the agreement ends, by the `notices` that are at hand. Nothing else of the agreement
    leaves the two parties. Raises `AgreementInvalid` unless both sides signed it and `key` is the identity
    key of `agency`.
    """
    agreement: AgreementView = verify_agreement(envelope, federation)
    _check_party(agreement, key, agency)
    for notice in notices:
        agreement = with_notice(agreement, notice)
    return {
        grant.requester: seal(
            CeilingLodgement(
                agreement_digest=agreement.digest,
                provider=grant.provider,
                requester=grant.requester,
                ceiling_marking=grant.ceiling,
                effective_at=from_instant(agreement.effective_at),
                expires_at=from_instant(agreement.ends_at),
            ),
            key,
        )
        for grant in agreement.grants
        if grant.provider == agency
    }


def renew(
    envelope: Envelope,
    federation: Federation,
    key: SigningKey,
    *,
    agreement_id: str,
    expires_at: datetime,
) -> Envelope:
    """Return the agreement that follows one: its terms, from its expiry on, signed by one party with `key`.

    It pins the identity keys that the roster names now. Raises `AgreementInvalid` unless both signed the old
    one, `key` is a party's, and it expires after it begins.
    """
    old = verify_agreement(envelope, federation)
    _check_party(old, key)
    if agreement_id == old.agreement_id:
        raise AgreementInvalid(f"agreement `{agreement_id}`: the next one needs an id of its own")
    agreement = Agreement.FromString(envelope.payload)
    agreement.agreement_id = agreement_id
    agreement.nonce = secrets.token_bytes(16)
    for party in agreement.parties:
        party.identity_key = federation.member(party.agency).identity_key.der
    agreement.effective_at.CopyFrom(from_instant(old.expires_at))
    agreement.expires_at.CopyFrom(from_instant(expires_at))
    last = expires_at + timedelta(days=old.extension_days)
    del agreement.dated_duties[:]
    for duty in old.dated_duties:
        first = next((at for at in duty.dates(last) if at >= old.expires_at), None)
        if first is not None:
            agreement.dated_duties.append(_to_message(replace(duty, first_due_at=first)))
    renewed = seal(agreement, key)
    read_proposal(renewed, federation)
    return renewed


def give_notice(
    agreement: AgreementView, key: SigningKey, *, given_at: datetime, ends_at: datetime | None
) -> Envelope:
    """Return notice, signed with `key`, that an agreement ends (A2, MOA V).

    Args:
        agreement: One that both signed.
        key: The identity key of the party that gives notice.
        given_at: Now.
        ends_at: First instant no longer in force; None: at its expiry, without extension.

    Raises `AgreementInvalid` if `key` is neither party's, or the notice comes too late for that date.
    """
    _check_party(agreement, key)
    (agency,) = [party for party in agreement.parties if agreement.identity_key(party) == key.public]
    kind = NOTICE_KIND_NON_EXTENSION if ends_at is None else NOTICE_KIND_TERMINATION
    notice = AgreementNotice(
        nonce=secrets.token_bytes(16),
        agreement_digest=agreement.digest,
        agency=agency,
        kind=kind,
        given_at=from_instant(given_at),
        ends_at=None if ends_at is None else from_instant(ends_at),
    )
    envelope = seal(notice, key)
    verify_notice(envelope, agreement.term)
    return envelope


def _check_party(agreement: AgreementView, key: SigningKey, agency: str | None = None) -> None:
    """Raise `AgreementInvalid` unless `key` is the key of a party now, or of the party `agency`."""
    for party in agreement.parties:
        if agreement.identity_key(party) == key.public and agency in (None, party):
            return
    raise AgreementInvalid(
        f"agreement `{agreement.agreement_id}` is between {' and '.join(agreement.parties)}, and this "
        "identity key is not the one that it pins, nor one that took its place"
    )


def _to_message(duty: Duty) -> DatedDuty:
    return DatedDuty(
        agency=duty.agency,
        text=duty.text,
        first_due_at=from_instant(duty.first_due_at),
        every_months=duty.every_months,
    )


def _duties(tables: object) -> Iterator[Duty]:
    """Yield the `[[duty]]` tables."""
    if not isinstance(tables, list) or not all(isinstance(entry, dict) for entry in tables):
        raise SetupRefused("agreement: expected tables `[[duty]]`")
    for table in tables:
        _refuse_unknown(table, _DUTY_KEYS, "duty")
        yield Duty(
            agency=_text(table, "agency"),
            text=_text(table, "text"),
            first_due_at=_day(table, "first"),
            every_months=_number(table, "every_months"),
        )


def _grant(table: Mapping[str, object], make_ceiling: CeilingMaker) -> GrantTerms:
    """Return one `[[grant]]` table."""
    _refuse_unknown(table, _GRANT_KEYS, "grant")
    ceiling = table.get("ceiling")
    if not isinstance(ceiling, dict):
        raise SetupRefused("grant: expected a table `[grant.ceiling]` with `nature` and `banner`")
    _refuse_unknown(ceiling, frozenset({"nature", "banner"}), "ceiling")
    after = table.get("collected_after_effective_date", False)
    if not isinstance(after, bool):
        raise SetupRefused("grant: `collected_after_effective_date` is not true or false")
    provider = _text(table, "provider")
    try:
        made = make_ceiling(provider, _text(ceiling, "nature"), _text(ceiling, "banner"))
    except ValueError as error:
        raise SetupRefused(f"grant of `{ascii(provider)[1:-1][:40]}`: ceiling: {error}") from error
    return GrantTerms(
        provider=provider,
        requester=_text(table, "requester"),
        elements=names(_texts(table, "elements"), ELEMENTS, "element"),
        purposes=names(_texts(table, "purposes"), PURPOSES, "purpose"),
        ceiling=made,
        collected_after_effective_date=after,
        onward_sharing=_text(table, "onward_sharing", default=""),
    )


def _refuse_unknown(table: Mapping[str, object], known: Collection[str], what: str) -> None:
    """Raise `SetupRefused` for a key that isn't known, with the nearest right one."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(known))}"
            raise SetupRefused(f"{what}: unknown key `{ascii(key)[1:-1][:40]}`; {hint}")


def _text(table: Mapping[str, object], key: str, *, default: str | None = None) -> str:
    """Return a text; raise `SetupRefused` if it isn't there or isn't one."""
    value = table.get(key, default)
    if not isinstance(value, str):
        raise SetupRefused(f"`{key}` is missing or not a text")
    return value


def _texts(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Return a list of texts, empty if it isn't there."""
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise SetupRefused(f"`{key}` is not a list of texts")
    return tuple(value)


def _number(table: Mapping[str, object], key: str) -> int:
    """Return a whole number, 0 if it isn't there."""
    value = table.get(key, 0)
    if type(value) is not int:
        raise SetupRefused(f"`{key}` is not a whole number")
    return value


def _day(table: Mapping[str, object], key: str) -> datetime:
    """Return a date's first instant, or a time with its zone, in UTC."""
    value = table.get(key)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, Date) and not isinstance(value, datetime):
        return midnight(value)
    raise SetupRefused(f"`{key}` is not a date such as 2026-01-31")
