"""Markings are written by their scheme and only ever get stricter (A4, 32 CFR 2002)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.policy.errors import MarkingInvalid
from comity.policy.markings import (
    BASIC_CATEGORIES,
    CUI_CONTROLS,
    PLAIN_CONTROLS,
    PLAIN_LEVELS,
    RECEIVERS,
    at_least_as_strict,
    combine,
    covers,
    derive,
    make_marking,
    may_receive,
    validate,
)
from comity.v1 import result_pb2

CUI = result_pb2.MARKING_SCHEME_CUI
PLAIN = result_pb2.MARKING_SCHEME_PLAIN
DIGEST = bytes(range(32))


def some(words: object) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(sorted(words)))  # type: ignore[call-overload]


common = {
    "provider": st.sampled_from(["cbp", "dea", "lapd"]),
    "nature": st.sampled_from(["border crossings", "plate scans"]),
    "agreement_digest": st.sampled_from([b"", DIGEST, bytes(32)]),
    "retain_days": st.integers(0, 5000),
    "caveats": some(["one", "two", "three"]),
    "contact": st.sampled_from(["", "desk", "duty officer"]),
}
cui_markings = st.builds(
    make_marking,
    scheme=st.just(CUI),
    categories=some(BASIC_CATEGORIES),
    controls=some(CUI_CONTROLS),
    **common,
)
plain_markings = st.builds(
    make_marking,
    scheme=st.just(PLAIN),
    level=st.sampled_from(list(PLAIN_LEVELS)),
    controls=some(PLAIN_CONTROLS),
    **common,
)
markings = cui_markings | plain_markings


def cbp(**changes: object) -> result_pb2.Marking:
    words: dict[str, object] = {
        "provider": "cbp",
        "nature": "border crossings",
        "scheme": CUI,
        "categories": ["LEI"],
        "controls": ["FED ONLY"],
    }
    return make_marking(**(words | changes))  # type: ignore[arg-type]


def lapd(**changes: object) -> result_pb2.Marking:
    words: dict[str, object] = {
        "provider": "lapd",
        "nature": "plate scans",
        "scheme": PLAIN,
        "level": "LAW ENFORCEMENT SENSITIVE",
    }
    return make_marking(**(words | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("categories", "controls", "banner", "portion"),
    [
        ([], [], "CUI", "(CUI)"),
        (["LEI"], [], "CUI//LEI", "(CUI//LEI)"),
        (["LEI"], ["FED ONLY"], "CUI//LEI//FED ONLY", "(CUI//LEI//FED ONLY)"),
        (["PRVCY", "LEI"], ["NOFORN", "NOCON"], "CUI//LEI/PRVCY//NOCON/NOFORN", "(CUI//LEI/PRVCY//NOCON/NF)"),
        ([], ["DL ONLY"], "CUI//DL ONLY", "(CUI//DL ONLY)"),
    ],
)
def test_cui_banner_is_written_as_the_registry_says(
    categories: list[str], controls: list[str], banner: str, portion: str
) -> None:
    """`//` between control marking, categories and controls; `/` within; sorted (32 CFR 2002.20)."""
    marking = cbp(categories=categories, controls=controls)
    assert (marking.banner, marking.portion) == (banner, portion)


def test_law_enforcement_is_basic_never_specified() -> None:
    """`CUI//SP-LEI` does not exist."""
    with pytest.raises(MarkingInvalid, match="Basic"):
        cbp(categories=["SP-LEI"])
    forged = cbp()
    forged.banner = "CUI//SP-LEI//FED ONLY"
    with pytest.raises(MarkingInvalid, match="banner"):
        validate(forged)


@pytest.mark.parametrize("control", ["EYES ONLY", "REL TO USA, CAN", "LOCAL ONLY", "fed only"])
def test_control_that_the_scheme_does_not_know_is_refused(control: str) -> None:
    """An unknown control cannot be obeyed, so it is not carried."""
    with pytest.raises(MarkingInvalid, match="control"):
        cbp(controls=[control])


def test_plain_banner_names_level_controls_and_provider() -> None:
    """The plain scheme (ours) says what, how, and whose."""
    marking = lapd(controls=["NO ONWARD SHARING"])
    assert marking.banner == "LAW ENFORCEMENT SENSITIVE // NO ONWARD SHARING // LAPD"
    assert marking.portion == "(LES)"


@pytest.mark.parametrize(
    ("controls", "kinds"),
    [
        (["FED ONLY"], {"federal"}),
        (["FEDCON"], {"federal", "contractor"}),
        (["NOCON"], {"federal", "state", "local", "foreign"}),
        (["FEDCON", "NOCON"], {"federal"}),
        (["DL ONLY"], set()),
        ([], set(RECEIVERS)),
    ],
)
def test_controls_leave_the_receivers_that_they_name(controls: list[str], kinds: set[str]) -> None:
    """FED ONLY excludes state, local and commercial receivers."""
    assert {kind for kind in RECEIVERS if may_receive(cbp(controls=controls), kind)} == kinds
    assert may_receive(cbp(controls=["DL ONLY"]), "local", listed=True)
    assert not may_receive(lapd(controls=["LOCAL ONLY"]), "federal")


def spoil(name: str, value: object) -> Callable[[result_pb2.Marking], None]:
    return lambda marking: setattr(marking, name, value)


@pytest.mark.parametrize(
    "fault",
    [
        spoil("provider", ""),
        spoil("nature", ""),
        spoil("scheme", result_pb2.MARKING_SCHEME_UNSPECIFIED),
        spoil("scheme", PLAIN),
        spoil("banner", "CUI"),
        spoil("banner", ""),
        spoil("portion", "(U)"),
        spoil("agreement_digest", b"short"),
        lambda marking: marking.ClearField("controls"),
        lambda marking: marking.categories.append("LEI"),
        lambda marking: marking.controls.append("NOFORN"),
    ],
)
def test_marking_whose_parts_disagree_is_refused(fault: Callable[[result_pb2.Marking], None]) -> None:
    """Banner, portion and lists say one thing, or the marking is not valid."""
    marking = cbp()
    fault(marking)
    with pytest.raises(MarkingInvalid):
        validate(marking)


@given(st.lists(markings, min_size=1, max_size=3))
@settings(max_examples=80)
def test_combining_only_ever_gets_stricter(found: list[result_pb2.Marking]) -> None:
    """An answer's banner loosens nothing of its parts, in any order and grouping."""
    whole = combine(found)
    validate(whole)
    assert all(at_least_as_strict(whole, part) for part in found)
    assert all(combine(order) == whole for order in itertools.permutations(found))
    assert combine([combine(found[:2]), *found[2:]]) == whole
    assert combine([whole, *found]) == whole
    for kind in RECEIVERS:
        if may_receive(whole, kind, listed=True):
            assert all(may_receive(part, kind, listed=True) for part in found)


