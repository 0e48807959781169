"""The broker's roster: under its own pin, newer ones while it runs, and never an older one."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from comity.broker import server
from comity.broker.config import load_config
from comity.broker.server import Broker
from comity.certs.agency import AgencyHome
from comity.certs.authority import FederationSpec, init_federation, refresh, suspend
from comity.certs.errors import RosterExpired, RosterInvalid
from comity.certs.files import write_public
from comity.certs.revoking import revoke_own
from comity.cli.logkeys import make_log_key
from tests.support import patience
from tests.support.federation import FederationOnDisk, build_federation

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def built_for_rollback(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    folder = tmp_path_factory.mktemp("rollback") / "f"
    return build_federation(folder, NOON, ("sheriff", "lapd"), broker="127.0.0.1:0")


@pytest.fixture
def made(
    built_for_rollback: FederationOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FederationOnDisk:
    monkeypatch.setattr(server, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(server, "STOP_SECONDS", 0.1)
    shutil.copytree(built_for_rollback.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=built_for_rollback.spec)


@asynccontextmanager
async def running(made: FederationOnDisk, now: datetime = NOON) -> AsyncIterator[Broker]:
    broker = await Broker.start(load_config(made.broker_home / "broker.toml"), clock=lambda: now)
    try:
        yield broker
    finally:
        await broker.stop()


def version(broker: Broker) -> int:
    return broker._trust.federation.version


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(patience.SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def published_files(made: FederationOnDisk) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in made.public.iterdir()}


def put_back(files: dict[Path, bytes]) -> None:
    for path, data in files.items():
        write_public(path, data)


async def test_rolled_back_roster_is_refused_running_and_at_the_next_start(
    made: FederationOnDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """Yesterday's files bring no suspended member back, also not by way of a restart (design 4)."""
    before = published_files(made)
    async with running(made) as broker:
        suspend(made.root, "lapd", NOON)
        await until(lambda: version(broker) == 3)
        put_back(before)
        await until(lambda: "version 2 is older than version 3" in caplog.text)
        assert version(broker) == 3
        assert broker._trust.federation.member("lapd").suspended
    with pytest.raises(RosterInvalid, match="version 2 is older than version 3"):
        async with running(made):
            pass


async def test_other_roster_of_the_same_version_is_refused_running_and_at_the_next_start(
    made: FederationOnDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """An authority that signed two of one version has shown each of them to somebody else."""
    before = published_files(made)
    async with running(made) as broker:
        suspend(made.root, "lapd", NOON)
        await until(lambda: version(broker) == 3)
        put_back(before)
        await until(lambda: "is older than" in caplog.text)
        suspend(made.root, "sheriff", NOON)
        await until(lambda: "version 3 is another one" in caplog.text)
        assert not broker._trust.federation.member("sheriff").suspended
    with pytest.raises(RosterInvalid, match="version 3 is another one"):
        async with running(made):
            pass


async def test_replaced_folder_with_its_own_pin_is_refused(
    made: FederationOnDisk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who replaces the published folder replaces the keys in it too; the operator's own pin stays."""
    other = FederationSpec(name=made.spec.name, broker="127.0.0.1:0")
    init_federation(tmp_path / "other", other, NOON, make_log_key=make_log_key)
    for path in (tmp_path / "other" / "public").iterdir():
        write_public(made.public / path.name, path.read_bytes())
    with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
        async with running(made):
            pass
    assert "names other keys than the pin" in caplog.text


async def test_expired_roster_is_refused_and_a_refreshed_one_is_taken(made: FederationOnDisk) -> None:
    """With the command that renews it."""
    late = NOON + timedelta(days=31)
    with pytest.raises(RosterExpired, match="comity federation refresh"):
        async with running(made, late):
            pass
    refresh(made.root, late)
    async with running(made, late) as broker:
        assert version(broker) == 2


async def test_list_that_is_not_handed_out_is_told(
    made: FederationOnDisk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, by the agency's name, when all agencies' own lists are too large for one delivery."""
    monkeypatch.setattr("comity.certs.delivered.MAX_OWN_LISTS_BYTES", 10)
    home = AgencyHome.load(made.home("lapd"))
    revoke_own(home, [], NOON, lifetime=timedelta(days=1), identity=home.identity())
    async with running(made) as broker:
        assert "THE OWN LISTS OF REVOCATIONS OF `lapd` ARE NOT HANDED OUT" in caplog.text
        suspend(made.root, "sheriff", NOON)
        await until(lambda: version(broker) == 3)
    assert caplog.text.count("ARE NOT HANDED OUT") == 1
