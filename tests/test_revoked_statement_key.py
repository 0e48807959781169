"""Who signs with a revoked statement key gives no answer and asks nothing, from the list on (design 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pytest

from comity.audit.entry import Entry
from comity.broker.trust import Trust
from comity.certs.key_changes import add_statement_key
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.members import without_revoked
from comity.certs.own import NEXT_STATEMENT_KEY
from comity.certs.revocations import Revoked, RevokedOf, key_digest
from comity.gateway.errors import KeyRevoked
from comity.gateway.exchange import Exchange, Settled
from comity.gateway.gateway import _Running
from comity.v1.query_service_pb2 import SearchResponse
from tests.simulator import FederationSimulator
from tests.test_revocation import publish, reasons, serial_of
from tests.test_rotation_under_load import apply, homes


def the_key(federation: FederationSimulator, name: str) -> SigningKey:
    return SigningKey.load(homes(federation)[name][0] / "keys" / "statement.key")


def revoke_key(federation: FederationSimulator, name: str) -> None:
    """Have the authority revoke an end's statement key, now."""
    publish(federation, name.partition("/")[0], public_key=key_digest(the_key(federation, name).public.der))


def replace_key(federation: FederationSimulator, name: str) -> None:
    """Make another key and have it admitted."""
    keys, old, new = homes(federation)[name][0] / "keys", the_key(federation, name), SigningKey.generate()
    new.save(keys / NEXT_STATEMENT_KEY)
    change = add_statement_key(
        new.public,
        old.public,
        now=federation.clock(),
        overlap=timedelta(days=7),
        lifetime=timedelta(days=365),
    )
    apply(federation, name, change)


async def in_force(federation: FederationSimulator, name: str) -> None:
    await federation.until(lambda: federation.journals[name].of("revocations_activated"))


async def test_who_is_not_revoked_is_answered(federation: FederationSimulator) -> None:
    """The honest case: a list that names a key of somebody else touches nobody."""
    publish(federation, "dea", public_key=bytes(32))
    await in_force(federation, "sheriff/gateway")
    assert (await federation.search(of=["lapd", "cbp"], days=1)).is_whole


async def test_provider_whose_key_is_revoked_closes_its_sessions_until_it_has_another(
    federation: FederationSimulator,
) -> None:
    """It signs nothing with it, says at once why, and takes the next key as soon as the roster names it."""
    assert (await federation.search(of=["lapd", "cbp"], days=1)).is_whole
    revoke_key(federation, "lapd/adapter")
    await in_force(federation, "sheriff/gateway")
    await federation.until(lambda: "revoked" in reasons(federation, "lapd/adapter", "session_closed"))
    released = len(federation.journals["lapd/adapter"].of("released"))
    answer = await federation.search(of=["lapd", "cbp"], days=1)
    assert answer.kinds == {"cbp": "RESPONDED", "lapd": "SESSION_FAILED"}
    assert answer.outcomes["lapd"].text.endswith("revoked") and answer.seconds < 1
    assert len(federation.journals["lapd/adapter"].of("released")) == released
    assert any("own statement key is revoked" in line for line in federation.warnings)
    replace_key(federation, "lapd/adapter")
    began = federation.clock.time()
    await federation.until(lambda: federation.journals["lapd/adapter"].of("credentials_activated"))
    assert federation.clock.time() - began < 10, "it waits for nothing: the old one signs no more"
    await federation.passes(seconds=1)
    assert (await federation.search(of=["lapd", "cbp"], days=1)).is_whole


async def test_gateway_whose_key_is_revoked_asks_nothing_until_it_has_another(
    federation: FederationSimulator,
) -> None:
    """It says why, and its log too; no frame leaves, so nobody has to refuse it."""
    revoke_key(federation, "sheriff/gateway")
    await in_force(federation, "sheriff/gateway")
    asked = len(federation.asking["sheriff"].journal.of("asked"))
    answer = await federation.search(of=["lapd"], days=1)
    assert isinstance(answer.error, KeyRevoked) and not answer.outcomes
    journal = federation.asking["sheriff"].journal
    assert [entry.public["why"] for entry in journal.of("turned_down")] == ["own_key_revoked"]
    assert len(journal.of("asked")) == asked
    replace_key(federation, "sheriff/gateway")
    await federation.until(lambda: federation.journals["sheriff/gateway"].of("credentials_activated"))
    await federation.passes(seconds=1)
    assert (await federation.search(of=["lapd"], days=1)).is_whole


