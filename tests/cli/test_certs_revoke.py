"""`comity certs revoke` by an agency itself: its own things, its own list, and what is said otherwise."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.envelope import from_json, seal, to_json
from comity.certs.keys import SigningKey
from comity.certs.revoking import revoke_own
from comity.cli.certs import group
from comity.cli.federation import group as federation_group
from comity.v1.federation_pb2 import RevocationList
from tests.support.federation import FederationOnDisk, build_federation

DAY = timedelta(days=1)
REASON = ("--reason", "key-compromise")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    return build_federation(tmp_path_factory.mktemp("revoke") / "f", utc_now(), ("lapd", "lahd"))


@pytest.fixture
def made(built: FederationOnDisk, tmp_path: Path) -> FederationOnDisk:
    shutil.copytree(built.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=built.spec)


def revoke(made: FederationOnDisk, *words: object) -> Result:
    line = ["revoke", "--dir", str(made.home("lapd")), *map(str, words)]
    result = CliRunner().invoke(group, line, env={"COLUMNS": "120"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_agency_revokes_its_own_and_sees_it(made: FederationOnDisk) -> None:
    """A leaf with its key, a statement key and a user; then the list is signed anew, and status shows it."""
    home = made.home("lapd")
    key = SigningKey.load(home / "gateway/keys/statement.key").public.key_id
    words = ("--certificate", home / "adapter/keys/leaf.pem", "--key", "--statement-key", key[:12])
    done = revoke(made, *words, "--user", "j.ortega", *REASON, "--days", 7, "--json")
    told = json.loads(done.stdout)
    assert (told["issuer"], told["version"], told["added"]) == ("lapd", 1, 4)
    assert Path(told["list"]) == made.public / "revocations-lapd.json"
    done = revoke(made, "--refresh")
    assert done.exit_code == 0 and "version 2" in done.output and "j.ortega" not in done.output
    shown = CliRunner().invoke(group, ["status", str(home), "--json"])
    rows = json.loads(shown.stdout)["credentials"]
    states = {(row["kind"], row["condition"]) for row in rows if row["owner"] == "lapd"}
    assert {("revocations", "good"), ("statement key", "revoked"), ("leaf", "unusable")} <= states
    judged = CliRunner().invoke(
        group, ["doctor", str(home / "adapter/keys/leaf.pem"), "--from", str(made.gateway_home("lahd"))]
    )
    assert judged.exit_code == 1 and "it was revoked" in judged.output


WRONG = {
    "another agency": (("--agency", "lahd", "--serial", "07", *REASON), "revokes nothing of `lahd`"),
    "all of it": (("--everything", *REASON), "the governing authority's"),
    "another's certificate": (
        ("--certificate", "LAHD/adapter/keys/leaf.pem", *REASON),
        "is no certificate of `lapd`",
    ),
    "another's CA": (("--certificate", "LAHD/ca.pem", *REASON), "is no certificate of `lapd`"),
    "another's statement key": (("--statement-key", "zzzz", *REASON), "is not one of"),
    "another's identity key": (
        ("--serial", "07", "--identity", "LAHD/identity.pem", *REASON),
        "not the one that the roster names",
    ),
    "nothing": (REASON, "nothing to revoke"),
    "no reason": (("--serial", "07"), "missing option '--reason'"),
    "refresh with more": (("--refresh", "--serial", "07"), "--refresh adds nothing"),
    "nothing to refresh": (("--refresh",), "has no list of its own yet"),
    "for ever": (("--serial", "07", "--days", "399", *REASON), "1<=x<=398"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_an_agency_cannot_revoke_is_told(
    made: FederationOnDisk, words: tuple[str, ...], said: str
) -> None:
    """Exit status 2, what would be right, and no list."""
    lahd = str(made.home("lahd"))
    done = revoke(made, *(word.replace("LAHD", lahd) for word in words))
    assert done.exit_code == 2 and said in " ".join(done.output.split()), done.output
    assert not (made.public / "revocations-lapd.json").exists()


def test_agency_that_lapsed_is_shown_so(made: FederationOnDisk) -> None:
    """By the doctor, at itself and at others, by its own status and in the roster; with what to do."""
    home = AgencyHome.load(made.home("lapd"))
    revoke_own(home, [], utc_now() - 2 * DAY, lifetime=DAY, identity=home.identity())
    leaf = made.adapter_home("lapd") / "keys" / "leaf.pem"
    for standpoint, whose in ((made.gateway_home("lahd"), "peer"), (made.gateway_home("lapd"), "own")):
        told = CliRunner().invoke(group, ["doctor", str(leaf), "--from", str(standpoint), "--json"])
        found = [one for one in json.loads(told.stdout)["findings"] if one["code"] == "lapsed"]
        assert told.exit_code == 1 and found[0]["whose"] in (whose, "peer")
        assert "comity certs revoke --dir AGENCY --refresh" in found[0]["act"]
    shown = CliRunner().invoke(group, ["status", str(home.home), "--findings"], env={"COLUMNS": "160"})
    assert shown.exit_code == 1 and "revocations version 1: expired" in shown.output
    listed = CliRunner().invoke(federation_group, ["show", "--dir", str(made.root), "--json"])
    lapsed = {one["agency"]: one["lapsed"] for one in json.loads(listed.stdout)["members"]}
    assert "next update" in lapsed["lapd"] and lapsed["lahd"] is None
    assert revoke(made, "--refresh").exit_code == 0
    told = CliRunner().invoke(group, ["doctor", str(leaf), "--from", str(made.gateway_home("lahd"))])
    assert told.exit_code == 0, told.output


def test_nothing_follows_the_highest_version(made: FederationOnDisk) -> None:
    """A thief of the identity key may sign that: told in a line, with who can still revoke."""
    home = AgencyHome.load(made.home("lapd"))
    signed = revoke_own(home, [], utc_now(), lifetime=DAY, identity=home.identity())
    listed = RevocationList.FromString(from_json(signed.data).payload)
    listed.version = 2**64 - 1
    (home.home / "revocations.json").write_bytes(to_json(seal(listed, home.identity())))
    for words in (("--user", "j.ortega", *REASON), ("--refresh",)):
        done = revoke(made, *words)
        said = " ".join(done.output.split())
        assert done.exit_code == 2 and "version 18446744073709551615 is the highest" in said, said
        assert "comity certs revoke --dir FEDERATION --agency lapd" in said


def test_own_statement_key_that_is_revoked_is_a_finding(made: FederationOnDisk) -> None:
    """A monitor that runs `status` hears of it, and who asks the doctor; at the other end it is none."""
    home, other = made.home("lapd"), made.home("lahd")
    key = SigningKey.load(home / "adapter/keys/statement.key").public.key_id
    assert revoke(made, "--statement-key", key[:12], *REASON).exit_code == 0

    def run(*words: object) -> Result:
        return CliRunner().invoke(group, [str(word) for word in words], env={"COLUMNS": "160"})

    for folder, status in ((home, 1), (home / "adapter", 1), (home / "gateway", 0), (other, 0)):
        shown = run("status", folder)
        assert shown.exit_code == status, shown.output
        assert "only another key helps: comity certs rotate statement-key" in shown.output
    leaf = home / "adapter" / "keys" / "leaf.pem"
    for folder, own in ((home / "adapter", True), (home / "gateway", False)):
        told = run("doctor", "127.0.0.1:1", "--from", folder, "--seconds", 1, "--json")
        found = [one for one in json.loads(told.stdout)["findings"] if one["code"] == "revoked"]
        assert bool(found) is own, (leaf, told.output)
        assert not own or (found[0]["whose"] == "own" and "statement key" in found[0]["text"])


def test_revoked_ca_is_shown_as_revoked(made: FederationOnDisk) -> None:
    """Its own row says so; not only the leaves below it, which may lie on other hosts."""
    home = made.home("lapd")
    assert revoke(made, "--certificate", home / "ca.pem", *REASON).exit_code == 0
    shown = CliRunner().invoke(group, ["status", str(made.home("lahd")), "--json"])
    cas = {one["owner"]: one for one in json.loads(shown.stdout)["credentials"] if one["kind"] == "CA"}
    assert (cas["lapd"]["condition"], cas["lahd"]["condition"]) == ("revoked", "good")
    assert "comity certs rotate ca" in cas["lapd"]["act"]
    assert CliRunner().invoke(group, ["status", str(home), "--own"]).exit_code == 1


def test_keys_that_are_offline_are_asked_for(made: FederationOnDisk, tmp_path: Path) -> None:
    """What is to be brought, or said: not just that a file is missing."""
    home = made.home("lapd")
    for name in ("identity.pem", "ca.key"):
        (home / name).rename(tmp_path / name)
    for words, option in (
        (("revoke", "--dir", home, "--user", "j.ortega", *REASON), "say where it is (--identity)"),
        (("rotate", "statement-key", home / "adapter"), "say where it is (--identity)"),
        (("issuing", home, tmp_path / "issuing"), "the key of the CA"),
    ):
        done = CliRunner().invoke(group, [str(word) for word in words], env={"COLUMNS": "200"})
        assert done.exit_code == 2 and "bring it from where it is kept offline" in done.output, done.output
        assert option in done.output
    done = revoke(made, "--user", "j.ortega", *REASON, "--identity", tmp_path / "identity.pem")
    assert done.exit_code == 0, done.output
