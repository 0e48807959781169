"""Identity keys give way to others: the old one vouches, the other party accepts, nobody else can (design 4).

LAPD and the sheriff's department have an agreement. LAPD replaces its identity key at noon; for thirty days
the old one counts beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from comity.certs.acceptances import accept
from comity.certs.agreements import AgreementBook, load_agreement, with_notice
from comity.certs.drafting import draft, give_notice, lodgements, renew, sign
from comity.certs.envelope import seal, to_json
from comity.certs.errors import (
    AgreementInvalid,
    LodgementInvalid,
    RosterInvalid,
    SuccessionInvalid,
)
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.lodgements import load_lodgement
from comity.certs.members import without_revoked
from comity.certs.revocations import Revoked, RevokedOf, key_digest
from comity.certs.roster import Federation
from comity.certs.successions import Succession, read_succession, succeed
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import Agreement, AgreementNotice, IdentityAcceptance, IdentitySuccession
from tests.certs.test_agreements import TERMS, both_sign
from tests.support.rosters import DAY, NOON, Forge, Party

OVERLAP = 30 * DAY
LATER = NOON + OVERLAP
LONG = replace(TERMS, expires_at=NOON + 365 * DAY)


class Pair:
    """Two agencies with an agreement, each with its folder; their keys can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.forge = Forge()
        self.folder = folder
        self.former: dict[str, SigningKey] = {}
        self.signed = both_sign(self.forge, LONG)
        self.put("lapd", "moa", self.signed)
        self.put("lahd", "moa", self.signed)

    @property
    def federation(self) -> Federation:
        return self.forge.verify()

    @property
    def digest(self) -> bytes:
        return load_agreement(to_json(self.signed), self.federation).digest

    def put(self, agency: str, name: str, envelope: Envelope) -> None:
        (self.folder / agency).mkdir(exist_ok=True)
        (self.folder / agency / f"{name}.json").write_bytes(to_json(envelope))

    def book(self, agency: str, federation: Federation | None = None) -> AgreementBook:
        return AgreementBook.load(self.folder / agency, federation or self.federation, own=agency)

    def counts(self, agency: str, now: datetime = NOON, federation: Federation | None = None) -> bool:
        """Whether LAPD may be asked, as the end of `agency` sees it."""
        book = self.book(agency, federation)
        return book.grant(provider="lapd", requester="lahd", now=now) is not None

    def replace_key(self, party: Party, **changes: object) -> Succession:
        """Replace a party's identity key as it would, in the roster, too."""
        new = SigningKey.generate()
        values = {
            "agency": party.agency,
            "number": len(party.entry.successions) + 1,
            "now": NOON,
            "overlap": OVERLAP,
            "reason": "on schedule",
            **changes,
        }
        step = succeed(party.identity, new, **values)  # type: ignore[arg-type]
        self.former[party.agency] = party.identity
        self.publish(party, new, step.serialized)
        return step

    def publish(self, party: Party, key: SigningKey, *successions: bytes) -> None:
        """Publish a roster with another identity key of a party."""
        party.identity = key
        party.entry.identity_key = key.public.der
        party.entry.successions.extend(successions)
        party.sign_key_set()

    def go_back(self, party: Party) -> None:
        """Publish a roster with the former identity key, as if nothing had been."""
        del party.entry.successions[-1:]
        self.publish(party, self.former[party.agency])

    def accepts(self, step: Succession, by: Party, **changes: object) -> Envelope:
        """The word of a party, signed with its identity key, that it goes on with a new key."""
        agreements = changes.pop("agreements", [self.digest])
        values = {"agency": by.agency, "key": by.identity, "now": NOON, **changes}
        return accept(step, agreements, **values)  # type: ignore[arg-type]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_agreement_goes_on_with_a_key_that_the_other_party_accepted(pair: Pair) -> None:
    """Accepted within the overlap, the pair never rests: before, in and after it, at both ends."""
    step = pair.replace_key(pair.forge.lapd)
    for agency in ("lapd", "lahd"):
        assert pair.counts(agency)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    for agency in ("lapd", "lahd"):
        for now in (NOON, LATER - DAY, LATER, LATER + 100 * DAY):
            assert pair.counts(agency, now)
    book = pair.book("lahd")
    assert book.rejected == () and book.agreements[0].identity_key("lapd") == pair.forge.lapd.identity.public
    assert book.agreements[0].parties["lapd"] == pair.former["lapd"].public  # what was signed stays as it was


