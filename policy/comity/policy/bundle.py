"""Policy bundles on disk: one folder an agency, checked as a whole before it is activated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """A checked bundle."""

    agency: str
    version: str
    digest: bytes
    """SHA-256, 32 bytes."""

    @classmethod
    def load(cls, folder: Path) -> PolicyBundle:
        """Read and check a bundle.

        Raises:
            BundleInvalid: it must not be activated; names file and line.
        """
        raise NotImplementedError
