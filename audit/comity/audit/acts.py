"""An administrator's act on an end's log, whether the end's process runs or not (L2, L3, L4, L5).

A log has one writer. While the process runs, it listens on `acts.sock` in the end's folder, a Unix socket of
mode 0600, and writes what the same account (or root) asks for; else the command takes the log and writes
itself. Either way the act is durable when it is acknowledged, and who did it is the kernel's word: the
account at the other end of the socket, committed in the private field `account`. Acts are of few kinds: by
this way nobody enters that a query was asked or answered.

On the socket a line goes each way: the act, then the log's promise or what was wrong, as JSON.
"""

import asyncio
import base64
import json
import logging
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from comity.audit.canonical import JsonValue
from comity.audit.entry import Entry
from comity.audit.errors import ActRefused, AuditError, EntryInvalid, LogInUse, LogUnwritable
from comity.audit.log import Promise, SignedLog
from comity.audit.log_keys import LogKeys
from comity.audit.note import LogKey, VerifierKey
from comity.certs.clock import Clock, utc_now
from comity.certs.errors import CertsError

ACT_KINDS = frozenset(
    {"reviewed", "exported", "deleted", "held", "pardoned", "policy_approved", "hot_list_changed"}
)
"""What an administrator may enter; everything else is the process's own to say."""
SOCKET = "acts.sock"
ACCOUNT = "account"
MAX_LINE_BYTES = 1 << 20
PATIENCE_SECONDS = 10.0
"""How long a command waits for a log whose process starts or stops, and either side for the other's line."""
_GRACE_SECONDS = 1.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What an administrator did, as the log will tell it; fields as those of `Entry`, its time is the log's.

    The private field `account` is added: the operating system's name of who acts.
    """

    kind: str
    public: Mapping[str, JsonValue] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict, repr=False)
    attachments: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in ACT_KINDS:
            raise EntryInvalid(f"act: kind `{self.kind}` is not one of {', '.join(sorted(ACT_KINDS))}")
        if ACCOUNT in self.private:
            raise EntryInvalid(
                f"act `{self.kind}`: the private field `{ACCOUNT}` is added by the log's writer"
            )

    def entry(self, clock: Clock, uid: int) -> Entry:
        """Return the entry of an act that this account does now."""
        return Entry(
            kind=self.kind,
            at=clock(),
            public=self.public,
            private={**self.private, ACCOUNT: account_name(uid)},
            attachments=self.attachments,
        )


def enter(home: Path, act: Act, *, clock: Clock = utc_now) -> Promise:
    """Enter an act in the log of the end whose folder is `home`; it is durable when this returns.

    For commands; inside an event loop use `enter_act`, which says what is raised.
    """
    return asyncio.run(enter_act(home, act, clock=clock))


async def enter_act(home: Path, act: Act, *, clock: Clock = utc_now) -> Promise:
    """Enter an act through the process that has the log open, or directly if none has.

    Raises `ActRefused` if `home` isn't an end's folder with its log key or the process refuses the caller,
    `EntryInvalid` for an act that can't be an entry, and `LogUnwritable` if it couldn't be written, or if
    the process broke off and nobody knows.
    """
    key = own_log_key(home)
    give_up = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        promise = await _through_process(home, act)
        if promise is not None:
            return promise
        try:
            return await _directly(home, key, act, clock)
        except LogInUse:
            if asyncio.get_running_loop().time() > give_up:
                raise LogUnwritable(
                    f"log `{key.origin}`: a process has it open, and doesn't listen on `{SOCKET}`"
                ) from None
        await asyncio.sleep(0.1)


def can_act(home: Path) -> bool:
    """Return whether a folder is an end's own, with its log key: a copy of a log takes no entry."""
    return (home / "keys" / "log.key").is_file() and (home / "log" / "vkey").is_file()


def own_log_key(home: Path) -> LogKey:
    """Return the key of an end's own log. Raises `ActRefused` if the folder isn't an end's."""
    if not can_act(home):
        raise ActRefused(
            f"`{home}` is not an end's own folder: its log key (`keys/log.key`) and `log/` are needed"
        )
    try:
        origin = VerifierKey.parse((home / "log" / "vkey").read_text().strip()).name
        return LogKey.load(home / "keys" / "log.key", origin)
    except (AuditError, CertsError, OSError, UnicodeDecodeError) as problem:
        raise ActRefused(f"the log key in `{home}` can't be used: {problem}") from problem


