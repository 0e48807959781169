"""Errors of the provider's end.

    AdapterError
    ├── MappingInvalid         a `[[store]]` table of adapter.toml cannot be used
    └── SourceError            a store cannot be used
        ├── SourceUnavailable  it cannot be opened: not there, or not as its mapping says
        └── SourceFailed       it was open and failed while it was searched

The texts are for the agency's own log and its own operators. None of them holds a plate, a row, a
user, a case or a password, and none of them is meant for a peer.
"""


class AdapterError(Exception):
    """The root of every error that the provider's end raises."""


class MappingInvalid(AdapterError):
    """A store's mapping names something that does not exist, or leaves out what is required."""


class SourceError(AdapterError):
    """A store cannot be used."""


class SourceUnavailable(SourceError):
    """A store cannot be opened: it is not there, or it is not as its mapping says."""


class SourceFailed(SourceError):
    """A store failed while it was searched; nothing can be said of what it holds."""
