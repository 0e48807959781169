"""Agreements: without one in force, signed by both sides, no session opens and nothing is asked (A2).

An agreement pins both identity keys. Between two parties that have one, not even the governing
authority can slip a false key into a session: a roster that names another identity key makes the
agreement unusable, and with it the session. `load_agreement` applies these rules in this order:

1. it names two parties, both members, each with an identity key;
2. each pinned key is the one that the roster names, or leads to it by successions (`acceptances`), which the
   other party accepts before the old key ends, or the agreement rests;
3. both pinned keys signed it: one that a single side signed does nothing;
4. its times, and every grant, make sense: a grant goes from one party to the other, lists what it
   gives and for which reasons, and carries a constant ceiling marking of its provider.

An agreement ends at `ends_at`: its expiry, or, where it has days of extension, once so many days later; or
earlier, if a party gave notice (MOA V; `notices`). Each end goes by the notices that it has: one only ever
shortens, and who gave it stops whether the other side knows or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from google.protobuf.message import DecodeError

from comity.certs import words
from comity.certs.acceptances import (
    NOTHING_KEPT,
    Kept,
    Move,
    accepted,
    agreements_of,
    is_acceptance,
    moves,
    verify_acceptance,
)
from comity.certs.duties import Duty, check_duty, read_duties
from comity.certs.envelope import digest, from_json, open_envelope, payload_type
from comity.certs.errors import (
    AgreementInvalid,
    CertsError,
    EnvelopeInvalid,
    FileUnusable,
    KeyUnusable,
    SuccessionInvalid,
    UnknownMember,
)
from comity.certs.files import read_public
from comity.certs.instants import require_aware, to_instant
from comity.certs.keys import VerifyKey
from comity.certs.notices import Notice, Term, agreement_of, is_notice, verify_notice
from comity.certs.roster import Federation
from comity.certs.successions import IdentityKeys, Succession, is_succession, read_succession
from comity.v1.common_pb2 import Element, ReasonCode
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import Agreement, Grant
from comity.v1.result_pb2 import MARKING_SCHEME_UNSPECIFIED, Marking

ELEMENTS: Final = frozenset(name.removeprefix("ELEMENT_") for name in Element.keys()[1:])
"""Names of elements: `PLATE`, `LOCATION`, `IMAGES`, `VEHICLE`, `CAMERA`."""

PURPOSES: Final = frozenset(name.removeprefix("REASON_CODE_") for name in ReasonCode.keys()[1:])
"""Names of reasons: `CRIMINAL_INVESTIGATION`, `CIVIL_IMMIGRATION` and so on."""

MAX_CEILING_BYTES: Final = 4_096
"""A serialized ceiling marking; it travels in every receipt and stamp."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantView:
    """What one party provides to the other."""

    provider: str
    requester: str
    elements: frozenset[str]
    """Elements that may be shared, of `ELEMENTS`; the plate is always part of a read."""
    purposes: frozenset[str]
    """Reasons for which may be asked, of `PURPOSES`."""
    ceiling: bytes = field(repr=False)
    """The constant ceiling, a serialized `Marking`: compared byte for byte."""
    collected_after_effective_date: bool
    """Only reads captured at or after the agreement's effective date (A2, MOU 3.1)."""
    onward_sharing: str
    """To whom the requester may pass data on; empty: to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementView:
    """An agreement that both parties signed and whose pinned keys are the roster's, or lead to them."""

    agreement_id: str
    title: str
    digest: bytes
    """SHA-256 of the payload: its name in receipts and sessions."""
    parties: Mapping[str, VerifyKey]
    """The two agencies with the identity keys that it pins."""
    grants: tuple[GrantView, ...]
    effective_at: datetime
    expires_at: datetime
    """As it is written; `ends_at` is when it ends."""
    extension_days: int
    """By so many days it extends itself, once, unless a party gave notice; 0: it doesn't."""
    notice_days: int
    """Days that notice takes, of termination and of non-extension."""
    dissemination_terms: tuple[str, ...]
    duties: tuple[str, ...]
    documents: tuple[str, ...]
    dated_duties: tuple[Duty, ...] = ()
    """Duties that fall due on dates (L8)."""
    notices: tuple[Notice, ...] = ()
    """Those that this end has; each only shortens."""
    identities: Mapping[str, IdentityKeys] = field(default_factory=dict)
    """Of each party, the keys from the pinned one to the roster's, with their times."""
    moves: tuple[Move, ...] = ()
    """The steps from pinned keys to the roster's."""

    def identity_key(self, agency: str) -> VerifyKey | None:
        """The key that counts for a party: the pinned one, or the last to which it led; None: no party."""
        found = self.identities.get(agency)
        return self.parties.get(agency) if found is None else found.current

    @property
    def term(self) -> Term:
        """Its times, as it is written."""
        return Term(
            agreement_id=self.agreement_id,
            digest=self.digest,
            parties=self.parties,
            effective_at=self.effective_at,
            expires_at=self.expires_at,
            extension_days=self.extension_days,
            notice_days=self.notice_days,
            identities=self.identities,
        )

    @property
    def ends_at(self) -> datetime:
        """First instant no longer in force: by notice, by expiry, or once extended (A2, MOA V)."""
        return min((notice.ends_at for notice in self.notices), default=self.term.extended_until)

    def in_force(self, now: datetime) -> bool:
        """Return whether `now` lies in the half-open time from `effective_at` to `ends_at`, not resting."""
        return self.effective_at <= require_aware(now) < self.ends_at and not self.why_resting(now)

    def why_resting(self, now: datetime) -> str:
        """Return why it rests at `now` over an identity key that isn't accepted; empty: it doesn't."""
        return next((move.why(now) for move in self.moves if move.rests_at(now)), "")

    def grant(self, *, provider: str, requester: str) -> GrantView | None:
        """Return what `provider` grants to `requester`, whether in force or not; None if nothing."""
        for grant in self.grants:
            if (grant.provider, grant.requester) == (provider, requester):
                return grant
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file of a folder that isn't used, and why: for the log and the person who runs the end."""

    path: Path
    reason: str


