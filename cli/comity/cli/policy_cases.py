"""What `comity policy` prints of a bundle's cases, a provider's as a house's, and what ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

import click

from comity.policy.case_words import CaseResult, Words, Written, find_case, read_words, uncovered


class _Law(Protocol):
    @property
    def policy_id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def line(self) -> int: ...


def report_cases(
    facts: Mapping[str, object],
    policies: Sequence[_Law],
    results: Sequence[CaseResult],
    *,
    called: str,
    does: tuple[str, str],
    covered: bool,
    as_json: bool,
) -> NoReturn:
    """Print what came of a bundle's cases and exit: with 1 if one doesn't hold, or one is missing.

    Args:
        facts: What is said of the bundle in JSON, its digest among it.
        policies: All of the bundle's.
        results: Of each case.
        called: `policies` or `rules`.
        does: What one does with a case, and what several do: `determines`, `determine`.
        covered: Whether a policy that determines none of them is a failure.
        as_json: Whether to print one JSON object.
    """
    failed = sum(bool(result.differences) for result in results)
    bare = uncovered(policies, results)
    if as_json:
        told = {"failed": failed, "uncovered": [policy.policy_id for policy in bare]}
        click.echo(json.dumps({"valid": True, **facts, **told, "cases": [_case(each) for each in results]}))
    else:
        for result in results:
            click.echo(f"{'FAILED' if result.differences else 'ok    '}  {result.case.name}")
            for difference in result.differences:
                click.echo(f"          {difference}")
        for policy in bare:
            click.echo(f"no case  {policy.path}:{policy.line}: {policy.policy_id} {does[0]} none of them")
        total = len(policies)
        click.echo(f"{len(results) - failed} of {len(results)} cases hold; digest {facts['digest']}")
        click.echo(f"{total - len(bare)} of {total} {called} {does[1]} a case")
    sys.exit(1 if failed or (covered and bare) else 0)


def report_idle(folder: Path, idle: Iterable[tuple[_Law, str]]) -> None:
    """Print the policies that can never apply, on standard error, with file and line."""
    for policy, text in idle:
        click.echo(f"{folder / policy.path}:{policy.line}: {text}", err=True)


def idle_objects(idle: Iterable[tuple[_Law, str]]) -> list[dict[str, object]]:
    """Return the policies that can never apply, for JSON."""
    return [
        {"policy": policy.policy_id, "file": policy.path, "line": policy.line, "text": text}
        for policy, text in idle
    ]


def asked_words(
    folder: Path, load: Callable[[Path], Sequence[Written]], *, name: str | None, path: Path | None
) -> tuple[Words, str]:
    """Return the words of a sketch, or of the case of that name, and where they come from.

    Raises:
        CaseInvalid: the sketch can't be read, or there is no such case.
    """
    if path is not None:
        return read_words(path), str(path)
    case = find_case(load(folder), name or "", folder)
    return case.words, f"case `{case.name}`"


def fail(text: str, as_json: bool) -> NoReturn:
    """Print why a bundle can't be judged, and exit with 1."""
    if as_json:
        click.echo(json.dumps({"valid": False, "error": text}))
    else:
        click.echo(text, err=True)
    sys.exit(1)


def _case(result: CaseResult) -> dict[str, object]:
    return {
        "name": result.case.name,
        "file": result.case.path.name,
        "holds": not result.differences,
        "differences": list(result.differences),
    }
