"""`comity audit rotate-key`: replace the key of an end's log, step by step, and say where one stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.errors import AuditError
from comity.audit.log_keys import NEXT_KEY_FILE, LogKeys
from comity.audit.note import LogKey
from comity.audit.summary import ReplacedKey, Summary
from comity.audit.tiles import TileFolder
from comity.certs.clock import utc_now
from comity.certs.files import require_at_hand
from comity.certs.key_changes import EndFolder, announce_log_key, apply_for, finish_log_key
from comity.certs.keys import SigningKey
from comity.certs.roster import Federation, LogKeyView
from comity.cli.reporting import Json, json_option, refused_as_usage, report, stop

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    "rotate-key",
    epilog="Example: comity audit rotate-key agencies/lapd/adapter  Then, once both keys sign and everybody "
    "has the roster that names both: comity audit rotate-key agencies/lapd/adapter --finish",
)
@click.argument("folder", metavar="HOME", type=_FOLDER)
@click.option("--finish", is_flag=True, help="End the overlap: the new key signs alone, the old one goes.")
@click.option("--status", is_flag=True, help="Change nothing: only say how far it has come.")
@click.option(
    "--identity",
    type=_FILE,
    help="The agency's (or operator's) identity key, if it isn't in the folder above HOME.",
)
@json_option
@refused_as_usage
def rotate_key(folder: Path, finish: bool, status: bool, identity: Path | None, as_json: bool) -> None:
    """Replace the key with which the end in HOME signs its log; the end goes on serving.

    Run it as the account of the end's process. It makes the new key beside the old one and an application
    with a key set that names both. Once the governing authority has admitted that, the end enters
    `key_rotated` in its log, signed with both keys, and signs each checkpoint with both. With --finish a
    second application names the new key alone; once that is admitted, the old one is gone.

    What was begun is not begun anew: run again, it tells how far the change has come and what is next, as
    --status does.
    """
    if finish and status:
        raise click.UsageError("--finish and --status: one of them is right")
    try:
        end = EndFolder.load(folder)
        federation = end.federation(utc_now())
        named = end.log_key(federation)
        keys = LogKeys.load(end.keys, named.origin)
        change = _Change(
            end=end, federation=federation, named=named, keys=keys, replaced=_replaced(folder, named)
        )
        if finish:
            state = _finish(change, identity)
        else:
            state = _standing(change) or _announce(change, identity, status=status)
    except AuditError as problem:
        stop(str(problem))
    _tell(change, state, as_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """Where the replacement of a log's key stands, by the roster, the keys at hand and the log."""

    end: EndFolder
    federation: Federation
    named: LogKeyView
    keys: LogKeys
    replaced: ReplacedKey | None
    """The newest replacement that the log's checkpoint covers."""

    @property
    def following(self) -> str:
        """The verifier key line of the new key that lies in `keys/`; empty if there is none."""
        return self.keys.following.verifier_key if self.keys.following is not None else ""

    @property
    def is_logged(self) -> bool:
        """Whether the log has put the following key in force."""
        return self.replaced is not None and bool(self.following) and self.replaced.new == self.following


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What was found or done: a word for scripts, the new key, the application, and what is next."""

    word: str
    new_key: str
    next: str
    application: Path | None = None


def _replaced(folder: Path, named: LogKeyView) -> ReplacedKey | None:
    """Return the newest replacement of the log's key that its checkpoint covers."""
    path = folder / "log" / "checkpoint"
    if not path.exists():
        return None
    size = peek_checkpoint(path.read_bytes()).size
    found = Summary.read(folder / "wal", TileFolder(folder / "log"), size).replaced
    return found[-1] if found else None


