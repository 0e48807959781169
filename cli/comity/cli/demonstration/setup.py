"""Setting up a demonstration federation on disk, by the functions that the command line calls too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from comity.certs.agency import AgencyHome, AgencySpec, init_agency
from comity.certs.authority import FederationSpec, admit, init_federation
from comity.certs.drafting import AgreementTerms, draft, lodgements, sign
from comity.certs.envelope import to_json
from comity.certs.files import read_public, write_public
from comity.certs.identity_provider import ASSERTION_LIFETIME, JsonValue
from comity.certs.roster import Federation
from comity.certs.x509 import split_pem
from comity.cli.demonstration.spec import AgencyEntry, DemonstrationSpec
from comity.cli.logkeys import make_log_key

BROKER: str = "127.0.0.1:7400"
"""Where the broker listens unless told otherwise; gateways follow from 7441 on."""

CLIENT: str = "desk"
"""The client system that each asking agency gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationOnDisk:
    """A federation's folders on one machine."""

    root: Path
    spec: DemonstrationSpec

    @property
    def public(self) -> Path:
        """The published folder: pin, roster, timestamp."""
        return self.root / "public"

    @property
    def broker_home(self) -> Path:
        """The broker's folder."""
        return self.root / "operator" / "broker"

    @property
    def lodgements(self) -> Path:
        """The broker's folder of lodged ceilings."""
        return self.broker_home / "lodgements"

    @property
    def trust(self) -> Path:
        """The auditor's trust file, made before the first entry of any log."""
        return self.root / "trust.json"

    @property
    def copies(self) -> Path:
        """Copies of the `log/` folders, and of nothing else."""
        return self.root / "copies"

    def ends(self) -> list[tuple[str, str, Path]]:
        """Return (name, role, home) of every end, the broker first, then adapters, then gateways."""
        found = [("broker", "broker", self.broker_home)]
        for role in ("adapter", "gateway"):
            for home in sorted((self.root / "agencies").glob(f"*/{role}")):
                found.append((f"{home.parent.name} {role}", role, home))
        return found

    def home(self, agency: str) -> Path:
        """An agency's folder."""
        return self.root / "agencies" / agency

    def gateway_home(self, agency: str) -> Path:
        """The folder of an agency's gateway."""
        return self.home(agency) / "gateway"

    def adapter_home(self, agency: str) -> Path:
        """The folder of an agency's adapter."""
        return self.home(agency) / "adapter"

    def agreements(self, agency: str) -> Path:
        """An agency's folder of agreements."""
        return self.home(agency) / "agreements"

    def client_config(self, agency: str) -> Path:
        """The `client.toml` of an asking agency's client system."""
        return self.home(agency) / "clients" / CLIENT / "client.toml"

    def client_certificate(self, agency: str) -> bytes:
        """The leaf of that client system, DER."""
        return split_pem(read_public(self.client_config(agency).with_name("leaf.pem")))[0]

    def federation(self, now: datetime) -> Federation:
        """The verified roster."""
        return Federation.load(self.public, now=now)

    def user(self, agency: str) -> str:
        """The name of an asking agency's first user."""
        return next(entry.users[0].user for entry in self.spec.agencies if entry.agency == agency)

    def assertion(self, agency: str, now: datetime, user: str | None = None, **overrides: JsonValue) -> str:
        """Return an assertion for a user (the first, unless named), bound to the client system's leaf.

        `overrides` are those of `DemoIdentityProvider.issue`.
        """
        provider = AgencyHome.load(self.home(agency)).identity_provider()
        certificate = self.client_certificate(agency)
        return provider.issue(
            user or self.user(agency), certificate, now, lifetime=ASSERTION_LIFETIME, **overrides
        )


def set_up(
    spec: DemonstrationSpec,
    root: Path,
    now: datetime,
    *,
    broker: str = BROKER,
    gateways: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> FederationOnDisk:
    """Make the federation `spec` in `root`, with its agreements signed, accepted and lodged.

    `gateways` says on which `host:port` an agency's gateway listens; by default they follow from port 7441.
    `progress` gets one line a step. Raises `SetupRefused` if something stands there already.
    """
    places = {entry.agency: f"127.0.0.1:{port}" for port, entry in enumerate(spec.agencies, start=7441)}
    places |= gateways or {}
    made = FederationOnDisk(root=root, spec=spec)
    progress("governing authority, operator, broker")
    init_federation(
        root,
        FederationSpec(
            name=spec.name,
            broker=broker,
            operator_domain=spec.operator_domain,
            operator_name=spec.operator_name,
        ),
        now,
        make_log_key=make_log_key,
    )
    applications = []
    for entry in spec.agencies:
        progress(f"agency {entry.agency}: {entry.name}")
        applications.append(_make_agency(made, entry, places[entry.agency], broker, now))
    federation = admit(root, applications, now)
    for terms in spec.agreements:
        progress(f"agreement {terms.agreement_id}")
        _agree(made, terms, federation)
    return made


def _make_agency(
    made: FederationOnDisk, entry: AgencyEntry, gateway: str, broker: str, now: datetime
) -> bytes:
    """Make one agency with its users and client system; return its application."""
    home = made.home(entry.agency)
    application = init_agency(
        AgencySpec(
            agency=entry.agency,
            home=home,
            kind=entry.kind,
            domain=entry.domain,
            name=entry.name,
            contact=entry.contact,
            state=entry.state,
            asks=entry.asks,
            provides=entry.provides,
            public=made.public,
            broker=broker,
            gateway_listen=gateway,
        ),
        now,
        make_log_key=make_log_key,
    )
    if entry.asks:
        agency = AgencyHome.load(home)
        provider = agency.identity_provider()
        for user in entry.users:
            provider.add_user(user)
        agency.add_client(CLIENT, gateway=gateway, now=now)
    return application


def _agree(made: FederationOnDisk, terms: AgreementTerms, federation: Federation) -> None:
    """Have both parties sign, both accept, and each provider lodge its ceiling."""
    first, second = terms.parties
    keys = {agency: AgencyHome.load(made.home(agency)).identity() for agency in terms.parties}
    envelope = sign(draft(terms, federation, keys[first]), federation, keys[second])
    for agency, key in keys.items():
        write_public(made.agreements(agency) / f"{terms.agreement_id}.json", to_json(envelope))
        for requester, lodged in lodgements(envelope, federation, agency, key).items():
            name = f"{terms.agreement_id}--{agency}--{requester}.json"
            write_public(made.lodgements / name, to_json(lodged))
