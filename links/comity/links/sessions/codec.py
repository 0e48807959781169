"""Session messages as bytes: a length before each, and padding up to a bucket.

TLS hides what a record says, not how long it is, and Python's `ssl` can't pad records. So every message
is brought to the size of a bucket before it is encrypted: who counts bytes learns the bucket, not
whether there was a hit. A framed message is four bytes of length, big-endian, and then that many bytes
of a serialized `SessionMessage` whose `padding` fills the bucket; prefix and message together are the
bucket's size.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from comity.links.errors import FrameTooLarge, ProtocolViolation
from comity.links.frames import KIB
from comity.v1.link_pb2 import CloseReason
from comity.v1.session_pb2 import SessionMessage

MAX_FRAMED_BYTES = 1024 * KIB
"""The largest message with its prefix and padding."""

PREFIX_BYTES = 4
_BUCKETS = (512, 2 * KIB, 8 * KIB, 32 * KIB, 128 * KIB)
_STEP = 128 * KIB
_NO_SINGLE_FIELD = (130, 16_387)
"""Sizes that no field with a one-byte tag has: there the length's own encoding grows by a byte."""
_PADDING_TAG = bytes([SessionMessage.PADDING_FIELD_NUMBER << 3 | 2])


def bucket(size: int) -> int:
    """Return the smallest bucket that holds `size` bytes.

    Buckets are 512 B, 2, 8, 32 and 128 KiB, then multiples of 128 KiB. Raises `FrameTooLarge` over 1 MiB.
    """
    if size > MAX_FRAMED_BYTES:
        raise FrameTooLarge(f"session message of {size} bytes: at most {MAX_FRAMED_BYTES} may be sent")
    for one in _BUCKETS:
        if size <= one:
            return one
    return -(-size // _STEP) * _STEP


def encode(message: SessionMessage) -> bytes:
    """Return a message framed and padded; its own `padding` must be empty.

    Raises `FrameTooLarge` if it doesn't fit in 1 MiB, `ValueError` for a message that has padding or says
    nothing.
    """
    if message.padding or message.WhichOneof("message") is None:
        raise ValueError("session message must say something and have no padding of its own")
    content = message.SerializeToString()
    used = PREFIX_BYTES + len(content)
    total = bucket(used)
    if total - used == 1:  # a field takes two bytes at least
        total = bucket(used + 2)
    return (total - PREFIX_BYTES).to_bytes(PREFIX_BYTES, "big") + content + _padding(total - used)


def _padding(size: int) -> bytes:
    """Return a `padding` field of exactly `size` bytes, not 1; two fields where one can't be so long."""
    if size == 0:
        return b""
    if size in _NO_SINGLE_FIELD:
        return _PADDING_TAG + b"\0" + _padding(size - 2)
    width = 1 if size < 130 else 2 if size < 16_387 else 3
    length = size - 1 - width
    varint = bytes(length >> 7 * place & 0x7F | (0x80 if place < width - 1 else 0) for place in range(width))
    return _PADDING_TAG + varint + bytes(length)


class Decoder:
    """Takes the decrypted bytes of a session in whatever pieces they come, gives its messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, plaintext: bytes) -> list[SessionMessage]:
        """Return the messages that are complete now, without their padding.

        Raises `ProtocolViolation` for a length that is no bucket's, bytes that are no `SessionMessage`, and
        a message that says nothing: after that the decoder is of no more use.
        """
        self._buffer += plaintext
        messages = []
        start = 0
        while (end := self._end(start)) is not None:
            messages.append(_parse(bytes(memoryview(self._buffer)[start + PREFIX_BYTES : end])))
            start = end
        del self._buffer[:start]
        return messages

    def _end(self, start: int) -> int | None:
        """Return where the message that begins at `start` ends; None while it isn't complete."""
        if len(self._buffer) - start < PREFIX_BYTES:
            return None
        length = int.from_bytes(self._buffer[start : start + PREFIX_BYTES], "big")
        total = length + PREFIX_BYTES
        if total > MAX_FRAMED_BYTES or bucket(total) != total:
            raise _malformed(f"session message of {total} bytes is no bucket's size")
        return start + total if len(self._buffer) - start >= total else None


def _parse(content: bytes) -> SessionMessage:
    try:
        message = SessionMessage.FromString(content)
    except DecodeError as error:
        raise _malformed("session message doesn't parse") from error
    if message.WhichOneof("message") is None:
        raise _malformed("session message says nothing that this version knows")
    message.ClearField("padding")
    return message


def _malformed(text: str) -> ProtocolViolation:
    return ProtocolViolation(CloseReason.CLOSE_REASON_PROTOCOL, text)
