"""The roster: everything that somebody between the authority and an end might try."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from comity.audit.note import LogKey as NoteKey
from comity.certs.envelope import to_json
from comity.certs.errors import FileUnusable, RosterExpired, RosterInvalid, UnknownLog, UnknownMember
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import AuthorityPin, Federation
from comity.certs.x509 import certificate_der, make_ca
from comity.v1.common_pb2 import END_ROLE_BROKER
from comity.v1.federation_pb2 import IdentityProvider, KeyValidity, Roster, RosterTimestamp
from tests.support.rosters import DAY, NOON, Forge, Party


@pytest.fixture
def forge() -> Forge:
    return Forge()


def test_honest_roster_is_accepted(forge: Forge) -> None:
    """A roster that two of three authority keys signed gives its members with their keys."""
    federation = forge.verify()
    assert (federation.name, federation.version) == ("Test", 5)
    assert list(federation.members) == ["lahd", "lapd"]
    lapd = federation.member("lapd")
    assert lapd.kind == "local"
    assert lapd.spiffe_id("gateway") == "spiffe://lapd.example/gateway"
    assert lapd.key_set.log_key("adapter").origin == "lapd.example/adapter"
    assert lapd.key_set.log_key("lapd.example/gateway").role == "gateway"
    assert federation.by_domain("lahd.example").agency == "lahd"
    assert federation.trusted_until == NOON + 30 * DAY
    assert b"BEGIN CERTIFICATE" in lapd.key_set.ca_pem


def test_operator_is_no_member(forge: Forge) -> None:
    """Whoever looks up an agency never gets the operator, by name or by domain."""
    federation = forge.verify()
    assert federation.operator.domain == "operator.example"
    for look_up in (federation.member, federation.by_domain):
        with pytest.raises(UnknownMember):
            look_up("operator")
        with pytest.raises(UnknownMember):
            look_up("operator.example")


def test_roster_signed_by_too_few(forge: Forge) -> None:
    """One of three keys isn't the threshold of two."""
    forge.roster_signers = forge.keys[:1]
    with pytest.raises(RosterInvalid, match="roster isn't signed by the pinned authority"):
        forge.verify()


def test_roster_signed_twice_by_one_key(forge: Forge) -> None:
    """The same key twice counts once."""
    forge.roster_signers = [forge.keys[0], forge.keys[0]]
    with pytest.raises(RosterInvalid, match="signed by 1"):
        forge.verify()


def test_roster_signed_by_the_operator(forge: Forge) -> None:
    """The operator isn't the authority: its identity key signs no roster."""
    forge.roster_signers = [forge.operator.identity, forge.keys[0]]
    with pytest.raises(RosterInvalid, match="signed by 1"):
        forge.verify()


def test_timestamp_signed_by_strangers(forge: Forge) -> None:
    """A timestamp of other keys says nothing."""
    forge.timestamp_signers = [SigningKey.generate(), SigningKey.generate()]
    with pytest.raises(RosterInvalid, match="roster timestamp isn't signed"):
        forge.verify()


def test_roster_in_the_place_of_the_timestamp(forge: Forge) -> None:
    """A document signed as one kind can't be passed off as another."""
    roster = to_json(forge.roster())
    with pytest.raises(RosterInvalid, match="timestamp"):
        Federation.verify(roster=roster, timestamp=roster, pin=forge.pin, now=NOON)


def test_roster_changed_after_signing(forge: Forge) -> None:
    """One bit of the payload, and no signature verifies."""
    roster = forge.roster()
    timestamp = to_json(forge.timestamp(roster))
    roster.payload = roster.payload[:-1] + bytes([roster.payload[-1] ^ 1])
    with pytest.raises(RosterInvalid):
        Federation.verify(roster=to_json(roster), timestamp=timestamp, pin=forge.pin, now=NOON)


def test_frozen_timestamp(forge: Forge) -> None:
    """Serving yesterday's roster for ever stops working when its timestamp ends; the error names the cure."""
    forge.verify(now=NOON + 30 * DAY - timedelta(seconds=1))
    with pytest.raises(RosterExpired, match="comity federation refresh"):
        forge.verify(now=NOON + 30 * DAY)


