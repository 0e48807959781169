"""`comity hotlist`: plates that one's own people put on hot lists, by the house rules, and the record."""

from __future__ import annotations

import click

from comity.cli import hotlist_check, hotlist_due, hotlist_show


@click.group(
    name="hotlist",
    short_help="Hot lists: check a batch by the house rules, write it down, what is due.",
    epilog="Example: comity hotlist check plates.csv --house fed/agencies/ice/gateway/house --at vendor",
)
def group() -> None:
    """Check what goes on a hot list before it is put there, and keep the record (GUI K; H1 to H3, H8, H9).

    The list itself lies with whoever holds it, for example a vendor's portal. Comity matches nothing against
    reads yet.
    """


group.add_command(hotlist_check.command)
group.add_command(hotlist_due.command)
group.add_command(hotlist_show.command)
