"""The tests of attacks that no check is patched out for, each with the reason.

`WHOLE` are the files in which every test is of an attack or of a lie: what is not named beside a check
stands here, or `tests/test_patched_out.py` fails.
"""

from __future__ import annotations

from tests.patched_out.checks.files import (
    ATTACKS,
    LYING_BROKER,
    LYING_PROVIDER,
    LYING_REQUESTER,
    MUST_NOT,
    STOLEN_KEY,
)

WHOLE = (MUST_NOT, ATTACKS, LYING_BROKER, LYING_PROVIDER, LYING_REQUESTER, STOLEN_KEY)

HONEST_USE = "honest use, or a lie that changes nothing: no check says no"
SHOWN = "nothing stops it: the test shows where it stands in the logs"
POLICY = "the shipped policies forbid it as well; beside it the same with an engine that permits"

UNCHECKED = {
    **dict.fromkeys(MUST_NOT("test_announcement_that_comes_a_moment_later_counts"), HONEST_USE),
    **dict.fromkeys(
        MUST_NOT("test_no_agreement_refuses", "test_purpose_that_the_agreement_does_not_grant_is_refused"),
        POLICY,
    ),
    **dict.fromkeys(ATTACKS("test_honest_handshake_passes_the_odd_gateway"), HONEST_USE),
    **dict.fromkeys(
        ATTACKS("test_gateway_sends_nothing_before_ready"),
        "no check, but an order of states: before `Ready` there is no session to send in",
    ),
    **dict.fromkeys(
        LYING_BROKER(
            "test_lie_that_changes_nothing_changes_nothing",
            "test_provider_whose_link_was_lost_is_unreachable_and_nobody_is_called_a_liar",
            "test_honest_statements_convince_no_auditor_of_anything",
        ),
        HONEST_USE,
    ),
    **dict.fromkeys(
        LYING_BROKER(
            "test_evidence_of_a_finding_is_kept_with_the_log",
            "test_dropped_stamp_is_logged_as_missing",
            "test_unreachable_said_of_a_linked_provider_is_refuted_by_its_own_log",
        ),
        SHOWN,
    ),
    **dict.fromkeys(
        LYING_PROVIDER(
            "test_more_pages_than_the_receipt_covers_are_not_shown",
            "test_one_receipt_repeated_is_one_receipt",
        ),
        HONEST_USE,
    ),
    **dict.fromkeys(
        LYING_PROVIDER("test_policy_that_was_never_in_force_is_refuted_by_the_providers_log"), SHOWN
    ),
    **dict.fromkeys(
        LYING_REQUESTER("test_assertion_for_another_certificate_is_the_gateways_to_refuse"), HONEST_USE
    ),
    **dict.fromkeys(STOLEN_KEY("test_leaf_without_a_fault_opens_a_link"), HONEST_USE),
    **dict.fromkeys(
        STOLEN_KEY(
            "test_stolen_leaf_takes_the_link_and_nothing_else_and_its_owner_sees_it",
            "test_stolen_adapter_answers_and_its_owners_log_shows_that_it_was_not_the_owner",
        ),
        SHOWN,
    ),
}
