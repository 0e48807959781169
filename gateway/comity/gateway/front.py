"""The one way to this gateway's `search`, whoever calls: over gRPC, or in the same process.

Rules, in order: the caller's certificate is known; the user's assertion verifies for it; the agency has not
ended the user's access (Q8); the user is fit to ask (Q4, Q9); the question passes every check. Who is turned
down after the assertion verified is logged so.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import timedelta

from opentelemetry.trace import SpanContext, SpanKind

from comity.certs.clock import Clock
from comity.gateway.errors import GatewayError, RequestInvalid, SubjectRefused
from comity.gateway.gateway import Gateway
from comity.gateway.question import parse_question
from comity.gateway.subjects import authenticate, require_fit
from comity.gateway.telemetry import TRACING
from comity.links.errors import describe_fault
from comity.links.telemetry.facts import facts
from comity.links.telemetry.spans import failed
from comity.v1 import query_service_pb2

LOGGER = logging.getLogger("comity.gateway")


async def answer_to(
    request: query_service_pb2.SearchRequest,
    *,
    gateway: Gateway,
    clock: Clock,
    authorization: str | None,
    certificate_der: Callable[[], bytes],
    within: timedelta | None,
    parent: SpanContext | None = None,
) -> AsyncGenerator[query_service_pb2.SearchResponse, None]:
    """Ask for a user, and yield plan, outcomes with their pages, and summary.

    `authorization` is `Bearer <jwt>`; `certificate_der` gives the certificate to which that is bound, or
    raises; `within` is what is left of the caller's own deadline, if it has one; `parent` is its trace
    context. Close the generator to cancel.

    Raises `GatewayError` alone: a fault of our own is logged by its kind and place, and its text, which could
    name a person, goes nowhere.
    """
    span = TRACING.begin("search", parent=parent, kind=SpanKind.SERVER, facts=facts(requester=gateway.agency))
    try:
        now = clock()
        member = gateway.standing.own(gateway.agency)
        with TRACING.step(span, "check caller"):
            claims, assertion = authenticate(
                authorization,
                certificate_der=certificate_der(),
                member=member,
                published=gateway.published,
                now=now,
            )
        try:
            with TRACING.step(span, "check question"):
                gateway.people.require_access(claims)
                require_fit(claims, now=now)
                question = parse_question(request, now=now).within(within)
        except (SubjectRefused, RequestInvalid) as error:
            await gateway.record_turned_down(claims, error.reason.lower())
            raise
        async with aclosing(gateway.search(question, claims, assertion, span=span)) as messages:
            async for message in messages:
                yield message
    except GatewayError as error:
        failed(span, error.reason.lower())
        raise
    except Exception as fault:
        failed(span, fault)
        LOGGER.error("a search failed by a fault of this gateway: %s", describe_fault(fault))
        hidden = GatewayError("this gateway failed; its operator finds the place in its log")
    else:
        return
    finally:
        span.end()
    raise hidden
