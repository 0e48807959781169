"""What an agency's identity provider publishes of its keys, beside what the signed roster names.

A published set vouches for nothing: only what the roster names may sign who asks, here and at every provider.
It takes away. A key that the roster still names, and that its owner publishes no more, isn't accepted at the
first hop; so a key that was withdrawn in the night counts no more long before the roster is signed anew.

The set that was fetched last is kept in the gateway's home, so that neither an outage nor a restart gives a
withdrawn key back its force.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from comity.certs.errors import AssertionInvalid, CertsError, KeyUnusable
from comity.certs.files import read_private, write_private
from comity.certs.inventory import Condition, Credential, Kind
from comity.certs.jwks import es256_keys, to_jwks
from comity.certs.keys import VerifyKey
from comity.certs.members import MemberView

__all__ = ["Compared", "Published", "compare", "judged", "load_published", "named_keys", "save_published"]

STATE_FILE: Final = "idp-keys.json"
"""In a gateway's home: the set that was fetched last, and how it went since."""
LATE: Final = timedelta(minutes=10)
"""So long after the next look was due, nobody looks: the gateway doesn't run."""
TOO_OLD: Final = timedelta(hours=24)
"""A set that was fetched longer ago is a finding."""

Keys = Mapping[str, VerifyKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The set in force, and how it went since it was fetched."""

    source: str
    issuer: str
    keys: Keys
    """ES256 keys by `kid`; empty: it was never fetched."""
    fetched_at: datetime | None
    """When the source last gave this set; None: never."""
    next_at: datetime
    """When it is looked at again."""
    failing: str = ""
    """Why the last attempts to fetch it failed; empty: the last one worked."""

    @property
    def is_known(self) -> bool:
        """Whether there is a set."""
        return self.fetched_at is not None

    def check(self, issuer: str, kid: str, named: VerifyKey | None) -> None:
        """Raise `AssertionInvalid` unless this issuer publishes the key that the roster has under `kid`.

        `named` is that key; None: the roster has none. Of another issuer, or before the first set, nothing
        is known, and what the roster names counts.
        """
        if issuer != self.issuer or not self.is_known:
            return
        published = self.keys.get(kid)
        if published is None:
            if named is not None:
                raise AssertionInvalid(
                    "assertion: its key is in the roster, and its identity provider does not publish it: "
                    "withdrawn? log on again"
                )
        elif named is None:
            raise AssertionInvalid(
                "assertion: its identity provider publishes its key, and the roster does not name it yet: "
                "`comity agency idp-keys`"
            )
        elif published != named:
            raise AssertionInvalid("assertion: its identity provider publishes another key under its `kid`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Where a published set and the roster differ, by `kid`."""

    unlisted: tuple[str, ...] = ()
    """Published, and not named in the roster: what they sign is refused by everyone."""
    withdrawn: tuple[str, ...] = ()
    """Named in the roster, and not published, or published as another key: refused at the first hop."""


def named_keys(member: MemberView, issuer: str) -> Keys | None:
    """Return the keys of an issuer that the roster names for a member; None if it names no such issuer."""
    for provider in member.key_set.identity_providers:
        if provider.issuer == issuer:
            return es256_keys(provider.jwks)
    return None


def compare(published: Keys, named: Keys) -> Compared:
    """Return where a published set and what the roster names differ."""
    return Compared(
        unlisted=tuple(kid for kid in published if kid not in named),
        withdrawn=tuple(kid for kid, key in named.items() if published.get(kid) != key),
    )


def shown(kid: str) -> str:
    """Return a published `kid` as it may stand in a log: printable ASCII, 64 characters at most."""
    return ascii(kid)[1:-1][:64]


def save_published(home: Path, published: Published) -> None:
    """Keep it in `home`; raise `FileUnusable`."""
    document = {
        "source": published.source,
        "issuer": published.issuer,
        "fetched_at": None if published.fetched_at is None else published.fetched_at.isoformat(),
        "next_at": published.next_at.isoformat(),
        "failing": published.failing,
        "jwks": json.loads(to_jwks(published.keys)),
    }
    write_private(home / STATE_FILE, json.dumps(document, indent=2).encode() + b"\n")


def load_published(home: Path, *, source: str) -> Published | None:
    """Return what was kept of this source; None if nothing was, or of another source.

    Raises `KeyUnusable` if the file holds something else, `FileExposed`, `FileUnusable`.
    """
    path = home / STATE_FILE
    if not path.exists():
        return None
    data = read_private(path)
    try:
        document = json.loads(data)
        fetched_at, sets = document["fetched_at"], document["jwks"]
        found = Published(
            source=str(document["source"]),
            issuer=str(document["issuer"]),
            keys=es256_keys(json.dumps(sets).encode()) if fetched_at is not None else {},
            fetched_at=None if fetched_at is None else _instant(fetched_at),
            next_at=_instant(document["next_at"]),
            failing=str(document["failing"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError, CertsError) as error:
        raise KeyUnusable(f"file `{path}` is not what this gateway kept: remove it") from error
    return found if found.source == source else None


def judged(
    rows: Iterable[Credential], published: Published | None, *, member: MemberView, source: str, now: datetime
) -> Iterator[Credential]:
    """Yield credentials as the published set has them, then the set itself and its keys without a roster."""
    compared, issuer = Compared(), ""
    if published is not None and published.is_known:
        issuer = published.issuer
        compared = compare(published.keys, named_keys(member, issuer) or {})
    withdrawn = {f"{issuer} {kid}" for kid in compared.withdrawn}
    for row in rows:
        if row.kind is Kind.PROVIDER and row.owner == member.agency and row.name in withdrawn:
            yield replace(
                row,
                condition=Condition.DUE,
                act="its provider doesn't publish it, and our gateway refuses what it signs; withdrawn? "
                "drop it: comity agency idp-keys --jwks FILE --only",
            )
        else:
            yield row
    for kid in compared.unlisted:
        yield Credential(
            owner=member.agency,
            kind=Kind.PROVIDER,
            name=f"{issuer} {kid}",
            condition=Condition.DUE,
            act="its provider publishes it, but the roster doesn't name it, and everybody refuses what it "
            "signs: announce it well before it signs, comity agency idp-keys --jwks FILE",
        )
    yield _of_set(published, member.agency, source, now)


def _of_set(published: Published | None, owner: str, source: str, now: datetime) -> Credential:
    if published is None or published.fetched_at is None:
        why = "the gateway didn't run since it was configured"
        if published is not None:
            why = published.failing.removeprefix(f"`{source}`: ")
        return Credential(
            owner=owner,
            kind=Kind.JWKS,
            name=source,
            condition=Condition.OVERDUE,
            act=f"it was never fetched ({why}), so the roster alone decides",
        )
    condition, act = Condition.GOOD, ""
    since = f"the set of {published.fetched_at:%Y-%m-%d %H:%M} UTC goes on"
    if published.failing:
        why = published.failing.removeprefix(f"`{source}`: ")
        condition, act = Condition.DUE, f"can't be fetched: {why}; {since}"
    elif now > published.next_at + LATE:
        condition, act = Condition.DUE, f"nobody fetches it: does the gateway run? {since}"
    if condition is not Condition.GOOD and now > published.fetched_at + TOO_OLD:
        condition = Condition.OVERDUE
    return Credential(
        owner=owner,
        kind=Kind.JWKS,
        name=source,
        since=published.fetched_at,
        condition=condition,
        act=act,
    )


def _instant(text: str) -> datetime:
    """Return an instant of the kept file, in UTC."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("an instant has no time zone")
    return found.astimezone(UTC)
