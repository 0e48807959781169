"""`comity federation`, `agency`, `agreement`: what a person types, and what they are told."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from comity.certs.agreements import AgreementBook
from comity.certs.assertions import verify_assertion
from comity.certs.clock import utc_now
from comity.certs.jwks import to_jwks
from comity.certs.keys import SigningKey
from comity.certs.lodgements import LodgementBook
from comity.certs.roster import Federation
from comity.certs.x509 import split_pem
from comity.cli import agency, agreement, federation
from comity.cli.ceilings import make_ceiling
from comity.v1.result_pb2 import Marking

GROUPS = {"federation": federation.group, "agency": agency.group, "agreement": agreement.group}

Comity = Callable[..., Result]


@pytest.fixture
def comity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comity:
    """Runs one command in an empty folder; any exception but a clean exit fails the test."""
    monkeypatch.chdir(tmp_path)

    def run(line: str, *more: str) -> Result:
        name, *arguments = line.split()
        result = CliRunner().invoke(GROUPS[name], [*arguments, *more])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def init_agency(comity: Comity, name: str, *more: str) -> Result:
    return comity(
        f"agency init {name} --dir fed/agencies/{name} --kind local --state CA --domain {name}.example "
        f"--contact desk@{name}.example --asks --provides --public fed/public --broker 127.0.0.1:7400",
        "--name",
        f"Agency {name}",
        *more,
    )


@pytest.fixture
def fed(comity: Comity, tmp_path: Path) -> Path:
    """A federation with LAPD and the Port Police, made by commands alone."""
    assert comity("federation init fed --broker 127.0.0.1:7400", "--name", "Test").exit_code == 0
    for name in ("lapd", "lahd"):
        assert init_agency(comity, name).exit_code == 0
    admitted = comity(
        "federation admit fed/agencies/lapd/application.json fed/agencies/lahd/application.json --dir fed"
    )
    assert admitted.exit_code == 0
    return tmp_path / "fed"


def draft(comity: Comity, *more: str) -> Result:
    return comity(
        "agreement draft --dir fed/agencies/lapd --with lahd --id moa --title MOA "
        "--grant lapd:lahd --grant lahd:lapd --element location --purpose all "
        "--effective 2020-01-01 --expires 2099-01-01 --ceiling-nature reads",
        "--ceiling-banner",
        "LAW ENFORCEMENT SENSITIVE",
        *more,
    )


def test_from_nothing_to_an_agreement_in_force(comity: Comity, fed: Path) -> None:
    """The commands alone make a federation in which LAPD may be asked, and an assertion that verifies."""
    now = utc_now()
    assert draft(comity).exit_code == 0
    assert comity("agreement sign moa.json --dir fed/agencies/lahd").exit_code == 0
    for name in ("lapd", "lahd"):
        assert comity(f"agreement accept moa.json --dir fed/agencies/{name}").exit_code == 0
        lodged = comity(f"agreement lodge moa.json --dir fed/agencies/{name} --broker fed/operator/broker")
        assert lodged.exit_code == 0
    loaded = Federation.load(fed / "public", now=now)
    book = AgreementBook.load(fed / "agencies" / "lahd" / "agreements", loaded)
    assert book.providers_for("lahd", now) == ("lapd",)
    broker = LodgementBook.load(fed / "operator" / "broker" / "lodgements", loaded)
    pair = book.grant(provider="lapd", requester="lahd", now=now)
    lodged_ceiling = broker.ceiling("lapd", "lahd", now)
    assert pair is not None
    assert lodged_ceiling is not None
    assert lodged_ceiling.ceiling == pair[1].ceiling
    assert Marking.FromString(pair[1].ceiling).banner == "LAW ENFORCEMENT SENSITIVE // LAPD"

    day = now.date().isoformat()
    comity(f"agency user r.diaz --dir fed/agencies/lapd --office Det --role investigator --trained {day}")
    comity("agency client desk --dir fed/agencies/lapd --gateway 127.0.0.1:7443")
    leaf = fed / "agencies" / "lapd" / "clients" / "desk" / "leaf.pem"
    issued = comity(f"agency assert r.diaz --dir fed/agencies/lapd --certificate {leaf} --accept-rules")
    certificate = split_pem(leaf.read_bytes())[0]
    claims = verify_assertion(
        issued.stdout.strip(), member=loaded.member("lapd"), now=utc_now(), certificate_der=certificate
    )
    assert claims.roles == ("investigator",)


def test_every_command_helps_with_an_example() -> None:
    """`--help` of each command ends with an example, and each prints JSON on request."""
    for name, group in GROUPS.items():
        for command in group.commands.values():
            shown = CliRunner().invoke(group, [str(command.name), "--help"]).output
            assert f"Example: comity {name} {command.name}" in " ".join(shown.split()), command.name
            assert "--json" in shown, command.name
        assert "Example: comity" in CliRunner().invoke(group, ["--help"]).output


def test_json_of_every_step(comity: Comity, fed: Path) -> None:
    """With `--json`, standard output is one object that a script can read."""
    day = datetime.now(UTC).date().isoformat()
    for line in (
        "federation show --dir fed",
        "federation show --dir fed/public --pin fed/authority/authority.json",
        "federation refresh --dir fed",
        "federation suspend lahd --dir fed",
        "federation suspend lahd --lift --dir fed",
        f"agency user a --dir fed/agencies/lapd --office x --role y --trained {day}",
        "agency client desk --dir fed/agencies/lapd --gateway 127.0.0.1:7443",
        "agency assert a --dir fed/agencies/lapd --accept-rules "
        "--certificate fed/agencies/lapd/clients/desk/leaf.pem",
    ):
        result = comity(line, "--json")
        assert result.exit_code == 0, result.output
        assert isinstance(json.loads(result.stdout), dict), line
    assert json.loads(draft(comity, "--json").stdout)["signed_by"] == ["lapd"]
    signed = json.loads(comity("agreement sign moa.json --dir fed/agencies/lahd --json").stdout)
    assert signed["in_force"] is True
    assert [grant["ceiling"]["banner"] for grant in signed["grants"]] == [
        "LAW ENFORCEMENT SENSITIVE // LAPD",
        "LAW ENFORCEMENT SENSITIVE // LAHD",
    ]


def test_roster_past_its_time_is_a_finding(
    comity: Comity, fed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`show` ends with 1 and names the command that helps; after `refresh` it is well again."""
    monkeypatch.setattr(federation, "utc_now", lambda: utc_now() + timedelta(days=40))
    shown = comity("federation show --dir fed")
    assert shown.exit_code == 1
    assert "comity federation refresh" in shown.stderr
    assert json.loads(comity("federation show --dir fed --json").stdout)["valid"] is False
    assert comity("federation refresh --dir fed").exit_code == 0
    assert comity("federation show --dir fed").exit_code == 0


