"""`bundle.toml`: whose law a bundle is, its version, and the data that it decides by beside its policies."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from comity.policy import readings, reasons
from comity.policy.errors import BundleInvalid
from comity.policy.readings import Confusions, ReadingsInvalid
from comity.policy.reasons import ReasonsInvalid, ReasonWords
from comity.policy.suspension import SuspensionInvalid, SuspensionTerms, parse_suspension

_VERSION: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")
_KEYS: Final = ("agency", "version", "readings", "reasons", "suspension")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What `bundle.toml` says."""

    agency: str
    version: str
    """Numbers joined by dots: 3 is newer than 2.1."""
    reasons: ReasonWords = field(default_factory=reasons.own_words)
    """Words of a free text that tell nothing: `[reasons]`, over Comity's own (Q4)."""
    confusions: Confusions = field(default_factory=readings.own_confusions)
    """Characters that readers take for each other: `[readings]`, narrower than Comity's own (Q10)."""
    suspension: SuspensionTerms | None = None
    """When it suspends a person: `[suspension]` (Q8); None: never."""


def read_manifest(path: Path, text: str) -> Manifest:
    """Return what the manifest at `path` says; raise `BundleInvalid` with the line that is wrong."""
    table = read_toml(path, text)
    agency, version = check_head(path, text, table, _KEYS)
    words = reasons_of(path, text, table)
    try:
        confusions = readings.own_confusions().narrowed(_table(table, "readings", path, text))
    except ReadingsInvalid as error:
        line = line_of(text, error.key, table="readings")
        raise BundleInvalid(path, line, f"`[readings]`: {error}") from error
    try:
        terms = parse_suspension(_table(table, "suspension", path, text)) if "suspension" in table else None
    except SuspensionInvalid as error:
        line = line_of(text, error.key, table="suspension")
        raise BundleInvalid(path, line, f"`[suspension]`: {error}") from error
    return Manifest(agency=agency, version=version, reasons=words, confusions=confusions, suspension=terms)


def read_toml(path: Path, text: str) -> Mapping[str, object]:
    """Return what a manifest's text says; raise `BundleInvalid` if it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BundleInvalid(path, 0, f"is not TOML: {error}") from error


def check_head(path: Path, text: str, table: Mapping[str, object], keys: Sequence[str]) -> tuple[str, str]:
    """Return agency and version; raise `BundleInvalid` where one is wrong, or a key is not of `keys`."""
    for key in table:
        if key not in keys:
            near = get_close_matches(key, keys, n=1)
            hint = f"; did you mean `{near[0]}`" if near else ""
            raise BundleInvalid(path, line_of(text, key), f"key `{key}` is not known{hint}")
    agency, version = table.get("agency"), table.get("version")
    if not isinstance(agency, str) or not isinstance(version, str) or not agency or not version:
        raise BundleInvalid(path, 0, "`agency` and `version` are required texts")
    if version_order(version) is None:
        wrong = f"`version`: `{version}` is not numbers joined by dots, such as `2.1`"
        raise BundleInvalid(path, line_of(text, "version"), wrong)
    return agency, version


def reasons_of(path: Path, text: str, table: Mapping[str, object]) -> ReasonWords:
    """Return the words that tell nothing: Comity's own, altered by `[reasons]` (Q4)."""
    try:
        return reasons.own_words().altered(_table(table, "reasons", path, text))
    except ReasonsInvalid as error:
        line = line_of(text, error.key, table="reasons")
        raise BundleInvalid(path, line, f"`[reasons]`: {error}") from error


def version_order(version: str) -> tuple[int, ...] | None:
    """Return what versions are compared by, so that 1.10 is newer than 1.9 and 2.0 is 2; None: it is none."""
    if not _VERSION.fullmatch(version):
        return None
    parts = [int(part) for part in version.split(".")]
    while parts[-1:] == [0]:
        parts.pop()
    return tuple(parts)


def line_of(text: str, key: str, *, table: str = "") -> int:
    """Return the line, from 1, on which a key is set, or its table begins; 0 if it can't be told."""
    header = re.compile(r"\s*\[\[?\s*([\w.\"-]+)\s*\]")
    inside, begins = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        found = header.match(line)
        if found:
            inside = found.group(1).strip('"')
            begins = number if inside == table else begins
            if not table and inside == key:
                return number
        elif inside == table and re.match(rf"\s*\"?{re.escape(key)}\"?\s*[.=]", line):
            return number
    return begins


def _table(manifest: Mapping[str, object], key: str, path: Path, text: str) -> Mapping[str, object]:
    table = manifest.get(key, {})
    if not isinstance(table, dict):
        raise BundleInvalid(path, line_of(text, key), f"`{key}` is not a table: begin it with `[{key}]`")
    return table
