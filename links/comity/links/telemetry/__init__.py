"""Telemetry: spans and metrics of an end, through the OpenTelemetry API alone.

Without configuration everything here does nothing. `settings` reads the table `[telemetry]`, and only
`exporting`, which a process imports when that table asks for it, knows the SDK and the exporters. What an
attribute may be stands in `facts`, and nowhere else: ids of exchanges, agencies, outcomes, kinds of error,
counts. No plate, user, case or reason has a way in, and no text of an exception.
"""
