"""House rules against the whole federation: they stop or warn one's own people, and touch nothing else.

Must not: a question that is stopped leaves the house; a provider hears of a house rule, or decides otherwise
for one; rules that fail let a question through; a bundle that isn't right takes force.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from comity.audit.entry import Entry
from comity.gateway import gateway as gateway_module
from comity.gateway.config import load_config
from comity.gateway.end import GatewayEnd
from comity.gateway.errors import ConfigInvalid, HouseRulesStop, to_status
from comity.gateway.gateway import Gateway
from comity.gateway.house import HouseSettings, load_house
from comity.gateway.order import SignedOrder
from comity.policy.house.bundle import Enforcement, shipped
from comity.v1 import common_pb2, query_pb2, query_service_pb2, result_pb2
from tests.simulator import PLATE, Answer, FederationSimulator
from tests.support.federation import FederationOnDisk

pytestmark = pytest.mark.asyncio(loop_scope="module")

Response = query_service_pb2.SearchResponse
PROVIDERS = ("cbp", "dea", "lahd", "lapd")
WHEN = {
    "allow_all": "context.query.readings > 1000",
    "always": "context.query.readings > 0",
    "lapd": 'resource == Provider::"lapd"',
    "fails": "context.query.readings * 9223372036854775807 + 9223372036854775807 > 0",
    "nexus": "!context.query.borderNexus",
    "readings": "context.query.readings > 1",
}


@pytest.fixture
def gateway(shared: FederationSimulator) -> Iterator[Gateway]:
    """The sheriff's gateway; after the test it has no house rules."""
    end = shared.asking["sheriff"].gateway
    assert end is not None
    yield end
    end.house = None


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder for the sheriff's house bundle."""
    (tmp_path / "house/policies").mkdir(parents=True)
    for name in ("schema.cedarschema", "entities.json"):
        (tmp_path / "house" / name).write_bytes((shipped("ice") / name).read_bytes())
    (tmp_path / "house/bundle.toml").write_text('agency = "sheriff"\nversion = "7"\nkind = "house"\n')
    return tmp_path / "house"


@pytest.fixture
def laid_out_home(laid_out: FederationOnDisk, tmp_path: Path) -> Path:
    """The sheriff's gateway in a federation that nothing runs in."""
    shutil.copytree(laid_out.root, tmp_path / "f", ignore=shutil.ignore_patterns("reads.db"))
    return FederationOnDisk(root=tmp_path / "f", spec=laid_out.spec).gateway_home("sheriff")


def lay_down(house: Path, when: str, enforce: str = "stop") -> HouseSettings:
    """Write a bundle of one rule, and return the settings that name it."""
    (house / "policies/one.cedar").write_text(
        f'@id("sheriff.one") @rule("Q4") @document("GO 7.2") @text("our own rule") @enforce("{enforce}")\n'
        f'forbid (principal, action == Action::"Ask", resource) when {{ {WHEN[when]} }};\n'
    )
    return HouseSettings(bundle=house, enforce={})


async def obey(gateway: Gateway, settings: HouseSettings) -> None:
    """Have the gateway take the rules into force, as it does when their folder changes."""
    await gateway.reload_house(partial(load_house, settings, agency="sheriff"))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[SignedOrder]:
    """Every order that the gateway signs."""
    orders: list[SignedOrder] = []
    sign = gateway_module.sign_order

    def kept(*arguments: object, **options: object) -> SignedOrder:
        orders.append(sign(*arguments, **options))  # type: ignore[arg-type]
        return orders[-1]

    monkeypatch.setattr(gateway_module, "sign_order", kept)
    return orders


def told(order: SignedOrder) -> dict[str, bytes]:
    """Return what each provider is asked, without what differs from one query to the next anyhow."""
    found = {}
    for name, asking in order.asking.items():
        query = query_pb2.Query.FromString(asking.query)
        for once in ("nonce", "exchange_id", "made_at", "subject"):
            query.ClearField(once)  # type: ignore[arg-type]
        found[name] = query.SerializeToString(deterministic=True)
    return found


def decided(federation: FederationSimulator, answer: Answer) -> dict[str, dict[str, object]]:
    """Return what each provider logged of its decision: outcome, rules, obligations, and facts but times."""
    found: dict[str, dict[str, object]] = {}
    for name in PROVIDERS:
        journal = federation.providers[name].journal
        (entry,) = (entry for entry in journal.of("decided") if entry.exchange == answer.exchange_id)
        facts = json.loads(entry.private["facts"])
        for counter in ("told", "spent"):  # how often the person asked, which grows with each question
            del facts[counter]
        timeless = re.sub(r'"[^"]*\d\d:\d\d[^"]*"', "", json.dumps(facts, sort_keys=True))
        found[name] = {**entry.private, "facts": timeless, "outcome": entry.public["outcome"]}
        assert found[name]["rules"] and found[name]["stores"]
    return found


