"""An agency's side: its identity, its CA, its ends, and the systems that may call its gateway.

::

    HOME/   agency.toml identity.pem ca.pem ca.key keyset.json application.json
            authority.json              the governing authority's keys, as pinned when the agency was set up
            gateway/ adapter/           what each end needs, and nothing of the other's
            idp/                        the identity provider for demonstrations, unless a real one is named
            agreements/                 agreements that both sides signed
            clients/NAME/               certificates of client systems

`identity.pem` signs the key set and agreements, and belongs offline once they are signed.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from comity.certs import words
from comity.certs.at_hand import federation_at_hand, places
from comity.certs.authority import OPERATOR, application
from comity.certs.ends import (
    LEAF_LIFETIME,
    EndKeys,
    Issuer,
    LogKeyMaker,
    key_set,
    make_end,
    make_issuer,
    make_leaf,
    refuse_existing,
)
from comity.certs.envelope import seal, to_json
from comity.certs.errors import KeyUnusable, SetupRefused
from comity.certs.files import read_public, require_at_hand, write_public
from comity.certs.identity_provider import DemoIdentityProvider
from comity.certs.jwks import es256_keys
from comity.certs.keys import SigningKey
from comity.certs.roster import AUTHORITY_FILE, AuthorityPin, Federation
from comity.certs.tomltext import TomlValue, settings
from comity.certs.x509 import load_ca
from comity.v1.federation_pb2 import IdentityProvider, Member

_STORE_EXAMPLE = """
# The stores that this end answers from, one table each; paths are relative to this file.
#
# [[store]]
# id = "reads"                       # its name in policies and logs
# class = "fixed"                    # fixed, mobile, covert ...: what the policy decides on
# kind = "csv"                       # or "sql", with `url` and `table` in the place of `path`
# path = "stores/reads.csv"
# time_format = "%Y-%m-%d %H:%M:%S"
# time_zone = "America/Los_Angeles"
#
# [store.columns]                    # field of a read = column of the store
# read_id = "id"
# plate = "plate"
# state = "state"
# captured_at = "read_time"
# latitude = "lat"
# longitude = "lon"
#
# [store.defaults]
# country = "US"
"""


_MADE = ("agency.toml", "identity.pem", "ca.pem", "ca.key", "gateway", "adapter", "idp")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnIdentityProvider:
    """A real identity provider that an agency brings: issuer and keys."""

    issuer: str
    """`iss` of its assertions: an https URL."""
    jwks: bytes = field(repr=False)
    """Its public keys, an RFC 7517 JWK set with an ES256 key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencySpec:
    """What an agency is set up with; raises `SetupRefused` for a value that can't be."""

    agency: str
    home: Path
    """The folder to make it in."""
    kind: str
    """`federal`, `state`, `local` or `commercial`."""
    domain: str
    name: str
    contact: str
    state: str = ""
    asks: bool = False
    provides: bool = False
    public: Path
    """The federation's public folder."""
    pin: AuthorityPin | None = None
    """The governing authority's keys as they came out of band; None: those in the public folder."""
    broker: str
    """`host:port` of the broker."""
    gateway_listen: str = "127.0.0.1:7443"
    """Where the gateway listens for the agency's own systems."""
    leaf_lifetime: timedelta = LEAF_LIFETIME
    identity_provider: OwnIdentityProvider | None = None
    """None: one for demonstrations is made, if the agency asks."""

    def __post_init__(self) -> None:
        try:
            words.agency_id(self.agency)
            words.kind(self.kind)
            words.domain(self.domain)
            words.line(self.name, "name")
            words.line(self.contact, "contact")
            words.state(self.state)
            words.address(self.broker, "broker")
            words.address(self.gateway_listen, "gateway listen")
            if self.identity_provider is not None:
                words.issuer(self.identity_provider.issuer)
                es256_keys(self.identity_provider.jwks)
        except (ValueError, KeyUnusable) as error:
            raise SetupRefused(f"agency: {error}") from error
        if self.agency == OPERATOR:
            raise SetupRefused(f"agency: agency id `{OPERATOR}` is the operator's")
        if not self.asks and not self.provides:
            raise SetupRefused("agency: it neither asks nor provides, expected one or both")
        if not timedelta(0) < self.leaf_lifetime <= timedelta(days=3650):
            raise SetupRefused("agency: leaf lifetime, expected more than 0 and at most 3,650 days")


