"""Which bundle is an agency's law: signed as it stands, and not older than the one in force."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from comity.audit.entry import Entry, seal_entry
from comity.audit.summary import Law, Summary
from comity.audit.tiles import TileFolder
from comity.certs.envelope import from_json, open_envelope, seal, to_json
from comity.certs.keys import SigningKey
from comity.certs.successions import IdentityKeys, IdentityTime
from comity.cli.policy import group
from comity.policy.adopting import adopt, check_succession, verify_adoption, write_adoption
from comity.policy.bundle import PolicyBundle
from comity.policy.errors import AdoptionInvalid, BundleInvalid, SuccessionRefused
from comity.policy.manifest import version_order
from comity.v1.federation_pb2 import PolicyAdoption
from tests.policy.conftest import NOW, SEARCH_PERMIT, WriteBundle

IDENTITY = SigningKey.generate()


@pytest.fixture
def folder(write_bundle: WriteBundle) -> Path:
    """A bundle that LAPD signed."""
    folder = write_bundle(SEARCH_PERMIT)
    write_adoption(folder, PolicyBundle.load(folder), IDENTITY, NOW)
    return folder


def refused(folder: Path) -> str:
    """Return why the signature beside a bundle doesn't make it LAPD's law."""
    with pytest.raises(AdoptionInvalid) as caught:
        verify_adoption(PolicyBundle.load(folder), IDENTITY.public)
    return str(caught.value)


def signs(folder: Path, **changes: object) -> None:
    """Have LAPD sign something else about the bundle."""
    path = folder / "adoption.json"
    said = open_envelope(from_json(path.read_bytes()), PolicyAdoption, [IDENTITY.public]).message
    for name, value in changes.items():
        setattr(said, name, value)
    path.write_bytes(to_json(seal(said, IDENTITY)))


def test_bundle_that_its_agency_signed_is_its_law(folder: Path) -> None:
    """Who signed, and when; README and cases may change, for no decision depends on them."""
    (folder / "README.md").write_text("better words")
    adoption = verify_adoption(PolicyBundle.load(folder), IDENTITY.public)
    assert (adoption.agency, adoption.signed_at, adoption.key_id) == ("lapd", NOW, IDENTITY.public.key_id)


@pytest.mark.parametrize(("after", "is_good"), [(1, True), (0, False), (-1, False)])
def test_law_is_signed_with_an_identity_key_of_its_day(folder: Path, after: int, is_good: bool) -> None:
    """A former key's signature stands if it was in force then; with it nobody makes a law after its end."""
    until = NOW + timedelta(days=after)
    former = IdentityTime(key=IDENTITY.public, until=until)
    keys = IdentityKeys(times=(former, IdentityTime(key=SigningKey.generate().public, since=NOW)))
    bundle = PolicyBundle.load(folder)
    if is_good:
        assert verify_adoption(bundle, keys).key_id == IDENTITY.key_id
    else:
        with pytest.raises(AdoptionInvalid, match="did not sign it"):
            verify_adoption(bundle, keys)


def test_bundle_that_nobody_signed_is_no_law(folder: Path) -> None:
    """An adapter that requires signatures says what is missing."""
    (folder / "adoption.json").unlink()
    assert "`adoption.json` is missing" in refused(folder)


def test_bundle_that_another_key_signed_is_no_law(folder: Path) -> None:
    """The key of an end lies on a machine that is in the network; the identity key doesn't."""
    bundle = PolicyBundle.load(folder)
    (folder / "adoption.json").write_bytes(adopt(bundle, SigningKey.generate(), NOW))
    assert "`lapd` did not sign it" in refused(folder)


def test_bundle_that_was_changed_after_it_was_signed_is_no_law(folder: Path) -> None:
    """One permit more, or one character."""
    policy = folder / "policies" / "00.cedar"
    policy.write_text(policy.read_text().replace('@retain_days("30")', '@retain_days("31")'))
    assert "changed since, sign it again" in refused(folder)


def test_signature_of_another_agencys_law_is_none(folder: Path) -> None:
    """Also if both are signed with one key."""
    signs(folder, agency="lahd")
    assert "it adopts a law of `lahd`" in refused(folder)


def test_signature_of_another_version_is_none(folder: Path) -> None:
    """The version that is signed is the one that is compared."""
    signs(folder, bundle_version="9")
    assert "it signs version 9, not 1" in refused(folder)


