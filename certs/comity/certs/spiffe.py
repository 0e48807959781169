"""SPIFFE ids: the names in certificates, in the one spelling that is accepted.

The SPIFFE ID specification (section 2) forbids what URIs otherwise allow: other case in the trust
domain, ports, user info, queries, percent-encoding, empty segments. Libraries that check
certificates accept most of it, so names are compared as text, byte for byte, after passing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from comity.certs.errors import CertificateRejected

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME: Final = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+$){_LABEL}")
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._-]+)+")
_MAX_DNS_NAME: Final = 253
_MAX_ID: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeId:
    """A SPIFFE id, `spiffe://<domain><path>`; raises `CertificateRejected` if its parts can't be one."""

    domain: str
    """The trust domain: an agency's (or the operator's) DNS name, lower case, two labels or more."""
    path: str
    """The path with its leading slash, such as `/gateway` or `/system/desk`."""

    def __post_init__(self) -> None:
        if not is_dns_name(self.domain):
            raise CertificateRejected(f"trust domain {self.domain[:300]!a} is not a lower-case DNS name")
        segments = self.path.split("/")[1:]
        if _PATH.fullmatch(self.path) is None or {".", ".."} & set(segments):
            raise CertificateRejected(
                f"path {self.path[:300]!a} of a SPIFFE id: expected `/` and letters, digits, `.`, `-`, `_`"
            )
        if len(str(self)) > _MAX_ID:
            raise CertificateRejected(f"SPIFFE id is longer than {_MAX_ID} bytes")

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Return the id that `text` spells; raise `CertificateRejected` for any other spelling."""
        scheme, separator, rest = text.partition("://")
        if scheme != "spiffe" or not separator:
            raise CertificateRejected(f"{text[:300]!a} is not a SPIFFE id, expected `spiffe://domain/path`")
        domain, slash, path = rest.partition("/")
        return cls(domain=domain, path=slash + path)

    def __str__(self) -> str:
        return f"spiffe://{self.domain}{self.path}"


def is_dns_name(name: str) -> bool:
    """Return whether `name` is a lower-case DNS name of two labels or more, without wildcard or final dot.

    An IPv4 address is none: the last label of a name isn't a number.
    """
    return len(name) <= _MAX_DNS_NAME and _DNS_NAME.fullmatch(name) is not None


def is_within(name: str, domain: str) -> bool:
    """Return whether DNS name `name` is `domain` or below it."""
    return name == domain or name.endswith(f".{domain}")