def load_agreement(data: bytes, federation: Federation, kept: Kept = NOTHING_KEPT) -> AgreementView:
    """Return the agreement in `data` (DSSE's JSON form), every rule of this module applied.

    It may be past its time or not yet in force: ask `in_force`. Raises `AgreementInvalid`.
    """
    return verify_agreement(_envelope(data), federation, kept)


def with_notice(agreement: AgreementView | None, envelope: Envelope) -> AgreementView:
    """Return the agreement with a notice about it; raise `AgreementInvalid` unless that verifies."""
    if agreement is None:
        raise AgreementInvalid("notice: the agreement that it names isn't here, or doesn't verify")
    notice = verify_notice(envelope, agreement.term)
    if notice in agreement.notices:
        return agreement
    return replace(agreement, notices=(*agreement.notices, notice))


def _envelope(data: bytes) -> Envelope:
    try:
        return from_json(data)
    except EnvelopeInvalid as error:
        raise AgreementInvalid(f"agreement: {error}") from error


def verify_agreement(envelope: Envelope, federation: Federation, kept: Kept = NOTHING_KEPT) -> AgreementView:
    """Return the agreement in `envelope`, every rule of this module applied; raise `AgreementInvalid`."""
    proposed = read_proposal(envelope, federation, kept)
    try:
        open_envelope(envelope, Agreement, proposed.parties.values(), threshold=len(proposed.parties))
    except EnvelopeInvalid as error:
        both = " and ".join(proposed.parties)
        raise AgreementInvalid(
            f"agreement `{proposed.agreement_id}` isn't signed by both {both}: {error}"
        ) from error
    return proposed


def signed_by(envelope: Envelope, proposed: AgreementView) -> tuple[str, ...]:
    """Return the parties of `proposed` whose signature over `envelope` verifies; may be empty."""
    found = []
    for agency, key in proposed.parties.items():
        try:
            open_envelope(envelope, Agreement, [key])
        except EnvelopeInvalid:
            continue
        found.append(agency)
    return tuple(found)


