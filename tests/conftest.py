"""The simulated federation, for every test that lets somebody lie."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.simulator import FederationSimulator, lay_out, simulate
from tests.support.federation import FederationOnDisk, build_federation

SIMULATED = ("cbp", "dea", "lapd", "lahd", "sheriff")


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """Four providers and the sheriff on disk, with policies and stores; nothing has run in it."""
    now = datetime.now(UTC)
    made = build_federation(tmp_path_factory.mktemp("laid-out") / "f", now, SIMULATED)
    lay_out(made, now)
    return made


@pytest.fixture
async def federation(laid_out: FederationOnDisk, tmp_path: Path) -> AsyncIterator[FederationSimulator]:
    """The whole federation in this process, in folders of its own; honest until a test says otherwise."""
    shutil.copytree(laid_out.root, tmp_path / "f")
    async with simulate(FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec)) as running:
        yield running
