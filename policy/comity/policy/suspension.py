"""When a provider suspends a person whom it keeps refusing for want of authorization (Q8).

`bundle.toml` may hold a table; without one nobody is suspended:

    [suspension]
    refusals = 5                         # so many refusals …
    window_hours = 24                    # … within so long suspend
    access_returns = "recertification"   # or "length", "either", "both"
    length_hours = 72                    # for the last three: how long a suspension lasts

Refusals count that a `forbid` with `@authorization` determined: the person had no right to ask, whatever the
question. The documents say that multiple attempts suspend access automatically and that functions come back
after recertification (CBP 8); how many, how soon and how long are ours. `length` alone lets access return
without recertification, which those documents don't know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from typing import Final

from comity.policy.errors import PolicyError

_KEYS: Final = ("refusals", "window_hours", "access_returns", "length_hours")
_MOST_HOURS: Final = 24 * 366 * 10


class SuspensionInvalid(PolicyError):
    """A key of the table is missing, unknown or wrong; the text says which."""

    def __init__(self, key: str, detail: str) -> None:
        super().__init__(detail)
        self.key = key


class Returns(Enum):
    """How access comes back."""

    RECERTIFICATION = "recertification"
    """By the agency's act of readmission after recertification (Q8)."""
    LENGTH = "length"
    """When the length is over."""
    EITHER = "either"
    """By the one or the other, whichever comes first."""
    BOTH = "both"
    """By that act, once the length is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspensionTerms:
    """What a policy says of suspensions."""

    refusals: int
    """So many, at least 2, within `window` suspend."""
    window: timedelta
    returns: Returns
    length: timedelta | None = None
    """None: only an act ends it."""


def parse_suspension(table: Mapping[str, object]) -> SuspensionTerms:
    """Return the terms of a bundle's table; raise `SuspensionInvalid`, which names the key."""
    for key in table:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"; did you mean `{near[0]}`" if near else f"; known are {', '.join(_KEYS)}"
            raise SuspensionInvalid(key, f"key `{key}` is not known{hint}")
    returns = _returns(table)
    timed = returns is not Returns.RECERTIFICATION
    if timed != ("length_hours" in table):
        wrong = "is required" if timed else "has no meaning"
        detail = f'`length_hours` {wrong} where `access_returns` is "{returns.value}"'
        raise SuspensionInvalid("access_returns" if timed else "length_hours", detail)
    return SuspensionTerms(
        refusals=_number(table, "refusals", least=2, most=1_000),
        window=timedelta(hours=_number(table, "window_hours", least=1, most=_MOST_HOURS)),
        returns=returns,
        length=timedelta(hours=_number(table, "length_hours", least=1, most=_MOST_HOURS)) if timed else None,
    )


def _returns(table: Mapping[str, object]) -> Returns:
    try:
        return Returns(table.get("access_returns"))
    except ValueError as error:
        known = ", ".join(f'"{each.value}"' for each in Returns)
        raise SuspensionInvalid("access_returns", f"`access_returns` must be one of {known}") from error


def _number(table: Mapping[str, object], key: str, *, least: int, most: int) -> int:
    value = table.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise SuspensionInvalid(key, f"`{key}` must be a number from {least} to {most}")
    return value
