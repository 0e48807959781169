"""A second implementation of C2SP tlog-tiles that the project did not write: it writes logs, and reads ours.

`tlog-scales` has a writer, so that what we write can be compared with it byte by byte, checkpoint included:
Ed25519 signatures are the same each time. This file is run by itself, in a process of its own, with nothing
of the project on its path; a job comes in as JSON and what came of it goes out as JSON.
"""

import base64
import json
import os
import subprocess
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class WriterMissing(AssertionError):
    """The second implementation isn't installed; tests that need it fail, they are not skipped."""


def second_writer(**job: object) -> dict[str, object]:
    """Run one job and return its result; raises `AssertionError` with what went wrong in there."""
    folder = Path(os.environ.get("COMITY_VERIFIER") or ROOT / ".verifier")
    if not (folder / "tlog_scales").is_dir():
        raise WriterMissing(f"no tlog-scales in `{folder}`: run `make verifier`")
    done = subprocess.run(
        [sys.executable, "-P", __file__],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(folder)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def _write(folder: str, origin: str, seed: str, leaves: list[str], sizes: list[int]) -> dict[str, object]:
    """Write a log of these leaves (base64), with a checkpoint at each of the sizes."""
    from tlog_scales.signing import PlainEd25519Signer
    from tlog_scales.writer import TilesWriter

    os.fsync = lambda descriptor: None  # what is compared is bytes, and a disk takes its time
    writer = TilesWriter.create(Path(folder), origin)
    signer = PlainEd25519Signer(origin, bytes.fromhex(seed))
    start = 0
    for size in sizes:
        for leaf in leaves[start:size]:
            writer.add_leaf(base64.b64decode(leaf))
        writer.commit([signer])
        start = size
    return {}


def _read(folder: str, vkeys: list[str], indexes: list[int], old_sizes: list[int]) -> dict[str, object]:
    """Verify a log from its files and verifier keys; return proofs of entries as tlog-proof files."""
    from tlog_scales.backend import LocalBackend
    from tlog_scales.reader import TilesReader
    from tlog_scales.signing import Vkey, VkeySet
    from tlog_scales.tiles import leaf_hash

    reader = TilesReader(LocalBackend(Path(folder)))
    checkpoint = reader.get_checkpoint()
    known = VkeySet(*[Vkey.from_string(line) for line in vkeys])
    signers = [vkey.serialize() for vkey, _ in known.verify(checkpoint.signatures, checkpoint)]
    assert reader.calculate_root_hash() == checkpoint.root_hash
    proofs = []
    for index in indexes:
        proof = reader.get_inclusion_proof(index, checkpoint.size)
        proof.check(leaf_hash(reader.get_entry(index)), checkpoint.root_hash)
        hashes = [base64.b64encode(one).decode() for one in proof.node_hashes]
        lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *hashes, "", checkpoint.serialize()]
        proofs.append("\n".join(lines))
    for size in old_sizes:
        proof = reader.get_consistency_proof(size, checkpoint.size)
        proof.check(reader.mth(0, size), checkpoint.root_hash)
    return {"size": checkpoint.size, "signers": sorted(signers), "proofs": proofs}


if __name__ == "__main__":
    # its HTTP client is imported with it and never used here: there is no network in a test
    sys.modules["requests"] = types.SimpleNamespace(Session=object)  # type: ignore[assignment]
    task = json.loads(sys.stdin.read())
    print(json.dumps({"write": _write, "read": _read}[task.pop("do")](**task)))
