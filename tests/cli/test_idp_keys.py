"""The identity provider's keys change: announced, used, the old one dropped; nothing is ever fetched."""

import json
import shutil
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result

from comity.certs.agency import AgencyHome
from comity.certs.assertions import verify_assertion
from comity.certs.authority import admit
from comity.certs.clock import utc_now
from comity.certs.errors import AssertionInvalid
from comity.certs.identity_provider import User
from comity.certs.jwks import es256_keys, to_jwks
from comity.certs.keys import SigningKey
from comity.certs.x509 import split_pem
from comity.cli.agency import group
from tests.support.lone_agency import lone_agency


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, now = tmp_path_factory.mktemp("idp") / "fed", utc_now()
    home = lone_agency(root, now)
    home.identity_provider().add_user(User(user="r.diaz", roles=("investigator",), trained_on=now.date()))
    return root


@pytest.fixture
def fed(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "fed")


def run(fed: Path, *arguments: str) -> Result:
    line = ["idp-keys", "--dir", str(fed / "lapd"), *arguments]
    result = CliRunner().invoke(group, line)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def admitted(fed: Path) -> None:
    admit(fed, [(fed / "lapd" / "application.json").read_bytes()], utc_now())


def log_on(fed: Path) -> str:
    """What the agency's own provider says of its user now."""
    leaf = split_pem((fed / "lapd/clients/desk/leaf.pem").read_bytes())[0]
    return AgencyHome.load(fed / "lapd").identity_provider().issue("r.diaz", leaf, utc_now())


def is_accepted(fed: Path, assertion: str) -> bool:
    """Whether a gateway, and any provider, takes it under the roster of now."""
    member = AgencyHome.load(fed / "lapd").federation(utc_now()).member("lapd")
    leaf = split_pem((fed / "lapd/clients/desk/leaf.pem").read_bytes())[0]
    try:
        verify_assertion(assertion, member=member, now=utc_now(), certificate_der=leaf)
    except AssertionInvalid as error:
        assert "`kid` names no key of its issuer" in str(error)
        return False
    return True


def test_rotation_locks_nobody_out(fed: Path) -> None:
    """At each step whoever logs on is accepted; the old key counts until it is dropped, and not after."""
    first = log_on(fed)
    assert is_accepted(fed, first)
    assert "announced" in run(fed, "--next").output
    assert is_accepted(fed, log_on(fed)), "the announced key doesn't sign before it is admitted"
    admitted(fed)
    assert is_accepted(fed, first) and is_accepted(fed, log_on(fed))
    assert "10 minutes or later" in run(fed, "--next").output
    second = log_on(fed)
    assert is_accepted(fed, first) and is_accepted(fed, second), "both keys count while they overlap"
    admitted(fed)
    assert is_accepted(fed, second) and is_accepted(fed, log_on(fed))
    assert not is_accepted(fed, first), "what the dropped key signed counts for nobody"


def test_step_is_taken_once(fed: Path) -> None:
    """Asked for again before the admission, it makes no third key and doesn't switch."""
    keys = [json.loads(run(fed, "--next", "--json").output)["keys"] for _ in range(2)]
    assert keys[0] == keys[1] and len(keys[0]) == 2


def test_jwks_of_a_real_provider_is_announced_and_then_alone(fed: Path, tmp_path: Path) -> None:
    """A downloaded JWK set: beside the keys of before, then alone; unchanged it is no application."""
    fresh = SigningKey.generate().public
    path = tmp_path / "jwks.json"
    path.write_bytes(to_jwks({"fresh": fresh}))
    before = json.loads(run(fed, "--json").output)["keys"]
    assert json.loads(run(fed, "--jwks", str(path), "--json").output)["keys"] == [*before, "fresh"]
    admitted(fed)
    assert "nothing changes" in run(fed, "--jwks", str(path)).output
    assert json.loads(run(fed, "--jwks", str(path), "--only", "--json").output)["keys"] == ["fresh"]
    admitted(fed)
    (provider,) = (
        AgencyHome.load(fed / "lapd").federation(utc_now()).member("lapd").key_set.identity_providers
    )
    assert es256_keys(provider.jwks) == {"fresh": fresh}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fed: ["--jwks", str(fed / "lapd" / "identity.pem")],
        lambda fed: ["--jwks", str(fed / "nothing.json")],
        lambda fed: ["--only"],
        lambda fed: ["--next", "--issuer", "https://elsewhere.example"],
        lambda fed: (fed / "lapd" / "identity.pem").unlink() or ["--next"],
    ],
    ids=["no-jwks", "no-file", "only-what", "no-issuer", "offline-key"],
)
def test_wrong_use_is_one_line(fed: Path, spoil: Callable[[Path], list[str]]) -> None:
    """What can't be is refused with exit 2, and no application is written."""
    before = (fed / "lapd" / "application.json").read_bytes()
    assert run(fed, *spoil(fed)).exit_code == 2
    assert (fed / "lapd" / "application.json").read_bytes() == before


def test_unknown_key_is_refused_at_once_and_nothing_is_fetched(
    fed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand assertions of a key that nobody announced cost no look-up: no file, no network."""
    idp = fed / "lapd" / "idp"
    SigningKey.generate().save(idp / "idp.key")
    member = AgencyHome.load(fed / "lapd").federation(utc_now()).member("lapd")
    stranger = log_on(fed)
    leaf = split_pem((fed / "lapd/clients/desk/leaf.pem").read_bytes())[0]

    def nowhere(*_: object, **__: object) -> NoReturn:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket, "socket", nowhere)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr(Path, "open", nowhere)
    monkeypatch.setattr(Path, "read_bytes", nowhere)
    parsed = es256_keys.cache_info().misses
    for _ in range(1000):
        with pytest.raises(AssertionInvalid, match="names no key of its issuer"):
            verify_assertion(
                stranger, member=member, now=utc_now() + timedelta(seconds=1), certificate_der=leaf
            )
    assert es256_keys.cache_info().misses - parsed <= 1, "the set is parsed once, not once an assertion"