def test_agreement_whose_other_party_never_accepts_rests_with_the_reason(pair: Pair) -> None:
    """The old key's word carries the pair to the overlap's end; then what is missing is said."""
    step = pair.replace_key(pair.forge.lapd)
    assert pair.counts("lahd", LATER - timedelta(seconds=1)) and not pair.counts("lahd", LATER)
    assert pair.counts("lapd", LATER)  # its own ends need nobody's word for their own key
    why = pair.book("lahd").why_resting(provider="lapd", requester="lahd", now=LATER)
    assert "`lapd` replaced its identity key" in why and step.new.key_id in why
    (warning,) = pair.book("lahd").waiting()
    assert "rests from 2026-07-01 12:00 UTC" in warning and "comity agreement accept-identity lapd" in warning
    assert not pair.book("lahd").why_resting(provider="lapd", requester="lahd", now=NOON)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd, now=LATER + DAY))
    assert pair.counts("lahd", LATER + DAY)


def test_both_replace_their_keys_again_and_again(pair: Pair) -> None:
    """Each step is accepted by the other with the key of its day; later ones don't undo earlier ones."""
    lapd, lahd = pair.forge.lapd, pair.forge.lahd
    pair.put("lahd", "first", pair.accepts(pair.replace_key(lapd), lahd))
    pair.put("lapd", "second", pair.accepts(pair.replace_key(lahd), lapd))
    third = pair.replace_key(lapd, now=NOON + DAY)
    assert pair.counts("lahd", LATER) and not pair.counts("lahd", LATER + DAY)
    pair.put("lahd", "third", pair.accepts(third, lahd, now=NOON + 2 * DAY))
    for agency in ("lapd", "lahd"):
        assert pair.counts(agency, LATER + 100 * DAY)
        assert pair.book(agency).rejected == ()


def test_folder_that_cannot_be_read_keeps_what_was_accepted(pair: Pair) -> None:
    """Under a newer roster the acceptances that were known count; a slipped key still ends the agreement."""
    step = pair.replace_key(pair.forge.lapd)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    book = pair.book("lahd")
    under = book.under(pair.federation)
    assert under.grant(provider="lapd", requester="lahd", now=LATER) is not None
    pair.go_back(pair.forge.lapd)
    assert book.under(pair.federation).agreements == ()


def _signed(pair: Pair, *keys: SigningKey, **changes: object) -> bytes:
    """A succession of LAPD's identity key to that of a thief, with `changes`, signed by `keys`."""
    message = IdentitySuccession(
        nonce=bytes(16),
        agency="lapd",
        number=1,
        old_key=pair.forge.lapd.identity.public.der,
        new_key=THIEF.public.der,
        effective_at=from_instant(NOON),
        old_until=from_instant(LATER),
        reason="on schedule",
        issued_at=from_instant(NOON),
    )
    for name, value in changes.items():
        if isinstance(value, datetime):
            getattr(message, name).CopyFrom(from_instant(value))
        else:
            setattr(message, name, value)
    return seal(message, *keys).SerializeToString()


THIEF, OTHER = SigningKey.generate(), SigningKey.generate()