def test_forged_application_is_a_finding(comity: Comity, fed: Path) -> None:
    """An application that doesn't verify ends with 1 in one line, and the roster stays as it was."""
    document = json.loads((fed / "agencies/lapd/application.json").read_text())
    document["signatures"] = json.loads((fed / "agencies/lahd/application.json").read_text())["signatures"]
    Path("forged.json").write_text(json.dumps(document))
    result = comity("federation admit forged.json --dir fed")
    assert result.exit_code == 1
    assert "application" in result.stderr
    assert json.loads(comity("federation show --dir fed --json").stdout)["version"] == 2


def test_one_sided_agreement_is_not_accepted(comity: Comity, fed: Path) -> None:
    """An agreement that one side signed is shown as doing nothing, and goes into no folder (A2)."""
    draft(comity)
    shown = comity("agreement show moa.json --public fed/public")
    assert (shown.exit_code, "not signed by lahd" in shown.stderr) == (1, True)
    for line in (
        "agreement accept moa.json --dir fed/agencies/lapd",
        "agreement lodge moa.json --dir fed/agencies/lapd --broker fed/operator/broker",
    ):
        result = comity(line)
        assert result.exit_code == 1
        assert "isn't signed by both" in result.stderr
    assert not list((fed / "agencies" / "lapd" / "agreements").iterdir())
    assert not list((fed / "operator" / "broker" / "lodgements").iterdir())


