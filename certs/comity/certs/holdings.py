"""What one folder holds of private keys, and whether the roster names it: the own part of an inventory.

A key that others can read, a leaf of a CA that nobody published and a statement key that was never admitted
fail at the peers, for reasons that only they see. Here they are told where they lie.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from comity.certs.authority_keys import changes_in, follow
from comity.certs.diagnosis import explain
from comity.certs.envelope import from_json, open_envelope
from comity.certs.errors import CertificateRejected, CertsError, RosterInvalid
from comity.certs.files import read_optional, read_private, read_public
from comity.certs.instants import to_instant
from comity.certs.inventory import Condition, Credential, Kind, certificate_name, lasting, unusable
from comity.certs.keys import SigningKey
from comity.certs.members import MemberView
from comity.certs.own_lists import OwnList, own_lists_in
from comity.certs.pairs import KEY_FILE, LeafPair
from comity.certs.profile import load_certificate
from comity.certs.renewing import RENEWAL, parse_renewal
from comity.certs.revocations import NOTHING_REVOKED, REVOCATIONS_FILE, RevokedOf, open_revocations
from comity.certs.roster import ROSTER_FILE, TIMESTAMP_FILE, AuthorityPin, Federation
from comity.certs.x509 import load_private_key, split_pem, verify_leaf
from comity.v1.federation_pb2 import RosterTimestamp

__all__ = ["Held", "held_by_agency", "held_by_authority", "held_by_end", "leaf_in", "marked", "published"]

RENEW: Final = "renew it: comity certs renew {home} --ca FOLDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A private key that lies in a folder, under the name that the roster should know it by."""

    owner: str
    kind: Kind
    name: str
    path: Path


def published(public: Path, pin: AuthorityPin) -> tuple[Federation, AuthorityPin]:
    """Return the roster in `public` with its timestamp, though both may be past their time, and its signers.

    The signers are those that follow from `pin` by the authority's own signed changes.
    For showing alone: whom to trust is `Federation.load`'s. Raises `RosterInvalid`, `FileUnusable`.
    """
    pin = follow(pin, changes_in(public))
    federation = Federation.for_evidence(roster=read_public(public / ROSTER_FILE), pin=pin)
    try:
        envelope = from_json(read_public(public / TIMESTAMP_FILE))
        stamp = open_envelope(envelope, RosterTimestamp, pin.keys, threshold=pin.threshold).message
        signed_at, until = to_instant(stamp, "signed_at"), to_instant(stamp, "expires_at")
    except (CertsError, ValueError) as error:
        raise RosterInvalid(f"roster timestamp isn't signed by the pinned authority: {error}") from error
    if (stamp.roster_version, stamp.roster_digest) != (federation.version, federation.digest):
        raise RosterInvalid(f"roster version {federation.version} isn't the one that the timestamp names")
    revocations = open_revocations(
        read_optional(public / REVOCATIONS_FILE),
        stamp=stamp,
        keys=pin.keys,
        threshold=pin.threshold,
        federation=pin.federation,
        now=None,
    )
    found = replace(federation, stamped_at=signed_at, timestamp_expires_at=until, revocations=revocations)
    return found, pin


def newest(
    folders: Sequence[Path], pin: AuthorityPin, *, now: datetime, refused: list[str] | None = None
) -> tuple[Federation, AuthorityPin]:
    """Return the newest of the rosters that lie in `folders`: the published one, and what a broker brought.

    With what its lists revoke of each member, the agencies' own among them: why some of these are not taken
    is added to `refused`. Raises what `published` raises of the first, if none of them verifies.
    """
    found, faults = list[tuple[Federation, AuthorityPin]](), list[CertsError]()
    for folder in folders:
        try:
            found.append(published(folder, pin))
        except CertsError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    best, signers = max(
        found, key=lambda each: (each[0].version, each[0].revocations.version, each[0].stamped_at)
    )
    lists = dict[str, OwnList]()
    for folder in folders:
        own_lists, bad = own_lists_in(folder, members=best.members, federation=best.name, now=now)
        lists.update(
            {a: one for a, one in own_lists.items() if a not in lists or lists[a].version < one.version}
        )
        if refused is not None:
            refused += bad.values()
    return replace(
        best,
        operator=_shown(best.operator, best.revocations.of(best.operator.agency), None, now),
        members={
            agency: _shown(member, best.revocations.of(agency), lists.get(agency), now)
            for agency, member in best.members.items()
        },
        own_lists=lists,
    ), signers


def _shown(member: MemberView, revoked: RevokedOf, own: OwnList | None, now: datetime) -> MemberView:
    """Return a member with all that is revoked of it beside it, not taken out."""
    if own is None:
        return replace(member, revoked=revoked)
    return replace(member, revoked=revoked.joined(own.revoked), lapsed=own.lapsed(now))


def held_by_authority(keys: Path) -> Iterator[Held | Credential]:
    """Yield the authority's keys that lie in `keys`."""
    for path in sorted(keys.glob("*.pem")):
        yield _held("authority", Kind.AUTHORITY, path, partial(_key_id, path))


def held_by_agency(home: Path, *, owner: str) -> Iterator[Held | Credential]:
    """Yield what an agency (or the operator) keeps beside its ends: identity key, CA, identity provider."""
    if (home / "identity.pem").exists():
        path = home / "identity.pem"
        yield _held(owner, Kind.IDENTITY, path, partial(_key_id, path))
    if (home / "ca.key").exists():
        yield _held(owner, Kind.CA, home / "ca.key", partial(_ca_name, home))


