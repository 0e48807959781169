"""Agreements and lodged ceilings: nothing is asked or answered under one that a side didn't sign."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from comity.certs.agreements import AgreementBook, load_agreement, read_proposal, signed_by
from comity.certs.drafting import AgreementTerms, GrantTerms, draft, lodgements, names, sign
from comity.certs.envelope import add_signature, seal, to_json
from comity.certs.errors import (
    AgreementInvalid,
    EnvelopeInvalid,
    FileUnusable,
    LodgementInvalid,
    SetupRefused,
    UnknownMember,
)
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.lodgements import LodgementBook, load_lodgement
from comity.v1.common_pb2 import REASON_CODE_CIVIL_IMMIGRATION
from comity.v1.envelope_pb2 import Envelope
from comity.v1.federation_pb2 import Agreement, CeilingLodgement
from comity.v1.result_pb2 import Marking
from tests.support.rosters import DAY, NOON, Forge, Party


def marking(provider: str, nature: str = "reads", banner: str = "") -> bytes:
    """A ceiling as another room would make it."""
    made = Marking(
        provider=provider,
        nature=nature,
        scheme="MARKING_SCHEME_PLAIN",
        banner=banner or f"LAW ENFORCEMENT SENSITIVE // {provider.upper()}",
        portion="(LES)",
    )
    return made.SerializeToString(deterministic=True)


def ceiling_maker(provider: str, nature: str, banner: str) -> bytes:
    if banner == "NONSENSE":
        raise ValueError("level `NONSENSE` isn't known")
    return marking(provider, nature, banner)


def grant(provider: str, requester: str) -> GrantTerms:
    return GrantTerms(
        provider=provider,
        requester=requester,
        elements=frozenset({"LOCATION", "IMAGES"}),
        purposes=frozenset({"CRIMINAL_INVESTIGATION"}),
        ceiling=marking(provider),
    )


TERMS = AgreementTerms(
    agreement_id="moa",
    title="Sharing of ALPR information",
    effective_at=NOON - DAY,
    expires_at=NOON + DAY,
    grants=(grant("lapd", "lahd"), grant("lahd", "lapd")),
    documents=("MOA II.A",),
)


@pytest.fixture
def forge() -> Forge:
    return Forge()


def both_sign(forge: Forge, terms: AgreementTerms = TERMS) -> Envelope:
    federation = forge.verify()
    return sign(draft(terms, federation, forge.lapd.identity), federation, forge.lahd.identity)


def rewritten(forge: Forge, change: Callable[[Agreement], object]) -> Envelope:
    """The agreement with `change` made before both signed it, as a careless or hostile pair could."""
    agreement = Agreement.FromString(both_sign(forge).payload)
    change(agreement)
    return seal(agreement, forge.lapd.identity, forge.lahd.identity)


def test_agreement_signed_by_both(forge: Forge) -> None:
    """What both signed gives its parties with their pinned keys, its grants, and its time in force (A2)."""
    agreement = load_agreement(to_json(both_sign(forge)), forge.verify())
    assert agreement.parties == {"lahd": forge.lahd.identity.public, "lapd": forge.lapd.identity.public}
    found = agreement.grant(provider="lapd", requester="lahd")
    assert found is not None
    assert found.elements == {"LOCATION", "IMAGES"}
    assert found.purposes == {"CRIMINAL_INVESTIGATION"}
    assert found.ceiling == marking("lapd")
    assert not agreement.in_force(NOON - DAY * 1.001)
    assert agreement.in_force(NOON - DAY)
    assert not agreement.in_force(NOON + DAY)


def test_agreement_signed_by_one_side(forge: Forge, tmp_path: Path) -> None:
    """One that a single side signed does nothing, and who looks learns which file and why (A2)."""
    one_sided = draft(TERMS, forge.verify(), forge.lapd.identity)
    (tmp_path / "moa.json").write_bytes(to_json(one_sided))
    with pytest.raises(AgreementInvalid, match="isn't signed by both lahd and lapd"):
        load_agreement(to_json(one_sided), forge.verify())
    book = AgreementBook.load(tmp_path, forge.verify())
    assert book.grant(provider="lapd", requester="lahd", now=NOON) is None
    assert [(entry.path.name, "both" in entry.reason) for entry in book.rejected] == [("moa.json", True)]


def test_agreement_signed_twice_by_one_side(forge: Forge) -> None:
    """One party's signature twice isn't both parties' signatures."""
    envelope = draft(TERMS, forge.verify(), forge.lapd.identity)
    envelope.signatures.append(envelope.signatures[0])
    with pytest.raises(AgreementInvalid, match="signed by 1"):
        load_agreement(to_json(envelope), forge.verify())


