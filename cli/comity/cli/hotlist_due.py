"""`comity hotlist due`: plates on hot lists that must be renewed, reviewed or removed (H3, H9)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click

from comity.certs.clock import utc_now
from comity.certs.errors import CertsError
from comity.cli.csv_files import ListInvalid
from comity.cli.exporting.document import clean
from comity.cli.exporting.end import trust_option
from comity.cli.hot_list_files import read_cases
from comity.cli.hot_list_record import OnList, false_openings, read_record
from comity.cli.hotlist_check import kind_of, own_gateway, rules_of
from comity.cli.own_end import OwnEnd
from comity.cli.reporting import Json, json_option, stop
from comity.gateway.errors import ConfigInvalid
from comity.gateway.hot_lists import Batch, ListedPlate, Lister, ListingInvalid, facts
from comity.policy.decision import Rule
from comity.policy.errors import PolicyError
from comity.policy.house.facts import AskedOf
from comity.policy.house.rules import HouseRules

ON_A_LIST: Final = timedelta(days=366 + 7)
"""As long as an act may keep a plate on a list: a year, and the week to renew it (H3)."""
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A plate of which a rule has something to say today."""

    listed: OnList = field(repr=False)
    stops: tuple[Rule, ...]
    warnings: tuple[Rule, ...]
    fault: str = ""
    """Why no rule could judge it; empty if they did."""


@click.command(
    name="due",
    epilog="Example: comity hotlist due --home fed/agencies/ice/gateway --cases current.txt  Exit status: 0 "
    "no plate has to go; 1 one has, or wants a review, or can't be judged or opened; 2 wrong use.",
)
@click.option("--home", type=_FOLDER, required=True, help="Your agency's gateway folder: its rules and log.")
@click.option("--house", type=_FOLDER, help="The house bundle.  [default: that of --home]")
@click.option(
    "--cases",
    "cases_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Numbers of the current investigations, one a line.  [default: each case still is as when listed]",
)
@trust_option
@json_option
def command(
    home: Path, house: Path | None, cases_file: Path | None, trust_file: Path | None, as_json: bool
) -> None:
    """List the plates on hot lists that expire soon, have expired, want a review, or outlived their case.

    From the record that `comity hotlist check --record` keeps, judged today by your agency's house rules as
    what stays there: for ICE two weeks before the year is over, in the week after it, and then. Plates and
    users are shown. Nothing is written: `check --act renew`, `keep` and `remove` do that.
    """
    try:
        end = own_gateway(home)
        rules = rules_of(house, home, end)
        cases = None if cases_file is None else read_cases(cases_file)
        record = read_record(home, trust_file)
        on_lists, now = record.on_lists, utc_now()
        closed = record.closed_since(now - ON_A_LIST)
        found = [each for listed in on_lists if (each := _due(rules, end, listed, cases, now)) is not None]
    except (ListInvalid, PolicyError, ConfigInvalid, CertsError) as error:
        stop(str(error))
    if as_json:
        told = {"on_lists": len(on_lists), "closed": closed, "due": [_object(each) for each in found]}
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for each in found:
            for line in _lines(each):
                click.echo(line)
        plates = f"{len(on_lists)} plate{'s' * (len(on_lists) != 1)} on hot lists"
        stops = sum(bool(each.stops) for each in found)
        click.echo(f"{plates}: {stops} may not stay as they are, {len(found) - stops} to look at")
    if record.false:
        click.echo(false_openings(record), err=True)
    if closed:
        click.echo(
            f"{closed} act{'s' * (closed != 1)} of the last year can't be opened any more: what "
            "they put on hot lists is not among these",
            err=True,
        )
    sys.exit(1 if record.false or closed or any(each.stops or each.fault for each in found) else 0)


def _due(
    rules: HouseRules, end: OwnEnd, listed: OnList, cases: frozenset[str] | None, now: datetime
) -> _Due | None:
    """Judge one plate as what stays on its list; None if no rule says anything of it.

    The person is taken to be fit: what is asked here is the entry's own, not who looks.
    """
    row = listed.row
    case = row.get("case", "")
    lister = Lister(
        user=listed.user,
        office=listed.office,
        trained_at=now,
        rules_accepted=True,
        good_standing=True,
        attested=True,
    )
    batch = Batch(
        agency=rules.bundle.agency,
        act="KEEP",
        holder=AskedOf(agency=listed.holder, kind=kind_of(end, listed.holder, "commercial")),
        lister=lister,
        documented=True,
        plates=1,
        now=now,
    )
    try:
        plate = ListedPlate(
            plate=row.get("plate", ""),
            folded=row.get("folded", ""),
            state=row.get("state", ""),
            country=row.get("country", ""),
            reason=row.get("reason", ""),
            case=case,
            case_current=True if cases is None else case in cases,
            tracking=row.get("tracking", ""),
            entered=_instant(row.get("valid_from")),
            expires=_instant(row.get("valid_until")),
            reviewed=listed.reviewed,
        )
        judgement = rules.judge(facts(batch, plate, rules.bundle.windows))[0]
    except ValueError as error:  # `ListingInvalid` is one
        return _Due(listed=listed, stops=(), warnings=(), fault=str(error))
    if not judgement.stops and not judgement.warnings:
        return None
    return _Due(listed=listed, stops=judgement.stops, warnings=judgement.warnings)


def _instant(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError as error:
        raise ListingInvalid("its days are none") from error


def _lines(due: _Due) -> Iterator[str]:
    row = due.listed.row
    plate = f"{row.get('plate')} {row.get('state')} {row.get('country')} at {due.listed.holder}"
    who = f"{due.listed.user or 'closed'} ({due.listed.office})"
    yield clean(
        f"{plate}, case {row.get('case') or 'none'}, by {who}, until {row.get('valid_until', '')[:10]}"
    )
    if due.fault:
        yield f"  can't be judged: {due.fault}"
    for word, rules in (("stopped", due.stops), ("warned ", due.warnings)):
        for rule in rules:
            yield f"  {word}  {rule.policy_id}: {rule.text} ({' '.join(rule.rules)}; {rule.document})"


def _object(due: _Due) -> Mapping[str, Json]:
    row = due.listed.row
    return {
        "plate": row.get("plate"),
        "state": row.get("state"),
        "country": row.get("country"),
        "reason": row.get("reason"),
        "case": row.get("case"),
        "tracking": row.get("tracking"),
        "holder": due.listed.holder,
        "user": due.listed.user,
        "valid_until": row.get("valid_until"),
        "stops": [rule.policy_id for rule in due.stops],
        "warnings": [rule.policy_id for rule in due.warnings],
        "fault": due.fault or None,
    }