def test_expired_roster_under_a_fresh_timestamp(forge: Forge) -> None:
    """A fresh timestamp doesn't prolong the roster."""
    forge.change_timestamp = lambda t: t.expires_at.CopyFrom(from_instant(NOON + 999 * DAY))
    with pytest.raises(RosterExpired, match="roster expired"):
        forge.verify(now=NOON + 365 * DAY)


@pytest.mark.parametrize("document", ["roster", "timestamp"])
def test_documents_from_the_future(forge: Forge, document: str) -> None:
    """What claims to be signed later than now isn't trusted, beyond five seconds of skew."""

    def later(found: Roster | RosterTimestamp) -> None:
        found.signed_at.CopyFrom(from_instant(NOON + timedelta(seconds=6)))

    setattr(forge, f"change_{document}", later)
    with pytest.raises(RosterInvalid, match="still to come"):
        forge.verify()
    forge.verify(now=NOON + timedelta(seconds=1))


def test_older_roster_under_the_newest_timestamp(forge: Forge) -> None:
    """The timestamp names one roster: an older one beside it is refused."""
    old = to_json(forge.roster())
    forge.version = 6
    timestamp = to_json(forge.timestamp(forge.roster()))
    with pytest.raises(RosterInvalid, match="isn't the one that the timestamp names"):
        Federation.verify(roster=old, timestamp=timestamp, pin=forge.pin, now=NOON)


def test_other_roster_of_the_same_version(forge: Forge) -> None:
    """Two rosters of one version differ in their digest, and the timestamp names one of them."""
    first = forge.roster()
    forge.members = [forge.lahd]
    with pytest.raises(RosterInvalid, match="isn't the one"):
        Federation.verify(
            roster=to_json(forge.roster()), timestamp=to_json(forge.timestamp(first)), pin=forge.pin, now=NOON
        )


def test_rollback_of_roster_and_timestamp(forge: Forge) -> None:
    """An end that saw version 6 refuses version 5, though all of its signatures and times are right."""
    forge.verify(last_seen_version=5)
    with pytest.raises(RosterInvalid, match="older than version 6"):
        forge.verify(last_seen_version=6)


def test_roster_of_another_federation(forge: Forge) -> None:
    """One authority may govern two federations: the roster of one isn't that of the other."""
    forge.change_roster = lambda roster: setattr(roster, "federation", "Other")
    with pytest.raises(RosterInvalid, match="expected `Test`"):
        forge.verify()


def test_times_that_are_not_set(forge: Forge) -> None:
    """A missing expiry isn't 1970 and isn't never: the roster is refused."""
    forge.change_roster = lambda roster: roster.ClearField("expires_at")
    with pytest.raises(RosterInvalid, match="`expires_at` is not set"):
        forge.verify()


# --- members ------------------------------------------------------------------------------------------------


def test_key_set_signed_by_another_identity(forge: Forge) -> None:
    """Neither the authority nor another member can make a member's key set: its own identity key signs it."""
    for stranger in (forge.lahd.identity, forge.keys[0], forge.operator.identity):
        forge.lapd.sign_key_set(stranger)
        with pytest.raises(RosterInvalid, match="member `lapd`: key set isn't signed by the identity key"):
            forge.verify()


def test_key_set_of_another_agency(forge: Forge) -> None:
    """A key set that its agency signed for another name or domain doesn't count for this entry."""
    forge.lapd.key_set.agency = "lahd"
    forge.lapd.sign_key_set()
    with pytest.raises(RosterInvalid, match="its key set is that of `lahd`"):
        forge.verify()


def test_key_set_of_another_domain(forge: Forge) -> None:
    """A member can't take a domain other than its entry's."""
    forge.lapd.key_set.domain = "chp.example"
    forge.lapd.sign_key_set()
    with pytest.raises(RosterInvalid, match=r"expected `lapd\.example`"):
        forge.verify()


def test_ca_of_another_domain(forge: Forge) -> None:
    """A CA that could mint another member's names is refused, whoever signed the key set."""
    ca, _ = make_ca("lahd.example", NOON, 10 * DAY)
    forge.lapd.key_set.ca_certificates.append(certificate_der(ca))
    forge.lapd.sign_key_set()
    with pytest.raises(RosterInvalid, match=r"CA of `lapd.example`: name constraints"):
        forge.verify()


