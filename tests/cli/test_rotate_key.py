"""`comity audit rotate-key` through a key's whole life, at an agency's end and at the broker (L2)."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.entry import KEY_ROTATED
from comity.audit.errors import LogDamaged
from comity.audit.following_keys import follow_roster
from comity.audit.log import SignedLog
from comity.audit.log_keys import LogKeys
from comity.audit.note import LogKey, note_signers
from comity.certs.agency import AgencySpec, init_agency
from comity.certs.authority import FederationSpec, admit, init_federation
from comity.certs.clock import utc_now
from comity.certs.errors import ApplicationInvalid
from comity.certs.key_changes import EndFolder, announce_log_key, apply_for, finish_log_key
from comity.certs.keys import SigningKey
from comity.certs.roster import Federation
from comity.cli.audit import group
from comity.cli.logkeys import make_log_key
from tests.support.logs import asked, noon


class Folders:
    """A federation of one agency on disk, and its ends' logs without their processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        spec = FederationSpec(name="Test", broker="127.0.0.1:7400")
        init_federation(root, spec, utc_now(), make_log_key=make_log_key)
        agency = AgencySpec(
            agency="lapd",
            home=root / "agencies/lapd",
            kind="local",
            domain="lapd.example",
            name="Police",
            contact="desk",
            provides=True,
            public=root / "public",
            broker="127.0.0.1:7400",
        )
        self.admit(init_agency(agency, utc_now(), make_log_key=make_log_key))
        self.homes = {"adapter": root / "agencies/lapd/adapter", "broker": root / "operator/broker"}
        self.origins = {"adapter": "lapd.example/adapter", "broker": "operator.example/broker"}

    def admit(self, application: bytes) -> Federation:
        return admit(self.root, [application], utc_now())

    def admit_file(self, role: str) -> Federation:
        return self.admit((self.homes[role].parent / "application.json").read_bytes())

    def federation(self) -> Federation:
        return Federation.load(self.root / "public", now=utc_now())

    def rotate(self, role: str, *options: str) -> Result:
        return CliRunner().invoke(group, ["rotate-key", str(self.homes[role]), *options])

    def state(self, role: str) -> str:
        done = self.rotate(role, "--status", "--json")
        assert done.exit_code == 0, done.output
        return str(json.loads(done.output)["state"])

    async def look(self, role: str) -> SignedLog:
        """Do what the end's process does when it starts, or when the roster changed."""
        keys = LogKeys.load(self.homes[role] / "keys", self.origins[role])
        log = await SignedLog.open(self.homes[role], origin=keys.key.origin, key=keys, clock=noon)
        await follow_roster(log, self.homes[role] / "keys", self.federation())
        return log


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.mark.parametrize("role", ["adapter", "broker"])
async def test_a_key_is_replaced_step_by_step(folders: Folders, role: str) -> None:
    """Prepared, announced, overlapping, finishing, done: each state is told, and the old key is gone."""
    home = folders.homes[role]
    old = (home / "keys/log.key").read_bytes()
    log = await folders.look(role)
    await log.append(asked(0))
    assert folders.state(role) == "none"
    early = folders.rotate(role, "--finish")
    assert early.exit_code == 2 and "names no key that is to follow" in early.output
    assert folders.rotate(role).exit_code == 0
    new = (home / "keys/log.next.key").read_bytes()
    assert (home / "keys/log.next.key").stat().st_mode & 0o777 == 0o600
    assert folders.state(role) == "prepared"
    assert folders.rotate(role).exit_code == 0  # again: the same key
    assert (home / "keys/log.next.key").read_bytes() == new
    folders.admit_file(role)
    assert folders.state(role) == "announced"
    early = folders.rotate(role, "--finish")
    assert early.exit_code == 2 and "no published entry puts the new key in force" in early.output
    await follow_roster(log, home / "keys", folders.federation())
    await follow_roster(log, home / "keys", folders.federation())
    assert log.size == 2 and len(note_signers(log.checkpoint())) == 2
    assert folders.state(role) == "overlapping"
    assert folders.rotate(role, "--finish").exit_code == 0
    folders.admit_file(role)
    assert folders.state(role) == "finishing"
    await follow_roster(log, home / "keys", folders.federation())
    assert folders.state(role) == "none"
    await log.append(asked(1))
    await log.close()
    assert len(note_signers(log.checkpoint())) == 1
    assert (home / "keys/log.key").read_bytes() == new != old
    assert sorted(path.name for path in (home / "keys").glob("log*")) == ["log.key"]
    folders.admit_file(role)  # what was admitted can be handed in again
    assert folders.state(role) == "none"
    public, out = folders.root / "public", folders.root / "trust.json"
    assert CliRunner().invoke(group, ["trust", "--public", str(public), "--out", str(out)]).exit_code == 0
    verified = CliRunner().invoke(group, ["verify", str(home), "--trust", str(out)])
    assert verified.exit_code == 0, verified.output
    shown = CliRunner().invoke(group, ["show", str(home), "--kind", KEY_ROTATED, "--json"])
    assert len(json.loads(shown.output)["entries"]) == 1


