"""A provider's reads as a Python program sees them: frozen values, each with its marking.

Nothing here prints content: a read in a log line or a traceback shows whose it is, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from comity.certs.instants import to_instant
from comity.gateway.library.vocabulary import Element, MarkingScheme, elements_of, marking_scheme_of
from comity.v1 import result_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """Handling that travels with data (A4, A5)."""

    provider: str
    """The agency that provides the data; of a whole answer: all of them, or empty."""
    nature: str
    scheme: MarkingScheme
    banner: str
    """The banner line, such as `CUI//LEI`."""
    portion: str
    """The portion mark, such as `(CUI//LEI)`."""
    categories: tuple[str, ...]
    controls: tuple[str, ...]
    """Limited dissemination controls (32 CFR 2002)."""
    agreement_digest: bytes
    retain_days: int
    """Days that the data may be kept; 0: only as long as its case needs."""
    caveats: tuple[str, ...]
    """Lines that a person must be shown with the data (A5)."""
    contact: str

    @classmethod
    def from_proto(cls, marking: result_pb2.Marking) -> Marking:
        """Return a marking of the contract as a Python value."""
        return cls(
            provider=marking.provider,
            nature=marking.nature,
            scheme=marking_scheme_of(marking.scheme),
            banner=marking.banner,
            portion=marking.portion,
            categories=tuple(marking.categories),
            controls=tuple(marking.controls),
            agreement_digest=marking.agreement_digest,
            retain_days=marking.retain_days,
            caveats=tuple(marking.caveats),
            contact=marking.contact,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place; coordinates are degrees WGS 84."""

    latitude: float | None
    longitude: float | None
    address: str
    intersection: str
    grid_metres: int
    """The longest side of the cells to which the coordinates were made coarser; 0: exact."""
    grid: str
    """The name of that grid, such as `wgs84-0.01`; empty: exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicle:
    """A vehicle as a reader saw it; each field may be empty."""

    make: str
    model: str
    colour: str
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera."""

    name: str
    owner: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """An image that the provider holds."""

    image_id: str
    view: str
    digest: bytes
    """SHA-256 of the image; empty if the provider does not know it."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Read:
    """One capture by a reader. What is None or empty was withheld, or the reader did not tell it."""

    provider: str
    """The agency that released it."""
    read_id: str
    plate: str
    """The plate as the reader saw it."""
    matched_reading: str
    """Which reading of the plate that was asked for it is, folded (Q10); empty: no other was asked for."""
    state: str
    country: str
    captured_at: datetime
    """UTC."""
    location: Location | None
    vehicle: Vehicle | None
    camera: Camera | None
    images: tuple[ImageReference, ...]
    confidence: float | None
    """The reader's own, 0 to 1."""
    source: str
    marking: Marking
    withheld: frozenset[Element]
    """Elements that the provider withheld and permits saying so."""
    proto: result_pb2.Read = field(compare=False)
    """The same as it was signed."""

    def __repr__(self) -> str:
        return f"Read(provider={self.provider!r}, …)"

    @classmethod
    def from_proto(cls, provider: str, read: result_pb2.Read) -> Read:
        """Return a verified read of the contract as a Python value."""
        return cls(
            provider=provider,
            read_id=read.read_id,
            plate=read.plate.number,
            matched_reading=read.matched_reading,
            state=read.plate.state,
            country=read.plate.country,
            captured_at=to_instant(read, "captured_at"),
            location=_location(read.location) if read.HasField("location") else None,
            vehicle=_vehicle(read.vehicle) if read.HasField("vehicle") else None,
            camera=_camera(read.camera) if read.HasField("camera") else None,
            images=tuple(
                ImageReference(image_id=image.image_id, view=image.view, digest=image.digest)
                for image in read.images
            ),
            confidence=read.confidence if read.HasField("confidence") else None,
            source=read.source,
            marking=Marking.from_proto(read.marking),
            withheld=frozenset(elements_of(read.withheld)),
            proto=read,
        )


def _location(place: result_pb2.Location) -> Location:
    return Location(
        latitude=place.latitude if place.HasField("latitude") else None,
        longitude=place.longitude if place.HasField("longitude") else None,
        address=place.address,
        intersection=place.intersection,
        grid_metres=place.grid_metres,
        grid=place.grid,
    )


def _vehicle(vehicle: result_pb2.Vehicle) -> Vehicle:
    return Vehicle(make=vehicle.make, model=vehicle.model, colour=vehicle.colour, direction=vehicle.direction)


def _camera(camera: result_pb2.Camera) -> Camera:
    return Camera(name=camera.name, owner=camera.owner, kind=camera.kind)
