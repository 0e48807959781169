"""What makes a statement, a name, a member, an agreement and a person count."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import (
    ADMISSION,
    AGREEMENTS,
    ASSERTIONS,
    ATTACKS,
    AUTHORITY_KEYS,
    BAD_CERTIFICATES,
    CA,
    CREDENTIALS,
    ENVELOPE,
    ENVELOPE_JSON,
    ENVELOPE_VECTORS,
    KEYS,
    LEAF,
    MUST_NOT,
    NOTE,
    ORDERS,
    PUBLISHED,
    RELOAD,
    ROSTER,
    ROTATE_KEY,
    SPIFFE,
    TRUST,
)
from tests.patched_out.checks.shared import ANY_SIGNATURE, ANY_TOKEN_KEY
from tests.patched_out.patching import Body, Instead, Without

CHECKS = (
    check(
        "certs: an envelope is signed",
        Without("comity.certs.envelope:_check_signatures", "if not signatures:"),
        ENVELOPE("test_unsigned_envelope_is_refused"),
        ENVELOPE_JSON("test_malformed_document_is_refused[fault15]"),
    ),
    check(
        "certs: an envelope has a bounded number of signatures",
        Without("comity.certs.envelope:_check_signatures", "if len(signatures) > MAX_SIGNATURES:"),
        ENVELOPE("test_too_many_signatures_are_refused_before_any_is_checked"),
        ENVELOPE_JSON("test_malformed_document_is_refused[fault22]"),
    ),
    check(
        "certs: no signature or key id is empty",
        Without("comity.certs.envelope:_signers", "_check_signatures(envelope.signatures)"),
        ENVELOPE(
            "test_unsigned_envelope_is_refused",
            "test_empty_signature_or_key_id_beside_a_good_one_is_refused[signature]",
            "test_empty_signature_or_key_id_beside_a_good_one_is_refused[key_id]",
            "test_too_many_signatures_are_refused_before_any_is_checked",
        ),
    ),
    check(
        "certs: a trusted key's signature verifies",
        Without("comity.certs.envelope:_signers", "key.verify(signature.signature, encoded)"),
        ORDERS("test_changed_order_is_refused"),
        AGREEMENTS("test_agreement_changed_after_signing", "test_signing_what_was_changed_on_the_way"),
        ENVELOPE("test_broken_signature_of_a_trusted_key_spoils_the_envelope"),
    ),
    check(
        "certs: a signature is over these bytes",
        Without("comity.certs.keys:VerifyKey.verify", "self._key.verify(signature, data, _ALGORITHM)"),
        ENVELOPE(
            "test_payload_changed_by_one_bit_is_refused",
            "test_stranger_under_a_trusted_name_is_refused",
            "test_bytes_after_the_signature_are_refused",
            "test_payload_is_not_parsed_before_its_signature_verified",
        ),
        ENVELOPE_VECTORS("test_envelope_is_refused[broken-beside-good]"),
    ),
    check(
        "certs: a document of an enormous size is not read",
        Without("comity.certs.envelope:from_json", "if len(data) > MAX_JSON_BYTES:"),
        ENVELOPE_JSON("test_enormous_document_is_refused_unread"),
    ),
    check(
        "certs: a document has no field twice",
        Without("comity.certs.envelope:_no_duplicates", "if len(found) != len(pairs):"),
        ENVELOPE_JSON(
            "test_field_given_twice_is_refused[payload]", "test_field_given_twice_is_refused[keyid]"
        ),
        ENVELOPE_VECTORS("test_envelope_is_refused[field-twice]"),
    ),
    check(
        "certs: a threshold of signatures is met",
        Without("comity.certs.envelope:open_envelope", "if len(signers) < threshold:"),
        ENVELOPE("test_threshold_counts_keys_not_signatures", "test_one_key_trusted_twice_is_one_key"),
        ROSTER("test_roster_signed_by_too_few", "test_roster_signed_twice_by_one_key"),
        AGREEMENTS(
            "test_agreement_signed_by_one_side",
            "test_agreement_signed_twice_by_one_side",
            "test_agreement_signed_by_a_stranger_and_one_side",
        ),
        TRUST("test_a_roster_of_another_authority_is_refused"),
    ),
    check(
        "certs: a key is on P-256",
        Without("comity.certs.keys:VerifyKey.__init__", "if not isinstance(key.curve, ec.SECP256R1):"),
        KEYS("test_other_kinds_of_key_are_refused[secp256k1]"),
    ),
    check(
        "certs: a key has one encoding",
        Without("comity.certs.keys:VerifyKey.from_der", "if found.der != spki:"),
        KEYS("test_second_encodings_of_a_key_are_refused"),
    ),
    check(
        "certs: an assertion is for Comity",
        Without("comity.certs.assertions:_check_audience", "if audience not in"),
        ASSERTIONS(
            "test_assertion_for_another_audience[audience3]",
            "test_assertion_for_another_audience[audience4]",
            "test_assertion_for_another_audience[audience5]",
        ),
    ),
    check(
        "certs: an assertion names an audience",
        Without("comity.certs.assertions:verify_assertion", "_check_audience(payload)"),
        ASSERTIONS(
            "test_assertion_for_another_audience[]",
            "test_assertion_for_another_audience[audience2]",
            "test_assertion_for_another_audience[1]",
            "test_missing_top_level_claim[aud]",
        ),
    ),
    check(
        "certs: an assertion is bound to a certificate",
        Without("comity.certs.assertions:verify_assertion", "_check_confirmation(payload, certificate_der)"),
        ASSERTIONS(
            "test_assertion_for_another_certificate",
            "test_missing_top_level_claim[cnf]",
            "test_claim_of_the_wrong_kind[cnf-text]",
            "test_claim_of_the_wrong_kind[cnf-value24]",
            "test_claim_of_the_wrong_kind[cnf-value25]",
        ),
    ),
    check(
        "certs: an assertion is bound to the caller's certificate",
        Without("comity.certs.assertions:_check_confirmation", "if not hmac.compare_digest"),
        ASSERTIONS("test_assertion_for_another_certificate"),
    ),
    check(
        "certs: a token brings no key and no rule of its own",
        Without("comity.certs.assertions:_verified_payload", "if strange:"),
        ASSERTIONS(
            "test_token_that_brings_its_own_rules[extra0]",
            "test_token_that_brings_its_own_rules[extra1]",
            "test_token_that_brings_its_own_rules[extra2]",
        ),
    ),
    check(
        "certs: a token is signed with ES256",
        Without("comity.certs.assertions:_verified_payload", "if header.get('alg')"),
        ASSERTIONS(
            "test_unsigned_assertion[None0]",
            "test_unsigned_assertion[NONE]",
            "test_unsigned_assertion[None1]",
            "test_public_key_as_hmac_secret",
        ),
    ),
    check(
        "certs: an assertion is not of the future",
        Without("comity.certs.assertions:_check_times", "if issued_at > now"),
        ASSERTIONS("test_assertion_before_its_time"),
    ),
    check(
        "certs: an assertion lives ten minutes at most",
        Without("comity.certs.assertions:_check_times", "if not issued_at < expires_at"),
        ASSERTIONS("test_assertion_that_lives_too_long"),
    ),
    check(
        "certs: an assertion has not expired",
        Without("comity.certs.assertions:_check_times", "if now >= expires_at"),
        MUST_NOT("test_assertion_that_does_not_verify_is_rejected[expired]"),
        ASSERTIONS("test_assertion_past_its_time"),
    ),
    check(
        "certs: an assertion is valid already",
        Without("comity.certs.assertions:_check_times", "if 'nbf' in payload"),
        ASSERTIONS("test_assertion_before_its_time"),
    ),
    check(
        "certs: an assertion is of this member",
        Without("comity.certs.assertions:_claims", "if _text(subject, 'agency')"),
        ASSERTIONS("test_provider_that_speaks_for_another_agency"),
    ),
    check(
        "certs: training and acceptance lie in the past",
        Without("comity.certs.assertions:_claims", "if instant is not None and instant > issued_at"),
        ASSERTIONS(
            "test_training_or_acceptance_to_come[trained_at]",
            "test_training_or_acceptance_to_come[rules_accepted_at]",
        ),
    ),
    check(
        "certs: roles are a list of lines",
        Without("comity.certs.assertions:_claims", "if not isinstance(roles, list)"),
        ASSERTIONS(
            "test_claim_of_the_wrong_kind[roles-investigator]",
            "test_claim_of_the_wrong_kind[roles-value4]",
            "test_claim_of_the_wrong_kind[roles-value5]",
        ),
    ),
    check(
        "certs: a claim that is true or false is one",
        Without("comity.certs.assertions:_flag", "if not isinstance(value, bool):"),
        ASSERTIONS(
            "test_claim_of_the_wrong_kind[good_standing-true]",
            "test_claim_of_the_wrong_kind[good_standing-1]",
            "test_claim_of_the_wrong_kind[protections_attested-yes]",
            "test_refusal_tells_no_value",
        ),
    ),
    check(
        "certs: no claim stands twice",
        Without("comity.certs.assertions:_no_duplicates", "if len(found) != len(pairs):"),
        ASSERTIONS("test_claim_that_stands_twice"),
    ),
    check(
        "certs: a published key set holds no private key",
        Without("comity.certs.jwks:read_es256_keys", "if _PRIVATE_MEMBERS & entry.keys():"),
        ROSTER("test_identity_provider_with_a_private_key"),
    ),
    check(
        "certs: a leaf names the one id that is expected",
        Without("comity.certs.x509:verify_leaf", "if spiffe_id is not None"),
        ADMISSION("test_client_systems_leaf_opens_no_link"),
        LEAF(
            "test_other_spellings_of_our_name_are_refused[spiffe://cbp.example/Gateway]",
            "test_another_end_of_the_same_agency_is_refused",
        ),
    ),
    check(
        "certs: a CA is constrained to its domain",
        Without("comity.certs.x509:verify_leaf", "verify_ca(root, domain"),
        LEAF(
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[dns-too-many]",
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[dns-wider]",
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[exclusions-only]",
            "test_one_unconstrained_ca_among_good_ones_is_refused",
        ),
    ),
    check(
        "certs: a chain has a bounded length",
        Instead("comity.certs.x509:verify_leaf", "len(chain_der) > MAX_CHAIN", "False"),
        LEAF("test_empty_endless_and_oversized_chains_are_refused_unread"),
    ),
    check(
        "certs: a certificate has a bounded size",
        Without("comity.certs.x509:verify_leaf", "if any((len(der)"),
        LEAF("test_empty_endless_and_oversized_chains_are_refused_unread"),
    ),
    check(
        "certs: a leaf that is issued verifies",
        Without("comity.certs.x509:issue_leaf", "verify_leaf([certificate_der"),
        CA("test_leaf_signed_with_a_key_that_is_not_the_cas_is_not_issued"),
    ),
    check(
        "certs: a SAN beside an empty subject is critical",
        Without("comity.certs.profile:check_leaf", "if not certificate.subject.rdns"),
        LEAF("test_san_that_is_not_critical_beside_an_empty_subject_is_refused"),
    ),
    check(
        "certs: a leaf has one URI",
        Without("comity.certs.profile:check_leaf", "if len(uris) != 1:"),
        LEAF("test_two_uris_are_refused"),
        ATTACKS(
            "test_leaf_that_isn_t_exactly_the_peer_s_is_refused[gateway-two SPIFFE ids]",
            "test_leaf_that_isn_t_exactly_the_peer_s_is_refused[adapter-two SPIFFE ids]",
        ),
    ),
    check(
        "certs: a leaf has no other kind of name",
        Without("comity.certs.profile:check_leaf", "if strange:"),
        LEAF(
            "test_other_kinds_of_name_are_refused[ip]",
            "test_other_kinds_of_name_are_refused[email]",
            "test_other_kinds_of_name_are_refused[directory]",
        ),
        ATTACKS(
            "test_leaf_that_isn_t_exactly_the_peer_s_is_refused[gateway-mail address beside]",
            "test_leaf_that_isn_t_exactly_the_peer_s_is_refused[adapter-mail address beside]",
        ),
    ),
    check(
        "certs: a leaf's DNS names have one spelling, in its domain",
        Without("comity.certs.profile:check_leaf", "if not is_dns_name(name)"),
        LEAF(
            "test_other_spellings_of_dns_names_are_refused[*.cbp.example]",
            "test_other_spellings_of_dns_names_are_refused[Gateway.cbp.example]",
        ),
    ),
    check(
        "certs: a leaf is for servers and clients and nothing else",
        Without("comity.certs.profile:_check_leaf_usage", "if set(extended) !="),
        LEAF(
            "test_extended_key_usage_is_exactly_server_and_client[server]",
            "test_extended_key_usage_is_exactly_server_and_client[client]",
            "test_extended_key_usage_is_exactly_server_and_client[any]",
        ),
        ATTACKS("test_leaf_that_isn_t_exactly_the_peer_s_is_refused[adapter-only for servers]"),
    ),
    check(
        "certs: a leaf signs handshakes",
        Without("comity.certs.profile:_check_leaf_usage", "if not usage.digital_signature"),
        LEAF("test_key_usage_of_a_leaf_is_to_sign_handshakes[no-signature]"),
    ),
    check(
        "certs: a leaf is no CA",
        Without("comity.certs.profile:_check_leaf_usage", "if basic is not None"),
        LEAF("test_leaf_that_is_a_ca_is_refused"),
    ),
    check(
        "certs: a CA is one",
        Without("comity.certs.profile:verify_ca", "if not basic.value.ca"),
        CA("test_leaf_is_no_ca"),
    ),
    check(
        "certs: a CA's constraints are critical",
        Without("comity.certs.profile:verify_ca", "if not constraints.critical:"),
        LEAF("test_ca_that_is_not_constrained_to_the_domain_is_refused[not-critical]"),
        ROSTER("test_ca_without_critical_constraints"),
    ),
    check(
        "certs: a CA is constrained to one domain's names",
        Without("comity.certs.profile:verify_ca", "if len(found) != len(wanted)"),
        CA("test_ca_of_one_domain_is_not_that_of_another"),
        LEAF(
            "test_other_agencys_ca_cannot_mint_our_name",
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[no-dns]",
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[no-uri]",
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[uri-subdomains]",
        ),
    ),
    check(
        "certs: a CA excludes every address",
        Without("comity.certs.profile:verify_ca", "if not set(ALL_ADDRESSES)"),
        LEAF(
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[ipv6-open]",
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[ipv4-open]",
            "test_ca_that_is_not_constrained_to_the_domain_is_refused[ip-open]",
        ),
    ),
    check(
        "certs: a serial number is above 0, of 20 bytes at most",
        Without("comity.certs.profile:check_key_and_signature", "if not 0 < certificate.serial_number"),
        BAD_CERTIFICATES(
            "test_bad_kind_is_refused_in_its_own_words[certificate with a negative serial number]",
            "test_bad_kind_is_refused_in_its_own_words[certificate with the serial number 0]",
            "test_bad_kind_is_refused_in_its_own_words[certificate with a serial number of 21 bytes]",
        ),
    ),
    check(
        "certs: keys are on P-256 or P-384",
        Without(
            "comity.certs.profile:check_key_and_signature",
            "if not isinstance(key, ec.EllipticCurvePublicKey)",
        ),
        LEAF(
            "test_leaf_with_another_kind_of_key_is_refused[ed25519]",
            "test_leaf_with_another_kind_of_key_is_refused[secp256k1]",
            "test_leaf_with_another_kind_of_key_is_refused[p-521]",
        ),
    ),
    check(
        "certs: an id has one spelling of its path",
        Without("comity.certs.spiffe:SpiffeId.__post_init__", "if _PATH.fullmatch"),
        LEAF(
            "test_other_spellings_of_our_name_are_refused[spiffe://cbp.example//gateway]",
            "test_other_spellings_of_our_name_are_refused[spiffe://cbp.example/./gateway]",
            "test_other_spellings_of_our_name_are_refused[spiffe://cbp.example/%67ateway]",
        ),
        SPIFFE(
            "test_what_is_no_id_is_refused[spiffe://cbp.example/]",
            "test_what_is_no_id_is_refused[spiffe://cbp.example/\\xe9]",
        ),
    ),
    check(
        "certs: an id has one scheme",
        Without("comity.certs.spiffe:SpiffeId.parse", "if scheme !="),
        LEAF(
            "test_other_spellings_of_our_name_are_refused[SPIFFE://cbp.example/gateway]",
            "test_other_spellings_of_our_name_are_refused[https://cbp.example/gateway]",
        ),
    ),
    check(
        "certs: an authority's pin has no key twice",
        Without("comity.certs.pin:AuthorityPin.__post_init__", "if len(set(self.keys))"),
        ROSTER("test_pin_with_one_key_twice"),
    ),
    check(
        "certs: an authority's pin has a threshold from one",
        Without("comity.certs.pin:AuthorityPin.__post_init__", "if not 1 <= self.threshold"),
        ROSTER('test_malformed_pin[{"federation": "Test", "threshold": 0, "keys": []}]'),
    ),
    check(
        "certs: a roster is no older than the last seen",
        Without("comity.certs.roster:Federation.verify", "if found.version < last_seen_version:"),
        ROSTER("test_rollback_of_roster_and_timestamp"),
    ),
    check(
        "certs: a roster is the one that the timestamp names",
        Without("comity.certs.roster:Federation.verify", "if (found.version, opened.digest)"),
        ROSTER("test_older_roster_under_the_newest_timestamp", "test_other_roster_of_the_same_version"),
    ),
    check(
        "certs: a roster is of the pinned federation",
        Without("comity.certs.roster:Federation._of", "if roster.federation"),
        ROSTER("test_roster_of_another_federation"),
    ),
    check(
        "certs: the operator is no member",
        Without("comity.certs.roster:Federation.member", "if found is None:"),
        ROSTER("test_operator_is_no_member"),
    ),
    check(
        "certs: a document is not of the future",
        Without("comity.certs.roster:_in_time", "if signed_at > now"),
        ROSTER("test_documents_from_the_future[roster]", "test_documents_from_the_future[timestamp]"),
    ),
    check(
        "certs: a document has not expired",
        Without("comity.certs.roster:_in_time", "if now >= expires_at:"),
        PUBLISHED("test_expired_roster_is_refused"),
        ROSTER("test_expired_roster_under_a_fresh_timestamp"),
    ),
    check(
        "certs: no domain lies within another's",
        Without("comity.certs.roster:_check_distinct", "if outer in domains:"),
        ROSTER("test_domain_within_another_members"),
    ),
    check(
        "certs: no id or domain stands twice",
        Without("comity.certs.roster:_check_distinct", "if (repeated"),
        ROSTER(
            "test_two_members_with_one_id",
            "test_two_members_with_one_domain",
            "test_agency_under_the_operators_name",
        ),
    ),
    check(
        "certs: no key has two uses",
        Without("comity.certs.roster:_check_distinct", "if owners.setdefault"),
        ROSTER(
            "test_one_key_for_two_uses[_share_identity]",
            "test_one_key_for_two_uses[_share_ca]",
            "test_one_key_for_two_uses[_identity_signs_statements]",
        ),
    ),
    check(
        "certs: a member has the logs that its roles need",
        Without("comity.certs.members:_check_logs", "if not needed"),
        ROSTER("test_end_without_a_log"),
    ),
    check(
        "certs: a log is of its member's domain",
        Without("comity.certs.members:_check_logs", "if not log_key.origin"),
        ROSTER("test_log_key_of_another_members_log"),
    ),
    check(
        "certs: a log key is a verifier key under its name",
        Without("comity.certs.members:LogKeyView.__post_init__", "check_verifier_key("),
        ROSTER(
            "test_malformed_log_key[lahd.example/adapter+{hash}+{key}]",
        ),
    ),
    check(
        "certs: a log's keys are all different",
        Without("comity.certs.members:LogKeyView.__post_init__", "if len(set(self.all))"),
        ROSTER("test_log_key_with_a_past_that_cannot_be[twice]"),
    ),
    check(
        "certs: a log's keys ended one after the other",
        Without("comity.certs.members:LogKeyView.__post_init__", "if any((size"),
        ROSTER("test_log_key_with_a_past_that_cannot_be[order]"),
    ),
    check(
        "certs: a key that is to follow is nobody else's",
        Instead("comity.certs.members:key_uses", "log_key.all", "(log_key.verifier_key,)"),
        ROSTER("test_log_key_that_follows_is_no_other_members"),
    ),
    check(
        "certs: no key of a log appears at a stroke",
        Body("comity.certs.updating:_check_log_key", "return"),
        ROTATE_KEY("test_the_authority_admits_no_key_that_appears_at_a_stroke"),
    ),
    check(
        "certs: the operator is brought up to date by its own identity",
        (
            Without("comity.certs.authority:admit.change", "if view.identity_key != running"),
            Without("comity.certs.authority:admit.change", "check_update(running"),
        ),
        ROTATE_KEY("test_an_operator_by_another_identity_is_refused"),
    ),
    check(
        "certs: a key set is its member's",
        Without("comity.certs.members:_check_member", "if (key_set.agency"),
        ROSTER("test_key_set_of_another_agency", "test_key_set_of_another_domain"),
    ),
    check(
        "certs: a member's CA is of its domain",
        Without("comity.certs.members:_check_member", "verify_ca("),
        ROSTER("test_ca_of_another_domain", "test_ca_without_critical_constraints"),
    ),
    check(
        "certs: a roster is no older than the remembered one",
        Without("comity.certs.published:PublishedRoster._verified", "if federation.version < seen.version:"),
        PUBLISHED("test_older_roster_is_refused_after_a_restart"),
        RELOAD("test_process_follows_and_remembers"),
    ),
    check(
        "certs: a roster is the remembered one of its version",
        Without("comity.certs.published:PublishedRoster._verified", "if federation.version == seen.version"),
        PUBLISHED(
            "test_other_roster_of_the_same_version_is_refused[False]",
            "test_other_roster_of_the_same_version_is_refused[True]",
        ),
        RELOAD("test_process_does_not_start_under_another_roster_of_the_same_version"),
    ),
    check(
        "certs: a change of the authority's keys is signed by the old ones",
        Instead("comity.certs.authority_keys:changed", "pin.threshold", "1"),
        AUTHORITY_KEYS("test_change_that_is_none_leads_nowhere[too few of the old]"),
    ),
    check(
        "certs: a change of the authority's keys is signed by the new ones",
        Without(
            "comity.certs.authority_keys:changed",
            "open_envelope(envelope, AuthorityChange, new.keys, threshold=new.threshold)",
        ),
        AUTHORITY_KEYS(
            "test_change_that_is_none_leads_nowhere[too few of the new]",
            "test_change_that_is_none_leads_nowhere[the old alone]",
        ),
    ),
    check(
        "certs: a change of the authority's keys names what it replaces, and the federation",
        Without("comity.certs.authority_keys:changed", "if change.federation != pin.federation"),
        AUTHORITY_KEYS(
            "test_change_that_is_none_leads_nowhere[federation]",
            "test_change_that_is_none_leads_nowhere[others]",
            "test_change_that_is_none_leads_nowhere[nothing]",
        ),
    ),
    check(
        "certs: an authority has a bounded number of keys",
        Without("comity.certs.authority_keys:changed", "if len(change.keys) > MAX_AUTHORITY_KEYS:"),
        AUTHORITY_KEYS("test_change_that_is_none_leads_nowhere[too many keys]"),
    ),
    check(
        "certs: an end remembers to which keys the authority's gave way",
        Without("comity.certs.published:PublishedRoster.load", "if pin != self._followed.pin:"),
        AUTHORITY_KEYS("test_keys_that_gave_way_are_trusted_no_more"),
    ),
    check(
        "certs: what was followed from other pinned keys counts for nothing",
        Instead("comity.certs.authority_keys:FollowedAuthority.load", "is_other", "False"),
        AUTHORITY_KEYS("test_pinning_anew_counts_for_more_than_what_was_followed"),
    ),
    check(
        "certs: a roster is remembered",
        Without("comity.certs.published:PublishedRoster.load", "if seen != self._seen:"),
        PUBLISHED(
            "test_older_roster_is_refused_while_running", "test_older_roster_is_refused_after_a_restart"
        ),
    ),
    check(
        "certs: a memory that can't be read is none",
        Without("comity.certs.published:SeenRoster.load", "if type(version) is not int"),
        PUBLISHED(
            'test_memory_that_cannot_be_read_is_no_empty_memory[{"version": 4, "digest": "00"}]',
        ),
    ),
    check(
        "certs: an agreement is an agreement",
        Without("comity.certs.agreements:read_proposal", "if envelope.payload_type"),
        AGREEMENTS("test_document_of_another_kind_is_no_agreement"),
    ),
    check(
        "certs: terms make sense",
        Without("comity.certs.agreements:read_proposal", "_check_terms(view"),
        AGREEMENTS(
            "test_terms_that_make_no_sense[<lambda>-each in another direction]",
            "test_terms_that_make_no_sense[<lambda>-expires before it takes effect]",
            "test_terms_that_make_no_sense[<lambda>-nonce]",
        ),
    ),
    check(
        "certs: an agreement has two parties",
        Without("comity.certs.agreements:_parties", "if len(found) != 2"),
        AGREEMENTS(
            "test_terms_that_make_no_sense[<lambda>-exactly two different parties0]",
            "test_terms_that_make_no_sense[<lambda>-exactly two different parties1]",
        ),
    ),
    check(
        "certs: an agreement pins the roster's identity keys",
        Without("comity.certs.acceptances:moves", "if pinned not in keys"),
        AGREEMENTS(
            "test_roster_with_another_identity_key_than_pinned",
            "test_agreement_that_pins_the_false_key_is_not_signed_by_the_true_one",
        ),
    ),
    check(
        "certs: a grant is between the parties",
        Without("comity.certs.agreements:_grant", "if {grant.provider"),
        AGREEMENTS(
            "test_terms_that_make_no_sense[<lambda>-provider and requester0]",
            "test_terms_that_make_no_sense[<lambda>-provider and requester1]",
            "test_terms_that_make_no_sense[<lambda>-provider and requester2]",
        ),
    ),
    check(
        "certs: a grant's words are known",
        Without("comity.certs.agreements:_grant", "if not elements"),
        AGREEMENTS("test_terms_that_make_no_sense[<lambda>-without a value]"),
    ),
    check(
        "certs: a grant's ceiling is its provider's",
        Without("comity.certs.agreements:_grant", "check_ceiling("),
        AGREEMENTS(
            "test_terms_that_make_no_sense[<lambda>-ceiling marking]",
            "test_terms_that_make_no_sense[<lambda>-names another provider]",
            "test_terms_that_make_no_sense[<lambda>-no agreement's digest]",
        ),
    ),
    check(
        "certs: a member provides, or asks, if the roster says so",
        Without("comity.certs.agreements:AgreementBook.grant", "if not asked.provides"),
        AGREEMENTS("test_member_that_does_not_provide_or_ask_is_granted_nothing"),
    ),
    check(
        "certs: a suspended member is granted nothing",
        Instead("comity.certs.agreements:AgreementBook.grant", "asked.is_out", "False"),
        AGREEMENTS("test_suspended_member_is_granted_nothing"),
    ),
    check(
        "certs: a lodgement is a lodgement",
        Without("comity.certs.lodgements:load_lodgement", "if envelope.payload_type"),
        AGREEMENTS("test_agreement_handed_to_the_broker"),
    ),
    check(
        "certs: a lodgement names two agencies and an agreement",
        Without("comity.certs.lodgements:load_lodgement", "if provider == requester"),
        AGREEMENTS(
            "test_malformed_lodgement[<lambda>-two agencies]", "test_malformed_lodgement[<lambda>-32 bytes]"
        ),
    ),
    check(
        "certs: a private file is its owner's alone",
        Without("comity.certs.files:read_private", "if mode & _OTHERS:"),
        NOTE("test_a_log_key_that_others_can_read_is_refused"),
        ASSERTIONS("test_key_that_others_can_read"),
        CREDENTIALS(
            "test_key_that_others_can_read_is_named[leaf.key]",
            "test_key_that_others_can_read_is_named[statement.key]",
            "test_key_that_others_can_read_is_named[log.key]",
        ),
    ),
    check(
        "certs: a chain verifies, at its time, under the constraints of its CA",
        Body("comity.certs.x509:_verify_chain", "return [leaf, *roots]"),
        LEAF(
            "test_expired_leaf_is_refused",
            "test_leaf_of_the_future_is_refused",
            "test_leaf_of_an_expired_ca_is_refused_and_ends_with_it",
            "test_leaf_of_an_unknown_ca_with_our_constraints_is_refused",
            "test_ca_sent_in_the_chain_is_trusted_in_nothing",
            "test_intermediate_with_wider_names_widens_nothing",
            "test_our_cas_issue_no_intermediates",
            "test_end_cannot_issue_with_its_leaf",
            "test_leaf_changed_in_any_byte_is_refused",
        ),
    ),
    check(
        "certs: an assertion is of the member's own identity provider",
        (
            Instead("comity.certs.assertions:_verified_payload", "provider.issuer == issuer", "True"),
            Instead(
                "comity.certs.assertions:_verified_payload",
                "es256_keys(provider.jwks).get(kid)",
                "next(iter(es256_keys(provider.jwks).values()))",
            ),
            ANY_TOKEN_KEY,
            Without("comity.certs.assertions:_claims", "if _text(subject, 'agency')"),
        ),
        ASSERTIONS("test_assertion_of_another_agency", "test_stolen_kid"),
    ),
    check(
        "certs: a segment of a token has one spelling",
        (
            Without("comity.certs.assertions:_from_base64url", "if base64.urlsafe_b64encode(data)"),
            ANY_TOKEN_KEY,
        ),
        ASSERTIONS("test_padded_or_non_canonical_segments"),
    ),
    check(
        "certs: a key set of an identity provider has a key for ES256",
        Without("comity.certs.jwks:read_es256_keys", "if not found:"),
        ASSERTIONS("test_key_from_another_curve_or_use"),
    ),
    check(
        "certs: no key stands twice in a key set",
        Without(
            "comity.certs.jwks:read_es256_keys", "if not isinstance(kid, str) or not kid or kid in found:"
        ),
        ASSERTIONS("test_jwks_with_a_point_off_the_curve_or_a_kid_twice"),
    ),
    check(
        "certs: a claim that must be there is there",
        Without("comity.certs.assertions:_required", "if value is None:"),
        ASSERTIONS("test_missing_claim_about_the_user"),
        falls=("AssertionError", "Failed", "AttributeError", "TypeError"),
    ),
    check(
        "certs: the authority's documents are signed by its keys",
        ANY_SIGNATURE,
        ROSTER(
            "test_roster_signed_by_the_operator",
            "test_timestamp_signed_by_strangers",
            "test_key_set_signed_by_another_identity",
        ),
        falls=("Failed", "AssertionError"),
    ),
    check(
        "certs: a roster is signed, and is the one that its timestamp names",
        (
            ANY_SIGNATURE,
            Without("comity.certs.roster:Federation.verify", "if (found.version, opened.digest)"),
        ),
        ROSTER("test_roster_changed_after_signing"),
    ),
    check(
        "certs: a timestamp has not expired",
        Without("comity.certs.roster:_in_time", "if now >= expires_at:"),
        ROSTER("test_frozen_timestamp"),
    ),
    check(
        "certs: a time is set",
        Without("comity.certs.instants:to_instant", "if not message.HasField(field):"),
        ROSTER("test_times_that_are_not_set"),
    ),
    check(
        "certs: a member has no log of a broker",
        Instead("comity.certs.members:_check_logs", "needed <= roles <= allowed", "needed <= roles"),
        ROSTER("test_member_with_a_broker_log"),
    ),
    check(
        "certs: an agreement counts in its time",
        Instead("comity.certs.agreements:AgreementBook.grant", "agreement.in_force(now)", "True"),
        AGREEMENTS("test_agreement_out_of_its_time"),
    ),
    check(
        "certs: a lodgement is signed by its provider's identity key",
        ANY_SIGNATURE,
        AGREEMENTS("test_lodgement_by_the_requester", "test_lodgement_by_the_statement_key"),
    ),
    check(
        "certs: an envelope is signed by a trusted key",
        ANY_SIGNATURE,
        ENVELOPE(
            "test_trusted_key_without_its_name_is_refused",
            "test_any_flipped_bit_of_a_sealed_envelope_is_refused",
        ),
    ),
    check(
        "certs: no trusted key opens nothing",
        Without("comity.certs.envelope:open_envelope", "if len(signers) < threshold:"),
        ENVELOPE("test_no_trusted_key_opens_nothing"),
    ),
    check(
        "certs: a published folder is verified under the pinned keys",
        Instead(
            "comity.certs.published:PublishedRoster._verified",
            "follow(self._followed.pin, documents.changes)",
            "AuthorityPin.load(self.public / AUTHORITY_FILE)",
        ),
        PUBLISHED("test_replaced_folder_is_not_trusted"),
    ),
    check(
        "certs: a roster that was brought is newer than what is in force",
        Instead("comity.certs.published:PublishedRoster.take", "_age(federation) > _age(known)", "True"),
        PUBLISHED("test_roster_that_the_broker_brought_counts_where_it_is_newer"),
    ),
    check(
        "certs: a roster is remembered before it counts",
        Without("comity.certs.published:PublishedRoster.load", "seen.save(self._seen_path)"),
        PUBLISHED(
            "test_roster_that_cannot_be_remembered_is_not_taken", "test_roster_is_taken_and_remembered"
        ),
    ),
)
