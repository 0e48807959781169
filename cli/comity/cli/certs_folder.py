"""What a folder shows of certificates and keys, whosever it is."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from comity.certs.agency import AgencyHome
from comity.certs.authority import OPERATOR
from comity.certs.delivered import DELIVERED_FOLDER
from comity.certs.diagnosis import Finding, explain
from comity.certs.errors import CertsError, SetupRefused
from comity.certs.files import read_public
from comity.certs.holdings import (
    Held,
    held_by_agency,
    held_by_authority,
    held_by_end,
    issuing_ca,
    leaf_in,
    marked,
    newest,
)
from comity.certs.instants import CLOCK_SKEW
from comity.certs.inventory import Credential, Kind, of_federation, of_pin
from comity.certs.jwks_source import IDENTITY_PROVIDER, parse_identity_provider
from comity.certs.key_changes import EndFolder
from comity.certs.keys import SigningKey
from comity.certs.members import MemberView
from comity.certs.pairs import LeafPair
from comity.certs.profile import check_leaf, load_certificate
from comity.certs.published_keys import judged, load_published
from comity.certs.revocations import NOTHING_REVOKED, Revoked, RevokedOf, key_digest
from comity.certs.roster import AUTHORITY_FILE, ROSTER_FILE, AuthorityPin, Federation
from comity.certs.x509 import split_pem
from comity.cli.certs_acceptances import with_acceptances

ROLES = ("gateway", "adapter", "broker")
SYSTEM = "system"
"""What an agency's client system is called in its SPIFFE id, before its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a folder shows."""

    credentials: tuple[Credential, ...]
    findings: tuple[str, ...]
    """What is wrong with the roster itself."""
    ends: tuple[Path, ...]
    """The ends' folders among it, whose logs tell of uses."""
    agency: str = ""
    """Whose folder it is; empty: nobody's in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Where a folder keeps what is looked at."""

    agency: str
    public: Path | None
    pin: Path | None
    holder: Path | None = None
    """The folder with identity key and CA."""
    authority_keys: Path | None = None
    ends: tuple[Path, ...] = ()
    clients: tuple[Path, ...] = ()

    @property
    def agreements(self) -> Path | None:
        """Where the agency's agreements lie, if there is one."""
        home = self.holder or (self.ends[0].parent if self.ends else None)
        folder = None if home is None else home / "agreements"
        return folder if folder is not None and folder.is_dir() else None

    @property
    def rosters(self) -> tuple[Path, ...]:
        """Where a roster may lie: published, or brought by the broker over an end's link."""
        public = (self.public,) if self.public is not None else ()
        brought = (home / DELIVERED_FOLDER for home in self.ends)
        return (*public, *(folder for folder in brought if folder.is_dir()))


def look_at(folder: Path, *, pin: Path | None, now: datetime) -> Seen:
    """Return what `folder` shows; raise `SetupRefused` if it is none of the folders that are known."""
    places = _places(folder)
    findings: list[str] = []
    federation: Federation | None = None
    rows: list[Credential] = []
    try:
        pin = pin or places.pin
        trusted = AuthorityPin.load(pin) if pin is not None else None
        if trusted is not None and places.public is not None:
            federation, trusted = newest(places.rosters, trusted, now=now, refused=findings)
            rows += [*of_pin(trusted), *of_federation(federation, now=now)]
        elif trusted is not None:
            rows += of_pin(trusted)
    except CertsError as error:
        findings.append(f"roster: {error}")
    member = _member(federation, places.agency)
    if federation is not None and places.agency and member is None:
        findings.append(f"roster: version {federation.version} has no member `{places.agency}`")
    held: list[Held] = []
    own: list[Credential] = []
    for item in _own(places, member, NOTHING_REVOKED if member is None else member.revoked, now):
        if isinstance(item, Held):
            held.append(item)
        else:
            own.append(item)
    rows = [*own, *marked(rows, held, known=federation is not None)]
    if member is not None:
        for home in places.ends:
            rows = _as_published(home, rows, member, findings, now)
    if federation is not None:
        rows = with_acceptances(rows, places.agreements, federation, agency=places.agency, now=now)
    return Seen(credentials=tuple(rows), findings=tuple(findings), ends=places.ends, agency=places.agency)


