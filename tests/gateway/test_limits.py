"""What happens at a gateway when a limit is passed: who is told, who pays, and that it recovers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2

from comity.gateway.config import load_config
from comity.gateway.errors import (
    AgencyBusy,
    Busy,
    CallerTooSlow,
    ConfigInvalid,
    HoldsTooMuch,
    UserBusy,
    to_status,
)
from comity.gateway.limits import RANGES, GatewayLimits, Places
from comity.v1 import common_pb2, link_pb2, session_pb2
from tests.gateway.conftest import Lies, Provider, Story, make_question
from tests.gateway.test_gateway import CLAIMS, SHORT, World, until

MIB = 1024 * 1024
LONG = {"timeout": timedelta(seconds=30)}


def details(error: Busy) -> tuple[error_details_pb2.RetryInfo, error_details_pb2.ErrorInfo]:
    """What a machine is told beside the code."""
    retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
    parts: list[Message] = [retry, info]
    for packed, part in zip(to_status(error).details, parts, strict=True):
        assert packed.Unpack(part)
    return retry, info


@pytest.mark.parametrize("kind", [Busy, UserBusy, AgencyBusy, CallerTooSlow, HoldsTooMuch])
def test_every_limit_is_resource_exhausted_with_a_time_to_come_again(kind: type[Busy]) -> None:
    """A limit is told with its own reason and `RetryInfo`."""
    retry, info = details(kind("a limit"))
    assert to_status(kind("a limit")).code == code_pb2.RESOURCE_EXHAUSTED
    assert retry.retry_delay.seconds >= 1
    assert info.reason == kind.reason


async def test_user_over_the_limit_is_refused_and_another_user_is_not() -> None:
    """One user cannot take the places of all; who it is stands in no error."""
    world = World(Provider("lapd"))
    world.silent = {"lapd"}
    world.limit(max_in_flight=8, max_in_flight_per_user=2)
    first = [asyncio.create_task(world.ask(**SHORT)) for _ in range(3)]
    await asyncio.sleep(0.05)
    other = asyncio.create_task(world.ask(claims=replace(CLAIMS, user="m.chen"), **SHORT))
    done = await asyncio.gather(*first, other, return_exceptions=True)
    (busy,) = [result for result in done if isinstance(result, Busy)]
    assert isinstance(busy, UserBusy)
    assert "ortega" not in str(to_status(busy))
    assert world.happened.count("link order") == 3
    world.silent = set()
    assert await world.ask(**SHORT), "there is room again"


def test_place_is_given_back_once() -> None:
    """A place that is left twice is one place."""
    places = Places(GatewayLimits(max_in_flight=2, max_in_flight_per_user=1))
    place = places.take("a")
    places.take("b")
    with pytest.raises(UserBusy):
        places.take("a")
    with pytest.raises(Busy):
        places.take("c")
    place.leave()
    place.leave()
    assert len(places) == 1
    places.take("a")


async def test_place_of_a_question_that_is_not_asked_is_free_again() -> None:
    """A log that can't be written, or a link that goes, costs no place for ever."""
    world = World(Provider("lapd"))
    world.limit(max_in_flight=1)
    world.fails_at = "asked"
    for _ in range(3):
        with pytest.raises(Exception, match="log"):
            await world.ask(**SHORT)
    world.fails_at = ""
    assert await world.ask(**SHORT)


async def test_limit_of_the_broker_is_told_as_the_agencys_after_the_summary() -> None:
    """The broker took no order: RESOURCE_EXHAUSTED, at once, and providers are told to stop (design 5)."""
    world = World(Provider("lapd"), Provider("lahd"))
    world.silent = {"lapd", "lahd"}
    world.rejects = link_pb2.ORDER_REJECTION_REASON_LIMIT
    seen: list[str] = []
    with pytest.raises(AgencyBusy):
        async with asyncio.timeout(25):
            await world.ask(seen=seen, **LONG)
    assert seen == ["plan", "outcome", "outcome", "summary"]
    assert world.happened.count("session cancel") == world.happened.count("session ask")
    world.rejects = None
    world.silent = set()
    assert await world.ask(**SHORT)


async def test_caller_that_does_not_read_is_let_go_after_its_deadline() -> None:
    """Its pages are let go and its place is free, whether it ever reads on or not; then it is told."""
    world = World(Provider("lapd", reads=20))
    world.limit(max_in_flight=1, read_seconds=1)
    search = world.gateway.search(make_question(**SHORT), CLAIMS, "jwt")
    assert (await anext(search)).WhichOneof("part") == "plan"
    assert (await anext(search)).WhichOneof("part") == "outcome"
    assert world.gateway._held.bytes > 0
    with pytest.raises(Busy):
        await world.ask(**SHORT)
    async with asyncio.timeout(60):
        while world.gateway._running:
            await asyncio.sleep(0.01)
    assert world.gateway._held.bytes == 0
    assert await world.ask(**SHORT), "its place is free"
    with pytest.raises(CallerTooSlow):
        await anext(search)
    await world.gateway.settle_tasks()
    assert [entry for entry in world.entries if entry.public.get("cancelled")]


