"""A verifier that the project did not write agrees with what SignedLog wrote (L2)."""

from pathlib import Path

import pytest

from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from tests.support.logs import asked, noon
from tests.support.third_party import VerifierMissing, run_verifier, third_party_faults

ORIGIN = "lapd.example/adapter"


@pytest.fixture
async def published(tmp_path: Path) -> tuple[Path, LogKey]:
    """A log of 700 entries that was published at several sizes, so that it has full and partial tiles."""
    key = LogKey.generate(ORIGIN)
    log = await SignedLog.open(tmp_path, origin=ORIGIN, key=key, clock=noon)
    for start, end in ((0, 3), (3, 256), (256, 300), (300, 700)):
        await log.append(*[asked(number) for number in range(start, end)])
        await log.publish()
    await log.close()
    return tmp_path / "log", key


async def test_another_implementation_verifies_checkpoint_inclusion_and_consistency(
    published: tuple[Path, LogKey],
) -> None:
    """aics-tlog verifies a log of full and partial tiles, from its files and its key alone (L2)."""
    log, key = published
    assert (log / "tile/0/001").exists()
    assert (log / "tile/1/000.p/2").exists()
    assert third_party_faults(log, key.verifier_key, old_sizes=(3, 256, 300, 699)) == []


async def test_another_implementation_refuses_a_changed_tile(published: tuple[Path, LogKey]) -> None:
    """The check above is worth something: the same verifier finds a changed hash."""
    log, key = published
    tile = log / "tile/0/001"
    data = bytearray(tile.read_bytes())
    data[40] ^= 1
    tile.write_bytes(bytes(data))
    assert third_party_faults(log, key.verifier_key, old_sizes=(300,))


async def test_another_implementation_refuses_another_key(published: tuple[Path, LogKey]) -> None:
    """The same verifier refuses a checkpoint under a key that it wasn't given."""
    log, _ = published
    other = LogKey.generate(ORIGIN).verifier_key
    assert not run_verifier("verify-checkpoint", "--log-key", other, "--tiles", str(log))["ok"]


def test_a_missing_verifier_fails_and_names_the_make_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the verifier tests fail with the command that installs it; they are never skipped."""
    monkeypatch.setenv("COMITY_VERIFIER", str(tmp_path))
    with pytest.raises(VerifierMissing, match="make verifier"):
        run_verifier("verify-checkpoint")
