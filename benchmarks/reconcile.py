"""How long `comity audit reconcile` takes, and in how much memory: `python -m benchmarks.reconcile`.

The logs of three ends are made first (not measured): one requester, one provider, five entries an exchange
at the provider, three at the requester, two at the broker, fifty exchanges a second, and each second the
requester and the broker log the checkpoint of the provider that they saw, signed. All of it is real: entries
sealed one by one, tiles, signatures. Then the command runs as an auditor runs it.
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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click

from comity.audit.checkpoint import Checkpoint
from comity.audit.entry import Entry, seal_entry
from comity.audit.merkle import leaf_hash, roots_at
from tests.support.ledgers import BEGIN, ENDS, Ledger, activation, write_log, write_trust

SPREAD = 1_000
"""Exchanges that are made in one go, each go by one process."""
SECOND = 50
"""Exchanges in a second; after each, its checkpoint of the provider is seen."""
ENTRIES = {"requester": 3, "broker": 2, "provider": 5}
"""Entries an exchange, by end."""


@click.command()
@click.option("--exchanges", "-n", type=click.IntRange(1, 5_000_000), default=100_000, show_default=True)
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Folder for the logs; made once, then used again."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def main(exchanges: int, keep: Path | None, as_json: bool) -> None:
    """Make three logs, reconcile them, and print seconds and the largest memory of a process."""
    with tempfile.TemporaryDirectory(prefix="comity-reconcile-bench-") as name:
        root = (keep or Path(name)) / str(exchanges)
        if not (root / "policy").exists():
            _say(f"making the logs of {exchanges:,} exchanges")
            _make(root, exchanges)
        _say("reconciling")
        command = [sys.executable, "-m", "comity.cli.main", "audit", "reconcile", str(root / "logs")]
        load, began, cpu = os.getloadavg()[0], time.monotonic(), _children()
        done = subprocess.run(
            [*command, "--trust", str(root / "policy"), "--work", str(Path(name) / "work"), "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        seconds, spent = time.monotonic() - began, _children() - cpu
        if done.returncode:
            raise click.ClickException(f"the logs don't match: {done.stdout[-2000:]}")
        found = json.loads(done.stdout)
        assert found["counts"] == {"matched": exchanges}, found["counts"]
    figures = {
        "exchanges": exchanges,
        "entries": sum(log["size"] for log in found["logs"]),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(spent, 1),
        "peak_mb": round(_peak() / 1024),
        "exchanges_per_second": round(exchanges / seconds),
        "load_before": round(load, 1),
    }
    click.echo(json.dumps(figures) if as_json else "\n".join(f"{k:>22} {v:,}" for k, v in figures.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some exchanges whose entries are in files, one an end."""

    first: int
    count: int
    folder: Path

    def file(self, end: str) -> Path:
        return self.folder / f"{end}.{self.first}"

    def write(self) -> None:
        """Seal the entries."""
        ledger = Ledger(before=ENTRIES["provider"] * self.first + (self.first > 0))
        if not self.first:
            ledger.logs["provider"].append(activation())
        for number in range(self.first, self.first + self.count):
            ledger.add(secrets.token_bytes(16), BEGIN + timedelta(seconds=number / SECOND))
        for end, entries in ledger.logs.items():
            with self.file(end).open("wb") as file:
                for entry in entries:
                    leaf = seal_entry(entry).leaf
                    file.write(len(leaf).to_bytes(4, "big") + leaf)

    def leaves(self, end: str) -> Iterator[bytes]:
        with self.file(end).open("rb") as file:
            while head := file.read(4):
                yield file.read(int.from_bytes(head, "big"))


def _make(root: Path, exchanges: int) -> None:
    """Write the three logs and, when all is there, the policy file that trusts them."""
    root.mkdir(parents=True, exist_ok=True)
    parts = [
        _Part(first=first, count=min(SPREAD, exchanges - first), folder=root)
        for first in range(0, exchanges, SPREAD)
    ]
    with ProcessPoolExecutor() as pool:
        list(pool.map(_Part.write, parts))
    sizes = [1 + ENTRIES["provider"] * min(n + SECOND, exchanges) for n in range(0, exchanges, SECOND)]
    roots = roots_at((leaf_hash(leaf) for part in parts for leaf in part.leaves("provider")), sizes)
    for end, key in ENDS.items():
        leaves = (leaf for part in parts for leaf in part.leaves(end))
        write_log(
            root / "logs" / end / "log", key, leaves if end == "provider" else _seeing(end, leaves, roots)
        )
        for part in parts:
            part.file(end).unlink()
    write_trust(root / "policy")


def _seeing(end: str, leaves: Iterator[bytes], roots: dict[int, bytes]) -> Iterator[bytes]:
    """Yield an end's leaves, and after each second's the checkpoint of the provider that was seen."""
    provider = ENDS["provider"]
    whole = max(roots) // ENTRIES["provider"]
    for number in range(whole):
        for _ in range(ENTRIES[end]):
            yield next(leaves)
        size = ENTRIES["provider"] * (number + 1)
        if size in roots:
            note = Checkpoint(origin=provider.origin, size=size, root=roots[size]).sign(provider).decode()
            at = BEGIN + timedelta(seconds=(number + 1) / SECOND + 1)
            public = {"peer_origin": provider.origin, "size": size, "note": note}
            yield seal_entry(Entry(kind="checkpoint_seen", at=at, public=public)).leaf


def _say(words: str) -> None:
    click.echo(words, err=True)


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _peak() -> int:
    """Return the largest resident memory of any process that was waited for, in KiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


if __name__ == "__main__":
    main()
