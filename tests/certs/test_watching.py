"""When published files are looked at, and what becomes of those that can't be used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from comity.certs import watching
from comity.certs.watching import FileWatch, follow

LOG = logging.getLogger("comity.certs")


class NotGood(Exception):
    """What was published can't be used."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text("old")
    return tmp_path


def test_folder_that_is_being_written_does_not_count(folder: Path) -> None:
    """Half a bundle can be valid and lack its last `forbid`: only folders at rest count (design 6)."""
    watch = FileWatch((folder, "*.json"))
    assert not watch.changed()
    for path in sorted(folder.iterdir()):
        path.unlink()
        assert not watch.changed()
        path.write_text("new")
        assert not watch.changed()
    assert [watch.changed(), watch.changed()] == [True, False]


@pytest.mark.parametrize("change", ["replace", "rewrite", "remove", "add", "deep"])
def test_each_kind_of_change_is_seen(folder: Path, change: str) -> None:
    """Also one that leaves size and time as they were, as a copied folder does."""
    watch = FileWatch((folder, "**/*"))
    path = folder / "one.json"
    match change:
        case "replace":
            other = folder.parent / "other"
            other.write_text("old")
            other.replace(path)
        case "rewrite":
            path.write_text("longer than before")
        case "remove":
            path.unlink()
        case "add":
            (folder / "three.json").write_text("new")
        case _:
            (folder / "deep").mkdir()
            (folder / "deep" / "four.json").write_text("new")
    assert [watch.changed() for _ in range(3)] == [False, True, False]


def test_folder_that_goes_away_is_a_change(folder: Path) -> None:
    """No exception for a folder that is being exchanged."""
    watch = FileWatch((folder, "*.json"))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert [watch.changed(), watch.changed()] == [False, True]


class Reloads:
    """Counts calls of `reload`, which fail while `fault` is set."""

    def __init__(self) -> None:
        self.calls = 0
        self.fault = ""

    async def __call__(self) -> None:
        self.calls += 1
        if self.fault:
            raise NotGood(self.fault)


async def following(folder: Path, reload: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    watch = FileWatch((folder, "*.json"))
    return asyncio.create_task(follow(watch, reload, seconds=0.005, faults=(NotGood,), log=LOG))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


async def test_change_is_taken_once(folder: Path) -> None:
    """Nothing is read while nothing changes."""
    reloads = Reloads()
    task = await following(folder, reloads)
    (folder / "one.json").write_text("a change")
    await until(lambda: reloads.calls == 1)
    await asyncio.sleep(0.05)
    assert reloads.calls == 1
    task.cancel()


async def test_what_failed_is_tried_again_and_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A suspension that couldn't be taken when it came isn't forgotten, and doesn't fill the log."""
    reloads = Reloads()
    reloads.fault = "the disk is full"
    task = await following(folder, reloads)
    (folder / "one.json").write_text("a change")
    await until(lambda: reloads.calls >= 4)
    assert caplog.text.count("the disk is full") == 1
    assert "the old stays in force" in caplog.text
    reloads.fault = ""
    calls = reloads.calls
    await until(lambda: reloads.calls == calls + 1)
    await asyncio.sleep(0.05)
    assert reloads.calls == calls + 1
    task.cancel()


async def test_another_fault_is_told_too(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line that is new to the operator is said."""
    monkeypatch.setattr(watching, "MOST_LOOKS", 2)
    reloads = Reloads()
    reloads.fault = "the disk is full"
    task = await following(folder, reloads)
    (folder / "one.json").write_text("a change")
    await until(lambda: "the disk is full" in caplog.text)
    reloads.fault = "it isn't signed"
    await until(lambda: "it isn't signed" in caplog.text)
    task.cancel()


async def test_fault_of_our_own_is_not_swallowed(folder: Path) -> None:
    """A watch that died silently would trust the old roster for good."""

    async def reload() -> None:
        raise ZeroDivisionError

    task = await following(folder, reload)
    (folder / "one.json").write_text("a change")
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(task, 60)


async def test_signed_files_are_read_soon_after_they_came_to_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a whole interval later: a list of revocations counts as soon as it can be taken whole."""
    rested, reloads = list[float](), Reloads()
    monkeypatch.setattr("comity.certs.watching.time.sleep", rested.append)
    watch = FileWatch((folder, "*.json"))
    (folder / "one.json").write_text("another, longer one")
    task = asyncio.create_task(follow(watch, reloads, seconds=0.005, faults=(NotGood,), log=LOG, rest=0.5))
    await until(lambda: reloads.calls == 1)
    await asyncio.sleep(0.05)
    task.cancel()
    assert rested == [0.5] and reloads.calls == 1, "nothing is waited for while nothing moves"
