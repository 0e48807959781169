"""A log's key is replaced while its end serves, at each of the three: nobody has to restart (L2)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

import comity.adapters.config as adapter_config
import comity.adapters.errors as adapter_errors
import comity.adapters.server as adapter
import comity.broker.config as broker_config
import comity.broker.errors as broker_errors
import comity.broker.server as broker
import comity.gateway.config as gateway_config
import comity.gateway.end as gateway
import comity.gateway.errors as gateway_errors
from comity.audit.entry import KEY_ROTATED, parse_entry
from comity.audit.log_keys import NEXT_KEY_FILE
from comity.audit.note import LogKey, note_signers
from comity.audit.tiles import TileFolder
from comity.audit.trust import Trust, make_trust
from comity.audit.verify import verify_folders
from comity.certs.authority import admit
from comity.certs.key_changes import EndFolder, announce_log_key, apply_for, finish_log_key
from comity.certs.keys import SigningKey
from comity.cli.demonstration.policies import install_policy
from tests.adapters.bench import NOON
from tests.adapters.test_server import STORE
from tests.support.federation import FederationOnDisk, build_federation

ENDS = ("adapter", "broker", "gateway")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    folder = tmp_path_factory.mktemp("log-keys") / "f"
    return build_federation(folder, NOON, ("sheriff", "lapd"), broker="127.0.0.1:1")


@pytest.fixture
def made(built: FederationOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FederationOnDisk:
    for module in (adapter, broker, gateway):
        monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(broker, "STOP_SECONDS", 0.1)
    monkeypatch.setattr("comity.audit.log.PUBLISH_DELAY", 0.01)
    shutil.copytree(built.root, tmp_path / "f")
    copy = FederationOnDisk(root=tmp_path / "f", spec=built.spec)
    settings = copy.broker_home / "broker.toml"
    settings.write_text(settings.read_text().replace("127.0.0.1:1", "127.0.0.1:0"))
    home = copy.adapter_home("lapd")
    install_policy(copy, "lapd", NOON)
    (home / "reads.csv").write_text("plate,state,time\n8ABC123,CA,2026-03-01 08:00:00\n")
    (home / "adapter.toml").write_text((home / "adapter.toml").read_text() + STORE)
    return copy


def home_of(made: FederationOnDisk, role: str) -> Path:
    homes = {
        "adapter": made.adapter_home("lapd"),
        "broker": made.broker_home,
        "gateway": made.gateway_home("sheriff"),
    }
    return homes[role]


@asynccontextmanager
async def serving(home: Path, role: str) -> AsyncIterator[None]:
    """Run an end in this process, with nobody at the other side of its links."""

    def clock() -> object:
        return NOON

    match role:
        case "adapter":
            stop = asyncio.Event()
            config = adapter_config.load_config(home / "adapter.toml")
            task = asyncio.create_task(
                adapter.serve(config, ready=lambda line: None, stop=stop, clock=clock)  # type: ignore[arg-type]
            )
            try:
                yield
            finally:
                stop.set()
                await asyncio.wait_for(task, 30)
        case "broker":
            running = await broker.Broker.start(
                broker_config.load_config(home / "broker.toml"),
                clock=clock,  # type: ignore[arg-type]
            )
            try:
                yield
            finally:
                await running.stop()
        case _:
            settings = gateway_config.load_config(home / "gateway.toml")
            async with (
                gateway.GatewayEnd.open(settings, clock=clock) as end,  # type: ignore[arg-type]
                end.running(),
            ):
                yield


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.01)


def signatures(home: Path) -> int:
    with suppress(FileNotFoundError):
        return len(note_signers((home / "log/checkpoint").read_bytes()))
    return 0


@pytest.mark.parametrize("role", ENDS)
async def test_key_of_a_serving_end_is_replaced(made: FederationOnDisk, role: str) -> None:
    """The roster that names both keys is enough, and the one that names the new alone removes the old."""
    home = home_of(made, role)
    end = EndFolder.load(home)
    identity = SigningKey.load(home.parent / "identity.pem")

    def publish(change: Callable[[object], None]) -> None:
        path = apply_for(end, end.federation(NOON), change, identity=identity, now=NOON)  # type: ignore[arg-type]
        admit(made.root, [path.read_bytes()], NOON)

    origin = end.log_key(end.federation(NOON)).origin
    key = LogKey.generate(origin)
    async with serving(home, role):
        await until(lambda: signatures(home) == 1)
        key.save(end.keys / NEXT_KEY_FILE)
        publish(announce_log_key(origin, key.verifier_key))  # type: ignore[arg-type]
        await until(lambda: signatures(home) == 2)
        size = int((home / "log/checkpoint").read_text().split("\n")[1])
        leaves = TileFolder(home / "log").all_entries(size)
        (index,) = [place for place, leaf in leaves if parse_entry(leaf).kind == KEY_ROTATED]
        publish(finish_log_key(origin, last_size=index))  # type: ignore[arg-type]
        await until(lambda: not (end.keys / NEXT_KEY_FILE).exists())
    async with serving(home, role):
        await until(lambda: signatures(home) == 1)
    assert LogKey.load(end.keys / "log.key", origin).verifier_key == key.verifier_key
    assert verify_folders([home / "log"], Trust.parse(make_trust(made.public))).verified


@pytest.mark.parametrize("role", ENDS)
async def test_an_end_does_not_start_with_a_key_that_is_not_its_logs(
    made: FederationOnDisk, role: str
) -> None:
    """A key that the roster doesn't name signs what nobody believes: the end says so, and doesn't serve."""
    home = home_of(made, role)
    LogKey.generate(f"{EndFolder.load(home).role}.example/x").save(home / "keys/log.key")
    refused = (adapter_errors.ConfigInvalid, broker_errors.ConfigInvalid, gateway_errors.ConfigInvalid)
    with pytest.raises(refused) as caught:
        async with serving(home, role):
            await asyncio.sleep(1)
    assert "not the log key that the roster names" in str(caught.value)
    assert not (home / "log").exists()


async def test_an_end_serves_with_the_key_that_it_has(made: FederationOnDisk) -> None:
    """The honest case of these tests."""
    home = home_of(made, "gateway")
    async with serving(home, "gateway"):
        await until(lambda: signatures(home) == 1)
