"""Where an agency's own identity provider publishes its JWK set, and how it is fetched from there.

The table `[identity_provider]` of a gateway's configuration says where::

    [identity_provider]
    jwks = "https://login.sheriff.example/jwks.json"   # https only; or a file that somebody else keeps new
    ca = "idp-ca.pem"          # who vouches for that server; the system's CAs if it isn't said
    issuer = "https://login.sheriff.example"           # only where the roster names several of the agency
    refresh_seconds = 300      # fetched at least so often, 1 to 3600

A server that answers slowly, endlessly, or with the address of another one costs ten seconds and
`MAX_JWKS_BYTES`, and changes nothing. pyjwt's own client has no bound on either, fetches in the path of who
asks, and again for each unknown key while the server is away, so it isn't used (docs/adr/0019).
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import stat
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Final
from urllib.parse import SplitResult, urlsplit

from comity.certs import words
from comity.certs.errors import JwksUnavailable
from comity.certs.jwks import MAX_JWKS_BYTES

__all__ = ["IDENTITY_PROVIDER", "Fetched", "JwksRequest", "JwksSettings", "parse_identity_provider"]

IDENTITY_PROVIDER: Final = "identity_provider"
"""The table's name in a gateway's configuration."""

FETCH_SECONDS: Final = 10.0
"""From the connection to the last byte."""

REFRESH: Final = timedelta(seconds=300)

_KNOWN: Final = ("jwks", "ca", "issuer", "refresh_seconds")
_MAX_AGE: Final = re.compile(r'max-age\s*=\s*"?(\d{1,9})"?', re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksSettings:
    """Where the JWK set is, and how often it is fetched."""

    url: str = ""
    """`https://…`; empty: it is a file."""
    file: Path | None = None
    ca: Path | None = None
    """CA certificates, PEM; None: those of the system."""
    issuer: str = ""
    """Of the provider; empty: the only one that the roster names for the agency."""
    refresh: timedelta = REFRESH

    @property
    def source(self) -> str:
        """Where it is, in words."""
        return self.url or str(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a source gave: bytes that nobody looked at yet."""

    jwks: bytes
    max_age: timedelta | None = None
    """For how long the server says that it is fresh; None: it says nothing."""


def parse_identity_provider(table: object, *, home: Path) -> JwksSettings | None:
    """Return the settings in the table, None if there is none; raise `ValueError` in plain words."""
    if table is None:
        return None
    if not isinstance(table, Mapping):
        raise ValueError(f"key `{IDENTITY_PROVIDER}` must be a table")
    for name in table:
        if name not in _KNOWN:
            raise ValueError(f"unknown key `{IDENTITY_PROVIDER}.{name}`; known keys are {', '.join(_KNOWN)}")
    seconds = table.get("refresh_seconds", int(REFRESH.total_seconds()))
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= 3600:
        raise ValueError(f"key `{IDENTITY_PROVIDER}.refresh_seconds` must be a number from 1 to 3600")
    source = _text(table, "jwks")
    if not source:
        raise ValueError(f"key `{IDENTITY_PROVIDER}.jwks` is missing: `https://…`, or the path of a file")
    ca = home / _text(table, "ca") if "ca" in table else None
    url = source if "://" in source else ""
    if url:
        _check_url(url)
    if ca is not None and (not url or not ca.is_file()):
        said = f"no file at `{ca}`" if url else "a file needs no CA, expected it beside `https://…` alone"
        raise ValueError(f"key `{IDENTITY_PROVIDER}.ca`: {said}")
    if ca is not None:
        _context(ca)
    issuer = _text(table, "issuer")
    return JwksSettings(
        url=url,
        file=None if url else (home / source).resolve(),
        ca=ca,
        issuer=words.issuer(issuer) if issuer else "",
        refresh=timedelta(seconds=seconds),
    )


def _text(table: Mapping[str, object], name: str) -> str:
    """Return a text of the table, empty if it isn't there."""
    if name not in table:
        return ""
    value = table[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"key `{IDENTITY_PROVIDER}.{name}` must be a text that is not empty")
    return value


def _check_url(url: str) -> SplitResult:
    """Return the parts of an address that may be asked; raise `ValueError`, which tells no password."""
    key = f"key `{IDENTITY_PROVIDER}.jwks`"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{key} is no address, expected for example `https://login.example/jwks`") from error
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{key}: an address with a user or password in it is not used: keys are public")
    if parts.scheme != "https":
        raise ValueError(f"{key}: `{parts.scheme}` is not used, expected `https`, also on this host")
    if not parts.hostname or port == 0 or parts.fragment or not url.isascii() or not url.isprintable():
        raise ValueError(f"{key} is no address, expected for example `https://login.example/jwks`")
    if " " in url:
        raise ValueError(f"{key} is no address: there is a space in it")
    return parts


