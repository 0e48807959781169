"""How old a process's roster has become: told long before it ends, while its source is away.

An end goes on with the roster that it has while nothing newer can be had, until the roster's or its
timestamp's time is over: from then on it serves nothing, so that nobody can freeze it on an old one. Without
a word before, that end comes as a surprise. So the log of the process says it when 70 % and when 90 % of
either time are over, once each, and again when the time is over; and that a newer one has come. The same of
the own agency's list of revocations, if it has one: past its next update it asks and answers nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from comity.certs.clock import Clock
from comity.certs.keys import VerifyKey
from comity.certs.profile import load_certificate
from comity.certs.roster import Federation

__all__ = ["RosterAge"]

WARN_AT: Final = 0.7
"""The share of a roster's time after which a newer one is missed."""
ALARM_AT: Final = 0.9
"""The share after which it is said as an error."""
LOOK_SECONDS: Final = 5.0

_Told = tuple[int, datetime, int]


class RosterAge:
    """Watches the roster in force of one process."""

    def __init__(
        self,
        federation: Callable[[], Federation],
        *,
        agency: str,
        statement: Callable[[], VerifyKey],
        clock: Clock,
    ) -> None:
        """`federation` returns the roster in force, and `statement` the own statement key, at each look.

        `agency` is whose process this is.
        """
        self._federation = federation
        self._statement = statement
        self._agency = agency
        self._clock = clock
        self._log = logging.getLogger("comity.certs")
        self._told: _Told | None = None
        self._told_list: tuple[int, int] = (0, 0)
        """Version and stage of the own list of revocations that was told last."""

    @property
    def seconds_left(self) -> float:
        """Seconds until roster or timestamp in force end, whichever is first; below 0 after."""
        return (self._federation().trusted_until - self._clock()).total_seconds()

    def own_left(self) -> Mapping[str, float]:
        """Return how many seconds the newest own `ca`, the `statement_key` in use and own `revocations` last.

        Without what the roster doesn't name, and a list that the agency never signed.
        """
        federation = self._federation()
        operator = federation.operator
        member = operator if self._agency == operator.agency else federation.members.get(self._agency)
        if member is None:
            return {}
        keys, now, statement = member.key_set, self._clock(), self._statement()
        ends = {
            "ca": [load_certificate(der).not_valid_after_utc for der in keys.ca_certificates],
            "statement_key": [valid.not_after for valid in keys.statement_keys if valid.key == statement],
        }
        listed = federation.own_lists.get(self._agency)
        ends["revocations"] = [] if listed is None else [listed.next_update]
        return {kind: (max(until) - now).total_seconds() for kind, until in ends.items() if until}

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Say what has to be said now and hasn't been said yet of the roster in force."""
        federation, now = self._federation(), self._clock()
        self._look_at_list(federation, now)
        stage = _stage(federation, now)
        told, self._told = self._told, (federation.version, federation.trusted_until, stage)
        if stage == 0:
            if told is not None and told[2] > 0:
                self._log.info(
                    "a newer roster is in force: version %d, until %s", federation.version, _until(federation)
                )
            return
        if told is not None and told == self._told:
            return
        if stage == 3:
            self._log.error(
                "THE ROSTER IS PAST ITS TIME since %s: nothing is asked, answered or linked until a newer "
                "one is here; the authority signs it with `comity federation refresh`",
                _until(federation),
            )
            return
        level = logging.ERROR if stage == 2 else logging.WARNING
        self._log.log(
            level,
            "no newer roster has come: version %d is trusted until %s, for %s more, and nothing is served "
            "after that. Is its source away, or was it not refreshed (`comity federation refresh`)?",
            federation.version,
            _until(federation),
            _spelled(federation.trusted_until - now),
        )

    def _look_at_list(self, federation: Federation, now: datetime) -> None:
        """Say once that the agency has to sign its own list anew; that it lapsed is said by who reads it."""
        listed = federation.own_lists.get(self._agency)
        if listed is None:
            return
        share = (now - listed.signed_at) / (listed.next_update - listed.signed_at)
        stage = sum(share >= limit for limit in (WARN_AT, ALARM_AT, 1.0))
        told, self._told_list = self._told_list, (listed.version, stage)
        if stage in (0, 3) or told == self._told_list:
            return
        self._log.log(
            logging.ERROR if stage == 2 else logging.WARNING,
            "the own list of revocations, version %d, ends at %s, in %s: `%s` asks and answers nothing after "
            "that; sign it anew (comity certs revoke --dir AGENCY --refresh)",
            listed.version,
            f"{listed.next_update:%Y-%m-%d %H:%M:%S}Z",
            _spelled(listed.next_update - now),
            self._agency,
        )


def _stage(federation: Federation, now: datetime) -> int:
    """Return 0 while all is well, 1 after 70 % of either document's time, 2 after 90 %, 3 after it."""
    if now >= federation.trusted_until:  # the list of revocations may end first
        return 3
    shares = [
        (now - since) / (until - since)
        for since, until in (
            (federation.signed_at, federation.expires_at),
            (federation.stamped_at, federation.timestamp_expires_at),
        )
        if until > since
    ]
    share = max(shares, default=1.0)
    return sum(share >= limit for limit in (WARN_AT, ALARM_AT, 1.0))


def _until(federation: Federation) -> str:
    return f"{federation.trusted_until:%Y-%m-%d %H:%M:%S}Z"


def _spelled(left: timedelta) -> str:
    hours = int(left.total_seconds()) // 3600
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
