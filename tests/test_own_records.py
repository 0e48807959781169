"""An agency retrieves a provider's records of its own users, and of nobody else's (L3, L6)."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from comity.adapters import own_records
from comity.adapters.end import AdapterEnd
from comity.audit.entry import parse_entry
from comity.audit.errors import LogUnwritable, RecordsInvalid
from comity.audit.merkle import root_of
from comity.audit.reconciling.running import Reconciler
from comity.audit.retrieval.checking import open_statement
from comity.audit.retrieval.folder import RecordsWriter, check_records
from comity.audit.retrieval.selecting import Wanted
from comity.audit.searching.filtering import Filter
from comity.audit.searching.search import search
from comity.audit.trust import Trust, make_trust
from comity.certs.assertions import Claims
from comity.certs.envelope import seal
from comity.certs.instants import from_instant
from comity.certs.keys import SigningKey
from comity.certs.members import without_revoked
from comity.certs.revocations import Revoked, RevokedOf, key_digest
from comity.gateway.errors import (
    GatewayError,
    NotAnAuditor,
    ProviderBusy,
    ProviderUnable,
    ProviderUnreachable,
    RecordsUnverifiable,
    RequestInvalid,
)
from comity.gateway.own_records import RecordsWanted
from comity.gateway.subjects import authenticate
from comity.v1.envelope_pb2 import Envelope
from comity.v1.records_pb2 import LogRecord, RecordsStatement
from comity.v1.session_pb2 import RecordsPage, RecordsRequest, SessionMessage
from tests.conftest import all_are_linked
from tests.simulator import FederationSimulator, simulate
from tests.support.federation import FederationOnDisk

Change = Callable[[SessionMessage, str], SessionMessage | None]
"""(message about records, to whom): what is sent in its place; None: nothing."""


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("own records")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_two(
    laid_out: FederationOnDisk, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FederationSimulator]:
    """One federation with two agencies that ask LAPD: the sheriff and the Port Police; each has asked."""
    root = tmp_path_factory.mktemp("own-records") / "f"
    shutil.copytree(laid_out.root, root)
    made = FederationOnDisk(root=root, spec=laid_out.spec)
    async with simulate(made, asking=("sheriff", "lahd")) as running:
        await running.until(lambda: all_are_linked(running))
        for agency in ("sheriff", "lahd", "sheriff"):
            assert (await running.search(by=agency, of=["lapd"])).kinds["lapd"] == "RESPONDED"
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def federation(running_two: FederationSimulator) -> AsyncIterator[FederationSimulator]:
    """The module's federation; before each test nobody has retrieved anything, after it all are honest."""
    end = adapter_of(running_two)
    end.own_records._asked.clear()
    yield running_two
    for session in end._open.values():
        vars(session).pop("send", None)
    await running_two.until(lambda: all_are_linked(running_two))


def adapter_of(federation: FederationSimulator) -> AdapterEnd:
    end = federation["lapd"].end
    assert end is not None
    return end


async def reconnected(federation: FederationSimulator) -> None:
    """Have LAPD's sessions open, as after any question."""
    for agency in ("sheriff", "lahd"):
        await federation.search(by=agency, of=["lapd"])


def auditor(federation: FederationSimulator, agency: str = "sheriff") -> Claims:
    now = federation.clock()
    gateway = federation.asking[agency].gateway
    assert gateway is not None
    claims, _ = authenticate(
        f"Bearer {federation.made.assertion(agency, now)}",
        certificate_der=federation.made.client_certificate(agency),
        member=gateway.federation.member(agency),
        published=gateway.published,
        now=now,
    )
    return replace(claims, roles=("auditor",))


def wanted(federation: FederationSimulator, *, hours: float = 1, timeout: float = 60) -> RecordsWanted:
    now = federation.clock()
    return RecordsWanted(
        provider="lapd",
        start=now - timedelta(hours=hours),
        end=now + timedelta(hours=1),
        timeout=timedelta(seconds=timeout),
    )


