"""Who may open a link: the pure judgement. What needs sockets is in `test_broker_loopback.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from comity.broker.admission import admit, check_transport
from comity.broker.errors import LinkRefusal, LinkRefused
from comity.certs.errors import UnknownMember
from comity.certs.revocations import NOTHING_REVOKED
from comity.certs.x509 import issue_leaf, make_ca
from comity.v1 import common_pb2, link_pb2

T0 = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
GATEWAY, ADAPTER = common_pb2.END_ROLE_GATEWAY, common_pb2.END_ROLE_ADAPTER


class House:
    """One agency's CA and what it issues."""

    def __init__(self, agency: str) -> None:
        self.domain = f"{agency}.example"
        self.ca, self.key = make_ca(self.domain, T0, timedelta(days=10))

    @property
    def der(self) -> bytes:
        return self.ca.public_bytes(Encoding.DER)

    def chain(self, spiffe_id: str, lifetime: timedelta = timedelta(days=1)) -> list[bytes]:
        leaf = issue_leaf(self.ca, self.key, spiffe_id=spiffe_id, now=T0, lifetime=lifetime)
        return [leaf.certificate.public_bytes(Encoding.DER), self.der]


@dataclass
class Town:
    """As much of a roster as admission asks for."""

    houses: dict[str, House]
    suspended: set[str] = field(default_factory=set)
    asks_only: set[str] = field(default_factory=set)

    def by_domain(self, domain: str) -> Any:
        agency = domain.removesuffix(".example")
        if domain != f"{agency}.example" or agency not in self.houses:
            raise UnknownMember(domain)
        return SimpleNamespace(
            agency=agency,
            domain=domain,
            suspended=agency in self.suspended,
            revoked=NOTHING_REVOKED,
            asks=True,
            provides=agency not in self.asks_only,
            key_set=SimpleNamespace(ca_certificates=(self.houses[agency].der,)),
            spiffe_id=lambda path: f"spiffe://{domain}/{path}",
        )

    def judge(self, chain: list[bytes], spiffe_id: str, role: int, **changes: Any) -> Any:
        now = changes.pop("now", T0)
        connection = changes.pop("connection", chain[0] if chain else b"")
        fields: dict[str, Any] = {
            "versions": [1],
            "spiffe_id": spiffe_id,
            "role": role,
            "chain": chain,
        } | changes
        town: Any = self
        return admit(link_pb2.Hello(**fields), connection_certificate=connection, federation=town, now=now)

    def refusal(self, *args: Any, **changes: Any) -> LinkRefusal:
        with pytest.raises(LinkRefused) as caught:
            self.judge(*args, **changes)
        return caught.value.refusal


@pytest.fixture(scope="module")
def houses() -> dict[str, House]:
    return {name: House(name) for name in ("lapd", "cbp")}


@pytest.fixture
def town(houses: dict[str, House]) -> Town:
    return Town(dict(houses))


ID = "spiffe://lapd.example/gateway"


def test_member_with_its_own_leaf_is_admitted(town: Town) -> None:
    """Agency, role and origin come from the verified leaf; the link ends with it."""
    admitted = town.judge(town.houses["lapd"].chain(ID), ID, GATEWAY)
    assert (admitted.end.agency, admitted.end.role_name) == ("lapd", "gateway")
    assert admitted.origin == "lapd.example/gateway"
    assert admitted.ends_at == T0 + timedelta(days=1)


def test_leaf_of_another_members_ca_is_refused(town: Town, houses: dict[str, House]) -> None:
    """Whatever cbp's CA issues, it is never lapd's."""
    chain = houses["cbp"].chain("spiffe://cbp.example/gateway")
    assert town.refusal(chain, ID, GATEWAY) is LinkRefusal.CERTIFICATE


def test_chain_that_is_not_the_connections_is_refused(town: Town, houses: dict[str, House]) -> None:
    """A chain is public; only the connection proves that its key is at hand."""
    chain = houses["lapd"].chain(ID)
    other = houses["cbp"].chain("spiffe://cbp.example/gateway")[0]
    assert town.refusal(chain, ID, GATEWAY, connection=other) is LinkRefusal.IDENTITY


