"""What spans and metrics may say: the one list of attributes.

`facts` is the only way to make attributes in this project. It takes these and nothing else, so that no
plate, user, case or reason, and no text of an exception, has a way into telemetry. Left out on purpose,
because a receipt doesn't tell them either: how many reads there were, how many pages, which stores were
searched, and which rules decided (design 3, 6).

Agencies are those that a link or a session has verified, or the roster lists: names that a peer merely claims
never become an attribute, and so the members bound the number of time series.
"""

from __future__ import annotations

from typing import Final

from comity.v1.common_pb2 import OutcomeKind

EXCHANGE: Final = "comity.exchange.id"
REQUESTER: Final = "comity.requester"
PROVIDER: Final = "comity.provider"
ROLE: Final = "comity.role"
OUTCOME: Final = "comity.outcome"
ASKED: Final = "comity.asked"
ERROR: Final = "error.type"
ALARM: Final = "comity.alarm"
CREDENTIAL: Final = "comity.credential"

ALLOWED: Final = frozenset((EXCHANGE, REQUESTER, PROVIDER, ROLE, OUTCOME, ASKED, ERROR, ALARM, CREDENTIAL))
"""Every attribute there is."""

EXCHANGE_ID_BYTES: Final = 16
_PREFIX: Final = "OUTCOME_KIND_"
_OUTCOMES: Final = {
    number: name.removeprefix(_PREFIX).lower()
    for name, number in OutcomeKind.items()
    if number != OutcomeKind.OUTCOME_KIND_UNSPECIFIED
}

Facts = dict[str, str | int]
"""Attributes of a span or a measurement."""


def facts(
    *,
    exchange: bytes | None = None,
    requester: str | None = None,
    provider: str | None = None,
    role: str | None = None,
    outcome: str | None = None,
    asked: int | None = None,
    alarm: str | None = None,
    credential: str | None = None,
) -> Facts:
    """Return attributes; what is None is left out.

    exchange: id of an exchange, told in hex; one that is not 16 bytes long is left out.
    requester, provider: agencies whom a link or session verified, or the roster lists.
    role: `gateway`, `adapter` or `broker`.
    outcome: a word of the code's own, best of `outcome_name`.
    asked: how many providers the order names.
    alarm: what is wrong with a peer's log, a word of the code's own.
    credential: which kind of one's own credentials, a word of the code's own.
    """
    found: Facts = {}
    if exchange is not None and len(exchange) == EXCHANGE_ID_BYTES:
        found[EXCHANGE] = exchange.hex()
    if requester is not None:
        found[REQUESTER] = requester
    if provider is not None:
        found[PROVIDER] = provider
    if role is not None:
        found[ROLE] = role
    if outcome is not None:
        found[OUTCOME] = outcome
    if asked is not None:
        found[ASKED] = asked
    if alarm is not None:
        found[ALARM] = alarm
    if credential is not None:
        found[CREDENTIAL] = credential
    return found


def outcome_name(kind: int) -> str:
    """Return `responded` for `OUTCOME_KIND_RESPONDED`, and so on; `unknown` for what is no outcome."""
    return _OUTCOMES.get(kind, "unknown")
