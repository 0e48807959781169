"""A gateway's counterparts, made by hand: a provider and a broker that sign what a test tells them to."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest

from comity.audit import merkle
from comity.audit.note import LogKey
from comity.certs.agreements import AgreementView, GrantView
from comity.certs.envelope import digest, seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import KeySetView, LogKeyView, MemberView, ValidKey
from comity.gateway.exchange import Exchange
from comity.gateway.order import SignedOrder, sign_order
from comity.gateway.question import Question, parse_question
from comity.gateway.verification import Expectation
from comity.policy import markings
from comity.v1 import (
    account_pb2,
    audit_pb2,
    common_pb2,
    link_pb2,
    query_service_pb2,
    result_pb2,
    session_pb2,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PLATE = "8ABC123"
RESPONDED = common_pb2.OUTCOME_KIND_RESPONDED


def make_member(agency: str, key: SigningKey, *, role: str = "adapter") -> MemberView:
    domain = f"{agency}.example"
    origin = f"{domain}/{role}"
    keys = KeySetView(
        agency=agency,
        domain=domain,
        version=1,
        ca_certificates=(),
        statement_keys=(
            ValidKey(key=key.public, not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=1)),
        ),
        log_keys=(LogKeyView(origin=origin, verifier_key=LogKey.generate(origin).verifier_key, role=role),),
        identity_providers=(),
        signed_at=NOW - timedelta(days=1),
        digest=bytes(32),
    )
    return MemberView(
        agency=agency,
        display_name=agency.upper(),
        kind="local",
        domain=domain,
        state="CA",
        contact="desk",
        identity_key=key.public,
        key_set=keys,
        asks=True,
        provides=True,
        suspended=False,
    )


def make_question(**changes: object) -> Question:
    request = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=PLATE, state="CA", country="US"),
        period=common_pb2.Period(start=from_instant(NOW - timedelta(days=30)), end=from_instant(NOW)),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text="series of burglaries",
        for_self=True,
        **changes,  # type: ignore[arg-type]
    )
    return parse_question(request, now=NOW)


@dataclass
class Lies:
    """What a provider's answer differs in from an honest one."""

    receipt: Callable[[result_pb2.Receipt], None] = lambda receipt: None
    detail: Callable[[result_pb2.ResultDetail], None] = lambda detail: None
    page: Callable[[result_pb2.Page], None] = lambda page: None
    sent: Callable[[list[bytes]], list[bytes]] = lambda pages: pages
    key: SigningKey | None = None


@dataclass
class Provider:
    """One provider with its agreement; `answer` gives what an honest one would send, or with `Lies`."""

    agency: str
    key: SigningKey = field(default_factory=SigningKey.generate)
    kind: common_pb2.OutcomeKind = RESPONDED
    reads: int = 3

    def __post_init__(self) -> None:
        self.member = make_member(self.agency, self.key)
        ceiling = markings.make_marking(
            provider=self.agency,
            nature="licence plate reads",
            scheme=result_pb2.MARKING_SCHEME_PLAIN,
            level="LAW ENFORCEMENT SENSITIVE",
        )
        self.grant = GrantView(
            provider=self.agency,
            requester="sheriff",
            elements=frozenset({"LOCATION"}),
            purposes=frozenset({"CRIMINAL_INVESTIGATION"}),
            ceiling=ceiling.SerializeToString(),
            collected_after_effective_date=False,
            onward_sharing="",
        )
        self.agreement = AgreementView(
            agreement_id=f"a-{self.agency}",
            title="t",
            digest=sha256(self.agency.encode()).digest(),
            parties={},
            grants=(self.grant,),
            effective_at=NOW - timedelta(days=9),
            expires_at=NOW + timedelta(days=9),
            extension_days=0,
            notice_days=0,
            dissemination_terms=(),
            duties=(),
            documents=(),
        )
        self.marking = markings.derive(ceiling, agreement_digest=self.agreement.digest, retain_days=30)

    def a_read(self, number: int) -> result_pb2.Read:
        return result_pb2.Read(
            read_id=f"{self.agency}-{number}",
            plate=common_pb2.Plate(number="8abc-123", state="CA", country="US"),
            captured_at=from_instant(NOW - timedelta(days=1, minutes=number)),
            marking=self.marking,
        )

    def answer(
        self, order: SignedOrder, lies: Lies | None = None
    ) -> tuple[session_pb2.Result, list[session_pb2.PageDelivery]]:
        lies = lies or Lies()
        responded = self.kind == RESPONDED
        page = result_pb2.Page(
            nonce=secrets.token_bytes(16),
            exchange_id=order.exchange_id,
            index=0,
            reads=[self.a_read(number) for number in range(self.reads)],
            marking=self.marking,
        )
        lies.page(page)
        pages = [page.SerializeToString()] if responded and self.reads else []
        detail = result_pb2.ResultDetail(
            nonce=secrets.token_bytes(16),
            exchange_id=order.exchange_id,
            kind=self.kind,
            page_count=len(pages),
            read_count=self.reads if pages else 0,
            marking=self.marking,
        )
        lies.detail(detail)
        detail_bytes = detail.SerializeToString()
        leaves = [merkle.leaf_hash(part) for part in (detail_bytes, *pages)]
        receipt = result_pb2.Receipt(
            nonce=secrets.token_bytes(16),
            exchange_id=order.exchange_id,
            query_digest=order.asking[self.agency].query_digest,
            provider=self.agency,
            requester="sheriff",
            kind=self.kind,
            policy_digest=bytes(32),
            policy_version="1",
            agreement_digest=self.agreement.digest,
            ceiling_marking=self.grant.ceiling,
            content_root=merkle.root(leaves),
            signed_at=from_instant(NOW),
            promise=audit_pb2.LogPromise(
                origin=f"{self.agency}.example/adapter", index=3, leaf_hash=bytes(32)
            ),
        )
        lies.receipt(receipt)
        envelope = seal(receipt, lies.key or self.key)
        result = session_pb2.Result(exchange_id=order.exchange_id, detail=detail_bytes, receipt=envelope)
        deliveries = [
            session_pb2.PageDelivery(exchange_id=order.exchange_id, page=data) for data in lies.sent(pages)
        ]
        return result, deliveries


