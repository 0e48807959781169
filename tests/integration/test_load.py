"""Many exchanges in flight at once, and what a real broker holds for them: 2,000 here, 10,000 by `make load`.

The ends are links of this process with real keys and real signed orders; the providers are linked and silent.
`make load` also shows what a gateway and an adapter hold for each exchange in flight.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import parse_entry
from comity.audit.tiles import TileFolder
from comity.certs.agreements import AgreementBook
from comity.certs.clock import utc_now
from comity.certs.credentials import load_end
from comity.certs.instants import from_instant
from comity.cli.asking import load_client
from comity.cli.demonstration.prepare import free_ports
from comity.cli.demonstration.processes import Processes
from comity.gateway.order import SignedOrder, sign_order
from comity.gateway.question import parse_question
from comity.links.client import LinkClient, LinkConfig
from comity.links.sessions.hub import AdapterSessions, GatewaySessions, Session, SessionIdentity
from comity.v1 import common_pb2, link_pb2, query_service_pb2, query_service_pb2_grpc, session_pb2
from tests.simulator import lay_out
from tests.support.federation import FederationOnDisk, build_federation

pytestmark = pytest.mark.integration

LOADED = "COMITY_LOAD" in os.environ
EXCHANGES = int(os.environ.get("COMITY_LOAD", "1000"))
PROVIDERS = ("cbp", "dea", "lahd", "lapd")
BOUND = 300_000_000
"""Bytes that a broker may hold for 10,000 exchanges in flight, all that it needs to run among them."""
FOR = 10_000
ROLES = {"gateway": common_pb2.END_ROLE_GATEWAY, "adapter": common_pb2.END_ROLE_ADAPTER}
REASON = "series of burglaries"


def memory(pid: int, field: str = "VmRSS") -> int:
    """Return bytes of a process, as proc(5) tells: `VmRSS` now, `VmHWM` the most ever."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field} of {pid}")


def show(**figures: float) -> None:
    """Print figures in MB, or as they are if they are small."""
    print("  " + ", ".join(f"{name.replace('_', ' ')} {value:,.1f}" for name, value in figures.items()))


