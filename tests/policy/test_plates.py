"""Folding: the one idea that both ends have of what is the same plate number."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comity.policy.plates import MAX_PLATE_CHARACTERS, PlateInvalid, fold


@pytest.mark.parametrize(
    "written", ["8ABC123", "8abc123", " 8 ABC 123 ", "8ABC-123", "8.A.B.C.1.2.3", "8ABC123", "8ABC\u00a0123"]
)
def test_ways_to_write_one_plate_fold_alike(written: str) -> None:
    """Case, blanks, dashes, dots and full-width forms do not make another plate."""
    assert fold(written) == "8ABC123"


@pytest.mark.parametrize("other", ["8A8C123", "BABC123", "8ABC12", "8ABC1230", "OABC123"])
def test_misread_is_another_plate(other: str) -> None:
    """`B` and `8` or `O` and `0` stay apart: several readings are not one plate (Q6, Q10)."""
    assert fold(other) != "8ABC123"


@pytest.mark.parametrize(
    "nothing", ["", "   ", "---", "♥", "\u0301", "x" * 17, "8ABC\x00123", "8ABC\ufffd123", "\ud800A"]
)
def test_what_is_no_plate_is_refused(nothing: str) -> None:
    """Empty, too long, and what holds control or unreadable characters is no plate number."""
    with pytest.raises(PlateInvalid):
        fold(nothing)


def test_refusal_never_holds_the_plate() -> None:
    """The message of a refused plate can be logged: it does not hold what was refused."""
    with pytest.raises(PlateInvalid) as caught:
        fold("8ABC123-SECRET-AND-LONG")
    assert "8ABC" not in str(caught.value)


def test_length_is_that_of_the_contract() -> None:
    """Sixteen characters are a plate, as `comity.v1.Plate` says; seventeen are none."""
    assert fold("A" * MAX_PLATE_CHARACTERS) == "A" * 16
    with pytest.raises(PlateInvalid):
        fold("A" * (MAX_PLATE_CHARACTERS + 1))


@given(st.text(max_size=20))
@example("A-\u0301")
@example("ß")
def test_folding_twice_changes_nothing(written: str) -> None:
    """A folded plate folds to itself, so that both ends may fold what the other folded."""
    try:
        folded = fold(written)
    except PlateInvalid:
        return
    assert fold(folded) == folded
