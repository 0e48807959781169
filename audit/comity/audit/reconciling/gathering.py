"""Reads one log once, from end to end, in flat memory: verifies it and keeps what reconciliation needs.

A stretch of entries is read, hashed into the tree and compared with the tiles; its facts go to the scratch
file with the place reached. At the end the tree must be the one that the checkpoint signs. An entry whose
bytes are not those of its tile is told by its place: `edited`, or `reordered` where the same leaves stand in
another order.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from comity.audit import merkle
from comity.audit.beside import whole_entry
from comity.audit.canonical import JsonValue, canonical
from comity.audit.checkpoint import Checkpoint, peek_checkpoint
from comity.audit.entry import (
    CHECKPOINT_SEEN,
    CONTRADICTION,
    KEY_ROTATED,
    KINDS,
    POLICY_ACTIVATED,
    UNPROVEN,
    object_without_doubles,
)
from comity.audit.errors import EntryInvalid, KeyNotInForce, NoteInvalid, TileInvalid
from comity.audit.proofs import TreeProver
from comity.audit.reconciling.earlier import earlier_partials
from comity.audit.reconciling.facts import Fault, Progress, Row, Scratch, Seen
from comity.audit.reconciling.parts import gather_records
from comity.audit.retrieval.folder import is_records
from comity.audit.rotation import OTHER_BEGINNING, read_rotation
from comity.audit.tiles import TILE_WIDTH, Edge, TileFolder, TileName, decode_bundle, split_tile
from comity.audit.trust import Trust

STRETCH_TILES = 64
"""Bundles that are read, hashed and kept in one go: 16,384 entries."""
MAX_FAULTS = 1_000
"""Faults that are kept of one log; beyond it the log is as good as none. After as many missing bundles the
rest is not looked for: a checkpoint can claim any size, so that nobody comes to the end."""
_MOST_ENTRIES: Final = 1 << 62
"""What a scratch file can count to, with room for one more."""
_FORMAT: Final = 2
"""What a scratch file holds: one that is of before is of no use."""
_SHOWN = frozenset({CHECKPOINT_SEEN, CONTRADICTION, UNPROVEN})
"""Entries that hold a checkpoint which a peer showed, be it the continuation of its last one or not."""
_LINKS = {"link_opened": True, "link_closed": False, "started": False, "stopped": False}
_TIMES: Final = 1 << 47
"""Times of entries are below this, in milliseconds since 1970."""
_NO_LEAF = b""
_DECODER: Final = json.JSONDecoder(object_pairs_hook=object_without_doubles)


@dataclass(slots=True, kw_only=True)
class _Stretch:
    """What one stretch of entries gave."""

    facts: list[Row] = field(default_factory=list)
    links: list[tuple[int, int, bool]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    rotations: list[tuple[int, str]] = field(default_factory=list)
    laws: list[tuple[int, str]] = field(default_factory=list)
    last_at: int = 0


def gather(log: Path, trust: Trust, scratch_path: Path) -> None:
    """Read a `log/` folder, or one of records, into its scratch file, going on where an earlier run stopped.

    Never raises for what the log holds: what is wrong with it becomes a `Fault`.
    """
    scratch = Scratch(scratch_path)
    try:
        if is_records(log):
            gather_records(log, trust, scratch)
            return
        _Gathering(log, trust, scratch).run()
    finally:
        scratch.close()


class _Gathering:
    def __init__(self, log: Path, trust: Trust, scratch: Scratch) -> None:
        self._log = log
        self._trust = trust
        self._scratch = scratch
        self._tiles = TileFolder(log)
        self._faults = 0
        self._missing = 0
        self._origin = ""

    def run(self) -> None:
        try:
            note = (self._log / "checkpoint").read_bytes()
            claimed = peek_checkpoint(note)
        except OSError:
            self._give_up("`checkpoint` is missing or can't be read")
            return
        except NoteInvalid as problem:
            self._give_up(str(problem))
            return
        if claimed.size > _MOST_ENTRIES:
            self._give_up(f"its checkpoint claims {claimed.size} entries, which no log has")
            return
        self._origin = claimed.origin
        tree = f"{claimed.origin} {claimed.size} {claimed.root.hex()}"
        identity = f"{tree} {sha256(note).hexdigest()} {_FORMAT}"
        done = self._scratch.progress()
        if done is None or done.identity != identity:
            self._scratch.forget()
            done = None
        if done is not None and done.next > claimed.size:
            return
        self._read(claimed, note, identity, start=0 if done is None else done.next)

    def _give_up(self, text: str) -> None:
        self._scratch.forget()
        self._scratch.add(
            facts=(),
            links=(),
            seen=(),
            faults=[Fault(place=0, exchange=None, what="unreadable", text=text)],
            progress=Progress(size=0, next=1, last_at=0, identity=""),
        )
        self._scratch.sort()

    def _read(self, claimed: Checkpoint, note: bytes, identity: str, *, start: int) -> None:
        """Read from `start`, a stretch at a time, and judge the tree once all is read.

        When all is done, `next` is one beyond the size.
        """
        tree = self._resume(start)
        if tree is None:
            self._scratch.forget()
            tree, start = _Tree(Edge()), 0
        done = self._scratch.progress()
        last_at = 0 if done is None else done.last_at
        while start < claimed.size and self._missing <= MAX_FAULTS:
            stop = min(claimed.size, start + STRETCH_TILES * TILE_WIDTH)
            stretch = _Stretch(last_at=last_at)
            self._stretch(tree, start, stop, stretch)
            last_at = stretch.last_at
            self._keep(stretch, Progress(size=claimed.size, next=stop, last_at=last_at, identity=identity))
            start = stop
        self._scratch.sort()
        final = _Stretch(last_at=last_at)
        final.faults += self._judge(claimed, note, tree.root)
        if start < claimed.size:
            words = f"more than {MAX_FAULTS} bundles are missing: entries from {start} on were not looked for"
            final.faults.append(Fault(place=claimed.size, exchange=None, what="missing", text=words))
        progress = Progress(
            size=claimed.size, next=claimed.size + 1, last_at=final.last_at, identity=identity
        )
        self._keep(final, progress, room=len(final.faults))

    def _resume(self, start: int) -> "_Tree | None":
        try:
            return _Tree(self._tiles.edge(start) if start else Edge())
        except TileInvalid:
            return None

    def _keep(self, stretch: _Stretch, progress: Progress, *, room: int | None = None) -> None:
        if room is None:
            room = max(0, MAX_FAULTS - self._faults)
        self._faults += len(stretch.faults)
        self._scratch.add(
            facts=stretch.facts,
            links=stretch.links,
            seen=stretch.seen,
            faults=stretch.faults[:room],
            progress=progress,
            rotations=stretch.rotations,
            laws=stretch.laws,
        )

    def _stretch(self, tree: "_Tree", start: int, stop: int, stretch: _Stretch) -> None:
        for number in range(start // TILE_WIDTH, -(-stop // TILE_WIDTH)):
            first = number * TILE_WIDTH
            width = min(TILE_WIDTH, stop - first)
            bundle = self._bundle(number, width, stretch)
            hashes = [merkle.leaf_hash(leaf) for leaf in bundle]
            self._compare_with_tile(number, bundle, hashes, stretch)
            for place, leaf in enumerate(bundle, first):
                self._entry(place, leaf, stretch)
            for name, data in tree.add(hashes):
                self._compare_upper(name, data, stretch)

    def _bundle(self, number: int, width: int, stretch: _Stretch) -> list[bytes]:
        """Return a bundle's entries, as many as are due; in place of what isn't there stands no leaf."""
        name = TileName(level=None, index=number, width=width)
        entries: list[bytes] = []
        try:
            data = self._tiles.read(name)
            entries = decode_bundle(data, lenient=True)
            if len(entries) != width:
                self._fault(stretch, number * TILE_WIDTH, "edited", f"`{name.path}` is not whole")
        except TileInvalid as problem:
            self._missing += 1
            self._fault(stretch, number * TILE_WIDTH, "missing", str(problem))
        return [*entries[:width], *[_NO_LEAF] * (width - len(entries))]

    def _compare_with_tile(
        self, number: int, bundle: Sequence[bytes], own: Sequence[bytes], stretch: _Stretch
    ) -> None:
        first = number * TILE_WIDTH
        name = TileName(level=0, index=number, width=len(bundle))
        try:
            data = self._tiles.read(name)
            if data == b"".join(own):
                return
            hashes = split_tile(data)
            if len(hashes) != len(own):
                raise TileInvalid(f"`{name.path}` holds {len(hashes)} hashes, expected {len(own)}")
        except TileInvalid as problem:
            self._fault(stretch, first, "edited", str(problem))
            return
        wrong = [offset for offset in range(len(own)) if own[offset] != hashes[offset]]
        moved = sorted(own[offset] for offset in wrong) == sorted(hashes[offset] for offset in wrong)
        for offset in wrong:
            what = "reordered" if moved else "edited"
            words = "stands in another's place" if moved else "its bytes are not those of the tree"
            exchange = _exchange_of(bundle[offset])
            self._fault(stretch, first + offset, what, f"entry {first + offset}: {words}", exchange)

    def _compare_upper(self, name: TileName, data: bytes, stretch: _Stretch) -> None:
        try:
            if self._tiles.read(name) == data:
                return
            text = f"`{name.path}` holds other hashes than those of the tree"
        except TileInvalid as problem:
            text = str(problem)
        self._fault(stretch, name.index * TILE_WIDTH ** ((name.level or 0) + 1), "edited", text)

    def _fault(
        self, stretch: _Stretch, place: int, what: str, text: str, exchange: bytes | None = None
    ) -> None:
        words = text.encode(errors="backslashreplace").decode()  # an entry may tell of half a character
        stretch.faults.append(Fault(place=place, exchange=exchange, what=what, text=words))

    def _entry(self, place: int, leaf: bytes, stretch: _Stretch) -> None:
        try:
            text = leaf.decode()
            record, end = _DECODER.raw_decode(text)
            kind, at = record["kind"], record["at"]
            exchange = bytes.fromhex(record.get("exchange", ""))
            if kind not in KINDS or type(at) is not int or not 0 <= at < _TIMES or end != len(text):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if leaf is not _NO_LEAF:
                self._fault(stretch, place, "edited", f"entry {place}: it is not an entry")
            return
        if at > stretch.last_at:
            stretch.last_at = at
        if "beside" in record:
            record, leaf = self._completed(place, record, leaf, exchange, stretch)
        if kind in _SHOWN:
            self._saw(place, at, record, stretch)
        if exchange:
            stretch.facts.append((exchange, place, at, leaf))
        elif kind in _LINKS:
            stretch.links.append((place, at, _LINKS[kind]))
        elif kind == KEY_ROTATED:
            self._rotated(place, record, stretch)
        elif kind == POLICY_ACTIVATED:
            stretch.laws.append((place, str(record.get("policy"))))

    def _completed(
        self, place: int, record: dict[str, JsonValue], leaf: bytes, exchange: bytes, stretch: _Stretch
    ) -> tuple[dict[str, JsonValue], bytes]:
        """Return an entry with the values that stand beside the log; what is wrong with them is a fault."""
        try:
            record = {**record, **whole_entry(leaf, self._log).public}
            return record, canonical(record)
        except (EntryInvalid, ValueError) as problem:
            self._fault(stretch, place, "edited", f"entry {place}: {problem}", exchange or None)
            return record, leaf

    def _saw(self, place: int, at: int, record: dict[str, JsonValue], stretch: _Stretch) -> None:
        origin, note = record.get("peer_origin"), record.get("note")
        try:
            if not isinstance(origin, str) or not isinstance(note, str):
                if record["kind"] != CHECKPOINT_SEEN:
                    return  # what contradicts is something else than a log, or none was ever shown
                raise NoteInvalid("the checkpoint that was seen is missing")
            checkpoint, signers = self._trust.history(origin).open_signed(note.encode())
        except (NoteInvalid, UnicodeEncodeError) as problem:
            words = f"entry {place}: the checkpoint of `{origin}` that it tells of: {problem}"
            self._fault(stretch, place, "forged", words)
            return
        stretch.seen.append(
            Seen(
                place=place,
                at=at,
                origin=origin,
                size=checkpoint.size,
                root=checkpoint.root,
                signers=tuple(key.line for key in signers),
                kind=str(record["kind"]),
            )
        )

    def _rotated(self, place: int, record: dict[str, JsonValue], stretch: _Stretch) -> None:
        public = {name: record.get(name) for name in ("old_key", "new_key", "note")}
        try:
            read_rotation(public, index=place, origin=self._origin)
        except NoteInvalid as problem:
            self._fault(stretch, place, "forged", f"entry {place}: {problem}")
            return
        stretch.rotations.append((place, json.dumps(public)))

    def _judge(self, claimed: Checkpoint, note: bytes, root: bytes) -> list[Fault]:
        """Return what is wrong with the log as a whole."""
        keys, texts = self._trust.keys(claimed.origin), list[str]()
        if not keys:
            texts.append(f"origin {claimed.origin}: the trust file names no such log")
        else:
            try:
                texts += self._judge_keys(claimed, note)
            except KeyNotInForce as problem:
                texts.append(str(problem))
            except NoteInvalid:
                texts.append(
                    f"origin {claimed.origin}: no key that the trust file names signed its checkpoint"
                )
        if root != claimed.root:
            texts.append(f"its {claimed.size} entries do not lead to the root that its checkpoint signs")
        try:
            if TreeProver(self._tiles, claimed.size).root() != claimed.root:
                texts.append("its tiles do not lead to the root that its checkpoint signs")
        except TileInvalid as problem:
            texts.append(str(problem))
        texts += earlier_partials(self._log, claimed.size)
        return [Fault(place=claimed.size, exchange=None, what="edited", text=text) for text in texts]

    def _judge_keys(self, claimed: Checkpoint, note: bytes) -> list[str]:
        """Return what is wrong with the replacements of the log's key.

        Raises `NoteInvalid` unless the key that they put in force signed the checkpoint.
        """
        history = self._trust.history(claimed.origin)
        _, signers = history.open_signed(note)
        rotations = self._scratch.rotations(claimed.origin)
        history.proven_by(rotations).check_in_force(claimed.size, signers)
        prover = TreeProver(self._tiles, claimed.size)
        try:
            return [
                f"entry {one.index}: {OTHER_BEGINNING}"
                for one in rotations
                if prover.root(one.checkpoint.size) != one.checkpoint.root
            ]
        except TileInvalid as problem:
            return [str(problem)]


class _Tree:
    """The tree over the entries that were read: the hashes of its right edge."""

    def __init__(self, edge: Edge) -> None:
        self._levels = [list(level) for level in edge.levels]
        self._size = edge.size

    def add(self, hashes: list[bytes]) -> Iterator[tuple[TileName, bytes]]:
        """Add the leaf hashes of one bundle; yield each tile of an upper level that is full now."""
        self._size += len(hashes)
        if len(hashes) < TILE_WIDTH:
            self._at(0)[:] = hashes
            return
        level, node = 1, merkle.root(hashes)
        tile = self._at(level)
        tile.append(node)
        while len(tile) == TILE_WIDTH:
            index = self._size // TILE_WIDTH ** (level + 1) - 1
            yield TileName(level=level, index=index), b"".join(tile)
            node = merkle.root(tile)
            tile.clear()
            level += 1
            tile = self._at(level)
            tile.append(node)

    @property
    def root(self) -> bytes:
        """The root over all that was added."""
        return Edge(size=self._size, levels=tuple(map(tuple, self._levels))).root

    def _at(self, level: int) -> list[bytes]:
        while len(self._levels) <= level:
            self._levels.append([])
        return self._levels[level]


def _exchange_of(leaf: bytes) -> bytes | None:
    """Return the exchange that an entry claims to be about, **whatever else is wrong with it**."""
    try:
        return bytes.fromhex(json.loads(leaf)["exchange"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
