"""Has a verifier that the project did not write check a log's folder: `aics-tlog`, in a process of its own.

It gets the folder, and the verifier key from outside the folder; nothing of the project is on its path.
"""

import base64
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class VerifierMissing(AssertionError):
    """The verifier isn't installed; tests that need it fail, they are not skipped."""


def verifier_folder() -> Path:
    """Return the folder with the verifier's package: `COMITY_VERIFIER`, or `.verifier` in the repository."""
    folder = Path(os.environ.get("COMITY_VERIFIER") or ROOT / ".verifier")
    if not (folder / "aics_tlog").is_dir():
        raise VerifierMissing(
            f"no verifier in `{folder}`: run `make verifier`, or set COMITY_VERIFIER to its folder"
        )
    return folder


def run_verifier(*arguments: str) -> dict[str, object]:
    """Run one command of the verifier and return its JSON report; `ok` tells the result."""
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(verifier_folder())}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "aics_tlog", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    try:
        report: dict[str, object] = json.loads(done.stdout)
    except ValueError as problem:
        raise AssertionError(f"the verifier gave no report: {done.stdout}{done.stderr}") from problem
    assert (done.returncode == 0) == bool(report.get("ok"))
    return report


def third_party_faults(
    log: Path, verifier_key: str, *, old_sizes: tuple[int, ...] = (), inclusions: bool = True
) -> list[str]:
    """Return what the third-party verifier finds wrong with a log's folder; empty if all is right.

    It checks the checkpoint, the inclusion of the first, a middle and the last entry, and that the tree grew
    out of the trees of the given sizes; all from the tiles on disk.
    """
    common = ("--log-key", verifier_key, "--tiles", str(log))
    faults: list[str] = []

    def check(*command: str) -> dict[str, object]:
        report = run_verifier(*command, *common)
        if not report.get("ok"):
            faults.append(f"{' '.join(command)}: {report.get('error', report)}")
        return report

    check("verify-checkpoint")
    size = int((log / "checkpoint").read_text().split("\n")[1])
    for index in sorted({0, size // 2, size - 1}) if size and inclusions else ():
        leaf = sha256(b"\x00" + entry_at(log, index, size)).hexdigest()
        check("verify-inclusion", "--index", str(index), "--leaf-hash", leaf)
    for old in old_sizes:
        check("verify-consistency", "--old-size", str(old), "--old-root", old_root(log, old))
    return faults


def entry_at(log: Path, index: int, size: int) -> bytes:
    """Return an entry's bytes from its bundle, read here without the project's code."""
    return entries_of(log, size)[index]


def entries_of(log: Path, size: int) -> list[bytes]:
    """Return all entries of a log of less than 256,000, read here without the project's code."""
    entries: list[bytes] = []
    for number in range(-(-size // 256)):
        width = min(256, size - number * 256)
        data = (log / f"tile/entries/{number:03d}{'' if width == 256 else f'.p/{width}'}").read_bytes()
        while data:
            length = int.from_bytes(data[:2], "big")
            entries.append(data[2 : 2 + length])
            data = data[2 + length :]
    return entries


def old_root(log: Path, size: int) -> str:
    """Return the root of a log's first entries in base64, by RFC 6962's own recursion."""
    everything = int((log / "checkpoint").read_text().split("\n")[1])

    def root(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return sha256(b"\x00" + leaves[0]).digest()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()

    return base64.b64encode(root(entries_of(log, everything)[:size])).decode()
