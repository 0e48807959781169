"""What a policy obliges to is met at the provider, in what leaves and in what is logged (A1, A6, A8)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from comity.adapters.ruling import Store
from comity.adapters.sources.source import SourceResult
from comity.certs.instants import to_instant
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.facts import StoreFacts
from tests.adapters.bench import NOON, Bench, MemorySource, detail_of, period, reads_of, stored_read

SEARCH = """
@id("t.search")
@rule("A1")
@document("ours")
@text("everybody may search")
@retain_days("30")
@max_window("none")
permit (principal, action == Action::"Search", resource);
"""
VIEW = """
@id("t.view")
@rule("A1")
@document("ours")
@text("everybody may view")
permit (principal, action in Action::"View", resource);
"""

Under = Callable[..., Bench]


@pytest.fixture
def under(bench: Bench, tmp_path: Path) -> Under:
    """Return a function that puts the bench under these policies, with stores of these classes."""

    def put(*policies: str, windows: str = "", classes: tuple[str, ...] = ("fixed",)) -> Bench:
        folder = tmp_path / "law"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "policies").mkdir(parents=True)
        for file in ("schema.cedarschema", "entities.json"):
            shutil.copyfile(shipped("lapd") / file, folder / file)
        (folder / "bundle.toml").write_text('agency = "lapd"\nversion = "t"\n')
        for index, text in enumerate(policies):
            (folder / "policies" / f"{index:02}.cedar").write_text(text)
        if windows:
            (folder / "windows.toml").write_text(windows)
        bench.bundle = PolicyBundle.load(folder)
        path = bench.build()
        stores = tuple(
            Store(
                facts=StoreFacts(store_id=name, store_class=name),
                source=MemorySource(stored_read(store=name)),
            )
            for name in classes
        )
        path.standing = replace(path.standing, stores=stores)
        return bench

    return put


def source(bench: Bench, store: str) -> MemorySource:
    found = next(each.source for each in bench.path.standing.stores if each.store_id == store)
    assert isinstance(found, MemorySource)
    return found


# -- retention ---------------------------------------------------------------------------------------------


async def test_each_store_is_searched_no_further_back_than_it_keeps(under: Under) -> None:
    """What is past a store's own retention isn't even searched for there, and the answer says so (A8)."""
    windows = '[retention.mobile]\ndays = 20\nrule = "A8"\ndocument = "ours"\n'
    bench = under(SEARCH, VIEW, windows=windows, classes=("fixed", "mobile"))
    for name in ("fixed", "mobile"):
        source(bench, name).reads = [
            stored_read(1, store=name),
            stored_read(2, store=name, at=NOON - timedelta(25)),
        ]
    reply = await bench.reply(bench.ask(bench.query(period=period(NOON - timedelta(30), NOON))))
    assert sorted(read.read_id for read in reads_of(reply)) == ["fixed:r1", "fixed:r2", "mobile:r1"]
    assert source(bench, "mobile").queries[0].start == NOON - timedelta(20)
    detail = detail_of(reply)
    assert to_instant(detail.searched, "start") == NOON - timedelta(30)
    (told,) = (item for item in detail.obligations if item.name == "clip_retention")
    assert told.policy_id == "retention.mobile"
    assert "since 2026-02-10" in told.text


async def test_period_is_clipped_to_what_the_one_store_keeps(under: Under) -> None:
    """With one store the period that was searched is the one that it keeps (A8)."""
    windows = '[retention.mobile]\ndays = 20\nrule = "A8"\ndocument = "ours"\n'
    bench = under(SEARCH, VIEW, windows=windows, classes=("mobile",))
    reply = await bench.reply(bench.ask(bench.query(period=period(NOON - timedelta(30), NOON))))
    detail = detail_of(reply)
    assert detail.period_clipped
    assert to_instant(detail.searched, "start") == NOON - timedelta(20)


async def test_store_that_gives_more_than_it_keeps_is_cut(under: Under) -> None:
    """A store that answers past its retention is cut all the same (A8)."""
    windows = '[retention.mobile]\ndays = 20\nrule = "A8"\ndocument = "ours"\n'
    bench = under(SEARCH, VIEW, windows=windows, classes=("fixed", "mobile"))
    old = stored_read(2, store="mobile", at=NOON - timedelta(25))
    source(bench, "mobile").gives = SourceResult(reads=(old,), truncated=False)
    reply = await bench.reply(bench.ask(bench.query(period=period(NOON - timedelta(30), NOON))))
    assert [read.read_id for read in reads_of(reply)] == ["fixed:r1"]
