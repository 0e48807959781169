"""`comity policy`: check a bundle, run its cases, explain decisions and make them again, sign, activate."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from comity.cli import policy_activate, policy_explain, policy_house, policy_replay, policy_sign, policy_start
from comity.cli.policy_cases import fail, idle_objects, report_cases, report_idle
from comity.policy.bundle import PolicyBundle
from comity.policy.cases import load_cases, run
from comity.policy.decision import PolicyEngine
from comity.policy.errors import BundleInvalid, CaseInvalid
from comity.policy.house.bundle import is_house
from comity.policy.reach import unreached
from comity.policy.windows import Windows, amount

_FOLDER = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(
    name="policy",
    short_help="Policy bundles: start, check, test, explain, sign, activate, replay.",
    epilog="Example: comity policy test agencies/lapd/adapter/policy",
)
def group() -> None:
    """Check, test, explain, sign and activate policy bundles.

    A bundle is a folder with `bundle.toml`, a schema, entities and policies: a provider's, or the house rules
    of a gateway.
    """


@group.command(epilog="Example: comity policy check agencies/lapd/adapter/policy")
@_FOLDER
@_JSON
def check(folder: Path, as_json: bool) -> None:
    """Check that the bundle in FOLDER may be activated, and that each of its policies can apply.

    Prints its digest. Exit status 1 if it may not, or if a policy can never apply or names a group that isn't
    listed: it is activated all the same, and does not say what its author meant. File and line are named.
    """
    if is_house(folder):
        policy_house.check_house(folder, as_json=as_json)
    bundle = _load(folder, as_json)
    permits = sum(policy.permits for policy in bundle.policies)
    idle = [(each.policy, each.text) for each in unreached(bundle)]
    if as_json:
        click.echo(json.dumps({"valid": True, **_facts(bundle), "never_apply": idle_objects(idle)}))
        sys.exit(1 if idle else 0)
    click.echo(f"{folder}: valid")
    click.echo(f"agency    {bundle.agency}")
    click.echo(f"version   {bundle.version}")
    click.echo(
        f"policies  {len(bundle.policies)} ({permits} permit, {len(bundle.policies) - permits} forbid)"
    )
    for line in _windows(bundle.windows):
        click.echo(line)
    click.echo(f"digest    {bundle.digest.hex()}")
    if not permits:
        click.echo("note      no policy permits anything, so everything is refused")
    report_idle(folder, idle)
    if idle:
        sys.exit(1)


@group.command(epilog="Example: comity policy test --json agencies/lapd/adapter/policy")
@_FOLDER
@click.option("--covered", is_flag=True, help="Fail, too, if a policy determines none of the cases.")
@_JSON
def test(folder: Path, covered: bool, as_json: bool) -> None:
    """Check the bundle in FOLDER, then run the cases of its `tests/*.toml`.

    Says which policies determined none of them. Exit status 1 if a case does not hold.
    """
    if is_house(folder):
        policy_house.test_house(folder, covered=covered, as_json=as_json)
    bundle = _load(folder, as_json)
    engine = PolicyEngine(bundle)
    try:
        results = [run(engine, case) for case in load_cases(folder)]
    except CaseInvalid as error:
        fail(str(error), as_json)
    report_cases(
        _facts(bundle),
        bundle.policies,
        results,
        called="policies",
        does=("determines", "determine"),
        covered=covered,
        as_json=as_json,
    )


group.add_command(policy_explain.command)
group.add_command(policy_replay.command)
group.add_command(policy_start.command)
group.add_command(policy_sign.command)
group.add_command(policy_activate.command)


def _load(folder: Path, as_json: bool) -> PolicyBundle:
    try:
        return PolicyBundle.load(folder)
    except BundleInvalid as error:
        fail(str(error), as_json)


def _facts(bundle: PolicyBundle) -> dict[str, object]:
    return {
        "agency": bundle.agency,
        "version": bundle.version,
        "digest": bundle.digest.hex(),
        "policies": [policy.policy_id for policy in bundle.policies],
        "zone": bundle.windows.zone_name,
        "statutes": [
            {
                "offence": statute.offence,
                "jurisdiction": statute.jurisdiction,
                "years": statute.years,
                "document": statute.document,
            }
            for statute in bundle.windows.statutes.values()
        ],
        "retention": {kept.store_class: kept.length for kept in bundle.windows.retention.values()},
    }


def _windows(windows: Windows) -> Iterator[str]:
    """Yield what the bundle's `windows.toml` says, a line each (Q5, A8)."""
    yield f"calendar  {windows.zone_name}"
    for statute in windows.statutes.values():
        years = "at any time" if statute.years is None else amount(statute.years, "year")
        yield f"statute   {statute.offence} of {statute.jurisdiction}: {years}; {statute.document}"
    for kept in windows.retention.values():
        yield f"kept      {kept.store_class}: {kept.length}; {' '.join(kept.rules)}, {kept.document}"
