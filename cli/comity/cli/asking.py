"""Asking one's own gateway, as an agency system does: build the request, call, collect the answer."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from comity.certs.ends import OLD_CA_FILE
from comity.certs.errors import CertificateRejected, CertsError
from comity.certs.files import read_private, read_public
from comity.certs.x509 import split_pem
from comity.v1 import query_service_pb2, query_service_pb2_grpc, result_pb2

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_KEYS = ("gateway", "gateway_name", "leaf", "key", "ca", "agency_home")
_Detail: TypeAlias = error_details_pb2.BadRequest | error_details_pb2.ErrorInfo | result_pb2.RuleCitation
Progress = Callable[[query_service_pb2.SearchResponse], None]


class AskingFailed(Exception):
    """The question could not be asked; the text says why, in one line or one line a field.

    `exit_code` is 2 for wrong use or configuration, 1 where it ran and ended badly.
    """

    def __init__(self, text: str, *, exit_code: int, rules: tuple[result_pb2.RuleCitation, ...] = ()) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.rules = rules
        """The agency's own house rules that stop the question, if that is why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An agency system's own settings, from `client.toml`: gateway, certificate, key, CA."""

    gateway: str
    gateway_name: str
    leaf: bytes
    key: bytes = field(repr=False)
    ca: bytes
    """PEM; two while the agency replaces its CA."""
    leaf_path: Path
    agency_home: Path | None


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came back: plan, outcomes in the order in which they came, their pages, and the summary."""

    plan: query_service_pb2.Plan | None = None
    outcomes: list[query_service_pb2.ProviderOutcome] = field(default_factory=list)
    pages: list[query_service_pb2.ProviderPage] = field(default_factory=list)
    summary: query_service_pb2.Summary | None = None
    problem: str = ""
    problem_reason: str = ""

    def withdraw(self, agency: str) -> None:
        """Forget what came of one provider: another outcome takes its place."""
        self.outcomes = [item for item in self.outcomes if item.agency != agency]
        self.pages = [page for page in self.pages if page.agency != agency]

    def outcome(self, agency: str) -> query_service_pb2.ProviderOutcome | None:
        """Return one provider's outcome, if it was asked."""
        return next((item for item in self.outcomes if item.agency == agency), None)


