"""What peers cosigned of a log counts for a tlog-policy file, and goes into the evidence that leaves (L2)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.checkpoint import Checkpoint
from comity.audit.cosignature import Cosigner, cosign
from comity.audit.cosigned import KEPT, CosignedCheckpoints
from comity.audit.entry import Entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.policy_file import write_policy
from comity.audit.trust import Trust
from comity.audit.verify import verify_folders
from comity.cli.main import cli
from tests.support.logs import NOON, asked, noon

LOG = LogKey.generate("lapd.example/adapter")
BROKER = LogKey.generate("operator.example/broker")
SHERIFF = LogKey.generate("sheriff.example/gateway")
WITNESSES = {"broker": Cosigner(key=BROKER.verifier), "sheriff": Cosigner(key=SHERIFF.verifier)}
POLICY = write_policy([LOG.verifier], WITNESSES, threshold=2)
EXCHANGE = bytes(range(16))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)])


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SignedLog]:
    """LAPD's log: 300 entries, one about an exchange, and a few of the house after it."""
    log = await SignedLog.open(tmp_path / "adapter", origin=LOG.origin, key=LOG, clock=noon)
    await log.append(*[Entry(kind="link_opened", at=NOON) for _ in range(300)])
    await log.append(Entry(kind="decided", at=NOON, exchange=EXCHANGE))
    yield log
    await log.close()


async def cosigned(log: SignedLog, *keys: LogKey) -> None:
    note = await log.publish()
    for key in keys:
        CosignedCheckpoints(log.folder).add(note, cosign(note, key, NOON))


async def after(log: SignedLog, *entries: Entry) -> str:
    """Append to it, publish, and return what is found under the policy file."""
    await log.append(*entries)
    await log.publish()
    (report,) = verify_folders([log.folder], Trust.parse(POLICY)).logs
    return "\n".join(report.findings)


async def test_log_is_witnessed_by_what_lies_beside_it(log: SignedLog) -> None:
    """Its newest checkpoint is not cosigned yet; no exchange stands after the one that a quorum cosigned."""
    await cosigned(log, BROKER, SHERIFF)
    assert await after(log, Entry(kind="stopped", at=NOON)) == ""


async def test_exchange_after_the_last_cosigned_checkpoint_is_not_witnessed(log: SignedLog) -> None:
    """Who cuts or rewrites what no witness saw must not pass for witnessed."""
    await cosigned(log, BROKER, SHERIFF)
    assert "first 301 entries; entry 301, about an exchange" in await after(log, asked(0))


async def test_log_that_too_few_cosigned_is_not_witnessed(log: SignedLog) -> None:
    """One of two is no quorum, whichever checkpoint it stands under."""
    await cosigned(log, BROKER)
    found = await after(log, Entry(kind="stopped", at=NOON))
    assert "quorum of `peers`; cosigned by none" in found
    assert "most cosigned its first 301 entries: `broker`" in found


async def test_cosignatures_of_another_tree_count_for_nothing(log: SignedLog) -> None:
    """Witnesses of a fork don't vouch for this log, nor those of a checkpoint that its key didn't sign."""
    note = await log.publish()
    fork = Checkpoint(origin=LOG.origin, size=301, root=bytes(32)).sign(LOG)
    stranger = Checkpoint.parse(note.decode().partition("\n\n")[0] + "\n").sign(LogKey.generate(LOG.origin))
    for other in (fork, stranger):
        for key in (BROKER, SHERIFF):
            CosignedCheckpoints(log.folder).add(other, cosign(other, key, NOON))
        assert "cosigned by none" in await after(log, Entry(kind="stopped", at=NOON))
        (log.folder / "cosigned/301").unlink()


async def test_cosigned_file_that_is_no_note_is_passed_over(log: SignedLog) -> None:
    """A file that a crash cut costs what stood in it, and the next cosignature begins it anew."""
    note = await log.publish()
    (log.folder / "cosigned").mkdir()
    (log.folder / "cosigned/301").write_bytes(note[:40])
    assert not list(CosignedCheckpoints(log.folder).newest_first())
    await cosigned(log, BROKER, SHERIFF)
    ((claimed, kept),) = CosignedCheckpoints(log.folder).newest_first()
    assert claimed.size == 301 and kept.startswith(note) and kept.count(b"\xe2\x80\x94") == 3


async def test_only_the_newest_cosigned_checkpoints_are_kept(log: SignedLog) -> None:
    """Each covers all before it, so a folder of them does not grow for ever."""
    for size in range(1, KEPT + 10):
        note = Checkpoint(origin=LOG.origin, size=size, root=bytes(32)).sign(LOG)
        CosignedCheckpoints(log.folder).add(note, cosign(note, BROKER, NOON))
    sizes = [claimed.size for claimed, _ in CosignedCheckpoints(log.folder).newest_first()]
    assert sizes == list(range(KEPT + 9, 9, -1))


async def test_evidence_carries_the_cosignatures_that_a_policy_file_asks_for(
    log: SignedLog, tmp_path: Path
) -> None:
    """`prove` takes the checkpoint that most peers cosigned; `verify` wants a quorum under it."""
    (tmp_path / "policy").write_bytes(POLICY)
    await after(log, Entry(kind="link_opened", at=NOON))
    assert run("prove", log.folder, "--exchange", "0001", "--out", tmp_path / "bare").exit_code == 0
    bare = run("verify", tmp_path / "bare", "--trust", tmp_path / "policy")
    assert bare.exit_code == 1 and "cosigned by none of its witnesses" in bare.output

    await cosigned(log, BROKER, SHERIFF)
    await after(log, Entry(kind="stopped", at=NOON))
    await cosigned(log, BROKER)
    told = run("prove", log.folder, "--exchange", "0001", "--out", tmp_path / "ev", "--json")
    assert json.loads(told.output)["checkpoint"] == {
        "size": 302,
        "cosigned_by": [BROKER.origin, SHERIFF.origin],
    }
    good = run("verify", tmp_path / "ev", "--trust", tmp_path / "policy")
    assert good.exit_code == 0, good.output


async def test_evidence_about_what_nobody_cosigned_yet_has_the_current_checkpoint(
    log: SignedLog, tmp_path: Path
) -> None:
    """An older cosigned checkpoint doesn't cover it."""
    await cosigned(log, BROKER, SHERIFF)
    await after(log, Entry(kind="released", at=NOON, exchange=EXCHANGE))
    told = run("prove", log.folder, "--exchange", "0001", "--out", tmp_path / "ev")
    assert "checkpoint of 302 entries, cosigned by nobody" in told.output
