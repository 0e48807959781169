"""A federation on disk, and one provider's end in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from tests.adapters.bench import NOON, Bench
from tests.support.federation import FederationOnDisk, build_federation

AGENCIES = ("cbp", "dea", "ice", "vendor", "lapd", "lahd", "sheriff")


@pytest.fixture(scope="session")
def provider_federation(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """The demonstration federation, set up at noon."""
    return build_federation(tmp_path_factory.mktemp("federation") / "f", NOON, AGENCIES)


@pytest.fixture
def bench(provider_federation: FederationOnDisk, tmp_path: Path) -> Iterator[Bench]:
    """LAPD's end; the Port Police ask."""
    bench = Bench(provider_federation, tmp_path)
    yield bench
    bench.threads.shutdown()


@pytest.fixture
async def real_log(bench: Bench) -> AsyncIterator[SignedLog]:
    """LAPD's signed log, in a folder of its own."""
    origin = f"{bench.federation.member('lapd').domain}/adapter"
    key = LogKey.load(bench.made.adapter_home("lapd") / "keys" / "log.key", origin)
    log = await SignedLog.open(bench.folder / "logged", origin=origin, key=key, clock=bench.clock)
    yield log
    await log.close()
