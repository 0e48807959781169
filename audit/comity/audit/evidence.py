"""Evidence of one exchange that leaves an end: entries with their proofs, envelopes, chosen openings.

::

    OUT/evidence.json               what is there, and the openings that were chosen
    OUT/17-decided.tlog-proof       the entry, its inclusion proof, the checkpoint (C2SP tlog-proof)
    OUT/17-order.dsse.json          an envelope that the end kept beside the entry
    OUT/17-query.lapd.bin           bytes that stand for content, only if asked for
    OUT/beside/9f2c…                values that the log has beside its entries, because they are large

Whoever gets the folder needs the trust file and nothing else: no network, no log, no trust in the sender.
What was not opened stays a commitment, and a value that was put in its place doesn't verify.
"""

import base64
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from comity.audit.beside import BesideFolder, files_of, whole_entry
from comity.audit.canonical import JsonValue, from_base64
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.cosigned import CosignedCheckpoints
from comity.audit.entry import LoggedEntry, Opening, parse_entry
from comity.audit.errors import AuditError, EvidenceInvalid, NoteInvalid, OpeningInvalid
from comity.audit.folder_check import CheckedLog
from comity.audit.merkle import leaf_hash, roots_at
from comity.audit.openings import KeptEnvelope, read_envelopes, read_openings_of
from comity.audit.proofs import TreeProver
from comity.audit.tiles import TileFolder
from comity.audit.tlog_proof import SUFFIX, TlogProof, make_proof
from comity.audit.trust import Trust
from comity.audit.witnessed import quorum_fault
from comity.certs.envelope import digest, from_json, open_envelope, to_json
from comity.certs.errors import CertsError
from comity.certs.files import write_private
from comity.v1.account_pb2 import Account
from comity.v1.envelope_pb2 import Envelope
from comity.v1.query_pb2 import Order
from comity.v1.result_pb2 import Acknowledgement, Receipt

FORMAT = "comity-evidence-v1"
MANIFEST = "evidence.json"
_ENVELOPES: Mapping[str, type[Order] | type[Receipt] | type[Account] | type[Acknowledgement]] = {
    "order": Order,
    "receipt": Receipt,
    "account": Account,
    "acknowledgement": Acknowledgement,
}
"""Attachments that are signed statements, by the first part of their name; all others are content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenEntry:
    """An entry on its way out: its proof, the openings chosen for it, and what was kept beside it."""

    index: int
    entry: LoggedEntry
    proof: TlogProof
    openings: tuple[Opening, ...] = field(default=(), repr=False)
    kept: tuple[KeptEnvelope, ...] = ()
    beside: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """The values that the log has beside the entry, by digest."""

    @property
    def exchange(self) -> bytes:
        """The exchange that the entry is about."""
        return self.entry.exchange or b""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceReport:
    """What was found about a folder of evidence."""

    path: Path
    origin: str
    exchange: str
    entries: tuple[str, ...]
    """Of each entry that verified: index, kind and time, in words."""
    opened: Mapping[str, str] = field(repr=False)
    """The private fields that were opened and are true, by `<index> <name>`."""
    statements: tuple[str, ...]
    """Of each signed statement that verified: what it is and who signed it."""
    findings: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether there is at least one entry and nothing was found."""
        return bool(self.entries) and not self.findings


