"""A roster that nobody renews: told at 70 % and 90 % of its time, at its end, and when a newer one comes."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import pytest

from comity.certs.aging import RosterAge
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.own_lists import OwnList
from comity.certs.revocations import RevokedOf
from comity.links.telemetry.metrics import credential_readings
from comity.v1.federation_pb2 import Roster
from tests.support.rosters import DAY, NOON, Forge


class Place:
    """A process with the forge's roster in force, at a time that the test sets."""

    def __init__(self, agency: str = "lapd") -> None:
        self.forge = Forge()
        self.now = NOON
        self.federation = self.forge.verify()
        party = self.forge.operator if agency == "operator" else self.forge.lapd
        self.statement = party.statement.public
        self.age = RosterAge(
            lambda: self.federation, agency=agency, statement=lambda: self.statement, clock=lambda: self.now
        )

    def at(self, when: datetime) -> None:
        self.now = when
        self.age.look()


@pytest.fixture(autouse=True)
def listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "comity.certs")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.levelname for record in caplog.records]
    caplog.clear()
    return found


def test_each_stage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing before 70 % of the timestamp's 30 days; then a warning, an error, and that it is over."""
    place = Place()
    stages = {}
    for hours in range(0, 31 * 24, 6):
        place.at(NOON + hours * DAY / 24)
        for level in told(caplog):
            stages[hours / 24] = level
    assert stages == {21: "WARNING", 27: "ERROR", 30: "ERROR"}


def test_warning_says_until_when_and_what_helps(caplog: pytest.LogCaptureFixture) -> None:
    """An operator reads when it ends and which command is missed."""
    place = Place()
    place.at(NOON + 22 * DAY)
    assert "trusted until 2026-07-01 12:00:00Z, for 8 days more" in caplog.text
    assert "comity federation refresh" in caplog.text
    place.at(NOON + 30 * DAY)
    assert "PAST ITS TIME since 2026-07-01 12:00:00Z: nothing is asked, answered or linked" in caplog.text


def test_roster_that_ends_before_its_timestamp_counts(caplog: pytest.LogCaptureFixture) -> None:
    """The document that has lived longest decides, be it the roster itself."""
    place = Place()

    def soon(roster: Roster) -> None:
        roster.expires_at.CopyFrom(from_instant(NOON + 10 * DAY))

    place.forge.change_roster = soon
    place.federation = place.forge.verify()
    place.at(NOON + 8 * DAY)
    assert told(caplog) == ["WARNING"]


def test_newer_roster_is_told_and_watched_anew(caplog: pytest.LogCaptureFixture) -> None:
    """Recovery by itself: one line that it came, and its own warning in its own time."""
    place = Place()
    place.at(NOON + 28 * DAY)
    assert told(caplog) == ["ERROR"]
    place.forge.change_timestamp = lambda stamp: (
        stamp.signed_at.CopyFrom(from_instant(NOON + 28 * DAY)),
        stamp.expires_at.CopyFrom(from_instant(NOON + 58 * DAY)),
    )
    place.federation = place.forge.verify(now=NOON + 28 * DAY)
    place.at(NOON + 28 * DAY)
    assert "a newer roster is in force" in caplog.text
    assert told(caplog) == ["INFO"]
    place.at(NOON + 50 * DAY)
    assert told(caplog) == ["WARNING"]


@pytest.mark.parametrize("agency", ["lapd", "operator"])
def test_what_is_left_is_told_in_seconds(agency: str) -> None:
    """Roster, newest CA and newest statement key, for gauges; nothing of an agency that left the roster."""
    place = Place(agency)
    assert place.age.seconds_left == 30 * 86_400
    left = place.age.own_left()
    assert left["statement_key"] == 300 * 86_400
    assert left["ca"] == 400 * 86_400
    place.now = NOON + 301 * DAY
    assert place.age.own_left()["statement_key"] == -86_400
    place.statement = SigningKey.generate().public
    assert place.age.own_left().keys() == {"ca"}
    assert Place("stranger").age.own_left() == {}


async def test_it_looks_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A process that runs says it without anybody asking."""
    place = Place()
    place.now = NOON + 22 * DAY
    task = asyncio.create_task(place.age.run())
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert told(caplog) == ["WARNING"]


def test_gauges_read_what_is_left() -> None:
    """Leaf, roster, own CA and own statement key are gauges in seconds, the kind an attribute."""

    class Own:
        seconds_left, is_faulty, renewal_failures = 60.0, False, 0

    place = Place()
    place.now = NOON + DAY
    read = credential_readings(Own(), place.age)  # type: ignore[arg-type]
    told = {(gauge.value[0], tuple(facts.values())): value for gauge, value, facts in read}
    assert told["comity.leaf.left", ()] == 60
    assert told["comity.roster.left", ()] == 29 * 86_400
    assert told["comity.key.left", ("statement_key",)] == 299 * 86_400
    assert told["comity.key.left", ("ca",)] == 399 * 86_400


def test_own_list_of_revocations_is_told_before_it_stops_its_agency(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once at each stage, by the list's own time; a newer one is good again; another's says nothing."""
    for agency, stages in (("lapd", ["WARNING", "ERROR", "WARNING"]), ("lahd", [])):
        place = Place(agency)
        found = list[str]()
        for version, since in ((1, 0), (2, 9.5)):
            listed = OwnList(
                agency="lapd",
                version=version,
                digest=bytes(32),
                signed_at=NOON + since * DAY,
                next_update=NOON + (since + 10) * DAY,
                revoked=RevokedOf(),
                data=b"",
            )
            place.federation = replace(place.federation, own_lists={"lapd": listed})
            for day in (0, 6.9, 7, 7.1, 9, 9.1):
                if since + day < 18:
                    place.at(NOON + (since + day) * DAY)
                    found += [one.message for one in caplog.records if "own list" in one.message]
                    caplog.clear()
        assert len(found) == len(stages)
        assert all("comity certs revoke --dir AGENCY --refresh" in message for message in found)
        assert not found or "in 3 days: `lapd` asks and answers nothing" in found[0]
        left = place.age.own_left()
        assert ("revocations" in left) is (agency == "lapd")
