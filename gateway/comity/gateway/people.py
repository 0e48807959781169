"""This agency's own users: whose access it ended, whom it readmitted, whom a provider suspended (Q8).

Acts are files that `comity agency terminate-user` and `readmit-user` sign: `user-acts/new/*.json` in the
gateway's folder. What is new there is logged, put in force and moved to `user-acts/`, where it is found again
after a restart. Of two acts about one user the later holds. A termination that was taken once holds also if
its signature verifies no more, by a key set that has forgotten its key; a readmission doesn't.

Who was dismissed is refused here at once, and what is in flight of them is let go. Every provider with a
session is told at once, and every other before the first question of its next session. What providers say
of suspended users is logged, with their signed notice, before it is noted to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from comity.audit.entry import Entry, JsonValue, to_milliseconds
from comity.certs.claims import Claims
from comity.certs.clock import Clock
from comity.certs.envelope import digest, from_json, seal_payload
from comity.certs.errors import CertsError, EnvelopeInvalid, UserActInvalid
from comity.certs.files import read_private
from comity.certs.instants import to_instant
from comity.certs.keys import SigningKey
from comity.certs.roster import MemberView
from comity.certs.user_acts import (
    FOLDER,
    NEW,
    SuspensionNotice,
    UserAct,
    file_name,
    verify_suspension,
    verify_user_act,
)
from comity.gateway.errors import AuditUnavailable, SubjectRefused
from comity.links.errors import LinkError
from comity.links.sessions.session import Session
from comity.v1 import users_pb2
from comity.v1.envelope_pb2 import Envelope
from comity.v1.session_pb2 import SessionMessage

LOGGER = logging.getLogger("comity.gateway")

ACTS_AT_A_TIME: Final = 500
"""Acts in one message."""
ACTS_SECONDS: Final = 0.2
"""How often new acts are looked for; what is new is taken at the second look."""


class People:
    """Own users' access. Plain calls on the event loop, but for what is logged."""

    def __init__(
        self,
        *,
        agency: str,
        member: Callable[[str], MemberView | None],
        key: Callable[[], SigningKey],
        sessions: Mapping[str, Session],
        append: Callable[..., Awaitable[object]],
        beside: Callable[..., None],
        let_go: Callable[[str, SubjectRefused], None],
        clock: Clock,
    ) -> None:
        """`sessions`: the newest open one of each provider. `beside` runs a coroutine beside the exchanges.

        `let_go` ends what is in flight of a user. `append` logs durably or raises `AuditUnavailable`.
        """
        self._agency = agency
        self._member = member
        self._key = key
        self._sessions = sessions
        self._append = append
        self._beside = beside
        self._let_go = let_go
        self._clock = clock
        self._acts: dict[str, UserAct] = {}
        self._taken: dict[bytes, Path | None] = {}
        """Acts that were logged, and the file of the one before, which then goes."""
        self._sealed: dict[tuple[bytes, str], Envelope] = {}
        self._noted: set[bytes] = set()
        self._noting: set[bytes] = set()

    def require_access(self, claims: Claims) -> None:
        """Raise `SubjectRefused` if the agency ended the user's access (Q8)."""
        act = self._acts.get(claims.user)
        if act is not None and act.terminates:
            raise _ended(act)

    # -- own acts -------------------------------------------------------------------------------

    def load(self, folder: Path) -> None:
        """Take what is in force from `folder`, a gateway's `user-acts`, before anything is asked."""
        for act in _read(folder, own=self._own(), now=self._clock()).values():
            self._hold(act)
            self._taken[act.digest] = None

    async def take(self, folder: Path) -> None:
        """Log what is new in `folder`, put it in force and tell the providers.

        A file that can't be moved is told of, and stays: it is in force all the same, logged once.
        Raises `AuditUnavailable`: terminations are in force all the same.
        """
        found = await asyncio.to_thread(_read, folder / NEW, own=self._own(), now=self._clock())
        for path, act in sorted(found.items(), key=lambda item: item[1].given_at):
            known = self._acts.get(act.user)
            if known is not None and known.given_at >= act.given_at and known.digest != act.digest:
                LOGGER.warning(
                    "an act about a user is no newer than the last one: `%s` does nothing", path.name
                )
                continue
            if act.terminates:
                self._hold(act)
                self._let_go(act.user, _ended(act))
            if act.digest not in self._taken:
                await self._append(_act_entry(self._agency, act, self._clock()))
                self._taken[act.digest] = _superseded(folder, known)
                self._hold(act)
                LOGGER.info(
                    "an act about a user is in force: access %s", "ended" if act.terminates else "given back"
                )
                for session in list(self._sessions.values()):
                    self._send_acts(session, [act])
            try:
                await asyncio.to_thread(_settle, path, folder, self._taken[act.digest])
            except OSError as error:
                LOGGER.error(
                    "`%s` is in force, and stays where it is, for it can't be moved to `%s`: %s",
                    path,
                    folder,
                    error.strerror,
                )

    def _hold(self, act: UserAct) -> None:
        known = self._acts.get(act.user)
        if known is None or known.given_at <= act.given_at:
            self._acts[act.user] = act

    def _own(self) -> MemberView | None:
        return self._member(self._agency)

    def opened(self, session: Session) -> None:
        """A session is ready: before any question its provider learns what is in force."""
        self._send_acts(session, list(self._acts.values()))

    def _send_acts(self, session: Session, acts: Sequence[UserAct]) -> None:
        """Send acts under the statement key in force; what can't be sent now is sent in the next session."""
        for start in range(0, len(acts), ACTS_AT_A_TIME):
            envelopes = [self._seal(act) for act in acts[start : start + ACTS_AT_A_TIME]]
            _send(session, SessionMessage(user_acts=users_pb2.UserActDelivery(acts=envelopes)))

    def _seal(self, act: UserAct) -> Envelope:
        key = self._key()
        cached = (act.digest, key.key_id)
        if cached not in self._sealed:
            self._sealed[cached] = seal_payload(act.envelope.payload_type, act.envelope.payload, key)
        return self._sealed[cached]

    # -- what providers say ---------------------------------------------------------------------

    def noted(self, session: Session, digests: Sequence[bytes]) -> None:
        """A provider has logged acts, and they are in force there."""
        ours = {act.digest for act in self._acts.values()}
        told: list[JsonValue] = [each.hex() for each in digests if each in ours]
        if told:
            public: dict[str, JsonValue] = {"agency": self._agency, "peer": session.peer, "acts": told}
            self._beside(self._log(Entry(kind="user_act_noted", at=self._clock(), public=public)))

    def suspensions(self, session: Session, notices: Iterable[Envelope]) -> None:
        """A provider suspended users of ours."""
        member = self._member(session.peer)
        for envelope in notices:
            name = digest(envelope.payload)
            if name in self._noted:  # our word that we noted it was lost
                _note(session, name)
                continue
            if member is None or name in self._noting:
                continue
            try:
                notice = verify_suspension(envelope, member=member, agency=self._agency, now=self._clock())
            except UserActInvalid as error:
                LOGGER.warning("a provider's notice is not accepted: %s", error)
                continue
            self._noting.add(name)
            self._beside(self._keep(session, notice))

    async def _keep(self, session: Session, notice: SuspensionNotice) -> None:
        """Log a notice, then note it; one that can't be logged comes again with the next session."""
        try:
            await self._append(_suspension_entry(self._agency, notice, self._clock()))
        except AuditUnavailable:
            return
        finally:
            self._noting.discard(notice.digest)
        self._noted.add(notice.digest)
        LOGGER.warning("`%s` suspended a user: see `comity agency suspensions`", notice.provider)
        _note(session, notice.digest)

    async def _log(self, entry: Entry) -> None:
        try:
            await self._append(entry)
        except AuditUnavailable:
            LOGGER.error("`%s` was not logged", entry.kind)


