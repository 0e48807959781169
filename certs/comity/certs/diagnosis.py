"""Why a handshake fails, in words for the person who has to mend it.

gRPC says "socket closed" for an expired leaf, a wrong name, a CA that nobody knows and a clock that is an
hour behind alike. Here what a peer presented is judged by the very verifier that the product uses, and its
verdict, or the alert of the other side, becomes a finding: what is wrong, whose it is, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from comity.certs.errors import CertsError
from comity.certs.members import MemberView
from comity.certs.profile import load_certificate
from comity.certs.revocations import NOTHING_REVOKED, RevokedOf
from comity.certs.x509 import verify_leaf

__all__ = ["Finding", "Shown", "explain", "explain_alert", "judge_chain", "shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason for which a handshake fails."""

    code: str
    """A word for scripts, such as `expired`."""
    whose: str
    """`own` or `peer`: whose certificate or setting it is; `network` for what lies between."""
    text: str
    """What is wrong, one line."""
    act: str
    """What to do about it, one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One certificate as it is shown to a person."""

    subject: str
    """Its URIs and DNS names, or its subject where it has none."""
    issuer: str
    key: str
    """Kind of key: `P-256`, `RSA 2048` …"""
    not_before: datetime
    not_after: datetime
    fingerprint: str
    """SHA-256, hex."""


_RENEW: Final = {
    "own": "renew it: comity certs renew HOME --ca FOLDER; without a CA on this host: request, issue, take",
    "peer": "its administrator renews it: comity certs renew",
}
_ISSUE: Final = {
    "own": "have it issued anew: comity certs renew HOME --ca FOLDER",
    "peer": "its administrator has it issued anew: comity certs renew",
}
_RIGHT: Final = {
    "own": "put this end's own leaf there: comity certs renew HOME --ca FOLDER",
    "peer": "dial the right address, or put the right leaf there",
}

_RULES: Final[Sequence[tuple[str, str, str, str]]] = (
    # words of the verifier; code; what it means; what to do, or a key of the tables above
    (
        r"agency is revoked",
        "revoked",
        "its whole agency was revoked",
        "ask the governing authority: no certificate of this agency counts any more",
    ),
    (r"revoked", "revoked", "it was revoked", "find out why; only a new certificate with a new key helps"),
    (r"expired", "expired", "its time is over", "renew"),
    (
        r"not yet valid|still to come",
        "clock",
        "its time has not begun: the clock of this host is behind, or that of its CA is ahead",
        "compare both clocks with a third (timedatectl; chronyc tracking)",
    ),
    (
        r"\b(0|[2-9]|\d{2,}) URIs",
        "spiffe-ids",
        "it doesn't hold exactly one SPIFFE id, so it is nobody's",
        "issue",
    ),
    (r"lacks the DNS name", "wrong-name", "it lacks the host name by which it is dialled", "issue"),
    (
        r"leaf names|expected `spiffe|the roster expects",
        "wrong-name",
        "it is a certificate, but of another end than the one that is expected here",
        "right",
    ),
    (
        r"permitted subtree|excluded subtree|name syntax|is not a lower-case name within|not all within",
        "name-constraint",
        "it holds a name that its CA may not issue",
        "issue",
    ),
    (
        r"name constraints|nameConstraints",
        "ca-constraints",
        "its CA isn't constrained to its own domain, so it vouches for nobody",
        "the agency makes a CA as `comity agency init` does, and applies with it",
    ),
    (
        r"is not a SPIFFE id|trust domain|SPIFFE",
        "spiffe-ids",
        "its URI is not a SPIFFE id in its one spelling",
        "issue",
    ),
    (
        r"unable to get|self-signed|self signed|signature failure|unable to verify",
        "unknown-ca",
        "no CA that the roster names for this agency issued it (an intermediate may be missing)",
        "compare its issuer with `comity certs status`; a new CA has to be admitted first",
    ),
    (
        r"P-256 or P-384|explicit ECC|of an unknown kind",
        "key-type",
        "its key is of a kind that isn't used here",
        "issue",
    ),
    (r"hash other than", "weak-signature", "it is signed with a hash that isn't used any more", "issue"),
    (
        r"extendedKeyUsage|keyUsage|is a CA",
        "usage",
        "it isn't made for an end: an end's leaf serves and calls, and signs nothing else",
        "issue",
    ),
    (r"lives longer", "lifetime", "it lives longer than is taken", "issue"),
    (r"lets others at it", "key-readable", "its key can be read by others on this host", "chmod 600"),
    (r"is not the key", "key-mismatch", "its key is that of another certificate", "issue"),
    (r"can't be read|no certificate|unencrypted", "unreadable", "there is none that can be read", "issue"),
)

