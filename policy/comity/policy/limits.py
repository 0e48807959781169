"""What the annotations of a policy ask for: limits, obligations, and the citation for a person.

@id @rule @document @text        required on every policy
@retain_days("730")              required on a permit of Search; "0": only as long as the case needs
@max_window_years("5")           how far back, in calendar years; one of these three is required on a
@max_window_days("730")          permit of Search, and of several the strictest wins
@max_window("none" | "statute")  "statute": the offence's, from the bundle's table (Q5)
@max_reads("200")                most reads of one answer
@budget("user 200/day, …")       most questions of an agency, a user, about a plate (`comity.policy.budgets`);
                                 on a permit of Search
@readings("16")                  most readings of a plate that one question may search (Q10); left out:
                                 exactly the plate; on a permit of Search
@obligation("withhold_images …") obligations, separated by spaces; those of a place on a permit of Search
@grid("wgs84-0.01")              with `coarsen_location`: the grid, of `comity.policy.grids`
@say("no")                       what this policy withholds isn't called withheld; with `withhold_…`, or on a
                                 forbid of views
@caveat("…")                     a line that a person must be shown (A5)
@refer                           on a forbid: refer to the provider's contact instead of refusing
@shown_as("no_hits")             on a forbid of Search: who asks is shown what would have been answered
                                 without it, but no reads: an answer without hits (A1)
@authorization                   on a forbid: the person had no right to ask; refusals by it count for
                                 `[suspension]` of bundle.toml (Q8)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from enum import Enum
from typing import Final

from comity.policy.budgets import Budget, BudgetInvalid, read_budgets
from comity.policy.errors import ObligationUnknown, PolicyError
from comity.policy.grids import GRIDS
from comity.policy.obligations import COARSEN, elements_of
from comity.policy.readings import MOST as MOST_READINGS
from comity.policy.windows import Limitation, Windows, amount, days_before

_CITATION: Final = ("id", "rule", "document", "text")
_WINDOWS: Final = ("max_window", "max_window_years", "max_window_days")
_LIMITS: Final = ("retain_days", *_WINDOWS, "max_reads", "budget", "readings")
_PERMIT_ONLY: Final = (*_LIMITS, "obligation", "grid", "caveat")
_FORBID_ONLY: Final = ("refer", "shown_as", "authorization")
_KNOWN: Final = (*_CITATION, *_PERMIT_ONLY, "say", *_FORBID_ONLY)
_MOST: Final = 1_000_000
_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


class AnnotationInvalid(PolicyError):
    """An annotation is missing, unknown or wrong; the text says which."""


class WindowKind(Enum):
    """How far back a window reaches."""

    NONE = "none"
    STATUTE = "statute"
    YEARS = "years"
    DAYS = "days"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A limit of how far back may be searched."""

    kind: WindowKind
    amount: int = 0

    def earliest(self, now: datetime, limitation: Limitation, windows: Windows) -> datetime | None:
        """Return the first instant inside, `None` for no limit.

        Args:
            now: When the decision is made, aware.
            limitation: The question's statute of limitations.
            windows: The bundle's, for its calendar.
        """
        match self.kind:
            case WindowKind.NONE:
                return None
            case WindowKind.STATUTE:
                return None if limitation.years is None else windows.years_before(now, limitation.years)
            case WindowKind.YEARS:
                return windows.years_before(now, self.amount)
            case WindowKind.DAYS:
                return days_before(now, self.amount)

    def text(self, limitation: Limitation) -> str:
        """Return the limit in words, to end a line like 'the period was clipped to …'."""
        match self.kind:
            case WindowKind.NONE:
                return "no limit"
            case WindowKind.STATUTE:
                return limitation.words
            case WindowKind.YEARS:
                return f"the previous {amount(self.amount, 'year')}"
            case WindowKind.DAYS:
                return f"the previous {amount(self.amount, 'day')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """All that a policy's annotations say."""

    policy_id: str
    rules: tuple[str, ...]
    document: str
    text: str
    retain_days: int | None = None
    """`None`: not set, so the policy cannot determine a permit of `Search`."""
    windows: tuple[Window, ...] = ()
    max_reads: int | None = None
    obligations: tuple[str, ...] = ()
    grid: str = ""
    """With `coarsen_location`."""
    says: bool = True
    """Whether what it withholds is called withheld."""
    caveat: str = ""
    refers: bool = False
    hides: bool = False
    """Whether its refusal is shown as an answer without hits."""
    authorization: bool = False
    """Whether a refusal by it is one for want of authorization (Q8)."""
    budgets: tuple[Budget, ...] = ()
    readings: int = 1
    """Most readings of a plate, itself among them (Q10); 1: exactly the plate."""

    def check_complete(self) -> None:
        """Check that a permit of `Search` sets retention and a window.

        Raises:
            AnnotationInvalid: it leaves one open.
        """
        if self.retain_days is None:
            raise AnnotationInvalid(
                f'permit `{self.policy_id}` sets no retention: add `@retain_days("…")`, "0" for as long as '
                "its case needs"
            )
        if not self.windows:
            raise AnnotationInvalid(
                f'permit `{self.policy_id}` sets no window: add `@max_window_years("…")`, '
                '`@max_window_days("…")`, `@max_window("statute")`, or `@max_window("none")`'
            )


