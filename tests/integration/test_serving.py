"""The three processes, started one by one: clear words for wrong configurations, a clean end on SIGTERM."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Federation, comity

pytestmark = pytest.mark.integration
ROLES = ("broker", "adapter", "gateway")


def config_of(federation: Federation, role: str) -> Path:
    home = federation.made.broker_home if role == "broker" else federation.made.home("lapd") / role
    return home / f"{role}.toml"


def one_clear_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) <= 3, done.stderr
    return lines[-1]


@pytest.mark.parametrize("role", ROLES)
def test_missing_file_is_said(role: str, tmp_path: Path) -> None:
    """A configuration that isn't there is named."""
    assert "nowhere.toml" in one_clear_line(comity(role, "serve", "--config", str(tmp_path / "nowhere.toml")))


@pytest.mark.parametrize("role", ROLES)
def test_unknown_key_names_the_nearest(role: str, federation: Federation) -> None:
    """A misspelt key is refused with the right one beside it."""
    path = config_of(federation, role)
    wrong = path.with_name("misspelt.toml")
    wrong.write_text("publik = 'x'\n" + path.read_text())
    line = one_clear_line(comity(role, "serve", "--config", str(wrong)))
    assert "publik" in line and "public" in line


@pytest.mark.parametrize("role", ROLES)
def test_key_that_others_can_read_is_refused(role: str, federation: Federation, tmp_path: Path) -> None:
    """A private key that others could read is not used."""
    root = federation.made.root
    copy = tmp_path / "copy"
    others = ("sheriff", "cbp", "dea", "vendor")
    unneeded = shutil.ignore_patterns("log", "wal", "state.db*", "capture", "*.sock", *others)
    shutil.copytree(root, copy, ignore=unneeded)
    config = copy / config_of(federation, role).relative_to(root)
    (config.parent / "keys" / "leaf.key").chmod(0o644)
    assert "leaf.key" in one_clear_line(comity(role, "serve", "--config", str(config)))


def test_second_process_on_the_same_log_is_refused(federation: Federation) -> None:
    """Two processes never write one log."""
    line = one_clear_line(comity("gateway", "serve", "--config", str(config_of(federation, "gateway"))))
    assert "log" in line


@pytest.mark.parametrize("role", ROLES)
def test_help_shows_an_example(role: str) -> None:
    """`--help` of each serving command has an example."""
    done = comity(role, "serve", "--help")
    assert done.returncode == 0 and "Example" in done.stdout


def grpcurl(federation: Federation, *call: str, data: str = "") -> subprocess.CompletedProcess[str]:
    client = federation.made.client_config("sheriff").parent
    ca = federation.made.home("sheriff") / "ca.pem"
    text = (federation.made.gateway_home("sheriff") / "gateway.toml").read_text()
    listen = next(line for line in text.splitlines() if line.startswith("listen"))
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "grpcurl"),
            *("-cacert", str(ca), "-cert", str(client / "leaf.pem"), "-key", str(client / "leaf.key")),
            *("-authority", "gateway.sheriff.example"),
            *(("-d", data) if data else ()),
            listen.split('"')[1],
            *call,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_health_is_served_to_own_systems(federation: Federation) -> None:
    """The standard health service answers over mTLS, to a client in another language."""
    asked = json.dumps({"service": "comity.v1.QueryService"})
    done = grpcurl(federation, "grpc.health.v1.Health/Check", data=asked)
    assert "SERVING" in done.stdout, done.stderr


def test_reflection_describes_the_service(federation: Federation) -> None:
    """A generic client learns the API from the gateway itself."""
    done = grpcurl(federation, "describe", "comity.v1.QueryService")
    assert "rpc Search" in done.stdout, done.stderr


def test_call_without_assertion_is_unauthenticated(federation: Federation) -> None:
    """A certificate alone is no user: the assertion is required (Q4)."""
    done = grpcurl(federation, "comity.v1.QueryService/Search", data="{}")
    assert "Unauthenticated" in done.stderr and "assertion" in done.stderr
