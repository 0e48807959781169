"""`comity policy` on a house bundle: check, test and explain, as on a provider's."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import click

from comity.policy.decision import Rule
from comity.policy.errors import BundleInvalid, CaseInvalid
from comity.policy.house.bundle import Enforcement, HouseBundle
from comity.policy.house.cases import (
    HouseCase,
    HouseCaseResult,
    effect_of,
    load_house_cases,
    read_words,
    run_house,
    sketched_house,
    uncovered_rules,
)
from comity.policy.house.rules import HouseRules
from comity.policy.house.variations import Explained, explain_house, unmet

_SAYS = {"stop": "stopped: nothing is asked", "warn": "asked, with a warning", "ask": "asked"}


def check_house(folder: Path, *, as_json: bool) -> None:
    """Check a house bundle as `comity policy check` says; exit with 1 if it isn't right."""
    bundle = _load(folder, as_json)
    idle = [(policy, tried) for policy, tried in unmet(bundle)]
    if as_json:
        never = [
            {"policy": policy.policy_id, "file": policy.path, "line": policy.line, "text": _never(tried)}
            for policy, tried in idle
        ]
        click.echo(json.dumps({"valid": True, **_facts(bundle), "never_apply": never}))
    else:
        stopping = sum(policy.enforcement is Enforcement.STOP for policy in bundle.policies)
        total = len(bundle.policies)
        click.echo(f"{folder}: valid")
        click.echo(f"agency    {bundle.agency}: house rules, for its own people")
        click.echo(f"version   {bundle.version}")
        click.echo(f"rules     {total} ({stopping} stop, {total - stopping} warn)")
        click.echo(f"digest    {bundle.digest.hex()}")
        for policy, tried in idle:
            click.echo(
                f"{folder / policy.path}:{policy.line}: `{policy.policy_id}` {_never(tried)}", err=True
            )
    sys.exit(1 if idle else 0)


def test_house(folder: Path, *, covered: bool, as_json: bool) -> None:
    """Run a house bundle's cases as `comity policy test` says; exit with 1 if one doesn't hold."""
    bundle = _load(folder, as_json)
    rules = HouseRules(bundle, {})
    try:
        results = [run_house(rules, case) for case in load_house_cases(folder)]
    except CaseInvalid as error:
        _fail(str(error), as_json)
    failed = sum(bool(result.differences) for result in results)
    bare = uncovered_rules(bundle, results)
    if as_json:
        told = {"failed": failed, "uncovered": [policy.policy_id for policy in bare]}
        cases = [_case(result) for result in results]
        click.echo(json.dumps({"valid": True, **_facts(bundle), **told, "cases": cases}))
    else:
        for result in results:
            click.echo(f"{'FAILED' if result.differences else 'ok    '}  {result.case.name}")
            for difference in result.differences:
                click.echo(f"          {difference}")
        for policy in bare:
            click.echo(f"no case  {policy.path}:{policy.line}: {policy.policy_id} meets none of them")
        total = len(bundle.policies)
        click.echo(f"{len(results) - failed} of {len(results)} cases hold; digest {bundle.digest.hex()}")
        click.echo(f"{total - len(bare)} of {total} rules meet a case")
    sys.exit(1 if failed or (covered and bare) else 0)


def explain_at_house(
    folder: Path, *, name: str | None, path: Path | None, changes: tuple[str, ...], as_json: bool
) -> None:
    """Explain how a house bundle judges a question, as `comity policy explain` says."""
    try:
        bundle = HouseBundle.load(folder)
        words, origin = _words(folder, name, path)
        question = sketched_house(words, changes, origin)
        explained = explain_house(HouseRules(bundle, {}), question)
    except (BundleInvalid, CaseInvalid) as error:
        if as_json:
            click.echo(json.dumps({"error": str(error)}))
        else:
            click.echo(str(error), err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps(_object(bundle, explained)))
        return
    for line in _lines(bundle, explained):
        click.echo(line)


def _load(folder: Path, as_json: bool) -> HouseBundle:
    try:
        return HouseBundle.load(folder)
    except BundleInvalid as error:
        _fail(str(error), as_json)


def _fail(text: str, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"valid": False, "error": text}))
    else:
        click.echo(text, err=True)
    sys.exit(1)


def _never(tried: int) -> str:
    return f"can never apply: it met none of {tried} questions made of the values that it compares with"


def _facts(bundle: HouseBundle) -> dict[str, object]:
    return {
        "agency": bundle.agency,
        "kind": "house",
        "version": bundle.version,
        "digest": bundle.digest.hex(),
        "policies": [policy.policy_id for policy in bundle.policies],
        "enforce": {policy.policy_id: policy.enforcement.value for policy in bundle.policies},
    }


def _case(result: HouseCaseResult) -> dict[str, object]:
    return {
        "name": result.case.name,
        "file": result.case.path.name,
        "holds": not result.differences,
        "differences": list(result.differences),
    }


def _words(folder: Path, name: str | None, path: Path | None) -> tuple[Mapping[str, object], str]:
    if path is not None:
        return read_words(path), str(path)
    cases = load_house_cases(folder)
    found = [case for case in cases if case.name == name] or _alike(cases, name or "")
    if len(found) != 1:
        names = "".join(f"\n  {case.name}" for case in found or cases)
        problem = "fits several cases" if found else "is no case"
        raise CaseInvalid(f"{folder}: `{name}` {problem}; there are{names}")
    return found[0].words, f"case `{found[0].name}`"


def _alike(cases: Sequence[HouseCase], part: str) -> list[HouseCase]:
    return [case for case in cases if part.casefold() in case.name.casefold()]


def _lines(bundle: HouseBundle, explained: Explained) -> Iterator[str]:
    judgement = explained.judgement
    yield f"{judgement.provider}: {_SAYS[effect_of(judgement)]}"
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
        yield "No other values of these facts would let it be asked."
        return
    yield "It would be asked if"
    last = len(explained.otherwise) - 1
    for index, changes in enumerate(explained.otherwise):
        words = " and ".join(change.words for change in changes)
        yield f"  {words}{', or' if index < last else ''}"


def _place(bundle: HouseBundle, rule: Rule) -> str:
    for policy in bundle.policies:
        if policy.policy_id == rule.policy_id:
            return f"{policy.path}:{policy.line}"
    return ""


def _object(bundle: HouseBundle, explained: Explained) -> dict[str, object]:
    judgement = explained.judgement
    return {
        "agency": bundle.agency,
        "kind": "house",
        "digest": bundle.digest.hex(),
        "provider": judgement.provider,
        "effect": effect_of(judgement),
        "stops": [_rule(bundle, rule) for rule in judgement.stops],
        "warnings": [_rule(bundle, rule) for rule in judgement.warnings],
        "errors": list(judgement.errors),
        "would_be_asked": [[change.words for change in changes] for changes in explained.otherwise],
    }


def _rule(bundle: HouseBundle, rule: Rule) -> dict[str, object]:
    return {
        "policy": rule.policy_id,
        "place": _place(bundle, rule),
        "rules": list(rule.rules),
        "document": rule.document,
        "text": rule.text,
    }
