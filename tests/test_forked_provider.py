"""An end that rolls back, forks or breaks a promise of its log, against the whole federation (L2).

The provider holds its own log key and lies about its log to its peers; everything else is as in production.
Rule by rule it stands in `tests/audit/test_peers.py`; a broker that lies so, in `tests/test_lying_broker.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import MethodType

import pytest
import pytest_asyncio

from comity.adapters.path import Reply
from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.note import LogKey
from comity.audit.shown import ShownCheckpoints
from tests.simulator import FederationSimulator, simulate
from tests.support.federation import FederationOnDisk
from tests.test_lying_provider import signed

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAPD = "lapd.example/adapter"
SHERIFF = "sheriff.example/gateway"
BROKER = "operator.example/broker"
OTHERS = {"cbp", "dea", "lahd"}
Lie = Callable[[ShownCheckpoints, LogKey, str], None]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    laid_out: FederationOnDisk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FederationSimulator]:
    root = tmp_path_factory.mktemp("forked-provider") / "f"
    shutil.copytree(laid_out.root, root)
    async with simulate(FederationOnDisk(root=root, spec=laid_out.spec)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def federation(running: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    """The shared federation; after the test LAPD is honest and pardoned, and all answer in full."""
    await running.search(days=1)
    await running.passes(seconds=5)
    yield running
    for name in ("due", "prove"):
        vars(shown_by(running)).pop(name, None)
    running["lapd"].is_honest_again()
    await running.pardons()
    running.forgets_sessions()
    assert await running.recovers()


def shown_by(federation: FederationSimulator) -> ShownCheckpoints:
    end = federation["lapd"].end
    assert end is not None
    return end.logs.desk.shown


def lies(federation: FederationSimulator, lie: Lie, to: str) -> None:
    key = LogKey.load(federation.made.adapter_home("lapd") / "keys/log.key", LAPD)
    lie(shown_by(federation), key, to)


def grows_a_fork(shown: ShownCheckpoints, key: LogKey, to: str) -> None:
    """In the place of each of its checkpoints the peer is shown that of another tree."""

    def due(self: ShownCheckpoints, origin: str) -> bytes | None:
        note = ShownCheckpoints.due(self, origin)
        if note is None or origin != to:
            return note
        size = peek_checkpoint(note).size
        root = sha256(b"fork of %d" % size).digest()
        return Checkpoint(origin=key.origin, size=size, root=root).sign(key)

    shown.due = MethodType(due, shown)  # type: ignore[method-assign]


def rolls_back(shown: ShownCheckpoints, key: LogKey, to: str) -> None:
    """The peer is shown a smaller log than before."""

    def due(self: ShownCheckpoints, origin: str) -> bytes | None:
        note = ShownCheckpoints.due(self, origin)
        if note is None or origin != to:
            return note
        return Checkpoint(origin=key.origin, size=3, root=sha256(b"three").digest()).sign(key)

    shown.due = MethodType(due, shown)  # type: ignore[method-assign]


def proves_nothing(shown: ShownCheckpoints, key: LogKey, to: str) -> None:
    """The peer's requests stay without an answer."""

    async def prove(self: ShownCheckpoints, origin: str, request: object) -> None:
        return None

    shown.prove = MethodType(prove, shown)  # type: ignore[method-assign]


@pytest.mark.parametrize("lie", [grows_a_fork, rolls_back])
async def test_provider_whose_log_is_another_is_asked_nothing_more(
    federation: FederationSimulator, lie: Lie
) -> None:
    """The gateway logs both notes, ends the session, and names it in the next plan; the others answer."""
    logged = federation.asking["sheriff"].journal
    before = len(logged.of("contradiction"))
    lies(federation, lie, SHERIFF)
    await federation.search(days=1)
    await federation.until(lambda: federation.refusals().get("sheriff/gateway") == {LAPD})
    await federation.until(lambda: len(logged.of("contradiction")) > before)
    found = logged.of("contradiction")[-1]
    assert all(LAPD in str(found.public[name]) for name in ("note", "last_note"))
    journal = federation["lapd"].journal
    await federation.until(
        lambda: [one.public["reason"] for one in journal.of("session_closed")][-1:] == ["log_contradicted"]
    )
    assert any("CONTRADICTS" in line and LAPD in line for line in federation.warnings)
    asked = federation["lapd"].asked
    answer = await federation.search(days=1)
    assert set(answer.kinds) == OTHERS and set(answer.kinds.values()) == {"RESPONDED"}
    assert federation["lapd"].asked == asked
    assert "operator/broker" not in federation.refusals()  # it was shown the true log


