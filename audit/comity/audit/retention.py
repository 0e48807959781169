"""When what an end keeps beside its log is to be forgotten (L5): terms, times, and the clock's own proof.

Openings and envelopes stand in `state.db`; the log itself holds commitments, so every proof still verifies
once they are gone. The terms come from the table `[retention]` of an end's configuration::

    [retention]
    openings_days = 2557     # seven years (L5): salts and values behind the commitments
    envelopes_days = 2557    # signed statements, queries and details that were kept as evidence
    segments_days = 1        # write-ahead segments, which hold both once more
    grace_days = 30          # and so long after its time, in which the agency concerned may retrieve it
    every_days = 7           # how often the end looks

Nothing here reads a clock or a file.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

from comity.audit.entry import to_milliseconds
from comity.audit.errors import RetentionRefused
from comity.certs.roster import Federation

TABLE: Final = "retention"
RANGES: Final = {
    "openings_days": (1, 36_525),
    "envelopes_days": (1, 36_525),
    "segments_days": (1, 365),
    "grace_days": (0, 365),
    "every_days": (1, 31),
}
"""The least and the most that each number may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionTerms:
    """How long an end keeps what; days. Raises `RetentionRefused` for terms that can't be meant."""

    openings_days: int = 2_557
    envelopes_days: int = 2_557
    segments_days: int = 1
    grace_days: int = 30
    every_days: int = 7

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise RetentionRefused(f"key `{TABLE}.{name}` must be a number from {least} to {most}")
        if self.envelopes_days > self.openings_days:
            raise RetentionRefused(
                f"key `{TABLE}.envelopes_days` must not be more than `openings_days`, {self.openings_days}: "
                "a hold is found by the opening of its case"
            )
        if self.segments_days > self.envelopes_days:
            raise RetentionRefused(
                f"key `{TABLE}.segments_days` must not be more than `envelopes_days`, {self.envelopes_days}: "
                "segments hold the same once more"
            )

    def cutoffs(self, now: datetime) -> "Cutoffs":
        """Return the times before which things are due for deletion at `now`."""
        grace = timedelta(days=self.grace_days)
        return Cutoffs(
            now=to_milliseconds(now),
            openings=to_milliseconds(now - timedelta(days=self.openings_days) - grace),
            envelopes=to_milliseconds(now - timedelta(days=self.envelopes_days) - grace),
        )


SEVEN_YEARS: Final = RetentionTerms()
"""The terms of the rules (L5), where a configuration says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """Times in milliseconds since 1970: what is not younger than one of the last two is due."""

    now: int
    openings: int
    envelopes: int

    def of(self, table: str) -> int:
        """Return the cutoff of `openings` or `envelopes`."""
        return self.openings if table == "openings" else self.envelopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Believable:
    """Between which times a clock can be believed, by somebody else's signature."""

    since: datetime
    until: datetime

    @classmethod
    def by(cls, federation: Federation) -> "Believable":
        """Return since when the governing authority's roster is signed, and until when it is trusted."""
        return cls(since=federation.signed_at, until=federation.trusted_until)


def check_clock(now: datetime, believable: Believable) -> None:
    """Raise `RetentionRefused` if a clock is ahead of what was signed for its time, or behind it.

    A clock that is years ahead makes everything look due. The authority signs a timestamp now and then, which
    counts for a bounded time: a clock outside of it is wrong, or nobody has told this end the time for too
    long.
    """
    if now >= believable.until:
        raise RetentionRefused(
            f"nothing is deleted: by this clock it is {now:%Y-%m-%d}, and the roster's signed timestamp "
            f"counts until {believable.until:%Y-%m-%d %H:%M} UTC; either the clock is ahead, or a newer "
            "timestamp of the governing authority is missing"
        )
    if now < believable.since:
        raise RetentionRefused(
            f"nothing is deleted: by this clock it is {now:%Y-%m-%d}, before the roster was signed "
            f"({believable.since:%Y-%m-%d %H:%M} UTC); the clock is behind"
        )


def parse_terms(table: object) -> RetentionTerms:
    """Return the terms of a configuration's table `[retention]`; None gives the defaults.

    Raises `RetentionRefused`, whose text names the key and what would have been right.
    """
    if table is None:
        return SEVEN_YEARS
    if not isinstance(table, Mapping):
        raise RetentionRefused(f"key `{TABLE}` must be a table, `[{TABLE}]`")
    known = [one.name for one in fields(RetentionTerms)]
    numbers: dict[str, int] = {}
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(known)}"
            raise RetentionRefused(f"unknown key `{TABLE}.{key}`; {hint}")
        if not isinstance(value, int) or isinstance(value, bool):
            least, most = RANGES[key]
            raise RetentionRefused(f"key `{TABLE}.{key}` must be a number from {least} to {most}")
        numbers[key] = value
    return RetentionTerms(**numbers)
