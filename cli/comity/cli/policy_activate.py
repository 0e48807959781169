"""`comity policy activate`: put a bundle in force at an adapter, by a logged act."""

from __future__ import annotations

import time
from pathlib import Path

import click

from comity.adapters.bundles import install_bundle
from comity.adapters.config import AdapterConfig, load_config
from comity.adapters.errors import AdapterError
from comity.adapters.loading import check_adopted
from comity.audit.acts import SOCKET, Act, enter
from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import POLICY_APPROVED
from comity.audit.errors import AuditError
from comity.audit.summary import Law, Summary
from comity.audit.tiles import TileFolder
from comity.cli.own_end import load_own_end
from comity.cli.policy_sign import hold_all
from comity.cli.reporting import Json, json_option, refused_as_usage, report, stop, working
from comity.policy.adopting import check_succession
from comity.policy.bundle import PolicyBundle, digest_of, read_files
from comity.policy.errors import BundleInvalid, PolicyError
from comity.policy.house.bundle import is_house

WAIT_SECONDS = 15.0
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    name="activate", epilog="Example: comity policy activate drafts/lapd-4 --end agencies/lapd/adapter"
)
@click.argument("folder", metavar="FOLDER", type=_FOLDER)
@click.option("--end", "home", required=True, type=_FOLDER, help="The adapter's folder.")
@click.option(
    "--because",
    metavar="TEXT",
    help="Why an older version follows, or another text under the same version. Logged with your account.",
)
@click.option(
    "--untested",
    is_flag=True,
    help="Also without cases, as the bundles that the adapter kept are, or with cases that do not hold.",
)
@json_option
@refused_as_usage
def command(folder: Path, home: Path, because: str | None, untested: bool, as_json: bool) -> None:
    """Have the adapter of --end decide by the bundle in FOLDER from now on.

    Checks bundle, cases and signature, enters the approval and your account in the adapter's log, and puts
    the files in the place of its policy folder. A running adapter takes them within a second: no exchange is
    dropped, each is answered by the law that decided it. One that doesn't run takes them when it starts.
    """
    if is_house(folder):
        stop("these are house rules: a gateway takes them from the folder that its `[house_rules]` names")
    try:
        config = load_config(home / "adapter.toml")
        member = load_own_end(home).federation.member(config.agency)
        bundle = PolicyBundle.load(folder)
        check_adopted(bundle, config, member)
        cases = 0 if untested else hold_all(folder, bundle)
        before = _law(home)
        if before is not None and before.policy == bundle.digest.hex() and _stands(config, bundle):
            known = f"version {bundle.version} of {bundle.agency} is in force since entry {before.index}"
            report(as_json, {"digest": bundle.digest.hex(), "activated": before.index}, known)
            return
        _require_allowed(bundle, before, because)
        entry = _approve(home, bundle, before, because)
        install_bundle(folder, config.policy)
    except PolicyError as error:
        stop(str(error), status=1)
    except (AdapterError, AuditError) as error:
        stop(str(error))
    law = _awaited(home, bundle) if (home / SOCKET).exists() else None
    told: dict[str, Json] = {
        "agency": bundle.agency,
        "version": bundle.version,
        "digest": bundle.digest.hex(),
        "cases": cases,
        "approved": entry,
        "activated": None if law is None else law.index,
    }
    report(as_json, told, *_lines(bundle, before, law, entry, config))
    if law is None and (home / SOCKET).exists():
        stop(f"it didn't take it within {WAIT_SECONDS:.0f} s: the process says why where it writes", status=1)


def _stands(config: AdapterConfig, bundle: PolicyBundle) -> bool:
    """Return whether a bundle stands in the adapter's policy folder already."""
    try:
        return digest_of(read_files(config.policy)) == bundle.digest
    except BundleInvalid:
        return False


def _require_allowed(bundle: PolicyBundle, law: Law | None, because: str | None) -> None:
    if because is None:
        check_succession(bundle, law)
    elif not because.strip():
        raise click.UsageError("--because: a sentence on why an older law is to be in force")


def _approve(home: Path, bundle: PolicyBundle, law: Law | None, because: str | None) -> int:
    """Enter the approval in the end's log; return its index."""
    act = Act(
        kind=POLICY_APPROVED,
        public={
            "agency": bundle.agency,
            "policy": bundle.digest.hex(),
            "version": bundle.version,
            "follows": "" if law is None else law.policy,
        },
        private={"reason": (because or "").strip()},
    )
    return enter(home, act).index


def _law(home: Path) -> Law | None:
    """Return what the adapter's log, as it is published, has in force; None: nothing yet."""
    log = home / "log"
    try:
        size = peek_checkpoint((log / "checkpoint").read_bytes()).size
    except FileNotFoundError:
        return None
    law = Summary.read(home / "wal", TileFolder(log), size).law
    return law if law.policy else None


def _awaited(home: Path, bundle: PolicyBundle) -> Law | None:
    """Return what is in force once the running adapter has taken a bundle; None: it didn't in time."""
    give_up = time.monotonic() + WAIT_SECONDS
    with working("waiting for the adapter to take it"):
        while time.monotonic() < give_up:
            law = _law(home)
            if law is not None and law.policy == bundle.digest.hex():
                return law
            time.sleep(0.2)
    return None


def _lines(
    bundle: PolicyBundle, before: Law | None, law: Law | None, entry: int, config: AdapterConfig
) -> list[str]:
    was = "" if before is None else f", after version {before.version}"
    lines = [
        f"version {bundle.version} of {bundle.agency}{was}",
        f"digest    {bundle.digest.hex()}",
        f"approved  entry {entry}",
    ]
    if law is not None:
        return [*lines, f"in force  since entry {law.index}"]
    return [*lines, f"in force  when the adapter takes `{config.policy}`"]
