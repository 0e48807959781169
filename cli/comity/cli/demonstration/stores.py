"""The stores of the five providers of the demonstration: invented reads, each agency's own format.

No two agencies keep reads alike, and neither do these: seven database tables of different names,
columns and ways to write a time, and one CSV file with all that real files hold (plates in lower
case, states as `new_mexico`, coordinates that are `NA`, a Python literal in a field, rows that
cannot be used). What makes them readable is the `[[store]]` table that comes with each.

A few plates are named, so that a person can ask about them. `8ABC123` (California) is known to all
five providers: each captured it 2, 4, 9, 16, 23 and 37 days ago; each but the vendor also 1,280 days
(about 3.5 years) ago, before agreements took effect; CBP's mobile and covert readers 3 days ago; and
the vendor 4.9, 5.1 and 7 years ago, on either side of the five-year limit (Q5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from comity.cli.demonstration.formats import WRITERS
from comity.cli.demonstration.mappings import mapping_of
from comity.cli.demonstration.places import CAMERAS
from comity.cli.demonstration.traffic import (
    BORDER_CROSSER,
    HARBOR_TRUCK,
    KNOWN_TO_ALL,
    Capture,
    Vehicle,
    captures,
    fleet,
)

PROVIDERS = tuple(CAMERAS)
"""The agencies that provide: `cbp`, `dea`, `vendor`, `lapd`, `lahd`."""

DAYS_AGO = (2, 4, 9, 16, 23, 37)
"""When each provider captured `KNOWN_TO_ALL`, whole days before now."""
BEFORE_AGREEMENTS_DAYS_AGO = 1_280
"""A capture before any agreement of the demonstration took effect (about 3.5 years ago)."""
LIMIT_YEARS_AGO = (4.9, 5.1, 7.0)
"""The vendor's old captures of `KNOWN_TO_ALL`: inside and outside five years (Q5)."""

_DAY_OF_YEARS = 365.25
_NOT_SHARED = {("cbp", "mobile"), ("cbp", "covert")}
Progress = Callable[[str, int], None]
"""Told the provider and store that were made, and how many reads they hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresSpec:
    """How much to make.

    Attributes:
        reads: Provider → store → about how many reads.
        vehicles: How many different vehicles pass.
        days: How far back ordinary traffic goes.
    """

    reads: Mapping[str, Mapping[str, int]] = field(
        default_factory=lambda: {
            "cbp": {"primary": 24_000, "checkpoint": 6_000, "mobile": 600, "covert": 200},
            "dea": {"inbound": 16_000, "outbound": 14_000},
            "vendor": {"commercial": 30_000},
            "lapd": {"fixed": 20_000, "mobile": 8_000},
            "lahd": {"fixed": 16_000, "mobile": 6_000},
        }
    )
    vehicles: int = 9_000
    days: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStores:
    """What was made for one provider.

    Attributes:
        toml: The `[[store]]` tables for its adapter.toml, which stands beside the `stores/` folder.
        reads: Store → how many rows it holds.
    """

    toml: str
    reads: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresMade:
    """What was made, by provider."""

    providers: Mapping[str, ProviderStores]


def make_stores(
    agencies: Path,
    spec: StoresSpec | None = None,
    *,
    seed: int,
    now: datetime,
    progress: Progress | None = None,
) -> StoresMade:
    """Make each provider's stores in `agencies/ID/adapter/stores/`, and say how to map them.

    The same seed and time give the same reads. Files are mode 0600 and replace what was there.

    Args:
        agencies: The folder that has one folder an agency.
        spec: How much to make; None: some 140,000 reads.
        seed: Of everything that is drawn.
        now: The latest instant of a read; aware.
        progress: Told of each store when it is made.
    """
    spec = spec or StoresSpec()
    now = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    vehicles = fleet(_random(seed, "fleet"), spec.vehicles)
    made: dict[str, ProviderStores] = {}
    for provider, stores in spec.reads.items():
        folder = agencies / provider / "adapter" / "stores"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        counts = {}
        for store, count in stores.items():
            random = _random(seed, provider, store)
            ordinary = captures(
                random,
                fleet=vehicles,
                cameras=CAMERAS[provider][store],
                count=count,
                now=now,
                days=spec.days,
            )
            named = list(_named(provider, store, now))
            found = sorted((*ordinary, *named), key=lambda capture: (capture.at, capture.plate_read))
            counts[store] = WRITERS[provider](folder, store, found, random)
            if progress is not None:
                progress(f"{provider}/{store}", counts[store])
        made[provider] = ProviderStores(toml=mapping_of(provider), reads=counts)
    return StoresMade(providers=made)


def _random(seed: int, *names: str) -> Random:
    """Return a generator of its own for one purpose, so that stores do not depend on each other."""
    return Random("/".join((str(seed), *names)))


def _named(provider: str, store: str, now: datetime) -> Iterator[Capture]:
    """Yield the captures of the named plates in one store: clean reads at known times."""
    cameras = CAMERAS[provider][store]
    is_first = store == next(iter(CAMERAS[provider]))

    def at(vehicle: Vehicle, days: float, step: int) -> Capture:
        camera = cameras[step % len(cameras)]
        minutes = 7 * (PROVIDERS.index(provider) + 1) + 11 * step
        return Capture(vehicle, camera, now - timedelta(days=days, minutes=minutes), vehicle.plate, 0.97)

    if (provider, store) in _NOT_SHARED:
        yield at(KNOWN_TO_ALL, 3, 0)
        return
    if is_first:
        for step, days in enumerate(DAYS_AGO):
            yield at(KNOWN_TO_ALL, days, step)
            if provider in ("cbp", "dea"):
                yield at(BORDER_CROSSER, days + 0.2, step)
        if provider != "vendor":
            yield at(KNOWN_TO_ALL, BEFORE_AGREEMENTS_DAYS_AGO, 1)
    else:
        yield at(KNOWN_TO_ALL, 11, 1)
    if provider in ("lapd", "lahd"):
        for step in range(14):
            if (now - timedelta(days=step + 1)).weekday() < 5:
                yield at(HARBOR_TRUCK, step + 1, step)
    if provider == "vendor":
        for step, years in enumerate(LIMIT_YEARS_AGO):
            yield at(KNOWN_TO_ALL, years * _DAY_OF_YEARS, step)
        misread = at(KNOWN_TO_ALL, 6, 2)
        yield misread._replace(plate_read="8A8C123", confidence=0.58)
