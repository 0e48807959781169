"""The table `[telemetry]` of a process' configuration: off unless it says otherwise.

[telemetry]
exporter = "file"            # "none" (the default), "file" or "otlp"
path = "telemetry.jsonl"     # file: relative to the configuration's folder; OTLP's JSON, a line each
endpoint = "https://collector.example:4317"   # otlp: gRPC; http:// without TLS
interval_seconds = 10        # how often spans and metrics leave
sample_ratio = 1.0           # share of the exchanges whose spans are kept, 0 to 1; metrics count all
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from comity.links.errors import ConfigUnusable

TABLE: Final = "telemetry"
"""The table's name."""


class ExporterKind(StrEnum):
    """Where spans and metrics go."""

    NONE = "none"
    FILE = "file"
    OTLP = "otlp"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """What a process emits, and where to."""

    exporter: ExporterKind = ExporterKind.NONE
    path: Path | None = None
    """Of `file`: made with mode 0600, appended to."""
    endpoint: str = ""
    """Of `otlp`: an `http` or `https` URL."""
    interval_seconds: float = 10.0
    sample_ratio: float = 1.0


OFF: Final = TelemetrySettings()
"""What a process does without the table: nothing leaves it."""

_KEYS: Final = ("exporter", "path", "endpoint", "interval_seconds", "sample_ratio")
_OF_OTHERS: Final = {"path": ExporterKind.FILE, "endpoint": ExporterKind.OTLP}


def parse_telemetry(table: object, *, home: Path) -> TelemetrySettings:
    """Return the settings in a table `[telemetry]`; without one (None), telemetry is off.

    Raises `ConfigUnusable` with one line that names the key and what would have been right.
    """
    if table is None:
        return OFF
    if not isinstance(table, Mapping):
        raise ConfigUnusable(f"`{TABLE}` must be a table: `[{TABLE}]`")
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(_KEYS)}"
            raise _wrong(str(key), f"is unknown; {hint}")
    exporter = _exporter(table)
    for key, kind in _OF_OTHERS.items():
        if key in table and exporter is not kind:
            raise _wrong(key, f'goes with `exporter = "{kind}"` alone')
    return TelemetrySettings(
        exporter=exporter,
        path=_path(table, home) if exporter is ExporterKind.FILE else None,
        endpoint=_endpoint(table) if exporter is ExporterKind.OTLP else "",
        interval_seconds=_number(table, "interval_seconds", 10.0, least=0.1, most=3600.0),
        sample_ratio=_number(table, "sample_ratio", 1.0, least=0.0, most=1.0),
    )


def _exporter(table: Mapping[str, object]) -> ExporterKind:
    """Return the exporter that is named; none if none is."""
    value = table.get("exporter", ExporterKind.NONE)
    try:
        return ExporterKind(str(value))
    except ValueError as error:
        known = ", ".join(f'"{kind}"' for kind in ExporterKind)
        raise _wrong("exporter", f"is `{value}`, expected one of {known}") from error


def _path(table: Mapping[str, object], home: Path) -> Path:
    """Return the file to write, in a folder that is there."""
    value = table.get("path", "telemetry.jsonl")
    if not isinstance(value, str) or not value:
        raise _wrong("path", "must be the name of a file")
    path = home / value
    if path.is_dir() or not path.parent.is_dir():
        raise _wrong("path", f"is `{path}`, expected a file in a folder that is there")
    return path


def _endpoint(table: Mapping[str, object]) -> str:
    """Return the collector's address."""
    value = table.get("endpoint")
    expected = "expected a URL such as `https://collector.example:4317`"
    if not isinstance(value, str):
        raise _wrong("endpoint", f"is missing; {expected}")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise _wrong("endpoint", f"is `{value}`, {expected}")
    return value


def _number(table: Mapping[str, object], key: str, default: float, *, least: float, most: float) -> float:
    """Return a number within bounds."""
    value = table.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise _wrong(key, f"must be a number from {least:g} to {most:g}")
    return float(value)


def _wrong(key: str, text: str) -> ConfigUnusable:
    return ConfigUnusable(f"key `{TABLE}.{key}` {text}")
