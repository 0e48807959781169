"""Evidence of one exchange: exported by an end, verified by a person with the trust file and nothing else."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.entry import Entry
from comity.audit.evidence import MANIFEST, EvidenceReport, verify_evidence
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.trust import Trust
from comity.certs.agency import AgencyHome
from comity.certs.envelope import digest, from_json, seal, seal_payload, to_json
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.revocations import key_digest
from comity.certs.revoking import revoke_own
from comity.cli.main import cli
from comity.v1.federation_pb2 import REVOCATION_REASON_KEY_COMPROMISE, Revocation
from comity.v1.query_pb2 import Order
from comity.v1.result_pb2 import Acknowledgement
from tests.support.federation import build_federation
from tests.support.logs import NOON, asked, noon

ORIGIN = "lapd.example/adapter"
EXCHANGE = bytes(range(16))
QUERY = b"a query's bytes"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)])


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A federation on disk, and the trust file of an auditor."""
    root = tmp_path_factory.mktemp("evidence")
    build_federation(root / "f", NOON, ["lapd", "sheriff"])
    assert run("trust", "--public", root / "f/public", "--out", root / "trust.json").exit_code == 0
    return root / "f", root / "trust.json"


@pytest.fixture
async def home(places: tuple[Path, Path], tmp_path: Path) -> Path:
    """LAPD's adapter, which received a signed order among 300 other entries."""
    federation, _ = places
    home = tmp_path / "adapter"
    shutil.copytree(federation / "agencies/lapd/adapter", home)
    key = SigningKey.load(federation / "agencies/sheriff/gateway/keys/statement.key")
    order = seal(Order(exchange_id=EXCHANGE, requester="sheriff", nonce=b"n" * 16), key)
    received = Entry(
        kind="received",
        at=NOON,
        exchange=EXCHANGE,
        public={
            "agency": "lapd",
            "peer": "sheriff",
            "order": digest(order.payload).hex(),
            "query": digest(QUERY).hex(),
        },
        private={"plate": "8ABC123", "case": "26-0417", "user": "j.ortega"},
        attachments={"order": order.SerializeToString(), "query": QUERY},
    )
    word = seal(Acknowledgement(exchange_id=EXCHANGE, requester="sheriff", provider="lapd"), key)
    acknowledged = Entry(
        kind="acknowledged",
        at=NOON,
        exchange=EXCHANGE,
        public={"agency": "lapd", "peer": "sheriff", "acknowledgement": digest(word.payload).hex()},
        attachments={"acknowledgement": word.SerializeToString()},
    )
    log_key = LogKey.load(home / "keys/log.key", ORIGIN)
    log = await SignedLog.open(home, origin=ORIGIN, key=log_key, clock=noon)
    await log.append(*[asked(number) for number in range(150)], received)
    await log.append(*[asked(number) for number in range(150, 300)], acknowledged)
    await log.close()
    return home


def prove(home: Path, out: Path, *more: str) -> Result:
    result = run("prove", home, "--exchange", EXCHANGE.hex(), "--out", out, *more)
    assert result.exit_code == 0, result.output
    return result


def verify(out: Path, trust: Path) -> tuple[int, dict[str, object]]:
    result = run("verify", out, "--trust", trust, "--json")
    return result.exit_code, json.loads(result.output)["evidence"][0]


def test_evidence_verifies_with_the_trust_file_alone(
    places: tuple[Path, Path], home: Path, tmp_path: Path
) -> None:
    """Both entries with their proofs, what the requester signed, and the one field that was opened."""
    out = tmp_path / "out"
    prove(home, out, "--open", "case")
    shutil.rmtree(home)
    status, report = verify(out, places[1])
    assert status == 0
    assert [entry.split()[:2] for entry in report["entries"]] == [
        ["150", "received"],
        ["301", "acknowledged"],
    ]  # type: ignore[attr-defined]
    assert report["opened"] == {"150 case": "26-0417"}
    assert report["statements"] == ["order: signed by sheriff", "acknowledgement: signed by sheriff"]


def test_what_was_not_opened_is_nowhere_in_the_evidence(home: Path, tmp_path: Path) -> None:
    """Plate and user stay commitments; the query itself stays at home unless it was asked for (L6)."""
    prove(home, tmp_path / "out", "--open", "case")
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"26-0417" in everything
    assert not any(one in everything for one in (b"8ABC123", b"j.ortega", QUERY))
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "out").iterdir()} == {0}


