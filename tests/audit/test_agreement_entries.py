"""What an end logs when agreements, and notices that end them, come into force (A2, L2)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from comity.audit.agreement_entries import agreement_entries
from comity.certs.agreements import load_agreement, with_notice
from comity.certs.drafting import give_notice
from comity.certs.envelope import to_json
from tests.certs.test_agreements import both_sign
from tests.certs.test_identity_rotation import Pair
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


def test_acceptance_of_an_identity_key_is_logged_once(tmp_path: Path) -> None:
    """Both keys and who accepted stand in clear, so that the log tells which key was in force when."""
    pair = Pair(tmp_path)
    old = pair.forge.lapd.identity
    step = pair.replace_key(pair.forge.lapd)
    before = pair.book("lahd").agreements
    pair.put("lahd", "accepted", pair.accepts(step, pair.forge.lahd))
    now = pair.book("lahd").agreements
    (accepted,) = agreement_entries("lahd", NOON, before=before, now=now)
    told = {"of": "lapd", "by": "lahd", "old": old.key_id, "new": step.new.key_id, "id": "moa"}
    assert accepted.kind == "identity_accepted" and told.items() <= accepted.public.items()
    assert agreement_entries("lahd", NOON, before=now, now=now) == []
