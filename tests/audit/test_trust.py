"""The trust file: made from a published roster before there is a log, and good for evidence years later."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from comity.audit.errors import TrustInvalid
from comity.audit.trust import Trust, make_policy, make_trust
from comity.certs.envelope import seal, to_json
from comity.certs.keys import SigningKey
from comity.v1.federation_pb2 import RevocationList
from tests.support.federation import build_federation
from tests.support.logs import NOON


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published folder of a federation of two agencies, signed years ago."""
    folder = tmp_path_factory.mktemp("federation")
    build_federation(folder, NOON - timedelta(days=3650), ["lapd", "lahd"])
    return folder / "public"


def test_the_keys_of_all_logs_come_from_the_signed_roster(public: Path) -> None:
    """Every end that the roster names has its keys in the trust, by origin."""
    trust = Trust.parse(make_trust(public))
    assert "operator.example/broker" in trust.logs
    lapd = trust.logs["lapd.example/adapter"]
    assert (lapd.agency, lapd.end) == ("lapd", "adapter")
    assert lapd.keys[0].name == "lapd.example/adapter"


def test_a_roster_past_its_time_still_serves_old_evidence(public: Path) -> None:
    """Roster and timestamp expired long ago; signatures and pin count, not dates."""
    assert Trust.parse(make_trust(public)).roster_version >= 1


def test_a_roster_of_another_authority_is_refused(public: Path, tmp_path: Path) -> None:
    """The pin in the file is what counts: a roster that its keys didn't sign makes no trust."""
    build_federation(tmp_path, NOON, ["lapd", "lahd"])
    ours, theirs = json.loads(make_trust(public)), json.loads(make_trust(tmp_path / "public"))
    with pytest.raises(TrustInvalid):
        Trust.parse(json.dumps({**ours, "roster": theirs["roster"]}).encode())


def test_a_changed_roster_is_refused(public: Path) -> None:
    """One letter of the signed roster changed: no trust."""
    document = json.loads(make_trust(public))
    payload = document["roster"]["payload"]
    document["roster"]["payload"] = ("A" if payload[0] != "A" else "B") + payload[1:]
    with pytest.raises(TrustInvalid):
        Trust.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format":"comity-trust-v1"}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_trust_file_is_refused(data: bytes) -> None:
    """Rubbish raises, with the right form named."""
    with pytest.raises(TrustInvalid):
        Trust.parse(data)


def test_a_folder_without_a_roster_makes_no_trust(tmp_path: Path) -> None:
    """What is missing is named."""
    with pytest.raises(TrustInvalid, match=r"authority\.json"):
        make_trust(tmp_path)


def test_policy_file_of_a_roster_has_each_log_witness_the_others(public: Path) -> None:
    """Who keeps tlog-policy files gets one: keys of all logs, and so many of their ends as a quorum."""
    trust = Trust.parse(make_trust(public))
    made = Trust.parse(make_policy(trust, quorum=2))
    assert made.policy is not None and made.logs.keys() == trust.logs.keys()
    assert made.policy.witnesses.keys() == trust.logs.keys()
    assert made.policy.is_met(["lapd.example/adapter", "operator.example/broker"])
    assert not made.policy.is_met(["lapd.example/adapter"])
    assert Trust.parse(make_policy(trust, quorum=0)).logs.keys() == trust.logs.keys()
    with pytest.raises(TrustInvalid, match="no log witnesses itself"):
        make_policy(trust, quorum=len(trust.logs))


def test_agencys_own_list_that_its_identity_key_did_not_sign_makes_no_trust(
    public: Path, tmp_path: Path
) -> None:
    """Put into the published folder, or into the trust file: it is told, and never left out silently."""
    shutil.copytree(public, tmp_path / "public")
    forged = RevocationList(federation="F", issuer="lapd", version=1)
    bad = to_json(seal(forged, SigningKey.generate()))
    ours = json.loads(make_trust(public))
    with pytest.raises(TrustInvalid, match="identity key"):
        Trust.parse(json.dumps({**ours, "agency_revocations": [json.loads(bad)]}).encode())
    (tmp_path / "public/revocations-lapd.json").write_bytes(bad)
    with pytest.raises(TrustInvalid, match="list of revocations of `lapd`"):
        make_trust(tmp_path / "public")
    with pytest.raises(TrustInvalid):
        Trust.parse(json.dumps({**ours, "agency_revocations": {}}).encode())


def test_own_list_of_a_former_member_spoils_no_trust(public: Path, tmp_path: Path) -> None:
    """It may lie in the published folder for ever; only members' own lists are taken along."""
    shutil.copytree(public, tmp_path / "public")
    left = to_json(seal(RevocationList(federation="F", issuer="left", version=1), SigningKey.generate()))
    (tmp_path / "public/revocations-left.json").write_bytes(left)
    assert make_trust(tmp_path / "public") == make_trust(public)
