"""The list of revocations: signed, named by the timestamp, never older or past its time (design 4)."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from comity.certs import revocations
from comity.certs.authority import admit, refresh, revoke
from comity.certs.envelope import digest, from_json, seal, to_json
from comity.certs.errors import (
    CertificateRejected,
    CertificateRevoked,
    CertsError,
    RosterExpired,
    RosterInvalid,
    SetupRefused,
)
from comity.certs.instants import from_instant
from comity.certs.key_changes import EndFolder, add_ca, add_statement_key, apply_for
from comity.certs.keys import SigningKey
from comity.certs.pairs import LeafPair
from comity.certs.profile import load_certificate
from comity.certs.published import PublishedRoster
from comity.certs.revocations import (
    REVOCATIONS_FILE,
    RevokedOf,
    certificate_key_digest,
    key_digest,
    serial_bytes,
    user_digest,
)
from comity.certs.roster import ROSTER_FILE, TIMESTAMP_FILE, AuthorityPin, Federation
from comity.certs.x509 import certificate_der, make_ca, verify_leaf
from comity.v1.federation_pb2 import (
    REVOCATION_REASON_KEY_COMPROMISE,
    Revocation,
    RevocationList,
    RosterTimestamp,
)
from tests.adapters.bench import NOON
from tests.support.federation import FederationOnDisk, build_federation

HOUR = timedelta(hours=1)
NAMES = (ROSTER_FILE, TIMESTAMP_FILE, REVOCATIONS_FILE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    return build_federation(tmp_path_factory.mktemp("revoked") / "f", NOON, ("lapd", "lahd"))


@pytest.fixture
def made(built: FederationOnDisk, tmp_path: Path) -> FederationOnDisk:
    shutil.copytree(built.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=built.spec)


def entry(agency: str = "lapd", at: datetime = NOON, **what: bytes | bool) -> Revocation:
    return Revocation(
        agency=agency,
        revoked_at=from_instant(at),
        reason=REVOCATION_REASON_KEY_COMPROMISE,
        **what,  # type: ignore[arg-type]
    )


def published(made: FederationOnDisk) -> dict[str, bytes]:
    return {name: (made.public / name).read_bytes() for name in NAMES if (made.public / name).exists()}


def publish(made: FederationOnDisk, documents: dict[str, bytes]) -> None:
    for name in NAMES:
        (made.public / name).unlink(missing_ok=True)
    for name, data in documents.items():
        (made.public / name).write_bytes(data)


def load(made: FederationOnDisk, now: datetime = NOON) -> Federation:
    return Federation.load(
        made.public, now=now, pin=AuthorityPin.load(made.root / "authority/authority.json")
    )


def end_of(made: FederationOnDisk, now: datetime = NOON) -> PublishedRoster:
    home = made.gateway_home("lapd")
    return PublishedRoster(
        public=made.public, authority=home.parent / "authority.json", home=home, clock=lambda: now
    )


def test_list_names_what_is_revoked_and_nothing_else(made: FederationOnDisk) -> None:
    """By serial, by key, by user; another agency's are not touched."""
    leaf = LeafPair.load(made.adapter_home("lapd") / "keys")
    other = LeafPair.load(made.gateway_home("lapd") / "keys")
    revoke(made.root, [entry(serial=serial_bytes(leaf.serial)), entry(user=user_digest("lapd", "j"))], NOON)
    revoke(made.root, [entry(public_key=other.public_key_digest)], NOON)
    federation = load(made)
    lapd, lahd = federation.member("lapd"), federation.member("lahd")
    assert federation.revocations.version == 2 and not lapd.suspended
    for pair in (leaf, other):
        with pytest.raises(CertificateRevoked, match="key compromise"):
            lapd.revoked.check_chain(pair.chain_der)
        lahd.revoked.check_chain(pair.chain_der)
    assert lapd.revoked.user("lapd", "j") and not lapd.revoked.user("lapd", "k")
    assert not lahd.revoked.user("lapd", "j")


def test_statement_key_signs_until_it_was_revoked(made: FederationOnDisk) -> None:
    """What is dated before stands, now and for an auditor; what is dated after doesn't."""
    key = load(made).member("lapd").key_set.statement_keys[0].key
    revoke(made.root, [entry(public_key=key_digest(key.der), at=NOON + HOUR)], NOON + HOUR)
    pin = AuthorityPin.load(made.root / "authority/authority.json")
    documents = published(made)
    for federation in (
        load(made, NOON + HOUR),
        Federation.for_evidence(
            roster=documents[ROSTER_FILE], pin=pin, revocations=documents[REVOCATIONS_FILE]
        ),
    ):
        keys = federation.member("lapd").key_set
        assert key in keys.statement_keys_at(NOON + HOUR - timedelta(seconds=1))
        assert key not in keys.statement_keys_at(NOON + HOUR)
        assert federation.member("lahd").key_set.statement_keys_at(NOON + HOUR)


