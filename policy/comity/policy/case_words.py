"""How the cases of any bundle are read, changed, found and compared, whatever they ask.

A file of `tests/*.toml` has `[defaults]`, of which every case takes what it does not say itself, and
`[[case]]` tables with `name`, the words of what is asked, and `[case.expect]`. Cases that differ in a few
words alone make a `[[table]]` (`comity.policy.case_tables`). Only what `expect` says is compared. An unknown
word is an error, and so is a bundle without cases: a collection of checks that is empty shows nothing. Which
words there are a `Form` says: `comity.policy.cases`, `comity.policy.house.cases`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Protocol, TypeVar

from comity.policy.case_tables import rows_of
from comity.policy.errors import CaseInvalid

Words = Mapping[str, object]
"""What a table of a TOML file says."""

_Value = TypeVar("_Value")
_FILE: Final = frozenset({"defaults", "case", "table"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Which words the cases of one kind of bundle have."""

    question: frozenset[str]
    expect: frozenset[str]
    nested: tuple[str, ...]
    """Tables of a question that take the defaults word by word."""
    effects: str = ""
    """Effects that may be expected, for the error where none is: `stop` or `ask`."""
    example: str
    """A word of a nested table as a line of TOML, for the error where a change is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A case as its file has it."""

    name: str
    path: Path
    words: Words = field(repr=False)
    """What is asked, in the words of the file, with the defaults."""
    expect: Words

    @property
    def where(self) -> str:
        """File and case, for error texts."""
        return f"{self.path}: case `{self.name}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What came of a case: no differences if it holds."""

    case: Written
    differences: tuple[str, ...]
    determined: frozenset[str] = frozenset()
    """Ids of the policies or rules that determined anything of it."""


class _Law(Protocol):
    @property
    def policy_id(self) -> str: ...


_Ruled = TypeVar("_Ruled", bound=_Law)
_Case = TypeVar("_Case", bound=Written)


def read_words(path: Path) -> Words:
    """Return what a TOML file says; raise `CaseInvalid` if it can't be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CaseInvalid(f"{path}: cannot be read: {error}") from error


def read_cases(folder: Path, form: Form, make: Callable[[Written], _Case]) -> tuple[_Case, ...]:
    """Read the cases of a bundle, in the order of file names, each made of what is written.

    Raises:
        CaseInvalid: a file cannot be read, a word is unknown, or there is no case at all.
    """
    cases: list[_Case] = []
    for path in sorted((folder / "tests").glob("*.toml")):
        file, where = read_words(path), str(path)
        known(file, _FILE, where)
        defaults = get(file, "defaults", dict, {}, where)
        entries = list(get(file, "case", list, [], where))
        for table in get(file, "table", list, [], where):
            entries += rows_of(table, where)
        cases += [_made(_written(path, defaults, entry, form), make) for entry in entries]
    if not cases:
        raise CaseInvalid(f"{folder / 'tests'}: no case in any `.toml` file")
    return tuple(cases)


def find_case(cases: Sequence[_Case], name: str, folder: Path) -> _Case:
    """Return the case of that name, or the one whose name holds it; raise `CaseInvalid` that lists them."""
    found = [case for case in cases if case.name == name]
    found = found or [case for case in cases if name.casefold() in case.name.casefold()]
    if len(found) != 1:
        names = "".join(f"\n  {case.name}" for case in found or cases)
        problem = "fits several cases" if found else "is no case"
        raise CaseInvalid(f"{folder}: `{name}` {problem}; there are{names}")
    return found[0]


def uncovered(policies: Iterable[_Ruled], results: Iterable[CaseResult]) -> tuple[_Ruled, ...]:
    """Return the policies that determined nothing in any of these cases, in their order."""
    determined = frozenset[str]().union(*(result.determined for result in results))
    return tuple(policy for policy in policies if policy.policy_id not in determined)


def changed(words: Words, changes: Sequence[str], origin: str, form: Form) -> Words:
    """Return words with changes in their place, each a line of TOML such as `reason = "NARCOTICS"`.

    Raises:
        CaseInvalid: a word is unknown, or a change is no line of TOML; names it.
    """
    known(words, form.question, origin)
    for line in changes:
        try:
            change = tomllib.loads(line)
        except tomllib.TOMLDecodeError as error:
            raise CaseInvalid(
                f'`{line}` is no line of TOML, as `reason = "NARCOTICS"` or `{form.example}`: {error}'
            ) from error
        known(change, form.question, f"`{line}`")
        words = _merged(words, change, form.nested)
    return words


def differences(
    expect: Words, seen: Words, *, said: str, parts: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Yield what came otherwise than expected, a line each.

    Args:
        expect: What the case says; lists are compared in any order.
        seen: What came, lists sorted.
        said: What came of it is called so: `decided`.
        parts: Words of which the expected text need only be a part.
    """
    for word, value in expect.items():
        found = seen.get(word)
        wanted = sorted(value, key=str) if isinstance(value, list) else value
        if word in parts:
            holds = isinstance(value, str) and isinstance(found, str) and value in found
        else:
            holds = wanted == found
        if not holds:
            yield f"{word}: expected `{_shown(wanted)}`, {said} `{_shown(found)}`"


