"""`comity policy check` and `comity policy test`: what they print, and how they exit."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.cli.policy import group
from comity.policy.bundle import shipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of LAPD's bundle, with the cases that stand alone."""
    shutil.copytree(shipped("lapd"), tmp_path / "lapd", ignore=shutil.ignore_patterns("tables.toml"))
    return tmp_path / "lapd"


def test_check_prints_the_digest(folder: Path) -> None:
    """A valid bundle: exit 0, agency, version and digest."""
    result = CliRunner().invoke(group, ["check", "--json", str(folder)])
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["valid"] is True
    assert told["agency"] == "lapd"
    assert len(told["digest"]) == 64


def test_check_of_a_bundle_that_is_not_valid_exits_1_and_names_the_line(folder: Path) -> None:
    """The finding is bad: exit 1, one line with file and line, no traceback."""
    law = folder / "policies" / "10-law.cedar"
    law.write_text(law.read_text().replace("CIVIL_IMMIGRATION", "CIVIL"))
    result = CliRunner().invoke(group, ["check", str(folder)])
    assert result.exit_code == 1
    assert "10-law.cedar:3: " in result.stderr
    assert "Traceback" not in result.output
    assert json.loads(CliRunner().invoke(group, ["check", "--json", str(folder)]).stdout)["valid"] is False


def test_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    """Another folder, such as the adapter's own: what is missing there is said, not how reading it failed."""
    result = CliRunner().invoke(group, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path}/bundle.toml: is missing: `{tmp_path.name}` is no folder of a policy" in result.stderr


def test_folder_that_is_not_there_is_wrong_use() -> None:
    """Wrong use: exit 2."""
    assert CliRunner().invoke(group, ["check", "/nowhere/at/all"]).exit_code == 2


def test_cases_hold(folder: Path) -> None:
    """All cases hold: exit 0."""
    result = CliRunner().invoke(group, ["test", str(folder)])
    assert result.exit_code == 0
    said = re.search(r"(\d+) of (\d+) cases hold", result.output)
    assert said and said[1] == said[2]


def test_law_that_changed_fails_its_cases(folder: Path) -> None:
    """Without its forbid, civil immigration would be answered: the case says what it expected."""
    law = folder / "policies" / "10-law.cedar"
    law.write_text(law.read_text().replace('== Reason::"CIVIL_IMMIGRATION"', '== Reason::"NARCOTICS"'))
    result = CliRunner().invoke(group, ["test", str(folder)])
    assert result.exit_code == 1
    assert "FAILED  civil immigration is refused even where the agreement grants it (II.B)" in result.output
    assert "effect: expected `refuse`, decided `permit`" in result.output


def test_bundle_without_cases_fails(folder: Path) -> None:
    """A collection of checks that is empty shows nothing, so it does not pass."""
    (folder / "tests" / "cases.toml").unlink()
    assert CliRunner().invoke(group, ["test", str(folder)]).exit_code == 1


def test_misspelt_word_of_a_case_is_named(folder: Path) -> None:
    """A case that would check nothing is an error, with the nearest word."""
    cases = folder / "tests" / "cases.toml"
    cases.write_text(cases.read_text().replace("policies = ", "polices = ", 1))
    result = CliRunner().invoke(group, ["test", str(folder)])
    assert result.exit_code == 1
    assert "did you mean `policies`" in result.output


def test_policy_that_can_never_apply_fails_the_check(folder: Path) -> None:
    """It may be activated, and does not say what its author meant: exit 1, with file and line."""
    permits = folder / "policies" / "40-permits.cedar"
    permits.write_text(
        permits.read_text().replace('AgencyGroup::"local-partners"', 'AgencyGroup::"localpartners"')
    )
    result = CliRunner().invoke(group, ["check", str(folder)])
    assert result.exit_code == 1
    assert re.search(r"40-permits\.cedar:\d+: permit `lapd\.local-partners` can never apply", result.stderr)
    told = json.loads(CliRunner().invoke(group, ["check", "--json", str(folder)]).stdout)
    assert [each["policy"] for each in told["never_apply"]] == [
        "lapd.local-partners",
        "lapd.local-partners-elements",
    ]


def test_policy_that_no_case_tries_is_told(folder: Path) -> None:
    """Coverage of policies by cases: told always, exit 1 where it is demanded."""
    cases = folder / "tests" / "cases.toml"
    cases.write_text(cases.read_text().replace("protections_attested = false", "protections_attested = true"))
    text = cases.read_text()
    start = text.index("[[case]]", text.index("does not attest") - 40)
    cases.write_text(text[:start] + text[text.index("[[case]]", start + 1) :])
    result = CliRunner().invoke(group, ["test", str(folder)])
    assert result.exit_code == 0
    told = r"30-people\.cedar:\d+: lapd\.protections-attested determines none of them"
    assert re.search(told, result.output)
    said = re.search(r"(\d+) of (\d+) policies determine a case", result.output)
    assert said and int(said[1]) == int(said[2]) - 1
    assert CliRunner().invoke(group, ["test", "--covered", str(folder)]).exit_code == 1
