"""The five bundles that ship with Comity: faithful by their own cases, named by their digests."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest

from comity.policy.bundle import DIGEST_HEADER, PolicyBundle, digest_of, read_files, shipped
from comity.policy.case_words import uncovered
from comity.policy.cases import load_cases, run
from comity.policy.decision import PolicyEngine

AGENCIES = ("cbp", "dea", "vendor", "lapd", "lahd")


@pytest.mark.parametrize("agency", AGENCIES)
def test_every_case_of_a_shipped_bundle_holds(agency: str) -> None:
    """Each bundle decides its own cases as they say: ten or so, boundaries and refusals among them."""
    folder = shipped(agency)
    engine = PolicyEngine(PolicyBundle.load(folder))
    cases = load_cases(folder)
    assert len(cases) >= 10
    results = [run(engine, case) for case in cases]
    assert {each.case.name: each.differences for each in results if each.differences} == {}
    assert [policy.policy_id for policy in uncovered(engine.bundle.policies, results)] == []


@pytest.mark.parametrize("agency", AGENCIES)
def test_shipped_bundles_ask_by_one_schema(agency: str) -> None:
    """The schema says what Comity asks, so it is the same in every bundle."""
    schema = (shipped(agency) / "schema.cedarschema").read_bytes()
    assert schema == (shipped("cbp") / "schema.cedarschema").read_bytes()
    assert PolicyBundle.load(shipped(agency)).agency == agency


@pytest.mark.parametrize("agency", AGENCIES)
def test_readme_walks_to_every_policy_and_to_no_other(agency: str) -> None:
    """A reader gets from a document's paragraph to each policy of the bundle (documents → policies)."""
    readme = (shipped(agency) / "README.md").read_text()
    named = set(re.findall(rf"`({agency}\.[a-z-]+)`", readme))
    assert named == {policy.policy_id for policy in PolicyBundle.load(shipped(agency)).policies}


def test_digest_is_what_sha256sum_would_list() -> None:
    """The digest can be recomputed without Comity: a header line, then `sha256sum` of the sorted files."""
    folder = shipped("lapd")
    names = ["bundle.toml", "entities.json", "schema.cedarschema", "windows.toml"]
    names += [f"policies/{path.name}" for path in (folder / "policies").iterdir()]
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)
    ]
    expected = hashlib.sha256(DIGEST_HEADER + "".join(lines).encode()).digest()
    assert PolicyBundle.load(folder).digest == expected


def test_digest_does_not_depend_on_order_or_place(tmp_path: Path) -> None:
    """Neither the order in which files are found nor the folder's name is part of the law."""
    files = read_files(shipped("cbp"))
    assert digest_of(dict(reversed(files.items()))) == digest_of(files)
    shutil.copytree(shipped("cbp"), tmp_path / "elsewhere")
    assert PolicyBundle.load(tmp_path / "elsewhere").digest == digest_of(files)


@pytest.mark.parametrize(
    "name", ["bundle.toml", "entities.json", "schema.cedarschema", "windows.toml", "policies/10-law.cedar"]
)
def test_tampering_with_any_part_of_the_law_changes_the_digest(name: str) -> None:
    """One byte of any file that a decision depends on gives another digest."""
    files = read_files(shipped("lapd"))
    assert digest_of({**files, name: files[name] + b"\n"}) != digest_of(files)


def test_moving_bytes_between_files_changes_the_digest() -> None:
    """Names and lengths are bound: the same bytes under other names are another bundle."""
    files = {"policies/a.cedar": b"x", "policies/b.cedar": b"y"}
    assert digest_of(files) != digest_of({"policies/a.cedar": b"y", "policies/b.cedar": b"x"})
    assert digest_of(files) != digest_of({"policies/a.cedar": b"xy", "policies/b.cedar": b""})


def test_readme_and_cases_are_not_the_law(tmp_path: Path) -> None:
    """Explaining a bundle better, or testing it more, does not make it another bundle."""
    shutil.copytree(shipped("dea"), tmp_path / "dea")
    (tmp_path / "dea" / "README.md").write_text("rewritten")
    shutil.rmtree(tmp_path / "dea" / "tests")
    assert PolicyBundle.load(tmp_path / "dea").digest == PolicyBundle.load(shipped("dea")).digest
