"""Logged decisions made again, offline: from the log, its openings and the bundles that were in force.

Each `decided` entry commits to the facts that were decided by and to what came of them, and names the digest
of the bundle. The facts are opened, the bundle of that digest decides anew, and outcome, policies, stores,
obligations and errors are held against the entry's. The same bundle and the same facts give the same
decision, years later (design 6); where they don't, somebody was told something else than the policy says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from comity.adapters.bundles import FOLDER
from comity.adapters.records import kind_name, told_of
from comity.adapters.ruling import rule
from comity.audit.beside import whole_entry
from comity.audit.entry import LoggedEntry
from comity.audit.errors import OpeningInvalid
from comity.audit.searching.kept import KeptBeside
from comity.audit.searching.walk import LogWalk, Tell, kinds_pattern
from comity.policy.bundle import SCHEMA, PolicyBundle
from comity.policy.decision import PolicyEngine
from comity.policy.errors import BundleInvalid
from comity.policy.written import FactsInvalid, read_facts

TOLD = ("rules", "stores", "obligations", "errors")
"""The private fields of `decided` that are compared, beside the outcome."""

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


def recompute(
    walk: LogWalk, kept: KeptBeside, bundles: Bundles, *, tell: Tell | None = None
) -> Iterator[Recomputed]:
    """Yield every decision of a log, made again, in its order.

    What was yielded counts only once this has ended without raising `TileInvalid`. Raises `AuditError`s.
    """
    decided = kinds_pattern(["decided"])
    for index, leaf in walk.entries(tell=tell):
        if decided.search(leaf):
            entry = whole_entry(leaf, walk.folder)
            if entry.kind == "decided":
                yield _again(index, entry, kept, bundles)


def _again(index: int, entry: LoggedEntry, kept: KeptBeside, bundles: Bundles) -> Recomputed:
    policy, outcome = (str(entry.public.get(name, "")) for name in ("policy", "outcome"))

    def found(*differences: str, unknown: str = "") -> Recomputed:
        return Recomputed(
            index=index,
            exchange=entry.exchange or b"",
            at=entry.at,
            policy=policy,
            outcome=outcome,
            differences=differences,
            unknown=unknown,
        )

    openings = kept.openings(index)
    try:
        told = {name: entry.open(opening) for name, opening in openings.items() if name in (*TOLD, "facts")}
    except OpeningInvalid as error:
        return found(str(error))
    missing = [name for name in ("facts", *TOLD) if name not in told]
    if missing:
        return found(unknown=f"no opening of {', '.join(missing)}")
    engine = bundles.engine(policy)
    if engine is None:
        return found(unknown=NO_BUNDLE)
    try:
        request, stores = read_facts(told["facts"])
    except FactsInvalid as error:
        return found(unknown=str(error))
    ruling = rule(request, engine=engine, stores=stores)
    logged = {"outcome": outcome, **{name: told[name] for name in TOLD}}
    now = {"outcome": kind_name(ruling.kind), **told_of(ruling)}
    return found(*_differences(logged, now))


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
