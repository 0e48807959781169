"""Records of queries as rows: every column of L1, in the order in which an auditor reads them.

Who asked, and for whom; what exactly; when; for which case; what became of it; with whom, under what; and
where it stands in the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from comity.audit.searching.records import Record
from comity.cli.exporting.document import Column

CLOSED, FALSE = "(closed)", "(FALSE OPENING)"
FULL = (
    Column(head="agency", share=3),
    Column(head="user", share=3),
    Column(head="office", share=3),
    Column(head="on behalf of", share=3),
    Column(head="plate", share=2),
    Column(head="other readings", share=3),
    Column(head="state", share=1),
    Column(head="country", share=1),
    Column(head="period from", share=4),
    Column(head="period to", share=4),
    Column(head="area", share=4),
    Column(head="reason", share=5),
    Column(head="reason text", share=8),
    Column(head="elements", share=4),
    Column(head="limitation years", share=2),
    Column(head="offence", share=3),
    Column(head="asked at (UTC)", share=4),
    Column(head="case", share=3),
    Column(head="outcome", share=3),
    Column(head="why", share=4),
    Column(head="reads", share=1),
    Column(head="results, root of pages", share=6, small=True),
    Column(head="rules", share=5),
    Column(head="provider", share=2),
    Column(head="agreement", share=5),
    Column(head="policy", share=6, small=True),
    Column(head="exchange", share=5, small=True),
    Column(head="entry", share=2),
    Column(head="leaf hash", share=6, small=True),
    Column(head="outcome's entry", share=2),
    Column(head="outcome's leaf hash", share=6, small=True),
)
COMPACT = (
    Column(head="who asked, for whom", share=11),
    Column(head="what was asked", share=24),
    Column(head="when (UTC)", share=8),
    Column(head="case", share=7),
    Column(head="outcome", share=10),
    Column(head="provider, agreement", share=12),
    Column(head="entry, leaf hash, exchange", share=18, small=True),
)
TERMINAL = (
    Column(head="who asked", share=10),
    Column(head="what was asked", share=26),
    Column(head="when (UTC)", share=8),
    Column(head="case", share=7),
    Column(head="outcome", share=9),
    Column(head="provider, agreement", share=12),
    Column(head="entry", share=4),
)
"""Of a terminal: as `COMPACT`, without hashes."""


def value(record: Record, name: str) -> str:
    """Return a private field's value, or in words why there is none; empty for a field it hasn't."""
    if name in record.opened:
        return record.opened[name]
    return FALSE if name in record.false else CLOSED if name in record.closed else ""


def full_row(record: Record, agreements: Mapping[str, str]) -> tuple[str, ...]:
    """Return the cells of `FULL`."""
    start, end = _period(record)
    outcome = record.outcome_entry
    return (
        record.requester,
        *(value(record, name) for name in ("user", "office", "on_behalf_of")),
        *(value(record, name) for name in ("plate", "readings", "state", "country")),
        start,
        end,
        value(record, "area"),
        reason(record),
        *(value(record, name) for name in ("reason_text", "elements", "limitation_years", "offence")),
        f"{record.at:%Y-%m-%d %H:%M:%S}",
        value(record, "case"),
        record.outcome,
        record.why,
        value(record, "reads"),
        value(record, "results"),
        _listed(value(record, "rules")),
        record.provider,
        agreements.get(record.agreement, record.agreement),
        record.policy,
        record.exchange.hex() if record.exchange else "",
        str(record.entry.index),
        record.entry.leaf.hex(),
        str(outcome.index) if outcome else "",
        outcome.leaf.hex() if outcome else "",
    )


def compact_row(record: Record, agreements: Mapping[str, str]) -> tuple[str, ...]:
    """Return the cells of `COMPACT`: the same, several to a cell."""
    start, end = _period(record)
    behalf, limit = value(record, "on_behalf_of"), value(record, "limitation_years")
    plate = " ".join(filter(None, (value(record, name) for name in ("plate", "state", "country"))))
    asked = [plate] if plate else []
    if readings := value(record, "readings"):
        asked.append(f"or read as: {readings}")
    if start or end:
        asked.append(f"{start[:16]} to {end[:16]}" if end else start)
    if area := value(record, "area"):
        asked.append(f"area {area}")
    asked += [reason(record), *filter(None, [value(record, "reason_text")])]
    if elements := value(record, "elements"):
        asked.append(f"wanted: {elements.lower().replace(',', ', ')}")
    if limit:
        asked.append(f"limitation: {limit} years")
    if offence := value(record, "offence"):
        asked.append(f"offence: {offence}")
    rules = _listed(value(record, "rules"))
    policy = f"policy {record.policy[:12]}…" if record.policy else ""
    outcome = record.outcome_entry
    where = [f"entry {record.entry.index}", record.entry.leaf.hex()]
    if outcome and outcome != record.entry:
        where += [f"outcome: entry {outcome.index}", outcome.leaf.hex()]
    if record.exchange:
        where.append(f"exchange {record.exchange.hex()}")
    return (
        _lines(
            record.requester,
            value(record, "user"),
            value(record, "office"),
            behalf and f"on behalf of {behalf}",
        ),
        _lines(*asked),
        f"{record.at:%Y-%m-%d\n%H:%M:%S}",
        value(record, "case"),
        _lines(became(record), record.why, rules and f"rules: {rules}"),
        _lines(record.provider, agreements.get(record.agreement, record.agreement[:12]), policy),
        _lines(*where),
    )


def terminal_row(record: Record, agreements: Mapping[str, str]) -> tuple[str, ...]:
    """Return the cells of `TERMINAL`."""
    *cells, _ = compact_row(record, agreements)
    return (*cells, str(record.entry.index))


def reason(record: Record) -> str:
    """Return the reason's code: as it was opened, else as it stands in clear."""
    opened = value(record, "reason")
    return opened if opened and opened != CLOSED else record.purpose.upper()


