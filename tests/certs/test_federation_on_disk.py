"""Founding, admitting, refreshing, setting up agencies: what lies on disk, and what is refused."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from comity.audit.note import LogKey
from comity.certs.agency import AgencyHome, AgencySpec, OwnIdentityProvider, init_agency
from comity.certs.agreements import AgreementBook
from comity.certs.assertions import verify_assertion
from comity.certs.authority import (
    OPERATOR,
    FederationSpec,
    admit,
    application,
    init_federation,
    read_application,
    refresh,
    remove,
    revoke,
    suspend,
)
from comity.certs.credentials import load_end
from comity.certs.envelope import from_json, seal, to_json
from comity.certs.errors import (
    ApplicationInvalid,
    AssertionInvalid,
    RosterExpired,
    RosterInvalid,
    SetupRefused,
)
from comity.certs.instants import from_instant
from comity.certs.jwks import to_jwks
from comity.certs.keys import SigningKey
from comity.certs.lodgements import LodgementBook
from comity.certs.roster import AuthorityPin, Federation
from comity.certs.x509 import split_pem, verify_leaf
from comity.v1.federation_pb2 import KeySet, Member, Revocation, RevocationList, Roster
from tests.support.federation import FederationOnDisk, build_federation
from tests.support.rosters import DAY, NOON, Forge, Party


def make_log_key(origin: str, path: Path) -> str:
    key = LogKey.generate(origin)
    key.save(path)
    return key.verifier_key


def found(folder: Path, **changes: object) -> Federation:
    values: dict[str, object] = {"name": "Test", "broker": "127.0.0.1:7400"}
    spec = FederationSpec(**{**values, **changes})  # type: ignore[arg-type]
    return init_federation(folder, spec, NOON, make_log_key=make_log_key)


def spec_of(folder: Path, **changes: object) -> AgencySpec:
    values: dict[str, object] = {
        "agency": "lapd",
        "home": folder / "agencies" / "lapd",
        "kind": "local",
        "domain": "lapd.example",
        "name": "Police",
        "contact": "desk",
        "state": "CA",
        "asks": True,
        "provides": True,
        "public": folder / "public",
        "broker": "127.0.0.1:7400",
    }
    return AgencySpec(**{**values, **changes})  # type: ignore[arg-type]


def make_agency(folder: Path, **changes: object) -> bytes:
    return init_agency(spec_of(folder, **changes), NOON, make_log_key=make_log_key)


def private_files(folder: Path) -> list[Path]:
    names = ("identity.pem", "users.toml")
    return [
        path
        for path in folder.rglob("*")
        if path.suffix == ".key" or path.name in names or path.parent == folder / "authority" / "keys"
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """The federation of the demonstration; tests leave it as it is."""
    return build_federation(tmp_path_factory.mktemp("federation"), NOON)


# --- the federation of the documents ------------------------------------------------------------------------


def test_federation_of_the_documents(whole: FederationOnDisk) -> None:
    """Kinds, who asks and who provides stand as in the documents; ICE never provides."""
    federation = whole.federation(NOON)
    assert {
        agency: (member.kind, member.asks, member.provides) for agency, member in federation.members.items()
    } == {
        "cbp": ("federal", True, True),
        "dea": ("federal", True, True),
        "ice": ("federal", True, False),
        "lahd": ("local", True, True),
        "lapd": ("local", True, True),
        "sheriff": ("local", True, False),
        "vendor": ("commercial", False, True),
    }


def test_agreements_of_the_documents(whole: FederationOnDisk) -> None:
    """ICE has none with LAPD or the Port Police, nor DEA with them: such a pair isn't asked (D4)."""
    federation = whole.federation(NOON)
    books = {
        agency: AgreementBook.load(whole.agreements(agency), federation) for agency in federation.members
    }
    assert {agency: book.providers_for(agency, NOON) for agency, book in books.items()} == {
        "cbp": ("dea",),
        "dea": ("cbp",),
        "ice": ("vendor",),
        "lahd": ("lapd",),
        "lapd": ("lahd",),
        "sheriff": ("cbp", "dea", "lahd", "lapd", "vendor"),
        "vendor": (),
    }
    assert all(not book.rejected for book in books.values())


