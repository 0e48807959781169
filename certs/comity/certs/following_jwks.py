"""A running gateway follows what its agency's identity provider publishes; who asks never waits for it.

`check` looks at memory alone, in the path of every question. `run` fetches beside it: at the start, then as
often as the settings and the server's `Cache-Control` say. A `kid` that the set in force doesn't have brings
the next look forward, at most once in `EARLY`, and the same one once in `REMEMBERED`: so a flood of made-up
ones costs the provider two fetches a minute while they are new, and none once `MOST_UNKNOWN` are remembered.

A set that can't be fetched, doesn't parse, or has no ES256 key changes nothing: the one before goes on, and
that is said at once and then each hour.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from comity.certs.clock import Clock
from comity.certs.errors import CertsError, FileUnusable, JwksUnavailable, KeyUnusable
from comity.certs.jwks import read_es256_keys
from comity.certs.jwks_source import Fetched, JwksRequest, JwksSettings
from comity.certs.keys import VerifyKey
from comity.certs.members import MemberView
from comity.certs.published_keys import (
    Compared,
    Published,
    compare,
    load_published,
    named_keys,
    save_published,
    shown,
)

__all__ = ["PublishedKeys"]

MOST_TOLD: Final = 8
"""Keys that the roster doesn't name of which the log tells at a time: a set has hundreds at most."""
LOOK_SECONDS: Final = 0.5
"""How often it is looked whether a fetch is due."""
EARLY: Final = timedelta(seconds=30)
"""From one attempt to one that an unknown `kid` brings forward, at least."""
LEAST: Final = timedelta(seconds=30)
"""A server's `max-age` below this counts as this."""
REMEMBERED: Final = timedelta(minutes=10)
"""As long as an assertion may live: so long a `kid` that was unknown brings nothing forward again."""
MOST_UNKNOWN: Final = 1024
"""Unknown ones that are remembered; while there are so many, nothing is brought forward."""
FILE_AFTER: Final = timedelta(seconds=5)
"""A file is read again at least so often."""
KEEP_AFTER: Final = timedelta(minutes=1)
"""A set that is the same as before is kept on disk again after so long, with the newer time."""
REMIND_AFTER: Final = timedelta(hours=1)
FIRST_SECONDS: Final = 3.0
"""How long a start waits for the first fetch."""

_log = logging.getLogger("comity.certs")


