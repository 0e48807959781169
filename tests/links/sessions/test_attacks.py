"""What must not happen in a session: each attack ends it, and nothing that it touched is delivered.

The broker is the first suspect: it carries every record. Then a member that wants to be taken for another.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from comity.certs.x509 import IssuedLeaf
from comity.links.errors import SessionFailed
from comity.links.frames import kind
from comity.links.sessions import codec, core, tls
from comity.v1.link_pb2 import CloseReason, Lane, LinkFrame, SessionCredit, SessionData
from comity.v1.session_pb2 import PageDelivery, Ready, SessionMessage
from tests.support.sessions import AgencyKeys, End, World, ask, settle

PROTOCOL = CloseReason.CLOSE_REASON_PROTOCOL
HANDSHAKE = CloseReason.CLOSE_REASON_HANDSHAKE
CREDENTIALS = CloseReason.CLOSE_REASON_CREDENTIALS


class OnData:
    """Does something to the n-th frame of records that goes to `link`, and passes all others on."""

    def __init__(self, link: str, at: int, act: Callable[[list[LinkFrame]], list[LinkFrame]]) -> None:
        self.link, self.at, self.act = link, at, act
        self.frames: list[LinkFrame] = []

    def __call__(self, link: str, frame: LinkFrame) -> list[LinkFrame]:
        if link != self.link or kind(frame) != "session_data":
            return [frame]
        self.frames.append(frame)
        return self.act(self.frames) if len(self.frames) == self.at + 1 else [frame]


def flipped(frame: LinkFrame, position: int) -> LinkFrame:
    changed = LinkFrame()
    changed.CopyFrom(frame)
    records = bytearray(frame.session_data.records)
    records[position] ^= 1
    changed.session_data.records = bytes(records)
    return changed


def renumbered(frame: LinkFrame, sequence: int) -> LinkFrame:
    changed = LinkFrame()
    changed.CopyFrom(frame)
    changed.session_data.sequence = sequence
    return changed


async def three_questions(world: World, tamper: OnData) -> tuple[End, End]:
    """Ask three times, each in its own frame, with a broker that tampers from the first question on."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    await settle()
    world.middle.tamper = tamper
    for number in range(3):
        if session.is_open:
            session.send(ask(b"%d" % number))
        await settle()
    await settle(lambda: gateway.closed and adapter.closed)
    return gateway, adapter


@pytest.mark.parametrize("position", [0, 3, 5, 60, 300, -1])
async def test_flipped_bit_is_never_delivered(world: World, position: int) -> None:
    """A record in which one bit was changed, header, content or tag, ends the session undelivered."""
    gateway, adapter = await three_questions(
        world, OnData("cbp/adapter", 1, lambda frames: [flipped(frames[1], position)])
    )
    assert adapter.asks == [b"0"]
    assert adapter.closed[0][1] == gateway.closed[0][1] == PROTOCOL


async def test_dropped_record_ends_the_session(world: World) -> None:
    """A frame that the broker drops shows as a gap with the next one."""
    gateway, adapter = await three_questions(world, OnData("cbp/adapter", 1, lambda frames: []))
    assert adapter.asks == [b"0"]
    assert adapter.closed[0][1] == gateway.closed[0][1] == PROTOCOL


async def test_dropped_and_renumbered_record_ends_the_session(world: World) -> None:
    """A broker that drops a record and renumbers what follows is caught by TLS itself."""

    class DropAndRenumber(OnData):
        def __call__(self, link: str, frame: LinkFrame) -> list[LinkFrame]:
            if link != self.link or kind(frame) != "session_data":
                return [frame]
            self.frames.append(frame)
            if len(self.frames) == 2:
                return []
            number = frame.session_data.sequence - (len(self.frames) > 2)
            return [renumbered(frame, number)]

    _, adapter = await three_questions(world, DropAndRenumber("cbp/adapter", 1, lambda frames: []))
    assert adapter.asks == [b"0"]
    assert adapter.closed[0][1] == PROTOCOL


