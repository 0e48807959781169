"""`comity policy explain`: why a question is decided as it is, or was, and what would have to differ."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import click

from comity.adapters.recomputing import Bundles, find_decisions, kept_bundles
from comity.audit.errors import AuditError
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk
from comity.cli import policy_house
from comity.cli.exporting.end import open_end, telling, trust_option
from comity.cli.policy_cases import asked_words
from comity.policy.bundle import PolicyBundle
from comity.policy.cases import load_cases, sketched
from comity.policy.decision import Decision, Effect, PolicyEngine, Rule, StoreDecision
from comity.policy.errors import BundleInvalid, CaseInvalid
from comity.policy.explaining import Explanation, Otherwise, explain
from comity.policy.house.bundle import is_house
from comity.policy.obligations import Applied

_LISTED = 20
_SHOWN = {
    "no_hits": "an answer without hits, in which nothing tells of the refusal (A1)",
    "fewer_hits": "an answer of all stores, in which nothing tells of those that aren't searched (A1)",
    "refuse": "a refusal that names other policies",
    "refer": "a referral",
    "limit": "a limit, as of a question that no policy refuses",
}
_WORDS = {
    Effect.PERMIT: "permitted",
    Effect.REFUSE: "refused",
    Effect.REFER: "referred",
    Effect.LIMIT: "over a budget",
}


@click.command(
    name="explain",
    epilog='Example: comity policy explain lapd/policy --case "trained 366 days ago is not" '
    "--set 'reason = \"NARCOTICS\"'",
)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER")
@click.option("--case", "name", metavar="NAME", help="A case of the bundle's own tests.")
@click.option(
    "--question",
    "path",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A question in the words of a case, as TOML.",
)
@click.option(
    "--exchange",
    metavar="ID",
    help="A real one: FOLDER is then an adapter's folder, and ID begins the exchange's id.",
)
@trust_option
@click.option("--set", "changes", metavar="LINE", multiple=True, help="A line of TOML to put in its place.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    folder: Path,
    name: str | None,
    path: Path | None,
    exchange: str | None,
    trust_file: Path | None,
    changes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Explain how the bundle in FOLDER decides a question, or how a real one was decided.

    Which policies determine the decision, with file, line and the paragraph of the document each stands for;
    what is obliged and withheld; and, unless it is permitted, which facts would have to be otherwise. The
    question is a case of the bundle's own tests, or sketched in a file; or it is an exchange in the log of
    the adapter in FOLDER, with the facts that the log commits to and the bundle that was in force. No store
    is searched.
    """
    if [name, path, exchange].count(None) != 2:
        raise click.UsageError("give one of --case NAME, --question FILE, --exchange ID")
    if is_house(folder):
        if exchange is not None:
            raise click.UsageError("house rules decide no exchange: give --case NAME or --question FILE")
        policy_house.explain_at_house(folder, name=name, path=path, changes=changes, as_json=as_json)
        return
    try:
        if exchange is not None:
            if changes:
                raise click.UsageError("--set changes a case or a sketch; a real exchange was as it was")
            found = _logged(folder, exchange, trust_file)
        else:
            bundle = PolicyBundle.load(folder)
            words, origin = asked_words(folder, load_cases, name=name, path=path)
            request, stores = sketched(words, changes, origin)
            found = _Found(bundle=bundle, explanation=explain(PolicyEngine(bundle), request, stores))
    except (BundleInvalid, CaseInvalid, AuditError, OSError, _Unexplained) as error:
        if as_json:
            click.echo(json.dumps({"error": str(error)}))
        else:
            click.echo(str(error), err=True)
        sys.exit(1)
    if as_json:
        click.echo(json.dumps({**found.head, **_object(found.bundle, found.explanation)}))
    else:
        for line in (*found.lines, *_lines(found.bundle, found.explanation)):
            click.echo(line)
    if found.differs:
        sys.exit(1)


class _Unexplained(Exception):
    """A real exchange that can't be explained; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A question's explanation, and where a real one stands in its log."""

    bundle: PolicyBundle
    explanation: Explanation
    head: Mapping[str, object] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    differs: bool = False
    """Whether the log says something else than the policy decides."""


