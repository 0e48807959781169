"""The broker hands the roster to ends over their links: where their own source of it is away, they go on."""

import shutil
from pathlib import Path

import pytest

from comity.certs.authority import refresh, suspend
from tests.simulator import FederationSimulator, simulate
from tests.support.federation import FederationOnDisk

PROVIDERS = ("cbp", "lapd")


def with_a_folder_of_its_own(made: FederationOnDisk) -> Path:
    """Give the sheriff's gateway a copy of the published folder that nobody brings up to date."""
    home = made.gateway_home("sheriff")
    shutil.copytree(made.public, home / "published")
    path = home / "gateway.toml"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join('public = "published"' if line.startswith("public =") else line for line in lines) + "\n"
    )
    return home / "published"


def version(federation: FederationSimulator) -> int:
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None
    return gateway.federation.version


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="function")
async def test_end_whose_source_is_away_learns_of_a_suspension_and_outlives_the_timestamp(
    laid_out: FederationOnDisk, tmp_path: Path
) -> None:
    """Within seconds, over the link; and again at a start with nothing in the published folder."""
    shutil.copytree(laid_out.root, tmp_path / "f")
    made = FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec)
    published = with_a_folder_of_its_own(made)
    async with simulate(made) as federation:
        assert (await federation.search(of=PROVIDERS, days=1)).is_whole
        before = version(federation)
        suspend(made.root, "cbp", federation.clock())
        await federation.until(lambda: version(federation) == before + 1)
        answer = await federation.search(of=PROVIDERS, days=1)
        assert set(answer.kinds) == {"lapd"}
        suspend(made.root, "cbp", federation.clock(), suspended=False)
        await federation.until(lambda: version(federation) == before + 2)
        for path in published.iterdir():
            path.unlink()
        gateway = federation.asking["sheriff"].gateway
        assert gateway is not None
        ends = gateway.federation.trusted_until
        federation.clock.jump(1)
        refresh(made.root, federation.clock())
        await federation.until(lambda: gateway.federation.trusted_until > ends)
    async with simulate(made, since=federation.clock()) as federation:
        assert version(federation) == before + 2
        assert set((await federation.search(of=PROVIDERS, days=1)).kinds) == set(PROVIDERS)
