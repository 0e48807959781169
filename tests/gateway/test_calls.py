"""A call under way ends once its caller's certificate is revoked, or its user (design 4)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from cryptography import x509

from comity.certs.members import MemberView
from comity.certs.profile import load_certificate
from comity.certs.revocations import (
    Revoked,
    RevokedOf,
    certificate_key_digest,
    serial_bytes,
    user_digest,
)
from comity.certs.x509 import certificate_pem
from comity.gateway import service as service_module
from comity.gateway.calls import Cut, OpenCall, OpenCalls
from comity.gateway.errors import SubjectRefused, Unauthenticated
from comity.gateway.limits import GatewayLimits
from comity.gateway.service import QueryService
from comity.v1 import query_service_pb2
from tests.gateway.test_callers import DESK, ROOT, STRANGER
from tests.gateway.test_service import Aborted
from tests.support.minting import NOW, URI, mint

SINCE = Revoked(at=NOW, reason="key_compromise")
LEAF = mint(ROOT, URI(DESK), start=NOW)
SERIAL = serial_bytes(load_certificate(LEAF).serial_number)


def member(**revoked: Any) -> MemberView:
    """Return lapd as these rules look at it."""
    found: Any = SimpleNamespace(agency="lapd", revoked=RevokedOf(**revoked))
    return found


@contextlib.asynccontextmanager
async def under_way(
    calls: OpenCalls,
    *,
    chain: tuple[bytes, ...] = (LEAF,),
    cas: tuple[bytes, ...] = (ROOT.der,),
    user: str = "",
) -> AsyncIterator[asyncio.Task[None]]:
    """Have a call wait for an answer that never comes."""
    entered = asyncio.Event()

    async def serve() -> None:
        with calls.entered() as call:
            call.chain, call.ca_certificates, call.user = chain, cas, user
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await entered.wait()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_call_of_a_revoked_certificate_is_cut_and_no_other() -> None:
    """Once, however often the list is looked at."""
    calls, revoked = OpenCalls(), member(serials={SERIAL: SINCE})
    other = mint(ROOT, URI(DESK), start=NOW)
    async with under_way(calls) as task, under_way(calls, chain=(other,)) as left:
        assert calls.judge(member(), NOW) == []
        serial = f"{load_certificate(LEAF).serial_number:x}"
        assert calls.judge(revoked, NOW) == [Cut(certificate=serial, revoked=SINCE)]
        assert calls.judge(revoked, NOW) == []
        with pytest.raises(Unauthenticated, match="revoked"):
            await task
        assert not left.done() and not left.cancelling() and len(calls) == 1


@pytest.mark.parametrize("what", ["key", "agency"])
async def test_call_of_a_revoked_key_or_agency_is_cut(what: str) -> None:
    """Whatever certificate the key is in."""
    key = certificate_key_digest(load_certificate(LEAF))
    calls = OpenCalls()
    async with under_way(calls) as task:
        revoked = member(public_keys={key: SINCE}) if what == "key" else member(everything=SINCE)
        assert len(calls.judge(revoked, NOW)) == 1
        with pytest.raises(Unauthenticated):
            await task


async def test_call_under_a_revoked_ca_is_cut_and_under_a_replaced_one_is_answered() -> None:
    """Also where the other CA is still there; the chain that the caller showed may leave the CA out."""
    serials = {serial_bytes(ROOT.certificate.serial_number): SINCE}
    calls = OpenCalls()
    of_other = mint(STRANGER, URI(DESK), start=NOW)
    cas = (ROOT.der, STRANGER.der)
    async with under_way(calls, cas=cas) as task, under_way(calls, chain=(of_other,), cas=cas) as left:
        assert calls.judge(member(), NOW) == []  # whatever CAs the agency has now
        assert len(calls.judge(member(serials=serials), NOW)) == 1
        with pytest.raises(Unauthenticated):
            await task
        assert not left.done()


async def test_call_under_the_only_ca_is_cut_with_it() -> None:
    """Also where the caller showed its leaf alone: no CA is left to look at."""
    serials = {serial_bytes(ROOT.certificate.serial_number): SINCE}
    calls = OpenCalls()
    async with under_way(calls) as task:
        assert len(calls.judge(member(serials=serials), NOW)) == 1
        with pytest.raises(Unauthenticated):
            await task


async def test_call_of_a_revoked_user_is_cut() -> None:
    """A retrieval of records, say: exchanges are let go by themselves."""
    calls = OpenCalls()
    revoked = {user_digest("lapd", "j.ortega"): SINCE}
    async with under_way(calls, user="j.ortega") as task, under_way(calls, user="k.novak") as left:
        assert [cut.certificate for cut in calls.judge(member(users=revoked), NOW)] == [""]
        with pytest.raises(SubjectRefused):
            await task
        assert not left.done()


async def test_call_that_its_caller_gives_up_is_no_cut() -> None:
    """What cancels a task from elsewhere goes on as a cancellation, also right beside a cut."""
    calls = OpenCalls()
    for first in (lambda: None, lambda: calls.judge(member(serials={SERIAL: SINCE}), NOW)):
        async with under_way(calls) as task:
            first()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@dataclass
class Context:
    """What gRPC gives a method: who calls, and a stream to write on."""

    written: list[object] = field(default_factory=list)

    def auth_context(self) -> dict[str, list[bytes]]:
        pem = certificate_pem(x509.load_der_x509_certificate(LEAF))
        return {"x509_pem_cert": [pem], "x509_pem_cert_chain": [pem], "ssl_tls_version": [b"TLSv1.3"]}

    def time_remaining(self) -> None:
        return None

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def write(self, message: object) -> None:
        self.written.append(message)

    async def abort(self, code: grpc.StatusCode, text: str, trailing_metadata: object) -> None:
        self.code, self.text = code, text
        raise Aborted


async def test_stream_under_way_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Search` was written to and waits for more: it is cut, its answer is closed, its caller is told."""
    closed = list[bool]()

    async def answer(
        request: object, *, certificate_der: Callable[[], bytes], **rest: object
    ) -> AsyncGenerator[query_service_pb2.SearchResponse, None]:
        certificate_der()
        try:
            yield query_service_pb2.SearchResponse()
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    monkeypatch.setattr(service_module, "answer_to", answer)
    keys = SimpleNamespace(digest=b"1", ca_certificates=(ROOT.der,))
    lapd = SimpleNamespace(domain="lapd.example", key_set=keys, revoked=RevokedOf())
    gateway: Any = SimpleNamespace(agency="lapd", standing=SimpleNamespace(own=lambda agency: lapd))
    calls = OpenCalls()
    service, context = QueryService(gateway, lambda: NOW, GatewayLimits(), calls), Context()
    search = service.Search(query_service_pb2.SearchRequest(), context)  # type: ignore[arg-type]
    task = asyncio.ensure_future(search)
    while not context.written:
        await asyncio.sleep(0)
    assert [call.chain for call in calls._calls] == [(LEAF,)]
    calls.judge(member(serials={SERIAL: SINCE}), NOW)
    with pytest.raises(Aborted):
        await task
    assert context.code is grpc.StatusCode.UNAUTHENTICATED and "revoked" in context.text
    assert closed == [True] and len(calls) == 0


async def test_call_without_a_verified_certificate_is_left_to_its_own_check() -> None:
    """It began, and nothing was verified yet: the check that follows knows the newer list."""
    call = OpenCall(task=asyncio.current_task())  # type: ignore[arg-type]
    assert call.revoked(member(serials={SERIAL: SINCE}), NOW) is None