def require_access_kept(home: Path, user: str, *, own: MemberView, now: datetime) -> None:
    """Raise `SubjectRefused` if the agency ended a user's access, by the acts in a gateway's folder (Q8).

    For commands beside the process; an act that it hasn't taken yet counts as well.
    """
    folders = (home / FOLDER, home / FOLDER / NEW)
    acts = [act for folder in folders for act in _read(folder, own=own, now=now).values() if act.user == user]
    last = max(acts, key=lambda act: act.given_at, default=None)
    if last is not None and last.terminates:
        raise _ended(last)


def _ended(act: UserAct) -> SubjectRefused:
    return SubjectRefused(
        f"your agency ended your access at {act.given_at:%Y-%m-%d %H:%M} UTC (Q8): only a later act of your "
        "agency gives it back"
    )


def _read(folder: Path, *, own: MemberView | None, now: datetime) -> dict[Path, UserAct]:
    """Return the acts in a folder; a file that holds none is told, and does nothing."""
    found: dict[Path, UserAct] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            envelope = from_json(read_private(path))
            found[path] = _verified(envelope, own, now)
        except CertsError as error:
            LOGGER.error("`%s` does nothing: %s", path, error)
    return found


def _verified(envelope: Envelope, own: MemberView | None, now: datetime) -> UserAct:
    """Return an act of our own; a termination counts though its key is known no more."""
    if own is None:
        raise UserActInvalid("the roster does not list this agency")
    try:
        return verify_user_act(envelope, member=own, now=now, own=True)
    except UserActInvalid:
        claimed = _claimed(envelope)
        if claimed is None or claimed.agency != own.agency:
            raise
        LOGGER.warning("an act that ended a user's access verifies no more; it stays in force")
        return claimed


