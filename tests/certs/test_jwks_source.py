"""Fetching a JWK set: from the one https address that is configured, bounded, and from nowhere else."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from comity.certs.errors import JwksUnavailable
from comity.certs.jwks import MAX_JWKS_BYTES, to_jwks
from comity.certs.jwks_source import JwksRequest, JwksSettings, parse_identity_provider
from comity.certs.keys import SigningKey
from tests.support.jwks_server import JwksServer, self_signed, serving_jwks

SET = to_jwks({"a": SigningKey.generate().public})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JwksServer]:
    with serving_jwks(tmp_path_factory.mktemp("idp")) as server:
        yield server


@pytest.fixture
def server(served: JwksServer) -> JwksServer:
    served.asked.clear()
    served.status, served.headers, served.body, served.write = 200, {}, SET, None
    return served


def fetch(server: JwksServer, *, seconds: float = 30, **changes: Any) -> Any:
    settings = replace(JwksSettings(url=server.url, ca=server.ca), **changes)
    return JwksRequest(settings, seconds=seconds).run()


def refused(server: JwksServer, **changes: Any) -> str:
    with pytest.raises(JwksUnavailable) as found:
        fetch(server, **changes)
    return str(found.value)


def test_set_is_fetched_over_https(server: JwksServer) -> None:
    """The bytes as they were served, and for how long they are fresh (RFC 9111)."""
    found = fetch(server)
    assert found.jwks == SET and found.max_age is None
    for said, age, seconds in (
        ("public, Max-Age=120, must-revalidate", "50", 70),
        ("max-age=120", "400", 0),
        ("no-store, max-age=120", "", 0),
    ):
        server.headers = {"Cache-Control": said, "Age": age}
        assert fetch(server).max_age == timedelta(seconds=seconds)
    assert set(server.asked) == {"/jwks.json"}


def test_redirect_is_not_followed(server: JwksServer) -> None:
    """Not even to itself: whoever may send a client elsewhere would choose the keys."""
    server.status, server.headers = 302, {"Location": server.url}
    assert "sends elsewhere (302)" in refused(server)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [204, 404])
def test_any_other_status_is_no_set(server: JwksServer, status: int) -> None:
    """However good its body looks."""
    server.status = status
    assert f"answers {status}" in refused(server)


def test_no_more_is_read_than_a_set_may_have(server: JwksServer) -> None:
    """A server that never stops costs 64 kB and a little."""

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(64):  # 4 MB: for what has no bound there must be an end
            handler.wfile.write(b" " * 65_536)

    server.write = endless
    assert MAX_JWKS_BYTES < len(fetch(server).jwks) <= MAX_JWKS_BYTES + 16_384


def test_server_that_trickles_is_cut(server: JwksServer) -> None:
    """A byte now and then keeps no socket's time-out, so the whole has one of its own."""

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    server.write = trickle
    assert "no whole answer within 0.3 seconds" in refused(server, seconds=0.3)


def test_host_that_says_nothing_is_cut() -> None:
    """In the handshake already."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(JwksUnavailable, match="no whole answer within"):
            JwksRequest(JwksSettings(url=url), seconds=0.2).run()


def test_addresses_that_take_no_connection_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a host has, one after the other; with a socket that is full, as one that drops packets."""
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        many = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address)] * 200
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: many)
        since = time.monotonic()
        with pytest.raises(JwksUnavailable, match="no whole answer within"):
            JwksRequest(JwksSettings(url="https://login.example/"), seconds=0.3).run()
        assert time.monotonic() - since < 30, "and not 0.3 seconds for each of 200"


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A path that is no file is told, and holds no thread, and no stop."""
    os.mkfifo(tmp_path / "jwks.json", 0o600)
    with pytest.raises(JwksUnavailable, match="not a regular file"):
        JwksRequest(JwksSettings(file=tmp_path / "jwks.json")).run()


def test_packed_answer_is_not_unpacked(server: JwksServer) -> None:
    """It wasn't asked for, and a small one can be a large set."""
    server.headers = {"Content-Encoding": "gzip"}
    assert "packs" in refused(server)


def test_server_whom_the_ca_does_not_vouch_for_is_not_believed(server: JwksServer, tmp_path: Path) -> None:
    """Another CA, and the system's: nothing is asked before the certificate verified."""
    stranger, _ = self_signed(tmp_path)
    for ca in (stranger, None):
        assert "its certificate is not accepted" in refused(server, ca=ca)
    assert not server.asked


