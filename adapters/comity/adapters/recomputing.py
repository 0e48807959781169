"""Logged decisions made again, offline: from the log, its openings and the bundles that were in force.

Each `decided` entry commits to the facts that were decided by and to what came of them, and names the digest
of the bundle, which must be the one that the log had in force. The facts are opened, that bundle decides
anew, and outcome, policies, stores, obligations and errors are held against the entry's. The same bundle and
the same facts give the same decision, years later (design 6); where they don't, somebody was told something
else than the policy says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from comity.adapters.bundles import FOLDER
from comity.adapters.records import kind_name, told_of
from comity.adapters.ruling import rule
from comity.audit.beside import whole_entry
from comity.audit.entry import POLICY_ACTIVATED, LoggedEntry
from comity.audit.errors import OpeningInvalid
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk, Tell, kinds_pattern
from comity.certs.envelope import digest, from_json
from comity.certs.errors import EnvelopeInvalid
from comity.certs.keys import VerifyKey
from comity.certs.successions import IdentityKeys
from comity.policy.adopting import verify_adoption
from comity.policy.bundle import SCHEMA, PolicyBundle
from comity.policy.decision import PolicyEngine
from comity.policy.errors import BundleInvalid, PolicyError
from comity.policy.facts import DecisionRequest, StoreFacts
from comity.policy.written import FactsInvalid, read_facts

TOLD = ("rules", "stores", "obligations", "errors")
"""The private fields of `decided` that are compared, beside the outcome."""

EFFECT = "effect"
"""Compared too, where the entry has it: earlier versions wrote none."""

NO_BUNDLE = "its bundle is not at hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """One decision, made again. Neither `differences` nor `unknown`: it is the same."""

    index: int
    exchange: bytes
    at: datetime
    policy: str
    """Digest of the bundle, hex."""
    outcome: str
    differences: tuple[str, ...] = ()
    """What was logged and what is decided now, a line each."""
    unknown: str = ""
    """Why it can't be made again: an opening that is gone, a bundle that isn't at hand."""

    @property
    def lacks_bundle(self) -> bool:
        """Whether it can't be made again for want of the bundle."""
        return self.unknown == NO_BUNDLE


class Bundles:
    """Bundles by digest, each loaded when first it is asked for."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Load bundles, or folders of bundles such as an adapter's `bundles/`."""
        self._engines: dict[str, PolicyEngine] = {}
        self.faults: list[str] = []
        """What could not be loaded, and why."""
        for folder in folders:
            single = (folder / SCHEMA).is_file()
            for each in [folder] if single else sorted(path for path in folder.iterdir() if path.is_dir()):
                try:
                    bundle = PolicyBundle.load(each)
                except BundleInvalid as error:
                    self.faults.append(str(error))
                else:
                    self._engines.setdefault(bundle.digest.hex(), PolicyEngine(bundle))

    def __len__(self) -> int:
        return len(self._engines)

    def engine(self, digest: str) -> PolicyEngine | None:
        """Return the engine of a bundle; None if it isn't at hand."""
        return self._engines.get(digest)


