"""TLS 1.3 between gateway and adapter: the profile of the sessions, line by line.

The standard library's `ssl` over memory: records in, records out, no socket. What each line is for:

- one context per peer, which trusts **that peer's CA alone**: in a bundle of all CAs, any agency's CA
  could vouch for any name;
- TLS 1.3 and nothing older; both sides must present a certificate; OpenSSL's strict rules, and no
  partial chains;
- ALPN names protocol version and lane, and it must have been negotiated: or a broker could connect an
  interactive end with a bulk one;
- no tickets, and a resumed session is refused: resumption would skip the judging of certificates;
- after the handshake the leaf is verified again by `comity.certs.x509`, which compares its one SPIFFE
  URI byte for byte: `ssl` accepts two URIs, other case, ports;
- OpenSSL's client finishes before the server has judged it: so the gateway waits for `Ready`.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from comity.certs.clock import Clock
from comity.certs.credentials import EndCredentials
from comity.certs.errors import CertificateRejected, CertificateRevoked
from comity.certs.revocations import NOTHING_REVOKED, RevokedOf
from comity.certs.x509 import MAX_CHAIN, VerifiedLeaf, verify_leaf
from comity.links.errors import ConfigUnusable, ProtocolViolation
from comity.links.frames import PROTOCOL_VERSION
from comity.v1.link_pb2 import CloseReason, Lane

_READ_BYTES = 16 * 1024
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # files in it get a random name and mode 0600
_ALPN = {
    Lane.LANE_INTERACTIVE: f"comity/{PROTOCOL_VERSION}/interactive",
    Lane.LANE_BULK: f"comity/{PROTOCOL_VERSION}/bulk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionIdentity:
    """Which end this is, with its certificate and key: as they are in force, or where they lie.

    A running process gives them as bytes, so that a pair which is being replaced on disk is never half used.
    """

    agency: str
    """The agency's id."""
    chain: Path | bytes = field(repr=False)
    """The end's chain, PEM, leaf first: as in `keys/leaf.pem`."""
    key: Path | bytes = field(repr=False)
    """The leaf's private key, PEM: as in `keys/leaf.key`."""


def own_identity(agency: str, credentials: EndCredentials) -> SessionIdentity:
    """Return the identity of an end whose credentials are in force."""
    return SessionIdentity(agency=agency, chain=credentials.chain_pem, key=credentials.key_pem)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPeer:
    """Whom a session must reach, and by whose word."""

    agency: str
    """The agency's id, for texts."""
    spiffe_id: str
    """The one id that its leaf must have."""
    ca_certificates: tuple[bytes, ...]
    """The CAs of that agency's domain, DER, and no others."""
    revoked: RevokedOf = field(default=NOTHING_REVOKED, compare=False)
    """What is revoked of that agency: a newer list is no other peer, but it is asked again."""

    def verify(self, leaf_der: bytes, now: datetime, *, others: Sequence[bytes] = ()) -> VerifiedLeaf:
        """Return the peer's leaf if it is this peer's; raises `CertificateRejected`.

        `others` came with it and help to find a path; they are trusted in nothing.
        """
        chain = [leaf_der, *others]
        verified = verify_leaf(chain, ca_certificates=self.ca_certificates, spiffe_id=self.spiffe_id, now=now)
        self.revoked.check_chain(chain)
        return verified


def alpn(lane: Lane) -> str:
    """Return the ALPN name of a lane: `comity/1/interactive`. Raises `KeyError` for a lane that is none."""
    return _ALPN[lane]


def make_context(
    identity: SessionIdentity, *, server_side: bool, ca_certificates: Sequence[bytes], lane: Lane
) -> ssl.SSLContext:
    """Return the context for the sessions with one peer, whose CAs (DER) are the only ones trusted.

    Raises `ConfigUnusable` if the own certificate or key can't be loaded, or there is no CA.
    """
    if not ca_certificates:
        raise ConfigUnusable("session context: the peer has no CA")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # names are SPIFFE ids, compared after the handshake
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags = _strict(context.verify_flags)
    context.set_alpn_protocols([alpn(lane)])
    if server_side:
        context.num_tickets = 0
    try:
        with _on_disk(identity.chain) as chain, _on_disk(identity.key) as key:
            context.load_cert_chain(chain, key)
        for certificate in ca_certificates:
            context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, OSError) as error:
        raise ConfigUnusable(f"session context of `{identity.agency}`: {error}") from error
    return context


@contextlib.contextmanager
def _on_disk(given: Path | bytes) -> Iterator[Path]:
    """Give a path to what `ssl` can load from files alone; bytes get one that nobody else can read."""
    if isinstance(given, Path):
        yield given
        return
    with tempfile.NamedTemporaryFile(prefix="comity-", dir=_memory()) as file:  # mode 0600
        file.write(given)
        file.flush()
        yield Path(file.name)


def _memory() -> Path | None:
    """Return a folder that is no disk, so that a key never lies on one; None where there is none."""
    return _SHARED_MEMORY if _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK) else None


def _strict(flags: ssl.VerifyFlags) -> ssl.VerifyFlags:
    return (flags | ssl.VERIFY_X509_STRICT) & ~ssl.VERIFY_X509_PARTIAL_CHAIN


