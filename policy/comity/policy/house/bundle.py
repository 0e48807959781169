"""House bundles on disk: the same folder as a provider's, with `kind = "house"` in its `bundle.toml`.

    bundle.toml            agency, version, kind
    schema.cedarschema     what a question looks like to the rules
    entities.json          groups of providers that rules name; may be an empty list
    windows.toml           calendar and statutes of limitations; may be absent
    policies/*.cedar       the rules, read in the order of file names
    tests/*.toml           cases, run by `comity policy test`
    README.md              from the documents' paragraphs to the rules

Digest and files are those of `comity.policy.bundle`. Checked at load: every rule validates strictly against
the schema, has an id of its own, names the rule, document and text it stands for, says by `@enforce` whether
it stops or warns, and is a `forbid`; there is at least one; and the schema describes exactly the questions
that a gateway asks of it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Final

from comity.policy.bundle import (
    ENTITIES,
    MANIFEST,
    POLICIES,
    SCHEMA,
    digest_of,
    listed_entities,
    read_files,
    read_policies,
    read_schema,
    text_of,
)
from comity.policy.decision import Rule
from comity.policy.errors import BundleInvalid
from comity.policy.house.cedar import PROVIDER, PROVIDER_GROUP, probe_fault
from comity.policy.manifest import check_head, read_toml, reasons_of
from comity.policy.reasons import ReasonWords
from comity.policy.windows import FILE as WINDOWS
from comity.policy.windows import Windows, parse_windows

KIND: Final = "house"
_TYPES: Final = (PROVIDER, PROVIDER_GROUP)
_KEYS: Final = ("agency", "version", "kind", "reasons")
_ANNOTATIONS: Final = ("id", "rule", "document", "text", "enforce")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


class Enforcement(Enum):
    """What a house rule does with a question that it meets."""

    STOP = "stop"
    """Nothing is asked of the provider."""
    WARN = "warn"
    """It is asked, and the person is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HousePolicy:
    """One rule of a house bundle."""

    rule: Rule
    enforcement: Enforcement
    """As the bundle has it; the gateway's configuration may say otherwise."""
    path: str
    """File within the bundle."""
    line: int
    json_text: str
    """The policy in Cedar's own JSON."""

    @property
    def policy_id(self) -> str:
        """Its id."""
        return self.rule.policy_id


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseBundle:
    """A checked house bundle; a value, independent of the folder it came from."""

    agency: str
    version: str
    reasons: ReasonWords
    """Words of a free text that tell nothing: `[reasons]` of the manifest, over Comity's own (Q4)."""
    digest: bytes
    """SHA-256, 32 bytes, as of any bundle."""
    policies: tuple[HousePolicy, ...]
    """In the order of file names, then as they stand in the file."""
    schema_text: str
    entities_text: str
    windows: Windows
    """Its `windows.toml`: zone and statutes of limitations (Q5)."""
    files: Mapping[str, bytes] = field(repr=False)
    """What the digest covers, by name."""

    @classmethod
    def load(cls, folder: Path) -> HouseBundle:
        """Read and check a bundle.

        Raises:
            BundleInvalid: it must not be taken into force; names file and line.
        """
        files = read_files(folder)
        agency, version, words = _manifest(folder / MANIFEST, text_of(folder, files, MANIFEST))
        schema_text = text_of(folder, files, SCHEMA)
        schema = read_schema(folder / SCHEMA, schema_text)
        entities_text = text_of(folder, files, ENTITIES)
        _check_entities(folder / ENTITIES, entities_text)
        fault = probe_fault(schema, schema_text, entities_text)
        if fault:
            raise BundleInvalid(
                folder / SCHEMA, 0, f"does not describe the questions that a gateway asks: {fault}"
            )
        windows = Windows()
        if WINDOWS in files:
            windows = parse_windows(folder / WINDOWS, text_of(folder, files, WINDOWS))
        for kept in windows.retention.values():
            raise BundleInvalid(folder / WINDOWS, kept.line, "a house keeps no reads: leave `retention` out")
        policies = read_policies(folder, files, schema, _policy, called="rule")
        if not policies:
            raise BundleInvalid(folder / POLICIES, 0, "holds no rule: without house rules, name no bundle")
        return cls(
            agency=agency,
            version=version,
            reasons=words,
            digest=digest_of(files),
            policies=policies,
            schema_text=schema_text,
            entities_text=entities_text,
            windows=windows,
            files=files,
        )


def shipped(agency: str) -> Path:
    """Return the folder of the house rules that Comity ships: `ice` or `cbp`."""
    return Path(__file__).parent / "bundles" / agency


def is_house(folder: Path) -> bool:
    """Tell whether a folder says that it is a house bundle; one that can't be read says nothing."""
    try:
        table = tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(table.get("kind") == KIND)


def _manifest(path: Path, text: str) -> tuple[str, str, ReasonWords]:
    table = read_toml(path, text)
    if table.get("kind") != KIND:
        raise BundleInvalid(path, 0, f'is no house bundle: a gateway\'s has `kind = "{KIND}"`')
    agency, version = check_head(path, text, table, _KEYS)
    return agency, version, reasons_of(path, text, table)


def _check_entities(path: Path, text: str) -> None:
    for entity in listed_entities(path, text):
        uid = entity.get("uid") if isinstance(entity, dict) else None
        if not isinstance(entity, dict) or not isinstance(uid, dict) or uid.get("type") not in _TYPES:
            raise BundleInvalid(
                path, 0, f"must list entities of the types `{PROVIDER}` and `{PROVIDER_GROUP}` only"
            )
        if entity.get("attrs"):
            raise BundleInvalid(path, 0, "has an entity with attributes: the roster alone tells a provider's")


def _policy(path: Path, name: str, line: int, policy: Mapping[str, object]) -> HousePolicy:
    found = policy.get("annotations")
    annotations = {
        str(key): str(value or "") for key, value in (found if isinstance(found, dict) else {}).items()
    }
    for key in annotations:
        if key not in _ANNOTATIONS:
            near = get_close_matches(key, _ANNOTATIONS, n=1)
            hint = f"; did you mean `@{near[0]}`" if near else ""
            raise BundleInvalid(path, line, f"annotation `@{key}` is not known on a house rule{hint}")
    for key in _ANNOTATIONS:
        if not annotations.get(key, "").strip():
            raise BundleInvalid(path, line, f"annotation `@{key}` is required on every house rule")
    if not _ID.fullmatch(annotations["id"]):
        raise BundleInvalid(
            path, line, f"annotation `@id`: `{annotations['id']}` is not lower case letters, digits, `.`, `-`"
        )
    if policy.get("effect") != "forbid":
        raise BundleInvalid(path, line, "is a permit: a house rule only stops or warns, so write a `forbid`")
    return HousePolicy(
        rule=Rule(
            policy_id=annotations["id"],
            rules=tuple(annotations["rule"].split()),
            document=annotations["document"],
            text=annotations["text"],
        ),
        enforcement=_enforcement(path, line, annotations["enforce"]),
        path=name,
        line=line,
        json_text=json.dumps(policy),
    )


def _enforcement(path: Path, line: int, word: str) -> Enforcement:
    try:
        return Enforcement(word)
    except ValueError:
        raise BundleInvalid(
            path, line, f"annotation `@enforce`: `{word}` is neither `stop` nor `warn`"
        ) from None
