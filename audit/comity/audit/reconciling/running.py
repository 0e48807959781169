"""Reconciles whole logs: each is read by a process of its own, then all are walked side by side, in order.

Memory stays flat whatever the logs' length: what was read lies in scratch files, one a log, in the order of
exchanges. A run that was interrupted goes on from them. The walk is cut into slices of exchange ids, which
are judged on all cores; few entries are read and judged here, for a process takes longer to start.
"""

import hashlib
import multiprocessing
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import CHECKPOINT_SEEN
from comity.audit.errors import KeyNotInForce, NoteInvalid, TileInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.note import VerifierKey
from comity.audit.proofs import TreeProver
from comity.audit.reconciling.facts import Exchanges, Fact, Scratch, Seen, peek_progress
from comity.audit.reconciling.gathering import gather
from comity.audit.reconciling.judging import Bounds, Case, Fork, LogView, Verdict, judge
from comity.audit.reconciling.parts import Part
from comity.audit.tiles import TILE_WIDTH, TileFolder, TileName
from comity.audit.trust import Trust

POLL_SECONDS: Final = 0.5
SLICE_ENTRIES: Final = 20_000
"""Entries of the longest log that are judged in one go."""
_FEW_ENTRIES: Final = 60_000
"""So many of all logs together are read and judged by the process that was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledLog:
    """One log: whose it is, how long, and what is wrong with it as a whole."""

    path: Path
    origin: str
    agency: str
    end: str
    """`gateway`, `adapter` or `broker`."""
    size: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far reconciliation has come, in entries: `reading` them, then `judging` by them."""

    what: str
    done: int
    whole: int


Tell = Callable[[Step], None]