class Story:
    """One exchange at a gateway of `sheriff`, with its providers and the broker in the test's hands."""

    def __init__(self, *providers: Provider, question: Question | None = None) -> None:
        self.providers = {provider.agency: provider for provider in providers}
        self.broker_key = SigningKey.generate()
        self.operator = make_member("operator", self.broker_key, role="broker")
        self.question = question or make_question()
        self.order = sign_order(
            self.question,
            requester="sheriff",
            providers=list(self.providers),
            assertion="jwt",
            key=SigningKey.generate(),
            roster_version=1,
            now=NOW,
            deadline=NOW + timedelta(seconds=10),
        )
        self.expectations = {
            name: Expectation(
                question=self.question,
                requester="sheriff",
                requester_kind="local",
                asking=self.order.asking[name],
                exchange_id=self.order.exchange_id,
                ordered_at=self.order.issued_at,
                member=provider.member,
                agreement=provider.agreement,
                grant=provider.grant,
            )
            for name, provider in self.providers.items()
        }
        self.exchange = Exchange(self.order, self.expectations, requester="sheriff", operator=self.operator)
        self.receipts: dict[str, session_pb2.Result] = {}

    def answers(self, agency: str, lies: Lies | None = None) -> None:
        """The provider's result and pages arrive through its session."""
        result, pages = self.providers[agency].answer(self.order, lies)
        self.receipts[agency] = result
        self.exchange.on_result(agency, result, now=NOW)
        for page in pages:
            self.exchange.on_page(agency, page)

    def a_stamp(self, agency: str, receipt_digest: bytes | None = None) -> account_pb2.Stamp:
        return account_pb2.Stamp(
            exchange_id=self.order.exchange_id,
            provider=agency,
            ceiling_marking=self.providers[agency].grant.ceiling,
            receipt_digest=receipt_digest or digest(self.receipts[agency].receipt.payload),
            stamped_at=from_instant(NOW),
        )

    def stamps(self, agency: str, receipt_digest: bytes | None = None) -> account_pb2.Stamp:
        """The broker's stamp arrives over the link."""
        stamp = self.a_stamp(agency, receipt_digest)
        self.exchange.on_stamp(link_pb2.StampDelivery(stamp=stamp, receipt=self.receipts[agency].receipt))
        return stamp

    def an_account(
        self,
        key: SigningKey | None = None,
        *,
        closed_at: datetime | None = None,
        announced: bool = True,
        **told: account_pb2.Stamp | common_pb2.OutcomeKind,
    ) -> link_pb2.AccountDelivery:
        """Return the broker's signed account: at the deadline, if somebody timed out."""
        if closed_at is None:
            closed_at = self.order.deadline if common_pb2.OUTCOME_KIND_TIMED_OUT in told.values() else NOW
        entries = []
        for name in self.providers:
            word = told.get(name, RESPONDED)
            if isinstance(word, account_pb2.Stamp):
                kind = self.providers[name].kind
                entries.append(account_pb2.AccountEntry(provider=name, kind=kind, stamp=word, announced=True))
            else:
                entries.append(account_pb2.AccountEntry(provider=name, kind=word, announced=announced))
        account = account_pb2.Account(
            nonce=secrets.token_bytes(16),
            exchange_id=self.order.exchange_id,
            requester="sheriff",
            order_digest=self.order.digest,
            entries=entries,
            routed_at=from_instant(NOW),
            closed_at=from_instant(closed_at),
        )
        envelope = seal(account, key or self.broker_key)
        return link_pb2.AccountDelivery(exchange_id=self.order.exchange_id, account=envelope)


@pytest.fixture
def story() -> Story:
    return Story(Provider("lapd"), Provider("lahd"))
