"""One namespace, a folder a room: nothing hides a room, the wheel is whole, and each end stands by itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = ("proto", "certs", "audit", "policy", "links", "broker", "adapters", "gateway", "cli")
WITHOUT_A_NOUN = {"common", "util", "utils", "helper", "helpers", "misc", "shared"}

# Imports every module below the packages in argv[1] while those in argv[2] can't be imported.
IMPORT_WITH_OTHERS_BLOCKED = """
import importlib, pkgutil, sys

packages, blocked = (argument.split(",") for argument in sys.argv[1:])

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in blocked):
            raise ModuleNotFoundError(f"`{name}` is blocked in this test", name=name)
        return None

sys.meta_path.insert(0, Blocker())
for package in packages:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), package + "."):
        importlib.import_module(found.name)
for each in blocked:
    assert each not in sys.modules, each
print("imported")
"""

ENDS = {
    "gateway": (
        ("comity.gateway", "comity.cli.main", "comity.cli.serve", "comity.cli.query"),
        ("comity.broker", "comity.adapters"),
    ),
    "adapter": (
        ("comity.adapters", "comity.cli.main", "comity.cli.adapter"),
        ("comity.broker", "comity.gateway"),
    ),
    "broker": (
        ("comity.broker", "comity.cli.main", "comity.cli.serve"),
        (
            "comity.adapters",
            "comity.gateway",
            "comity.policy",
            "comity.links.sessions",
            "comity.v1.session_pb2",
            "jwt",
            "cedarpy",
        ),
    ),
    "auditor": (
        ("comity.audit", "comity.cli.main", "comity.cli.audit"),
        (
            "comity.policy",
            "comity.links",
            "comity.broker",
            "comity.adapters",
            "comity.gateway",
            "grpc",
            "jwt",
            "cedarpy",
        ),
    ),
}


def test_nothing_hides_the_other_rooms() -> None:
    """One `__init__.py` directly under a `comity/` would make a room the whole package."""
    assert not list(ROOT.glob("*/comity/__init__.py"))


def test_settings_name_the_rooms_that_are_there() -> None:
    """A new room must be known to the wheel, the editable install, the type checker and the import rules."""
    assert sorted(path.parent.name for path in ROOT.glob("*/comity")) == sorted(ROOMS)
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == [f"{room}/comity" for room in ROOMS]
    assert wheel["dev-mode-dirs"] == list(ROOMS)
    mypy_path = PROJECT["tool"]["mypy"]["mypy_path"].replace("$MYPY_CONFIG_FILE_DIR/", "")
    assert mypy_path.split(":") == list(ROOMS)
    linted = PROJECT["tool"]["importlinter"]["root_packages"]
    assert linted == ["comity.v1", *(f"comity.{room}" for room in ROOMS if room != "proto")]


def test_every_module_has_a_noun_for_a_name() -> None:
    """There is no `common` and no `utils`: a thing lives in the room whose word it is."""
    modules = [path for room in ROOMS if room != "proto" for path in (ROOT / room).rglob("*.py")]
    assert len(modules) > 100
    nameless = [path for path in modules if WITHOUT_A_NOUN & {path.stem, *path.parent.parts[-3:]}]
    assert not nameless


@pytest.mark.parametrize("end", ENDS)
def test_end_imports_with_the_others_blocked(end: str) -> None:
    """Whoever runs one end needs neither the other ends' code nor the libraries of their extras."""
    packages, blocked = ENDS[end]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_OTHERS_BLOCKED, ",".join(packages), ",".join(blocked)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "imported\n"), done.stderr[-1500:]


def test_blocking_is_felt() -> None:
    """An end without what it does need fails in the same harness, or the tests above prove nothing."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITH_OTHERS_BLOCKED, "comity.adapters", "comity.policy"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "`comity.policy` is blocked" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_one_clean_tree(wheel: Path) -> None:
    """All rooms land in one `comity/`, each file once, and nothing of tests, docs or caches."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names))
    information = f"{wheel.name.split('-py3')[0]}.dist-info"
    assert {PurePosixPath(name).parts[0] for name in names} == {"comity", information}
    assert "comity/__init__.py" not in names
    assert not [name for name in names if "__pycache__" in name or "tests/test_" in name]
    sources = {
        path.relative_to(ROOT / room).as_posix()
        for room in ROOMS
        for path in (ROOT / room / "comity").rglob("*")
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }
    assert {name for name in names if name.startswith("comity/")} == sources


def test_wheel_brings_what_is_not_code(wheel: Path) -> None:
    """Policies, the demonstration federation and type markers are files, easily left out of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "comity/cli/demonstration/federation.toml" in names
    for agency in ("cbp", "dea", "vendor", "lapd", "lahd"):
        bundle = f"comity/policy/bundles/{agency}"
        for part in ("bundle.toml", "schema.cedarschema", "entities.json", "tests/cases.toml"):
            assert f"{bundle}/{part}" in names
        assert any(name.startswith(f"{bundle}/policies/") and name.endswith(".cedar") for name in names)
    assert {f"comity/{'v1' if room == 'proto' else room}/py.typed" for room in ROOMS} <= names


def test_command_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Unpacked anywhere, the wheel's own files check and test one of its bundles."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    bundle = tmp_path / "comity" / "policy" / "bundles" / "lapd"
    where = "import comity.policy.bundle as module; print(module.__file__)"
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", where], env=environment, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "comity.cli.main", "policy", "test", str(bundle)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "cases hold" in done.stdout, done.stderr
