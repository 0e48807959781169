"""Verification from folders and a trust file: whole logs pass, each kind of tampering is named (L1, L2)."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from comity.audit.checkpoint import Checkpoint
from comity.audit.entry import Entry, seal_entry
from comity.audit.log import SignedLog
from comity.audit.merkle import leaf_hash
from comity.audit.note import LogKey
from comity.audit.peers import PeerCheckpoints
from comity.audit.proofs import TreeProver
from comity.audit.tiles import Edge, TileFolder
from comity.audit.trust import Trust, TrustedLog
from comity.audit.verify import LogReport, find_logs, verify_folders
from comity.v1.audit_pb2 import ConsistencyProof, ProofDelivery, ProofRequest
from tests.audit.conftest import MakeLog
from tests.support.logs import NOON, asked, noon

LAPD = LogKey.generate("lapd.example/adapter")
BROKER = LogKey.generate("operator.example/broker")


def trust_in(*keys: tuple[str, LogKey]) -> Trust:
    logs = {
        key.origin: TrustedLog(
            origin=key.origin, agency=agency, end=key.origin.rpartition("/")[2], keys=(key.verifier,)
        )
        for agency, key in keys
    }
    return Trust(federation="test", roster_version=1, logs=logs)


TRUST = trust_in(("lapd", LAPD), ("operator", BROKER))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An adapter's log of 300 entries, and the broker's, which saw a checkpoint of 57 and one of 300."""

    lapd: Path
    broker: Path

    def verify(self) -> dict[str, LogReport]:
        result = verify_folders([self.lapd, self.broker], TRUST)
        return {report.origin: report for report in result.logs}

    def lapd_findings(self) -> str:
        return "\n".join(self.verify()[LAPD.origin].findings)


@pytest.fixture
async def pair(tmp_path: Path) -> Pair:
    adapter = await SignedLog.open(tmp_path / "lapd", origin=LAPD.origin, key=LAPD, clock=noon)
    broker = await SignedLog.open(tmp_path / "broker", origin=BROKER.origin, key=BROKER, clock=noon)
    peers = PeerCheckpoints(broker, noon)
    await broker.append(asked(0))
    for start, end in ((0, 57), (57, 300)):
        await adapter.append(*[asked(number) for number in range(start, end)])
        for request in await peers.saw(LAPD.origin, await adapter.publish(), LAPD.verifier_key):
            if isinstance(request, ProofRequest):
                path = TreeProver(TileFolder(tmp_path / "lapd/log"), end).consistency(start)
                proof = ConsistencyProof(old_size=start, new_size=end, path=path)
                await peers.proven(LAPD.origin, ProofDelivery(consistency=proof))
    await adapter.close()
    await broker.close()
    return Pair(lapd=tmp_path / "lapd/log", broker=tmp_path / "broker/log")


def rewrite(log: Path, leaves: list[bytes], key: LogKey) -> None:
    """What an owner can do: build the folder anew over other entries, with all of it consistent."""
    shutil.rmtree(log)
    edge, files = Edge().extend(leaves)
    for path, data in files.items():
        (log / path).parent.mkdir(parents=True, exist_ok=True)
        (log / path).write_bytes(data)
    (log / "vkey").write_text(key.verifier_key + "\n")
    (log / "checkpoint").write_bytes(Checkpoint(origin=key.origin, size=edge.size, root=edge.root).sign(key))


def leaves_of(log: Path, size: int) -> list[bytes]:
    return [leaf for _, leaf in TileFolder(log).all_entries(size)]


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


async def test_whole_logs_verify(pair: Pair) -> None:
    """Two ends' folders and a trust file: nothing is found."""
    reports = pair.verify()
    assert [(r.agency, r.end, r.size, r.findings) for r in reports.values()] == [
        ("lapd", "adapter", 300, ()),
        ("operator", "broker", 3, ()),
    ]


async def test_log_folders_alone_suffice(pair: Pair, tmp_path: Path) -> None:
    """Copies of the `log/` folders verify with nothing else of their ends there (L2)."""
    copies = tmp_path / "elsewhere"
    shutil.copytree(pair.lapd, copies / "a" / "log")
    shutil.copytree(pair.broker, copies / "b")
    found = find_logs([copies])
    assert len(found) == 2
    assert verify_folders(found, TRUST).verified


async def test_an_empty_log_verifies(make_log: MakeLog) -> None:
    """An end that has done nothing yet has nothing to hide."""
    home = await make_log(LAPD, 0)
    assert verify_folders([home / "log"], TRUST).verified


async def test_a_changed_byte_names_its_entry(pair: Pair) -> None:
    """One byte of one entry: the finding names that entry, and no other."""
    data = (pair.lapd / "tile/entries/000").read_bytes()
    place = data.index(b'"number":17,')
    flip(pair.lapd / "tile/entries/000", place + 9)
    findings = pair.lapd_findings()
    assert "entry 17: changed" in findings
    assert "entry 16" not in findings and "entry 18" not in findings