def became(record: Record) -> str:
    """Return the outcome in words, with the number of reads where it is known.

    A provider that refused and showed an answer without hits reads so in its own records (A1).
    """
    words = record.outcome.replace("_", " ")
    if record.outcome != "responded":
        return words
    if record.opened.get("effect") == "refuse":
        return "refused, shown as responded without hits"
    reads = value(record, "reads")
    return f"{words}, {reads} read{'s' * (reads != '1')}" if reads else words


def to_json(record: Record, agreements: Mapping[str, str]) -> dict[str, object]:
    """Return a record for scripts; a private field has `state` `open`, `closed` or `false`."""
    outcome = record.outcome_entry
    private: dict[str, dict[str, str | None]] = {
        name: {"state": "open", "value": text} for name, text in record.opened.items()
    }
    private |= {name: {"state": "closed", "value": None} for name in sorted(record.closed)}
    private |= {name: {"state": "false", "value": None} for name in sorted(record.false)}
    return {
        "requester": record.requester,
        "provider": record.provider or None,
        "at": record.at.isoformat().replace("+00:00", "Z"),
        "exchange": record.exchange.hex() if record.exchange else None,
        "purpose": record.purpose or None,
        "private": private,
        "outcome": record.outcome,
        "why": record.why or None,
        "agreement": record.agreement or None,
        "agreement_id": agreements.get(record.agreement),
        "policy": record.policy or None,
        "receipt": record.receipt or None,
        "kind": record.kind,
        "index": record.entry.index,
        "leaf": record.entry.leaf.hex(),
        "outcome_index": outcome.index if outcome else None,
        "outcome_leaf": outcome.leaf.hex() if outcome else None,
    }


def _period(record: Record) -> tuple[str, str]:
    """Return start and end of the period that was asked for, UTC, to the second."""
    whole = value(record, "period")
    start, slash, end = whole.partition("/")
    return (_moment(start), _moment(end)) if slash else (whole, "")


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


def _listed(text: str) -> str:
    """Return a list that is written as JSON as a list in words."""
    try:
        listed = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        return text
    return ", ".join(map(str, listed)) if isinstance(listed, list) else text


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