async def retrieve(
    federation: FederationSimulator,
    what: RecordsWanted | None = None,
    *,
    by: str = "sheriff",
    claims: Claims | None = None,
) -> tuple[Envelope, list[LogRecord]]:
    """Retrieve as an auditor of an agency does."""
    gateway = federation.asking[by].gateway
    assert gateway is not None
    statement, records = Envelope(), list[LogRecord]()
    what = what or wanted(federation)
    async for message in gateway.retrievals.retrieve(what, claims or auditor(federation, by)):
        match message.WhichOneof("part"):
            case "statement":
                statement = message.statement
            case _:
                records += message.batch.records
    return statement, records


def values(records: Sequence[LogRecord], name: str) -> list[str]:
    return [one.value for record in records for one in record.openings if one.name == name]


def changed(federation: FederationSimulator, change: Change) -> None:
    """Let LAPD change what it sends about records, or leave it out."""
    end = adapter_of(federation)
    for session in end._open.values():
        send = session.send

        def lying(*messages: SessionMessage, send: Any = send, peer: str = session.peer) -> None:
            for message in messages:
                is_meant = str(message.WhichOneof("message")).startswith("records")
                if (kept := change(message, peer) if is_meant else message) is not None:
                    send(kept)

        session.send = lying  # type: ignore[method-assign]


def whole(federation: FederationSimulator, folder: Path, got: tuple[Envelope, list[LogRecord]]) -> Path:
    writer = RecordsWriter(folder, got[0])
    for record in got[1]:
        writer.add(record)
    writer.finish()
    return folder


