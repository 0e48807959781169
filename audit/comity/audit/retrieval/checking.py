"""Checks what a provider gives of its log, record by record, in flat memory (L3, L6).

In this order; the first that fails raises `RecordsInvalid`, and nothing behind it counts:

1. the statement is signed by the provider, about the agency, the period and the request that were meant;
2. the checkpoint in it is one of the provider's log, signed by its key;
3. each entry is in its log at its index, under that checkpoint;
4. each entry is about what this agency's users asked, and lies in the period;
5. each opening opens a commitment of its entry, each piece of evidence is the one that the entry names;
6. in the end the records are as many as the statement says, and lead to its root.
"""

from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from comity.audit.checkpoint import Checkpoint
from comity.audit.entry import LoggedEntry, Opening, parse_entry
from comity.audit.errors import AuditError, RecordsInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.merkle import RunningRoot, leaf_hash, verify_inclusion
from comity.audit.retrieval.selecting import KEPT, Wanted
from comity.certs.envelope import digest, open_envelope
from comity.certs.errors import CertsError
from comity.certs.instants import to_instant
from comity.certs.roster import Federation, MemberView
from comity.v1.common_pb2 import Period
from comity.v1.envelope_pb2 import Envelope
from comity.v1.query_pb2 import Order
from comity.v1.records_pb2 import KeptBeside, LogRecord, RecordsStatement
from comity.v1.result_pb2 import Acknowledgement, Receipt

MAX_PATH = 63
_SIGNED: dict[str, type[Order] | type[Receipt] | type[Acknowledgement]] = {
    "order": Order,
    "receipt": Receipt,
    "acknowledgement": Acknowledgement,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRecord:
    """A record that passed: its entry, and the private fields of it that are open."""

    index: int
    entry: LoggedEntry
    openings: tuple[Opening, ...] = field(repr=False)


def open_statement(envelope: Envelope, provider: MemberView) -> RecordsStatement:
    """Return what a provider signed about the records that it gives (check 1).

    Raises `RecordsInvalid`. Whether it is about what one asked is `require_asked` to say.
    """
    try:
        claimed = RecordsStatement.FromString(envelope.payload)
        keys = provider.key_set.statement_keys_at(to_instant(claimed, "made_at"))
        statement = open_envelope(envelope, RecordsStatement, keys).message
    except (DecodeError, CertsError, ValueError) as problem:
        raise RecordsInvalid(f"statement: it is not signed by `{provider.agency}` ({problem})") from problem
    if statement.provider != provider.agency:
        raise RecordsInvalid(f"statement: it names another provider than its signer, `{provider.agency}`")
    return statement


def period_of(statement: RecordsStatement) -> Wanted:
    """Return whose records of which period a statement is about. Raises `RecordsInvalid`."""
    try:
        return Wanted(
            provider=statement.provider,
            requester=statement.requester,
            start=to_instant(statement.period, "start"),
            end=to_instant(statement.period, "end"),
        )
    except ValueError as problem:
        raise RecordsInvalid("statement: it names no period") from problem


class RecordsCheck:
    """Takes the records of one statement, one after the other."""

    def __init__(
        self,
        statement: RecordsStatement,
        *,
        keys: KeyHistory,
        roster: Federation | None = None,
    ) -> None:
        """`keys` are those of the provider's log. `roster`: also verify the signatures of evidence.

        Raises `RecordsInvalid` (check 2).
        """
        self.statement = statement
        self.wanted = period_of(statement)
        try:
            self.checkpoint: Checkpoint = keys.open(statement.checkpoint)
        except AuditError as problem:
            raise RecordsInvalid(f"statement: {problem}") from problem
        self._roster = roster
        self._found = RunningRoot()
        self._last = -1

    @property
    def count(self) -> int:
        """How many records passed."""
        return self._found.size

    def take(self, record: LogRecord) -> CheckedRecord:
        """Return a record that passed checks 3 to 5; raise `RecordsInvalid`."""
        if record.index <= self._last:
            raise RecordsInvalid(f"entry {record.index}: it doesn't follow entry {self._last}")
        if self._found.size >= self.statement.count:
            raise RecordsInvalid(f"more records than the {self.statement.count} of the statement")
        try:
            checked = self._checked(record)
        except (AuditError, CertsError, DecodeError) as problem:
            raise RecordsInvalid(f"entry {record.index}: {problem}") from problem
        self._last = record.index
        self._found.add(leaf_hash(record.entry))
        return checked

    def finish(self) -> None:
        """Raise `RecordsInvalid` unless all records came, and no others (check 6)."""
        if self._found.size != self.statement.count:
            raise RecordsInvalid(
                f"{self._found.size} records came, of the {self.statement.count} in the statement"
            )
        if self._found.root() != self.statement.root:
            raise RecordsInvalid("the records are not those of the statement")

    def _checked(self, record: LogRecord) -> CheckedRecord:
        if len(record.path) > MAX_PATH:
            raise RecordsInvalid("its path is longer than any tree has")
        verify_inclusion(
            leaf_hash=leaf_hash(record.entry),
            index=record.index,
            size=self.checkpoint.size,
            path=list(record.path),
            root=self.checkpoint.root,
        )
        entry = parse_entry(record.entry)
        if not self.wanted.includes(entry):
            raise RecordsInvalid("it is not about this agency's users in this period (L6)")
        openings = tuple(Opening(name=one.name, salt=one.salt, value=one.value) for one in record.openings)
        for opening in openings:
            entry.open(opening)
        if len({opening.name for opening in openings}) != len(openings):
            raise RecordsInvalid("a private field is opened twice")
        for kept in record.kept:
            self._kept(entry, kept)
        return CheckedRecord(index=record.index, entry=entry, openings=openings)

    def _kept(self, entry: LoggedEntry, kept: KeptBeside) -> None:
        """Check evidence against what the entry says of it, and whose signature it bears."""
        if kept.name not in KEPT.get(entry.kind, frozenset()):
            raise RecordsInvalid(f"no `{kept.name[:40]}` belongs beside an entry `{entry.kind}`")
        message_type = _SIGNED.get(kept.name)
        payload = kept.payload
        if message_type is not None:
            envelope = Envelope.FromString(kept.payload)
            payload = envelope.payload
            if self._roster is not None:
                signer = self.wanted.provider if kept.name == "receipt" else self.wanted.requester
                keys = self._roster.member(signer).key_set.statement_keys_at(entry.at)
                open_envelope(envelope, message_type, keys)
        if entry.public.get(kept.name) != digest(payload).hex():
            raise RecordsInvalid(f"`{kept.name}` is not the one that the entry names")


def require_asked(statement: RecordsStatement, *, request_id: bytes, requester: str, period: Period) -> None:
    """Raise `RecordsInvalid` unless a statement answers this request of this agency (check 1)."""
    if statement.request_id != request_id:
        raise RecordsInvalid("statement: it answers another request")
    if statement.requester != requester:
        raise RecordsInvalid("statement: it is about another agency's users (L6)")
    if statement.period != period:
        raise RecordsInvalid("statement: it is about another period")
