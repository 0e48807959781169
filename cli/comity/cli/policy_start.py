"""`comity policy start`: a new bundle from a template."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from comity.cli.reporting import json_option, report
from comity.policy.bundle import PolicyBundle
from comity.policy.cases import load_cases, run
from comity.policy.decision import PolicyEngine
from comity.policy.house.bundle import HouseBundle
from comity.policy.house.cases import load_house_cases, run_house
from comity.policy.house.rules import HouseRules
from comity.policy.house.starting import TEMPLATE as HOUSE
from comity.policy.house.starting import start_house
from comity.policy.starting import TEMPLATES, StartInvalid, start


@click.command(
    name="start",
    epilog="Example: comity policy start harbor/adapter/policy --from strict-local --agency harbor "
    "--partner sheriff --state CA",
)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--from", "name", required=True, type=click.Choice([*TEMPLATES, HOUSE]), help="The template; see below."
)
@click.option("--agency", required=True, help="Whose law it is, as the roster names it.")
@click.option(
    "--partner",
    "partners",
    multiple=True,
    help="An agency to share with; may be repeated. House rules have none, any other template at least one.",
)
@click.option("--state", default="CA", show_default=True, help="The agency's own state.")
@json_option
def command(
    folder: Path, name: str, agency: str, partners: tuple[str, ...], state: str, as_json: bool
) -> None:
    """Write a new policy bundle into FOLDER, from a template, and run its cases.

    \b
    strict-local  a local agency that shares little, in its own state
    federal       a federal agency with readers of its own
    commercial    a vendor that answers law enforcement under contract
    house         house rules of a gateway: what one's own people may ask

    It is yours from then on: change it, and put your own documents in `@document`. FOLDER must be new, or
    empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.UsageError(f"`{folder}` is not empty; a bundle that exists is never overwritten")
    try:
        if name == HOUSE and partners:
            raise StartInvalid("house rules are for one's own people: they name no partner")
        files = (
            start_house(agency)
            if name == HOUSE
            else start(name, agency=agency, partners=partners, state=state)
        )
    except StartInvalid as error:
        raise click.UsageError(str(error)) from error
    try:
        for path, text in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"{folder}: can't be written: {error.strerror}", err=True)
        sys.exit(1)
    if name == HOUSE:
        house = HouseBundle.load(folder)
        rules = HouseRules(house, {})
        results = [run_house(rules, case).differences for case in load_house_cases(folder)]
        digest, count, what = house.digest, len(house.policies), "house rules"
    else:
        bundle = PolicyBundle.load(folder)
        engine = PolicyEngine(bundle)
        results = [run(engine, case).differences for case in load_cases(folder)]
        digest, count, what = bundle.digest, len(bundle.policies), "policies"
    held = sum(not differences for differences in results)
    report(
        as_json,
        {
            "folder": str(folder),
            "agency": agency,
            "template": name,
            "digest": digest.hex(),
            "policies": count,
            "cases": len(results),
            "held": held,
        },
        f"{folder}: {count} {what} of {agency}, {held} of {len(results)} cases hold",
        f"now make it your own, and run `comity policy test {folder}`",
    )
