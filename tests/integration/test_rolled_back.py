"""An adapter comes back with an older copy of its home, as after a restored backup: its peers refuse it (L2).

`make rolled-back` runs it; what each end does is tested in one process in `tests/test_forked_provider.py`.
Real processes, from the copy to the administrators' acts that lift the refusal; what is asserted is read from
what the processes print, what callers see and what the commands of an auditor say.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from comity.audit.trust import make_trust
from comity.certs.clock import utc_now
from comity.certs.files import write_public
from comity.cli.asking import AskingFailed, ask, load_client
from comity.cli.demonstration.prepare import free_ports, wanted
from comity.cli.demonstration.processes import Processes, start_all
from comity.cli.demonstration.setup import FederationOnDisk
from comity.v1 import common_pb2, query_service_pb2
from tests.integration.conftest import comity
from tests.integration.test_restarts import Log, question
from tests.simulator import lay_out
from tests.support.federation import build_federation

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
]
ORIGIN = "lapd.example/adapter"
ADAPTER, GATEWAY, BROKER = "lapd adapter", "sheriff gateway", "broker"
PATIENCE = 120.0


class Rolled:
    """A federation of one requester and one provider, and its administrators."""

    def __init__(self, made: FederationOnDisk, processes: Processes) -> None:
        self.made = made
        self.processes = processes
        self.homes = {name: home for name, _, home in made.ends()}
        self.configs = {name: (name, role, config) for name, role, config in wanted(made)}
        self._client = load_client(made.client_config("sheriff"))

    def seen(self, name: str) -> int:
        """Return the size of the adapter's newest checkpoint in an end's log."""
        sizes = [
            entry.public["size"]
            for entry in Log(name, self.homes[name]).of("checkpoint_seen")
            if entry.public["peer_origin"] == ORIGIN
        ]
        return int(str(sizes[-1])) if sizes else 0

    def ask(self) -> str:
        """Ask the provider; return its outcome, or why it was not asked."""
        try:
            answer = ask(self._client, self.made.assertion("sheriff", utc_now()), question())
        except AskingFailed:
            return "nobody"
        if answer.plan is not None and answer.plan.not_asked:
            reason = answer.plan.not_asked[0].reason
            return query_service_pb2.NotAskedReason.Name(reason).removeprefix("NOT_ASKED_REASON_")
        return common_pb2.OutcomeKind.Name(answer.outcomes[0].kind).removeprefix("OUTCOME_KIND_")

    def restart(self, name: str) -> None:
        self.processes.stop(name)
        self.processes.start(*self.configs[name])

    def printed(self, name: str) -> str:
        return (self.homes[name] / "process.log").read_text()

    def refused(self, name: str) -> object:
        """Return why an end last refused a link, by its log."""
        refusals = Log(name, self.homes[name]).of("link_refused")
        return refusals[-1].public["reason"] if refusals else None

    def pardon(self, name: str, *more: str) -> dict[str, object]:
        done = comity("audit", "pardon", str(self.homes[name]), *more, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_adapter_with_an_older_copy_of_its_log_is_refused_until_it_is_pardoned(tmp_path: Path) -> None:
    """The broker refuses its link, after a restart too, and the gateway its session; each lifts that."""
    now, ports = utc_now(), free_ports(2)
    made = build_federation(
        tmp_path / "f",
        now,
        ("lapd", "sheriff"),
        broker=f"127.0.0.1:{ports[0]}",
        gateways={"sheriff": f"127.0.0.1:{ports[1]}"},
    )
    lay_out(made, now, reads=5)
    write_public(made.trust, make_trust(made.public))
    with Processes() as processes:
        start_all(processes, [end for end in wanted(made) if end[0] != "lapd gateway"], lambda line: None)
        rolled = Rolled(made, processes)
        home = rolled.homes[ADAPTER]
        until(lambda: rolled.ask() == "RESPONDED", "the first answer")
        processes.stop(ADAPTER)
        shutil.copytree(home, tmp_path / "older")
        copied = Log(ADAPTER, home)
        processes.start(*rolled.configs[ADAPTER])
        for _ in range(4):
            until(lambda: rolled.ask() == "RESPONDED", "more answers")
        until(lambda: min(map(rolled.seen, (BROKER, GATEWAY))) > len(copied.leaves) + 10, "what peers saw")
        assert any((home / "log/cosigned").iterdir())

        processes.stop(ADAPTER)
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "older", home)
        processes.start(*rolled.configs[ADAPTER])
        until(lambda: f"`{ORIGIN}` is refused" in rolled.printed(BROKER), "the broker refuses it")
        until(lambda: rolled.ask() == "UNREACHABLE", "nobody reaches it")
        rolled.restart(BROKER)
        until(lambda: "link refused (LOG_CONTRADICTED)" in rolled.printed(BROKER), "still, after a restart")
        until(lambda: rolled.refused(BROKER) == "log_contradicted", "it stands in the broker's log")
        (found,) = Log(BROKER, rolled.homes[BROKER]).of("contradiction")
        assert all(ORIGIN in str(found.public[name]) for name in ("note", "last_note"))
        judged = comity("audit", "verify", str(made.root), "--trust", str(made.trust))
        assert judged.returncode == 1 and f"{ORIGIN}: tail cut" in judged.stdout

        (refused,) = rolled.pardon(BROKER)["refused"]  # type: ignore[misc]
        assert (refused["origin"], refused["how"]) == (ORIGIN, "shrank")
        rolled.pardon(BROKER, ORIGIN, "--reason", "restored from its backup")
        until(lambda: rolled.ask() == "LOG_CONTRADICTED", "the gateway refuses it too")
        until(lambda: rolled.pardon(GATEWAY)["refused"], "it stands in the gateway's log")
        rolled.pardon(GATEWAY, ORIGIN, "--reason", "restored from its backup")
        until(lambda: rolled.ask() == "RESPONDED", "all speak with it again")
        assert processes.stop_all() == {ADAPTER: 0, GATEWAY: 0, BROKER: 0}
