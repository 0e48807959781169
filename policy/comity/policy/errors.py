"""What can go wrong in a policy, in one tree.

    PolicyError
    ├── BundleInvalid         a bundle on disk that must not be activated; names file and line
    ├── MarkingInvalid        a marking that no scheme allows
    ├── ObligationUnknown     an obligation that this version does not implement
    ├── CaseInvalid           a case of a bundle's own tests that cannot be read
    ├── AdoptionInvalid       a bundle that its agency did not sign as it stands
    └── SuccessionRefused     a bundle that may not follow the one in force

A refusal is no error: it is a `Decision`. These texts are for the log of the agency's own house and
never travel to a peer.
"""

from __future__ import annotations

from pathlib import Path


class PolicyError(Exception):
    """Root of every error of this room."""


class BundleInvalid(PolicyError):
    """A bundle does not pass the check, so it is not activated; the one in force stays.

    Attributes:
        path: The file that is wrong.
        line: The line in it, from 1; 0 where the file as a whole is wrong.
        detail: What is wrong, and what would have been right.
    """

    def __init__(self, path: Path, line: int, detail: str) -> None:
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: {detail}")
        self.path = path
        self.line = line
        self.detail = detail


class MarkingInvalid(PolicyError):
    """A marking breaks the rules of its scheme."""


class ObligationUnknown(PolicyError):
    """An obligation that is not implemented: what it stands on is refused."""


class CaseInvalid(PolicyError):
    """A case file of a bundle cannot be read; the message names file and case."""


class AdoptionInvalid(PolicyError):
    """A bundle isn't signed by its agency, or was changed since: it is not activated."""


class SuccessionRefused(PolicyError):
    """A bundle is older than the one in force, or another text under its version; nobody approved it."""
