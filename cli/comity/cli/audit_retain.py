"""`comity audit retain` and `comity audit hold`: what an end keeps beside its log, and for how long (L5)."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import click

from comity.audit.acts import Act, enter, enter_act
from comity.audit.entry import from_milliseconds
from comity.audit.errors import AuditError, RetentionRefused
from comity.audit.keeping import Extent, Keeper, Survey
from comity.audit.retaining import STATE, Forgetting, forget
from comity.audit.retention import Believable, check_clock
from comity.certs.clock import utc_now
from comity.cli.own_end import load_own_end
from comity.cli.reporting import Json, json_option, report, stop, working

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    epilog="Example: comity audit retain agencies/lapd/adapter --dry-run  "
    "Exit status: 0 done, or nothing was due; 1 nothing was deleted, and why; 2 wrong use."
)
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.option("--dry-run", is_flag=True, help="Only say what is due, and what is held.")
@json_option
def retain(home: Path, dry_run: bool, as_json: bool) -> None:
    """Delete what the end in HOME keeps beside its log and is past its time; the end also does so by itself.

    Openings and envelopes go from its state database and from its write-ahead segments, so that no byte of
    them is left; the log, and every proof in it, stays as it is. The terms are those of the table [retention]
    in the end's configuration: seven years, and thirty days more, if it says nothing (L5). What a hold is
    about stays. Run it as the account of the end's process, whether that runs or not.
    """
    end = load_own_end(home)
    now = utc_now()
    cutoffs = end.terms.cutoffs(now)
    keeper = Keeper(home / STATE)
    try:
        if dry_run:
            due = keeper.survey(cutoffs) if keeper.exists else Survey(openings=Extent(), envelopes=Extent())
            found: Survey | None = due
        else:
            check_clock(now, Believable.by(end.federation))
            wanted = Forgetting(home=home, agency=end.agency, cutoffs=cutoffs)
            with working("deleting, and writing the state database anew"):
                found = asyncio.run(forget(wanted, partial(enter_act, home)))
    except RetentionRefused as problem:
        stop(str(problem), status=1)
    except AuditError as problem:
        stop(str(problem))
    found = found or Survey(openings=Extent(), envelopes=Extent())
    values: dict[str, Json] = {
        "home": str(home),
        "dry_run": dry_run,
        "openings": _json(found.openings),
        "openings_before": f"{from_milliseconds(cutoffs.openings):%Y-%m-%d}",
        "envelopes": _json(found.envelopes),
        "envelopes_before": f"{from_milliseconds(cutoffs.envelopes):%Y-%m-%d}",
    }
    if dry_run:
        values["held_entries"] = found.held
    word = "due" if dry_run else "deleted"
    lines = [
        f"openings of before {values['openings_before']}: {_words(found.openings, word)}",
        f"envelopes of before {values['envelopes_before']}: {_words(found.envelopes, word)}",
    ]
    if dry_run and found.held:
        lines.append(f"held, so they stay: {found.held} entries that are past their time")
    report(as_json, values, *lines)


@click.command(
    epilog='Example: comity audit hold agencies/lapd/adapter --case 26-0417 --reason "discovery order"  '
    "Then: comity audit hold agencies/lapd/adapter --case 26-0417 --lift --reason ended"
)
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.option("--case", "case_number", help="The case's number, as queries name it.")
@click.option("--reason", help="Why; it stands in the log as a commitment.")
@click.option("--lift", is_flag=True, help="Hold the case no more.")
@click.option("--list", "only_list", is_flag=True, help="Only list the cases that are held.")
@json_option
def hold(
    home: Path, case_number: str | None, reason: str | None, lift: bool, only_list: bool, as_json: bool
) -> None:
    """Keep all that the end in HOME has on a case, whatever its time, until the hold is lifted (L5).

    All openings and envelopes of the exchanges in which the case was named are kept, also of those still to
    come. The log tells of the hold; case and reason stand in it as commitments. Each end has its own holds.
    """
    load_own_end(home)
    keeper = Keeper(home / STATE)
    if only_list:
        _list(home, keeper, as_json)
        return
    if not (case_number or "").strip():
        raise click.UsageError("--case is missing: the number of the case")
    if not (reason or "").strip():
        raise click.UsageError("--reason is missing: why the case is held, or held no more")
    assert case_number is not None and reason is not None
    if "\0" in case_number or len(case_number) > 64:
        raise click.UsageError("--case: 1 to 64 characters are right")
    act = Act(kind="held", public={"lifted": lift}, private={"case": case_number.strip(), "reason": reason})
    now_ms = int(utc_now().timestamp() * 1000)
    try:
        held = keeper.exists and keeper.is_held(case_number)
        if lift and not held:
            stop("the case is not held in this folder")
        if not lift:
            keeper.hold(case_number, now_ms)
        promise = enter(home, act)
        if lift:
            keeper.lift(case_number)
    except AuditError as problem:
        stop(str(problem))
    word = "held no more" if lift else "held" if not held else "held already"
    values: dict[str, Json] = {"home": str(home), "held": not lift, "entry": promise.index}
    report(as_json, values, f"{home}: the case is {word}; entry {promise.index} of {promise.origin}")


def _list(home: Path, keeper: Keeper, as_json: bool) -> None:
    try:
        holds = keeper.holds() if keeper.exists else []
    except AuditError as problem:
        stop(str(problem))
    values: dict[str, Json] = {
        "home": str(home),
        "holds": [{"case": one.case, "since": f"{from_milliseconds(one.at_ms):%Y-%m-%d}"} for one in holds],
    }
    lines = [f"{one.case}: since {from_milliseconds(one.at_ms):%Y-%m-%d}" for one in holds]
    report(as_json, values, *(lines or ["no case is held"]))


def _json(extent: Extent) -> Json:
    return {"count": extent.count, "first": extent.first, "last": extent.last}


def _words(extent: Extent, word: str) -> str:
    if not extent.count:
        return f"none {word}"
    return f"{extent.count} {word}, of entries {extent.first} to {extent.last}"
