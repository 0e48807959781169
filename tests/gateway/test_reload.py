"""A gateway follows what is published: members come and go, agreements begin and end, while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google.rpc import code_pb2

from comity.audit.entry import Entry
from comity.audit.errors import LogUnwritable
from comity.certs.agency import AgencyHome, AgencySpec, init_agency
from comity.certs.authority import FederationSpec, admit, init_federation, refresh, remove, suspend
from comity.certs.credentials import EndCredentials
from comity.certs.drafting import AgreementTerms, GrantTerms, draft, sign
from comity.certs.envelope import to_json
from comity.certs.errors import CertsError
from comity.certs.files import write_public
from comity.certs.published import PublishedRoster
from comity.certs.watching import FileWatch, follow
from comity.cli.ceilings import make_ceiling
from comity.cli.logkeys import make_log_key
from comity.gateway import end, server
from comity.gateway.config import load_config
from comity.gateway.errors import AuditUnavailable, ConfigInvalid, GatewayError, NotAMember, RosterOutOfDate
from comity.gateway.gateway import Gateway
from comity.gateway.limits import GatewayLimits
from comity.gateway.standing import load_standing, watched
from comity.links.client import LinkClient
from comity.links.errors import SessionFailed
from comity.links.sessions.hub import GatewaySessions, SessionIdentity
from comity.v1 import link_pb2, query_service_pb2
from tests.gateway.conftest import make_question
from tests.gateway.test_gateway import CLAIMS
from tests.support import patience
from tests.support.federation import FederationOnDisk, build_federation

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
Reason = query_service_pb2.NotAskedReason


class Broker:
    """A link that is up and writes down what leaves on it."""

    is_up = True

    def __init__(self) -> None:
        self.sent: list[link_pb2.LinkFrame] = []

    def send(self, *frames: link_pb2.LinkFrame) -> None:
        self.sent += frames


class Diary:
    """A log in memory; full when told so."""

    folder = Path("no-log")
    refused: Mapping[str, int] = {}

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_full = False

    async def append(self, *entries: Entry) -> list[object]:
        if self.is_full:
            raise LogUnwritable("the disk is full")
        self.entries += entries
        return []

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries]


class Running:
    """The sheriff's gateway on real files, real trust and real sessions; the broker is the test's."""

    def __init__(self, made: FederationOnDisk) -> None:
        self.made = made
        self.now = NOON
        self.config = load_config(made.gateway_home("sheriff") / "gateway.toml")
        self.link, self.log = Broker(), Diary()
        published = PublishedRoster(
            public=self.config.public,
            authority=self.config.authority,
            home=self.config.home,
            clock=self.clock,
        )
        self.files: FileWatch = watched(self.config)
        self.load = partial(load_standing, self.config, published)
        standing = self.load()
        self.gateway = Gateway(
            agency="sheriff",
            federation=standing.federation,
            agreements=standing.agreements,
            credentials=EndCredentials.load(self.config.home),
            log=self.log,  # type: ignore[arg-type]
            clock=self.clock,
            limits=GatewayLimits(max_in_flight=8),
        )
        keys = self.config.home / "keys"
        self.gateway.link = self.link  # type: ignore[assignment]
        self.sessions = self.gateway.sessions = GatewaySessions(
            link=self.link,
            federation=standing.federation,
            agreements=standing.agreements,
            identity=SessionIdentity(agency="sheriff", chain=keys / "leaf.pem", key=keys / "leaf.key"),
            clock=self.clock,
            on_message=self.gateway.on_message,
            on_closed=self.gateway.on_session_closed,
            on_opened=self.gateway.on_session_opened,
            on_refused=self.gateway.on_session_refused,
        )
        self.sessions.linked(link_pb2.Welcome(session_window=1 << 20, max_frame_bytes=1 << 16))

    def clock(self) -> datetime:
        return self.now

    async def reload(self) -> None:
        await self.gateway.reload(partial(self.load, self.gateway.standing))

    async def follow(self) -> None:
        faults = (CertsError, AuditUnavailable)
        log = logging.getLogger("comity.gateway")
        await follow(self.files, self.reload, seconds=0.01, faults=faults, log=log)

    async def plan(self) -> query_service_pb2.Plan:
        """Ask everyone, and return whom; the caller then goes away."""
        question = make_question()
        question = replace(question, timeout=timedelta(seconds=5))
        asking = self.gateway.search(question, CLAIMS, "jwt")
        first = await anext(asking)
        await asyncio.sleep(0)  # sessions are opened beside
        await asking.aclose()  # type: ignore[attr-defined]
        await self.gateway.settle_tasks()
        return first.plan

    def opened(self) -> list[str]:
        """Return the agencies to whom a session was opened since the last call."""
        peers = [frame.session_open.peer for frame in self.link.sent if frame.HasField("session_open")]
        self.link.sent.clear()
        return sorted(peers)


def not_asked(plan: query_service_pb2.Plan) -> dict[str, str]:
    return {
        item.agency: Reason.Name(item.reason).removeprefix("NOT_ASKED_REASON_") for item in plan.not_asked
    }


@pytest.fixture(scope="session")
def built_for_reload(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    return build_federation(tmp_path_factory.mktemp("reload") / "f", NOON, ("sheriff", "lapd", "cbp"))


@pytest.fixture
def made(built_for_reload: FederationOnDisk, tmp_path: Path) -> FederationOnDisk:
    shutil.copytree(built_for_reload.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=built_for_reload.spec)


@pytest.fixture
async def running(made: FederationOnDisk) -> AsyncIterator[Running]:
    end = Running(made)
    watching = asyncio.create_task(end.follow())
    yield end
    assert not watching.done()
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    end.sessions.close()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(patience.SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def version(end: Running) -> int:
    return end.gateway.federation.version


def admit_harbor(made: FederationOnDisk) -> None:
    """A fourth agency applies, is admitted, and signs an agreement of ten days with the sheriff."""
    application = init_agency(
        AgencySpec(
            agency="harbor",
            home=made.home("harbor"),
            kind="local",
            domain="harbor.example",
            name="Harbor Patrol",
            contact="desk@harbor.example",
            provides=True,
            public=made.public,
            broker="127.0.0.1:7400",
        ),
        NOON,
        make_log_key=make_log_key,
    )
    admit(made.root, [application], NOON)


def agree_with_harbor(made: FederationOnDisk) -> None:
    federation = made.federation(NOON)
    grant = GrantTerms(
        provider="harbor",
        requester="sheriff",
        elements=frozenset({"LOCATION"}),
        purposes=frozenset({"CRIMINAL_INVESTIGATION"}),
        ceiling=make_ceiling("harbor", "reads", "LAW ENFORCEMENT SENSITIVE // HARBOR"),
    )
    terms = AgreementTerms(
        agreement_id="harbor-sheriff",
        title="Ten days",
        effective_at=NOON - DAY,
        expires_at=NOON + 10 * DAY,
        grants=(grant,),
    )
    harbor, sheriff = (AgencyHome.load(made.home(name)).identity() for name in ("harbor", "sheriff"))
    envelope = sign(draft(terms, federation, harbor), federation, sheriff)
    write_public(made.agreements("sheriff") / "harbor.json", to_json(envelope))


async def test_new_member_is_asked_once_there_is_an_agreement(running: Running) -> None:
    """Admission alone asks nobody; the agreement does, without a restart, and stands in the log."""
    assert sorted((await running.plan()).asked) == ["cbp", "lapd"]
    admit_harbor(running.made)
    await until(lambda: version(running) == 3)
    assert not_asked(await running.plan()) == {"harbor": "NO_AGREEMENT"}
    assert "harbor" not in running.opened()
    agree_with_harbor(running.made)
    await until(lambda: "agreement_activated" in running.log.kinds())
    assert sorted((await running.plan()).asked) == ["cbp", "harbor", "lapd"]
    assert "harbor" in running.opened()


async def test_agreement_that_passed_its_end_asks_nobody(running: Running) -> None:
    """No file changes when an agreement ends; the time does it."""
    admit_harbor(running.made)
    agree_with_harbor(running.made)
    await until(lambda: version(running) == 3 and "agreement_activated" in running.log.kinds())
    running.now = NOON + 10 * DAY
    plan = await running.plan()
    assert sorted(plan.asked) == ["cbp", "lapd"]
    assert not_asked(plan) == {"harbor": "NO_AGREEMENT"}
    assert "harbor" not in running.opened()


async def test_agreement_that_was_taken_away_asks_nobody(running: Running) -> None:
    """Who takes the file away has ended it for this end."""
    for path in running.made.agreements("sheriff").glob("*lapd*.json"):
        path.unlink()
    await until(lambda: len(running.gateway.standing.agreements.agreements) == 1)
    assert not_asked(await running.plan()) == {"lapd": "NO_AGREEMENT"}
    assert running.opened() == ["cbp"]


async def test_suspended_member_is_not_asked_any_more(running: Running) -> None:
    """Neither in the next question nor in a session that was about to open."""
    await running.plan()
    assert running.opened() == ["cbp", "lapd"]
    suspend(running.made.root, "lapd", NOON)
    await until(lambda: version(running) == 3)
    plan = await running.plan()
    assert list(plan.asked) == ["cbp"]
    assert not_asked(plan) == {"lapd": "SUSPENDED"}
    with pytest.raises(SessionFailed) as refused:
        await running.sessions.session("lapd", timeout=0.01)
    assert refused.value.reason == link_pb2.CLOSE_REASON_NO_AGREEMENT


async def test_folder_of_agreements_that_is_gone_keeps_no_suspension_out(running: Running) -> None:
    """The newer roster counts; the agreements that were known stay under it (A2)."""
    folder = running.made.agreements("sheriff")
    folder.rename(folder.with_name("away"))
    suspend(running.made.root, "lapd", NOON)
    await until(lambda: version(running) == 3)
    plan = await running.plan()
    assert list(plan.asked) == ["cbp"] and not_asked(plan) == {"lapd": "SUSPENDED"}


async def test_removed_member_is_not_asked_any_more(running: Running) -> None:
    """A member that left is nobody: its session ends, its agreement does nothing, the others are asked."""
    await running.plan()
    remove(running.made.root, "lapd", NOON)
    await until(lambda: version(running) == 3)
    plan = await running.plan()
    assert list(plan.asked) == ["cbp"]
    assert "lapd" not in not_asked(plan)
    with pytest.raises(SessionFailed) as refused:
        await running.sessions.session("lapd", timeout=0.01)
    assert refused.value.reason == link_pb2.CLOSE_REASON_NO_AGREEMENT


async def test_source_that_is_away_is_tolerated_until_the_roster_ends(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """A published folder that is gone or empty changes nothing; what it holds when it is back counts."""
    away = running.made.public.with_name("away")
    running.made.public.rename(away)
    await until(lambda: "the old stays in force" in caplog.text)
    running.now = NOON + 29 * DAY
    assert sorted((await running.plan()).asked) == ["cbp", "lapd"]
    running.now = NOON + 31 * DAY
    await refused(running, RosterOutOfDate)
    away.rename(running.made.public)
    refresh(running.made.root, running.now)
    await until(lambda: running.gateway.federation.trusted_until > running.now)
    assert sorted((await running.plan()).asked) == ["cbp", "lapd"]


async def refused(running: Running, error: type[GatewayError]) -> GatewayError:
    """Ask, and return why nothing left: no frame, and a log that says so."""
    running.link.sent.clear()
    running.log.entries.clear()
    with pytest.raises(error) as caught:
        await running.plan()
    assert running.link.sent == []
    assert running.log.kinds() == ["logged_on", "turned_down"]
    assert caught.value.code == code_pb2.FAILED_PRECONDITION
    assert "\n" not in str(caught.value)
    return caught.value


async def test_nothing_leaves_under_an_expired_roster_until_it_is_refreshed(running: Running) -> None:
    """The user learns why and what helps; a refreshed timestamp is taken without a restart (design 4)."""
    running.now = NOON + 31 * DAY
    told = await refused(running, RosterOutOfDate)
    assert "the roster has expired" in str(told) and "comity federation refresh" in str(told)
    with pytest.raises(SessionFailed):
        await running.sessions.session("lapd", timeout=0.01)
    refresh(running.made.root, running.now)
    await until(lambda: running.gateway.federation.trusted_until > running.now)
    assert sorted((await running.plan()).asked) == ["cbp", "lapd"]


async def test_own_suspension_is_told_and_nothing_leaves(running: Running) -> None:
    """An agency that is suspended asks nobody, and its users are told why."""
    suspend(running.made.root, "sheriff", NOON)
    await until(lambda: version(running) == 3)
    assert "does not let this agency ask" in str(await refused(running, NotAMember))


async def test_agency_that_left_the_roster_is_told(running: Running) -> None:
    """No fault of our own, and nothing leaves."""
    members = {
        name: member for name, member in running.gateway.federation.members.items() if name != "sheriff"
    }
    standing = running.gateway.standing
    running.gateway.refresh(replace(standing, federation=replace(standing.federation, members=members)))
    await refused(running, NotAMember)
    with pytest.raises(NotAMember):
        running.gateway.standing.own("sheriff")


def keep(made: FederationOnDisk) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in made.public.iterdir()}


def put_back(made: FederationOnDisk, files: dict[str, bytes], names: Iterable[str] | None = None) -> None:
    for name in names or files:
        write_public(made.public / name, files[name])


async def test_rolled_back_roster_does_not_bring_a_suspended_member_back(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Yesterday's files are refused with one line; what is in force stays (design 4)."""
    before = keep(running.made)
    suspend(running.made.root, "lapd", NOON)
    await until(lambda: version(running) == 3)
    put_back(running.made, before)
    await until(lambda: "older than version 3" in caplog.text)
    assert not_asked(await running.plan()) == {"lapd": "SUSPENDED"}