def read_proposal(envelope: Envelope, federation: Federation, kept: Kept = NOTHING_KEPT) -> AgreementView:
    """Return the terms in `envelope` with every rule but the signatures applied (rules 1, 2 and 4).

    For a party that is about to read and sign it; nothing may be asked or answered under it. Raises
    `AgreementInvalid`.
    """
    if envelope.payload_type != payload_type(Agreement):
        raise AgreementInvalid(
            f"document is {envelope.payload_type[:120]!a}, expected `{payload_type(Agreement)}`"
        )
    try:
        agreement = Agreement.FromString(envelope.payload)
    except DecodeError as error:
        raise AgreementInvalid("agreement: payload is not an `Agreement`") from error
    try:
        parties, name = _parties(agreement), digest(envelope.payload)
        view = AgreementView(
            agreement_id=words.short_name(agreement.agreement_id, "agreement id"),
            title=words.line(agreement.title, "title"),
            digest=name,
            parties=MappingProxyType(parties),
            grants=tuple(_grant(grant, parties) for grant in agreement.grants),
            effective_at=to_instant(agreement, "effective_at"),
            expires_at=to_instant(agreement, "expires_at"),
            extension_days=agreement.extension_days,
            notice_days=agreement.notice_days,
            dissemination_terms=words.lines(agreement.dissemination_terms, "dissemination term"),
            duties=words.lines(agreement.duties, "duty"),
            documents=words.lines(agreement.documents, "document"),
            dated_duties=read_duties(agreement.dated_duties),
        )
        view = _under(view, federation, kept)
        _check_terms(view, agreement)
    except (ValueError, UnknownMember, KeyUnusable) as error:
        shown = ascii(agreement.agreement_id)[1:-1][:64]
        raise AgreementInvalid(f"agreement `{shown}`: {error}") from error
    return view


def _parties(agreement: Agreement) -> dict[str, VerifyKey]:
    """Return the two parties with their pinned keys; raise `ValueError`."""
    found = {party.agency: VerifyKey.from_der(party.identity_key) for party in agreement.parties}
    if len(found) != 2 or len(agreement.parties) != 2:
        raise ValueError("expected exactly two different parties")
    return found


def _under(view: AgreementView, federation: Federation, kept: Kept) -> AgreementView:
    """Return an agreement with the keys to which its pins lead in a roster (rule 2).

    Raises `ValueError` or `UnknownMember` if one leads nowhere.
    """
    parties = {agency: federation.member(agency) for agency in view.parties}
    known = accepted(kept, agreement=view.digest, parties=view.parties, federation=federation)
    steps = [moves(agency, view.parties[agency], member, known, kept) for agency, member in parties.items()]
    identities = {agency: member.identities.after(view.parties[agency]) for agency, member in parties.items()}
    return replace(view, identities=MappingProxyType(identities), moves=tuple(itertools.chain(*steps)))


def _grant(grant: Grant, parties: Mapping[str, VerifyKey]) -> GrantView:
    """Return one grant; raise `ValueError`."""
    if {grant.provider, grant.requester} != parties.keys():
        raise ValueError(f"grant: expected provider and requester to be {' and '.join(parties)}")
    what = f"grant `{grant.provider}:{grant.requester}`"
    try:
        elements = frozenset(Element.Name(value).removeprefix("ELEMENT_") for value in grant.elements)
        purposes = frozenset(ReasonCode.Name(value).removeprefix("REASON_CODE_") for value in grant.purposes)
    except ValueError as error:
        raise ValueError(f"{what} names an element or a purpose that isn't known") from error
    if not elements <= ELEMENTS or not purposes <= PURPOSES:
        raise ValueError(f"{what} names an element or a purpose without a value")
    check_ceiling(grant.ceiling_marking, provider=grant.provider, what=what)
    return GrantView(
        provider=grant.provider,
        requester=grant.requester,
        elements=elements,
        purposes=purposes,
        ceiling=grant.ceiling_marking,
        collected_after_effective_date=grant.collected_after_effective_date,
        onward_sharing=words.line(grant.onward_sharing, "onward sharing", empty=True),
    )


