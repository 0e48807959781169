"""What stops or shows the lies that the broker tells to the whole federation.

Most lies meet more than one check. Where each alone leaves the test green, all of them are patched out.
"""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import ATTACKS, LYING_BROKER, REWRITTEN
from tests.patched_out.checks.shared import ANY_NUMBER, ANY_SIGNATURE, ANYBODY, IN_CLEAR
from tests.patched_out.patching import Body, Instead, Without

TLS = "comity.links.sessions.tls"
HUB = "comity.links.sessions.hub"
ACCOUNT = "comity.gateway.verification:verify_account"
NO_CONSISTENCY = Body("comity.audit.merkle:verify_consistency", "return None")
FINDINGS = "comity.gateway.findings:contradictions"
EXCHANGE = "comity.gateway.exchange:Exchange"


ANY_LANE = (
    Instead(f"{HUB}:GatewaySessions._opened", "opened.lane != LANE", "False"),
    Instead(f"{HUB}:AdapterSessions._unacceptable", "opened.lane != LANE", "False"),
)


def _clear(*lies: str) -> tuple[str, ...]:
    return LYING_BROKER(
        *(f"test_lie_in_clear_is_a_finding_and_takes_no_signed_answer_away[{lie}]" for lie in lies)
    )


def _records(*lies: str) -> tuple[str, ...]:
    return LYING_BROKER(
        *(f"test_record_that_is_not_the_senders_next_ends_its_session_alone[{lie}]" for lie in lies)
    )


