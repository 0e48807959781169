"""Budgets: how many questions a provider's policy takes, of an agency, of one user, about one plate *(ours)*.

A permit of `Search` says them, so that each has an id, a rule and a document like any other limit:

    @budget("agency 5000/day, user 60/hour, user 200/day, plate 20/day")

Each is counted for the agency that asks: its questions together, those of one user of it, and those about
one plate, by whomever of it. So no agency can use up another's, nor learn from it what another asked
(L6). The windows slide: in no hour, and in no 24 hours, are there more than the number. A question that
searches several readings of a plate counts once for each of them, as that many plates are searched.

What was spent is a fact of the decision; where several permits determine it, every budget of theirs holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from typing import Final

from comity.policy.errors import PolicyError

MOST: Final = 1_000_000
"""The largest number of a budget."""

_FORM: Final = "expected such as `user 200/day`, several of them apart by commas"


class BudgetInvalid(PolicyError):
    """A budget can't be read; the text names what is wrong and what would be right."""


class Scope(Enum):
    """Whose questions are counted, all of one agency's."""

    AGENCY = "agency"
    USER = "user"
    PLATE = "plate"


class Span(Enum):
    """How long a question counts."""

    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """An hour, or 24 of them."""
        return timedelta(hours=1 if self is Span.HOUR else 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """How much was asked before a question, in the hour and in the 24 hours before it."""

    agency_hour: int = 0
    agency_day: int = 0
    user_hour: int = 0
    user_day: int = 0
    plate_hour: int = 0
    """Of several plates, that of the one of which most was asked."""
    plate_day: int = 0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` is negative")

    def of(self, scope: Scope, span: Span) -> int:
        """Return the number that one budget looks at."""
        return int(getattr(self, f"{scope.value}_{span.value}"))

    def written(self) -> Mapping[str, int]:
        """Return what isn't 0, by name; `Spent(**…)` gives it back."""
        return {name: number for name in self.__slots__ if (number := getattr(self, name))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most so many questions in any such span."""

    scope: Scope
    span: Span
    most: int

    @property
    def text(self) -> str:
        """In words, for example `200 questions a day for one user`."""
        questions = "1 question" if self.most == 1 else f"{self.most} questions"
        span = "an hour" if self.span is Span.HOUR else "a day"
        match self.scope:
            case Scope.AGENCY:
                return f"{questions} {span} for one agency"
            case Scope.USER:
                return f"{questions} {span} for one user"
            case Scope.PLATE:
                return f"{questions} {span} about one plate"

    def costs(self, readings: int) -> int:
        """Return how much one question counts; `readings` are those of the plate that it searches."""
        return 1 if self.scope is Scope.PLATE else readings

    def is_exceeded(self, spent: Spent, readings: int) -> bool:
        """Tell whether a question doesn't fit in, after what was spent before it."""
        return spent.of(self.scope, self.span) + self.costs(readings) > self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A budget that a question doesn't fit in, and the policy that sets it."""

    budget: Budget
    policy_id: str


def read_budgets(text: str) -> tuple[Budget, ...]:
    """Return the budgets of an annotation, in its order; raise `BudgetInvalid`."""
    found: list[Budget] = []
    for part in text.split(","):
        found.append(_budget(part.split(), part.strip()))
    pairs = [(budget.scope, budget.span) for budget in found]
    for scope, span in pairs:
        if pairs.count((scope, span)) > 1:
            raise BudgetInvalid(f"`{scope.value}` has two budgets for one {span.value}")
    return tuple(found)


def _budget(words: Sequence[str], part: str) -> Budget:
    if len(words) != 2 or "/" not in words[1]:
        raise BudgetInvalid(f"`{part}` is no budget: {_FORM}")
    number, _, span = words[1].partition("/")
    if not (number.isascii() and number.isdecimal() and len(number) <= 7 and 1 <= int(number) <= MOST):
        raise BudgetInvalid(f"`{part}`: `{number}` is not a number from 1 to {MOST}")
    _check_word(words[0], [each.value for each in Scope], part)
    _check_word(span, [each.value for each in Span], part)
    return Budget(scope=Scope(words[0]), span=Span(span), most=int(number))


def _check_word(word: str, known: Sequence[str], part: str) -> None:
    if word not in known:
        near = get_close_matches(word, known, n=1)
        hint = f"did you mean `{near[0]}`" if near else f"expected {' or '.join(known)}"
        raise BudgetInvalid(f"`{part}`: `{word}` is not known; {hint}")
