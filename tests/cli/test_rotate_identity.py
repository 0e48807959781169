"""`comity certs rotate identity` and `comity agreement accept-identity`, as people use them (design 4)."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.certs.authority import application, read_application
from comity.certs.clock import utc_now
from comity.certs.key_changes import EndFolder, apply_with_successor
from comity.certs.keys import SigningKey
from comity.certs.successions import succeed
from comity.cli.main import cli
from tests.support.federation import FederationOnDisk, build_federation


class Administrators:
    """What the people of two agencies and of the authority type."""

    def __init__(self, made: FederationOnDisk, folder: Path) -> None:
        self.made, self.folder = made, folder
        self.lapd, self.lahd = made.home("lapd"), made.home("lahd")

    def types(self, *arguments: object, status: int = 0) -> str:
        done = CliRunner().invoke(cli, [str(each) for each in arguments])
        assert done.exit_code == status, done.output
        return done.output

    def told(self, *arguments: object, status: int = 0) -> dict[str, object]:
        found = json.loads(self.types(*arguments, "--json", status=status))
        assert isinstance(found, dict)
        return found

    def rotate(self, home: Path, *options: str, status: int = 0) -> dict[str, object]:
        return self.told("certs", "rotate", "identity", home, *options, status=status)

    def admit(self, home: Path, status: int = 0) -> str:
        return self.types(
            "federation", "admit", home / "application.json", "--dir", self.made.root, status=status
        )

    def accept(self, *options: str, status: int = 0) -> str:
        return self.types(
            *("agreement", "accept-identity", "lapd", "--dir", self.lahd, "--out", self.folder, *options),
            status=status,
        )

    def findings(self, home: Path, status: int = 0) -> list[str]:
        found = self.told("certs", "status", home, "--findings", status=status)["credentials"]
        assert isinstance(found, list)
        return [f"{row['owner']} {row['condition']}: {row['act']}" for row in found]

    def state(self, home: Path) -> str:
        found = self.told("agreement", "list", "--dir", home)["agreements"]
        assert isinstance(found, list)
        return str(found[0]["state"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    return build_federation(tmp_path_factory.mktemp("built") / "f", utc_now(), ("lapd", "lahd"))


@pytest.fixture
def people(built: FederationOnDisk, tmp_path: Path) -> Administrators:
    shutil.copytree(built.root, tmp_path / "f")
    return Administrators(FederationOnDisk(root=tmp_path / "f", spec=built.spec), tmp_path)


def test_identity_key_is_replaced_step_by_step(people: Administrators) -> None:
    """Prepared, admitted, in force, accepted: at each step everybody's status tells what is next."""
    lapd, lahd = people.lapd, people.lahd
    old = SigningKey.load(lapd / "identity.pem").key_id
    prepared = people.rotate(lapd, "--because", "a custodian left")
    new = str(prepared["new_key"])
    assert (prepared["state"], prepared["old_key"], prepared["counterparties"]) == ("prepared", old, ["lahd"])
    assert (lapd / "identity.next.pem").stat().st_mode & 0o777 == 0o600
    assert people.rotate(lapd / "gateway")["new_key"] == new  # again: the same key
    admitted = people.admit(lapd)
    assert f"{new}, for which {old} vouches" in admitted
    early = people.types("certs", "rotate", "ca", lapd / "gateway", status=2)
    assert "finish that first: comity certs rotate identity" in early
    replaced = people.rotate(lapd)
    assert (replaced["state"], replaced["not_accepted"]) == ("replaced", ["lahd"])
    assert SigningKey.load(lapd / "identity.pem").key_id == new
    assert SigningKey.load(Path(str(replaced["destroy"]))).key_id == old
    assert people.rotate(lapd)["destroy"] is None  # again: nothing happens while the overlap lasts
    assert "compare and accept it by" in people.findings(lahd)[0]
    assert "no acceptance of lahd is here" in people.findings(lapd)[0]
    dates = people.told("agency", "calendar", "--dir", lahd)["due"]
    assert isinstance(dates, list)
    assert any("accept the new identity key of lapd" in str(one["what"]) for one in dates)

    shown = people.accept()
    assert old in shown and f"new key      {new}" in shown and "moa-lapd-lahd" in shown
    assert "a custodian left" in shown and f"--key {new}" not in shown
    wrong = people.accept("--key", old, status=2)
    assert "nothing was accepted; find out from `lapd` itself" in wrong
    assert not list(people.folder.glob("*accepted*"))
    people.accept("--key", new)
    assert people.findings(lahd) == []
    (given,) = people.folder.glob("*accepted*.json")
    people.types("agreement", "accept", given, "--dir", lapd)
    assert people.findings(lapd) == [] and people.rotate(lapd)["not_accepted"] == []
    shown = people.types("agreement", "show", lahd / "agreements/moa-lapd-lahd.json", "--dir", lahd)
    assert f"gave way to {new}" in shown and "accepted by lahd" in shown
    assert "waits for a new identity key" in people.accept("--key", new, status=2)
    people.rotate(lapd, "--again")
    people.admit(lapd)
    assert people.rotate(lapd)["state"] == "replaced"
    assert people.state(lahd) == people.state(lapd) == "in force"


