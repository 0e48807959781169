"""`comity certs doctor`: against real listeners, each with one fault, it names the fault and what to do."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from comity.certs.authority import refresh, revoke, suspend
from comity.certs.clock import utc_now
from comity.certs.diagnosis import explain, explain_alert
from comity.certs.instants import from_instant
from comity.certs.profile import load_certificate
from comity.certs.revocations import serial_bytes
from comity.certs.x509 import certificate_pem, load_ca, make_ca, split_pem
from comity.cli.certs import group
from comity.v1.federation_pb2 import Revocation
from tests.support.lone_agency import lone_agency
from tests.support.minting import DNS, URI, Issuer, mint

NOW = utc_now()
"""When the run began: a test may come much later in it, so what it makes counts for hours around."""
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BROKER = "spiffe://operator.example/broker"
NAMES = (URI(BROKER), DNS("broker.operator.example"))


@dataclass(frozen=True)
class Place:
    """A federation with one agency, LAPD, and its client system; and the CAs of both, to issue with."""

    root: Path
    operator: Issuer
    lapd: Issuer

    @property
    def gateway(self) -> Path:
        return self.root / "lapd" / "gateway"

    @property
    def desk(self) -> Path:
        return self.root / "lapd" / "clients" / "desk"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Made a day ago, so that certificates of yesterday have their CA."""
    root, then = tmp_path_factory.mktemp("doctor"), NOW - DAY
    lone_agency(root, then)
    cas = [Issuer(*load_ca(home / "ca.pem", home / "ca.key")) for home in (root / "operator", root / "lapd")]
    return Place(root=root, operator=cas[0], lapd=cas[1])


@contextmanager
def listening(chain: bytes, key: bytes, clients: bytes) -> Iterator[int]:
    """A gRPC listener as broker and gateway are, which takes clients of `clients`."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    tls = grpc.ssl_server_credentials([(key, chain)], root_certificates=clients, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", tls)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def doctor(target: str, home: Path, *more: str) -> dict[str, Any]:
    result = run(target, home, *more, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if found["good"] else 1)
    return found


def run(target: str, home: Path, *more: str) -> Result:
    line = ["doctor", target, "--from", str(home), "--seconds", "20", *more]
    result = CliRunner().invoke(group, line, env={"COLUMNS": "120"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def found_at(place: Place, chain: bytes, key: Any, *, clients: bytes | None = None) -> list[tuple[str, str]]:
    """Let the gateway's doctor look at a listener with this certificate; return whose faults are which."""
    with listening(chain, pem(key), clients or certificate_pem(place.lapd.certificate)) as port:
        found = doctor(f"127.0.0.1:{port}", place.gateway)
    return [(one["whose"], one["code"]) for one in found["findings"]]


def pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    made: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made


def broker_leaf(place: Place, *names: x509.GeneralName, key: Any = None, **how: Any) -> tuple[bytes, Any]:
    """A broker's chain, with whatever fault `how` asks for, and its key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer = how.pop("issuer", place.operator)
    times = {"start": NOW - HOUR, "end": NOW + 9 * HOUR}
    der = mint(issuer, *(names or NAMES), key=key, **(times | how))
    leaf = certificate_pem(x509.load_der_x509_certificate(der))
    return leaf + certificate_pem(issuer.certificate), key


def stranger() -> Issuer:
    return Issuer(*make_ca("operator.example", NOW - DAY, 9 * DAY))


FAULTS: Mapping[str, tuple[str, Callable[[Place], tuple[bytes, Any]]]] = {
    "expired": ("expired", lambda place: broker_leaf(place, end=NOW - timedelta(minutes=1))),
    "to come": ("clock", lambda place: broker_leaf(place, start=NOW + 8 * HOUR)),
    "another end's": ("wrong-name", lambda place: broker_leaf(place, URI("spiffe://operator.example/other"))),
    "without its host": ("wrong-name", lambda place: broker_leaf(place, URI(BROKER))),
    "two SPIFFE ids": (
        "spiffe-ids",
        lambda place: broker_leaf(place, *NAMES, URI("spiffe://operator.example/gateway")),
    ),
    "of an unknown CA": ("unknown-ca", lambda place: broker_leaf(place, issuer=stranger())),
    "beyond its CA's names": (
        "name-constraint",
        lambda place: broker_leaf(place, *NAMES, DNS("gateway.lapd.example")),
    ),
    "of an RSA key": (
        "key-type",
        lambda place: broker_leaf(place, key=rsa.generate_private_key(65537, 2048)),
    ),
    "for servers alone": (
        "usage",
        lambda place: broker_leaf(place, extended=[ExtendedKeyUsageOID.SERVER_AUTH]),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_peers_leaf_is_named(place: Place, fault: str) -> None:
    """A real gRPC listener with one fault: that one is found, and it is the peer's."""
    code, make = FAULTS[fault]
    assert found_at(place, *make(place)) == [("peer", code)]


