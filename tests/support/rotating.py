"""One rotation of each kind, done as administrators do it: their commands, and the processes' own hot reload.

Each returns once what it replaced is out of use.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.federation import REQUESTER
from comity.certs.keys import SigningKey
from tests.support.open_load import SIGHT_SECONDS
from tests.support.running_federation import RunningFederation

Rotation = Callable[[RunningFederation], Awaitable[None]]

ADAPTER: Final = "p1 adapter"
GATEWAY: Final = f"{REQUESTER} gateway"
BROKER: Final = "broker"
DRAIN_SECONDS: Final = 1.0
"""How long older links and sessions are left to drain before the next rotation."""


async def leaf(federation: RunningFederation, name: str) -> None:
    """Replace the leaf of an end; it is in force when its log says so."""
    home = federation.running[name]
    await federation.comity("certs", "renew", home, "--ca", home.parent)
    fingerprint = federation.leaf(name).fingerprint.hex()
    await federation.logged(name, "credentials_activated", certificate=fingerprint)
    await asyncio.sleep(DRAIN_SECONDS)


async def ca(federation: RunningFederation, name: str) -> None:
    """Replace the CA of an agency, or of the operator, by the five steps of docs/certificates.md."""
    home = federation.running[name]
    agency = home.parent
    await federation.comity("certs", "rotate", "ca", home)
    await federation.admit(agency)
    await federation.comity("certs", "rotate", "ca", home)
    await leaf(federation, name)
    for system in sorted(agency.glob("clients/*")):
        await federation.comity("certs", "renew", system, "--ca", agency)
        await asyncio.sleep(2 * SIGHT_SECONDS)  # it opens a connection with it, the older one drains
    await federation.comity("certs", "rotate", "ca", home, "--finish")
    await federation.admit(agency)
    await asyncio.sleep(DRAIN_SECONDS)


async def statement_keys(federation: RunningFederation) -> None:
    """Replace the statement keys of a provider, a requester and the broker in the same half a minute."""
    names = (ADAPTER, GATEWAY, BROKER)
    agencies = [federation.running[name].parent for name in names]
    old = {name: _statement_key(federation, name) for name in names}
    for name in names:
        await federation.comity("certs", "rotate", "statement-key", federation.running[name])
    await federation.admit(*agencies)
    for name in names:
        await federation.until(
            lambda name=name: _statement_key(federation, name) != old[name],  # type: ignore[misc]
            f"the next statement key of {name} is in its place",
        )
        new = _statement_key(federation, name)
        await federation.logged(name, "credentials_activated", statement_key=new)
    await asyncio.sleep(DRAIN_SECONDS)


def _statement_key(federation: RunningFederation, name: str) -> str:
    return SigningKey.load(federation.running[name] / "keys" / "statement.key").key_id


async def log_keys(federation: RunningFederation) -> None:
    """Replace the log keys of a provider, a requester and the broker, from announcement to end of overlap."""
    names = (ADAPTER, GATEWAY, BROKER)
    agencies = [federation.running[name].parent for name in names]
    before = {name: len(federation.logs[name].of("key_rotated")) for name in names}
    for name in names:
        await federation.comity("audit", "rotate-key", federation.running[name])
    await federation.admit(*agencies)
    for name in names:
        log = federation.logs[name]
        await federation.until(
            lambda log=log, name=name: log.read_on() or len(log.of("key_rotated")) > before[name],  # type: ignore[misc]
            f"the next key is in the log of {name}",
        )
    for name in names:
        await federation.comity("audit", "rotate-key", federation.running[name], "--finish")
    await federation.admit(*agencies)
    for name in names:
        following = federation.running[name] / "keys" / "log.next.key"
        await federation.until(lambda path=following: not path.exists(), f"the old log key of {name} is gone")  # type: ignore[misc]
    await asyncio.sleep(DRAIN_SECONDS)


async def authority_keys(federation: RunningFederation) -> None:
    """Replace the governing authority's keys by three new ones of which two must sign."""
    keys = ("--authority-keys", "3", "--threshold", "2")
    found = await federation.comity("federation", "rotate-authority", "--dir", federation.root, *keys)
    await federation.everybody_has(int(str(found["version"])))
    await asyncio.sleep(DRAIN_SECONDS)


async def identity_provider_keys(federation: RunningFederation) -> None:
    """Announce the provider's next key, let it sign, and drop the old one when nothing of it is left."""
    agency: Path = federation.made.home(REQUESTER)
    await federation.comity("agency", "idp-keys", "--dir", agency, "--next")
    await federation.admit(agency)
    await federation.comity("agency", "idp-keys", "--dir", agency, "--next")
    await asyncio.sleep(2 * SIGHT_SECONDS)  # every user has logged on anew
    await federation.admit(agency)
    await asyncio.sleep(DRAIN_SECONDS)


async def identity_key(federation: RunningFederation, name: str) -> None:
    """Replace the identity key of an agency; each counterparty accepts the new one into its agreements."""
    home = federation.running[name].parent
    rotate = ("certs", "rotate", "identity", home)
    prepared = await federation.comity(*rotate, "--again")
    await federation.admit(home)
    await federation.comity(*rotate)
    others: list[str] = prepared["counterparties"]  # type: ignore[assignment]
    for other in others:
        with tempfile.TemporaryDirectory() as sent:
            accept = ("agreement", "accept-identity", home.name, "--dir", federation.made.home(other))
            await federation.comity(*accept, "--key", str(prepared["new_key"]), "--out", sent)
            (acceptance,) = Path(sent).iterdir()
            await federation.comity("agreement", "accept", acceptance, "--dir", home)
    await asyncio.sleep(DRAIN_SECONDS)


KINDS: Final[Mapping[str, tuple[str, Rotation]]] = {
    "leaf-adapter": ("leaf of an adapter", lambda federation: leaf(federation, ADAPTER)),
    "leaf-gateway": ("leaf of a gateway", lambda federation: leaf(federation, GATEWAY)),
    "leaf-broker": ("leaf of the broker", lambda federation: leaf(federation, BROKER)),
    "ca-adapter": ("CA of a provider", lambda federation: ca(federation, ADAPTER)),
    "ca-gateway": ("CA of a requester", lambda federation: ca(federation, GATEWAY)),
    "ca-broker": ("CA of the operator", lambda federation: ca(federation, BROKER)),
    "statement-key": ("statement keys of adapter, gateway and broker", statement_keys),
    "identity-adapter": ("identity key of a provider", lambda federation: identity_key(federation, ADAPTER)),
    "identity-gateway": ("identity key of a requester", lambda federation: identity_key(federation, GATEWAY)),
    "log-key": ("log keys of adapter, gateway and broker", log_keys),
    "authority-key": ("the governing authority's keys", authority_keys),
    "idp-keys": ("the identity provider's keys", identity_provider_keys),
}
"""Each kind of key that is rotated, by the name under which it is asked for: what it is, and one rotation."""
