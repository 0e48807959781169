"""Checkpoints as C2SP tlog-checkpoint defines them: origin, size and root, in a signed note."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from comity.audit.errors import CheckpointInvalid, NoteInvalid
from comity.audit.merkle import EMPTY_ROOT, HASH_SIZE
from comity.audit.note import LogKey, VerifierKey, open_note, sign_note


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log's size and root (32 bytes) at one moment."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise CheckpointInvalid("checkpoint: the origin must be one line that is not empty")
        if self.size < 0 or self.size >= 1 << 63:
            raise CheckpointInvalid(f"checkpoint of `{self.origin}`: size `{self.size}` is out of range")
        if len(self.root) != HASH_SIZE:
            raise CheckpointInvalid(f"checkpoint of `{self.origin}`: a root has {HASH_SIZE} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointInvalid(
                f"checkpoint of `{self.origin}`: size 0 has another root than the empty tree"
            )

    @property
    def text(self) -> str:
        """The note's text: origin, decimal size and base64 root, a line each."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def sign(self, *keys: LogKey) -> bytes:
        """Return the checkpoint as a note signed with the log's keys, whose name must be the origin.

        It is one key, or two while one replaces the other.
        """
        for key in keys:
            if key.origin != self.origin:
                raise CheckpointInvalid(f"checkpoint of `{self.origin}`: the key is named `{key.origin}`")
        return sign_note(self.text, *keys)

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read the text of an opened note; further lines are extensions and ignored.

        Raises `CheckpointInvalid`.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:
            raise CheckpointInvalid("checkpoint: origin, size and root are expected, a line each")
        origin, size, root = lines[:3]
        if not size.isascii() or not size.isdecimal() or (len(size) > 1 and size[0] == "0") or len(size) > 19:
            raise CheckpointInvalid(f"checkpoint of `{origin}`: size `{size}` is not a decimal number")
        try:
            raw = base64.b64decode(root, validate=True)
        except ValueError as problem:
            raise CheckpointInvalid(f"checkpoint of `{origin}`: the root is not base64") from problem
        if base64.b64encode(raw).decode() != root:
            raise CheckpointInvalid(f"checkpoint of `{origin}`: the root is not canonical base64")
        return cls(origin=origin, size=int(size), root=raw)


def open_checkpoint(note: bytes, *, origin: str, verifier_keys: Iterable[VerifierKey | str]) -> Checkpoint:
    """Return the checkpoint in a note that a key of the log `origin` signed.

    Only keys named like the origin count. Raises `NoteInvalid`, or `CheckpointInvalid` if the note is of
    another log.
    """
    keys = [VerifierKey.parse(key) if isinstance(key, str) else key for key in verifier_keys]
    own = [key for key in keys if key.name == origin]
    if not own:
        raise NoteInvalid(f"checkpoint of `{origin}`: no verifier key of this origin is known")
    checkpoint = Checkpoint.parse(open_note(note, own).text)
    if checkpoint.origin != origin:
        raise CheckpointInvalid(f"checkpoint of `{checkpoint.origin}` where one of `{origin}` was expected")
    return checkpoint


def peek_checkpoint(note: bytes) -> Checkpoint:
    """Return what a note claims, **unverified**: for messages that say what was claimed, and nothing else."""
    try:
        body, separator, _ = note.decode().rpartition("\n\n")
    except UnicodeDecodeError as problem:
        raise CheckpointInvalid("checkpoint: it is not UTF-8") from problem
    if not separator:
        raise CheckpointInvalid("checkpoint: it is no signed note")
    return Checkpoint.parse(body + "\n")
