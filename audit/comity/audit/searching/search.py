"""A search in one end's log: the records that are wanted, and all that makes the result less than whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from google.protobuf.message import DecodeError

from comity.audit.key_history import KeyHistory
from comity.audit.searching.filtering import Filter
from comity.audit.searching.records import Record, RecordReader, read_records
from comity.audit.searching.walk import Tell
from comity.audit.trust import Trust
from comity.certs.envelope import digest
from comity.v1.envelope_pb2 import Envelope
from comity.v1.result_pb2 import Receipt

REQUESTERS_OWN = frozenset(
    {
        *("user", "office", "on_behalf_of", "plate", "plate_folded", "state", "country", "period", "area"),
        *(
            "reason",
            "reason_text",
            "case",
            "elements",
            "limitation_years",
            "offence",
            "readings",
            "results",
            "reads",
        ),
    }
)
"""Private fields that a requester may be given of its own users' questions: what they entered, and what they
got. All others are the provider's own; what of a decision it tells stood in its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of a search, made from one checkpoint. Its repr shows no record."""

    origin: str
    note: bytes
    """The checkpoint that it was made from, a signed note."""
    size: int
    has_openings: bool
    wanted: Filter
    records: tuple[Record, ...] = field(repr=False)
    undecided: tuple[int, ...]
    """Entries of records that may be wanted: what would tell is closed, its opening is gone."""
    false: tuple[tuple[int, str], ...]
    """Every opening in the log's `state.db` that doesn't open its commitment: entry and name."""
    agreements: Mapping[str, str]
    """Ids of agreements by digest in hex."""
    ceilings: frozenset[bytes]
    """Serialized ceiling markings of all providers whose answers the records tell of, from their receipts."""
    unmarked: int
    """How many records tell of an answer whose receipt is no longer at hand, or isn't the one in the log."""

    @property
    def findings(self) -> tuple[str, ...]:
        """What is wrong, in words: openings that were tampered with."""
        return tuple(
            f"entry {index}: the opening of `{name}` is false: it doesn't open what the log holds"
            for index, name in self.false
        )

    @property
    def agency(self) -> str:
        """Whose end's log it is, as its origin says."""
        return self.origin.partition(".")[0]

    @property
    def end(self) -> str:
        """`gateway` or `adapter`, as the log's origin says."""
        return self.origin.rpartition("/")[2]


def search(
    log: Path,
    state: Path | None,
    wanted: Filter,
    *,
    keys: KeyHistory | None = None,
    is_outward: bool = False,
    retrieved: Trust | None = None,
    tell: Tell | None = None,
) -> Found:
    """Return the records of a `log/` folder that are wanted, in the order of their entries.

    `is_outward`: for another agency, about its own users; what is the house's own business is left out.
    `retrieved` is that of `read_records`. Raises what `read_records` and `RecordReader.records` raise: then
    nothing is known.
    """
    records: list[Record] = []
    undecided: set[int] = set()
    with read_records(log, state, keys=keys, retrieved=retrieved) as reader:
        for record in reader.records(tell):
            verdict = wanted.judge(record)
            if verdict is None:
                undecided.add(record.entry.index)
            elif verdict:
                records.append(record)
        marked = [with_ceiling(_outward(record) if is_outward else record, reader) for record in records]
        has_openings = reader.has_openings
    found = sorted((record for record, _ in marked), key=lambda record: (record.entry.index, record.provider))
    return Found(
        origin=reader.walk.origin,
        note=reader.walk.note,
        size=reader.walk.size,
        has_openings=has_openings,
        wanted=wanted,
        records=tuple(found),
        undecided=tuple(sorted(undecided)),
        false=tuple(
            (index, name)
            for index, name, requester in reader.false
            if wanted.requester in (None, requester) and (name in REQUESTERS_OWN or not is_outward)
        ),
        agreements=reader.agreements,
        ceilings=frozenset(ceiling for _, ceiling in marked if ceiling),
        unmarked=sum(bool(record.receipt) and not ceiling for record, ceiling in marked),
    )


def _outward(record: Record) -> Record:
    """Return a record without what a provider keeps to itself: its rules tell which refusals it disguises."""
    return replace(
        record,
        opened={name: value for name, value in record.opened.items() if name in REQUESTERS_OWN},
        closed=record.closed & REQUESTERS_OWN,
        false=record.false & REQUESTERS_OWN,
    )


def with_ceiling(record: Record, reader: RecordReader) -> tuple[Record, bytes]:
    """Return a record with its agreement, and its provider's ceiling, out of the receipt that the log names.

    The receipt's signature was verified when its digest was logged; here its bytes are held against that.
    """
    if not record.receipt or record.receipt_entry is None:
        return record, b""
    name = "receipt" if record.kind == "received" else f"receipt:{record.provider}"
    kept = reader.envelope(record.receipt_entry, name)
    try:
        payload = Envelope.FromString(kept or b"").payload
        if digest(payload).hex() != record.receipt:
            return record, b""
        receipt = Receipt.FromString(payload)
    except DecodeError:
        return record, b""
    agreement = record.agreement or receipt.agreement_digest.hex()
    return replace(record, agreement=agreement), receipt.ceiling_marking