def test_both_ends_and_the_broker_hold_one_ceiling(whole: FederationOnDisk) -> None:
    """For each pair, provider, requester and broker have the same bytes and the same agreement's digest."""
    federation = whole.federation(NOON)
    lodged = LodgementBook.load(whole.lodgements, federation)
    assert len(lodged.lodgements) == 10
    for agency in federation.members:
        book = AgreementBook.load(whole.agreements(agency), federation)
        for provider in book.providers_for(agency, NOON):
            mine = book.grant(provider=provider, requester=agency, now=NOON)
            theirs = AgreementBook.load(whole.agreements(provider), federation)
            broker = lodged.ceiling(provider, agency, NOON)
            assert mine is not None
            assert broker is not None
            assert mine == theirs.grant(provider=provider, requester=agency, now=NOON)
            assert (broker.ceiling, broker.agreement_digest) == (mine[1].ceiling, mine[0].digest)


def test_moa_grants_what_lapds_own_policy_refuses(whole: FederationOnDisk) -> None:
    """The agreement lists every reason, so that it is the party's own policy that refuses (A1, A3)."""
    book = AgreementBook.load(whole.agreements("lapd"), whole.federation(NOON))
    pair = book.grant(provider="lapd", requester="lahd", now=NOON)
    assert pair is not None
    assert "CIVIL_IMMIGRATION" in pair[1].purposes


def test_each_end_has_what_it_needs(whole: FederationOnDisk) -> None:
    """Each end's own credentials load, and verify against its domain's CA in the roster."""
    federation = whole.federation(NOON)
    ends = [("operator", "broker", whole.broker_home)]
    ends += [(a, "gateway", whole.gateway_home(a)) for a, m in federation.members.items() if m.asks]
    ends += [(a, "adapter", whole.adapter_home(a)) for a, m in federation.members.items() if m.provides]
    for agency, role, home in ends:
        member = federation.operator if agency == "operator" else federation.member(agency)
        end = load_end(home)
        verified = verify_leaf(
            end.chain_der,
            ca_certificates=member.key_set.ca_certificates,
            spiffe_id=member.spiffe_id(role),
            now=NOON,
        )
        assert verified.dns_names == (() if role == "adapter" else (f"{role}.{member.domain}",))
        assert end.statement.public in member.key_set.statement_keys_at(NOON)
        log_key = LogKey.load(end.log_key, f"{member.domain}/{role}")
        assert member.key_set.log_key(role).verifier_key == log_key.verifier_key
        assert (home / f"{role}.toml").is_file()


def test_only_its_own_ends_are_made(whole: FederationOnDisk) -> None:
    """An agency that never provides has no adapter, one that never asks no gateway and no users."""
    assert not whole.adapter_home("ice").exists()
    assert not whole.gateway_home("vendor").exists()
    assert not (whole.home("vendor") / "idp").exists()


def test_private_files_are_private(whole: FederationOnDisk) -> None:
    """Whatever signs, and the users' file, is 0600."""
    private = private_files(whole.root)
    assert len(private) > 50
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_client_system_and_assertion(whole: FederationOnDisk) -> None:
    """A client system's certificate is its agency's, and an assertion bound to it verifies at that agency."""
    federation = whole.federation(NOON)
    sheriff = federation.member("sheriff")
    leaf = whole.client_certificate("sheriff")
    verify_leaf(
        [leaf],
        ca_certificates=sheriff.key_set.ca_certificates,
        spiffe_id="spiffe://sheriff.example/system/desk",
        now=NOON,
    )
    assertion = whole.assertion("sheriff", NOON)
    claims = verify_assertion(assertion, member=sheriff, now=NOON, certificate_der=leaf)
    assert claims.user == "j.ortega"
    with pytest.raises(AssertionInvalid):
        verify_assertion(assertion, member=federation.member("lapd"), now=NOON, certificate_der=leaf)


