"""`comity hotlist check` and `show`: a batch for a hot list, judged and written down (GUI K, H1 to H9)."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.audit.entry import Entry
from comity.audit.log import SignedLog
from comity.audit.note import LogKey
from comity.audit.openings import read_openings_of
from comity.certs.agency import AgencyHome
from comity.certs.clock import utc_now
from comity.certs.jwks import es256_keys
from comity.certs.keys import SigningKey
from comity.certs.published_keys import Published, save_published
from comity.cli import csv_files, hotlist_due
from comity.cli.agency import group as agency
from comity.cli.asking import load_client
from comity.cli.certs import group as certs
from comity.cli.csv_files import ListInvalid
from comity.cli.demonstration.policies import install_house_rules
from comity.cli.hot_list_files import read_batch
from comity.cli.hotlist import group
from comity.gateway.hot_lists import Lister, changed, documented
from comity.policy.house.bundle import shipped
from tests.support.federation import FederationOnDisk, build_federation

NOW = utc_now()
HEADER = "plate,state,reason,case,case_status,tracking"
GOOD = f"{HEADER}\n8ABC123,CA,CRIMINAL_INVESTIGATION,26-0417,current,HSI-26/00417\n"
FIT = ("--office", "HSI", "--trained", f"{NOW - timedelta(days=9):%Y-%m-%d}", "--attest")
SECRETS = ("8ABC123", "7XYZ999", "26-0417", "Doe", "HSI-26")


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> FederationOnDisk:
    """ICE with its house rules at its gateway, whose process has started once."""
    made = build_federation(tmp_path_factory.mktemp("hot") / "f", NOW, ("ice", "vendor"))
    install_house_rules(made)
    asyncio.run(_started(made.gateway_home("ice")))
    return made


async def _started(home: Path) -> None:
    key = LogKey.load(home / "keys" / "log.key", "ice.example/gateway")
    log = await SignedLog.open(home, origin="ice.example/gateway", key=key, clock=utc_now)
    await log.append(Entry(kind="started", at=NOW))
    await log.close()


@pytest.fixture
def made(laid: FederationOnDisk, tmp_path: Path) -> FederationOnDisk:
    """A copy of its own."""
    shutil.copytree(laid.root, tmp_path / "f")
    return FederationOnDisk(root=tmp_path / "f", spec=laid.spec)


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(group, [str(word) for word in words], env={"COLUMNS": "160"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def batch(folder: Path, text: str) -> Path:
    (folder / "plates.csv").write_text(text)
    return folder / "plates.csv"


def offline(folder: Path, text: str, *words: str | Path) -> Result:
    """Check a batch by ICE's own rules, with nothing but the bundle."""
    file = batch(folder, text)
    return run("check", file, "--house", shipped("ice"), "--at", "vendor", *FIT, *words)


def at_gateway(made: FederationOnDisk, text: str, *words: str) -> Result:
    """Check a batch as ICE's user at ICE's gateway."""
    home, client = made.gateway_home("ice"), made.client_config("ice")
    who = ("--client", client, "--user", made.user("ice"))
    return run("check", batch(made.root, text), "--home", home, "--at", "vendor", *who, *words)


def written(made: FederationOnDisk) -> int:
    """How many acts on hot lists the gateway's log holds."""
    return len(json.loads(run("show", "--home", made.gateway_home("ice"), "--json").stdout))


def test_batch_that_keeps_to_the_guidance_is_not_stopped(tmp_path: Path) -> None:
    """K.1, K.2: a plate of a current case with ICE's own tracking number; K.3 is told: nothing is written."""
    result = offline(tmp_path, GOOD)
    assert result.exit_code == 0, result.output
    assert "0 stopped, 1 warned of" in result.output and "GUI K.3" in result.output


