"""When an end dials again: waits that grow, are capped, and are never the same for many ends at once."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from comity.links.backoff import Backoff

SECOND = timedelta(seconds=1)


@given(
    failures=st.integers(0, 10**6),
    drawn=st.floats(0, 1, exclude_max=True),
    first=st.integers(1, 5_000),
    longest=st.integers(5_000, 60_000),
)
def test_wait_is_within_a_bound_that_grows_and_is_capped(
    failures: int, drawn: float, first: int, longest: int
) -> None:
    """Whatever is drawn: from nothing to the bound, which never shrinks and never passes the longest."""
    backoff = Backoff(
        first=timedelta(milliseconds=first), longest=timedelta(milliseconds=longest), draw=lambda: drawn
    )
    assert timedelta() <= backoff.wait(failures) <= backoff.bound(failures) <= backoff.longest
    assert backoff.bound(failures) <= backoff.bound(failures + 1)
    assert backoff.bound(0) == backoff.first


def test_waits_of_one_end_differ() -> None:
    """The jitter is full: of a hundred waits no two are alike, and they use the whole of the bound."""
    backoff = Backoff()
    waits = [backoff.wait(9) for _ in range(100)]
    assert len(set(waits)) == 100
    assert min(waits) < SECOND and max(waits) > 4 * SECOND


def test_only_a_link_that_stood_begins_anew() -> None:
    """A link that is welcomed and lost at once is as bad as none, or it would be dialled without a pause."""
    backoff = Backoff()
    assert backoff.has_stood(backoff.longest)
    assert not backoff.has_stood(backoff.longest - timedelta(milliseconds=1))


def test_ends_of_a_broker_that_returns_do_not_come_all_at_once() -> None:
    """A thousand ends lose the broker in one moment; when it is back after 20 s they come over seconds."""
    rng, came = random.Random(4), Counter[int]()
    down = 20 * SECOND
    for _ in range(1000):
        backoff, at, failures = Backoff(draw=rng.random), timedelta(), 0
        while at < down:
            at += backoff.wait(failures)
            failures += 1
        came[int((at - down) / timedelta(milliseconds=100))] += 1
        assert at < down + backoff.longest
    assert max(came.values()) < 80, "a tenth of a second has the share of two seconds"
    assert len(came) > 35