def test_some_agencies_alone(tmp_path: Path) -> None:
    """A test may have two agencies and the agreements between them."""
    some = build_federation(tmp_path, NOON, ["lapd", "lahd"])
    federation = some.federation(NOON)
    assert list(federation.members) == ["lahd", "lapd"]
    assert AgreementBook.load(some.agreements("lapd"), federation).providers_for("lapd", NOON) == ("lahd",)


def test_kept_federation_starts_again_days_later(whole: FederationOnDisk) -> None:
    """A demonstration that was kept is still trusted after weeks, and says what to do after that."""
    whole.federation(NOON + 29 * DAY)
    with pytest.raises(RosterExpired, match="comity federation refresh"):
        whole.federation(NOON + 31 * DAY)


# --- founding -----------------------------------------------------------------------------------------------


def test_founding_twice_overwrites_nothing(tmp_path: Path) -> None:
    """Keys that are there stay as they are."""
    found(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SetupRefused, match="isn't overwritten"):
        found(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"broker": "localhost"}, "HOST:PORT"),
        ({"broker": "localhost:99999"}, "HOST:PORT"),
        ({"operator_domain": "Operator.Example"}, "operator domain"),
        ({"name": "two\nlines"}, "name"),
        ({"authority_keys": 0}, "authority keys"),
        ({"authority_keys": 2, "threshold": 3}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"leaf_lifetime": timedelta(0)}, "leaf lifetime"),
        ({"timestamp_lifetime": timedelta(days=9999)}, "timestamp lifetime"),
    ],
)
def test_founding_with_a_bad_value(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    """A value that can't be is named with what would have been right, before anything is made."""
    with pytest.raises(SetupRefused, match=text):
        found(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_threshold_of_keys_that_are_elsewhere(tmp_path: Path) -> None:
    """With two of three keys at hand the authority signs; with one it can't."""
    found(tmp_path, authority_keys=3, threshold=2)
    (tmp_path / "authority" / "keys" / "authority-1.pem").unlink()
    refresh(tmp_path, NOON + DAY)
    (tmp_path / "authority" / "keys" / "authority-3.pem").unlink()
    with pytest.raises(SetupRefused, match="holds 1 of the authority's keys, expected 2 or more"):
        refresh(tmp_path, NOON + 2 * DAY)
    SigningKey.generate().save(tmp_path / "authority" / "keys" / "stranger.pem")
    with pytest.raises(SetupRefused, match="holds 1"):
        refresh(tmp_path, NOON + 2 * DAY)


# --- freshness ----------------------------------------------------------------------------------------------


def test_refresh_signs_a_new_timestamp(tmp_path: Path) -> None:
    """A timestamp that ended is replaced; the roster stays the version it is."""
    found(tmp_path)
    with pytest.raises(RosterExpired):
        Federation.load(tmp_path / "public", now=NOON + 40 * DAY)
    assert refresh(tmp_path, NOON + 40 * DAY).version == 1
    later = Federation.load(tmp_path / "public", now=NOON + 69 * DAY)
    assert later.timestamp_expires_at == NOON + 70 * DAY


def test_refresh_renews_a_roster_that_ends_soon(tmp_path: Path) -> None:
    """Within 30 days of its end, and after it, the roster is signed anew as the next version."""
    found(tmp_path)
    assert refresh(tmp_path, NOON + 334 * DAY).version == 1
    assert refresh(tmp_path, NOON + 335 * DAY).version == 2
    assert refresh(tmp_path, NOON + 900 * DAY).version == 3


def test_published_roster_that_was_exchanged_is_not_refreshed(tmp_path: Path) -> None:
    """The authority doesn't put its timestamp on a roster that it never signed."""
    found(tmp_path)
    (tmp_path / "public" / "roster.json").write_bytes(to_json(Forge().roster()))
    with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
        refresh(tmp_path, NOON)


def test_nothing_of_the_authority_follows_the_highest_version(tmp_path: Path) -> None:
    """Whoever signed that has its keys: told in a line, and nothing is written."""
    found(tmp_path)
    key = SigningKey.load(tmp_path / "authority" / "keys" / "authority-1.pem")
    user = Revocation(
        agency=OPERATOR,
        user=bytes(32),
        revoked_at=from_instant(NOON),
        reason="REVOCATION_REASON_SUPERSEDED",
    )
    revoke(tmp_path, [user], NOON)
    for name, kind, what in (
        ("revocations.json", RevocationList, "list of revocations: version 18446744073709551615"),
        ("roster.json", Roster, "roster: version 18446744073709551615"),
    ):
        path = tmp_path / "public" / name
        before = path.read_bytes()
        document = kind.FromString(from_json(before).payload)
        document.version = 2**64 - 1
        path.write_bytes(to_json(seal(document, key)))
        with pytest.raises(SetupRefused, match=f"{what} is the highest.*comity federation init"):
            refresh(tmp_path, NOON + 340 * DAY)
        path.write_bytes(before)
    assert refresh(tmp_path, NOON + 340 * DAY).version == 2


# --- admitting ----------------------------------------------------------------------------------------------


def test_admitting_counts_the_version_up(tmp_path: Path) -> None:
    """Each admission is one new version; the same application twice changes nothing else."""
    found(tmp_path)
    applied = make_agency(tmp_path)
    assert admit(tmp_path, [applied], NOON).version == 2
    again = admit(tmp_path, [applied], NOON)
    assert (again.version, list(again.members)) == (3, ["lapd"])


def test_application_signed_by_another_key(tmp_path: Path) -> None:
    """Nobody applies with an identity key that they don't hold."""
    found(tmp_path)
    member, _ = read_application(make_agency(tmp_path))
    with pytest.raises(ApplicationInvalid, match="signed by 0"):
        admit(tmp_path, [application(member, SigningKey.generate())], NOON)


def _renamed(member: Member) -> None:
    member.agency = "chp"


def _moved(member: Member) -> None:
    member.domain = "chp.example"


def _suspended(member: Member) -> None:
    member.suspended = True


def _idle(member: Member) -> None:
    member.asks = member.provides = False


@pytest.mark.parametrize("change", [_renamed, _moved, _suspended, _idle])
def test_application_whose_parts_disagree(tmp_path: Path, change: Callable[[Member], None]) -> None:
    """Entry and key set name one agency and one domain, and an applicant asks or provides."""
    found(tmp_path)
    member, _ = read_application(make_agency(tmp_path))
    change(member)
    identity = SigningKey.load(tmp_path / "agencies" / "lapd" / "identity.pem")
    with pytest.raises(ApplicationInvalid):
        admit(tmp_path, [application(member, identity)], NOON)


def test_agency_that_would_be_the_operator(tmp_path: Path) -> None:
    """Nobody applies as `operator`, nor with the operator's domain."""
    found(tmp_path)
    with pytest.raises(SetupRefused, match="operator"):
        spec_of(tmp_path, agency="operator")
    party = Party("operator", "chp.example", ("gateway",))
    with pytest.raises(ApplicationInvalid, match="operator"):
        admit(tmp_path, [application(party.entry, party.identity)], NOON)
    party = Party("chp", "operator.example", ("gateway",))
    with pytest.raises(ApplicationInvalid, match=r"domain `operator\.example` stands in the roster twice"):
        admit(tmp_path, [application(party.entry, party.identity)], NOON)


def test_second_agency_with_a_members_domain(tmp_path: Path) -> None:
    """An applicant can't come beside a member with that member's domain; the roster stays as it was."""
    found(tmp_path)
    admit(tmp_path, [make_agency(tmp_path)], NOON)
    party = Party("chp", "lapd.example", ("gateway",))
    with pytest.raises(ApplicationInvalid, match="stands in the roster twice"):
        admit(tmp_path, [application(party.entry, party.identity)], NOON)
    assert Federation.load(tmp_path / "public", now=NOON).version == 2


def test_member_taken_over_with_another_identity(tmp_path: Path) -> None:
    """An application for a member's name with another identity key needs a person's word."""
    found(tmp_path)
    admit(tmp_path, [make_agency(tmp_path)], NOON)
    party = Party("lapd", "lapd.example", ("gateway", "adapter"))
    taken = application(party.entry, party.identity)
    with pytest.raises(ApplicationInvalid, match="another identity key"):
        admit(tmp_path, [taken], NOON)
    replaced = admit(tmp_path, [taken], NOON, new_identity=True)
    assert replaced.member("lapd").identity_key == party.identity.public


def test_older_key_set_of_a_member(tmp_path: Path) -> None:
    """An old application, sent again, doesn't bring back keys that were replaced."""
    found(tmp_path)
    first = make_agency(tmp_path)
    identity = SigningKey.load(tmp_path / "agencies" / "lapd" / "identity.pem")
    member, _ = read_application(first)
    key_set = KeySet.FromString(from_json((tmp_path / "agencies/lapd/keyset.json").read_bytes()).payload)
    key_set.version = 2
    member.key_set = seal(key_set, identity).SerializeToString()
    admit(tmp_path, [first], NOON)
    admit(tmp_path, [application(member, identity)], NOON)
    with pytest.raises(ApplicationInvalid, match="has version 1, expected more than 2"):
        admit(tmp_path, [first], NOON)
    key_set.statement_keys.pop()
    member.key_set = seal(key_set, identity).SerializeToString()
    with pytest.raises(ApplicationInvalid, match="has version 2, expected more than 2"):
        admit(tmp_path, [application(member, identity)], NOON)


def test_suspension_survives_an_application(tmp_path: Path) -> None:
    """A suspended member can't lift its suspension by applying again."""
    found(tmp_path)
    applied = make_agency(tmp_path)
    admit(tmp_path, [applied], NOON)
    assert suspend(tmp_path, "lapd", NOON).member("lapd").suspended
    assert admit(tmp_path, [applied], NOON).member("lapd").suspended
    assert not suspend(tmp_path, "lapd", NOON, suspended=False).member("lapd").suspended
    with pytest.raises(SetupRefused, match="expected one of lapd"):
        suspend(tmp_path, "lapdd", NOON)


def test_member_that_is_removed_is_no_member(tmp_path: Path) -> None:
    """The next roster is without it; who was never one can't be removed; it may come back by applying."""
    found(tmp_path)
    applied = make_agency(tmp_path)
    admitted = admit(tmp_path, [applied], NOON)
    left = remove(tmp_path, "lapd", NOON)
    assert (left.version, dict(left.members)) == (admitted.version + 1, {})
    for stranger in ("lapd", "operator"):
        with pytest.raises(SetupRefused, match="expected one of none"):
            remove(tmp_path, stranger, NOON)
    assert admit(tmp_path, [applied], NOON).member("lapd").domain == "lapd.example"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff"])
def test_application_that_is_none(tmp_path: Path, data: bytes) -> None:
    """Anything may be handed in as an application."""
    found(tmp_path)
    with pytest.raises(ApplicationInvalid):
        admit(tmp_path, [data], NOON)


def test_key_set_handed_in_as_application(tmp_path: Path) -> None:
    """A key set alone isn't an application."""
    found(tmp_path)
    make_agency(tmp_path)
    with pytest.raises(ApplicationInvalid, match="Member"):
        admit(tmp_path, [(tmp_path / "agencies" / "lapd" / "keyset.json").read_bytes()], NOON)


# --- agencies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"agency": "LAPD"}, "agency id"),
        ({"agency": "a/b"}, "agency id"),
        ({"kind": "municipal"}, "expected one of federal, state, local, commercial"),
        ({"domain": "lapd"}, "domain"),
        ({"name": ""}, "name"),
        ({"contact": "a\nb"}, "contact"),
        ({"state": "California"}, "state"),
        ({"broker": "x"}, "broker"),
        ({"gateway_listen": "7443"}, "gateway listen"),
        ({"asks": False, "provides": False}, "neither asks nor provides"),
        ({"leaf_lifetime": timedelta(days=-1)}, "leaf lifetime"),
        ({"identity_provider": OwnIdentityProvider(issuer="http://x", jwks=b"{}")}, "https"),
        ({"identity_provider": OwnIdentityProvider(issuer="https://x", jwks=b"{}")}, "JWK set"),
    ],
)
def test_agency_with_a_bad_value(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    """A value that can't be is named with what would have been right, before anything is made."""
    with pytest.raises(SetupRefused, match=text):
        spec_of(tmp_path, **changes)


def test_agency_is_not_overwritten(tmp_path: Path) -> None:
    """Keys that are there stay as they are."""
    found(tmp_path)
    make_agency(tmp_path)
    before = (tmp_path / "agencies" / "lapd" / "identity.pem").read_bytes()
    with pytest.raises(SetupRefused, match="isn't overwritten"):
        make_agency(tmp_path)
    assert (tmp_path / "agencies" / "lapd" / "identity.pem").read_bytes() == before


def test_agency_of_a_forged_roster(tmp_path: Path) -> None:
    """An agency isn't set up towards a roster that doesn't verify."""
    found(tmp_path)
    (tmp_path / "public" / "roster.json").write_bytes(to_json(Forge().roster()))
    with pytest.raises(RosterInvalid):
        make_agency(tmp_path)
    assert not (tmp_path / "agencies").exists()


def test_agency_keeps_the_pin_it_was_set_up_with(tmp_path: Path) -> None:
    """Who exchanges the whole public folder, the pin too, gets no agency to sign or use anything under it."""
    found(tmp_path / "a")
    make_agency(tmp_path / "a")
    found(tmp_path / "b")
    home = AgencyHome.load(tmp_path / "a" / "agencies" / "lapd")
    assert home.federation(NOON).name == "Test"
    with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
        home.federation(NOON, tmp_path / "b" / "public")
    other = AuthorityPin.load(tmp_path / "b" / "authority" / "authority.json")
    with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
        make_agency(tmp_path / "a", agency="chp", home=tmp_path / "chp", domain="chp.example", pin=other)


def test_agency_with_its_own_identity_provider(tmp_path: Path) -> None:
    """A real provider's issuer and keys go into the key set; no provider for demonstrations is made."""
    found(tmp_path)
    key = SigningKey.generate().public
    own = OwnIdentityProvider(issuer="https://login.lapd.example/realm", jwks=to_jwks({"k1": key}))
    federation = admit(tmp_path, [make_agency(tmp_path, identity_provider=own)], NOON)
    assert [p.issuer for p in federation.member("lapd").key_set.identity_providers] == [own.issuer]
    with pytest.raises(SetupRefused, match="brings its own"):
        AgencyHome.load(tmp_path / "agencies" / "lapd").identity_provider()


def test_client_systems(tmp_path: Path) -> None:
    """Each client system gets a certificate once; its name can't leave the folder."""
    found(tmp_path)
    make_agency(tmp_path)
    home = AgencyHome.load(tmp_path / "agencies" / "lapd")
    config = home.add_client("desk", gateway="127.0.0.1:7443", now=NOON)
    assert len(split_pem(config.with_name("leaf.pem").read_bytes())) == 2
    with pytest.raises(SetupRefused, match="isn't overwritten"):
        home.add_client("desk", gateway="127.0.0.1:7443", now=NOON)
    for name in ("../desk", "", "a b", "Desk"):
        with pytest.raises(SetupRefused, match="client name"):
            home.add_client(name, gateway="127.0.0.1:7443", now=NOON)
    with pytest.raises(SetupRefused, match="HOST:PORT"):
        home.add_client("desk2", gateway="nowhere", now=NOON)


def test_folder_that_is_no_agency(tmp_path: Path) -> None:
    """A wrong folder is told by the file that is missing or wrong."""
    (tmp_path / "agency.toml").write_text('agency = "lapd"\n')
    with pytest.raises(SetupRefused, match=r"agency\.toml"):
        AgencyHome.load(tmp_path)


def test_broker_reads_rosters_and_lodgements_without_pyjwt() -> None:
    """The operator installs no JWT library: what the broker imports doesn't need one."""
    script = (
        "import sys; sys.modules['jwt'] = None\n"
        "import comity.certs.roster, comity.certs.agreements, comity.certs.authority, comity.certs.x509\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