async def test_each_step_may_be_the_last_before_a_crash(folders: Folders) -> None:
    """An end that starts between any two steps finds its keys, and goes on from there."""
    home = folders.homes["adapter"]
    await (await folders.look("adapter")).close()
    folders.rotate("adapter")
    await (await folders.look("adapter")).close()  # a new key that the roster doesn't name yet
    folders.admit_file("adapter")
    log = await folders.look("adapter")
    assert log.size == 1
    await log.close()
    await (await folders.look("adapter")).close()
    folders.rotate("adapter", "--finish")
    folders.admit_file("adapter")
    log = await SignedLog.open(
        home, origin=log.origin, key=LogKeys.load(home / "keys", log.origin), clock=noon
    )
    await log.append(asked(1))  # it ended before it saw the newer roster, both keys still there
    await log.close()
    assert len(note_signers(log.checkpoint())) == 2
    log = await folders.look("adapter")
    assert not (home / "keys/log.next.key").exists()
    await log.append(asked(2))
    await log.close()
    assert len(note_signers(log.checkpoint())) == 1


async def test_a_new_key_that_got_lost_is_told_and_another_takes_its_place(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it is in the log the end goes on with the old one, and the command makes another."""
    path = folders.homes["adapter"] / "keys/log.next.key"
    folders.rotate("adapter")
    folders.admit_file("adapter")
    path.unlink()
    log = await folders.look("adapter")
    assert log.size == 0 and "log.next.key` is not the log key that is to follow" in caplog.text
    assert folders.state("adapter") == "lost"
    assert folders.rotate("adapter").exit_code == 0
    folders.admit_file("adapter")
    await follow_roster(log, path.parent, folders.federation())
    assert log.size == 1 and folders.state("adapter") == "overlapping"
    await log.close()
    path.unlink()
    told = folders.rotate("adapter")
    assert told.exit_code == 2 and "bring it there" in told.output
    with pytest.raises(LogDamaged, match="vkey"):
        await folders.look("adapter")


def test_a_folder_that_is_no_end_is_refused(folders: Folders, tmp_path: Path) -> None:
    """The command names what an end's folder would have."""
    done = CliRunner().invoke(group, ["rotate-key", str(folders.root / "agencies/lapd")])
    assert done.exit_code == 2 and "adapter.toml" in done.output
    both = folders.rotate("adapter", "--finish", "--status")
    assert both.exit_code == 2 and "one of them" in both.output
    other = SigningKey.generate()
    other.save(tmp_path / "other.pem")
    done = folders.rotate("adapter", "--identity", str(tmp_path / "other.pem"))
    assert done.exit_code == 2 and "not the one that the roster names" in done.output


@pytest.mark.parametrize("role", ["adapter", "broker"])
def test_the_authority_admits_no_key_that_appears_at_a_stroke(folders: Folders, role: str) -> None:
    """Not even with the identity key is a log's key exchanged unannounced, or its history forgotten."""
    end = EndFolder.load(folders.homes[role])
    identity = SigningKey.load(end.home.parent / "identity.pem")
    origin, key = folders.origins[role], LogKey.generate(folders.origins[role])

    def apply(*changes: object) -> None:
        def change(keys: object) -> None:
            for each in changes:
                each(keys)  # type: ignore[operator]

        apply_for(end, folders.federation(), change, identity=identity, now=utc_now())
        folders.admit_file(role)

    def exchange(keys: object) -> None:
        keys.log_keys[0].verifier_key = key.verifier_key  # type: ignore[attr-defined]

    def forget(keys: object) -> None:
        keys.log_keys[0].ClearField("earlier")  # type: ignore[attr-defined]

    announce = announce_log_key(origin, key.verifier_key)
    finish = finish_log_key(origin, last_size=3)
    for changes in ((exchange,), (announce, finish), (announce, finish, forget)):
        with pytest.raises(ApplicationInvalid, match="at a stroke"):
            apply(*changes)
    apply(announce)
    with pytest.raises(ApplicationInvalid, match="at a stroke"):
        apply(finish, forget)
    apply(finish)
    with pytest.raises(ApplicationInvalid, match="at a stroke"):
        apply(forget)
    named = end.log_key(folders.federation())
    assert named.verifier_key == key.verifier_key and named.earlier[0].last_size == 3


def test_an_operator_by_another_identity_is_refused(folders: Folders, tmp_path: Path) -> None:
    """Whoever isn't the operator doesn't bring its entry up to date."""
    stranger = Folders(tmp_path / "other")
    end = EndFolder.load(stranger.homes["broker"])
    key = LogKey.generate(stranger.origins["broker"])
    identity = SigningKey.load(end.home.parent / "identity.pem")
    change = announce_log_key(key.origin, key.verifier_key)
    path = apply_for(end, stranger.federation(), change, identity=identity, now=utc_now())
    with pytest.raises(ApplicationInvalid, match="is the operator's"):
        admit(folders.root, [path.read_bytes()], utc_now(), new_identity=True)
