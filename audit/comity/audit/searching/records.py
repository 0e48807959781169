"""What was asked and what became of it: a record for each question to each provider (L1).

A gateway's log tells of one question in several entries (`asked`, `delivered` for each provider,
`concluded`), an adapter's too (`received`, `decided`, `released`, `answered`). Here they become one record,
as soon as the last entry is read, so memory holds what is in flight and no more. A value counts as opened
only if its opening opens the commitment in the log: one that doesn't is named (`false`), one that is gone
too (`closed`).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from comity.audit.beside import whole_entry
from comity.audit.canonical import JsonValue
from comity.audit.entry import LoggedEntry, commitment
from comity.audit.key_history import KeyHistory
from comity.audit.merkle import RunningRoot, leaf_hash
from comity.audit.retrieval.reading import RecordsWalk
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk, Tell, kinds_pattern
from comity.audit.trust import Trust

TURNED_DOWN, REJECTED, CANCELLED, PENDING = "turned_down", "rejected", "cancelled", "pending"
"""Outcomes of a record besides those of `comity.v1.OutcomeKind`: nothing left the house; rejected before a
decision; given up; the log holds no outcome (yet)."""
WITHDRAWN = "withdrawn"
"""Why a result that was logged for its caller has another outcome: its key was revoked meanwhile."""
_OF_RECORDS = frozenset(
    {
        *("asked", "delivered", "concluded", "turned_down"),
        *("received", "decided", "released", "answered", "rejected", "cancelled"),
        *("routed", "accounted"),
        *("agreement_activated", "reviewed"),
    }
)
_AT_ADAPTER = frozenset({"received", "decided", "released"})
_PATTERN = kinds_pattern(_OF_RECORDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """One entry of a record: where it stands in the log, and its leaf's hash (RFC 6962)."""

    index: int
    leaf: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One question to one provider, and what became of it. Private values never appear in `repr`."""

    kind: str
    """Of the entry that it begins with: `asked`, `turned_down`, `received`, `rejected` or `routed`."""
    entry: Entered
    at: datetime
    """When it was asked, at this end."""
    requester: str
    provider: str
    """Empty for what was turned down in the house."""
    exchange: bytes | None
    purpose: str
    """The reason's code, in lower case, as it stands in clear; empty where the entry has none."""
    opened: Mapping[str, str] = field(repr=False)
    """Private fields that were opened, by name: `user`, `office`, `plate`, `case` and so on."""
    closed: frozenset[str] = frozenset()
    """Private fields whose opening is not at hand."""
    false: frozenset[str] = frozenset()
    """Private fields with an opening that doesn't open what the log holds."""
    outcome: str = PENDING
    why: str = ""
    """A class of reason, for what was turned down, rejected or cancelled."""
    outcome_entry: Entered | None = None
    agreement: str = ""
    """Digest in hex, where the log has it."""
    policy: str = ""
    """Digest in hex of the provider's policy, where the log has it."""
    receipt: str = ""
    """Digest in hex of the provider's receipt."""
    receipt_entry: int | None = None
    """The entry beside which the receipt was kept."""
    is_hit: bool = False
    """Whether reads are known to have been found."""
    is_hit_known: bool = False
    """Whether the log says so in clear, or an opening of `reads` does where the log is older."""

    @property
    def reads(self) -> int | None:
        """How many reads were found; None if that isn't opened."""
        value = self.opened.get("reads", "")
        return int(value) if value.isdecimal() else None


@dataclass(slots=True, kw_only=True)
class _Group:
    """A question in flight: what stands for all its providers, and what each became."""

    base: Record
    found: dict[str, Record] = field(default_factory=dict)
    is_done: bool = False


