"""What the provider's end answers, and that each step stands on the one before it."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from comity.adapters.errors import Late, SourceFailed
from comity.adapters.pages import content_root
from comity.adapters.records import policy_activated
from comity.adapters.sources.source import SourceResult
from comity.audit.entry import Entry
from comity.audit.log import Promise, SignedLog
from comity.certs.agreements import AgreementView
from comity.certs.envelope import digest
from comity.certs.instants import to_instant
from comity.policy import markings
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import PolicyEngine
from comity.v1 import common_pb2, result_pb2
from tests.adapters.bench import NOON, Bench, detail_of, period, reads_of, stored_read


async def test_permitted_query_is_answered_with_marked_reads(bench: Bench) -> None:
    """Port Police ask LAPD in a criminal case: reads, each marked, under a verified receipt (A1, A4)."""
    ask = bench.ask()
    reply = await bench.reply(ask)
    receipt = bench.receipt(reply.receipt)
    assert receipt.kind == common_pb2.OUTCOME_KIND_RESPONDED
    assert receipt.query_digest == digest(ask.query)
    assert receipt.content_root == content_root(reply.detail, reply.pages)
    assert receipt.policy_digest == bench.bundle.digest
    assert receipt.promise.index == 2
    (read,) = reads_of(reply)
    assert read.plate.number == "8ABC-123"
    assert read.location.address == "100 Main St"
    page, detail = result_pb2.Page.FromString(reply.pages[0]), detail_of(reply)
    ceiling = result_pb2.Marking.FromString(receipt.ceiling_marking)
    for marking in (read.marking, page.marking, detail.marking):
        markings.validate(marking)
        assert markings.covers(ceiling, marking)
        assert marking.provider == "lapd"
        assert marking.agreement_digest == receipt.agreement_digest
    assert detail.read_count == 1
    assert detail.page_count == 1
    assert not detail.period_clipped


async def test_decision_is_durable_before_search_and_release_before_receipt(bench: Bench) -> None:
    """The order that nothing may change: decided on disk, searched, released on disk (design 6)."""
    bench.source.hook = lambda: bench.diary.append("search")
    await bench.reply()
    assert bench.diary == ["received+decided", "search", "released"]


async def test_real_log_holds_the_decision_before_the_search(bench: Bench, real_log: SignedLog) -> None:
    """With the real log: when a store is touched, `received` and `decided` are acknowledged already."""
    bench.build(real_log)
    seen: list[int] = []
    bench.source.hook = lambda: seen.append(real_log.size)
    reply = await bench.reply()
    assert seen == [2]
    assert real_log.size == 3
    assert bench.receipt(reply.receipt).promise.index == 2


async def test_log_tells_no_content_in_clear(bench: Bench) -> None:
    """Plate, user, case and reason stand in private fields; evidence beside them (L1)."""
    await bench.reply()
    received, decided, released = bench.log.entries
    public = repr([received.public, decided.public, released.public])
    for secret in ("8ABC", "LA-2026-1", "CRIMINAL", "scene", received.private["user"]):
        assert secret not in public
    assert received.private["plate"] == "8ABC123"
    assert received.private["reason"] == "CRIMINAL_INVESTIGATION"
    assert set(received.attachments) == {"order", "query"}
    assert released.private["reads"] == "1"


async def test_refusal_cites_rule_and_is_logged_and_signed(bench: Bench) -> None:
    """Civil immigration: LAPD refuses under its own policy, with no page and no search (A3)."""
    query = bench.query(reason=common_pb2.REASON_CODE_CIVIL_IMMIGRATION)
    reply = await bench.reply(bench.ask(query))
    detail = detail_of(reply)
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert "A3" in detail.rules[0].rules
    assert detail.rules[0].document == "MOA II.A"
    assert detail.public_reason
    assert reply.pages == ()
    assert bench.source.queries == []
    assert bench.log.kinds() == ["received", "decided", "released"]
    assert bench.log.entries[1].public["outcome"] == "refused"
    assert bench.receipt(reply.receipt).kind == common_pb2.OUTCOME_KIND_REFUSED


async def test_clipped_period_is_told(bench: Bench) -> None:
    """Eight years asked, five permitted: the search starts later and the detail says so (Q5, A1)."""
    query = bench.query(period=period(NOON - timedelta(days=8 * 365), NOON))
    reply = await bench.reply(bench.ask(query))
    detail = detail_of(reply)
    assert detail.period_clipped
    assert to_instant(detail.searched, "start") == bench.source.queries[0].start
    assert bench.source.queries[0].start > NOON - timedelta(days=6 * 365)
    assert "clip_period" in {item.name for item in detail.obligations}


async def test_withheld_location_and_camera_are_gone_and_named(bench: Bench) -> None:
    """A patrol car's place isn't told to the sheriff; the read says that it is withheld (A6)."""
    bench.store_classes = {"mobile": "mobile"}
    bench.build()
    reply = await bench.reply(peer="sheriff")
    (read,) = reads_of(reply)
    assert not read.HasField("location")
    assert not read.HasField("camera")
    assert read.source == ""
    assert {common_pb2.ELEMENT_LOCATION, common_pb2.ELEMENT_CAMERA} <= set(read.withheld)
    assert "withhold_location" in {item.name for item in detail_of(reply).obligations}
    assert b"Main St" not in b"".join(reply.pages)


async def test_unwanted_elements_are_not_sent(bench: Bench) -> None:
    """What the requester doesn't want isn't sent, and isn't called withheld."""
    reply = await bench.reply(bench.ask(bench.query(elements=[common_pb2.ELEMENT_IMAGES])))
    (read,) = reads_of(reply)
    assert read.images
    assert not read.HasField("location")
    assert not read.HasField("camera")
    assert list(read.withheld) == []