def _places(folder: Path) -> _Places:
    if (folder / "agency.toml").is_file():
        agency = AgencyHome.load(folder)
        return _Places(
            agency=agency.agency,
            public=agency.public,
            pin=folder / AUTHORITY_FILE,
            holder=folder,
            ends=tuple(folder / role for role in ROLES if (folder / role / f"{role}.toml").is_file()),
            clients=tuple(sorted(path.parent for path in (folder / "clients").glob("*/client.toml"))),
        )
    if any((folder / f"{role}.toml").is_file() for role in ROLES):
        end = EndFolder.load(folder)
        return _Places(agency=end.agency, public=end.public, pin=end.authority, ends=(folder,))
    if (folder / "broker" / "broker.toml").is_file():
        end = EndFolder.load(folder / "broker")
        return _Places(
            agency=OPERATOR, public=end.public, pin=end.authority, holder=folder, ends=(folder / "broker",)
        )
    if (folder / "client.toml").is_file():
        return _Places(agency="", public=None, pin=None, clients=(folder,))
    if (folder / ROSTER_FILE).is_file():
        return _Places(agency="", public=folder, pin=folder / AUTHORITY_FILE)
    for authority in (folder / "authority", folder):
        if (authority / AUTHORITY_FILE).is_file() and (authority / "keys").is_dir():
            public = authority.parent / "public"
            return _Places(
                agency="",
                public=public if (public / ROSTER_FILE).is_file() else None,
                pin=authority / AUTHORITY_FILE,
                authority_keys=authority / "keys",
            )
    raise SetupRefused(
        f"`{folder}`: expected the folder of an agency (agency.toml), an end (gateway.toml, adapter.toml, "
        "broker.toml), the operator, a client system (client.toml), the authority, or a published roster "
        f"({ROSTER_FILE})"
    )


def _member(federation: Federation | None, agency: str) -> MemberView | None:
    if federation is None or not agency:
        return None
    return federation.operator if agency == OPERATOR else federation.members.get(agency)


def _own(
    places: _Places, member: MemberView | None, revoked: RevokedOf, now: datetime
) -> Iterator[Held | Credential]:
    """Yield what lies in the folder itself, an end's first."""
    domain = member.domain if member is not None else _domain(places)
    issuing: set[tuple[Kind, str]] = set()
    for home in places.ends:
        role = EndFolder.load(home).role
        yield from held_by_end(
            home, owner=places.agency, role=role, domain=domain, member=member, revoked=revoked, now=now
        )
        for found in issuing_ca(home, role=role, owner=places.agency, now=now):
            if (found.kind, found.name) not in issuing:  # one for both ends
                issuing.add((found.kind, found.name))
                yield found
    for home in places.clients:
        owner = places.agency or "client"
        yield leaf_in(home, owner=owner, name=home.name, member=member, revoked=revoked, now=now)
    kept: Iterable[Held | Credential] = ()
    if places.holder is not None:
        kept = held_by_agency(places.holder, owner=places.agency)
    if places.authority_keys is not None:
        kept = itertools.chain(kept, held_by_authority(places.authority_keys))
    yield from kept


def _as_published(
    home: Path, rows: list[Credential], member: MemberView, findings: list[str], now: datetime
) -> list[Credential]:
    """Return the rows as the agency's identity provider publishes its keys, if a gateway follows that."""
    try:
        configured = tomllib.loads(read_public(home / "gateway.toml").decode()) if _is_gateway(home) else {}
        settings = parse_identity_provider(configured.get(IDENTITY_PROVIDER), home=home)
        if settings is None:
            return rows
        published = load_published(home, source=settings.source)
    except (CertsError, ValueError) as error:
        findings.append(f"identity provider: {error}")
        return rows
    return list(judged(rows, published, member=member, source=settings.source, now=now))


def _is_gateway(home: Path) -> bool:
    return (home / "gateway.toml").is_file()


