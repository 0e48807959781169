"""Notices: how an agreement ends, and how it doesn't (A2, MOA V)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from comity.certs.agreements import AgreementBook, AgreementView, load_agreement, with_notice
from comity.certs.drafting import give_notice, lodgements, renew, sign
from comity.certs.envelope import seal, to_json
from comity.certs.errors import AgreementInvalid
from comity.certs.instants import from_instant, to_instant
from comity.certs.keys import SigningKey
from comity.certs.notices import Ending
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import (
    NOTICE_KIND_NON_EXTENSION,
    NOTICE_KIND_TERMINATION,
    AgreementNotice,
    CeilingLodgement,
)
from tests.certs.test_agreements import TERMS, both_sign
from tests.support.rosters import DAY, NOON, Forge

YEARS = 365 * DAY
EXPIRES = NOON + 3 * YEARS
MOA = replace(TERMS, effective_at=NOON - DAY, expires_at=EXPIRES, extension_days=365, notice_days=30)
"""As the MOA: three years, extended for one unless notice is given thirty days before."""
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def forge() -> Forge:
    return Forge()


@pytest.fixture
def signed(forge: Forge) -> Envelope:
    return both_sign(forge, MOA)


@pytest.fixture
def moa(forge: Forge, signed: Envelope) -> AgreementView:
    return load_agreement(to_json(signed), forge.verify())


def test_agreement_extends_itself_once(moa: AgreementView) -> None:
    """For a one-year term commencing the next day, unless notice was given; and no second time (MOA V)."""
    assert moa.in_force(EXPIRES)
    assert moa.in_force(EXPIRES + YEARS - INSTANT)
    assert not moa.in_force(EXPIRES + YEARS)


@pytest.mark.parametrize("party", ["lapd", "lahd"])
def test_either_party_ends_it_by_notice(forge: Forge, moa: AgreementView, party: str) -> None:
    """Terminated at the date that the notice names, thirty days after it at the earliest."""
    key = getattr(forge, party).identity
    ended = with_notice(moa, give_notice(moa, key, given_at=NOON, ends_at=NOON + 30 * DAY))
    assert ended.in_force(NOON + 30 * DAY - INSTANT)
    assert not ended.in_force(NOON + 30 * DAY)
    assert (ended.notices[0].agency, ended.notices[0].ending) == (party, Ending.TERMINATION)


def test_notice_of_non_extension_lets_it_expire(forge: Forge, moa: AgreementView) -> None:
    """Given thirty days before the expiry to the instant: it ends when it expires."""
    notice = give_notice(moa, forge.lapd.identity, given_at=EXPIRES - 30 * DAY, ends_at=None)
    ended = with_notice(moa, notice)
    assert ended.in_force(EXPIRES - INSTANT)
    assert not ended.in_force(EXPIRES)


def test_of_several_notices_the_first_end_counts(forge: Forge, moa: AgreementView) -> None:
    """A notice only ever shortens, in whatever order they come."""
    early = give_notice(moa, forge.lapd.identity, given_at=NOON, ends_at=NOON + 30 * DAY)
    late = give_notice(moa, forge.lahd.identity, given_at=NOON, ends_at=NOON + 90 * DAY)
    assert with_notice(with_notice(moa, early), late).ends_at == NOON + 30 * DAY
    assert with_notice(with_notice(moa, late), early).ends_at == NOON + 30 * DAY
    assert len(with_notice(with_notice(moa, late), late).notices) == 1


@pytest.mark.parametrize(
    ("given_at", "ends_at", "said"),
    [
        (NOON, NOON + 30 * DAY - INSTANT, "notice takes 30 days"),
        (NOON, EXPIRES + YEARS, "the agreement ends before"),
        (EXPIRES - 30 * DAY + INSTANT, None, "30 days before the expiry was"),
    ],
)
def test_notice_that_comes_too_late_is_not_given(
    forge: Forge, moa: AgreementView, given_at: datetime, ends_at: datetime | None, said: str
) -> None:
    """Nobody signs a notice that the agreement doesn't allow; the text names the date that would do."""
    with pytest.raises(AgreementInvalid, match=said):
        give_notice(moa, forge.lapd.identity, given_at=given_at, ends_at=ends_at)


def test_agreement_without_extension_needs_no_notice_of_it(forge: Forge) -> None:
    """There is nothing to give notice of."""
    plain = load_agreement(to_json(both_sign(forge)), forge.verify())
    with pytest.raises(AgreementInvalid, match="not extended by itself"):
        give_notice(plain, forge.lapd.identity, given_at=NOON - 400 * DAY, ends_at=None)


Change = Callable[[AgreementNotice], object]


def _made(forge: Forge, moa: AgreementView, change: Change, key: SigningKey | None = None) -> Envelope:
    notice = AgreementNotice(
        nonce=bytes(16),
        agreement_digest=moa.digest,
        agency="lapd",
        kind=NOTICE_KIND_TERMINATION,
        given_at=from_instant(NOON),
        ends_at=from_instant(NOON + 30 * DAY),
    )
    change(notice)
    return seal(notice, key or forge.lapd.identity)