def test_third_agency_neither_signs_nor_accepts(comity: Comity, fed: Path) -> None:
    """Only the parties of an agreement can use it."""
    init_agency(comity, "chp")
    comity("federation admit fed/agencies/chp/application.json --dir fed")
    draft(comity)
    assert comity("agreement sign moa.json --dir fed/agencies/chp").exit_code == 1
    comity("agreement sign moa.json --dir fed/agencies/lahd")
    result = comity("agreement accept moa.json --dir fed/agencies/chp")
    assert result.exit_code == 1
    assert "not `chp`" in result.stderr


def test_accepting_other_terms_under_the_same_id(comity: Comity, fed: Path) -> None:
    """An agreement that is in force isn't replaced by another of its name."""
    for out in ("one.json", "two.json"):
        draft(comity, "--out", out)
        comity(f"agreement sign {out} --dir fed/agencies/lahd")
    assert comity("agreement accept one.json --dir fed/agencies/lapd").exit_code == 0
    assert comity("agreement accept one.json --dir fed/agencies/lapd").exit_code == 0
    second = comity("agreement accept two.json --dir fed/agencies/lapd")
    assert second.exit_code == 2
    assert "id of its own" in second.stderr


def test_logging_on_without_accepting_the_rules(comity: Comity, fed: Path) -> None:
    """The rules of behaviour are shown, and nothing is issued until they are accepted (Q4, Q9)."""
    comity("agency user a --dir fed/agencies/lapd --office x --role y --trained 2026-01-01")
    comity("agency client desk --dir fed/agencies/lapd --gateway 127.0.0.1:7443")
    result = comity(
        "agency assert a --dir fed/agencies/lapd --certificate fed/agencies/lapd/clients/desk/leaf.pem"
    )
    assert result.exit_code == 2
    assert not result.stdout
    assert "race, ethnicity, gender" in result.stderr
    assert "--accept-rules" in result.stderr