def read_terms(annotations: Mapping[str, str], *, permits: bool) -> Terms:
    """Read a policy's annotations.

    Raises:
        AnnotationInvalid: one is missing, unknown, wrong, or has no meaning on this effect.
    """
    for name in annotations:
        if name not in _KNOWN:
            near = get_close_matches(name, _KNOWN, n=1)
            hint = f"; did you mean `@{near[0]}`" if near else ""
            raise AnnotationInvalid(f"annotation `@{name}` is not known{hint}")
        if not permits and name in _PERMIT_ONLY:
            raise AnnotationInvalid(f"annotation `@{name}` has no effect on a forbid")
        if permits and name in _FORBID_ONLY:
            raise AnnotationInvalid(f"annotation `@{name}` has no effect on a permit")
    for name in _CITATION:
        if not annotations.get(name, "").strip():
            raise AnnotationInvalid(f"annotation `@{name}` is required on every policy")
    if not _ID.fullmatch(annotations["id"]):
        raise AnnotationInvalid(
            f"annotation `@id`: `{annotations['id']}` is not lower case letters, digits, `.`, `-`"
        )
    obligations = tuple(annotations.get("obligation", "").split())
    try:
        for obligation in obligations:
            elements_of(obligation)
    except ObligationUnknown as error:
        raise AnnotationInvalid(str(error)) from error
    _check_grid(obligations, annotations)
    if annotations.get("shown_as", "no_hits") != "no_hits":
        raise AnnotationInvalid(f"annotation `@shown_as`: `{annotations['shown_as']}` is not `no_hits`")
    for other in ("refer", "authorization"):
        if "shown_as" in annotations and other in annotations:
            raise AnnotationInvalid(f"annotation `@shown_as`: beside `@{other}` the refusal would show")
    if "say" in annotations:
        _check_say(obligations, annotations, permits=permits)
    return Terms(
        policy_id=annotations["id"],
        rules=tuple(annotations["rule"].split()),
        document=annotations["document"],
        text=annotations["text"],
        retain_days=_number(annotations, "retain_days", least=0),
        windows=_windows(annotations),
        max_reads=_number(annotations, "max_reads", least=1),
        obligations=obligations,
        grid=annotations.get("grid", ""),
        says="say" not in annotations,
        caveat=annotations.get("caveat", ""),
        refers="refer" in annotations,
        hides="shown_as" in annotations,
        authorization="authorization" in annotations,
        budgets=_budgets(annotations),
        readings=_number(annotations, "readings", least=2, most=MOST_READINGS) or 1,
    )


def _check_grid(obligations: tuple[str, ...], annotations: Mapping[str, str]) -> None:
    known = ", ".join(GRIDS)
    if COARSEN in obligations and annotations.get("grid") not in GRIDS:
        raise AnnotationInvalid(f"`{COARSEN}` needs `@grid` with one of {known}")
    if COARSEN not in obligations and "grid" in annotations:
        raise AnnotationInvalid(f"annotation `@grid` has no effect without the obligation `{COARSEN}`")


def _check_say(obligations: tuple[str, ...], annotations: Mapping[str, str], *, permits: bool) -> None:
    if annotations["say"] != "no":
        raise AnnotationInvalid(
            f"annotation `@say`: `{annotations['say']}` is not `no`; left out, it is said"
        )
    if COARSEN in obligations:
        raise AnnotationInvalid("annotation `@say`: a location that was made coarser always says its grid")
    if permits and not obligations:
        raise AnnotationInvalid("annotation `@say` has no effect on a permit that withholds nothing")


def _budgets(annotations: Mapping[str, str]) -> tuple[Budget, ...]:
    if "budget" not in annotations:
        return ()
    try:
        return read_budgets(annotations["budget"])
    except BudgetInvalid as error:
        raise AnnotationInvalid(f"annotation `@budget`: {error}") from error


def _number(annotations: Mapping[str, str], name: str, *, least: int, most: int = _MOST) -> int | None:
    if name not in annotations:
        return None
    value = annotations[name]
    written = value.isascii() and value.isdecimal() and len(value) <= len(str(_MOST))
    if not written or not least <= int(value) <= most:
        raise AnnotationInvalid(f"annotation `@{name}`: `{value}` is not a number from {least} to {most}")
    return int(value)


def _windows(annotations: Mapping[str, str]) -> tuple[Window, ...]:
    found = []
    years = _number(annotations, "max_window_years", least=1)
    if years is not None:
        found.append(Window(kind=WindowKind.YEARS, amount=years))
    days = _number(annotations, "max_window_days", least=1)
    if days is not None:
        found.append(Window(kind=WindowKind.DAYS, amount=days))
    named = annotations.get("max_window")
    if named is not None:
        if named not in (WindowKind.NONE.value, WindowKind.STATUTE.value):
            raise AnnotationInvalid(f"annotation `@max_window`: `{named}` is neither `none` nor `statute`")
        found.append(Window(kind=WindowKind(named)))
    return tuple(found)
