"""The next version of a signed document: after the highest there is none."""

from __future__ import annotations

from typing import Final

from comity.certs.errors import SetupRefused

MAX_VERSION: Final = 2**64 - 1
"""What the field holds."""


def next_version(version: int, what: str, *, instead: str) -> int:
    """Return the version after `version`; raise `SetupRefused` if there is none, with what to do `instead`.

    Nobody counts so far: who holds the key, and signed such a version, wants that nothing can follow.
    """
    if version >= MAX_VERSION:
        raise SetupRefused(
            f"{what}: version {version} is the highest there is, so no newer one can be signed; {instead}"
        )
    return version + 1