def known(table: Words, words: frozenset[str], where: str) -> None:
    """Check that a table has no other words; names the nearest right one."""
    for word in table:
        if word not in words:
            near = get_close_matches(word, sorted(words), n=1)
            hint = f"; did you mean `{near[0]}`" if near else ""
            raise CaseInvalid(f"{where}: `{word}` is not known{hint}")


def get(table: Words, word: str, kind: type[_Value], default: _Value, where: str) -> _Value:
    """Return the value of a word, or the default where it isn't said."""
    value = table.get(word, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CaseInvalid(f"{where}: `{word}` is not of the type `{kind.__name__}`")
    return value


def need(table: Words, word: str, kind: type[_Value], where: str) -> _Value:
    """Return the value of a word that has to be said."""
    if word not in table:
        raise CaseInvalid(f"{where}: `{word}` is missing")
    return get(table, word, kind, kind(), where)


def names(table: Words, word: str, where: str, default: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the members of a list of words."""
    if word not in table:
        return default
    return frozenset(str(item) for item in get(table, word, list, [], where))


def instant(table: Words, word: str, where: str) -> datetime:
    """Return an instant that has to be said, in UTC."""
    value = table.get(word)
    if isinstance(value, datetime) and value.tzinfo is not None:
        with suppress(OverflowError):  # in the first or the last day of the calendar
            return value.astimezone(UTC)
    raise CaseInvalid(f"{where}: `{word}` is not an instant such as 2026-03-02T12:00:00Z")


def maybe_instant(table: Words, word: str, where: str) -> datetime | None:
    """Return an instant, or nothing where it isn't said."""
    return instant(table, word, where) if word in table else None


def _written(path: Path, defaults: Words, entry: object, form: Form) -> Written:
    if not isinstance(entry, Mapping):
        raise CaseInvalid(f"{path}: a case is not a table")
    name = get(entry, "name", str, "", str(path))
    where = f"{path}: case `{name}`"
    if not name:
        raise CaseInvalid(f"{path}: a case has no name")
    known(defaults, form.question, f"{path}: defaults")
    known(entry, form.question | {"name", "expect"}, where)
    expect = get(entry, "expect", dict, {}, where)
    known(expect, form.expect, where)
    if "effect" not in expect:
        raise CaseInvalid(f"{where}: `expect` names no effect{form.effects and ': '}{form.effects}")
    own = {word: value for word, value in entry.items() if word not in ("name", "expect")}
    return Written(name=name, path=path, words=_merged(defaults, own, form.nested), expect=expect)


def _made(written: Written, make: Callable[[Written], _Case]) -> _Case:
    try:
        return make(written)
    except ValueError as error:
        raise CaseInvalid(f"{written.where}: {error}") from error


def _merged(under: Words, over: Words, nested: Iterable[str]) -> Words:
    """Return words with others in their place; nested tables word by word."""
    words = {**under, **over}
    for name in nested:
        below, above = under.get(name), over.get(name)
        if isinstance(below, dict) and isinstance(above, dict):
            words[name] = {**below, **above}
    return words


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "nothing" if value is None else str(value)
