"""What a newcomer types wrong, or reads for the first time: each in words that say what would be right."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from comity.audit.entry import Entry, parse_entry, seal_entry
from comity.certs.drafting import GrantTerms
from comity.certs.errors import SetupRefused
from comity.cli.audit_show import LogPage, PrivateField, Row, render
from comity.cli.ceilings import make_ceiling
from comity.cli.demo import _wanted_without
from comity.cli.main import cli
from comity.cli.reporting import Day
from tests.support.federation import FederationOnDisk

CEILING = make_ceiling("lapd", "ALPR reads", "LAW ENFORCEMENT SENSITIVE // LAPD")


def comity(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments, prog_name="comity")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def every_command(group: click.Group = cli, *names: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*names, name)
        if isinstance(command, click.Group):
            yield from every_command(command, *names, name)


@pytest.mark.parametrize("names", list(every_command()), ids=" ".join)
def test_help_explains_and_fits_a_narrow_terminal(
    names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command has a help that says what it is for, and every option says what it does."""
    monkeypatch.setenv("COLUMNS", "80")
    result = comity(*names, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: comity {' '.join(names)}")
    assert len(result.output.split("\n\n")[1].strip()) > 20
    if names != ("query",):  # its list of reasons is one word to click, which does not break it
        assert max(map(len, result.output.splitlines())) <= 80


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    """A federation with LAPD, which asks."""
    folder = tmp_path / "fed"
    assert (
        comity("federation", "init", str(folder), "--name", "T", "--broker", "127.0.0.1:7400").exit_code == 0
    )
    made = comity(
        *(
            "agency",
            "init",
            "lapd",
            "--dir",
            str(folder / "lapd"),
            "--kind",
            "local",
            "--domain",
            "lapd.example",
        ),
        *("--name", "LAPD", "--contact", "desk", "--asks", "--public", str(folder / "public")),
        *("--broker", "127.0.0.1:7400"),
    )
    assert made.exit_code == 0, made.output
    return folder


def test_training_that_is_to_come_is_refused(federation: Path) -> None:
    """A user can't have been trained tomorrow (Q4); a word is no day, and the message shows one that is."""
    options = ("--dir", str(federation / "lapd"), "--office", "x", "--role", "investigator", "--trained")
    tomorrow = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d")
    early = comity("agency", "user", "a", *options, tomorrow)
    assert early.exit_code == 2 and f"`{tomorrow}` has not come yet" in early.output
    word = comity("agency", "user", "a", *options, "soon")
    assert word.exit_code == 2 and "`soon` is not a day such as 2026-03-01" in word.output


def test_file_without_a_certificate_is_named(federation: Path) -> None:
    """`assert --certificate` with another file says which one it was."""
    options = ("--dir", str(federation / "lapd"))
    assert (
        comity(
            "agency", "user", "a", *options, "--office", "x", "--role", "y", "--trained", "2026-01-01"
        ).exit_code
        == 0
    )
    other = federation / "lapd" / "agency.toml"
    result = comity("agency", "assert", "a", *options, "--certificate", str(other), "--accept-rules")
    assert result.exit_code == 2 and f"file `{other}`: no certificate" in result.output


@pytest.mark.parametrize(
    ("file", "said"), [("leaf.pem", "key `leaf`: no certificate in PEM"), ("client.toml", "is not TOML")]
)
def test_client_file_that_can_not_be_used_is_told(tmp_path: Path, file: str, said: str) -> None:
    """A leaf that is none, a file that is no text: one line that names the file, exit status 2."""
    words = dict.fromkeys(("gateway_name", "leaf", "key", "ca"), "x.pem") | {"leaf": "leaf.pem"}
    lines = ['gateway = "localhost:1"', *(f'{name} = "{value}"' for name, value in words.items())]
    (tmp_path / "client.toml").write_text("\n".join(lines))
    for name in ("x.pem", "leaf.pem"):
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / file).write_bytes(b"\xff")
    question = ("--state", "CA", "--reason", "NARCOTICS", "--days", "3", "--case", "1", "--text", "two words")
    client = ("--client", str(tmp_path / "client.toml"), "--user", "j.doe")
    result = comity("query", "8ABC123", *question, *client)
    assert result.exit_code == 2 and said in result.output and "client.toml`" in result.output


