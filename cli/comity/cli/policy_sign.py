"""`comity policy sign`: a bundle becomes its agency's law by the agency's signature."""

from __future__ import annotations

from pathlib import Path

import click

from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.cli.agreement_files import dir_option
from comity.cli.reporting import json_option, refused_as_usage, report, stop
from comity.policy.adopting import verify_adoption, write_adoption
from comity.policy.bundle import PolicyBundle
from comity.policy.cases import load_cases, run
from comity.policy.decision import PolicyEngine
from comity.policy.errors import CaseInvalid, PolicyError
from comity.policy.house.bundle import is_house

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    name="sign", epilog="Example: comity policy sign agencies/lapd/adapter/policy --dir agencies/lapd"
)
@click.argument("folder", metavar="FOLDER", type=_FOLDER)
@dir_option
@click.option("--untested", is_flag=True, help="Sign also without cases, or with cases that do not hold.")
@json_option
@refused_as_usage
def command(folder: Path, home: Path, untested: bool, as_json: bool) -> None:
    """Sign the bundle in FOLDER with the identity key of the agency of --dir.

    Checks it and runs its cases first, and writes `adoption.json` beside it. An adapter activates no bundle
    that its agency didn't sign as it stands. README.md and cases can change without a new signature.
    """
    agency = AgencyHome.load(home)
    if is_house(folder):
        stop("these are house rules: they bind the agency's own people alone, and take no signature")
    try:
        bundle = PolicyBundle.load(folder)
        if bundle.agency != agency.agency:
            stop(f"the bundle is of `{bundle.agency}`, and --dir is the folder of `{agency.agency}`")
        cases = 0 if untested else hold_all(folder, bundle)
    except PolicyError as error:
        stop(str(error), status=1)
    identity = agency.identity()
    path = write_adoption(folder, bundle, identity, utc_now())
    adoption = verify_adoption(PolicyBundle.load(folder), identity.public)
    report(
        as_json,
        {
            "agency": bundle.agency,
            "version": bundle.version,
            "digest": bundle.digest.hex(),
            "key": adoption.key_id,
            "cases": cases,
            "file": str(path),
        },
        f"{bundle.agency} adopts version {bundle.version}, whose {cases} cases hold",
        f"digest  {bundle.digest.hex()}",
        f"key     {adoption.key_id}",
        f"file    {path}",
    )


def hold_all(folder: Path, bundle: PolicyBundle) -> int:
    """Return how many cases a bundle has; end with 1 and one line unless there are some, and all hold."""
    try:
        engine, cases = PolicyEngine(bundle), load_cases(folder)
    except CaseInvalid as error:
        stop(f"{error}; --untested goes on without cases", status=1)
    failed = sum(bool(run(engine, case).differences) for case in cases)
    if failed:
        told = f"{failed} of {len(cases)} cases do not hold: `comity policy test {folder}` names them"
        stop(told, status=1)
    return len(cases)
