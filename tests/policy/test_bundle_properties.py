"""What holds of every bundle that ships, shown on its own cases: when in doubt, it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from comity.policy import cedar
from comity.policy.bundle import Policy, PolicyBundle, read_files, shipped
from comity.policy.cases import Case, load_cases
from comity.policy.decision import Decision, Effect, PolicyEngine
from comity.policy.facts import DecisionRequest
from comity.policy.starting import TEMPLATES, template

FOLDERS = {name: shipped(name) for name in ("cbp", "dea", "vendor", "lapd", "lahd")} | {
    name: template(name) for name in TEMPLATES
}
ALL = pytest.mark.parametrize("name", FOLDERS)

FORBID = """
@id("{id}") @rule("A1") @document("ours") @text("not this")
forbid (principal, {action}, resource) when {{ {condition} }};
"""
CONDITIONS = {
    "everything": ("action", "true"),
    "images": ('action == Action::"ViewImages"', "true"),
    "places": ('action == Action::"ViewExactLocation"', "context.query.periodDays > 30"),
    "views-of-some": ('action in Action::"View"', "context.query.onBehalfOf || !principal.goodStanding"),
    "searches-of-some": ('action == Action::"Search"', 'principal.roles.contains("analyst")'),
    "old-ones": ("action", "context.query.oldestDaysAgo > 365"),
    "one-class-of-stores": ("action", 'resource.class == StoreClass::"fixed"'),
}
REVIEWED = ("cbp", "federal")
"""Bundles that want the account reviewed within a year (L9); to the others it is no matter."""
OVERFLOWS = "context.query.periodDays + 9223372036854775807 > 0"


@cache
def cases(name: str) -> tuple[Case, ...]:
    """Return every fifth case of a bundle: enough to meet each policy, and quick."""
    return load_cases(FOLDERS[name])[::5]


@cache
def engine(name: str) -> PolicyEngine:
    return PolicyEngine(PolicyBundle.load(FOLDERS[name]))


@cache
def additions() -> Mapping[str, Policy]:
    """Return the policies that are added to bundles, by id: parsed once, in one of them."""
    texts = [FORBID.format(id=f"added.{n}", action=a, condition=c) for n, (a, c) in CONDITIONS.items()]
    broken = FORBID.format(id="added.forbid", action='action == Action::"Search"', condition=OVERFLOWS)
    limits = '@retain_days("1") @max_window("none") permit ('
    texts += [broken, broken.replace("added.forbid", "added.permit").replace("forbid (", limits)]
    files = {**read_files(FOLDERS["lapd"]), "policies/99-added.cedar": "".join(texts).encode()}
    return {policy.policy_id: policy for policy in PolicyBundle.parse(files, Path("added")).policies}


def with_policy(name: str, policy_id: str) -> PolicyEngine:
    """Return the engine of a bundle with one policy more."""
    bundle = engine(name).bundle
    return PolicyEngine(replace(bundle, policies=(*bundle.policies, additions()[policy_id])))


def permitted(name: str) -> list[Case]:
    """Return the cases of a bundle that it permits; there are some."""
    found = [case for case in cases(name) if decided(engine(name), case).effect is Effect.PERMIT]
    assert len(found) >= 3
    return found


def decided(by: PolicyEngine, case: Case, **changes: object) -> Decision:
    request = replace(case.request, **changes) if changes else case.request  # type: ignore[arg-type]
    return by.decide(request, case.stores)


def is_within(narrow: Decision, wide: Decision) -> bool:
    """Return whether a decision lets out nothing that another keeps."""
    if narrow.effect is not Effect.PERMIT:
        return True
    if wide.effect is not Effect.PERMIT:
        return False
    of = {store.store_id: store.obligations for store in wide.stores if store.permitted}
    for store in narrow.stores:
        if not store.permitted:
            continue
        less, more = store.obligations, of.get(store.store_id)
        if less is None or more is None or not less.withhold >= more.withhold:
            return False
        if more.earliest and (less.earliest is None or less.earliest < more.earliest):
            return False
        if less.max_reads > more.max_reads:
            return False
        if more.retain_days and not 0 < less.retain_days <= more.retain_days:
            return False
    return True


@ALL
@pytest.mark.parametrize("added", CONDITIONS)
def test_one_forbid_more_never_lets_more_out(name: str, added: str) -> None:
    """Whatever it forbids: no store, element, day or read more; what it meets is less (A1)."""
    narrower = with_policy(name, f"added.{added}")
    for case in cases(name):
        assert is_within(decided(narrower, case), decided(engine(name), case)), case.name
    if added == "everything":
        assert not any(decided(narrower, case).effect is Effect.PERMIT for case in cases(name))


@ALL
def test_one_permit_less_never_lets_more_out(name: str) -> None:
    """The same for each permit that is taken away."""
    whole = engine(name).bundle
    for gone in (policy for policy in whole.policies if policy.permits):
        policies = tuple(policy for policy in whole.policies if policy is not gone)
        narrower = PolicyEngine(replace(whole, policies=policies))
        for case in permitted(name):
            assert narrower.decide(case.request, case.stores).effect is not Effect.PERMIT or (
                _stores(decided(narrower, case)) <= _stores(decided(engine(name), case))
            ), (gone.policy_id, case.name)


def _stores(decision: Decision) -> set[str]:
    return {store.store_id for store in decision.stores if store.permitted}


@ALL
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_policy_that_errors_permits_nothing(name: str, effect: str) -> None:
    """Neither a permit nor a forbid that fails while it is evaluated lets anything out."""
    broken = with_policy(name, f"added.{effect}")
    for case in permitted(name):
        decision = decided(broken, case)
        assert (decision.effect, decision.errors) == (Effect.REFUSE, (f"added.{effect}",)), case.name


@ALL
def test_missing_agreement_permits_nothing(name: str) -> None:
    """None, one that isn't in force, one that grants no purpose (A2)."""
    for case in permitted(name):
        agreement = case.request.agreement
        assert agreement is not None
        for instead in (
            None,
            replace(agreement, in_force=False),
            replace(agreement, purposes=frozenset()),
        ):
            assert decided(engine(name), case, agreement=instead).effect is Effect.REFUSE, case.name


