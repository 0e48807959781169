"""The agencies' own law, copied into their folders: from then on it is their own.

Each provider gets its shipped policy at its adapter; ICE and CBP get their house rules at their gateways.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.certs.agency import AgencyHome
from comity.cli.demonstration.setup import FederationOnDisk
from comity.policy.adopting import write_adoption
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.house.bundle import shipped as shipped_house

HOUSE: Final = {
    "cbp": """
[house_rules]               # CBP's own rule for its own people: no query without a border nexus (Q7)
bundle = "house"
""",
    "ice": """
[house_rules]               # ICE's privacy guidance: its own law for its own people
bundle = "house"
# The five years (GUI J.2) warn, for the vendor's service enforces them; set to "stop", this gateway does.
enforce = {"ice.civil-five-years" = "warn"}
""",
}
"""By agency with house rules: what its `gateway.toml` says of them."""


def install_policies(made: FederationOnDisk, now: datetime) -> None:
    """Copy the shipped bundle of each provider to its adapter's `policy/` folder, signed by the provider."""
    for entry in made.spec.agencies:
        if entry.provides:
            install_policy(made, entry.agency, now)


def install_policy(made: FederationOnDisk, agency: str, now: datetime) -> Path:
    """Copy the shipped bundle of a provider to its adapter's `policy/`, signed; return the folder."""
    folder = made.adapter_home(agency) / "policy"
    shutil.copytree(shipped(agency), folder, dirs_exist_ok=True)
    adopt_policy(made, agency, now)
    return folder


def adopt_policy(made: FederationOnDisk, agency: str, now: datetime) -> None:
    """Sign the bundle in a provider's `policy/` folder as it stands, with the provider's identity key."""
    folder = made.adapter_home(agency) / "policy"
    write_adoption(folder, PolicyBundle.load(folder), AgencyHome.load(made.home(agency)).identity(), now)


def install_house_rules(made: FederationOnDisk) -> None:
    """Copy the shipped house rules of each agency to its gateway's `house/` folder, and name them there."""
    for entry in made.spec.agencies:
        if entry.asks and entry.agency in HOUSE:
            home = made.gateway_home(entry.agency)
            shutil.copytree(shipped_house(entry.agency), home / "house", dirs_exist_ok=True)
            with (home / "gateway.toml").open("a", encoding="utf-8") as settings:
                settings.write(HOUSE[entry.agency])
