"""The first hop: an assertion counts with the certificate that it names alone, at every way in (RFC 8705).

Ways in are the two services of the gRPC front, whose caller's certificate TLS proves, and the Python library,
where it is the gateway's own leaf.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from comity.certs.claims import certificate_thumbprint
from comity.certs.errors import AssertionInvalid
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.x509 import certificate_der, certificate_pem, issue_leaf
from comity.gateway.audit_service import AuditService
from comity.gateway.errors import SubjectRefused, Unauthenticated
from comity.gateway.library.requester import Requester
from comity.gateway.limits import GatewayLimits
from comity.gateway.service import QueryService
from comity.v1 import audit_service_pb2, query_service_pb2
from tests.certs.test_assertions import DAY, MINUTE, Desk
from tests.gateway.test_library import a_question
from tests.support.rosters import NOON

Claim = Callable[[bytes, bytes], Any]
"""(the caller's certificate, another of the same agency): `cnf` of the assertion."""


class Passed(Exception):
    """Who asks was let in."""


class Refused(Exception):
    """The caller was turned away."""


class Context:
    """What gRPC tells a method of its caller, as far as it is looked at."""

    def __init__(self, pem: bytes, assertion: str) -> None:
        self._pem, self._assertion = pem, assertion

    def auth_context(self) -> Mapping[str, list[bytes]]:
        return {"x509_pem_cert": [self._pem], "ssl_tls_version": [b"TLSv1.3"]}

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._assertion}"),)

    def time_remaining(self) -> None:
        return None

    async def abort(self, code: grpc.StatusCode, text: str, trailing_metadata: object) -> None:
        raise Passed if code is grpc.StatusCode.PERMISSION_DENIED else Refused(text)


class House:
    """LAPD's gateway up to the door: whoever is let in is refused there, so that nothing is asked."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.member = desk.member
        self.published: Any = None
        self.agency = "lapd"
        self.standing = SimpleNamespace(own=lambda agency: self.member)
        self.people = SimpleNamespace(require_access=self.stop)

    def stop(self, claims: object) -> None:
        raise SubjectRefused("reached")

    async def record_turned_down(self, claims: object, why: str) -> None:
        pass

    def leaf(self, name: str = "system/desk") -> tuple[bytes, bytes]:
        """Return a fresh leaf of the agency's, DER and PEM."""
        party = self.desk.forge.lapd
        leaf = issue_leaf(
            party.ca, party.ca_key, spiffe_id=f"spiffe://lapd.example/{name}", now=NOON, lifetime=DAY
        )
        return certificate_der(leaf.certificate), certificate_pem(leaf.certificate)


async def over_search(house: House, der: bytes, pem: bytes, assertion: str) -> None:
    gateway: Any = house
    service = QueryService(gateway, lambda: NOON, GatewayLimits())
    context: Any = Context(pem, assertion)
    await service.Search(query_service_pb2.SearchRequest(), context)


async def over_records(house: House, der: bytes, pem: bytes, assertion: str) -> None:
    gateway: Any = house
    queries = QueryService(gateway, lambda: NOON, GatewayLimits())
    service = AuditService(gateway, queries, lambda: NOON, GatewayLimits())
    context: Any = Context(pem, assertion)
    await service.RetrieveRecords(audit_service_pb2.RetrieveRecordsRequest(), context)


async def over_library(house: House, der: bytes, pem: bytes, assertion: str) -> None:
    end: Any = SimpleNamespace(
        gateway=house,
        clock=lambda: NOON,
        credentials=SimpleNamespace(leaf_der=der),
        has_failed=False,
    )
    try:
        await Requester(end).ask(a_question(NOON), assertion=assertion)
    except SubjectRefused:
        raise Passed from None
    except Unauthenticated as error:
        raise Refused(str(error)) from None


WAYS = {"Search": over_search, "RetrieveRecords": over_records, "library": over_library}
Way = Callable[[House, bytes, bytes, str], Any]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("first-hop"))


@pytest.fixture
def house(desk: Desk) -> House:
    return House(desk)


async def refusal(way: Way, house: House, der: bytes, pem: bytes, assertion: str) -> str:
    """Return why who asks is turned away; empty: they are let in."""
    try:
        await way(house, der, pem, assertion)
    except Passed:
        return ""
    except Refused as error:
        return str(error)
    raise AssertionError("neither let in nor turned away")


@pytest.fixture(params=sorted(WAYS))
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


