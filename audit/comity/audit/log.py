"""The signed log of one end: append durably, publish as C2SP tlog-tiles."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from comity.audit.entry import Entry
from comity.audit.note import LogKey
from comity.certs.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The log's word that an entry stands at an index (`comity.v1.LogPromise`)."""

    origin: str
    index: int
    leaf_hash: bytes


class SignedLog:
    """One end's log: `home/log` (tiles, checkpoint, vkey), `home/wal`, and openings in `home/state.db`."""

    @classmethod
    async def open(cls, home: Path, *, origin: str, key: LogKey, clock: Clock) -> "SignedLog":
        """Open or create the log, replaying what was acknowledged but not published.

        Raises `LogInUse` if someone has it open, `LogDamaged` if acknowledged entries are gone or
        changed, and `LogUnwritable` if its folder cannot be written.
        """
        raise NotImplementedError

    @property
    def origin(self) -> str:
        """The log's origin."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Number of acknowledged entries."""
        raise NotImplementedError

    @property
    def substantive_size(self) -> int:
        """Number of acknowledged entries other than `checkpoint_seen`."""
        raise NotImplementedError

    async def append(self, *entries: Entry) -> list[Promise]:
        """Write entries in order, durably: they are on disk (fdatasync) when this returns.

        Raises `EntryInvalid`, `LogClosed`, or `LogUnwritable`: then nothing was acknowledged, and the next
        call tries anew.
        """
        raise NotImplementedError

    def checkpoint(self) -> bytes:
        """Return the newest published checkpoint, a signed note (of size 0 in a new log)."""
        raise NotImplementedError

    def on_published(self, callback: Callable[[bytes], None]) -> None:
        """Have `callback(note)` called on the event loop after each new checkpoint."""
        raise NotImplementedError

    async def publish(self) -> bytes:
        """Write tiles and a checkpoint of all acknowledged entries now; return it. Raises `LogUnwritable`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Publish, let go of the folder. Closing twice is no error."""
        raise NotImplementedError


class PeerCheckpoints:
    """What this end saw of its peers' checkpoints, and when its own is due at a peer (damped)."""

    def __init__(self, log: SignedLog, clock: Clock) -> None:
        raise NotImplementedError

    def due(self, peer_origin: str) -> bytes | None:
        """Return the newest checkpoint if the peer should get it now, and count it as sent; else None.

        Due means: it covers entries other than `checkpoint_seen` that the last one sent there did not, and
        the last was sent at least a second ago. Forget a peer with `forget` when its link or session ends.
        """
        raise NotImplementedError

    def forget(self, peer_origin: str) -> None:
        """Send the newest checkpoint again when next asked: the connection to the peer is a new one."""
        raise NotImplementedError

    async def saw(self, peer_origin: str, note: bytes, *verifier_keys: str) -> bool:
        """Verify a peer's checkpoint and log it as `checkpoint_seen` if it is newer than the last one.

        Returns whether it was logged. Raises `NoteInvalid`, or `PeerContradiction` (after logging
        `contradiction`) if it shrank or has another root than one of the same size.
        """
        raise NotImplementedError
