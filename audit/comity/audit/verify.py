"""What an auditor runs: each log alone, then the logs against what their peers saw of them.

Only `log/` folders and a trust file go in. Alone, a log shows that its own key signed what it holds; a tail
that its owner cut and signed again shows only against a checkpoint in a counterparty's log.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from comity.audit import merkle
from comity.audit.errors import KeyNotInForce
from comity.audit.folder_check import CheckedLog, SeenCheckpoint, check_folder
from comity.audit.trust import Trust

_MARKS = ("checkpoint", "vkey", "tile")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What was found about one log."""

    end: str
    """`gateway`, `adapter` or `broker`."""
    agency: str
    """The agency id by the trust file; empty if it doesn't name this log."""
    path: Path
    origin: str
    size: int
    findings: tuple[str, ...]
    checked: CheckedLog | None = field(default=None, repr=False, compare=False)
    """What was read of the log, for evidence to be held against it."""

    @property
    def verified(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All reports, and what was found about logs whose folder wasn't given."""

    logs: tuple[LogReport, ...]
    findings: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether there is at least one log and nothing was found anywhere."""
        return bool(self.logs) and not self.findings and all(log.verified for log in self.logs)


def find_logs(folders: Iterable[Path]) -> list[Path]:
    """Return the `log/` folders in the given ones: themselves, an end's, or several ends' somewhere below.

    Each once, sorted within what was given. A folder with no log in it adds nothing.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if _is_log(folder):
            below = [folder]
        else:
            below = sorted({p.parent for mark in _MARKS for p in folder.rglob(mark) if _is_log(p.parent)})
        for path in below:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def verify_folders(folders: Sequence[Path], trust: Trust) -> Verification:
    """Verify the logs in `log/` folders, each alone and then against each other."""
    logs = [check_folder(folder, trust) for folder in folders]
    logs = [_read_again(log, trust) if _beyond(log, logs) else log for log in logs]
    findings = _check_against_peers(logs, trust)
    return Verification(logs=tuple(_report(log) for log in logs), findings=tuple(findings))


def _beyond(log: CheckedLog, logs: Sequence[CheckedLog]) -> bool:
    """Return whether a peer saw a checkpoint of this log that is larger than the log is."""
    return any(
        seen.checkpoint.origin == log.origin and seen.checkpoint.size > log.size
        for other in logs
        for seen in other.seen
    )


def _read_again(log: CheckedLog, trust: Trust) -> CheckedLog:
    """Return a log read anew before it is accused: in a running federation it grew while others were read."""
    again = check_folder(log.path, trust)
    again.seen = log.seen
    return again


def _is_log(folder: Path) -> bool:
    if any((folder / mark).is_file() for mark in ("checkpoint", "vkey")):
        return True
    return (folder / "tile").is_dir()


def _report(log: CheckedLog) -> LogReport:
    return LogReport(
        end=log.end,
        agency=log.agency,
        path=log.path,
        origin=log.origin,
        size=log.size,
        findings=tuple(dict.fromkeys(log.findings)),
        checked=log,
    )


def _check_against_peers(logs: Sequence[CheckedLog], trust: Trust) -> list[str]:
    """Add to each log what its peers' evidence says against it; return what concerns logs not given."""
    by_origin: dict[str, list[CheckedLog]] = {}
    for log in logs:
        by_origin.setdefault(log.origin, []).append(log)
    seen: dict[str, list[SeenCheckpoint]] = {}
    for log in logs:
        for checkpoint in log.seen:
            seen.setdefault(checkpoint.checkpoint.origin, []).append(checkpoint)
    findings: list[str] = []
    for origin, evidence in sorted(seen.items()):
        for log in by_origin.get(origin, ()):
            if log.is_signed:
                _compare(log, evidence, trust)
        if origin not in by_origin:
            findings += _forks(origin, evidence)
    for copies in by_origin.values():
        _compare_copies(copies)
    return findings


def _compare(log: CheckedLog, evidence: Sequence[SeenCheckpoint], trust: Trust) -> None:
    """Hold a log to the checkpoints of it that its peers saw."""
    beyond = [seen for seen in evidence if seen.checkpoint.size > log.size]
    if beyond:
        most = max(beyond, key=lambda seen: seen.checkpoint.size)
        log.findings.append(
            f"{log.origin}: tail cut: log has {log.size} entries, but {_who(most, trust)} saw a checkpoint "
            f"of {most.checkpoint.size} signed with the same key ({most.place}); a copy made after that "
            "must hold them"
        )
    if log.leaf_hashes is None:
        return
    within = [seen for seen in evidence if seen.checkpoint.size <= log.size]
    for seen in within:
        try:
            if log.history is not None:
                log.history.check_in_force(seen.checkpoint.size, seen.signers)
        except KeyNotInForce as problem:
            log.findings.append(f"{problem} ({seen.place})")
    roots = merkle.roots_at(log.leaf_hashes, (seen.checkpoint.size for seen in within))
    other = [seen for seen in within if roots[seen.checkpoint.size] != seen.checkpoint.root]
    if other:
        first = min(other, key=lambda seen: seen.checkpoint.size)
        log.findings.append(
            f"{log.origin}: rewritten: its first {first.checkpoint.size} entries are not those of the "
            f"checkpoint that {_who(first, trust)} saw, signed with the same key ({first.place})"
        )


def _forks(origin: str, evidence: Sequence[SeenCheckpoint]) -> list[str]:
    """Find two roots for one size among the checkpoints of a log that isn't at hand."""
    first: dict[int, SeenCheckpoint] = {}
    findings: list[str] = []
    for seen in evidence:
        earlier = first.setdefault(seen.checkpoint.size, seen)
        if earlier.checkpoint.root != seen.checkpoint.root:
            findings.append(
                f"{origin}: two roots for {seen.checkpoint.size} entries, both signed with its key "
                f"({earlier.place}; {seen.place})"
            )
    return findings


def _compare_copies(copies: Sequence[CheckedLog]) -> None:
    """Of several copies of one log, each must be a prefix of the longest."""
    whole = [log for log in copies if log.leaf_hashes is not None]
    if len(whole) < 2:
        return
    longest = max(whole, key=lambda log: log.size)
    roots = merkle.roots_at(longest.leaf_hashes or [], (log.size for log in whole))
    for log in whole:
        if roots[log.size] != log.root:
            log.findings.append(
                f"{log.origin}: forked: its {log.size} entries are not the first of those in `{longest.path}`"
            )


def _who(seen: SeenCheckpoint, trust: Trust) -> str:
    """Return who saw a checkpoint, for people: `the broker`, `lapd's adapter`."""
    known = trust.logs.get(seen.witness)
    if known is None:
        return seen.witness
    return "the broker" if known.end == "broker" else f"{known.agency}'s {known.end}"
