"""Users in the whole federation: suspended at one provider, readmitted, dismissed everywhere (Q8)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from comity.certs.envelope import digest, to_json
from comity.certs.files import write_private
from comity.certs.user_acts import FOLDER, NEW, file_name, sign_user_act
from comity.gateway.errors import SubjectRefused
from tests.simulator import FederationSimulator, RequestersEnd


class Sheriff:
    """The sheriff's end, whose identity provider leaves out that accounts were reviewed."""

    def __init__(self, federation: FederationSimulator) -> None:
        self.federation = federation
        self.end: RequestersEnd = federation.asking["sheriff"]
        self.user = federation.made.user("sheriff")

    def logs_on(self, **claims: object) -> None:
        """A logon of its own, with other claims."""
        now = self.federation.clock()
        made = self.federation.made.assertion("sheriff", now, **claims)  # type: ignore[arg-type]
        self.end._assertion = (made, now)

    def signs(self, *, terminates: bool = False, recertified: bool = False) -> None:
        """An act as the command writes it."""
        gateway, now = self.end.gateway, self.federation.clock()
        assert gateway is not None
        act = sign_user_act(
            gateway.credentials.statement,
            agency="sheriff",
            user=self.user,
            terminates=terminates,
            given_at=now,
            recertified_at=now if recertified else None,
        )
        home = self.federation.made.gateway_home("sheriff")
        write_private(home / FOLDER / NEW / file_name(digest(act.payload)), to_json(act))

    def logged(self, kind: str) -> int:
        return len(self.end.journal.of(kind))


@pytest.mark.long
async def test_user_is_suspended_readmitted_and_dismissed(federation: FederationSimulator) -> None:
    """Five refusals suspend at CBP alone; the agency is told; its acts give access back, and end it."""
    sheriff, cbp = Sheriff(federation), federation["cbp"]
    sheriff.logs_on(account_reviewed_at=None)
    for _ in range(5):
        assert (await federation.search(days=1)).kinds["cbp"] == "REFUSED"
    await federation.until(lambda: sheriff.logged("user_suspended") == 1)
    await federation.passes(seconds=2)  # logons are told apart by the second
    sheriff.logs_on()
    answer = await federation.search(days=1)
    assert answer.kinds["cbp"] == "REFUSED" and answer.kinds["dea"] == "RESPONDED"
    await federation.passes(seconds=60)
    sheriff.signs(recertified=True)
    await federation.until(lambda: len(cbp.journal.of("user_readmitted")) == 1)
    assert (await federation.search(days=1)).is_whole
    for provider in federation.providers.values():
        provider.goes_silent()
    in_flight = asyncio.create_task(federation.search(days=1))
    await federation.until(lambda: federation["lahd"].asked == 8)
    began = federation.clock()
    sheriff.signs(terminates=True)
    ended = await in_flight
    assert isinstance(ended.error, SubjectRefused)
    assert federation.clock() - began <= timedelta(seconds=1)
    noted = ("cbp", "dea", "lahd", "lapd")
    await federation.until(lambda: all(federation[each].journal.of("user_terminated") for each in noted))
    assert sheriff.logged("user_terminated") == 1 and sheriff.logged("logged_on") == 2
