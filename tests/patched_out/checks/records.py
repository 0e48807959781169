"""What keeps searches, exports and reviews true, marked, logged and in the house (L1, L3, L4, L6, L7)."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import ACTS, QUARTER, SEARCH, STATISTICS
from tests.patched_out.patching import Body, Instead, Without

ACTS_MODULE = "comity.audit.acts"
FILTER = "comity.audit.searching.filtering:Filter"
READER = "comity.audit.searching.records"
SEARCHING = "comity.audit.searching.search"
COMMAND = "comity.cli.audit_search"
FILES = "comity.cli.exporting.files"

CHECKS = (
    check(
        "acts: the process takes them from its own account and from root alone",
        Without(f"{ACTS_MODULE}:_serve_one", "if uid not in"),
        ACTS("test_another_account_is_refused_by_the_process"),
        falls=("Failed",),
    ),
    check(
        "acts: the socket is its owner's alone",
        Without(f"{ACTS_MODULE}:_listen", "os.fchmod"),
        ACTS("test_socket_is_the_owners_alone_and_goes_with_the_process"),
    ),
    check(
        "acts: nobody writes in another account's folder",
        Without(f"{ACTS_MODULE}:_directly", "_check_owner"),
        ACTS("test_folder_of_another_account_is_not_written_directly"),
        falls=("Failed",),
    ),
    check(
        "acts: only an administrator's kinds are taken",
        Without(f"{ACTS_MODULE}:Act.__post_init__", "if self.kind not in ACT_KINDS"),
        ACTS("test_act_of_another_kind_cannot_be_made"),
        falls=("Failed",),
    ),
    check(
        "acts: who acts is the log's to say",
        Without(f"{ACTS_MODULE}:Act.__post_init__", "if ACCOUNT in self.private"),
        ACTS(
            'test_line_that_is_no_act_is_answered_and_not_written[{"kind":"held","public":{},'
            '"private":{"account":"root"},"attachments":{}}\\n]'
        ),
        falls=("KeyError",),
    ),
    check(
        "search: a value opens its commitment or is not shown",
        Instead(f"{READER}:_is_true", "commitment(name, value, salt) == committed", "True"),
        SEARCH(
            "test_value_put_in_the_place_of_the_true_one_is_named_and_never_shown",
            "test_values_of_two_fields_swapped_are_found",
        ),
        STATISTICS("test_false_number_of_reads_is_named_and_not_counted"),
        QUARTER("test_tampered_opening_stops_a_sign_off"),
    ),
    check(
        "search: the entries lead to the checkpoint's root",
        Without("comity.audit.searching.walk:LogWalk.entries", "if running.root()"),
        SEARCH("test_log_that_does_not_lead_to_its_checkpoint_shows_nothing"),
        STATISTICS("test_changed_log_is_not_counted"),
        falls=("AssertionError", "Failed"),
    ),
    check(
        "search: what is closed is neither found nor passed over",
        Instead(f"{FILTER}.judge", "name in record.closed or name in record.false", "False"),
        SEARCH("test_what_is_deleted_is_closed_and_counted_not_guessed"),
    ),
    check(
        "search: an agency gets records of its own users alone",
        Instead(f"{COMMAND}:_agencies", "to or agency", "agency"),
        SEARCH("test_an_agency_gets_records_of_its_own_users_and_of_nobody_elses"),
    ),
    check(
        "search: a gateway's records are for its own agency",
        Without(f"{COMMAND}:_agencies", "if to not in (None, where.agency)"),
        SEARCH(
            "test_what_cannot_be_searched_is_said_in_one_line[gateway-arguments0-this log tells of "
            "sheriff's users alone]"
        ),
    ),
    check(
        "search: a provider's own fields stay in its house",
        Body(f"{SEARCHING}:_outward", "return record"),
        SEARCH("test_a_providers_own_rules_stay_in_its_house"),
    ),
    check(
        "search: a marking comes from the receipt that the log names",
        Without(f"{SEARCHING}:with_ceiling", "if digest(payload).hex() != record.receipt"),
        SEARCH("test_marking_does_not_come_from_a_receipt_that_was_put_in_anothers_place"),
    ),
    check(
        "export: what leaves is entered in the log first",
        Body(f"{FILES}:Leaving.enter", "return None"),
        SEARCH(
            "test_export_is_private_and_entered_in_the_log_before_it_is_there[pdf]",
            "test_what_is_printed_for_scripts_is_an_export_too",
            "test_nothing_leaves_that_the_log_does_not_tell_of[xlsx]",
        ),
        falls=("AssertionError", "ValueError"),
    ),
    check(
        "export: a file is nobody else's to read",
        Instead(f"{FILES}:_create", "0o600", "0o644"),
        SEARCH("test_export_is_private_and_entered_in_the_log_before_it_is_there[xlsx]"),
    ),
    check(
        "export: no file is overwritten",
        Without(f"{FILES}:_reserved", "_create(path)"),
        SEARCH("test_no_file_is_overwritten"),
    ),
    check(
        "review: the sample's seed comes from the tree at the quarter's end",
        Instead("comity.audit.searching.review:_sample", "drawn.seed", "b''"),
        QUARTER("test_sample_is_drawn_as_the_worksheet_says"),
    ),
    check(
        "review: a quarter that is not over has no sample",
        Without("comity.cli.audit_review:_sign_off", "if made.drawn is None"),
        QUARTER("test_quarter_that_is_not_over_has_no_sample_and_no_sign_off"),
    ),
    check(
        "review: nobody signs off what is false",
        Without("comity.cli.audit_review:_sign_off", "if made.false"),
        QUARTER("test_tampered_opening_stops_a_sign_off"),
    ),
    check(
        "review: what was looked at is what is signed off",
        Without("comity.cli.audit_review:_sign_off", "if expected and"),
        QUARTER("test_what_was_looked_at_is_what_is_signed_off"),
    ),
)
