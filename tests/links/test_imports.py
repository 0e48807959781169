"""What the broker imports of this room cannot read what it carries: proved at run time."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys
import comity.links
import comity.links.client, comity.links.server, comity.links.relay, comity.links.stream
import comity.links.state, comity.links.channel, comity.links.flow, comity.links.backoff
reading = [name for name in sys.modules if name.startswith(("comity.links.sessions", "comity.v1.session",
                                                            "comity.v1.query_pb2", "comity.v1.result"))]
print(reading)
"""


def test_link_half_never_imports_the_session_half() -> None:
    """Links, relay and both shells import neither sessions nor the messages inside them."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
