"""One security check, how it is taken out, and the tests that must then go red."""

from __future__ import annotations

from dataclasses import dataclass

from tests.patched_out.patching import Patch


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What the product checks, and the tests that claim to notice when it doesn't.

    `out` is one patch, or several where two layers stop the same thing: then each alone leaves the test
    green, and only both together show that it tests something. `red` are pytest node ids: every one of
    them must fail, by an assertion or by an exception that `falls` names. An id without parameters stands
    for the test with all of them.
    """

    name: str
    out: tuple[Patch, ...]
    red: tuple[str, ...]
    falls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class File:
    """A file of tests, and an honest one among them that stays green whatever check is patched out."""

    path: str
    honest: str

    def __call__(self, *tests: str) -> tuple[str, ...]:
        """Return node ids of this file."""
        return tuple(f"{self.path}::{test}" for test in tests)


def check(
    name: str, out: Patch | tuple[Patch, ...], *red: tuple[str, ...], falls: tuple[str, ...] = ()
) -> Check:
    """Return a check; `red` are the tests, a tuple for each file."""
    patches = out if isinstance(out, tuple) else (out,)
    return Check(name=name, out=patches, red=tuple(test for file in red for test in file), falls=falls)
