"""SPIFFE ids: one spelling each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comity.certs.errors import CertificateRejected
from comity.certs.spiffe import SpiffeId, is_dns_name, is_within


@pytest.mark.parametrize(
    ("text", "domain", "path"),
    [
        ("spiffe://cbp.example/gateway", "cbp.example", "/gateway"),
        ("spiffe://operator.example/broker", "operator.example", "/broker"),
        ("spiffe://cbp.example/system/Desk_1.a-b", "cbp.example", "/system/Desk_1.a-b"),
        ("spiffe://a.b.c/...", "a.b.c", "/..."),
    ],
)
def test_id_is_read_into_domain_and_path(text: str, domain: str, path: str) -> None:
    """An id gives its parts, and its parts give the id."""
    found = SpiffeId.parse(text)
    assert (found.domain, found.path, str(found)) == (domain, path, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe:",
        "spiffe://",
        "spiffe:///x",
        "spiffe:/cbp.example/x",
        "cbp.example/x",
        "spiffe://cbp.example",
        "spiffe://cbp.example/",
        "spiffe://cbp.example/é",
        "spiffe://localhost/x",
        "spiffe://192.0.2.1/x",
        "spiffe://-a.example/x",
        "spiffe://a-.example/x",
        "spiffe://a..b/x",
        f"spiffe://{'a' * 64}.example/x",
        f"spiffe://{'a.' * 126}example/x",
        f"spiffe://cbp.example/{'x' * 2048}",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Missing parts, labels that DNS doesn't have, and what is too long."""
    with pytest.raises(CertificateRejected):
        SpiffeId.parse(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30) | st.from_regex(r"spiffe://[a-zA-Z0-9.:@-]{0,20}/[\w./%-]{0,20}", fullmatch=True))
def test_no_text_is_accepted_that_isnt_written_back_as_it_was(text: str) -> None:
    """Whatever is accepted is spelled in one way only; everything else raises the one error."""
    try:
        found = SpiffeId.parse(text)
    except CertificateRejected as error:
        assert "\n" not in str(error)
        return
    assert str(found) == text
    assert text.isascii() and found.domain == found.domain.lower()


@pytest.mark.parametrize(
    ("name", "domain", "expected"),
    [
        ("cbp.example", "cbp.example", True),
        ("gateway.cbp.example", "cbp.example", True),
        ("notcbp.example", "cbp.example", False),
        ("cbp.example.dea.example", "cbp.example", False),
        ("example", "cbp.example", False),
    ],
)
def test_within_a_domain_is_by_whole_labels(name: str, domain: str, expected: bool) -> None:
    """A name is within a domain at a dot, never in the middle of a label."""
    assert is_within(name, domain) is expected


@pytest.mark.parametrize(
    "name", ["", ".", "example", "cbp.example.", ".cbp.example", "*.cbp.example", "a b.c"]
)
def test_what_is_no_dns_name(name: str) -> None:
    """One label, empty labels, wildcards, blanks and addresses are none."""
    assert not is_dns_name(name)
