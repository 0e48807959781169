"""An end's log follows the keys that the roster names for it, at the start and with each new roster."""

import asyncio
import logging
from pathlib import Path

from comity.audit.errors import LogKeyMismatch
from comity.audit.log import SignedLog
from comity.audit.log_keys import LogKeys, Step, keep_following, next_step
from comity.certs.roster import LogKeyView

_logger = logging.getLogger(__name__)


async def follow_roster(log: SignedLog, folder: Path, named: LogKeyView) -> None:
    """Do what the roster's entry of this log wants done with the keys in an end's `keys/` folder.

    Each step is done once and can be cut short anywhere: what is left of it is done at the next start or
    roster. Raises `LogKeyMismatch` if keys that the roster names are not at hand, and what
    `SignedLog.rotate_key` raises.
    """
    keys = await asyncio.to_thread(LogKeys.load, folder, log.origin)
    match next_step(keys, named):
        case Step.STAY:
            return
        case Step.TAKE_OVER:
            assert keys.following is not None
            if log.verifier_key != keys.following.verifier_key:
                await log.rotate_key(keys.following)
                _logger.info(
                    "the log's key was replaced; both keys sign until the roster names the new alone"
                )
        case Step.DROP_OLD:
            if log.verifier_key != named.verifier_key:
                raise LogKeyMismatch(
                    f"log `{log.origin}`: the roster names its new key alone, which no entry put in force"
                )
            log.drop_old_key()
            await asyncio.to_thread(keep_following, folder)
            _logger.info("the log's old key is gone; the new one signs alone")