FORGED: dict[str, tuple[Callable[[Pair, SigningKey], list[bytes]], str]] = {
    "signed by the new key alone": (lambda pair, old: [_signed(pair, THIEF)], "old and the new key"),
    "signed by the old key alone": (lambda pair, old: [_signed(pair, old)], "old and the new key"),
    "signed by a stranger and the new key": (
        lambda pair, old: [_signed(pair, OTHER, THIEF)],
        "old and the new",
    ),
    "of another agency": (lambda pair, old: [_signed(pair, old, THIEF, agency="lahd")], "is of `lahd`"),
    "from another key": (
        lambda pair, old: [_signed(pair, OTHER, old, old_key=OTHER.public.der, new_key=old.public.der)],
        "another identity key than the one that is named",
    ),
    "second from the same key": (
        lambda pair, old: [
            _signed(pair, old, OTHER, new_key=OTHER.public.der),
            _signed(pair, old, THIEF, number=2),
        ],
        "another key than that to which",
    ),
    "the same one twice": (
        lambda pair, old: [_signed(pair, old, THIEF), _signed(pair, old, THIEF, number=2)],
        "another key than that to which",
    ),
    "key that comes back": (
        lambda pair, old: [
            _signed(pair, THIEF, OTHER, old_key=THIEF.public.der, new_key=OTHER.public.der),
            _signed(pair, OTHER, THIEF, old_key=OTHER.public.der, number=2),
        ],
        "a key twice",
    ),
    "number that leaves one out": (lambda pair, old: [_signed(pair, old, THIEF, number=2)], "number 2"),
    "key that replaces itself": (
        lambda pair, old: [_signed(pair, THIEF, old_key=THIEF.public.der)],
        "old and the new key",
    ),
    "in force before it was signed": (
        lambda pair, old: [_signed(pair, old, THIEF, effective_at=NOON - DAY)],
        "before it was signed",
    ),
    "old key that ends before": (
        lambda pair, old: [_signed(pair, old, THIEF, old_until=NOON - DAY)],
        "the old key ends",
    ),
    "old key that never ends": (
        lambda pair, old: [_signed(pair, old, THIEF, old_until=NOON + 9999 * DAY)],
        "the old key ends",
    ),
    "without a reason": (lambda pair, old: [_signed(pair, old, THIEF, reason="")], "reason"),
    "nothing of the kind": (lambda pair, old: [b"\xff"], "not an envelope"),
    "too many": (lambda pair, old: [b""] * 65, "64 at most"),
}


@pytest.mark.parametrize("fault", FORGED)
def test_forged_succession_spoils_the_roster_that_carries_it(pair: Pair, fault: str) -> None:
    """Whatever the authority publishes: without the word of both keys, in their order, there is none."""
    make, said = FORGED[fault]
    pair.publish(pair.forge.lapd, THIEF, *make(pair, pair.forge.lapd.identity))
    with pytest.raises(RosterInvalid, match=said):
        pair.forge.verify()


def test_own_key_that_nobody_here_replaced_is_told(pair: Pair) -> None:
    """Of a thief's succession in the agency's own name its own ends say so until it is found out."""
    step = pair.replace_key(pair.forge.lahd)
    (warning,) = pair.book("lahd").waiting()
    assert f"a new identity key of `lahd` itself ({step.new.key_id})" in warning
    pair.put("lahd", "identity-1", Envelope.FromString(step.serialized))
    assert list(pair.book("lahd").waiting()) == []


@pytest.mark.parametrize("with_a_past", [False, True])
def test_authority_that_slips_a_key_in_without_succession_gains_no_pair(
    pair: Pair, with_a_past: bool
) -> None:
    """A new identity key, a key set signed with it, and no word of the pinned one: nobody opens a session."""
    made_up = [_signed(pair, OTHER, THIEF, old_key=OTHER.public.der)] if with_a_past else []
    pair.publish(pair.forge.lapd, THIEF, *made_up)
    assert not pair.counts("lahd") and not pair.counts("lapd")
    assert "find out from `lapd` itself" in pair.book("lahd").rejected[0].reason


def test_succession_counts_no_earlier_than_it_says(pair: Pair) -> None:
    """A new key that the roster names before its time carries nothing until then."""
    pair.replace_key(pair.forge.lapd, effective_at=NOON + DAY)
    assert not pair.counts("lahd", NOON) and not pair.counts("lapd", NOON)
    assert "counts from 2026-06-02 12:00 UTC" in pair.book("lahd").agreements[0].why_resting(NOON)
    assert pair.counts("lahd", NOON + DAY)


