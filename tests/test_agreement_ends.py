"""An agreement that ends while it is used: at both ends, at one alone, mid-query and mid-stream.

Notice is given to the sheriff by LAPD, DEA and CBP; it counts in some seconds. Rules A2, D4; MOA V.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from comity.audit.entry import Entry
from comity.certs.agency import AgencyHome
from comity.certs.agreements import AgreementBook
from comity.certs.drafting import give_notice
from comity.certs.envelope import to_json
from comity.certs.files import write_public
from tests.simulator import FederationSimulator
from tests.support.evidence import PATIENT, assert_undisturbed, entries

SECOND = timedelta(seconds=1)
SCHEDULING = timedelta(milliseconds=400)
"""How late a busy machine may wake an end that looks every half second."""
LEFT = 8
"""Seconds from notice to end: enough to be taken into force first."""


def notify(federation: FederationSimulator, provider: str, ends_at: datetime, *, accepted: bool) -> None:
    """Give a provider's notice to the sheriff; `accepted`: the sheriff has it, too."""
    made = federation.made
    home = AgencyHome.load(made.home(provider))
    book = AgreementBook.load(home.agreements, made.federation(federation.clock()))
    (agreement,) = (one for one in book.agreements if one.agreement_id == f"sharing-{provider}-sheriff")
    notice = give_notice(agreement, home.identity(), given_at=federation.clock(), ends_at=ends_at)
    folders: list[Path] = [home.agreements, *([made.agreements("sheriff")] if accepted else [])]
    for folder in folders:
        write_public(folder / f"{agreement.agreement_id}--notice.json", to_json(notice))


def closed(federation: FederationSimulator, end: str, peer: str) -> list[Entry]:
    """Return how an end's sessions with a peer closed."""
    return [
        one
        for one in federation.journals[end].of("session_closed")
        if str(one.public["peer"]).startswith(peer)
    ]


@pytest.mark.long
async def test_end_that_passes_while_it_is_used_takes_effect_within_a_second(
    federation: FederationSimulator,
) -> None:
    """Mid-query at LAPD, mid-stream at DEA, at CBP in its own folder alone: nothing more of it (A2, D4).

    The sessions end at both ends within a second and say why; of an answer that was on its way nothing is
    shown. Then LAPD and DEA are not asked, with the reason; CBP, approached all the same, refuses the
    handshake and logs it.
    """
    assert (await federation.search()).is_whole
    ends_at = federation.clock() + LEFT * SECOND
    for provider, accepted in (("lapd", True), ("dea", True), ("cbp", False)):
        notify(federation, provider, ends_at, accepted=accepted)
    federation["lapd"].goes_silent()
    federation["cbp"].goes_silent()
    stream = federation.broker.delays("session_data", LEFT + 3, of="dea")
    asking = asyncio.create_task(federation.search(timeout=PATIENT))
    await federation.until(lambda: stream.happened, seconds=LEFT - 3)
    answer = await asking

    assert_undisturbed(answer, "lahd")
    assert answer.error is None
    assert {answer.kinds[name] for name in ("cbp", "dea", "lapd")} == {"SESSION_FAILED"}
    assert not any(answer.outcomes[name].pages for name in ("cbp", "dea", "lapd"))
    for name in ("cbp", "dea", "lapd"):
        end = f"{name}/adapter"
        (at_adapter,) = closed(federation, end, "sheriff")
        assert at_adapter.public["reason"] == "no_agreement"
        (at_gateway,) = closed(federation, "sheriff/gateway", name)
        assert at_gateway.public["reason"] == "no_agreement"
        assert ends_at <= at_adapter.at <= ends_at + SECOND + SCHEDULING
        assert ends_at <= at_gateway.at <= ends_at + SECOND + SCHEDULING
        delivered = entries(federation, "sheriff/gateway", answer, "delivered")
        assert name not in {one.public["peer"] for one in delivered}
    federation.broker.is_honest_again()
    for name in ("cbp", "lapd"):
        federation[name].is_honest_again()
    await federation.passes(seconds=LEFT)

    before = len(federation["cbp"].journal.of("session_refused"))
    again = await federation.search(timeout=PATIENT)
    (asked,) = entries(federation, "sheriff/gateway", again, "asked")
    assert asked.public["not_asked"] == {"dea": "no_agreement", "lapd": "no_agreement"}
    assert set(again.kinds) == {"cbp", "lahd"} and again.kinds["cbp"] == "SESSION_FAILED"
    refused = federation["cbp"].journal.of("session_refused")[before:]
    assert refused and refused[0].public["reason"] == "no_agreement"
    for name in ("cbp", "dea", "lapd"):
        assert not entries(federation, f"{name}/adapter", again, "received", "decided", "released")
