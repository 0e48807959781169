"""Ends in memory: hubs of several agencies, joined by the real relay, with a broker that may misbehave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from comity.certs.agreements import AgreementBook, AgreementView, GrantView
from comity.certs.keys import SigningKey
from comity.certs.roster import Federation, KeySetView, MemberView
from comity.certs.x509 import IssuedLeaf, issue_leaf, make_ca
from comity.links.frames import LinkLimits, kind
from comity.links.relay import Routed, SessionRelay
from comity.links.sessions.hub import (
    AdapterSessions,
    GatewaySessions,
    Session,
    SessionIdentity,
    SessionLimits,
)
from comity.v1.link_pb2 import CloseReason, LinkFrame, Welcome
from comity.v1.session_pb2 import Ask, SessionMessage
from tests.support import patience

PAIRS = (("cbp", "sheriff"), ("dea", "sheriff"), ("cbp", "dea"), ("dea", "cbp"))
"""(provider, requester) with an agreement."""


class MovingClock:
    """The real time, moved forward at will: `ssl` looks at the real one."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class AgencyKeys:
    """An agency's CA and identity key."""

    def __init__(self, agency: str) -> None:
        self.agency = agency
        self.domain = f"{agency}.example"
        self.identity = SigningKey.generate()
        self.ca, self.ca_key = make_ca(self.domain, datetime.now(UTC), timedelta(days=30))

    @property
    def ca_der(self) -> bytes:
        return self.ca.public_bytes(Encoding.DER)

    def leaf(self, path: str, lifetime: timedelta = timedelta(days=1)) -> IssuedLeaf:
        return issue_leaf(
            self.ca,
            self.ca_key,
            spiffe_id=f"spiffe://{self.domain}/{path}",
            now=datetime.now(UTC),
            lifetime=lifetime,
        )

    def odd_leaf(
        self, *names: x509.GeneralName, usages: Iterable[x509.ObjectIdentifier] | None = None
    ) -> IssuedLeaf:
        """Return a leaf that `issue_leaf` would refuse to make."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        skid = self.ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=False,
                    crl_sign=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.ExtendedKeyUsage(list(both if usages is None else usages)), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(skid), critical=False
            )
            .sign(self.ca_key, hashes.SHA256())
        )
        pem = certificate.public_bytes(Encoding.PEM) + self.ca.public_bytes(Encoding.PEM)
        private = key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return IssuedLeaf(certificate=certificate, chain_pem=pem, key_pem=private)

    def member(self) -> MemberView:
        key_set = KeySetView(
            agency=self.agency,
            domain=self.domain,
            version=1,
            ca_certificates=(self.ca_der,),
            statement_keys=(),
            log_keys=(),
            identity_providers=(),
            signed_at=datetime.now(UTC),
            digest=bytes(32),
        )
        return MemberView(
            agency=self.agency,
            display_name=self.agency,
            kind="federal",
            domain=self.domain,
            state="",
            contact="",
            identity_key=self.identity.public,
            key_set=key_set,
            asks=True,
            provides=True,
            suspended=False,
        )


def agreement(provider: AgencyKeys, requester: AgencyKeys) -> AgreementView:
    name = f"{provider.agency}-{requester.agency}"
    grant = GrantView(
        provider=provider.agency,
        requester=requester.agency,
        elements=frozenset(),
        purposes=frozenset(),
        ceiling=b"c",
        collected_after_effective_date=False,
        onward_sharing="",
    )
    return AgreementView(
        agreement_id=name,
        title=name,
        digest=name.encode().ljust(32, b"-"),
        parties={one.agency: one.identity.public for one in (provider, requester)},
        grants=(grant,),
        effective_at=datetime.now(UTC) - timedelta(days=1),
        expires_at=datetime.now(UTC) + timedelta(days=365),
        extension_days=0,
        notice_days=0,
        dissemination_terms=(),
        duties=(),
        documents=(),
    )


Tamper = Callable[[str, LinkFrame], list[LinkFrame]]


class Middle:
    """A broker in memory around the real `SessionRelay`; `tamper` makes it a lying one.

    Links are named `<agency>/<role>`. `tamper(link, frame)` sees each frame that the broker is about to
    deliver to `link`, and returns what it delivers in its place.
    """

    def __init__(self, limits: LinkLimits | None = None) -> None:
        self.limits = limits or LinkLimits()
        self.relay: SessionRelay[str] = SessionRelay(self.limits)
        self.ends: dict[str, End] = {}
        self.tamper: Tamper = lambda link, frame: [frame]
        self.routes: dict[str, str] = {}
        """Where the broker connects a provider, if not to itself."""
        self.seen: list[tuple[str, LinkFrame]] = []
        self._queue: deque[tuple[str, LinkFrame]] = deque()

    def take(self, link: str, frames: Iterable[LinkFrame]) -> None:
        for frame in frames:
            self.seen.append((link, LinkFrame.FromString(frame.SerializeToString())))
            self._queue.append((link, self.seen[-1][1]))
        asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        while self._queue:
            link, frame = self._queue.popleft()
            if self.ends[link].is_up:
                self.route(self._routed(link, frame))

    def _routed(self, link: str, frame: LinkFrame) -> list[Routed[str]]:
        if kind(frame) != "session_open":
            return self.relay.forward(link, frame)
        opened = frame.session_open
        adapter = f"{self.routes.get(opened.peer, opened.peer)}/adapter"
        there = adapter in self.ends and self.ends[adapter].is_up
        return self.relay.open(
            link,
            opened.reference,
            requester=link.split("/")[0],
            provider=opened.peer,
            adapter=adapter if there else None,
            lane=opened.lane,
        )

    def route(self, routed: list[Routed[str]]) -> None:
        for link, frame in routed:
            if self.ends[link].is_up:
                for one in self.tamper(link, frame):
                    self.ends[link].hub.frames([one])

    def lose(self, link: str) -> None:
        self.ends[link].is_up = False
        self.route(self.relay.link_lost(link))
        self.ends[link].hub.unlinked(CloseReason.CLOSE_REASON_UNSPECIFIED, "lost")


@dataclass
class End:
    """One end: a hub, its link, and what its callbacks heard."""

    middle: Middle
    name: str
    is_up: bool = True
    got: list[tuple[str, SessionMessage]] = field(default_factory=list)
    opened: list[Session] = field(default_factory=list)
    closed: list[tuple[str, CloseReason, str]] = field(default_factory=list)
    refused: list[tuple[str, CloseReason, str]] = field(default_factory=list)
    reply: Callable[[Session, SessionMessage], None] | None = None
    hub: GatewaySessions | AdapterSessions = field(init=False)

    def send(self, *frames: LinkFrame) -> None:
        self.middle.take(self.name, frames)

    def on_message(self, session: Session, message: SessionMessage) -> None:
        self.got.append((session.peer, message))
        if self.reply is not None:
            self.reply(session, message)

    def on_closed(self, session: Session, reason: CloseReason, text: str) -> None:
        self.closed.append((session.peer, reason, text))

    def on_refused(self, peer: str, reason: CloseReason, text: str) -> None:
        self.refused.append((peer, reason, text))

    @property
    def asks(self) -> list[bytes]:
        return [message.ask.query for _, message in self.got if message.HasField("ask")]


@dataclass
class World:
    """Agencies, their ends and the middle."""

    folder: Path
    agencies: dict[str, AgencyKeys]
    clock: MovingClock = field(default_factory=MovingClock)
    middle: Middle = field(default_factory=Middle)
    limits: SessionLimits = field(default_factory=SessionLimits)

    def __post_init__(self) -> None:
        members = {name: keys.member() for name, keys in self.agencies.items() if name != "ice"}
        self.federation = Federation(
            name="test",
            version=1,
            digest=bytes(32),
            signed_at=datetime.now(UTC),
            expires_at=datetime.now(UTC) + timedelta(days=1),
            stamped_at=datetime.now(UTC),
            timestamp_expires_at=datetime.now(UTC) + timedelta(days=1),
            operator=members["cbp"],
            members=members,
        )
        self.agreements = AgreementBook(
            federation=self.federation,
            agreements=tuple(agreement(self.agencies[p], self.agencies[r]) for p, r in PAIRS),
        )

    def changed(self, agency: str, **changes: object) -> tuple[Federation, AgreementBook]:
        """Return roster and agreements after one member changed."""
        members = dict(self.federation.members)
        members[agency] = replace(members[agency], **changes)  # type: ignore[arg-type]
        federation = replace(self.federation, members=members)
        return federation, replace(self.agreements, federation=federation)

    def identity(self, agency: str, role: str, leaf: IssuedLeaf | None = None) -> SessionIdentity:
        leaf = leaf or self.agencies[agency].leaf(role)
        folder = self.folder / agency / role
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "leaf.pem").write_bytes(leaf.chain_pem)
        (folder / "leaf.key").write_bytes(leaf.key_pem)
        return SessionIdentity(agency=agency, chain=folder / "leaf.pem", key=folder / "leaf.key")

    def end(
        self,
        agency: str,
        role: str,
        *,
        leaf: IssuedLeaf | None = None,
        agreements: AgreementBook | None = None,
    ) -> End:
        end = End(self.middle, f"{agency}/{role}")
        make = GatewaySessions if role == "gateway" else AdapterSessions
        end.hub = make(
            link=end,
            federation=self.federation,
            agreements=agreements or self.agreements,
            identity=self.identity(agency, role, leaf),
            clock=self.clock,
            on_message=end.on_message,
            on_closed=end.on_closed,
            on_opened=end.opened.append,
            on_refused=end.on_refused,
            limits=self.limits,
        )
        limits = self.middle.limits
        end.hub.linked(
            Welcome(version=1, session_window=limits.session_window, max_frame_bytes=limits.max_frame_bytes)
        )
        self.middle.ends[end.name] = end
        return end

    def gateway(self, agency: str = "sheriff", **options: object) -> End:
        return self.end(agency, "gateway", **options)  # type: ignore[arg-type]

    def adapter(self, agency: str = "cbp", **options: object) -> End:
        return self.end(agency, "adapter", **options)  # type: ignore[arg-type]

    def close(self) -> None:
        for end in self.middle.ends.values():
            end.hub.close()


def ask(text: bytes) -> SessionMessage:
    return SessionMessage(ask=Ask(exchange_id=b"e" * 16, query=text))


async def settle(condition: Callable[[], object] | None = None) -> None:
    """Let the loop turn until nothing is left to do, or until something is true."""
    async with asyncio.timeout(patience.SECONDS):
        for _ in range(30):
            await asyncio.sleep(0)
        while condition is not None and not condition():
            await asyncio.sleep(0.002)
