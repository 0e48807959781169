"""The governing authority's side: founding a federation, admitting members, keeping the roster fresh.

::

    DIR/authority/   keys/authority-N.pem, authority.json, federation.toml       the authority's, offline
    DIR/operator/    identity.pem ca.pem ca.key keyset.json authority.json broker/        the operator's
    DIR/public/      authority.json roster.json timestamp.json                   published to all

The authority is not the operator: the two folders are made together here for one machine's sake and can
part. Of several authority keys, those that lie in `keys/` sign, and there must be the threshold of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from comity.certs import words
from comity.certs.authority_keys import CHANGE_FILE, change_document, next_number
from comity.certs.ends import LEAF_LIFETIME, LogKeyMaker, key_set, make_end, make_issuer, refuse_existing
from comity.certs.envelope import (
    digest,
    from_json,
    open_envelope,
    payload_type,
    seal,
    to_json,
)
from comity.certs.errors import ApplicationInvalid, CertsError, FileUnusable, RosterInvalid, SetupRefused
from comity.certs.files import is_there, read_optional, read_public, write_private, write_public
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.members import member_view
from comity.certs.pin import MAX_AUTHORITY_KEYS
from comity.certs.revocations import REVOCATIONS_FILE, Revocations, thing
from comity.certs.roster import (
    AUTHORITY_FILE,
    ROSTER_FILE,
    TIMESTAMP_FILE,
    AuthorityPin,
    Federation,
    MemberView,
)
from comity.certs.tomltext import settings
from comity.certs.updating import check_update
from comity.certs.versions import next_version
from comity.v1.common_pb2 import AGENCY_KIND_COMMERCIAL
from comity.v1.federation_pb2 import Member, Revocation, RevocationList, Roster, RosterTimestamp

OPERATOR: Final = "operator"
"""The operator's id in the roster: no agency can take it."""

ROSTER_LIFETIME: Final = timedelta(days=365)
"""How long a roster is trusted unless told otherwise."""

TIMESTAMP_LIFETIME: Final = timedelta(days=30)
"""How long a timestamp is trusted unless told otherwise.

It bounds for how long an old roster can be passed off as the newest, so a deployment chooses hours; a
demonstration that was kept must start again days later.
"""

RENEW_WITHIN: Final = timedelta(days=30)
"""A roster that ends within this time is signed anew when the timestamp is refreshed."""

