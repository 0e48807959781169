"""What an end logs when agreements, and notices that end them, come into force (A2, L2)."""

from __future__ import annotations

from datetime import timedelta

from comity.audit.agreement_entries import agreement_entries
from comity.certs.agreements import load_agreement, with_notice
from comity.certs.drafting import give_notice
from comity.certs.envelope import to_json
from tests.certs.test_agreements import both_sign
from tests.support.rosters import DAY, NOON, Forge


def test_agreement_and_notice_are_logged_once_each() -> None:
    """Each when it is new to the end; who gave notice and when it ends stand in clear."""
    forge = Forge()
    agreement = load_agreement(to_json(both_sign(forge)), forge.verify())
    notice = give_notice(agreement, forge.lahd.identity, given_at=NOON - DAY, ends_at=NOON)
    ended = with_notice(agreement, notice)
    (activated,) = agreement_entries("lapd", NOON, before=(), now=(agreement,))
    assert (activated.kind, activated.public["id"]) == ("agreement_activated", "moa")
    (noticed,) = agreement_entries("lapd", NOON, before=(agreement,), now=(ended,))
    assert noticed.kind == "agreement_noticed"
    assert (noticed.public["by"], noticed.public["ends"]) == ("lahd", NOON.isoformat())
    assert agreement_entries("lapd", NOON + timedelta(days=1), before=(ended,), now=(ended,)) == []
    assert len(agreement_entries("lapd", NOON, before=(), now=(ended,))) == 2
    assert agreement_entries("sheriff", NOON, before=(), now=(ended,)) == []
