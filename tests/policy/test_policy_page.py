"""The table of rules: each has what makes it and a test that shows it; what is ours is called so."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest

from comity.policy.bundle import Policy, PolicyBundle, shipped
from comity.policy.cases import load_cases
from comity.policy.decision import Effect, PolicyEngine
from comity.policy.facts import ELEMENTS, StoreFacts
from comity.policy.starting import TEMPLATES, template

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text()
HOT_LISTS = ("H1", "H2", "H3", "H8", "H9")
"""What a requester's own law says of the hot lists that its people fill; the other rules on them wait."""
RULES = (*(f"Q{n}" for n in range(1, 12)), *(f"A{n}" for n in range(1, 10)), *HOT_LISTS, "D4", "L9")
OURS = frozenset({"Q10", "A6"})
"""Rules that no document demands."""
KNOWN = re.compile(r"Q([1-9]|1[0-2])|A[1-9]|H([1-9]|10|11)|D[1-4]|L([1-9]|10)")
AGENCIES = ("cbp", "dea", "vendor", "lapd", "lahd")


def rows() -> dict[str, list[str]]:
    """Return the cells of each rule's row."""
    section = PAGE[PAGE.index("## Rules") :]
    cells = [line.strip("| ").split(" | ") for line in section.splitlines() if re.match(r"\| [A-Z]+\d", line)]
    return {row[0].split()[0]: row for row in cells}


def cited_in_policies() -> dict[str, tuple[str, ...]]:
    """Return the rules that each shipped policy cites, house rules too, by its id."""
    found = dict[str, tuple[str, ...]]()
    for path in (ROOT / "policy").rglob("*.cedar"):
        for policy_id, rules in re.findall(r'@id\("([^"]+)"\)\s*@rule\("([^"]+)"\)', path.read_text()):
            found[policy_id] = tuple(rules.split())
    return found


def provider_policies() -> list[Policy]:
    folders = [*map(shipped, AGENCIES), *map(template, TEMPLATES)]
    return [policy for folder in folders for policy in PolicyBundle.load(folder).policies]


@cache
def docstring(path: str, name: str) -> str:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
    raise AssertionError(f"{path}::{name} is not there")


def cites(rule: str, text: str) -> bool:
    return re.search(rf"\b{rule}\b", text) is not None


def test_every_rule_has_its_row() -> None:
    """All that a provider or requester enforces, and what is ours is called so."""
    assert tuple(rows()) == RULES
    assert {rule for rule, row in rows().items() if "*(ours)*" in row[0]} == OURS


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_cited_where_it_is_made_and_where_it_is_shown(rule: str) -> None:
    """Each policy of the row cites the rule, each file of code names it, each test says that it shows it."""
    _, _, made, shown = rows()[rule]
    policies, code = re.findall(r"`([a-z]+\.[a-z-]+)`", made), re.findall(r"`([a-z]+/[\w/]+\.py)`", made)
    policies = [one for one in policies if not one.endswith(".toml")]
    assert policies or code
    known = cited_in_policies()
    assert [one for one in policies if rule not in known.get(one, ())] == []
    assert [one for one in code if not cites(rule, (ROOT / one).read_text())] == []
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
    assert tests
    assert [name for path, name in tests if not cites(rule, docstring(path, name))] == []


def test_policies_cite_rules_that_are_there() -> None:
    """An id that the domain page doesn't have leads nowhere."""
    wrong = {one for rules in cited_in_policies().values() for one in rules if not KNOWN.fullmatch(one)}
    assert wrong == set()


def test_what_is_ours_is_never_said_to_be_a_documents_demand() -> None:
    """A policy for a rule of ours says so where it cites; one of a template has no document of its agency."""
    for policy in provider_policies():
        document = policy.terms.document
        if set(policy.terms.rules) <= OURS | {"A1"} and set(policy.terms.rules) & OURS:
            assert "ours" in document, policy.policy_id
        if policy.policy_id.startswith("yours."):
            assert document.startswith("ours"), policy.policy_id
        if "ours" not in document:
            assert re.match(r"(MOU|CBP|GUI|PIA|MOA) ", document), policy.policy_id


def test_every_answer_says_that_it_is_no_sole_basis() -> None:
    """Each permit of a search that ships has a line for the person who acts on the answer (A5)."""
    searches = [policy for policy in provider_policies() if policy.searches]
    assert len(searches) >= 15
    for policy in searches:
        assert "A5" in policy.terms.caveat, policy.policy_id


def test_dea_gives_cbp_place_and_images_and_nothing_else() -> None:
    """Plate, state, time, location and images, whatever the agreement grants and CBP wants (A9)."""
    engine = PolicyEngine(PolicyBundle.load(shipped("dea")))
    case = next(case for case in load_cases(shipped("dea")) if case.request.requester == "cbp")
    assert case.request.elements == ELEMENTS
    decision = engine.decide(case.request, [StoreFacts(store_id="fixed", store_class="fixed")])
    assert decision.effect is Effect.PERMIT
    assert decision.obligations is not None
    assert decision.obligations.withhold == {"VEHICLE", "CAMERA"}
    assert case.request.now - case.request.period_start < timedelta(days=365)
