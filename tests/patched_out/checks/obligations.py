"""What makes obligations take away, windows count strictly, and a hidden refusal stay hidden."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    BUNDLE,
    EXCHANGE,
    GRIDS,
    HIDING,
    OBLIGATIONS,
    OBLIGED,
    RENDERED,
    WINDOWS,
)
from tests.patched_out.patching import Instead, Without

DECISION = "comity.policy.decision:PolicyEngine"
LIMITS = "comity.policy.limits"
MEETING = "comity.policy.obligations"
RULING = "comity.adapters.ruling"
COUNTING = "comity.policy.windows"

CHECKS = (
    check(
        "windows: years are counted on the zone's clocks",
        Instead(f"{COUNTING}:years_before", "now.astimezone(zone)", "now"),
        WINDOWS(
            "test_years_are_counted_by_the_calendar_of_the_zone[leap day there]",
            "test_years_are_counted_by_the_calendar_of_the_zone[clocks forward]",
        ),
    ),
    check(
        "windows: a time that could be two instants is the later",
        Instead(f"{COUNTING}:years_before", "max", "min"),
        WINDOWS(
            "test_years_are_counted_by_the_calendar_of_the_zone[never shown]",
            "test_years_are_counted_by_the_calendar_of_the_zone[shown twice]",
        ),
    ),
    check(
        "windows: an offence that the table lacks counts five years at most",
        Instead(
            f"{COUNTING}:Windows.limitation",
            "min(stated_years or DEFAULT_LIMITATION_YEARS, DEFAULT_LIMITATION_YEARS)",
            "stated_years or DEFAULT_LIMITATION_YEARS",
        ),
        WINDOWS("test_statute_of_an_offence_and_jurisdiction[piracy-US-30-5-holds no `piracy` of US]"),
    ),
    check(
        "windows: of the table's and the stated years the fewer count",
        Without(f"{COUNTING}:Windows.limitation", "if stated_years and"),
        WINDOWS("test_statute_of_an_offence_and_jurisdiction[arson-US-3-3-the stated statute]"),
    ),
    check(
        "windows: the file is part of the bundle",
        Without("comity.policy.bundle:read_files", "if (folder / WINDOWS).exists():"),
        WINDOWS(
            "test_windows_are_part_of_the_digest",
            "test_decision_looks_the_offence_up_and_says_so",
        ),
    ),
    check(
        "windows: a key that nobody knows is refused",
        Instead(f"{COUNTING}:_Lines.known", "key not in keys", "False"),
        WINDOWS("test_fault_in_the_file_is_named_with_its_line[zone =-zonee =-2-did you mean `zone`]"),
    ),
    check(
        "retention: a period of which nothing is kept is refused",
        Without(f"{DECISION}._permit", "if kept is not None and kept.earliest >= request.period_end:"),
        WINDOWS("test_period_before_all_that_is_kept_is_refused_with_the_rule"),
    ),
    check(
        "retention: each store is searched no further back than it keeps",
        Instead("comity.adapters.searching:_query_for", "replace(query, start=store.start)", "query"),
        OBLIGED("test_store_that_gives_more_than_it_keeps_is_cut"),
    ),
    check(
        "grid: a location on a grid has no address",
        Instead(
            "comity.policy.grids:coarse",
            "result_pb2.Location(latitude=grid.centre(place.latitude, most=90), "
            "longitude=grid.centre(place.longitude, most=180), grid_metres=grid.metres, grid=grid.name)",
            "result_pb2.Location(latitude=grid.centre(place.latitude, most=90), address=place.address, "
            "longitude=grid.centre(place.longitude, most=180), grid_metres=grid.metres, grid=grid.name)",
        ),
        GRIDS(
            "test_place_becomes_the_middle_of_its_cell[33.7361--118.2923-wgs84-0.01-expected0]",
        ),
        OBLIGED("test_coarser_location_says_its_grid_and_takes_along_what_would_tell_more"),
    ),
    check(
        "grid: the camera goes with the place",
        Instead(f"{DECISION}._permit", "hidden | ELEMENTS - request.elements", "frozenset()"),
        OBLIGED("test_who_wants_the_camera_alone_does_not_get_around_the_grid"),
    ),
    check(
        "grid: no area feels for a place within a cell",
        Instead(f"{DECISION}._permit", "'LOCATION' in hidden or grid", "'LOCATION' in hidden"),
        OBLIGED("test_area_cannot_locate_more_finely_than_the_grid"),
    ),
    check(
        "grid: of two the coarser holds",
        Instead(
            "comity.policy.grids:coarsest",
            "min((name for name in names if name), key=lambda name: GRIDS[name].cells, default='')",
            "max((name for name in names if name), key=lambda name: GRIDS[name].cells, default='')",
        ),
        GRIDS("test_two_grids_tell_no_more_than_the_finer"),
    ),
    check(
        "grid: degrees are read as decimals",
        Instead("comity.policy.grids:Grid.centre", "Decimal(repr(degrees))", "Decimal(degrees)"),
        GRIDS("test_place_becomes_the_middle_of_its_cell[0.29--0.29-wgs84-0.01-expected5]"),
    ),
    check(
        "grid: the obligation names its grid",
        Without(f"{LIMITS}:_check_grid", "if COARSEN in obligations and"),
        BUNDLE(
            "test_annotation_that_nobody_would_meet_is_refused"
            '[@obligation("coarsen_location")-needs `@grid` with one of wgs84-0.001]'
        ),
    ),
    check(
        "place: what protects it stands on a permit of Search",
        Instead("comity.policy.bundle:_policy", "OF_PLACE.intersection(terms.obligations)", "frozenset()"),
        BUNDLE('test_place_that_is_protected_on_a_view_alone_is_refused[@obligation("withhold_place")]'),
    ),
    check(
        "place: images that show more than the plate stay",
        Without(f"{MEETING}:withhold", "kept.images.extend(plates)"),
        OBLIGATIONS("test_images_of_the_plate_alone_tell_no_place"),
    ),
    check(
        "place: without coordinates it is withheld",
        Without(f"{MEETING}:_coarsen", "read.ClearField"),
        OBLIGATIONS("test_place_without_coordinates_cannot_be_made_coarser"),
    ),
    check(
        "unsaid: what may not be said is not called withheld",
        Instead(f"{MEETING}:withhold", "hidden - unwanted - frozenset(unsaid)", "hidden - unwanted"),
        OBLIGED(
            "test_what_is_withheld_is_not_said_where_the_policy_does_not_permit_it",
            "test_place_that_is_withheld_unsaid_leaves_no_trace",
        ),
    ),
    check(
        "unsaid: the detail does not name it either",
        Instead("comity.adapters.content:Composer._result", "ruling.told", "ruling.applied"),
        OBLIGED(
            "test_what_is_withheld_is_not_said_where_the_policy_does_not_permit_it",
            "test_place_that_is_withheld_unsaid_leaves_no_trace",
        ),
    ),
    check(
        "hiding: another objection is told without the hidden one",
        Instead(
            f"{DECISION}.__init__",
            "[policy for policy in bundle.policies if not policy.terms.hides]",
            "[policy for policy in bundle.policies if policy.permits]",
        ),
        HIDING(
            "test_other_objection_is_told_without_the_hidden_one",
            "test_shown_is_what_a_bundle_without_the_policy_decides",
        ),
    ),
    check(
        "hiding: a fault is not hidden",
        Instead(f"{DECISION}.decide", "decision.errors", "False"),
        HIDING("test_policy_that_fails_is_not_hidden"),
    ),
    check(
        "hiding: an area is no way to a place of which nothing is said",
        Instead(f"{DECISION}._permit", "showing and 'LOCATION' in unsaid and (not grid)", "False"),
        HIDING("test_area_does_not_tell_of_a_place_of_which_nothing_is_said"),
    ),
    check(
        "hiding: a refused store gives nothing",
        (Instead(f"{RULING}:_stricter", "replace(shown, decoy=True)", "shown"),),
        OBLIGED(
            "test_hidden_refusal_is_an_answer_without_hits_in_every_byte",
            "test_store_that_answers_a_decoy_gives_nothing",
            "test_hidden_store_beside_another_is_not_missed",
        ),
    ),
    check(
        "hiding: a refused store is asked for no plate of anybody's",
        Without("comity.adapters.searching:_query_for", "if store.decoy:"),
        OBLIGED("test_hidden_refusal_takes_a_search_and_looks_at_no_read"),
    ),
    check(
        "hiding: what a decoy gives is dropped",
        Instead(
            "comity.adapters.searching:_merged",
            "[each for each in every if not each[0].decoy]",
            "list(every)",
        ),
        OBLIGED("test_store_that_answers_a_decoy_gives_nothing"),
    ),
    check(
        "hiding: the own log tells the refusal",
        Instead("comity.adapters.records:told_of", "ruling.effect.value", "'permit'"),
        OBLIGED("test_own_log_tells_the_refusal_and_nobody_elses_words_do"),
    ),
    check(
        "hiding: beside what would show it, it is refused",
        Without(f"{LIMITS}:read_terms", "if 'shown_as' in annotations and other in annotations:"),
        HIDING("test_hiding_that_would_not_hide_is_refused[refer]"),
    ),
    check(
        "marking: data for federal receivers alone is refused to others before a search",
        Without("comity.policy.decision:_agreement_fault", "if not agreement.receives:"),
        OBLIGED("test_data_for_federal_receivers_alone_is_refused_to_a_local_one"),
    ),
    check(
        "marking: reads that the receiver may not have are not composed",
        Without("comity.adapters.content:Composer._marking", "if not markings.may_receive"),
        OBLIGED("test_data_that_its_marking_keeps_from_the_receiver_does_not_leave"),
    ),
    check(
        "marking: no page is marked looser than its reads",
        Without(
            "comity.gateway.verification:_check_strictness", '_check(holds, "page: its marking is looser'
        ),
        EXCHANGE(
            "test_lying_provider_is_unverifiable_and_nothing_of_it_is_shown"
            "[read marked with a caveat that its page lacks (A5)]",
            "test_lying_provider_is_unverifiable_and_nothing_of_it_is_shown"
            "[page that may be kept longer than a read of it (A4)]",
        ),
    ),
    check(
        "marking: no detail is marked looser than a page",
        Without(
            "comity.gateway.verification:_check_strictness", '_check(holds, "detail: its marking is looser'
        ),
        EXCHANGE(
            "test_lying_provider_is_unverifiable_and_nothing_of_it_is_shown"
            "[detail marked looser than its page (A5)]",
        ),
    ),
    check(
        "rendering: no read is shown without the answer's marking",
        Without("comity.cli.rendering:reads_of", "if answer.summary is None"),
        RENDERED("test_reads_without_the_answers_marking_are_shown_nowhere"),
    ),
    check(
        "rendering: the table shows the caveats",
        Without("comity.cli.rendering:show", "for line in summary.caveats:"),
        RENDERED("test_table_stands_between_banners_with_every_caveat[110]"),
    ),
    check(
        "rendering: JSON holds the caveats",
        Instead(
            "comity.cli.rendering:to_json",
            "[clean(line) for line in summary.caveats] if summary else []",
            "[]",
        ),
        RENDERED("test_json_holds_banner_caveats_and_each_reads_marking"),
    ),
    check(
        "rendering: a file holds the caveats",
        Instead(
            "comity.cli.answer_files:answer_document",
            "tuple((clean(line) for line in summary.caveats)) if summary else ()",
            "()",
        ),
        RENDERED(
            "test_pdf_has_the_banner_twice_on_every_page_and_the_caveats",
            "test_workbook_has_the_banner_on_every_sheet_and_the_caveats",
        ),
    ),
)