async def until(condition: Callable[[], object], what: str, *, seconds: float = 120) -> None:
    """Wait until something is true."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


class End:
    """An end that is its link, counts what it is told, and hands frames on to sessions if it has any."""

    def __init__(self, made: FederationOnDisk, broker: str, agency: str, role: str) -> None:
        self.agency = agency
        self.home = made.home(agency) / role
        self.credentials = load_end(self.home)
        self.seen: Counter[str] = Counter()
        self.sessions: Any = None
        config = LinkConfig(
            broker=broker,
            broker_name="broker.operator.example",
            operator_ca_pem=(made.root / "operator" / "ca.pem").read_bytes(),
            leaf_chain_pem=self.credentials.chain_pem,
            leaf_key_pem=self.credentials.key_pem,
            spiffe_id=self.credentials.spiffe_id,
            role=ROLES[role],
            roster_version=1,
        )
        self.client = LinkClient(config, self, utc_now)
        self.identity = SessionIdentity(
            agency=agency, chain=self.home / "keys" / "leaf.pem", key=self.home / "keys" / "leaf.key"
        )

    def linked(self, welcome: link_pb2.Welcome) -> None:
        self.seen["up"] += 1
        if self.sessions is not None:
            self.sessions.linked(welcome)

    def unlinked(self, reason: link_pb2.CloseReason, text: str) -> None:
        self.seen["down"] += 1
        if self.sessions is not None:
            self.sessions.unlinked(reason, text)

    def frames(self, frames: Sequence[link_pb2.LinkFrame]) -> None:
        self.seen.update(frame.WhichOneof("frame") or "" for frame in frames)
        if self.sessions is not None:
            self.sessions.frames(frames)

    def heard(self, session: Session, message: session_pb2.SessionMessage) -> None:
        self.seen[f"session {message.WhichOneof('message')}"] += 1


class Stage:
    """A federation on disk with one real broker, and the ends that a test calls for."""

    def __init__(
        self, made: FederationOnDisk, processes: Processes, address: str, stack: AsyncExitStack
    ) -> None:
        self.made = made
        self.processes = processes
        self.address = address
        self.federation = made.federation(utc_now())
        self._stack = stack

    async def end(self, agency: str, role: str, hub: Callable[[End], Any] | None = None) -> End:
        """Link an end of this process."""
        end = End(self.made, self.address, agency, role)
        end.sessions = None if hub is None else hub(end)
        running = asyncio.create_task(end.client.run())

        async def close() -> None:
            await end.client.close()
            await running

        self._stack.push_async_callback(close)
        await until(lambda: end.client.is_up, f"link of {agency}")
        return end

    def hub(self, kind: type[AdapterSessions] | type[GatewaySessions], end: End) -> Any:
        """Return sessions that count what they hear."""
        return kind(
            link=end.client,
            federation=self.federation,
            agreements=AgreementBook.load(self.made.agreements(end.agency), self.federation),
            identity=end.identity,
            clock=utc_now,
            on_message=end.heard,
            on_closed=lambda session, reason, text: None,
        )

    def start(self, name: str, role: str, config: Path, *lines: str, **settings: int) -> int:
        """Start a real process, with other settings; return its id."""
        text = config.read_text()
        given = "".join(f"{key} = {value}\n" for key, value in settings.items())
        config.write_text(given + text)
        self.processes.wait_for(self.processes.start(name, role, config), *lines)
        return self.processes.pid(name)

    def sign(
        self, end: End, providers: Sequence[str], *, seconds: float, assertion: str = "jwt"
    ) -> SignedOrder:
        """Sign an order as a gateway does."""
        now = utc_now()
        return sign_order(
            parse_question(request(seconds=30), now=now),
            requester=end.agency,
            providers=providers,
            assertion=assertion,
            key=end.credentials.statement,
            roster_version=1,
            now=now,
            deadline=now + timedelta(seconds=seconds),
        )

    def logged(self, kind: str) -> Counter[bytes]:
        """Return how often the broker's log has an entry of a kind, by exchange."""
        folder = self.made.broker_home / "log"
        size = peek_checkpoint((folder / "checkpoint").read_bytes()).size
        entries = (parse_entry(leaf) for _, leaf in TileFolder(folder).all_entries(size))
        return Counter(entry.exchange for entry in entries if entry.kind == kind and entry.exchange)


def request(*, seconds: float, days: int = 2) -> query_service_pb2.SearchRequest:
    """A good question."""
    now = utc_now()
    asked = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number="8ABC123", state="CA", country="US"),
        period=common_pb2.Period(start=from_instant(now - timedelta(days=days)), end=from_instant(now)),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text=REASON,
        for_self=True,
    )
    asked.timeout.FromTimedelta(timedelta(seconds=seconds))
    return asked


@asynccontextmanager
async def staged(folder: Path, *, reads: int = 0, **limits: int) -> AsyncIterator[Stage]:
    """Lay a federation out, start its broker, and end everything afterwards."""
    now = utc_now()
    broker, gateway = free_ports(2)
    address = f"127.0.0.1:{broker}"
    made = build_federation(
        folder / "f",
        now,
        (*PROVIDERS, "sheriff"),
        broker=address,
        gateways={"sheriff": f"127.0.0.1:{gateway}"},
    )
    if reads:
        lay_out(made, now, reads=reads)
    with Processes() as processes:
        async with AsyncExitStack() as stack:
            stage = Stage(made, processes, address, stack)
            stage.start("broker", "broker", made.broker_home / "broker.toml", "listening on", **limits)
            yield stage


