"""Policies that can never apply are told, and no other is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.reach import unreached

Write = Callable[[str], PolicyBundle]


@pytest.fixture
def with_policy(tmp_path: Path) -> Write:
    """Returns LAPD's bundle with one policy more, in a file of its own."""

    def write(text: str) -> PolicyBundle:
        folder = tmp_path / "lapd"
        shutil.copytree(shipped("lapd"), folder)
        cited = '@id("odd") @rule("A1") @document("ours") @text("odd") '
        (folder / "policies" / "99-odd.cedar").write_text(cited + text)
        return PolicyBundle.load(folder)

    return write


@pytest.mark.parametrize("agency", ["cbp", "dea", "vendor", "lapd", "lahd"])
def test_every_policy_that_ships_can_apply(agency: str) -> None:
    """A question is found for each policy, and each permit lets one through (A1)."""
    assert [each.text for each in unreached(PolicyBundle.load(shipped(agency)))] == []


NEVER = {
    "conditions that exclude each other": (
        'forbid (principal, action, resource) when { principal.office == "A" && principal.office == "B" };'
    ),
    "number of days that can't be": (
        "forbid (principal, action, resource) when { context.query.periodDays < 0 };"
    ),
    "named person, who policies never see": ('forbid (principal == Subject::"j.doe", action, resource);'),
    "reason that is two at once": (
        'forbid (principal, action, resource) when { context.query.reason == Reason::"NARCOTICS" '
        '&& context.query.reason == Reason::"STOLEN_VEHICLE" };'
    ),
}
ALIVE = {
    "bound between two numbers": (
        "forbid (principal, action, resource) when { context.query.periodDays > 29 "
        "&& context.query.periodDays < 31 };"
    ),
    "pattern of an office": ('forbid (principal, action, resource) when { principal.office like "ERO-*" };'),
    "two facts together": (
        'forbid (principal, action, resource) when { principal.state == "NV" && context.query.onBehalfOf };'
    ),
    "group that agencies are in": (
        'forbid (principal in AgencyGroup::"local-partners", action, resource) '
        "when { context.query.hasArea };"
    ),
    "training of a given age": (
        "forbid (principal, action, resource) "
        "when { principal has trainedDaysAgo && principal.trainedDaysAgo == 17 };"
    ),
}


@pytest.mark.parametrize("fault", NEVER)
def test_policy_that_can_never_apply_is_told(with_policy: Write, fault: str) -> None:
    """It validates against the schema, and means nothing: its id is told, and no other."""
    found = list(unreached(with_policy(NEVER[fault])))
    assert [each.policy.policy_id for each in found] == ["odd"]
    assert "can never apply" in found[0].text


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("", "can never apply: `entities.json` doesn't list "),
        (' || context.query.reason == Reason::"NARCOTICS"', "names "),
    ],
)
def test_group_that_is_not_listed_is_told(with_policy: Write, arm: str, said: str) -> None:
    """A misspelt group holds nobody: a forbid of it lets in whom it was to keep out."""
    law = f'forbid (principal, action, resource) when {{ principal in AgencyGroup::"moa-partys"{arm} }};'
    (found,) = unreached(with_policy(law))
    assert f'forbid `odd` {said}`AgencyGroup::"moa-partys"`' in found.text


@pytest.mark.parametrize("story", ALIVE)
def test_policy_that_seldom_applies_is_not_told(with_policy: Write, story: str) -> None:
    """A question is made of the values that it compares with, so that it applies."""
    assert list(unreached(with_policy(ALIVE[story]))) == []


def test_permit_that_a_forbid_always_overrules_is_told(with_policy: Write) -> None:
    """A permit of what the law forbids whatever the question lets nothing through (A3)."""
    bundle = with_policy(
        '@retain_days("1") @max_window("none") permit (principal, action == Action::"Search", resource) '
        'when { context.query.reason == Reason::"CIVIL_IMMIGRATION" };'
    )
    (found,) = unreached(bundle)
    assert found.policy.policy_id == "odd"
    assert found.overruled_by == ("lapd.civil-immigration",)
    assert "always overruled by `lapd.civil-immigration`" in found.text
