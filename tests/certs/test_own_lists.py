"""An agency's own list of revocations: its own things alone, never older, never for others (design 4)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from comity.certs.agency import AgencyHome
from comity.certs.authority import revoke
from comity.certs.delivered import Documents
from comity.certs.envelope import from_json, seal, to_json
from comity.certs.errors import CertificateRevoked, RosterInvalid, SetupRefused
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.own_lists import MAX_OWN_LIST_BYTES, OWN_LIST_FILE, OwnList, open_own_list
from comity.certs.pairs import LeafPair
from comity.certs.published import PublishedRoster, SeenRoster
from comity.certs.revocations import REVOCATIONS_FILE, key_digest, serial_bytes, user_digest
from comity.certs.revoking import revoke_own
from comity.certs.roster import ROSTER_FILE, AuthorityPin, Federation
from comity.v1.federation_pb2 import Revocation, RevocationList
from tests.adapters.bench import NOON
from tests.certs.test_revocations import HOUR, entry
from tests.support.federation import FederationOnDisk, build_federation

DAY = timedelta(days=1)
MINE = OWN_LIST_FILE.format("lapd")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    return build_federation(tmp_path_factory.mktemp("own") / "f", NOON, ("lapd", "lahd"))


@pytest.fixture
def made(built: FederationOnDisk, tmp_path: Path) -> FederationOnDisk:
    shutil.copytree(built.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=built.spec)


def home_of(made: FederationOnDisk, agency: str) -> AgencyHome:
    return AgencyHome.load(made.gateway_home(agency).parent)


def own(made: FederationOnDisk, *entries: Revocation, agency: str = "lapd", now: datetime = NOON) -> OwnList:
    home = home_of(made, agency)
    return revoke_own(home, entries, now, lifetime=DAY, identity=home.identity())


def end_of(made: FederationOnDisk, agency: str = "lahd", now: datetime = NOON) -> PublishedRoster:
    home = made.adapter_home(agency)
    return PublishedRoster(
        public=made.public, authority=home.parent / "authority.json", home=home, clock=lambda: now
    )


def forged(made: FederationOnDisk, change: Callable[[RevocationList], None], signer: SigningKey) -> bytes:
    """Return lapd's list, changed and signed anew."""
    listed = RevocationList.FromString(from_json((made.public / MINE).read_bytes()).payload)
    change(listed)
    return to_json(seal(listed, signer))


def test_own_list_adds_to_the_authoritys_and_touches_nobody_else(made: FederationOnDisk) -> None:
    """The earlier instant of what both revoke counts; another agency's are as they were."""
    leaf = LeafPair.load(made.adapter_home("lapd") / "keys")
    revoke(made.root, [entry(serial=b"\x07")], NOON)
    own(made, entry(serial=b"\x07", at=NOON + HOUR), entry(serial=serial_bytes(leaf.serial)), now=NOON + HOUR)
    own(made, entry(user=user_digest("lapd", "j"), at=NOON + HOUR), now=NOON + HOUR)
    found = end_of(made, now=NOON + HOUR).load()
    lapd, lahd = found.member("lapd"), found.member("lahd")
    assert lapd.revoked.serials[b"\x07"].at == NOON and lapd.revoked.user("lapd", "j")
    with pytest.raises(CertificateRevoked, match="key compromise"):
        lapd.revoked.check_chain(leaf.chain_der)
    assert found.own_lists["lapd"].version == 2 and not lapd.is_out
    assert not lahd.revoked.serials and not lahd.is_out


def test_what_the_authority_revoked_no_own_list_gives_back(made: FederationOnDisk) -> None:
    """An own list with a later instant, or without the entry, changes nothing of it."""
    key = end_of(made).load().member("lapd").key_set.statement_keys[0].key
    revoke(made.root, [entry(public_key=key_digest(key.der)), entry(serial=b"\x07")], NOON)
    own(made, entry(public_key=key_digest(key.der), at=NOON + HOUR), now=NOON + HOUR)
    lapd = end_of(made, now=NOON + HOUR).load().member("lapd")
    assert key not in lapd.key_set.statement_keys_at(NOON) and b"\x07" in lapd.revoked.serials