def prove_exchange(
    log: Path, state: Path | None, exchange: str, *, opened: Collection[str] | None, content: bool
) -> list[ProvenEntry]:
    """Return all entries of an exchange in a `log/` folder, each with its proof in one checkpoint.

    That is the one that most peers cosigned, if one of those covers them all, else the current one.
    `exchange` is the exchange's id in hex, or as much of its beginning as no other has. `state` is the end's
    `state.db`, if at hand. `opened` names the private fields to open; None opens all. `content`: also
    attachments that are no signed statements, such as the query itself. Raises `EvidenceInvalid` unless
    exactly one exchange of the log begins so and the fields can be opened, and what reading a log raises.
    """
    prefix = exchange.lower()
    if not prefix or set(prefix) - set("0123456789abcdef"):
        raise EvidenceInvalid(f"exchange `{prefix}` is not hex")
    try:
        note = (log / "checkpoint").read_bytes()
    except OSError as problem:
        raise EvidenceInvalid(f"`{log / 'checkpoint'}` can't be read") from problem
    tiles = TileFolder(log)
    size = peek_checkpoint(note).size
    prover = TreeProver(tiles, size)
    wanted = f'"exchange":"{prefix}'.encode()
    found: dict[bytes, list[tuple[int, bytes, LoggedEntry]]] = {}
    for index, leaf in tiles.all_entries(size):
        if wanted in leaf:
            entry = parse_entry(leaf)
            if entry.exchange is not None and entry.exchange.hex().startswith(prefix):
                found.setdefault(entry.exchange, []).append((index, leaf, entry))
    if len(found) != 1:
        raise EvidenceInvalid(f"exchange `{prefix}`: {len(found) or 'no'} exchanges of this log begin so")
    (entries,) = found.values()
    beside = BesideFolder(folder=log)
    cosigned = CosignedCheckpoints(log).best_for(entries[-1][0] + 1, limit=size, roots=prover.root)
    if cosigned is not None:
        note, size = cosigned, peek_checkpoint(cosigned).size
    proven = [
        ProvenEntry(
            index=index,
            entry=beside.complete(entry),
            proof=make_proof(leaf, index, prover.inclusion(index, size), note),
            beside={
                wanted.digest: beside.read(entry.kind, name, wanted) for name, wanted in entry.beside.items()
            },
        )
        for index, leaf, entry in entries
    ]
    return [_with_openings(one, state, opened, content=content) for one in proven]


