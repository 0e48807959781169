"""A process that serves: what it prints, and what it spares itself once it is ready."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from comity.cli.running import serve_until_stopped


def test_what_stands_when_a_process_is_ready_is_not_looked_over_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A full collection over all code and configuration would hold the event loop for 65 ms."""
    before, kept = gc.get_freeze_count(), [[number] for number in range(10_000)]

    async def serve(ready: Callable[[str], None], stop: asyncio.Event) -> None:
        ready("lapd serves its systems")
        assert gc.get_freeze_count() >= before + len(kept)

    serve_until_stopped("gateway", serve, ())
    assert capsys.readouterr().out == "comity gateway: lapd serves its systems\n"


def test_error_of_a_room_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Its own errors are told, without a traceback."""

    async def serve(ready: Callable[[str], None], stop: asyncio.Event) -> None:
        raise OSError("no log here")

    with pytest.raises(SystemExit) as ended:
        serve_until_stopped("gateway", serve, (OSError,))
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("comity gateway: no log here\n")
