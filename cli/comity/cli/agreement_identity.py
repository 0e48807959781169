"""`comity agreement accept-identity`: agreements go on with the new identity key of the other party."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from comity.certs.acceptances import Move, accept, agreements_of, verify_acceptance
from comity.certs.agency import AgencyHome
from comity.certs.agreements import AgreementBook, AgreementView
from comity.certs.clock import utc_now
from comity.certs.envelope import to_json
from comity.certs.errors import SetupRefused, SuccessionInvalid
from comity.certs.files import write_public
from comity.certs.roster import Federation, MemberView
from comity.cli.agreement_files import FOLDER, dir_option, new_file, public_option, roster_of
from comity.cli.reporting import Json, json_option, refused_as_usage, report, spelled
from comity.v1.envelope_pb2 import Envelope


@click.command(
    "accept-identity",
    epilog="Example: comity agreement accept-identity lapd --dir fed/agencies/lahd",
)
@click.argument("other", metavar="AGENCY")
@dir_option
@public_option
@click.option("--key", "key_id", metavar="ID", help="The new key's whole id, as AGENCY told it to you.")
@click.option("--out", type=FOLDER, default=Path(), help="Folder for AGENCY's copy.  [default: here]")
@json_option
@refused_as_usage
def accept_identity(
    other: str, home: Path, public: Path | None, key_id: str | None, out: Path, as_json: bool
) -> None:
    """Accept AGENCY's new identity key into the agreements that the agency of --dir has with it.

    Without --key it shows what would change, and changes nothing. The old key vouches for the new one; but a
    thief of the old one could have done that, too. So call AGENCY at a number that you know already, compare
    the id, and give it with --key. It counts at once, and is signed with your own identity key.
    """
    agency, now = AgencyHome.load(home), utc_now()
    federation = roster_of(agency, public)
    member = federation.member(other)
    book = AgreementBook.load(agency.agreements, federation, own=agency.agency)
    waiting = _waiting(book, other)
    if not waiting:
        raise SetupRefused(_nothing(book, agency.agency, other))
    steps = {move.succession.digest: move for _, move in waiting}
    chain = sorted(steps.values(), key=lambda move: move.succession.number)
    last = chain[-1].succession
    values, lines = _shown(member, chain, [agreement for agreement, _ in waiting])
    if key_id is None:
        following = f"comity agreement accept-identity {other} --dir {home} --key ID"
        report(
            as_json,
            {**values, "accepted": False, "next": following},
            *lines,
            f"next         call {other} at a number that you know already; with the key that it tells you:",
            f"             {following}",
        )
        return
    if key_id != last.new.key_id:
        raise SetupRefused(
            f"--key `{ascii(key_id)[1:-1][:64]}` is not the new identity key of `{other}` in the roster "
            f"({last.new.key_id}): nothing was accepted; find out from `{other}` itself which is right"
        )
    kept, files = [], []
    for move in chain:
        name = f"identity-{other}-{move.succession.number}--accepted-by-{agency.agency}.json"
        copy = new_file(out / name)
        agreements = [each for each, step in waiting if step.succession == move.succession]
        envelope = accept(
            move.succession,
            [each.digest for each in agreements],
            agency=agency.agency,
            key=agency.identity(),
            now=now,
        )
        for each in agreements:
            verify_acceptance(envelope, agreement=each.digest, parties=each.parties, federation=federation)
        write_public(agency.agreements / name, to_json(envelope))
        write_public(copy, to_json(envelope))
        kept.append(str(agency.agreements / name))
        files.append(str(copy))
    report(
        as_json,
        {**values, "accepted": True, "kept": [*kept], "files": [*files]},
        *lines,
        *(f"in force here  {path}" for path in kept),
        *(f"next         `{other}` keeps it, too: comity agreement accept {path}" for path in files),
    )


def accept_acceptance(envelope: Envelope, agency: AgencyHome, federation: Federation, as_json: bool) -> None:
    """Keep the other party's acceptance at an agency that has the agreements; raise `SuccessionInvalid`."""
    book = AgreementBook.load(agency.agreements, federation, own=agency.agency)
    here = [each for each in book.agreements if each.digest in agreements_of(envelope)]
    if not here:
        raise SuccessionInvalid("acceptance: no agreement that it names is here, or none verifies")
    found, *_ = [
        verify_acceptance(envelope, agreement=each.digest, parties=each.parties, federation=federation)
        for each in here
    ]
    step = found.succession
    if step.digest not in {known.digest for known in federation.member(step.agency).successions}:
        raise SuccessionInvalid(
            f"acceptance: the roster does not name the key {step.new.key_id} of `{step.agency}`"
        )
    path = agency.agreements / f"identity-{step.agency}-{step.number}--accepted-by-{found.agency}.json"
    write_public(path, to_json(envelope))
    names = sorted(each.agreement_id for each in here)
    report(
        as_json,
        {
            "agency": step.agency,
            "new_key": step.new.key_id,
            "accepted_by": found.agency,
            "accepted_at": spelled(found.accepted_at),
            "agreements": [*names],
            "kept": str(path),
        },
        f"`{found.agency}` accepted the identity key {step.new.key_id} of `{step.agency}` "
        f"{spelled(found.accepted_at)}, into {', '.join(names)}",
        f"kept           {path}",
    )


