"""`comity policy activate`, as it is run at an end whose process doesn't run: a logged act (A1)."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.adapters.bundles import keep_bundle
from comity.audit.entry import Entry, LoggedEntry, parse_entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.searching.walk import LogWalk
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.cli.policy import group
from comity.policy.adopting import write_adoption
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.house.bundle import shipped as shipped_house
from tests.support.federation import FederationOnDisk, build_federation

NOW = utc_now()
STORE = """
[[store]]
id = "fixed"
class = "fixed"
kind = "csv"
path = "reads.csv"

[store.columns]
plate = "plate"
state = "state"
captured_at = "time"
"""


@pytest.fixture
def made(tmp_path: Path) -> FederationOnDisk:
    """LAPD's end, whose log has version 2 in force, which it keeps as every bundle that was."""
    made = build_federation(tmp_path / "f", NOW, ("lapd", "lahd"))
    home = made.adapter_home("lapd")
    settings = home / "adapter.toml"
    settings.write_text(settings.read_text() + STORE)
    shutil.rmtree(home / "policy", ignore_errors=True)
    bundle = law(made, home / "policy", "2")
    keep_bundle(home, bundle)
    asyncio.run(_activated(home, bundle))
    return made


async def _activated(home: Path, bundle: PolicyBundle) -> None:
    origin = "lapd.example/adapter"
    key = LogKey.load(home / "keys" / "log.key", origin)
    log = await SignedLog.open(home, origin=origin, key=key, clock=utc_now)
    public = {"agency": "lapd", "policy": bundle.digest.hex(), "version": bundle.version}
    await log.append(Entry(kind="policy_activated", at=NOW, public=public))
    await log.close()


def law(made: FederationOnDisk, folder: Path, version: str) -> PolicyBundle:
    """Write a version of LAPD's shipped law with three of its cases, signed."""
    shutil.copytree(shipped("lapd"), folder)
    shutil.rmtree(folder / "tests")
    (folder / "tests").mkdir()
    cases = (shipped("lapd") / "tests" / "cases.toml").read_text()
    head, *found = cases.split("[[case]]")
    (folder / "tests" / "cases.toml").write_text("[[case]]".join((head, *found[:3])))
    (folder / "bundle.toml").write_text(f'agency = "lapd"\nversion = "{version}"\n')
    write_adoption(folder, PolicyBundle.load(folder), AgencyHome.load(made.home("lapd")).identity(), NOW)
    return PolicyBundle.load(folder)


def activate(folder: Path, made: FederationOnDisk, *more: str) -> Result:
    end = made.adapter_home("lapd")
    return CliRunner().invoke(group, ["activate", str(folder), "--end", str(end), *more])


def approvals(made: FederationOnDisk) -> list[LoggedEntry]:
    entries = [parse_entry(leaf) for _, leaf in LogWalk(made.adapter_home("lapd") / "log").entries()]
    return [entry for entry in entries if entry.kind == "policy_approved"]


def in_place(made: FederationOnDisk) -> str:
    return PolicyBundle.load(made.adapter_home("lapd") / "policy").version


def test_next_version_is_approved_in_the_log_and_lies_in_the_adapters_folder(
    made: FederationOnDisk, tmp_path: Path
) -> None:
    """Who approved which law stands in the log before the end decides by it (A1)."""
    bundle = law(made, tmp_path / "three", "3")
    told = activate(tmp_path / "three", made)
    assert told.exit_code == 0, told.output
    assert "version 3 of lapd, after version 2" in told.output
    (approved,) = approvals(made)
    assert approved.public["policy"] == bundle.digest.hex()
    assert in_place(made) == "3"


def test_bundle_that_may_not_be_activated_changes_nothing(made: FederationOnDisk, tmp_path: Path) -> None:
    """A wrong line is named; so are an older version, and files that were changed since they were signed."""
    law(made, tmp_path / "one", "1")
    law(made, tmp_path / "three", "3")
    policies = tmp_path / "three" / "policies" / "10-law.cedar"
    signed = policies.read_text()
    for text, said in (
        (signed.replace("query.reason", "query.raeson"), "10-law.cedar:3: attribute `raeson`"),
        (f"{signed}// changed\n", "changed since, sign it again"),
    ):
        policies.write_text(text)
        told = activate(tmp_path / "three", made)
        assert (told.exit_code, said in told.output) == (1, True), told.output
    told = activate(tmp_path / "one", made)
    assert (told.exit_code, "version 1 is older than version 2" in told.output) == (1, True)
    told = activate(shipped_house("ice"), made)
    assert (told.exit_code, "its `[house_rules]` names" in told.output) == (2, True)
    assert (approvals(made), in_place(made)) == ([], "2")


def test_kept_bundle_comes_back_into_force(made: FederationOnDisk, tmp_path: Path) -> None:
    """What was in force is kept without cases: going back to it takes a reason, and to say so."""
    law(made, tmp_path / "three", "3")
    assert activate(tmp_path / "three", made).exit_code == 0
    (kept,) = (made.adapter_home("lapd") / "bundles").iterdir()
    told = activate(kept, made)
    assert (told.exit_code, "--untested goes on without cases" in told.output) == (1, True)
    assert in_place(made) == "3"
    told = activate(kept, made, "--untested", "--because", "version 3 refuses the task force")
    assert told.exit_code == 0, told.output
    assert [entry.public["version"] for entry in approvals(made)] == ["3", "2"]
    assert in_place(made) == "2"
