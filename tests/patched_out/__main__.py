"""`python -m tests.patched_out [WORD …]`: each attack's test again, without the check that stops the attack.

First every test that is named runs against the product as it is: all green. Then, for each check, its
tests run with that check patched out: all of them red, by an assertion or as the entry says, while the
honest test of each of their files stays green, so that what was taken out is a check and not the
product. Anything else makes the exit status 1. WORDs narrow to checks whose name, patch or tests hold one.

`--green` leaves out the first part: for where the whole suite has just passed. `--fifth WORD` takes a fifth
of the checks, another one for another word, a commit for instance: in time each has its turn.
"""

from __future__ import annotations

import os
import sys
import time
from zlib import crc32

from tests.patched_out.check import Check
from tests.patched_out.checks import CHECKS, HONEST
from tests.patched_out.running import Job, Ran, is_of, run_all

ASSERTED = ("AssertionError", "Failed")
"""How a test falls that noticed something; `Failed` is pytest's own, as of an exception not raised."""


class Table:
    """Prints a line for each job as it ends, and counts."""

    def __init__(self, checks: list[Check]) -> None:
        self._checks = {each.name: each for each in checks}
        self.green = 0
        self.passed = 0
        self.failed = 0

    def done(self, job: Job, ran: Ran) -> None:
        """Print what came of `job`."""
        check = self._checks.get(job.name)
        faults = faults_of(check, ran) if check else faults_unpatched(ran)
        if check is None:
            self.green += len(ran.green)
        elif not faults:
            self.passed += 1
        self.failed += bool(faults)
        word = "FAILED" if faults else "red" if check else "green"
        count = len(ran.fallen) if check else len(ran.green)
        print(f"{word:6} {count:4} {ran.seconds:6.1f} s  {job.name}")
        for fault in faults:
            print(f"         {fault}")
        sys.stdout.flush()


def main(words: list[str]) -> int:
    """Run everything and return the exit status."""
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    since = time.monotonic()
    is_green = "--green" in words
    words = [word for word in words if word != "--green"]
    fifth = None
    if "--fifth" in words:
        at = words.index("--fifth")
        fifth = words[at + 1]
        del words[at : at + 2]
    checks = [each for each in CHECKS if not words or any(word in _about(each) for word in words)]
    if fifth is not None:
        checks = [each for each in checks if crc32(f"{fifth} {each.name}".encode()) % 5 == 0]
    table = Table(checks)
    jobs = [
        *([] if is_green else _unpatched(checks)),
        *(Job(name=each.name, tests=tests_of(each), patches=each.out) for each in checks),
    ]
    print("result tests  seconds  check that is patched out")
    faults = run_all(jobs, at_once=2 * (os.cpu_count() or 1), done=table.done)
    for fault in faults:
        print(fault)
    failed = table.failed + len(faults)
    print("" if is_green else f"\n{table.green} tests are green with every check in place.")
    told = f"{failed} failed, " if failed else ""
    print(f"{told}{table.passed} passed in {time.monotonic() - since:.2f}s")
    return 1 if failed or not table.passed else 0


def tests_of(check: Check) -> tuple[str, ...]:
    """Return the tests that run for `check`: those that go red, and the honest one of each of their files."""
    return (*check.red, *sorted(honest_of(check)))


def honest_of(check: Check) -> set[str]:
    """Return the tests that must stay green without `check`."""
    return {HONEST[_file(test)] for test in check.red}


def faults_of(check: Check, ran: Ran) -> list[str]:
    """Return what is wrong with a run in which `check` was patched out; nothing if it shows what it must."""
    faults = list(ran.broken)
    for test in check.red:
        green = [each for each in ran.green if is_of(each, test)]
        red = [each for each in ran.fallen if is_of(each, test)]
        faults += [f"{each}: stays green without the check" for each in sorted(green)]
        if not green and not red:
            faults.append(f"{test}: was not run")
        for each in red:
            fallen = ran.fallen[each]
            if fallen.exception not in (check.falls or ASSERTED):
                faults.append(f"{each}: falls by {fallen.exception}, not by an assertion: {fallen.message}")
    for test in sorted(honest_of(check)):
        if not any(is_of(each, test) for each in ran.green):
            how = "; ".join(fallen.message for each, fallen in ran.fallen.items() if is_of(each, test))
            faults.append(f"{test}: is honest and must stay green: {how or 'was not run'}")
    return faults


def faults_unpatched(ran: Ran) -> list[str]:
    """Return what is wrong with a run of the product as it is."""
    red = [f"{test}: is red with every check in place: {how.message}" for test, how in ran.fallen.items()]
    return [*ran.broken, *red] or ([] if ran.green else ["no test was run"])


def _unpatched(checks: list[Check]) -> list[Job]:
    """Return a job a file, of all its tests that are named."""
    tests = {test for each in checks for test in tests_of(each)}
    files = sorted({_file(test) for test in tests})
    return [
        Job(name=f"none, in {file}", tests=tuple(sorted(test for test in tests if _file(test) == file)))
        for file in files
    ]


def _file(test: str) -> str:
    return test.partition("::")[0]


def _about(check: Check) -> str:
    return " ".join((check.name, *(str(patch) for patch in check.out), *check.red))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
