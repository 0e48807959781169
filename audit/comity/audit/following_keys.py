"""An end's log follows the keys that the roster names for it, at the start and with each new roster."""

import asyncio
import logging
from pathlib import Path

from comity.audit.errors import LogKeyMismatch
from comity.audit.log import SignedLog
from comity.audit.log_keys import NEXT_KEY_FILE, LogKeys, Step, keep_following, next_step
from comity.certs.errors import CertsError
from comity.certs.roster import Federation, LogKeyView

_logger = logging.getLogger(__name__)


async def follow_roster(log: SignedLog, folder: Path, federation: Federation) -> None:
    """Do what the roster in force wants done with the log's keys in an end's `keys/` folder.

    Each step is done once and can be cut short anywhere: what is left of it is done at the next start or
    roster. A roster that doesn't name the log (any more) wants nothing. Raises `LogKeyMismatch` if the key
    in force is not at hand, and what `SignedLog.rotate_key` raises.
    """
    named = _named(federation, log.origin)
    if named is None:
        return
    try:
        keys = await asyncio.to_thread(LogKeys.load, folder, log.origin)
    except CertsError as error:
        raise LogKeyMismatch(str(error)) from error
    match next_step(keys, named):
        case Step.STAY:
            return
        case Step.LACK:
            _logger.error(
                "`keys/%s` is not the log key that is to follow, as the roster names it: the old one stays",
                NEXT_KEY_FILE,
            )
        case Step.TAKE_OVER:
            assert keys.following is not None
            if log.verifier_key != keys.following.verifier_key:
                await log.rotate_key(keys.following)
                _logger.info("the log's key was replaced; both sign until the roster names the new one alone")
        case Step.DROP_OLD:
            if log.verifier_key != named.verifier_key:
                raise LogKeyMismatch(
                    f"log `{log.origin}`: the roster names its new key alone, which no entry put in force"
                )
            log.drop_old_key()
            try:
                await asyncio.to_thread(keep_following, folder)
            except OSError as error:
                raise LogKeyMismatch(f"`{folder}`: the log's old key can't be removed: {error}") from error
            _logger.info("the log's old key is gone; the new one signs alone")


def _named(federation: Federation, origin: str) -> LogKeyView | None:
    """Return what the roster says of a log's keys."""
    for member in (federation.operator, *federation.members.values()):
        for log_key in member.key_set.log_keys:
            if log_key.origin == origin:
                return log_key
    return None
