"""The key of a log gives way to the next, and nothing that either key signs out of its time counts (L2).

C2SP signed-note, `Signatures`; C2SP tlog-checkpoint, `Signatures` ("this enables, for example, log key
rotation"); design section 7.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from comity.audit import merkle
from comity.audit.checkpoint import Checkpoint, open_checkpoint
from comity.audit.entry import KEY_ROTATED, Entry, parse_entry, seal_entry
from comity.audit.errors import (
    AuditError,
    KeyNotInForce,
    LogDamaged,
    LogKeyMismatch,
    LogUnwritable,
    NoteInvalid,
)
from comity.audit.evidence import prove_exchange, verify_evidence, write_evidence
from comity.audit.key_history import KeyHistory
from comity.audit.log import SignedLog
from comity.audit.log_keys import LogKeys, Step, next_step
from comity.audit.note import LogKey, note_signers, sign_note
from comity.audit.peers import PeerCheckpoints
from comity.audit.policy_file import write_policy
from comity.audit.proofs import TreeProver
from comity.audit.reconciling.facts import Scratch
from comity.audit.reconciling.gathering import gather
from comity.audit.rotation import OTHER_BEGINNING, rotation_entry
from comity.audit.searching.walk import LogWalk
from comity.audit.tiles import Edge, TileFolder
from comity.audit.tlog_proof import make_proof
from comity.audit.trust import Trust, TrustedLog
from comity.audit.verify import verify_folders
from comity.certs.roster import EarlierLogKeyView, LogKeyView
from comity.v1.audit_pb2 import Cosignature, ProofRequest
from tests.audit.test_log import FailingDisk, leave
from tests.support.logs import NOON, asked, noon
from tests.support.third_party import run_verifier
from tests.support.trees import proofs_of

ORIGIN = "lapd.example/adapter"
OLD, NEW, THIRD = (LogKey.generate(ORIGIN) for _ in range(3))
BROKER = LogKey.generate("operator.example/broker")
AT = 5
"""Index of the `key_rotated` entry in `rotated`."""


def trust(*keys: LogKey, last_sizes: tuple[int, ...] = ()) -> Trust:
    logs = {
        ORIGIN: TrustedLog(
            origin=ORIGIN,
            agency="lapd",
            end="adapter",
            keys=tuple(key.verifier for key in keys),
            last_sizes=last_sizes,
        ),
        BROKER.origin: TrustedLog(
            origin=BROKER.origin, agency="operator", end="broker", keys=(BROKER.verifier,)
        ),
    }
    return Trust(federation="test", roster_version=1, logs=logs)


OVERLAP = trust(OLD, NEW)
FINISHED = trust(OLD, NEW, last_sizes=(AT,))


async def opened(home: Path, *keys: LogKey) -> SignedLog:
    following = keys[1] if len(keys) > 1 else None
    both = LogKeys(key=keys[0], following=following)
    return await SignedLog.open(home, origin=ORIGIN, key=both, clock=noon)


@pytest.fixture
async def rotated(tmp_path: Path) -> Path:
    """A log of five entries under the old key, the rotation, and two entries under both."""
    log = await opened(tmp_path / "lapd", OLD)
    await log.append(*[asked(number) for number in range(AT)])
    await log.rotate_key(NEW)
    await log.append(asked(6), asked(7))
    await log.close()
    return tmp_path / "lapd"


def leaves_of(log: Path, size: int) -> list[bytes]:
    return [leaf for _, leaf in TileFolder(log).all_entries(size)]


def signers(note: bytes) -> set[bytes]:
    return {key_hash for _, key_hash in note_signers(note)}


def findings(log: Path, trusted: Trust) -> str:
    """What verification and reconciliation find, which must find the same things wrong."""
    result = verify_folders([log], trusted)
    scratch_path = log.parent / "facts"
    scratch_path.unlink(missing_ok=True)
    gather(log, trusted, scratch_path)
    scratch = Scratch(scratch_path)
    faults = [fault.text for fault in scratch.faults()]
    scratch.close()
    found = "\n".join(result.logs[0].findings)
    assert bool(faults) == bool(found), (faults, found)
    assert all(any(words in text for text in faults) for words in WORDS if words in found)
    assert bool(walked(log, trusted)) == bool(found) or OTHER_BEGINNING in found
    return found


def walked(log: Path, trusted: Trust) -> str:
    """What a search, a review or statistics over the log would stop with; empty if they read it."""
    try:
        for _ in LogWalk(log, keys=trusted.history(ORIGIN)).entries():
            pass
    except AuditError as problem:
        return str(problem)
    return ""


WORDS = (
    "an old key alone",
    "no entry of the log put in force",
    "did not sign",
    "not the replacement",
    "another beginning",
    "it puts a key in force",
    "not in force",
    "the trust file says",
    "too large",
)


async def test_both_keys_sign_from_the_rotation_on(rotated: Path) -> None:
    """Each of two signature lines verifies by itself, for a verifier that the project did not write too."""
    note = (rotated / "log/checkpoint").read_bytes()
    assert signers(note) == {OLD.verifier.hash, NEW.verifier.hash}
    for key in (OLD, NEW):
        assert open_checkpoint(note, origin=ORIGIN, verifier_keys=[key.verifier]).size == 8
        report = run_verifier(
            "verify-checkpoint", "--log-key", key.verifier_key, "--tiles", str(rotated / "log")
        )
        assert report["ok"], report
    entry = parse_entry(leaves_of(rotated / "log", 8)[AT])
    assert entry.kind == KEY_ROTATED
    assert (entry.public["old_key"], entry.public["new_key"]) == (OLD.verifier_key, NEW.verifier_key)
    assert (rotated / "log/vkey").read_text() == NEW.verifier_key + "\n"


async def test_the_new_key_signs_alone_once_the_old_one_is_dropped(rotated: Path) -> None:
    """The log verifies while both sign and after; a reader in no hurry accepts either meanwhile."""
    assert not findings(rotated / "log", OVERLAP)
    log = await opened(rotated, OLD, NEW)
    log.drop_old_key()
    await log.append(asked(8))
    await log.close()
    assert signers((rotated / "log/checkpoint").read_bytes()) == {NEW.verifier.hash}
    assert not findings(rotated / "log", OVERLAP)
    assert not findings(rotated / "log", FINISHED)
    again = await opened(rotated, NEW)
    assert again.verifier_key == NEW.verifier_key
    await again.rotate_key(THIRD)
    await again.close()
    assert not findings(rotated / "log", trust(OLD, NEW, THIRD, last_sizes=(AT,)))


async def test_a_key_that_took_over_is_not_put_in_force_twice(rotated: Path) -> None:
    """What is left of a rotation is done again at each start: one entry comes of it, also without summary."""
    (rotated / "wal/summary.json").unlink()
    log = await opened(rotated, OLD, NEW)
    await log.rotate_key(NEW)
    assert log.size == 8
    assert signers(log.checkpoint()) == {OLD.verifier.hash, NEW.verifier.hash}
    await log.close()


async def test_a_log_without_the_key_in_force_does_not_open(rotated: Path) -> None:
    """An end that lost the new key says which file is missing; it doesn't go on with the old one."""
    with pytest.raises(LogDamaged, match="vkey"):
        await opened(rotated, OLD)
    (rotated / "log/vkey").write_text(OLD.verifier_key + "\n")
    with pytest.raises(LogDamaged, match="entry 5 put a key in force"):
        log = await opened(rotated, OLD, THIRD)
        await log.close()


