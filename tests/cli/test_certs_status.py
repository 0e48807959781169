"""`comity certs status` as its user sees it: table, findings, JSON, exit status."""

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comity.certs.authority import FederationSpec, init_federation
from comity.certs.clock import utc_now
from comity.cli.certs import group
from comity.cli.logkeys import make_log_key


def status(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(group, ["status", *arguments], env={"COLUMNS": "120", **environment})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation whose broker's leaf has lived for nine tenths of its time."""
    folder = tmp_path_factory.mktemp("status") / "fed"
    spec = FederationSpec(name="Test", broker="127.0.0.1:7400", leaf_lifetime=timedelta(days=10))
    init_federation(folder, spec, utc_now() - timedelta(days=9), make_log_key=make_log_key)
    return folder


def test_overdue_leaf_is_shown_and_exits_1(fed: Path) -> None:
    """What is overdue stands in the table and below it, with the command to type."""
    shown = status(str(fed / "operator"))
    assert shown.exit_code == 1
    assert "leaf *" in shown.output
    assert "renew now" in shown.output
    assert "operator, leaf spiffe://operator.example/broker: overdue; renew it: comity certs renew " in (
        shown.output
    )
    assert "1 overdue" in shown.output


def test_what_is_overdue_stands_out_in_red_where_there_is_colour(fed: Path) -> None:
    """Bold red on a terminal, beside green for what is good; in a pipe no escape sequence at all."""
    arguments = (str(fed / "operator"),)
    coloured = status(*arguments, FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="").output
    assert re.search(r"\x1b\[1;31m\s*overdue", coloured)
    assert re.search(r"\x1b\[32m\s*good", coloured)
    plain = status(*arguments).output
    assert "overdue" in plain and "\x1b" not in plain


def test_what_is_in_order_exits_0(fed: Path) -> None:
    """The published folder shows no leaf, and nothing in it is due."""
    shown = status(str(fed / "public"), "--findings")
    assert (shown.exit_code, "nothing is due" in shown.output) == (0, True)


def test_json_tells_the_same(fed: Path) -> None:
    """One object; times in RFC 3339, null where nothing is known; no private part."""
    shown = status(str(fed / "operator"), "--own", "--json")
    found = json.loads(shown.output)
    assert (shown.exit_code, found["good"], found["findings"]) == (1, False, [])
    leaf = next(row for row in found["credentials"] if row["kind"] == "leaf")
    assert (leaf["owner"], leaf["condition"], leaf["days_old"]) == ("operator", "overdue", 9)
    assert 80_000 < leaf["seconds_left"] < 87_000
    assert leaf["last_used"] is None
    assert "PRIVATE" not in shown.output


def test_folder_of_nothing_exits_2(tmp_path: Path) -> None:
    """A folder that holds nothing of a federation is wrong use, in one line."""
    assert status(str(tmp_path)).exit_code == 2


def test_roster_that_is_no_more_is_not_called_good(fed: Path, tmp_path: Path) -> None:
    """Nothing else could be judged then."""
    public = shutil.copytree(fed / "public", tmp_path / "public")
    (public / "roster.json").write_text("{")
    shown = status(str(public), "--findings")
    assert (shown.exit_code, "nothing is due" in shown.output) == (1, False)
    assert "roster" in shown.output
