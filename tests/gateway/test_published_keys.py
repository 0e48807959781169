"""A gateway's configuration of what its identity provider publishes, and what `comity certs status` shows."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import comity.certs.following_jwks as following
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.following_jwks import PublishedKeys
from comity.certs.jwks import es256_keys, to_jwks
from comity.certs.jwks_source import JwksSettings
from comity.certs.keys import SigningKey
from comity.cli.certs import group
from comity.gateway.config import load_config
from comity.gateway.end import _published_keys
from comity.gateway.errors import ConfigInvalid
from tests.gateway.test_limits import CONFIG
from tests.support.federation import FederationOnDisk

ISSUER, OTHER = "https://login.sheriff.example", "https://other.example"


def configured(folder: Path, table: str) -> Any:
    for name in ("public", "agreements"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "authority.json").write_text("{}")
    (folder / "gateway.toml").write_text(f"{CONFIG}\n[identity_provider]\n{table}\n")
    return load_config(folder / "gateway.toml")


def test_table_is_read_and_a_mistake_is_told_with_file_and_key(tmp_path: Path) -> None:
    """Relative to the configuration's folder; one line that says what would be right."""
    found = configured(tmp_path, 'jwks = "jwks.json"').identity_provider
    assert found.file == tmp_path / "jwks.json"
    with pytest.raises(ConfigInvalid, match=r"gateway\.toml.*identity_provider\.jwks.*expected `https`"):
        configured(tmp_path, 'jwks = "http://127.0.0.1:8080/jwks.json"')


@pytest.mark.parametrize(
    ("said", "named", "chosen"),
    [
        ("", (ISSUER,), ISSUER),
        (ISSUER, (ISSUER, OTHER), ISSUER),
        ("", (ISSUER, OTHER), None),
        (OTHER, (ISSUER,), None),
        ("", (), None),
    ],
    ids=["the only one", "the one that is said", "which of two", "none of them", "there is none"],
)
def test_issuer_is_one_that_the_roster_names(
    tmp_path: Path, said: str, named: tuple[str, ...], chosen: str | None
) -> None:
    """Else the gateway doesn't start, and is told which there are."""
    config: Any = SimpleNamespace(
        agency="sheriff", home=tmp_path, identity_provider=JwksSettings(file=tmp_path / "x", issuer=said)
    )
    providers = tuple(SimpleNamespace(issuer=issuer) for issuer in named)
    member: Any = SimpleNamespace(key_set=SimpleNamespace(identity_providers=providers))
    gateway: Any = SimpleNamespace()
    if chosen is None:
        with pytest.raises(ConfigInvalid, match=r"identity_provider\.issuer"):
            _published_keys(config, gateway, member, utc_now)
    else:
        found = _published_keys(config, gateway, member, utc_now)
        assert found is not None and found.current.issuer == chosen


async def test_start_waits_moments_for_a_provider_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then serves, with the set of before or by the roster alone."""
    monkeypatch.setattr(following, "FIRST_SECONDS", 0.02)
    hanging = threading.Event()

    class Hangs:
        def __init__(self, settings: JwksSettings) -> None:
            pass

        def run(self) -> None:
            hanging.wait(30)
            raise following.JwksUnavailable("cut")

        def cut(self) -> None:
            hanging.set()

    monkeypatch.setattr(following, "JwksRequest", Hangs)
    settings = JwksSettings(file=tmp_path / "x")
    found = PublishedKeys(settings, issuer=ISSUER, home=tmp_path, member=lambda: None, clock=utc_now)
    running = asyncio.create_task(found.run())
    await found.first()
    assert not found.current.is_known and not found.failures
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert hanging.is_set(), "a stop cuts what hangs"


def status(folder: Path) -> tuple[int, dict[tuple[str, str], str]]:
    """Return the exit status, and condition and act of the sheriff's keys of the identity provider."""
    result = CliRunner().invoke(group, ["status", str(folder), "--json"])
    rows = json.loads(result.stdout)["credentials"]
    return result.exit_code, {
        (row["kind"], row["name"].rpartition(" ")[2]): f"{row['condition']}: {row['act']}"
        for row in rows
        if row["owner"] == "sheriff" and row["kind"].startswith("IdP")
    }


@pytest.mark.long
async def test_status_tells_set_and_differences(laid_out: FederationOnDisk, tmp_path: Path) -> None:
    """Never fetched, in order, another key: each with the next act, from either folder."""
    root = shutil.copytree(laid_out.root, tmp_path / "f")
    made = FederationOnDisk(root=root, spec=laid_out.spec)
    home, provider = made.gateway_home("sheriff"), AgencyHome.load(made.home("sheriff")).identity_provider()
    path = tmp_path / "jwks.json"
    with (home / "gateway.toml").open("a") as settings:
        settings.write(f'\n[identity_provider]\njwks = "{path}"\n')
    (kid,) = es256_keys(provider.jwks)
    exited, told = status(home)
    assert exited == 1 and "never fetched" in told["IdP key set", str(path)]
    member = made.federation(utc_now()).member("sheriff")
    found = PublishedKeys(
        JwksSettings(file=path), issuer=provider.issuer, home=home, member=lambda: member, clock=utc_now
    )
    path.write_bytes(provider.jwks)
    await found.look()
    assert status(home) == (0, {("IdP key", kid): "good: ", ("IdP key set", str(path)): "good: "})
    new = SigningKey.generate()
    path.write_bytes(to_jwks({new.key_id: new.public}))
    found.current = replace(found.current, next_at=utc_now())
    await found.look()
    exited, told = status(made.home("sheriff"))
    assert exited == 0 and told["IdP key", kid].startswith("due: its provider doesn't publish it")
    assert "comity agency idp-keys" in told["IdP key", new.key_id]