def account_name(uid: int) -> str:
    """Return the operating system's name of an account, its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@asynccontextmanager
async def serving_acts(home: Path, log: SignedLog, *, clock: Clock) -> AsyncIterator[None]:
    """Take acts on `home/acts.sock` while the block runs; the socket is gone when it ends.

    Only the holder of the log may serve. Where no socket can be made the end serves without, and says so.
    """
    connections: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _serve_one(reader, writer, log, clock)
        finally:
            connections.discard(task)
            writer.close()

    try:
        listening = _listen(home)
    except OSError as problem:
        _logger.error("no acts are taken while this process runs: `%s`: %s", SOCKET, problem.strerror)
        yield
        return
    server = await asyncio.start_unix_server(take, sock=listening, limit=MAX_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        with suppress(OSError):
            (home / SOCKET).unlink()
        if connections:
            await asyncio.wait(connections, timeout=_GRACE_SECONDS)
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def _listen(home: Path) -> socket.socket:
    """Return a bound socket; one that a killed process left is replaced, for the log's lock is ours."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), 0o600)  # before it is bound: it never stands there for others
        with suppress(FileNotFoundError):
            (home / SOCKET).unlink()
        with _short_path(home) as path:
            listening.bind(path)
    except BaseException:
        listening.close()
        raise
    return listening


async def _serve_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, log: SignedLog, clock: Clock
) -> None:
    """Answer one line on a connection; whatever is wrong is said in its answer."""
    try:
        uid = _account_of(writer)
        if uid not in (os.geteuid(), 0):
            raise ActRefused("acts are taken from the account of the end's process, and from root")
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await reader.readline()
        act = _decode(line)
        (promise,) = await log.append(act.entry(clock, uid))
        if act.kind == "deleted":  # what goes from the tables goes from the write-ahead file, too
            await log.forget_segments()
        answer: dict[str, JsonValue] = {
            "origin": promise.origin,
            "index": promise.index,
            "leaf": promise.leaf_hash.hex(),
        }
    except (AuditError, TimeoutError, ValueError, RecursionError) as problem:
        error = problem if isinstance(problem, AuditError) else EntryInvalid("act: no line that is one came")
        answer = {"error": type(error).__name__, "text": str(error)}
    with suppress(OSError):
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()


async def _through_process(home: Path, act: Act) -> Promise | None:
    """Have the process enter an act; None if none listens."""
    try:
        with _short_path(home) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_LINE_BYTES)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as problem:
        raise ActRefused(f"`{home / SOCKET}`: {(problem.strerror or 'unusable').lower()}") from problem
    try:
        writer.write(_encode(act))
        await writer.drain()
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            line = await reader.readline()
        answer = json.loads(line)
        if "error" in answer:
            raise _ERRORS.get(answer["error"], LogUnwritable)(str(answer["text"]))
        return Promise(
            origin=str(answer["origin"]), index=int(answer["index"]), leaf_hash=bytes.fromhex(answer["leaf"])
        )
    except (OSError, TimeoutError, ValueError, LookupError, TypeError) as problem:
        raise LogUnwritable(
            f"`{home / SOCKET}`: the process broke off; look in its log whether the act stands there"
        ) from problem
    finally:
        writer.close()


async def _directly(home: Path, key: LogKey, act: Act, clock: Clock) -> Promise:
    _check_owner(home)
    keys = await asyncio.to_thread(LogKeys.load, home / "keys", key.origin)
    log = await SignedLog.open(home, origin=key.origin, key=keys, clock=clock)
    try:
        (promise,) = await log.append(act.entry(clock, os.geteuid()))
    finally:
        await log.close()
    return promise


def _check_owner(home: Path) -> None:
    """Refuse to write in another account's folder: with such files its process couldn't start."""
    uid = home.stat().st_uid
    if uid != os.geteuid():
        raise ActRefused(
            f"`{home}` belongs to `{account_name(uid)}`: act under that account, or while its process runs"
        )


_ERRORS: Mapping[str, type[AuditError]] = {"EntryInvalid": EntryInvalid, "ActRefused": ActRefused}


def _encode(act: Act) -> bytes:
    record: dict[str, JsonValue] = {
        "kind": act.kind,
        "public": dict(act.public),
        "private": dict(act.private),
        "attachments": {name: base64.b64encode(data).decode() for name, data in act.attachments.items()},
    }
    line = json.dumps(record).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise EntryInvalid(f"act `{act.kind}`: {len(line)} bytes, at most {MAX_LINE_BYTES}")
    return line


def _decode(line: bytes) -> Act:
    """Return the act of a line; raise `EntryInvalid` or `ValueError` for what is none."""
    record = json.loads(line)
    if not isinstance(record, dict) or record.keys() != {"kind", "public", "private", "attachments"}:
        raise EntryInvalid("act: kind, public, private and attachments are expected")
    public, private, attachments = record["public"], record["private"], record["attachments"]
    if not isinstance(public, dict) or not _texts(private) or not _texts(attachments):
        raise EntryInvalid("act: its fields are objects; private values and attachments are texts")
    return Act(
        kind=str(record["kind"]),
        public=public,
        private=private,
        attachments={name: base64.b64decode(data, validate=True) for name, data in attachments.items()},
    )


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _account_of(writer: asyncio.StreamWriter) -> int:
    """Return the account at the other end, as the kernel knows it (SO_PEERCRED: pid, uid, gid)."""
    peer = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    uid: int = struct.unpack("3i", peer)[1]
    return uid


@contextmanager
def _short_path(home: Path) -> Iterator[str]:
    """Give a path of the socket that fits in the 107 bytes of a Unix address, however deep `home` lies."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)
