"""What `comity certs status` makes of a federation: conditions at a given time, and what is wrong at home."""

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from comity.audit.entry import Entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.certs.agency import AgencyHome, AgencySpec, init_agency
from comity.certs.authority import FederationSpec, admit, init_federation, revoke, suspend
from comity.certs.ends import make_issuer, make_leaf
from comity.certs.errors import SetupRefused
from comity.certs.instants import from_instant
from comity.certs.inventory import Condition, Credential, Kind, of_federation, worst
from comity.certs.issuing import make_issuing_folder
from comity.certs.keys import SigningKey
from comity.certs.profile import load_certificate
from comity.certs.revocations import key_digest, serial_bytes
from comity.certs.x509 import split_pem
from comity.cli.certs_folder import Seen, look_at
from comity.cli.certs_used import with_uses
from comity.cli.logkeys import make_log_key
from comity.v1.federation_pb2 import KeyValidity, Revocation
from tests.support.rosters import DAY, NOON, Forge

GATEWAY = "spiffe://lapd.example/gateway"


@pytest.fixture
def fed(tmp_path: Path, made: Path) -> Path:
    """A copy of the federation that the test may spoil."""
    return shutil.copytree(made, tmp_path / "fed")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation with one agency that asks and provides, its leaves for 30 days."""
    folder = tmp_path_factory.mktemp("inventory") / "fed"
    spec = FederationSpec(name="Test", broker="127.0.0.1:7400", authority_keys=2)
    init_federation(folder, spec, NOON, make_log_key=make_log_key)
    agency = AgencySpec(
        agency="lapd",
        home=folder / "lapd",
        kind="local",
        domain="lapd.example",
        name="Police",
        contact="desk@lapd.example",
        asks=True,
        provides=True,
        public=folder / "public",
        broker="127.0.0.1:7400",
        leaf_lifetime=30 * DAY,
    )
    admit(folder, [init_agency(agency, NOON, make_log_key=make_log_key)], NOON)
    AgencyHome.load(folder / "lapd").add_client("desk", gateway="127.0.0.1:7443", now=NOON, lifetime=DAY)
    return folder


def at(folder: Path, now: datetime = NOON) -> Seen:
    return look_at(folder, pin=None, now=now)


def row(rows: Iterable[Credential], kind: Kind, name: str = "") -> Credential:
    (found,) = [one for one in rows if one.kind is kind and name in one.name]
    return found


@pytest.mark.parametrize(
    ("days", "condition"),
    [
        (0, Condition.GOOD),
        (19.9, Condition.GOOD),
        (20.1, Condition.DUE),
        (24.9, Condition.DUE),
        (25.1, Condition.OVERDUE),
        (29.9, Condition.OVERDUE),
        (30, Condition.EXPIRED),
        (400, Condition.EXPIRED),
    ],
)
def test_leaf_is_due_at_two_thirds_and_overdue_at_five_sixths(
    fed: Path, days: float, condition: Condition
) -> None:
    """Of a leaf for 30 days, each condition begins on its day."""
    leaf = row(at(fed / "lapd" / "gateway", NOON + days * DAY).credentials, Kind.LEAF, GATEWAY)
    assert leaf.condition is condition
    assert leaf.act_at is not None
    assert abs(leaf.act_at - (NOON + 20 * DAY)) < timedelta(minutes=5)
    assert leaf.days_old(NOON + days * DAY) == int(days)


@pytest.mark.parametrize(
    ("days", "condition"), [(20.9, Condition.GOOD), (21, Condition.DUE), (27, Condition.OVERDUE)]
)
def test_timestamp_is_due_at_70_per_cent(fed: Path, days: float, condition: Condition) -> None:
    """The roster's timestamp of 30 days is due after 21 and overdue after 27."""
    assert row(at(fed / "public", NOON + days * DAY).credentials, Kind.TIMESTAMP).condition is condition


