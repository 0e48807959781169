"""Reconciliation of three ends' logs: what matches, and each way not to (L1, L2; design 7)."""

import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from comity.audit import merkle
from comity.audit.entry import Entry, seal_entry
from comity.audit.reconciling import gathering, running
from comity.audit.reconciling.judging import CLASSES, Bounds, Case, LogView, judge
from comity.audit.reconciling.running import Reconciler, Step
from comity.audit.tiles import TILE_WIDTH, TileFolder, TileName, decode_bundle, encode_bundle
from comity.audit.trust import Trust
from comity.cli.main import cli
from tests.support.ledgers import (
    BEGIN,
    BROKER,
    LAPD,
    Change,
    Ledger,
    activation,
    checkpoint_seen,
    write_log,
    write_trust,
)


def reconcile(
    tmp_path: Path, *folders: Path, scratch: Path | None = None
) -> tuple[Reconciler, dict[str, int], str]:
    """Return the reconciler, how many exchanges are in each class, and all evidence as text."""
    trust = write_trust(tmp_path / "policy")
    work = scratch or tmp_path / "scratch"
    reconciler = Reconciler(list(folders), Trust.load(trust), trust, work, workers=0)
    reconciler.read()
    counts: dict[str, int] = {}
    evidence: list[str] = []
    for verdict in reconciler.verdicts():
        counts[verdict.what] = counts.get(verdict.what, 0) + 1
        evidence += verdict.evidence
    return reconciler, counts, "\n".join(evidence)


def test_three_honest_ends_match(tmp_path: Path) -> None:
    """Every exchange is told alike by three logs, of several tiles each, and nothing is found in any."""
    folders = Ledger.of(700).write(tmp_path / "logs")
    reconciler, counts, _ = reconcile(tmp_path, *folders.values())
    assert counts == {"matched": 700}
    assert [log.findings for log in reconciler.logs] == [(), (), ()]


@pytest.mark.parametrize("ends", [("requester", "provider"), ("requester", "broker"), ("broker", "provider")])
def test_two_ends_are_enough_to_compare(tmp_path: Path, ends: tuple[str, str]) -> None:
    """With any two of the three logs, exchanges match as far as these two can tell."""
    folders = Ledger.of(5).write(tmp_path / "logs")
    _, counts, _ = reconcile(tmp_path, *(folders[end] for end in ends))
    assert counts == {"matched": 5}


def _late(ledger: Ledger) -> None:
    for place, entry in enumerate(ledger.logs["broker"]):
        if entry.exchange == ledger.exchanges[1]:
            ledger.logs["broker"][place] = replace(entry, at=entry.at - timedelta(minutes=3))


def _unreachable(ledger: Ledger) -> None:
    ledger.drop("provider", number=1)
    ledger.drop("requester", "delivered", number=1)
    ledger.change("broker", "routed", 1, absent=["lapd"])
    ledger.change("broker", "accounted", 1, outcomes={"lapd": "unreachable"}, receipts={})
    ledger.change("requester", "concluded", 1, outcomes={"lapd": "unreachable"})


def _unwritable(ledger: Ledger) -> None:
    ledger.drop("provider", number=1)
    ledger.change("broker", "accounted", 1, outcomes={"lapd": "audit_unavailable"})
    ledger.change("requester", "delivered", 1, outcome="audit_unavailable", index=None, leaf="")


def _unacknowledged(ledger: Ledger) -> None:
    ledger.drop("provider", "acknowledged", number=1)


def _superseded(ledger: Ledger) -> None:
    """Another bundle is in force for one exchange alone, and it is decided by the one before."""
    entries = ledger.logs["provider"]
    entries.insert(ledger.find("provider", "decided", 1) + 1, activation())
    entries.insert(ledger.find("provider", "decided", 1), activation("ee" * 32))


