"""Reconciles whole logs: each is read by a process of its own, then all are walked side by side, in order.

Memory stays flat whatever the logs' length: what was read lies in scratch files, one a log, in the order of
exchanges. A run that was interrupted goes on from them.
"""

import hashlib
import multiprocessing
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.errors import NoteInvalid, TileInvalid
from comity.audit.proofs import TreeProver
from comity.audit.reconciling.facts import Fact, Fault, Scratch, Seen, peek_progress
from comity.audit.reconciling.gathering import gather
from comity.audit.reconciling.judging import Bounds, Case, LogView, Verdict, judge
from comity.audit.tiles import TILE_WIDTH, TileFolder, TileName
from comity.audit.trust import Trust

POLL_SECONDS = 0.5


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
    """How far reconciliation has come: `reading` counts entries, `judging` exchanges."""

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
    """Processes that read logs; None: as many as there are cores; 0: none but this one."""
    logs: list[ReconciledLog] = field(default_factory=list)
    _ends: "list[_End]" = field(default_factory=list)

    def read(self, tell: Tell = lambda step: None) -> None:
        """Read all logs into scratch files, on all cores; `tell` hears now and then how far it is."""
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = [self._scratch_of(folder) for folder in self.folders]
        workers = min(len(paths), os.cpu_count() or 1) if self.workers is None else self.workers
        if workers:
            self._read_in_processes(paths, workers, tell)
        else:
            for folder, path in zip(self.folders, paths, strict=True):
                gather(folder, self.trust, path)
        self._ends = [
            _End.open(folder, path, self.trust) for folder, path in zip(self.folders, paths, strict=True)
        ]
        _compare_with_peers(self._ends)
        self.logs = [end.report() for end in self._ends]

    def _read_in_processes(self, paths: Sequence[Path], workers: int, tell: Tell) -> None:
        whole = sum(_size(folder) for folder in self.folders)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=workers, mp_context=context) as pool:
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
        with ExitStack() as stack:
            for end in self._ends:
                stack.callback(end.scratch.close)
            done = 0
            for exchange, said in _side_by_side(self._ends):
                done += 1
                if done % 10_000 == 0:
                    tell(Step(what="judging", done=done, whole=0))
                for case in _cases(exchange, said):
                    yield judge(case, self.bounds)
            tell(Step(what="judging", done=done, whole=done))

    def _scratch_of(self, folder: Path) -> Path:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        return self.scratch / f"{name}.facts"


@dataclass(slots=True, kw_only=True)
class _End:
    """One log that was read."""

    path: Path
    origin: str
    agency: str
    end: str
    scratch: Scratch
    size: int
    last_at: int
    faults: list[Fault]
    by_exchange: Mapping[bytes, list[tuple[str, str]]]
    findings: list[str]
    view: LogView

    @classmethod
    def open(cls, folder: Path, path: Path, trust: Trust) -> "_End":
        scratch = Scratch(path)
        scratch.sort()
        faults, progress = scratch.faults(), scratch.progress()
        origin = (progress.identity if progress else "").partition(" ")[0]
        known = trust.logs.get(origin)
        by_exchange: dict[bytes, list[tuple[str, str]]] = {}
        for fault in faults:
            if fault.exchange is not None:
                by_exchange.setdefault(fault.exchange, []).append((fault.what, fault.text))
        size = progress.size if progress else 0
        last_at = progress.last_at if progress else 0
        return cls(
            path=folder,
            origin=origin,
            agency=known.agency if known else "",
            end=known.end if known else origin.rpartition("/")[2],
            scratch=scratch,
            size=size,
            last_at=last_at,
            faults=faults,
            by_exchange=by_exchange,
            findings=list(dict.fromkeys(fault.text for fault in faults)),
            view=LogView(origin=origin, size=size, last_at=last_at),
        )

    @property
    def role(self) -> str:
        return {"gateway": "requester", "adapter": "provider"}.get(self.end, self.end)

    def report(self) -> ReconciledLog:
        return ReconciledLog(
            path=self.path,
            origin=self.origin,
            agency=self.agency,
            end=self.end,
            size=self.size,
            findings=tuple(self.findings),
        )


