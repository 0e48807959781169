"""The governing authority's keys give way to others, and nobody else's do (design section 4, roster)."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from comity.audit.note import LogKey
from comity.certs import authority
from comity.certs.authority import FederationSpec, init_federation, refresh, rotate_authority
from comity.certs.authority_keys import (
    CHANGE_FILE,
    FOLLOWED_FILE,
    change_document,
    changed,
    changes_in,
    follow,
)
from comity.certs.envelope import seal, to_json
from comity.certs.errors import FileUnusable, RosterInvalid, SetupRefused
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.pin import AuthorityPin
from comity.certs.published import PublishedRoster
from comity.certs.roster import AUTHORITY_FILE, ROSTER_FILE, TIMESTAMP_FILE, Federation
from comity.v1.federation_pb2 import AuthorityChange
from tests.support.rosters import NOON

LATER = NOON + timedelta(hours=1)


def make_log_key(origin: str, path: Path) -> str:
    return LogKey.generate(origin).verifier_key


@pytest.fixture
def fed(tmp_path: Path) -> Path:
    """A federation of which two of three keys sign."""
    spec = FederationSpec(name="Test", broker="127.0.0.1:7400", authority_keys=3, threshold=2)
    init_federation(tmp_path / "fed", spec, NOON, make_log_key=make_log_key)
    return tmp_path / "fed"


def end_of(fed: Path, name: str = "end") -> PublishedRoster:
    """An end with the keys of the beginning pinned."""
    home = fed.parent / name
    home.mkdir(exist_ok=True)
    pin = home / "authority.json"
    if not pin.exists():
        pin.write_bytes((fed / "public" / AUTHORITY_FILE).read_bytes())
    return PublishedRoster(public=fed / "public", authority=pin, home=home, clock=lambda: LATER)


def keys_in(folder: Path) -> list[SigningKey]:
    return [SigningKey.load(path) for path in sorted(folder.glob("*.pem"))]


def pin_of(keys: list[SigningKey], threshold: int, name: str = "Test") -> AuthorityPin:
    return AuthorityPin(federation=name, keys=tuple(key.public for key in keys), threshold=threshold)


def test_ends_follow_while_running_after_a_restart_and_over_two_changes(fed: Path) -> None:
    """Pinned once, the end trusts rosters that only the keys of after the change signed."""
    running = end_of(fed)
    first = running.load().version
    for number in (1, 2):
        rotate_authority(fed, LATER, keys=2, threshold=2)
        assert running.load().version == first + number
    refresh(fed, LATER)
    assert running.load().version == end_of(fed).load().version == first + 2
    away = end_of(fed, "away")
    away.pin = AuthorityPin.load(fed.parent / "end" / "authority.json")
    assert Federation.load(fed / "public", now=LATER, pin=away.pin).version == first + 2


def test_the_roster_is_trusted_by_who_has_read_the_change_and_by_who_has_not(fed: Path) -> None:
    """Old keys and new ones sign it: there is no moment in which either end has no roster."""
    old = AuthorityPin.load(fed / "public" / AUTHORITY_FILE)
    rotate_authority(fed, LATER, keys=3, threshold=2)
    documents = {
        "roster": (fed / "public" / ROSTER_FILE).read_bytes(),
        "timestamp": (fed / "public" / TIMESTAMP_FILE).read_bytes(),
    }
    new = AuthorityPin.load(fed / "public" / AUTHORITY_FILE)
    assert old != new
    for pin in (old, new):
        assert Federation.verify(**documents, pin=pin, now=LATER).version == 2


def test_keys_that_gave_way_are_trusted_no_more(fed: Path) -> None:
    """Whoever finds them signs anew, with the change removed or with one of their own: refused."""
    end = end_of(fed)
    stolen_pin = AuthorityPin.load(fed / "public" / AUTHORITY_FILE)
    rotate_authority(fed, LATER, keys=1, threshold=1)
    end.load()
    stolen = keys_in(fed / "authority" / "retired-1")
    (fed / "public" / CHANGE_FILE.format(1)).unlink()
    forged_authority(fed, stolen_pin, stolen)
    for each in (end, end_of(fed)):
        with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
            each.load()
    thief = [SigningKey.generate()]
    own = change_document(1, stolen_pin, pin_of(thief, 1), [*stolen, *thief], LATER)
    (fed / "public" / CHANGE_FILE.format(1)).write_bytes(own)
    for each in (end, end_of(fed)):
        with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
            each.load()


def forged_authority(fed: Path, pin: AuthorityPin, keys: list[SigningKey]) -> None:
    """The authority's folder as a thief of old keys has it, and a fresh timestamp by them."""
    folder = fed / "authority" / "keys"
    for path in folder.iterdir():
        path.unlink()
    for number, key in enumerate(keys):
        key.save(folder / f"{number}.pem")
    (fed / "authority" / AUTHORITY_FILE).write_bytes(pin.to_json())
    refresh(fed, LATER)