async def test_element_beyond_the_agreement_is_withheld_whatever_the_policy_says(bench: Bench) -> None:
    """The grant bounds what a policy can permit (A2)."""
    book = bench.path.standing.agreements
    shrunk = [_without_images(agreement) for agreement in book.agreements]
    bench.standing(agreements=replace(book, agreements=tuple(shrunk)))
    (read,) = reads_of(await bench.reply())
    assert not read.images
    assert common_pb2.ELEMENT_IMAGES in read.withheld


def _without_images(agreement: AgreementView) -> AgreementView:
    grants = tuple(replace(grant, elements=grant.elements - {"IMAGES"}) for grant in agreement.grants)
    return replace(agreement, grants=grants)


async def test_reads_from_before_the_agreement_stay(bench: Bench) -> None:
    """Where the grant says so, only what was collected since the effective date is shared (A2, MOU 3.1)."""
    book = bench.path.standing.agreements
    agreements = tuple(
        replace(
            agreement,
            effective_at=NOON - timedelta(days=5),
            grants=tuple(replace(grant, collected_after_effective_date=True) for grant in agreement.grants),
        )
        for agreement in book.agreements
    )
    bench.standing(agreements=replace(book, agreements=agreements))
    bench.source.reads = [stored_read(1), stored_read(2, at=NOON - timedelta(days=1))]
    reply = await bench.reply()
    assert [read.read_id for read in reads_of(reply)] == ["fixed:r2"]
    assert detail_of(reply).period_clipped


async def test_store_that_gives_too_much_is_cut(bench: Bench) -> None:
    """Reads of another plate or outside the period never leave, whatever a store gives (Q6)."""
    bench.source.gives = SourceResult(
        reads=(
            stored_read(1),
            stored_read(2, plate="9XYZ999"),
            stored_read(3, at=NOON - timedelta(days=400)),
            stored_read(4, state="NV"),
        ),
        truncated=False,
    )
    assert [read.read_id for read in reads_of(await bench.reply())] == ["fixed:r1"]


async def test_store_that_fails_makes_no_half_answer(bench: Bench) -> None:
    """A store that can't be searched: signed, no reads, ask the contact; never an empty answer."""
    bench.source.gives = SourceFailed("store `fixed`: disk error")
    reply = await bench.reply()
    detail = detail_of(reply)
    assert reply.kind == common_pb2.OUTCOME_KIND_REFERRED
    assert detail.contact
    assert "disk" not in detail.public_reason
    assert reply.pages == ()


