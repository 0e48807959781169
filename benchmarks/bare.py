"""The baseline: unary gRPC over mutual TLS and nothing else, one process a provider.

A provider answers every call with a page of ten reads that it made when it started: no policy, no store, no
log, no signature. A relay is what a gateway is to a caller, one more hop: it asks all providers at the same
time and streams their pages back. Both print their port and serve until standard input closes, so that they
never outlive the benchmark that started them.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from google.protobuf.message import Message

from benchmarks.federation import BARE_KEYS, READS
from comity.certs.instants import from_instant
from comity.v1 import common_pb2, query_pb2, query_service_pb2, result_pb2

SERVICE = "comity.benchmark.Bare"
_OPTIONS = [("grpc.so_reuseport", 0)]


class Fanout:
    """Channels to all providers, and one unary call to each at the same time."""

    def __init__(self, providers: Sequence[tuple[str, int, bytes]], leaf: bytes, key: bytes) -> None:
        """Take (agency, port, CA) of each provider, and the asker's certificate chain and key, PEM."""
        self._channels = {
            agency: grpc.aio.secure_channel(
                f"127.0.0.1:{port}",
                grpc.ssl_channel_credentials(ca, key, leaf),
                options=[("grpc.ssl_target_name_override", f"adapter.{agency}.example")],
            )
            for agency, port, ca in providers
        }
        self._calls = {
            agency: channel.unary_unary(
                f"/{SERVICE}/Search",
                request_serializer=query_pb2.Query.SerializeToString,
                response_deserializer=result_pb2.Page.FromString,
            )
            for agency, channel in self._channels.items()
        }

    async def ask(self, query: query_pb2.Query) -> list[result_pb2.Page]:
        """Return each provider's page."""
        return list(await asyncio.gather(*[call(query, timeout=10.0) for call in self._calls.values()]))

    async def close(self) -> None:
        """Close the channels."""
        await asyncio.gather(*[channel.close() for channel in self._channels.values()])


async def serve_provider(home: Path, asker_ca: Path) -> None:
    """Serve one provider with its own leaf; only the asker's agency may call."""
    page = made_page()

    async def search(request: query_pb2.Query, context: object) -> result_pb2.Page:
        return page

    handler = grpc.unary_unary_rpc_method_handler(
        search,
        request_deserializer=query_pb2.Query.FromString,
        response_serializer=result_pb2.Page.SerializeToString,
    )
    await _serve(handler, home / BARE_KEYS, asker_ca)


async def serve_relay(home: Path, own_ca: Path, providers: Sequence[tuple[str, int, bytes]]) -> None:
    """Serve the agency's own systems: ask all providers, stream the pages."""
    keys = home / "keys"
    fanout = Fanout(providers, (keys / "leaf.pem").read_bytes(), (keys / "leaf.key").read_bytes())

    async def search(
        request: query_pb2.Query, context: object
    ) -> AsyncIterator[query_service_pb2.ProviderPage]:
        for page in await fanout.ask(request):
            yield query_service_pb2.ProviderPage(page=page)

    handler = grpc.unary_stream_rpc_method_handler(
        search,
        request_deserializer=query_pb2.Query.FromString,
        response_serializer=query_service_pb2.ProviderPage.SerializeToString,
    )
    await _serve(handler, keys, own_ca)
    await fanout.close()


def made_page() -> result_pb2.Page:
    """Return a page of `READS` reads, of the size and shape that an adapter sends."""
    now = datetime.now(UTC)
    marking = result_pb2.Marking(
        provider="p1",
        nature="automated licence plate reads of fixed cameras",
        scheme=result_pb2.MARKING_SCHEME_PLAIN,
        banner="LAW ENFORCEMENT SENSITIVE // NO COMMERCIAL USE / NO ONWARD SHARING // P1",
        portion="(LES)",
        agreement_digest=bytes(32),
        retain_days=365,
        caveats=["Assure accuracy before any enforcement action; report errors at once (A5, D3)."],
        contact="ALPR unit, alpr@p1.example, 555-0100",
    )
    reads = [
        result_pb2.Read(
            read_id=secrets.token_hex(8),
            plate=common_pb2.Plate(number="8ABC123", state="CA", country="US"),
            captured_at=from_instant(now - timedelta(days=day)),
            location=result_pb2.Location(
                latitude=33.75, longitude=-118.26, address="400 Harbor Road", intersection="Harbor and 1st"
            ),
            vehicle=result_pb2.Vehicle(make="Honda", model="Accord", colour="silver", direction="northbound"),
            camera=result_pb2.Camera(name="fixed 1", owner="LAPD", kind="fixed"),
            images=[
                result_pb2.ImageReference(image_id=secrets.token_hex(9), view="scene", digest=bytes(32)),
                result_pb2.ImageReference(image_id=secrets.token_hex(9), view="plate"),
            ],
            confidence=0.97,
            source="fixed pole, Harbor area",
            marking=marking,
        )
        for day in range(READS)
    ]
    return result_pb2.Page(
        nonce=secrets.token_bytes(16), exchange_id=bytes(16), index=0, reads=reads, marking=marking
    )


async def _serve(
    handler: grpc.RpcMethodHandler[query_pb2.Query, Message], keys: Path, client_ca: Path
) -> None:
    """Serve `Search` on a free port until standard input closes."""
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Search": handler}),))
    credentials = grpc.ssl_server_credentials(
        [((keys / "leaf.key").read_bytes(), (keys / "leaf.pem").read_bytes())],
        root_certificates=client_ca.read_bytes(),
        require_client_auth=True,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(1.0)


def main() -> None:
    """Run one bare provider or relay."""
    parser = argparse.ArgumentParser(description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    provider = roles.add_parser("provider")
    provider.add_argument("home", type=Path, help="the adapter's home")
    provider.add_argument("ca", type=Path, help="the asking agency's CA")
    relay = roles.add_parser("relay")
    relay.add_argument("home", type=Path, help="the gateway's home")
    relay.add_argument("ca", type=Path, help="the agency's own CA")
    relay.add_argument("providers", nargs="+", help="AGENCY:PORT:CA of each provider")
    given = parser.parse_args()
    if given.role == "provider":
        asyncio.run(serve_provider(given.home, given.ca))
    else:
        split = [text.split(":", 2) for text in given.providers]
        providers = [(agency, int(port), Path(ca).read_bytes()) for agency, port, ca in split]
        asyncio.run(serve_relay(given.home, given.ca, providers))


if __name__ == "__main__":
    main()
