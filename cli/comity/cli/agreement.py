"""`comity agreement`: what two agencies agreed on, signed by both."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from comity.certs.acceptances import NOTHING_KEPT, is_acceptance
from comity.certs.agency import AgencyHome
from comity.certs.agreements import (
    ELEMENTS,
    PURPOSES,
    AgreementBook,
    AgreementView,
    GrantView,
    read_proposal,
    signed_by,
    verify_agreement,
    with_notice,
)
from comity.certs.clock import utc_now
from comity.certs.drafting import (
    AgreementTerms,
    GrantTerms,
    draft,
    lodgements,
    midnight,
    names,
    sign,
    spell,
)
from comity.certs.due import how_it_ends
from comity.certs.envelope import to_json
from comity.certs.errors import AgreementInvalid, SetupRefused
from comity.certs.files import write_public
from comity.certs.notices import agreement_of, is_notice
from comity.certs.roster import Federation
from comity.cli import agreement_ending, agreement_identity
from comity.cli.agreement_files import (
    FILE,
    FOLDER,
    dir_option,
    new_file,
    notices_in,
    public_option,
    read_agreement,
    read_document,
    roster_of,
)
from comity.cli.agreement_identity import move_lines, move_values
from comity.cli.ceilings import make_ceiling
from comity.cli.reporting import Day, Json, json_option, refused_as_usage, report, spelled, stop
from comity.v1.envelope_pb2 import Envelope
from comity.v1.result_pb2 import Marking

_DATE = Day()

_TERMS = """\b
Terms with several grants are easier in a file (--from FILE.toml):

\b
  id = "moa-lapd-lahd"
  title = "Sharing of ALPR information"
  effective = 2026-01-01
  expires = 2029-01-01
  extension_days = 365          # optional, as are the next four
  notice_days = 30
  dissemination_terms = ["to no agency without a sharing agreement"]
  duties = ["report errors at once"]
  documents = ["MOA II.A"]

\b
  [[duty]]                                      # with dates; optional
  agency = "lahd"
  text = "certify that training is current"
  first = 2026-07-01
  every_months = 6                              # left out: once

\b
  [[grant]]
  provider = "lapd"
  requester = "lahd"
  elements = ["location", "images"]             # or ["all"]
  purposes = ["criminal-investigation"]         # or ["all"]
  collected_after_effective_date = false        # optional
  onward_sharing = ""                           # optional; empty: to nobody
  ceiling.nature = "ALPR reads"
  ceiling.banner = "LAW ENFORCEMENT SENSITIVE // LAPD"

\b
Elements: {elements}.
Purposes: {purposes}.

A banner is CUI with categories and controls (CUI//LEI//FED ONLY) or of the plain scheme: a level (OFFICIAL
USE ONLY, LAW ENFORCEMENT SENSITIVE, LAW ENFORCEMENT RESTRICTED), controls, the provider.

