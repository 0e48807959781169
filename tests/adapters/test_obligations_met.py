"""What a policy obliges to is met at the provider, in what leaves and in what is logged (A1, A6, A8)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from comity.adapters.bundles import keep_bundle
from comity.adapters.path import Reply
from comity.adapters.recomputing import Bundles, recompute
from comity.adapters.records import policy_activated
from comity.adapters.ruling import Store
from comity.adapters.sources.source import SourceResult, StoredImage
from comity.audit.log import SignedLog
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.search import REQUESTERS_OWN
from comity.audit.searching.walk import LogWalk
from comity.certs.instants import to_instant
from comity.policy import markings
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.facts import StoreFacts
from comity.v1 import common_pb2, result_pb2
from tests.adapters.bench import NOON, PLATE, Bench, MemorySource, detail_of, period, reads_of, stored_read

SEARCH = """
@id("t.search")
@rule("A1")
@document("ours")
@text("everybody may search")
@retain_days("30")
@max_window("none")
permit (principal, action == Action::"Search", resource);
"""
VIEW = """
@id("t.view")
@rule("A1")
@document("ours")
@text("everybody may view")
permit (principal, action in Action::"View", resource);
"""

Under = Callable[..., Bench]


@pytest.fixture
def under(bench: Bench, tmp_path: Path) -> Under:
    """Return a function that puts the bench under these policies, with stores of these classes."""

    def put(*policies: str, windows: str = "", classes: tuple[str, ...] = ("fixed",)) -> Bench:
        folder = tmp_path / "law"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "policies").mkdir(parents=True)
        for file in ("schema.cedarschema", "entities.json"):
            shutil.copyfile(shipped("lapd") / file, folder / file)
        (folder / "bundle.toml").write_text('agency = "lapd"\nversion = "1"\n')
        for index, text in enumerate(policies):
            (folder / "policies" / f"{index:02}.cedar").write_text(text)
        if windows:
            (folder / "windows.toml").write_text(windows)
        bench.bundle = PolicyBundle.load(folder)
        path = bench.build()
        stores = tuple(
            Store(
                facts=StoreFacts(store_id=name, store_class=name),
                source=MemorySource(stored_read(store=name)),
            )
            for name in classes
        )
        path.standing = replace(path.standing, stores=stores)
        return bench

    return put


def source(bench: Bench, store: str) -> MemorySource:
    found = next(each.source for each in bench.path.standing.stores if each.store_id == store)
    assert isinstance(found, MemorySource)
    return found


# -- retention ---------------------------------------------------------------------------------------------


async def test_each_store_is_searched_no_further_back_than_it_keeps(under: Under) -> None:
    """What is past a store's own retention isn't even searched for there, and the answer says so (A8)."""
    windows = '[retention.mobile]\ndays = 20\nrule = "A8"\ndocument = "ours"\n'
    bench = under(SEARCH, VIEW, windows=windows, classes=("fixed", "mobile"))
    for name in ("fixed", "mobile"):
        source(bench, name).reads = [
            stored_read(1, store=name),
            stored_read(2, store=name, at=NOON - timedelta(25)),
        ]
    reply = await bench.reply(bench.ask(bench.query(period=period(NOON - timedelta(30), NOON))))
    assert sorted(read.read_id for read in reads_of(reply)) == ["fixed:r1", "fixed:r2", "mobile:r1"]
    assert source(bench, "mobile").queries[0].start == NOON - timedelta(20)
    detail = detail_of(reply)
    assert to_instant(detail.searched, "start") == NOON - timedelta(30)
    (told,) = (item for item in detail.obligations if item.name == "clip_retention")
    assert told.policy_id == "retention.mobile"
    assert "since 2026-02-10" in told.text


async def test_period_is_clipped_to_what_the_one_store_keeps(under: Under) -> None:
    """With one store the period that was searched is the one that it keeps (A8)."""
    windows = '[retention.mobile]\ndays = 20\nrule = "A8"\ndocument = "ours"\n'
    bench = under(SEARCH, VIEW, windows=windows, classes=("mobile",))
    reply = await bench.reply(bench.ask(bench.query(period=period(NOON - timedelta(30), NOON))))
    detail = detail_of(reply)
    assert detail.period_clipped
    assert to_instant(detail.searched, "start") == NOON - timedelta(20)


async def test_store_that_gives_more_than_it_keeps_is_cut(under: Under) -> None:
    """A store that answers past its retention is cut all the same (A8)."""
    windows = '[retention.mobile]\ndays = 20\nrule = "A8"\ndocument = "ours"\n'
    bench = under(SEARCH, VIEW, windows=windows, classes=("fixed", "mobile"))
    old = stored_read(2, store="mobile", at=NOON - timedelta(25))
    source(bench, "mobile").gives = SourceResult(reads=(old,), truncated=False)
    reply = await bench.reply(bench.ask(bench.query(period=period(NOON - timedelta(30), NOON))))
    assert [read.read_id for read in reads_of(reply)] == ["fixed:r1"]


# -- places ------------------------------------------------------------------------------------------------

COARSE = SEARCH.replace("@retain_days", '@obligation("coarsen_location")\n@grid("wgs84-0.1")\n@retain_days')
PLACELESS = SEARCH.replace("@retain_days", '@obligation("withhold_place")\n@retain_days')


async def test_coarser_location_says_its_grid_and_takes_along_what_would_tell_more(under: Under) -> None:
    """The cell, its grid and size; no address, no intersection, no camera, no source (A6)."""
    bench = under(COARSE, VIEW)
    reply = await bench.reply()
    (read,) = reads_of(reply)
    assert (read.location.latitude, read.location.longitude) == (34.05, -118.25)
    assert (read.location.grid, read.location.grid_metres) == ("wgs84-0.1", 11170)
    assert list(read.withheld) == [common_pb2.ELEMENT_VEHICLE, common_pb2.ELEMENT_CAMERA]
    for word in (b"Main St", b"cam-7", b"patrol"):
        assert word not in b"".join([reply.detail, *reply.pages])
    (told,) = (item for item in detail_of(reply).obligations if item.name == "coarsen_location")
    assert told.policy_id == "t.search"
    assert "wgs84-0.1, in cells of up to 11170 m" in told.text


async def test_who_wants_the_camera_alone_does_not_get_around_the_grid(under: Under) -> None:
    """The camera's name would tell the place, whether or not the location is asked for too (A6)."""
    bench = under(COARSE, VIEW)
    reply = await bench.reply(bench.ask(bench.query(elements=[common_pb2.ELEMENT_CAMERA])))
    (read,) = reads_of(reply)
    assert not read.HasField("camera")
    assert not read.HasField("location")
    assert read.source == ""


