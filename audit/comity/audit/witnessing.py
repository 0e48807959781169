"""One worker that holds all peers' logs of one end to what they showed, whatever carries the messages.

What arrives waits in one slot a peer and kind, the newest in the place of an older one; so however much a
peer sends, what is looked at is bounded by the worker's pace, and no record of an exchange waits for it. What
goes back is handed to the end, which knows the peer's link or session of that moment.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from comity.audit.errors import AuditError, NoteInvalid, PeerContradiction, PeerUnproven
from comity.audit.log import SignedLog
from comity.audit.peers import PeerCheckpoints
from comity.audit.shown import ShownCheckpoints
from comity.certs.clock import Clock
from comity.v1.audit_pb2 import Checkpoint, Cosignature, LogPromise, ProofDelivery, ProofRequest

PACE_SECONDS = 0.2
"""How long to wait between two looks, so that a peer can't fill the log with its checkpoints."""
MAX_PEERS = 4_096
"""Peers of whom something may wait at a time."""
_logger = logging.getLogger(__name__)

LogMessage = Checkpoint | ProofRequest | ProofDelivery | Cosignature
"""What two ends tell each other of their logs; in a link frame and a session message by these names."""
LOG_KINDS = ("proofs", "cosignature", "proof_request", "checkpoint")
"""In the order in which what waits of one peer is looked at: what is owed first."""


def kind_of(message: LogMessage) -> str:
    """Return under which name a link frame or a session message carries it."""
    match message:
        case Checkpoint():
            return "checkpoint"
        case ProofRequest():
            return "proof_request"
        case ProofDelivery():
            return "proofs"
        case Cosignature():
            return "cosignature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something about a peer's log that its end must hear of. `text` holds no content."""

    origin: str
    kind: str
    """`contradiction`, `unproven`, or `rejected` for what doesn't verify."""
    text: str

    @property
    def is_refused(self) -> bool:
        """Whether the peer is refused from now on."""
        return self.kind == "contradiction"


class CheckpointDesk:
    """What one end and its peers tell each other of their logs. Plain calls on the event loop; `run` works.

    `keys` returns the verifier keys that the roster gives for an origin, none for a stranger; `tell` sends to
    a peer if it is connected; `alarm` hears what an operator must hear, after it is logged.
    """

    def __init__(
        self,
        log: SignedLog,
        clock: Clock,
        *,
        keys: Callable[[str], Sequence[str]],
        tell: Callable[[str, LogMessage], None],
        alarm: Callable[[Alarm], None],
    ) -> None:
        self.peers = PeerCheckpoints(log, clock)
        self.shown = ShownCheckpoints(log, clock)
        self._keys = keys
        self._tell = tell
        self._alarm = alarm
        self._waiting: dict[str, dict[str, LogMessage]] = {}
        self._ticked: set[str] = set()
        self._wake = asyncio.Event()

    def is_refused(self, origin: str) -> bool:
        """Return whether a peer is refused because its log contradicted itself."""
        return self.peers.is_refused(origin)

    def offer(self, origins: Iterable[str]) -> None:
        """Show our newest checkpoint to those of these connected peers for whom it is due."""
        for origin in origins:
            if not self.is_refused(origin) and (note := self.shown.due(origin)) is not None:
                self._tell(origin, Checkpoint(note=note))

    def connected(self, origin: str) -> None:
        """Begin anew with a peer: its link or session is a new one."""
        self.shown.forget(origin)
        self.peers.forget(origin)
        self._waiting.pop(origin, None)

    def promised(self, origin: str, promise: LogPromise, *, exchange: bytes, statement: bytes) -> None:
        """Hold a peer's log to what a verified statement promises of it; as `PeerCheckpoints.promised`."""
        self.peers.promised(origin, promise, exchange=exchange, statement=statement)

    def take(self, origin: str, message: LogMessage) -> None:
        """Take what a peer told, in the place of the last of its kind that still waits."""
        if origin not in self._waiting and len(self._waiting) >= MAX_PEERS:
            _logger.warning("what `%s` told of its log was let go: too much waits", origin)
            return
        self._waiting.setdefault(origin, {})[kind_of(message)] = message
        self._wake.set()

    def tick(self, connected: Iterable[str]) -> None:
        """Count one more second for these peers; what is overdue is told."""
        self._ticked.update(connected)
        self._wake.set()

    async def run(self) -> None:
        """Look at what arrives until cancelled."""
        while True:
            await self._wake.wait()
            await self.look()
            await asyncio.sleep(PACE_SECONDS)

    async def look(self) -> None:
        """Look at all that waits."""
        self._wake.clear()
        waiting, self._waiting = self._waiting, {}
        ticked, self._ticked = self._ticked, set()
        for origin, messages in waiting.items():
            for kind in LOG_KINDS:
                if kind in messages:
                    await self._handle(origin, messages[kind])
        for origin in sorted(ticked):
            await self._handle(origin, None)

    async def _handle(self, origin: str, message: LogMessage | None) -> None:
        """Act on one message, or on a tick; whatever is wrong with it ends it alone."""
        try:
            for answer in await self._answers(origin, message):
                self._tell(origin, answer)
        except PeerContradiction as error:
            self._alarm(Alarm(origin=origin, kind="contradiction", text=str(error)))
        except PeerUnproven as error:
            self._alarm(Alarm(origin=origin, kind="unproven", text=str(error)))
        except NoteInvalid as error:
            self._alarm(Alarm(origin=origin, kind="rejected", text=str(error)))
        except AuditError as error:
            _logger.error("what `%s` told of its log was not dealt with: %s", origin, error)
        except Exception as fault:  # its text could hold anything: only its kind is told
            _logger.error("a fault at what `%s` told of its log: %s", origin, type(fault).__name__)

    async def _answers(self, origin: str, message: LogMessage | None) -> Sequence[LogMessage]:
        keys = self._keys(origin)
        if not keys:  # the roster was replaced since it came
            return []
        match message:
            case None:
                return await self.peers.tick(origin)
            case Checkpoint():
                return await self.peers.saw(origin, message.note, *keys)
            case ProofDelivery():
                return await self.peers.proven(origin, message)
            case Cosignature():
                await self.shown.cosigned(origin, message, *keys)
                return []
            case ProofRequest():
                proofs = await self.shown.prove(origin, message)
                return [] if proofs is None else [proofs]