def test_content_goes_along_when_asked_for_and_is_the_one_that_the_entry_names(
    places: tuple[Path, Path], home: Path, tmp_path: Path
) -> None:
    """`--content` adds the query's bytes; other bytes in their place are found."""
    out = tmp_path / "out"
    prove(home, out, "--open", "all", "--content")
    status, report = verify(out, places[1])
    assert status == 0 and "query: the bytes that the entry names" in report["statements"]  # type: ignore[operator]
    (out / "150-query.bin").write_bytes(b"another query")
    status, report = verify(out, places[1])
    assert status == 1 and "not the one that the entry names" in str(report["findings"])


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("evidence.json", "26-0417", "26-0418", "don't open the commitment of `case`"),
        ("evidence.json", '"index": 150', '"index": 151', "another entry than"),
        ("evidence.json", '"kind": "received"', '"kind": "decided"', "another entry than"),
        ("evidence.json", EXCHANGE.hex(), "ff" * 16, "another entry than"),
        ("evidence.json", "lapd.example/adapter", "dea.example/adapter", "names no such log"),
        ("evidence.json", "150-received.tlog-proof", "../x", "not what `comity audit prove` writes"),
        ("evidence.json", "150-received.tlog-proof", "301-acknowledged.tlog-proof", "another entry than"),
        ("evidence.json", "comity-evidence-v1", "comity-evidence-v2", "not what `comity audit prove` writes"),
        ("150-received.tlog-proof", "index 150", "index 149", "does not lead to the root"),
        ("150-received.tlog-proof", "\n302\n", "\n303\n", "does not verify"),
        ("150-order.dsse.json", "payload", "payloaf", "envelope"),
    ],
)
def test_evidence_that_was_changed_is_refused_by_name(
    places: tuple[Path, Path], home: Path, tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    """A false value, another entry, a path out of the folder, another size: each is found, status 1."""
    out = tmp_path / "out"
    prove(home, out, "--open", "case")
    text = (out / file).read_text()
    assert old in text
    (out / file).write_text(text.replace(old, new, 1))
    status, report = verify(out, places[1])
    assert status == 1
    assert words in str(report["findings"])


def test_file_that_is_missing_from_evidence_is_named(
    places: tuple[Path, Path], home: Path, tmp_path: Path
) -> None:
    """By its name and what is wrong, not by a number of the operating system."""
    out = tmp_path / "out"
    prove(home, out)
    (out / "150-order.dsse.json").unlink()
    status, report = verify(out, places[1])
    assert status == 1
    assert report["findings"] == ["entry 150: `150-order.dsse.json`: no such file or directory"]


def test_statement_signed_by_another_member_is_refused(
    places: tuple[Path, Path], home: Path, tmp_path: Path
) -> None:
    """The same order, signed again with the provider's own key: no evidence that the requester asked."""
    out = tmp_path / "out"
    prove(home, out)
    ours = SigningKey.load(places[0] / "agencies/lapd/gateway/keys/statement.key")
    document = json.loads((out / "150-order.dsse.json").read_bytes())
    envelope = from_json(json.dumps(document).encode())
    forged = seal_payload(envelope.payload_type, envelope.payload, ours)
    (out / "150-order.dsse.json").write_bytes(to_json(forged))
    status, report = verify(out, places[1])
    assert status == 1 and "entry 150" in str(report["findings"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--exchange", "zz"], "is not hex"),
        (["--exchange", "ee"], "no exchanges of this log begin so"),
        (["--exchange", "00"], "exchanges of this log begin so"),
        (
            ["--exchange", EXCHANGE.hex(), "--open", "plates"],
            "open `plates`: the exchange's private fields are case",
        ),
    ],
)
def test_export_that_cannot_be_made_says_what_would_be_right(
    home: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    """Unknown id, ambiguous id, unknown field: one line, status 2, nothing written."""
    result = run("prove", home, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2 and words in result.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_openings_that_are_gone_cannot_be_opened(home: Path, tmp_path: Path) -> None:
    """A `log/` folder alone proves the entries; a field can be opened only where the openings are."""
    shutil.copytree(home / "log", tmp_path / "alone/log")
    prove(tmp_path / "alone", tmp_path / "out")
    result = run(
        "prove", tmp_path / "alone", "--exchange", EXCHANGE.hex(), "--open", "case", "--out", tmp_path / "o"
    )
    assert result.exit_code == 2 and "no opening of `case` is at hand" in result.output
    result = run("prove", home, "--exchange", EXCHANGE.hex(), "--out", tmp_path / "out")
    assert result.exit_code == 2 and "is not empty" in result.output


async def test_every_byte_of_evidence_counts(home: Path, places: tuple[Path, Path], tmp_path: Path) -> None:
    """Every byte of an envelope, one in seven of entries, proofs, content and openings: each change is found.

    The finding names the file, its entry or what it is. A name that is changed in the manifest, which only
    points, takes something out of what is proven.
    """
    out, trust = tmp_path / "evidence", Trust.load(places[1])
    done = run("prove", home, "--exchange", EXCHANGE.hex(), "--open", "all", "--content", "--out", out)
    assert done.exit_code == 0, done.output
    honest = verify_evidence(out, trust)
    assert honest.verified
    files = sorted(path for path in out.rglob("*") if path.is_file())
    assert {path.suffix for path in files} == {".tlog-proof", ".json", ".bin"}
    for path in files:
        whole = path.read_bytes()
        signed = path.name.endswith(".dsse.json")
        index, _, what = path.name.split(".")[0].partition("-")
        for place in range(0, len(whole), 1 if signed else 7):
            data = bytearray(whole)
            data[place] ^= 1
            path.write_bytes(data)
            found = verify_evidence(out, trust)
            proves_less = path.name == MANIFEST and _proven(honest) - _proven(found)
            assert not found.verified or proves_less, f"byte {place} of {path.name}"
            assert set(found.opened.items()) <= set(honest.opened.items())
            if path.name != MANIFEST:
                names = (path.name, f"entry {index}", what)
                assert any(name in finding for finding in found.findings for name in names), found.findings
        path.write_bytes(whole)
    assert verify_evidence(out, trust).verified


async def test_salt_in_another_spelling_is_refused(
    home: Path, places: tuple[Path, Path], tmp_path: Path
) -> None:
    """Base64 has bits that decode to nothing: with one of them changed it isn't what was given."""
    out, trust = tmp_path / "evidence", Trust.load(places[1])
    assert run("prove", home, "--exchange", EXCHANGE.hex(), "--open", "all", "--out", out).exit_code == 0
    manifest = json.loads((out / MANIFEST).read_text())
    opening = next(one for entry in manifest["entries"] for one in entry["openings"].values())
    last = opening["salt"][-2]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    opening["salt"] = opening["salt"][:-2] + alphabet[alphabet.index(last) ^ 1] + "="
    (out / MANIFEST).write_text(json.dumps(manifest))
    (finding,) = verify_evidence(out, trust).findings
    assert "not what `comity audit prove` writes" in finding


def _proven(report: EvidenceReport) -> set[str]:
    opened = {f"{name}: {value}" for name, value in report.opened.items()}
    return {*report.entries, *report.statements, *opened}


@pytest.mark.parametrize("seconds", [-1, 1])
def test_evidence_stands_until_its_signer_revoked_the_key_and_not_after(
    places: tuple[Path, Path], home: Path, tmp_path: Path, seconds: int
) -> None:
    """By the agency's own list, as the trust file took it along: as of then, whatever was revoked since."""
    out, federation = tmp_path / "out", tmp_path / "f"
    prove(home, out)
    shutil.copytree(places[0], federation)
    sheriff, revoked_at = AgencyHome.load(federation / "agencies/sheriff"), NOON + timedelta(seconds=seconds)
    key = SigningKey.load(sheriff.home / "gateway/keys/statement.key").public
    entry = Revocation(
        agency="sheriff",
        public_key=key_digest(key.der),
        revoked_at=from_instant(revoked_at),
        reason=REVOCATION_REASON_KEY_COMPROMISE,
    )
    revoke_own(sheriff, [entry], revoked_at, lifetime=timedelta(days=1), identity=sheriff.identity())
    trust = tmp_path / "trust.json"
    assert run("trust", "--public", federation / "public", "--out", trust).exit_code == 0
    assert verify(out, places[1])[0] == 0
    status, report = verify(out, trust)
    if seconds > 0:
        assert status == 0 and "order: signed by sheriff" in str(report["statements"])
    else:
        assert status == 1 and "`Order`: signed by 0 of the trusted keys" in str(report["findings"])
        assert "signed by sheriff" not in str(report["statements"])
