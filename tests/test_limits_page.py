"""The page of limits is compared with the code: every key, its default and its range, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from comity.adapters.config import RANGES as ADAPTER
from comity.adapters.config import AdapterConfig
from comity.broker.config import RANGES as BROKER
from comity.broker.config import BrokerConfig
from comity.gateway.errors import AgencyBusy, Busy, CallerTooSlow, HoldsTooMuch, ProviderBusy, UserBusy
from comity.gateway.limits import RANGES as GATEWAY
from comity.gateway.limits import GatewayLimits

PAGE = (Path(__file__).parents[1] / "docs" / "limits.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| (\d+) – (\d+) \|", re.MULTILINE)


@pytest.mark.parametrize(
    ("section", "kind", "ranges"),
    [
        ("Gateway", GatewayLimits, GATEWAY),
        ("Broker", BrokerConfig, BROKER),
        ("Adapter", AdapterConfig, ADAPTER),
    ],
    ids=["gateway", "broker", "adapter"],
)
def test_page_has_every_limit_with_its_default_and_range(
    section: str, kind: Any, ranges: dict[str, tuple[int, int]]
) -> None:
    """A limit that is changed in the code alone would be a promise that isn't kept."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    told = {key: (int(default), int(least), int(most)) for key, default, least, most in ROW.findall(text)}
    defaults = {field.name: field.default for field in fields(kind)}
    assert told == {key: (defaults[key], *ends) for key, ends in ranges.items()}


@pytest.mark.parametrize("kind", [Busy, UserBusy, AgencyBusy, CallerTooSlow, HoldsTooMuch, ProviderBusy])
def test_page_names_every_reason_that_a_caller_may_see(kind: type[Busy]) -> None:
    """Whoever writes a caller finds each reason explained."""
    assert f"`{kind.reason}`" in PAGE
