"""The README and the pages below docs/ say what is there: files, tests, commands, options, targets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import comity.gateway
from comity.cli.main import cli
from comity.gateway import GatewayError

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
WIDEST_OUTPUT = 110

PROMISE = (
    "A broker with mutual TLS fans each query out to per-agency adapters without copying data centrally, "
    "enforcing that only the providing agency's policy is applied, stamping data markings on results, and "
    "recording a signed audit trail at both ends"
)
PHRASES = (
    "a broker with mutual TLS",
    "fans each query out to per-agency adapters",
    "without copying data centrally",
    "only the providing agency's policy is applied",
    "stamping data markings on results",
    "recording a signed audit trail at both ends",
)


def _rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def _paths(text: str) -> list[str]:
    return re.findall(r"`([\w.-]+/[\w./-]*(?:::\w+)?)`", text)


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each `comity …` in shell blocks, variables and substitutions filled in."""
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        filled = re.sub(r"\$\(date[^)]*\)", "2026-01-01", block.replace("\\\n", " "))
        filled = re.sub(r"\$BROKER|\$\w+", "127.0.0.1:7400", filled)
        for line in filled.splitlines():
            if line.startswith("comity "):
                yield shlex.split(line, comments=True)[1:]


def _inline(text: str) -> Iterator[list[str]]:
    """Yield the words after each `comity` in running text."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for found in re.findall(r"`comity ([^`]+)`", prose):
        yield found.split()


def _resolve(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Return the command that the words name, and the words that are left."""
    command: click.Command = cli
    context = click.Context(cli, info_name="comity")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        for part in name.split("|"):
            found = command.get_command(context, part)
            assert found is not None, f"no command `{part}` in `{context.command_path}`"
        command, context = found, click.Context(found, info_name=part, parent=context)
    return command, context, words


def test_every_phrase_of_the_promise_has_its_row() -> None:
    """The table has a row a phrase, and the phrases are the whole promise."""
    assert PROMISE in " ".join(README.replace("\n> ", " ").split())
    firsts = [row[0] for row in _rows(README)]
    rest = PROMISE.lower()
    for phrase in PHRASES:
        assert phrase in firsts
        assert phrase.lower() in rest
        rest = rest.replace(phrase.lower(), "")
    assert set(rest.replace(",", " ").split()) == {"enforcing", "that", "and"}


def test_each_promise_names_a_process_a_file_and_a_test() -> None:
    """No row rests on words alone."""
    for row in (row for row in _rows(README) if row[0] in PHRASES):
        _, process, files, tests = row
        assert any(word in process for word in ("broker", "gateway", "adapter"))
        assert all(path.endswith(".py") for path in _paths(files)) and _paths(files)
        assert all("::test_" in path for path in _paths(tests)) and _paths(tests)


def test_every_file_and_test_in_the_tables_exists() -> None:
    """A moved file or a renamed test must not leave a promise without its proof."""
    named = [path for row in _rows(README) for cell in row for path in _paths(cell)]
    assert len(named) > 30
    for path in named:
        file, _, test = path.partition("::")
        assert (ROOT / file).exists(), file
        assert not test or f"def {test}(" in (ROOT / file).read_text(), path


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """What a page links to within the project is there, headings included."""
    text = (ROOT / page).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        if target.startswith("#"):
            assert target[1:] in headings, target
            continue
        assert ((ROOT / page).parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_commands_can_be_typed_as_they_stand(page: str) -> None:
    """Each command in a shell block exists, with these options, these choices, and nothing required left out.

    Whether the files that it names are there is not asked.
    """
    for words in _commands((ROOT / page).read_text(encoding="utf-8")):
        command, context, rest = _resolve(list(words))
        if any(word in ("-h", "--help") for word in rest) or isinstance(command, click.Group):
            continue
        try:
            command.make_context(context.info_name, rest, parent=context.parent)
        except click.MissingParameter as error:
            pytest.fail(f"{words}: {error.format_message()}")
        except click.BadParameter as error:
            assert error.param is not None and isinstance(error.param.type, click.Path | click.File), (
                f"{words}: {error.format_message()}"
            )


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_running_text_exist(page: str) -> None:
    """A command or an option that a sentence names is one of `--help`."""
    for words in _inline((ROOT / page).read_text(encoding="utf-8")):
        command, context, rest = _resolve(words)
        known = {option for param in command.get_params(context) for option in param.opts}
        unknown = [word for word in rest if word.startswith("--") and word not in known]
        assert not unknown, f"`comity {' '.join(words)}`"


def test_options_in_the_table_are_those_of_the_query() -> None:
    """The table of options is about `comity query`."""
    command, context, _ = _resolve(["query"])
    known = {option for param in command.get_params(context) for option in param.opts}
    named = {o for row in _rows(README) if row[0].startswith("`--") for o in re.findall(r"--[\w-]+", row[0])}
    assert named and named <= known


def test_targets_exist() -> None:
    """The two commands, and every other `make` that a page names, are targets."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE)) <= targets, page
    assert {"make demo", "make test"} <= set(re.findall(r"^make \w+", README, flags=re.MULTILINE))


def test_output_fits_the_page() -> None:
    """Commands and their output are shown at 110 columns or fewer."""
    for block in re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL):
        assert max(map(len, block.splitlines())) <= WIDEST_OUTPUT


@pytest.mark.parametrize(("page", "example"), [("README.md", "ask.py"), ("docs/library.md", "follow.py")])
def test_examples_are_those_that_are_type_checked(page: str, example: str) -> None:
    """What a page shows is, letter by letter, the file that `make types` checks and the tests run."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    assert blocks == [(ROOT / "docs" / "examples" / example).read_text()]
    assert "mypy docs/examples" in (ROOT / "Makefile").read_text()


def test_library_page_names_every_error() -> None:
    """Whoever meets an error of the library finds on its page what to do."""
    page = (ROOT / "docs" / "library.md").read_text()
    public = (getattr(comity.gateway, name) for name in comity.gateway.__all__)
    named = [value for value in public if isinstance(value, type) and issubclass(value, GatewayError)]
    assert len(named) > 15 and not [error.__name__ for error in named if f"`{error.__name__}`" not in page]
