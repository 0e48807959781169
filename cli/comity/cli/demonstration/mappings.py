"""The `[[store]]` tables of the demonstration's providers: each maps one invented format of `formats`."""

from __future__ import annotations

from collections.abc import Mapping

from comity.cli.demonstration.places import CAMERAS


def mapping_of(provider: str) -> str:
    """Return the `[[store]]` tables for a provider's adapter.toml, which stands beside `stores/`."""
    return "\n".join(_MAPPINGS[provider])


def _cbp_mapping(store: str) -> str:
    return f"""
[[store]]
id = "{store}"
class = "{store}"
kind = "sql"
url = "sqlite:///stores/{store}.db"
table = "crossing"
folded_plate = "plate_key"

[store.columns]
read_id = "crossing_id"
plate = "plate_no"
state = "issuer"
captured_at = "crossed_utc"
latitude = "gps_lat"
longitude = "gps_lon"
address = "site_address"
intersection = "site_crossing"
make = "veh_make"
model = "veh_model"
colour = "veh_colour"
direction = "lane_side"
camera = "lane"
camera_kind = "lane_kind"
confidence = "ocr_confidence"
source = "station"

[store.defaults]
country = "US"
camera_owner = "CBP"

[[store.images]]
view = "front"
id = "front_image"
digest = "front_sha256"

[[store.images]]
view = "rear"
id = "rear_image"
digest = "rear_sha256"
"""


def _dea_mapping(store: str) -> str:
    return f"""
[[store]]
id = "{store}"
class = "fixed"
kind = "sql"
url = "sqlite:///stores/{store}.db"
table = "reads"
folded_plate = "tag_folded"
time_format = "epoch"
confidence_scale = 100

[store.columns]
read_id = "id"
plate = "tag"
state = "tag_state"
country = "tag_country"
captured_at = "seen_at"
latitude = "lat"
longitude = "lon"
intersection = "nearest_road"
make = "make"
model = "model"
colour = "colour"
direction = "heading"
camera = "site"
confidence = "score"
source = "origin"

[store.defaults]
camera_owner = "DEA"
camera_kind = "fixed"

[[store.images]]
view = "front"
id = "img_front"

[[store.images]]
view = "rear"
id = "img_rear"

[[store.images]]
view = "scene"
id = "img_scene"
digest = "img_scene_sha256"
"""


_VENDOR_MAPPING = """
[[store]]
id = "commercial"
class = "commercial"
kind = "csv"
path = "stores/reads.csv"
time_format = "%m/%d/%Y %I:%M:%S %p"
time_zone = "America/Los_Angeles"
confidence_scale = 100

[store.columns]
read_id = "record_id"
plate = "plate"
state = "plate_state"
captured_at = "captured_local"
latitude = "latitude"
longitude = "longitude"
address = "nearest_address"
intersection = "nearest_intersection"
make = "vehicle.make"
model = "vehicle.model"
colour = "vehicle.color"
direction = "heading"
camera = "device name"
camera_owner = "device_owner"
camera_kind = "device_kind"
confidence = "score"
source = "provenance"

[store.defaults]
country = "US"

[[store.images]]
view = "plate"
id = "photo_plate"
digest = "photo_plate_sha256"

[[store.images]]
view = "scene"
id = "photo_scene"
digest = "photo_scene_sha256"
"""

_LAPD_FIXED_MAPPING = """
[[store]]
id = "fixed"
class = "fixed"
kind = "sql"
url = "sqlite:///stores/fixed.db"
table = "alpr_read"
folded_plate = "vrm_norm"
time_format = "epoch_ms"
confidence_scale = 1000

[store.columns]
read_id = "read_uuid"
plate = "vrm"
state = "region"
captured_at = "captured_ms"
latitude = "lat"
longitude = "lng"
address = "street"
intersection = "cross_streets"
make = "vehicle_make"
model = "vehicle_model"
colour = "vehicle_colour"
direction = "travel"
camera = "device"
confidence = "conf"

[store.defaults]
country = "US"
source = "fixed pole, Harbor area"
camera_owner = "LAPD"
camera_kind = "fixed"

[[store.images]]
view = "scene"
id = "overview"
digest = "overview_sha256"

[[store.images]]
view = "plate"
id = "patch"
"""

_LAPD_MOBILE_MAPPING = """
[[store]]
id = "mobile"
class = "mobile"
kind = "sql"
url = "sqlite:///stores/mobile.db"
table = "mobile_hit"

[store.columns]
read_id = "hit_no"
plate = "plate"
state = "st"
captured_at = "seen"
latitude = "y"
longitude = "x"
intersection = "near"
camera = "unit"

[store.defaults]
country = "US"
source = "patrol car"
camera_owner = "LAPD"
camera_kind = "mobile"

[[store.images]]
view = "scene"
id = "pic"
"""

_LAHD_FIXED_MAPPING = """
[[store]]
id = "fixed"
class = "fixed"
kind = "sql"
url = "sqlite:///stores/fixed.db"
table = "gate_reads"
time_zone = "America/Los_Angeles"

[store.columns]
read_id = "gate_read"
plate = "plate"
state = "plate_state"
captured_at = "local_time"
latitude = "latitude"
longitude = "longitude"
make = "truck_make"
colour = "truck_colour"
direction = "lane_way"
camera = "gate"
confidence = "confidence"

[store.defaults]
country = "US"
source = "terminal gate"
camera_owner = "Port Police"
camera_kind = "fixed"

[[store.images]]
view = "front"
id = "image_front"

[[store.images]]
view = "rear"
id = "image_rear"
"""

_LAHD_MOBILE_MAPPING = """
[[store]]
id = "mobile"
class = "mobile"
kind = "sql"
url = "sqlite:///stores/mobile.db"
table = "patrol_reads"
time_format = "epoch"

[store.columns]
read_id = "seq"
plate = "plate"
state = "state"
captured_at = "epoch"
latitude = "lat"
longitude = "lon"
camera = "car"

[store.defaults]
country = "US"
source = "patrol car"
camera_owner = "Port Police"
camera_kind = "mobile"

[[store.images]]
view = "scene"
id = "photo"
"""

_MAPPINGS: Mapping[str, tuple[str, ...]] = {
    "cbp": tuple(_cbp_mapping(store) for store in CAMERAS["cbp"]),
    "dea": tuple(_dea_mapping(store) for store in CAMERAS["dea"]),
    "vendor": (_VENDOR_MAPPING,),
    "lapd": (_LAPD_FIXED_MAPPING, _LAPD_MOBILE_MAPPING),
    "lahd": (_LAHD_FIXED_MAPPING, _LAHD_MOBILE_MAPPING),
}
