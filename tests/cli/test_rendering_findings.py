"""What an answer's findings look like to a person, and to a script."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from comity.cli.asking import Answer
from comity.cli.rendering import show, to_json
from comity.v1 import query_service_pb2


def test_finding_names_its_suspects_for_scripts_and_its_line_for_people() -> None:
    """A script learns kind, suspects and digests of the evidence; control characters reach no terminal."""
    line = "lapd: the broker attests `timed_out`, but its signed receipt is here\x1b[2J"
    finding = query_service_pb2.Finding(
        kind=query_service_pb2.FINDING_KIND_RECEIPT_DENIED,
        provider="lapd",
        suspects=("operator", "lapd"),
        text=line,
        evidence=(b"\x01" * 32,),
    )
    answer = Answer(summary=query_service_pb2.Summary(findings=[line], found=[finding]))
    told = to_json(answer, "8ABC123")
    assert told["found"] == [
        {
            "kind": "RECEIPT_DENIED",
            "provider": "lapd",
            "suspects": ["operator", "lapd"],
            "text": str(told["findings"][0]),  # type: ignore[index]
            "evidence": ["01" * 32],
        }
    ]
    out = StringIO()
    show(answer, Console(file=out, width=110))
    assert "finding: lapd: the broker attests" in out.getvalue() and "\x1b" not in out.getvalue()