async def test_many_reads_make_pages_under_one_root(bench: Bench) -> None:
    """Pages of at most a hundred reads, each with a nonce of its own, numbered from 0 (design 3)."""
    bench.source.reads = [stored_read(i, at=NOON - timedelta(hours=i + 1)) for i in range(250)]
    reply = await bench.reply()
    pages = [result_pb2.Page.FromString(page) for page in reply.pages]
    assert [len(page.reads) for page in pages] == [100, 100, 50]
    assert [page.index for page in pages] == [0, 1, 2]
    assert len({page.nonce for page in pages}) == 3
    assert bench.receipt(reply.receipt).content_root == content_root(reply.detail, reply.pages)


async def test_deadline_that_passes_during_the_search_releases_nothing(bench: Bench) -> None:
    """What is late isn't delivered, and no release is logged (design 5)."""
    bench.source.hook = lambda: bench.clock.forward(11)
    with pytest.raises(Late):
        await bench.answer()
    assert bench.log.kinds() == ["received", "decided"]


async def test_no_hits_look_like_hits_in_the_receipt(bench: Bench) -> None:
    """A receipt tells a hit from no hit by no field and no length (design 3)."""
    hit = await bench.reply()
    bench.source.reads = []
    none = await bench.reply()
    assert none.kind == hit.kind == common_pb2.OUTCOME_KIND_RESPONDED
    assert len(none.receipt.payload) == len(hit.receipt.payload)
    assert none.pages == ()


class _SlowToTell:
    """A log whose writer hears of an activation that is on the disk when the test says so."""

    def __init__(self, log: SignedLog) -> None:
        self.log = log
        self.written: list[Entry] = []
        self.tells = asyncio.Event()

    async def append(self, *entries: Entry) -> list[Promise]:
        promises = await self.log.append(*entries)
        self.written += entries
        if any(entry.kind == "policy_activated" for entry in entries):
            await self.tells.wait()
        return promises

    def checkpoint(self) -> bytes:
        return self.log.checkpoint()


class _Counted(asyncio.Event):
    """An event that knows how often it was waited for."""

    waits = 0

    async def wait(self) -> Literal[True]:
        self.waits += 1
        return await super().wait()


async def test_no_exchange_is_dropped_while_another_policy_is_activated(
    bench: Bench, real_log: SignedLog, tmp_path: Path
) -> None:
    """Hot activation: every question is answered, and every receipt's digest is that of the log at its place.

    One is in the search when the next bundle is activated, three come before its activation is acknowledged,
    one of them malformed.
    """
    folder = tmp_path / "second"
    shutil.copytree(shipped("lapd"), folder)
    (folder / "bundle.toml").write_text('agency = "lapd"\nversion = "2"\n')
    second = PolicyBundle.load(folder)
    log = _SlowToTell(real_log)
    log.tells.set()
    path = bench.build(log)
    gate = path._settled = _Counted()
    gate.set()
    await path.take_into_force(path.standing, [policy_activated(bench.bundle, NOON)])
    searching, go_on = threading.Event(), threading.Event()
    bench.source.hook = lambda: (searching.set(), go_on.wait(30))  # type: ignore[func-returns-value]
    first = asyncio.create_task(bench.reply())
    await asyncio.to_thread(searching.wait, 30)
    log.tells.clear()
    new = replace(path.standing, engine=PolicyEngine(second))
    activating = asyncio.create_task(path.take_into_force(new, [policy_activated(second, NOON)]))
    while log.written[-1].kind != "policy_activated":
        await asyncio.sleep(0)
    go_on.set()
    asks = (bench.ask(), bench.ask(), bench.ask(bench.query(reason=None)))
    later = [asyncio.create_task(bench.reply(ask)) for ask in asks]
    while gate.waits < 4 and not any(task.done() for task in later):
        await asyncio.sleep(0.005)
    log.tells.set()
    replies = await asyncio.gather(first, *later)
    await activating
    await real_log.close()
    policies = {reply.exchange_id: bench.receipt(reply.receipt).policy_digest for reply in replies}
    assert [*policies.values()] == [bench.bundle.digest, *[second.digest] * 3]
    law = ""
    for entry in log.written:
        if entry.kind == "policy_activated":
            law = str(entry.public["policy"])
        elif entry.kind in ("decided", "rejected"):
            assert entry.exchange is not None
            assert entry.public["policy"] == law == policies[entry.exchange].hex()
    assert law == second.digest.hex()
