"""Searching the stores that a ruling permits, and checking what they gave.

A store is another party's software as far as this end is concerned: each of its reads is checked again
(plate, period, area, effective date: Q6, Q1, MOU 3.1), and what doesn't answer the question is dropped and
counted. Stores are searched at the same time, each in threads of its own, until the deadline or until the
exchange is cancelled: then those that can be interrupted are, and what the others still give is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from comity.adapters.errors import Late
from comity.adapters.questions import Question
from comity.adapters.ruling import Ruling, Store, StoreRuling
from comity.adapters.sources.source import Source, SourceQuery, SourceResult, StoredRead
from comity.adapters.threads import StoreThreads
from comity.policy.plates import PlateInvalid, fold

_DECOY_BYTES = 5
"""Of a plate that is drawn by lot: twice as many characters, more than plates have."""

LOGGER = logging.getLogger("comity.adapters")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRead:
    """A read that answers the question, with the ruling of the store that holds it."""

    store: StoreRuling
    read: StoredRead = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the stores hold that answers the question: newest first, at most the ruling's number."""

    reads: tuple[FoundRead, ...] = field(repr=False)
    truncated: bool
    """Whether more matched."""


async def search(
    question: Question, ruling: Ruling, stores: Sequence[Store], *, seconds: float, threads: StoreThreads
) -> Found:
    """Return the reads that answer `question` in those of the stores, and the period, that `ruling` permits.

    Raises `Late` if a store isn't through after `seconds`, and `SourceError` if one failed: half an answer
    would look like a whole one.
    """
    if ruling.start is None or ruling.end is None:
        return Found(reads=(), truncated=False)
    over = threading.Event()
    query = SourceQuery(
        folded_plate=question.folded,
        state=question.state,
        country=question.country,
        start=ruling.start,
        end=ruling.end,
        limit=ruling.max_reads,
        area=question.area,
        seconds=seconds,
        over=over,
    )
    loop = asyncio.get_running_loop()
    until = time.monotonic() + seconds
    sources = {store.store_id: store.source for store in stores}
    plates = (question.folded, *question.readings)
    queries = [
        [_query_for(store, replace(query, folded_plate=plate)) for plate in plates] for store in ruling.stores
    ]
    searches = [
        loop.run_in_executor(threads.of(store.store_id), _search_each, sources[store.store_id], each, until)
        for store, each in zip(ruling.stores, queries, strict=True)
    ]
    try:
        async with asyncio.timeout(seconds):
            results = await asyncio.gather(*searches)
    except TimeoutError as error:
        raise Late from error
    finally:
        over.set()
    flat = [
        (store, each, result)
        for store, several, found in zip(ruling.stores, queries, results, strict=True)
        for each, result in zip(several, found, strict=True)
    ]
    return _merged(flat, ruling)


def _search_each(source: Source, queries: Sequence[SourceQuery], until: float) -> list[SourceResult]:
    """Search one store for each reading of the plate, one after the other, in one of its threads (Q10).

    `until` is on the monotonic clock, in seconds. Raises `Late` before a reading that nobody waits for any
    more, so that what was given up holds none of the store's threads.
    """
    results = []
    for query in queries:
        left = until - time.monotonic()
        if left <= 0 or query.over.is_set():
            raise Late
        results.append(source.search(replace(query, seconds=left)))
    return results


def _query_for(store: StoreRuling, query: SourceQuery) -> SourceQuery:
    """Return the query as this store may be asked it: no further back than its reads are given (A8).

    A decoy is asked for a plate that was drawn by lot: what it takes to find none, without a look at any read
    that the policy withholds (A1).
    """
    if store.decoy:
        query = replace(query, folded_plate=secrets.token_hex(_DECOY_BYTES).upper())
    if store.start is None or store.start <= query.start:
        return query
    return replace(query, start=store.start)


def _merged(every: Sequence[tuple[StoreRuling, SourceQuery, SourceResult]], ruling: Ruling) -> Found:
    """Return the reads of all stores that answer the query, newest first, cut to the ruling's number."""
    asked = [each for each in every if not each[0].decoy]
    found = [
        FoundRead(store=store, read=read)
        for store, query, result in asked
        for read in result.reads
        if _answers(query, read)
    ]
    dropped = sum(len(result.reads) for _, _, result in asked) - len(found)
    if dropped:
        LOGGER.warning("%d reads that a store gave did not answer the question and were dropped", dropped)
    found.sort(key=lambda item: item.read.captured_at, reverse=True)
    truncated = len(found) > ruling.max_reads or any(result.truncated for _, _, result in asked)
    return Found(reads=tuple(found[: ruling.max_reads]), truncated=truncated)


def _answers(query: SourceQuery, read: StoredRead) -> bool:
    """Return whether a read is of the plate, in the period and in the area (Q6)."""
    try:
        return fold(read.plate) == query.folded_plate and query.admits(read)
    except PlateInvalid:
        return False
