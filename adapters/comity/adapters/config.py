"""The adapter's configuration: one frozen value from one TOML file.

`adapter.toml` holds, with paths relative to its own folder:

    agency = "lapd"                           # our agency id in the roster
    broker = "127.0.0.1:7400"                 # the operator's broker
    broker_name = "broker.operator.example"   # the DNS name in its certificate
    authority = "../authority.json"           # the governing authority's keys, pinned out of band
    public = "../../../public"                # roster.json and timestamp.json, as published
    agreements = "../agreements"              # agreements signed by both sides
    policy = "policy"                         # the Cedar bundle
    require_signed_policy = true              # signed by the agency's identity key; optional, true
    max_in_flight = 64                        # exchanges of one requester at the same time; optional
    max_searches = 16                         # threads that search one store; optional, as every limit is

    [telemetry]                               # optional: see `comity.links.telemetry.settings`
    [retention]                               # optional: see `comity.audit.retention`

    [[store]]                                 # one table a store: see `comity.adapters.sources.mapping`

docs/limits.md explains the limits.

The adapter listens nowhere: it dials out to the broker, and an agency opens no inbound port.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from comity.adapters.errors import ConfigInvalid, MappingInvalid
from comity.adapters.sources.mapping import StoreMapping, parse_stores
from comity.audit.errors import RetentionRefused
from comity.audit.retention import SEVEN_YEARS, RetentionTerms, parse_terms
from comity.audit.retention import TABLE as RETENTION
from comity.certs import words
from comity.certs.renewing import NO_RENEWAL, RENEWAL, RenewalSettings, parse_renewal
from comity.links.errors import ConfigUnusable
from comity.links.telemetry.settings import OFF, TABLE, TelemetrySettings, parse_telemetry

_TEXTS: Final = ("agency", "broker", "broker_name")
_FILES: Final = ("authority",)
_FOLDERS: Final = ("public", "agreements", "policy")
RANGES: Final = {
    "max_in_flight": (1, 10_000),
    "max_in_flight_per_subject": (1, 10_000),
    "max_exchanges": (1, 100_000),
    "max_searches": (1, 10_000),
    "max_sessions_per_requester": (1, 1_000),
    "max_record_requests_per_hour": (1, 10_000),
    "page_window": (1, 64),
    "queue_bytes": (1 << 20, 1 << 30),
    "session_queue_bytes": (1 << 20, 1 << 30),
    "keepalive_timeout_ms": (100, 600_000),
}
"""The least and the most that each number may be."""
_STORES: Final = "store"
_SIGNED: Final = "require_signed_policy"
_KEYS: Final = (*_TEXTS, *_FILES, *_FOLDERS, _SIGNED, *RANGES, TABLE, RETENTION, RENEWAL, _STORES)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """What an adapter process needs to know; `home` keeps `keys/`, `log/`, `wal/`, `state.db`."""

    home: Path
    agency: str
    broker: str
    """Where the broker listens, `host:port`."""
    broker_name: str
    """The DNS name that its certificate must have."""
    authority: Path
    """The pin; never one that lies in `public`, which others can replace."""
    public: Path
    agreements: Path
    policy: Path
    stores: tuple[StoreMapping, ...]
    """At least one."""
    require_signed_policy: bool = True
    """Whether a bundle is activated only if the agency's identity key signed it. False: who can write its
    folder makes the law."""
    max_in_flight: int = 64
    """Exchanges of one requester at the same time; beyond it, `RATE_LIMITED`."""
    max_in_flight_per_subject: int = 16
    """Exchanges of one subject of a requester at the same time; beyond it, `RATE_LIMITED`."""
    max_exchanges: int = 1_024
    """Exchanges of all requesters at the same time; beyond it, `RATE_LIMITED`."""
    max_searches: int = 16
    """Threads that search one store; what is searched in one that hangs waits, and no other store does."""
    max_sessions_per_requester: int = 8
    """Sessions of one requester at the same time; beyond it, none is accepted."""
    max_record_requests_per_hour: int = 12
    """Requests of one agency for the records of its own users that are answered within an hour."""
    page_window: int = 4
    """Pages of an exchange that travel before the gateway gives credit."""
    queue_bytes: int = 16 << 20
    """Frames that may wait to be written on the link; more closes it."""
    session_queue_bytes: int = 32 << 20
    """Messages that may wait for credit in one session; more closes it."""
    keepalive_timeout_ms: int = 1_000
    """How long a ping may stay unanswered before the link counts as lost."""
    telemetry: TelemetrySettings = OFF
    """What is emitted, and where to: by default nothing."""
    renewal: RenewalSettings = NO_RENEWAL
    """Where the next leaf comes from."""
    retention: RetentionTerms = SEVEN_YEARS
    """When openings, envelopes and old segments are deleted (L5)."""


def load_config(path: Path) -> AdapterConfig:
    """Return the configuration in the TOML file at `path`.

    Raises `ConfigInvalid` with one line that names file and key, and what would have been right.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return _from_table(path.resolve().parent, table)
    except OSError as error:
        raise ConfigInvalid(f"configuration `{path}`: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"configuration `{path}`: is not TOML: {error}") from error
    except (ConfigInvalid, ConfigUnusable, MappingInvalid, RetentionRefused, ValueError) as error:
        raise ConfigInvalid(f"configuration `{path}`: {error}") from error


def _from_table(home: Path, table: Mapping[str, object]) -> AdapterConfig:
    """Return the configuration in a parsed file; raise `ConfigInvalid`, `MappingInvalid` or `ValueError`."""
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(_KEYS)}"
            raise ConfigInvalid(f"unknown key `{key}`; {hint}")
    texts = {key: _text(table, key) for key in (*_TEXTS, *_FILES, *_FOLDERS)}
    numbers = {key: _number(table, key) for key in RANGES if key in table}
    return AdapterConfig(
        home=home,
        agency=words.agency_id(texts["agency"], "key `agency`:"),
        broker=words.address(texts["broker"], "key `broker`:"),
        broker_name=words.domain(texts["broker_name"], "key `broker_name`:"),
        authority=_pin(home, texts),
        public=_folder(home, "public", texts),
        agreements=_folder(home, "agreements", texts),
        policy=_folder(home, "policy", texts),
        telemetry=parse_telemetry(table.get(TABLE), home=home),
        retention=parse_terms(table.get(RETENTION)),
        renewal=parse_renewal(table.get(RENEWAL), home=home),
        stores=parse_stores(table.get(_STORES), home=home),
        require_signed_policy=_flag(table, _SIGNED, default=True),
        **numbers,
    )