@pytest.mark.parametrize(
    ("older", "newer"), [("1", "2"), ("9", "10"), ("1.9", "1.10"), ("1", "1.1"), ("1.9.9", "2")]
)
def test_versions_are_compared_by_their_numbers(older: str, newer: str) -> None:
    """Not as texts; and zeros at the end say nothing."""
    before, after = version_order(older), version_order(newer)
    assert before is not None and after is not None and before < after
    assert version_order(f"{newer}.0") == after


@pytest.mark.parametrize("version", ["v1", "1.", "1..2", "1.2.3.4.5", "2026-03-01", "1 ", "\\u0661"])
def test_version_that_has_no_order_is_refused(write_bundle: WriteBundle, version: str) -> None:
    """What can't be compared can't be newer."""
    folder = write_bundle(SEARCH_PERMIT)
    (folder / "bundle.toml").write_text(f'agency = "lapd"\nversion = "{version}"\n')
    with pytest.raises(BundleInvalid, match=r"bundle\.toml"):
        PolicyBundle.load(folder)


def follows(folder: Path, law: Law | None) -> bool:
    """Return whether version 1 of the bundle may follow what is in force."""
    try:
        check_succession(PolicyBundle.load(folder), law)
    except SuccessionRefused:
        return False
    return True


def test_older_bundle_follows_only_if_it_was_approved(folder: Path) -> None:
    """The first, a newer and the same one do; an older one, or another text of the version, doesn't."""
    digest = PolicyBundle.load(folder).digest.hex()
    other = Law(policy="ee" * 32, version="2", index=7)
    assert follows(folder, None)
    assert follows(folder, replace(other, version="0.9"))
    assert follows(folder, replace(other, policy=digest, version="1"))
    assert not follows(folder, other)
    assert not follows(folder, replace(other, version="1.0"))
    assert not follows(folder, replace(other, approved=("dd" * 32,)))
    assert follows(folder, replace(other, approved=("dd" * 32, digest)))


def _summed(*entries: tuple[str, str, str]) -> Law:
    made = [
        Entry(kind=kind, at=NOW, public={"policy": policy, "version": version})
        for kind, policy, version in entries
    ]
    return Summary().after(seal_entry(entry) for entry in made).law


def test_log_says_which_bundle_is_in_force(tmp_path: Path) -> None:
    """The last that was activated; an approval counts until another bundle is in force, and not twice."""
    first, second = ("policy_activated", "aa", "1"), ("policy_activated", "bb", "2")
    approved = ("policy_approved", "aa", "1")
    assert _summed().policy == ""
    assert _summed(first, second, second) == Law(policy="bb", version="2", index=1)
    assert _summed(first, second, approved, second).approved == ("aa",)
    assert _summed(first, second, approved, first) == Law(policy="aa", version="1", index=3)
    assert _summed(first, second, approved, first, second).approved == ()


def test_law_in_force_outlives_the_process(tmp_path: Path) -> None:
    """The log's summary is kept beside it, and read again."""
    law = Law(policy="aa", version="2.1", index=4, approved=("bb", "cc"))
    Summary(size=0, law=law).write(tmp_path)
    assert Summary.read(tmp_path, TileFolder(tmp_path), 0).law == law


def test_sign_refuses_a_bundle_whose_cases_do_not_hold(folder: Path, tmp_path: Path) -> None:
    """What its author didn't mean doesn't become law by an oversight."""
    home = tmp_path / "lapd"
    home.mkdir()
    (home / "agency.toml").write_text('agency = "lapd"\ndomain = "lapd.example"\npublic = "public"\n')
    IDENTITY.save(home / "identity.pem")
    (folder / "adoption.json").unlink()
    told = CliRunner().invoke(group, ["sign", str(folder), "--dir", str(home)])
    assert (told.exit_code, "no case in any" in told.output) == (1, True)
    assert not (folder / "adoption.json").exists()
    told = CliRunner().invoke(group, ["sign", str(folder), "--dir", str(home), "--untested"])
    assert told.exit_code == 0, told.output
    assert verify_adoption(PolicyBundle.load(folder), IDENTITY.public).agency == "lapd"
    (home / "agency.toml").write_text('agency = "lahd"\ndomain = "lahd.example"\npublic = "public"\n')
    told = CliRunner().invoke(group, ["sign", str(folder), "--dir", str(home), "--untested"])
    assert (told.exit_code, "the bundle is of `lapd`" in told.output) == (2, True)