def init_agency(spec: AgencySpec, now: datetime, *, make_log_key: LogKeyMaker) -> bytes:
    """Make an agency's folder and return its application for membership, which also lies in it.

    The published roster tells the broker's name and is verified on the way. Raises `SetupRefused` if
    something stands there already, `RosterInvalid` and `FileUnusable` for what is published.
    """
    home = spec.home
    refuse_existing(home / name for name in _MADE)
    pin = spec.pin or AuthorityPin.load(spec.public / AUTHORITY_FILE)
    federation = Federation.load(spec.public, now=now, pin=pin)
    identity = SigningKey.generate()
    identity.save(home / "identity.pem")
    write_public(home / AUTHORITY_FILE, pin.to_json())
    issuer = make_issuer(home, domain=spec.domain, now=now)
    ends = [
        _make_end(spec, role, federation, issuer, now, make_log_key)
        for role, runs in (("gateway", spec.asks), ("adapter", spec.provides))
        if runs
    ]
    keys = key_set(
        agency=spec.agency,
        issuer=issuer,
        ends=ends,
        identity_providers=[_identity_provider(spec)] if spec.asks else [],
        now=now,
    )
    signed = seal(keys, identity)
    write_public(home / "keyset.json", to_json(signed))
    (home / "agreements").mkdir(exist_ok=True)
    write_public(home / "agency.toml", _profile(spec).encode())
    entry = Member(
        agency=spec.agency,
        display_name=spec.name,
        kind=f"AGENCY_KIND_{spec.kind.upper()}",
        domain=spec.domain,
        state=spec.state,
        contact=spec.contact,
        identity_key=identity.public.der,
        key_set=signed.SerializeToString(),
        asks=spec.asks,
        provides=spec.provides,
    )
    applied = application(entry, identity)
    write_public(home / "application.json", applied)
    return applied


def _make_end(
    spec: AgencySpec,
    role: str,
    federation: Federation,
    issuer: Issuer,
    now: datetime,
    make_log_key: LogKeyMaker,
) -> EndKeys:
    """Make one end's home: keys and configuration."""
    home = spec.home / role
    found = make_end(
        home,
        role=role,
        issuer=issuer,
        now=now,
        leaf_lifetime=spec.leaf_lifetime,
        make_log_key=make_log_key,
    )
    values: dict[str, TomlValue] = {"agency": spec.agency}
    if role == "gateway":
        values["listen"] = spec.gateway_listen
    values |= {
        "broker": spec.broker,
        "broker_name": f"broker.{federation.operator.domain}",
        "authority": f"../{AUTHORITY_FILE}",
        "public": os.path.relpath(spec.public.resolve(), home.resolve()),
        "agreements": "../agreements",
    }
    text = settings(values)
    if role == "adapter":
        (home / "policy").mkdir()
        (home / "stores").mkdir()
        text += settings({"policy": "policy"}) + _STORE_EXAMPLE
    write_public(home / f"{role}.toml", text.encode())
    return found


def _identity_provider(spec: AgencySpec) -> IdentityProvider:
    """Return who issues assertions for the agency; make a provider for demonstrations if it brings none."""
    own = spec.identity_provider
    if own is not None:
        return IdentityProvider(issuer=own.issuer, jwks=own.jwks)
    made = DemoIdentityProvider.create(
        spec.home / "idp", agency=spec.agency, issuer=f"https://login.{spec.domain}"
    )
    return IdentityProvider(issuer=made.issuer, jwks=made.jwks)