def _context(ca: Path | None) -> ssl.SSLContext:
    """Return who is trusted to vouch for the server; raise `ValueError` if the file holds no certificates."""
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except (ssl.SSLError, OSError) as error:
        raise ValueError(f"key `{IDENTITY_PROVIDER}.ca`: `{ca}` holds no certificates in PEM") from error


class JwksRequest:
    """One look at a source: `run` on a thread, `cut` from anywhere to end it."""

    def __init__(self, settings: JwksSettings, *, seconds: float = FETCH_SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._is_cut = False

    def run(self) -> Fetched:
        """Return what the source gives; raise `JwksUnavailable`, which names the source and the reason."""
        try:
            return self._from_file(self._settings.file) if self._settings.file else self._from_server()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise JwksUnavailable(f"`{self._settings.source}`: {self._reason(error)}") from error

    def cut(self) -> None:
        """End it now: what waits for the server fails. The TLS stays, so nothing unprotected is ever read."""
        self._is_cut = True
        waiting = self._socket
        if waiting is not None:
            with suppress(OSError):
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def _from_file(self, path: Path) -> Fetched:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # a pipe would be waited for without end
                raise JwksUnavailable(f"`{self._settings.source}`: is not a regular file")
            return Fetched(jwks=file.read(MAX_JWKS_BYTES + 1))

    def _from_server(self) -> Fetched:
        parts, trusted, until = _check_url(self._settings.url), self._trusted(), monotonic() + self._seconds
        host = parts.hostname or ""
        plain = self._connected(host, parts.port or 443, until)
        timer = threading.Timer(max(0.0, until - monotonic()), self.cut)
        timer.daemon = True
        with trusted.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False) as tls:
            self._socket = tls
            timer.start()
            try:
                if self._is_cut:
                    raise TimeoutError
                tls.do_handshake()
                return self._ask(tls, parts)
            finally:
                timer.cancel()
                self._socket = None

    def _connected(self, host: str, port: int, until: float) -> socket.socket:
        """Return a connection with the first of the host's addresses that takes one, all in the one time."""
        failed: OSError = TimeoutError()
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            left = until - monotonic()
            if left <= 0 or self._is_cut:
                raise TimeoutError
            with ExitStack() as closing:
                try:
                    found = closing.enter_context(socket.socket(family, kind, protocol))
                    found.settimeout(left)
                    found.connect(address)
                except OSError as error:
                    failed = error
                else:
                    found.settimeout(self._seconds)
                    closing.pop_all()
                    return found
        raise failed

    def _trusted(self) -> ssl.SSLContext:
        try:
            return _context(self._settings.ca)
        except ValueError as error:
            raise JwksUnavailable(str(error)) from error

    def _ask(self, tls: ssl.SSLSocket, parts: SplitResult) -> Fetched:
        """Ask over a connection that verified. There is no proxy, no cookie, and no other address."""
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port)
        connection.sock = tls
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "comity"}
        connection.request("GET", target, headers=headers)
        with connection.getresponse() as response:
            if 300 <= response.status < 400:
                raise JwksUnavailable(
                    f"`{parts.geturl()}`: the server sends elsewhere ({response.status}), which is not "
                    "followed: configure the address of the set itself"
                )
            if response.status != 200:
                raise JwksUnavailable(f"`{parts.geturl()}`: the server answers {response.status}")
            if response.getheader("Content-Encoding", "identity") != "identity":
                raise JwksUnavailable(f"`{parts.geturl()}`: the server packs what was asked for unpacked")
            found = b""
            while len(found) <= MAX_JWKS_BYTES and (part := response.read(16_384)):
                found += part
            if self._is_cut:  # a part of a JSON object is none, but let nobody rely on it
                raise TimeoutError
            return Fetched(jwks=found, max_age=_max_age(response.headers))

    def _reason(self, error: Exception) -> str:
        match error:
            case TimeoutError():
                return f"no whole answer within {self._seconds:g} seconds"
            case _ if self._is_cut:
                return f"no whole answer within {self._seconds:g} seconds"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not accepted: {error.verify_message.lower()}"
            case ssl.SSLError():
                return f"no TLS with it: {(error.reason or 'failed').lower()}"
            case socket.gaierror():
                return "its name has no address"
            case OSError():
                return (error.strerror or type(error).__name__).lower()
            case _:
                return "its answer is no HTTP"


def _max_age(headers: http.client.HTTPMessage) -> timedelta | None:
    """Return for how long a server says that its answer is still fresh (RFC 9111, section 4.2)."""
    said = headers.get("Cache-Control", "")
    if "no-store" in said.lower() or "no-cache" in said.lower():
        return timedelta()
    found = _MAX_AGE.search(said)
    if found is None:
        return None
    age = headers.get("Age", "")
    spent = int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0
    return timedelta(seconds=max(0, int(found[1]) - spent))
