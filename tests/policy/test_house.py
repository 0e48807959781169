"""House bundles: what is checked of one, how it judges, and the rules that Comity ships for ICE and CBP."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.cli.policy import group
from comity.policy.case_words import uncovered
from comity.policy.errors import BundleInvalid, CaseInvalid
from comity.policy.house import bundle as bundles
from comity.policy.house.bundle import Enforcement, HouseBundle, is_house, shipped
from comity.policy.house.cases import load_house_cases, run_house, sketched_house
from comity.policy.house.facts import (
    AskedOf,
    HouseListing,
    HouseQuestion,
    is_tracking_number,
    names_a_person,
    years_back,
)
from comity.policy.house.rules import FAILED, EnforcementUnknown, HouseRules
from comity.policy.house.variations import explain_house, unmet
from comity.policy.windows import Windows

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TEMPLATE = Path(bundles.__file__).parent / "template"
SHIPPED = [shipped("ice"), shipped("cbp"), TEMPLATE]
RULE = """
@id("x.one") @rule("Q5") @document("ours") @text("too long") @enforce("stop")
forbid (principal, action == Action::"Ask", resource) when { context.query.yearsBack > 2 };
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small house bundle of one rule."""
    shutil.copytree(TEMPLATE, tmp_path / "house")
    (tmp_path / "house/policies/10-query.cedar").write_text(RULE)
    return tmp_path / "house"


def question(**changes: object) -> HouseQuestion:
    made = HouseQuestion(
        agency="yours",
        providers=(AskedOf(agency="lapd", kind="local"), AskedOf(agency="vendor", kind="commercial")),
        reason="CRIMINAL_INVESTIGATION",
        period_start=NOW - timedelta(days=30),
        period_end=NOW,
        plate_state="CA",
        plate_country="US",
        now=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def listing(**changes: object) -> HouseListing:
    made = HouseListing(
        agency="yours",
        providers=(AskedOf(agency="vendor", kind="commercial"),),
        reason="CRIMINAL_INVESTIGATION",
        plate_state="CA",
        plate_country="US",
        act="ENTER",
        valid_from=NOW,
        valid_until=NOW + timedelta(days=365),
        expires_at=NOW + timedelta(days=365),
        reviewed_at=NOW,
        now=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_every_case_of_the_shipped_house_rules_holds_and_every_rule_has_one(folder: Path) -> None:
    """GUI A to K as ICE's bundle has them (Q3, Q4, Q5, Q9, Q10, H1, H2, H3, H8, H9), CBP's nexus (Q7)."""
    bundle = HouseBundle.load(folder)
    rules = HouseRules(bundle, {})
    results = [run_house(rules, case) for case in load_house_cases(folder)]
    assert [(result.case.name, result.differences) for result in results if result.differences] == []
    assert uncovered(bundle.policies, results) == ()
    assert list(unmet(bundle)) == []


@pytest.mark.parametrize("agency", ["ice", "cbp"])
def test_readme_of_shipped_house_rules_names_every_rule(agency: str) -> None:
    """From the document's paragraph to the line; and back: each rule's document stands in the page."""
    text = (shipped(agency) / "README.md").read_text()
    for policy in HouseBundle.load(shipped(agency)).policies:
        assert f"`{policy.policy_id}`" in text
        assert policy.rule.rules and policy.rule.document


@pytest.mark.parametrize("paragraph", [*(f"GUI K.{n}" for n in range(1, 5)), "GUI E", "PIA 'Alert lists'"])
def test_every_paragraph_on_hot_lists_has_a_rule(paragraph: str) -> None:
    """GUI K and E, and what the vendor's service does by contract (H1, H2, H3, H8, H9, Q9)."""
    cited = [one for one in HouseBundle.load(shipped("ice")).policies if paragraph in one.rule.document]
    assert any('"List"' in one.json_text for one in cited)