async def test_area_cannot_locate_more_finely_than_the_grid(under: Under) -> None:
    """Hits inside a circle would narrow the cell: refused, and nothing is searched (A6)."""
    bench = under(COARSE, VIEW)
    area = common_pb2.Area(latitude=34.05, longitude=-118.24, radius_metres=100)
    reply = await bench.reply(bench.ask(bench.query(area=area)))
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert source(bench, "fixed").queries == []


async def test_covert_source_is_shown_without_place(under: Under) -> None:
    """Neither location nor camera, of the images that of the plate; a fixed store beside it is whole (A6)."""
    covert = PLACELESS.replace("resource);", 'resource)\nwhen { resource.class == StoreClass::"covert" };')
    fixed = SEARCH.replace("t.search", "t.fixed").replace(
        "resource);", 'resource)\nwhen { resource.class == StoreClass::"fixed" };'
    )
    bench = under(covert, fixed, VIEW, classes=("fixed", "covert"))
    images = (StoredImage(image_id="f", view="front"), StoredImage(image_id="p", view="plate"))
    source(bench, "covert").reads = [stored_read(1, store="covert", images=images)]
    by_store = {read.read_id.partition(":")[0]: read for read in reads_of(await bench.reply())}
    hidden, whole = by_store["covert"], by_store["fixed"]
    assert not hidden.HasField("location")
    assert not hidden.HasField("camera")
    assert hidden.source == ""
    assert [image.image_id for image in hidden.images] == ["p"]
    assert {common_pb2.ELEMENT_LOCATION, common_pb2.ELEMENT_IMAGES, common_pb2.ELEMENT_CAMERA} <= set(
        hidden.withheld
    )
    assert whole.HasField("location")
    assert [image.image_id for image in whole.images] == ["i1"]


async def test_covert_source_that_is_withheld_is_not_searched(under: Under) -> None:
    """A store that no policy lets be searched isn't touched, and isn't named (A6)."""
    fixed = SEARCH.replace("resource);", 'resource)\nwhen { resource.class == StoreClass::"fixed" };')
    bench = under(fixed, VIEW, classes=("fixed", "covert"))
    reply = await bench.reply()
    assert source(bench, "covert").queries == []
    assert b"covert" not in b"".join([reply.detail, *reply.pages])


# -- what is said ------------------------------------------------------------------------------------------


async def test_what_is_withheld_is_not_said_where_the_policy_does_not_permit_it(under: Under) -> None:
    """The read looks as if the store had none; the provider's own log tells it all the same (A1)."""
    unsaid = """
@id("t.quiet")
@rule("A6")
@document("ours")
@text("cameras are told to nobody")
@say("no")
forbid (principal, action == Action::"ViewCamera", resource);
"""
    bench = under(SEARCH, VIEW, unsaid)
    reply = await bench.reply()
    (read,) = reads_of(reply)
    assert not read.HasField("camera")
    assert common_pb2.ELEMENT_CAMERA not in read.withheld
    assert b"t.quiet" not in reply.detail
    assert b"withhold_camera" not in reply.detail
    assert "withhold_camera t.quiet (not said)" in bench.log.entries[1].private["obligations"]