def test_expired_leaf_is_refused(town: Town, houses: dict[str, House]) -> None:
    """Time is judged by the clock that is handed in."""
    chain = houses["lapd"].chain(ID, lifetime=timedelta(hours=1))
    assert town.refusal(chain, ID, GATEWAY, now=T0 + timedelta(hours=2)) is LinkRefusal.CERTIFICATE


@pytest.mark.parametrize(
    "claimed",
    [
        "spiffe://lapd.example/adapter",
        "spiffe://lapd.example/system/desk",
        "spiffe://LAPD.example/gateway",
        "spiffe://lapd.example//gateway",
        "spiffe://lapd.example:443/gateway",
        "https://lapd.example/gateway",
        "spiffe:///gateway",
        "",
    ],
)
def test_claimed_id_in_any_other_spelling_is_refused(
    town: Town, houses: dict[str, House], claimed: str
) -> None:
    """Only `spiffe://<domain>/gateway`, byte for byte, is a gateway."""
    assert town.refusal(houses["lapd"].chain(ID), claimed, GATEWAY) in (
        LinkRefusal.ROLE,
        LinkRefusal.NOT_A_MEMBER,
    )


def test_client_systems_leaf_opens_no_link(town: Town, houses: dict[str, House]) -> None:
    """A leaf of the same CA for another path is not the gateway's."""
    chain = houses["lapd"].chain("spiffe://lapd.example/system/desk")
    assert town.refusal(chain, ID, GATEWAY) is LinkRefusal.CERTIFICATE


def test_stranger_suspended_and_wrong_role_are_refused(town: Town, houses: dict[str, House]) -> None:
    """The roster decides who is a member, and what it may be."""
    chain = houses["lapd"].chain(ID)
    town.suspended.add("lapd")
    assert town.refusal(chain, ID, GATEWAY) is LinkRefusal.SUSPENDED
    del town.houses["lapd"]
    assert town.refusal(chain, ID, GATEWAY) is LinkRefusal.NOT_A_MEMBER
    town.asks_only.add("cbp")
    adapter = "spiffe://cbp.example/adapter"
    assert town.refusal(houses["cbp"].chain(adapter), adapter, ADAPTER) is LinkRefusal.NOT_THIS_ROLE


def test_greeting_without_chain_version_or_role_is_refused(town: Town, houses: dict[str, House]) -> None:
    """What is missing is not guessed."""
    chain = houses["lapd"].chain(ID)
    assert town.refusal([], ID, GATEWAY) is LinkRefusal.CERTIFICATE
    assert town.refusal(chain, ID, GATEWAY, versions=[2]) is LinkRefusal.VERSION
    assert town.refusal(chain, ID, common_pb2.END_ROLE_BROKER) is LinkRefusal.ROLE


def test_connection_older_than_tls_1_3_is_refused() -> None:
    """gRPC would accept TLS 1.2; a link over it is not opened."""
    check_transport({"ssl_tls_version": [b"TLSv1.3"]})
    check_transport({})
    for version in (b"TLSv1.2", b"TLSv1.1", b""):
        with pytest.raises(LinkRefused) as caught:
            check_transport({"ssl_tls_version": [version]})
        assert caught.value.refusal is LinkRefusal.TLS_VERSION


def test_resumed_connection_is_refused() -> None:
    """A ticket of before a revocation proves nothing now."""
    check_transport({"ssl_tls_version": [b"TLSv1.3"], "ssl_session_reused": [b"false"]})
    with pytest.raises(LinkRefused) as caught:
        check_transport({"ssl_tls_version": [b"TLSv1.3"], "ssl_session_reused": [b"true"]})
    assert caught.value.refusal is LinkRefusal.RESUMED


def test_every_refusal_tells_a_peer_one_line_and_nothing_internal() -> None:
    """The catalogue's texts are lines; a refusal's detail stays with the operator."""
    for refusal in LinkRefusal:
        assert "\n" not in refusal.value.text
    refused = LinkRefused(LinkRefusal.CERTIFICATE, detail="chain doesn't verify: /srv/keys")
    assert "/srv" not in refused.refusal.value.text