def check_ceiling(ceiling: bytes, *, provider: str, what: str) -> None:
    """Raise `ValueError` unless `ceiling` is a complete marking of `provider` (A4).

    It is part of the agreement, so it can't hold the agreement's digest.
    """
    if len(ceiling) > MAX_CEILING_BYTES:
        raise ValueError(f"{what}: ceiling marking is larger than {MAX_CEILING_BYTES} bytes")
    try:
        marking = Marking.FromString(ceiling)
    except DecodeError as error:
        raise ValueError(f"{what}: ceiling is not a `Marking`") from error
    if marking.provider != provider:
        raise ValueError(f"{what}: ceiling marking names another provider, expected `{provider}`")
    if marking.scheme == MARKING_SCHEME_UNSPECIFIED or marking.agreement_digest:
        raise ValueError(f"{what}: ceiling marking needs a scheme, and no agreement's digest")
    for name, value in (("nature", marking.nature), ("banner", marking.banner), ("portion", marking.portion)):
        words.line(value, f"{what}: ceiling's {name}")


def _check_terms(view: AgreementView, agreement: Agreement) -> None:
    """Raise `ValueError` unless times, nonce and grants of the whole make sense."""
    if view.expires_at <= view.effective_at:
        raise ValueError("it expires before it takes effect")
    if len(agreement.nonce) != 16:
        raise ValueError(f"nonce has {len(agreement.nonce)} bytes, expected 16")
    for duty in view.dated_duties:
        last = view.term.extended_until
        check_duty(duty, parties=view.parties, effective_at=view.effective_at, ends_at=last)
    pairs = [(grant.provider, grant.requester) for grant in view.grants]
    if not pairs or len(set(pairs)) != len(pairs):
        raise ValueError("expected one or two grants, each in another direction")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementBook:
    """The agreements of one end's folder, as one snapshot."""

    federation: Federation = field(repr=False)
    agreements: tuple[AgreementView, ...]
    """Those that verify, in force or not."""
    rejected: tuple[Rejected, ...] = ()
    """Files that do nothing, and why: show and log them."""
    kept: Kept = field(default=NOTHING_KEPT, repr=False)
    """What the folder has about identity keys."""

    @classmethod
    def load(cls, folder: Path, federation: Federation, *, own: str = "") -> AgreementBook:
        """Return every agreement in the `*.json` files of `folder`; raise `FileUnusable` if it isn't there.

        Notices in it count for the agreement that they name, acceptances of identity keys for those that they
        name. A file that doesn't verify is not used and stands in `rejected`: it must not take the others
        with it. `own`: the agency whose folder it is, whose own new key needs nobody's acceptance here.
        """
        found: dict[bytes, AgreementView] = {}
        rejected: list[Rejected] = []
        others = list[tuple[Path, Envelope]]()
        notices, acceptances = list[tuple[Path, Envelope]](), list[tuple[Path, Envelope]]()
        successions: list[Succession] = []
        for path in documents_in(folder):
            try:
                envelope = _envelope(read_public(path))
                if is_succession(envelope):
                    successions.append(_own_succession(envelope, own))
                elif is_acceptance(envelope):
                    acceptances.append((path, envelope))
                else:
                    (notices if is_notice(envelope) else others).append((path, envelope))
            except CertsError as error:
                rejected.append(Rejected(path=path, reason=str(error)))
        kept = Kept(
            own=own,
            acceptances=tuple(envelope for _, envelope in acceptances),
            successions=tuple(successions),
        )
        for path, envelope in others:
            try:
                agreement = verify_agreement(envelope, federation, kept)
                found[agreement.digest] = agreement
            except CertsError as error:
                rejected.append(Rejected(path=path, reason=str(error)))
        for path, envelope in notices:
            try:
                noticed = with_notice(found.get(agreement_of(envelope)), envelope)
                found[noticed.digest] = noticed
            except CertsError as error:
                rejected.append(Rejected(path=path, reason=str(error)))
        for path, envelope in acceptances:
            try:
                _check_used(envelope, found, federation)
            except CertsError as error:
                rejected.append(Rejected(path=path, reason=str(error)))
        return cls(
            federation=federation,
            agreements=tuple(found.values()),
            rejected=tuple(sorted(rejected, key=lambda each: each.path)),
            kept=kept,
        )

    def under(self, federation: Federation) -> AgreementBook:
        """Return what of these holds under another roster, when their folder can't be read again.

        One with a party that the roster doesn't have, or whose pinned key leads to no key there, isn't kept.
        A notice or an acceptance that isn't known here yet doesn't count before the folder can be read.
        """
        held = []
        for agreement in self.agreements:
            try:
                held.append(_under(agreement, federation, self.kept))
            except (ValueError, UnknownMember):
                continue
        return replace(self, federation=federation, agreements=tuple(held))

    def grant(
        self, *, provider: str, requester: str, now: datetime
    ) -> tuple[AgreementView, GrantView] | None:
        """Return the agreement in force under which `requester` may ask `provider`, with its grant; or None.

        None, too, if either is suspended, has lapsed or isn't a member, if the provider doesn't provide or
        the requester doesn't ask. Of several in force the one that took effect last counts, so that both ends
        choose alike.
        """
        members = self.federation.members
        asked, asking = members.get(provider), members.get(requester)
        if asked is None or asking is None or asked.is_out or asking.is_out:
            return None
        if not asked.provides or not asking.asks:
            return None
        found = [
            (agreement, grant)
            for agreement in self.agreements
            if agreement.in_force(now)
            and (grant := agreement.grant(provider=provider, requester=requester)) is not None
        ]
        return max(found, key=lambda pair: (pair[0].effective_at, pair[0].digest), default=None)

    def why_resting(self, *, provider: str, requester: str, now: datetime) -> str:
        """Return why an agreement of the pair rests at `now`, in its time; empty: none does."""
        for agreement in self.agreements:
            if agreement.grant(provider=provider, requester=requester) is not None:
                in_time = agreement.effective_at <= now < agreement.ends_at
                if in_time and (why := agreement.why_resting(now)):
                    return why
        return ""

    def waiting(self) -> Iterator[str]:
        """Yield, for a log, what becomes of agreements with a new identity key that isn't accepted."""
        known = {own.digest for own in self.kept.successions}
        strange: dict[bytes, Move] = {}
        for agreement in self.agreements:
            for move in agreement.moves:
                if move.is_open:
                    yield f"agreement `{agreement.agreement_id}` {move.warning}"
                elif move.own and move.succession.digest not in known:
                    strange[move.succession.digest] = move
        for move in strange.values():
            yield move.strange

    def providers_for(self, requester: str, now: datetime) -> tuple[str, ...]:
        """Return the agencies that `requester` may ask at `now`, in alphabetical order."""
        members = self.federation.members
        return tuple(
            agency
            for agency in sorted(members)
            if self.grant(provider=agency, requester=requester, now=now) is not None
        )


