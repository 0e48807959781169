"""Proofs that travel: one entry of a log with its inclusion proof and checkpoint (C2SP tlog-proof).

::

    c2sp.org/tlog-proof@v1
    extra eyJhdCI6MTc2M…        the entry's own bytes, base64: unauthenticated until its hash verifies
    index 17
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=

    lapd.example/adapter
    57
    …

Whoever holds the entry, this file and the log's verifier key needs nothing else, and no network.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, open_checkpoint, peek_checkpoint
from comity.audit.errors import ProofInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.note import VerifierKey

MAGIC = "c2sp.org/tlog-proof@v1"
SUFFIX = ".tlog-proof"
MAX_PATH = 63
"""Hashes that a path of a tree with less than 2^63 entries can have."""
MAX_PROOF_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """An entry's place in a log: its index, the path (hashes of 32 bytes, from leaf to root), the checkpoint.

    `extra` is what the file carries beside it and nobody vouches for: here the entry's bytes.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.index < 0 or self.index >= 1 << 63:
            raise ProofInvalid("tlog-proof: `index` is out of range")
        if len(self.path) > MAX_PATH or any(len(one) != merkle.HASH_SIZE for one in self.path):
            raise ProofInvalid(f"tlog-proof: at most {MAX_PATH} hashes of {merkle.HASH_SIZE} bytes are right")

    @property
    def claimed(self) -> Checkpoint:
        """What the checkpoint claims, **unverified**."""
        return peek_checkpoint(self.checkpoint)

    def encode(self) -> bytes:
        """Return the proof as a file's bytes."""
        lines = [MAGIC]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(one).decode() for one in self.path]
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint

    @classmethod
    def parse(cls, data: bytes) -> "TlogProof":
        """Read a file's bytes; nothing is verified yet. Raises `ProofInvalid`."""
        if len(data) > MAX_PROOF_BYTES:
            raise ProofInvalid(f"tlog-proof: {len(data)} bytes, at most {MAX_PROOF_BYTES} are read")
        head, separator, checkpoint = data.partition(b"\n\n")
        if not separator:
            raise ProofInvalid("tlog-proof: an empty line before the checkpoint is missing")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as problem:
            raise ProofInvalid("tlog-proof: what stands before the checkpoint is not ASCII") from problem
        if lines.pop(0) != MAGIC:
            raise ProofInvalid(f"tlog-proof: the first line must be `{MAGIC}`")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _base64(lines.pop(0).removeprefix("extra "), "`extra`")
        if not lines or not lines[0].startswith("index "):
            raise ProofInvalid("tlog-proof: a line `index <number>` is missing")
        index = _decimal(lines.pop(0).removeprefix("index "))
        path = tuple(_base64(line, f"hash {number} of the path") for number, line in enumerate(lines))
        return cls(index=index, path=path, checkpoint=checkpoint, extra=extra)

    def verify(
        self, *, leaf_hash: bytes, origin: str, verifier_keys: Iterable[VerifierKey | str]
    ) -> Checkpoint:
        """Return the checkpoint that one of the log's keys signed and in which the entry stands.

        Raises `ProofInvalid` if the path doesn't lead there, `NoteInvalid` or `CheckpointInvalid` if the
        checkpoint isn't that log's.
        """
        checkpoint = open_checkpoint(self.checkpoint, origin=origin, verifier_keys=verifier_keys)
        return self._verify_in(checkpoint, leaf_hash)

    def verify_by(self, history: KeyHistory, *, leaf_hash: bytes) -> Checkpoint:
        """Do the same with the keys of a log that may have changed: the one in force must have signed."""
        return self._verify_in(history.open(self.checkpoint), leaf_hash)

    def _verify_in(self, checkpoint: Checkpoint, leaf_hash: bytes) -> Checkpoint:
        merkle.verify_inclusion(
            leaf_hash=leaf_hash,
            index=self.index,
            size=checkpoint.size,
            path=self.path,
            root=checkpoint.root,
        )
        return checkpoint


def make_proof(entry: bytes, index: int, path: Sequence[bytes], checkpoint: bytes) -> TlogProof:
    """Return the proof of an entry, which it carries as `extra`, once it leads to the checkpoint's root.

    The checkpoint's signature isn't looked at: it is the log's own. Raises `ProofInvalid` if the path
    doesn't lead there, so that no log hands out a proof that nobody can verify.
    """
    claimed = peek_checkpoint(checkpoint)
    merkle.verify_inclusion(
        leaf_hash=merkle.leaf_hash(entry), index=index, size=claimed.size, path=path, root=claimed.root
    )
    return TlogProof(index=index, path=tuple(path), checkpoint=checkpoint, extra=entry)


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as problem:
        raise ProofInvalid(f"tlog-proof: {what} is not base64") from problem
    if base64.b64encode(data).decode() != text:
        raise ProofInvalid(f"tlog-proof: {what} is not canonical base64")
    return data


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or (len(text) > 1 and text[0] == "0"):
        raise ProofInvalid("tlog-proof: `index` is not a decimal number")
    return int(text)
