"""How long `comity audit reconcile` takes, and in how much memory: `python -m benchmarks.reconcile`.

The logs of three ends are made first (not measured): one requester, one provider, five entries an exchange
at the provider, three at the requester, two at the broker. Then the command runs as an auditor runs it.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click

from comity.audit.entry import seal_entry
from comity.audit.merkle import leaf_hash
from tests.support.ledgers import BEGIN, ENDS, Ledger, write_log, write_trust

SPREAD = 1_000
"""Exchanges that are made at once; sealing is what takes long."""


@click.command()
@click.option("--exchanges", "-n", type=click.IntRange(1, 5_000_000), default=100_000, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def main(exchanges: int, as_json: bool) -> None:
    """Make three logs, reconcile them, and print seconds and the largest memory of a process."""
    with tempfile.TemporaryDirectory(prefix="comity-reconcile-bench-") as name:
        root = Path(name)
        size = _make(root, exchanges)
        trust = write_trust(root / "policy")
        command = [sys.executable, "-m", "comity.cli.main", "audit", "reconcile", str(root / "logs")]
        began, cpu = time.monotonic(), _children()
        done = subprocess.run(
            [*command, "--trust", str(trust), "--promise-within", "1e9", "--json"],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, spent = time.monotonic() - began, _children() - cpu
        if done.returncode:
            raise click.ClickException(f"the logs don't match: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        counts = json.loads(done.stdout)["counts"]
        assert counts == {"matched": exchanges}, counts
    figures = {
        "exchanges": exchanges,
        "entries": size,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(spent, 1),
        "peak_mb": round(_peak() / 1024),
        "exchanges_per_second": round(exchanges / seconds),
    }
    click.echo(json.dumps(figures) if as_json else "\n".join(f"{k:>22} {v:,}" for k, v in figures.items()))


def _make(root: Path, exchanges: int) -> int:
    """Write the three logs; return how many entries they have together."""
    whole = 0
    leaves: dict[str, list[Path]] = {end: [] for end in ENDS}
    for start in range(0, exchanges, SPREAD):
        ledger = Ledger()
        base = _at_the_provider(leaves["provider"])
        for number in range(start, min(start + SPREAD, exchanges)):
            ledger.add(secrets.token_bytes(16), BEGIN + timedelta(milliseconds=20 * number))
        for number in range(len(ledger.exchanges)):
            place = 5 * number + 2  # of the five entries of an exchange, `released` is the third
            leaf = leaf_hash(seal_entry(ledger.logs["provider"][place]).leaf).hex()
            ledger.change_at("requester", 3 * number + 1, index=base + place, leaf=leaf)
        for end, entries in ledger.logs.items():
            path = root / f"{end}.{start}"
            with path.open("wb") as file:
                for entry in entries:
                    leaf_bytes = seal_entry(entry).leaf
                    file.write(len(leaf_bytes).to_bytes(4, "big") + leaf_bytes)
                    whole += 1
            leaves[end].append(path)
    for end, key in ENDS.items():
        write_log(root / "logs" / end / "log", key, _read(leaves[end]))
        for path in leaves[end]:
            path.unlink()
    return whole


def _at_the_provider(parts: list[Path]) -> int:
    """Return how many entries the provider has in the parts that are written: five an exchange."""
    return len(parts) * SPREAD * 5


def _read(parts: list[Path]) -> Iterator[bytes]:
    for path in parts:
        with path.open("rb") as file:
            while head := file.read(4):
                yield file.read(int.from_bytes(head, "big"))


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _peak() -> int:
    """Return the largest resident memory of any process that was waited for, in KiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


if __name__ == "__main__":
    main()