async def test_repeated_record_ends_the_session(world: World) -> None:
    """A record that comes twice is delivered once; the session is over."""
    _, adapter = await three_questions(world, OnData("cbp/adapter", 1, lambda frames: [frames[1], frames[1]]))
    assert adapter.asks == [b"0", b"1"]
    assert adapter.closed[0][1] == PROTOCOL


async def test_repeated_and_renumbered_record_ends_the_session(world: World) -> None:
    """A replayed record with a fitting number doesn't decrypt a second time."""
    _, adapter = await three_questions(
        world,
        OnData(
            "cbp/adapter",
            1,
            lambda frames: [frames[1], renumbered(frames[1], frames[1].session_data.sequence + 1)],
        ),
    )
    assert adapter.asks == [b"0", b"1"]
    assert adapter.closed[0][1] == PROTOCOL


async def test_reordered_records_end_the_session(world: World) -> None:
    """Two frames whose numbers the broker swaps with their order are not delivered."""

    class Swap(OnData):
        def __call__(self, link: str, frame: LinkFrame) -> list[LinkFrame]:
            if link != self.link or kind(frame) != "session_data":
                return [frame]
            self.frames.append(frame)
            if len(self.frames) != 2:
                return [] if len(self.frames) == 1 else [frame]
            first, second = self.frames
            numbers = first.session_data.sequence, second.session_data.sequence
            return [renumbered(second, numbers[0]), renumbered(first, numbers[1])]

    _, adapter = await three_questions(world, Swap("cbp/adapter", 1, lambda frames: []))
    assert adapter.asks == []
    assert adapter.closed[0][1] == PROTOCOL


async def test_injected_bytes_end_the_session(world: World) -> None:
    """Records that the broker makes up decrypt to nothing."""
    _, adapter = await three_questions(
        world,
        OnData(
            "cbp/adapter",
            1,
            lambda frames: [
                LinkFrame(
                    session_data=SessionData(
                        session_id=frames[1].session_data.session_id,
                        sequence=frames[1].session_data.sequence,
                        records=b"\x17\x03\x03\x00\x20" + bytes(32),
                    )
                )
            ],
        ),
    )
    assert adapter.asks == [b"0"]
    assert adapter.closed[0][1] == PROTOCOL


async def test_tampered_answer_is_never_delivered(world: World) -> None:
    """What protects the question protects the answer: a changed page doesn't reach the asker."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    await settle()
    adapter.reply = lambda one, message: one.send(SessionMessage(page=PageDelivery(page=b"p" * 40_000)))
    world.middle.tamper = OnData("sheriff/gateway", 0, lambda frames: [flipped(frames[0], 30_000)])
    session.send(ask(b"x"))
    await settle(lambda: gateway.closed)
    assert gateway.got == []
    assert gateway.closed[0][1] == PROTOCOL


async def test_credit_from_nowhere_ends_the_session(world: World) -> None:
    """Credit for what was never sent would let a broker make an end send without bound."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    await settle()
    forged = LinkFrame(session_credit=SessionCredit(session_id=session.session_id, bytes=1 << 30))
    gateway.hub.frames([forged])
    await settle(lambda: adapter.closed)
    assert gateway.closed[0][1] == PROTOCOL


async def test_sessions_of_two_pairs_can_t_be_crossed(world: World) -> None:
    """A broker that puts one session's records into another pair's session ends that one, undelivered."""
    sheriff, dea, adapter = world.gateway(), world.gateway("dea"), world.adapter()
    one, other = await sheriff.hub.session("cbp"), await dea.hub.session("cbp")
    await settle()

    def cross(link: str, frame: LinkFrame) -> list[LinkFrame]:
        if link == adapter.name and kind(frame) == "session_data":
            frame.session_data.session_id = other.session_id
        return [frame]

    world.middle.tamper = cross
    one.send(ask(b"crossed"))
    await settle(lambda: dea.closed)
    assert adapter.got == []
    assert adapter.closed[0][:2] == ("dea", PROTOCOL)


