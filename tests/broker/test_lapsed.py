"""An agency whose own list of revocations is past its time keeps its links, and nothing else (design 4)."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from comity.broker.admission import admit
from comity.broker.trust import Trust, TrustState
from comity.certs.agency import AgencyHome
from comity.certs.agreements import AgreementBook
from comity.certs.lodgements import LodgementBook
from comity.certs.pairs import LeafPair
from comity.certs.revoking import revoke_own
from comity.certs.roster import Federation
from comity.v1 import common_pb2, link_pb2
from tests.adapters.bench import NOON
from tests.support.federation import FederationOnDisk, build_federation

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """LAPD and LAHD, which may ask each other; LAPD signed a list for a day."""
    made = build_federation(tmp_path_factory.mktemp("lapsed") / "f", NOON, ("lapd", "lahd"))
    home = AgencyHome.load(made.home("lapd"))
    revoke_own(home, [], NOON, lifetime=DAY, identity=home.identity())
    return made


@pytest.mark.parametrize("is_lapsed", [False, True], ids=["in time", "lapsed"])
def test_lapsed_agency_asks_and_answers_nothing_and_keeps_its_links(
    made: FederationOnDisk, tmp_path: Path, is_lapsed: bool
) -> None:
    """No statement of it is taken, no session is carried for it; over its link the newer list comes."""
    now = NOON + DAY if is_lapsed else NOON
    federation = Federation.load(made.public, now=now)
    lapd = federation.member("lapd")
    assert bool(lapd.lapsed) == is_lapsed and not lapd.suspended
    shutil.copytree(made.broker_home / "lodgements", tmp_path / "lodgements")
    lodgements = LodgementBook.load(tmp_path / "lodgements", federation)
    trust = Trust(TrustState(federation=federation, lodgements=lodgements))
    agreements = AgreementBook.load(made.home("lahd") / "agreements", federation)
    for provider, requester in (("lapd", "lahd"), ("lahd", "lapd")):
        ceiling = trust.ceiling(provider=provider, requester=requester, now=now)
        grant = agreements.grant(provider=provider, requester=requester, now=now)
        assert (ceiling is None) == (grant is None) == is_lapsed
    assert (trust.statement_keys("lapd", now) == ()) == is_lapsed
    assert trust.statement_keys("lahd", now)
    pair = LeafPair.load(made.adapter_home("lapd") / "keys")
    hello = link_pb2.Hello(
        versions=[1],
        spiffe_id="spiffe://lapd.example/adapter",
        role=common_pb2.END_ROLE_ADAPTER,
        chain=pair.chain_der,
    )
    admitted = admit(hello, connection_certificate=pair.chain_der[0], federation=federation, now=now)
    assert admitted.end.agency == "lapd"
