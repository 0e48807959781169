"""`docs/run-a-federation.md`, run as it stands: four machines, here four folders, and a stick between."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.cli.main import cli

PAGE = Path(__file__).parents[2] / "docs" / "run-a-federation.md"
MACHINES = ("authority", "operator", "riverton", "harbor")


def blocks(broker: str, gateway: str, root: Path) -> Iterator[tuple[str, str]]:
    """Yield each block with its machine; addresses and folders are those of this test."""
    text = PAGE.read_text()
    for name, here in (
        ("broker.ops.example.org:7400", broker),
        ("0.0.0.0:7400", broker),
        ("comity.riverton.example.gov:7443", gateway),
        ("0.0.0.0:7443", gateway),
    ):
        assert name in text
        text = text.replace(name, here)
    for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        machine = block.partition("\n")[0].removeprefix("# ")
        assert machine in MACHINES, block
        yield machine, block.replace("/srv/comity", str(root / machine))


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def serving(command: str, folder: Path, environment: dict[str, str], stack: ExitStack) -> None:
    """Run a process until the end of the test; return once it is up."""
    output = folder / "served.txt"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            shlex.split(command, comments=True), cwd=folder, env=environment, stdout=sink, stderr=sink
        )

    def stop() -> None:
        process.send_signal(signal.SIGTERM)
        process.wait(90)

    stack.callback(stop)
    line = "linked to the broker" if " broker " not in command else "listening on"
    deadline = time.monotonic() + 180
    while line not in output.read_text():
        assert time.monotonic() < deadline and process.poll() is None, output.read_text()
        time.sleep(0.05)


def statements(block: str) -> Iterator[str]:
    """Yield the commands of a block, each with its continued lines and its here-document."""
    lines = iter(block.splitlines(keepends=True))
    for line in lines:
        found = line
        while found.endswith("\\\n"):
            found += next(lines)
        if here := re.search(r"<<'(\w+)'", found):
            while not found.endswith(f"\n{here[1]}\n"):
                found += next(lines)
        yield found


def bash(script: str, folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, f"{folder.name}: {script}\n{done.stdout}{done.stderr}"
    return done.stdout


def comity(script: str, folder: Path, environment: dict[str, str]) -> str:
    """Run one `comity` command here, to spare a start of Python; the shell fills in what it would."""
    words = bash(f"printf '%s\\0' {script.removeprefix('comity')}", folder, environment).split("\0")[:-1]
    with chdir(folder):
        done = CliRunner().invoke(cli, words, env={"COLUMNS": "110"})
    assert done.exit_code == 0, f"{folder.name}: {script}\n{done.output}"
    return done.output


@pytest.mark.long
def test_page_that_runs_a_federation_works_word_by_word(tmp_path: Path) -> None:
    """Every command in its order, each on its machine, ends in an answer and in nothing overdue."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "STICK": str(tmp_path / "stick"), "COLUMNS": "110"}
    environment["PYTHONUNBUFFERED"] = "1"
    for name in (*MACHINES, "stick"):
        (tmp_path / name).mkdir(mode=0o700)
    printed: list[str] = []
    with ExitStack() as stack:
        for machine, block in blocks(free_address(), free_address(), tmp_path):
            folder = tmp_path / machine
            if " serve " in block:
                serving(block, folder, environment, stack)
                continue
            for statement in statements(block):
                run = comity if statement.startswith("comity ") else bash
                printed.append(run(statement, folder, environment))
    told = "".join(printed)
    assert told.count("✓ the handshake works") == 3
    assert re.search(r"harbor +RESPONDED +1", told), told
    assert re.search(r"\d+ good; \*", printed[-1]) and "overdue" not in printed[-1]
    secrets = [file for file in (tmp_path / "stick").rglob("*") if file.suffix in (".key", ".pem")]
    assert secrets == [], "nothing secret stays on the stick"
