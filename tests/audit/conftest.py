"""A log that is filled, published and closed."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from comity.audit.entry import Entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from tests.support.logs import asked, noon

MakeLog = Callable[..., Awaitable[Path]]


@pytest.fixture
def make_log(tmp_path: Path) -> MakeLog:
    """Return a function that writes a log of some entries and gives its home folder."""

    async def make(key: LogKey, count: int, *more: Entry, home: Path | None = None) -> Path:
        home = home or tmp_path / key.origin
        log = await SignedLog.open(home, origin=key.origin, key=key, clock=noon)
        await log.append(*[asked(number) for number in range(count)], *more)
        await log.close()
        return home

    return make
