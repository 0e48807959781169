"""Several likely readings of one plate: off by default, bounded, never for ICE (Q10, ours)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.cli.query import command
from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.cedar import STORE_CLASSES
from comity.policy.decision import Effect, PolicyEngine
from comity.policy.errors import BundleInvalid
from comity.policy.facts import ELEMENTS, REASONS, AgreementFacts, DecisionRequest, StoreFacts
from comity.policy.readings import MOST, TooManyReadings, own_confusions, readings_of
from comity.policy.starting import TEMPLATES, start
from comity.policy.variations import favourable
from tests.policy.conftest import SEARCH_PERMIT, VIEW_PERMIT, WriteBundle

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
STORE = (StoreFacts(store_id="fixed", store_class="fixed"),)
PLATES = st.text("0ODQ1IL8B5S2Z6G7AX", min_size=1, max_size=8)
SEVERAL = SEARCH_PERMIT.replace("permit (", '@readings("16")\npermit (')

Asking = Callable[..., DecisionRequest]


@given(PLATES, st.sampled_from([None, 1, 2, 9]))
def test_readings_hold_the_plate_are_bounded_and_each_is_one(plate: str, changed: int | None) -> None:
    """The plate comes first, each reading once, no more than the bound, none but the table's."""
    table = own_confusions()
    try:
        found = readings_of(plate, confusions=table, most_changed=changed)
    except TooManyReadings as error:
        assert error.number > MOST
        return
    assert found[0] == plate and len(set(found)) == len(found) <= MOST
    distances = [table.changes(plate, reading) for reading in found]
    assert distances == sorted(distances)  # type: ignore[type-var]
    assert max(distances) <= min(changed or 2, 2)  # type: ignore[type-var]


@given(PLATES, PLATES)
def test_being_a_reading_is_mutual_and_what_is_listed(one: str, other: str) -> None:
    """If a reader takes one for the other, it takes the other for the one; and the list is complete."""
    table = own_confusions()
    assert table.is_reading(one, other) == table.is_reading(other, one)
    with contextlib.suppress(TooManyReadings):
        assert (other in readings_of(one, confusions=table)) == table.is_reading(one, other)


def test_table_is_not_carried_on_from_one_pair_to_the_next() -> None:
    """`2` may be `Z` or `7`, and `Z` is no `7` for that."""
    table = own_confusions()
    assert table.is_reading("2", "Z") and table.is_reading("2", "7") and not table.is_reading("Z", "7")
    assert [table.is_reading("8ABC123", other) for other in ("8A8C123", "BA8CI23", "8ABC12", "8?BC123")] == [
        True,
        False,
        False,
        False,
    ]


def test_too_many_readings_are_refused_and_never_cut() -> None:
    """Who isn't shown all of them would believe that all were searched."""
    with pytest.raises(TooManyReadings, match="211 likely readings, more than the 64"):
        readings_of("0000000", confusions=own_confusions())


def test_several_readings_need_a_permit_that_says_so(write_bundle: WriteBundle, asking: Asking) -> None:
    """Off by default: refused under Q10, as a whole; as many as the permit says, and not one more."""
    folder = write_bundle(SEARCH_PERMIT, VIEW_PERMIT, name="plain")
    plain = PolicyEngine(PolicyBundle.load(folder)).decide(asking(readings=2), STORE)
    assert plain.effect is Effect.REFUSE
    assert [(rule.policy_id, rule.rules, rule.document) for rule in plain.rules] == [
        ("t.search", ("Q10",), "ours, from GUI I")
    ]
    engine = PolicyEngine(PolicyBundle.load(write_bundle(SEVERAL)))
    assert engine.decide(asking(readings=16), STORE).effect is Effect.PERMIT
    over = engine.decide(asking(readings=17), STORE)
    assert over.effect is Effect.REFUSE
    assert over.public_reason == "at most 16 readings of a plate may be searched at once"


def test_strictest_of_several_permits_wins(write_bundle: WriteBundle, asking: Asking) -> None:
    """A permit that says nothing of readings keeps another one from granting them."""
    folder = write_bundle(SEVERAL, SEARCH_PERMIT.replace("t.search", "t.other"), VIEW_PERMIT)
    decision = PolicyEngine(PolicyBundle.load(folder)).decide(asking(readings=2), STORE)
    assert decision.effect is Effect.REFUSE
    assert [rule.policy_id for rule in decision.rules] == ["t.other"]


