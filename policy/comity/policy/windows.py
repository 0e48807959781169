"""How far back: the calendar, statutes of limitations, and how long a store's reads are kept (Q5, A8).

A bundle may hold `windows.toml`. It is law, so the bundle's digest covers it:

    zone = "America/Los_Angeles"       where calendar years are counted, an IANA zone; left out: UTC

    [retention.mobile]                 reads of stores of this class are not given once they are older
    years = 2                          or `days = 730`
    rule = "A8"
    document = "CBP 4"

    [[statute]]                        what `@max_window("statute")` looks up
    offence = "general"                the class that a query states
    jurisdiction = "US"                `US`, or a state's such as `US-CA`: the requester's own
    years = 5                          or "none": the offence may be prosecuted at any time
    document = "18 U.S.C. 3282(a)"
    text = "offences that are not capital"

**Years** are calendar years: the same day and time of day on the zone's clocks, so many years before. Where
the earlier year has no such day (29 February), or its clocks show that time never or twice, the later of the
instants that could be meant counts: the stricter one. **Days** are 24 hours.

A **statute** is strict where it is in doubt: an offence that the table doesn't hold for the requester's
jurisdiction, or none stated, counts five years *(ours)*, and the answer says so; of a table's years and those
that the query states itself the fewer count.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from comity.policy.errors import BundleInvalid
from comity.policy.facts import OFFENCE

FILE: Final = "windows.toml"
"""The file's name within a bundle."""

DEFAULT_LIMITATION_YEARS: Final = 5
"""Years that stand for a statute of limitations which isn't known *(ours)*: the general federal limitation
for offences that are not capital, 18 U.S.C. 3282(a)."""

MOST_YEARS: Final = 1_000

_JURISDICTION: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_KEYS: Final = ("zone", "retention", "statute")
_KEPT: Final = ("years", "days", "rule", "document", "text")
_STATUTE: Final = ("offence", "jurisdiction", "years", "document", "text")
_FIRST: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statute:
    """One line of the table of statutes."""

    offence: str
    jurisdiction: str
    years: int | None
    """`None`: at any time."""
    document: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How long reads of stores of one class are kept (A8): one of `years` and `days` is above 0."""

    store_class: str
    line: int
    """Where it stands in the file, from 1."""
    years: int
    days: int
    rules: tuple[str, ...]
    document: str
    text: str

    @property
    def length(self) -> str:
        """In words, for example '2 years'."""
        return amount(self.years, "year") if self.years else amount(self.days, "day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limitation:
    """The statute of limitations of one question."""

    years: int | None
    """`None`: no limit."""
    words: str
    """To stand after 'the period was clipped to'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """A bundle's `windows.toml`; without one, a `Windows()`."""

    zone: tzinfo = UTC
    zone_name: str = "UTC"
    statutes: Mapping[tuple[str, str], Statute] = field(default_factory=dict)
    """By offence and jurisdiction."""
    retention: Mapping[str, Kept] = field(default_factory=dict)
    """By class of store."""

    def limitation(self, *, offence: str, jurisdiction: str, stated_years: int) -> Limitation:
        """Return the statute of limitations of a question (Q5).

        Args:
            offence: Class of the offence as stated; empty: not stated.
            jurisdiction: Of the requester, see `jurisdiction_of`.
            stated_years: Years that the query itself states; 0: none.
        """
        if not offence:
            return _unnamed(stated_years)
        found = self.statutes.get((offence, jurisdiction))
        if found is None:
            years = min(stated_years or DEFAULT_LIMITATION_YEARS, DEFAULT_LIMITATION_YEARS)
            unknown = f"the table of statutes holds no `{offence}` of {jurisdiction}"
            return Limitation(years=years, words=f"{amount(years, 'year')}, since {unknown}")
        if stated_years and (found.years is None or stated_years < found.years):
            return _unnamed(stated_years)
        if found.years is None:
            words = f"no limit for `{offence}` of {jurisdiction}, {found.document}"
            return Limitation(years=None, words=words)
        words = f"{amount(found.years, 'year')}, the statute of limitations of `{offence}`, {found.document}"
        return Limitation(years=found.years, words=words)

    def years_before(self, now: datetime, years: int) -> datetime:
        """Return the instant so many calendar years before `now` on the zone's clocks, in UTC."""
        return years_before(now, years, zone=self.zone)

    def kept_since(self, store_class: str, now: datetime) -> datetime | None:
        """Return the first instant of which reads of this class of store are kept; `None`: all are."""
        kept = self.retention.get(store_class)
        if kept is None:
            return None
        return self.years_before(now, kept.years) if kept.years else days_before(now, kept.days)