Example: comity agreement draft --dir fed/agencies/lapd --with lahd --from moa.toml --out moa.json
"""
_TOML = _TERMS.replace("{elements}", ", ".join(map(spell, sorted(ELEMENTS)))).replace(
    "{purposes}",
    textwrap.fill(
        ", ".join(map(spell, sorted(PURPOSES))), 62, subsequent_indent=" " * 10, break_on_hyphens=False
    ),
)


@click.group(
    name="agreement",
    short_help="Agreements: draft, sign, accept, lodge, show, list, extend, terminate.",
    epilog="Example: comity agreement show moa.json --dir fed/agencies/lapd",
)
def group() -> None:
    """Draw up, sign and use agreements between two agencies.

    One agency drafts and signs, the other signs, both accept, and who provides lodges its ceiling with the
    broker. An agreement that a single side signed does nothing. It pins both identity keys. Either side can
    end it by notice.
    """


for _command in (
    agreement_ending.terminate,
    agreement_ending.extend,
    agreement_ending.list_command,
    agreement_identity.accept_identity,
):
    group.add_command(_command)


@group.command(
    "draft",
    epilog=_TOML,
)
@dir_option
@public_option
@click.option("--with", "other", required=True, metavar="OTHER", help="The other party.")
@click.option("--from", "source", type=FILE, help="The terms in TOML, in the place of all that follows.")
@click.option("--id", "agreement_id", help="The agreement's id, such as moa-lapd-lahd.")
@click.option("--title", help="Its title.")
@click.option("--grant", "grants", multiple=True, metavar="PROVIDER:REQUESTER", help="Once or twice.")
@click.option("--element", "elements", multiple=True, help="An element that may be shared; or all.")
@click.option("--purpose", "purposes", multiple=True, help="A reason for which may be asked; or all.")
@click.option("--ceiling-nature", "natures", multiple=True, help="Nature of the data; one, or one a grant.")
@click.option("--ceiling-banner", "banners", multiple=True, help="Banner of the data; one, or one a grant.")
@click.option("--effective", type=_DATE, metavar="DATE", help="First day in force, UTC.")
@click.option("--expires", type=_DATE, metavar="DATE", help="First day no longer in force, UTC.")
@click.option("--extension-days", type=int, default=0, help="It extends itself by so many days, once.")
@click.option("--notice-days", type=int, default=0, help="Days that notice to end it takes.")
@click.option("--after-effective", is_flag=True, help="Only reads captured since it took effect (A2).")
@click.option("--onward", default="", help="To whom data may be passed on; to nobody if left out.")
@click.option("--term", "terms", multiple=True, help="A term of onward dissemination.")
@click.option("--duty", "duties", multiple=True, help="A duty.")
@click.option("--document", "documents", multiple=True, help="A document that it rests on.")
@click.option("--out", type=FILE, help="Where to write it.  [default: ID.json]")
@json_option
@refused_as_usage
def draft_command(
    home: Path,
    public: Path | None,
    other: str,
    source: Path | None,
    agreement_id: str | None,
    title: str | None,
    grants: tuple[str, ...],
    elements: tuple[str, ...],
    purposes: tuple[str, ...],
    natures: tuple[str, ...],
    banners: tuple[str, ...],
    effective: datetime | None,
    expires: datetime | None,
    extension_days: int,
    notice_days: int,
    after_effective: bool,
    onward: str,
    terms: tuple[str, ...],
    duties: tuple[str, ...],
    documents: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Draw up an agreement, sign it for the agency of --dir, and write it for the other to read and sign."""
    agency = AgencyHome.load(home)
    if source is not None:
        if agreement_id or title or grants or effective or expires:
            raise click.UsageError("--from holds the terms: leave out --id, --title, --grant and the dates")
        drawn = AgreementTerms.load(source, make_ceiling)
    else:
        if not agreement_id or not title or not grants or effective is None or expires is None:
            raise click.UsageError("give --from FILE, or --id, --title, --grant, --effective and --expires")
        drawn = AgreementTerms(
            agreement_id=agreement_id,
            title=title,
            effective_at=midnight(effective.date()),
            expires_at=midnight(expires.date()),
            grants=_grants(grants, elements, purposes, natures, banners, after_effective, onward),
            extension_days=extension_days,
            notice_days=notice_days,
            dissemination_terms=terms,
            duties=duties,
            documents=documents,
        )
    if set(drawn.parties) != {agency.agency, other}:
        parties = " and ".join(drawn.parties)
        raise SetupRefused(
            f"grants are between {parties}, expected `{agency.agency}` (--dir) and `{other}` (--with)"
        )
    federation = roster_of(agency, public)
    envelope = draft(drawn, federation, agency.identity())
    path = new_file(out or Path(f"{drawn.agreement_id}.json"))
    write_public(path, to_json(envelope))
    next_step = f"next           `{other}` signs: comity agreement sign {path}"
    _report(envelope, federation, as_json, path, next_step)


@group.command("sign", epilog="Example: comity agreement sign moa.json --dir fed/agencies/lahd")
@click.argument("file", type=FILE)
@dir_option
@public_option
@json_option
@refused_as_usage
def sign_command(file: Path, home: Path, public: Path | None, as_json: bool) -> None:
    """Sign the agreement in FILE for the agency of --dir: read it first with `comity agreement show`."""
    agency = AgencyHome.load(home)
    federation = roster_of(agency, public)
    envelope = sign(read_agreement(file), federation, agency.identity())
    write_public(file, to_json(envelope))
    _report(envelope, federation, as_json, file)


@group.command("accept", epilog="Example: comity agreement accept moa.json --dir fed/agencies/lapd")
@click.argument("file", type=FILE)
@dir_option
@public_option
@json_option
@refused_as_usage
def accept_command(file: Path, home: Path, public: Path | None, as_json: bool) -> None:
    """Put the agreement in FILE into force at the agency of --dir, if both parties signed it.

    Or the other party's notice that one ends, or its acceptance of your new identity key.
    """
    agency = AgencyHome.load(home)
    federation = roster_of(agency, public)
    envelope = read_document(file)
    if is_notice(envelope):
        agreement_ending.accept_notice(envelope, agency, federation, as_json)
        return
    if is_acceptance(envelope):
        agreement_identity.accept_acceptance(envelope, agency, federation, as_json)
        return
    agreement = verify_agreement(envelope, federation)
    if agency.agency not in agreement.parties:
        parties = " and ".join(agreement.parties)
        raise AgreementInvalid(
            f"agreement `{agreement.agreement_id}` is between {parties}, not `{agency.agency}` (--dir)"
        )
    path = agency.agreements / f"{agreement.agreement_id}.json"
    if path.exists() and read_document(path).payload != envelope.payload:
        raise SetupRefused(f"`{path}` holds other terms of that id: give the new agreement an id of its own")
    write_public(path, to_json(envelope))
    _report(
        envelope,
        federation,
        as_json,
        path,
        f"in force       {agreement_ending.when_in_force(agency, agreement, federation)}",
    )


