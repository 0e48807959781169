"""Asking from Python without a gateway process: this process is the agency's gateway while the block is open.

The same object stands behind the gRPC server (`comity.gateway.end`), so every safeguard is the same: the
user's assertion verifies, `asked` is durable before anything leaves, results are verified, `delivered` is
durable before a read is returned, and everyone is accounted for.

**What binds an assertion here.** At the gRPC front the assertion names the certificate of the agency system
that calls (RFC 8705), and TLS proves that the caller holds its key. Here nobody calls over a wire: who asks
holds the gateway's own key, and proves that to the broker and to every provider. So an assertion must name
the gateway's own leaf (`Requester.certificate`). One that was made for another system of the agency is
refused here, and one made for here is refused at every gRPC front: stolen, neither is worth anything without
the private key that it names.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Self

from opentelemetry import trace

from comity.certs.clock import Clock, utc_now
from comity.gateway.config import GatewayConfig, load_config
from comity.gateway.end import GatewayEnd
from comity.gateway.errors import BrokerUnavailable, RequesterClosed, Shortfall
from comity.gateway.front import answer_to
from comity.gateway.library.answers import Answer, AnswerBuilder, Part
from comity.gateway.library.questions import Question

CONFIGURATION_FILE = "gateway.toml"
PATIENCE = timedelta(seconds=10)
"""How long opening waits for the link to the broker unless told otherwise."""


class Requester:
    """An agency's gateway in this process; made by `open`, used on the event loop that opened it."""

    def __init__(self, end: GatewayEnd) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, home: GatewayConfig | Path | str, *, patience: timedelta = PATIENCE, clock: Clock = utc_now
    ) -> AsyncIterator[Self]:
        """Open the gateway whose folder is `home`, as `async with Requester.open(home) as requester`.

        `home` is the folder that holds `gateway.toml`, that file, or a configuration that was loaded; its
        `listen` is not used. Loads keys, roster, agreements and log, logs `started`, dials the broker, and
        follows what is published. Leaving the block hangs up, logs `stopped`, and lets go of the log;
        searches that are still open end with an error, so leave it after the last answer.

        Raises `ConfigInvalid` when the configuration or what it names cannot be used; `HomeInUse` while
        another gateway, for example `comity gateway serve`, has this home open; `AuditUnavailable` if the
        log cannot be written; `BrokerUnavailable` if there is no link to the broker within `patience`. With
        a `patience` of zero a link is not waited for, and asking raises that until there is one.
        """
        config = home if isinstance(home, GatewayConfig) else load_config(_configuration(Path(home)))
        async with GatewayEnd.open(config, clock=clock) as end, end.running():
            if patience:
                await _linked(end, patience)
            requester = cls(end)
            try:
                yield requester
            finally:
                requester._is_open = False

    @property
    def agency(self) -> str:
        """The agency that asks."""
        return self._end.config.agency

    @property
    def certificate(self) -> bytes:
        """The certificate that assertions must name, DER: the leaf of this gateway."""
        return self._end.credentials.leaf_der

    @property
    def is_linked(self) -> bool:
        """Whether there is a link to the broker now; a lost one is dialled again by itself."""
        return self._end.gateway.link_up.is_set()

    async def ask(self, question: Question, *, assertion: str) -> Answer:
        """Ask for a user, wait for everyone, and return the whole answer.

        `assertion` is a JWT of the agency's identity provider, at most ten minutes long, that names
        `certificate`; it may serve many questions. Raises what `search` raises. Cancel the task, or put it
        under `asyncio.timeout`, to cancel: whoever works on the question is told to stop, and it is logged.
        """
        answer = None
        async with contextlib.aclosing(self.search(question, assertion=assertion)) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    answer = part
        assert answer is not None, "a search without an error ends with the whole answer"
        return answer

    async def search(self, question: Question, *, assertion: str) -> AsyncGenerator[Part, None]:
        """Ask for a user, and yield a `Plan`, each `Outcome` as it comes, and last the whole `Answer`.

        What is wrong with an answer is raised after the `Answer` came, and carries it as `answer`. Close the
        generator (`contextlib.aclosing`) when you leave it early: that cancels what is not answered yet.

        Raises `Unauthenticated` for an assertion that does not verify, `SubjectRefused` for a user who may
        not ask (Q4), `RequestInvalid` for a question that may not be asked, `RosterOutOfDate`, `NotAMember`,
        `KeyRevoked`, `Busy`, `AuditUnavailable`, `BrokerUnavailable`; with the answer `NobodyToAsk`,
        `NobodyAnswered`, `Incomplete`; and `RequesterClosed` after the block was left.
        """
        self._require_open()
        builder, answer = AnswerBuilder(), None
        answers = answer_to(
            question.to_request(),
            gateway=self._end.gateway,
            clock=self._end.clock,
            authorization=f"Bearer {assertion}",
            certificate_der=lambda: self.certificate,
            within=None,
            parent=trace.get_current_span().get_span_context(),
        )
        try:
            async with contextlib.aclosing(answers) as messages:
                async for message in messages:
                    for part in builder.take(message):
                        if isinstance(part, Answer):
                            answer = part
                        yield part
        except Shortfall as error:
            error.answer = answer
            raise

    def _require_open(self) -> None:
        if not self._is_open:
            raise RequesterClosed("this requester was closed: ask within its block")
        if self._end.has_failed:
            raise RequesterClosed(
                "this requester failed, and leaving its block tells of what: open a new one"
            )
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "a requester is used on the event loop that opened it; see `connect` for threads"
            )


def _configuration(home: Path) -> Path:
    return home / CONFIGURATION_FILE if home.is_dir() else home


async def _linked(end: GatewayEnd, patience: timedelta) -> None:
    try:
        async with asyncio.timeout(patience.total_seconds()):
            await end.gateway.link_up.wait()
    except TimeoutError as error:
        raise BrokerUnavailable(
            f"no link to the broker at `{end.config.broker}` within {patience.total_seconds():g} seconds: "
            "does it run, and does its roster list this agency?"
        ) from error
