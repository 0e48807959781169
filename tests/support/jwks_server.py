"""An identity provider's web server on loopback: real https, whatever it answers, and what was asked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class JwksServer:
    """What it answers can be changed while it runs; `asked` are the paths that were asked for."""

    def __init__(self, ca: Path, port: int) -> None:
        self.ca = ca
        self.port = port
        self.asked: list[str] = []
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.body = b""
        self.write: Callable[[BaseHTTPRequestHandler], None] | None = None
        """Writes the answer in place of the above."""

    @property
    def url(self) -> str:
        """Where the set is."""
        return f"https://127.0.0.1:{self.port}/jwks.json"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        self.asked.append(handler.path)
        if self.write is not None:
            self.write(handler)
            return
        handler.send_response(self.status)
        for name, value in {"Content-Length": str(len(self.body)), **self.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.body)


def self_signed(folder: Path, *, name: str = "127.0.0.1", days: int = 2) -> tuple[Path, Path]:
    """Return files with a server's certificate, which is its own CA, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp")])
    alternative: x509.GeneralName = (
        x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "idp-server.pem", folder / "idp-server.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@contextmanager
def serving_jwks(folder: Path, *, name: str = "127.0.0.1", days: int = 2) -> Iterator[JwksServer]:
    """Serve on a free port of 127.0.0.1 while the block runs."""
    certificate, key = self_signed(folder, name=name, days=days)

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            found.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that hangs up, or doesn't like the certificate

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    found = JwksServer(certificate, server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
