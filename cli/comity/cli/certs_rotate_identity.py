"""`comity certs rotate identity`: an agency's identity key gives way to another, for which it vouches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import click

from comity.certs.agreements import AgreementBook
from comity.certs.authority import OPERATOR, read_application
from comity.certs.clock import utc_now
from comity.certs.envelope import to_json
from comity.certs.errors import ApplicationInvalid, FileUnusable, SetupRefused
from comity.certs.files import read_public, write_public
from comity.certs.key_changes import EndFolder, apply_with_successor
from comity.certs.keys import SigningKey
from comity.certs.members import MemberView
from comity.certs.revocations import REVOCATIONS_FILE
from comity.certs.successions import MAX_OVERLAP, Succession, succeed
from comity.cli.reporting import Json, json_option, refused_as_usage, report, spelled
from comity.v1.envelope_pb2 import Envelope

NEXT_IDENTITY = "identity.next.pem"
"""The key that is to follow, beside the identity key."""
_ROLES = ("gateway", "adapter", "broker")


@click.command(
    "identity",
    epilog="Example: comity certs rotate identity agencies/lapd --because 'a custodian left'",
)
@click.argument("home", metavar="HOME", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--because", "reason", help="Why; it is published.  [default: on schedule]")
@click.option(
    "--overlap-days",
    type=click.IntRange(0, MAX_OVERLAP.days),
    help="For how long the old key counts, too: until then each counterparty accepts the new one.  "
    "[default: 30]",
)
@click.option("--again", is_flag=True, help="Replace a key that was replaced before.")
@click.option(
    "--identity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The identity key, if it isn't in the agency's folder; the new one is made beside it.",
)
@json_option
@refused_as_usage
def command(
    home: Path,
    reason: str | None,
    overlap_days: int | None,
    again: bool,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Replace the identity key of the agency (or operator) whose folder, or whose end's, is HOME.

    Run it again and again; each time it does the next step and says what follows. First it makes the new key
    and an application with it, for which the old key vouches. Once that is admitted, the new key takes the
    old one's place, and the old one is to be destroyed. Each counterparty then accepts the new key into its
    agreements (comity agreement accept-identity), by the overlap's end; nothing stops meanwhile.

    A key that was lost can't vouch for another: see docs/certificates.md.
    """
    end, now = _end(home), utc_now()
    place = _Place(end=end, path=identity or end.home.parent / "identity.pem")
    federation = end.federation(now)
    member = end.member(federation)
    if place.following.exists() and SigningKey.load(place.following).public == member.identity_key:
        retired = place.switch(member.successions[-1])
        _tell_replaced(as_json, member, place, retired=retired)
        return
    if not place.path.exists():
        raise SetupRefused(
            f"`{place.path}` isn't there: bring the identity key, or say with --identity where it is; one "
            "that was lost can't vouch for another (docs/certificates.md)"
        )
    old = SigningKey.load(place.path)
    if old.public != member.identity_key:
        raise SetupRefused(
            f"`{place.path}` is not the identity key that the roster names for `{member.agency}` "
            f"({member.identity_key.key_id})"
        )
    if member.successions and not (again or place.following.exists()):
        _tell_replaced(as_json, member, place)
        return
    if not place.following.exists():
        SigningKey.generate().save(place.following)
    new = SigningKey.load(place.following)
    before = place.prepared(new)
    overlap = before.old_until - before.effective_at if before is not None else timedelta(days=30)
    step = succeed(
        old,
        new,
        agency=member.agency,
        number=len(member.successions) + 1,
        now=now,
        overlap=overlap if overlap_days is None else timedelta(days=overlap_days),
        reason=reason or (before.reason if before is not None else "on schedule"),
    )
    application = apply_with_successor(end, federation, step, new=new, now=now)
    _tell_prepared(as_json, place, step, application)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an identity key lies."""

    end: EndFolder
    path: Path

    @property
    def following(self) -> Path:
        return self.path.with_name(NEXT_IDENTITY)

    @property
    def agreements(self) -> Path:
        return self.end.home.parent / "agreements"

    def book(self) -> AgreementBook | None:
        """Return the agency's agreements; None for the operator, who has none."""
        if self.end.agency == OPERATOR or not self.agreements.is_dir():
            return None
        return AgreementBook.load(self.agreements, self.end.federation(utc_now()), own=self.end.agency)

    def prepared(self, new: SigningKey) -> Succession | None:
        """Return the succession of an application made before with the new key; None: there is none."""
        try:
            _, applied = read_application(read_public(self.end.home.parent / "application.json"))
        except (FileUnusable, ApplicationInvalid):
            return None
        return applied.successions[-1] if applied.successions and applied.identity_key == new.public else None

    def switch(self, step: Succession) -> Path:
        """Have the new key be the identity key; return where the old one lies. Once more does no harm."""
        if self.agreements.is_dir():
            envelope = Envelope.FromString(step.serialized)
            write_public(self.agreements / f"identity-{step.number}.json", to_json(envelope))
        retired = self.path.with_name(f"identity.retired-{step.number}.pem")
        if self.path.exists() and not retired.exists():
            self.path.replace(retired)
        self.following.replace(self.path)
        return retired


