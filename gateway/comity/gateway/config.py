"""The gateway's configuration: one frozen value from one TOML file.

`gateway.toml` holds, with paths relative to its own folder:

    agency = "sheriff"                        # our agency id in the roster
    listen = "127.0.0.1:7443"                 # where our own systems call
    broker = "127.0.0.1:7400"                 # the operator's broker
    broker_name = "broker.operator.example"   # the DNS name in its certificate
    authority = "../authority.json"           # the governing authority's keys, pinned out of band
    public = "../../../public"                # roster.json and timestamp.json, as published
    agreements = "../agreements"              # agreements signed by both sides
    auditor_role = "auditor"                  # who may retrieve records of our users; optional
    max_in_flight = 256                       # exchanges at the same time; optional, as every limit is

    [house_rules]                             # optional: our own law for our own people
    bundle = "house"                          # its folder; `comity policy check` says whether it is right
    enforce = {"ours.two-years" = "warn"}     # optional: by rule, `stop` or `warn` in place of its annotation

    [identity_provider]                       # optional: what it publishes; see `comity.certs.jwks_source`
    jwks = "https://login.sheriff.example/jwks.json"

    [telemetry]                               # optional: see `comity.links.telemetry.settings`
    [retention]                               # optional: see `comity.audit.retention`
    [renewal]                                 # optional: see `comity.certs.renewing`

The limits are those of `comity.gateway.limits.GatewayLimits`, by name; docs/limits.md explains them.
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from comity.audit.errors import RetentionRefused
from comity.audit.retention import SEVEN_YEARS, RetentionTerms, parse_terms
from comity.audit.retention import TABLE as RETENTION
from comity.certs.jwks_source import IDENTITY_PROVIDER, JwksSettings, parse_identity_provider
from comity.certs.renewing import NO_RENEWAL, RENEWAL, RenewalSettings, parse_renewal
from comity.gateway.errors import ConfigInvalid
from comity.gateway.house import TABLE as HOUSE
from comity.gateway.house import HouseSettings, parse_house
from comity.gateway.limits import RANGES, GatewayLimits
from comity.links.errors import ConfigUnusable
from comity.links.telemetry.settings import OFF, TABLE, TelemetrySettings, parse_telemetry

AUDITOR_ROLE = "auditor_role"
_AUDITOR = "auditor"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """What a gateway process needs to know; `home` keeps `keys/`, `log/`, `wal/`, `state.db`.

    `authority` is the pin: never one that lies in `public`, which others can replace.
    """

    home: Path
    agency: str
    listen: str
    broker: str
    broker_name: str
    authority: Path
    public: Path
    agreements: Path
    auditor_role: str = _AUDITOR
    limits: GatewayLimits = field(default_factory=GatewayLimits)
    telemetry: TelemetrySettings = OFF
    renewal: RenewalSettings = NO_RENEWAL
    retention: RetentionTerms = SEVEN_YEARS
    house: HouseSettings | None = None
    identity_provider: JwksSettings | None = None


def load_config(path: Path) -> GatewayConfig:
    """Return the configuration in the TOML file at `path`.

    Raises `ConfigInvalid` with one line that names file and key, and what would have been right.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigInvalid(f"configuration `{path}`: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"configuration `{path}`: is not TOML: {error}") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"configuration `{path}`: is not TOML: {error}") from error
    optional = ("home", "limits", "house", AUDITOR_ROLE, TABLE, RETENTION, RENEWAL, IDENTITY_PROVIDER)
    required = [one.name for one in fields(GatewayConfig) if one.name not in optional]
    known = [*required, AUDITOR_ROLE, *RANGES, TABLE, RETENTION, RENEWAL, HOUSE, IDENTITY_PROVIDER]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"known keys are {', '.join(known)}"
            raise ConfigInvalid(f"configuration `{path}`: unknown key `{key}`; {hint}")
    texts = {AUDITOR_ROLE: _AUDITOR, **table}
    for key in (*required, AUDITOR_ROLE):
        if key not in texts:
            raise ConfigInvalid(f"configuration `{path}`: key `{key}` is missing")
        if not isinstance(texts[key], str) or not texts[key]:
            raise ConfigInvalid(f"configuration `{path}`: key `{key}` must be a text that is not empty")
    for key in ("listen", "broker"):
        check_address(path, key, table[key])
    limits = {key: _number(path, key, table[key]) for key in RANGES if key in table}
    home = path.resolve().parent
    try:
        telemetry = parse_telemetry(table.get(TABLE), home=home)
        retention = parse_terms(table.get(RETENTION))
        renewal = parse_renewal(table.get(RENEWAL), home=home)
        house = parse_house(table.get(HOUSE), home=home)
        identity_provider = parse_identity_provider(table.get(IDENTITY_PROVIDER), home=home)
    except (ConfigUnusable, RetentionRefused, ConfigInvalid, ValueError) as error:
        raise ConfigInvalid(f"configuration `{path}`: {error}") from error
    return GatewayConfig(
        home=home,
        agency=table["agency"],
        listen=table["listen"],
        broker=table["broker"],
        broker_name=table["broker_name"],
        authority=_pin(path, home / table["authority"], home / table["public"]),
        public=_folder(path, "public", home / table["public"]),
        agreements=_folder(path, "agreements", home / table["agreements"]),
        auditor_role=texts[AUDITOR_ROLE],
        limits=_limits(path, limits),
        telemetry=telemetry,
        retention=retention,
        renewal=renewal,
        house=house,
        identity_provider=identity_provider,
    )


def check_address(path: Path, key: str, value: str) -> None:
    """Raise `ConfigInvalid` unless `value` is `HOST:PORT`."""
    host, _, port = value.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigInvalid(
            f"configuration `{path}`: key `{key}`: `{value}` is not HOST:PORT, for example `127.0.0.1:7400`"
        )


def _number(path: Path, key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        least, most = RANGES[key]
        raise ConfigInvalid(f"configuration `{path}`: key `{key}` must be a number from {least} to {most}")
    return value


def _limits(path: Path, limits: dict[str, int]) -> GatewayLimits:
    try:
        return GatewayLimits(**limits)
    except ValueError as error:
        raise ConfigInvalid(f"configuration `{path}`: key {error}") from error


def _folder(path: Path, key: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigInvalid(f"configuration `{path}`: key `{key}`: no folder at `{folder}`")
    return folder.resolve()


def _pin(path: Path, pin: Path, public: Path) -> Path:
    if not pin.is_file():
        raise ConfigInvalid(f"configuration `{path}`: key `authority`: no file at `{pin}`")
    if pin.resolve().is_relative_to(public.resolve()):
        raise ConfigInvalid(
            f"configuration `{path}`: key `authority`: a pin in the published folder pins nothing, "
            "expected a copy of your own, got out of band"
        )
    return pin.resolve()
