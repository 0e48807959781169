"""What a dishonest keeper of a log could do to it, done to copies: each must be named by verification."""

from __future__ import annotations

import shutil
from pathlib import Path

from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.note import LogKey
from comity.audit.tiles import Edge, TileFolder


def change_a_byte(log: Path) -> str:
    """Change one byte of an entry, and nothing else; return what was done in one line."""
    bundle = sorted(path for path in (log / "tile" / "entries").rglob("*") if path.is_file())[0]
    data = bytearray(bundle.read_bytes())
    at = data.index(b'"kind":"') + len(b'"kind":"')
    data[at] ^= 0x01
    bundle.write_bytes(bytes(data))
    return f"one byte of an entry changed, in `{bundle.relative_to(log)}`"


def rebuild_under_another_key(log: Path) -> str:
    """Rebuild a whole log with the same entries under a key of one's own, flawless in itself."""
    size = _size(log)
    key = LogKey.generate(peek_checkpoint((log / "checkpoint").read_bytes()).origin)
    _rebuild(log, size, key)
    (log / "vkey").write_text(key.verifier_key + "\n", encoding="utf-8")
    return f"the whole log of {size} entries rebuilt under another key"


def cut_the_tail(log: Path, key: LogKey, keep: int) -> str:
    """Keep the first `keep` entries and sign the shorter log with the right key."""
    size = _size(log)
    _rebuild(log, keep, key)
    return f"the last {size - keep} of {size} entries cut, the rest signed again with the right key"


def _size(log: Path) -> int:
    return peek_checkpoint((log / "checkpoint").read_bytes()).size


def _rebuild(log: Path, size: int, key: LogKey) -> None:
    whole = TileFolder(log).all_entries(_size(log))
    leaves = [leaf for _, leaf in whole][:size]
    edge, files = Edge().extend(leaves)
    shutil.rmtree(log / "tile")
    for name, data in files.items():
        path = log / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    checkpoint = Checkpoint(origin=key.origin, size=size, root=edge.root)
    (log / "checkpoint").write_bytes(checkpoint.sign(key))
