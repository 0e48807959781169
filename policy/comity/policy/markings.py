"""Markings: how handling that travels with data is written, checked and combined (A4, design 6).

Two schemes. **CUI** (32 CFR 2002, CUI Registry) for federal data: `CUI`, then categories, then limited
dissemination controls, `//` between the three and `/` within one, each sorted: `CUI//LEI//FED ONLY`.
LEI is a Basic category, so `CUI//SP-LEI` does not exist and is refused, like every control that is not
in `CUI_CONTROLS`. **Plain** *(ours)* for state, local and commercial data: a level, its controls, the
providers, with ` // ` between: `LAW ENFORCEMENT SENSITIVE // NO ONWARD SHARING // LAPD`.

The order of strictness, by which `combine` only ever rises:

1. CUI outranks every plain level; plain levels rise as in `PLAIN_LEVELS`.
2. Under CUI, more categories are stricter.
3. Fewer receivers are stricter: each control names the kinds of receivers it leaves, several controls
   leave those that all of them leave.
4. `DL ONLY` and the plain controls each add a term of their own; more terms are stricter.
5. Fewer days of retention are stricter; 0 (no number, only as long as the case needs) is the loosest.
6. More caveats are stricter.

A marking of several schemes is a CUI marking: plain terms may not stand in a CUI banner (32 CFR
2002.20), so the plain controls follow the CUI controls in `controls` alone, and `provider` lists all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from comity.policy.errors import MarkingInvalid
from comity.policy.obligations import retention
from comity.v1 import result_pb2

BASIC_CATEGORIES: Final = {
    "INV": "Investigation",
    "LEI": "General Law Enforcement",
    "PRVCY": "General Privacy",
}
"""CUI categories that this version writes, all of them as Basic, with their names in the Registry."""

RECEIVERS: Final = frozenset({"federal", "contractor", "state", "local", "commercial", "foreign"})
"""Kinds of receivers: an agency's kinds, contractors of a federal agency, and anybody foreign."""

CUI_CONTROLS: Final = {
    "DL ONLY": RECEIVERS,
    "FED ONLY": frozenset({"federal"}),
    "FEDCON": frozenset({"federal", "contractor"}),
    "NOCON": RECEIVERS - {"contractor", "commercial"},
    "NOFORN": RECEIVERS - {"foreign"},
}
"""Limited dissemination controls of the CUI Registry with the receivers they leave. `DL ONLY` leaves
those on a list that accompanies the data, whatever their kind."""

PLAIN_LEVELS: Final = {
    "OFFICIAL USE ONLY": "OUO",
    "LAW ENFORCEMENT SENSITIVE": "LES",
    "LAW ENFORCEMENT RESTRICTED": "LER",
}
"""Levels of the plain scheme *(ours)* from loose to strict, with their portion marks."""

PLAIN_CONTROLS: Final = {
    "LOCAL ONLY": frozenset({"local"}),
    "NO COMMERCIAL USE": RECEIVERS - {"commercial", "contractor"},
    "NO ONWARD SHARING": RECEIVERS,
}
"""Controls of the plain scheme *(ours)*, with the receivers they leave (A3, A9)."""

_PORTION_CONTROLS: Final = {"NOFORN": "NF"}
_ENTRY: Final = "; "
_LEVELS: Final = tuple(PLAIN_LEVELS)
_LISTED: Final = "DL ONLY"


_LONGEST_KNOWN: Final = 4096
"""Bytes of a marking that is remembered once it is found valid; a longer one is checked each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """A marking's meaning, without how it is written. `level` is an index into `_LEVELS`."""

    cui: bool
    level: int
    categories: frozenset[str]
    receivers: frozenset[str]
    """Those that the CUI controls leave."""
    listed: bool
    plain: frozenset[str]
    providers: frozenset[str]
    natures: frozenset[str]
    contacts: frozenset[str]
    caveats: frozenset[str]
    retain_days: int
    agreement_digest: bytes


