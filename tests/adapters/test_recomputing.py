"""Decisions made again from log, openings and bundles: the same, or what was tampered with (design 6)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.adapters import path as adapter_path
from comity.adapters.bundles import keep_bundle
from comity.adapters.recomputing import Activation, Bundles, Recomputed, kept_bundles, recompute
from comity.adapters.records import policy_activated
from comity.adapters.ruling import Ruling, StoreRuling
from comity.audit.errors import TileInvalid
from comity.audit.log import SignedLog
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk
from comity.certs.keys import SigningKey
from comity.cli.policy import group
from comity.policy.adopting import adopt
from comity.policy.bundle import PolicyBundle, shipped
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
    await log.append(policy_activated(bench.bundle, NOON))
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
    await real_log.append(policy_activated(bench.bundle, NOON))
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
        state.execute("delete from openings where \"index\" = 2 and name = 'facts'")
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


async def test_decision_by_a_bundle_that_was_not_in_force_is_listed(
    bench: Bench, real_log: SignedLog, home: Path, tmp_path: Path
) -> None:
    """It may be what that bundle decides: the log had another one in force, or none."""
    bench.build(real_log)
    await bench.reply()
    shutil.copytree(shipped("lapd"), tmp_path / "second")
    (tmp_path / "second" / "bundle.toml").write_text('agency = "lapd"\nversion = "2"\n')
    await real_log.append(policy_activated(PolicyBundle.load(tmp_path / "second"), NOON))
    await bench.reply()
    await real_log.append(policy_activated(bench.bundle, NOON))
    await bench.reply()
    await real_log.close()
    before, other, good = _again(home)
    assert before.differences and before.differences[0].endswith("none was in force")
    assert other.differences and "was in force since entry 3" in other.differences[0]
    assert good.differences == ()
    assert CliRunner().invoke(group, ["replay", str(home)]).exit_code == 1


async def test_signature_of_each_bundle_that_was_in_force_is_checked(
    bench: Bench, real_log: SignedLog, home: Path
) -> None:
    """It is kept with the bundle, and must be the one that the log names; that nobody signed one is told."""
    identity, other = SigningKey.generate(), SigningKey.generate()
    signed = replace(bench.bundle, adoption=adopt(bench.bundle, identity, NOON))
    keep_bundle(home, signed)
    await real_log.append(policy_activated(signed, NOON), policy_activated(bench.bundle, NOON))
    await real_log.close()
    activations = list[Activation]()
    with KeptBeside(home / "state.db") as kept:
        assert not list(recompute(LogWalk(home / "log"), kept, Bundles([]), activations=activations))
    known = Bundles(kept_bundles(home))
    judged = [each.judged(known, identity.public) for each in activations]
    assert judged == ["", "nobody signed it"]
    assert "did not sign it" in activations[0].judged(known, other.public)
    assert activations[0].judged(Bundles([]), identity.public) == "its bundle is not at hand"
    keep_bundle(home, replace(signed, adoption=adopt(bench.bundle, identity, NOON)))
    assert "is not the one that was logged" in activations[0].judged(
        Bundles(kept_bundles(home)), identity.public
    )
    told = CliRunner().invoke(group, ["replay", str(home)])
    assert (told.exit_code, "2 activations: 0 of a signed bundle" in told.output) == (1, True)


async def test_real_exchange_is_explained(bench: Bench, real_log: SignedLog, home: Path) -> None:
    """From log, openings and kept bundle: as it was decided, why, and what would have to differ."""
    await _asked(bench, real_log)
    answered, clipped, refused, _ = _again(home)

    def explained(exchange: str, *more: str) -> Result:
        return CliRunner().invoke(group, ["explain", str(home), "--exchange", exchange, *more])

    told = explained(refused.exchange.hex())
    assert told.exit_code == 0, told.output
    assert f"entry {refused.index} of lapd.example/adapter" in told.output
    assert "forbid policies/10-law.cedar:3 lapd.civil-immigration" in told.output
    assert "A3; MOA II.A" in told.output
    assert "the reason were" in told.output
    facts = json.loads(explained(clipped.exchange.hex()[:12], "--json").stdout)
    assert (facts["effect"], facts["logged"], facts["differences"]) == ("permit", "responded", [])
    assert facts["digest"] == bench.bundle.digest.hex()
    assert "clip_period" in {item["name"] for item in facts["stores"][0]["applied"]}
    assert "permitted" in explained(answered.exchange.hex()).output
    several, none = explained(""), explained("ff" * 16)
    assert (several.exit_code, "begins 4 ids" in several.output) == (1, True)
    assert (none.exit_code, "begins no exchange that was decided here" in none.output) == (1, True)
    assert explained("ab", "--set", "reason = 1").exit_code == 2


async def test_exchange_that_was_rejected_or_whose_opening_is_gone_is_said_so(
    bench: Bench, real_log: SignedLog, home: Path
) -> None:
    """There was no decision, or nothing is left to explain it by."""
    bench.build(real_log)
    malformed = bench.ask(bench.query(reason=None))
    await real_log.append(policy_activated(bench.bundle, NOON))
    await bench.reply(malformed)
    await bench.reply()
    await real_log.close()
    with closing(sqlite3.connect(home / "state.db")) as state:
        state.execute("delete from openings where name = 'facts'")
        state.commit()
    (decided,) = _again(home)
    for exchange, says in (
        (malformed.exchange_id, "rejected it before any decision: malformed"),
        (decided.exchange, "no opening of facts"),
    ):
        told = CliRunner().invoke(group, ["explain", str(home), "--exchange", exchange.hex()])
        assert (told.exit_code, says in told.output) == (1, True), told.output


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