def _text(table: Mapping[str, object], key: str) -> str:
    """Return a required text."""
    if key not in table:
        raise ConfigInvalid(f"key `{key}` is missing")
    value = table[key]
    if not isinstance(value, str) or not value:
        raise ConfigInvalid(f"key `{key}` must be a text that is not empty")
    return value


def _flag(table: Mapping[str, object], key: str, *, default: bool) -> bool:
    """Return a truth value."""
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise ConfigInvalid(f"key `{key}` must be `true` or `false`")
    return value


def _number(table: Mapping[str, object], key: str) -> int:
    """Return a number within its range."""
    value, (least, most) = table[key], RANGES[key]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigInvalid(f"key `{key}` must be a number from {least} to {most}")
    return value


def _folder(home: Path, key: str, texts: Mapping[str, str]) -> Path:
    """Return a folder that must be there."""
    folder = (home / texts[key]).resolve()
    if not folder.is_dir():
        raise ConfigInvalid(f"key `{key}`: no folder at `{folder}`")
    return folder


def _pin(home: Path, texts: Mapping[str, str]) -> Path:
    """Return the pin's path: a file that must be there, and not in the folder that it is to guard."""
    path = (home / texts["authority"]).resolve()
    if not path.is_file():
        raise ConfigInvalid(f"key `authority`: no file at `{path}`")
    if path.is_relative_to((home / texts["public"]).resolve()):
        raise ConfigInvalid(
            "key `authority`: a pin in the published folder pins nothing, expected a copy of your own, got "
            "out of band"
        )
    return path