def last(gateway_log: FederationSimulator, *kinds: str) -> Entry:
    return gateway_log.journals["sheriff/gateway"].of(*kinds)[-1]


async def test_no_provider_decides_otherwise_for_a_house_rule(
    shared: FederationSimulator, gateway: Gateway, house: Path, sent: list[SignedOrder]
) -> None:
    """Absent, allowing all, or warning: the same queries leave, and every provider decides the same."""
    question = shared.question()
    seen = []
    for when, enforce in ((None, ""), ("allow_all", "stop"), ("always", "warn")):
        if when is not None:
            await obey(gateway, lay_down(house, when, enforce))
        answer = await shared.search(question)
        assert answer.is_whole, answer.error
        shown = {name: (one.kind, len(one.pages)) for name, one in answer.outcomes.items()}
        seen.append((shown, decided(shared, answer), told(sent[-1]), len(sent[-1].leaves)))
    assert seen[0] == seen[1] == seen[2]
    assert last(shared, "asked").public["house"]["warned"] == ["sheriff.one"]  # type: ignore[index, call-overload]


async def test_question_that_is_stopped_asks_nobody(
    shared: FederationSimulator, gateway: Gateway, house: Path, sent: list[SignedOrder]
) -> None:
    """A stop: no order, nothing at any other end; in one's own log the rule and no plate in clear."""
    await obey(gateway, lay_down(house, "always"))
    before = shared.positions()
    answer = await shared.search()
    assert isinstance(answer.error, HouseRulesStop) and not answer.outcomes and not sent
    await shared.passes(seconds=1)
    new = {name: journal.entries[before[name] :] for name, journal in shared.journals.items()}
    asking = ("routed", "order_refused", "received", "rejected", "decided", "asked", "session_opened")
    assert not [(name, one.kind) for name, found in new.items() for one in found if one.kind in asking]
    (entry,) = (one for one in new["sheriff/gateway"] if one.kind == "turned_down")
    assert entry.public["why"] == "house_rules"
    stopped = {name: ["sheriff.one"] for name in PROVIDERS}
    assert entry.public["house"]["stopped"] == stopped  # type: ignore[index, call-overload]
    assert entry.private["plate"] == PLATE
    clear = json.dumps(entry.public)
    assert not any(word in clear for word in (PLATE, "26-0417", "burglar", "j.ortega"))


async def test_stop_tells_the_caller_rule_document_and_text(
    shared: FederationSimulator, gateway: Gateway, house: Path
) -> None:
    """The status has a `RuleCitation` of each rule that stops, besides its reason."""
    await obey(gateway, lay_down(house, "always"))
    error = (await shared.search()).error
    assert isinstance(error, HouseRulesStop)
    status = to_status(error)
    citation = result_pb2.RuleCitation()
    assert status.details[0].Unpack(citation)
    assert (citation.policy_id, list(citation.rules)) == ("sheriff.one", ["Q4"])
    assert (citation.document, citation.text) == ("GO 7.2", "our own rule")
    assert error.reason == "HOUSE_RULES" and "GO 7.2" in status.message


async def test_rule_about_one_provider_leaves_that_one_out(
    shared: FederationSimulator, gateway: Gateway, house: Path, sent: list[SignedOrder]
) -> None:
    """The provider is NOT_ASKED for house rules, with the rule; the others answer."""
    await obey(gateway, lay_down(house, "lapd"))
    answer = await shared.search()
    assert set(answer.kinds) == {"cbp", "dea", "lahd"} and set(sent[-1].asking) == {"cbp", "dea", "lahd"}
    assert last(shared, "asked").public["not_asked"]["lapd"] == "house_rules"  # type: ignore[index, call-overload]


async def test_warning_is_shown_before_any_read(
    shared: FederationSimulator, gateway: Gateway, house: Path
) -> None:
    """A warning stands in the plan, which comes first."""
    await obey(gateway, lay_down(house, "always", "warn"))
    plans: list[query_service_pb2.Plan] = []
    show = shared._show

    def kept(
        answer: Answer, pages: dict[str, list[bytes]], message: query_service_pb2.SearchResponse
    ) -> None:
        if message.HasField("plan"):
            plans.append(message.plan)
        show(answer, pages, message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "_show", kept)
        await shared.search()
    assert [rule.policy_id for rule in plans[0].house_warnings] == ["sheriff.one"]


async def test_house_rules_that_fail_stop_the_question(
    shared: FederationSimulator, gateway: Gateway, house: Path, sent: list[SignedOrder]
) -> None:
    """Fail closed: an error in a rule that would only warn stops; so do facts that can't be told."""
    await obey(gateway, lay_down(house, "fails", "warn"))
    answer = await shared.search()
    assert isinstance(answer.error, HouseRulesStop) and "could not be evaluated" in str(answer.error)
    await obey(gateway, lay_down(house, "allow_all"))
    broken = replace(shared.question(), reason=common_pb2.REASON_CODE_UNSPECIFIED)
    assert isinstance((await shared.search(broken)).error, HouseRulesStop)
    assert not sent


