"""`comity certs rotate`: replace a statement key, a CA or an identity key, while everything goes on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from comity.certs.clock import utc_now
from comity.certs.ends import CA_LIFETIME, OLD_CA_FILE, STATEMENT_KEY_LIFETIME
from comity.certs.files import read_public, require_at_hand, write_private, write_public
from comity.certs.key_changes import (
    EndFolder,
    add_ca,
    add_statement_key,
    apply_for,
    keep_ca_alone,
    published_cas,
)
from comity.certs.keys import SigningKey
from comity.certs.own import NEXT_STATEMENT_KEY
from comity.certs.x509 import certificate_pem, make_ca, private_key_pem, split_pem
from comity.cli.certs_rotate_identity import command as identity_command
from comity.cli.reporting import json_option, refused_as_usage, report, stop

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_IDENTITY = click.option(
    "--identity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The agency's (or operator's) identity key, if it isn't in the folder above HOME.",
)


@click.group("rotate")
def group() -> None:
    """Replace a statement key, a CA or an identity key, step by step, while everything goes on.

    A leaf is replaced by `comity certs renew`, a log's key by `comity audit rotate-key`.
    """


group.add_command(identity_command)


@group.command("statement-key", epilog="Example: comity certs rotate statement-key agencies/lapd/adapter")
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.option("--overlap-days", type=click.IntRange(1, 90), default=7, show_default=True)
@_IDENTITY
@json_option
@refused_as_usage
def statement_key(home: Path, overlap_days: int, identity: Path | None, as_json: bool) -> None:
    """Replace the key with which the end in HOME signs its statements.

    Run it as the account of the end's process. It makes the new key beside the old one and an application in
    which the new one may sign from now on, and the old one for the overlap only. Once the governing authority
    has admitted that, the end takes the new key by itself. The old one stays named: what it signed verifies.
    """
    end, now = EndFolder.load(home), utc_now()
    federation = end.federation(now)
    old, path = SigningKey.load(end.keys / "statement.key"), end.keys / NEXT_STATEMENT_KEY
    named = end.member(federation).key_set.statement_keys_at(now)
    if path.exists() and SigningKey.load(path).public in named:
        _tell(as_json, "announced", None, "the end takes the new key within seconds, or at its start")
        return
    if not path.exists():
        SigningKey.generate().save(path)
    change = add_statement_key(
        SigningKey.load(path).public,
        old.public,
        now=now,
        overlap=timedelta(days=overlap_days),
        lifetime=STATEMENT_KEY_LIFETIME,
    )
    application = apply_for(end, federation, change, identity=_identity(end, identity), now=now)
    _tell(as_json, "prepared", application, f"comity federation admit {application} --dir FEDERATION")


@group.command("ca", epilog="Example: comity certs rotate ca agencies/lapd/adapter")
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.option("--finish", is_flag=True, help="End the overlap: leaves of the old CA are refused then.")
@_IDENTITY
@json_option
@refused_as_usage
def ca(home: Path, finish: bool, identity: Path | None, as_json: bool) -> None:
    """Replace the CA of the agency whose end is in HOME, with an overlap in which both count.

    Run it again and again; each time it does the next step and says what follows. First it makes the new CA
    (ca.next.pem) and an application that names both. Once that is admitted, the new CA takes the old one's
    place for issuing; the old one lies beside it as ca.old.pem, so that one's own systems know the gateway by
    either. Then give each end and system a leaf of the new CA. With --finish an application names the new CA
    alone, and ca.old.pem goes.
    """
    end, now = EndFolder.load(home), utc_now()
    folder, federation = end.home.parent, end.federation(now)
    named = published_cas(end, federation)
    following, current = folder / "ca.next.pem", split_pem(read_public(folder / "ca.pem"))[0]
    if finish:
        if following.exists() or len(named) < 2 or current not in named:
            stop("there is no overlap to end: both CAs must be in the roster, and the new one in ca.pem")
        path = apply_for(end, federation, keep_ca_alone(current), identity=_identity(end, identity), now=now)
        (folder / OLD_CA_FILE).unlink(missing_ok=True)
        _tell(as_json, "finishing", path, f"comity federation admit {path} --dir FEDERATION")
        return
    if following.exists() and split_pem(read_public(following))[0] in named:
        _switch(folder, counts=current in end.member(federation).key_set.ca_certificates)
        _tell(
            as_json,
            "overlapping",
            None,
            "give every end and system a leaf of the new CA (comity certs renew), then --finish",
        )
        return
    if len(named) > 1 and not following.exists():
        _tell(as_json, "overlapping", None, "once every end and system has a new leaf: --finish")
        return
    if not following.exists():
        (folder / OLD_CA_FILE).unlink(missing_ok=True)  # of an overlap that is over
        domain = end.member(federation).domain
        certificate, key = make_ca(domain, now, CA_LIFETIME, path_length=1)
        write_private(folder / "ca.next.key", private_key_pem(key))
        write_public(following, certificate_pem(certificate))
    new = split_pem(read_public(following))[0]
    path = apply_for(end, federation, add_ca(new), identity=_identity(end, identity), now=now)
    _tell(as_json, "prepared", path, f"comity federation admit {path} --dir FEDERATION; then run this again")


def _switch(folder: Path, *, counts: bool) -> None:
    """Have the new CA issue from now on; certificate last, so that what was interrupted is done again.

    `counts`: whether the old one does still. Own systems know the gateway by one that is revoked no more.
    """
    old = folder / OLD_CA_FILE
    if counts and not old.exists() and (folder / "ca.next.key").exists():
        write_public(old, read_public(folder / "ca.pem"))
    if (folder / "ca.next.key").exists():
        (folder / "ca.next.key").replace(folder / "ca.key")
    (folder / "ca.next.pem").replace(folder / "ca.pem")


def _identity(end: EndFolder, path: Path | None) -> SigningKey:
    kept = path or end.home.parent / "identity.pem"
    require_at_hand(kept, f"the identity key of `{end.agency}`", option="--identity")
    return SigningKey.load(kept)


def _tell(as_json: bool, state: str, application: Path | None, following: str) -> None:
    shown = str(application) if application is not None else None
    report(
        as_json,
        {"state": state, "application": shown, "next": following},
        f"state        {state}",
        *([f"application  {shown}"] if shown else []),
        f"next         {following}",
    )