def test_hot_lists_are_judged_by_facts_alone(house: Path) -> None:
    """A rule about hot lists says nothing of questions, and the other way round (K.1)."""
    rule = RULE.replace('"Ask"', '"List"').replace("query.yearsBack > 2", "listing.batch > 1")
    (house / "policies/10-query.cedar").write_text(rule)
    rules = HouseRules(HouseBundle.load(house), {})
    assert [bool(rules.judge(listing(batch=count))[0].stops) for count in (1, 2)] == [False, True]
    assert not rules.judge(question(period_start=NOW - timedelta(days=4_000)))[0].stops


def test_rules_made_before_there_were_hot_lists_stop_every_one(house: Path) -> None:
    """Fail closed: a schema that doesn't know them is taken into force for questions, and gives no leave."""
    path = house / "schema.cedarschema"
    text = path.read_text()
    before, after = text.index("// A plate that is put"), text.index("action Ask")
    path.write_text(text[:before] + text[after:].replace(text[text.index("action List") :], ""))
    rules = HouseRules(HouseBundle.load(house), {})
    assert not rules.judges_lists and not rules.judge(question())[0].stops
    assert rules.judge(listing())[0].stops == (FAILED,)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("HSI-26/00417", True),
        ("4711", True),
        ("J. Doe", False),
        ("doe", False),
        ("J Doe 3", False),
        ("", False),
    ],
)
def test_tracking_number_is_told_from_a_name(text: str, is_one: bool) -> None:
    """K.2 (H2): what is no number would carry a person's name in its place; the form is ours."""
    assert is_tracking_number(text) is is_one


def test_schemas_of_house_bundles_are_alike() -> None:
    """One schema: what a gateway asks of one house bundle it asks of each."""
    assert len({(folder / "schema.cedarschema").read_bytes() for folder in SHIPPED}) == 1


def _without(part: str) -> Callable[[str], str]:
    return lambda text: text.replace(part, "")


