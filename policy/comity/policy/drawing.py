"""Questions made of the values of facts: all of them, or so many drawn, always the same ones."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from math import prod
from typing import TypeVar

_Value = TypeVar("_Value")


def combinations(facts: Sequence[Sequence[_Value]], *, most: int) -> Iterator[tuple[_Value, ...]]:
    """Yield every combination of one value a fact, or, of more than `most`, so many that are drawn.

    What is drawn depends on how many there are alone, so that two runs try the same.
    """
    count = prod(len(values) for values in facts)
    if count <= most:
        yield from itertools.product(*facts)
        return
    drawn = random.Random(count)  # noqa: S311 - which questions are tried is no secret
    for _ in range(most):
        yield tuple(drawn.choice(values) for values in facts)