def test_honest_listener_has_no_fault(place: Place) -> None:
    """Made by the same hands, without a fault: exit 0, and both certificates are shown."""
    chain, key = broker_leaf(place)
    with listening(chain, pem(key), certificate_pem(place.lapd.certificate)) as port:
        found = doctor(f"127.0.0.1:{port}", place.gateway)
        assert (found["good"], found["expected"]) == (True, BROKER)
        assert found["tls"] == {"version": "TLSv1.3", "alpn": "h2", "address": "127.0.0.1"}
        assert found["peer"][0]["subject"] == f"{BROKER}, broker.operator.example"
        assert found["own"][0]["subject"].startswith("spiffe://lapd.example/gateway")
        told = run(f"127.0.0.1:{port}", place.gateway)
        assert (told.exit_code, "✓ the handshake works" in told.output) == (0, True)
        assert "PRIVATE" not in told.output


def test_peer_that_hangs_up_on_a_good_leaf_has_another_view(place: Place) -> None:
    """A broker whose roster lacks our CA says nothing and hangs up; it is told as the peer's."""
    chain, key = broker_leaf(place)
    assert found_at(place, chain, key, clients=certificate_pem(stranger().certificate)) == [
        ("peer", "unknown-ca")
    ]


def test_look_without_a_leaf_is_told(place: Place) -> None:
    """From a published folder nothing is presented, and the peer wants something."""
    chain, key = broker_leaf(place)
    with listening(chain, pem(key), certificate_pem(place.lapd.certificate)) as port:
        found = doctor(f"127.0.0.1:{port}", place.root / "public")
    assert [one["code"] for one in found["findings"]] == ["no-certificate"]


def test_gateway_of_another_agency_is_no_place_to_dial(place: Place) -> None:
    """A gateway takes its own agency's systems; who dials another's is told so."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = (URI("spiffe://lapd.example/gateway"), DNS("gateway.lapd.example"))
    chain, _ = broker_leaf(place, *names, key=key, issuer=place.lapd)
    with listening(chain, pem(key), certificate_pem(place.lapd.certificate)) as port:
        fine = doctor(f"127.0.0.1:{port}", place.desk)
        assert fine["good"] and fine["expected"] == "spiffe://lapd.example/gateway"
        wrong = doctor(
            f"127.0.0.1:{port}", place.root / "operator", "--expect", "spiffe://lapd.example/gateway"
        )
    assert [(one["whose"], one["code"]) for one in wrong["findings"]] == [("own", "unknown-ca")]


def own_fault(place: Place, spoil: Callable[[Path], object]) -> list[tuple[str, str]]:
    """Spoil the gateway's keys for one look at a good broker, and put them back."""
    keys = place.gateway / "keys"
    before = {path: (path.read_bytes(), path.stat().st_mode) for path in keys.iterdir() if path.is_file()}
    chain, key = broker_leaf(place)
    try:
        spoil(keys)
        with listening(chain, pem(key), certificate_pem(place.lapd.certificate)) as port:
            found = doctor(f"127.0.0.1:{port}", place.gateway)
        return [(one["whose"], one["code"]) for one in found["findings"]]
    finally:
        for path, (data, mode) in before.items():
            path.write_bytes(data)
            path.chmod(mode)


