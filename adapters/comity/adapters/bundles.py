"""The policy bundles that were in force at this end, kept as they were: what a decision was made by.

    home/bundles/<digest in hex>/bundle.toml, schema.cedarschema, entities.json, policies/*.cedar,
                                 adoption.json if the agency signed it

A receipt names the digest of the bundle that decided; years later the same bundle and the same facts give
the same decision (`comity policy replay`). They hold no question, and stay.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from comity.audit.disk import Disk
from comity.policy.bundle import ADOPTION, PolicyBundle, digest_of, read_files
from comity.policy.errors import BundleInvalid

FOLDER: Final = "bundles"


def keep_bundle(home: Path, bundle: PolicyBundle) -> Path:
    """Keep a bundle, durably, and return its folder; what is kept already is left, unless it was damaged.

    Raises `OSError` if it can't be written.
    """
    folder = home / FOLDER / bundle.digest.hex()
    if not _is_kept(folder, bundle.digest):
        disk = Disk()
        disk.make_folder(home / FOLDER, 0o700)
        disk.write_files(folder, bundle.files, 0o600)
    if bundle.adoption and not _is_signed(folder, bundle.adoption):
        Disk().write_files(folder, {ADOPTION: bundle.adoption}, 0o600)
    return folder


def install_bundle(source: Path, target: Path) -> None:
    """Put a bundle's folder, with its cases and README, in the place of another; nothing if it is that one.

    By two renames, so that nobody reads half of one and half of the other. Raises `OSError`.
    """
    if source.resolve() == target.resolve():
        return
    coming, going = (target.with_name(f".{target.name}.{word}") for word in ("coming", "going"))
    for left in (coming, going):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(source, coming)
    target.rename(going)
    coming.rename(target)
    shutil.rmtree(going, ignore_errors=True)


def _is_kept(folder: Path, digest: bytes) -> bool:
    try:
        return digest_of(read_files(folder)) == digest
    except BundleInvalid:
        return False


def _is_signed(folder: Path, adoption: bytes) -> bool:
    try:
        return (folder / ADOPTION).read_bytes() == adoption
    except OSError:
        return False
