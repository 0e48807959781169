"""The three ways of asking N providers that are compared, each as real processes and one `ask` call.

- `bare`: the caller itself calls N providers, unary gRPC over mutual TLS and nothing else;
- `relayed`: the same behind one more process that fans out, as a gateway does for its agency's systems;
- `comity`: caller, gateway, broker, N adapters: the product as it is shipped, with default settings.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

from benchmarks.bare import SERVICE, Fanout
from benchmarks.federation import READS, REQUESTER, Federation
from comity.certs.clock import utc_now
from comity.certs.instants import from_instant
from comity.cli.asking import load_client
from comity.cli.demonstration.prepare import wanted
from comity.cli.demonstration.processes import Processes, start_all
from comity.cli.demonstration.traffic import KNOWN_TO_ALL
from comity.v1 import common_pb2, query_pb2, query_service_pb2, query_service_pb2_grpc, result_pb2

WAYS = ("bare", "relayed", "comity")
ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 5.0


class WrongAnswer(Exception):
    """An answer that isn't ten reads of every provider: what was measured would mean nothing."""


class Way(Protocol):
    """One way of asking."""

    async def ask(self) -> None:
        """Ask once; raises `WrongAnswer` unless every provider gave its ten reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The processes that serve all ways, by way and name, without the caller."""

    processes: Mapping[str, Mapping[str, int]]
    """Way → name of the process → its process id."""
    provider_ports: Mapping[str, int]
    relay_port: int


def start(federation: Federation, ending: ExitStack) -> Started:
    """Start every process; `ending` ends them again, and only them."""
    made = federation.made
    running = ending.enter_context(Processes())
    start_all(running, wanted(made), lambda line: None)
    comity = {name.removeprefix(f"{REQUESTER} "): running.pid(name) for name, _, _ in made.ends()}
    bare, ports = {}, {}
    asker_ca = made.home(REQUESTER) / "ca.pem"
    for name in federation.providers:
        process, ports[name] = _start_bare(
            ending,
            "provider",
            str(made.adapter_home(name)),
            str(asker_ca),
            log=made.root / f"bare-{name}.log",
        )
        bare[f"{name} provider"] = process.pid
    addresses = [f"{name}:{ports[name]}:{made.home(name) / 'ca.pem'}" for name in federation.providers]
    relay, relay_port = _start_bare(
        ending,
        "relay",
        str(made.gateway_home(REQUESTER)),
        str(asker_ca),
        *addresses,
        log=made.root / "bare-relay.log",
    )
    return Started(
        processes={"bare": bare, "relayed": {"relay": relay.pid, **bare}, "comity": comity},
        provider_ports=ports,
        relay_port=relay_port,
    )


