"""Framing and padding of session messages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.links.errors import FrameTooLarge, ProtocolViolation
from comity.links.sessions.codec import MAX_FRAMED_BYTES, Decoder, _padding, bucket, encode
from comity.v1.session_pb2 import PageDelivery, SessionMessage


def delivery(size: int) -> SessionMessage:
    return SessionMessage(page=PageDelivery(page=b"p" * size))


BUCKETS = {512, 2048, 8192, 32768, 131072, *(n * 131072 for n in range(2, 9))}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 150_000), min_size=1, max_size=4), st.integers(500, 70_000))
def test_what_is_encoded_is_decoded_in_whatever_pieces(sizes: list[int], piece: int) -> None:
    """Messages come back whole and in order, however the bytes are cut; each fills a bucket."""
    encoded = [encode(delivery(size)) for size in sizes]
    assert {len(one) for one in encoded} <= BUCKETS
    decoder, got = Decoder(), []
    stream = b"".join(encoded)
    for start in range(0, len(stream), piece):
        got += decoder.feed(stream[start : start + piece])
    assert got == [delivery(size) for size in sizes]


@pytest.mark.parametrize("size", [*range(490, 520), *range(2020, 2060), 300, 377, 378, 379, 380, 381, 382])
def test_sizes_around_a_bucket_s_edge(size: int) -> None:
    """Every content length finds its bucket, also those a single padding field can't fill."""
    (message,) = Decoder().feed(encode(delivery(size)))
    assert message == delivery(size)


@pytest.mark.parametrize("size", [0, *range(2, 140), 16_380, 16_385, 16_386, 16_387, 16_388, 130_000])
def test_padding_is_exactly_as_long_as_asked(size: int) -> None:
    """Padding has exactly the bytes that are missing, and protobuf reads it as padding alone."""
    padding = _padding(size)
    assert len(padding) == size
    message = SessionMessage.FromString(padding)
    message.ClearField("padding")
    assert message == SessionMessage()


def test_largest_message_fits_and_one_byte_more_does_not() -> None:
    """The cap is 1 MiB with prefix and padding."""
    overhead = len(delivery(900_000).SerializeToString()) - 900_000 + 4
    assert len(encode(delivery(MAX_FRAMED_BYTES - overhead))) == MAX_FRAMED_BYTES
    with pytest.raises(FrameTooLarge):
        encode(delivery(MAX_FRAMED_BYTES - overhead + 1))


def test_bucket_of_a_size() -> None:
    """Buckets are 512 B, 2, 8, 32 and 128 KiB, then multiples of 128 KiB."""
    assert [bucket(n) for n in (0, 512, 513, 2049, 32_769, 131_073, 262_145, 1 << 20)] == [
        512,
        512,
        2048,
        8192,
        131_072,
        262_144,
        393_216,
        1 << 20,
    ]


@pytest.mark.parametrize("message", [SessionMessage(), SessionMessage(page=PageDelivery(), padding=b"x")])
def test_message_that_says_nothing_or_pads_itself_is_a_fault_of_ours(message: SessionMessage) -> None:
    """Only messages with something to say are encoded, and only the codec pads."""
    with pytest.raises(ValueError, match="session message"):
        encode(message)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3_000))
def test_any_bytes_decode_or_are_a_violation(data: bytes) -> None:
    """Whatever a peer sends, the decoder gives messages, waits for more, or reports a violation."""
    try:
        Decoder().feed(data)
    except ProtocolViolation:
        return
