"""Cosignatures under checkpoints, and trust in the form of a policy file."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit.checkpoint import Checkpoint, open_checkpoint
from comity.audit.cosignature import Cosigner, cosign, cosignatures, with_cosignatures
from comity.audit.errors import NoteInvalid, TrustInvalid
from comity.audit.merkle import EMPTY_ROOT
from comity.audit.note import LogKey
from comity.audit.policy_file import parse_policy, write_policy
from comity.audit.trust import Trust
from comity.audit.verify import verify_folders
from tests.audit.conftest import MakeLog
from tests.support.third_party import run_verifier

LOG = LogKey.generate("lapd.example/adapter")
BROKER = LogKey.generate("operator.example/broker")
SHERIFF = LogKey.generate("sheriff.example/gateway")
AT = datetime(2026, 3, 2, 12, 0, 0, 700_000, tzinfo=UTC)
NOTE = Checkpoint(origin=LOG.origin, size=0, root=EMPTY_ROOT).sign(LOG)


def test_cosignatures_say_who_saw_the_checkpoint_and_when() -> None:
    """Two peers' lines below the note verify, to the second; the log's own signature stays good."""
    note = with_cosignatures(NOTE, [cosign(NOTE, BROKER, AT), cosign(NOTE, SHERIFF, AT)])
    found = cosignatures(note, [Cosigner(key=BROKER.verifier), Cosigner(key=SHERIFF.verifier)])
    assert [one.cosigner.name for one in found] == [BROKER.origin, SHERIFF.origin]
    assert {one.at for one in found} == {AT.replace(microsecond=0)}
    assert open_checkpoint(note, origin=LOG.origin, verifier_keys=[LOG.verifier]).size == 0
    assert with_cosignatures(note, [note.splitlines(keepends=True)[-1]]) == note


def test_another_implementation_verifies_our_cosignature(tmp_path: Path) -> None:
    """aics-tlog counts the cosignature for its quorum, and not under another key."""
    now = datetime.now(UTC)
    (tmp_path / "note").write_bytes(with_cosignatures(NOTE, [cosign(NOTE, BROKER, now)]))
    common = ("--note", str(tmp_path / "note"), "--log-key", LOG.verifier_key, "--quorum", "1")
    good = Cosigner(key=BROKER.verifier).line
    other = Cosigner(key=LogKey.generate(BROKER.origin).verifier).line
    assert run_verifier("verify-checkpoint", *common, "--witness-key", good)["ok"]
    assert not run_verifier("verify-checkpoint", *common, "--witness-key", other)["ok"]


def test_logs_own_signature_is_no_cosignature_nor_the_reverse() -> None:
    """Key hashes differ by type, and what is signed differs: one can't be passed off as the other."""
    own = Cosigner(key=LOG.verifier)
    assert own.hash != LOG.verifier.hash
    assert cosignatures(NOTE, [own]) == []
    line = cosign(NOTE, LOG, AT)
    alone = NOTE.rpartition(b"\n\n")[0] + b"\n\n" + line
    with pytest.raises(NoteInvalid, match="no known key"):
        open_checkpoint(alone, origin=LOG.origin, verifier_keys=[LOG.verifier])


def test_cosignature_of_another_checkpoint_or_time_is_refused() -> None:
    """A line that was moved to another note, or whose time was changed, makes the note worthless."""
    other = Checkpoint(origin=LOG.origin, size=1, root=b"\1" * 32).sign(LOG)
    known = [Cosigner(key=BROKER.verifier)]
    with pytest.raises(NoteInvalid, match="does not verify"):
        cosignatures(other + cosign(NOTE, BROKER, AT), known)
    moved = cosign(NOTE, BROKER, AT).replace(b"\xe2\x80\x94 operator", b"\xe2\x80\x94 operator", 1)
    assert cosignatures(NOTE + moved, known)
    later = cosign(NOTE, BROKER, AT + timedelta(seconds=1))
    name, _, encoded = later.decode().rstrip("\n").rpartition(" ")
    earlier = cosign(NOTE, BROKER, AT).decode().rstrip("\n").rpartition(" ")[2]
    assert encoded[:10] == earlier[:10]
    spliced = f"{name} {encoded[:16]}{earlier[16:]}\n".encode()
    with pytest.raises(NoteInvalid):
        cosignatures(NOTE + spliced, known)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_flipped_bit_of_a_cosigned_checkpoint_never_adds_a_cosigner(place: int, bit: int) -> None:
    """After any flipped bit either nothing of it verifies, or it says what it said before."""
    note = bytearray(with_cosignatures(NOTE, [cosign(NOTE, BROKER, AT)]))
    note[place % len(note)] ^= 1 << bit
    try:
        found = cosignatures(bytes(note), [Cosigner(key=BROKER.verifier)])
    except NoteInvalid:
        return
    assert all(one.at == AT.replace(microsecond=0) for one in found)


