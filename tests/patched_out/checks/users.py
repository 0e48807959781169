"""What keeps users out who may not ask: suspensions, terminations, logons, lists (Q4, Q8, L9)."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    COMPARING,
    GATEWAY,
    OWN_PEOPLE,
    SUSPENDING,
    SUSPENSION,
    USER_FACTS,
)
from tests.patched_out.checks.shared import ANY_SIGNATURE
from tests.patched_out.patching import Body, Instead, Without

ACTS = "comity.certs.user_acts"
BARRING = "comity.adapters.barring"
PEOPLE = "comity.adapters.people:People"
OWN = "comity.gateway.people:People"

CHECKS = (
    check(
        "users: nobody who is barred is decided for (Q8)",
        Without("comity.policy.decision:PolicyEngine._decide", "if (barred := request.subject.barred)"),
        SUSPENSION("test_nobody_who_is_barred_is_decided_for"),
        SUSPENDING("test_third_refusal_within_a_day_suspends"),
    ),
    check(
        "users: refusals for want of authorization count (Q8)",
        Instead("comity.adapters.path:ExchangePath._serve", "standing.engine.counts(ruling.rules)", "False"),
        SUSPENDING("test_third_refusal_within_a_day_suspends", "test_suspension_survives_a_restart"),
    ),
    check(
        "users: only refusals that a policy marks count (Q8)",
        Body("comity.policy.decision:PolicyEngine.counts", "return bool(tuple(rules))"),
        SUSPENSION(
            "test_refusals_count_that_a_marked_forbid_determined[True-NARCOTICS-False]",
            "test_refusals_count_that_a_marked_forbid_determined[True-CRIMINAL_INVESTIGATION-False]",
        ),
        SUSPENDING("test_refusals_for_what_was_asked_do_not_count"),
    ),
    check(
        "users: refusals count within the policy's window (Q8)",
        Instead(f"{BARRING}:Barring.refused", "entry[0] > since", "True"),
        SUSPENDING("test_refusals_older_than_the_window_do_not_count"),
    ),
    check(
        "users: a suspension is known after a restart (Q8)",
        Without(f"{BARRING}:Barring.__init__", "self._read(connection)"),
        SUSPENDING(
            "test_suspension_survives_a_restart",
            "test_terminated_user_is_refused_from_the_moment_it_is_read",
        ),
    ),
    check(
        "users: an act is signed by the agency whose user it is about (Q8)",
        ANY_SIGNATURE,
        SUSPENDING("test_act_that_ends_no_suspension"),
        OWN_PEOPLE(
            "test_notice_that_is_not_the_providers", "test_readmission_that_nobody_signed_does_nothing"
        ),
    ),
    check(
        "users: an act is no older than the last one (Q8)",
        Body(f"{BARRING}:Barring.is_stale", "return False"),
        SUSPENDING("test_only_a_newer_act_readmits"),
    ),
    check(
        "users: a suspension ends by what is later than it (Q8)",
        Without(f"{BARRING}:_after", "if act.given_at <= suspension.since"),
        SUSPENDING("test_act_that_ends_no_suspension"),
    ),
    check(
        "users: an act is dated in the past (Q8)",
        Without(f"{ACTS}:verify_user_act", "if given_at > now + CLOCK_SKEW:"),
        SUSPENDING("test_act_that_ends_no_suspension"),
    ),
    check(
        "users: a notice is about one's own user (Q8)",
        Without(f"{ACTS}:_check", "if named != agency:"),
        OWN_PEOPLE("test_notice_that_is_not_the_providers"),
    ),
    check(
        "users: a notice comes from the provider that it names (Q8)",
        Without(f"{ACTS}:verify_suspension", "if notice.provider != member.agency:"),
        OWN_PEOPLE("test_notice_that_is_not_the_providers"),
    ),
    check(
        "users: a notice is forgotten at its own agency's word (Q8)",
        Instead(
            f"{BARRING}:Barring.noted",
            "each in self._notices and self._notices[each].agency == agency",
            "each in self._notices",
        ),
        SUSPENDING("test_notice_comes_again_until_it_is_noted"),
    ),
    check(
        "users: a dismissed user is refused at their own gateway (Q8)",
        Body(f"{OWN}.require_access", "return"),
        OWN_PEOPLE(
            "test_dismissed_user_is_refused_here_and_every_provider_is_told",
            "test_termination_survives_a_restart_and_is_told_in_the_next_session",
            "test_only_a_newer_act_gives_access_back",
        ),
    ),
    check(
        "users: a provider learns of dismissed users before the first question (Q8)",
        Without(f"{OWN}.opened", "self._send_acts("),
        OWN_PEOPLE("test_termination_survives_a_restart_and_is_told_in_the_next_session"),
    ),
    check(
        "users: a logon is in the log with its first use (Q4)",
        Body("comity.gateway.logons:Logons.entries", "return []"),
        GATEWAY(
            "test_logon_is_logged_once_before_its_first_query_leaves",
            "test_log_that_cannot_write_the_logon_sends_nothing",
        ),
        falls=("ValueError", "Failed"),
    ),
    check(
        "users: a text counts if it was accepted at this logon (Q4)",
        Instead(
            "comity.policy.cedar:_subject",
            'subject.rules_digest if has_accepted else ""',
            "subject.rules_digest",
        ),
        USER_FACTS("test_text_that_was_not_accepted_at_this_logon_is_no_fact"),
    ),
    check(
        "users: a name is read from an opening that is true (L1, L9)",
        Instead(
            "comity.audit.searching.people:read_users", "entry.open(openings[name])", "openings[name].value"
        ),
        COMPARING("test_opening_that_is_false_or_gone_names_nobody"),
    ),
    check(
        "users: access that ends while a question is logged stops it (Q8)",
        Body("comity.gateway.gateway:Gateway._require_access_still", "return None"),
        OWN_PEOPLE(
            "test_user_whose_access_ends_while_the_question_is_logged_asks_nobody[dismissed]",
            "test_user_whose_access_ends_while_the_question_is_logged_asks_nobody[revoked]",
        ),
    ),
    check(
        "users: an act is logged once, also if its file stays (Q8)",
        Instead(f"{OWN}.take", "act.digest not in self._taken", "True"),
        OWN_PEOPLE("test_act_whose_file_can_not_be_moved_is_in_force_all_the_same"),
    ),
)
