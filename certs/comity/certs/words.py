"""What may stand in the plain fields of documents: agency ids, domains, lines for people, addresses.

Ids become file names, SPIFFE paths and log fields; domains become name constraints. So each has one
spelling, and anything else is refused where it enters, with what would have been right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_AGENCY: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,31}", re.ASCII)
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,64}}\Z){_LABEL}(?:\.{_LABEL})+", re.ASCII)
_STATE: Final = re.compile(r"[A-Z0-9]{1,3}", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_ADDRESS: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})", re.ASCII)

MAX_LINE: Final = 300
"""Characters of a line for people."""

AGENCY_KINDS: Final = ("federal", "state", "local", "commercial")
"""Kinds of a member, in the words of the command line and of policies."""


def agency_id(value: str, what: str = "agency id") -> str:
    """Return `value` if it is an agency id: 2 to 32 of `a`–`z`, `0`–`9`, `-`; else raise `ValueError`."""
    return _matched(_AGENCY, value, what, "2 to 32 of `a`-`z`, `0`-`9` and `-`, not beginning with `-`")


def domain(value: str, what: str = "domain") -> str:
    """Return `value` if it is a host name of two labels or more, in lower case; else raise `ValueError`."""
    return _matched(
        _DOMAIN, value, what, "a domain in lower case, at most 64 characters, such as `cbp.example`"
    )


def state(value: str, what: str = "state") -> str:
    """Return `value` if it is empty or the part of ISO 3166-2 after the dash; else raise `ValueError`."""
    return value and _matched(_STATE, value, what, "the part of ISO 3166-2 after the dash such as `CA`")


def short_name(value: str, what: str) -> str:
    """Return `value` if it can name a user, a system or a document; else raise `ValueError`."""
    return _matched(
        _NAME, value, what, "1 to 64 of `a`-`z`, `0`-`9`, `.`, `_`, `-`, beginning with a letter or digit"
    )


def line(value: str, what: str, *, empty: bool = False) -> str:
    """Return `value` if it is one printable line, not too long; else raise `ValueError`."""
    if not value and empty:
        return value
    if not value.strip() or len(value) > MAX_LINE or not value.isprintable():
        raise ValueError(
            f"{what} `{ascii(value)[1:-1][:60]}`: expected one printable line of 1 to {MAX_LINE} characters"
        )
    return value


def lines(values: Iterable[str], what: str) -> tuple[str, ...]:
    """Return `values`, each of them a `line`; else raise `ValueError`."""
    return tuple(line(value, what) for value in values)


def kind(value: str, what: str = "kind") -> str:
    """Return `value` if it is one of `AGENCY_KINDS`; else raise `ValueError`."""
    if value not in AGENCY_KINDS:
        raise ValueError(f"{what} `{ascii(value)[1:-1][:60]}`: expected one of {', '.join(AGENCY_KINDS)}")
    return value


def address(value: str, what: str = "address") -> str:
    """Return `value` if it is `host:port` with a port from 0 to 65535; else raise `ValueError`."""
    found = _ADDRESS.fullmatch(value)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"{what} `{ascii(value)[1:-1][:60]}`: expected HOST:PORT such as `127.0.0.1:7400`")
    return value


def issuer(value: str, what: str = "issuer") -> str:
    """Return `value` if it is an https URL without query or fragment; else raise `ValueError`."""
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?", value, re.ASCII):
        raise ValueError(
            f"{what} `{ascii(value)[1:-1][:60]}`: expected an https URL such as `https://login.cbp.example`"
        )
    return value


def _matched(pattern: re.Pattern[str], value: str, what: str, expected: str) -> str:
    """Return `value` if all of it matches `pattern`."""
    if pattern.fullmatch(value) is None:
        raise ValueError(f"{what} `{ascii(value)[1:-1][:60]}`: expected {expected}")
    return value