def _gather(folder: Path, trust_file: Path, path: Path) -> None:
    gather(folder, Trust.load(trust_file), path)


def _size(folder: Path) -> int:
    try:
        return peek_checkpoint((folder / "checkpoint").read_bytes()).size
    except (OSError, NoteInvalid):
        return 0


def _compare_with_peers(ends: Sequence[_End]) -> None:
    """Hold each log to the checkpoints of it that its peers hold, and prepare what judging asks of it."""
    for end in ends:
        tiles = TileFolder(end.path)
        prover = TreeProver(tiles, end.size)
        is_short, covered = False, list[tuple[int, int]]()
        for other in ends:
            for seen in other.scratch.seen():
                if seen.origin != end.origin or other is end:
                    continue
                covered.append((seen.size, seen.at))
                if seen.size > end.size:
                    is_short = True
                elif not _leads_to(prover, seen):
                    end.findings.append(
                        f"forked: its first {seen.size} entries are not those of the checkpoint that "
                        f"{other.origin} saw, signed with the same key (entry {seen.place} of {other.origin})"
                    )
        if is_short:
            most = max(size for size, _ in covered)
            end.findings.append(f"truncated tail: it has {end.size} entries, and a peer saw {most}")
        end.findings = list(dict.fromkeys(end.findings))
        end.view = LogView(
            origin=end.origin,
            size=end.size,
            last_at=end.last_at,
            is_short=is_short,
            links=end.scratch.links(),
            leaf_at=_leaves(tiles, end.size),
            covered_at=_coverage(covered),
        )


def _leads_to(prover: TreeProver, seen: Seen) -> bool:
    try:
        return prover.root(seen.size) == seen.root
    except TileInvalid:
        return True  # said already, where the log was read


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


def _side_by_side(ends: Sequence[_End]) -> Iterator[tuple[bytes, list[tuple[_End, list[Fact]]]]]:
    """Yield each exchange with what every log says of it; of a log that says nothing there is no facts."""
    readers = [end.scratch.exchanges() for end in ends]
    heads = [next(reader, None) for reader in readers]
    while True:
        waiting = [head[0] for head in heads if head is not None]
        if not waiting:
            return
        exchange = min(waiting)
        said: list[tuple[_End, list[Fact]]] = []
        for number, head in enumerate(heads):
            if head is not None and head[0] == exchange:
                said.append((ends[number], head[1]))
                heads[number] = next(readers[number], None)
            else:
                said.append((ends[number], []))
        yield exchange, said


def _cases(exchange: bytes, said: Sequence[tuple[_End, list[Fact]]]) -> Iterator[Case]:
    """Yield a case for each provider that any end connects with an exchange."""
    requester, providers = "", dict[str, None]()
    for end, facts in said:
        for fact in facts:
            match fact.kind:
                case "asked":
                    requester = end.agency
                    providers |= dict.fromkeys(fact.texts("asked"))
                case "routed":
                    requester = requester or fact.text("agency")
                    providers |= dict.fromkeys(fact.names("providers"))
                case "order_refused":
                    requester = requester or fact.text("agency")
                case "received" | "decided" | "released" | "rejected" | "answered":
                    requester = requester or fact.text("peer")
                    providers |= {end.agency: None}
                case _:
                    pass
    for provider in providers:
        logs: dict[str, LogView] = {}
        facts_of: dict[str, Sequence[Fact]] = {}
        faults: dict[str, Sequence[tuple[str, str]]] = {}
        for end, facts in said:
            concerned = {"requester": requester, "provider": provider}.get(end.role, end.agency)
            if end.agency != concerned:
                continue
            logs[end.role], facts_of[end.role] = end.view, facts
            if exchange in end.by_exchange:
                faults[end.role] = end.by_exchange[exchange]
        yield Case(
            exchange=exchange,
            requester=requester,
            provider=provider,
            logs=logs,
            facts=facts_of,
            faults=faults,
        )
