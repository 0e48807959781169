"""Where everything of the demonstration lies below its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders of a federation on one machine; each of them could be on a host of its own."""

    root: Path

    @property
    def public(self) -> Path:
        """What is published to all: the authority's keys, the roster, its timestamp."""
        return self.root / "public"

    @property
    def broker(self) -> Path:
        """The broker's home."""
        return self.root / "operator" / "broker"

    @property
    def capture(self) -> Path:
        """Everything that the broker's links carried, as it saw it."""
        return self.broker / "capture"

    @property
    def trust(self) -> Path:
        """The auditor's trust file, made before the first entry of any log."""
        return self.root / "trust.json"

    @property
    def copies(self) -> Path:
        """Copies of the `log/` folders, and of nothing else."""
        return self.root / "copies"

    def agency(self, agency: str) -> Path:
        """An agency's folder."""
        return self.root / "agencies" / agency

    def end(self, agency: str, role: str) -> Path:
        """The home of an agency's gateway or adapter."""
        return self.agency(agency) / role

    def client(self, agency: str) -> Path:
        """The settings of the agency's own system that asks."""
        return self.agency(agency) / "clients" / "desk" / "client.toml"

    def ends(self) -> list[tuple[str, str, Path]]:
        """Return (name, role, home) of every end that exists, the broker first."""
        found = [("broker", "broker", self.broker)]
        for role in ("adapter", "gateway"):
            for home in sorted((self.root / "agencies").glob(f"*/{role}")):
                found.append((f"{home.parent.name} {role}", role, home))
        return found
