"""What ends a session or a link whose bytes or peer are not what they should be."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import ATTACKS, CODEC, HUB, LINK, SESSION_TRUST
from tests.patched_out.checks.shared import ANY_NUMBER, ANYBODY, IN_CLEAR
from tests.patched_out.patching import Instead, Without

CHECKS = (
    check(
        "links: with a suspended member there is no session",
        (
            Without("comity.links.sessions.core:SessionHub._pair", "if member.suspended:"),
            Without("comity.certs.agreements:AgreementBook.grant", "if asked is None or"),
        ),
        HUB(
            "test_adapter_refuses_before_any_byte_of_tls[suspended]",
            "test_suspension_ends_sessions_that_are_open",
        ),
        falls=("AssertionError", "Failed", "IndexError"),
    ),
    check(
        "links: sessions are of TLS 1.3 in their own lane",
        Without("comity.links.sessions.tls:TlsEnd._judge", "if self._tls.version()"),
        ATTACKS(
            "test_other_lane_or_no_lane_is_refused[alpn0]",
            "test_other_lane_or_no_lane_is_refused[alpn1]",
            "test_other_lane_or_no_lane_is_refused[alpn2]",
        ),
    ),
    check(
        "links: a session is not resumed",
        Without("comity.links.sessions.tls:TlsEnd._judge", "if self._tls.session_reused:"),
        ATTACKS("test_resumed_session_is_refused[gateway]", "test_resumed_session_is_refused[adapter]"),
    ),
    check(
        "links: a message has a bounded size",
        Without("comity.links.sessions.codec:bucket", "if size > MAX_FRAMED_BYTES:"),
        CODEC("test_largest_message_fits_and_one_byte_more_does_not"),
        HUB("test_message_over_a_mebibyte_is_not_sent"),
    ),
    check(
        "links: a session has a bounded queue",
        Without("comity.links.sessions.core:SessionHub.send", "if session.pending_bytes"),
        HUB("test_reader_that_never_gives_credit_costs_bounded_memory"),
    ),
    check(
        "links: a roster past its time opens no session",
        Without("comity.links.sessions.core:SessionHub._pair", "if self.clock() >="),
        SESSION_TRUST("test_roster_past_its_time_opens_no_session"),
    ),
    check(
        "links: an agreement pins the peer's identity key",
        Without("comity.links.sessions.core:SessionHub._pair", "if agreement.identity_key"),
        HUB("test_agreement_that_pins_another_key_opens_nothing"),
    ),
    check(
        "links: a provider's first message is its own Ready",
        Without("comity.links.sessions.hub:GatewaySessions._check_ready", "if ready.version"),
        ATTACKS(
            "test_adapter_that_doesn_t_begin_with_its_ready_is_closed[other agency]",
            "test_adapter_that_doesn_t_begin_with_its_ready_is_closed[other version]",
            "test_adapter_that_doesn_t_begin_with_its_ready_is_closed[no pages]",
        ),
    ),
    check(
        "links: both ends hold one agreement",
        Without("comity.links.sessions.hub:GatewaySessions._check_ready", "if ready.agreement_digest"),
        HUB("test_ends_that_hold_different_agreements_don_t_speak"),
    ),
    check(
        "links: nothing is asked before Ready",
        Without("comity.links.sessions.hub:AdapterSessions._judged", "if messages:"),
        ATTACKS("test_gateway_that_asks_before_it_was_judged_is_closed"),
    ),
    check(
        "links: a message is one that may be sent there",
        Without("comity.links.sessions.core:SessionHub._give", "if name not in self.accepted:"),
        ATTACKS(
            "test_message_of_the_wrong_direction_ends_the_session[gateway]",
            "test_message_of_the_wrong_direction_ends_the_session[adapter]",
        ),
        falls=("TimeoutError",),
    ),
    check(
        "links: a message fills a bucket",
        Without("comity.links.sessions.codec:Decoder._end", "if total > MAX_FRAMED_BYTES"),
        ATTACKS(
            "test_malformed_message_ends_the_session[huge]",
            "test_malformed_message_ends_the_session[no bucket]",
        ),
        falls=("TimeoutError",),
    ),
    check(
        "links: a message over the bound is not taken",
        Instead("comity.links.sessions.codec:Decoder._end", "total > MAX_FRAMED_BYTES", "False"),
        ATTACKS(
            "test_malformed_message_ends_the_session[huge]",
            "test_malformed_message_ends_the_session[over the cap]",
        ),
    ),
    check(
        "links: an opening that nobody answers is given up",
        Without("comity.links.sessions.core:SessionHub._over", "if not session.is_open:"),
        HUB("test_opening_that_nobody_answers_is_given_up"),
    ),
    check(
        "links: a peer's leaf is judged again under a newer roster",
        Without("comity.links.sessions.core:SessionHub._over", "trust.expected.verify"),
        HUB("test_replaced_ca_ends_sessions_of_the_old_one"),
        falls=("IndexError",),
    ),
    check(
        "links: who is revoked or got another name doesn't finish what goes on under a dropped CA",
        Instead(
            "comity.links.sessions.core:SessionHub._may_finish",
            "replace(expected, ca_certificates=earlier).verify",
            "(lambda *args, **others: None)",
        ),
        HUB(
            "test_what_goes_on_under_a_dropped_ca_may_end_unless_more_is_wrong[its leaf is revoked, too]",
            "test_what_goes_on_under_a_dropped_ca_may_end_unless_more_is_wrong[it has another name]",
        ),
    ),
    check(
        "links: what goes on under a CA that is revoked isn't finished",
        Instead(
            "comity.links.sessions.core:SessionHub._may_finish",
            "expected.revoked.certificate(der) is None",
            "True",
        ),
        HUB("test_what_goes_on_under_a_dropped_ca_may_end_unless_more_is_wrong[its CA is revoked, too]"),
    ),
    check(
        "links: what goes on under a dropped CA ends with the longest exchange",
        Without("comity.links.sessions.core:SessionHub._may_finish", "if now - progress.worn_since"),
        HUB("test_dropped_ca_is_over_after_the_longest_exchange"),
        falls=("IndexError",),
    ),
    check(
        "links: a link's queue has a bound in bytes",
        Without("comity.links.state:OutQueue.push", "if self.bytes + total"),
        LINK("test_full_queue_closes_with_limit_and_lets_everything_go"),
    ),
    check(
        "links: a link's queue has a bound in frames",
        Without("comity.links.state:OutQueue.push", "if len(self._frames)"),
        LINK("test_many_small_frames_pass_the_limit_of_frames"),
        falls=("ValueError",),
    ),
    check(
        "links: a frame has a bounded size",
        Without("comity.links.state:LinkMachine._check", "if frame.ByteSize()"),
        LINK("test_too_large_frame_is_refused_here_and_a_violation_there"),
        falls=("ValueError",),
    ),
    check(
        "links: each frame is for whom the contract says",
        Without("comity.links.state:LinkMachine._check", "if one not in table"),
        LINK("test_frames_before_a_violation_are_delivered_and_none_after"),
    ),
    check(
        "links: a link begins with its greeting",
        Without("comity.links.state:LinkMachine._check", "if one not in due"),
        LINK(
            "test_false_greeting_is_a_violation[two hellos]",
            "test_false_greeting_is_a_violation[nothing]",
            "test_false_welcome_is_a_violation[early frame]",
            "test_false_welcome_is_a_violation[hello]",
        ),
        falls=("ValueError",),
    ),
    check(
        "links: an end speaks the link's version",
        Without("comity.links.state:LinkMachine._greeted", "if PROTOCOL_VERSION"),
        LINK("test_false_greeting_is_a_violation[version]"),
        falls=("ValueError",),
    ),
    check(
        "links: a greeting names an end's role",
        Without("comity.links.state:LinkMachine._greeted", "if hello.role"),
        LINK("test_false_greeting_is_a_violation[broker]", "test_false_greeting_is_a_violation[no role]"),
        falls=("ValueError",),
    ),
    check(
        "links: a welcome's version is the link's",
        Without("comity.links.state:LinkMachine._welcomed", "if welcome.version"),
        LINK("test_false_welcome_is_a_violation[version]"),
        falls=("ValueError",),
    ),
    check(
        "links: a welcome leaves room for frames",
        Without("comity.links.state:LinkMachine._welcomed", "if welcome.session_window"),
        LINK("test_false_welcome_is_a_violation[window]", "test_false_welcome_is_a_violation[frame size]"),
        falls=("ValueError",),
    ),
    check(
        "links: credit is of what is in flight",
        Without("comity.links.flow:Flow.credit", "if not 0 < size <= self.in_flight:"),
        ATTACKS("test_credit_from_nowhere_ends_the_session"),
        falls=("TimeoutError",),
    ),
    check(
        "links: a sender keeps to its window",
        Without("comity.links.flow:Flow.accept", "if size > self.room:"),
        HUB("test_sender_that_ignores_its_window_loses_the_session_at_both_ends"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "links: an asker shows itself to nobody but the provider",
        Without("comity.links.sessions.tls:TlsEnd._handshake", "self._out.read()"),
        ATTACKS(
            "test_gateway_s_certificate_doesn_t_reach_a_false_provider[the provider's own, of another end]"
        ),
    ),
    check(
        "links: nothing older than TLS 1.3 is spoken",
        Without("comity.links.sessions.tls:make_context", "context.minimum_version ="),
        ATTACKS("test_context_is_strict"),
    ),
    check(
        "links: certificates are verified strictly",
        Instead(
            "comity.links.sessions.tls:_strict",
            "(flags | ssl.VERIFY_X509_STRICT) & ~ssl.VERIFY_X509_PARTIAL_CHAIN",
            "flags",
        ),
        ATTACKS("test_context_is_strict"),
        falls=("AssertionError",),
    ),
    check(
        "links: an adapter takes its own lane",
        Instead("comity.links.sessions.hub:AdapterSessions._unacceptable", "opened.lane != LANE", "False"),
        ATTACKS("test_bulk_lane_is_not_spoken_yet"),
    ),
    check(
        "links: a gateway presents a certificate",
        ANYBODY,
        ATTACKS("test_gateway_without_certificate_is_refused"),
    ),
    check(
        "links: sizes are those of buckets",
        (
            Instead("comity.links.sessions.codec:encode", "bucket(used)", "used"),
            Instead("comity.links.sessions.codec:Decoder._end", "bucket(total) != total", "False"),
        ),
        ATTACKS("test_broker_sees_sizes_in_buckets_only"),
    ),
    check(
        "links: a requester has a bounded number of sessions",
        Without("comity.links.sessions.hub:AdapterSessions._unacceptable", "if having >= self.limits"),
        HUB("test_requester_has_a_limited_number_of_sessions"),
        falls=("AssertionError", "Failed"),
    ),
    check(
        "links: a session ends with the first leaf",
        Without("comity.links.sessions.core:SessionHub._over", "if now >= session.ends_at:"),
        HUB("test_session_ends_with_the_first_leaf"),
        falls=("AssertionError", "IndexError", "TimeoutError"),
    ),
    check(
        "links: a session ends with its agreement",
        Instead("comity.certs.agreements:AgreementBook.grant", "agreement.in_force(now)", "True"),
        HUB("test_expired_agreement_ends_the_session"),
        falls=("AssertionError", "IndexError", "TimeoutError"),
    ),
    check(
        "links: what decrypts is a message",
        (
            *IN_CLEAR,
            Instead(
                "comity.links.sessions.codec:Decoder._end",
                "total > MAX_FRAMED_BYTES or bucket(total) != total",
                "False",
            ),
        ),
        ATTACKS("test_injected_bytes_end_the_session"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "links: a session's records are its own",
        (*IN_CLEAR, ANY_NUMBER),
        ATTACKS("test_sessions_of_two_pairs_can_t_be_crossed"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "links: a handshake of TLS 1.2 is none",
        (
            Without("comity.links.sessions.tls:make_context", "context.minimum_version ="),
            Instead("comity.links.sessions.tls:TlsEnd._judge", "self._tls.version() != 'TLSv1.3'", "False"),
        ),
        ATTACKS("test_tls_1_2_is_refused"),
    ),
    check(
        "links: an adapter gives no ticket",
        Without("comity.links.sessions.tls:make_context", "context.num_tickets = 0"),
        ATTACKS("test_adapter_gives_no_ticket"),
        falls=("AssertionError", "Failed"),
    ),
    check(
        "links: records of no session reach nobody",
        Without("comity.links.sessions.core:SessionHub._data", "if session is None:"),
        ATTACKS("test_frames_of_unknown_sessions_reach_nobody"),
        falls=("AttributeError",),
    ),
)