def test_own_identity_provider(comity: Comity, fed: Path) -> None:
    """A real provider comes in by issuer and keys, together."""
    Path("jwks.json").write_bytes(to_jwks({"k": SigningKey.generate().public}))
    alone = init_agency(comity, "chp", "--issuer", "https://login.chp.example")
    assert (alone.exit_code, "--jwks" in alone.stderr) == (2, True)
    both = init_agency(comity, "chp", "--issuer", "https://login.chp.example", "--jwks", "jwks.json")
    assert both.exit_code == 0
    assert not (fed / "agencies" / "chp" / "idp").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("federation init fed --name x --broker 127.0.0.1:1", ["fed/authority", "isn't overwritten"]),
        ("federation init f2 --name x --broker nowhere", ["broker", "nowhere", "HOST:PORT"]),
        ("federation init f2 --name x --broker h:1 --threshold 2", ["threshold", "`2`", "1 to 1"]),
        ("federation init f2 --name x --broker h:1 --timestamp-hours 0", ["timestamp lifetime"]),
        ("federation admit nothing.json --dir fed", ["nothing.json", "no such file"]),
        ("federation admit fed/public/roster.json --dir fed", ["fed/public/roster.json", "application"]),
        ("federation refresh --dir nowhere", ["nowhere/authority/authority.json", "comity federation init"]),
        ("federation suspend lapd --dir fed/public", ["not the governing authority's folder"]),
        ("federation admit fed/agencies/lapd/application.json --dir fed/agencies/lapd",
         ["not the governing authority's folder"]),
        ("federation show --dir nowhere", ["nowhere"]),
        ("federation suspend nobody --dir fed", ["nobody", "lahd, lapd"]),
        ("federation remove nobody --dir fed --yes", ["nobody", "lahd, lapd"]),
        ("agency user A.B --dir fed/agencies/lapd --office x --role y --trained 2026-01-01", ["user", "A.B"]),
        ("agency user a --dir fed/agencies/lapd --office x --role y --trained soon", ["--trained"]),
        ("agency user a --dir nowhere --office x --role y --trained 2026-01-01", ["nowhere/agency.toml"]),
        ("agency client ../x --dir fed/agencies/lapd --gateway h:1", ["client name", "../x"]),
        ("agency client x --dir fed/agencies/lapd --gateway h", ["gateway", "HOST:PORT"]),
        ("agency client x --dir fed/agencies/lapd --gateway h:1 --leaf-days 0", ["--leaf-days", "1 to 3650"]),
        ("agency assert nobody --dir fed/agencies/lapd --accept-rules --certificate fed/agencies/lapd/ca.pem",
         ["users.toml", "comity agency user"]),
        ("agency assert a --dir fed/agencies/lapd --accept-rules --certificate fed/public/roster.json",
         ["certificate"]),
        ("agreement draft --dir fed/agencies/lapd --with lahd", ["--from", "--id"]),
        ("agreement draft --dir fed/agencies/lapd --with lahd --from nothing.toml", ["nothing.toml"]),
        ("agreement sign fed/public/roster.json --dir fed/agencies/lapd", ["Agreement"]),
        ("agreement sign fed/public/authority.json --dir fed/agencies/lapd", ["authority.json", "envelope"]),
        ("agreement show nothing.json --public fed/public", ["nothing.json"]),
        ("agreement show nothing.json", ["--dir or --public"]),
    ],
)  # fmt: skip
def test_mistakes_are_named(comity: Comity, fed: Path, line: str, words: list[str]) -> None:
    """A user's mistake is one clear line without a traceback, with what is wrong and what would be right."""
    result = comity(line)
    assert result.exit_code in (1, 2)
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output
    assert not Path("f2").exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--grant", "lapd", ["--grant", "PROVIDER:REQUESTER"]),
        ("--grant", "lapd:lapd", ["both `lapd`"]),
        ("--element", "locations", ["--element", "did you mean `location`"]),
        ("--purpose", "narcotic", ["--purpose", "did you mean `narcotics`"]),
        ("--expires", "2019-01-01", ["expires", "not later than effective"]),
        ("--ceiling-banner", "CUI//SP-LEI", ["--ceiling-banner", "Basic category"]),
        ("--with", "chp", ["`chp` (--with)"]),
        ("--id", "MOA 1", ["agreement id"]),
    ],
)
def test_mistakes_in_a_draft(comity: Comity, fed: Path, option: str, value: str, words: list[str]) -> None:
    """Each option of a draft is checked before anything is signed, and the error names it."""
    arguments = {
        "--with": "lahd",
        "--id": "moa",
        "--title": "MOA",
        "--grant": "lapd:lahd",
        "--element": "location",
        "--purpose": "all",
        "--effective": "2020-01-01",
        "--expires": "2099-01-01",
        "--ceiling-nature": "reads",
        "--ceiling-banner": "CUI//LEI",
        option: value,
    }
    flat = [part for pair in arguments.items() for part in pair]
    result = comity("agreement draft --dir fed/agencies/lapd", *flat)
    assert result.exit_code == 2
    for word in words:
        assert word in result.stderr
    assert not list(Path().glob("*.json"))


def test_terms_from_the_example_in_the_help(comity: Comity, fed: Path) -> None:
    """The TOML that `--help` shows is one that the command takes."""
    shown = CliRunner().invoke(agreement.group, ["draft", "--help"]).output
    block = shown[shown.index('id = "moa-lapd-lahd"') : shown.index("Elements:")]
    Path("moa.toml").write_text(block)
    result = comity("agreement draft --dir fed/agencies/lapd --with lahd --from moa.toml")
    assert result.exit_code == 0, result.stderr
    assert Path("moa-lapd-lahd.json").is_file()
    again = comity("agreement draft --dir fed/agencies/lapd --with lahd --from moa.toml")
    assert (again.exit_code, "isn't overwritten" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        ("CUI", "CUI"),
        ("CUI//LEI", "CUI//LEI"),
        ("CUI//LEI//FED ONLY", "CUI//LEI//FED ONLY"),
        ("LAW ENFORCEMENT SENSITIVE", "LAW ENFORCEMENT SENSITIVE // LAPD"),
        ("LAW ENFORCEMENT SENSITIVE // LAPD", "LAW ENFORCEMENT SENSITIVE // LAPD"),
        (
            "LAW ENFORCEMENT SENSITIVE // NO COMMERCIAL USE / NO ONWARD SHARING",
            "LAW ENFORCEMENT SENSITIVE // NO COMMERCIAL USE / NO ONWARD SHARING // LAPD",
        ),
    ],
)
def test_banner_becomes_a_marking(banner: str, expected: str) -> None:
    """A banner as a person writes it gives a marking of its scheme (A4)."""
    assert Marking.FromString(make_ceiling("lapd", "reads", banner)).banner == expected


