"""An agency's identity key gives way to another while questions are asked (design 4)."""

from __future__ import annotations

from datetime import timedelta

import pytest

import comity.certs.own as own_room
from comity.certs.acceptances import accept
from comity.certs.agency import AgencyHome
from comity.certs.agreements import AgreementBook
from comity.certs.authority import admit
from comity.certs.envelope import to_json
from comity.certs.files import write_public
from comity.certs.key_changes import EndFolder, apply_with_successor
from comity.certs.keys import SigningKey
from comity.certs.successions import Succession, succeed
from tests.simulator import FederationSimulator
from tests.support.evidence import PATIENT, entries
from tests.test_rotation_under_load import PROVIDERS, asked_all_the_time

OVERLAP = timedelta(seconds=10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_room, "LOOK_SECONDS", 0.02)


def replace_key(federation: FederationSimulator, agency: str) -> Succession:
    """Replace an agency's identity key as its administrator does, and have the authority admit it."""
    made, now = federation.made, federation.clock()
    end = EndFolder.load(made.adapter_home(agency))
    place = made.home(agency) / "identity.pem"
    old, new = SigningKey.load(place), SigningKey.generate()
    step = succeed(old, new, agency=agency, number=1, now=now, overlap=OVERLAP, reason="on schedule")
    path = apply_with_successor(end, end.federation(now), step, new=new, now=now)
    admit(made.root, [path.read_bytes()], now)
    place.unlink()
    new.save(place)
    return step


def accept_key(federation: FederationSimulator, step: Succession, by: str) -> None:
    """Accept it into the agreements of another agency, as its administrator does."""
    home, now = AgencyHome.load(federation.made.home(by)), federation.clock()
    book = AgreementBook.load(home.agreements, federation.made.federation(now), own=by)
    names = [each.digest for each in book.agreements if step.agency in each.parties]
    word = accept(step, names, agency=by, key=home.identity(), now=now)
    write_public(home.agreements / f"identity-{step.agency}-1--accepted.json", to_json(word))


@pytest.mark.long
async def test_accepted_key_costs_no_question_and_one_that_is_not_rests_its_agreement(
    federation: FederationSimulator, caplog: pytest.LogCaptureFixture
) -> None:
    """LAPD and CBP replace their keys; the sheriff accepts LAPD's in time, and CBP's when it is too late.

    No question fails before the overlap ends, and none to LAPD after it. CBP's session ends then at both ends
    with the reason, nobody asks it; once its key is accepted, it answers again. Nothing is started anew.
    """
    await federation.search(of=PROVIDERS, days=1)
    journal = federation.journals["sheriff/gateway"]
    async with asked_all_the_time(federation) as answers:
        lapd = replace_key(federation, "lapd")
        accept_key(federation, lapd, "sheriff")
        await federation.until(lambda: journal.of("identity_accepted"))
        least = len(answers) + 8
        await federation.until(lambda: len(answers) >= least)
    cbp = replace_key(federation, "cbp")
    await federation.until(
        lambda: [one for one in journal.of("session_closed") if str(one.public["peer"]).startswith("cbp")]
    )
    (closed,) = [one for one in journal.of("session_closed") if str(one.public["peer"]).startswith("cbp")]
    assert closed.public["reason"] == "no_agreement" and closed.at >= cbp.old_until
    assert federation.clock() >= lapd.old_until
    answer = await federation.search(of=PROVIDERS, days=1, timeout=PATIENT)
    assert set(answer.kinds) == {"lapd"} and answer.outcomes["lapd"].kind == "RESPONDED"
    (asked,) = entries(federation, "sheriff/gateway", answer, "asked")
    assert asked.public["not_asked"]["cbp"] == "no_agreement"  # type: ignore[index, call-overload]
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None
    book, now = gateway.standing.agreements, federation.clock()
    assert f"({cbp.new.key_id}) was not" in book.why_resting(provider="cbp", requester="sheriff", now=now)
    assert f"the new identity key of `cbp` ({cbp.new.key_id}) is accepted: comity agreement" in caplog.text

    accept_key(federation, cbp, "sheriff")
    await federation.until(lambda: len(journal.of("identity_accepted")) == 2)
    assert (await federation.search(of=PROVIDERS, days=1)).is_whole
    assert {str(one.public["peer"]).partition("/")[0] for one in journal.of("session_closed")} == {"cbp"}
