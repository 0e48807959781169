"""Everything this room raises for what the outside world can cause.

::

    CertsError
    ├── FileUnusable               a file can't be read or written
    │   └── FileExposed            a private file that others could read
    ├── KeyUnusable                not a key of the kind that is required
    ├── SignatureInvalid           the signature is not this key's over these bytes
    ├── EnvelopeInvalid            the envelope is malformed or not signed by whom it must be
    ├── CertificateRejected        a chain or leaf doesn't verify, or isn't shaped as the profile says
    │   └── CertificateRevoked     a certificate, its key or its agency is revoked
    ├── CredentialsUnusable        an end's folder of keys is incomplete or its parts don't match
    ├── DocumentInvalid            a signed document of the federation isn't what it must be
    │   ├── RosterInvalid          pin, roster, timestamp or a member's key set
    │   │   └── RosterExpired      roster or timestamp is past its time
    │   ├── ApplicationInvalid     an application for membership
    │   ├── AgreementInvalid       an agreement
    │   ├── LodgementInvalid       a ceiling lodged with the broker
    │   ├── SuccessionInvalid      a succession of identity keys, or the other party's acceptance
    │   └── UserActInvalid         an agency's act about its user, or a provider's notice of one
    ├── UnknownMember              the roster has no such agency
    ├── UnknownLog                 a key set has no such log key
    ├── AssertionInvalid           a subject assertion doesn't verify
    ├── JwksUnavailable            an identity provider's JWK set can't be fetched
    └── SetupRefused               a folder can't be set up as asked

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


class CertificateRevoked(CertificateRejected):
    """The governing authority's list names the certificate, its key or its agency as revoked."""


class CredentialsUnusable(CertsError):
    """An end's own keys and certificate are incomplete or don't belong together."""


class DocumentInvalid(CertsError):
    """A signed document of the federation is malformed, or not signed by whom it must be."""


class RosterInvalid(DocumentInvalid):
    """The pin, the roster, its timestamp or a member's key set breaks a rule of `comity.certs.roster`."""


class RosterExpired(RosterInvalid):
    """The roster or its timestamp is past its time; `comity federation refresh` signs a new one."""


class ApplicationInvalid(DocumentInvalid):
    """An application for membership doesn't verify, or can't be admitted beside the other members."""


class AgreementInvalid(DocumentInvalid):
    """An agreement isn't signed by both parties with the keys it pins, or its terms make no sense."""


class UserActInvalid(DocumentInvalid):
    """An act or notice about a user isn't signed by whom it must be, or contradicts itself. Names nobody."""


class LodgementInvalid(DocumentInvalid):
    """A lodged ceiling isn't signed by its provider, or doesn't name two members."""


class SuccessionInvalid(DocumentInvalid):
    """A succession isn't signed by both keys or doesn't fit its chain; an acceptance isn't the other's."""


class UnknownMember(CertsError):
    """The roster has no such agency, domain or issuer."""


class UnknownLog(CertsError):
    """A key set holds no log key of that role or origin."""


class AssertionInvalid(CertsError):
    """A subject assertion doesn't verify; the text names the claim or header, never its value."""


class JwksUnavailable(CertsError):
    """An identity provider's JWK set can't be fetched from where it should be; names the place and why."""


class SetupRefused(CertsError):
    """A folder can't be set up: something stands there already, or a value asked for isn't acceptable."""