def test_agreement_signed_by_a_stranger_and_one_side(forge: Forge) -> None:
    """A third member, the authority or the operator can't sign in a party's place."""
    envelope = draft(TERMS, forge.verify(), forge.lapd.identity)
    for stranger in (forge.keys[0], forge.operator.identity, forge.lahd.statement):
        with pytest.raises(AgreementInvalid, match="isn't signed by both"):
            load_agreement(to_json(add_signature(envelope, stranger)), forge.verify())


def test_agreement_changed_after_signing(forge: Forge) -> None:
    """Terms that were changed after both signed carry nobody's signature."""
    envelope = both_sign(forge)
    agreement = Agreement.FromString(envelope.payload)
    agreement.grants[0].purposes.append(REASON_CODE_CIVIL_IMMIGRATION)
    envelope.payload = agreement.SerializeToString()
    with pytest.raises(AgreementInvalid, match="isn't signed by both"):
        load_agreement(to_json(envelope), forge.verify())


def test_roster_with_another_identity_key_than_pinned(forge: Forge, tmp_path: Path) -> None:
    """A governing authority that slips a false identity key into the roster ends the agreement (design 4)."""
    (tmp_path / "moa.json").write_bytes(to_json(both_sign(forge)))
    assert AgreementBook.load(tmp_path, forge.verify()).providers_for("lapd", NOON) == ("lahd",)
    false = Party("lahd", "lahd.example", ("gateway", "adapter"))
    forge.members = [forge.lapd, false]
    with pytest.raises(AgreementInvalid, match="isn't the one in the roster"):
        load_agreement((tmp_path / "moa.json").read_bytes(), forge.verify())
    assert AgreementBook.load(tmp_path, forge.verify()).providers_for("lapd", NOON) == ()


def test_agreement_that_pins_the_false_key_is_not_signed_by_the_true_one(forge: Forge) -> None:
    """Pinning another key than the roster's is refused, also if everybody who is named signed."""
    stranger = SigningKey.generate()
    agreement = Agreement.FromString(both_sign(forge).payload)
    agreement.parties[0].identity_key = stranger.public.der
    envelope = seal(agreement, stranger, forge.lapd.identity, forge.lahd.identity)
    with pytest.raises(AgreementInvalid, match="isn't the one in the roster"):
        load_agreement(to_json(envelope), forge.verify())


