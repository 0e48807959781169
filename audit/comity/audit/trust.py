"""The trust file: what an auditor brings along, made before there was anything to verify.

::

    {"format": "comity-trust-v1", "authority": {…}, "roster": {…}, "revocations": {…},
     "agency_revocations": [{…}, …]}

`authority` pins the governing authority's keys and threshold; `roster` is the signed roster as it was when
the file was made, and from it come the verifier keys of the logs. Trust never comes from a log itself.
Evidence outlives its documents, so the roster's expiry doesn't count here: its signatures do. `revocations`,
where there were any, is the signed list: what a key signed before it was revoked stands, and nothing after.
`agency_revocations` are the agencies' own lists, which say the same of their own keys.

In its place a C2SP tlog-policy file will do (`policy_file`): log keys without a roster, and how many
witnesses must have cosigned a checkpoint.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from comity.audit.cosignature import Cosigner
from comity.audit.errors import TrustInvalid
from comity.audit.key_history import KeyHistory
from comity.audit.note import VerifierKey
from comity.audit.policy_file import TlogPolicy, parse_policy, write_policy
from comity.certs.errors import CertsError
from comity.certs.own_lists import OWN_LIST_FILE
from comity.certs.revocations import REVOCATIONS_FILE
from comity.certs.roster import AUTHORITY_FILE, ROSTER_FILE, AuthorityPin, Federation

FORMAT = "comity-trust-v1"
_FIELDS = {"format", "authority", "roster"}
_REVOCATIONS = "revocations"
_OWN_LISTS = "agency_revocations"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLog:
    """A log that the roster names: whose it is and the keys that may sign its checkpoints."""

    origin: str
    agency: str
    end: str
    """`gateway`, `adapter` or `broker`."""
    keys: tuple[VerifierKey, ...]
    """The oldest first, if it is a roster that names them."""
    last_sizes: tuple[int, ...] = ()
    """Of the first keys: the size of the largest checkpoint that each signs alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The logs of a verified roster, by origin; or those of a policy file."""

    federation: str
    """The federation's name; empty for a policy file, which names none."""
    roster_version: int
    logs: Mapping[str, TrustedLog]
    policy: TlogPolicy | None = None
    """The policy file, whose quorum of witnesses each checkpoint needs."""
    roster: Federation | None = None
    """The roster itself, whose statement keys verify envelopes; a policy file has none."""

    def keys(self, origin: str) -> tuple[VerifierKey, ...]:
        """Return the keys that may sign checkpoints of a log; none if the roster doesn't name it."""
        log = self.logs.get(origin)
        return log.keys if log else ()

    def history(self, origin: str) -> KeyHistory:
        """Return which of these keys sign which checkpoints, as far as the trust file tells."""
        log = self.logs.get(origin)
        return KeyHistory(
            origin=origin,
            keys=log.keys if log else (),
            last_sizes=log.last_sizes if log else (),
            is_ordered=self.policy is None,
        )

    @classmethod
    def load(cls, path: Path) -> "Trust":
        """Read a trust file. Raises `TrustInvalid`."""
        try:
            data = path.read_bytes()
        except OSError as problem:
            words = (problem.strerror or "unreadable").lower()
            raise TrustInvalid(f"trust file `{path}`: {words}") from problem
        return cls.parse(data, name=f"trust file `{path}`")

    @classmethod
    def parse(cls, data: bytes, *, name: str = "trust file") -> "Trust":
        """Read a trust file's bytes and verify its roster against its pin; or read a policy file's.

        Raises `TrustInvalid`; its text begins with `name`.
        """
        if not data.lstrip().startswith(b"{"):
            words = f"{name}: it is not JSON, and as a policy file"
            return cls._of_policy(parse_policy(data, name=words), name=name)
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as problem:
            raise TrustInvalid(f"{name}: it is not JSON") from problem
        if (
            not isinstance(document, dict)
            or document.get("format") != FORMAT
            or (document.keys() - {_REVOCATIONS, _OWN_LISTS} != _FIELDS)
            or not isinstance(document.get(_OWN_LISTS, []), list)
        ):
            raise TrustInvalid(
                f"{name}: an object with `format` `{FORMAT}`, `authority` and `roster` is right"
            )
        try:
            pin = AuthorityPin.from_json(json.dumps(document["authority"]).encode())
            revoked = document.get(_REVOCATIONS)
            federation = Federation.for_evidence(
                roster=json.dumps(document["roster"]).encode(),
                pin=pin,
                revocations=None if revoked is None else json.dumps(revoked).encode(),
                own_lists=[json.dumps(one).encode() for one in document.get(_OWN_LISTS, [])],
            )
        except CertsError as problem:
            raise TrustInvalid(f"{name}: {problem}") from problem
        return cls(
            federation=federation.name,
            roster_version=federation.version,
            logs=_logs(federation),
            roster=federation,
        )

    @classmethod
    def _of_policy(cls, policy: TlogPolicy, *, name: str) -> "Trust":
        if not policy.logs:
            raise TrustInvalid(f"{name}: it names no log, so no log could be verified with it")
        logs: dict[str, TrustedLog] = {}
        for key in policy.logs:
            domain, _, end = key.name.rpartition("/")
            earlier = logs[key.name].keys if key.name in logs else ()
            logs[key.name] = TrustedLog(
                origin=key.name, agency=domain.partition(".")[0], end=end, keys=(*earlier, key)
            )
        return cls(federation="", roster_version=0, logs=logs, policy=policy)


