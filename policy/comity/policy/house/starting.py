"""The house rules that an agency starts from: a small bundle to make its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from comity.policy.bundle import MANIFEST
from comity.policy.starting import StartInvalid

TEMPLATE: Final = "house"
"""Its name among the templates of `comity policy start`."""

_AGENCY: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


def start_house(agency: str) -> Mapping[str, str]:
    """Return the files of a new house bundle, by name within its folder.

    Raises:
        StartInvalid: `agency` can't be an agency's name.
    """
    if not _AGENCY.fullmatch(agency):
        raise StartInvalid(f"agency `{agency}`: expected lower case letters, digits and `-`, 31 at most")
    root = Path(__file__).parent / "template"
    files = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        text = re.sub(r"\byours\.", f"{agency}.", path.read_text(encoding="utf-8"))
        files[path.relative_to(root).as_posix()] = text.replace('"yours"', f'"{agency}"')
    files[MANIFEST] = f'agency = "{agency}"\nversion = "1"\nkind = "house"\n'
    return files