async def test_end_whose_log_forks_gets_no_link(federation: FederationSimulator) -> None:
    """The broker logs both notes, closes the link with a reason, and opens no other one."""
    lies(federation, grows_a_fork, BROKER)
    await federation.search(days=1)
    await federation.until(lambda: federation.refusals().get("operator/broker") == {LAPD})
    journal = federation.journals["operator/broker"]
    await federation.until(lambda: journal.of("link_refused"))
    assert journal.of("link_refused")[-1].public["reason"] == "log_contradicted"
    closed = federation["lapd"].journal.of("link_closed")[-1]
    assert closed.public["reason"] == "log_contradicted"
    assert (await federation.search(days=1)).kinds["lapd"] == "UNREACHABLE"


async def test_provider_that_promises_another_entry_than_it_logs_is_refused(
    federation: FederationSimulator,
) -> None:
    """Its signed receipt names a leaf that its log doesn't hold there: shown with its next checkpoint."""

    def broken(reply: Reply) -> Reply:
        return signed(
            federation,
            reply,
            lambda receipt: setattr(receipt.promise, "leaf_hash", sha256(b"other").digest()),
        )

    journal = federation.asking["sheriff"].journal
    before = len(journal.of("contradiction"))
    federation["lapd"].lies.append(broken)
    answer = await federation.search(days=1)
    assert answer.kinds["lapd"] == "RESPONDED"
    await federation.until(lambda: federation.refusals().get("sheriff/gateway") == {LAPD})
    await federation.until(lambda: len(journal.of("contradiction")) > before)
    found = journal.of("contradiction")[-1]
    assert (found.public["how"], found.exchange) == ("promise", answer.exchange_id)
    assert LAPD not in federation.refusals().get("operator/broker", set())


async def test_provider_that_proves_nothing_is_told_of_and_not_cosigned(
    federation: FederationSimulator,
) -> None:
    """Both peers log `unproven` with both notes; none of its checkpoints counts meanwhile."""
    lies(federation, proves_nothing, "")
    peers = ("operator/broker", "sheriff/gateway")
    seen = {name: federation.journals[name].log.last_seen(LAPD) for name in peers}
    await federation.search(days=1)
    for name, before in seen.items():
        journal = federation.journals[name]
        await federation.until(lambda journal=journal: journal.of("unproven"), seconds=120)
        assert journal.of("unproven")[-1].public["peer_origin"] == LAPD
        assert journal.log.last_seen(LAPD) == before
    assert not federation.refusals()


async def test_honest_ends_prove_and_cosign_all_that_they_show(federation: FederationSimulator) -> None:
    """Each end's checkpoints come back cosigned by each of its peers; every promise is asked for."""
    for _ in range(3):
        await federation.search(days=1)
        await federation.passes(seconds=3)
    kept = federation.made.adapter_home("lapd") / "log/cosigned"
    texts = [path.read_text() for path in kept.iterdir()]
    assert any(all(f"— {name} " in text for name in (LAPD, SHERIFF, BROKER)) for text in texts)
    for name, journal in federation.journals.items():
        newest = [entry.public for entry in journal.of("checkpoint_seen")[-3:]]
        assert newest and all(f"— {journal.log.origin} " in str(one["cosignature"]) for one in newest), name
        assert all(int(str(one["from_size"])) < int(str(one["size"])) for one in newest)


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="function")
async def test_refusal_outlives_a_restart_and_honest_ends_are_not_accused_by_theirs(
    laid_out: FederationOnDisk, tmp_path: Path
) -> None:
    """All processes start again twice: who was refused still is, by its peer's own log, and nobody else."""
    shutil.copytree(laid_out.root, tmp_path / "f")
    made = FederationOnDisk(root=tmp_path / "f", spec=replace(laid_out.spec))
    async with simulate(made) as federation:
        await federation.search(days=1)
        await federation.passes(seconds=5)
        lies(federation, grows_a_fork, SHERIFF)
        await federation.search(days=1)
        await federation.until(lambda: federation.refusals())
    async with simulate(made, since=federation.clock()) as federation:
        assert federation.refusals() == {"sheriff/gateway": {LAPD}}
        assert set((await federation.search(days=1)).kinds) == OTHERS
        await federation.passes(seconds=5)
        await federation.pardons()
        answer = await federation.search(days=1)
        assert answer.is_whole and set(answer.kinds) == OTHERS | {"lapd"}
        await federation.passes(seconds=35)
        for journal in federation.journals.values():
            assert not journal.of("unproven", "contradiction")
        assert not federation.refusals()
