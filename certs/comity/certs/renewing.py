"""Leaves renew themselves: at two thirds of a leaf's life, with jitter, a process asks for the next one.

Where from, the table `[renewal]` of its configuration says::

    [renewal]
    issuer = "../issuing"                # a folder that issues, on this host (`comity certs issuing`), or
    command = ["/usr/local/bin/sign"]    # a program: takes the request, gives the chain (stdin, stdout), or
    drop = "/var/spool/comity"           # a folder: `leaf.csr` is written there, `leaf.pem` is awaited
    lifetime_hours = 24                  # of what `issuer` issues; 24 if it isn't said

Each renewal has a fresh key, which never leaves the host. What comes back is judged as everything on disk is
(`own`). A renewal that fails is said at once, long before the leaf expires, and tried again, ever less often.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from comity.certs.clock import Clock
from comity.certs.credentials import EndCredentials
from comity.certs.errors import CertsError, CredentialsUnusable, FileUnusable
from comity.certs.files import is_there, read_private, read_public, write_private, write_public
from comity.certs.issuing import IssuingFolder, make_request, read_request
from comity.certs.pairs import MAX_LEAF_LIFETIME, LeafPair, put_pair

__all__ = [
    "NO_RENEWAL",
    "RENEWAL",
    "Renewal",
    "RenewalSettings",
    "begin_request",
    "parse_renewal",
    "renew_once",
    "take_chain",
]

RENEWAL: Final = "renewal"
"""The table's name in a configuration."""
REQUEST_KEY: Final = "leaf.request.key"
"""The private key of a request that is under way, in `keys/`."""
REQUEST: Final = "leaf.csr"
CHAIN: Final = "leaf.pem"
COMMAND_SECONDS: Final = 60
"""How long a command may take."""
LOOK_SECONDS: Final = 1.0
"""How often it is looked whether a renewal is due."""
REMIND_AFTER: Final = timedelta(hours=1)
"""After so long the same failure is said again; once a sixth of the leaf's life is left, as critical."""

_log = logging.getLogger("comity.certs")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalSettings:
    """Where the next leaf comes from; without any of the three, nobody renews it by itself."""

    issuer: Path | None = None
    command: tuple[str, ...] = ()
    drop: Path | None = None
    lifetime: timedelta = timedelta(hours=24)

    @property
    def is_configured(self) -> bool:
        """Whether there is a source."""
        return self.issuer is not None or bool(self.command) or self.drop is not None


NO_RENEWAL: Final = RenewalSettings()
"""Nobody renews the leaf by itself."""


def parse_renewal(table: object, *, home: Path) -> RenewalSettings:
    """Return the settings in the table `[renewal]`, if there is one; raise `ValueError` in plain words."""
    if table is None:
        return NO_RENEWAL
    if not isinstance(table, Mapping):
        raise ValueError(f"key `{RENEWAL}` must be a table")
    known = ("issuer", "command", "drop", "lifetime_hours")
    for name in table:
        if name not in known:
            raise ValueError(f"unknown key `{RENEWAL}.{name}`; known keys are {', '.join(known)}")
    if sum(name in table for name in known[:3]) != 1:
        raise ValueError(f"table `{RENEWAL}`: exactly one of issuer, command and drop is right")
    command = table.get("command", ())
    if not isinstance(command, list | tuple) or not all(isinstance(word, str) and word for word in command):
        raise ValueError(f"key `{RENEWAL}.command` must be a list of texts: the program and its arguments")
    hours = table.get("lifetime_hours", 24)
    most = MAX_LEAF_LIFETIME // timedelta(hours=1)
    if not isinstance(hours, int) or isinstance(hours, bool) or not 1 <= hours <= most:
        raise ValueError(f"key `{RENEWAL}.lifetime_hours` must be a number from 1 to {most}")
    return RenewalSettings(
        issuer=_folder(table, "issuer", home),
        command=tuple(command),
        drop=_folder(table, "drop", home),
        lifetime=timedelta(hours=hours),
    )


def _folder(table: Mapping[str, object], name: str, home: Path) -> Path | None:
    if name not in table:
        return None
    value = table[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"key `{RENEWAL}.{name}` must be a text that is not empty")
    folder = (home / value).resolve()
    if not folder.is_dir():
        raise ValueError(f"key `{RENEWAL}.{name}`: no folder at `{folder}`")
    return folder


def renew_once(keys: Path, *, spiffe_id: str, settings: RenewalSettings, now: datetime) -> LeafPair | None:
    """Get the next leaf into `keys/`, with a fresh key; None while a drop folder holds no chain for it yet.

    Raises `CertsError` when it doesn't come, or isn't for this request and this id, `OSError` when a folder
    can't be looked at; then nothing has changed. Reads files and may wait for a program: call it on a thread.
    """
    if settings.drop is not None:
        return _dropped(keys, spiffe_id=spiffe_id, drop=settings.drop)
    request, key_pem = make_request(spiffe_id)
    if settings.issuer is not None:
        folder = IssuingFolder.load(settings.issuer)
        chain = folder.issue(read_request(request), now=now, lifetime=settings.lifetime)
    else:
        chain = _told(settings.command, request)
    return _put(keys, chain, key_pem, spiffe_id)


def begin_request(keys: Path, *, spiffe_id: str) -> bytes:
    """Return a request for the next leaf, PEM; its key lies in `keys/` until the chain has come.

    A request that is under way already gets another key, so that only the newest counts. Raises `CertsError`.
    """
    request, key_pem = make_request(spiffe_id)
    write_private(keys / REQUEST_KEY, key_pem)
    return request


