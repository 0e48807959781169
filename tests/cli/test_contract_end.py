"""At a contract's end its records are exported whole, verified, and then deleted; holds are kept (L5)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import Entry, parse_entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.openings import read_openings
from comity.audit.tiles import TileFolder
from comity.certs.agreements import AgreementView
from comity.certs.clock import utc_now
from comity.certs.envelope import digest, seal
from comity.certs.keys import SigningKey
from comity.cli import audit_close_contract
from comity.cli.main import cli
from comity.v1.query_pb2 import Order
from tests.conftest import SIMULATED
from tests.support.federation import FederationOnDisk

ORIGIN = "lapd.example/adapter"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)])


def received(made: FederationOnDisk, number: int, peer: str) -> Entry:
    """Return the entry of a query of an agency's user, its order kept beside it."""
    key = SigningKey.load(made.gateway_home(peer) / "keys/statement.key")
    exchange = number.to_bytes(16, "big")
    order = seal(Order(exchange_id=exchange, requester=peer, nonce=b"n" * 16), key)
    query = b"query of %s about PLATE%03d" % (peer.encode(), number)
    return Entry(
        kind="received",
        at=utc_now(),
        exchange=exchange,
        public={
            "agency": "lapd",
            "peer": peer,
            "order": digest(order.payload).hex(),
            "query": digest(query).hex(),
        },
        private={"plate": f"PLATE{number:03d}", "case": f"case {number}", "user": "j.ortega"},
        attachments={"order": order.SerializeToString(), "query": query},
    )


@pytest.fixture
async def made(
    laid_out: FederationOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FederationOnDisk:
    """LAPD's adapter holds queries of sheriff and Port Police; the sheriff's agreement has ended."""
    shutil.copytree(laid_out.root, tmp_path / "f")
    made = FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec)
    home = made.adapter_home("lapd")
    key = LogKey.load(home / "keys/log.key", ORIGIN)
    log = await SignedLog.open(home, origin=ORIGIN, key=key, clock=utc_now)
    await log.append(*[received(made, n, "sheriff" if n % 2 else "lahd") for n in range(20)])
    await log.close()
    in_force = AgreementView.in_force
    monkeypatch.setattr(
        AgreementView,
        "in_force",
        lambda self, now: "sheriff" not in self.parties and in_force(self, now),
    )
    return made


def close(made: FederationOnDisk, *more: object, agency: str = "sheriff") -> Result:
    folder = made.root / "export"
    return run("close-contract", made.adapter_home("lapd"), "--agency", agency, "--to", folder, *more)


def held_bytes(made: FederationOnDisk, number: int) -> bool:
    """Whether the plate of a query stands in any file of the adapter's folder."""
    text = f"PLATE{number:03d}".encode()
    files = [path for path in made.adapter_home("lapd").rglob("*") if path.is_file()]
    return any(text in path.read_bytes() for path in files)


def kinds(made: FederationOnDisk) -> list[str]:
    log = made.adapter_home("lapd") / "log"
    size = peek_checkpoint((log / "checkpoint").read_bytes()).size
    return [parse_entry(leaf).kind for _, leaf in TileFolder(log).all_entries(size)]


