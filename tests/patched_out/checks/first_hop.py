"""What binds an assertion to its caller, and to a key that its identity provider still publishes."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import FIRST_HOP, FOLLOWING_JWKS, JWKS_SOURCE
from tests.patched_out.patching import Body, Instead, Without

PUBLISHED = "comity.certs.published_keys:Published"
FOLLOWING = "comity.certs.following_jwks:PublishedKeys"
SOURCE = "comity.certs.jwks_source"
_ANOTHERS = "test_confirmation_that_is_not_the_callers_lets_nobody_in"
_RENEWED = "test_after_its_certificate_was_renewed_the_caller_logs_on_again"
_WITHDRAWN = "test_key_that_its_provider_withdrew_lets_nobody_in"


def _bound(way: str) -> tuple[str, ...]:
    return FIRST_HOP(f"{_ANOTHERS}[{way}-of another certificate]", f"{_RENEWED}[{way}]")


CHECKS = (
    check(
        "first hop: a search's assertion is bound to its caller's certificate (RFC 8705)",
        Instead("comity.gateway.front:answer_to", "certificate_der()", "None"),
        _bound("Search"),
        _bound("library"),
    ),
    check(
        "first hop: the library's assertion is bound to the gateway's own leaf (RFC 8705)",
        Instead("comity.gateway.library.requester:Requester.search", "self.certificate", "None"),
        _bound("library"),
    ),
    check(
        "first hop: an auditor's assertion is bound to its caller's certificate (RFC 8705)",
        Instead(
            "comity.gateway.audit_service:AuditService._answer", "self._queries.caller(context, call)", "None"
        ),
        _bound("RetrieveRecords"),
    ),
    check(
        "first hop: a confirmation is the only one (RFC 7800)",
        Without("comity.certs.assertions:_check_confirmation", "if confirmation != {'x5t#S256': named}"),
        FIRST_HOP(
            *(
                f"{_ANOTHERS}[{way}-{fault}]"
                for way in ("Search", "RetrieveRecords", "library")
                for fault in ("beside a key", "beside another")
            )
        ),
    ),
    check(
        "first hop: a search's key is one that its identity provider publishes",
        Instead("comity.gateway.front:answer_to", "gateway.published", "None"),
        FIRST_HOP(f"{_WITHDRAWN}[Search]", f"{_WITHDRAWN}[library]"),
    ),
    check(
        "first hop: an auditor's key is one that its identity provider publishes",
        Instead("comity.gateway.audit_service:AuditService._answer", "gateway.published", "None"),
        FIRST_HOP(f"{_WITHDRAWN}[RetrieveRecords]"),
    ),
    check(
        "first hop: a withdrawn key counts no more, though the roster names it",
        Without(f"{PUBLISHED}.check", "if named is not None"),
        FOLLOWING_JWKS(
            "test_rotation_is_followed_step_by_step",
            "test_outage_is_told_and_over_by_itself",
        ),
    ),
    check(
        "first hop: a published key is the roster's under its kid",
        Instead(f"{PUBLISHED}.check", "published != named", "False"),
        FOLLOWING_JWKS("test_key_of_another_content_under_the_same_kid_is_refused"),
    ),
    check(
        "first hop: unknown kids bring a look forward once in a while at most",
        Instead(f"{FOLLOWING}._is_due", "now >= self._tried_at + EARLY", "True"),
        FOLLOWING_JWKS("test_flood_of_unknown_kids_asks_the_provider_nothing_more"),
    ),
    check(
        "first hop: as many unknown kids are remembered as may be, and then none counts",
        Instead(f"{FOLLOWING}._bring_forward", "len(self._unknown) < MOST_UNKNOWN", "True"),
        FOLLOWING_JWKS("test_flood_of_unknown_kids_asks_the_provider_nothing_more"),
    ),
    check(
        "first hop: an unknown kid is remembered",
        Instead(f"{FOLLOWING}._bring_forward", "digest not in self._unknown", "True"),
        FOLLOWING_JWKS("test_same_unknown_kid_brings_the_next_look_forward_once"),
    ),
    check(
        "first hop: unknown kids bring nothing forward while the provider is away",
        Instead(f"{FOLLOWING}._is_due", "not self.failures", "True"),
        FOLLOWING_JWKS("test_flood_while_the_provider_is_away_asks_it_no_more_often"),
    ),
    check(
        "first hop: what was fetched last outlives a restart",
        Body("comity.certs.published_keys:load_published", "return None"),
        FOLLOWING_JWKS("test_outage_is_told_and_over_by_itself"),
    ),
    check(
        "first hop: new keys at each look do not fill the log",
        Instead(f"{FOLLOWING}._compare", "unlisted[:MOST_TOLD]", "unlisted"),
        FOLLOWING_JWKS("test_new_keys_at_each_look_do_not_fill_the_log"),
    ),
    check(
        "first hop: a pipe is not waited for",
        Without(f"{SOURCE}:JwksRequest._from_file", "if not stat.S_ISREG("),
        JWKS_SOURCE("test_pipe_is_not_waited_for"),
        falls=("Failed",),
    ),
    check(
        "first hop: keys are fetched over https alone",
        Without(f"{SOURCE}:_check_url", "if parts.scheme != 'https'"),
        JWKS_SOURCE("test_address_that_is_not_https_is_refused"),
    ),
    check(
        "first hop: the server that is asked is vouched for",
        Body(f"{SOURCE}:_context", "return ssl._create_unverified_context()"),
        JWKS_SOURCE(
            "test_server_whom_the_ca_does_not_vouch_for_is_not_believed",
            "test_certificate_of_another_name_or_time_is_not_believed",
        ),
    ),
    check(
        "first hop: no more is read of a set than it may have",
        Instead(f"{SOURCE}:JwksRequest._ask", "len(found) <= MAX_JWKS_BYTES", "True"),
        JWKS_SOURCE("test_no_more_is_read_than_a_set_may_have"),
    ),
    check(
        "first hop: a server that trickles is cut",
        Without(f"{SOURCE}:JwksRequest._from_server", "timer.start()"),
        JWKS_SOURCE("test_server_that_trickles_is_cut"),
    ),
)