@group.command(
    "lodge",
    epilog="Example: comity agreement lodge moa.json --dir fed/agencies/lapd --broker fed/operator/broker",
)
@click.argument("file", type=FILE)
@dir_option
@public_option
@click.option("--broker", required=True, type=FOLDER, help="The broker's folder, or one to send it from.")
@json_option
@refused_as_usage
def lodge_command(file: Path, home: Path, public: Path | None, broker: Path, as_json: bool) -> None:
    """Lodge with the broker the ceiling of each grant in which the agency of --dir provides.

    Signed with its identity key; nothing else of the agreement is in it.
    """
    agency = AgencyHome.load(home)
    federation = roster_of(agency, public)
    envelope = read_agreement(file)
    verified = verify_agreement(envelope, federation)
    agreement_id = verified.agreement_id
    notices = [found for _, found in notices_in(agency.agreements) if agreement_of(found) == verified.digest]
    found = lodgements(envelope, federation, agency.agency, agency.identity(), notices)
    if not found:
        raise AgreementInvalid(
            f"agreement `{agreement_id}`: `{agency.agency}` provides nothing under it, so it lodges nothing"
        )
    paths: list[str] = []
    for requester, lodged in found.items():
        path = broker / "lodgements" / f"{agreement_id}--{agency.agency}--{requester}.json"
        write_public(path, to_json(lodged))
        paths.append(str(path))
    report(as_json, {"agreement": agreement_id, "lodged": paths}, *(f"lodged {path}" for path in paths))


@group.command("show", epilog="Example: comity agreement show moa.json --public fed/public")
@click.argument("file", type=FILE)
@click.option("--dir", "home", type=FOLDER, help="An agency's folder, whose public folder is used.")
@public_option
@json_option
@refused_as_usage
def show_command(file: Path, home: Path | None, public: Path | None, as_json: bool) -> None:
    """Show the terms of the agreement in FILE, and who signed it.

    Or, with --dir, what a notice that one ends says. Exit status 1 unless both signed the agreement with the
    keys it pins and it is in force; for a notice, unless it counts at that agency.
    """
    if (home is None) == (public is None):
        raise click.UsageError("give --dir or --public, to know the members' keys")
    notices: list[Envelope] = []
    kept = NOTHING_KEPT
    if home is not None:
        agency = AgencyHome.load(home)
        federation = roster_of(agency, None)
        if is_notice(named := read_document(file)):
            agreement_ending.show_notice(file, named, agency, federation, as_json)
            return
        notices = [found for _, found in notices_in(agency.agreements)]
        kept = AgreementBook.load(agency.agreements, federation, own=agency.agency).kept
    else:
        federation = Federation.load(public or Path(), now=utc_now())
        if is_notice(read_document(file)):
            raise click.UsageError("give --dir: a notice is shown beside the agreement that it ends")
    envelope = read_agreement(file)
    agreement = read_proposal(envelope, federation, kept)
    signers = signed_by(envelope, agreement)
    for notice in notices:
        if agreement_of(notice) == agreement.digest:
            agreement = with_notice(agreement, notice)
    in_force = len(signers) == 2 and agreement.in_force(utc_now())
    report(as_json, _values(agreement, signers, in_force), *_lines(agreement, signers, in_force))
    if not in_force:
        missing = [agency for agency in agreement.parties if agency not in signers]
        resting = agreement.why_resting(utc_now()) or "not in force today"
        why = f"not signed by {' and '.join(missing)}" if missing else resting
        stop(f"agreement `{agreement.agreement_id}` does nothing: {why}", status=1)


def _grants(
    grants: Sequence[str],
    elements: Sequence[str],
    purposes: Sequence[str],
    natures: Sequence[str],
    banners: Sequence[str],
    after_effective: bool,
    onward: str,
) -> tuple[GrantTerms, ...]:
    """Return the grants of the options; raise `SetupRefused`, naming the option."""
    for option, values in (("--ceiling-nature", natures), ("--ceiling-banner", banners)):
        if len(values) not in (1, len(grants)):
            raise SetupRefused(f"{option}: given {len(values)} times, expected once, or once a --grant")
    made: list[GrantTerms] = []
    for number, grant in enumerate(grants):
        provider, colon, requester = grant.partition(":")
        if not colon:
            raise SetupRefused(f"--grant `{grant}`: expected PROVIDER:REQUESTER such as `lapd:lahd`")
        try:
            ceiling = make_ceiling(provider, natures[number % len(natures)], banners[number % len(banners)])
        except ValueError as error:
            raise SetupRefused(f"--ceiling-banner: {error}") from error
        made.append(
            GrantTerms(
                provider=provider,
                requester=requester,
                elements=names(elements, ELEMENTS, "--element"),
                purposes=names(purposes, PURPOSES, "--purpose"),
                ceiling=ceiling,
                collected_after_effective_date=after_effective,
                onward_sharing=onward,
            )
        )
    return tuple(made)