def _standing(change: _Change) -> _State | None:
    """Return how far a change that the roster tells of has come; None if it tells of none."""
    named, following = change.named, change.following
    if named.next_verifier_key:
        if named.next_verifier_key != following:
            if change.replaced is None or change.replaced.new != named.next_verifier_key:
                return None  # it got lost before it was of any use: another one will do
            stop(
                f"the key that is in force in `{named.origin}` isn't in `{change.end.keys / NEXT_KEY_FILE}`: "
                "bring it there"
            )
        if not change.is_logged:
            text = "the end enters it in its log when it next looks at the roster, at the latest at its start"
            return _State(word="announced", new_key=following, next=text)
        text = "once everybody has this roster: comity audit rotate-key --finish"
        return _State(word="overlapping", new_key=following, next=text)
    if following and named.verifier_key == following:
        return _finishing(change)
    if named.verifier_key != change.keys.key.verifier_key:
        stop(f"`{change.end.keys / 'log.key'}` is not the log key that the roster names for `{named.origin}`")
    return None


def _announce(change: _Change, identity: Path | None, *, status: bool) -> _State:
    """Make the new key and apply for a key set that names both; with `status` only say what there is."""
    named = change.named
    if status:
        if named.next_verifier_key:
            text = (
                f"`{NEXT_KEY_FILE}` is not the key that the roster names: run it without --status for another"
            )
            return _State(word="lost", new_key=named.next_verifier_key, next=text)
        if not change.following:
            return _State(word="none", new_key="", next="nothing: no key is being replaced")
        text = f"the governing authority admits {change.end.home.parent / 'application.json'}"
        return _State(word="prepared", new_key=change.following, next=text)
    key = change.keys.following or _new_key(change)
    path = apply_for(
        change.end,
        change.federation,
        announce_log_key(named.origin, key.verifier_key),
        identity=_identity(change.end, identity),
        now=utc_now(),
    )
    text = f"the governing authority admits it: comity federation admit {path} --dir FEDERATION"
    return _State(word="prepared", new_key=key.verifier_key, next=text, application=path)


def _new_key(change: _Change) -> LogKey:
    key = LogKey.generate(change.named.origin)
    key.save(change.end.keys / NEXT_KEY_FILE)
    return key


def _finish(change: _Change, identity: Path | None) -> _State:
    """Apply for the new key alone; refuse while the log doesn't prove that it took over."""
    named = change.named
    if not named.next_verifier_key:
        if change.following and named.verifier_key == change.following:
            return _finishing(change)
        stop(
            f"log `{named.origin}`: the roster names no key that is to follow; first the authority admits "
            "what `comity audit rotate-key` without --finish makes"
        )
    if not change.is_logged or change.replaced is None or named.next_verifier_key != change.following:
        stop(
            f"log `{named.origin}`: no published entry puts the new key in force yet; the old one stays. "
            "Is the end running, with this roster?"
        )
    path = apply_for(
        change.end,
        change.federation,
        finish_log_key(named.origin, last_size=change.replaced.index),
        identity=_identity(change.end, identity),
        now=utc_now(),
    )
    text = f"the governing authority admits it: comity federation admit {path} --dir FEDERATION"
    return _State(word="finishing", new_key=change.following, next=text, application=path)


def _finishing(change: _Change) -> _State:
    """Say what is next once the roster names the new key alone."""
    text = "the end removes the old key when it next looks at the roster, at the latest at its start"
    return _State(word="finishing", new_key=change.following, next=text)


def _identity(end: EndFolder, path: Path | None) -> SigningKey:
    kept = path or end.home.parent / "identity.pem"
    require_at_hand(kept, f"the identity key of `{end.agency}`", option="--identity")
    return SigningKey.load(kept)


def _tell(change: _Change, state: _State, as_json: bool) -> None:
    entry = change.replaced.index if change.replaced is not None and change.is_logged else None
    values: dict[str, Json] = {
        "origin": change.named.origin,
        "state": state.word,
        "roster": change.federation.version,
        "old_key": change.keys.key.verifier_key,
        "new_key": state.new_key or None,
        "entry": entry,
        "application": str(state.application) if state.application is not None else None,
        "next": state.next,
    }
    logged = "not yet" if entry is None else f"entry {entry}; every checkpoint after it bears both signatures"
    report(
        as_json,
        values,
        f"log          {change.named.origin}",
        f"state        {state.word}",
        f"old key      {change.keys.key.verifier_key}",
        f"new key      {state.new_key or 'none'}",
        f"in the log   {logged}",
        *([f"application  {state.application}"] if state.application is not None else []),
        f"next         {state.next}",
    )
