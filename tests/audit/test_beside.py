"""Values that an entry can't hold stand beside the log, under their digest (L2; C2SP tlog-tiles)."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.audit.beside import BesideFolder, whole_entry
from comity.audit.canonical import JsonValue, canonical
from comity.audit.entry import MAX_BESIDE_BYTES, MAX_ENTRY_BYTES, Entry, parse_entry, seal_entry
from comity.audit.errors import BesideInvalid, EntryInvalid, LogUnwritable
from comity.audit.evidence import prove_exchange, verify_evidence, write_evidence
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.policy_file import write_policy
from comity.audit.reconciling.facts import Exchanges, Scratch
from comity.audit.reconciling.gathering import gather
from comity.audit.tiles import TileFolder
from comity.audit.trust import Trust
from comity.audit.verify import verify_folders
from comity.cli.audit import group
from tests.audit.test_log import FailingDisk, leave
from tests.support.logs import NOON, asked, noon
from tests.support.third_party import third_party_faults

KEY = LogKey.generate("lapd.example/adapter")
TRUST = Trust.parse(write_policy([KEY.verifier], {}))
MANY: dict[str, JsonValue] = {f"agency-{number:04d}": "9f" * 32 for number in range(1_000)}
EXCHANGE = bytes(range(16))


def entry(**public: JsonValue) -> Entry:
    return Entry(kind="asked", at=NOON, exchange=EXCHANGE, public=public, private={"plate": "8ABC123"})


LARGE = entry(agency="sheriff", asked=MANY)


async def opened(home: Path, disk: FailingDisk | None = None) -> SignedLog:
    return await SignedLog.open(home, origin=KEY.origin, key=KEY, clock=noon, disk=disk)


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A log of three entries, the one in the middle too large for it."""
    signed = await opened(tmp_path)
    await signed.append(asked(0), LARGE, asked(2))
    await signed.close()
    return tmp_path / "log"


def leaf_of(log: Path, index: int = 1) -> bytes:
    return [leaf for _, leaf in TileFolder(log).all_entries(3)][index]


def only_file(log: Path) -> Path:
    (path,) = (log / "beside").iterdir()
    return path


@pytest.mark.parametrize("length", range(MAX_ENTRY_BYTES - 2, MAX_ENTRY_BYTES + 3))
def test_an_entry_is_whole_up_to_its_limit_and_not_a_byte_beyond(length: int) -> None:
    """65,535 bytes fit in an entry bundle, which gives the length in 16 bits."""
    rest = len(seal_entry(entry(asked="")).leaf)
    sealed = seal_entry(entry(asked="x" * (length - rest)))
    assert (len(sealed.leaf) == length) == (length <= MAX_ENTRY_BYTES)
    assert bool(sealed.beside) == (length > MAX_ENTRY_BYTES)


VALUES = st.one_of(
    st.integers(0, 99),
    st.text(max_size=40),
    st.builds(lambda text, count: text * count, st.text(min_size=1, max_size=4), st.integers(1, 40_000)),
    st.builds(lambda count: ["9f" * 32] * count, st.integers(1, 1_500)),
)


@given(public=st.dictionaries(st.sampled_from("abcdefgh"), VALUES, max_size=8))
@settings(max_examples=40, deadline=None)
def test_what_is_sealed_is_read_back_whole(public: dict[str, JsonValue]) -> None:
    """Whatever stands beside, the entry fits, names it, and with it says what was entered."""
    sealed = seal_entry(entry(**public))
    assert len(sealed.leaf) <= MAX_ENTRY_BYTES
    read = parse_entry(sealed.leaf)
    values = {name: json.loads(sealed.beside[wanted.digest]) for name, wanted in read.beside.items()}
    assert {**read.public, **values} == public
    whole = len(sealed.leaf) + sum(map(len, sealed.beside.values()))
    assert not read.beside or whole > MAX_ENTRY_BYTES
    moved = [len(canonical(public[name])) for name in read.beside]
    stayed = [len(canonical(value)) for value in read.public.values()]
    assert not moved or not stayed or min(moved) >= max(stayed)


async def test_a_large_entry_is_in_the_log_and_verifies(log: Path, tmp_path: Path) -> None:
    """Verification, a verifier that the project did not write, reading and reconciliation all follow it."""
    assert verify_folders([log], TRUST).verified
    assert third_party_faults(log, KEY.verifier_key, inclusions=False) == []
    assert whole_entry(leaf_of(log), log).public == LARGE.public
    shown = CliRunner().invoke(group, ["show", str(log), "--openings", "none", "--json"])
    assert json.loads(shown.output)["entries"][1]["public"]["asked"] == MANY
    table = CliRunner().invoke(group, ["show", str(log), "--openings", "none"], env={"COLUMNS": "200"})
    assert (
        f"asked {len(canonical(MANY)):,} bytes beside the log" in table.output
        and "agency-0500" not in table.output
    )
    gather(log, TRUST, tmp_path / "facts")
    scratch = Scratch(tmp_path / "facts")
    assert scratch.faults() == []
    scratch.close()
    exchanges = Exchanges(tmp_path / "facts")
    ((_, facts),) = [one for one in exchanges.between(b"", None) if one[0] == EXCHANGE]
    exchanges.close()
    assert facts[0].texts("asked") == MANY


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"agency-0007", b"agency-0008"))


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (Path.unlink, "is missing"),
        (changed, "was changed: its digest is another one"),
        (shortened, "was changed: its length is not"),
    ],
    ids=["missing", "changed", "shortened"],
)
async def test_a_value_that_was_tampered_with_is_named(
    log: Path, tmp_path: Path, tamper: Callable[[Path], None], words: str
) -> None:
    """What stands beside the log is held to its digest by every reader, and the entry is told."""
    tamper(only_file(log))
    (report,) = verify_folders([log], TRUST).logs
    (finding,) = report.findings
    assert (
        finding.startswith("entry 1: entry `asked`: `asked`, which stands beside the log")
        and words in finding
    )
    gather(log, TRUST, tmp_path / "facts")
    scratch = Scratch(tmp_path / "facts")
    (fault,) = scratch.faults()
    scratch.close()
    assert (fault.place, fault.exchange) == (1, EXCHANGE) and words in fault.text
    shown = CliRunner().invoke(group, ["show", str(log), "--json"])
    assert shown.exit_code == 1 and words in shown.output
    with pytest.raises(BesideInvalid):
        prove_exchange(log, None, EXCHANGE.hex(), opened=(), content=False)


