"""How each provider of the demonstration keeps its reads: no two alike, as in life.

Each writer makes one store's file and returns how many rows it holds. Files are mode 0600 and
replace what was there.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

from comity.cli.demonstration.traffic import KNOWN_TO_ALL, LOCAL, Capture
from comity.policy.plates import fold

FAULTY_SHARE = 0.004
"""The share of the vendor's rows that cannot be used."""


def _digest(*parts: object) -> str:
    """Return the SHA-256 of an image that is nowhere, in hex: a reference to check against."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def _write_cbp(folder: Path, store: str, found: Sequence[Capture], random: Random) -> int:
    """Crossings: ISO times in UTC, ISO 3166-2 states, confidence 0 to 1, a folded column."""
    columns = (
        "crossing_id TEXT PRIMARY KEY, plate_no TEXT, plate_key TEXT, issuer TEXT, lane TEXT, "
        "lane_kind TEXT, lane_side TEXT, crossed_utc TEXT, gps_lat REAL, gps_lon REAL, site_address "
        "TEXT, site_crossing TEXT, veh_make TEXT, veh_model TEXT, veh_colour TEXT, ocr_confidence "
        "REAL, station TEXT, front_image TEXT, front_sha256 TEXT, rear_image TEXT, rear_sha256 TEXT"
    )
    rows = (
        (
            identity := f"{store[:2].upper()}{number:08}",
            capture.plate_read,
            fold(capture.plate_read),
            f"{capture.vehicle.country}-{capture.vehicle.state}" if number % 40 else None,
            capture.camera.name,
            capture.camera.kind,
            capture.camera.direction,
            capture.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{capture.at.microsecond // 1000:03}Z",
            capture.camera.latitude,
            capture.camera.longitude,
            capture.camera.address,
            capture.camera.intersection,
            capture.vehicle.make,
            capture.vehicle.model,
            capture.vehicle.colour,
            round(capture.confidence, 3),
            capture.camera.source,
            f"{identity}-F",
            _digest(identity, "front"),
            f"{identity}-R",
            _digest(identity, "rear"),
        )
        for number, capture in enumerate(found, start=1)
    )
    return _table(folder / f"{store}.db", "crossing", columns, rows, index="plate_key, crossed_utc")


def _write_dea(folder: Path, store: str, found: Sequence[Capture], random: Random) -> int:
    """Reads: epoch seconds, plain states, confidence 0 to 100, a folded column, a scene image."""
    columns = (
        "id INTEGER PRIMARY KEY, tag TEXT, tag_folded TEXT, tag_state TEXT, tag_country TEXT, seen_at "
        "INTEGER, site TEXT, heading TEXT, lat REAL, lon REAL, nearest_road TEXT, make TEXT, model "
        "TEXT, colour TEXT, score REAL, origin TEXT, img_front TEXT, img_rear TEXT, img_scene TEXT, "
        "img_scene_sha256 TEXT"
    )
    first = {"inbound": 1_000_000, "outbound": 2_000_000}[store]
    rows = (
        (
            number,
            capture.plate_read,
            fold(capture.plate_read),
            capture.vehicle.state,
            capture.vehicle.country,
            int(capture.at.timestamp()),
            capture.camera.name,
            capture.camera.direction,
            capture.camera.latitude,
            capture.camera.longitude,
            capture.camera.intersection,
            capture.vehicle.make,
            capture.vehicle.model,
            capture.vehicle.colour,
            round(100 * capture.confidence, 1),
            capture.camera.source,
            f"{number}f",
            f"{number}r",
            f"{number}s",
            _digest(number, "scene"),
        )
        for number, capture in enumerate(found, start=first)
    )
    return _table(folder / f"{store}.db", "reads", columns, rows, index="tag_folded, seen_at")


def _write_lapd(folder: Path, store: str, found: Sequence[Capture], random: Random) -> int:
    """Fixed: epoch milliseconds. Mobile: ISO times with their offset, and no folded column."""
    if store == "fixed":
        columns = (
            "read_uuid TEXT PRIMARY KEY, vrm TEXT, vrm_norm TEXT, region TEXT, captured_ms INTEGER, "
            "device TEXT, lat REAL, lng REAL, street TEXT, cross_streets TEXT, travel TEXT, vehicle_make "
            "TEXT, vehicle_model TEXT, vehicle_colour TEXT, conf INTEGER, overview TEXT, overview_sha256 "
            "TEXT, patch TEXT"
        )
        rows: Iterable[Sequence[object]] = (
            (
                identity := f"{random.getrandbits(64):016x}",
                capture.plate_read,
                fold(capture.plate_read),
                f"{capture.vehicle.country}-{capture.vehicle.state}".lower(),
                int(capture.at.timestamp() * 1000),
                capture.camera.name,
                capture.camera.latitude,
                capture.camera.longitude,
                capture.camera.address,
                capture.camera.intersection,
                capture.camera.direction,
                capture.vehicle.make,
                capture.vehicle.model,
                capture.vehicle.colour,
                round(1000 * capture.confidence),
                f"{identity}-o",
                _digest(identity, "scene"),
                f"{identity}-p",
            )
            for capture in found
        )
        return _table(folder / "fixed.db", "alpr_read", columns, rows, index="vrm_norm, captured_ms")
    columns = (
        "hit_no INTEGER PRIMARY KEY, plate TEXT, st TEXT, seen TEXT, unit TEXT, y REAL, x REAL, near "
        "TEXT, pic TEXT"
    )
    rows = (
        (
            number,
            capture.plate_read,
            capture.vehicle.state if capture.vehicle.country == "US" else capture.vehicle.country,
            capture.at.astimezone(LOCAL).isoformat(timespec="seconds"),
            capture.camera.name,
            capture.camera.latitude,
            capture.camera.longitude,
            capture.camera.intersection,
            f"m{number}",
        )
        for number, capture in enumerate(found, start=500_001)
    )
    return _table(folder / "mobile.db", "mobile_hit", columns, rows, index="seen")


def _write_lahd(folder: Path, store: str, found: Sequence[Capture], random: Random) -> int:
    """Fixed: local times without a zone. Mobile: epoch seconds with a fraction. No folded columns."""
    if store == "fixed":
        columns = (
            "gate_read INTEGER PRIMARY KEY, plate TEXT, plate_state TEXT, local_time TEXT, gate TEXT, "
            "lane_way TEXT, latitude REAL, longitude REAL, truck_make TEXT, truck_colour TEXT, confidence "
            "REAL, image_front TEXT, image_rear TEXT"
        )
        rows: Iterable[Sequence[object]] = (
            (
                number,
                capture.plate_read,
                capture.vehicle.state if capture.vehicle.country == "US" else "",
                capture.at.astimezone(LOCAL).strftime("%Y-%m-%d %H:%M:%S"),
                capture.camera.name,
                capture.camera.direction,
                capture.camera.latitude,
                capture.camera.longitude,
                capture.vehicle.make,
                capture.vehicle.colour,
                round(capture.confidence, 2),
                f"g{number}-front",
                f"g{number}-rear",
            )
            for number, capture in enumerate(found, start=1)
        )
        return _table(folder / "fixed.db", "gate_reads", columns, rows, index="local_time")
    columns = (
        "seq INTEGER PRIMARY KEY, plate TEXT, state TEXT, epoch REAL, car TEXT, lat REAL, lon REAL, "
        "photo TEXT"
    )
    rows = (
        (
            number,
            capture.plate_read,
            capture.vehicle.state if capture.vehicle.country == "US" else "",
            capture.at.timestamp(),
            capture.camera.name,
            capture.camera.latitude,
            capture.camera.longitude,
            f"pp{number}",
        )
        for number, capture in enumerate(found, start=900_001)
    )
    return _table(folder / "mobile.db", "patrol_reads", columns, rows, index="epoch")


_STATE_NAMES = {"CA": "california", "NV": "nevada", "AZ": "arizona", "TX": "texas", "BCN": "MEX"}
_VENDOR_HEADER = (
    "record_id",
    "plate",
    "plate_state",
    "captured_local",
    "latitude",
    "longitude",
    "nearest_address",
    "nearest_intersection",
    "vehicle",
    "device name",
    "device_owner",
    "device_kind",
    "heading",
    "score",
    "provenance",
    "photo_plate",
    "photo_plate_sha256",
    "photo_scene",
    "photo_scene_sha256",
)


def _write_vendor(folder: Path, store: str, found: Sequence[Capture], random: Random) -> int:
    """A CSV file: local times as people write them, at least two photographs, and real files' faults."""
    path = folder / "reads.csv"
    with os.fdopen(_fresh(path), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_VENDOR_HEADER)
        writer.writerows(
            _vendor_row(number, capture, random) for number, capture in enumerate(found, start=1)
        )
    return len(found)


