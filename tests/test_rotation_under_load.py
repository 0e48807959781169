"""Keys and certificates are replaced while questions are asked, and nobody notices (design 4)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

import comity.audit.peers as peers
import comity.certs.own as own_room
from comity.certs.authority import admit
from comity.certs.errors import CredentialsUnusable
from comity.certs.files import write_private, write_public
from comity.certs.issuing import make_issuing_folder
from comity.certs.key_changes import EndFolder, add_ca, add_statement_key, apply_for, keep_ca_alone
from comity.certs.keys import SigningKey
from comity.certs.own import NEXT_STATEMENT_KEY
from comity.certs.pairs import LeafPair, judge_pair
from comity.certs.renewing import RenewalSettings, renew_once
from comity.certs.roster import Federation
from comity.certs.x509 import certificate_der, certificate_pem, make_ca, private_key_pem
from comity.v1.federation_pb2 import KeySet
from tests.simulator import Answer, FederationSimulator
from tests.support.evidence import PATIENT

PROVIDERS = ("cbp", "lapd")
ASKING_AT_ONCE = 2
TIMES = int(os.environ.get("ROTATIONS", "3"))
"""Rotations of each leaf, and revocations, in the long tests."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_room, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(own_room, "SETTLE_SECONDS", 3.0)
    # time is what this process works: on a slow machine five checkpoints, one a second, pass in one question
    monkeypatch.setattr(peers, "PASSED", 50)


@asynccontextmanager
async def asked_all_the_time(federation: FederationSimulator) -> AsyncIterator[list[Answer]]:
    """Ask, several at once, until the block is left; each answer is whole, or the test fails."""
    answers: list[Answer] = []
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            answer = await federation.search(of=PROVIDERS, days=1, timeout=PATIENT)
            assert answer.is_whole, (answer.kinds, answer.findings)
            answers.append(answer)

    asking = [asyncio.create_task(ask()) for _ in range(ASKING_AT_ONCE)]
    try:
        yield answers
    finally:
        over.set()
        await asyncio.gather(*asking)


def homes(federation: FederationSimulator) -> dict[str, tuple[Path, str]]:
    """Return each end's home with the id of its leaf."""
    made = federation.made
    return {
        "lapd/adapter": (made.adapter_home("lapd"), "spiffe://lapd.example/adapter"),
        "cbp/adapter": (made.adapter_home("cbp"), "spiffe://cbp.example/adapter"),
        "operator/broker": (made.broker_home, "spiffe://operator.example/broker"),
        "sheriff/gateway": (made.gateway_home("sheriff"), "spiffe://sheriff.example/gateway"),
    }


def renew(federation: FederationSimulator, name: str) -> LeafPair:
    """Put a fresh pair into an end's folder, from an issuing CA under its agency's."""
    home, spiffe_id = homes(federation)[name]
    folder, now = home.parent / "issuing", federation.clock()
    if not folder.exists():
        make_issuing_folder(home.parent, folder, now=now, lifetime=timedelta(days=14))
    settings = RenewalSettings(issuer=folder, lifetime=timedelta(days=2))
    pair = renew_once(home / "keys", spiffe_id=spiffe_id, settings=settings, now=now)
    assert pair is not None and len(pair.chain_der) == 3
    return pair


async def rotate(federation: FederationSimulator, name: str, done: Callable[[], Awaitable[None]]) -> None:
    pair = renew(federation, name)
    journal = federation.journals[name]
    await federation.until(
        lambda: (
            pair.fingerprint.hex()
            in [entry.public.get("certificate") for entry in journal.of("credentials_activated")]
        )
    )
    await done()


async def rotations(federation: FederationSimulator, times: int) -> None:
    """Replace each end's leaf so many times, while it is asked all the time."""
    await federation.search(of=PROVIDERS, days=1)
    links = {name: len(federation.journals[name].of("link_opened")) for name in homes(federation)}
    async with asked_all_the_time(federation) as answers:

        async def some_answers() -> None:
            least = len(answers) + 2 * ASKING_AT_ONCE
            await federation.until(lambda: len(answers) >= least)

        for _ in range(times):
            for name in homes(federation):
                await rotate(federation, name, some_answers)
    broker = federation.journals["operator/broker"]
    assert len(broker.of("link_opened")) == links["operator/broker"] + 3 * times
    for name in homes(federation):
        assert not federation.journals[name].of("contradiction")
        if name != "operator/broker":  # an end's own link never broke
            assert len(federation.journals[name].of("link_opened")) == links[name]
            assert not federation.journals[name].of("link_closed")
    opened = federation.journals["sheriff/gateway"].of("session_opened")
    certificates = {str(entry.public["certificate"]) for entry in opened}
    assert len(opened) > len(PROVIDERS) and len(certificates) > len(PROVIDERS)
    assert not federation.warnings


