"""Everything this room raises for what the outside world can cause.

::

    CertsError
    ├── FileUnusable               a file can't be read or written
    │   └── FileExposed            a private file that others could read
    ├── KeyUnusable                not a key of the kind that is required
    ├── SignatureInvalid           the signature is not this key's over these bytes
    ├── EnvelopeInvalid            the envelope is malformed or not signed by whom it must be
    ├── CertificateRejected        a chain or leaf doesn't verify, or isn't shaped as the profile says
    └── CredentialsUnusable        an end's folder of keys is incomplete or its parts don't match

Wrong use by our own code (an empty list of keys to sign with, a naive time) is `ValueError`.
Texts are for the party's own log: a peer never sees one.
"""

from __future__ import annotations


class CertsError(Exception):
    """The root of this room's exceptions."""


class FileUnusable(CertsError):
    """A file can't be read or written; the text names the file and the reason."""


class FileExposed(FileUnusable):
    """A private file has a mode with which others could read or change it, so it is not used."""


class KeyUnusable(CertsError):
    """Bytes or a file hold no key of the kind that is required."""


class SignatureInvalid(CertsError):
    """A signature is not that key's over those bytes."""


class EnvelopeInvalid(CertsError):
    """An envelope is malformed, of another type, or not signed by enough of the keys that are trusted."""


class CertificateRejected(CertsError):
    """A certificate chain doesn't verify against its domain's CA, or a leaf isn't as the profile says."""


class CredentialsUnusable(CertsError):
    """An end's own keys and certificate are incomplete or don't belong together."""