@ALL
def test_unknown_person_gets_nothing(name: str) -> None:
    """No role or an unknown one, no or old training, no rules, no standing, no attestation (Q4, Q9)."""
    for case in permitted(name):
        subject = case.request.subject
        assert subject.trained_at is not None
        for instead in (
            replace(subject, roles=frozenset()),
            replace(subject, roles=frozenset({"stranger"})),
            replace(subject, trained_at=None),
            replace(subject, trained_at=subject.trained_at.replace(year=subject.trained_at.year - 3)),
            replace(subject, rules_accepted_at=None),
            replace(subject, good_standing=False),
            replace(subject, protections_attested=False),
        ):
            decision = decided(engine(name), case, subject=instead)
            assert decision.effect is Effect.REFUSE, (case.name, instead)


def test_cases_of_the_bundles_are_many() -> None:
    """At least 300 in all, none of a bundle twice by name."""
    names = {name: [case.name for case in load_cases(folder)] for name, folder in FOLDERS.items()}
    assert sum(len(set(found)) for found in names.values()) >= 300
    assert all(len(set(found)) == len(found) for found in names.values())


@ALL
def test_stranger_gets_nothing(name: str) -> None:
    """An agency that no policy names, of any kind, with every purpose granted (A1, A2)."""
    for case in permitted(name):
        for kind in ("federal", "state", "local", "commercial"):
            decision = decided(engine(name), case, requester="stranger", requester_kind=kind)
            assert decision.effect is not Effect.PERMIT, (case.name, kind)


@ALL
@pytest.mark.parametrize("facts", ["_subject", "_query"])
def test_missing_attribute_permits_nothing(name: str, facts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact that isn't told is no fact in anybody's favour: each one alone is left out of the question."""
    make: Callable[[DecisionRequest], Mapping[str, Any]] = getattr(cedar, facts)
    case = permitted(name)[0]
    attributes = set(make(case.request)) - {"agreement"}
    assert len(attributes) >= 9
    for missing in sorted(attributes):
        monkeypatch.setattr(
            cedar, facts, lambda request, gone=missing: {k: v for k, v in make(request).items() if k != gone}
        )
        decision = PolicyEngine(engine(name).bundle).decide(case.request, case.stores)
        is_asked_for = missing != "accountReviewedDaysAgo" or name in REVIEWED
        assert decision.effect is Effect.REFUSE or not is_asked_for, missing
    monkeypatch.undo()
    assert decided(engine(name), case).effect is Effect.PERMIT
