"""Broker, adapter and gateway are killed and stopped while questions run, and nobody does anything about it.

What must be true after is read from the logs on disk: nothing stands there twice, and what was shown to a
caller, or promised in a receipt or an account, stands there.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from comity.audit.checkpoint import peek_checkpoint
from comity.audit.entry import LoggedEntry, parse_entry
from comity.audit.merkle import leaf_hash
from comity.audit.tiles import TileFolder
from comity.audit.trust import Trust, make_trust
from comity.audit.verify import find_logs, verify_folders
from comity.certs.clock import utc_now
from comity.certs.files import write_public
from comity.certs.instants import from_instant
from comity.cli.asking import Answer, AskingFailed, ask, load_client
from comity.cli.demonstration.prepare import free_ports, wanted
from comity.cli.demonstration.processes import Processes, start_all
from comity.cli.demonstration.setup import FederationOnDisk
from comity.v1 import account_pb2, audit_pb2, common_pb2, envelope_pb2, query_service_pb2, result_pb2
from tests.simulator import PLATE, lay_out
from tests.support.federation import build_federation

pytestmark = [pytest.mark.integration, pytest.mark.long]
PROVIDERS = frozenset({"lapd", "lahd"})
QUESTION_SECONDS = 8
"""Long enough that what is killed while a question hangs is killed before its deadline, on any machine."""
PATIENCE = 120.0
"""Seconds after which a federation that doesn't answer has not come back: a busy machine's time, not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question, as its caller saw it: an answer, or why there was none."""

    began: float
    seconds: float
    exchange: bytes
    answer: Answer | None

    @property
    def kinds(self) -> dict[str, str]:
        outcomes = [] if self.answer is None else self.answer.outcomes
        return {one.agency: common_pb2.OutcomeKind.Name(one.kind)[13:] for one in outcomes}

    @property
    def findings(self) -> list[str]:
        summary = None if self.answer is None else self.answer.summary
        return [] if summary is None else list(summary.findings)

    @property
    def is_whole(self) -> bool:
        return self.kinds == dict.fromkeys(PROVIDERS, "RESPONDED") and not self.findings


class Caller:
    """An agency's system that asks one question after the other, whatever becomes of them."""

    def __init__(self, made: FederationOnDisk) -> None:
        self.asked: list[Asked] = []
        self._made = made
        self._client = load_client(made.client_config("sheriff"))
        self._changed = threading.Condition()
        self._answered = 0.0
        """When the question in flight began, if one of its providers has responded; otherwise 0."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Caller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is true of what was asked."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"{what}; the last: {self.asked[-3:]}"

    def until_whole(self) -> None:
        """Wait until a question that began after now is answered in full."""
        now = time.monotonic()
        self.until(lambda: any(one.is_whole and one.began > now for one in self.asked), "no full answer")

    def until_stuck(self) -> int:
        """Wait until a question hangs that began after now, because one provider is silent: the other has
        responded. Return its number.
        """
        now = time.monotonic()
        self.until(lambda: self._answered > now, "no question hangs")
        return len(self.asked)

    def ended(self, number: int) -> Asked:
        """Wait until a question has ended, however it does, and return it."""
        self.until(lambda: len(self.asked) > number, "the question in flight hangs")
        return self.asked[number]

    def _run(self) -> None:
        while not self._stop.is_set():
            began, seen = time.monotonic(), bytearray()

            def progress(
                message: query_service_pb2.SearchResponse, seen: bytearray = seen, began: float = began
            ) -> None:
                if message.HasField("plan") and not seen:
                    seen += message.plan.exchange_id
                if message.outcome.kind == common_pb2.OUTCOME_KIND_RESPONDED:
                    with self._changed:
                        self._answered = began
                        self._changed.notify_all()

            try:
                assertion = self._made.assertion("sheriff", utc_now())
                answer = ask(self._client, assertion, question(), progress=progress)
            except AskingFailed:
                answer = None
            one = Asked(began=began, seconds=time.monotonic() - began, exchange=bytes(seen), answer=answer)
            with self._changed:
                self._answered = 0.0
                self.asked.append(one)
                self._changed.notify_all()
            self._stop.wait(0.1)


def question() -> query_service_pb2.SearchRequest:
    """Return a question to which every store has an answer of one page."""
    now = utc_now()
    request = query_service_pb2.SearchRequest(
        plate=common_pb2.Plate(number=PLATE, state="CA", country="US"),
        period=common_pb2.Period(start=from_instant(now - timedelta(days=2)), end=from_instant(now)),
        reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
        case_number="26-0417",
        reason_text="burglary series",
        for_self=True,
    )
    request.timeout.FromTimedelta(timedelta(seconds=QUESTION_SECONDS))
    return request


@dataclass
class Log:
    """One end's log, read from its folder alone."""

    name: str
    home: Path
    leaves: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = peek_checkpoint((self.home / "log" / "checkpoint").read_bytes()).size
        self.leaves = [leaf for _, leaf in TileFolder(self.home / "log").all_entries(size)]
        self.entries = [parse_entry(leaf) for leaf in self.leaves]

    def of(self, *kinds: str) -> list[LoggedEntry]:
        return [entry for entry in self.entries if entry.kind in kinds]

    def exchanges(self, kind: str) -> set[bytes]:
        return {entry.exchange for entry in self.of(kind) if entry.exchange is not None}

    def keeps(self, promise: audit_pb2.LogPromise) -> LoggedEntry:
        """Return the entry that a promise is about; it is in the log, with that hash."""
        assert promise.index < len(self.leaves), (
            f"{self.name}: entry {promise.index} was promised and is lost"
        )
        assert leaf_hash(self.leaves[promise.index]) == promise.leaf_hash, f"{self.name}: another entry"
        return self.entries[promise.index]

    def runs(self) -> list[list[LoggedEntry]]:
        """Return the entries of each run of the process, from its `started` on."""
        runs: list[list[LoggedEntry]] = []
        for entry in self.entries:
            if entry.kind == "started":
                runs.append([])
            if runs:
                runs[-1].append(entry)
        return runs