def _end(home: Path) -> EndFolder:
    """Return the end in a folder, or the first one of the agency or operator whose folder it is."""
    if any((home / f"{role}.toml").is_file() for role in _ROLES):
        return EndFolder.load(home)
    for role in _ROLES:
        if (home / role / f"{role}.toml").is_file():
            return EndFolder.load(home / role)
    raise SetupRefused(f"`{home}` is neither an agency's folder, nor the operator's, nor an end's")


def _tell_prepared(as_json: bool, place: _Place, step: Succession, application: Path) -> None:
    book = place.book()
    others = [] if book is None else sorted(_counterparties(book, step.agency))
    following = f"comity federation admit {application} --dir FEDERATION; then run this again"
    report(
        as_json,
        {
            "state": "prepared",
            "old_key": step.old.key_id,
            "new_key": step.new.key_id,
            "old_until": spelled(step.old_until),
            "application": str(application),
            "counterparties": list(others),
            "next": following,
        },
        "state        prepared",
        f"old key      {step.old.key_id}, counts until {spelled(step.old_until)}",
        f"new key      {step.new.key_id}, in {place.following}",
        f"application  {application}",
        f"next         {following}",
        *([f"tell         {', '.join(others)}: the new key by telephone, to compare it"] if others else []),
    )


def _tell_replaced(as_json: bool, member: MemberView, place: _Place, *, retired: Path | None = None) -> None:
    step, home = member.successions[-1], place.end.home.parent
    accepted, waiting = _answers(place.book(), step)
    again = f"comity certs revoke --dir {home} --refresh" if (home / REVOCATIONS_FILE).exists() else ""
    values: dict[str, Json] = {
        "state": "replaced",
        "identity_key": step.new.key_id,
        "old_key": step.old.key_id,
        "old_until": spelled(step.old_until),
        "accepted": [f"{other} {spelled(at)}" for other, at in accepted.items()],
        "not_accepted": list(waiting),
        "destroy": None if retired is None else str(retired),
        "sign_anew": again or None,
    }
    lines = [
        "state        replaced",
        f"new key      {step.new.key_id}, since {spelled(step.effective_at)}",
        f"old key      {step.old.key_id}, counts until {spelled(step.old_until)}",
        *(f"accepted     {other}, {spelled(at)}" for other, at in accepted.items()),
        *(f"waiting      {other}: comity agreement accept-identity {step.agency}" for other in waiting),
        *([f"sign anew    your own list of revocations: {again}"] if again else []),
    ]
    if retired is None:
        lines.append("next         to replace it once more: --again")
    else:
        lines.append(f"destroy      {retired}: nothing needs it any more")
    report(as_json, values, *lines)


def _counterparties(book: AgreementBook, agency: str) -> set[str]:
    parties = {party for agreement in book.agreements for party in agreement.parties}
    return parties - {agency}


def _answers(book: AgreementBook | None, step: Succession) -> tuple[dict[str, datetime], list[str]]:
    """Return who accepted a succession into every agreement, with when, and who didn't, as known here."""
    accepted: dict[str, datetime] = {}
    waiting: set[str] = set()
    for agreement in () if book is None else book.agreements:
        for move in agreement.moves:
            if move.succession.digest != step.digest:
                continue
            (other,) = [party for party in agreement.parties if party != step.agency]
            if move.acceptance is None:
                waiting.add(other)
            else:
                accepted[other] = move.acceptance.accepted_at
    return {other: at for other, at in accepted.items() if other not in waiting}, sorted(waiting)