def kept_bundles(home: Path) -> list[Path]:
    """Return the folder of an adapter's bundles, if there is one."""
    folder = home / FOLDER
    return [folder] if folder.is_dir() else []


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDecision:
    """One `decided` entry with what its openings give. `unknown`: why it can't be made again; else empty."""

    index: int
    exchange: bytes
    at: datetime
    policy: str
    """Digest of the bundle, hex."""
    outcome: str
    unknown: str = ""
    fault: str = ""
    """What proves that what is kept beside the log isn't what it commits to."""
    told: Mapping[str, str] = field(default_factory=dict, repr=False)
    engine: PolicyEngine | None = field(default=None, repr=False)
    request: DecisionRequest | None = field(default=None, repr=False)
    stores: tuple[StoreFacts, ...] = ()

    def again(self) -> Recomputed:
        """Return the decision made again."""
        differences: tuple[str, ...] = (self.fault,) if self.fault else ()
        if self.engine is not None and self.request is not None:
            ruling = rule(self.request, engine=self.engine, stores=self.stores)
            names = [name for name in (*TOLD, EFFECT) if name in self.told]
            logged = {"outcome": self.outcome, **{name: self.told[name] for name in names}}
            now = {"outcome": kind_name(ruling.kind), **told_of(ruling)}
            differences = tuple(_differences(logged, now))
        return Recomputed(
            index=self.index,
            exchange=self.exchange,
            at=self.at,
            policy=self.policy,
            outcome=self.outcome,
            differences=differences,
            unknown=self.unknown,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """Where a log says that a bundle is in force, and what made it the agency's law."""

    index: int
    policy: str
    """Digest of the bundle, hex."""
    version: str
    adoption: str
    """Digest of what the agency signed, hex; empty: nobody signed it."""

    def judged(self, bundles: Bundles, identity: VerifyKey | IdentityKeys | None) -> str:
        """Return what is wrong with the signature that it names; empty if the kept one is good.

        Without the agency's identity key only that it is kept, and is the one that was named.
        """
        engine = bundles.engine(self.policy)
        if not self.adoption:
            return "nobody signed it"
        if engine is None:
            return NO_BUNDLE
        try:
            if identity is not None:
                named = verify_adoption(engine.bundle, identity).digest
            else:
                named = digest(from_json(engine.bundle.adoption).payload)
        except (PolicyError, EnvelopeInvalid) as error:
            return str(error)
        return "" if named.hex() == self.adoption else "its signature is not the one that was logged"


def recompute(
    walk: LogWalk,
    kept: KeptBeside,
    bundles: Bundles,
    *,
    activations: list[Activation] | None = None,
    tell: Tell | None = None,
) -> Iterator[Recomputed]:
    """Yield every decision of a log, made again, in its order, and held to the bundle in force at its place.

    `activations` gets every activation of a bundle. What was yielded counts only once this has ended without
    raising `TileInvalid`. Raises `AuditError`s.
    """
    laws = [] if activations is None else activations
    for index, entry in _entries(walk, ["decided", POLICY_ACTIVATED], tell):
        if entry.kind == POLICY_ACTIVATED:
            policy, version, adoption = (
                str(entry.public.get(name, "")) for name in ("policy", "version", "adoption")
            )
            laws.append(Activation(index=index, policy=policy, version=version, adoption=adoption))
            continue
        decision = _opened(index, entry, kept, bundles).again()
        law = laws[-1].policy if laws else ""
        if decision.policy != law:
            since = f"`{law[:16]}` was in force since entry {laws[-1].index}" if laws else "none was in force"
            wrong = f"policy: decided by `{decision.policy[:16]}`, {since}"
            decision = replace(decision, differences=(wrong, *decision.differences))
        yield decision


def find_decisions(
    walk: LogWalk, kept: KeptBeside, bundles: Bundles, exchange: str, *, tell: Tell | None = None
) -> tuple[list[LoggedDecision], list[tuple[int, str]]]:
    """Return the decisions about exchanges whose id, in hex, begins so; and where one was rejected, and why.

    Raises `AuditError`s.
    """
    found, rejected = list[LoggedDecision](), list[tuple[int, str]]()
    for index, entry in _entries(walk, ["decided", "rejected"], tell):
        if entry.exchange is None or not entry.exchange.hex().startswith(exchange.lower()):
            continue
        if entry.kind == "decided":
            found.append(_opened(index, entry, kept, bundles))
        else:
            rejected.append((index, str(entry.public.get("reason"))))
    return found, rejected


def _entries(walk: LogWalk, kinds: Sequence[str], tell: Tell | None) -> Iterator[tuple[int, LoggedEntry]]:
    pattern = kinds_pattern(kinds)
    for index, leaf in walk.entries(tell=tell):
        if pattern.search(leaf):
            entry = whole_entry(leaf, walk.folder)
            if entry.kind in kinds:
                yield index, entry


def _opened(index: int, entry: LoggedEntry, kept: KeptBeside, bundles: Bundles) -> LoggedDecision:
    policy, outcome = (str(entry.public.get(name, "")) for name in ("policy", "outcome"))
    decision = LoggedDecision(
        index=index, exchange=entry.exchange or b"", at=entry.at, policy=policy, outcome=outcome
    )
    openings = kept.openings(index)
    try:
        told = {
            name: entry.open(opening)
            for name, opening in openings.items()
            if name in (*TOLD, EFFECT, "facts")
        }
    except OpeningInvalid as error:
        return replace(decision, fault=str(error))
    missing = [name for name in ("facts", *TOLD) if name not in told]
    if missing:
        return replace(decision, unknown=f"no opening of {', '.join(missing)}")
    engine = bundles.engine(policy)
    if engine is None:
        return replace(decision, unknown=NO_BUNDLE)
    try:
        request, stores = read_facts(told["facts"])
    except FactsInvalid as error:
        return replace(decision, unknown=str(error))
    return replace(decision, told=told, engine=engine, request=request, stores=stores)


def _differences(logged: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name, value in logged.items():
        if value != now[name]:
            yield f"{name}: logged {_shown(value)}, decided now {_shown(now[name])}"


def _shown(value: str) -> str:
    """Return a text as it is, an array of texts as a list; nothing as 'none'."""
    try:
        items = json.loads(value)
    except ValueError:
        return f"`{value}`"
    return f"`{', '.join(map(str, items))}`" if isinstance(items, list) and items else "none"