def test_expired_roster_is_shown_as_expired(fed: Path) -> None:
    """A roster past its time is told with all that it names, and doesn't hide the rest."""
    seen = at(fed / "lapd", NOON + 400 * DAY)
    assert row(seen.credentials, Kind.ROSTER).condition is Condition.EXPIRED
    assert row(seen.credentials, Kind.TIMESTAMP).condition is Condition.EXPIRED
    assert {one.owner for one in seen.credentials} == {"authority", "operator", "lapd"}
    assert not seen.findings


def test_each_folder_shows_what_it_holds(fed: Path) -> None:
    """An agency's folder holds its ends', clients' and own keys; an end's its three; a public one none."""

    def own(folder: Path) -> list[str]:
        seen = at(folder)
        assert not seen.findings
        assert worst(seen.credentials) is Condition.GOOD
        return sorted(one.kind.value for one in seen.credentials if one.own)

    end = ["leaf", "log key", "statement key"]
    assert own(fed / "lapd") == sorted([*end, *end, "leaf", "CA", "identity key"])
    assert own(fed / "lapd" / "adapter") == own(fed / "operator" / "broker") == end
    assert own(fed / "operator") == sorted([*end, "CA", "identity key"])
    assert own(fed / "lapd" / "clients" / "desk") == ["leaf"]
    assert own(fed / "public") == []
    assert own(fed) == own(fed / "authority") == ["authority key", "authority key"]


def test_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    """What is no folder of the federation is wrong use."""
    with pytest.raises(SetupRefused, match="expected the folder of"):
        at(tmp_path)


def test_offline_keys_are_missed_by_nobody(fed: Path) -> None:
    """Identity key and CA key that were taken offline are no finding; the roster still shows them."""
    for name in ("identity.pem", "ca.key"):
        (fed / "lapd" / name).unlink()
    seen = at(fed / "lapd")
    assert worst(seen.credentials) is Condition.GOOD
    assert not row([one for one in seen.credentials if one.owner == "lapd"], Kind.CA).own


def test_key_that_others_can_read_is_told(fed: Path) -> None:
    """A key file with a mode wider than 0600 is unusable, whichever it is."""
    keys = fed / "lapd" / "gateway" / "keys"
    for path in (keys / "leaf.key", keys / "statement.key", keys / "log.key", fed / "lapd" / "ca.key"):
        path.chmod(0o640)
        found = [one for one in at(fed / "lapd").credentials if one.condition is Condition.UNUSABLE]
        assert [one.where for one in found] == [path]
        assert "0640" in found[0].act
        path.chmod(0o600)


def test_leaf_of_a_ca_that_nobody_published_is_told(fed: Path) -> None:
    """A leaf that its own folder calls good, but no peer will accept, is unusable."""
    issuer = make_issuer(fed / "forged", domain="lapd.example", now=NOON)
    keys = fed / "lapd" / "gateway" / "keys"
    make_leaf(keys, path="gateway", issuer=issuer, now=NOON, lifetime=DAY)
    leaf = row(at(fed / "lapd" / "gateway").credentials, Kind.LEAF)
    assert leaf.condition is Condition.UNUSABLE
    assert "chain doesn't verify" in leaf.act


@pytest.mark.parametrize(
    ("folder", "expected"), [("gateway/keys", GATEWAY), ("clients/desk", "one of `lapd.example`")]
)
def test_leaf_of_another_agency_is_told_by_its_name(fed: Path, folder: str, expected: str) -> None:
    """A file copied from elsewhere: not as a CA that isn't constrained."""
    issuer = make_issuer(fed / "other", domain="lahd.example", now=NOON)
    for name in ("leaf", "leaf.pem", "leaf.key"):
        (fed / "lapd" / folder / name).unlink(missing_ok=True)
    make_leaf(fed / "lapd" / folder, path="gateway", issuer=issuer, now=NOON, lifetime=DAY)
    found = [one for one in at(fed / "lapd").credentials if one.condition is Condition.UNUSABLE]
    assert len(found) == 1 and "another end than the one that is expected" in found[0].act
    assert expected in found[0].act