BAD: dict[str, Callable[[RevocationList], object]] = {
    "of another agency's certificate": lambda listed: listed.revocations.append(
        entry("lahd", serial=b"\x08")
    ),
    "of another agency as a whole": lambda listed: listed.revocations.append(entry("lahd", everything=True)),
    "of the operator's certificate": lambda listed: listed.revocations.append(
        entry("operator", serial=b"\x08")
    ),
    "of all of itself": lambda listed: listed.revocations.append(entry(everything=True)),
    "in another agency's name": lambda listed: setattr(listed, "issuer", "lahd"),
    "in the authority's name": lambda listed: setattr(listed, "issuer", ""),
    "in the operator's name": lambda listed: setattr(listed, "issuer", "operator"),
    "of another federation": lambda listed: setattr(listed, "federation", "Other"),
    "without a version": lambda listed: setattr(listed, "version", 0),
    "to come": lambda listed: listed.signed_at.CopyFrom(from_instant(NOON + HOUR)),
    "that ends before it begins": lambda listed: listed.next_update.CopyFrom(from_instant(NOON)),
    "with an entry of nothing": lambda listed: listed.revocations.append(entry()),
    "without a time": lambda listed: listed.ClearField("signed_at"),
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD.keys())
def test_own_list_that_breaks_a_rule_is_not_taken(
    made: FederationOnDisk, change: Callable[[RevocationList], object]
) -> None:
    """Though the agency's identity key signed it; the older one stays in force, and nobody else's is lost."""
    own(made, entry(serial=b"\x07"))
    end = end_of(made)
    federation = end.load()
    identity = home_of(made, "lapd").identity()

    def changed(listed: RevocationList) -> None:
        listed.version = 7
        change(listed)

    data = forged(made, changed, identity)
    with pytest.raises(RosterInvalid):
        open_own_list(data, members=federation.members, federation=federation.name, now=NOON)
    with pytest.raises(RosterInvalid):
        end.take_own_list("lapd", data)
    (made.public / MINE).write_bytes(data)
    own(made, entry("lahd", serial=b"\x09"), agency="lahd")
    found = end.load()
    assert found.own_lists["lapd"].version == found.own_lists["lahd"].version == 1
    assert set(found.member("lapd").revoked.serials) == {b"\x07"} and not found.member("lahd").is_out


def test_own_list_counts_only_by_the_identity_key_that_the_roster_names(made: FederationOnDisk) -> None:
    """Not by a stolen statement key, nor by another agency, nor by the authority, nor unsigned."""
    own(made, entry(serial=b"\x07"))
    end = end_of(made)
    federation = end.load()
    signers = (
        SigningKey.generate(),
        SigningKey.load(made.adapter_home("lapd") / "keys/statement.key"),
        home_of(made, "lahd").identity(),
        SigningKey.load(made.root / "authority/keys/authority-1.pem"),
    )
    for signer in signers:
        data = forged(made, lambda listed: setattr(listed, "version", 7), signer)
        with pytest.raises(RosterInvalid, match="identity key"):
            end.take_own_list("lapd", data)
    for data in (b"", b"{}", b"x" * (MAX_OWN_LIST_BYTES + 1)):
        with pytest.raises(RosterInvalid):
            open_own_list(data, members=federation.members, federation=federation.name, now=NOON)


def test_older_own_list_is_refused_also_after_a_restart(made: FederationOnDisk) -> None:
    """Put back into the published folder, or brought: the newer one that was seen stays in force."""
    own(made, entry(serial=b"\x07"))
    old = (made.public / MINE).read_bytes()
    own(made, entry(serial=b"\x08"))
    assert end_of(made).load().own_lists["lapd"].version == 2
    (made.public / MINE).write_bytes(old)
    end = end_of(made)
    found = end.load()
    assert set(found.member("lapd").revoked.serials) == {b"\x07", b"\x08"}
    assert not end.take_own_list("lapd", old) and end.load().own_lists["lapd"].version == 2