@dataclass
class Story:
    """What happened, and what is left of it on disk."""

    made: FederationOnDisk
    names: list[str]
    asked: list[Asked]
    in_flight: dict[str, Asked]
    """By who was killed: the question that was in flight then."""
    ended: dict[str, int]

    def __post_init__(self) -> None:
        self.logs = {name: Log(name, home) for name, _, home in self.made.ends() if name in self.names}

    @property
    def gateway(self) -> Log:
        return self.logs["sheriff gateway"]

    @property
    def broker(self) -> Log:
        return self.logs["broker"]

    def adapter(self, agency: str) -> Log:
        return self.logs[f"{agency} adapter"]

    def promised(self, promise: audit_pb2.LogPromise) -> LoggedEntry:
        """Return the entry that a promise is about, from the log that made it."""
        domain, role = promise.origin.split("/")
        name = "broker" if role == "broker" else f"{domain.split('.')[0]} {role}"
        return self.logs[name].keeps(promise)

    def evidence(self, name: str) -> Iterator[tuple[bytes, envelope_pb2.Envelope]]:
        """Yield the exchange and the envelope of each receipt or account that the gateway kept."""
        with sqlite3.connect(f"file:{self.gateway.home / 'state.db'}?mode=ro", uri=True) as state:
            rows = state.execute("select exchange, payload from envelopes where name like ?", (f"{name}%",))
            for exchange, payload in rows:
                yield exchange, envelope_pb2.Envelope.FromString(payload)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Each of the three is killed with a question in flight, later stopped, and started again each time."""
    now, ports = utc_now(), free_ports(2)
    made = build_federation(
        tmp_path_factory.mktemp("restarts") / "f",
        now,
        (*sorted(PROVIDERS), "sheriff"),
        broker=f"127.0.0.1:{ports[0]}",
        gateways={"sheriff": f"127.0.0.1:{ports[1]}"},
    )
    lay_out(made, now, reads=20)
    write_public(made.trust, make_trust(made.public))
    ends = [end for end in wanted(made) if end[0] not in ("lapd gateway", "lahd gateway")]
    configs = {name: (name, role, config) for name, role, config in ends}
    for _, _, config in ends:  # so that who is silent for some seconds is silent, and no lost link
        config.write_text(f"keepalive_timeout_ms = 60000\n{config.read_text('utf-8')}", "utf-8")
    in_flight: dict[str, Asked] = {}
    with Processes() as processes:
        start_all(processes, ends, lambda line: None)
        with Caller(made) as caller:
            stopped = ""
            for name in ("broker", "lapd adapter", "sheriff gateway"):
                caller.until_whole()
                processes.freeze("lahd adapter")  # so that a question is in flight for sure
                number = caller.until_stuck()
                os.kill(processes.pid(name), signal.SIGKILL)
                in_flight[name] = caller.ended(number)
                processes.thaw("lahd adapter")
                processes.stop(name)
                if stopped:
                    assert processes.stop(stopped) == {stopped: 0}
                    processes.start(*configs[stopped])
                processes.start(*configs[name])
                stopped = name
            caller.until_whole()
            assert processes.stop(stopped) == {stopped: 0}
            processes.start(*configs[stopped])
            caller.until_whole()
        ended = processes.stop_all()
    yield Story(made=made, names=list(configs), asked=caller.asked, in_flight=in_flight, ended=ended)


def test_questions_are_answered_again_and_none_hangs(story: Story) -> None:
    """After each restart an answer is whole again by itself; none took longer than its deadline allows."""
    assert story.ended == dict.fromkeys(story.names, 0)
    assert max(one.seconds for one in story.asked) < QUESTION_SECONDS + 30
    assert sum(one.is_whole for one in story.asked) >= 5


def test_killed_broker_is_named_by_the_gateway(story: Story) -> None:
    """A question in flight when the broker is killed ends at once, with a finding that names the broker."""
    one = story.in_flight["broker"]
    assert any(line.startswith("broker: the link was lost") for line in one.findings), one
    assert one.kinds == {"lahd": "SESSION_FAILED", "lapd": "RESPONDED"}, one


def test_killed_adapter_is_named_and_the_other_provider_is_not_lost(story: Story) -> None:
    """A question in flight when one of its adapters is killed still ends with every provider named."""
    one = story.in_flight["lapd adapter"]
    assert one.kinds.keys() == PROVIDERS and one.answer is not None and one.answer.summary is not None
    assert one.kinds["lapd"] == "RESPONDED", one  # it had answered; who is silent is named by the broker
    assert one.kinds["lahd"] in ("TIMED_OUT", "UNREACHABLE") and not one.findings, one


def test_killed_gateway_leaves_what_it_asked_in_the_logs(story: Story) -> None:
    """Its caller hears that it is gone; that it asked, and that the broker ended the exchange, is logged."""
    one = story.in_flight["sheriff gateway"]
    assert one.answer is None and one.exchange in story.gateway.exchanges("asked")
    assert one.exchange not in story.gateway.exchanges("concluded")
    (account,) = [entry for entry in story.broker.of("accounted") if entry.exchange == one.exchange]
    assert account.public["reason"] == "cancelled"


def test_all_logs_verify_alone_and_against_each_other(story: Story) -> None:
    """What an auditor runs finds nothing, however the processes ended (L2)."""
    folders = find_logs(log.home for log in story.logs.values())
    result = verify_folders(folders, Trust.load(story.made.trust))
    assert len(result.logs) == len(story.logs) and result.verified, result


def test_no_entry_is_doubled(story: Story) -> None:
    """An exchange has one entry a kind, log and peer; a checkpoint is seen, and an end told, once."""
    for log in story.logs.values():
        counted = Counter(
            (entry.kind, entry.exchange, entry.public.get("peer")) for entry in log.entries if entry.exchange
        )
        assert not [key for key, count in counted.items() if count > 1], log.name
        seen = [(e.public["peer_origin"], e.public["size"]) for e in log.of("checkpoint_seen")]
        assert len(seen) == len(set(seen)), log.name
        for run in log.runs():
            for what in ("link", "session"):
                open_now: Counter[object] = Counter()
                for entry in run:
                    key = (entry.public.get("peer"), entry.public.get("role"))
                    open_now[key] += (entry.kind == f"{what}_opened") - (entry.kind == f"{what}_closed")
                    assert open_now[key] in (0, 1), f"{log.name}: {what} of {key} ended or began twice"


def test_what_callers_saw_is_in_every_log(story: Story) -> None:
    """Who was shown an answer has it on record at the gateway, the broker and the provider (L1)."""
    shown = [
        (one, agency) for one in story.asked for agency, kind in one.kinds.items() if kind == "RESPONDED"
    ]
    assert len(shown) >= 10
    delivered = {(entry.exchange, entry.public["peer"]) for entry in story.gateway.of("delivered")}
    for one, agency in shown:
        assert one.exchange in story.gateway.exchanges("asked") and (one.exchange, agency) in delivered
        assert one.exchange in story.broker.exchanges("routed")
        for kind in ("received", "decided", "released"):
            assert one.exchange in story.adapter(agency).exchanges(kind), kind
        if one.answer is not None and one.answer.summary is not None:
            assert one.exchange in story.gateway.exchanges("concluded")


def test_every_promise_that_the_gateway_holds_is_kept(story: Story) -> None:
    """Each receipt and account points to the entry that it promised, in a log that was killed since (L2)."""
    receipts = list(story.evidence("receipt:"))
    accounts = list(story.evidence("account"))
    assert len(receipts) >= 10 and len(accounts) >= 5
    for exchange, envelope in receipts:
        receipt = result_pb2.Receipt.FromString(envelope.payload)
        entry = story.promised(receipt.promise)
        assert entry.kind in ("released", "rejected") and entry.exchange == exchange
    for exchange, envelope in accounts:
        account = account_pb2.Account.FromString(envelope.payload)
        entry = story.promised(account.promise)
        assert (entry.kind, entry.exchange) == ("accounted", exchange)


def test_logs_of_all_ends_agree_about_every_exchange(story: Story) -> None:
    """Nobody routed, answered or accounted for what was not asked; what was routed has its account.

    Only the broker's own kill leaves an exchange without one: that of the question in flight then.
    """
    asked, routed = story.gateway.exchanges("asked"), story.broker.exchanges("routed")
    accounted = story.broker.exchanges("accounted")
    assert accounted <= routed <= asked
    assert routed - accounted <= {story.in_flight["broker"].exchange}
    for agency in PROVIDERS:
        log = story.adapter(agency)
        assert log.exchanges("released") <= log.exchanges("decided") == log.exchanges("received") <= routed
    for account in story.broker.of("accounted"):
        receipts = account.public["receipts"]
        assert isinstance(receipts, dict)
        for agency in receipts:
            assert account.exchange in story.adapter(agency).exchanges("released")
    for log in story.logs.values():
        lines = [line for entry in log.of("contradiction") for line in entry.public.get("findings", [])]  # type: ignore[attr-defined]
        assert all(line.startswith("broker: ") for line in lines), f"{log.name} accuses: {lines}"
