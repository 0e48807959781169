"""The broker is blind: what it keeps, what it carries and what it has in memory (design 2)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from comity.broker.capture import FROM_END, read_capture
from comity.certs.clock import utc_now
from comity.certs.instants import from_instant
from comity.cli.asking import ask, load_client
from comity.cli.demonstration.evidence import files_below, find_values, spellings
from comity.links.telemetry.context import parse_traceparent
from comity.v1 import common_pb2, link_pb2, query_service_pb2
from tests.integration.conftest import Federation, comity

pytestmark = pytest.mark.integration
SECRETS = ("7qzx-918", "Q-77-SECRET-CASE", "an unmistakable reason text 5187", "j.ortega")
CHUNK = 1 << 20


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield the readable memory of a process, region by region, with overlaps for what spans two reads."""
    with Path(f"/proc/{pid}/maps").open() as maps:
        regions = [line.split() for line in maps]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for region in regions:
            if not region[1].startswith("rw"):
                continue
            start, end = (int(part, 16) for part in region[0].split("-"))
            try:
                memory.seek(start)
                yield memory.read(end - start)
            except (OSError, ValueError):
                continue


def found_in_memory(pid: int, values: tuple[str, ...]) -> set[str]:
    needles = {f"{value}: {form}": needle for value in values for form, needle in spellings(value).items()}
    found: set[str] = set()
    for region in memory_of(pid):
        found |= {name for name, needle in needles.items() if needle in region}
    return found


def secret_question() -> query_service_pb2.SearchRequest:
    now = utc_now()
    request = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=SECRETS[0], state="CA", country="US"),
        period=common_pb2.Period(start=from_instant(now - timedelta(days=2)), end=from_instant(now)),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number=SECRETS[1],
        reason_text=SECRETS[2],
        for_self=True,
        providers=["lapd"],
    )
    request.timeout.FromTimedelta(timedelta(seconds=6))
    return request


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="reading another process's memory needs root")
def test_nothing_of_a_held_query_is_in_the_brokers_memory(federation: Federation) -> None:
    """While a query is held at the adapter its content is in the gateway's memory and not in the broker's.

    A frozen adapter holds it until its link is given up, some seconds later; the gateway is stopped before
    that, so that its memory stays as it was. On a busy machine that takes more than one try, and more time.
    """
    client = load_client(federation.made.client_config("sheriff"))
    processes, at_broker = federation.processes, set()
    for number in range(6):
        answers(federation)  # the session stands
        assertion = federation.made.assertion("sheriff", utc_now())
        processes.freeze("lapd adapter")
        asking = threading.Thread(target=ask, args=(client, assertion, secret_question()))
        try:
            asking.start()
            time.sleep(0.7 * (1 + number / 2))
            processes.freeze("sheriff gateway")
            at_broker |= found_in_memory(processes.pid("broker"), SECRETS)
            at_gateway = found_in_memory(processes.pid("sheriff gateway"), SECRETS[:3])
        finally:
            processes.thaw("sheriff gateway")
            processes.thaw("lapd adapter")
            asking.join()
        if {f"{SECRETS[0]}: as typed", f"{SECRETS[0]}: folded"} <= at_gateway:
            break
    answers(federation)
    assert at_broker == set()
    assert {name.split(":")[0] for name in at_gateway} == set(SECRETS[:3])  # or the search proves nothing
    assert {f"{SECRETS[0]}: as typed", f"{SECRETS[0]}: folded"} <= at_gateway


def answers(federation: Federation) -> None:
    """Wait until LAPD answers the sheriff: links that were given up meanwhile come back by themselves."""
    until = time.monotonic() + 90
    while federation.ask("sheriff", "--provider", "lapd")["exit"] != 0:
        assert time.monotonic() < until, "the federation did not come back"


def test_nothing_of_a_query_is_in_what_the_broker_keeps_and_carries(federation: Federation) -> None:
    """Captured link bytes, log, and everything else below the broker's folder hold none of it."""
    comity(*federation.query("sheriff", "--case", SECRETS[1], "--text", SECRETS[2], plate=SECRETS[0]))
    time.sleep(1.5)  # logs are published about each second
    searched, found = find_values(files_below(federation.made.broker_home), SECRETS)
    assert found == [] and searched > 10_000
    captured = files_below(federation.made.broker_home / "capture")
    assert sum(path.stat().st_size for path in captured) > 10_000
    _, at_gateway = find_values(files_below(federation.made.gateway_home("sheriff")), SECRETS)
    assert {line.split()[1] for line in at_gateway} == {"0", "1", "2", "3"}


def test_captured_session_frames_hold_tls_records_alone(federation: Federation) -> None:
    """Every session record that crosses the broker is a TLS record: handshake or encrypted data."""
    federation.ask("sheriff")
    records = []
    for direction, message in read_capture(federation.made.broker_home / "capture"):
        kind = link_pb2.LinkRequest if direction == FROM_END else link_pb2.LinkResponse
        for frame in kind.FromString(message).frames:
            assert frame.traceparent == "" or parse_traceparent(frame.traceparent)
            if frame.WhichOneof("frame") == "session_data":
                records.append(frame.session_data.records)
    stream_starts = [data for data in records if data[:1] == b"\x16"]
    encrypted = [data for data in records if data[:3] == b"\x17\x03\x03"]
    assert stream_starts and len(encrypted) > 10
