"""The adapter's process: what it refuses to start with, that it stays up, takes news, and stops cleanly."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from comity.adapters.config import load_config
from comity.adapters.errors import ConfigInvalid
from comity.adapters.loading import load_standing, open_published, reload_standing
from comity.adapters.server import serve
from comity.audit.acts import Act, enter_act
from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.errors import AuditError
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.searching.walk import LogWalk
from comity.certs.agency import AgencyHome
from comity.certs.authority import FederationSpec, init_federation, suspend
from comity.certs.files import write_private, write_public
from comity.certs.keys import SigningKey
from comity.cli.demonstration.policies import install_policy
from comity.cli.logkeys import make_log_key
from comity.links.client import LinkClient
from comity.policy.adopting import adopt as adopt_bundle
from comity.policy.adopting import write_adoption
from comity.policy.bundle import ADOPTION, PolicyBundle, shipped
from tests.adapters.bench import NOON, HandClock
from tests.support import patience
from tests.support.federation import FederationOnDisk

STORE = """
[[store]]
id = "reads"
class = "fixed"
kind = "csv"
path = "reads.csv"
time_format = "%Y-%m-%d %H:%M:%S"
time_zone = "UTC"

[store.columns]
plate = "plate"
state = "state"
captured_at = "time"

[store.defaults]
country = "US"
"""


@pytest.fixture
def adapter_home(provider_federation: FederationOnDisk, tmp_path: Path) -> Path:
    """LAPD's adapter, in a copy of the federation's folders of its own; no broker is running."""
    root = tmp_path / "f"
    shutil.copytree(provider_federation.root, root)
    made = FederationOnDisk(root=root, spec=provider_federation.spec)
    home = made.adapter_home("lapd")
    install_policy(made, "lapd", NOON)
    (home / "reads.csv").write_text("plate,state,time\n8ABC123,CA,2026-03-01 08:00:00\n")
    with (home / "adapter.toml").open("a") as settings:
        settings.write(STORE)
    return home


def adopt(home: Path, *, version: str = "1") -> None:
    """Give the bundle in LAPD's folder a version, and sign it."""
    manifest = home / "policy" / "bundle.toml"
    manifest.write_text(f'agency = "lapd"\nversion = "{version}"\n')
    bundle = PolicyBundle.load(home / "policy")
    write_adoption(home / "policy", bundle, AgencyHome.load(home.parent).identity(), NOON)


def logged(home: Path, kind: str) -> list[LoggedEntry]:
    """Return the entries of a kind in the log, as published."""
    entries = [parse_entry(leaf) for _, leaf in LogWalk(home / "log").entries()]
    return [entry for entry in entries if entry.kind == kind]


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[None]:
    """Run the process until its start is logged and published; stop it."""
    stop = asyncio.Event()
    config = load_config(home / "adapter.toml")
    task = asyncio.create_task(serve(config, ready=lambda line: None, stop=stop, clock=HandClock()))
    await _until(lambda: (home / "acts.sock").exists() and (home / "log" / "checkpoint").exists())
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, patience.SECONDS)


async def refused(home: Path) -> str:
    """Start, and return the one line with which it didn't."""
    with pytest.raises(ConfigInvalid) as caught:
        await serve(
            load_config(home / "adapter.toml"),
            ready=lambda line: None,
            stop=asyncio.Event(),
            clock=HandClock(),
        )
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_process_without_a_broker_stays_up_and_stops_cleanly(adapter_home: Path) -> None:
    """It dials on and on, is never ready, and a stop takes less than five seconds and is logged."""
    stop, said = asyncio.Event(), list[str]()
    running = asyncio.create_task(
        serve(load_config(adapter_home / "adapter.toml"), ready=said.append, stop=stop, clock=HandClock())
    )
    await _until(lambda: (adapter_home / "log" / "checkpoint").exists())
    assert not running.done()
    stop.set()
    await asyncio.wait_for(running, 5)
    assert said == []
    key = LogKey.load(adapter_home / "keys" / "log.key", "lapd.example/adapter")
    log = await SignedLog.open(adapter_home, origin=key.origin, key=key, clock=HandClock())
    assert log.size == 5  # started, policy, two agreements, stopped
    await log.close()