@pytest.mark.parametrize(
    ("banner", "said"),
    [
        ("", "level"),
        ("SECRET", "level `SECRET` is none of"),
        ("CUI//SP-LEI", "category `SP-LEI`"),
        ("CUI//LEI//EVERYBODY", "control `EVERYBODY` is none of"),
        ("CUI//EVERYTHING//FED ONLY", "category `EVERYTHING` is none of"),
        ("CUI//FED ONLY//LEI", "expected `CUI//LEI//FED ONLY`"),
        ("CUI // LEI", "level `CUI // LEI`|category ` LEI`"),
        ("LAW ENFORCEMENT SENSITIVE // DEA", "expected `LAW ENFORCEMENT SENSITIVE // LAPD`"),
        ("LAW ENFORCEMENT SENSITIVE // NO SHARING // LAPD", "control `NO SHARING` is none of"),
    ],
)
def test_banner_that_is_not_read_as_something_else(banner: str, said: str) -> None:
    """A word that the scheme doesn't know is never dropped, and is named: a milder marking isn't proposed."""
    with pytest.raises(ValueError, match=f"banner .*{said}"):
        make_ceiling("lapd", "reads", banner)


def test_groups_are_what_the_main_command_mounts() -> None:
    """Each module exports a click group under the name by which it is called."""
    for name, group in GROUPS.items():
        assert isinstance(group, click.Group)
        assert group.name == name


def test_agreement_ends_by_notice_at_both_sides(comity: Comity, fed: Path) -> None:
    """One side gives notice, the other accepts it; both lists show the end, and it is lodged so (A2)."""
    assert draft(comity, "--notice-days", "30", "--extension-days", "365").exit_code == 0
    comity("agreement sign moa.json --dir fed/agencies/lahd")
    for name in ("lapd", "lahd"):
        comity(f"agreement accept moa.json --dir fed/agencies/{name}")
    ends = (utc_now() + timedelta(days=40)).date()
    soon = (utc_now() + timedelta(days=20)).date()
    early = comity(f"agreement terminate moa.json --dir fed/agencies/lapd --ends {soon}")
    assert early.exit_code == 1
    assert "notice takes 30 days" in early.stderr
    assert list((fed / "agencies" / "lapd" / "agreements").glob("*notice*")) == []
    given = comity(f"agreement terminate moa.json --dir fed/agencies/lapd --ends {ends}")
    assert given.exit_code == 0
    assert f"agreement `moa` ends {ends}T00:00:00Z, terminated by notice of lapd" in given.output
    before = json.loads(comity("agreement list --dir fed/agencies/lahd --json").stdout)
    assert before["agreements"][0]["ends"] == "extended by itself for 365 days from 2099-01-01"
    assert comity("agreement accept moa-notice.json --dir fed/agencies/lahd").exit_code == 0
    for name in ("lapd", "lahd"):
        listed = json.loads(comity(f"agreement list --dir fed/agencies/{name} --json").stdout)
        assert [(each["until"], each["state"]) for each in listed["agreements"]] == [(str(ends), "in force")]
        assert [(each["agreement"], each["at"][:10]) for each in listed["due"]] == [("moa", str(ends))]
    shown = comity("agreement list --dir fed/agencies/lahd --due 30")
    assert "terminated by notice of lapd" in shown.output
    assert "nothing is due in the next 30 days" in shown.output
    assert (
        comity("agreement lodge moa.json --dir fed/agencies/lapd --broker fed/operator/broker").exit_code == 0
    )
    broker = LodgementBook.load(
        fed / "operator" / "broker" / "lodgements", Federation.load(fed / "public", now=utc_now())
    )
    day = timedelta(days=1)
    assert broker.ceiling("lapd", "lahd", utc_now() + 39 * day) is not None
    assert broker.ceiling("lapd", "lahd", utc_now() + 41 * day) is None


