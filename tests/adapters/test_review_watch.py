"""When published folders are looked at: at rest, and again until they were taken."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from comity.adapters.config import AdapterConfig
from comity.adapters.loading import StandingWatch
from comity.policy.bundle import shipped
from tests.adapters.bench import HandClock
from tests.support.federation import FederationOnDisk


@pytest.fixture
def watched(provider_federation: FederationOnDisk, tmp_path: Path) -> SimpleNamespace:
    """The folders of LAPD's adapter, as its configuration names them."""
    shutil.copytree(provider_federation.public, tmp_path / "public")
    shutil.copytree(provider_federation.agreements("lapd"), tmp_path / "agreements")
    shutil.copytree(shipped("lapd"), tmp_path / "policy")
    return SimpleNamespace(
        agency="lapd",
        public=tmp_path / "public",
        agreements=tmp_path / "agreements",
        policy=tmp_path / "policy",
    )


def test_bundle_that_is_being_copied_is_not_activated_half(watched: SimpleNamespace) -> None:
    """Half a bundle can be valid and lack its last `forbid`: only folders at rest count (design 6)."""
    watch = StandingWatch(cast(AdapterConfig, watched), clock=HandClock())
    law = sorted((watched.policy / "policies").iterdir())
    contents = {path: path.read_text() for path in law}
    for path in law:
        path.unlink()
    for path in law:
        path.write_text(contents[path] + "\n// anew\n")
        assert not watch.changed()
    assert watch.changed()


def test_change_is_looked_at_again_until_it_was_taken(watched: SimpleNamespace) -> None:
    """A suspension that couldn't be logged when it came isn't forgotten."""
    watch = StandingWatch(cast(AdapterConfig, watched), clock=HandClock())
    assert not watch.changed()
    next(iter(watched.agreements.glob("*.json"))).unlink()
    assert [watch.changed() for _ in range(3)] == [False, True, True]
    watch.taken()
    assert not watch.changed()