def put_leaf(place: Place, **how: Any) -> Callable[[Path], object]:
    def put(keys: Path) -> None:
        names = (URI("spiffe://lapd.example/gateway"), DNS("gateway.lapd.example"))
        chain, key = broker_leaf(place, *names, **{"issuer": place.lapd, **how})
        (keys / "leaf.pem").write_bytes(chain)
        (keys / "leaf.key").write_bytes(pem(key))

    return put


def test_faults_of_the_own_leaf_are_told_as_own(place: Place) -> None:
    """What the peer would only hang up on is named at home: expired, unknown CA, readable key, other key."""
    assert own_fault(place, put_leaf(place, end=NOW - timedelta(minutes=1))) == [("own", "expired")]
    forged = Issuer(*make_ca("lapd.example", NOW - DAY, 9 * DAY))
    assert own_fault(place, put_leaf(place, issuer=forged)) == [("own", "unknown-ca")]
    assert own_fault(place, lambda keys: (keys / "leaf.key").chmod(0o644))[0] == ("own", "key-readable")
    assert own_fault(place, put_leaf(place, end=NOW + 500 * DAY)) == [("own", "lifetime")]
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    assert own_fault(place, lambda keys: (keys / "leaf.key").write_bytes(other))[0] == ("own", "key-mismatch")


def test_leaf_of_another_end_in_this_ones_folder_is_told(place: Place) -> None:
    """TLS works with it, and the peer refuses what it names afterwards: an adapter's leaf at a gateway."""
    names = (URI("spiffe://lapd.example/adapter"),)

    def put(folder: Path) -> None:
        chain, key = broker_leaf(place, *names, issuer=place.lapd)
        (folder / "leaf.pem").write_bytes(chain)
        (folder / "leaf.key").write_bytes(pem(key))

    def told_by_status(keys: Path) -> None:
        put(keys)
        shown = CliRunner().invoke(group, ["status", str(keys.parent), "--own", "--findings"])
        assert shown.exit_code == 1 and "of another end than the one that is expected" in shown.output

    assert own_fault(place, told_by_status) == [("own", "wrong-name")]
    before = {path: path.read_bytes() for path in place.desk.glob("leaf.*")}
    try:
        put(place.desk)
        found = doctor("127.0.0.1:1", place.desk)
    finally:
        for path, data in before.items():
            path.write_bytes(data)
    assert ("own", "wrong-name") in [(one["whose"], one["code"]) for one in found["findings"]]


def test_suspension_is_told_though_the_handshake_works(place: Place) -> None:
    """A suspended end gets through TLS and then no link: the roster says why."""
    suspend(place.root, "lapd", NOW)
    try:
        assert own_fault(place, lambda keys: None) == [("own", "suspended")]
    finally:
        suspend(place.root, "lapd", NOW, suspended=False)


def test_revoked_leaf_is_told_as_revoked(place: Place, tmp_path: Path) -> None:
    """The own leaf, and the peer's, on the list of the roster at hand; the reason stands in it."""
    root = shutil.copytree(place.root, tmp_path / "fed")
    chain, key = broker_leaf(place)
    own = (root / "lapd" / "gateway" / "keys" / "leaf.pem").read_bytes()
    entries = [
        Revocation(
            agency=agency,
            serial=serial_bytes(load_certificate(split_pem(leaf)[0]).serial_number),
            revoked_at=from_instant(NOW),
            reason="REVOCATION_REASON_KEY_COMPROMISE",
        )
        for agency, leaf in (("lapd", own), ("operator", chain))
    ]
    revoke(root, entries, NOW)
    with listening(chain, pem(key), certificate_pem(place.lapd.certificate)) as port:
        found = doctor(f"127.0.0.1:{port}", root / "lapd" / "gateway")
    assert [(one["whose"], one["code"]) for one in found["findings"]] == [
        ("own", "revoked"),
        ("peer", "revoked"),
    ]
    assert "key compromise" in found["findings"][0]["text"]


def test_clock_that_is_behind_is_told(place: Place) -> None:
    """A roster that was signed later than this host's clock says shows that the clock is behind."""
    refresh(place.root, NOW + 8 * HOUR)
    try:
        assert own_fault(place, lambda keys: None) == [("own", "clock")]
    finally:
        refresh(place.root, NOW)


