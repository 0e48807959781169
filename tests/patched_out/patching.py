"""Take one check out of a module that is already imported, or fail loudly if it isn't where it was.

The source of the module is parsed, one statement or expression of one function in it is replaced, and
the function's code is exchanged in place: whoever imported the function before has the patched one.
What a patch names must stand in that function exactly once. So a check that is reworded, moved or
doubled breaks its patch, and no patch can rot into one that changes nothing.
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib.util
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

Found = TypeVar("Found")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class PatchBroken(Exception):
    """A patch doesn't fit the source any more; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Without:
    """The one statement in `where` whose text holds `fragment` is left out.

    Of a compound statement the first line counts, and its `else` stays. Quotes don't matter.
    """

    where: str
    fragment: str

    def find(self, function: ast.AST) -> tuple[list[ast.stmt], int]:
        """Return the block that holds the statement, and its place there."""
        found = [
            (block, index)
            for block in _blocks(function)
            for index, statement in enumerate(block)
            if _plain(self.fragment) in _first_line(statement)
        ]
        return _only(found, self)

    def edit(self, function: ast.AST) -> None:
        """Leave the statement out of `function`."""
        block, index = self.find(function)
        left = block[index]
        rest = left.orelse if isinstance(left, ast.If) else []
        block[index : index + 1] = rest or [ast.copy_location(ast.Pass(), left)]


@dataclass(frozen=True, slots=True)
class Instead:
    """The one expression `before` in `where` becomes `after`."""

    where: str
    before: str
    after: str

    def find(self, function: ast.AST) -> tuple[ast.AST, str, int | None]:
        """Return what holds the expression, and where in it."""
        before = ast.dump(ast.parse(self.before, mode="eval").body)
        found = [
            (parent, name, index)
            for parent in ast.walk(function)
            for name, index, child in _expressions(parent)
            if before.startswith(type(child).__name__) and ast.dump(child) == before
        ]
        return _only(found, self)

    def edit(self, function: ast.AST) -> None:
        """Exchange the expression in `function`."""
        parent, name, index = self.find(function)
        after = ast.parse(self.after, mode="eval").body
        if index is None:
            setattr(parent, name, ast.copy_location(after, getattr(parent, name)))
        else:
            getattr(parent, name)[index] = ast.copy_location(after, getattr(parent, name)[index])


@dataclass(frozen=True, slots=True)
class Body:
    """The function `where` does what `source` says, and nothing else."""

    where: str
    source: str

    def find(self, function: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef:
        """Return the function itself."""
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            raise PatchBroken(f"{self}: `{self.where}` is no function")
        return function

    def edit(self, function: ast.AST) -> None:
        """Exchange the body of `function`."""
        self.find(function).body = ast.parse(textwrap.dedent(self.source)).body


Patch = Without | Instead | Body


def apply(patches: Sequence[Patch]) -> None:
    """Exchange the code of the functions that `patches` name, in this process; raises PatchBroken."""
    trees = {name: ast.parse(_source(name)) for name in dict.fromkeys(_module(patch) for patch in patches)}
    for patch in patches:
        patch.edit(_definition(trees[_module(patch)], patch))
    for name, tree in trees.items():
        module = importlib.import_module(name)
        code = compile(
            ast.fix_missing_locations(tree), inspect.getsourcefile(module) or name, "exec", dont_inherit=True
        )
        for patch in patches:
            if _module(patch) == name:
                _exchange(module, code, patch)


def check_fit(patch: Patch) -> None:
    """Raise PatchBroken unless `patch` finds what it changes, without changing it."""
    patch.find(_definition(_parsed(_module(patch)), patch))


@functools.cache
def _parsed(module_name: str) -> ast.Module:
    return ast.parse(_source(module_name))


def _definition(tree: ast.Module, patch: Patch) -> ast.AST:
    """Return the function or class that `patch` names."""
    node: ast.AST = tree
    for name in _path(patch):
        inside = tree.body if node is tree else list(ast.walk(node))
        found = [each for each in inside if isinstance(each, Definition) and each.name == name]
        node = _only(found, patch)
    return node


def _exchange(module: ModuleType, code: CodeType, patch: Patch) -> None:
    """Give the function that `patch` names its part of the module's new code."""
    owner: Any = module
    for name in _path(patch):
        code = _inner(code, name, patch)
        owner = inspect.getattr_static(owner, name)
        function = _function(owner)
        if isinstance(function, FunctionType):
            function.__code__ = code
            return
    raise PatchBroken(f"{patch}: `{patch.where}` is no function")


@functools.cache
def _source(module_name: str) -> str:
    """Return a module's source, as it is on disk."""
    try:
        found = importlib.util.find_spec(module_name)
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise PatchBroken(f"module `{module_name}` isn't there")
    return Path(found.origin).read_text()


def _module(patch: Patch) -> str:
    return patch.where.partition(":")[0]


def _path(patch: Patch) -> list[str]:
    path = patch.where.partition(":")[2]
    if not path:
        raise PatchBroken(f"{patch}: `where` is not `module:function`")
    return path.split(".")


def _only(found: list[Found], patch: Patch) -> Found:
    if len(found) != 1:
        raise PatchBroken(f"{patch}: found {len(found)} times, expected once")
    return found[0]


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for each in ast.walk(node):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(each, name, None)
            if isinstance(block, list):
                yield block


def _expressions(node: ast.AST) -> Iterator[tuple[str, int | None, ast.expr]]:
    for name, value in ast.iter_fields(node):
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(child, ast.expr):
                yield name, index, child


def _first_line(statement: ast.stmt) -> str:
    """Return a statement's first line as `ast` writes it: of a compound one, what stands before its colon."""
    alone = copy.copy(statement)
    for inside in ("orelse", "handlers", "finalbody", "cases", "decorator_list"):
        if hasattr(alone, inside):
            setattr(alone, inside, [])
    if hasattr(alone, "body"):
        alone.body = [ast.Pass()]
    return _plain(ast.unparse(alone).partition("\n")[0])


def _plain(text: str) -> str:
    return text.replace('"', "'")


def _inner(code: CodeType, name: str, patch: Patch) -> CodeType:
    codes = [each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name]
    return _only(codes, patch)


def _function(thing: Any) -> Any:
    """Return the plain function below a method, property or decorator."""
    while True:
        if isinstance(thing, staticmethod | classmethod):
            thing = thing.__func__
        elif isinstance(thing, property):
            thing = thing.fget
        elif hasattr(thing, "__wrapped__"):
            thing = thing.__wrapped__
        else:
            return thing
