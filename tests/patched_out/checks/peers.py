"""What holds a peer's log to what it showed and promised, and what lifts it."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import FORKED_PROVIDER, PARDON, PEERS, REWRITTEN, WITNESSED
from tests.patched_out.patching import Body, Instead, Without

SEEN = "comity.audit.peers:PeerCheckpoints"
SHOWN = "comity.audit.shown:ShownCheckpoints"
NO_CONSISTENCY = Body("comity.audit.merkle:verify_consistency", "return None")
NO_INCLUSION = Body("comity.audit.merkle:verify_inclusion", "return None")
NO_HASHES = Without("comity.audit.peers:_check_hashes", "if len(path) > MAX_PATH")

CHECKS = (
    check(
        "peers: a newer checkpoint continues the one that was seen",
        NO_CONSISTENCY,
        PEERS(
            "test_a_fork_that_keeps_growing_is_a_contradiction",
            "test_a_wrong_proof_is_a_contradiction[cut]",
            "test_a_wrong_proof_is_a_contradiction[flipped]",
            "test_a_wrong_proof_is_a_contradiction[too-long]",
            "test_a_wrong_proof_is_a_contradiction[empty]",
        ),
    ),
    check(
        "peers: a fork shows in the proof of consistency, or of the next promise",
        (NO_CONSISTENCY, NO_INCLUSION),
        FORKED_PROVIDER("test_provider_whose_log_is_another_is_asked_nothing_more[grows_a_fork]"),
    ),
    check(
        "peers: hashes of a proof are hashes, and as many as a proof may have",
        (NO_HASHES, NO_CONSISTENCY),
        PEERS(
            "test_a_wrong_proof_is_a_contradiction[short-hashes]",
            "test_a_wrong_proof_is_a_contradiction[thousands]",
        ),
    ),
    check(
        "peers: a checkpoint counts once its proof has come",
        Instead(f"{SEEN}.saw", "before is None", "True"),
        PEERS(
            "test_a_newer_checkpoint_is_logged_once_its_proof_has_come",
            "test_a_proof_that_does_not_come_is_told",
        ),
    ),
    check(
        "peers: a proof is for the sizes that were asked for",
        (Without(f"{SEEN}.proven", "if (proof.old_size, proof.new_size)"),),
        PEERS("test_a_proof_for_other_sizes_or_of_nothing_asked_is_no_answer"),
        falls=("PeerContradiction",),
    ),
    check(
        "peers: a proof that doesn't come is told of",
        Without(f"{SEEN}.tick", "await self._proof_overdue(peer_origin, peer, seen)"),
        PEERS(
            "test_a_proof_that_does_not_come_is_told",
            "test_a_peer_that_sends_checkpoints_and_no_proof_is_told_of",
        ),
    ),
    check(
        "peers: who reconnects still owes the proof",
        Without(f"{SEEN}.forget", "peer.passed += 1"),
        PEERS("test_a_peer_that_sends_checkpoints_and_no_proof_is_told_of[True]"),
    ),
    check(
        "peers: a promised entry stands in its place",
        NO_INCLUSION,
        PEERS(
            "test_a_broken_promise_is_a_contradiction[another entry there]",
            "test_a_broken_promise_is_a_contradiction[a wrong path]",
        ),
        FORKED_PROVIDER("test_provider_that_promises_another_entry_than_it_logs_is_refused"),
    ),
    check(
        "peers: a promise that nothing shows is told of",
        Without(f"{SEEN}.tick", "await self._promises_overdue(peer_origin, peer, seen)"),
        PEERS("test_a_promise_that_nothing_shows_is_told"),
        falls=("AssertionError", "StopIteration", "RuntimeError"),
    ),
    check(
        "peers: a statement promises of its signer's log alone",
        Without(f"{SEEN}.promised", "if promise.origin != peer_origin"),
        PEERS("test_a_promise_of_another_log_is_not_held_against_this_one"),
    ),
    check(
        "peers: the refusal stands in the own log",
        Without("comity.audit.summary:Summary._after", "if kind == CONTRADICTION:"),
        PEERS(
            "test_a_refused_peer_is_not_heard_after_a_restart_either",
            "test_a_shrunk_log_is_a_contradiction_and_logged",
        ),
        FORKED_PROVIDER(
            "test_refusal_outlives_a_restart_and_honest_ends_are_not_accused_by_theirs",
        ),
        falls=("AssertionError", "PeerContradiction"),
    ),
    check(
        "peers: a refused peer is heard no more",
        Instead(f"{SEEN}.is_refused", "peer_origin in self._log.refused", "False"),
        PEERS("test_a_refused_peer_is_not_heard_after_a_restart_either"),
    ),
    check(
        "peers: a refusal doesn't wait for the disk",
        Instead(f"{SEEN}.is_refused", "peer_origin in self._unwritten", "False"),
        PEERS("test_a_peer_is_refused_although_that_cannot_be_logged_now"),
    ),
    check(
        "peers: a session with a refused end is closed, and none is opened",
        Without("comity.links.sessions.core:SessionHub._pair", "if self.is_barred is not None"),
        FORKED_PROVIDER("test_provider_whose_log_is_another_is_asked_nothing_more"),
    ),
    check(
        "peers: a refused provider is left out of the plan",
        Without("comity.gateway.gateway:Gateway._plan", "if self.logs.is_refused(name):"),
        FORKED_PROVIDER("test_provider_whose_log_is_another_is_asked_nothing_more"),
    ),
    check(
        "peers: a refused end gets no link",
        Without("comity.broker.router:Router._judge", "if self._witness.is_refused(admitted.origin):"),
        FORKED_PROVIDER("test_end_whose_log_forks_gets_no_link"),
    ),
    check(
        "peers: a broker that forked is not dialled",
        Instead("comity.links.client:LinkClient._why_barred", "self._barred is None", "True"),
        REWRITTEN("test_rewritten_log_is_caught_by_every_end_that_saw_it"),
    ),
    check(
        "peers: a checkpoint is answered for twice at most",
        Instead(f"{SHOWN}.prove", "sent.answered >= ANSWERS", "False"),
        PEERS("test_two_thousand_requests_have_two_proofs_computed"),
    ),
    check(
        "peers: proofs are of what was sent, and bounded",
        Without(f"{SHOWN}.prove", "if request.old_size > sent.size"),
        PEERS("test_two_thousand_requests_have_two_proofs_computed"),
        falls=("AssertionError", "ValueError"),
    ),
    check(
        "peers: a cosignature is by the peer's log key, over that checkpoint",
        Without(f"{SHOWN}.cosigned", "if not any("),
        PEERS(
            "test_a_forged_cosignature_is_not_kept[by another key]",
            "test_a_forged_cosignature_is_not_kept[in another name]",
        ),
    ),
    check(
        "peers: a cosignature's own signature verifies",
        Without("comity.audit.cosignature:_verified", "cosigner.key.verify("),
        PEERS("test_a_forged_cosignature_is_not_kept[of another root]"),
    ),
    check(
        "peers: a cosignature is one line of some length",
        Without(f"{SHOWN}.cosigned", "if len(line) > MAX_LINE_BYTES"),
        PEERS("test_a_forged_cosignature_is_not_kept[two lines]"),
    ),
    check(
        "peers: what a quorum cosigned has the root of this log",
        Instead("comity.audit.witnessed:witness_fault", "root_at(claimed.size) != claimed.root", "False"),
        WITNESSED("test_cosignatures_of_another_tree_count_for_nothing"),
    ),
    check(
        "peers: nothing about an exchange stands after what a quorum cosigned",
        Instead("comity.audit.witnessed:witness_fault", "last_exchange < claimed.size", "True"),
        WITNESSED("test_exchange_after_the_last_cosigned_checkpoint_is_not_witnessed"),
    ),
    check(
        "peers: evidence under a policy file has its quorum",
        Without("comity.audit.evidence:_Checking._entry", "if policy is not None"),
        WITNESSED("test_evidence_carries_the_cosignatures_that_a_policy_file_asks_for"),
    ),
    check(
        "peers: who is not refused is not pardoned, and nobody without a reason",
        Body("comity.cli.audit_pardon:_require_pardonable", "return reason or 'none'"),
        PARDON("test_pardon_without_reason_or_of_nobody_is_wrong_use"),
    ),
)