async def test_the_log_survives_power_loss_at_every_step_of_a_rotation(tmp_path: Path) -> None:
    """Whatever step is the last, the next start completes it: one entry, both signatures."""
    log = await opened(tmp_path / "before", OLD)
    await log.append(*[asked(number) for number in range(AT)])
    await log.close()
    fails_at, done = 0, False
    while not done:
        fails_at += 1
        home = tmp_path / str(fails_at)
        shutil.copytree(tmp_path / "before", home)
        disk = FailingDisk()
        log = await SignedLog.open(
            home, origin=ORIGIN, key=LogKeys(key=OLD, following=NEW), clock=noon, disk=disk
        )
        disk.fails_at = disk.steps + fails_at
        try:
            await log.rotate_key(NEW)
            done = True
        except LogUnwritable:
            pass
        await leave(log)
        log = await opened(home, OLD, NEW)
        await log.rotate_key(NEW)
        assert log.size == AT + 1
        assert signers(log.checkpoint()) == {OLD.verifier.hash, NEW.verifier.hash}
        await log.close()
        assert verify_folders([home / "log"], OVERLAP).verified
    assert fails_at > 10


# --- must not -----------------------------------------------------------------------------------------------


def written(home: Path, leaves: Sequence[bytes], *keys: LogKey) -> Path:
    """What an owner, or a thief of keys, can do: the folder anew over any entries, signed with any keys."""
    log = home / "forged"
    edge, files = Edge().extend(leaves)
    for path, data in files.items():
        (log / path).parent.mkdir(parents=True, exist_ok=True)
        (log / path).write_bytes(data)
    (log / "vkey").write_text(keys[-1].verifier_key + "\n")
    (log / "checkpoint").write_bytes(Checkpoint(origin=ORIGIN, size=edge.size, root=edge.root).sign(*keys))
    return log


