"""What single steps of an exchange cost by themselves, hot and alone: `python -m benchmarks.steps`.

CPU time of one call, the best of several rounds, so that it is a lower bound: in a process that does
everything once per exchange, with caches that are cold and a neighbour on the other core, the same step costs
two to three times as much. It judges nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
import timeit
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from comity.adapters.replay import ReplayGuard
from comity.adapters.state import open_state
from comity.audit.entry import Entry, seal_entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.certs.assertions import verify_assertion
from comity.certs.clock import utc_now
from comity.certs.keys import SigningKey
from comity.certs.roster import Federation
from comity.certs.x509 import verify_leaf
from comity.cli.ceilings import make_ceiling
from comity.policy import markings
from comity.v1.result_pb2 import Marking
from tests.support.federation import FederationOnDisk, build_federation

ROUNDS = 7
CALLS = 100
BANNER = "LAW ENFORCEMENT SENSITIVE // NO COMMERCIAL USE / NO ONWARD SHARING // LAPD"
PRIVATE = ("user", "office", "plate", "plate_folded", "state", "country", "period", "reason", "case", "text")


def cpu(step: Callable[[], object]) -> float:
    """Return CPU seconds of one call."""
    step()
    return min(timeit.repeat(step, number=CALLS, repeat=ROUNDS, timer=time.process_time)) / CALLS


async def cpu_and_wall(step: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return CPU seconds and wall-clock seconds of one awaited call, other threads' CPU included."""
    await step()
    found = []
    for _ in range(ROUNDS):
        spent, begun = time.process_time(), time.perf_counter()
        for _ in range(CALLS):
            await step()
        found.append(((time.process_time() - spent) / CALLS, (time.perf_counter() - begun) / CALLS))
    return min(found)


def crypto_steps(made: FederationOnDisk) -> dict[str, float]:
    """Measure signatures, the assertion and the caller's certificate."""
    now = utc_now()
    member = Federation.load(made.public, now=now).member("lahd")
    key = SigningKey.generate()
    signature = key.sign(bytes(300))
    assertion = made.assertion("lahd", now)
    leaf = made.client_certificate("lahd")
    roots = member.key_set.ca_certificates
    return {
        "sign a statement": cpu(lambda: key.sign(bytes(300))),
        "verify a statement": cpu(lambda: key.public.verify(signature, bytes(300))),
        "verify a user's assertion": cpu(
            lambda: verify_assertion(assertion, member=member, now=now, certificate_der=None)
        ),
        "verify a caller's certificate": cpu(
            lambda: verify_leaf([leaf], ca_certificates=roots, spiffe_id=None, now=now)
        ),
    }


def marking_steps() -> dict[str, float]:
    """Measure what is done with markings."""
    ceiling = Marking.FromString(make_ceiling("lapd", "automated licence plate reads", BANNER))
    marking = markings.derive(ceiling, agreement_digest=bytes(32), retain_days=365, contact="555-0105")

    def judge() -> None:
        markings.validate(marking)
        markings.covers(ceiling, marking)
        markings.may_receive(marking, "local")

    return {
        "derive a marking (adapter, once)": cpu(lambda: markings.derive(ceiling, agreement_digest=bytes(32))),
        "combine one marking (adapter, twice)": cpu(lambda: markings.combine([marking])),
        "judge a marking (gateway, three times a provider)": cpu(judge),
    }


def entry() -> Entry:
    """Return an entry as long as `received`."""
    return Entry(
        kind="received",
        at=utc_now(),
        exchange=secrets.token_bytes(16),
        public={"agency": "lapd", "peer": "lahd", "order": "a" * 64, "query": "b" * 64, "area": False},
        private=dict.fromkeys(PRIVATE, "a value of some length"),
    )


async def disk_steps(made: FederationOnDisk, folder: Path) -> dict[str, tuple[float, float]]:
    """Measure what waits for the disk."""
    guard = ReplayGuard(open_state(folder / "state.db"), clock=utc_now)
    until = utc_now() + timedelta(seconds=120)
    key = LogKey.load(made.adapter_home("lapd") / "keys" / "log.key", origin="lapd.example/adapter")
    log = await SignedLog.open(folder, origin=key.origin, key=key, clock=utc_now)
    try:
        return {
            "remember an exchange (replay)": await cpu_and_wall(
                lambda: guard.admit("lahd", secrets.token_bytes(16), until=until)
            ),
            "append two entries to the log": await cpu_and_wall(lambda: log.append(entry(), entry())),
        }
    finally:
        await log.close()


def main() -> None:
    """Measure and print."""
    table = Table(title="one call, µs")
    for name in ("step", "CPU", "wall"):
        table.add_column(name, justify="left" if name == "step" else "right")
    with tempfile.TemporaryDirectory(prefix="comity-bench-") as folder:
        made = build_federation(Path(folder) / "federation", utc_now(), ["lapd", "lahd"])
        sample = entry()
        alone = {**crypto_steps(made), **marking_steps(), "seal an entry": cpu(lambda: seal_entry(sample))}
        home = Path(folder) / "end"
        home.mkdir()
        waiting = asyncio.run(disk_steps(made, home))
    for name, seconds in alone.items():
        table.add_row(name, f"{1e6 * seconds:.0f}", "")
    for name, (spent, wall) in waiting.items():
        table.add_row(name, f"{1e6 * spent:.0f}", f"{1e6 * wall:.0f}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