async def test_provider_in_another_s_place_is_refused(world: World) -> None:
    """A broker that connects the asker to another provider than asked for gets no question through."""
    gateway, dea = world.gateway(), world.adapter("dea")
    world.middle.routes["cbp"] = "dea"
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CREDENTIALS
    await settle()
    assert dea.got == [] and dea.opened == []
    assert gateway.opened == []


@pytest.mark.parametrize("false", ["another agency's", "the provider's own, of another end"])
async def test_gateway_s_certificate_doesn_t_reach_a_false_provider(world: World, false: str) -> None:
    """The asker judges first: an end that isn't the provider gets no flight in which the asker is named."""
    gateway = world.gateway()
    if false == "another agency's":
        world.adapter("dea")
        world.middle.routes["cbp"] = "dea"
    else:
        world.adapter(leaf=world.agencies["cbp"].leaf("gateway"))
    with pytest.raises(SessionFailed):
        await gateway.hub.session("cbp")
    flights = [f for link, f in world.middle.seen if link == gateway.name and kind(f) == "session_data"]
    assert flights, "the client's hello"
    assert sum(len(flight.session_data.records) for flight in flights[1:]) < 64, "no more than an alert"


async def test_requester_in_another_s_name_is_refused(world: World) -> None:
    """A gateway that the broker announces as another agency never becomes ready."""
    gateway, adapter = world.gateway("dea"), world.adapter()

    def lie(link: str, frame: LinkFrame) -> list[LinkFrame]:
        if link == adapter.name and kind(frame) == "session_open":
            frame.session_open.peer = "sheriff"
        return [frame]

    world.middle.tamper = lie
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == CREDENTIALS
    assert adapter.opened == gateway.opened == []
    assert adapter.refused[0][:2] == ("sheriff", CREDENTIALS)


def minted_by(authority: AgencyKeys, *names: str, **options: object) -> IssuedLeaf:
    return authority.odd_leaf(*(x509.UniformResourceIdentifier(name) for name in names), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "case",
    [
        "another agency's CA, the right name",
        "the right CA, another agency's name",
        "two SPIFFE ids",
        "another end of the agency",
        "other case",
        "port in the id",
        "mail address beside",
        "only for servers",
        "expired",
    ],
)
@pytest.mark.parametrize("side", ["gateway", "adapter"])
async def test_leaf_that_isn_t_exactly_the_peer_s_is_refused(world: World, side: str, case: str) -> None:
    """Whatever certificate an imposter holds, neither end speaks to it, and nothing is delivered."""
    agency = "sheriff" if side == "gateway" else "cbp"
    own, name = world.agencies[agency], f"spiffe://{agency}.example/{side}"
    match case:
        case "another agency's CA, the right name":
            leaf = minted_by(world.agencies["dea"], name)
        case "the right CA, another agency's name":
            leaf = minted_by(own, f"spiffe://dea.example/{side}")
        case "two SPIFFE ids":
            leaf = minted_by(own, name, f"spiffe://{agency}.example/other")
        case "another end of the agency":
            leaf = own.leaf("adapter" if side == "gateway" else "gateway")
        case "other case":
            leaf = minted_by(own, name.replace(agency, agency.upper()))
        case "port in the id":
            leaf = minted_by(own, name.replace(".example", ".example:443"))
        case "mail address beside":
            leaf = own.odd_leaf(
                x509.UniformResourceIdentifier(name), x509.RFC822Name(f"desk@{agency}.example")
            )
        case "only for servers":
            leaf = minted_by(own, name, usages=[ExtendedKeyUsageOID.SERVER_AUTH])
        case _:
            leaf = own.leaf(side, lifetime=timedelta(seconds=0.5) + timedelta(seconds=1))
            world.clock.ahead = timedelta(seconds=3)
    gateway = world.gateway(leaf=leaf if side == "gateway" else None)
    adapter = world.adapter(leaf=leaf if side == "adapter" else None)
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason in (CREDENTIALS, HANDSHAKE)
    await settle()
    assert gateway.got == adapter.got == gateway.opened == adapter.opened == []
    assert len(world.middle.relay) == 0


