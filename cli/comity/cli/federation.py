"""`comity federation`: the governing authority's commands."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from comity.certs.authority import (
    FederationSpec,
    admit,
    authority_pin,
    init_federation,
    read_application,
    refresh,
    remove,
    rotate_authority,
    suspend,
)
from comity.certs.clock import utc_now
from comity.certs.errors import ApplicationInvalid, RosterInvalid
from comity.certs.files import read_public
from comity.certs.roster import ROSTER_FILE, AuthorityPin, Federation, MemberView
from comity.certs.successions import Succession
from comity.cli.logkeys import make_log_key
from comity.cli.reporting import Json, json_option, refused_as_usage, report, spelled, stop, working

_FOLDER = click.Path(path_type=Path, file_okay=False)
_DIR = click.option("--dir", "folder", type=_FOLDER, required=True, help="The federation's folder.")


@click.group(
    name="federation",
    short_help="The governing authority: init, admit, refresh.",
    epilog="Example: comity federation show --dir fed",
)
def group() -> None:
    """Found a federation, admit its members, and keep its signed roster fresh.

    The authority's keys (fed/authority), the operator's (fed/operator) and what is published (fed/public)
    are made in one folder and can part: nobody but the authority needs its keys.
    """


@group.command(
    "init",
    epilog="Example: comity federation init fed --name 'County federation' --broker 127.0.0.1:7400 "
    "--authority-keys 3 --threshold 2",
)
@click.argument("folder", type=_FOLDER, metavar="DIR")
@click.option("--name", required=True, help="The federation's name.")
@click.option("--broker", required=True, metavar="ADDRESS:PORT", help="Where the broker listens.")
@click.option("--operator-domain", default="operator.example", show_default=True, help="Its domain.")
@click.option("--operator-name", default="Federation operator", show_default=True, help="Its name.")
@click.option("--operator-contact", default="", help="Whom to ask there.  [default: operations@DOMAIN]")
@click.option("--authority-keys", type=int, default=1, show_default=True, help="Keys to make.")
@click.option("--threshold", type=int, default=1, show_default=True, help="How many of them must sign.")
@click.option("--leaf-days", type=int, default=90, show_default=True, help="Days the broker's leaf lives.")
@click.option("--roster-days", type=int, default=365, show_default=True, help="Days a roster is trusted.")
@click.option(
    "--timestamp-hours",
    type=int,
    default=720,
    show_default=True,
    help="Hours a roster's timestamp is trusted: for so long an old roster can pass for the newest. "
    "A deployment chooses a day or less; the default lets a kept demonstration start again weeks later.",
)
@json_option
@refused_as_usage
def init_command(
    folder: Path,
    name: str,
    broker: str,
    operator_domain: str,
    operator_name: str,
    operator_contact: str,
    authority_keys: int,
    threshold: int,
    leaf_days: int,
    roster_days: int,
    timestamp_hours: int,
    as_json: bool,
) -> None:
    """Make the authority, the operator's broker and an empty signed roster in DIR.

    Nothing that is there is overwritten.
    """
    spec = FederationSpec(
        name=name,
        broker=broker,
        operator_domain=operator_domain,
        operator_name=operator_name,
        operator_contact=operator_contact,
        authority_keys=authority_keys,
        threshold=threshold,
        leaf_lifetime=_days(leaf_days),
        roster_lifetime=_days(roster_days),
        timestamp_lifetime=timedelta(hours=min(max(timestamp_hours, 0), 1_000_000)),
    )
    with working("making keys"):
        federation = init_federation(folder, spec, utc_now(), make_log_key=make_log_key)
    _report(
        federation,
        as_json,
        f"federation `{federation.name}` founded in {folder}",
        f"authority   {authority_keys} key(s), {threshold} must sign: keep {folder / 'authority'} offline",
        f"publish     {folder / 'public'}; ends pin authority.json out of band",
        f"broker      comity broker serve --config {folder / 'operator' / 'broker' / 'broker.toml'}",
    )


@group.command("admit", epilog="Example: comity federation admit agencies/lapd/application.json --dir fed")
@click.argument(
    "applications",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="APPLICATION.json...",
)
@_DIR
@click.option("--new-identity", is_flag=True, help="A member's new identity key was confirmed in person.")
@json_option
@refused_as_usage
def admit_command(applications: tuple[Path, ...], folder: Path, new_identity: bool, as_json: bool) -> None:
    """Admit agencies by their applications, or bring members up to date, in a new signed roster.

    An application proves that its sender holds the identity key it names. Who that is you find out by
    other means before you admit anybody.
    """
    found = [_application(path) for path in applications]
    pin = authority_pin(folder)
    roster = read_public(folder / "public" / ROSTER_FILE)
    before = _successions(Federation.for_evidence(roster=roster, pin=pin))
    with working("checking applications"):
        federation = admit(folder, found, utc_now(), new_identity=new_identity)
    _report(
        federation,
        as_json,
        f"roster version {federation.version}: {', '.join(federation.members)}",
        *(
            f"identity key of `{step.agency}`: {step.new.key_id}, for which {step.old.key_id} vouches; that "
            f"counts until {spelled(step.old_until)}"
            for step in _successions(federation)
            if step not in before
        ),
    )


@group.command("refresh", epilog="Example: comity federation refresh --dir fed")
@_DIR
@json_option
@refused_as_usage
def refresh_command(folder: Path, as_json: bool) -> None:
    """Sign a new timestamp, and a new roster if the old one ends within 30 days."""
    federation = refresh(folder, utc_now())
    _report(
        federation,
        as_json,
        f"roster version {federation.version}: trusted until {spelled(federation.trusted_until)}",
    )


@group.command(
    "rotate-authority",
    epilog="Example: comity federation rotate-authority --dir fed --authority-keys 3 --threshold 2",
)
@_DIR
@click.option("--authority-keys", type=int, default=1, show_default=True, help="Keys to make.")
@click.option("--threshold", type=int, default=1, show_default=True, help="How many of them must sign.")
@json_option
@refused_as_usage
def rotate_authority_command(folder: Path, authority_keys: int, threshold: int, as_json: bool) -> None:
    """Replace the authority's keys by new ones, in a change that the old and the new sign.

    Ends that pinned the old keys follow it by themselves; nothing is pinned anew. As many of the old keys as
    must sign have to be at hand: where they are lost, only pinning anew helps. What was interrupted goes on
    when this is called again.
    """
    with working("making keys"):
        federation = rotate_authority(folder, utc_now(), keys=authority_keys, threshold=threshold)
    retired = max(folder.glob("authority/retired-*"), key=lambda path: int(path.name.partition("-")[2]))
    _report(
        federation,
        as_json,
        f"roster version {federation.version}, signed by the old keys and the new ones",
        f"publish     {folder / 'public'}; ends follow authority-change-*.json by themselves",
        f"destroy     {retired}: ends that were away until now still trust these keys",
    )


@group.command("suspend", epilog="Example: comity federation suspend lapd --dir fed")
@click.argument("agency")
@_DIR
@click.option("--lift", is_flag=True, help="Lift the suspension.")
@json_option
@refused_as_usage
def suspend_command(agency: str, folder: Path, lift: bool, as_json: bool) -> None:
    """Suspend AGENCY in a new signed roster: no link, no session, nothing asked."""
    federation = suspend(folder, agency, utc_now(), suspended=not lift)
    word = "is a member again" if lift else "is suspended"
    _report(federation, as_json, f"roster version {federation.version}: `{agency}` {word}")


@group.command("remove", epilog="Example: comity federation remove harbor --dir fed --yes")
@click.argument("agency")
@_DIR
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@refused_as_usage
def remove_command(agency: str, folder: Path, yes: bool, as_json: bool) -> None:
    """Take AGENCY out of the roster for good: it leaves, or was expelled.

    Its links and sessions close, nobody asks it or answers it, and its agreements do nothing any more. What
    was signed in its time goes on verifying. To stop it for a while, `suspend` it.
    """
    if not yes:
        click.confirm(f"Take `{agency}` out of the roster?", abort=True, err=True)
    federation = remove(folder, agency, utc_now())
    _report(federation, as_json, f"roster version {federation.version}: `{agency}` is no member any more")


@group.command("show", epilog="Example: comity federation show --dir fed --pin authority.json")
@_DIR
@click.option(
    "--pin",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The authority's keys as you got them out of band.  [default: those published in --dir]",
)
@json_option
@refused_as_usage
def show_command(folder: Path, pin: Path | None, as_json: bool) -> None:
    """Verify the published roster as an end would, and show it; --dir may be the public folder itself.

    Exit status 1 if it doesn't verify or is past its time.
    """
    public = folder if (folder / ROSTER_FILE).is_file() else folder / "public"
    pinned = AuthorityPin.load(pin) if pin is not None else None
    try:
        federation = Federation.load(public, now=utc_now(), pin=pinned)
    except RosterInvalid as error:
        report(as_json, {"valid": False, "finding": str(error)})
        stop(str(error), status=1)
    _report(
        federation,
        as_json,
        f"federation   {federation.name}",
        f"roster       version {federation.version}, until {spelled(federation.expires_at)}",
        f"timestamp    until {spelled(federation.timestamp_expires_at)}",
        f"operator     {federation.operator.display_name} ({federation.operator.domain})",
        "",
        *_table(federation),
    )


def _successions(federation: Federation) -> list[Succession]:
    """Return every succession of an identity key that a roster names."""
    everybody = (federation.operator, *federation.members.values())
    return [step for member in everybody for step in member.successions]


def _application(path: Path) -> bytes:
    """Return the application in `path` once it verifies by itself; raise `ApplicationInvalid`, naming it."""
    data = read_public(path)
    try:
        read_application(data)
    except ApplicationInvalid as error:
        raise ApplicationInvalid(f"file `{path}`: {error}") from error
    return data


def _days(days: int) -> timedelta:
    """Return so many days; absurd numbers are cut, to be refused with the others."""
    return timedelta(days=min(max(days, 0), 100_000))


def _report(federation: Federation, as_json: bool, *lines: str) -> None:
    """Print a federation as JSON, or `lines`."""
    values: dict[str, Json] = {
        "valid": True,
        "federation": federation.name,
        "version": federation.version,
        "expires_at": spelled(federation.expires_at),
        "trusted_until": spelled(federation.trusted_until),
        "operator": _values(federation.operator),
        "members": [_values(member) for member in federation.members.values()],
    }
    report(as_json, values, *lines)


def _values(member: MemberView) -> dict[str, Json]:
    """Return one member for JSON."""
    return {
        "agency": member.agency,
        "name": member.display_name,
        "kind": member.kind,
        "domain": member.domain,
        "state": member.state,
        "contact": member.contact,
        "asks": member.asks,
        "provides": member.provides,
        "suspended": member.suspended,
        "lapsed": member.lapsed or None,
        "identity_key": member.identity_key.key_id,
        "identity_keys_before": [step.old.key_id for step in member.successions],
        "key_set_version": member.key_set.version,
        "logs": {log_key.origin: log_key.verifier_key for log_key in member.key_set.log_keys},
    }


def _table(federation: Federation) -> list[str]:
    """Return one line a member, under a heading."""
    rows = [("AGENCY", "KIND", "ASKS", "PROVIDES", "DOMAIN", "NAME")]
    for member in federation.members.values():
        asks, provides = ("yes" if value else "no" for value in (member.asks, member.provides))
        out = " (suspended)" if member.suspended else " (lapsed)" if member.lapsed else ""
        name = member.display_name + out
        rows.append((member.agency, member.kind, asks, provides, member.domain, name))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]])
        for row in rows
    ]
