"""What the gateway checks before it shows anything, and before it asks."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    EXCHANGE,
    GATEWAY,
    LIMITS,
    LYING_BROKER,
    QUESTION,
    READINGS_GATEWAY,
    RELOAD,
    REVIEW,
    SUBJECTS,
)
from tests.patched_out.checks.shared import ANY_SIGNATURE
from tests.patched_out.patching import Instead, Without


def _lying(*faults: str) -> tuple[str, ...]:
    return EXCHANGE(
        *(f"test_lying_provider_is_unverifiable_and_nothing_of_it_is_shown[{fault}]" for fault in faults)
    )


FIT = "comity.gateway.subjects:require_fit"

CHECKS = (
    check(
        "gateway: a page holds reads, and not too many",
        Without("comity.gateway.verification:verify_pages", "page: holds no read, or too many"),
        _lying("page without a read", "page of too many reads"),
    ),
    check(
        "gateway: a promise names a leaf",
        Without("comity.gateway.verification:_check_promise", "receipt: its promise has no leaf hash"),
        _lying("promise without a leaf"),
    ),
    check(
        "gateway: an agreement's ceiling covers each marking",
        Without("comity.gateway.verification:_check_marking", "marking is stricter"),
        EXCHANGE("test_marking_stricter_than_the_ceiling_is_unverifiable"),
    ),
    check(
        "gateway: a receipt is signed by a statement key of the provider asked",
        ANY_SIGNATURE,
        _lying("another key signs"),
    ),
    check(
        "gateway: a user is in good standing (Q4)",
        Without(FIT, "if not claims.good_standing:"),
        SUBJECTS("test_user_who_may_not_ask_is_told_why[bad standing]"),
    ),
    check(
        "gateway: a user is trained each year (Q4)",
        Without(FIT, "if claims.trained_at > now or"),
        SUBJECTS(
            "test_user_who_may_not_ask_is_told_why[training a year ago]",
            "test_user_who_may_not_ask_is_told_why[training to come]",
        ),
    ),
    check(
        "gateway: a user accepted the rules at this logon (Q4)",
        Without(FIT, "if claims.rules_accepted_at > now"),
        SUBJECTS(
            "test_user_who_may_not_ask_is_told_why[old logon]",
            "test_user_who_may_not_ask_is_told_why[logon to come]",
        ),
    ),
    check(
        "gateway: a user attests Q9",
        Without(FIT, "if not claims.protections_attested:"),
        SUBJECTS("test_user_who_may_not_ask_is_told_why[no Q9]"),
    ),
    check(
        "gateway: a receipt is not of the future",
        Without("comity.gateway.verification:verify_receipt", "receipt: signed in the future"),
        _lying("receipt signed tomorrow"),
    ),
    check(
        "gateway: a receipt is not older than its order",
        Without("comity.gateway.verification:verify_receipt", "receipt: signed before it was ordered"),
        REVIEW("test_receipt_dated_back_to_a_retired_key_is_unverifiable"),
    ),
    check(
        "gateway: a receipt names this exchange",
        Without("comity.gateway.verification:verify_receipt", "receipt: names another exchange"),
        _lying("receipt names another exchange"),
    ),
    check(
        "gateway: a receipt names the provider asked",
        Without("comity.gateway.verification:verify_receipt", "receipt: names another provider"),
        _lying("receipt names another provider"),
    ),
    check(
        "gateway: a receipt names this requester",
        Without("comity.gateway.verification:verify_receipt", "receipt: names another requester"),
        _lying("receipt names another requester"),
    ),
    check(
        "gateway: a receipt answers the query that was sent",
        Without("comity.gateway.verification:verify_receipt", "receipt: answers another query"),
        _lying("receipt answers another query"),
    ),
    check(
        "gateway: a receipt stands on the agreement in force",
        Without("comity.gateway.verification:verify_receipt", "receipt: stands on another agreement"),
        _lying("receipt on another agreement"),
    ),
    check(
        "gateway: a receipt carries the agreement's ceiling",
        Without("comity.gateway.verification:verify_receipt", "receipt: ceiling is not"),
        _lying("receipt with another ceiling"),
    ),
    check(
        "gateway: a receipt has a promise of its log",
        Without("comity.gateway.verification:verify_receipt", "receipt: has no promise of its log"),
        _lying("receipt without a promise"),
    ),
    check(
        "gateway: a promise is of the provider's own log",
        Without("comity.gateway.verification:_check_promise", "receipt: its promise is of another log"),
        REVIEW("test_promise_of_anothers_log_is_unverifiable"),
    ),
    check(
        "gateway: a detail names this exchange",
        Without("comity.gateway.verification:verify_receipt", "detail: names another exchange"),
        _lying("detail of another exchange"),
    ),
    check(
        "gateway: a detail tells the receipt's kind",
        Without("comity.gateway.verification:verify_receipt", "detail: its kind is not"),
        _lying("detail of another kind"),
    ),
    check(
        "gateway: nothing stands beside a refusal",
        Without("comity.gateway.verification:verify_receipt", "detail: reads beside an outcome"),
        EXCHANGE("test_reads_beside_a_refusal_are_unverifiable"),
    ),
    check(
        "gateway: a detail carries a marking",
        Without("comity.gateway.verification:verify_receipt", "_check_marking(expected, detail.HasField"),
        _lying("marking under another agreement", "detail without marking (A4)"),
        falls=("AssertionError", "Failed", "MarkingInvalid"),
    ),
    check(
        "gateway: as many reads came as were signed",
        Without("comity.gateway.verification:verify_pages", "pages: their reads are not"),
        _lying("detail counts more reads"),
    ),
    check(
        "gateway: pages stand in their order",
        Without("comity.gateway.verification:verify_pages", "page: its number is wrong"),
        _lying("page with a wrong number"),
    ),
    check(
        "gateway: a page names this exchange",
        Without("comity.gateway.verification:verify_pages", "page: names another exchange"),
        _lying("page of another exchange"),
    ),
    check(
        "gateway: a page carries a marking",
        Without("comity.gateway.verification:verify_pages", "_check_marking(expected, page.HasField"),
        _lying("page without marking (A4)"),
        falls=("AssertionError", "Failed", "MarkingInvalid"),
    ),
    check(
        "gateway: pages are those that were signed",
        Without("comity.gateway.verification:verify_pages", "pages: are not those"),
        _lying("root over other pages"),
    ),
    check(
        "gateway: a read carries a marking that holds",
        Without("comity.gateway.verification:_check_read", "_check_marking(expected, read.HasField"),
        _lying("read without marking (A4)", "banner that its fields don't give"),
        falls=("AssertionError", "Failed", "MarkingInvalid"),
    ),
    check(
        "gateway: a read is of the plate that was asked for (Q6)",
        Without("comity.gateway.verification:_check_read", "read: is of another plate"),
        _lying("read of another plate (Q6)"),
    ),
    check(
        "gateway: a read says which of the readings asked for it is (Q10)",
        Without("comity.gateway.verification:_check_read", "read: names another reading"),
        READINGS_GATEWAY(
            "test_read_of_another_reading_is_unverifiable[unsaid]",
            "test_read_of_another_reading_is_unverifiable[missaid]",
            "test_read_that_names_a_reading_nobody_asked_for_is_unverifiable",
        ),
    ),
    check(
        "gateway: a read is within the period that was asked for (Q6)",
        Without("comity.gateway.verification:_check_read", "read: is outside the period"),
        _lying("read outside the period (Q6)", "read at the period's end (Q6)"),
    ),
    check(
        "gateway: a marking names the agreement in force",
        Without("comity.gateway.verification:_check_marking", "marking names another agreement"),
        _lying("marking under another agreement"),
    ),
    check(
        "gateway: an account names this requester",
        Without("comity.gateway.verification:verify_account", "account: names another requester"),
        LYING_BROKER(
            "test_lie_in_clear_is_a_finding_and_takes_no_signed_answer_away[accounts to another requester]"
        ),
    ),
    check(
        "gateway: an account names every provider once",
        Without("comity.gateway.verification:verify_account", "account: does not name every"),
        EXCHANGE("test_account_without_one_of_the_providers_is_not_believed"),
        falls=("StopIteration",),
    ),
    check(
        "gateway: an account tells what is the broker's to tell",
        Without("comity.gateway.verification:verify_account", "account: tells an outcome"),
        REVIEW("test_account_with_an_unknown_outcome_is_a_finding_not_a_fault"),
        falls=("ValueError",),
    ),
    check(
        "gateway: a stamp is of the receipt that came",
        Without(
            "comity.gateway.findings:contradictions",
            "if receipt and entry.stamp.receipt_digest != receipt.digest:",
        ),
        EXCHANGE(
            "test_stamp_in_an_early_account_is_held_against_the_receipt",
            "test_stamp_of_another_receipt_is_a_finding",
        ),
    ),
    check(
        "gateway: an attested outcome is held against the receipt",
        Without(
            "comity.gateway.findings:contradictions",
            "if receipt and (not (entry.kind == common_pb2.OUTCOME_KIND_CANCELLED",
        ),
        EXCHANGE(
            "test_broker_that_denies_a_receipt_is_contradicted_by_it",
            "test_early_account_does_not_make_its_lies_come_true",
        ),
    ),
    check(
        "gateway: an account tells the receipt's kind",
        Without(
            "comity.gateway.findings:contradictions", "if receipt and entry.kind != receipt.receipt.kind:"
        ),
        LYING_BROKER("test_lie_in_clear_is_a_finding_and_takes_no_signed_answer_away[tells another outcome]"),
    ),
    check(
        "gateway: an account binds the stamp that was given",
        Without("comity.gateway.findings:contradictions", "if stamp is not None and"),
        EXCHANGE("test_account_that_drops_a_stamp_is_a_finding"),
    ),
    check(
        "gateway: a provider has one receipt",
        Without("comity.gateway.exchange:Exchange.on_result", "if part.receipt is not None:"),
        EXCHANGE("test_second_receipt_while_pages_are_missing_is_unverifiable"),
    ),
    check(
        "gateway: a missing account is a finding",
        Without(
            "comity.gateway.exchange:Exchange.end_waiting", "if self.account is None and (not self.rejected):"
        ),
        EXCHANGE("test_broker_that_gives_no_account_is_a_finding"),
    ),
    check(
        "gateway: a question is whole (Q1, Q2, Q3)",
        Without("comity.gateway.question:parse_question", "if found:"),
        QUESTION(
            "test_empty_request_names_every_missing_field_at_once",
            "test_query_without_period_is_refused",
            "test_half_a_period_is_refused",
            "test_error_never_repeats_what_the_user_entered",
        ),
    ),
    check(
        "gateway: nothing is asked without a link",
        Without("comity.gateway.gateway:Gateway.search", "if self.link is None"),
        GATEWAY("test_without_a_link_nothing_is_asked"),
    ),
    check(
        "gateway: completeness that isn't met is an error",
        Without("comity.gateway.gateway:Gateway.search", "if not summary.complete:"),
        GATEWAY("test_unmet_quorum_is_an_error_after_the_summary"),
    ),
    check(
        "gateway: nobody answered is an error",
        Without("comity.gateway.gateway:Gateway.search", "if not has_answer(settled):"),
        GATEWAY(
            "test_nobody_answered_is_an_error_after_the_summary", "test_lost_link_ends_every_exchange_at_once"
        ),
        falls=("Incomplete",),
    ),
    check(
        "gateway: completeness that can't be met asks nobody",
        Without("comity.gateway.gateway:Gateway.search", "require_reachable("),
        GATEWAY("test_completeness_that_nobody_could_meet_asks_nobody"),
        falls=("Incomplete",),
    ),
    check(
        "gateway: nothing leaves under an expired roster",
        Without(
            "comity.gateway.standing:Standing.require_asking", "if now >= self.federation.trusted_until:"
        ),
        RELOAD("test_nothing_leaves_under_an_expired_roster_until_it_is_refreshed"),
    ),
    check(
        "gateway: a suspended agency asks nothing",
        Without("comity.gateway.standing:Standing.require_asking", "if own.suspended"),
        RELOAD("test_own_suspension_is_told_and_nothing_leaves"),
    ),
    check(
        "gateway: an account is signed by the operator",
        ANY_SIGNATURE,
        EXCHANGE("test_account_signed_by_somebody_else_is_not_believed"),
    ),
    check(
        "gateway: two different accounts are a finding",
        Without("comity.gateway.exchange:Exchange.on_account", "if account != self.account:"),
        EXCHANGE("test_two_different_accounts_are_a_finding"),
    ),
    check(
        "gateway: one finding is told once",
        Instead(
            "comity.gateway.exchange:Exchange._find",
            "all(finding.text != known.text for known in self._found)",
            "True",
        ),
        EXCHANGE("test_flood_of_bad_accounts_is_found_once"),
    ),
    check(
        "gateway: a result that is stamped and never comes is a finding",
        Without("comity.gateway.exchange:Exchange.end_waiting", "self._find(withheld"),
        EXCHANGE("test_result_that_is_stamped_and_never_comes_is_a_finding"),
        falls=("AssertionError", "ValueError"),
    ),
    check(
        "gateway: nothing is shown before its receipt and all its pages",
        (
            Instead(
                "comity.gateway.exchange:Exchange._try_verify",
                "len(part.pages) < part.receipt.detail.page_count",
                "False",
            ),
            Without("comity.gateway.verification:verify_pages", "pages: their number is not"),
            Without("comity.gateway.verification:verify_pages", "pages: are not those"),
            Without("comity.gateway.verification:verify_pages", "pages: their reads are not"),
        ),
        EXCHANGE("test_nothing_is_shown_before_every_page_is_there"),
    ),
    check(
        "gateway: what comes after an outcome is settled changes nothing",
        Instead("comity.gateway.exchange:Exchange._open", "part.stage is _Stage.PENDING", "True"),
        EXCHANGE("test_second_receipt_after_the_first_changes_nothing"),
    ),
    check(
        "gateway: the broker attests its own four outcomes alone",
        (
            Without("comity.gateway.verification:verify_account", "account: tells an outcome"),
            Instead(
                "comity.gateway.summary:lacks",
                "item.kind == common_pb2.OUTCOME_KIND_RESPONDED and item.is_signed_by_provider",
                "item.kind == common_pb2.OUTCOME_KIND_RESPONDED",
            ),
        ),
        REVIEW("test_broker_cannot_attest_that_a_provider_responded"),
    ),
    check(
        "gateway: asked is durable before a frame leaves",
        Without("comity.gateway.gateway:Gateway._ask", "await self._append_for(claims, entry)"),
        GATEWAY(
            "test_asked_is_durable_before_a_frame_leaves", "test_log_that_cannot_write_asked_sends_nothing"
        ),
        falls=("AssertionError", "Failed", "ValueError"),
    ),
    check(
        "gateway: delivered is durable before the caller sees a read",
        Instead(
            "comity.gateway.gateway:Gateway._settle", "await self._append(*entries)", "[None] * len(entries)"
        ),
        GATEWAY(
            "test_delivered_is_durable_before_the_caller_sees_a_read",
            "test_log_that_cannot_write_delivered_shows_nothing",
        ),
    ),
    check(
        "gateway: all exchanges together have a bound",
        Without("comity.gateway.limits:Places.take", "if self._taken >= self._limits.max_in_flight:"),
        GATEWAY("test_burst_does_not_pass_the_limit_of_exchanges_in_flight"),
    ),
    check(
        "gateway: a user's exchanges have a bound",
        Without("comity.gateway.limits:Places.take", "if self._users[user] >="),
        LIMITS("test_user_over_the_limit_is_refused_and_another_user_is_not"),
        falls=("ValueError",),
    ),
    check(
        "gateway: a place is given back once",
        Without("comity.gateway.limits:Place.leave", "self._is_left = True"),
        LIMITS("test_place_is_given_back_once"),
    ),
    check(
        "gateway: an agreement that is over asks nobody",
        Instead("comity.certs.agreements:AgreementBook.grant", "agreement.in_force(now)", "True"),
        RELOAD("test_agreement_that_passed_its_end_asks_nobody"),
    ),
    check(
        "gateway: a suspended member is not asked",
        (
            Without("comity.gateway.gateway:Gateway._plan", "if member.is_out:"),
            Instead("comity.certs.agreements:AgreementBook.grant", "asked.is_out", "False"),
        ),
        RELOAD("test_suspended_member_is_not_asked_any_more"),
    ),
)