FORGED: dict[str, tuple[Change, str]] = {
    "about another agreement": (lambda it: setattr(it, "agreement_digest", bytes(32)), "another agreement"),
    "in the other party's name": (lambda it: setattr(it, "agency", "lahd"), "did not sign it"),
    "in a stranger's name": (lambda it: setattr(it, "agency", "sheriff"), "no party of it"),
    "without a date": (lambda it: it.ClearField("ends_at"), "`ends_at` is not set"),
    "without the day it was given": (lambda it: it.ClearField("given_at"), "`given_at` is not set"),
    "of no kind": (lambda it: it.ClearField("kind"), "none that is known"),
    "of a kind that nobody knows": (lambda it: setattr(it, "kind", 9), "none that is known"),
    "of non-extension, with a date": (
        lambda it: setattr(it, "kind", NOTICE_KIND_NON_EXTENSION),
        "names no date",
    ),
    "a day too early": (
        lambda it: it.ends_at.CopyFrom(from_instant(NOON + 29 * DAY)),
        "notice takes 30 days",
    ),
    "with a short nonce": (lambda it: setattr(it, "nonce", b"x"), "nonce has 1 bytes"),
}


@pytest.mark.parametrize("fault", FORGED)
def test_notice_that_does_not_verify_changes_nothing(
    forge: Forge, moa: AgreementView, signed: Envelope, tmp_path: Path, fault: str
) -> None:
    """It is rejected with its reason, and the agreement goes on."""
    change, said = FORGED[fault]
    envelope = _made(forge, moa, change)
    with pytest.raises(AgreementInvalid, match=said):
        with_notice(moa, envelope)
    (tmp_path / "moa.json").write_bytes(to_json(signed))
    (tmp_path / "notice.json").write_bytes(to_json(envelope))
    book = AgreementBook.load(tmp_path, forge.verify())
    assert [rejected.path.name for rejected in book.rejected] == ["notice.json"]
    assert book.grant(provider="lapd", requester="lahd", now=NOON + 60 * DAY) is not None


def test_notice_signed_by_another_key_of_the_party_is_none(forge: Forge, moa: AgreementView) -> None:
    """The identity key that the agreement pins, and no other, ends it."""
    with pytest.raises(AgreementInvalid, match="did not sign it"):
        with_notice(moa, _made(forge, moa, lambda _: None, SigningKey.generate()))


def test_notice_in_the_folder_counts(
    forge: Forge, moa: AgreementView, signed: Envelope, tmp_path: Path
) -> None:
    """An end goes by the notices beside its agreements: from their date on nothing is asked or answered."""
    notice = give_notice(moa, forge.lahd.identity, given_at=NOON, ends_at=NOON + 40 * DAY)
    (tmp_path / "a-notice.json").write_bytes(to_json(notice))
    (tmp_path / "moa.json").write_bytes(to_json(signed))
    book = AgreementBook.load(tmp_path, forge.verify())
    assert not book.rejected
    for now, granted in ((NOON + 40 * DAY - INSTANT, True), (NOON + 40 * DAY, False)):
        assert (book.grant(provider="lapd", requester="lahd", now=now) is not None) is granted
        assert ("lapd" in book.providers_for("lahd", now)) is granted


def test_lodged_ceiling_counts_until_the_agreement_ends(
    forge: Forge, moa: AgreementView, signed: Envelope
) -> None:
    """With its extension where nobody gave notice; until the notice's date where one did."""
    notice = give_notice(moa, forge.lapd.identity, given_at=NOON, ends_at=NOON + 40 * DAY)
    for notices, ends in (([], EXPIRES + YEARS), ([notice], NOON + 40 * DAY)):
        found = lodgements(signed, forge.verify(), "lapd", forge.lapd.identity, notices)
        lodged = CeilingLodgement.FromString(found["lahd"].payload)
        assert to_instant(lodged, "expires_at") == ends


def test_next_agreement_begins_where_the_old_one_expires(
    forge: Forge, moa: AgreementView, signed: Envelope
) -> None:
    """Same terms, signed by both anew; its id is its own."""
    until = EXPIRES + 3 * YEARS
    drawn = renew(signed, forge.verify(), forge.lapd.identity, agreement_id="moa-2", expires_at=until)
    with pytest.raises(AgreementInvalid, match="isn't signed by both"):
        load_agreement(to_json(drawn), forge.verify())
    renewed = load_agreement(to_json(sign(drawn, forge.verify(), forge.lahd.identity)), forge.verify())
    assert (renewed.effective_at, renewed.expires_at, renewed.grants) == (EXPIRES, until, moa.grants)
    with pytest.raises(AgreementInvalid, match="an id of its own"):
        renew(signed, forge.verify(), forge.lapd.identity, agreement_id="moa", expires_at=until)
    with pytest.raises(AgreementInvalid, match="expires before it takes effect"):
        renew(signed, forge.verify(), forge.lapd.identity, agreement_id="moa-2", expires_at=EXPIRES)