class OddGateway:
    """A gateway's own TLS, as an attacker would configure it, on a real session with an honest adapter."""

    def __init__(self, world: World, context: ssl.SSLContext) -> None:
        self.world = world
        self.gateway, self.adapter = world.gateway(), world.adapter()
        self.context = context
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def shake(self, session: ssl.SSLSession | None = None, lane: Lane = Lane.LANE_INTERACTIVE) -> str:
        """Try a handshake; return what the adapter makes of it, `opened` or the reason's text."""
        hub = self.adapter.hub
        got: list[LinkFrame] = []
        self.adapter.send = lambda *frames: got.extend(frames)  # type: ignore[method-assign]
        opening = LinkFrame()
        opening.session_open.session_id, opening.session_open.peer = 7, "sheriff"
        opening.session_open.lane = lane
        hub.frames([opening])
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_side=False, session=session)
        sequence = 0
        for _ in range(6):
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                break
            sequence = await self.exchange(sequence, got)
        await self.exchange(sequence, got)
        return "opened" if self.adapter.opened else self.adapter.refused[0][2]

    async def exchange(self, sequence: int, got: list[LinkFrame]) -> int:
        records = self.outgoing.read()
        if records:
            data = SessionData(session_id=7, sequence=sequence, records=records)
            self.adapter.hub.frames([LinkFrame(session_data=data)])
            sequence += 1
        await settle()
        for frame in got:
            if kind(frame) == "session_data":
                self.incoming.write(frame.session_data.records)
        got.clear()
        return sequence


def client_context(world: World, *, alpn: list[str] | None = None) -> ssl.SSLContext:
    identity = world.identity("sheriff", "gateway")
    context = tls.make_context(
        identity,
        server_side=False,
        ca_certificates=[world.agencies["cbp"].ca_der],
        lane=Lane.LANE_INTERACTIVE,
    )
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    return context


async def test_honest_handshake_passes_the_odd_gateway(world: World) -> None:
    """Without an oddity the attacker's tool opens a session: the tests beside this one prove something."""
    assert await OddGateway(world, client_context(world)).shake() == "opened"


async def test_tls_1_2_is_refused(world: World) -> None:
    """Nothing older than TLS 1.3 is spoken."""
    context = client_context(world)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "unsupported protocol" in await OddGateway(world, context).shake()


async def test_gateway_that_asks_before_it_was_judged_is_closed(world: World) -> None:
    """A question in the same flight as the certificate comes before the adapter's `Ready`: refused."""
    odd = OddGateway(world, client_context(world))
    honest = odd.exchange

    async def early(sequence: int, got: list[LinkFrame]) -> int:
        if odd.tls.version() is not None and odd.tls.selected_alpn_protocol() is not None:
            odd.tls.write(codec.encode(ask(b"early")))
        return await honest(sequence, got)

    odd.exchange = early  # type: ignore[method-assign]
    assert "before it was told" in await odd.shake()
    assert odd.adapter.got == []


@pytest.mark.parametrize("server_side", [True, False])
def test_context_is_strict(world: World, server_side: bool) -> None:
    """OpenSSL's strict rules, whole chains, certificates required, and no name but the SPIFFE id."""
    context = tls.make_context(
        world.identity("cbp", "adapter"),
        server_side=server_side,
        ca_certificates=[world.agencies["dea"].ca_der],
        lane=Lane.LANE_INTERACTIVE,
    )
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert not context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.get_ca_certs(binary_form=True) == [world.agencies["dea"].ca_der]


