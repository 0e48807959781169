"""What an adapter stands on, read from the folders that its configuration names, and read again.

At the start everything must be good, and the text of what isn't names file and key. While the process
runs, what changed in these folders is taken into force part by part: a roster, an agreement or a policy
bundle that doesn't verify leaves the old one in force, and the log of the process says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from comity.adapters.bundles import keep_bundle
from comity.adapters.config import AdapterConfig
from comity.adapters.errors import ConfigInvalid, SourceUnavailable
from comity.adapters.path import Standing
from comity.adapters.ruling import Store
from comity.adapters.sources import open_source
from comity.audit.errors import AuditError
from comity.audit.log_keys import LogKeys, next_step
from comity.audit.summary import Law
from comity.certs.agreements import AgreementBook
from comity.certs.clock import Clock
from comity.certs.credentials import EndCredentials
from comity.certs.delivered import DELIVERED_FOLDER
from comity.certs.errors import CertsError
from comity.certs.own import load_own
from comity.certs.published import PublishedRoster
from comity.certs.roster import Federation, MemberView
from comity.certs.watching import FileWatch
from comity.policy.adopting import check_succession, verify_adoption
from comity.policy.bundle import PolicyBundle
from comity.policy.decision import PolicyEngine
from comity.policy.errors import AdoptionInvalid, PolicyError
from comity.policy.facts import StoreFacts

LOGGER = logging.getLogger("comity.adapters")

ROLE: Final = "adapter"


def open_published(config: AdapterConfig, *, clock: Clock) -> PublishedRoster:
    """Return this end's way to the roster, under its own pin; raise `ConfigInvalid` if that can't be read."""
    try:
        return PublishedRoster(
            public=config.public, authority=config.authority, home=config.home, clock=clock
        )
    except CertsError as error:
        raise ConfigInvalid(f"key `authority`: {error}") from error


def watched(config: AdapterConfig) -> FileWatch:
    """Return the watch on everything that may change while the adapter runs."""
    return FileWatch(
        (config.public, "*.json"),
        (config.home / DELIVERED_FOLDER, "*.json"),
        (config.agreements, "*.json"),
        (config.policy, "**/*"),
    )


def load_standing(config: AdapterConfig, published: PublishedRoster) -> Standing:
    """Return everything that is in force at the start; raise `ConfigInvalid` if any of it can't be used."""
    federation = _federation(published)
    member = _own_entry(config, federation)
    if not member.provides:
        raise ConfigInvalid(f"key `agency`: the roster does not list `{config.agency}` as a provider")
    return Standing(
        agency=config.agency,
        federation=federation,
        agreements=_agreements(config, federation),
        engine=PolicyEngine(load_bundle(config, member)),
        stores=tuple(_stores(config)),
    )


def require_succession(bundle: PolicyBundle, law: Law | None) -> None:
    """Raise `ConfigInvalid` if a bundle may not follow the one that the log has in force."""
    try:
        check_succession(bundle, law)
    except PolicyError as error:
        raise ConfigInvalid(f"key `policy`: {error}") from error


def reload_standing(
    config: AdapterConfig, published: PublishedRoster, old: Standing, law: Law | None
) -> tuple[Standing, ConfigInvalid | None]:
    """Return what is in force now, part by part, and why a part that isn't good stays as it was.

    A broken policy bundle doesn't keep a suspension out, nor an old roster a new law. Where the folder of
    agreements can't be read, those that were known stay as far as they hold under the roster in force. `law`
    is what the log has in force.
    """
    federation, engine, faults = old.federation, old.engine, list[str]()
    try:
        federation = _federation(published)
    except ConfigInvalid as error:
        faults.append(str(error))
    try:
        bundle = load_bundle(config, _own_entry(config, federation))
        if bundle.digest != engine.bundle.digest:
            require_succession(bundle, law)
            engine = PolicyEngine(bundle)
    except ConfigInvalid as error:
        faults.append(f"the policy bundle is not activated: {error}")
    try:
        agreements = _agreements(config, federation)
    except ConfigInvalid as error:
        faults.append(f"the agreements that were known stay: {error}")
        agreements = old.agreements.under(federation)
    new = replace(old, federation=federation, agreements=agreements, engine=engine)
    return new, ConfigInvalid("; ".join(faults)) if faults else None


def load_credentials(
    config: AdapterConfig, member: MemberView, *, clock: Clock
) -> tuple[EndCredentials, LogKeys]:
    """Return this end's own keys; raise `ConfigInvalid` if nobody would believe them."""
    origin = f"{member.domain}/{ROLE}"
    try:
        credentials = load_own(config.home, member, now=clock())
        log_keys = LogKeys.load(credentials.log_key.parent, origin)
        next_step(log_keys, member.key_set.log_key(ROLE))
    except (CertsError, AuditError) as error:
        raise ConfigInvalid(str(error)) from error
    if credentials.spiffe_id != member.spiffe_id(ROLE):
        raise ConfigInvalid(
            f"`keys/leaf.pem` names `{credentials.spiffe_id}`, the roster expects `{member.spiffe_id(ROLE)}`"
        )
    if credentials.not_after <= clock():
        raise ConfigInvalid(f"`keys/leaf.pem` expired at {credentials.not_after:%Y-%m-%d %H:%M} UTC")
    if not member.knows_statement_key(credentials.statement.public, clock()):
        raise ConfigInvalid(f"`keys/statement.key` is none that the roster names for `{member.agency}` now")
    return credentials, log_keys


def _federation(published: PublishedRoster) -> Federation:
    """Return the published roster; raise `ConfigInvalid` unless it can be used."""
    try:
        return published.load()
    except CertsError as error:
        raise ConfigInvalid(f"key `public`: {error}") from error


def _own_entry(config: AdapterConfig, federation: Federation) -> MemberView:
    """Return what the roster says of this agency; raise `ConfigInvalid` if it has left it."""
    member = federation.members.get(config.agency)
    if member is None:
        raise ConfigInvalid(f"key `agency`: the roster has no agency `{config.agency}`")
    return member


def _agreements(config: AdapterConfig, federation: Federation) -> AgreementBook:
    """Return the agreements; those that do nothing are told."""
    try:
        book = AgreementBook.load(config.agreements, federation, own=config.agency)
    except CertsError as error:
        raise ConfigInvalid(f"key `agreements`: {error}") from error
    for rejected in book.rejected:
        LOGGER.warning("agreement `%s` is not in force: %s", rejected.path, rejected.reason)
    for warning in book.waiting():
        LOGGER.warning("%s", warning)
    return book


def check_adopted(bundle: PolicyBundle, config: AdapterConfig, member: MemberView) -> None:
    """Check that a bundle is this agency's own, and signed by it if that is required.

    A signature that lies beside it must be good in any case. Raises `AdoptionInvalid`.
    """
    if bundle.agency != config.agency:
        raise AdoptionInvalid(f"the bundle is of `{bundle.agency}`, not of `{config.agency}`")
    if config.require_signed_policy or bundle.adoption:
        verify_adoption(bundle, member.identities)


def load_bundle(config: AdapterConfig, member: MemberView) -> PolicyBundle:
    """Return the policy bundle, checked, adopted and kept; raise `ConfigInvalid`."""
    try:
        bundle = PolicyBundle.load(config.policy)
        check_adopted(bundle, config, member)
    except PolicyError as error:
        raise ConfigInvalid(f"key `policy`: {error}") from error
    try:
        keep_bundle(config.home, bundle)
    except OSError as error:
        raise ConfigInvalid(f"key `policy`: the bundle can't be kept in `home` ({error.strerror})") from error
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
