"""An identity provider's key is rotated while questions are asked: nobody is locked out."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from comity.certs.agency import AgencyHome
from comity.certs.authority import admit
from comity.certs.following_jwks import PublishedKeys
from comity.certs.identity_provider import KEY_FILE
from comity.certs.jwks import to_jwks
from comity.certs.key_changes import EndFolder, apply_for, set_identity_provider_keys
from comity.certs.keys import SigningKey
from comity.gateway.errors import Unauthenticated
from tests.simulator import Answer, FederationSimulator, simulate
from tests.support.evidence import PATIENT
from tests.support.federation import FederationOnDisk
from tests.support.jwks_server import JwksServer, serving_jwks

PROVIDERS = ("cbp", "lapd")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[JwksServer]:
    with serving_jwks(tmp_path / "idp-server") as found:
        yield found


@pytest.fixture
async def followed(
    laid_out: FederationOnDisk, tmp_path: Path, server: JwksServer
) -> AsyncIterator[FederationSimulator]:
    """A federation whose sheriff's gateway follows what the sheriff's identity provider publishes."""
    shutil.copytree(laid_out.root, tmp_path / "f")
    made = FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec)
    with (made.gateway_home("sheriff") / "gateway.toml").open("a") as settings:
        settings.write(
            f'\n[identity_provider]\njwks = "{server.url}"\nca = "{server.ca}"\nrefresh_seconds = 2\n'
        )
    server.body = AgencyHome.load(made.home("sheriff")).identity_provider().jwks
    async with simulate(made) as running:
        yield running


def following(federation: FederationSimulator) -> PublishedKeys:
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None and isinstance(gateway.published, PublishedKeys)
    return gateway.published


def names(federation: FederationSimulator, *keys: SigningKey) -> None:
    """The administrator puts these keys into the key set, and the authority admits it."""
    made, now = federation.made, federation.clock()
    end = EndFolder.load(made.gateway_home("sheriff"))
    issuer = AgencyHome.load(made.home("sheriff")).identity_provider().issuer
    change = set_identity_provider_keys(issuer, to_jwks({key.key_id: key.public for key in keys}))
    identity = SigningKey.load(made.home("sheriff") / "identity.pem")
    path = apply_for(end, end.federation(now), change, identity=identity, now=now)
    admit(made.root, [path.read_bytes()], now)


def signs_with(federation: FederationSimulator, key: SigningKey) -> None:
    """From now on the identity provider signs with `key`; who asks logs on again."""
    path = federation.made.home("sheriff") / "idp" / KEY_FILE
    path.unlink()
    key.save(path)
    end = federation.asking["sheriff"]
    end._assertion = ("", federation.clock() - timedelta(days=1))


@asynccontextmanager
async def asked_all_the_time(federation: FederationSimulator) -> AsyncIterator[list[Answer]]:
    """Ask until the block is left; each answer is whole, or the test fails."""
    answers: list[Answer] = []
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            answer = await federation.search(of=PROVIDERS, days=1, timeout=PATIENT)
            assert answer.is_whole, (answer.kinds, answer.findings)
            answers.append(answer)

    asking = [asyncio.create_task(ask()) for _ in range(2)]
    try:
        yield answers
    finally:
        over.set()
        await asyncio.gather(*asking)


@pytest.mark.long
async def test_providers_key_is_rotated_while_questions_are_asked(
    followed: FederationSimulator, server: JwksServer
) -> None:
    """Published beside the old, told, named, both count; withdrawn, refused: and no question failed."""
    federation, published = followed, following(followed)
    path = federation.made.home("sheriff") / "idp" / KEY_FILE
    old, new = SigningKey.load(path), SigningKey.generate()
    await federation.search(of=PROVIDERS, days=1)
    async with asked_all_the_time(federation) as answers:

        async def some_answers() -> None:
            least = len(answers) + 4
            await federation.until(lambda: len(answers) >= least)

        server.body = to_jwks({key.key_id: key.public for key in (old, new)})
        await federation.until(lambda: published.unlisted == 1)
        assert any(f"publishes key `{new.key_id}`" in line for line in federation.warnings)
        await some_answers()
        names(federation, old, new)
        await federation.until(lambda: published.unlisted == 0)
        await federation.passes(seconds=2)  # every provider has that roster
        await some_answers()
        signs_with(federation, new)
        await some_answers()
        server.body = to_jwks({new.key_id: new.public})
        await federation.until(lambda: published.withdrawn == 1)
        await some_answers()
    signs_with(federation, old)
    with pytest.raises(Unauthenticated, match="withdrawn"):
        await federation.search(of=PROVIDERS, days=1)
    signs_with(federation, new)
    names(federation, new)
    await federation.until(lambda: published.withdrawn == 0)
    assert (await federation.search(of=PROVIDERS, days=1)).is_whole
    server.status = 503
    await federation.until(lambda: published.failures > 2)
    assert (await federation.search(of=PROVIDERS, days=1)).is_whole
    seen = [line for line in federation.warnings if "identity provider" in line.lower()]
    assert len(seen) == 3 and "KEYS ARE NOT TAKEN" in seen[-1]


@pytest.mark.long
async def test_flood_of_made_up_kids_causes_no_fetch_each(
    followed: FederationSimulator, server: JwksServer
) -> None:
    """Two hundred questions under as many keys that nobody knows: the provider's server hears of none."""
    federation = followed
    await federation.until(lambda: following(federation).current.is_known)
    path = federation.made.home("sheriff") / "idp" / KEY_FILE
    old, asked, at = SigningKey.load(path), len(server.asked), federation.clock()
    for _ in range(200):
        signs_with(federation, SigningKey.generate())
        with pytest.raises(Unauthenticated, match="names no key of its issuer"):
            await federation.search(of=PROVIDERS, days=1)
    looks = (federation.clock() - at) / timedelta(seconds=1.8) + 2
    assert len(server.asked) - asked <= looks
    signs_with(federation, old)
    assert (await federation.search(of=PROVIDERS, days=1)).is_whole