@given(markings)
@settings(max_examples=50)
def test_order_is_reflexive_and_combining_with_oneself_changes_nothing(marking: result_pb2.Marking) -> None:
    """A marking is as strict as itself."""
    assert at_least_as_strict(marking, marking)
    assert combine([marking, marking]) == combine([marking]) == marking


@given(markings, markings, markings)
@settings(max_examples=80)
def test_order_is_transitive(
    first: result_pb2.Marking, second: result_pb2.Marking, third: result_pb2.Marking
) -> None:
    """Strictness is an order, so a chain of pages and reads holds from end to end."""
    upper = combine([first, second])
    top = combine([upper, third])
    assert at_least_as_strict(top, upper)
    assert at_least_as_strict(upper, first)
    assert at_least_as_strict(top, first)


def test_federal_and_local_parts_give_a_cui_banner_that_lists_both() -> None:
    """Plain terms stand beside the CUI banner, not in it (32 CFR 2002.20); nothing is lost."""
    whole = combine([lapd(controls=["NO ONWARD SHARING"]), cbp(controls=["FED ONLY"])])
    assert whole.banner == "CUI//LEI//FED ONLY"
    assert whole.provider == "cbp, lapd"
    assert list(whole.controls) == ["FED ONLY", "NO ONWARD SHARING"]


def test_nothing_to_combine_is_no_marking() -> None:
    """An answer without parts has no banner that could be too loose."""
    with pytest.raises(MarkingInvalid):
        combine([])


def test_ceiling_covers_what_is_no_more_sensitive() -> None:
    """The ceiling is the upper bound of sensitivity; retention and caveats may be stricter inside."""
    ceiling = cbp(controls=["NOFORN"])
    exact = derive(ceiling, agreement_digest=DIGEST, nature="lanes", retain_days=30, caveats=["check"])
    assert covers(ceiling, exact)
    assert (exact.retain_days, list(exact.caveats), exact.nature) == (30, ["check"], "lanes")
    assert covers(ceiling, cbp(categories=[], controls=[]))
    assert not covers(ceiling, cbp(controls=["FED ONLY"]))
    assert not covers(ceiling, cbp(categories=["INV"], controls=[]))
    assert not covers(ceiling, cbp(provider="dea", controls=[]))
    assert not covers(lapd(), lapd(level="LAW ENFORCEMENT RESTRICTED"))
    assert not covers(lapd(level="LAW ENFORCEMENT RESTRICTED", provider="cbp"), cbp(controls=[]))


def test_derived_marking_never_loosens_its_ceiling() -> None:
    """A policy's longer retention does not lengthen what the agreement says."""
    ceiling = cbp(retain_days=30, caveats=["of the agreement"])
    exact = derive(ceiling, agreement_digest=DIGEST, retain_days=365)
    assert exact.retain_days == 30
    assert at_least_as_strict(exact, ceiling)