_ALERTS: Final[Sequence[tuple[str, str, str, str]]] = (
    (r"unknown ca|unknown_ca", "unknown-ca", "the peer knows no CA that issued this end's leaf", "own-ca"),
    (r"certificate expired", "expired", "the peer says that this end's leaf is over", "own-expired"),
    (r"certificate revoked", "revoked", "the peer says that this end's leaf was revoked", "own-revoked"),
    (r"unsupported certificate|certificate unknown", "key-type", "the peer can't use this end's leaf", "own"),
    (r"bad certificate|decrypt error", "own-refused", "the peer refuses this end's leaf", "own"),
    (r"certificate required|handshake failure", "no-certificate", "the peer asks for a certificate", "from"),
    (r"protocol version|unsupported protocol", "tls-version", "the two have no TLS version in common", "tls"),
    (r"no application protocol", "not-grpc", "the peer doesn't speak HTTP/2 there", "port"),
    (
        r"wrong version|packet length|http request|record layer",
        "not-tls",
        "no TLS is spoken there",
        "port",
    ),
    (r"unrecognized name|internal error", "peer-refused", "the peer broke the handshake off", "peer-log"),
)

_ALERT_ACTS: Final = {
    "own-ca": "is this end's CA in the roster that the peer has? (comity certs status, at both)",
    "own-expired": "renew it: comity certs renew; if it isn't over by this clock, compare both clocks",
    "own-revoked": "a new key and leaf: comity certs renew; find out first why it was revoked",
    "own": "judge it here first: comity certs status DIR --own",
    "from": "name the folder whose leaf is to be presented: --from DIR",
    "tls": "the peer must offer TLS 1.3; look for an appliance in between that ends TLS",
    "port": "is the port right? A broker's or gateway's `listen` names it",
    "peer-log": "look at the peer's log at this moment",
}


def judge_chain(
    chain: Sequence[bytes],
    *,
    member: MemberView,
    spiffe_id: str | None,
    dns_name: str,
    whose: str,
    now: datetime,
    revoked: RevokedOf = NOTHING_REVOKED,
) -> list[Finding]:
    """Return why ends would refuse `chain` as `member`'s; empty if they would take it.

    `spiffe_id` None: any of the member's. `dns_name`: the name by which gRPC dials it; empty for none.
    """
    try:
        revoked.check_chain(chain)
        leaf = verify_leaf(
            chain, ca_certificates=member.key_set.ca_certificates, spiffe_id=spiffe_id, now=now
        )
    except CertsError as error:
        return [explain(str(error), whose=whose)]
    if dns_name and dns_name not in leaf.dns_names:
        return [
            explain(
                f"leaf `{leaf.spiffe_id}` lacks the DNS name `{dns_name}`, by which it is dialled",
                whose=whose,
            )
        ]
    return []


def explain(said: str, *, whose: str) -> Finding:
    """Return what the verifier's words mean and what to do; `whose` is `own` or `peer`."""
    for words, code, meaning, act in _RULES:
        if re.search(words, said):
            act = {"renew": _RENEW, "issue": _ISSUE, "right": _RIGHT}.get(act, {}).get(whose, act)
            return Finding(code=code, whose=whose, text=f"{meaning} ({said})", act=act)
    return Finding(code="refused", whose=whose, text=f"it is refused ({said})", act=_ISSUE[whose])


def explain_alert(said: str) -> Finding:
    """Return what TLS's own words mean: an alert of the peer, or what this side's TLS made of its bytes."""
    lowered = said.lower().replace("_", " ")
    for words, code, meaning, act in _ALERTS:
        if re.search(words, lowered):
            whose = "own" if act.startswith("own") or act == "from" else "peer"
            return Finding(code=code, whose=whose, text=f"{meaning} ({lowered})", act=_ALERT_ACTS[act])
    return Finding(
        code="handshake", whose="peer", text=f"the handshake failed ({lowered})", act=_ALERT_ACTS["peer-log"]
    )


def shown(der: bytes) -> Shown:
    """Return a certificate for a person, whatever its shape; raise `CertificateRejected` if it is none."""
    certificate = load_certificate(der)
    return Shown(
        subject=_names(certificate) or certificate.subject.rfc4514_string() or "(no name)",
        issuer=certificate.issuer.rfc4514_string() or "(no name)",
        key=_key(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _names(certificate: x509.Certificate) -> str:
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ""
    found: list[str] = san.get_values_for_type(x509.UniformResourceIdentifier)
    return ", ".join([*found, *san.get_values_for_type(x509.DNSName)])


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, TypeError):
        return "unknown"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384"}.get(key.curve.name, key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")