def _logged(folder: Path, exchange: str, trust_file: Path | None) -> _Found:
    """Return how the one exchange in an adapter's log whose id begins so was decided."""
    end = open_end(folder, trust_file)
    bundles = Bundles(kept_bundles(end.home))
    with KeptBeside(end.state) as kept, telling("entries") as tell:
        found, rejected = find_decisions(LogWalk(end.log, keys=end.keys), kept, bundles, exchange, tell=tell)
    if not found and rejected:
        index, reason = rejected[0]
        raise _Unexplained(f"entry {index} rejected it before any decision: {reason}")
    if len(found) != 1:
        ids = "".join(f"\n  {each.exchange.hex()}" for each in found[:_LISTED])
        problem = f"begins {len(found)} ids:{ids}" if found else "begins no exchange that was decided here"
        raise _Unexplained(f"`{end.origin}`: `{exchange}` {problem}")
    (decision,) = found
    if decision.engine is None or decision.request is None:
        raise _Unexplained(f"entry {decision.index}: {decision.fault or decision.unknown}")
    differences = decision.again().differences
    return _Found(
        bundle=decision.engine.bundle,
        explanation=explain(decision.engine, decision.request, decision.stores),
        head={
            "exchange": decision.exchange.hex(),
            "entry": decision.index,
            "at": decision.at.isoformat(),
            "version": decision.engine.bundle.version,
            "logged": decision.outcome,
            "differences": list(differences),
        },
        lines=(
            f"exchange {decision.exchange.hex()}, entry {decision.index} of {end.origin}",
            f"{decision.request.requester} asked, decided {decision.at:%Y-%m-%d %H:%M:%S} UTC by version "
            f"{decision.engine.bundle.version} ({decision.policy[:16]})",
            *(f"the log says otherwise: {difference}" for difference in differences),
            "",
        ),
        differs=bool(differences),
    )


def _lines(bundle: PolicyBundle, explanation: Explanation) -> Iterable[str]:
    decision = explanation.decision
    yield f"{_WORDS[decision.effect]}{': ' if decision.public_reason else ''}{decision.public_reason}"
    if decision.shown_as:
        yield f"shown as {_SHOWN[decision.shown_as]}"
    for store in decision.stores:
        yield ""
        yield f"{store.store_id}: {'may be searched' if store.permitted else 'not searched'}"
        for rule in store.rules:
            yield from _cited(bundle, rule, "  ")
        if not store.rules:
            yield "  no policy permits it"
        yield from _obliged(bundle, store)
    for policy_id in decision.errors:
        yield f"failed: {_place(bundle, policy_id)}{policy_id}"
    if decision.effect is Effect.PERMIT:
        return
    yield ""
    if not explanation.otherwise:
        yield "No other values of these facts would permit it."
        return
    yield "It would be permitted if"
    joined = _joined(explanation.otherwise)
    for index, words in enumerate(joined):
        yield f"  {words}{', or' if index < len(joined) - 1 else ''}"


def _obliged(bundle: PolicyBundle, store: StoreDecision) -> Iterable[str]:
    obligations = store.obligations
    if obligations is None:
        return
    if obligations.earliest is not None:
        yield f"  searched from {obligations.earliest:%Y-%m-%d %H:%M} UTC at the earliest"
    if obligations.kept_since is not None:
        yield f"  its reads are given from {obligations.kept_since:%Y-%m-%d %H:%M} UTC on"
    kept = f"{obligations.retain_days} days" if obligations.retain_days else "only as long as the case needs"
    yield f"  at most {obligations.max_reads} reads; the receiver keeps them {kept}"
    for view in store.views:
        if view.permitted:
            names = ", ".join(f"{rule.policy_id} ({_paragraph(rule)})" for rule in view.rules)
            yield f"  {view.element.lower()}: permitted by {names}"
    for applied in obligations.applied:
        by = f" ({_place(bundle, applied.policy_id)}{_named(bundle, applied)})" if applied.policy_id else ""
        unsaid = "" if applied.said else "; the requester isn't told"
        yield f"  {applied.name}: {applied.text}{by}{unsaid}"
    for caveat in obligations.caveats:
        yield f"  shown with it: {caveat}"


