"""Log keys for `comity federation` and `comity agency`: made by the audit room, handed to the certs room."""

from __future__ import annotations

from pathlib import Path

from comity.audit.note import LogKey


def make_log_key(origin: str, path: Path) -> str:
    """Make a fresh log key for `origin`, save it at `path`, mode 0600, and return its verifier key line."""
    key = LogKey.generate(origin)
    key.save(path)
    return key.verifier_key