@pytest.mark.parametrize("now", [NOON - 2 * DAY, NOON + DAY, NOON + 999 * DAY])
def test_agreement_out_of_its_time(forge: Forge, tmp_path: Path, now: datetime) -> None:
    """Before it takes effect and from its expiry on, an agreement grants nothing (A2)."""
    (tmp_path / "moa.json").write_bytes(to_json(both_sign(forge)))
    book = AgreementBook.load(tmp_path, forge.verify())
    assert book.grant(provider="lapd", requester="lahd", now=NOON) is not None
    assert book.grant(provider="lapd", requester="lahd", now=now) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda a: a.parties.pop(), "exactly two different parties"),
        (lambda a: a.parties.append(a.parties[0]), "exactly two different parties"),
        (lambda a: a.grants[0].ClearField("ceiling_marking"), "ceiling marking"),
        (lambda a: setattr(a.grants[0], "ceiling_marking", marking("lahd")), "names another provider"),
        (lambda a: setattr(a.grants[0], "ceiling_marking", b"\xff"), "not a `Marking`"),
        (
            lambda a: setattr(a.grants[0], "ceiling_marking", marking("lapd") + b"\x42\x01x"),
            "no agreement's digest",
        ),
        (lambda a: setattr(a.grants[0], "requester", "lapd"), "provider and requester"),
        (lambda a: setattr(a.grants[0], "requester", "operator"), "provider and requester"),
        (lambda a: setattr(a.grants[1], "provider", "sheriff"), "provider and requester"),
        (lambda a: a.grants.append(a.grants[0]), "each in another direction"),
        (lambda a: a.ClearField("grants"), "one or two grants"),
        (lambda a: a.grants[0].purposes.append(0), "without a value"),
        (lambda a: a.grants[0].purposes.append(77), "isn't known"),
        (lambda a: a.grants[0].elements.append(77), "isn't known"),
        (lambda a: a.ClearField("expires_at"), "`expires_at` is not set"),
        (lambda a: a.expires_at.CopyFrom(from_instant(NOON - 9 * DAY)), "expires before it takes effect"),
        (lambda a: a.ClearField("nonce"), "nonce"),
        (lambda a: setattr(a, "agreement_id", "../../etc"), "agreement id"),
        (lambda a: setattr(a, "title", ""), "title"),
    ],
)
def test_terms_that_make_no_sense(forge: Forge, change: Callable[[Agreement], object], text: str) -> None:
    """Both signatures don't make nonsense an agreement."""
    with pytest.raises(AgreementInvalid, match=text):
        load_agreement(to_json(rewritten(forge, change)), forge.verify())


def test_party_that_is_no_member(forge: Forge) -> None:
    """An agreement with an agency that left the roster does nothing."""
    envelope = both_sign(forge)
    forge.members = [forge.lapd]
    with pytest.raises(AgreementInvalid, match="`lahd` isn't in the roster"):
        load_agreement(to_json(envelope), forge.verify())


def test_suspended_member_is_granted_nothing(forge: Forge, tmp_path: Path) -> None:
    """While either side is suspended nothing is asked, whatever was agreed."""
    (tmp_path / "moa.json").write_bytes(to_json(both_sign(forge)))
    for suspended in (forge.lapd, forge.lahd):
        suspended.entry.suspended = True
        book = AgreementBook.load(tmp_path, forge.verify())
        assert book.grant(provider="lapd", requester="lahd", now=NOON) is None
        suspended.entry.suspended = False
    assert AgreementBook.load(tmp_path, forge.verify()).grant(provider="lapd", requester="lahd", now=NOON)


def test_member_that_does_not_provide_or_ask_is_granted_nothing(forge: Forge, tmp_path: Path) -> None:
    """The roster says who provides and who asks; an agreement makes nobody either (D4)."""
    (tmp_path / "moa.json").write_bytes(to_json(both_sign(forge)))
    for entry, role in ((forge.lapd.entry, "provides"), (forge.lahd.entry, "asks")):
        setattr(entry, role, False)
        book = AgreementBook.load(tmp_path, forge.verify())
        assert book.grant(provider="lapd", requester="lahd", now=NOON) is None
        setattr(entry, role, True)
    assert AgreementBook.load(tmp_path, forge.verify()).grant(provider="lapd", requester="lahd", now=NOON)


def test_pair_without_agreement(forge: Forge, tmp_path: Path) -> None:
    """An agreement between two grants nothing to a third, and one direction isn't the other (D4)."""
    one_way = AgreementTerms(
        agreement_id="moa",
        title="MOA",
        effective_at=TERMS.effective_at,
        expires_at=TERMS.expires_at,
        grants=TERMS.grants[:1],
    )
    (tmp_path / "moa.json").write_bytes(to_json(both_sign(forge, one_way)))
    book = AgreementBook.load(tmp_path, forge.verify())
    assert book.grant(provider="lapd", requester="lahd", now=NOON) is not None
    assert book.grant(provider="lahd", requester="lapd", now=NOON) is None
    assert book.grant(provider="lapd", requester="ice", now=NOON) is None
    assert book.grant(provider="operator", requester="lapd", now=NOON) is None