def test_what_a_replaced_statement_key_signed_in_its_time_verifies_after_it_expired(
    made: FederationOnDisk,
) -> None:
    """Two years and a rotation later, by the newest roster: the old key counts for its time alone."""
    end = EndFolder.load(made.adapter_home("lapd"))
    old, new = SigningKey.load(end.keys / "statement.key").public, SigningKey.generate().public
    change = add_statement_key(new, old, now=NOON, overlap=24 * HOUR, lifetime=365 * 24 * HOUR)
    identity = SigningKey.load(end.home.parent / "identity.pem")
    path = apply_for(end, load(made), change, identity=identity, now=NOON)
    admit(made.root, [path.read_bytes()], NOON)
    later = NOON + 730 * 24 * HOUR
    refresh(made.root, later)
    pin = AuthorityPin.load(made.root / "authority/authority.json")
    roster = (made.public / ROSTER_FILE).read_bytes()
    for found in (load(made, later), Federation.for_evidence(roster=roster, pin=pin)):
        keys = found.member("lapd").key_set
        assert {old, new} <= set(keys.statement_keys_at(NOON))
        assert old not in keys.statement_keys_at(NOON + 25 * HOUR)
        assert new in keys.statement_keys_at(NOON + 25 * HOUR)
        assert not {old, new} & set(keys.statement_keys_at(later))


def test_whole_agency_and_last_ca_are_as_suspended(made: FederationOnDisk) -> None:
    """And its statement keys end with it."""
    revoke(made.root, [entry(everything=True)], NOON)
    found = load(made).member("lapd")
    assert found.suspended and not found.key_set.statement_keys_at(NOON)
    ca = LeafPair.load(made.adapter_home("lahd") / "keys").chain_der[-1]

    revoke(made.root, [entry("lahd", public_key=certificate_key_digest(load_certificate(ca)))], NOON)
    lahd = load(made).member("lahd")
    assert lahd.suspended and not lahd.key_set.ca_certificates and not lahd.key_set.ca_pem


def test_operator_whose_last_ca_is_revoked_has_none(made: FederationOnDisk) -> None:
    """In the place of all that it ever named: nobody is to dial a broker under any of them."""
    ca = load(made).operator.key_set.ca_certificates[0]
    revoke(made.root, [entry("operator", serial=serial_bytes(load_certificate(ca).serial_number))], NOON)
    operator = load(made).operator
    assert operator.suspended and not operator.key_set.ca_certificates


@pytest.mark.parametrize("by_key", [False, True], ids=["serial", "key"])
def test_ca_that_is_revoked_issues_no_leaf_that_counts(made: FederationOnDisk, by_key: bool) -> None:
    """By its serial number as by its key, also where the chain that is shown leaves the CA out."""
    end, now = EndFolder.load(made.adapter_home("lapd")), NOON + HOUR
    other, _ = make_ca("lapd.example", NOON, 100 * 24 * HOUR)
    identity = SigningKey.load(end.home.parent / "identity.pem")
    path = apply_for(end, load(made), add_ca(certificate_der(other)), identity=identity, now=NOON)
    admit(made.root, [path.read_bytes()], NOON)
    pair = LeafPair.load(end.keys)
    before = load(made).member("lapd")
    shown = pair.chain_der[:1]
    verify_leaf(
        shown, ca_certificates=before.key_set.ca_certificates, spiffe_id=before.spiffe_id("adapter"), now=now
    )
    ca = load_certificate(pair.chain_der[-1])
    what = (
        {"public_key": certificate_key_digest(ca)} if by_key else {"serial": serial_bytes(ca.serial_number)}
    )
    revoke(made.root, [entry(**what)], NOON)
    found = load(made).member("lapd")
    assert found.key_set.ca_certificates == (certificate_der(other),) and not found.suspended
    with pytest.raises(CertificateRejected):
        verify_leaf(
            shown,
            ca_certificates=found.key_set.ca_certificates,
            spiffe_id=found.spiffe_id("adapter"),
            now=now,
        )
    revoke(made.root, [entry(serial=serial_bytes(other.serial_number))], NOON)
    assert load(made).member("lapd").suspended