def before(leaves: Sequence[bytes]) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=AT, root=merkle.root_of(leaves[:AT]))


def with_note(leaves: Sequence[bytes], change: Callable[[bytes], bytes]) -> list[bytes]:
    """Return the entries with the note of the rotation replaced."""
    entry = parse_entry(leaves[AT])
    note = change(str(entry.public["note"]).encode()).decode()
    other = Entry(kind=KEY_ROTATED, at=NOON, public={**entry.public, "note": note})
    return [*leaves[:AT], seal_entry(other).leaf, *leaves[AT + 1 :]]


def rotation(checkpoint: Checkpoint, old: LogKey = OLD, new: LogKey = NEW) -> bytes:
    return seal_entry(rotation_entry(checkpoint, old=old, new=new, at=NOON)).leaf


def text_of(note: bytes) -> str:
    return note.decode().rpartition("\n\n")[0] + "\n"


async def test_an_old_key_alone_does_not_sign_beyond_the_rotation(rotated: Path) -> None:
    """Whoever found the old key can't go on writing: the log itself proves since when it isn't in force."""
    leaves = leaves_of(rotated / "log", 8)
    forged = written(rotated, [*leaves, seal_entry(asked(99)).leaf], OLD)
    assert "signed by an old key alone, which entry 5 replaced" in findings(forged, OVERLAP)
    assert "signed by an old key alone" in findings(forged, FINISHED)
    assert "signed by an old key alone, which entry 5 replaced" in walked(forged, OVERLAP)


async def test_a_log_rebuilt_whole_under_the_new_key_fails(rotated: Path) -> None:
    """The trust names the new key, and no entry put it in force: nobody writes the log anew with it."""
    forged = written(rotated, [seal_entry(asked(number)).leaf for number in range(9)], NEW)
    assert "signed by a key that no entry of the log put in force" in findings(forged, OVERLAP)
    assert "no known key" not in findings(forged, OVERLAP)
    assert findings(forged, trust(OLD))