def test_grant_without_a_purpose_is_refused() -> None:
    """A grant that lists no purpose would be signed by both sides, and permit nothing (A2)."""
    with pytest.raises(SetupRefused, match="no purpose"):
        GrantTerms(
            provider="lapd", requester="lahd", elements=frozenset(), purposes=frozenset(), ceiling=CEILING
        )


def test_trust_file_that_is_none_is_named(tmp_path: Path) -> None:
    """Of several files that a command names, the message says which one can't be used."""
    bad = tmp_path / "roster.json"
    bad.write_text("nothing")
    result = comity("audit", "verify", str(tmp_path), "--trust", str(bad))
    assert result.exit_code == 2 and f"trust file `{bad}`: it is not JSON" in result.output


def test_configuration_without_a_store_is_named(tmp_path: Path) -> None:
    """`adapter check` of another process's file says which file has no store."""
    (tmp_path / "broker.toml").write_text('listen = "127.0.0.1:7400"\n')
    result = comity("adapter", "check", "--config", str(tmp_path / "broker.toml"))
    assert result.exit_code == 2 and f"`{tmp_path / 'broker.toml'}`: no store" in result.output


def test_day_is_the_day_that_was_typed() -> None:
    """A day comes back as its midnight."""
    assert Day().convert("2026-03-01", None, None) == datetime(2026, 3, 1)


def _page(*rows: Row) -> LogPage:
    return LogPage(
        path=Path("log"), origin="lapd.example/adapter", size=9, has_openings=False, rows=tuple(rows)
    )


def _row(private: tuple[PrivateField, ...] = (), **public: int | str) -> Row:
    entry = Entry(kind="routed", at=datetime(2026, 3, 1, tzinfo=UTC), public=dict(public))
    return Row(index=0, entry=parse_entry(seal_entry(entry).leaf), private=private)


def _rendered(page: LogPage) -> str:
    console = Console(width=110, record=True, file=None, quiet=False)
    with console.capture() as captured:
        render(page, console)
    return captured.get()


def test_log_without_private_fields_does_not_speak_of_openings() -> None:
    """The broker's log has nothing private, so nothing in it is closed; its deadlines are times."""
    shown = _rendered(_page(_row(agency="lahd", deadline=1_795_311_487_297)))
    assert "openings" not in shown and "deadline 2026-11-22" in shown
    closed = PrivateField(name="plate", commitment=b"", value=None)
    assert "no openings at hand" in _rendered(_page(_row((closed,))))


def test_deadline_beyond_every_calendar_is_shown_as_it_stands() -> None:
    """A log is anybody's writing: an absurd number is no reason to stop reading."""
    assert "deadline 9007199254740991" in _rendered(_page(_row(deadline=9_007_199_254_740_991)))


def test_opened_lists_are_words_and_empty_values_are_none() -> None:
    """What was written as JSON is read as a list; an empty value says so; what only looks like JSON stays."""

    def opened(value: str) -> str:
        return _rendered(_page(_row((PrivateField(name="rules", commitment=b"", value=value),))))

    assert "rules lapd.law A3, Q5" in opened('["lapd.law A3","Q5"]')
    assert "rules none" in opened("[]") and "rules none" in opened("")
    assert "rules [half" in opened("[half")
    assert opened("[" * 50_000).count("[") == 50_000


def test_nothing_found_shows_no_empty_table() -> None:
    """A filter that leaves nothing says 0 of 9, and no headings over nothing."""
    assert _rendered(_page()).strip() == "lapd.example/adapter: 0 of 9 entries"


def test_end_that_is_left_out_must_be_one(laid_out: FederationOnDisk) -> None:
    """`--without` names an end as `AGENCY/ROLE`; a wrong one is told with those that there are."""
    everyone = _wanted_without(laid_out, ())
    left = _wanted_without(laid_out, ("lapd/adapter", "sheriff/gateway"))
    assert [end for end in everyone if end not in left] == [
        end for end in everyone if end[0] in ("lapd adapter", "sheriff gateway")
    ]
    for name in ("broker", "sheriff", "nobody/gateway"):
        with pytest.raises(click.UsageError, match=r"there are .*sheriff/gateway"):
            _wanted_without(laid_out, (name,))
    told = comity("demo", "--without", "sheriff/gateway")
    assert told.exit_code == 2 and "--up" in told.output
