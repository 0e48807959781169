"""A gRPC client whose TLS is the test's: it speaks to a relay in the clear, which speaks TLS to the listener.

gRPC can't be told which TLS to use at most, and the standard library's `ssl` can.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator


def client_context(
    *, ca_pem: bytes, chain: str, key: str, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return a client's context that trusts `ca_pem` alone, shows a leaf, and speaks `most` at most."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = most
    context.load_verify_locations(cadata=ca_pem.decode())
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols(["h2"])
    return context


@contextlib.asynccontextmanager
async def relayed(
    address: str, context: ssl.SSLContext, *, name: str
) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield where an insecure channel finds the relay, and the TLS versions that it spoke to `address`."""
    host, _, port = address.rpartition(":")
    versions = list[str]()

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, there = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)
        except OSError:
            writer.close()
            return
        versions.append(there.get_extra_info("ssl_object").version())
        await asyncio.gather(carry(reader, there), carry(back, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", versions
