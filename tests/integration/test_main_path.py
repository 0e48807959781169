"""A question crosses the federation: real processes, real mTLS, as a user asks it."""

from __future__ import annotations

import stat
from datetime import timedelta

import pytest

from comity.certs.clock import utc_now
from tests.integration.conftest import PLATE, Federation, comity

pytestmark = pytest.mark.integration
PROVIDERS = {"cbp", "dea", "lahd", "lapd", "vendor"}


def kinds(answer: dict[str, object]) -> dict[str, str]:
    outcomes = answer["outcomes"]
    assert isinstance(outcomes, dict)
    return {agency: outcome["kind"] for agency, outcome in outcomes.items()}


def test_sheriff_gets_marked_reads_of_five_providers(federation: Federation) -> None:
    """One question fans out to five; every read is marked with its provider (A4) and is of the plate (Q6)."""
    answer = federation.ask("sheriff")
    assert answer["exit"] == 0, answer["stderr"]
    assert kinds(answer) == dict.fromkeys(PROVIDERS, "RESPONDED")
    reads = answer["reads"]
    assert isinstance(reads, list)
    assert {read["agency"] for read in reads} == PROVIDERS
    assert all(read["banner"] and read["portion"] for read in reads)
    assert {read["plate"].replace(" ", "").replace("-", "").upper() for read in reads} == {PLATE}
    assert "CUI" in str(answer["banner"])
    assert answer["complete"] is True and answer["findings"] == []
    assert any("A5" in line for line in answer["caveats"])  # type: ignore[attr-defined]


def test_every_result_carries_the_brokers_stamp(federation: Federation) -> None:
    """The broker stamps each receipt that it verified; the gateway shows no other stamp."""
    outcomes = federation.ask("sheriff")["outcomes"]
    assert isinstance(outcomes, dict)
    assert all(outcome["stamped"] for outcome in outcomes.values())


def test_port_police_are_refused_by_lapd_for_civil_immigration(federation: Federation) -> None:
    """MOA data never serves non-criminal immigration enforcement: rule and paragraph are shown (A3)."""
    answer = federation.ask("lahd", "--reason", "CIVIL_IMMIGRATION", "--provider", "lapd")
    outcomes = answer["outcomes"]
    assert isinstance(outcomes, dict)
    assert outcomes["lapd"]["kind"] == "REFUSED"
    cited = outcomes["lapd"]["rules"]
    assert any("A3" in rule["rules"] and "MOA II.A" in rule["document"] for rule in cited)
    assert answer["reads"] == []


def test_lapd_is_refused_by_port_police_for_civil_immigration(federation: Federation) -> None:
    """The same law the other way round (A3)."""
    answer = federation.ask("lapd", "--reason", "CIVIL_IMMIGRATION", "--provider", "lahd")
    assert kinds(answer)["lahd"] == "REFUSED"


def test_eight_years_are_clipped_to_five_for_ero(federation: Federation) -> None:
    """Civil immigration: at most the previous five years; the vendor enforces it and says so (Q5)."""
    start = utc_now() - timedelta(days=8 * 365)
    answer = federation.ask(
        "ice", "--reason", "CIVIL_IMMIGRATION", "--from", start.isoformat(), "--provider", "vendor"
    )
    outcomes = answer["outcomes"]
    assert isinstance(outcomes, dict)
    assert outcomes["vendor"]["period_clipped"] is True
    earliest = min(read["captured_at"] for read in answer["reads"])  # type: ignore[attr-defined]
    assert earliest >= (utc_now() - timedelta(days=5 * 366)).isoformat()
    warned = answer["house_warnings"]
    assert isinstance(warned, list)
    assert [(rule["policy"], rule["document"]) for rule in warned] == [("ice.civil-five-years", "GUI J.2")]


def test_cbp_asks_nobody_without_a_border_nexus(federation: Federation) -> None:
    """CBP's own rule for its own people (Q7): stopped in the house, with the rule and exit status 1."""
    stopped = federation.ask("cbp", "--reason", "NARCOTICS")
    assert stopped["exit"] == 1 and "outcomes" not in stopped
    (rule,) = stopped["house_rules"]  # type: ignore[misc, attr-defined]
    assert rule["policy"] == "cbp.border-nexus"


def test_answer_says_that_dea_must_consent_before_it_goes_on(federation: Federation) -> None:
    """What DEA gives CBP leaves DHS only with DEA's prior written consent, and the answer says so (A9)."""
    answer = federation.ask("cbp", "--border-nexus", "crossed at Otay Mesa", "--provider", "dea")
    assert answer["outcomes"]["dea"]["kind"] == "RESPONDED" and answer["reads"]  # type: ignore[index]
    (told,) = [line for line in answer["caveats"] if line.startswith("Pass on")]  # type: ignore[attr-defined]
    assert told.startswith("Pass on what dea gave: beyond DHS only with DEA's prior written consent (A9;")


def test_without_agreement_nobody_is_asked_and_nothing_leaves(federation: Federation) -> None:
    """ICE has no agreement with LAPD: not asked, with the reason, and exit status 1 (A2, D4)."""
    answer = federation.ask("ice", "--provider", "lapd")
    outcomes = answer["outcomes"]
    assert isinstance(outcomes, dict)
    assert outcomes["lapd"]["kind"] == "NOT_ASKED"
    assert outcomes["lapd"]["reason"] == "NO_AGREEMENT"
    assert answer["exit"] == 1 and answer["exchange"] == ""


def test_agency_that_provides_nothing_is_never_asked(federation: Federation) -> None:
    """ICE provides to nobody (GUI C): naming it is answered with the reason."""
    answer = federation.ask("sheriff", "--provider", "ice")
    assert kinds(answer)["ice"] == "NOT_ASKED"


