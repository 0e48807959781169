"""What makes a certificate count: put in force, issued, renewed and revoked."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import ISSUING, PAIRS, REVOCATIONS, REVOKED
from tests.patched_out.patching import Without

_BAD_PAIR = "test_pair_that_peers_would_refuse_is_never_put_in_force"
_BAD_REQUEST = "test_request_that_is_not_exactly_an_ends_is_not_signed"
_BAD_LIST = "test_list_that_breaks_a_rule_is_not_taken"

CHECKS = (
    check(
        "pairs: key and chain belong together",
        Without("comity.certs.pairs:LeafPair.of", "if load_private_key(key_pem).public_key()"),
        PAIRS(f"{_BAD_PAIR}[torn]", "test_pair_whose_parts_do_not_match_changes_nothing"),
        ISSUING("test_chain_for_another_key_is_not_taken"),
    ),
    check(
        "pairs: a leaf is the end's",
        Without("comity.certs.pairs:judge_pair", "if pair.spiffe_id != expected:"),
        PAIRS(f"{_BAD_PAIR}[another end]", f"{_BAD_PAIR}[another agency]"),
    ),
    check(
        "pairs: a leaf begins in the past",
        Without("comity.certs.pairs:judge_pair", "if pair.not_before > now:"),
        PAIRS(f"{_BAD_PAIR}[to come]"),
    ),
    check(
        "pairs: a leaf lives no longer than it may",
        Without("comity.certs.pairs:judge_pair", "if leaf.not_valid_after_utc - pair.not_before"),
        PAIRS(f"{_BAD_PAIR}[too long]"),
    ),
    check(
        "pairs: peers verify a chain against the roster's CAs",
        Without("comity.certs.pairs:judge_pair", "verify_leaf("),
        PAIRS(f"{_BAD_PAIR}[another CA]"),
    ),
    check(
        "pairs: who is dialled has its name",
        Without("comity.certs.pairs:judge_pair", "if role in DNS_ROLES and name"),
        PAIRS(f"{_BAD_PAIR}[no DNS name]"),
    ),
    check(
        "own: a statement key is one that the roster names",
        Without("comity.certs.own:OwnCredentials.newer", "if not same_key and found.statement.public"),
        PAIRS(f"{_BAD_PAIR}[statement key]"),
    ),
    check(
        "issuing: a request is signed by its own key",
        Without("comity.certs.issuing:read_request", "if not is_signed:"),
        ISSUING(f"{_BAD_REQUEST}[another key's signature]"),
    ),
    check(
        "issuing: a request asks for names alone",
        Without("comity.certs.issuing:read_request", "if [extension.oid for extension in extensions]"),
        ISSUING(f"{_BAD_REQUEST}[a CA]"),
    ),
    check(
        "issuing: beside its id a leaf has the name by which it is dialled",
        Without("comity.certs.issuing:read_request", "if tuple(san.get_values_for_type(x509.DNSName))"),
        ISSUING(f"{_BAD_REQUEST}[another DNS name]", f"{_BAD_REQUEST}[an address]"),
    ),
    check(
        "issuing: a lifetime is bounded",
        Without("comity.certs.issuing:IssuingFolder.issue", "if not timedelta(minutes=1) <= lifetime"),
        ISSUING("test_lifetime_is_bounded[lifetime2]"),
    ),
    check(
        "revocations: a CA that is revoked, by serial or key, is none",
        Without("comity.certs.members:without_revoked", "ca_certificates = tuple("),
        REVOCATIONS(
            "test_ca_that_is_revoked_issues_no_leaf_that_counts[serial]",
            "test_ca_that_is_revoked_issues_no_leaf_that_counts[key]",
        ),
    ),
    check(
        "revocations: a list that the timestamp names is there",
        Without("comity.certs.revocations:open_revocations", "if wanted:"),
        REVOCATIONS("test_list_that_is_withheld_is_missed"),
    ),
    check(
        "revocations: a list is the one that the timestamp names",
        Without(
            "comity.certs.revocations:open_revocations",
            "if stamp is not None and (found.version, opened.digest)",
        ),
        REVOCATIONS("test_older_list_under_a_newer_timestamp_is_refused"),
    ),
    check(
        "revocations: a list is never older than one that was seen",
        Without(
            "comity.certs.published:PublishedRoster._verified",
            "if federation.revocations.version < seen.revocations:",
        ),
        REVOCATIONS("test_older_list_with_its_own_timestamp_is_refused_after_a_restart"),
    ),
    check(
        "revocations: a list past its next update is not trusted",
        Without("comity.certs.revocations:open_revocations", "if now is not None and now >= next_update:"),
        REVOCATIONS("test_list_past_its_next_update_is_not_trusted"),
    ),
    check(
        "revocations: a list is not from the future",
        Without("comity.certs.revocations:open_revocations", "if now is not None and signed_at > now"),
        REVOCATIONS(f"{_BAD_LIST}[to come]"),
    ),
    check(
        "revocations: a list is the authority's, of this federation",
        Without("comity.certs.revocations:open_revocations", "if found.federation != federation"),
        REVOCATIONS(f"{_BAD_LIST}[of another federation]", f"{_BAD_LIST}[of an agency]"),
    ),
    check(
        "revocations: a link's chain is not revoked",
        Without("comity.broker.admission:admit", "member.revoked.check_chain(hello.chain)"),
        REVOKED("test_revoked_leaf_loses_link_and_session_and_gets_none_until_it_is_replaced"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "revocations: a session's chain is not revoked",
        Without("comity.links.sessions.tls:ExpectedPeer.verify", "self.revoked.check_chain(chain)"),
        REVOKED("test_session_with_a_revoked_leaf_ends_though_the_broker_keeps_its_link"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "revocations: a user is not revoked",
        Without(
            "comity.certs.assertions:_claims",
            "if member.revoked.user(member.agency, claims.user) is not None:",
        ),
        REVOKED("test_revoked_user_is_shown_nothing_more_and_asks_nothing"),
        falls=("Failed", "AssertionError"),
    ),
)
