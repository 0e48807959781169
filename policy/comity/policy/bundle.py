"""Policy bundles on disk: one folder an agency, checked as a whole before it is activated.

    bundle.toml            agency, version, and data that decisions are made by (`comity.policy.manifest`)
    schema.cedarschema     what a question looks like to the policies
    entities.json          agencies and the groups that policies name
    policies/*.cedar       the law, read in the order of file names
    windows.toml           calendar, statutes of limitations, retention of stores; may be absent
    tests/*.toml           cases, run by `comity policy test`
    README.md              from the documents' paragraphs to the policies
    adoption.json          the agency's signature (`comity.policy.adopting`)

The **digest** names the law alone: SHA-256 over a listing with one line per file of the first five
kinds, sorted by name, each the file's SHA-256 in hex, two spaces, its name with `/`, and a newline;
the line `comity policy bundle v1` comes first. `README.md`, `tests/` and the signature stay out, because
no decision depends on them: a better explanation is not another law. `sha256sum` gives the same lines.

Checked at load: every policy validates strictly against the schema, has an id of its own, names the
rule, document and text it stands for; every permit of `Search` sets retention and window; every
annotation and obligation is one that this version implements; and the schema describes exactly the
questions that Comity asks of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar

import cedarpy

from comity.policy.cedar import VIEWS, knows_class, probe_fault
from comity.policy.errors import BundleInvalid
from comity.policy.facts import DIGEST
from comity.policy.limits import AnnotationInvalid, Terms, read_terms
from comity.policy.manifest import Manifest, read_manifest
from comity.policy.obligations import OF_PLACE
from comity.policy.windows import FILE as WINDOWS
from comity.policy.windows import Windows, parse_windows

MANIFEST: Final = "bundle.toml"
SCHEMA: Final = "schema.cedarschema"
ENTITIES: Final = "entities.json"
POLICIES: Final = "policies"
ADOPTION: Final = "adoption.json"
DIGEST_HEADER: Final = b"comity policy bundle v1\n"

_ENTITY_TYPES: Final = frozenset({"Agency", "AgencyGroup"})
_POSITION: Final = re.compile(r"^for policy `policy0`[,:] ")
"""Cedar's own words begin with a positional id where a policy is parsed alone."""
_VIEWS: Final = frozenset({*VIEWS, "View"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy of a bundle: its effect, where it stands, and what its annotations ask for."""

    policy_id: str
    permits: bool
    searches: bool
    """Whether it is a permit that can determine a `Search`."""
    path: str
    """File within the bundle."""
    line: int
    terms: Terms
    json_text: str
    """The policy in Cedar's own JSON."""


class _Placed(Protocol):
    @property
    def policy_id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def line(self) -> int: ...


_Law = TypeVar("_Law", bound=_Placed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """A checked bundle; a value, independent of the folder it came from."""

    manifest: Manifest
    digest: bytes
    """SHA-256, 32 bytes, as the module's docstring defines it."""
    policies: tuple[Policy, ...]
    """In the order of file names, then as they stand in the file."""
    schema_text: str
    entities_text: str
    windows: Windows = field(default_factory=Windows)
    files: Mapping[str, bytes] = field(repr=False)
    """What the digest covers, by name."""
    adoption: bytes = field(default=b"", repr=False)
    """The signature that lies beside it, not verified; empty: none does."""

    @property
    def agency(self) -> str:
        """Whose law it is."""
        return self.manifest.agency

    @property
    def version(self) -> str:
        """As its agency counts."""
        return self.manifest.version

    @classmethod
    def load(cls, folder: Path) -> PolicyBundle:
        """Read and check a bundle.

        Raises:
            BundleInvalid: it must not be activated; names file and line.
        """
        return _parse(folder, read_files(folder), _read_adoption(folder))

    @classmethod
    def parse(cls, files: Mapping[str, bytes], origin: Path) -> PolicyBundle:
        """Check a bundle that is held in memory, for example one kept for replay.

        Args:
            files: Content by name within the bundle, exactly those that the digest covers.
            origin: Where they came from, for error texts.

        Raises:
            BundleInvalid: as `load`.
        """
        return _parse(origin, files)


def shipped(agency: str) -> Path:
    """Return the folder of a bundle that Comity ships: `cbp`, `dea`, `vendor`, `lapd` or `lahd`."""
    return Path(__file__).parent / "bundles" / agency


def digest_of(files: Mapping[str, bytes]) -> bytes:
    """Return the digest of a bundle's files, as the module's docstring defines it."""
    listing = bytearray(DIGEST_HEADER)
    for name in sorted(files):
        listing += f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n".encode()
    return hashlib.sha256(listing).digest()


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files that a bundle's digest covers, by name.

    Raises:
        BundleInvalid: one is missing, cannot be read, or something else stands among the policies.
    """
    names = [MANIFEST, SCHEMA, ENTITIES]
    if not (folder / MANIFEST).exists():
        raise BundleInvalid(
            folder / MANIFEST, 0, f"is missing: `{folder.name}` is no folder of a policy bundle"
        )
    try:
        for path in sorted((folder / POLICIES).iterdir()):
            if path.suffix != ".cedar" or not path.is_file():
                raise BundleInvalid(path, 0, "only `.cedar` files may stand among the policies")
            names.append(f"{POLICIES}/{path.name}")
        if (folder / WINDOWS).exists():
            names.append(WINDOWS)
        return {name: (folder / name).read_bytes() for name in names}
    except OSError as error:
        missing = Path(error.filename) if error.filename else folder
        raise BundleInvalid(missing, 0, f"cannot be read: {error.strerror}") from error


def _read_adoption(folder: Path) -> bytes:
    try:
        return (folder / ADOPTION).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise BundleInvalid(folder / ADOPTION, 0, f"cannot be read: {error.strerror}") from error


def _parse(origin: Path, files: Mapping[str, bytes], adoption: bytes = b"") -> PolicyBundle:
    manifest = read_manifest(origin / MANIFEST, text_of(origin, files, MANIFEST))
    schema_text = text_of(origin, files, SCHEMA)
    schema = read_schema(origin / SCHEMA, schema_text)
    entities_text = text_of(origin, files, ENTITIES)
    _check_entities(origin / ENTITIES, entities_text, schema)
    fault = probe_fault(schema, entities_text)
    if fault:
        raise BundleInvalid(origin / SCHEMA, 0, f"does not describe the questions that Comity asks: {fault}")
    windows = Windows()
    if WINDOWS in files:
        windows = parse_windows(origin / WINDOWS, text_of(origin, files, WINDOWS))
    for kept in windows.retention.values():
        if not knows_class(schema, entities_text, kept.store_class):
            detail = f"`retention.{kept.store_class}`: the schema has no such class of stores"
            raise BundleInvalid(origin / WINDOWS, kept.line, detail)
    policies = read_policies(origin, files, schema, _policy, called="policy")
    _check_counted(origin / MANIFEST, manifest, policies)
    return PolicyBundle(
        manifest=manifest,
        digest=digest_of(files),
        policies=policies,
        schema_text=schema_text,
        entities_text=entities_text,
        windows=windows,
        files=dict(files),
        adoption=adoption,
    )


def text_of(origin: Path, files: Mapping[str, bytes], name: str) -> str:
    """Return a file of a bundle as text; raise `BundleInvalid` if it is missing or no UTF-8."""
    try:
        return files[name].decode()
    except KeyError:
        raise BundleInvalid(origin / name, 0, "is missing") from None
    except UnicodeDecodeError as error:
        raise BundleInvalid(origin / name, 0, "is not UTF-8") from error


def read_schema(path: Path, text: str) -> cedarpy.Schema:
    """Return the schema; raise `BundleInvalid` if it is none."""
    try:
        return cedarpy.Schema.from_str(text)
    except ValueError as error:
        raise BundleInvalid(path, 0, f"is not a Cedar schema: {error}") from error


def listed_entities(path: Path, text: str) -> Sequence[object]:
    """Return what `entities.json` lists; one that is no entity where it is no list at all."""
    try:
        found: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise BundleInvalid(path, error.lineno, f"is not JSON: {error.msg}") from error
    return found if isinstance(found, list) else [None]


def read_policies(
    origin: Path,
    files: Mapping[str, bytes],
    schema: cedarpy.Schema,
    make: Callable[[Path, str, int, Mapping[str, object]], _Law],
    *,
    called: str,
) -> tuple[_Law, ...]:
    """Return a bundle's policies, in the order of file names, each validated against the schema.

    Args:
        origin: Where the files come from, for error texts.
        files: The bundle's files, by name.
        schema: What they are validated against.
        make: Makes one of its path, file name, line and Cedar's own JSON.
        called: `policy` or `rule`, for error texts.

    Raises:
        BundleInvalid: one does not validate, is a template, or has the id of another.
    """
    policies: dict[str, _Law] = {}
    for name in sorted(files):
        if not name.startswith(f"{POLICIES}/"):
            continue
        for line, parsed in _validated(origin / name, text_of(origin, files, name), schema, called):
            policy = make(origin / name, name, line, parsed)
            if other := policies.get(policy.policy_id):
                detail = f"id `{policy.policy_id}` is taken by {other.path}:{other.line}"
                raise BundleInvalid(origin / name, policy.line, detail)
            policies[policy.policy_id] = policy
    return tuple(policies.values())


def _validated(
    path: Path, text: str, schema: cedarpy.Schema, called: str
) -> Iterator[tuple[int, Mapping[str, object]]]:
    for line, statement in statements(text):
        for error in cedarpy.validate_policies(statement, schema).errors:
            raise BundleInvalid(path, line, _POSITION.sub("", error.error))
        parsed = json.loads(cedarpy.policies_to_json_str(statement))
        if parsed["templates"]:
            raise BundleInvalid(path, line, f"is a template; write a {called} for each principal")
        for policy in parsed["staticPolicies"].values():
            yield line, policy


def _check_counted(path: Path, manifest: Manifest, policies: Iterable[Policy]) -> None:
    """Check that a bundle that suspends counts something: a rule that never fires is no safeguard (Q8)."""
    if manifest.suspension is not None and not any(policy.terms.authorization for policy in policies):
        raise BundleInvalid(path, 0, "`[suspension]` counts nothing: no forbid has `@authorization`")


def _check_entities(path: Path, text: str, schema: cedarpy.Schema) -> None:
    for entity in listed_entities(path, text):
        uid = entity.get("uid") if isinstance(entity, dict) else None
        if not isinstance(uid, dict) or uid.get("type") not in _ENTITY_TYPES:
            raise BundleInvalid(path, 0, "must list entities of the types `Agency` and `AgencyGroup` only")
        _check_texts(path, uid.get("id"), entity.get("attrs") if isinstance(entity, dict) else None)
    try:
        cedarpy.Entities.from_json_str(text, schema)
    except ValueError as error:
        raise BundleInvalid(path, 0, f"does not follow the schema: {error}") from error


def _check_texts(path: Path, agency: object, attributes: object) -> None:
    """Check that the rules of behaviour that an agency's users may accept are named by their SHA-256 (Q4)."""
    texts = attributes.get("rulesOfBehaviour") if isinstance(attributes, dict) else None
    for text in texts if isinstance(texts, list) else ():
        if not isinstance(text, str) or not DIGEST.fullmatch(text):
            detail = (
                f"`rulesOfBehaviour` of `{agency}`: `{text}` is not a SHA-256 in lower-case hex; "
                "`sha256sum rules.txt` gives it"
            )
            raise BundleInvalid(path, 0, detail)


def _policy(path: Path, name: str, line: int, policy: Mapping[str, object]) -> Policy:
    annotations = policy.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise BundleInvalid(path, line, "has annotations that cannot be read")
    permits = policy.get("effect") == "permit"
    views_only = _views_only(policy.get("action"))
    searches = permits and not views_only
    try:
        terms = read_terms(
            {str(key): str(value or "") for key, value in annotations.items()}, permits=permits
        )
        if searches:
            terms.check_complete()
        elif terms.hides and views_only:
            raise AnnotationInvalid("`@shown_as` has no effect on a forbid of views; `@say` has")
        elif found := OF_PLACE.intersection(terms.obligations):
            raise AnnotationInvalid(
                f"`{min(found)}` has to stand on a permit of `Search`, whatever is viewed"
            )
        elif terms.budgets or terms.readings > 1:
            name = "budget" if terms.budgets else "readings"
            raise AnnotationInvalid(f"annotation `@{name}` has an effect on a permit of `Search` alone")
    except AnnotationInvalid as error:
        raise BundleInvalid(path, line, str(error)) from error
    return Policy(
        policy_id=terms.policy_id,
        permits=permits,
        searches=searches,
        path=name,
        line=line,
        terms=terms,
        json_text=json.dumps(policy),
    )


def _views_only(action: object) -> bool:
    """Tell whether an action constraint names nothing but single views; a group or `action` may search."""
    if not isinstance(action, dict):
        return False
    one, several = action.get("entity"), action.get("entities")
    named = [one] if one is not None else several
    if not isinstance(named, list) or not named:
        return False
    return all(isinstance(entity, dict) and entity.get("id") in _VIEWS for entity in named)


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each policy of a Cedar file with the line on which it starts, from 1.

    Cedar ends a policy with `;`, which stands nowhere else but in strings and comments.
    """
    line, start_line, begin = 1, 0, 0
    position, end = 0, len(text)
    while position < end:
        character = text[position]
        if text.startswith("//", position):
            newline = text.find("\n", position)
            position = end if newline < 0 else newline
            continue
        if not start_line and not character.isspace():
            start_line, begin = line, position
        if character == '"':
            closing = _string_end(text, position)
            line += text.count("\n", position, closing)
            position = closing
            continue
        if character == "\n":
            line += 1
        if character == ";":
            yield start_line, text[begin : position + 1]
            start_line = 0
        position += 1
    if start_line:
        yield start_line, text[begin:]


def _string_end(text: str, position: int) -> int:
    position += 1
    while position < len(text) and text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    return min(position + 1, len(text))