def test_pinning_anew_counts_for_more_than_what_was_followed(fed: Path) -> None:
    """Who pins other keys by hand, for instance after a theft, is not led back by the end's memory."""
    end_of(fed).load()
    rotate_authority(fed, LATER, keys=1, threshold=1)
    end_of(fed).load()
    assert (fed.parent / "end" / FOLLOWED_FILE).is_file()
    stranger = [SigningKey.generate()]
    (fed.parent / "end" / "authority.json").write_bytes(pin_of(stranger, 1).to_json())
    with pytest.raises(RosterInvalid, match="isn't signed by the pinned authority"):
        end_of(fed).load()


@pytest.mark.parametrize("content", ["", "[]", '{"pinned": "00"}', '{"pinned": "xy", "authority": {}}'])
def test_memory_that_cannot_be_read_is_no_empty_memory(fed: Path, content: str) -> None:
    """Else a thief of old keys would only have to spoil that file."""
    end_of(fed)
    (fed.parent / "end" / FOLLOWED_FILE).write_text(content)
    with pytest.raises(RosterInvalid, match=FOLLOWED_FILE):
        end_of(fed)


OLD, NEW, OTHER = ([SigningKey.generate() for _ in range(3)] for _ in range(3))
A, B = pin_of(OLD, 2), pin_of(NEW, 2)


def signed(*keys: SigningKey, change: Callable[[AuthorityChange], None] = lambda it: None) -> bytes:
    message = AuthorityChange(
        federation="Test",
        number=1,
        replaces=A.digest,
        keys=[key.public.der for key in NEW],
        threshold=2,
        signed_at=from_instant(NOON),
    )
    change(message)
    return to_json(seal(message, *keys))


BOTH = (*OLD[:2], *NEW[:2])


def test_change_that_both_signed_is_followed() -> None:
    assert changed(A, signed(*BOTH)) == B


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(signed(*OLD, NEW[0]), id="too few of the new"),
        pytest.param(signed(OLD[0], *NEW), id="too few of the old"),
        pytest.param(signed(*OTHER, *NEW), id="strangers for the old"),
        pytest.param(signed(*OLD), id="the old alone"),
        pytest.param(signed(*BOTH, change=lambda it: setattr(it, "federation", "Other")), id="federation"),
        pytest.param(signed(*BOTH, change=lambda it: setattr(it, "replaces", B.digest)), id="others"),
        pytest.param(signed(*BOTH, change=lambda it: it.ClearField("replaces")), id="nothing"),
        pytest.param(signed(*BOTH, change=lambda it: setattr(it, "threshold", 0)), id="no threshold"),
        pytest.param(signed(*BOTH, change=lambda it: setattr(it, "threshold", 4)), id="high threshold"),
        pytest.param(signed(*BOTH, change=lambda it: it.keys.append(it.keys[0])), id="a key twice"),
        pytest.param(signed(*BOTH, change=lambda it: it.keys.append(b"no key")), id="no key"),
        pytest.param(
            signed(
                *BOTH,
                change=lambda it: it.keys.extend(SigningKey.generate().public.der for _ in range(14)),
            ),
            id="too many keys",
        ),
        pytest.param(to_json(seal(AuthorityChange(), *BOTH)), id="empty"),
        pytest.param(b"{}", id="no envelope"),
    ],
)
def test_change_that_is_none_leads_nowhere(data: bytes, tmp_path: Path) -> None:
    """Each by itself, and the end stays with the keys that it has; what comes behind it is still found."""
    assert changed(A, data) is None
    (tmp_path / CHANGE_FILE.format(1)).write_bytes(data)
    assert follow(A, changes_in(tmp_path)) == A
    (tmp_path / CHANGE_FILE.format(2)).write_bytes(signed(*BOTH))
    assert follow(A, changes_in(tmp_path)) == B


