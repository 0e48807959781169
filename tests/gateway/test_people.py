"""An agency's own users: whose access it ended, whom it readmitted, whom a provider suspended (Q8)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from comity.audit.entry import Entry
from comity.certs.claims import Claims
from comity.certs.envelope import digest, open_envelope, seal, to_json
from comity.certs.errors import UserActInvalid
from comity.certs.files import write_private
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import MemberView
from comity.certs.user_acts import NEW, file_name, sign_user_act, verify_user_act
from comity.gateway.errors import AuditUnavailable, SubjectRefused
from comity.gateway.people import People
from comity.v1 import session_pb2, users_pb2
from comity.v1.envelope_pb2 import Envelope
from tests.gateway.conftest import NOW, Provider, make_member
from tests.gateway.test_gateway import CLAIMS, SHORT, World

MINUTE = timedelta(minutes=1)


@dataclass
class Line:
    """A session with a provider: what it was sent."""

    peer: str = "lapd"
    is_open: bool = True
    sent: list[session_pb2.SessionMessage] = field(default_factory=list)

    def send(self, *messages: session_pb2.SessionMessage) -> None:
        self.sent.extend(messages)

    def acts(self) -> list[Envelope]:
        return [each for message in self.sent for each in message.user_acts.acts]

    def noted(self) -> list[bytes]:
        return [each for message in self.sent for each in message.noted.digests]


class House:
    """The sheriff's own users, their folder, and what is logged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key, self.lapd = SigningKey.generate(), SigningKey.generate()
        self.members: dict[str, MemberView] = {
            "sheriff": make_member("sheriff", self.key, role="gateway"),
            "lapd": make_member("lapd", self.lapd),
            "lahd": make_member("lahd", SigningKey.generate()),
        }
        self.now = NOW
        self.entries: list[Entry] = []
        self.is_writable = True
        self.dismissed: list[str] = []
        self.lines: dict[str, Line] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.people = self.start()

    def start(self) -> People:
        """As after a start of the process: what it knows is on disk."""
        self.people = People(
            agency="sheriff",
            member=self.members.get,
            key=lambda: self.key,
            sessions=self.lines,  # type: ignore[arg-type]
            append=self.append,
            beside=self.beside,
            let_go=lambda user, why: self.dismissed.append(user),
            clock=lambda: self.now,
        )
        self.people.load(self.folder)
        return self.people

    async def append(self, *entries: Entry) -> None:
        if not self.is_writable:
            raise AuditUnavailable("the disk is full")
        self.entries.extend(entries)

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def act(
        self, *, terminates: bool = True, key: SigningKey | None = None, user: str = CLAIMS.user
    ) -> Envelope:
        """Sign an act and put it where the gateway looks."""
        self.now += MINUTE
        act = sign_user_act(
            key or self.key, agency="sheriff", user=user, terminates=terminates, given_at=self.now
        )
        write_private(self.folder / NEW / file_name(digest(act.payload)), to_json(act))
        return act

    async def take(self) -> None:
        await self.people.take(self.folder)

    def may_ask(self, claims: Claims = CLAIMS) -> bool:
        try:
            self.people.require_access(claims)
        except SubjectRefused as error:
            assert "(Q8)" in str(error) and claims.user not in str(error)
            return False
        return True

    def notice(self, **changes: object) -> users_pb2.SuspensionNotice:
        facts: dict[str, Any] = {
            "nonce": secrets.token_bytes(16),
            "provider": "lapd",
            "agency": "sheriff",
            "user": CLAIMS.user,
            "suspended_at": from_instant(self.now),
            "returns": users_pb2.ACCESS_RETURNS_RECERTIFICATION,
            "refusals": 5,
            "window_seconds": 86_400,
            "exchange_ids": [secrets.token_bytes(16)],
        }
        return users_pb2.SuspensionNotice(**(facts | changes))

    async def told(self, envelope: Envelope, line: Line) -> None:
        self.people.suspensions(line, [envelope])  # type: ignore[arg-type]
        while self.tasks:
            await self.tasks.pop()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "user-acts")


async def test_dismissed_user_is_refused_here_and_every_provider_is_told(house: House) -> None:
    """Logged without the name, in force, let go of, and sent over every open session at once (Q8)."""
    house.lines |= {"lapd": Line(), "lahd": Line("lahd")}
    act = house.act()
    assert house.may_ask()
    await house.take()
    assert not house.may_ask() and house.dismissed == [CLAIMS.user]
    assert house.may_ask(replace(CLAIMS, user="somebody.else"))
    for line in house.lines.values():
        assert [digest(each.payload) for each in line.acts()] == [digest(act.payload)]
    (entry,) = house.entries
    assert entry.kind == "user_terminated" and entry.private == {"user": CLAIMS.user}
    assert CLAIMS.user not in str(dict(entry.public))