WAYS: dict[str, tuple[Change, str]] = {
    "requester keeps nothing": (lambda it: it.drop("requester", number=1), "missing at the requester"),
    "broker keeps nothing": (lambda it: it.drop("broker", number=1), "missing at the broker"),
    "provider keeps nothing": (lambda it: it.drop("provider", number=1), "missing at the provider"),
    "another receipt at the requester": (
        lambda it: it.change("requester", "delivered", 1, receipt="ee" * 32),
        "disagrees",
    ),
    "another receipt at the broker": (
        lambda it: it.change("broker", "accounted", 1, receipts={"lapd": "ee" * 32}),
        "disagrees",
    ),
    "another order at the broker": (
        lambda it: it.change("broker", "routed", 1, order="ee" * 32),
        "disagrees",
    ),
    "another query at the provider": (
        lambda it: it.change("provider", "received", 1, query="ee" * 32),
        "disagrees",
    ),
    "another policy at the requester": (
        lambda it: it.change("requester", "delivered", 1, policy="ee" * 32),
        "disagrees",
    ),
    "a hit that is none at the requester": (
        lambda it: it.change("requester", "delivered", 1, hit=False),
        "disagrees",
    ),
    "another outcome at the broker": (
        lambda it: it.change("broker", "accounted", 1, outcomes={"lapd": "refused"}),
        "disagrees",
    ),
    "refused, and released all the same": (
        lambda it: it.change("provider", "decided", 1, outcome="refused"),
        "disagrees",
    ),
    "released without decision": (
        lambda it: it.drop("provider", "decided", number=1),
        "release without decision",
    ),
    "decided by a policy that was never in force": (
        lambda it: [
            it.change(end, kind, 1, policy="ee" * 32)
            for end, kind in (("provider", "decided"), ("provider", "released"), ("requester", "delivered"))
        ],
        "not by the law in force",
    ),
    "decided by one policy, and released under another": (
        lambda it: [
            it.change(end, kind, 1, policy="ee" * 32)
            for end, kind in (("provider", "released"), ("requester", "delivered"))
        ],
        "not by the law in force",
    ),
    "decided by the policy before": (_superseded, "not by the law in force"),
    "promised another entry": (
        lambda it: it.change("requester", "delivered", 1, leaf="ee" * 32),
        "promise broken",
    ),
    "promised an entry that never came": (
        lambda it: it.change("requester", "delivered", 1, index=10_000),
        "promise broken",
    ),
    "log unwritable": (_unwritable, "log unwritable"),
    "unreachable, but linked": (_unreachable, "unreachable, but linked"),
    "broker's clock three minutes behind": (_late, "times apart"),
    "no acknowledgement": (_unacknowledged, "not acknowledged"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_disagree_has_its_class_and_evidence(tmp_path: Path, way: str) -> None:
    """One exchange of three goes wrong in one way: it is in that class, with evidence; the others match."""
    change, what = WAYS[way]
    ledger = Ledger.of(3)
    change(ledger)
    if what != "promise broken":  # entries that are left out move those after them, as they would have
        _promise_again(ledger)
    _, counts, evidence = reconcile(tmp_path, *ledger.write(tmp_path / "logs").values())
    assert counts == {"matched": 2, what: 1}
    assert all(re.search(r"entry \d+ ", line) for line in evidence.splitlines() if what == "disagrees")
    assert evidence


def test_answer_that_its_requester_withdrew_is_told_as_that(tmp_path: Path) -> None:
    """Its key was revoked before it was shown: the requester's own entry says why nobody acknowledged it."""
    ledger = Ledger.of(3)
    _unacknowledged(ledger)
    ledger.change("requester", "concluded", 1, outcomes={"lapd": "unverifiable"})
    _promise_again(ledger)
    _, counts, evidence = reconcile(tmp_path, *ledger.write(tmp_path / "logs").values())
    assert counts == {"matched": 2, "not acknowledged": 1}
    assert "concluded: unverifiable, not acknowledged for that" in evidence


def _promise_again(ledger: Ledger) -> None:
    for number in range(len(ledger.exchanges)):
        try:
            place = ledger.find("provider", "released", number)
            leaf = merkle.leaf_hash(seal_entry(ledger.logs["provider"][place]).leaf).hex()
            ledger.change("requester", "delivered", number, index=place, leaf=leaf)
        except StopIteration:
            continue


def test_every_class_is_tried() -> None:
    """The table above and the tests below leave no class out."""
    below = {"matched", "edited", "reordered", "truncated tail", "promise late", "forked"}
    assert {what for _, what in WAYS.values()} | below == set(CLASSES)


def test_edited_entry_is_told_by_its_place(tmp_path: Path) -> None:
    """One letter of one entry is another: the log and the exchange are named, the others match."""
    ledger = Ledger.of(3)
    folders = ledger.write(tmp_path / "logs")
    place = ledger.find("provider", "decided", 1)
    _rewrite(folders["provider"], lambda entries: _replace(entries, place, b'"responded"', b'"referred."'))
    reconciler, counts, evidence = reconcile(tmp_path, *folders.values())
    assert counts == {"matched": 2, "edited": 1}
    assert f"lapd.example/adapter: entry {place}: its bytes are not those of the tree" in evidence
    assert any("do not lead to the root" in text for text in reconciler.logs[2].findings)


def test_reordered_entries_are_told_apart_from_edited_ones(tmp_path: Path) -> None:
    """Two entries changed places: both exchanges are named as reordered."""
    ledger = Ledger.of(3)
    folders = ledger.write(tmp_path / "logs")
    one, other = ledger.find("provider", "decided", 0), ledger.find("provider", "decided", 2)

    def swap(entries: list[bytes]) -> None:
        entries[one], entries[other] = entries[other], entries[one]

    _rewrite(folders["provider"], swap)
    _, counts, _ = reconcile(tmp_path, *folders.values())
    assert counts == {"matched": 1, "reordered": 2}


def test_tail_that_was_cut_and_signed_again_is_told(tmp_path: Path) -> None:
    """A provider forgets its newest exchange and signs the shorter log: a peer saw it longer."""
    ledger = Ledger.of(3)
    folders = ledger.write(tmp_path / "logs")
    cut = ledger.find("provider", "received", 2)
    entries = _entries(folders["provider"])[:cut]
    shutil.rmtree(folders["provider"])
    write_log(folders["provider"], LAPD, iter(entries))
    reconciler, counts, evidence = reconcile(tmp_path, *folders.values())
    assert counts == {"matched": 2, "truncated tail": 1}
    assert "a peer saw more" in evidence
    assert any(text.startswith("truncated tail") for text in reconciler.logs[2].findings)


def test_rewritten_log_is_forked_against_the_checkpoint_that_a_peer_saw(tmp_path: Path) -> None:
    """All of a log is written anew and signed with the right key: a peer's checkpoint doesn't fit.

    What is wrong with an exchange by itself is its class; what would match is `forked`. Exit status 1.
    """
    ledger = Ledger.of(3)
    folders = ledger.write(tmp_path / "logs")
    entries = _entries(folders["provider"])
    entries[ledger.find("provider", "acknowledged", 1)] = entries[0]
    shutil.rmtree(folders["provider"])
    write_log(folders["provider"], LAPD, iter(entries))
    reconciler, counts, evidence = reconcile(tmp_path, *folders.values())
    assert any(text.startswith("forked") and BROKER.origin in text for text in reconciler.logs[2].findings)
    assert counts == {"forked": 2, "not acknowledged": 1}
    seen = next(line for line in evidence.splitlines() if "checkpoint_seen" in line)
    own = next(line for line in evidence.splitlines() if line.startswith(f"{LAPD.origin}: has"))
    assert merkle.root(list(map(merkle.leaf_hash, entries))).hex() in own
    assert f"of {len(entries)} entries the root" in seen and "signed with the same key" in seen
    exit_code, said = command(tmp_path)
    assert exit_code == 1 and said["counts"] == counts and not said["matched"]


def test_exchange_from_before_the_fork_matches(tmp_path: Path) -> None:
    """Up to the last size at which log and peers agree, it is the log that they saw; behind it, it isn't."""
    ledger = Ledger.of(3)
    shared = ledger.find("provider", "acknowledged", 0) + 1
    ledger.logs["broker"].append(checkpoint_seen("provider", ledger.logs["provider"][:shared], BEGIN))
    folders = ledger.write(tmp_path / "logs")
    entries = _entries(folders["provider"])
    entries[-1] = entries[0]
    shutil.rmtree(folders["provider"])
    write_log(folders["provider"], LAPD, iter(entries))
    _, counts, evidence = reconcile(tmp_path, *folders.values())
    assert counts == {"matched": 1, "forked": 2}
    assert f"from entry {shared} on" in evidence


@pytest.mark.parametrize("kind", ["contradiction", "unproven"])
def test_checkpoint_for_which_a_peer_refused_a_log_tells_of_the_fork(tmp_path: Path, kind: str) -> None:
    """The log at hand is the one that peers saw first; another of the same key stands in a contradiction.

    It proves the fork (design 7), and covers no promise: its entries are not those at hand.
    """
    ledger = Ledger.of(3)
    shared = ledger.find("provider", "acknowledged", 0) + 1
    ledger.logs["broker"].append(checkpoint_seen("provider", ledger.logs["provider"][:shared], BEGIN))
    other = list(ledger.logs["provider"])
    other[-1] = other[0]
    shown = replace(checkpoint_seen("provider", other, BEGIN), kind=kind, exchange=ledger.exchanges[2])
    ledger.logs["broker"].append(shown)
    place = len(ledger.logs["broker"]) - 1
    folders = ledger.write(tmp_path / "logs")
    reconciler, counts, evidence = reconcile(tmp_path, *folders.values())
    assert counts == {"matched": 1, "forked": 2}
    assert f"{BROKER.origin}: entry {place} {kind}: signed with the same key" in evidence
    (finding,) = reconciler.logs[2].findings
    assert finding.startswith("forked") and f"entry {place} of {BROKER.origin}" in finding


@pytest.mark.parametrize("end", ["requester", "broker"])
def test_contradiction_that_is_about_no_log_is_no_finding_about_the_end_that_tells_it(
    tmp_path: Path, end: str
) -> None:
    """A gateway that logs findings about an answer, or a broker a second receipt, has forged nothing."""
    ledger = Ledger.of(2)
    told: dict[str, dict[str, object]] = {
        "requester": {"agency": "sheriff", "findings": ["broker: account: names another exchange"]},
        "broker": {"peer": "lapd", "statement": "00" * 32},
    }
    entry = Entry(kind="contradiction", at=BEGIN, exchange=ledger.exchanges[0], public=told[end])  # type: ignore[arg-type]
    ledger.logs[end].append(entry)
    ledger.write(tmp_path / "logs")
    exit_code, said = command(tmp_path)
    assert [log["findings"] for log in said["logs"]] == [[], [], []]
    assert (exit_code, said["counts"]) == (0, {"matched": 2})


def test_promise_is_not_covered_by_a_checkpoint_that_was_never_proven(tmp_path: Path) -> None:
    """What a peer showed, and didn't prove to continue its last one, is no checkpoint to rely on."""
    ledger = Ledger.of(1)
    shown = replace(checkpoint_seen("provider", ledger.logs["provider"], BEGIN), kind="unproven")
    ledger.logs["requester"].append(shown)
    _, counts, _ = reconcile(tmp_path, *ledger.write(tmp_path / "logs", seen=False).values())
    assert counts == {"promise late": 1}


@pytest.mark.parametrize("exchanges", [3, 60])
def test_partial_tile_of_an_earlier_size_is_held_to_the_tree(tmp_path: Path, exchanges: int) -> None:
    """A bundle and a tile that were published before the newest ones, and changed since: both are named.

    They lie beside the newest partial ones, or beside a full tile if its maker crashed before it cleaned up.
    """
    folders = Ledger.of(exchanges).write(tmp_path / "logs")
    log = folders["provider"]
    size = int((log / "checkpoint").read_text().split("\n")[1])
    bundle = TileName(level=None, index=0, width=min(size, TILE_WIDTH))
    leaves = decode_bundle(TileFolder(log).read(bundle))[:4]
    early = {
        TileName(level=0, index=0, width=4).path: b"".join(map(merkle.leaf_hash, leaves)),
        TileName(level=None, index=0, width=4).path: encode_bundle(leaves),
    }
    for path, data in early.items():
        (log / path).parent.mkdir(exist_ok=True)
        (log / path).write_bytes(data)
    assert command(tmp_path)[0] == 0
    for path, data in early.items():
        (log / path).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    exit_code, said = command(tmp_path)
    assert exit_code == 1 and said["counts"] == {"matched": exchanges}
    (provider,) = [one for one in said["logs"] if one["origin"] == LAPD.origin]
    assert [path in found for path, found in zip(early, provider["findings"], strict=True)] == [True, True]
    (log / bundle.path).unlink()
    assert command(tmp_path)[0] == 1


def test_promise_that_no_checkpoint_covered_in_time_is_told(tmp_path: Path) -> None:
    """The entry is there, but the peers, whose logs go on, never saw a checkpoint that covers it."""
    ledger = Ledger.of(3)
    folders = ledger.write(tmp_path / "logs", seen=False)
    _, counts, evidence = reconcile(tmp_path, *folders.values())
    assert counts == {"promise late": 3}
    assert "was seen never" in evidence
    early = ledger.logs["provider"][: ledger.find("provider", "released", 1) + 1]
    ledger.logs["requester"].append(checkpoint_seen("provider", early, BEGIN + timedelta(seconds=30)))
    shutil.rmtree(tmp_path / "logs")
    _, counts, _ = reconcile(tmp_path, *ledger.write(tmp_path / "logs", seen=False).values())
    assert counts == {"matched": 2, "promise late": 1}


def test_checkpoint_that_a_peer_made_up_is_forged(tmp_path: Path) -> None:
    """A log that claims to have seen a checkpoint which its log's key never signed is found out."""
    ledger = Ledger.of(2)
    entry = checkpoint_seen("provider", ledger.logs["provider"], BEGIN)
    note = str(entry.public["note"]).replace("lapd", "dea")
    ledger.logs["broker"].append(replace(entry, public={**entry.public, "note": note}))
    reconciler, _, _ = reconcile(tmp_path, *ledger.write(tmp_path / "logs").values())
    (broker,) = [log for log in reconciler.logs if log.origin == BROKER.origin]
    assert broker.findings and "checkpoint" in broker.findings[0]


def test_run_that_was_interrupted_goes_on_and_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is not read again, and what was not is: the result is that of one whole run."""
    ledger = Ledger.of(200)
    ledger.drop("provider", number=7)
    _promise_again(ledger)
    folders = ledger.write(tmp_path / "logs")
    _, first, evidence = reconcile(tmp_path, *folders.values())
    assert first == {"matched": 199, "missing at the provider": 1}
    monkeypatch.setattr(gathering, "STRETCH_TILES", 1)
    stretches = gathering._Gathering._stretch

    def interrupted(self: object, tree: object, start: int, *more: object) -> None:
        if start >= 512:
            raise KeyboardInterrupt
        stretches(self, tree, start, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gathering._Gathering, "_stretch", interrupted)
        reconcile(tmp_path, folders["provider"], *folders.values(), scratch=tmp_path / "work")
    (folders["provider"] / "tile/entries/000").unlink()  # to read it again would be a finding
    reconciler, again, same = reconcile(tmp_path, *folders.values(), scratch=tmp_path / "work")
    assert (again, same) == (first, evidence)
    assert not any(log.findings for log in reconciler.logs)


def test_processes_that_share_the_work_find_what_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs read, and slices judged, by other processes: the same verdicts, in the same order."""
    ledger = Ledger.of(40)
    ledger.drop("provider", number=7)
    ledger.change("requester", "delivered", 9, receipt="ee" * 32)
    _promise_again(ledger)
    folders = list(ledger.write(tmp_path / "logs").values())
    alone, counts, _ = reconcile(tmp_path, *folders)
    monkeypatch.setattr(running, "SLICE_ENTRIES", 16)
    trust = tmp_path / "policy"
    shared = Reconciler(folders, Trust.load(trust), trust, tmp_path / "shared", workers=1)
    steps: list[Step] = []
    shared.read(steps.append)
    verdicts = list(shared.verdicts(steps.append))
    assert verdicts == list(alone.verdicts())
    assert counts == {"matched": 38, "missing at the provider": 1, "disagrees": 1}
    judged = [step for step in steps if step.what == "judging"]
    assert len(judged) > 5 and judged[-1].done == judged[-1].whole


HOSTILE: dict[str, bytes] = {
    "half a character for a kind": rb'{"at":1,"exchange":"aa","kind":"\ud800","v":1}',
    "a kind that nobody knows": b'{"at":1,"exchange":"aa","kind":"forgotten","v":1}',
    "a list for a kind": b'{"at":1,"exchange":"aa","kind":["asked"],"v":1}',
    "a time beyond all times": b'{"at":1' + b"0" * 40 + b',"exchange":"aa","kind":"asked","v":1}',
    "a truth for a time": b'{"at":true,"exchange":"aa","kind":"asked","v":1}',
    "half a character for a peer": (
        rb'{"at":1,"kind":"checkpoint_seen","note":"x","peer_origin":"\udc00","v":1}'
    ),
    "half a character in a note": (
        rb'{"at":1,"kind":"checkpoint_seen","note":"\udc00","peer_origin":"lapd.example/adapter","v":1}'
    ),
    "more than one entry": b'{"at":1,"exchange":"aa","kind":"asked","v":1}{}',
    "a name twice": b'{"at":1,"at":2,"exchange":"aa","kind":"asked","v":1}',
    "a number too long to read": b'{"at":1,"exchange":"aa","kind":"asked","x":' + b"9" * 5_000 + b"}",
    "nothing but depth": b"[" * 60_000,
}


@pytest.mark.parametrize("way", HOSTILE)
def test_whatever_an_end_signed_into_its_log_is_a_finding_and_no_crash(tmp_path: Path, way: str) -> None:
    """An end that writes rubbish into its own log, properly signed, is named; the others are reconciled."""
    ledger = Ledger.of(2)
    folders = ledger.write(tmp_path / "logs")
    entries = [*_entries(folders["broker"]), HOSTILE[way]]
    shutil.rmtree(folders["broker"])
    write_log(folders["broker"], BROKER, iter(entries))
    reconciler, counts, _ = reconcile(tmp_path, *folders.values())
    (broker,) = [log for log in reconciler.logs if log.origin == BROKER.origin]
    assert broker.findings and f"entry {len(entries) - 1}: " in broker.findings[0]
    assert counts == {"matched": 2}


def test_scratch_of_another_checkpoint_is_of_no_use(tmp_path: Path) -> None:
    """A log that grew since is read anew: nothing of the old run is mixed in."""
    ledger = Ledger.of(3)
    folders = ledger.write(tmp_path / "logs")
    reconcile(tmp_path, *folders.values(), scratch=tmp_path / "work")
    ledger.add(b"n" * 16, BEGIN + timedelta(seconds=60))
    shutil.rmtree(tmp_path / "logs")
    folders = ledger.write(tmp_path / "logs")
    assert reconcile(tmp_path, *folders.values(), scratch=tmp_path / "work")[1] == {"matched": 4}


@pytest.mark.parametrize("damage", ["checkpoint", "tile/entries", "tile/0"])
def test_log_with_something_missing_is_named_and_the_rest_goes_on(tmp_path: Path, damage: str) -> None:
    """A folder that isn't whole is a finding, not a crash; the other logs are reconciled all the same."""
    folders = Ledger.of(3).write(tmp_path / "logs")
    path = folders["provider"] / damage
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    reconciler, counts, _ = reconcile(tmp_path, *folders.values())
    assert any(log.findings for log in reconciler.logs)
    assert sum(counts.values()) == 3


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (10**12, "more than 70 bundles are missing"),
        (2**63 - 1, "entries, which no log has"),
        (2**63, "out of range"),
    ],
)
def test_size_that_no_log_has_keeps_nobody_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, words: str
) -> None:
    """A checkpoint claims what its maker likes: after so many missing bundles the rest is not looked for.

    What is wrong with the log as a whole is told all the same.
    """
    monkeypatch.setattr(gathering, "MAX_FAULTS", 70)
    folders = Ledger.of(3).write(tmp_path / "logs")
    path = folders["provider"] / "checkpoint"
    origin, _, rest = path.read_text().split("\n", 2)
    path.write_text(f"{origin}\n{size}\n{rest}")
    reconciler, counts, _ = reconcile(tmp_path, *folders.values())
    findings = reconciler.logs[2].findings
    assert sum(counts.values()) == 3
    assert len(findings) < 80 and words in findings[-1]
    signed = f"origin {LAPD.origin}: no key that the trust file names signed its checkpoint"
    assert (signed in findings) == (size == 10**12)


