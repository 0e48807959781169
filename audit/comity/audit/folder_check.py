"""Checks one log's folder against the keys of its roster: pure reading, no network, nothing is written.

In this order, each fault a finding, going on as far as it makes sense:

1. `vkey` is a key that the trust names for the origin, and such a key signed the checkpoint; if the trust is
   a policy file, so did a quorum of its witnesses;
2. the entries are as many as the checkpoint says and lead to its root;
3. every hash tile, full or partial, holds the hashes of that tree;
4. every entry is canonical and has the form of entries, and what it names beside the log is there unchanged;
5. every checkpoint of a peer that an entry holds was signed by that peer's own key;
6. every replacement of the log's key was signed by both keys, over this very log, and the checkpoint by the
   key that was in force at its size.

A changed byte is located with the level-0 tiles: if the tiles lead to the signed root and the entries don't,
the entry was changed; if the entries do, the tile was.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path

from comity.audit import merkle
from comity.audit.beside import whole_entry
from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.entry import CHECKPOINT_SEEN, CONTRADICTION, KEY_ROTATED, UNPROVEN, LoggedEntry
from comity.audit.errors import AuditError, KeyNotInForce, NoteInvalid, TileInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.note import VerifierKey, note_signers
from comity.audit.rotation import OTHER_BEGINNING, Rotation, read_rotation
from comity.audit.tiles import TILE_WIDTH, TileFolder, TileName, decode_bundle, edge_names, split_tile
from comity.audit.trust import Trust
from comity.audit.witnessed import witness_fault

MAX_FINDINGS = 20
"""Findings of one kind that are listed for a log; more are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCheckpoint:
    """A checkpoint of a peer that a log's entry holds, its signature verified."""

    witness: str
    index: int
    at: datetime
    checkpoint: Checkpoint
    signers: tuple[VerifierKey, ...] = ()
    """Which of the peer's keys signed it."""

    @property
    def place(self) -> str:
        """Where the evidence is, in words."""
        return f"entry {self.index} of {self.witness}, {self.at:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(slots=True, kw_only=True)
