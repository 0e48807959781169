"""What an end takes from the published folder: under its own pin, and never an older roster."""

from __future__ import annotations

import stat
import time
from datetime import datetime
from pathlib import Path

import pytest

from comity.certs import published
from comity.certs.delivered import Documents
from comity.certs.envelope import to_json
from comity.certs.errors import FileUnusable, RosterExpired, RosterInvalid
from comity.certs.instants import from_instant
from comity.certs.published import SEEN_FILE, PublishedRoster, SeenRoster
from tests.support.rosters import DAY, NOON, Forge


class Place:
    """A published folder, and beside it an end's own pin and home."""

    def __init__(self, folder: Path) -> None:
        self.forge = Forge()
        self.public, self.home, self.pin = folder / "public", folder / "home", folder / "authority.json"
        self.public.mkdir()
        self.home.mkdir()
        self.pin.write_bytes(self.forge.pin.to_json())
        self.now: datetime = NOON

    def publish(self, forge: Forge | None = None, *, version: int | None = None) -> None:
        forge = forge or self.forge
        forge.version = version or forge.version
        roster = forge.roster()
        (self.public / "authority.json").write_bytes(forge.pin.to_json())
        (self.public / "roster.json").write_bytes(to_json(roster))
        (self.public / "timestamp.json").write_bytes(to_json(forge.timestamp(roster)))

    def start(self) -> PublishedRoster:
        return PublishedRoster(public=self.public, authority=self.pin, home=self.home, clock=lambda: self.now)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(published, "SETTLE_SECONDS", 0)
    made = Place(tmp_path)
    made.publish()
    return made


def test_roster_is_taken_and_remembered(place: Place) -> None:
    """What was taken is on disk, for this end alone, before it counts."""
    federation = place.start().load()
    path = place.home / SEEN_FILE
    assert SeenRoster.load(path) == SeenRoster(version=5, digest=federation.digest)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_newer_roster_and_the_same_one_again_are_taken(place: Place) -> None:
    """Also with a newer timestamp, which changes neither version nor digest."""
    running = place.start()
    assert running.load().version == 5
    place.now = NOON + DAY
    place.forge.change_timestamp = lambda stamp: stamp.expires_at.FromDatetime(NOON + 60 * DAY)
    place.publish()
    assert running.load().timestamp_expires_at == NOON + 60 * DAY
    place.publish(version=6)
    assert running.load().version == 6
    assert place.start().load().version == 6


