"""Judges one exchange between one requester and one provider: pure facts in, one class and its evidence out.

Every pair of an exchange gets the first of these classes that fits:

==========================  ==============================================================================
edited, reordered           an entry about it hasn't the bytes, or the place, that its log's tree has
missing at the requester    others tell of it, the requester's log doesn't
missing at the broker       so with the broker's
missing at the provider     so with the provider's
truncated tail              it is missing at an end whose log is shorter than a peer saw it, or promised
disagrees                   two ends' entries name other receipts, orders, queries, policies or outcomes
release without decision    the provider released, and decided nothing before
not by the law in force     the provider decided by another policy bundle than the last that its log activated
promise broken              the entry that a receipt promises isn't at its place in the provider's log
promise late                no checkpoint that covers it was seen in time, though the peer's log goes on
log unwritable              an end said that its log couldn't be written; this is how it shows at the others
unreachable, but linked     the broker says unreachable, and the provider's own log has its link up
times apart                 the ends' times differ by more than the bound
not acknowledged            the provider released, and the requester never acknowledged
forked                      all of it fits, but a log from there on is not the one that a peer saw
matched                     none of these
==========================  ==============================================================================
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from comity.audit.merkle import leaf_hash
from comity.audit.reconciling.facts import Fact

MATCHED = "matched"
CLASSES = (
    MATCHED,
    "edited",
    "reordered",
    "truncated tail",
    "missing at the requester",
    "missing at the broker",
    "missing at the provider",
    "disagrees",
    "release without decision",
    "not by the law in force",
    "promise broken",
    "promise late",
    "log unwritable",
    "unreachable, but linked",
    "times apart",
    "not acknowledged",
    "forked",
)
SIGNED = frozenset({"responded", "refused", "referred", "rate_limited", "audit_unavailable", "malformed"})
"""Outcomes that a provider signs itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What still counts as the same time, and as in time; in milliseconds."""

    clocks: int = 5_000
    promise: int = 60_000
    acknowledgement: int = 240_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Where a log ceases to be the one that its peers saw."""

    since: int
    """Entries from this place on are vouched for by no peer: the last size at which log and peers agree."""
    evidence: tuple[str, ...] = field(repr=False)
    """The log's checkpoint, and the peer's that contradicts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogView:
    """What judging one exchange needs of a log as a whole."""

    origin: str
    size: int
    last_at: int
    is_short: bool = False
    """Whether a peer saw it longer than it is."""
    fork: Fork | None = None
    """Where a peer's checkpoint contradicts it, the first if several do."""
    links: Sequence[tuple[int, bool]] = ()
    """When its own link to the broker came up and went down, ms since 1970."""
    laws: Sequence[tuple[int, str]] | None = None
    """Where it activated a policy bundle, and the bundle's digest; None: that part of it isn't at hand."""
    leaf_at: Callable[[int], bytes | None] = field(default=lambda place: None)
    """Return the leaf hash at a place; None beyond the log."""
    covered_at: Callable[[int], int | None] = field(default=lambda place: None)
    """Return when a peer first saw a checkpoint that covers a place, ms since 1970; None: never."""

    def law_at(self, place: int) -> tuple[int, str]:
        """Return the last activation before a place, as `laws` has it; -1 and nothing if there was none."""
        laws = self.laws or ()
        index = bisect_right(laws, (place, "")) - 1
        return laws[index] if index >= 0 else (-1, "")

    def was_up(self, at: int, margin: int) -> bool:
        """Return whether its link was up at a time, and for a margin before and after."""
        index = bisect_right(self.links, (at - margin, True)) - 1
        if index < 0 or not self.links[index][1]:
            return False
        later = self.links[index + 1 :]
        return not later or later[0][0] > at + margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One exchange between one requester and one provider: the logs that are at hand, and what they say."""

    exchange: bytes
    requester: str
    provider: str
    logs: Mapping[str, LogView]
    """By end: `requester`, `broker`, `provider`; one that wasn't given isn't there."""
    facts: Mapping[str, Sequence[Fact]] = field(repr=False)
    """By end, in the order of its log."""
    faults: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """By end: class and text of what is wrong with entries about this exchange."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The class of one exchange between one requester and one provider, and its evidence, a line each."""

    exchange: bytes
    requester: str
    provider: str
    what: str
    evidence: tuple[str, ...] = ()

    @property
    def is_matched(self) -> bool:
        """Whether nothing is wrong."""
        return self.what == MATCHED