async def test_changed_policy_is_taken_and_a_broken_one_is_not(
    adapter_home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that doesn't validate leaves the old one in force, and it shows (design 6)."""
    monkeypatch.setattr("comity.adapters.server.WATCH_SECONDS", 0.02)
    caplog.set_level("INFO", logger="comity.adapters")
    stop = asyncio.Event()
    running = asyncio.create_task(
        serve(
            load_config(adapter_home / "adapter.toml"), ready=lambda line: None, stop=stop, clock=HandClock()
        )
    )
    await _until(lambda: (adapter_home / "log" / "checkpoint").exists())
    policy = adapter_home / "policy" / "policies" / "10-law.cedar"
    good = policy.read_text()
    policy.write_text("permit (principal, action, resource);")
    await _until(lambda: "10-law.cedar:1: annotation `@id` is required" in caplog.text)
    policy.write_text(good + "\n// a comment is another law, too\n")
    await _until(lambda: "changed since, sign it again" in caplog.text)
    adopt(adapter_home)
    await _until(lambda: "a version names one law" in caplog.text)
    adopt(adapter_home, version="2")
    await _until(lambda: "in force: roster" in caplog.text)
    stop.set()
    await asyncio.wait_for(running, patience.SECONDS)
    key = LogKey.load(adapter_home / "keys" / "log.key", "lapd.example/adapter")
    log = await SignedLog.open(adapter_home, origin=key.origin, key=key, clock=HandClock())
    assert log.size == 6  # one more: the policy that was activated; nothing for the broken one
    await log.close()


async def test_older_law_is_not_activated_unless_an_administrator_approved_it(
    adapter_home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of last year's bundle is signed, too: which one is in force the log alone tells (A1)."""
    monkeypatch.setattr("comity.adapters.server.WATCH_SECONDS", 0.02)
    adopt(adapter_home, version="3")
    async with running(adapter_home):
        adopt(adapter_home, version="2")
        await _until(lambda: "version 2 is older than version 3" in caplog.text)
        old = PolicyBundle.load(adapter_home / "policy").digest.hex()
    assert [each.public["version"] for each in logged(adapter_home, "policy_activated")] == ["3"]
    assert "version 2 is older than version 3" in await refused(adapter_home)
    approve = Act(kind="policy_approved", public={"policy": old}, private={"reason": "3 was wrong"})
    await enter_act(adapter_home, approve, clock=HandClock())
    async with running(adapter_home):
        pass
    assert [each.public["version"] for each in logged(adapter_home, "policy_activated")] == ["3", "2"]
    adopt(adapter_home, version="3")
    async with running(adapter_home):
        pass
    adopt(adapter_home, version="2")
    assert "version 2 is older than version 3" in await refused(adapter_home), "an approval is for once"


async def test_policy_that_the_agency_did_not_sign_is_not_activated(adapter_home: Path) -> None:
    """Who can write the adapter's folder makes no law, unless the agency says that he does."""
    path = adapter_home / "policy" / ADOPTION
    path.write_bytes(adopt_bundle(PolicyBundle.load(path.parent), SigningKey.generate(), NOON))
    assert "`lapd` did not sign it" in await refused(adapter_home)
    path.unlink()
    assert "nobody signed this bundle" in await refused(adapter_home)
    settings = adapter_home / "adapter.toml"
    settings.write_text("require_signed_policy = false\n" + settings.read_text())
    async with running(adapter_home):
        pass
    (activated,) = logged(adapter_home, "policy_activated")
    assert "adoption" not in activated.public


async def test_bundle_of_another_agency_is_refused(adapter_home: Path) -> None:
    """An agency decides by its own law."""
    shutil.rmtree(adapter_home / "policy")
    shutil.copytree(shipped("cbp"), adapter_home / "policy")
    assert "key `policy`: the bundle is of `cbp`" in await refused(adapter_home)


async def test_broken_bundle_is_refused_with_file_and_line(adapter_home: Path) -> None:
    """At the start there is no old one to stay in force."""
    (adapter_home / "policy" / "policies" / "10-law.cedar").write_text(
        "permit (principal, action, resource);"
    )
    said = await refused(adapter_home)
    assert "key `policy`" in said
    assert "10-law.cedar:1" in said


async def test_statement_key_that_the_roster_does_not_name_is_refused(adapter_home: Path) -> None:
    """Nobody would believe its receipts."""
    write_private(adapter_home / "keys" / "statement.key", SigningKey.generate().pem)
    assert "statement.key" in await refused(adapter_home)


async def test_agency_that_is_not_in_the_roster_is_refused(adapter_home: Path) -> None:
    """The key that is wrong is named."""
    config = adapter_home / "adapter.toml"
    config.write_text(config.read_text().replace('agency = "lapd"', 'agency = "nypd"'))
    assert "key `agency`: the roster has no agency `nypd`" in await refused(adapter_home)


async def test_store_that_is_not_there_is_refused(adapter_home: Path) -> None:
    """The store is named."""
    (adapter_home / "reads.csv").unlink()
    assert "reads" in await refused(adapter_home)


async def test_expired_roster_is_refused(adapter_home: Path) -> None:
    """With the command that renews it."""
    with pytest.raises(ConfigInvalid, match="comity federation refresh"):
        await serve(
            load_config(adapter_home / "adapter.toml"),
            ready=lambda line: None,
            stop=asyncio.Event(),
            clock=HandClock(NOON.replace(year=2030)),
        )


def made_around(home: Path) -> Path:
    """Return the root of the federation that an adapter's home lies in."""
    return home.parents[2]


def published_files(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (made_around(home) / "public").iterdir()}


def put_back(files: dict[Path, bytes]) -> None:
    for path, data in files.items():
        write_public(path, data)


async def test_rolled_back_roster_is_refused_running_and_at_the_next_start(
    adapter_home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Yesterday's files bring no suspended member back, also not by way of a restart (design 4)."""
    monkeypatch.setattr("comity.adapters.server.WATCH_SECONDS", 0.02)
    caplog.set_level("INFO", logger="comity.adapters")
    before, stop = published_files(adapter_home), asyncio.Event()
    config = load_config(adapter_home / "adapter.toml")
    running = asyncio.create_task(serve(config, ready=lambda line: None, stop=stop, clock=HandClock()))
    await _until(lambda: (adapter_home / "log" / "checkpoint").exists())
    suspend(made_around(adapter_home), "lahd", NOON)
    await _until(lambda: "in force: roster 3" in caplog.text)
    put_back(before)
    await _until(lambda: "version 2 is older than version 3" in caplog.text)
    assert caplog.text.count("in force: roster") == 1
    stop.set()
    await asyncio.wait_for(running, patience.SECONDS)
    assert "version 2 is older than version 3" in await refused(adapter_home)


async def test_old_cas_of_the_operator_are_left_though_the_log_key_cannot_be_used(
    adapter_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each newer roster is held against the link that is there, before anything else can fail."""
    monkeypatch.setattr("comity.adapters.server.WATCH_SECONDS", 0.02)
    told: list[str] = []

    async def fails(*arguments: object) -> None:
        told.append("log key")
        raise AuditError("the key can't be read")

    async with running(adapter_home):
        monkeypatch.setattr(LinkClient, "leave_distrusted", lambda link: told.append("link"))
        monkeypatch.setattr("comity.adapters.server.follow_roster", fails)
        suspend(made_around(adapter_home), "lahd", NOON)
        await _until(lambda: "log key" in told)
    assert told[:2] == ["link", "log key"]


async def test_folder_of_agreements_that_is_gone_keeps_no_suspension_out(adapter_home: Path) -> None:
    """The roster counts at once; agreements that were known stay, of parties that it still has so (A2)."""
    config = load_config(adapter_home / "adapter.toml")
    published = open_published(config, clock=HandClock())
    old = load_standing(config, published)
    config.agreements.rename(adapter_home / "away")
    suspend(made_around(adapter_home), "lahd", NOON)
    new, fault = reload_standing(config, published, old, None)
    assert new.federation.version == 3 and "can't be read" in str(fault)
    assert old.terms("lahd", NOON) is not None and new.terms("lahd", NOON) is None
    assert {item.digest for item in new.agreements.agreements} == {
        item.digest for item in old.agreements.agreements
    }
    members = {name: view for name, view in new.federation.members.items() if name != "lahd"}
    left = new.agreements.under(replace(new.federation, members=members))
    assert left.agreements and all("lahd" not in item.parties for item in left.agreements)


async def test_other_roster_of_the_same_version_is_refused_at_the_start(adapter_home: Path) -> None:
    """An authority that signed two has shown each of them to somebody else."""
    root, before = made_around(adapter_home), published_files(adapter_home)
    suspend(root, "lahd", NOON)
    config = load_config(adapter_home / "adapter.toml")
    load_standing(config, open_published(config, clock=HandClock()))
    put_back(before)
    suspend(root, "sheriff", NOON)
    assert "version 3 is another one" in await refused(adapter_home)


async def test_replaced_folder_with_its_own_pin_is_refused(
    adapter_home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who replaces the published folder replaces the keys in it too; the adapter's own pin stays."""
    other = FederationSpec(name="Comity demonstration federation", broker="127.0.0.1:7400")
    init_federation(tmp_path / "other", other, NOON, make_log_key=make_log_key)
    for path in (tmp_path / "other" / "public").iterdir():
        write_public(made_around(adapter_home) / "public" / path.name, path.read_bytes())
    assert "isn't signed by the pinned authority" in await refused(adapter_home)
    assert "names other keys than the pin" in caplog.text


async def _until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the test's own limit ends it if it never does."""
    async with asyncio.timeout(patience.SECONDS):
        while not holds():
            await asyncio.sleep(0.01)
