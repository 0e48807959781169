"""Who may ask at all: the gateway stops its own agency's user before a question leaves (Q4, Q9)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comity.gateway.errors import SubjectRefused
from comity.gateway.subjects import require_fit
from tests.gateway.conftest import NOW
from tests.gateway.test_gateway import CLAIMS

YEAR = timedelta(days=365)


def test_user_in_good_standing_trained_and_logged_on_may_ask() -> None:
    """The last day of training, and of a logon, still count."""
    require_fit(CLAIMS, now=NOW)
    require_fit(replace(CLAIMS, trained_at=NOW - YEAR), now=NOW)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"good_standing": False}, "good standing"),
        ({"trained_at": NOW - YEAR - timedelta(days=2)}, "training"),
        ({"trained_at": NOW + timedelta(seconds=1)}, "training"),
        ({"rules_accepted_at": NOW - timedelta(days=2)}, "rules of behaviour"),
        ({"rules_accepted_at": NOW + timedelta(minutes=1)}, "rules of behaviour"),
        ({"protections_attested": False}, "protected ground"),
    ],
    ids=["bad standing", "training a year ago", "training to come", "old logon", "logon to come", "no Q9"],
)
def test_user_who_may_not_ask_is_told_why(changed: dict[str, Any], told: str) -> None:
    """Each of Q4's conditions, and Q9's attestation, by itself."""
    with pytest.raises(SubjectRefused, match=told):
        require_fit(replace(CLAIMS, **changed), now=NOW)
