"""`comity agency users`, `suspensions`, `terminate-user` and `readmit-user`, as they are run (L9, Q8)."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.entry import Entry, to_milliseconds
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.certs.authority import revoke
from comity.certs.clock import utc_now
from comity.certs.envelope import from_json
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.revocations import key_digest
from comity.certs.roster import Federation
from comity.certs.user_acts import FOLDER, NEW, verify_user_act
from comity.cli.agency import group
from comity.v1.federation_pb2 import Revocation
from tests.support.federation import FederationOnDisk, build_federation

NOW = utc_now()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """LAPD with a log: its user asked, a stranger did too, and CBP suspended the user."""
    made = build_federation(tmp_path_factory.mktemp("users") / "f", NOW, ("lapd", "lahd"))
    asyncio.run(_logged(made))
    return made


async def _logged(made: FederationOnDisk) -> None:
    home, user = made.gateway_home("lapd"), made.user("lapd")
    origin = "lapd.example/gateway"
    key = LogKey.load(home / "keys" / "log.key", origin)
    log = await SignedLog.open(home, origin=origin, key=key, clock=utc_now)
    since = to_milliseconds(NOW - timedelta(hours=2))
    for who in (user, "ghost"):
        await log.append(
            Entry(kind="logged_on", at=NOW, private={"user": who, "trained": "2020-01-01T00:00:00Z"})
        )
        await log.append(Entry(kind="asked", at=NOW, private={"user": who}))
    suspended = {"peer": "lahd", "since": since, "returns": "recertification", "refusals": 5, "notice": "n"}
    await log.append(Entry(kind="user_suspended", at=NOW, public=suspended, private={"user": user}))
    await log.close()


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(group, [str(word) for word in words], env={"COLUMNS": "160"})


def test_list_of_the_identity_provider_is_held_to_the_log(made: FederationOnDisk) -> None:
    """Who searched and isn't listed is wrong: exit 1; who is suspended, and where, is told (L9, Q8)."""
    result = run("users", "--dir", made.home("lapd"))
    assert result.exit_code == 1, result.output
    assert "! searches, but is on no list" in result.output and "ghost" in result.output
    assert "suspended at lahd" in result.output
    told = json.loads(run("users", "--dir", made.home("lapd"), "--json").stdout)
    ghost = next(each for each in told["users"] if each["user"] == "ghost")
    assert (ghost["findings"], ghost["questions"], told["wrong"]) == (["not_listed"], 1, 1)


def test_lists_of_ones_own_with_other_headers(made: FederationOnDisk, tmp_path: Path) -> None:
    """CSV from elsewhere: everybody listed, trained and reviewed is nothing wrong (L9)."""
    user, day = made.user("lapd"), (NOW - timedelta(days=30)).date()
    listed, training = tmp_path / "users.csv", tmp_path / "days.csv"
    listed.write_text(f"login,account_reviewed_on\n{user},{day}\nghost,{day}\n")
    training.write_text(f"login,trained_on\n{user},{day}\nghost,{day}\n")
    words = ("users", "--dir", made.home("lapd"), "--list", listed, "--training", training)
    result = run(*words, "--column", "user=login", "--all")
    assert result.exit_code == 0, result.output
    assert "nothing is wrong" in result.output
    training.write_text(f"login,trained_on\n{user},{day}\n")
    result = run(*words, "--column", "user=login")
    assert result.exit_code == 1 and "! listed, no training on record" in result.output
    assert run(*words).exit_code == 2, "the list has no column `user`"
    wrong = run(*words, "--column", "login=user")
    assert wrong.exit_code == 2 and "NAME=HEADER" in wrong.output


def test_suspensions_are_listed_with_how_access_returns(made: FederationOnDisk) -> None:
    """User, provider and what must be done; exit 1 while somebody is suspended (Q8)."""
    result = run("suspensions", "--dir", made.home("lapd"))
    assert result.exit_code == 1 and "lahd" in result.output
    assert "comity agency readmit-user" in " ".join(result.output.split())
    told = json.loads(run("suspensions", "--dir", made.home("lapd"), "--json").stdout)
    assert told["open"] == 1 and told["suspensions"][0]["returns"] == "recertification"


def test_agency_whose_gateway_never_ran_is_told_so(made: FederationOnDisk) -> None:
    """No log, nothing to compare: wrong use, in one line (L9)."""
    result = run("users", "--dir", made.home("lahd"))
    assert result.exit_code == 2 and "has not run yet" in result.output


def test_acts_are_signed_and_name_nobody_outside(made: FederationOnDisk) -> None:
    """The file is the agency's signed act, private, its name tells nothing of the user (Q8)."""
    user = made.user("lapd")
    told = json.loads(run("terminate-user", user, "--dir", made.home("lapd"), "--json").stdout)
    path = Path(told["file"])
    assert path.parent == made.gateway_home("lapd") / FOLDER / NEW
    assert user not in path.name and path.stat().st_mode & 0o077 == 0
    member = Federation.load(made.public, now=utc_now()).member("lapd")
    act = verify_user_act(from_json(path.read_bytes()), member=member, now=utc_now())
    assert act.terminates and act.user == user
    back = run("readmit-user", "no.body", "--dir", made.home("lapd"), "--recertified", "2026-01-01")
    assert back.exit_code == 0 and "check the spelling" in back.output
    alone = run("readmit-user", user, "--dir", made.home("lapd"))
    assert "a provider's suspension may want --recertified TIME" in alone.output
    ahead = run("readmit-user", user, "--dir", made.home("lapd"), "--recertified", "2999-01-01")
    assert ahead.exit_code == 2 and "has not come yet" in ahead.output
    lines = run("terminate-user", "two\nlines", "--dir", made.home("lapd"))
    assert lines.exit_code != 0 and "Traceback" not in lines.output


def test_agency_without_a_demonstration_provider_is_asked_for_its_list(
    made: FederationOnDisk, tmp_path: Path
) -> None:
    """An agency that brings its own: the option that gives its users is named (L9)."""
    root = shutil.copytree(made.root, tmp_path / "f")
    home = FederationOnDisk(root=root, spec=made.spec).home("lapd")
    shutil.rmtree(home / "idp")
    result = run("users", "--dir", home)
    assert (result.exit_code, "--list FILE" in " ".join(result.output.split())) == (2, True)


def test_act_under_a_revoked_key_is_refused_with_what_mends_it(
    made: FederationOnDisk, tmp_path: Path
) -> None:
    """No provider would take it: the key is replaced first."""
    root = shutil.copytree(made.root, tmp_path / "f")
    copy = FederationOnDisk(root=root, spec=made.spec)
    key = SigningKey.load(copy.gateway_home("lapd") / "keys" / "statement.key").public
    entry = Revocation(
        agency="lapd",
        public_key=key_digest(key.der),
        revoked_at=from_instant(utc_now()),
        reason="REVOCATION_REASON_KEY_COMPROMISE",
    )
    revoke(root, [entry], utc_now())
    result = run("terminate-user", made.user("lapd"), "--dir", copy.home("lapd"))
    assert result.exit_code != 0 and "comity certs rotate statement-key" in result.output
