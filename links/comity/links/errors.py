"""Everything this room raises.

::

    LinkError
    ├── LinkDown             there is no link to send on, or it went away
    ├── LinkRefused          the broker doesn't accept an end's greeting
    ├── ProtocolViolation    a peer did what the protocol forbids; carries the reason to close with
    ├── FrameTooLarge        a frame or message is larger than may ever be sent
    ├── ConfigUnusable       a link or session can't be set up from what it was given
    └── SessionFailed        there is no session with that agency, or it is over; carries the reason

Texts are for the own log: a peer sees the `CloseReason` alone, or the one line of a `Goodbye`. No text
names a plate, a user or a case: nothing in this room knows one.
"""

from __future__ import annotations

import traceback

from comity.v1.link_pb2 import CloseReason


class LinkError(Exception):
    """The root of this room's exceptions."""


class LinkDown(LinkError):
    """There is no link to send on: not yet, for the moment, or for good."""


class LinkRefused(LinkError):
    """An end's greeting is not accepted; `reason` and the text go back to it in a `Goodbye`.

    The text of this one is public: it is the line that the refused end's operator reads.
    """

    def __init__(self, reason: CloseReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class ProtocolViolation(LinkError):
    """A peer broke the protocol or passed a limit; the link or session ends with `reason`."""

    def __init__(self, reason: CloseReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class FrameTooLarge(LinkError):
    """A frame or a session's message is larger than may ever be sent; nothing of it was sent."""


class ConfigUnusable(LinkError):
    """A link or a session can't be set up from the files, keys or names it was given."""


class SessionFailed(LinkError):
    """There is no session with an agency, or it ended; `reason` and one line without content say why.

    `CLOSE_REASON_PEER_ABSENT` is only ever the broker's word that the provider has no link (or that the
    provider's link ended); an own link that is down gives `CLOSE_REASON_UNSPECIFIED`.
    """

    def __init__(self, peer: str, reason: CloseReason, text: str) -> None:
        super().__init__(f"session with `{peer}`: {text}")
        self.peer = peer
        self.reason = reason
        self.text = text


def describe_fault(error: BaseException) -> str:
    """Return where and what a fault of our own code is, without its text, which could name a person."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
