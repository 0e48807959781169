"""`comity policy replay`: logged decisions made again, offline."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import click

from comity.adapters.recomputing import Bundles, Recomputed, kept_bundles, recompute
from comity.audit.errors import AuditError
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk
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
    bundle that the log names, from the facts that the log commits to; no store is searched. Exit status 1 if
    a decision differs, or its bundle is not at hand.
    """
    end = open_end(folder, trust_file)
    try:
        known = Bundles(bundles or kept_bundles(end.home))
        with KeptBeside(end.state) as kept, telling("decisions") as tell:
            found = _Findings()
            for each in recompute(LogWalk(end.log, keys=end.keys), kept, known, tell=tell):
                found.add(each)
    except (AuditError, OSError) as problem:
        if as_json:
            click.echo(json.dumps({"error": str(problem)}))
        else:
            click.echo(str(problem), err=True)
        sys.exit(1)
    for fault in known.faults:
        click.echo(f"not loaded: {fault}", err=True)
    found.print(as_json, len(known))
    sys.exit(1 if found.differing or found.without_bundle else 0)


class _Findings:
    def __init__(self) -> None:
        self.same = 0
        self.differing: list[Recomputed] = []
        self.unknown: Counter[str] = Counter()
        self.without_bundle = 0

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


def _object(each: Recomputed) -> dict[str, object]:
    return {
        "entry": each.index,
        "exchange": each.exchange.hex(),
        "at": each.at.isoformat(),
        "policy": each.policy,
        "outcome": each.outcome,
        "differences": list(each.differences),
    }