def test_notice_to_who_has_not_the_agreement_is_not_accepted(comity: Comity, fed: Path) -> None:
    """A notice without its agreement ends nothing, and goes into no folder."""
    draft(comity)
    comity("agreement sign moa.json --dir fed/agencies/lahd")
    comity("agreement accept moa.json --dir fed/agencies/lapd")
    ends = (utc_now() + timedelta(days=1)).date()
    assert comity(f"agreement terminate moa.json --dir fed/agencies/lapd --ends {ends}").exit_code == 0
    refused = comity("agreement accept moa-notice.json --dir fed/agencies/lahd")
    assert refused.exit_code == 1
    assert "the agreement that it names isn't here" in refused.stderr
    assert not list((fed / "agencies" / "lahd" / "agreements").iterdir())
    neither = comity("agreement terminate moa.json --dir fed/agencies/lapd")
    assert neither.exit_code == 2
    assert "give --ends DATE, or --at-expiry" in neither.stderr


def test_notice_is_shown_before_it_is_accepted(comity: Comity, fed: Path) -> None:
    """Who is handed a notice reads it first; no command takes it for the agreement that it ends (A2)."""
    draft(comity)
    comity("agreement sign moa.json --dir fed/agencies/lahd")
    for name in ("lapd", "lahd"):
        comity(f"agreement accept moa.json --dir fed/agencies/{name}")
    ends = (utc_now() + timedelta(days=1)).date()
    comity(f"agreement terminate moa.json --dir fed/agencies/lapd --ends {ends}")
    told = f"agreement `moa` ends {ends}T00:00:00Z, terminated by notice of lapd"
    before = comity("agreement show moa-notice.json --dir fed/agencies/lahd")
    assert (before.exit_code, told in before.stdout) == (1, True)
    assert "comity agreement accept moa-notice.json --dir fed/agencies/lahd" in before.stderr
    assert comity("agreement accept moa-notice.json --dir fed/agencies/lahd").exit_code == 0
    after = comity("agreement show moa-notice.json --dir fed/agencies/lahd --json")
    assert (after.exit_code, json.loads(after.stdout)["counts_here"]) == (0, True)
    for line in ("terminate {} --ends 2098-01-01", "extend {} --until 2105-01-01", "sign {}"):
        taken = comity(f"agreement {line.format('moa-notice.json')} --dir fed/agencies/lahd")
        assert taken.exit_code == 1
        assert "`moa-notice.json` is a notice that an agreement ends" in taken.stderr
    public = comity("agreement show moa-notice.json --public fed/public")
    assert (public.exit_code, "give --dir" in public.stderr) == (2, True)


def test_accepting_says_whether_it_is_in_force(comity: Comity, fed: Path) -> None:
    """One that both signed, and whose time is over, does nothing: whoever accepts it is told (A2)."""
    for name, effective, expires, said in (
        ("past", "2020-01-01", "2021-01-01", "no: it ended 2021-01-01T00:00:00Z"),
        ("next", "2098-01-01", "2099-01-01", "not yet: from 2098-01-01T00:00:00Z to 2099-01-01T00:00:00Z"),
        ("now", "2020-01-01", "2099-01-01", "yes, until 2099-01-01T00:00:00Z"),
    ):
        draft(comity, "--id", name, "--effective", effective, "--expires", expires)
        comity(f"agreement sign {name}.json --dir fed/agencies/lahd")
        accepted = comity(f"agreement accept {name}.json --dir fed/agencies/lapd")
        assert accepted.exit_code == 0
        assert f"in force       {said}" in accepted.stdout


def test_next_agreement_is_drawn_up_from_the_last(comity: Comity, fed: Path) -> None:
    """Same terms from its expiry on: signed by one side, it does nothing until the other signs."""
    draft(comity)
    comity("agreement sign moa.json --dir fed/agencies/lahd")
    drawn = comity("agreement extend moa.json --dir fed/agencies/lahd --until 2105-01-01")
    assert drawn.exit_code == 0
    assert (
        "agreement `moa-2099`: 2099-01-01T00:00:00Z to 2105-01-01T00:00:00Z, signed by lahd" in drawn.output
    )
    assert comity("agreement accept moa-2099.json --dir fed/agencies/lapd").exit_code == 1
    assert comity("agreement sign moa-2099.json --dir fed/agencies/lapd").exit_code == 0
    assert comity("agreement accept moa-2099.json --dir fed/agencies/lapd").exit_code == 0
    again = comity("agreement extend moa.json --dir fed/agencies/lahd --until 2105-01-01")
    assert "isn't overwritten" in again.stderr


