"""Errors of the provider's end.

    AdapterError
    ├── MappingInvalid         a `[[store]]` table of adapter.toml cannot be used
    ├── SourceError            a store cannot be used
    │   ├── SourceUnavailable  it cannot be opened: not there, or not as its mapping says
    │   └── SourceFailed       it was open and failed while it was searched
    ├── ConfigInvalid          adapter.toml, or something that it names, cannot be used
    ├── StateUnwritable        state.db cannot be opened or written, so nothing may leave
    ├── Late                   the deadline passed while the provider worked
    └── Rejected               an order or query is turned away before any decision
        ├── Replayed           its exchange was served before
        └── Crowded            too many exchanges of the same requester, or subject of it, are in flight

The texts are for the agency's own log and its own operators. None of them holds a plate, a row, a
user, a case or a password, and none of them is meant for a peer. The one exception are the
`violations` of a `Rejected`: they are written for the requester, who gets them inside the session.
"""

from __future__ import annotations

from enum import Enum


class AdapterError(Exception):
    """The root of every error that the provider's end raises."""


class MappingInvalid(AdapterError):
    """A store's mapping names something that does not exist, or leaves out what is required."""


class SourceError(AdapterError):
    """A store cannot be used."""


class SourceUnavailable(SourceError):
    """A store cannot be opened: it is not there, or it is not as its mapping says."""


class SourceFailed(SourceError):
    """A store failed while it was searched; nothing can be said of what it holds."""


class ConfigInvalid(AdapterError):
    """The configuration cannot be used; the text is one line that names file and key."""


class StateUnwritable(AdapterError):
    """The end's state database cannot be opened or written."""


class Late(AdapterError):
    """The exchange's deadline passed before its result was ready; nothing is sent."""

    def __init__(self) -> None:
        super().__init__("the exchange's deadline passed")


class RejectReason(Enum):
    """Why an order or query was turned away: all that the log tells of it."""

    FORGED = "forged"
    """Not signed by the agency at the other end of the session: not even answered."""
    ROSTER_EXPIRED = "roster_expired"
    """This end's own copy of the roster is past its time, so that nobody can be verified: not answered."""
    UNANNOUNCED = "unannounced"
    """The broker knows nothing of it."""
    EXPIRED = "expired"
    """Issued too long ago or in the future, or its deadline has passed."""
    READDRESSED = "readdressed"
    """For another provider, of another order, or about other bytes."""
    REPLAYED = "replayed"
    """Served before."""
    MALFORMED = "malformed"
    """Fields are missing or wrong."""
    SUBJECT = "subject"
    """The agency's assertion of the subject does not verify."""
    CROWDED = "crowded"
    """Over the requester's limit."""
    CROWDED_SUBJECT = "crowded_subject"
    """Over the limit of one subject of the requester."""
    CROWDED_DAY = "crowded_day"
    """Over what is remembered of one requester's questions within a day."""


class Rejected(AdapterError):
    """An order or query is turned away before any decision; no store was touched.

    `violations` name fields and what would have been right, never values; they go to the requester,
    inside the session, where a receipt answers it.
    """

    def __init__(self, reason: RejectReason, *violations: str) -> None:
        super().__init__(f"exchange is rejected: {reason.value}")
        self.reason = reason
        self.violations = violations


class Replayed(Rejected):
    """The exchange was seen before in its window: it is never served again."""

    def __init__(self) -> None:
        super().__init__(RejectReason.REPLAYED, "exchange_id: was used before; a retry is a new query")


class Crowded(Rejected):
    """The requester, or one subject of it, has too many exchanges in flight or today; the order was good."""

    def __init__(self, reason: RejectReason = RejectReason.CROWDED) -> None:
        whose = "this subject" if reason is RejectReason.CROWDED_SUBJECT else "this agency"
        when = "were asked within a day" if reason is RejectReason.CROWDED_DAY else "are in flight"
        super().__init__(reason, f"too many exchanges of {whose} {when}; ask again later")