def make_marking(
    *,
    provider: str,
    nature: str,
    scheme: result_pb2.MarkingScheme,
    level: str = "",
    categories: Iterable[str] = (),
    controls: Iterable[str] = (),
    agreement_digest: bytes = b"",
    retain_days: int = 0,
    caveats: Iterable[str] = (),
    contact: str = "",
) -> result_pb2.Marking:
    """Return a marking with its banner and portion, as the module's docstring defines them.

    Args:
        provider: The agency id.
        nature: The nature of the data (A4).
        scheme: `MARKING_SCHEME_CUI` or `MARKING_SCHEME_PLAIN`.
        level: Under the plain scheme one of `PLAIN_LEVELS`; empty under CUI.
        categories: Under CUI any of `BASIC_CATEGORIES`; none under the plain scheme.
        controls: Of `CUI_CONTROLS` or `PLAIN_CONTROLS`. Those that others imply are left out.
        agreement_digest: 32 bytes, or empty in an agreement's own ceiling.
        retain_days: 0: no number, only as long as the case needs (A7).
        caveats: Lines for a person (A5).
        contact: Whom to ask.

    Raises:
        MarkingInvalid: a word that the scheme does not know, or a name that is missing.
    """
    wanted = frozenset(controls)
    if scheme == result_pb2.MARKING_SCHEME_CUI:
        if level:
            raise MarkingInvalid(f"level `{level}` belongs to the plain scheme")
        known: frozenset[str] = frozenset(CUI_CONTROLS)
        _check_words(wanted, known, "control")
        _check_categories(categories)
        rank = 0
    elif scheme == result_pb2.MARKING_SCHEME_PLAIN:
        if level not in PLAIN_LEVELS:
            raise MarkingInvalid(f"level `{level}` is none of {', '.join(PLAIN_LEVELS)}")
        if tuple(categories):
            raise MarkingInvalid("the plain scheme has no categories")
        _check_words(wanted, frozenset(PLAIN_CONTROLS), "control")
        rank = _LEVELS.index(level)
    else:
        raise MarkingInvalid("marking names no scheme")
    cui = scheme == result_pb2.MARKING_SCHEME_CUI
    return _checked(
        _write(
            _Terms(
                cui=cui,
                level=rank,
                categories=frozenset(categories),
                receivers=_left_by(wanted) if cui else RECEIVERS,
                listed=_LISTED in wanted,
                plain=frozenset() if cui else wanted,
                providers=frozenset({provider}),
                natures=frozenset({nature}),
                contacts=frozenset({contact} - {""}),
                caveats=frozenset(caveats),
                retain_days=retain_days,
                agreement_digest=agreement_digest,
            )
        )
    )


def derive(
    ceiling: result_pb2.Marking,
    *,
    agreement_digest: bytes,
    nature: str = "",
    retain_days: int = 0,
    caveats: Iterable[str] = (),
    contact: str = "",
) -> result_pb2.Marking:
    """Return the exact marking of data under a ceiling: its terms, with what the decision adds.

    Retention and caveats only get stricter than the ceiling's.

    Raises:
        MarkingInvalid: the ceiling itself is not valid.
    """
    terms = _terms(ceiling)
    return _checked(
        _write(
            _Terms(
                cui=terms.cui,
                level=terms.level,
                categories=terms.categories,
                receivers=terms.receivers,
                listed=terms.listed,
                plain=terms.plain,
                providers=terms.providers,
                natures=frozenset({nature}) if nature else terms.natures,
                contacts=frozenset({contact}) if contact else terms.contacts,
                caveats=terms.caveats | frozenset(caveats),
                retain_days=retention(terms.retain_days, retain_days),
                agreement_digest=agreement_digest,
            )
        )
    )


def validate(marking: result_pb2.Marking) -> None:
    """Check that a marking is written exactly as its scheme demands.

    Raises:
        MarkingInvalid: provider or nature missing, an unknown word, or a banner, portion or order that
            its own fields do not give.
    """
    _checked(marking)


