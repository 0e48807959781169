"""`comity hotlist check`: judge a batch of plates by the agency's own house rules, and write it down."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TextIO

import click

from comity.audit.acts import enter
from comity.audit.errors import AuditError
from comity.certs.assertions import PublishedBy, verify_assertion
from comity.certs.clock import utc_now
from comity.certs.errors import CertsError
from comity.certs.published_keys import load_published
from comity.certs.x509 import split_pem
from comity.cli.asking import AskingFailed, load_client
from comity.cli.csv_files import ListInvalid
from comity.cli.exporting.files import make_file
from comity.cli.hot_list_files import ReadBatch, read_batch, read_cases, write_list
from comity.cli.hotlist_telling import UNJUDGED, Finding, as_object, texts
from comity.cli.own_end import OwnEnd, load_own_end
from comity.cli.parameters import REASONS, ReasonType, TimeType, assertion_option, user_option
from comity.cli.query import said_by
from comity.cli.reporting import json_option, spelled, stop, working
from comity.gateway.config import load_config
from comity.gateway.errors import ConfigInvalid, SubjectRefused
from comity.gateway.hot_lists import (
    MOST_RECORDED,
    Batch,
    ListedPlate,
    Lister,
    ListingInvalid,
    changed,
    facts,
    validity,
)
from comity.gateway.house import load_house
from comity.gateway.people import require_access_kept
from comity.gateway.subjects import require_fit
from comity.policy.decision import Rule
from comity.policy.errors import PolicyError
from comity.policy.facts import KINDS
from comity.policy.house.bundle import HouseBundle
from comity.policy.house.facts import LIST_ACTS, AskedOf, HouseListing, is_tracking_number
from comity.policy.house.rules import HouseRules, Judgement

_DONE: Final = {
    "enter": "entered",
    "keep": "kept",
    "renew": "renewed",
    "remove": "removed",
    "expire": "expired",
}
_AGENCY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command(
    name="check",
    epilog="Example: comity hotlist check plates.csv --home fed/agencies/ice/gateway --at vendor --act enter "
    "--client desk/client.toml --user d.hart --attest --record  Exit status: 0 nothing is stopped; 1 a line "
    "is, or you may not list; 2 wrong use, or a file that can't be read.",
)
@click.argument("file", type=_FILE)
@click.option("--house", "house", type=_FOLDER, help="The house bundle.  [default: that of --home]")
@click.option("--home", type=_FOLDER, help="Your agency's gateway folder: its rules, roster and log.")
@click.option("--at", "holder", required=True, metavar="AGENCY", help="Who holds the hot list: `vendor`.")
@click.option(
    "--at-kind",
    type=click.Choice(sorted(KINDS)),
    help="What kind of agency that is.  [default: as the roster of --home has it, else commercial]",
)
@click.option(
    "--act",
    type=click.Choice([*_DONE]),
    default="enter",
    show_default=True,
    help="What is done to the plates; keep: they were reviewed and stay.",
)
@click.option("--reason", metavar="CODE", type=ReasonType(), help=f"For lines that say none: {REASONS[0]} …")
@click.option("--cases", "cases_file", type=_FILE, help="Numbers of the current investigations, one a line.")
@click.option("--need", is_flag=True, help="Affirm that there continues to be an operational need (H3).")
@click.option("--attest", is_flag=True, help="Attest to the special protections for these plates (Q9).")
@click.option(
    "--client",
    "client_file",
    type=_FILE,
    envvar="COMITY_CLIENT",
    help="client.toml: for --user, --assertion.",
)
@user_option
@assertion_option
@click.option("--office", default="", help="Without an assertion: your office, by your own word.")
@click.option("--role", "roles", multiple=True, help="Likewise: a role of yours; may be repeated.")
@click.option("--trained", "trained_at", type=TimeType(), help="Likewise: the day of your last training.")
@click.option(
    "--record", is_flag=True, help="If no line is stopped: write it down in the log of --home (H8)."
)
@click.option("--note", default="", help="With --record: your own words on it; they stay in the house.")
@click.option(
    "--out", type=_FILE, help="If no line is stopped: a new file of what goes on the list alone (H2)."
)
@json_option
def command(
    file: Path,
    house: Path | None,
    home: Path | None,
    holder: str,
    at_kind: str | None,
    act: str,
    reason: str | None,
    cases_file: Path | None,
    need: bool,
    attest: bool,
    client_file: Path | None,
    user: str | None,
    assertion_file: TextIO | None,
    office: str,
    roles: tuple[str, ...],
    trained_at: datetime | None,
    record: bool,
    note: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge the plates in FILE, a CSV file, by your agency's house rules, before they go on a hot list.

    For each rule that stops or warns of lines: which, the rule, its document's paragraph, and what would be
    right. No plate, case or name is printed. Nothing is asked and nothing leaves the house. With --record an
    act that nothing stops is entered in your gateway's signed log, with its plates, cases and tracking
    numbers behind commitments, and --user or --assertion says who does it. With --out there is then a file
    of plate, state, country, reason and tracking number alone, for whoever uploads it. To remove plates, or
    that they expired, is not judged, only written down.
    """
    now = utc_now()
    try:
        end = None if home is None else own_gateway(home)
        rules = rules_of(house, home, end)
        _check_use(rules, end, holder, record=record, act=act, note=note)
        lister = _lister(
            end,
            client_file,
            user,
            assertion_file,
            attest=attest,
            office=office,
            roles=roles,
            trained_at=trained_at,
        )
        if record:
            _require_known(lister)
            _require_own_rules(house, home)
        cases = None if cases_file is None else read_cases(cases_file)
        read = read_batch(file, zone=rules.bundle.windows.zone, reason=reason, cases=cases)
        batch = Batch(
            agency=rules.bundle.agency,
            act=act.upper(),
            holder=AskedOf(agency=holder, kind=kind_of(end, holder, at_kind)),
            lister=lister,
            need_affirmed=need,
            documented=record,
            plates=len(read.plates),
            now=now,
        )
        with working(f"judging {len(read.plates)} plates"):
            findings = [] if act in UNJUDGED else _judged(file, rules, batch, read)
        stopped = {line for found in findings if found.effect == "stop" for line in found.lines}
        entry = None

        def write_down() -> None:
            nonlocal entry
            if record and home is not None:
                entry = _record(home, rules, batch, read, findings, _DONE[act], note)

        if out is None or stopped:
            write_down()
        else:
            _hand_out(out, read, write_down)
    except (ListInvalid, PolicyError, ConfigInvalid, CertsError) as error:
        stop(str(error))
    except AskingFailed as error:
        stop(str(error), status=error.exit_code)
    except SubjectRefused as error:
        stop(f"you may not list plates: {error}", status=1)
    except AuditError as error:
        stop(f"nothing was written down: {error}", status=1)
    except OSError as error:
        stop(f"`{error.filename}`: {(error.strerror or 'fault').lower()}")
    if as_json:
        click.echo(json.dumps(as_object(rules, batch, act, read, findings, stopped, entry), indent=2))
    else:
        for text in texts(batch, act, read, findings, stopped, entry, record=record):
            click.echo(text)
    sys.exit(1 if stopped else 0)


