"""Ceiling markings from the banner that a person writes: `CUI//LEI`, `LAW ENFORCEMENT SENSITIVE // LAPD`."""

from __future__ import annotations

from comity.policy.errors import MarkingInvalid
from comity.policy.markings import BASIC_CATEGORIES, CUI_CONTROLS, PLAIN_CONTROLS, make_marking
from comity.v1.result_pb2 import MARKING_SCHEME_CUI, MARKING_SCHEME_PLAIN, Marking


def make_ceiling(provider: str, nature: str, banner: str) -> bytes:
    """Return the serialized ceiling marking of `provider` that `banner` spells, in its scheme's order.

    A banner that begins with `CUI` follows 32 CFR 2002; another one is of the plain scheme, in which the
    provider's name at the end may be left out. Raises `ValueError`, saying what would have been right.
    """
    try:
        marking = _cui(provider, nature, banner) if banner.split("//")[0].strip() == "CUI" else None
        marking = marking or _plain(provider, nature, banner)
    except MarkingInvalid as error:
        raise ValueError(f"banner `{banner}`: {error}") from error
    if banner not in (marking.banner, marking.banner.removesuffix(f" // {provider.upper()}")):
        raise ValueError(f"banner `{banner}`: expected `{marking.banner}`")
    return marking.SerializeToString(deterministic=True)


def _cui(provider: str, nature: str, banner: str) -> Marking:
    """Return a CUI marking: categories, then limited dissemination controls."""
    sections = [part.split("/") for part in banner.split("//")[1:]]
    strange = [word for part in sections[1:] for word in part if word not in BASIC_CATEGORIES]
    words = [word for part in sections for word in part]
    controls = {*strange, *CUI_CONTROLS}
    return make_marking(
        provider=provider,
        nature=nature,
        scheme=MARKING_SCHEME_CUI,
        categories=[word for word in words if word not in controls],
        controls=[word for word in words if word in controls],
    )


def _plain(provider: str, nature: str, banner: str) -> Marking:
    """Return a marking of the plain scheme: level, controls, provider."""
    level, *rest = banner.split(" // ")
    words = [word for part in rest for word in part.split(" / ")]
    if words and words[-1] not in PLAIN_CONTROLS:
        words.pop()  # the provider's name; another one shows as the banner is compared
    return make_marking(
        provider=provider,
        nature=nature,
        scheme=MARKING_SCHEME_PLAIN,
        level=level,
        controls=words,
    )
