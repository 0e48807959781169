"""One revocation of each kind, what goes on reaching or coming from the revoked, and how it is reinstated.

The list counts as arrived at an end when that has logged that it is in force, and as published when the
timestamp that names it lies in the published folder. Answers are shown by the gateway: its arrival counts for
the bound, and the first end's is told beside.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.federation import REQUESTER
from comity.certs.keys import SigningKey
from comity.certs.roster import TIMESTAMP_FILE
from tests.support.open_load import Asked, OpenLoad
from tests.support.rotating import ADAPTER, BROKER, GATEWAY
from tests.support.running_federation import RunningFederation

BOUND_SECONDS: Final = 1.0
"""From a list's arrival at an end until that end shows nothing of the revoked any more."""
LOOK_SECONDS: Final = 3.0
"""How long after its arrival questions go on before the revoked is reinstated."""


@dataclass(slots=True, kw_only=True)
class Revoked:
    """One revocation: whom it touches, when it was published and arrived, and when it was over."""

    touches: Callable[[Asked], bool]
    begun: float
    """Before the command: what was touched and was over by then was answered as ever."""
    published: float = 0.0
    arrived: Mapping[str, float] = field(default_factory=dict)
    mended: float = float("inf")
    """When something else was put in the place of the revoked; never: it was for good."""
    back: float = float("inf")
    """When a question that touches it was answered whole again."""

    @property
    def arrival(self) -> float:
        """When the first end had it in force."""
        return min(self.arrived.values())

    def excuses(self, asked: Asked) -> bool:
        """Whether this question needn't have been answered: it touches the revoked in its time."""
        return self.touches(asked) and asked.done > self.begun and asked.due < self.back


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How something is revoked: the words of `comity certs revoke`, who has to know, how it is mended."""

    words: Sequence[str]
    touches: Callable[[Asked], bool]
    ends: Sequence[str]
    mend: Callable[[], Awaitable[None]] | None
    """Puts something in the revoked's place; None: for good."""
    issuer: str | None = None
    """Whose list it is: an agency's own; None: the governing authority's."""


Revocation = Callable[[RunningFederation, int], Awaitable[Plan]]
"""(federation, number of the revocation) → how."""


async def revoke_once(
    federation: RunningFederation, load: OpenLoad, plan: Plan, *, answered: Callable[[float], bool]
) -> Revoked:
    """Revoke, watch for `LOOK_SECONDS`, reinstate; `answered(since)`: the touched is answered whole again."""
    start = time.time()
    await federation.until(lambda: answered(start), "it is answered before it is revoked")
    found = Revoked(touches=plan.touches, begun=time.time())
    signer = federation.root if plan.issuer is None else federation.made.home(plan.issuer)
    told = await federation.comity(
        "certs", "revoke", "--dir", signer, *plan.words, "--reason", "key-compromise"
    )
    newest = TIMESTAMP_FILE if plan.issuer is None else f"revocations-{plan.issuer}.json"
    found.published = (federation.root / "public" / newest).stat().st_mtime
    version, arrived = int(str(told["version"])), {}
    for name in plan.ends:
        value = version if name == BROKER else str(version)
        entry = await federation.logged(name, "revocations_activated", version=value, issuer=plan.issuer)
        arrived[name] = entry.at.timestamp()
    found.arrived = arrived
    await asyncio.sleep(max(0.0, max(arrived.values()) + LOOK_SECONDS - time.time()))
    if plan.mend is not None:
        found.mended = time.time()
        await plan.mend()
        await federation.until(lambda: answered(found.mended), "it is answered again")
        found.back = time.time()
    return found


def _of_provider(provider: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.provider == provider


def _of_requester(asked: Asked) -> bool:
    return asked.agency == REQUESTER


async def certificate(federation: RunningFederation, name: str, *, own: bool = False) -> Plan:
    """Revoke the certificate of an end, with its key, by the authority or its own agency; it gets another."""
    home = federation.running[name]
    agency = home.parent.name
    words = ["--agency", agency, "--certificate", str(home / "keys" / "leaf.pem"), "--key"]

    async def mend() -> None:
        await federation.comity("certs", "renew", home, "--ca", home.parent)

    touches, issuer = _of_requester if name == GATEWAY else _of_provider(agency), agency if own else None
    return Plan(words=words, touches=touches, ends=(BROKER, GATEWAY, ADAPTER), mend=mend, issuer=issuer)


async def statement_key(federation: RunningFederation, name: str) -> Plan:
    """Revoke the one statement key of an end. Its administrator then has another one admitted."""
    home = federation.running[name]
    agency, keys = home.parent.name, home / "keys"
    words = ["--agency", agency, "--statement-key", SigningKey.load(keys / "statement.key").key_id]

    async def mend() -> None:
        await federation.comity("certs", "rotate", "statement-key", home)
        await federation.admit(home.parent)

    touches = _of_requester if name == GATEWAY else _of_provider(agency)
    return Plan(words=words, touches=touches, ends=(BROKER, GATEWAY, ADAPTER), mend=mend)


async def subject(user: str) -> Plan:
    """Revoke a user; nobody else of its agency is touched."""
    words = ["--agency", REQUESTER, "--user", user]

    def touches(asked: Asked) -> bool:
        return asked.agency == REQUESTER and asked.user == user

    return Plan(words=words, touches=touches, ends=(GATEWAY, ADAPTER), mend=None)


async def agency(federation: RunningFederation, provider: str) -> Plan:
    """Revoke all of a provider; nothing brings it back, so it is one that was started for this."""
    words = ["--agency", provider, "--everything"]
    ends = (BROKER, GATEWAY, f"{provider} adapter")
    return Plan(words=words, touches=_of_provider(provider), ends=ends, mend=None)


@dataclass(slots=True, kw_only=True)
class Answers:
    """What came from, or went to, the revoked after the list was there, in seconds."""

    after_arrival: float = 0.0
    """The last of them after the list was in force at the first end; 0: none came after."""
    after_publication: float = 0.0
    after_gateway: float = 0.0
    """The last of them after the list was in force at the gateway that shows answers."""
    spread: float = 0.0
    """The longest from the first end that had a list to the last."""
    late: int = 0
    """Later than `BOUND_SECONDS` after the list was in force at the gateway."""
    late_first: int = 0
    """Later than that after it was in force at the first end of all."""
    late_published: int = 0
    """Later than that after the publication."""

    def add(self, revoked: Revoked, asked: Sequence[Asked]) -> None:
        """Count one revocation's."""
        times = revoked.arrived.values()
        self.spread = max(self.spread, max(times) - min(times))
        for each in asked:
            if revoked.touches(each) and revoked.begun < each.shown < revoked.mended:
                arrival, publication = each.shown - revoked.arrival, each.shown - revoked.published
                self.after_arrival = max(self.after_arrival, arrival)
                at_gateway = revoked.arrived.get(GATEWAY, revoked.arrival)
                self.after_gateway = max(self.after_gateway, each.shown - at_gateway)
                self.after_publication = max(self.after_publication, publication)
                self.late += each.shown - at_gateway > BOUND_SECONDS
                self.late_first += arrival > BOUND_SECONDS
                self.late_published += publication > BOUND_SECONDS


KINDS: Final[Mapping[str, str]] = {
    "certificate-adapter": "certificate of an adapter",
    "certificate-gateway": "certificate of a gateway",
    "own-certificate": "certificate of an adapter, by its own agency",
    "statement-key-adapter": "statement key of an adapter",
    "statement-key-gateway": "statement key of a gateway",
    "subject": "user of a requester",
    "agency": "whole agency",
}
"""What is revoked, by the name under which it is asked for."""