async def test_assertion_with_the_certificate_that_it_names_is_let_in(house: House, way: Way) -> None:
    """The honest case, at each way in."""
    der, pem = house.leaf()
    assertion = house.desk.provider.issue("r.diaz", der, NOON, 5 * MINUTE)
    assert await refusal(way, house, der, pem, assertion) == ""


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sha1(der: bytes) -> str:
    return _b64(hashlib.sha1(der, usedforsecurity=False).digest())


def _standard(der: bytes) -> str:
    """Base64 with `+` and `/`, and so different from base64url for every digest that has either."""
    return "+" + base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")[1:]


def _pem_of(der: bytes) -> bytes:
    return certificate_pem(x509.load_der_x509_certificate(der))


def _raw_signature(key: SigningKey, signed: bytes) -> bytes:
    """Sign as JWS does (RFC 7518, section 3.4): the two numbers, 32 bytes each."""
    r, s = decode_dss_signature(key.sign(signed))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


_FAULTS: dict[str, Claim] = {
    "none": lambda own, other: None,
    "empty": lambda own, other: {},
    "not an object": lambda own, other: certificate_thumbprint(own),
    "of another certificate": lambda own, other: {"x5t#S256": certificate_thumbprint(other)},
    "in hex": lambda own, other: {"x5t#S256": hashlib.sha256(own).hexdigest()},
    "padded": lambda own, other: {"x5t#S256": certificate_thumbprint(own) + "="},
    "in standard base64": lambda own, other: {"x5t#S256": _standard(own)},
    "in the other case": lambda own, other: {"x5t#S256": certificate_thumbprint(own).swapcase()},
    "in SHA-1": lambda own, other: {"x5t": _sha1(own)},
    "of the name in another case": lambda own, other: {"x5t#s256": certificate_thumbprint(own)},
    "of the PEM": lambda own, other: {"x5t#S256": _b64(hashlib.sha256(_pem_of(own)).digest())},
    "a list": lambda own, other: {"x5t#S256": [certificate_thumbprint(own)]},
    "beside a key": lambda own, other: {"x5t#S256": certificate_thumbprint(own), "jkt": _b64(bytes(32))},
    "beside another": lambda own, other: {"x5t#S256": certificate_thumbprint(own), "x5t": _sha1(other)},
}


@pytest.mark.parametrize("fault", _FAULTS)
async def test_confirmation_that_is_not_the_callers_lets_nobody_in(
    house: House, way: Way, fault: str
) -> None:
    """Missing, of another certificate, otherwise encoded, or beside a second one that nobody could check."""
    (der, pem), (other, _) = house.leaf(), house.leaf("system/other")
    claim = _FAULTS[fault](der, other)
    assertion = house.desk.provider.issue("r.diaz", der, NOON, 5 * MINUTE, cnf=claim)
    told = await refusal(way, house, der, pem, assertion)
    assert "cnf" in told
    assert certificate_thumbprint(der) not in told and "diaz" not in told


async def test_two_confirmations_of_one_name_let_nobody_in(house: House, way: Way) -> None:
    """A reader that takes the first and one that takes the last would bind it to two callers."""
    (der, pem), (other, _) = house.leaf(), house.leaf("system/other")
    provider = house.desk.provider
    head, body, _ = provider.issue("r.diaz", der, NOON, 5 * MINUTE).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    named, twice = (json.dumps({"x5t#S256": certificate_thumbprint(one)}) for one in (der, other))
    text = json.dumps(claims).replace(named, f"{twice[:-1]}, {named[1:]}")
    assert text.count("x5t#S256") == 2
    signed = f"{head}.{_b64(text.encode())}"
    assertion = f"{signed}.{_b64(_raw_signature(provider._key, signed.encode()))}"
    assert "not JSON" in await refusal(way, house, der, pem, assertion)


async def test_after_its_certificate_was_renewed_the_caller_logs_on_again(house: House, way: Way) -> None:
    """Same system, new leaf: what was bound to the old one says what to do."""
    (old, _), (der, pem) = house.leaf(), house.leaf()
    assertion = house.desk.provider.issue("r.diaz", old, NOON, 5 * MINUTE)
    assert "if that was renewed, log on again" in await refusal(way, house, der, pem, assertion)


async def test_key_that_its_provider_withdrew_lets_nobody_in(house: House, way: Way) -> None:
    """Though the roster still names it: each way in asks what is published."""

    class Withdrawn:
        def check(self, issuer: str, kid: str, named: VerifyKey | None) -> None:
            assert issuer == house.desk.provider.issuer and named is not None
            raise AssertionInvalid("withdrawn")

    house.published = Withdrawn()
    der, pem = house.leaf()
    assertion = house.desk.provider.issue("r.diaz", der, NOON, 5 * MINUTE)
    assert "withdrawn" in await refusal(way, house, der, pem, assertion)
