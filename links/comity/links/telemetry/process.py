"""Telemetry for as long as a process serves: the one line of its wiring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from comity.links.telemetry.settings import ExporterKind, TelemetrySettings


@asynccontextmanager
async def emitting(settings: TelemetrySettings, *, role: str, agency: str = "") -> AsyncIterator[None]:
    """Export what this process emits while the block runs; the SDK is imported only if something is.

    `role` and `agency` (empty for the operator's broker) say whose it is. Raises `ConfigUnusable`.
    """
    if settings.exporter is ExporterKind.NONE:
        yield
        return
    from comity.links.telemetry.exporting import start_exporting

    exporting = start_exporting(settings, role=role, agency=agency)
    try:
        yield
    finally:
        await asyncio.to_thread(exporting.stop)