async def test_greatest_exchange_pays_when_the_gateway_holds_too_much() -> None:
    """Many slow callers cannot grow the gateway: the one that holds most is let go, the others are not."""
    world = World(Provider("lapd"), Provider("lahd"))
    world.silent = {"lapd", "lahd"}
    world.limit(max_answer_bytes=MIB, max_held_bytes=2 * MIB)
    searches = [world.gateway.search(make_question(**LONG), CLAIMS, "jwt") for _ in range(2)]
    large, small = [(await anext(search)).plan.exchange_id for search in searches]
    await until(lambda: world.happened.count("session ask") == 4)
    sent = [(large, "lapd"), (large, "lahd"), (small, "lapd"), (small, "lahd")]
    for exchange_id, provider in [*sent, *sent, sent[0], sent[1], *sent]:
        world.brings_page(provider, exchange_id, bytes(250_000))
        assert world.gateway._held.bytes <= 2 * MIB
    assert world.gateway._running.keys() == {small}
    with pytest.raises(HoldsTooMuch):
        await anext(searches[0])
    await searches[1].aclose()
    assert world.gateway._held.bytes == 0


async def test_page_that_nobody_awaits_gets_no_credit() -> None:
    """A provider that sends pages for ever gets credit for none that its exchange may not have."""
    world = World(Provider("lapd"))
    world.silent = {"lapd"}
    world.limit(max_answer_bytes=MIB)
    search = world.gateway.search(make_question(**LONG), CLAIMS, "jwt")
    exchange_id = (await anext(search)).plan.exchange_id
    await until(lambda: world.happened.count("session ask") == 1)
    for _ in range(40):
        world.brings_page("lapd", exchange_id, bytes(250_000))
        world.brings_page("lapd", b"another exchange", bytes(250_000))
    assert world.happened.count("session credit") == 4
    assert world.gateway._held.bytes == 0
    outcome = (await anext(search)).outcome
    assert outcome.kind == common_pb2.OUTCOME_KIND_UNVERIFIABLE
    await search.aclose()


def test_page_over_the_limit_ends_that_provider_alone() -> None:
    """One page that is too large: its provider's result is unverifiable, another's is not touched."""
    story = Story(Provider("lapd"), Provider("lahd"))
    page = session_pb2.PageDelivery(exchange_id=story.order.exchange_id, page=bytes(600 * 1024))
    assert not story.exchange.on_page("lapd", page)
    story.answers("lahd")
    story.stamps("lahd")
    kinds = {item.provider: item.kind for item in story.exchange.take_settled()}
    assert kinds == {
        "lapd": common_pb2.OUTCOME_KIND_UNVERIFIABLE,
        "lahd": common_pb2.OUTCOME_KIND_RESPONDED,
    }


def test_announced_number_of_pages_over_the_limit_is_refused_at_once() -> None:
    """A receipt over more pages than are taken is not waited for."""
    story = Story(Provider("lapd"))
    story.exchange._limits = GatewayLimits(max_pages=1)

    def two(detail: Any) -> None:
        detail.page_count = 2

    story.answers("lapd", Lies(detail=two))
    (settled,) = story.exchange.take_settled()
    assert settled.kind == common_pb2.OUTCOME_KIND_UNVERIFIABLE and "more than" in settled.text


CONFIG = """
agency = "sheriff"
listen = "127.0.0.1:7443"
broker = "127.0.0.1:7400"
broker_name = "broker.operator.example"
authority = "authority.json"
public = "public"
agreements = "agreements"
"""


@pytest.fixture
def gateway_toml(tmp_path: Path) -> Path:
    for folder in ("public", "agreements"):
        (tmp_path / folder).mkdir()
    (tmp_path / "authority.json").write_text("{}")
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize("key", list(RANGES))
def test_limit_out_of_its_range_is_told_with_key_and_range(gateway_toml: Path, key: str) -> None:
    """Too small, too large, or no number: one line with file, key and range."""
    least, most = RANGES[key]
    for wrong in (str(least - 1), str(most + 1), "true", '"many"', "1.5"):
        gateway_toml.write_text(f"{CONFIG}{key} = {wrong}\n")
        with pytest.raises(ConfigInvalid) as caught:
            load_config(gateway_toml)
        line = str(caught.value)
        assert f"`{key}` must be a number from {least} to {most}" in line
        assert str(gateway_toml) in line and "\n" not in line


def test_limits_are_read_and_have_defaults(gateway_toml: Path) -> None:
    """What the file doesn't name has its default."""
    gateway_toml.write_text(f"{CONFIG}max_in_flight_per_user = 3\n")
    limits = load_config(gateway_toml).limits
    assert limits == GatewayLimits(max_in_flight_per_user=3)


def test_gateway_that_may_hold_less_than_one_answer_is_refused(gateway_toml: Path) -> None:
    """Two limits that contradict each other are told together."""
    gateway_toml.write_text(f"{CONFIG}max_held_bytes = {MIB}\n")
    with pytest.raises(
        ConfigInvalid, match=r"`max_held_bytes` must be `max_answer_bytes`, 16777216, or more"
    ):
        load_config(gateway_toml)


def test_configuration_in_another_encoding_is_told_in_one_line(gateway_toml: Path) -> None:
    """A file that an editor wrote as UTF-16 is no TOML: said with its name, as of any other fault."""
    gateway_toml.write_text(CONFIG, encoding="utf-16")
    with pytest.raises(ConfigInvalid, match="is not TOML") as caught:
        load_config(gateway_toml)
    assert str(gateway_toml) in str(caught.value) and "\n" not in str(caught.value)