def own_gateway(home: Path) -> OwnEnd:
    """Return the gateway in a folder; another end is wrong use."""
    end = load_own_end(home)
    if end.role != "gateway":
        raise click.UsageError(f"--home: `{home}` is no gateway's folder: your own people act at a gateway")
    return end


def rules_of(house: Path | None, home: Path | None, end: OwnEnd | None) -> HouseRules:
    """Return the rules of the bundle that is named, else those of the gateway as it is configured."""
    if house is not None:
        rules: HouseRules | None = HouseRules(HouseBundle.load(house), {})
    elif home is not None and end is not None:
        rules = load_house(load_config(home / "gateway.toml").house, agency=end.agency)
    else:
        raise click.UsageError("give the rules: --house BUNDLE, or --home with your gateway's folder")
    if rules is None:
        raise click.UsageError(
            f"`{home}` has no house rules: there is no table `[house_rules]`; give --house"
        )
    if end is not None and rules.bundle.agency != end.agency:
        raise click.UsageError(f"--house: the rules are of `{rules.bundle.agency}`, not of `{end.agency}`")
    return rules


def _check_use(
    rules: HouseRules, end: OwnEnd | None, holder: str, *, record: bool, act: str, note: str
) -> None:
    if not rules.judges_lists:
        raise click.UsageError(
            f"the house rules of `{rules.bundle.agency}` describe no hot list: their schema needs "
            "`Listing` and `action List`, as the one of `comity policy start --from house` has them"
        )
    if record and end is None:
        raise click.UsageError("--record writes in your gateway's log: give --home")
    if note and not record:
        raise click.UsageError("--note goes with --record")
    if not _AGENCY.fullmatch(holder):
        raise click.UsageError("--at: an agency's name has lower case letters, digits and `-`, 31 at most")
    if len(note) > 1_000 or not note.isprintable():
        raise click.UsageError("--note: one printable line of 1,000 characters at most")
    if act in UNJUDGED and not record:
        raise click.UsageError(f"--act {act} is not judged, only written down: give --record")


def _lister(
    end: OwnEnd | None,
    client_file: Path | None,
    user: str | None,
    assertion_file: TextIO | None,
    *,
    attest: bool,
    office: str,
    roles: Sequence[str],
    trained_at: datetime | None,
) -> Lister:
    """Return who lists: of an assertion that verifies for the client's certificate, or by their own word."""
    if user is None and assertion_file is None:
        return Lister(office=office, roles=frozenset(roles), trained_at=trained_at, attested=attest)
    if office or roles or trained_at is not None:
        raise click.UsageError("--office, --role and --trained stand in the place of an assertion")
    if client_file is None or end is None:
        raise click.UsageError("--user and --assertion need --client and --home, by which they are verified")
    client, now = load_client(client_file), utc_now()
    chain, member = split_pem(client.leaf), end.federation.member(end.agency)
    assertion = said_by(client, user, assertion_file)
    member.revoked.check_chain(chain)
    claims = verify_assertion(
        assertion, member=member, now=now, certificate_der=chain[0], published=_published(end.home)
    )
    require_access_kept(end.home, claims.user, own=member, now=now)
    require_fit(claims, now=now)
    return Lister.of(claims, attested=attest, now=now)