def take_chain(keys: Path, chain_pem: bytes, *, spiffe_id: str) -> LeafPair:
    """Have the leaf that came for the request under way count, and forget the request.

    Raises `CredentialsUnusable` if there is none, or it is not for that request's key or not of this id;
    `FileUnusable`.
    """
    if not is_there(keys / REQUEST_KEY):
        raise CredentialsUnusable(
            f"`{keys}` has no request under way, so no chain is taken: comity certs request {keys.parent} "
            "first; a chain is taken once, on the host that asked for it"
        )
    pair = _put(keys, chain_pem, read_private(keys / REQUEST_KEY), spiffe_id)
    _forget(keys / REQUEST_KEY)
    return pair


def _put(keys: Path, chain: bytes, key_pem: bytes, spiffe_id: str) -> LeafPair:
    try:
        found = LeafPair.of(chain, key_pem)
    except CertsError as error:
        raise CredentialsUnusable(f"the new chain can't be used: {error}") from error
    if found.spiffe_id != spiffe_id:
        raise CredentialsUnusable(f"the new leaf names `{found.spiffe_id}`, expected `{spiffe_id}`")
    return put_pair(keys, chain_pem=chain, key_pem=key_pem)


def _dropped(keys: Path, *, spiffe_id: str, drop: Path) -> LeafPair | None:
    """Leave a request in a folder, or take the chain that came for it."""
    if not (keys / REQUEST_KEY).exists() or not (drop / REQUEST).exists():
        for name in (REQUEST, CHAIN):  # before there is a request: who signs may be quick
            _forget(drop / name)
        write_public(drop / REQUEST, begin_request(keys, spiffe_id=spiffe_id))
        return None
    if not (drop / CHAIN).exists():
        return None
    pair = take_chain(keys, read_public(drop / CHAIN), spiffe_id=spiffe_id)
    for name in (REQUEST, CHAIN):
        _forget(drop / name)
    return pair


def _forget(path: Path) -> None:
    """Remove a file that is done with, if that may be: in a sticky folder another's file stays."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _told(command: tuple[str, ...], request: bytes) -> bytes:
    """Return what a program answers to a request; raise `CredentialsUnusable`."""
    try:
        done = subprocess.run(  # noqa: S603  # the command is the operator's own, without a shell
            command, input=request, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        text = f"`{command[0]}` took longer than {COMMAND_SECONDS} seconds"
        raise CredentialsUnusable(text) from error
    except OSError as error:
        raise FileUnusable(f"`{command[0]}` can't be run: {(error.strerror or '').lower()}") from error
    if done.returncode:
        raise CredentialsUnusable(f"`{command[0]}` ended with status {done.returncode}")
    return done.stdout


class Renewal:
    """Renews the leaf of one process, and alarms when that fails. `failing` says why; empty: all is well."""

    def __init__(
        self,
        settings: RenewalSettings,
        *,
        home: Path,
        current: Callable[[], EndCredentials],
        clock: Clock,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.failing = ""
        self.failures = 0
        """Failed attempts since the last that worked."""
        self._settings = settings
        self._keys = home / "keys"
        self._current = current
        self._clock = clock
        self._draw = draw
        self._drawn = (b"", 0.0)
        self._again_at: datetime | None = None
        self._said: tuple[str, datetime] | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed, or a renewal is due that nobody is configured for."""
        return bool(self.failing)

    def due_at(self) -> datetime:
        """Return when the leaf in force is renewed: at two thirds of its life, or up to a twelfth later."""
        pair = self._current().pair
        if self._drawn[0] != pair.fingerprint:
            self._drawn = (pair.fingerprint, self._draw())
        life = pair.not_after - pair.not_before
        return pair.not_before + life * 2 / 3 + life / 12 * self._drawn[1]

    async def look(self) -> None:
        """Renew if it is due, and if the last failure was long enough ago."""
        now = self._clock()
        if now < self.due_at():
            self.failing, self.failures, self._again_at, self._said = "", 0, None, None
            return
        if self._again_at is not None and now < self._again_at:
            return
        pair = self._current().pair
        life = pair.not_after - pair.not_before
        if not self._settings.is_configured:
            self._fail("nothing is configured to renew it (table `renewal`)", now)
            self._again_at = now + REMIND_AFTER
            return
        try:
            found = await asyncio.to_thread(
                renew_once, self._keys, spiffe_id=pair.spiffe_id, settings=self._settings, now=now
            )
        except (CertsError, OSError) as error:
            self._fail(str(error), now)
            wait = min(life / 48, timedelta(seconds=5) * 2 ** min(self.failures, 16))
            self._again_at = now + wait * (0.5 + self._draw() / 2)
            return
        if found is not None:
            _log.info(
                "leaf of `%s` was renewed, until %s UTC", found.spiffe_id, f"{found.not_after:%F %H:%M}"
            )
            self._again_at = now + max(life / 48, timedelta(seconds=5))  # until it is in force, or refused
        elif now >= self.due_at() + life / 12:
            self._fail(f"no chain came for the request in `{self._settings.drop}`", now)

    def _fail(self, why: str, now: datetime) -> None:
        """Say it: the first time, when it is another failure, and again each hour."""
        self.failures += 1
        self.failing = why
        if self._said is not None and self._said[0] == why and now - self._said[1] < REMIND_AFTER:
            return
        self._said = (why, now)
        pair = self._current().pair
        late = pair.not_after - now <= (pair.not_after - pair.not_before) / 6
        _log.log(
            logging.CRITICAL if late else logging.ERROR,
            "LEAF OF `%s` IS NOT RENEWED, it expires at %s UTC: %s",
            pair.spiffe_id,
            f"{pair.not_after:%F %H:%M}",
            why,
        )