async def test_termination_survives_a_restart_and_is_told_in_the_next_session(house: House) -> None:
    """A provider that was away learns it before the first question of its next session (Q8)."""
    act = house.act()
    await house.take()
    house.start()
    assert not house.may_ask()
    line = Line()
    house.people.opened(line)  # type: ignore[arg-type]
    assert [digest(each.payload) for each in line.acts()] == [digest(act.payload)]
    await house.take()
    assert len(house.entries) == 1, "what was taken is not new again"


async def test_log_that_can_not_take_it_keeps_nobody_in(house: House) -> None:
    """A termination is in force though it can't be logged yet, and is taken again until it is (Q8)."""
    house.act()
    house.is_writable = False
    with pytest.raises(AuditUnavailable):
        await house.take()
    assert not house.may_ask()
    house.is_writable = True
    await house.take()
    assert [entry.kind for entry in house.entries] == ["user_terminated"]


async def test_act_whose_file_can_not_be_moved_is_in_force_all_the_same(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """The gateway goes on and starts again; it is logged once, and moved when that can be (Q8)."""
    house.lines["lapd"] = Line()
    early = house.act()
    await house.take()
    act = house.act(terminates=False)
    name = file_name(digest(act.payload))
    in_the_way = house.folder / name
    (in_the_way / "full").mkdir(parents=True)
    for _ in range(2):
        await house.take()
    assert house.may_ask() and len(house.lines["lapd"].acts()) == 2
    assert [entry.kind for entry in house.entries] == ["user_terminated", "user_readmitted"]
    assert (house.folder / NEW / name).exists() and "can't be moved" in caplog.text
    assert CLAIMS.user not in caplog.text
    (in_the_way / "full").rmdir()
    in_the_way.rmdir()
    await house.take()
    assert in_the_way.is_file() and not (house.folder / NEW / name).exists()
    assert not (house.folder / file_name(digest(early.payload))).exists()
    assert len(house.entries) == 2


async def test_gateway_starts_though_a_termination_can_not_be_moved(house: House) -> None:
    """What is new is taken at each start, and never left out for a file that can't be moved (Q8)."""
    act = house.act()
    (house.folder / file_name(digest(act.payload)) / "full").mkdir(parents=True)
    await house.take()
    house.start()
    await house.take()
    assert not house.may_ask() and house.dismissed == [CLAIMS.user] * 2


async def test_only_a_newer_act_gives_access_back(house: House) -> None:
    """A readmission from before the termination does nothing; a later one does, after a restart too (Q8)."""
    early = house.act(terminates=False)
    path = house.folder / NEW / file_name(digest(early.payload))
    text = path.read_bytes()
    path.unlink()
    house.act()
    await house.take()
    write_private(path, text)
    await house.take()
    assert not house.may_ask()
    path.unlink()
    house.act(terminates=False)
    await house.take()
    assert house.may_ask()
    house.start()
    assert house.may_ask()


async def test_readmission_that_nobody_signed_does_nothing(house: House) -> None:
    """A file in the folder is no act: another key's readmission leaves the user out (Q8)."""
    house.act()
    await house.take()
    house.act(terminates=False, key=SigningKey.generate())
    house.act(terminates=False, key=house.lapd)
    await house.take()
    house.start()
    assert not house.may_ask()
    assert [entry.kind for entry in house.entries] == ["user_terminated"]


async def test_termination_outlives_the_key_that_signed_it(house: House) -> None:
    """A key set that has forgotten the key gives nobody access back; it is sent under today's key (Q8)."""
    house.act()
    await house.take()
    house.key = SigningKey.generate()
    house.members["sheriff"] = make_member("sheriff", house.key, role="gateway")
    house.start()
    assert not house.may_ask()
    line = Line()
    house.people.opened(line)  # type: ignore[arg-type]
    (sent,) = line.acts()
    assert open_envelope(sent, users_pb2.UserAct, [house.key.public]).message.user == CLAIMS.user


async def test_file_that_is_no_act_is_told_and_stops_no_other(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Rubbish beside an act: the act is taken, the rubbish named."""
    write_private(house.folder / NEW / "rubbish.json", b"{")
    house.act()
    await house.take()
    assert not house.may_ask() and "rubbish.json" in caplog.text
    assert CLAIMS.user not in caplog.text


def test_act_that_contradicts_itself_is_not_signed(house: House) -> None:
    """Nobody is certified again by their dismissal, nor before they are readmitted (Q8)."""
    for facts in (
        {"terminates": True, "recertified_at": NOW},
        {"terminates": False, "recertified_at": NOW + MINUTE},
    ):
        with pytest.raises(UserActInvalid, match="recertification"):
            sign_user_act(house.key, agency="sheriff", user="x", given_at=NOW, **facts)  # type: ignore[arg-type]


async def test_providers_notice_is_logged_before_it_is_noted(house: House) -> None:
    """Kept with the provider's signature, once; noted again if our word was lost (Q8)."""
    envelope, line = seal(house.notice(), house.lapd), Line()
    house.is_writable = False
    await house.told(envelope, line)
    assert line.noted() == []
    house.is_writable = True
    await house.told(envelope, line)
    await house.told(envelope, line)
    assert line.noted() == [digest(envelope.payload)] * 2
    (entry,) = house.entries
    assert entry.kind == "user_suspended" and entry.public["peer"] == "lapd"
    assert CLAIMS.user not in str(dict(entry.public))
    assert Envelope.FromString(entry.attachments["notice"]) == envelope


async def test_notice_that_is_not_the_providers(house: House) -> None:
    """Another's key, provider's name or agency's user, or rubbish: neither logged nor noted (Q8)."""
    line = Line()
    wrong = (
        seal(house.notice(), SigningKey.generate()),
        seal(house.notice(), house.key),
        seal(house.notice(provider="lahd"), house.lapd),
        seal(house.notice(agency="lahd"), house.lapd),
        seal(house.notice(returns=0), house.lapd),
        seal(house.notice(user="two\nlines"), house.lapd),
        seal(house.notice(nonce=b""), house.lapd),
        seal(house.notice(exchange_ids=[b"short"]), house.lapd),
        house.act(),
    )
    for envelope in wrong:
        await house.told(envelope, line)
    assert house.entries == [] and line.noted() == []


async def test_provider_that_noted_an_act_is_logged(house: House) -> None:
    """Where it is in force stands in the log; what was never said is not (Q8)."""
    act = house.act()
    await house.take()
    house.people.noted(Line(), [digest(act.payload), bytes(32)])  # type: ignore[arg-type]
    house.people.noted(Line("lahd"), [bytes(32)])  # type: ignore[arg-type]
    while house.tasks:
        await house.tasks.pop()
    (noted,) = [entry for entry in house.entries if entry.kind == "user_act_noted"]
    assert (noted.public["peer"], noted.public["acts"]) == ("lapd", [digest(act.payload).hex()])


async def test_what_is_in_flight_of_a_dismissed_user_is_let_go() -> None:
    """The caller is told why, who works on it is told to stop, and a colleague's goes on (Q8)."""
    world = World(Provider("lapd"))
    world.silent = {"lapd"}
    long = {"timeout": timedelta(seconds=20)}
    ended = asyncio.create_task(world.ask(**long))
    goes_on = asyncio.create_task(world.ask(claims=replace(CLAIMS, user="somebody.else"), **SHORT))
    while world.happened.count("session ask") < 2:
        await asyncio.sleep(0.01)
    world.gateway._dismiss(CLAIMS.user, SubjectRefused("your agency ended your access"))
    with pytest.raises(SubjectRefused):
        await asyncio.wait_for(ended, timeout=15)
    assert "link cancel" in world.happened and ("lapd", False) in world.stops
    assert not goes_on.done()
    with pytest.raises(Exception, match="nobody answered"):
        await goes_on


@pytest.mark.parametrize("how", ["dismissed", "revoked"])
async def test_user_whose_access_ends_while_the_question_is_logged_asks_nobody(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The termination comes behind the check: nothing leaves, and the log says that it was cancelled (Q8)."""
    world = World(Provider("lapd"))
    key = SigningKey.generate()
    act = verify_user_act(
        sign_user_act(key, agency="sheriff", user=CLAIMS.user, terminates=True, given_at=NOW),
        member=make_member("sheriff", key, role="gateway"),
        now=NOW,
        own=True,
    )
    append = world.gateway._append

    async def meanwhile(*entries: Entry) -> object:
        promises = await append(*entries)
        if entries[-1].kind == "asked" and how == "dismissed":
            world.gateway.people._hold(act)
            world.gateway._dismiss(CLAIMS.user, SubjectRefused("your agency ended your access"))
        elif entries[-1].kind == "asked":
            monkeypatch.setattr(world.gateway, "_is_revoked", lambda user: user == CLAIMS.user)
        return promises

    monkeypatch.setattr(world.gateway, "_append", meanwhile)
    with pytest.raises(SubjectRefused):
        await world.ask(**SHORT)
    assert not [what for what in world.happened if what.startswith(("link", "session"))]
    asked, concluded = (one for one in world.entries if one.exchange is not None)
    assert (asked.kind, concluded.kind) == ("asked", "concluded") and concluded.public["cancelled"] is True
    assert asked.exchange == concluded.exchange
    assert not world.gateway.in_flight