async def test_border_nexus_stays_in_the_house(
    shared: FederationSimulator, gateway: Gateway, house: Path, sent: list[SignedOrder]
) -> None:
    """Q7: with the nexus stated it is asked; its text is in one's own log, and nowhere else."""
    await obey(gateway, lay_down(house, "nexus"))
    assert isinstance((await shared.search()).error, HouseRulesStop)
    nexus = "crossed at Otay Mesa with a false compartment"
    answer = await shared.search(border_nexus=nexus)
    assert answer.is_whole
    assert last(shared, "asked").private["border_nexus"] == nexus
    for asking in sent[-1].asking.values():
        assert nexus.encode() not in asking.query
    folders = [shared.made.adapter_home(name) for name in PROVIDERS] + [shared.made.broker_home]
    kept = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if nexus.encode() in path.read_bytes()]


async def test_rule_against_several_readings_stops_them(
    shared: FederationSimulator, gateway: Gateway, house: Path, sent: list[SignedOrder]
) -> None:
    """Q10: a house that never asks for several readings (ICE's, GUI I) stops them, and lets one pass."""
    await obey(gateway, lay_down(house, "readings"))
    assert isinstance((await shared.search(readings=["BABC123"])).error, HouseRulesStop)
    assert not sent
    assert (await shared.search()).is_whole


async def test_broken_house_rules_leave_the_old_in_force(
    shared: FederationSimulator, gateway: Gateway, house: Path
) -> None:
    """At a reload: a bundle that isn't right takes no force and is told with file and line."""
    await obey(gateway, lay_down(house, "always"))
    activated = last(shared, "house_rules_activated")
    assert activated.public["version"] == "7" and activated.public["enforce"] == {"sheriff.one": "stop"}
    (house / "policies/one.cedar").write_text("\nforbid (principal, action, resource);\n")
    with pytest.raises(ConfigInvalid, match=r"one.cedar:2: annotation `@id` is required"):
        await obey(gateway, HouseSettings(bundle=house, enforce={}))
    assert isinstance((await shared.search()).error, HouseRulesStop), "the old rule still stops"
    assert last(shared, "house_rules_activated") is activated
    with pytest.raises(ConfigInvalid, match=r"the house bundle has no rule `sheriff\.two`"):
        settings = replace(lay_down(house, "always"), enforce={"sheriff.two": Enforcement.WARN})
        await obey(gateway, settings)


async def test_gateway_with_broken_house_rules_does_not_start(laid_out_home: Path, house: Path) -> None:
    """At the start: without its law the gateway doesn't serve, and says file and line."""
    lay_down(house, "always")
    (house / "policies/one.cedar").write_text('@id("a")\nforbid (principal, action, resource);\n')
    path = laid_out_home / "gateway.toml"
    path.write_text(f'{path.read_text()}\n[house_rules]\nbundle = "{house}"\n')
    with pytest.raises(ConfigInvalid, match=r"one.cedar:1: annotation `@rule` is required"):
        async with GatewayEnd.open(load_config(path)):
            pytest.fail("it started")
    lay_down(house, "always")
    async with asyncio.timeout(30), GatewayEnd.open(load_config(path)) as end:
        assert end.gateway.house is not None


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('bundle = "nowhere"', "no folder at"),
        ('bundel = "."', "`house_rules.bundel` is not known"),
        ("bundle = 7", "must be a text"),
        ('bundle = "."\nenforce = {"a" = "note"}', "`house_rules.enforce.a`: expected `stop` or `warn`"),
        ('bundle = "."\nenforce = "warn"', "must be a table"),
    ],
)
async def test_house_settings_that_are_wrong_are_told(laid_out_home: Path, lines: str, said: str) -> None:
    """File, key, and what would have been right."""
    path = laid_out_home / "gateway.toml"
    path.write_text(f"{path.read_text()}\n[house_rules]\n{lines}\n")
    with pytest.raises(ConfigInvalid, match=said):
        load_config(path)


async def test_one_line_of_configuration_turns_a_rule_round(laid_out_home: Path, house: Path) -> None:
    """As ICE's five years in the demonstration: the annotation stops, the configuration has it warn."""
    lay_down(house, "always")
    path = laid_out_home / "gateway.toml"
    line = 'enforce = {"sheriff.one" = "warn"}'
    path.write_text(f'{path.read_text()}\n[house_rules]\nbundle = "{house}"\n{line}\n')
    rules = load_house(load_config(path).house, agency="sheriff")
    assert rules is not None and rules.enforcement == {"sheriff.one": Enforcement.WARN}
    with pytest.raises(ConfigInvalid, match="the bundle is of `sheriff`, not of `lapd`"):
        load_house(load_config(path).house, agency="lapd")