def test_interrupted_replacement_goes_on(fed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off after each write: ends trust what is published, and the same command finishes it."""
    end = end_of(fed)
    end.load()
    written: list[Path] = []
    stop_after = [0]
    real = authority.write_public

    def breaking(path: Path, data: bytes) -> None:
        if len(written) == stop_after[0]:
            raise KeyboardInterrupt
        real(path, data)
        written.append(path)

    monkeypatch.setattr(authority, "write_public", breaking)
    for count in range(5):
        stop_after[0], written[:] = count, []
        with pytest.raises(KeyboardInterrupt):
            rotate_authority(fed, LATER, keys=2, threshold=1)
        assert len(written) == count
        end.load()
        with pytest.raises(SetupRefused, match="rotate-authority"):
            refresh(fed, LATER)
    monkeypatch.setattr(authority, "write_public", real)
    rotate_authority(fed, LATER, keys=2, threshold=1)
    refresh(fed, LATER)
    assert end.load().version == end_of(fed).load().version
    assert not (fed / "authority" / "next").exists()
    assert len(keys_in(fed / "authority" / "keys")) == 2


@pytest.mark.parametrize("place", ["retired-1", "keys"])
def test_replacement_that_is_cut_between_its_renames_goes_on(
    fed: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Old keys still in their place, or in none: each folder ends where it belongs, once."""
    old = {key.key_id for key in keys_in(fed / "authority" / "keys")}
    real = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if target.name == place:
            monkeypatch.setattr(Path, "rename", real)
            raise OSError(5, "Input/output error")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(FileUnusable, match="input/output error"):
        rotate_authority(fed, LATER, keys=2, threshold=1)
    with pytest.raises((SetupRefused, FileUnusable)):
        refresh(fed, LATER)
    rotate_authority(fed, LATER, keys=2, threshold=1)
    finished(fed, old)


def test_replacement_that_is_cut_after_its_renames_goes_on(
    fed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new keys are not taken for those that retire."""
    old = {key.key_id for key in keys_in(fed / "authority" / "keys")}
    real = Path.unlink

    def failing(path: Path, missing_ok: bool = False) -> None:
        if path.parent.name == "next":
            raise OSError(5, "Input/output error")
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(FileUnusable):
        rotate_authority(fed, LATER, keys=2, threshold=1)
    monkeypatch.setattr(Path, "unlink", real)
    rotate_authority(fed, LATER, keys=2, threshold=1)
    finished(fed, old)


def finished(fed: Path, old: set[str]) -> None:
    """One change was made: the old keys are retired, the new ones sign."""
    assert {key.key_id for key in keys_in(fed / "authority" / "retired-1")} == old
    new = AuthorityPin.load(fed / "authority" / AUTHORITY_FILE)
    assert {key.public for key in keys_in(fed / "authority" / "keys")} == set(new.keys)
    assert not (fed / "authority" / "next").exists() and not (fed / "authority" / "retired-2").exists()
    assert end_of(fed).load().version == refresh(fed, LATER).version


def test_too_few_of_the_old_keys_replace_nothing(fed: Path) -> None:
    """What is at hand is counted before anything is published."""
    before = {path.name: path.read_bytes() for path in (fed / "public").iterdir()}
    for path in sorted((fed / "authority" / "keys").iterdir())[:2]:
        path.unlink()
    with pytest.raises(SetupRefused, match=r"holds 1 of the authority's keys, expected 2"):
        rotate_authority(fed, LATER, keys=1, threshold=1)
    assert {path.name: path.read_bytes() for path in (fed / "public").iterdir()} == before


@pytest.mark.parametrize(("keys", "threshold"), [(0, 0), (17, 1), (2, 3), (2, 0)])
def test_impossible_numbers_are_refused(fed: Path, keys: int, threshold: int) -> None:
    with pytest.raises(SetupRefused, match=r"expected 1 to 16|isn't 1 to"):
        rotate_authority(fed, LATER, keys=keys, threshold=threshold)
    assert not (fed / "authority" / "next").exists()


def test_pin_digest_is_that_of_the_contract() -> None:
    """Recomputed by hand: whoever else implements it finds the same."""
    import base64
    import hashlib

    keys = sorted(base64.b64encode(key.public.der).decode() for key in OLD)
    text = '["Test",2,["' + '","'.join(keys) + '"]]'
    assert A.digest == hashlib.sha256(text.encode()).digest()
    shuffled = json.loads(A.to_json())
    shuffled["keys"].reverse()
    assert AuthorityPin.from_json(json.dumps(shuffled).encode()).digest == A.digest
