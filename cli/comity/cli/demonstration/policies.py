"""The providers' own policy bundles, copied into each adapter's folder: from then on they are its own."""

from __future__ import annotations

import shutil
from importlib import resources

from comity.cli.demonstration.setup import FederationOnDisk


def install_policies(made: FederationOnDisk) -> None:
    """Copy the shipped bundle of each provider to its adapter's `policy/` folder."""
    bundles = resources.files("comity.policy") / "bundles"
    for entry in made.spec.agencies:
        if entry.provides:
            with resources.as_file(bundles / entry.agency) as bundle:
                shutil.copytree(bundle, made.adapter_home(entry.agency) / "policy", dirs_exist_ok=True)