def test_exported_verified_and_then_gone_of_that_agency_alone(made: FederationOnDisk) -> None:
    """The agency's records are in the folder and nowhere here; the other agency's are here as before (L5)."""
    done = close(made)
    assert done.exit_code == 0, done.output
    assert "10 records of sheriff's users, verified" in done.output
    assert held_bytes(made, 1), "exporting deletes nothing"
    done = close(made, "--delete", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert (told["records"], told["openings"], told["envelopes"], told["held"]) == (10, 30, 20, 0)
    assert [number for number in range(20) if held_bytes(made, number)] == list(range(0, 20, 2))
    trust = made.root / "made-later.json"
    assert run("trust", "--public", made.public, "--out", trust).exit_code == 0
    for folder in (made.root / "export", made.adapter_home("lapd") / "log"):
        assert run("verify", folder, "--trust", trust).exit_code == 0
    assert kinds(made)[-3:] == ["exported", "deleted", "deleted"]


def test_while_the_agreement_is_in_force_nothing_is_closed(made: FederationOnDisk) -> None:
    """Its records are still being made, and may be retrieved."""
    done = close(made, agency="lahd")
    assert done.exit_code == 1
    assert "is in force until" in done.output


def test_without_an_export_nothing_is_deleted(made: FederationOnDisk) -> None:
    """What the agency has not got is not deleted."""
    done = close(made, "--delete")
    assert done.exit_code == 1
    assert "holds no export" in done.output
    assert held_bytes(made, 1)


def changed_value(folder: Path) -> None:
    path = folder / "records.jsonl"
    path.write_text(path.read_text().replace("PLATE003", "PLATE004", 1))


def lost_line(folder: Path) -> None:
    path = folder / "records.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def closed_field(folder: Path) -> None:
    path = folder / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    del lines[3]["openings"]["plate"]
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")


def without_evidence(folder: Path) -> None:
    path = folder / "records.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["kept"] = {}
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")


@pytest.mark.parametrize("spoil", [changed_value, lost_line, closed_field, without_evidence])
def test_export_that_is_not_whole_deletes_nothing(
    spoil: Callable[[Path], None], made: FederationOnDisk
) -> None:
    """A changed value, a lost record, a field that is closed in it: then all stays here."""
    assert (done := close(made)).exit_code == 0, done.output
    spoil(made.root / "export")
    done = close(made, "--delete")
    assert done.exit_code == 1
    assert "nothing is deleted" in done.output
    assert all(held_bytes(made, number) for number in range(20))


def test_export_of_another_agency_deletes_nothing(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder must be this agency's."""
    assert (done := close(made)).exit_code == 0, done.output
    monkeypatch.setattr(AgreementView, "in_force", lambda self, now: False)
    done = close(made, "--delete", agency="lahd")
    assert done.exit_code == 1
    assert "holds the records of `sheriff`'s users" in done.output
    assert held_bytes(made, 1)


def test_held_case_outlives_its_contract(made: FederationOnDisk) -> None:
    """What is under legal hold stays until the hold is lifted; then the same command deletes it (L5)."""
    home = made.adapter_home("lapd")
    assert run("hold", home, "--case", "Case 3", "--reason", "discovery order").exit_code == 0
    assert (done := close(made)).exit_code == 0, done.output
    done = close(made, "--delete")
    assert "held, so they stay: 1 records" in done.output
    assert [number for number in range(1, 20, 2) if held_bytes(made, number)] == [3]
    assert run("hold", home, "--case", "case 3", "--lift", "--reason", "ended").exit_code == 0
    assert close(made, "--delete").exit_code == 0
    assert not held_bytes(made, 3)


def test_hold_is_logged_with_case_and_reason_committed(made: FederationOnDisk) -> None:
    """The log tells of the hold and of its end; which case and why stand in it as commitments."""
    home = made.adapter_home("lapd")
    assert run("hold", home, "--case", "case 3", "--reason", "discovery order").exit_code == 0
    listed = run("hold", home, "--list", "--json")
    assert json.loads(listed.output)["holds"][0]["case"] == "case 3"
    leaf = [leaf for _, leaf in TileFolder(home / "log").all_entries(21)][-1]
    entry = parse_entry(leaf)
    assert (entry.kind, entry.public) == ("held", {"lifted": False})
    assert b"discovery" not in leaf and b"case 3" not in leaf
    opened = read_openings(home / "state.db")[20]
    assert entry.open(opened["case"]) == "case 3"
    assert entry.open(opened["reason"]) == "discovery order"


def test_lift_of_a_case_that_is_not_held_is_refused(made: FederationOnDisk) -> None:
    """A misspelt case number is told, and nothing is logged."""
    home = made.adapter_home("lapd")
    done = run("hold", home, "--case", "none such", "--lift", "--reason", "x")
    assert done.exit_code == 2
    assert "not held" in done.output
    assert kinds(made) == ["received"] * 20


def test_retain_says_what_is_due_before_it_deletes(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run tells and deletes nothing; the real one deletes what was told, and names the terms."""
    home = made.adapter_home("lapd")
    text = (home / "adapter.toml").read_text()
    table = "\n[retention]\nopenings_days = 2\nenvelopes_days = 1\ngrace_days = 0\n"
    (home / "adapter.toml").write_text(text.replace("\n[[store]]", table + "\n[[store]]", 1))
    assert run("hold", home, "--case", "case 4", "--reason", "discovery order").exit_code == 0
    later = utc_now() + timedelta(days=3)
    monkeypatch.setattr("comity.cli.audit_retain.utc_now", lambda: later)
    told = json.loads(run("retain", home, "--dry-run", "--json").output)
    assert (told["openings"]["count"], told["envelopes"]["count"], told["held_entries"]) == (57, 38, 2)
    assert held_bytes(made, 1)
    done = run("retain", home)
    assert done.exit_code == 0, done.output
    assert "deleted, of entries 0 to" in done.output
    assert [number for number in range(20) if held_bytes(made, number)] == [4]


def test_retain_with_a_clock_that_nobody_vouches_for_deletes_nothing(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose clock is twenty years ahead says so, and keeps everything."""
    ahead = utc_now() + timedelta(days=20 * 365)
    monkeypatch.setattr("comity.cli.audit_retain.utc_now", lambda: ahead)
    done = run("retain", made.adapter_home("lapd"))
    assert done.exit_code == 1
    assert "nothing is deleted: by this clock it is" in done.output
    assert held_bytes(made, 1)


def test_misspelt_term_is_named_at_every_end(made: FederationOnDisk) -> None:
    """Broker, gateway and adapter have the same table, and refuse what can't be meant in it."""
    for role, home in (
        ("broker", made.broker_home),
        ("gateway", made.gateway_home("sheriff")),
        ("adapter", made.adapter_home("lapd")),
    ):
        with (home / f"{role}.toml").open("a") as settings:
            settings.write("\n[retention]\nopenings_day = 3\n")
        done = run("retain", home)
        assert done.exit_code == 2
        assert "did you mean `openings_days`?" in done.output, role


def test_folder_that_is_no_end_is_wrong_use(tmp_path: Path) -> None:
    """The message says what was expected in it."""
    done = run("retain", tmp_path)
    assert done.exit_code == 2
    assert "one of `adapter.toml`, `gateway.toml`, `broker.toml` is expected" in done.output


def test_period_of_an_export_is_the_whole_log() -> None:
    """Whatever a clock once said, no entry lies outside."""
    assert audit_close_contract.BEGINNING.year == 1970
    assert audit_close_contract.END.year > 5_000
    assert "lapd" in SIMULATED
