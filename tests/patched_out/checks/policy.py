"""What makes a policy refuse when in doubt, and a marking hold."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    BUDGETS,
    BUDGETS_PATH,
    BUNDLE,
    DECISION,
    MARKINGS,
    MUST_NOT,
    OBLIGATIONS,
    PLATES,
    READINGS,
    READINGS_PATH,
    REASONS,
    REASONS_TOLD,
    SHIPPED,
)
from tests.patched_out.patching import Instead, Without

CHECKS = (
    # That nothing was allowed and that something failed is said twice: by Cedar's verdict and about it.
    check(
        "policy: what fails while it is evaluated permits nothing",
        (
            Instead(
                "comity.policy.cedar:_verdict",
                "result.allowed is True and not failed",
                "result.allowed is True",
            ),
            Without("comity.policy.decision:PolicyEngine._store", "if verdict.errors:"),
        ),
        DECISION("test_forbid_that_errors_refuses_although_cedar_would_skip_it"),
        MUST_NOT("test_policy_that_errors_permits_nothing"),
    ),
    check(
        "policy: a text with too few telling words is vague",
        Instead("comity.policy.reasons:told_by", "len(telling) < words.least_words", "False"),
        REASONS("test_text_that_could_stand_before_any_query_is_vague[burglary]"),
        REASONS_TOLD(
            "test_vague_reason_is_refused_with_its_policy_and_no_store_is_touched[burglary]",
        ),
    ),
    check(
        "policy: several readings need a permit that says so, and none of ICE's does (Q10)",
        Instead("comity.policy.decision:PolicyEngine._within_readings", "request.readings <= most", "True"),
        READINGS(
            "test_several_readings_need_a_permit_that_says_so",
            "test_strictest_of_several_permits_wins",
            "test_never_for_ice_by_any_shipped_law",
        ),
        READINGS_PATH("test_requester_without_permission_is_refused_as_a_whole"),
    ),
    check(
        "policy: more readings than the bound are refused, not cut (Q10)",
        Without("comity.policy.readings:readings_of", "if len(found) > MOST:"),
        READINGS("test_too_many_readings_are_refused_and_never_cut"),
    ),
    check(
        "policy: a permit holds as far as its budgets",
        Instead(
            "comity.policy.budgets:Budget.is_exceeded",
            "spent.of(self.scope, self.span) + self.costs(readings) > self.most",
            "False",
        ),
        BUDGETS(
            "test_question_over_a_budget_is_limited_under_its_policy",
            "test_each_budget_of_each_permit_holds",
        ),
        BUDGETS_PATH("test_question_over_the_budget_gets_a_signed_limit_that_says_when"),
    ),
    check(
        "policy: plate and case are no reason",
        Without("comity.policy.reasons:told_by", "found = _without(found, known)"),
        REASONS("test_plate_and_case_make_no_difference_between_two_texts"),
    ),
    check(
        "policy: a marking's parts agree",
        Without("comity.policy.markings:validate", "_checked(marking)"),
        MARKINGS(
            "test_law_enforcement_is_basic_never_specified",
            "test_marking_whose_parts_disagree_is_refused[<lambda>0]",
            "test_marking_whose_parts_disagree_is_refused[<lambda>1]",
            "test_marking_whose_parts_disagree_is_refused[<lambda>10]",
        ),
    ),
    check(
        "policy: a marking's banner is what its fields give",
        Without("comity.policy.markings:_same", "if given != expected:"),
        MARKINGS(
            "test_law_enforcement_is_basic_never_specified",
            "test_marking_whose_parts_disagree_is_refused[<lambda>4]",
            "test_marking_whose_parts_disagree_is_refused[<lambda>5]",
            "test_marking_whose_parts_disagree_is_refused[<lambda>6]",
        ),
    ),
    check(
        "policy: a marking names its provider",
        Without("comity.policy.markings:_valid_terms", "if not marking.provider:"),
        MARKINGS("test_marking_whose_parts_disagree_is_refused[<lambda>0]"),
    ),
    check(
        "policy: a marking tells the data's nature",
        Without("comity.policy.markings:_valid_terms", "if not marking.nature:"),
        MARKINGS("test_marking_whose_parts_disagree_is_refused[<lambda>1]"),
    ),
    check(
        "policy: LEI is never specified",
        Without("comity.policy.markings:_check_categories", "if category.removeprefix"),
        MARKINGS("test_law_enforcement_is_basic_never_specified"),
    ),
    check(
        "policy: a control is one that the scheme knows",
        Without("comity.policy.markings:make_marking", "_check_words(wanted, known"),
        MARKINGS(
            "test_control_that_the_scheme_does_not_know_is_refused[EYES ONLY]",
            "test_control_that_the_scheme_does_not_know_is_refused[REL TO USA, CAN]",
            "test_control_that_the_scheme_does_not_know_is_refused[LOCAL ONLY]",
        ),
        falls=("KeyError",),
    ),
    check(
        "policy: nothing combined is no marking",
        Without("comity.policy.markings:combine", "if not parts:"),
        MARKINGS("test_nothing_to_combine_is_no_marking"),
        falls=("ValueError",),
    ),
    check(
        "policy: a permit has a window",
        Without("comity.policy.limits:Terms.check_complete", "if not self.windows:"),
        BUNDLE('test_permit_without_a_required_annotation_is_refused[@max_window("none")\\n-@max_window]'),
        DECISION("test_permit_without_limits_does_not_pass_even_if_it_was_loaded[missing1]"),
    ),
    check(
        "policy: a permit has a retention",
        Without("comity.policy.limits:Terms.check_complete", "if self.retain_days is None:"),
        BUNDLE(
            'test_permit_without_a_required_annotation_is_refused[@retain_days("30")\\n-@retain_days]',
            "test_permit_that_includes_search_needs_limits_too[action]",
        ),
        DECISION(
            "test_permit_without_limits_does_not_pass_even_if_it_was_loaded[missing0]",
            "test_one_incomplete_permit_spoils_a_complete_one",
        ),
    ),
    check(
        "policy: an annotation is one that is known",
        Without("comity.policy.limits:read_terms", "if name not in _KNOWN:"),
        BUNDLE(
            'test_annotation_that_nobody_would_meet_is_refused[@retain_day("30")-did you mean `@retain_days`]'
        ),
    ),
    check(
        "policy: limits stand on permits alone",
        Without("comity.policy.limits:read_terms", "if not permits"),
        BUNDLE("test_limit_on_a_forbid_is_refused"),
    ),
    check(
        "policy: a limit is a number in its range",
        Instead("comity.policy.limits:_number", "not least <= int(value) <= most", "False"),
        BUNDLE('test_annotation_that_nobody_would_meet_is_refused[@max_reads("0")-is not a number from 1]'),
    ),
    check(
        "policy: no obligations are not the loosest",
        Without("comity.policy.obligations:strictest", "if not found:"),
        OBLIGATIONS("test_no_obligations_at_all_are_not_the_loosest"),
    ),
    check(
        "policy: a provider without stores refuses",
        Without("comity.policy.decision:PolicyEngine._decide", "if not stores:"),
        DECISION("test_provider_without_stores_refuses"),
        falls=("ValueError",),
    ),
    check(
        "policy: what is not allowed is refused",
        Without("comity.policy.decision:PolicyEngine._store", "if not verdict.allowed:"),
        DECISION(
            "test_empty_bundle_permits_nothing",
            "test_forbid_with_refer_refers",
            "test_referral_does_not_survive_a_plain_forbid",
        ),
    ),
    check(
        "policy: an incomplete permit is none",
        Without("comity.policy.decision:PolicyEngine._store", "if not policies or any"),
        DECISION(
            "test_permit_without_limits_does_not_pass_even_if_it_was_loaded[missing0]",
            "test_permit_without_limits_does_not_pass_even_if_it_was_loaded[missing1]",
            "test_one_incomplete_permit_spoils_a_complete_one",
        ),
    ),
    check(
        "policy: an agreement bounds what a policy permits",
        Without("comity.policy.decision:PolicyEngine._store", "if agreed:"),
        DECISION(
            "test_no_agreement_refuses_whatever_the_policies_say",
            "test_purpose_outside_the_agreement_refuses",
        ),
    ),
    check(
        "policy: an area finds out no withheld place",
        Without(
            "comity.policy.decision:PolicyEngine._permit",
            "if request.has_area and ('LOCATION' in hidden or grid):",
        ),
        MUST_NOT("test_area_cannot_probe_a_withheld_place"),
        DECISION("test_area_cannot_feel_for_a_place_that_is_withheld"),
        SHIPPED("test_every_case_of_a_shipped_bundle_holds[dea]"),
    ),
    check(
        "policy: a store of whose period nothing is left is dropped",
        Without(
            "comity.policy.decision:PolicyEngine._permit",
            "if limit is not None and limit.earliest >= request.period_end:",
        ),
        DECISION("test_store_of_which_nothing_is_left_is_dropped_and_the_rest_is_searched"),
        SHIPPED(
            "test_every_case_of_a_shipped_bundle_holds[dea]",
            "test_every_case_of_a_shipped_bundle_holds[vendor]",
        ),
    ),
    check(
        "policy: a bundle has no stray file",
        Without("comity.policy.bundle:read_files", "if path.suffix"),
        BUNDLE("test_stray_file_among_the_policies_is_refused"),
    ),
    check(
        "policy: a bundle plants no facts",
        Without("comity.policy.bundle:_check_entities", "if not isinstance(uid, dict)"),
        BUNDLE("test_bundle_cannot_plant_the_facts_of_a_question"),
    ),
    check(
        "policy: a schema describes our questions",
        Without("comity.policy.bundle:_parse", "if fault:"),
        BUNDLE(
            "test_schema_that_describes_other_questions_is_refused[  goodStanding: Bool,-]",
            "test_schema_that_describes_other_questions_is_refused[ViewVehicle, -]",
        ),
    ),
    check(
        "policy: no two policies have one id",
        Without("comity.policy.bundle:read_policies", "if (other := policies.get(policy.policy_id))"),
        BUNDLE("test_two_policies_with_one_id_are_refused"),
    ),
    check(
        "policy: a bundle has no templates",
        Without("comity.policy.bundle:_validated", "if parsed['templates']:"),
        BUNDLE("test_template_is_refused"),
    ),
    check(
        "policy: a permit of a search has limits at load",
        Without("comity.policy.bundle:_policy", "terms.check_complete()"),
        BUNDLE(
            'test_permit_without_a_required_annotation_is_refused[@retain_days("30")\\n-@retain_days]',
            'test_permit_without_a_required_annotation_is_refused[@max_window("none")\\n-@max_window]',
            "test_permit_that_includes_search_needs_limits_too[action]",
        ),
    ),
    check(
        "policy: a plate has characters left",
        Without("comity.policy.plates:fold", "if not folded:"),
        MUST_NOT(
            "test_query_with_a_field_missing_or_wrong_is_malformed[plate-None-plate.number]",
            "test_query_with_a_field_missing_or_wrong_is_malformed[plate-Plate-plate.number]",
        ),
        PLATES(
            "test_what_is_no_plate_is_refused[   ]",
            "test_what_is_no_plate_is_refused[---]",
            "test_what_is_no_plate_is_refused[\\u0301]",
        ),
    ),
    check(
        "policy: a plate holds letters and figures",
        Without("comity.policy.plates:fold", "if folded and"),
        PLATES("test_what_is_no_plate_is_refused[8ABC\\x00123]"),
    ),
    check(
        "policy: a word of a question is known",
        Without("comity.policy.facts:_known", "if value not in known:"),
        DECISION("test_request_with_unknown_words_cannot_be_built"),
    ),
    check(
        "policy: a view whose forbid failed is withheld",
        Instead(
            "comity.policy.cedar:_verdict", "result.allowed is True and not failed", "result.allowed is True"
        ),
        DECISION("test_forbid_that_errors_on_a_view_withholds"),
    ),
    check(
        "policy: an obligation that is not implemented refuses",
        Without("comity.policy.decision:PolicyEngine._store", "if not policies or any"),
        DECISION("test_obligation_that_is_not_implemented_refuses"),
        falls=("ObligationUnknown",),
    ),
    check(
        "policy: an element outside the agreement is withheld",
        Without("comity.policy.decision:PolicyEngine._permit", "withheld.extend(_not_granted("),
        DECISION("test_element_outside_the_agreement_is_withheld"),
    ),
    check(
        "policy: training that is to come is none",
        Instead("comity.policy.cedar:_subject", "instant <= request.now + SKEW", "True"),
        DECISION("test_training_that_never_was_or_is_to_come_is_no_training[trained1]"),
    ),
)
