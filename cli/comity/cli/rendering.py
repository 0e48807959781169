"""An answer for a person, and as JSON: banner above and below, every provider, every caveat.

Texts of providers come from elsewhere: control characters are taken out before they reach a terminal.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from comity.cli.asking import Answer
from comity.v1 import common_pb2, query_service_pb2, result_pb2

MAX_ROWS = 40
NO_BANNER = "NO DATA SHOWN"
WIDTH_WHEN_PIPED = 110
WIDTH_OF_ALL_COLUMNS = 100
WIDTH_OF_SECONDS = 80
JsonObject = dict[str, object]


def clean(text: str) -> str:
    """Return `text` on one line, without control, format and bidirectional characters."""
    kept = (" " if character in "\n\t\r" else character for character in text)
    return "".join(c for c in kept if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))


def kind_word(kind: common_pb2.OutcomeKind) -> str:
    """Return `RESPONDED` for `OUTCOME_KIND_RESPONDED`, and so on."""
    return common_pb2.OutcomeKind.Name(kind).removeprefix("OUTCOME_KIND_")


def moment(stamp: Timestamp) -> datetime:
    """Return a timestamp as an aware UTC time."""
    return stamp.ToDatetime(tzinfo=UTC)


def terminal(*, stderr: bool = False) -> Console:
    """Return a console: as wide as the terminal, or as `COLUMNS` says, or 110 where it is piped."""
    console = Console(stderr=stderr, highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(stderr=stderr, highlight=False, width=WIDTH_WHEN_PIPED)


def show(answer: Answer, console: Console, *, max_rows: int = MAX_ROWS) -> None:
    """Print an answer: banner, whom was asked, reads in one table, outcomes, caveats, banner."""
    summary = answer.summary
    banner = banner_of(answer)
    console.print(Text(f" {banner} ", style="bold reverse"), justify="center")
    _show_plan(answer, console)
    _show_reads(answer, console, max_rows)
    _show_outcomes(answer, console)
    if summary is not None:
        for finding in summary.findings:
            console.print(Text(f"finding: {clean(finding)}", style="bold red"))
        for line in summary.caveats:
            console.print(Text(f"! {clean(line)}", style="yellow"))
    console.print(Text(f" {banner} ", style="bold reverse"), justify="center")
    if answer.problem:
        console.print(Text(f"{answer.problem_reason}: {clean(answer.problem)}", style="bold red"))


def banner_of(answer: Answer) -> str:
    """Return the answer's overall banner, in the gateway's words."""
    if answer.summary is not None and answer.summary.HasField("marking"):
        return clean(answer.summary.marking.banner)
    return NO_BANNER


def reads_of(answer: Answer) -> list[tuple[str, result_pb2.Read]]:
    """Return the reads with their agencies, newest first; none unless the answer tells its marking (A4)."""
    if answer.summary is None or not answer.summary.HasField("marking"):
        return []
    reads = [(page.agency, read) for page in answer.pages for read in page.page.reads]
    return sorted(reads, key=lambda pair: pair[1].captured_at.ToNanoseconds(), reverse=True)


def to_json(answer: Answer, plate: str) -> JsonObject:
    """Return an answer for scripts: `plate`, `banner`, `outcomes` by agency, `reads`, caveats, findings."""
    outcomes: dict[str, JsonObject] = {}
    for item in answer.outcomes:
        outcomes[item.agency] = _outcome_json(item)
    for left_out in answer.plan.not_asked if answer.plan else ():
        reason = query_service_pb2.NotAskedReason.Name(left_out.reason).removeprefix("NOT_ASKED_REASON_")
        outcomes[left_out.agency] = {"kind": "NOT_ASKED", "reason": reason, "text": clean(left_out.text)}
        if left_out.house_rules:
            outcomes[left_out.agency]["rules"] = [rule_json(rule) for rule in left_out.house_rules]
    summary = answer.summary
    return {
        "plate": plate,
        "exchange": answer.plan.exchange_id.hex() if answer.plan else "",
        "banner": banner_of(answer),
        "complete": bool(summary and summary.complete),
        "outcomes": outcomes,
        "reads": [_read_json(agency, read) for agency, read in reads_of(answer)],
        "caveats": [clean(line) for line in summary.caveats] if summary else [],
        "findings": [clean(line) for line in summary.findings] if summary else [],
        "house_warnings": [rule_json(rule) for rule in answer.plan.house_warnings] if answer.plan else [],
        "found": [_finding_json(finding) for finding in summary.found] if summary else [],
        "problem": answer.problem,
    }


def rule_json(rule: result_pb2.RuleCitation) -> JsonObject:
    """Return a rule for programs: a provider's, or one of the agency's own house rules."""
    return {
        "policy": clean(rule.policy_id),
        "rules": list(rule.rules),
        "document": clean(rule.document),
        "text": clean(rule.text),
    }


def _finding_json(finding: query_service_pb2.Finding) -> JsonObject:
    """Return a finding for programs: who is left as the liar, and what shows it."""
    return {
        "kind": query_service_pb2.FindingKind.Name(finding.kind).removeprefix("FINDING_KIND_"),
        "provider": finding.provider,
        "suspects": list(finding.suspects),
        "text": clean(finding.text),
        "evidence": [digest.hex() for digest in finding.evidence],
    }


def _show_plan(answer: Answer, console: Console) -> None:
    if answer.plan is None:
        return
    if answer.plan.asked:
        console.print(f"asked: {', '.join(answer.plan.asked)}", highlight=False)
    because: dict[str, list[str]] = {}
    for item in answer.plan.not_asked:
        because.setdefault(clean(item.text), []).append(item.agency)
    for rule in answer.plan.house_warnings:
        cited = f"{clean(rule.policy_id)}; {clean(rule.document)}"
        console.print(Text(f"house rule: {clean(rule.text)} ({cited})", style="bold yellow"))
    for text, agencies in because.items():
        console.print(f"not asked: {', '.join(agencies)}: {text}", highlight=False, style="dim")


def _show_reads(answer: Answer, console: Console, max_rows: int) -> None:
    reads = reads_of(answer)
    if not reads:
        if answer.pages:
            console.print("reads that came without the answer's marking are not shown (A4)", style="bold red")
        elif any(item.kind == common_pb2.OUTCOME_KIND_RESPONDED for item in answer.outcomes):
            console.print("no reads in this period", style="bold")
        return
    wide, narrow = console.width >= WIDTH_OF_ALL_COLUMNS, console.width < WIDTH_OF_SECONDS
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("agency", "captured (UTC)", "plate", *(() if narrow else ("st",))):
        table.add_column(name, no_wrap=True)
    table.add_column("where", overflow="fold", min_width=8 if narrow else 16)
    if wide:
        table.add_column("vehicle", overflow="fold")
        table.add_column("img")
    table.add_column("marking", overflow="fold", min_width=8)
    for agency, read in reads[:max_rows]:
        vehicle = " ".join(clean(part) for part in (read.vehicle.make, read.vehicle.model) if part)
        plate, state = plate_of(read, answer), clean(read.plate.state)
        table.add_row(
            agency,
            f"{moment(read.captured_at):%Y-%m-%d %H:%M{'' if narrow else ':%S'}}",
            *((plate.append(f" {state}"),) if narrow else (plate, state)),
            where_of(read),
            *((vehicle, images_of(read)) if wide else ()),
            clean(read.marking.portion),
        )
    console.print(table)
    if len(reads) > max_rows:
        console.print(f"… and {len(reads) - max_rows} more reads (--rows or --json show all)", style="dim")


def _show_outcomes(answer: Answer, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("provider", "outcome", "reads", "ms", "vouched by"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("reads", "ms") else "left")
    table.add_column("what it says", overflow="fold")
    for item in sorted(answer.outcomes, key=lambda outcome: outcome.agency):
        table.add_row(
            item.agency,
            Text(kind_word(item.kind), style=_style(item.kind)),
            str(item.detail.read_count) if item.HasField("detail") else "-",
            str(item.elapsed_ms),
            query_service_pb2.Attestation.Name(item.attested_by).removeprefix("ATTESTATION_").lower(),
            "\n".join(dict.fromkeys(words_of(item))),
        )
    for left_out in answer.plan.not_asked if answer.plan else ():
        if left_out.reason != query_service_pb2.NOT_ASKED_REASON_EXCLUDED:
            table.add_row(
                left_out.agency, Text("NOT_ASKED", style="dim"), "-", "-", "gateway", clean(left_out.text)
            )
    if table.row_count:
        console.print(table)


def words_of(item: query_service_pb2.ProviderOutcome) -> Iterable[str]:
    """Yield what a provider's detail tells a person, a line each."""
    if item.text:
        yield clean(item.text)
    if not item.HasField("detail"):
        return
    detail = item.detail
    reason = clean(detail.public_reason)
    if reason:
        yield reason
    if detail.kind != common_pb2.OUTCOME_KIND_RESPONDED:
        for rule in detail.rules:
            text = clean(rule.text)
            cited = f"rule {', '.join(rule.rules)}; {clean(rule.document)}"
            yield cited if text == reason else f"{cited}: {text}"
    yield from _come_back(detail)
    if detail.period_clipped and detail.HasField("searched"):
        start, end = moment(detail.searched.start), moment(detail.searched.end)
        yield f"period clipped to {start:%Y-%m-%d} … {end:%Y-%m-%d}"
    named: set[str] = set()
    for obligation in detail.obligations:
        if detail.read_count and obligation.name not in named:  # one reason each is enough for a person
            named.add(obligation.name)
            yield f"{clean(obligation.name).replace('_', ' ')}: {clean(obligation.text)}"
    if detail.truncated:
        yield "more reads matched than were sent"
    yield from (clean(line) for line in detail.violations)


