"""`comity query`: ask about one plate through one's own agency's gateway."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TextIO

import click
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from comity.certs.clock import utc_now
from comity.certs.errors import CertsError
from comity.certs.identity_provider import DemoIdentityProvider
from comity.cli.answer_files import check_files, pdf_option, write_answer, xlsx_option
from comity.cli.asking import AskingFailed, Client, ask, load_client
from comity.cli.parameters import REASONS, ReasonType, TimeType, assertion_option, client_option, user_option
from comity.cli.rendering import MAX_ROWS, rule_json, show, terminal, to_json
from comity.policy.plates import PlateInvalid, fold
from comity.policy.readings import TooManyReadings, own_confusions, readings_of
from comity.v1 import common_pb2, query_pb2, query_service_pb2

ELEMENTS = ["LOCATION", "IMAGES", "VEHICLE", "CAMERA"]


class _AreaType(click.ParamType[common_pb2.Area]):
    name = "lat,lon,metres"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> common_pb2.Area:
        try:
            latitude, longitude, radius = (part.strip() for part in str(value).split(","))
            return common_pb2.Area(
                latitude=float(latitude), longitude=float(longitude), radius_metres=int(radius)
            )
        except ValueError:
            self.fail(f"`{value}` is not LAT,LON,METRES such as 33.74,-118.26,2000", param, ctx)


@click.command(
    epilog="Example: comity query 8ABC123 --state CA --days 90 --reason CRIMINAL_INVESTIGATION "
    '--case 26-0417 --text "series of burglaries" --client desk/client.toml --user j.ortega'
)
@click.argument("plate")
@click.option("--state", required=True, help="State or province of the plate, such as CA (Q3).")
@click.option("--country", default="US", show_default=True, help="Country of the plate, two letters.")
@click.option("--from", "start", type=TimeType(), help="Start of the period (UTC unless it names a zone).")
@click.option("--to", "end", type=TimeType(), help="End of the period; now if left out.")
@click.option("--days", type=click.IntRange(1, 36500), help="Instead of --from: so many days before --to.")
@click.option(
    "--reason",
    required=True,
    metavar="CODE",
    type=ReasonType(),
    help=f"Why (Q3), one of: {', '.join(REASONS)}.",
)
@click.option("--case", "case_number", required=True, help="Number of the case (Q3, Q4).")
@click.option("--text", "reason_text", required=True, help="What led to the query, for an auditor (Q3).")
@click.option(
    "--on-behalf-of", default="", help="The named person for whom you ask; left out: yourself (Q3)."
)
@client_option
@user_option
@assertion_option
@click.option("--provider", "providers", multiple=True, help="Ask only this provider; may be repeated.")
@click.option(
    "--element",
    "elements",
    multiple=True,
    type=click.Choice(ELEMENTS, case_sensitive=False),
    help="Want only this besides the plate; may be repeated. Left out: all.",
)
@click.option("--area", type=_AreaType(), help="Narrow the plate query to a circle: LAT,LON,METRES.")
@click.option(
    "--limitation-years", type=click.IntRange(1, 100), default=None, help="Statute of limitations (Q5)."
)
@click.option(
    "--offence",
    default="",
    metavar="CLASS",
    help="Class of the offence, as the provider's table of statutes names it, such as general (Q5).",
)
@click.option(
    "--border-nexus",
    default="",
    metavar="TEXT",
    help="What ties the query to the border, where your own house rules want it (Q7); no provider is told.",
)
@click.option(
    "--readings",
    "show_readings",
    is_flag=True,
    help="Show what the plate may have been read as (Q10), and ask nothing.",
)
@click.option(
    "--changed",
    type=click.IntRange(min=1),
    help="With --readings: at most so many characters taken for others at once.",
)
@click.option(
    "--search-readings",
    "other_readings",
    default="",
    metavar="A,B,…",
    help="Search these readings of the plate, too: some of those that --readings shows (Q10).",
)
@click.option("--all", "want_all", is_flag=True, help="Fail unless every asked provider answers itself.")
@click.option("--quorum", type=click.IntRange(min=1), help="Fail unless so many providers respond.")
@click.option(
    "--require", "required", multiple=True, help="Fail unless this provider responds; may be repeated."
)
@click.option(
    "--timeout", type=click.FloatRange(0.1, 60), default=10.0, show_default=True, help="Seconds to wait."
)
@click.option(
    "--rows", type=click.IntRange(min=1), default=MAX_ROWS, show_default=True, help="Rows to print."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@xlsx_option
@pdf_option
def command(
    plate: str,
    state: str,
    country: str,
    start: datetime | None,
    end: datetime | None,
    days: int | None,
    reason: str,
    case_number: str,
    reason_text: str,
    on_behalf_of: str,
    client_file: Path,
    user: str | None,
    assertion_file: TextIO | None,
    providers: tuple[str, ...],
    elements: tuple[str, ...],
    area: common_pb2.Area | None,
    limitation_years: int | None,
    border_nexus: str,
    offence: str,
    show_readings: bool,
    changed: int | None,
    other_readings: str,
    want_all: bool,
    quorum: int | None,
    required: tuple[str, ...],
    timeout: float,
    rows: int,
    as_json: bool,
    xlsx: Path | None,
    pdf: Path | None,
) -> None:
    """Ask about one known PLATE in one period, and show what every provider says.

    Exit status: 0 answered; 1 nobody answered, the completeness asked for was not met, or you may not ask;
    2 wrong use or configuration.
    """
    if show_readings or changed is not None:
        if other_readings or not show_readings:
            raise click.UsageError("first look at the --readings, then ask with --search-readings (Q10)")
        tell_readings(plate, changed, as_json=as_json)
        return
    end = end or utc_now()
    if (start is None) == (days is None):
        raise click.UsageError("give the period: either --from or --days (Q2)")
    try:
        start = start or end - timedelta(days=days or 0)
    except OverflowError as error:
        raise click.UsageError("--days: the period would begin before the year 1") from error
    request = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=plate, state=state.upper(), country=country.upper()),
        period=common_pb2.Period(start=_stamp(start), end=_stamp(end)),
        reason=f"REASON_CODE_{reason}",
        case_number=case_number,
        reason_text=reason_text,
        for_self=not on_behalf_of,
        on_behalf_of=on_behalf_of,
        providers=providers,
        completeness=_completeness(want_all, quorum, required),
        elements=[f"ELEMENT_{name.upper()}" for name in elements],
        area=area,
        timeout=_duration(timeout),
        limitation_years=limitation_years or 0,
        border_nexus=border_nexus,
        offence=offence,
        readings=_listed(other_readings),
    )
    check_files(xlsx=xlsx, pdf=pdf)
    try:
        client = load_client(client_file)
        assertion = said_by(client, user, assertion_file)
        answer = ask(client, assertion, request, patience_seconds=timeout + 10)
    except AskingFailed as error:
        if as_json:
            told: dict[str, object] = {"plate": plate, "error": str(error)}
            if error.rules:
                told["house_rules"] = [rule_json(rule) for rule in error.rules]
            click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        click.echo(f"comity query: {error}", err=True)
        sys.exit(error.exit_code)
    if as_json:
        click.echo(json.dumps(to_json(answer, plate), indent=2, ensure_ascii=False))
    else:
        show(answer, terminal(), max_rows=rows)
    if xlsx is not None or pdf is not None:
        asked = {
            "plate": f"{plate} {state.upper()} {country.upper()}",
            "period": f"{start.astimezone(UTC):%Y-%m-%d %H:%M} to {end.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            "reason": reason,
            "case": case_number,
        }
        write_answer(answer, asked, xlsx=xlsx, pdf=pdf)
    sys.exit(1 if answer.problem else 0)


def tell_readings(plate: str, changed: int | None, *, as_json: bool) -> None:
    """Print what a plate may have been read as, and how to search it; exit 2 if that can't be said."""
    try:
        found = readings_of(fold(plate), confusions=own_confusions(), most_changed=changed)
    except TooManyReadings as error:
        fewer = "" if changed == 1 else "look at those with --changed 1, or "
        message = f"{error}: {fewer}name those that you mean with --search-readings (Q10)"
        _no_readings(plate, message, as_json=as_json)
    except PlateInvalid as error:
        _no_readings(plate, str(error), as_json=as_json)
    else:
        if as_json:
            click.echo(json.dumps({"plate": plate, "folded": found[0], "readings": found[1:]}, indent=2))
            return
        console = terminal()
        others = "1 other" if len(found) == 2 else f"{len(found) - 1} others"
        said = f"may have been read as {others}" if found[1:] else "is not likely to be read as another"
        console.print(f"{found[0]} {said}; nothing was asked", highlight=False)
        for reading in found[1:]:
            console.print(_marked(found[0], reading))
        if found[1:]:
            click.echo(f"\nto search all of them, add: --search-readings {','.join(found[1:])}")