@pytest.mark.parametrize("alpn", [["comity/1/bulk"], ["h2"], []])
async def test_other_lane_or_no_lane_is_refused(world: World, alpn: list[str]) -> None:
    """Both ends must have meant the same protocol and lane: none, or another, is no session."""
    context = client_context(world, alpn=alpn)
    if not alpn:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        identity = world.identity("sheriff", "gateway")
        context.load_cert_chain(identity.chain, identity.key)
        context.load_verify_locations(cadata=world.agencies["cbp"].ca_der)
    assert "comity/1/interactive" in await OddGateway(world, context).shake()


async def test_bulk_lane_is_not_spoken_yet(world: World) -> None:
    """An opening in another lane is refused before TLS."""
    text = await OddGateway(world, client_context(world)).shake(lane=Lane.LANE_BULK)
    assert text != "opened"


async def test_gateway_without_certificate_is_refused(world: World) -> None:
    """Both sides must present a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=world.agencies["cbp"].ca_der)
    context.set_alpn_protocols(["comity/1/interactive"])
    text = await OddGateway(world, context).shake()
    assert "did not return a certificate" in text


async def test_adapter_gives_no_ticket(world: World) -> None:
    """There is nothing to resume: an adapter issues no ticket."""
    odd = OddGateway(world, client_context(world))
    assert await odd.shake() == "opened"
    assert odd.tls.read(4096), "the adapter's ready"
    with pytest.raises(ssl.SSLWantReadError):
        odd.tls.read(4096)  # would also take in a ticket
    assert odd.tls.session is None or not odd.tls.session.has_ticket


@pytest.mark.parametrize("side", ["gateway", "adapter"])
def test_resumed_session_is_refused(world: World, side: str) -> None:
    """Resumption skips the judging of certificates: with tickets forced on, both sides still refuse it."""
    identity = world.identity("cbp", "adapter")
    server_context = tls.make_context(
        identity,
        server_side=True,
        ca_certificates=[world.agencies["sheriff"].ca_der],
        lane=Lane.LANE_INTERACTIVE,
    )
    server_context.num_tickets = 2
    context = client_context(world)
    first = _plain_handshake(context, server_context, None)
    client = tls.TlsEnd(
        context, server_side=False, expected=_expected(world, "cbp", "adapter"), lane=1, clock=world.clock
    )
    server = tls.TlsEnd(
        server_context,
        server_side=True,
        expected=_expected(world, "sheriff", "gateway"),
        lane=1,
        clock=world.clock,
    )
    client._tls.session = first
    client.start()
    with pytest.raises(core.ProtocolViolation, match="resumed"):
        for _ in range(4):
            if side == "gateway":
                server._judge = lambda: None  # type: ignore[method-assign]
            else:
                client._judge = lambda: None  # type: ignore[method-assign]
            server.feed(client.outgoing())
            client.feed(server.outgoing())


def _expected(world: World, agency: str, role: str) -> tls.ExpectedPeer:
    return tls.ExpectedPeer(
        agency=agency,
        spiffe_id=f"spiffe://{agency}.example/{role}",
        ca_certificates=(world.agencies[agency].ca_der,),
    )


def _plain_handshake(
    client_side: ssl.SSLContext, server_side: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLSession:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, session=session)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for one in (client, server):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
    with pytest.raises(ssl.SSLWantReadError):
        client.read(1)
    assert client.session is not None and client.session.has_ticket
    return client.session


async def test_gateway_sends_nothing_before_ready(world: World) -> None:
    """OpenSSL's client is finished before the server has judged it: until `Ready` there is no session."""
    gateway, adapter = world.gateway(), world.adapter()
    world.middle.tamper = OnData(gateway.name, 1, lambda frames: [])
    waiting = asyncio.create_task(gateway.hub.session("cbp"))
    await settle(lambda: adapter.opened)
    await settle()
    assert not waiting.done() and not gateway.opened
    waiting.cancel()
    assert adapter.got == []


