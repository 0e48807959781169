"""Peers hold each other's logs to what they said: checkpoints travel, and are logged by whoever sees one."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta

from comity.audit.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from comity.audit.entry import CHECKPOINT_SEEN, CONTRADICTION, Entry
from comity.audit.errors import NoteInvalid, PeerContradiction
from comity.audit.key_history import check_goes_on
from comity.audit.log import SignedLog
from comity.certs.clock import Clock

MIN_INTERVAL = timedelta(seconds=1)
BURST = 10
"""Checkpoints of a peer that are logged at once; further ones at one a `MIN_INTERVAL`."""
MAX_NOTE_BYTES = 8_192
"""A larger note is refused unread: an honest one has some hundred bytes, and every entry stays for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    substantive: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Allowance:
    """How many checkpoints of a peer may still be logged, as of a time."""

    left: float
    at: datetime


class PeerCheckpoints:
    """What this end saw of its peers' checkpoints, and when its own is due at a peer (damped).

    Without the damping two ends would send each other checkpoints for ever, each for the entry in which it
    logged the other's.
    """

    def __init__(self, log: SignedLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._sent: dict[str, _Sent] = {}
        self._seeing: dict[str, bytes] = {}
        self._allowed: dict[str, _Allowance] = {}

    def due(self, peer_origin: str) -> bytes | None:
        """Return the newest checkpoint if the peer should get it now, and count it as sent; else None.

        Due means: it covers entries other than `checkpoint_seen` that the last one sent there did not, and
        the last was sent at least a second ago. `forget` a peer when its link or session ends.
        """
        substantive, now = self._log.published_substantive_size, self._clock()
        last = self._sent.get(peer_origin)
        if substantive == 0:
            return None
        if last is not None and (last.substantive >= substantive or abs(now - last.at) < MIN_INTERVAL):
            return None
        self._sent[peer_origin] = _Sent(substantive=substantive, at=now)
        return self._log.checkpoint()

    def forget(self, peer_origin: str) -> None:
        """Send the newest checkpoint again when next asked: the connection to the peer is a new one."""
        self._sent.pop(peer_origin, None)

    async def saw(self, peer_origin: str, note: bytes, *verifier_keys: str) -> bool:
        """Verify a peer's checkpoint and log it as `checkpoint_seen` if it is newer than the last one.

        The keys are those that the roster gives for this origin, the older first while there are two: once
        the newer one signed, the older alone counts for nothing. Returns whether it was logged; a peer that
        sends more than honest ones do is not. Raises `NoteInvalid`; `PeerContradiction` if it shrank or has
        another root than one of the same size, after logging a `contradiction`; and what `SignedLog.append`
        raises.
        """
        if len(note) > MAX_NOTE_BYTES:
            raise NoteInvalid(f"checkpoint of `{peer_origin}`: {len(note)} bytes, at most {MAX_NOTE_BYTES}")
        checkpoint = open_checkpoint(note, origin=peer_origin, verifier_keys=verifier_keys)
        before = self._seeing.get(peer_origin) or self._log.last_seen(peer_origin)
        if before is not None:
            last = peek_checkpoint(before)
            if (last.size, last.root) == (checkpoint.size, checkpoint.root):
                return False
            if checkpoint.size > last.size:
                check_goes_on(before, note, verifier_keys)
            if not self._may_log(peer_origin):
                return False
            if checkpoint.size <= last.size:
                await self._log.append(self._entry(CONTRADICTION, checkpoint, note))
                how = "has two roots for" if checkpoint.size == last.size else f"shrank from {last.size} to"
                raise PeerContradiction(f"log `{peer_origin}` {how} {checkpoint.size} entries")
        elif checkpoint.size == 0 or not self._may_log(peer_origin):
            return False
        self._seeing[peer_origin] = note
        try:
            await self._log.append(self._entry(CHECKPOINT_SEEN, checkpoint, note))
        finally:
            if self._seeing.get(peer_origin) == note:
                del self._seeing[peer_origin]
        return True

    def _may_log(self, peer_origin: str) -> bool:
        """Return whether one more entry about a peer's log may be written now, and count it."""
        now = self._clock()
        before = self._allowed.get(peer_origin, _Allowance(left=BURST, at=now))
        left = min(BURST, before.left + max(timedelta(), now - before.at) / MIN_INTERVAL)
        self._allowed[peer_origin] = _Allowance(left=left - 1 if left >= 1 else left, at=now)
        return left >= 1

    def _entry(self, kind: str, checkpoint: Checkpoint, note: bytes) -> Entry:
        return Entry(
            kind=kind,
            at=self._clock(),
            public={
                "peer_origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": base64.b64encode(checkpoint.root).decode(),
                "note": note.decode(),
            },
        )
