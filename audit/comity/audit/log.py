"""The signed log of one end: append durably, publish as C2SP tlog-tiles (L1, L2).

::

    home/log/   checkpoint, vkey, tile/…, beside/…   what everyone may have: the verifier needs nothing else
    home/wal/   segments of frames, 0600      what is acknowledged; old segments go once published
    home/state.db                             openings and evidence

An append is acknowledged once its frame is on the disk (fdatasync). What queued while the last sync ran is
written with one: no timer. A lone append on a quick disk is synced on the event loop's own thread, because a
hop to another costs as much as the sync. Tiles, then openings, then the checkpoint follow in the background.
Recovery replays frames into both, so there are never two roots for one size: a checkpoint covers only frames
that are on the disk, and a frame on the disk is never replaced.
"""

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from comity.audit.beside import files_of
from comity.audit.canonical import JsonValue
from comity.audit.checkpoint import Checkpoint, open_checkpoint
from comity.audit.cosignature import cosign
from comity.audit.disk import Disk
from comity.audit.entry import Entry, SealedEntry, seal_entry
from comity.audit.errors import (
    AuditError,
    LogClosed,
    LogDamaged,
    LogInUse,
    LogUnwritable,
    NoteInvalid,
    TileInvalid,
)
from comity.audit.log_keys import LogKeys
from comity.audit.merkle import leaf_hash
from comity.audit.note import LogKey
from comity.audit.openings import OpeningStore
from comity.audit.records import decode_record, encode_record
from comity.audit.rotation import rotation_entry
from comity.audit.summary import Law, Summary
from comity.audit.tiles import TILE_WIDTH, Edge, TileFolder, TileName
from comity.audit.wal import WriteAheadFile
from comity.certs.clock import Clock

PUBLISH_DELAY = 0.2
PUBLISH_INTERVAL = 1.0
"""Seconds: how soon after an append tiles and a checkpoint follow, and how often at most."""
MAX_UNPUBLISHED = 200_000
"""Entries that may wait for tiles; beyond it the log counts as unwritable, or memory would run out."""
_BATCH = 16_384
_QUICK_SYNC = 0.002
"""Seconds: while a sync takes less, a lone append is synced on the event loop's thread."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The log's word that an entry stands at an index (`comity.v1.LogPromise`)."""

    origin: str
    index: int
    leaf_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """What tiles and checkpoint hold."""

    edge: Edge
    note: bytes
    summary: Summary


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """One append that waits for its sync."""

    entries: list[SealedEntry]
    records: list[bytes]
    done: "asyncio.Future[list[Promise]]"