def move_values(agreement: AgreementView) -> list[Json]:
    """Return for JSON what became of the identity keys that an agreement pins."""
    return [
        {
            "agency": move.succession.agency,
            "old_key": move.succession.old.key_id,
            "new_key": move.succession.new.key_id,
            "since": spelled(move.succession.effective_at),
            "old_until": spelled(move.old_until),
            "accepted_at": None if move.acceptance is None else spelled(move.acceptance.accepted_at),
        }
        for move in agreement.moves
    ]


def move_lines(agreement: AgreementView) -> list[str]:
    """Return for a person what became of the identity keys that an agreement pins."""
    lines = []
    for move in agreement.moves:
        step = move.succession
        (other,) = [party for party in agreement.parties if party != step.agency]
        if move.acceptance is not None:
            state = f"accepted by {other} {spelled(move.acceptance.accepted_at)}"
        elif move.is_open:
            until = spelled(move.old_until)
            state = f"no acceptance of {other} is here, without which it rests from {until}"
        else:
            state = f"no acceptance of {other} is here"
        lines += [
            f"identity    {step.agency}: {step.old.key_id}",
            f"            gave way to {step.new.key_id} {spelled(step.effective_at)}, {state}",
        ]
    return lines


def _waiting(book: AgreementBook, other: str) -> list[tuple[AgreementView, Move]]:
    return [
        (agreement, move)
        for agreement in book.agreements
        for move in agreement.moves
        if move.is_open and move.succession.agency == other
    ]


def _nothing(book: AgreementBook, own: str, other: str) -> str:
    """Return why there is nothing to accept, with the agreements that do nothing."""
    text = f"no agreement of `{own}` with `{other}` waits for a new identity key"
    idle = [f"{rejected.path.name} does nothing: {rejected.reason}" for rejected in book.rejected]
    return "; ".join([text, *(each for each in idle if f"`{other}`" in each)])


def _shown(
    member: MemberView, chain: Sequence[Move], agreements: Sequence[AgreementView]
) -> tuple[Mapping[str, Json], list[str]]:
    """Return what would change: for JSON, and for a person."""
    first, last = chain[0].succession, chain[-1].succession
    until = min(move.old_until for move in chain)
    names = sorted({each.agreement_id for each in agreements})
    values: dict[str, Json] = {
        "agency": member.agency,
        "old_key": first.old.key_id,
        "new_key": last.new.key_id,
        "reason": last.reason,
        "since": spelled(last.effective_at),
        "old_until": spelled(until),
        "agreements": [*names],
    }
    return values, [
        f"agency       {member.agency}: {member.display_name}, {member.contact}",
        f"old key      {first.old.key_id}",
        f"new key      {last.new.key_id}",
        f"since        {spelled(last.effective_at)}: {last.reason}",
        f"agreements   {', '.join(names)}",
        f"without it   they rest from {spelled(until)}",
    ]
