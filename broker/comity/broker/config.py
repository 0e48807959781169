"""The broker's configuration: one frozen value from a TOML file."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from comity.audit.errors import RetentionRefused
from comity.audit.retention import SEVEN_YEARS, RetentionTerms, parse_terms
from comity.audit.retention import TABLE as RETENTION
from comity.broker.errors import ConfigInvalid
from comity.certs.renewing import NO_RENEWAL, RENEWAL, RenewalSettings, parse_renewal
from comity.links.errors import ConfigUnusable
from comity.links.frames import FRAME_OVERHEAD_BYTES, MAX_MESSAGE_BYTES, LinkLimits
from comity.links.telemetry.settings import OFF, TABLE, TelemetrySettings, parse_telemetry

RANGES: Final = {
    "max_links": (1, 100_000),
    "max_exchanges": (1, 1_000_000),
    "max_exchanges_per_agency": (1, 1_000_000),
    "session_window": (64 << 10, 64 << 20),
    "max_sessions_per_link": (1, 100_000),
    "max_frame_bytes": (64 << 10, MAX_MESSAGE_BYTES - FRAME_OVERHEAD_BYTES),
    "queue_bytes": (64 << 10, 1 << 30),
    "queue_frames": (64, 10_000_000),
    "keepalive_timeout_ms": (100, 600_000),
}
"""The least and the most that each number may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """What a broker runs on. Paths in the file are relative to the file's folder, its `home`.

    home: folder of the configuration: `keys/`, `log/`, `wal/`, `roster-seen.json` stand in it.
    listen: `host:port` to listen on; port 0 takes a free one.
    authority: the governing authority's keys, pinned out of band: never a file of `public`, which
        others can replace.
    public: folder with `roster.json` and `timestamp.json`, as published.
    lodgements: folder with the ceilings that providers lodged.
    capture: folder into which every link message is copied as it travels, or None. A transparency
        aid: the operator can show what it sees. It keeps what the broker otherwise forgets.
    max_links: links held at a time.
    max_exchanges: exchanges in flight of all requesters.
    max_exchanges_per_agency: exchanges in flight of one requester.
    session_window: bytes of one session that may wait in one direction.
    max_sessions_per_link: sessions that one link may hold open.
    max_frame_bytes: the largest frame that a link carries.
    queue_bytes, queue_frames: what may wait to be written on one link; more closes that link.
    keepalive_timeout_ms: how long a ping may stay unanswered before its link counts as lost.
    telemetry: the table `[telemetry]`; off by default.
    retention: the table `[retention]`: when openings, envelopes and old segments are deleted (L5).
    renewal: the table `[renewal]`: where the next leaf comes from.
    """

    home: Path
    listen: str
    authority: Path
    public: Path
    lodgements: Path
    capture: Path | None = None
    max_links: int = 1024
    max_exchanges: int = 10_000
    max_exchanges_per_agency: int = 512
    session_window: int = 1 << 20
    max_sessions_per_link: int = 256
    max_frame_bytes: int = 512 << 10
    queue_bytes: int = 16 << 20
    queue_frames: int = 65_536
    keepalive_timeout_ms: int = 1_000
    telemetry: TelemetrySettings = OFF
    renewal: RenewalSettings = NO_RENEWAL
    retention: RetentionTerms = SEVEN_YEARS

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        host, colon, port = self.listen.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigInvalid(
                f"`listen` is `{self.listen}`, expected `host:port`, for example `0.0.0.0:7400`"
            )
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigInvalid(f"`{name}` is {value}, expected a number from {least} to {most}")
        if self.queue_bytes < self.max_frame_bytes:
            raise ConfigInvalid(
                f"`queue_bytes` is {self.queue_bytes}, expected `max_frame_bytes`, "
                f"{self.max_frame_bytes}, or more"
            )

    @property
    def link_limits(self) -> LinkLimits:
        """The limits of each link."""
        return LinkLimits(
            queue_bytes=self.queue_bytes,
            queue_frames=self.queue_frames,
            max_frame_bytes=self.max_frame_bytes,
            session_window=self.session_window,
            sessions_per_link=self.max_sessions_per_link,
            keepalive_timeout=timedelta(milliseconds=self.keepalive_timeout_ms),
        )


_PATHS: Final = ("authority", "public", "lodgements", "capture")
_TEXTS: Final = ("listen",)
_REQUIRED: Final = ("listen", "authority", "public", "lodgements")


def load_config(path: Path) -> BrokerConfig:
    """Read a broker's configuration file.

    Raises ConfigInvalid with one line that names the file, the key and what was expected.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{path}: not TOML: {error}") from error
    try:
        return _from_table(path.parent.resolve(), table)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{path}: {error}") from error


def _from_table(home: Path, table: dict[str, object]) -> BrokerConfig:
    known = (*_PATHS, *_TEXTS, *RANGES, TABLE, RETENTION, RENEWAL)
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f", did you mean `{near[0]}`" if near else f", known are {', '.join(sorted(known))}"
            raise ConfigInvalid(f"unknown key `{key}`{hint}")
    for key in _REQUIRED:
        if key not in table:
            raise ConfigInvalid(f"`{key}` is missing")
    paths: dict[str, Path] = {key: home / _text(table, key) for key in _PATHS if key in table}
    numbers: dict[str, int] = {key: _number(table, key) for key in RANGES if key in table}
    for key in ("public", "lodgements"):
        if not paths[key].is_dir():
            raise ConfigInvalid(f"`{key}` is `{paths[key]}`, which is not a folder")
    if not paths["authority"].is_file():
        raise ConfigInvalid(f"`authority` is `{paths['authority']}`, which is not a file")
    if paths["authority"].resolve().is_relative_to(paths["public"].resolve()):
        raise ConfigInvalid(
            "`authority` lies in the published folder and pins nothing there, expected a copy of your own, "
            "got out of band"
        )
    try:
        telemetry = parse_telemetry(table.get(TABLE), home=home)
        retention = parse_terms(table.get(RETENTION))
        renewal = parse_renewal(table.get(RENEWAL), home=home)
    except (ConfigUnusable, RetentionRefused, ValueError) as error:
        raise ConfigInvalid(str(error)) from error
    return BrokerConfig(
        home=home,
        listen=_text(table, "listen"),
        authority=paths["authority"],
        public=paths["public"],
        lodgements=paths["lodgements"],
        capture=paths.get("capture"),
        telemetry=telemetry,
        retention=retention,
        renewal=renewal,
        **numbers,
    )


def _text(table: dict[str, object], key: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value:
        raise ConfigInvalid(f"`{key}` must be text")
    return value


def _number(table: dict[str, object], key: str) -> int:
    value = table[key]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigInvalid(f"`{key}` must be a whole number")
    return value