async def test_place_that_is_withheld_unsaid_leaves_no_trace(under: Under) -> None:
    """Location, camera and the images that would show it: none is called withheld (A6)."""
    bench = under(PLACELESS.replace("@retain_days", '@say("no")\n@retain_days'), VIEW)
    reply = await bench.reply()
    (read,) = reads_of(reply)
    assert not read.HasField("location")
    assert not read.images
    assert list(read.withheld) == [common_pb2.ELEMENT_VEHICLE]
    assert b"withhold_place" not in reply.detail


async def test_limit_of_reads_is_said_when_it_cut_the_answer(under: Under) -> None:
    """The newest are given, and the detail names the limit and its policy; else it says nothing (A1)."""
    bench = under(SEARCH.replace("@retain_days", '@max_reads("2")\n@retain_days'), VIEW)
    source(bench, "fixed").reads = [stored_read(n, at=NOON - timedelta(n)) for n in (1, 2, 3)]
    detail = detail_of(await bench.reply())
    told = {(item.name, item.text, item.policy_id) for item in detail.obligations}
    assert ("limit_reads", "at most 2 reads are given, the newest", "t.search") in told
    source(bench, "fixed").reads = [stored_read(1)]
    assert "limit_reads" not in {item.name for item in detail_of(await bench.reply()).obligations}


# -- refusals that are shown as an answer without hits ------------------------------------------------------

HIDDEN = """
@id("t.hidden")
@rule("A1")
@document("ours")
@text("narcotics cases are told to nobody")
@shown_as("no_hits")
forbid (principal, action, resource)
when { context.query.reason == Reason::"NARCOTICS" || resource.class == StoreClass::"covert" };
"""
LIMITED = SEARCH.replace("@retain_days", '@caveat("Ask first.")\n@max_reads("5")\n@retain_days')


def content(reply: Reply) -> dict[str, object]:
    """All that a requester gets, without what is drawn anew each time."""
    detail, receipt = detail_of(reply), result_pb2.Receipt.FromString(reply.receipt.payload)
    for message in (detail, receipt):
        for drawn in ("nonce", "exchange_id"):
            message.ClearField(drawn)  # type: ignore[arg-type]
    for drawn in ("query_digest", "content_root", "promise", "policy_digest"):
        receipt.ClearField(drawn)  # type: ignore[arg-type]
    return {
        "kind": reply.kind,
        "detail": detail,
        "pages": reply.pages,
        "receipt": receipt,
        "lengths": (len(reply.detail), len(reply.receipt.payload)),
    }


async def narcotics(bench: Bench) -> Reply:
    return await bench.reply(bench.ask(bench.query(reason=common_pb2.REASON_CODE_NARCOTICS)))


async def test_hidden_refusal_is_an_answer_without_hits_in_every_byte(under: Under) -> None:
    """Kind, rules, limits, caveats, marking, receipt, lengths: as where the store holds nothing (A1)."""
    bench = under(LIMITED, VIEW)
    source(bench, "fixed").reads = []
    empty = content(await narcotics(bench))
    hidden = content(await narcotics(under(LIMITED, VIEW, HIDDEN)))
    assert hidden == empty
    assert hidden["kind"] == common_pb2.OUTCOME_KIND_RESPONDED
    assert hidden["pages"] == ()


async def test_hidden_refusal_takes_a_search_and_looks_at_no_read(under: Under) -> None:
    """The store is asked for a plate drawn by lot in the same period: a search's time, and no data (A1)."""
    bench = under(LIMITED, VIEW, HIDDEN)
    await narcotics(bench)
    await narcotics(bench)
    first, second = source(bench, "fixed").queries
    assert PLATE not in (first.folded_plate, second.folded_plate)
    assert first.folded_plate != second.folded_plate
    assert (first.start, first.end, first.limit) == (NOON - timedelta(30), NOON, 5)


async def test_store_that_answers_a_decoy_gives_nothing(under: Under) -> None:
    """Whatever a refused store gives, it is dropped, and it doesn't make the answer look cut (A1)."""
    bench = under(LIMITED, VIEW, HIDDEN)
    source(bench, "fixed").gives = SourceResult(reads=(stored_read(),), truncated=True)
    reply = await narcotics(bench)
    assert reads_of(reply) == []
    assert not detail_of(reply).truncated


