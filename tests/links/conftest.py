"""Fixtures of the links' tests: certificates, and a real broker-side gRPC server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.links import CertAuthority, LoopbackBroker, RecordingEvents


@pytest.fixture(scope="session")
def authorities() -> dict[str, CertAuthority]:
    return {name: CertAuthority(f"{name}.example") for name in ("operator", "cbp", "dea")}


@pytest.fixture
async def loopback(authorities: dict[str, CertAuthority]) -> AsyncIterator[LoopbackBroker]:
    broker = LoopbackBroker(authorities)
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
def recording() -> RecordingEvents:
    return RecordingEvents()