def test_other_successor_than_the_accepted_one_is_refused(pair: Pair) -> None:
    """A thief of the old key and the authority together don't move a pair that accepted the true key."""
    step = pair.replace_key(pair.forge.lapd)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    pair.go_back(pair.forge.lapd)
    pair.publish(pair.forge.lapd, THIEF, _signed(pair, pair.former["lapd"], THIEF))
    assert not pair.counts("lahd")
    assert "another successor" in pair.book("lahd").rejected[-1].reason


def test_roster_that_goes_back_is_refused_by_who_accepted(pair: Pair) -> None:
    """Once accepted, the old key carries nothing any more, whatever roster says so."""
    step = pair.replace_key(pair.forge.lapd)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    pair.go_back(pair.forge.lapd)
    assert not pair.counts("lahd")
    assert "gone back to an identity key of `lapd`" in pair.book("lahd").rejected[-1].reason


def test_roster_that_goes_back_on_ones_own_key_is_refused(pair: Pair) -> None:
    """One's own succession lies in one's folder: nobody undoes what one's new key accepted later."""
    step = pair.replace_key(pair.forge.lahd)
    pair.put("lahd", "identity-1", Envelope.FromString(step.serialized))
    assert pair.counts("lahd") and pair.book("lahd").rejected == ()
    pair.go_back(pair.forge.lahd)
    assert not pair.counts("lahd")
    assert "gone back to an identity key of `lahd`" in pair.book("lahd").rejected[0].reason
    assert pair.counts("lapd")  # who knows nothing of it goes on with the pinned key


def _third(pair: Pair) -> Party:
    dea = Party("dea", "dea.example", ("gateway", "adapter"))
    pair.forge.members = [pair.forge.lapd, pair.forge.lahd, dea]
    return dea


def _redone(pair: Pair, step: Succession, key: SigningKey, **changes: object) -> Envelope:
    """The sheriff's acceptance with `changes`, signed by `key`."""
    message = IdentityAcceptance.FromString(pair.accepts(step, pair.forge.lahd).payload)
    for name, value in changes.items():
        setattr(message, name, value)
    return seal(message, key)


FALSE: dict[str, tuple[Callable[[Pair, Succession], Envelope], str]] = {
    "forged by the rotating side, in the other's name": (
        lambda pair, step: _redone(pair, step, pair.forge.lapd.identity),
        "isn't signed by the party that it names",
    ),
    "by the rotating side, in its own name": (
        lambda pair, step: pair.accepts(step, pair.forge.lapd),
        "can't accept its own key",
    ),
    "by an agency that is no party": (
        lambda pair, step: pair.accepts(step, _third(pair)),
        "the agreement is between",
    ),
    "for another agreement": (
        lambda pair, step: pair.accepts(step, pair.forge.lahd, agreements=[bytes(32)]),
        "no agreement that it names is here",
    ),
    "by a statement key": (
        lambda pair, step: _redone(pair, step, pair.forge.lahd.statement),
        "isn't signed by the party",
    ),
    "of a succession that only the new key signed": (
        lambda pair, step: _redone(
            pair,
            step,
            pair.forge.lahd.identity,
            succession=_signed(pair, pair.forge.lapd.identity, number=1),
        ),
        "isn't signed by the old and the new key",
    ),
    "of a succession of somebody else": (
        lambda pair, step: pair.accepts(
            succeed(OTHER, THIEF, agency="dea", number=1, now=NOON, overlap=OVERLAP, reason="on schedule"),
            pair.forge.lahd,
        ),
        "of a key of `dea`",
    ),
    "with a former key, after its end": (
        lambda pair, step: (
            pair.replace_key(pair.forge.lahd),
            pair.accepts(step, pair.forge.lahd, key=pair.former["lahd"], now=LATER),
        )[1],
        "isn't signed by the party",
    ),
    "without a nonce": (
        lambda pair, step: _redone(pair, step, pair.forge.lahd.identity, nonce=b""),
        "nonce has 0 bytes",
    ),
}