def test_key_of_another_leaf_is_told(fed: Path) -> None:
    """Key and certificate that don't belong together are unusable, and nothing else is said of the key."""
    lapd = fed / "lapd"
    (lapd / "gateway/keys/leaf.key").write_bytes((lapd / "adapter/keys/leaf.key").read_bytes())
    leaf = row(at(lapd / "gateway").credentials, Kind.LEAF)
    assert (leaf.condition, "is not the key" in leaf.act) == (Condition.UNUSABLE, True)


def test_statement_key_that_the_roster_does_not_name_is_told(fed: Path) -> None:
    """A statement key that was never admitted would sign what nobody accepts."""
    SigningKey.generate().save(fed / "lapd" / "gateway" / "keys" / "statement.key")
    found = [one for one in at(fed / "lapd").credentials if one.condition is Condition.UNUSABLE]
    assert [(one.kind, "doesn't name it" in one.act) for one in found] == [(Kind.STATEMENT, True)]


def test_roster_of_another_authority_is_a_finding(fed: Path, tmp_path: Path) -> None:
    """A published roster that the pin doesn't vouch for is told, and nothing in it is shown."""
    other = tmp_path / "other"
    init_federation(
        other, FederationSpec(name="Test", broker="127.0.0.1:7400"), NOON, make_log_key=make_log_key
    )
    seen = look_at(fed / "lapd", pin=other / "authority" / "authority.json", now=NOON)
    assert [finding for finding in seen.findings if "pinned authority" in finding]
    assert not [one for one in seen.credentials if one.kind is Kind.ROSTER]


def test_newest_of_published_and_brought_roster_is_shown(fed: Path) -> None:
    """While the published folder is old or away, an end shows the roster that the broker brought it."""
    public, brought = fed / "public", fed / "lapd" / "gateway" / "roster"
    old = shutil.copytree(public, fed / "old")
    assert row(at(fed / "lapd").credentials, Kind.ROSTER).name == "version 2"
    suspend(fed, "lapd", NOON)
    shutil.copytree(public, brought)
    shutil.rmtree(public)
    shutil.copytree(old, public)
    assert row(at(fed / "lapd").credentials, Kind.ROSTER).name == "version 3"
    shutil.rmtree(public)
    assert row(at(fed / "lapd" / "gateway").credentials, Kind.ROSTER).name == "version 3"
    shutil.rmtree(brought)
    assert "roster" in at(fed / "lapd").findings[0]


def test_issuing_ca_of_an_end_is_shown(fed: Path) -> None:
    """The CA from which an end renews its leaf by itself is due before it ends; one that is gone is told."""
    home, issuing = fed / "lapd" / "gateway", fed / "issuing"
    make_issuing_folder(fed / "lapd", issuing, now=NOON, lifetime=14 * DAY)
    with (home / "gateway.toml").open("a") as configuration:
        configuration.write(f'\n[renewal]\nissuer = "{issuing}"\nlifetime_hours = 24\n')
    seen = row(at(home, NOON + DAY).credentials, Kind.ISSUING)
    assert (seen.own, seen.where, seen.condition) == (True, issuing / "ca.key", Condition.GOOD)
    assert row(at(home, NOON + 13 * DAY).credentials, Kind.ISSUING).condition is Condition.OVERDUE
    (issuing / "ca.key").chmod(0o644)
    assert row(at(home).credentials, Kind.ISSUING).condition is Condition.UNUSABLE