def _profile(spec: AgencySpec) -> str:
    """Return `agency.toml`: what later commands need to know of the agency."""
    return settings(
        {
            "agency": spec.agency,
            "name": spec.name,
            "kind": spec.kind,
            "domain": spec.domain,
            "state": spec.state,
            "contact": spec.contact,
            "asks": spec.asks,
            "provides": spec.provides,
            "public": os.path.relpath(spec.public.resolve(), spec.home.resolve()),
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyHome:
    """An agency's folder, as its own commands use it."""

    home: Path
    agency: str
    domain: str
    public: Path
    """The federation's public folder."""

    @classmethod
    def load(cls, home: Path) -> AgencyHome:
        """Open an agency's folder; raise `SetupRefused` or `FileUnusable` if it isn't one."""
        path = home / "agency.toml"
        try:
            found = tomllib.loads(read_public(path).decode())
            agency, domain = words.agency_id(str(found.get("agency"))), words.domain(str(found.get("domain")))
            public = home / words.line(str(found.get("public", "")), "public")
        except ValueError as error:
            raise SetupRefused(f"file `{path}`: {error}") from error
        return cls(home=home, agency=agency, domain=domain, public=public)

    @property
    def agreements(self) -> Path:
        """The folder of agreements that both sides signed."""
        return self.home / "agreements"

    def federation(self, now: datetime, public: Path | None = None) -> Federation:
        """Return the newest roster at hand (or that in `public`), against the pin that the agency keeps.

        It lies in the agency's public folder, or with an end to which the broker brought it. Raises
        `RosterInvalid` and `RosterExpired`, `FileUnusable`.
        """
        pin = AuthorityPin.load(self.home / AUTHORITY_FILE)
        ends = (self.home / role for role in ("gateway", "adapter"))
        folders = places(self.public, ends) if public is None else (public,)
        return federation_at_hand(folders, pin=pin, now=now)

    def identity(self, *, option: str = "") -> SigningKey:
        """Return the identity key, which is offline when it isn't needed; raises as `SigningKey.load`.

        `option`: that of the command which names another file.
        """
        path = self.home / "identity.pem"
        require_at_hand(path, f"the identity key of `{self.agency}`", option=option)
        return SigningKey.load(path)

    def identity_provider(self) -> DemoIdentityProvider:
        """Return the identity provider for demonstrations; raise `SetupRefused` if the agency has its own."""
        if not (self.home / "idp").is_dir():
            raise SetupRefused(
                f"agency `{self.agency}` has no identity provider in `{self.home / 'idp'}`: it brings its own"
            )
        return DemoIdentityProvider(self.home / "idp")

    def add_client(
        self, name: str, *, gateway: str, now: datetime, lifetime: timedelta = LEAF_LIFETIME
    ) -> Path:
        """Issue a certificate to the client system `name` and return the path of its `client.toml`.

        Raises `SetupRefused` for a bad value or if the client is there already; what `load_ca` raises.
        """
        try:
            words.short_name(name, "client name")
            words.address(gateway, "gateway")
        except ValueError as error:
            raise SetupRefused(f"client: {error}") from error
        folder = self.home / "clients" / name
        refuse_existing([folder / "leaf.key"])
        certificate, key = load_ca(self.home / "ca.pem", self.home / "ca.key")
        issuer = Issuer(domain=self.domain, certificate=certificate, key=key)
        make_leaf(folder, path=f"system/{name}", issuer=issuer, now=now, lifetime=lifetime)
        values: dict[str, TomlValue] = {
            "gateway": gateway,
            "gateway_name": f"gateway.{self.domain}",
            "leaf": "leaf.pem",
            "key": "leaf.key",
            "ca": "../../ca.pem",
        }
        if (self.home / "idp").is_dir():
            values["agency_home"] = "../.."
        write_public(folder / "client.toml", settings(values).encode())
        return folder / "client.toml"