@pytest.mark.parametrize("number", ["0", "1", "65", "many", "-2"])
def test_readings_of_a_permit_are_a_number_that_makes_sense(write_bundle: WriteBundle, number: str) -> None:
    """`comity policy check` says which numbers do."""
    with pytest.raises(BundleInvalid, match="is not a number from 2 to 64"):
        PolicyBundle.load(write_bundle(SEVERAL.replace('"16"', f'"{number}"')))


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ('groups = ["0O", "8B"]\nmost_changed = 1', 0, ""),
        ('groups = ["Z7"]', 4, "`7` and `Z` are no pair of Comity's table"),
        ('groups = ["0A"]', 4, "are no pair"),
        ('groups = ["0"]', 4, "is not two capitals or digits"),
        ('groups = "0O"', 4, "is not a list"),
        ("most_changed = 3", 4, "from 1 to 2: a bundle only narrows"),
        ("\nmost = 1", 5, "known are groups, most_changed"),
    ],
)
def test_bundle_narrows_the_table_and_never_widens_it(
    write_bundle: WriteBundle, table: str, line: int, said: str
) -> None:
    """What readers take for each other is Comity's to say; a provider may believe less of it."""
    folder = write_bundle(SEVERAL)
    (folder / "bundle.toml").write_text(f'agency = "lapd"\nversion = "1"\n[readings]\n{table}\n')
    if not said:
        confusions = PolicyBundle.load(folder).manifest.confusions
        assert readings_of("8ABC120", confusions=confusions) == ("8ABC120", "BABC120", "8A8C120", "8ABC12O")
        return
    with pytest.raises(BundleInvalid) as caught:
        PolicyBundle.load(folder)
    assert (caught.value.path.name, caught.value.line) == ("bundle.toml", line)
    assert said in caught.value.detail


@cache
def laws() -> dict[str, PolicyEngine]:
    """Every shipped bundle, and each template with ICE as its partner."""
    bundles = {name: PolicyBundle.load(shipped(name)) for name in ("cbp", "dea", "lahd", "lapd", "vendor")}
    for name in TEMPLATES:
        files = start(name, agency="mine", partners=["ice"])
        law = {key: text.encode() for key, text in files.items() if not key.startswith(("tests/", "README"))}
        bundles[name] = PolicyBundle.parse(law, Path(name))
    return {name: PolicyEngine(bundle) for name, bundle in bundles.items()}


@settings(deadline=None, max_examples=40)
@given(
    office=st.sampled_from(["ERO", "HSI", "", "OPLA"]),
    reason=st.sampled_from(sorted(REASONS)),
    kind=st.sampled_from(["federal", "state", "local"]),
    store=st.sampled_from(STORE_CLASSES),
    readings=st.integers(2, MOST),
)
def test_never_for_ice_by_any_shipped_law(
    office: str, reason: str, kind: str, store: str, readings: int
) -> None:
    """ICE's matches are of that plate only (Q10, GUI I): no shipped policy permits it more."""
    asked = favourable(store, NOW).request
    request = replace(
        asked,
        requester="ice",
        requester_kind=kind,
        subject=replace(asked.subject, office=office),
        reason=reason,
        agreement=AgreementFacts(agreement_id="a", purposes=REASONS, elements=ELEMENTS),
        readings=readings,
    )
    for name, engine in laws().items():
        stores = (StoreFacts(store_id="store", store_class=store),)
        assert engine.decide(request, stores).effect is not Effect.PERMIT, name


def test_candidates_are_shown_before_anything_is_asked(tmp_path: Path) -> None:
    """`--readings` asks nothing: it needs no gateway; and it says how to search what it shows."""
    client = tmp_path / "client.toml"
    client.write_text("")
    words = ["--state", "CA", "--reason", "NARCOTICS", "--case", "1", "--text", "x", "--client", str(client)]
    shown = CliRunner().invoke(command, ["8AB7", "--readings", *words])
    assert shown.exit_code == 0 and "nothing was asked" in shown.output
    assert "--search-readings BAB7,8A87,8AB2,BA87,BAB2,8A82" in shown.output
    told = json.loads(CliRunner().invoke(command, ["8AB7", "--readings", "--json", *words]).output)
    assert told["readings"] == ["BAB7", "8A87", "8AB2", "BA87", "BAB2", "8A82"]
    many = CliRunner().invoke(command, ["0000000", "--readings", *words])
    assert many.exit_code == 2 and "211 likely readings" in many.output and "--changed 1" in many.output
    both = CliRunner().invoke(command, ["8AB7", "--readings", "--search-readings", "BAB7", *words])
    assert both.exit_code == 2 and "first look at the --readings" in both.output