def _claimed(envelope: Envelope) -> UserAct | None:
    """Return what says that it is a termination, nothing verified."""
    try:
        act = users_pb2.UserAct.FromString(envelope.payload)
        if act.kind != users_pb2.USER_ACT_KIND_TERMINATION or not act.user:
            return None
        return UserAct(
            agency=act.agency,
            user=act.user,
            terminates=True,
            given_at=to_instant(act, "given_at"),
            digest=digest(envelope.payload),
            envelope=envelope,
        )
    except (ValueError, EnvelopeInvalid):
        return None


def _superseded(folder: Path, known: UserAct | None) -> Path | None:
    """Return the file of an act that a newer one takes the place of."""
    return None if known is None else folder / file_name(known.digest)


def _settle(path: Path, folder: Path, superseded: Path | None) -> None:
    """Move a new act among those in force, and take away the one before it."""
    target = folder / path.name
    path.replace(target)
    if superseded is not None and superseded != target:
        superseded.unlink(missing_ok=True)


def _act_entry(agency: str, act: UserAct, at: datetime) -> Entry:
    """Return the entry of an act of our own (Q8)."""
    public: dict[str, JsonValue] = {
        "agency": agency,
        "act": act.digest.hex(),
        "given": to_milliseconds(act.given_at),
    }
    if act.recertified_at is not None:
        public["recertified"] = to_milliseconds(act.recertified_at)
    return Entry(
        kind="user_terminated" if act.terminates else "user_readmitted",
        at=at,
        public=public,
        private={"user": act.user},
        attachments={"act": act.envelope.SerializeToString()},
    )


def _suspension_entry(agency: str, notice: SuspensionNotice, at: datetime) -> Entry:
    """Return the entry of a provider's notice, which is kept beside it."""
    public: dict[str, JsonValue] = {
        "agency": agency,
        "peer": notice.provider,
        "notice": notice.digest.hex(),
        "refusals": notice.refusals,
        "since": to_milliseconds(notice.suspended_at),
        "returns": notice.returns,
    }
    if notice.ends_at is not None:
        public["until"] = to_milliseconds(notice.ends_at)
    return Entry(
        kind="user_suspended",
        at=at,
        public=public,
        private={"user": notice.user},
        attachments={"notice": notice.envelope.SerializeToString()},
    )


def _note(session: Session, name: bytes) -> None:
    _send(session, SessionMessage(noted=users_pb2.NotedDelivery(digests=[name])))


def _send(session: Session, message: SessionMessage) -> None:
    if session.is_open:
        try:
            session.send(message)
        except LinkError as error:
            LOGGER.info("what is said of users waits for the next session: %s", type(error).__name__)
