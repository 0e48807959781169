"""Agencies' own lists of revocations, and what is done where nothing counts any more."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    ADAPTER_SERVER,
    EVIDENCE,
    FOLLOWING_LINKS,
    HANDOVER,
    LAPSED,
    MUST_NOT,
    OPEN_CALLS,
    OWN_LISTS,
    OWN_RECORDS,
    REVOKED_AT_START,
    REVOKED_KEY,
    ROSTER_INBOX,
    WITHDRAWN,
)
from tests.patched_out.patching import Instead, Without

OPEN = "comity.certs.own_lists:open_own_list"
_BAD = "test_own_list_that_breaks_a_rule_is_not_taken"
_FOLLOWS = "test_newer_own_list_takes_nothing_back_and_dates_nothing_back"

_LAPSED = "test_lapsed_agency_asks_and_answers_nothing_and_keeps_its_links[lapsed]"

_UNSHOWN = "test_result_of_a_revoked_key_is_withdrawn_until_it_is_shown"

CHECKS = (
    check(
        "revoked: what a revoked statement key signed is withdrawn",
        Without("comity.gateway.exchange:Exchange.on_member", "if part.receipt is not None"),
        WITHDRAWN(
            *(
                f"{_UNSHOWN}[{stage}-{everything}]"
                for stage in ("pages missing", "unstamped", "settled", "taken")
                for everything in (False, True)
            ),
            "test_broker_that_refused_what_a_revoked_key_signed_is_no_liar",
        ),
        REVOKED_KEY(
            "test_answer_that_waits_for_the_log_is_withdrawn_when_its_key_is_revoked",
            "test_answer_that_is_being_shown_ends_when_its_key_is_revoked",
        ),
    ),
    check(
        "revoked: a receipt is judged by the newest view of its provider",
        Instead(
            "comity.gateway.exchange:Exchange.on_member",
            "replace(part.expected, member=member)",
            "part.expected",
        ),
        WITHDRAWN("test_receipt_that_comes_after_the_list_is_judged_by_the_list"),
    ),
    check(
        "revoked: no statement of a revoked key is taken, whenever it says that it was signed",
        Instead("comity.certs.members:MemberView.believed_keys_at", "self.revokes(key)", "False"),
        WITHDRAWN(
            "test_receipt_that_comes_after_the_list_is_judged_by_the_list[dated before]",
            "test_account_of_a_revoked_key_is_none",
        ),
        MUST_NOT("test_order_of_a_revoked_key_is_not_answered[dated before]"),
    ),
    check(
        "revoked: a list that comes while a question is logged counts for its answers",
        Instead(
            "comity.gateway.gateway:Gateway._ask",
            "newest.members.get(item.provider) or federation.member(item.provider)",
            "federation.member(item.provider)",
        ),
        REVOKED_KEY("test_list_that_comes_while_a_question_is_logged_counts_for_it[lapd/adapter]"),
    ),
    check(
        "revoked: with a key that was revoked while a question was logged nothing is asked",
        Without("comity.gateway.gateway:Gateway._ask", "if self._own_revoked():"),
        REVOKED_KEY("test_list_that_comes_while_a_question_is_logged_counts_for_it[sheriff/gateway]"),
    ),
    check(
        "revoked: records whose statement a revoked key signed end",
        Without("comity.gateway.own_records:Retrievals._require_counting", "if member is not None"),
        OWN_RECORDS("test_records_of_a_revoked_key_end"),
        falls=("AssertionError", "Failed"),
    ),
    check(
        "revoked: an end takes a key to follow at its start only if the roster names it",
        Without("comity.certs.own:load_own", "if SigningKey.load(following).public not in believed:"),
        REVOKED_AT_START("test_end_does_not_start_with_a_key_that_was_never_named"),
    ),
    check(
        "revoked: what is settled and not shown yet is withdrawn too",
        Without("comity.gateway.exchange:Exchange._withdraw", "self._drop(part)"),
        WITHDRAWN(f"{_UNSHOWN}[taken-False]"),
    ),
    check(
        "revoked: nobody's log is held to the promise of a receipt that was withdrawn",
        Instead(
            "comity.gateway.gateway:Gateway._settle", "exchange.withdrawn(item.provider) is None", "True"
        ),
        REVOKED_KEY("test_answer_that_waits_for_the_log_is_withdrawn_when_its_key_is_revoked"),
    ),
    check(
        "revoked: what was withdrawn is told once",
        Instead("comity.gateway.gateway:Gateway.search", "withdrawn is not item", "True"),
        REVOKED_KEY("test_answer_that_is_withdrawn_before_it_is_taken_has_one_outcome"),
    ),
    check(
        "revoked: a whole agency's answer is withdrawn once",
        Without("comity.gateway.exchange:Exchange._withdraw", "part.result = None"),
        WITHDRAWN("test_agency_that_is_revoked_is_withdrawn_once[unstamped]"),
    ),
    check(
        "revoked: what came under a revoked certificate is withdrawn",
        Without("comity.gateway.exchange:Exchange.on_certificate_revoked", "if part is not None"),
        WITHDRAWN("test_what_came_under_a_revoked_certificate_is_withdrawn_until_it_is_shown"),
    ),
    check(
        "revoked: a provider whose statement key is revoked has no session",
        Without("comity.links.sessions.core:SessionHub._pair", "if self.is_mute is not None"),
        REVOKED_KEY("test_provider_whose_key_is_revoked_closes_its_sessions_until_it_has_another"),
    ),
    check(
        "revoked: a gateway whose statement key is revoked asks nothing",
        Instead(
            "comity.gateway.gateway:Gateway._own_revoked",
            "own.revokes(mine.statement.public)",
            "False",
        ),
        REVOKED_KEY(
            "test_gateway_whose_key_is_revoked_asks_nothing_until_it_has_another",
            "test_gateway_whose_own_is_revoked_lets_go_what_is_under_way[statement key]",
        ),
    ),
    check(
        "revoked: a gateway whose certificate is revoked lets go what is under way",
        Without("comity.gateway.gateway:Gateway._own_revoked", "own.revoked.check_chain(mine.chain_der)"),
        REVOKED_KEY("test_gateway_whose_own_is_revoked_lets_go_what_is_under_way[certificate]"),
    ),
    check(
        "revoked: a broker whose statement key is revoked routes nothing",
        Without("comity.broker.desk:ExchangeDesk._take", "if not self._trust.may_sign"),
        REVOKED_KEY("test_broker_whose_key_is_revoked_routes_nothing_until_it_has_another"),
    ),
    check(
        "own lists: its agency's identity key signed it",
        Instead(
            OPEN,
            "open_envelope(envelope, RevocationList, member.identities.at(at)).message",
            "RevocationList.FromString(envelope.payload)",
        ),
        OWN_LISTS("test_own_list_counts_only_by_the_identity_key_that_the_roster_names"),
    ),
    check(
        "own lists: it names what is its signer's, and not all of it",
        Without(OPEN, "entry.agency != issuer or"),
        OWN_LISTS(
            f"{_BAD}[of another agency's certificate]",
            f"{_BAD}[of another agency as a whole]",
            f"{_BAD}[of the operator's certificate]",
            f"{_BAD}[of all of itself]",
        ),
    ),
    check(
        "own lists: it names no identity key",
        Without(OPEN, "if any((key_digest(time.key.der)"),
        OWN_LISTS("test_own_list_names_no_identity_key"),
    ),
    check(
        "own lists: a newer one is signed no earlier",
        Without("comity.certs.own_lists:OwnList.check_follows", "if self.signed_at < older.signed_at"),
        OWN_LISTS("test_newer_own_list_is_signed_no_earlier"),
    ),
    check(
        "own lists: one comes into force though no roster can be read",
        Instead("comity.certs.published:PublishedRoster.load", "federation == known", "True"),
        OWN_LISTS("test_own_list_comes_into_force_while_the_published_folder_is_broken"),
        falls=("RosterInvalid",),
    ),
    check(
        "own lists: it is of this federation, has a version and an end",
        Without(OPEN, "if found.federation != federation"),
        OWN_LISTS(
            f"{_BAD}[of another federation]",
            f"{_BAD}[without a version]",
            f"{_BAD}[that ends before it begins]",
        ),
    ),
    check(
        "own lists: it is not from the future",
        Without(OPEN, "if now is not None and signed_at > now"),
        OWN_LISTS(f"{_BAD}[to come]"),
    ),
    check(
        "own lists: nothing is taken off it",
        Without("comity.certs.own_lists:OwnList.check_follows", "thing not in now"),
        OWN_LISTS(f"{_FOLLOWS}[left out]", f"{_FOLLOWS}[later]"),
    ),
    check(
        "own lists: nothing is dated back before the list that didn't have it",
        Without("comity.certs.own_lists:OwnList.check_follows", "revoked.at < min("),
        OWN_LISTS(f"{_FOLLOWS}[dated back]"),
    ),
    check(
        "own lists: there is one of each version",
        (
            Without("comity.certs.own_lists:OwnList.check_follows", "if (self.version, self.digest)"),
            Without("comity.certs.published:PublishedRoster._check_seen", "if listed.version < version"),
        ),
        OWN_LISTS("test_another_list_of_the_same_version_is_refused"),
    ),
    check(
        "own lists: one that was known is missed",
        Without("comity.certs.roster:Federation.with_own_lists", "for agency, version in"),
        OWN_LISTS("test_withheld_own_list_is_missed_by_who_knew_it"),
        falls=("AssertionError",),
    ),
    check(
        "own lists: past its next update its agency is out",
        Without("comity.certs.own_lists:OwnList.lapsed", "return f'the next update"),
        OWN_LISTS("test_own_list_past_its_next_update_puts_its_agency_out_and_nobody_else"),
        falls=("AssertionError", "TypeError"),
    ),
    check(
        "own lists: its agency is out although no file changes",
        Instead("comity.certs.published:PublishedRoster.is_due", "self._clock() >= at", "False"),
        OWN_LISTS("test_own_list_past_its_next_update_puts_its_agency_out_and_nobody_else"),
        falls=("AssertionError", "RosterInvalid"),
    ),
    check(
        "own lists: an end brings its own agency's alone",
        Without("comity.certs.published:PublishedRoster.take_own_list", "if listed.agency != agency:"),
        OWN_LISTS("test_end_brings_only_its_own_agencys_list"),
    ),
    check(
        "own lists: what the authority revoked stays revoked since then",
        Instead(
            "comity.certs.revocations:_earlier",
            "min(found.get(thing, revoked), revoked, key=lambda each: each.at)",
            "revoked",
        ),
        OWN_LISTS("test_own_list_adds_to_the_authoritys_and_touches_nobody_else"),
    ),
    check(
        "own lists: those of all agencies leave room for the roster",
        Without("comity.certs.delivered:Documents._handed_on", "if size <= MAX_OWN_LISTS_BYTES:"),
        OWN_LISTS("test_largest_lists_are_left_out_first_where_there_are_too_many"),
    ),
    check(
        "calls: one under way of a revoked certificate or key is cut",
        Instead(
            "comity.gateway.calls:OpenCall.revoked",
            "(member.revoked.certificate(der) for der in self.chain)",
            "()",
        ),
        OPEN_CALLS(
            "test_call_of_a_revoked_certificate_is_cut_and_no_other",
            "test_call_of_a_revoked_key_or_agency_is_cut[key]",
        ),
    ),
    check(
        "calls: one under way under a revoked CA is cut",
        Instead(
            "comity.gateway.calls:OpenCall.revoked", "gone and not _is_of(self.chain, left, now)", "False"
        ),
        OPEN_CALLS("test_call_under_a_revoked_ca_is_cut_and_under_a_replaced_one_is_answered"),
    ),
    check(
        "calls: one under way of a revoked user is cut",
        Instead(
            "comity.gateway.calls:OpenCalls.judge",
            "member.revoked.user(member.agency, call.user) if call.user else None",
            "None",
        ),
        OPEN_CALLS("test_call_of_a_revoked_user_is_cut"),
    ),
    check(
        "links: without a CA of the operator no link stays, and none is dialled",
        Instead("comity.links.client:LinkClient._lacks_ca", "not config.operator_ca_pem.strip()", "False"),
        FOLLOWING_LINKS("test_link_is_closed_at_once_where_no_ca_of_the_operator_counts"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "adapters: a link under an old CA of the operator is left",
        Without("comity.adapters.server:_Adapter._reload", "self._link.leave_distrusted()"),
        ADAPTER_SERVER("test_old_cas_of_the_operator_are_left_though_the_log_key_cannot_be_used"),
    ),
    check(
        "evidence: what an agency's own list revoked counts until then, for auditors too",
        Instead(
            "comity.certs.roster:Federation.for_evidence",
            "found.with_own_lists({one.agency: one for one in lists}, now=None)",
            "found",
        ),
        EVIDENCE("test_evidence_stands_until_its_signer_revoked_the_key_and_not_after[-1]"),
    ),
    check(
        "own lists: nobody carries anything for who has lapsed",
        (
            Instead("comity.broker.trust:Trust.ceiling", "provides.is_out", "provides.suspended"),
            Instead("comity.broker.trust:Trust.ceiling", "asks.is_out", "asks.suspended"),
        ),
        LAPSED(_LAPSED),
    ),
    check(
        "own lists: nobody takes a statement of who has lapsed",
        Instead("comity.broker.trust:Trust.statement_keys", "member.is_out", "member.suspended"),
        LAPSED(_LAPSED),
    ),
    check(
        "own lists: nobody may ask who has lapsed, nor be asked by it",
        (
            Instead("comity.certs.agreements:AgreementBook.grant", "asked.is_out", "asked.suspended"),
            Instead("comity.certs.agreements:AgreementBook.grant", "asking.is_out", "asking.suspended"),
        ),
        LAPSED(_LAPSED),
    ),
    check(
        "own lists: what an end brings is bounded",
        Instead("comity.links.roster:RevocationsInbox.add", "0 < len(data) <= MAX_OWN_LIST_BYTES", "True"),
        ROSTER_INBOX("test_broker_takes_of_each_agency_the_newest_list_that_it_brought"),
    ),
    check(
        "own lists: no agency has many looked at",
        Instead("comity.links.roster:RevocationsInbox._is_next", "self._has_room(agency)", "True"),
        ROSTER_INBOX("test_agency_that_signs_lists_all_day_has_few_of_them_taken"),
    ),
    check(
        "own lists: only a broker that takes it is brought one",
        Instead("comity.links.roster:OwnRevocations._bring", "self._takes", "True"),
        ROSTER_INBOX("test_own_list_is_brought_over_each_link_and_when_it_changes"),
    ),
    check(
        "links: parts of a roster that don't fit are let go",
        Without("comity.links.roster:RosterInbox.add", "if not fits or"),
        ROSTER_INBOX(
            "test_parts_that_do_not_fit_are_let_go[empty part]",
            "test_parts_that_do_not_fit_are_let_go[too large a part]",
            "test_parts_that_do_not_fit_are_let_go[too many parts]",
        ),
    ),
    check(
        "links: a link that ends leaves no half of a roster",
        Without("comity.links.roster:RosterInbox.unlinked", "self._parts = []"),
        ROSTER_INBOX("test_a_link_that_ends_leaves_no_half_behind"),
    ),
    check(
        "links: who was handed over has its older stream closed",
        Without("comity.broker.router:Router._hand_over", "older.peer.close("),
        HANDOVER("test_older_stream_is_closed_once_it_was_handed_over"),
    ),
    check(
        "links: a handover needs a link that follows",
        Without("comity.broker.router:Router._hand_over", "if newer is None:"),
        HANDOVER("test_handover_that_no_link_follows_is_a_violation"),
        falls=("AttributeError",),
    ),
    check(
        "links: a link that waits for a refused end is not entered",
        Instead(
            "comity.broker.router:Router._remove", "self._witness.is_refused(newer.admitted.origin)", "False"
        ),
        HANDOVER("test_link_that_waits_is_not_entered_for_a_refused_end"),
        falls=("AssertionError", "AttributeError"),
    ),
    check(
        "links: a broker hands over nothing that nobody asked for",
        Without("comity.links.client:LinkClient._delivered", "if any("),
        FOLLOWING_LINKS("test_handover_that_nobody_asked_for_ends_the_link"),
        falls=("AssertionError", "TimeoutError"),
    ),
)