def test_link_that_was_down_refutes_nothing() -> None:
    """Only a provider whose own log has its link up, with a margin for clocks, refutes `unreachable`."""
    view = LogView(origin="x", size=1, last_at=0, links=[(1_000, True), (9_000, False), (20_000, True)])
    assert view.was_up(5_000, 1_000)
    assert not view.was_up(1_500, 1_000)
    assert not view.was_up(8_500, 1_000)
    assert not view.was_up(15_000, 1_000)
    assert view.was_up(99_000, 1_000)
    assert not LogView(origin="x", size=1, last_at=0).was_up(1, 0)


def test_exchange_of_which_nothing_is_known_is_matched_with_nobody() -> None:
    """Facts of no end at all make no verdict that something is wrong."""
    case = Case(exchange=b"x", requester="a", provider="b", logs={}, facts={})
    assert judge(case, Bounds()).is_matched


def test_command_prints_classes_and_evidence_and_exits_1(tmp_path: Path) -> None:
    """The command as an auditor types it: a table, the evidence, a file with all of it, status 1."""
    ledger = Ledger.of(3)
    ledger.change("requester", "delivered", 1, receipt="ee" * 32)
    ledger.write(tmp_path / "logs")
    trust = write_trust(tmp_path / "policy")
    out = tmp_path / "findings.jsonl"
    arguments = ["audit", "reconcile", str(tmp_path / "logs"), "--trust", str(trust)]
    result = CliRunner().invoke(cli, [*arguments, "--out", str(out)])
    assert result.exit_code == 1, result.output
    assert "verdict: 1 of 3 do not match" in result.output
    assert ledger.exchanges[1].hex() in result.output
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["class"] == "disagrees"
    whole = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert whole["counts"] == {"matched": 2, "disagrees": 1} and not whole["matched"]


