"""A federation made for measuring: N providers that are alike, one agency that asks, ten reads each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from random import Random

from comity.certs.ends import LEAF_LIFETIME, Issuer, make_leaf
from comity.certs.x509 import load_ca
from comity.cli.demonstration.formats import WRITERS
from comity.cli.demonstration.mappings import mapping_of
from comity.cli.demonstration.places import CAMERAS
from comity.cli.demonstration.policies import adopt_policy
from comity.cli.demonstration.prepare import free_ports
from comity.cli.demonstration.setup import FederationOnDisk, set_up
from comity.cli.demonstration.spec import DemonstrationSpec
from comity.cli.demonstration.traffic import KNOWN_TO_ALL, Capture, captures, fleet

READS = 10
"""How many reads of the plate each provider has in the period that is asked for."""
ORDINARY_READS = 2_000
"""How many reads of other plates stand beside them."""
REQUESTER = "sheriff"
"""The agency that asks: LAPD's bundle, which every provider here has, knows it as a local partner."""
MODEL = "lapd"
"""Whose policy, store format and mapping every provider has."""
BARE_KEYS = "bare"
"""Beside an adapter's `keys/`: a leaf of the same CA that also has the DNS name that gRPC wants."""

_HEAD = """
name = "Federation of a benchmark"
operator_domain = "operator.example"
operator_name = "Operator of a benchmark"

[[agency]]
id = "sheriff"
name = "County Sheriff"
kind = "local"
domain = "sheriff.example"
state = "CA"
contact = "Records desk, records@sheriff.example, 555-0107"
asks = true

[[agency.user]]
user = "j.ortega"
office = "Investigations"
roles = ["investigator"]
duty_station = "Central Station"
"""
_PROVIDER = """
[[agency]]
id = "{agency}"
name = "Provider {agency}"
kind = "local"
domain = "{agency}.example"
state = "CA"
contact = "ALPR unit, alpr@{agency}.example, 555-0100"
provides = true

[[agreement]]
id = "sharing-{agency}-sheriff"
title = "Sharing of ALPR reads with the County Sheriff"
effective_days_before = 730
expires_days_after = 730

[[agreement.grant]]
provider = "{agency}"
requester = "sheriff"
elements = ["location", "images", "vehicle", "camera"]
purposes = ["all"]

[agreement.grant.ceiling]
nature = "automated licence plate reads of fixed cameras"
banner = "LAW ENFORCEMENT SENSITIVE // NO COMMERCIAL USE / NO ONWARD SHARING // {banner}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """What was made, and what to ask it."""

    made: FederationOnDisk
    providers: tuple[str, ...]
    start: datetime
    end: datetime
    """The period in which each provider has `READS` reads of `KNOWN_TO_ALL`."""


def make_federation(
    root: Path, providers: int, *, now: datetime, more: str = "", partners: Sequence[str] = ()
) -> Federation:
    """Make a federation of `providers` providers and one requester below `root`, on ports that are free.

    `more` holds further `[[agency]]` and `[[agreement]]` tables; those that it lets provide get no store.
    `partners` are agencies that every provider's policy takes for what it takes the requester.
    """
    names = tuple(f"p{number}" for number in range(1, providers + 1))
    text = _HEAD + "".join(_PROVIDER.format(agency=name, banner=name.upper()) for name in names)
    spec = DemonstrationSpec.parse(text + more, now.date())
    asking = [entry.agency for entry in spec.agencies if entry.asks]
    broker, *ports = free_ports(1 + len(asking))
    made = set_up(
        spec,
        root,
        now,
        broker=f"127.0.0.1:{broker}",
        gateways={agency: f"127.0.0.1:{port}" for agency, port in zip(asking, ports, strict=True)},
    )
    for name in names:
        home = made.adapter_home(name)
        _install_policy(home / "policy", name, partners)
        adopt_policy(made, name, now)
        _make_store(home, now)
        certificate, key = load_ca(made.home(name) / "ca.pem", made.home(name) / "ca.key")
        issuer = Issuer(domain=f"{name}.example", certificate=certificate, key=key)
        make_leaf(home / BARE_KEYS, path="adapter", issuer=issuer, now=now, lifetime=LEAF_LIFETIME, dns=True)
    return Federation(made=made, providers=names, start=now - timedelta(days=30), end=now)


def _install_policy(folder: Path, agency: str, partners: Sequence[str]) -> None:
    """Give an adapter LAPD's bundle under its own name, without LAPD's cases, and with further partners."""
    with resources.as_file(resources.files("comity.policy") / "bundles" / MODEL) as bundle:
        shutil.copytree(bundle, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tests"))
    settings = folder / "bundle.toml"
    settings.write_text(settings.read_text().replace(f'agency = "{MODEL}"', f'agency = "{agency}"'))
    path = folder / "entities.json"
    entities = json.loads(path.read_text())
    known = next(entity for entity in entities if entity["uid"]["id"] == REQUESTER)
    entities += [{**known, "uid": {**known["uid"], "id": partner}} for partner in partners]
    path.write_text(json.dumps(entities))


def _make_store(home: Path, now: datetime) -> None:
    """Give an adapter one store: the reads that are asked for, among others."""
    now = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    random = Random("reads")
    cameras = CAMERAS[MODEL]["fixed"]
    ordinary = captures(
        random, fleet=fleet(random, 500), cameras=cameras, count=ORDINARY_READS, now=now, days=60
    )
    wanted = [
        Capture(
            KNOWN_TO_ALL, cameras[day % len(cameras)], now - timedelta(days=day), KNOWN_TO_ALL.plate, 0.97
        )
        for day in range(2, 2 + READS)
    ]
    WRITERS[MODEL](home / "stores", "fixed", [*ordinary, *wanted], random)
    fixed, _, _ = mapping_of(MODEL).strip().partition("\n\n[[store]]\n")
    with (home / "adapter.toml").open("a", encoding="utf-8") as settings:
        settings.write(f"\n{fixed}\n")