def combine(markings: Iterable[result_pb2.Marking]) -> result_pb2.Marking:
    """Return one marking that is at least as strict as each, whatever their order and grouping.

    Raises:
        MarkingInvalid: one of them is not valid, or there is none: an answer without markings has none.
    """
    parts = [_terms(marking) for marking in markings]
    if not parts:
        raise MarkingInvalid("no markings to combine")
    digests = {part.agreement_digest for part in parts}
    cui = any(part.cui for part in parts)
    return _checked(
        _write(
            _Terms(
                cui=cui,
                level=0 if cui else max(part.level for part in parts),
                categories=frozenset().union(*(part.categories for part in parts)),
                receivers=RECEIVERS.intersection(*(part.receivers for part in parts)),
                listed=any(part.listed for part in parts),
                plain=frozenset().union(*(part.plain for part in parts)),
                providers=frozenset().union(*(part.providers for part in parts)),
                natures=frozenset().union(*(part.natures for part in parts)),
                contacts=frozenset().union(*(part.contacts for part in parts)),
                caveats=frozenset().union(*(part.caveats for part in parts)),
                retain_days=retention(*(part.retain_days for part in parts)),
                agreement_digest=digests.pop() if len(digests) == 1 else b"",
            )
        )
    )


def at_least_as_strict(marking: result_pb2.Marking, other: result_pb2.Marking) -> bool:
    """Tell whether a marking loosens nothing of another, retention and caveats included.

    Raises:
        MarkingInvalid: one of the two is not valid.
    """
    left, right = _terms(marking), _terms(other)
    kept = retention(left.retain_days, right.retain_days) == left.retain_days
    return _outranks(left, right) and kept and left.caveats >= right.caveats


def covers(ceiling: result_pb2.Marking, marking: result_pb2.Marking) -> bool:
    """Tell whether data marked so may travel under a ceiling.

    The ceiling is the upper bound of sensitivity, lodged in clear: same provider, and scheme, level,
    categories and controls of the data are no stricter than the ceiling's. Retention and caveats are
    no sensitivity: the exact marking may be stricter in these.

    Raises:
        MarkingInvalid: one of the two is not valid.
    """
    upper, exact = _terms(ceiling), _terms(marking)
    return upper.providers == exact.providers and _outranks(upper, exact)


def may_receive(marking: result_pb2.Marking, kind: str, *, listed: bool = False) -> bool:
    """Tell whether an agency of this kind may receive data marked so.

    Args:
        marking: Any valid marking.
        kind: One of `RECEIVERS`; `FED ONLY` excludes all but `federal`.
        listed: Whether the receiver is on the list that `DL ONLY` asks for.

    Raises:
        MarkingInvalid: the marking is not valid, or the kind unknown.
    """
    _check_words(frozenset({kind}), RECEIVERS, "receiver")
    terms = _terms(marking)
    left = terms.receivers.intersection(*(PLAIN_CONTROLS[control] for control in terms.plain))
    return kind in left and (listed or not terms.listed)


def _outranks(left: _Terms, right: _Terms) -> bool:
    return (
        (left.cui or (not right.cui and left.level >= right.level))
        and left.categories >= right.categories
        and left.receivers <= right.receivers
        and (left.listed or not right.listed)
        and left.plain >= right.plain
    )


def _left_by(controls: Iterable[str]) -> frozenset[str]:
    return RECEIVERS.intersection(*(CUI_CONTROLS[control] for control in controls))


def _controls_for(terms: _Terms) -> list[str]:
    """Return the fewest CUI controls that leave exactly these receivers, sorted."""
    wanted = {
        name for name, left in CUI_CONTROLS.items() if left > terms.receivers or left == terms.receivers
    }
    wanted.discard(_LISTED)
    needed = {
        name for name in wanted if not any(CUI_CONTROLS[other] < CUI_CONTROLS[name] for other in wanted)
    }
    return sorted(needed | ({_LISTED} if terms.listed else set()))


def _write(terms: _Terms) -> result_pb2.Marking:
    controls = _controls_for(terms) if terms.cui else []
    plain = sorted(terms.plain)
    providers = sorted(terms.providers)
    if terms.cui:
        categories = sorted(terms.categories)
        parts = ["CUI", "/".join(categories), "/".join(controls)]
        banner = "//".join(part for part in parts if part)
        short = "/".join(_PORTION_CONTROLS.get(control, control) for control in controls)
        portion = "//".join(part for part in ["CUI", "/".join(categories), short] if part)
    else:
        categories = []
        level = _LEVELS[terms.level]
        names = " / ".join(provider.upper() for provider in providers)
        banner = " // ".join(part for part in [level, " / ".join(plain), names] if part)
        portion = PLAIN_LEVELS[level]
    return result_pb2.Marking(
        provider=", ".join(providers),
        nature=_ENTRY.join(sorted(terms.natures)),
        scheme=result_pb2.MARKING_SCHEME_CUI if terms.cui else result_pb2.MARKING_SCHEME_PLAIN,
        banner=banner,
        portion=f"({portion})",
        categories=categories,
        controls=[*controls, *plain],
        agreement_digest=terms.agreement_digest,
        retain_days=terms.retain_days,
        caveats=sorted(terms.caveats),
        contact=_ENTRY.join(sorted(terms.contacts)),
    )


