"""What goes wrong in the audit room.

::

    AuditError
    ├── NoteInvalid            a signed note or verifier key is malformed or no known key signed it
    │   ├── CheckpointInvalid  the note is no checkpoint of the log it should be of
    │   └── KeyNotInForce      a key of the log signed what it had no say in, or not yet
    ├── ProofInvalid           an inclusion or consistency proof does not verify
    ├── TileInvalid            a tile or entry bundle is missing or malformed
    ├── EntryInvalid           an entry cannot be written, or is not in the form that entries have
    │   ├── OpeningInvalid     salt and value do not open a commitment
    │   └── BesideInvalid      a value that is stored beside the log is missing or was changed
    ├── LogUnwritable          nothing was acknowledged; the log recovers by itself once it can write
    │   └── LogClosed          the log was closed
    ├── LogDamaged             what was acknowledged is no longer there as it was: a person must look
    ├── LogKeyMismatch         the roster names other keys for the log than those at hand
    ├── LogInUse               another process has this log open
    ├── RetentionRefused       nothing is deleted: terms, clock, or another run
    ├── RecordsInvalid         records of an agency's users don't verify, or can't be made
    ├── ActRefused             an administrator's act is not taken: not their end, or not their account
    ├── PeerContradiction      a peer's checkpoint contradicts one of the same peer seen before
    ├── PeerUnproven           a peer owes a proof about its log, and it did not come in time
    ├── ReviewImpossible       a quarter's worksheet can't be made, or can't be signed off
    ├── EvidenceInvalid        evidence of an exchange cannot be made, or a folder holds none
    └── TrustInvalid           a trust file cannot be read or does not verify

No message holds the value of a private field, a salt or a key.
"""


class AuditError(Exception):
    """Root of every error of the audit room."""


class NoteInvalid(AuditError):
    """A signed note or a verifier key is malformed, or no known key signed the note."""


class CheckpointInvalid(NoteInvalid):
    """A verified note is not a checkpoint of the log that it should be of."""


class KeyNotInForce(NoteInvalid):
    """A known key of a log signed a checkpoint that another had to sign, or replaced it wrongly."""


class ProofInvalid(AuditError):
    """An inclusion or consistency proof does not verify."""


class TileInvalid(AuditError):
    """A tile or entry bundle is missing, or its bytes have not the right form."""


class EntryInvalid(AuditError):
    """An entry cannot be written, or bytes are not an entry in canonical form."""


class OpeningInvalid(EntryInvalid):
    """A salt and a value do not open the commitment that the entry holds."""


class BesideInvalid(EntryInvalid):
    """A public value that an entry names and that is stored beside the log is missing or was changed."""


class LogUnwritable(AuditError):
    """The log could not be written: nothing of this call was acknowledged.

    The next call tries anew, so the log recovers by itself once space or rights are back.
    """


class LogClosed(LogUnwritable):
    """The log was closed; nothing was written."""


class LogDamaged(AuditError):
    """Entries that were acknowledged are gone or changed; the log refuses to open or to go on."""


class LogKeyMismatch(AuditError):
    """The roster names a key for this log that is not at hand, so nobody would believe what it signs."""


class LogInUse(AuditError):
    """Another process, or another part of this one, has the log open."""


class RetentionRefused(AuditError):
    """Nothing is deleted, or the terms of retention cannot be meant; the text says why."""


class RecordsInvalid(AuditError):
    """Records of an agency's own users do not verify, are not whole, or cannot be made or read."""


class ActRefused(AuditError):
    """An administrator's act on a log is not taken from this folder or this account."""


class PeerContradiction(AuditError):
    """A peer's log shrank, forked, or is not the one that it showed or promised before: it is refused."""


class PeerUnproven(AuditError):
    """What a peer owes of its log, a proof or a checkpoint that covers a promise, did not come in time."""


class ReviewImpossible(AuditError):
    """A quarter's worksheet can't be made from what is at hand, or can't be signed off."""


class EvidenceInvalid(AuditError):
    """Evidence of an exchange cannot be made from what is at hand, or a folder holds none that is whole."""


class TrustInvalid(AuditError):
    """A trust file cannot be read, or its roster does not verify against the keys it pins."""
