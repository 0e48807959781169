"""What stops or shows the lies of a provider and of a requester that hold their own keys."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import LYING_PROVIDER, LYING_REQUESTER, ON_THE_WIRE, STOLEN_KEY
from tests.patched_out.checks.shared import ANY_LEAF, ANY_SIGNATURE, ANY_TOKEN_KEY
from tests.patched_out.patching import Body, Instead, Without

RECEIPT = "comity.gateway.verification:verify_receipt"
PAGES = "comity.gateway.verification:verify_pages"
MARKING = "comity.gateway.verification:_check_marking"
EXCHANGE = "comity.gateway.exchange:Exchange"
ADDRESSED = "comity.adapters.orders:check_addressed"
TOKEN = "comity.certs.assertions"
AGREEMENT = "comity.certs.agreements:AgreementBook.grant"

ANY_PAGES = (
    Without(PAGES, "pages: are not those"),
    Without(PAGES, "page: its number is wrong"),
    Without(PAGES, "pages: their reads are not"),
)


def _pages(*lies: str) -> tuple[str, ...]:
    return LYING_PROVIDER(
        *(f"test_pages_that_are_not_those_of_the_receipt_are_not_shown[{lie}]" for lie in lies)
    )


def _receipt(*lies: str) -> tuple[str, ...]:
    return LYING_PROVIDER(*(f"test_receipt_that_says_what_it_must_not_shows_nothing[{lie}]" for lie in lies))


def _leaves(*lies: str) -> tuple[str, ...]:
    return LYING_REQUESTER(
        *(f"test_leaves_that_are_not_those_that_were_signed_are_placed_nowhere[{lie}]" for lie in lies)
    )


def _assertion(*lies: str) -> tuple[str, ...]:
    return LYING_REQUESTER(
        *(f"test_assertion_that_vouches_for_nobody_releases_nothing[{lie}]" for lie in lies)
    )


PROVIDER = (
    check(
        "lying provider: pages are those that were signed",
        ANY_PAGES,
        _pages("another page than it signed", "a page twice", "pages in another order", "another detail"),
    ),
    check(
        "lying provider: nothing is shown before every page is there",
        (
            Instead(
                f"{EXCHANGE}._try_verify",
                "len(part.pages) < part.receipt.detail.page_count",
                "len(part.pages) < min(1, part.receipt.detail.page_count)",
            ),
            Without(PAGES, "pages: their number is not"),
            Without(PAGES, "pages: are not those"),
            Without(PAGES, "pages: their reads are not"),
        ),
        _pages("fewer pages than it signed"),
    ),
    check(
        "lying provider: a page is of this exchange",
        Without(PAGES, "page: names another exchange"),
        LYING_PROVIDER("test_page_of_an_earlier_exchange_is_not_shown"),
    ),
    check(
        "lying provider: a receipt covers the pages",
        Without(PAGES, "pages: are not those"),
        _receipt("over other pages"),
    ),
    check(
        "lying provider: a receipt is of this exchange",
        Without(RECEIPT, "receipt: names another exchange"),
        _receipt("of another exchange"),
    ),
    check(
        "lying provider: a receipt is of this question",
        Without(RECEIPT, "receipt: answers another query"),
        _receipt("of another question"),
    ),
    check(
        "lying provider: a receipt is for this requester",
        Without(RECEIPT, "receipt: names another requester"),
        _receipt("for another requester"),
    ),
    check(
        "lying provider: a receipt is in its signer's name",
        Without(RECEIPT, "receipt: names another provider"),
        _receipt("in another provider's name"),
    ),
    check(
        "lying provider: a receipt stands on the agreement in force",
        Without(RECEIPT, "receipt: stands on another agreement"),
        _receipt("on another agreement"),
    ),
    check(
        "lying provider: a receipt carries the agreement's ceiling",
        (Without(RECEIPT, "receipt: carries no marking"), Without(RECEIPT, "receipt: ceiling is not")),
        _receipt("under a weaker ceiling"),
    ),
    check(
        "lying provider: a receipt's kind is a provider's to sign, and the detail's",
        (
            Without(RECEIPT, "receipt: its kind is not"),
            Without(RECEIPT, "detail: its kind is not"),
            Without(RECEIPT, "detail: reads beside an outcome"),
        ),
        _receipt("with an outcome of the broker's"),
    ),
    check(
        "lying provider: a receipt promises an entry of its log",
        Without(RECEIPT, "receipt: has no promise"),
        _receipt("that promises nothing"),
    ),
    check(
        "lying provider: a promise is of the provider's own log",
        Without("comity.gateway.verification:_check_promise", "receipt: its promise is of another log"),
        _receipt("that promises in another's log"),
    ),
    # Of no time but now is there a key of the provider's; the test's keys are valid for long.
    check(
        "lying provider: a receipt is not of the future",
        Without(RECEIPT, "receipt: signed in the future"),
        _receipt("of tomorrow"),
    ),
    check(
        "lying provider: a receipt is not older than its order",
        (
            Without(RECEIPT, "receipt: signed before it was ordered"),
            Instead(
                RECEIPT,
                "expected.member.believed_keys_at(signed_at)",
                "[valid.key for valid in expected.member.key_set.statement_keys]",
            ),
        ),
        _receipt("of yesterday"),
    ),
    check(
        "lying provider: a receipt is signed by the provider that was asked",
        ANY_SIGNATURE,
        LYING_PROVIDER("test_receipt_under_a_key_that_is_not_the_providers_counts_nowhere"),
    ),
    check(
        "lying provider: a receipt is of the provider that was asked, and of its question",
        (
            ANY_SIGNATURE,
            Without(RECEIPT, "receipt: names another provider"),
            Without(RECEIPT, "receipt: answers another query"),
            Without(RECEIPT, "receipt: stands on another agreement"),
            Without(RECEIPT, "receipt: ceiling is not"),
            Without("comity.gateway.verification:_check_promise", "receipt: its promise is of another log"),
            Without(MARKING, "marking names another agreement"),
            Without(MARKING, "marking names another agency"),
            Without(MARKING, "marking is stricter"),
        ),
        LYING_PROVIDER("test_another_providers_receipt_counts_with_nobody"),
    ),
    check(
        "lying provider: nothing stands beside a refusal",
        Without(RECEIPT, "detail: reads beside an outcome"),
        LYING_PROVIDER("test_reads_beside_a_refusal_are_not_shown"),
    ),
    check(
        "lying provider: a second receipt at the broker is a contradiction",
        Without("comity.broker.desk:ExchangeDesk.receipt", "self._scribe.write(entry)"),
        LYING_PROVIDER("test_two_receipts_at_the_broker_are_a_contradiction_in_its_log"),
        falls=("ValueError", "TimeoutError"),
    ),
    check(
        "lying provider: a provider has one receipt",
        Without(f"{EXCHANGE}.on_result", "if part.receipt is not None:"),
        LYING_PROVIDER("test_second_receipt_before_the_pages_shows_nothing_and_both_are_kept"),
    ),
    check(
        "lying provider: two receipts of a provider are a finding",
        Instead(f"{EXCHANGE}._other", "is_other_receipt(part.expected, part.stamped, known)", "False"),
        LYING_PROVIDER("test_provider_that_tells_broker_and_requester_different_things_is_found"),
    ),
    check(
        "lying provider: a second receipt is a finding whenever it comes",
        Body("comity.gateway.verification:is_other_receipt", "return False"),
        LYING_PROVIDER("test_results_after_a_refusal_are_not_shown_and_are_held_against_it"),
        falls=("AssertionError", "ValueError"),
    ),
)

REQUESTER = (
    check(
        "lying requester: a question is answered by the one that it is addressed to",
        (Without(ADDRESSED, "if leaf.provider != own:"), Without(ADDRESSED, "if named != ")),
        LYING_REQUESTER("test_questions_beyond_their_audience_release_nothing"),
    ),
    check(
        "lying requester: a leaf stands under its order's root, and has its query's digest",
        (
            Without(ADDRESSED, "merkle.verify_inclusion("),
            Without(ADDRESSED, "if leaf.query_digest != digest(ask.query):"),
        ),
        LYING_REQUESTER("test_leaf_of_another_order_releases_nothing"),
    ),
    check(
        "lying requester: a query has the digest that was ordered",
        Without(ADDRESSED, "if leaf.query_digest != digest(ask.query):"),
        LYING_REQUESTER("test_question_that_was_not_ordered_releases_nothing"),
        falls=("AssertionError", "ValueError"),
    ),
    check(
        "lying requester: the leaves are those that were signed",
        (
            Without("comity.broker.orders:_leaves", "if merkle.root("),
            Without("comity.broker.orders:_leaves", "if not 1 <= len(leaves)"),
            Without("comity.broker.orders:_leaves", "if len({leaf.provider"),
            Without("comity.broker.orders:_leaves", "_check_leaf(leaf)"),
        ),
        _leaves("one less", "in another order"),
    ),
    check(
        "lying requester: what the broker did not announce is not answered",
        Without("comity.adapters.orders:check_announced", "if announcement is None"),
        LYING_REQUESTER("test_question_past_the_broker_releases_nothing"),
    ),
    check(
        "lying requester: an exchange is served once",
        Without("comity.adapters.replay:ReplayGuard.claim", "if key in self._known:"),
        LYING_REQUESTER("test_question_asked_twice_is_answered_once"),
    ),
    check(
        "lying requester: an agreement that is over carries nothing",
        Instead(AGREEMENT, "agreement.in_force(now)", "True"),
        LYING_REQUESTER("test_question_under_a_stale_agreement_releases_nothing"),
    ),
    check(
        "lying requester: both ends mean one agreement",
        Without(
            "comity.links.sessions.hub:GatewaySessions._check_ready",
            "if ready.agreement_digest != session.agreement_digest:",
        ),
        LYING_REQUESTER("test_gateway_that_holds_another_agreement_gets_no_session"),
    ),
    check(
        "lying requester: an assertion is of the requester's own identity provider",
        Body(
            "comity.adapters.path:_subject",
            """
            return Claims(
                user="anybody", agency=member.agency, office="", duty_station="desk", roles=("investigator",),
                trained_at=now, rules_accepted_at=now, rules_digest=bytes(32), good_standing=True,
                protections_attested=True, account_reviewed_at=now, issued_at=now, expires_at=now, jti="x",
            )
            """,
        ),
        LYING_REQUESTER("test_assertion_that_vouches_for_nobody_releases_nothing"),
    ),
    check(
        "lying requester: an assertion is signed by a key of its issuer",
        ANY_TOKEN_KEY,
        _assertion("of another user than was signed"),
    ),
    check(
        "lying requester: an assertion is signed with ES256, by a key of its issuer",
        (ANY_TOKEN_KEY, Without(f"{TOKEN}:_verified_payload", "if header.get('alg')")),
        _assertion("alg none", "RSA key", "P-384 key", "Ed25519 key"),
    ),
    check(
        "lying requester: a token brings no key of its own",
        (ANY_TOKEN_KEY, Without(f"{TOKEN}:_verified_payload", "if strange:")),
        _assertion("a key in the header"),
    ),
    check(
        "lying requester: an assertion has not expired",
        Without(f"{TOKEN}:_check_times", "if now >= expires_at"),
        _assertion("past its time"),
    ),
    check(
        "lying requester: an assertion is not of the future",
        (
            Without(f"{TOKEN}:_check_times", "if issued_at > now"),
            Without(f"{TOKEN}:_check_times", "if 'nbf' in payload"),
        ),
        _assertion("before its time"),
        falls=("AssertionError", "ValueError"),
    ),
    check(
        "lying requester: an assertion is for Comity",
        Without(f"{TOKEN}:_check_audience", "if audience not in"),
        _assertion("for another service"),
    ),
    check(
        "lying requester: an assertion is bound to a certificate",
        Without(f"{TOKEN}:verify_assertion", "_check_confirmation(payload, certificate_der)"),
        _assertion("bound to no certificate"),
    ),
    check(
        "lying requester: a signature verifies",
        ANY_SIGNATURE,
        LYING_REQUESTER("test_signature_of_the_wrong_kind_under_the_right_key_id_is_none"),
    ),
)

THIEF = (
    check(
        "thief: a statement key of another agency signs nothing",
        (ANY_SIGNATURE, Without("comity.broker.orders:verify_order", "if order.requester != agency:")),
        STOLEN_KEY("test_order_signed_with_another_agencys_stolen_key_is_answered_by_nobody"),
        falls=("AssertionError", "TimeoutError"),
    ),
    check(
        "thief: a leaf is judged again where a link begins",
        ANY_LEAF,
        STOLEN_KEY("test_leaf_that_is_not_exactly_the_ends_opens_no_link"),
    ),
    check(
        "thief: a caller's leaf names a system of the agency",
        Without("comity.gateway.service:QueryService._verified", "if not leaf.spiffe_id.startswith("),
        ON_THE_WIRE(
            "test_certificate_that_is_not_exactly_a_systems_is_unauthenticated[another end]",
            "test_certificate_that_is_not_exactly_a_systems_is_unauthenticated[no system]",
        ),
    ),
    check(
        "thief: a caller's leaf has the shape of one",
        (
            Without("comity.certs.profile:check_leaf", "if strange:"),
            Without("comity.certs.profile:check_leaf", "if len(uris) != 1:"),
        ),
        ON_THE_WIRE(
            "test_certificate_that_is_not_exactly_a_systems_is_unauthenticated[two SPIFFE ids]",
            "test_mail_address_beside_a_systems_name_is_unauthenticated",
        ),
    ),
    check(
        "thief: an assertion is bound to the caller's certificate",
        Without(f"{TOKEN}:_check_confirmation", "if not hmac.compare_digest"),
        ON_THE_WIRE("test_assertion_for_another_certificate_or_past_its_time_is_unauthenticated"),
    ),
)

CHECKS = (*PROVIDER, *REQUESTER, *THIEF)
