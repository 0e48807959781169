"""Reads become pages, and pages become one root that the receipt signs.

A page is up to 100 reads with a nonce of its own: one read a message costs fifteen to thirty times as
much (design 9). The root stands over the result's detail and then every page, so a receipt tells neither
how many pages there are nor, because of the nonces, whether two answers are the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from comity.audit import merkle
from comity.v1.result_pb2 import Marking, Page, Read

READS_A_PAGE: Final = 100
"""Most reads of a page; the contract allows 200."""

PAGE_BYTES: Final = 256 * 1024
"""A page is closed when it holds so much, whatever the number of its reads."""

NONCE_BYTES: Final = 16


def split(
    reads: Iterable[Read],
    *,
    exchange_id: bytes,
    combine: Callable[[Sequence[Marking]], Marking],
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[tuple[bytes, ...], Marking | None]:
    """Return the serialized pages of `reads`, in order, and the marking of them all.

    `combine` gives a marking at least as strict as each that it is given (A4). Without reads there are no
    pages and no marking.
    """
    pages: list[bytes] = []
    marks: list[Marking] = []
    for index, group in enumerate(_groups(reads)):
        marking = combine(_distinct(read.marking for read in group))
        page = Page(
            nonce=random(NONCE_BYTES), exchange_id=exchange_id, index=index, reads=group, marking=marking
        )
        pages.append(page.SerializeToString())
        marks.append(marking)
    return tuple(pages), combine(_distinct(marks)) if marks else None


def content_root(detail: bytes, pages: Sequence[bytes]) -> bytes:
    """Return the RFC 6962 root over the serialized detail and the pages, 32 bytes."""
    return merkle.root([merkle.leaf_hash(detail), *map(merkle.leaf_hash, pages)])


def _groups(reads: Iterable[Read]) -> Iterator[list[Read]]:
    """Yield the reads in lists that fit a page; a read that is larger than a page stands alone."""
    group: list[Read] = []
    size = 0
    for read in reads:
        length = read.ByteSize()
        if group and (len(group) == READS_A_PAGE or size + length > PAGE_BYTES):
            yield group
            group, size = [], 0
        group.append(read)
        size += length
    if group:
        yield group


def _distinct(markings: Iterable[Marking]) -> list[Marking]:
    """Return each different marking once: a page of a hundred reads has one or two."""
    found: dict[bytes, Marking] = {}
    for marking in markings:
        found.setdefault(marking.SerializeToString(deterministic=True), marking)
    return list(found.values())
