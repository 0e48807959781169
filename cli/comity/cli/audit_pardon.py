"""`comity audit pardon`: lift the refusal of a peer whose log contradicted itself, or list who is refused."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import click

from comity.audit.acts import Act, enter
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import PARDONED, LoggedEntry, parse_entry
from comity.audit.errors import AuditError
from comity.audit.summary import Summary
from comity.audit.tiles import TileFolder
from comity.cli.plain import clean

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_HOW = {
    "shrank": "showed a smaller log than before",
    "forked": "showed two roots for one size",
    "inconsistent": "showed a log that does not continue the one before",
    "promise": "does not hold an entry that it promised",
}


@click.command(
    epilog="Example: comity audit pardon agencies/sheriff/gateway lapd.example/adapter "
    "--reason 'restored from its backup of 3 May, agreed with LAPD'"
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.argument("origin", required=False)
@click.option("--reason", help="Why: logged with your account, readable where the log's openings are.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def pardon(folder: Path, origin: str | None, reason: str | None, as_json: bool) -> None:
    """Speak again with an end whose log contradicted what it showed before. Without ORIGIN: who is refused.

    DIR is your own end's folder, with its log key; its process may run. The contradiction stays in your log,
    with both checkpoints, and an auditor finds it; the peer's next checkpoint counts as the first of its log.
    Do it only once you know why that log is another one.
    """
    try:
        refused = _refused(folder)
        if origin is None:
            _list(refused, as_json=as_json)
            return
        why = _require_pardonable(refused, origin, reason)
        act = Act(
            kind=PARDONED,
            public={"peer_origin": origin, "contradiction": refused[origin][0]},
            private={"reason": why},
        )
        promise = enter(folder, act)
    except AuditError as problem:
        raise click.UsageError(str(problem)) from problem
    if as_json:
        click.echo(json.dumps({"pardoned": origin, "log": promise.origin, "entry": promise.index}, indent=2))
    else:
        click.echo(f"{origin} is pardoned: entry {promise.index} of {promise.origin}")
        click.echo("a process that runs opens its link or session again by itself, within a minute")


def _refused(folder: Path) -> dict[str, tuple[int, LoggedEntry]]:
    """Return the refused origins of an end's log, each with its `contradiction` and that one's index."""
    log = folder / "log"
    try:
        size = peek_checkpoint((log / "checkpoint").read_bytes()).size
    except OSError as problem:
        raise click.UsageError(f"`{folder}` is no end's folder: it has no `log/checkpoint`") from problem
    tiles = TileFolder(log)
    found: dict[str, tuple[int, LoggedEntry]] = {}
    for origin, index in Summary.read(folder / "wal", tiles, size).refused.items():
        _, leaf = next(tiles.all_entries(index + 1, index))
        found[origin] = index, parse_entry(leaf)
    return found


def _require_pardonable(refused: Collection[str], origin: str, reason: str | None) -> str:
    """Return the reason for which a refused peer is pardoned; raise `UsageError` where there is none."""
    if origin not in refused:
        names = ", ".join(f"`{clean(name)}`" for name in sorted(refused)) or "nobody"
        raise click.UsageError(f"ORIGIN `{clean(origin)}` is not refused here; refused: {names}")
    if reason is None or not reason.strip():
        raise click.UsageError("--reason: a sentence on why that log is another one is right")
    return reason.strip()


def _list(refused: dict[str, tuple[int, LoggedEntry]], *, as_json: bool) -> None:
    if as_json:
        told = [
            {
                "origin": origin,
                "entry": index,
                "at": f"{entry.at:%Y-%m-%dT%H:%M:%SZ}",
                "how": entry.public.get("how"),
                "size": entry.public.get("size"),
                "last_size": entry.public.get("last_size"),
            }
            for origin, (index, entry) in sorted(refused.items())
        ]
        click.echo(json.dumps({"refused": told}, indent=2))
        return
    if not refused:
        click.echo("nobody is refused")
    for origin, (index, entry) in sorted(refused.items()):
        how = _HOW.get(str(entry.public.get("how")), "contradicted itself")
        sizes = f"{entry.public.get('last_size', '?')}, then {entry.public.get('size', '?')} entries"
        click.echo(f"{clean(origin)}  {how} ({sizes})  entry {index}, {entry.at:%Y-%m-%d %H:%M} UTC")
