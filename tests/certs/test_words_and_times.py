"""The small parts: what plain fields may hold, TOML that is read back, times that are never guessed."""

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.certs import tomltext, words
from comity.certs.instants import from_instant, to_instant
from comity.v1.federation_pb2 import Roster

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(["a", "b_c", "d-e"]), TEXT | st.booleans() | st.integers(-9, 9)))
def test_settings_are_read_back_as_they_were_written(values: dict[str, str | bool | int]) -> None:
    """Whatever a name, an address or a path holds, the file that a person gets says the same."""
    assert tomllib.loads(tomltext.settings(values)) == values


@settings(max_examples=30)
@given(st.lists(TEXT))
def test_lists_are_read_back_as_they_were_written(values: list[str]) -> None:
    """A list of texts, too, an empty one among them."""
    assert tomllib.loads(tomltext.settings({"a": values})) == {"a": values}


@settings(max_examples=60)
@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_times_survive_the_contract(moment: datetime) -> None:
    """A time goes into a document and comes out the same instant, in UTC."""
    aware = moment.replace(tzinfo=timezone(timedelta(hours=-7)))
    back = to_instant(Roster(signed_at=from_instant(aware)), "signed_at")
    assert back == aware
    assert back.tzinfo is UTC


@pytest.mark.parametrize("seconds", [-(10**12), 253_402_300_800, 2**62])
def test_time_out_of_range(seconds: int) -> None:
    """A time that no calendar holds is refused, and neither wraps nor crashes."""
    with pytest.raises(ValueError, match="signed_at"):
        to_instant(Roster(signed_at=Timestamp(seconds=seconds)), "signed_at")


def test_naive_time_is_refused() -> None:
    """A time without a zone is nobody's."""
    with pytest.raises(ValueError, match="without a zone"):
        from_instant(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (words.agency_id, "ab l-a-p-d 9to5", ["", "a", "a" * 33, "-ab", "a_b", "ä1", "ab\n", "a b"]),
        (
            words.domain,
            "a.b lapd.example x-1.y-2.z",
            ["a", "a.", ".a", "A.b", "a..b", "-a.b", "a-.b", "a.b\n"],
        ),
        (words.domain, "a1.b1", ["a b.c", "a" * 64 + ".b", "1" * 63 + ".bb", "127.0.0.1:8", "*.a.b"]),
        (words.state, "CA 9 ABC", ["ca", "CALI", "C-A", " "]),
        (
            words.address,
            "h:0 127.0.0.1:65535 [::1]:80",
            ["h", ":1", "h:", "h:65536", "h:x", "a b:1", "::1:80"],
        ),
        (
            words.issuer,
            "https://a.b https://a.b:8/c/d",
            ["http://a.b", "https://", "https://a?b", "https://a#b"],
        ),
        (words.kind, "federal local", ["", "Federal", "municipal"]),
    ],
)
def test_plain_fields(check: Callable[[str], str], good: str, bad: list[str]) -> None:
    """One spelling for each; anything else is refused, whole and without a newline at its end."""
    assert [check(value) for value in good.split()] == good.split()
    for value in bad:
        with pytest.raises(ValueError, match="expected"):
            check(value)


@pytest.mark.parametrize("value", ["", "   ", "a\nb", "a\x00", "\x1b[2J", "a\u2028b", "x" * 301])
def test_lines_for_people(value: str) -> None:
    """What is printed to a terminal or a report is one printable line."""
    with pytest.raises(ValueError, match="printable line"):
        words.line(value, "title")
