"""Logs for tests: a clock that stands still, and entries that tell their number."""

from datetime import UTC, datetime

from comity.audit.entry import Entry

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


def noon() -> datetime:
    return NOON


def asked(number: int) -> Entry:
    return Entry(
        kind="asked",
        at=NOON,
        exchange=number.to_bytes(16, "big"),
        public={"agency": "sheriff", "peer": "lapd", "number": number},
        private={"plate": f"8ABC{number:03d}", "case": "26-0417"},
        attachments={"order": b"signed order %d" % number},
    )
