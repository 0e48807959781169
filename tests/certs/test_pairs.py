"""A leaf and its key are replaced as one; what peers would not take is never put in force (design 4)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from comity.certs.credentials import EndCredentials
from comity.certs.errors import CertsError, CredentialsUnusable, FileExposed
from comity.certs.files import write_private, write_public
from comity.certs.keys import SigningKey
from comity.certs.members import MemberView
from comity.certs.own import OwnCredentials
from comity.certs.pairs import KEPT, LeafPair, put_pair
from comity.certs.roster import Federation
from comity.certs.x509 import IssuedLeaf, issue_leaf, load_ca, make_ca
from tests.adapters.bench import NOON
from tests.support.federation import FederationOnDisk, build_federation

DAY = timedelta(days=1)
GATEWAY = "spiffe://lapd.example/gateway"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    return build_federation(tmp_path_factory.mktemp("pairs") / "f", NOON, ("lapd", "lahd"))


@dataclass
class Stage:
    """A gateway's home, its member, and its CA."""

    home: Path
    member: MemberView
    agency: Path
    other: Path

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    def issue(self, **changed: object) -> IssuedLeaf:
        certificate, key = load_ca(self.agency / "ca.pem", self.agency / "ca.key")
        values: dict[str, object] = {
            "spiffe_id": GATEWAY,
            "dns_names": ("gateway.lapd.example",),
            "now": NOON + timedelta(minutes=5),
            "lifetime": 10 * DAY,
        }
        return issue_leaf(certificate, key, **(values | changed))  # type: ignore[arg-type]

    def own(self) -> OwnCredentials:
        return OwnCredentials(
            EndCredentials.load(self.home),
            home=self.home,
            role="gateway",
            clock=lambda: NOON + timedelta(minutes=6),
        )


@pytest.fixture
def stage(built: FederationOnDisk, tmp_path: Path) -> Stage:
    member = Federation.load(built.root / "public", now=NOON).member("lapd")
    agency = built.home("lapd")
    home = tmp_path / "gateway"
    for path in (agency / "gateway" / "keys").iterdir():
        write_private(home / "keys" / path.name, path.read_bytes())
    return Stage(home=home, member=member, agency=agency, other=built.home("lahd"))


def test_new_pair_counts_by_one_rename_and_is_found_at_its_old_place(stage: Stage) -> None:
    """Whoever reads `leaf.pem` and `leaf.key` finds the new ones; the key is private."""
    issued = stage.issue()
    pair = put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)
    assert LeafPair.load(stage.keys) == pair
    assert (stage.keys / "leaf.pem").read_bytes() == issued.chain_pem
    assert (stage.keys / "leaf.key").read_bytes() == issued.key_pem
    assert (stage.keys / "leaf.key").stat().st_mode & 0o777 == 0o600
    assert EndCredentials.load(stage.home).pair == pair


