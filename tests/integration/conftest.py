"""A whole federation of real processes with real mTLS, started once for the tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.certs.clock import utc_now
from comity.cli.demonstration.evidence import find_values
from comity.cli.demonstration.prepare import prepare, wanted
from comity.cli.demonstration.processes import Processes, start_all
from comity.cli.demonstration.setup import FederationOnDisk
from comity.cli.main import cli

PLATE = "8ABC123"
CONTENT = (PLATE, "26-0417", "burglary series", "j.ortega", "k.novak")
"""What these tests ask with, unless a test brings its own."""

PATIENT = "keepalive_timeout_ms = 5000\n"
"""A process that a busy machine lets wait for a second is no lost link."""
TELEMETRY = """
[telemetry]
exporter = "file"
interval_seconds = 0.5
"""


def comity(*arguments: str, alone: bool = False, seconds: float = 180) -> subprocess.CompletedProcess[str]:
    """Run the command as its user would; in a process of its own if `alone`, or if it serves or starts any.

    The rest runs in this process, which spares it most of its time: the start of Python.
    """
    command = [sys.executable, "-m", "comity.cli.main", *arguments]
    columns = {"COLUMNS": "120"}
    if alone or arguments[0] == "demo" or "serve" in arguments:
        environment = {**os.environ, **columns}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, env=environment
        )
    done = CliRunner().invoke(cli, list(arguments), prog_name="comity", env=columns)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)


@dataclass
class Federation:
    """The running federation and the two ways to ask it: as a person and as a script."""

    made: FederationOnDisk
    processes: Processes

    def query(self, agency: str, *more: str, user: str | None = None, plate: str = PLATE) -> list[str]:
        """Return the arguments of a complete `comity query`; `more` are added at the end."""
        start = utc_now() - timedelta(days=30)
        defaults = {
            "--state": "CA",
            "--from": start.isoformat(),
            "--reason": "CRIMINAL_INVESTIGATION",
            "--case": "26-0417",
            "--text": "burglary series",
            "--client": str(self.made.client_config(agency)),
            "--user": user or self.made.user(agency),
        }
        given = set(more)
        words = ["query", plate]
        for option, value in defaults.items():
            if option not in given:
                words += [option, value]
        return [*words, *more]

    def ask(self, agency: str, *more: str, **options: str) -> dict[str, object]:
        """Ask as a script and return the JSON object; the exit status is under `exit`."""
        done = comity(*self.query(agency, "--json", *more, **options))
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "exit": done.returncode, "stderr": done.stderr}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of one running federation on one worker, or each worker would start its own."""
    for item in items:
        if "tests/integration/" in item.nodeid:
            shared = "federation" in getattr(item, "fixturenames", ())
            group = "federation" if shared else item.nodeid.split("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))
            if "PYTEST_XDIST_WORKER" in os.environ and hasattr(item, "_id"):
                # pytest-xdist 3.8 writes the group where pytest 9.2 doesn't read a node's id any more
                item._id = type(item._id).parse(f"{item.nodeid}@{group}")


@pytest.fixture(scope="package")  # it ends with the last test here, and doesn't idle beside the others
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    root = tmp_path_factory.mktemp("federation")
    made = prepare(root, seed=7, now=utc_now())
    for _, role, home in made.ends():
        config = home / f"{role}.toml"
        config.write_text(f"{PATIENT}{config.read_text()}{TELEMETRY}")
    with Processes() as processes:
        start_all(processes, wanted(made), lambda line: None)
        yield Federation(made=made, processes=processes)
        ended = processes.stop_all()
    assert ended == dict.fromkeys(ended, 0)  # SIGTERM ends each cleanly
    searched, found = find_values(emitted_files(made), CONTENT)
    assert found == [] and searched > 10_000  # nothing that any process emitted in the whole run


def emitted_files(made: FederationOnDisk) -> list[Path]:
    """Return what processes print, and their spans and metrics."""
    names = ("process.log", "telemetry.jsonl")
    return [home / name for _, _, home in made.ends() for name in names if (home / name).exists()]


@pytest.fixture
def home_of_gateway(federation: Federation) -> Path:
    return federation.made.gateway_home("sheriff")
