"""A small identity provider for demonstrations and tests: it issues subject assertions for a folder of users.

A real agency names its own provider in its key set (issuer and JWK set) and doesn't use this one. It
stands in one folder: `idp.toml` (agency, issuer), `idp.key`, `users.toml`, and `rules.txt`, the rules of
behaviour that a user accepts at each logon; their digest goes into the assertion.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from pathlib import Path
from typing import Final

import jwt

from comity.certs import words
from comity.certs.claims import ALGORITHM, AUDIENCE, certificate_thumbprint, to_base64url
from comity.certs.errors import SetupRefused
from comity.certs.files import read_private, read_public, write_private, write_public
from comity.certs.instants import require_aware
from comity.certs.jwks import to_jwks
from comity.certs.keys import SigningKey
from comity.certs.tomltext import settings, to_toml

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
"""A value in JSON."""

ASSERTION_LIFETIME: Final = timedelta(minutes=5)
"""How long an assertion lives unless told otherwise."""

CONFIGURATION_FILE: Final = "idp.toml"
"""Agency and issuer."""
KEY_FILE: Final = "idp.key"
"""The private key that signs assertions."""
NEXT_KEY_FILE: Final = "idp-next.key"
"""The private key that is to follow, while it is being announced."""
USERS_FILE: Final = "users.toml"
"""The users."""
RULES_FILE: Final = "rules.txt"
"""The rules of behaviour."""

DEFAULT_RULES: Final = """\
Rules of behaviour for asking other agencies about a licence plate

By logging on I affirm, for this session:

1. I am employed by my agency and in good standing, my access was approved by my manager, and I was
   trained before I got it and within the last year. (Q4; ICE guidance A and H; MOA II.A)
2. I ask only for an authorized law-enforcement purpose that is tied to an ongoing investigation, target
   or enforcement activity, and I state the plate, the period, the true reason and the case. (Q1 to Q4)
3. I never ask solely because of somebody's race, ethnicity, gender, national origin, religion, sexual
   orientation or gender identity, nor solely to monitor activity that the Constitution protects, unless
   law and policy authorize it; I keep to the policy on sensitive locations. (Q9; ICE guidance D and E)
4. I take no action on an answer alone: I compare the plate with the image, check other sources, and
   weigh the record's quality and age. That there is no answer proves nothing. (A5; ICE guidance A)
5. I keep only what my case needs, in its case file, and pass it on only as its marking and the agreement
   allow. I report errors and mismatches at once. (A4, A7, D3; MOU 6.4; MOA III)
6. What I ask is recorded at my agency and at every agency that I ask, and I may be audited. (L1, L2)
"""
"""Used unless an agency brings its own text."""

_TOP_LEVEL: Final = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf", "comity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of an agency, as its identity provider knows them. Its repr names nobody."""

    user: str
    """1 to 64 of `a`-`z`, `0`-`9`, `.`, `_`, `-`."""
    office: str = ""
    """For example `ERO`; may be empty."""
    roles: tuple[str, ...] = ()
    trained_on: Date
    """The day of the last training (Q4)."""
    duty_station: str = ""
    """May be empty."""
    good_standing: bool = True
    """Whether employed and in good standing (Q4)."""
    account_reviewed_on: Date | None = None
    """The day on which the agency last reviewed the account (L9); None: never."""

    def __post_init__(self) -> None:
        words.short_name(self.user, "user")
        words.line(self.office, "office", empty=True)
        words.lines(self.roles, "role")
        words.line(self.duty_station, "duty station", empty=True)

    def __repr__(self) -> str:
        return "User(…)"


