"""The providers' own policy bundles, copied into each adapter's folder: from then on they are its own."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from comity.certs.agency import AgencyHome
from comity.cli.demonstration.setup import FederationOnDisk
from comity.policy.adopting import write_adoption
from comity.policy.bundle import PolicyBundle, shipped


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
