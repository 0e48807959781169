"""A running process's own credentials: which are in force, and how newer ones come into force.

The files are looked at while the process runs. What is new is judged as peers would judge it, and is put in
force whole, or not at all: then the old one stays, `fault` says why, and it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.certs import renewing
from comity.certs.clock import Clock
from comity.certs.credentials import EndCredentials, load_end
from comity.certs.errors import CertsError, CredentialsUnusable
from comity.certs.keys import SigningKey
from comity.certs.members import MemberView
from comity.certs.pairs import CHAIN_FILE, KEY_FILE, LINK, judge_pair
from comity.certs.renewing import NO_RENEWAL, Renewal, RenewalSettings
from comity.certs.watching import FileWatch, follow

__all__ = ["HEALTH_SERVICE", "LOOK_SECONDS", "NEXT_STATEMENT_KEY", "OwnCredentials", "load_own"]

NEXT_STATEMENT_KEY: Final = "statement.next.key"
"""The statement key that is to follow, in `keys/`, until the roster names it."""

SETTLE_SECONDS: Final = 30.0
"""How long a statement key waits after the roster named it: until everybody else has that roster, too."""

HEALTH_SERVICE: Final = "comity.credentials"
"""Under this name the health service of a broker or gateway tells whether its own credentials are well."""

LOOK_SECONDS: Final = 0.5
"""How often a process looks at its own files; what changed counts from the second look on."""

_log = logging.getLogger("comity.certs")


def load_own(home: Path, member: MemberView, *, now: datetime) -> EndCredentials:
    """Return an end's credentials at its start; raises as `EndCredentials.load` does.

    First a statement key that is to follow takes the place of one that counts no more. One that is revoked,
    with none to follow yet, is in force all the same: the process has to run to learn of the next one.
    """
    credentials = load_end(home)
    following, believed = home / "keys" / NEXT_STATEMENT_KEY, member.believed_keys_at(now)
    if credentials.statement.public in believed or not following.exists():
        return credentials
    if SigningKey.load(following).public not in believed:
        return credentials
    _put_in_place(following)
    return load_end(home)


def _put_in_place(following: Path) -> None:
    SigningKey.load(following).save(following.with_name("statement.key"))
    following.unlink(missing_ok=True)
    _log.info("the statement key that was to follow is in its place")


Taken = Callable[[EndCredentials, EndCredentials], Awaitable[None]]
"""(old, new): put what is new in force; raising leaves the old one."""


class OwnCredentials:
    """The credentials in force of one end."""

    def __init__(
        self,
        credentials: EndCredentials,
        *,
        home: Path,
        role: str,
        clock: Clock,
        renewal: RenewalSettings = NO_RENEWAL,
    ) -> None:
        self.current = credentials
        """Those in force."""
        self.fault = ""
        """Why what lies on disk is not in force; empty if it is."""
        self.on_health: list[Callable[[bool], None]] = []
        """Called with whether all is well, when that changes: the leaf is in time, usable and renewed."""
        self.renewal = Renewal(renewal, home=home, current=lambda: self.current, clock=clock)
        self._was_well = True
        self._named: tuple[str, datetime] | None = None
        self._home = home
        self._role = role
        self._clock = clock
        keys = home / "keys"
        self._files = FileWatch(
            (keys, CHAIN_FILE), (keys, KEY_FILE), (keys, f"{LINK}/*"), (keys, "statement.key")
        )
        self._files.doubt()
        self._looking = asyncio.Lock()

    @property
    def is_faulty(self) -> bool:
        """Whether what lies on disk can't be put in force."""
        return bool(self.fault)

    @property
    def renewal_failures(self) -> int:
        """Attempts to renew the leaf that failed since the last that worked."""
        return self.renewal.failures

    @property
    def is_well(self) -> bool:
        """Whether the leaf in force is in its time, nothing on disk is unusable, and no renewal fails."""
        return not self.fault and not self.renewal.is_failing and self.seconds_left > 0

    @property
    def seconds_left(self) -> float:
        """Seconds until the leaf in force, or the first certificate of its chain, expires; below 0 after."""
        return (self.current.not_after - self._clock()).total_seconds()

    def newer(self, member: MemberView) -> EndCredentials | None:
        """Return what lies on disk if it isn't in force yet, judged. Reads files: call it on a thread.

        Raises `CredentialsUnusable` for what can't be put in force, by whatever fault.
        """
        old = self.current
        try:
            self._promote(member)
            found = EndCredentials.load(self._home)
        except (CertsError, OSError) as error:
            raise CredentialsUnusable(str(error)) from error
        now = self._clock()
        if found.pair.fingerprint != old.pair.fingerprint:
            judge_pair(found.pair, member=member, role=self._role, now=now)
        same_key = found.statement.key_id == old.statement.key_id
        if not same_key and found.statement.public not in (member.key_set.statement_keys_at(now)):
            raise CredentialsUnusable(
                f"`keys/statement.key` is none that the roster names for `{member.agency}` now"
            )
        if found.pair.fingerprint == old.pair.fingerprint and same_key:
            return None
        return found

    def _promote(self, member: MemberView) -> None:
        """Have the statement key that is to follow take the old one's place, once everybody knows it.

        That is `SETTLE_SECONDS` after the roster that names it came to this end: others have it by then. At
        once where the old one is revoked, for that signs nothing any more.
        """
        following, now = self._home / "keys" / NEXT_STATEMENT_KEY, self._clock()
        if not following.exists():
            return
        key = SigningKey.load(following)
        if key.public not in member.key_set.statement_keys_at(now):
            return
        if self._named is None or self._named[0] != key.key_id:
            self._named = (key.key_id, now)
        is_settled = (now - self._named[1]).total_seconds() >= SETTLE_SECONDS
        if is_settled or member.revokes(self.current.statement.public):
            _put_in_place(following)

    def _waits(self) -> bool:
        """Whether a statement key waits for the roster; not as long as its folder can't be looked at."""
        with contextlib.suppress(OSError):
            return (self._home / "keys" / NEXT_STATEMENT_KEY).exists()
        return False

    async def look(self, member: MemberView, taken: Taken) -> bool:
        """Put in force what is new and good; return whether there was anything.

        Raises `CredentialsUnusable` for what isn't, and what `taken` raises; what was in force then stays. Of
        several looks one is made after the other.
        """
        async with self._looking:
            return await self._look(member, taken)

    async def _look(self, member: MemberView, taken: Taken) -> bool:
        try:
            found = await asyncio.to_thread(self.newer, member)
        except CredentialsUnusable as error:
            self.fault = str(error)
            raise
        self.fault = ""
        if found is None:
            return False
        old = self.current
        await taken(old, found)
        self.current = found
        _log.info(
            "in force: leaf %s of `%s`, until %s UTC",
            found.pair.fingerprint[:8].hex(),
            found.spiffe_id,
            f"{found.not_after:%Y-%m-%d %H:%M}",
        )
        return True

    async def follow(
        self, member: Callable[[], MemberView], taken: Taken, *, faults: tuple[type[Exception], ...]
    ) -> None:
        """Look whenever a file changes, and renew the leaf when it is due, until cancelled.

        `faults`: what `taken` may raise and is tried again. A fault is said in the log, and again when it is
        another one.
        """

        async def look() -> None:
            await self.look(member(), taken)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew(member, taken, (CertsError, *faults)))
            tasks.create_task(
                follow(
                    self._files,
                    look,
                    seconds=LOOK_SECONDS,
                    faults=(CertsError, *faults),
                    log=_log,
                    what="the own certificate or key on disk",
                )
            )

    async def _renew(
        self, member: Callable[[], MemberView], taken: Taken, faults: tuple[type[Exception], ...]
    ) -> None:
        """Renew the leaf when it is due, and tell whether all is well, until cancelled.

        A statement key that waits for the roster is looked at as well: no file changes when that names it.
        """
        while True:
            await asyncio.sleep(renewing.LOOK_SECONDS)
            await self.renewal.look()
            if self._waits():
                with contextlib.suppress(*faults):  # said by the one that looks at the files
                    await self.look(member(), taken)
            if self.is_well != self._was_well:
                self._was_well = not self._was_well
                for told in self.on_health:
                    told(self._was_well)