def held_by_end(
    home: Path,
    *,
    owner: str,
    role: str,
    domain: str,
    member: MemberView | None,
    revoked: RevokedOf = NOTHING_REVOKED,
    now: datetime,
) -> Iterator[Held | Credential]:
    """Yield the leaf, the statement key and the log key of the end in `home`."""
    keys = home / "keys"
    yield leaf_in(
        keys, owner=owner, name=f"spiffe://{domain}/{role}", member=member, revoked=revoked, now=now
    )
    statement = keys / "statement.key"
    yield _held(owner, Kind.STATEMENT, statement, partial(_key_id, statement))
    yield _held(owner, Kind.LOG, keys / "log.key", partial(_readable, keys / "log.key", f"{domain}/{role}"))


def issuing_ca(home: Path, *, role: str, owner: str, now: datetime) -> Iterator[Credential]:
    """Yield the issuing CA from which the end in `home` renews its leaf by itself, if it has one."""
    path = home / f"{role}.toml"
    try:
        table = tomllib.loads(read_public(path).decode()).get(RENEWAL)
        folder = parse_renewal(table, home=home).issuer
        if folder is None:
            return
        certificate = load_certificate(split_pem(read_public(folder / "ca.pem"))[0])
        read_private(folder / "ca.key")
    except (CertsError, ValueError) as error:
        yield unusable(Kind.ISSUING, owner=owner, name=role, reason=str(error), where=path)
        return
    yield lasting(
        Kind.ISSUING,
        owner=owner,
        name=certificate_name(certificate),
        since=certificate.not_valid_before_utc,
        until=certificate.not_valid_after_utc,
        now=now,
        act="make the next one, with the CA's key at hand: comity certs issuing",
        own=True,
        where=folder / "ca.key",
    )


def leaf_in(
    keys: Path,
    *,
    owner: str,
    name: str,
    member: MemberView | None,
    revoked: RevokedOf = NOTHING_REVOKED,
    now: datetime,
) -> Credential:
    """Return the leaf `leaf.pem` in `keys`, judged as the roster's ends judge it; `name` if it has none.

    Without `member`, only whether its key is its own, and its times.
    """
    path = keys / KEY_FILE
    try:
        pair = LeafPair.load(keys)
        if member is not None and now < pair.not_after:
            if name.startswith("spiffe://") and pair.spiffe_id != name:  # first: it says more than its CA
                raise CertificateRejected(f"leaf names `{pair.spiffe_id}`, expected `{name}`")
            if pair.domain != member.domain:
                raise CertificateRejected(f"leaf names `{pair.spiffe_id}`, expected one of `{member.domain}`")
            cas = member.key_set.ca_certificates
            verify_leaf(pair.chain_der, ca_certificates=cas, spiffe_id=pair.spiffe_id, now=now)
        revoked.check_chain(pair.chain_der)
    except CertsError as error:
        found = explain(str(error), whose="own")
        return unusable(Kind.LEAF, owner=owner, name=name, reason=f"{found.text}; {found.act}", where=path)
    home = keys.parent if keys.name == "keys" else keys
    return lasting(
        Kind.LEAF,
        owner=owner,
        name=pair.spiffe_id,
        since=pair.not_before,
        until=pair.not_after,
        now=now,
        act=RENEW.format(home=shlex.quote(str(home))),
        own=True,
        where=path,
    )


def marked(credentials: Iterable[Credential], held: Iterable[Held], *, known: bool) -> Iterator[Credential]:
    """Yield `credentials`, those whose private part is held marked so; and what is held and isn't among them.

    `known`: whether `credentials` hold a roster, so that what it doesn't name is a finding.
    """
    left = {(one.owner, one.kind, one.name): one for one in held}
    for credential in credentials:
        found = left.pop((credential.owner, credential.kind, credential.name), None)
        yield credential if found is None else replace(credential, own=True, where=found.path)
    for one in left.values():
        if known:
            reason = "the roster doesn't name it: apply with it, and have it admitted"
            yield unusable(one.kind, owner=one.owner, name=one.name, reason=reason, where=one.path)
        else:
            yield Credential(
                owner=one.owner,
                kind=one.kind,
                name=one.name,
                own=True,
                where=one.path,
                condition=Condition.GOOD,
                act="",
            )


def _held(owner: str, kind: Kind, path: Path, name: Callable[[], str]) -> Held | Credential:
    """Return a key that is held, or its line of an inventory if it can't be used."""
    try:
        return Held(owner=owner, kind=kind, name=name(), path=path)
    except CertsError as error:
        return unusable(kind, owner=owner, name=path.name, reason=str(error), where=path)


def _key_id(path: Path) -> str:
    """Return the id of the key in a PEM file."""
    return SigningKey.load(path).key_id


def _ca_name(home: Path) -> str:
    """Return the name of the CA in `ca.pem`, whose key is `ca.key`."""
    certificate = load_certificate(split_pem(read_public(home / "ca.pem"))[0])
    if load_private_key(read_private(home / "ca.key")).public_key() != certificate.public_key():
        raise CertificateRejected(f"`{home / 'ca.key'}` is not the key of the CA in `ca.pem`")
    return certificate_name(certificate)


def _readable(path: Path, name: str) -> str:
    """Return `name` once `path` is readable for its owner alone; what it holds is the log's to read."""
    read_private(path)
    return name