@dataclass(slots=True)
class Reconciler:
    """Logs that are reconciled: `read` first, then iterate `verdicts`."""

    folders: Sequence[Path]
    trust: Trust
    trust_file: Path
    scratch: Path
    bounds: Bounds = field(default_factory=Bounds)
    workers: int | None = None
    """Processes beside this one; None: as many as there are cores if that is quicker; 0: none."""
    logs: list[ReconciledLog] = field(default_factory=list)
    _ends: "list[_End]" = field(default_factory=list)

    def read(self, tell: Tell = lambda step: None) -> None:
        """Read all logs into scratch files, on all cores; `tell` hears now and then how far it is."""
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = [self._scratch_of(folder) for folder in self.folders]
        if self.workers is None and sum(map(_size, self.folders)) <= _FEW_ENTRIES:
            self.workers = 0
        workers = min(len(paths), self._cores)
        if workers:
            self._read_in_processes(paths, workers, tell)
        else:
            done, whole = 0, sum(map(_size, self.folders))
            for folder, path in zip(self.folders, paths, strict=True):
                gather(folder, self.trust, path)
                done += _size(folder)
                tell(Step(what="reading", done=done, whole=whole))
        self._ends, findings = _compare(self.folders, paths, self.trust)
        self.logs = [end.report(found) for end, found in zip(self._ends, findings, strict=True)]

    @property
    def _cores(self) -> int:
        return (os.cpu_count() or 1) if self.workers is None else self.workers

    def _read_in_processes(self, paths: Sequence[Path], workers: int, tell: Tell) -> None:
        whole = sum(_size(folder) for folder in self.folders)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            max_workers=workers, mp_context=context, initializer=_sort_in, initargs=(str(self.scratch),)
        ) as pool:
            jobs = [
                pool.submit(_gather, folder, self.trust_file, path)
                for folder, path in zip(self.folders, paths, strict=True)
            ]
            waiting = set(jobs)
            while waiting:
                _, waiting = wait(waiting, timeout=POLL_SECONDS)
                progress = [peek_progress(path) for path in paths]
                done = sum(min(one.next, one.size) for one in progress if one is not None)
                tell(Step(what="reading", done=done, whole=whole))
            for job in jobs:
                job.result()

    def verdicts(self, tell: Tell = lambda step: None) -> Iterator[Verdict]:
        """Yield a verdict for each exchange and provider, in the order of exchange ids."""
        slices, whole = _slices(self._ends)
        done = 0
        judged = self._judge_in_processes(slices) if self._cores else self._judge_here(slices)
        for entries, rows in judged:
            for exchange, requester, provider, what, evidence in rows:
                yield Verdict(
                    exchange=exchange, requester=requester, provider=provider, what=what, evidence=evidence
                )
            done += entries
            tell(Step(what="judging", done=done, whole=whole))

    def _judge_here(self, slices: "Sequence[_Slice]") -> "Iterator[_Judged]":
        with ExitStack() as stack:
            readers = [_Reader.open(end, stack) for end in self._ends]
            for one in slices:
                yield _judge(readers, one, self.bounds)

    def _judge_in_processes(self, slices: "Sequence[_Slice]") -> "Iterator[_Judged]":
        """Judge slices on all cores, no more of them at a time than memory should hold."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            max_workers=self._cores,
            mp_context=context,
            initializer=_begin_judging,
            initargs=(self._ends, self.bounds),
        ) as pool:
            waiting: deque[Future[_Judged]] = deque()
            for one in slices:
                waiting.append(pool.submit(_judge_slice, one))
                if len(waiting) > 2 * self._cores:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _scratch_of(self, folder: Path) -> Path:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        return self.scratch / f"{name}.facts"


_Slice = tuple[bytes, bytes | None]
"""Exchange ids from the first up to the second; None: to the end."""
_Judged = tuple[int, list[tuple[bytes, str, str, str, tuple[str, ...]]]]
"""How many entries were judged, and the fields of the verdicts: quicker to hand over than verdicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """One log that was read, as it is handed to processes that judge."""

    path: Path
    scratch: Path
    origin: str
    agency: str
    end: str
    size: int
    last_at: int
    is_short: bool
    fork: Fork | None
    links: Sequence[tuple[int, bool]]
    laws: Sequence[tuple[int, str]] | None
    covered: Sequence[tuple[int, int]]
    """Sizes that peers saw, and when."""
    by_exchange: Mapping[bytes, list[tuple[str, str]]]
    part: Part | None = None
    """What of the log is at hand, where it is not the whole."""

    @property
    def role(self) -> str:
        return {"gateway": "requester", "adapter": "provider"}.get(self.end, self.end)

    def view(self) -> LogView:
        return LogView(
            origin=self.origin,
            size=self.size,
            last_at=self.last_at,
            is_short=self.is_short,
            fork=self.fork,
            links=self.links,
            laws=self.laws,
            leaf_at=_leaves(TileFolder(self.path), self.size),
            covered_at=_coverage(self.covered),
        )

    def report(self, findings: Sequence[str]) -> ReconciledLog:
        return ReconciledLog(
            path=self.path,
            origin=self.origin,
            agency=self.agency,
            end=self.end,
            size=self.size,
            findings=tuple(findings),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """A log while exchanges are judged."""

    end: _End
    role: str
    view: LogView
    exchanges: Exchanges

    @classmethod
    def open(cls, end: _End, stack: ExitStack) -> "_Reader":
        exchanges = Exchanges(end.scratch)
        stack.callback(exchanges.close)
        return cls(end=end, role=end.role, view=end.view(), exchanges=exchanges)


def _compare(
    folders: Sequence[Path], paths: Sequence[Path], trust: Trust
) -> tuple[list[_End], list[list[str]]]:
    """Hold each log to the checkpoints of it that its peers hold; return the logs, and what is wrong."""
    with ExitStack() as stack:
        scratches = [Scratch(path) for path in paths]
        for scratch in scratches:
            stack.callback(scratch.close)
        ends: list[_End] = []
        findings: list[list[str]] = []
        origins = [_origin(scratch) for scratch in scratches]
        for folder, path, scratch, origin in zip(folders, paths, scratches, origins, strict=True):
            faults, progress = scratch.faults(), scratch.progress()
            known = trust.logs.get(origin)
            size = progress.size if progress else 0
            by_exchange: dict[bytes, list[tuple[str, str]]] = {}
            for fault in faults:
                if fault.exchange is not None:
                    by_exchange.setdefault(fault.exchange, []).append((fault.what, fault.text))
            found = list(dict.fromkeys(fault.text for fault in faults))
            covered: list[tuple[int, int]] = []
            most = 0
            prover = TreeProver(TileFolder(folder), size)
            part = Part.of(folder)
            agreed: list[int] = []
            contradicted: list[tuple[Seen, str]] = []
            history = _history(trust, origin, scratch)
            for other, witness in zip(scratches, origins, strict=True):
                if other is scratch:
                    continue
                for seen in other.seen(origin):
                    most = max(most, seen.size)
                    if seen.kind == CHECKPOINT_SEEN:
                        covered.append((seen.size, seen.at))
                    if part is not None:
                        continue
                    if seen.size <= size and (wrong := _not_in_force(history, seen)):
                        found.append(f"{wrong} (entry {seen.place} of {witness})")
                    if seen.size > size or (root := _root(prover, seen.size)) is None:
                        continue
                    if root == seen.root:
                        agreed.append(seen.size)
                    else:
                        contradicted.append((seen, witness))
                        found.append(
                            f"forked: its first {seen.size} entries are not those of the checkpoint that "
                            f"{witness} saw, signed with the same key (entry {seen.place} of {witness})"
                        )
            if most > size and part is None:
                found.append(f"truncated tail: it has {size} entries, and a peer saw {most}")
            findings.append(list(dict.fromkeys(found)))
            ends.append(
                _End(
                    path=folder,
                    scratch=path,
                    origin=origin,
                    agency=known.agency if known else "",
                    end=known.end if known else origin.rpartition("/")[2],
                    size=size,
                    last_at=progress.last_at if progress else 0,
                    is_short=most > size and part is None,
                    fork=_fork(origin, prover, agreed, contradicted),
                    part=part,
                    links=scratch.links(),
                    laws=scratch.laws() if part is None else None,
                    covered=covered,
                    by_exchange=by_exchange,
                )
            )
    return ends, findings


def _origin(scratch: Scratch) -> str:
    progress = scratch.progress()
    return (progress.identity if progress else "").partition(" ")[0]


def _slices(ends: Sequence[_End]) -> tuple[list[_Slice], int]:
    """Return slices of exchange ids, none of them long in the longest log, and how many entries there are."""
    with ExitStack() as stack:
        readers = [_Reader.open(end, stack) for end in ends]
        longest = max(readers, key=lambda reader: reader.exchanges.count)
        borders = [b"", *longest.exchanges.borders(SLICE_ENTRIES)]
        whole = sum(reader.exchanges.count for reader in readers)
    return list(zip(borders, [*borders[1:], None], strict=True)), whole


def _judge(readers: Sequence[_Reader], within: _Slice, bounds: Bounds) -> _Judged:
    rows: list[tuple[bytes, str, str, str, tuple[str, ...]]] = []
    entries = 0
    for exchange, said in _side_by_side(readers, within):
        entries += sum(len(facts) for _, facts in said)
        for case in _cases(exchange, said):
            verdict = judge(case, bounds)
            rows.append((exchange, verdict.requester, verdict.provider, verdict.what, verdict.evidence))
    return entries, rows


_judging: tuple[list[_Reader], Bounds] = ([], Bounds())
"""What a process that judges was started with."""


def _begin_judging(ends: Sequence[_End], bounds: Bounds) -> None:
    global _judging
    stack = ExitStack()  # open as long as the process runs
    _judging = ([_Reader.open(end, stack) for end in ends], bounds)


def _judge_slice(within: _Slice) -> _Judged:
    readers, bounds = _judging
    return _judge(readers, within, bounds)


def _sort_in(folder: str) -> None:
    """Have SQLite put what it sorts beside the scratch files: it may be more than the system's `/tmp` has."""
    os.environ["SQLITE_TMPDIR"] = folder


def _gather(folder: Path, trust_file: Path, path: Path) -> None:
    gather(folder, Trust.load(trust_file), path)


def _size(folder: Path) -> int:
    try:
        return peek_checkpoint((folder / "checkpoint").read_bytes()).size
    except (OSError, NoteInvalid):
        return 0


def _history(trust: Trust, origin: str, scratch: Scratch) -> KeyHistory:
    """Return which keys sign which checkpoints of a log, as its entries prove, or as far as trust tells."""
    history = trust.history(origin)
    try:
        return history.proven_by(scratch.rotations(origin))
    except NoteInvalid:
        return history  # what is wrong with them was said where the log was read


_key = lru_cache(maxsize=256)(VerifierKey.parse)


def _not_in_force(history: KeyHistory, seen: Seen) -> str:
    """Return what is wrong with the keys that signed a peer's checkpoint; empty if nothing is."""
    try:
        history.check_in_force(seen.size, [_key(line) for line in seen.signers])
    except KeyNotInForce as problem:
        return str(problem)
    return ""


def _root(prover: TreeProver, size: int) -> bytes | None:
    """Return the root of a log's first entries; None if its tiles don't tell, which was said already."""
    try:
        return prover.root(size)
    except TileInvalid:
        return None


def _fork(
    origin: str, prover: TreeProver, agreed: Sequence[int], contradicted: Sequence[tuple[Seen, str]]
) -> Fork | None:
    """Return where a log parts from what peers saw: behind the last size before that at which they agree."""
    if not contradicted:
        return None
    seen, witness = min(contradicted, key=lambda one: one[0].size)
    since = max((size for size in agreed if size < seen.size), default=0)
    own = [size for size in dict.fromkeys((seen.size, prover.size)) if _root(prover, size) is not None]
    roots = ", ".join(f"of {size} entries the root {(_root(prover, size) or b'').hex()}" for size in own)
    return Fork(
        since=since,
        evidence=(
            f"{origin}: has {roots}; from entry {since} on it is not the log that all its peers saw",
            f"{witness}: entry {seen.place} {seen.kind}: signed with the same key, "
            f"of {seen.size} entries the root {seen.root.hex()}",
        ),
    )


def _leaves(tiles: TileFolder, size: int) -> Callable[[int], bytes | None]:
    @lru_cache(maxsize=256)
    def tile(number: int) -> list[bytes]:
        width = min(TILE_WIDTH, size - number * TILE_WIDTH)
        return tiles.hashes(TileName(level=0, index=number, width=width))

    def leaf_at(place: int) -> bytes | None:
        if not 0 <= place < size:
            return None
        try:
            return tile(place // TILE_WIDTH)[place % TILE_WIDTH]
        except TileInvalid:
            return None

    return leaf_at


def _coverage(seen: Sequence[tuple[int, int]]) -> Callable[[int], int | None]:
    """Return a function that tells when first a checkpoint of more than so many entries was seen."""
    ordered = sorted(seen)
    sizes = [size for size, _ in ordered]
    earliest: list[int] = []
    for _, at in reversed(ordered):
        earliest.append(min(at, earliest[-1]) if earliest else at)
    earliest.reverse()

    def covered_at(place: int) -> int | None:
        index = bisect_right(sizes, place)
        return earliest[index] if index < len(sizes) else None

    return covered_at


def _side_by_side(
    readers: Sequence[_Reader], within: _Slice
) -> Iterator[tuple[bytes, list[tuple[_Reader, list[Fact]]]]]:
    """Yield each exchange with what every log says of it; of a log that says nothing there is no facts."""
    walks = [reader.exchanges.between(*within) for reader in readers]
    heads = [next(walk, None) for walk in walks]
    while True:
        waiting = [head[0] for head in heads if head is not None]
        if not waiting:
            return
        exchange = min(waiting)
        said: list[tuple[_Reader, list[Fact]]] = []
        for number, head in enumerate(heads):
            if head is not None and head[0] == exchange:
                said.append((readers[number], head[1]))
                heads[number] = next(walks[number], None)
            else:
                said.append((readers[number], []))
        yield exchange, said


def _cases(exchange: bytes, said: Sequence[tuple[_Reader, list[Fact]]]) -> Iterator[Case]:
    """Yield a case for each provider that any end connects with an exchange."""
    requester, providers = "", dict[str, None]()
    for reader, facts in said:
        for fact in facts:
            match fact.kind:
                case "asked":
                    requester = reader.end.agency
                    providers |= dict.fromkeys(fact.texts("asked"))
                case "routed":
                    requester = requester or fact.text("agency")
                    providers |= dict.fromkeys(fact.names("providers"))
                case "order_refused":
                    requester = requester or fact.text("agency")
                case "received" | "decided" | "released" | "rejected" | "answered":
                    requester = requester or fact.text("peer")
                    providers[reader.end.agency] = None
                case _:
                    pass
    for provider in providers:
        logs: dict[str, LogView] = {}
        facts_of: dict[str, Sequence[Fact]] = {}
        faults: dict[str, Sequence[tuple[str, str]]] = {}
        for reader, facts in said:
            end = reader.end
            concerned = {"requester": requester, "provider": provider}.get(reader.role, end.agency)
            if end.agency != concerned:
                continue
            others = [fact for other, told in said if other is not reader for fact in told]
            if end.part is not None and not end.part.holds(requester, facts, others):
                continue
            logs[reader.role], facts_of[reader.role] = reader.view, facts
            if exchange in end.by_exchange:
                faults[reader.role] = end.by_exchange[exchange]
        yield Case(
            exchange=exchange,
            requester=requester,
            provider=provider,
            logs=logs,
            facts=facts_of,
            faults=faults,
        )