@pytest.mark.parametrize("what", ["statement key", "certificate"])
async def test_gateway_whose_own_is_revoked_lets_go_what_is_under_way(
    federation: FederationSimulator, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its callers learn at once why nothing more comes, also if broker and provider have no list yet."""
    monkeypatch.setattr("comity.broker.router.Router.trust_replaced", lambda router: None)
    assert (await federation.search(of=["lapd"], days=1)).is_whole
    provider = federation["lapd"].end
    assert provider is not None
    monkeypatch.setattr(provider.sessions, "refresh", lambda *newer: None)
    federation["lapd"].goes_silent()
    asking = asyncio.create_task(federation.search(of=["lapd"], days=1))
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None
    await federation.until(lambda: len(gateway.in_flight))
    if what == "certificate":
        publish(federation, "sheriff", serial=serial_of(federation, "sheriff/gateway"))
    else:
        revoke_key(federation, "sheriff/gateway")
    await federation.until(asking.done)
    answer = await asking
    assert isinstance(answer.error, KeyRevoked) and answer.summary is None and answer.seconds < 3
    assert not len(gateway.in_flight)
    assert isinstance((await federation.search(of=["lapd"], days=1)).error, KeyRevoked)


async def test_broker_whose_key_is_revoked_routes_nothing_until_it_has_another(
    federation: FederationSimulator,
) -> None:
    """No provider hears of the question, as nobody would believe the account of it."""
    revoke_key(federation, "operator/broker")
    await in_force(federation, "operator/broker")
    announced = len(federation.journals["lapd/adapter"].entries)
    answer = await federation.search(of=["lapd"], days=1)
    assert "statement key is revoked" in answer.outcomes["lapd"].text
    assert len(federation.journals["lapd/adapter"].of("decided")) == 0 < announced
    replace_key(federation, "operator/broker")
    await federation.until(lambda: federation.journals["operator/broker"].of("credentials_activated"))
    await federation.passes(seconds=1)
    assert (await federation.search(of=["lapd"], days=1)).is_whole


async def test_answer_that_waits_for_the_log_is_withdrawn_when_its_key_is_revoked(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has its second outcome, the log that nothing was shown; the receipt stays as evidence."""
    assert (await federation.search(of=["lapd", "cbp"], days=1)).is_whole
    log, written = federation.asking["sheriff"].journal.log, asyncio.Event()
    append = log.append

    async def slow(*entries: Entry) -> object:
        promises = await append(*entries)
        if any(entry.kind == "delivered" and entry.public["peer"] == "lapd" for entry in entries):
            written.set()
            await in_force(federation, "sheriff/gateway")
            await federation.passes(seconds=0.2)
        return promises

    monkeypatch.setattr(log, "append", slow)
    gateway, held = federation.asking["sheriff"].gateway, list[str]()
    assert gateway is not None
    monkeypatch.setattr(gateway.logs, "promised", lambda agency, promise, **of: held.append(agency))
    asking = asyncio.create_task(federation.search(of=["lapd", "cbp"], days=1))
    await federation.until(written.is_set)
    revoke_key(federation, "lapd/adapter")
    await federation.until(asking.done)
    answer = await asking
    assert answer.kinds == {"cbp": "RESPONDED", "lapd": "UNVERIFIABLE"}
    assert not answer.outcomes["lapd"].pages and "revoked" in answer.outcomes["lapd"].text
    (concluded,) = federation.asking["sheriff"].journal.of("concluded")[-1:]
    assert concluded.public["outcomes"] == {"cbp": "responded", "lapd": "unverifiable"}
    assert any(name.startswith("unshown:lapd:") for name in concluded.attachments)
    assert answer.summary is not None and not answer.summary.findings
    assert held == ["cbp"], "what a stolen key promises is not held against its owner's log"


async def test_answer_that_is_being_shown_ends_when_its_key_is_revoked(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader has the first page and gets no second one: another outcome takes the place of the first."""
    end = federation.asking["sheriff"]
    assert end.gateway is not None
    messages, given = end.gateway._outcome_messages, list[str]()
    member, now = end.gateway.federation.member("lapd"), federation.clock()
    digest = key_digest(the_key(federation, "lapd/adapter").public.der)
    listed = RevokedOf(public_keys={digest: Revoked(at=now, reason="key_compromise")})

    def revoked_after_the_first_page(running: _Running, item: Settled) -> Iterator[SearchResponse]:
        for message in messages(running, item):
            yield message
            given.append(str(message.WhichOneof("part")))
            if given == ["outcome", "page"]:
                running.exchange.on_member(without_revoked(member, listed, now=now))

    monkeypatch.setattr(end.gateway, "_outcome_messages", revoked_after_the_first_page)
    answer = await federation.search(of=["lapd"], days=30)
    assert given == ["outcome", "page", "outcome"]
    assert answer.kinds == {"lapd": "UNVERIFIABLE"} and not answer.outcomes["lapd"].pages
    await federation.passes(seconds=0.5)
    assert not federation.journals["lapd/adapter"].of("acknowledged"), "nobody was given it"


async def test_answer_that_is_withdrawn_before_it_is_taken_has_one_outcome(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was settled, and nobody had looked yet: its caller has the outcome that counts, once."""
    end = federation.asking["sheriff"]
    assert end.gateway is not None
    take, member = Exchange.take_settled, end.gateway.federation.member("lapd")
    digest, now = key_digest(the_key(federation, "lapd/adapter").public.der), federation.clock()
    listed = RevokedOf(public_keys={digest: Revoked(at=now, reason="key_compromise")})

    def revoked_before(exchange: Exchange) -> Sequence[Settled]:
        if any(item.provider == "lapd" for item in exchange._settled):
            exchange.on_member(without_revoked(member, listed, now=now))
        return take(exchange)

    monkeypatch.setattr(Exchange, "take_settled", revoked_before)
    answer = await federation.search(of=["lapd", "cbp"], days=1)  # which fails if an outcome is told twice
    assert answer.kinds == {"cbp": "RESPONDED", "lapd": "UNVERIFIABLE"}


@pytest.mark.parametrize("whose", ["sheriff/gateway", "lapd/adapter"])
async def test_list_that_comes_while_a_question_is_logged_counts_for_it(
    federation: FederationSimulator, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is asked with a key that was revoked meanwhile, and nothing believed of one."""
    provider = federation["lapd"].end
    assert provider is not None
    monkeypatch.setattr(provider.sessions, "is_mute", None)
    monkeypatch.setattr("comity.broker.trust.Trust.statement_keys", _all_keys)
    assert (await federation.search(of=["lapd"], days=1)).is_whole
    log = federation.asking["sheriff"].journal.log
    append = log.append

    async def slow(*entries: Entry) -> object:
        promises = await append(*entries)
        if any(entry.kind == "asked" for entry in entries):
            revoke_key(federation, whose)
            await in_force(federation, "sheriff/gateway")
            await federation.passes(seconds=0.2)
        return promises

    monkeypatch.setattr(log, "append", slow)
    received = len(federation.journals["lapd/adapter"].of("received"))
    answer = await federation.search(of=["lapd"], days=1)
    if whose == "sheriff/gateway":
        assert isinstance(answer.error, KeyRevoked) and not answer.outcomes
        assert len(federation.journals["lapd/adapter"].of("received")) == received
    else:
        assert answer.kinds == {"lapd": "UNVERIFIABLE"}


def _all_keys(trust: Trust, agency: str, now: datetime) -> tuple[VerifyKey, ...]:
    """Return the statement keys of an agency as a broker takes them that heeds no list."""
    return tuple(valid.key for valid in trust.federation.members[agency].key_set.statement_keys)
