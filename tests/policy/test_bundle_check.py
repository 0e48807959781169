"""What must not be activated: each fault is named with its file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from comity.policy.bundle import PolicyBundle, statements
from comity.policy.errors import BundleInvalid
from tests.policy.conftest import SEARCH_PERMIT, VIEW_PERMIT, WriteBundle


def refused(folder: Path) -> BundleInvalid:
    with pytest.raises(BundleInvalid) as caught:
        PolicyBundle.load(folder)
    return caught.value


def test_policy_that_breaks_the_schema_names_file_and_line(write_bundle: WriteBundle) -> None:
    """A misspelt reason is found before it is in force, where it stands."""
    wrong = SEARCH_PERMIT.replace("t.search", "t.wrong").replace(
        "resource);", 'resource)\nwhen { context.query.reason == Reason::"CIVIL_IMIGRATION" };'
    )
    error = refused(write_bundle(SEARCH_PERMIT, f"// a comment\n\n{wrong}"))
    assert error.path.name == "01.cedar"
    assert error.line == 4
    assert "CIVIL_IMIGRATION" in error.detail


def test_reading_an_optional_fact_unguarded_is_refused(write_bundle: WriteBundle) -> None:
    """Strict validation: training may be absent, so a policy must ask for it first."""
    wrong = SEARCH_PERMIT.replace("resource);", "resource) when { principal.trainedDaysAgo < 365 };")
    assert "trainedDaysAgo" in refused(write_bundle(wrong)).detail


def test_text_that_is_no_policy_names_file_and_line(write_bundle: WriteBundle) -> None:
    """A syntax error is found at the policy in which it stands."""
    error = refused(write_bundle(f"{SEARCH_PERMIT}\npermit (principal action);\n"))
    assert (error.path.name, error.line) == ("00.cedar", 10)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('@retain_days("30")\n', "@retain_days"),
        ('@max_window("none")\n', "@max_window"),
        ('@id("t.search")\n', "@id"),
        ('@rule("A1")\n', "@rule"),
        ('@document("ours")\n', "@document"),
        ('@text("everybody may search")\n', "@text"),
    ],
)
def test_permit_without_a_required_annotation_is_refused(
    write_bundle: WriteBundle, line: str, word: str
) -> None:
    """A permit of Search names its source and sets retention and window, or is not activated."""
    error = refused(write_bundle(SEARCH_PERMIT.replace(line, "")))
    assert (error.path.name, error.line) == ("00.cedar", 2)
    assert word in error.detail


@pytest.mark.parametrize("scope", ["action", 'action in [Action::"Search", Action::"ViewImages"]'])
def test_permit_that_includes_search_needs_limits_too(write_bundle: WriteBundle, scope: str) -> None:
    """A permit of everything is a permit of Search, so it needs the same limits."""
    error = refused(write_bundle(VIEW_PERMIT.replace('action in Action::"View"', scope)))
    assert "sets no retention" in error.detail


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        ('@retain_day("30")', "did you mean `@retain_days`"),
        ('@obligation("blur_faces")', "`blur_faces` is not implemented"),
        ('@obligation("coarsen_location")', "needs `@grid` with one of wgs84-0.001"),
        ('@obligation("coarsen_location")\n@grid("wgs84-0.02")', "needs `@grid` with one of wgs84-0.001"),
        ('@grid("wgs84-1")', "no effect without the obligation `coarsen_location`"),
        ('@say("yes")', "`yes` is not `no`"),
        ('@say("no")', "no effect on a permit that withholds nothing"),
        ('@obligation("coarsen_location")\n@grid("wgs84-1")\n@say("no")', "always says its grid"),
        ('@max_reads("0")', "is not a number from 1"),
        ('@max_window_years("five")', "is not a number from 1"),
        ('@max_window_days("99999999999999999999")', "is not a number from 1"),
        ("@refer", "no effect on a permit"),
    ],
)
def test_annotation_that_nobody_would_meet_is_refused(
    write_bundle: WriteBundle, annotation: str, says: str
) -> None:
    """Unknown and unimplemented annotations fail the check, so that none is silently ignored."""
    assert says in refused(write_bundle(f"{annotation}\n{SEARCH_PERMIT.lstrip()}")).detail


@pytest.mark.parametrize(
    "line", ['@obligation("withhold_place")', '@obligation("coarsen_location")\n@grid("wgs84-1")']
)
def test_place_that_is_protected_on_a_view_alone_is_refused(write_bundle: WriteBundle, line: str) -> None:
    """On a permit of one element it would fall away with whoever asks for another (A6)."""
    error = refused(write_bundle(SEARCH_PERMIT, f"{line}\n{VIEW_PERMIT.lstrip()}"))
    assert error.path.name == "01.cedar"
    assert "has to stand on a permit of `Search`" in error.detail


def test_limit_on_a_forbid_is_refused(write_bundle: WriteBundle) -> None:
    """A limit on a forbid would look like law and do nothing."""
    wrong = SEARCH_PERMIT.replace("permit (", "forbid (")
    assert "has no effect on a forbid" in refused(write_bundle(wrong)).detail


def test_two_policies_with_one_id_are_refused(write_bundle: WriteBundle) -> None:
    """A decision names policies by id, so an id names one."""
    error = refused(write_bundle(SEARCH_PERMIT, SEARCH_PERMIT))
    assert error.path.name == "01.cedar"
    assert "is taken by policies/00.cedar:2" in error.detail


def test_template_is_refused(write_bundle: WriteBundle) -> None:
    """A template authorizes nothing by itself, so it would be law that never speaks."""
    wrong = SEARCH_PERMIT.replace("permit (principal,", "permit (principal == ?principal,")
    assert "template" in refused(write_bundle(wrong)).detail


def test_stray_file_among_the_policies_is_refused(write_bundle: WriteBundle) -> None:
    """An editor's copy beside the law is neither read nor silently ignored."""
    folder = write_bundle(SEARCH_PERMIT)
    (folder / "policies" / "00.cedar.bak").write_text("")
    assert refused(folder).path.name == "00.cedar.bak"


