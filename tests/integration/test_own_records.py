"""An auditor retrieves their agency's records through running processes, and verifies them alone (L3, L6)."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from comity.certs.clock import utc_now
from tests.integration.conftest import PLATE, Federation, comity

pytestmark = pytest.mark.integration


def retrieve(federation: Federation, out: Path, *, user: str = "c.reyes") -> tuple[int, str]:
    done = comity(
        *("audit", "retrieve", "lapd", "--from", (utc_now() - timedelta(days=1)).isoformat()),
        *("--client", str(federation.made.client_config("sheriff")), "--user", user, "--out", str(out)),
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.long
def test_auditor_retrieves_verifies_and_publishes(federation: Federation, tmp_path: Path) -> None:
    """Asked, retrieved through a session, verified offline, redacted; a false value put back fails."""
    assert federation.ask("sheriff", "--provider", "lapd")["exit"] == 0
    records, copy = tmp_path / "records", tmp_path / "copy"
    status, printed = retrieve(federation, records)
    assert status == 0, printed
    assert "signed by lapd" in printed
    lines = [json.loads(line) for line in (records / "records.jsonl").read_text().splitlines()]
    assert {line["entry"]["peer"] for line in lines} == {"sheriff"}
    opened = [line["openings"] for line in lines if line["entry"]["kind"] == "received"]
    assert opened and opened[-1]["plate"]["value"] == PLATE
    trust = str(federation.made.trust)
    assert comity("audit", "verify", str(records), "--trust", trust).returncode == 0
    assert comity("audit", "redact", str(records), "--open", "reason", "--out", str(copy)).returncode == 0
    published = copy / "records.jsonl"
    assert PLATE not in published.read_text()
    assert comity("audit", "verify", str(copy), "--trust", trust).returncode == 0
    published.write_text(published.read_text().replace("CRIMINAL_INVESTIGATION", "MISSING_PERSON"))
    done = comity("audit", "verify", str(copy), "--trust", trust)
    assert done.returncode == 1
    assert "don't open the commitment" in done.stdout


def test_investigator_retrieves_nothing(federation: Federation, tmp_path: Path) -> None:
    """Only the configured role may; no folder looks as if records had come."""
    status, printed = retrieve(federation, tmp_path / "records", user="j.ortega")
    assert status == 1
    assert "role `auditor`" in printed
    assert not (tmp_path / "records" / "records.jsonl").exists()