async def test_evidence_carries_what_stands_beside(log: Path, tmp_path: Path) -> None:
    """Whoever gets the evidence has the values too; one that was changed on the way doesn't verify."""
    proven = prove_exchange(log, None, EXCHANGE.hex(), opened=(), content=False)
    assert proven[0].entry.public == LARGE.public
    written = write_evidence(tmp_path / "evidence", proven)
    assert verify_evidence(tmp_path / "evidence", TRUST).verified
    (value,) = [path for path in written if path.parent.name == "beside"]
    changed(value)
    report = verify_evidence(tmp_path / "evidence", TRUST)
    assert "was changed: its digest is another one" in report.findings[0]


def test_what_is_too_large_even_to_stand_beside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside one entry stand 16 MiB at most; nothing that a peer says grows a log without bound."""
    assert MAX_BESIDE_BYTES == 16 << 20
    monkeypatch.setattr("comity.audit.entry.MAX_BESIDE_BYTES", 200_000)
    half = "x" * 99_998
    assert len(seal_entry(entry(a=half, b=half)).beside) == 1
    assert len(seal_entry(entry(a=half, b=half[:-1] + "y")).beside) == 2
    with pytest.raises(EntryInvalid, match="can stand beside an entry"):
        seal_entry(entry(a=half, b=half + "y"))
    with pytest.raises(EntryInvalid, match="fit in a log"):
        seal_entry(entry(**{f"{number:05d}": number for number in range(9_999)}))


async def test_a_large_entry_survives_power_loss_at_every_step(tmp_path: Path) -> None:
    """Its value is on the disk before the entry: there is never an entry whose value is not there."""
    fails_at, acknowledged = 0, False
    while not acknowledged:
        fails_at += 1
        home = tmp_path / str(fails_at)
        disk = FailingDisk()
        signed = await opened(home, disk)
        await signed.append(asked(0))
        await signed.publish()
        disk.fails_at = disk.steps + fails_at
        try:
            await signed.append(LARGE)
            acknowledged = True
        except LogUnwritable:
            pass
        await leave(signed)
        again = await opened(home)
        assert again.size >= 1 + acknowledged
        await again.close()
        assert verify_folders([home / "log"], TRUST).verified
        shutil.rmtree(home)
    assert fails_at > 4


DIGEST = "9f" * 32


@pytest.mark.parametrize(
    "beside",
    [
        {},
        [],
        {"agency": {"bytes": 9, "sha256": DIGEST}},
        {"kind": {"bytes": 9, "sha256": DIGEST}},
        {"asked": {"bytes": 0, "sha256": DIGEST}},
        {"asked": {"bytes": True, "sha256": DIGEST}},
        {"asked": {"bytes": MAX_BESIDE_BYTES + 1, "sha256": DIGEST}},
        {"asked": {"bytes": 9, "sha256": DIGEST.upper()}},
        {"asked": {"bytes": 9, "sha256": "../../../keys/log.key"}},
        {"asked": {"bytes": 9}},
        {"asked": {"bytes": 9, "path": "x", "sha256": DIGEST}},
        {"asked": DIGEST},
    ],
    ids=[
        *("none", "list", "own", "reserved", "empty", "truth", "large"),
        *("capitals", "path", "half", "more", "bare"),
    ],
)
def test_only_digests_and_lengths_name_what_stands_beside(beside: JsonValue) -> None:
    """An entry leads a reader to no other file, and hides no field that it has itself."""
    record: dict[str, JsonValue] = {"agency": "lapd", "at": 1, "beside": beside, "kind": "asked", "v": 1}
    with pytest.raises(EntryInvalid, match="`beside` doesn't name digests"):
        parse_entry(canonical(record))


@pytest.mark.parametrize(
    "data",
    [b"{}x", b'{"a":1,"a":1}', b'{ "a":1}', b"1.5", b"\xff", b"[" * 100_000],
    ids=["more", "twice", "space", "fraction", "bytes", "deep"],
)
def test_a_value_of_another_form_is_refused(tmp_path: Path, data: bytes) -> None:
    """What stands beside is RFC 8785 JSON like the entry; rubbish with the right digest is still rubbish."""
    sealed = seal_entry(LARGE)
    (digest,) = sealed.beside
    leaf = sealed.leaf.replace(digest.hex().encode(), sha256(data).hexdigest().encode())
    leaf = leaf.replace(str(len(sealed.beside[digest])).encode(), str(len(data)).encode())
    read = parse_entry(leaf)
    path = tmp_path / "beside" / read.beside["asked"].file
    path.parent.mkdir()
    path.write_bytes(data)
    with pytest.raises(BesideInvalid, match="RFC 8785"):
        BesideFolder(folder=tmp_path).complete(read)