@pytest.mark.parametrize("first", ["page", "other agency", "other version", "no pages"])
async def test_adapter_that_doesn_t_begin_with_its_ready_is_closed(world: World, first: str) -> None:
    """The first message must be this provider's `Ready`, in this version."""
    gateway, adapter = world.gateway(), world.adapter()
    digest = world.agreements.agreements[0].digest
    false = {
        "page": SessionMessage(page=PageDelivery(page=b"early")),
        "other agency": SessionMessage(
            ready=Ready(version=1, agency="dea", agreement_digest=digest, page_window=1)
        ),
        "other version": SessionMessage(
            ready=Ready(version=2, agency="cbp", agreement_digest=digest, page_window=1)
        ),
        "no pages": SessionMessage(ready=Ready(version=1, agency="cbp", agreement_digest=digest)),
    }[first]

    def judged(session: object, messages: list[SessionMessage]) -> list[SessionMessage]:
        session.progress.engine.queue((false,))  # type: ignore[attr-defined]
        adapter.hub._ready(session)  # type: ignore[arg-type]
        return messages

    adapter.hub._judged = judged  # type: ignore[method-assign, assignment]
    with pytest.raises(SessionFailed) as failed:
        await gateway.hub.session("cbp")
    assert failed.value.reason == PROTOCOL
    assert gateway.got == []


@pytest.mark.parametrize("sender", ["gateway", "adapter"])
async def test_message_of_the_wrong_direction_ends_the_session(world: World, sender: str) -> None:
    """A provider never asks in a session, and an asker never answers."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    if sender == "gateway":
        session.send(SessionMessage(page=PageDelivery(page=b"x")))
    else:
        adapter.opened[0].send(ask(b"x"))
    await settle(lambda: gateway.closed and adapter.closed)
    assert gateway.got == adapter.got == []
    assert {gateway.closed[0][1], adapter.closed[0][1]} == {PROTOCOL}


@pytest.mark.parametrize(
    "plaintext",
    [
        b"\xff\xff\xff\xff",
        (2 << 20).to_bytes(4, "big"),
        (len(ask(b"bare").SerializeToString())).to_bytes(4, "big") + ask(b"bare").SerializeToString(),
        (508).to_bytes(4, "big") + b"\xff" * 508,
        (508).to_bytes(4, "big") + codec._padding(508),
        (0).to_bytes(4, "big"),
    ],
    ids=["huge", "over the cap", "no bucket", "no message", "padding alone", "empty"],
)
async def test_malformed_message_ends_the_session(world: World, plaintext: bytes) -> None:
    """What decrypts but is no padded message closes the session with PROTOCOL."""
    gateway, adapter = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    session.progress.engine._waiting.append(plaintext)
    session.send(ask(b"after"))
    await settle(lambda: adapter.closed)
    assert adapter.got == []
    assert adapter.closed[0][1] == gateway.closed[0][1] == PROTOCOL


async def test_frames_of_unknown_sessions_reach_nobody(world: World) -> None:
    """Frames for sessions that are over, or never were, do nothing."""
    gateway, adapter = world.gateway(), world.adapter()
    await gateway.hub.session("cbp")
    for end in (gateway, adapter):
        end.hub.frames(
            [
                LinkFrame(session_data=SessionData(session_id=99, sequence=0, records=b"x")),
                LinkFrame(session_credit=SessionCredit(session_id=99, bytes=5)),
            ]
        )
    await settle()
    assert gateway.closed == adapter.closed == gateway.got == adapter.got == []


async def test_broker_sees_sizes_in_buckets_only(world: World) -> None:
    """Messages of many sizes look alike on the link: their records differ by bucket, not by content."""
    gateway, _ = world.gateway(), world.adapter()
    session = await gateway.hub.session("cbp")
    await settle()
    world.middle.seen.clear()
    for size in (1, 50, 200, 400):
        session.send(ask(b"q" * size))
        await settle()
    sizes = {
        len(f.session_data.records)
        for link, f in world.middle.seen
        if link == gateway.name and kind(f) == "session_data"
    }
    assert len(sizes) == 1
