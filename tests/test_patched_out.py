"""The list of checks that are patched out fits product and tests, and its runner can say no.

`make patched-out` runs it. Here is what shows early, without running any of it.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.patched_out.__main__ import faults_of, faults_unpatched
from tests.patched_out.check import File, check
from tests.patched_out.checks import CHECKS, HONEST
from tests.patched_out.checks.files import FILES
from tests.patched_out.checks.unchecked import UNCHECKED, WHOLE
from tests.patched_out.patching import Body, Instead, PatchBroken, Without, apply, check_fit
from tests.patched_out.running import Fallen, Ran

ROOT = Path(__file__).parents[1]
WHERE = "comity.broker.orders:verify_order"
SEEN = Without(WHERE, "if seen(exchange_id):")
ORDERS = File("tests/broker/test_orders.py", honest="test_good_order_is_taken_with_ceilings_and_leaf_order")
HONEST_ONE = f"{ORDERS.path}::{ORDERS.honest}"
REPLAYED = f"{ORDERS.path}::test_replayed_order_is_refused"


def test_every_patch_finds_what_it_takes_out() -> None:
    """A check that was reworded, moved or doubled has no patch until somebody looks at it."""
    for one in CHECKS:
        for patch in one.out:
            check_fit(patch)


def test_every_check_has_a_name_of_its_own_and_tests() -> None:
    """The table names each check once, and none is there for show."""
    assert [name for name, times in Counter(one.name for one in CHECKS).items() if times > 1] == []
    assert [one.name for one in CHECKS if not one.red or not one.out] == []
    assert len({file.path for file in FILES}) == len(FILES)


def test_every_test_that_is_named_exists() -> None:
    """A renamed test must not leave a check without its proof; parameters are looked at when it runs."""
    named = {test for one in CHECKS for test in one.red} | set(HONEST.values())
    missing = []
    for node_id in sorted(named):
        path, _, name = node_id.partition("::")
        function = name.partition("[")[0]
        if not re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE):
            missing.append(node_id)
    assert missing == []


def test_every_test_of_an_attack_has_its_check_or_its_reason() -> None:
    """Who adds an attack says which check stops it, or why there is none to patch out."""
    named = {test.partition("[")[0] for one in CHECKS for test in one.red}
    assert not named & UNCHECKED.keys()
    there = {
        f"{file.path}::{name}"
        for file in WHOLE
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", (ROOT / file.path).read_text(), re.MULTILINE)
    }
    assert sorted(there - named - UNCHECKED.keys()) == []
    assert sorted(UNCHECKED.keys() - there) == []


@pytest.mark.parametrize(
    "patch",
    [
        Without(WHERE, "if seen(another_id):"),
        Without(WHERE, "exchange_id"),
        Without("comity.broker.orders:verify_orders", "if seen(exchange_id):"),
        Without("comity.broker.order:verify_order", "if seen(exchange_id):"),
        Without("comity.broker.orders", "if seen(exchange_id):"),
        Instead(WHERE, "seen(another_id)", "False"),
        Body("comity.broker.orders:Ceiling", "return True"),
    ],
    ids=["nothing", "several", "no function", "no module", "no path", "no expression", "a class"],
)
def test_patch_that_does_not_fit_is_told(patch: Without | Instead | Body) -> None:
    """What isn't found exactly once changes nothing and is an error."""
    with pytest.raises(PatchBroken):
        apply((patch,))


def one_check(*tests: str, falls: tuple[str, ...] = ()) -> list[str]:
    """What is wrong if these fell or stayed green; `test:Exception` fell by it."""
    fallen, green = {}, set()
    for test in tests:
        name, colon, exception = (
            test.rpartition(":") if "Error" in test or "Failed" in test else (test, "", "")
        )
        if colon:
            fallen[name] = Fallen(exception=exception, message="x")
        else:
            green.add(test)
    wanted = check("one", SEEN, ORDERS("test_replayed_order_is_refused"), falls=falls)
    return faults_of(wanted, Ran(seconds=1, green=frozenset(green), fallen=fallen))


def test_red_test_beside_a_green_honest_one_is_what_is_wanted() -> None:
    """By an assertion, by an exception that did not come, or as the entry says."""
    assert one_check(f"{REPLAYED}:AssertionError", HONEST_ONE) == []
    assert one_check(f"{REPLAYED}:Failed", HONEST_ONE) == []
    assert one_check(f"{REPLAYED}:KeyError", HONEST_ONE, falls=("KeyError",)) == []
    assert one_check(f"{REPLAYED}[a]:Failed", f"{REPLAYED}[b]:Failed", HONEST_ONE) == []


def test_test_that_stays_green_or_is_not_run_is_a_fault() -> None:
    """The test tests nothing, or isn't there; of its parameters each counts."""
    assert "stays green" in one_check(REPLAYED, HONEST_ONE)[0]
    assert "stays green" in one_check(f"{REPLAYED}[a]:Failed", f"{REPLAYED}[b]", HONEST_ONE)[0]
    assert "was not run" in one_check(HONEST_ONE)[0]


def test_test_that_falls_by_anything_else_is_a_fault() -> None:
    """A fault of import or of the patch shows nothing about the check."""
    assert "falls by ImportError" in one_check(f"{REPLAYED}:ImportError", HONEST_ONE)[0]


def test_honest_test_that_is_red_is_a_fault() -> None:
    """Then the patch broke the product, and took out more than a check."""
    assert "honest" in one_check(f"{REPLAYED}:Failed", f"{HONEST_ONE}:AssertionError")[0]


def test_red_or_missing_test_without_a_patch_is_a_fault() -> None:
    """What is red anyway shows nothing when it is red with a patch."""
    fallen = {REPLAYED: Fallen(exception="AssertionError", message="x")}
    assert faults_unpatched(Ran(seconds=1, fallen=fallen)) != []
    assert faults_unpatched(Ran(seconds=1)) == ["no test was run"]
    assert faults_unpatched(Ran(seconds=1, green=frozenset({REPLAYED}), broken=("x",))) == ["x"]
    assert faults_unpatched(Ran(seconds=1, green=frozenset({REPLAYED}))) == []