def test_cosigner_line_reads_back_and_a_wrong_one_is_refused() -> None:
    """The verifier key line has type 4; a log's own line, or a hash of another key, is refused."""
    cosigner = Cosigner(key=BROKER.verifier)
    assert Cosigner.parse(cosigner.line) == cosigner
    with pytest.raises(NoteInvalid, match="type 4"):
        Cosigner.parse(BROKER.verifier_key)
    name, _, rest = cosigner.line.partition("+")
    with pytest.raises(NoteInvalid, match="not that of its key"):
        Cosigner.parse(f"{name}+{'0' * 8}+{rest.partition('+')[2]}")


WITNESS = Cosigner(key=BROKER.verifier).line
OTHER = Cosigner(key=SHERIFF.verifier).line


def test_policy_file_reads_back_and_counts_its_quorum() -> None:
    """Logs, witnesses and quorum as C2SP tlog-policy has them; comments and tabs are no harm."""
    witnesses = {"broker": Cosigner(key=BROKER.verifier), "sheriff": Cosigner(key=SHERIFF.verifier)}
    data = write_policy([LOG.verifier], witnesses, threshold=2)
    policy = parse_policy(b"# ours\n\n\t" + data)
    assert policy.logs == (LOG.verifier,)
    assert policy.is_met(["broker", "sheriff"]) and not policy.is_met(["broker"])
    assert parse_policy(write_policy([LOG.verifier], {})).is_met([])
    nested = (
        f"witness a {WITNESS}\nwitness b {OTHER} https://b.example/\ngroup one any a\ngroup two all one b\n"
    )
    deep = parse_policy(f"{nested}quorum two\n".encode())
    assert deep.is_met(["a", "b"]) and not deep.is_met(["b"]) and not deep.is_met([])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "`quorum <name>` is missing"),
        (f"witness a {WITNESS}\n", "`quorum <name>` is missing"),
        ("quorum a\n", "line 1: quorum `a`: no line before defines it"),
        ("quorum none\nquorum none\n", "line 2: a second `quorum`"),
        (f"log {LOG.verifier_key}\nlog {LOG.verifier_key}\nquorum none\n", "line 2: log .* stands in a line"),
        (f"witness a {WITNESS}\nwitness b {WITNESS}\nquorum a\n", "line 2: witness `b`: its key"),
        (f"witness none {WITNESS}\nquorum none\n", "`none` is taken"),
        (f"witness a {WITNESS}\nwitness a {OTHER}\nquorum a\n", "`a` is taken"),
        (f"witness a {WITNESS}\ngroup g 2 a\nquorum g\n", "`all`, `any` or 1 to 1"),
        (f"witness a {WITNESS}\ngroup g 0 a\nquorum g\n", "`all`, `any` or 1 to 1"),
        (f"group g any a\nwitness a {WITNESS}\nquorum g\n", "line 1: group `g`: no line before defines `a`"),
        (f"witness a {WITNESS}\ngroup g any a\ngroup h any a\nquorum h\n", "member of a group already"),
        (f"witness a {BROKER.verifier_key}\nquorum a\n", "line 1: .*type 4"),
        (f"log {WITNESS}\nquorum none\n", "line 1: .*type 1"),
        ("witness a\nquorum none\n", "line 1: `witness` with 1 values"),
        ("log\x0bx\nquorum none\n", "control characters"),
    ],
    ids=itertools.count(),  # texts hold fresh keys, and every worker must name a test alike
)
def test_policy_file_that_is_not_right_names_the_line(text: str, words: str) -> None:
    """A policy that could mean something else than its author thinks is refused, with the line."""
    with pytest.raises(TrustInvalid, match=words):
        parse_policy(text.encode())


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_garbage_is_no_policy(data: bytes) -> None:
    """Any bytes end in the documented error."""
    with pytest.raises(TrustInvalid):
        parse_policy(data)


async def test_policy_file_is_trust_and_its_quorum_counts(make_log: MakeLog) -> None:
    """`--trust` takes a policy file: the log verifies with the key that it names, once enough cosigned."""
    folder = await make_log(LOG, 3) / "log"
    witnesses = {"broker": Cosigner(key=BROKER.verifier), "sheriff": Cosigner(key=SHERIFF.verifier)}
    assert verify_folders([folder], Trust.parse(write_policy([LOG.verifier], {}))).verified

    trust = Trust.parse(write_policy([LOG.verifier], witnesses, threshold=2))
    note = (folder / "checkpoint").read_bytes()
    (folder / "checkpoint").write_bytes(with_cosignatures(note, [cosign(note, BROKER, AT)]))
    (finding,) = verify_folders([folder], trust).logs[0].findings
    assert "quorum of `peers`; cosigned by `broker`" in finding
    (folder / "checkpoint").write_bytes(
        with_cosignatures(note, [cosign(note, BROKER, AT), cosign(note, SHERIFF, AT)])
    )
    assert verify_folders([folder], trust).verified

    other = Trust.parse(write_policy([LogKey.generate(LOG.origin).verifier], {}))
    assert not verify_folders([folder], other).verified


def test_policy_file_without_a_log_is_no_trust() -> None:
    """With no log key nothing could be verified, so such a file is refused rather than found empty."""
    with pytest.raises(TrustInvalid, match="names no log"):
        Trust.parse(b"quorum none\n")