def test_ca_without_critical_constraints(forge: Forge) -> None:
    """Constraints that a library may ignore constrain nothing."""
    key = ec.generate_private_key(ec.SECP256R1())
    honest = forge.lapd.ca
    builder = x509.CertificateBuilder(
        honest.issuer, honest.subject, key.public_key(), 7, honest.not_valid_before_utc, NOON + 9 * DAY
    )
    for extension in honest.extensions:
        critical = extension.critical and not isinstance(extension.value, x509.NameConstraints)
        builder = builder.add_extension(extension.value, critical=critical)
    forge.lapd.key_set.ca_certificates[0] = certificate_der(builder.sign(key, hashes.SHA256()))
    forge.lapd.sign_key_set()
    with pytest.raises(RosterInvalid, match="name constraints are not critical"):
        forge.verify()


def test_two_members_with_one_id(forge: Forge) -> None:
    """Two agencies of one name could be taken for one another."""
    forge.members.append(Party("lapd", "lapd2.example", ("gateway",)))
    with pytest.raises(RosterInvalid, match="agency id `lapd` stands in the roster twice"):
        forge.verify()


def test_two_members_with_one_domain(forge: Forge) -> None:
    """Two agencies of one domain could issue each other's certificates."""
    forge.members.append(Party("harbor", "lahd.example", ("gateway",)))
    with pytest.raises(RosterInvalid, match=r"domain `lahd\.example` stands in the roster twice"):
        forge.verify()


def test_domain_within_another_members(forge: Forge) -> None:
    """A DNS constraint lets names below it pass: `harbor.lapd.example` would be LAPD's to mint."""
    forge.members.append(Party("harbor", "port.harbor.lapd.example", ("gateway",)))
    with pytest.raises(RosterInvalid, match=r"lies within `lapd\.example`"):
        forge.verify()


def test_agency_under_the_operators_name(forge: Forge) -> None:
    """No agency is called `operator` or has its domain."""
    forge.members.append(Party("operator", "other.example", ("gateway",)))
    with pytest.raises(RosterInvalid, match="agency id `operator`"):
        forge.verify()


def _share_identity(forge: Forge) -> None:
    forge.lahd.identity = forge.lapd.identity
    forge.lahd.entry.identity_key = forge.lapd.identity.public.der


def _share_statement(forge: Forge) -> None:
    forge.lahd.key_set.statement_keys[0].public_key = forge.lapd.statement.public.der


def _share_ca(forge: Forge) -> None:
    ca = forge.lahd.ca
    builder = x509.CertificateBuilder(
        ca.issuer, ca.subject, forge.lapd.ca_key.public_key(), 7, ca.not_valid_before_utc, NOON + 9 * DAY
    )
    for extension in ca.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    signed = builder.sign(forge.lapd.ca_key, hashes.SHA256())
    forge.lahd.key_set.ca_certificates[0] = certificate_der(signed)


def _identity_signs_statements(forge: Forge) -> None:
    forge.lahd.key_set.statement_keys[0].public_key = forge.lahd.identity.public.der


def _authority_as_identity(forge: Forge) -> None:
    forge.lahd.identity = forge.keys[2]
    forge.lahd.entry.identity_key = forge.keys[2].public.der


@pytest.mark.parametrize(
    "share",
    [_share_identity, _share_statement, _share_ca, _identity_signs_statements, _authority_as_identity],
)
def test_one_key_for_two_uses(forge: Forge, share: Callable[[Forge], None]) -> None:
    """No key stands for two members, or for two uses of one: its signature would prove less than it seems."""
    share(forge)
    forge.lahd.sign_key_set()
    with pytest.raises(RosterInvalid, match="is the same key as"):
        forge.verify()


def test_log_key_of_another_members_log(forge: Forge) -> None:
    """A member can't name a log within another member's domain."""
    forge.lahd.key_set.log_keys[0].CopyFrom(forge.lapd.key_set.log_keys[0])
    forge.lahd.sign_key_set()
    with pytest.raises(RosterInvalid, match=r"expected `lahd.example/gateway`"):
        forge.verify()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "lahd.example/gateway",
        "lahd.example/gateway+00000000+" + "A" * 44,
        "lahd.example/adapter+{hash}+{key}",
        "lahd.example/gateway+{hash}+{key} ",
        "lahd.example/gateway+{hash}+{key}\nmore",
    ],
)
def test_malformed_log_key(forge: Forge, line: str) -> None:
    """A verifier key line has one form, its own hash, and the log's origin as its name."""
    _, key_hash, key = forge.lahd.log_keys["gateway"].verifier_key.split("+", 2)
    forge.lahd.key_set.log_keys[0].verifier_key = line.format(hash=key_hash, key=key)
    forge.lahd.sign_key_set()
    with pytest.raises(RosterInvalid, match="log key"):
        forge.verify()


