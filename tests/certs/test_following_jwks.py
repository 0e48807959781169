"""A gateway follows what its identity provider publishes: never in the path of who asks, and never twice."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

import comity.certs.following_jwks as room
from comity.certs.assertions import verify_assertion
from comity.certs.errors import AssertionInvalid, JwksUnavailable
from comity.certs.following_jwks import EARLY, MOST_TOLD, MOST_UNKNOWN, REMEMBERED, PublishedKeys
from comity.certs.inventory import Condition, Kind, of_member
from comity.certs.jwks import es256_keys, to_jwks
from comity.certs.jwks_source import Fetched, JwksSettings
from comity.certs.keys import SigningKey
from comity.certs.members import MemberView
from comity.certs.published_keys import STATE_FILE, judged, load_published
from comity.links.telemetry.metrics import Gauge, identity_provider_readings
from tests.certs.test_assertions import MINUTE, Desk
from tests.support.jwks_server import JwksServer, serving_jwks
from tests.support.rosters import NOON

REFRESH = timedelta(minutes=5)
SECOND = timedelta(seconds=1)
NEW = SigningKey.generate()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JwksServer]:
    with serving_jwks(tmp_path_factory.mktemp("idp")) as server:
        yield server


@pytest.fixture(scope="module")
def lapd(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@lru_cache(maxsize=1)
def lapd_now(desk: Desk) -> MemberView:
    """LAPD by the roster of the module's desk, verified once."""
    return desk.member


class Nearby:
    """A provider that answers without a network, for what is not about the network."""

    def __init__(self) -> None:
        self.url, self.ca = "https://login.lapd.example/jwks.json", None
        self.asked: list[str] = []
        self.body, self.status = b"", 200
        self.max_age: timedelta | None = None

    def __call__(self, settings: JwksSettings) -> Nearby:
        """Stand in for `JwksRequest`."""
        return self

    def run(self) -> Fetched:
        self.asked.append(self.url)
        if self.status != 200:
            raise JwksUnavailable(f"`{self.url}`: the server answers {self.status}")
        return Fetched(jwks=self.body, max_age=self.max_age)

    def cut(self) -> None:
        pass


class House:
    """LAPD's gateway, as far as it follows its identity provider, with its clock in the test's hand."""

    def __init__(self, desk: Desk, server: Any, home: Path) -> None:
        self.desk, self.server, self.home = desk, server, home
        self.member: MemberView | None = lapd_now(desk)
        self.now = NOON
        self.settings = JwksSettings(url=server.url, ca=server.ca, refresh=REFRESH)
        self.publishes(desk.provider._key)
        self.starts()

    def starts(self) -> None:
        """Start, or start anew."""
        self.following = PublishedKeys(
            self.settings,
            issuer=self.desk.provider.issuer,
            home=self.home,
            member=lambda: self.member,
            clock=lambda: self.now,
            draw=lambda: 1.0,
        )

    def publishes(self, *keys: SigningKey) -> None:
        self.server.body = to_jwks({key.key_id: key.public for key in keys})

    async def after(self, passed: timedelta) -> int:
        """Return how often the provider was asked when so much time has passed."""
        self.now += passed
        await self.following.look()
        return len(self.server.asked)

    def names(self, *keys: SigningKey) -> None:
        """Have the roster name these keys."""
        member = lapd_now(self.desk)
        (provider,) = member.key_set.identity_providers
        jwks = to_jwks({key.key_id: key.public for key in keys})
        key_set = replace(member.key_set, identity_providers=(replace(provider, jwks=jwks),))
        self.member = replace(member, key_set=key_set)

    def asks(self, key: SigningKey | None = None, **header: str) -> str:
        """Return why an assertion is refused; empty: it is accepted."""
        provider = self.desk.provider
        kept, provider._key = provider._key, key or provider._key
        try:
            assertion = provider.issue("r.diaz", self.desk.leaf, self.now, 5 * MINUTE)
        finally:
            provider._key = kept
        assert self.member is not None
        try:
            verify_assertion(
                assertion,
                member=self.member,
                now=self.now,
                certificate_der=self.desk.leaf,
                published=self.following,
            )
        except AssertionInvalid as error:
            return str(error)
        return ""

    def status(self) -> dict[Kind, list[Any]]:
        """Return what `comity certs status` shows of the provider's keys, and of its set."""
        assert self.member is not None
        published = load_published(self.home, source=self.server.url)
        found: dict[Kind, list[Any]] = {Kind.PROVIDER: [], Kind.JWKS: []}
        for row in judged(
            of_member(self.member, now=self.now),
            published,
            member=self.member,
            source=self.server.url,
            now=self.now,
        ):
            found.setdefault(row.kind, []).append(row)
        return found