def _start_bare(
    ending: ExitStack, role: str, *arguments: str, log: Path
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a bare process and return it with its port; it ends when its standard input closes."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare", role, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            cwd=ROOT,
            start_new_session=True,
        )
    ending.callback(_end, process)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.strip().isdigit():
        raise RuntimeError(f"bare {role} did not start: {log.read_text(errors='replace')[-300:]}")
    return process, int(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Bare:
    """The caller fans out itself, with the requester's gateway's certificate."""

    def __init__(self, federation: Federation, started: Started) -> None:
        made = federation.made
        keys = made.gateway_home(REQUESTER) / "keys"
        self._fanout = Fanout(
            [
                (name, started.provider_ports[name], (made.home(name) / "ca.pem").read_bytes())
                for name in federation.providers
            ],
            (keys / "leaf.pem").read_bytes(),
            (keys / "leaf.key").read_bytes(),
        )
        self._query = bare_query(federation)
        self._providers = len(federation.providers)

    async def ask(self) -> None:
        """Ask once; raises `WrongAnswer`."""
        _check(await self._fanout.ask(self._query), self._providers)

    async def close(self) -> None:
        """Close the channels."""
        await self._fanout.close()


class Relayed:
    """The caller asks a relay, with its own system's certificate."""

    def __init__(self, federation: Federation, started: Started) -> None:
        client = load_client(federation.made.client_config(REQUESTER))
        self._channel = grpc.aio.secure_channel(
            f"127.0.0.1:{started.relay_port}",
            grpc.ssl_channel_credentials(client.ca, client.key, client.leaf),
            options=[("grpc.ssl_target_name_override", client.gateway_name)],
        )
        self._call = self._channel.unary_stream(
            f"/{SERVICE}/Search",
            request_serializer=query_pb2.Query.SerializeToString,
            response_deserializer=query_service_pb2.ProviderPage.FromString,
        )
        self._query = bare_query(federation)
        self._providers = len(federation.providers)

    async def ask(self) -> None:
        """Ask once; raises `WrongAnswer`."""
        pages = [message.page async for message in self._call(self._query, timeout=10.0)]
        _check(pages, self._providers)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


class Comity:
    """The caller asks its agency's gateway, as `comity query` does, over one channel that stays open."""

    def __init__(self, federation: Federation) -> None:
        client = load_client(federation.made.client_config(REQUESTER))
        self._channel = grpc.aio.secure_channel(
            client.gateway,
            grpc.ssl_channel_credentials(client.ca, client.key, client.leaf),
            options=[("grpc.ssl_target_name_override", client.gateway_name)],
        )
        self._search = query_service_pb2_grpc.QueryServiceStub(self._channel).Search
        self._federation = federation
        self._providers = len(federation.providers)
        self._request = query_service_pb2.SearchRequest(
            plate=_plate(),
            period=_period(federation),
            reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
            case_number="26-0417",
            reason_text="series of burglaries in the harbor area",
            for_self=True,
            completeness=query_pb2.Completeness(all=True),
        )
        self._metadata: tuple[tuple[str, str], ...] = ()

    def log_on(self) -> None:
        """Get the user a fresh assertion, good for ten minutes of asking."""
        assertion = self._federation.made.assertion(REQUESTER, utc_now())
        self._metadata = (("authorization", f"Bearer {assertion}"),)

    async def ask(self) -> None:
        """Ask once; raises `WrongAnswer`."""
        pages: list[result_pb2.Page] = []
        summary: query_service_pb2.Summary | None = None
        async for message in self._search(self._request, metadata=self._metadata, timeout=20.0):
            if message.HasField("page"):
                pages.append(message.page.page)
            elif message.HasField("summary"):
                summary = message.summary
        if summary is None or not summary.complete or summary.findings:
            raise WrongAnswer("the answer is not complete, or has findings")
        _check(pages, self._providers)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


async def open_ways(federation: Federation, started: Started, ending: AsyncExitStack) -> Mapping[str, Way]:
    """Return every way, ready to be asked; `ending` closes their channels."""
    bare, relayed, comity = Bare(federation, started), Relayed(federation, started), Comity(federation)
    for way in (bare, relayed, comity):
        ending.push_async_callback(way.close)
    comity.log_on()
    return {"bare": bare, "relayed": relayed, "comity": comity}


def bare_query(federation: Federation) -> query_pb2.Query:
    """Return the question as a bare provider gets it: what Comity's query holds, but for the assertion."""
    return query_pb2.Query(
        nonce=bytes(16),
        exchange_id=bytes(16),
        requester=REQUESTER,
        plate=_plate(),
        period=_period(federation),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text="series of burglaries in the harbor area",
    )


def _plate() -> common_pb2.Plate:
    return common_pb2.Plate(number=KNOWN_TO_ALL.plate, state=KNOWN_TO_ALL.state, country=KNOWN_TO_ALL.country)


def _period(federation: Federation) -> common_pb2.Period:
    return common_pb2.Period(start=from_instant(federation.start), end=from_instant(federation.end))


def _check(pages: list[result_pb2.Page], providers: int) -> None:
    counts = [len(page.reads) for page in pages]
    if counts != [READS] * providers:
        raise WrongAnswer(f"expected {providers} pages of {READS} reads, got {counts}")
