"""The demonstration's stores: the same every time, of a believable shape, readable by their mappings."""

import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from comity.adapters.sources import Source, SourceQuery, StoredRead, load_stores, open_source
from comity.cli.demonstration.evidence import find_values
from comity.cli.demonstration.stores import DAYS_AGO, PROVIDERS, StoresMade, StoresSpec, make_stores
from comity.cli.demonstration.traffic import (
    BORDER_CROSSER,
    HARBOR_TRUCK,
    KNOWN_TO_ALL,
    KNOWN_TO_NOBODY,
    Vehicle,
)
from comity.policy.plates import fold

NOW = datetime(2026, 6, 17, 18, 20, tzinfo=UTC)
SMALL = StoresSpec(
    reads={
        "cbp": {"primary": 900, "checkpoint": 200, "mobile": 60, "covert": 40},
        "dea": {"inbound": 500, "outbound": 500},
        "vendor": {"commercial": 1500},
        "lapd": {"fixed": 900, "mobile": 300},
        "lahd": {"fixed": 600, "mobile": 200},
    },
    vehicles=600,
)


NOT_SHARED = (("cbp", "mobile"), ("cbp", "covert"))
Stores = Mapping[tuple[str, str], Source]


@pytest.fixture(scope="module")
def agencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agencies")
    made = make_stores(folder, SMALL, seed=7, now=NOW)
    write_mappings(folder, made)
    return folder


def write_mappings(folder: Path, made: StoresMade) -> None:
    for provider, stores in made.providers.items():
        (folder / provider / "adapter" / "adapter.toml").write_text(stores.toml)


@pytest.fixture(scope="module")
def stores(agencies: Path) -> Iterator[Stores]:
    with ExitStack() as stack:
        yield {
            (provider, mapping.store_id): stack.enter_context(open_source(mapping))
            for provider in PROVIDERS
            for mapping in load_stores(agencies / provider / "adapter" / "adapter.toml")
        }


def reads(stores: Stores, vehicle: Vehicle, provider: str, *only: str, days: float) -> list[StoredRead]:
    """Return what a provider's stores (those that CBP shares, or the named one) hold of a vehicle."""
    query = SourceQuery(
        folded_plate=fold(vehicle.plate),
        state=vehicle.state,
        country=vehicle.country,
        start=NOW - timedelta(days=days),
        end=NOW,
        limit=1000,
    )
    return [
        read
        for (owner, name), source in stores.items()
        if owner == provider and (name in only if only else (owner, name) not in NOT_SHARED)
        for read in source.search(query).reads
    ]


def test_every_store_is_readable_by_its_mapping(stores: Stores) -> None:
    """All rows of the databases can be used; of the CSV file nearly all, and the rest is counted."""
    for (owner, _), source in stores.items():
        survey = source.survey()
        assert survey.usable > 0 and survey.problems == ()
        if owner == "vendor":
            assert 0 < survey.rejected_count < 0.02 * survey.usable
        else:
            assert survey.rejected_count == 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_plate_is_known_to_all_within_ten_days(stores: Stores, provider: str) -> None:
    """Five providers give one answer in the demonstration, also when it asks about ten days only."""
    assert len(reads(stores, KNOWN_TO_ALL, provider, days=10)) >= 3
    assert len(reads(stores, KNOWN_TO_ALL, provider, days=45)) >= len(DAYS_AGO)


def test_vendor_holds_reads_on_either_side_of_five_years(stores: Stores) -> None:
    """The clip to five years shows: one old read inside it, two outside (Q5)."""
    five_years = 5 * 365.25
    old = [
        read
        for read in reads(stores, KNOWN_TO_ALL, "vendor", days=8 * 366)
        if NOW - read.captured_at > timedelta(days=400)
    ]
    inside = [read for read in old if NOW - read.captured_at < timedelta(days=five_years)]
    assert (len(inside), len(old)) == (1, 3)


@pytest.mark.parametrize("provider", ["cbp", "dea", "lapd", "lahd"])
def test_reads_from_before_the_agreements_exist(stores: Stores, provider: str) -> None:
    """Something must be there to be withheld: a read older than any agreement (MOU 3.1)."""
    within_years = reads(stores, KNOWN_TO_ALL, provider, days=4 * 365)
    assert len(within_years) == len(reads(stores, KNOWN_TO_ALL, provider, days=3 * 365)) + 1


