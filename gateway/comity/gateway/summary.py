"""The last message of an answer: everyone accounted for, the overall banner, completeness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from comity.gateway.errors import FieldViolation, RequestInvalid
from comity.gateway.exchange import Exchange, Settled
from comity.gateway.verification import VerifiedResult
from comity.policy import markings
from comity.v1 import common_pb2, query_pb2, query_service_pb2, result_pb2

# Rule A5, in the words that stand above and below every answer.
SOLE_BASIS = "Not the sole basis for enforcement"
CAVEATS = (
    f"{SOLE_BASIS}: confirm the plate against the image and check other sources (A5).",
    "Absence of reads is never proof of absence.",
)


def summarize(
    exchange_id: bytes,
    settled: Mapping[str, Settled],
    not_asked: Sequence[query_service_pb2.NotAsked],
    completeness: query_pb2.Completeness,
    exchange: Exchange | None,
) -> query_service_pb2.Summary:
    """Return the summary that names every provider once: those asked, then those not."""
    lacking = lacks(completeness, settled)
    found = exchange.findings if exchange else []
    summary = query_service_pb2.Summary(
        exchange_id=exchange_id,
        providers=[_count(item) for item in settled.values()],
        complete=not lacking,
        incomplete_text=lacking,
        findings=[finding.text for finding in found],
        found=[finding.to_message() for finding in found],
        caveats=[*caveats(settled.values()), *(onward(settled.values(), exchange) if exchange else ())],
    )
    summary.providers.extend(
        query_service_pb2.ProviderCount(
            agency=item.agency,
            kind=common_pb2.OUTCOME_KIND_NOT_ASKED,
            attested_by=query_service_pb2.ATTESTATION_GATEWAY,
        )
        for item in not_asked
    )
    if exchange and exchange.account_envelope is not None:
        summary.account.CopyFrom(exchange.account_envelope)
    marking = overall_marking(settled.values())
    if marking is not None:
        summary.marking.CopyFrom(marking)
    return summary


def overall_marking(settled: Iterable[Settled]) -> result_pb2.Marking | None:
    """Return the marking of the whole answer: at least as strict as each part's; None without parts."""
    parts = [result.receipt.detail.marking for result in _shown(settled)]
    return markings.combine(parts) if parts else None


def caveats(settled: Iterable[Settled]) -> list[str]:
    """Return the lines that a person must be shown: ours first, then each provider's own, once (A5).

    A provider's own wording of our first line is not said twice.
    """
    lines = list(CAVEATS)
    for result in _shown(settled):
        for line in result.receipt.detail.marking.caveats:
            if line not in lines and not line.startswith(SOLE_BASIS):
                lines.append(line)
    return lines


def onward(settled: Iterable[Settled], exchange: Exchange) -> Iterator[str]:
    """Yield to whom reads may be passed on, as the agreements have it: empty means nobody (A2, D4)."""
    given: dict[str, list[str]] = {}
    for item in settled:
        if item.result is not None and item.result.read_count:
            given.setdefault(exchange.onward_sharing(item.provider), []).append(item.provider)
    for text, providers in sorted(given.items()):
        yield f"Pass on what {', '.join(sorted(providers))} gave: {text or 'to nobody'} (the agreement)."


def lacks(completeness: query_pb2.Completeness, settled: Mapping[str, Settled]) -> str:
    """Return one line on what `completeness` lacks; empty if it is met (design section 5)."""
    responded = {
        name
        for name, item in settled.items()
        if item.kind == common_pb2.OUTCOME_KIND_RESPONDED and item.is_signed_by_provider
    }
    match completeness.WhichOneof("rule"):
        case "all" if not settled:  # all of nobody is not all
            return "nobody was asked"
        case "all":
            missing = sorted(name for name, item in settled.items() if not item.is_signed_by_provider)
            return f"no outcome of their own from {', '.join(missing)}" if missing else ""
        case "quorum":
            if len(responded) >= completeness.quorum:
                return ""
            return f"{len(responded)} of {completeness.quorum} providers responded"
        case "required":
            missing = sorted(set(completeness.required.agencies) - responded)
            return f"no response from {', '.join(missing)}" if missing else ""
        case _:
            return "" if has_answer(settled) else "nobody answered"


def require_reachable(completeness: query_pb2.Completeness, asked: Set[str]) -> None:
    """Raise `RequestInvalid` if no answer of those who are asked could meet `completeness`.

    Checked before anything leaves: a question that can only fail tells others of it for nothing.
    """
    match completeness.WhichOneof("rule"):
        case "quorum" if completeness.quorum > len(asked):
            field, right = "completeness.quorum", f"at most {len(asked)}, as many as can be asked"
        case "required" if not asked >= set(completeness.required.agencies):
            field, right = (
                "completeness.required.agencies",
                f"of those who can be asked: {', '.join(sorted(asked))}",
            )
        case _:
            return
    raise RequestInvalid((FieldViolation(field=field, description=right),))


def has_answer(settled: Mapping[str, Settled]) -> bool:
    """Whether at least one provider gave an outcome that it signed itself."""
    return any(item.is_signed_by_provider for item in settled.values())


def _shown(settled: Iterable[Settled]) -> list[VerifiedResult]:
    return [item.result for item in settled if item.result is not None]


def _count(item: Settled) -> query_service_pb2.ProviderCount:
    return query_service_pb2.ProviderCount(
        agency=item.provider,
        kind=item.kind,
        read_count=item.result.read_count if item.result else 0,
        attested_by=item.attested_by,
    )