@pytest.mark.parametrize("fault", FALSE)
def test_acceptance_that_the_other_party_did_not_give(pair: Pair, fault: str) -> None:
    """It does nothing, and why is told: the agreement rests from the overlap's end on."""
    step = pair.replace_key(pair.forge.lapd)
    make, said = FALSE[fault]
    pair.put("lahd", "accepted", make(pair, step))
    rejected = pair.book("lahd").rejected
    assert [one.path.name for one in rejected] == ["accepted.json"] and said in rejected[0].reason
    assert pair.counts("lahd") and not pair.counts("lahd", LATER)


def test_succession_of_the_other_party_in_the_folder_accepts_nothing(pair: Pair) -> None:
    """Dropped beside the agreements it does nothing: an administrator accepts, never a file by itself."""
    step = pair.replace_key(pair.forge.lapd)
    pair.put("lahd", "identity-1", Envelope.FromString(step.serialized))
    assert not pair.counts("lahd", LATER)
    assert "comity agreement accept-identity lapd" in pair.book("lahd").rejected[0].reason


@pytest.mark.parametrize(("given", "is_good"), [(NOON - DAY, True), (LATER - DAY, True), (LATER, False)])
def test_notice_counts_with_a_key_of_its_day(pair: Pair, given: datetime, is_good: bool) -> None:
    """The old key gives notice until its end, and not a moment later (A2)."""
    pair.replace_key(pair.forge.lapd)
    agreement = pair.book("lahd").agreements[0]
    notice = AgreementNotice(
        nonce=bytes(16),
        agreement_digest=agreement.digest,
        agency="lapd",
        kind="NOTICE_KIND_TERMINATION",
        given_at=from_instant(given),
        ends_at=from_instant(LATER + 60 * DAY),
    )
    envelope = seal(notice, pair.former["lapd"])
    if is_good:
        assert with_notice(agreement, envelope).ends_at == LATER + 60 * DAY
    else:
        with pytest.raises(AgreementInvalid, match="counted when it was given"):
            with_notice(agreement, envelope)
    with pytest.raises(AgreementInvalid, match="nor one that took its place"):
        give_notice(agreement, pair.former["lapd"], given_at=given, ends_at=LATER + 60 * DAY)
    new = give_notice(agreement, pair.forge.lapd.identity, given_at=LATER, ends_at=LATER + 60 * DAY)
    assert with_notice(agreement, new).notices[0].agency == "lapd"


def test_new_key_gives_no_notice_from_before_its_time(pair: Pair) -> None:
    """Nor can a new key date back what it says."""
    pair.replace_key(pair.forge.lapd)
    agreement = pair.book("lahd").agreements[0]
    with pytest.raises(AgreementInvalid, match="counted when it was given"):
        give_notice(agreement, pair.forge.lapd.identity, given_at=NOON - DAY, ends_at=LATER)


def test_proposal_that_pins_a_former_key_is_drawn_up_anew(pair: Pair) -> None:
    """What one side signed before the rotation isn't signed after it; the next agreement pins the new key."""
    federation = pair.federation
    drawn = draft(replace(LONG, agreement_id="next"), federation, pair.forge.lapd.identity)
    pair.replace_key(pair.forge.lapd)
    with pytest.raises(AgreementInvalid, match="draw it up anew"):
        sign(drawn, pair.federation, pair.forge.lahd.identity)
    with pytest.raises(AgreementInvalid, match="nor one that took its place"):
        draft(replace(LONG, agreement_id="other"), pair.federation, pair.former["lapd"])
    with pytest.raises(AgreementInvalid, match="nor one that took its place"):
        renew(
            pair.signed, pair.federation, pair.former["lapd"], agreement_id="x", expires_at=LATER + 999 * DAY
        )
    lapd = pair.forge.lapd.identity
    renewed = renew(pair.signed, pair.federation, lapd, agreement_id="next", expires_at=NOON + 700 * DAY)
    both = sign(renewed, pair.federation, pair.forge.lahd.identity)
    pinned = {one.agency: one.identity_key for one in Agreement.FromString(both.payload).parties}
    assert pinned["lapd"] == lapd.public.der
    assert load_agreement(to_json(both), pair.federation).moves == ()


