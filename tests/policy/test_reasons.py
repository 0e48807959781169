"""Free texts that could stand in front of any query, and one text that is pasted for many plates (Q3, Q4)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comity.policy.bundle import PolicyBundle, shipped
from comity.policy.decision import Effect, PolicyEngine
from comity.policy.errors import BundleInvalid
from comity.policy.facts import DecisionRequest, ReasonFacts, StoreFacts
from comity.policy.reasons import MOST_LEAST_WORDS, Told, own_words, told_by
from tests.policy.conftest import SEARCH_PERMIT, WriteBundle

TEXTS = st.text(max_size=60)
STORE = (StoreFacts(store_id="fixed", store_class="fixed"),)


def told(text: str, *, plate: str = "8ABC123", case_number: str = "LA-2026-1") -> Told:
    return told_by(text, plate=plate, case_number=case_number, words=own_words())


@pytest.mark.parametrize(
    "text",
    [
        "investigation",
        "Ongoing criminal investigation.",
        "test",
        "TEST test test",
        "official police business",
        "burglary",
        "Burglary, burglary; BURGLARY",
        "8ABC123",
        "plate 8abc-123",
        "LA 2026 1",
        "case LA-2026-1, vehicle 8 ABC 123",
        "aaaa bbbb",
        "----------",
        "1111 2222",
        "for the law enforcement purposes of this department",
        "ｔｅｓｔ　ｉｎｖｅｓｔｉｇａｔｉｏｎ",
        "tést of an invéstigation",
    ],
)
def test_text_that_could_stand_before_any_query_is_vague(text: str) -> None:
    """One word, words of the list, repeated signs, the plate or the case again: none tells why (Q3, Q4)."""
    assert told(text).vague


@pytest.mark.parametrize(
    "text",
    [
        "Subject name John Doe, case number 12345678",  # the PIA's own example
        "series of burglaries",
        "hit-and-run on Main St",
        "vehicle seen at the scene",
        "LAPD report 26-110482 kidnapping",
    ],
)
def test_text_that_names_somebody_or_something_tells(text: str) -> None:
    """What an auditor can follow passes, the PIA's example first (Q3)."""
    assert not told(text).vague


def test_plate_and_case_make_no_difference_between_two_texts() -> None:
    """A text pasted with each plate in it is still the same text."""
    first = told("Seen near the harbor: 8ABC-123 (LA-2026-1)")
    second = told("seen near THE harbor  7XYZ999 la 2026 2", plate="7XYZ999", case_number="LA-2026-2")
    assert first.likeness == second.likeness != told("seen near the airport").likeness


@given(text=TEXTS, plate=st.sampled_from(["8ABC123", ""]), case_number=TEXTS)
def test_every_text_is_judged_and_case_and_spacing_change_nothing(
    text: str, plate: str, case_number: str
) -> None:
    """Whatever is typed gives three facts; upper case and blanks around it are no other reason."""
    first = told(text, plate=plate, case_number=case_number)
    again = told(f"  {text.casefold()}\n", plate=plate, case_number=case_number)
    assert (first.words, first.vague, first.likeness) == (again.words, again.vague, again.likeness)
    assert first.vague == (first.words < own_words().least_words)


@given(text=TEXTS, more=st.sampled_from(["kidnapping", "stolen trailer", "test", "!!"]))
def test_more_words_never_make_a_telling_text_vague(text: str, more: str) -> None:
    """What is added to a reason can only add to what it tells."""
    assert told(f"{text} {more}").words >= told(text).words


def test_bundle_adds_words_takes_some_back_and_asks_for_more(write_bundle: WriteBundle) -> None:
    """`[reasons]` of the bundle is part of its law: its words decide, and its digest tells them (Q4)."""
    folder = write_bundle(SEARCH_PERMIT)
    plain = PolicyBundle.load(folder)
    manifest = folder / "bundle.toml"
    manifest.write_text(
        manifest.read_text()
        + '\n[reasons]\nvague = ["Patrol"]\ntelling = ["intelligence"]\nleast_words = 3\n'
    )
    altered = PolicyBundle.load(folder)
    assert altered.digest != plain.digest
    for text, before, after in (("patrol stop downtown", 3, 2), ("intelligence from Oxnard", 1, 2)):
        counts = [
            told_by(text, plate="8ABC123", case_number="1", words=bundle.manifest.reasons).words
            for bundle in (plain, altered)
        ]
        assert counts == [before, after]
    assert told_by("stop downtown", plate="8", case_number="1", words=altered.manifest.reasons).vague


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ('[reasons]\nvage = ["x"]', 4, "known are vague, telling, least_words"),
        ("[reasons]\n\nleast_words = 0", 5, f"from 1 to {MOST_LEAST_WORDS}"),
        ("[reasons]\nleast_words = true", 4, "is not a number"),
        ('[reasons]\nvague = "patrol"', 4, "is not a list of words"),
        ('[reasons]\nvague = ["two words"]', 4, "`two words` is not one word"),
        ('[reasons]\ntelling = ["kidnapping"]', 4, "is no word of Comity's list"),
        ('[reasons]\nvague = ["lead"]\ntelling = ["lead"]', 5, "in `vague` and in `telling`"),
        ("reason = 1", 3, "did you mean `reasons`"),
        ("reasons = 1", 3, "begin it with `[reasons]`"),
    ],
)
def test_wrong_words_of_a_bundle_are_named_with_their_line(
    write_bundle: WriteBundle, table: str, line: int, said: str
) -> None:
    """A bundle whose data can't be used is not activated, and says where and what would be right."""
    folder = write_bundle(SEARCH_PERMIT)
    (folder / "bundle.toml").write_text(f'agency = "test"\nversion = "1"\n{table}\n')
    with pytest.raises(BundleInvalid) as caught:
        PolicyBundle.load(folder)
    assert (caught.value.path.name, caught.value.line) == ("bundle.toml", line)
    assert said in caught.value.detail


@pytest.mark.parametrize(
    ("facts", "policy"),
    [
        (ReasonFacts(vague=True, words=1), "lapd.telling-reason"),
        (ReasonFacts(words=4, plates=26), "lapd.pasted-reason"),
        (ReasonFacts(words=4, plates=10**9), "lapd.pasted-reason"),
    ],
)
def test_shipped_policy_refuses_what_tells_nothing_and_cites_its_rule(
    asking: Callable[..., DecisionRequest], facts: ReasonFacts, policy: str
) -> None:
    """The policy refuses, not the program: with its own id, rules and document (Q3, Q4)."""
    decision = PolicyEngine(PolicyBundle.load(shipped("lapd"))).decide(asking(told=facts), STORE)
    assert decision.effect is Effect.REFUSE
    assert [rule.policy_id for rule in decision.rules] == [policy]
    assert decision.rules[0].rules == ("Q3", "Q4")
    assert decision.rules[0].document.startswith("ours")


def test_no_text_of_a_reason_is_in_what_is_shown() -> None:
    """A likeness is content: it shows in no repr, so in no log line."""
    assert "Oxnard" not in repr(told("shots fired in Oxnard")).title()
