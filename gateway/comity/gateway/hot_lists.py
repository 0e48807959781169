"""Plates that the agency's own people put on hot lists elsewhere: facts for the house rules, and the record.

A hot list lies with whoever matches it against reads, today a vendor's portal; Comity matches none. What a
requester's own law says of it (GUI K) is judged here, and what was done stands in the requester's own log:
who, when, why, and each plate with case and tracking number, as commitments whose openings this end keeps
(H8, K.3). Case and free text never travel (H2).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from comity.audit.acts import Act
from comity.audit.entry import JsonValue
from comity.certs.assertions import Claims
from comity.certs.instants import CLOCK_SKEW
from comity.policy.decision import Rule
from comity.policy.house.facts import AskedOf, HouseListing, is_tracking_number
from comity.policy.windows import Windows

KIND: Final = "hot_list_changed"
"""The kind of entry."""

MOST_RECORDED: Final = 2_500
"""Plates of a batch that is recorded (H1)."""


DOCUMENTED: Final = (
    *("plate", "folded", "state", "country", "reason", "case", "tracking"),
    *("valid_from", "valid_until"),
)
"""What is written down of a plate: what GUI K.3 asks for, and when it is valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPlate:
    """One plate of a batch, as its user has it. Its repr says nothing of it."""

    plate: str = field(repr=False)
    folded: str = field(repr=False)
    """The plate as it is compared (`comity.policy.plates`)."""
    state: str = field(repr=False)
    country: str = field(repr=False)
    reason: str
    """One of `comity.policy.facts.REASONS`."""
    case: str = field(default="", repr=False)
    case_current: bool | None = None
    """Whether the case is a current investigation; None: nobody says."""
    tracking: str = field(default="", repr=False)
    entered: datetime | None = None
    renewed: datetime | None = None
    reviewed: datetime | None = None
    expires: datetime | None = None
    has_text: bool = False
    """A free text is beside it."""
    has_more: bool = False
    """Something is beside it that no hot list needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lister:
    """Who puts plates on a hot list, as far as it is known: by a verified assertion, or by their own word."""

    user: str = field(default="", repr=False)
    office: str = ""
    duty_station: str = ""
    roles: frozenset[str] = frozenset()
    trained_at: datetime | None = None
    rules_accepted: bool = False
    good_standing: bool = False
    attested: bool = False
    """That no plate is listed solely on a protected ground, nor to monitor protected activity (Q9)."""

    @classmethod
    def of(cls, claims: Claims, *, attested: bool, now: datetime) -> Lister:
        """Return the person of an assertion, who attests to this list beside the logon's attestation."""
        return cls(
            user=claims.user,
            office=claims.office,
            duty_station=claims.duty_station,
            roles=frozenset(claims.roles),
            trained_at=claims.trained_at,
            rules_accepted=claims.rules_accepted_at <= now + CLOCK_SKEW,
            good_standing=claims.good_standing,
            attested=attested and claims.protections_attested,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is done to a hot list, by whom, beside its plates."""

    agency: str
    act: str
    """One of `comity.policy.house.facts.LIST_ACTS`."""
    holder: AskedOf
    """Who holds the hot list."""
    lister: Lister
    need_affirmed: bool = False
    documented: bool = False
    plates: int
    now: datetime


def documented(text: str | None) -> tuple[Mapping[str, str], ...] | None:
    """Return the plates of an opened `list`, by column; None where there is none, or it is no list."""
    try:
        found: object = None if text is None else json.loads(text)
    except ValueError:
        return None
    match found:
        case {"columns": list(columns), "plates": list(plates)}:
            if all(isinstance(cells, list) and len(cells) == len(columns) for cells in plates):
                return tuple(
                    {str(name): str(cell) for name, cell in zip(columns, cells, strict=True)}
                    for cells in plates
                )
    return None


class ListingInvalid(ValueError):
    """What stands beside a plate can't be meant; the text names the column and holds no value."""


def facts(batch: Batch, listed: ListedPlate, windows: Windows) -> HouseListing:
    """Return the facts of one plate for the house rules.

    An entry is valid from now for one calendar year on the clocks of the bundle, if nothing else is said; so
    is a renewal (ours).

    Raises:
        ListingInvalid: a day that the act needs is missing, is still to come, or they contradict each other.
    """
    since, until, expires, reviewed = _times(batch, listed, windows)
    if until <= since:
        raise ListingInvalid("`expires` is not after the day from which it is valid")
    return HouseListing(
        agency=batch.agency,
        providers=(batch.holder,),
        office=batch.lister.office,
        duty_station=batch.lister.duty_station,
        roles=batch.lister.roles,
        trained_at=batch.lister.trained_at,
        rules_accepted=batch.lister.rules_accepted,
        good_standing=batch.lister.good_standing,
        protections_attested=batch.lister.attested,
        reason=listed.reason,
        plate_state=listed.state,
        plate_country=listed.country,
        now=batch.now,
        act=batch.act,
        case_named=bool(listed.case),
        case_current=listed.case_current,
        tracking_number=bool(listed.tracking),
        tracking_is_number=not listed.tracking or is_tracking_number(listed.tracking),
        free_text=listed.has_text,
        other_columns=listed.has_more,
        documented=batch.documented,
        need_affirmed=batch.need_affirmed,
        valid_from=since,
        valid_until=until,
        expires_at=expires,
        reviewed_at=reviewed,
        batch=batch.plates,
    )


def validity(batch: Batch, listed: ListedPlate, windows: Windows) -> tuple[datetime, datetime]:
    """Return from when until when a plate is on its list by this act; raise `ListingInvalid` as `facts`."""
    return _times(batch, listed, windows)[:2]


def changed(
    agency: str,
    act: str,
    holder: str,
    lister: Lister,
    rows: Sequence[Mapping[str, str]],
    *,
    note: str,
    bundle: bytes | None,
    warned: Sequence[Rule] = (),
) -> Act:
    """Return the entry of what was done to a hot list (H8, GUI K.3).

    In clear stand the act, who holds the list, how many plates, and the house bundle with the rules that
    warned; plates, cases, tracking numbers, user and note stand behind commitments.

    Args:
        agency: Whose people did it.
        act: `entered`, `kept`, `renewed`, `removed` or `expired`.
        holder: Who holds the list.
        lister: Who did it.
        rows: For each plate what there is to document, by name.
        note: The user's own words on it; they stay in this house (H2).
        bundle: Digest of the house bundle by which it was judged; None: nothing was.
        warned: Rules that warned.
    """
    public: dict[str, JsonValue] = {"agency": agency, "act": act, "holder": holder, "plates": len(rows)}
    if bundle is not None:
        public["house"] = {"bundle": bundle.hex(), "warned": [rule.policy_id for rule in warned]}
    cells = [[row.get(name, "") for name in DOCUMENTED] for row in rows]
    listed = json.dumps({"columns": DOCUMENTED, "plates": cells}, ensure_ascii=False, separators=(",", ":"))
    return Act(
        kind=KIND,
        public=public,
        private={"user": lister.user, "office": lister.office, "list": listed}
        | ({"note": note} if note else {}),
    )


def _times(
    batch: Batch, listed: ListedPlate, windows: Windows
) -> tuple[datetime, datetime, datetime, datetime]:
    """Return from when and until when it is valid by this act, when it expires as it stands, last review."""
    now = batch.now
    for column in ("entered", "renewed", "reviewed"):
        day: datetime | None = getattr(listed, column)
        if day is not None and day > now + CLOCK_SKEW:
            raise ListingInvalid(f"`{column}` is still to come: a year counts from what was done")
    match batch.act:
        case "ENTER":
            since = listed.entered or now
            until = listed.expires or _year_after(since, windows)
            if until <= now:
                raise ListingInvalid("`expires` has passed: an entry that has expired is not entered")
            return since, until, until, since
        case "KEEP":
            since = listed.renewed or _required(listed.entered, "entered", "keep")
            until = _required(listed.expires, "expires", "keep")
            return since, until, until, max(since, listed.reviewed or since)
        case "RENEW":
            return now, _year_after(now, windows), _required(listed.expires, "expires", "renew"), now
        case _:
            raise ListingInvalid(f"act `{batch.act}` is not judged")


def _required(value: datetime | None, column: str, act: str) -> datetime:
    if value is None:
        raise ListingInvalid(f"`{column}` is empty: to {act} a plate it must be known")
    return value


def _year_after(since: datetime, windows: Windows) -> datetime:
    """Return the same day and time of the next year on the bundle's clocks; 28 February after the 29th.

    An hour less where those clocks show a time never or twice, so that it is a year as `years_before` counts.
    """
    local = since.astimezone(windows.zone)
    try:
        then = local.replace(year=local.year + 1)
    except ValueError:
        then = local.replace(year=local.year + 1, day=28)
    until = then.astimezone(UTC)
    longer = max(timedelta(), windows.years_before(until, 1) - since)
    return (until - longer).astimezone(since.tzinfo)