def command(tmp_path: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Run the command on what lies in `logs`; return its exit status, and the object that it prints."""
    trust = write_trust(tmp_path / "policy")
    arguments = ["audit", "reconcile", str(tmp_path / "logs"), "--trust", str(trust), "--json", *more]
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, json.loads(result.stdout)


def test_command_exits_0_when_all_match(tmp_path: Path) -> None:
    """Nothing is wrong with any exchange, nor with any log: status 0, as the help says."""
    Ledger.of(3).write(tmp_path / "logs")
    exit_code, said = command(tmp_path)
    assert exit_code == 0
    assert said["matched"] and said["counts"] == {"matched": 3} and said["examples"] == []


def test_command_exits_1_for_a_log_with_a_finding_though_all_match(tmp_path: Path) -> None:
    """An entry of no exchange was changed: all exchanges match, and the status is 1 all the same."""
    folders = Ledger.of(3).write(tmp_path / "logs")
    _rewrite(folders["provider"], lambda entries: _replace(entries, 0, b'"operator"', b'"operatox"'))
    exit_code, said = command(tmp_path)
    assert exit_code == 1
    assert said["counts"] == {"matched": 3} and not said["matched"]
    assert [bool(log["findings"]) for log in said["logs"]].count(True) == 1


def test_command_goes_on_from_what_lies_in_work(tmp_path: Path) -> None:
    """The second run with the same `--work` reads no entry again: that they are gone, it doesn't see."""
    folders = Ledger.of(3).write(tmp_path / "logs")
    work = ("--work", str(tmp_path / "work"))
    first = command(tmp_path, *work)
    assert first[0] == 0 and list((tmp_path / "work").glob("*.facts"))
    for folder in folders.values():
        shutil.rmtree(folder / "tile/entries")
    assert command(tmp_path, *work) == first
    assert command(tmp_path, "--work", str(tmp_path / "another"))[0] == 1


def test_command_wants_two_logs(tmp_path: Path) -> None:
    """One log can't be compared with anything: status 2, and what would be right."""
    folders = Ledger.of(1).write(tmp_path / "logs")
    trust = write_trust(tmp_path / "policy")
    result = CliRunner().invoke(cli, ["audit", "reconcile", str(folders["broker"]), "--trust", str(trust)])
    assert result.exit_code == 2 and "two logs or more" in result.output


def test_command_refuses_a_folder_without_a_log(tmp_path: Path) -> None:
    """An end whose folder is empty is not passed over: with two others at hand all would seem to match."""
    folders = Ledger.of(1).write(tmp_path / "logs")
    trust, empty = write_trust(tmp_path / "policy"), tmp_path / "broker's copy"
    empty.mkdir()
    arguments = ["audit", "reconcile", str(folders["requester"]), str(folders["provider"]), str(empty)]
    result = CliRunner().invoke(cli, [*arguments, "--trust", str(trust)])
    assert result.exit_code == 2 and f"no log found in `{empty}`" in result.output


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--bound", "nan", "'--bound': `nan` is no number of seconds"),
        ("--bound", "inf", "'--bound': `inf` is no number of seconds"),
        ("--promise-within", "inf", "'--promise-within': `inf` is no number of seconds"),
        ("--out", "nowhere/findings.jsonl", "--out: `nowhere/findings.jsonl`: no such file or directory"),
        ("--work", "policy/work", "`policy/work`: not a directory; --work DIR says"),
    ],
)
def test_command_names_the_option_that_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str, named: str
) -> None:
    """Numbers that are none, and places where nothing can be written: status 2, and no traceback."""
    monkeypatch.chdir(tmp_path)
    Ledger.of(1).write(tmp_path / "logs")
    write_trust(tmp_path / "policy")
    arguments = ["audit", "reconcile", "logs", "--trust", "policy", option, value]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2 and named in result.output, result.output


def _entries(folder: Path) -> list[bytes]:
    size = int((folder / "checkpoint").read_text().split("\n")[1])
    return [leaf for _, leaf in TileFolder(folder).all_entries(size)]


def _rewrite(folder: Path, change: object) -> None:
    """Change entries in their one bundle, and nothing else: tiles and checkpoint stay."""
    (path,) = [p for p in (folder / "tile/entries").rglob("*") if p.is_file()]
    entries = decode_bundle(path.read_bytes())
    change(entries)  # type: ignore[operator]
    path.write_bytes(encode_bundle(entries))
    assert TileName.parse(path.relative_to(folder).as_posix()).level is None


def _replace(entries: list[bytes], place: int, old: bytes, new: bytes) -> None:
    assert old in entries[place]
    entries[place] = entries[place].replace(old, new)
