"""The entry `key_rotated`, with which the key of a log gives way to the next (L2).

::

    {"at":…,"kind":"key_rotated","new_key":"lapd.example/adapter+5e…","note":…,"old_key":"lapd.example/adapter+1f…","v":1}

`note` is a checkpoint of the log as it was shortly before, with one extension line, signed by both keys::

    lapd.example/adapter
    400
    1B2M2Y8AsgTpgAmY7PhCfg…=
    key_rotated lapd.example/adapter+1f… lapd.example/adapter+5e…

    — lapd.example/adapter …      the old key: it gives way
    — lapd.example/adapter …      the new key: it is at hand, and takes over this very log

The old key's signature under that line is what nobody has who only holds the new key, and no checkpoint of
the old key can be made to pass for it. The note is a true checkpoint of the log, so it forks nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from comity.audit.canonical import JsonValue
from comity.audit.checkpoint import Checkpoint
from comity.audit.entry import KEY_ROTATED, Entry
from comity.audit.errors import CheckpointInvalid, NoteInvalid
from comity.audit.note import LogKey, VerifierKey, open_note, sign_note

OTHER_BEGINNING = "what both keys signed is of a log with another beginning than this one's"
"""The finding about a rotation whose checkpoint is not one of the log in which it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What a `key_rotated` entry says, both signatures verified."""

    index: int
    """Of the entry: checkpoints that cover it need the new key's signature."""
    old: VerifierKey
    new: VerifierKey
    checkpoint: Checkpoint
    """What both keys signed: its size is at most the index, and its root must be that of the log."""


def rotation_entry(checkpoint: Checkpoint, *, old: LogKey, new: LogKey, at: datetime) -> Entry:
    """Return the entry with which `new` takes over from `old`, after what the checkpoint covers.

    Raises `CheckpointInvalid` unless both keys are named like the checkpoint's origin.
    """
    for key in (old, new):
        if key.origin != checkpoint.origin:
            raise CheckpointInvalid(f"checkpoint of `{checkpoint.origin}`: the key is named `{key.origin}`")
    note = sign_note(checkpoint.text + _line(old.verifier, new.verifier), old, new)
    return Entry(
        kind=KEY_ROTATED,
        at=at,
        public={"old_key": old.verifier_key, "new_key": new.verifier_key, "note": note.decode()},
    )


def read_rotation(public: Mapping[str, JsonValue], *, index: int, origin: str) -> Rotation:
    """Return what the public fields of a `key_rotated` entry at an index say, both signatures verified.

    Whether these keys may follow each other is for `KeyHistory`, whether the root is that of the log for
    whoever has the tree. Raises `NoteInvalid`.
    """
    old, new, note = (public.get(name) for name in ("old_key", "new_key", "note"))
    if not isinstance(old, str) or not isinstance(new, str) or not isinstance(note, str):
        raise NoteInvalid("`old_key`, `new_key` and `note` of the new key are missing")
    keys = (VerifierKey.parse(old), VerifierKey.parse(new))
    if keys[0] == keys[1] or any(key.name != origin for key in keys):
        raise NoteInvalid("`old_key` and `new_key` are not two keys of this log")
    opened = open_note(note.encode(errors="surrogatepass"), keys)
    missing = [name for name, key in zip(("old", "new"), keys, strict=True) if key not in opened.signers]
    if missing:
        raise NoteInvalid(f"the {missing[0]} key did not sign that the key is replaced")
    checkpoint = Checkpoint.parse(opened.text)
    if opened.text != checkpoint.text + _line(*keys) or checkpoint.origin != origin:
        raise NoteInvalid("what both keys signed is not the replacement of this log's key")
    if checkpoint.size > index:
        raise NoteInvalid(f"both keys signed a checkpoint of {checkpoint.size} entries, which is too large")
    return Rotation(index=index, old=keys[0], new=keys[1], checkpoint=checkpoint)


def _line(old: VerifierKey, new: VerifierKey) -> str:
    return f"key_rotated {old.line} {new.line}\n"
