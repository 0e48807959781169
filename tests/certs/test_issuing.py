"""Leaves are issued for requests and renewed in time; keys stay on their host (design 4)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from comity.certs import renewing
from comity.certs.credentials import EndCredentials
from comity.certs.errors import (
    CertificateRejected,
    CertsError,
    CredentialsUnusable,
    KeyUnusable,
    SetupRefused,
)
from comity.certs.files import write_public
from comity.certs.issuing import IssuingFolder, make_issuing_folder, make_request, read_request
from comity.certs.pairs import LeafPair, judge_pair
from comity.certs.renewing import (
    Renewal,
    RenewalSettings,
    begin_request,
    parse_renewal,
    renew_once,
    take_chain,
)
from comity.certs.x509 import make_ca, make_issuing_ca
from tests.adapters.bench import NOON
from tests.certs.test_pairs import GATEWAY, Stage, built, stage

__all__ = ["built", "stage"]

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
URI, DNS = x509.UniformResourceIdentifier, x509.DNSName
P256 = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def issuing(stage: Stage, tmp_path: Path) -> Path:
    make_issuing_folder(stage.agency, tmp_path / "issuing", now=NOON, lifetime=7 * DAY)
    return tmp_path / "issuing"


def test_issuing_ca_signs_what_peers_take_while_the_agencys_key_is_offline(
    stage: Stage, issuing: Path
) -> None:
    """The roster knows the agency's CA alone; the chain has the issuing CA, and it never outlives either."""
    request = begin_request(stage.keys, spiffe_id=GATEWAY)
    chain = IssuingFolder.load(issuing).issue(read_request(request), now=NOON, lifetime=30 * DAY)
    pair = take_chain(stage.keys, chain, spiffe_id=GATEWAY)
    judge_pair(pair, member=stage.member, role="gateway", now=NOON)
    assert len(pair.chain_der) == 3 and pair.not_after <= NOON + 7 * DAY
    assert not (stage.keys / "leaf.request.key").exists()
    assert (issuing / "ca.key").stat().st_mode & 0o777 == 0o600


def test_ca_that_may_issue_leaves_only_gets_no_ca_below_it() -> None:
    """A CA of path length 0."""
    with pytest.raises(CertificateRejected, match="may issue leaves only"):
        make_issuing_ca(*make_ca("lapd.example", NOON, DAY), now=NOON, lifetime=HOUR)


def asked(*names: x509.GeneralName, key: object = P256, more: bool = False) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    if more:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def flipped() -> bytes:
    """A request whose signature is another one's."""
    good = x509.load_pem_x509_csr(make_request(GATEWAY)[0])
    der = bytearray(good.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


DIALLED = DNS("gateway.lapd.example")
BAD = {
    "no request": lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "too large": lambda: b"x" * 20_000,
    "another key's signature": flipped,
    "RSA": lambda: asked(URI(GATEWAY), DIALLED, key=rsa.generate_private_key(65537, 2048)),
    "Ed25519": lambda: asked(URI(GATEWAY), DIALLED, key=ed25519.Ed25519PrivateKey.generate()),
    "P-521": lambda: asked(URI(GATEWAY), DIALLED, key=ec.generate_private_key(ec.SECP521R1())),
    "two ids": lambda: asked(URI(GATEWAY), URI("spiffe://lapd.example/adapter"), DIALLED),
    "no id": lambda: asked(DIALLED),
    "no DNS name": lambda: asked(URI(GATEWAY)),
    "another DNS name": lambda: asked(URI(GATEWAY), DNS("broker.lapd.example")),
    "an address": lambda: asked(URI(GATEWAY), DIALLED, x509.IPAddress(ip_address("127.0.0.1"))),
    "a CA": lambda: asked(URI(GATEWAY), DIALLED, more=True),
    "upper case": lambda: asked(URI("spiffe://LAPD.example/gateway"), DIALLED),
    "another agency": lambda: make_request("spiffe://lahd.example/gateway")[0],
}


@pytest.mark.parametrize("request_", BAD.values(), ids=BAD.keys())
def test_request_that_is_not_exactly_an_ends_is_not_signed(
    issuing: Path, request_: Callable[[], bytes]
) -> None:
    """One id, the name by which it is dialled, a key that peers take, and nothing else."""
    with pytest.raises(CertificateRejected):
        IssuingFolder.load(issuing).issue(read_request(request_()), now=NOON, lifetime=DAY)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=59), 399 * DAY])
def test_lifetime_is_bounded(issuing: Path, lifetime: timedelta) -> None:
    """A minute to 398 days."""
    with pytest.raises(CertificateRejected, match="lifetime"):
        IssuingFolder.load(issuing).issue(read_request(make_request(GATEWAY)[0]), now=NOON, lifetime=lifetime)