def _come_back(detail: result_pb2.ResultDetail) -> Iterable[str]:
    """Yield when to ask again, where a provider's limit turned the question away."""
    if detail.kind != common_pb2.OUTCOME_KIND_RATE_LIMITED:
        return
    wait = f"in {_span(detail.retry_after_seconds)}"
    if not detail.HasField("retry_at"):
        yield f"come back {wait}"
        return
    yield f"come back at {_up_to_seconds(moment(detail.retry_at)):%Y-%m-%d %H:%M:%S} UTC ({wait})"


def _up_to_seconds(at: datetime) -> datetime:
    """Return an instant at a whole second, never before: who comes then doesn't come too early."""
    return at.replace(microsecond=0) + timedelta(seconds=bool(at.microsecond))


def _span(seconds: int) -> str:
    """Return a number of seconds as a person says it, the last part rounded up."""
    if seconds < 120:
        return f"{seconds} s"
    minutes = -(-seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def plate_of(read: result_pb2.Read, answer: Answer) -> Text:
    """Return the plate as the reader saw it; one that matched another reading stands out (Q10)."""
    plate = clean(read.plate.number)
    asked = answer.plan.folded_plate if answer.plan else ""
    if read.matched_reading in ("", asked):
        return Text(plate)
    return Text(f"{plate} (read as)", style="bold yellow")


def where_of(read: result_pb2.Read) -> str:
    """Return where a read was made: its address, or its coordinates with the grid that they are on."""
    if not read.HasField("location"):
        return "(withheld)" if common_pb2.ELEMENT_LOCATION in read.withheld else ""
    place = read.location
    if place.address or place.intersection:
        return clean(place.address or place.intersection)
    if place.HasField("latitude") and place.HasField("longitude"):
        if place.grid:
            return f"about {place.latitude:.4f}, {place.longitude:.4f} ({clean(place.grid)})"
        return f"{place.latitude:.4f}, {place.longitude:.4f}"
    return ""


def images_of(read: result_pb2.Read) -> str:
    """Return how many images there are, or that they are withheld."""
    if read.images:
        return str(len(read.images))
    return "withheld" if common_pb2.ELEMENT_IMAGES in read.withheld else "0"


def _style(kind: common_pb2.OutcomeKind) -> str:
    match kind:
        case common_pb2.OUTCOME_KIND_RESPONDED:
            return "green"
        case common_pb2.OUTCOME_KIND_REFUSED | common_pb2.OUTCOME_KIND_REFERRED:
            return "yellow"
        case _:
            return "red"


def _outcome_json(item: query_service_pb2.ProviderOutcome) -> JsonObject:
    value: JsonObject = {
        "kind": kind_word(item.kind),
        "attested_by": query_service_pb2.Attestation.Name(item.attested_by).removeprefix("ATTESTATION_"),
        "text": clean(item.text),
        "elapsed_ms": item.elapsed_ms,
        "stamped": item.HasField("stamp"),
    }
    if item.HasField("detail"):
        detail = item.detail
        value |= {
            "read_count": detail.read_count,
            "public_reason": clean(detail.public_reason),
            "rules": [rule_json(rule) for rule in detail.rules],
            "period_clipped": detail.period_clipped,
            "searched": {
                "start": moment(detail.searched.start).isoformat(),
                "end": moment(detail.searched.end).isoformat(),
            }
            if detail.HasField("searched")
            else None,
            "obligations": [
                {"name": clean(entry.name), "text": clean(entry.text)} for entry in detail.obligations
            ],
            "truncated": detail.truncated,
            "banner": clean(detail.marking.banner),
        }
        if item.kind == common_pb2.OUTCOME_KIND_RATE_LIMITED:
            value["retry_after_seconds"] = detail.retry_after_seconds
            value["retry_at"] = moment(detail.retry_at).isoformat() if detail.HasField("retry_at") else None
    return value


def _read_json(agency: str, read: result_pb2.Read) -> JsonObject:
    place = read.location
    return {
        "agency": agency,
        "read_id": clean(read.read_id),
        "plate": clean(read.plate.number),
        "matched_reading": clean(read.matched_reading),
        "state": clean(read.plate.state),
        "country": clean(read.plate.country),
        "captured_at": moment(read.captured_at).isoformat(),
        "latitude": place.latitude if place.HasField("latitude") else None,
        "longitude": place.longitude if place.HasField("longitude") else None,
        "address": clean(place.address),
        "intersection": clean(place.intersection),
        "grid": clean(place.grid),
        "grid_metres": place.grid_metres,
        "make": clean(read.vehicle.make),
        "model": clean(read.vehicle.model),
        "camera": clean(read.camera.name),
        "source": clean(read.source),
        "images": [clean(image.image_id) for image in read.images],
        "withheld": [  # an element of a later contract has no name yet
            common_pb2.Element.Name(element).removeprefix("ELEMENT_")
            for element in read.withheld
            if element in common_pb2.Element.values()
        ],
        "banner": clean(read.marking.banner),
        "portion": clean(read.marking.portion),
        "retain_days": read.marking.retain_days,
    }