def _revoked(pair: Pair, key: SigningKey, at: datetime) -> Federation:
    """The federation with one of LAPD's identity keys on the list of revocations."""
    federation = pair.federation
    listed = {key_digest(key.public.der): Revoked(at=at, reason="key_compromise")}
    lapd = without_revoked(federation.member("lapd"), RevokedOf(public_keys=listed), now=NOON)
    return replace(federation, members=MappingProxyType({**federation.members, "lapd": lapd}))


def test_revoked_identity_key_suspends_its_agency(pair: Pair) -> None:
    """The key that the roster names is worth nothing: no session, nothing asked, whatever was accepted."""
    step = pair.replace_key(pair.forge.lapd)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    revoked = _revoked(pair, pair.forge.lapd.identity, NOON)
    assert revoked.member("lapd").suspended
    assert not pair.counts("lahd", NOON + DAY, revoked)


def test_former_key_that_is_revoked_carries_nobody_to_the_overlaps_end(pair: Pair) -> None:
    """Who accepted goes on, who didn't rests at once; and what the thief signs with it is void."""
    step = pair.replace_key(pair.forge.lapd)
    revoked = _revoked(pair, pair.former["lapd"], NOON + DAY)
    assert pair.counts("lahd", NOON, revoked) and not pair.counts("lahd", NOON + DAY, revoked)
    assert pair.former["lapd"].public not in revoked.member("lapd").identities.at(NOON + DAY)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    assert pair.counts("lahd", NOON + 2 * DAY, revoked) and pair.counts("lahd", LATER, revoked)


def test_key_that_was_revoked_before_vouches_for_nobody(pair: Pair) -> None:
    """A succession that a thief signs after the theft was found out is none, accepted or not."""
    step = pair.replace_key(pair.forge.lapd)
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    revoked = _revoked(pair, pair.former["lapd"], NOON)
    assert not pair.counts("lahd", NOON, revoked)
    reason = pair.book("lahd", revoked).rejected[-1].reason
    assert "revoked since" in reason or "no agreement that it names is here" in reason


def test_lodgement_of_before_goes_on_unless_the_key_was_revoked(pair: Pair) -> None:
    """The broker's copy of a ceiling needs no new signature; whoever isn't the provider lodges nothing."""
    before = lodgements(pair.signed, pair.federation, "lapd", pair.forge.lapd.identity)["lahd"]
    pair.replace_key(pair.forge.lapd)
    assert load_lodgement(to_json(before), pair.federation).provider == "lapd"
    after = lodgements(pair.signed, pair.federation, "lapd", pair.forge.lapd.identity)["lahd"]
    assert load_lodgement(to_json(after), pair.federation).agreement_digest == pair.digest
    with pytest.raises(LodgementInvalid):
        load_lodgement(to_json(before), _revoked(pair, pair.former["lapd"], NOON + DAY))


def test_succession_says_who_when_and_why(pair: Pair) -> None:
    """What one signs is what the other reads; values that can't be are refused before they are published."""
    step = pair.replace_key(pair.forge.lapd, reason="a custodian left")
    assert read_succession(step.serialized) == step
    assert (step.reason, step.old_until) == ("a custodian left", LATER)
    with pytest.raises(SuccessionInvalid, match="the old key ends"):
        pair.replace_key(pair.forge.lapd, overlap=timedelta(days=401))
    with pytest.raises(SuccessionInvalid, match="reason"):
        pair.replace_key(pair.forge.lapd, reason="two\nlines")
