"""What the provider's end checks before it searches, and before anything leaves."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    BUDGETS_PATH,
    MUST_NOT,
    READINGS_PATH,
    REPLAY,
    SPENDING,
)
from tests.patched_out.checks.shared import ANY_SIGNATURE
from tests.patched_out.patching import Body, Instead, Without

ORDERS = "comity.adapters.orders"
STANDING = "comity.adapters.path:Standing"
SERVE = "comity.adapters.path:ExchangePath"
QUESTIONS = "comity.adapters.questions"
RULING = "comity.adapters.ruling"
SEEN = "comity.adapters.replay:ReplayGuard"
SPENT = "comity.adapters.spending:Spending"
IN_FORCE = "comity.certs.agreements:AgreementBook.grant"

KNOWN = Without(f"{SEEN}.claim", "if key in self._known:")
"""An exchange that was seen is taken again."""
SECOND_RECEIPT = Without(f"{SERVE}._first_receipt", "if isinstance(rejected, Replayed)")

CHECKS = (
    check(
        "adapter: an order carries its session peer's signature",
        ANY_SIGNATURE,
        MUST_NOT(
            "test_order_of_a_key_that_nobody_knows_is_not_answered",
            "test_order_of_another_agency_in_this_session_is_not_answered",
            "test_order_in_own_name_signed_by_another_is_not_answered",
            "test_order_changed_after_signing_is_not_answered",
        ),
    ),
    check(
        "adapter: an order names its session's peer as requester",
        Without(f"{ORDERS}:check_addressed", "if order.requester != peer:"),
        MUST_NOT(
            "test_order_that_names_another_requester_than_its_signer_is_rejected",
        ),
    ),
    check(
        "adapter: a statement key was valid when the order was signed",
        Without(f"{ORDERS}:open_order", "if opened.key_id not in"),
        MUST_NOT(
            "test_statement_key_out_of_its_time_signs_nothing",
        ),
    ),
    check(
        "adapter: a roster past its time vouches for nobody",
        Without(f"{STANDING}.member", "if now >= min("),
        MUST_NOT(
            "test_expired_roster_verifies_nobody",
        ),
    ),
    # An order past its freshness is past its deadline as well: either check alone stops it.
    check(
        "adapter: an order is fresh, and its deadline is to come",
        (
            Without(f"{ORDERS}:check_fresh", "if order.issued_at < now"),
            Without(f"{ORDERS}:check_fresh", "if order.deadline <= now:"),
        ),
        MUST_NOT(
            "test_order_older_than_the_window_is_rejected",
        ),
        falls=("Late",),
    ),
    check(
        "adapter: an order lies not in the future",
        Without(f"{ORDERS}:check_fresh", "if order.issued_at > now + CLOCK_SKEW:"),
        MUST_NOT(
            "test_order_from_the_future_is_rejected",
        ),
    ),
    check(
        "adapter: an order's deadline is to come",
        Without(f"{ORDERS}:check_fresh", "if order.deadline <= now:"),
        MUST_NOT(
            "test_order_past_its_deadline_is_rejected",
        ),
        falls=("Late",),
    ),
    check(
        "adapter: the broker announced the exchange, as this requester's",
        Without(f"{ORDERS}:check_announced", "if announcement is None"),
        MUST_NOT(
            "test_exchange_that_the_broker_did_not_announce_is_rejected",
            "test_announcement_for_another_requester_is_none",
        ),
    ),
    check(
        "adapter: an exchange is served once",
        KNOWN,
        MUST_NOT(
            "test_replayed_order_is_not_served",
            "test_replayed_order_under_another_signature_is_not_served",
            "test_order_signed_anew_for_the_same_exchange_is_not_served",
            "test_two_copies_at_once_are_served_once",
            "test_rejected_exchange_is_not_served_when_it_comes_again",
            "test_replay_while_the_log_is_unwritable_gets_no_second_receipt",
        ),
    ),
    check(
        "adapter: what was served is known after a restart",
        Without(f"{SEEN}.__init__", "self._known[str(agency), bytes(exchange_id)] = int(until)"),
        MUST_NOT(
            "test_replayed_order_after_a_restart_is_not_served",
        ),
    ),
    check(
        "adapter: a leaf is addressed to this provider",
        Without(f"{ORDERS}:check_addressed", "if leaf.provider != own:"),
        MUST_NOT(
            "test_leaf_of_another_provider_is_rejected",
        ),
    ),
    check(
        "adapter: a leaf stands under the order's root",
        Without(f"{ORDERS}:check_addressed", "merkle.verify_inclusion("),
        MUST_NOT(
            "test_forged_path_is_rejected",
        ),
    ),
    # Another order's leaf holds another query's digest, too.
    check(
        "adapter: a leaf is this order's and this query's",
        (
            Without(f"{ORDERS}:check_addressed", "merkle.verify_inclusion("),
            Without(f"{ORDERS}:check_addressed", "if leaf.query_digest != digest(ask.query):"),
        ),
        MUST_NOT(
            "test_leaf_of_another_order_is_rejected",
        ),
    ),
    check(
        "adapter: the query's bytes are those that were ordered",
        Without(f"{ORDERS}:check_addressed", "if leaf.query_digest != digest(ask.query):"),
        MUST_NOT(
            "test_query_bytes_that_were_not_ordered_are_rejected",
        ),
    ),
    check(
        "adapter: query, order and session name the same",
        Without(f"{ORDERS}:check_addressed", "if named != "),
        MUST_NOT(
            "test_query_that_names_others_than_the_order_is_rejected",
        ),
    ),
    check(
        "adapter: a question is whole and within its bounds",
        Without(f"{QUESTIONS}:parse_question", "if found.violations"),
        MUST_NOT(
            "test_query_with_a_field_missing_or_wrong_is_malformed",
        ),
        falls=("AssertionError", "ValueError", "AttributeError"),
    ),
    check(
        "adapter: a violation names the field and not what is in it",
        Instead(
            f"{QUESTIONS}:_plate",
            '"plate.number: expected one known plate, 1 to 16 characters (Q1)"',
            "query.plate.number",
        ),
        MUST_NOT(
            "test_violations_hold_no_value",
        ),
    ),
    check(
        "adapter: the requester's identity provider vouches for the person",
        Body(
            "comity.adapters.path:_subject",
            """
            return Claims(
                user="anybody", agency=member.agency, office="", duty_station="", roles=("investigator",),
                trained_at=now, rules_accepted_at=now, rules_digest=bytes(32), good_standing=True,
                protections_attested=True, issued_at=now, expires_at=now, jti="x",
            )
            """,
        ),
        MUST_NOT(
            "test_assertion_that_does_not_verify_is_rejected",
        ),
    ),
    check(
        "adapter: an agreement that expired carries nothing",
        Instead(IN_FORCE, "agreement.in_force(now)", "True"),
        MUST_NOT(
            "test_expired_agreement_refuses",
        ),
    ),
    check(
        "adapter: a suspended agency is answered nothing",
        (Instead(IN_FORCE, "asked.is_out", "False"), Instead(IN_FORCE, "asking.is_out", "False")),
        MUST_NOT(
            "test_suspended_requester_is_refused",
        ),
    ),
    # The shipped policies forbid it as well (`agreement` is among the facts); here the policy permits.
    check(
        "adapter: a permit counts within the agreement's purposes alone",
        Without(f"{RULING}:_permitted", "if request.reason not in agreement.purposes:"),
        MUST_NOT(
            "test_permit_beyond_the_agreement_is_refused",
        ),
    ),
    check(
        "adapter: a permit counts under an agreement alone",
        Instead(
            f"{RULING}:_permitted",
            '_by_agreement(None, "no agreement is in force between the two agencies", documents)',
            "Ruling(kind=common_pb2.OUTCOME_KIND_RESPONDED, rules=())",
        ),
        MUST_NOT(
            "test_permit_without_any_agreement_is_refused",
        ),
    ),
    check(
        "adapter: an obligation that isn't implemented refuses",
        Without(f"{RULING}:_permitted", "if any((not _can_be_met(part) for part in parts)):"),
        MUST_NOT(
            "test_obligation_that_is_not_implemented_refuses",
        ),
    ),
    # What is withheld is looked at once more where it is applied.
    check(
        "adapter: an element that nobody knows can't be withheld, so nothing leaves",
        (
            Instead(f"{RULING}:_can_be_met", "obligations.withhold <= ELEMENTS", "True"),
            Without("comity.policy.obligations:_remove", "raise ObligationUnknown"),
            Instead("comity.policy.obligations:withhold", "_NUMBERS[element]", "_NUMBERS.get(element, 0)"),
        ),
        MUST_NOT(
            "test_unknown_element_to_withhold_refuses",
        ),
    ),
    check(
        "adapter: a fault of the policy refuses",
        Instead(
            f"{RULING}:rule",
            'refusal("the provider\'s policy could not be applied", errors=(type(error).__name__,))',
            "Ruling(kind=common_pb2.OUTCOME_KIND_RESPONDED, rules=(), public_reason=str(error))",
        ),
        MUST_NOT(
            "test_engine_that_raises_permits_nothing",
        ),
    ),
    check(
        "policy: an area narrows no search whose locations are withheld",
        Without(
            "comity.policy.decision:PolicyEngine._permit",
            "if request.has_area and ('LOCATION' in hidden or grid):",
        ),
        MUST_NOT(
            "test_area_cannot_probe_a_withheld_place",
        ),
    ),
    check(
        "adapter: an area narrows no search whose locations the agreement withholds",
        Without(f"{RULING}:_permitted", "if request.has_area and 'LOCATION' in ungranted:"),
        MUST_NOT(
            "test_area_cannot_probe_a_place_that_the_agreement_withholds",
        ),
    ),
    check(
        "adapter: the exchange asked about is the one ordered",
        Without(f"{ORDERS}:check_addressed", "if len(order.exchange_id) != EXCHANGE_ID_BYTES"),
        MUST_NOT(
            "test_ask_about_another_exchange_than_was_ordered_is_rejected",
        ),
    ),
    check(
        "adapter: a deadline lies within the window in which replays are remembered",
        Without(f"{ORDERS}:check_fresh", "if order.deadline > order.issued_at + FRESHNESS:"),
        MUST_NOT(
            "test_deadline_beyond_the_window_is_rejected",
        ),
    ),
    check(
        "adapter: an order has 1 to 64 leaves",
        Without(f"{ORDERS}:check_addressed", "if not 1 <= order.leaf_count <= MAX_LEAVES:"),
        MUST_NOT(
            "test_order_of_no_leaf_or_too_many_is_rejected",
        ),
    ),
    check(
        "adapter: the decision is durable before a store is searched",
        Without(f"{SERVE}._serve", "await self._append(work, 'log decision', received, decided)"),
        MUST_NOT(
            "test_unwritable_log_lets_nothing_out_and_recovers[decided-0]",
        ),
    ),
    check(
        "adapter: the release is durable before a read leaves",
        Instead(
            f"{SERVE}._append",
            "await self._log.append(*entries)",
            "[__import__('comity.audit.log').audit.log.Promise(origin='x', index=0, leaf_hash=bytes(32))]",
        ),
        MUST_NOT(
            "test_unwritable_log_lets_nothing_out_and_recovers[released-1]",
        ),
    ),
    check(
        "adapter: what was admitted is durable before it is served",
        Without(f"{SERVE}._serve", "await remembering"),
        MUST_NOT(
            "test_unwritable_state_is_no_excuse",
        ),
    ),
    check(
        "adapter: a requester over its limit gets no answer",
        Without(f"{SERVE}._serve", "if crowded:"),
        MUST_NOT(
            "test_requester_over_its_limit_gets_a_receipt_and_nothing_else",
        ),
    ),
    check(
        "adapter: a reading is one by the provider's own table (Q10)",
        Without(f"{SERVE}._serve", "check_readings(question, standing.engine.bundle.manifest.confusions)"),
        READINGS_PATH(
            "test_reading_that_is_none_is_malformed_and_named"
            "[readings0-readings[0]: expected a likely reading]"
        ),
    ),
    check(
        "adapter: a question that was decided on is spent",
        Instead(f"{SERVE}._serve", "None if ruling.exceeded else self._spending.spend(looked)", "None"),
        BUDGETS_PATH(
            "test_restart_gives_no_budget_back",
            "test_refused_questions_count",
            "test_questions_at_the_same_time_get_no_more_than_the_budget",
        ),
    ),
    check(
        "adapter: a question that a budget turned away isn't spent",
        Instead(
            f"{SERVE}._serve",
            "None if ruling.exceeded else self._spending.spend(looked)",
            "self._spending.spend(looked)",
        ),
        BUDGETS_PATH("test_who_comes_back_when_told_is_answered"),
    ),
    check(
        "adapter: what was spent is known after a restart",
        Without(f"{SPENT}.__init__", "self._read(connection)"),
        SPENDING("test_restart_keeps_the_counts"),
        BUDGETS_PATH("test_restart_gives_no_budget_back"),
    ),
    check(
        "adapter: a clock that steps back frees no budget",
        Without(f"{SPENT}._now", "if now < self._latest:"),
        SPENDING(
            "test_clock_that_steps_back_frees_nothing[False-back2]",
            "test_clock_that_steps_back_frees_nothing[False-back3]",
        ),
    ),
    check(
        "adapter: budgets are counted for each agency by itself",
        Instead(f"{SPENT}.look", 'self._hash("agency", agency)', 'self._hash("agency", "")'),
        SPENDING("test_each_agency_user_and_plate_is_counted_by_itself"),
    ),
    check(
        "replay: an exchange is admitted once",
        KNOWN,
        REPLAY(
            "test_second_arrival_is_refused",
            "test_two_arrivals_in_one_turn_admit_one",
        ),
        falls=("Failed", "AssertionError", "StateUnwritable"),
    ),
    check(
        "adapter: the decision is durable in the real log",
        Without(f"{SERVE}._serve", "await self._append(work, 'log decision', received, decided)"),
        MUST_NOT("test_real_log_that_cannot_be_written_lets_nothing_out_and_recovers"),
    ),
    check(
        "adapter: what can't be withheld or marked is refused",
        Body("comity.adapters.content:Composer.result", "return self._result(question, ruling, found, now)"),
        MUST_NOT(
            "test_obligation_that_fails_while_it_is_applied_refuses",
            "test_data_that_cannot_be_marked_does_not_leave",
        ),
        falls=("ObligationUnknown", "MarkingInvalid"),
    ),
    check(
        "replay: what was admitted is known after a restart",
        Without(f"{SEEN}.__init__", "self._known[str(agency), bytes(exchange_id)] = int(until)"),
        REPLAY("test_second_arrival_after_restart_is_refused"),
        falls=("StateUnwritable",),
    ),
    check(
        "replay: what can't be written is not admitted",
        Without(f"{SEEN}._commit", "raise StateUnwritable"),
        REPLAY("test_unwritable_state_admits_nothing"),
    ),
    check(
        "replay: every admitted exchange is written",
        Without(f"{SEEN}._write", "connection.execute(insert(SEEN), batch.rows)"),
        REPLAY("test_many_at_once_are_all_durable"),
    ),
)
