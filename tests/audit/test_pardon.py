"""`comity audit pardon`: an administrator lifts the refusal of a peer, and the log says so (L2)."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.acts import account_name
from comity.audit.checkpoint import Checkpoint
from comity.audit.errors import PeerContradiction
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.openings import read_openings
from comity.audit.peers import PeerCheckpoints
from comity.cli.main import cli
from tests.support.logs import noon

OWN = LogKey.generate("sheriff.example/gateway")
PEER = LogKey.generate("lapd.example/adapter")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["audit", "pardon", *map(str, arguments)])


async def opened(home: Path) -> SignedLog:
    return await SignedLog.open(home, origin=OWN.origin, key=OWN, clock=noon)


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A gateway that saw LAPD's log shrink."""
    home = tmp_path / "gateway"
    (home / "keys").mkdir(parents=True)
    OWN.save(home / "keys/log.key")
    log = await opened(home)
    peers = PeerCheckpoints(log, noon)
    for size in (9, 4):
        note = Checkpoint(origin=PEER.origin, size=size, root=bytes(32)).sign(PEER)
        try:
            await peers.saw(PEER.origin, note, PEER.verifier_key)
        except PeerContradiction:
            assert size == 4
    await log.close()
    return home


def test_who_is_refused_and_why_is_listed(home: Path) -> None:
    """Without an origin nothing is written; the line tells what the peer's log did, and where it stands."""
    told = run(home)
    assert told.exit_code == 0
    assert (
        "lapd.example/adapter  showed a smaller log than before (9, then 4 entries)  entry 1" in told.output
    )
    (one,) = json.loads(run(home, "--json").output)["refused"]
    assert (one["origin"], one["how"], one["entry"]) == (PEER.origin, "shrank", 1)


def test_pardon_is_an_entry_with_reason_and_account(home: Path) -> None:
    """Both are private fields: readable with the log's openings. A second pardon finds nobody."""
    done = run(home, PEER.origin, "--reason", "restored from a backup")
    assert done.exit_code == 0 and "entry 2 of sheriff.example/gateway" in done.output
    values = {name: one.value for name, one in read_openings(home / "state.db")[2].items()}
    assert values == {"reason": "restored from a backup", "account": account_name(os.geteuid())}
    again = run(home, PEER.origin, "--reason", "again")
    assert again.exit_code == 2 and "is not refused here; refused: nobody" in again.output
    assert run(home).output == "nobody is refused\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((PEER.origin,), "--reason: a sentence on why that log is another one is right"),
        ((PEER.origin, "--reason", " "), "--reason: a sentence"),
        (("dea.example/adapter", "--reason", "x"), "is not refused here; refused: `lapd.example/adapter`"),
    ],
)
def test_pardon_without_reason_or_of_nobody_is_wrong_use(
    home: Path, arguments: tuple[str, ...], words: str
) -> None:
    """What would have been right is said, and the log stays as it was."""
    done = run(home, *arguments)
    assert done.exit_code == 2 and words in done.output
    assert "entry 1" in run(home).output


def test_pardon_on_a_copy_without_the_log_key_is_refused(home: Path, tmp_path: Path) -> None:
    """Only an end itself speaks in its log."""
    shutil.copytree(home, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy/keys")
    done = run(tmp_path / "copy", PEER.origin, "--reason", "x")
    assert done.exit_code == 2 and "not an end's own folder" in done.output
    empty = run(tmp_path)
    assert empty.exit_code == 2 and "no end's folder" in empty.output