def _own_succession(envelope: Envelope, own: str) -> Succession:
    """Return a succession of the agency whose folder this is; raise `SuccessionInvalid`."""
    found = read_succession(envelope.SerializeToString())
    if found.agency != own:
        raise SuccessionInvalid(
            f"a succession of `{found.agency}` does nothing here: accept it with "
            f"`comity agreement accept-identity {found.agency}`"
        )
    return found


def _check_used(envelope: Envelope, found: Mapping[bytes, AgreementView], federation: Federation) -> None:
    """Raise `SuccessionInvalid` unless an acceptance counts for an agreement that is here."""
    here = [found[name] for name in agreements_of(envelope) if name in found]
    if not here:
        raise SuccessionInvalid("acceptance: no agreement that it names is here, or none verifies")
    for agreement in here:
        verify_acceptance(
            envelope, agreement=agreement.digest, parties=agreement.parties, federation=federation
        )


def documents_in(folder: Path) -> Iterator[Path]:
    """Yield the JSON documents of `folder` in the order of their names."""
    try:
        entries: Sequence[Path] = sorted(folder.iterdir())
    except OSError as error:
        raise FileUnusable(f"folder `{folder}` can't be read: {(error.strerror or '').lower()}") from error
    yield from (path for path in entries if path.suffix == ".json" and not path.name.startswith("."))
