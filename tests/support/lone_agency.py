"""A federation of one agency with a client system, LAPD, for tests of an administrator's commands."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from comity.certs.agency import AgencyHome, AgencySpec, init_agency
from comity.certs.authority import FederationSpec, admit, init_federation
from comity.cli.logkeys import make_log_key


def lone_agency(root: Path, now: datetime) -> AgencyHome:
    """Lay out the authority, the operator and LAPD, admitted, with its system `desk`; return its folder."""
    init_federation(
        root, FederationSpec(name="Test", broker="127.0.0.1:7400"), now, make_log_key=make_log_key
    )
    spec = AgencySpec(
        agency="lapd",
        home=root / "lapd",
        kind="local",
        domain="lapd.example",
        name="Police",
        contact="desk@lapd.example",
        asks=True,
        public=root / "public",
        broker="127.0.0.1:7400",
    )
    admit(root, [init_agency(spec, now, make_log_key=make_log_key)], now)
    home = AgencyHome.load(root / "lapd")
    home.add_client("desk", gateway="127.0.0.1:7443", now=now)
    return home
