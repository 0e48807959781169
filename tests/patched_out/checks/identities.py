"""What makes a new identity key count in the place of the one that an agreement pins, and nothing else."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import ADOPTING, IDENTITIES, ROTATE_IDENTITY
from tests.patched_out.patching import Instead, Without

SUCCESSION = "comity.certs.successions:read_succession"
CHAIN = "comity.certs.successions:read_chain"
ACCEPTANCE = "comity.certs.acceptances:verify_acceptance"
MOVES = "comity.certs.acceptances:moves"
FORGED = "test_forged_succession_spoils_the_roster_that_carries_it"
FALSE = "test_acceptance_that_the_other_party_did_not_give"

CHECKS = (
    check(
        "identities: the old key vouches and the new one proves possession",
        Instead(
            SUCCESSION,
            "open_envelope(envelope, IdentitySuccession, [old, new], threshold=2)",
            "open_envelope(envelope, IdentitySuccession, [old, new])",
        ),
        IDENTITIES(
            f"{FORGED}[signed by the new key alone]",
            f"{FORGED}[signed by the old key alone]",
            f"{FORGED}[signed by a stranger and the new key]",
        ),
    ),
    check(
        "identities: a new key counts no earlier than it was signed",
        Without(SUCCESSION, "if succession.effective_at <"),
        IDENTITIES(f"{FORGED}[in force before it was signed]"),
    ),
    check(
        "identities: the old key ends",
        Without(SUCCESSION, "if not timedelta(0) <="),
        IDENTITIES(f"{FORGED}[old key that never ends]", f"{FORGED}[old key that ends before]"),
    ),
    check(
        "identities: a succession is the agency's own",
        Without(CHAIN, "if step.agency != agency"),
        IDENTITIES(f"{FORGED}[of another agency]"),
    ),
    check(
        "identities: no key has two successors",
        Without(CHAIN, "if step.old != former.new"),
        IDENTITIES(f"{FORGED}[second from the same key]"),
    ),
    check(
        "identities: successions lead to the key that the roster names",
        Without(CHAIN, "if chain and chain[-1].new"),
        IDENTITIES(f"{FORGED}[from another key]"),
    ),
    check(
        "identities: no key comes back",
        Without(CHAIN, "if len(set(keys)) !="),
        IDENTITIES(f"{FORGED}[key that comes back]"),
    ),
    check(
        "identities: a new key counts from its time on",
        Instead(
            "comity.certs.acceptances:Move.rests_at",
            "early or (self.is_open and now >= self.old_until)",
            "self.is_open and now >= self.old_until",
        ),
        IDENTITIES("test_succession_counts_no_earlier_than_it_says"),
    ),
    check(
        "identities: an agreement rests unless its other party accepts",
        Instead("comity.certs.acceptances:Move.is_open", "self.acceptance is None and not self.own", "False"),
        IDENTITIES("test_agreement_whose_other_party_never_accepts_rests_with_the_reason"),
    ),
    check(
        "identities: what was accepted binds the roster",
        Without(MOVES, "if known.digest not in named"),
        IDENTITIES(
            "test_other_successor_than_the_accepted_one_is_refused",
            "test_roster_that_goes_back_is_refused_by_who_accepted",
            "test_roster_that_goes_back_on_ones_own_key_is_refused",
        ),
    ),
    check(
        "identities: a revoked key vouches for nobody",
        Without(MOVES, "if revoked is not None and revoked.at"),
        IDENTITIES("test_key_that_was_revoked_before_vouches_for_nobody"),
    ),
    check(
        "identities: a former key that is revoked ends at once",
        Instead(
            MOVES, "step.old_until if revoked is None else min(step.old_until, revoked.at)", "step.old_until"
        ),
        IDENTITIES("test_former_key_that_is_revoked_carries_nobody_to_the_overlaps_end"),
    ),
    check(
        "identities: an agency whose identity key is revoked is suspended",
        Instead("comity.certs.members:without_revoked", "identity is not None", "False"),
        IDENTITIES("test_revoked_identity_key_suspends_its_agency"),
    ),
    check(
        "identities: nobody accepts their own key",
        Without(ACCEPTANCE, "if claimed.agency == succession.agency"),
        IDENTITIES(f"{FALSE}[by the rotating side, in its own name]"),
    ),
    check(
        "identities: a party accepts",
        Without(ACCEPTANCE, "if claimed.agency not in parties"),
        IDENTITIES(f"{FALSE}[of a succession of somebody else]"),
    ),
    check(
        "identities: an acceptance is signed with a key of its day",
        Instead(
            ACCEPTANCE,
            "member.identities.after(parties[claimed.agency]).at(at)",
            "[time.key for time in member.identities.times]",
        ),
        IDENTITIES(f"{FALSE}[with a former key, after its end]"),
    ),
    check(
        "identities: notice is given with a key of its day",
        Instead(
            "comity.certs.notices:Term.keys_at", "found.at(instant)", "tuple(t.key for t in found.times)"
        ),
        IDENTITIES(
            "test_notice_counts_with_a_key_of_its_day[given2-False]",
            "test_new_key_gives_no_notice_from_before_its_time",
        ),
    ),
    check(
        "identities: nobody signs what pins a former key",
        Without("comity.certs.drafting:sign", "if proposed.moves"),
        IDENTITIES("test_proposal_that_pins_a_former_key_is_drawn_up_anew"),
    ),
    check(
        "identities: a revoked key lodges nothing",
        Instead(
            "comity.certs.lodgements:load_lodgement",
            "key_digest(time.key.der) not in provider.revoked.public_keys",
            "True",
        ),
        IDENTITIES("test_lodgement_of_before_goes_on_unless_the_key_was_revoked"),
    ),
    check(
        "identities: the authority takes no succession of a revoked key",
        Without("comity.certs.updating:_goes_on", "if gone is not None"),
        ROTATE_IDENTITY("test_revoked_key_vouches_for_nobody_and_its_agency_is_suspended"),
    ),
    check(
        "identities: the authority takes no succession of a revoked key that is dated back",
        Instead(
            "comity.certs.updating:_goes_on",
            "gone is not None",
            "gone is not None and gone.at <= step.issued_at",
        ),
        ROTATE_IDENTITY("test_revoked_key_vouches_for_nobody_and_its_agency_is_suspended"),
    ),
    check(
        "identities: the authority admits no key before its time",
        Without("comity.certs.updating:_goes_on", "if step.effective_at > now"),
        ROTATE_IDENTITY("test_authority_admits_no_succession_ahead_of_its_time_and_none_that_forgets_one"),
    ),
    check(
        "identities: no application forgets a succession",
        Without("comity.certs.updating:_goes_on", "if known.identity_key == applied.identity_key"),
        ROTATE_IDENTITY("test_authority_admits_no_succession_ahead_of_its_time_and_none_that_forgets_one"),
    ),
    check(
        "identities: a law is adopted with a key of its day",
        Instead(
            "comity.policy.adopting:_keys",
            "identity.at(to_instant(PolicyAdoption.FromString(envelope.payload), 'signed_at'))",
            "tuple(time.key for time in identity.times)",
        ),
        ADOPTING(
            "test_law_is_signed_with_an_identity_key_of_its_day[0-False]",
            "test_law_is_signed_with_an_identity_key_of_its_day[-1-False]",
        ),
    ),
)