class DemoIdentityProvider:
    """The identity provider in one folder; for demonstrations and tests, not for an agency's people."""

    def __init__(self, folder: Path) -> None:
        """Open the provider in `folder`.

        Raises `SetupRefused` if its settings are unusable, `FileUnusable`, `FileExposed` or `KeyUnusable`
        for its files.
        """
        self._folder = folder
        found = _read_toml(folder / CONFIGURATION_FILE, read_public(folder / CONFIGURATION_FILE))
        agency, issuer = found.get("agency"), found.get("issuer")
        if not isinstance(agency, str) or not isinstance(issuer, str):
            raise SetupRefused(f"file `{folder / CONFIGURATION_FILE}`: expected `agency` and `issuer`")
        self._agency = agency
        self._issuer = issuer
        self._key = SigningKey.load(folder / KEY_FILE)

    @classmethod
    def create(
        cls, folder: Path, *, agency: str, issuer: str, rules: str = DEFAULT_RULES
    ) -> DemoIdentityProvider:
        """Make a provider with a fresh key and no users; raise `SetupRefused` if one stands there already."""
        if (folder / KEY_FILE).exists():
            raise SetupRefused(f"identity provider: `{folder / KEY_FILE}` is there already")
        try:
            values = {"agency": words.agency_id(agency), "issuer": words.issuer(issuer)}
        except ValueError as error:
            raise SetupRefused(f"identity provider: {error}") from error
        SigningKey.generate().save(folder / KEY_FILE)
        write_private(folder / USERS_FILE, b"")
        write_public(folder / RULES_FILE, rules.encode())
        write_public(folder / CONFIGURATION_FILE, settings(values).encode())
        return cls(folder)

    @property
    def agency(self) -> str:
        """The agency that vouches."""
        return self._agency

    @property
    def issuer(self) -> str:
        """`iss` of its assertions."""
        return self._issuer

    @property
    def jwks(self) -> bytes:
        """Its public key as a JWK set, and the one that is to follow, if there is one."""
        following = self.following
        keys = (self._key, *((following,) if following is not None else ()))
        return to_jwks({key.key_id: key.public for key in keys})

    @property
    def following(self) -> SigningKey | None:
        """The key that is to follow; None while none is announced."""
        path = self._folder / NEXT_KEY_FILE
        return SigningKey.load(path) if path.exists() else None

    def prepare_next(self) -> None:
        """Make the key that is to follow, unless there is one: announce it before it signs."""
        if self.following is None:
            SigningKey.generate().save(self._folder / NEXT_KEY_FILE)

    def use_next(self) -> None:
        """Sign with the key that was to follow, from now on; raise `SetupRefused` if there is none."""
        following = self.following
        if following is None:
            raise SetupRefused(f"identity provider: there is no `{self._folder / NEXT_KEY_FILE}`")
        (self._folder / NEXT_KEY_FILE).replace(self._folder / KEY_FILE)
        self._key = following

    @property
    def rules(self) -> str:
        """The text of the rules of behaviour."""
        return read_public(self._folder / RULES_FILE).decode(errors="replace")

    def users(self) -> Mapping[str, User]:
        """Return the users by name; raise `SetupRefused` if their file is malformed."""
        path = self._folder / USERS_FILE
        table = _read_toml(path, read_private(path)).get("users", {})
        if not isinstance(table, dict):
            raise SetupRefused(f"file `{path}`: expected tables `[users.NAME]`")
        return {name: _user(name, entry, path) for name, entry in table.items()}

    def add_user(self, user: User) -> None:
        """Add `user`, or put it in the place of the one of that name."""
        users = {**self.users(), user.user: user}
        text = "\n".join(_to_toml(entry) for _, entry in sorted(users.items()))
        write_private(self._folder / USERS_FILE, text.encode())

    def issue(
        self,
        user: str,
        certificate_der: bytes,
        now: datetime,
        lifetime: timedelta = ASSERTION_LIFETIME,
        **overrides: JsonValue,
    ) -> str:
        """Return an assertion for `user`, who accepts the rules at `now`, bound to a client's certificate.

        `overrides` replace claims by name, at the top level or else within `comity`; None leaves one out.
        They are for tests: nothing stops them from making an assertion that no verifier accepts. Raises
        `SetupRefused` for a user it doesn't know, `CertificateRejected` if there is no certificate.
        """
        known = self.users().get(user)
        if known is None:
            raise SetupRefused(
                f"this user is not in `{self._folder / USERS_FILE}`: add it with `comity agency user`"
            )
        issued_at = int(require_aware(now).timestamp())
        subject: dict[str, JsonValue] = {
            "agency": self._agency,
            "office": known.office,
            "duty_station": known.duty_station,
            "roles": list(known.roles),
            "trained_at": _at_start(known.trained_on),
            "rules_accepted_at": issued_at,
            "rules_digest": to_base64url(hashlib.sha256(self.rules.encode()).digest()),
            "good_standing": known.good_standing,
            "protections_attested": True,
            "account_reviewed_at": _at_start(known.account_reviewed_on),
        }
        claims: dict[str, JsonValue] = {
            "iss": self._issuer,
            "sub": known.user,
            "aud": AUDIENCE,
            "iat": issued_at,
            "exp": issued_at + int(lifetime.total_seconds()),
            "jti": secrets.token_hex(16),
            "cnf": {"x5t#S256": certificate_thumbprint(certificate_der)},
            "comity": subject,
        }
        for name, value in overrides.items():
            (claims if name in _TOP_LEVEL else subject)[name] = value
        claims["comity"] = _without_none(subject) if claims["comity"] is subject else claims["comity"]
        payload = json.dumps(_without_none(claims), separators=(",", ":")).encode()
        return jwt.PyJWS().encode(payload, self._key.pem, ALGORITHM, headers={"kid": self._key.key_id})