@pytest.fixture
def house(lapd: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    nearby = Nearby()
    monkeypatch.setattr(room, "JwksRequest", nearby)
    return House(lapd, nearby, tmp_path)


@pytest.fixture
def wired(lapd: Desk, served: JwksServer, tmp_path: Path) -> House:
    """A house whose provider is a real https server."""
    served.asked.clear()
    served.status, served.headers, served.write = 200, {}, None
    return House(lapd, served, tmp_path)


async def test_rotation_is_followed_step_by_step(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Published, told, announced, both accepted, withdrawn, refused: though the roster names the old one."""
    old = house.desk.provider._key
    assert await house.after(0 * SECOND) == 1
    assert not house.asks()
    house.publishes(old, NEW)
    await house.after(REFRESH)
    assert f"publishes key `{NEW.key_id}`" in caplog.text and house.following.unlisted == 1
    assert [row.condition for row in house.status()[Kind.PROVIDER]] == [Condition.GOOD, Condition.DUE]
    assert not house.asks() and "the roster does not name it yet" in house.asks(NEW)
    house.names(old, NEW)
    assert not house.asks() and not house.asks(NEW)
    await house.after(SECOND)
    assert house.following.unlisted == 0
    house.publishes(NEW)
    await house.after(REFRESH)
    assert not house.asks(NEW) and "withdrawn? log on again" in house.asks()
    assert house.following.withdrawn == 1 and f"doesn't publish key `{old.key_id}`" in caplog.text
    assert [row.condition for row in house.status()[Kind.PROVIDER]] == [Condition.DUE, Condition.GOOD]
    caplog.clear()
    house.names(NEW)
    await house.after(SECOND)
    assert house.following.withdrawn == 0 and not caplog.text


async def test_flood_of_unknown_kids_asks_the_provider_nothing_more(wired: House) -> None:
    """Thousands of assertions, each of another `kid`: none fetches, all together bring one look forward."""

    def flood() -> int:
        assert "names no key of its issuer" in wired.asks(NEW)
        for _ in range(2 * MOST_UNKNOWN):
            wired.following.check(wired.desk.provider.issuer, secrets.token_hex(8), None)
        return len(wired.server.asked)

    assert await wired.after(0 * SECOND) == 1
    assert flood() == 1
    assert await wired.after(EARLY - SECOND) == 1
    assert await wired.after(SECOND) == 2
    assert len(wired.following._unknown) == MOST_UNKNOWN
    assert flood() == 2
    assert await wired.after(EARLY) == 2, "so many are remembered that none brings anything forward"
    assert await wired.after(REFRESH) == 3
    assert not wired.asks()


async def test_same_unknown_kid_brings_the_next_look_forward_once(house: House) -> None:
    """Until what it stands in must have expired: ten minutes."""
    house.settings = replace(house.settings, refresh=timedelta(hours=1))
    house.starts()
    await house.after(0 * SECOND)
    for expected in (2, 2, 2):
        assert "names no key of its issuer" in house.asks(NEW)
        assert await house.after(EARLY) == expected
    house.now += REMEMBERED
    assert house.asks(NEW)
    assert await house.after(SECOND) == 3
    house.publishes(house.desk.provider._key, NEW)
    house.names(house.desk.provider._key, NEW)
    house.now += REMEMBERED
    assert "withdrawn?" in house.asks(NEW), "announced, and the published set is from before"
    assert await house.after(EARLY) == 4
    assert not house.asks(NEW)


async def test_flood_while_the_provider_is_away_asks_it_no_more_often(house: House) -> None:
    """Failures are tried again ever less often, and nothing brings that forward."""
    await house.after(0 * SECOND)
    house.server.status = 503
    asked = await house.after(REFRESH)
    assert asked == 2 and house.following.failures == 1
    tries = []
    for _ in range(600):
        house.following.check(house.desk.provider.issuer, secrets.token_hex(8), None)
        tries.append(await house.after(SECOND))
    assert tries[-1] - asked <= 8
    assert not house.asks(), "the set before goes on"


async def test_outage_is_told_and_over_by_itself(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Said once and each hour, shown with its age, and the set goes on, also after a restart."""
    await house.after(0 * SECOND)
    house.publishes(NEW)
    house.server.status = 503
    await house.after(REFRESH)
    for _ in range(30):
        await house.after(MINUTE)
    assert caplog.text.count("KEYS ARE NOT TAKEN") == 1 and "the set of 2026-" in caplog.text
    (row,) = house.status()[Kind.JWKS]
    assert row.condition is Condition.DUE and "answers 503" in row.act
    for _ in range(40):
        await house.after(MINUTE)
    assert caplog.text.count("KEYS ARE NOT TAKEN") == 2
    house.now += timedelta(hours=24)
    (row,) = house.status()[Kind.JWKS]
    assert row.condition is Condition.OVERDUE
    assert house.following.seconds_old is not None and house.following.seconds_old > 86_400
    house.starts()
    await house.after(0 * SECOND)
    assert not house.asks() and house.asks(NEW) and house.following.failures == 1
    house.server.status = 200
    with caplog.at_level(logging.INFO):
        await house.after(REFRESH)
    assert "fetched again" in caplog.text and house.following.failures == 0
    assert house.asks() and house.status()[Kind.JWKS][0].condition is Condition.GOOD


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>sign in</html>", "is not JSON"),
        (b'{"keys": []}', "has no ES256 key"),
        (b'{"keys": [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}]}', "has no ES256 key"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "private or symmetric"),
        (b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a"}]}', "not 32 bytes"),
        (b"[" * 60_000, "is not JSON"),
        (b" " * 70_000, "larger than"),
        (to_jwks({"a": NEW.public})[:-9], "is not JSON"),
        (b"", "is not JSON"),
    ],
    ids=["page", "empty", "rsa", "secret", "no-point", "deep", "large", "cut", "nothing"],
)
async def test_set_that_is_none_is_not_put_in_force(
    house: House, caplog: pytest.LogCaptureFixture, body: bytes, told: str
) -> None:
    """The one before goes on, and it is said loudly."""
    await house.after(0 * SECOND)
    house.server.body = body
    await house.after(REFRESH)
    assert "KEYS ARE NOT TAKEN" in caplog.text and told in caplog.text
    assert not house.asks() and house.following.failures == 1


async def test_key_of_another_content_under_the_same_kid_is_refused(house: House) -> None:
    """The roster's key and the published one are compared whole."""
    old = house.desk.provider._key
    house.server.body = to_jwks({old.key_id: NEW.public})
    await house.after(0 * SECOND)
    assert "publishes another key under its `kid`" in house.asks()
    assert house.following.withdrawn == 1


async def test_before_the_first_set_the_roster_alone_decides(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage at the very first start locks nobody out, and is told as what it is."""
    house.server.status = 503
    await house.after(0 * SECOND)
    assert not house.asks() and "the roster alone decides" in caplog.text
    (row,) = house.status()[Kind.JWKS]
    assert row.condition is Condition.OVERDUE and "never fetched" in row.act
    assert Gauge.IDP_AGE not in [gauge for gauge, _, _ in identity_provider_readings(house.following)]


async def test_metrics_tell_age_failures_and_differences(house: House) -> None:
    """Numbers alone: nothing tells which key, and whose."""
    house.publishes(NEW)
    await house.after(0 * SECOND)
    house.server.status = 503
    await house.after(REFRESH)
    assert identity_provider_readings(house.following) == [
        (Gauge.IDP_AGE, 300.0, {}),
        (Gauge.IDP_FAILURES, 1, {}),
        (Gauge.IDP_UNLISTED, 1, {}),
        (Gauge.IDP_WITHDRAWN, 1, {}),
    ]


async def test_servers_own_time_counts_within_bounds(house: House) -> None:
    """`max-age` brings the next look forward to 30 seconds at most, and never later than configured."""
    for said, seconds in ((120, 120), (1, 30), (0, 30), (9_999_999, 300), (None, 300)):
        house.server.max_age = None if said is None else said * SECOND
        house.starts()
        asked = await house.after(0 * SECOND)
        assert await house.after((seconds - 1) * SECOND) == asked
        assert await house.after(SECOND) == asked + 1


async def test_what_is_kept_is_private_and_of_this_source_alone(house: House) -> None:
    """A file of another source, or one that somebody wrote, has no force."""
    await house.after(0 * SECOND)
    kept = house.home / STATE_FILE
    assert kept.stat().st_mode & 0o777 == 0o600
    assert load_published(house.home, source="https://elsewhere.example/") is None
    house.server.status = 503
    kept.write_text(json.dumps({"source": house.server.url}))
    house.starts()
    await house.after(0 * SECOND)
    assert not house.following.current.is_known and not house.asks()


async def test_clock_that_falls_back_and_agency_that_is_gone_end_nothing(house: House) -> None:
    """It is looked again at once; without the agency in the roster nothing is compared."""
    await house.after(0 * SECOND)
    assert await house.after(-timedelta(days=2)) == 2
    house.member = None
    assert await house.after(REFRESH) == 3


async def test_who_asks_never_waits_for_the_provider(wired: House) -> None:
    """While it trickles, questions are decided by the set before; the start waits seconds at most."""
    await wired.after(0 * SECOND)
    hanging = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(handler: Any) -> None:
        loop.call_soon_threadsafe(hanging.set)
        handler.rfile.read(1)  # until the client hangs up

    wired.server.write = hang
    wired.now += REFRESH
    looking = asyncio.create_task(wired.following.run())
    await hanging.wait()
    assert not wired.asks() and "names no key" in wired.asks(NEW)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert not wired.asks()


async def test_nothing_of_who_asks_is_told(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """No `kid` and no user of an assertion stands in a log, in the kept file, or in a refusal."""
    caplog.set_level(logging.DEBUG)
    await house.after(0 * SECOND)
    stranger = SigningKey.generate()
    told = house.asks(stranger)
    await house.after(EARLY)
    said = caplog.text + told + (house.home / STATE_FILE).read_text()
    assert stranger.key_id not in said and "diaz" not in said


async def test_file_is_followed_within_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps it new: it goes, comes back, and is another one."""
    monkeypatch.undo()
    path = house.home / "jwks.json"
    house.settings = JwksSettings(file=path, refresh=REFRESH)
    house.starts()
    await house.after(0 * SECOND)
    assert not house.following.current.is_known and house.following.failures == 1
    path.write_bytes(house.server.body)
    await house.after(5 * SECOND)
    assert house.following.current.is_known and not house.asks()
    path.write_bytes(to_jwks({NEW.key_id: NEW.public}))
    await house.after(5 * SECOND)
    assert house.asks() and house.following.unlisted == 1


async def test_other_issuers_of_the_agency_are_left_alone(house: House) -> None:
    """Only the one that is followed can withdraw its keys."""
    house.publishes(NEW)
    await house.after(0 * SECOND)
    house.following.check("https://other.example", "a", NEW.public)
    house.following.check("https://other.example", "a", None)
    assert not house.following._unknown


async def test_new_keys_at_each_look_do_not_fill_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has the web server has eight lines at most written at each look, and how many more."""
    for _ in range(2):
        house.publishes(NEW, *(SigningKey.generate() for _ in range(20)))
        house.following.current = replace(house.following.current, next_at=house.now)
        caplog.clear()
        await house.after(SECOND)
        told = [record for record in caplog.records if "publishes key" in record.getMessage()]
        assert len(told) == MOST_TOLD and "more: `comity certs status`" in caplog.text


async def test_sets_of_before_are_not_remembered(house: House) -> None:
    """A set may have hundreds of keys, a megabyte once they are read: the last one is kept."""
    await house.after(SECOND)
    before = es256_keys.cache_info().currsize
    for _ in range(3):
        house.publishes(SigningKey.generate())
        await house.after(REFRESH)
    assert es256_keys.cache_info().currsize == before


async def test_issuer_that_the_roster_names_no_more_is_told_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Its successor's keys are followed after a new start; till then the roster alone decides."""
    await house.after(SECOND)
    before = house.member
    assert before is not None
    house.member = replace(before, key_set=replace(before.key_set, identity_providers=()))
    for _ in range(2):
        await house.after(SECOND)
    assert caplog.text.count("THE ROSTER NAMES") == 1
    house.member = before
    await house.after(SECOND)
    house.member = replace(before, key_set=replace(before.key_set, identity_providers=()))
    await house.after(SECOND)
    assert caplog.text.count("THE ROSTER NAMES") == 2
