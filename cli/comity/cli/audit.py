"""`comity audit`: verify logs from copies of their folders, make the trust file, show what a log says."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from comity.audit.errors import AuditError, TrustInvalid
from comity.audit.evidence import EvidenceReport, is_evidence, verify_evidence
from comity.audit.redaction import OPENINGS, OpenedReport, check_opened, has_openings
from comity.audit.retrieval.folder import RecordsReport, check_records, is_records
from comity.audit.trust import Trust, make_policy, make_trust
from comity.audit.verify import LogReport, Verification, find_logs, verify_folders
from comity.certs.errors import CertsError
from comity.certs.files import write_public
from comity.cli.audit_close_contract import close_contract
from comity.cli.audit_pardon import pardon
from comity.cli.audit_prove import evidence_json, print_evidence, prove
from comity.cli.audit_reconcile import reconcile
from comity.cli.audit_redact import opened_json, records_json, records_lines, redact_copy
from comity.cli.audit_retain import hold, retain
from comity.cli.audit_retrieve import retrieve
from comity.cli.audit_review import command as review
from comity.cli.audit_rotate_key import rotate_key
from comity.cli.audit_search import command as search
from comity.cli.audit_show import read_page, render, to_json
from comity.cli.audit_statistics import command as statistics
from comity.cli.plain import clean

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)
PIPED_WIDTH = 100


@click.group(
    name="audit", epilog="Example: comity audit verify copies/ --trust trust.json; see each command's --help"
)
def group() -> None:
    """Signed logs: verify copies of them, make the trust file, show what they say."""


@group.command(
    epilog="Example: comity audit verify copies/lapd copies/broker --trust trust.json  "
    "Exit status: 0 all verify, 1 a finding, 2 no log found or the trust file can't be used."
)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=_FOLDER)
@click.option(
    "--trust",
    "trust_file",
    required=True,
    type=_FILE,
    help="File that `comity audit trust` made, kept apart; or a tlog-policy file.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def verify(folders: tuple[Path, ...], trust_file: Path, as_json: bool) -> None:
    """Verify logs from copies of their folders and a trust file, with nothing else of an end's.

    DIR is a `log/` folder, an end's folder, or a folder that holds several. Give the logs of all ends that
    are at hand: a tail that was cut and signed again shows only in a counterparty's log. A folder that
    `comity audit prove`, `retrieve` or `redact` wrote is verified too.
    """
    try:
        trust = Trust.load(trust_file)
    except TrustInvalid as problem:
        raise click.UsageError(str(problem)) from problem
    proofs = [folder for folder in folders if is_evidence(folder)]
    records = [_check_records(folder, trust) for folder in folders if is_records(folder)]
    folders = tuple(folder for folder in folders if not is_evidence(folder) and not is_records(folder))
    logs = find_logs(folders)
    for folder in folders:
        if not find_logs([folder]):
            raise click.UsageError(
                f"no log found in `{folder}`: a folder with `checkpoint` and `tile` is right"
            )
    result = verify_folders(logs, trust)
    checked = [report.checked for report in result.logs if report.checked is not None]
    evidence = [verify_evidence(folder, trust, checked) for folder in proofs]
    opened = [check_opened(log) for log in logs if has_openings(log)]
    if as_json:
        click.echo(json.dumps(verification_json(result, evidence, records, opened), indent=2))
    else:
        console = _console()
        for report in evidence:
            print_evidence(report, console)
        for found in records:
            _print_records(found, console)
        for one in opened:
            _print_opened(one, console)
        if logs:
            others = [not one.verified for one in evidence] + [not one.verified for one in records]
            print_verification(
                result, console, others=sum(others) + sum(bool(one.findings) for one in opened)
            )
    proven = all(one.verified for one in evidence) and all(one.verified for one in records)
    is_good = (result.verified or not logs) and proven
    if not is_good or any(one.findings for one in opened):
        raise SystemExit(1)


for command in (close_contract, hold, pardon, prove, redact_copy, retain, retrieve):
    group.add_command(command)
group.add_command(reconcile)
group.add_command(rotate_key)
group.add_command(review)
group.add_command(search)
group.add_command(statistics)


@group.command(epilog="Example: comity audit trust --public federation/public --out trust.json")
@click.option(
    "--public", required=True, type=_FOLDER, help="The published folder: authority.json and roster.json."
)
@click.option("--out", required=True, type=_FILE, help="Where the trust file goes.")
@click.option(
    "--quorum",
    type=click.IntRange(min=0),
    help="Write a tlog-policy file instead, in which so many of the other ends must have cosigned.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def trust(public: Path, out: Path, quorum: int | None, as_json: bool) -> None:
    """Make the trust file that an auditor keeps: the authority's pinned keys and the signed roster.

    Make it early and keep it apart from the logs: what it pins is what later counts as true.
    """
    try:
        made = make_trust(public)
        if quorum is not None:
            made = make_policy(Trust.parse(made), quorum=quorum)
        write_public(out, made)
    except (TrustInvalid, CertsError) as problem:
        raise click.UsageError(str(problem)) from problem
    found = Trust.load(out)
    if as_json:
        roster = {"federation": found.federation or None, "roster_version": found.roster_version or None}
        told = {"out": str(out), **roster, "quorum": quorum, "logs": sorted(found.logs)}
        click.echo(json.dumps(told, indent=2))
        return
    if quorum is not None:
        click.echo(f"{out}: tlog-policy, keys of {len(found.logs)} logs, a quorum of {quorum} witnesses")
        return
    click.echo(f"{out}: {found.federation}, roster {found.roster_version}, keys of {len(found.logs)} logs")


@group.command(epilog="Example: comity audit show agencies/lapd/adapter --kind decided --last 5")
@click.argument("folder", metavar="DIR", type=_FOLDER)
@click.option(
    "--openings",
    default="auto",
    show_default=True,
    help="`auto`: from `state.db` beside `log/`; `none`; or the path of a `state.db`.",
)
@click.option("--exchange", help="Only entries of the exchange whose id begins so, in hex.")
@click.option("--kind", help="Only entries of this kind, for example `asked` or `decided`.")
@click.option("--last", type=click.IntRange(min=1), help="Only the last N of what is left.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(
    folder: Path, openings: str, exchange: str | None, kind: str | None, last: int | None, as_json: bool
) -> None:
    """Show what one log says, with private fields where their openings are at hand.

    Each opening is checked against its commitment; what can't be opened here is `closed`. This reads, it does
    not verify the log: `comity audit verify` does.
    """
    logs = find_logs([folder])
    if len(logs) != 1:
        found = "\n".join(f"  {path}" for path in logs) or "  none"
        raise click.UsageError(f"`{folder}` must hold one log, found:\n{found}")
    try:
        page = read_page(logs[0], openings=_openings_file(logs[0], openings))
        page = page.only(exchange=exchange, kind=kind, last=last)
    except AuditError as problem:
        raise click.UsageError(str(problem)) from problem
    if as_json:
        click.echo(json.dumps(to_json(page), indent=2, ensure_ascii=False))
    else:
        render(page, _console())
    if page.faults:
        raise SystemExit(1)


def verification_json(
    result: Verification,
    evidence: Sequence[EvidenceReport] = (),
    records: Sequence[RecordsReport] = (),
    opened: Sequence[OpenedReport] = (),
) -> dict[str, object]:
    """Return a verification for scripts: `logs`, `findings` about logs that weren't given, `verified`.

    `evidence`, `records` and `opened` (beside redacted copies) stand there only if there are some.
    """
    whole: dict[str, object] = {
        "verified": (result.verified or not result.logs)
        and all(report.verified for report in evidence)
        and all(report.verified for report in records)
        and not any(one.findings for one in opened),
        "logs": [_log_json(log) for log in result.logs],
        "findings": list(result.findings),
    }
    if evidence:
        whole["evidence"] = [evidence_json(report) for report in evidence]
    if records:
        whole["records"] = [records_json(report) for report in records]
    if opened:
        whole["opened"] = [opened_json(one) for one in opened]
    return whole


def _check_records(folder: Path, trust: Trust) -> RecordsReport:
    return check_records(
        folder, trust, lambda done, whole: click.echo(f"{folder}: {done} of {whole} records", err=True)
    )


def _print_records(found: RecordsReport, console: Console) -> None:
    mark = Text("ok  ", style="green") if found.verified else Text("FAIL", style="bold red")
    head, lines, findings = records_lines(found)
    console.print(mark, Text(clean(head)), soft_wrap=True)
    for line in lines:
        console.print(Text(f"     {clean(line)}"), soft_wrap=True)
    for finding in findings:
        console.print(Text(f"     - {clean(finding)}", style="red"), soft_wrap=True)


def _print_opened(found: OpenedReport, console: Console) -> None:
    mark = Text("FAIL", style="bold red") if found.findings else Text("ok  ", style="green")
    true = f"{found.opened} private fields are open and true"
    words = true if not found.findings else f"{true}, and what is named below is not"
    console.print(mark, Text(clean(f"{words}  {found.path}")), soft_wrap=True)
    for finding in found.findings:
        console.print(Text(f"     - {clean(finding)}", style="red"), soft_wrap=True)


def print_verification(result: Verification, console: Console, *, others: int = 0) -> None:
    """Print one line a log, each finding below its log, and the verdict.

    `others` are evidence, records and openings that were verified beside the logs, and did not.
    """
    for log in result.logs:
        mark = Text("ok  ", style="green") if log.verified else Text("FAIL", style="bold red")
        name, path = clean(log.origin) or clean(str(log.path)), clean(str(log.path))
        whose = f"{log.agency or 'unknown'} {log.end}".strip()
        console.print(mark, Text(f"{name:<32} {whose:<20} {log.size:>8} entries  {path}"), soft_wrap=True)
        for finding in log.findings:
            console.print(Text(f"     - {clean(finding)}", style="red"), soft_wrap=True)
    for finding in result.findings:
        console.print(Text(f"FAIL {clean(finding)}", style="red"), soft_wrap=True)
    beside = (
        f"; {others} {'folder' if others == 1 else 'folders'} beside them, named above, did not"
        if others
        else ""
    )
    console.print(Text(_verdict(result) + beside, style="bold"))


def _verdict(result: Verification) -> str:
    bad = [log for log in result.logs if not log.verified]
    count = sum(len(log.findings) for log in bad) + len(result.findings)
    if result.verified:
        many = len(result.logs) != 1
        return f"verdict: {len(result.logs)} {'logs verify' if many else 'log verifies'}"
    findings = f"{count} finding{'s' if count != 1 else ''}"
    return f"verdict: {len(bad)} of {len(result.logs)} logs do not verify, {findings}"


def _log_json(log: LogReport) -> dict[str, object]:
    return {
        "end": log.end,
        "agency": log.agency,
        "path": str(log.path),
        "origin": log.origin,
        "size": log.size,
        "verified": log.verified,
        "findings": list(log.findings),
    }


def _openings_file(log: Path, wanted: str) -> Path | None:
    if wanted == "none":
        return None
    beside = log.absolute().parent
    path = Path(wanted)
    if wanted == "auto":
        path = beside / OPENINGS if has_openings(log) else beside / "state.db"
    if path.is_file():
        return path
    if wanted != "auto":
        raise click.UsageError(f"openings: no file `{path}`; `auto`, `none` or a `state.db` is right")
    return None


def _console() -> Console:
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=PIPED_WIDTH)
