"""Explanations: what determined a decision, and what would have to differ; all of it so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comity.cli.policy import group
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.cases import load_cases
from comity.policy.decision import Effect, PolicyEngine
from comity.policy.explaining import MOST_TOGETHER, explain
from comity.policy.variations import Asked, named_in, variations

AGENCIES = ("cbp", "dea", "vendor", "lapd", "lahd")
ENGINES = {agency: PolicyEngine(PolicyBundle.load(shipped(agency))) for agency in AGENCIES}
CASES = [(agency, case) for agency in AGENCIES for case in load_cases(shipped(agency))]


def _words(agency: str, name: str) -> set[str]:
    (case,) = [case for each, case in CASES if each == agency and name in case.name]
    return {one.words for one in explain(ENGINES[agency], case.request, case.stores).otherwise}


def test_what_would_have_to_differ_for_training() -> None:
    """One trained 366 days ago is told how recent it must be (Q4)."""
    assert "the person had been trained 365 days ago" in _words("lapd", "trained 366 days ago")
    assert "the person had been trained 366 days ago" not in _words("lapd", "trained 366 days ago")


def test_two_things_that_are_wrong_are_both_told() -> None:
    """An untrained user with a reason that is referred: both would have to differ (Q4, A1)."""
    words = _words("dea", "an untrained sheriff")
    assert "the person had been trained today, and the reason were NARCOTICS" in words


def test_law_is_not_explained_away() -> None:
    """No change of the agreement makes civil immigration a purpose at LAPD (A3, A1)."""
    words = _words("lapd", "civil immigration is refused under")
    assert words
    assert all("the reason were" in each for each in words)


@settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_said_to_permit_does(data: st.DataObject) -> None:
    """From a question some facts away from a case, what is said gives a permit, and no part of it is idle."""
    agency, case = data.draw(st.sampled_from(CASES))
    engine = ENGINES[agency]
    space = variations(engine.bundle, named_in(each.json_text for each in engine.bundle.policies))
    asked = Asked(request=case.request, stores=case.stores)
    for fact in data.draw(st.lists(st.sampled_from(sorted(space)), max_size=2, unique=True)):
        asked = data.draw(st.sampled_from(space[fact])).change(asked)
    explanation = explain(engine, asked.request, asked.stores)
    for one in explanation.otherwise[:5]:
        assert 1 <= len(one.changes) <= MOST_TOGETHER + 2
        changed = asked
        for index, change in enumerate(one.changes):
            without = asked
            for other in one.changes[:index] + one.changes[index + 1 :]:
                without = other.change(without)
            if len(one.changes) <= 2:
                assert engine.decide(without.request, without.stores).effect is not Effect.PERMIT
            changed = change.change(changed)
        assert engine.decide(changed.request, changed.stores).effect is Effect.PERMIT


def test_command_cites_file_line_and_document() -> None:
    """The reader gets from the decision to the line and the paragraph that made it (A3)."""
    result = CliRunner().invoke(
        group, ["explain", str(shipped("lapd")), "--case", "even where the agreement"]
    )
    assert result.exit_code == 0
    assert "forbid policies/10-law.cedar:3 lapd.civil-immigration" in result.output
    assert "A3; MOA II.A" in result.output
    assert "It would be permitted if" in result.output


def test_command_takes_a_sketch_and_changes(tmp_path: Path) -> None:
    """A question in a file, one word of it changed on the command line."""
    sketch = tmp_path / "question.toml"
    sketch.write_text((shipped("lapd") / "tests" / "cases.toml").read_text().split("[[case]]")[0])
    text = (
        sketch.read_text().replace("[[defaults.", "[[").replace("[defaults.", "[").replace("[defaults]", "")
    )
    sketch.write_text(text)
    run = CliRunner()
    as_it_is = run.invoke(group, ["explain", str(shipped("lapd")), "--question", str(sketch), "--json"])
    assert json.loads(as_it_is.output)["effect"] == "permit"
    assert json.loads(as_it_is.output)["stores"][0]["elements"]["VEHICLE"]["permitted"] is False
    change = ["--set", 'reason = "CIVIL_IMMIGRATION"', "--set", "subject.good_standing = false"]
    other = run.invoke(group, ["explain", str(shipped("lapd")), "--question", str(sketch), "--json", *change])
    told = json.loads(other.output)
    assert told["effect"] == "refuse"
    assert {each["policy"] for each in told["stores"][0]["policies"]} == {
        "lapd.civil-immigration",
        "lapd.purpose",
        "lapd.good-standing",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--case", "nobody has written this"], "is no case"),
        (["--case", "a"], "fits several cases"),
        (["--case", "trained 366", "--set", "reason = NARCOTICS"], "is no line of TOML"),
        (["--case", "trained 366", "--set", 'raeson = "NARCOTICS"'], "did you mean `reason`"),
        (["--case", "trained 366", "--set", 'reason = "FUN"'], "reason `FUN` is none of"),
    ],
)
def test_command_says_what_is_wrong_with_the_question(arguments: list[str], said: str) -> None:
    """Bad input: exit 1, the word is named, and what would have been right."""
    result = CliRunner().invoke(group, ["explain", str(shipped("lapd")), *arguments])
    assert result.exit_code == 1
    assert said in result.stderr
    assert CliRunner().invoke(group, ["explain", str(shipped("lapd"))]).exit_code == 2
