"""What a store of reads is to the rest of the provider's end.

A `Source` answers one question only: which reads of one plate lie in one period (Q1, Q2, Q6). It
knows no policy and no requester; the one path in front of it decided before it is asked, and what
it gives is clipped, withheld and marked after it.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, Self

from comity.policy.plates import PlateInvalid, fold
from comity.v1 import result_pb2

_EARTH_RADIUS_METRES = 6_371_008.8

Progress = Callable[[int, int], None]
"""Told how much is done of how much: rows of a table, bytes of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchArea:
    """A circle that narrows a search by plate; it never stands alone (Q1).

    Attributes:
        latitude: Of the centre, degrees WGS 84, -90 to 90.
        longitude: Of the centre, degrees WGS 84, -180 to 180.
        radius_metres: 1 to 100,000.
    """

    latitude: float = field(repr=False)
    longitude: float = field(repr=False)
    radius_metres: int = field(repr=False)

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError("area: the centre is not a place in degrees WGS 84")
        if not 1 <= self.radius_metres <= 100_000:
            raise ValueError("area: the radius is not 1 to 100,000 metres")

    def contains(self, latitude: float, longitude: float) -> bool:
        """Return whether a place lies in the circle: great-circle distance on the mean sphere."""
        here, there = math.radians(self.latitude), math.radians(latitude)
        half_chord = (
            math.sin((there - here) / 2) ** 2
            + math.cos(here) * math.cos(there) * math.sin(math.radians(longitude - self.longitude) / 2) ** 2
        )
        return 2 * _EARTH_RADIUS_METRES * math.asin(min(1.0, math.sqrt(half_chord))) <= self.radius_metres


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceQuery:
    """One plate, one period: all that a store is ever asked (Q1, Q2).

    Attributes:
        folded_plate: The plate number, already folded (`comity.policy.plates.fold`).
        state: The part of ISO 3166-2 after the dash, for example `CA`; never empty (Q3).
        country: ISO 3166-1 alpha-2, for example `US`; never empty.
        start: The first instant inside; aware.
        end: The first instant after; aware, later than `start`.
        limit: The most reads that are given, at least 1.
        area: Narrows the search; None: everywhere.
        seconds: How long the answer is waited for; None: for as long as it takes.
        over: Set when nobody waits any more. A store that can be interrupted then gives up, with
            `SourceFailed`, within a moment; whatever it would still give is dropped.
    """

    folded_plate: str = field(repr=False)
    state: str = field(repr=False)
    country: str = field(repr=False)
    start: datetime = field(repr=False)
    end: datetime = field(repr=False)
    limit: int
    area: SearchArea | None = None
    seconds: float | None = None
    over: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            is_folded = fold(self.folded_plate) == self.folded_plate
        except PlateInvalid:
            is_folded = False
        if not is_folded:
            raise ValueError("source query: the plate is not folded")
        if not re.fullmatch("[A-Z0-9]{1,3}", self.state) or not re.fullmatch("[A-Z]{2}", self.country):
            raise ValueError("source query: state or country is no part of an ISO 3166 code in upper case")
        if self.start.tzinfo is None or self.end.tzinfo is None or self.end <= self.start:
            raise ValueError("source query: the period has no zone, or does not end after its start")
        if self.limit < 1:
            raise ValueError("source query: the limit is less than 1")

    def admits(self, read: StoredRead) -> bool:
        """Return whether a read of the right plate answers this query (Q6).

        Its time lies in the period. Its state and country are equal to those asked for, or not
        known: readers often miss or mistake the state, and a read that may be the one is shown
        with an empty state rather than kept back. With an area, its place is known and inside.
        """
        if not self.start <= read.captured_at < self.end:
            return False
        if read.state not in ("", self.state) or read.country not in ("", self.country):
            return False
        if self.area is None:
            return True
        if read.latitude is None or read.longitude is None:
            return False
        return self.area.contains(read.latitude, read.longitude)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image that the agency holds; it is fetched in an exchange of its own.

    Attributes:
        image_id: Has a meaning at the provider only.
        view: `front`, `rear`, `plate` or `scene`.
        digest: SHA-256 of the image's bytes, 32 bytes; empty if not known.
    """

    image_id: str = field(repr=False)
    view: str
    digest: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRead:
    """One capture by a reader, as the store holds it: nothing withheld, nothing marked yet.

    Attributes:
        store_id: The store that holds it, as adapter.toml names it.
        read_id: The store's own id of it.
        plate: As the reader saw it, never folded.
        state: The part of ISO 3166-2 after the dash; empty if not known.
        country: ISO 3166-1 alpha-2; empty if not known.
        captured_at: Aware, UTC.
        latitude: Degrees WGS 84; None if not known, and then so is `longitude`.
        longitude: Degrees WGS 84; None if not known, and then so is `latitude`.
        address: The nearest; may be empty, as may each text below.
        intersection: The nearest.
        make: Of the vehicle.
        model: Of the vehicle.
        colour: Of the vehicle.
        direction: Of travel, as the reader names it.
        camera: Its name within the agency.
        camera_owner: Who owns it.
        camera_kind: `fixed`, `mobile`, `covert` or what the agency calls it.
        images: References; empty if none.
        confidence: The reader's own, 0 to 1; None if it gave none.
        source: Where the record comes from, for example `Delaware toll road camera`.
    """

    store_id: str
    read_id: str = field(repr=False)
    plate: str = field(repr=False)
    state: str = field(default="", repr=False)
    country: str = field(default="", repr=False)
    captured_at: datetime = field(repr=False)
    latitude: float | None = field(default=None, repr=False)
    longitude: float | None = field(default=None, repr=False)
    address: str = field(default="", repr=False)
    intersection: str = field(default="", repr=False)
    make: str = field(default="", repr=False)
    model: str = field(default="", repr=False)
    colour: str = field(default="", repr=False)
    direction: str = field(default="", repr=False)
    camera: str = field(default="", repr=False)
    camera_owner: str = field(default="", repr=False)
    camera_kind: str = field(default="", repr=False)
    images: tuple[StoredImage, ...] = field(default=(), repr=False)
    confidence: float | None = field(default=None, repr=False)
    source: str = field(default="", repr=False)

    def to_proto(self) -> result_pb2.Read:
        """Return the read as `comity.v1` writes it, whole; `marking` and `withheld` are left unset.

        What is not known is unset, not empty: a read without a place has no `location`.
        """
        read = result_pb2.Read(read_id=self.read_id, source=self.source)
        read.plate.number, read.plate.state, read.plate.country = self.plate, self.state, self.country
        read.captured_at.FromDatetime(self.captured_at)
        if self.latitude is not None and self.longitude is not None:
            read.location.latitude, read.location.longitude = self.latitude, self.longitude
        if self.address or self.intersection:
            read.location.address, read.location.intersection = self.address, self.intersection
        if self.make or self.model or self.colour or self.direction:
            read.vehicle.make, read.vehicle.model = self.make, self.model
            read.vehicle.colour, read.vehicle.direction = self.colour, self.direction
        if self.camera or self.camera_owner or self.camera_kind:
            read.camera.name, read.camera.owner, read.camera.kind = (
                self.camera,
                self.camera_owner,
                self.camera_kind,
            )
        for image in self.images:
            read.images.add(image_id=image.image_id, view=image.view, digest=image.digest)
        if self.confidence is not None:
            read.confidence = self.confidence
        return read


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResult:
    """What a store holds of one plate in one period.

    Attributes:
        reads: Newest first, at most the query's limit.
        truncated: Whether more matched; the oldest are the ones that are missing.
        unusable: Rows of this plate that could not be used, so that nothing is silent.
    """

    reads: tuple[StoredRead, ...] = field(repr=False)
    truncated: bool
    unusable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """What a store is, without reading it. Holds nothing of any read.

    Attributes:
        store_id: As adapter.toml names it.
        store_class: What the policy decides by, for example `fixed` or `mobile`.
        kind: `sql` or `csv`.
        place: The table, or the file's name.
        columns: Each mapped field, and the column that fills it.
    """

    store_id: str
    store_class: str
    kind: str
    place: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a whole store holds, counted. No plate, no row, no place.

    Attributes:
        usable: Rows that can answer a query.
        rejected: Rows that cannot, by reason.
        noted: Things that were not as they should be in rows that are usable, by what.
        first: The earliest usable read, UTC; None if there is none.
        last: The latest usable read, UTC; None if there is none.
        problems: What makes the store miss hits as a whole, one line each; empty if all is well.
    """

    usable: int
    rejected: Mapping[str, int]
    noted: Mapping[str, int]
    first: datetime | None
    last: datetime | None
    problems: tuple[str, ...] = ()

    @property
    def rejected_count(self) -> int:
        """How many rows cannot be used, whatever the reason."""
        return sum(self.rejected.values())


class Source(Protocol):
    """A store of reads, open. Safe to use from several threads at once."""

    def search(self, query: SourceQuery) -> SourceResult:
        """Return the reads that answer the query: never one more, never one less.

        Blocks; an adapter calls it in a thread.

        Raises:
            SourceFailed: The store failed, or nobody waits any more; whether it holds a match is not known.
        """
        ...

    def describe(self) -> SourceDescription:
        """Return what the store is, without reading it."""
        ...

    def survey(self, progress: Progress | None = None) -> Survey:
        """Read the whole store and return what it holds, counted.

        Raises:
            SourceFailed: The store failed.
        """
        ...

    def close(self) -> None:
        """Let go of the store; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
