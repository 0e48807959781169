"""What keeps records from going too early, and from going to anybody else (L3, L5, L6)."""

from __future__ import annotations

from tests.patched_out.check import check
from tests.patched_out.checks.files import CONTRACT_END, OWN_RECORDS, REDACTION, RETENTION
from tests.patched_out.patching import Instead, Without

KEEPER = "comity.audit.keeping:Keeper"
SELECTING = "comity.audit.retrieval.selecting"
CHECKING = "comity.audit.retrieval.checking"
CHECK = f"{CHECKING}:RecordsCheck"
OWN = "comity.adapters.own_records:OwnRecords"
RETRIEVALS = "comity.gateway.own_records:Retrievals"
CLOSING = "comity.cli.audit_close_contract"
UNLOGGED = "__import__('comity.audit.log', fromlist=['x']).Promise(origin='', index=0, leaf_hash=b'')"


def lie(name: str) -> tuple[str, ...]:
    """Return the test of one lie about records."""
    return OWN_RECORDS(f"test_records_that_do_not_verify_are_refused_and_logged[{name}]")


CHECKS = (
    check(
        "retention: a clock beyond the authority's timestamp deletes nothing",
        Without("comity.audit.retention:check_clock", "if now >= believable.until:"),
        RETENTION("test_clock_years_ahead_deletes_nothing"),
        CONTRACT_END("test_retain_with_a_clock_that_nobody_vouches_for_deletes_nothing"),
    ),
    check(
        "retention: a clock before the roster deletes nothing",
        Without("comity.audit.retention:check_clock", "if now < believable.since:"),
        RETENTION("test_clock_before_the_roster_is_not_believed_either"),
    ),
    check(
        "retention: what stands behind a young entry is young",
        Instead("comity.audit.keeping:_below", "row[0]", "below"),
        RETENTION("test_entry_made_while_the_clock_was_behind_is_as_young_as_those_before_it"),
    ),
    check(
        "retention: held cases are noted when they are held",
        (
            Without(f"{KEEPER}.hold", "_note_held(connection)"),
            Without(f"{KEEPER}.begin", "_note_held(connection)"),
        ),
        RETENTION("test_hold_that_comes_during_a_run_counts_at_once"),
    ),
    check(
        "retention: the log says before that something will go",
        Without("comity.audit.retaining:forget", "await enter(_act('begun'"),
        RETENTION(
            "test_log_that_cannot_be_written_keeps_everything",
            "test_deletion_is_logged_before_and_after_without_a_private_value",
        ),
        falls=("AssertionError", "ValueError"),
    ),
    check(
        "retention: no byte is left in the state database",
        Without("comity.audit.retaining:_finish", "await asyncio.to_thread(keeper.scrub)"),
        RETENTION("test_after_their_time_no_byte_is_left_and_every_proof_verifies"),
    ),
    check(
        "retention: no byte is left in the write-ahead segments",
        Without("comity.audit.retaining:Retaining._enter", "await self._log.forget_segments()"),
        RETENTION("test_after_their_time_no_byte_is_left_and_every_proof_verifies"),
    ),
    check(
        "retention: write-ahead segments go by themselves after their days",
        Instead("comity.audit.retaining:Retaining.run", "await self._clear()", "True"),
        RETENTION("test_segments_go_after_their_days_and_not_before[1]"),
    ),
    check(
        "retention: write-ahead segments stay for their days",
        Instead(
            "comity.audit.retaining:Retaining.run",
            "abs(now - cleared) >= timedelta(days=self._terms.segments_days)",
            "True",
        ),
        RETENTION("test_segments_go_after_their_days_and_not_before[3]"),
    ),
    check(
        "retention: a command's deletion reaches the segments of the process",
        Without("comity.audit.acts:_serve_one", "if act.kind == 'deleted'"),
        RETENTION("test_command_beside_a_running_process_leaves_no_byte_either"),
    ),
    check(
        "retention: what is being read is not gone yet",
        Without(f"{KEEPER}.scrub", "if busy:"),
        RETENTION("test_file_that_is_being_read_is_not_done_with_yet"),
    ),
    check(
        "retention: one run at a time",
        Without("comity.audit.retaining:_only_one", "fcntl.flock("),
        RETENTION("test_second_run_beside_the_first_is_refused"),
        falls=("RecursionError", "IntegrityError", "LogUnwritable", "TypeError"),
    ),
    check(
        "retention: while an agreement is in force nothing is closed",
        Without(f"{CLOSING}:_require_ended", "if in_force:"),
        CONTRACT_END("test_while_the_agreement_is_in_force_nothing_is_closed"),
    ),
    check(
        "retention: only what was exported and verifies is deleted",
        (
            Without(f"{CLOSING}:_verified", "if found.findings:"),
            Without(f"{CLOSING}:_same", "if not _parts(here) <="),
            Without(f"{CLOSING}:_same", "if other is None or"),
        ),
        CONTRACT_END("test_export_that_is_not_whole_deletes_nothing"),
        falls=("AssertionError", "AttributeError"),
    ),
    check(
        "retention: the export is this agency's",
        (
            Without(f"{CLOSING}:_verified", "if (statement.provider, statement.requester) !="),
            Without(f"{CLOSING}:_same", "if other is None or"),
            Without(f"{CLOSING}:_same", "if not _parts(here) <="),
        ),
        CONTRACT_END("test_export_of_another_agency_deletes_nothing"),
    ),
    check(
        "records: the provider gives those of the session's peer alone",
        (
            Instead(
                "comity.audit.retrieval.selecting:is_about", "entry.public.get('peer') == requester", "True"
            ),
            Instead(f"{SELECTING}:Selection._entries", "self._mark in leaf", "True"),
        ),
        OWN_RECORDS("test_another_agencys_users_never_come_out"),
    ),
    check(
        "records: the gateway takes those of its own agency alone",
        Without(f"{CHECK}._checked", "if not self.wanted.includes(entry):"),
        OWN_RECORDS("test_record_of_another_agency_is_refused_by_the_gateway"),
    ),
    check(
        "records: what another session asked is not its to steer",
        (
            Instead(
                f"{OWN}._of", "self._running.get(session.peer)", "next(iter(self._running.values()), None)"
            ),
            Instead(f"{OWN}._of", "export.session is session", "True"),
        ),
        OWN_RECORDS("test_request_of_one_session_serves_no_other"),
    ),
    check(
        "records: only an auditor retrieves",
        Without(
            "comity.gateway.own_records:Retrievals.require_auditor", "if self._role not in claims.roles:"
        ),
        OWN_RECORDS("test_user_without_the_role_gets_nothing"),
    ),
    check(
        "records: so many requests an hour",
        Instead(f"{OWN}._may_ask", "len(times) >= self._max_per_hour", "False"),
        OWN_RECORDS("test_requests_too_many_are_refused"),
    ),
    check(
        "records: pages wait for their reader",
        Without(f"{OWN}._give", "while export.credit < 1:"),
        OWN_RECORDS("test_long_export_waits_for_its_reader"),
    ),
    check(
        "records: what leaves is logged before",
        Instead(f"{OWN}._give", "await self._log_export(wanted, found, selection.size)", UNLOGGED),
        OWN_RECORDS("test_log_that_cannot_be_written_gives_no_record"),
    ),
    check(
        "records: each entry is in the log",
        Without(f"{CHECK}._checked", "verify_inclusion("),
        (*lie("another entry"), *lie("another path")),
    ),
    check(
        "records: an opening opens its commitment",
        Without(f"{CHECK}._checked", "entry.open(opening)"),
        (*lie("another plate"), *lie("another salt")),
    ),
    check(
        "records: a field is opened once",
        Without(f"{CHECK}._checked", "if len({opening.name"),
        lie("a field opened twice"),
    ),
    check(
        "records: evidence is what the entry names",
        Without(f"{CHECK}._kept", "if entry.public.get(kept.name) !="),
        lie("another query"),
    ),
    check(
        "records: evidence belongs to its kind of entry",
        Without(f"{CHECK}._kept", "if kept.name not in KEPT"),
        lie("evidence of something else"),
    ),
    check(
        "records: they come in the log's order",
        Without(f"{CHECK}.take", "if record.index <= self._last:"),
        lie("out of order"),
    ),
    check(
        "records: no more than the statement says",
        Without(f"{CHECK}.take", "if self._found.size >= self.statement.count:"),
        lie("fewer"),
    ),
    check(
        "records: their root is the statement's",
        Without(f"{CHECK}.finish", "if self._found.root() !="),
        lie("another root"),
    ),
    check(
        "records: the statement answers this request",
        Without(f"{CHECKING}:require_asked", "if statement.request_id !="),
        lie("another request"),
    ),
    check(
        "records: the statement is about this agency",
        (
            Without(f"{CHECKING}:require_asked", "if statement.requester !="),
            Without(f"{CHECK}._checked", "if not self.wanted.includes(entry):"),
        ),
        lie("another requester"),
    ),
    check(
        "records: the statement names its signer",
        (
            Without(f"{CHECKING}:open_statement", "if statement.provider !="),
            Without(f"{CHECK}._checked", "if not self.wanted.includes(entry):"),
        ),
        lie("another provider"),
    ),
    check(
        "records: an exchange is held only to records that must hold it",
        Without("comity.audit.reconciling.running:_cases", "if end.part is not None"),
        OWN_RECORDS("test_exchange_outside_of_the_period_is_not_missed"),
    ),
    check(
        "records: what is reconciled is checked first",
        Without("comity.audit.reconciling.parts:gather_records", "faults.append(Fault("),
        OWN_RECORDS("test_own_log_is_reconciled_with_what_the_provider_gave"),
    ),
    check(
        "redaction: a false value does not open its commitment",
        Without("comity.audit.redaction:check_opened", "report.findings.append(f'entry {index}"),
        REDACTION("test_false_value_that_is_put_back_fails", "test_opening_moved_to_another_entry_fails"),
    ),
)