class _Wrong(Exception):
    """The first thing that is wrong."""

    def __init__(self, what: str, *evidence: str) -> None:
        super().__init__(what)
        self.what = what
        self.evidence = evidence


def judge(case: Case, bounds: Bounds) -> Verdict:
    """Return the class of one exchange between one requester and one provider."""
    try:
        _Judging(case, bounds).run()
    except _Wrong as wrong:
        return Verdict(
            exchange=case.exchange,
            requester=case.requester,
            provider=case.provider,
            what=wrong.what,
            evidence=wrong.evidence,
        )
    return Verdict(exchange=case.exchange, requester=case.requester, provider=case.provider, what=MATCHED)


class _Judging:
    def __init__(self, case: Case, bounds: Bounds) -> None:
        self.case = case
        self.bounds = bounds
        requester, broker, provider = (_first(case, end) for end in ("requester", "broker", "provider"))
        self.asked = requester.get("asked")
        self.delivered = requester.get("delivered")
        self.concluded = requester.get("concluded")
        self.routed = broker.get("routed")
        self.order_refused = broker.get("order_refused")
        self.accounted = broker.get("accounted")
        self.received = provider.get("received")
        self.decided = provider.get("decided")
        self.released = provider.get("released")
        self.answering = _earlier(self.released, provider.get("rejected"))
        self.answered = provider.get("answered")
        self.cancelled = provider.get("cancelled")
        self.acknowledged = provider.get("acknowledged")
        self.unacknowledged = provider.get("unacknowledged")

    def run(self) -> None:
        self._damaged()
        self._missing()
        self._agreement()
        self._release()
        self._law()
        self._promise()
        self._outcome()
        self._times()
        self._acknowledgement()
        self._fork()

    # -- what is there at all -------------------------------------------------------------------

    def _damaged(self) -> None:
        for end, faults in self.case.faults.items():
            for what, text in faults:
                if what in ("edited", "reordered"):
                    raise _Wrong(what, f"{self._name(end)}: {text}")

    def _missing(self) -> None:
        case = self.case
        if "requester" in case.logs and self.asked is None:
            self._is_missing("requester", self._tells("broker", self.routed), self._tells_provider())
        if "broker" in case.logs and self.routed is None and self.order_refused is None:
            reached = self.delivered or self.answered or self.received
            if reached is not None:
                end = "requester" if reached is self.delivered else "provider"
                self._is_missing("broker", self._tells(end, reached))
            elif self._outcome_at_requester() in SIGNED:
                self._is_missing("broker", self._tells("requester", self.concluded))
        if "provider" in case.logs and self.answering is None and self.received is None:
            said, by = self._signed_outcome()
            if said is not None and said != "audit_unavailable":
                self._is_missing("provider", by)

    def _is_missing(self, end: str, *evidence: str) -> None:
        told = tuple(line for line in evidence if line)
        log = self.case.logs[end]
        if not told and end == "requester":
            told = ("no other entry is left of it",)
        what = f"missing at the {end}"
        if log.is_short:
            raise _Wrong(
                "truncated tail", f"{self._name(end)} has {log.size} entries; a peer saw more", *told
            )
        raise _Wrong(what, *told)

    def _signed_outcome(self) -> tuple[str | None, str]:
        """Return an outcome that others say the provider signed, and which entry says so."""
        if self.delivered is not None:
            return self.delivered.text("outcome"), self._tells("requester", self.delivered)
        said = self._outcome_at_broker()
        if said in SIGNED:
            return said, self._tells("broker", self.accounted)
        return None, ""

    # -- whether the ends say the same ----------------------------------------------------------

    def _agreement(self) -> None:
        provider = self.case.provider
        self._same(
            "order",
            ("requester", self.asked, self._text(self.asked, "order")),
            ("broker", self.routed, self._text(self.routed, "order")),
            ("provider", self.received, self._text(self.received, "order")),
        )
        self._same(
            "query",
            ("requester", self.asked, self.asked.texts("asked").get(provider, "") if self.asked else ""),
            ("provider", *self._first("query", self.received, self.answering)),
        )
        receipts = self.accounted.texts("receipts") if self.accounted else {}
        self._same(
            "receipt",
            ("requester", self.delivered, self._text(self.delivered, "receipt")),
            ("broker", self.accounted, receipts.get(provider, "")),
            ("provider", self.answered, self._text(self.answered, "receipt")),
        )
        accounted = self._outcome_at_broker()
        self._same(
            "outcome",
            ("requester", self.delivered, self._text(self.delivered, "outcome")),
            ("broker", self.accounted, accounted if accounted in SIGNED else ""),
            ("provider", *self._first("outcome", self.answered, self.answering)),
        )
        self._same(
            "hit",
            ("requester", self.delivered, self._hit(self.delivered)),
            ("provider", self.released, self._hit(self.released)),
        )
        self._same(
            "policy",
            ("requester", self.delivered, self._text(self.delivered, "policy")),
            ("provider", *self._first("policy", self.answering, self.decided)),
        )

    def _text(self, fact: Fact | None, name: str) -> str:
        return fact.text(name) if fact is not None else ""

    def _hit(self, fact: Fact | None) -> str:
        value = fact.told.get("hit") if fact is not None else None
        return str(value).lower() if isinstance(value, bool) else ""

    def _first(self, name: str, *facts: Fact | None) -> tuple[Fact | None, str]:
        return next(((fact, fact.text(name)) for fact in facts if fact and fact.text(name)), (None, ""))

    def _same(self, name: str, *said: tuple[str, Fact | None, str]) -> None:
        """Hold what the ends say of one thing against each other; an empty text says nothing."""
        told = [one for one in said if one[2]]
        if len(told) > 1 and any(one[2] != told[0][2] for one in told):
            raise _Wrong(
                "disagrees", *(f"{self._tells(end, fact)}: {name} {value[:16]}" for end, fact, value in told)
            )

    # -- the provider's own order of things -----------------------------------------------------

    def _release(self) -> None:
        released = self.released
        if released is None:
            return
        if self.decided is None or self.decided.place > released.place:
            raise _Wrong("release without decision", self._tells("provider", released))
        if self.decided.text("outcome") not in ("", released.text("outcome"), "responded", "referred"):
            raise _Wrong(
                "disagrees", self._tells("provider", self.decided), self._tells("provider", released)
            )

    def _law(self) -> None:
        """Hold the decision, or the rejection, to the policy that the provider's own log had in force."""
        log, deciding = self.case.logs.get("provider"), self.decided or self.answering
        if log is None or log.laws is None or deciding is None:
            return
        policy, (place, law) = deciding.text("policy"), log.law_at(deciding.place)
        if policy and policy != law:
            since = f"entry {place} activated {law[:16]}" if law else "no entry before activated any"
            raise _Wrong(
                "not by the law in force",
                f"{self._tells('provider', deciding)}: policy {policy[:16]}",
                f"{log.origin}: {since}",
            )
        released = self.released.text("policy") if self.released else ""
        if released and policy and released != policy:
            raise _Wrong(
                "not by the law in force",
                f"{self._tells('provider', deciding)}: policy {policy[:16]}",
                f"{self._tells('provider', self.released)}: policy {released[:16]}",
            )

    def _promise(self) -> None:
        """Hold the provider's log to the promise of the receipt that the requester got."""
        log = self.case.logs.get("provider")
        if log is None or self.delivered is None:
            return
        place, leaf = self.delivered.whole("index"), self.delivered.text("leaf")
        if place is None or not leaf:
            return
        found = self._leaf_at(place, log)
        if found is None and log.is_short:
            raise _Wrong(
                "truncated tail",
                f"{self._name('provider')} has {log.size} entries, and promised entry {place}",
                self._tells("requester", self.delivered),
            )
        if found is None or found.hex() != leaf:
            raise _Wrong(
                "promise broken",
                f"{self._name('provider')}: entry {place} is not the one that the receipt promises",
                self._tells("requester", self.delivered),
            )
        covered = log.covered_at(place)
        due = self.delivered.at + self.bounds.promise
        asker = self.case.logs.get("requester")
        if (covered is None or covered > due) and asker is not None and asker.last_at > due:
            when = "never" if covered is None else f"{(covered - self.delivered.at) / 1000:.0f} s after"
            raise _Wrong(
                "promise late",
                f"a checkpoint that covers entry {place} of {self._name('provider')} was seen {when}",
                self._tells("requester", self.delivered),
            )

    def _leaf_at(self, place: int, log: LogView) -> bytes | None:
        """Return the leaf hash at a place of the provider's log: mostly this exchange's own entry."""
        own = self.answering
        return leaf_hash(own.leaf) if own and own.leaf and own.place == place else log.leaf_at(place)

    # -- what is no answer ----------------------------------------------------------------------

    def _outcome(self) -> None:
        said = self._outcome_at_requester() or self._outcome_at_broker()
        if said == "audit_unavailable":
            end = "requester" if self.delivered or self.concluded else "broker"
            raise _Wrong(
                "log unwritable", self._tells(end, self.delivered or self.concluded or self.accounted)
            )
        log = self.case.logs.get("provider")
        if self._outcome_at_broker() == "unreachable" and log is not None and self.routed is not None:
            absent = self.case.provider in self.routed.names("absent")
            if absent and log.was_up(self.routed.at, self.bounds.clocks):
                raise _Wrong(
                    "unreachable, but linked",
                    self._tells("broker", self.routed),
                    f"{self._name('provider')}: its link was up then",
                )

    def _times(self) -> None:
        limit = self.bounds.clocks
        deadline = self.routed.whole("deadline") if self.routed else None
        last = self.answered or self.answering
        for earlier, end, later, other, waits in (
            (self.asked, "requester", self.routed, "broker", False),
            (self.routed, "broker", self.received, "provider", True),
            (self.asked, "requester", self.received, "provider", True),
            (last, "provider", self.delivered, "requester", True),
        ):
            if earlier is None or later is None:
                continue
            room = limit
            if waits and deadline is not None:
                room += max(0, deadline - earlier.at)
            if not -limit <= later.at - earlier.at <= room:
                apart = f"{(later.at - earlier.at) / 1000:+.1f} s"
                raise _Wrong(
                    "times apart", f"{self._tells(end, earlier)}; {self._tells(other, later)}: {apart}"
                )

    def _acknowledgement(self) -> None:
        released, log = self.released, self.case.logs.get("provider")
        if released is None or log is None or self.acknowledged is not None or self.cancelled is not None:
            return
        if self.unacknowledged is not None:
            raise _Wrong("not acknowledged", self._tells("provider", self.unacknowledged), *self._unshown())
        if log.last_at > released.at + self.bounds.acknowledgement:
            raise _Wrong("not acknowledged", self._tells("provider", released), *self._unshown())

    def _unshown(self) -> tuple[str, ...]:
        """Return that it counts for nothing at the requester: it did not verify, or was withdrawn."""
        said = self.concluded.texts("outcomes").get(self.case.provider, "") if self.concluded else ""
        if said in SIGNED or not said:
            return ()
        return (f"{self._tells('requester', self.concluded)}: {said}, not acknowledged for that",)

    def _fork(self) -> None:
        for end, log in self.case.logs.items():
            places = [fact.place for fact in self.case.facts.get(end, ())]
            if log.fork is not None and places and max(places) >= log.fork.since:
                raise _Wrong("forked", *log.fork.evidence)

    # -- words ----------------------------------------------------------------------------------

    def _outcome_at_requester(self) -> str:
        if self.delivered is not None:
            return self.delivered.text("outcome")
        return self.concluded.texts("outcomes").get(self.case.provider, "") if self.concluded else ""

    def _outcome_at_broker(self) -> str:
        return self.accounted.texts("outcomes").get(self.case.provider, "") if self.accounted else ""

    def _tells_provider(self) -> str:
        return self._tells("provider", self.received or self.answering or self.cancelled)

    def _tells(self, end: str, fact: Fact | None) -> str:
        return "" if fact is None else f"{self._name(end)}: entry {fact.place} {fact.kind}"

    def _name(self, end: str) -> str:
        log = self.case.logs.get(end)
        return log.origin if log is not None else end


def _first(case: Case, end: str) -> Mapping[str, Fact]:
    """Return the first entry of each kind that an end has about this provider."""
    about = (case.provider, case.requester)
    found: dict[str, Fact] = {}
    for fact in case.facts.get(end, ()):
        if fact.kind not in found and fact.told.get("peer", case.provider) in about:
            found[fact.kind] = fact
    return found


def _earlier(one: Fact | None, other: Fact | None) -> Fact | None:
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda fact: fact.place)