@pytest.mark.parametrize(
    ("earlier", "text"),
    [([("own", 3)], "names a key twice"), ([("a", 9), ("b", 9)], "earlier keys are not in their order")],
    ids=["twice", "order"],
)
def test_log_key_with_a_past_that_cannot_be(forge: Forge, earlier: list[tuple[str, int]], text: str) -> None:
    """A log's keys are all different, and each ended after the one before it."""
    entry, own = forge.lahd.key_set.log_keys[0], forge.lahd.log_keys["gateway"]
    for name, size in earlier:
        key = own if name == "own" else NoteKey.generate(own.origin)
        entry.earlier.add(verifier_key=key.verifier_key, last_size=size)
    forge.lahd.sign_key_set()
    with pytest.raises(RosterInvalid, match=text):
        forge.verify()


def test_log_key_that_follows_is_no_other_members(forge: Forge) -> None:
    """A key that is to follow counts as a key of its log: nobody else's may be it (rule 10)."""
    entry = forge.lahd.key_set.log_keys[0]
    taken = NoteKey(forge.lapd.log_keys["gateway"]._private, entry.origin)
    entry.next_verifier_key = taken.verifier_key
    forge.lahd.sign_key_set()
    with pytest.raises(RosterInvalid, match="is the same key as log key"):
        forge.verify()


def test_base64_of_a_log_key_may_hold_a_plus(forge: Forge) -> None:
    """The key's base64 is taken whole, also where it holds the character that parts the line."""
    for _ in range(60):
        party = Party("chp", "chp.example", ("gateway",))
        forge.members = [forge.lapd, party]
        if "+" in party.log_keys["gateway"].verifier_key.split("+", 2)[2]:
            break
    forge.verify()


def test_end_without_a_log(forge: Forge) -> None:
    """Who asks keeps a log at its gateway, who provides one at its adapter."""
    del forge.lapd.key_set.log_keys[1]
    forge.lapd.sign_key_set()
    with pytest.raises(RosterInvalid, match="expected `adapter, gateway`"):
        forge.verify()


def test_member_with_a_broker_log(forge: Forge) -> None:
    """Only the operator runs a broker."""
    line = NoteKey.generate("lapd.example/broker").verifier_key
    forge.lapd.key_set.log_keys.add(role=END_ROLE_BROKER, origin="lapd.example/broker", verifier_key=line)
    forge.lapd.sign_key_set()
    with pytest.raises(RosterInvalid, match="member `lapd`"):
        forge.verify()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agency", "LAPD"),
        ("agency", "a"),
        ("agency", "../lapd"),
        ("agency", "lapd\n"),
        ("domain", "LAPD.example"),
        ("domain", "lapd"),
        ("domain", "lapd.example."),
        ("state", "california"),
        ("display_name", ""),
        ("display_name", "two\nlines"),
        ("contact", "\x1b[31mred"),
        ("kind", 0),
        ("kind", 99),
        ("identity_key", b"not a key"),
        ("key_set", b"\xff\xff"),
    ],
)
def test_malformed_member(forge: Forge, field: str, value: object) -> None:
    """Each plain field has one form; control characters and paths get no further than here."""
    setattr(forge.lapd.entry, field, value)
    with pytest.raises(RosterInvalid, match="member "):
        forge.verify()


def test_identity_provider_with_a_private_key(forge: Forge) -> None:
    """A JWK set that gives its private key away isn't taken."""
    jwks = b'{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": "", "y": "", "d": "secret"}]}'
    provider = IdentityProvider(issuer="https://login.lapd.example", jwks=jwks)
    forge.lapd.key_set.identity_providers.append(provider)
    forge.lapd.sign_key_set()
    with pytest.raises(RosterInvalid, match="private or symmetric key"):
        forge.verify()