CHECKS = (
    check(
        "session: records are encrypted and authenticated",
        IN_CLEAR,
        ATTACKS(
            "test_flipped_bit_is_never_delivered[60]",
            "test_flipped_bit_is_never_delivered[300]",
            "test_dropped_and_renumbered_record_ends_the_session",
            "test_repeated_and_renumbered_record_ends_the_session",
            "test_reordered_records_end_the_session",
            "test_tampered_answer_is_never_delivered",
        ),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "session: records are authenticated and numbered",
        (*IN_CLEAR, ANY_NUMBER),
        ATTACKS("test_dropped_record_ends_the_session", "test_repeated_record_ends_the_session"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "session: the peer is the one that was expected",
        ANYBODY,
        ATTACKS(
            "test_provider_in_another_s_place_is_refused",
            "test_requester_in_another_s_name_is_refused",
            "test_leaf_that_isn_t_exactly_the_peer_s_is_refused",
        ),
    ),
    check(
        "federation: the peer of a session is the one that was expected",
        ANYBODY,
        LYING_BROKER(
            "test_gateway_that_is_connected_to_another_provider_asks_it_nothing",
            "test_broker_that_answers_itself_is_told_nothing",
            "test_broker_that_asks_itself_gets_no_session",
        ),
    ),
    check(
        "federation: both ends are in one lane",
        ANY_LANE,
        LYING_BROKER("test_session_whose_ends_are_told_different_lanes_does_not_begin"),
    ),
    check(
        "federation: records are encrypted, authenticated and numbered",
        (*IN_CLEAR, ANY_NUMBER),
        LYING_BROKER(
            "test_records_of_two_sessions_that_change_places_end_both",
            "test_records_of_two_requesters_that_change_places_end_both",
        ),
    ),
    check(
        "federation: a receipt refutes what the broker attests of its provider",
        Without(FINDINGS, "if receipt and (not (entry.kind == common_pb2.OUTCOME_KIND_CANCELLED"),
        _clear(
            "delays the order",
            "drops an announcement",
            "announces too late",
            "announces another requester",
            "drops a receipt",
            "delays a receipt",
            "replays a receipt",
            "changes a receipt",
            "swaps two receipts",
            "calls a good receipt bad",
        ),
    ),
    check(
        "federation: a missing account is a finding",
        Without(f"{EXCHANGE}.end_waiting", "if self.account is None and (not self.rejected):"),
        _clear(
            "drops the order",
            "replays an older order in its place",
            "swaps the orders of two requesters",
            "drops the account",
            "delays the account",
        ),
    ),
    check(
        "federation: an account names its exchange",
        (
            Without(ACCOUNT, "account: names another exchange"),
            Without(ACCOUNT, "account: tells of another order"),
        ),
        _clear("replays an account", "accounts for another exchange", "swaps the accounts of two exchanges"),
    ),
    check(
        "federation: an account tells of its order",
        Without(ACCOUNT, "account: tells of another order"),
        _clear("accounts for another order"),
    ),
    check(
        "federation: an account names every provider once",
        Without(ACCOUNT, "check(against, complete"),
        _clear("leaves a provider out", "names a provider twice"),
    ),
    check(
        "federation: an account is the operator's",
        ANY_SIGNATURE,
        _clear("signs with another key"),
    ),
    check(
        "federation: an account tells what is the broker's to tell",
        Without(ACCOUNT, "account: tells an outcome"),
        _clear("tells a provider's outcome as its own"),
    ),
    check(
        "federation: an account binds the receipt's ceiling",
        Without(FINDINGS, "if receipt and entry.stamp.ceiling_marking != receipt.receipt.ceiling_marking:"),
        _clear("binds another ceiling"),
    ),
    check(
        "federation: an account binds stamps of its exchange and provider",
        Without(FINDINGS, "if (entry.stamp.exchange_id, entry.stamp.provider) !="),
        _clear("binds a stamp of something else"),
    ),
    check(
        "federation: an account binds the stamp of the receipt that came",
        Without(FINDINGS, "if receipt and entry.stamp.receipt_digest != receipt.digest:"),
        _clear("binds another stamp", "stamps a receipt that nobody gave"),
    ),
    check(
        "federation: an account binds the stamp that was given",
        Without(FINDINGS, "if stamp is not None and"),
        _clear("stamps another receipt"),
    ),
    check(
        "federation: a stamp carries the agreement's ceiling",
        (
            Without(FINDINGS, "if stamp is not None and"),
            Without(
                f"{EXCHANGE}.on_stamp", "if message.stamp.ceiling_marking != part.expected.grant.ceiling:"
            ),
        ),
        _clear("stamps another ceiling"),
    ),
    check(
        "federation: two accounts are a finding",
        Without(f"{EXCHANGE}.on_account", "if account != self.account:"),
        _clear("signs two accounts"),
    ),
    check(
        "federation: nobody has timed out before the deadline",
        Without(FINDINGS, "if entry.kind == common_pb2.OUTCOME_KIND_TIMED_OUT and"),
        _clear("says at once that it timed out"),
    ),
    check(
        "federation: nobody has cancelled who did not",
        Without(FINDINGS, "if entry.kind == common_pb2.OUTCOME_KIND_CANCELLED and"),
        _clear("says at once that the asker cancelled"),
    ),
    check(
        "federation: an order is signed by its requester",
        ANY_SIGNATURE,
        _clear("changes the order"),
    ),
    check(
        "federation: a result that is withheld after its stamp is a finding",
        Without(f"{EXCHANGE}.end_waiting", "self._find(withheld"),
        LYING_BROKER("test_held_records_cost_one_deadline_and_are_named[gateway]"),
    ),
    check(
        "federation: a log that was shown to shrink or fork is a contradiction",
        (
            Without("comity.audit.peers:PeerCheckpoints.saw", "if checkpoint.size <= last.size:"),
            NO_CONSISTENCY,
        ),
        REWRITTEN("test_rewritten_log_is_caught_by_every_end_that_saw_it"),
    ),
    check(
        "federation: a checkpoint is signed by its log's key",
        (
            Without("comity.audit.note:open_note", "key.verify(material[4:], text.encode())"),
            Without("comity.audit.checkpoint:Checkpoint.parse", "if len(lines) < 4"),
        ),
        LYING_BROKER("test_checkpoint_that_the_broker_did_not_sign_is_not_taken"),
    ),
    check(
        "federation: an older roster is refused",
        (
            Without(
                "comity.certs.published:PublishedRoster._verified", "if federation.version < seen.version:"
            ),
            Without("comity.certs.roster:Federation.verify", "if found.version < last_seen_version:"),
        ),
        LYING_BROKER("test_roster_that_is_rolled_back_brings_no_suspended_member_back"),
    ),
    check(
        "federation: a roster past its time is trusted no longer",
        Without(
            "comity.gateway.standing:Standing.require_asking", "if now >= self.federation.trusted_until:"
        ),
        LYING_BROKER("test_frozen_roster_is_trusted_no_longer_than_its_time"),
    ),
    check(
        "federation: a repeated order is refused",
        Without("comity.broker.orders:verify_order", "if seen(exchange_id):"),
        LYING_BROKER("test_order_that_the_broker_repeats_to_itself_is_loud"),
    ),
    check(
        "federation: a rejection's text is cut to a printable line",
        Instead(f"{EXCHANGE}.on_rejected", "text[:LONGEST_WORD]", "text"),
        LYING_BROKER("test_order_that_is_taken_and_denied_is_loud"),
    ),
    check(
        "federation: records come once, in their order, and whole",
        (*IN_CLEAR, ANY_NUMBER),
        _records(
            "drops and numbers anew-gateway",
            "drops and numbers anew-adapter",
            "drops and leaves a gap-gateway",
            "drops and leaves a gap-adapter",
            "repeats and numbers anew-adapter",
            "repeats-adapter",
        ),
        LYING_BROKER("test_reordered_records_end_the_session"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "federation: a session opened in another's name is refused",
        ANYBODY,
        LYING_BROKER("test_session_that_is_opened_in_another_requesters_name_is_refused[lapd]"),
    ),
    check(
        "federation: a checkpoint is its log's newest, and its own",
        Without("comity.audit.peers:PeerCheckpoints.saw", "if checkpoint.size <= last.size:"),
        LYING_BROKER("test_checkpoint_that_is_not_the_brokers_newest_is_told[replays a checkpoint]"),
    ),
    check(
        "federation: a checkpoint is of its origin, under its key",
        (
            Without("comity.audit.checkpoint:open_checkpoint", "if checkpoint.origin != origin:"),
            Without("comity.audit.note:open_note", "if not signers:"),
            Without("comity.audit.checkpoint:open_checkpoint", "if not own:"),
            Without("comity.audit.peers:PeerCheckpoints.saw", "if checkpoint.size <= last.size:"),
            Without(
                "comity.audit.peers:PeerCheckpoints.saw", "check_goes_on(before[1], note, verifier_keys)"
            ),
            NO_CONSISTENCY,
        ),
        LYING_BROKER(
            "test_checkpoint_that_is_not_the_brokers_newest_is_told[shows another log's checkpoint]"
        ),
    ),
    check(
        "federation: absence is refuted when broker and provider speak again",
        Instead("comity.gateway.findings:SaidAbsent.refuted", "linked_since is None", "True"),
        LYING_BROKER("test_unreachable_said_of_a_linked_provider_is_refuted_when_they_speak_again"),
        falls=("TimeoutError", "AssertionError"),
    ),
)
