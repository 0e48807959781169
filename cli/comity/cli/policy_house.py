"""`comity policy` on a house bundle: check, test and explain, as on a provider's."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from comity.cli.policy_cases import asked_words, fail, idle_objects, report_cases, report_idle
from comity.policy.decision import Rule
from comity.policy.errors import BundleInvalid, CaseInvalid
from comity.policy.house.bundle import Enforcement, HouseBundle, HousePolicy
from comity.policy.house.cases import effect_of, load_house_cases, run_house, sketched_house
from comity.policy.house.facts import HouseAct, HouseListing
from comity.policy.house.rules import HouseRules
from comity.policy.house.variations import Explained, explain_house, unmet

_ASKING = {"stop": "stopped: nothing is asked", "warn": "asked, with a warning", "ask": "asked"}
_LISTING = {
    "stop": "stopped: the plate is not put on its hot list, nor kept there",
    "warn": "listed, with a warning",
    "list": "listed",
}


def check_house(folder: Path, *, as_json: bool) -> None:
    """Check a house bundle as `comity policy check` says; exit with 1 if it isn't right."""
    bundle = _load(folder, as_json)
    idle = [(policy, _never(policy, tried)) for policy, tried in unmet(bundle)]
    if as_json:
        click.echo(json.dumps({"valid": True, **_facts(bundle), "never_apply": idle_objects(idle)}))
    else:
        stopping = sum(policy.enforcement is Enforcement.STOP for policy in bundle.policies)
        total = len(bundle.policies)
        click.echo(f"{folder}: valid")
        click.echo(f"agency    {bundle.agency}: house rules, for its own people")
        click.echo(f"version   {bundle.version}")
        click.echo(f"rules     {total} ({stopping} stop, {total - stopping} warn)")
        click.echo(f"digest    {bundle.digest.hex()}")
        report_idle(folder, idle)
    sys.exit(1 if idle else 0)


def test_house(folder: Path, *, covered: bool, as_json: bool) -> None:
    """Run a house bundle's cases as `comity policy test` says; exit with 1 if one doesn't hold."""
    bundle = _load(folder, as_json)
    rules = HouseRules(bundle, {})
    try:
        results = [run_house(rules, case) for case in load_house_cases(folder)]
    except CaseInvalid as error:
        fail(str(error), as_json)
    report_cases(
        _facts(bundle),
        bundle.policies,
        results,
        called="rules",
        does=("meets", "meet"),
        covered=covered,
        as_json=as_json,
    )


def explain_at_house(
    folder: Path, *, name: str | None, path: Path | None, changes: tuple[str, ...], as_json: bool
) -> None:
    """Explain how a house bundle judges a question, as `comity policy explain` says."""
    try:
        bundle = HouseBundle.load(folder)
        words, origin = asked_words(folder, load_house_cases, name=name, path=path)
        act = sketched_house(words, changes, origin)
        explained = explain_house(HouseRules(bundle, {}), act)
    except (BundleInvalid, CaseInvalid) as error:
        if as_json:
            click.echo(json.dumps({"error": str(error)}))
        else:
            click.echo(str(error), err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(_object(bundle, act, explained)))
        return
    for line in _lines(bundle, act, explained):
        click.echo(line)


def _load(folder: Path, as_json: bool) -> HouseBundle:
    try:
        return HouseBundle.load(folder)
    except BundleInvalid as error:
        fail(str(error), as_json)


def _never(policy: HousePolicy, tried: int) -> str:
    return (
        f"`{policy.policy_id}` can never apply: it met none of {tried} questions made of the values that it "
        "compares with"
    )


def _facts(bundle: HouseBundle) -> dict[str, object]:
    return {
        "agency": bundle.agency,
        "kind": "house",
        "version": bundle.version,
        "digest": bundle.digest.hex(),
        "policies": [policy.policy_id for policy in bundle.policies],
        "enforce": {policy.policy_id: policy.enforcement.value for policy in bundle.policies},
    }


def _lines(bundle: HouseBundle, act: HouseAct, explained: Explained) -> Iterator[str]:
    judgement = explained.judgement
    is_listing = isinstance(act, HouseListing)
    says, passed = (_LISTING, "listed") if is_listing else (_ASKING, "asked")
    yield f"{judgement.provider}: {says[effect_of(judgement, act)]}"
    for word, rules in (("stops", judgement.stops), ("warns", judgement.warnings)):
        for rule in rules:
            yield f"  {word}: {_place(bundle, rule)} {rule.policy_id}: {rule.text}"
            yield f"    {' '.join(rule.rules)}; {rule.document}"
    for policy_id in judgement.errors:
        yield f"failed: {policy_id}"
    if not judgement.stops:
        return
    yield ""
    if not explained.otherwise:
        yield f"No other values of these facts would let it be {passed}."
        return
    yield f"It would be {passed} if"
    last = len(explained.otherwise) - 1
    for index, changes in enumerate(explained.otherwise):
        words = " and ".join(change.words for change in changes)
        yield f"  {words}{', or' if index < last else ''}"


def _place(bundle: HouseBundle, rule: Rule) -> str:
    for policy in bundle.policies:
        if policy.policy_id == rule.policy_id:
            return f"{policy.path}:{policy.line}"
    return ""


def _object(bundle: HouseBundle, act: HouseAct, explained: Explained) -> dict[str, object]:
    judgement = explained.judgement
    passed = "would_be_listed" if isinstance(act, HouseListing) else "would_be_asked"
    return {
        "agency": bundle.agency,
        "kind": "house",
        "digest": bundle.digest.hex(),
        "provider": judgement.provider,
        "effect": effect_of(judgement, act),
        "stops": [_rule(bundle, rule) for rule in judgement.stops],
        "warnings": [_rule(bundle, rule) for rule in judgement.warnings],
        "errors": list(judgement.errors),
        passed: [[change.words for change in changes] for changes in explained.otherwise],
    }


def _rule(bundle: HouseBundle, rule: Rule) -> dict[str, object]:
    return {
        "policy": rule.policy_id,
        "place": _place(bundle, rule),
        "rules": list(rule.rules),
        "document": rule.document,
        "text": rule.text,
    }
