"""How long a test waits for something to become true before it fails."""

from __future__ import annotations

SECONDS = 60.0
"""Far more than anything takes, so that a busy machine fails no test. A run that waits for tests to fail
(`python -m tests.patched_out`) sets less."""