class RecordReader:
    """Reads the records of one end's log, in one pass. Use it once."""

    def __init__(
        self,
        walk: LogWalk | RecordsWalk,
        kept: KeptBeside | RecordsWalk,
        *,
        only: frozenset[str] | None = None,
    ) -> None:
        """`only`: the names of private fields that are looked at; None for all."""
        self.walk = walk
        self._only = only
        self.on_entry: Callable[[bytes], None] | None = None
        """Called with the bytes of every entry, once `running` covers it."""
        self.running = RunningRoot()
        """Grows with the entries: between two records it tells the root up to there."""
        self.agreements: dict[str, str] = {}
        """Of digests in hex: the agreement's id, as far as the log was read."""
        self.reviewed: list[tuple[Entered, LoggedEntry, Mapping[str, str]]] = []
        """Sign-offs that were met, with their opened fields."""
        self.false: list[tuple[int, str, str]] = []
        """Index, name and requester of every opening that was met and doesn't open what the log holds."""
        self._kept = kept
        self._groups: OrderedDict[tuple[bytes, str], _Group] = OrderedDict()
        self._late: dict[tuple[bytes, str], _Group] = {}

    @property
    def has_openings(self) -> bool:
        """Whether there are openings at hand at all."""
        return self._kept.has_openings

    def envelope(self, index: int, name: str) -> bytes | None:
        """Return what was kept beside an entry, if it is still at hand."""
        return self._kept.envelope(index, name)

    def records(self, tell: Tell | None = None) -> Iterator[Record]:
        """Yield all records: in the order of their first entries, but for those that took long.

        They count once this has ended: see `LogWalk.entries` for what is raised. `EntryInvalid` too.
        """
        for index, leaf in self.walk.entries(self.running, tell):
            if self.on_entry is not None:
                self.on_entry(leaf)
            if _PATTERN.search(leaf) is None:
                continue
            entry = whole_entry(leaf, self.walk.folder, is_checked=True)
            if entry.kind in _OF_RECORDS:
                yield from self._entry(Entered(index=index, leaf=leaf_hash(leaf)), entry)
        for group in sorted((*self._late.values(), *self._groups.values()), key=lambda g: g.base.entry.index):
            yield from _finished(group)
        self._late.clear()
        self._groups.clear()

    def _entry(self, at: Entered, entry: LoggedEntry) -> Iterator[Record]:
        public, exchange = entry.public, entry.exchange
        match entry.kind:
            case "agreement_activated":
                self.agreements[_text(public, "agreement")] = _text(public, "id")
            case "reviewed":
                opened, _, _ = self._open(at.index, entry)
                self.reviewed.append((at, entry, opened))
            case "asked" | "routed":
                self._begin(at, entry, requester=_text(public, "agency"), provider="")
            case "received":
                self._begin(at, entry, requester=_text(public, "peer"), provider=_text(public, "agency"))
            case "turned_down":
                record = self._record(at, entry, requester=_text(public, "agency"), provider="")
                yield replace(record, outcome=TURNED_DOWN, why=_text(public, "why"), outcome_entry=at)
            case "rejected":
                record = self._record(
                    at, entry, requester=_text(public, "peer"), provider=_text(public, "agency")
                )
                why, outcome = _text(public, "reason"), _text(public, "outcome") or REJECTED
                yield replace(record, outcome=outcome, why=why, outcome_entry=at)
            case "delivered" | "concluded" | "accounted":
                group = self._find((exchange or b"", ""))
                if group is not None:
                    self._asked_became(group, at, entry)
            case _:
                group = self._find((exchange or b"", _text(public, "peer")))
                if group is not None:
                    self._received_became(group, at, entry)
        if self._late:
            for key in [key for key, group in self._late.items() if group.is_done]:
                yield from _finished(self._late.pop(key))
        yield from self._done()

    def _begin(self, at: Entered, entry: LoggedEntry, *, requester: str, provider: str) -> None:
        record = self._record(at, entry, requester=requester, provider=provider)
        providers = [provider] if provider else _asked(entry)
        group = _Group(base=record, found={name: replace(record, provider=name) for name in providers})
        key = (entry.exchange or b"", requester if provider else "")
        earlier = self._groups.pop(key, None) or self._late.pop(key, None)
        if earlier is not None:  # the same exchange twice: no end of ours does that, and nothing is lost
            self._late[(b"", str(earlier.base.entry.index))] = earlier
            earlier.is_done = True
        self._groups[key] = group

    def _asked_became(self, group: _Group, at: Entered, entry: LoggedEntry) -> None:
        public = entry.public
        if entry.kind == "delivered":
            peer = _text(public, "peer")
            if peer in group.found:
                group.found[peer] = self._result(group.found[peer], at, entry)
            return
        outcomes = public.get("outcomes")
        told = outcomes if isinstance(outcomes, dict) else {}
        for name, record in group.found.items():
            if record.outcome == PENDING:
                outcome = told.get(name) or (CANCELLED if public.get("cancelled") is True else PENDING)
                group.found[name] = replace(record, outcome=str(outcome), outcome_entry=at)
            elif told.get(name, record.outcome) != record.outcome:  # revoked before all of it was shown
                said = str(told[name])
                group.found[name] = replace(
                    record, outcome=said, why=WITHDRAWN, is_hit=False, outcome_entry=at
                )
        group.is_done = True

    def _received_became(self, group: _Group, at: Entered, entry: LoggedEntry) -> None:
        public = entry.public
        ((name, record),) = group.found.items()
        match entry.kind:
            case "decided":
                opened, closed, false = self._open(at.index, entry)
                record = replace(
                    record,
                    opened={**record.opened, **opened},
                    closed=record.closed | closed,
                    false=record.false | false,
                    agreement=_text(public, "agreement"),
                    policy=_text(public, "policy"),
                )
            case "released":
                record = self._result(record, at, entry)
            case "answered":
                record = replace(record, receipt=_text(public, "receipt"), receipt_entry=at.index)
                if record.outcome == PENDING:
                    record = replace(record, outcome=_text(public, "outcome"), outcome_entry=at)
                group.is_done = True
            case "cancelled":
                if record.outcome == PENDING:
                    record = replace(record, outcome=CANCELLED, outcome_entry=at)
                record = replace(record, why=_text(public, "reason"))
                group.is_done = True
        group.found[name] = record

    def _result(self, record: Record, at: Entered, entry: LoggedEntry) -> Record:
        opened, closed, false = self._open(at.index, entry)
        public = entry.public
        receipt = _text(public, "receipt")
        hit, reads = public.get("hit"), opened.get("reads", "")
        if reads.isdecimal():
            hit = int(reads) > 0
        return replace(
            record,
            is_hit=hit is True,
            is_hit_known=isinstance(hit, bool),
            opened={**record.opened, **opened},
            closed=record.closed | closed,
            false=record.false | false,
            outcome=_text(public, "outcome"),
            outcome_entry=at,
            policy=_text(public, "policy") or record.policy,
            agreement=_text(public, "agreement") or record.agreement,
            receipt=receipt or record.receipt,
            receipt_entry=at.index if receipt else record.receipt_entry,
        )

    def _record(self, at: Entered, entry: LoggedEntry, *, requester: str, provider: str) -> Record:
        opened, closed, false = self._open(at.index, entry)
        return Record(
            kind=entry.kind,
            entry=at,
            at=entry.at,
            requester=requester,
            provider=provider,
            exchange=entry.exchange,
            purpose=_text(entry.public, "purpose"),
            opened=opened,
            closed=closed,
            false=false,
        )

    def _open(self, index: int, entry: LoggedEntry) -> tuple[dict[str, str], frozenset[str], frozenset[str]]:
        """Return what of an entry's private fields is open, closed, and false."""
        if not entry.commitments:
            return {}, frozenset(), frozenset()
        openings = self._kept.pairs(index)
        opened: dict[str, str] = {}
        closed: set[str] = set()
        false: set[str] = set()
        for name, committed in entry.commitments.items():
            if self._only is not None and name not in self._only:
                continue
            found = openings.get(name)
            if found is None:
                closed.add(name)
            elif _is_true(name, found, committed):
                opened[name] = found[1]
            else:
                false.add(name)
        extra = openings.keys() - entry.commitments.keys()
        public = entry.public
        requester = _text(public, "peer" if entry.kind in _AT_ADAPTER else "agency")
        self.false += [(index, name, requester) for name in sorted(false | extra)]
        return opened, frozenset(closed), frozenset(false)

    def _find(self, key: tuple[bytes, str]) -> _Group | None:
        return self._groups.get(key) or self._late.get(key)

    def _done(self) -> Iterator[Record]:
        """Yield the records of groups that are done, in their order; one that takes very long gives way."""
        while self._groups:
            key, group = next(iter(self._groups.items()))
            if not group.is_done and self.running.size - group.base.entry.index <= _LONG:
                return
            del self._groups[key]
            if group.is_done:
                yield from _finished(group)
            else:
                self._late[key] = group


