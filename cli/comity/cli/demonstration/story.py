"""The demonstration itself: six steps against real processes, each explained in a line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from comity.audit.note import LogKey
from comity.broker.capture import FROM_END, read_capture
from comity.cli.asking import Answer, ask, load_client
from comity.cli.demonstration import tamper
from comity.cli.demonstration.evidence import Record, as_lines, files_below, find_values, records_of
from comity.cli.demonstration.processes import Processes
from comity.cli.demonstration.setup import FederationOnDisk
from comity.cli.query import mint
from comity.cli.rendering import JsonObject, kind_word, show, to_json
from comity.v1 import common_pb2, link_pb2, query_service_pb2

FROZEN_DEADLINE = timedelta(seconds=2)
PLATE = "8ABC123"
SHERIFF_USER = "j.ortega"
PORT_POLICE_USER = "m.chen"
ERO_USER = "k.novak"
DEFAULT_TIMEOUT = timedelta(seconds=10)


IN_CLEAR: Mapping[str, str] = {
    "account": "its own statement: who was asked, and each outcome's class",
    "announcement": "that an exchange comes, from whom, until when",
    "checkpoint": "size and root of a log",
    "order": "who asks whom, until when; digests of the queries, no query",
    "presence": "who is linked",
    "receipt": "provider, outcome's class, digests, the agreement's ceiling marking",
    "session_close": "that two ends stop speaking",
    "session_credit": "a number of bytes",
    "session_data": "TLS 1.3 records between the two ends: nothing",
    "session_open": "who begins to speak with whom",
    "stamp": "the receipt again, with its digest and the time",
}


class StoryFailed(Exception):
    """The demonstration did not show what it promises; the text says which step and what."""


@dataclass(slots=True, kw_only=True)
class Question:
    """One question of the story."""

    agency: str
    user: str
    reason: common_pb2.ReasonCode
    case_number: str
    reason_text: str
    start: datetime
    end: datetime
    timeout: timedelta = DEFAULT_TIMEOUT
    providers: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Story:
    """Tells the six steps; `queries`, `logs` and `tampered` collect what `--json` prints."""

    made: FederationOnDisk
    processes: Processes
    console: Console
    now: datetime
    queries: list[JsonObject] = field(default_factory=list)
    logs: list[JsonObject] = field(default_factory=list)
    tampered: list[JsonObject] = field(default_factory=list)
    carried_before: int = 0

    def tell(self) -> None:
        """Run all steps; raises `StoryFailed` when one does not show what it promises."""
        first = self.five_providers_one_answer()
        self.what_the_broker_held(first)
        self.same_law_asked_twice()
        self.five_years_of_eight()
        self.one_stopped_one_gone()
        self.processes.stop_all()
        self.logs_verified_from_copies()
        self.tampering_is_named()

    # -- 1 --------------------------------------------------------------------------------------

    def five_providers_one_answer(self) -> Answer:
        """The sheriff asks in a criminal investigation: five providers in one marked answer."""
        self._step(
            1, "The sheriff asks about one plate in a criminal investigation: five providers, one answer."
        )
        self.carried_before = len(self._carried())
        answer = self._ask(
            Question(
                agency="sheriff",
                user=SHERIFF_USER,
                reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
                case_number="26-0417",
                reason_text="burglary series, vehicle seen leaving two scenes",
                start=self.now - timedelta(days=45),
                end=self.now,
            ),
            rows=14,
        )
        responded = [
            item.agency for item in answer.outcomes if item.kind == common_pb2.OUTCOME_KIND_RESPONDED
        ]
        self._expect(len(responded) == 5 and bool(answer.pages), "step 1: five providers respond, with reads")
        return answer

    # -- 2 --------------------------------------------------------------------------------------

    def what_the_broker_held(self, answer: Answer) -> None:
        """Everything that the broker got to know of that question, beside both ends' records of it."""
        self._step(2, "Everything the broker held about that question, beside both ends' own records of it.")
        assert answer.plan is not None
        exchange = answer.plan.exchange_id
        homes = (
            ("sheriff gateway (who asked)", self.made.gateway_home("sheriff"), "concluded"),
            ("broker (the middle)", self.made.broker_home, "accounted"),
            ("lapd adapter (who answered)", self.made.adapter_home("lapd"), "released"),
        )
        for title, home, last in homes:
            self.console.print(_panel(title, self._wait_for_records(home, exchange, last)))
        self.console.print("And all that the broker's links carried since the question was asked:")
        self.console.print(_frames_table(self._carried()[self.carried_before :]))
        private = (PLATE, SHERIFF_USER, "26-0417", "burglary series, vehicle seen leaving two scenes")
        kept = files_below(self.made.broker_home)
        searched, found = find_values([path for path in kept if path.name != "process.log"], private)
        _, at_gateway = find_values(files_below(self.made.gateway_home("sheriff")), private)
        self.console.print(
            f"Searched all that the broker keeps and all that its links carried ({searched:,} bytes) for "
            f"plate, user, case and reason, as typed, folded, UTF-16 and base64: {len(found)} found. "
            f"The same search at the sheriff's own gateway: {len(at_gateway)} found."
        )
        self._expect(
            not found and bool(at_gateway), f"step 2: nothing of the question at the broker: {found}"
        )

    # -- 3 --------------------------------------------------------------------------------------

    def same_law_asked_twice(self) -> None:
        """Port Police ask LAPD: answered for a criminal case, refused for civil immigration (A3)."""
        self._step(
            3,
            "The same law asked twice: Port Police ask LAPD, first for a crime, then for civil immigration.",
        )
        question = Question(
            agency="lahd",
            user=PORT_POLICE_USER,
            reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
            case_number="PP-881",
            reason_text="cargo theft at berth 206",
            start=self.now - timedelta(days=30),
            end=self.now,
            providers=("lapd",),
        )
        answered = self._ask(question, rows=6)
        self._expect_kind(answered, "lapd", common_pb2.OUTCOME_KIND_RESPONDED, "step 3")
        question.reason = common_pb2.REASON_CODE_CIVIL_IMMIGRATION
        question.reason_text = "status check"
        refused = self._ask(question, rows=6)
        outcome = self._expect_kind(refused, "lapd", common_pb2.OUTCOME_KIND_REFUSED, "step 3")
        cited = {rule for citation in outcome.detail.rules for rule in citation.rules}
        self._expect("A3" in cited and not refused.pages, "step 3: the refusal cites A3 and holds no read")

    # -- 4 --------------------------------------------------------------------------------------

    def five_years_of_eight(self) -> None:
        """ICE ERO asks the vendor over eight years: warned of, clipped to five (Q5); LAPD isn't asked."""
        self._step(
            4,
            "ICE ERO asks over eight years: ICE's own house rule warns, the vendor clips to five and says so "
            "(Q5); LAPD is not asked.",
        )
        answer = self._ask(
            Question(
                agency="ice",
                user=ERO_USER,
                reason=common_pb2.REASON_CODE_CIVIL_IMMIGRATION,
                case_number="ERO-5521",
                reason_text="fugitive case, vehicle registered to the subject's sister",
                start=self.now - timedelta(days=8 * 365 + 2),
                end=self.now,
                providers=("vendor", "lapd"),
            ),
            rows=6,
        )
        outcome = self._expect_kind(answer, "vendor", common_pb2.OUTCOME_KIND_RESPONDED, "step 4")
        self._expect(outcome.detail.period_clipped, "step 4: the vendor says that it clipped the period (Q5)")
        assert answer.plan is not None
        warned = {rule.policy_id for rule in answer.plan.house_warnings}
        self._expect("ice.civil-five-years" in warned, "step 4: ICE's own house rule warns (GUI J.2)")
        reasons = {item.agency: item.reason for item in answer.plan.not_asked}
        self._expect(
            reasons.get("lapd") == query_service_pb2.NOT_ASKED_REASON_NO_AGREEMENT,
            "step 4: LAPD is not asked, for want of an agreement",
        )

    # -- 5 --------------------------------------------------------------------------------------

    def one_stopped_one_gone(self) -> None:
        """One provider frozen, one gone: both named and counted, and nobody waits beyond the deadline."""
        self._step(
            5,
            f"Port Police's adapter is frozen and the vendor's has ended: both are named, "
            f"and nobody waits beyond the deadline of {FROZEN_DEADLINE.total_seconds():.0f} s.",
        )
        self.processes.freeze("lahd adapter")
        self.processes.stop("vendor adapter")
        started = time.monotonic()
        try:
            answer = self._ask(
                Question(
                    agency="sheriff",
                    user=SHERIFF_USER,
                    reason=common_pb2.REASON_CODE_CRIMINAL_INVESTIGATION,
                    case_number="26-0417",
                    reason_text="burglary series, follow-up",
                    start=self.now - timedelta(days=10),
                    end=self.now,
                    timeout=FROZEN_DEADLINE,
                ),
                rows=4,
            )
        finally:
            self.processes.thaw("lahd adapter")
        took = time.monotonic() - started
        self.console.print(f"The whole answer took {took:.1f} s.")
        absent = (common_pb2.OUTCOME_KIND_TIMED_OUT, common_pb2.OUTCOME_KIND_UNREACHABLE)
        for agency in ("lahd", "vendor"):
            outcome = answer.outcome(agency)
            self._expect(
                outcome is not None and outcome.kind in absent, f"step 5: {agency} is named as absent"
            )
        self._expect(took < 2 * FROZEN_DEADLINE.total_seconds(), "step 5: nobody waits beyond the deadline")

    # -- 6 --------------------------------------------------------------------------------------

    def logs_verified_from_copies(self) -> None:
        """Copies of the `log/` folders alone, verified by a fresh process with the trust file."""
        self._step(
            6,
            "All processes have ended. Copies of their log/ folders, nothing else, are verified by a fresh "
            "process; the trust file is older than the first entry.",
        )
        for name, _, home in self.made.ends():
            shutil.copytree(home / "log", self.made.copies / name.replace(" ", "-") / "log")
        status, printed = self._verify(self.made.copies)
        report = json.loads(printed)
        self.logs.extend(report["logs"])
        for entry in self.logs:
            mark = "verified" if entry["verified"] else "NOT VERIFIED"
            self.console.print(f"  {mark}: {entry['origin']}, {entry['size']} entries", highlight=False)
        self._expect(
            status == 0 and all(entry["verified"] for entry in self.logs), "step 6: every log verifies"
        )

    def tampering_is_named(self) -> None:
        """A changed byte, a log rebuilt under another key, and a cut tail signed again with the right key."""
        origin = f"{self.made.federation(self.now).member('lapd').domain}/adapter"
        key = LogKey.load(self.made.adapter_home("lapd") / "keys" / "log.key", origin)
        attacks: Sequence[tuple[str, Callable[[Path], str]]] = (
            ("byte", tamper.change_a_byte),
            ("rebuilt", tamper.rebuild_under_another_key),
            ("tail", lambda log: tamper.cut_the_tail(log, key, keep=6)),
        )
        for name, attack in attacks:
            copies = self.made.root / f"tampered-{name}"
            shutil.copytree(self.made.copies, copies)
            done = attack(copies / "lapd-adapter" / "log")
            self.console.print(f"\nOn a copy of LAPD's log: {done}.", highlight=False)
            status, printed = self._verify(copies)
            report = json.loads(printed)
            findings = [finding for entry in report["logs"] for finding in entry["findings"]]
            findings.extend(report["findings"])
            self.tampered.append({"done": done, "exit_status": status, "findings": findings})
            for finding in findings:
                self.console.print(Text(f"  finding: {finding}", style="red"))
            self.console.print(f"  exit status {status}", highlight=False)
            self._expect(status == 1 and bool(findings), f"step 6: `{name}` is found")

    # -- parts ----------------------------------------------------------------------------------

    def _ask(self, question: Question, *, rows: int) -> Answer:
        client = load_client(self.made.client_config(question.agency))
        request = query_service_pb2.SearchRequest(
            plate=common_pb2.Plate(number=PLATE, state="CA", country="US"),
            period=common_pb2.Period(start=_stamp(question.start), end=_stamp(question.end)),
            reason=question.reason,
            case_number=question.case_number,
            reason_text=question.reason_text,
            for_self=True,
            providers=question.providers,
            timeout=_duration(question.timeout),
        )
        self.console.print(
            f"[bold]{question.agency}[/bold] asks: {PLATE} CA, "
            f"{question.start:%Y-%m-%d} to {question.end:%Y-%m-%d}, "
            f"{common_pb2.ReasonCode.Name(question.reason).removeprefix('REASON_CODE_')}, "
            f"case {question.case_number}",
            highlight=False,
        )
        answer = ask(client, mint(client, question.user), request)
        show(answer, self.console, max_rows=rows)
        self.queries.append({"agency": question.agency, **to_json(answer, PLATE)})
        return answer

    def _verify(self, folder: Path) -> tuple[int, str]:
        """Run `comity audit verify` in a fresh process; return its exit status and what it printed."""
        done = subprocess.run(  # noqa: S603 (our own program, no shell)
            [
                sys.executable,
                "-m",
                "comity.cli.main",
                "audit",
                "verify",
                str(folder),
                "--trust",
                str(self.made.trust),
                "--json",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise StoryFailed(f"step 6: `comity audit verify` says: {done.stderr.strip()}")
        return done.returncode, done.stdout

    def _wait_for_records(self, home: Path, exchange: bytes, last: str) -> list[Record]:
        """Return an end's records, the `last` kind among them: a log is published about each second."""
        deadline = time.monotonic() + 10
        while True:
            found = records_of(home, exchange)
            if any(record.entry.kind == last for record in found):
                return found
            if time.monotonic() > deadline:
                raise StoryFailed(f"step 2: `{home}` has logged `{last}` of the first question")
            time.sleep(0.1)

    def _carried(self) -> list[link_pb2.LinkFrame]:
        """Return every frame that the broker's links have carried, as it saw them."""
        frames: list[link_pb2.LinkFrame] = []
        for direction, message in read_capture(self.made.broker_home / "capture"):
            kind = link_pb2.LinkRequest if direction == FROM_END else link_pb2.LinkResponse
            frames.extend(kind.FromString(message).frames)
        return frames

    def _step(self, number: int, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{number}[/bold]", align="left")
        self.console.print(text, style="bold", highlight=False)

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise StoryFailed(what)

    def _expect_kind(
        self, answer: Answer, agency: str, kind: common_pb2.OutcomeKind, step: str
    ) -> query_service_pb2.ProviderOutcome:
        outcome = answer.outcome(agency)
        if outcome is None or outcome.kind != kind:
            told = kind_word(outcome.kind) if outcome is not None else "nothing"
            raise StoryFailed(f"{step}: {agency} gives {kind_word(kind)}; it gave {told}")
        return outcome


def _frames_table(frames: Sequence[link_pb2.LinkFrame]) -> Table:
    counts: dict[str, tuple[int, int]] = {}
    for frame in frames:
        kind = frame.WhichOneof("frame") or "unknown"
        count, size = counts.get(kind, (0, 0))
        counts[kind] = (count + 1, size + frame.ByteSize())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("frame", "number", "bytes", "what the broker reads in it"):
        table.add_column(name, justify="right" if name in ("number", "bytes") else "left")
    for kind, (count, size) in sorted(counts.items()):
        table.add_row(kind.replace("_", " "), str(count), f"{size:,}", IN_CLEAR.get(kind, "itself"))
    return table


def _panel(title: str, records: Sequence[Record]) -> Panel:
    lines = Text()
    for record in records:
        lines.append(f"entry {record.index}: {record.entry.kind}\n", style="bold")
        for line in as_lines(record):
            lines.append(f"   {line}\n", style="dim" if "(closed" in line else "")
    if not records:
        lines.append("nothing")
    lines.rstrip()
    return Panel(lines, title=title, title_align="left")


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC))
    return stamp


def _duration(length: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(length)
    return duration