def _published(home: Path) -> PublishedBy | None:
    """Return what the gateway fetched last of its identity provider's keys; None if it follows none."""
    settings = load_config(home / "gateway.toml").identity_provider
    return None if settings is None else load_published(home, source=settings.source)


def _require_known(lister: Lister) -> None:
    """Refuse to write down what nobody's identity provider vouches for (H8)."""
    if not lister.user:
        raise click.UsageError("--record needs to know who does it: --client with --user or --assertion")


def _require_own_rules(house: Path | None, home: Path | None) -> None:
    """Refuse to write down what other rules than those in force at the gateway let pass."""
    if house is not None and home is not None and load_config(home / "gateway.toml").house is not None:
        raise click.UsageError("--record is judged by the gateway's own house rules: leave --house out")


def kind_of(end: OwnEnd | None, holder: str, kind: str | None) -> str:
    """Return what kind of agency holds a list: as the roster has it, else what is said."""
    if end is None:
        return kind or "commercial"
    if holder in end.federation.members:
        return end.federation.member(holder).kind
    if kind is None:
        raise click.UsageError(
            f"--at: the roster has no `{holder}`; say by --at-kind what kind of agency it is"
        )
    return kind


def _judged(file: Path, rules: HouseRules, batch: Batch, read: ReadBatch) -> list[Finding]:
    """Return what the rules say of a batch, stops first; plates with the same facts are judged once."""
    judged: dict[HouseListing, Judgement] = {}
    lines: dict[tuple[str, str], list[int]] = {}
    found: dict[str, Rule] = {}
    for line, listed in read.plates:
        listing = _facts(file, line, rules, batch, listed)
        if listing not in judged:
            judged[listing] = rules.judge(listing)[0]
        for effect, said in (("stop", judged[listing].stops), ("warn", judged[listing].warnings)):
            for rule in said:
                found[rule.policy_id] = rule
                lines.setdefault((effect, rule.policy_id), []).append(line)
    return [
        Finding(effect=effect, rule=found[name], lines=tuple(at))
        for (effect, name), at in sorted(lines.items(), key=lambda item: (item[0][0], item[1][0]))
    ]


def _facts(file: Path, line: int, rules: HouseRules, batch: Batch, listed: ListedPlate) -> HouseListing:
    try:
        return facts(batch, listed, rules.bundle.windows)
    except ListingInvalid as error:
        raise ListInvalid(f"file `{file}`: line {line}, {error}") from error


def _record(
    home: Path,
    rules: HouseRules,
    batch: Batch,
    read: ReadBatch,
    findings: Sequence[Finding],
    done: str,
    note: str,
) -> int | None:
    """Enter what was done in the gateway's log; return the entry's index, None if a rule stops a line."""
    if any(found.effect == "stop" for found in findings):
        return None
    if len(read.plates) > MOST_RECORDED:
        raise ListInvalid(f"--record: {len(read.plates)} plates; at most {MOST_RECORDED} are one batch (H1)")
    is_judged = batch.act in LIST_ACTS
    rows = [_row(rules, batch, each) for _, each in read.plates]
    act = changed(
        batch.agency,
        done,
        batch.holder.agency,
        batch.lister,
        rows,
        note=note,
        bundle=rules.bundle.digest if is_judged else None,
        warned=[found.rule for found in findings],
    )
    return enter(home, act).index


def _hand_out(out: Path, read: ReadBatch, write_down: Callable[[], None]) -> None:
    """Make the file of what goes on the list; it appears once the act is written down, if it is to be."""

    for line, listed in read.plates:
        if listed.tracking and not is_tracking_number(listed.tracking):
            raise ListInvalid(
                f"line {line}, `tracking`: is no number (letters, digits, . / _ - with a digit among them), "
                f"so `{out}` is not made (H2)"
            )

    def produce(path: Path, _scratch: Path) -> None:
        write_list(path, read)
        write_down()

    try:
        make_file(out, produce)
    except FileExistsError as error:
        raise click.UsageError(f"--out: `{out}` is there already; name a new file") from error


def _row(rules: HouseRules, batch: Batch, listed: ListedPlate) -> dict[str, str]:
    """Return what is documented of one plate: what GUI K.3 asks for, and when it is valid."""
    row = {
        "plate": listed.plate,
        "folded": listed.folded,
        "state": listed.state,
        "country": listed.country,
        "reason": listed.reason,
        "case": listed.case,
        "tracking": listed.tracking,
    }
    if batch.act in LIST_ACTS:
        since, until = validity(batch, listed, rules.bundle.windows)
        return {**row, "valid_from": spelled(since), "valid_until": spelled(until)}
    known = {"valid_from": listed.renewed or listed.entered, "valid_until": listed.expires}
    return {**row, **{name: spelled(day) for name, day in known.items() if day is not None}}
