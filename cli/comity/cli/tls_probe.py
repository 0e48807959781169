"""One real TLS handshake with a listener, to see what it presents and how it takes what we present.

Nothing is verified on the way, so that a bad certificate is seen and not only its alert; the verdict is for
`comity.certs.diagnosis`. With TLS 1.3 the server judges the client last: what it says comes with the first
read. A gRPC server then says nothing at all and hangs up: `hung_up` is how it refuses a leaf.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from comity.certs.diagnosis import Finding, explain_alert
from comity.certs.pairs import LeafPair
from comity.certs.x509 import certificate_der

HTTP2: Final = b"h2"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
_READ_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What came of a handshake."""

    chain: tuple[bytes, ...] = ()
    """What the peer presented, DER, leaf first."""
    version: str = ""
    """`TLSv1.3`; empty if there was no handshake."""
    alpn: str = ""
    address: str = ""
    hung_up: bool = False
    """Whether TLS was up on this side, and the peer closed the connection without a word."""
    findings: tuple[Finding, ...] = ()


def probe(host: str, port: int, *, name: str, own: LeafPair | None, seconds: float) -> Probed:
    """Shake hands with `host:port`, presenting `own`; say what happened, and raise nothing of the network."""
    try:
        plain = socket.create_connection((host, port), timeout=seconds)
    except OSError as error:
        return Probed(findings=(_unreachable(host, port, error, seconds),))
    with plain:
        address = str(plain.getpeername()[0])
        tls = SSL.Connection(_context(own), plain)
        tls.set_tlsext_host_name(name.encode("idna"))
        tls.set_connect_state()
        plain.setblocking(False)
        deadline = time.monotonic() + seconds
        findings: list[Finding] = []
        hung_up = False
        try:
            _until(tls, plain, deadline, tls.do_handshake)
            _until(tls, plain, deadline, lambda: tls.sendall(_PREFACE))
            _until(tls, plain, deadline, lambda: tls.recv(_READ_BYTES))
        except TimeoutError:
            findings.append(_silent(seconds, bool(tls.get_cipher_name())))
        except SSL.Error as error:
            hung_up = bool(tls.get_cipher_name()) and isinstance(
                error, (SSL.ZeroReturnError, SSL.SysCallError)
            )
            if not hung_up:
                findings.append(_failed(error))
        except OSError as error:
            findings.append(explain_alert(f"connection lost: {error.strerror or type(error).__name__}"))
        return Probed(
            chain=_chain(tls),
            version=tls.get_protocol_version_name() if tls.get_cipher_name() else "",
            alpn=tls.get_alpn_proto_negotiated().decode("ascii", "replace"),
            address=address,
            hung_up=hung_up,
            findings=tuple(findings),
        )


def _context(own: LeafPair | None) -> SSL.Context:
    """Return a context that takes whatever it is shown, and TLS 1.2, too, so as to see it."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    context.set_alpn_protos([HTTP2])
    if own is not None:
        first, *others = own.chain_der
        context.use_certificate(x509.load_der_x509_certificate(first))
        for der in others:
            context.add_extra_chain_cert(x509.load_der_x509_certificate(der))
        key = serialization.load_pem_private_key(own.key_pem, None)
        context.use_privatekey(key)  # type: ignore[arg-type]
    return context


def _until(tls: SSL.Connection, plain: socket.socket, deadline: float, step: Callable[[], object]) -> None:
    """Take a step of TLS, waiting for the socket as it asks; raises `TimeoutError` past the deadline."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        try:
            step()
            return
        except SSL.WantReadError:
            select.select([plain], [], [], left)
        except SSL.WantWriteError:
            select.select([], [plain], [], left)


def _chain(tls: SSL.Connection) -> tuple[bytes, ...]:
    found = tls.get_peer_cert_chain(as_cryptography=True) or []
    return tuple(certificate_der(certificate) for certificate in found)


def _failed(error: SSL.Error) -> Finding:
    """Return what TLS says of a handshake that failed."""
    if isinstance(error, SSL.SysCallError):
        said = "connection lost" if error.args[0] == -1 else str(error.args[-1])
        return explain_alert(f"{said} during the handshake")
    reasons = [str(part[-1]) for part in error.args[0]] if error.args and error.args[0] else []
    return explain_alert("; ".join(reason for reason in reasons if reason) or type(error).__name__)


def _unreachable(host: str, port: int, error: OSError, seconds: float) -> Finding:
    """Return why there is no connection at all."""
    where = f"{host}:{port}"
    if isinstance(error, socket.gaierror):
        return Finding(
            code="no-address",
            whose="network",
            text=f"`{host}` has no address: {error.strerror}",
            act="is the name spelt right, and known to this host's DNS?",
        )
    if isinstance(error, TimeoutError):
        return Finding(
            code="no-answer",
            whose="network",
            text=f"nothing answers at {where} within {seconds:g} s",
            act="a firewall drops it, or the host is down: try from another network",
        )
    if isinstance(error, ConnectionRefusedError):
        return Finding(
            code="not-listening",
            whose="network",
            text=f"nothing listens at {where}: connection refused",
            act="is the process up, and is this its `listen` address and port?",
        )
    return Finding(
        code="unreachable",
        whose="network",
        text=f"no connection to {where}: {(error.strerror or type(error).__name__).lower()}",
        act="look at the network between the two hosts",
    )


def _silent(seconds: float, shook: bool) -> Finding:
    if shook:
        return Finding(
            code="not-grpc",
            whose="peer",
            text=f"TLS is up, and the peer says nothing for {seconds:g} s",
            act="is the port right? A broker's or gateway's `listen` names it",
        )
    return Finding(
        code="no-answer",
        whose="peer",
        text=f"the connection is up, and no TLS within {seconds:g} s",
        act="is the port right? Something else may listen there, or the process hangs",
    )