def test_without_an_overlap_it_rests_until_it_is_accepted(people: Administrators) -> None:
    """A key that may be in other hands ends at once: the other party's status is red until it accepts."""
    people.rotate(people.lapd, "--overlap-days", "0")
    people.admit(people.lapd)
    people.rotate(people.lapd)
    assert people.state(people.lahd) == "rests" and people.state(people.lapd) == "in force"
    assert people.findings(people.lahd, status=1)[0].startswith("lapd overdue")
    moa = people.lahd / "agreements/moa-lapd-lahd.json"
    assert "was not accepted by" in people.types("agreement", "show", moa, "--dir", people.lahd, status=1)
    people.accept("--key", SigningKey.load(people.lapd / "identity.pem").key_id)
    assert people.state(people.lahd) == "in force"


def test_lost_key_vouches_for_nobody(people: Administrators) -> None:
    """Who has another key than the roster's makes no succession, nor has one who has none."""
    people.rotate(people.lapd)
    SigningKey.generate().save(people.lapd / "other.pem")
    wrong = people.types(
        *("certs", "rotate", "identity", people.lapd, "--identity", people.lapd / "other.pem"), status=2
    )
    assert "is not the identity key that the roster names for `lapd`" in wrong
    (people.lapd / "identity.pem").unlink()
    assert "one that was lost can't vouch for another" in people.types(
        "certs", "rotate", "identity", people.lapd, status=2
    )


def test_revoked_key_vouches_for_nobody_and_its_agency_is_suspended(people: Administrators) -> None:
    """The authority takes no succession from it, and while the roster names it nothing is in force."""
    key = SigningKey.load(people.lapd / "identity.pem").key_id
    people.types(
        *("certs", "revoke", "--dir", people.made.root, "--agency", "lapd"),
        *("--identity-key", key[:8], "--reason", "key-compromise"),
    )
    federation = people.made.federation(utc_now())
    assert federation.member("lapd").suspended and not federation.member("lahd").suspended
    people.rotate(people.lapd)
    refused = people.admit(people.lapd, status=1)
    assert "revoked since" in refused and "vouches for no new one" in refused
    now, end = utc_now(), EndFolder.load(people.lapd / "gateway")
    old, new = SigningKey.load(people.lapd / "identity.pem"), SigningKey.generate()
    back = succeed(
        *(old, new),
        agency="lapd",
        number=1,
        now=now - timedelta(days=1),
        overlap=timedelta(days=30),
        reason="dated back by who has the old key",
    )
    apply_with_successor(end, end.federation(now), back, new=new, now=now)
    assert "vouches for no new one" in people.admit(people.lapd, status=1)


def test_authority_admits_no_succession_ahead_of_its_time_and_none_that_forgets_one(
    people: Administrators,
) -> None:
    """A key that counts from tomorrow is admitted tomorrow; what was published before stays in the chain."""
    now, end = utc_now(), EndFolder.load(people.lapd / "gateway")
    old, new = SigningKey.load(people.lapd / "identity.pem"), SigningKey.generate()
    values = {
        "agency": "lapd",
        "number": 1,
        "now": now,
        "overlap": timedelta(days=1),
        "reason": "on schedule",
    }
    early = succeed(old, new, effective_at=now + timedelta(days=1), **values)  # type: ignore[arg-type]
    apply_with_successor(end, end.federation(now), early, new=new, now=now)
    assert "admit it then" in people.admit(people.lapd, status=1)
    step = succeed(old, new, **values)  # type: ignore[arg-type]
    apply_with_successor(end, end.federation(now), step, new=new, now=now)
    people.admit(people.lapd)
    member, _ = read_application((people.lapd / "application.json").read_bytes())
    del member.successions[:]
    (people.lapd / "application.json").write_bytes(application(member, new))
    assert "leaves out or changes a succession" in people.admit(people.lapd, status=1)


def test_operator_replaces_its_identity_key(people: Administrators) -> None:
    """It has no agreements: once the authority has admitted the new key, that is all."""
    operator = people.made.root / "operator"
    new = people.rotate(operator)["new_key"]
    people.admit(operator)
    assert people.rotate(operator)["not_accepted"] == []
    assert people.made.federation(utc_now()).operator.identity_key.key_id == new
