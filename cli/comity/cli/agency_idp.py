"""`comity agency idp-keys`: the identity provider's keys change, and nobody is locked out meanwhile.

Gateways and providers know these keys from the signed roster alone. Nothing is fetched when somebody asks: a
key that the roster doesn't name counts nowhere, whoever publishes it. So a new one is announced before it
signs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import click

from comity.certs.agency import AgencyHome
from comity.certs.claims import MAX_LIFETIME
from comity.certs.clock import utc_now
from comity.certs.errors import SetupRefused
from comity.certs.files import read_public
from comity.certs.identity_provider import DemoIdentityProvider
from comity.certs.jwks import es256_keys, to_jwks
from comity.certs.key_changes import EndFolder, apply_for, set_identity_provider_keys
from comity.certs.keys import VerifyKey
from comity.certs.members import IdentityProviderView
from comity.certs.roster import Federation
from comity.cli.reporting import json_option, refused_as_usage, report

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_MINUTES = int(MAX_LIFETIME.total_seconds() // 60)

Keys = Mapping[str, VerifyKey]


@click.command(
    "idp-keys",
    epilog="Example: comity agency idp-keys --dir fed/agencies/lapd --jwks jwks.json",
)
@click.option("--dir", "home", type=_FOLDER, required=True, help="The agency's folder.")
@click.option("--jwks", type=_FILE, help="The provider's JWK set as it publishes it now.")
@click.option("--only", is_flag=True, help="With --jwks: these keys alone; those of before are dropped.")
@click.option("--next", "following", is_flag=True, help="Take the demonstration provider's next step.")
@click.option("--issuer", help="Which provider, if the roster names several.")
@json_option
@refused_as_usage
def command(
    home: Path, jwks: Path | None, only: bool, following: bool, issuer: str | None, as_json: bool
) -> None:
    """Change the keys of the agency's identity provider in the roster, by an application with a new key set.

    Three steps: announce the new key beside the old (--jwks), and have it admitted; let the provider sign
    with it; drop the old one (--only), and have that admitted. Without --jwks or --next it shows what the
    roster names. Needs the identity key, `identity.pem`.
    """
    if (jwks is not None and following) or (only and jwks is None):
        raise click.UsageError("give --jwks FILE (with --only or not), or --next, or neither")
    agency, now = AgencyHome.load(home), utc_now()
    federation = agency.federation(now)
    named = _named(federation, agency.agency, issuer)
    known = es256_keys(named.jwks)
    if jwks is not None:
        wanted = es256_keys(read_public(jwks))
        step = "announced beside those of before" if not only else "the provider's only keys"
        keys = dict(wanted) if only else {**known, **wanted}
    elif following:
        agency.identity()  # or nothing is begun that can't be finished
        provider = agency.identity_provider()
        keys, step = _next_step(provider, known)
    else:
        _report(as_json, named, known, None, "as the roster has it")
        return
    if keys == dict(known):
        _report(as_json, named, keys, None, "nothing changes")
        return
    applied = _apply(agency, federation, named.issuer, keys, now)
    _report(as_json, named, keys, applied, step)


def _named(federation: Federation, agency: str, issuer: str | None) -> IdentityProviderView:
    """Return the provider that is meant; raise `SetupRefused` if that isn't exactly one."""
    found = federation.member(agency).key_set.identity_providers
    if issuer is not None:
        found = tuple(one for one in found if one.issuer == issuer)
    if len(found) != 1:
        raise SetupRefused(
            f"the roster names {len(found)} such identity providers of `{agency}`, expected one: say --issuer"
        )
    return found[0]


def _next_step(provider: DemoIdentityProvider, known: Keys) -> tuple[dict[str, VerifyKey], str]:
    """Take the next step of the demonstration provider; return the keys to apply with, and what was done."""
    following = provider.following
    if following is not None and following.key_id in known:
        provider.use_next()
        return {following.key_id: following.public}, (
            f"the next key signs from now on; have this admitted in {_MINUTES} minutes or later, when no "
            "assertion of the old key is left"
        )
    provider.prepare_next()
    return dict(es256_keys(provider.jwks)), "the next key is announced; it signs with --next after admission"


def _apply(agency: AgencyHome, federation: Federation, issuer: str, keys: Keys, now: datetime) -> Path:
    end = EndFolder.load(agency.home / "gateway")
    change = set_identity_provider_keys(issuer, to_jwks(keys))
    return apply_for(end, federation, change, identity=agency.identity(), now=now)


def _report(as_json: bool, named: IdentityProviderView, keys: Keys, applied: Path | None, step: str) -> None:
    report(
        as_json,
        {
            "issuer": named.issuer,
            "keys": list(keys),
            "application": str(applied) if applied is not None else None,
            "step": step,
        },
        f"{named.issuer}: {step}",
        *(f"key            {kid}" for kid in keys),
        *((f"next           comity federation admit {applied}",) if applied is not None else ()),
    )
