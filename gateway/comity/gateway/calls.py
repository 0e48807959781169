"""Calls of the agency's own systems that are under way, cut once who calls is revoked.

gRPC asks a certificate once, when its connection opens, and a call that began before a list of revocations
came would go on to its deadline. So each call is entered here while it lasts, with the chain and the user
that were verified for it, and is judged again by each newer list. A CA that was merely replaced cuts nothing:
what was asked under it is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from comity.certs.errors import CertificateRejected
from comity.certs.members import MemberView
from comity.certs.profile import load_certificate
from comity.certs.revocations import Revoked
from comity.certs.x509 import verify_leaf
from comity.gateway.errors import GatewayError, SubjectRefused, Unauthenticated

LOGGER: Final = logging.getLogger("comity.gateway")


@dataclass(slots=True, kw_only=True, eq=False)
class OpenCall:
    """One call under way; what was verified for it is set as it is."""

    task: asyncio.Task[object]
    chain: tuple[bytes, ...] = ()
    """What the caller showed, DER, its leaf first; empty until it verified."""
    ca_certificates: tuple[bytes, ...] = ()
    """The CAs of the agency under which it verified."""
    user: str = ""
    why: GatewayError | None = None
    """Why it was cut."""

    def cut(self, why: GatewayError) -> None:
        """End it, whatever it waits for; the caller learns `why`."""
        if self.why is None:
            self.why = why
            self.task.cancel()

    def revoked(self, member: MemberView, now: datetime) -> Revoked | None:
        """Return since when the caller's certificate is revoked, by itself or with the CA that issued it."""
        whole = member.revoked.everything
        found = [whole, *(member.revoked.certificate(der) for der in self.chain)]
        known = next((one for one in found if one is not None), None)
        if known is not None or not self.chain:
            return known
        gone = {der: since for der in self.ca_certificates if (since := member.revoked.certificate(der))}
        left = [der for der in self.ca_certificates if der not in gone]
        if gone and not _is_of(self.chain, left, now):
            return next(iter(gone.values()))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What is logged of a call that was cut."""

    certificate: str
    """The serial number of the caller's leaf, in hex; empty where its user is revoked."""
    revoked: Revoked


class OpenCalls:
    """The calls under way of one gateway. Plain calls on the event loop."""

    def __init__(self) -> None:
        self._calls: set[OpenCall] = set()

    def __len__(self) -> int:
        return len(self._calls)

    @contextmanager
    def entered(self) -> Iterator[OpenCall]:
        """Enter the call that the current task serves; once it is cut, its reason is raised here.

        Raises `RuntimeError` outside of a task.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is served by a task")
        call = OpenCall(task=task)
        self._calls.add(call)
        try:
            yield call
        except asyncio.CancelledError:
            if call.why is None or task.uncancel():  # somebody else cancelled it as well
                raise
            raise call.why from None
        finally:
            self._calls.discard(call)

    def judge(self, member: MemberView, now: datetime) -> list[Cut]:
        """Cut each call whose caller's certificate or user is revoked of `member`; return what was cut."""
        cut = list[Cut]()
        for call in list(self._calls):
            if call.why is not None:
                continue
            since = call.revoked(member, now)
            if since is not None:
                serial = f"{load_certificate(call.chain[0]).serial_number:x}" if call.chain else ""
                LOGGER.warning("a call is cut: the client certificate %s is %s", serial, since)
                call.cut(Unauthenticated("the client certificate is revoked: nothing more is shown"))
                cut.append(Cut(certificate=serial, revoked=since))
                continue
            since = member.revoked.user(member.agency, call.user) if call.user else None
            if since is not None:
                LOGGER.warning("a call is cut: its user is %s", since)
                call.cut(SubjectRefused("your access was revoked: nothing more is shown"))
                cut.append(Cut(certificate="", revoked=since))
        return cut


def _is_of(chain: tuple[bytes, ...], ca_certificates: list[bytes], now: datetime) -> bool:
    """Return whether a chain verifies against some CAs."""
    try:
        verify_leaf(chain, ca_certificates=ca_certificates, spiffe_id=None, now=now)
    except CertificateRejected:
        return False
    return True