def test_crash_at_any_step_of_a_replacement_leaves_a_whole_pair(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each rename it is the old pair or the new one, never the key of one and the chain of the other."""
    old = LeafPair.load(stage.keys)
    first, second = stage.issue(), stage.issue(now=NOON + timedelta(minutes=6))
    replace, steps = Path.replace, [0]
    for issued in (first, second):
        for crash in range(8):
            steps[0] = 0

            def stepping(path: Path, target: Path, crash: int = crash) -> Path:
                if steps[0] == crash:
                    raise OSError(28, "No space left on device")
                steps[0] += 1
                return replace(path, target)

            monkeypatch.setattr(Path, "replace", stepping)
            try:
                put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)
            except CertsError:
                pass
            finally:
                monkeypatch.setattr(Path, "replace", replace)
            found = LeafPair.load(stage.keys)
            assert found.chain_pem in (old.chain_pem, first.chain_pem, issued.chain_pem)
    assert LeafPair.load(stage.keys).chain_pem == second.chain_pem


def test_pair_whose_parts_do_not_match_changes_nothing(stage: Stage) -> None:
    """A chain with the key of another leaf is not put there."""
    old = LeafPair.load(stage.keys)
    with pytest.raises(CredentialsUnusable, match="not the key of the leaf"):
        put_pair(stage.keys, chain_pem=stage.issue().chain_pem, key_pem=stage.issue().key_pem)
    assert LeafPair.load(stage.keys) == old and not (stage.keys / "leaf").exists()


@pytest.mark.parametrize("minutes", [-6, 0, 6], ids=["issued earlier", "at once", "later"])
def test_pair_that_is_put_there_by_hand_counts_beside_one_that_was_renewed(
    stage: Stage, minutes: int
) -> None:
    """Plain files over the links: of two pairs that match, the one put there last counts, whenever issued."""
    renewed, own = stage.issue(), stage.issue(now=NOON + timedelta(minutes=5 + minutes))
    put_pair(stage.keys, chain_pem=renewed.chain_pem, key_pem=renewed.key_pem)
    write_private(stage.keys / "leaf.key", own.key_pem)
    assert LeafPair.load(stage.keys).chain_pem == renewed.chain_pem  # torn: the chain is not there yet
    write_public(stage.keys / "leaf.pem", own.chain_pem)
    written = (stage.keys / "leaf" / "leaf.pem").stat().st_mtime_ns
    os.utime(stage.keys / "leaf.pem", ns=(written, written + 1))
    assert LeafPair.load(stage.keys).chain_pem == own.chain_pem
    os.utime(stage.keys / "leaf.pem", ns=(written, written - 1))
    assert LeafPair.load(stage.keys).chain_pem == renewed.chain_pem


def test_of_two_pairs_put_there_at_the_same_time_the_one_issued_last_counts(stage: Stage) -> None:
    """A copy of the folder may have one time for all its files."""
    early, late = stage.issue(), stage.issue(now=NOON + timedelta(minutes=6))
    for renewed, own in ((early, late), (late, early)):
        put_pair(stage.keys, chain_pem=renewed.chain_pem, key_pem=renewed.key_pem)
        write_private(stage.keys / "leaf.key", own.key_pem)
        write_public(stage.keys / "leaf.pem", own.chain_pem)
        for path in (stage.keys / "leaf" / "leaf.pem", stage.keys / "leaf.pem"):
            os.utime(path, ns=(1, 1))
        assert LeafPair.load(stage.keys).chain_pem == late.chain_pem


def test_only_the_newest_keys_stay_on_disk(stage: Stage) -> None:
    """Keys that were replaced are removed, but for the one before."""
    for minutes in range(5):
        issued = stage.issue(now=NOON + timedelta(minutes=minutes))
        put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)
    assert len(list((stage.keys / "leaf.d").iterdir())) == KEPT
    assert LeafPair.load(stage.keys).chain_pem == issued.chain_pem


def test_good_pair_is_put_in_force(stage: Stage) -> None:
    """It is judged as peers would judge it, and handed out once."""
    own = stage.own()
    assert own.newer(stage.member) is None
    issued = stage.issue()
    put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)
    found = own.newer(stage.member)
    assert found is not None and found.chain_pem == issued.chain_pem


def torn(stage: Stage) -> None:
    (stage.keys / "leaf.pem").write_bytes(stage.issue().chain_pem)


def put(**changed: object) -> Callable[[Stage], None]:
    def replace(stage: Stage) -> None:
        issued = stage.issue(**changed)
        put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)

    return replace


def of_another_ca(stage: Stage) -> None:
    """Another CA mints the right name: the roster doesn't name it."""
    certificate, key = make_ca("lapd.example", NOON, 100 * DAY)
    issued = issue_leaf(
        certificate, key, spiffe_id=GATEWAY, dns_names=("gateway.lapd.example",), now=NOON, lifetime=DAY
    )
    put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)


def of_another_agency(stage: Stage) -> None:
    certificate, key = load_ca(stage.other / "ca.pem", stage.other / "ca.key")
    issued = issue_leaf(
        certificate, key, spiffe_id="spiffe://lahd.example/gateway", dns_names=(), now=NOON, lifetime=DAY
    )
    put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)