async def wave(stage: Stage, gateway: End, adapters: Sequence[End], number: int) -> None:
    """Have `number` exchanges in flight at the same time, then end them: by cancel, the last by deadline."""
    pid = stage.processes.pid("broker")
    told, accounts = [end.seen["announcement"] for end in adapters], gateway.seen["account"]
    cancelled = [end.seen["cancel"] for end in adapters]
    short = number // 20
    placed: list[bytes] = []
    for at in range(number + short):
        if at == number:  # a busy broker takes its time, and these have little
            await until(lambda: adapters[0].seen["announcement"] - told[0] == number, "announcements")
        order = stage.sign(gateway, PROVIDERS, seconds=110 if at < number else 5)
        placement = link_pb2.OrderPlacement(order=order.envelope, leaves=list(order.leaves))
        gateway.client.send(link_pb2.LinkFrame(order=placement))
        placed.append(order.exchange_id)
        if at % 50 == 0:  # a burst waits for the broker: it is its memory that is measured, not ours
            await until(
                lambda: adapters[0].seen["announcement"] - told[0] > len(placed) - 500, "announcements"
            )
    for end, before in zip(adapters, told, strict=True):
        await until(lambda end=end, before=before: end.seen["announcement"] - before == len(placed), "told")
    assert gateway.seen["account"] - accounts <= short, "an exchange ended too early"
    assert gateway.seen["order_rejection"] == 0
    show(at_peak_MB=memory(pid) / 1e6, exchanges=len(placed) - (gateway.seen["account"] - accounts))
    await until(lambda: gateway.seen["account"] - accounts == short, "accounts at the deadline")
    for exchange_id in placed[:number]:
        gateway.client.send(link_pb2.LinkFrame(cancel=link_pb2.ExchangeCancel(exchange_id=exchange_id)))
    await until(lambda: gateway.seen["account"] - accounts == len(placed), "accounts")
    for end, before in zip(adapters, cancelled, strict=True):
        await until(lambda end=end, before=before: end.seen["cancel"] - before == len(placed), "cancels")
    show(after_MB=memory(pid) / 1e6)


@pytest.mark.long
async def test_broker_with_many_exchanges_in_flight_stays_small(tmp_path: Path) -> None:
    """10,000 exchanges in flight with four silent providers each: the broker stays below 300 MB (design 2).

    All are accounted for, once, and what ended makes room: a second wave costs no more than the first.
    """
    waves = 2 if LOADED else 1
    room = EXCHANGES + EXCHANGES // 20
    async with staged(tmp_path, max_exchanges=room, max_exchanges_per_agency=room) as stage:
        pid = stage.processes.pid("broker")
        gateway = await stage.end("sheriff", "gateway")
        adapters = [await stage.end(agency, "adapter") for agency in PROVIDERS]
        before = memory(pid)
        print()
        show(broker_before_MB=before / 1e6)
        most = []
        for _ in range(waves):
            await wave(stage, gateway, adapters, EXCHANGES)
            most.append(memory(pid, "VmHWM"))
        show(most_ever_MB=most[-1] / 1e6, KB_an_exchange=(most[0] - before) / room / 1e3)
        assert most[0] < before + (BOUND - before) * EXCHANGES / FOR
        assert most[-1] < before + 1.25 * (BOUND - before) * EXCHANGES / FOR
        assert all(end.seen["down"] == 0 for end in (gateway, *adapters))
        assert stage.processes.stop("broker") == {"broker": 0}
        routed, accounted = stage.logged("routed"), stage.logged("accounted")
        assert len(routed) == waves * room
        assert accounted == routed == Counter(dict.fromkeys(routed, 1))


