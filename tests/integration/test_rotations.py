"""The rotations of `make rotations`, some of them and once: it doesn't rot, and what it counts is so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import rotations
from tests.rotations import Row, fill, run, table
from tests.support import revoking, rotating
from tests.support.open_load import Asked
from tests.support.revoking import Revoked


def asked(due: float, *, provider: str = "p1", took: float = 0.1, fault: str = "") -> Asked:
    shown = 0.0 if fault else due + took
    return Asked(
        agency="sheriff",
        user="u01",
        provider=provider,
        due=due,
        sent=due,
        done=due + took,
        shown=shown,
        fault=fault,
    )


def filled(questions: Sequence[Asked], *revoked: Revoked) -> Row:
    row = Row(kind="certificate-adapter", what="certificate of an adapter")
    fill(row, questions, revoked, 10.0)
    return row


def of_p1(**times: float) -> Revoked:
    """The provider p1, revoked at second 100; the list arrived at 100.2 and 100.4."""
    found = Revoked(touches=lambda each: each.provider == "p1", begun=100.0, **times)
    found.published, found.arrived = 100.1, {"broker": 100.2, "sheriff gateway": 100.4}
    return found


def test_answers_of_the_revoked_are_late_a_second_after_the_list_arrived_where_they_are_shown() -> None:
    """From the first end that had it is told beside; what is of others, or after the mending, is not late."""
    questions = [asked(100.9), asked(101.15), asked(101.3, provider="p2"), asked(105.0)]
    for late, at in ((0, 101.25), (1, 101.35)):
        row = filled([*questions, asked(at)], of_p1(mended=104.0, back=105.0))
        assert row.revoked is not None and row.revoked.late == late
        assert (row.revoked.late_first, row.revoked.late_published) == (2, 2)
        assert round(row.revoked.after_arrival, 2) == round(at + 0.1 - 100.2, 2)
        assert row.is_good is not bool(late)


def test_question_that_fails_is_excused_only_where_it_touches_the_revoked_in_its_time() -> None:
    """Before the list, after the mending, or of somebody else: each is a failure, and is told."""
    row = filled([asked(101.0, fault="gone")], of_p1(mended=104.0, back=105.0))
    assert (row.excused, row.failed, row.is_good) == (1, 0, True)
    for wrong in (
        asked(99.0, fault="gone"),
        asked(105.5, fault="gone"),
        asked(101.0, provider="p2", fault="gone"),
    ):
        row = filled([wrong], of_p1(mended=104.0, back=105.0))
        assert (row.excused, row.failed, row.faults, row.is_good) == (0, 1, {"gone": 1}, False)


def test_question_that_waited_is_late_and_its_latency_counts_from_when_it_was_due() -> None:
    """An open load hides nothing of a system that doesn't keep up."""
    waited = asked(100.0, took=1.0)
    waited.sent = 100.5
    row = filled([waited])
    assert (row.late, round(row.p50_ms)) == (1, 1000)


@pytest.mark.long
async def test_rotations_and_a_revocation_fail_no_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes, real commands: a leaf and the authority's keys rotated, a user revoked, under load.

    `make rotations` measures that nothing comes later than a second; here other tests keep the machine busy.
    """
    monkeypatch.setattr(rotations, "WARM_UP_SECONDS", 0.2)
    monkeypatch.setattr(rotations, "BETWEEN_SECONDS", 0.1)
    monkeypatch.setattr(rotating, "DRAIN_SECONDS", 0.2)
    monkeypatch.setattr(revoking, "BOUND_SECONDS", 5.0)
    monkeypatch.setattr(revoking, "LOOK_SECONDS", 6.0)
    rows, kinds = list[Row](), ("leaf-adapter", "authority-key", "subject")
    told = list[str]()
    await run(tmp_path, rows, rate=3, times=1, kinds=kinds, quiet=1.0, say=told.append, small=True)
    assert [(row.kind, row.done) for row in rows] == [("none", 0), *((kind, 1) for kind in kinds)]
    for row in rows:
        assert row.complete and not row.failed, row.faults
    assert rows[-1].revoked is not None and not rows[-1].revoked.late and rows[-1].excused
    assert "user of a requester" in table(rows) and "all logs verify" in told[-1]
