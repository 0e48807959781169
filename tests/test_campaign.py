"""The lying broker at random, as many exchanges as a test run has time for; `make campaign` runs 10,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign import run_part
from tests.support.federation import FederationOnDisk

SEED = 20_261_122
EXCHANGES = 16


@pytest.mark.long
async def test_random_lies_are_noticed_and_show_nothing_that_was_not_released(
    laid_out: FederationOnDisk, tmp_path: Path
) -> None:
    """After any lie all are accounted for in time, nothing false is shown, the right ones are named."""
    tally = await run_part(laid_out.root, tmp_path, laid_out, seed=SEED, part=0, exchanges=EXCHANGES)
    assert tally.exchanges >= EXCHANGES and tally.pages and sum(tally.named.values()) > EXCHANGES / 3
    print(tally.table())
