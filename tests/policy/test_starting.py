"""Bundles from templates: whole, tested, and the agency's own from the first minute (A1)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.cli.policy import group
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.case_words import uncovered
from comity.policy.cases import load_cases, run
from comity.policy.decision import PolicyEngine
from comity.policy.reach import unreached
from comity.policy.starting import TEMPLATES, StartInvalid, start, template


def _write(folder: Path, name: str, **words: object) -> PolicyBundle:
    given = {"agency": "harbor", "partners": ["sheriff", "lapd"], "state": "NV", **words}
    for path, text in start(name, **given).items():  # type: ignore[arg-type]
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return PolicyBundle.load(folder)


@pytest.mark.parametrize("name", TEMPLATES)
def test_bundle_of_a_template_holds_its_cases_under_its_new_name(tmp_path: Path, name: str) -> None:
    """Every case holds, every policy determines one and can apply; no name of the template is left."""
    bundle = _write(tmp_path, name)
    results = [run(PolicyEngine(bundle), case) for case in load_cases(tmp_path)]
    assert len(results) >= 15
    assert {each.case.name: each.differences for each in results if each.differences} == {}
    assert uncovered(bundle.policies, results) == ()
    assert list(unreached(bundle)) == []
    assert bundle.agency == "harbor"
    assert all(policy.policy_id.startswith("harbor.") for policy in bundle.policies)
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in texts if "yours." in text or '"yours"' in text or '"CA"' in text]


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_marks_everything_as_ours_and_asks_by_the_same_schema(name: str) -> None:
    """No document is said to demand what a template says; the README walks to each policy."""
    bundle = PolicyBundle.load(template(name))
    assert all(policy.terms.document.startswith("ours") for policy in bundle.policies)
    assert bundle.files["schema.cedarschema"] == (shipped("cbp") / "schema.cedarschema").read_bytes()
    readme = (template(name) / "README.md").read_text()
    assert all(f"`{policy.policy_id}`" in readme for policy in bundle.policies)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"agency": "Harbor"}, "agency `Harbor`: expected lower case"),
        ({"partners": []}, "no partner"),
        ({"partners": ["harbor"]}, "is the agency itself"),
        ({"partners": ['x"}']}, "expected an agency's name"),
        ({"state": "california"}, "expected capitals"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, words: dict[str, object], said: str) -> None:
    """Nothing is written into a law that isn't a name."""
    with pytest.raises(StartInvalid, match=said):
        _write(tmp_path, "federal", **words)


def test_start_prints_json_on_request(tmp_path: Path) -> None:
    """One object: whose law, its digest, and that its cases hold."""
    words = ["start", str(tmp_path / "law"), "--from", "house", "--agency", "harbor", "--json"]
    told = json.loads(CliRunner().invoke(group, words).stdout)
    checked = json.loads(CliRunner().invoke(group, ["check", str(tmp_path / "law"), "--json"]).stdout)
    assert (told["agency"], told["digest"]) == ("harbor", checked["digest"])
    assert told["held"] == told["cases"] > 0


def test_bundle_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    """Bad input never loses data: exit 2, and every byte stays."""
    words = ["--from", "federal", "--agency", "harbor", "--partner", "sheriff"]
    first = CliRunner().invoke(group, ["start", str(tmp_path / "law"), *words])
    assert first.exit_code == 0
    assert re.search(r"\b(\d+) policies of harbor, (\d+) of \2 cases hold", first.output)
    before = {path: path.read_bytes() for path in (tmp_path / "law").rglob("*") if path.is_file()}
    second = CliRunner().invoke(group, ["start", str(tmp_path / "law"), *words])
    assert second.exit_code == 2
    assert {path: path.read_bytes() for path in (tmp_path / "law").rglob("*") if path.is_file()} == before
