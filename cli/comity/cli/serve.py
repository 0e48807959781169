"""`comity broker|adapter|gateway serve`: one process each, until SIGTERM."""

from __future__ import annotations

from pathlib import Path

import click

from comity.cli.running import config_option, serve_until_stopped


@click.group()
def broker() -> None:
    """Run the broker: the blind process in the middle, run by the operator."""


@broker.command(
    "serve", epilog="Example: comity broker serve --config /srv/federation/operator/broker/broker.toml"
)
@config_option
def serve_broker(config: Path) -> None:
    """Serve links until SIGTERM."""
    from comity.audit.errors import AuditError
    from comity.broker.config import load_config
    from comity.broker.errors import BrokerError
    from comity.broker.server import serve
    from comity.certs.errors import CertsError

    serve_until_stopped(
        "broker",
        lambda ready, _: serve(
            load_config(config), ready=lambda address: ready(f"serves links on {address}")
        ),
        (BrokerError, CertsError, AuditError),
    )


@click.group()
def gateway() -> None:
    """Run an agency's gateway: the requester's end, which its own systems call."""


@gateway.command(
    "serve", epilog="Example: comity gateway serve --config /srv/comity/sheriff/gateway/gateway.toml"
)
@config_option
def serve_gateway(config: Path) -> None:
    """Serve this agency's systems until SIGTERM.

    Beside addresses and limits its configuration may have the tables house_rules, identity_provider (what it
    publishes of its keys is followed), renewal, retention and telemetry.
    """
    from comity.gateway.config import load_config
    from comity.gateway.errors import GatewayError
    from comity.gateway.server import serve

    serve_until_stopped(
        "gateway",
        lambda ready, stop: serve(load_config(config), ready=ready, stop=stop),
        (GatewayError,),
    )


@click.command("serve", epilog="Example: comity adapter serve --config /srv/comity/lapd/adapter/adapter.toml")
@config_option
def serve_adapter(config: Path) -> None:
    """Answer for this agency's stores until SIGTERM."""
    from comity.adapters.config import load_config
    from comity.adapters.errors import AdapterError
    from comity.adapters.server import serve
    from comity.audit.errors import AuditError
    from comity.certs.errors import CertsError

    serve_until_stopped(
        "adapter",
        lambda ready, stop: serve(load_config(config), ready=ready, stop=stop),
        (AdapterError, AuditError, CertsError),
    )