def test_replaced_folder_is_not_trusted(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Who replaces the whole published folder, the authority's keys too, is not believed, and it shows."""
    running = place.start()
    place.publish(Forge(), version=9)
    for end in (running, place.start()):
        with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
            end.load()
    assert "names other keys than the pin" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_published_pin_is_not_needed(
    place: Place, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    """Missing or broken, it changes nothing; a broken one is told, once."""
    path = place.public / "authority.json"
    path.unlink() if content is None else path.write_bytes(content)
    running = place.start()
    assert [running.load().version for _ in range(3)] == [5, 5, 5]
    assert caplog.text.count("it is not trusted") == (content is not None)


def test_older_roster_is_refused_while_running(place: Place) -> None:
    """Nobody brings back a suspended member by putting yesterday's files in place."""
    running = place.start()
    place.publish(version=6)
    running.load()
    place.publish(version=5)
    with pytest.raises(RosterInvalid, match="version 5 is older than version 6"):
        running.load()


def test_older_roster_is_refused_after_a_restart(place: Place) -> None:
    """A restart doesn't make an end forget."""
    place.publish(version=6)
    place.start().load()
    place.publish(version=5)
    with pytest.raises(RosterInvalid, match=r"older than version 6.*roster-seen\.json"):
        place.start().load()


@pytest.mark.parametrize("restart", [False, True])
def test_other_roster_of_the_same_version_is_refused(place: Place, restart: bool) -> None:
    """An authority that signs two rosters of one version has shown each to somebody else."""
    running = place.start()
    running.load()
    place.forge.lahd.entry.suspended = True
    place.publish()
    with pytest.raises(RosterInvalid, match="version 5 is another one"):
        (place.start() if restart else running).load()


def test_refused_roster_is_not_remembered(place: Place) -> None:
    """One that doesn't verify can't raise the version, which would lock the end out of good ones."""
    running = place.start()
    running.load()
    place.publish(Forge(), version=100)
    with pytest.raises(RosterInvalid):
        running.load()
    place.publish(version=6)
    assert running.load().version == 6


def test_expired_roster_is_refused(place: Place) -> None:
    """Also if it is the very one that was seen."""
    place.start().load()
    place.now = NOON + 31 * DAY
    with pytest.raises(RosterExpired, match="comity federation refresh"):
        place.start().load()


def test_roster_that_cannot_be_remembered_is_not_taken(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next start would take the older one."""

    def full(path: Path, data: bytes) -> None:
        raise FileUnusable("no space left on device")

    running = place.start()
    monkeypatch.setattr(published, "write_private", full)
    with pytest.raises(FileUnusable, match="no space left"):
        running.load()
    assert not (place.home / SEEN_FILE).exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"version": 0, "digest": "' + "00" * 32 + '"}',
        '{"version": true, "digest": "' + "00" * 32 + '"}',
        '{"version": 4, "digest": "00"}',
        '{"version": 4, "digest": "zz"}',
        "[" * 100_000,
    ],
)
def test_memory_that_cannot_be_read_is_no_empty_memory(place: Place, content: str) -> None:
    """A file that was cut or changed stops the start and is named; it isn't taken for a first start."""
    (place.home / SEEN_FILE).write_text(content)
    with pytest.raises(RosterInvalid, match=r"roster-seen\.json"):
        place.start()


def test_memory_that_is_a_folder(place: Place) -> None:
    """The reason is told with the file."""
    (place.home / SEEN_FILE).mkdir()
    with pytest.raises(FileUnusable, match=r"roster-seen\.json"):
        place.start()


def test_moment_between_two_writes_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The roster is replaced before its timestamp: a look between the two is no alarm."""
    running = place.start()
    running.load()
    old = (place.public / "timestamp.json").read_bytes()
    place.publish(version=6)
    new = (place.public / "timestamp.json").read_bytes()
    (place.public / "timestamp.json").write_bytes(old)

    def settle(seconds: float) -> None:
        (place.public / "timestamp.json").write_bytes(new)

    monkeypatch.setattr(time, "sleep", settle)
    assert running.load().version == 6


def test_pin_that_is_missing_is_named(place: Place) -> None:
    """There is no default pin."""
    place.pin.unlink()
    with pytest.raises(FileUnusable, match=r"authority\.json"):
        place.start()


def brought(place: Place, forge: Forge, version: int) -> bytes:
    """What a broker hands out, of a roster that lies in no folder of this end."""
    forge.version = version
    roster = forge.roster()
    return Documents(
        roster=to_json(roster), timestamp=to_json(forge.timestamp(roster)), changes=()
    ).to_bytes()


def test_roster_that_the_broker_brought_counts_where_it_is_newer(place: Place) -> None:
    """Also for an end that starts without its published folder, which is a second source and no more."""
    running = place.start()
    running.load()
    assert running.take(brought(place, place.forge, 7))
    assert running.load().version == 7
    assert not running.take(brought(place, place.forge, 7)), "it is in force already"
    for path in place.public.iterdir():
        path.unlink()
    assert running.load().version == place.start().load().version == 7
    place.publish(version=8)
    assert running.load().version == 8, "the folder is back, and newer"
    assert place.start().load().version == 8


def test_newer_timestamp_of_the_same_roster_is_taken(place: Place) -> None:
    """So a folder that nobody refreshes lets no roster run out while the broker has a fresh one."""
    running = place.start()
    before = running.load().trusted_until
    place.forge.change_timestamp = lambda stamp: stamp.expires_at.CopyFrom(from_instant(NOON + 60 * DAY))
    assert running.take(brought(place, place.forge, 5))
    assert running.load().trusted_until == NOON + 60 * DAY > before


def test_what_the_broker_brought_is_trusted_no_more_than_what_is_published(place: Place) -> None:
    """Older, another of the same version, of another authority, expired, garbage: refused, nothing kept."""
    running = place.start()
    running.load()
    other = Forge()
    other.pin, other.keys = place.forge.pin, place.forge.keys
    other.roster_signers, other.timestamp_signers = place.forge.roster_signers, place.forge.timestamp_signers
    late = brought(place, place.forge, 9)
    for data in (
        brought(place, place.forge, 4),
        brought(place, other, 5),
        brought(place, Forge(), 9),
        late[:-7],
        b"",
        b"\xff",
    ):
        with pytest.raises(RosterInvalid):
            running.take(data)
    place.now = NOON + 31 * DAY
    with pytest.raises(RosterExpired):
        running.take(late)
    assert not running.delivered.exists()
    place.now = NOON
    assert running.load().version == 5


def test_delivered_roster_of_before_brings_nothing_back(place: Place) -> None:
    """What lies in the home is judged like the rest: an older one that somebody put there is left out."""
    running = place.start()
    running.take(brought(place, place.forge, 6))
    kept = {path.name: path.read_bytes() for path in running.delivered.iterdir()}
    running.take(brought(place, place.forge, 7))
    assert running.load().version == 7
    for name, data in kept.items():
        (running.delivered / name).write_bytes(data)
    place.forge.version = 7
    place.publish(version=7)
    assert place.start().load().version == 7