async def test_replaced_folder_is_not_believed(
    running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another authority's folder, keys and all, changes nothing and is told."""
    other = FederationSpec(name=running.made.spec.name, broker="127.0.0.1:7400")
    init_federation(tmp_path / "other", other, NOON, make_log_key=make_log_key)
    for path in (tmp_path / "other" / "public").iterdir():
        write_public(running.made.public / path.name, path.read_bytes())
    await until(lambda: "isn't signed by the pinned authority" in caplog.text)
    assert "names other keys than the pin" in caplog.text
    assert sorted((await running.plan()).asked) == ["cbp", "lapd"]


async def test_moment_between_roster_and_timestamp_is_no_alarm(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """The roster comes first, its timestamp a moment later: both count together."""
    before = keep(running.made)
    suspend(running.made.root, "lapd", NOON)
    after = keep(running.made)
    put_back(running.made, before, ["timestamp.json"])
    await asyncio.sleep(0.1)
    put_back(running.made, after, ["timestamp.json"])
    await until(lambda: version(running) == 3)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_agreement_that_cannot_be_logged_is_taken_once_it_can(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """What is in force stands in the log first; nothing has to be touched for the second try."""
    admit_harbor(running.made)
    await until(lambda: version(running) == 3)
    running.log.is_full = True
    agree_with_harbor(running.made)
    await until(lambda: "the old stays in force" in caplog.text)
    running.log.is_full = False
    await until(lambda: "agreement_activated" in running.log.kinds())
    assert "harbor" in (await running.plan()).asked


async def test_broken_agreement_does_not_take_the_others_along(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """One file that doesn't verify does nothing, and is told."""
    (running.made.agreements("sheriff") / "broken.json").write_text("{}")
    await until(lambda: "`broken.json` does nothing" in caplog.text)
    assert sorted((await running.plan()).asked) == ["cbp", "lapd"]


# --- the process -------------------------------------------------------------------------------------------


async def started(made: FederationOnDisk, now: datetime = NOON) -> tuple[asyncio.Task[None], asyncio.Event]:
    """Start the whole process, without a broker, on a free port."""
    config = replace(load_config(made.gateway_home("sheriff") / "gateway.toml"), listen="127.0.0.1:0")
    ready, stop = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(
        server.serve(config, ready=lambda line: ready.set(), stop=stop, clock=lambda: now)
    )
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=patience.SECONDS)
    waiting.cancel()
    if task.done():
        task.result()
    return task, stop


async def ended(task: asyncio.Task[None], stop: asyncio.Event) -> None:
    stop.set()
    await asyncio.wait_for(task, patience.SECONDS)


async def test_process_follows_and_remembers(
    made: FederationOnDisk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a newer roster while it runs, and starts under no older one afterwards."""
    monkeypatch.setattr(end, "WATCH_SECONDS", 0.02)
    caplog.set_level("INFO", logger="comity.gateway")
    before = keep(made)
    task, stop = await started(made)
    suspend(made.root, "lapd", NOON)
    await until(lambda: "in force: roster 3" in caplog.text)
    await ended(task, stop)
    put_back(made, before)
    with pytest.raises(ConfigInvalid, match="version 2 is older than version 3"):
        await started(made)


async def test_process_outlives_its_own_removal_and_goes_on_once_admitted_again(
    made: FederationOnDisk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agency that left is refused call by call; its process needs no restart when it is back."""
    monkeypatch.setattr(end, "WATCH_SECONDS", 0.02)
    caplog.set_level("INFO", logger="comity.gateway")
    task, stop = await started(made)
    remove(made.root, "sheriff", NOON)
    await until(lambda: "in force: roster 3" in caplog.text or task.done())
    application = (made.home("sheriff") / "application.json").read_bytes()
    admit(made.root, [application], NOON)
    await until(lambda: "in force: roster 4" in caplog.text or task.done())
    assert not task.done()
    await ended(task, stop)


async def test_old_cas_are_left_though_the_log_key_cannot_be_used(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key file that fails the gateway keeps no old CA in force, neither the callers' nor the operator's."""
    monkeypatch.setattr(end, "WATCH_SECONDS", 0.02)
    told: list[str] = []
    monkeypatch.setattr(server._FrontTls, "renew", lambda tls: told.append("callers"))
    monkeypatch.setattr(LinkClient, "leave_distrusted", lambda link: told.append("link"))
    task, stop = await started(made)

    async def fails(*arguments: object) -> None:
        told.append("log key")
        raise ConfigInvalid("the key can't be read")

    monkeypatch.setattr(end, "_follow_log_key", fails)
    suspend(made.root, "lapd", NOON)
    await until(lambda: "log key" in told)
    await ended(task, stop)
    assert told[:3] == ["link", "callers", "log key"]


def test_tls_configuration_that_comes_while_one_is_fetched_is_not_lost() -> None:
    """gRPC asks on a thread of its own: what the event loop writes between a read and a write counts."""

    class Raced:
        coming: ClassVar[list[str]] = ["first", "second"]
        now: str | None = None
        _told: str | None = None

        @property
        def _newest(self) -> str | None:
            read, self.now = self.now, self.coming.pop(0) if self.coming else self.now
            return read

        @_newest.setter
        def _newest(self, value: str | None) -> None:
            self.now = value

    raced: Any = Raced()
    assert [server._FrontTls._fetch(raced) for _ in range(4)] == [None, "first", "second", None]


async def test_process_does_not_start_under_another_roster_of_the_same_version(
    made: FederationOnDisk,
) -> None:
    """Two rosters of one version: one of them was not meant for us."""
    before = keep(made)
    suspend(made.root, "lapd", NOON)
    await ended(*await started(made))
    put_back(made, before)
    suspend(made.root, "cbp", NOON)
    with pytest.raises(ConfigInvalid, match="version 3 is another one"):
        await started(made)


async def test_process_does_not_start_under_an_expired_roster(made: FederationOnDisk) -> None:
    """With the command that renews it."""
    with pytest.raises(ConfigInvalid, match="comity federation refresh"):
        await started(made, NOON + 31 * DAY)


async def test_process_does_not_start_with_the_published_pin(made: FederationOnDisk) -> None:
    """A pin that whoever replaces the folder replaces too is none."""
    path = made.gateway_home("sheriff") / "gateway.toml"
    path.write_text(path.read_text().replace('"../authority.json"', '"../../../public/authority.json"'))
    with pytest.raises(ConfigInvalid, match="pins nothing"):
        load_config(path)


def test_gateway_that_fails_beside_is_not_left_running(made: FederationOnDisk) -> None:
    """A watch that died of a fault of ours would trust the old roster for good: the process ends."""

    async def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(end, "follow", broken)
            task, _ = await started(made)
            await asyncio.wait_for(task, patience.SECONDS)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
