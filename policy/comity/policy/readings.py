"""Several likely readings of one plate *(ours; Q10)*: off by default, shown before they're searched, bounded.

A reader takes `8` for `B` and `0` for `O`: misreads are a known fact [PIA 'Characterization'; CBP 6]. The
requester's end can list what a known plate may have been read as; a person looks at the list; the query
names those that are searched, and the provider's end checks each against the same table. So what is
searched is what was shown, and it stays a search for one known plate (Q1): a pattern can't be said.

The table is data (`readings.toml`). A bundle may narrow it:

    [readings]
    groups = ["0O", "8B"]   # pairs of Comity's own table alone
    most_changed = 1

Whether several readings may be asked for at all, and how many, a permit says with `@readings("16")`.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from comity.policy.errors import PolicyError

MOST: Final = 64
"""Readings of one question, the plate itself among them."""

_OWN_DATA: Final = Path(__file__).with_name("readings.toml")
_KEYS: Final = ("groups", "most_changed")


class ReadingsInvalid(PolicyError):
    """A bundle's `[readings]` can't be used; `key` is the one that is wrong, the text what would be right."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


class TooManyReadings(PolicyError):
    """A plate has more likely readings than one question can search; nothing is left out silently."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the plate has {number} likely readings, more than the {MOST} of one question")
        self.number = number


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusions:
    """Which characters are taken for which, both ways, and how many of a plate at once."""

    taken_for: Mapping[str, frozenset[str]] = field(repr=False)
    most_changed: int

    def narrowed(self, table: Mapping[str, object]) -> Confusions:
        """Return these with what a bundle's `[readings]` leaves of them; raise `ReadingsInvalid`."""
        for key in table:
            if key not in _KEYS:
                raise ReadingsInvalid(key, f"key `{key}` is not known; known are {', '.join(_KEYS)}")
        most = table.get("most_changed", self.most_changed)
        if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= self.most_changed:
            wrong = f"`most_changed` is not a number from 1 to {self.most_changed}: a bundle only narrows"
            raise ReadingsInvalid("most_changed", wrong)
        if "groups" not in table:
            return Confusions(taken_for=self.taken_for, most_changed=most)
        groups = table["groups"]
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise ReadingsInvalid("groups", '`groups` is not a list of texts, as ["0O", "8B"]')
        taken_for = _taken_for(groups)
        for one, others in sorted(taken_for.items()):
            for other in sorted(others - self.taken_for.get(one, frozenset())):
                raise ReadingsInvalid(
                    "groups", f"`{one}` and `{other}` are no pair of Comity's table: a bundle narrows it"
                )
        return Confusions(taken_for=taken_for, most_changed=most)

    def changes(self, plate: str, other: str) -> int | None:
        """Return how many characters differ between a folded plate and a reading of it; None: it is none."""
        if len(plate) != len(other):
            return None
        pairs = [(one, two) for one, two in zip(plate, other, strict=True) if one != two]
        if any(two not in self.taken_for.get(one, ()) for one, two in pairs):
            return None
        return len(pairs)

    def is_reading(self, plate: str, other: str) -> bool:
        """Tell whether `other` is a likely reading of a folded plate, which it is of itself, too."""
        changes = self.changes(plate, other)
        return changes is not None and changes <= self.most_changed


@cache
def own_confusions() -> Confusions:
    """Return Comity's own table."""
    table = tomllib.loads(_OWN_DATA.read_text(encoding="utf-8"))
    return Confusions(taken_for=_taken_for(table["groups"]), most_changed=table["most_changed"])


def readings_of(plate: str, *, confusions: Confusions, most_changed: int | None = None) -> tuple[str, ...]:
    """Return the likely readings of a folded plate: itself first, then those with fewest changes.

    Args:
        plate: As `comity.policy.plates.fold` gives it.
        confusions: The table.
        most_changed: Fewer characters at once than the table's; None: as many.

    Raises:
        TooManyReadings: more than `MOST`; none is left out.
    """
    most = confusions.most_changed if most_changed is None else min(most_changed, confusions.most_changed)
    found = [reading for changed in range(most + 1) for reading in _changed(plate, changed, confusions)]
    if len(found) > MOST:
        raise TooManyReadings(len(found))
    return tuple(found)


def _changed(plate: str, number: int, confusions: Confusions) -> Iterator[str]:
    """Yield the readings in which exactly so many characters are others, in a fixed order."""
    for places in itertools.combinations(range(len(plate)), number):
        others = [sorted(confusions.taken_for.get(plate[place], ())) for place in places]
        for chosen in itertools.product(*others):
            characters = list(plate)
            for place, character in zip(places, chosen, strict=True):
                characters[place] = character
            yield "".join(characters)


def _taken_for(groups: list[str]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for group in groups:
        if len(set(group)) < 2 or not group.isascii() or not group.isalnum() or group != group.upper():
            raise ReadingsInvalid("groups", f"`{group}` is not two capitals or digits or more, such as `0O`")
        for character in group:
            found.setdefault(character, set()).update(set(group) - {character})
    return {character: frozenset(others) for character, others in found.items()}