def test_both_ends_choose_the_same_of_two_agreements(forge: Forge, tmp_path: Path) -> None:
    """Of two in force, the one that took effect last counts, whatever the files are called."""
    newer = AgreementTerms(
        agreement_id="moa-2",
        title="MOA",
        effective_at=NOON,
        expires_at=NOON + DAY,
        grants=TERMS.grants,
    )
    for ends, order in (("a", (TERMS, newer)), ("b", (newer, TERMS))):
        (tmp_path / ends).mkdir()
        for number, terms in enumerate(order):
            (tmp_path / ends / f"{number}.json").write_bytes(to_json(both_sign(forge, terms)))
        found = AgreementBook.load(tmp_path / ends, forge.verify()).grant(
            provider="lapd", requester="lahd", now=NOON
        )
        assert found is not None
        assert found[0].agreement_id == "moa-2"


def test_one_bad_file_spoils_no_other(forge: Forge, tmp_path: Path) -> None:
    """A file that isn't an agreement is named and not used; the others stay in force."""
    (tmp_path / "moa.json").write_bytes(to_json(both_sign(forge)))
    (tmp_path / "a.json").write_bytes(b"not json")
    (tmp_path / "notes.txt").write_bytes(b"ignored")
    (tmp_path / ".moa.json.tmp").write_bytes(b"ignored")
    book = AgreementBook.load(tmp_path, forge.verify())
    assert book.providers_for("lahd", NOON) == ("lapd",)
    assert [entry.path.name for entry in book.rejected] == ["a.json"]


def test_missing_folder_is_not_an_empty_one(forge: Forge, tmp_path: Path) -> None:
    """A wrong path is told, rather than taken for 'no agreements'."""
    with pytest.raises(FileUnusable, match="nowhere"):
        AgreementBook.load(tmp_path / "nowhere", forge.verify())
    with pytest.raises(FileUnusable, match="nowhere"):
        LodgementBook.load(tmp_path / "nowhere", forge.verify())


# --- drafting and signing -----------------------------------------------------------------------------------


def test_only_parties_can_draft_and_sign(forge: Forge) -> None:
    """A key that the agreement doesn't pin neither proposes nor signs it."""
    federation = forge.verify()
    with pytest.raises(AgreementInvalid, match="not the one that it pins"):
        draft(TERMS, federation, forge.operator.identity)
    proposed = draft(TERMS, federation, forge.lapd.identity)
    with pytest.raises(AgreementInvalid, match="not the one that it pins"):
        sign(proposed, federation, forge.operator.identity)


def test_signing_what_was_changed_on_the_way(forge: Forge) -> None:
    """The second party doesn't sign terms to which the first one's signature no longer belongs."""
    federation = forge.verify()
    proposed = draft(TERMS, federation, forge.lapd.identity)
    agreement = Agreement.FromString(proposed.payload)
    agreement.title = "Something else"
    proposed.payload = agreement.SerializeToString()
    with pytest.raises(AgreementInvalid, match="changed after it was signed"):
        sign(proposed, federation, forge.lahd.identity)


def test_proposal_tells_who_signed(forge: Forge) -> None:
    """A reader sees the terms and whose signatures verify, before it counts."""
    federation = forge.verify()
    proposed = draft(TERMS, federation, forge.lapd.identity)
    assert signed_by(proposed, read_proposal(proposed, federation)) == ("lapd",)
    both = sign(proposed, federation, forge.lahd.identity)
    assert signed_by(both, read_proposal(both, federation)) == ("lahd", "lapd")