@pytest.mark.parametrize(("name", "days"), [("idp.example", 2), ("127.0.0.1", -1)], ids=["name", "expired"])
def test_certificate_of_another_name_or_time_is_not_believed(tmp_path: Path, name: str, days: int) -> None:
    """The right CA is not enough."""
    with serving_jwks(tmp_path, name=name, days=days) as other:
        other.body = SET
        assert "its certificate is not accepted" in refused(other)
        assert not other.asked


def test_what_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    """No traceback, no secret: the place and the reason."""
    with pytest.raises(JwksUnavailable, match="no such file"):
        JwksRequest(JwksSettings(file=tmp_path / "none.json")).run()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
    with pytest.raises(JwksUnavailable, match="connection refused"):
        JwksRequest(JwksSettings(url=f"https://127.0.0.1:{port}/")).run()


def test_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    """A file that somebody else keeps new is a source like another."""
    path = tmp_path / "jwks.json"
    path.write_bytes(SET)
    assert JwksRequest(JwksSettings(file=path)).run().jwks == SET
    path.write_bytes(b" " * (3 * MAX_JWKS_BYTES))
    assert len(JwksRequest(JwksSettings(file=path)).run().jwks) == MAX_JWKS_BYTES + 1


def test_settings_of_an_address_and_of_a_file(tmp_path: Path) -> None:
    """Both ways to say it; relative paths are of the configuration's folder."""
    ca, _ = self_signed(tmp_path)
    found = parse_identity_provider(
        {"jwks": "https://login.example:8443/k?v=1", "ca": ca.name, "refresh_seconds": 60}, home=tmp_path
    )
    assert found is not None and found.url and found.ca == ca and found.refresh == timedelta(minutes=1)
    found = parse_identity_provider(
        {"jwks": "../jwks.json", "issuer": "https://login.example"}, home=tmp_path
    )
    assert found is not None and found.file == (tmp_path / "../jwks.json").resolve() and not found.url
    assert parse_identity_provider(None, home=tmp_path) is None


@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_address_that_is_not_https_is_refused(tmp_path: Path, scheme: str) -> None:
    """Loopback is no exception: who can listen there, or be routed there, would choose the keys."""
    for host in ("login.example", "127.0.0.1"):
        with pytest.raises(ValueError, match="expected `https`, also on this host"):
            parse_identity_provider({"jwks": f"{scheme}://{host}/jwks"}, home=tmp_path)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"jwks": "https://user:secret@login.example/"}, "keys are public"),
        ({"jwks": "https://"}, "no address"),
        ({"jwks": "https://login.example:99999/"}, "no address"),
        ({"jwks": "https://login.example/#keys"}, "no address"),
        ({"jwks": "https://login.example/a b"}, "a space"),
        ({"jwks": "https://login.example/\r\nX: y"}, "no address"),
        ({"jwks": 7}, "a text that is not empty"),
        ({}, "is missing"),
        ({"jwks": "https://login.example/", "url": "x"}, "unknown key `identity_provider.url`"),
        ({"jwks": "https://login.example/", "ca": "none.pem"}, "no file"),
        ({"jwks": "jwks.json", "ca": "x"}, "a file needs no CA"),
        ({"jwks": "https://login.example/", "issuer": "http://login.example"}, "issuer"),
        ({"jwks": "https://login.example/", "refresh_seconds": 0}, "from 1 to 3600"),
        ({"jwks": "https://login.example/", "refresh_seconds": True}, "from 1 to 3600"),
        ("https://login.example/", "must be a table"),
    ],
)
def test_settings_that_are_not_right_are_told(tmp_path: Path, table: object, told: str) -> None:
    """By the key's name, and a password that stands in an address is not told again."""
    with pytest.raises(ValueError, match=r"identity_provider|issuer") as found:
        parse_identity_provider(table, home=tmp_path)
    assert told in str(found.value) and "secret" not in str(found.value)


def test_ca_that_is_none_is_told(tmp_path: Path) -> None:
    """At the start, and not at the first fetch."""
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ValueError, match="no certificates in PEM"):
        parse_identity_provider({"jwks": "https://login.example/", "ca": "ca.pem"}, home=tmp_path)
