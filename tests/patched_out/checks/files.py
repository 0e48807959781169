"""The files whose tests are shown to test something, and the honest test of each."""

from __future__ import annotations

from tests.patched_out.check import File

MUST_NOT = File(
    "tests/adapters/test_must_not.py", honest="test_announcement_that_comes_a_moment_later_counts"
)
EXCHANGE_PATH = File(
    "tests/adapters/test_path.py", honest="test_permitted_query_is_answered_with_marked_reads"
)
RECOMPUTING = File("tests/adapters/test_recomputing.py", honest="test_every_decision_comes_out_the_same")
ADOPTING = File("tests/policy/test_adopting.py", honest="test_bundle_that_its_agency_signed_is_its_law")
ROSTER_INBOX = File("tests/links/test_roster.py", honest="test_what_is_cut_is_put_together_again")
HANDOVER = File(
    "tests/broker/test_handover.py", honest="test_waiting_link_that_is_displaced_is_logged_as_closed"
)
LAPSED = File(
    "tests/broker/test_lapsed.py",
    honest="test_lapsed_agency_asks_and_answers_nothing_and_keeps_its_links[in time]",
)
EVIDENCE = File("tests/audit/test_evidence.py", honest="test_what_was_not_opened_is_nowhere_in_the_evidence")
OPEN_CALLS = File(
    "tests/gateway/test_calls.py", honest="test_call_without_a_verified_certificate_is_left_to_its_own_check"
)
FOLLOWING_LINKS = File(
    "tests/links/test_following.py",
    honest="test_link_under_the_operators_new_ca_follows_the_one_under_the_old",
)
ADAPTER_SERVER = File(
    "tests/adapters/test_server.py", honest="test_process_without_a_broker_stays_up_and_stops_cleanly"
)
OWN_LISTS = File(
    "tests/certs/test_own_lists.py",
    honest="test_own_list_is_signed_by_the_identity_key_alone",
)
OBLIGED = File(
    "tests/adapters/test_obligations_met.py",
    honest="test_period_is_clipped_to_what_the_one_store_keeps",
)
RENDERED = File("tests/cli/test_rendering_markings.py", honest="test_file_that_is_there_is_not_overwritten")
WINDOWS = File("tests/policy/test_windows.py", honest="test_jurisdiction_is_the_requesters_own")
GRIDS = File("tests/policy/test_grids.py", honest="test_grid_tells_the_size_of_its_cells")
HIDING = File("tests/policy/test_hiding.py", honest="test_what_is_not_hidden_is_shown_as_it_is")
REPLAY = File("tests/adapters/test_replay.py", honest="test_another_agency_may_use_the_same_id")
ACKNOWLEDGED = File(
    "tests/adapters/test_acknowledgements.py",
    honest="test_signed_acknowledgement_is_logged_with_its_evidence",
)
ACTS = File("tests/audit/test_acts.py", honest="test_act_is_written_directly_while_the_process_is_down")
SEARCH = File("tests/audit/test_search.py", honest="test_plate_is_found_however_it_is_written")
QUARTER = File("tests/audit/test_review.py", honest="test_smaller_sample_is_part_of_a_larger_one")
STATISTICS = File("tests/audit/test_statistics.py", honest="test_both_ends_and_the_broker_count_the_same")
CRASH = File("tests/audit/test_crash.py", honest="test_clock_that_jumps_back_changes_no_order")
RECONCILE = File("tests/audit/test_reconcile.py", honest="test_three_honest_ends_match")
WAL = File("tests/audit/test_wal.py", honest="test_what_was_written_is_there_again")
MERKLE = File("tests/audit/test_merkle.py", honest="test_published_roots")
NOTE = File("tests/audit/test_note.py", honest="test_checkpoints_survive_signing")
PARDON = File("tests/audit/test_pardon.py", honest="test_who_is_refused_and_why_is_listed")
WITNESSED = File("tests/audit/test_witnessed.py", honest="test_log_is_witnessed_by_what_lies_beside_it")
FIRST_HOP = File(
    "tests/gateway/test_first_hop.py",
    honest="test_assertion_with_the_certificate_that_it_names_is_let_in",
)
FOLLOWING_JWKS = File(
    "tests/certs/test_following_jwks.py", honest="test_before_the_first_set_the_roster_alone_decides"
)
JWKS_SOURCE = File("tests/certs/test_jwks_source.py", honest="test_file_is_read_up_to_its_bound")
FORKED_PROVIDER = File(
    "tests/test_forked_provider.py", honest="test_honest_ends_prove_and_cosign_all_that_they_show"
)
PEERS = File(
    "tests/audit/test_peers.py", honest="test_the_first_checkpoint_is_logged_and_cosigned_with_its_note"
)
IDENTITIES = File(
    "tests/certs/test_identity_rotation.py",
    honest="test_agreement_goes_on_with_a_key_that_the_other_party_accepted",
)
ROTATE_IDENTITY = File("tests/cli/test_rotate_identity.py", honest="test_operator_replaces_its_identity_key")
ROTATE_KEY = File("tests/cli/test_rotate_key.py", honest="test_each_step_may_be_the_last_before_a_crash")
SERVING_KEYS = File(
    "tests/test_log_key_while_serving.py", honest="test_an_end_serves_with_the_key_that_it_has"
)
BESIDE = File(
    "tests/audit/test_beside.py", honest="test_an_entry_is_whole_up_to_its_limit_and_not_a_byte_beyond"
)
ROTATION = File("tests/audit/test_key_rotation.py", honest="test_both_keys_sign_from_the_rotation_on")
TRUST = File("tests/audit/test_trust.py", honest="test_the_keys_of_all_logs_come_from_the_signed_roster")
VERIFY = File("tests/audit/test_verify.py", honest="test_whole_logs_verify")
ADMISSION = File("tests/broker/test_admission.py", honest="test_member_with_its_own_leaf_is_admitted")
DESK = File(
    "tests/broker/test_desk.py", honest="test_answered_exchange_is_routed_announced_stamped_accounted"
)
ACCOUNT = File(
    "tests/broker/test_exchange.py", honest="test_receipt_that_verified_gives_its_own_kind_and_a_stamp"
)
ORDERS = File("tests/broker/test_orders.py", honest="test_good_order_is_taken_with_ceilings_and_leaf_order")
RECEIPTS = File("tests/broker/test_receipts.py", honest="test_good_receipt_is_stamped")
BOUNDS = File(
    "tests/broker/test_review_bounds.py",
    honest="test_refusals_while_the_log_is_unwritable_do_not_fill_the_memory",
)
AGREEMENTS = File("tests/certs/test_agreements.py", honest="test_agreement_signed_by_both")
ASSERTIONS = File("tests/certs/test_assertions.py", honest="test_honest_assertion_vouches_for_its_user")
BAD_CERTIFICATES = File("tests/certs/test_bad_certificates.py", honest="test_honest_kind_is_accepted[a leaf]")
CA = File("tests/certs/test_ca.py", honest="test_saved_ca_loads_and_issues")
CREDENTIALS = File("tests/certs/test_credentials.py", honest="test_credentials_give_chain_id_keys_and_end")
ENVELOPE = File(
    "tests/certs/test_envelope.py", honest="test_opening_gives_signed_bytes_not_a_new_serialization"
)
ENVELOPE_JSON = File("tests/certs/test_envelope_json.py", honest="test_json_form_has_the_fields_of_dsse")
ENVELOPE_VECTORS = File("tests/certs/test_envelope_vectors.py", honest="test_envelope_is_accepted")
KEYS = File("tests/certs/test_keys.py", honest="test_saved_key_is_private_and_loads_again")
LEAF = File(
    "tests/certs/test_leaf_verification.py", honest="test_leaf_of_its_own_ca_is_accepted_and_described"
)
AUTHORITY_KEYS = File("tests/certs/test_authority_keys.py", honest="test_change_that_both_signed_is_followed")
PUBLISHED = File("tests/certs/test_published.py", honest="test_moment_between_two_writes_is_waited_for")
ROSTER = File("tests/certs/test_roster.py", honest="test_honest_roster_is_accepted")
SPIFFE = File("tests/certs/test_spiffe.py", honest="test_id_is_read_into_domain_and_path")
EXCHANGE = File(
    "tests/gateway/test_exchange.py", honest="test_verified_stamped_results_of_both_providers_are_shown"
)
GATEWAY = File("tests/gateway/test_gateway.py", honest="test_summary_comes_last_and_accounts_for_everyone")
QUESTION = File("tests/gateway/test_question.py", honest="test_complete_request_is_a_question")
RELOAD = File("tests/gateway/test_reload.py", honest="test_new_member_is_asked_once_there_is_an_agreement")
REVIEW = File(
    "tests/gateway/test_review_gateway.py",
    honest="test_unknown_outcome_of_a_provider_whose_receipt_is_here_is_no_fault",
)
LOOPBACK = File("tests/broker/test_broker_loopback.py", honest="test_exchange_over_real_links")
LIMITS = File(
    "tests/gateway/test_limits.py", honest="test_place_of_a_question_that_is_not_asked_is_free_again"
)
SUBJECTS = File(
    "tests/gateway/test_subjects.py", honest="test_user_in_good_standing_trained_and_logged_on_may_ask"
)
ATTACKS = File("tests/links/sessions/test_attacks.py", honest="test_honest_handshake_passes_the_odd_gateway")
CODEC = File("tests/links/sessions/test_codec.py", honest="test_sizes_around_a_bucket_s_edge")
HUB = File("tests/links/sessions/test_hub.py", honest="test_messages_travel_both_ways_in_order")
SESSION_TRUST = File(
    "tests/links/sessions/test_review_trust_and_faults.py",
    honest="test_session_that_is_opened_while_the_link_ends_is_no_fault",
)
LINK = File("tests/links/test_state.py", honest="test_greeting_and_welcome_come_first")
BUNDLE = File("tests/policy/test_bundle_check.py", honest="test_agency_may_name_store_classes_of_its_own")
DECISION = File("tests/policy/test_decision.py", honest="test_permissive_bundle_permits")
MARKINGS = File("tests/policy/test_markings.py", honest="test_cui_banner_is_written_as_the_registry_says")
OBLIGATIONS = File("tests/policy/test_obligations.py", honest="test_clipping_never_widens")
REASONS = File(
    "tests/policy/test_reasons.py",
    honest="test_text_that_names_somebody_or_something_tells",
)
REASONS_TOLD = File("tests/adapters/test_reasons_told.py", honest="test_words_of_the_bundle_in_force_decide")
READINGS = File(
    "tests/policy/test_readings.py", honest="test_table_is_not_carried_on_from_one_pair_to_the_next"
)
READINGS_PATH = File("tests/adapters/test_readings_path.py", honest="test_exactly_the_plate_names_no_reading")
READINGS_GATEWAY = File("tests/gateway/test_readings.py", honest="test_reads_of_named_readings_are_shown")
BUDGETS = File("tests/policy/test_budgets.py", honest="test_budgets_are_read_in_their_order")
BUDGETS_PATH = File(
    "tests/adapters/test_budgets_path.py", honest="test_other_agency_is_answered_while_one_is_limited"
)
SPENDING = File("tests/adapters/test_spending.py", honest="test_budgets_are_told_in_words")
PLATES = File("tests/policy/test_plates.py", honest="test_ways_to_write_one_plate_fold_alike")
SHIPPED = File(
    "tests/policy/test_shipped_bundles.py", honest="test_every_case_of_a_shipped_bundle_holds[cbp]"
)
REWRITTEN = File("tests/test_rewritten_log.py", honest="test_log_that_only_grows_is_refused_by_nobody")
LYING_BROKER = File(
    "tests/test_lying_broker.py", honest="test_lie_that_changes_nothing_changes_nothing[announces twice]"
)
LYING_PROVIDER = File(
    "tests/test_lying_provider.py", honest="test_one_receipt_repeated_is_one_receipt[in the session]"
)
LYING_REQUESTER = File(
    "tests/test_lying_requester.py",
    honest="test_assertion_for_another_certificate_is_the_gateways_to_refuse",
)
STOLEN_KEY = File("tests/test_stolen_key.py", honest="test_leaf_without_a_fault_opens_a_link")
ON_THE_WIRE = File("tests/test_frames_on_the_wire.py", honest="test_systems_name_alone_passes_the_same_tool")
RETENTION = File("tests/audit/test_retention.py", honest="test_terms_of_the_rules_are_the_defaults")
CONTRACT_END = File("tests/cli/test_contract_end.py", honest="test_period_of_an_export_is_the_whole_log")
OWN_RECORDS = File("tests/test_own_records.py", honest="test_errors_of_retrieval_are_in_the_catalogue")
REDACTION = File("tests/audit/test_redaction.py", honest="test_copy_with_nothing_open_verifies")

