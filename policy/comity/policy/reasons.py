"""What a free text tells of why a query is made (Q3, Q4): a pure function, from the text to three facts.

No program can know whether a reason is true. It can tell a text that could stand in front of any query
whatever ('investigation', 'test', one word, the plate again) from one that lets an auditor see what led
to the query, and one text that is pasted for many plates. What follows from that is the policy's: it
gets the facts `reasonVague`, `reasonWords` and `reasonPlates`, and neither text nor plate.

The words are data (`reasons.toml`, *ours*); a bundle adds words of its own and takes some back:

    [reasons]
    vague = ["patrol"]          # more words that tell nothing
    telling = ["intelligence"]  # words of Comity's list that tell something here
    least_words = 3             # fewer telling words are vague; Comity's own: 2
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from comity.policy.errors import PolicyError

SHORTEST_WORD: Final = 3
"""Letters of the shortest word that can tell something."""

SHORTEST_NUMBER: Final = 4
"""Digits of the shortest number that can: it refers to something, for example another agency's report."""

MOST_LEAST_WORDS: Final = 20
"""The most telling words that a bundle can ask for: as many as the schema's `reasonWords` can count."""

_WORD: Final = re.compile(r"[^\W_]+")
_OWN_DATA: Final = Path(__file__).with_name("reasons.toml")
_KEYS: Final = ("vague", "telling", "least_words")


class ReasonsInvalid(PolicyError):
    """A bundle's `[reasons]` can't be used; `key` is the one that is wrong, the text what would be right."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonWords:
    """Words that tell nothing, folded, and how many others a text needs."""

    silent: frozenset[str] = field(repr=False)
    least_words: int

    def altered(self, table: Mapping[str, object]) -> ReasonWords:
        """Return these words with what a bundle's `[reasons]` adds and takes back; raise `ReasonsInvalid`."""
        for key in table:
            if key not in _KEYS:
                raise ReasonsInvalid(key, f"key `{key}` is not known; known are {', '.join(_KEYS)}")
        added, taken = _words(table, "vague"), _words(table, "telling")
        for word in sorted(added & taken):
            raise ReasonsInvalid("telling", f"`{word}` stands in `vague` and in `telling`")
        for word in sorted(taken - self.silent):
            raise ReasonsInvalid(
                "telling", f"`{word}` is no word of Comity's list, so it tells something anyway"
            )
        least = table.get("least_words", self.least_words)
        if not isinstance(least, int) or isinstance(least, bool) or not 1 <= least <= MOST_LEAST_WORDS:
            raise ReasonsInvalid("least_words", f"`least_words` is not a number from 1 to {MOST_LEAST_WORDS}")
        return ReasonWords(silent=(self.silent | added) - taken, least_words=least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a text tells."""

    words: int
    """Distinct words that tell something."""
    vague: bool
    """They are fewer than the bundle asks for."""
    likeness: str = field(repr=False)
    """Equal for texts that differ only in case, spacing, punctuation, plate and case. Holds content."""


@cache
def own_words() -> ReasonWords:
    """Return Comity's own list."""
    table = tomllib.loads(_OWN_DATA.read_text(encoding="utf-8"))
    return ReasonWords(
        silent=frozenset(_folded(word) for key in ("vague", "filler") for word in table[key]),
        least_words=table["least_words"],
    )


def told_by(text: str, *, plate: str, case_number: str, words: ReasonWords) -> Told:
    """Return what `text` tells, beside plate and case number, which stand in fields of their own (Q3).

    A word tells something if it has three letters or four digits or more, not all of them the same, and
    isn't one of `words.silent`; each counts once.
    """
    found = _WORD.findall(_folded(text))
    for known in (_bare(plate), _bare(case_number)):
        found = _without(found, known)
    telling = {word for word in found if _tells(word) and word not in words.silent}
    return Told(words=len(telling), vague=len(telling) < words.least_words, likeness=" ".join(found))


def _tells(word: str) -> bool:
    letters = [character for character in word if character.isalpha()]
    long_enough = len(letters) >= SHORTEST_WORD or (len(word) >= SHORTEST_NUMBER and not letters)
    return long_enough and len(set(letters or word)) > 1


def _without(words: Sequence[str], known: str) -> list[str]:
    """Return words without each run that, written together, is `known`."""
    if not known:
        return list(words)
    kept: list[str] = []
    position = 0
    while position < len(words):
        end, joined = position, ""
        while end < len(words) and len(joined) < len(known) and known.startswith(joined + words[end]):
            joined += words[end]
            end += 1
        if joined == known:
            position = end
        else:
            kept.append(words[position])
            position += 1
    return kept


def _folded(text: str) -> str:
    """Return a text in compatibility form, without difference of case or accents."""
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFKC", "".join(each for each in apart if not unicodedata.combining(each)))


def _bare(text: str) -> str:
    return "".join(_WORD.findall(_folded(text)))


def _words(table: Mapping[str, object], key: str) -> frozenset[str]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ReasonsInvalid(key, f'`{key}` is not a list of words, as ["patrol", "welfare"]')
    for word in found:
        if _WORD.findall(_folded(word)) != [_folded(word)]:
            raise ReasonsInvalid(key, f"`{key}`: `{word}` is not one word of letters and digits")
    return frozenset(map(_folded, found))