def make_trust(public: Path) -> bytes:
    """Return a trust file with the pin and the roster of a published folder, both verified.

    And with what its lists of revocations say. The folder must have come by a way that one trusts: what it
    pins is what the file will pin. Raises `TrustInvalid`, also for a list that breaks a rule.
    """
    try:
        authority = json.loads((public / AUTHORITY_FILE).read_bytes())
        roster = json.loads((public / ROSTER_FILE).read_bytes())
        listed = public / REVOCATIONS_FILE
        revoked = json.loads(listed.read_bytes()) if listed.exists() else None
        document = {"format": FORMAT, "authority": authority, "roster": roster}
        if revoked is not None:
            document[_REVOCATIONS] = revoked
        trust = Trust.parse(json.dumps(document).encode())
        members = () if trust.roster is None else sorted(trust.roster.members)
        # Not whatever is there: the list of an agency that is a member no more would spoil all.
        paths = [public / OWN_LIST_FILE.format(agency) for agency in members]
        own_lists = [json.loads(path.read_bytes()) for path in paths if path.exists()]
    except OSError as problem:
        raise TrustInvalid(f"`{problem.filename}`: {(problem.strerror or 'unreadable').lower()}") from problem
    except (ValueError, RecursionError) as problem:
        raise TrustInvalid(f"`{public}`: one of its documents is not JSON") from problem
    if own_lists:
        document[_OWN_LISTS] = own_lists
    data = json.dumps(document, indent=2).encode() + b"\n"
    Trust.parse(data)
    return data


def make_policy(trust: Trust, *, quorum: int) -> bytes:
    """Return a tlog-policy file of a roster's logs, each of which may witness the others.

    So many of them make a quorum; 0 asks for none. Raises `TrustInvalid` if there are fewer.
    """
    if not 0 <= quorum < len(trust.logs):
        right = f"0 to {len(trust.logs) - 1} is right, for no log witnesses itself"
        raise TrustInvalid(f"quorum `{quorum}`: {right}")
    witnesses: dict[str, Cosigner] = {}
    for origin in trust.logs:
        found = None if trust.roster is None else trust.roster.log_of(origin)
        if found is not None:
            witnesses[origin] = Cosigner(key=VerifierKey.parse(found[1].verifier_key))
    keys = [key for log in trust.logs.values() for key in log.keys]
    return write_policy(keys, witnesses, threshold=quorum)


def _logs(federation: Federation) -> dict[str, TrustedLog]:
    logs: dict[str, TrustedLog] = {}
    for member in (federation.operator, *federation.members.values()):
        for view in member.key_set.log_keys:
            history = KeyHistory.named(view)
            logs[view.origin] = TrustedLog(
                origin=view.origin,
                agency=member.agency,
                end=view.role,
                keys=history.keys,
                last_sizes=history.last_sizes,
            )
    return logs
