"""`comity policy`: check a policy bundle, and run its own cases."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

import click

from comity.policy.bundle import PolicyBundle
from comity.policy.cases import CaseResult, load_cases, run
from comity.policy.decision import PolicyEngine
from comity.policy.errors import BundleInvalid, CaseInvalid

_FOLDER = click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(
    name="policy",
    short_help="Policy bundles: check and test.",
    epilog="Example: comity policy test agencies/lapd/adapter/policy",
)
def group() -> None:
    """Check and test policy bundles: a folder with `bundle.toml`, a schema, entities and policies."""


@group.command(epilog="Example: comity policy check agencies/lapd/adapter/policy")
@_FOLDER
@_JSON
def check(folder: Path, as_json: bool) -> None:
    """Check that the bundle in FOLDER may be activated, and print its digest.

    Exit status 1 if it may not; file and line are named.
    """
    bundle = _load(folder, as_json)
    permits = sum(policy.permits for policy in bundle.policies)
    if as_json:
        click.echo(json.dumps({"valid": True, **_facts(bundle)}))
        return
    click.echo(f"{folder}: valid")
    click.echo(f"agency    {bundle.agency}")
    click.echo(f"version   {bundle.version}")
    click.echo(
        f"policies  {len(bundle.policies)} ({permits} permit, {len(bundle.policies) - permits} forbid)"
    )
    click.echo(f"digest    {bundle.digest.hex()}")
    if not permits:
        click.echo("note      no policy permits anything, so everything is refused")


@group.command(epilog="Example: comity policy test --json agencies/lapd/adapter/policy")
@_FOLDER
@_JSON
def test(folder: Path, as_json: bool) -> None:
    """Check the bundle in FOLDER, then run the cases of its `tests/*.toml`.

    Exit status 1 if one does not hold.
    """
    bundle = _load(folder, as_json)
    engine = PolicyEngine(bundle)
    try:
        results = [run(engine, case) for case in load_cases(folder)]
    except CaseInvalid as error:
        _fail(str(error), as_json)
    failed = sum(bool(result.differences) for result in results)
    if as_json:
        cases = [_case(result) for result in results]
        click.echo(json.dumps({"valid": True, **_facts(bundle), "failed": failed, "cases": cases}))
    else:
        for result in results:
            click.echo(f"{'FAILED' if result.differences else 'ok    '}  {result.case.name}")
            for difference in result.differences:
                click.echo(f"          {difference}")
        click.echo(f"{len(results) - failed} of {len(results)} cases hold; digest {bundle.digest.hex()}")
    if failed:
        sys.exit(1)


def _load(folder: Path, as_json: bool) -> PolicyBundle:
    try:
        return PolicyBundle.load(folder)
    except BundleInvalid as error:
        _fail(str(error), as_json)


def _fail(text: str, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"valid": False, "error": text}))
    else:
        click.echo(text, err=True)
    sys.exit(1)


def _facts(bundle: PolicyBundle) -> dict[str, object]:
    return {
        "agency": bundle.agency,
        "version": bundle.version,
        "digest": bundle.digest.hex(),
        "policies": [policy.policy_id for policy in bundle.policies],
    }


def _case(result: CaseResult) -> dict[str, object]:
    return {
        "name": result.case.name,
        "file": result.case.path.name,
        "holds": not result.differences,
        "differences": list(result.differences),
    }