def test_document_of_another_kind_is_no_agreement(forge: Forge) -> None:
    """A roster, signed by whomever, isn't read as an agreement."""
    with pytest.raises(AgreementInvalid, match="expected"):
        load_agreement(to_json(forge.roster()), forge.verify())
    with pytest.raises(AgreementInvalid):
        load_agreement(b"{}", forge.verify())


def test_draft_with_an_unknown_agency(forge: Forge) -> None:
    """Nobody drafts with an agency whose key the roster doesn't name."""
    terms = AgreementTerms(
        agreement_id="moa",
        title="MOA",
        effective_at=NOON,
        expires_at=NOON + DAY,
        grants=(grant("lapd", "chp"),),
    )
    with pytest.raises(UnknownMember, match="chp"):
        draft(terms, forge.verify(), forge.lapd.identity)


TOML = """
id = "moa"
title = "MOA"
effective = 2026-01-01
expires = 2029-01-01
[[grant]]
provider = "lapd"
requester = "lahd"
elements = ["location", "IMAGES"]
purposes = ["all"]
ceiling = { nature = "reads", banner = "LAW ENFORCEMENT SENSITIVE // LAPD" }
"""


def test_terms_from_a_file(tmp_path: Path) -> None:
    """A TOML file gives the same terms as options would; names may be written in either case."""
    path = tmp_path / "moa.toml"
    path.write_text(TOML)
    terms = AgreementTerms.load(path, ceiling_maker)
    assert terms.parties == ("lahd", "lapd")
    assert terms.grants[0].elements == {"LOCATION", "IMAGES"}
    assert "CIVIL_IMMIGRATION" in terms.grants[0].purposes
    assert terms.effective_at.isoformat() == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('id = "moa"', 'id = "MOA 1"', "agreement id"),
        ("title", "tittle", "did you mean `title`"),
        ("effective = 2026-01-01", "effective = 2030-01-01", "expires: is not later"),
        ("effective = 2026-01-01", 'effective = "soon"', "`effective` is not a date"),
        ("effective = 2026-01-01", "", "`effective` is not a date"),
        ('"location"', '"locations"', "did you mean `location`"),
        ('["all"]', '["fun"]', "purpose `fun` isn't known"),
        ('requester = "lahd"', 'requester = "lapd"', "both `lapd`"),
        ("ceiling =", "ceilling =", "did you mean `ceiling`"),
        ("LAW ENFORCEMENT SENSITIVE // LAPD", "NONSENSE", "NONSENSE"),
        ("[[grant]]", "[grant]", r"expected tables `\[\[grant\]\]`"),
        ("purposes =", "purposes", "not TOML"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, old: str, new: str, text: str) -> None:
    """A mistake is named with its file, its key, and what would have been right."""
    path = tmp_path / "moa.toml"
    path.write_text(TOML.replace(old, new))
    with pytest.raises(SetupRefused, match=text) as caught:
        AgreementTerms.load(path, ceiling_maker)
    assert "moa.toml" in str(caught.value)


def test_names_are_never_guessed() -> None:
    """A name that isn't known is refused, not left out."""
    assert names(["criminal-investigation", "Narcotics"], {"CRIMINAL_INVESTIGATION", "NARCOTICS"}, "x") == {
        "CRIMINAL_INVESTIGATION",
        "NARCOTICS",
    }
    with pytest.raises(SetupRefused, match="known: narcotics"):
        names(["xyz"], {"NARCOTICS"}, "--purpose")


# --- lodgements ---------------------------------------------------------------------------------------------


def lodge(forge: Forge, agency: str, key: SigningKey) -> Envelope:
    return next(iter(lodgements(both_sign(forge), forge.verify(), agency, key).values()))


