"""`comity certs revoke`: the governing authority's signed list of what is not to be trusted any more."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography import x509

from comity.certs.authority import revoke
from comity.certs.clock import utc_now
from comity.certs.errors import CertificateRejected
from comity.certs.files import read_public
from comity.certs.instants import from_instant
from comity.certs.profile import load_certificate
from comity.certs.revocations import (
    REVOCATIONS_FILE,
    certificate_key_digest,
    key_digest,
    serial_bytes,
    user_digest,
)
from comity.certs.roster import Federation
from comity.certs.x509 import split_pem
from comity.cli.reporting import json_option, refused_as_usage, report, spelled, working
from comity.v1.federation_pb2 import Revocation, RevocationReason

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_REASONS = ("key-compromise", "superseded", "cessation", "wrongly-issued")


@click.command(
    "revoke",
    epilog="Example: comity certs revoke --dir fed --agency lapd --certificate leaf.pem --key "
    "--reason key-compromise",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="The federation's folder, with the governing authority's keys.",
)
@click.option("--agency", required=True, help="Whose it is: an agency's id, or `operator`.")
@click.option("--certificate", "certificates", type=_FILE, multiple=True, help="A leaf or CA, PEM.")
@click.option("--key", "with_key", is_flag=True, help="With --certificate: its key as well.")
@click.option("--serial", "serials", multiple=True, metavar="HEX", help="A certificate by its serial number.")
@click.option(
    "--statement-key", "key_ids", multiple=True, metavar="ID", help="A statement key, by the start of its id."
)
@click.option("--user", "users", multiple=True, help="A user of the agency.")
@click.option("--everything", is_flag=True, help="The whole agency.")
@click.option("--reason", type=click.Choice(_REASONS), required=True, help="Why; it is published.")
@json_option
@refused_as_usage
def command(
    folder: Path,
    agency: str,
    certificates: tuple[Path, ...],
    with_key: bool,
    serials: tuple[str, ...],
    key_ids: tuple[str, ...],
    users: tuple[str, ...],
    everything: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Revoke certificates, statement keys, users or all of an agency, in a new signed list.

    Once published, it closes within a second what it touches, wherever it arrives. What was signed before
    stands; what is dated after doesn't. Nothing is ever taken off the list: issue anew.
    """
    now = utc_now()
    listed: list[Revocation] = []
    code = RevocationReason.Value(f"REVOCATION_REASON_{reason.upper().replace('-', '_')}")

    def add(**what: bytes | bool) -> None:
        listed.append(
            Revocation(agency=agency, revoked_at=from_instant(now), reason=code, **what)  # type: ignore[arg-type]
        )

    for path in certificates:
        found = _certificate(path)
        add(serial=serial_bytes(found.serial_number))
        if with_key:
            add(public_key=certificate_key_digest(found))
    for serial in serials:
        add(serial=_serial(serial))
    for key_id in key_ids:
        add(public_key=_statement_key(folder, agency, key_id))
    for user in users:
        add(user=user_digest(agency, user))
    if everything:
        add(everything=True)
    if not listed:
        raise click.UsageError(
            "nothing to revoke: --certificate, --serial, --statement-key, --user or --everything is right"
        )
    if with_key and not certificates:
        raise click.UsageError("--key needs --certificate")
    with working("signing the list"):
        federation = revoke(folder, listed, now)
    version, update = federation.revocations.version, federation.revocations.next_update
    until = spelled(update) if update is not None else ""
    report(
        as_json,
        {"version": version, "next_update": until, "added": len(listed), "reason": reason},
        f"revoked      {len(listed)} of `{agency}` ({reason})",
        f"list         {folder / 'public' / REVOCATIONS_FILE}, version {version}",
        f"next update  {until}: sign a new one before, with `comity federation refresh`",
    )


def _certificate(path: Path) -> x509.Certificate:
    try:
        return load_certificate(split_pem(read_public(path))[0])
    except CertificateRejected as error:
        raise CertificateRejected(f"file `{path}`: {error}") from error


def _serial(text: str) -> bytes:
    try:
        found = int(text, 16)
    except ValueError as error:
        raise click.BadParameter(f"`{text}` is not a serial number in hex", param_hint="--serial") from error
    if not 0 < found < 1 << 160:
        raise click.BadParameter(f"`{text}` is not a serial number of 1 to 20 bytes", param_hint="--serial")
    return serial_bytes(found)


def _statement_key(folder: Path, agency: str, key_id: str) -> bytes:
    federation = Federation.load(folder / "public", now=utc_now())
    member = federation.operator if agency == federation.operator.agency else federation.member(agency)
    keys = [valid.key for valid in member.key_set.statement_keys]
    found = [key for key in keys if key_id and key.key_id.startswith(key_id)]
    if len(found) != 1:
        raise click.BadParameter(
            f"`{key_id}` is not one of {', '.join(key.key_id for key in keys)}", param_hint="--statement-key"
        )
    return key_digest(found[0].der)