def load_client(path: Path) -> Client:
    """Return the settings in `path`; raises `AskingFailed` with one line that names file and key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AskingFailed(f"client file `{path}`: cannot be read: {error.strerror}", exit_code=2) from error
    except ValueError as error:  # no UTF-8 is one as well
        raise AskingFailed(f"client file `{path}`: is not TOML: {error}", exit_code=2) from error
    for key in ("gateway", "gateway_name", "leaf", "key", "ca"):
        if not isinstance(table.get(key), str):
            raise AskingFailed(f"client file `{path}`: key `{key}` is missing or no text", exit_code=2)
    for key in table:
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(_KEYS)}"
            raise AskingFailed(f"client file `{path}`: unknown key `{key}`; {hint}", exit_code=2)
    host, _, port = str(table["gateway"]).rpartition(":")
    if not host or not port.isdecimal():
        raise AskingFailed(f"client file `{path}`: key `gateway` is not HOST:PORT", exit_code=2)
    home = path.resolve().parent
    agency_home = table.get("agency_home")
    try:
        leaf, leaf_key = _pair(home / table["leaf"], home / table["key"])
        split_pem(leaf)
        return Client(
            gateway=table["gateway"],
            gateway_name=table["gateway_name"],
            leaf=leaf,
            key=leaf_key,
            ca=_trusted(home / table["ca"]),
            leaf_path=home / table["leaf"],
            agency_home=(home / agency_home).resolve() if isinstance(agency_home, str) else None,
        )
    except CertificateRejected as error:
        raise AskingFailed(f"client file `{path}`: key `leaf`: {error}", exit_code=2) from error
    except CertsError as error:
        raise AskingFailed(f"client file `{path}`: {error}", exit_code=2) from error


def _pair(leaf: Path, key: Path) -> tuple[bytes, bytes]:
    """Return chain and key of one moment: they may be replaced while they are read."""
    found = read_public(leaf)
    while True:
        private, again = read_private(key), read_public(leaf)
        if again == found:
            return found, private
        found = again


def _trusted(ca: Path) -> bytes:
    """Return the CAs by which the gateway is known: while one gives way to another, both."""
    before = ca.with_name(OLD_CA_FILE)
    return read_public(ca) + (read_public(before) if before.exists() else b"")


def ask(
    client: Client,
    assertion: str,
    request: query_service_pb2.SearchRequest,
    *,
    patience_seconds: float = 90.0,
    progress: Progress | None = None,
) -> Answer:
    """Return the whole answer; `progress` sees each message as it comes.

    An answer that ends with an error status keeps what came, with `problem` set. Raises `AskingFailed`
    where nothing came: fields are wrong, the user may not ask, or the gateway does not answer.
    """
    if not assertion.isascii() or not assertion.isprintable() or " " in assertion:
        raise AskingFailed("the assertion is not a compact JWT on one line", exit_code=2)
    answer = Answer()
    credentials = grpc.ssl_channel_credentials(client.ca, client.key, client.leaf)
    options = [
        ("grpc.ssl_target_name_override", client.gateway_name),
        ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ]
    with grpc.secure_channel(client.gateway, credentials, options) as channel:
        stub = query_service_pb2_grpc.QueryServiceStub(channel)
        call = stub.Search(
            request, metadata=(("authorization", f"Bearer {assertion}"),), timeout=patience_seconds
        )
        try:
            for message in call:
                _collect(answer, message)
                if progress:
                    progress(message)
        except grpc.RpcError as error:
            _ended_badly(client, answer, error)
    return answer


def _collect(answer: Answer, message: query_service_pb2.SearchResponse) -> None:
    match message.WhichOneof("part"):
        case "plan":
            answer.plan = message.plan
        case "outcome":
            if answer.outcome(message.outcome.agency) is not None:  # revoked while it was shown
                answer.withdraw(message.outcome.agency)
            answer.outcomes.append(message.outcome)
        case "page":
            answer.pages.append(message.page)
        case "summary":
            answer.summary = message.summary
        case _:
            pass


def _ended_badly(client: Client, answer: Answer, error: grpc.RpcError) -> None:
    """Keep what came of an answer that ended with an error status, or raise what `explain` says."""
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    details = list(_details(() if status is None else status.details))
    reason = next((item.reason for item in details if isinstance(item, error_details_pb2.ErrorInfo)), "")
    if reason and status is not None and answer.summary is not None:
        answer.problem, answer.problem_reason = status.message, reason
        return
    raise explain(client, error, began=answer.plan is not None) from error


def explain(client: Client, error: grpc.RpcError, *, began: bool) -> AskingFailed:
    """Return why a call of one's own gateway failed, in words; `began`: something had come of it."""
    status = rpc_status.from_call(error) if isinstance(error, grpc.Call) else None
    details: list[_Detail] = list(_details(status.details)) if status is not None else []
    reason = next((item.reason for item in details if isinstance(item, error_details_pb2.ErrorInfo)), "")
    if status is None or not reason:
        if began:
            return AskingFailed(f"the gateway ended the answer early: {_code(error)}", exit_code=1)
        return AskingFailed(
            f"the gateway at `{client.gateway}` does not answer as `{client.gateway_name}` ({_code(error)}): "
            "is it running, and do `gateway`, `gateway_name` and `ca` in the client file fit it?",
            exit_code=2,
        )
    lines = [status.message]
    for item in details:
        if isinstance(item, error_details_pb2.BadRequest):
            lines.extend(
                f"  {violation.field}: {violation.description}" for violation in item.field_violations
            )
    rules = tuple(item for item in details if isinstance(item, result_pb2.RuleCitation))
    if rules:
        lines = ["your agency's house rules stop this question, so nobody was asked:"]
        lines += [f"  {_cited(rule)}" for rule in rules]
    wrong_use = {"REQUEST_INVALID", "ASSERTION_INVALID"}
    return AskingFailed("\n".join(lines), exit_code=2 if reason in wrong_use else 1, rules=rules)


def _cited(rule: result_pb2.RuleCitation) -> str:
    rules = " ".join(rule.rules)
    return f"{rule.policy_id}: {rule.text} ({f'{rules}; ' if rules else ''}{rule.document})"


def _details(packed: object) -> Iterator[_Detail]:
    for item in packed:  # type: ignore[attr-defined]
        for kind in (error_details_pb2.BadRequest, error_details_pb2.ErrorInfo, result_pb2.RuleCitation):
            if item.Is(kind.DESCRIPTOR):
                message: _Detail = kind()
                item.Unpack(message)
                yield message


def _code(error: grpc.RpcError) -> str:
    code = getattr(error, "code", None)
    return code().name.lower() if callable(code) else "unknown"
