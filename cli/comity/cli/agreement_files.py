"""What the commands about agreements share: where an agency's folder is, and how a document is read."""

from __future__ import annotations

from pathlib import Path

import click

from comity.certs.acceptances import is_acceptance
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.envelope import from_json
from comity.certs.errors import AgreementInvalid, EnvelopeInvalid, SetupRefused
from comity.certs.files import read_public
from comity.certs.notices import is_notice
from comity.certs.roster import Federation
from comity.v1.envelope_pb2 import Envelope

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
dir_option = click.option("--dir", "home", type=FOLDER, required=True, help="The agency's folder.")
public_option = click.option(
    "--public", type=FOLDER, help="The federation's public folder.  [default: the agency's own]"
)


def read_document(file: Path) -> Envelope:
    """Return the signed document in `file`, nothing verified; raise `EnvelopeInvalid`, naming the file."""
    try:
        return from_json(read_public(file))
    except EnvelopeInvalid as error:
        raise EnvelopeInvalid(f"file `{file}`: {error}") from error


def read_agreement(file: Path) -> Envelope:
    """Return the signed document in `file`; raise `AgreementInvalid` if it is one about an agreement."""
    envelope = read_document(file)
    if is_notice(envelope):
        raise AgreementInvalid(
            f"file `{file}` is a notice that an agreement ends: name the agreement's own file"
        )
    if is_acceptance(envelope):
        raise AgreementInvalid(
            f"file `{file}` is the acceptance of an identity key: name the agreement's own file"
        )
    return envelope


def new_file(path: Path) -> Path:
    """Return `path`; raise `SetupRefused` if there is something: no document is overwritten."""
    if path.exists():
        raise SetupRefused(f"`{path}` is there already and isn't overwritten: choose another --out")
    return path


def roster_of(agency: AgencyHome, public: Path | None) -> Federation:
    """Return the roster, verified against the pin that the agency keeps."""
    return agency.federation(utc_now(), public)


def notices_in(folder: Path) -> list[tuple[Path, Envelope]]:
    """Return the documents of a folder that say that they are notices; nothing is verified."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            envelope = read_document(path)
        except EnvelopeInvalid:
            continue
        if is_notice(envelope):
            found.append((path, envelope))
    return found
