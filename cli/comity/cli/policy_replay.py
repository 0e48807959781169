"""`comity policy replay`: logged decisions made again, offline."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import click

from comity.adapters.recomputing import Activation, Bundles, Recomputed, kept_bundles, recompute
from comity.audit.errors import AuditError
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk
from comity.audit.trust import Trust
from comity.certs.errors import UnknownMember
from comity.certs.successions import IdentityKeys
from comity.cli.exporting.end import folder_argument, json_option, open_end, telling, trust_option

_LISTED = 20


@click.command(name="replay", epilog="Example: comity policy replay agencies/lapd/adapter --trust trust.json")
@folder_argument
@click.option(
    "--bundle",
    "bundles",
    metavar="FOLDER",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A bundle, or a folder of bundles. Default: those that the adapter kept, DIR/bundles.",
)
@trust_option
@json_option
def command(folder: Path, bundles: tuple[Path, ...], trust_file: Path | None, as_json: bool) -> None:
    """Make every decision in an adapter's log again, and list those that come out otherwise.

    DIR is an adapter's folder, or a copy of it with `log/` and `state.db`. Each decision is made by the
    bundle that the log names, from the facts that the log commits to; no store is searched. It must be the
    bundle that the log had in force, whose signature is checked, against the roster with --trust. Exit status
    1 if a decision differs, its bundle is not at hand, or a signature is not good.
    """
    end = open_end(folder, trust_file)
    try:
        known = Bundles(bundles or kept_bundles(end.home))
        with KeptBeside(end.state) as kept, telling("decisions") as tell:
            found = _Findings()
            walk = LogWalk(end.log, keys=end.keys)
            for each in recompute(walk, kept, known, activations=found.activations, tell=tell):
                found.add(each)
        identity = None if trust_file is None else _identity(trust_file, end.agency)
        found.judge(known, identity)
    except (AuditError, OSError) as problem:
        if as_json:
            click.echo(json.dumps({"error": str(problem)}))
        else:
            click.echo(str(problem), err=True)
        sys.exit(1)
    for fault in known.faults:
        click.echo(f"not loaded: {fault}", err=True)
    found.print(as_json, len(known))
    sys.exit(1 if found.is_bad else 0)


def _identity(trust_file: Path, agency: str) -> IdentityKeys | None:
    """Return an agency's identity keys with their times; None where the trust file's roster names none."""
    roster = Trust.load(trust_file).roster
    try:
        return None if roster is None else roster.member(agency).identities
    except UnknownMember:
        return None


class _Findings:
    def __init__(self) -> None:
        self.same = 0
        self.differing: list[Recomputed] = []
        self.unknown: Counter[str] = Counter()
        self.without_bundle = 0
        self.activations: list[Activation] = []
        self.unsigned: list[tuple[Activation, str]] = []

    @property
    def is_bad(self) -> bool:
        """Whether anything is wrong; that nobody signed a bundle is told, and was allowed."""
        wrong = [activation for activation, _ in self.unsigned if activation.adoption]
        return bool(self.differing or self.without_bundle or wrong)

    def judge(self, bundles: Bundles, identity: IdentityKeys | None) -> None:
        """Check what was signed of each bundle that was in force."""
        judged = ((each, each.judged(bundles, identity)) for each in self.activations)
        self.unsigned = [(each, wrong) for each, wrong in judged if wrong]

    def add(self, each: Recomputed) -> None:
        if each.differences:
            self.differing.append(each)
        elif each.unknown:
            self.unknown[each.unknown] += 1
            self.without_bundle += each.lacks_bundle
        else:
            self.same += 1

    def print(self, as_json: bool, bundles: int) -> None:
        if as_json:
            told = {
                "bundles": bundles,
                "same": self.same,
                "differing": [_object(each) for each in self.differing],
                "not_made_again": dict(self.unknown),
                "activations": len(self.activations),
                "not_signed": [
                    {"entry": each.index, "policy": each.policy, "version": each.version, "why": why}
                    for each, why in self.unsigned
                ],
            }
            click.echo(json.dumps(told))
            return
        for each in self.differing[:_LISTED]:
            click.echo(f"entry {each.index}  exchange {each.exchange.hex()}  bundle {each.policy[:16]}")
            for difference in each.differences:
                click.echo(f"  {difference}")
        if len(self.differing) > _LISTED:
            click.echo(f"and {len(self.differing) - _LISTED} more; `--json` lists them all")
        total = self.same + len(self.differing) + self.unknown.total()
        click.echo(
            f"{total} decisions by {bundles} bundle{'s' * (bundles != 1)}: "
            f"{self.same} the same, {len(self.differing)} otherwise"
        )
        for why, count in self.unknown.most_common():
            click.echo(f"{count} not made again: {why}")
        good = len(self.activations) - len(self.unsigned)
        click.echo(f"{len(self.activations)} activations: {good} of a signed bundle")
        for activation, why in self.unsigned[:_LISTED]:
            which = f"version {activation.version}  bundle {activation.policy[:16]}"
            click.echo(f"entry {activation.index}  {which}: {why}")


def _object(each: Recomputed) -> dict[str, object]:
    return {
        "entry": each.index,
        "exchange": each.exchange.hex(),
        "at": each.at.isoformat(),
        "policy": each.policy,
        "outcome": each.outcome,
        "differences": list(each.differences),
    }