def _report(envelope: Envelope, federation: Federation, as_json: bool, path: Path, *more: str) -> None:
    """Print what was done to an agreement: its values as JSON, or a few lines."""
    agreement = read_proposal(envelope, federation)
    signers = signed_by(envelope, agreement)
    in_force = len(signers) == 2 and agreement.in_force(utc_now())
    values = {**_values(agreement, signers, in_force), "file": str(path)}
    alone = f"signed by {' and '.join(signers)} alone: does nothing yet"
    state = "signed by both" if len(signers) == 2 else alone
    report(as_json, values, f"agreement `{agreement.agreement_id}`: {state}", f"file           {path}", *more)


def _values(agreement: AgreementView, signers: Sequence[str], in_force: bool) -> dict[str, Json]:
    """Return an agreement for JSON."""
    return {
        "agreement": agreement.agreement_id,
        "title": agreement.title,
        "digest": agreement.digest.hex(),
        "parties": {agency: key.key_id for agency, key in agreement.parties.items()},
        "signed_by": list(signers),
        "identity_keys": move_values(agreement),
        "in_force": in_force,
        "effective_at": spelled(agreement.effective_at),
        "expires_at": spelled(agreement.expires_at),
        "ends_at": spelled(agreement.ends_at),
        "ends": how_it_ends(agreement),
        "extension_days": agreement.extension_days,
        "notice_days": agreement.notice_days,
        "grants": [_grant_values(grant) for grant in agreement.grants],
        "dissemination_terms": list(agreement.dissemination_terms),
        "duties": list(agreement.duties),
        "dated_duties": [
            {
                "agency": duty.agency,
                "text": duty.text,
                "first_due": f"{duty.first_due_at:%Y-%m-%d}",
                "every_months": duty.every_months,
            }
            for duty in agreement.dated_duties
        ],
        "documents": list(agreement.documents),
    }


def _grant_values(grant: GrantView) -> dict[str, Json]:
    """Return one grant for JSON."""
    ceiling = Marking.FromString(grant.ceiling)
    return {
        "provider": grant.provider,
        "requester": grant.requester,
        "elements": sorted(map(spell, grant.elements)),
        "purposes": sorted(map(spell, grant.purposes)),
        "ceiling": {"nature": ceiling.nature, "banner": ceiling.banner, "portion": ceiling.portion},
        "collected_after_effective_date": grant.collected_after_effective_date,
        "onward_sharing": grant.onward_sharing,
    }


def _lines(agreement: AgreementView, signers: Sequence[str], in_force: bool) -> list[str]:
    """Return an agreement for a person."""
    lines = [
        f"agreement   {agreement.agreement_id}: {agreement.title}",
        f"digest      {agreement.digest.hex()}",
        f"parties     {' and '.join(agreement.parties)}, signed by {' and '.join(signers) or 'nobody'}",
        f"in force    {'yes' if in_force else 'no'}: {spelled(agreement.effective_at)} "
        f"to {spelled(agreement.ends_at)}, {how_it_ends(agreement)}",
        *move_lines(agreement),
    ]
    if agreement.extension_days or agreement.notice_days:
        lines.append(
            f"terms       extension {agreement.extension_days} days, notice {agreement.notice_days} days"
        )
    for grant in agreement.grants:
        ceiling = Marking.FromString(grant.ceiling)
        after = ", collected since it took effect" if grant.collected_after_effective_date else ""
        lines += [
            "",
            f"{grant.provider} provides to {grant.requester}{after}",
            f"  ceiling   {ceiling.banner} ({ceiling.nature})",
            f"  elements  {', '.join(sorted(map(spell, grant.elements))) or 'the plate alone'}",
            f"  purposes  {', '.join(sorted(map(spell, grant.purposes))) or 'none'}",
            f"  onward    {grant.onward_sharing or 'to nobody'}",
        ]
    dated = [
        f"{duty.agency}: {duty.text} ({duty.interval}, first {duty.first_due_at:%Y-%m-%d})"
        for duty in agreement.dated_duties
    ]
    for title, entries in (
        ("dissemination", agreement.dissemination_terms),
        ("duties with dates", dated),
        ("duties", agreement.duties),
        ("documents", agreement.documents),
    ):
        if entries:
            lines += ["", title, *(f"  {entry}" for entry in entries)]
    return lines
