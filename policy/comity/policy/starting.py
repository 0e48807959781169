"""Templates: bundles that a provider starts from, and makes its own law of.

A template is a whole bundle of an agency `yours` that shares with an agency `partner`, its own state being
`CA`. `start` puts true names in their place; from then on it is the agency's, and nothing ties it to the
template. No template is in force anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from comity.policy.bundle import ENTITIES
from comity.policy.errors import PolicyError

TEMPLATES: Final = {
    "strict-local": "a local agency that shares little: its own state, 90 days back, kept 30 days",
    "federal": "a federal agency with readers of its own: federal partners more, others less",
    "commercial": "a vendor that answers law enforcement under contract",
}
"""Names of the templates, each with what it is."""

_AGENCY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")
_PARTNER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_STATE: Final = re.compile(r"[A-Z]{2,3}")


class StartInvalid(PolicyError):
    """A bundle can't be started so; the message names what would have been right."""


def template(name: str) -> Path:
    """Return the folder of a template, of `TEMPLATES`."""
    return Path(__file__).parent / "templates" / name


def start(name: str, *, agency: str, partners: Sequence[str], state: str = "CA") -> Mapping[str, str]:
    """Return the files of a new bundle, by name within its folder.

    Args:
        name: Of the template.
        agency: Whose law it will be, as the roster names it.
        partners: Agencies to share with; at least one, for a policy that names nobody permits nothing.
        state: The agency's own, as ISO 3166-2 after the dash; policies that compare with it get it.

    Raises:
        StartInvalid: a name can't be one.
    """
    if not _AGENCY.fullmatch(agency):
        raise StartInvalid(f"agency `{agency}`: expected lower case letters, digits and `-`, 31 at most")
    for partner in partners:
        if not _PARTNER.fullmatch(partner):
            raise StartInvalid(f"partner `{partner}`: expected an agency's name, as in the roster")
    if not partners:
        raise StartInvalid("no partner: a policy that names nobody permits nothing; name one agency at least")
    if agency in partners:
        raise StartInvalid(f"partner `{agency}` is the agency itself")
    if not _STATE.fullmatch(state):
        raise StartInvalid(f"state `{state}`: expected capitals such as `CA`")
    root = template(name)
    files = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"\byours\.", f"{agency}.", text).replace('"yours"', f'"{agency}"')
        text = text.replace('"CA"', f'"{state}"').replace(
            'requester = "partner"', f'requester = "{partners[0]}"'
        )
        files[path.relative_to(root).as_posix()] = text
    files[ENTITIES] = _entities(partners)
    return files


def _entities(partners: Sequence[str]) -> str:
    group = {"type": "AgencyGroup", "id": "partners"}
    entities: list[dict[str, object]] = [{"uid": group, "attrs": {}, "parents": []}]
    entities += [
        {"uid": {"type": "Agency", "id": name}, "attrs": {}, "parents": [group]}
        for name in dict.fromkeys(partners)
    ]
    return "[\n  " + ",\n  ".join(json.dumps(entity) for entity in entities) + "\n]\n"
