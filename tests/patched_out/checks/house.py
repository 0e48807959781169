"""What house rules hold, and what agreements and the calendar say of duties and of passing on."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    DUE,
    EXCHANGE,
    HOT_LIST,
    HOT_LIST_FACTS,
    HOUSE,
    HOUSE_RULES,
)
from tests.patched_out.patching import Body, Instead, Without

CHECKS = (
    check(
        "agreement: a duty with dates is a party's",
        Without("comity.certs.duties:check_duty", "if duty.agency not in parties:"),
        DUE("test_duty_that_can_not_be_is_not_drawn_up[change0-expected one of the parties]"),
        falls=("Failed",),
    ),
    check(
        "calendar: an own duty that is past stays overdue",
        Without("comity.certs.due:_duties", "if past and duty.agency == agency"),
        DUE("test_duty_is_due_ahead_and_overdue_until_it_is_done"),
        falls=("ValueError",),
    ),
    check(
        "agreement: an answer says that its reads go to nobody else (D4)",
        Instead("comity.gateway.summary:onward", "text or 'to nobody'", "text"),
        EXCHANGE("test_answer_says_to_whom_reads_may_be_passed_on"),
    ),
    check(
        "house: whom the rules stop is not asked",
        Instead(
            "comity.gateway.house:HouseSaid.of",
            "{name: judgement.stops for name, judgement in judged.items() if judgement.stops}",
            "{}",
        ),
        HOUSE_RULES(
            "test_question_that_is_stopped_asks_nobody",
            "test_rule_about_one_provider_leaves_that_one_out",
            "test_border_nexus_stays_in_the_house",
        ),
    ),
    check(
        "house: a rule that fails stops the question",
        Without("comity.policy.house.rules:HouseRules._judgement", "if met.errors:"),
        (
            *HOUSE("test_rule_that_fails_stops_whatever_it_enforces"),
            *HOUSE_RULES("test_house_rules_that_fail_stop_the_question"),
        ),
    ),
    check(
        "house: facts that the schema does not know stop the question",
        Instead("comity.policy.house.rules:HouseRules.judge", "('request',)", "()"),
        HOUSE(
            "test_facts_that_the_schema_does_not_know_stop",
            "test_rules_made_before_there_were_hot_lists_stop_every_one",
        ),
    ),
    check(
        "house: what is stopped is logged",
        Without("comity.gateway.gateway:Gateway._obey", "await self._append_for("),
        HOUSE_RULES("test_question_that_is_stopped_asks_nobody"),
        falls=("ValueError",),
    ),
    check(
        "house: rules are logged before they are in force",
        Without("comity.gateway.gateway:Gateway.reload_house", "await self._append(activated("),
        HOUSE_RULES("test_broken_house_rules_leave_the_old_in_force"),
        falls=("IndexError",),
    ),
    check(
        "house: a bundle without a rule is none",
        Without("comity.policy.house.bundle:HouseBundle.load", "if not policies:"),
        HOUSE("test_house_bundle_without_a_rule_is_refused"),
        falls=("Failed",),
    ),
    check(
        "house: a house rule is no permit",
        Without("comity.policy.house.bundle:_policy", "if policy.get('effect') != 'forbid':"),
        HOUSE("test_house_bundle_with_a_fault_is_refused_with_file_and_line[a permit]"),
        falls=("Failed",),
    ),
    check(
        "house: the bundle is the agency's own",
        Without("comity.gateway.house:load_house", "if bundle.agency != agency:"),
        HOUSE_RULES("test_one_line_of_configuration_turns_a_rule_round"),
        falls=("Failed",),
    ),
    check(
        "hot list: what a rule stops is not written down",
        Without("comity.cli.hotlist_check:_record", "if any("),
        HOT_LIST("test_batch_that_is_stopped_is_not_written_down"),
    ),
    check(
        "hot list: who writes down is known",
        Without("comity.cli.hotlist_check:_require_known", "if not lister.user:"),
        HOT_LIST("test_nobody_writes_down_in_anothers_name"),
    ),
    check(
        "hot list: who may not ask may not list",
        Without("comity.cli.hotlist_check:_lister", "require_fit("),
        HOT_LIST("test_who_may_not_ask_may_not_list"),
    ),
    check(
        "hot list: each batch is attested to",
        Instead(
            "comity.gateway.hot_lists:Lister.of",
            "attested and claims.protections_attested",
            "claims.protections_attested",
        ),
        HOT_LIST("test_batch_that_is_stopped_is_not_written_down"),
    ),
    check(
        "hot list: the list of current cases has the last word",
        Instead(
            "comity.cli.hot_list_files:_plate",
            "_status(where, row) if cases is None else case in cases",
            "_status(where, row)",
        ),
        HOT_LIST("test_list_of_current_cases_has_the_last_word"),
    ),
    check(
        "hot list: a free text beside a plate is told to the rules",
        Instead("comity.cli.hot_list_files:_plate", "any(_filled(header, cells, in_texts=True))", "False"),
        HOT_LIST("test_columns_that_identify_a_person_are_stopped_and_not_repeated"),
    ),
    check(
        "hot list: rules that know none are no leave",
        Without("comity.cli.hotlist_check:_check_use", "if not rules.judges_lists:"),
        HOT_LIST("test_rules_without_hot_lists_are_told"),
    ),
    check(
        "hot list: what was removed is due no more, and nothing else goes",
        Instead("comity.cli.hot_list_record:Record.on_lists", "act in _ON_IT", "True"),
        HOT_LIST("test_record_prompts_before_the_year_is_over"),
    ),
    check(
        "hot list: whose access was ended lists nothing (Q8)",
        Without("comity.cli.hotlist_check:_lister", "require_access_kept("),
        HOT_LIST("test_user_whose_access_was_ended_lists_nothing"),
    ),
    check(
        "hot list: what is written down is judged by the rules in force",
        Without("comity.cli.hotlist_check:_require_own_rules", "if house is not None"),
        HOT_LIST("test_record_is_judged_by_the_rules_in_force"),
    ),
    check(
        "hot list: whose system was revoked lists nothing",
        Without("comity.cli.hotlist_check:_lister", "member.revoked.check_chain("),
        HOT_LIST("test_who_was_revoked_lists_nothing[certificate]"),
    ),
    check(
        "hot list: a key that the identity provider withdrew signs none",
        Instead("comity.cli.hotlist_check:_lister", "_published(end.home)", "None"),
        HOT_LIST("test_key_that_the_identity_provider_withdrew_signs_no_list"),
    ),
    check(
        "hot list: a tracking number that is a text goes to nobody (H2)",
        Without("comity.cli.hotlist_check:_hand_out", "for line, listed in"),
        HOT_LIST("test_tracking_number_that_is_a_text_does_not_travel"),
    ),
    check(
        "hot list: a record that can't be opened is no empty one",
        Body("comity.cli.hot_list_record:Record.closed_since", "return 0"),
        HOT_LIST("test_record_that_can_not_be_opened_is_no_empty_one"),
    ),
    check(
        "hot list: a day still to come is no entry and no review (H3)",
        Without("comity.gateway.hot_lists:_times", "if day is not None and day > "),
        HOT_LIST_FACTS("test_day_that_is_still_to_come_is_no_day_of_entry_or_review[entered-ENTER]"),
        falls=("Failed",),
    ),
)
