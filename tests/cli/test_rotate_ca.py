"""An agency's CA gives way to another: its systems know the gateway by either meanwhile, and get leaves."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.certs.agency import AgencyHome
from comity.certs.authority import admit
from comity.certs.clock import utc_now
from comity.certs.errors import FileUnusable
from comity.certs.pairs import LeafPair
from comity.certs.roster import Federation
from comity.certs.x509 import split_pem, verify_leaf
from comity.cli.asking import load_client
from comity.cli.certs import group
from tests.support.lone_agency import lone_agency


@pytest.fixture
def fed(tmp_path: Path) -> Path:
    root, now = tmp_path / "fed", utc_now()
    lone_agency(root, now)
    return root


def run(fed: Path, *words: str) -> dict[str, str]:
    done = CliRunner().invoke(group, [*words, "--json"])
    assert done.exit_code == 0, done.output
    found: dict[str, str] = json.loads(done.stdout)
    return found


def rotate(fed: Path, *words: str) -> str:
    return run(fed, "rotate", "ca", str(fed / "lapd" / "gateway"), *words)["state"]


def admitted(fed: Path) -> Federation:
    return admit(fed, [(fed / "lapd" / "application.json").read_bytes()], utc_now())


def ca(fed: Path) -> bytes:
    return (fed / "lapd" / "ca.pem").read_bytes()


def trusted(fed: Path) -> tuple[bytes, ...]:
    return split_pem(load_client(fed / "lapd" / "clients" / "desk" / "client.toml").ca)


def test_own_systems_know_the_gateway_by_the_old_ca_and_the_new_one_until_the_overlap_ends(
    fed: Path,
) -> None:
    """From the step on with which the new CA issues, until --finish: then the old one alone is forgotten."""
    for _ in range(2):  # what was left of the first time isn't in the way of the second
        (old,) = split_pem(ca(fed))
        assert trusted(fed) == (old,)
        assert rotate(fed) == "prepared"
        admitted(fed)
        assert trusted(fed) == (old,)
        assert rotate(fed) == "overlapping"
        (new,) = split_pem(ca(fed))
        assert trusted(fed) == (new, old) and new != old
        assert rotate(fed, "--finish") == "finishing"
        assert trusted(fed) == (new,)
        assert admitted(fed).member("lapd").key_set.ca_certificates == (new,)


def test_ca_that_was_revoked_is_replaced_and_forgotten(fed: Path) -> None:
    """The roster's ends know it no more, but the key set still names it: the rotation ends as any other."""
    (old,) = split_pem(ca(fed))
    words = ("--agency", "lapd", "--certificate", str(fed / "lapd" / "ca.pem"), "--reason", "key-compromise")
    run(fed, "revoke", "--dir", str(fed), *words)
    assert rotate(fed) == "prepared"
    admitted(fed)
    assert rotate(fed) == "overlapping"
    (new,) = split_pem(ca(fed))
    assert trusted(fed) == (new,) and new != old, "own systems take no gateway of the revoked CA"
    assert rotate(fed) == "overlapping"
    assert rotate(fed, "--finish") == "finishing"
    admitted(fed)
    shown = CliRunner().invoke(group, ["status", str(fed / "public"), "--json"])
    states = [one["condition"] for one in json.loads(shown.stdout)["credentials"] if one["owner"] == "lapd"]
    assert "revoked" not in states


def test_client_system_gets_a_leaf_of_the_ca_that_issues_now(fed: Path) -> None:
    """`comity certs renew` takes a client system's folder as well as an end's; the key is its own alone."""
    desk = fed / "lapd" / "clients" / "desk"
    before = LeafPair.load(desk)
    found = run(fed, "renew", str(desk), "--ca", str(fed / "lapd"), "--hours", "48")
    after, client = LeafPair.load(desk), load_client(desk / "client.toml")
    assert found["spiffe_id"] == after.spiffe_id == before.spiffe_id == "spiffe://lapd.example/system/desk"
    assert (client.leaf, client.key) == (after.chain_pem, after.key_pem) and after.serial != before.serial
    assert (desk / "leaf.key").stat().st_mode & 0o777 == 0o600
    verify_leaf(after.chain_der, ca_certificates=split_pem(ca(fed)), spiffe_id=after.spiffe_id, now=utc_now())


def test_pair_that_is_replaced_while_it_is_read_is_read_again(
    fed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that connects just when its leaf is renewed has chain and key of one leaf."""
    desk = fed / "lapd" / "clients" / "desk"
    from comity.cli import asking

    read, times = asking.read_private, []

    def read_late(path: Path) -> bytes:
        if not times:
            times.append(run(fed, "renew", str(desk), "--ca", str(fed / "lapd")))
        return read(path)

    monkeypatch.setattr(asking, "read_private", read_late)
    client = load_client(desk / "client.toml")
    assert LeafPair.of(client.leaf, client.key).serial == LeafPair.load(desk).serial


def test_file_that_is_no_request_is_named(fed: Path) -> None:
    """Among several files of one command it is said which is not what, and what makes it."""
    for name in ("ca.pem", "agency.toml"):
        words = ["issue", str(fed / "lapd" / name), "--ca", str(fed / "lapd"), "--out", str(fed / "x.pem")]
        done = CliRunner().invoke(group, words)
        assert done.exit_code == 2 and f"{name}`: request is not" in done.output, done.output
        assert "comity certs request" in done.output and not (fed / "x.pem").exists()


def test_roster_that_the_broker_brought_counts_for_commands_as_for_the_end(fed: Path) -> None:
    """The copy that was carried to the host once is old, or over: the end goes on, and so do its commands."""
    lapd, end = fed / "lapd", fed / "lapd" / "gateway"
    before = shutil.copytree(fed / "public", fed / "before")
    assert rotate(fed) == "prepared"
    version = admitted(fed).version
    (fed / "public").rename(end / "roster")
    before.rename(fed / "public")
    assert AgencyHome.load(lapd).federation(utc_now()).version == version
    assert rotate(fed) == "overlapping"
    assert run(fed, "renew", str(end), "--ca", str(lapd))["accepted"]
    (fed / "public" / "timestamp.json").unlink()
    assert rotate(fed, "--finish") == "finishing"
    shutil.rmtree(end / "roster")
    with pytest.raises(FileUnusable, match=r"timestamp\.json"):
        AgencyHome.load(lapd).federation(utc_now())