def _domain(places: _Places) -> str:
    """Return the domain without a roster: as the agency says, or as its leaf does; else empty."""
    try:
        if places.holder is not None and (places.holder / "agency.toml").is_file():
            found = tomllib.loads(read_public(places.holder / "agency.toml").decode())
            return str(found.get("domain", ""))
        leaf = split_pem(read_public(places.ends[0] / "keys" / "leaf.pem"))[0]
        return check_leaf(load_certificate(leaf)).spiffe_id.domain
    except (CertsError, ValueError, IndexError):
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standpoint:
    """Who dials, from a folder: its leaf, its roster, whom it dials."""

    pair: LeafPair | None
    """What it presents; None: nothing."""
    federation: Federation | None
    """Whom it knows; None: nobody."""
    dials: str
    """The SPIFFE id of whom it dials; empty: nobody in particular."""
    faults: tuple[Finding, ...]
    """What is wrong with its leaf's files or its roster."""
    member: MemberView | None = None
    """Whose folder it is, as the roster has it; None: not known."""
    role: str = ""
    """Which end it is, or `SYSTEM`; empty: nobody in particular."""
    statement_revoked: Revoked | None = None
    """Since when the end's own statement key is revoked; None: it isn't, or there is none."""


def standpoint(folder: Path, *, now: datetime) -> Standpoint:
    """Return how the network looks from `folder`; raise `SetupRefused` if it is none that is known.

    An agency's folder dials as its first end, a client system its agency's gateway, an end the broker. A
    client system in an agency's folder has that agency's roster.
    """
    client = (folder / "client.toml").is_file()
    above = folder.parent.parent
    at_home = client and (above / "agency.toml").is_file()
    places = _places(above if at_home else folder)
    faults: list[Finding] = []
    federation = None
    if places.pin is not None and places.public is not None:
        try:
            federation, _ = newest(places.rosters, AuthorityPin.load(places.pin), now=now)
        except CertsError as error:
            faults.append(_roster_fault(str(error)))
    if federation is not None:
        faults += _aged(federation, now)
    keys = folder if client else places.ends[0] / "keys" if places.ends else None
    pair = None
    if keys is not None:
        try:
            pair = LeafPair.load(keys)
        except CertsError as error:
            faults.append(explain(str(error), whose="own"))
    member = _member(federation, places.agency)
    dials = ""
    if client and pair is not None:
        dials = f"spiffe://{pair.domain}/gateway"
    elif keys is not None and federation is not None and places.agency != OPERATOR:
        dials = federation.operator.spiffe_id("broker")
    return Standpoint(
        pair=pair,
        federation=federation,
        dials=dials,
        faults=tuple(faults),
        member=member,
        statement_revoked=None if client or keys is None else _statement_revoked(keys, member),
        role=SYSTEM if client else EndFolder.load(places.ends[0]).role if places.ends else "",
    )


def _statement_revoked(keys: Path, member: MemberView | None) -> Revoked | None:
    """Return since when the statement key in an end's `keys/` is revoked."""
    if member is None:
        return None
    try:
        return member.revoked.public_keys.get(key_digest(SigningKey.load(keys / "statement.key").public.der))
    except CertsError:  # `comity certs status` tells; a handshake needs none
        return None


def _roster_fault(said: str) -> Finding:
    return Finding(
        code="roster",
        whose="own",
        text=f"the roster here is not to be trusted ({said})",
        act="fetch the published folder anew; compare the authority's keys with those you got out of band",
    )


def _aged(federation: Federation, now: datetime) -> Iterator[Finding]:
    if now >= federation.trusted_until:
        yield Finding(
            code="roster-expired",
            whose="own",
            text=f"the roster here is past its time since {federation.trusted_until:%Y-%m-%d %H:%M} UTC",
            act="fetch the newest; the authority signs it with `comity federation refresh`",
        )
    newest = max(federation.signed_at, federation.stamped_at)
    if newest > now + CLOCK_SKEW:
        behind = int((newest - now).total_seconds() // 60)
        yield Finding(
            code="clock",
            whose="own",
            text=f"this host's clock is {behind} minutes or more behind: the roster was signed later",
            act="set this host's clock (timedatectl; chronyc tracking)",
        )