_FOUND_ANEW: Final = (
    "who signed it has the authority's keys: found the federation anew (comity federation init)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSpec:
    """What a federation is founded with; raises `SetupRefused` for a value that can't be."""

    name: str
    broker: str
    """`host:port` on which the broker listens."""
    operator_domain: str = "operator.example"
    operator_name: str = "Federation operator"
    operator_contact: str = ""
    """Whom to ask at the operator; empty: `operations@<operator_domain>`."""
    authority_keys: int = 1
    threshold: int = 1
    leaf_lifetime: timedelta = LEAF_LIFETIME
    roster_lifetime: timedelta = ROSTER_LIFETIME
    timestamp_lifetime: timedelta = TIMESTAMP_LIFETIME

    def __post_init__(self) -> None:
        try:
            words.line(self.name, "name")
            words.address(self.broker, "broker")
            words.domain(self.operator_domain, "operator domain")
            words.line(self.operator_name, "operator name")
            words.line(self.operator_contact, "operator contact", empty=True)
        except ValueError as error:
            raise SetupRefused(f"federation: {error}") from error
        _check_keys(self.authority_keys, self.threshold)
        for what, lifetime in (
            ("leaf", self.leaf_lifetime),
            ("roster", self.roster_lifetime),
            ("timestamp", self.timestamp_lifetime),
        ):
            if not timedelta(0) < lifetime <= timedelta(days=3650):
                raise SetupRefused(f"federation: {what} lifetime, expected above 0, at most 3,650 days")


def init_federation(
    folder: Path, spec: FederationSpec, now: datetime, *, make_log_key: LogKeyMaker
) -> Federation:
    """Found a federation without members in `folder` and return it.

    Makes the authority's keys, the operator's identity, CA, broker end and configuration, and publishes
    version 1 of the roster. Raises `SetupRefused` if something stands there, `FileUnusable`.
    """
    refuse_existing(folder / name for name in ("authority", "operator", "public"))
    keys = [SigningKey.generate() for _ in range(spec.authority_keys)]
    pin = AuthorityPin(federation=spec.name, keys=tuple(key.public for key in keys), threshold=spec.threshold)
    for number, key in enumerate(keys, start=1):
        key.save(folder / "authority" / "keys" / f"authority-{number}.pem")
    lifetimes = {
        "roster_seconds": int(spec.roster_lifetime.total_seconds()),
        "timestamp_seconds": int(spec.timestamp_lifetime.total_seconds()),
    }
    write_private(folder / "authority" / "federation.toml", settings(lifetimes).encode())
    write_public(folder / "authority" / AUTHORITY_FILE, pin.to_json())
    write_public(folder / "public" / AUTHORITY_FILE, pin.to_json())
    operator = _make_operator(folder / "operator", spec, pin, now, make_log_key)
    return _publish(folder, pin, Roster(federation=spec.name, version=1, operator=operator), now)


def _make_operator(
    home: Path, spec: FederationSpec, pin: AuthorityPin, now: datetime, make_log_key: LogKeyMaker
) -> Member:
    """Make the operator's keys, its own copy of the pin and its broker's home; return its roster entry."""
    identity = SigningKey.generate()
    identity.save(home / "identity.pem")
    write_public(home / AUTHORITY_FILE, pin.to_json())
    issuer = make_issuer(home, domain=spec.operator_domain, now=now)
    broker = make_end(
        home / "broker",
        role="broker",
        issuer=issuer,
        now=now,
        leaf_lifetime=spec.leaf_lifetime,
        make_log_key=make_log_key,
    )
    signed = seal(key_set(agency=OPERATOR, issuer=issuer, ends=[broker], now=now), identity)
    write_public(home / "keyset.json", to_json(signed))
    configuration = settings(
        {
            "listen": spec.broker,
            "authority": f"../{AUTHORITY_FILE}",
            "public": "../../public",
            "lodgements": "lodgements",
        },
    )
    (home / "broker" / "lodgements").mkdir()
    write_public(home / "broker" / "broker.toml", configuration.encode())
    return Member(
        agency=OPERATOR,
        display_name=spec.operator_name,
        kind=AGENCY_KIND_COMMERCIAL,
        domain=spec.operator_domain,
        contact=spec.operator_contact or f"operations@{spec.operator_domain}",
        identity_key=identity.public.der,
        key_set=signed.SerializeToString(),
    )


def application(member: Member, identity: SigningKey) -> bytes:
    """Return an application for membership: the entry asked for, signed with its identity key."""
    return to_json(seal(member, identity))


def read_application(data: bytes) -> tuple[Member, MemberView]:
    """Return the entry that an application asks for, its key set verified; raise `ApplicationInvalid`.

    The signature proves possession of the identity key it names, not who that is: the authority finds that
    out by other means before it admits anybody.
    """
    try:
        envelope = from_json(data)
        if envelope.payload_type != payload_type(Member):
            raise ApplicationInvalid(f"document is not a `{payload_type(Member)}`")
        key = VerifyKey.from_der(Member.FromString(envelope.payload).identity_key)
        member = open_envelope(envelope, Member, [key]).message
        is_operator = member.agency == OPERATOR
        view = member_view(member, operator=is_operator)
        if view.suspended:
            raise ApplicationInvalid("nobody applies suspended")
        if not view.asks and not view.provides and not is_operator:
            raise ApplicationInvalid("a member that neither asks nor provides has no place in the roster")
    except (DecodeError, CertsError) as error:
        raise ApplicationInvalid(f"application: {error}") from error
    return member, view


def admit(
    folder: Path, applications: Sequence[bytes], now: datetime, *, new_identity: bool = False
) -> Federation:
    """Admit the applicants, or bring members up to date, in one new version of the roster; return it.

    A member's key set can only go up in version. Its identity key gives way to one for which the old one
    vouches by a succession; to any other only if `new_identity` says that this was confirmed: agreements pin
    the old one and end with it. The key of a log gives way only to one that was named before as the one to
    follow. Whether a member is suspended stays. The operator is brought up to date in the same way, but never
    by `new_identity`. Raises `ApplicationInvalid`, `RosterInvalid`, `SetupRefused`.
    """
    applicants = [read_application(data) for data in applications]
    revoked = _revocations(folder)

    def change(roster: Roster) -> None:
        for member, view in applicants:
            if view.agency == OPERATOR:
                running = member_view(roster.operator, operator=True)
                if view.identity_key != running.identity_key and not view.successions:
                    raise ApplicationInvalid(f"application: agency id `{OPERATOR}` is the operator's")
                check_update(running, view, revoked=revoked.of(OPERATOR), now=now, new_identity=False)
                roster.operator.CopyFrom(member)
                continue
            known = next((entry for entry in roster.members if entry.agency == view.agency), None)
            if known is None:
                roster.members.append(member)
                continue
            check_update(
                member_view(known), view, revoked=revoked.of(view.agency), now=now, new_identity=new_identity
            )
            suspended = known.suspended
            known.CopyFrom(member)
            known.suspended = suspended

    try:
        return _change(folder, change, now)
    except RosterInvalid as error:
        raise ApplicationInvalid(f"application can't be admitted: {error}") from error


def suspend(folder: Path, agency: str, now: datetime, *, suspended: bool = True) -> Federation:
    """Suspend a member (or lift its suspension) in a new version of the roster; return it.

    Raises `SetupRefused` if there is no such member, `RosterInvalid`.
    """

    def change(roster: Roster) -> None:
        for entry in roster.members:
            if entry.agency == agency:
                entry.suspended = suspended
                return
        raise _no_member(roster, agency)

    return _change(folder, change, now)


def remove(folder: Path, agency: str, now: datetime) -> Federation:
    """Take a member out of the roster, in a new version of it; return it.

    Its links, sessions and agreements end with that, everywhere. Evidence of its time goes on verifying with
    the rosters of then. Raises `SetupRefused` if there is no such member, `RosterInvalid`.
    """

    def change(roster: Roster) -> None:
        for index, entry in enumerate(roster.members):
            if entry.agency == agency:
                del roster.members[index]
                return
        raise _no_member(roster, agency)

    return _change(folder, change, now)


def _no_member(roster: Roster, agency: str) -> SetupRefused:
    return SetupRefused(
        f"agency `{ascii(agency)[1:-1][:60]}` isn't a member, expected one of "
        f"{', '.join(sorted(entry.agency for entry in roster.members)) or 'none'}"
    )


def authority_pin(folder: Path) -> AuthorityPin:
    """Return the authority's own keys; raise `SetupRefused` for a folder that isn't its, `RosterInvalid`."""
    path = folder / "authority" / AUTHORITY_FILE
    if not is_there(path):
        raise SetupRefused(
            f"`{folder}` is not the governing authority's folder: `{path}` isn't there; the folder that "
            "`comity federation init` made is right, on the host with the authority's keys"
        )
    return AuthorityPin.load(path)


def refresh(folder: Path, now: datetime) -> Federation:
    """Sign a new timestamp, and a new version of the roster if the old one ends soon; return the federation.

    Raises `RosterInvalid`, `SetupRefused`.
    """
    pin = authority_pin(folder)
    current = _current(folder, pin)
    _check_settled(folder)
    if current.expires_at - now <= RENEW_WITHIN:
        return _change(folder, lambda roster: None, now)
    signers = _keys(folder / "authority" / "keys", pin)
    return _stamp(folder, pin, read_public(folder / "public" / ROSTER_FILE), now, signers)


def rotate_authority(folder: Path, now: datetime, *, keys: int, threshold: int) -> Federation:
    """Replace the authority's keys by `keys` new ones of which `threshold` must sign; return the federation.

    The new roster and its timestamp are signed by the old keys and the new ones, and published before the
    change is: an end that has read the change and one that hasn't both trust them. What was interrupted goes
    on when this is called again. The old keys lie in `authority/retired-N/` then: destroy them. Raises
    `SetupRefused`, also if fewer of the old keys are at hand than must sign; `RosterInvalid`, `FileUnusable`.
    """
    authority, public = folder / "authority", folder / "public"
    old, following = authority_pin(folder), authority / "next"
    if not (following / AUTHORITY_FILE).exists():
        _check_keys(keys, threshold)
        made = [SigningKey.generate() for _ in range(keys)]
        new = AuthorityPin(
            federation=old.federation, keys=tuple(key.public for key in made), threshold=threshold
        )
        for index, key in enumerate(made, start=1):
            key.save(following / "keys" / f"authority-{index}.pem")
        write_public(following / AUTHORITY_FILE, new.to_json())
    new = AuthorityPin.load(following / AUTHORITY_FILE)
    if old != new:
        signers = [*_keys(authority / "keys", old), *_keys(following / "keys", new)]
        number = next_number(public)
        change = change_document(number, old, new, signers, now)
        envelope = from_json(read_public(public / ROSTER_FILE))
        roster = open_envelope(envelope, Roster, old.keys, threshold=old.threshold).message
        roster.version = next_version(roster.version, "roster", instead=_FOUND_ANEW)
        _publish(folder, old, roster, now, signers=signers)
        write_public(public / CHANGE_FILE.format(number), change)
        write_public(public / AUTHORITY_FILE, new.to_json())
        write_public(authority / AUTHORITY_FILE, new.to_json())
    try:
        if (following / "keys").exists():  # else those in `keys/` are the new ones already
            if (authority / "keys").exists():
                (authority / "keys").rename(authority / f"retired-{next_number(public) - 1}")
            (following / "keys").rename(authority / "keys")
        (following / AUTHORITY_FILE).unlink(missing_ok=True)
        following.rmdir()
    except OSError as error:
        raise FileUnusable(
            f"the authority's keys can't be moved: {(error.strerror or '').lower()}; "
            "`comity federation rotate-authority` goes on with it"
        ) from error
    return Federation.load(public, now=now)


def _check_keys(keys: int, threshold: int) -> None:
    """Raise `SetupRefused` for numbers of keys that can't be."""
    if not 1 <= keys <= MAX_AUTHORITY_KEYS:
        raise SetupRefused(f"federation: authority keys `{keys}`, expected 1 to {MAX_AUTHORITY_KEYS}")
    if not 1 <= threshold <= keys:
        raise SetupRefused(f"federation: threshold `{threshold}` isn't 1 to {keys}")


def _check_settled(folder: Path) -> None:
    """Raise `SetupRefused` if the authority's keys are just being replaced."""
    following = folder / "authority" / "next"
    if following.exists() and any(following.iterdir()):  # an empty one is what is left of one that is done
        raise SetupRefused(
            f"folder `{following}`: a replacement of the authority's keys was "
            "interrupted; `comity federation rotate-authority` goes on with it"
        )


def _current(folder: Path, pin: AuthorityPin) -> Federation:
    """Return the newest roster that the authority signed; it may be past its time."""
    return Federation.for_evidence(roster=read_public(folder / "public" / ROSTER_FILE), pin=pin)


def _revocations(folder: Path) -> Revocations:
    """Return what the authority revoked until now."""
    return Federation.for_evidence(
        roster=read_public(folder / "public" / ROSTER_FILE),
        pin=authority_pin(folder),
        revocations=read_optional(folder / "public" / REVOCATIONS_FILE),
    ).revocations


def _change(folder: Path, change: Callable[[Roster], None], now: datetime) -> Federation:
    """Publish the next version of the roster, changed by `change`."""
    pin = authority_pin(folder)
    _current(folder, pin)
    _check_settled(folder)
    envelope = from_json(read_public(folder / "public" / ROSTER_FILE))
    roster = open_envelope(envelope, Roster, pin.keys, threshold=pin.threshold).message
    change(roster)
    roster.version = next_version(roster.version, "roster", instead=_FOUND_ANEW)
    return _publish(folder, pin, roster, now)


def _publish(
    folder: Path,
    pin: AuthorityPin,
    roster: Roster,
    now: datetime,
    *,
    signers: Sequence[SigningKey] | None = None,
) -> Federation:
    """Sign `roster` and its timestamp, check them as an end would, and only then write both.

    With the authority's keys that are at hand, or with `signers`.
    """
    signers = signers or _keys(folder / "authority" / "keys", pin)
    roster.signed_at.CopyFrom(from_instant(now))
    roster.expires_at.CopyFrom(from_instant(now + _lifetime(folder, "roster_seconds")))
    return _stamp(folder, pin, to_json(seal(roster, *signers)), now, signers)


def revoke(folder: Path, revocations: Sequence[Revocation], now: datetime) -> Federation:
    """Publish a list of revocations that has `revocations` beside those of before; return the federation.

    What is revoked already is not revoked anew: the earlier instant stays. Raises `SetupRefused` for an
    agency that is no member, or for a whole operator; `RosterInvalid`.
    """
    pin = authority_pin(folder)
    current = _current(folder, pin)
    _check_settled(folder)
    for entry in revocations:
        if entry.agency not in (*current.members, OPERATOR):
            raise SetupRefused(
                f"agency `{ascii(entry.agency)[1:-1][:60]}` isn't a member, expected one of "
                f"{', '.join((*current.members, OPERATOR))}"
            )
        if entry.agency == OPERATOR and entry.everything:
            raise SetupRefused("the operator can't be revoked as a whole: revoke its keys")
    signers = _keys(folder / "authority" / "keys", pin)
    return _stamp(
        folder, pin, read_public(folder / "public" / ROSTER_FILE), now, signers, revoked=revocations
    )


def _list(
    folder: Path,
    pin: AuthorityPin,
    now: datetime,
    signers: Sequence[SigningKey],
    revoked: Sequence[Revocation],
) -> bytes | None:
    """Return the next list of revocations, signed; None while nothing was ever revoked."""
    published = read_optional(folder / "public" / REVOCATIONS_FILE)
    if published is None and not revoked:
        return None
    found = RevocationList(federation=pin.federation)
    if published is not None:
        found = open_envelope(from_json(published), RevocationList, pin.keys, threshold=pin.threshold).message
    known = {thing(entry) for entry in found.revocations}
    found.revocations.extend(entry for entry in revoked if thing(entry) not in known)
    found.version = next_version(found.version, "list of revocations", instead=_FOUND_ANEW)
    found.signed_at.CopyFrom(from_instant(now))
    found.next_update.CopyFrom(from_instant(now + _lifetime(folder, "timestamp_seconds")))
    return to_json(seal(found, *signers))


def _stamp(
    folder: Path,
    pin: AuthorityPin,
    roster: bytes,
    now: datetime,
    signers: Sequence[SigningKey],
    *,
    revoked: Sequence[Revocation] = (),
) -> Federation:
    """Sign a timestamp for `roster`, check both as an end would, and only then write them.

    The list of revocations, if there is one or something is `revoked`, is signed anew with it.
    """
    envelope = from_json(roster)
    stamp = RosterTimestamp(
        roster_version=open_envelope(envelope, Roster, pin.keys, threshold=pin.threshold).message.version,
        roster_digest=digest(envelope.payload),
        signed_at=from_instant(now),
        expires_at=from_instant(now + _lifetime(folder, "timestamp_seconds")),
    )
    revocations = _list(folder, pin, now, signers, revoked)
    if revocations is not None:
        signed = from_json(revocations)
        stamp.revocations_version = RevocationList.FromString(signed.payload).version
        stamp.revocations_digest = digest(signed.payload)
    timestamp = to_json(seal(stamp, *signers))
    federation = Federation.verify(
        roster=roster, timestamp=timestamp, pin=pin, now=now, revocations=revocations
    )
    if revocations is not None:
        write_public(folder / "public" / REVOCATIONS_FILE, revocations)
    write_public(folder / "public" / ROSTER_FILE, roster)
    write_public(folder / "public" / TIMESTAMP_FILE, timestamp)
    return federation


def _keys(folder: Path, pin: AuthorityPin) -> list[SigningKey]:
    """Return the authority's keys that are at hand in `folder`; raise `SetupRefused` if they are too few."""
    found = [SigningKey.load(path) for path in sorted(folder.glob("*.pem"))]
    keys = [key for key in found if key.public in pin.keys]
    if len(keys) < pin.threshold:
        raise SetupRefused(
            f"folder `{folder}` holds {len(keys)} of the authority's keys, expected {pin.threshold} or more: "
            "bring the others"
        )
    return keys


def _lifetime(folder: Path, name: str) -> timedelta:
    """Return a lifetime from `federation.toml`; raise `SetupRefused` if it has none."""
    path = folder / "authority" / "federation.toml"
    try:
        seconds = tomllib.loads(read_public(path).decode()).get(name)
    except ValueError as error:
        raise SetupRefused(f"file `{path}` is not TOML: {error}") from error
    if type(seconds) is not int or seconds <= 0:
        raise SetupRefused(f"file `{path}`: `{name}` is not a whole number of seconds above 0")
    return timedelta(seconds=seconds)