def _marked(plate: str, reading: str) -> Text:
    """Return a reading with what differs from the plate standing out, and said beside it."""
    pairs = list(zip(plate, reading, strict=True))
    text = Text("  ")
    for one, other in pairs:
        text.append(other, style="" if one == other else "bold reverse")
    text.append("   " + ", ".join(f"{other} for {one}" for one, other in pairs if one != other), style="dim")
    return text


def _no_readings(plate: str, message: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"plate": plate, "error": message}, indent=2))
    click.echo(f"comity query: {message}", err=True)
    sys.exit(2)


def _listed(readings: str) -> list[str]:
    return [reading.strip() for reading in readings.split(",") if reading.strip()]


def mint(client: Client, user: str) -> str:
    """Return an assertion of the demonstration identity provider, bound to the client's certificate.

    Raises `AskingFailed` if the client file names no provider, or it knows no such user.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    if client.agency_home is None:
        raise AskingFailed(
            "--user needs `agency_home` in the client file; else give --assertion", exit_code=2
        )
    certificate = x509.load_pem_x509_certificate(client.leaf).public_bytes(Encoding.DER)
    try:
        provider = DemoIdentityProvider(client.agency_home / "idp")
        return provider.issue(user, certificate, utc_now())
    except CertsError as error:
        raise AskingFailed(str(error), exit_code=2) from error


def said_by(client: Client, user: str | None, file: TextIO | None) -> str:
    """Return the assertion of a file, or of the demonstration provider for a user; exactly one is given."""
    if (user is None) == (file is None):
        raise click.UsageError("say who asks: either --user or --assertion")
    if user is not None:
        return mint(client, user)
    assert file is not None
    try:
        return str(file.read()).strip()
    except UnicodeDecodeError as error:
        raise AskingFailed("--assertion: the file is not a JWT", exit_code=2) from error


def _completeness(want_all: bool, quorum: int | None, required: tuple[str, ...]) -> query_pb2.Completeness:
    if want_all + (quorum is not None) + bool(required) > 1:
        raise click.UsageError("choose one of --all, --quorum and --require")
    if want_all:
        return query_pb2.Completeness(all=True)
    if quorum is not None:
        return query_pb2.Completeness(quorum=quorum)
    if required:
        return query_pb2.Completeness(required=query_pb2.RequiredProviders(agencies=required))
    return query_pb2.Completeness(best_effort=True)


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC))
    return stamp


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
