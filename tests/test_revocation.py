"""Who is revoked has no link and no session any more, within a second of the list's arrival (design 4)."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from comity.certs.assertions import verify_assertion
from comity.certs.authority import revoke
from comity.certs.errors import AssertionInvalid
from comity.certs.instants import from_instant
from comity.certs.pairs import LeafPair
from comity.certs.revocations import serial_bytes, user_digest
from comity.gateway.errors import SubjectRefused, Unauthenticated
from comity.gateway.subjects import authenticate
from comity.v1.federation_pb2 import REVOCATION_REASON_KEY_COMPROMISE, Revocation
from tests.simulator import FederationSimulator
from tests.support.evidence import PATIENT
from tests.test_rotation_under_load import TIMES, homes, renew


def publish(federation: FederationSimulator, agency: str, **what: bytes | bool) -> None:
    """Have the authority revoke something of an agency, now."""
    now = federation.clock()
    entry = Revocation(
        agency=agency,
        revoked_at=from_instant(now),
        reason=REVOCATION_REASON_KEY_COMPROMISE,
        **what,  # type: ignore[arg-type]
    )
    revoke(federation.made.root, [entry], now)


def serial_of(federation: FederationSimulator, name: str) -> bytes:
    return serial_bytes(LeafPair.load(homes(federation)[name][0] / "keys").serial)


def reasons(federation: FederationSimulator, name: str, kind: str) -> list[str]:
    return [str(entry.public["reason"]) for entry in federation.journals[name].of(kind)]


async def test_who_is_not_revoked_is_answered(federation: FederationSimulator) -> None:
    """The honest case: a list that names another leaf touches nobody."""
    publish(federation, "dea", serial=b"\x07")
    await federation.until(lambda: federation.journals["sheriff/gateway"].of("revocations_activated"))
    assert (await federation.search(of=["lapd", "cbp"], days=1)).is_whole


async def test_revoked_leaf_loses_link_and_session_and_gets_none_until_it_is_replaced(
    federation: FederationSimulator,
) -> None:
    """An adapter's: it dials on with the old leaf in vain, and is back by itself with a new one."""
    assert (await federation.search(of=["lapd", "cbp"], days=1)).is_whole
    publish(federation, "lapd", serial=serial_of(federation, "lapd/adapter"))
    await federation.until(lambda: "revoked" in reasons(federation, "operator/broker", "link_closed"))
    await federation.until(lambda: federation.journals["sheriff/gateway"].of("revocations_activated"))
    await federation.until(lambda: reasons(federation, "operator/broker", "link_refused"))
    answer = await federation.search(of=["lapd", "cbp"], days=1)
    assert answer.kinds["cbp"] == "RESPONDED" and answer.kinds["lapd"] != "RESPONDED"
    assert set(reasons(federation, "operator/broker", "link_refused")) == {"revoked"}
    renew(federation, "lapd/adapter")
    link = federation["lapd"].end
    assert link is not None
    await federation.until(lambda: link.link.is_up)
    await federation.until(lambda: federation.journals["lapd/adapter"].of("revocations_activated"))
    assert (await federation.search(of=["lapd", "cbp"], days=1)).is_whole


async def test_session_with_a_revoked_leaf_ends_though_the_broker_keeps_its_link(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that doesn't care: each end closes the session by the list, and opens none."""
    monkeypatch.setattr("comity.broker.router.Router.trust_replaced", lambda router: None)
    assert (await federation.search(of=["lapd"], days=1)).is_whole
    publish(federation, "lapd", serial=serial_of(federation, "lapd/adapter"))
    await federation.until(lambda: "revoked" in reasons(federation, "sheriff/gateway", "session_closed"))
    answer = await federation.search(of=["lapd"], days=1)
    assert answer.kinds["lapd"] == "SESSION_FAILED"


async def test_revoked_user_is_shown_nothing_more_and_asks_nothing(federation: FederationSimulator) -> None:
    """What is under way is let go at once; its own gateway takes no assertion of it, nor does a provider."""
    end = federation.asking["sheriff"]
    assert end.gateway is not None
    claims, assertion = authenticate(
        f"Bearer {end.assertion()}",
        certificate_der=federation.made.client_certificate("sheriff"),
        member=end.gateway.federation.member("sheriff"),
        published=end.gateway.published,
        now=federation.clock(),
    )
    assert (await federation.search(of=["lapd"], days=1)).is_whole
    federation["lapd"].goes_silent()
    asking = asyncio.create_task(federation.search(of=["lapd"], days=1))
    await federation.until(lambda: end.gateway is not None and len(end.gateway.in_flight))
    publish(federation, "sheriff", user=user_digest("sheriff", claims.user))
    await federation.until(asking.done)
    assert isinstance((await asking).error, SubjectRefused)
    federation["lapd"].is_honest_again()
    with pytest.raises(Unauthenticated, match="revoked"):
        await federation.search(of=["lapd"], days=1)
    await federation.until(lambda: federation.journals["lapd/adapter"].of("revocations_activated"))
    provider = federation["lapd"].end
    assert provider is not None
    member = provider.federation.member("sheriff")
    with pytest.raises(AssertionInvalid, match="revoked"):
        verify_assertion(assertion, member=member, now=federation.clock(), certificate_der=None)


def has_closed(federation: FederationSimulator, times: int) -> bool:
    return reasons(federation, "operator/broker", "link_closed").count("revoked") == times


@pytest.mark.long
async def test_revocations_under_load_and_no_answer_after_any(federation: FederationSimulator) -> None:
    """While questions are asked all the time: once a list is in force, the revoked adapter answers none."""
    over, answers = asyncio.Event(), list[tuple[float, str]]()

    async def ask() -> None:
        while not over.is_set():
            began = federation.clock.time()
            answer = await federation.search(of=["lapd", "cbp"], days=1, timeout=PATIENT)
            answers.append((began, answer.kinds["lapd"]))
            assert answer.kinds["cbp"] == "RESPONDED", answer.kinds

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    took = list[float]()
    try:
        for number in range(TIMES):
            await federation.until(lambda: answers and answers[-1][1] == "RESPONDED")
            published = federation.clock.time()
            publish(federation, "lapd", serial=serial_of(federation, "lapd/adapter"))
            broker = federation.journals["operator/broker"]
            await federation.until(partial(has_closed, federation, number + 1))
            closed = federation.clock.time()
            took.append(closed - published)
            await federation.passes(seconds=0.5)
            assert all(kind != "RESPONDED" for began, kind in answers if began > closed)
            renew(federation, "lapd/adapter")
            await federation.until(lambda: federation["lapd"].end.link.is_up)  # type: ignore[union-attr]
            assert len(broker.of("revocations_activated")) == number + 1
    finally:
        over.set()
        await asyncio.gather(*asking)
    assert len(took) == TIMES