@pytest.mark.parametrize(
    ("line", "rule", "paragraph"),
    [
        ("8ABC123,CA,NARCOTICS,,current,", "ice.hotlist-case", "GUI K.1"),
        ("8ABC123,CA,NARCOTICS,26-0417,closed,", "ice.hotlist-current", "GUI K.1"),
        ("8ABC123,CA,NARCOTICS,26-0417,,", "ice.hotlist-current", "GUI K.1"),
        ("8ABC123,CA,NARCOTICS,26-0417,current,J. Doe 3", "ice.hotlist-tracking-form", "GUI K.2"),
    ],
)
def test_line_that_is_stopped_is_named_with_rule_and_paragraph(
    tmp_path: Path, line: str, rule: str, paragraph: str
) -> None:
    """GUI K.1, K.2 (H2, H9): exit 1, the line, the rule, the paragraph; no plate, case or name is printed."""
    result = offline(tmp_path, f"{GOOD}7XYZ999,{line.partition(',')[2]}\n")
    assert result.exit_code == 1
    assert f"stopped  line 3: {rule}: " in result.output and paragraph in result.output
    assert not any(secret in result.output for secret in SECRETS)


def test_columns_that_identify_a_person_are_stopped_and_not_repeated(tmp_path: Path) -> None:
    """GUI K.2 (H2): a free text or an owner beside a plate stops the line; said by place alone."""
    lines = ("8ABC123,CA,NARCOTICS,1,current,,tall,", "7XYZ999,CA,NARCOTICS,1,current,,,Jane Doe")
    text = "\n".join((f"{HEADER},note,Doe", *lines))
    result = offline(tmp_path, text)
    assert result.exit_code == 1 and "stopped  line 2: ice.hotlist-free-text" in result.output
    assert "stopped  line 3: ice.hotlist-plate-and-number" in result.output
    assert "column 7: free text" in result.output and "column 8: not known" in result.output
    assert "tall" not in result.output and "Doe" not in result.output


def test_list_of_current_cases_has_the_last_word(tmp_path: Path) -> None:
    """K.1, H9: what the file says of its cases counts only where nobody gives the investigations."""
    cases = tmp_path / "cases.txt"
    cases.write_text("26-0001\n")
    assert "ice.hotlist-current" in offline(tmp_path, GOOD, "--cases", cases).output
    cases.write_text("26-0417\n")
    assert offline(tmp_path, GOOD, "--cases", cases).exit_code == 0


@pytest.mark.parametrize(("plates", "code"), [(2_500, 0), (2_501, 1)])
def test_batch_of_more_than_2500_is_refused(tmp_path: Path, plates: int, code: int) -> None:
    """H1 (PIA 'Alert lists', note 8): both sides of the limit; one finding names all lines."""
    lines = "".join(f"{number:06d},CA,NARCOTICS,1,current,\n" for number in range(plates))
    result = offline(tmp_path, f"{HEADER}\n{lines}", "--json")
    told = json.loads(result.stdout)
    stops = [found for found in told["findings"] if found["effect"] == "stop"]
    assert (result.exit_code, told["plates"]) == (code, plates)
    assert [(found["policy"], len(found["lines"])) for found in stops] == (
        [("ice.hotlist-batch", plates)] if code else []
    )