def test_missing_parts_are_named(write_bundle: WriteBundle) -> None:
    """A bundle without schema is no bundle."""
    folder = write_bundle(SEARCH_PERMIT)
    (folder / "schema.cedarschema").unlink()
    assert refused(folder).path.name == "schema.cedarschema"


def test_unknown_key_of_the_manifest_is_refused_with_the_nearest(write_bundle: WriteBundle) -> None:
    """A misspelt key does not pass unseen."""
    folder = write_bundle(SEARCH_PERMIT)
    (folder / "bundle.toml").write_text('agncy = "lapd"\nversion = "1"\n')
    assert "did you mean `agency`" in refused(folder).detail


def test_bundle_cannot_plant_the_facts_of_a_question(write_bundle: WriteBundle) -> None:
    """Subject, query and stores are Comity's to make; a bundle lists agencies and groups only."""
    folder = write_bundle(SEARCH_PERMIT)
    planted = [{"uid": {"type": "Subject", "id": "subject"}, "attrs": {}, "parents": []}]
    (folder / "entities.json").write_text(json.dumps(planted))
    assert "`Agency` and `AgencyGroup` only" in refused(folder).detail


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  goodStanding: Bool,", ""),
        ("  goodStanding: Bool,", "  goodStanding: Bool, clearance: Long,"),
        ("ViewVehicle, ", ""),
        ("context: Question };\naction ViewExact", "context: {} };\naction ViewExact"),
    ],
)
def test_schema_that_describes_other_questions_is_refused(
    write_bundle: WriteBundle, old: str, new: str
) -> None:
    """A bundle whose schema is not what Comity asks would refuse everything; it is told so at load."""
    folder = write_bundle()
    schema = folder / "schema.cedarschema"
    text = schema.read_text()
    assert old in text
    schema.write_text(text.replace(old, new))
    assert "does not describe the questions" in refused(folder).detail


def test_agency_may_name_store_classes_of_its_own(write_bundle: WriteBundle) -> None:
    """The list of store classes is the one part of the schema that an agency extends."""
    folder = write_bundle(
        SEARCH_PERMIT.replace("resource);", 'resource) when { resource.class == StoreClass::"drone" };')
    )
    schema = folder / "schema.cedarschema"
    schema.write_text(schema.read_text().replace('"commercial"\n];', '"commercial",\n  "drone"\n];'))
    assert PolicyBundle.load(folder).policies[0].policy_id == "t.search"


def test_semicolons_in_strings_and_comments_do_not_end_a_policy() -> None:
    """Lines are counted by Cedar's own grammar, or an error would name the wrong place."""
    text = '// a; b\n@text("c; \\" d;\n")\npermit (x); // e;\n\nforbid (y);\npermit (z)'
    assert [line for line, _ in statements(text)] == [2, 6, 7]