def test_wrong_fields_are_named_and_exit_is_2(federation: Federation) -> None:
    """Bad input names each field and what would have been right; there is no traceback."""
    done = comity(*federation.query("sheriff", "--state", "California", "--case", " "))
    assert done.returncode == 2
    assert "plate.state" in done.stderr and "case_number" in done.stderr
    assert "Traceback" not in done.stderr and PLATE not in done.stderr


def test_period_is_required(federation: Federation) -> None:
    """Nothing runs without a period (Q2)."""
    words = federation.query("sheriff")
    at = words.index("--from")
    done = comity(*words[:at], *words[at + 2 :])
    assert done.returncode == 2 and "period" in done.stderr


def test_table_shows_banner_above_and_below(federation: Federation) -> None:
    """A person sees the banner above and below, every provider, and the caveats (A5)."""
    done = comity(*federation.query("sheriff", "--rows", "3"), alone=True)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    assert lines[0] == lines[-1] and "CUI" in lines[0]
    assert all(any(line.startswith(agency) for line in lines) for agency in PROVIDERS)


def test_completeness_that_nobody_could_meet_is_refused_before_anything_leaves(
    federation: Federation,
) -> None:
    """A quorum of more than can be asked, or a provider that is not asked, can only fail: nothing is sent."""
    for impossible in (("--quorum", "6"), ("--require", "dea", "--provider", "lapd")):
        done = comity(*federation.query("sheriff", *impossible))
        assert done.returncode == 2 and "completeness" in done.stderr


def test_completeness_that_is_not_met_exits_1_after_the_summary(federation: Federation) -> None:
    """A refusal is no response: the quorum is not met, and what came is still shown."""
    answer = federation.ask("lahd", "--quorum", "1", "--provider", "lapd", "--reason", "CIVIL_IMMIGRATION")
    assert answer["exit"] == 1 and answer["complete"] is False
    assert kinds(answer)["lapd"] == "REFUSED"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--from", "0050-01-01", "--to", "0049-01-01"),
        ("--reason", "CURIOSITY"),
        ("--area", "everywhere"),
        ("--client", "/nowhere/client.toml"),
    ],
    ids=lambda words: str(words[0]),
)
def test_wrong_use_is_one_clear_error(federation: Federation, wrong: tuple[str, ...]) -> None:
    """What a person can type wrong ends in a line and exit status 2, never in a traceback."""
    done = comity(*federation.query("sheriff", *wrong))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and done.stderr.strip()


def test_period_before_all_years_is_wrong_use(federation: Federation) -> None:
    """A number of days that leads before the year 1 is said to."""
    words = federation.query("sheriff")
    at = words.index("--from")
    done = comity(*words[:at], *words[at + 2 :], "--days", "36500", "--to", "0050-01-01")
    assert done.returncode == 2 and "--days" in done.stderr and "Traceback" not in done.stderr


def test_file_that_is_no_assertion_is_wrong_use(federation: Federation) -> None:
    """Bytes that are no JWT end in a line."""
    words = federation.query("sheriff")
    at = words.index("--user")
    done = comity(*words[:at], *words[at + 2 :], "--assertion", "/bin/true")
    assert done.returncode == 2 and "assertion" in done.stderr and "Traceback" not in done.stderr


def test_unknown_user_of_the_identity_provider_is_refused(federation: Federation) -> None:
    """Who isn't a user of the agency gets no assertion (Q4)."""
    done = comity(*federation.query("sheriff", user="nobody"))
    assert done.returncode == 2 and "comity agency user" in done.stderr


def test_assertion_of_another_agency_is_not_accepted(federation: Federation, tmp_path: object) -> None:
    """An assertion of LAPD's identity provider is worth nothing at the sheriff's gateway."""
    stolen = federation.made.assertion("lapd", utc_now())
    words = federation.query("sheriff")
    at = words.index("--user")
    path = federation.made.root / "stolen.jwt"
    path.write_text(stolen)
    done = comity(*words[:at], *words[at + 2 :], "--assertion", str(path))
    assert done.returncode == 2 and "assertion" in done.stderr


def test_client_certificate_of_another_agency_gets_no_connection(federation: Federation) -> None:
    """LAPD's system cannot even connect to the sheriff's gateway."""
    theirs = federation.made.client_config("lapd")
    ours = federation.made.client_config("sheriff")
    mixed = theirs.with_name("mixed.toml")
    text = theirs.read_text()
    for key in ("gateway", "gateway_name"):
        value = next(line for line in ours.read_text().splitlines() if line.startswith(f"{key} "))
        old = next(line for line in text.splitlines() if line.startswith(f"{key} "))
        text = text.replace(old, value)
    mixed.write_text(text)
    done = comity(*federation.query("lapd", "--client", str(mixed)))
    assert done.returncode == 2 and "does not answer" in done.stderr


def test_no_process_prints_plate_user_case_or_reason(federation: Federation) -> None:
    """What processes print holds nothing of any question."""
    federation.ask("sheriff")
    secrets = (PLATE, "26-0417", "burglary series", "j.ortega", "k.novak")
    for _, _, home in federation.made.ends():
        printed = (home / "process.log").read_text()
        assert not [secret for secret in secrets if secret in printed], home


def test_private_files_are_readable_by_their_owner_alone(federation: Federation) -> None:
    """Keys, users, openings and write-ahead files have mode 0600."""
    private = [
        path
        for path in federation.made.root.rglob("*")
        if path.suffix == ".key"
        or path.name in ("identity.pem", "state.db", "users.toml")
        or path.suffix == ".wal"
    ]
    assert len(private) > 50
    wrong = [path for path in private if path.is_file() and stat.S_IMODE(path.stat().st_mode) != 0o600]
    assert not wrong
