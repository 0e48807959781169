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
from comity.certs.errors import CertsError, SetupRefused
from comity.certs.files import read_public
from comity.certs.holdings import (
    Held,
    held_by_agency,
    held_by_authority,
    held_by_end,
    leaf_in,
    marked,
    published,
)
from comity.certs.inventory import Credential, of_federation, of_pin
from comity.certs.key_changes import EndFolder
from comity.certs.members import MemberView
from comity.certs.profile import check_leaf, load_certificate
from comity.certs.roster import AUTHORITY_FILE, ROSTER_FILE, AuthorityPin, Federation
from comity.certs.x509 import split_pem

ROLES = ("gateway", "adapter", "broker")


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


def look_at(folder: Path, *, pin: Path | None, now: datetime) -> Seen:
    """Return what `folder` shows; raise `SetupRefused` if it is none of the folders that are known."""
    places = _places(folder)
    findings: list[str] = []
    federation: Federation | None = None
    rows: list[Credential] = []
    try:
        pin = pin or places.pin
        trusted = AuthorityPin.load(pin) if pin is not None else None
        if trusted is not None:
            rows += of_pin(trusted)
        if trusted is not None and places.public is not None:
            federation = published(places.public, trusted)
            rows += of_federation(federation, now=now)
    except CertsError as error:
        findings.append(f"roster: {error}")
    member = _member(federation, places.agency)
    if federation is not None and places.agency and member is None:
        findings.append(f"roster: version {federation.version} has no member `{places.agency}`")
    held: list[Held] = []
    own: list[Credential] = []
    for item in _own(places, member, now):
        if isinstance(item, Held):
            held.append(item)
        else:
            own.append(item)
    rows = [*own, *marked(rows, held, known=federation is not None)]
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


def _own(places: _Places, member: MemberView | None, now: datetime) -> Iterator[Held | Credential]:
    """Yield what lies in the folder itself, an end's first."""
    domain = member.domain if member is not None else _domain(places)
    for home in places.ends:
        role = EndFolder.load(home).role
        yield from held_by_end(home, owner=places.agency, role=role, domain=domain, member=member, now=now)
    for home in places.clients:
        yield _client(home, places, member, now)
    kept: Iterable[Held | Credential] = ()
    if places.holder is not None:
        kept = held_by_agency(places.holder, owner=places.agency)
    if places.authority_keys is not None:
        kept = itertools.chain(kept, held_by_authority(places.authority_keys))
    yield from kept


def _client(home: Path, places: _Places, member: MemberView | None, now: datetime) -> Credential:
    return leaf_in(home, owner=places.agency or "client", name=home.name, member=member, now=now)


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