def jurisdiction_of(kind: str, state: str) -> str:
    """Return the jurisdiction whose statutes hold for a requester: a state's agency's is that state (Q5)."""
    return f"US-{state}" if kind != "federal" and state else "US"


def years_before(now: datetime, years: int, *, zone: tzinfo = UTC) -> datetime:
    """Return the same day and time of day so many calendar years before on a zone's clocks, in UTC.

    29 February becomes 1 March where the earlier year has none, and a time that its clocks showed never or
    twice becomes the later instant: the stricter side. Before the first year that can be written: that year's
    first instant.
    """
    local = now.astimezone(zone)
    if years >= local.year - 1:
        return _FIRST
    try:
        then = local.replace(year=local.year - years)
    except ValueError:
        then = local.replace(year=local.year - years, month=3, day=1)
    return max(then.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


def days_before(now: datetime, days: int) -> datetime:
    """Return the instant so many times 24 hours before; the first one that can be written at the earliest."""
    try:
        return now - timedelta(days=days)
    except OverflowError:
        return _FIRST


def amount(number: int, unit: str) -> str:
    """Return a number with its unit, for example '1 year'."""
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def parse_windows(path: Path, text: str) -> Windows:
    """Read a bundle's `windows.toml`.

    Raises:
        BundleInvalid: it isn't TOML, or a key or value is wrong; names the line.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        raise BundleInvalid(path, int(found[1]) if found else 0, f"is not TOML: {error}") from error
    lines = _Lines(path, text)
    lines.known(table, _KEYS, 0, "")
    zone_name = table.get("zone", "UTC")
    return Windows(
        zone=_zone(zone_name, lines),
        zone_name=str(zone_name),
        statutes=dict(_statutes(table.get("statute", []), lines)),
        retention=dict(_retention(table.get("retention", {}), lines)),
    )


def _unnamed(stated_years: int) -> Limitation:
    if stated_years:
        words = f"the stated statute of limitations, {amount(stated_years, 'year')}"
        return Limitation(years=stated_years, words=words)
    words = f"{amount(DEFAULT_LIMITATION_YEARS, 'year')}, since no statute of limitations was stated"
    return Limitation(years=DEFAULT_LIMITATION_YEARS, words=words)


class _Lines:
    """Finds the line on which something stands, for error texts."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = text.splitlines()

    def of(self, pattern: str, *, nth: int = 0, after: int = 0) -> int:
        """Return the number, from 1, of the `nth` line after `after` that begins so; `after` if none does."""
        begins = re.compile(rf"\s*{pattern}")
        found = [
            number for number, line in enumerate(self._lines, 1) if number > after and begins.match(line)
        ]
        return found[nth] if nth < len(found) else after

    def wrong(self, line: int, detail: str) -> BundleInvalid:
        """Return the error of a line."""
        return BundleInvalid(self._path, line, detail)

    def known(self, table: Mapping[str, object], keys: tuple[str, ...], after: int, what: str) -> None:
        """Raise `BundleInvalid` for a key that isn't one of these."""
        for key in table:
            if key not in keys:
                near = get_close_matches(key, keys, n=1)
                hint = f"; did you mean `{near[0]}`" if near else f"; known are {', '.join(keys)}"
                line = self.of(rf"\[*{re.escape(key)}\b", after=after)
                raise self.wrong(line, f"key `{what}{key}` is not known{hint}")


def _zone(name: object, lines: _Lines) -> tzinfo:
    line = lines.of("zone")
    if not isinstance(name, str) or not _ZONE.fullmatch(name):
        raise lines.wrong(line, "`zone` must be the name of an IANA zone, such as `America/New_York`")
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # a folder, no zone, or no such name
        raise lines.wrong(line, f"zone `{name}` is not known; one is `America/New_York`") from error


def _statutes(entries: object, lines: _Lines) -> Iterator[tuple[tuple[str, str], Statute]]:
    if not isinstance(entries, list):
        raise lines.wrong(lines.of(r"\[?statute"), "`statute` must be a list of tables, `[[statute]]`")
    seen: set[tuple[str, str]] = set()
    for index, entry in enumerate(entries):
        line = lines.of(r"\[\[\s*statute\s*\]\]", nth=index)
        if not isinstance(entry, dict):
            raise lines.wrong(line, "`statute` must be a list of tables, `[[statute]]`")
        lines.known(entry, _STATUTE, line, "statute.")
        offence = _text(entry, "offence", line, lines, OFFENCE, "a word such as `general`")
        jurisdiction = _text(entry, "jurisdiction", line, lines, _JURISDICTION, "`US` or such as `US-CA`")
        if (offence, jurisdiction) in seen:
            raise lines.wrong(line, f"`{offence}` of {jurisdiction} has a statute already")
        seen.add((offence, jurisdiction))
        statute = Statute(
            offence=offence,
            jurisdiction=jurisdiction,
            years=None if entry.get("years") == "none" else _number(entry, "years", line, lines),
            document=_text(entry, "document", line, lines),
            text=_text(entry, "text", line, lines),
        )
        yield (offence, jurisdiction), statute


def _retention(entries: object, lines: _Lines) -> Iterator[tuple[str, Kept]]:
    if not isinstance(entries, dict):
        raise lines.wrong(lines.of("retention"), "`retention` must hold a table for each class of store")
    for store_class, entry in entries.items():
        name = re.escape(store_class)
        line = lines.of(rf"(\[\s*retention\.{name}\b|(retention\.)?{name}\s*=)")
        if not isinstance(entry, dict) or not _WORD.fullmatch(store_class):
            raise lines.wrong(line, f"`retention.{store_class}` must be a table for a class of store")
        lines.known(entry, _KEPT, line, f"retention.{store_class}.")
        if ("years" in entry) == ("days" in entry):
            raise lines.wrong(line, f"`retention.{store_class}` must set either `years` or `days`")
        text = entry.get("text", f"reads of `{store_class}` stores are not given once they are older")
        kept = Kept(
            store_class=store_class,
            line=line,
            years=_number(entry, "years", line, lines) if "years" in entry else 0,
            days=_number(entry, "days", line, lines, most=MOST_YEARS * 366) if "days" in entry else 0,
            rules=tuple(_text(entry, "rule", line, lines).split()),
            document=_text(entry, "document", line, lines),
            text=_text({"text": text}, "text", line, lines),
        )
        yield store_class, kept


def _text(
    entry: Mapping[str, object],
    key: str,
    line: int,
    lines: _Lines,
    pattern: re.Pattern[str] | None = None,
    right: str = "a text",
) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value.strip() or (pattern and not pattern.fullmatch(value)):
        raise lines.wrong(lines.of(key, after=line) if key in entry else line, f"`{key}` must be {right}")
    return value


def _number(
    entry: Mapping[str, object], key: str, line: int, lines: _Lines, *, most: int = MOST_YEARS
) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        right = f"a number from 1 to {most}" + (', or "none"' if "offence" in entry else "")
        raise lines.wrong(lines.of(key, after=line) if key in entry else line, f"`{key}` must be {right}")
    return value
