"""`comity adapter check`: are this agency's stores as its adapter.toml says?

It opens every store as the adapter would, reads it whole, and says what it found: how many rows can
answer a question, how many cannot and why, which period they cover, which column is what. It shows
no plate and no row.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from comity.adapters.errors import MappingInvalid, SourceError
from comity.adapters.sources import (
    CsvPlace,
    Progress,
    SourceDescription,
    StoreMapping,
    Survey,
    load_stores,
    open_source,
)
from comity.cli.running import config_option
from comity.cli.serve import serve_adapter


@click.group(epilog="Example: comity adapter check --config /srv/comity/harbor/adapter/adapter.toml")
def group() -> None:
    """Run an agency's adapter, the provider's end, and check its stores."""


group.add_command(serve_adapter)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """What was found of one store: what it holds, or why it cannot be opened."""

    mapping: StoreMapping
    description: SourceDescription | None = None
    survey: Survey | None = None
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the store is open, and rows that should be found can be found."""
        if self.survey is None or self.survey.problems:
            return False
        return self.survey.usable > 0 or self.survey.rejected_count == 0


@group.command(
    "check", epilog="Example: comity adapter check --config /srv/comity/harbor/adapter/adapter.toml"
)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(config: Path, as_json: bool) -> None:
    """Open every store, read it whole, and say what it holds: counts and reasons, never a plate.

    Exit status: 0 every store can be used; 1 one cannot, or none of its rows can; 2 the configuration
    is wrong.
    """
    try:
        mappings = load_stores(config)
    except MappingInvalid as error:
        words = str(error)
        raise click.UsageError(
            words if str(config) in words else f"configuration `{config}`: {words}"
        ) from None
    findings = [_look(mapping, None if as_json else _progress(mapping)) for mapping in mappings]
    if as_json:
        click.echo(json.dumps({"stores": [_as_json(finding) for finding in findings]}, indent=2))
    else:
        for finding in findings:
            _print(finding)
    if not all(finding.is_good for finding in findings):
        raise SystemExit(1)


def _look(mapping: StoreMapping, progress: Progress | None) -> _Finding:
    """Open one store and read it whole."""
    try:
        with open_source(mapping, progress) as source:
            return _Finding(mapping=mapping, description=source.describe(), survey=source.survey(progress))
    except SourceError as error:
        return _Finding(mapping=mapping, error=str(error))


def _progress(mapping: StoreMapping) -> Progress | None:
    """Return what shows progress on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        share = min(100, 100 * done // total) if total else 100
        click.echo(f"\rstore `{mapping.store_id}`: {share} % read \r", nl=False, err=True)

    return show


def _print(finding: _Finding) -> None:
    """Print what was found of one store, for a person."""
    mapping, description, survey = finding.mapping, finding.description, finding.survey
    click.echo(f"store `{mapping.store_id}` (class `{mapping.store_class}`)")
    if description is None or survey is None:
        click.echo(f"  cannot be used: {finding.error}\n")
        return
    click.echo(f"  {description.kind}: `{description.place}`")
    click.echo(f"  rows usable:    {survey.usable:,}")
    click.echo(f"  rows rejected:  {survey.rejected_count:,}")
    _print_counts(survey.rejected)
    if survey.rejected and isinstance(mapping.place, CsvPlace):
        click.echo(f"    kept aside in {mapping.home / 'rejected' / (mapping.store_id + '.jsonl')}")
    if survey.noted:
        click.echo("  used, but noted:")
        _print_counts(survey.noted)
    if survey.first is not None and survey.last is not None:
        click.echo(f"  period covered: {survey.first:%Y-%m-%d %H:%M} to {survey.last:%Y-%m-%d %H:%M} UTC")
    click.echo("  columns:        " + ", ".join(f"{f} <- `{c}`" for f, c in description.columns.items()))
    for problem in survey.problems:
        click.echo(f"  problem: {problem}")
    if not finding.is_good and not survey.problems:
        click.echo("  problem: no row can be used; is the mapping right?")
    click.echo()


def _print_counts(counts: Mapping[str, int]) -> None:
    """Print counts by reason, the largest first."""
    for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"    {count:>9,} x {reason}")


def _as_json(finding: _Finding) -> dict[str, object]:
    """Return what was found of one store, for a script."""
    mapping, description, survey = finding.mapping, finding.description, finding.survey
    found: dict[str, object] = {
        "id": mapping.store_id,
        "class": mapping.store_class,
        "usable_store": finding.is_good,
    }
    if description is None or survey is None:
        return found | {"error": finding.error}
    return found | {
        "kind": description.kind,
        "place": description.place,
        "columns": dict(description.columns),
        "usable": survey.usable,
        "rejected": dict(survey.rejected),
        "noted": dict(survey.noted),
        "first": survey.first.isoformat() if survey.first else None,
        "last": survey.last.isoformat() if survey.last else None,
        "problems": list(survey.problems),
    }
