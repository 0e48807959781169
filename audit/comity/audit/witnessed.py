"""Whether a quorum of witnesses cosigned what is shown of a log, as a tlog-policy file wants it.

A checkpoint is cosigned after it is published, so a log's newest one seldom is. What its peers cosigned lies
beside it (`log/cosigned/`); a log counts as witnessed up to the newest of those, and nothing about an
exchange may stand after that.
"""

from collections.abc import Callable
from pathlib import Path

from comity.audit.cosignature import cosignatures
from comity.audit.cosigned import CosignedCheckpoints
from comity.audit.errors import NoteInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.policy_file import TlogPolicy


def quorum_fault(note: bytes, policy: TlogPolicy) -> str:
    """Return what is wrong with the cosignatures under a checkpoint; empty if they are a quorum."""
    try:
        names = _witnesses(note, policy)
    except NoteInvalid as problem:
        return str(problem)
    if policy.is_met(names):
        return ""
    return f"the policy file wants a quorum of `{policy.quorum}`; cosigned by {_listed(names)}"


def _witnesses(note: bytes, policy: TlogPolicy) -> list[str]:
    """Return which witnesses of a policy file cosigned a checkpoint. Raises `NoteInvalid`."""
    found = {one.cosigner for one in cosignatures(note, policy.witnesses.values())}
    return [name for name, cosigner in policy.witnesses.items() if cosigner in found]


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none of its witnesses"


def witness_fault(
    log: Path,
    note: bytes,
    *,
    policy: TlogPolicy,
    history: KeyHistory,
    root_at: Callable[[int], bytes | None],
    last_exchange: int,
) -> str:
    """Return why a log doesn't count as witnessed; empty if it does.

    `note` is its checkpoint, `history` its keys, `root_at` the root of its first entries (None beyond its
    size), `last_exchange` the index of its last entry about an exchange, -1 if there is none.
    """
    fault = quorum_fault(note, policy)
    if not fault:
        return ""
    most: tuple[int, list[str]] = (0, [])
    for claimed, kept in CosignedCheckpoints(log).newest_first():
        if root_at(claimed.size) != claimed.root:
            continue
        try:
            history.open_signed(kept)
            names = _witnesses(kept, policy)
        except NoteInvalid:
            continue
        if not policy.is_met(names):
            most = max(most, (claimed.size, names), key=lambda one: len(one[1]))
            continue
        if last_exchange < claimed.size:
            return ""
        return (
            f"a quorum of `{policy.quorum}` cosigned its first {claimed.size} entries; "
            f"entry {last_exchange}, about an exchange, stands after them"
        )
    size, names = most
    return f"{fault}; most cosigned its first {size} entries: {_listed(names)}" if names else fault