class PublishedKeys:
    """The published keys of one identity provider, as one gateway follows them."""

    def __init__(
        self,
        settings: JwksSettings,
        *,
        issuer: str,
        home: Path,
        member: Callable[[], MemberView | None],
        clock: Clock,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`member` returns the own agency by the roster in force; `home` keeps the set between two starts."""
        self._kept_at: datetime | None = None
        self._settings = settings
        self._home = home
        self._member = member
        self._clock = clock
        self._draw = draw
        self._early = False
        self._last: tuple[bytes, Mapping[str, VerifyKey]] | None = None
        self._is_unnamed = False
        """The roster names the issuer no more, and that was told."""
        self._tried_at: datetime | None = None
        self._unknown: OrderedDict[bytes, datetime] = OrderedDict()
        self._said: tuple[str, datetime] | None = None
        self._looked = asyncio.Event()
        self.failures = 0
        """Attempts that failed since the last that worked."""
        self.compared = Compared()
        """Where the set in force and the roster differed at the last look."""
        self.current = Published(
            source=settings.source, issuer=issuer, keys={}, fetched_at=None, next_at=clock()
        )
        """The set in force."""
        try:
            kept = load_published(home, source=settings.source)
        except CertsError as error:
            _log.error("%s; the roster alone decides until the identity provider's set was fetched", error)
        else:
            if kept is not None and kept.issuer == issuer:
                self.current = replace(kept, next_at=clock())

    @property
    def _refresh(self) -> timedelta:
        """How long it is at most from one look to the next."""
        settings = self._settings
        return settings.refresh if settings.file is None else min(settings.refresh, FILE_AFTER)

    @property
    def seconds_old(self) -> float | None:
        """Seconds since the source last gave the set in force; None: never."""
        fetched_at = self.current.fetched_at
        return None if fetched_at is None else (self._clock() - fetched_at).total_seconds()

    @property
    def unlisted(self) -> int:
        """Keys that are published and not in the roster."""
        return len(self.compared.unlisted)

    @property
    def withdrawn(self) -> int:
        """Keys that the roster names and that aren't published."""
        return len(self.compared.withdrawn)

    def check(self, issuer: str, kid: str, named: VerifyKey | None) -> None:
        """Raise `AssertionInvalid` unless this issuer publishes the key that the roster has under `kid`.

        `named` is that key; None: the roster has none. Of another issuer, or before the first set, nothing
        is known, and what the roster names counts. Reads memory alone.
        """
        current = self.current
        if issuer == current.issuer and current.is_known and kid not in current.keys:
            self._bring_forward(kid)
        current.check(issuer, kid, named)

    def _bring_forward(self, kid: str) -> None:
        """Have the next look come early, unless this `kid`, or too many others, did that already."""
        now, digest = self._clock(), hashlib.sha256(kid.encode(errors="surrogatepass")).digest()
        while self._unknown and not timedelta() <= now - next(iter(self._unknown.values())) < REMEMBERED:
            self._unknown.popitem(last=False)
        if digest not in self._unknown and len(self._unknown) < MOST_UNKNOWN:
            self._unknown[digest] = now
            self._early = True

    async def run(self) -> None:
        """Look whether a fetch is due, until cancelled."""
        while True:
            await self.look()
            self._looked.set()
            await asyncio.sleep(LOOK_SECONDS)

    async def first(self) -> None:
        """Return once `run` has looked for the first time, or after a few seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._looked.wait()

    async def look(self) -> None:
        """Fetch if it is due, or brought forward; and say where the set and the roster differ now."""
        if self._is_due(self._clock()):
            await self._fetch()
        self._compare()

    def _is_due(self, now: datetime) -> bool:
        if self._tried_at is None or now < self._tried_at or now >= self.current.next_at:
            return True
        return self._early and not self.failures and now >= self._tried_at + EARLY

    async def _fetch(self) -> None:
        self._early, self._tried_at = False, self._clock()
        request = JwksRequest(self._settings)
        try:
            fetched = await asyncio.to_thread(request.run)
            keys = await self._read(fetched.jwks)
        except JwksUnavailable as error:
            await self._fail(str(error))
            return
        except KeyUnusable as error:
            await self._fail(f"`{self._settings.source}`: {error}")
            return
        finally:
            request.cut()
        if self.failures:
            _log.info("the keys of `%s` were fetched again", self.current.issuer)
        now = self._clock()
        self.failures, self._said = 0, None
        before, self.current = (
            self.current,
            replace(self.current, keys=keys, fetched_at=now, next_at=now + self._wait(fetched), failing=""),
        )
        kept_at = self._kept_at
        if before.failing or before.keys != keys or kept_at is None or not now - kept_at < KEEP_AFTER:
            await self._keep()

    async def _read(self, jwks: bytes) -> Mapping[str, VerifyKey]:
        """Return the keys of a set; another than the last is read beside the loop, and takes its place."""
        if self._last is None or self._last[0] != jwks:
            self._last = jwks, await asyncio.to_thread(read_es256_keys, jwks)
        return self._last[1]

    async def _fail(self, why: str) -> None:
        """Go on with the set before; say it the first time, when it is another failure, and each hour."""
        now = self._clock()
        self.failures += 1
        wait = min(self._refresh, timedelta(seconds=2) * 2 ** min(self.failures, 16))
        is_new = why != self.current.failing
        self.current = replace(self.current, failing=why, next_at=now + wait * (0.5 + self._draw() / 2))
        if is_new:
            await self._keep()
        if self._said is not None and self._said[0] == why and now - self._said[1] < REMIND_AFTER:
            return
        self._said = (why, now)
        fetched_at = self.current.fetched_at
        _log.error(
            "THE IDENTITY PROVIDER'S KEYS ARE NOT TAKEN from %s; %s",
            why,
            "the roster alone decides, a withdrawn key is not noticed"
            if fetched_at is None
            else f"the set of {fetched_at:%F %H:%M} UTC goes on",
        )

    def _wait(self, fetched: Fetched) -> timedelta:
        """Return how long a set is fresh: as its server says, within bounds, or a tenth less."""
        refresh = self._refresh
        said = refresh if fetched.max_age is None else max(fetched.max_age, LEAST)
        return min(said, refresh) * (0.9 + self._draw() / 10)

    async def _keep(self) -> None:
        self._kept_at = self._clock()
        try:
            await asyncio.to_thread(save_published, self._home, self.current)
        except FileUnusable as error:
            _log.error("the identity provider's keys are not kept for the next start: %s", error)

    def _compare(self) -> None:
        """Say where the set in force and the roster differ, once for each difference."""
        current = self.current
        member = self._member()
        if member is None or not current.is_known:
            return
        listed = named_keys(member, current.issuer)
        if (listed is None) > self._is_unnamed:
            _log.error(
                "THE ROSTER NAMES `%s` NO MORE, whose keys are followed; of another issuer the roster alone "
                "decides. Mend `[identity_provider]` and start again",
                current.issuer,
            )
        self._is_unnamed, named = listed is None, listed or {}
        found = compare(current.keys, named)
        before, self.compared = self.compared, found
        unlisted = [kid for kid in found.unlisted if kid not in before.unlisted]
        for kid in unlisted[:MOST_TOLD]:
            _log.warning(
                "identity provider `%s` publishes key `%s`, which the roster doesn't name: everybody "
                "refuses what it signs. Announce it well before: `comity agency idp-keys --jwks FILE`",
                current.issuer,
                shown(kid),
            )
        if len(unlisted) > MOST_TOLD:
            _log.warning("and %d more: `comity certs status` shows them", len(unlisted) - MOST_TOLD)
        for kid in found.withdrawn:
            if kid not in before.withdrawn:
                _log.warning(
                    "identity provider `%s` doesn't publish key `%s`, which the roster names: what it signs "
                    "is refused here. Withdrawn? Drop it: `comity agency idp-keys --jwks FILE --only`",
                    current.issuer,
                    shown(kid),
                )
        if named and len(found.withdrawn) == len(named) and before != found:
            _log.error(
                "NONE OF THE KEYS that the roster names of `%s` is published: nobody can ask", current.issuer
            )
