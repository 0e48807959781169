"""The fuzz targets in small: `make fuzz` runs a million of each; here some thousands, always the same."""

from __future__ import annotations

import pytest

from comity.certs.keys import VerifyKey
from comity.links.relay import SessionRelay
from comity.links.state import LinkMachine
from tests.fuzz.run import NAMES, Broken, drawn, saved
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

RUNS = 2_000
DEEPEST = {
    "link": {"up:routed 1", "up:account", "up:end", "up:order_rejection"},
    "envelope": {"opened", "taken", "asked", "stamped/receipt holds/shown", "believed"},
}
"""Ends that only good messages reach, by target."""


@pytest.mark.parametrize("target", NAMES)
def test_seeds_reach_what_only_good_messages_reach(target: str) -> None:
    """Fuzzing begins behind the first checks, or it would see nothing else."""
    assert {TARGETS[target](seed) for seed in SEEDS[target]()} >= DEEPEST[target]


@pytest.mark.parametrize("target", NAMES)
def test_some_thousand_inputs_break_nothing(target: str) -> None:
    """Each ends in a documented error or in a value for which the target's promises hold."""
    words = drawn(target, runs=RUNS, seed=1)
    assert sum(words.values()) == RUNS
    assert len(words) > 20, "inputs that all end alike test one thing"
    assert words["unparsed"] < RUNS / 2


def test_inputs_that_once_broke_a_target_do_so_no_more() -> None:
    """What a longer run found, and left in `tests/fuzz/findings/`, stays found."""
    for name in NAMES:
        for path in saved(name):
            TARGETS[name](path.read_bytes())


def _any_session(self: SessionRelay[str], link: str, session_id: int) -> object:
    return self._sessions.get(session_id)


@pytest.mark.parametrize("fault", ["sessions of others", "signatures", "states"])
def test_target_notices_a_check_that_is_gone(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one check patched out an input breaks the target: it can fail."""
    match fault:
        case "sessions of others":
            monkeypatch.setattr(SessionRelay, "_find", _any_session)
        case "signatures":
            monkeypatch.setattr(VerifyKey, "verify", lambda self, signature, data: None)
        case _:
            monkeypatch.setattr(LinkMachine, "_check", lambda self, frame: None)
    with pytest.raises(Broken):
        drawn("envelope" if fault == "signatures" else "link", runs=RUNS, seed=2)