def test_ceiling_lodged_by_its_provider(forge: Forge, tmp_path: Path) -> None:
    """The broker gets the ceiling of a pair and the agreement's digest, and nothing else of it."""
    lodged = lodge(forge, "lapd", forge.lapd.identity)
    (tmp_path / "a.json").write_bytes(to_json(lodged))
    book = LodgementBook.load(tmp_path, forge.verify())
    found = book.ceiling("lapd", "lahd", NOON)
    assert found is not None
    assert found.ceiling == marking("lapd")
    assert book.ceiling("lahd", "lapd", NOON) is None
    assert book.ceiling("lapd", "lahd", NOON + DAY) is None
    assert book.ceiling("lapd", "lahd", NOON - 2 * DAY) is None
    assert book.ceiling("lapd", "lahd", NOON, agreement_digest=bytes(32)) is None
    assert book.ceiling("lapd", "lahd", NOON, agreement_digest=found.agreement_digest) == found
    assert b"CRIMINAL" not in lodged.payload
    assert b"MOA" not in lodged.payload


def test_lodgement_by_the_requester(forge: Forge, tmp_path: Path) -> None:
    """A requester can't lodge a milder ceiling in its provider's place."""
    lodged = CeilingLodgement.FromString(lodge(forge, "lapd", forge.lapd.identity).payload)
    (tmp_path / "a.json").write_bytes(to_json(seal(lodged, forge.lahd.identity)))
    with pytest.raises(LodgementInvalid, match="signed by 0"):
        load_lodgement((tmp_path / "a.json").read_bytes(), forge.verify())
    book = LodgementBook.load(tmp_path, forge.verify())
    assert book.ceiling("lapd", "lahd", NOON) is None
    assert len(book.rejected) == 1


def test_lodgement_by_the_statement_key(forge: Forge) -> None:
    """A stolen statement key signs receipts, not what the agency agreed to."""
    lodged = CeilingLodgement.FromString(lodge(forge, "lapd", forge.lapd.identity).payload)
    with pytest.raises(LodgementInvalid, match="signed by 0"):
        load_lodgement(to_json(seal(lodged, forge.lapd.statement)), forge.verify())


def test_requester_cannot_make_a_lodgement(forge: Forge) -> None:
    """Lodging needs the identity key of the agency that it names, and both signatures on the agreement."""
    with pytest.raises(AgreementInvalid, match="not the one that it pins"):
        lodgements(both_sign(forge), forge.verify(), "lapd", forge.lahd.identity)
    one_sided = draft(TERMS, forge.verify(), forge.lapd.identity)
    with pytest.raises(AgreementInvalid, match="isn't signed by both"):
        lodgements(one_sided, forge.verify(), "lapd", forge.lapd.identity)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda m: setattr(m, "provider", "nobody"), "isn't in the roster"),
        (lambda m: setattr(m, "requester", "nobody"), "isn't in the roster"),
        (lambda m: setattr(m, "requester", "lapd"), "two agencies"),
        (lambda m: setattr(m, "agreement_digest", b"short"), "32 bytes"),
        (lambda m: m.ClearField("ceiling_marking"), "ceiling"),
        (lambda m: m.ClearField("expires_at"), "`expires_at` is not set"),
        (lambda m: m.expires_at.CopyFrom(from_instant(NOON - 9 * DAY)), "expires before"),
    ],
)
def test_malformed_lodgement(forge: Forge, change: Callable[[CeilingLodgement], object], text: str) -> None:
    """A lodgement names two members, a digest, a ceiling and a time."""
    lodged = CeilingLodgement.FromString(lodge(forge, "lapd", forge.lapd.identity).payload)
    change(lodged)
    with pytest.raises(LodgementInvalid, match=text):
        load_lodgement(to_json(seal(lodged, forge.lapd.identity)), forge.verify())


def test_agreement_handed_to_the_broker(forge: Forge) -> None:
    """A whole agreement isn't taken for a lodgement: the broker isn't to hold it."""
    with pytest.raises(LodgementInvalid, match="CeilingLodgement"):
        load_lodgement(to_json(both_sign(forge)), forge.verify())
    with pytest.raises((LodgementInvalid, EnvelopeInvalid)):
        load_lodgement(b"[]", forge.verify())
