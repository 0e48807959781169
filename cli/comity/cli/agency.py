"""`comity agency`: an agency's own commands: keys, users, client systems, assertions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from comity.certs.agency import AgencyHome, AgencySpec, OwnIdentityProvider, init_agency
from comity.certs.clock import utc_now
from comity.certs.errors import CertificateRejected, SetupRefused
from comity.certs.files import read_public
from comity.certs.identity_provider import User
from comity.certs.roster import AuthorityPin
from comity.certs.words import AGENCY_KINDS
from comity.certs.x509 import split_pem
from comity.cli import agency_calendar, agency_idp
from comity.cli.agency_acts import readmit_user, terminate_user
from comity.cli.agency_users import suspensions, users
from comity.cli.logkeys import make_log_key
from comity.cli.reporting import Day, json_option, refused_as_usage, report, spelled, stop, working

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_DIR = click.option("--dir", "home", type=_FOLDER, required=True, help="The agency's folder.")


@click.group(
    name="agency",
    short_help="An agency: keys, users, client systems, assertions.",
    epilog="Example: comity agency init lapd --dir fed/agencies/lapd --kind local --state CA "
    "--domain lapd.example --name 'Los Angeles Police' --contact alpr@lapd.example --asks --provides "
    "--public fed/public --broker 127.0.0.1:7400",
)
def group() -> None:
    """Set up an agency's ends, its client systems, and the users of its demonstration identity provider."""


group.add_command(agency_calendar.command)
group.add_command(agency_idp.command)


@group.command(
    "init",
    epilog="Example: comity agency init lapd --dir fed/agencies/lapd --kind local --state CA "
    "--domain lapd.example --name 'Los Angeles Police' --contact alpr@lapd.example --asks --provides "
    "--public fed/public --broker 127.0.0.1:7400",
)
@click.argument("agency", metavar="ID")
@_DIR
@click.option("--kind", required=True, type=click.Choice(AGENCY_KINDS), help="Its kind.")
@click.option("--domain", required=True, help="Its domain: its CA can issue these names alone.")
@click.option("--name", required=True, help="Its name for people.")
@click.option("--contact", required=True, help="Whom to ask about its data.")
@click.option("--state", default="", help="State of its jurisdiction, such as CA; none if left out.")
@click.option("--asks", is_flag=True, help="It asks: make a gateway.")
@click.option("--provides", is_flag=True, help="It provides: make an adapter.")
@click.option("--public", required=True, type=_FOLDER, help="The federation's public folder.")
@click.option(
    "--pin",
    type=_FILE,
    help="authority.json as you got it out of band; kept, and every roster is checked against it.  "
    "[default: the one in --public]",
)
@click.option("--broker", required=True, metavar="ADDRESS:PORT", help="Where the broker listens.")
@click.option(
    "--gateway-listen",
    default="127.0.0.1:7443",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where the gateway listens for the agency's own systems.",
)
@click.option("--leaf-days", type=int, default=90, show_default=True, help="Days its leaves live.")
@click.option("--issuer", help="URL of the agency's own identity provider (with --jwks).")
@click.option("--jwks", type=_FILE, help="Its public keys, a JWK set with an ES256 key (with --issuer).")
@json_option
@refused_as_usage
def init_command(
    agency: str,
    home: Path,
    kind: str,
    domain: str,
    name: str,
    contact: str,
    state: str,
    asks: bool,
    provides: bool,
    public: Path,
    pin: Path | None,
    broker: str,
    gateway_listen: str,
    leaf_days: int,
    issuer: str | None,
    jwks: Path | None,
    as_json: bool,
) -> None:
    """Make the agency ID: identity key, CA, its ends with keys and configuration, and an application.

    Without --issuer and --jwks an agency that asks gets a small identity provider for demonstrations.
    Nothing that is there is overwritten.
    """
    if (issuer is None) != (jwks is None):
        raise click.UsageError("--issuer and --jwks go together: give both or neither")
    own = None
    if issuer is not None and jwks is not None:
        own = OwnIdentityProvider(issuer=issuer, jwks=read_public(jwks))
    spec = AgencySpec(
        agency=agency,
        home=home,
        kind=kind,
        domain=domain,
        name=name,
        contact=contact,
        state=state,
        asks=asks,
        provides=provides,
        public=public,
        pin=AuthorityPin.load(pin) if pin is not None else None,
        broker=broker,
        gateway_listen=gateway_listen,
        leaf_lifetime=timedelta(days=min(max(leaf_days, 0), 100_000)),
        identity_provider=own,
    )
    with working("making keys"):
        init_agency(spec, utc_now(), make_log_key=make_log_key)
    application = home / "application.json"
    ends = [role for role, runs in (("gateway", asks), ("adapter", provides)) if runs]
    configurations = {role: str(home / role / f"{role}.toml") for role in ends}
    report(
        as_json,
        {"agency": agency, "dir": str(home), "application": str(application), "ends": configurations},
        f"agency `{agency}` made in {home}",
        f"keep offline   {home / 'identity.pem'} and {home / 'ca.key'}",
        f"apply          send {application} to the governing authority (`comity federation admit`)",
        *(f"{role:<14} {path}" for role, path in configurations.items()),
    )


