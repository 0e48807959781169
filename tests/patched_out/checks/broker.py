"""What the broker checks before it takes an order, stamps a receipt and signs an account."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    ACCOUNT,
    ADMISSION,
    BOUNDS,
    DESK,
    ENVELOPE,
    LOOPBACK,
    ORDERS,
    RECEIPTS,
)
from tests.patched_out.checks.shared import ANY_LEAF, ANY_SIGNATURE
from tests.patched_out.patching import Instead, Without

CHECKS = (
    check(
        "broker: an order carries a statement key's signature of the link's agency",
        ANY_SIGNATURE,
        ORDERS("test_forged_order_is_refused", "test_changed_order_is_refused"),
    ),
    check(
        "broker: what an envelope holds is what is wanted",
        Without("comity.certs.envelope:open_envelope", "if envelope.payload_type != expected:"),
        ORDERS("test_other_statement_passed_off_as_an_order_is_refused"),
        ENVELOPE("test_signature_of_one_type_is_none_of_another", "test_unknown_payload_type_is_refused"),
    ),
    check(
        "broker: an order names the link's agency as requester",
        Without("comity.broker.orders:verify_order", "if order.requester != agency:"),
        ORDERS("test_another_agencys_order_cannot_be_placed"),
    ),
    check(
        "broker: an order's id and nonce have their size",
        Without("comity.broker.orders:verify_order", "if len(exchange_id) != ID_BYTES"),
        ORDERS(
            "test_order_with_a_field_missing_or_absurd_is_refused[_short_id]",
            "test_order_with_a_field_missing_or_absurd_is_refused[_no_nonce]",
        ),
    ),
    check(
        "broker: an exchange id is placed once",
        Without("comity.broker.orders:verify_order", "if seen(exchange_id):"),
        DESK("test_replay_after_a_restart_is_refused"),
        ORDERS(
            "test_replayed_order_is_refused",
            "test_replay_under_a_signature_encoded_anew_is_refused",
            "test_replay_is_remembered_until_the_order_is_stale",
        ),
    ),
    check(
        "broker: an order has no room for content",
        Without("comity.broker.orders:_open", "if len(envelope.payload) > MAX_ORDER_BYTES:"),
        ORDERS("test_order_with_room_for_content_is_refused"),
    ),
    check(
        "broker: an order is fresh",
        Without("comity.broker.orders:_times", "if not now - FRESHNESS"),
        ORDERS(
            "test_replay_is_remembered_until_the_order_is_stale",
            "test_order_is_fresh_for_120_seconds_and_5_of_skew[-126-False]",
            "test_order_is_fresh_for_120_seconds_and_5_of_skew[6-False]",
            "test_refused_order_leaves_its_id_free",
        ),
    ),
    check(
        "broker: a deadline is ahead, and not far",
        Without("comity.broker.orders:_times", "if not now < deadline"),
        ORDERS(
            "test_deadline_behind_or_too_far_ahead_is_refused[-1]",
            "test_deadline_behind_or_too_far_ahead_is_refused[0]",
            "test_deadline_behind_or_too_far_ahead_is_refused[126]",
        ),
    ),
    check(
        "broker: an order names 1 to 64 providers, as many as it has leaves",
        Without("comity.broker.orders:_leaves", "if not 1 <= len(leaves)"),
        ORDERS("test_added_leaf_is_refused", "test_provider_named_twice_or_nobody_or_too_many_is_refused"),
    ),
    check(
        "broker: leaves stand under the order's root",
        Without("comity.broker.orders:_leaves", "if merkle.root("),
        ORDERS("test_exchanged_or_reordered_leaf_is_refused"),
    ),
    check(
        "broker: no provider is named twice",
        Without("comity.broker.orders:_leaves", "if len({leaf.provider"),
        ORDERS("test_provider_named_twice_or_nobody_or_too_many_is_refused"),
    ),
    check(
        "broker: a leaf has no room for content",
        Without("comity.broker.orders:_leaves", "if any((len(leaf) > MAX_LEAF_BYTES"),
        ORDERS("test_leaf_of_another_size_than_an_honest_one_is_refused[room for content]"),
    ),
    check(
        "broker: a leaf's digest and salt have their size",
        Without("comity.broker.orders:_check_leaf", "if len(leaf.query_digest)"),
        ORDERS(
            "test_leaf_of_another_size_than_an_honest_one_is_refused[digest cut short]",
            "test_leaf_of_another_size_than_an_honest_one_is_refused[salt cut short]",
        ),
    ),
    check(
        "broker: a leaf names what can be an agency",
        Without("comity.broker.orders:_leaves", "_check_leaf(leaf)"),
        ORDERS(
            "test_leaf_that_names_no_agency_is_refused_and_not_repeated[]",
            "test_leaf_that_names_no_agency_is_refused_and_not_repeated[LAPD]",
            "test_leaf_that_names_no_agency_is_refused_and_not_repeated[8ABC123]",
        ),
    ),
    check(
        "broker: a provider lodged a ceiling for the requester",
        Without("comity.broker.orders:_asked", "if lodged is None:"),
        DESK("test_refusals_hold_no_more_than_agency_and_reason"),
        ORDERS("test_provider_without_a_lodged_ceiling_refuses_the_order_and_is_named"),
        falls=("AttributeError",),
    ),
    check(
        "broker: a receipt has no room for content",
        Without(
            "comity.broker.receipts:verify_receipt", "if len(delivery.receipt.payload) > MAX_RECEIPT_BYTES:"
        ),
        RECEIPTS("test_receipt_that_differs_in_one_field_is_bad[too large]"),
    ),
    check(
        "broker: a receipt's kind is a provider's to sign",
        Without("comity.broker.receipts:verify_receipt", "if receipt.kind not in SIGNED_KINDS:"),
        RECEIPTS(
            "test_receipt_that_differs_in_one_field_is_bad[a kind of the broker's]",
            "test_receipt_that_differs_in_one_field_is_bad[no kind]",
            "test_receipt_that_differs_in_one_field_is_bad[a kind that does not exist]",
        ),
    ),
    check(
        "broker: a receipt has nonce, root and promise",
        Without("comity.broker.receipts:verify_receipt", "_check_evidence(receipt)"),
        RECEIPTS(
            "test_receipt_that_differs_in_one_field_is_bad[no root]",
            "test_receipt_that_differs_in_one_field_is_bad[no nonce]",
            "test_receipt_that_differs_in_one_field_is_bad[no promise]",
        ),
    ),
    check(
        "broker: a receipt was signed after its order, and not in the future",
        Without("comity.broker.receipts:verify_receipt", "_check_time(receipt, order, now)"),
        RECEIPTS(
            "test_receipt_that_differs_in_one_field_is_bad[no time]",
            "test_receipt_that_differs_in_one_field_is_bad[signed before its order]",
            "test_receipt_that_differs_in_one_field_is_bad[signed in the future]",
        ),
    ),
    check(
        "broker: a receipt is of this exchange, provider, question, agreement and ceiling",
        Without("comity.broker.receipts:_same", "if found != expected:"),
        DESK("test_bad_receipt_is_accounted_for_and_not_stamped"),
        RECEIPTS(
            "test_receipt_of_another_provider_relayed_on_this_link_is_bad",
            "test_receipt_that_differs_in_one_field_is_bad[another exchange]",
            "test_receipt_that_differs_in_one_field_is_bad[another question]",
            "test_receipt_that_differs_in_one_field_is_bad[another agreement]",
        ),
    ),
    check(
        "broker: a broker that stops takes no order",
        Without("comity.broker.desk:ExchangeDesk._take", "if self._stopping:"),
        DESK("test_stop_accounts_for_what_is_in_flight_and_takes_nothing_more"),
    ),
    check(
        "broker: under an expired roster no order is taken",
        Without("comity.broker.desk:ExchangeDesk._take", "if not self._trust.is_current(now):"),
        DESK("test_order_under_an_expired_roster_is_refused"),
    ),
    check(
        "broker: an agency has a bounded number of exchanges in flight",
        Without("comity.broker.desk:ExchangeDesk._require_room", "if self._in_flight.get(agency, 0)"),
        DESK("test_agency_over_its_limit_is_refused_and_another_is_not"),
    ),
    check(
        "broker: a chain is the connection's certificate",
        Without("comity.broker.admission:admit", "if hello.chain[0] != connection_certificate:"),
        ADMISSION("test_chain_that_is_not_the_connections_is_refused"),
    ),
    check(
        "broker: a connection speaks TLS 1.3",
        Without("comity.broker.admission:check_transport", "if versions and versions !="),
        ADMISSION("test_connection_older_than_tls_1_3_is_refused"),
    ),
    check(
        "broker: a connection's certificate was proved in its own handshake",
        Without("comity.broker.admission:check_transport", 'if b"true" in auth_context'),
        ADMISSION("test_resumed_connection_is_refused"),
    ),
    check(
        "broker: an end speaks this protocol's version",
        Without("comity.broker.admission:_check_claim", "if PROTOCOL_VERSION not in hello.versions:"),
        ADMISSION("test_greeting_without_chain_version_or_role_is_refused"),
    ),
    check(
        "broker: a suspended member opens no link",
        Without("comity.broker.admission:_member", "if member.suspended:"),
        ADMISSION("test_stranger_suspended_and_wrong_role_are_refused"),
    ),
    check(
        "broker: a member that doesn't ask has no gateway",
        Without("comity.broker.admission:_member", "if not allowed:"),
        ADMISSION("test_stranger_suspended_and_wrong_role_are_refused"),
    ),
    check(
        "broker: a receipt counts of one who was told",
        Instead("comity.broker.exchange:Exchange.arrival", "not standing.announced", "False"),
        ACCOUNT("test_receipt_of_one_who_was_not_told_is_ignored[cbp]"),
    ),
    check(
        "broker: a kind that only others attest is not stamped",
        Without("comity.broker.exchange:Exchange.stamp", "if kind not in SIGNED_KINDS:"),
        ACCOUNT(
            "test_provider_cannot_sign_what_only_others_attest[0]",
            "test_provider_cannot_sign_what_only_others_attest[10]",
            "test_provider_cannot_sign_what_only_others_attest[11]",
        ),
    ),
    check(
        "broker: nobody is left out of an account",
        Without("comity.broker.exchange:Exchange.entries", "if not self.is_settled:"),
        ACCOUNT("test_account_leaves_nobody_out_while_somebody_is_awaited"),
    ),
    check(
        "broker: the first outcome of a provider stays",
        Without("comity.broker.exchange:Exchange._settle", "if standing.kind != AWAITED:"),
        ACCOUNT(
            "test_second_receipt_never_changes_an_outcome",
            "test_good_receipt_after_a_bad_one_does_not_wash_it_off",
        ),
    ),
    check(
        "broker: a roster past its time carries no session",
        Without("comity.broker.trust:Trust.ceiling", "if not self.is_current(now):"),
        BOUNDS("test_roster_past_its_time_carries_no_session"),
    ),
    check(
        "broker: a receipt is signed by the provider on whose link it came",
        ANY_SIGNATURE,
        RECEIPTS("test_receipt_signed_by_another_provider_is_bad"),
    ),
    check(
        "broker: a second statement about one exchange is logged",
        Without("comity.broker.desk:ExchangeDesk.receipt", "self._scribe.write(entry)"),
        DESK("test_second_different_receipt_is_logged_as_a_contradiction"),
    ),
    check(
        "broker: an exchange is cancelled by its asker alone",
        Instead("comity.broker.desk:ExchangeDesk.cancel", "exchange.order.requester != agency", "False"),
        DESK("test_asker_cancels_and_nobody_else_can"),
    ),
    check(
        "broker: a gateway that is gone cancels its own exchanges",
        (
            Instead(
                "comity.broker.desk:ExchangeDesk.gateway_lost", "exchange.order.requester == agency", "True"
            ),
            Instead("comity.broker.desk:ExchangeDesk.cancel", "exchange.order.requester != agency", "False"),
        ),
        DESK("test_gateway_that_is_gone_cancels_its_exchanges_alone"),
    ),
    check(
        "broker: all exchanges together have a bound",
        Without("comity.broker.desk:ExchangeDesk._require_room", "if len(self._exchanges) >="),
        DESK("test_full_broker_refuses_everybody_until_an_exchange_ends"),
        falls=("ValueError",),
    ),
    check(
        "broker: routed is on disk before anybody hears of it",
        Instead(
            "comity.broker.desk:ExchangeDesk.place",
            "await self._log_routed(accepted)",
            "asyncio.get_running_loop().create_task(self._log_routed(accepted))",
        ),
        DESK("test_routed_is_on_disk_before_anybody_hears_of_it"),
        falls=("AssertionError", "ValueError", "StopIteration", "IndexError"),
    ),
    check(
        "broker: a leaf verifies under its member's CA, at its time, in one spelling",
        (
            ANY_LEAF,
            Without("comity.broker.admission:_check_claim", "if not hello.spiffe_id.startswith("),
        ),
        ADMISSION("test_leaf_of_another_members_ca_is_refused", "test_expired_leaf_is_refused"),
    ),
    check(
        "broker: sessions are carried for pairs with a lodged ceiling",
        Without("comity.broker.router:Router._open_session", "if self._trust.ceiling("),
        LOOPBACK("test_session_without_a_lodged_ceiling_is_closed_for_want_of_agreement"),
    ),
    check(
        "broker: links are judged again under a newer roster",
        Without(
            "comity.broker.router:Router.trust_replaced",
            "self._end(link, reason, public.text)",
        ),
        LOOPBACK("test_member_that_is_suspended_loses_its_link_and_gets_no_other"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "broker: an end has one link",
        Without("comity.broker.router:Router.linked", "if older is not None:"),
        LOOPBACK("test_newest_link_of_an_end_takes_the_place_of_the_older"),
        falls=("AssertionError", "TimeoutError"),
    ),
)
