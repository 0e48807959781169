"""The lying broker at random: exchange after exchange, each with other lies at other places.

`COMITY_CAMPAIGN=10000 pytest tests/test_campaign.py` runs so many; `COMITY_SEED` repeats one that failed.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from comity.audit.trust import Trust, make_trust
from comity.audit.verify import find_logs, verify_folders
from tests.simulator import Answer, FederationSimulator, simulate
from tests.support.federation import FederationOnDisk
from tests.support.lies import Attack, LyingBroker
from tests.test_lying_broker import CLEAR, HARMLESS, LEAVES, RECORDS, sessions_that_broke

EXCHANGES = int(os.environ.get("COMITY_CAMPAIGN", "80"))
LONG = "COMITY_CAMPAIGN" in os.environ
SEED = int(os.environ.get("COMITY_SEED", "0")) or (secrets.randbits(32) if LONG else 20_261_122)
EACH = 250
"""Exchanges in one federation; then another begins, with new logs."""

PROVIDERS = ("cbp", "dea", "lahd", "lapd")
HANDSHAKE_RECORD = 0x16
TOO_LATE = ("tells a provider that the asker has gone",)
"""Lies that change nothing where the answer was quicker."""

Lie = Callable[[FederationSimulator, random.Random], Attack]


def _about_a_record(name: str) -> Lie:
    def lie(federation: FederationSimulator, rng: random.Random) -> Attack:
        where = {
            "of": rng.choice((None, *PROVIDERS)),
            "toward": rng.choice((None, "gateway", "adapter")),
            "skip": rng.randrange(6),
        }
        return RECORDS[name](federation.broker, **where)

    return lie


def _reordered(federation: FederationSimulator, rng: random.Random) -> Attack:
    return federation.broker.reorders_records(of=rng.choice(PROVIDERS), skip=rng.randrange(3))


def _held(federation: FederationSimulator, rng: random.Random) -> Attack:
    return federation.broker.holds_records(
        of=rng.choice(PROVIDERS), toward=rng.choice(("gateway", "adapter")), skip=rng.randrange(4)
    )


def _crossed(federation: FederationSimulator, rng: random.Random) -> Attack:
    one, other = rng.sample(PROVIDERS, 2)
    return federation.broker.crosses_sessions(one, other, toward="gateway")


def _connected(federation: FederationSimulator, rng: random.Random) -> Attack:
    one, other = rng.sample(PROVIDERS, 2)
    return federation.broker.connects_to(one, instead_of=other)


def _answered(federation: FederationSimulator, rng: random.Random) -> Attack:
    leaf = LEAVES[rng.choice(list(LEAVES))](federation.made)
    return federation.broker.answers_itself("lapd", with_leaf_of=leaf)


def _absent(federation: FederationSimulator, rng: random.Random) -> Attack:
    return federation.broker.says_absent(rng.choice(PROVIDERS))


def _in_clear(lie: Callable[[LyingBroker], Attack]) -> Lie:
    return lambda federation, rng: lie(federation.broker)


LIES: dict[str, Lie] = {
    **{name: _about_a_record(name) for name in RECORDS},
    "reorders": _reordered,
    "holds": _held,
    "crosses sessions": _crossed,
    "connects to another": _connected,
    "answers itself": _answered,
    "says absent": _absent,
    **{name: _in_clear(lie) for name, (lie, _, _) in CLEAR.items()},
    **{name: _in_clear(lie) for name, lie in HARMLESS.items()},
}


@dataclass
class Tally:
    """What was tried, and how it showed."""

    tried: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    reads: int = 0


async def test_random_lies_are_noticed_and_show_nothing_that_was_not_released(
    laid_out: FederationOnDisk, tmp_path: Path
) -> None:
    """After any lie all are accounted for in time, nothing false is shown, no honest provider is blamed."""
    rng, tally = random.Random(SEED), Tally()
    for first in range(0, EXCHANGES, EACH):
        root = tmp_path / str(first)
        shutil.copytree(laid_out.root, root)
        made = FederationOnDisk(root=root, spec=laid_out.spec)
        trust = Trust.parse(make_trust(made.public))
        async with simulate(made) as federation:
            federation.broker.random = rng
            for number in range(first, min(first + EACH, EXCHANGES)):
                await _exchange(federation, rng, tally, f"seed {SEED}, exchange {number}")
        reports = verify_folders(find_logs([root]), trust)
        assert len(reports.logs) == 6 and reports.verified, reports
        shutil.rmtree(root)
    print(f"\n{EXCHANGES} exchanges, seed {SEED}, {tally.reads} pages shown")
    for name, tried in sorted(tally.tried.items()):
        print(f"{name:45} {tried:6} {tally.shown[name]:6}")


async def _exchange(federation: FederationSimulator, rng: random.Random, tally: Tally, where: str) -> None:
    """One exchange with up to two lies, and the honest ones in which the federation recovers."""
    names = _draw(rng)
    if rng.random() < 0.3:  # then there is a handshake to lie in; nothing of the old sessions is on its way
        federation.forgets_sessions()
        await federation.passes(seconds=0.1)
    before = federation.positions()
    attacks = {name: LIES[name](federation, rng) for name in names}
    answer = await federation.search(days=rng.choice((1, 1, 1, 1, 1, 30)))
    tally.reads += sum(len(outcome.pages) for outcome in answer.outcomes.values())
    flipped = [flip for attack in attacks.values() for flip in attack.flipped]
    where = f"{where}, {names}: {answer.kinds}, {answer.findings}, flipped {flipped}"
    assert "UNVERIFIABLE" not in answer.kinds.values(), where
    assert answer.seconds < 5, where
    assert not any(attack.got for attack in attacks.values()), where
    seen = _shows(federation, answer, before)
    federation.broker.is_honest_again()
    happened = {name: attack for name, attack in attacks.items() if attack.happened}
    if any(not _is_harmless(name, attack) for name, attack in happened.items()):
        if not seen:  # the next record shows it at the latest
            seen = _shows(federation, await federation.search(days=1), before)
        assert seen, where
    elif not attacks:
        assert answer.is_whole or await federation.recovers(), where
    for name in happened:
        tally.tried[name] += 1
        tally.shown[name] += bool(seen)


def _draw(rng: random.Random) -> list[str]:
    """Return no lie, one, or one about records and one in clear: two in clear may undo each other."""
    match rng.choice((0, 1, 1, 1, 2)):
        case 0:
            return []
        case 1:
            return [rng.choice(list(LIES))]
        case _:
            return [rng.choice(list(RECORDS)), rng.choice([*CLEAR, *HARMLESS])]


def _shows(federation: FederationSimulator, answer: Answer, before: dict[str, int]) -> bool:
    """Whether anything shows, in the answer or in a log, that not all was as it should be."""
    return not answer.is_whole or bool(sessions_that_broke(federation, before))


def _is_harmless(name: str, attack: Attack) -> bool:
    """Whether a lie may stay unnoticed, because it changes nothing.

    Repeats and short delays; and the two bytes of a handshake record that RFC 8446, section 5.1, has the
    receiver ignore.
    """
    ignored = all(kind == HANDSHAKE_RECORD and place in (1, 2) for kind, place in attack.flipped)
    return name in HARMLESS or name in TOO_LATE or (bool(attack.flipped) and ignored)
