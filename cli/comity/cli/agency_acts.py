"""`comity agency terminate-user` and `readmit-user`: an agency's signed acts about its own users (Q8)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.envelope import digest, to_json
from comity.certs.errors import CertsError, SetupRefused
from comity.certs.files import write_private
from comity.certs.keys import SigningKey
from comity.certs.user_acts import FOLDER, NEW, file_name, sign_user_act
from comity.cli.parameters import TimeType
from comity.cli.reporting import json_option, refused_as_usage, report, spelled

_DIR = click.option(
    "--dir",
    "home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The agency's folder.",
)


@click.command(
    "terminate-user", epilog="Example: comity agency terminate-user j.ortega --dir fed/agencies/sheriff"
)
@click.argument("user")
@_DIR
@json_option
@refused_as_usage
def terminate_user(user: str, home: Path, as_json: bool) -> None:
    """End USER's access at once, at the agency's own gateway and at every provider (Q8).

    The act is signed with the gateway's statement key and put where the gateway takes it up, within a second
    if it runs. It logs it, lets go of what USER has in flight, tells every provider with which it has a
    session, and every other one before the next question. Close the account at your identity provider too.
    """
    _act(user, home, terminates=True, recertified=None, as_json=as_json)


@click.command(
    "readmit-user",
    epilog="Example: comity agency readmit-user j.ortega --dir fed/agencies/sheriff "
    "--recertified 2026-10-02T15:00",
)
@click.argument("user")
@_DIR
@click.option(
    "--recertified",
    type=TimeType(),
    metavar="TIME",
    help="When USER was certified again (UTC); a suspension that began before ends by it.  A day alone is "
    "its first instant.",
)
@json_option
@refused_as_usage
def readmit_user(user: str, home: Path, recertified: datetime | None, as_json: bool) -> None:
    """Give USER access again: after a termination, or after recertification where a provider suspended them.

    The act is signed and taken up as that of `terminate-user`. Providers end a suspension by it as their
    policies say (Q8): it must have been signed, and USER certified again, after the suspension began.
    """
    if recertified is not None and recertified > utc_now():
        raise click.BadParameter(f"`{spelled(recertified)}` has not come yet", param_hint="--recertified")
    _act(user, home, terminates=False, recertified=recertified, as_json=as_json)


def _act(user: str, home: Path, *, terminates: bool, recertified: datetime | None, as_json: bool) -> None:
    """Sign an act and put it where the gateway finds it."""
    agency, now = AgencyHome.load(home), utc_now()
    gateway = home / "gateway"
    if not (gateway / "gateway.toml").is_file():
        raise SetupRefused(f"agency `{agency.agency}` asks nobody: there is no gateway in `{gateway}`")
    key = SigningKey.load(gateway / "keys" / "statement.key")
    member = agency.federation(now).member(agency.agency)
    if key.public not in member.key_set.statement_keys_at(now):
        path = gateway / "keys" / "statement.key"
        if member.revokes(key.public):
            raise SetupRefused(f"`{path}` is revoked: another one first (comity certs rotate statement-key)")
        raise SetupRefused(f"`{path}` is none that the roster names now")
    act = sign_user_act(
        key,
        agency=agency.agency,
        user=user,
        terminates=terminates,
        given_at=now,
        recertified_at=recertified,
    )
    path = gateway / FOLDER / NEW / file_name(digest(act.payload))
    write_private(path, to_json(act))
    word = "access ends" if terminates else "access is given back"
    lines = [
        f"user `{user}`: {word} at {spelled(now)}",
        f"act            {path}",
        "in force       within a second where the gateway runs, else when it starts",
    ]
    if terminates:
        lines.append("next           close the account at your identity provider")
    elif recertified is None:
        lines.append(
            "note           a provider's suspension may want --recertified TIME, after it began (Q8)"
        )
        lines.append(f"next           comity agency suspensions --dir {home}")
    else:
        lines.append(f"next           comity agency suspensions --dir {home}: whose access has returned")
    if not _is_known(agency, user):
        lines.append(f"note           no user `{user}` is in the identity provider: check the spelling")
    report(
        as_json,
        {
            "user": user,
            "agency": agency.agency,
            "act": "termination" if terminates else "readmission",
            "given_at": spelled(now),
            "recertified_at": None if recertified is None else spelled(recertified.astimezone(UTC)),
            "file": str(path),
        },
        *lines,
    )


def _is_known(agency: AgencyHome, user: str) -> bool:
    """Return whether the demonstration's identity provider has the user, or there is none to ask."""
    try:
        return user in agency.identity_provider().users()
    except CertsError:
        return True
