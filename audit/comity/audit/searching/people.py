"""What a gateway's log tells of its agency's own users: logons, questions, acts and suspensions (L9, Q4, Q8).

Users stand in the log as commitments; each name is taken from an opening that opens what the log holds. Where
the opening is gone (retention, L5) the entry counts for nobody, and how many did is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from comity.audit.canonical import JsonValue
from comity.audit.entry import LoggedEntry, from_milliseconds, read_entry
from comity.audit.errors import OpeningInvalid
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk, Tell, kinds_pattern

LOGGED_ON: Final = "logged_on"
SUSPENDED: Final = "user_suspended"
TERMINATED: Final = "user_terminated"
READMITTED: Final = "user_readmitted"
_USED: Final = frozenset({"asked", "turned_down", "exported"})
_KINDS: Final = frozenset({LOGGED_ON, SUSPENDED, TERMINATED, READMITTED, *_USED})
WANTED: Final = frozenset({"user", "trained"})
"""The private fields that are read."""


@dataclass(slots=True, kw_only=True)
class UserSuspension:
    """A provider's suspension of a user, as its notice said."""

    provider: str
    since: datetime
    until: datetime | None
    returns: str
    refusals: int
    notice: str
    """Digest of the notice, hex."""
    readmitted_at: datetime | None = None
    """When the agency gave an act that ends it, as far as the agency can tell."""

    def may_be_over(self, now: datetime) -> bool:
        """Return whether the provider's policy, as the notice tells it, lets the user ask again."""
        passed = self.until is not None and now >= self.until
        acted = self.readmitted_at is not None
        return {
            "recertification": acted,
            "length": passed,
            "either": acted or passed,
            "both": acted and passed,
        }.get(self.returns, False)


@dataclass(slots=True, kw_only=True)
class SeenUser:
    """One user, as the log has them."""

    user: str = field(repr=False)
    first: datetime | None = None
    """First logon or question in the period."""
    last: datetime | None = None
    logons: int = 0
    last_logon: datetime | None = None
    questions: int = 0
    turned_down: int = 0
    trained_said: datetime | None = None
    """The latest training that an assertion stated at a logon."""
    terminated_at: datetime | None = None
    """When the act was given that ended their access and is the last one; None: they have access."""
    used_since: int = 0
    """Questions and logons after that."""
    attempts_since: int = 0
    """Requests that were turned down after that."""
    suspensions: dict[str, UserSuspension] = field(default_factory=dict)
    """By the notice's digest."""


@dataclass(slots=True, kw_only=True)
class SeenUsers:
    """All users of a log, and how many entries told nobody's name."""

    users: dict[str, SeenUser] = field(default_factory=dict)
    unopened: int = 0
    false: int = 0
    """Entries whose opening does not open what the log holds."""

    def of(self, user: str) -> SeenUser:
        """Return one user; new if they were not seen."""
        return self.users.setdefault(user, SeenUser(user=user))


def read_users(
    walk: LogWalk, kept: KeptBeside, *, since: datetime | None = None, tell: Tell | None = None
) -> SeenUsers:
    """Return what a log tells of users; questions and logons since `since`, acts and suspensions of all time.

    Raises `TileInvalid` if the entries are not those that the checkpoint signs, and other `AuditError`s.
    """
    seen = SeenUsers()
    pattern = kinds_pattern(_KINDS)
    for index, leaf in walk.entries(tell=tell):
        if not pattern.search(leaf):
            continue
        entry = read_entry(leaf)
        if entry.kind not in _KINDS or "user" not in entry.commitments:
            continue
        openings = kept.openings(index)
        if "user" not in openings:
            seen.unopened += 1
            continue
        try:
            values = {name: entry.open(openings[name]) for name in WANTED & openings.keys()}
        except OpeningInvalid:
            seen.false += 1
            continue
        _count(seen.of(values["user"]), entry, values, since)
    return seen


def _count(user: SeenUser, entry: LoggedEntry, values: Mapping[str, str], since: datetime | None) -> None:
    match entry.kind:
        case "user_suspended":
            notice = str(entry.public.get("notice"))
            user.suspensions[notice] = UserSuspension(
                provider=str(entry.public.get("peer")),
                since=_at(entry.public.get("since")) or entry.at,
                until=_at(entry.public.get("until")),
                returns=str(entry.public.get("returns")),
                refusals=_number(entry.public.get("refusals")),
                notice=notice,
            )
        case "user_terminated":
            user.terminated_at = _at(entry.public.get("given")) or entry.at
            user.used_since = user.attempts_since = 0
        case "user_readmitted":
            user.terminated_at, given = None, _at(entry.public.get("given")) or entry.at
            recertified = _at(entry.public.get("recertified"))
            for suspension in user.suspensions.values():
                if recertified is not None and recertified > suspension.since:
                    suspension.readmitted_at = given
        case _ if since is None or entry.at >= since:
            _used(user, entry, values)
        case _:
            pass


def _used(user: SeenUser, entry: LoggedEntry, values: Mapping[str, str]) -> None:
    user.first, user.last = user.first or entry.at, entry.at
    is_after = user.terminated_at is not None and entry.at > user.terminated_at
    if entry.kind == "turned_down":
        user.turned_down += 1
        user.attempts_since += is_after
        return
    if entry.kind == LOGGED_ON:
        user.logons, user.last_logon = user.logons + 1, entry.at
        said = _instant(values.get("trained", ""))
        if said is not None:
            user.trained_said = max(said, user.trained_said or said)
        return  # the request that it stands before is counted, as what became of it
    user.questions += entry.kind == "asked"
    user.used_since += is_after


def _at(value: JsonValue) -> datetime | None:
    return from_milliseconds(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