@pytest.mark.skipif(not LOADED, reason="`make load`")
async def test_what_a_gateway_holds_for_each_exchange(tmp_path: Path) -> None:
    """A real gateway with silent providers: kilobytes an exchange in flight."""
    number = min(EXCHANGES, 1_000)
    limits = {"max_exchanges": number, "max_exchanges_per_agency": number}
    async with staged(tmp_path, **limits) as stage:
        for agency in PROVIDERS:
            await stage.end(agency, "adapter", lambda end: stage.hub(AdapterSessions, end))
        pid = stage.start(
            "sheriff/gateway",
            "gateway",
            stage.made.gateway_home("sheriff") / "gateway.toml",
            "linked to the broker",
            max_in_flight=number,
            max_in_flight_per_user=number,
        )
        client = load_client(stage.made.client_config("sheriff"))
        credentials = grpc.ssl_channel_credentials(client.ca, client.key, client.leaf)
        options = [("grpc.ssl_target_name_override", client.gateway_name)]
        metadata = (("authorization", f"Bearer {stage.made.assertion('sheriff', utc_now())}"),)
        async with grpc.aio.secure_channel(client.gateway, credentials, options) as channel:
            stub = query_service_pb2_grpc.QueryServiceStub(channel)

            async def ask() -> Any:
                call = stub.Search(request(seconds=60), metadata=metadata)
                assert (await call.read()).HasField("plan")
                return call

            (await ask()).cancel()  # the sessions are open from here on
            before = memory(pid)
            print()
            peaks = []
            for _ in range(2):
                calls = [await ask() for _ in range(number)]
                await asyncio.sleep(1)
                peaks.append(memory(pid))
                for call in calls:
                    call.cancel()
                await asyncio.sleep(3)
                show(gateway_before_MB=before / 1e6, at_peak_MB=peaks[-1] / 1e6, after_MB=memory(pid) / 1e6)
            show(exchanges=number, KB_an_exchange=(peaks[0] - before) / number / 1e3)
            assert (peaks[0] - before) / number < 200_000
            assert peaks[1] < peaks[0] + 0.5 * (peaks[0] - before)


@pytest.mark.skipif(not LOADED, reason="`make load`")
async def test_what_an_adapter_holds_for_each_exchange(tmp_path: Path) -> None:
    """A real adapter whose requester gives no credit: what it holds are pages that wait, and no more."""
    number, reads = 200, 1_000
    async with staged(tmp_path, reads=reads) as stage:
        pid = stage.start(
            "lapd/adapter",
            "adapter",
            stage.made.adapter_home("lapd") / "adapter.toml",
            "linked to the broker",
            max_in_flight=number + 1,
            max_in_flight_per_subject=number + 1,
        )
        gateway = await stage.end("sheriff", "gateway", lambda end: stage.hub(GatewaySessions, end))
        session = await gateway.sessions.session("lapd")
        assertion = stage.made.assertion("sheriff", utc_now())
        now = utc_now()
        question = parse_question(request(seconds=30, days=365), now=now)

        async def ask(answers: int) -> bytes:
            now = utc_now()
            order = sign_order(
                question,
                requester="sheriff",
                providers=["lapd"],
                assertion=assertion,
                key=gateway.credentials.statement,
                roster_version=1,
                now=now,
                deadline=now + timedelta(seconds=110),
            )
            placement = link_pb2.OrderPlacement(order=order.envelope, leaves=list(order.leaves))
            gateway.client.send(link_pb2.LinkFrame(order=placement))
            asking = order.asking["lapd"]
            message = session_pb2.Ask(
                exchange_id=order.exchange_id,
                order=order.envelope,
                inclusion=asking.inclusion,
                query=asking.query,
            )
            session.send(session_pb2.SessionMessage(ask=message))
            await until(lambda: gateway.seen["session result"] == answers, "answer")
            return order.exchange_id

        await ask(1)
        before, answers, peaks = memory(pid), 1, []
        print()
        for _ in range(2):
            asked = [await ask(answers + 1 + at) for at in range(number)]
            answers += number
            await until(lambda due=4 * answers: gateway.seen["session page"] == due, "four pages each")
            peaks.append(memory(pid))
            for exchange_id in asked:
                cancel = session_pb2.CancelAsk(exchange_id=exchange_id)
                session.send(session_pb2.SessionMessage(cancel=cancel))
            await asyncio.sleep(3)
            show(adapter_before_MB=before / 1e6, at_peak_MB=peaks[-1] / 1e6, after_MB=memory(pid) / 1e6)
        show(exchanges=number, reads_each=reads, KB_an_exchange=(peaks[0] - before) / number / 1e3)
        assert (peaks[0] - before) / number < 3_000_000
        assert peaks[1] < peaks[0] + 0.5 * (peaks[0] - before)
