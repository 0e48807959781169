"""An end's own folder as its administrator's commands see it: which end it is, its terms, its roster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import click

from comity.audit.retention import RetentionTerms
from comity.certs.clock import utc_now
from comity.certs.errors import CertsError
from comity.certs.published import PublishedRoster
from comity.certs.roster import Federation

ROLES = ("adapter", "gateway", "broker")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEnd:
    """One end, by its configuration, and the roster that it has by now."""

    home: Path
    role: str
    """`adapter`, `gateway` or `broker`."""
    agency: str
    terms: RetentionTerms
    public: Path
    agreements: Path | None
    """None at a broker."""
    federation: Federation

    @property
    def domain(self) -> str:
        """The agency's domain."""
        operator = self.federation.operator
        return operator.domain if self.role == "broker" else self.federation.member(self.agency).domain


def load_own_end(home: Path, *, now: datetime | None = None) -> OwnEnd:
    """Return the end whose folder is `home`.

    Raises `click.UsageError` if it isn't one, or its configuration or roster can't be used.
    """
    roles = [role for role in ROLES if (home / f"{role}.toml").is_file()]
    if len(roles) != 1:
        names = ", ".join(f"`{role}.toml`" for role in ROLES)
        raise click.UsageError(f"`{home}` is no end's own folder: one of {names} is expected in it")
    try:
        return _load(home, roles[0], now)
    except CertsError as problem:
        raise click.UsageError(f"the roster of `{home}`: {problem}") from problem


def _load(home: Path, role: str, now: datetime | None) -> OwnEnd:
    path = home / f"{role}.toml"
    agreements: Path | None = None
    if role == "adapter":
        from comity.adapters.config import load_config as load_adapter
        from comity.adapters.errors import ConfigInvalid as AdapterInvalid

        try:
            adapter = load_adapter(path)
        except AdapterInvalid as problem:
            raise click.UsageError(str(problem)) from problem
        agency, terms, agreements = adapter.agency, adapter.retention, adapter.agreements
        public, authority = adapter.public, adapter.authority
    elif role == "gateway":
        from comity.gateway.config import load_config as load_gateway
        from comity.gateway.errors import ConfigInvalid as GatewayInvalid

        try:
            gateway = load_gateway(path)
        except GatewayInvalid as problem:
            raise click.UsageError(str(problem)) from problem
        agency, terms, agreements = gateway.agency, gateway.retention, gateway.agreements
        public, authority = gateway.public, gateway.authority
    else:
        from comity.broker.config import load_config as load_broker
        from comity.broker.errors import ConfigInvalid as BrokerInvalid

        try:
            broker = load_broker(path)
        except BrokerInvalid as problem:
            raise click.UsageError(str(problem)) from problem
        agency, terms, public, authority = "", broker.retention, broker.public, broker.authority
    published = PublishedRoster(
        public=public, authority=authority, home=home, clock=utc_now if now is None else lambda: now
    )
    federation = published.load()
    return OwnEnd(
        home=home,
        role=role,
        agency=agency or federation.operator.agency,
        terms=terms,
        public=public,
        agreements=agreements,
        federation=federation,
    )
