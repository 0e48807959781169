"""`comity certs revoke`: the signed list of what counts no more, the authority's or an agency's."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from comity.certs.agency import AgencyHome
from comity.certs.authority import revoke
from comity.certs.clock import utc_now
from comity.certs.errors import CertificateRejected
from comity.certs.files import read_public
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey, VerifyKey
from comity.certs.members import MemberView
from comity.certs.profile import check_leaf, load_certificate
from comity.certs.revocations import (
    REVOCATIONS_FILE,
    certificate_key_digest,
    key_digest,
    serial_bytes,
    user_digest,
)
from comity.certs.revoking import MAX_OWN_LIST_DAYS, OWN_LIST_DAYS, own_list_path, own_member, revoke_own
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
    help="The federation's folder, with the governing authority's keys; or an agency's own.",
)
@click.option("--agency", default="", help="Whose it is: an agency's id, or `operator`.")
@click.option("--certificate", "certificates", type=_FILE, multiple=True, help="A leaf or CA, PEM.")
@click.option("--key", "with_key", is_flag=True, help="With --certificate: its key as well.")
@click.option("--serial", "serials", multiple=True, metavar="HEX", help="A certificate by its serial number.")
@click.option(
    "--statement-key", "key_ids", multiple=True, metavar="ID", help="A statement key, by the start of its id."
)
@click.option(
    "--identity-key",
    "identities",
    multiple=True,
    metavar="ID",
    help="An identity key, likewise; the authority alone.",
)
@click.option("--user", "users", multiple=True, help="A user of the agency.")
@click.option("--everything", is_flag=True, help="The whole agency; the authority alone.")
@click.option("--reason", type=click.Choice(_REASONS), help="Why; it is published.")
@click.option(
    "--days",
    type=click.IntRange(1, MAX_OWN_LIST_DAYS),
    default=OWN_LIST_DAYS,
    show_default=True,
    help="An agency's own: by when a newer one must be signed.",
)
@click.option("--refresh", is_flag=True, help="An agency's own: sign it anew, and add nothing.")
@click.option(
    "--identity", type=_FILE, help="An agency's own: its identity key.  [default: identity.pem in --dir]"
)
@json_option
@refused_as_usage
def command(
    folder: Path,
    agency: str,
    certificates: tuple[Path, ...],
    with_key: bool,
    serials: tuple[str, ...],
    key_ids: tuple[str, ...],
    identities: tuple[str, ...],
    users: tuple[str, ...],
    everything: bool,
    reason: str | None,
    days: int,
    refresh: bool,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Revoke certificates, keys, users or all of an agency, in a new signed list.

    The governing authority's list revokes anything of anybody. An agency's own, signed with its identity key,
    revokes its own certificates, statement keys and users, and waits for nobody: its ends bring it to the
    broker, and it to everybody. Wherever a list arrives it closes within a second what it touches. What was
    signed before stands; what is dated after doesn't. Nothing is ever taken off a list: issue anew.
    """
    now = utc_now()
    own = AgencyHome.load(folder) if (folder / "agency.toml").is_file() else None
    if own is not None and agency not in ("", own.agency):
        raise click.UsageError(
            f"the own list of `{own.agency}` revokes nothing of `{agency}`: the governing authority does"
        )
    if own is not None and (everything or identities):
        raise click.UsageError("--everything and --identity-key are the governing authority's")
    if own is None and (refresh or identity is not None):
        raise click.UsageError("--refresh and --identity are for an agency's own list: --dir AGENCY")
    agency = own.agency if own is not None else agency
    if not agency:
        raise click.UsageError("missing option '--agency': whose it is")
    if with_key and not certificates:
        raise click.UsageError("--key needs --certificate")
    if reason is None and not refresh:
        raise click.UsageError(f"missing option '--reason': one of {', '.join(_REASONS)}")
    listed: list[Revocation] = []

    def add(**what: bytes | bool) -> None:
        code = RevocationReason.Value(f"REVOCATION_REASON_{str(reason).upper().replace('-', '_')}")
        listed.append(
            Revocation(agency=agency, revoked_at=from_instant(now), reason=code, **what)  # type: ignore[arg-type]
        )

    if refresh and (certificates or serials or key_ids or users):
        raise click.UsageError("--refresh adds nothing; without it, what is named is added")
    named = own is not None or key_ids or identities
    member = _member(folder, own, agency, now) if named else None
    for path in certificates:
        found = _certificate(path)
        if own is not None and member is not None:
            _require_own(path, found, member)
        add(serial=serial_bytes(found.serial_number))
        if with_key:
            add(public_key=certificate_key_digest(found))
    for serial in serials:
        add(serial=_serial(serial))
    for key_id in key_ids:
        add(public_key=_statement_key(member, key_id))
    for key_id in identities:
        add(public_key=_identity_key(member, key_id))
    for user in users:
        add(user=user_digest(agency, user))
    if everything:
        add(everything=True)
    if not listed and not refresh:
        raise click.UsageError(
            "nothing to revoke: --certificate, --serial, --statement-key, --identity-key, --user or "
            "--everything is right"
        )
    if own is not None:
        _sign_own(own, listed, now, days=days, identity=identity, reason=reason or "", as_json=as_json)
        return
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


