"""Preparing the demonstration on disk: federation, policies, stores, free ports, the trust file."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from comity.audit.trust import make_trust
from comity.certs.files import write_public
from comity.cli.demonstration.policies import install_house_rules, install_policies
from comity.cli.demonstration.setup import FederationOnDisk, set_up
from comity.cli.demonstration.spec import DemonstrationSpec
from comity.cli.demonstration.stores import make_stores

MARKER = "demonstration.json"


def prepare(
    root: Path,
    *,
    seed: int,
    now: datetime,
    progress: Callable[[str], None] = lambda line: None,
    spec: DemonstrationSpec | None = None,
) -> FederationOnDisk:
    """Make everything that the processes need below `root`, on ports that are free now.

    The trust file is made last and before any process has started: it is older than every log entry.
    """
    spec = spec or DemonstrationSpec.load(now.date())
    asking = [entry.agency for entry in spec.agencies if entry.asks]
    ports = free_ports(len(asking) + 1)
    made = set_up(
        spec,
        root,
        now,
        broker=f"127.0.0.1:{ports[0]}",
        gateways={agency: f"127.0.0.1:{port}" for agency, port in zip(asking, ports[1:], strict=True)},
        progress=progress,
    )
    install_policies(made, now)
    install_house_rules(made)
    stores = make_stores(
        root / "agencies",
        seed=seed,
        now=now,
        progress=lambda store, count: progress(f"store {store}: {count:,} reads"),
    )
    for agency, store in stores.providers.items():
        _append(made.adapter_home(agency) / "adapter.toml", store.toml)
    with (made.broker_home / "broker.toml").open("a", encoding="utf-8") as settings:
        settings.write(
            "\n# For the demonstration: keep what the links carried, to show what the broker saw.\n"
        )
        settings.write('capture = "capture"\n')
    write_public(root / MARKER, json.dumps({"seed": seed}).encode() + b"\n")
    write_public(made.trust, make_trust(made.public))
    return made


def wanted(made: FederationOnDisk) -> list[tuple[str, str, Path]]:
    """Return (name, role, configuration) of every process, the broker first."""
    return [(name, role, home / f"{role}.toml") for name, role, home in made.ends()]


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that nothing listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for taken in sockets:
            taken.bind(("127.0.0.1", 0))
        return [int(taken.getsockname()[1]) for taken in sockets]


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