@group.command(
    "user",
    epilog="Example: comity agency user r.diaz --dir fed/agencies/lapd --office 'Detective Bureau' "
    "--role investigator --trained 2026-03-01 --reviewed 2026-01-15",
)
@click.argument("user")
@_DIR
@click.option("--office", required=True, help="Office within the agency, such as ERO.")
@click.option("--role", "roles", multiple=True, required=True, help="A role; may be repeated.")
@click.option(
    "--trained",
    required=True,
    type=Day(),
    metavar="DATE",
    help="Day of the last training, such as 2026-03-01 (Q4).",
)
@click.option("--duty-station", default="", help="The duty station.")
@click.option(
    "--reviewed",
    type=Day(),
    metavar="DATE",
    help="Day of the last review of the account, such as 2026-03-01 (L9).  [default: never]",
)
@click.option("--not-in-good-standing", is_flag=True, help="Not employed or not in good standing (Q4).")
@json_option
@refused_as_usage
def user_command(
    user: str,
    home: Path,
    office: str,
    roles: tuple[str, ...],
    trained: datetime,
    duty_station: str,
    reviewed: datetime | None,
    not_in_good_standing: bool,
    as_json: bool,
) -> None:
    """Add USER to the agency's demonstration identity provider, or change them."""
    for option, day in (("--trained", trained), ("--reviewed", reviewed)):
        if day is not None and day.date() > utc_now().date():
            raise click.BadParameter(f"`{day:%Y-%m-%d}` has not come yet", param_hint=option)
    provider = AgencyHome.load(home).identity_provider()
    known = user in provider.users()
    try:
        entry = User(
            user=user,
            office=office,
            roles=roles,
            trained_on=trained.date(),
            duty_station=duty_station,
            good_standing=not not_in_good_standing,
            account_reviewed_on=None if reviewed is None else reviewed.date(),
        )
    except ValueError as error:
        raise SetupRefused(str(error)) from error
    provider.add_user(entry)
    word = "changed" if known else "added"
    report(as_json, {"user": user, "agency": provider.agency, "done": word}, f"user `{user}` {word}")


@group.command(
    "client",
    epilog="Example: comity agency client desk --dir fed/agencies/lapd --gateway 127.0.0.1:7443",
)
@click.argument("name")
@_DIR
@click.option("--gateway", required=True, metavar="ADDRESS:PORT", help="Where the gateway listens.")
@click.option("--leaf-days", type=int, default=90, show_default=True, help="Days its certificate lives.")
@json_option
@refused_as_usage
def client_command(name: str, home: Path, gateway: str, leaf_days: int, as_json: bool) -> None:
    """Issue a certificate to the agency's client system NAME, with the client.toml that it needs."""
    if not 1 <= leaf_days <= 3650:
        raise click.BadParameter(f"`{leaf_days}`, expected 1 to 3650", param_hint="--leaf-days")
    agency = AgencyHome.load(home)
    path = agency.add_client(name, gateway=gateway, now=utc_now(), lifetime=timedelta(days=leaf_days))
    spiffe_id = f"spiffe://{agency.domain}/system/{name}"
    report(
        as_json,
        {"client": name, "spiffe_id": spiffe_id, "config": str(path)},
        f"client `{spiffe_id}`: {path}",
        f"ask            comity query PLATE --client {path} …",
    )


@group.command(
    "assert",
    epilog="Example: comity agency assert r.diaz --dir fed/agencies/lapd "
    "--certificate fed/agencies/lapd/clients/desk/leaf.pem --accept-rules",
)
@click.argument("user")
@_DIR
@click.option("--certificate", required=True, type=_FILE, help="leaf.pem of the system that will ask.")
@click.option("--minutes", type=click.IntRange(1, 10), default=5, show_default=True, help="Lifetime.")
@click.option("--accept-rules", is_flag=True, help="USER accepts the rules of behaviour now (Q4, Q9).")
@json_option
@refused_as_usage
def assert_command(
    user: str, home: Path, certificate: Path, minutes: int, accept_rules: bool, as_json: bool
) -> None:
    """Log USER on: print an assertion (JWT) for one system's certificate.

    The rules of behaviour are accepted at each logon; without --accept-rules they are shown and nothing is
    issued.
    """
    provider = AgencyHome.load(home).identity_provider()
    if not accept_rules:
        click.echo(provider.rules, err=True)
        stop("the rules of behaviour above are accepted at each logon: add --accept-rules")
    try:
        leaf = split_pem(read_public(certificate))[0]
    except CertificateRejected as error:
        raise SetupRefused(f"file `{certificate}`: {error}") from error
    now, lifetime = utc_now(), timedelta(minutes=minutes)
    assertion = provider.issue(user, leaf, now, lifetime)
    expires_at = spelled(datetime.fromtimestamp(int((now + lifetime).timestamp()), UTC))
    report(as_json, {"user": user, "assertion": assertion, "expires_at": expires_at}, assertion)


for _command in (terminate_user, readmit_user, users, suspensions):
    group.add_command(_command)