def test_statement_keys_have_their_time(forge: Forge) -> None:
    """A statement counts only if its key might sign at that time; while keys overlap, both may."""
    second = SigningKey.generate()
    forge.lapd.key_set.statement_keys.append(
        KeyValidity(
            public_key=second.public.der,
            not_before=from_instant(NOON + 100 * DAY),
            not_after=from_instant(NOON + 400 * DAY),
        )
    )
    forge.lapd.sign_key_set()
    keys = forge.verify().member("lapd").key_set
    assert keys.statement_keys_at(NOON - 2 * DAY) == ()
    assert keys.statement_keys_at(NOON) == (forge.lapd.statement.public,)
    assert keys.statement_keys_at(NOON + 100 * DAY) == (forge.lapd.statement.public, second.public)
    assert keys.statement_keys_at(NOON + 301 * DAY) == (second.public,)
    with pytest.raises(ValueError, match="without a zone"):
        keys.statement_keys_at(NOON.replace(tzinfo=None))


def test_unknown_log(forge: Forge) -> None:
    """Asking for a log that a member doesn't keep raises, rather than giving another's key."""
    with pytest.raises(UnknownLog):
        forge.verify().member("lapd").key_set.log_key("broker")


def test_suspension_is_told(forge: Forge) -> None:
    """A suspended member stays in the roster and is marked."""
    forge.lapd.entry.suspended = True
    assert forge.verify().member("lapd").suspended


# --- files and pins -----------------------------------------------------------------------------------------


def _publish(forge: Forge, folder: Path) -> None:
    roster = forge.roster()
    (folder / "authority.json").write_bytes(forge.pin.to_json())
    (folder / "roster.json").write_bytes(to_json(roster))
    (folder / "timestamp.json").write_bytes(to_json(forge.timestamp(roster)))


def test_pin_held_by_an_end_outranks_the_published_one(forge: Forge, tmp_path: Path) -> None:
    """Who replaces the whole public folder, the pin too, fails against a pin that came out of band."""
    _publish(Forge(), tmp_path)
    Federation.load(tmp_path, now=NOON)
    with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
        Federation.load(tmp_path, now=NOON, pin=forge.pin)


def test_missing_file_is_named(forge: Forge, tmp_path: Path) -> None:
    """A folder without a timestamp is a wrong configuration, and says which file."""
    _publish(forge, tmp_path)
    (tmp_path / "timestamp.json").unlink()
    with pytest.raises(FileUnusable, match=r"timestamp\.json"):
        Federation.load(tmp_path, now=NOON)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"federation": "Test", "threshold": 0, "keys": []}',
        b'{"federation": "Test", "threshold": true, "keys": ["AA=="]}',
        b'{"federation": "Test", "threshold": 1, "keys": ["AA=="]}',
        b'{"federation": "", "threshold": 1, "keys": ["AA=="]}',
    ],
)
def test_malformed_pin(text: bytes) -> None:
    """A pin without keys, threshold or name would trust anybody."""
    with pytest.raises(RosterInvalid, match="authority pin"):
        AuthorityPin.from_json(text)


def test_pin_with_one_key_twice(forge: Forge) -> None:
    """A key that stands in the pin twice would meet a threshold of two alone."""
    key = forge.pin.keys[0]
    with pytest.raises(ValueError, match="twice"):
        AuthorityPin(federation="Test", keys=(key, key), threshold=2)
    document = AuthorityPin(federation="Test", keys=(key,), threshold=1).to_json()
    assert AuthorityPin.from_json(document).keys == (key,)


def test_evidence_of_an_old_roster_is_not_trust(forge: Forge) -> None:
    """An auditor reads an expired roster for what was signed in its time; forged ones not even then."""
    federation = Federation.for_evidence(roster=to_json(forge.roster()), pin=forge.pin)
    assert federation.expires_at == NOON + 365 * DAY
    forge.roster_signers = forge.keys[:1]
    with pytest.raises(RosterInvalid):
        Federation.for_evidence(roster=to_json(forge.roster()), pin=forge.pin)


def test_naive_clock_is_our_own_mistake(forge: Forge) -> None:
    """A time without a zone would be compared wrongly, so it isn't compared at all."""
    with pytest.raises(ValueError, match="without a zone"):
        forge.verify(now=NOON.replace(tzinfo=None))