def _vendor_row(number: int, capture: Capture, random: Random) -> Sequence[object]:
    """Return one row of the vendor's file; one in about 250 cannot be used."""
    vehicle, camera = capture.vehicle, capture.camera
    identity = f"V{number:08}"
    has_place = number % 120 != 0 or vehicle is KNOWN_TO_ALL
    row: list[object] = [
        identity,
        capture.plate_read.lower() if number % 3 == 0 else capture.plate_read,
        _STATE_NAMES[vehicle.state] if number % 25 or vehicle is KNOWN_TO_ALL else "3",
        capture.at.astimezone(LOCAL).strftime("%m/%d/%Y %I:%M:%S %p"),
        camera.latitude if has_place else "NA",
        camera.longitude if has_place else "NA",
        camera.address,
        camera.intersection,
        str({"make": vehicle.make, "model": vehicle.model, "color": vehicle.colour}),
        camera.name,
        camera.owner,
        camera.kind,
        camera.direction,
        round(100 * capture.confidence, 2),
        camera.source,
        f"{identity}/plate",
        _digest(identity, "plate"),
        f"{identity}/scene",
        _digest(identity, "scene"),
    ]
    if vehicle is KNOWN_TO_ALL or random.random() > FAULTY_SHARE:
        return row
    fault = random.randrange(3)
    if fault == 0:
        return row[:5]
    row[1 if fault == 1 else 3] = ""
    return row


WRITERS: Mapping[str, Callable[[Path, str, Sequence[Capture], Random], int]] = {
    "cbp": _write_cbp,
    "dea": _write_dea,
    "vendor": _write_vendor,
    "lapd": _write_lapd,
    "lahd": _write_lahd,
}


def _table(path: Path, name: str, columns: str, rows: Iterable[Sequence[object]], *, index: str) -> int:
    """Make a SQLite file with one table; return how many rows it holds."""
    os.close(_fresh(path))
    width = columns.count(",") + 1
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute(f"CREATE TABLE {name} ({columns})")
        connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * width)})", rows)  # noqa: S608
        connection.execute(f"CREATE INDEX {name}_look_up ON {name} ({index})")
        connection.execute("COMMIT")
        return int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])  # noqa: S608
    finally:
        connection.close()


def _fresh(path: Path) -> int:
    """Return a handle of a new empty file that its owner alone can read."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
