"""Every check that is patched out, and for each file of tests the honest one that stays green."""

from __future__ import annotations

from tests.patched_out.check import Check
from tests.patched_out.checks import (
    adapters,
    audit,
    broker,
    certificates,
    certs,
    ends,
    first_hop,
    gateway,
    house,
    identities,
    laws,
    lies,
    links,
    obligations,
    peers,
    policy,
    records,
    retention,
    revocations,
    users,
)
from tests.patched_out.checks.files import FILES

CHECKS: tuple[Check, ...] = tuple(
    check
    for room in (
        broker,
        adapters,
        gateway,
        links,
        certs,
        certificates,
        revocations,
        policy,
        obligations,
        audit,
        house,
        laws,
        lies,
        ends,
        first_hop,
        retention,
        peers,
        records,
        users,
        identities,
    )
    for check in room.CHECKS
)
HONEST = {file.path: f"{file.path}::{file.honest}" for file in FILES}