HOUSE = File("tests/policy/test_house.py", honest="test_each_provider_is_judged_by_itself")
HOT_LIST = File("tests/cli/test_hotlist.py", honest="test_batch_that_keeps_to_the_guidance_is_not_stopped")
HOT_LIST_FACTS = File(
    "tests/gateway/test_hot_lists.py",
    honest="test_year_that_is_given_is_one_year_by_the_rule[any day]",
)
HOUSE_RULES = File("tests/test_house_rules.py", honest="test_warning_is_shown_before_any_read")

SUSPENDING = File("tests/adapters/test_suspension.py", honest="test_one_users_refusals_suspend_nobody_else")
SUSPENSION = File(
    "tests/policy/test_suspension.py", honest="test_shipped_bundles_suspend_until_recertification"
)
OWN_PEOPLE = File("tests/gateway/test_people.py", honest="test_provider_that_noted_an_act_is_logged")
COMPARING = File(
    "tests/audit/test_people.py", honest="test_user_with_training_review_and_logons_has_nothing_found"
)
USER_FACTS = File(
    "tests/policy/test_user_facts.py",
    honest="test_vendor_takes_the_text_that_the_demonstrations_users_accept",
)
DUE = File("tests/certs/test_due.py", honest="test_duty_falls_due_on_its_day_of_the_month")

