"""Bytes that no honest peer sends, for hypothesis: random, cut, changed, doubled, deep, and too many."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

LARGE = 200_000
"""More than any listener needs to see to refuse."""

DEEP = (
    b"\x0b" * 90,  # groups within groups, of a field that nobody knows: within protobuf's limit
    b"\x0b" * 30_000,  # and beyond it
    b"\x0a\x02" * 200 + b"\x0a\x00",
    b"[" * 30_000,
    b'{"payload":' * 5_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
)


def garbage(*good: bytes, large: int = LARGE) -> st.SearchStrategy[bytes]:
    """Return bytes, some of them made of `good` ones; at most about `large`."""
    return st.one_of(
        st.binary(max_size=300),
        st.sampled_from(DEEP),
        st.sampled_from(
            (b"", b"\x00", b"\xff" * 64, b"\x80" * 11, b"x" * large, b"\x0a" + b"\xff" * 9 + b"\x01")
        ),
        *([_damaged(good)] if good else []),
    )


@st.composite
def _damaged(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    data = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("cut", "change", "double", "insert"))):
            case "cut":
                del data[place:]
            case "change" if data:
                data[place] ^= draw(st.integers(1, 255))
            case "double":
                data[place:place] = data[place : place + 40]
            case _:
                data[place:place] = draw(
                    st.sampled_from((*DEEP[:1], b"\xff\xff", b'"', b"\x00" * 9, b"9" * 30))
                )
    return bytes(data)
