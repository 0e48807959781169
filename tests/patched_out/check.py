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


def check(
    name: str, out: Patch | tuple[Patch, ...], file: str, *tests: str, falls: tuple[str, ...] = ()
) -> Check:
    """Return a check whose tests are all in `file`."""
    patches = out if isinstance(out, tuple) else (out,)
    return Check(name=name, out=patches, red=tuple(f"{file}::{test}" for test in tests), falls=falls)
