"""`comity certs`: certificates and keys of the federation, for the security admin."""

from __future__ import annotations

import click

from comity.cli.certs_doctor import command as doctor
from comity.cli.certs_issue import issue, issuing, renew, request, take
from comity.cli.certs_revoke import command as revoke
from comity.cli.certs_rotate import group as rotate
from comity.cli.certs_status import command as status


@click.group(
    name="certs",
    short_help="Certificates and keys: what there is, and what is due.",
    epilog="Example: comity certs status fed/agencies/lapd",
)
def group() -> None:
    """Certificates and keys of the federation: what there is, how old it is, and what is due."""


for command in (status, doctor, request, issue, issuing, take, renew, rotate, revoke):
    group.add_command(command)