def test_chain_for_another_key_is_not_taken(stage: Stage, issuing: Path) -> None:
    """A chain that was made for an older request: the old pair stays."""
    old = LeafPair.load(stage.keys)
    request = begin_request(stage.keys, spiffe_id=GATEWAY)
    chain = IssuingFolder.load(issuing).issue(read_request(request), now=NOON, lifetime=DAY)
    begin_request(stage.keys, spiffe_id=GATEWAY)
    with pytest.raises(CredentialsUnusable, match="not the key of the leaf"):
        take_chain(stage.keys, chain, spiffe_id=GATEWAY)
    assert LeafPair.load(stage.keys) == old


def test_chain_without_a_request_is_not_taken(stage: Stage, issuing: Path) -> None:
    """Nor the same one twice: what would be right is said, not that a file is missing."""
    request = begin_request(stage.keys, spiffe_id=GATEWAY)
    chain = IssuingFolder.load(issuing).issue(read_request(request), now=NOON, lifetime=DAY)
    take_chain(stage.keys, chain, spiffe_id=GATEWAY)
    with pytest.raises(CredentialsUnusable, match=r"no request under way.*comity certs request"):
        take_chain(stage.keys, chain, spiffe_id=GATEWAY)


def test_issuing_ca_is_replaced_where_it_is(
    stage: Stage, issuing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On request alone, never an agency's own CA; who reads between two writes waits, or says what it is."""
    old = IssuingFolder.load(issuing)
    with pytest.raises(SetupRefused, match="--replace"):
        make_issuing_folder(stage.agency, issuing, now=NOON, lifetime=DAY)
    for folder in (stage.agency, issuing.with_name("nothing")):
        with pytest.raises(SetupRefused, match="holds no issuing CA"):
            make_issuing_folder(stage.agency, folder, now=NOON, lifetime=DAY, replace=True)
    chain = (issuing / "ca.pem").read_bytes()
    new = make_issuing_folder(stage.agency, issuing, now=NOON, lifetime=DAY, replace=True)
    assert new.certificate != old.certificate and new.above == old.above
    whole = (issuing / "ca.pem").read_bytes()
    (issuing / "ca.pem").write_bytes(chain)
    monkeypatch.setattr("comity.certs.issuing.time.sleep", lambda _: (issuing / "ca.pem").write_bytes(whole))
    assert IssuingFolder.load(issuing).certificate == new.certificate
    monkeypatch.undo()
    (issuing / "ca.pem").write_bytes(chain)
    with pytest.raises(KeyUnusable, match="not the key of the CA"):
        IssuingFolder.load(issuing)
    made = make_issuing_folder(stage.agency, issuing, now=NOON, lifetime=DAY, replace=True)
    assert IssuingFolder.load(issuing).certificate == made.certificate


def test_folder_that_issues_nothing_is_told(tmp_path: Path) -> None:
    """With what would be right."""
    with pytest.raises(SetupRefused, match=r"no ca\.pem and no ca\.key: a folder with a CA and its"):
        IssuingFolder.load(tmp_path)


class Hand:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def renewal(stage: Stage, settings: RenewalSettings, clock: Hand, draw: float = 0.5) -> Renewal:
    current = EndCredentials.load(stage.home)
    return Renewal(
        settings,
        home=stage.home,
        current=lambda: current,
        clock=clock,
        draw=lambda: draw,
    )


async def test_leaf_is_renewed_at_two_thirds_of_its_life(stage: Stage, issuing: Path) -> None:
    """Not before, and at most a twelfth of its life later: with a fresh key, from the folder on this host."""
    clock, settings = Hand(), RenewalSettings(issuer=issuing, lifetime=6 * HOUR)
    old = renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON)
    assert old is not None
    works = renewal(stage, settings, clock)
    life = old.not_after - old.not_before
    assert 2 / 3 <= (works.due_at() - old.not_before) / life <= 3 / 4
    clock.now = works.due_at() - timedelta(seconds=1)
    await works.look()
    assert LeafPair.load(stage.keys) == old
    clock.now = works.due_at()
    await works.look()
    new = LeafPair.load(stage.keys)
    assert new.public_key_digest != old.public_key_digest and not works.is_failing
    judge_pair(new, member=stage.member, role="gateway", now=clock.now)


