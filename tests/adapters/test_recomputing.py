"""Decisions made again from log, openings and bundles: the same, or what was tampered with (design 6)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.adapters import path as adapter_path
from comity.adapters.bundles import keep_bundle
from comity.adapters.recomputing import Bundles, Recomputed, kept_bundles, recompute
from comity.adapters.ruling import Ruling, StoreRuling
from comity.audit.errors import TileInvalid
from comity.audit.log import SignedLog
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk
from comity.cli.policy import group
from comity.v1 import common_pb2
from tests.adapters.bench import NOON, Bench, period


def _again(home: Path, bundles: Sequence[Path] = ()) -> list[Recomputed]:
    with KeptBeside(home / "state.db") as kept:
        walk = LogWalk(home / "log")
        return list(recompute(walk, kept, Bundles(bundles or kept_bundles(home))))


@pytest.fixture
def home(bench: Bench) -> Path:
    """The adapter's folder: log, openings, bundles."""
    home = bench.folder / "logged"
    home.mkdir(exist_ok=True)
    keep_bundle(home, bench.bundle)
    return home


async def _asked(bench: Bench, log: SignedLog) -> None:
    """Four questions: answered, clipped, refused by the policy, without an agreement."""
    bench.build(log)
    await bench.reply()
    await bench.reply(bench.ask(bench.query(period=period(NOON - timedelta(days=3650), NOON))))
    await bench.reply(bench.ask(bench.query(reason=common_pb2.REASON_CODE_CIVIL_IMMIGRATION)))
    await bench.reply(bench.ask(bench.query("dea"), requester="dea"), peer="dea")
    await log.close()


async def test_every_decision_comes_out_the_same(bench: Bench, real_log: SignedLog, home: Path) -> None:
    """Permits, clips and refusals, made again from the facts that the log commits to."""
    await _asked(bench, real_log)
    found = _again(home)
    assert [each.outcome for each in found] == ["responded", "responded", "refused", "refused"]
    assert [(each.differences, each.unknown) for each in found] == [((), "")] * 4


async def test_decision_that_the_policy_does_not_make_is_listed(
    bench: Bench, real_log: SignedLog, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter that answered what its policy refuses can't have written a log that shows otherwise (A1)."""
    permitted = Ruling(
        kind=common_pb2.OUTCOME_KIND_RESPONDED,
        rules=(),
        stores=(StoreRuling(store_id="fixed", withhold=frozenset()),),
        start=NOON - timedelta(days=30),
        end=NOON,
        max_reads=10,
    )
    bench.build(real_log)
    await bench.reply()
    monkeypatch.setattr(adapter_path, "rule", lambda *_, **__: permitted)
    await bench.reply(bench.ask(bench.query(reason=common_pb2.REASON_CODE_CIVIL_IMMIGRATION)))
    await real_log.close()
    honest, lying = _again(home)
    assert honest.differences == ()
    assert lying.differences[0] == "outcome: logged `responded`, decided now `refused`"
    assert "rules: logged none, decided now `lapd.civil-immigration A3`" in lying.differences
    result = CliRunner().invoke(group, ["replay", str(home)])
    assert result.exit_code == 1
    assert "2 decisions by 1 bundle: 1 the same, 1 otherwise" in result.output
    told = json.loads(CliRunner().invoke(group, ["replay", "--json", str(home)]).stdout)
    assert [each["entry"] for each in told["differing"]] == [lying.index]


async def test_facts_put_in_the_place_of_the_true_ones_are_found(
    bench: Bench, real_log: SignedLog, home: Path
) -> None:
    """A later excuse doesn't open the commitment: the log holds what was decided by."""
    await _asked(bench, real_log)
    with closing(sqlite3.connect(home / "state.db")) as state:
        changed = state.execute(
            "update openings set value = replace(value, 'CIVIL_IMMIGRATION', 'NARCOTICS') "
            "where name = 'facts' and value like '%\"reason\":\"CIVIL_IMMIGRATION\"%'"
        )
        assert changed.rowcount == 1
        state.commit()
    (found,) = [each for each in _again(home) if each.differences]
    assert "don't open the commitment of `facts`" in found.differences[0]


async def test_what_cannot_be_made_again_is_said(bench: Bench, real_log: SignedLog, home: Path) -> None:
    """An opening that is gone, and a bundle that isn't at hand, or isn't the one that was in force."""
    await _asked(bench, real_log)
    with closing(sqlite3.connect(home / "state.db")) as state:
        state.execute("delete from openings where \"index\" = 1 and name = 'facts'")
        state.commit()
    assert [each.unknown for each in _again(home)] == ["no opening of facts", "", "", ""]
    (kept,) = (home / "bundles").iterdir()
    law = kept / "policies" / "10-law.cedar"
    law.write_text(law.read_text().replace("CIVIL_IMMIGRATION", "NARCOTICS"))
    found = _again(home)
    assert [each.lacks_bundle for each in found] == [False, True, True, True]
    result = CliRunner().invoke(group, ["replay", str(home)])
    assert result.exit_code == 1
    assert "3 not made again: its bundle is not at hand" in result.output


async def test_log_whose_entries_were_changed_is_no_ground(
    bench: Bench, real_log: SignedLog, home: Path
) -> None:
    """What was read counts only if it leads to the root that the checkpoint signs (L2)."""
    await _asked(bench, real_log)
    shutil.copytree(home, bench.folder / "copy")
    copy = bench.folder / "copy"
    for tile in (copy / "log" / "tile" / "entries").rglob("*.p/*"):
        tile.write_bytes(tile.read_bytes().replace(b'"outcome":"refused"', b'"outcome":"referRd"'))
    with pytest.raises(TileInvalid):
        _again(copy)
    result = CliRunner().invoke(group, ["replay", str(copy)])
    assert result.exit_code == 1
    assert "Traceback" not in result.output


async def test_bundle_that_was_kept_is_kept_again_when_it_was_damaged(bench: Bench, home: Path) -> None:
    """It stands there as it was in force, readable by its owner alone."""
    (kept,) = (home / "bundles").iterdir()
    assert (kept / "bundle.toml").stat().st_mode & 0o777 == 0o600
    (kept / "bundle.toml").write_text("agency = 1")
    keep_bundle(home, bench.bundle)
    assert Bundles([home / "bundles"]).engine(bench.bundle.digest.hex()) is not None