FAULTS: dict[str, tuple[Callable[[str], str], str]] = {
    "no enforcement": (_without('@enforce("stop")'), "`@enforce` is required"),
    "an enforcement that is none": (lambda text: text.replace('"stop"', '"note"'), "neither `stop` nor"),
    "no document": (_without('@document("ours")'), "`@document` is required"),
    "a limit of a provider's permit": (
        lambda text: text.replace("@enforce", '@max_reads("5") @enforce'),
        "`@max_reads` is not known on a house rule",
    ),
    "a permit": (lambda text: text.replace("forbid (", "permit ("), "is a permit: a house rule only stops"),
    "an attribute that no question has": (_without("Back"), "years"),
    "an action of a provider": (lambda text: text.replace('"Ask"', '"Search"'), "Search"),
    "two of one id": (lambda text: text + text, "is taken by policies/10-query.cedar:2"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_house_bundle_with_a_fault_is_refused_with_file_and_line(house: Path, fault: str) -> None:
    """A house bundle that isn't right is never taken into force: file, line, what would have been right."""
    spoil, told = FAULTS[fault]
    path = house / "policies/10-query.cedar"
    path.write_text(spoil(RULE))
    with pytest.raises(BundleInvalid, match=told) as found:
        HouseBundle.load(house)
    assert found.value.path == path and found.value.line in (2, 5)


def test_house_bundle_without_a_rule_is_refused(house: Path) -> None:
    """An empty collection of checks shows nothing: whoever has no house rules names no bundle."""
    (house / "policies/10-query.cedar").write_text("// nothing yet\n")
    with pytest.raises(BundleInvalid, match="holds no rule"):
        HouseBundle.load(house)


def test_house_bundle_with_another_schema_is_refused(house: Path) -> None:
    """A schema that doesn't describe what a gateway asks would make every judgement an error."""
    path = house / "schema.cedarschema"
    path.write_text(path.read_text().replace("readings: Long,", "reading: Long,"))
    with pytest.raises(BundleInvalid, match="does not describe the questions"):
        HouseBundle.load(house)


def test_providers_bundle_is_no_house_bundle_and_a_house_bundle_no_providers() -> None:
    """The two laws never take each other's place."""
    provider = Path(bundles.__file__).parent.parent / "bundles" / "vendor"
    assert not is_house(provider) and is_house(shipped("ice"))
    with pytest.raises(BundleInvalid, match="is no house bundle"):
        HouseBundle.load(provider)
    checked = CliRunner().invoke(group, ["check", str(shipped("ice"))])
    assert checked.exit_code == 0 and "house rules, for its own people" in checked.output


def test_rule_that_fails_stops_whatever_it_enforces(house: Path) -> None:
    """Fail closed: a rule that can't be evaluated stops the question, also one that would only warn."""
    (house / "policies/10-query.cedar").write_text(
        RULE.replace('"stop"', '"warn"').replace("yearsBack > 2", "periodDays * 9223372036854775807 > 2")
    )
    judged = HouseRules(HouseBundle.load(house), {}).judge(question())
    assert [one.stops for one in judged] == [(FAILED,), (FAILED,)]
    assert judged[0].errors == ("x.one",)


def test_facts_that_the_schema_does_not_know_stop(house: Path) -> None:
    """Fail closed: a reason that this bundle's schema doesn't list can't be judged, so nothing is asked."""
    path = house / "schema.cedarschema"
    path.write_text(path.read_text().replace('  "NARCOTICS",\n', ""))
    judged = HouseRules(HouseBundle.load(house), {}).judge(question(reason="NARCOTICS"))
    assert [one.stops for one in judged] == [(FAILED,), (FAILED,)]


def test_configuration_sets_one_rule_the_other_way_round(house: Path) -> None:
    """`stop` becomes `warn` by one line; a rule that isn't there is an error, with the nearest that is."""
    bundle = HouseBundle.load(house)
    long = question(period_start=NOW - timedelta(days=1_200))
    stopped, warned = (
        HouseRules(bundle, enforce).judge(long)[0] for enforce in ({}, {"x.one": Enforcement.WARN})
    )
    assert stopped.stops and not stopped.warnings and warned.warnings and not warned.stops
    with pytest.raises(EnforcementUnknown, match=r"did you mean `x\.one`"):
        HouseRules(bundle, {"x.on": Enforcement.WARN})


def test_each_provider_is_judged_by_itself(house: Path) -> None:
    """A rule that looks at the provider stops that one alone."""
    (house / "policies/10-query.cedar").write_text(
        RULE.replace("context.query.yearsBack > 2", 'resource == Provider::"vendor"')
    )
    judged = HouseRules(HouseBundle.load(house), {}).judge(question())
    assert {one.provider: bool(one.stops) for one in judged} == {"lapd": False, "vendor": True}


def test_rule_names_a_group_of_providers(house: Path) -> None:
    """Groups stand in entities.json; a provider in none is in none."""
    group_of = {"type": "ProviderGroup", "id": "far"}
    (house / "entities.json").write_text(
        '[{"uid": {"type": "ProviderGroup", "id": "far"}, "attrs": {}, "parents": []}, '
        '{"uid": {"type": "Provider", "id": "lapd"}, "attrs": {}, "parents": '
        f'[{{"type": "{group_of["type"]}", "id": "{group_of["id"]}"}}]}}]'
    )
    (house / "policies/10-query.cedar").write_text(
        RULE.replace("context.query.yearsBack > 2", 'resource in ProviderGroup::"far"')
    )
    judged = HouseRules(HouseBundle.load(house), {}).judge(question())
    assert {one.provider: bool(one.stops) for one in judged} == {"lapd": True, "vendor": False}


@settings(max_examples=20)
@given(
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2026, 3, 2)),
    st.datetimes(min_value=datetime(2026, 3, 3), max_value=datetime(2032, 3, 1)),
)
def test_years_back_are_those_of_the_calendar(start: datetime, now: datetime) -> None:
    """The least number of years whose window holds the start, by the provider's own calendar (Q5)."""
    start, now = start.replace(tzinfo=UTC), now.replace(tzinfo=UTC)
    windows = Windows(zone=ZoneInfo("America/New_York"))
    years = years_back(start, now, windows)
    assert windows.years_before(now, years) <= start
    assert years == 0 or windows.years_before(now, years - 1) > start


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("J. Ortega", True),
        ("d.hart", True),
        ("Deportation Officer Hart", True),
        ("José Ñuñez", True),
        ("", False),
        ("my supervisor", False),
        ("agent 4711", False),
        ("n/a", False),
        ("another officer", False),
        ("--", False),
    ],
)
def test_name_is_told_from_what_names_nobody(text: str, named: bool) -> None:
    """Whoever asks for another person enters a name (Q3); who it is, an auditor finds in the log."""
    assert names_a_person(text) is named


