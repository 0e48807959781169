"""What an adapter emits: its spans and metrics, by OpenTelemetry's API alone."""

from __future__ import annotations

from typing import Final

from comity.links.telemetry.metrics import Metering
from comity.links.telemetry.spans import Tracing

TRACING: Final = Tracing("adapters")
METERING: Final = Metering("adapters")