async def test_a_new_key_alone_does_not_sign_what_came_before_it(rotated: Path) -> None:
    """A checkpoint that doesn't cover the rotation is the old key's."""
    leaves = leaves_of(rotated / "log", 8)
    forged = written(rotated, leaves[:AT], NEW)
    assert "no entry of the log put in force" in findings(forged, OVERLAP)
    assert "signed by a new key alone, which entry 5 put in force" in findings(forged, FINISHED)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda note: sign_note(text_of(note), NEW), "the old key did not sign", id="new-alone"),
        pytest.param(lambda note: sign_note(text_of(note), OLD), "the new key did not sign", id="old-alone"),
        pytest.param(
            lambda note: sign_note("\n".join(text_of(note).split("\n")[:3]) + "\n", OLD, NEW),
            "not the replacement of this log's key",
            id="plain-checkpoint",
        ),
        pytest.param(
            lambda note: sign_note(text_of(note).replace("\n5\n", "\n6\n"), OLD, NEW),
            "6 entries, which is too large",
            id="of-the-future",
        ),
    ],
)
async def test_a_rotation_needs_the_word_of_both_keys(
    rotated: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    """The entry is worth nothing unless both keys signed that very line, over the log as it was."""
    forged = written(rotated, with_note(leaves_of(rotated / "log", 8), change), OLD, NEW)
    assert words in findings(forged, OVERLAP)


async def test_a_rotation_of_a_log_with_another_beginning_fails(rotated: Path) -> None:
    """A rotation that both keys signed is of one log, and doesn't fit where history was written anew."""
    leaves = leaves_of(rotated / "log", 8)
    forged = written(rotated, [seal_entry(asked(77)).leaf, *leaves[1:]], OLD, NEW)
    assert "entry 5: what both keys signed is of a log with another beginning" in findings(forged, OVERLAP)


async def test_a_rotation_to_a_key_that_the_trust_does_not_name_fails(rotated: Path) -> None:
    """With the old key alone a thief brings in no key of his own; an older trust file knows none either."""
    leaves = leaves_of(rotated / "log", 8)
    forged = written(rotated, [*leaves[:AT], rotation(before(leaves), OLD, THIRD)], OLD, THIRD)
    for log, trusted in ((forged, OVERLAP), (rotated / "log", trust(OLD))):
        assert "puts a key in force that the trust file (an older one?) does not name" in findings(
            log, trusted
        )


async def test_keys_follow_each_other_in_the_order_of_the_roster(rotated: Path) -> None:
    """A rotation back to the old key, and one that leaves a key out, are none."""
    leaves = leaves_of(rotated / "log", 8)
    back = Checkpoint(origin=ORIGIN, size=8, root=merkle.root_of(leaves))
    forged = written(rotated, [*leaves, rotation(back, NEW, OLD)], OLD, NEW)
    assert "puts a key in force" in findings(forged, OVERLAP)
    again = written(rotated, [*leaves, rotation(back, OLD, NEW)], OLD, NEW)
    assert "replaces a key that was not in force" in findings(again, OVERLAP)
    assert "the trust file says that entry 6 replaced the key" in findings(
        rotated / "log", trust(OLD, NEW, last_sizes=(6,))
    )


async def test_signatures_of_unknown_keys_are_ignored(rotated: Path) -> None:
    """C2SP signed-note: they are ignored, also under a known name; where only they are, nothing opens."""
    path = rotated / "log/checkpoint"
    path.write_bytes(Checkpoint.parse(text_of(path.read_bytes())).sign(THIRD, OLD, NEW))
    assert not findings(rotated / "log", OVERLAP)
    path.write_bytes(Checkpoint.parse(text_of(path.read_bytes())).sign(THIRD))
    assert (
        "signed by a key that the trust file does not name"
        in verify_folders([rotated / "log"], OVERLAP).logs[0].findings[0]
    )


async def test_a_wrong_signature_of_either_key_rejects_the_note(rotated: Path) -> None:
    """C2SP signed-note: a known key's signature that doesn't verify spoils the whole note."""
    note = (rotated / "log/checkpoint").read_bytes()
    other = Checkpoint(origin=ORIGIN, size=8, root=merkle.leaf_hash(b"other"))
    for wrong, right in ((OLD, NEW), (NEW, OLD)):
        lines = text_of(note).encode() + b"\n"
        lines += right_line(text_of(note), right) + right_line(other.text, wrong)
        with pytest.raises(NoteInvalid, match="does not verify"):
            OVERLAP.history(ORIGIN).open(lines)


def right_line(text: str, key: LogKey) -> bytes:
    return sign_note(text, key).rpartition(b"\n\n")[2]


# --- peers, evidence, policy files, the roster's word -------------------------------------------------------


async def test_peers_accept_both_keys_and_then_the_old_one_alone_no_more(tmp_path: Path) -> None:
    """A peer follows a rotation without a gap; the old key, once the new one signed, moves it no more."""
    log = await SignedLog.open(tmp_path, origin=BROKER.origin, key=BROKER, clock=noon)
    peers = PeerCheckpoints(log, noon)

    async def saw(size: int, *keys: LogKey) -> bool:
        hashes = [merkle.leaf_hash(b"%d" % number) for number in range(size)]
        note = Checkpoint(origin=ORIGIN, size=size, root=merkle.root(hashes)).sign(*keys)
        answers = await peers.saw(ORIGIN, note, OLD.verifier_key, NEW.verifier_key)
        for request in answers:
            if isinstance(request, ProofRequest):
                answers = await peers.proven(ORIGIN, proofs_of(hashes, request))
        return any(isinstance(answer, Cosignature) for answer in answers)

    assert await saw(4, OLD)
    assert await saw(5, OLD)
    assert await saw(7, OLD, NEW)
    with pytest.raises(KeyNotInForce, match="old key alone"):
        await saw(9, OLD)
    assert log.size == 3
    assert await saw(8, NEW)
    await log.close()


async def test_a_peers_copy_signed_by_the_old_key_out_of_time_is_named(rotated: Path, tmp_path: Path) -> None:
    """An auditor with both logs holds the checkpoint that a peer took to the rotation in the log itself."""
    leaves = leaves_of(rotated / "log", 8)
    note = Checkpoint(origin=ORIGIN, size=7, root=merkle.root_of(leaves[:7])).sign(OLD)
    broker = await SignedLog.open(tmp_path / "broker", origin=BROKER.origin, key=BROKER, clock=noon)
    await PeerCheckpoints(broker, noon).saw(ORIGIN, note, OLD.verifier_key, NEW.verifier_key)
    await broker.close()
    result = verify_folders([rotated / "log", tmp_path / "broker/log"], OVERLAP)
    finding = "\n".join(result.logs[0].findings)
    assert "of 7 entries and signed by an old key alone, which entry 5 replaced" in finding
    assert "entry 0 of operator.example/broker" in finding


async def test_evidence_of_before_verifies_after_the_rotation(rotated: Path) -> None:
    """What was proven under the old key stays proven; under the old key alone nothing of later is."""
    tiles, leaves = TileFolder(rotated / "log"), leaves_of(rotated / "log", 8)

    def proof(size: int, *keys: LogKey) -> object:
        note = Checkpoint(origin=ORIGIN, size=size, root=merkle.root_of(leaves[:size])).sign(*keys)
        made = make_proof(leaves[1], 1, TreeProver(tiles, 8).inclusion(1, size), note)
        return made.verify_by(FINISHED.history(ORIGIN), leaf_hash=merkle.leaf_hash(leaves[1]))

    assert proof(4, OLD) and proof(5, OLD) and proof(6, OLD, NEW) and proof(8, NEW)
    with pytest.raises(KeyNotInForce, match="old key alone"):
        proof(6, OLD)
    with pytest.raises(KeyNotInForce, match="new key alone"):
        proof(5, NEW)


async def test_evidence_is_held_against_the_log_that_is_at_hand(rotated: Path, tmp_path: Path) -> None:
    """In the overlap the log alone tells since when a key is in force, and whether evidence is of it."""
    log, leaves = rotated / "log", leaves_of(rotated / "log", 8)
    exchange = parse_entry(leaves[7]).exchange or b""
    whole = prove_exchange(log, None, exchange.hex(), opened=(), content=False)
    write_evidence(tmp_path / "honest", whole)
    forged = written(rotated, leaves, OLD)
    write_evidence(tmp_path / "old", prove_exchange(forged, None, exchange.hex(), opened=(), content=False))
    shutil.rmtree(forged)
    other = written(rotated, [seal_entry(asked(77)).leaf, *leaves[1:]], OLD, NEW)
    write_evidence(tmp_path / "other", prove_exchange(other, None, exchange.hex(), opened=(), content=False))
    (checked,) = [report.checked for report in verify_folders([log], OVERLAP).logs]
    assert checked is not None

    def found(name: str) -> str:
        assert verify_evidence(tmp_path / name, OVERLAP).verified
        return "\n".join(verify_evidence(tmp_path / name, OVERLAP, [checked]).findings)

    assert found("honest") == ""
    assert "signed by an old key alone, which entry 5 replaced" in found("old")
    assert "proven in another log than" in found("other")
    (short,) = [one.checked for one in verify_folders([written(rotated, leaves[:5], OLD)], OVERLAP).logs]
    assert short is not None
    later = verify_evidence(tmp_path / "honest", OVERLAP, [short])
    assert "it is proven in 8 entries" in later.findings[0]


async def test_a_policy_file_names_both_keys_in_any_order(rotated: Path) -> None:
    """C2SP tlog-policy: order means nothing; which key follows which is what the log proves."""
    leaves = leaves_of(rotated / "log", 8)
    forged = written(rotated, leaves, OLD)
    for keys in ((OLD, NEW), (NEW, OLD)):
        policy = Trust.parse(write_policy([key.verifier for key in keys], {}))
        assert not findings(rotated / "log", policy)
        assert "signed by an old key alone" in findings(forged, policy)
    alone = Trust.parse(write_policy([NEW.verifier], {}))
    assert "does not name both keys" in findings(rotated / "log", alone)


NAMED = LogKeyView(origin=ORIGIN, verifier_key=OLD.verifier_key, role="adapter")
BOTH = replace(NAMED, next_verifier_key=NEW.verifier_key)
DONE = LogKeyView(
    origin=ORIGIN,
    verifier_key=NEW.verifier_key,
    role="adapter",
    earlier=(EarlierLogKeyView(verifier_key=OLD.verifier_key, last_size=AT),),
)


@pytest.mark.parametrize(
    ("keys", "named", "step"),
    [
        (LogKeys(key=OLD), NAMED, Step.STAY),
        (LogKeys(key=OLD, following=NEW), NAMED, Step.STAY),
        (LogKeys(key=OLD, following=NEW), BOTH, Step.TAKE_OVER),
        (LogKeys(key=OLD, following=NEW), DONE, Step.DROP_OLD),
        (LogKeys(key=NEW), DONE, Step.STAY),
        (LogKeys(key=OLD), BOTH, Step.LACK),
        (LogKeys(key=OLD, following=THIRD), BOTH, Step.LACK),
        (LogKeys(key=OLD), DONE, None),
        (LogKeys(key=THIRD, following=NEW), NAMED, None),
    ],
    ids=["one", "prepared", "announced", "finished", "done", "lost", "other", "too-late", "nobodys"],
)
def test_an_end_does_with_its_keys_what_the_roster_says(
    keys: LogKeys, named: LogKeyView, step: Step | None
) -> None:
    """The agency's signed key set decides; an end without the keys that it names refuses."""
    if step is None:
        with pytest.raises(LogKeyMismatch):
            next_step(keys, named)
    else:
        assert next_step(keys, named) is step


def test_a_history_without_keys_opens_nothing() -> None:
    """A log that the trust doesn't name is signed by nobody."""
    note = Checkpoint(origin=ORIGIN, size=0, root=merkle.EMPTY_ROOT).sign(OLD)
    with pytest.raises(NoteInvalid, match="no verifier key"):
        KeyHistory(origin=ORIGIN, keys=()).open(note)
