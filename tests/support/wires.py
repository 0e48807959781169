"""Links in memory: what stands in gRPC's place between an end's `LinkStream` and the broker's `LinkPeer`.

Messages travel as bytes, so that no object is shared, and in order. A wire that is cut ends for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from comity.certs.x509 import split_pem
from comity.v1.link_pb2 import LinkFrame, LinkRequest, LinkResponse

Crossing = Callable[[str, bool, LinkFrame], list[LinkFrame]]
"""(end, outward, frame): what is let pass of a frame; outward is from the broker to the end."""


class Wire:
    """One link's stream. `name` is the end's, `lapd/adapter`; `chain_pem` its certificate chain."""

    def __init__(self, name: str, chain_pem: bytes, crossing: Crossing) -> None:
        self.name = name
        self.chain_pem = chain_pem
        self.is_cut = False
        self.end = EndSide(self)
        self.broker = BrokerSide(self)
        self._crossing = crossing
        self._up: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._down: asyncio.Queue[bytes | None] = asyncio.Queue()

    def cut(self) -> None:
        """End the stream, without a goodbye."""
        self.is_cut = True
        self._up.put_nowait(None)
        self._down.put_nowait(None)

    def push(self, *frames: LinkFrame) -> None:
        """Have the end get frames past whatever is let pass."""
        if not self.is_cut:
            self._down.put_nowait(LinkResponse(frames=frames).SerializeToString())

    def pull(self, *frames: LinkFrame) -> None:
        """Have the broker get frames as if they came from the end."""
        if not self.is_cut:
            self._up.put_nowait(LinkRequest(frames=frames).SerializeToString())

    def passes(self, outward: bool, frames: Sequence[LinkFrame]) -> list[LinkFrame]:
        return [one for frame in frames for one in self._crossing(self.name, outward, frame)]


class EndSide:
    """The end's side: a `Transport`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def read(self) -> Sequence[LinkFrame] | None:
        data = await self._wire._down.get()
        return None if data is None else LinkResponse.FromString(data).frames

    async def write(self, frames: Sequence[LinkFrame]) -> bool:
        if self._wire.is_cut:
            return False
        data = LinkRequest(frames=frames).SerializeToString()
        if passed := self._wire.passes(False, LinkRequest.FromString(data).frames):
            self._wire.pull(*passed)
        return True

    async def finish(self) -> None:
        self._wire._up.put_nowait(None)


class BrokerSide:
    """The broker's side: what a servicer's context is to `BrokerService.link`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.code: grpc.StatusCode | None = None
        self.details = ""

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        leaf = x509.load_der_x509_certificate(split_pem(self._wire.chain_pem)[0])
        return {"x509_pem_cert": [leaf.public_bytes(Encoding.PEM)], "ssl_tls_version": [b"TLSv1.3"]}

    async def read(self) -> Any:
        data = await self._wire._up.get()
        return grpc.aio.EOF if data is None else LinkRequest.FromString(data)

    async def write(self, message: LinkResponse) -> None:
        if self._wire.is_cut:
            raise grpc.aio.UsageError("the stream is over")
        copy = LinkResponse.FromString(message.SerializeToString())
        if passed := self._wire.passes(True, copy.frames):
            self._wire.push(*passed)

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, metadata: object) -> None:
        pass

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self.code, self.details = code, details
        raise grpc.aio.AbortError(details)


class NoServer:
    """What stands in the place of `grpc.aio.server`: takes handlers, binds nothing, serves nobody."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        pass

    def add_secure_port(self, address: str, credentials: object) -> int:
        return int(address.rpartition(":")[2])

    async def start(self) -> None:
        pass

    async def stop(self, grace: float | None) -> None:
        pass
