"""Trust as a C2SP tlog-policy file: logs, witnesses, and how many of these must have cosigned.

::

    log lapd.example/adapter+1f2e3d4c+AQ…
    witness broker operator.example/broker+0a1b2c3d+BA…
    witness sheriff sheriff.example/gateway+…+BA…
    group peers any broker sheriff
    quorum peers

The file is what `comity audit verify --trust` takes beside Comity's own trust file: for whoever already keeps
one, or pins log keys without a roster.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from comity.audit.cosignature import Cosigner
from comity.audit.errors import NoteInvalid, TrustInvalid
from comity.audit.note import VerifierKey

NONE = "none"
"""The predefined name of the quorum that asks for no cosignature."""
MAX_LINES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group of witnesses and groups; it has witnessed what `threshold` of its members have."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogPolicy:
    """What a policy file says."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, Cosigner]
    groups: Mapping[str, Group]
    quorum: str

    def is_met(self, cosigned_by: Collection[str]) -> bool:
        """Return whether cosignatures of these witnesses (by their names in the file) are a quorum."""
        return self.quorum == NONE or self._has(self.quorum, frozenset(cosigned_by))

    def _has(self, name: str, cosigned_by: frozenset[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned_by
        return sum(self._has(member, cosigned_by) for member in group.members) >= group.threshold


def parse_policy(data: bytes, *, name: str = "policy file") -> TlogPolicy:
    """Read a policy file. Raises `TrustInvalid`, whose text begins with `name` and tells the line."""
    reading = _Reading()
    if any((byte < 0x20 and byte not in (0x09, 0x0A)) or byte == 0x7F for byte in data):
        raise TrustInvalid(f"{name}: it holds control characters other than tab and newline")
    lines = data.split(b"\n")
    if len(lines) > MAX_LINES:
        raise TrustInvalid(f"{name}: more than {MAX_LINES} lines")
    for number, raw in enumerate(lines, 1):
        line = raw.strip(b" \t")
        if not line or line.startswith(b"#"):
            continue
        words = [word.decode("utf-8", "surrogateescape") for word in line.replace(b"\t", b" ").split(b" ")]
        try:
            reading.take([word for word in words if word])
        except (_Fault, NoteInvalid) as problem:
            shown = str(problem).encode("utf-8", "backslashreplace").decode()
            raise TrustInvalid(f"{name}, line {number}: {shown}") from problem
    if reading.quorum is None:
        raise TrustInvalid(f"{name}: the line `quorum <name>` is missing; `quorum none` asks for no witness")
    return TlogPolicy(
        logs=tuple(reading.logs),
        witnesses=reading.witnesses,
        groups=reading.groups,
        quorum=reading.quorum,
    )


def write_policy(
    logs: Collection[VerifierKey], witnesses: Mapping[str, Cosigner], *, threshold: int = 1
) -> bytes:
    """Return a policy file in which `threshold` of these witnesses make a quorum; 0 asks for none."""
    lines = [f"log {key.line}" for key in logs]
    lines += [f"witness {name} {cosigner.line}" for name, cosigner in witnesses.items()]
    if threshold and witnesses:
        lines += [f"group peers {threshold} {' '.join(witnesses)}", "quorum peers"]
    else:
        lines.append(f"quorum {NONE}")
    return ("\n".join(lines) + "\n").encode()


class _Fault(Exception):
    """What is wrong with one line."""


@dataclass(slots=True)
class _Reading:
    """A policy file as far as it was read."""

    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, Cosigner] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)
    quorum: str | None = None

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", line] | ["log", line, _]:
                key = VerifierKey.parse(line)
                if any(key.public_key == other.public_key for other in self.logs):
                    raise _Fault(f"log `{key.name}`: its key stands in a line before")
                self.logs.append(key)
            case ["witness", name, line] | ["witness", name, line, _]:
                cosigner = Cosigner.parse(line)
                others = self.witnesses.values()
                if any(cosigner.key.public_key == other.key.public_key for other in others):
                    raise _Fault(f"witness `{name}`: its key stands in a line before")
                self._define(name)
                self.witnesses[name] = cosigner
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                if self.quorum is not None:
                    raise _Fault("a second `quorum`")
                if name != NONE and name not in self.witnesses and name not in self.groups:
                    raise _Fault(f"quorum `{name}`: no line before defines it")
                self.quorum = name
            case [word, *_]:
                raise _Fault(f"`{word}` with {len(words) - 1} values; log, witness, group or quorum is right")

    def _define(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise _Fault(f"the name `{name}` is taken")

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._define(name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise _Fault(f"group `{name}`: no line before defines `{member}`")
            if member in self.grouped:
                raise _Fault(f"group `{name}`: `{member}` is a member of a group already")
            self.grouped.add(member)
        match threshold:
            case "all":
                number = len(members)
            case "any":
                number = 1
            case _:
                number = int(threshold) if threshold.isascii() and threshold.isdecimal() else 0
        if not 1 <= number <= len(members):
            raise _Fault(f"group `{name}`: `all`, `any` or 1 to {len(members)} is right")
        self.groups[name] = Group(threshold=number, members=tuple(members))