@dataclass(slots=True, kw_only=True)
class _Store:
    """A log's files: opened, recovered and published, without an event loop."""

    home: Path
    keys: LogKeys
    disk: Disk
    wal: WriteAheadFile
    openings: OpeningStore
    lock: int = -1
    pending: list[SealedEntry] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.home / "log"

    @property
    def key(self) -> LogKey:
        return self.keys.key

    def open(self) -> _Published:
        """Take the lock, recover; `pending` then holds what is acknowledged and not published."""
        self.disk.make_folder(self.home / "wal", 0o700)
        self._take_lock()
        self.disk.make_folder(self.log)
        # What a killed process renamed here would still go with the power, and what follows trusts it.
        self.disk.sync_folder(self.log)
        self._check_vkey()
        published = self._read_published()
        if self.keys.following is not None:  # a crash could come between a checkpoint and it
            self._write_vkey(self.keys.in_force(published.summary.replaced))
        frames = self.wal.open(published=published.edge.size)
        entries = [(frame.index, decode_record(frame)) for frame in frames]
        self.openings.apply(entries, self.wal.next_index)
        self.pending = [sealed for index, sealed in entries if index >= published.edge.size]
        return published

    def publish(self, published: _Published, batch: Sequence[SealedEntry]) -> _Published:
        """Write tiles, openings, then the checkpoint over a batch more; each durable before the next."""
        start = published.edge.size
        edge, files = published.edge.extend([sealed.leaf for sealed in batch])
        new = self._new_files(files)
        self.disk.write_files(self.log, new)
        self.disk.settle(self.log, files.keys() - new.keys())
        self.openings.apply(list(enumerate(batch, start)), edge.size)
        summary = published.summary.after(batch)
        signers = self.keys.signers(summary.replaced)
        note = Checkpoint(origin=self.key.origin, size=edge.size, root=edge.root).sign(*signers)
        self.disk.write_file(self.log / "checkpoint", note)
        if summary.replaced != published.summary.replaced:
            self._write_vkey(signers[-1])
        with suppress(OSError):
            summary.write(self.home / "wal")
            self._remove_partials(files)
        return _Published(edge=edge, note=note, summary=summary)

    def write_beside(self, files: dict[str, bytes]) -> None:
        """Write values that are stored beside the log; one that is there already stays."""
        self.disk.write_files(self.log, self._new_files(files))

    def close(self) -> None:
        """Let go of everything."""
        self.wal.close()
        self.openings.close()
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def _take_lock(self) -> None:
        self.lock = os.open(self.home / "wal" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise LogInUse(f"log `{self.key.origin}`: another process has `{self.home}` open") from problem

    def _check_vkey(self) -> None:
        path = self.log / "vkey"
        if not path.exists():
            if (self.log / "checkpoint").exists():
                raise LogDamaged(f"log `{self.key.origin}`: `vkey` is missing beside its checkpoint")
            self._write_vkey(self.key)
        elif path.read_bytes() not in [f"{line}\n".encode() for line in self.keys.lines]:
            raise LogDamaged(f"log `{self.key.origin}`: `vkey` names another key than those at hand")

    def _write_vkey(self, key: LogKey) -> None:
        self.disk.write_file(self.log / "vkey", key.verifier_key.encode() + b"\n")

    def _read_published(self) -> _Published:
        path = self.log / "checkpoint"
        if not path.exists():
            if any((self.log / "tile").glob("entries/*")):
                raise LogDamaged(f"log `{self.key.origin}`: it has entries and no checkpoint")
            note = Checkpoint(origin=self.key.origin, size=0, root=Edge().root).sign(self.key)
            self.disk.write_file(path, note)
            return _Published(edge=Edge(), note=note, summary=Summary())
        note = path.read_bytes()
        folder = TileFolder(self.log)
        try:
            checkpoint = open_checkpoint(note, origin=self.key.origin, verifier_keys=self.keys.lines)
            edge = folder.edge(checkpoint.size)
            if edge.root != checkpoint.root:
                raise LogDamaged(f"log `{self.key.origin}`: its tiles don't lead to its checkpoint's root")
            summary = Summary.read(self.home / "wal", folder, checkpoint.size)
        except (NoteInvalid, TileInvalid) as problem:
            raise LogDamaged(f"log `{self.key.origin}`: {problem}") from problem
        return _Published(edge=edge, note=note, summary=summary)

    def _new_files(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """Return the files that aren't there yet; one that is there with other bytes would be a fork."""
        new: dict[str, bytes] = {}
        for path, data in files.items():
            try:
                present = (self.log / path).read_bytes()
            except FileNotFoundError:
                new[path] = data
                continue
            if present != data:
                raise LogDamaged(f"log `{self.key.origin}`: `{path}` is there with other bytes")
        return new

    def _remove_partials(self, files: dict[str, bytes]) -> None:
        """Remove the partial tiles of those that are full now, as C2SP tlog-tiles allows."""
        for path in files:
            if TileName.parse(path).width == TILE_WIDTH:
                folder = self.log / f"{path}.p"
                if folder.is_dir():
                    self.disk.remove_folder(folder, [p.name for p in folder.iterdir()])


class SignedLog:
    """One end's log. Made by `open`; one event loop; one process at a time."""

    def __init__(self, store: _Store, published: _Published, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._published = published
        self._summary = published.summary.after(store.pending)
        self._size = published.edge.size + len(store.pending)
        self._loop = asyncio.get_running_loop()
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-commit")
        self._publisher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-publish")
        self._queue: list[_Waiting] = []
        self._committing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._sync_seconds = 0.0
        self._publishing = asyncio.Lock()
        self._dirty = asyncio.Event()
        self._fault: LogDamaged | None = None
        self._closed = False
        self._callbacks: list[Callable[[bytes], None]] = []
        self._background = self._loop.create_task(self._publish_in_background())

    @classmethod
    async def open(
        cls, home: Path, *, origin: str, key: LogKey | LogKeys, clock: Clock, disk: Disk | None = None
    ) -> "SignedLog":
        """Open or create the log, replaying what was acknowledged but not published.

        `key` is the log's, or both while one replaces the other. Raises `LogInUse` if someone has it open,
        `LogDamaged` if acknowledged entries are gone or changed, or a key in force isn't at hand, and
        `LogUnwritable` if its folder cannot be written.
        """
        keys = LogKeys(key=key) if isinstance(key, LogKey) else key
        if keys.key.origin != origin:
            raise NoteInvalid(f"log `{origin}`: the key is named `{keys.key.origin}`")
        disk = disk or Disk()
        store = _Store(
            home=home,
            keys=keys,
            disk=disk,
            wal=WriteAheadFile(home / "wal", disk=disk),
            openings=OpeningStore(home / "state.db"),
        )
        try:
            published = await asyncio.to_thread(store.open)
            log = cls(store, published, clock)
        except OSError as problem:
            store.close()
            raise LogUnwritable(f"log `{origin}`: {_words(problem)}") from problem
        except BaseException:
            store.close()
            raise
        if store.pending:
            try:
                await log.publish()
            except BaseException:
                await log._abandon()
                raise
        return log

    @property
    def origin(self) -> str:
        """The log's origin."""
        return self._store.key.origin

    @property
    def verifier_key(self) -> str:
        """The verifier key line of the log's key: of the newer one once it has taken over."""
        return self._store.keys.in_force(self._summary.replaced).verifier_key

    @property
    def size(self) -> int:
        """Number of acknowledged entries."""
        return self._size

    @property
    def published_size(self) -> int:
        """Number of entries that the newest checkpoint covers."""
        return self._published.edge.size

    @property
    def substantive_size(self) -> int:
        """Number of acknowledged entries other than `checkpoint_seen`."""
        return self._summary.substantive

    @property
    def published_substantive_size(self) -> int:
        """Number of entries other than `checkpoint_seen` that the newest checkpoint covers."""
        return self._published.summary.substantive

    @property
    def openings(self) -> OpeningStore:
        """Openings and evidence that the log keeps beside its entries, as far as they are published."""
        return self._store.openings

    def last_seen(self, peer_origin: str) -> bytes | None:
        """Return the newest checkpoint of a peer that this log holds, a signed note."""
        return self._summary.seen.get(peer_origin)

    @property
    def refused(self) -> Mapping[str, int]:
        """By origin: the `contradiction` for which a peer's log is refused, and that nobody pardoned."""
        return self._summary.refused

    @property
    def law(self) -> Law | None:
        """The policy bundle that this log has in force, with what was approved since; None: none yet."""
        law = self._summary.law
        return law if law.policy else None

    @property
    def folder(self) -> Path:
        """The `log/` folder, which everyone may have."""
        return self._store.log

    def cosign(self, note: bytes) -> bytes:
        """Return the line with which this log's key cosigns a peer's checkpoint now (tlog-cosignature).

        The caller has checked the checkpoint against all that this end saw of that log before.
        """
        return cosign(note, self._store.keys.in_force(self._summary.replaced), self._clock())

    def entry(
        self,
        kind: str,
        *,
        exchange: bytes | None = None,
        public: Mapping[str, JsonValue] | None = None,
        private: Mapping[str, str] | None = None,
        attachments: Mapping[str, bytes] | None = None,
    ) -> Entry:
        """Return an entry of the present time by the log's clock, to be appended. Raises `EntryInvalid`."""
        return Entry(
            kind=kind,
            at=self._clock(),
            exchange=exchange,
            public=public or {},
            private=private or {},
            attachments=attachments or {},
        )

    async def append(self, *entries: Entry) -> list[Promise]:
        """Write entries in order, durably: they are on disk (fdatasync) when this returns.

        Raises `EntryInvalid`, `LogClosed`, or `LogUnwritable`: then nothing was acknowledged, and the next
        call tries anew.
        """
        self._check_open()
        if self._size - self._published.edge.size > MAX_UNPUBLISHED:
            raise LogUnwritable(f"log `{self.origin}`: too many entries wait to be published")
        sealed = [seal_entry(entry) for entry in entries]
        if not sealed:
            return []
        if any(each.beside for each in sealed):
            await self._write_beside(sealed)
        waiting = _Waiting(
            entries=sealed,
            records=[encode_record(each) for each in sealed],
            done=self._loop.create_future(),
        )
        self._queue.append(waiting)
        if not self._committing:
            self._committing = True
            self._idle.clear()
            self._loop.call_soon(self._commit)
        return await waiting.done

    async def _write_beside(self, sealed: Sequence[SealedEntry]) -> None:
        """Store the large values of entries beside the log, durable before the entries that name them."""
        files = {path: data for each in sealed for path, data in files_of(each.beside).items()}
        try:
            await self._loop.run_in_executor(self._publisher, self._store.write_beside, files)
        except OSError as problem:
            raise LogUnwritable(f"log `{self.origin}`: nothing was written ({_words(problem)})") from problem
        self._check_open()

    async def rotate_key(self, new: LogKey) -> None:
        """Have `new` take over from the log's key: logged as `key_rotated`, and published.

        From the checkpoint that covers the entry on, both keys sign. Does nothing if the key took over
        already. Raises `LogUnwritable`: then it didn't, or (if it is in the log) will once it can.
        """
        if self.verifier_key != new.verifier_key:
            note, key = await self.publish(), self._store.keys.in_force(self._summary.replaced)
            last = open_checkpoint(note, origin=self.origin, verifier_keys=[key.verifier])
            entry = rotation_entry(last, old=key, new=new, at=self._clock())
            self._store.keys = LogKeys(key=key, following=new)
            await self.append(entry)
        await self.publish()

    def drop_old_key(self) -> None:
        """Have the newer key sign alone from now on, once it has taken over; else do nothing."""
        keys = self._store.keys
        if keys.following is not None and self.verifier_key == keys.following.verifier_key:
            self._store.keys = LogKeys(key=keys.following)

    def checkpoint(self) -> bytes:
        """Return the newest published checkpoint, a signed note (of size 0 in a new log)."""
        return self._published.note

    def on_published(self, callback: Callable[[bytes], None]) -> None:
        """Have `callback(note)` called on the event loop after each new checkpoint."""
        self._callbacks.append(callback)

    async def publish(self) -> bytes:
        """Write tiles and a checkpoint of all acknowledged entries now; return it.

        Raises `LogUnwritable`: what is acknowledged stays so, and is published once that is possible.
        """
        wanted = self._size
        async with self._publishing:
            while self._published.edge.size < wanted:
                batch = self._store.pending[:_BATCH]
                self._published = await self._publish_batch(batch)
                del self._store.pending[: len(batch)]
                for callback in self._callbacks:
                    self._loop.call_soon(callback, self._published.note)
            return self._published.note

    async def forget_segments(self) -> None:
        """Remove the write-ahead segments of everything that is acknowledged by now, once it is published.

        They hold openings and attachments once more, so what is to be forgotten goes from them too (L5).
        Raises `LogUnwritable`, `LogClosed`.
        """
        try:
            await self._alone(self._store.wal.rotate)
            await self.publish()
            await self._alone(self._remove_segments)
        except OSError as problem:
            raise LogUnwritable(
                f"log `{self.origin}`: old segments can't be removed ({_words(problem)})"
            ) from problem

    async def _alone(self, work: Callable[[], None]) -> None:
        """Do something with the write-ahead file while nothing is written to it."""
        while self._committing:
            await self._idle.wait()
        self._check_open()
        self._committing = True
        self._idle.clear()
        try:
            await self._loop.run_in_executor(self._committer, work)
        finally:
            self._commit()

    async def close(self) -> None:
        """Publish and let go of the folder; old segments, which hold openings, go. Twice is no error."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._idle.wait()
            await self.publish()
            await self._loop.run_in_executor(self._committer, self._clear_segments)
        finally:
            await self._abandon()

    async def _abandon(self) -> None:
        """Let go without publishing."""
        self._closed = True
        self._background.cancel()
        await asyncio.gather(self._background, return_exceptions=True)
        self._committer.shutdown()
        self._publisher.shutdown()
        self._store.close()

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed(f"log `{self.origin}`: it is closed")
        if self._fault is not None:
            raise LogUnwritable(f"log `{self.origin}`: it is damaged, see its own log") from self._fault

    def _commit(self) -> None:
        """Write all that queued with one sync: here if it is one append and the disk is quick."""
        batch, self._queue = self._queue, []
        if not batch:
            self._committing = False
            self._idle.set()
            return
        records = [record for waiting in batch for record in waiting.records]
        if len(batch) == 1 and self._sync_seconds < _QUICK_SYNC:
            try:
                first: int | Exception = self._write(records)
            except Exception as problem:
                first = problem
            self._settle(batch, first)
            return
        future = self._loop.run_in_executor(self._committer, self._write, records)
        future.add_done_callback(lambda f: self._settle(batch, f.exception() or f.result()))

    def _write(self, records: list[bytes]) -> int:
        """Write frames durably; on whichever thread commits. Returns the first index."""
        started = time.perf_counter()
        first = self._store.wal.write(records)
        self._sync_seconds = 0.8 * self._sync_seconds + 0.2 * (time.perf_counter() - started)
        if self._store.wal.is_segment_full:
            with suppress(OSError):
                self._store.wal.rotate()
                self._drop_segments()
        return first

    def _settle(self, batch: list[_Waiting], first: int | BaseException) -> None:
        """Acknowledge a batch whose first entry has that index, or fail it."""
        if isinstance(first, BaseException):
            reason = _words(first) if isinstance(first, OSError) else type(first).__name__
            for waiting in batch:
                if not waiting.done.done():
                    failure = LogUnwritable(f"log `{self.origin}`: nothing was written ({reason})")
                    failure.__cause__ = first
                    waiting.done.set_exception(failure)
        else:
            entries = [sealed for waiting in batch for sealed in waiting.entries]
            self._store.pending += entries
            self._summary = self._summary.after(entries)
            self._size = first + len(entries)
            for waiting in batch:
                promises = [
                    Promise(origin=self.origin, index=first + i, leaf_hash=leaf_hash(sealed.leaf))
                    for i, sealed in enumerate(waiting.entries)
                ]
                first += len(promises)
                if not waiting.done.done():
                    waiting.done.set_result(promises)
            self._dirty.set()
        self._loop.call_soon(self._commit)

    async def _publish_batch(self, batch: list[SealedEntry]) -> _Published:
        try:
            return await self._loop.run_in_executor(
                self._publisher, self._store.publish, self._published, batch
            )
        except OSError as problem:
            raise LogUnwritable(
                f"log `{self.origin}`: nothing was published ({_words(problem)})"
            ) from problem
        except LogDamaged as problem:
            self._fault = problem
            raise

    async def _publish_in_background(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(PUBLISH_DELAY)
            self._dirty.clear()
            try:
                await self.publish()
            except LogDamaged as problem:
                _logger.critical("log damaged, it takes no more entries: %s", problem)
                return
            except AuditError as problem:
                _logger.warning("log not published, trying again: %s", problem)
                self._dirty.set()
            except Exception as fault:  # its text could hold what an opening holds: only its kind is told
                _logger.error("log not published, trying again: %s", type(fault).__name__)
                self._dirty.set()
            await asyncio.sleep(PUBLISH_INTERVAL - PUBLISH_DELAY)

    def _remove_segments(self) -> None:
        """Remove segments that are published, durably."""
        self._drop_segments()
        self._store.disk.sync_folder(self._store.home / "wal")

    def _drop_segments(self) -> None:
        for path in self._store.wal.drop_before(self._published.edge.size):
            self._store.disk.remove(path)

    def _clear_segments(self) -> None:
        with suppress(OSError):
            self._store.wal.rotate()
            self._drop_segments()


def _words(problem: OSError) -> str:
    return (problem.strerror or type(problem).__name__).lower()