def _sign_own(
    own: AgencyHome,
    listed: list[Revocation],
    now: datetime,
    *,
    days: int,
    identity: Path | None,
    reason: str,
    as_json: bool,
) -> None:
    """Sign an agency's own list, publish it for its ends, and tell."""
    if not listed and not (own.home / REVOCATIONS_FILE).exists():
        raise click.UsageError(f"`{own.agency}` has no list of its own yet, so there is none to refresh")
    key = SigningKey.load(identity) if identity is not None else own.identity(option="--identity")
    with working("signing the list"):
        made = revoke_own(own, listed, now, lifetime=timedelta(days=days), identity=key)
    until, path = spelled(made.next_update), own_list_path(own)
    report(
        as_json,
        {
            "issuer": own.agency,
            "version": made.version,
            "next_update": until,
            "added": len(listed),
            "reason": reason,
            "list": str(path),
        },
        f"revoked      {len(listed)} of `{own.agency}` by its own word" + (f" ({reason})" if reason else ""),
        f"list         {path}, version {made.version}: its ends bring it to the broker, and it to everybody",
        f"next update  {until}: sign a new one before, or `{own.agency}` asks and answers nothing from then",
        f"             on: comity certs revoke --dir {own.home} --refresh",
    )


def _member(folder: Path, own: AgencyHome | None, agency: str, now: datetime) -> MemberView:
    """Return the entry of an agency, or of the operator."""
    if own is not None:
        return own_member(own, now)[1]
    federation = Federation.load(folder / "public", now=now)
    return federation.operator if agency == federation.operator.agency else federation.member(agency)


def _require_own(path: Path, certificate: x509.Certificate, member: MemberView) -> None:
    """Raise a usage error unless a certificate is one of the agency's own."""
    cas = [load_certificate(der) for der in member.key_set.ca_certificates]
    if certificate in cas:
        return
    for ca in cas:
        with contextlib.suppress(ValueError, TypeError, InvalidSignature):
            certificate.verify_directly_issued_by(ca)
            return
    with contextlib.suppress(CertificateRejected):
        if check_leaf(certificate).spiffe_id.domain == member.domain:
            return
    raise click.UsageError(
        f"`{path}` is no certificate of `{member.agency}`: its own list revokes its own alone"
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


def _statement_key(member: MemberView | None, key_id: str) -> bytes:
    keys = [valid.key for valid in member.key_set.statement_keys] if member is not None else []
    return _chosen(keys, key_id, "--statement-key")


def _identity_key(member: MemberView | None, key_id: str) -> bytes:
    keys = [time.key for time in member.identities.times] if member is not None else []
    return _chosen(keys, key_id, "--identity-key")


def _chosen(keys: Sequence[VerifyKey], key_id: str, option: str) -> bytes:
    found = [key for key in keys if key_id and key.key_id.startswith(key_id)]
    if len(found) != 1:
        raise click.BadParameter(
            f"`{key_id}` is not one of {', '.join(key.key_id for key in keys)}", param_hint=option
        )
    return key_digest(found[0].der)