async def test_own_log_tells_the_refusal_and_nobody_elses_words_do(under: Under) -> None:
    """In clear stands what was told, as in the receipt; the refusal and its policy are the provider's own."""
    bench = under(LIMITED, VIEW, HIDDEN)
    await narcotics(bench)
    decided, released = bench.log.entries[1:]
    assert (decided.public["outcome"], released.public["outcome"]) == ("responded", "responded")
    assert decided.private["effect"] == "refuse"
    assert decided.private["rules"] == '["t.hidden A1"]'
    assert decided.private["stores"] == "[]"
    assert released.private["reads"] == "0"
    assert not {"effect", "rules", "stores"} & REQUESTERS_OWN
    await bench.reply()
    told = bench.log.entries[4]
    assert (told.kind, told.private["effect"]) == ("decided", "permit")
    assert told.public.keys() == decided.public.keys()
    assert told.private.keys() == decided.private.keys()


async def test_hidden_store_beside_another_is_not_missed(under: Under) -> None:
    """The other store's reads come, under the terms of both; of the hidden one nothing tells (A1)."""
    narrow = LIMITED.replace("t.search", "t.covert").replace(
        "resource);", 'resource)\nwhen { resource.class == StoreClass::"covert" };'
    )
    bench = under(SEARCH, narrow, VIEW, classes=("fixed", "covert"))
    source(bench, "covert").reads = []
    open_reply = await bench.reply()
    hidden = under(SEARCH, narrow, VIEW, HIDDEN, classes=("fixed", "covert"))
    reply = await hidden.reply()
    assert [read.read_id for read in reads_of(reply)] == ["fixed:r1"]
    assert content(reply)["detail"] == content(open_reply)["detail"]
    assert PLATE not in [query.folded_plate for query in source(hidden, "covert").queries]


async def test_hidden_refusal_comes_out_the_same_when_it_is_made_again(
    under: Under, real_log: SignedLog
) -> None:
    """From log, openings and bundle, years later; with the effect that was logged (design 6)."""
    bench = under(LIMITED, VIEW, HIDDEN)
    home = bench.folder / "logged"
    home.mkdir(exist_ok=True)
    keep_bundle(home, bench.bundle)
    stores = bench.path.standing.stores
    bench.build(real_log).standing = replace(bench.path.standing, stores=stores)
    await real_log.append(policy_activated(bench.bundle, NOON))
    await narcotics(bench)
    await bench.reply()
    await real_log.close()
    with KeptBeside(home / "state.db") as kept:
        found = list(recompute(LogWalk(home / "log"), kept, Bundles([home / "bundles"])))
    assert [(each.outcome, each.differences, each.unknown) for each in found] == [("responded", (), "")] * 2


# -- markings ----------------------------------------------------------------------------------------------


def with_ceiling(bench: Bench, ceiling: result_pb2.Marking) -> None:
    """Put the agreements' data under another ceiling."""
    book = bench.path.standing.agreements
    agreements = tuple(
        replace(
            agreement,
            grants=tuple(replace(grant, ceiling=ceiling.SerializeToString()) for grant in agreement.grants),
        )
        for agreement in book.agreements
    )
    bench.standing(agreements=replace(book, agreements=agreements))


def federal(*controls: str) -> result_pb2.Marking:
    return markings.make_marking(
        provider="lapd",
        nature="licence plate reads",
        scheme=result_pb2.MARKING_SCHEME_CUI,
        categories=["LEI"],
        controls=controls,
    )


async def test_data_for_federal_receivers_alone_is_refused_to_a_local_one(bench: Bench) -> None:
    """FED ONLY: nothing is searched; the refusal cites the agreement, and is under no such marking (A4)."""
    with_ceiling(bench, federal("FED ONLY"))
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert bench.source.queries == []
    detail = detail_of(reply)
    assert [(rule.policy_id, list(rule.rules)) for rule in detail.rules] == [
        ("agreement:moa-lapd-lahd", ["A4"])
    ]
    assert detail.public_reason == "the marking of the agreement's data excludes local agencies"
    assert detail.marking.banner == "OFFICIAL USE ONLY // LAPD"
    assert markings.may_receive(detail.marking, "local")
    assert markings.covers(federal("FED ONLY"), detail.marking)
    assert detail.marking.agreement_digest == bench.receipt(reply.receipt).agreement_digest
    with_ceiling(bench, federal("NOFORN"))
    assert (await bench.reply()).kind == common_pb2.OUTCOME_KIND_RESPONDED


async def test_data_that_its_marking_keeps_from_the_receiver_does_not_leave(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was decided: reads that may not be received are not composed (A4)."""
    with_ceiling(bench, federal("FED ONLY"))
    monkeypatch.setattr("comity.adapters.ruling._receives", lambda terms, member: True)
    reply = await bench.reply()
    assert reply.kind == common_pb2.OUTCOME_KIND_REFUSED
    assert reply.pages == ()
