"""The federation of the demonstration, or some agencies of it, on disk: fast, for tests of every room."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from comity.cli.demonstration.setup import FederationOnDisk, set_up
from comity.cli.demonstration.spec import DemonstrationSpec

__all__ = ["FederationOnDisk", "build_federation"]


def build_federation(
    folder: Path,
    now: datetime,
    agencies: Sequence[str] | None = None,
    *,
    broker: str = "127.0.0.1:7400",
    gateways: Mapping[str, str] | None = None,
) -> FederationOnDisk:
    """Make the demonstration federation in `folder` at `now`; `agencies` limits it to those.

    Agreements: cbp–dea, lapd–lahd both ways; vendor→ice; cbp, dea, lapd, lahd, vendor → sheriff. Each asking
    agency has its users and a client system `desk`. Policies and stores are not made.
    """
    spec = DemonstrationSpec.load(now.date())
    if agencies is not None:
        spec = spec.only(agencies)
    return set_up(spec, folder, now, broker=broker, gateways=gateways)
