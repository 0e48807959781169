"""The keys with which an end signs its log: one, or two while one replaces the other.

::

    HOME/keys/log.key         the key in force, or the old one of two
    HOME/keys/log.next.key    the key that is to follow, while there is one

What is to be done with the second is said by the end's own key set in the roster (`follow_roster`), which its
agency's identity key signed: so nobody who only gets at an end's files can replace its log's key.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from comity.audit.errors import LogDamaged, LogKeyMismatch
from comity.audit.note import LogKey
from comity.audit.summary import ReplacedKey
from comity.certs.roster import LogKeyView

KEY_FILE = "log.key"
NEXT_KEY_FILE = "log.next.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeys:
    """The keys at hand: `following` is to replace `key`, or has done so and both still sign."""

    key: LogKey
    following: LogKey | None = None

    @classmethod
    def load(cls, folder: Path, origin: str) -> "LogKeys":
        """Read an end's log keys from its `keys/` folder. Raises as `LogKey.load` does."""
        following = folder / NEXT_KEY_FILE
        return cls(
            key=LogKey.load(folder / KEY_FILE, origin),
            following=LogKey.load(following, origin) if following.exists() else None,
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The verifier key lines, the older first."""
        return tuple(key.verifier_key for key in (self.key, self.following) if key is not None)

    def in_force(self, replaced: Sequence[ReplacedKey]) -> LogKey:
        """Return the key without which no checkpoint that covers these replacements counts.

        Raises `LogDamaged` if it isn't at hand.
        """
        if not replaced:
            return self.key
        for key in (self.key, self.following):
            if key is not None and key.verifier_key == replaced[-1].new:
                return key
        raise LogDamaged(
            f"log `{self.key.origin}`: entry {replaced[-1].index} put a key in force that is not at hand: "
            f"`keys/{NEXT_KEY_FILE}` is missing"
        )

    def signers(self, replaced: Sequence[ReplacedKey]) -> tuple[LogKey, ...]:
        """Return the keys that sign a checkpoint covering these replacements: the old one too, if at hand."""
        key = self.in_force(replaced)
        return (self.key, key) if key is self.following else (key,)


class Step(Enum):
    """What an end does with its log's keys, by what the roster says of them."""

    STAY = auto()
    """Go on with the key in force."""
    TAKE_OVER = auto()
    """Log that the following key takes over, and sign with both."""
    LACK = auto()
    """Go on with the key in force, for the one that is to follow isn't at hand: somebody must be told."""
    DROP_OLD = auto()
    """Sign with the following key alone, and keep it as the only one."""


def next_step(keys: LogKeys, named: LogKeyView) -> Step:
    """Return what the roster has an end do with these keys.

    Raises `LogKeyMismatch` if the one in force isn't at hand: nobody would believe what the end signs.
    """
    following = keys.following.verifier_key if keys.following is not None else ""
    if named.verifier_key == keys.key.verifier_key:
        if not named.next_verifier_key:
            return Step.STAY
        return Step.TAKE_OVER if named.next_verifier_key == following else Step.LACK
    if following and named.verifier_key == following:
        return Step.DROP_OLD
    raise LogKeyMismatch(f"`keys/{KEY_FILE}` is not the log key that the roster names for `{named.origin}`")


def keep_following(folder: Path) -> None:
    """Put the following key in the old one's place, durably: the old one is gone when this returns."""
    (folder / NEXT_KEY_FILE).replace(folder / KEY_FILE)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