def test_calendar_says_what_is_due_and_what_is_overdue(comity: Comity, fed: Path) -> None:
    """Agreements, duties with dates, training, accounts; exit status 1 while one is overdue (A2, L8, L9)."""
    today = utc_now().date()
    duty = (
        f'[[duty]]\nagency = "lapd"\ntext = "certify, each half year"\nfirst = {today + timedelta(days=20)}\n'
    )
    (fed.parent / "moa.toml").write_text(
        f'id = "moa"\ntitle = "Sharing"\neffective = {today}\nexpires = {today + timedelta(days=50)}\n'
        f"{duty}every_months = 6\n"
        '[[grant]]\nprovider = "lapd"\nrequester = "lahd"\nelements = ["all"]\npurposes = ["all"]\n'
        'ceiling = {nature = "reads", banner = "LAW ENFORCEMENT SENSITIVE // LAPD"}\n'
    )
    assert comity("agreement draft --dir fed/agencies/lapd --with lahd --from moa.toml").exit_code == 0
    comity("agreement sign moa.json --dir fed/agencies/lahd")
    comity("agreement accept moa.json --dir fed/agencies/lapd")
    assert "certify, each half year (every 6 months, first" in comity(
        "agreement show moa.json --dir fed/agencies/lapd"
    ).output.replace("\n", " ")
    user = "agency user r.diaz --dir fed/agencies/lapd --office Detectives --role investigator"
    assert comity(f"{user} --trained {today} --reviewed {today}").exit_code == 0
    calm = comity("agency calendar --dir fed/agencies/lapd --ics due.ics")
    assert calm.exit_code == 0, calm.output
    assert "0 overdue, 2 due in the next 60 days" in calm.output
    assert "due.ics: 2 dates" in calm.stderr
    lines = (fed.parent / "due.ics").read_bytes().split(b"\r\n")
    assert lines[0] == b"BEGIN:VCALENDAR" and lines.count(b"BEGIN:VEVENT") == 2
    assert max(map(len, lines)) <= 75 and b"r.diaz" not in b"".join(lines)
    assert comity(f"{user} --trained {today - timedelta(days=370)} --reviewed {today}").exit_code == 0
    late = comity("agency calendar --dir fed/agencies/lapd --json")
    assert late.exit_code == 1
    told = json.loads(late.stdout)
    assert [(one["kind"], one["about"], one["overdue"]) for one in told["due"]] == [
        ("training", "r.diaz", True),
        ("duty", "moa", False),
        ("agreement", "moa", False),
    ]
    (name,) = [one["name"] for one in told["due"] if one["name"]]
    done = json.loads(comity(f"agency calendar --dir fed/agencies/lapd --json --done {name}").stdout)
    assert [one["kind"] for one in done["due"]] == ["training", "agreement"]
    wrong = comity("agency calendar --dir fed/agencies/lapd --done 00000000")
    assert wrong.exit_code == 2 and "names no date of an own duty" in wrong.stderr


def test_removal_asks_and_then_takes_the_member_out(comity: Comity, fed: Path) -> None:
    """Without an answer nothing happens; with `--yes` the roster is without the member, and says so."""
    assert comity("federation remove lahd --dir fed").exit_code == 1
    shown = json.loads(comity("federation show --dir fed --json").stdout)
    assert [member["agency"] for member in shown["members"]] == ["lahd", "lapd"]
    removed = comity("federation remove lahd --dir fed --yes")
    assert (removed.exit_code, "`lahd` is no member any more" in removed.stdout) == (0, True)
    shown = json.loads(comity("federation show --dir fed --json").stdout)
    assert [member["agency"] for member in shown["members"]] == ["lapd"]
