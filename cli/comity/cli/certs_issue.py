"""`comity certs request|issue|issuing|take|renew`: leaves, whose private keys never leave their host."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from comity.certs.clock import utc_now
from comity.certs.credentials import EndCredentials
from comity.certs.errors import CertificateRejected, CertsError
from comity.certs.files import read_public, write_public
from comity.certs.issuing import ISSUING_CA_LIFETIME, IssuingFolder, make_issuing_folder, read_request
from comity.certs.key_changes import EndFolder
from comity.certs.pairs import LeafPair, judge_pair
from comity.certs.profile import load_certificate
from comity.certs.renewing import RenewalSettings, begin_request, renew_once, take_chain
from comity.certs.x509 import split_pem
from comity.cli.reporting import json_option, refused_as_usage, report, spelled, stop

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUT = click.Path(dir_okay=False, path_type=Path)
_HOURS = click.option(
    "--hours", type=int, default=24, show_default=True, help="Hours for which the leaf is valid."
)


@click.command("request", epilog="Example: comity certs request agencies/lapd/adapter --out lapd-adapter.csr")
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.option("--out", type=_OUT, required=True, help="Where to write the request.")
@json_option
@refused_as_usage
def request(home: Path, out: Path, as_json: bool) -> None:
    """Make a key and a request for the next leaf of the end in HOME.

    Run it on the end's host: the key stays there (`keys/leaf.request.key`, mode 0600), and only the request
    travels. The leaf in force stays in force.
    """
    end = EndFolder.load(home)
    spiffe_id = _id(end)
    write_public(out, begin_request(end.keys, spiffe_id=spiffe_id))
    report(
        as_json,
        {"spiffe_id": spiffe_id, "request": str(out)},
        f"request  {out}, for `{spiffe_id}`",
        f"next     where the CA is: comity certs issue {out} --ca AGENCY --out {out.stem}.pem",
        f"then     here: comity certs take {home} {out.stem}.pem",
    )


@click.command(
    "issue", epilog="Example: comity certs issue lapd-adapter.csr --ca issuing --out lapd-adapter.pem"
)
@click.argument("csr", metavar="REQUEST", type=_FILE)
@click.option("--ca", "folder", type=_FOLDER, required=True, help="Folder with ca.pem and ca.key.")
@click.option("--out", type=_OUT, required=True, help="Where to write the chain.")
@_HOURS
@json_option
@refused_as_usage
def issue(csr: Path, folder: Path, out: Path, hours: int, as_json: bool) -> None:
    """Sign a leaf for REQUEST.

    The request must be signed by its own key (P-256 or P-384) and name exactly one end or system of the CA's
    domain. Who sent it you find out by other means. The leaf never outlives the CA.
    """
    issuing = IssuingFolder.load(folder)
    try:
        found = read_request(read_public(csr))
    except CertificateRejected as error:
        raise CertificateRejected(f"file `{csr}`: {error}; `comity certs request` makes one") from error
    chain = issuing.issue(found, now=utc_now(), lifetime=_hours(hours))
    write_public(out, chain)
    leaf = load_certificate(split_pem(chain)[0])
    until = spelled(leaf.not_valid_after_utc)
    report(
        as_json,
        {
            "spiffe_id": str(found.spiffe_id),
            "chain": str(out),
            "not_after": spelled(leaf.not_valid_after_utc),
        },
        f"leaf     `{found.spiffe_id}`, serial {leaf.serial_number:x}",
        f"until    {until}",
        f"chain    {out}",
    )


@click.command("issuing", epilog="Example: comity certs issuing agencies/lapd issuing --days 14")
@click.argument("agency", metavar="AGENCY", type=_FOLDER)
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--days",
    type=int,
    default=ISSUING_CA_LIFETIME.days,
    show_default=True,
    help="Days for which it is valid.",
)
@click.option("--replace", is_flag=True, help="In the place of the issuing CA that is in FOLDER.")
@json_option
@refused_as_usage
def issuing(agency: Path, folder: Path, days: int, replace: bool, as_json: bool) -> None:
    """Make an issuing CA in FOLDER, under the CA in the folder AGENCY, whose key can then be offline.

    It is constrained to the agency's own names, as its CA is, and issues leaves only. Peers need to know
    nothing of it: the roster names the agency's CA, and the chain has the rest. With --replace processes go
    on from the new one by themselves; leaves of the old one count until their own end.
    """
    lifetime = timedelta(days=min(max(days, 0), 100_000))
    made = make_issuing_folder(agency, folder, now=utc_now(), lifetime=lifetime, replace=replace)
    until = spelled(made.certificate.not_valid_after_utc)
    report(
        as_json,
        {"domain": made.domain, "folder": str(folder), "not_after": until},
        f"issuing CA of `{made.domain}` in {folder}, until {until}",
        f"now take {agency / 'ca.key'} offline",
    )


@click.command("take", epilog="Example: comity certs take agencies/lapd/adapter lapd-adapter.pem")
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.argument("chain", metavar="CHAIN", type=_FILE)
@json_option
@refused_as_usage
def take(home: Path, chain: Path, as_json: bool) -> None:
    """Have the leaf in CHAIN, which came for the request of HOME, count from now on; no restart is needed."""
    end = EndFolder.load(home)
    _told(end, take_chain(end.keys, read_public(chain), spiffe_id=_id(end)), as_json)


@click.command(
    "renew", epilog="Example: comity certs renew agencies/lapd/adapter --ca agencies/lapd --hours 72"
)
@click.argument("home", metavar="HOME", type=_FOLDER)
@click.option("--ca", "folder", type=_FOLDER, required=True, help="Folder with ca.pem and ca.key.")
@_HOURS
@json_option
@refused_as_usage
def renew(home: Path, folder: Path, hours: int, as_json: bool) -> None:
    """Give the end or client system in HOME a new leaf with a fresh key, from a CA on this host.

    No restart is needed. A process does so by itself where its configuration has a table `renewal`. Of a
    client system HOME is the folder with its client.toml; its users log on anew, as an assertion counts with
    the certificate for which it was issued.
    """
    settings = RenewalSettings(issuer=folder, lifetime=_hours(hours))
    if (home / "client.toml").is_file():
        spiffe_id = LeafPair.load(home).spiffe_id
        found = renew_once(home, spiffe_id=spiffe_id, settings=settings, now=utc_now())
        assert found is not None
        _told_system(found, as_json)
        return
    end = EndFolder.load(home)
    pair = renew_once(end.keys, spiffe_id=_id(end), settings=settings, now=utc_now())
    assert pair is not None
    _told(end, pair, as_json)


def _told(end: EndFolder, pair: LeafPair, as_json: bool) -> None:
    """Say what lies on disk now, and whether the end will put it in force."""
    now, why = utc_now(), ""
    try:
        judge_pair(pair, member=end.member(end.federation(now)), role=end.role, now=now)
    except CertsError as error:
        why = str(error)
    report(
        as_json,
        {
            "spiffe_id": pair.spiffe_id,
            "serial": f"{pair.serial:x}",
            "not_after": spelled(pair.not_after),
            "accepted": not why,
            "finding": why or None,
        },
        f"leaf     `{pair.spiffe_id}`, serial {pair.serial:x}",
        f"until    {spelled(pair.not_after)}",
        "next     nothing: a running process has it in force within seconds"
        if not why
        else "next     see below: a running process does NOT put it in force",
    )
    if why:
        stop(why, status=1)


def _told_system(pair: LeafPair, as_json: bool) -> None:
    """Say what a client system has now."""
    until = spelled(pair.not_after)
    report(
        as_json,
        {"spiffe_id": pair.spiffe_id, "serial": f"{pair.serial:x}", "not_after": until},
        f"leaf     `{pair.spiffe_id}`, serial {pair.serial:x}",
        f"until    {until}",
        "next     its next connection shows the new leaf; its users log on anew",
    )


def _id(end: EndFolder) -> str:
    """Return the id of an end's leaf: the one on disk, or what the roster expects where there is none yet."""
    try:
        return EndCredentials.load(end.home).spiffe_id
    except CertsError:
        return end.member(end.federation(utc_now())).spiffe_id(end.role)


def _hours(hours: int) -> timedelta:
    return timedelta(hours=min(max(hours, 0), 1_000_000))
