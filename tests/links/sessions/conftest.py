"""Fixtures of the sessions' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.sessions import AgencyKeys, World


@pytest.fixture(scope="session")
def agencies() -> dict[str, AgencyKeys]:
    return {name: AgencyKeys(name) for name in ("cbp", "dea", "sheriff", "ice")}


@pytest.fixture
async def world(tmp_path: Path, agencies: dict[str, AgencyKeys]) -> AsyncIterator[World]:
    made = World(tmp_path, agencies)
    yield made
    made.close()