def test_explained_stop_says_what_would_let_it_be_asked() -> None:
    """What is said really would: the question, so changed, is asked."""
    rules = HouseRules(HouseBundle.load(shipped("ice")), {})
    cases = {rules.judge(case.act): case for case in load_house_cases(shipped("ice"))}
    for case in list(cases.values())[::3]:
        explained = explain_house(rules, case.act)
        assert bool(explained.otherwise) == bool(explained.judgement.stops), case.name
        for changes in explained.otherwise:
            changed = case.act
            for change in changes:
                changed = change.make(changed)
            assert not rules.judge(changed)[0].stops, (case.name, [change.words for change in changes])


def test_rule_that_can_never_apply_is_found(house: Path) -> None:
    """A rule that no question meets is told, with its line: it doesn't say what its author meant."""
    (house / "policies/10-query.cedar").write_text(
        RULE.replace("yearsBack > 2", "yearsBack > 5 && context.query.yearsBack < 3")
    )
    checked = CliRunner().invoke(group, ["check", str(house)])
    assert checked.exit_code == 1 and "10-query.cedar:2: `x.one` can never apply" in checked.output


def test_word_that_no_case_knows_is_an_error(house: Path) -> None:
    """A misspelt word in a case or a sketch would test something else."""
    with pytest.raises(CaseInvalid, match="did you mean `border_nexus`"):
        sketched_house({"border_nexsus": "x"}, (), "here")
    with pytest.raises(CaseInvalid, match="`agency` is missing"):
        sketched_house({}, (), "here")
    (house / "tests/cases.toml").unlink()
    with pytest.raises(CaseInvalid, match="no case"):
        load_house_cases(house)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ('stops = ["a", 1]', "stops: expected `1, a`, judged ``"),
        ("[case.listing]\nvalid_until = 0001-01-01T00:00:00+23:00", "`valid_until` is not an instant"),
        (f"[case.listing]\nbatch = {'[' * 3_000}{']' * 3_000}", "cannot be read"),
    ],
    ids=["a list of mixed values", "an instant before all others", "a list too deep to read"],
)
def test_case_that_can_not_be_meant_is_told_in_words(house: Path, words: str, said: str) -> None:
    """A command on somebody's bundle ends with a line, and no traceback."""
    (house / "tests/cases.toml").write_text(
        'defaults = { agency = "x", provider = "y", kind = "local", reason = "NARCOTICS", '
        "now = 2026-03-02T12:00:00Z, start = 2026-03-01T12:00:00Z, end = 2026-03-02T12:00:00Z }\n"
        f'[[case]]\nname = "one"\n[case.expect]\neffect = "ask"\n{words}\n'
    )
    tested = CliRunner().invoke(group, ["test", str(house)])
    assert tested.exit_code == 1 and said in tested.output, tested.output


def test_policy_commands_work_on_house_rules(tmp_path: Path) -> None:
    """`start`, `check`, `test` and `explain` take a house bundle as they take a provider's."""
    run, folder = CliRunner(), tmp_path / "house"
    assert run.invoke(group, ["start", str(folder), "--from", "house", "--agency", "harbor"]).exit_code == 0
    assert HouseBundle.load(folder).policies[0].policy_id == "harbor.two-years"
    assert run.invoke(group, ["check", "--json", str(folder)]).exit_code == 0
    assert run.invoke(group, ["test", "--covered", str(folder)]).exit_code == 0
    told = run.invoke(group, ["explain", str(folder), "--case", "a clerk does not ask"])
    assert told.exit_code == 0 and "stops: policies/10-query.cedar" in told.output
    assert "the person had the role investigator" in told.output
    partner = ["start", str(tmp_path / "b"), "--from", "house", "--agency", "harbor", "--partner", "lapd"]
    assert run.invoke(group, partner).exit_code == 2