async def test_renewal_that_fails_alarms_long_before_the_leaf_expires(
    stage: Stage, issuing: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said at once and again each hour, tried ever less often, and is well again by itself."""
    clock, settings = Hand(), RenewalSettings(issuer=issuing, lifetime=48 * HOUR)
    pair = renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON)
    assert pair is not None
    works = renewal(stage, settings, clock)
    (issuing / "ca.key").chmod(0o644)
    clock.now = works.due_at()
    await works.look()
    assert works.is_failing and works.failures == 1
    assert pair.not_after - clock.now > 11 * HOUR
    (said,) = [record for record in caplog.records if "IS NOT RENEWED" in record.getMessage()]
    assert said.levelno == logging.ERROR and "PRIVATE" not in said.getMessage()
    for _ in range(120):
        clock.now += timedelta(minutes=5)
        await works.look()
    assert 10 <= works.failures <= 40
    assert 5 <= sum("IS NOT RENEWED" in record.getMessage() for record in caplog.records) <= 12
    assert caplog.records[-1].levelno == logging.CRITICAL
    (issuing / "ca.key").chmod(0o600)
    clock.now += HOUR
    await works.look()
    assert LeafPair.load(stage.keys) != pair
    works = renewal(stage, settings, clock)
    await works.look()
    assert not works.is_failing and works.failures == 0


async def test_nobody_renews_and_that_is_said(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Without a source the alarm comes at two thirds of the life as well."""
    clock = Hand()
    works = renewal(stage, RenewalSettings(), clock)
    clock.now = works.due_at()
    await works.look()
    assert works.is_failing and "nothing is configured" in caplog.text


def test_drop_folder_gets_a_request_and_gives_a_chain(stage: Stage, issuing: Path, tmp_path: Path) -> None:
    """For a CA that somebody else runs: only request and chain pass through the folder."""
    drop = tmp_path / "drop"
    drop.mkdir()
    settings = RenewalSettings(drop=drop)
    assert renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON) is None
    assert renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON) is None
    assert [path.name for path in drop.iterdir()] == ["leaf.csr"]
    found = read_request((drop / "leaf.csr").read_bytes())
    (drop / "leaf.pem").write_bytes(IssuingFolder.load(issuing).issue(found, now=NOON, lifetime=DAY))
    pair = renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON)
    assert pair is not None and LeafPair.load(stage.keys) == pair and not list(drop.iterdir())


def test_chain_of_a_quick_signer_stays_and_one_of_before_does_not(
    stage: Stage, issuing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who signs at the moment in which the request is there: its chain is taken at the next look."""
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "leaf.pem").write_bytes(b"of before")
    settings = RenewalSettings(drop=drop)

    def signed_at_once(path: Path, data: bytes) -> None:
        assert not (drop / "leaf.pem").exists()
        write_public(path, data)
        chain = IssuingFolder.load(issuing).issue(read_request(data), now=NOON, lifetime=DAY)
        (drop / "leaf.pem").write_bytes(chain)

    monkeypatch.setattr(renewing, "write_public", signed_at_once)
    assert renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON) is None
    pair = renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON)
    assert pair is not None and LeafPair.load(stage.keys) == pair


async def test_drop_folder_that_refuses_is_said_and_ends_nothing(
    stage: Stage, issuing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain that may not be removed (a sticky folder) is taken; a folder that may not be seen is said."""
    clock, drop, real = Hand(), tmp_path / "drop", Path.unlink
    drop.mkdir()
    works = renewal(stage, RenewalSettings(drop=drop), clock)
    clock.now = works.due_at()

    def sticky(path: Path, missing_ok: bool = False) -> None:
        if path.parent == drop:
            raise PermissionError(1, "Operation not permitted")
        real(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", sticky)
        await works.look()
        found = read_request((drop / "leaf.csr").read_bytes())
        chain = IssuingFolder.load(issuing).issue(found, now=NOON, lifetime=DAY)
        (drop / "leaf.pem").write_bytes(chain)
        await works.look()
    assert not works.is_failing and LeafPair.load(stage.keys).chain_pem == chain

    def hidden(path: Path, **_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    works = renewal(stage, RenewalSettings(drop=drop), clock)
    clock.now = works.due_at()
    monkeypatch.setattr(Path, "exists", hidden)
    await works.look()
    assert works.is_failing and "Permission denied" in works.failing


def test_command_that_fails_or_answers_nonsense_changes_nothing(stage: Stage) -> None:
    """Its output is judged as anything else; what it says on standard error goes nowhere."""
    old = LeafPair.load(stage.keys)
    for program in ("import sys; sys.exit(3)", "print('no chain')", "print(open('/dev/null').read())"):
        settings = RenewalSettings(command=(sys.executable, "-c", program))
        with pytest.raises(CertsError):
            renew_once(stage.keys, spiffe_id=GATEWAY, settings=settings, now=NOON)
    with pytest.raises(CertsError, match="can't be run"):
        renew_once(stage.keys, spiffe_id=GATEWAY, settings=RenewalSettings(command=("/nowhere",)), now=NOON)
    assert LeafPair.load(stage.keys) == old


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "exactly one of"),
        ({"issuer": ".", "drop": "."}, "exactly one of"),
        ({"isuer": "."}, "unknown key `renewal.isuer`"),
        ({"issuer": "nowhere"}, "no folder"),
        ({"issuer": 3}, "must be a text"),
        ({"command": "sign"}, "must be a list"),
        ({"issuer": ".", "lifetime_hours": 0}, "from 1 to 9552"),
        ([], "must be a table"),
    ],
)
def test_table_that_makes_no_sense_is_refused(tmp_path: Path, table: object, said: str) -> None:
    """One line that names the key."""
    with pytest.raises(ValueError, match=said):
        parse_renewal(table, home=tmp_path)