@pytest.mark.parametrize(
    ("act", "days", "words", "said"),
    [
        ("keep", 20, (), ""),
        ("keep", 13, (), "warned   line 2: ice.hotlist-expires-soon"),
        ("keep", -6, (), "warned   line 2: ice.hotlist-last-week"),
        ("keep", -9, (), "stopped  line 2: ice.hotlist-expired"),
        ("renew", -6, (), "stopped  line 2: ice.hotlist-need-affirmed"),
        ("renew", -6, ("--need",), ""),
        ("renew", -9, ("--need",), "stopped  line 2: ice.hotlist-expired"),
    ],
)
def test_year_is_prompted_of_and_ends(
    tmp_path: Path, act: str, days: int, words: tuple[str, ...], said: str
) -> None:
    """H3 (PIA 'Alert lists'): two weeks before, one week after with an affirmed need, then it goes."""
    expires = NOW + timedelta(days=days)
    line = f"8ABC123,CA,NARCOTICS,1,current,,{expires - timedelta(days=300):%Y-%m-%d},{expires.isoformat()}"
    result = offline(tmp_path, f"{HEADER},entered,expires\n{line}\n", "--act", act, *words)
    found = [each for each in result.output.splitlines() if each.startswith(("stopped", "warned"))]
    assert [each for each in found if "documented" not in each and said not in each] == []
    assert said in result.output and result.exit_code == said.startswith("stopped")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column `plate`"),
        ("plates,state\n8ABC123,CA\n", "column 1 may be meant"),
        ("8ABC123,CA\n", "no column `plate`"),
        (f"{HEADER}\n", "lists no plate"),
        ("plate,state,plate\n1,CA,1\n", "`plate` stands twice"),
        ("plate,state\n8ABC123\n", "line 2: has 1 columns, the header has 2"),
        ('plate,state\n"8ABC123,CA\n', "is not CSV"),
        ("plate,state\n8ABC123,CA\n", "line 2, `reason`: is not one of"),
        ("plate,state,reason\n8ABC123,CA,STOLEN\n", "line 2, `reason`"),
        ("plate,state\n8ABC123TOOLONGFORAPLATE,CA\n", "line 2, `plate`: plate number is longer"),
        ("plate,state\n8ABC123,California\n", "line 2, `state`"),
        (GOOD + GOOD.splitlines()[1], "line 3: the same plate, state and reason as in line 2"),
        (f"{HEADER},expires\n8ABC123,CA,NARCOTICS,1,open,,soon\n", "line 2, `expires`: is not a day"),
        (f"{HEADER},entered\n8ABC123,CA,NARCOTICS,1,open,,9999-12-31\n", "line 2, `entered`: is not a day"),
        (f"{HEADER}\n8ABC123,CA,NARCOTICS,1,maybe,\n", "line 2, `case_status`"),
        (f"{HEADER}\n8ABC123,CA,NARCOTICS,1,open,=1+1\n", "line 2, `tracking`: begins as a formula"),
    ],
)
def test_file_that_can_not_be_read_says_where_and_what_would_be_right(
    tmp_path: Path, text: str, said: str
) -> None:
    """Line and column, and nothing of what stands in the file (H1, H2)."""
    with pytest.raises(ListInvalid) as found:
        read_batch(batch(tmp_path, text), zone=UTC, reason=None, cases=None)
    assert said in str(found.value)
    assert not any(secret in str(found.value) for secret in SECRETS)


def test_wrong_file_ends_the_command_in_one_line(tmp_path: Path) -> None:
    """Exit 2, and no traceback: a day that has passed, found when the plate is judged (H3)."""
    result = offline(tmp_path, f"{HEADER},expires\n8ABC123,CA,NARCOTICS,1,open,,2001-01-01\n")
    assert result.exit_code == 2 and result.output.count("\n") == 1
    assert "line 2, `expires` has passed" in result.output and "8ABC123" not in result.output


def test_recorded_batch_stands_in_the_gateways_log(made: FederationOnDisk) -> None:
    """K.3, H8: act and number in clear; plates, case, tracking number, user, note in the openings alone."""
    done = at_gateway(made, GOOD, "--attest", "--record", "--note", "for J. Doe's case")
    assert done.exit_code == 0 and "written down: entry 1" in done.output, done.output
    home = made.gateway_home("ice")
    log = b"".join(path.read_bytes() for path in (home / "log").rglob("*") if path.is_file())
    assert b'"kind":"hot_list_changed"' in log and b'"act":"entered"' in log
    assert not any(secret.encode() in log for secret in (*SECRETS, made.user("ice")))
    openings = {name: each.value for name, each in read_openings_of(home / "state.db", 1).items()}
    (row,) = documented(openings["list"]) or ()
    assert (row["plate"], row["case"], row["tracking"]) == ("8ABC123", "26-0417", "HSI-26/00417")
    assert (openings["user"], openings["note"]) == (made.user("ice"), "for J. Doe's case")
    shown = run("show", "--home", home, "--plate", "8abc 123")
    assert "entered at vendor by" in shown.output and "case 26-0417" in shown.output
    assert "0 acts" in run("show", "--home", home, "--plate", "7XYZ999").output


