"""Obligations: what must be met or the permit falls. Pure functions over plain values and `comity.v1.Read`.

Strictest wins, whatever the order: the latest start, the fewest reads, the shortest retention, all that
is withheld. An obligation that is not implemented here raises `ObligationUnknown` (fail closed).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from comity.policy.errors import ObligationUnknown
from comity.v1 import common_pb2, result_pb2

DEFAULT_MAX_READS: Final = 1000
"""Reads of one answer where no policy says fewer *(ours)*."""

IMPLEMENTED: Final[dict[str, str]] = {
    "withhold_location": "LOCATION",
    "withhold_images": "IMAGES",
    "withhold_vehicle": "VEHICLE",
    "withhold_camera": "CAMERA",
}
"""Obligations that a policy can name in `@obligation`, with the element each withholds."""

_NUMBERS: Final = {
    "LOCATION": common_pb2.ELEMENT_LOCATION,
    "IMAGES": common_pb2.ELEMENT_IMAGES,
    "VEHICLE": common_pb2.ELEMENT_VEHICLE,
    "CAMERA": common_pb2.ELEMENT_CAMERA,
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Applied:
    """An obligation with its cause, as `comity.v1.AppliedObligation` carries it to the requester."""

    name: str
    """`clip_period`, `clip_retention`, `limit_reads`, or one of `IMPLEMENTED`."""
    text: str
    """One line for a person."""
    policy_id: str
    """The policy that asked for it; empty: no policy permits more; `agreement:<id>`: the agreement;
    `retention.<class>`: the bundle's `windows.toml`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """All that a permit asks for."""

    earliest: datetime | None = None
    """First instant that may be searched; `None`: no limit."""
    kept_since: datetime | None = None
    """First instant of which the store's reads are still given: its retention (A8); `None`: no limit."""
    max_reads: int = DEFAULT_MAX_READS
    """Most reads of one answer, at least 1."""
    retain_days: int = 0
    """Days that the receiver may keep the data; 0: no number, only as long as its case needs (A7)."""
    withhold: frozenset[str] = frozenset()
    """Elements that must not leave, of `ELEMENTS`."""
    caveats: tuple[str, ...] = ()
    """Lines that a person must be shown with the data (A5); sorted."""
    applied: tuple[Applied, ...] = ()
    """Obligations that change this answer, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """The part of a period that may be searched."""

    start: datetime
    end: datetime
    clipped: bool
    """Whether it is shorter than what was asked."""


def later(first: datetime | None, second: datetime | None) -> datetime | None:
    """Return the later of two starts, the stricter one; `None` limits nothing."""
    return max((start for start in (first, second) if start is not None), default=None)


def clip(period_start: datetime, period_end: datetime, obligations: Obligations) -> Clipped | None:
    """Return the part of the period that may be searched; `None` if nothing is left of it.

    Never widens: the start only moves forward, the end never moves (Q5).
    """
    start = period_start
    if obligations.earliest is not None and obligations.earliest > start:
        start = obligations.earliest
    if start >= period_end:
        return None
    return Clipped(start=start, end=period_end, clipped=start != period_start)


def retention(*days: int) -> int:
    """Return the strictest retention: the fewest days; 0 (no number set) gives way to any number."""
    return min((value for value in days if value > 0), default=0)


def strictest(parts: Iterable[Obligations]) -> Obligations:
    """Return obligations at least as strict as each part, independent of their order.

    Raises:
        ValueError: no parts: an empty collection of checks permits nothing.
    """
    found = list(parts)
    if not found:
        raise ValueError("no obligations to combine")
    starts = [part.earliest for part in found if part.earliest is not None]
    kept = [part.kept_since for part in found if part.kept_since is not None]
    return Obligations(
        earliest=max(starts, default=None),
        kept_since=max(kept, default=None),
        max_reads=min(part.max_reads for part in found),
        retain_days=retention(*(part.retain_days for part in found)),
        withhold=frozenset().union(*(part.withhold for part in found)),
        caveats=tuple(sorted({caveat for part in found for caveat in part.caveats})),
        applied=tuple(sorted({applied for part in found for applied in part.applied})),
    )


def element_of(name: str) -> str:
    """Return the element that an obligation withholds.

    Raises:
        ObligationUnknown: this version does not implement it.
    """
    try:
        return IMPLEMENTED[name]
    except KeyError:
        raise ObligationUnknown(
            f"obligation `{name}` is not implemented; implemented are {', '.join(sorted(IMPLEMENTED))}"
        ) from None


def withhold(
    read: result_pb2.Read, elements: Iterable[str], *, wanted: Iterable[str] | None = None
) -> result_pb2.Read:
    """Return a copy of the read without these elements, named in its `withheld`.

    Args:
        read: Left as it is.
        elements: Elements to withhold, of `ELEMENTS`.
        wanted: Elements that the requester asked for; others are left out without being called
            withheld. `None`: all.

    `CAMERA` takes the `source` along, since both name the reader's owner or place (A6).

    Raises:
        ObligationUnknown: an element that this version cannot withhold.
    """
    kept = result_pb2.Read()
    kept.CopyFrom(read)
    hidden = frozenset(elements)
    unwanted = frozenset() if wanted is None else frozenset(IMPLEMENTED.values()) - frozenset(wanted)
    for element in hidden | unwanted:
        _remove(kept, element)
    said = {_NUMBERS[element] for element in hidden - unwanted}
    kept.ClearField("withheld")
    kept.withheld.extend(sorted(said | set(read.withheld)))
    return kept


def _remove(read: result_pb2.Read, element: str) -> None:
    match element:
        case "LOCATION":
            read.ClearField("location")
        case "IMAGES":
            read.ClearField("images")
        case "VEHICLE":
            read.ClearField("vehicle")
        case "CAMERA":
            read.ClearField("camera")
            read.ClearField("source")
        case _:
            raise ObligationUnknown(f"element `{element}` cannot be withheld by this version")
