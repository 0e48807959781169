"""What makes a policy bundle an agency's law: its signature, its version, and its place in the log."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import ADOPTING, EXCHANGE_PATH, RECOMPUTING, RECONCILE
from tests.patched_out.patching import Instead, Without

VERIFY = "comity.policy.adopting:verify_adoption"
SUCCESSION = "comity.policy.adopting:check_succession"
EACH_WAY = "test_each_way_to_disagree_has_its_class_and_evidence"

CHECKS = (
    check(
        "law: a bundle that nobody signed is none",
        Without(VERIFY, "if not bundle.adoption:"),
        ADOPTING("test_bundle_that_nobody_signed_is_no_law"),
    ),
    check(
        "law: the signature is of this agency's law",
        Without(VERIFY, "if said.agency != bundle.agency:"),
        ADOPTING("test_signature_of_another_agencys_law_is_none"),
    ),
    check(
        "law: the signature is of these files",
        Without(VERIFY, "if said.bundle_digest != bundle.digest:"),
        ADOPTING("test_bundle_that_was_changed_after_it_was_signed_is_no_law"),
    ),
    check(
        "law: the signature is of this version",
        Without(VERIFY, "if said.bundle_version != bundle.version:"),
        ADOPTING("test_signature_of_another_version_is_none"),
    ),
    check(
        "law: no older one follows, and no other text of a version",
        Instead(SUCCESSION, "now > before", "True"),
        ADOPTING("test_older_bundle_follows_only_if_it_was_approved"),
    ),
    check(
        "law: an approval is for once",
        Without("comity.audit.summary:Law.after", "return Law(policy=policy"),
        ADOPTING("test_log_says_which_bundle_is_in_force"),
        falls=("AttributeError",),
    ),
    check(
        "law: a bundle's version has an order",
        Without("comity.policy.manifest:check_head", "if version_order(version) is None:"),
        ADOPTING("test_version_that_has_no_order_is_refused"),
    ),
    check(
        "law: a decision waits until the next law is in the log",
        Without("comity.adapters.path:ExchangePath._serve", "await self._settled.wait()"),
        EXCHANGE_PATH("test_no_exchange_is_dropped_while_another_policy_is_activated"),
    ),
    check(
        "law: a rejection waits until the next law is in the log",
        Without("comity.adapters.path:ExchangePath._reject", "await self._settled.wait()"),
        EXCHANGE_PATH("test_no_exchange_is_dropped_while_another_policy_is_activated"),
    ),
    check(
        "law: a decision is held to the law that its log had in force",
        Without("comity.audit.reconciling.judging:_Judging._law", "if policy and policy != law:"),
        RECONCILE(
            f"{EACH_WAY}[decided by a policy that was never in force]",
            f"{EACH_WAY}[decided by the policy before]",
        ),
    ),
    check(
        "law: a decision that is made again is held to the law in force",
        Without("comity.adapters.recomputing:recompute", "if decision.policy != law:"),
        RECOMPUTING("test_decision_by_a_bundle_that_was_not_in_force_is_listed"),
    ),
    check(
        "law: the signature that the log names is the one that is kept",
        Instead("comity.adapters.recomputing:Activation.judged", "named.hex() == self.adoption", "True"),
        RECOMPUTING("test_signature_of_each_bundle_that_was_in_force_is_checked"),
    ),
    check(
        "law: a release is held to the law that decided",
        Without("comity.audit.reconciling.judging:_Judging._law", "if released and policy and"),
        RECONCILE(f"{EACH_WAY}[decided by one policy, and released under another]"),
    ),
)
