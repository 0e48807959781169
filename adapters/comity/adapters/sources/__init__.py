"""Stores of reads: any agency's own database or file, by its own names.

`load_stores` or `parse_stores` reads the mappings of an adapter.toml, `open_source` opens one, and
what comes out is a `Source`: asked for one plate in one period, it answers with `StoredRead`s.
"""

from comity.adapters.sources.csv import CsvSource
from comity.adapters.sources.mapping import CsvPlace, SqlPlace, StoreMapping, load_stores, parse_stores
from comity.adapters.sources.source import (
    Progress,
    SearchArea,
    Source,
    SourceDescription,
    SourceQuery,
    SourceResult,
    StoredImage,
    StoredRead,
    Survey,
)
from comity.adapters.sources.sql import SqlSource

__all__ = [
    "CsvPlace",
    "CsvSource",
    "Progress",
    "SearchArea",
    "Source",
    "SourceDescription",
    "SourceQuery",
    "SourceResult",
    "SqlPlace",
    "SqlSource",
    "StoreMapping",
    "StoredImage",
    "StoredRead",
    "Survey",
    "load_stores",
    "open_source",
    "parse_stores",
]


def open_source(mapping: StoreMapping, progress: Progress | None = None) -> Source:
    """Open the store that a mapping describes; a file is read whole, and tells its progress.

    Raises:
        SourceUnavailable: It is not there, or not as its mapping says; the message says which store,
            what is wrong and what would be right.
    """
    if isinstance(mapping.place, CsvPlace):
        return CsvSource(mapping, progress)
    return SqlSource(mapping)