def _cited(bundle: PolicyBundle, rule: Rule, indent: str) -> Iterable[str]:
    yield f"{indent}{_place(bundle, rule.policy_id)}{rule.policy_id}: {rule.text}"
    yield f"{indent}  {_paragraph(rule)}"


def _paragraph(rule: Rule) -> str:
    return f"{' '.join(rule.rules)}; {rule.document}"


def _named(bundle: PolicyBundle, applied: Applied) -> str:
    """Return what asks for an obligation, with the paragraph that it stands for."""
    for policy in bundle.policies:
        if policy.policy_id == applied.policy_id:
            terms = policy.terms
            return f"{applied.policy_id}; {' '.join(terms.rules)}; {terms.document}"
    return applied.policy_id


def _place(bundle: PolicyBundle, policy_id: str) -> str:
    """Return effect, file and line of a policy; nothing for what is no policy of the bundle."""
    for policy in bundle.policies:
        if policy.policy_id == policy_id:
            return f"{'permit' if policy.permits else 'forbid'} {policy.path}:{policy.line} "
    return ""


def _joined(otherwise: Sequence[Otherwise]) -> list[str]:
    """Return what would do, a line for those that differ in values of the same facts alone."""
    alike: dict[tuple[str, ...], list[Otherwise]] = {}
    for one in otherwise:
        alike.setdefault(tuple(change.lead for change in one.changes), []).append(one)
    lines = []
    for leads, several in alike.items():
        values = [
            list(dict.fromkeys(one.changes[place].value for one in several)) for place in range(len(leads))
        ]
        if prod(len(each) for each in values) == len(several):
            parts = zip(leads, values, strict=True)
            lines.append(" and ".join(f"{lead} {_listed(each)}".strip() for lead, each in parts))
        else:
            lines.extend(" and ".join(change.words for change in one.changes) for one in several)
    return lines


def _listed(values: Sequence[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}" if len(values) > 1 else values[0]


def _object(bundle: PolicyBundle, explanation: Explanation) -> dict[str, object]:
    decision = explanation.decision
    return {
        "agency": bundle.agency,
        "digest": bundle.digest.hex(),
        "effect": decision.effect.value,
        "shown_as": decision.shown_as,
        "reason": decision.public_reason,
        "errors": list(decision.errors),
        "stores": [_store(bundle, store) for store in decision.stores],
        "would_permit": [[change.words for change in one.changes] for one in explanation.otherwise],
        "caveats": _caveats(decision),
    }


def _store(bundle: PolicyBundle, store: StoreDecision) -> dict[str, object]:
    found: dict[str, object] = {
        "store": store.store_id,
        "permitted": store.permitted,
        "policies": [_rule(bundle, rule) for rule in store.rules],
    }
    obligations = store.obligations
    if obligations is not None:
        found |= {
            "earliest": obligations.earliest.isoformat() if obligations.earliest else None,
            "kept_since": obligations.kept_since.isoformat() if obligations.kept_since else None,
            "max_reads": obligations.max_reads,
            "retain_days": obligations.retain_days,
            "elements": {
                view.element: {
                    "permitted": view.permitted,
                    "policies": [rule.policy_id for rule in view.rules],
                }
                for view in store.views
            },
            "applied": [
                {"name": item.name, "text": item.text, "policy": item.policy_id, "said": item.said}
                for item in obligations.applied
            ],
        }
    return found


def _rule(bundle: PolicyBundle, rule: Rule) -> dict[str, object]:
    return {
        "policy": rule.policy_id,
        "place": _place(bundle, rule.policy_id).strip(),
        "rules": list(rule.rules),
        "document": rule.document,
        "text": rule.text,
    }


def _caveats(decision: Decision) -> list[str]:
    return list(decision.obligations.caveats) if decision.obligations else []
