"""An agency revokes its own: its end brings the list to the broker, which closes what it names (design 4)."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from comity.certs.agency import AgencyHome
from comity.certs.instants import from_instant
from comity.certs.own_lists import OWN_LIST_FILE
from comity.certs.revocations import user_digest
from comity.certs.revoking import revoke_own
from comity.v1.federation_pb2 import REVOCATION_REASON_KEY_COMPROMISE, Revocation
from tests.simulator import Answer, FederationSimulator, simulate
from tests.support.federation import FederationOnDisk
from tests.test_revocation import reasons, serial_of

PROVIDERS = ("cbp", "lapd")


def with_a_published_folder_of_its_own(laid_out: FederationOnDisk, folder: Path) -> FederationOnDisk:
    """Return a copy in which lapd's host has its own copy of the published folder, as real hosts do."""
    shutil.copytree(laid_out.root, folder)
    made = FederationOnDisk(root=folder, spec=laid_out.spec)
    home = made.adapter_home("lapd")
    shutil.copytree(made.public, home.parent / "public")
    for path in (
        home / "adapter.toml",
        home.parent / "agency.toml",
        made.gateway_home("lapd") / "gateway.toml",
    ):
        if path.exists():
            public = '"public"' if path.name == "agency.toml" else '"../public"'
            lines = path.read_text().splitlines()
            path.write_text(
                "\n".join(f"public = {public}" if line.startswith("public =") else line for line in lines)
                + "\n"
            )
    return made


def revokes(federation: FederationSimulator, *, hours: int = 24, **what: bytes) -> None:
    """Have lapd revoke something of its own, now, on its own host."""
    now = federation.clock()
    home = AgencyHome.load(federation.made.adapter_home("lapd").parent)
    entry = Revocation(
        agency="lapd",
        revoked_at=from_instant(now),
        reason=REVOCATION_REASON_KEY_COMPROMISE,
        **what,  # type: ignore[arg-type]
    )
    revoke_own(home, [entry] if what else [], now, lifetime=timedelta(hours=hours), identity=home.identity())


def issuers(federation: FederationSimulator, name: str) -> list[object]:
    return [entry.public.get("issuer") for entry in federation.journals[name].of("revocations_activated")]


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="function")
async def test_own_list_travels_over_links_and_closes_what_it_names(
    laid_out: FederationOnDisk, tmp_path: Path
) -> None:
    """Nobody publishes it: lapd's end brings it to the broker, which hands it on; then its leaf is out."""
    made = with_a_published_folder_of_its_own(laid_out, tmp_path / "f")
    async with simulate(made) as federation:
        assert (await federation.search(of=PROVIDERS, days=1)).is_whole
        revokes(federation, serial=serial_of(federation, "lapd/adapter"))
        assert not (made.public / OWN_LIST_FILE.format("lapd")).exists()
        await federation.until(lambda: "revoked" in reasons(federation, "operator/broker", "link_closed"))
        for name in ("operator/broker", "sheriff/gateway", "cbp/adapter", "lapd/adapter"):
            await federation.until(lambda name=name: issuers(federation, name) == ["lapd"])
        answer = await federation.search(of=PROVIDERS, days=1)
        assert answer.kinds["cbp"] == "RESPONDED" and answer.kinds["lapd"] != "RESPONDED"


async def whole_again(federation: FederationSimulator) -> Answer:
    """Ask until an answer is whole, thrice at most: a jump of the clock may have cost links and sessions."""
    for _ in range(2):
        answer = await federation.search(of=PROVIDERS, days=1)
        if answer.is_whole:
            return answer
        await federation.passes(seconds=1)
    return await federation.search(of=PROVIDERS, days=1)


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="function")
async def test_own_list_past_its_next_update_stops_that_agency_until_it_brings_a_newer_one(
    laid_out: FederationOnDisk, tmp_path: Path
) -> None:
    """Its link stays, over which the newer one comes; everybody else asks and answers as ever."""
    made = with_a_published_folder_of_its_own(laid_out, tmp_path / "f")
    async with simulate(made) as federation:
        revokes(federation, hours=1, user=user_digest("lapd", "nobody"))
        await federation.until(lambda: issuers(federation, "sheriff/gateway") == ["lapd"])
        assert (await federation.search(of=PROVIDERS, days=1)).is_whole
        federation.clock.jump(2 * 3600)
        gateway = federation.asking["sheriff"].gateway
        assert gateway is not None
        await federation.until(lambda: gateway.federation.member("lapd").lapsed)
        answer = await whole_again(federation)
        assert set(answer.kinds) == {"cbp"} and answer.is_whole
        lapd = federation["lapd"].end
        assert lapd is not None
        await federation.until(lambda: lapd.link.is_up)
        revokes(federation)
        await federation.until(lambda: not gateway.federation.member("lapd").lapsed)
        await federation.until(lambda: issuers(federation, "operator/broker") == ["lapd", "lapd"])
        answer = await whole_again(federation)
        assert set(answer.kinds) == set(PROVIDERS) and answer.is_whole