def test_another_list_of_the_same_version_is_refused(made: FederationOnDisk) -> None:
    """Signed by the agency itself: who shows two of them deceives somebody."""
    own(made, entry(serial=b"\x07"))
    end = end_of(made)
    end.load()
    data = forged(
        made,
        lambda listed: listed.revocations.append(entry(serial=b"\x08")),
        home_of(made, "lapd").identity(),
    )
    with pytest.raises(RosterInvalid, match="was in force here before"):
        end.take_own_list("lapd", data)
    (made.public / MINE).write_bytes(data)
    (made.adapter_home("lahd") / "roster" / MINE).unlink()
    assert end_of(made).load().member("lapd").lapsed


@pytest.mark.parametrize("what", ["left out", "later", "dated back"])
def test_newer_own_list_takes_nothing_back_and_dates_nothing_back(made: FederationOnDisk, what: str) -> None:
    """Or an agency could have what it signed last year fail today."""
    own(made, entry(serial=b"\x07"))
    end = end_of(made, now=NOON + HOUR)
    end.load()

    def change(listed: RevocationList) -> None:
        listed.version = 2
        if what == "left out":
            del listed.revocations[:]
        elif what == "later":
            listed.revocations[0].revoked_at.CopyFrom(from_instant(NOON + HOUR))
        else:
            listed.revocations.append(entry(serial=b"\x08", at=NOON - HOUR))

    with pytest.raises(RosterInvalid, match=r"nothing is taken off|dated before"):
        end.take_own_list("lapd", forged(made, change, home_of(made, "lapd").identity()))


def test_withheld_own_list_is_missed_by_who_knew_it(made: FederationOnDisk) -> None:
    """It stays with the end; where that was wiped as well, the agency is out, and nobody else."""
    own(made, entry(serial=b"\x07"))
    end_of(made).load()
    (made.public / MINE).unlink()
    assert b"\x07" in end_of(made).load().member("lapd").revoked.serials
    (made.adapter_home("lahd") / "roster" / MINE).unlink()
    found = end_of(made).load()
    assert "isn't there" in found.member("lapd").lapsed and not found.member("lahd").is_out


def test_own_list_past_its_next_update_puts_its_agency_out_and_nobody_else(made: FederationOnDisk) -> None:
    """At that instant, without a file that changes; what it revoked stays so; a newer list ends it."""
    now = [NOON]
    own(made, entry(serial=b"\x07"))
    home = made.adapter_home("lahd")
    end = PublishedRoster(
        public=made.public, authority=home.parent / "authority.json", home=home, clock=lambda: now[0]
    )
    assert not end.load().member("lapd").is_out and not end.is_due()
    now[0] = NOON + DAY
    assert end.is_due()
    found = end.load()
    assert "next update" in found.member("lapd").lapsed and not end.is_due()
    assert not found.member("lapd").suspended and not found.member("lahd").is_out
    assert found.trusted_until > now[0] and b"\x07" in found.member("lapd").revoked.serials
    own(made, now=now[0])
    assert not end.load().member("lapd").is_out


def test_agency_lapses_also_while_no_roster_can_be_read(made: FederationOnDisk) -> None:
    """A published folder that is broken keeps no list in force past its time."""
    now = [NOON]
    own(made, entry(serial=b"\x07"))
    home = made.adapter_home("lahd")
    end = PublishedRoster(
        public=made.public, authority=home.parent / "authority.json", home=home, clock=lambda: now[0]
    )
    end.load()
    (made.public / ROSTER_FILE).write_bytes(b"{}")
    with pytest.raises(RosterInvalid):
        end.load()
    now[0] = NOON + DAY
    assert end.load().member("lapd").lapsed


def test_own_list_is_brought_as_it_is_published(made: FederationOnDisk) -> None:
    """With the roster or without a newer one; one bad list keeps no other's away; and it is remembered."""
    end = end_of(made)
    end.load()
    own(made, entry(serial=b"\x07"))
    brought = (made.public / MINE).read_bytes()
    (made.public / MINE).unlink()
    own(made, entry("lahd", serial=b"\x09"), agency="lahd")
    other = (made.public / OWN_LIST_FILE.format("lahd")).read_bytes()
    documents = Documents.read(made.public)
    bad = to_json(seal(RevocationList(issuer="lapd", version=9), SigningKey.generate()))
    data = Documents(
        roster=documents.roster, timestamp=documents.timestamp, own_lists=(bad, brought, other)
    ).to_bytes()
    assert end.take(data) and set(end.load().own_lists) == {"lapd", "lahd"}
    assert not end.take(Documents.parse(end.documents).to_bytes())
    assert set(end_of(made).load().own_lists) == {"lapd", "lahd"}
    assert set(SeenRoster.load(made.adapter_home("lahd") / "roster-seen.json").own_lists) == {"lapd", "lahd"}