async def test_leaves_are_replaced_while_questions_are_asked(federation: FederationSimulator) -> None:
    """Gateway, two adapters and broker: every answer is whole, no link breaks, sessions move on."""
    await rotations(federation, 1)


@pytest.mark.long
async def test_rotations_of_each_leaf_one_after_the_other_meet_no_question(
    federation: FederationSimulator,
) -> None:
    """The same, several times over; `make rotations` does it to real processes, by the clock."""
    await rotations(federation, TIMES)


def apply(federation: FederationSimulator, name: str, change: Callable[[KeySet], None]) -> None:
    """Change an agency's key set as its administrator does, and have the authority admit it."""
    end, now = EndFolder.load(homes(federation)[name][0]), federation.clock()
    identity = SigningKey.load(end.home.parent / "identity.pem")
    path = apply_for(end, end.federation(now), change, identity=identity, now=now)
    admit(federation.made.root, [path.read_bytes()], now)


async def replace_statement_key(federation: FederationSimulator, name: str) -> None:
    """Make the next key, have it admitted, and wait until the end signs with it."""
    keys, now = homes(federation)[name][0] / "keys", federation.clock()
    old, new = SigningKey.load(keys / "statement.key"), SigningKey.generate()
    new.save(keys / NEXT_STATEMENT_KEY)
    change = add_statement_key(
        new.public, old.public, now=now, overlap=timedelta(days=7), lifetime=timedelta(days=365)
    )
    apply(federation, name, change)
    journal = federation.journals[name]
    await federation.until(
        lambda: (
            new.key_id in [entry.public.get("statement_key") for entry in journal.of("credentials_activated")]
        )
    )


@pytest.mark.long
async def test_statement_keys_are_replaced_while_questions_are_asked(
    federation: FederationSimulator,
) -> None:
    """Orders, receipts and accounts are signed with the new key; evidence of before and after verifies."""
    await federation.search(of=PROVIDERS, days=1)
    async with asked_all_the_time(federation) as answers:
        for name in homes(federation):
            await replace_statement_key(federation, name)
            least = len(answers) + 2 * ASKING_AT_ONCE
            await federation.until(lambda least=least: len(answers) >= least)  # type: ignore[misc]
    assert not federation.journals["sheriff/gateway"].of("contradiction")


@pytest.mark.long
async def test_agencys_ca_is_replaced_while_questions_are_asked(federation: FederationSimulator) -> None:
    """While both count, leaves of either do; then those of the old one are refused, and nobody has one."""
    await federation.search(of=PROVIDERS, days=1)
    name, now = "lapd/adapter", federation.clock()
    home, folder = homes(federation)[name][0], homes(federation)[name][0].parent
    old = LeafPair.load(home / "keys")
    certificate, key = make_ca("lapd.example", now, timedelta(days=300), path_length=1)
    async with asked_all_the_time(federation) as answers:

        async def some_answers() -> None:
            least = len(answers) + 2 * ASKING_AT_ONCE
            await federation.until(lambda: len(answers) >= least)

        apply(federation, name, add_ca(certificate_der(certificate)))
        await federation.until(
            lambda: len(federation["lapd"].end.federation.member("lapd").key_set.ca_certificates) == 2  # type: ignore[union-attr]
        )
        await federation.passes(seconds=2)  # the others have it, too
        write_private(folder / "ca.key", private_key_pem(key))
        write_public(folder / "ca.pem", certificate_pem(certificate))
        await rotate(federation, name, some_answers)
        await rotate(federation, "sheriff/gateway", some_answers)
        await federation.passes(seconds=4)  # sessions with the old leaf are over
        apply(federation, name, keep_ca_alone(certificate_der(certificate)))
        await federation.passes(seconds=2)
        await some_answers()
    member = Federation.load(federation.made.public, now=federation.clock()).member("lapd")
    with pytest.raises(CredentialsUnusable):
        judge_pair(old, member=member, role="adapter", now=federation.clock())