def test_what_is_revoked_is_told(fed: Path) -> None:
    """The own revoked leaf is unusable; a revoked statement key is named so; the list has its own time."""
    home = fed / "lapd" / "gateway"
    leaf = load_certificate(split_pem((home / "keys" / "leaf.pem").read_bytes())[0])
    statement = SigningKey.load(home / "keys" / "statement.key").public
    which: list[dict[str, bytes]] = [
        {"serial": serial_bytes(leaf.serial_number)},
        {"public_key": key_digest(statement.der)},
    ]
    entries = [
        Revocation(
            agency="lapd", revoked_at=from_instant(NOON), reason="REVOCATION_REASON_KEY_COMPROMISE", **one
        )
        for one in which
    ]
    assert not [one for one in at(home).credentials if one.kind is Kind.REVOCATIONS]
    revoke(fed, entries, NOON)
    seen = at(home).credentials
    assert row(seen, Kind.LEAF).condition is Condition.UNUSABLE
    assert "revoked since 2026-06-01 12:00:00Z (key compromise)" in row(seen, Kind.LEAF).act
    revoked = [one for one in seen if one.condition is Condition.REVOKED]
    assert [(one.kind, one.name, one.own) for one in revoked] == [(Kind.STATEMENT, statement.key_id, True)]
    assert row(seen, Kind.REVOCATIONS).condition is Condition.GOOD
    assert row(at(home, NOON + 400 * DAY).credentials, Kind.REVOCATIONS).condition is Condition.EXPIRED


def test_replaced_statement_key_is_past_and_not_expired() -> None:
    """A key that ended while its follower is in force stays named for old evidence: nobody has to act."""
    forge = Forge()
    follower = SigningKey.generate()
    later = NOON + 250 * DAY
    forge.lapd.roles = ("gateway",)
    del forge.lapd.key_set.log_keys[1:]
    forge.lapd.entry.provides = False
    forge.lapd.key_set.statement_keys.append(
        KeyValidity(
            public_key=follower.public.der,
            not_before=from_instant(later),
            not_after=from_instant(later + 300 * DAY),
        )
    )
    forge.lapd.sign_key_set()
    federation = forge.verify()
    now = NOON + 310 * DAY

    def conditions(when: datetime) -> list[Condition]:
        rows = of_federation(federation, now=when)
        return [one.condition for one in rows if one.owner == "lapd" and one.kind is Kind.STATEMENT]

    assert conditions(now) == [Condition.PAST, Condition.GOOD]
    assert conditions(later + 400 * DAY) == [Condition.EXPIRED, Condition.EXPIRED]


async def test_last_uses_are_those_of_the_own_log(fed: Path) -> None:
    """Links, sessions, orders and answers in a log say what was last used; the rest isn't known."""
    home = fed / "lapd" / "gateway"
    key = LogKey.load(home / "keys" / "log.key", "lapd.example/gateway")
    log = await SignedLog.open(home, origin="lapd.example/gateway", key=key, clock=lambda: NOON)
    for minutes, kind, public in (
        (1, "link_opened", {"peer": "operator"}),
        (2, "asked", {"agency": "lapd"}),
        (3, "delivered", {"peer": "operator", "outcome": "timed_out"}),
        (4, "started", {"roster": 1}),
    ):
        await log.append(Entry(kind=kind, at=NOON + timedelta(minutes=minutes), public=public))
    await log.close()
    seen = at(fed / "lapd")
    rows = with_uses(seen.credentials, seen.ends)
    ends = {GATEWAY: NOON + timedelta(minutes=1), "spiffe://lapd.example/adapter": None}
    assert {name: row(rows, Kind.LEAF, name).last_used for name in ends} == ends
    signed = {one.where: one.last_used for one in rows if one.kind is Kind.STATEMENT and one.own}
    assert signed == {
        home / "keys" / "statement.key": NOON + timedelta(minutes=2),
        fed / "lapd" / "adapter" / "keys" / "statement.key": None,
    }
    theirs = [one for one in rows if one.owner == "operator"]
    assert row(theirs, Kind.CA).last_used == NOON + timedelta(minutes=1)
    assert row(theirs, Kind.STATEMENT).last_used is None, "an outcome without a receipt shows no signature"
    assert row(rows, Kind.LOG, "lapd.example/gateway").last_used is not None
    assert row(rows, Kind.LOG, "lapd.example/adapter").last_used is None
