"""Invented traffic past invented cameras, of a believable shape; the same seed gives the same traffic.

Nobody's plate and nobody's journey: vehicles, places and passages come out of a seeded generator.
The shape is that of real stores: commuters who pass the same two cameras on working days at their
own hours, many vehicles that pass once, a second reading of one passage within seconds, about one
plate in fifty misread (`O` for `0`, `B` for `8`, a character dropped), and confidence to match.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

LOCAL = ZoneInfo("America/Los_Angeles")
"""Where all of the demonstration's cameras stand."""

MISREAD_SHARE = 0.02
"""The share of reads whose plate is not what stands on the vehicle."""

_COMMUTERS_SHARE = 0.45
_REPEATED_SHARE = 0.04
_COMMUTING_DAYS = 60
_LOOKALIKES = {
    "0": "O",
    "O": "0",
    "8": "B",
    "B": "8",
    "1": "I",
    "I": "1",
    "5": "S",
    "S": "5",
    "2": "Z",
    "Z": "2",
}
_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
_MODELS = (
    ("Toyota", "Camry"),
    ("Toyota", "Tacoma"),
    ("Honda", "Civic"),
    ("Honda", "Accord"),
    ("Ford", "F-150"),
    ("Ford", "Transit"),
    ("Chevrolet", "Silverado"),
    ("Nissan", "Altima"),
    ("Tesla", "Model 3"),
    ("Kia", "Soul"),
    ("Hyundai", "Elantra"),
    ("Freightliner", "Cascadia"),
    ("Kenworth", "T680"),
)
_COLOURS = ("white", "black", "silver", "grey", "blue", "red", "green", "beige")
# How busy each hour of the day is.
_HOURS = (1, 1, 1, 1, 2, 4, 7, 9, 8, 6, 6, 7, 7, 7, 7, 8, 9, 9, 8, 6, 4, 3, 2, 2)
_BY_HOUR = [hour for hour, weight in enumerate(_HOURS) for _ in range(weight)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A camera of the demonstration. Its place is near real roads, its name is invented."""

    name: str
    owner: str
    kind: str
    latitude: float
    longitude: float
    address: str
    intersection: str
    direction: str
    source: str


class Vehicle(NamedTuple):
    """A vehicle of the demonstration, with the jurisdiction of its plate."""

    plate: str
    state: str
    country: str
    make: str
    model: str
    colour: str


class Capture(NamedTuple):
    """One read: who passed where and when, and what the reader made of it."""

    vehicle: Vehicle
    camera: Camera
    at: datetime
    plate_read: str
    confidence: float


KNOWN_TO_ALL = Vehicle("8ABC123", "CA", "US", "Honda", "Accord", "silver")
"""Each provider's shared stores hold it, at `DAYS_AGO`."""
HARBOR_TRUCK = Vehicle("9PRT206", "CA", "US", "Kenworth", "T680", "white")
"""Known to LAPD and the Port Police alone, on working days of the last two weeks."""
BORDER_CROSSER = Vehicle("BHJ-482-C", "BCN", "MX", "Nissan", "Frontier", "red")
"""A plate with dashes, of Baja California; known to CBP and DEA alone, at `DAYS_AGO`."""
KNOWN_TO_NOBODY = Vehicle("9ZZZ999", "CA", "US", "", "", "")
"""No store holds it: the answer is hits of nobody, and no proof of absence."""


def fleet(random: Random, size: int) -> list[Vehicle]:
    """Return so many vehicles: mostly of California, some of its neighbours and of Baja California."""
    plates: set[str] = set()
    vehicles: list[Vehicle] = []
    while len(vehicles) < size:
        plate, state, country = _plate(random)
        if plate in plates:
            continue
        plates.add(plate)
        make, model = random.choice(_MODELS)
        vehicles.append(Vehicle(plate, state, country, make, model, random.choice(_COLOURS)))
    return vehicles


def _plate(random: Random) -> tuple[str, str, str]:
    """Return a plate of a jurisdiction's own pattern; none ends in the digits of a named plate."""
    letters, draw = "".join(random.choices(_LETTERS, k=3)), random.random()
    number = random.randrange(1000)
    if draw < 0.80:
        return f"{random.randint(5, 7)}{letters}{number:03}", "CA", "US"
    if draw < 0.86:
        return f"{letters[0]}{number:03}{letters[1:]}", "NV", "US"
    if draw < 0.91:
        return f"{letters}{random.randrange(10000):04}", "AZ", "US"
    if draw < 0.95:
        return f"{letters}-{random.randrange(10000):04}", "TX", "US"
    return f"{letters}-{number:03}-A", "BCN", "MX"


def captures(
    random: Random,
    *,
    fleet: Sequence[Vehicle],
    cameras: Sequence[Camera],
    count: int,
    now: datetime,
    days: int,
) -> list[Capture]:
    """Return about so many reads of the last so many days, oldest first."""
    found: list[Capture] = []
    commuting = int(count * _COMMUTERS_SHARE)
    while len(found) < commuting:
        found.extend(_commuter(random, random.choice(fleet), cameras, now, min(days, _COMMUTING_DAYS)))
    del found[commuting:]
    today = now.astimezone(LOCAL).replace(minute=0, second=0, microsecond=0)
    while len(found) < count:
        day = today - timedelta(days=int(days * random.random()) + 1)
        at = day.replace(hour=random.choice(_BY_HOUR)) + timedelta(seconds=3600 * random.random())
        capture = _capture(random, random.choice(fleet), random.choice(cameras), at.astimezone(UTC))
        found.append(capture)
        if random.random() < _REPEATED_SHARE / (1 - _COMMUTERS_SHARE):
            again = capture.at + timedelta(seconds=1 + 3 * random.random())
            found.append(_capture(random, capture.vehicle, capture.camera, again))
    found.sort(key=lambda capture: capture.at)
    return found


def _commuter(
    random: Random, vehicle: Vehicle, cameras: Sequence[Camera], now: datetime, days: int
) -> Iterator[Capture]:
    """Yield the passages of one vehicle that goes to work and comes back."""
    there, back = random.choice(cameras), random.choice(cameras)
    leaves, returns = random.gauss(7.3, 0.9), random.gauss(17.2, 1.1)
    midnight = now.astimezone(LOCAL).replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in range(1, days + 1):
        day = midnight - timedelta(days=ago)
        if day.weekday() >= 5 or random.random() < 0.08:
            continue
        for camera, hour in ((there, leaves), (back, returns)):
            at = day + timedelta(hours=hour + random.gauss(0, 0.2))
            yield _capture(random, vehicle, camera, at.astimezone(UTC))


def _capture(random: Random, vehicle: Vehicle, camera: Camera, at: datetime) -> Capture:
    """Return what a reader made of one passage."""
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    if random.random() < MISREAD_SHARE:
        return Capture(vehicle, camera, at, misread(random, vehicle.plate), 0.45 + 0.35 * random.random())
    return Capture(vehicle, camera, at, vehicle.plate, 1 - 0.18 * math.sqrt(random.random()))


def misread(random: Random, plate: str) -> str:
    """Return a plate as a reader mistakes it: a character for one like it, or one dropped."""
    alike = [index for index, character in enumerate(plate) if character in _LOOKALIKES]
    if alike and random.random() < 0.7:
        index = random.choice(alike)
        return plate[:index] + _LOOKALIKES[plate[index]] + plate[index + 1 :]
    index = random.randrange(len(plate))
    return plate[:index] + plate[index + 1 :]