async def test_records_come_through_the_session_signed_and_proven(
    federation: FederationSimulator, tmp_path: Path
) -> None:
    """An auditor gets what its users asked, opened, with proofs; offline they verify once more (L3)."""
    got = await retrieve(federation)
    told = ("received", "decided", "released", "answered")
    kinds = [kind for record in got[1] if (kind := parse_entry(record.entry).kind) in told]
    assert kinds == list(told) * (len(kinds) // 4) and len(kinds) >= 8
    plates = values(got[1], "plate")
    assert plates == ["8ABC123"] * (len(kinds) // 4)
    assert values(got[1], "rules") == [], "what grounds a decision had is the provider's own (A1)"
    trust = Trust.parse(make_trust(federation.made.public))
    report = check_records(whole(federation, tmp_path / "r", got), trust)
    assert report.findings == []
    assert (report.provider, report.requester, report.count) == ("lapd", "sheriff", len(got[1]))
    found = search(tmp_path / "r", None, Filter(user="j.ortega"), retrieved=trust)
    assert [record.opened["plate"] for record in found.records] == plates
    assert found.unmarked == 0, "each receipt is at hand, with its ceiling"
    assert search(tmp_path / "r", None, Filter(user="m.chen"), retrieved=trust).records == ()
    lines = (tmp_path / "r/records.jsonl").read_text()
    (tmp_path / "r/records.jsonl").write_text(lines.replace("8ABC123", "8ABC124", 1))
    with pytest.raises(RecordsInvalid, match="open the commitment"):
        search(tmp_path / "r", None, Filter(), retrieved=trust)


async def test_both_ends_log_the_retrieval_before_a_record_leaves(federation: FederationSimulator) -> None:
    """The provider logs to whom, which period and how many; the gateway which auditor (L3, L5)."""
    statement, records = await retrieve(federation)
    entry = federation["lapd"].journal.of("exported")[-1]
    assert (entry.public["peer"], entry.public["count"]) == ("sheriff", len(records))
    assert not entry.private
    promise = RecordsStatement.FromString(statement.payload).promise
    assert promise.index > records[-1].index
    asked = federation.asking["sheriff"].journal.of("exported")[-1]
    assert asked.private["user"] == "j.ortega"


async def test_another_agencys_users_never_come_out(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two agencies gets its own and nothing of the other's, though their users have one name (L6)."""
    made = FederationOnDisk.assertion
    with monkeypatch.context() as patched:
        patched.setattr(
            FederationOnDisk, "assertion", lambda self, agency, now: made(self, agency, now, sub="j.ortega")
        )
        federation.asking["lahd"]._assertion = ("", federation.clock() - timedelta(days=1))
        await federation.search(by="lahd", of=["lapd"])
    for agency in ("sheriff", "lahd"):
        _, records = await retrieve(federation, by=agency)
        assert {parse_entry(record.entry).public["peer"] for record in records} == {agency}
        assert "j.ortega" in values(records, "user")


async def test_request_of_one_session_serves_no_other(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credit and cancel of another session do nothing to a request; its answer goes to its own session."""
    monkeypatch.setattr(own_records, "PAGE_RECORDS", 1)
    await reconnected(federation)
    end = adapter_of(federation)
    theirs, ours = end._open["lahd"], end._open["sheriff"]
    sent: list[str] = []
    changed(federation, lambda message, peer: sent.append(peer))
    request = RecordsRequest(request_id=b"r" * 16, period=wanted(federation).period)
    request.deadline.CopyFrom(from_instant(federation.clock() + timedelta(seconds=5)))
    end.on_message(ours, SessionMessage(records_request=request))
    await federation.until(lambda: len(sent) == 5)
    foreign = {"request_id": request.request_id}
    end.on_message(theirs, SessionMessage(records_credit={**foreign, "pages": 10}))
    end.on_message(theirs, SessionMessage(records_cancel=foreign))
    await federation.passes(seconds=1)
    assert len(end.own_records) == 1, "it waits for its own credit"
    assert sent == ["sheriff"] * 5, "the statement and the window"
    await federation.until(lambda: not len(end.own_records))


async def reconciled(federation: FederationSimulator, records: Path, scratch: Path) -> Counter[str]:
    """Hold the sheriff's own log against what LAPD gave, and count the classes of exchanges with LAPD."""
    await federation.asking["sheriff"].journal.log.publish()
    trust_file = scratch / "trust.json"
    trust_file.write_bytes(make_trust(federation.made.public))
    reconciler = Reconciler(
        [federation.made.gateway_home("sheriff") / "log", records],
        Trust.load(trust_file),
        trust_file,
        scratch / "work",
        workers=0,
    )
    reconciler.read()
    found = Counter(verdict.what for verdict in reconciler.verdicts() if verdict.provider == "lapd")
    found.update(text for log in reconciler.logs for text in log.findings)
    return found


async def test_own_log_is_reconciled_with_what_the_provider_gave(
    federation: FederationSimulator, tmp_path: Path
) -> None:
    """All match; an exchange that the provider signed away is missing; a changed record is told (L3)."""
    statement, records = got = await retrieve(federation)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    asked = len(federation.asking["sheriff"].journal.of("asked"))
    folder = whole(federation, tmp_path / "records", got)
    assert await reconciled(federation, folder, tmp_path / "a") == {"matched": asked}

    gone = parse_entry(records[0].entry).exchange
    left = [record for record in records if parse_entry(record.entry).exchange != gone]
    signed = RecordsStatement.FromString(statement.payload)
    signed.count, signed.root = len(left), root_of(record.entry for record in left)
    signed.made_at.CopyFrom(from_instant(federation.clock() + timedelta(minutes=10)))
    key = SigningKey.load(federation.made.adapter_home("lapd") / "keys/statement.key")
    folder = whole(federation, tmp_path / "fewer", (seal(signed, key), left))
    found = await reconciled(federation, folder, tmp_path / "b")
    assert found == {"matched": asked - 1, "missing at the provider": 1}

    (folder / "records.jsonl").write_text((folder / "records.jsonl").read_text().replace("8ABC123", "1", 1))
    assert any("open the commitment" in text for text in await reconciled(federation, folder, tmp_path / "c"))


async def test_exchange_outside_of_the_period_is_not_missed(
    federation: FederationSimulator, tmp_path: Path
) -> None:
    """Records of a day say nothing of the day before: such an exchange is not held to them."""
    got = await retrieve(federation, replace(wanted(federation), start=federation.clock()))
    folder = whole(federation, tmp_path / "records", got)
    asked = len(federation.asking["sheriff"].journal.of("asked"))
    assert await reconciled(federation, folder, tmp_path) == {"matched": asked}


async def test_user_without_the_role_gets_nothing(federation: FederationSimulator) -> None:
    """An investigator is no auditor: nothing leaves the house, nothing is logged as exported."""
    journals = federation.asking["sheriff"].journal, federation["lapd"].journal
    before = [len(journal.of("exported")) for journal in journals]
    claims = replace(auditor(federation), roles=("investigator",))
    with pytest.raises(NotAnAuditor):
        await retrieve(federation, claims=claims)
    with pytest.raises(NotAnAuditor):
        await retrieve(federation, claims=replace(auditor(federation), good_standing=False))
    after = [len(journal.of("exported")) for journal in journals]
    assert after == before


async def test_only_the_period_comes(federation: FederationSimulator) -> None:
    """Entries before and after the period stay; a period without any gives a statement about none."""
    before = federation.clock() - timedelta(hours=9)
    statement, records = await retrieve(
        federation, replace(wanted(federation), start=before, end=before + timedelta(hours=1))
    )
    assert records == []
    assert RecordsStatement.FromString(statement.payload).count == 0


async def test_long_export_waits_for_its_reader(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the auditor doesn't read, no more pages than the window holds leave the provider."""
    monkeypatch.setattr(own_records, "PAGE_RECORDS", 1)
    await reconnected(federation)
    sent: list[RecordsPage] = []

    def seen(message: SessionMessage, peer: str) -> SessionMessage:
        if message.WhichOneof("message") == "records_page":
            sent.append(message.records_page)
        return message

    changed(federation, seen)
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None
    messages = gateway.retrievals.retrieve(wanted(federation), auditor(federation))
    assert (await anext(messages)).HasField("statement")
    await federation.passes(seconds=2)
    assert len(sent) == 4, "the page window"
    rest = [message async for message in messages]
    assert len(rest) == len(sent) > 8


async def test_records_of_a_revoked_key_end(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the key that signed their statement is revoked, no record more is given, though they come on."""
    monkeypatch.setattr(own_records, "PAGE_RECORDS", 1)
    await reconnected(federation)
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None
    messages = gateway.retrievals.retrieve(wanted(federation), auditor(federation))
    statement = (await anext(messages)).statement
    assert (await anext(messages)).HasField("batch")
    member, now = gateway.federation.member("lapd"), federation.clock()
    signer = {one.key_id for one in statement.signatures}
    digests = [key_digest(one.key.der) for one in member.key_set.statement_keys if one.key.key_id in signer]
    listed = RevokedOf(public_keys={digests[0]: Revoked(at=now, reason="key_compromise")})
    members = {**gateway.federation.members, "lapd": without_revoked(member, listed, now=now)}
    newer = replace(gateway.federation, members=members)
    monkeypatch.setattr(gateway.retrievals, "_federation", lambda: newer)
    with pytest.raises(RecordsUnverifiable, match="revoked"):
        await anext(messages)


async def test_auditor_that_goes_away_ends_the_export(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled retrieval is cancelled at the provider, too, and another may follow."""
    monkeypatch.setattr(own_records, "PAGE_RECORDS", 1)
    gateway, end = federation.asking["sheriff"].gateway, adapter_of(federation)
    assert gateway is not None
    messages = gateway.retrievals.retrieve(wanted(federation), auditor(federation))
    await anext(messages)
    assert len(end.own_records) == 1
    await messages.aclose()
    await federation.until(lambda: not len(end.own_records))
    assert (await retrieve(federation))[1]


async def test_provider_that_goes_silent_costs_the_deadline(federation: FederationSimulator) -> None:
    """Without an answer the retrieval ends at its deadline, and says so."""
    await reconnected(federation)
    changed(federation, lambda message, peer: None)
    before = federation.clock.time()
    with pytest.raises(ProviderUnreachable, match="in time"):
        await retrieve(federation, replace(wanted(federation), timeout=timedelta(seconds=20)))
    assert 19 < federation.clock.time() - before < 25


async def test_session_that_ends_ends_the_retrieval(federation: FederationSimulator) -> None:
    """A provider that loses its link in the middle is named; what came before verified."""
    await reconnected(federation)
    changed(federation, lambda message, peer: None)
    running = asyncio.create_task(retrieve(federation))
    await federation.passes(seconds=1)
    federation["lapd"].loses_its_link()
    with pytest.raises(ProviderUnreachable, match="ended"):
        await running


async def test_requests_too_many_are_refused(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many an hour, then the provider says to come later; after the hour it answers again."""
    own = adapter_of(federation).own_records
    monkeypatch.setattr(own, "_max_per_hour", 2)
    await retrieve(federation)
    await retrieve(federation)
    with pytest.raises(ProviderBusy):
        await retrieve(federation)
    await retrieve(federation, by="lahd")
    own._asked["sheriff"][0] -= timedelta(hours=1)
    await retrieve(federation)


async def test_log_that_cannot_be_written_gives_no_record(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What leaves is logged before, or doesn't leave."""
    end = adapter_of(federation)

    async def full(*entries: object) -> None:
        raise LogUnwritable("no space")

    monkeypatch.setattr(end.own_records._log, "append", full)
    with pytest.raises(ProviderUnable):
        await retrieve(federation)


def in_statement(**fields: Any) -> Callable[[FederationSimulator], Change]:
    """Return a lie that signs another statement, with LAPD's own key."""

    def made(federation: FederationSimulator) -> Change:
        key = SigningKey.load(federation.made.adapter_home("lapd") / "keys/statement.key")

        def change(message: SessionMessage, peer: str) -> SessionMessage:
            if message.WhichOneof("message") == "records_answer":
                statement = RecordsStatement.FromString(message.records_answer.statement.payload)
                for name, value in fields.items():
                    setattr(statement, name, value)
                message.records_answer.statement.CopyFrom(seal(statement, key))
            return message

        return change

    return made


def in_record(spoil: Callable[[LogRecord], None]) -> Callable[[FederationSimulator], Change]:
    """Return a lie about the first record of each page."""

    def made(federation: FederationSimulator) -> Change:
        def change(message: SessionMessage, peer: str) -> SessionMessage:
            if message.WhichOneof("message") == "records_page":
                spoil(message.records_page.records[0])
            return message

        return change

    return made


def in_page(spoil: Callable[[RecordsPage], None]) -> Callable[[FederationSimulator], Change]:
    """Return a lie about each page."""

    def made(federation: FederationSimulator) -> Change:
        def change(message: SessionMessage, peer: str) -> SessionMessage:
            if message.WhichOneof("message") == "records_page":
                spoil(message.records_page)
            return message

        return change

    return made


def other_plate(record: LogRecord) -> None:
    next(one for one in record.openings if one.name == "plate").value = "8ABC124"


def other_salt(record: LogRecord) -> None:
    record.openings[0].salt = bytes(32)


def other_entry(record: LogRecord) -> None:
    record.entry = record.entry.replace(b'"area":false', b'"area":true')


def other_path(record: LogRecord) -> None:
    record.path[0] = bytes(32)


def long_path(record: LogRecord) -> None:
    record.path.extend([bytes(32)] * 80)


def other_evidence(record: LogRecord) -> None:
    next(one for one in record.kept if one.name == "query").payload = b"another"


def foreign_evidence(record: LogRecord) -> None:
    record.kept.add(name="detail", payload=b"of somebody")


def twice_opened(record: LogRecord) -> None:
    record.openings.append(record.openings[0])


def one_less(page: RecordsPage) -> None:
    del page.records[1]


def turned_around(page: RecordsPage) -> None:
    first, second, *rest = [LogRecord.FromString(one.SerializeToString()) for one in page.records]
    del page.records[:]
    page.records.extend([second, first, *rest])


def none_at_all(page: RecordsPage) -> None:
    del page.records[:]


LIES: dict[str, tuple[Callable[[FederationSimulator], Change], str]] = {
    "another plate": (in_record(other_plate), "don't open the commitment"),
    "another salt": (in_record(other_salt), "don't open the commitment"),
    "another entry": (in_record(other_entry), "does not lead to the root"),
    "another path": (in_record(other_path), "does not lead to the root"),
    "a long path": (in_record(long_path), "longer than any tree"),
    "another query": (in_record(other_evidence), "not the one that the entry names"),
    "evidence of something else": (in_record(foreign_evidence), "belongs beside"),
    "a field opened twice": (in_record(twice_opened), "opened twice"),
    "another requester": (in_statement(requester="lahd"), "another agency's users"),
    "another request": (in_statement(request_id=b"x" * 16), "another request"),
    "fewer": (in_statement(count=1), "more records than"),
    "another root": (in_statement(root=bytes(32)), "not those of the statement"),
    "another provider": (in_statement(provider="lahd"), "another provider than its signer"),
    "out of order": (in_page(turned_around), "doesn't follow"),
    "an empty page": (in_page(none_at_all), "without records"),
}


@pytest.mark.parametrize("lie", sorted(LIES))
async def test_records_that_do_not_verify_are_refused_and_logged(
    lie: str, federation: FederationSimulator
) -> None:
    """Whatever a provider changes is found before the auditor gets it, and stands in the log (L2)."""
    await reconnected(federation)
    change, words = LIES[lie]
    journal = federation.asking["sheriff"].journal
    before = len(journal.of("contradiction"))
    changed(federation, change(federation))
    with pytest.raises(RecordsUnverifiable, match=words):
        await retrieve(federation)
    await federation.until(lambda: len(journal.of("contradiction")) > before)
    assert "statement" in journal.of("contradiction")[-1].attachments


async def test_record_that_is_left_out_is_missed(federation: FederationSimulator) -> None:
    """A provider that keeps one back signs for more than came; the auditor waits in vain and is told."""
    await reconnected(federation)
    changed(federation, in_page(one_less)(federation))
    with pytest.raises(ProviderUnreachable, match="did not give all records"):
        await retrieve(federation, wanted(federation, timeout=5))


async def test_record_of_another_agency_is_refused_by_the_gateway(
    federation: FederationSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a provider that gives too much, well proven, doesn't get it through to the auditor (L6)."""
    real = own_records.Selection

    class Careless(real):  # type: ignore[misc, valid-type]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self._mark = b'"peer":'
            self._wanted = _Anybody(**{name: getattr(options["wanted"], name) for name in _FIELDS})

    monkeypatch.setattr(own_records, "Selection", Careless)
    with pytest.raises(RecordsUnverifiable, match="not about this agency's users"):
        await retrieve(federation)


_FIELDS = ("provider", "requester", "start", "end")


class _Anybody(Wanted):
    def includes(self, entry: Any) -> bool:
        return str(entry.kind) == "received"


async def test_checkpoint_of_another_log_proves_nothing(federation: FederationSimulator) -> None:
    """A checkpoint that the provider's log key didn't sign is refused, whatever it covers."""
    await reconnected(federation)
    note = federation["lahd"].journal.log.checkpoint()
    changed(federation, in_statement(checkpoint=note)(federation))
    with pytest.raises(RecordsUnverifiable, match="statement"):
        await retrieve(federation)


async def test_statement_of_another_key_is_refused(federation: FederationSimulator) -> None:
    """Who doesn't hold the provider's statement key says nothing in its name."""
    statement, _ = await retrieve(federation)
    gateway = federation.asking["sheriff"].gateway
    assert gateway is not None
    told = RecordsStatement.FromString(statement.payload)
    with pytest.raises(RecordsInvalid, match="not signed by `lapd`"):
        open_statement(seal(told, SigningKey.generate()), gateway.federation.member("lapd"))


async def test_unknown_provider_is_named_in_the_fields(federation: FederationSimulator) -> None:
    """A request for records of nobody, or of oneself, is wrong use."""
    for provider in ("nobody", "sheriff"):
        with pytest.raises(RequestInvalid):
            await retrieve(federation, replace(wanted(federation), provider=provider))


async def test_provider_without_an_agreement_is_not_asked(federation: FederationSimulator) -> None:
    """Without an agreement there is no session, and no records (A2)."""
    with pytest.raises(ProviderUnreachable, match="agreement"):
        await retrieve(federation, replace(wanted(federation), provider="cbp"), by="lahd")


async def test_errors_of_retrieval_are_in_the_catalogue() -> None:
    """Each has its own reason, so that a program can tell them apart."""
    kinds = (NotAnAuditor, ProviderUnreachable, ProviderBusy, ProviderUnable, RecordsUnverifiable)
    assert len({kind.reason for kind in kinds} | {GatewayError.reason}) == len(kinds) + 1
