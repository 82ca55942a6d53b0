"""A TCP relay that counts the bytes that flow back to clients: what a door really sent."""

import socket
import socketserver
import threading
from contextlib import suppress


class Relay(socketserver.ThreadingTCPServer):
    """Relays every connection to one address of loopback."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = port
        self.bytes_back = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        try:
            upstream = socket.create_connection(("127.0.0.1", self.server.target), timeout=5)
        except OSError:
            return
        upstream.settimeout(None)
        with upstream:
            forth = threading.Thread(target=self._pump, args=(self.request, upstream), daemon=True)
            forth.start()
            self._back(upstream)

    def _back(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            while data := upstream.recv(1 << 16):
                self.request.sendall(data)
                with self.server.lock:
                    self.server.bytes_back += len(data)
        with suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
