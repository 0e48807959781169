"""Writing TOML, which the standard library only reads: configuration files that a person will edit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

TomlValue = str | bool | int | datetime | Sequence[str]
"""What a setting may be."""


def to_toml(value: TomlValue) -> str:
    """Return `value` as TOML 1.0 spells it; strings as basic strings."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case _:
            return f"[{', '.join(to_toml(entry) for entry in value)}]"


def settings(values: Mapping[str, TomlValue]) -> str:
    """Return one `name = value` line for each of `values`, in their order; names are bare keys."""
    return "".join(f"{name} = {to_toml(value)}\n" for name, value in values.items())