def write_evidence(folder: Path, proven: Sequence[ProvenEntry]) -> list[Path]:
    """Write what `prove_exchange` gave, its files readable by their owner alone; return what was written.

    Raises `EvidenceInvalid` if the folder isn't empty: evidence isn't mixed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise EvidenceInvalid(f"`{folder}` is not empty; evidence goes into a folder of its own")
    written: list[Path] = []

    def write(name: str, data: bytes) -> str:
        write_private(folder / name, data)
        written.append(folder / name)
        return name

    entries: list[JsonValue] = []
    for one in proven:
        kept: dict[str, JsonValue] = {}
        for envelope in one.kept:
            kept[envelope.name] = write(_file_name(one.index, envelope), _file_bytes(envelope))
        openings: dict[str, JsonValue] = {
            opening.name: {"salt": base64.b64encode(opening.salt).decode(), "value": opening.value}
            for opening in one.openings
        }
        for path, data in files_of(one.beside).items():
            write(path, data)
        entries.append(
            {
                "index": one.index,
                "kind": one.entry.kind,
                "proof": write(f"{one.index}-{one.entry.kind}{SUFFIX}", one.proof.encode()),
                "openings": openings,
                "kept": kept,
            }
        )
    manifest = {
        "format": FORMAT,
        "origin": proven[0].proof.claimed.origin,
        "exchange": proven[0].exchange.hex(),
        "entries": entries,
    }
    write(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n")
    return written


def is_evidence(folder: Path) -> bool:
    """Return whether a folder holds evidence that `write_evidence` wrote."""
    return (folder / MANIFEST).is_file()


def verify_evidence(folder: Path, trust: Trust, logs: Sequence[CheckedLog] = ()) -> EvidenceReport:
    """Verify a folder of evidence with the trust file alone, and against `logs` of its origin, if at hand."""
    checking = _Checking(folder, trust, logs)
    try:
        checking.run()
    except EvidenceInvalid as problem:
        checking.findings.append(str(problem))
    return EvidenceReport(
        path=folder,
        origin=checking.origin,
        exchange=checking.exchange.hex(),
        entries=tuple(checking.entries),
        opened=checking.opened,
        statements=tuple(checking.statements),
        findings=tuple(checking.findings),
    )


class _Checking:
    """One folder of evidence while it is checked."""

    def __init__(self, folder: Path, trust: Trust, logs: Sequence[CheckedLog]) -> None:
        self.origin = ""
        self.exchange = b""
        self.entries: list[str] = []
        self.opened: dict[str, str] = {}
        self.statements: list[str] = []
        self.findings: list[str] = []
        self._folder = folder
        self._trust = trust
        self._logs = logs

    def run(self) -> None:
        manifest = _read_manifest(self._folder)
        self.origin, self.exchange = manifest.origin, manifest.exchange
        if not self._trust.keys(self.origin):
            raise EvidenceInvalid(f"origin {self.origin}: the trust file names no such log")
        checkpoints: set[bytes] = set()
        for item in manifest.entries:
            try:
                checkpoints.add(self._entry(item))
            except (AuditError, CertsError) as problem:
                self.findings.append(f"entry {item.index}: {problem}")
            except OSError as problem:
                name = Path(problem.filename or self._folder).name
                words = (problem.strerror or "can't be read").lower()
                self.findings.append(f"entry {item.index}: `{name}`: {words}")
        if len(checkpoints) > 1:
            self.findings.append("entries are proven under different checkpoints")
        for note in sorted(checkpoints):
            self._hold_against_logs(note)

    def _hold_against_logs(self, note: bytes) -> None:
        """Compare a checkpoint of evidence with copies of its log: its keys' history, size and root."""
        for log in self._logs:
            if log.origin != self.origin or log.history is None or log.leaf_hashes is None:
                continue
            claimed = peek_checkpoint(note)
            try:
                log.history.open(note)
            except NoteInvalid as problem:
                self.findings.append(f"{problem}, says `{log.path}`")
                continue
            if claimed.size > log.size:
                self.findings.append(
                    f"it is proven in {claimed.size} entries, and `{log.path}` has {log.size}"
                )
            elif roots_at(log.leaf_hashes, [claimed.size])[claimed.size] != claimed.root:
                self.findings.append(
                    f"it is proven in another log than `{log.path}`, signed with the same key"
                )

    def _entry(self, item: "_Item") -> bytes:
        proof = TlogProof.parse((self._folder / item.proof).read_bytes())
        leaf = proof.extra
        if leaf is None:
            raise EvidenceInvalid(f"`{item.proof}` doesn't carry the entry itself")
        proof.verify_by(self._trust.history(self.origin), leaf_hash=leaf_hash(leaf))
        policy = self._trust.policy
        if policy is not None and (fault := quorum_fault(proof.checkpoint, policy)):
            raise EvidenceInvalid(fault)
        entry = whole_entry(leaf, self._folder)
        if (proof.index, entry.kind, entry.exchange) != (item.index, item.kind, self.exchange):
            raise EvidenceInvalid(f"`{item.proof}` proves another entry than `{MANIFEST}` says")
        self.entries.append(f"{item.index} {entry.kind} {entry.at:%Y-%m-%dT%H:%M:%SZ}")
        for opening in item.openings:
            try:
                self.opened[f"{item.index} {opening.name}"] = entry.open(opening)
            except OpeningInvalid as problem:
                self.findings.append(f"entry {item.index}: {problem}")
        for name, file in item.kept.items():
            self._kept(item, entry, name, (self._folder / file).read_bytes())
        return proof.checkpoint

    def _kept(self, item: "_Item", entry: LoggedEntry, name: str, data: bytes) -> None:
        """Check what was kept beside an entry against what the entry says of it."""
        what, _, whose = name.partition(":")
        message_type = _ENVELOPES.get(what)
        if message_type is None:
            self._content(item, entry, name, data)
            return
        envelope = from_json(data)
        if entry.public.get(what) != digest(envelope.payload).hex():
            self.findings.append(f"entry {item.index}: `{name}` is not the one that the entry names")
            return
        roster = self._trust.roster
        if roster is None:
            self.statements.append(f"{name}: as the entry names it; a policy file has no keys to verify it")
            return
        match what:
            case "account":
                member = roster.operator
            case "receipt":
                member = roster.member(whose or str(entry.public.get("agency")))
            case _:
                of = entry.public.get("peer") if "peer" in entry.public else entry.public.get("agency")
                member = roster.member(str(of))
        opened = open_envelope(envelope, message_type, member.key_set.statement_keys_at(entry.at))
        if opened.message.exchange_id != self.exchange:
            self.findings.append(f"entry {item.index}: `{name}` is about another exchange")
            return
        self.statements.append(f"{name}: signed by {member.agency}")

    def _content(self, item: "_Item", entry: LoggedEntry, name: str, data: bytes) -> None:
        """Check bytes of content against the digest by which an entry names them, where one does."""
        what, _, whose = name.partition(":")
        if what != "query":
            self.statements.append(f"{name}: kept beside the entry, which doesn't say what it was")
            return
        asked = entry.public.get("asked")
        named = asked.get(whose) if isinstance(asked, dict) and whose else entry.public.get("query")
        if named != digest(data).hex():
            self.findings.append(f"entry {item.index}: `{name}` is not the one that the entry names")
        else:
            self.statements.append(f"{name}: the bytes that the entry names")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One entry of a manifest."""

    index: int
    kind: str
    proof: str
    openings: tuple[Opening, ...] = field(repr=False)
    kept: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    origin: str
    exchange: bytes
    entries: tuple[_Item, ...]


def _with_openings(
    one: ProvenEntry, state: Path | None, opened: Collection[str] | None, *, content: bool
) -> ProvenEntry:
    names = set(one.entry.commitments) if opened is None else set(one.entry.commitments) & set(opened)
    known = read_openings_of(state, one.index) if state is not None and names else {}
    missing = sorted(names - known.keys())
    if missing:
        raise EvidenceInvalid(f"entry {one.index}: no opening of `{missing[0]}` is at hand")
    chosen = tuple(known[name] for name in sorted(names))
    for opening in chosen:
        one.entry.open(opening)
    kept = [] if state is None else read_envelopes(state, one.index)
    return ProvenEntry(
        index=one.index,
        entry=one.entry,
        proof=one.proof,
        openings=chosen,
        beside=one.beside,
        kept=tuple(k for k in kept if content or k.name.partition(":")[0] in _ENVELOPES),
    )


def _file_name(index: int, kept: KeptEnvelope) -> str:
    what, _, whose = kept.name.partition(":")
    suffix = ".dsse.json" if what in _ENVELOPES else ".bin"
    return f"{index}-{what}{'.' + whose if whose else ''}{suffix}"


def _file_bytes(kept: KeptEnvelope) -> bytes:
    if kept.name.partition(":")[0] not in _ENVELOPES:
        return kept.payload
    try:
        return to_json(Envelope.FromString(kept.payload))
    except DecodeError as problem:
        raise EvidenceInvalid(f"entry {kept.index}: `{kept.name}` as it was kept is no envelope") from problem


def _read_manifest(folder: Path) -> _Manifest:
    wrong = EvidenceInvalid(f"`{folder / MANIFEST}`: not what `comity audit prove` writes")
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise EvidenceInvalid(f"`{folder / MANIFEST}` is missing or no JSON") from problem
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise wrong
    try:
        manifest = _Manifest(
            origin=_text(document["origin"]),
            exchange=bytes.fromhex(_text(document["exchange"])),
            entries=tuple(_items(document["entries"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise wrong from problem
    if not manifest.entries or not manifest.exchange:
        raise wrong
    return manifest


def _items(entries: Sequence[Mapping[str, object]]) -> Iterator[_Item]:
    for entry in entries:
        index, openings, kept = entry["index"], entry["openings"], entry["kept"]
        if not isinstance(index, int) or not isinstance(openings, dict) or not isinstance(kept, dict):
            raise TypeError
        yield _Item(
            index=index,
            kind=_text(entry["kind"]),
            proof=_file(entry["proof"]),
            openings=tuple(
                Opening(
                    name=name,
                    salt=from_base64(_text(opening["salt"])),
                    value=_text(opening["value"]),
                )
                for name, opening in openings.items()
            ),
            kept={_text(name): _file(file) for name, file in kept.items()},
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _file(value: object) -> str:
    """Return a file's name; a manifest names files of its own folder and no others."""
    name = _text(value)
    if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise ValueError
    return name