def _read(marking: result_pb2.Marking) -> _Terms:
    cui = marking.scheme == result_pb2.MARKING_SCHEME_CUI
    if not cui and marking.scheme != result_pb2.MARKING_SCHEME_PLAIN:
        raise MarkingInvalid("marking names no scheme")
    level = marking.banner.split(" // ")[0]
    if not cui and level not in PLAIN_LEVELS:
        raise MarkingInvalid(f"level `{level}` is none of {', '.join(PLAIN_LEVELS)}")
    controls = frozenset(marking.controls)
    known = frozenset(PLAIN_CONTROLS) | (frozenset(CUI_CONTROLS) if cui else frozenset())
    _check_words(controls, known, "control")
    _check_categories(marking.categories)
    return _Terms(
        cui=cui,
        level=0 if cui else _LEVELS.index(level),
        categories=frozenset(marking.categories),
        receivers=_left_by(controls & frozenset(CUI_CONTROLS)) if cui else RECEIVERS,
        listed=_LISTED in controls,
        plain=controls & frozenset(PLAIN_CONTROLS),
        providers=frozenset(marking.provider.split(", ")),
        natures=frozenset(marking.nature.split(_ENTRY)),
        contacts=frozenset(marking.contact.split(_ENTRY)) - {""},
        caveats=frozenset(marking.caveats),
        retain_days=marking.retain_days,
        agreement_digest=marking.agreement_digest,
    )


def _checked(marking: result_pb2.Marking) -> result_pb2.Marking:
    _terms(marking)
    return marking


def _terms(marking: result_pb2.Marking) -> _Terms:
    """Return the terms of a valid marking; most that an exchange meets were met before."""
    data = marking.SerializeToString(deterministic=True)
    return _known_terms(data) if len(data) <= _LONGEST_KNOWN else _valid_terms(data)


def _valid_terms(data: bytes) -> _Terms:
    """Return the terms of a serialized marking; raise `MarkingInvalid` unless it is written so."""
    marking = result_pb2.Marking.FromString(data)
    if not marking.provider:
        raise MarkingInvalid("marking names no provider")
    if not marking.nature:
        raise MarkingInvalid("marking does not name the nature of the data")
    if len(marking.agreement_digest) not in (0, 32):
        raise MarkingInvalid("agreement digest of a marking is not 32 bytes long")
    terms = _read(marking)
    expected = _write(terms)
    _same("banner", marking.banner, expected.banner)
    _same("portion", marking.portion, expected.portion)
    _same("provider", marking.provider, expected.provider)
    _same_list("categories", marking.categories, expected.categories)
    _same_list("controls", marking.controls, expected.controls)
    return terms


_known_terms = lru_cache(maxsize=1024)(_valid_terms)


def _same(name: str, given: str, expected: str) -> None:
    if given != expected:
        raise MarkingInvalid(f"{name} `{given}` does not follow its scheme; its fields give `{expected}`")


def _same_list(name: str, given: Sequence[str], expected: Sequence[str]) -> None:
    if list(given) != list(expected):
        raise MarkingInvalid(f"{name} of a marking are not sorted, or one implies another")


def _check_categories(categories: Iterable[str]) -> None:
    for category in categories:
        if category.removeprefix("SP-") in BASIC_CATEGORIES and category.startswith("SP-"):
            basic = category.removeprefix("SP-")
            raise MarkingInvalid(f"category `{category}`: `{basic}` is marked as a Basic category")
    _check_words(frozenset(categories), frozenset(BASIC_CATEGORIES), "category")


def _check_words(words: frozenset[str], known: frozenset[str], concept: str) -> None:
    for word in sorted(words - known):
        raise MarkingInvalid(f"{concept} `{word}` is none of {', '.join(sorted(known))}")
