"""The marking of an export: the strictest combination of all that it shows."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from comity.policy.errors import MarkingInvalid
from comity.policy.markings import combine, make_marking, validate
from comity.v1.result_pb2 import MARKING_SCHEME_CUI, MARKING_SCHEME_PLAIN, Marking

NATURE = "records of queries"
"""What an export holds besides what providers gave: who asked, what and why."""


def strictest(agency: str, ceilings: Iterable[bytes], *, is_federal: bool) -> tuple[Marking, int]:
    """Return the marking of an export of an agency's records, and how many ceilings could not be read.

    Records of queries are law-enforcement sensitive of themselves *(ours)*: plain `LAW ENFORCEMENT
    SENSITIVE`, and `CUI//LEI` at a federal agency. Ceilings of the providers whose answers are told of only
    add to that.
    """
    parts = [
        make_marking(provider=agency, nature=NATURE, scheme=MARKING_SCHEME_CUI, categories=["LEI"])
        if is_federal
        else make_marking(
            provider=agency, nature=NATURE, scheme=MARKING_SCHEME_PLAIN, level="LAW ENFORCEMENT SENSITIVE"
        )
    ]
    unreadable = 0
    for ceiling in ceilings:
        try:
            marking = Marking.FromString(ceiling)
            validate(marking)
        except (DecodeError, MarkingInvalid):
            unreadable += 1
            continue
        parts.append(marking)
    return combine(parts), unreadable
