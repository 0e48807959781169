"""Running one of the three processes until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import click

Serve = Callable[[Callable[[str], None], asyncio.Event], Awaitable[None]]


def serve_until_stopped(name: str, serve: Serve, errors: tuple[type[Exception], ...]) -> None:
    """Run `serve(ready, stop)` until SIGTERM or SIGINT; print one line when ready.

    `errors` are the room's own exceptions: each becomes one clear line and exit status 2.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    try:
        asyncio.run(_run(name, serve))
    except errors as error:
        click.echo(f"comity {name}: {error}", err=True)
        sys.exit(2)


async def _run(name: str, serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)

    def ready(text: str) -> None:
        # what is there by now stays: looking it over again would hold the event loop for tens of ms
        gc.collect()
        gc.freeze()
        click.echo(f"comity {name}: {text}")

    await serve(ready, stop)


config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The process's TOML file.",
)