def test_removal_is_written_down_and_held_back_by_nothing(made: FederationOnDisk) -> None:
    """H8: entry, renewal, removal and expiry are each an entry; no rule stops that a plate goes."""
    text = f"{HEADER}\n8ABC123,CA,NARCOTICS,,closed,\n"
    for act in ("remove", "expire"):
        assert at_gateway(made, text, "--act", act, "--record").exit_code == 0
    told = json.loads(run("show", "--home", made.gateway_home("ice"), "--json").stdout)
    assert [each["act"] for each in told] == ["removed", "expired"]


def test_record_prompts_before_the_year_is_over(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """H3, H9: due by the record: two weeks before, in the week after, then it goes; with its case, too."""
    soon, home = utc_now() + timedelta(days=10), made.gateway_home("ice")
    text = (
        f"{HEADER},expires\n8ABC123,CA,NARCOTICS,1,open,,{soon.isoformat()}\n7XYZ999,CA,NARCOTICS,2,open,,\n"
    )
    assert at_gateway(made, text, "--attest", "--record").exit_code == 0
    now = utc_now()

    def due(days: int, *words: str | Path) -> tuple[int, list[tuple[str, list[str], list[str]]]]:
        monkeypatch.setattr(hotlist_due, "utc_now", lambda: now + timedelta(days=days))
        result = run("due", "--home", home, "--json", *words)
        told = json.loads(result.stdout)["due"]
        return result.exit_code, [(each["plate"], each["stops"], each["warnings"]) for each in told]

    assert due(0) == (0, [("8ABC123", [], ["ice.hotlist-expires-soon"])])
    assert due(12) == (0, [("8ABC123", [], ["ice.hotlist-last-week"])])
    assert due(20) == (1, [("8ABC123", ["ice.hotlist-expired"], [])])
    assert ("7XYZ999", [], ["ice.hotlist-expires-soon"]) in due(360)[1]
    assert ("7XYZ999", [], ["ice.hotlist-last-week"]) in due(370)[1]
    (tmp_path / "cases").write_text("1\n")
    closed = ("7XYZ999", ["ice.hotlist-outlives-case"], [])
    assert closed in due(0, "--cases", tmp_path / "cases")[1]
    assert "8ABC123 CA US at vendor, case 1, by" in run("due", "--home", home).output
    removed = f"{HEADER}\n8ABC123,CA,NARCOTICS,,,\n"
    assert at_gateway(made, removed, "--act", "remove", "--record").exit_code == 0
    assert due(20) == (0, [])


def test_plate_that_no_rule_can_judge_is_told_beside_the_others(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that stood wrong when it was entered: it is named with why, and the rest is judged (H3)."""
    text = f"{HEADER}\n8ABC123,CA,NARCOTICS,1,open,\n"
    assert at_gateway(made, text, "--attest", "--record").exit_code == 0
    monkeypatch.setattr(hotlist_due, "utc_now", lambda: NOW - timedelta(days=2))
    found = run("due", "--home", made.gateway_home("ice"))
    assert found.exit_code == 1 and "can't be judged: `entered` is still to come" in found.output
    (told,) = json.loads(run("due", "--home", made.gateway_home("ice"), "--json").stdout)["due"]
    assert (told["plate"], told["stops"]) == ("8ABC123", []) and "still to come" in told["fault"]


def test_record_that_can_not_be_opened_is_no_empty_one(
    made: FederationOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H3, H8: openings that were lost or deleted leave plates on lists that nobody sees; not for ever."""
    home = made.gateway_home("ice")
    assert at_gateway(made, GOOD, "--attest", "--record").exit_code == 0
    (home / "state.db").unlink()
    lost = run("due", "--home", home)
    assert lost.exit_code == 1 and "1 act of the last year can't be opened" in lost.output
    assert json.loads(run("due", "--home", home, "--json").stdout)["closed"] == 1
    monkeypatch.setattr(hotlist_due, "utc_now", lambda: NOW + timedelta(days=374))
    assert run("due", "--home", home).exit_code == 0


def test_file_without_an_end_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device has no size to look at first: no more is read than a list may have."""
    monkeypatch.setattr(csv_files, "MAX_BYTES", 1 << 20)
    with pytest.raises(ListInvalid, match="longer than 1 MiB"):
        read_batch(Path("/dev/zero"), zone=UTC, reason=None, cases=None)


def test_batch_that_is_stopped_is_not_written_down(made: FederationOnDisk) -> None:
    """One line that is stopped, and nothing of the batch counts as entered; without --attest all are (Q9)."""
    stopped = at_gateway(made, GOOD, "--record")
    assert stopped.exit_code == 1 and "ice.protections-attested" in stopped.output
    assert "nothing was written down" in stopped.output
    assert written(made) == 0


def test_nobody_writes_down_in_anothers_name(made: FederationOnDisk) -> None:
    """H8: who did it is the word of the agency's identity provider, for this client's certificate."""
    home, file = made.gateway_home("ice"), batch(made.root, GOOD)
    unnamed = run("check", file, "--home", home, "--at", "vendor", *FIT, "--record")
    assert unnamed.exit_code == 2 and "who does it" in unnamed.output
    forged = made.root / "assertion"
    forged.write_text(made.assertion("ice", NOW)[:-8] + "AAAAAAAA")
    client = ("--client", made.client_config("ice"), "--assertion", forged)
    result = run("check", file, "--home", home, "--at", "vendor", *client, "--attest", "--record")
    assert result.exit_code in (1, 2) and "assertion" in result.output
    assert written(made) == 0


def test_who_may_not_ask_may_not_list(made: FederationOnDisk) -> None:
    """Q4: an assertion without good standing gives no leave to put a plate anywhere, as for a question."""
    asserted = made.root / "assertion"
    asserted.write_text(made.assertion("ice", utc_now(), good_standing=False))
    file, client = batch(made.root, GOOD), ("--client", made.client_config("ice"), "--assertion", asserted)
    home = made.gateway_home("ice")
    result = run("check", file, "--home", home, "--at", "vendor", *client, "--attest", "--record")
    assert result.exit_code == 1 and "good standing" in result.output
    assert written(made) == 0


def test_record_is_judged_by_the_rules_in_force(made: FederationOnDisk, tmp_path: Path) -> None:
    """K.1: a bundle that lets anything pass is no way round the gateway's own; a check may try it."""
    loose = shutil.copytree(shipped("ice"), tmp_path / "loose")
    (loose / "policies/30-hot-lists.cedar").unlink()
    text = GOOD.replace("current", "closed")
    assert at_gateway(made, text, "--attest", "--house", str(loose)).exit_code == 0
    refused = at_gateway(made, text, "--attest", "--house", str(loose), "--record")
    assert refused.exit_code == 2 and "leave --house out" in refused.output
    assert written(made) == 0


def test_user_whose_access_was_ended_lists_nothing(made: FederationOnDisk) -> None:
    """Q8: the agency's act counts at once, also before its gateway has taken it, and a later one ends it."""
    for act, code in (("terminate-user", 1), ("readmit-user", 0)):
        done = CliRunner().invoke(agency, [act, made.user("ice"), "--dir", str(made.home("ice"))])
        assert done.exit_code == 0, done.output
        result = at_gateway(made, GOOD, "--attest", "--record")
        assert result.exit_code == code and ("ended your access" in result.output) == bool(code)
        time.sleep(0.002)
    assert written(made) == 1


@pytest.mark.parametrize("what", ["user", "certificate"])
def test_who_was_revoked_lists_nothing(made: FederationOnDisk, what: str) -> None:
    """A user, or a system's leaf, that the agency's own list revokes lists as little as it asks."""
    leaf = made.root / "leaf.pem"
    leaf.write_bytes(load_client(made.client_config("ice")).leaf)
    words = ("--user", made.user("ice")) if what == "user" else ("--certificate", str(leaf))
    line = ("revoke", "--dir", str(made.home("ice")), *words, "--reason", "key-compromise")
    assert CliRunner().invoke(certs, line).exit_code == 0
    result = at_gateway(made, GOOD, "--attest", "--record")
    assert result.exit_code in (1, 2) and "revoked" in result.output, result.output
    assert written(made) == 0


def test_key_that_the_identity_provider_withdrew_signs_no_list(made: FederationOnDisk) -> None:
    """A gateway that follows its identity provider refuses the key; so does what is written in its log."""
    home, provider = made.gateway_home("ice"), AgencyHome.load(made.home("ice")).identity_provider()
    with (home / "gateway.toml").open("a") as settings:
        settings.write('\n[identity_provider]\njwks = "jwks.json"\n')
    new = SigningKey.generate()
    kept = Published(
        source=str((home / "jwks.json").resolve()),
        issuer=provider.issuer,
        keys={new.key_id: new.public},
        fetched_at=NOW,
        next_at=NOW,
    )
    save_published(home, kept)
    result = at_gateway(made, GOOD, "--attest", "--record")
    assert result.exit_code == 2 and "withdrawn?" in result.output, result.output
    assert written(made) == 0
    save_published(home, replace(kept, keys=es256_keys(provider.jwks)))
    assert at_gateway(made, GOOD, "--attest", "--record").exit_code == 0


def test_what_goes_on_the_list_has_no_case_and_no_text(tmp_path: Path) -> None:
    """H2: plate, state, reason and tracking number travel; a new private file, of what passed alone."""
    out = tmp_path / "list.csv"
    assert offline(tmp_path, GOOD.replace("current", "closed"), "--out", out).exit_code == 1
    assert not out.exists()
    assert offline(tmp_path, GOOD, "--out", out).exit_code == 0
    assert out.read_text().splitlines() == [
        "plate,state,country,reason,tracking",
        "8ABC123,CA,US,CRIMINAL_INVESTIGATION,HSI-26/00417",
    ]
    assert out.stat().st_mode & 0o777 == 0o600
    assert "is there already" in offline(tmp_path, GOOD, "--out", out).output


def test_tracking_number_that_is_a_text_does_not_travel(made: FederationOnDisk) -> None:
    """H2: no rule judges a removal, and still what goes to the holder is numbers alone."""
    out, text = made.root / "list.csv", f"{HEADER}\n8ABC123,CA,NARCOTICS,1,closed,J. Doe\n"
    result = at_gateway(made, text, "--act", "remove", "--record", "--out", str(out))
    assert result.exit_code == 2 and "line 2, `tracking`: is no number" in result.output
    assert "Doe" not in result.output and not out.exists() and written(made) == 0
    assert at_gateway(made, text, "--act", "remove", "--record").exit_code == 0


def test_rules_without_hot_lists_are_told(tmp_path: Path) -> None:
    """A bundle made before there were such rules judges none: it isn't taken for leave to list anything."""
    house = shutil.copytree(shipped("cbp"), tmp_path / "house")
    (house / "policies/20-hot-lists.cedar").unlink()
    schema = house / "schema.cedarschema"
    kept = [line for line in schema.read_text().splitlines() if not line.startswith("action List")]
    schema.write_text("\n".join(kept))
    result = run("check", batch(tmp_path, GOOD), "--house", house, "--at", "dea", *FIT)
    assert result.exit_code == 2 and "describe no hot list" in result.output


def test_entry_of_a_full_batch_fits() -> None:
    """H1: 2,500 plates with everything beside them are one act that the running gateway takes."""
    row = dict.fromkeys(("case", "tracking"), "x" * 64) | {"plate": "x" * 16, "folded": "x" * 16}
    row |= {"reason": "CRIMINAL_INVESTIGATION", "valid_from": "x" * 20, "valid_until": "x" * 20}
    act = changed("ice", "entered", "vendor", Lister(user="u"), [row] * 2_500, note="", bundle=None)
    assert len(json.dumps(act.private["list"])) < 900_000
