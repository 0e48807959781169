"""An administrator's act is entered in an end's log whether its process runs or not (L2, L3, L4, L5)."""

import asyncio
import json
import os
import pwd
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from comity.audit import acts
from comity.audit.acts import SOCKET, Act, can_act, enter, enter_act, serving_acts
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.errors import ActRefused, EntryInvalid, LogUnwritable
from comity.audit.log import Promise, SignedLog
from comity.audit.merkle import leaf_hash
from comity.audit.note import LogKey
from comity.audit.openings import read_openings_of
from comity.audit.tiles import TileFolder
from tests.support.logs import NOON, asked, noon

ORIGIN = "lapd.example/adapter"
EXPORT = Act(
    kind="exported",
    public={"agency": "lapd", "entries": 3},
    private={"filter": "plate 8ABC123"},
    attachments={"list": b"1,2,3"},
)
ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """An end's folder with its log key and a log of one entry, its process down."""
    key = LogKey.generate(ORIGIN)
    key.save(tmp_path / "keys" / "log.key")
    log = await SignedLog.open(tmp_path, origin=ORIGIN, key=key, clock=noon)
    await log.append(asked(1))
    await log.close()
    return tmp_path


@asynccontextmanager
async def process(home: Path) -> AsyncIterator[SignedLog]:
    """The end's process, as far as its log goes."""
    key = LogKey.load(home / "keys" / "log.key", ORIGIN)
    log = await SignedLog.open(home, origin=ORIGIN, key=key, clock=noon)
    try:
        async with serving_acts(home, log, clock=noon):
            yield log
    finally:
        await log.close()


def entries(home: Path) -> list[tuple[bytes, LoggedEntry]]:
    size = peek_checkpoint((home / "log/checkpoint").read_bytes()).size
    return [(leaf, parse_entry(leaf)) for _, leaf in TileFolder(home / "log").all_entries(size)]


def opened(home: Path, index: int) -> Mapping[str, str]:
    _, entry = entries(home)[index]
    return {name: entry.open(opening) for name, opening in read_openings_of(home / "state.db", index).items()}


async def line_from(home: Path, line: bytes) -> dict[str, object]:
    """Say one line to the process and return its answer."""
    reader, writer = await asyncio.open_unix_connection(str(home / SOCKET))
    writer.write(line)
    await writer.drain()
    answer: dict[str, object] = json.loads(await reader.readline())
    writer.close()
    return answer


def test_act_is_written_directly_while_the_process_is_down(home: Path) -> None:
    """The command takes the log itself; the entry is published when it returns, and says who acted."""
    promise = enter(home, EXPORT, clock=noon)
    leaf, entry = entries(home)[-1]
    assert promise == Promise(origin=ORIGIN, index=1, leaf_hash=leaf_hash(leaf))
    assert (entry.kind, entry.at, entry.public) == ("exported", NOON, EXPORT.public)
    assert opened(home, 1) == {"filter": "plate 8ABC123", "account": ME}
    assert b"8ABC123" not in leaf


async def test_act_goes_through_the_process_that_has_the_log(home: Path) -> None:
    """While the process runs it is the one that writes: durable when acknowledged, with the same fields."""
    async with process(home) as log:
        promise = await enter_act(home, EXPORT)
        assert promise.index == 1 and log.size == 2
    _, entry = entries(home)[1]
    assert (entry.kind, entry.public) == ("exported", EXPORT.public)
    assert opened(home, 1) == {"filter": "plate 8ABC123", "account": ME}


async def test_socket_is_the_owners_alone_and_goes_with_the_process(home: Path) -> None:
    """Nobody but the end's account can connect, and a stopped process leaves no socket."""
    async with process(home):
        found = (home / SOCKET).lstat()
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
    assert not (home / SOCKET).exists()


async def test_socket_of_a_killed_process_is_no_obstacle(home: Path) -> None:
    """What a kill left is passed over by a command and replaced by the next process."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(home / SOCKET))
    left.close()
    assert (await enter_act(home, EXPORT, clock=noon)).index == 1
    async with process(home):
        assert (await enter_act(home, EXPORT)).index == 2


async def test_end_in_a_deep_folder_takes_acts(tmp_path: Path, home: Path) -> None:
    """A Unix address holds 107 bytes; an end's folder may lie deeper."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    for name in ("keys", "log", "wal", "state.db"):
        (home / name).rename(deep / name)
    async with process(deep):
        assert (await enter_act(deep, EXPORT)).index == 1


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense\n",
        b"[]\n",
        b"{}\n",
        b"[" * 20_000 + b"\n",
        b'{"kind":"asked","public":{},"private":{},"attachments":{}}\n',
        b'{"kind":"held","public":[],"private":{},"attachments":{}}\n',
        b'{"kind":"held","public":{},"private":{"case":1},"attachments":{}}\n',
        b'{"kind":"held","public":{},"private":{"account":"root"},"attachments":{}}\n',
        b'{"kind":"held","public":{"at":1},"private":{},"attachments":{}}\n',
        b'{"kind":"held","public":{},"private":{"case":"\\ud800"},"attachments":{}}\n',
        b'{"kind":"held","public":{},"private":{},"attachments":{"list":"?"}}\n',
    ],
)
async def test_line_that_is_no_act_is_answered_and_not_written(home: Path, line: bytes) -> None:
    """Garbage, another kind, somebody else's name: refused in words, not logged, and the next is taken."""
    async with process(home) as log:
        answer = await line_from(home, line)
        assert answer["error"] == "EntryInvalid"
        assert log.size == 1
        assert (await enter_act(home, EXPORT)).index == 1


async def test_another_account_is_refused_by_the_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the socket's mode fail, the kernel's word of who is at its other end still holds."""
    monkeypatch.setattr(acts, "_account_of", lambda _: os.geteuid() + 1)
    async with process(home) as log:
        with pytest.raises(ActRefused, match="the account of the end's process"):
            await enter_act(home, EXPORT)
        assert log.size == 1


async def test_folder_of_another_account_is_not_written_directly(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of another owner would stop the process when it starts."""
    owner = home.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(ActRefused, match="act under that account"):
        await enter_act(home, EXPORT, clock=noon)
    assert len(entries(home)) == 1


async def test_copy_of_a_log_takes_no_act(home: Path) -> None:
    """Without the log's key there is nothing to enter an act in."""
    (home / "keys/log.key").unlink()
    assert not can_act(home)
    with pytest.raises(ActRefused, match="not an end's own folder"):
        await enter_act(home, EXPORT)


async def test_log_held_by_a_process_that_does_not_listen_is_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command waits while a process starts or stops, and then says what is wrong."""
    monkeypatch.setattr(acts, "PATIENCE_SECONDS", 0.2)
    async with process(home):
        (home / SOCKET).unlink()
        with pytest.raises(LogUnwritable, match=r"doesn't listen on `acts\.sock`"):
            await enter_act(home, EXPORT)


async def test_log_that_cannot_be_written_acknowledges_no_act(home: Path) -> None:
    """What the log says to the process it says to the command."""
    async with process(home) as log:
        await log.close()
        with pytest.raises(LogUnwritable, match="it is closed"):
            await enter_act(home, EXPORT)


def test_act_of_another_kind_cannot_be_made() -> None:
    """Nobody enters by this way that a query was asked or answered."""
    with pytest.raises(EntryInvalid, match="kind `delivered` is not one of"):
        Act(kind="delivered")