class TlsEnd:
    """One side of one TLS connection in memory: bytes in, bytes out.

    Every fault is a `ProtocolViolation`: HANDSHAKE when the handshake fails, CREDENTIALS when the peer's
    certificate is not accepted, PROTOCOL when a record doesn't decrypt. After one, take `outgoing()` once
    more (it may hold an alert) and give the connection up.
    """

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, expected: ExpectedPeer, lane: Lane, clock: Clock
    ) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server_side)
        self._expected = expected
        self._alpn = alpn(lane)
        self._clock = clock
        self._heard = False
        self.records = 0
        """Records sealed and opened: what one pair of keys may protect is bounded."""
        self._peer: VerifiedLeaf | None = None
        self.peer_der = b""
        """The peer's leaf, DER; empty until the handshake is complete."""
        self.peer_others: tuple[bytes, ...] = ()
        """What the peer sent after its leaf, DER."""

    @property
    def peer(self) -> VerifiedLeaf | None:
        """The peer's leaf, verified; None until the handshake is complete."""
        return self._peer

    def start(self) -> None:
        """Begin the handshake: the gateway's first flight is then in `outgoing()`."""
        self._handshake()

    def outgoing(self) -> bytes:
        """Take the records that are to be sent; may be empty."""
        return self._out.read()

    def feed(self, records: bytes) -> bytes:
        """Take records of the peer, go on with the handshake or decrypt, and return what was decrypted."""
        self._in.write(records)
        if self._peer is None:
            self._handshake()
        return b"" if self._peer is None else self._decrypt()

    def seal(self, plaintext: bytes) -> None:
        """Encrypt `plaintext`; its records are then in `outgoing()`. Only after the handshake."""
        if self._peer is None:
            raise ValueError("nothing may be sent before the handshake is complete")
        view = memoryview(plaintext)
        self.records += -(-len(view) // _READ_BYTES)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise _fault(CloseReason.CLOSE_REASON_PROTOCOL, "record can't be written", error) from error

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLCertVerificationError as error:
            raise _fault(CloseReason.CLOSE_REASON_CREDENTIALS, "peer's certificate", error) from error
        except ssl.SSLError as error:
            raise _refused(error) from error
        try:
            self._peer = self._judge()
        except ProtocolViolation:
            self._out.read()  # a gateway's certificate and finished: not for one who isn't the provider
            raise

    def _judge(self) -> VerifiedLeaf:
        """Return the peer's leaf if everything that `ssl` doesn't check is right, too."""
        if self._tls.version() != "TLSv1.3" or self._tls.selected_alpn_protocol() != self._alpn:
            raise _violation(
                CloseReason.CLOSE_REASON_HANDSHAKE, f"handshake without TLS 1.3 and `{self._alpn}`"
            )
        if self._tls.session_reused:
            raise _violation(CloseReason.CLOSE_REASON_HANDSHAKE, "handshake resumed an earlier session")
        leaf = self._tls.getpeercert(binary_form=True)
        if leaf is None:
            raise _violation(CloseReason.CLOSE_REASON_CREDENTIALS, "peer has no certificate")
        try:
            self.peer_others = _others(self._tls, leaf)
            verified = self._expected.verify(leaf, self._clock(), others=self.peer_others)
        except CertificateRevoked as error:
            raise _violation(CloseReason.CLOSE_REASON_REVOKED, f"peer's certificate: {error}") from error
        except CertificateRejected as error:
            raise _violation(CloseReason.CLOSE_REASON_CREDENTIALS, f"peer's certificate: {error}") from error
        self.peer_der = leaf
        return verified

    def _decrypt(self) -> bytes:
        """Return all that can be decrypted now: a read gives one record, 16 kB, at most."""
        parts = []
        try:
            while part := self._tls.read(_READ_BYTES):
                parts.append(part)
                self._heard = True
                self.records += 1
        except ssl.SSLWantReadError:
            return b"".join(parts)
        except ssl.SSLError as error:
            if not self._heard and not self._tls.server_side:  # the server judges after the client is done
                raise _refused(error) from error
            raise _fault(CloseReason.CLOSE_REASON_PROTOCOL, "record doesn't decrypt", error) from error
        raise _violation(CloseReason.CLOSE_REASON_PROTOCOL, "TLS ended inside the session")


def _others(tls: ssl.SSLObject, leaf: bytes) -> tuple[bytes, ...]:
    """Return what the peer sent after its leaf: issuing CAs, not verified. `ssl` tells it from 3.13 on."""
    told = getattr(tls, "get_unverified_chain", None)
    if told is not None:
        found = list(told())
    else:
        inner = getattr(tls, "_sslobj", None)
        found = (
            [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in inner.get_unverified_chain() or ()]
            if inner is not None
            else []
        )
    return tuple(der for der in found if der != leaf)[: MAX_CHAIN - 1]


def _violation(reason: CloseReason, text: str) -> ProtocolViolation:
    return ProtocolViolation(reason, text)


def _refused(error: ssl.SSLError) -> ProtocolViolation:
    """Return the violation for a handshake that failed; CREDENTIALS if the peer's alert is about ours."""
    about = error.reason or ""
    ours = "ALERT" in about and any(word in about for word in ("CERTIFICATE", "UNKNOWN_CA"))
    credentials, handshake = CloseReason.CLOSE_REASON_CREDENTIALS, CloseReason.CLOSE_REASON_HANDSHAKE
    return _fault(credentials if ours else handshake, "handshake", error)


def _fault(reason: CloseReason, what: str, error: ssl.SSLError) -> ProtocolViolation:
    """Return a violation whose text has OpenSSL's word for it and no source lines."""
    detail = getattr(error, "verify_message", None) or error.reason or type(error).__name__
    return ProtocolViolation(reason, f"{what}: {str(detail).lower().replace('_', ' ')}")
