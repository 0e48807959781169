"""An order is served once, whatever happens in between."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from comity.adapters.errors import Replayed, StateUnwritable
from comity.adapters.replay import ReplayGuard
from comity.adapters.state import open_state

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EXCHANGE = bytes(range(16))


def replay_guard(folder: Path, now: datetime = NOON) -> ReplayGuard:
    return ReplayGuard(open_state(folder / "state.db"), clock=lambda: now)


async def test_second_arrival_is_refused(tmp_path: Path) -> None:
    """The same agency's exchange is admitted once (design 3)."""
    guard = replay_guard(tmp_path)
    await guard.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))
    with pytest.raises(Replayed):
        await guard.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))


async def test_second_arrival_after_restart_is_refused(tmp_path: Path) -> None:
    """What was admitted is on disk before the caller goes on, so a restart forgets nothing."""
    first = replay_guard(tmp_path)
    await first.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))
    second = replay_guard(tmp_path, NOON + timedelta(seconds=60))
    with pytest.raises(Replayed):
        await second.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))


async def test_two_arrivals_in_one_turn_admit_one(tmp_path: Path) -> None:
    """Two copies that arrive together don't both slip through while the first is being written."""
    guard = replay_guard(tmp_path)
    until = NOON + timedelta(seconds=130)
    results = await asyncio.gather(
        *(guard.admit("lapd", EXCHANGE, until=until) for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results].count(Replayed) == 4


async def test_another_agency_may_use_the_same_id(tmp_path: Path) -> None:
    """The key is (agency, exchange id): nobody can burn another agency's ids."""
    guard = replay_guard(tmp_path)
    await guard.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))
    await guard.admit("lahd", EXCHANGE, until=NOON + timedelta(seconds=130))


async def test_window_that_is_over_is_forgotten(tmp_path: Path) -> None:
    """After the window, when freshness alone rejects an order, its row is deleted."""
    guard = replay_guard(tmp_path)
    await guard.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))
    later = replay_guard(tmp_path, NOON + timedelta(seconds=131))
    await later.admit("lapd", bytes(16), until=NOON + timedelta(seconds=260))
    with sqlite3.connect(tmp_path / "state.db") as database:
        assert database.execute("select exchange_id from seen_exchanges").fetchall() == [(bytes(16),)]


async def test_many_at_once_are_all_durable(tmp_path: Path) -> None:
    """A burst shares transactions, and every one of it is on disk."""
    guard = replay_guard(tmp_path)
    until = NOON + timedelta(seconds=130)
    await asyncio.gather(*(guard.admit("lapd", number.to_bytes(16), until=until) for number in range(200)))
    again = replay_guard(tmp_path)
    for number in range(200):
        with pytest.raises(Replayed):
            await again.admit("lapd", number.to_bytes(16), until=until)


async def test_unwritable_state_admits_nothing(tmp_path: Path) -> None:
    """An exchange that can't be remembered isn't admitted, and the guard recovers by itself."""
    guard = replay_guard(tmp_path)
    blocker = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    blocker.execute("alter table seen_exchanges rename to hidden")
    with pytest.raises(StateUnwritable):
        await guard.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))
    blocker.execute("alter table hidden rename to seen_exchanges")
    await guard.admit("lapd", bytes(16), until=NOON + timedelta(seconds=130))
    with pytest.raises(Replayed):
        await guard.admit("lapd", EXCHANGE, until=NOON + timedelta(seconds=130))


def test_state_is_for_nobody_else(tmp_path: Path) -> None:
    """The database holds what the log only commits to: mode 0600 from its first moment."""
    open_state(tmp_path / "state.db")
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