_LONG = 20_000
"""Entries after which a question that has no outcome yet holds back no others."""


@contextmanager
def read_records(
    log: Path,
    state: Path | None,
    *,
    keys: KeyHistory | None = None,
    only: frozenset[str] | None = None,
    retrieved: Trust | None = None,
) -> Iterator[RecordReader]:
    """Give a reader of the records of a `log/` folder and, if at hand, the `state.db` of its end.

    `only`: the names of private fields that are looked at, None for all. `keys` and what is raised are
    those of `LogWalk`; `LogUnwritable` for a `state.db` that can't be read. With `retrieved`, the trust to
    check them with, `log` is a folder of records that a provider gave.
    """
    if retrieved is not None:
        walk = RecordsWalk(log, retrieved)
        yield RecordReader(walk, walk, only=only)
        return
    with KeptBeside(state, only=only) as kept:
        yield RecordReader(LogWalk(log, keys=keys), kept, only=only)


def _asked(entry: LoggedEntry) -> list[str]:
    """Return whom an order went to: at a gateway by name, at the broker as a list."""
    asked = entry.public.get("asked", entry.public.get("providers"))
    return sorted(name for name in asked if isinstance(name, str)) if isinstance(asked, dict | list) else []


def _finished(group: _Group) -> Iterator[Record]:
    yield from (group.found.values() if group.found else (group.base,))


def _is_true(name: str, found: tuple[bytes, str], committed: bytes) -> bool:
    """Return whether salt and value, which may be of any type where somebody wrote, open a commitment."""
    salt, value = found
    if not isinstance(salt, bytes) or not isinstance(value, str):
        return False
    try:
        return commitment(name, value, salt) == committed
    except UnicodeEncodeError:
        return False


def _text(public: Mapping[str, JsonValue], name: str) -> str:
    """Return a public field that is a text; empty for another and for none."""
    value = public.get(name)
    return value if isinstance(value, str) else ""