async def test_bytes_of_every_file_count(make_log: MakeLog) -> None:
    """Wherever a byte of checkpoint, vkey, tiles or bundles is changed, it is found."""
    log = await make_log(LAPD, 3) / "log"
    for path in sorted(p for p in log.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        for place in range(0, len(whole), 7):
            flip(path, place)
            assert not verify_folders([log], TRUST).verified, (path, place)
            path.write_bytes(whole)
    assert verify_folders([log], TRUST).verified


async def test_a_changed_hash_names_its_tile(pair: Pair) -> None:
    """If the entries lead to the signed root, it is the tile that was changed."""
    flip(pair.lapd / "tile/0/000", 32 * 17)
    assert pair.lapd_findings() == "`tile/0/000`: the hash of entry 17 is not that of the tree"
    flip(pair.lapd / "tile/0/000", 32 * 17)
    flip(pair.lapd / "tile/1/000.p/1", 3)
    assert "the hash over entries 0 to 255 is not that of the tree" in pair.lapd_findings()


async def test_an_entry_changed_together_with_its_tile_does_not_verify(pair: Pair) -> None:
    """Entry and leaf hash changed to fit each other still don't lead to the signed root."""
    leaves = leaves_of(pair.lapd, 300)
    leaves[17] = seal_entry(asked(999)).leaf
    _, files = Edge().extend(leaves)
    for path, data in files.items():
        (pair.lapd / path).write_bytes(data)
    assert "do not lead to the root" in pair.lapd_findings()


async def test_swapped_entries_do_not_verify(pair: Pair) -> None:
    """Order is content: two entries that changed places are both named."""
    leaves = leaves_of(pair.lapd, 300)
    leaves[20], leaves[40] = leaves[40], leaves[20]
    _, files = Edge().extend(leaves)
    (pair.lapd / "tile/entries/000").write_bytes(files["tile/entries/000"])
    findings = pair.lapd_findings()
    assert "entry 20: changed" in findings and "entry 40: changed" in findings


@pytest.mark.parametrize(
    "name", ["tile/entries/001.p/44", "tile/0/000", "tile/1/000.p/1", "checkpoint", "vkey"]
)
async def test_a_missing_file_is_named(pair: Pair, name: str) -> None:
    """What must be there and isn't is a finding."""
    (pair.lapd / name).unlink()
    assert f"`{name}` is missing" in pair.lapd_findings()


async def test_a_log_rebuilt_under_another_key_fails(pair: Pair) -> None:
    """Perfectly consistent, every signature valid, and signed by nobody that the authority named."""
    other = LogKey.generate(LAPD.origin)
    rewrite(pair.lapd, leaves_of(pair.lapd, 300), other)
    findings = pair.verify()[LAPD.origin].findings
    assert (
        f"origin {LAPD.origin}: checkpoint is signed by a key that the trust file does not name" in findings
    )


async def test_a_tail_cut_and_signed_again_with_the_right_key_fails(pair: Pair) -> None:
    """The counterparty's copy of a checkpoint says how many entries there were, and where that is logged."""
    rewrite(pair.lapd, leaves_of(pair.lapd, 41), LAPD)
    reports = pair.verify()
    [finding] = reports[LAPD.origin].findings
    assert finding.startswith(
        f"{LAPD.origin}: tail cut: log has 41 entries, but the broker saw a checkpoint of 300 signed with "
        f"the same key (entry 2 of {BROKER.origin}"
    )
    assert reports[BROKER.origin].verified


async def test_a_tail_that_was_cut_and_regrown_fails(pair: Pair) -> None:
    """Cutting, adding other entries and signing again leaves an old checkpoint that no longer fits."""
    leaves = leaves_of(pair.lapd, 50) + [seal_entry(asked(1000 + number)).leaf for number in range(400)]
    rewrite(pair.lapd, leaves, LAPD)
    [finding] = pair.verify()[LAPD.origin].findings
    assert "rewritten: its first 57 entries are not those of the checkpoint that the broker saw" in finding


async def test_an_older_checkpoint_put_back_fails(pair: Pair, tmp_path: Path) -> None:
    """A genuine checkpoint of before doesn't hide what came after it."""
    root = Edge().extend(leaves_of(pair.lapd, 41))[0].root
    (pair.lapd / "checkpoint").write_bytes(Checkpoint(origin=LAPD.origin, size=41, root=root).sign(LAPD))
    assert "tail cut: log has 41 entries" in pair.lapd_findings()


async def test_two_copies_of_a_fork_are_found(make_log: MakeLog, tmp_path: Path) -> None:
    """Two histories under one origin, each fine alone, are found when both are at hand."""
    one = await make_log(LAPD, 5, home=tmp_path / "one")
    two = await make_log(LAPD, 7, home=tmp_path / "two")
    result = verify_folders([one / "log", two / "log"], TRUST)
    assert any("forked" in finding for log in result.logs for finding in log.findings)


async def test_copies_of_different_age_verify(pair: Pair, tmp_path: Path) -> None:
    """An older copy of a log is a prefix of the newer one, not a fork."""
    older = tmp_path / "older"
    shutil.copytree(pair.lapd, older)
    rewrite(older, leaves_of(pair.lapd, 200), LAPD)
    assert verify_folders([older, pair.lapd], TRUST).verified


async def test_a_fork_shows_in_the_witness_alone(make_log: MakeLog) -> None:
    """Two signed roots for one size in a witness's log prove the fork without the forked log."""
    notes = [
        Checkpoint(origin=LAPD.origin, size=5, root=leaf_hash(content)).sign(LAPD).decode()
        for content in (b"one", b"two")
    ]
    seen = [
        Entry(kind=kind, at=NOON, public={"peer_origin": LAPD.origin, "note": note})
        for kind, note in zip(("checkpoint_seen", "contradiction"), notes, strict=True)
    ]
    home = await make_log(BROKER, 0, *seen)
    result = verify_folders([home / "log"], TRUST)
    assert result.logs[0].verified
    assert not result.verified
    assert "two roots for 5 entries" in result.findings[0]


async def test_evidence_that_the_peer_never_signed_counts_against_the_witness(make_log: MakeLog) -> None:
    """Nobody is accused by a checkpoint that somebody else made up."""
    forged = Checkpoint(origin=LAPD.origin, size=9, root=leaf_hash(b"")).sign(LogKey.generate(LAPD.origin))
    entry = Entry(
        kind="checkpoint_seen", at=NOON, public={"peer_origin": LAPD.origin, "note": forged.decode()}
    )
    broker = await make_log(BROKER, 0, entry)
    lapd = await make_log(LAPD, 3)
    by_origin = {r.origin: r for r in verify_folders([broker / "log", lapd / "log"], TRUST).logs}
    assert by_origin[LAPD.origin].verified
    assert "entry 0" in by_origin[BROKER.origin].findings[0]


async def test_a_log_that_the_trust_does_not_name_fails(make_log: MakeLog) -> None:
    """An unknown origin is a finding, never silently left out."""
    home = await make_log(LogKey.generate("stranger.example/adapter"), 2)
    [report] = verify_folders([home / "log"], TRUST).logs
    assert report.findings == ("origin stranger.example/adapter: the trust file names no such log",)


@pytest.mark.parametrize(
    "leaf", [b"not json", b'{"at":1, "kind":"asked","v":1}', b'{"at":1,"kind":"x","v":1}']
)
async def test_an_entry_in_another_form_is_named(make_log: MakeLog, leaf: bytes) -> None:
    """A properly signed log of something else than entries doesn't verify."""
    home = await make_log(LAPD, 1)
    rewrite(home / "log", [seal_entry(asked(0)).leaf, leaf], LAPD)
    [report] = verify_folders([home / "log"], TRUST).logs
    assert report.findings[0].startswith("entry 1: ")


async def test_a_checkpoint_that_claims_the_moon_costs_nothing(make_log: MakeLog) -> None:
    """A huge size in a checkpoint is a finding, not a reason to look for so many files."""
    home = await make_log(LAPD, 3)
    moon = Checkpoint(origin=LAPD.origin, size=1 << 61, root=leaf_hash(b"")).sign(LAPD)
    (home / "log/checkpoint").write_bytes(moon)
    assert not verify_folders([home / "log"], TRUST).verified


async def test_extra_partial_tiles_are_held_to_the_tree(pair: Pair) -> None:
    """Partial tiles of earlier sizes may lie there; if they do, they must fit."""
    extra = pair.lapd / "tile/0/001.p/20"
    extra.write_bytes((pair.lapd / "tile/0/001.p/44").read_bytes()[: 20 * 32])
    assert pair.lapd_findings() == ""
    flip(extra, 5)
    assert "`tile/0/001.p/20`" in pair.lapd_findings()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda log: (log / "tile/0/001.p/20").write_bytes(b"x" * 33),
        lambda log: (log / "tile/0/what").write_bytes(b""),
        lambda log: (log / "tile/entries/000").write_bytes(b""),
        lambda log: (log / "vkey").write_bytes(b"\xff"),
        lambda log: (log / "checkpoint").write_bytes(b"\xff"),
        lambda log: (log / "checkpoint").write_bytes(b""),
    ],
)
async def test_rubbish_is_a_finding_and_never_an_error(pair: Pair, spoil: Callable[[Path], object]) -> None:
    """Whatever lies in a log's folder, the auditor gets a finding."""
    spoil(pair.lapd)
    assert not verify_folders([pair.lapd], TRUST).verified


def test_a_folder_without_a_log_has_none(tmp_path: Path) -> None:
    """Nothing to verify isn't a success."""
    assert find_logs([tmp_path]) == []
    assert not verify_folders([], TRUST).verified