def test_long_list_is_put_together_once_for_each_agency(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not copied for each entry: a list may have 100,000 of them."""
    revoke(made.root, [entry(serial=bytes([1, number])) for number in range(50)], NOON)
    revoke(made.root, [entry("lahd", user=user_digest("lahd", str(number))) for number in range(50)], NOON)
    put_together: list[RevokedOf] = []

    def counted(**parts: Any) -> RevokedOf:
        put_together.append(RevokedOf(**parts))
        return put_together[-1]

    monkeypatch.setattr(revocations, "RevokedOf", counted)
    found = load(made)
    assert len(put_together) == 2
    assert len(found.member("lapd").revoked.serials) == len(found.member("lahd").revoked.users) == 50


def test_what_is_revoked_stays_so_and_the_earlier_instant_counts(made: FederationOnDisk) -> None:
    """Through every later list, timestamp and roster."""
    revoke(made.root, [entry(serial=b"\x07")], NOON)
    revoke(made.root, [entry(serial=b"\x07", at=NOON + HOUR)], NOON + HOUR)
    refresh(made.root, NOON + 2 * HOUR)
    federation = load(made, NOON + 2 * HOUR)
    assert federation.revocations.version == 3
    assert federation.member("lapd").revoked.serials[b"\x07"].at == NOON


def test_list_that_is_withheld_is_missed(made: FederationOnDisk) -> None:
    """The timestamp names it."""
    revoke(made.root, [entry(serial=b"\x07")], NOON)
    (made.public / REVOCATIONS_FILE).unlink()
    with pytest.raises(RosterInvalid, match="isn't there"):
        load(made)


def test_older_list_under_a_newer_timestamp_is_refused(made: FederationOnDisk) -> None:
    """Signed by the authority, and replayed."""
    revoke(made.root, [entry(serial=b"\x07")], NOON)
    old = (made.public / REVOCATIONS_FILE).read_bytes()
    revoke(made.root, [entry(serial=b"\x08")], NOON)
    (made.public / REVOCATIONS_FILE).write_bytes(old)
    with pytest.raises(RosterInvalid, match="isn't the one that the timestamp names"):
        load(made)


@pytest.mark.parametrize("first", [False, True], ids=["an older list", "no list yet"])
def test_older_list_with_its_own_timestamp_is_refused_after_a_restart(
    made: FederationOnDisk, first: bool
) -> None:
    """Everything of then, good in itself: who has seen a newer one takes none of it."""
    if not first:
        revoke(made.root, [entry(serial=b"\x07")], NOON)
    then = published(made)
    revoke(made.root, [entry(serial=b"\x08")], NOON)
    end = end_of(made)
    version = end.load().revocations.version
    publish(made, then)
    assert load(made).revocations.version == version - 1
    for one in (end, end_of(made)):
        with pytest.raises(RosterInvalid, match="was in force here before"):
            one.load()


def test_list_past_its_next_update_is_not_trusted(made: FederationOnDisk) -> None:
    """Nothing is served on it from that instant on, also where the roster and its timestamp live longer."""
    revoke(made.root, [entry(serial=b"\x07")], NOON)
    found = forged(made, next_update=NOON + HOUR)
    assert found.trusted_until == NOON + HOUR
    with pytest.raises(RosterExpired, match="next update"):
        load(made, NOON + HOUR)


def forged(made: FederationOnDisk, *, signer: SigningKey | None = None, **changed: object) -> Federation:
    """Publish the list changed and signed anew, with a timestamp that names it, and load it."""
    key = SigningKey.load(made.root / "authority/keys/authority-1.pem")
    listed = RevocationList.FromString(from_json((made.public / REVOCATIONS_FILE).read_bytes()).payload)
    for name, value in changed.items():
        if isinstance(value, datetime):
            getattr(listed, name).CopyFrom(from_instant(value))
        elif isinstance(value, list):
            listed.ClearField("revocations")
            listed.revocations.extend(value)
        else:
            setattr(listed, name, value)
    sealed = seal(listed, signer or key)
    stamp = RosterTimestamp.FromString(from_json((made.public / TIMESTAMP_FILE).read_bytes()).payload)

    stamp.revocations_digest, stamp.revocations_version = digest(sealed.payload), listed.version
    (made.public / REVOCATIONS_FILE).write_bytes(to_json(sealed))
    (made.public / TIMESTAMP_FILE).write_bytes(to_json(seal(stamp, key)))
    return load(made)


BAD: dict[str, dict[str, object]] = {
    "signed by an agency": {"signer": SigningKey.generate()},
    "of another federation": {"federation": "Other"},
    "of an agency": {"issuer": "lapd"},
    "to come": {"signed_at": NOON + HOUR},
    "an entry of nothing": {"revocations": [entry()]},
    "a key's digest that is none": {"revocations": [entry(public_key=b"\x01")]},
    "a serial with leading zeros": {"revocations": [entry(serial=b"\x00\x07")]},
    "no reason": {"revocations": [Revocation(agency="lapd", serial=b"\x07", revoked_at=from_instant(NOON))]},
    "no time": {"revocations": [Revocation(agency="lapd", serial=b"\x07", reason=1)]},
    "no agency": {"revocations": [entry("", serial=b"\x07")]},
}


@pytest.mark.parametrize("changed", BAD.values(), ids=BAD.keys())
def test_list_that_breaks_a_rule_is_not_taken(made: FederationOnDisk, changed: dict[str, object]) -> None:
    """Whatever the timestamp says of it."""
    revoke(made.root, [entry(serial=b"\x07")], NOON)
    assert forged(made, version=7).revocations.version == 7
    with pytest.raises(CertsError):
        forged(made, **changed)  # type: ignore[arg-type]


def test_who_is_no_member_is_not_revoked(made: FederationOnDisk) -> None:
    """And the operator not as a whole: it couldn't be told any more."""
    with pytest.raises(SetupRefused, match="isn't a member"):
        revoke(made.root, [entry("nobody", serial=b"\x07")], NOON)
    with pytest.raises(SetupRefused, match="as a whole"):
        revoke(made.root, [entry("operator", everything=True)], NOON)