def test_end_brings_only_its_own_agencys_list(made: FederationOnDisk) -> None:
    """To the broker; another agency's, however good, is not taken of it."""
    end = end_of(made)
    end.load()
    own(made, entry(serial=b"\x07"))
    data = (made.public / MINE).read_bytes()
    with pytest.raises(RosterInvalid, match="brought it"):
        end.take_own_list("lahd", data)
    assert end.take_own_list("lapd", data)


def test_largest_lists_are_left_out_first_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no agency can keep the roster, or another's list, from everybody."""
    monkeypatch.setattr("comity.certs.delivered.MAX_OWN_LISTS_BYTES", 10)
    documents = Documents(roster=b"r", timestamp=b"t", own_lists=(b"x" * 9, b"yy", b"zzz"))
    assert Documents.parse(documents.to_bytes()).own_lists == (b"yy", b"zzz")
    assert documents.left_out == {b"x" * 9}


def test_whose_list_is_left_out_is_known(made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """In force here, and handed to nobody: the broker has to tell."""
    broker = end_of(made)
    own(made, entry(serial=b"\x07"))
    broker.load()
    assert broker.left_out == ()
    monkeypatch.setattr("comity.certs.delivered.MAX_OWN_LISTS_BYTES", 10)
    assert "lapd" in broker.load().own_lists
    assert broker.left_out == ("lapd",)
    assert Documents.parse(broker.documents).own_lists == ()


def test_statement_key_of_an_own_list_signs_until_then_for_auditors_too(made: FederationOnDisk) -> None:
    """What is dated before stands; what is dated after doesn't; a forged list is no trust."""
    key = end_of(made).load().member("lapd").key_set.statement_keys[0].key
    own(made, entry(public_key=key_digest(key.der), at=NOON + HOUR), now=NOON + HOUR)
    pin, data = AuthorityPin.load(made.root / "authority/authority.json"), (made.public / MINE).read_bytes()
    roster = (made.public / ROSTER_FILE).read_bytes()
    for found in (
        end_of(made, now=NOON + HOUR).load(),
        Federation.load(made.public, now=NOON + HOUR),
        Federation.for_evidence(roster=roster, pin=pin, own_lists=[data]),
    ):
        keys = found.member("lapd").key_set
        assert key in keys.statement_keys_at(NOON + HOUR - timedelta(seconds=1))
        assert key not in keys.statement_keys_at(NOON + HOUR)
    with pytest.raises(RosterInvalid):
        bad = forged(made, lambda listed: None, SigningKey.generate())
        Federation.for_evidence(roster=roster, pin=pin, own_lists=[bad])


def test_federation_without_own_lists_is_as_before(made: FederationOnDisk) -> None:
    """Nothing is remembered, nothing said of them."""
    found = end_of(made).load()
    assert not found.own_lists and not found.own_lists_digest and found.lapses_at is None
    seen = (made.adapter_home("lahd") / "roster-seen.json").read_text()
    assert "own_lists" not in seen


def test_own_list_is_signed_by_the_identity_key_alone(made: FederationOnDisk) -> None:
    """And carried on from the newest that is at hand, the folder's own copy lost or not."""
    home = home_of(made, "lapd")
    with pytest.raises(SetupRefused, match="identity key"):
        revoke_own(home, [entry(serial=b"\x07")], NOON, lifetime=DAY, identity=SigningKey.generate())
    own(made, entry(serial=b"\x07"))
    (home.home / REVOCATIONS_FILE).unlink()
    assert own(made, entry(serial=b"\x08")).version == 2
    with pytest.raises(SetupRefused, match="lifetime"):
        revoke_own(home, [], NOON, lifetime=timedelta(days=399), identity=home.identity())


def test_own_list_names_no_identity_key(made: FederationOnDisk) -> None:
    """A thief of the old one could stop the agency for good by one line: that is the authority's to say."""
    home = home_of(made, "lapd")
    key = key_digest(home.identity().public.der)
    with pytest.raises(RosterInvalid, match="identity key"):
        own(made, entry(public_key=key))
    own(made, entry(serial=b"\x07"))
    end = end_of(made)
    end.load()

    def change(listed: RevocationList) -> None:
        listed.version = 2
        listed.revocations.append(entry(public_key=key))

    data = forged(made, change, home.identity())
    with pytest.raises(RosterInvalid, match="identity key"):
        end.take_own_list("lapd", data)
    (made.public / MINE).write_bytes(data)
    assert not end.load().member("lapd").is_out


def test_newer_own_list_is_signed_no_earlier(made: FederationOnDisk) -> None:
    """Or one that adds nothing, and says that it is of last year, would let the next one date back."""
    own(made, entry(serial=b"\x07"))
    end = end_of(made)
    end.load()

    def change(listed: RevocationList) -> None:
        listed.version = 2
        listed.signed_at.CopyFrom(from_instant(NOON - 300 * DAY))

    with pytest.raises(RosterInvalid, match="signed before"):
        end.take_own_list("lapd", forged(made, change, home_of(made, "lapd").identity()))


def test_own_list_of_a_clock_that_went_back_is_taken(made: FederationOnDisk) -> None:
    """By as little as clocks differ: it is dated like the one before; by more it isn't signed at all."""
    own(made, entry(serial=b"\x07"))
    end = end_of(made)
    end.load()
    back = NOON - timedelta(seconds=5)
    two = own(made, entry(serial=b"\x08", at=back), now=back)
    assert (two.version, two.signed_at) == (2, NOON)
    assert end.take_own_list("lapd", two.data)
    with pytest.raises(RosterInvalid, match="still to come"):
        own(made, entry(serial=b"\x09", at=NOON - HOUR), now=NOON - HOUR)


def test_own_list_comes_into_force_while_the_published_folder_is_broken(made: FederationOnDisk) -> None:
    """What was brought over the link waits for no roster; and it is remembered."""
    own(made, entry(serial=b"\x07"))
    end = end_of(made)
    end.load()
    two = own(made, entry(serial=b"\x08"))
    (made.public / MINE).unlink()
    (made.public / ROSTER_FILE).write_bytes(b"{}")
    assert end.take_own_list("lapd", two.data)
    assert b"\x08" in end.load().member("lapd").revoked.serials
    assert SeenRoster.load(made.adapter_home("lahd") / "roster-seen.json").own_lists["lapd"][0] == 2
    assert two.data in Documents.parse(end.documents).own_lists and end.is_due()
    with pytest.raises(RosterInvalid):
        end.load()
    assert not end.is_due()


def test_published_folder_that_may_not_be_searched_is_told(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an error of this room: the process goes on with what it has."""
    own(made, entry(serial=b"\x07"))
    end_of(made).load()
    documents = Documents.read(made.public)
    documents.write(made.adapter_home("lahd") / "roster")
    exists = Path.exists

    def barred(self: Path, **options: bool) -> bool:
        if self.parent == made.public:
            raise PermissionError(13, "Permission denied")
        return exists(self, **options)

    end = end_of(made)
    monkeypatch.setattr(Path, "exists", barred)
    assert b"\x07" in end.load().member("lapd").revoked.serials


def test_same_list_without_its_signature_takes_no_good_ones_place(made: FederationOnDisk) -> None:
    """It is handed on as it was verified: who sees it for the first time can verify it, too."""
    one = own(made, entry(serial=b"\x07"))
    end = end_of(made)
    end.load()
    envelope = from_json(one.data)
    envelope.signatures[0].signature = SigningKey.generate().sign(b"x")
    (made.public / MINE).write_bytes(to_json(envelope))
    end.load()
    assert Documents.parse(end.documents).own_lists == (one.data,)