class CheckedLog:
    """One folder and what was found in it."""

    path: Path
    origin: str = ""
    agency: str = ""
    end: str = ""
    size: int = 0
    root: bytes = b""
    note: bytes = field(default=b"", repr=False)
    """Its checkpoint, as it lies in the folder."""
    last_exchange: int = -1
    """Index of the last entry that is about an exchange; -1: there is none."""
    findings: list[str] = field(default_factory=list)
    leaf_hashes: list[bytes] | None = field(default=None, repr=False)
    """The leaves of the tree that the checkpoint signs; None if they couldn't be found."""
    seen: list[SeenCheckpoint] = field(default_factory=list, repr=False)
    rotations: list[Rotation] = field(default_factory=list, repr=False)
    """The replacements of the log's key that its entries hold, in order."""
    signers: tuple[VerifierKey, ...] = ()
    """The log's keys that signed the checkpoint."""
    is_signed: bool = False
    """Whether a key that the trust names signed the checkpoint."""
    history: KeyHistory | None = field(default=None, repr=False)
    """Which of the log's keys sign which of its checkpoints, as its own entries prove; None if they don't."""

    @property
    def verified(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def check_folder(path: Path, trust: Trust) -> CheckedLog:
    """Check the log in a `log/` folder."""
    log = CheckedLog(path=path)
    checkpoint = _check_head(log, trust)
    if checkpoint is not None:
        _TreeCheck(log, checkpoint, trust).run()
        _check_keys(log, trust)
        _check_witnesses(log, trust)
    return log


def _check_head(log: CheckedLog, trust: Trust) -> Checkpoint | None:
    """Check `vkey` and the checkpoint's signature; return what the checkpoint says, if it can be read."""
    vkey = _read_vkey(log)
    try:
        note = (log.path / "checkpoint").read_bytes()
        claimed = peek_checkpoint(note)
    except OSError:
        log.findings.append("`checkpoint` is missing or can't be read")
        _name(log, vkey.name if vkey else "", trust)
        return None
    except NoteInvalid as problem:
        log.findings.append(str(problem))
        _name(log, vkey.name if vkey else "", trust)
        return None
    log.size, log.root, log.note = claimed.size, claimed.root, note
    _name(log, claimed.origin, trust)
    keys = trust.keys(claimed.origin)
    if not keys:
        log.findings.append(f"origin {claimed.origin}: the trust file names no such log")
        return claimed
    if vkey is not None and vkey not in keys:
        log.findings.append(f"origin {claimed.origin}: `vkey` is a key that the trust file does not name")
    try:
        _, log.signers = trust.history(claimed.origin).open_signed(note)
        log.is_signed = True
    except KeyNotInForce as problem:
        log.findings.append(str(problem))
    except NoteInvalid:
        fault = (
            "checkpoint was changed: its signature does not verify"
            if set(note_signers(note)) & {(key.name, key.hash) for key in keys}
            else "checkpoint is signed by a key that the trust file does not name"
        )
        log.findings.append(f"origin {claimed.origin}: {fault}")
    return claimed


def _check_witnesses(log: CheckedLog, trust: Trust) -> None:
    """Count who cosigned what the log shows, as a policy file wants it."""
    if trust.policy is None or not log.is_signed:
        return

    def root_at(size: int) -> bytes | None:
        return None if log.leaf_hashes is None else merkle.roots_at(log.leaf_hashes, [size]).get(size)

    fault = witness_fault(
        log.path,
        log.note,
        policy=trust.policy,
        history=trust.history(log.origin),
        root_at=root_at,
        last_exchange=log.last_exchange,
    )
    if fault:
        log.findings.append(f"origin {log.origin}: {fault}")


def _check_keys(log: CheckedLog, trust: Trust) -> None:
    """Check that the log's own entries put the key in force that signed the checkpoint."""
    if not log.is_signed:
        return
    try:
        history = trust.history(log.origin).proven_by(log.rotations)
        history.check_in_force(log.size, log.signers)
        log.history = history
    except KeyNotInForce as problem:
        log.findings.append(str(problem))
    if log.leaf_hashes is None:
        return
    roots = merkle.roots_at(log.leaf_hashes, (one.checkpoint.size for one in log.rotations))
    for one in log.rotations:
        if roots[one.checkpoint.size] != one.checkpoint.root:
            log.findings.append(f"entry {one.index}: {OTHER_BEGINNING}")


def _read_vkey(log: CheckedLog) -> VerifierKey | None:
    try:
        return VerifierKey.parse((log.path / "vkey").read_text())
    except (OSError, UnicodeDecodeError):
        log.findings.append("`vkey` is missing or can't be read")
    except NoteInvalid as problem:
        log.findings.append(f"`vkey`: {problem}")
    return None


def _name(log: CheckedLog, origin: str, trust: Trust) -> None:
    """Say whose log it is: by the trust if it names the origin, else by the origin's own words."""
    log.origin = origin
    known = trust.logs.get(origin)
    log.agency = known.agency if known else ""
    log.end = known.end if known else origin.rpartition("/")[2]


class _TreeCheck:
    """Checks 2 to 5 of one log."""

    def __init__(self, log: CheckedLog, checkpoint: Checkpoint, trust: Trust) -> None:
        self._log = log
        self._checkpoint = checkpoint
        self._trust = trust
        self._tiles = TileFolder(log.path)
        self._bad_entries = 0

    def run(self) -> None:
        from_entries = self._read_entries()
        from_tiles = self._read_level_0()
        leaves = self._decide(from_entries, from_tiles)
        if leaves is not None:
            self._log.leaf_hashes = leaves
            self._check_tiles(leaves)
        self._summarise_bad_entries()

    def _read_entries(self) -> list[bytes | None]:
        """Return the leaf hashes of the entries in the bundles; None where there is no entry."""
        hashes: list[bytes | None] = []
        size = self._checkpoint.size
        needed, present = -(-size // TILE_WIDTH), len(list((self._log.path / "tile/entries").rglob("*")))
        for index in range(min(needed, present + 1)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            name = TileName(level=None, index=index, width=width)
            entries = self._read_bundle(name)
            for offset, entry in enumerate(entries):
                self._check_entry(index * TILE_WIDTH + offset, entry)
                hashes.append(merkle.leaf_hash(entry))
            hashes += [None] * (width - len(entries))
        return hashes

    def _read_bundle(self, name: TileName) -> list[bytes]:
        try:
            data = self._tiles.read(name)
        except TileInvalid as problem:
            self._log.findings.append(str(problem))
            return []
        try:
            entries = decode_bundle(data)
        except TileInvalid as problem:
            entries = decode_bundle(data, lenient=True)
            self._log.findings.append(f"`{name.path}`: {problem}")
        else:
            if len(entries) != name.width:
                self._log.findings.append(
                    f"`{name.path}` holds {len(entries)} entries, {name.width} are right"
                )
        return entries[: name.width]

    def _read_level_0(self) -> list[bytes] | None:
        """Return the leaf hashes that the level-0 tiles hold; None if one can't be read."""
        hashes: list[bytes] = []
        size = self._checkpoint.size
        for index in range(-(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            try:
                hashes += self._tiles.hashes(TileName(level=0, index=index, width=width))
            except TileInvalid:
                return None
        return hashes

    def _decide(self, entries: list[bytes | None], tiles: list[bytes] | None) -> list[bytes] | None:
        """Return the leaves of the signed tree, from entries or else from tiles, and say what differs."""
        whole = [hash_ for hash_ in entries if hash_ is not None]
        if len(whole) == self._checkpoint.size and merkle.root(whole) == self._checkpoint.root:
            return whole
        differing = [i for i, hash_ in enumerate(entries) if tiles is not None and hash_ != tiles[i]]
        if tiles is not None and merkle.root(tiles) == self._checkpoint.root:
            for words in _runs(differing):
                self._log.findings.append(
                    f"{words}: changed; the bytes are not those that the checkpoint signs"
                )
            return tiles
        self._log.findings.append(
            f"the {self._checkpoint.size} entries do not lead to the root that the checkpoint signs"
        )
        for words in _runs(differing):
            self._log.findings.append(f"{words}: the bytes do not hash to the leaf in the tile")
        return None

    def _check_tiles(self, leaves: list[bytes]) -> None:
        """Compare every tile file with the tree, and miss those that must be there."""
        levels = [leaves]
        while len(levels[-1]) >= TILE_WIDTH:
            below = levels[-1]
            full = range(0, len(below) - len(below) % TILE_WIDTH, TILE_WIDTH)
            levels.append([merkle.root(below[i : i + TILE_WIDTH]) for i in full])
        for name in _required(self._checkpoint.size):
            try:
                self._tiles.read(name)
            except TileInvalid as problem:
                if name.level is not None:
                    self._log.findings.append(str(problem))
        for name in self._tile_files():
            expected = levels[name.level or 0] if (name.level or 0) < len(levels) else []
            expected = expected[name.index * TILE_WIDTH :][: name.width]
            fault = self._compare(name, expected)
            if fault:
                self._log.findings.append(fault)

    def _tile_files(self) -> Iterator[TileName]:
        root = self._log.path / "tile"
        for path in sorted(root.rglob("*")):
            if path.is_dir() or path.name.startswith("."):
                continue
            try:
                yield TileName.parse(path.relative_to(self._log.path).as_posix())
            except TileInvalid as problem:
                self._log.findings.append(str(problem))

    def _compare(self, name: TileName, expected: Sequence[bytes]) -> str | None:
        """Return what is wrong with a tile file, as far as the checkpoint's tree reaches."""
        try:
            data = (self._log.path / name.path).read_bytes()
            if name.level is None:
                if name.width == min(TILE_WIDTH, self._checkpoint.size - name.index * TILE_WIDTH):
                    return None
                found = [merkle.leaf_hash(entry) for entry in decode_bundle(data)]
            else:
                found = split_tile(data)
        except FileNotFoundError:
            return None
        except OSError as problem:
            return f"`{name.path}` can't be read: {problem.strerror}"
        except TileInvalid as problem:
            return f"`{name.path}`: {problem}"
        if len(found) != name.width:
            return f"`{name.path}` holds {len(found)} of {name.width}"
        for offset, (one, other) in enumerate(zip(found, expected, strict=False)):
            if one != other:
                return f"`{name.path}`: {_covered(name, offset)} is not that of the tree"
        return None

    def _check_entry(self, index: int, leaf: bytes) -> None:
        try:
            entry = whole_entry(leaf, self._log.path)
            if entry.exchange is not None:
                self._log.last_exchange = max(index, self._log.last_exchange)
            if entry.kind in (CHECKPOINT_SEEN, CONTRADICTION, UNPROVEN):
                self._check_seen(index, entry)
            elif entry.kind == KEY_ROTATED:
                rotation = read_rotation(entry.public, index=index, origin=self._checkpoint.origin)
                self._log.rotations.append(rotation)
        except AuditError as problem:
            self._bad_entries += 1
            if self._bad_entries <= MAX_FINDINGS:
                self._log.findings.append(f"entry {index}: {problem}")

    def _check_seen(self, index: int, entry: LoggedEntry) -> None:
        origin, note = entry.public.get("peer_origin"), entry.public.get("note")
        if not isinstance(origin, str) or not isinstance(note, str):
            if entry.kind != CHECKPOINT_SEEN:
                return
            raise NoteInvalid("`peer_origin` and `note` of the checkpoint that was seen are missing")
        checkpoint, signers = self._trust.history(origin).open_signed(note.encode())
        seen = SeenCheckpoint(
            witness=self._log.origin, index=index, at=entry.at, checkpoint=checkpoint, signers=signers
        )
        self._log.seen.append(seen)

    def _summarise_bad_entries(self) -> None:
        if self._bad_entries > MAX_FINDINGS:
            self._log.findings.append(f"and {self._bad_entries - MAX_FINDINGS} more entries like these")


def _required(size: int) -> Iterator[TileName]:
    level, count = 0, size
    while count:
        for index in range(count // TILE_WIDTH):
            yield TileName(level=level, index=index)
        level, count = level + 1, count // TILE_WIDTH
    yield from edge_names(size)


def _runs(indexes: Iterable[int]) -> Iterator[str]:
    """Yield `entry 7` and `entries 9 to 12` for the runs in a row of indexes, and how many more."""
    runs = [
        [index for _, index in run] for _, run in groupby(enumerate(indexes), lambda pair: pair[1] - pair[0])
    ]
    for run in runs[:MAX_FINDINGS]:
        yield f"entry {run[0]}" if len(run) == 1 else f"entries {run[0]} to {run[-1]}"
    if len(runs) > MAX_FINDINGS:
        yield f"and {len(runs) - MAX_FINDINGS} more places"


def _covered(name: TileName, offset: int) -> str:
    level = name.level or 0
    span = TILE_WIDTH**level
    first = (name.index * TILE_WIDTH + offset) * span
    if name.level is None:
        return f"entry {first}"
    return (
        f"the hash of entry {first}" if span == 1 else f"the hash over entries {first} to {first + span - 1}"
    )
