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
from comity.policy.facts import ELEMENTS
from comity.policy.grids import GRIDS, coarse, coarsest
from comity.v1 import common_pb2, result_pb2

DEFAULT_MAX_READS: Final = 1000
"""Reads of one answer where no policy says fewer *(ours)*."""

COARSEN: Final = "coarsen_location"
PLACE: Final = "withhold_place"

IMPLEMENTED: Final[dict[str, frozenset[str]]] = {
    "withhold_location": frozenset({"LOCATION"}),
    "withhold_images": frozenset({"IMAGES"}),
    "withhold_vehicle": frozenset({"VEHICLE"}),
    "withhold_camera": frozenset({"CAMERA"}),
    COARSEN: frozenset({"CAMERA"}),
    PLACE: frozenset({"LOCATION", "CAMERA"}),
}
"""Obligations that a policy can name in `@obligation`, with the elements that each withholds whole.

`coarsen_location` puts the location on the grid that `@grid` names, and takes the camera along, whose name
would betray the place. `withhold_place` shows a read without its place (A6): neither location nor camera,
and of the images those of the plate alone.
"""

OF_PLACE: Final = frozenset({COARSEN, PLACE})
"""Obligations that protect a place. They stand on permits of `Search`: then they hold whatever is wanted."""

PLATE_VIEW: Final = "plate"
"""The view of an image that shows the plate and nothing around it."""

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
    said: bool = True
    """Whether the requester is told of it; the provider's own log always is."""


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
    unsaid: frozenset[str] = frozenset()
    """Those of `withhold` of which the requester isn't told that they are withheld."""
    grid: str = ""
    """The grid that locations are put on, of `GRIDS`; empty: they are exact."""
    plate_images_only: bool = False
    """Whether images that show more than the plate must not leave."""
    reads_policy: str = ""
    """The policy that set `max_reads`; empty: none did."""
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
    fewest = min(found, key=lambda part: (part.max_reads, part.reads_policy))
    return Obligations(
        earliest=max(starts, default=None),
        kept_since=max(kept, default=None),
        max_reads=fewest.max_reads,
        reads_policy=fewest.reads_policy,
        retain_days=retention(*(part.retain_days for part in found)),
        withhold=frozenset().union(*(part.withhold for part in found)),
        unsaid=frozenset().union(*(part.unsaid for part in found)),
        grid=coarsest(part.grid for part in found),
        plate_images_only=any(part.plate_images_only for part in found),
        caveats=tuple(sorted({caveat for part in found for caveat in part.caveats})),
        applied=tuple(sorted({applied for part in found for applied in part.applied})),
    )


def elements_of(name: str) -> frozenset[str]:
    """Return the elements that an obligation withholds whole.

    Raises:
        ObligationUnknown: this version does not implement it.
    """
    try:
        return IMPLEMENTED[name]
    except KeyError:
        raise ObligationUnknown(
            f"obligation `{name}` is not implemented; implemented are {', '.join(sorted(IMPLEMENTED))}"
        ) from None


def touched_by(name: str) -> frozenset[str]:
    """Return the elements that an obligation withholds, whole or in part, or makes coarser.

    Raises:
        ObligationUnknown: as `elements_of`.
    """
    in_part = {PLACE: frozenset({"IMAGES"}), COARSEN: frozenset({"LOCATION"})}
    return elements_of(name) | in_part.get(name, frozenset())


def withhold(
    read: result_pb2.Read,
    elements: Iterable[str],
    *,
    wanted: Iterable[str] | None = None,
    unsaid: Iterable[str] = (),
    grid: str = "",
    plate_images_only: bool = False,
) -> result_pb2.Read:
    """Return a copy of the read without these elements, named in its `withheld`.

    Args:
        read: Left as it is.
        elements: Elements to withhold, of `ELEMENTS`.
        wanted: Elements that the requester asked for; others are left out without being called
            withheld. `None`: all.
        unsaid: Of `elements`, those that aren't called withheld either.
        grid: The grid that the location is put on; empty: it stays exact. A location without coordinates
            is withheld.
        plate_images_only: Whether images that show more than the plate are withheld.

    `CAMERA` takes the `source` along, since both name the reader's owner or place (A6).

    Raises:
        ObligationUnknown: an element or a grid that this version doesn't know.
    """
    kept = result_pb2.Read()
    kept.CopyFrom(read)
    hidden = set(elements)
    unwanted = frozenset() if wanted is None else ELEMENTS - frozenset(wanted)
    for element in hidden | unwanted:
        _remove(kept, element)
    if grid and not _coarsen(kept, grid) and read.HasField("location"):
        hidden.add("LOCATION")
    if plate_images_only:
        plates = [image for image in kept.images if image.view == PLATE_VIEW]
        del kept.images[:]
        kept.images.extend(plates)
        hidden.add("IMAGES")
    said = {_NUMBERS[element] for element in hidden - unwanted - frozenset(unsaid)}
    kept.ClearField("withheld")
    kept.withheld.extend(sorted(said | set(read.withheld)))
    return kept


def _coarsen(read: result_pb2.Read, grid: str) -> bool:
    """Put a read's location on a grid; if that isn't possible, remove it and return False."""
    if grid not in GRIDS:
        raise ObligationUnknown(f"grid `{grid}` is not known; known are {', '.join(GRIDS)}")
    place = coarse(read.location, grid)
    if place is None:
        read.ClearField("location")
        return False
    read.location.CopyFrom(place)
    return True


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
