"""A broker that rewrites its log.

Each test has a federation of its own, with short logs, because it verifies all of them.
"""

from __future__ import annotations

import random

import pytest

from comity.audit.trust import Trust, make_trust
from comity.audit.verify import find_logs, verify_folders
from comity.gateway.errors import BrokerUnavailable
from tests.simulator import FederationSimulator
from tests.support.judging import BROKERS_LOG, is_detected
from tests.support.lie_table import REWRITES


def accused(federation: FederationSimulator) -> set[str]:
    reports = verify_folders(
        find_logs([federation.made.root]), Trust.parse(make_trust(federation.made.public))
    )
    return {report.origin for report in reports.logs if not report.verified}


async def test_log_that_only_grows_is_refused_by_nobody(federation: FederationSimulator) -> None:
    """An honest broker's checkpoints are taken, by every end and by an auditor (L2)."""
    assert (await federation.search()).is_whole
    await federation.passes(seconds=5)
    assert (await federation.search()).is_whole
    assert not any(federation.refusals().values()) and accused(federation) == set()


@pytest.mark.parametrize("lie", REWRITES)
async def test_rewritten_log_is_caught_by_every_end_that_saw_it(
    federation: FederationSimulator, lie: str
) -> None:
    """Two roots for one size, fewer entries, another tree: each logs both notes, and refuses the broker."""
    before, warned = federation.positions(), len(federation.warnings)
    REWRITES[lie].tell(federation, "lapd", random.Random(1))
    answer = await federation.search()
    await federation.passes(seconds=REWRITES[lie].waits)
    assert is_detected(federation, REWRITES[lie], [answer], before, warned)
    found = [
        entry
        for entry in federation.journals["lapd/adapter"].of("contradiction")
        if entry.public.get("peer_origin") == "operator.example/broker"
    ]
    assert "operator.example/broker" in str(found[-1].public["note"])
    assert "operator.example/broker" in str(found[-1].public["last_note"])
    ends = {name for name in federation.journals if name != "operator/broker"}
    assert federation.refusals() == {name: {BROKERS_LOG} for name in ends}
    refused = await federation.search()
    assert isinstance(refused.error, BrokerUnavailable) and "pardon" in str(refused.error)
    loud = "THE BROKER'S LOG CONTRADICTS"
    await federation.until(lambda: any(loud in line for line in federation.warnings[warned:]))
    assert accused(federation) == {"operator.example/broker"}
