"""A web server that answers as it is told, for imports that ask: real sockets, counted requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fleet.settings import CentreSettings


@dataclass
class Answer:
    """What is said to one request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """The server, and the fields of each request that it was asked, by path and query.

    Each path gives its answers in order, and the last one from then on.
    """

    netloc: str
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://{self.netloc}"

    def serve(self, target: str, *answers: Answer | bytes) -> str:
        """Say how to answer to a path, or to a path with its query; return the URL."""
        self.answers[target] = [
            Answer(answer) if isinstance(answer, bytes) else answer for answer in answers
        ]
        return self.base + target

    def targets(self) -> list[str]:
        return [target for target, _ in self.asked]

    def settings(self, **more: object) -> CentreSettings:
        """Settings that let this very server be asked, as all that it stands in for."""
        given = {
            "allow_networks": "127.0.0.0/8",
            "zenodo_hosts": (self.netloc,),
            "archive_hosts": (self.netloc,),
            "s3_endpoint": self.base,
        }
        return CentreSettings.model_validate(given | more)


@contextmanager
def serving() -> Iterator[Server]:
    """Run such a server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.asked.append((self.path, dict(self.headers)))
            known = server.answers.get(self.path) or server.answers.get(self.path.split("?")[0])
            answer = (known.pop(0) if len(known) > 1 else known[0]) if known else Answer(b"", 404)
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *args: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as sockets:
        server = Server(f"127.0.0.1:{sockets.server_address[1]}")
        thread = threading.Thread(target=sockets.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            sockets.shutdown()
            thread.join()
