"""What shows a log that was rewritten, cut or forked."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    ACKNOWLEDGED,
    BESIDE,
    CRASH,
    MERKLE,
    MUST_NOT,
    NOTE,
    PEERS,
    RECONCILE,
    ROTATION,
    SERVING_KEYS,
    VERIFY,
    WAL,
)
from tests.patched_out.patching import Body, Instead, Without

CHECKS = (
    check(
        "audit: what stands beside the log has the digest that the entry names",
        Without("comity.audit.beside:BesideFolder.read", "if sha256(data).digest()"),
        BESIDE(
            "test_a_value_that_was_tampered_with_is_named[changed]",
            "test_evidence_carries_what_stands_beside",
        ),
    ),
    check(
        "audit: what stands beside the log is in the one form",
        Without("comity.audit.beside:parse_value", "if canonical(value) != data"),
        BESIDE("test_a_value_of_another_form_is_refused[space]"),
    ),
    check(
        "audit: an entry hides no field that it has itself",
        Instead("comity.audit.entry:_beside", "value.keys() & (_RESERVED | set(public))", "False"),
        BESIDE(
            "test_only_digests_and_lengths_name_what_stands_beside[own]",
            "test_only_digests_and_lengths_name_what_stands_beside[reserved]",
        ),
    ),
    check(
        "audit: a digest is a digest and names no other file",
        Without("comity.audit.entry:_beside", "if not isinstance(digest, str)"),
        BESIDE("test_only_digests_and_lengths_name_what_stands_beside[capitals]"),
        falls=("Failed",),
    ),
    check(
        "audit: a value stands beside the log before its entry is written",
        Without("comity.audit.log:SignedLog.append", "if any((each.beside"),
        BESIDE("test_a_large_entry_is_in_the_log_and_verifies"),
    ),
    check(
        "audit: what stands beside an entry has a limit",
        Without("comity.audit.entry:_put_beside", "if sum("),
        BESIDE("test_what_is_too_large_even_to_stand_beside_is_refused"),
    ),
    check(
        "audit: two checkpoints of one size have one root",
        Without("comity.audit.verify:_forks", "if earlier.checkpoint.root"),
        VERIFY("test_a_fork_shows_in_the_witness_alone"),
    ),
    check(
        "audit: a log has the root that a peer saw",
        Without("comity.audit.verify:_compare", "if other:"),
        VERIFY("test_a_tail_that_was_cut_and_regrown_fails"),
        falls=("ValueError",),
    ),
    check(
        "audit: a log has all that a peer saw",
        Without("comity.audit.verify:_compare", "if beyond:"),
        VERIFY("test_an_older_checkpoint_put_back_fails"),
    ),
    check(
        "audit: two copies of a log agree",
        Without("comity.audit.verify:_compare_copies", "if roots[log.size]"),
        VERIFY("test_two_copies_of_a_fork_are_found"),
    ),
    check(
        "audit: a log never shrinks, and has one root for a size",
        Without("comity.audit.peers:PeerCheckpoints.saw", "if checkpoint.size <= last.size:"),
        PEERS(
            "test_a_shrunk_log_is_a_contradiction_and_logged",
            "test_two_roots_for_one_size_are_a_contradiction",
            "test_what_was_seen_survives_a_restart",
        ),
    ),
    check(
        "audit: what has been said is not said again",
        Without("comity.audit.shown:ShownCheckpoints.due", "if last.substantive >="),
        PEERS("test_due_once_for_each_news_and_at_most_each_second", "test_two_ends_fall_silent"),
    ),
    check(
        "audit: a size is a plain decimal",
        Without("comity.audit.checkpoint:Checkpoint.parse", "if not size.isascii()"),
        NOTE(
            "test_a_size_that_is_not_a_plain_decimal_is_refused[01]",
            "test_a_size_that_is_not_a_plain_decimal_is_refused[ 1]",
        ),
    ),
    check(
        "audit: a checkpoint is of its origin",
        Without("comity.audit.checkpoint:open_checkpoint", "if checkpoint.origin"),
        NOTE("test_a_checkpoint_of_another_origin_is_refused"),
    ),
    check(
        "audit: a checkpoint is signed by the key that the trust names",
        (
            Without("comity.audit.folder_check:_check_head", "open_signed("),
            Without("comity.audit.folder_check:check_folder", "_check_keys("),
        ),
        VERIFY("test_bytes_of_every_file_count", "test_a_log_rebuilt_under_another_key_fails"),
    ),
    check(
        "audit: the key in force at its size signed a checkpoint",
        Instead(
            "comity.audit.key_history:KeyHistory.check_in_force",
            "any(key in signers for key in wanted)",
            "True",
        ),
        ROTATION(
            "test_an_old_key_alone_does_not_sign_beyond_the_rotation",
            "test_a_log_rebuilt_whole_under_the_new_key_fails",
            "test_a_new_key_alone_does_not_sign_what_came_before_it",
            "test_evidence_of_before_verifies_after_the_rotation",
            "test_a_peers_copy_signed_by_the_old_key_out_of_time_is_named",
        ),
    ),
    check(
        "audit: a log's own entries put its key in force",
        Without("comity.audit.folder_check:check_folder", "_check_keys("),
        ROTATION("test_a_log_rebuilt_whole_under_the_new_key_fails"),
    ),
    check(
        "audit: a peer's copy of a checkpoint is held to the log's own replacements of its key",
        Without("comity.audit.verify:_compare", "if log.history is not None"),
        ROTATION("test_a_peers_copy_signed_by_the_old_key_out_of_time_is_named"),
    ),
    check(
        "audit: evidence is held against the log that is at hand",
        Without("comity.audit.evidence:_Checking.run", "for note in sorted(checkpoints)"),
        ROTATION("test_evidence_is_held_against_the_log_that_is_at_hand"),
    ),
    *(
        check(
            f"{role}: a log key that the roster does not name starts no end",
            Without(where, "next_step("),
            SERVING_KEYS(f"test_an_end_does_not_start_with_a_key_that_is_not_its_logs[{role}]"),
            falls=("LogKeyMismatch",) if role == "broker" else (),
        )
        for role, where in (
            ("adapter", "comity.adapters.loading:load_credentials"),
            ("broker", "comity.broker.server:_check_own"),
            ("gateway", "comity.gateway.end:GatewayEnd.open"),
        )
    ),
    check(
        "audit: both keys sign that one replaces the other",
        Without("comity.audit.rotation:read_rotation", "if missing:"),
        ROTATION(
            "test_a_rotation_needs_the_word_of_both_keys[new-alone]",
            "test_a_rotation_needs_the_word_of_both_keys[old-alone]",
        ),
    ),
    check(
        "audit: a checkpoint that both keys signed is no replacement",
        Without("comity.audit.rotation:read_rotation", "if opened.text !="),
        ROTATION("test_a_rotation_needs_the_word_of_both_keys[plain-checkpoint]"),
    ),
    check(
        "audit: a replacement is of the log as it was before",
        Without("comity.audit.folder_check:_check_keys", "if roots[one.checkpoint.size]"),
        ROTATION("test_a_rotation_of_a_log_with_another_beginning_fails"),
    ),
    check(
        "audit: a key is replaced by the one that the trust names next",
        Without("comity.audit.key_history:KeyHistory.proven_by", "if number + 1 >= len(self.keys)"),
        ROTATION("test_a_rotation_to_a_key_that_the_trust_does_not_name_fails"),
    ),
    check(
        "audit: a walk over a log ends only under the key in force",
        Without("comity.audit.searching.walk:LogWalk.entries", "if not self._is_own:"),
        ROTATION("test_an_old_key_alone_does_not_sign_beyond_the_rotation"),
    ),
    check(
        "audit: a key is replaced while it is in force",
        Without("comity.audit.key_history:KeyHistory.proven_by", "if rotation.old != self.keys[number]"),
        ROTATION("test_keys_follow_each_other_in_the_order_of_the_roster"),
    ),
    check(
        "audit: once the new key signed, a peer takes nothing of the old one alone",
        Without("comity.audit.peers:PeerCheckpoints.saw", "check_goes_on(before[1], note, verifier_keys)"),
        ROTATION("test_peers_accept_both_keys_and_then_the_old_one_alone_no_more"),
    ),
    check(
        "audit: a log is one that the trust names",
        Without("comity.audit.folder_check:_check_head", "if not keys:"),
        VERIFY("test_a_log_that_the_trust_does_not_name_fails"),
    ),
    check(
        "audit: a tile that should be there is missed",
        Without("comity.audit.folder_check:_TreeCheck._check_tiles", "if name.level"),
        VERIFY("test_a_missing_file_is_named[tile/0/000]", "test_a_missing_file_is_named[tile/1/000.p/1]"),
    ),
    check(
        "audit: a tile agrees with the tree",
        Without("comity.audit.folder_check:_TreeCheck._check_tiles", "if fault:"),
        VERIFY(
            "test_bytes_of_every_file_count",
            "test_a_changed_hash_names_its_tile",
            "test_extra_partial_tiles_are_held_to_the_tree",
            "test_rubbish_is_a_finding_and_never_an_error[<lambda>0]",
        ),
    ),
    check(
        "audit: a changed entry is told from a changed tile",
        Without(
            "comity.audit.folder_check:_TreeCheck._decide", "if tiles is not None and merkle.root(tiles)"
        ),
        VERIFY("test_a_changed_byte_names_its_entry", "test_swapped_entries_do_not_verify"),
    ),
    check(
        "audit: a verifier key has its own hash",
        Without("comity.audit.note:VerifierKey.parse", "if key.hash.hex()"),
        NOTE(
            "test_a_verifier_key_that_is_not_one_is_refused[PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TX]",
            "test_a_verifier_key_that_is_not_one_is_refused[PeterNeumann+c84f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW]",
        ),
        VERIFY("test_bytes_of_every_file_count"),
    ),
    check(
        "audit: a note's signature is over its text",
        Without("comity.audit.note:VerifierKey.verify", "Ed25519PublicKey"),
        NOTE(
            "test_the_published_note_with_one_letter_changed_does_not_open",
            "test_a_changed_byte_never_opens_as_another_text",
        ),
        VERIFY("test_bytes_of_every_file_count"),
    ),
    check(
        "audit: no signature stands twice",
        Without("comity.audit.note:open_note", "if key in signers:"),
        NOTE("test_a_doubled_signature_is_refused"),
    ),
    check(
        "audit: a note is signed by a known key",
        (
            Without("comity.audit.note:open_note", "if not signers:"),
            Instead(
                "comity.audit.key_history:KeyHistory.check_in_force",
                "any(key in signers for key in wanted)",
                "True",
            ),
        ),
        NOTE("test_what_is_signed_opens_with_its_key_and_no_other"),
        PEERS("test_a_checkpoint_under_another_key_is_not_logged"),
        VERIFY("test_bytes_of_every_file_count", "test_a_log_rebuilt_under_another_key_fails"),
    ),
    check(
        "audit: an inclusion proof leads to the root",
        Without("comity.audit.merkle:verify_inclusion", "if computed != root:"),
        MUST_NOT("test_forged_path_is_rejected"),
        MERKLE("test_every_inclusion_proof_verifies_and_no_forged_one_does"),
    ),
    check(
        "audit: a tree never shrinks",
        Without("comity.audit.merkle:verify_consistency", "if not 0 <= old_size"),
        MERKLE("test_a_shrunk_tree_is_never_consistent"),
    ),
    check(
        "audit: a consistency proof leads to the new root",
        Without("comity.audit.merkle:verify_consistency", "if computed_new"),
        MERKLE("test_every_consistency_proof_verifies_and_no_forged_one_does"),
    ),
    check(
        "audit: a consistency proof leads to the old root",
        Without("comity.audit.merkle:verify_consistency", "if computed_old"),
        MERKLE("test_every_consistency_proof_verifies_and_no_forged_one_does"),
    ),
    check(
        "audit: a log has all that a peer saw of it",
        Without("comity.audit.verify:_compare", "if beyond:"),
        VERIFY("test_a_tail_cut_and_signed_again_with_the_right_key_fails"),
        falls=("ValueError",),
    ),
    check(
        "audit: evidence is signed by the peer whose it is",
        Without("comity.audit.folder_check:_TreeCheck._check_entry", "self._check_seen(index, entry)"),
        VERIFY("test_evidence_that_the_peer_never_signed_counts_against_the_witness"),
        falls=("AssertionError", "IndexError"),
    ),
    check(
        "audit: an entry is of the one form",
        Without("comity.audit.folder_check:_TreeCheck._check_entry", "if self._bad_entries <= MAX_FINDINGS:"),
        VERIFY("test_an_entry_in_another_form_is_named"),
        falls=("AssertionError", "IndexError"),
    ),
    check(
        "audit: entries lead to the root that is signed",
        Without(
            "comity.audit.folder_check:_TreeCheck._decide",
            "self._log.findings.append(f'the {self._checkpoint.size} entries",
        ),
        VERIFY("test_an_entry_changed_together_with_its_tile_does_not_verify"),
    ),
    check(
        "audit: the same checkpoint is logged once",
        Without("comity.audit.peers:PeerCheckpoints.saw", "if (last.size, last.root) =="),
        PEERS("test_the_same_checkpoint_is_logged_once"),
        falls=("PeerContradiction",),
    ),
    check(
        "audit: receipts that waited when an adapter ended are waited for again",
        Without("comity.adapters.server:_serve", "adapter.take_up("),
        ACKNOWLEDGED("test_receipt_that_was_open_at_a_restart_is_logged_as_missing_at_its_time"),
        falls=("ValueError",),
    ),
    check(
        "audit: what was acknowledged is there when a log opens",
        Without("comity.audit.wal:WriteAheadFile.open", "if self.next_index < acknowledged:"),
        CRASH("test_tail_cut_at_every_byte_before_what_was_acknowledged_is_refused"),
        WAL("test_an_acknowledged_tail_that_was_removed_is_refused"),
    ),
    check(
        "audit: damage to what was acknowledged is no torn tail",
        Without("comity.audit.wal:WriteAheadFile._check_tail", "if segment.is_torn"),
        WAL("test_damage_to_the_last_acknowledged_frame_is_refused"),
    ),
    check(
        "audit: a tile of an attempt that failed is durable before its checkpoint",
        Without("comity.audit.log:_Store.publish", "self.disk.settle("),
        CRASH("test_tile_of_an_attempt_that_failed_is_durable_before_the_checkpoint"),
        falls=("LogDamaged",),
    ),
    check(
        "audit: names that a killed process gave its files outlast the power before they are trusted",
        Without("comity.audit.log:_Store.open", "self.disk.sync_folder(self.log)"),
        CRASH("test_machine_that_loses_its_power_keeps_the_logs_word[20261420]"),
        CRASH("test_machine_that_loses_its_power_keeps_the_logs_word[30000651]"),
        falls=("LogDamaged",),
    ),
    check(
        "audit: a segment that holds nothing is no part of the chain",
        Without("comity.audit.wal:_chain", "if segment.next_index !="),
        CRASH("test_segment_that_was_removed_and_is_there_again_is_no_gap"),
    ),
    check(
        "audit: an exchange in a part of a log that its peers never saw is forked (L2)",
        Body("comity.audit.reconciling.judging:_Judging._fork", "return None"),
        RECONCILE(
            "test_rewritten_log_is_forked_against_the_checkpoint_that_a_peer_saw",
            "test_exchange_from_before_the_fork_matches",
        ),
    ),
    check(
        "audit: reconciliation holds a log's earlier partial tiles to its tree",
        Body("comity.audit.reconciling.earlier:_fault", "return ''"),
        RECONCILE("test_partial_tile_of_an_earlier_size_is_held_to_the_tree[3]"),
    ),
    check(
        "audit: an entry that is reconciled is of a known kind and a possible time",
        Without("comity.audit.reconciling.gathering:_Gathering._entry", "if kind not in KINDS"),
        RECONCILE(
            "test_whatever_an_end_signed_into_its_log_is_a_finding_and_no_crash[a kind that nobody knows]",
            "test_whatever_an_end_signed_into_its_log_is_a_finding_and_no_crash[a truth for a time]",
        ),
    ),
)
