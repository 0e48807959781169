"""The simulated federation, for every test that lets somebody lie."""

from __future__ import annotations

import gc
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, settings

from tests.simulator import FederationSimulator, lay_out, simulate
from tests.support.federation import FederationOnDisk, build_federation

_usual = settings()
settings.register_profile(
    "on any machine",
    parent=_usual,
    deadline=None,  # 200 ms an example says something of the machine, and nothing of what is tested
    suppress_health_check=[*_usual.suppress_health_check, HealthCheck.too_slow],
)
settings.load_profile("on any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--third WORD`: a third of the tests, another one for another word, a commit for instance."""
    parser.addoption("--third", metavar="WORD", help="Run a third of the tests: another WORD, another third.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not of the third that was asked for; in time each has its turn."""
    word = config.getoption("--third")
    if word is None:
        return
    thirds: tuple[list[pytest.Item], ...] = ([], [], [])
    for item in items:
        thirds[crc32(f"{word} {item.nodeid.partition('@')[0]}".encode()) % 3].append(item)
    items[:], *left_out = thirds
    config.hook.pytest_deselected(items=[item for third in left_out for item in third])


def pytest_collection_finish() -> None:
    """Have the collector of garbage pass by what thousands of tests hold: about a fifth of a run's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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


def all_are_linked(running: FederationSimulator) -> bool:
    """Whether every end has its link to the broker."""
    adapters = (provider.end and provider.end.link for provider in running.providers.values())
    gateways = (end.gateway and end.gateway.link for end in running.asking.values())
    return all(link is not None and link.is_up for link in (*adapters, *gateways))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    laid_out: FederationOnDisk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FederationSimulator]:
    """One simulated federation for a module's tests; take `shared` instead."""
    root = tmp_path_factory.mktemp("shared") / "f"
    shutil.copytree(laid_out.root, root)
    async with simulate(FederationOnDisk(root=root, spec=laid_out.spec)) as running:
        await running.until(lambda: all_are_linked(running))
        yield running
        await running.until(lambda: all_are_linked(running))
        assert await running.recovers(), "an honest federation answers in full again, whatever was done to it"


@pytest_asyncio.fixture(loop_scope="module")
async def shared(running: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    """The module's federation; after the test everybody is honest again."""
    yield running
    running.broker.is_honest_again()
    for provider in running.providers.values():
        provider.is_honest_again()
    await running.passes(seconds=0.5)
