"""A small bundle that permits everything, and a question that it permits, for tests to spoil."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import (
    AgreementFacts,
    DecisionRequest,
    PolicyEngine,
    StoreFacts,
    SubjectFacts,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)

SEARCH_PERMIT = """
@id("t.search")
@rule("A1")
@document("ours")
@text("everybody may search")
@retain_days("30")
@max_window("none")
permit (principal, action == Action::"Search", resource);
"""

VIEW_PERMIT = """
@id("t.view")
@rule("A1")
@document("ours")
@text("everybody may view")
permit (principal, action in Action::"View", resource);
"""

WriteBundle = Callable[..., Path]


@pytest.fixture
def write_bundle(tmp_path: Path) -> WriteBundle:
    """Return a function that writes a bundle with these policies and gives its folder."""

    def write(*policies: str, name: str = "bundle") -> Path:
        folder = tmp_path / name
        (folder / "policies").mkdir(parents=True)
        for file in ("schema.cedarschema", "entities.json"):
            shutil.copyfile(shipped("lapd") / file, folder / file)
        (folder / "bundle.toml").write_text('agency = "lapd"\nversion = "1"\n')
        for index, text in enumerate(policies):
            (folder / "policies" / f"{index:02}.cedar").write_text(text)
        return folder

    return write


@pytest.fixture
def engine_of(write_bundle: WriteBundle) -> Callable[..., PolicyEngine]:
    """Return a function that gives an engine for these policies."""

    def make(*policies: str, name: str = "bundle") -> PolicyEngine:
        return PolicyEngine(PolicyBundle.load(write_bundle(*policies, name=name)))

    return make


@pytest.fixture
def asking() -> Callable[..., DecisionRequest]:
    """Return a function that gives a question that a permissive bundle permits, with changes."""

    def make(**changes: object) -> DecisionRequest:
        words: dict[str, object] = {
            "requester": "lahd",
            "requester_kind": "local",
            "requester_state": "CA",
            "subject": SubjectFacts(
                user="officer-4711",
                roles=frozenset({"investigator"}),
                trained_at=NOW - timedelta(days=30),
                rules_accepted_at=NOW,
                good_standing=True,
                protections_attested=True,
            ),
            "reason": "CRIMINAL_INVESTIGATION",
            "period_start": NOW - timedelta(days=90),
            "period_end": NOW,
            "plate_state": "CA",
            "plate_country": "US",
            "agreement": AgreementFacts(
                agreement_id="moa",
                purposes=frozenset({"CRIMINAL_INVESTIGATION"}),
                elements=frozenset({"LOCATION", "IMAGES", "VEHICLE", "CAMERA"}),
            ),
            "now": NOW,
        }
        return DecisionRequest(**(words | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def stores() -> tuple[StoreFacts, ...]:
    """One fixed and one mobile store."""
    return (
        StoreFacts(store_id="corridor", store_class="fixed"),
        StoreFacts(store_id="patrol", store_class="mobile"),
    )