def _at_start(day: Date | None) -> int | None:
    """Return the first instant of a day in UTC, in seconds since 1970."""
    return None if day is None else int(datetime.combine(day, time(), UTC).timestamp())


def _without_none(values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return `values` without those that are None."""
    return {name: value for name, value in values.items() if value is not None}


def _read_toml(path: Path, data: bytes) -> dict[str, object]:
    """Return the TOML document in `data`; raise `SetupRefused`, naming the file."""
    try:
        return tomllib.loads(data.decode())
    except ValueError as error:
        raise SetupRefused(f"file `{path}` is not TOML: {error}") from error


def _user(name: str, entry: object, path: Path) -> User:
    """Return one user of the file; raise `SetupRefused`, naming the setting and not the value."""
    if not isinstance(entry, dict):
        raise SetupRefused(f"file `{path}`: expected tables `[users.NAME]`")
    trained_on, roles = entry.get("trained_on"), entry.get("roles", [])
    standing = entry.get("good_standing", True)
    if not isinstance(trained_on, Date) or isinstance(trained_on, datetime):
        raise SetupRefused(f"file `{path}`: a user's `trained_on` is not a date such as 2026-01-31")
    reviewed_on = entry.get("account_reviewed_on")
    if reviewed_on is not None and (not isinstance(reviewed_on, Date) or isinstance(reviewed_on, datetime)):
        raise SetupRefused(f"file `{path}`: a user's `account_reviewed_on` is not a date such as 2026-01-31")
    if not isinstance(roles, list) or not isinstance(standing, bool):
        raise SetupRefused(
            f"file `{path}`: a user's `roles` is not a list or `good_standing` not true or false"
        )
    try:
        return User(
            user=name,
            office=str(entry.get("office", "")),
            roles=tuple(map(str, roles)),
            trained_on=trained_on,
            duty_station=str(entry.get("duty_station", "")),
            good_standing=standing,
            account_reviewed_on=reviewed_on,
        )
    except ValueError as error:
        raise SetupRefused(f"file `{path}`: {error}") from error


def _to_toml(user: User) -> str:
    """Return one user as a TOML table."""
    values = settings(
        {
            "office": user.office,
            "roles": user.roles,
            "duty_station": user.duty_station,
            "good_standing": user.good_standing,
        }
    )
    if user.account_reviewed_on is not None:
        values += f"account_reviewed_on = {user.account_reviewed_on.isoformat()}\n"
    return f"[users.{to_toml(user.user)}]\n{values}trained_on = {user.trained_on.isoformat()}\n"
