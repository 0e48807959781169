"""What an adapter stands on, read from the folders that its configuration names, and read again.

At the start everything must be good, and the text of what isn't names file and key. While the process
runs, what changed in these folders is taken into force as a whole, or not at all: a roster, an agreement
or a policy bundle that doesn't verify leaves the old one in force, and the log of the process says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

from comity.adapters.config import AdapterConfig
from comity.adapters.errors import ConfigInvalid, SourceUnavailable
from comity.adapters.path import Standing
from comity.adapters.ruling import Store
from comity.adapters.sources import open_source
from comity.audit.errors import AuditError
from comity.audit.note import LogKey
from comity.certs.agreements import AgreementBook
from comity.certs.clock import Clock
from comity.certs.credentials import EndCredentials, load_end
from comity.certs.errors import CertsError
from comity.certs.roster import AUTHORITY_FILE, AuthorityPin, Federation, MemberView
from comity.policy.bundle import PolicyBundle
from comity.policy.decision import PolicyEngine
from comity.policy.errors import PolicyError
from comity.policy.facts import StoreFacts

LOGGER = logging.getLogger("comity.adapters")

ROLE: Final = "adapter"

Mark = tuple[tuple[str, int, int], ...]


def load_standing(config: AdapterConfig, *, clock: Clock) -> Standing:
    """Return everything that is in force at the start; raise `ConfigInvalid` if any of it can't be used."""
    try:
        pin = AuthorityPin.load(config.public / AUTHORITY_FILE)
        federation = Federation.load(config.public, now=clock(), pin=pin)
    except CertsError as error:
        raise ConfigInvalid(f"key `public`: {error}") from error
    member = federation.members.get(config.agency)
    if member is None:
        raise ConfigInvalid(f"key `agency`: the roster has no agency `{config.agency}`")
    if not member.provides:
        raise ConfigInvalid(f"key `agency`: the roster does not list `{config.agency}` as a provider")
    return Standing(
        agency=config.agency,
        federation=federation,
        agreements=_agreements(config, federation),
        engine=PolicyEngine(_bundle(config)),
        stores=tuple(_stores(config)),
    )


def load_credentials(
    config: AdapterConfig, member: MemberView, *, clock: Clock
) -> tuple[EndCredentials, LogKey]:
    """Return this end's own keys; raise `ConfigInvalid` if nobody would believe them."""
    origin = f"{member.domain}/{ROLE}"
    try:
        credentials = load_end(config.home)
        log_key = LogKey.load(credentials.log_key, origin)
        named = member.key_set.log_key(ROLE)
    except (CertsError, AuditError) as error:
        raise ConfigInvalid(str(error)) from error
    if credentials.spiffe_id != member.spiffe_id(ROLE):
        raise ConfigInvalid(
            f"`keys/leaf.pem` names `{credentials.spiffe_id}`, the roster expects `{member.spiffe_id(ROLE)}`"
        )
    if credentials.not_after <= clock():
        raise ConfigInvalid(f"`keys/leaf.pem` expired at {credentials.not_after:%Y-%m-%d %H:%M} UTC")
    if credentials.statement.public not in member.key_set.statement_keys_at(clock()):
        raise ConfigInvalid(f"`keys/statement.key` is none that the roster names for `{member.agency}` now")
    if named.verifier_key != log_key.verifier_key:
        raise ConfigInvalid(f"`keys/log.key` is not the one that the roster names for `{member.agency}`")
    return credentials, log_key


class StandingWatch:
    """Looks whether the folders changed, and loads what did. The authority's pin is read once and stays.

    A folder that is being written can hold half a policy that is valid and forbids less, so only folders at
    rest count: alike at two looks. What was not taken into force stays a change.
    """

    def __init__(self, config: AdapterConfig, *, clock: Clock) -> None:
        """Raise `ConfigInvalid` if the pin can't be read."""
        self._config = config
        self._clock = clock
        self._taken = self._seen = self._look()
        try:
            self._pin = AuthorityPin.load(config.public / AUTHORITY_FILE)
        except CertsError as error:
            raise ConfigInvalid(f"key `public`: {error}") from error

    def changed(self) -> bool:
        """Return whether any file is another than those taken last, and none changed since last asked."""
        before, self._seen = self._seen, self._look()
        return before == self._seen != self._taken

    def taken(self) -> None:
        """Count what was seen last as taken into force."""
        self._taken = self._seen

    def load(self, old: Standing) -> Standing:
        """Return what is in force now, part by part: a part that isn't good stays as it was."""
        federation, engine = old.federation, old.engine
        try:
            federation = Federation.load(
                self._config.public,
                now=self._clock(),
                pin=self._pin,
                last_seen_version=old.federation.version,
            )
        except CertsError as error:
            LOGGER.error("the roster in `%s` is not taken: %s", self._config.public, error)
        try:
            bundle = _bundle(self._config)
            if bundle.digest != engine.bundle.digest:
                engine = PolicyEngine(bundle)
        except ConfigInvalid as error:
            LOGGER.error("the policy bundle is not activated, the old one stays in force: %s", error)
        agreements = _agreements(self._config, federation)
        return replace(old, federation=federation, agreements=agreements, engine=engine)

    def _look(self) -> Mark:
        """Return names, times and sizes of all the files that count."""
        config = self._config
        files = (
            *config.public.glob("*.json"),
            *config.agreements.glob("*.json"),
            *(path for path in config.policy.rglob("*") if path.is_file()),
        )
        return tuple(sorted(_marks(files)))


def _marks(paths: Iterable[Path]) -> Iterable[tuple[str, int, int]]:
    """Yield what tells one version of a file from another; a file that just went is left out."""
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        yield str(path), status.st_mtime_ns, status.st_size


def _agreements(config: AdapterConfig, federation: Federation) -> AgreementBook:
    """Return the agreements; those that do nothing are told."""
    try:
        book = AgreementBook.load(config.agreements, federation)
    except CertsError as error:
        raise ConfigInvalid(f"key `agreements`: {error}") from error
    for rejected in book.rejected:
        LOGGER.warning("agreement `%s` is not in force: %s", rejected.path, rejected.reason)
    return book


def _bundle(config: AdapterConfig) -> PolicyBundle:
    """Return the policy bundle, checked; it must be this agency's."""
    try:
        bundle = PolicyBundle.load(config.policy)
    except PolicyError as error:
        raise ConfigInvalid(f"key `policy`: {error}") from error
    if bundle.agency != config.agency:
        raise ConfigInvalid(f"key `policy`: the bundle is of `{bundle.agency}`, not of `{config.agency}`")
    return bundle


def _stores(config: AdapterConfig) -> Iterable[Store]:
    """Yield the stores, open."""
    for mapping in config.stores:
        try:
            source = open_source(mapping)
        except SourceUnavailable as error:
            raise ConfigInvalid(f"key `store`: {error}") from error
        facts = StoreFacts(store_id=mapping.store_id, store_class=mapping.store_class)
        yield Store(facts=facts, source=source)
