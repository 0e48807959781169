"""What a decision costs, with its obligations: `python -m benchmarks.decision`.

Each shipped bundle decides a question over its stores that it permits with something withheld or clipped:
Cedar for `Search` and each element of each store, then limits, obligations and their strictest. *new*: no
question was like it in every fact; *known*: one was. The floor is one bare Cedar authorization (`Search`, one
store) with the same policies and entities, prepared, in the same repetition and in turn. It judges nothing.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from statistics import median

import cedarpy
import click

from benchmarks import report
from benchmarks.fanout import RESULTS
from comity.policy import cedar
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.cases import Case, load_cases
from comity.policy.decision import Effect, PolicyEngine
from comity.policy.facts import DecisionRequest

AGENCIES = ("cbp", "dea", "vendor", "lapd", "lahd")
BATCH = 50
"""Questions between two looks at the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One bundle: µs of CPU a decision, a repetition each."""

    agency: str
    policies: int
    stores: int
    obligations: tuple[str, ...]
    new: tuple[float, ...]
    known: tuple[float, ...]
    bare: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """New decisions over bare authorizations, within each repetition."""
        return [new / bare for new, bare in zip(self.new, self.bare, strict=True)]


@click.command()
@click.option("--repetitions", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.01, 60), default=0.5, show_default=True, help="Each.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def main(repetitions: int, seconds: float, as_json: bool) -> None:
    """Measure decisions, and write the figures to benchmarks/results/."""
    at, load = datetime.now(UTC), os.getloadavg()[0]
    found = [measure(agency, repetitions, seconds) for agency in AGENCIES]
    figures = {
        "at": at.isoformat(timespec="seconds"),
        "machine": dict(report.machine()),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "decisions": [asdict(each) | {"over_bare": each.ratios} for each in found],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"decision-{at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    click.echo(f"load average before {load:.1f}, after {os.getloadavg()[0]:.1f}; µs of CPU, median (range)")
    for each in found:
        click.echo(
            f"{each.agency:<7} {each.policies} policies, {each.stores} stores, "
            f"{len(each.obligations)} obligations: new {_range(each.new)}, known {_range(each.known)}, "
            f"bare authorization {_range(each.bare)}; over bare {_range(each.ratios, 1)}"
        )
    click.echo(f"written: {path}", err=True)


def measure(agency: str, repetitions: int, seconds: float) -> Figures:
    """Return what a decision of one agency costs; the ways run in turn, every other repetition backwards."""
    bundle = PolicyBundle.load(shipped(agency))
    engine, case = PolicyEngine(bundle), obliged(PolicyEngine(bundle), agency)
    decision = engine.decide(case.request, case.stores)
    assert decision.obligations is not None
    questions = fresh(case.request)
    bare = _bare(bundle, case)
    ways: dict[str, Callable[[], object]] = {
        "new": lambda: engine.decide(next(questions), case.stores),
        "known": lambda: engine.decide(case.request, case.stores),
        "bare": bare,
    }
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for repetition in range(repetitions):
        for way in list(ways)[:: -1 if repetition % 2 else 1]:
            spent[way].append(_cost(ways[way], seconds))
    return Figures(
        agency=agency,
        policies=len(bundle.policies),
        stores=len(case.stores),
        obligations=tuple(sorted({applied.name for applied in decision.obligations.applied})),
        new=tuple(spent["new"]),
        known=tuple(spent["known"]),
        bare=tuple(spent["bare"]),
    )


def obliged(engine: PolicyEngine, agency: str) -> Case:
    """Return the agency's own case that is permitted with most obligations."""

    def applied(case: Case) -> int:
        decision = engine.decide(case.request, case.stores)
        if decision.effect is not Effect.PERMIT or decision.obligations is None:
            return -1
        return len(decision.obligations.applied) * len(decision.stores)

    return max(load_cases(shipped(agency)), key=applied)


def fresh(request: DecisionRequest) -> Iterator[DecisionRequest]:
    """Yield questions like one, none of which is like another in every fact."""
    for number in count():
        days, years = number % 300, number // 300 % 100
        earlier = request.period_start - timedelta(days=days)
        yield replace(request, period_start=earlier, limitation_years=years)


def _bare(bundle: PolicyBundle, case: Case) -> Callable[[], object]:
    """Return one Cedar authorization with handles that were made before."""
    prepared = cedar.PreparedPolicies(
        {policy.policy_id: policy.json_text for policy in bundle.policies},
        bundle.schema_text,
        bundle.entities_text,
    )
    question = prepared.question(bundle.agency, case.request, case.stores)
    asked = cedar._request(cedar.SEARCH, case.stores[0].store_id)
    return lambda: cedarpy.is_authorized(asked, question._policies, question._entities)


def _cost(work: Callable[[], object], seconds: float) -> float:
    """Return µs of CPU that one call takes."""
    calls, began, until = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(BATCH):
            work()
        calls += BATCH
    return (time.process_time() - began) / calls * 1e6


def _range(values: list[float] | tuple[float, ...], digits: int = 0) -> str:
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), median(values), max(values)))
    return f"{middle} ({low}–{high})"


if __name__ == "__main__":
    main()