@pytest.mark.parametrize("store", ["mobile", "covert"])
def test_cbp_holds_what_it_shares_with_nobody(stores: Stores, store: str) -> None:
    """The stores that CBP's policy denies do hold the plate: that it is not answered is the policy."""
    assert len(reads(stores, KNOWN_TO_ALL, "cbp", store, days=10)) == 1


def test_each_named_plate_is_where_it_is_said_to_be(stores: Stores) -> None:
    """The truck at the harbor's two agencies, the crosser at the border's two, the unknown at none."""
    known = {
        vehicle.plate: {p for p in PROVIDERS if reads(stores, vehicle, p, days=60)}
        for vehicle in (HARBOR_TRUCK, BORDER_CROSSER, KNOWN_TO_NOBODY)
    }
    assert list(known.values()) == [{"lapd", "lahd"}, {"cbp", "dea"}, set()]
    assert {read.plate for read in reads(stores, BORDER_CROSSER, "cbp", days=60)} == {"BHJ-482-C"}


def test_commercial_hit_has_two_photographs(stores: Stores) -> None:
    """At least two photographs that let a person confirm the vehicle, with their digests."""
    for read in reads(stores, KNOWN_TO_ALL, "vendor", days=60):
        assert len(read.images) >= 2 and all(len(image.digest) == 32 for image in read.images)


def test_traffic_has_commuters_and_misreads(agencies: Path) -> None:
    """Some vehicles pass on working days again and again, and about one read in fifty is wrong."""
    with sqlite3.connect(agencies / "cbp" / "adapter" / "stores" / "primary.db") as connection:
        rows = list(connection.execute("SELECT plate_key, crossed_utc, ocr_confidence FROM crossing"))
    connection.close()
    often = [plate for plate, count in Counter(row[0] for row in rows).most_common(3) if count > 20]
    assert often
    local = [
        datetime.fromisoformat(row[1]).astimezone(ZoneInfo("America/Los_Angeles"))
        for row in rows
        if row[0] == often[0]
    ]
    assert sum(at.weekday() < 5 for at in local) > 0.9 * len(local)
    assert 0.005 < sum(row[2] < 0.8 for row in rows) / len(rows) < 0.05


def test_same_seed_gives_the_same_reads(agencies: Path, tmp_path: Path) -> None:
    """A demonstration that is told twice is the same twice: every row of every store."""
    made = make_stores(tmp_path, SMALL, seed=7, now=NOW + timedelta(minutes=5))
    assert dump(tmp_path) == dump(agencies)
    write_mappings(tmp_path, made)
    other = make_stores(tmp_path, SMALL, seed=8, now=NOW)
    assert other.providers.keys() == made.providers.keys() and dump(tmp_path) != dump(agencies)


def test_stores_are_for_their_agency_alone(agencies: Path) -> None:
    """Every file of reads is mode 0600."""
    files = [path for path in agencies.glob("*/adapter/stores/*") if path.is_file()]
    assert len(files) == 11
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def dump(folder: Path) -> dict[str, object]:
    """Return every row of every store."""
    found: dict[str, object] = {"csv": (folder / "vendor" / "adapter" / "stores" / "reads.csv").read_text()}
    for path in sorted(folder.glob("*/adapter/stores/*.db")):
        with sqlite3.connect(path) as connection:
            found[str(path.relative_to(folder))] = list(connection.iterdump())
        connection.close()
    return found


def test_search_for_content_finds_each_form_and_no_number_by_chance(tmp_path: Path) -> None:
    """A case that folds to digits alone is found as a value, and not within a time or an id."""
    file = tmp_path / "emitted"
    for text, forms in (
        ('{"t": "1795326041700260417123"}', []),
        ('{"id": "00f260417abc"}', []),
        ('{"case": "260417"}', ["value 0 folded in `emitted`"]),
        ('{"case": "26-0417"}', ["value 0 as typed in `emitted`"]),
    ):
        file.write_text(text)
        assert find_values([file], ["26-0417"])[1] == forms
