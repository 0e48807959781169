"""What `comity hotlist check` says of a batch: rules with lines and paragraphs, never a plate or a case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from comity.cli.hot_list_files import COLUMNS, ReadBatch
from comity.cli.reporting import Json
from comity.gateway.hot_lists import Batch
from comity.policy.decision import Rule
from comity.policy.house.rules import HouseRules

UNJUDGED: Final = ("remove", "expire")
"""Acts that are written down alone: no rule holds back that a plate goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule, and the lines that it stops or warns of."""

    effect: str
    rule: Rule
    lines: tuple[int, ...]


def texts(
    batch: Batch,
    act: str,
    read: ReadBatch,
    findings: Sequence[Finding],
    stopped: set[int],
    entry: int | None,
    *,
    record: bool,
) -> Iterator[str]:
    """Yield what is said of a batch, a line or two a rule; nothing of what stands in it."""
    for found in findings:
        word = "stopped" if found.effect == "stop" else "warned "
        rules = " ".join(found.rule.rules)
        yield f"{word}  {_spelled(found.lines)}: {found.rule.policy_id}: {found.rule.text}"
        yield f"         {rules}; {found.rule.document}" if rules else f"         {found.rule.document}"
    if read.texts:
        yield f"note     {_spelled(read.texts, 'column')}: free text"
    if read.strangers:
        yield f"note     {_spelled(read.strangers, 'column')}: not known; known are {', '.join(COLUMNS)}"
    warned = {line for found in findings if found.effect == "warn" for line in found.lines} - stopped
    plates = f"{len(read.plates)} plate{'s' * (len(read.plates) != 1)}"
    counts = f"{len(stopped)} stopped, {len(warned)} warned of" if act not in UNJUDGED else "not judged"
    yield f"{plates} to {act} at `{batch.holder.agency}`: {counts}"
    if entry is not None:
        yield f"written down: entry {entry} of the gateway's log"
    elif record:
        yield "nothing was written down: mend what is stopped, or leave it out"


def _spelled(numbers: Sequence[int], what: str = "line") -> str:
    """Return numbers as `line 2`, or `lines 2 to 5, 9`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in spans]
    return f"{what}{'s' * (len(numbers) != 1)} {', '.join(texts)}"


def as_object(
    rules: HouseRules,
    batch: Batch,
    act: str,
    read: ReadBatch,
    findings: Sequence[Finding],
    stopped: set[int],
    entry: int | None,
) -> Mapping[str, Json]:
    """Return what is said of a batch, for JSON; nothing of what stands in it."""
    return {
        "agency": batch.agency,
        "version": rules.bundle.version,
        "bundle": rules.bundle.digest.hex(),
        "act": act,
        "at": batch.holder.agency,
        "plates": len(read.plates),
        "stopped": sorted(stopped),
        "findings": [
            {
                "effect": found.effect,
                "lines": list(found.lines),
                "policy": found.rule.policy_id,
                "rules": list(found.rule.rules),
                "document": found.rule.document,
                "text": found.rule.text,
            }
            for found in findings
        ],
        "columns_of_text": list(read.texts),
        "other_columns": list(read.strangers),
        "entry": entry,
    }
