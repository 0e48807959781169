"""What a member may change of its entry in the roster by a new application, and what only by other means.

Keys go on: a key set counts up, a log's key gives way to one that was announced, and an identity key to one
for which it vouches (`successions`). Whatever appears at a stroke has to be confirmed to the authority.
"""

from __future__ import annotations

from datetime import datetime

from comity.certs.errors import ApplicationInvalid
from comity.certs.instants import CLOCK_SKEW
from comity.certs.members import EarlierLogKeyView, LogKeyView, MemberView
from comity.certs.revocations import RevokedOf, key_digest


def check_update(
    known: MemberView, applied: MemberView, *, revoked: RevokedOf, now: datetime, new_identity: bool
) -> None:
    """Raise `ApplicationInvalid` unless `applied` may take the place of `known`."""
    goes_on = _goes_on(known, applied, revoked, now)
    if not goes_on and not new_identity:
        raise ApplicationInvalid(
            f"application: `{applied.agency}` is a member with another identity key, and no succession leads "
            "from that to this one; if it has confirmed the new one by other means, say so with "
            "`--new-identity`"
        )
    older, newer = known.key_set, applied.key_set
    if goes_on and (
        newer.version < older.version or (newer.version == older.version and newer.digest != older.digest)
    ):
        raise ApplicationInvalid(
            f"application: key set of `{applied.agency}` has version {newer.version}, expected more than "
            f"{older.version}"
        )
    if goes_on:
        for log_key in older.log_keys:
            for follower in newer.log_keys:
                if follower.origin == log_key.origin:
                    _check_log_key(log_key, follower)


def _goes_on(known: MemberView, applied: MemberView, revoked: RevokedOf, now: datetime) -> bool:
    """Return whether the applicant's identity key is the known one, or one for which that vouches.

    Raises `ApplicationInvalid` for successions that aren't those known, with new ones after them; for one
    that isn't in force yet; and for one of a key that is revoked.
    """
    count = len(known.successions)
    before, new = applied.successions[:count], applied.successions[count:]
    if [step.digest for step in before] != [step.digest for step in known.successions]:
        if known.identity_key == applied.identity_key:
            raise ApplicationInvalid(
                f"application: `{applied.agency}` leaves out or changes a succession of its identity key "
                "that was published before"
            )
        return False
    if not new:
        return known.identity_key == applied.identity_key
    if new[0].old != known.identity_key:
        return False
    for step in new:
        gone = revoked.public_keys.get(key_digest(step.old.der))
        if gone is not None:  # whenever it vouched by its own word: who has it can date that back
            raise ApplicationInvalid(
                f"application: the former identity key of `{applied.agency}` is {gone}: it vouches for no "
                "new one"
            )
        if step.effective_at > now + CLOCK_SKEW:
            raise ApplicationInvalid(
                f"application: the new identity key of `{applied.agency}` counts from "
                f"{step.effective_at:%Y-%m-%d %H:%M} UTC: admit it then"
            )
    return True


def _check_log_key(known: LogKeyView, applied: LogKeyView) -> None:
    """Raise `ApplicationInvalid` unless the keys of a log go on: no key appears and signs at a stroke."""
    before = (*known.earlier, EarlierLogKeyView(verifier_key=known.verifier_key, last_size=0))
    if applied.verifier_key == known.verifier_key and applied.earlier == known.earlier:
        return
    follows = bool(known.next_verifier_key) and applied.verifier_key == known.next_verifier_key
    keys = [key.verifier_key for key in applied.earlier]
    kept = applied.earlier[: len(known.earlier)] == known.earlier
    if follows and kept and keys == [key.verifier_key for key in before]:
        return
    raise ApplicationInvalid(
        f"application: log `{known.origin}` changes its key at a stroke; one that was named before as the "
        "one to follow is right (`comity audit rotate-key`)"
    )