@contextmanager
def speaking(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """A listener that does with one connection whatever `serve` does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            plain, _ = server.accept()
            with plain:
                plain.settimeout(30)
                try:
                    serve(plain)
                except OSError:
                    return

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(30)


@pytest.mark.parametrize("is_grpc", [True, False], ids=["grpc", "appliance"])
def test_tls_1_2_is_named(place: Place, tmp_path: Path, is_grpc: bool) -> None:
    """A peer that speaks 1.2 at most is named as that, and what comes of it distracts nobody."""
    chain, key = broker_leaf(place)
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if is_grpc:
        context.set_alpn_protocols(["h2"])
    context.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as tls:
            if not is_grpc:
                return  # hangs up
            tls.sendall(b"\0\0\0\4\0\0\0\0\0")
            tls.recv(64)

    with speaking(serve) as port:
        found = doctor(f"127.0.0.1:{port}", place.gateway)
    assert [(one["whose"], one["code"]) for one in found["findings"]] == [("peer", "tls-version")]


def test_no_tls_silence_and_nobody_are_told(place: Place) -> None:
    """A port where something else listens, a process that hangs, a port of nobody, a name of nobody."""
    with speaking(lambda plain: (plain.recv(64), plain.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"))) as port:
        found = doctor(f"127.0.0.1:{port}", place.gateway)
    assert [one["code"] for one in found["findings"]] == ["not-tls"]
    with speaking(lambda plain: plain.recv(1 << 16) and plain.recv(1)) as port:
        found = doctor(f"127.0.0.1:{port}", place.gateway, "--seconds", "0.3")
    assert [one["code"] for one in found["findings"]] == ["no-answer"]
    found = doctor(f"127.0.0.1:{port}", place.gateway)
    assert [one["code"] for one in found["findings"]] == ["not-listening"]
    found = doctor("nobody.invalid", place.gateway)
    assert (found["target"], [one["code"] for one in found["findings"]]) == (
        "nobody.invalid:7400",
        ["no-address"],
    )


def test_file_is_judged_without_a_network(place: Place, tmp_path: Path) -> None:
    """A chain that somebody sent is judged by the same verifier, from any folder with a roster."""
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_bytes(broker_leaf(place)[0])
    bad.write_bytes(broker_leaf(place, end=NOW - timedelta(minutes=1))[0])
    public = place.root / "public"
    assert doctor(str(good), public)["good"]
    assert [one["code"] for one in doctor(str(bad), public)["findings"]] == ["expired"]
    told = run(str(good), public)
    assert "this is what the roster's ends accept" in told.output


def test_wrong_use_is_told(place: Place, tmp_path: Path) -> None:
    """A port that is none and a folder of nothing are wrong use."""
    assert run("host:port", place.gateway).exit_code == 2
    assert run("host:1", tmp_path).exit_code == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("tlsv13 alert certificate required", "no-certificate"),
        ("tlsv1 alert unknown ca", "unknown-ca"),
        ("ssl/tls alert certificate expired", "expired"),
        ("sslv3 alert certificate revoked", "revoked"),
        ("ssl/tls alert bad certificate", "own-refused"),
        ("tlsv1 alert protocol version", "tls-version"),
        ("wrong version number", "not-tls"),
        ("tlsv1 alert no application protocol", "not-grpc"),
        ("something new", "handshake"),
    ],
)
def test_alerts_of_the_peer_are_explained(said: str, code: str) -> None:
    """What a peer says in TLS's words is told in ours, with what to do."""
    finding = explain_alert(said)
    assert finding.code == code and finding.act and said in finding.text


def test_unknown_words_of_the_verifier_are_handed_on() -> None:
    """What has no explanation yet is shown as it was said."""
    finding = explain("a fault of tomorrow", whose="peer")
    assert (finding.code, "a fault of tomorrow" in finding.text) == ("refused", True)


def test_agency_that_was_revoked_is_not_sent_for_a_certificate() -> None:
    """No new one helps where nothing of the whole agency counts."""
    finding = explain("agency is revoked since 2026-06-01 12:00:00Z (cessation)", whose="own")
    assert finding.code == "revoked" and "governing authority" in finding.act
