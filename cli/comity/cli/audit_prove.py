"""`comity audit prove`: evidence of one exchange, for somebody who trusts nobody."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from comity.audit.errors import AuditError, EvidenceInvalid
from comity.audit.evidence import EvidenceReport, prove_exchange, write_evidence
from comity.audit.note import note_signers
from comity.audit.verify import find_logs
from comity.certs.errors import CertsError
from comity.cli.plain import clean

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    epilog="Example: comity audit prove agencies/lapd/adapter --exchange 9f3a --open case --open reason "
    "--out evidence/  Then: comity audit verify evidence/ --trust trust.json"
)
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option("--exchange", required=True, help="The exchange's id in hex, or as much of it as is unique.")
@click.option(
    "--open",
    "opened",
    multiple=True,
    metavar="NAME",
    help="A private field to open, for example `case`; `all` opens every one. Default: none.",
)
@click.option(
    "--content", is_flag=True, help="Also the query and the result's detail, whole: they tell the plate."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A new folder for the evidence; its files are readable by you alone.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def prove(
    folder: Path, exchange: str, opened: tuple[str, ...], content: bool, out: Path, as_json: bool
) -> None:
    """Export one exchange from an end's log: entries with proofs, envelopes, and the openings you choose.

    DIR is an end's folder, whose `state.db` holds the openings, or a `log/` folder, which has none. What you
    do not open stays a commitment: whoever gets the evidence learns nothing of it.
    """
    logs = find_logs([folder])
    if len(logs) != 1:
        raise click.UsageError(f"`{folder}` must hold one log, found {len(logs)}")
    state = logs[0].absolute().parent / "state.db"
    try:
        names = None if "all" in opened else opened
        proven = prove_exchange(
            logs[0], state if state.is_file() else None, exchange, opened=names, content=content
        )
        unknown = sorted(set(names or ()) - {n for one in proven for n in one.entry.commitments})
        if unknown:
            known = ", ".join(sorted({n for one in proven for n in one.entry.commitments})) or "none"
            raise EvidenceInvalid(f"open `{unknown[0]}`: the exchange's private fields are {known}")
        written = write_evidence(out, proven)
    except (AuditError, CertsError) as problem:
        raise click.UsageError(str(problem)) from problem
    except OSError as problem:
        raise click.UsageError(f"`{out}`: {(problem.strerror or 'unwritable').lower()}") from problem
    claimed = proven[0].proof.claimed
    cosigners = list(
        dict.fromkeys(name for name, _ in note_signers(proven[0].proof.checkpoint) if name != claimed.origin)
    )
    fields = sorted({opening.name for one in proven for opening in one.openings})
    if as_json:
        told = {
            "exchange": proven[0].exchange.hex(),
            "out": str(out),
            "checkpoint": {"size": claimed.size, "cosigned_by": cosigners},
            "entries": [{"index": one.index, "kind": one.entry.kind} for one in proven],
            "opened": fields,
            "files": [path.name for path in written],
        }
        click.echo(json.dumps(told, indent=2))
        return
    kinds = ", ".join(f"{one.index} {one.entry.kind}" for one in proven)
    click.echo(f"{out}: {len(written)} files; entries {kinds}; opened: {', '.join(fields) or 'nothing'}")
    by = f"cosigned by {', '.join(map(clean, cosigners))}" if cosigners else "cosigned by nobody"
    click.echo(f"proven in the checkpoint of {claimed.size} entries, {by}")
    click.echo(f"verify it with: comity audit verify {out} --trust trust.json")


def evidence_json(report: EvidenceReport) -> dict[str, object]:
    """Return a report about evidence for scripts."""
    return {
        "path": str(report.path),
        "origin": report.origin,
        "exchange": report.exchange,
        "verified": report.verified,
        "entries": list(report.entries),
        "opened": dict(report.opened),
        "statements": list(report.statements),
        "findings": list(report.findings),
    }


def print_evidence(report: EvidenceReport, console: Console) -> None:
    """Print what a folder of evidence proves, and what is wrong with it."""
    mark = Text("ok  ", style="green") if report.verified else Text("FAIL", style="bold red")
    head = f"{clean(report.origin) or 'unknown log'}: exchange {report.exchange or 'unknown'}  {report.path}"
    console.print(mark, Text(clean(head)), soft_wrap=True)
    for entry in report.entries:
        console.print(Text(f"     entry {clean(entry)}"), soft_wrap=True)
    for name, value in report.opened.items():
        console.print(Text(f"     opened {clean(name)}: {clean(value) or 'none'}"), soft_wrap=True)
    for statement in report.statements:
        console.print(Text(f"     {clean(statement)}"), soft_wrap=True)
    for finding in report.findings:
        console.print(Text(f"     - {clean(finding)}", style="red"), soft_wrap=True)