PAIRS = File("tests/certs/test_pairs.py", honest="test_good_pair_is_put_in_force")
ISSUING = File(
    "tests/certs/test_issuing.py",
    honest="test_issuing_ca_signs_what_peers_take_while_the_agencys_key_is_offline",
)
REVOCATIONS = File(
    "tests/certs/test_revocations.py", honest="test_list_names_what_is_revoked_and_nothing_else"
)
REVOKED = File("tests/test_revocation.py", honest="test_who_is_not_revoked_is_answered")
REVOKED_KEY = File("tests/test_revoked_statement_key.py", honest="test_who_is_not_revoked_is_answered")
REVOKED_AT_START = File(
    "tests/test_start_with_a_revoked_key.py",
    honest="test_end_takes_the_next_key_at_its_start_where_the_old_one_counts_no_more",
)
WITHDRAWN = File(
    "tests/gateway/test_withdrawn.py", honest="test_revocation_withdraws_nothing_that_was_shown_whole"
)
FILES = (
    PAIRS,
    ISSUING,
    REVOCATIONS,
    REVOKED,
    REVOKED_KEY,
    REVOKED_AT_START,
    WITHDRAWN,
    DUE,
    SUSPENDING,
    SUSPENSION,
    OWN_PEOPLE,
    COMPARING,
    USER_FACTS,
    HOUSE,
    HOUSE_RULES,
    HOT_LIST,
    HOT_LIST_FACTS,
    ACTS,
    SEARCH,
    QUARTER,
    STATISTICS,
    ACKNOWLEDGED,
    RETENTION,
    CONTRACT_END,
    OWN_RECORDS,
    REDACTION,
    CRASH,
    ADOPTING,
    IDENTITIES,
    ROTATE_IDENTITY,
    RECOMPUTING,
    EXCHANGE_PATH,
    RECONCILE,
    WAL,
    MUST_NOT,
    REPLAY,
    MERKLE,
    NOTE,
    PEERS,
    PARDON,
    WITNESSED,
    FORKED_PROVIDER,
    TRUST,
    VERIFY,
    ROTATION,
    BESIDE,
    SERVING_KEYS,
    ROTATE_KEY,
    ADMISSION,
    DESK,
    ACCOUNT,
    ORDERS,
    RECEIPTS,
    BOUNDS,
    AGREEMENTS,
    ASSERTIONS,
    BAD_CERTIFICATES,
    CA,
    CREDENTIALS,
    ENVELOPE,
    ENVELOPE_JSON,
    ENVELOPE_VECTORS,
    KEYS,
    LEAF,
    AUTHORITY_KEYS,
    PUBLISHED,
    ROSTER,
    SPIFFE,
    EXCHANGE,
    GATEWAY,
    QUESTION,
    RELOAD,
    REVIEW,
    SUBJECTS,
    LOOPBACK,
    LIMITS,
    ATTACKS,
    CODEC,
    HUB,
    SESSION_TRUST,
    LINK,
    BUNDLE,
    OWN_LISTS,
    ROSTER_INBOX,
    HANDOVER,
    LAPSED,
    EVIDENCE,
    OPEN_CALLS,
    FOLLOWING_LINKS,
    ADAPTER_SERVER,
    OBLIGED,
    RENDERED,
    WINDOWS,
    GRIDS,
    HIDING,
    DECISION,
    MARKINGS,
    OBLIGATIONS,
    REASONS,
    READINGS,
    READINGS_PATH,
    READINGS_GATEWAY,
    BUDGETS,
    BUDGETS_PATH,
    SPENDING,
    REASONS_TOLD,
    PLATES,
    SHIPPED,
    LYING_BROKER,
    REWRITTEN,
    LYING_PROVIDER,
    LYING_REQUESTER,
    STOLEN_KEY,
    ON_THE_WIRE,
    FIRST_HOP,
    FOLLOWING_JWKS,
    JWKS_SOURCE,
)