def exposed(stage: Stage) -> None:
    issued = stage.issue()
    put_pair(stage.keys, chain_pem=issued.chain_pem, key_pem=issued.key_pem)
    (stage.keys / "leaf" / "leaf.key").chmod(0o640)


def half_a_chain(stage: Stage) -> None:
    pem = (stage.keys / "leaf.pem").read_bytes()
    (stage.keys / "leaf.pem").write_bytes(pem[: len(pem) // 3])


def stranger_statement_key(stage: Stage) -> None:
    SigningKey.generate().save(stage.keys / "statement.key")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (torn, "not the key of the leaf"),
        (of_another_ca, "doesn't verify"),
        (of_another_agency, "the roster expects"),
        (put(spiffe_id="spiffe://lapd.example/adapter"), "the roster expects"),
        (put(dns_names=()), "lacks the DNS name"),
        (put(now=NOON, lifetime=timedelta(minutes=3)), "expired"),
        (put(now=NOON + DAY), "still to come"),
        (put(lifetime=500 * DAY), "longer than"),
        (exposed, "lets others at it"),
        (half_a_chain, "no certificate in PEM"),
        (stranger_statement_key, "none that the roster names"),
    ],
    ids=[
        "torn",
        "another CA",
        "another agency",
        "another end",
        "no DNS name",
        "expired",
        "to come",
        "too long",
        "exposed key",
        "half a chain",
        "statement key",
    ],
)
async def test_pair_that_peers_would_refuse_is_never_put_in_force(
    stage: Stage, spoil: Callable[[Stage], None], said: str
) -> None:
    """The old one stays, and why is told without a secret; what is mended is taken at the next look."""
    own = stage.own()
    before = own.current
    good = {path.name: path.read_bytes() for path in stage.keys.iterdir() if path.is_file()}

    async def taken(old: EndCredentials, new: EndCredentials) -> None:
        raise AssertionError("it was put in force")

    spoil(stage)
    with pytest.raises(CredentialsUnusable, match=said):
        await own.look(stage.member, taken)
    assert own.current is before and own.is_faulty and said in own.fault
    assert "PRIVATE" not in own.fault
    link = stage.keys / "leaf"
    if link.is_symlink():
        link.unlink()
    for name, data in good.items():
        (stage.keys / name).unlink(missing_ok=True)
        write_private(stage.keys / name, data)
    assert not await own.look(stage.member, taken) and not own.is_faulty


def test_key_readable_by_others_is_refused_at_the_start_too(stage: Stage) -> None:
    """Mode 0640 on the key behind the link."""
    exposed(stage)
    with pytest.raises(FileExposed):
        EndCredentials.load(stage.home)
    assert os.stat(stage.keys / "leaf" / "leaf.key").st_mode & 0o040


def test_folder_that_cannot_be_looked_at_is_a_fault_and_no_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network folder that went away: what is in force stays, and why is told."""
    own = stage.own()

    def gone(path: Path, **_: object) -> bool:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(Path, "exists", gone)
    with pytest.raises(CredentialsUnusable, match="Stale file handle"):
        own.newer(stage.member)
    assert not own._waits()


async def test_looks_are_made_one_after_the_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one, while what the first found is put in force, doesn't put the same in force again."""

    async def at_once(call: Callable[..., object], *given: object) -> object:
        return call(*given)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    own, puts, later = stage.own(), list[bytes](), list[asyncio.Task[bool]]()

    async def taken(old: EndCredentials, new: EndCredentials) -> None:
        puts.append(new.pair.fingerprint)
        if len(puts) == 1:
            later.append(asyncio.create_task(own.look(stage.member, taken)))
            for _ in range(10):
                await asyncio.sleep(0)

    put()(stage)
    assert await own.look(stage.member, taken)
    assert not await later[0]
    assert puts == [own.current.pair.fingerprint]
