"""Which key of a log signs which of its checkpoints: a log outlives its keys.

A key gives way to the next with an entry `key_rotated` (`rotation`). If it stands at index 400::

    checkpoints of up to 400 entries    the old key
    checkpoints of 401 entries and more the new key; beside it the old one, as long as the two overlap

So a checkpoint that covers the entry and bears the old key's signature alone counts for nothing: whoever
found the old key can't go on writing. Nor does one of the new key alone that doesn't cover the entry: with a
new key nobody can write the log anew from its beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from comity.audit.checkpoint import Checkpoint
from comity.audit.errors import CheckpointInvalid, KeyNotInForce, NoteInvalid
from comity.audit.note import VerifierKey, note_signers, open_note
from comity.audit.rotation import Rotation
from comity.certs.roster import LogKeyView


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHistory:
    """The keys of one log, the oldest first, as a roster names them or as the log itself proves them."""

    origin: str
    keys: tuple[VerifierKey, ...]
    last_sizes: tuple[int, ...] = ()
    """Of the first keys: the size of the largest checkpoint that each signs alone.

    Of the keys after them this isn't known, and any of them will do.
    """
    is_ordered: bool = True
    """Whether the order is known: a tlog-policy file has none (C2SP tlog-policy, `Structure`)."""

    @classmethod
    def named(cls, view: LogKeyView) -> "KeyHistory":
        """Return the history that a member's key set names for one of its logs."""
        return cls(
            origin=view.origin,
            keys=tuple(VerifierKey.parse(line) for line in view.all),
            last_sizes=tuple(key.last_size for key in view.earlier),
        )

    def open(self, note: bytes) -> Checkpoint:
        """Return the checkpoint in a note that the key in force at its size signed.

        Signatures of unknown keys are ignored, wrong ones of known keys reject the note (C2SP signed-note).
        Raises `KeyNotInForce` if it was another key of the log, else `NoteInvalid`, or `CheckpointInvalid` if
        the note is of another log.
        """
        return self.open_signed(note)[0]

    def open_signed(self, note: bytes) -> tuple[Checkpoint, tuple[VerifierKey, ...]]:
        """Return the same, and the keys of the log that signed it."""
        if not self.keys:
            raise NoteInvalid(f"checkpoint of `{self.origin}`: no verifier key of this origin is known")
        opened = open_note(note, self.keys)
        checkpoint = Checkpoint.parse(opened.text)
        if checkpoint.origin != self.origin:
            raise CheckpointInvalid(
                f"checkpoint of `{checkpoint.origin}` where one of `{self.origin}` was expected"
            )
        self.check_in_force(checkpoint.size, opened.signers)
        return checkpoint, opened.signers

    def check_in_force(self, size: int, signers: Sequence[VerifierKey]) -> None:
        """Check that the key in force at a size is among those that signed. Raises `KeyNotInForce`."""
        if not self.is_ordered:
            return
        ended = sum(size > last for last in self.last_sizes)
        is_newest = ended == len(self.last_sizes)
        wanted = self.keys[ended:] if is_newest else self.keys[ended : ended + 1]
        if any(key in signers for key in wanted):
            return
        of = f"checkpoint of `{self.origin}`: of {size} entries and signed by"
        if any(key in signers for key in self.keys[:ended]):
            raise KeyNotInForce(f"{of} an old key alone, which entry {self.last_sizes[ended - 1]} replaced")
        if is_newest:
            raise KeyNotInForce(f"{of} a key that no entry of the log put in force")
        raise KeyNotInForce(f"{of} a new key alone, which entry {self.last_sizes[ended]} put in force")

    def proven_by(self, rotations: Sequence[Rotation]) -> "KeyHistory":
        """Return the history that a log's own `key_rotated` entries, all of them, prove: it is exact.

        Each must replace the key in force before it by the one that is to follow. Raises `KeyNotInForce`.
        """
        if not self.is_ordered:
            return self._ordered_by(rotations)
        for number, rotation in enumerate(rotations):
            where = f"entry {rotation.index} of `{self.origin}`"
            if rotation.old != self.keys[number]:
                raise KeyNotInForce(f"{where}: it replaces a key that was not in force")
            if number + 1 >= len(self.keys) or rotation.new != self.keys[number + 1]:
                raise KeyNotInForce(
                    f"{where}: it puts a key in force that the trust file (an older one?) does not name"
                )
            if number < len(self.last_sizes) and rotation.index != self.last_sizes[number]:
                raise KeyNotInForce(
                    f"{where}: the trust file says that entry {self.last_sizes[number]} replaced the key"
                )
        return KeyHistory(
            origin=self.origin,
            keys=self.keys[: len(rotations) + 1],
            last_sizes=tuple(rotation.index for rotation in rotations),
        )

    def _ordered_by(self, rotations: Sequence[Rotation]) -> "KeyHistory":
        if not rotations:
            return self
        keys = [rotations[0].old]
        for rotation in rotations:
            where = f"entry {rotation.index} of `{self.origin}`"
            if rotation.old != keys[-1]:
                raise KeyNotInForce(f"{where}: it replaces a key that was not in force")
            if not {rotation.old, rotation.new} <= set(self.keys) or rotation.new in keys:
                raise KeyNotInForce(f"{where}: the trust file does not name both keys of it")
            keys.append(rotation.new)
        return KeyHistory(
            origin=self.origin,
            keys=tuple(keys),
            last_sizes=tuple(rotation.index for rotation in rotations),
        )


def check_goes_on(before: bytes, note: bytes, verifier_keys: Sequence[str]) -> None:
    """Check that a log's checkpoint is signed by as new a key as a smaller one, seen before, was.

    The keys are the log's, the older first; both notes were verified. Raises `KeyNotInForce`.
    """
    keys = [(key.name, key.hash) for key in map(VerifierKey.parse, verifier_keys)]
    then, now = note_signers(before), note_signers(note)
    newest = max((place for place, key in enumerate(keys) if key in then), default=0)
    if not any(key in now for key in keys[newest:]):
        raise KeyNotInForce(
            f"checkpoint of `{keys[newest][0]}`: signed by an old key alone, after the new one had signed"
        )
